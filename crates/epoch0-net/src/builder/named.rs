//! Layers whose parameters are named one by one.

use epoch0_num::Dtype;

use super::Builder;
use crate::{AxisId, Cell, Layout, NodeId, NormKind, Op, ParamId, Role, Structure, ValueId, Window};

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
