//! Layers with parameters, and attention.

use epoch0_net::{
    Attention, Constant, ConstantData, Layout, NamedConv, NamedLinear, NamedNorm, NormKind, Op, Pool, Role, ValueId,
    Window,
};

use super::{Lower, Node, OnnxFault, View};
use crate::onnx::fuse::FusedAttention;
use crate::onnx::graph::{Origin, Val};
use crate::onnx::infer::Sliding;
use crate::onnx::known::Kind;
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
        let view = if x.keeps_last() && !x.repeats() { x.clone() } else {
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
            if raw == matrix.raw || stored.shape != [matrix.n_out, matrix.n_in] || stored.dtype != tensor.dtype {
                return None;
            }
            let (table, other) = ((self.bytes)(&self.graph.raws[raw]), (self.bytes)(tensor));
            let (width, n_in, n_out) = (tensor.dtype.bytes(), matrix.n_in, matrix.n_out);
            let element = |bytes: &[u8], at: usize| bytes.get(at * width..(at + 1) * width).map(<[u8]>::to_vec);
            let is_constant = table.chunks_exact(width).all(|chunk| chunk == &table[..width]);
            let same = (0..n_out * n_in).all(|at| {
                let (row, column) = (at / n_in, at % n_in);
                element(&table, at) == element(&other, if matrix.out_in { at } else { column * n_out + row })
            });
            (same && !is_constant).then(|| name.clone())
        })
    }

    /// A product; with a bias of the file where one is added.
    pub(super) fn matmul(&mut self, node: &Node<'_>, bias: Option<Val>, output: Option<Val>) -> Result<(), OnnxFault> {
        let (x, weight) = (self.input(node, 0)?, self.input(node, 1)?);
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
        let (x, weight, bias) = (self.input(node, 0)?, self.input(node, 1)?, node.input(2));
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
        let is_inner = alpha == 1.0 && beta == 1.0 && bias.is_none_or(|bias| fits(bias) && self.graph.facts[bias].origin.is_some());
        let is_linear = matrix.is_some();
        let mut product = match matrix {
            Some(matrix) => self.linear(node, &view, (weight, &matrix), bias.filter(|_| is_inner), node.output(0))?,
            None => {
                let left = self.settle(&view)?;
                let mut right = self.view(weight)?;
                if turned("transB") {
                    right = right.transposed(&[1, 0]);
                }
                let right = self.settle(&right)?;
                let value = self.b.matmul(left, right);
                let sizes = node.output(0).map_or(&[][..], |val| self.dims(val)).to_vec();
                self.made(value, sizes)
            }
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
        let (table, ids) = (self.input(node, 0)?, self.input(node, 1)?);
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
            self.stored.insert(scoped.clone(), crate::onnx::store::Stored { dtype: tensor.dtype, shape: shape.clone(), order: order.clone(), copies: Vec::new() });
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
        let known = self.graph.known(Some(ids)).and_then(|known| known.ints());
        let from_input = known.is_none() && self.depends_on_input(ids, 40);
        match known {
            _ if name.contains("relative") => Role::RelativeBias,
            _ if name.contains("position") || name.contains("wpe") => Role::Position,
            Some(ints) if ints.len() > 1 && ints.windows(2).all(|pair| pair[1] == pair[0] + 1) => Role::Position,
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

    /// A convolution, plain or transposed.
    pub(super) fn conv(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let (x, weight, bias) = (self.input(node, 0)?, self.input(node, 1)?, node.input(2));
        let fact = &self.graph.facts[weight];
        let raw = match &fact.origin {
            Some(Origin::Runs(runs)) => match runs[..] {
                [(raw, 0, n)] if n == self.graph.raws[raw].len() => Some(raw),
                _ => None,
            },
            _ => None,
        };
        let Some(raw) = raw else { return Err(node.refuse("its weight is computed, allowed a weight of the file")) };
        let shape: Option<Vec<usize>> = fact.dims.iter().map(|size| usize::try_from(size.fixed()?).ok()).collect();
        let sliding = Sliding::of(node, self.dims(x), Some(&fact.dims));
        let (Some(shape), Some(sliding)) = (shape, sliding) else {
            return Err(node.refuse("its window is malformed, or its padding depends on the size of an input"));
        };
        let transposed = node.op == "ConvTranspose";
        let groups = usize::try_from(node.int("group").unwrap_or(1)).ok().filter(|&groups| groups > 0);
        let Some(groups) = groups else { return Err(node.refuse("it has no group, allowed 1 and more")) };
        let module = self.module(node, Some(weight), bias);
        let out = if transposed { shape[1].checked_mul(groups) } else { Some(shape[0]) };
        let Some(out) = out else { return Err(node.refuse("it has too many channels")) };
        let order = Order::Runs(vec![(raw, 0, self.graph.raws[raw].len())]);
        let name = self.parameter(raw, order, shape, &Self::leaf(&module, "weight"));
        let bias = bias.filter(|_| !self.is_filler(bias, 0.0));
        let bias = match bias {
            None => None,
            Some(val) => Some(
                self.vector(Some(val), &Self::leaf(&module, "bias"))
                    .ok_or_else(|| node.refuse("its bias is computed, allowed a bias of the file"))?,
            ),
        };
        let mut value = self.value(x)?;
        let more = sliding.more.clone().unwrap_or_default();
        let is_even = sliding.before == sliding.after && more.iter().all(|&more| more == 0);
        let unsigned = |list: &[i64]| list.iter().map(|&value| value as usize).collect::<Vec<_>>();
        let padding = if is_even { unsigned(&sliding.before) } else { vec![0; sliding.kernel.len()] };
        if !is_even && !transposed {
            value = self.padded_zeros(value, &sliding.before, &sliding.after);
        }
        let window =
            Window { kernel: unsigned(&sliding.kernel), stride: unsigned(&sliding.stride), padding, dilation: unsigned(&sliding.dilation) };
        let conv = NamedConv { weight: &name, bias: bias.as_deref(), out, window, groups, transposed };
        let mut made = self.b.conv_named(value, &conv);
        self.store_type(&name);
        if let Some(bias) = &bias {
            self.store_type(bias);
        }
        if !is_even && transposed {
            // The whole output, cut to what is asked for.
            let dims = node.output(0).map_or(&[][..], |val| self.dims(val)).to_vec();
            for dim in 0..sliding.kernel.len() {
                let (Some(size), before) = (dims[dim + 2].fixed(), sliding.before[dim]) else {
                    return Err(node.refuse("its padding differs on both sides and its size is open, allowed one of both"));
                };
                let whole = self.b.size(made, dim as isize + 2).unwrap_or(0) as i64;
                if before + size > whole {
                    return Err(node.refuse("its output_padding is larger than its padding, allowed up to that"));
                }
                made = self.b.slice(made, dim + 2, before as usize, (before + size) as usize, 1);
            }
        }
        self.answer(node, made)
    }

    /// Zeros before and after the dimensions of space.
    fn padded_zeros(&mut self, mut value: ValueId, before: &[i64], after: &[i64]) -> ValueId {
        for dim in 0..before.len() {
            if before[dim] > 0 || after[dim] > 0 {
                let mut sizes = self.sizes[&value].clone();
                value = self.b.pad(value, dim + 2, before[dim] as usize, after[dim] as usize);
                if let Some(size) = sizes[dim + 2].add(&Size::Fixed(before[dim] + after[dim])) {
                    sizes[dim + 2] = size;
                }
                self.made(value, sizes);
            }
        }
        value
    }

    /// A pooling by windows.
    pub(super) fn pool(&mut self, node: &Node<'_>) -> Result<(), OnnxFault> {
        let x = self.input(node, 0)?;
        let sliding = Sliding::of(node, self.dims(x), None)
            .ok_or_else(|| node.refuse("its window is malformed, or its padding depends on the size of an input"))?;
        let floor = Sliding { ceil: false, ..sliding.clone() };
        let sizes: Vec<Option<i64>> = self.dims(x)[2..].iter().map(Size::fixed).collect();
        // Where windows fit exactly, rounding up is rounding down.
        let is_exact = sizes.iter().enumerate().all(|(dim, size)| {
            size.is_some_and(|size| sliding.output(dim, size) == floor.output(dim, size))
        });
        let unsigned = |list: &[i64]| list.iter().map(|&value| value as usize).collect::<Vec<_>>();
        let is_even = sliding.before == sliding.after;
        let mut window = Window {
            kernel: unsigned(&sliding.kernel),
            stride: unsigned(&sliding.stride),
            padding: unsigned(&sliding.before),
            dilation: unsigned(&sliding.dilation),
        };
        let mut value = self.value(x)?;
        if node.op == "MaxPool" {
            if !is_even {
                return Err(node.refuse("its padding differs on both sides, allowed the same on both"));
            }
            let pool = if sliding.ceil && !is_exact { Pool::MaxCeil(window) } else { Pool::Max(window) };
            let made = self.b.pool(value, pool);
            return self.answer(node, made);
        }
        if sliding.ceil && !is_exact {
            return Err(node.refuse("its last window ends beyond its input (ceil_mode), allowed windows that fit"));
        }
        if !is_even {
            value = self.padded_zeros(value, &sliding.before, &sliding.after);
            window.padding = vec![0; window.kernel.len()];
        }
        let mut made = self.b.pool(value, Pool::Mean(window));
        let pads = sliding.before.iter().chain(&sliding.after).any(|&pad| pad > 0);
        if pads && node.int("count_include_pad").unwrap_or(0) == 0 {
            // The mean over what is not padding: each place is made up for the zeros that were counted.
            let sizes: Option<Vec<i64>> = sizes.into_iter().collect();
            let sizes = sizes.ok_or_else(|| node.refuse("padding is not counted and its size is open, allowed one of both"))?;
            let factor = coverage(&sliding, &sizes).ok_or_else(|| node.refuse("its windows do not fit"))?;
            self.answer(node, made)?;
            let factor = self.b.constant(factor);
            made = self.b.mul(&[made, factor]);
        }
        self.answer(node, made)
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
        let (x, scale) = (self.input(node, 0)?, node.input(1));
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
        let (x, scale, shift) = (self.input(node, 0)?, node.input(1), node.input(2));
        let eps = node.float("epsilon").unwrap_or(1e-5);
        let channels = self.dims(x).get(1).and_then(Size::fixed);
        let Some(channels) = channels else { return Err(node.refuse("the number of channels is open, allowed a number")) };
        let module = self.module(node, scale, shift);
        let leaf = |leaf: &str| Self::leaf(&module, leaf);
        if node.op == "BatchNormalization" {
            if node.int("training_mode") == Some(1) {
                return Err(node.refuse("it is in training mode, allowed evaluation\nhint: call model.eval() before the export"));
            }
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
            let value = self.b.norm_named(view.base, NormKind::Group { groups: channels as usize }, eps, NamedNorm::default());
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

    /// Attention whose heads stand in dimension 1.
    pub(super) fn attention(&mut self, node: &Node<'_>, fused: &FusedAttention) -> Result<(), OnnxFault> {
        let (q, k, v) = (self.view(fused.q)?, self.view(fused.k)?, self.view(fused.v)?);
        let rank = q.dims.len();
        let keys = |k: &View| {
            let mut order: Vec<usize> = (0..rank).collect();
            order.swap(rank - 1, rank - 2);
            k.transposed(&order)
        };
        let k = keys(&k);
        let heads = if rank == 4 { self.dims(fused.q)[1].fixed().unwrap_or(1) } else { 1 };
        // Heads of keys and values that serve several queries are repeated, the repetition innermost.
        let own_heads = |view: &View| {
            if rank < 4 {
                return None;
            }
            let own: Vec<usize> = view.dims[1].iter().copied().take_while(|&atom| view.is_own(atom)).collect();
            let is_clean = view.dims[1][own.len()..].iter().all(|&atom| !view.is_own(atom));
            let others = view.dims.iter().enumerate().all(|(at, dim)| at == 1 || dim.iter().all(|&atom| view.is_own(atom)));
            (is_clean && others && own.len() < view.dims[1].len()).then_some(own)
        };
        let shared = match (own_heads(&k), own_heads(&v)) {
            (Some(a), Some(b)) if k.size(&a) == v.size(&b) => Some((a, b)),
            _ => None,
        };
        let kv_heads = shared.as_ref().and_then(|(own, _)| k.size(own)?.fixed()).unwrap_or(heads);
        let packed = |view: &View, own: Option<&Vec<usize>>| {
            if rank == 3 {
                return view.clone();
            }
            let heads = own.unwrap_or(&view.dims[1]);
            let dims = vec![view.dims[0].clone(), view.dims[2].clone(), [&heads[..], &view.dims[3]].concat()];
            View { dims, ..view.clone() }
        };
        let q_value = self.settle(&packed(&q, None))?;
        let k_value = self.settle(&packed(&k, shared.as_ref().map(|(own, _)| own)))?;
        let v_value = self.settle(&packed(&v, shared.as_ref().map(|(_, own)| own)))?;
        let mut bias: Option<ValueId> = None;
        for &val in &fused.biases {
            let value = self.value(val)?;
            bias = Some(match bias {
                None => value,
                Some(other) => self.b.add(&[other, value]),
            });
        }
        // A bias of a size for each pair of positions, whatever it is broadcast over.
        if let Some(value) = bias
            && rank == 3
            && self.b.rank(value) == 3
            && let Some(sizes) = self.sizes.get(&value).cloned()
        {
            let wide = vec![sizes[0].clone(), Size::ONE, sizes[1].clone(), sizes[2].clone()];
            bias = Some(self.reshape(value, &wide)?);
        }
        let attention = Attention {
            heads: heads as usize,
            kv_heads: kv_heads as usize,
            scale: fused.scale,
            causal: fused.causal,
            window: None,
            rope: None,
            softcap: fused.softcap,
        };
        let value = self.b.attention(q_value, k_value, v_value, bias, attention);
        let Some(output) = node.output(0) else { return Ok(()) };
        let dims = self.dims(output).to_vec();
        if rank == 3 {
            return self.answer(node, value);
        }
        let width = dims[1].mul(&dims[3]).ok_or_else(|| node.refuse("it is too large"))?;
        let view = self.made(value, vec![dims[0].clone(), dims[2].clone(), width]);
        let seen = [dims[0].clone(), dims[2].clone(), dims[1].clone(), dims[3].clone()];
        let view = self.reshaped(&view, &seen)?.transposed(&[0, 2, 1, 3]);
        self.views.insert(output, view);
        Ok(())
    }
}

/// For each place of a pooling's output how many times more its window holds than what of it is not padding.
fn coverage(sliding: &Sliding, sizes: &[i64]) -> Option<Constant> {
    let n = sizes.len();
    let mut shape = vec![1, 1];
    let mut along = Vec::new();
    for dim in 0..n {
        let out = sliding.output(dim, sizes[dim])?;
        if out > 1 << 16 {
            return None;
        }
        shape.push(out as usize);
        let counted = |at: i64| {
            let start = at * sliding.stride[dim] - sliding.before[dim];
            (0..sliding.kernel[dim]).map(|tap| start + tap * sliding.dilation[dim]).filter(|place| (0..sizes[dim]).contains(place)).count()
        };
        along.push((0..out).map(|at| sliding.kernel[dim] as f64 / (counted(at) as f64).max(1.0)).collect::<Vec<_>>());
    }
    let mut data = vec![1.0];
    for factors in &along {
        if data.len() * factors.len() > 1 << 24 {
            return None;
        }
        data = data.iter().flat_map(|outer| factors.iter().map(move |factor| outer * factor)).collect();
    }
    Some(Constant { shape, data: ConstantData::Real(data.into()) })
}
