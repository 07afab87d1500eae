//! Xavier uniform: even between bounds, with one over the mean of both fans as variance.
//!
//! # Idea
//! A linear map keeps the size of the signal when its variance is one over the fan-in, and the size of the gradient
//! when it is one over the fan-out; this takes the middle of the two. For networks whose activation is about the
//! identity around 0 (tanh, softsign), and for attention. Not for rectifiers: each one halves the signal; take
//! `he_normal`.
//!
//! # Method
//! `std = gain · √(2 / (fan_in + fan_out))`, `w ~ U(±√3·std)`, which is `±gain · √(6 / (fan_in + fan_out))`.
//!
//! # Shapes
//! Any weight with fans; fans are those of the site, so packed, grouped and transposed weights get theirs. Weights of
//! linear maps and convolutions are covered; norms, biases and tables are left alone.
//!
//! # Cost
//! O(weights), a few nanoseconds each, in pieces of any size.
//!
//! # Departures
//! The paper has no gain; torch's functions do, and 1 is the paper.
//!
//! # Traps
//! torch and keras compute fans from the shape of the array, and so see three outputs where queries, keys and values
//! are packed; here each part has its own. Glorot's bound is √6, not √3, over the root of the *sum* of the fans.
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
//! let recipe = Recipe::from_yaml("recipe", "base: xavier_uniform").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "uniform(-0.25, 0.25)");
//! ```
//!
//! # References
//! - [glorot2010understanding] Eq. 16

use crate::variance_scaling::Distribution;
use crate::xavier_normal::std;
use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};

/// Parameters of Glorot's uniform start.
#[derive(Clone, Debug, Params)]
pub struct XavierUniform {
    /// Factor on the standard deviation; 5/3 is torch's for tanh.
    #[param(default = 1.0, range = "[0, inf)")]
    pub gain: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "xavier_uniform",
    aliases: &["glorot_uniform"],
    family: Family::Init,
    papers: &["glorot2010understanding"],
    source: include_str!("xavier_uniform.rs"),
    params: XavierUniform::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(XavierUniform::from_values(INFO.id, values)?))
}

impl Initializer for XavierUniform {
    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let std = std(INFO.id, self.gain, at)?;
        Ok(SiteLaw::Each(Distribution::Uniform.law(std)))
    }
}
