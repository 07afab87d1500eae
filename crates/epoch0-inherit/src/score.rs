//! How much the places of a parent's axes matter: by what passes through them on examples, or by the weights at them.

use std::collections::HashMap;

use epoch0_engine::{Batch, Mode, Value, Weights, run};
use epoch0_method::Error;
use epoch0_net::{AxisId, Network, Node, NodeId, Op, Structure, ValueId};
use epoch0_num::{Dtype, Element, with_element};

use crate::Tensors;
use crate::uses::{Side, maker, sides};

/// Examples that are run at a time.
const PIECE: usize = 8;

/// What a score of an axis is of; the first that an axis has counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Of {
    /// A stream to which branches add.
    Stream,
    /// What maps read.
    Read,
    /// What attention compares.
    Compared,
}

/// Scores of whole axes, by place.
#[derive(Debug, Default)]
pub(crate) struct Scores {
    of: HashMap<(Of, AxisId), Vec<f64>>,
    /// For each block, how much it changes what passes: the mean of ‖change‖ / ‖result‖.
    pub(crate) changes: HashMap<usize, f64>,
}

impl Scores {
    /// The mean of |x| over examples and positions, added up over all values on an axis.
    ///
    /// # Errors
    /// When the network cannot be run.
    pub(crate) fn of_activations(
        net: &Network,
        weights: &Weights,
        batch: &Batch,
    ) -> Result<Self, epoch0_engine::Error> {
        let mut scores = Self::default();
        let taps = taps(net);
        let flows = flows(net);
        let params = weights.constants();
        let n = batch.examples(net).max(1);
        let is_bound = Batch::bound(net).is_some() || net.graph_inputs().is_some();
        let piece = if is_bound { n } else { PIECE.min(n) };
        for start in (0..n).step_by(piece) {
            let part = batch.part(net, &(start..(start + piece).min(n)));
            let share = (start + piece).min(n).saturating_sub(start) as f64 / n as f64;
            let mut kept: HashMap<ValueId, Vec<f64>> = HashMap::new();
            run(net, &params, &part.inputs, Mode::Eval, &mut |done| {
                for (value, id) in done.outputs.iter().zip(&done.node.outputs) {
                    for (of, axis, dim) in taps.get(id).into_iter().flatten() {
                        scores.add(*of, *axis, value, *dim, share);
                    }
                    if flows.iter().any(|flow| flow.1 == *id || flow.2 == *id)
                        && let Some(var) = value.real()
                    {
                        kept.insert(*id, var.value().to_f64());
                    }
                }
                Ok(())
            })?;
            for &(block, before, after) in &flows {
                if let (Some(before), Some(after)) = (kept.get(&before), kept.get(&after))
                    && before.len() == after.len()
                {
                    let change: f64 = before.iter().zip(after).map(|(a, b)| (b - a).powi(2)).sum();
                    let size: f64 = after.iter().map(|b| b * b).sum();
                    *scores.changes.entry(block).or_default() +=
                        share * (change / size.max(f64::MIN_POSITIVE)).sqrt();
                }
            }
        }
        Ok(scores)
    }

    /// The norms of what writes a stream and of what reads other axes, added up over all weights on an axis.
    ///
    /// # Errors
    /// When weights cannot be read.
    pub(crate) fn of_weights(net: &Network, tensors: &dyn Tensors) -> Result<Self, Error> {
        let mut scores = Self::default();
        let streams = streams(net);
        let compared = compared(net);
        for ((at, param), sides) in net.params().iter().enumerate().zip(sides(net)) {
            let Some(sides) = sides.filter(|_| !param.role.is_buffer()) else { continue };
            for (dim, (side, &axis)) in sides.iter().zip(&param.axes).enumerate() {
                let of = match *side {
                    Side { writes: true, .. } if streams.contains(&axis) => Of::Stream,
                    Side { reads: true, .. } => Of::Read,
                    Side { writes: true, .. } if compared.contains(&axis) => Of::Compared,
                    _ => continue,
                };
                let stored = tensors.tensor(epoch0_net::ParamId(at as u32))?;
                let norms = norms(stored.dtype, stored.shape, stored.bytes, dim);
                scores.put(of, axis, &norms);
            }
        }
        Ok(scores)
    }

    fn put(&mut self, of: Of, axis: AxisId, more: &[f64]) {
        let sums = self.of.entry((of, axis)).or_insert_with(|| vec![0.0; more.len()]);
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }

    fn add(&mut self, of: Of, axis: AxisId, value: &Value, dim: usize, share: f64) {
        let Some(var) = value.real() else { return };
        let (shape, values) = (var.shape(), var.value().to_f64());
        let (n, inner) = (shape[dim], shape[dim + 1..].iter().product::<usize>().max(1));
        let mut sums = vec![0.0; n];
        for (nth, run) in values.chunks(inner).enumerate() {
            sums[nth % n] += run.iter().map(|x| x.abs()).sum::<f64>();
        }
        let scale = share * n as f64 / values.len().max(1) as f64;
        sums.iter_mut().for_each(|sum| *sum *= scale);
        self.put(of, axis, &sums);
    }

    /// Scores of the places of an axis that is made of no others: of all, or, where it is not the outermost factor of what it is
    /// part of, for each place of that.
    pub(crate) fn leaf(&self, net: &Network, leaf: AxisId) -> Option<Vec<Vec<f64>>> {
        let mut best: Option<(Of, Vec<Vec<f64>>)> = None;
        for (&(of, axis), whole) in &self.of {
            let mut parts = Vec::new();
            flattened(net, axis, &mut parts);
            let Some(at) = parts.iter().position(|&part| part == leaf) else { continue };
            if best.as_ref().is_some_and(|(other, _)| *other < of) {
                continue;
            }
            let sizes: Vec<usize> = parts.iter().map(|&part| net.axis(part).size.unwrap_or(1)).collect();
            let (n, inner) = (sizes[at], sizes[at + 1..].iter().product::<usize>());
            let groups = if at == 0 { 1 } else { sizes[0] };
            let mut found = vec![vec![0.0; n]; groups];
            let per_group = whole.len() / groups;
            for (place, score) in whole.iter().enumerate() {
                found[place / per_group][place / inner % n] += score;
            }
            match &mut best {
                // The same axis in several wholes: which of them comes first must not matter.
                Some((other, sums)) if *other == of && sums.len() == found.len() => {
                    let sums = sums.iter_mut().flatten();
                    sums.zip(found.iter().flatten()).for_each(|(sum, more)| *sum += more);
                }
                Some((other, sums)) if *other == of && sums.len() > found.len() => {}
                _ => best = Some((of, found)),
            }
        }
        best.map(|(_, found)| found)
    }
}

pub(crate) fn flattened(net: &Network, axis: AxisId, parts: &mut Vec<AxisId>) {
    match &net.axis(axis).structure {
        Some(Structure::Product(inner)) => inner.iter().for_each(|&part| flattened(net, part, parts)),
        _ => parts.push(axis),
    }
}

/// The dimension of a value that maps read: channels of images, the last of all else.
fn read_dim(net: &Network, node: &Node) -> Option<(ValueId, usize)> {
    let value = *node.inputs.first()?;
    let rank = net.value(value).dims.len();
    match node.op {
        Op::Conv { .. } => (rank > 1).then_some((value, 1)),
        Op::Linear { .. } => Some((value, rank.checked_sub(1)?)),
        _ => None,
    }
}

/// Sums of values, of which neither is a parameter.
fn is_sum(net: &Network, node: &Node) -> bool {
    let is_value =
        |&&input: &&ValueId| !maker(net, input).is_some_and(|(_, node)| matches!(node.op, Op::Param(_)));
    matches!(node.op, Op::Add) && node.inputs.iter().filter(is_value).count() > 1
}

/// Axes of what is added up.
fn streams(net: &Network) -> Vec<AxisId> {
    let sums = net.nodes().iter().filter(|node| is_sum(net, node));
    sums.filter_map(|node| stream_dim(net, node.outputs[0])).map(|(axis, _)| axis).collect()
}

fn stream_dim(net: &Network, value: ValueId) -> Option<(AxisId, usize)> {
    let dims = &net.value(value).dims;
    let dim = if dims.len() == 4 { 1 } else { dims.len().checked_sub(1)? };
    Some((dims[dim], dim))
}

/// Axes of queries and keys.
fn compared(net: &Network) -> Vec<AxisId> {
    let nodes = net.nodes().iter().filter(|node| matches!(node.op, Op::Attention(_)));
    nodes
        .flat_map(|node| &node.inputs[..2])
        .filter_map(|&value| net.value(value).dims.last().copied())
        .collect()
}

/// Values that are looked at: what for, on which axis, in which dimension.
fn taps(net: &Network) -> HashMap<ValueId, Vec<(Of, AxisId, usize)>> {
    let mut taps: HashMap<ValueId, Vec<(Of, AxisId, usize)>> = HashMap::new();
    let mut tap = |value: ValueId, of: Of, axis: AxisId, dim: usize| {
        let known = taps.entry(value).or_default();
        if !known.contains(&(of, axis, dim)) {
            known.push((of, axis, dim));
        }
    };
    let streams = streams(net);
    for node in net.nodes() {
        let is_on_stream = matches!(node.op, Op::Embedding { .. }) || is_sum(net, node);
        let stream = stream_dim(net, node.outputs[0]).filter(|(axis, _)| streams.contains(axis));
        if let Some((axis, dim)) = stream.filter(|_| is_on_stream) {
            tap(node.outputs[0], Of::Stream, axis, dim);
        }
        if let Some((value, dim)) = read_dim(net, node) {
            tap(value, Of::Read, net.value(value).dims[dim], dim);
        }
        if matches!(node.op, Op::Attention(_)) {
            for &value in &node.inputs[..2] {
                if let Some((&axis, rest)) = net.value(value).dims.split_last() {
                    tap(value, Of::Compared, axis, rest.len());
                }
            }
        }
    }
    taps
}

/// For each block what comes in and what goes out, where branches are added to a stream.
fn flows(net: &Network) -> Vec<(usize, ValueId, ValueId)> {
    let mut flows: Vec<(usize, ValueId, ValueId)> = Vec::new();
    let node = |id: NodeId| &net.nodes()[id.0 as usize];
    for end in net.branch_ends() {
        let Some(block) = node(end.last).block else { continue };
        let out = node(end.sum).outputs[0];
        match flows.iter_mut().find(|flow| flow.0 == block) {
            Some(flow) => flow.2 = out,
            None => flows.push((block, end.branch.skip, out)),
        }
    }
    flows
}

/// Euclidean norms of the slices of a tensor along a dimension.
fn norms(dtype: Dtype, shape: &[usize], bytes: &[u8], dim: usize) -> Vec<f64> {
    let (n, inner) = (shape[dim], shape[dim + 1..].iter().product::<usize>().max(1));
    let mut sums = vec![0.0; n];
    with_element!(dtype, T => {
        for (nth, run) in bytes.chunks(inner * size_of::<T>()).enumerate() {
            let values = run.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned::<T>);
            sums[nth % n] += values.map(|x| x.to_f64().powi(2)).sum::<f64>();
        }
    });
    sums.iter().map(|sum| sum.sqrt()).collect()
}
