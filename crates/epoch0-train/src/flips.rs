//! Weights that are signed powers of two, and how many of them change: what of such a network is frozen.

use std::ops::ControlFlow;

use epoch0_engine::{Tensor, Weights};
use epoch0_net::Network;

use crate::{Error, Evaluation, Observer, Trainer};

/// How many signs and exponents changed between two looks, as shares of all weights that are signed powers of two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flips {
    /// Steps taken before the second look.
    pub step: u64,
    /// Passes over the training examples before it.
    pub epoch: f64,
    /// Signs that are others than at the look before.
    pub signs: f64,
    /// Exponents that are.
    pub exponents: f64,
    /// Signs that have been the same at all looks.
    pub frozen_signs: f64,
    /// Exponents that have.
    pub frozen_exponents: f64,
}

/// Looks at the weights of a training at each of its tests.
#[derive(Clone, Debug, Default)]
pub struct Freezing {
    /// Exponent and sign of each weight at the last look.
    last: Vec<(u8, bool)>,
    /// Whether the sign, and the exponent, has ever changed.
    changed: Vec<(bool, bool)>,
    flips: Vec<Flips>,
}

impl Freezing {
    /// What was found between looks.
    pub fn flips(&self) -> &[Flips] {
        &self.flips
    }

    /// Looks at weights; answers what changed since the last look, where there was one and the network has weights that are
    /// signed powers of two.
    pub fn look(&mut self, network: &Network, weights: &Weights, step: u64, epoch: f64) -> Option<Flips> {
        let now = words(network, weights);
        if self.last.len() != now.len() {
            (self.changed, self.last) = (vec![(false, false); now.len()], now);
            return None;
        }
        if now.is_empty() {
            return None;
        }
        let (mut signs, mut exponents) = (0usize, 0usize);
        for ((before, after), changed) in self.last.iter().zip(&now).zip(&mut self.changed) {
            let (sign, exponent) = (before.1 != after.1, before.0 != after.0);
            signs += usize::from(sign);
            exponents += usize::from(exponent);
            *changed = (changed.0 || sign, changed.1 || exponent);
        }
        let n = now.len() as f64;
        let still =
            |of: fn(&(bool, bool)) -> bool| self.changed.iter().filter(|all| !of(all)).count() as f64 / n;
        let found = Flips {
            step,
            epoch,
            signs: signs as f64 / n,
            exponents: exponents as f64 / n,
            frozen_signs: still(|changed| changed.0),
            frozen_exponents: still(|changed| changed.1),
        };
        self.last = now;
        self.flips.push(found);
        Some(found)
    }
}

/// Exponent and sign of every weight that is a signed power of two.
fn words(network: &Network, weights: &Weights) -> Vec<(u8, bool)> {
    let mut words = Vec::new();
    for (weight, shift) in network.shifts() {
        let values = |id| weights.get(id).map(Tensor::to_f64).unwrap_or_default();
        let gates: Vec<Vec<f64>> = shift.gates.iter().map(|gate| values(*gate)).collect();
        for (at, sign) in values(weight).into_iter().enumerate() {
            let code = shift.code(0.0, gates.iter().map(|gate| gate[at]));
            words.push((code, sign < 0.0));
        }
    }
    words
}

impl Observer for Freezing {
    fn tested(&mut self, trainer: &Trainer<'_>, found: &Evaluation) -> Result<ControlFlow<()>, Error> {
        self.look(trainer.network(), trainer.weights(), found.step, found.epoch);
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use epoch0_engine::{Device, Elements, Precision};
    use epoch0_net::zoo;

    use super::*;

    #[test]
    fn changes_are_counted_and_what_never_changed_is_frozen() {
        let net = zoo::build("mlp:2-2-2-2,shift=2,bias=false").unwrap();
        let weights = |sign: [f64; 4], gate: [f64; 4]| {
            Weights::read::<epoch0_engine::Error>(&net, Precision::Double, &Device::cpu(), |_, param| {
                Ok(Elements::Double(match param.name.as_str() {
                    "2.weight" => sign.to_vec(),
                    "2.weight_t1" => gate.to_vec(),
                    _ => vec![0.5; param.len()],
                }))
            })
            .unwrap()
        };
        let mut freezing = Freezing::default();
        let first = weights([1.0, -1.0, 0.0, 1.0], [1.0, 1.0, -1.0, 0.0]);
        assert_eq!(freezing.look(&net, &first, 0, 0.0), None);
        let second = weights([2.0, 1.0, 0.5, 1.0], [1.0, -1.0, -1.0, 2.0]);
        let found = freezing.look(&net, &second, 5, 0.5).unwrap();
        assert_eq!((found.signs, found.exponents), (0.25, 0.5));
        let found = freezing.look(&net, &first, 10, 1.0).unwrap();
        assert_eq!((found.signs, found.frozen_signs, found.frozen_exponents), (0.25, 0.75, 0.5));
        let (plain, mut freezing) = (zoo::build("mlp:2-2-2-2,bias=false").unwrap(), Freezing::default());
        assert_eq!(freezing.look(&plain, &first, 0, 0.0), None);
        assert_eq!(freezing.look(&plain, &second, 1, 0.1), None, "nothing is a power of two");
    }
}
