//! Forward.

use epoch0_num::Activation;
use epoch0_num::meanfield::{MeanFieldError, Signal, Stage};

use super::{Draws, Flow, NoMoments, fans};
use crate::{
    Binary, Constant, ConstantData, Network, Node, NodeId, NormKind, Op, Pool, Reduction, Spiking, Unary,
    ValueId, Window,
};

/// Positions that a mean goes over where the network does not say how many.
const MANY: u32 = 64;

impl Network {
    /// Follows a signal through the network; all of its inputs that are numbers are given `input`.
    ///
    /// # Errors
    /// Where an activation has no expectation, or nothing is left that differs from input to input.
    pub fn moments(&self, input: &Signal, draws: &mut dyn Draws) -> Result<Flow, NoMoments> {
        let mut flow = Flow {
            signals: vec![None; self.values().len()],
            fans: fans(self),
            weights: vec![0.0; self.nodes().len()],
            maxouts: self
                .sites()
                .iter()
                .filter_map(|site| site.maxout)
                .map(|of| (of.output, of.rank as u32))
                .collect(),
            passed: Vec::new(),
        };
        for &value in self.inputs() {
            if !self.value(value).is_index {
                flow.signals[value.0 as usize] = Some(input.clone());
            }
        }
        for (index, node) in self.nodes().iter().enumerate() {
            let found = self.behind(NodeId(index as u32), node, &mut flow, draws);
            let found = found.map_err(|error| NoMoments { place: self.place_of(node), error })?;
            for &output in &node.outputs {
                if !self.value(output).is_index {
                    flow.signals[output.0 as usize].clone_from(&found);
                }
            }
        }
        Ok(flow)
    }

    fn place_of(&self, node: &Node) -> String {
        let named = node.op.params().first().map(|&param| self.param(param).name.clone());
        let block = || node.block.map(|block| self.blocks()[block].clone());
        match named.or_else(block) {
            Some(place) => format!("{place} ({})", node.op.name()),
            None => node.op.name().to_owned(),
        }
    }

    fn behind(
        &self,
        id: NodeId,
        node: &Node,
        flow: &mut Flow,
        draws: &mut dyn Draws,
    ) -> Result<Option<Signal>, MeanFieldError> {
        let signals: Vec<Signal> =
            node.inputs.iter().filter_map(|input| flow.signals[input.0 as usize].clone()).collect();
        let table = |draws: &mut dyn Draws, param, shared: bool| {
            let (mean, var) = draws.table(id, param);
            Signal::of_table(mean, var, shared).map(Some)
        };
        match &node.op {
            // Rows of different words are independent; a parameter is the same for all inputs.
            Op::Embedding { table: param } => return table(draws, *param, false),
            Op::Param(param) => return table(draws, *param, true),
            Op::Constant(constant) => return of_constant(constant),
            _ => {}
        }
        let Some(first) = signals.first() else { return Ok(None) };
        let stage = |stage: Stage| first.behind(&stage).map(Some);
        let passed = |flow: &mut Flow| {
            if !flow.passed.contains(&node.op.name()) {
                flow.passed.push(node.op.name());
            }
            Ok(Some(first.clone()))
        };
        match &node.op {
            Op::Reduce { .. } | Op::Pool(_) if flow.maxouts.contains_key(&node.outputs[0]) => {
                first.as_gaussian().behind(&Stage::Maxout(flow.maxouts[&node.outputs[0]])).map(Some)
            }
            Op::Linear { .. } | Op::Conv { .. } => {
                let Some((n_summed, _)) = flow.fans[id.0 as usize] else { return passed(flow) };
                let scale = draws.map(id, first, n_summed, flow);
                flow.weights[id.0 as usize] = scale.weight;
                let sigma_w = (n_summed * scale.weight).sqrt();
                // Deep networks bring all inputs together; what is left of them has a size all the same.
                let behind = |moment: f64| n_summed * scale.weight * moment + scale.bias;
                let second = behind(first.second);
                if second > 0.0 && second.is_finite() {
                    return Signal::normal(second, behind(first.cross).clamp(0.0, second)).map(Some);
                }
                first.behind(&Stage::Linear { sigma_w, sigma_b: scale.bias.sqrt() }).map(Some)
            }
            Op::Activation(act) => first.as_unactivated().behind(&Stage::Activation(act.clone())).map(Some),
            Op::Rational { start, .. } => {
                first.as_unactivated().behind(&Stage::Activation(start.like.clone())).map(Some)
            }
            Op::Unary(Unary::Sin) => {
                let sine = Activation::Sine { omega: 1.0 };
                first.as_unactivated().behind(&Stage::Activation(sine)).map(Some)
            }
            Op::Norm { kind, .. } => stage(match kind {
                NormKind::Batch => Stage::BatchNorm,
                NormKind::Rms { .. } => Stage::RmsNorm,
                _ => Stage::LayerNorm,
            }),
            Op::UnitNorm => {
                let width = self.last_size(node.inputs[0]).unwrap_or(MANY);
                Ok(Some(first.behind(&Stage::RmsNorm)?.scaled(1.0 / f64::from(width).sqrt())))
            }
            Op::Add => Ok(Some(sum(node, &signals))),
            Op::Binary(Binary::Max) if signals.len() == 2 => first.larger(&signals[1]).map(Some),
            Op::Binary(Binary::Sub) => Ok(Some(Signal::sum(&signals))),
            Op::Mul => Ok(signals.into_iter().reduce(|a, b| a.product(&b))),
            Op::Scale(by) => Ok(Some(first.scaled(*by))),
            Op::Spiking { by: Spiking::Sum, steps } => Ok(Some(first.scaled(*steps as f64))),
            Op::Unary(Unary::Neg) => Ok(Some(first.scaled(-1.0))),
            // The values of the positions that are looked at; with a mask or without.
            Op::Attention(_) => Ok(signals.get(2).map(Signal::as_gaussian)),
            Op::MatMul => match self.maker(node.inputs[0]) {
                Some(Op::Softmax { .. }) => Ok(signals.get(1).map(Signal::as_gaussian)),
                _ => passed(flow),
            },
            Op::Concat { dim } => {
                let size = |value: ValueId| self.size_at(value, *dim).unwrap_or(1);
                let real = node.inputs.iter().filter(|value| flow.signal(**value).is_some());
                let parts: Vec<_> = real.map(|&value| size(value)).zip(signals.iter().cloned()).collect();
                Ok(Some(Signal::mixed(&parts)))
            }
            Op::Mean { .. } | Op::Reduce { by: Reduction::Mean, .. } => {
                stage(Stage::MeanPool(self.positions_of_mean(node)))
            }
            Op::Pool(pool) => self.pooled(node, first, pool).map(Some),
            Op::Mixture { .. } => Ok(signals.get(1).map(Signal::as_gaussian)),
            op if is_layout(op) => Ok(Some(first.clone())),
            _ => passed(flow),
        }
    }

    fn pooled(&self, node: &Node, signal: &Signal, pool: &Pool) -> Result<Signal, MeanFieldError> {
        match pool {
            Pool::Max(window) | Pool::MaxCeil(window) => {
                // What is no Gaussian and no activation of one any more is taken for one.
                let stage = Stage::MaxPool(count(window));
                signal.behind(&stage).or_else(|_| signal.as_gaussian().behind(&stage))
            }
            _ => signal.behind(&Stage::MeanPool(self.positions_of_mean(node))),
        }
    }

    /// How many positions a mean is taken over.
    pub(super) fn positions_of_mean(&self, node: &Node) -> u32 {
        let x = node.inputs[0];
        let over = |mut dims: std::ops::Range<usize>| -> Option<usize> {
            dims.try_fold(1usize, |n, dim| Some(n.saturating_mul(self.size_at(x, dim)?)))
        };
        let space = || over(2..self.value(x).dims.len());
        let n = match &node.op {
            Op::Mean { dim } => over(*dim..dim + 1),
            Op::Reduce { dims, .. } => dims.iter().map(|&dim| self.size_at(x, dim)).product(),
            Op::Pool(Pool::Mean(window)) => Some(count(window) as usize),
            Op::Pool(Pool::AdaptiveMean(to)) => space().map(|n| n / to.iter().product::<usize>().max(1)),
            _ => space(),
        };
        n.map_or(MANY, |n| u32::try_from(n).unwrap_or(u32::MAX)).max(1)
    }

    /// Size of a dimension, where it is known.
    fn size_at(&self, value: ValueId, dim: usize) -> Option<usize> {
        self.value(value).dims.get(dim).and_then(|&axis| self.axis(axis).size)
    }

    fn last_size(&self, value: ValueId) -> Option<u32> {
        let dims = &self.value(value).dims;
        self.size_at(value, dims.len().checked_sub(1)?).map(|size| size as u32)
    }

    fn maker(&self, value: ValueId) -> Option<&Op> {
        self.value(value).from.map(|from| &self.nodes()[from.0 as usize].op)
    }
}

fn count(window: &Window) -> u32 {
    window.kernel.iter().product::<usize>() as u32
}

/// A value that is added to itself is doubled; others are independent.
fn sum(node: &Node, signals: &[Signal]) -> Signal {
    if node.inputs.len() == signals.len() && node.inputs.iter().all(|&input| input == node.inputs[0]) {
        return signals[0].scaled(signals.len() as f64);
    }
    Signal::sum(signals)
}

/// Whether an operation only moves elements about, or keeps some of them.
fn is_layout(op: &Op) -> bool {
    matches!(
        op,
        Op::Split { .. }
            | Op::SplitInHeads { .. }
            | Op::Flatten
            | Op::SpaceToSequence
            | Op::Permute { .. }
            | Op::Select { .. }
            | Op::SelectToken { .. }
            | Op::Pad { .. }
            | Op::ChannelShuffle { .. }
            | Op::Transpose { .. }
            | Op::Reshape { .. }
            | Op::Expand { .. }
            | Op::Slice { .. }
            | Op::Flip { .. }
            | Op::Gather { .. }
            | Op::GatherElements { .. }
            | Op::Spiking { by: Spiking::Repeat, .. }
    )
}

/// Numbers that stand in the network: the same for all inputs.
fn of_constant(constant: &Constant) -> Result<Option<Signal>, MeanFieldError> {
    let ConstantData::Real(values) = &constant.data else { return Ok(None) };
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let var = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    Signal::of_table(mean, var, true).map(Some)
}
