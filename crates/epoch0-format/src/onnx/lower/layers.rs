//! Linear maps, tables, norms.

use epoch0_net::{Layout, NamedLinear, NamedNorm, NormKind, Op, Role};

use super::{Lower, Node, OnnxFault, View};
use crate::onnx::graph::{Origin, Val};
use crate::onnx::known::{Kind, Known};
use crate::onnx::names::is_param_name;
use crate::onnx::size::Size;
use crate::onnx::store::Order;

/// A matrix of the file that a value is multiplied with.
struct Matrix {
    raw: usize,
    /// Whether the tensor has outputs in rows.
    out_in: bool,
    n_in: usize,
    n_out: usize,
}

impl Lower<'_, '_> {
    /// The matrix that `x W` has on its right side (`turned`: `x Wᵀ`), where it is a whole tensor of the file.
    fn matrix(&self, weight: Val, turned: bool) -> Option<Matrix> {
        let fact = &self.graph.facts[weight];
        let [rows, columns] = [fact.dims.first()?.fixed()? as usize, fact.dims.get(1)?.fixed()? as usize];
        if fact.dims.len() != 2 || fact.kind != Kind::Real {
            return None;
        }
        let (raw, is_turned) = match fact.origin.as_ref()? {
            Origin::Transposed(raw) => (*raw, !turned),
            Origin::Runs(runs) => match runs[..] {
                [(raw, 0, n)] if n == self.graph.raws[raw].len() => (raw, turned),
                _ => return None,
            },
        };
        let (n_in, n_out) = if turned { (columns, rows) } else { (rows, columns) };
        (self.graph.raws[raw].shape.len() == 2).then_some(Matrix { raw, out_in: is_turned, n_in, n_out })
    }

    /// A linear map of `x`, with a bias of the file.
    fn linear(
        &mut self,
        node: &Node<'_>,
        x: &View,
        (weight, matrix): (Val, &Matrix),
        bias: Option<Val>,
        output: Option<Val>,
    ) -> Result<View, OnnxFault> {
        let module = self.module(node, Some(weight), bias);
        let fallback = Self::leaf(&module, "weight");
        let is_readout = self.is_readout(output);
        let (name, layout) = self.matrix_name(matrix, &fallback, is_readout);
        let bias = bias.and_then(|bias| self.vector(Some(bias), &Self::leaf(&module, "bias")));
        let role = if is_readout { Role::Readout } else { Role::Weight };
        let linear = NamedLinear { weight: &name, bias: bias.as_deref(), out: matrix.n_out, layout, role };
        let view = if x.keeps_last() && !x.repeats() {
            x.clone()
        } else {
            let value = self.settle(x)?;
            View::whole(value, &self.sizes[&value].clone())
        };
        let mut sizes = self.sizes[&view.base].clone();
        let value = self.b.linear_named(view.base, &linear);
        self.store_type(&name);
        if let Some(bias) = &bias {
            self.store_type(bias);
        }
        let out = Size::Fixed(matrix.n_out as i64);
        if let Some(last) = sizes.last_mut() {
            *last = out.clone();
        }
        self.made(value, sizes);
        // The last dimension has one new piece, or none when it has one element.
        let mut view = view.onto(value);
        let last: Vec<usize> = if out == Size::ONE { Vec::new() } else { vec![view.atoms.len()] };
        view.atoms.push(out);
        for dims in [&mut view.base_dims, &mut view.dims] {
            if let Some(dim) = dims.last_mut() {
                dim.clone_from(&last);
            }
        }
        Ok(view)
    }

    /// Name and layout of a linear map's weight.
    fn matrix_name(&mut self, matrix: &Matrix, fallback: &str, is_readout: bool) -> (String, Layout) {
        let tensor = &self.graph.raws[matrix.raw];
        let runs = Order::Runs(vec![(matrix.raw, 0, tensor.len())]);
        let out_in = vec![matrix.n_out, matrix.n_in];
        if is_readout && let Some(table) = self.tied_table(matrix) {
            let alias = if is_param_name(&tensor.name) { tensor.name.clone() } else { fallback.to_owned() };
            if alias != table {
                self.b.tie(&alias, &table);
            }
            if let Some(stored) = self.stored.get_mut(&table) {
                stored.copies.push(if matrix.out_in { runs } else { Order::Transposed(matrix.raw) });
            }
            return (table, Layout::OutIn);
        }
        match (matrix.out_in, is_param_name(&tensor.name)) {
            (true, _) => (self.parameter(matrix.raw, runs, out_in, fallback), Layout::OutIn),
            (false, true) => {
                let in_out = vec![matrix.n_in, matrix.n_out];
                (self.parameter(matrix.raw, runs, in_out, fallback), Layout::InOut)
            }
            // The exporter turned the weight of a linear layer and gave it a name of its own.
            (false, false) => {
                let turned = Order::Transposed(matrix.raw);
                (self.parameter(matrix.raw, turned, out_in, fallback), Layout::OutIn)
            }
        }
    }

    /// The table of an embedding that holds the same elements as a matrix `[out, in]`.
    fn tied_table(&self, matrix: &Matrix) -> Option<String> {
        let tensor = &self.graph.raws[matrix.raw];
        self.tables.iter().find_map(|name| {
            let stored = &self.stored[name];
            let Order::Runs(runs) = &stored.order else { return None };
            let [(raw, 0, _)] = runs[..] else { return None };
            if raw == matrix.raw
                || stored.shape != [matrix.n_out, matrix.n_in]
                || stored.dtype != tensor.dtype
            {
                return None;
            }
            let (table, other) = ((self.bytes)(&self.graph.raws[raw]), (self.bytes)(tensor));
            let (width, n_in, n_out) = (tensor.dtype.bytes(), matrix.n_in, matrix.n_out);
            let element =
                |bytes: &[u8], at: usize| bytes.get(at * width..(at + 1) * width).map(<[u8]>::to_vec);
            let is_constant = table.chunks_exact(width).all(|chunk| chunk == &table[..width]);
            let same = (0..n_out * n_in).all(|at| {
                let (row, column) = (at / n_in, at % n_in);
                element(&table, at) == element(&other, if matrix.out_in { at } else { column * n_out + row })
            });
            (same && !is_constant).then(|| name.clone())
        })
    }

    /// A product; with a bias of the file where one is added.
    pub(super) fn matmul(
        &mut self,
        node: &Node<'_>,
        bias: Option<Val>,
        output: Option<Val>,
    ) -> Result<(), OnnxFault> {
        let (x, weight) = (Self::input(node, 0)?, Self::input(node, 1)?);
        let target = output.or(node.output(0));
        if let Some(matrix) = self.matrix(weight, false)
            && self.graph.facts[x].origin.is_none()
            && !self.dims(x).is_empty()
        {
            let view = self.view(x)?;
            let view = self.linear(node, &view, (weight, &matrix), bias, target)?;
            if let Some(target) = target {
                self.views.insert(target, view);
            }
            return Ok(());
        }
        let mut view = self.plain_matmul(node, x, weight)?;
        if let Some(bias) = bias {
            let (base, bias) = (self.settle(&view)?, self.value(bias)?);
            let sum = self.b.add(&[base, bias]);
            let sizes = self.sizes[&base].clone();
            view = self.made(sum, sizes);
        }
        if let Some(target) = target {
            self.views.insert(target, view);
        }
        Ok(())
    }

    fn plain_matmul(&mut self, node: &Node<'_>, x: Val, y: Val) -> Result<View, OnnxFault> {
        let (mut left, mut right) = (self.value(x)?, self.value(y)?);
        let (mut a, mut b) = (self.dims(x).to_vec(), self.dims(y).to_vec());
        let (is_row, is_column) = (a.len() == 1, b.len() == 1);
        if is_row {
            a.insert(0, Size::ONE);
            left = self.reshape(left, &a)?;
        }
        if is_column {
            b.push(Size::ONE);
            right = self.reshape(right, &b)?;
        }
        let value = self.b.matmul(left, right);
        let rank = a.len().max(b.len());
        let mut sizes = crate::onnx::known::broadcast_sizes(&a[..a.len() - 2], &b[..b.len() - 2])
            .ok_or_else(|| node.refuse("its inputs do not fit together"))?;
        sizes.extend([a[a.len() - 2].clone(), b[b.len() - 1].clone()]);
        debug_assert_eq!(sizes.len(), rank, "a product has as many dimensions as its larger factor");
        let view = self.made(value, sizes.clone());
        let mut kept = sizes;
        if is_column {
            kept.pop();
        }
        if is_row {
            let at = kept.len() - 1 - usize::from(!is_column);
            kept.remove(at);
        }
        self.reshaped(&view, &kept)
    }

    /// `α x W + β b`.
    pub(super) fn gemm(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let (x, weight, bias) = (Self::input(node, 0)?, Self::input(node, 1)?, node.input(2));
        let (alpha, beta) = (node.float("alpha").unwrap_or(1.0), node.float("beta").unwrap_or(1.0));
        let turned = |name: &str| node.int(name) == Some(1);
        let mut view = self.view(x)?;
        if turned("transA") {
            view = view.transposed(&[1, 0]);
        }
        let matrix = self.matrix(weight, turned("transB")).filter(|_| self.graph.facts[x].origin.is_none());
        let bias = bias.filter(|_| beta != 0.0 && !self.is_filler(bias, 0.0));
        let fits = |bias: Val| {
            let dims = self.dims(bias);
            dims.len() == 1 && dims.last() == node.output(0).and_then(|val| self.dims(val).last())
        };
        let is_inner = alpha == 1.0
            && beta == 1.0
            && bias.is_none_or(|bias| fits(bias) && self.graph.facts[bias].origin.is_some());
        let is_linear = matrix.is_some();
        let mut product = if let Some(matrix) = matrix {
            self.linear(node, &view, (weight, &matrix), bias.filter(|_| is_inner), node.output(0))?
        } else {
            let left = self.settle(&view)?;
            let mut right = self.view(weight)?;
            if turned("transB") {
                right = right.transposed(&[1, 0]);
            }
            let right = self.settle(&right)?;
            let value = self.b.matmul(left, right);
            let sizes = node.output(0).map_or(&[][..], |val| self.dims(val)).to_vec();
            self.made(value, sizes)
        };
        if alpha != 1.0 {
            let value = self.b.unary(product.base, Op::Scale(alpha));
            product = self.like(&product, value);
        }
        if let Some(bias) = bias
            && !(is_linear && is_inner)
        {
            let mut shift = self.value(bias)?;
            if beta != 1.0 {
                shift = self.b.unary(shift, Op::Scale(beta));
                let sizes = self.dims(bias).to_vec();
                self.made(shift, sizes);
            }
            let base = self.settle(&product)?;
            let value = self.b.add(&[base, shift]);
            return self.answer(node, value);
        }
        self.set(node, 0, product);
        Ok(())
    }

    /// Rows of a table.
    pub(super) fn embedding(&mut self, node: &Node<'_>, raw: usize) -> Result<(), OnnxFault> {
        let (table, ids) = (Self::input(node, 0)?, Self::input(node, 1)?);
        let tensor = &self.graph.raws[raw];
        let shape = tensor.shape.clone();
        let order = Order::Runs(vec![(raw, 0, tensor.len())]);
        let role = self.table_role(&tensor.name, ids);
        let scoped = Self::leaf(&node.scope, "weight");
        let is_new = !self.names.contains_key(&order);
        let name = if is_new
            && is_param_name(&tensor.name)
            && tensor.name.ends_with(".weight")
            && !node.scope.is_empty()
            && scoped != tensor.name
            && !self.graph.raws.iter().any(|other| other.name == scoped)
        {
            // A table that is the readout too was stored under the readout's name.
            let alias = tensor.name.clone();
            self.stored.insert(
                scoped.clone(),
                crate::onnx::store::Stored {
                    dtype: tensor.dtype,
                    shape: shape.clone(),
                    order: order.clone(),
                    copies: Vec::new(),
                },
            );
            self.names.insert(order, scoped.clone());
            self.b.tie(&alias, &scoped);
            scoped
        } else {
            self.parameter(raw, order, shape.clone(), &scoped)
        };
        if !self.tables.contains(&name) {
            self.tables.push(name.clone());
        }
        let view = self.view(ids)?;
        let mut sizes = self.sizes[&view.base].clone();
        let value = self.b.embedding_named(view.base, &name, shape[0], shape[1], role);
        self.store_type(&name);
        let width = Size::Fixed(shape[1] as i64);
        sizes.push(width.clone());
        self.made(value, sizes);
        let mut view = view.onto(value);
        let piece = if width == Size::ONE { Vec::new() } else { vec![view.atoms.len()] };
        view.atoms.push(width);
        view.base_dims.push(piece.clone());
        view.dims.push(piece);
        debug_assert!(self.graph.facts[table].dims.len() == 2, "a table has two dimensions");
        self.set(node, 0, view);
        Ok(())
    }

    /// What a table is for, by what is looked up in it.
    fn table_role(&self, name: &str, ids: Val) -> Role {
        let known = self.graph.known(Some(ids)).and_then(Known::ints);
        let from_input = known.is_none() && self.depends_on_input(ids, 40);
        match known {
            _ if name.contains("relative") => Role::RelativeBias,
            _ if name.contains("position") || name.contains("wpe") => Role::Position,
            Some(ints) if ints.len() > 1 && ints.windows(2).all(|pair| pair[1] == pair[0] + 1) => {
                Role::Position
            }
            None if !from_input => Role::Position,
            _ => Role::Embedding,
        }
    }

    fn depends_on_input(&self, val: Val, depth: usize) -> bool {
        if self.graph.inputs.iter().any(|(input, _)| *input == val) {
            return true;
        }
        let Some(node) = self.graph.made_by(val).filter(|_| depth > 0) else { return false };
        if self.graph.facts[val].known.is_some() {
            return false;
        }
        node.inputs.iter().flatten().any(|&input| self.depends_on_input(input, depth - 1))
    }

    /// A norm over the last dimension.
    pub(super) fn norm(
        &mut self,
        node: &Node<'_>,
        x: Val,
        kind: NormKind,
        eps: f64,
        scale: Option<Val>,
        shift: Option<Val>,
    ) -> Result<(), OnnxFault> {
        let module = self.module(node, scale, shift);
        let scale = scale.filter(|_| !self.is_filler(scale, 1.0));
        let shift = shift.filter(|_| !self.is_filler(shift, 0.0));
        let scale = self.vector(scale, &Self::leaf(&module, "weight"));
        let shift = self.vector(shift, &Self::leaf(&module, "bias"));
        let view = self.view(x)?;
        // Channels that stand first and are looked at as last.
        let is_first = view.base_dims.len() > 2
            && kind == NormKind::Layer
            && !view.repeats()
            && view.base_dims.get(1).is_some_and(|own| !own.is_empty() && Some(own) == view.dims.last());
        let (view, kind) = if is_first {
            (view, NormKind::LayerChannelsFirst)
        } else if view.keeps_last() && !view.repeats() {
            (view, kind)
        } else {
            let value = self.settle(&view)?;
            (View::whole(value, &self.sizes[&value].clone()), kind)
        };
        let names = NamedNorm { scale: scale.as_deref(), shift: shift.as_deref(), running: None };
        let value = self.b.norm_named(view.base, kind, eps, names);
        for name in scale.iter().chain(&shift) {
            self.store_type(name);
        }
        let view = self.like(&view, value);
        self.set(node, 0, view);
        Ok(())
    }

    /// A layer norm of the newer operator sets.
    pub(super) fn layer_norm(&mut self, node: &Node<'_>, rms: bool) -> Result<(), OnnxFault> {
        let (x, scale) = (Self::input(node, 0)?, node.input(1));
        let shift = if rms { None } else { node.input(2) };
        let rank = self.dims(x).len() as i64;
        let axis = node.int("axis").unwrap_or(-1);
        if axis != -1 && axis != rank - 1 {
            return Err(node.refuse("it goes over more than the last dimension, allowed the last one"));
        }
        let kind = if rms { NormKind::Rms { offset: 0.0 } } else { NormKind::Layer };
        self.norm(node, x, kind, node.float("epsilon").unwrap_or(1e-5), scale, shift)
    }

    /// Norms of channels: by running statistics, by each channel's own, by groups'.
    pub(super) fn channel_norm(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let (x, scale, shift) = (Self::input(node, 0)?, node.input(1), node.input(2));
        let eps = node.float("epsilon").unwrap_or(1e-5);
        let channels = self.dims(x).get(1).and_then(Size::fixed);
        let Some(channels) = channels else {
            return Err(node.refuse("the number of channels is open, allowed a number"));
        };
        let module = self.module(node, scale, shift);
        let leaf = |leaf: &str| Self::leaf(&module, leaf);
        if node.op == "BatchNormalization" {
            let names = [
                self.vector(scale, &leaf("weight")),
                self.vector(shift, &leaf("bias")),
                self.vector(node.input(3), &leaf("running_mean")),
                self.vector(node.input(4), &leaf("running_var")),
            ];
            let [Some(scale), Some(shift), Some(mean), Some(var)] = names else {
                return Err(node.refuse("its parameters are computed, allowed parameters of the file"));
            };
            let count = leaf("num_batches_tracked");
            self.zeros(&count, epoch0_num::Dtype::I64, Vec::new());
            let running = Some([mean.as_str(), var.as_str(), count.as_str()]);
            let names = NamedNorm { scale: Some(&scale), shift: Some(&shift), running };
            let value = self.value(x)?;
            let made = self.b.norm_named(value, NormKind::Batch, eps, names);
            for name in [&scale, &shift, &mean, &var] {
                self.store_type(name);
            }
            return self.answer(node, made);
        }
        let is_bare = self.is_filler(scale, 1.0) && self.is_filler(shift, 0.0);
        let view = self.view(x)?;
        if node.op == "InstanceNormalization"
            && is_bare
            && view.base_dims.len() > 2
            && view.own_order() == view.seen_order()
            && !view.repeats()
            && view.dims.first() == view.base_dims.first()
            && view.dims.get(1).is_some_and(|group| !group.is_empty() && view.base_dims[1].starts_with(group))
        {
            // Groups of channels, looked at as channels.
            let value = self.b.norm_named(
                view.base,
                NormKind::Group { groups: channels as usize },
                eps,
                NamedNorm::default(),
            );
            let view = self.like(&view, value);
            self.set(node, 0, view);
            return Ok(());
        }
        let groups = match node.op {
            "GroupNormalization" => node.int("num_groups").unwrap_or(0),
            _ => channels,
        };
        let is_whole = |val: Option<Val>| val.is_none_or(|val| self.dims(val) == [Size::Fixed(channels)]);
        if groups < 1 || channels % groups != 0 || !is_whole(scale) || !is_whole(shift) {
            return Err(node.refuse(format!(
                "it has {groups} groups of {channels} channels and a factor for each group, allowed groups of equal size and \
                 a factor for each channel"
            )));
        }
        let (scale, shift) = if is_bare {
            (None, None)
        } else {
            (self.vector(scale, &leaf("weight")), self.vector(shift, &leaf("bias")))
        };
        let names = NamedNorm { scale: scale.as_deref(), shift: shift.as_deref(), running: None };
        let value = self.value(x)?;
        let made = self.b.norm_named(value, NormKind::Group { groups: groups as usize }, eps, names);
        for name in scale.iter().chain(&shift) {
            self.store_type(name);
        }
        self.answer(node, made)
    }
}
