//! Matrix products.

use crate::primitive::elementwise::broadcast;
use crate::var::{Primitive, Var};
use crate::{Tensor, host};

/// Over the last two dimensions; the others are the same, or one.
#[derive(Debug)]
struct MatMul;

impl Primitive for MatMul {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        inputs[0].matmul(inputs[1])
    }

    fn jvp(&self, inputs: &[Var], _: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        let a = tangents[0].as_ref().map(|tangent| tangent.matmul(&inputs[1]));
        let b = tangents[1].as_ref().map(|tangent| inputs[0].matmul(tangent));
        match (a, b) {
            (Some(a), Some(b)) => Some(a.add(&b)),
            (a, b) => a.or(b),
        }
    }

    fn vjp(&self, inputs: &[Var], _: &Var, cotangent: &Var, wanted: &[bool]) -> Vec<Option<Var>> {
        let last = cotangent.rank() - 1;
        let t = |x: &Var| x.swap(last - 1, last);
        let right = || {
            // A weight that is read transposed gets its cotangent in the order in which it is kept.
            let found = if host::is_in_order(inputs[1].value()) {
                t(&inputs[0]).matmul(cotangent)
            } else {
                t(&t(cotangent).matmul(&inputs[0]))
            };
            found.sum_to(&inputs[1].shape())
        };
        vec![
            wanted[0].then(|| cotangent.matmul(&t(&inputs[1])).sum_to(&inputs[0].shape())),
            wanted[1].then(right),
        ]
    }
}

impl Var {
    /// Matrix product over the last two dimensions, the others broadcast. A matrix on the right is one for all.
    ///
    /// # Panics
    ///
    /// When the ranks are below two or the sizes do not fit.
    #[must_use]
    pub fn matmul(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.shape(), other.shape());
        assert!(left.len() >= 2 && right.len() >= 2, "matrix product of shapes {left:?} and {right:?}");
        if left.len() > 2 && right.len() == 2 {
            // One large product instead of many small ones.
            let (k, n) = (left[left.len() - 1], right[1]);
            let rows: usize = left[..left.len() - 1].iter().product();
            let product = Self::apply(MatMul, &[&self.reshape(&[rows, k]), other]);
            *left.last_mut().expect("at least two dimensions") = n;
            return product.reshape(&left);
        }
        let (matrix_left, matrix_right) = (left.split_off(left.len() - 2), right.split_off(right.len() - 2));
        let batch = broadcast(&left, &right);
        let fit = |x: &Self, own: &[usize], matrix: &[usize]| {
            // A size of one in the batch stays: the product broadcasts it without a copy.
            let ahead = batch.len() - own.len();
            let shape: Vec<usize> = std::iter::repeat_n(1, ahead)
                .chain(own.iter().copied())
                .chain(matrix.iter().copied())
                .collect();
            x.reshape(&shape)
        };
        Self::apply(MatMul, &[&fit(self, &left, &matrix_left), &fit(other, &right, &matrix_right)])
    }

    /// `x yᵀ` over the last two dimensions.
    #[must_use]
    pub fn matmul_transposed(&self, other: &Self) -> Self {
        let last = other.rank() - 1;
        self.matmul(&other.swap(last - 1, last))
    }
}
