//! Convolutions whose groups have one channel, plane by plane.
//!
//! Where the stride is one, a plane is laid out with its padding, so that what a tap meets is the whole plane, shifted;
//! the ends of rows then hold numbers that are no outputs, and are left out. Otherwise each tap goes row by row.

use rayon::prelude::*;

use super::conv::{Geometry, Row, planes, volume};
use super::sums::{Product, total};
use super::{Job, Real, run, tensor, vectors};
use crate::Tensor;

/// Outputs that are summed side by side.
const BLOCK: usize = 64;

/// A plane with its padding, in which every tap is a shift.
struct Laid {
    /// Rows and columns, of the plane and with padding.
    size: [usize; 2],
    padded: [usize; 2],
    /// Padding above and to the left.
    before: [usize; 2],
    /// Rows and columns of what comes out.
    out: [usize; 2],
    /// How far each tap is from the first.
    shifts: Vec<usize>,
}

impl Laid {
    /// The inputs of a convolution, where a plane has two dimensions and the stride is one.
    fn inputs(g: &Geometry) -> Option<Self> {
        let is_plain = g.stride[1..] == [1, 1] && g.size[0] == 1 && g.kernel[0] == 1 && g.padding[0] == 0;
        is_plain
            .then(|| Self::new([g.size[1], g.size[2]], [g.padding[1], g.padding[2]], [g.out[1], g.out[2]], g))
    }

    /// The cotangents of its outputs, for the transpose: the taps in reverse, and the padding that they leave.
    fn outputs(g: &Geometry) -> Option<Self> {
        Self::inputs(g)?;
        let around = |dim: usize| ((g.kernel[dim] - 1) * g.dilation[dim]).checked_sub(g.padding[dim]);
        let laid = Self::new([g.out[1], g.out[2]], [around(1)?, around(2)?], [g.size[1], g.size[2]], g);
        Some(Self { shifts: laid.shifts.into_iter().rev().collect(), ..laid })
    }

    fn new(size: [usize; 2], before: [usize; 2], out: [usize; 2], g: &Geometry) -> Self {
        let reach = |dim: usize| out[dim] + (g.kernel[dim + 1] - 1) * g.dilation[dim + 1];
        let padded = [reach(0).max(before[0] + size[0]), reach(1).max(before[1] + size[1])];
        let shift = |tap: [usize; 3]| tap[1] * g.dilation[1] * padded[1] + tap[2] * g.dilation[2];
        let shifts = (0..volume(g.kernel)).map(|tap| shift(g.tap(tap))).collect();
        Self { size, padded, before, out, shifts }
    }

    /// From the first output to the last.
    fn span(&self) -> usize {
        (self.out[0] - 1) * self.padded[1] + self.out[1]
    }

    /// Room for a plane with its padding, and for a block that reaches beyond it.
    fn room<T: Real>(&self) -> Vec<T> {
        vec![T::ZERO; self.padded[0] * self.padded[1] + BLOCK]
    }

    fn lay<T: Real>(&self, plane: &[T], room: &mut [T]) {
        let start = self.before[0] * self.padded[1] + self.before[1];
        let rows = room[start..].chunks_mut(self.padded[1]).zip(plane.chunks_exact(self.size[1]));
        rows.for_each(|(to, from)| to[..self.size[1]].copy_from_slice(from));
    }
}

/// Sums of a laid plane's shifts, each times its weight, added to rows of outputs.
#[inline(always)]
fn slide<T: Real>(laid: &Laid, x: &[T], weight: &[T], y: &mut [T]) {
    let (width, span) = (laid.padded[1], laid.span());
    let mut start = 0;
    while start < span {
        let mut sums = [T::ZERO; BLOCK];
        for (&shift, &by) in laid.shifts.iter().zip(weight) {
            let x = &x[start + shift..][..BLOCK];
            for at in 0..BLOCK {
                sums[at] += x[at] * by;
            }
        }
        // Those of the block that are outputs lie in rows.
        let end = (start + BLOCK).min(span);
        let mut at = start;
        while at < end {
            let (row, column) = (at / width, at % width);
            let next = ((row + 1) * width).min(end);
            let length = laid.out[1].min(column + next - at).saturating_sub(column);
            let y = &mut y[row * laid.out[1] + column.min(laid.out[1])..][..length];
            for (y, &sum) in y.iter_mut().zip(&sums[at - start..]) {
                *y += sum;
            }
            at = next;
        }
        start += BLOCK;
    }
}

/// Adds to the taps' sums over a plane: cotangents lie in rows as wide as those of the laid inputs.
#[inline(always)]
fn meet<T: Real>(laid: &Laid, x: &[T], y: &[T], sums: &mut [f64]) {
    for (&shift, sum) in laid.shifts.iter().zip(sums) {
        *sum += total(&Product, &x[shift..][..y.len()], y);
    }
}

/// Adds to a plane of outputs.
#[inline(always)]
fn plane_outputs<T: Real>(stride: usize, rows: &[Vec<Row>], x: &[T], weight: &[T], y: &mut [T]) {
    for (rows, &by) in rows.iter().zip(weight) {
        for row in rows {
            let (x, y) = (&x[row.input..], &mut y[row.output..][..row.length]);
            for at in 0..row.length {
                y[at] += x[at * stride] * by;
            }
        }
    }
}

/// Adds to a plane of inputs.
#[inline(always)]
fn plane_inputs<T: Real>(stride: usize, rows: &[Vec<Row>], y: &[T], weight: &[T], x: &mut [T]) {
    for (rows, &by) in rows.iter().zip(weight) {
        for row in rows {
            let (x, y) = (&mut x[row.input..], &y[row.output..][..row.length]);
            for at in 0..row.length {
                x[at * stride] += y[at] * by;
            }
        }
    }
}

/// Adds to the taps' sums over a plane.
#[inline(always)]
fn plane_weights<T: Real>(stride: usize, rows: &[Vec<Row>], x: &[T], y: &[T], sums: &mut [f64]) {
    for (rows, sum) in rows.iter().zip(sums) {
        for row in rows {
            let (x, y) = (&x[row.input..], &y[row.output..][..row.length]);
            let mut of_row = T::ZERO;
            for at in 0..row.length {
                of_row += x[at * stride] * y[at];
            }
            *sum += of_row.wide();
        }
    }
}

struct Outputs<'a>(&'a Geometry);

impl Job for Outputs<'_> {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let g = self.0;
        let (x, weight) = (inputs[0], inputs[1]);
        let (from, to, kernel) = (volume(g.size), volume(g.out), volume(g.kernel));
        let channels = g.groups * g.outputs;
        let (laid, rows) = (Laid::inputs(g), g.rows());
        let room = || laid.as_ref().map(Laid::room::<T>).unwrap_or_default();
        let mut y = vec![T::ZERO; g.batch * channels * to];
        let count = y.len();
        let each = y.par_chunks_mut(to).with_min_len(planes(to)).enumerate();
        each.for_each_init(room, |room, (at, y)| {
            let (image, channel) = (at / channels, at % channels);
            let x = &x[(image * g.groups + channel / g.outputs) * from..][..from];
            let weight = &weight[channel * kernel..][..kernel];
            match &laid {
                Some(laid) => {
                    laid.lay(x, room);
                    vectors(
                        #[inline(always)]
                        || slide(laid, &room[..], weight, y),
                    );
                }
                None => vectors(
                    #[inline(always)]
                    || plane_outputs(g.stride[2], &rows[..], x, weight, y),
                ),
            }
        });
        tensor(y, &[count])
    }
}

struct Inputs<'a>(&'a Geometry);

impl Job for Inputs<'_> {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let g = self.0;
        let (y, weight) = (inputs[0], inputs[1]);
        let (from, to, kernel) = (volume(g.size), volume(g.out), volume(g.kernel));
        let (laid, rows) = (Laid::outputs(g), g.rows());
        let room = || laid.as_ref().map(Laid::room::<T>).unwrap_or_default();
        let mut x = vec![T::ZERO; g.batch * g.groups * from];
        let count = x.len();
        let each = x.par_chunks_mut(from).with_min_len(planes(from)).enumerate();
        each.for_each_init(room, |room, (at, x)| {
            let (image, group) = (at / g.groups, at % g.groups);
            for channel in group * g.outputs..(group + 1) * g.outputs {
                let y = &y[(image * g.groups * g.outputs + channel) * to..][..to];
                let weight = &weight[channel * kernel..][..kernel];
                match &laid {
                    Some(laid) => {
                        laid.lay(y, room);
                        vectors(
                            #[inline(always)]
                            || slide(laid, &room[..], weight, &mut *x),
                        );
                    }
                    None => vectors(
                        #[inline(always)]
                        || plane_inputs(g.stride[2], &rows[..], y, weight, &mut *x),
                    ),
                }
            }
        });
        tensor(x, &[count])
    }
}

struct Weights<'a>(&'a Geometry);

impl Job for Weights<'_> {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let g = self.0;
        let (x, y) = (inputs[0], inputs[1]);
        let (from, to, kernel) = (volume(g.size), volume(g.out), volume(g.kernel));
        let channels = g.groups * g.outputs;
        let (laid, rows) = (Laid::inputs(g), g.rows());
        // A plane of inputs with its padding, and cotangents in rows as wide, zeros between them.
        let rooms = || {
            laid.as_ref()
                .map(|laid| (laid.room::<T>(), vec![T::ZERO; laid.out[0] * laid.padded[1]]))
                .unwrap_or_default()
        };
        let mut weight = vec![T::ZERO; channels * kernel];
        weight.par_chunks_mut(kernel).enumerate().for_each_init(
            rooms,
            |(inner, outer), (channel, weight)| {
                let mut sums = vec![0.0; kernel];
                for image in 0..g.batch {
                    let x = &x[(image * g.groups + channel / g.outputs) * from..][..from];
                    let y = &y[(image * channels + channel) * to..][..to];
                    match &laid {
                        Some(laid) => {
                            laid.lay(x, inner);
                            let rows =
                                outer.chunks_exact_mut(laid.padded[1]).zip(y.chunks_exact(laid.out[1]));
                            rows.for_each(|(to, from)| to[..laid.out[1]].copy_from_slice(from));
                            vectors(
                                #[inline(always)]
                                || meet(laid, &inner[..], &outer[..laid.span()], &mut sums[..]),
                            );
                        }
                        None => vectors(
                            #[inline(always)]
                            || plane_weights(g.stride[2], &rows[..], x, y, &mut sums[..]),
                        ),
                    }
                }
                weight.iter_mut().zip(sums).for_each(|(weight, sum)| *weight = T::of(sum));
            },
        );
        let count = weight.len();
        tensor(weight, &[count])
    }
}

/// A convolution.
pub(super) fn outputs(geometry: &Geometry, x: &Tensor, weight: &Tensor) -> Option<Tensor> {
    run(&[x, weight], Outputs(geometry))
}

/// Its transpose in the input.
pub(super) fn inputs(geometry: &Geometry, y: &Tensor, weight: &Tensor) -> Option<Tensor> {
    run(&[y, weight], Inputs(geometry))
}

/// Its transpose in the weight.
pub(super) fn weights(geometry: &Geometry, x: &Tensor, y: &Tensor) -> Option<Tensor> {
    run(&[x, y], Weights(geometry))
}
