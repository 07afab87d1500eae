//! Architecture-aware: variances by the terms of each sum, one learning rate by the depths of all paths.
//!
//! # Idea
//! A node that sums what comes in over several edges gets as many times the second moment; weights divided by that number
//! keep it. And one step moves the output the further the more paths there are and the deeper they are: by the sum of their
//! depths' cubes. So the largest rate that a shallow network stands tells that of any other. Take it for networks that
//! are graphs, such as the cells of architecture search, to tune one small chain and train the rest without a search.
//!
//! # Method
//! - A weight of `n` inputs has variance `C / (n d)`, `C` being 2 for ReLU and `gain²` in general. `d` is the number of
//!   terms of the sum that its output goes into; where it goes into none, of the sum that its input is.
//! - A readout has standard deviation `C / n`, `C` being that of the last activation.
//! - The learning rate of gradient descent is multiplied by `√(27 / Σ L³) · 3 / k`: over all paths from inputs to outputs,
//!   `L` being the weights on the path and `k` the size of the largest kernel; the second factor only where there
//!   are convolutions. `base_depth` and `base_kernel` stand for the 3s: the chain on which the rate was found.
//!
//! # Shapes
//! Linear maps and convolutions of any network; sums may be of any number of terms, or nested.
//!
//! # Cost
//! O(weights), and one pass over the graph: sums over paths are carried along as moments of their depths.
//!
//! # Departures
//! - The official code takes fan-out, and counts one weight too many where the base is a chain of 3; here fans are fans in,
//!   and depths are counted alike on both sides.
//! - Adam's steps do not depend on the gradient's size, and its rate is left alone.
//!
//! # Traps
//! - In a network of many residual blocks paths double with each block, and the rate that follows is tiny; the rule was
//!   derived for cells of few nodes. `init` tells the factor.
//! - Rectifiers have positive means: a sum of them is larger than its terms' second moments.
//! - Batch size and momentum have to stay the same.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_method::Steps;
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("dag:64-256-10,cell=2_22").unwrap();
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, rules: [{with: arch_aware}]}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! // Two terms in the last node; paths of 4 and 3 weights.
//! let id = net.find("head.weight").unwrap();
//! assert_eq!(plan.sites_of(id)[0].law.to_string(), "normal(0, 0.0078125)");
//! let factor = (27.0f64 / 91.0).sqrt();
//! assert!(plan.learning_rates(Steps::Sgd).iter().all(|(_, found)| (found - factor).abs() < 1e-12));
//! ```
//!
//! # References
//! - [chen2024principled] Eq. 4 (variances), 8 and 9 (learning rates)

mod claims;
mod paths;

use std::collections::HashMap;

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Steps, Values};
use epoch0_net::{Network, NodeId, Op, Role, ValueId};
use epoch0_num::{Activation, Law};

use crate::he_normal;
use crate::variance_scaling::Mode;

/// Parameters of the architecture-aware start.
#[derive(Clone, Debug, Params)]
pub struct ArchAware {
    /// Weights on the path of the chain on which the learning rate was found.
    #[param(default = 3, range = "[1, 10000]")]
    pub base_depth: u32,
    /// Kernel size of that chain; plays no part without convolutions.
    #[param(default = 3, range = "[1, 1000]")]
    pub base_kernel: u32,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "arch_aware",
    aliases: &["architecture_aware"],
    family: Family::Init,
    papers: &["chen2024principled"],
    source: include_str!("mod.rs"),
    params: ArchAware::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(ArchAware::from_values(INFO.id, values)?))
}

impl ArchAware {
    fn of(&self, net: &Network) -> Settled {
        let cubes = paths::cubes(net);
        let kernel = net.nodes().iter().filter_map(|node| match &node.op {
            Op::Conv { window, .. } => window.kernel.iter().copied().max(),
            _ => None,
        });
        let base = f64::from(self.base_depth);
        let shrunk = kernel.max().map_or(1.0, |kernel| f64::from(self.base_kernel) / kernel as f64);
        let deepest =
            net.sites().iter().filter(|site| site.activation.is_some()).max_by_key(|site| site.depth);
        Settled {
            own: self.clone(),
            factor: (base * base * base / cubes).sqrt() * shrunk,
            cubes,
            terms: terms(net),
            last: deepest.and_then(|site| site.activation.clone()),
        }
    }
}

impl Initializer for ArchAware {
    fn for_network(&self, net: &Network) -> Result<Option<Box<dyn Initializer>>, Error> {
        Ok(Some(Box::new(self.of(net))))
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        self.of(at.net).law(at)
    }

    fn learning_rate(&self, at: &At<'_>, steps: Steps) -> f64 {
        self.of(at.net).learning_rate(at, steps)
    }
}

/// The method for one network.
#[derive(Debug)]
struct Settled {
    own: ArchAware,
    /// Of the learning rate.
    factor: f64,
    /// Sum over paths of their depths' cubes.
    cubes: f64,
    /// What each map's variance is divided by.
    terms: HashMap<NodeId, usize>,
    /// The last activation.
    last: Option<Activation>,
}

impl Initializer for Settled {
    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        if at.role == Role::Readout {
            let std = he_normal::std(INFO.id, self.last.as_ref(), Mode::FanIn, at)?;
            // (gain / √n)²: the gain twice, and the whole fan.
            return Ok(SiteLaw::Each(Law::normal(0.0, std * std)));
        }
        let terms = self.terms.get(&at.node).copied().unwrap_or(1);
        let std = he_normal::std(INFO.id, None, Mode::FanIn, at)?;
        Ok(SiteLaw::Each(Law::normal(0.0, std / (terms as f64).sqrt())))
    }

    fn learning_rate(&self, _: &At<'_>, steps: Steps) -> f64 {
        if steps == Steps::Sgd { self.factor } else { 1.0 }
    }

    fn remarks(&self, _: &Network) -> Vec<String> {
        let ArchAware { base_depth, .. } = self.own;
        vec![format!(
            "the cubes of the depths of all paths sum to {:.4e}: rates of gradient descent are {:.4e} times those of a chain of \
             {base_depth}",
            self.cubes, self.factor
        )]
    }
}

/// What each map's variance is divided by: the terms of the sum that its output goes into, else of the one that its input
/// is.
fn terms(net: &Network) -> HashMap<NodeId, usize> {
    let mut readers: HashMap<ValueId, Vec<NodeId>> = HashMap::new();
    for (at, node) in net.nodes().iter().enumerate() {
        for input in &node.inputs {
            readers.entry(*input).or_default().push(NodeId(at as u32));
        }
    }
    let sums = Sums { net, readers };
    let maps = net.sites().iter().filter(|site| site.role.is_matrix()).map(|site| site.node);
    maps.map(|node| (node, sums.around(node))).collect()
}

struct Sums<'a> {
    net: &'a Network,
    readers: HashMap<ValueId, Vec<NodeId>>,
}

impl Sums<'_> {
    fn op(&self, node: NodeId) -> &Op {
        &self.net.nodes()[node.0 as usize].op
    }

    /// The one node that reads a value.
    fn reader(&self, value: ValueId) -> Option<NodeId> {
        match self.readers.get(&value).map(Vec::as_slice) {
            Some(&[one]) => Some(one),
            _ => None,
        }
    }

    fn around(&self, map: NodeId) -> usize {
        let node = &self.net.nodes()[map.0 as usize];
        let mut into = self.reader(node.outputs[0]);
        while let Some(reader) = into
            && matches!(self.op(reader), Op::Activation(Activation::Identity) | Op::Scale(_))
        {
            into = self.reader(self.net.nodes()[reader.0 as usize].outputs[0]);
        }
        if let Some(sum) = &mut into
            && matches!(self.op(*sum), Op::Add)
        {
            // A sum of which another one is all that reads is part of that.
            while let Some(outer) = self.outer(*sum) {
                *sum = outer;
            }
            return self.leaves(*sum);
        }
        let mut value = node.inputs[0];
        while let Some(from) = self.net.value(value).from {
            match self.op(from) {
                Op::Add => return self.leaves(from),
                Op::Activation(_) | Op::Scale(_) | Op::Pool(_) | Op::Flatten => {
                    value = self.net.nodes()[from.0 as usize].inputs[0];
                }
                _ => break,
            }
        }
        1
    }

    fn outer(&self, sum: NodeId) -> Option<NodeId> {
        let output = self.net.nodes()[sum.0 as usize].outputs[0];
        self.reader(output).filter(|reader| matches!(self.op(*reader), Op::Add))
    }

    fn leaves(&self, sum: NodeId) -> usize {
        let inputs = &self.net.nodes()[sum.0 as usize].inputs;
        let of = |value: &ValueId| match self.net.value(*value).from {
            Some(from) if matches!(self.op(from), Op::Add) && self.reader(*value) == Some(sum) => {
                self.leaves(from)
            }
            _ => 1,
        };
        inputs.iter().map(of).sum()
    }
}
