//! Operations that move elements: each is linear, and the transpose of another one here.

use crate::var::{Primitive, Var};
use crate::{Indices, Tensor};

/// A linear operation with one input: its tangent rule is itself, its cotangent rule its transpose.
pub(super) trait Linear: std::fmt::Debug + Send + Sync {
    fn value(&self, x: &Tensor) -> Tensor;
    fn again(&self, x: &Var) -> Var;
    fn transpose(&self, input: &Var, cotangent: &Var) -> Var;
}

#[derive(Debug)]
pub(super) struct Moved<L>(pub(super) L);

impl<L: Linear> Primitive for Moved<L> {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        self.0.value(inputs[0])
    }

    fn jvp(&self, _: &[Var], _: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        tangents[0].as_ref().map(|tangent| self.0.again(tangent))
    }

    fn vjp(&self, inputs: &[Var], _: &Var, cotangent: &Var, _: &[bool]) -> Vec<Option<Var>> {
        vec![Some(self.0.transpose(&inputs[0], cotangent))]
    }
}

#[derive(Debug)]
struct Reshape(Vec<usize>);

impl Linear for Reshape {
    fn value(&self, x: &Tensor) -> Tensor {
        x.reshape(&self.0)
    }

    fn again(&self, x: &Var) -> Var {
        x.reshape(&self.0)
    }

    fn transpose(&self, input: &Var, cotangent: &Var) -> Var {
        cotangent.reshape(&input.shape())
    }
}

#[derive(Debug)]
struct Permute(Vec<usize>);

impl Linear for Permute {
    fn value(&self, x: &Tensor) -> Tensor {
        x.permute(&self.0)
    }

    fn again(&self, x: &Var) -> Var {
        x.permute(&self.0)
    }

    fn transpose(&self, _: &Var, cotangent: &Var) -> Var {
        let mut back = vec![0; self.0.len()];
        for (to, &from) in self.0.iter().enumerate() {
            back[from] = to;
        }
        cotangent.permute(&back)
    }
}

#[derive(Debug)]
struct Expand(Vec<usize>);

impl Linear for Expand {
    fn value(&self, x: &Tensor) -> Tensor {
        x.expand(&self.0)
    }

    fn again(&self, x: &Var) -> Var {
        x.expand(&self.0)
    }

    fn transpose(&self, input: &Var, cotangent: &Var) -> Var {
        cotangent.sum_to(&input.shape())
    }
}

#[derive(Debug)]
struct SumTo(Vec<usize>);

impl Linear for SumTo {
    fn value(&self, x: &Tensor) -> Tensor {
        x.sum_to(&self.0)
    }

    fn again(&self, x: &Var) -> Var {
        x.sum_to(&self.0)
    }

    fn transpose(&self, input: &Var, cotangent: &Var) -> Var {
        cotangent.expand(&input.shape())
    }
}

/// Part of a dimension.
#[derive(Clone, Copy, Debug)]
struct Range {
    dim: usize,
    start: usize,
    end: usize,
    step: usize,
}

#[derive(Debug)]
struct Slice(Range);

impl Linear for Slice {
    fn value(&self, x: &Tensor) -> Tensor {
        let Range { dim, start, end, step } = self.0;
        x.slice(dim, start, end, step)
    }

    fn again(&self, x: &Var) -> Var {
        let Range { dim, start, end, step } = self.0;
        x.slice(dim, start, end, step)
    }

    fn transpose(&self, input: &Var, cotangent: &Var) -> Var {
        Var::apply(Moved(Place(self.0, input.shape())), &[cotangent])
    }
}

/// Zeros of a shape, with the input in a range.
#[derive(Debug)]
struct Place(Range, Vec<usize>);

impl Linear for Place {
    fn value(&self, x: &Tensor) -> Tensor {
        let Range { dim, start, end, step } = self.0;
        x.full_like(0.0, &self.1).slice_assign(dim, start, end, step, x)
    }

    fn again(&self, x: &Var) -> Var {
        Var::apply(Moved(Place(self.0, self.1.clone())), &[x])
    }

    fn transpose(&self, _: &Var, cotangent: &Var) -> Var {
        Var::apply(Moved(Slice(self.0)), &[cotangent])
    }
}

#[derive(Debug)]
struct Flip(usize);

impl Linear for Flip {
    fn value(&self, x: &Tensor) -> Tensor {
        x.flip(self.0)
    }

    fn again(&self, x: &Var) -> Var {
        x.flip(self.0)
    }

    fn transpose(&self, _: &Var, cotangent: &Var) -> Var {
        cotangent.flip(self.0)
    }
}

#[derive(Debug)]
struct CumulativeSum(usize);

impl Linear for CumulativeSum {
    fn value(&self, x: &Tensor) -> Tensor {
        x.cumsum(self.0)
    }

    fn again(&self, x: &Var) -> Var {
        x.cumulative_sum(self.0)
    }

    fn transpose(&self, _: &Var, cotangent: &Var) -> Var {
        cotangent.flip(self.0).cumulative_sum(self.0).flip(self.0)
    }
}

/// Slices at indices (one dimension of them) along a dimension.
#[derive(Debug)]
struct Select(usize, Indices);

impl Linear for Select {
    fn value(&self, x: &Tensor) -> Tensor {
        x.select(self.0, &self.1)
    }

    fn again(&self, x: &Var) -> Var {
        x.select(self.0, &self.1)
    }

    fn transpose(&self, input: &Var, cotangent: &Var) -> Var {
        cotangent.select_add(self.0, &self.1, &input.shape())
    }
}

/// Zeros of a shape, with the input's slices added at indices along a dimension.
#[derive(Debug)]
struct SelectAdd(usize, Indices, Vec<usize>);

impl Linear for SelectAdd {
    fn value(&self, x: &Tensor) -> Tensor {
        x.full_like(0.0, &self.2).select_add(self.0, &self.1, x)
    }

    fn again(&self, x: &Var) -> Var {
        x.select_add(self.0, &self.1, &self.2)
    }

    fn transpose(&self, _: &Var, cotangent: &Var) -> Var {
        cotangent.select(self.0, &self.1)
    }
}

/// torch's `gather`.
#[derive(Debug)]
struct Gather(usize, Indices);

impl Linear for Gather {
    fn value(&self, x: &Tensor) -> Tensor {
        x.gather(self.0, &self.1)
    }

    fn again(&self, x: &Var) -> Var {
        x.gather(self.0, &self.1)
    }

    fn transpose(&self, input: &Var, cotangent: &Var) -> Var {
        cotangent.scatter_add(self.0, &self.1, &input.shape())
    }
}

/// Zeros of a shape, with the input's elements added where [`Gather`] would have taken them.
#[derive(Debug)]
struct ScatterAdd(usize, Indices, Vec<usize>);

impl Linear for ScatterAdd {
    fn value(&self, x: &Tensor) -> Tensor {
        x.full_like(0.0, &self.2).scatter_add(self.0, &self.1, x)
    }

    fn again(&self, x: &Var) -> Var {
        x.scatter_add(self.0, &self.1, &self.2)
    }

    fn transpose(&self, _: &Var, cotangent: &Var) -> Var {
        cotangent.gather(self.0, &self.1)
    }
}

#[derive(Debug)]
struct Concat(usize);

impl Primitive for Concat {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        Tensor::concat(inputs, self.0)
    }

    fn jvp(&self, inputs: &[Var], _: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        let parts = inputs.iter().zip(tangents).map(|(input, tangent)| {
            tangent.clone().unwrap_or_else(|| Var::constant(input.value().zeros_like()))
        });
        let parts: Vec<Var> = parts.collect();
        Some(Var::concat(&parts.iter().collect::<Vec<_>>(), self.0))
    }

    fn vjp(&self, inputs: &[Var], _: &Var, cotangent: &Var, wanted: &[bool]) -> Vec<Option<Var>> {
        let mut start = 0;
        let parts = inputs.iter().zip(wanted).map(|(input, wanted)| {
            let end = start + input.shape()[self.0];
            let part = wanted.then(|| cotangent.slice(self.0, start, end, 1));
            start = end;
            part
        });
        parts.collect()
    }
}

impl Var {
    /// The same elements in another shape.
    ///
    /// # Panics
    ///
    /// When the shape has another number of elements.
    #[must_use]
    pub fn reshape(&self, shape: &[usize]) -> Self {
        if self.shape() == shape {
            return self.clone();
        }
        Self::apply(Moved(Reshape(shape.to_vec())), &[self])
    }

    /// Dimension i of the result is dimension `order[i]`.
    #[must_use]
    pub fn permute(&self, order: &[usize]) -> Self {
        if order.iter().enumerate().all(|(to, &from)| to == from) {
            return self.clone();
        }
        Self::apply(Moved(Permute(order.to_vec())), &[self])
    }

    /// Two dimensions exchanged.
    #[must_use]
    pub fn swap(&self, a: usize, b: usize) -> Self {
        let mut order: Vec<usize> = (0..self.rank()).collect();
        order.swap(a, b);
        self.permute(&order)
    }

    /// Broadcast to a shape.
    #[must_use]
    pub fn expand(&self, shape: &[usize]) -> Self {
        if self.shape() == shape {
            return self.clone();
        }
        Self::apply(Moved(Expand(shape.to_vec())), &[self])
    }

    /// The transpose of [`Var::expand`]: sums what broadcasting `shape` to this one's has repeated.
    #[must_use]
    pub fn sum_to(&self, shape: &[usize]) -> Self {
        if self.shape() == shape {
            return self.clone();
        }
        Self::apply(Moved(SumTo(shape.to_vec())), &[self])
    }

    /// Sum over dimensions, which stay with size one.
    #[must_use]
    pub fn sum_keep(&self, dims: &[usize]) -> Self {
        let mut shape = self.shape();
        dims.iter().for_each(|&dim| shape[dim] = 1);
        self.sum_to(&shape)
    }

    /// Mean over dimensions, which stay with size one.
    #[must_use]
    pub fn mean_keep(&self, dims: &[usize]) -> Self {
        let shape = self.shape();
        let n: usize = dims.iter().map(|&dim| shape[dim]).product();
        self.sum_keep(dims).scale(1.0 / n as f64)
    }

    /// Sum of all elements, without dimensions… of shape `[1]`.
    #[must_use]
    pub fn sum(&self) -> Self {
        let shape = vec![1; self.rank()];
        self.sum_to(&shape).reshape(&[1])
    }

    /// Mean of all elements, of shape `[1]`.
    #[must_use]
    pub fn mean(&self) -> Self {
        self.sum().scale(1.0 / self.value().len() as f64)
    }

    /// Elements `start, start + step, …` of a dimension, before `end`.
    #[must_use]
    pub fn slice(&self, dim: usize, start: usize, end: usize, step: usize) -> Self {
        if start == 0 && step == 1 && end == self.shape()[dim] {
            return self.clone();
        }
        Self::apply(Moved(Slice(Range { dim, start, end, step })), &[self])
    }

    /// Zeros before and after along a dimension.
    #[must_use]
    pub fn pad(&self, dim: usize, before: usize, after: usize) -> Self {
        if before == 0 && after == 0 {
            return self.clone();
        }
        let mut shape = self.shape();
        let end = before + shape[dim];
        shape[dim] = end + after;
        Self::apply(Moved(Place(Range { dim, start: before, end, step: 1 }, shape)), &[self])
    }

    /// A dimension in reverse order.
    #[must_use]
    pub fn flip(&self, dim: usize) -> Self {
        Self::apply(Moved(Flip(dim)), &[self])
    }

    /// Running sum along a dimension.
    #[must_use]
    pub fn cumulative_sum(&self, dim: usize) -> Self {
        Self::apply(Moved(CumulativeSum(dim)), &[self])
    }

    /// Slices along a dimension at indices of rank one.
    #[must_use]
    pub fn select(&self, dim: usize, rows: &Indices) -> Self {
        Self::apply(Moved(Select(dim, rows.clone())), &[self])
    }

    /// Zeros of `shape` with this one's slices added at indices of rank one along a dimension.
    #[must_use]
    pub fn select_add(&self, dim: usize, rows: &Indices, shape: &[usize]) -> Self {
        Self::apply(Moved(SelectAdd(dim, rows.clone(), shape.to_vec())), &[self])
    }

    /// torch's `gather`: indices have the result's shape.
    #[must_use]
    pub fn gather(&self, dim: usize, indices: &Indices) -> Self {
        Self::apply(Moved(Gather(dim, indices.clone())), &[self])
    }

    /// The transpose of [`Var::gather`] from a value of `shape`.
    #[must_use]
    pub fn scatter_add(&self, dim: usize, indices: &Indices, shape: &[usize]) -> Self {
        Self::apply(Moved(ScatterAdd(dim, indices.clone(), shape.to_vec())), &[self])
    }

    /// As [`Var::gather`], with the result at hand.
    pub(crate) fn gathered(&self, dim: usize, indices: &Indices, result: Tensor) -> Self {
        Self::recorded(Moved(Gather(dim, indices.clone())), &[self], result)
    }

    /// Side by side along a dimension.
    #[must_use]
    pub fn concat(parts: &[&Self], dim: usize) -> Self {
        match parts {
            [one] => (*one).clone(),
            _ => Self::apply(Concat(dim), parts),
        }
    }
}

impl Var {
    /// The largest along a dimension, which stays with size one; the first of equals has the derivative.
    #[must_use]
    pub fn max_keep(&self, dim: usize) -> Self {
        let (max, at) = self.value().max_dim(dim);
        self.gathered(dim, &at, max)
    }
}
