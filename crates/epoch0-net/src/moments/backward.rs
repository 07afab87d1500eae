//! Backward.

use epoch0_num::meanfield::MeanFieldError;

use super::{Flow, NoMoments};
use crate::{Binary, Network, Node, NodeId, NormKind, Op, Pool, Reduction, ValueId};

impl Network {
    /// Second moments of gradients by each value, summed over positions, those by the outputs being 1; 0 where none
    /// comes.
    ///
    /// # Errors
    /// Where an activation has no slope.
    pub fn gradient_moments(&self, flow: &Flow) -> Result<Vec<f64>, NoMoments> {
        let mut found = vec![0.0; self.values().len()];
        self.outputs().iter().for_each(|output| found[output.0 as usize] = 1.0);
        for (index, node) in self.nodes().iter().enumerate().rev() {
            let arriving = node.outputs.iter().map(|output| found[output.0 as usize]).fold(0.0, f64::max);
            if arriving == 0.0 {
                continue;
            }
            for (nth, &input) in node.inputs.iter().enumerate() {
                if self.value(input).is_index {
                    continue;
                }
                let share = self.let_through(NodeId(index as u32), node, nth, flow);
                let share = share.map_err(|error| NoMoments { place: node.op.name().to_owned(), error })?;
                found[input.0 as usize] += share * arriving;
            }
        }
        Ok(found)
    }

    /// What second moments of gradients are multiplied by on their way from a node's output to its input `nth`.
    fn let_through(&self, id: NodeId, node: &Node, nth: usize, flow: &Flow) -> Result<f64, MeanFieldError> {
        let signal = |value: ValueId| flow.signal(value);
        let Some(own) = signal(node.inputs[nth]) else { return Ok(0.0) };
        Ok(match &node.op {
            // Of the largest of several units one has all.
            Op::Reduce { .. } | Op::Pool(_) if flow.maxouts.contains_key(&node.outputs[0]) => {
                1.0 / f64::from(flow.maxouts[&node.outputs[0]])
            }
            Op::Binary(Binary::Max) => {
                let all: f64 = node
                    .inputs
                    .iter()
                    .filter_map(|&value| signal(value))
                    .map(|of| f64::from(of.rank()))
                    .sum();
                f64::from(own.rank()) / all
            }
            Op::Linear { .. } | Op::Conv { .. } => {
                flow.fans[id.0 as usize].map_or(0.0, |(_, out)| out * flow.weights[id.0 as usize])
            }
            Op::Activation(act) => own.slope(act)?,
            Op::Rational { start, .. } => own.slope(&start.like)?,
            Op::Norm { kind, .. } => match kind {
                NormKind::Rms { .. } => 1.0 / own.second,
                NormKind::Batch => 1.0 / (own.second - own.cross),
                _ => 1.0 / own.variance(),
            },
            Op::Mul => {
                let others = node.inputs.iter().enumerate().filter(|(other, _)| *other != nth);
                others.filter_map(|(_, &value)| signal(value)).map(|other| other.second).product()
            }
            Op::Scale(by) => by * by,
            // Queries and keys have little say where all positions look alike.
            Op::Attention(_) => f64::from(nth == 2),
            Op::Mixture { .. } => f64::from(nth > 0),
            // Of the largest, one has all; of a mean, each has a part in n.
            Op::Pool(Pool::Max(_) | Pool::MaxCeil(_)) => 1.0,
            Op::Pool(_) | Op::Mean { .. } | Op::Reduce { by: Reduction::Mean, .. } => {
                1.0 / f64::from(self.positions_of_mean(node))
            }
            _ => 1.0,
        })
    }
}
