//! Taking batch normalizations that do nothing out of an ONNX file.

use std::collections::HashMap;
use std::path::Path;

use super::proto::{self, Graph, Node};
use super::store::{Order, Weights};
use super::wire::{self, WireFault, put_bytes};
use super::write::rewrite;
use super::{OnnxFault, Weight, open};
use crate::error::Error;

/// A batch normalization that does nothing, or only adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleNorm {
    /// The parameter with its running mean, by which it is found.
    pub mean: String,
    /// The parameter with what it adds, one for each channel, where it does.
    pub shift: Option<String>,
}

/// As [`super::write`], but without these batch normalizations: what they add becomes the bias of the convolution or
/// `Gemm` before them if that has none, or else an `Add`. Says of each whether it was taken out; one that the file has in
/// a function or under another name stays.
///
/// # Errors
/// Those of [`open`], of `fill`, and of writing.
pub fn write_without<E: From<Error>>(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    norms: &[IdleNorm],
    fill: impl FnMut(Weight<'_>, &mut [u8]) -> Result<(), E>,
) -> Result<Vec<bool>, E> {
    let weights = open(from)?.weights;
    let (edits, found) =
        edits(&weights, norms).map_err(|fault| Error::onnx(&weights.files.path)(OnnxFault::Wire(fault)))?;
    rewrite(&weights, to.as_ref(), &edits, fill)?;
    Ok(found)
}

/// The tensor of the file that a parameter is, whole.
fn tensor_of<'a>(weights: &'a Weights, param: &str) -> Option<&'a str> {
    match &weights.stored.get(param)?.order {
        Order::Runs(runs) => match runs[..] {
            [(raw, 0, n)] if n == weights.raws[raw].len() => Some(&weights.raws[raw].name),
            _ => None,
        },
        _ => None,
    }
}

/// New messages of nodes, by their place in the graph, and which norms they are for.
fn edits(weights: &Weights, norms: &[IdleNorm]) -> Result<(HashMap<usize, Vec<u8>>, Vec<bool>), WireFault> {
    let main = weights.files.main();
    let model = proto::model(main)?;
    let Some(graph) = &model.graph else { return Ok((HashMap::new(), vec![false; norms.len()])) };
    let messages = node_messages(main)?;
    let mut edits = HashMap::new();
    let mut found = Vec::new();
    for norm in norms {
        let at = tensor_of(weights, &norm.mean).and_then(|mean| {
            graph.nodes.iter().position(|node| {
                node.op == "BatchNormalization" && node.domain.is_empty() && node.inputs.get(3) == Some(&mean)
            })
        });
        let Some(at) = at else {
            found.push(false);
            continue;
        };
        let input = graph.nodes[at].inputs[0];
        match &norm.shift {
            None => {
                edits.insert(at, with(messages[at], "Identity", &[input], false)?);
            }
            Some(shift) => {
                let Some(shift) = tensor_of(weights, shift) else {
                    found.push(false);
                    continue;
                };
                match takes_bias(graph, input) {
                    Some(layer) => {
                        let node = &graph.nodes[layer];
                        let inputs = [node.inputs[0], node.inputs[1], shift];
                        edits.insert(layer, with(messages[layer], node.op, &inputs, true)?);
                        edits.insert(at, with(messages[at], "Identity", &[input], false)?);
                    }
                    None => {
                        edits.insert(at, with(messages[at], "Add", &[input, shift], false)?);
                    }
                }
            }
        }
        found.push(true);
    }
    Ok((edits, found))
}

/// The node that makes a value, where it can have a bias and has none.
fn takes_bias(graph: &Graph<'_>, value: &str) -> Option<usize> {
    let at = graph.nodes.iter().position(|node| node.outputs.contains(&value))?;
    let node: &Node<'_> = &graph.nodes[at];
    let factor = |name: &str| node.attrs.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
    let is_whole = match node.op {
        "Conv" | "ConvTranspose" => true,
        // Its bias would be scaled.
        "Gemm" => matches!(factor("beta"), None | Some(proto::Attr::Float(1.0))),
        _ => false,
    };
    (is_whole && node.inputs.len() >= 2 && node.inputs[2..].iter().all(|input| input.is_empty()))
        .then_some(at)
}

/// The messages of the graph's nodes.
fn node_messages(main: &[u8]) -> Result<Vec<&[u8]>, WireFault> {
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
fn with(message: &[u8], op: &str, inputs: &[&str], keeps_attributes: bool) -> Result<Vec<u8>, WireFault> {
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
