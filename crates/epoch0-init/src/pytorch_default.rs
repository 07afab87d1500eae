//! PyTorch's default: what torch's own layers start at.
//!
//! # Idea
//! What a network has when nobody initialized it. For reproducing work that says nothing about its start, and as the
//! baseline to beat. Its weights have a third of the variance that keeps a linear signal, and a sixth of He's.
//!
//! # Method
//! torch calls `kaiming_uniform_(a=√5)`, which is:
//! - weight `~ U(±1/√fan_in)`
//! - bias `~ U(±1/√fan_in)` of its weight
//! - table `~ N(0, 1)`, the padding row 0
//!
//! # Shapes
//! Everything. Weights, readouts, routers and their biases: as above. Embeddings, positions and relative biases that
//! are looked up: N(0, 1). Tokens, positions and biases that are free parameters: 0, as torch has no default for
//! them. Norms: factor 1 (0 where the norm adds 1 itself, as Gemma's), shift 0. Buffers: running mean 0, running
//! variance 1, count 0. A layer scale or a single factor has the value of the network's source where it states one;
//! else 1e-6 for a layer scale, and for a factor what does nothing.
//!
//! # Cost
//! O(weights), a few nanoseconds each, in pieces of any size.
//!
//! # Departures
//! torch has no default for free parameters, layer scales and factors. A packed attention is taken as the linear map
//! that it is in most code; `nn.MultiheadAttention`, which starts its packed weight at `xavier_uniform_`, is not told
//! apart.
//!
//! # Traps
//! A transposed convolution counts its *outputs* as fan-in, as torch does, which is right for neither direction.
//! Language models whose embeddings start at N(0, 1) have logits of standard deviation √width when they tie them.
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
//! let recipe = Recipe::from_yaml("recipe", "base: pytorch_default").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "uniform(-0.125, 0.125)");
//! assert_eq!(plan.sites()[1].law.to_string(), "uniform(-0.125, 0.125)");
//! ```
//!
//! # References
//! - [paszke2019pytorch] `reset_parameters` of `Linear`, `_ConvNd`, `Embedding`, `LayerNorm`, `_BatchNorm`
//! - [liu2022convnet] layer scale

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::Role;
use epoch0_num::Law;

use crate::shared::{is_table, settled};
use crate::variance_scaling::fans;

/// Parameters of PyTorch's default: none.
#[derive(Clone, Debug, Params)]
pub struct PytorchDefault {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "pytorch_default",
    aliases: &["torch_default", "pytorch", "torch"],
    family: Family::Init,
    papers: &["paszke2019pytorch", "liu2022convnet"],
    source: include_str!("pytorch_default.rs"),
    params: PytorchDefault::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(PytorchDefault::from_values(INFO.id, values)?))
}

impl Initializer for PytorchDefault {
    fn covers(&self, _: &At<'_>) -> bool {
        true
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let law = match at.role {
            role if role.is_matrix() => default_uniform(INFO.id, at)?,
            Role::Bias if at.fans.is_some() => default_uniform(INFO.id, at)?,
            Role::Embedding | Role::Position | Role::RelativeBias if is_table(at) => Law::normal(0.0, 1.0),
            Role::Position | Role::Token | Role::RelativeBias => Law::ZEROS,
            _ => settled(INFO.id, at, 1e-6)?,
        };
        Ok(SiteLaw::Each(law))
    }
}

/// Start of torch's linear maps and convolutions, and of their biases.
pub(crate) fn default_uniform(method: &str, at: &At<'_>) -> Result<Law, Error> {
    let fans = fans(method, at)?;
    // torch reads the fan-in off dimension 1, where a transposed convolution has its outputs.
    let fan = if at.op == "conv_transpose" { fans.out } else { fans.in_ };
    let bound = 1.0 / fan.sqrt();
    Ok(Law::uniform(-bound, bound))
}
