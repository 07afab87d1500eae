//! LayerScale: factors of channels at the end of each branch that begin small, the smaller the deeper the network.
//!
//! # Idea
//! A deep vision transformer trains better if each channel of each branch has a learned factor of its own, and all of them
//! begin near zero: the network begins near its skips, and comes in channel by channel.
//!
//! # Method
//! The factor of each channel is ε: 0.1 in networks of up to 18 blocks, 1e-5 up to 24, 1e-6 beyond. A block of a transformer
//! has two branches, so a stack of L branches counts as L/2 blocks.
//!
//! # Shapes
//! Factors of channels at the end of residual branches: `CaiT`, `BEiT`, `ConvNeXt`, `DINOv2`, and `DemoNet` and `StarNet` in
//! the zoo.
//!
//! # Cost
//! O(factors).
//!
//! # Departures
//! Single factors (`scalar`) are left to `rezero`.
//!
//! # Traps
//! `ConvNeXt` has one branch in a block; its authors take 1e-6 at every depth, and `epsilon` says so.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("demonet:12-32,classes=10,size=32").unwrap();
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, rules: [{with: layer_scale}]}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! let gamma = plan.sites().iter().find(|planned| planned.method == "layer_scale").unwrap();
//! assert_eq!(gamma.law.to_string(), "constant(0.1)");
//! ```
//!
//! # References
//! - [touvron2021going] Section 2

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::{Network, Role};
use epoch0_num::Law;

use crate::shared::unsupported;

/// Parameters of LayerScale.
#[derive(Clone, Debug, Params)]
pub struct LayerScale {
    /// The factors' start; by depth when absent.
    #[param(default = None, range = "(-inf, inf)", symbol = "ε")]
    pub epsilon: Option<f64>,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "layer_scale",
    aliases: &["layerscale"],
    family: Family::Init,
    papers: &["touvron2021going"],
    source: include_str!("layer_scale.rs"),
    params: LayerScale::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(LayerScale::from_values(INFO.id, values)?))
}

/// The paper's ε for a number of blocks.
fn by_depth(blocks: usize) -> f64 {
    match blocks {
        0..=18 => 0.1,
        19..=24 => 1e-5,
        _ => 1e-6,
    }
}

impl Initializer for LayerScale {
    fn for_network(&self, net: &Network) -> Result<Option<Box<dyn Initializer>>, Error> {
        if net.params().iter().any(|param| param.role == Role::LayerScale) {
            // By depth is by the deepest stack, and the same for all.
            let count = |site: &epoch0_net::Site| site.ends_branch().map(|branch| branch.count);
            let branches = net.sites().iter().filter_map(count).max().unwrap_or(0);
            let epsilon = self.epsilon.unwrap_or_else(|| by_depth(branches.div_ceil(2)));
            return Ok(Some(Box::new(Self { epsilon: Some(epsilon) })));
        }
        let why = "no factors of channels stand at the end of its branches";
        let hint = "rezero sets other factors, and fixup zeroes the last weights of branches";
        Err(unsupported(INFO.id, net.name(), &why, hint))
    }

    fn covers(&self, at: &At<'_>) -> bool {
        at.role == Role::LayerScale
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        match self.epsilon {
            Some(epsilon) if self.covers(at) => {
                Ok(SiteLaw::Each(if epsilon == 0.0 { Law::ZEROS } else { Law::constant(epsilon) }))
            }
            None if self.covers(at) => match self.for_network(at.net)? {
                Some(settled) => settled.law(at),
                None => unreachable!("it looks at the network"),
            },
            _ => {
                let why = format!("this {} is no factor of channels", at.role);
                Err(unsupported(INFO.id, at.label(), &why, "leave it to the preset below"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deeper_is_smaller() {
        assert_eq!([12, 18, 19, 24, 36].map(by_depth), [0.1, 0.1, 1e-5, 1e-5, 1e-6]);
    }
}
