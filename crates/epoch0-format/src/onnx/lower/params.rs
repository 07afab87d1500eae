//! Parameters: their names, where they lie, what they are for.

use epoch0_net::Role;
use epoch0_num::Dtype;

use super::{Lower, Node};
use crate::onnx::graph::{Origin, Val};
use crate::onnx::known::Known;
use crate::onnx::names::is_param_name;
use crate::onnx::store::{Order, Stored};

impl Lower<'_, '_> {
    /// The name of the parameter that lies there: the tensor's own where PyTorch gave it, otherwise `fallback`.
    pub(super) fn parameter(
        &mut self,
        raw: usize,
        order: Order,
        shape: Vec<usize>,
        fallback: &str,
    ) -> String {
        if let Some(name) = self.names.get(&order) {
            return name.clone();
        }
        let tensor = &self.graph.raws[raw];
        let own = match tensor.name.strip_suffix(".weight_bias") {
            // What the newer exporter makes of a batch normalization that it folds into a convolution.
            Some(module) => format!("{module}.bias"),
            None => tensor.name.clone(),
        };
        let base = if is_param_name(&tensor.name) { own } else { fallback.to_owned() };
        let mut name = base.clone();
        let mut n = 1;
        while self.stored.contains_key(&name) {
            name = format!("{base}_{n}");
            n += 1;
        }
        self.stored.insert(
            name.clone(),
            Stored { dtype: tensor.dtype, shape, order: order.clone(), copies: Vec::new() },
        );
        self.names.insert(order, name.clone());
        name
    }

    /// A parameter that the file does not hold.
    pub(super) fn zeros(&mut self, name: &str, dtype: Dtype, shape: Vec<usize>) {
        self.stored.insert(name.to_owned(), Stored { dtype, shape, order: Order::Zeros, copies: Vec::new() });
    }

    /// Has the builder note the type of a parameter's elements.
    pub(super) fn store_type(&mut self, name: &str) {
        let dtype = self.stored[name].dtype;
        self.b.store_as(name, dtype);
    }

    /// A vector of a layer (bias, factor, shift): the name of its parameter, declared nowhere yet.
    pub(super) fn vector(&mut self, val: Option<Val>, fallback: &str) -> Option<String> {
        let fact = &self.graph.facts[val?];
        let Some(Origin::Runs(runs)) = &fact.origin else { return None };
        let [(raw, start, n)] = runs[..] else { return None };
        if start != 0 || n != self.graph.raws[raw].len() {
            return None;
        }
        let order = Order::Runs(vec![(raw, 0, n)]);
        Some(self.parameter(raw, order, vec![n], fallback))
    }

    /// Whether a vector is a number that an exporter put there for a parameter that is missing.
    pub(super) fn is_filler(&self, val: Option<Val>, number: f64) -> bool {
        let Some(val) = val else { return true };
        let fact = &self.graph.facts[val];
        let is_named = matches!(&fact.origin, Some(Origin::Runs(runs)) if matches!(runs[..], [(raw, ..)] if is_param_name(&self.graph.raws[raw].name)));
        !is_named && fact.known.as_ref().and_then(Known::uniform) == Some(number)
    }

    /// Path of the module that a layer is, by its weight, its bias, or the node's scope.
    pub(super) fn module(&self, node: &Node<'_>, weight: Option<Val>, bias: Option<Val>) -> String {
        let named = |val: Option<Val>, leaf: &str| {
            let raw = match &self.graph.facts[val?].origin {
                Some(Origin::Runs(runs)) => runs.first()?.0,
                Some(Origin::Transposed(raw)) => *raw,
                None => return None,
            };
            let name = &self.graph.raws[raw].name;
            let name = if is_param_name(name) { name.as_str() } else { return None };
            name.strip_suffix(leaf).map(|module| module.strip_suffix('.').unwrap_or(module).to_owned())
        };
        named(weight, "weight").or_else(|| named(bias, "bias")).unwrap_or_else(|| {
            if node.scope.is_empty() {
                format!("{}_{}", node.op.to_lowercase(), self.stored.len())
            } else {
                node.scope.clone()
            }
        })
    }

    /// Name of a module's parameter.
    pub(super) fn leaf(module: &str, leaf: &str) -> String {
        // Packed projections are `in_proj_weight` and `in_proj_bias`.
        if module.is_empty() || module.ends_with('_') {
            format!("{module}{leaf}")
        } else {
            format!("{module}.{leaf}")
        }
    }

    /// What a parameter that is a value by itself is for, by what reads it.
    pub(super) fn role_of(&self, val: Val) -> Role {
        let dims = self.dims(val);
        let n: i64 = dims.iter().filter_map(crate::onnx::size::Size::fixed).product();
        let mut at = val;
        for _ in 0..6 {
            let Some(&reader) = self.plan.readers.get(&at).and_then(|readers| readers.last()) else { break };
            let node = &self.graph.nodes[reader];
            match node.op {
                "Concat" | "Where" => return Role::Token,
                "Mul" | "Div" | "Exp" => return if n == 1 { Role::Scalar } else { Role::LayerScale },
                "Add" | "Sub" => {
                    return match dims.iter().filter(|size| size.fixed() != Some(1)).count() {
                        0 | 1 => Role::Bias,
                        _ => Role::Position,
                    };
                }
                "MatMul" | "Gemm" => return Role::Weight,
                _ => {}
            }
            let Some(next) = node.output(0) else { break };
            at = next;
        }
        if n == 1 { Role::Scalar } else { Role::Weight }
    }

    /// Whether what a layer computes is the network's answer, but for its arrangement and a softmax.
    pub(super) fn is_readout(&self, val: Option<Val>) -> bool {
        let Some(mut at) = val else { return false };
        for _ in 0..6 {
            if self.graph.outputs.iter().any(|(output, _)| *output == at) {
                return true;
            }
            let Some([reader]) = self.plan.readers.get(&at).map(Vec::as_slice) else { return false };
            let node = &self.graph.nodes[*reader];
            if !matches!(
                node.op,
                "Reshape"
                    | "Flatten"
                    | "Squeeze"
                    | "Unsqueeze"
                    | "Transpose"
                    | "Softmax"
                    | "LogSoftmax"
                    | "Sigmoid"
                    | "Cast"
            ) {
                return false;
            }
            let Some(next) = node.output(0) else { return false };
            at = next;
        }
        false
    }
}
