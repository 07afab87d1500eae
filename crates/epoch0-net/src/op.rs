//! Operations of a network.

use epoch0_num::Activation;
use epoch0_num::graph::Propagation;
use epoch0_num::rational::Rational;

use crate::{Binary, Cell, Constant, Extent, ParamId, Poincare, Reduction, Relation, Spiking, Unary};

/// How the weight of a linear map is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[out, in]`: torch's `nn.Linear`.
    OutIn,
    /// `[in, out]`: GPT-2's `Conv1D`.
    InOut,
}

/// What a normalization normalizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NormKind {
    /// Mean and variance over the last dimension.
    Layer,
    /// Mean and variance over dimension 1, channels first.
    LayerChannelsFirst,
    /// Root mean square over the last dimension; the factor is `offset + scale` (Gemma has offset 1).
    Rms {
        /// Added to the stored scale.
        offset: f64,
    },
    /// Mean and variance of each channel (dimension 1) over the batch.
    Batch,
    /// Mean and variance over groups of channels.
    Group {
        /// Number of groups.
        groups: usize,
    },
}

/// A sliding window of a spatial operation, one entry per spatial dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Size.
    pub kernel: Vec<usize>,
    /// Step.
    pub stride: Vec<usize>,
    /// Padding on both sides.
    pub padding: Vec<usize>,
    /// Distance of the taps.
    pub dilation: Vec<usize>,
}

impl Window {
    /// A square window in two dimensions, without dilation.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self {
            kernel: vec![kernel; 2],
            stride: vec![stride; 2],
            padding: vec![padding; 2],
            dilation: vec![1; 2],
        }
    }

    /// A window of one place in so many dimensions.
    pub fn pointwise(n_dims: usize) -> Self {
        let ones = || vec![1; n_dims];
        Self { kernel: ones(), stride: ones(), padding: vec![0; n_dims], dilation: ones() }
    }

    /// Size of the output for an input of `size` along spatial dimension `dim`; `None` when the window does not fit.
    pub fn output(&self, dim: usize, size: usize) -> Option<usize> {
        let reach = self.dilation[dim].checked_mul(self.kernel[dim].checked_sub(1)?)? + 1;
        let padded = size + 2 * self.padding[dim];
        Some(padded.checked_sub(reach)? / self.stride[dim].max(1) + 1)
    }

    /// As [`Window::output`], with a last window that may end beyond the padded input, as long as it begins in the
    /// input or the padding before it.
    pub fn output_ceil(&self, dim: usize, size: usize) -> Option<usize> {
        let reach = self.dilation[dim].checked_mul(self.kernel[dim].checked_sub(1)?)? + 1;
        let stride = self.stride[dim].max(1);
        let slack = (size + 2 * self.padding[dim] + stride - 1).checked_sub(reach)?;
        let n_windows = slack / stride + 1;
        let begins_behind = (n_windows - 1) * stride >= size + self.padding[dim];
        Some(n_windows - usize::from(begins_behind && n_windows > 1))
    }
}

/// Which summary a pooling takes.
#[derive(Clone, Debug, PartialEq)]
pub enum Pool {
    /// Largest value in a window.
    Max(Window),
    /// Mean in a window.
    Mean(Window),
    /// Mean over all of space, to 1 × 1.
    GlobalMean,
    /// Mean over windows that divide space into the given sizes.
    AdaptiveMean(Vec<usize>),
    /// Largest value in a window, with a last window that begins inside and ends beyond (torch's `ceil_mode`).
    MaxCeil(Window),
}

/// Rotary position embedding of queries and keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// How many of a head's dimensions rotate.
    pub dims: usize,
    /// Frequency scaling (`rope_type`, `factor`, …), with the lengths that its formula needs, keys sorted; `None` when
    /// frequencies are `theta^(-2i/dims)`.
    pub scaling: Option<serde_json::Value>,
}

/// Attention of queries to keys and values; the projections stand outside.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` query heads, which stand together.
    pub kv_heads: usize,
    /// Factor on the logits.
    pub scale: f64,
    /// Whether a position sees only itself and what came before.
    pub causal: bool,
    /// How many positions a position sees, itself included and backwards from it; all when `None`.
    pub window: Option<usize>,
    /// Rotary positions.
    pub rope: Option<Rope>,
    /// Logits become `cap · tanh(logits / cap)`.
    pub softcap: Option<f64>,
}

/// An operation. Inputs are in the node; parameters are named here.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Op {
    /// `x W (+ b)` over the last dimension.
    Linear {
        /// Weight.
        weight: ParamId,
        /// Bias.
        bias: Option<ParamId>,
        /// How the weight is stored.
        layout: Layout,
    },
    /// Convolution of `[batch, channels, space…]` with a weight `[out, in / groups, kernel…]`
    /// (transposed: `[in, out / groups, kernel…]`).
    Conv {
        /// Weight.
        weight: ParamId,
        /// Bias.
        bias: Option<ParamId>,
        /// Kernel, stride, padding, dilation.
        window: Window,
        /// Number of groups.
        groups: usize,
        /// Whether it is a transposed convolution.
        transposed: bool,
    },
    /// Rows of a table.
    Embedding {
        /// Table `[entries, width]`.
        table: ParamId,
    },
    /// Normalization.
    Norm {
        /// Over what.
        kind: NormKind,
        /// Added to the variance.
        eps: f64,
        /// Factor.
        scale: Option<ParamId>,
        /// Shift.
        shift: Option<ParamId>,
        /// Running mean, running variance and count of batches.
        running: Option<[ParamId; 3]>,
    },
    /// A parameter as a value.
    Param(ParamId),
    /// An activation, element by element.
    Activation(Activation),
    /// A learned rational function of each number, by the group of the last dimension that it stands in
    /// (Yang and Wang 2024).
    Rational {
        /// Coefficients `[1 or groups, 6]` of the numerator.
        numerator: ParamId,
        /// Coefficients `[1 or groups, 4]` of the denominator.
        denominator: ParamId,
        /// Groups of consecutive features.
        groups: usize,
        /// What it starts as, which has the form of its denominator.
        start: Box<Rational>,
    },
    /// Attention; inputs are queries, keys, values (`[batch, positions, heads × size]`), and a bias on the logits where
    /// there is one, broadcast to `[batch, heads, queries, keys]`.
    Attention(Box<Attention>),
    /// Bias on attention logits from a table `[buckets, heads]` by relative position (T5): the first half of a
    /// direction's buckets is for one distance each, the other half grows logarithmically up to `max_distance`. The
    /// input says how many positions there are.
    RelativeBias {
        /// Table.
        table: ParamId,
        /// Number of buckets.
        buckets: usize,
        /// Distance from which all positions share the last bucket.
        max_distance: usize,
        /// Whether positions ahead have buckets of their own.
        bidirectional: bool,
    },
    /// Sum of the inputs.
    Add,
    /// Product of the inputs, element by element.
    Mul,
    /// Product with a constant.
    Scale(f64),
    /// `cap · tanh(x / cap)`.
    Softcap(f64),
    /// Exponential.
    Exp,
    /// Division by the Euclidean norm over the last dimension.
    UnitNorm,
    /// Matrix product of the inputs over the last dimension of both: `x yᵀ`.
    MatMulTransposed,
    /// The inputs side by side along a dimension, the others broadcast. A shape with fewer dimensions has ones before it.
    Concat {
        /// The dimension.
        dim: usize,
    },
    /// The last dimension cut into consecutive parts.
    Split {
        /// Names and sizes of the parts.
        parts: Vec<(String, usize)>,
    },
    /// The last dimension, `heads × (parts of equal size)`, cut into one output per part (GPT-NeoX's packed attention).
    SplitInHeads {
        /// Number of heads.
        heads: usize,
        /// Names of the parts.
        parts: Vec<String>,
    },
    /// Dimensions from 1 on made one.
    Flatten,
    /// `[batch, channels, space…]` to `[batch, space, channels]`.
    SpaceToSequence,
    /// Channels moved from dimension 1 to the end, or back.
    Permute {
        /// Whether channels go to the end.
        channels_last: bool,
    },
    /// One position of dimension 1: the class token.
    Select {
        /// Which one; negative from the end.
        index: i64,
    },
    /// In each row of the second input (words), the first position of `token`, or of the largest word; the value of
    /// the first input there (CLIP's end of text).
    SelectToken {
        /// The word; `None` for the largest.
        token: Option<usize>,
    },
    /// Mean over a dimension.
    Mean {
        /// The dimension.
        dim: usize,
    },
    /// Pooling over space.
    Pool(Pool),
    /// Sum of the best `top_k` experts' outputs weighted by the softmax of their logits; inputs are the router's
    /// logits, then the output of every expert.
    Mixture {
        /// How many experts each position uses.
        top_k: usize,
        /// Whether the weights of the chosen ones are normalized to sum to one.
        normalize: bool,
    },
    /// Zeros before and after along a dimension.
    Pad {
        /// The dimension.
        dim: usize,
        /// How many before.
        before: usize,
        /// How many after.
        after: usize,
    },
    /// Channels (dimension 1) dealt out: seen as `groups × rest`, then made `rest × groups` (ShuffleNet).
    ChannelShuffle {
        /// Number of groups.
        groups: usize,
    },
    /// A layer of a recurrent network over `x [steps, batch, in]`: inputs are x and the states before the first step
    /// (`h [batch, hidden]`, for an LSTM `c` too); outputs are all hidden states `[steps, batch, hidden]` and the
    /// states after the last step.
    Recurrent {
        /// What a step computes.
        cell: Cell,
        /// Weight `[gates · hidden, in]` of what comes in.
        input_weight: ParamId,
        /// Weight `[gates · hidden, hidden]` of the state.
        state_weight: ParamId,
        /// Biases `[gates · hidden]` of both.
        biases: Option<[ParamId; 2]>,
        /// Whether steps are taken from the last to the first.
        reverse: bool,
    },
    /// Values of the network's own.
    Constant(Constant),
    /// Matrix product over the last two dimensions, the others broadcast.
    MatMul,
    /// Dimensions in another order: dimension i of the output is dimension `order[i]` of the input.
    Transpose {
        /// The order.
        order: Vec<usize>,
    },
    /// The same elements in another shape.
    Reshape {
        /// The shape.
        to: Vec<Extent>,
    },
    /// Dimensions of size one repeated; new dimensions come first.
    Expand {
        /// The shape; `Infer` keeps the size that is there.
        to: Vec<Extent>,
    },
    /// A function of one number, element by element.
    Unary(Unary),
    /// A function of two numbers, element by element.
    Binary(Binary),
    /// A relation of two values, element by element: truth values.
    Relation(Relation),
    /// The second input where the first is true, elsewhere the third; broadcast.
    Where,
    /// Numbers kept within bounds.
    Clip {
        /// Lower bound.
        min: f64,
        /// Upper bound.
        max: f64,
    },
    /// Several numbers made one, over dimensions.
    Reduce {
        /// How.
        by: Reduction,
        /// Over which dimensions.
        dims: Vec<usize>,
        /// Whether they stay, with size one.
        keep: bool,
    },
    /// `exp(x) / Σ exp(x)` over a dimension.
    Softmax {
        /// The dimension.
        dim: usize,
    },
    /// Logarithm of the softmax over a dimension.
    LogSoftmax {
        /// The dimension.
        dim: usize,
    },
    /// Elements `start, start + step, …` of a dimension, before `end`; `end` beyond the size is the size.
    Slice {
        /// The dimension.
        dim: usize,
        /// First.
        start: usize,
        /// Behind the last.
        end: usize,
        /// Step.
        step: usize,
    },
    /// A dimension in reverse order.
    Flip {
        /// The dimension.
        dim: usize,
    },
    /// The first input's slices along a dimension at the second input's indices, whose dimensions take its place.
    Gather {
        /// The dimension.
        dim: usize,
    },
    /// As torch's `gather`: indices have the output's shape.
    GatherElements {
        /// The dimension.
        dim: usize,
    },
    /// `0, 1, …, n − 1`, as integers; n is a size of an input.
    Positions {
        /// How many.
        n: Extent,
    },
    /// Running sum along a dimension.
    CumulativeSum {
        /// The dimension.
        dim: usize,
    },
    /// Features of nodes `[nodes, features]`, each made of those that edges lead from; the second input holds the edges,
    /// integers `[2, edges]`: sources, then targets.
    Propagate {
        /// How.
        by: Propagation,
    },
    /// An operation in the Poincaré ball of curvature `-curvature`.
    Poincare {
        /// Which one.
        by: Poincare,
        /// How much the ball is curved, above 0.
        curvature: f64,
    },
    /// An operation of a spiking network.
    Spiking {
        /// Which one.
        by: Spiking,
        /// Time steps of an example.
        steps: usize,
    },
    /// Integers or truth values as numbers.
    ToReal,
    /// Numbers as integers, fractions dropped, or as truth values (what is not zero is true).
    ToIndex {
        /// Whether they become truth values.
        truth: bool,
    },
}

impl Op {
    /// Parameters that the operation uses, in order.
    pub fn params(&self) -> Vec<ParamId> {
        match self {
            Self::Linear { weight, bias, .. } | Self::Conv { weight, bias, .. } => {
                std::iter::once(*weight).chain(*bias).collect()
            }
            Self::Embedding { table } | Self::RelativeBias { table, .. } => vec![*table],
            Self::Norm { scale, shift, running, .. } => {
                scale.iter().chain(shift).copied().chain(running.iter().flatten().copied()).collect()
            }
            Self::Param(param) => vec![*param],
            Self::Rational { numerator, denominator, .. } => vec![*numerator, *denominator],
            Self::Recurrent { input_weight, state_weight, biases, .. } => {
                [*input_weight, *state_weight].into_iter().chain(biases.iter().flatten().copied()).collect()
            }
            Self::Poincare { by, .. } => by.params(),
            Self::Spiking { by, .. } => by.params(),
            _ => Vec::new(),
        }
    }

    /// The same parameters, to be changed.
    pub(crate) fn params_mut(&mut self) -> Vec<&mut ParamId> {
        match self {
            Self::Linear { weight, bias, .. } | Self::Conv { weight, bias, .. } => {
                std::iter::once(weight).chain(bias).collect()
            }
            Self::Embedding { table } | Self::RelativeBias { table, .. } => vec![table],
            Self::Norm { scale, shift, running, .. } => {
                scale.iter_mut().chain(shift).chain(running.iter_mut().flatten()).collect()
            }
            Self::Param(param) => vec![param],
            Self::Rational { numerator, denominator, .. } => vec![numerator, denominator],
            Self::Recurrent { input_weight, state_weight, biases, .. } => {
                [input_weight, state_weight].into_iter().chain(biases.iter_mut().flatten()).collect()
            }
            Self::Poincare { by, .. } => by.params_mut(),
            Self::Spiking { by, .. } => by.params_mut(),
            _ => Vec::new(),
        }
    }

    /// The activation that it is, that a learned function starts as, or that rates of spikes are like.
    pub fn activation(&self) -> Option<&Activation> {
        match self {
            Self::Activation(act) => Some(act),
            Self::Rational { start, .. } => Some(&start.like),
            Self::Spiking { by: Spiking::Fire { .. }, .. } => Some(&Activation::Relu),
            _ => None,
        }
    }

    /// Name for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linear { .. } => "linear",
            Self::Conv { transposed: false, .. } => "conv",
            Self::Conv { transposed: true, .. } => "conv_transpose",
            Self::Embedding { .. } => "embedding",
            Self::Norm { kind, .. } => match kind {
                NormKind::Layer | NormKind::LayerChannelsFirst => "layer_norm",
                NormKind::Rms { .. } => "rms_norm",
                NormKind::Batch => "batch_norm",
                NormKind::Group { .. } => "group_norm",
            },
            Self::Param(_) => "param",
            Self::Activation(_) => "activation",
            Self::Rational { .. } => "rational",
            Self::Attention(_) => "attention",
            Self::RelativeBias { .. } => "relative_bias",
            Self::Add => "add",
            Self::Mul => "mul",
            Self::Scale(_) => "scale",
            Self::Softcap(_) => "softcap",
            Self::Exp => "exp",
            Self::UnitNorm => "unit_norm",
            Self::MatMulTransposed => "matmul_transposed",
            Self::Concat { .. } => "concat",
            Self::Split { .. } => "split",
            Self::SplitInHeads { .. } => "split_in_heads",
            Self::Flatten => "flatten",
            Self::SpaceToSequence => "space_to_sequence",
            Self::Permute { .. } => "permute",
            Self::Select { .. } => "select",
            Self::SelectToken { .. } => "select_token",
            Self::Mean { .. } => "mean",
            Self::Pool(_) => "pool",
            Self::Mixture { .. } => "mixture",
            Self::Pad { .. } => "pad",
            Self::ChannelShuffle { .. } => "channel_shuffle",
            Self::Recurrent { cell: Cell::Lstm, .. } => "lstm",
            Self::Recurrent { cell: Cell::Gru, .. } => "gru",
            Self::Recurrent { .. } => "rnn",
            Self::Constant(_) => "constant",
            Self::MatMul => "matmul",
            Self::Transpose { .. } => "transpose",
            Self::Reshape { .. } => "reshape",
            Self::Expand { .. } => "expand",
            Self::Unary(unary) => unary.name(),
            Self::Binary(binary) => binary.name(),
            Self::Relation(relation) => relation.name(),
            Self::Where => "where",
            Self::Clip { .. } => "clip",
            Self::Reduce { by, .. } => by.name(),
            Self::Softmax { .. } => "softmax",
            Self::LogSoftmax { .. } => "log_softmax",
            Self::Slice { .. } => "slice",
            Self::Flip { .. } => "flip",
            Self::Gather { .. } => "gather",
            Self::GatherElements { .. } => "gather_elements",
            Self::Positions { .. } => "positions",
            Self::CumulativeSum { .. } => "cumulative_sum",
            Self::Propagate { .. } => "propagate",
            Self::Poincare { by, .. } => by.name(),
            Self::Spiking { by, .. } => by.name(),
            Self::ToReal => "to_real",
            Self::ToIndex { .. } => "to_index",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_window_may_end_beyond() {
        // torch 2.15, MaxPool2d(kernel, stride, padding, ceil_mode=True): kernel, stride, padding, input, output.
        for (kernel, stride, padding, size, output) in [
            (3, 2, 0, 112, Some(56)),
            (3, 2, 0, 113, Some(56)),
            (3, 2, 0, 5, Some(2)),
            (2, 2, 0, 7, Some(4)),
            (3, 1, 1, 28, Some(28)),
            (2, 2, 1, 1, Some(1)),
            (3, 2, 0, 2, Some(1)),
            (3, 2, 0, 1, None),
        ] {
            let window = Window::square(kernel, stride, padding);
            assert_eq!(window.output_ceil(0, size), output, "{kernel} {stride} {padding} {size}");
        }
        assert_eq!(Window::square(3, 2, 0).output(0, 112), Some(55));
    }
}
