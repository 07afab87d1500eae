//! Operations as exchange formats have them, and layers whose parameters are named one by one.

use epoch0_num::Dtype;

use super::Builder;
use crate::{
    AxisId, Binary, Cell, Constant, ConstantData, Extent, Layout, Network, NodeId, NormKind, Op, ParamId,
    Reduction, Relation, Role, Structure, Unary, ValueId, Window,
};

/// A linear map whose parameters are named in full: see [`Builder::linear_named`].
#[derive(Clone, Debug)]
pub struct NamedLinear<'a> {
    /// Weight.
    pub weight: &'a str,
    /// Bias.
    pub bias: Option<&'a str>,
    /// Number of outputs.
    pub out: usize,
    /// How the weight is stored.
    pub layout: Layout,
    /// What the weight is for.
    pub role: Role,
}

/// A convolution whose parameters are named in full: see [`Builder::conv_named`].
#[derive(Clone, Debug)]
pub struct NamedConv<'a> {
    /// Weight.
    pub weight: &'a str,
    /// Bias.
    pub bias: Option<&'a str>,
    /// Number of output channels.
    pub out: usize,
    /// Kernel, stride, padding, dilation.
    pub window: Window,
    /// Number of groups.
    pub groups: usize,
    /// Whether it is a transposed convolution.
    pub transposed: bool,
}

/// Names of a normalization's parameters.
#[derive(Clone, Copy, Debug, Default)]
pub struct NamedNorm<'a> {
    /// Factor.
    pub scale: Option<&'a str>,
    /// Shift.
    pub shift: Option<&'a str>,
    /// Running mean, running variance and count of batches.
    pub running: Option<[&'a str; 3]>,
}

/// A layer of a recurrent network: see [`Builder::recurrent`].
#[derive(Clone, Debug)]
pub struct NamedRecurrent<'a> {
    /// What a step computes.
    pub cell: Cell,
    /// Size of the state.
    pub hidden: usize,
    /// Weight of what comes in.
    pub input_weight: &'a str,
    /// Weight of the state.
    pub state_weight: &'a str,
    /// Biases of both.
    pub biases: Option<[&'a str; 2]>,
    /// Whether steps are taken from the last to the first.
    pub reverse: bool,
}

/// Layers with parameters.
impl Builder {
    /// The parameter of that name with these axes: declared now, or before and then the same.
    fn shared(&mut self, name: &str, role: Role, axes: &[AxisId]) -> ParamId {
        let Some(id) = self.find(name) else { return self.declare(name, role, axes.to_vec()) };
        let known = self.params[id.0 as usize].axes.clone();
        if known.len() == axes.len() {
            for (mine, theirs) in known.into_iter().zip(axes) {
                self.join(name, mine, *theirs);
            }
        } else {
            self.attribute(name, "dimensions", axes.len(), known.len().to_string());
        }
        id
    }

    fn named_axis(&mut self, size: usize, name: &str) -> AxisId {
        let axis = self.axes.fresh(Some(size));
        self.axes.name(axis, 1, name);
        axis
    }

    /// What follows stands in the block of that name, a new one unless there is one, until [`Builder::end_block`].
    pub fn enter_block(&mut self, name: &str) {
        match self.blocks.iter().position(|block| block == name) {
            Some(at) => self.block = Some(at),
            None => self.block(name),
        }
    }

    /// The operation that makes a value; none for an input.
    pub fn maker(&self, value: ValueId) -> Option<&Op> {
        self.values[value.0 as usize].from.map(|NodeId(from)| &self.nodes[from as usize].op)
    }

    /// Number of operations so far.
    pub fn n_operations(&self) -> usize {
        self.nodes.len()
    }

    /// Number of dimensions of a value.
    pub fn rank(&self, value: ValueId) -> usize {
        self.dims(value).len()
    }

    /// Stores a parameter as another type than the network's others.
    pub fn store_as(&mut self, name: &str, dtype: Dtype) {
        if let Some(id) = self.find(name) {
            self.params[id.0 as usize].dtype = dtype;
        }
    }

    /// `x W (+ b)` over the last dimension of `x`. A weight that is declared already is used again.
    pub fn linear_named(&mut self, x: ValueId, linear: &NamedLinear<'_>) -> ValueId {
        let input = self.last(x);
        let module = linear.weight.strip_suffix(".weight").unwrap_or(linear.weight);
        let out = self.named_axis(linear.out, &format!("{module}.out"));
        let axes = match linear.layout {
            Layout::OutIn => [out, input],
            Layout::InOut => [input, out],
        };
        let weight = self.shared(linear.weight, linear.role, &axes);
        let bias = linear.bias.map(|bias| self.shared(bias, Role::Bias, &[out]));
        let dims = self.with_last(x, out);
        self.node1(Op::Linear { weight, bias, layout: linear.layout }, &[x], dims)
    }

    /// A convolution of `[batch, channels, space…]`, or a transposed one.
    pub fn conv_named(&mut self, x: ValueId, conv: &NamedConv<'_>) -> ValueId {
        let NamedConv { weight: name, groups, window, .. } = conv;
        let (groups, out) = (*groups, conv.out);
        let n_space = window.kernel.len();
        if self.dims(x).len() != n_space + 2 {
            let got = self.dims(x).len();
            self.attribute(name, "input dimensions", got, (n_space + 2).to_string());
            return x;
        }
        let input = self.dims(x)[1];
        let n_in = self.axes.size(input).unwrap_or(0);
        if groups == 0 || n_in == 0 || !n_in.is_multiple_of(groups) || !out.is_multiple_of(groups) {
            self.attribute(name, "groups", groups, format!("a divisor of {n_in} inputs and {out} outputs"));
            return x;
        }
        let module = name.strip_suffix(".weight").unwrap_or(name);
        // Axes of the outputs, of a group's outputs and of a group's inputs.
        let (whole_out, group_out, group_in) = if groups == 1 {
            let out = self.axes.fresh(Some(out));
            (out, out, input)
        } else {
            let group = self.axes.fresh(Some(groups));
            let (per_out, per_in) =
                (self.axes.fresh(Some(out / groups)), self.axes.fresh(Some(n_in / groups)));
            let whole_in = self.product(&[group, per_in]);
            self.join(name, input, whole_in);
            (self.product(&[group, per_out]), per_out, per_in)
        };
        self.axes.name(whole_out, 1, &format!("{module}.out"));
        let mut axes = if conv.transposed { vec![input, group_out] } else { vec![whole_out, group_in] };
        for &size in &window.kernel {
            axes.push(self.named_axis(size, &format!("{module}.kernel")));
        }
        let weight = self.shared(name, Role::Weight, &axes);
        let bias = conv.bias.map(|bias| self.shared(bias, Role::Bias, &[whole_out]));
        let dims = if conv.transposed {
            let mut dims = vec![self.dims(x)[0], whole_out];
            for dim in 0..n_space {
                let size = self.size(x, dim as isize + 2);
                let wider = size.map(|size| widened(window, dim, size));
                if wider == Some(None) {
                    self.attribute(name, "padding", window.padding[dim], "less than what comes out");
                    return x;
                }
                dims.push(self.axes.fresh(wider.flatten()));
            }
            dims
        } else {
            let Some(dims) = self.spatial(x, name, whole_out, window) else { return x };
            dims
        };
        let op = Op::Conv { weight, bias, window: window.clone(), groups, transposed: conv.transposed };
        self.node1(op, &[x], dims)
    }

    /// Rows of a table `[entries, width]`. A table that is declared already is used again.
    pub fn embedding_named(
        &mut self,
        ids: ValueId,
        table: &str,
        entries: usize,
        width: usize,
        role: Role,
    ) -> ValueId {
        let module = table.strip_suffix(".weight").unwrap_or(table);
        let rows = self.named_axis(entries, &format!("{module}.rows"));
        let out = self.named_axis(width, &format!("{module}.out"));
        let table = self.shared(table, role, &[rows, out]);
        let mut dims = self.dims(ids).to_vec();
        dims.push(out);
        self.node1(Op::Embedding { table }, &[ids], dims)
    }

    /// A normalization with the parameters that are named.
    pub fn norm_named(&mut self, x: ValueId, kind: NormKind, eps: f64, names: NamedNorm<'_>) -> ValueId {
        let over = match kind {
            NormKind::Layer | NormKind::Rms { .. } => self.last(x),
            NormKind::Batch | NormKind::Group { .. } | NormKind::LayerChannelsFirst => {
                self.dims(x).get(1).copied().unwrap_or(AxisId(0))
            }
        };
        let scale = names.scale.map(|name| self.shared(name, Role::NormScale, &[over]));
        let shift = names.shift.map(|name| self.shared(name, Role::NormShift, &[over]));
        let running = names.running.map(|[mean, var, count]| {
            [
                self.shared(mean, Role::RunningMean, &[over]),
                self.shared(var, Role::RunningVar, &[over]),
                self.shared(count, Role::BatchCount, &[]),
            ]
        });
        let dims = self.dims(x).to_vec();
        self.node1(Op::Norm { kind, eps, scale, shift, running }, &[x], dims)
    }

    /// A parameter as a value; one that is declared already is used again.
    pub fn param_named(&mut self, name: &str, shape: &[usize], role: Role) -> ValueId {
        let axes: Vec<_> = shape.iter().map(|&size| self.named_axis(size, name)).collect();
        let id = self.shared(name, role, &axes);
        self.node1(Op::Param(id), &[], axes)
    }

    /// A recurrent layer over `x [steps, batch, in]` with the states before the first step: one for each that the
    /// cell keeps, `[batch, hidden]`. Values are all hidden states and the states after the last step.
    pub fn recurrent(&mut self, x: ValueId, states: &[ValueId], layer: &NamedRecurrent<'_>) -> Vec<ValueId> {
        let n_states = if layer.cell == Cell::Lstm { 2 } else { 1 };
        let (rank, place) = (self.dims(x).len(), layer.input_weight);
        if rank != 3 || states.len() != n_states {
            self.attribute(place, "input dimensions", rank, format!("3, and {n_states} states"));
            return vec![x; n_states + 1];
        }
        let module = place.strip_suffix(".weight").unwrap_or(place);
        let (steps, batch, input) = (self.dims(x)[0], self.dims(x)[1], self.dims(x)[2]);
        let hidden = self.named_axis(layer.hidden, &format!("{module}.hidden"));
        let gates: Vec<_> = (0..layer.cell.gates()).map(|_| hidden).collect();
        let packed = if gates.len() == 1 { hidden } else { self.axes.structured(Structure::Concat(gates)) };
        let input_weight = self.shared(layer.input_weight, Role::Weight, &[packed, input]);
        let state_weight = self.shared(layer.state_weight, Role::Weight, &[packed, hidden]);
        let biases = layer.biases.map(|names| names.map(|name| self.shared(name, Role::Bias, &[packed])));
        for &state in states {
            let dims = self.dims(state).to_vec();
            if let [their_batch, their_hidden] = dims[..] {
                self.join(place, batch, their_batch);
                self.join(place, hidden, their_hidden);
            } else {
                self.attribute(place, "dimensions of the state", dims.len(), "2");
            }
        }
        let mut outputs = vec![vec![steps, batch, hidden]];
        outputs.extend((0..n_states).map(|_| vec![batch, hidden]));
        let inputs: Vec<_> = std::iter::once(x).chain(states.iter().copied()).collect();
        let op =
            Op::Recurrent { cell: layer.cell, input_weight, state_weight, biases, reverse: layer.reverse };
        self.node(op, &inputs, outputs)
    }
}

/// Size of a dimension after a transposed convolution, where there is any.
fn widened(window: &Window, dim: usize, size: usize) -> Option<usize> {
    let reach = window.dilation[dim].checked_mul(window.kernel[dim].checked_sub(1)?)?;
    let whole = size.checked_sub(1)?.checked_mul(window.stride[dim])?.checked_add(reach)?.checked_add(1)?;
    whole.checked_sub(window.padding[dim].checked_mul(2)?).filter(|&size| size > 0)
}

/// Operations without parameters.
impl Builder {
    fn index(&mut self, value: ValueId, is_index: bool) -> ValueId {
        self.values[value.0 as usize].is_index = is_index;
        value
    }

    fn is_index(&self, value: ValueId) -> bool {
        self.values[value.0 as usize].is_index
    }

    fn checked_dim(&mut self, place: &'static str, x: ValueId, dim: usize) -> bool {
        let rank = self.dims(x).len();
        if dim >= rank {
            self.attribute(place, "dimension", dim, format!("less than {rank}"));
        }
        dim < rank
    }

    /// Values of the network's own.
    pub fn constant(&mut self, constant: Constant) -> ValueId {
        let n = match &constant.data {
            ConstantData::Real(data) => data.len(),
            ConstantData::Index(data) => data.len(),
            ConstantData::Bool(data) => data.len(),
        };
        if constant.shape.iter().try_fold(1usize, |all, &size| all.checked_mul(size)) != Some(n) {
            let got = format!("{:?}", constant.shape);
            self.attribute("constant", "shape", got, format!("one of {n} elements"));
        }
        let dims = constant.shape.iter().map(|&size| self.axes.fresh(Some(size))).collect();
        let is_index = !matches!(constant.data, ConstantData::Real(_));
        let value = self.node1(Op::Constant(constant), &[], dims);
        self.index(value, is_index)
    }

    /// Matrix product over the last two dimensions; those before broadcast.
    pub fn matmul(&mut self, x: ValueId, y: ValueId) -> ValueId {
        let (a, b) = (self.dims(x).to_vec(), self.dims(y).to_vec());
        if a.len() < 2 || b.len() < 2 {
            self.attribute("matmul", "dimensions", a.len().min(b.len()), "at least 2");
            return x;
        }
        self.join("matmul", a[a.len() - 1], b[b.len() - 2]);
        let rows = [a[..a.len() - 2].to_vec(), b[..b.len() - 2].to_vec()];
        let mut dims = self.broadcast("matmul", &rows);
        dims.extend([a[a.len() - 2], b[b.len() - 1]]);
        self.node1(Op::MatMul, &[x, y], dims)
    }

    /// Dimensions of shapes broadcast from the right.
    fn broadcast(&mut self, place: &str, shapes: &[Vec<AxisId>]) -> Vec<AxisId> {
        let rank = shapes.iter().map(Vec::len).max().unwrap_or(0);
        let mut dims: Vec<Option<AxisId>> = vec![None; rank];
        for shape in shapes {
            let skip = rank - shape.len();
            for (mine, &theirs) in dims[skip..].iter_mut().zip(shape) {
                match *mine {
                    Some(axis) if self.axes.size(axis) != Some(1) => {
                        if self.axes.size(theirs) != Some(1) {
                            self.join(place, axis, theirs);
                        }
                    }
                    _ => *mine = Some(theirs),
                }
            }
        }
        dims.into_iter().flatten().collect()
    }

    fn broadcasting(&mut self, op: Op, values: &[ValueId], is_index: bool) -> ValueId {
        let shapes: Vec<_> = values.iter().map(|&value| self.dims(value).to_vec()).collect();
        let dims = self.broadcast(op.name(), &shapes);
        let value = self.node1(op, values, dims);
        self.index(value, is_index)
    }

    /// Sum or product of values, which may be integers.
    pub fn arithmetic(&mut self, op: Op, values: &[ValueId]) -> ValueId {
        let is_index = values.iter().all(|&value| self.is_index(value));
        self.broadcasting(op, values, is_index)
    }

    /// A function of two values, element by element.
    pub fn binary(&mut self, binary: Binary, x: ValueId, y: ValueId) -> ValueId {
        self.arithmetic(Op::Binary(binary), &[x, y])
    }

    /// A relation of two values, element by element.
    pub fn relation(&mut self, relation: Relation, x: ValueId, y: ValueId) -> ValueId {
        self.broadcasting(Op::Relation(relation), &[x, y], true)
    }

    /// `x` where `condition` is true, elsewhere `y`.
    pub fn choose(&mut self, condition: ValueId, x: ValueId, y: ValueId) -> ValueId {
        let is_index = self.is_index(x) && self.is_index(y);
        self.broadcasting(Op::Where, &[condition, x, y], is_index)
    }

    /// An operation that keeps the shape, and integers integers.
    pub fn pointwise(&mut self, x: ValueId, op: Op) -> ValueId {
        let is_index = match op {
            Op::ToReal => false,
            Op::ToIndex { .. } | Op::Unary(Unary::Not) => true,
            _ => self.is_index(x),
        };
        let value = self.unary(x, op);
        self.index(value, is_index)
    }

    /// Dimensions in another order.
    pub fn transpose(&mut self, x: ValueId, order: &[usize]) -> ValueId {
        let dims = self.dims(x).to_vec();
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..dims.len()) {
            let allowed = format!("each of {} dimensions once", dims.len());
            self.attribute("transpose", "order", format!("{order:?}"), allowed);
            return x;
        }
        let is_index = self.is_index(x);
        let dims = order.iter().map(|&dim| dims[dim]).collect();
        let value = self.node1(Op::Transpose { order: order.to_vec() }, &[x], dims);
        self.index(value, is_index)
    }

    /// Sizes that extents stand for; inputs are `x` and then `like`.
    fn extents(&self, inputs: &[ValueId], to: &[Extent]) -> Vec<Option<AxisId>> {
        let like = |input: usize, dim: usize| {
            inputs.get(input).and_then(|&value| self.dims(value).get(dim).copied())
        };
        to.iter()
            .map(|extent| match *extent {
                Extent::Like { input, dim } => like(input, dim),
                Extent::Fixed(_) | Extent::Infer => None,
            })
            .collect()
    }

    fn check_extents(&mut self, place: &'static str, inputs: &[ValueId], to: &[Extent], infer: usize) -> bool {
        let n_infer = to.iter().filter(|&&extent| extent == Extent::Infer).count();
        let is_known = to.iter().zip(self.extents(inputs, to)).all(|(extent, axis)| {
            axis.is_some() || !matches!(extent, Extent::Like { .. })
        });
        if n_infer > infer || !is_known {
            self.attribute(place, "shape", format!("{to:?}"), "sizes of dimensions that are there");
            return false;
        }
        true
    }

    /// The same elements in another shape. Dimensions that stay keep their axes, those that are cut or joined become
    /// products.
    pub fn reshape(&mut self, x: ValueId, like: &[ValueId], to: &[Extent]) -> ValueId {
        let inputs: Vec<_> = std::iter::once(x).chain(like.iter().copied()).collect();
        if !self.check_extents("reshape", &inputs, to, 1) {
            return x;
        }
        let from = self.dims(x).to_vec();
        let named = self.extents(&inputs, to);
        let size_of = |builder: &Self, at: usize| match to[at] {
            Extent::Fixed(size) => Some(size),
            _ => named[at].and_then(|axis| builder.axes.size(axis)),
        };
        let mut dims: Vec<Option<AxisId>> = vec![None; to.len()];
        let (mut i, mut j) = (0, 0);
        while i < from.len() && j < to.len() {
            let (mut i_end, mut j_end) = (i + 1, j + 1);
            if named[j] == Some(from[i]) {
                dims[j] = Some(from[i]);
            } else {
                let (Some(mut a), Some(mut b)) = (self.axes.size(from[i]), size_of(self, j)) else { break };
                while a != b {
                    let (side, size) = if a < b {
                        i_end += 1;
                        (&mut a, from.get(i_end - 1).and_then(|&axis| self.axes.size(axis)))
                    } else {
                        j_end += 1;
                        (&mut b, (j_end <= to.len()).then(|| size_of(self, j_end - 1)).flatten())
                    };
                    let Some(product) = size.and_then(|size| side.checked_mul(size)) else { break };
                    *side = product;
                }
                if a != b {
                    break;
                }
                self.regroup(&from[i..i_end], &mut dims[j..j_end], &to[j..j_end]);
            }
            (i, j) = (i_end, j_end);
        }
        // What could not be lined up from the left is lined up from the right, one by one.
        let (mut i_end, mut j_end) = (from.len(), to.len());
        while i_end > i && j_end > j {
            let same = named[j_end - 1] == Some(from[i_end - 1])
                || (size_of(self, j_end - 1).is_some()
                    && size_of(self, j_end - 1) == self.axes.size(from[i_end - 1]));
            if !same {
                break;
            }
            (i_end, j_end) = (i_end - 1, j_end - 1);
            dims[j_end] = Some(from[i_end]);
        }
        for at in j..j_end {
            dims[at] = dims[at].or(named[at]).or_else(|| Some(self.axes.fresh(size_of(self, at))));
        }
        let dims: Vec<_> = dims
            .into_iter()
            .enumerate()
            .map(|(at, axis)| axis.unwrap_or_else(|| self.axes.fresh(size_of(self, at))))
            .collect();
        let known = |axes: &[AxisId], builder: &Self| {
            axes.iter().try_fold(1usize, |all, &axis| builder.axes.size(axis)?.checked_mul(all))
        };
        if let (Some(left), Some(right)) = (known(&from, self), known(&dims, self))
            && left != right
            && !to.contains(&Extent::Infer)
        {
            self.attribute("reshape", "number of elements", right, left.to_string());
        }
        let is_index = self.is_index(x);
        let value = self.node1(Op::Reshape { to: to.to_vec() }, &inputs, dims);
        self.index(value, is_index)
    }

    /// Axes of dimensions that take the place of others with as many elements.
    fn regroup(&mut self, from: &[AxisId], dims: &mut [Option<AxisId>], to: &[Extent]) {
        if from.len() == 1 && dims.len() == 1 {
            dims[0] = Some(from[0]);
            return;
        }
        if dims.len() == 1 {
            dims[0] = Some(self.product(from));
            return;
        }
        for (dim, extent) in dims.iter_mut().zip(to) {
            if let Extent::Fixed(size) = *extent {
                *dim = Some(self.axes.fresh(Some(size)));
            }
        }
        let parts: Option<Vec<_>> = dims.iter().copied().collect();
        if let Some(parts) = parts {
            let (old, new) = (self.product(from), self.product(&parts));
            self.join("reshape", old, new);
        }
    }

    /// Dimensions of size one repeated. `Infer` keeps the size that is there.
    pub fn expand(&mut self, x: ValueId, like: &[ValueId], to: &[Extent]) -> ValueId {
        let inputs: Vec<_> = std::iter::once(x).chain(like.iter().copied()).collect();
        let rank = self.dims(x).len();
        if !self.check_extents("expand", &inputs, to, to.len()) || to.len() < rank {
            self.attribute("expand", "dimensions", to.len(), format!("at least {rank}"));
            return x;
        }
        let skip = to.len() - rank;
        let named = self.extents(&inputs, to);
        let mut dims = Vec::new();
        for at in 0..to.len() {
            let own = at.checked_sub(skip).map(|dim| self.dims(x)[dim]);
            let kept = own.filter(|&axis| self.axes.size(axis) != Some(1));
            let axis = match (to[at], kept) {
                (_, Some(axis)) => axis,
                (Extent::Infer, None) => own.unwrap_or_else(|| self.axes.fresh(Some(1))),
                (Extent::Fixed(size), None) => self.axes.fresh(Some(size)),
                (Extent::Like { .. }, None) => named[at].unwrap_or(AxisId(0)),
            };
            dims.push(axis);
        }
        let is_index = self.is_index(x);
        let value = self.node1(Op::Expand { to: to.to_vec() }, &inputs, dims);
        self.index(value, is_index)
    }

    /// Several numbers made one.
    pub fn reduce(&mut self, x: ValueId, by: Reduction, over: &[usize], keep: bool) -> ValueId {
        if over.iter().any(|&dim| !self.checked_dim(by.name(), x, dim)) {
            return x;
        }
        let mut dims = Vec::new();
        for (at, axis) in self.dims(x).to_vec().into_iter().enumerate() {
            if !over.contains(&at) {
                dims.push(axis);
            } else if keep {
                dims.push(self.axes.fresh(Some(1)));
            }
        }
        let is_index = self.is_index(x);
        let value = self.node1(Op::Reduce { by, dims: over.to_vec(), keep }, &[x], dims);
        self.index(value, is_index)
    }

    /// Elements `start, start + step, …` before `end` of a dimension.
    pub fn slice(&mut self, x: ValueId, dim: usize, start: usize, end: usize, step: usize) -> ValueId {
        if !self.checked_dim("slice", x, dim) {
            return x;
        }
        if step == 0 || start >= end {
            self.attribute("slice", "range", format!("{start}..{end} by {step}"), "at least one element");
            return x;
        }
        let mut dims = self.dims(x).to_vec();
        let size = self.axes.size(dims[dim]).map(|size| end.min(size).saturating_sub(start).div_ceil(step));
        dims[dim] = self.axes.fresh(size);
        let is_index = self.is_index(x);
        let value = self.node1(Op::Slice { dim, start, end, step }, &[x], dims);
        self.index(value, is_index)
    }

    /// Slices of `x` along a dimension at `indices`, whose dimensions take its place.
    pub fn gather(&mut self, x: ValueId, indices: ValueId, dim: usize) -> ValueId {
        if !self.checked_dim("gather", x, dim) {
            return x;
        }
        let mut dims = self.dims(x).to_vec();
        dims.splice(dim..=dim, self.dims(indices).to_vec());
        let is_index = self.is_index(x);
        let value = self.node1(Op::Gather { dim }, &[x, indices], dims);
        self.index(value, is_index)
    }

    /// Elements of `x` along a dimension at `indices`, which have the shape of what comes out.
    pub fn gather_elements(&mut self, x: ValueId, indices: ValueId, dim: usize) -> ValueId {
        if !self.checked_dim("gather_elements", x, dim) {
            return x;
        }
        let dims = self.dims(indices).to_vec();
        let is_index = self.is_index(x);
        let value = self.node1(Op::GatherElements { dim }, &[x, indices], dims);
        self.index(value, is_index)
    }

    /// `0, 1, …, n − 1`, where n may be the size of a dimension of `like[0]`, `like[1]`…
    pub fn positions(&mut self, like: &[ValueId], n: Extent) -> ValueId {
        if n == Extent::Infer || !self.check_extents("positions", like, &[n], 0) {
            self.attribute("positions", "number", format!("{n:?}"), "a size that is known or that of an input");
        }
        let axis = match n {
            Extent::Fixed(size) => self.axes.fresh(Some(size)),
            _ => self.extents(like, &[n])[0].unwrap_or(AxisId(0)),
        };
        let value = self.node1(Op::Positions { n }, like, vec![axis]);
        self.index(value, true)
    }

    /// Takes away what no output is computed from. Parameters stay.
    pub fn prune(&mut self) {
        let mut is_needed = vec![false; self.nodes.len()];
        let mut open: Vec<ValueId> = self.outputs.clone();
        while let Some(value) = open.pop() {
            if let Some(NodeId(from)) = self.values[value.0 as usize].from
                && !std::mem::replace(&mut is_needed[from as usize], true)
            {
                open.extend(&self.nodes[from as usize].inputs);
            }
        }
        let mut renamed = vec![None; self.values.len()];
        let mut values = Vec::new();
        let mut new_node = 0;
        let mut node_names = vec![NodeId(0); self.nodes.len()];
        for (at, needed) in is_needed.iter().enumerate() {
            node_names[at] = NodeId(new_node);
            new_node += u32::from(*needed);
        }
        for (at, value) in std::mem::take(&mut self.values).into_iter().enumerate() {
            let stays = value.from.is_none_or(|NodeId(from)| is_needed[from as usize]);
            if stays {
                renamed[at] = Some(ValueId(values.len() as u32));
                let from = value.from.map(|NodeId(from)| node_names[from as usize]);
                values.push(crate::Value { from, ..value });
            }
        }
        self.values = values;
        let rename = |ids: &mut Vec<ValueId>| {
            for id in ids {
                *id = renamed[id.0 as usize].unwrap_or(*id);
            }
        };
        let mut at = 0;
        self.nodes.retain(|_| {
            at += 1;
            is_needed[at - 1]
        });
        for node in &mut self.nodes {
            rename(&mut node.inputs);
            rename(&mut node.outputs);
        }
        rename(&mut self.inputs);
        rename(&mut self.outputs);
    }
}

impl Network {
    /// Parameters that no operation reads.
    pub fn unread(&self) -> impl Iterator<Item = ParamId> {
        let mut is_read = vec![false; self.params.len()];
        for param in self.nodes.iter().flat_map(|node| node.op.params()) {
            is_read[param.0 as usize] = true;
        }
        (0..self.params.len()).filter(move |&at| !is_read[at]).map(|at| ParamId(at as u32))
    }
}
