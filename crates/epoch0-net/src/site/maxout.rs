//! Recognizing maxout units: the largest of several outputs of a map, each with weights of its own.
//!
//! Formats have no operation for them. Seen are what frameworks write:
//! - units cut into `[units, rank]` or `[rank, units]` by a reshape, and the largest along `rank`
//! - max-pooling that slides over units, which a reshape has made a dimension of space
//! - the larger of maps' outputs or of parts of one, element by element, also of more than two in a row

use crate::{AxisId, Binary, Network, Node, NodeId, Op, Pool, Reduction, ValueId};

/// Where a maxout unit's result stands, and the largest of how many it is.
pub(super) struct Found {
    pub(super) rank: usize,
    pub(super) output: ValueId,
}

/// The maxout unit that begins at `node`, which reads `value`, whose dimension `units` holds the outputs of a map.
pub(super) fn behind(
    net: &Network,
    consumers: &[Vec<NodeId>],
    (value, node): (ValueId, &Node),
    units: usize,
) -> Option<Found> {
    match &node.op {
        Op::Reshape { .. } => cut(net, consumers, (value, node.outputs[0]), units),
        Op::Binary(Binary::Max) => larger(net, consumers, node),
        _ => None,
    }
}

/// `[…, units · rank, …]` seen as `[…, units, rank, …]` or the other way about, and made smaller along the rank.
fn cut(
    net: &Network,
    consumers: &[Vec<NodeId>],
    (whole, parts): (ValueId, ValueId),
    units: usize,
) -> Option<Found> {
    let [consumer] = consumers[parts.0 as usize][..] else { return None };
    let node = &net.nodes[consumer.0 as usize];
    let size = |axis: AxisId| net.axis(axis).size;
    match &node.op {
        Op::Reduce { by: Reduction::Max, dims, .. } => {
            let [dim] = dims[..] else { return None };
            let rank = size(net.value(parts).dims[dim])?;
            let is_of_units = source(net, whole, parts, dim)? == units;
            (is_of_units && rank > 1).then_some(Found { rank, output: node.outputs[0] })
        }
        Op::Pool(Pool::Max(window) | Pool::MaxCeil(window)) => {
            let mut slid = window.kernel.iter().enumerate().filter(|(_, kernel)| **kernel > 1);
            let (Some((dim, &rank)), None) = (slid.next(), slid.next()) else { return None };
            let is_of_units = source(net, whole, parts, dim + 2)? == units;
            let is_apart =
                window.stride[dim] == rank && window.padding[dim] == 0 && window.dilation[dim] == 1;
            (is_of_units && is_apart).then_some(Found { rank, output: node.outputs[0] })
        }
        _ => None,
    }
}

/// The dimension of `whole` that dimension `dim` of `parts`, the same elements in another shape, is a part of.
fn source(net: &Network, whole: ValueId, parts: ValueId, dim: usize) -> Option<usize> {
    let (from, to) = (&net.value(whole).dims, &net.value(parts).dims);
    let size = |axis: &AxisId| net.axis(*axis).size;
    // What follows on both sides is the same, whether its size is known or not.
    let same =
        from.iter().rev().zip(to.iter().rev()).take(to.len() - 1 - dim).take_while(|(a, b)| a == b).count();
    let (from, to) = (&from[..from.len() - same], &to[..to.len() - same]);
    let after: usize = to[dim + 1..].iter().map(size).product::<Option<usize>>()?;
    let reach = after.checked_mul(size(&to[dim])?)?;
    let mut behind = 1;
    for (at, axis) in from.iter().enumerate().rev() {
        let all = size(axis)?.checked_mul(behind)?;
        if all > after {
            return (behind <= after && reach <= all && all.is_multiple_of(reach)).then_some(at);
        }
        behind = all;
    }
    None
}

/// The larger of outputs of maps, element by element.
fn larger(net: &Network, consumers: &[Vec<NodeId>], first: &Node) -> Option<Found> {
    let mut output = first.outputs[0];
    while let [consumer] = consumers[output.0 as usize][..]
        && let next @ Node { op: Op::Binary(Binary::Max), .. } = &net.nodes[consumer.0 as usize]
    {
        output = next.outputs[0];
    }
    Some(Found { rank: terms(net, output)?, output })
}

/// How many maps' outputs a value is the largest of; nothing where one of them is something else.
fn terms(net: &Network, value: ValueId) -> Option<usize> {
    let node = &net.nodes[net.value(value).from?.0 as usize];
    match &node.op {
        Op::Binary(Binary::Max) => {
            if node.inputs[0] == node.inputs[1] {
                return None;
            }
            Some(terms(net, node.inputs[0])? + terms(net, node.inputs[1])?)
        }
        Op::Linear { .. } | Op::Conv { .. } => Some(1),
        Op::Split { .. } | Op::Slice { .. } | Op::Norm { .. } | Op::Scale(_) => {
            terms(net, node.inputs[0]).filter(|&n| n == 1)
        }
        _ => None,
    }
}
