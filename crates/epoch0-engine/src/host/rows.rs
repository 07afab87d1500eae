//! Softmax and its logarithm over the last dimension.

use super::sums::{First, Product, total};
use super::{Job, Real, by_rows, run, tensor, vectors};
use crate::Tensor;

const LANES: usize = 16;

#[inline(always)]
fn largest<T: Real>(row: &[T]) -> T {
    let mut lanes = [T::LOWEST; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = chunk[lane].at_least(lanes[lane]);
        }
    }
    lanes.iter().chain(rest).fold(T::LOWEST, |max, &x| x.at_least(max))
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Log,
}

#[inline(always)]
fn forward<T: Real>(kind: Kind, n: usize, x: &[T], out: &mut [T]) {
    for (row, x) in out.chunks_exact_mut(n).zip(x.chunks_exact(n)) {
        let max = largest(x);
        for (y, &x) in row.iter_mut().zip(x) {
            *y = (x - max).exp();
        }
        let sum = total(&First, row, row);
        match kind {
            Kind::Plain => {
                let by = T::of(1.0 / sum);
                row.iter_mut().for_each(|y| *y *= by);
            }
            Kind::Log => {
                let log = T::of(sum).log();
                row.iter_mut().zip(x).for_each(|(y, &x)| *y = (x - max) - log);
            }
        }
    }
}

#[inline(always)]
fn backward<T: Real>(kind: Kind, n: usize, y: &[T], cotangent: &[T], out: &mut [T]) {
    let rows = y.chunks_exact(n).zip(cotangent.chunks_exact(n));
    for (row, (y, cotangent)) in out.chunks_exact_mut(n).zip(rows) {
        let both = row.iter_mut().zip(y).zip(cotangent);
        match kind {
            Kind::Plain => {
                let mean = T::of(total(&Product, y, cotangent));
                both.for_each(|((out, &y), &cotangent)| *out = y * (cotangent - mean));
            }
            Kind::Log => {
                let sum = T::of(total(&First, cotangent, cotangent));
                both.for_each(|((out, &y), &cotangent)| *out = cotangent - y.exp() * sum);
            }
        }
    }
}

struct Forward(Kind, usize);

impl Job for Forward {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let Self(kind, n) = self;
        let x = inputs[0];
        let mut out = vec![T::ZERO; x.len()];
        by_rows(&mut out, n, &|first, out| {
            vectors(
                #[inline(always)]
                || forward(kind, n, &x[first * n..], out),
            );
        });
        tensor(out, &[x.len()])
    }
}

struct Backward(Kind, usize);

impl Job for Backward {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let Self(kind, n) = self;
        let (y, cotangent) = (inputs[0], inputs[1]);
        let mut out = vec![T::ZERO; y.len()];
        by_rows(&mut out, n, &|first, out| {
            vectors(
                #[inline(always)]
                || backward(kind, n, &y[first * n..], &cotangent[first * n..], out),
            );
        });
        tensor(out, &[y.len()])
    }
}

fn length(x: &Tensor, dim: usize) -> Option<usize> {
    let shape = x.shape();
    (dim + 1 == shape.len() && !x.is_empty()).then(|| shape[dim])
}

/// Softmax, or its logarithm, where there is a quick way.
pub(crate) fn softmax(kind: Kind, x: &Tensor, dim: usize) -> Option<Tensor> {
    let n = length(x, dim)?;
    run(&[x], Forward(kind, n)).map(|out| out.reshape(&x.shape()))
}

/// Cotangent of its input, given its output, where there is a quick way.
pub(crate) fn softmax_pull(kind: Kind, y: &Tensor, cotangent: &Tensor, dim: usize) -> Option<Tensor> {
    let n = length(y, dim)?;
    run(&[y, cotangent], Backward(kind, n)).map(|out| out.reshape(&y.shape()))
}
