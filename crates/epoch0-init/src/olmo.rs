//! OLMo: a truncated Gaussian whose residual ends get narrower block by block.
//!
//! # Idea
//! A branch adds to a stream that the branches before it have already made larger; a later one may be as large only
//! in proportion. Scaling by the block's own number, not by the depth of all, lets early blocks speak. For decoders
//! of any depth.
//!
//! # Method
//! With `t(s)` a Gaussian of standard deviation s truncated at ±3s, and i the index of the block from 0:
//! - weight: `t(std)`, bias 0
//! - attention's last weight, the feed-forward's last weight (w2) and the one whose output its gate multiplies (w3):
//!   `t(std / √(2(i + 1)))`
//! - router and all weights of experts: the same
//! - readout: `t(1/√width)`; table: `N(0, 1)`
//!
//! # Shapes
//! Everything. Weights, readouts, routers and embeddings: as above; a table that also answers gets the readout's law.
//! Positions and relative biases that are looked up: N(0, 1); positions and tokens that are free parameters:
//! `t(std)`. Biases: 0. Norms: factor 1 (0 where the norm adds 1 itself, as Gemma's), shift 0. Buffers: running mean
//! 0, running variance 1, count 0. A layer scale or a single factor has the value of the network's source where it
//! states one; else 1e-6 for a layer scale, and for a factor what does nothing.
//!
//! # Cost
//! O(weights), a few nanoseconds each, in pieces of any size.
//!
//! # Departures
//! OLMo-core (its `llama_depth`) has no tied embeddings, positions or tokens. It knows w3 by name; here it is found
//! from the graph, as the map whose output is multiplied with an activated one and meets no activation itself. Blocks
//! are counted over the whole network, so those of a decoder behind an encoder go on counting.
//!
//! # Traps
//! w3 is scaled with w2, so the feed-forward of block i shrinks by `2(i + 1)`, attention by `√(2(i + 1))`. Not every
//! OLMo starts this way: OLMo 2 has a standard deviation of 0.02 everywhere.
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
//! let recipe = Recipe::from_yaml("recipe", "base: {with: olmo, set: {std: 0.01}}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "truncated normal(0, 0.01) in [-0.03, 0.03]");
//! assert_eq!(plan.sites()[1].law.to_string(), "zeros");
//! ```
//!
//! # References
//! - [groeneveld2024olmo]
//! - allenai/OLMo-core@004aefff src/olmo_core/nn/transformer/init.py, `InitMethod.llama_depth` (read, not copied)

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::{Node, Op, Role, ValueId};
use epoch0_num::Law;

use crate::shared::{is_table, settled};
use crate::variance_scaling::fans;

/// Parameters of OLMo's depth-scaled start.
#[derive(Clone, Debug, Params)]
pub struct Olmo {
    /// Standard deviation, before truncation, of weights that are not scaled by depth.
    #[param(default = 0.02, range = "[0, inf)", symbol = "σ")]
    pub std: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "olmo",
    aliases: &["llama_depth"],
    family: Family::Init,
    papers: &["groeneveld2024olmo"],
    source: include_str!("olmo.rs"),
    params: Olmo::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Olmo::from_values(INFO.id, values)?))
}

impl Initializer for Olmo {
    fn covers(&self, _: &At<'_>) -> bool {
        true
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let law = match at.role {
            Role::Readout => readout(at)?,
            Role::Embedding if answers(at) => readout(at)?,
            role if role.is_matrix() => {
                let scaled = at.ends_branch().is_some() || is_gated(at) || is_in_mixture(at);
                let block = at.block.filter(|_| scaled);
                truncated(block.map_or(self.std, |block| self.std / (2.0 * (block + 1) as f64).sqrt()))
            }
            Role::Embedding | Role::Position | Role::RelativeBias if is_table(at) => Law::normal(0.0, 1.0),
            Role::Position | Role::Token | Role::RelativeBias => truncated(self.std),
            _ => settled(INFO.id, at, 1e-6)?,
        };
        Ok(SiteLaw::Each(law))
    }
}

/// The law of the weight that answers, from the width that it reads.
fn readout(at: &At<'_>) -> Result<Law, Error> {
    // A table is looked up along its rows, and read along its columns when it answers.
    let fans = fans(INFO.id, at)?;
    let width = if is_table(at) { fans.out } else { fans.in_ };
    Ok(truncated(1.0 / width.sqrt()))
}

/// A Gaussian truncated at three standard deviations.
fn truncated(std: f64) -> Law {
    if std == 0.0 { Law::ZEROS } else { Law::truncated(0.0, std, -3.0 * std, 3.0 * std) }
}

/// The value that holds what the site computes: its part, where a packed map is cut into parts.
fn output(at: &At<'_>) -> ValueId {
    let nodes = at.net.nodes();
    let whole = nodes[at.node.0 as usize].outputs[0];
    let Some(part) = &at.part else { return whole };
    let cut = nodes.iter().filter(|node| node.inputs.contains(&whole)).find_map(|node| {
        let nth = match &node.op {
            Op::Split { parts } => parts.iter().position(|(name, _)| name == part)?,
            Op::SplitInHeads { parts, .. } => parts.iter().position(|name| name == part)?,
            _ => return None,
        };
        node.outputs.get(nth).copied()
    });
    cut.unwrap_or(whole)
}

/// Whether a table answers too, at another site.
fn answers(at: &At<'_>) -> bool {
    at.is_tied && at.net.sites().iter().any(|site| site.param == at.param && site.role == Role::Readout)
}

/// The operation of the site's block that reads a value, where it is the only one.
fn reader<'a>(at: &At<'a>, value: ValueId) -> Option<&'a Node> {
    let behind = at.net.nodes()[at.node.0 as usize..].iter().take_while(|node| node.block == at.block);
    let mut readers = behind.filter(|node| node.inputs.contains(&value));
    readers.next().filter(|_| readers.next().is_none())
}

/// Whether the site's output is what a gate multiplies: the other factor comes out of an activation.
fn is_gated(at: &At<'_>) -> bool {
    let value = output(at);
    let Some(Node { op: Op::Mul, inputs, .. }) = reader(at, value) else { return false };
    let others = inputs.iter().filter(|&&input| input != value);
    let mut makers = others.filter_map(|&input| at.net.value(input).from);
    makers.any(|maker| matches!(at.net.nodes()[maker.0 as usize].op, Op::Activation(_)))
}

/// Whether the site belongs to a mixture of experts: nothing but one reader after another lies between.
fn is_in_mixture(at: &At<'_>) -> bool {
    let mut value = output(at);
    while let Some(node) = reader(at, value) {
        match node.op {
            Op::Mixture { .. } => return true,
            Op::Add => return false,
            _ => value = node.outputs[0],
        }
    }
    false
}
