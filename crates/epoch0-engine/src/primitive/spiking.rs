//! Neurons that integrate what they are given and spike (Chowdhury et al. 2021).

use epoch0_net::Spiking;

use super::shift::step;
use crate::var::{Primitive, Var};
use crate::{Mask, Tensor};

/// 1 above 0, 0 elsewhere, with the derivative `0.3 max(0, 1 - |z|)` in the place of its own.
#[derive(Debug)]
struct Spike;

fn slope(z: &Var, factor: &Var) -> Var {
    factor.mul(&z.abs().neg().add_scalar(1.0).relu().scale(Spiking::SURROGATE))
}

impl Primitive for Spike {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        step(inputs[0])
    }

    fn jvp(&self, inputs: &[Var], _: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        tangents[0].as_ref().map(|tangent| slope(&inputs[0], tangent))
    }

    fn vjp(&self, inputs: &[Var], _: &Var, cotangent: &Var, _: &[bool]) -> Vec<Option<Var>> {
        vec![Some(slope(&inputs[0], cotangent))]
    }
}

impl Var {
    /// `[B, …]` as `[B, times, rest]`, dimension 0 having so many places for each example.
    fn timed(&self, times: usize) -> Self {
        let shape = self.shape();
        self.reshape(&[shape[0] / times, times, shape[1..].iter().product()])
    }

    /// Each slice of dimension 0 so many times, one after the other.
    #[must_use]
    pub fn repeat_each(&self, times: usize) -> Self {
        let mut shape = self.shape();
        let [examples, _, rest] = self.timed(1).shape()[..] else { unreachable!("three dimensions") };
        shape[0] *= times;
        self.timed(1).expand(&[examples, times, rest]).reshape(&shape)
    }

    /// Sums of so many consecutive slices of dimension 0.
    ///
    /// # Panics
    ///
    /// When their number is no multiple.
    #[must_use]
    pub fn sum_each(&self, times: usize) -> Self {
        let mut shape = self.shape();
        shape[0] /= times;
        self.timed(times).sum_keep(&[1]).reshape(&shape)
    }

    /// Spikes of neurons, 0 or 1, that are given this current; so many consecutive slices of dimension 0 are the steps of one
    /// example. Threshold and leak are one number each. See [`Spiking::Fire`].
    ///
    /// # Panics
    ///
    /// When the number of slices is no multiple.
    #[must_use]
    pub fn spikes(&self, times: usize, threshold: &Self, leak: &Self) -> Self {
        let current = self.timed(times);
        let mut potential: Option<Self> = None;
        let mut spikes = Vec::with_capacity(times);
        for at in 0..times {
            let current = current.slice(1, at, at + 1, 1);
            let before = potential.take();
            let now = before.map_or_else(|| current.clone(), |before| before.mul(leak).add(&current));
            let beyond = now.div(threshold).add_scalar(-1.0);
            // Where a neuron fires its potential falls; whether it does has no derivative here.
            let fires: Mask = beyond.value().greater(0.0);
            potential = (at + 1 < times).then(|| now.choose(&fires, &now.sub(threshold)));
            spikes.push(Self::apply(Spike, &[&beyond]));
        }
        Self::concat(&spikes.iter().collect::<Vec<_>>(), 1).reshape(&self.shape())
    }
}
