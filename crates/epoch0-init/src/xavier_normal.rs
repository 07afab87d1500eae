//! Xavier normal: a Gaussian with one over the mean of both fans as its variance.
//!
//! # Idea
//! A linear map keeps the size of the signal when its variance is one over the fan-in, and the size of the gradient
//! when it is one over the fan-out; this takes the middle of the two. For networks whose activation is about the
//! identity around 0 (tanh, softsign), and for attention. Not for rectifiers: each one halves the signal; take
//! `he_normal`.
//!
//! # Method
//! `std = gain · √(2 / (fan_in + fan_out))`, `w ~ N(0, std²)`.
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
//! are packed; here each part has its own. keras's and jax's `glorot_normal` truncate at ±2 standard deviations and
//! correct the variance: the same standard deviation without the tails, which is `variance_scaling` with `mode:
//! fan_avg`.
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
//! let recipe = Recipe::from_yaml("recipe", "base: xavier_normal").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "normal(0, 0.144338)");
//! ```
//!
//! # References
//! - [glorot2010understanding] Eq. 12

use crate::variance_scaling::{Distribution, fans};
use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};

/// Parameters of Glorot's normal start.
#[derive(Clone, Debug, Params)]
pub struct XavierNormal {
    /// Factor on the standard deviation; 5/3 is torch's for tanh.
    #[param(default = 1.0, range = "[0, inf)")]
    pub gain: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "xavier_normal",
    aliases: &["glorot_normal"],
    family: Family::Init,
    papers: &["glorot2010understanding"],
    source: include_str!("xavier_normal.rs"),
    params: XavierNormal::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(XavierNormal::from_values(INFO.id, values)?))
}

impl Initializer for XavierNormal {
    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let std = std(INFO.id, self.gain, at)?;
        Ok(SiteLaw::Each(Distribution::Normal.law(std)))
    }
}

/// Glorot's standard deviation at a site.
pub(crate) fn std(method: &str, gain: f64, at: &At<'_>) -> Result<f64, Error> {
    let fans = fans(method, at)?;
    Ok(gain * (2.0 / (fans.in_ + fans.out)).sqrt())
}
