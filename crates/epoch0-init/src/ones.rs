//! Ones: every weight is 1.
//!
//! # Idea
//! What the factors of norms start at. As the start of a matrix it makes all of its outputs the same.
//!
//! # Method
//! `w = 1`.
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
//! Norms that store their factor less one (Gemma) need zeros to begin as normalization alone; presets know this,
//! `ones` does not.
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
//! let recipe = Recipe::from_yaml("recipe", "base: ones").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "ones");
//! ```
//!
//! # References
//! - [paszke2019pytorch] `torch.nn.init.ones_`

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_num::Law;

/// Parameters of ones: none.
#[derive(Clone, Debug, Params)]
pub struct Ones {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "ones",
    aliases: &["one"],
    family: Family::Init,
    papers: &["paszke2019pytorch"],
    source: include_str!("ones.rs"),
    params: Ones::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Ones::from_values(INFO.id, values)?))
}

impl Initializer for Ones {
    fn law(&self, _: &At<'_>) -> Result<SiteLaw, Error> {
        Ok(SiteLaw::Each(Law::ONES))
    }
}
