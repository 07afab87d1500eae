//! A start and inputs for networks that come without.

use epoch0_engine::{Device, Elements, Precision, Tensor, Value, Weights};
use epoch0_method::Error;
use epoch0_net::{Network, Role};
use epoch0_num::{Law, Stream};

use super::{INFO, failed};

fn unsupported(what: &str, why: &str, hint: &str) -> Error {
    Error::Unsupported {
        method: INFO.id.to_owned(),
        what: what.to_owned(),
        why: why.to_owned(),
        hint: hint.to_owned(),
    }
}

pub(super) fn fill(law: &Law, stream: &Stream, len: usize, what: &str) -> Result<Vec<f64>, Error> {
    let mut values = vec![0.0; len];
    law.fill_par(stream, 0, &mut values)
        .map_err(|error| unsupported(what, &error.to_string(), "give the weights"))?;
    Ok(values)
}

/// Draws every parameter: by its source's law, or as the method's header says.
pub(super) fn draw(net: &Network, stream: &Stream) -> Result<Weights, Error> {
    let mut failure = None;
    let weights =
        Weights::read::<epoch0_engine::Error>(net, Precision::Double, &Device::cpu(), |id, param| {
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
            let drawn = fill(&law, &stream.child(&param.name), param.len(), &param.name);
            Ok(Elements::Double(drawn.unwrap_or_else(|error| {
                failure.get_or_insert(error);
                vec![0.0; param.len()]
            })))
        });
    match failure {
        Some(failure) => Err(failure),
        None => weights.map_err(|error| failed(&error)),
    }
}

/// The first examples of an input.
pub(super) fn first(value: &Value, examples: usize) -> Value {
    let mut shape = value.shape();
    let of_one: usize = shape[1..].iter().product();
    shape[0] = examples;
    let part = match value {
        Value::Real(var) => {
            let all = var.value();
            let values = all.to_f64()[..examples * of_one].to_vec();
            Some(Value::constant(Tensor::from_f64(values, &shape, all.precision(), &all.device())))
        }
        Value::Index(words) => Value::index(words.iter().copied().take(examples * of_one).collect(), &shape),
        Value::Truth(truths) => {
            Value::truth(truths.iter().copied().take(examples * of_one).collect(), &shape)
        }
    };
    part.expect("as many elements as the shape has")
}
