//! LeCun normal: a Gaussian cut at two standard deviations, with variance one over the fan-in.
//!
//! # Idea
//! With one over the fan-in as its variance, a linear map keeps the size of a signal of independent parts. The start
//! of self-normalizing networks (SELU) and the default of Flax.
//!
//! # Method
//! `std = 1 / √fan_in`. The law is a Gaussian truncated at ±2 of its standard deviations, widened by 1/0.8796 so that
//! `std` is what results.
//!
//! # Shapes
//! Any weight with fans; fans are those of the site, so packed, grouped and transposed weights get theirs. Weights of
//! linear maps and convolutions are covered; norms, biases and tables are left alone.
//!
//! # Cost
//! O(weights), a few nanoseconds each, in pieces of any size.
//!
//! # Departures
//! LeCun et al. leave the shape of the law open. jax, keras and timm, which are where the name comes from, truncate
//! and correct the variance, and so does this.
//!
//! # Traps
//! It is the odd one out: `xavier_normal` and `he_normal` are plain Gaussians, as in torch, which has no LeCun. For a
//! plain Gaussian of the same variance take `variance_scaling` with `distribution: normal`.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::{Builder, Linear, Source};
//!
//! let mut b = Builder::new("net", Source::Built, epoch0_num::Dtype::F32);
//! let x = b.input("x", &[None, Some(64)]);
//! b.linear(x, "fc", Linear::new(32).bias(false));
//! let net = b.finish().unwrap();
//! let recipe = Recipe::from_yaml("recipe", "base: lecun_normal").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "truncated normal(0, 0.142106) in [-0.284212, 0.284212]");
//! ```
//!
//! # References
//! - [lecun1998efficient] §4.6; [klambauer2017self] for SELU
//! - [bradbury2018jax] and [chollet2015keras] `lecun_normal`

use crate::variance_scaling::{Distribution, fans};
use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};

/// Parameters of LeCun's normal start: none.
#[derive(Clone, Debug, Params)]
pub struct LecunNormal {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "lecun_normal",
    aliases: &[],
    family: Family::Init,
    papers: &["lecun1998efficient", "klambauer2017self", "bradbury2018jax", "chollet2015keras"],
    source: include_str!("lecun_normal.rs"),
    params: LecunNormal::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(LecunNormal::from_values(INFO.id, values)?))
}

impl Initializer for LecunNormal {
    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let std = 1.0 / fans(INFO.id, at)?.in_.sqrt();
        Ok(SiteLaw::Each(Distribution::TruncatedNormal.law(std)))
    }
}
