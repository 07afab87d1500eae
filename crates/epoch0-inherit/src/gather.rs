//! Reading what was chosen, piece by piece: nothing is held but the piece.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use epoch0_format::Tensor;
use epoch0_num::{Dtype, Element, Stream, with_element};
use rayon::prelude::*;

use crate::axes::first_of;
use crate::new_places::Made;
use crate::{DRAWN, Dim, Inherited, MEAN, Noise, is_new};

/// A parent's tensor.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// Type of its elements.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: &'a [usize],
    /// Its elements in row-major order, little-endian.
    pub bytes: &'a [u8],
}

impl<'a> From<Tensor<'a>> for Stored<'a> {
    fn from(tensor: Tensor<'a>) -> Self {
        Self { dtype: tensor.dtype(), shape: tensor.shape(), bytes: tensor.bytes() }
    }
}

/// The elements of a child's parameter in a parent's tensor.
#[derive(Clone, Debug)]
pub struct Gather<'a> {
    tensor: Stored<'a>,
    /// Outer dimensions, and the elements that each place of them steps over.
    outer: Vec<(Dim, usize)>,
    /// The innermost dimension.
    inner: Dim,
    /// Whether places of it follow each other without a gap, none of them new.
    is_run: bool,
    /// Whether numbers of the parent are all that is taken, as they are.
    is_plain: bool,
    affine: (f64, f64),
    noise: Option<Signs>,
    /// For each dimension that has places of the mean, the means along it by all other places of the parent.
    means: Vec<Option<Arc<[f64]>>>,
    /// What places of the mean are, where they are not that of all.
    new: Option<Made>,
}

/// Noise on places of a dimension that are the same.
#[derive(Clone, Debug)]
struct Signs {
    dim: usize,
    std: f64,
    stream: Stream,
    /// For each place of the child the first of the pair that it is in, and its sign there; 0 for one that is alone.
    pairs: Vec<(usize, f64)>,
}

impl Signs {
    fn new(noise: &Noise, places: &[usize], size: f64) -> Self {
        let mut open: HashMap<usize, usize> = HashMap::new();
        let mut pairs = vec![(0, 0.0); places.len()];
        for (at, &place) in places.iter().enumerate().filter(|(_, place)| !is_new(**place)) {
            match open.remove(&place) {
                Some(first) => (pairs[first], pairs[at]) = ((first, 1.0), (first, -1.0)),
                None => {
                    open.insert(place, at);
                }
            }
        }
        Self { dim: noise.dim, std: noise.share * size, stream: noise.stream, pairs }
    }

    /// What is added to an element whose place is `at`, the child's element with the first of its pair being `with`.
    fn value(&self, at: usize, with: impl FnOnce(usize) -> usize) -> f64 {
        let (first, sign) = self.pairs[at];
        if sign == 0.0 {
            return 0.0;
        }
        // Uniform, of variance one.
        let word = f64::from(self.stream.word(with(first) as u64)) / f64::from(u32::MAX);
        sign * self.std * (word - 0.5) * 12f64.sqrt()
    }
}

/// A row of the child.
#[derive(Clone, Copy)]
struct Row {
    /// Its number.
    nth: usize,
    /// Element of the tensor at which it begins.
    base: usize,
    /// A new place that all of it is.
    new: Option<usize>,
    /// The dimension of that place, and the child's place there.
    dim: usize,
    at: usize,
    scale: f64,
}

impl<'a> Gather<'a> {
    /// Of a tensor that has the parent's shape.
    pub fn new(inherited: &Inherited, tensor: impl Into<Stored<'a>>) -> Self {
        let tensor = tensor.into();
        let shape = tensor.shape;
        let strides = (0..shape.len()).map(|dim| shape[dim + 1..].iter().product());
        let mut outer: Vec<(Dim, usize)> = inherited.dims.iter().cloned().zip(strides).collect();
        let whole = Dim { places: Arc::from([0]), scales: None, mix: None };
        let inner = outer.pop().map_or(whole, |(dim, _)| dim);
        let is_run = inner.places.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1))
            && !inner.places.iter().any(|&place| is_new(place));
        let has_new = inherited.dims.iter().any(|dim| dim.places.iter().any(|&place| is_new(place)));
        let is_plain = !has_new && !inherited.is_scaled();
        let means = inherited
            .dims
            .iter()
            .enumerate()
            .map(|(dim, of)| of.places.contains(&MEAN).then(|| means(&tensor, dim).into()));
        let means: Vec<Option<Arc<[f64]>>> = means.collect();
        let new = inherited.new.as_ref().filter(|_| is_number(tensor.dtype)).and_then(|new| {
            Some(Made::new(new, &inherited.dims[new.dim].places, &tensor, means[new.dim].as_ref()?))
        });
        let noise = inherited.noise.as_ref().map(|noise| {
            let of = &inherited.dims[noise.dim];
            let scale =
                of.scales.as_ref().map_or(1.0, |scales| scales.iter().sum::<f64>() / scales.len() as f64);
            Signs::new(noise, &of.places, scale * root_mean_square(&tensor))
        });
        Self { tensor, outer, inner, is_run, is_plain, affine: inherited.affine, noise, means, new }
    }

    /// Fills `out` with the elements from `start` on, as `dtype`, but for those that are to be drawn, which stay; answers the
    /// first that is not finite.
    ///
    /// # Panics
    /// When `out` holds more than there are, and when types differ that are not both floating-point numbers.
    pub fn read(&self, start: usize, dtype: Dtype, out: &mut [u8]) -> Option<f64> {
        let from = self.tensor.dtype;
        assert!(from == dtype || is_number(from) && is_number(dtype), "{from} as {dtype}");
        if self.is_plain && from == dtype {
            self.bytes(start, out);
        } else if self.is_plain {
            let mut bytes = vec![0; out.len() / dtype.bytes() * from.bytes()];
            self.bytes(start, &mut bytes);
            with_element!(from, From => with_element!(dtype, To => convert::<From, To>(&bytes, out)));
        } else if is_number(from) {
            with_element!(from, From => with_element!(dtype, To => self.mixed::<From, To>(start, out)));
        } else {
            // Counts, which no dimension makes more of.
            self.bytes(start, out);
        }
        if is_number(dtype) { with_element!(dtype, T => odd::<T>(out)) } else { None }
    }

    /// Calls `each` with pieces of rows: the row, places of the innermost dimension, and bytes of `out`.
    fn rows(
        &self,
        start: usize,
        size: usize,
        out: &mut [u8],
        mut each: impl FnMut(Row, Range<usize>, &mut [u8]),
    ) {
        let width = self.inner.places.len().max(1);
        let (mut row, mut column) = (start / width, start % width);
        let mut out = out;
        while !out.is_empty() {
            let n = (width - column).min(out.len() / size);
            let (here, rest) = out.split_at_mut(n * size);
            each(self.row(row), column..column + n, here);
            (out, row, column) = (rest, row + 1, 0);
        }
    }

    fn bytes(&self, start: usize, out: &mut [u8]) {
        let size = self.tensor.dtype.bytes();
        let bytes = self.tensor.bytes;
        self.rows(start, size, out, |Row { base, .. }, columns, here| {
            let places = &self.inner.places[columns];
            if self.is_run {
                let begin = (base + places[0]) * size;
                here.copy_from_slice(&bytes[begin..begin + here.len()]);
                return;
            }
            match size {
                4 => gather::<4>(bytes, base, places, here),
                2 => gather::<2>(bytes, base, places, here),
                8 => gather::<8>(bytes, base, places, here),
                _ => gather::<1>(bytes, base, places, here),
            }
        });
    }

    fn mixed<From: Element, To: Element>(&self, start: usize, out: &mut [u8]) {
        let bytes = self.tensor.bytes;
        let read = |at: usize| {
            let begin = at * size_of::<From>();
            bytemuck::pod_read_unaligned::<From>(&bytes[begin..begin + size_of::<From>()]).to_f64()
        };
        let (factor, shift) = self.affine;
        let last = self.outer.len();
        if self.outer.iter().map(|(of, _)| of).chain([&self.inner]).any(|of| of.mix.is_some()) {
            self.rows(start, size_of::<To>(), out, |row, columns, here| {
                let terms = self.terms(row.nth);
                for (column, to) in columns.zip(here.chunks_exact_mut(size_of::<To>())) {
                    let sum: f64 = summed(&self.inner, column)
                        .map(|(place, share)| {
                            terms.iter().map(|(base, outer)| outer * share * read(base + place)).sum::<f64>()
                        })
                        .sum();
                    to.copy_from_slice(bytemuck::bytes_of(&To::from_f64(sum * factor + shift)));
                }
            });
            return;
        }
        self.rows(start, size_of::<To>(), out, |row, columns, here| {
            for (column, to) in columns.zip(here.chunks_exact_mut(size_of::<To>())) {
                let place = self.inner.places[column];
                let new = match (row.new, is_new(place)) {
                    (None, false) => None,
                    (Some(new), false) => Some((new, row.dim)),
                    (Some(new), true) if first_of(new, place) == new => Some((new, row.dim)),
                    (_, true) => Some((place, last)),
                };
                let scale = self.inner.scales.as_ref().map_or(1.0, |scales| scales[column]);
                let value = match new {
                    None => read(row.base + place),
                    Some((DRAWN, _)) => continue,
                    // Where another dimension is new too, nothing reads it: zero does.
                    Some((MEAN, dim)) if dim == last || !is_new(place) => {
                        let inner = if dim == last { 0 } else { place };
                        let beside = self.beside(dim, row.base + inner);
                        let at = if dim == last { column } else { row.at };
                        let made = self.new.as_ref().filter(|new| new.dim == dim);
                        let made = made.and_then(|new| new.value(at, beside));
                        made.unwrap_or_else(|| self.means[dim].as_ref().map_or(0.0, |means| means[beside]))
                    }
                    Some(_) => {
                        to.copy_from_slice(bytemuck::bytes_of(&To::from_f64(0.0)));
                        continue;
                    }
                };
                let mut value = value * (factor * row.scale * scale) + shift;
                if let Some(noise) = &self.noise {
                    value += self.noise_at(noise, row.nth, column);
                }
                to.copy_from_slice(bytemuck::bytes_of(&To::from_f64(value)));
            }
        });
    }

    /// What a row is the sum of: where the parent's begin, with factors.
    fn terms(&self, mut row: usize) -> Vec<(usize, f64)> {
        let mut terms = vec![(0, 1.0)];
        for (of, stride) in self.outer.iter().rev() {
            let at = row % of.places.len();
            row /= of.places.len();
            let with = |(base, share): &(usize, f64)| {
                let (base, share) = (*base, *share);
                summed(of, at)
                    .map(move |(place, factor)| (base + place * stride, share * factor))
                    .collect::<Vec<_>>()
            };
            terms = terms.iter().flat_map(with).collect();
        }
        terms
    }

    /// What is added to the child's element at a row and a column.
    fn noise_at(&self, noise: &Signs, row: usize, column: usize) -> f64 {
        let width = self.inner.places.len();
        if noise.dim == self.outer.len() {
            return noise.value(column, |first| row * width + first);
        }
        let sizes = self.outer[noise.dim + 1..].iter().map(|(of, _)| of.places.len());
        let stride: usize = sizes.product();
        let at = row / stride % self.outer[noise.dim].0.places.len();
        noise.value(at, |first| (row + first * stride - at * stride) * width + column)
    }

    /// Index among the means along a dimension of an element whose place there is the first.
    fn beside(&self, dim: usize, element: usize) -> usize {
        let shape = self.tensor.shape;
        let stride: usize = shape[dim + 1..].iter().product();
        element / (stride * shape[dim]) * stride + element % stride
    }

    fn row(&self, mut row: usize) -> Row {
        let mut found = Row { nth: row, base: 0, new: None, dim: 0, at: 0, scale: 1.0 };
        for (dim, (of, stride)) in self.outer.iter().enumerate().rev() {
            let at = row % of.places.len();
            row /= of.places.len();
            let place = of.places[at];
            if is_new(place) {
                if found.new.is_none_or(|new| first_of(place, new) == place) {
                    (found.new, found.dim, found.at) = (Some(place), dim, at);
                }
            } else {
                found.base += place * stride;
            }
            found.scale *= of.scales.as_ref().map_or(1.0, |scales| scales[at]);
        }
        found
    }
}

/// The sum of what is chosen out of several tensors.
#[derive(Clone, Debug)]
pub struct Sum<'a>(Vec<Gather<'a>>);

impl<'a> Sum<'a> {
    /// Of what each reads.
    pub fn new(terms: Vec<Gather<'a>>) -> Self {
        Self(terms)
    }

    /// Fills `out` with the elements from `start` on, as `dtype`, summed in double precision and rounded once; answers the
    /// first that is not finite.
    ///
    /// # Panics
    /// As [`Gather::read`].
    pub fn read(&self, start: usize, dtype: Dtype, out: &mut [u8]) -> Option<f64> {
        let n = out.len() / dtype.bytes();
        let (mut sum, mut term) = (vec![0.0f64; n], vec![0.0f64; n]);
        for gather in &self.0 {
            term.fill(0.0);
            gather.read(start, Dtype::F64, bytemuck::cast_slice_mut(&mut term));
            sum.iter_mut().zip(&term).for_each(|(sum, term)| *sum += term);
        }
        with_element!(dtype, T => {
            for (value, to) in sum.iter().zip(out.chunks_exact_mut(size_of::<T>())) {
                to.copy_from_slice(bytemuck::bytes_of(&T::from_f64(*value)));
            }
            odd::<T>(out)
        })
    }
}

fn root_mean_square(tensor: &Stored<'_>) -> f64 {
    if !is_number(tensor.dtype) {
        return 0.0;
    }
    let squares: f64 = with_element!(tensor.dtype, T => {
        // In pieces of one size, so that the sum is the same for any number of threads.
        let pieces = tensor.bytes.par_chunks(size_of::<T>() << 16);
        let sums = pieces.map(|piece| elements::<T>(piece).map(|value| value.to_f64().powi(2)).sum::<f64>());
        sums.collect::<Vec<f64>>().into_iter().sum()
    });
    let n: usize = tensor.shape.iter().product();
    (squares / n.max(1) as f64).sqrt()
}

/// The parent's places that one is the sum of.
fn summed(of: &Dim, at: usize) -> impl Iterator<Item = (usize, f64)> {
    let mixed = of.mix.as_ref().map_or(&[][..], |mix| &mix[at]).iter().copied();
    mixed.chain(of.mix.is_none().then_some((of.places[at], 1.0)))
}

/// Means along a dimension, by all other places.
fn means(tensor: &Stored<'_>, dim: usize) -> Vec<f64> {
    let shape = tensor.shape;
    let (n, stride) = (shape[dim], shape[dim + 1..].iter().product::<usize>());
    let outer: usize = shape[..dim].iter().product();
    let mut means = vec![0.0; outer * stride];
    if !is_number(tensor.dtype) {
        return means;
    }
    let bytes = tensor.bytes;
    with_element!(tensor.dtype, T => {
        let row = stride * size_of::<T>();
        means.par_chunks_mut(stride.max(1)).enumerate().for_each(|(outer, means)| {
            for at in 0..n {
                let begin = (outer * n + at) * row;
                let values = elements::<T>(&bytes[begin..begin + row]);
                means.iter_mut().zip(values).for_each(|(mean, value)| *mean += value.to_f64());
            }
            means.iter_mut().for_each(|mean| *mean /= n as f64);
        });
    });
    means
}

fn gather<const SIZE: usize>(bytes: &[u8], base: usize, places: &[usize], out: &mut [u8]) {
    for (to, &place) in out.chunks_exact_mut(SIZE).zip(places) {
        let at = (base + place) * SIZE;
        to.copy_from_slice(&bytes[at..at + SIZE]);
    }
}

/// Whether it is one of the floating-point types that are computed with.
fn is_number(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

fn elements<T: Element>(bytes: &[u8]) -> impl Iterator<Item = T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned)
}

fn convert<From: Element, To: Element>(from: &[u8], to: &mut [u8]) {
    for (value, to) in elements::<From>(from).zip(to.chunks_exact_mut(size_of::<To>())) {
        to.copy_from_slice(bytemuck::bytes_of(&To::from_f64(value.to_f64())));
    }
}

/// The first element that is not finite.
fn odd<T: Element>(bytes: &[u8]) -> Option<f64> {
    // Adding up is quick, and finds what is not finite; sums of large numbers are looked at again.
    let sum: f32 = elements::<T>(bytes).map(|value| value.to_f32() * 0.0).sum();
    if sum == 0.0 {
        return None;
    }
    elements::<T>(bytes).map(Element::to_f64).find(|value| !value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_found() {
        let bytes: Vec<u8> =
            [1.0f32, f32::MAX, -f32::MAX, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(odd::<f32>(&bytes), None);
        let bytes: Vec<u8> =
            [1.0f32, f32::NEG_INFINITY, f32::NAN].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(odd::<f32>(&bytes), Some(f64::NEG_INFINITY));
    }

    #[test]
    fn types_are_converted_to_nearest() {
        let from: Vec<u8> = [1.0f32, 1.0 + 1.0 / 256.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let mut to = [0u8; 4];
        convert::<f32, epoch0_num::bf16>(&from, &mut to);
        // A tie, to even.
        assert_eq!(elements::<epoch0_num::bf16>(&to).map(Element::to_f64).collect::<Vec<_>>(), [1.0, 1.0]);
    }
}
