//! Taking batch normalizations that do nothing out of an ONNX file.

use std::collections::HashMap;
use std::path::Path;

use super::proto::{self, Graph, Node};
use super::store::{Order, Weights};
use super::wire::{self, WireFault, put_bytes};
use super::write::{Edits, free, rewrite};
use super::{OnnxFault, Weight, open};
use crate::error::Error;
use crate::folder::Replace;

/// A batch normalization that does nothing, or only adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleNorm {
    /// The parameter with its running mean, by which it is found.
    pub mean: String,
    /// The parameter with what it adds, one for each channel, where it does.
    pub shift: Option<String>,
}

/// As [`super::write`], but without these batch normalizations: what they add becomes the bias of the convolution or
/// `Gemm` before them, or an `Add` behind a `MatMul`. Says of each whether it was taken out; one that the file has in a
/// function, under another name or behind something else stays.
///
/// # Errors
/// Those of [`open`], of `fill`, and of writing.
pub fn write_without<E: From<Error>>(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    norms: &[IdleNorm],
    replace: Replace,
    fill: impl FnMut(Weight<'_>, &mut [u8]) -> Result<(), E>,
) -> Result<Vec<bool>, E> {
    let to = free(to.as_ref(), replace)?;
    let weights = open(from)?.weights;
    let (edits, found) =
        edits(&weights, norms).map_err(|fault| Error::onnx(&weights.files.path)(OnnxFault::Wire(fault)))?;
    rewrite(&weights, &to, &edits, fill)?;
    Ok(found)
}

/// The tensor of the file that a parameter is, whole.
pub(super) fn tensor_of<'a>(weights: &'a Weights, param: &str) -> Option<&'a str> {
    match &weights.stored.get(param)?.order {
        Order::Transposed(raw) => Some(&weights.raws[*raw].name),
        Order::Runs(runs) => match runs[..] {
            [(raw, 0, n)] if n == weights.raws[raw].len() => Some(&weights.raws[raw].name),
            _ => None,
        },
        _ => None,
    }
}

/// What changes in the graph, and which norms are taken out of it.
fn edits(weights: &Weights, norms: &[IdleNorm]) -> Result<(Edits, Vec<bool>), WireFault> {
    let main = weights.files.main();
    let model = proto::model(main)?;
    let mut edits = Edits::default();
    let Some(graph) = &model.graph else { return Ok((edits, vec![false; norms.len()])) };
    let messages = node_messages(main)?;
    let mut uses = HashMap::new();
    count_uses(graph, &mut uses);
    let mut found = Vec::new();
    for norm in norms {
        let Some((at, new)) = taken_out(weights, graph, norm) else {
            found.push(false);
            continue;
        };
        let node = &graph.nodes[at];
        let input = node.inputs[0];
        let kept = match new {
            New::Nothing => {
                edits.nodes.insert(at, vec![with(messages[at], "Identity", &[input], false)?]);
                None
            }
            New::Sum(shift) => {
                edits.nodes.insert(at, vec![with(messages[at], "Add", &[input, shift], false)?]);
                Some(shift)
            }
            New::Bias(layer, shift) => {
                let node = &graph.nodes[layer];
                let inputs = [node.inputs[0], node.inputs[1], shift];
                edits.nodes.insert(layer, vec![with(messages[layer], node.op, &inputs, true)?]);
                edits.nodes.insert(at, vec![with(messages[at], "Identity", &[input], false)?]);
                Some(shift)
            }
        };
        let idle = node.inputs[1..].iter().filter(|name| Some(**name) != kept && uses.get(*name) == Some(&1));
        // What is an input of the graph too would have to be given.
        let idle = idle.filter(|name| graph.inputs.iter().all(|info| info.name != **name));
        edits.dropped.extend(
            idle.filter_map(|name| weights.raws[..weights.n_stored].iter().position(|raw| raw.name == *name)),
        );
        found.push(true);
    }
    Ok((edits, found))
}

/// What stands where a norm stood.
enum New<'a> {
    Nothing,
    /// A sum with a tensor.
    Sum(&'a str),
    /// Nothing, and a tensor is the bias of another node.
    Bias(usize, &'a str),
}

/// The place of a norm among the graph's nodes, and what it becomes.
fn taken_out<'a>(weights: &'a Weights, graph: &Graph<'a>, norm: &IdleNorm) -> Option<(usize, New<'a>)> {
    let mean = tensor_of(weights, &norm.mean)?;
    let is_norm = |node: &Node<'_>| {
        node.op == "BatchNormalization" && node.domain.is_empty() && node.inputs.get(3) == Some(&mean)
    };
    let at = graph.nodes.iter().position(is_norm)?;
    let Some(shift) = &norm.shift else { return Some((at, New::Nothing)) };
    let shift = tensor_of(weights, shift)?;
    let input = graph.nodes[at].inputs[0];
    let layer = graph.nodes.iter().position(|node| node.outputs.contains(&input))?;
    let node = &graph.nodes[layer];
    let beta = node.attrs.iter().find(|(key, _)| *key == "beta").map(|(_, value)| value);
    match node.op {
        // A bias that stands there already is zeros: else the shift would have gone into it.
        "Conv" | "ConvTranspose" => Some((at, New::Bias(layer, shift))),
        // With another factor its bias would be scaled.
        "Gemm" if matches!(beta, None | Some(proto::Attr::Float(1.0))) => Some((at, New::Bias(layer, shift))),
        "Gemm" | "MatMul" => Some((at, New::Sum(shift))),
        _ => None,
    }
}

/// How often each value is read, in graphs inside of the graph too; what a graph answers counts as read.
pub(super) fn count_uses<'a>(graph: &Graph<'a>, uses: &mut HashMap<&'a str, usize>) {
    graph.outputs.iter().for_each(|info| *uses.entry(info.name).or_default() += 1);
    for node in &graph.nodes {
        node.inputs.iter().for_each(|input| *uses.entry(input).or_default() += 1);
        for (_, attr) in &node.attrs {
            if let proto::Attr::Graph(inner) = attr {
                count_uses(inner, uses);
            }
        }
    }
}

/// The messages of the graph's nodes.
pub(super) fn node_messages(main: &[u8]) -> Result<Vec<&[u8]>, WireFault> {
    let mut messages = Vec::new();
    let mut rest = main;
    while let Some(field) = wire::next(&mut rest)? {
        if field.number == 7 {
            let mut inner = field.bytes()?;
            while let Some(field) = wire::next(&mut inner)? {
                if field.number == 1 {
                    messages.push(field.bytes()?);
                }
            }
        }
    }
    Ok(messages)
}

/// A node with another operator and other inputs.
pub(super) fn with(
    message: &[u8],
    op: &str,
    inputs: &[&str],
    keeps_attributes: bool,
) -> Result<Vec<u8>, WireFault> {
    let mut new = Vec::new();
    inputs.iter().for_each(|input| put_bytes(&mut new, 1, input.as_bytes()));
    let mut rest = message;
    while let Some(field) = wire::next(&mut rest)? {
        match field.number {
            1 => {}
            4 => put_bytes(&mut new, 4, op.as_bytes()),
            5 if !keeps_attributes => {}
            _ => new.extend_from_slice(field.whole),
        }
    }
    Ok(new)
}
