//! Which uses of parameters can be tapped, and where the examples of a value lie.

use std::collections::{BTreeMap, BTreeSet};

use epoch0_net::{Extent, Network, NodeId, Op, ParamId, ValueId};

use crate::run::place;
use crate::{Error, Mode, Parameters, Tensor, Value};

/// Where the examples of a value lie: `per` slices of a dimension for each example, those of one next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) dim: usize,
    pub(super) per: usize,
}

impl Place {
    /// `[examples, per, others…]`, the others in their order.
    pub(super) fn examples_first(self, tensor: &Tensor) -> Tensor {
        let mut order: Vec<usize> = (0..tensor.rank()).collect();
        order.remove(self.dim);
        order.insert(0, self.dim);
        let moved = tensor.permute(&order);
        let mut shape = moved.shape();
        let examples = shape[0] / self.per;
        shape.splice(0..1, [examples, self.per]);
        moved.reshape(&shape)
    }
}

/// A value without examples, made of parameters, that an operation joins with values of examples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) value: ValueId,
    pub(super) node: NodeId,
    pub(super) input: usize,
}

/// How the gradients of each example are found.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// Operations on values of examples with parameters that are learned.
    pub(super) tapped: BTreeSet<NodeId>,
    /// Where values made of parameters meet values of examples.
    pub(super) edges: Vec<Edge>,
    /// Learned parameters that each value without examples depends on.
    pub(super) behind: BTreeMap<ValueId, BTreeSet<ParamId>>,
    /// Parameters whose gradients need a backward pass for each example.
    pub(super) looped: BTreeSet<ParamId>,
    /// Whether the dimension of the examples has to be found by running the network on fewer of them.
    pub(super) is_general: bool,
}

impl Plan {
    pub(super) fn new(
        network: &Network,
        params: &Parameters,
        mode: Mode,
        examples: usize,
    ) -> Result<Self, Error> {
        let tracked: BTreeSet<ParamId> = params.tracked().map(|(id, _)| id).collect();
        let mut plan = Self::default();
        let mut of_examples: BTreeSet<ValueId> = network.inputs().iter().copied().collect();
        for (index, node) in network.nodes().iter().enumerate() {
            let id = NodeId(index as u32);
            let joined: Vec<bool> = node.inputs.iter().map(|input| of_examples.contains(input)).collect();
            let is_joined = reads(&node.op, &joined);
            if is_joined && examples > 1 {
                refuse_coupling(network, id, mode, &joined)?;
            }
            let own: BTreeSet<ParamId> =
                network.params_of(node).into_iter().filter(|param| tracked.contains(param)).collect();
            let behind = |value: &ValueId| plan.behind.get(value).cloned().unwrap_or_default();
            if is_joined {
                of_examples.extend(&node.outputs);
                if !own.is_empty() {
                    plan.tapped.insert(id);
                }
                plan.looped.extend(own.iter().filter(|param| network.is_latent(**param)));
                for (input, value) in node.inputs.iter().enumerate() {
                    let learned = behind(value);
                    if learned.is_empty() {
                        continue;
                    }
                    if broadcasts(&node.op, input) {
                        plan.edges.push(Edge { value: *value, node: id, input });
                    } else {
                        plan.looped.extend(learned);
                    }
                }
            } else {
                let learned: BTreeSet<ParamId> =
                    node.inputs.iter().flat_map(behind).chain(own.iter().copied()).collect();
                if !learned.is_empty() {
                    plan.behind.extend(node.outputs.iter().map(|output| (*output, learned.clone())));
                }
            }
            plan.is_general |= !keeps_examples_first(&node.op);
        }
        Ok(plan)
    }

    /// Learned parameters of an operation.
    pub(super) fn loops(&mut self, network: &Network, params: &Parameters, node: NodeId) {
        let own = network.nodes()[node.0 as usize].op.params();
        self.looped.extend(own.into_iter().filter(|id| params.get(*id).is_some_and(crate::Var::is_tracked)));
    }
}

/// Whether an operation's result has examples, given which of its inputs have.
fn reads(op: &Op, joined: &[bool]) -> bool {
    match op {
        Op::RelativeBias { .. } | Op::Positions { .. } => false,
        Op::Expand { to } => {
            let likes = |extent: &Extent| matches!(extent, Extent::Like { input, .. } if joined[*input]);
            joined[0] || to.iter().any(likes)
        }
        Op::Reshape { .. } => joined[0],
        _ => joined.contains(&true),
    }
}

/// Whether an operation joins an input without examples with others as numpy broadcasts.
fn broadcasts(op: &Op, input: usize) -> bool {
    match op {
        Op::Add | Op::Mul | Op::Binary(_) | Op::Where => true,
        Op::Concat { dim } => *dim > 0,
        Op::Expand { .. } => input == 0,
        Op::Attention(_) => input == 3,
        _ => false,
    }
}

fn refuse_coupling(network: &Network, id: NodeId, mode: Mode, joined: &[bool]) -> Result<(), Error> {
    let node = &network.nodes()[id.0 as usize];
    let what = match &node.op {
        op if op.is_batch_norm() && (mode == Mode::Train || op.running().is_none()) => {
            "batch normalization by the batch's own statistics couples its examples: none has a gradient of its \
             own\nhint: run it in evaluation, with running statistics"
        }
        Op::MatMulTransposed | Op::MatMul
            if joined[..2] == [true, true]
                && node.inputs.iter().all(|input| network.value(*input).dims.len() <= 2) =>
        {
            "a product of examples with examples couples them: none has a gradient of its own"
        }
        Op::Propagate { .. } => {
            "passing features along edges couples the nodes: none has a gradient of its own"
        }
        _ => return Ok(()),
    };
    Err(Error::Unsupported { place: place(network, node), what: what.to_owned() })
}

/// Whether dimension 0 holds the examples of the result as it does of the inputs.
fn keeps_examples_first(op: &Op) -> bool {
    matches!(
        op,
        Op::Linear { .. }
            | Op::Conv { .. }
            | Op::Embedding { .. }
            | Op::Norm { .. }
            | Op::Param(_)
            | Op::Activation(_)
            | Op::Rational { .. }
            | Op::Attention(_)
            | Op::RelativeBias { .. }
            | Op::Add
            | Op::Mul
            | Op::Scale(_)
            | Op::Softcap(_)
            | Op::Exp
            | Op::UnitNorm
            | Op::MatMulTransposed
            | Op::Split { .. }
            | Op::SplitInHeads { .. }
            | Op::Flatten
            | Op::SpaceToSequence
            | Op::Permute { .. }
            | Op::Select { .. }
            | Op::SelectToken { .. }
            | Op::Pool(_)
            | Op::Mixture { .. }
            | Op::ChannelShuffle { .. }
            | Op::Constant(_)
            | Op::Unary(_)
            | Op::Binary(_)
            | Op::Relation(_)
            | Op::Clip { .. }
            | Op::ToReal
            | Op::ToIndex { .. }
            | Op::Poincare { .. }
            | Op::Spiking { .. }
    ) || matches!(op, Op::Concat { dim } | Op::Mean { dim } | Op::Pad { dim, .. } | Op::Softmax { dim } if *dim > 0)
}

/// Shapes of a run's values, by the value.
pub(super) type Shapes = BTreeMap<ValueId, Vec<usize>>;

/// Where the examples of a value lie, from its shapes with `n` examples and with one.
pub(super) fn found(shape: &[usize], of_one: &[usize], n: usize) -> Option<Place> {
    if shape.len() != of_one.len() {
        return None;
    }
    let mut differ = (0..shape.len()).filter(|&dim| shape[dim] != of_one[dim]);
    let dim = differ.next()?;
    let fits = differ.next().is_none() && shape[dim] == n * of_one[dim];
    fits.then_some(Place { dim, per: of_one[dim] })
}

/// The first example of a network's input.
pub(super) fn first_example(value: &Value) -> Value {
    value.slice(0, 0, 1, 1)
}
