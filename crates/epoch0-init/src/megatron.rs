//! Megatron: one narrow Gaussian, narrower where residual branches end.
//!
//! # Idea
//! Every branch of a residual network adds its variance to the stream. Megatron keeps the sum from growing with depth
//! by dividing the variance of the last weight of each branch by the number of branches. For language models of any
//! depth.
//!
//! # Method
//! - weight, table, position, token: `w ~ N(0, std²)`
//! - last weight of a residual branch: `w ~ N(0, std² / n)`, with n the number of branches in its stack, which is
//!   2·layers for attention and feed-forward
//! - bias 0
//!
//! # Shapes
//! Everything. Weights, readouts, routers, embeddings, positions, tokens and relative biases: as above; of experts,
//! each one's last weight ends a branch. Biases: 0. Norms: factor 1 (0 where the norm adds 1 itself, as Gemma's),
//! shift 0. Buffers: running mean 0, running variance 1, count 0. A layer scale or a single factor has the value of
//! the network's source where it states one; else 1e-6 for a layer scale, and for a factor what does nothing.
//!
//! # Cost
//! O(weights), a few nanoseconds each, in pieces of any size.
//!
//! # Departures
//! Megatron divides by 2·layers whatever the architecture; the number of branches is the same for decoders and
//! encoders, and right where a layer has three (cross-attention) or one (parallel attention).
//!
//! # Traps
//! The factor goes on what *ends* a branch, not on every projection. GPT-2's own scaling is the same number.
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
//! let recipe = Recipe::from_yaml("recipe", "base: {with: megatron, set: {std: 0.01}}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "normal(0, 0.01)");
//! assert_eq!(plan.sites()[1].law.to_string(), "zeros");
//! ```
//!
//! # References
//! - [shoeybi2019megatron] §4.1 (Training Optimization and Hyperparameters); [radford2019language] §2.3

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::Role;
use epoch0_num::Law;

use crate::shared::settled;

/// Parameters of Megatron's start.
#[derive(Clone, Debug, Params)]
pub struct Megatron {
    /// Standard deviation of weights that do not end a branch.
    #[param(default = 0.02, range = "[0, inf)", symbol = "σ")]
    pub std: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "megatron",
    aliases: &["megatron_lm"],
    family: Family::Init,
    papers: &["shoeybi2019megatron", "radford2019language"],
    source: include_str!("megatron.rs"),
    params: Megatron::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Megatron::from_values(INFO.id, values)?))
}

impl Initializer for Megatron {
    fn covers(&self, _: &At<'_>) -> bool {
        true
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let law = match at.role {
            role if role.is_matrix() => {
                let n_branches = at.ends_branch().map_or(1, |branch| branch.count);
                Law::normal(0.0, self.std / (n_branches as f64).sqrt())
            }
            Role::Embedding | Role::Position | Role::Token | Role::RelativeBias => Law::normal(0.0, self.std),
            _ => settled(INFO.id, at, 1e-6)?,
        };
        Ok(SiteLaw::Each(law))
    }
}
