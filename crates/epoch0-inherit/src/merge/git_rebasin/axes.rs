//! Which axes of a network can be permuted without a change of what it computes, and what a permutation does to tensors.
//!
//! A permutation belongs to an axis that is made of no others; where that is a part of others (heads × head size, queries then
//! keys then values), it moves those too. An axis is free where every operation that meets it treats its places alike. What an
//! operation does that is not known here, and what a structure of its own is not that of its axes, holds still all that it
//! meets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use epoch0_net::{AxisId, ConstantData, Network, NormKind, Op, ParamId, Role, Structure, ValueId};

/// Deeper structures hold still.
const DEEPEST: usize = 8;

/// A free axis and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Free {
    /// The axis.
    pub axis: AxisId,
    /// Its size.
    pub size: usize,
    /// Parameters, and their dimensions, that it is a part of.
    pub at: Vec<(ParamId, usize)>,
}

/// Permutations by axis: the place that each place is taken from. An axis that is not there stays.
pub type Moves = BTreeMap<AxisId, Arc<[usize]>>;

/// All leaves of an axis; none where it is too deep.
fn leaves(net: &Network, axis: AxisId, depth: usize, found: &mut Vec<AxisId>) -> bool {
    match &net.axis(axis).structure {
        None => {
            found.push(axis);
            true
        }
        Some(structure) => {
            depth < DEEPEST && structure.parts().iter().all(|&part| leaves(net, part, depth + 1, found))
        }
    }
}

/// An axis as a product of leaves, the first varying slowest; none where it is none.
fn factors(net: &Network, axis: AxisId) -> Option<Vec<AxisId>> {
    fn walk(net: &Network, axis: AxisId, depth: usize, found: &mut Vec<AxisId>) -> bool {
        match &net.axis(axis).structure {
            None => {
                if net.axis(axis).size != Some(1) {
                    found.push(axis);
                }
                true
            }
            Some(Structure::Product(parts)) => {
                depth < DEEPEST && parts.iter().all(|&part| walk(net, part, depth + 1, found))
            }
            Some(Structure::Concat(_)) => false,
        }
    }
    let mut found = Vec::new();
    walk(net, axis, 0, &mut found).then_some(found)
}

/// The first factors whose sizes make `n`, and the rest.
fn cut(net: &Network, factors: &[AxisId], n: usize) -> Option<(Vec<AxisId>, Vec<AxisId>)> {
    let mut product = 1;
    for at in 0..=factors.len() {
        if product == n {
            return Some((factors[..at].to_vec(), factors[at..].to_vec()));
        }
        product *= net.axis(*factors.get(at)?).size?;
    }
    None
}

struct Still<'a> {
    net: &'a Network,
    axes: BTreeSet<AxisId>,
}

impl Still<'_> {
    fn hold(&mut self, axis: AxisId) {
        let mut found = Vec::new();
        leaves(self.net, axis, 0, &mut found);
        self.axes.extend(found);
    }

    fn hold_value(&mut self, value: ValueId, from: usize) {
        self.net.value(value).dims.iter().skip(from).for_each(|&axis| self.hold(axis));
    }

    fn hold_all(&mut self, values: impl IntoIterator<Item = ValueId>) {
        values.into_iter().for_each(|value| self.hold_value(value, 0));
    }

    fn last(&self, value: ValueId) -> Option<AxisId> {
        self.net.value(value).dims.last().copied()
    }

    /// Whether a product of heads and dimensions is what attention reads it as, all of its inputs alike.
    fn is_attended(
        &self,
        inputs: &[ValueId],
        output: ValueId,
        heads: usize,
        kv_heads: usize,
    ) -> Option<Vec<AxisId>> {
        let net = self.net;
        let of = |value: ValueId, n: usize| cut(net, &factors(net, self.last(value)?)?, n);
        let (q_heads, q_dims) = of(*inputs.first()?, heads)?;
        let (k_heads, k_dims) = of(*inputs.get(1)?, kv_heads)?;
        let (v_heads, v_dims) = of(*inputs.get(2)?, kv_heads)?;
        let (out_heads, out_dims) = of(output, heads)?;
        let fits = q_heads.starts_with(&k_heads)
            && k_heads == v_heads
            && q_dims == k_dims
            && out_heads == q_heads
            && out_dims == v_dims;
        fits.then_some(q_dims)
    }

    fn node(&mut self, op: &Op, inputs: &[ValueId], outputs: &[ValueId]) {
        let net = self.net;
        let dims = |value: ValueId| &net.value(value).dims;
        let all = || inputs.iter().chain(outputs).copied();
        match op {
            Op::Linear { .. }
            | Op::Param(_)
            | Op::Activation(_)
            | Op::Add
            | Op::Mul
            | Op::Scale(_)
            | Op::Softcap(_)
            | Op::Exp
            | Op::UnitNorm
            | Op::MatMulTransposed
            | Op::Permute { .. }
            | Op::Mean { .. }
            | Op::Unary(_)
            | Op::Clip { .. }
            | Op::Spiking { .. }
            | Op::ToReal => {}
            Op::Propagate { .. } => {
                if dims(inputs[0]).get(1) != dims(outputs[0]).get(1) {
                    self.hold_all(all());
                }
            }
            Op::Conv { weight, groups, transposed, .. } => {
                all().for_each(|value| self.hold_value(value, 2));
                let axes = &net.param(*weight).axes;
                axes[2..].iter().for_each(|&axis| self.hold(axis));
                let (input, output) = (dims(inputs[0])[1], dims(outputs[0])[1]);
                if !self.is_convolved(axes, input, output, *groups, *transposed) {
                    [input, output, axes[0], axes[1]].into_iter().for_each(|axis| self.hold(axis));
                }
            }
            Op::Embedding { table } | Op::RelativeBias { table, .. } => self.hold(net.param(*table).axes[0]),
            Op::Norm { kind, scale, .. } => {
                let (over, groups) = match kind {
                    NormKind::Layer | NormKind::Rms { .. } => (self.last(inputs[0]), 1),
                    NormKind::Group { groups } => (dims(inputs[0]).get(1).copied(), *groups),
                    NormKind::Batch | NormKind::LayerChannelsFirst => (dims(inputs[0]).get(1).copied(), 1),
                };
                let Some(over) = over else { return };
                let own = scale.map(|scale| net.param(scale).axes[0]);
                let is_whole = own.is_none_or(|own| own == over);
                let is_end = || {
                    let (over, own) = (factors(net, over)?, factors(net, own?)?);
                    over.ends_with(&own).then_some(())
                };
                let is_even = groups == 1 || net.axis(over).size == Some(groups);
                if !is_even || !(is_whole || is_end().is_some()) {
                    self.hold(over);
                    own.into_iter().for_each(|own| self.hold(own));
                }
            }
            Op::Rational { groups, numerator, denominator, .. } => {
                if *groups != 1 {
                    self.hold_all(all());
                }
                for &param in [numerator, denominator] {
                    net.param(param).axes.iter().for_each(|&axis| self.hold(axis));
                }
            }
            Op::Attention(attention) => {
                match self.is_attended(inputs, outputs[0], attention.heads, attention.kv_heads) {
                    Some(dims) if attention.rope.is_some() => {
                        dims.into_iter().for_each(|axis| self.hold(axis));
                    }
                    Some(_) => {}
                    None => self.hold_all(all()),
                }
            }
            Op::Split { .. } => {
                let parts: Option<Vec<AxisId>> = outputs.iter().map(|&value| self.last(value)).collect();
                let whole = self.last(inputs[0]).and_then(|axis| net.axis(axis).structure.as_ref());
                if whole != parts.map(Structure::Concat).as_ref() {
                    self.hold_all(all());
                }
            }
            Op::SplitInHeads { heads, .. } => {
                if !self.is_split_in_heads(inputs[0], outputs, *heads).unwrap_or(false) {
                    self.hold_all(all());
                }
            }
            Op::Concat { dim } => {
                let rank = dims(outputs[0]).len();
                let part = |value: ValueId| {
                    let own = dims(value);
                    dim.checked_sub(rank - own.len()).and_then(|dim| own.get(dim).copied())
                };
                let structure = net.axis(dims(outputs[0])[*dim]).structure.as_ref();
                let fits = matches!(structure, Some(Structure::Concat(parts)) if parts.len() == inputs.len()
                    && parts.iter().zip(inputs).all(|(&axis, &value)| part(value).is_none_or(|own| own == axis)));
                if !fits {
                    let along =
                        inputs.iter().filter_map(|&value| part(value)).chain([dims(outputs[0])[*dim]]);
                    along.collect::<Vec<_>>().into_iter().for_each(|axis| self.hold(axis));
                }
            }
            Op::Flatten => {
                let parts: Option<Vec<_>> =
                    dims(inputs[0])[1..].iter().map(|&axis| factors(net, axis)).collect();
                let whole = self.last(outputs[0]).and_then(|axis| factors(net, axis));
                if parts.map(|parts| parts.concat()) != whole || whole.is_none() {
                    self.hold_all(all());
                }
            }
            Op::SpaceToSequence => all().for_each(|value| {
                let own = dims(value);
                let space: Vec<AxisId> = if own.len() == 3 { vec![own[1]] } else { own[2..].to_vec() };
                space.into_iter().for_each(|axis| self.hold(axis));
            }),
            Op::Select { .. } | Op::SelectToken { .. } => {
                dims(inputs[0]).get(1).into_iter().for_each(|&axis| self.hold(axis));
            }
            Op::Pool(_) => all().for_each(|value| self.hold_value(value, 2)),
            Op::Mixture { .. } => self.last(inputs[0]).into_iter().for_each(|axis| self.hold(axis)),
            Op::Pad { dim, .. } => {
                let (inner, outer) = (dims(inputs[0])[*dim], dims(outputs[0])[*dim]);
                let structure = net.axis(outer).structure.as_ref();
                if inner != outer
                    && !matches!(structure, Some(Structure::Concat(parts)) if parts.contains(&inner))
                {
                    self.hold(inner);
                    self.hold(outer);
                }
            }
            Op::ChannelShuffle { groups } => {
                let of = |value: ValueId, n: usize| cut(net, &factors(net, dims(value)[1])?, n);
                let n = net.axis(dims(inputs[0])[1]).size.unwrap_or(0) / (*groups).max(1);
                let swapped = of(inputs[0], *groups).zip(of(outputs[0], n));
                if !swapped.is_some_and(|((a, b), (c, d))| a == d && b == c) {
                    self.hold(dims(inputs[0])[1]);
                    self.hold(dims(outputs[0])[1]);
                }
            }
            Op::Recurrent { input_weight, state_weight, .. } => {
                let hidden = self.last(outputs[0]);
                let packed = [input_weight, state_weight].map(|&param| net.param(param).axes[0]);
                let fits = packed.iter().all(|&packed| match &net.axis(packed).structure {
                    Some(Structure::Concat(parts)) => parts.iter().all(|&part| Some(part) == hidden),
                    _ => Some(packed) == hidden,
                });
                if !fits {
                    self.hold_all(all());
                    packed.into_iter().for_each(|axis| self.hold(axis));
                }
            }
            Op::Constant(constant) => {
                let is_even = match &constant.data {
                    ConstantData::Real(values) => values.iter().all(|value| *value == values[0]),
                    ConstantData::Index(values) => values.iter().all(|value| *value == values[0]),
                    ConstantData::Bool(values) => values.iter().all(|value| *value == values[0]),
                };
                if !is_even {
                    self.hold_all(all());
                }
            }
            _ => self.hold_all(all()),
        }
    }

    fn is_convolved(
        &self,
        axes: &[AxisId],
        input: AxisId,
        output: AxisId,
        groups: usize,
        transposed: bool,
    ) -> bool {
        let net = self.net;
        let (out_axis, in_axis) = if transposed { (axes[1], axes[0]) } else { (axes[0], axes[1]) };
        if groups == 1 {
            return out_axis == output && in_axis == input;
        }
        let grouped = |axis: AxisId| cut(net, &factors(net, axis)?, groups);
        let fits = || {
            let (in_groups, rest) = grouped(input)?;
            let (out_groups, _) = grouped(output)?;
            Some(in_groups == out_groups && rest == factors(net, in_axis)?)
        };
        !transposed && out_axis == output && fits().unwrap_or(false)
    }

    fn is_split_in_heads(&self, input: ValueId, outputs: &[ValueId], heads: usize) -> Option<bool> {
        let net = self.net;
        let Some(Structure::Product(whole)) = &net.axis(self.last(input)?).structure else { return None };
        let [head, packed] = whole[..] else { return None };
        let Some(Structure::Concat(parts)) = &net.axis(packed).structure else { return None };
        let are_parts = parts.len() == outputs.len()
            && parts.iter().zip(outputs).all(|(&part, &value)| {
                let found = self.last(value).and_then(|axis| factors(net, axis));
                let wanted = factors(net, head).zip(factors(net, part)).map(|(a, b)| [a, b].concat());
                found.is_some() && found == wanted
            });
        Some(net.axis(head).size == Some(heads) && are_parts)
    }
}

/// The axes of a network that can be permuted, in order.
pub fn free(net: &Network) -> Vec<Free> {
    let mut still = Still { net, axes: BTreeSet::new() };
    still.hold_all(net.inputs().iter().chain(net.outputs()).copied());
    for node in net.nodes() {
        still.node(&node.op, &node.inputs, &node.outputs);
    }
    let mut at: BTreeMap<AxisId, Vec<(ParamId, usize)>> = BTreeMap::new();
    for (index, param) in net.params().iter().enumerate() {
        for (dim, &axis) in param.axes.iter().enumerate() {
            let mut found = Vec::new();
            if !leaves(net, axis, 0, &mut found) || has_twice(net, axis) {
                still.axes.extend(found);
                continue;
            }
            if param.role == Role::Position && dim + 1 < param.axes.len() {
                still.axes.extend(found.iter().copied());
            }
            found.sort_unstable();
            found.dedup();
            for leaf in found {
                at.entry(leaf).or_default().push((ParamId(index as u32), dim));
            }
        }
    }
    let is_free = |axis: &AxisId, at: &[(ParamId, usize)]| {
        !still.axes.contains(axis) && at.iter().any(|(param, _)| !net.param(*param).role.is_buffer())
    };
    at.into_iter()
        .filter(|(axis, at)| is_free(axis, at))
        .filter_map(|(axis, at)| Some(Free { axis, size: net.axis(axis).size.filter(|&size| size > 1)?, at }))
        .collect()
}

/// Whether two factors of a product share a leaf, so that a place of it stands twice in one place of the product.
fn has_twice(net: &Network, axis: AxisId) -> bool {
    let Some(structure) = &net.axis(axis).structure else { return false };
    let inner = structure.parts().iter().any(|&part| has_twice(net, part));
    let Structure::Product(parts) = structure else { return inner };
    let mut all = BTreeSet::new();
    let is_new = |part: &AxisId| {
        let mut found = Vec::new();
        leaves(net, *part, 0, &mut found);
        let own: BTreeSet<AxisId> = found.into_iter().collect();
        own.into_iter().all(|leaf| all.insert(leaf))
    };
    inner || !parts.iter().all(is_new)
}

/// Whether a permutation moves a part of an axis.
fn is_moved(net: &Network, axis: AxisId, moves: &Moves) -> bool {
    moves.contains_key(&axis)
        || net
            .axis(axis)
            .structure
            .as_ref()
            .is_some_and(|structure| structure.parts().iter().any(|&part| is_moved(net, part, moves)))
}

/// For each place of an axis the one that it is taken from; none where all stay.
pub fn places(net: &Network, axis: AxisId, moves: &Moves) -> Option<Arc<[usize]>> {
    if !is_moved(net, axis, moves) {
        return None;
    }
    if let Some(own) = moves.get(&axis) {
        return Some(own.clone());
    }
    let size = |axis: AxisId| net.axis(axis).size.unwrap_or(1);
    let of = |part: AxisId| places(net, part, moves).unwrap_or_else(|| (0..size(part)).collect());
    let whole: Vec<usize> = match net.axis(axis).structure.as_ref()? {
        Structure::Product(parts) => parts.iter().fold(vec![0], |whole, &part| {
            let (own, size) = (of(part), size(part));
            whole.iter().flat_map(|&at| own.iter().map(move |&place| at * size + place)).collect()
        }),
        Structure::Concat(parts) => {
            let mut begin = 0;
            let mut whole = Vec::new();
            for &part in parts {
                whole.extend(of(part).iter().map(|place| begin + place));
                begin += size(part);
            }
            whole
        }
    };
    Some(whole.into())
}

/// Groups of places of an axis that differ in a leaf only: in each, the place for every place of the leaf.
pub fn groups(net: &Network, axis: AxisId, leaf: AxisId) -> Vec<Vec<usize>> {
    let size = |axis: AxisId| net.axis(axis).size.unwrap_or(1);
    if axis == leaf {
        return vec![(0..size(axis)).collect()];
    }
    match &net.axis(axis).structure {
        None => Vec::new(),
        Some(Structure::Concat(parts)) => {
            let mut begin = 0;
            let mut found = Vec::new();
            for &part in parts {
                let of_part = groups(net, part, leaf);
                found.extend(
                    of_part.into_iter().map(|group| group.into_iter().map(|at| begin + at).collect()),
                );
                begin += size(part);
            }
            found
        }
        Some(Structure::Product(parts)) => {
            for (nth, &part) in parts.iter().enumerate() {
                let own = groups(net, part, leaf);
                if own.is_empty() {
                    continue;
                }
                let before: usize = parts[..nth].iter().map(|&part| size(part)).product();
                let after: usize = parts[nth + 1..].iter().map(|&part| size(part)).product();
                let spread = |(outer, inner): (usize, usize), group: &[usize]| -> Vec<usize> {
                    group.iter().map(|&at| (outer * size(part) + at) * after + inner).collect()
                };
                let corners = (0..before).flat_map(|outer| (0..after).map(move |inner| (outer, inner)));
                return corners
                    .flat_map(|corner| own.iter().map(move |group| spread(corner, group)).collect::<Vec<_>>())
                    .collect();
            }
            Vec::new()
        }
    }
}
