//! Zeros: every weight is 0.
//!
//! # Idea
//! What biases and shifts usually start at, and the last weight of a residual branch that should begin as the
//! identity. As the start of every matrix of a network it is no start: no signal and no gradient pass.
//!
//! # Method
//! `w = 0`.
//!
//! # Shapes
//! Any shape. Asked for a whole network it covers the weights of linear maps and convolutions and leaves norms,
//! biases and tables to the preset below it; a rule of a recipe may name any site.
//!
//! # Cost
//! O(weights): a fill.
//!
//! # Departures
//! None known.
//!
//! # Traps
//! A matrix of zeros still learns where its input is not zero and what stands behind it passes a gradient; two of
//! them in a row never do. Give zeros to the last weight of a branch only (`ends_branch: true` in a recipe).
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
//! let recipe = Recipe::from_yaml("recipe", "base: zeros").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "zeros");
//! ```
//!
//! # References
//! - [paszke2019pytorch] `torch.nn.init.zeros_`

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_num::Law;

/// Parameters of zeros: none.
#[derive(Clone, Debug, Params)]
pub struct Zeros {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "zeros",
    aliases: &[],
    family: Family::Init,
    papers: &["paszke2019pytorch"],
    source: include_str!("zeros.rs"),
    params: Zeros::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Zeros::from_values(INFO.id, values)?))
}

impl Initializer for Zeros {
    fn law(&self, _: &At<'_>) -> Result<SiteLaw, Error> {
        Ok(SiteLaw::Each(Law::ZEROS))
    }
}
