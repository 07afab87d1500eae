//! Largest values of windows on the processor, plane by plane.

use std::borrow::Cow;

use epoch0_net::Window;
use rayon::prelude::*;

use super::conv::{Geometry, Row, planes, volume};
use super::{Job, Real, run, tensor, vectors};
use crate::Tensor;
use crate::primitive::conv::Moves;

/// A window over planes, as a convolution with a channel in each group.
fn geometry(window: &Window, x: &[usize], y: &[usize]) -> Option<Geometry> {
    let moves = Moves {
        stride: window.stride.clone(),
        padding: window.padding.clone(),
        dilation: window.dilation.clone(),
        groups: x[1],
    };
    let kernel = [&[x[1], 1], &window.kernel[..]].concat();
    // Places in a plane have 32 bits.
    Geometry::new(&moves, x, &kernel, y).filter(|geometry| volume(geometry.size) < NOWHERE as usize)
}

/// Whether a value takes the place of the largest so far. The first of equals stays; what is not a number wins.
#[inline(always)]
#[expect(
    clippy::needless_bitwise_bool,
    reason = "which it is cannot be foretold, so that a branch would cost"
)]
#[expect(clippy::eq_op, reason = "tells what is not a number")]
fn is_larger<T: Real>(value: T, largest: T) -> bool {
    (value > largest) | (value != value)
}

/// A plane of inputs, sorted so that what one tap meets in a row lies side by side.
struct Plane<'a, T: Real> {
    values: Cow<'a, [T]>,
    width: usize,
    stride: usize,
    /// Elements that lie between those of one column and of the next, when sorted.
    phase: usize,
}

impl<'a, T: Real> Plane<'a, T> {
    fn new(g: &Geometry, x: &'a [T]) -> Self {
        let (width, stride) = (g.size[2], g.stride[2]);
        if stride == 1 {
            return Self { values: Cow::Borrowed(x), width, stride, phase: x.len() };
        }
        let sorted_width = width.div_ceil(stride);
        let phase = x.len() / width * sorted_width;
        let mut values = vec![T::ZERO; phase * stride];
        for (first, sorted) in values.chunks_exact_mut(phase).enumerate() {
            for (row, sorted) in x.chunks_exact(width).zip(sorted.chunks_exact_mut(sorted_width)) {
                for (to, at) in sorted.iter_mut().zip((first..width).step_by(stride)) {
                    *to = row[at];
                }
            }
        }
        Self { values: Cow::Owned(values), width, stride, phase }
    }

    /// What lies at `input, input + stride, …`, all in one row.
    #[inline(always)]
    fn row(&self, input: usize, length: usize) -> &[T] {
        let (row, column) = (input / self.width, input % self.width);
        let start =
            column % self.stride * self.phase + row * self.width.div_ceil(self.stride) + column / self.stride;
        &self.values[start..][..length]
    }
}

/// Raises a plane of outputs to the largest inputs.
#[inline(always)]
fn raise<T: Real>(plane: &Plane<'_, T>, rows: &[Vec<Row>], y: &mut [T]) {
    for row in rows.iter().flatten() {
        let (x, y) = (plane.row(row.input, row.length), &mut y[row.output..][..row.length]);
        for at in 0..row.length {
            y[at] = if is_larger(x[at], y[at]) { x[at] } else { y[at] };
        }
    }
}

/// A place that a window of padding alone has.
const NOWHERE: u32 = u32::MAX;

/// Raises a plane of outputs, and finds where the largest inputs are.
#[inline(always)]
#[expect(
    clippy::needless_bitwise_bool,
    reason = "which it is cannot be foretold, so that a branch would cost"
)]
fn locate<T: Real>(plane: &Plane<'_, T>, rows: &[Vec<Row>], y: &mut [T], places: &mut [u32]) {
    for row in rows.iter().flatten() {
        let (x, y) = (plane.row(row.input, row.length), &mut y[row.output..][..row.length]);
        let places = &mut places[row.output..][..row.length];
        for at in 0..row.length {
            let here = (row.input + at * plane.stride) as u32;
            let takes = is_larger(x[at], y[at]) | (places[at] == NOWHERE);
            y[at] = if takes { x[at] } else { y[at] };
            places[at] = if takes { here } else { places[at] };
        }
    }
}

struct Largest<'a>(&'a Geometry);

impl Job for Largest<'_> {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let g = self.0;
        let (from, to, rows) = (volume(g.size), volume(g.out), g.rows());
        let mut y = vec![T::LOWEST; inputs[0].len() / from * to];
        let count = y.len();
        y.par_chunks_mut(to).zip(inputs[0].par_chunks(from)).with_min_len(planes(from)).for_each(|(y, x)| {
            vectors(
                #[inline(always)]
                || raise(&Plane::new(g, x), &rows[..], y),
            );
        });
        tensor(y, &[count])
    }
}

/// Hands each cotangent to the input that was largest.
struct Pull<'a>(&'a Geometry);

impl Job for Pull<'_> {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let g = self.0;
        let (from, to, rows) = (volume(g.size), volume(g.out), g.rows());
        let mut pulled = vec![T::ZERO; inputs[0].len()];
        let count = pulled.len();
        let each = pulled.par_chunks_mut(from).zip(inputs[0].par_chunks(from)).zip(inputs[1].par_chunks(to));
        each.with_min_len(planes(from)).for_each(|((pulled, x), cotangent)| {
            let (mut y, mut places) = (vec![T::LOWEST; to], vec![NOWHERE; to]);
            vectors(
                #[inline(always)]
                || locate(&Plane::new(g, x), &rows[..], &mut y[..], &mut places[..]),
            );
            for (&place, &cotangent) in places.iter().zip(cotangent) {
                if let Some(pulled) = pulled.get_mut(place as usize) {
                    *pulled += cotangent;
                }
            }
        });
        tensor(pulled, &[count])
    }
}

/// Largest values of `[batch, channels, space…]` in windows, of the shape `y`.
pub(crate) fn largest(window: &Window, x: &Tensor, y: &[usize]) -> Option<Tensor> {
    let geometry = geometry(window, &x.shape(), y)?;
    run(&[x], Largest(&geometry)).map(|found| found.reshape(y))
}

/// The transpose of its derivative.
pub(crate) fn pull(window: &Window, x: &Tensor, cotangent: &Tensor) -> Option<Tensor> {
    let geometry = geometry(window, &x.shape(), &cotangent.shape())?;
    run(&[x, cotangent], Pull(&geometry)).map(|found| found.reshape(&x.shape()))
}
