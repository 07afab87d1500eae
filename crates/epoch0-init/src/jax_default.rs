//! Flax's default: LeCun normal weights, zero biases, tables of unit rows.
//!
//! # Idea
//! What layers of Flax have when nobody says otherwise; jax itself has no layers. A linear signal keeps its size, and
//! a row of a table has about norm 1.
//!
//! # Method
//! - weight: `lecun_normal`, a Gaussian truncated at ±2 of its standard deviations, with standard deviation
//!   `1/√fan_in` after truncation
//! - bias 0
//! - table `~ N(0, 1/width)`: variance scaling whose fan-in is the width of a row
//!
//! # Shapes
//! Everything. Weights, readouts and routers: as above. Biases: 0. Embeddings, positions and relative biases that are
//! looked up: N(0, 1/width). Tokens and positions that are free parameters: 0, as Flax has no default for them.
//! Norms: factor 1 (0 where the norm adds 1 itself, as Gemma's), shift 0. Buffers: running mean 0, running variance
//! 1, count 0. A layer scale or a single factor has the value of the network's source where it states one; else 1e-6
//! for a layer scale, and for a factor what does nothing.
//!
//! # Cost
//! O(weights), a few nanoseconds each, in pieces of any size.
//!
//! # Departures
//! Flax has no default for free parameters, layer scales and factors.
//!
//! # Traps
//! Haiku and Equinox have other defaults: Haiku truncates without correcting the variance, Equinox is as torch.
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
//! let recipe = Recipe::from_yaml("recipe", "base: jax_default").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "truncated normal(0, 0.142106) in [-0.284212, 0.284212]");
//! assert_eq!(plan.sites()[1].law.to_string(), "zeros");
//! ```
//!
//! # References
//! - [heek2020flax] `linen.Dense`, `Conv`, `Embed`; [bradbury2018jax] `lecun_normal`, `variance_scaling`
//! - [liu2022convnet] layer scale

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::Role;
use epoch0_num::Law;

use crate::shared::{is_table, settled};
use crate::variance_scaling::{Distribution, fans};

/// Parameters of Flax's default: none.
#[derive(Clone, Debug, Params)]
pub struct JaxDefault {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "jax_default",
    aliases: &["flax_default", "flax", "jax"],
    family: Family::Init,
    papers: &["heek2020flax", "bradbury2018jax", "liu2022convnet"],
    source: include_str!("jax_default.rs"),
    params: JaxDefault::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(JaxDefault::from_values(INFO.id, values)?))
}

impl Initializer for JaxDefault {
    fn covers(&self, _: &At<'_>) -> bool {
        true
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let law = match at.role {
            role if role.is_matrix() => {
                Distribution::TruncatedNormal.law(1.0 / fans(INFO.id, at)?.in_.sqrt())
            }
            Role::Embedding | Role::Position | Role::RelativeBias if is_table(at) => {
                let width = at.net.param(at.param).shape.last().map_or(1.0, |&width| width as f64);
                Law::normal(0.0, 1.0 / width.sqrt())
            }
            Role::Position | Role::Token | Role::RelativeBias => Law::ZEROS,
            _ => settled(INFO.id, at, 1e-6)?,
        };
        Ok(SiteLaw::Each(law))
    }
}
