//! Keras's default: Glorot uniform weights, zero biases, narrow uniform tables.
//!
//! # Idea
//! What keras layers have when nobody says otherwise.
//!
//! # Method
//! - weight `~ U(±√(6 / (fan_in + fan_out)))`
//! - bias 0
//! - table `~ U(±0.05)`
//! - free parameter: as a weight, with fans from the last two sizes of its shape, which is `add_weight`'s default
//!
//! # Shapes
//! Everything. Weights, readouts and routers: Glorot uniform. Biases: 0. Embeddings, positions and relative biases
//! that are looked up: U(±0.05). Tokens and positions that are free parameters: Glorot uniform by shape. Norms:
//! factor 1 (0 where the norm adds 1 itself, as Gemma's), shift 0. Buffers: running mean 0, running variance 1, count
//! 0. A layer scale or a single factor has the value of the network's source where it states one; else 1e-6 for a
//! layer scale, and for a factor what does nothing.
//!
//! # Cost
//! O(weights), a few nanoseconds each, in pieces of any size.
//!
//! # Departures
//! keras's `MultiHeadAttention` keeps its projections as arrays of three dimensions, whose fans keras reads off two
//! of them; here they are the linear maps that they act as.
//!
//! # Traps
//! keras counts all outputs of a grouped convolution as its fan-out, not those of one group; this preset does too,
//! `xavier_uniform` does not. The running average starts at variance 1, so that inference before training is no
//! normalization.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::{Builder, Linear, Source};
//!
//! let mut b = Builder::new("net", Source::Built, epoch0_num::Dtype::F32);
//! let x = b.input("x", &[None, Some(64)]);
//! b.linear(x, "fc", Linear::new(32));
//! let net = b.finish().unwrap();
//! let recipe = Recipe::from_yaml("recipe", "base: keras_default").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "uniform(-0.25, 0.25)");
//! assert_eq!(plan.sites()[1].law.to_string(), "zeros");
//! ```
//!
//! # References
//! - [chollet2015keras] `Dense`, `Conv`, `Embedding`, `add_weight`; [glorot2010understanding] Eq. 16
//! - [liu2022convnet] layer scale

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::Role;
use epoch0_num::Law;

use crate::shared::{is_table, settled};
use crate::variance_scaling::fans;

/// Parameters of keras's default: none.
#[derive(Clone, Debug, Params)]
pub struct KerasDefault {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "keras_default",
    aliases: &["keras"],
    family: Family::Init,
    papers: &["chollet2015keras", "glorot2010understanding", "liu2022convnet"],
    source: include_str!("keras_default.rs"),
    params: KerasDefault::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(KerasDefault::from_values(INFO.id, values)?))
}

impl Initializer for KerasDefault {
    fn covers(&self, _: &At<'_>) -> bool {
        true
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let law = match at.role {
            role if role.is_matrix() => {
                let fans = fans(INFO.id, at)?;
                // keras reads the fan-out off the last dimension, which holds the outputs of all groups.
                glorot_uniform(fans.in_, fans.out * at.view.n_batch() as f64)
            }
            Role::Embedding | Role::Position | Role::RelativeBias if is_table(at) => {
                Law::uniform(-0.05, 0.05)
            }
            Role::Position | Role::Token | Role::RelativeBias => {
                let (fan_in, fan_out) = fans_of_shape(&at.net.param(at.param).shape);
                glorot_uniform(fan_in, fan_out)
            }
            _ => settled(INFO.id, at, 1e-6)?,
        };
        Ok(SiteLaw::Each(law))
    }
}

fn glorot_uniform(fan_in: f64, fan_out: f64) -> Law {
    let bound = (6.0 / (fan_in + fan_out)).sqrt();
    Law::uniform(-bound, bound)
}

/// Fans as keras reads them off a shape: inputs, outputs last, everything before a receptive field.
fn fans_of_shape(shape: &[usize]) -> (f64, f64) {
    match shape {
        [] => (1.0, 1.0),
        [one] => (*one as f64, *one as f64),
        [receptive @ .., n_in, n_out] => {
            let receptive = receptive.iter().product::<usize>() as f64;
            (*n_in as f64 * receptive, *n_out as f64 * receptive)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fans_are_read_off_the_last_two_sizes() {
        assert_eq!(fans_of_shape(&[]), (1.0, 1.0));
        assert_eq!(fans_of_shape(&[5]), (5.0, 5.0));
        assert_eq!(fans_of_shape(&[1, 197, 192]), (197.0, 192.0));
        assert_eq!(fans_of_shape(&[3, 3, 4, 8]), (36.0, 72.0));
    }
}
