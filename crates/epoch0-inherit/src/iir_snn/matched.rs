//! Operations of a spiking network beside those of the network that it comes from.

use std::collections::HashMap;

use epoch0_method::Error;
use epoch0_net::{Network, NodeId, NormKind, Op, ParamId, Spiking, ValueId};
use epoch0_num::Activation;

use super::INFO;
use crate::pair::refuse;

/// An operation of the child and the parent's.
pub(super) struct Matched {
    /// The child's parameters, each with the parent's; those that the parent has not come without.
    pub(super) params: Vec<(ParamId, Option<ParamId>)>,
    /// The map of the parent and the normalization behind it, where one has to become part of it.
    pub(super) norm: Option<(NodeId, NodeId)>,
}

/// An operation, apart from what tells a spiking network from one of rectifiers.
struct Part<'a> {
    node: NodeId,
    op: &'a Op,
    /// Which parts it reads; inputs of the network come first.
    reads: Vec<usize>,
    norm: Option<NodeId>,
}

const HINT: &str = "give both the same description, but for `spiking=` and batch normalizations";

/// The operations of both networks in order.
pub(super) fn matched(parent: &Network, child: &Network) -> Result<Vec<Matched>, Error> {
    let (theirs, own) = (parts(parent)?, parts(child)?);
    for (own, theirs) in own.iter().zip(&theirs) {
        if own.reads != theirs.reads || !is_like(own.op, theirs.op) {
            let why = format!(
                "it is not built alike: where it has `{}`, its parent {} has `{}`",
                shown(own.op),
                parent.name(),
                shown(theirs.op)
            );
            return Err(refuse(INFO.id, &place(child, own), &why, HINT));
        }
    }
    if own.len() != theirs.len() {
        let why = format!(
            "it is not built alike: it has {} operations, and its parent {}",
            own.len(),
            theirs.len()
        );
        return Err(refuse(INFO.id, child.name(), &why, HINT));
    }
    own.iter().zip(&theirs).map(|(own, theirs)| pair((parent, theirs), (child, own))).collect()
}

fn pair(
    (parent, theirs): (&Network, &Part<'_>),
    (child, own): (&Network, &Part<'_>),
) -> Result<Matched, Error> {
    let from = theirs.op.params();
    let params = own.op.params();
    let needs_bias = from.len() > params.len() || theirs.norm.is_some() && params.len() == 1;
    if needs_bias && own.op.is_map() {
        let why = format!(
            "it has no bias, and `{}` has one or a batch normalization behind it",
            place(parent, theirs)
        );
        return Err(refuse(
            INFO.id,
            &place(child, own),
            &why,
            "describe it with biases (`norm=none`, `bias=true`)",
        ));
    }
    let with = |(nth, &param): (usize, &ParamId)| {
        let from = from.get(nth).copied();
        if let Some(from) = from
            && parent.param(from).shape != child.param(param).shape
        {
            let (own, of) = (&child.param(param).shape, &parent.param(from).shape);
            let why = format!("it has shape {own:?}, and `{}` of its parent {of:?}", parent.param(from).name);
            return Err(refuse(INFO.id, &child.param(param).name, &why, HINT));
        }
        Ok((param, from))
    };
    let params = params.iter().enumerate().map(with).collect::<Result<_, _>>()?;
    Ok(Matched { params, norm: theirs.norm.map(|norm| (theirs.node, norm)) })
}

fn parts(net: &Network) -> Result<Vec<Part<'_>>, Error> {
    let (folds, stay) = net.folds();
    if let Some(stay) = stay.first() {
        let node = &net.nodes()[stay.norm.0 as usize];
        let name = node.op.params().first().map_or(net.name(), |param| &net.param(*param).name);
        let hint =
            "take a parent whose batch normalizations stand behind maps (`epoch0 fold-bn` says which do)";
        return Err(refuse(INFO.id, name, &stay.why.to_string(), hint));
    }
    let mut at: HashMap<ValueId, usize> = net.inputs().iter().copied().zip(0..).collect();
    let n_inputs = net.inputs().len();
    let mut parts: Vec<Part<'_>> = Vec::new();
    for (index, node) in net.nodes().iter().enumerate() {
        let id = NodeId(index as u32);
        let reads: Vec<usize> = node.inputs.iter().map(|input| at[input]).collect();
        let is_passed = matches!(node.op, Op::Spiking { by: Spiking::Repeat | Spiking::Sum, .. });
        let fold = folds.iter().find(|fold| fold.norm == id);
        if let (Op::Norm { kind, .. }, None) = (&node.op, fold)
            && *kind != NormKind::Batch
        {
            let name = node.op.params().first().map_or(net.name(), |param| &net.param(*param).name);
            let why = format!("it belongs to `{}`, which no map can do", node.op.name());
            return Err(refuse(
                INFO.id,
                name,
                &why,
                "take a parent with batch normalizations, or without any",
            ));
        }
        let part = if is_passed {
            reads[0]
        } else if fold.is_some() {
            // What is folded stands behind its map alone.
            parts[reads[0] - n_inputs].norm = Some(id);
            reads[0]
        } else {
            parts.push(Part { node: id, op: &node.op, reads, norm: None });
            n_inputs + parts.len() - 1
        };
        at.extend(node.outputs.iter().map(|output| (*output, part)));
    }
    Ok(parts)
}

/// Whether two operations do the same with parameters of one shape, neurons for rectifiers.
fn is_like(own: &Op, theirs: &Op) -> bool {
    match (own, theirs) {
        (Op::Linear { layout: a, .. }, Op::Linear { layout: b, .. }) => a == b,
        (
            Op::Conv { window: a, groups: of_a, transposed: is_a, .. },
            Op::Conv { window: b, groups: of_b, transposed: is_b, .. },
        ) => a == b && of_a == of_b && is_a == is_b,
        (Op::Param(_), Op::Param(_))
        | (
            Op::Spiking { by: Spiking::Fire { .. }, .. },
            Op::Spiking { by: Spiking::Fire { .. }, .. } | Op::Activation(Activation::Relu),
        ) => true,
        (own, theirs) => own == theirs,
    }
}

fn shown(op: &Op) -> String {
    match op {
        Op::Activation(act) => act.to_string(),
        Op::Pool(pool) => format!("{pool:?}"),
        other => other.name().to_owned(),
    }
}

fn place(net: &Network, part: &Part<'_>) -> String {
    let block = || net.nodes()[part.node.0 as usize].block.map(|block| net.blocks()[block].clone());
    let param = part.op.params().first().map(|param| net.param(*param).name.clone());
    param.or_else(block).unwrap_or_else(|| net.name().to_owned())
}
