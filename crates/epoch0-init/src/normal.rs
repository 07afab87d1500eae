//! Normal: a Gaussian of one mean and standard deviation, whatever the size of the layer.
//!
//! # Idea
//! The start of most language models (standard deviation 0.02), of embeddings (1) and of the first convolutional networks
//! of photographs (0.01, `gauss001` in surveys of filters). For a width that follows the size of the layer take `xavier_normal`, `he_normal` or `lecun_normal`.
//!
//! # Method
//! `w ~ N(mean, std²)`.
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
//! The defaults are torch's, N(0, 1), far too wide for a matrix; jax's `normal` has a standard deviation of 0.01,
//! keras's `RandomNormal` 0.05.
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
//! let recipe = Recipe::from_yaml("recipe", "base: {with: normal, set: {std: 0.02}}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "normal(0, 0.02)");
//! ```
//!
//! # References
//! - [paszke2019pytorch] `torch.nn.init.normal_`; [chollet2015keras] `RandomNormal`; [bradbury2018jax] `normal`

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_num::Law;

/// Parameters of the Gaussian start.
#[derive(Clone, Debug, Params)]
pub struct Normal {
    /// Mean.
    #[param(default = 0.0, symbol = "μ")]
    pub mean: f64,
    /// Standard deviation; 0 gives the mean everywhere.
    #[param(default = 1.0, range = "[0, inf)", symbol = "σ")]
    pub std: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "normal",
    aliases: &["random_normal", "gaussian"],
    family: Family::Init,
    papers: &["paszke2019pytorch", "chollet2015keras", "bradbury2018jax"],
    source: include_str!("normal.rs"),
    params: Normal::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Normal::from_values(INFO.id, values)?))
}

impl Initializer for Normal {
    fn law(&self, _: &At<'_>) -> Result<SiteLaw, Error> {
        Ok(SiteLaw::Each(Law::normal(self.mean, self.std)))
    }
}
