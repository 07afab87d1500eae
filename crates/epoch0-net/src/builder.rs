//! Building a network, operation by operation.

use std::collections::HashMap;

use epoch0_num::{Activation, Dtype};

mod general;
mod graft;
mod learned;
mod named;
mod poincare;
mod spiking;

pub use graft::Link;
pub use named::{NamedConv, NamedLinear, NamedNorm, NamedRecurrent};

use crate::axis::{Clash, Couplings};
use crate::{
    Attention, AxisId, Fixed, Layout, NetError, Network, Node, NodeId, NormKind, Op, Param, ParamId, Pool,
    Role, Source, Structure, Tie, Value, ValueId, Window,
};

/// A linear map to be added: see [`Builder::linear`].
#[derive(Clone, Debug)]
pub struct Linear {
    out: usize,
    bias: bool,
    layout: Layout,
    role: Role,
    names: Option<(String, String)>,
}

impl Linear {
    /// A map to `out` units with a bias, stored `[out, in]`.
    pub fn new(out: usize) -> Self {
        Self { out, bias: true, layout: Layout::OutIn, role: Role::Weight, names: None }
    }

    /// With a bias, or without.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Stored `[in, out]`, as GPT-2's `Conv1D`.
    #[must_use]
    pub fn in_out(mut self) -> Self {
        self.layout = Layout::InOut;
        self
    }

    /// What the weight is for, if more than [`Role::Weight`].
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// Full names of weight and bias, where they are not `NAME.weight` and `NAME.bias`.
    #[must_use]
    pub fn named(mut self, weight: &str, bias: &str) -> Self {
        self.names = Some((weight.to_owned(), bias.to_owned()));
        self
    }
}

/// How many heads a packed or separate projection serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of heads.
    pub count: usize,
    /// Size of one.
    pub dim: usize,
}

impl Head {
    /// Size of all heads together.
    pub const fn width(self) -> usize {
        self.count * self.dim
    }
}

/// Builds a [`Network`]. The first mistake is kept and returned by [`Builder::finish`], so calls chain freely.
#[derive(Debug)]
pub struct Builder {
    name: String,
    source: Source,
    dtype: Dtype,
    axes: Couplings,
    params: Vec<Param>,
    by_name: HashMap<String, ParamId>,
    values: Vec<Value>,
    nodes: Vec<Node>,
    inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    ties: Vec<(String, String)>,
    blocks: Vec<String>,
    block: Option<usize>,
    maps: Option<learned::Maps>,
    steps: Option<usize>,
    error: Option<NetError>,
}

impl Builder {
    /// An empty network whose parameters are stored as `dtype`.
    pub fn new(name: &str, source: Source, dtype: Dtype) -> Self {
        Self {
            name: name.to_owned(),
            source,
            dtype,
            axes: Couplings::default(),
            params: Vec::new(),
            by_name: HashMap::new(),
            values: Vec::new(),
            nodes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            ties: Vec::new(),
            blocks: Vec::new(),
            block: None,
            maps: None,
            steps: None,
            error: None,
        }
    }

    /// What follows stands in a block of that name, until [`Builder::end_block`].
    pub fn block(&mut self, name: &str) {
        self.block = Some(self.blocks.len());
        self.blocks.push(name.to_owned());
    }

    /// What follows stands in no block.
    pub fn end_block(&mut self) {
        self.block = None;
    }

    /// Keeps a mistake, if it is the first.
    pub fn refuse(&mut self, error: NetError) {
        self.error.get_or_insert(error);
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers pass numbers and texts as they have them")]
    fn attribute(&mut self, place: &str, name: &'static str, got: impl ToString, allowed: impl Into<String>) {
        self.refuse(NetError::Attribute {
            place: place.to_owned(),
            name,
            got: got.to_string(),
            allowed: allowed.into(),
        });
    }

    fn join(&mut self, place: &str, a: AxisId, b: AxisId) {
        if let Err(Clash(left, right)) = self.axes.join(a, b) {
            self.refuse(NetError::Sizes { place: place.to_owned(), left, right, hint: String::new() });
        }
    }

    fn dims(&self, value: ValueId) -> &[AxisId] {
        &self.values[value.0 as usize].dims
    }

    fn last(&self, value: ValueId) -> AxisId {
        self.dims(value).last().copied().unwrap_or(AxisId(0))
    }

    fn with_last(&self, value: ValueId, last: AxisId) -> Vec<AxisId> {
        let mut dims = self.dims(value).to_vec();
        if let Some(end) = dims.last_mut() {
            *end = last;
        }
        dims
    }

    fn product(&mut self, parts: &[AxisId]) -> AxisId {
        // A factor of one would make an axis a part of itself once it is joined with the product.
        let parts: Vec<_> = parts.iter().copied().filter(|&part| self.axes.size(part) != Some(1)).collect();
        match parts.as_slice() {
            [] => self.axes.fresh(Some(1)),
            [one] => *one,
            _ => self.axes.structured(Structure::Product(parts)),
        }
    }

    /// Size of a dimension of a value (negative from the end), where it is known.
    pub fn size(&self, value: ValueId, dim: isize) -> Option<usize> {
        let dims = self.dims(value);
        let at = if dim < 0 { dims.len().checked_sub(dim.unsigned_abs())? } else { dim as usize };
        dims.get(at).and_then(|&axis| self.axes.size(axis))
    }

    /// Names the axis of a value's dimension (negative from the end).
    pub fn name_axis(&mut self, value: ValueId, dim: isize, name: &str) {
        let dims = self.dims(value);
        let at = if dim < 0 { dims.len().wrapping_sub(dim.unsigned_abs()) } else { dim as usize };
        if let Some(&axis) = dims.get(at) {
            self.axes.name(axis, 2, name);
        }
    }

    fn value(&mut self, dims: Vec<AxisId>) -> ValueId {
        let id = ValueId(self.values.len() as u32);
        self.values.push(Value { dims, from: None, name: None, is_index: false });
        id
    }

    /// An input of the network; sizes that only a run decides are `None`.
    pub fn input(&mut self, name: &str, sizes: &[Option<usize>]) -> ValueId {
        let dims = sizes.iter().map(|&size| self.axes.fresh(size)).collect();
        let id = self.value(dims);
        self.values[id.0 as usize].name = Some(name.to_owned());
        self.inputs.push(id);
        id
    }

    /// An input of integers: words, positions, classes.
    pub fn index_input(&mut self, name: &str, sizes: &[Option<usize>]) -> ValueId {
        let id = self.input(name, sizes);
        self.values[id.0 as usize].is_index = true;
        id
    }

    /// Makes a value an output of the network.
    pub fn output(&mut self, value: ValueId, name: &str) {
        self.values[value.0 as usize].name.get_or_insert_with(|| name.to_owned());
        self.outputs.push(value);
    }

    /// The parameter of that name, already declared.
    pub fn find(&self, name: &str) -> Option<ParamId> {
        self.by_name.get(name).copied()
    }

    fn declare(&mut self, name: &str, role: Role, axes: Vec<AxisId>) -> ParamId {
        let id = ParamId(self.params.len() as u32);
        if self.by_name.insert(name.to_owned(), id).is_some() {
            self.refuse(NetError::Duplicate(name.to_owned()));
        }
        let shape: Vec<usize> = axes.iter().map(|&axis| self.axes.size(axis).unwrap_or(0)).collect();
        if shape.contains(&0) {
            self.attribute(name, "shape", format!("{shape:?}"), "sizes of at least 1, known in advance");
        }
        if shape
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(size))
            .is_none_or(|n| n > 1 << 48)
        {
            self.attribute(name, "shape", format!("{shape:?}"), "at most 2^48 elements");
        }
        let dtype = if role == Role::BatchCount { Dtype::I64 } else { self.dtype };
        self.params.push(Param {
            name: name.to_owned(),
            shape,
            dtype,
            role,
            axes,
            native: None,
            fixed: None,
            padding_row: None,
        });
        id
    }

    fn node(&mut self, op: Op, inputs: &[ValueId], outputs: Vec<Vec<AxisId>>) -> Vec<ValueId> {
        let id = NodeId(self.nodes.len() as u32);
        let outputs: Vec<_> = outputs
            .into_iter()
            .map(|dims| {
                let value = self.value(dims);
                self.values[value.0 as usize].from = Some(id);
                value
            })
            .collect();
        self.nodes.push(Node { op, inputs: inputs.to_vec(), outputs: outputs.clone(), block: self.block });
        outputs
    }

    fn node1(&mut self, op: Op, inputs: &[ValueId], dims: Vec<AxisId>) -> ValueId {
        self.node(op, inputs, vec![dims])[0]
    }

    /// `x W (+ b)` over the last dimension of `x`: parameters `NAME.weight` and `NAME.bias`.
    pub fn linear(&mut self, x: ValueId, name: &str, linear: Linear) -> ValueId {
        let input = self.last(x);
        let out = self.axes.fresh(Some(linear.out));
        self.axes.name(out, 1, &format!("{name}.out"));
        let (weight, bias) =
            linear.names.unwrap_or_else(|| (format!("{name}.weight"), format!("{name}.bias")));
        let axes = match linear.layout {
            Layout::OutIn => vec![out, input],
            Layout::InOut => vec![input, out],
        };
        let weight = self.declare(&weight, linear.role, axes);
        let bias = linear.bias.then(|| self.declare(&bias, Role::Bias, vec![out]));
        let dims = self.with_last(x, out);
        self.node1(Op::Linear { weight, bias, layout: linear.layout }, &[x], dims)
    }

    /// A linear map whose weight is a table declared before (`[out, in]`), with a bias of its own where one is named.
    pub fn linear_tied(&mut self, x: ValueId, table: &str, bias: Option<&str>) -> ValueId {
        let Some(weight) = self.find(table) else {
            self.refuse(NetError::Tie { alias: "readout".to_owned(), target: table.to_owned() });
            return x;
        };
        let [out, input] = self.params[weight.0 as usize].axes[..] else {
            self.attribute(table, "shape", "not a matrix", "two dimensions");
            return x;
        };
        let last = self.last(x);
        self.join(table, input, last);
        let bias = bias.map(|name| self.declare(name, Role::Bias, vec![out]));
        let dims = self.with_last(x, out);
        self.node1(Op::Linear { weight, bias, layout: Layout::OutIn }, &[x], dims)
    }

    /// A convolution of `[batch, channels, space…]`: parameters `NAME.weight` `[out, in / groups, kernel…]` and,
    /// with `bias`, `NAME.bias`.
    pub fn conv(
        &mut self,
        x: ValueId,
        name: &str,
        out: usize,
        window: Window,
        groups: usize,
        bias: bool,
    ) -> ValueId {
        let n_space = window.kernel.len();
        if self.dims(x).len() != n_space + 2 {
            let got = self.dims(x).len();
            self.attribute(name, "input dimensions", got, (n_space + 2).to_string());
            return x;
        }
        let input = self.dims(x)[1];
        let n_in = self.axes.size(input).unwrap_or(0);
        if groups == 0 || !n_in.is_multiple_of(groups) || !out.is_multiple_of(groups) {
            self.attribute(name, "groups", groups, format!("a divisor of {n_in} inputs and {out} outputs"));
            return x;
        }
        let (out_axis, in_axis) = if groups == 1 {
            (self.axes.fresh(Some(out)), input)
        } else {
            let group = self.axes.fresh(Some(groups));
            let (per_out, per_in) =
                (self.axes.fresh(Some(out / groups)), self.axes.fresh(Some(n_in / groups)));
            let whole_in = self.product(&[group, per_in]);
            self.join(name, input, whole_in);
            // A depthwise convolution keeps its channels: the product is the group axis, hence the input's.
            (self.product(&[group, per_out]), per_in)
        };
        self.axes.name(out_axis, 1, &format!("{name}.out"));
        let mut axes = vec![out_axis, in_axis];
        for &size in &window.kernel {
            let kernel = self.axes.fresh(Some(size));
            self.axes.name(kernel, 1, &format!("{name}.kernel"));
            axes.push(kernel);
        }
        let weight = self.declare(&format!("{name}.weight"), Role::Weight, axes);
        let bias = bias.then(|| self.declare(&format!("{name}.bias"), Role::Bias, vec![out_axis]));
        let Some(dims) = self.spatial(x, name, out_axis, &window) else { return x };
        self.node1(Op::Conv { weight, bias, window, groups, transposed: false }, &[x], dims)
    }

    /// Dimensions after a window slid over `x`; `None`, with the mistake kept, when it does not fit.
    fn spatial(&mut self, x: ValueId, name: &str, channels: AxisId, window: &Window) -> Option<Vec<AxisId>> {
        self.slid(x, name, channels, window, Window::output)
    }

    /// As [`Builder::spatial`], with the rule for a dimension's size.
    fn slid(
        &mut self,
        x: ValueId,
        name: &str,
        channels: AxisId,
        window: &Window,
        rule: fn(&Window, usize, usize) -> Option<usize>,
    ) -> Option<Vec<AxisId>> {
        let mut dims = vec![self.dims(x)[0], channels];
        for dim in 0..window.kernel.len() {
            let size = match self.size(x, dim as isize + 2) {
                None => None,
                Some(size) => {
                    let slid = rule(window, dim, size);
                    if slid.is_none() {
                        let (kernel, padded) = (window.kernel[dim], size + 2 * window.padding[dim]);
                        let allowed = format!("at most the padded input, {padded} wide");
                        self.attribute(name, "kernel", kernel, allowed);
                        return None;
                    }
                    slid
                }
            };
            dims.push(self.axes.fresh(size));
        }
        Some(dims)
    }

    /// Rows of a table `NAME.weight` `[entries, width]`. The row `padding` stays zero.
    pub fn embedding(
        &mut self,
        ids: ValueId,
        name: &str,
        entries: usize,
        width: usize,
        role: Role,
        padding: Option<usize>,
    ) -> ValueId {
        let (rows, out) = (self.axes.fresh(Some(entries)), self.axes.fresh(Some(width)));
        self.axes.name(rows, 1, &format!("{name}.rows"));
        self.axes.name(out, 1, &format!("{name}.out"));
        let table = self.declare(&format!("{name}.weight"), role, vec![rows, out]);
        if let Some(row) = padding {
            if row >= entries {
                self.attribute(name, "padding row", row, format!("less than {entries}, the table's rows"));
            }
            self.params[table.0 as usize].padding_row = Some(row);
        }
        let mut dims = self.dims(ids).to_vec();
        dims.push(out);
        self.node1(Op::Embedding { table }, &[ids], dims)
    }

    /// Says that the source computes the table `name` instead of drawing it.
    pub fn fix(&mut self, name: &str, fixed: Fixed) {
        match self.find(name) {
            Some(id) if self.params[id.0 as usize].shape.len() == 2 => {
                self.params[id.0 as usize].fixed = Some(fixed);
            }
            _ => self.attribute(name, "shape", "not that of a table", "two dimensions"),
        }
    }

    /// Rows of a table that is declared already (T5's decoder reads the words of the encoder).
    pub fn embedding_tied(&mut self, ids: ValueId, table: &str) -> ValueId {
        let Some(id) = self.find(table) else {
            self.refuse(NetError::Tie { alias: "embedding".to_owned(), target: table.to_owned() });
            return ids;
        };
        let [_, out] = self.params[id.0 as usize].axes[..] else {
            self.attribute(table, "shape", "not a matrix", "two dimensions");
            return ids;
        };
        let mut dims = self.dims(ids).to_vec();
        dims.push(out);
        self.node1(Op::Embedding { table: id }, &[ids], dims)
    }

    /// A parameter as a value. Its last dimension is coupled with others by what it is added to or multiplied with.
    pub fn param(&mut self, name: &str, shape: &[usize], role: Role) -> ValueId {
        let axes: Vec<_> = shape.iter().map(|&size| self.axes.fresh(Some(size))).collect();
        for &axis in &axes {
            self.axes.name(axis, 1, name);
        }
        let id = self.declare(name, role, axes.clone());
        self.node1(Op::Param(id), &[], axes)
    }

    /// A normalization: parameters `NAME.weight` and `NAME.bias`, and for [`NormKind::Batch`] the buffers
    /// `NAME.running_mean`, `NAME.running_var` and `NAME.num_batches_tracked`.
    pub fn norm(&mut self, x: ValueId, name: &str, kind: NormKind, eps: f64, shift: bool) -> ValueId {
        let over = match kind {
            NormKind::Layer | NormKind::Rms { .. } => self.last(x),
            NormKind::Batch | NormKind::Group { .. } | NormKind::LayerChannelsFirst => {
                self.dims(x).get(1).copied().unwrap_or(AxisId(0))
            }
        };
        let scale = Some(self.declare(&format!("{name}.weight"), Role::NormScale, vec![over]));
        let shift = shift.then(|| self.declare(&format!("{name}.bias"), Role::NormShift, vec![over]));
        let running = (kind == NormKind::Batch).then(|| {
            [
                self.declare(&format!("{name}.running_mean"), Role::RunningMean, vec![over]),
                self.declare(&format!("{name}.running_var"), Role::RunningVar, vec![over]),
                self.declare(&format!("{name}.num_batches_tracked"), Role::BatchCount, vec![]),
            ]
        });
        let dims = self.dims(x).to_vec();
        self.node1(Op::Norm { kind, eps, scale, shift, running }, &[x], dims)
    }

    /// A norm over the head dimension of packed heads (Qwen3's `q_norm`): parameter `NAME.weight` `[head.dim]`.
    pub fn head_norm(&mut self, x: ValueId, name: &str, head: Head, kind: NormKind, eps: f64) -> ValueId {
        let (count, dim) = (self.axes.fresh(Some(head.count)), self.axes.fresh(Some(head.dim)));
        let packed = self.product(&[count, dim]);
        let last = self.last(x);
        self.join(name, last, packed);
        let scale = Some(self.declare(&format!("{name}.weight"), Role::NormScale, vec![dim]));
        let dims = self.dims(x).to_vec();
        self.node1(Op::Norm { kind, eps, scale, shift: None, running: None }, &[x], dims)
    }

    /// An operation that keeps the shape and has no parameter.
    pub fn unary(&mut self, x: ValueId, op: Op) -> ValueId {
        let dims = self.dims(x).to_vec();
        self.node1(op, &[x], dims)
    }

    /// An activation.
    pub fn activation(&mut self, x: ValueId, act: Activation) -> ValueId {
        self.unary(x, Op::Activation(act))
    }

    /// Sum of values; shapes broadcast from the right.
    pub fn add(&mut self, terms: &[ValueId]) -> ValueId {
        self.elementwise(Op::Add, terms)
    }

    /// Product of values, element by element; shapes broadcast from the right.
    pub fn mul(&mut self, factors: &[ValueId]) -> ValueId {
        self.elementwise(Op::Mul, factors)
    }

    fn elementwise(&mut self, op: Op, values: &[ValueId]) -> ValueId {
        let longest =
            *values.iter().max_by_key(|&&value| self.dims(value).len()).expect("at least one operand");
        let mut dims = self.dims(longest).to_vec();
        let place = op.name();
        for &value in values {
            let other = self.dims(value).to_vec();
            let skip = dims.len() - other.len();
            for (mine, theirs) in dims[skip..].iter_mut().zip(other) {
                match (self.axes.size(*mine), self.axes.size(theirs)) {
                    (_, Some(1)) => {}
                    (Some(1), _) => *mine = theirs,
                    _ => self.join(place, *mine, theirs),
                }
            }
        }
        self.node1(op, values, dims)
    }

    /// A factor per channel: a parameter of the length of `x`'s dimension `dim`, multiplied in.
    pub fn channel_scale(&mut self, x: ValueId, name: &str, dim: usize, role: Role) -> ValueId {
        let axis = self.dims(x)[dim];
        let id = self.declare(name, role, vec![axis]);
        // Broadcast from the right: the dimensions behind the channels have size one.
        let mut dims = vec![axis];
        for _ in dim + 1..self.dims(x).len() {
            dims.push(self.axes.fresh(Some(1)));
        }
        let factor = self.node1(Op::Param(id), &[], dims);
        self.mul(&[x, factor])
    }

    /// Attention. The last dimensions of `q`, `k`, `v` are heads × head size, heads slowest.
    pub fn attention(
        &mut self,
        q: ValueId,
        k: ValueId,
        v: ValueId,
        bias: Option<ValueId>,
        attention: Attention,
    ) -> ValueId {
        let place = self.block.map_or_else(|| "attention".to_owned(), |block| self.blocks[block].clone());
        let (heads, kv_heads) = (attention.heads, attention.kv_heads);
        if kv_heads == 0 || heads == 0 || heads % kv_heads != 0 {
            self.attribute(
                &place,
                "heads",
                heads,
                format!("a multiple of the {kv_heads} key and value heads, at least 1"),
            );
            return q;
        }
        let width = |builder: &Self, value, count: usize| {
            builder.size(value, -1).filter(|width| width % count == 0).map(|width| width / count)
        };
        let (Some(dim), Some(v_dim)) = (width(self, q, heads), width(self, v, kv_heads)) else {
            let got = self.size(q, -1).unwrap_or(0);
            self.attribute(&place, "heads", heads, format!("a divisor of the width {got}"));
            return q;
        };
        let kv_axis = self.axes.fresh(Some(kv_heads));
        let group = self.axes.fresh(Some(heads / kv_heads));
        let q_axis = self.product(&[kv_axis, group]);
        let (dim_axis, v_dim_axis) = (self.axes.fresh(Some(dim)), self.axes.fresh(Some(v_dim)));
        if kv_heads > 1 && kv_heads < heads {
            self.axes.name(kv_axis, 2, &format!("{place}.kv_heads"));
            self.axes.name(group, 2, &format!("{place}.queries"));
        }
        self.axes.name(q_axis, 2, &format!("{place}.heads"));
        self.axes.name(dim_axis, 2, &format!("{place}.head_dim"));
        self.axes.name(v_dim_axis, 2, &format!("{place}.value_dim"));
        let out = self.product(&[q_axis, v_dim_axis]);
        for (value, heads, dim) in [(q, q_axis, dim_axis), (k, kv_axis, dim_axis), (v, kv_axis, v_dim_axis)] {
            let whole = self.product(&[heads, dim]);
            let last = self.last(value);
            self.join(&place, last, whole);
        }
        // The bias is broadcast to `[batch, heads, queries, keys]`.
        if let Some(bias) = bias
            && let Some(&bias_heads) = self.dims(bias).iter().rev().nth(2)
            && self.axes.size(bias_heads) != Some(1)
        {
            self.join(&place, bias_heads, q_axis);
        }
        let dims = self.with_last(q, out);
        let inputs: Vec<_> = [q, k, v].into_iter().chain(bias).collect();
        self.node1(Op::Attention(Box::new(attention)), &inputs, dims)
    }

    /// T5's bias on the attention logits of `x`, `[batch, positions, …]`, to itself: a table `NAME.weight`
    /// `[buckets, heads]`. The value is `[heads, positions, positions]`.
    pub fn relative_bias(
        &mut self,
        x: ValueId,
        name: &str,
        buckets: usize,
        heads: usize,
        max_distance: usize,
        bidirectional: bool,
    ) -> ValueId {
        let Some(&positions) = self.dims(x).get(1) else {
            let got = self.dims(x).len();
            self.attribute(name, "input dimensions", got, "at least 2");
            return x;
        };
        // Half of a direction's buckets hold one distance each, the others share the distances up to the largest.
        let exact = if bidirectional { buckets / 2 / 2 } else { buckets / 2 };
        if exact == 0 {
            self.attribute(name, "buckets", buckets, if bidirectional { "at least 4" } else { "at least 2" });
        } else if max_distance <= exact {
            self.attribute(name, "largest distance", max_distance, format!("more than {exact}"));
        }
        let (rows, heads) = (self.axes.fresh(Some(buckets)), self.axes.fresh(Some(heads)));
        self.axes.name(rows, 1, &format!("{name}.rows"));
        let table = self.declare(&format!("{name}.weight"), Role::RelativeBias, vec![rows, heads]);
        let dims = vec![heads, positions, positions];
        self.node1(Op::RelativeBias { table, buckets, max_distance, bidirectional }, &[x], dims)
    }

    /// Cuts the last dimension into consecutive parts. The names label the parts of the weight before it.
    pub fn split(&mut self, x: ValueId, parts: &[(&str, usize)]) -> Vec<ValueId> {
        let axes: Vec<_> = parts.iter().map(|(_, size)| self.axes.fresh(Some(*size))).collect();
        for (&axis, (name, _)) in axes.iter().zip(parts) {
            self.axes.name(axis, 1, name);
        }
        let packed = self.axes.structured(Structure::Concat(axes.clone()));
        let last = self.last(x);
        self.join("split", last, packed);
        let outputs = axes.into_iter().map(|axis| self.with_last(x, axis)).collect();
        let parts = parts.iter().map(|&(name, size)| (name.to_owned(), size)).collect();
        self.node(Op::Split { parts }, &[x], outputs)
    }

    /// Cuts the last dimension, heads × (parts × head size), into one value per part.
    pub fn split_in_heads(&mut self, x: ValueId, head: Head, parts: &[&str]) -> Vec<ValueId> {
        let heads = self.axes.fresh(Some(head.count));
        let axes: Vec<_> = parts.iter().map(|_| self.axes.fresh(Some(head.dim))).collect();
        for (&axis, name) in axes.iter().zip(parts) {
            self.axes.name(axis, 1, name);
        }
        let packed = self.axes.structured(Structure::Concat(axes.clone()));
        let whole = self.product(&[heads, packed]);
        let last = self.last(x);
        self.join("split in heads", last, whole);
        let outputs = axes
            .into_iter()
            .map(|axis| {
                let part = self.product(&[heads, axis]);
                self.with_last(x, part)
            })
            .collect();
        let parts = parts.iter().map(|&name| name.to_owned()).collect();
        self.node(Op::SplitInHeads { heads: head.count, parts }, &[x], outputs)
    }

    /// The values side by side along a dimension. The other dimensions broadcast from the right, as in a sum, and a
    /// value that lacks the dimension is one position of it.
    pub fn concat(&mut self, values: &[ValueId], dim: usize) -> ValueId {
        let rank = values.iter().map(|&value| self.dims(value).len()).max().unwrap_or(0);
        if dim >= rank {
            self.attribute("concat", "dimension", dim, format!("less than {rank}, the number of dimensions"));
            return values[0];
        }
        let mut dims: Vec<Option<AxisId>> = vec![None; rank];
        let mut parts = Vec::new();
        for &value in values {
            let others = self.dims(value).to_vec();
            let skip = rank - others.len();
            parts.push(if dim < skip { self.axes.fresh(Some(1)) } else { others[dim - skip] });
            for (at, theirs) in (skip..).zip(others).filter(|&(at, _)| at != dim) {
                match dims[at] {
                    Some(mine) if self.axes.size(mine) != Some(1) => {
                        if self.axes.size(theirs) != Some(1) {
                            self.join("concat", mine, theirs);
                        }
                    }
                    _ => dims[at] = Some(theirs),
                }
            }
        }
        let along = if parts.iter().all(|&part| self.axes.size(part).is_some()) {
            self.axes.structured(Structure::Concat(parts))
        } else {
            self.axes.fresh(None)
        };
        let dims = dims
            .into_iter()
            .enumerate()
            .map(|(at, axis)| if at == dim { along } else { axis.unwrap_or(along) });
        let dims = dims.collect();
        self.node1(Op::Concat { dim }, values, dims)
    }

    /// Dimensions from 1 on made one; the size of each has to be known.
    pub fn flatten(&mut self, x: ValueId) -> ValueId {
        let dims = self.dims(x).to_vec();
        let flat = self.product(&dims[1..]);
        self.node1(Op::Flatten, &[x], vec![dims[0], flat])
    }

    /// `[batch, channels, space…]` to `[batch, space, channels]`.
    pub fn space_to_sequence(&mut self, x: ValueId) -> ValueId {
        let dims = self.dims(x).to_vec();
        let space = self.product(&dims[2..]);
        self.node1(Op::SpaceToSequence, &[x], vec![dims[0], space, dims[1]])
    }

    /// Moves channels from dimension 1 to the end, or back.
    pub fn permute(&mut self, x: ValueId, channels_last: bool) -> ValueId {
        let mut dims = self.dims(x).to_vec();
        if channels_last {
            let channels = dims.remove(1);
            dims.push(channels);
        } else if let Some(channels) = dims.pop() {
            dims.insert(1, channels);
        }
        self.node1(Op::Permute { channels_last }, &[x], dims)
    }

    /// One position of dimension 1, which goes.
    pub fn select(&mut self, x: ValueId, index: i64) -> ValueId {
        let mut dims = self.dims(x).to_vec();
        dims.remove(1);
        self.node1(Op::Select { index }, &[x], dims)
    }

    /// For each row of `words` the position of dimension 1 of `x` where `token` first stands, or the largest word for
    /// `None`; the dimension goes.
    pub fn select_token(&mut self, x: ValueId, words: ValueId, token: Option<usize>) -> ValueId {
        let mut dims = self.dims(x).to_vec();
        for (at, theirs) in self.dims(words).to_vec().into_iter().enumerate().take(2) {
            self.join("select token", dims[at], theirs);
        }
        dims.remove(1);
        self.node1(Op::SelectToken { token }, &[x, words], dims)
    }

    /// Mean over a dimension, which goes.
    pub fn mean(&mut self, x: ValueId, dim: usize) -> ValueId {
        let mut dims = self.dims(x).to_vec();
        dims.remove(dim);
        self.node1(Op::Mean { dim }, &[x], dims)
    }

    /// Pooling over space; dimensions of space stay.
    pub fn pool(&mut self, x: ValueId, pool: Pool) -> ValueId {
        let channels = self.dims(x)[1];
        let dims = match &pool {
            Pool::Max(window) | Pool::Mean(window) => match self.spatial(x, "pool", channels, window) {
                Some(dims) => dims,
                None => return x,
            },
            Pool::MaxCeil(window) => match self.slid(x, "pool", channels, window, Window::output_ceil) {
                Some(dims) => dims,
                None => return x,
            },
            Pool::GlobalMean => {
                let n_space = self.dims(x).len() - 2;
                let mut dims = self.dims(x)[..2].to_vec();
                dims.extend((0..n_space).map(|_| self.axes.fresh(Some(1))));
                dims
            }
            Pool::AdaptiveMean(sizes) => {
                let mut dims = self.dims(x)[..2].to_vec();
                dims.extend(sizes.iter().map(|&size| self.axes.fresh(Some(size))));
                dims
            }
        };
        self.node1(Op::Pool(pool), &[x], dims)
    }

    /// Experts' outputs mixed by their router's logits.
    pub fn mixture(
        &mut self,
        logits: ValueId,
        experts: &[ValueId],
        top_k: usize,
        normalize: bool,
    ) -> ValueId {
        let dims = self.dims(experts[0]).to_vec();
        for &expert in &experts[1..] {
            let last = self.last(expert);
            self.join("mixture", *dims.last().expect("a value has dimensions"), last);
        }
        let inputs: Vec<_> = std::iter::once(logits).chain(experts.iter().copied()).collect();
        self.node1(Op::Mixture { top_k, normalize }, &inputs, dims)
    }

    /// `x yᵀ` over the last dimension of both, which are coupled.
    pub fn matmul_transposed(&mut self, x: ValueId, y: ValueId) -> ValueId {
        let (a, b) = (self.last(x), self.last(y));
        self.join("matmul", a, b);
        let rows = self.dims(y).first().copied().unwrap_or(b);
        let dims = self.with_last(x, rows);
        self.node1(Op::MatMulTransposed, &[x, y], dims)
    }

    /// Zeros before and after along a dimension.
    pub fn pad(&mut self, x: ValueId, dim: usize, before: usize, after: usize) -> ValueId {
        let mut dims = self.dims(x).to_vec();
        let inner = dims[dim];
        dims[dim] = if self.axes.size(inner).is_some() {
            let mut parts = Vec::new();
            for (size, part) in [(before, None), (1, Some(inner)), (after, None)] {
                if size > 0 {
                    parts.push(part.unwrap_or_else(|| self.axes.fresh(Some(size))));
                }
            }
            if parts.len() == 1 { inner } else { self.axes.structured(Structure::Concat(parts)) }
        } else {
            self.axes.fresh(None)
        };
        self.node1(Op::Pad { dim, before, after }, &[x], dims)
    }

    /// Channels dealt out: `groups × rest` made `rest × groups`.
    pub fn channel_shuffle(&mut self, x: ValueId, groups: usize) -> ValueId {
        let mut dims = self.dims(x).to_vec();
        let channels = self.axes.size(dims[1]).unwrap_or(0);
        if groups == 0 || channels == 0 || !channels.is_multiple_of(groups) {
            self.attribute("channel shuffle", "groups", groups, format!("a divisor of {channels} channels"));
            return x;
        }
        let (group, rest) = (self.axes.fresh(Some(groups)), self.axes.fresh(Some(channels / groups)));
        let before = self.product(&[group, rest]);
        self.join("channel shuffle", dims[1], before);
        dims[1] = self.product(&[rest, group]);
        self.node1(Op::ChannelShuffle { groups }, &[x], dims)
    }

    /// Says that checkpoints may call the parameter `target` by `alias` too; the alias is not stored.
    pub fn tie(&mut self, alias: &str, target: &str) {
        self.ties.push((alias.to_owned(), target.to_owned()));
    }

    /// The network, with its axes and sites derived.
    ///
    /// # Errors
    /// The first mistake made while building.
    pub fn finish(mut self) -> Result<Network, NetError> {
        let made = self.made();
        self.spikes();
        let mut ties = Vec::new();
        for (alias, target) in std::mem::take(&mut self.ties) {
            match self.find(&target) {
                Some(param) => ties.push(Tie { alias, param }),
                None => self.refuse(NetError::Tie { alias, target }),
            }
        }
        if let Some(error) = self.error {
            return Err(error);
        }
        let (axes, renamed) = self.axes.finish();
        let rename =
            |dims: &mut Vec<AxisId>| dims.iter_mut().for_each(|axis| *axis = renamed[axis.0 as usize]);
        self.params.iter_mut().for_each(|param| rename(&mut param.axes));
        self.values.iter_mut().for_each(|value| rename(&mut value.dims));
        let mut net = Network {
            name: self.name,
            source: self.source,
            params: self.params,
            values: self.values,
            nodes: self.nodes,
            inputs: self.inputs,
            outputs: self.outputs,
            axes,
            sites: Vec::new(),
            ties,
            blocks: self.blocks,
            by_name: self.by_name,
            made,
        };
        net.sites = crate::site::derive(&net);
        Ok(net)
    }
}
