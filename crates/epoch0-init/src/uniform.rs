//! Uniform: every weight is equally likely to be anywhere between two numbers.
//!
//! # Idea
//! A law with hard ends, where the width is known from elsewhere. For a width that follows the size of the layer take
//! `xavier_uniform`, `he_uniform` or `lecun_uniform`. The ±2.4 / fan-in of LeNet is a rule for each layer: of 25 inputs
//! `{match: conv1.weight, with: uniform, set: {low: -0.096, high: 0.096}}`.
//!
//! # Method
//! `w ~ U[low, high)`, with mean `(low + high) / 2` and standard deviation `(high − low) / √12`.
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
//! The defaults are torch's, [0, 1), whose mean is not 0. jax's `uniform(scale)` is [0, scale) as well; keras's
//! `RandomUniform` is ±0.05.
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
//! let recipe = Recipe::from_yaml("recipe", "base: {with: uniform, set: {low: -0.1, high: 0.1}}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "uniform(-0.1, 0.1)");
//! ```
//!
//! # References
//! - [paszke2019pytorch] `torch.nn.init.uniform_`; [chollet2015keras] `RandomUniform`; [bradbury2018jax] `uniform`

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_num::Law;

use crate::shared::checked;

/// Parameters of the uniform start.
#[derive(Clone, Debug, Params)]
pub struct Uniform {
    /// Lower end, which can be drawn.
    #[param(default = 0.0, symbol = "a")]
    pub low: f64,
    /// Upper end, which is not drawn; not less than `low`, and equal ends give that number.
    #[param(default = 1.0, symbol = "b")]
    pub high: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "uniform",
    aliases: &["random_uniform"],
    family: Family::Init,
    papers: &["paszke2019pytorch", "chollet2015keras", "bradbury2018jax"],
    source: include_str!("uniform.rs"),
    params: Uniform::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    let params = Uniform::from_values(INFO.id, values)?;
    checked(INFO.id, Ok(params.each()))?;
    Ok(Box::new(params))
}

impl Uniform {
    fn each(&self) -> Law {
        Law::uniform(self.low, self.high)
    }
}

impl Initializer for Uniform {
    fn law(&self, _: &At<'_>) -> Result<SiteLaw, Error> {
        Ok(SiteLaw::Each(self.each()))
    }
}
