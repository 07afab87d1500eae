//! Building a network from a flat graph.

mod arrange;
mod attention;
mod cut;
mod general;
mod layers;
mod params;
mod recurrent;
mod values;
mod windows;

use std::collections::{BTreeMap, HashMap, HashSet};

use epoch0_net::{Builder, Network, ValueId};

use super::OnnxFault;
use super::fuse::{Fused, Plan};
use super::graph::{Graph, Node, Val};
use super::known::Kind;
use super::names::block_of;
use super::size::Size;
use super::store::{Order, Raw, Stored};
use super::view::View;

/// Operations that a network may have.
const MOST_OPERATIONS: usize = 30_000;

/// A network and where its parameters are.
pub(super) struct Lowered {
    pub network: Network,
    pub stored: HashMap<String, Stored>,
}

/// What building needs to know.
pub(super) struct Lower<'g, 'a> {
    graph: &'g Graph<'a>,
    plan: Plan,
    bytes: &'g dyn Fn(&Raw) -> Vec<u8>,
    b: Builder,
    views: HashMap<Val, View>,
    /// Sizes of the builder's values.
    sizes: HashMap<ValueId, Vec<Size>>,
    /// Where a size that only a run decides can be read off.
    places: BTreeMap<Size, (ValueId, usize)>,
    stored: HashMap<String, Stored>,
    /// Names of parameters that are declared, by where they lie.
    names: HashMap<Order, String>,
    /// Tables of embeddings that are declared.
    tables: Vec<String>,
    /// Parts of projections that are cut already.
    cuts: HashMap<(ValueId, Vec<i64>), Vec<View>>,
    blocks: HashSet<String>,
    /// How many recurrent layers a module has had.
    n_layers: HashMap<String, usize>,
}

impl<'g, 'a> Lower<'g, 'a> {
    pub(super) fn run(
        graph: &'g Graph<'a>,
        bytes: &'g dyn Fn(&Raw) -> Vec<u8>,
        b: Builder,
    ) -> Result<Lowered, OnnxFault> {
        let plan = Plan::of(graph);
        let blocks = graph
            .nodes
            .iter()
            .filter(|node| {
                matches!(
                    node.op,
                    "Conv"
                        | "Gemm"
                        | "MatMul"
                        | "BatchNormalization"
                        | "LayerNormalization"
                        | "ConvTranspose"
                )
            })
            .filter_map(|node| block_of(&node.scope).map(str::to_owned))
            .collect();
        let mut lower = Self {
            graph,
            plan,
            bytes,
            b,
            views: HashMap::new(),
            sizes: HashMap::new(),
            places: BTreeMap::new(),
            stored: HashMap::new(),
            names: HashMap::new(),
            tables: Vec::new(),
            cuts: HashMap::new(),
            blocks,
            n_layers: HashMap::new(),
        };
        lower.inputs();
        for at in 0..graph.nodes.len() {
            if lower.plan.needed[at] {
                lower.enter(&graph.nodes[at].scope);
                lower.node(at)?;
                let n = lower.b.n_operations();
                if n > MOST_OPERATIONS {
                    return Err(OnnxFault::Limit {
                        what: "the network".to_owned(),
                        found: format!("more than {MOST_OPERATIONS} operations"),
                        allowed: MOST_OPERATIONS as u64,
                    });
                }
            }
        }
        lower.b.end_block();
        for (val, name) in graph.outputs.clone() {
            let view = lower.view(val)?;
            let value = lower.settle(&view)?;
            lower.b.output(value, name);
        }
        lower.b.prune();
        let network = lower.b.finish()?;
        Ok(Lowered { network, stored: lower.stored })
    }

    fn inputs(&mut self) {
        for (val, name) in &self.graph.inputs {
            let fact = &self.graph.facts[*val];
            let sizes: Vec<_> = fact.dims.iter().map(|size| size.fixed().map(|size| size as usize)).collect();
            let value = match fact.kind {
                Kind::Real => self.b.input(name, &sizes),
                _ => self.b.index_input(name, &sizes),
            };
            let view = self.made(value, fact.dims.clone());
            self.views.insert(*val, view);
        }
    }

    /// Notes the sizes of a new value of the builder.
    fn made(&mut self, value: ValueId, sizes: Vec<Size>) -> View {
        for (dim, size) in sizes.iter().enumerate() {
            if size.fixed().is_none() {
                self.places.entry(size.clone()).or_insert((value, dim));
            }
        }
        let view = View::whole(value, &sizes);
        self.sizes.insert(value, sizes);
        view
    }

    /// Stands in the block of a module, if it is one.
    fn enter(&mut self, scope: &str) {
        let inner = format!("{scope}._");
        match block_of(&inner).filter(|block| self.blocks.contains(*block)) {
            Some(block) => self.b.enter_block(block),
            None => self.b.end_block(),
        }
    }

    fn dims(&self, val: Val) -> &'g [Size] {
        &self.graph.facts[val].dims
    }

    fn input(node: &Node<'_>, at: usize) -> Result<Val, OnnxFault> {
        node.input(at).ok_or_else(|| node.refuse(format!("input {at} is missing")))
    }

    fn set(&mut self, node: &Node<'_>, at: usize, view: View) {
        if let Some(val) = node.output(at) {
            self.views.insert(val, view);
        }
    }

    /// Sets the only output to a new value, whose sizes are those that were found before.
    #[expect(clippy::unnecessary_wraps, reason = "it is what most operators end with")]
    fn answer(&mut self, node: &Node<'_>, value: ValueId) -> Result<(), OnnxFault> {
        if let Some(val) = node.output(0) {
            let view = self.made(value, self.dims(val).to_vec());
            self.views.insert(val, view);
        }
        Ok(())
    }

    fn node(&mut self, at: usize) -> Result<(), OnnxFault> {
        let node = &self.graph.nodes[at];
        match self.plan.fused.get(&at).cloned() {
            Some(Fused::Activation { x, act }) => {
                let view = self.view(x)?;
                let value = self.b.activation(view.base, act);
                let view = self.like(&view, value);
                self.set(node, 0, view);
                Ok(())
            }
            Some(Fused::Linear { product, bias }) => {
                let product = &self.graph.nodes[product];
                self.matmul(product, Some(bias), node.output(0))
            }
            Some(Fused::Norm { x, kind, eps, scale, shift }) => self.norm(node, x, kind, eps, scale, shift),
            Some(Fused::Attention(attention)) => self.attention(node, &attention),
            None => self.plain(node),
        }
    }

    /// A value with the dimensions of another's base, seen as that one is.
    fn like(&mut self, view: &View, value: ValueId) -> View {
        let sizes = self.sizes[&view.base].clone();
        self.made(value, sizes);
        view.onto(value)
    }
}
