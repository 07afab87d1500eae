//! Convolutions on the processor.
//!
//! Windows are laid out as columns of a matrix, a stretch of them at a time, so that a convolution and its transpose in
//! the weight are matrix products (Chellapilla et al. 2006). Where a group has one channel, planes are slid over each other.

use burn_dispatch::backends::flex::FlexTensor;
use rayon::prelude::*;

use super::{CHUNK, Job, Real, add, by_rows, depthwise, flat, run, tensor, vectors};
use crate::Tensor;
use crate::primitive::conv::Moves;

/// Elements of the matrix of windows that are laid out at once.
const WINDOWS: usize = 1 << 19;
/// Sums over the windows go on side by side in so many strands.
const STRANDS: usize = 4;

/// Sizes of a convolution, in three dimensions; those that are not there have size one.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    pub(super) batch: usize,
    pub(super) groups: usize,
    /// Channels of a group.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) size: [usize; 3],
    pub(super) kernel: [usize; 3],
    pub(super) out: [usize; 3],
    pub(super) stride: [usize; 3],
    pub(super) padding: [usize; 3],
    pub(super) dilation: [usize; 3],
}

/// Outputs `output..` of a plane meet inputs `input, input + stride, …` under a tap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) output: usize,
    pub(super) input: usize,
    pub(super) length: usize,
}

fn three(values: &[usize], fill: usize) -> [usize; 3] {
    let mut all = [fill; 3];
    all[3 - values.len()..].copy_from_slice(values);
    all
}

pub(super) fn volume(sizes: [usize; 3]) -> usize {
    sizes.iter().product()
}

impl Geometry {
    /// Of a convolution of `x` with `weight` to `y`; `None` where there is nothing to compute.
    pub(crate) fn new(moves: &Moves, x: &[usize], weight: &[usize], y: &[usize]) -> Option<Self> {
        let empty = [x, weight, y].iter().any(|shape| shape.contains(&0));
        (!empty && x.len() <= 5).then(|| Self {
            batch: x[0],
            groups: moves.groups,
            inputs: weight[1],
            outputs: weight[0] / moves.groups,
            size: three(&x[2..], 1),
            kernel: three(&weight[2..], 1),
            out: three(&y[2..], 1),
            stride: three(&moves.stride, 1),
            padding: three(&moves.padding, 0),
            dilation: three(&moves.dilation, 1),
        })
    }

    /// Whether a group has one channel.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.inputs == 1 && self.groups > 1
    }

    /// Number of products in an output.
    fn taps(&self) -> usize {
        self.inputs * volume(self.kernel)
    }

    /// Outputs along a dimension whose input under a tap is there.
    fn inside(&self, dim: usize, tap: usize) -> std::ops::Range<usize> {
        let ahead = tap * self.dilation[dim];
        // output · stride + ahead − padding lies from 0 below size.
        let first = self.padding[dim].saturating_sub(ahead).div_ceil(self.stride[dim]);
        let end = (self.size[dim] + self.padding[dim]).saturating_sub(ahead).div_ceil(self.stride[dim]);
        first.min(self.out[dim])..end.clamp(first.min(self.out[dim]), self.out[dim])
    }

    /// The input under a tap of an output that is inside.
    fn under(&self, dim: usize, out: usize, tap: usize) -> usize {
        out * self.stride[dim] + tap * self.dilation[dim] - self.padding[dim]
    }

    pub(super) fn tap(&self, at: usize) -> [usize; 3] {
        let [_, height, width] = self.kernel;
        [at / (height * width), at / width % height, at % width]
    }

    /// The rows of a plane that each tap meets.
    pub(super) fn rows(&self) -> Vec<Vec<Row>> {
        (0..volume(self.kernel)).map(|tap| self.rows_of(self.tap(tap))).collect()
    }

    fn rows_of(&self, tap: [usize; 3]) -> Vec<Row> {
        let across = self.inside(2, tap[2]);
        if across.is_empty() {
            return Vec::new();
        }
        let row = |depth: usize, row: usize| {
            let output = (depth * self.out[1] + row) * self.out[2] + across.start;
            let from = self.under(0, depth, tap[0]) * self.size[1] + self.under(1, row, tap[1]);
            Row {
                output,
                input: from * self.size[2] + self.under(2, across.start, tap[2]),
                length: across.len(),
            }
        };
        self.inside(0, tap[0])
            .flat_map(|depth| self.inside(1, tap[1]).map(move |at| (depth, at)))
            .map(|(depth, at)| row(depth, at))
            .collect()
    }

    /// Fills `out` with what a tap meets at outputs `start..`, zeros where it meets padding.
    #[inline(always)]
    fn lay<T: Real>(&self, plane: &[T], tap: usize, start: usize, out: &mut [T]) {
        let [_, height, width] = self.out;
        let tap = self.tap(tap);
        let (inside, rows, across) = (self.inside(0, tap[0]), self.inside(1, tap[1]), self.inside(2, tap[2]));
        let stride = self.stride[2];
        let (mut at, end) = (start, start + out.len());
        while at < end {
            let (row, from) = (at / width, at % width);
            let to = (from + end - at).min(width);
            let piece = &mut out[at - start..][..to - from];
            at += to - from;
            let (first, last) = (across.start.clamp(from, to), across.end.clamp(from, to));
            if !inside.contains(&(row / height)) || !rows.contains(&(row % height)) || first >= last {
                piece.fill(T::ZERO);
                continue;
            }
            piece[..first - from].fill(T::ZERO);
            piece[last - from..].fill(T::ZERO);
            let line =
                self.under(0, row / height, tap[0]) * self.size[1] + self.under(1, row % height, tap[1]);
            let source = &plane[line * self.size[2] + self.under(2, first, tap[2])..];
            let piece = &mut piece[first - from..last - from];
            if stride == 1 {
                piece.copy_from_slice(&source[..piece.len()]);
            } else {
                piece.iter_mut().zip(source.iter().step_by(stride)).for_each(|(to, &from)| *to = from);
            }
        }
    }

    /// Windows of a group, `[taps, windows]`; `stretches` say which: image, first output, number of outputs.
    fn windows<T: Real>(&self, x: &[T], group: usize, stretches: &[(usize, usize, usize)]) -> Vec<T> {
        let count: usize = stretches.iter().map(|s| s.2).sum();
        let (kernel, plane) = (volume(self.kernel), volume(self.size));
        let mut all = vec![T::ZERO; self.taps() * count];
        by_rows(&mut all, count, &|first, rows| {
            for (tap, mut row) in (first..).zip(rows.chunks_exact_mut(count)) {
                for &(image, start, length) in stretches {
                    let channel = (image * self.groups + group) * self.inputs + tap / kernel;
                    let (piece, rest) = row.split_at_mut(length);
                    self.lay(&x[channel * plane..][..plane], tap % kernel, start, piece);
                    row = rest;
                }
            }
        });
        all
    }

    /// Images that are worked on together, and stretches of each: few whole ones, or parts of one.
    #[expect(clippy::type_complexity, reason = "an image, where it begins in it, how long it is")]
    fn stretches(&self) -> (usize, Vec<Vec<(usize, usize, usize)>>) {
        let outputs = volume(self.out);
        let length = (WINDOWS / self.taps()).max(256);
        if outputs <= length {
            // About as many in each, so that threads have as much to do.
            let images = (length / outputs).min(self.batch);
            let images = self.batch.div_ceil(self.batch.div_ceil(images));
            let all = (0..self.batch).step_by(images).map(|first| {
                (first..(first + images).min(self.batch)).map(|image| (image, 0, outputs)).collect()
            });
            return (images, all.collect());
        }
        // Parts of about the same length.
        let length = outputs.div_ceil(outputs.div_ceil(length));
        let part = |image: usize| {
            (0..outputs).step_by(length).map(move |start| vec![(image, start, length.min(outputs - start))])
        };
        (1, (0..self.batch).flat_map(part).collect())
    }
}

/// `a b` of row-major matrices, `b` transposed if asked.
fn product<T: Real>(a: &Tensor, b: Vec<T>, shape: [usize; 2], is_transposed: bool) -> Option<FlexTensor> {
    let b = tensor(b, &shape);
    flat(&a.matmul(&if is_transposed { b.permute(&[1, 0]) } else { b }))
}

struct Outputs<'a>(&'a Geometry);

impl Job for Outputs<'_> {
    type Output = Option<Tensor>;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Option<Tensor> {
        let g = self.0;
        let (x, weight) = (inputs[0], inputs[1]);
        let (outputs, taps) = (volume(g.out), g.taps());
        let weights: Vec<Tensor> =
            weight.chunks_exact(g.outputs * taps).map(|w| tensor(w.to_vec(), &[g.outputs, taps])).collect();
        let mut y = vec![T::ZERO; g.batch * g.groups * g.outputs * outputs];
        let (images, stretches) = g.stretches();
        let of_block = stretches.len().div_ceil(g.batch.div_ceil(images));
        let block = images * g.groups * g.outputs * outputs;
        let done = y.par_chunks_mut(block).zip(stretches.par_chunks(of_block)).map(|(y, parts)| {
            for part in parts {
                let count: usize = part.iter().map(|s| s.2).sum();
                for (group, weight) in weights.iter().enumerate() {
                    let windows = g.windows(x, group, part);
                    let found = product(weight, windows, [taps, count], false)?;
                    for (channel, found) in found.as_slice::<T>()?.chunks_exact(count).enumerate() {
                        let mut from = 0;
                        for &(image, start, length) in part {
                            let row = ((image - part[0].0) * g.groups + group) * g.outputs + channel;
                            y[row * outputs + start..][..length].copy_from_slice(&found[from..from + length]);
                            from += length;
                        }
                    }
                }
            }
            Some(())
        });
        done.collect::<Option<Vec<()>>>()?;
        let count = y.len();
        Some(tensor(y, &[count]))
    }
}

struct Weights<'a>(&'a Geometry);

impl Job for Weights<'_> {
    type Output = Option<Tensor>;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Option<Tensor> {
        let g = self.0;
        let (x, y) = (inputs[0], inputs[1]);
        let (outputs, taps) = (volume(g.out), g.taps());
        let (_, stretches) = g.stretches();
        let of_strand = stretches.len().div_ceil(STRANDS);
        let of_group = g.outputs * taps;
        let strand = |parts: &[Vec<(usize, usize, usize)>]| -> Option<Vec<T>> {
            let mut sums = vec![T::ZERO; g.groups * of_group];
            for part in parts {
                let count: usize = part.iter().map(|s| s.2).sum();
                for (group, sums) in sums.chunks_exact_mut(of_group).enumerate() {
                    let mut cotangents = Vec::with_capacity(g.outputs * count);
                    for channel in 0..g.outputs {
                        for &(image, start, length) in part {
                            let row = (image * g.groups + group) * g.outputs + channel;
                            cotangents.extend_from_slice(&y[row * outputs + start..][..length]);
                        }
                    }
                    let windows = g.windows(x, group, part);
                    let cotangents = tensor(cotangents, &[g.outputs, count]);
                    let found = product(&cotangents, windows, [taps, count], true)?;
                    let found = found.as_slice::<T>()?;
                    vectors(
                        #[inline(always)]
                        || add(sums, found),
                    );
                }
            }
            Some(sums)
        };
        let mut strands =
            stretches.par_chunks(of_strand).map(strand).collect::<Option<Vec<_>>>()?.into_iter();
        let mut all = strands.next()?;
        for strand in strands {
            vectors(
                #[inline(always)]
                || add(&mut all[..], &strand[..]),
            );
        }
        Some(tensor(all, &[g.groups * of_group]))
    }
}

/// Planes that one thread takes at a time.
pub(super) fn planes(size: usize) -> usize {
    (CHUNK / size).max(1)
}

/// A convolution, where there is a quick way.
pub(crate) fn outputs(moves: &Moves, x: &Tensor, weight: &Tensor, shape: &[usize]) -> Option<Tensor> {
    let geometry = Geometry::new(moves, &x.shape(), &weight.shape(), shape)?;
    let found = if geometry.is_depthwise() {
        depthwise::outputs(&geometry, x, weight)
    } else {
        run(&[x, weight], Outputs(&geometry)).flatten()
    };
    found.map(|y| y.reshape(shape))
}

/// The transpose of a convolution in its input, where there is a quick way.
pub(crate) fn inputs(moves: &Moves, y: &Tensor, weight: &Tensor, shape: &[usize]) -> Option<Tensor> {
    let geometry = Geometry::new(moves, shape, &weight.shape(), &y.shape())?;
    if geometry.is_depthwise() {
        return depthwise::inputs(&geometry, y, weight).map(|x| x.reshape(shape));
    }
    // With a stride of one it is a convolution itself: of the taps in reverse, padded by what they reach beyond.
    let kernel = &weight.shape()[2..];
    let reach = |dim: usize| ((kernel[dim] - 1) * moves.dilation[dim]).checked_sub(moves.padding[dim]);
    let padding: Vec<usize> = (0..kernel.len()).map(reach).collect::<Option<_>>()?;
    if moves.stride.iter().any(|&stride| stride != 1) {
        return None;
    }
    let reversed = run(&[weight], Reversed(&geometry))?;
    let reversed = reversed.reshape(&[&[shape[1], geometry.outputs], kernel].concat());
    outputs(&Moves { padding, ..moves.clone() }, y, &reversed, shape)
}

/// Weights with inputs and outputs of each group exchanged, and taps in reverse.
struct Reversed<'a>(&'a Geometry);

impl Job for Reversed<'_> {
    type Output = Tensor;

    fn run<T: Real>(self, inputs: &[&[T]]) -> Tensor {
        let g = self.0;
        let kernel = volume(g.kernel);
        let mut reversed = vec![T::ZERO; inputs[0].len()];
        for (at, to) in reversed.chunks_exact_mut(kernel).enumerate() {
            let (group, input, output) =
                (at / (g.inputs * g.outputs), at / g.outputs % g.inputs, at % g.outputs);
            let from = ((group * g.outputs + output) * g.inputs + input) * kernel;
            to.iter_mut().zip(inputs[0][from..from + kernel].iter().rev()).for_each(|(to, &from)| *to = from);
        }
        let count = reversed.len();
        tensor(reversed, &[count])
    }
}

/// The transpose of a convolution in its weight, where there is a quick way.
pub(crate) fn weights(moves: &Moves, x: &Tensor, y: &Tensor, shape: &[usize]) -> Option<Tensor> {
    let geometry = Geometry::new(moves, &x.shape(), shape, &y.shape())?;
    let found = if geometry.is_depthwise() {
        depthwise::weights(&geometry, x, y)
    } else {
        run(&[x, y], Weights(&geometry)).flatten()
    };
    found.map(|weight| weight.reshape(shape))
}
