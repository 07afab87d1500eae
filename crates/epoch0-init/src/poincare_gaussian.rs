//! Gaussian of the ball: what hyperbolic layers started from before they had an identity.
//!
//! # Idea
//! Weights of Hyperbolic Neural Networks++: Gaussian numbers that are small where the layer has many inputs and outputs.
//! It is what `poincare` is compared with: points lose half their norm or more at every layer, and lie at the origin behind
//! a few.
//!
//! # Method
//! `Z ~ N(0, σ²)` with `σ = (2 n m)^(−1/2)` for n inputs and m outputs; offsets are 0. A convolution has `n = k² C` inputs,
//! those of a window.
//!
//! # Shapes
//! Weights and offsets of `poincare_linear`, `poincare_scores` and `poincare_conv`. A network without such layers is
//! refused.
//!
//! # Cost
//! O(weights), in pieces of any size.
//!
//! # Departures
//! The scale is that of the authors' code, as van Spengler et al. compare with it.
//!
//! # Traps
//! Batch normalization brings points back to a variance of 1 and hides the collapse: look behind the maps, not behind the
//! normalizations. Without normalizations 20 layers do not learn (`epoch0 verify poincare --claim deep_networks_learn`).
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("poincare_mlp:16-8-10").unwrap();
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, rules: [{with: poincare_gaussian}]}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! // 1 / √256
//! assert_eq!(plan.sites()[0].law.to_string(), "normal(0, 0.0625)");
//! ```
//!
//! # References
//! - [shimizu2020hyperbolic] Section 3.2
//! - [vanspengler2023poincare] Section 3.2

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::{Network, Role};
use epoch0_num::Law;

use crate::poincare::{check_network, check_site, is_hyperbolic};
use crate::shared::{Matrix, checked};

/// Parameters of the Gaussian start of hyperbolic layers: none.
#[derive(Clone, Debug, Params)]
pub struct PoincareGaussian {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "poincare_gaussian",
    aliases: &["hnn_plus_plus"],
    family: Family::Init,
    papers: &["shimizu2020hyperbolic", "vanspengler2023poincare"],
    source: include_str!("poincare_gaussian.rs"),
    params: PoincareGaussian::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(PoincareGaussian::from_values(INFO.id, values)?))
}

impl Initializer for PoincareGaussian {
    fn for_network(&self, net: &Network) -> Result<Option<Box<dyn Initializer>>, Error> {
        check_network(INFO.id, net).map(|()| None)
    }

    fn covers(&self, at: &At<'_>) -> bool {
        is_hyperbolic(at)
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        check_site(INFO.id, at)?;
        if at.role == Role::Bias {
            return Ok(SiteLaw::Each(Law::ZEROS));
        }
        let matrix = Matrix::of(INFO.id, at)?;
        let std = (2.0 * matrix.columns() as f64 * matrix.out as f64).sqrt().recip();
        checked(INFO.id, Ok(Law::normal(0.0, std))).map(SiteLaw::Each)
    }
}
