//! Truncated normal, TensorFlow's: a Gaussian kept between bounds in standard deviations.
//!
//! # Idea
//! A Gaussian without outliers, whatever its width. The bounds are multiples of the standard deviation, as in jax,
//! keras, TensorFlow and timm's `trunc_normal_tf_`. For bounds that are weights, as torch has them, take
//! `trunc_normal`.
//!
//! # Method
//! `w = mean + s·z`, with `z ~ N(0, 1)` given `low ≤ z ≤ high`. `s` is `std`; with `compensated` it is `std` over the
//! standard deviation of z (0.8796 for ±2), so that `std` is what results.
//!
//! # Shapes
//! Any shape. Asked for a whole network it covers the weights of linear maps and convolutions and leaves norms,
//! biases and tables to the preset below it; a rule of a recipe may name any site.
//!
//! # Cost
//! O(weights), a few nanoseconds each, in pieces of any size.
//!
//! # Departures
//! None known.
//!
//! # Traps
//! jax's and keras's `truncated_normal` do not compensate: at ±2 the weights have 0.88 of the standard deviation
//! asked for. Their variance scaling does; see `variance_scaling`. The default `std` is 1 as in timm; jax has 0.01,
//! keras 0.05. `trunc_normal`, torch's name, means absolute bounds.
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
//! let recipe = Recipe::from_yaml("recipe", "base: {with: truncated_normal, set: {std: 0.02}}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "truncated normal(0, 0.02) in [-0.04, 0.04]");
//! ```
//!
//! # References
//! - [wightman2019timm] `trunc_normal_tf_`; [bradbury2018jax] `truncated_normal`; [chollet2015keras]
//!   `TruncatedNormal`
//! - [wichura1988as241] the quantile that draws are made with

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_num::Law;

use crate::shared::checked;

/// Parameters of TensorFlow's truncated Gaussian.
#[derive(Clone, Debug, Params)]
pub struct TruncNormalTf {
    /// Mean before truncation.
    #[param(default = 0.0, symbol = "μ")]
    pub mean: f64,
    /// Standard deviation: before truncation, or after it with `compensated`.
    #[param(default = 1.0, range = "(0, inf)", symbol = "σ")]
    pub std: f64,
    /// Lower bound, in standard deviations from the mean.
    #[param(default = -2.0, symbol = "a", unit = "standard deviations")]
    pub low: f64,
    /// Upper bound, in standard deviations from the mean; more than `low`.
    #[param(default = 2.0, symbol = "b", unit = "standard deviations")]
    pub high: f64,
    /// Whether the Gaussian, bounds included, is widened until the standard deviation after truncation is `std`.
    #[param(default = false)]
    pub compensated: bool,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "trunc_normal_tf",
    aliases: &["truncated_normal"],
    family: Family::Init,
    papers: &["wightman2019timm", "bradbury2018jax", "chollet2015keras", "wichura1988as241"],
    source: include_str!("trunc_normal_tf.rs"),
    params: TruncNormalTf::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    let params = TruncNormalTf::from_values(INFO.id, values)?;
    params.each()?;
    Ok(Box::new(params))
}

impl TruncNormalTf {
    fn each(&self) -> Result<Law, Error> {
        let law = Law::truncated_in_std(self.mean, self.std, self.low, self.high, self.compensated);
        checked(INFO.id, law)
    }
}

impl Initializer for TruncNormalTf {
    fn law(&self, _: &At<'_>) -> Result<SiteLaw, Error> {
        self.each().map(SiteLaw::Each)
    }
}
