//! Convolutions: three maps, each linear in both inputs, that are each other's derivatives.

use burn_backend::ops::{ConvOptions, ConvTransposeOptions, ModuleOps};
use burn_dispatch::Dispatch;

use crate::var::{Primitive, Var};
use crate::{Tensor, host};

type B = Dispatch;

/// How a kernel of one, two or three dimensions moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moves {
    /// Step, a number per spatial dimension.
    pub stride: Vec<usize>,
    /// Padding on both sides.
    pub padding: Vec<usize>,
    /// Distance of the taps.
    pub dilation: Vec<usize>,
    /// Number of groups.
    pub groups: usize,
}

fn array<const N: usize>(values: &[usize]) -> [usize; N] {
    std::array::from_fn(|at| values[at])
}

impl Moves {
    fn options<const N: usize>(&self) -> ConvOptions<N> {
        ConvOptions::new(array(&self.stride), array(&self.padding), array(&self.dilation), self.groups)
    }

    fn transposed<const N: usize>(&self, padding_out: &[usize]) -> ConvTransposeOptions<N> {
        ConvTransposeOptions::new(
            array(&self.stride),
            array(&self.padding),
            array(padding_out),
            array(&self.dilation),
            self.groups,
        )
    }

    /// Size along a spatial dimension that `size` outputs come from at least.
    pub(crate) fn reach(&self, dim: usize, size: usize, kernel: usize) -> usize {
        ((size - 1) * self.stride[dim] + self.dilation[dim] * (kernel - 1) + 1)
            .saturating_sub(2 * self.padding[dim])
    }

    /// Shape of the output.
    fn output(&self, x: &[usize], weight: &[usize]) -> Vec<usize> {
        let size = |dim: usize| {
            let reach = self.dilation[dim] * (weight[dim + 2] - 1) + 1;
            (x[dim + 2] + 2 * self.padding[dim] - reach) / self.stride[dim] + 1
        };
        [x[0], weight[0]].into_iter().chain((0..self.stride.len()).map(size)).collect()
    }

    fn forward(&self, x: &Tensor, weight: &Tensor) -> Tensor {
        if let Some(y) = host::conv::outputs(self, x, weight, &self.output(&x.shape(), &weight.shape())) {
            return y;
        }
        let (x, weight) = (x.0.clone(), weight.0.clone());
        Tensor(match self.stride.len() {
            1 => B::conv1d(x, weight, None, self.options()),
            2 => B::conv2d(x, weight, None, self.options()),
            _ => B::conv3d(x, weight, None, self.options()),
        })
    }

    /// The gradient at an input of spatial sizes `space`.
    fn input(&self, cotangent: &Tensor, weight: &Tensor, space: &[usize]) -> Tensor {
        let (sizes, kernel) = (cotangent.shape(), weight.shape());
        let shape = [&[sizes[0], kernel[1] * self.groups], space].concat();
        if let Some(x) = host::conv::inputs(self, cotangent, weight, &shape) {
            return x;
        }
        let more: Vec<usize> = (0..space.len())
            .map(|dim| {
                let full =
                    (sizes[dim + 2] - 1) * self.stride[dim] + self.dilation[dim] * (kernel[dim + 2] - 1) + 1;
                (space[dim] + 2 * self.padding[dim]).saturating_sub(full)
            })
            .collect();
        let (cotangent, weight) = (cotangent.0.clone(), weight.0.clone());
        Tensor(match space.len() {
            1 => B::conv_transpose1d(cotangent, weight, None, self.transposed(&more)),
            2 => B::conv_transpose2d(cotangent, weight, None, self.transposed(&more)),
            _ => B::conv_transpose3d(cotangent, weight, None, self.transposed(&more)),
        })
    }

    fn weight(&self, x: &Tensor, cotangent: &Tensor, shape: &[usize]) -> Tensor {
        if let Some(weight) = host::conv::weights(self, x, cotangent, shape) {
            return weight;
        }
        let weight = x.full_like(0.0, shape).0;
        let (x, cotangent) = (x.0.clone(), cotangent.0.clone());
        Tensor(match shape.len() - 2 {
            1 => B::conv1d_weight_backward(x, weight, cotangent, self.options()),
            2 => B::conv2d_weight_backward(x, weight, cotangent, self.options()),
            _ => B::conv3d_weight_backward(x, weight, cotangent, self.options()),
        })
    }
}

fn plus(a: Option<Var>, b: Option<Var>) -> Option<Var> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.add(&b)),
        (a, b) => a.or(b),
    }
}

/// `y(x, w)`.
#[derive(Debug)]
struct Conv(Moves);

impl Primitive for Conv {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        self.0.forward(inputs[0], inputs[1])
    }

    fn jvp(&self, inputs: &[Var], _: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        let by_x = tangents[0].as_ref().map(|tangent| tangent.conv(&inputs[1], &self.0));
        let by_weight = tangents[1].as_ref().map(|tangent| inputs[0].conv(tangent, &self.0));
        plus(by_x, by_weight)
    }

    fn vjp(&self, inputs: &[Var], _: &Var, cotangent: &Var, wanted: &[bool]) -> Vec<Option<Var>> {
        let (x, weight) = (&inputs[0], &inputs[1]);
        vec![
            wanted[0].then(|| cotangent.conv_input(weight, &self.0, &x.shape()[2..])),
            wanted[1].then(|| x.conv_weight(cotangent, &self.0, &weight.shape())),
        ]
    }
}

/// `x(y, w)`, the transpose of a convolution in x.
#[derive(Debug)]
struct ConvInput(Moves, Vec<usize>);

impl Primitive for ConvInput {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        self.0.input(inputs[0], inputs[1], &self.1)
    }

    fn jvp(&self, inputs: &[Var], _: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        let by_y = tangents[0].as_ref().map(|tangent| tangent.conv_input(&inputs[1], &self.0, &self.1));
        let by_weight = tangents[1].as_ref().map(|tangent| inputs[0].conv_input(tangent, &self.0, &self.1));
        plus(by_y, by_weight)
    }

    fn vjp(&self, inputs: &[Var], _: &Var, cotangent: &Var, wanted: &[bool]) -> Vec<Option<Var>> {
        let (y, weight) = (&inputs[0], &inputs[1]);
        vec![
            wanted[0].then(|| cotangent.conv(weight, &self.0)),
            wanted[1].then(|| cotangent.conv_weight(y, &self.0, &weight.shape())),
        ]
    }
}

/// `w(x, y)`, the transpose of a convolution in w.
#[derive(Debug)]
struct ConvWeight(Moves, Vec<usize>);

impl Primitive for ConvWeight {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        self.0.weight(inputs[0], inputs[1], &self.1)
    }

    fn jvp(&self, inputs: &[Var], _: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        let by_x = tangents[0].as_ref().map(|tangent| tangent.conv_weight(&inputs[1], &self.0, &self.1));
        let by_y = tangents[1].as_ref().map(|tangent| inputs[0].conv_weight(tangent, &self.0, &self.1));
        plus(by_x, by_y)
    }

    fn vjp(&self, inputs: &[Var], _: &Var, cotangent: &Var, wanted: &[bool]) -> Vec<Option<Var>> {
        let (x, y) = (&inputs[0], &inputs[1]);
        vec![
            wanted[0].then(|| y.conv_input(cotangent, &self.0, &x.shape()[2..])),
            wanted[1].then(|| x.conv(cotangent, &self.0)),
        ]
    }
}

impl Var {
    /// Convolution of `[batch, in, space…]` with `[out, in / groups, kernel…]`; up to three dimensions of space.
    #[must_use]
    pub fn conv(&self, weight: &Self, moves: &Moves) -> Self {
        Self::apply(Conv(moves.clone()), &[self, weight])
    }

    /// Transposed convolution of `[batch, out, space…]` with `[out, in / groups, kernel…]` to spatial sizes `space`.
    #[must_use]
    pub fn conv_input(&self, weight: &Self, moves: &Moves, space: &[usize]) -> Self {
        Self::apply(ConvInput(moves.clone(), space.to_vec()), &[self, weight])
    }

    /// The weight of `shape` whose product with a weight is this input's convolution's product with `output`.
    #[must_use]
    pub fn conv_weight(&self, output: &Self, moves: &Moves, shape: &[usize]) -> Self {
        Self::apply(ConvWeight(moves.clone(), shape.to_vec()), &[self, output])
    }
}
