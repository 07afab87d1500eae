//! How often the neurons of a spiking network fire.

use epoch0_engine::{Error, Mode, Value, Weights, run};
use epoch0_net::{Network, Op, Spiking};

/// A layer of neurons on some examples.
#[derive(Clone, Debug, PartialEq)]
pub struct Firing {
    /// The map before it.
    pub name: String,
    /// Share of time steps and examples at which each neuron fires.
    pub rates: Vec<f64>,
}

impl Firing {
    /// Mean over the neurons.
    pub fn mean(&self) -> f64 {
        self.rates.iter().sum::<f64>() / self.rates.len() as f64
    }

    /// Share of neurons that never fire.
    pub fn silent(&self) -> f64 {
        self.rates.iter().filter(|rate| **rate == 0.0).count() as f64 / self.rates.len() as f64
    }
}

/// Layers of neurons in the order of the graph; none in a network without.
///
/// # Errors
/// When the network cannot be run on the inputs.
pub fn firing(network: &Network, weights: &Weights, inputs: &[Value]) -> Result<Vec<Firing>, Error> {
    let mut layers = Vec::new();
    run(network, &weights.constants(), inputs, Mode::Eval, &mut |done| {
        if let Op::Spiking { by: Spiking::Fire { threshold, .. }, .. } = done.node.op
            && let Some(spikes) = done.outputs.first().and_then(Value::real)
        {
            let places = spikes.shape()[0];
            let values = spikes.value().to_f64();
            let mut rates = vec![0.0; values.len() / places.max(1)];
            for place in values.chunks_exact(rates.len().max(1)) {
                rates.iter_mut().zip(place).for_each(|(sum, spike)| *sum += spike);
            }
            rates.iter_mut().for_each(|sum| *sum /= places as f64);
            let name = &network.param(threshold).name;
            layers.push(Firing { name: name.strip_suffix(".threshold").unwrap_or(name).to_owned(), rates });
        }
        Ok(())
    })?;
    Ok(layers)
}

#[cfg(test)]
mod tests {
    use epoch0_engine::{Device, Elements, Precision, Tensor};
    use epoch0_net::zoo;

    use super::*;

    #[test]
    fn rates_are_shares_of_steps_and_examples() {
        let net = zoo::build("mlp:1-2-1,bias=false,spiking=4").unwrap();
        let weights = Weights::read::<Error>(&net, Precision::Double, &Device::cpu(), |_, param| {
            Ok(Elements::Double(match param.name.as_str() {
                "0.weight" => vec![1.0, -1.0],
                _ => vec![1.0; param.len()],
            }))
        });
        // Half of the threshold at each of four steps: beyond it at the third, and then again at half.
        let input = Tensor::from_f64(vec![0.5, 0.0], &[2, 1], Precision::Double, &Device::cpu());
        let found = firing(&net, &weights.unwrap(), &[Value::constant(input)]).unwrap();
        assert_eq!(found, [Firing { name: "0".to_owned(), rates: vec![0.125, 0.0] }]);
        assert_eq!((found[0].mean(), found[0].silent()), (0.0625, 0.5));
    }
}
