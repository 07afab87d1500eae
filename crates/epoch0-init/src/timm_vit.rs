//! timm's vision transformer: narrow Gaussians, zero biases, class tokens near zero.
//!
//! # Idea
//! How timm starts its vision transformers (`weight_init=''`). With pre-normalized blocks a common small standard
//! deviation works at every width that they come in.
//!
//! # Method
//! - linear weight, readouts included: `trunc_normal_(std=0.02)`, bias 0
//! - convolution (the patches): torch's default, weight and bias `U(±1/√fan_in)`
//! - position: `trunc_normal_(std=0.02)`
//! - class token, registers: `N(0, (1e-6)²)`
//!
//! # Shapes
//! Everything. Weights, biases, positions and tokens: as above. Embeddings that are looked up: N(0, 1), torch's
//! default, as timm leaves them; relative biases as positions. Norms: factor 1 (0 where the norm adds 1 itself, as
//! Gemma's), shift 0. Buffers: running mean 0, running variance 1, count 0. A layer scale or a single factor has the
//! value of the network's source where it states one; else 1e-5 for a layer scale, and for a factor what does
//! nothing.
//!
//! # Cost
//! O(weights), a few nanoseconds each, in pieces of any size.
//!
//! # Departures
//! The token of distillation, which timm's DeiT starts at 0.02, is not told apart from the class token.
//!
//! # Traps
//! `trunc_normal_` with its default bounds of ±2 does not truncate at this width: this is a Gaussian. The mode that
//! follows the paper's own code is another (`weight_init='jax'`: Xavier uniform, a head of zeros).
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
//! let recipe = Recipe::from_yaml("recipe", "base: timm_vit").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "truncated normal(0, 0.02) in [-2, 2]");
//! assert_eq!(plan.sites()[1].law.to_string(), "zeros");
//! ```
//!
//! # References
//! - [wightman2019timm] `init_weights_vit_timm`, `VisionTransformer.init_weights`, `LayerScale`;
//!   [dosovitskiy2020image]

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::Role;
use epoch0_num::Law;

use crate::pytorch_default::default_uniform;
use crate::shared::settled;

/// Parameters of timm's vision transformer start: none.
#[derive(Clone, Debug, Params)]
pub struct TimmVit {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "timm_vit",
    aliases: &["vit_timm"],
    family: Family::Init,
    papers: &["wightman2019timm", "dosovitskiy2020image"],
    source: include_str!("timm_vit.rs"),
    params: TimmVit::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(TimmVit::from_values(INFO.id, values)?))
}

impl Initializer for TimmVit {
    fn covers(&self, _: &At<'_>) -> bool {
        true
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let law = match at.role {
            role if role.is_matrix() && at.op == "linear" => narrow(),
            role if role.is_matrix() => default_uniform(INFO.id, at)?,
            Role::Bias if at.fans.is_some() && at.op != "linear" => default_uniform(INFO.id, at)?,
            Role::Position | Role::RelativeBias => narrow(),
            Role::Token => Law::normal(0.0, 1e-6),
            Role::Embedding => Law::normal(0.0, 1.0),
            _ => settled(INFO.id, at, 1e-5)?,
        };
        Ok(SiteLaw::Each(law))
    }
}

/// `trunc_normal_(std=0.02)` with the bounds that are its defaults.
const fn narrow() -> Law {
    Law::truncated(0.0, 0.02, -2.0, 2.0)
}
