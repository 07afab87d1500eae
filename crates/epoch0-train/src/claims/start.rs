//! Starts for claims and tests.

use epoch0_engine::{Device, Elements, Precision, Weights};
use epoch0_method::Error;
use epoch0_net::{Network, Role};
use epoch0_num::{Law, Stream};

/// A failure of the engine as that of a method.
pub fn failed(method: &str, error: &epoch0_engine::Error) -> Error {
    let text = error.to_string();
    let (why, hint) = text
        .split_once("\nhint: ")
        .unwrap_or((&text, "examine a network that can be run example by example"));
    Error::Unsupported {
        method: method.to_owned(),
        what: "the network".to_owned(),
        why: why.to_owned(),
        hint: hint.to_owned(),
    }
}

fn unsupported(method: &str, what: &str, why: &str, hint: &str) -> Error {
    Error::Unsupported {
        method: method.to_owned(),
        what: what.to_owned(),
        why: why.to_owned(),
        hint: hint.to_owned(),
    }
}

/// Numbers of a law.
///
/// # Errors
/// When it cannot be drawn from.
pub fn fill(method: &str, law: &Law, stream: &Stream, len: usize, what: &str) -> Result<Vec<f64>, Error> {
    let mut values = vec![0.0; len];
    law.fill_par(stream, 0, &mut values)
        .map_err(|error| unsupported(method, what, &error.to_string(), "give the weights"))?;
    Ok(values)
}

/// Draws every parameter in double precision: by its source's law, or matrices as He does, readouts with variance 1/fan_in,
/// biases zero and norms the identity.
///
/// # Errors
/// When a law cannot be drawn from.
pub fn draw(method: &str, net: &Network, stream: &Stream) -> Result<Weights, Error> {
    let mut failure = None;
    let weights =
        Weights::read::<epoch0_engine::Error>(net, Precision::Double, &Device::cpu(), |id, param| {
            if let Some(coefficients) = net.coefficients(id) {
                return Ok(Elements::Double(coefficients));
            }
            let fan_in = net.sites_of(id).find_map(|site| site.fans).map_or(1.0, |fans| fans.in_);
            let law = param.native.unwrap_or(match param.role {
                Role::Readout => Law::normal(0.0, (1.0 / fan_in).sqrt()),
                role if role.is_matrix() => Law::normal(0.0, (2.0 / fan_in).sqrt()),
                Role::NormScale | Role::LayerScale | Role::Scalar | Role::RunningVar => {
                    Law::Constant { value: 1.0 }
                }
                Role::Embedding | Role::Position | Role::Token | Role::RelativeBias => Law::normal(0.0, 1.0),
                _ => Law::Constant { value: 0.0 },
            });
            let drawn = fill(method, &law, &stream.child(&param.name), param.len(), &param.name);
            Ok(Elements::Double(drawn.unwrap_or_else(|error| {
                failure.get_or_insert(error);
                vec![0.0; param.len()]
            })))
        });
    match failure {
        Some(failure) => Err(failure),
        None => weights.map_err(|error| failed(method, &error)),
    }
}
