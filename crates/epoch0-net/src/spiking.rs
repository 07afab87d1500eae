//! Networks of neurons that spike: their layers see all time steps of an example at once.

use crate::{Network, Op, ParamId};

/// What an operation of a spiking network does. The steps of an example follow each other along dimension 0, example by
/// example: of B examples over T steps there are B · T places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spiking {
    /// Gives each example at every step.
    Repeat,
    /// Leaky integration until a threshold V is passed: of the potential u, 0 at first, `u ← λ u + current`; a neuron
    /// answers 1 where `u / V > 1`, and then `u ← u - V`, and 0 elsewhere.
    ///
    /// The derivative of a spike by `z = u / V - 1` is taken as `0.3 max(0, 1 - |z|)`, and a reset has none but that of V.
    Fire {
        /// The threshold V, one number.
        threshold: ParamId,
        /// The leak λ, one number.
        leak: ParamId,
    },
    /// Adds an example's steps up.
    Sum,
}

impl Spiking {
    /// Height of the derivative that a spike is given.
    pub const SURROGATE: f64 = 0.3;
    /// The threshold that a neuron starts with where nothing else is said.
    pub const THRESHOLD: f64 = 0.4;
    /// The least that training leaves of a threshold.
    pub const LEAST_THRESHOLD: f64 = 1e-6;

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Repeat => "repeat_over_time",
            Self::Fire { .. } => "spike",
            Self::Sum => "sum_over_time",
        }
    }

    pub(crate) fn params_mut(&mut self) -> Vec<&mut ParamId> {
        match self {
            Self::Fire { threshold, leak } => vec![threshold, leak],
            Self::Repeat | Self::Sum => Vec::new(),
        }
    }

    /// Parameters that it uses, in order.
    pub fn params(self) -> Vec<ParamId> {
        match self {
            Self::Fire { threshold, leak } => vec![threshold, leak],
            Self::Repeat | Self::Sum => Vec::new(),
        }
    }
}

impl Network {
    /// Time steps of a spiking network; none of others.
    pub fn spiking_steps(&self) -> Option<usize> {
        self.nodes.iter().find_map(|node| match node.op {
            Op::Spiking { steps, .. } => Some(steps),
            _ => None,
        })
    }

    /// What layers of spiking neurons learn besides their maps: thresholds and leaks, in the order of the graph.
    pub fn neurons(&self) -> impl Iterator<Item = (ParamId, ParamId)> {
        self.nodes.iter().filter_map(|node| match node.op {
            Op::Spiking { by: Spiking::Fire { threshold, leak }, .. } => Some((threshold, leak)),
            _ => None,
        })
    }

    /// Parameters that training keeps within bounds: leaks from 0 to 1, thresholds above 0.
    pub fn bounds(&self) -> Vec<(ParamId, [f64; 2])> {
        let of =
            |(threshold, leak)| [(threshold, [Spiking::LEAST_THRESHOLD, f64::INFINITY]), (leak, [0.0, 1.0])];
        self.neurons().flat_map(of).collect()
    }
}
