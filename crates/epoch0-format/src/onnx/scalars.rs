//! Single learned numbers in the place of an ONNX file's batch normalizations.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::idle::{count_uses, node_messages, tensor_of, with};
use super::proto::{self, Graph, Node};
use super::store::Weights;
use super::wire::{WireFault, put_bytes, put_int};
use super::write::{Edits, elem_of, free, rewrite};
use super::{OnnxFault, open};
use crate::error::Error;
use crate::folder::Replace;

/// Where single numbers go. Each is found by a parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scalars {
    /// Batch normalizations that make way for a shift, by their running mean, and whether a factor goes before it.
    pub norms: Vec<(String, bool)>,
    /// Maps whose input is shifted, by their weight.
    pub shifted: Vec<String>,
    /// Maps whose output gets a factor, by their weight.
    pub scaled: Vec<String>,
}

/// Writes the model again with single numbers, factors of 1 and shifts of 0; all weights stay as they are. Says of each norm
/// whether it made way; one that the file has in a function, or whose statistics something reads, stays.
///
/// # Errors
/// Those of [`open`], and of writing.
pub fn write_scalars(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    scalars: &Scalars,
    replace: Replace,
) -> Result<Vec<bool>, Error> {
    let to = free(to.as_ref(), replace)?;
    let weights = open(from)?.weights;
    let (edits, found) =
        edits(&weights, scalars).map_err(|fault| Error::onnx(&weights.files.path)(OnnxFault::Wire(fault)))?;
    rewrite(&weights, &to, &edits, |weight, bytes| {
        bytes.copy_from_slice(&weight.bytes());
        Ok::<(), Error>(())
    })?;
    Ok(found)
}

/// The graph while it is changed.
struct Change<'a> {
    weights: &'a Weights,
    graph: &'a Graph<'a>,
    messages: Vec<&'a [u8]>,
    names: HashSet<String>,
    edits: Edits,
}

fn edits(weights: &Weights, scalars: &Scalars) -> Result<(Edits, Vec<bool>), WireFault> {
    let main = weights.files.main();
    let model = proto::model(main)?;
    let Some(graph) = &model.graph else { return Ok((Edits::default(), vec![false; scalars.norms.len()])) };
    let mut uses = HashMap::new();
    count_uses(graph, &mut uses);
    let values = graph.nodes.iter().flat_map(|node| node.inputs.iter().chain(&node.outputs));
    let names = values.map(|name| (*name).to_owned()).collect();
    let messages = node_messages(main)?;
    let mut change = Change { weights, graph, messages, names, edits: Edits::default() };
    let mut found = Vec::new();
    for (mean, has_factor) in &scalars.norms {
        let norm = tensor_of(weights, mean).and_then(|mean| {
            let is_norm = |node: &Node<'_>| {
                node.op == "BatchNormalization" && node.domain.is_empty() && node.inputs.get(3) == Some(&mean)
            };
            let at = graph.nodes.iter().position(is_norm)?;
            // In training mode it answers its statistics too.
            let others = graph.nodes[at].outputs.iter().skip(1);
            others.into_iter().all(|output| !uses.contains_key(output)).then_some(at)
        });
        found.push(norm.is_some());
        let Some(at) = norm else { continue };
        let elem = elem_of_param(weights, mean);
        let module = mean.rsplit_once('.').map_or(mean.as_str(), |(module, _)| module);
        change.replace_norm(at, module, *has_factor, elem);
        let node = &graph.nodes[at];
        let idle = node.inputs[1..].iter().filter(|name| uses.get(*name) == Some(&1));
        let idle = idle.filter(|name| graph.inputs.iter().all(|info| info.name != **name));
        change.edits.dropped.extend(
            idle.filter_map(|name| weights.raws[..weights.n_stored].iter().position(|raw| raw.name == *name)),
        );
    }
    for (weight, is_shift) in
        scalars.shifted.iter().map(|name| (name, true)).chain(scalars.scaled.iter().map(|name| (name, false)))
    {
        change.beside_map(weight, is_shift)?;
    }
    Ok((change.edits, found))
}

fn elem_of_param(weights: &Weights, param: &str) -> i64 {
    let raw = tensor_of(weights, param).and_then(|name| weights.raws.iter().find(|raw| raw.name == name));
    raw.map_or(1, elem_of)
}

impl Change<'_> {
    /// A name that nothing has.
    fn fresh(&mut self, name: &str) -> String {
        let mut fresh = name.to_owned();
        for nth in 1.. {
            if self.names.insert(fresh.clone()) {
                break;
            }
            fresh = format!("{name}_{nth}");
        }
        fresh
    }

    /// A tensor of one number.
    fn number(&mut self, name: &str, value: f32, elem: i64) -> String {
        let name = self.fresh(name);
        let mut tensor = Vec::new();
        put_int(&mut tensor, 1, 1);
        put_int(&mut tensor, 2, elem);
        put_bytes(&mut tensor, 8, name.as_bytes());
        let bytes = match elem {
            11 => f64::from(value).to_le_bytes().to_vec(),
            10 => half::f16::from_f32(value).to_le_bytes().to_vec(),
            16 => half::bf16::from_f32(value).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        };
        put_bytes(&mut tensor, 9, &bytes);
        self.edits.added.push(tensor);
        name
    }

    fn replace_norm(&mut self, at: usize, module: &str, has_factor: bool, elem: i64) {
        let mut input = self.graph.nodes[at].inputs[0].to_owned();
        let mut new = Vec::new();
        if has_factor {
            let factor = self.number(&format!("{module}.factor"), 1.0, elem);
            let output = self.fresh(&format!("{module}.factor_out"));
            new.push(node("Mul", &[&input, &factor], &output));
            input = output;
        }
        let shift = self.number(&format!("{module}.shift"), 0.0, elem);
        new.push(node("Add", &[&input, &shift], self.graph.nodes[at].outputs[0]));
        self.edits.nodes.insert(at, new);
    }

    /// A shift before a map, or a factor behind it.
    fn beside_map(&mut self, weight: &str, is_shift: bool) -> Result<(), WireFault> {
        let Some(tensor) = tensor_of(self.weights, weight) else { return Ok(()) };
        let reads = |node: &Node<'_>| {
            matches!(node.op, "Conv" | "ConvTranspose" | "Gemm" | "MatMul")
                && node.inputs.get(1) == Some(&tensor)
        };
        let Some(at) = self.graph.nodes.iter().position(reads) else { return Ok(()) };
        let elem = elem_of_param(self.weights, weight);
        let module = weight.rsplit_once('.').map_or(weight, |(module, _)| module);
        let map = &self.graph.nodes[at];
        let before = self.edits.nodes.remove(&at);
        let mut new = Vec::new();
        if is_shift {
            let shift = self.number(&format!("{module}.shift_in"), 0.0, elem);
            let shifted = self.fresh(&format!("{module}.shifted"));
            new.push(node("Add", &[map.inputs[0], &shift], &shifted));
            let mut inputs = map.inputs.clone();
            inputs[0] = &shifted;
            new.push(with(self.messages[at], map.op, &inputs, true)?);
        } else {
            let factor = self.number(&format!("{module}.factor"), 1.0, elem);
            let unscaled = self.fresh(&format!("{module}.unscaled"));
            // The map may have a shift already: its message is the last.
            new.extend(before.unwrap_or_else(|| vec![self.messages[at].to_vec()]));
            if let Some(map) = new.last_mut() {
                *map = with_output(map, &unscaled)?;
            }
            new.push(node("Mul", &[&unscaled, &factor], map.outputs[0]));
        }
        self.edits.nodes.insert(at, new);
        Ok(())
    }
}

fn node(op: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let mut message = Vec::new();
    inputs.iter().for_each(|input| put_bytes(&mut message, 1, input.as_bytes()));
    put_bytes(&mut message, 2, output.as_bytes());
    put_bytes(&mut message, 3, format!("{output}/{op}").as_bytes());
    put_bytes(&mut message, 4, op.as_bytes());
    message
}

/// A node whose first output has another name.
fn with_output(message: &[u8], output: &str) -> Result<Vec<u8>, WireFault> {
    let (mut new, mut rest, mut is_first) = (Vec::new(), message, true);
    while let Some(field) = super::wire::next(&mut rest)? {
        if field.number == 2 && is_first {
            put_bytes(&mut new, 2, output.as_bytes());
            is_first = false;
        } else {
            new.extend_from_slice(field.whole);
        }
    }
    Ok(new)
}
