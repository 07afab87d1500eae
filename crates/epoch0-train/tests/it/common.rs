//! Small networks and data.

use epoch0_data::{Array, Classes, Dataset, Examples, Inputs, Targets};
use epoch0_engine::{Device, Elements, Precision, Weights};
use epoch0_net::{Network, Role, zoo};
use epoch0_num::{Law, Stream};
use epoch0_train::{Optimizer, Settings, Sgd};

pub(crate) fn network(spec: &str) -> Network {
    zoo::build(spec).unwrap()
}

pub(crate) fn gaussians() -> Dataset {
    Dataset::open("gaussians:classes=3,dim=8,n=200,separation=4").unwrap()
}

/// Normal weights and biases of 0; factors of norms and running variances of 1.
pub(crate) fn weights_in(network: &Network, seed: u64, precision: Precision) -> Weights {
    Weights::read(network, precision, &Device::cpu(), |_, param| {
        let fan_in: usize = param.shape[1..].iter().product();
        let law = match param.role {
            Role::NormScale | Role::RunningVar => Law::constant(1.0),
            Role::Bias | Role::NormShift | Role::RunningMean => Law::constant(0.0),
            _ => Law::normal(0.0, (2.0 / fan_in as f64).sqrt()),
        };
        let mut values = vec![0.0f64; param.len()];
        law.fill(&Stream::new(seed, &param.name), 0, &mut values).unwrap();
        Ok::<_, epoch0_engine::Error>(Elements::Double(values))
    })
    .unwrap()
}

pub(crate) fn weights(network: &Network, seed: u64) -> Weights {
    weights_in(network, seed, Precision::Single)
}

/// Every number of the weights, as bits.
pub(crate) fn bits(weights: &Weights) -> Vec<u64> {
    weights.iter().flat_map(|(_, value)| value.to_f64()).map(f64::to_bits).collect()
}

pub(crate) fn settings(length: &str) -> Settings {
    Settings { length: length.parse().unwrap(), batch: 16, ..Settings::default() }
}

pub(crate) fn plain(learning_rate: f64, length: &str) -> Settings {
    Settings { optimizer: Optimizer::Sgd(Sgd::default()), learning_rate, ..settings(length) }
}

/// Images of one channel in two classes: the second is brighter in its lower half.
pub(crate) fn images(side: usize) -> Dataset {
    let make = |n: usize, name: &str| {
        let mut values = vec![0.0f32; n * side * side];
        Law::normal(0.0, 1.0).fill(&Stream::new(3, name), 0, &mut values).unwrap();
        let labels: Vec<u32> = (0..n as u32).map(|nth| nth % 2).collect();
        for (image, label) in values.chunks_mut(side * side).zip(&labels) {
            image[side * side / 2..].iter_mut().for_each(|x| *x += *label as f32);
        }
        let inputs = Inputs::Values(Array::new([n, 1, side, side], values).unwrap());
        Examples::new("images", inputs, Targets::Classes(Classes::numbered(labels, 2))).unwrap()
    };
    Dataset::new("images", make(48, "train"), Some(make(20, "test")))
}
