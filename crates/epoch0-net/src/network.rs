//! The network: values, nodes, parameters, and what is derived from them.

use std::collections::{BTreeMap, HashMap};

use epoch0_num::Dtype;
use serde::Serialize;

use crate::site::ends;
use crate::{Axis, AxisId, BranchEnd, Made, NormKind, Op, Param, ParamId, Role, Site};

/// Index of a value in its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ValueId(pub u32);

/// Index of a node in its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct NodeId(pub u32);

/// What flows between operations.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Its dimensions, outermost first.
    pub dims: Vec<AxisId>,
    /// The node that makes it; `None` for an input of the network.
    pub from: Option<NodeId>,
    /// Name, where it is an input or output of the network.
    pub name: Option<String>,
    /// Whether it holds integers (words, positions).
    pub is_index: bool,
}

/// One operation in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<ValueId>,
    /// What it makes.
    pub outputs: Vec<ValueId>,
    /// Index of the block that it stands in, where it stands in one.
    pub block: Option<usize>,
}

/// A name that a checkpoint may use for a parameter that it stores once, under another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tie {
    /// The name that is not stored.
    pub alias: String,
    /// The parameter that it is.
    pub param: ParamId,
}

/// Places of the inputs of a network of a graph's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphInputs {
    /// Features of all nodes, `[nodes, features]`.
    pub features: usize,
    /// Edges, `[2, edges]`: sources, then targets.
    pub edges: usize,
    /// Numbers of the nodes that are asked for.
    pub nodes: usize,
}

/// Where a network's description came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// A Hugging Face config.
    HuggingFace {
        /// `model_type` of the config.
        model_type: String,
        /// Class of `transformers` that reads the checkpoint.
        architecture: String,
    },
    /// A zoo specification, such as `resnet18`.
    Zoo {
        /// The specification.
        spec: String,
    },
    /// An ONNX file.
    Onnx {
        /// Name of the graph in it.
        graph: String,
        /// What wrote it, such as `pytorch 2.9.0`.
        producer: String,
    },
    /// Built by hand.
    Built,
}

/// A network: a directed acyclic graph of operations with named parameters. Made by a [`crate::Builder`].
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) params: Vec<Param>,
    pub(crate) values: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
    pub(crate) axes: Vec<Axis>,
    pub(crate) sites: Vec<Site>,
    pub(crate) ties: Vec<Tie>,
    pub(crate) blocks: Vec<String>,
    pub(crate) by_name: HashMap<String, ParamId>,
    pub(crate) made: BTreeMap<ParamId, Made>,
}

impl Network {
    /// Name for people: the model type or the specification.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives it another name.
    pub fn set_name(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    /// Where the description came from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Parameters and buffers, in the order in which the source declares them.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// A parameter.
    pub fn param(&self, id: ParamId) -> &Param {
        &self.params[id.0 as usize]
    }

    /// The parameter of that name, ties included.
    pub fn find(&self, name: &str) -> Option<ParamId> {
        let tied = || self.ties.iter().find(|tie| tie.alias == name).map(|tie| tie.param);
        self.by_name.get(name).copied().or_else(tied)
    }

    /// Values.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// A value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0 as usize]
    }

    /// Operations, each after those that it reads from.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What the network is given.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// What it answers.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// Which of its inputs are a graph and what of it is asked for, where it is a network of a graph's nodes: one that
    /// passes features along edges and answers for the nodes that another input names.
    pub fn graph_inputs(&self) -> Option<GraphInputs> {
        let edges = self.nodes.iter().find(|node| matches!(node.op, Op::Propagate { .. }))?.inputs[1];
        let place = |wanted: &dyn Fn(ValueId) -> bool| self.inputs.iter().position(|&input| wanted(input));
        let is_index = |input: ValueId| self.value(input).is_index;
        let found = GraphInputs {
            features: place(&|input| !is_index(input))?,
            edges: place(&|input| input == edges)?,
            nodes: place(&|input| is_index(input) && input != edges)?,
        };
        (self.inputs.len() == 3).then_some(found)
    }

    /// Axes of parameters and values.
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// An axis.
    pub fn axis(&self, id: AxisId) -> &Axis {
        &self.axes[id.0 as usize]
    }

    /// Where weights meet values: every parameter has at least one site, and the sites of one parameter that are
    /// its own (see [`Site::is_own`]) cover each of its elements exactly once.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// The sites at which a parameter's elements are drawn.
    pub fn sites_of(&self, param: ParamId) -> impl Iterator<Item = &Site> {
        self.sites.iter().filter(move |site| site.param == param && site.is_own)
    }

    /// Ends of all residual branches, in order. What the graph hides, such as an end that two operations read, is left out.
    pub fn branch_ends(&self) -> Vec<BranchEnd> {
        ends::of(self)
    }

    /// What `of` says of the nearest operation that a value comes from, along first inputs.
    pub fn nearest<T>(&self, value: ValueId, of: impl Fn(NodeId) -> Option<T>) -> Option<T> {
        ends::below(self, value, of)
    }

    /// Names under which a parameter is known besides its own.
    pub fn ties(&self) -> &[Tie] {
        &self.ties
    }

    /// Names of the blocks, in order (`h.0`, `layer1.0`).
    pub fn blocks(&self) -> &[String] {
        &self.blocks
    }

    /// Number of learned elements: buffers do not count, what is tied counts once.
    pub fn n_params(&self) -> u64 {
        self.params.iter().filter(|param| !param.role.is_buffer()).map(|param| param.len() as u64).sum()
    }

    /// Size of a checkpoint's data, in bytes.
    pub fn bytes(&self) -> u64 {
        self.params.iter().map(Param::bytes).sum()
    }

    /// Gives each parameter the law that the network's source draws it from.
    pub fn set_native(&mut self, mut law: impl FnMut(&Self, &Site) -> Option<epoch0_num::Law>) {
        for index in 0..self.params.len() {
            let id = ParamId(index as u32);
            let found = self.sites_of(id).next().and_then(|site| law(self, site));
            self.params[index].native = found;
        }
    }

    /// Gives layer and RMS normalizations another number to add to the variance.
    pub fn set_norm_epsilon(&mut self, epsilon: f64) {
        for node in &mut self.nodes {
            if let Op::Norm {
                kind: NormKind::Layer | NormKind::LayerChannelsFirst | NormKind::Rms { .. },
                eps,
                ..
            } = &mut node.op
            {
                *eps = epsilon;
            }
        }
    }

    /// What layer and RMS normalizations add to the variance; the first one's.
    pub fn norm_epsilon(&self) -> Option<f64> {
        self.nodes.iter().find_map(|node| match node.op {
            Op::Norm {
                kind: NormKind::Layer | NormKind::LayerChannelsFirst | NormKind::Rms { .. },
                eps,
                ..
            } => Some(eps),
            _ => None,
        })
    }

    /// Stores floating-point parameters as another type. Integer buffers stay as they are.
    pub fn set_dtype(&mut self, dtype: Dtype) {
        for param in &mut self.params {
            if param.role != Role::BatchCount {
                param.dtype = dtype;
            }
        }
    }
}
