//! Reading what was chosen, piece by piece: nothing is held but the piece.

use std::sync::Arc;

use epoch0_format::Tensor;
use epoch0_num::{Dtype, Element, with_element};

use crate::Inherited;

/// The elements of a child's parameter in a parent's tensor.
#[derive(Clone, Debug)]
pub struct Gather<'a> {
    tensor: Tensor<'a>,
    /// Outer dimensions: places, times the elements that each steps over.
    outer: Vec<(Arc<[usize]>, usize)>,
    /// The innermost dimension.
    inner: Arc<[usize]>,
    /// Whether places of it follow each other without a gap.
    is_run: bool,
}

impl<'a> Gather<'a> {
    /// Of a tensor that has the parent's shape.
    pub fn new(inherited: &Inherited, tensor: Tensor<'a>) -> Self {
        let shape = tensor.shape();
        let strides = (0..shape.len()).map(|dim| shape[dim + 1..].iter().product());
        let mut outer: Vec<(Arc<[usize]>, usize)> = inherited.places.iter().cloned().zip(strides).collect();
        let inner = outer.pop().map_or_else(|| Arc::from([0]), |(places, _)| places);
        let is_run = inner.windows(2).all(|pair| pair[1] == pair[0] + 1);
        Self { tensor, outer, inner, is_run }
    }

    /// Fills `out` with the elements from `start` on, as `dtype`; answers the first that is not finite.
    ///
    /// # Panics
    /// When `out` holds more than there are, and when types differ that are not both floating-point numbers.
    pub fn read(&self, start: usize, dtype: Dtype, out: &mut [u8]) -> Option<f64> {
        let from = self.tensor.dtype();
        if from == dtype {
            self.bytes(start, out);
        } else {
            assert!(is_number(from) && is_number(dtype), "{from} as {dtype}");
            let mut bytes = vec![0; out.len() / dtype.bytes() * from.bytes()];
            self.bytes(start, &mut bytes);
            with_element!(from, From => with_element!(dtype, To => convert::<From, To>(&bytes, out)));
        }
        if is_number(dtype) { with_element!(dtype, T => odd::<T>(out)) } else { None }
    }

    fn bytes(&self, start: usize, out: &mut [u8]) {
        let size = self.tensor.dtype().bytes();
        let bytes = self.tensor.bytes();
        let width = self.inner.len().max(1);
        let (mut row, mut column) = (start / width, start % width);
        let mut out = out;
        while !out.is_empty() {
            let n = (width - column).min(out.len() / size);
            let (here, rest) = out.split_at_mut(n * size);
            let base = self.row(row);
            if self.is_run {
                let begin = (base + self.inner[column]) * size;
                here.copy_from_slice(&bytes[begin..begin + n * size]);
            } else {
                let places = &self.inner[column..column + n];
                match size {
                    4 => gather::<4>(bytes, base, places, here),
                    2 => gather::<2>(bytes, base, places, here),
                    8 => gather::<8>(bytes, base, places, here),
                    _ => gather::<1>(bytes, base, places, here),
                }
            }
            (out, row, column) = (rest, row + 1, 0);
        }
    }

    /// Element of the tensor at which a row of the child begins.
    fn row(&self, mut row: usize) -> usize {
        let mut base = 0;
        for (places, stride) in self.outer.iter().rev() {
            base += places[row % places.len()] * stride;
            row /= places.len();
        }
        base
    }
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
