//! What a wide random network's values are like before anything is run: second moments forward and backward.
//!
//! Every value is a [`Signal`]: mean and second moment of a unit, and what of it two positions or inputs that have
//! nothing to do with each other have in common. Behind a map whose weights are independent with mean 0 units are
//! Gaussian, and each operation changes the signal by a formula or a quadrature. Backward, second moments of gradients
//! are multiplied by what each operation lets through. The theory is that of wide layers; four things are taken for
//! simpler than they are:
//!
//! - attention is taken to look at one position, which its second moment does not exceed;
//! - what has been through an activation and goes into another without a map between (a sum of such, pooled) is taken
//!   for Gaussian there;
//! - windows of a convolution at the border are taken for full;
//! - positions of a pool behind a maxout unit are taken to have weights of their own.
//!
//! What an operation does that has no formula here passes as it came, and is named ([`Flow::passed`]). So does passing
//! features along edges: what that does is the graph's, which a network is given and does not have. Where rows of the
//! operator sum to about one (means, normalized edges) it is what nodes come to that have become alike.

mod backward;
mod forward;

use std::collections::HashMap;

use epoch0_num::meanfield::{MeanFieldError, Signal};

use crate::{Network, NodeId, Op, ParamId, ValueId};

/// What the weights of a map are drawn from: independent, with mean 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Variance of a weight.
    pub weight: f64,
    /// Variance of a bias.
    pub bias: f64,
}

/// What decides parameters as signals arrive at them, in the order of the graph.
pub trait Draws {
    /// What the weights of a linear map or a convolution are drawn from, given what arrives, how many of it are summed
    /// to one output, and what was found before.
    fn map(&mut self, node: NodeId, arriving: &Signal, n_summed: f64, before: &Flow) -> Scale;

    /// Mean and variance of the elements of a table or of a parameter that is a value itself.
    fn table(&mut self, node: NodeId, param: ParamId) -> (f64, f64);
}

/// Signals of a network.
#[derive(Clone, Debug)]
pub struct Flow {
    /// By value; nothing for integers.
    signals: Vec<Option<Signal>>,
    /// Inputs summed to an output, and outputs that an input goes to, of each node that is a map.
    fans: Vec<Option<(f64, f64)>>,
    /// Variance of the weights of each node that is a map.
    weights: Vec<f64>,
    /// Of how many units the values that are maxout units are the largest.
    maxouts: HashMap<ValueId, u32>,
    /// Names of operations that were passed as if they did nothing, each once.
    pub passed: Vec<&'static str>,
}

/// Where the theory has no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{place}: {error}")]
pub struct NoMoments {
    /// The operation, with its block.
    pub place: String,
    /// Why.
    pub error: MeanFieldError,
}

impl Flow {
    /// The signal of a value; nothing where it holds integers.
    pub fn signal(&self, value: ValueId) -> Option<&Signal> {
        self.signals[value.0 as usize].as_ref()
    }
}

/// For each node that is a map, the inputs that are summed to one of its outputs, and the outputs that one input goes to,
/// over all positions.
fn fans(net: &Network) -> Vec<Option<(f64, f64)>> {
    let mut found: Vec<Option<(f64, f64)>> = vec![None; net.nodes().len()];
    let mut params: Vec<Option<ParamId>> = vec![None; net.nodes().len()];
    for site in net.sites().iter().filter(|site| site.role.is_matrix()) {
        let node = site.node.0 as usize;
        let (Some(fans), true) = (site.fans, params[node].is_none_or(|param| param == site.param)) else {
            continue;
        };
        params[node] = Some(site.param);
        let spread = match &net.nodes()[node].op {
            Op::Conv { window, transposed: true, .. } => {
                window.stride.iter().product::<usize>().max(1) as f64
            }
            _ => 1.0,
        };
        // All parts of a packed map answer.
        let out = found[node].map_or(0.0, |(_, out)| out);
        found[node] =
            Some(found[node].map_or((fans.in_ / spread, fans.out), |(n_in, _)| (n_in, out + fans.out)));
    }
    found
}
