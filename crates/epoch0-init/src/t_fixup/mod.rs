//! T-Fixup: transformers without normalization and warm-up, whose first updates do as much at any depth.
//!
//! # Idea
//! Warm-up is there because layer norms make early steps of Adam harmful: gradients through them fall as what they divide
//! grows. T-Fixup leaves norms out and scales values, output projections, feed-forward weights and embeddings down with depth,
//! so that one step of Adam changes the answers by Θ(η) at any number of layers.
//!
//! # Method
//! N layers, Xavier's start everywhere but for embeddings, which are normal with standard deviation `d^(-1/2)` of width d:
//! 1. Encoders: values, output projections, feed-forward weights and embeddings are multiplied by `0.67 N^(-1/4)`.
//! 2. Decoders, which attend to another stack too: the same are multiplied by `(9 N)^(-1/4)`.
//! 3. Queries and keys are not scaled; biases are 0.
//!
//! A branch's weights are all through which its output passes without a softmax between. A stack whose attention is all to
//! itself, as GPT's, has an encoder's two branches in a layer and is scaled as one.
//!
//! # Shapes
//! Linear maps, embeddings, learned positions and biases of transformers: residual stacks in which at least one branch
//! attends. In the zoo `gpt:norm=none`.
//!
//! # Cost
//! O(weights), in pieces of any size; branches are found when the network is read.
//!
//! # Departures
//! - The paper's positions are computed; learned ones are scaled as embeddings are, to whose sum they belong.
//! - Gated feed-forward maps count as the paper's first map, each by itself.
//!
//! # Traps
//! - It is derived for Adam; gradient descent wants `fixup`.
//! - With norms left in the network the start is harmless and pointless.
//! - Padding rows of tables are not kept at zero.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("gpt:layers=16,heads=2,embed=32,vocab=100,positions=16,norm=none").unwrap();
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, rules: [{with: t_fixup}]}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! let law = |name: &str, nth: usize| plan.sites_of(net.find(name).unwrap())[nth].law.std();
//! let xavier = (2.0f64 / 64.0).sqrt();
//! // Queries, and values at 0.67 / 2.
//! assert!((law("transformer.h.3.attn.c_attn.weight", 0) - xavier).abs() < 1e-12);
//! assert!((law("transformer.h.3.attn.c_attn.weight", 2) - 0.335 * xavier).abs() < 1e-12);
//! ```
//!
//! # References
//! - [huang2020improving] Section 3.2 and code of the authors; [glorot2010understanding]

mod claims;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::{BranchEnd, Network, NodeId, Op, ParamId, Role, ValueId};
use epoch0_num::Law;

use crate::shared::unsupported;
use crate::variance_scaling::fans;

/// Parameters of T-Fixup.
#[derive(Clone, Debug, Params)]
pub struct TFixup {
    /// Factor of an encoder of one layer.
    #[param(default = 0.67, range = "(0, inf)")]
    pub encoder: f64,
    /// Number by which a decoder's layers are counted.
    #[param(default = 9.0, range = "(0, inf)")]
    pub decoder: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "t_fixup",
    aliases: &["tfixup"],
    family: Family::Init,
    papers: &["huang2020improving", "glorot2010understanding"],
    source: include_str!("mod.rs"),
    params: TFixup::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(TFixup::from_values(INFO.id, values)?))
}

/// The method for one network.
#[derive(Debug)]
struct Of {
    /// What weights of branches are multiplied by, by operation and part, and tables by theirs.
    factors: Arc<HashMap<(ParamId, Option<String>), f64>>,
    remark: String,
}

/// A stack of branches.
#[derive(Default)]
struct Stack {
    ends: Vec<BranchEnd>,
    attends: bool,
    attends_elsewhere: bool,
}

impl Stack {
    /// Branches of a layer.
    fn in_a_layer(&self) -> usize {
        if self.attends_elsewhere { 3 } else { 2 }
    }

    fn layers(&self) -> usize {
        self.ends.len().div_ceil(self.in_a_layer())
    }
}

impl TFixup {
    fn of(&self, net: &Network) -> Result<Of, Error> {
        let mut stacks: Vec<Stack> = Vec::new();
        let mut found = Vec::new();
        for end in net.branch_ends() {
            stacks.resize_with(stacks.len().max(end.stack + 1), Stack::default);
            let stack = &mut stacks[end.stack];
            let mut way =
                Way { net, skip: end.branch.skip, seen: HashSet::new(), maps: Vec::new(), attention: None };
            way.back(end.term, None);
            if let Some(attention) = way.attention {
                stack.attends = true;
                let keys = net.nodes()[attention.0 as usize].inputs[1];
                stack.attends_elsewhere |= !comes_from(net, keys, end.branch.skip);
            }
            found.push((end.stack, way.maps));
            stack.ends.push(end);
        }
        if !stacks.iter().any(|stack| stack.attends) {
            let hint = "for residual networks of other kinds take fixup, for plain ones auto";
            return Err(unsupported(INFO.id, net.name(), &"no residual branch of it attends", hint));
        }
        let factor = |stack: &Stack| {
            let layers = stack.layers().max(1) as f64;
            if stack.attends_elsewhere {
                (self.decoder * layers).powf(-0.25)
            } else {
                self.encoder * layers.powf(-0.25)
            }
        };
        let mut factors = HashMap::new();
        for (stack, maps) in found {
            for (node, part) in maps {
                let weight = net.nodes()[node.0 as usize].op.params()[0];
                factors.insert((weight, part), factor(&stacks[stack]));
            }
        }
        // A table belongs to the stack that reads it first.
        for (index, node) in net.nodes().iter().enumerate() {
            let (Op::Embedding { table: param } | Op::Param(param)) = node.op else { continue };
            if !matches!(net.param(param).role, Role::Embedding | Role::Position | Role::Token) {
                continue;
            }
            let reader = stacks.iter().find(|stack| {
                stack
                    .ends
                    .first()
                    .is_some_and(|end| comes_from(net, end.branch.skip, net.nodes()[index].outputs[0]))
            });
            factors.entry((param, None)).or_insert(reader.map_or(1.0, factor));
        }
        let kinds = stacks.iter().filter(|stack| stack.attends).map(|stack| {
            let kind = if stack.attends_elsewhere { "a decoder" } else { "an encoder" };
            format!("{kind} of {} layers (factor {:.3})", stack.layers(), factor(stack))
        });
        let mut remark = kinds.collect::<Vec<_>>().join(" and ");
        if net.nodes().iter().any(|node| matches!(node.op, Op::Norm { .. })) {
            remark += "; it has norms, which the method is there to do without";
        }
        Ok(Of { factors: Arc::new(factors), remark })
    }
}

/// The way back from what a branch adds, through all that is not turned into weights of attention.
struct Way<'a> {
    net: &'a Network,
    skip: ValueId,
    seen: HashSet<ValueId>,
    /// Maps on the way, with the part of a packed one.
    maps: Vec<(NodeId, Option<String>)>,
    attention: Option<NodeId>,
}

impl Way<'_> {
    fn back(&mut self, value: ValueId, part: Option<String>) {
        if value == self.skip || !self.seen.insert(value) {
            return;
        }
        let Some(from) = self.net.value(value).from else { return };
        let node = &self.net.nodes()[from.0 as usize];
        match &node.op {
            Op::Linear { .. } | Op::Conv { .. } => {
                self.maps.push((from, part));
                self.back(node.inputs[0], None);
            }
            Op::Attention(_) => {
                self.attention = Some(from);
                self.back(node.inputs[2], None);
            }
            Op::Split { parts } => {
                let at = node.outputs.iter().position(|output| *output == value);
                self.back(node.inputs[0], at.map(|at| parts[at].0.clone()));
            }
            Op::SplitInHeads { parts, .. } => {
                let at = node.outputs.iter().position(|output| *output == value);
                self.back(node.inputs[0], at.map(|at| parts[at].clone()));
            }
            // Attention that is spelled out: weights, which a softmax has made, times values.
            Op::MatMul if self.is_softmax(node.inputs[0]) => {
                self.attention.get_or_insert(from);
                self.back(node.inputs[1], None);
            }
            _ => node.inputs.iter().for_each(|&input| self.back(input, part.clone())),
        }
    }

    fn is_softmax(&self, value: ValueId) -> bool {
        self.net
            .nearest(value, |from| match self.net.nodes()[from.0 as usize].op {
                Op::Softmax { .. } => Some(true),
                Op::Where | Op::Scale(_) | Op::Reshape { .. } | Op::Transpose { .. } | Op::Expand { .. } => {
                    None
                }
                _ => Some(false),
            })
            .unwrap_or(false)
    }
}

/// Whether a value is computed from another.
fn comes_from(net: &Network, value: ValueId, from: ValueId) -> bool {
    let (mut open, mut seen) = (vec![value], HashSet::new());
    while let Some(value) = open.pop() {
        if value == from {
            return true;
        }
        if let Some(node) = net.value(value).from.filter(|_| seen.insert(value)) {
            open.extend(&net.nodes()[node.0 as usize].inputs);
        }
    }
    false
}

impl Initializer for TFixup {
    fn for_network(&self, net: &Network) -> Result<Option<Box<dyn Initializer>>, Error> {
        Ok(Some(Box::new(self.of(net)?)))
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        self.of(at.net)?.law(at)
    }
}

impl Initializer for Of {
    fn remarks(&self, _: &Network) -> Vec<String> {
        vec![self.remark.clone()]
    }

    fn covers(&self, at: &At<'_>) -> bool {
        at.role.is_matrix() || matches!(at.role, Role::Bias | Role::Embedding | Role::Position | Role::Token)
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let factor = self.factors.get(&(at.param, at.part.clone())).copied().unwrap_or(1.0);
        Ok(SiteLaw::Each(match at.role {
            Role::Bias => Law::ZEROS,
            Role::Embedding | Role::Position | Role::Token => {
                let width = at.net.param(at.param).shape.last().copied().unwrap_or(1).max(1);
                Law::normal(0.0, factor / (width as f64).sqrt())
            }
            _ => {
                let fans = fans(INFO.id, at)?;
                Law::uniform_with_std(factor * (2.0 / (fans.in_ + fans.out)).sqrt())
            }
        }))
    }
}
