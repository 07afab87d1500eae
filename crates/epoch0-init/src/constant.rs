//! Constant: every weight is one number.
//!
//! # Idea
//! For biases that should start away from 0 (a forget gate, the log-odds of a rare class) and for factors such as a
//! layer scale.
//!
//! # Method
//! `w = value`.
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
//! All units of a matrix of one constant compute the same and stay the same: its symmetry is never broken.
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
//! let recipe = Recipe::from_yaml("recipe", "base: {with: constant, set: {value: 0.1}}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "constant(0.1)");
//! ```
//!
//! # References
//! - [paszke2019pytorch] `torch.nn.init.constant_`; [chollet2015keras] `Constant`

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_num::Law;

/// Parameters of the constant start.
#[derive(Clone, Debug, Params)]
pub struct Constant {
    /// The number.
    #[param(default = 0.0)]
    pub value: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "constant",
    aliases: &[],
    family: Family::Init,
    papers: &["paszke2019pytorch", "chollet2015keras"],
    source: include_str!("constant.rs"),
    params: Constant::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Constant::from_values(INFO.id, values)?))
}

impl Initializer for Constant {
    fn law(&self, _: &At<'_>) -> Result<SiteLaw, Error> {
        Ok(SiteLaw::Each(Law::constant(self.value)))
    }
}
