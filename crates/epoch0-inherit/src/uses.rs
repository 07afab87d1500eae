//! How a network uses the dimensions of its parameters: which of them make new values and which sum over old ones.

use epoch0_method::Error;
use epoch0_net::{AxisId, Layout, Network, Node, NodeId, NormKind, Op, ParamId, ValueId};

use crate::pair::refuse;

/// What a dimension of a parameter does to a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Side {
    /// Values are summed over it: the inputs of a map.
    pub(crate) reads: bool,
    /// It makes places of a value: outputs of a map, biases, tables, factors.
    pub(crate) writes: bool,
}

/// What the dimensions of all parameters do; none for parameters that are used in a way that says nothing of it.
pub(crate) fn sides(net: &Network) -> Vec<Option<Vec<Side>>> {
    let ranks = net.params().iter().map(|param| param.shape.len());
    let mut sides: Vec<Option<Vec<Side>>> = ranks.map(|rank| Some(vec![Side::default(); rank])).collect();
    for node in net.nodes() {
        for param in net.params_of(node) {
            let found = uses(net, node, net.weight_of(param));
            let all = &mut sides[param.0 as usize];
            match (found, &mut *all) {
                (Some(found), Some(all)) => {
                    for (dim, side) in all.iter_mut().enumerate() {
                        side.reads |= found == Some(dim);
                        side.writes |= found != Some(dim);
                    }
                }
                _ => *all = None,
            }
        }
    }
    sides
}

/// Which dimension an operation sums over, if any; none where that cannot be said.
#[expect(clippy::option_option, reason = "not known, none, or one")]
fn uses(net: &Network, node: &Node, param: ParamId) -> Option<Option<usize>> {
    match &node.op {
        Op::Linear { weight, layout, .. } if *weight == param => Some(Some(match layout {
            Layout::OutIn => 1,
            Layout::InOut => 0,
        })),
        Op::Conv { weight, transposed, .. } if *weight == param => Some(Some(usize::from(!transposed))),
        Op::Recurrent { input_weight, state_weight, .. }
            if [input_weight, state_weight].contains(&&param) =>
        {
            Some(Some(1))
        }
        Op::Param(_) => {
            let is_factor = |at: &&Node| {
                at.inputs.iter().any(|input| node.outputs.contains(input))
                    && matches!(at.op, Op::MatMul | Op::MatMulTransposed | Op::Where)
            };
            net.nodes().iter().find(is_factor).is_none().then_some(None)
        }
        Op::Poincare { .. } => None,
        _ => Some(None),
    }
}

/// A normalization that sums over an axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Normed {
    /// The node.
    pub(crate) node: NodeId,
    /// The axis.
    pub(crate) axis: AxisId,
    /// Whether the mean is taken away.
    pub(crate) centres: bool,
    /// Added to the stored factor.
    pub(crate) offset: f64,
}

/// Normalizations that sum over an axis of each example's values.
pub(crate) fn normed(net: &Network) -> Vec<Normed> {
    let mut found = Vec::new();
    for (at, node) in net.nodes().iter().enumerate() {
        let Op::Norm { kind, scale, .. } = &node.op else { continue };
        let dims = &net.value(node.inputs[0]).dims;
        let over = match kind {
            NormKind::Layer | NormKind::Rms { .. } => dims.last(),
            NormKind::LayerChannelsFirst => dims.get(1),
            NormKind::Batch | NormKind::Group { .. } => None,
        };
        let own = scale.and_then(|scale| net.param(scale).axes.first());
        let Some(&axis) = own.filter(|_| over.is_some()).or(over) else { continue };
        let offset = if let NormKind::Rms { offset } = kind { *offset } else { 0.0 };
        let centres = !matches!(kind, NormKind::Rms { .. });
        found.push(Normed { node: NodeId(at as u32), axis, centres, offset });
    }
    found
}

/// The node that makes a value.
pub(crate) fn maker(net: &Network, value: ValueId) -> Option<(NodeId, &Node)> {
    let from = net.value(value).from?;
    Some((from, &net.nodes()[from.0 as usize]))
}

/// Nodes that read a value.
pub(crate) fn readers(net: &Network, value: ValueId) -> impl Iterator<Item = &Node> {
    net.nodes().iter().filter(move |node| node.inputs.contains(&value))
}

/// The nearest normalization below a value, with nothing but factors between.
pub(crate) fn norm_below(net: &Network, mut value: ValueId) -> Option<NodeId> {
    loop {
        let (id, node) = maker(net, value)?;
        match &node.op {
            Op::Norm { .. } => return Some(id),
            Op::Scale(_)
            | Op::Select { .. }
            | Op::SelectToken { .. }
            | Op::Split { .. }
            | Op::SplitInHeads { .. } => {
                value = node.inputs[0];
            }
            _ => return None,
        }
    }
}

/// Whether a parameter is a table that answers are read off too.
pub(crate) fn is_tied(sides: &[Option<Vec<Side>>], param: ParamId) -> bool {
    sides[param.0 as usize].iter().flatten().any(|side| side.reads && side.writes)
}

/// Normalizations before the maps that a table is used for, which nothing else reads; none where it is not.
///
/// # Errors
/// When there is a map without such a normalization.
pub(crate) fn norms_before(method: &str, net: &Network, table: ParamId) -> Result<Vec<NodeId>, Error> {
    let is_map = |node: &&Node| matches!(node.op, Op::Linear { weight, .. } if weight == table);
    let norm = |node: &Node| {
        let norm = norm_below(net, node.inputs[0]);
        let is_alone = |norm: &NodeId| {
            let outputs = &net.nodes()[norm.0 as usize].outputs;
            outputs.iter().flat_map(|&output| readers(net, output)).count() == 1
        };
        norm.filter(is_alone).ok_or_else(|| {
            let why =
                "answers are read off this table, with no normalization before that could be multiplied";
            let hint = "take a checkpoint whose readout is a matrix of its own";
            refuse(method, &net.param(table).name, why, hint)
        })
    };
    net.nodes().iter().filter(is_map).map(norm).collect()
}
