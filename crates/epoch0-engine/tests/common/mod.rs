//! Networks at random points, for the tests of derivatives.

#![allow(dead_code, reason = "each test file takes what it needs")]

use epoch0_engine::{Device, Elements, Error, Precision, Tensor, Value, Weights};
use epoch0_net::{Network, Role};
use epoch0_num::{Law, Stream};

pub(crate) fn normal(name: &str, size: usize) -> Vec<f64> {
    let mut values = vec![0.0; size];
    let law = Law::Normal { mean: 0.0, std: 1.0 };
    law.fill(&Stream::new(3, name), 0, &mut values).unwrap();
    values
}

pub(crate) fn tensor(name: &str, shape: &[usize]) -> Tensor {
    Tensor::from_f64(normal(name, shape.iter().product()), shape, Precision::Double, &Device::cpu())
}

/// Weights of order one over the root of the fan-in, everything else of order one and nothing zero.
pub(crate) fn weights(network: &Network) -> Weights {
    Weights::read::<Error>(network, Precision::Double, &Device::cpu(), |_, param| {
        let fan: usize = param.shape.iter().skip(1).product();
        let values = normal(&param.name, param.len()).into_iter().map(|x| match param.role {
            Role::NormScale => 1.0 + 0.3 * x,
            Role::RunningVar => 0.5 + x * x,
            role if role.is_matrix() => x / (fan as f64).sqrt(),
            _ => 0.5 * x,
        });
        Ok(Elements::Double(values.collect()))
    })
    .unwrap()
}

/// A batch of real numbers.
pub(crate) fn reals(name: &str, shape: &[usize]) -> Value {
    Value::constant(tensor(name, shape))
}

/// A batch of words below `n`.
pub(crate) fn words(name: &str, shape: &[usize], n: usize) -> Value {
    let values = normal(name, shape.iter().product());
    let words = values.into_iter().map(|x| ((x.abs() * 1e6) as usize % n) as i64).collect();
    Value::index(words, shape).unwrap()
}

pub(crate) fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |max, x| x.abs().max(max))
}

#[track_caller]
pub(crate) fn close(found: &[f64], wanted: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}: number of elements");
    let scale = largest(wanted).max(1e-12);
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let error = (found - wanted).abs() / scale;
        assert!(error <= tolerance, "{what}, element {at}: {found}, wanted {wanted}");
    }
}
