//! Sums over some dimensions, each in a fixed order.

use rayon::prelude::*;

use super::{CHUNK, Function2, Job, Real, run, tensor, vectors};
use crate::Tensor;

/// Numbers that are added side by side.
const LANES: usize = 16;
/// Elements after which a sum goes on in double precision.
const BLOCK: usize = 2048;
/// Rows that are added at once.
const ROWS: usize = 128;

/// An array whose elements belong to groups: `[a, c, b]`, in which the middle index is the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) a: usize,
    pub(crate) c: usize,
    pub(crate) b: usize,
}

impl Layout {
    /// Where the dimensions that are kept lie side by side. (With one element, a dimension lies where it likes.)
    pub(crate) fn of(shape: &[usize], is_kept: impl Fn(usize) -> bool) -> Option<Self> {
        let kept = |dim: &usize| shape[*dim] != 1 && is_kept(*dim);
        let Some(first) = (0..shape.len()).find(kept) else {
            return Some(Self { a: 1, c: 1, b: shape.iter().product() });
        };
        let last = (0..shape.len()).rev().find(kept)?;
        let whole = (first..=last).all(|dim| shape[dim] == 1 || is_kept(dim));
        let product = |range: std::ops::Range<usize>| shape[range].iter().product();
        whole.then(|| Self {
            a: product(0..first),
            c: product(first..last + 1),
            b: product(last + 1..shape.len()),
        })
    }

    /// Number of elements in a group.
    pub(crate) fn group(&self) -> usize {
        self.a * self.b
    }
}

/// `Σ f(x, y)` over a stretch.
#[inline(always)]
pub(crate) fn total<T: Real>(f: &impl Function2, x: &[T], y: &[T]) -> f64 {
    let mut total = 0.0;
    for (x, y) in x.chunks(BLOCK).zip(y.chunks(BLOCK)) {
        let mut lanes = [T::ZERO; LANES];
        let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
        let rest = xs.remainder().iter().zip(ys.remainder());
        for (x, y) in xs.zip(ys) {
            for lane in 0..LANES {
                lanes[lane] += f.at(x[lane], y[lane]);
            }
        }
        for (lane, (&x, &y)) in lanes.iter_mut().zip(rest) {
            *lane += f.at(x, y);
        }
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                let other = lanes[lane + width];
                lanes[lane] += other;
            }
            width /= 2;
        }
        total += lanes[0].wide();
    }
    total
}

/// As [`total`], for [`vectors`].
#[inline(always)]
fn total_of<T: Real, F: Function2>(f: &F, x: &[T], y: &[T]) -> f64 {
    total(f, x, y)
}

/// Adds `f(x, y)` of rows to sums of columns.
#[inline(always)]
fn add_columns<T: Real, F: Function2>(f: &F, x: &[T], y: &[T], sums: &mut [T]) {
    for (x, y) in x.chunks_exact(sums.len()).zip(y.chunks_exact(sums.len())) {
        for ((sum, &x), &y) in sums.iter_mut().zip(x).zip(y) {
            *sum += f.at(x, y);
        }
    }
}

pub(crate) struct First;

impl Function2 for First {
    #[inline(always)]
    fn at<T: Real>(&self, x: T, _: T) -> T {
        x
    }
}

pub(crate) struct Product;

impl Function2 for Product {
    #[inline(always)]
    fn at<T: Real>(&self, x: T, y: T) -> T {
        x * y
    }
}

/// `Σ f(x, y)` over each group.
pub(crate) fn reduce<T: Real>(layout: Layout, f: &impl Function2, x: &[T], y: &[T]) -> Vec<f64> {
    let Layout { a, c, b } = layout;
    if b == 1 {
        return columns(a, c, f, x, y);
    }
    // A group is cut into pieces of one row at most.
    let pieces = b.div_ceil(CHUNK);
    let piece = |group: usize, at: usize| {
        let row = (at / pieces * c + group) * b;
        let start = row + at % pieces * CHUNK;
        let end = (start + CHUNK).min(row + b);
        vectors(
            #[inline(always)]
            || total_of(f, &x[start..end], &y[start..end]),
        )
    };
    let of_group = |group: usize| -> f64 {
        if a * pieces == 1 || x.len() <= CHUNK || c >= 64 {
            return (0..a * pieces).map(|at| piece(group, at)).sum();
        }
        let parts: Vec<f64> = (0..a * pieces).into_par_iter().map(|at| piece(group, at)).collect();
        parts.iter().sum()
    };
    if x.len() <= CHUNK {
        (0..c).map(of_group).collect()
    } else {
        (0..c).into_par_iter().map(of_group).collect()
    }
}

/// Sums of columns of `[a, c]`.
fn columns<T: Real>(a: usize, c: usize, f: &impl Function2, x: &[T], y: &[T]) -> Vec<f64> {
    if c == 0 {
        return vec![];
    }
    let rows = |block: usize| {
        let range = block * ROWS * c..((block + 1) * ROWS).min(a) * c;
        let mut sums = vec![T::ZERO; c];
        vectors(
            #[inline(always)]
            || add_columns(f, &x[range.clone()], &y[range], &mut sums[..]),
        );
        sums
    };
    let mut totals = vec![0.0; c];
    let mut add = |sums: Vec<T>| totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum.wide());
    let blocks = a.div_ceil(ROWS);
    if x.len() <= CHUNK {
        (0..blocks).map(rows).for_each(&mut add);
    } else {
        let parts: Vec<Vec<T>> = (0..blocks).into_par_iter().map(rows).collect();
        parts.into_iter().for_each(&mut add);
    }
    totals
}

struct Sum(Layout);

impl Job for Sum {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let sums = reduce(self.0, &First, inputs[0], inputs[0]);
        let count = sums.len();
        tensor(sums.into_iter().map(T::of).collect(), &[count])
    }
}

/// Sum over dimensions, which stay with size one, where there is a quick way.
pub(crate) fn sum(x: &Tensor, over: &[usize]) -> Option<Tensor> {
    let mut shape = x.shape();
    let layout = Layout::of(&shape, |dim| !over.contains(&dim))?;
    over.iter().for_each(|&dim| shape[dim] = 1);
    run(&[x], Sum(layout)).map(|sum| sum.reshape(&shape))
}
