//! Networks of neurons that spike, in training.

use epoch0_engine::{Device, Elements, Precision, Tensor, Weights};
use epoch0_net::{Network, zoo};
use epoch0_train::{Status, Trainer};

use crate::common::{gaussians, plain, weights_in};

/// Weights with thresholds and leaks that neurons start with.
fn start(network: &Network, precision: Precision) -> Weights {
    let drawn = weights_in(network, 5, precision);
    Weights::read::<epoch0_engine::Error>(network, precision, &Device::cpu(), |id, _| {
        let own = drawn.get(id).map(Tensor::to_f64).unwrap_or_default();
        Ok(Elements::Double(network.coefficients(id).unwrap_or(own)))
    })
    .unwrap()
}

#[test]
fn leaks_and_thresholds_stay_within_their_bounds_and_move() {
    let network = zoo::build("mlp:8-9-8-3,spiking=3").unwrap();
    let data = gaussians();
    for precision in [Precision::Single, Precision::Double] {
        // Steps as large as that throw both about.
        let mut trainer =
            Trainer::new(&network, start(&network, precision), &data, plain(2.0, "20it")).unwrap();
        let mut touched = [false; 2];
        for _ in 0..20 {
            trainer.step().unwrap();
            for (id, [low, high]) in network.bounds() {
                let value = trainer.weights().get(id).unwrap().item();
                let low = if precision == Precision::Single { f64::from(low as f32) } else { low };
                assert!((low..=high).contains(&value), "{}: {value}", network.param(id).name);
                if high == 1.0 {
                    touched[0] |= value < 1.0;
                } else {
                    touched[1] |= value != 0.4;
                }
            }
        }
        assert_eq!(touched, [true; 2], "leaks and thresholds are learned");
    }
}

#[test]
fn spiking_networks_learn() {
    let network = zoo::build("mlp:8-24-24-3,spiking=2").unwrap();
    let data = gaussians();
    let weights = start(&network, Precision::Single);
    let mut trainer = Trainer::new(&network, weights, &data, plain(0.1, "15ep")).unwrap();
    let before = trainer.evaluate(&data.train).unwrap().loss;
    assert_eq!(trainer.run(&mut ()).unwrap(), Status::Finished);
    let after = trainer.evaluate(&data.train).unwrap().loss;
    assert!(after < 0.7 * before, "{before} to {after}");
}
