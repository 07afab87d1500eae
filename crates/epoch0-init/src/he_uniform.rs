//! He uniform: even between bounds, with the variance that keeps the signal through rectifiers.
//!
//! # Idea
//! A rectifier passes half of a symmetric signal's second moment, so weights need twice the variance that a linear
//! map needs. The same standard deviation as `he_normal` with hard ends instead of tails.
//!
//! # Method
//! `std = gain / √fan`, `w ~ U(±√3·std)`; the gain is that of `he_normal`.
//!
//! # Shapes
//! Any weight with fans; fans are those of the site, so packed, grouped and transposed weights get theirs. Weights of
//! linear maps and convolutions are covered; norms, biases and tables are left alone.
//!
//! # Cost
//! O(weights), a few nanoseconds each, in pieces of any size.
//!
//! # Departures
//! The paper draws Gaussians; the uniform law of the same variance is torch's and keras's. torch's function defaults
//! to leaky ReLU with slope `a = 0`, which is ReLU; here the default is ReLU by name.
//!
//! # Traps
//! torch's layers call `kaiming_uniform_` with `a = √5`, whose bound is 1/√fan_in, √6 times less than He's: see
//! `pytorch_default`. keras's `he_uniform` is this one.
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
//! let recipe = Recipe::from_yaml("recipe", "base: kaiming_uniform_").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "uniform(-0.306186, 0.306186)");
//! ```
//!
//! # References
//! - [he2015delving] Eq. 10 (fan-in) and Eq. 14 (fan-out)

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::Network;
use epoch0_num::Activation;

use crate::he_normal::std;
use crate::maxout;
use crate::variance_scaling::{Distribution, Mode};

/// Parameters of He's uniform start.
#[derive(Clone, Debug, Params)]
pub struct HeUniform {
    /// The activation whose gain is used; auto takes the one that follows each site, and a linear map's where none
    /// does.
    #[param(default = Some(Activation::Relu))]
    pub activation: Option<Activation>,
    /// Which fan divides the variance.
    #[param(default = Mode::FanIn)]
    pub mode: Mode,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "he_uniform",
    aliases: &["kaiming_uniform"],
    family: Family::Init,
    papers: &["he2015delving"],
    source: include_str!("he_uniform.rs"),
    params: HeUniform::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(HeUniform::from_values(INFO.id, values)?))
}

impl Initializer for HeUniform {
    fn remarks(&self, net: &Network) -> Vec<String> {
        maxout::remarks(net, self.activation.as_ref())
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let std = std(INFO.id, self.activation.as_ref(), self.mode, at)?;
        Ok(SiteLaw::Each(Distribution::Uniform.law(std)))
    }
}
