//! What claims are tried on.

use std::fmt::Display;

use epoch0_engine::{Device, Order, Parameters, Precision, Tensor, Var, Weights, grad};
use epoch0_method::Error;
use epoch0_net::{Network, zoo};
use epoch0_num::Stream;

use crate::{Probe, Subject};
use epoch0_train::claims::draw;

/// A start of a network of the zoo, and examples.
pub(crate) struct Case {
    pub(crate) network: Network,
    pub(crate) weights: Weights,
    pub(crate) probe: Probe,
}

impl Case {
    /// Draws the network's weights with the seed.
    pub(crate) fn new(
        method: &str,
        spec: &str,
        seed: u64,
        probe: impl FnOnce(&Network) -> Result<Probe, Error>,
    ) -> Result<Self, Error> {
        let network = zoo::build(spec).map_err(|error| in_claim(&error))?;
        let weights = draw(method, &network, &Stream::new(seed, "weights"))?;
        Ok(Self { probe: probe(&network)?, weights, network })
    }

    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject { network: &self.network, weights: &self.weights, probe: &self.probe, seed: 0 }
    }

    /// Numbers of the first input.
    pub(crate) fn inputs(&self) -> Vec<f64> {
        self.probe.inputs[0].real().map(|var| var.value().to_f64()).unwrap_or_default()
    }
}

/// Random examples that match a network.
pub(crate) fn matched(network: &Network, examples: usize, seed: u64) -> Result<Probe, Error> {
    Probe::matched(network, examples, seed, Precision::Double, &Device::cpu())
        .map_err(|error| in_claim(&error))
}

/// What keeps a claim from being tried.
pub(crate) fn in_claim(error: &impl Display) -> Error {
    Error::Recipe { place: "a claim's network".to_owned(), why: error.to_string() }
}

/// The weights after a step of gradient descent on a loss of these parameters.
pub(crate) fn descended(weights: &Weights, params: &Parameters, loss: &Var, rate: f64) -> Weights {
    let mut moved = weights.clone();
    let (ids, wrt): (Vec<_>, Vec<&Var>) = params.tracked().unzip();
    for ((id, var), slope) in ids.iter().zip(&wrt).zip(grad(loss, &wrt, Order::Last)) {
        let (value, slope) = (var.value(), slope.value().to_f64());
        let values = value.to_f64().iter().zip(slope).map(|(x, slope)| x - rate * slope).collect();
        moved.set(*id, Tensor::from_f64(values, &value.shape(), value.precision(), &value.device()));
    }
    moved
}
