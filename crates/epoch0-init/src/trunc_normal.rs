//! Truncated normal, torch's: a Gaussian kept between two absolute bounds.
//!
//! # Idea
//! A Gaussian without outliers, or one that must stay on one side of a number. The bounds are weights, as in
//! `torch.nn.init.trunc_normal_`. For bounds in standard deviations, as jax, keras and TensorFlow have them, take
//! `trunc_normal_tf`.
//!
//! # Method
//! `w ~ N(mean, std²)` given `low ≤ w ≤ high`. `mean` and `std` are those before truncation; the law that results is
//! narrower, and is not corrected for it.
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
//! With `std: 0.02` the default bounds ±2 lie 100 standard deviations out and truncate nothing; recipes of vision
//! transformers that were copied from one another have it so. For ±2 standard deviations write `low: -0.04, high:
//! 0.04`, or take `trunc_normal_tf`. The two methods have the names that timm gives them; `truncated_normal`, jax's
//! and keras's name, means the other one.
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
//! let recipe = Recipe::from_yaml("recipe", "base: {with: trunc_normal, set: {std: 0.02, low: -0.04, high: 0.04}}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "truncated normal(0, 0.02) in [-0.04, 0.04]");
//! ```
//!
//! # References
//! - [paszke2019pytorch] `torch.nn.init.trunc_normal_`
//! - [wichura1988as241] the quantile that draws are made with

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_num::Law;

use crate::shared::checked;

/// Parameters of torch's truncated Gaussian.
#[derive(Clone, Debug, Params)]
pub struct TruncNormal {
    /// Mean before truncation.
    #[param(default = 0.0, symbol = "μ")]
    pub mean: f64,
    /// Standard deviation before truncation.
    #[param(default = 1.0, range = "(0, inf)", symbol = "σ")]
    pub std: f64,
    /// Smallest weight, an absolute value.
    #[param(default = -2.0, symbol = "a")]
    pub low: f64,
    /// Largest weight, an absolute value; more than `low`.
    #[param(default = 2.0, symbol = "b")]
    pub high: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "trunc_normal",
    aliases: &[],
    family: Family::Init,
    papers: &["paszke2019pytorch", "wichura1988as241"],
    source: include_str!("trunc_normal.rs"),
    params: TruncNormal::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    let params = TruncNormal::from_values(INFO.id, values)?;
    params.each()?;
    Ok(Box::new(params))
}

impl TruncNormal {
    fn each(&self) -> Result<Law, Error> {
        checked(INFO.id, Ok(Law::truncated(self.mean, self.std, self.low, self.high)))
    }
}

impl Initializer for TruncNormal {
    fn law(&self, _: &At<'_>) -> Result<SiteLaw, Error> {
        self.each().map(SiteLaw::Each)
    }
}
