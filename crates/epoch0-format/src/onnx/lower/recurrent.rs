//! Recurrent layers: one operation for each direction, gates in torch's order.

use epoch0_net::{Cell, Constant, ConstantData, Extent, NamedRecurrent, ValueId};

use super::{Lower, Node, OnnxFault, View};
use crate::onnx::graph::{Origin, Val};
use crate::onnx::names::is_param_name;
use crate::onnx::origin::cut_runs;
use crate::onnx::proto::Attr;
use crate::onnx::size::Size;
use crate::onnx::store::{Order, Stored};

impl Lower<'_, '_> {
    pub(super) fn recurrent(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let x = Self::input(node, 0)?;
        let (weight, state) = (Self::input(node, 1)?, Self::input(node, 2)?);
        let bias = node.input(3);
        let (cell, order) = Self::cell(node)?;
        let [directions, hidden] = [0, 2].map(|dim| self.dims(state)[dim].fixed().unwrap_or(0) as usize);
        let inputs = self.dims(x)[2].fixed().unwrap_or(0) as usize;
        let direction = node.text("direction").unwrap_or("forward");
        let reversed: &[bool] = match direction {
            "forward" => &[false],
            "reverse" => &[true],
            "bidirectional" => &[false, true],
            _ => {
                return Err(
                    node.refuse("its direction is unknown, allowed forward, reverse and bidirectional")
                );
            }
        };
        let rows = order.len() * hidden;
        let fits = directions == reversed.len()
            && inputs > 0
            && hidden > 0
            && fits_shape(self.dims(weight), &[directions, rows, inputs])
            && fits_shape(self.dims(state), &[directions, rows, hidden])
            && bias.is_none_or(|bias| fits_shape(self.dims(bias), &[directions, 2 * rows]));
        if !fits {
            return Err(node.refuse("its weights are not of the sizes that its input and state have"));
        }
        if node.float("clip").is_some() || node.int("input_forget") == Some(1) || node.input(7).is_some() {
            return Err(
                node.refuse("it clips, couples gates or has peepholes, allowed torch's form without them")
            );
        }
        if let Some(lengths) = node.input(4)
            && self
                .graph
                .known(Some(lengths))
                .is_none_or(|known| known.uniform() != self.dims(x)[0].fixed().map(|n| n as f64))
        {
            return Err(node.refuse("sequences have lengths of their own, allowed the same length for all"));
        }
        let layer = {
            let n = self.n_layers.entry(node.scope.clone()).or_default();
            *n += 1;
            *n - 1
        };
        let value = self.value(x)?;
        let mut all = Vec::new();
        let mut last: Vec<Vec<ValueId>> = Vec::new();
        for (at, &reverse) in reversed.iter().enumerate() {
            let suffix = format!("l{layer}{}", if at == 1 { "_reverse" } else { "" });
            let gates = |lower: &mut Self, val: Val, start: usize, columns: usize, leaf: &str| {
                let shape = if columns == 0 { vec![rows] } else { vec![rows, columns] };
                let fallback = Self::leaf(&node.scope, &format!("{leaf}_{suffix}"));
                lower
                    .gates(val, start, hidden * columns.max(1), &order, shape, &fallback)
                    .ok_or_else(|| node.refuse("its weights are computed, allowed weights of the file"))
            };
            let input_weight = gates(self, weight, at * rows * inputs, inputs, "weight_ih")?;
            let state_weight = gates(self, state, at * rows * hidden, hidden, "weight_hh")?;
            let biases = match bias {
                Some(bias) => Some([
                    gates(self, bias, at * 2 * rows, 0, "bias_ih")?,
                    gates(self, bias, (at * 2 + 1) * rows, 0, "bias_hh")?,
                ]),
                None => None,
            };
            let n_states = if cell == Cell::Lstm { 2 } else { 1 };
            let mut states = Vec::new();
            for input in 0..n_states {
                states.push(self.state(node, node.input(5 + input), at, value, hidden)?);
            }
            let named = NamedRecurrent {
                cell,
                hidden,
                input_weight: &input_weight,
                state_weight: &state_weight,
                biases: biases.as_ref().map(|names| [names[0].as_str(), names[1].as_str()]),
                reverse,
            };
            let outputs = self.b.recurrent(value, &states, &named);
            for name in [&input_weight, &state_weight].into_iter().chain(biases.iter().flatten()) {
                self.store_type(name);
            }
            all.push(outputs[0]);
            last.push(outputs[1..].to_vec());
        }
        let (steps, batch) = (self.dims(x)[0].clone(), self.dims(x)[1].clone());
        let size = |n: usize| Size::Fixed(n as i64);
        for &value in &all {
            self.made(value, vec![steps.clone(), batch.clone(), size(hidden)]);
        }
        // Directions lie beside each other in the last dimension, as torch has them.
        let joined = if all.len() == 1 { all[0] } else { self.b.concat(&all, 2) };
        let view = self.made(joined, vec![steps.clone(), batch.clone(), size(directions * hidden)]);
        let seen = [steps, batch.clone(), size(directions), size(hidden)];
        let view = self.reshaped(&view, &seen)?.transposed(&[0, 2, 1, 3]);
        self.set(node, 0, view);
        for output in 0..last[0].len() {
            let parts: Vec<ValueId> = last.iter().map(|states| states[output]).collect();
            for &part in &parts {
                self.made(part, vec![batch.clone(), size(hidden)]);
            }
            let joined = if parts.len() == 1 { parts[0] } else { self.b.concat(&parts, 1) };
            let view = self.made(joined, vec![batch.clone(), size(directions * hidden)]);
            let view = self
                .reshaped(&view, &[batch.clone(), size(directions), size(hidden)])?
                .transposed(&[1, 0, 2]);
            self.set(node, output + 1, view);
        }
        Ok(())
    }

    /// What a step computes, and for each of torch's gates which of ONNX's it is.
    fn cell(node: &Node<'_>) -> Result<(Cell, Vec<usize>), OnnxFault> {
        let stated: Vec<&str> = match node.attr("activations") {
            Some(Attr::Texts(texts)) => {
                texts.iter().map(|text| std::str::from_utf8(text).unwrap_or("?")).collect()
            }
            _ => Vec::new(),
        };
        // For each direction the functions of gates, of what is new, and of what is shown.
        let usual: &[&str] = match node.op {
            "LSTM" => &["Sigmoid", "Tanh", "Tanh"],
            "GRU" => &["Sigmoid", "Tanh"],
            _ => &["Tanh"],
        };
        let is = |wanted: &[&str]| stated.chunks(wanted.len()).all(|one| one == wanted);
        match node.op {
            "RNN" if !stated.is_empty() && is(&["Relu"]) => Ok((Cell::Relu, vec![0])),
            _ if !is(usual) => Err(node.refuse(format!("its activations are {stated:?}, allowed {usual:?}"))),
            // Input, output, forget, cell; torch has input, forget, cell, output.
            "LSTM" => Ok((Cell::Lstm, vec![0, 2, 3, 1])),
            // Update, reset, hidden; torch has reset, update, new.
            "GRU" if node.int("linear_before_reset") == Some(1) => Ok((Cell::Gru, vec![1, 0, 2])),
            "GRU" => Err(node.refuse("linear_before_reset is 0, allowed 1, which is torch's form")),
            _ => Ok((Cell::Tanh, vec![0])),
        }
    }

    /// The parameter that holds the gates which start at an element of a value, in torch's order.
    fn gates(
        &mut self,
        val: Val,
        start: usize,
        block: usize,
        order: &[usize],
        shape: Vec<usize>,
        fallback: &str,
    ) -> Option<String> {
        let Some(Origin::Runs(runs)) = &self.graph.facts[val].origin else { return None };
        let mut pieces = Vec::new();
        for &gate in order {
            let Origin::Runs(cut) = cut_runs(runs, start + gate * block, block)? else { return None };
            pieces.extend(cut);
        }
        let mut merged: Vec<(usize, usize, usize)> = Vec::new();
        for (raw, first, n) in pieces {
            match merged.last_mut() {
                Some(last) if last.0 == raw && last.1 + last.2 == first => last.2 += n,
                _ => merged.push((raw, first, n)),
            }
        }
        let raw = merged.first()?.0;
        let tensor = &self.graph.raws[raw];
        if merged == [(raw, 0, tensor.len())] && is_param_name(&tensor.name) {
            return Some(self.parameter(raw, Order::Runs(merged), shape, fallback));
        }
        let order = Order::Runs(merged);
        if let Some(name) = self.names.get(&order) {
            return Some(name.clone());
        }
        let mut name = fallback.to_owned();
        let mut n = 1;
        while self.stored.contains_key(&name) {
            name = format!("{fallback}_{n}");
            n += 1;
        }
        self.stored.insert(
            name.clone(),
            Stored { dtype: tensor.dtype, shape, order: order.clone(), copies: Vec::new() },
        );
        self.names.insert(order, name.clone());
        Some(name)
    }

    /// The state of a direction before the first step: zeros where there is none.
    fn state(
        &mut self,
        node: &Node<'_>,
        val: Option<Val>,
        direction: usize,
        x: ValueId,
        hidden: usize,
    ) -> Result<ValueId, OnnxFault> {
        let batch = self.sizes[&x][1].clone();
        let sizes = vec![batch.clone(), Size::Fixed(hidden as i64)];
        // The same number for every row: as many rows as the batch of a run has.
        let uniform = match val {
            None => Some(0.0),
            Some(val) => self.uniform(val, 8),
        };
        if let Some(number) = uniform {
            let data = ConstantData::Real(vec![number; hidden].into());
            let row = self.b.constant(Constant { shape: vec![1, hidden], data });
            let to = [Extent::Like { input: 1, dim: 1 }, Extent::Fixed(hidden)];
            let state = self.b.expand(row, &[x], &to);
            self.made(state, sizes);
            return Ok(state);
        }
        let Some(val) = val else { return Err(node.refuse("its state is missing")) };
        let dims = self.dims(val).to_vec();
        if dims.len() != 3
            || dims[1] != batch
            || dims[2] != Size::Fixed(hidden as i64)
            || dims[0].fixed().is_none()
        {
            return Err(node.refuse("its first state is not of the sizes that its input and weights have"));
        }
        let view = self.view(val)?;
        let value = self.settle(&view)?;
        let cut =
            if dims[0] == Size::ONE { value } else { self.b.slice(value, 0, direction, direction + 1, 1) };
        let cut = self.made(cut, vec![Size::ONE, dims[1].clone(), dims[2].clone()]);
        let view: View = self.reshaped(&cut, &sizes)?;
        self.settle(&view)
    }

    /// The number that a value holds everywhere.
    fn uniform(&self, val: Val, depth: usize) -> Option<f64> {
        if let Some(known) = self.graph.known(Some(val)) {
            return known.uniform();
        }
        let node = self.graph.made_by(val).filter(|_| depth > 0)?;
        match node.op {
            "Expand" | "Reshape" | "Squeeze" | "Unsqueeze" | "Transpose" | "Slice" | "Cast" | "Gather"
            | "Tile" | "Split" => self.uniform(node.input(0)?, depth - 1),
            "ConstantOfShape" => node.fill().real(),
            _ => None,
        }
    }
}

fn fits_shape(dims: &[Size], wanted: &[usize]) -> bool {
    dims.len() == wanted.len()
        && dims.iter().zip(wanted).all(|(size, wanted)| *size == Size::Fixed(*wanted as i64))
}
