//! A sparse matrix times a dense one, row by row.

use epoch0_num::graph::Sparse;

use super::{Job, Real, by_rows, run, tensor, vectors};
use crate::Tensor;

/// Adds the products of the rows from `first` on to `out`, whose rows are `width` long.
#[inline(always)]
fn rows<T: Real>(operator: &Sparse, first: usize, width: usize, x: &[T], out: &mut [T]) {
    for (at, row) in out.chunks_exact_mut(width).enumerate() {
        for (column, value) in operator.row(first + at) {
            let value = T::of(value);
            for (sum, &x) in row.iter_mut().zip(&x[column * width..(column + 1) * width]) {
                *sum += value * x;
            }
        }
    }
}

struct Times<'a>(&'a Sparse, usize);

impl Job for Times<'_> {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let Self(operator, width) = self;
        let mut out = vec![T::ZERO; operator.n_rows() * width];
        by_rows(&mut out, width, &|first, out| {
            vectors(
                #[inline(always)]
                || rows(operator, first, width, inputs[0], out),
            );
        });
        tensor(out, &[operator.n_rows(), width])
    }
}

/// `operator · x`, where there is a quick way.
pub(crate) fn times(operator: &Sparse, x: &Tensor) -> Option<Tensor> {
    let [_, width] = x.shape()[..] else { return None };
    if width == 0 {
        return None;
    }
    run(&[x], Times(operator, width))
}
