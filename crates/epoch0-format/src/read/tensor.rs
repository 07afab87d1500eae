//! One tensor of an open checkpoint.

use std::path::Path;

use epoch0_num::Dtype;
use half::{bf16, f16};

use super::header::TensorInfo;
use crate::error::Error;

/// A tensor in an open checkpoint: a view, nothing is loaded before it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    pub(super) info: &'a TensorInfo,
    pub(super) file: &'a Path,
    pub(super) bytes: &'a [u8],
}

impl<'a> Tensor<'a> {
    /// Its name.
    pub fn name(&self) -> &'a str {
        &self.info.name
    }

    /// Type of its elements.
    pub fn dtype(&self) -> Dtype {
        self.info.dtype
    }

    /// Its shape; empty for a scalar.
    pub fn shape(&self) -> &'a [usize] {
        &self.info.shape
    }

    /// How many elements it has.
    #[expect(clippy::len_without_is_empty, reason = "a count of elements, not of a container")]
    pub fn len(&self) -> usize {
        self.info.shape.iter().product()
    }

    /// Its elements in row-major order, little-endian, as they stand in the file. They may be unaligned.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The file that holds it.
    pub fn file(&self) -> &'a Path {
        self.file
    }

    /// Fills `values` with the elements from `start` on; f64 elements are rounded to the nearest f32.
    pub fn read_f32(&self, start: usize, values: &mut [f32]) -> Result<(), Error> {
        let bytes = self.elements(start, values.len())?;
        convert_f32(self.dtype(), bytes, values).ok_or_else(|| self.not_float())
    }

    /// Fills `values` with the elements from `start` on, exactly.
    pub fn read_f64(&self, start: usize, values: &mut [f64]) -> Result<(), Error> {
        let bytes = self.elements(start, values.len())?;
        convert_f64(self.dtype(), bytes, values).ok_or_else(|| self.not_float())
    }

    /// Hands all elements over as f32, at most `chunk` at a time, with the index of the first.
    pub fn each_f32(&self, chunk: usize, mut visit: impl FnMut(usize, &[f32])) -> Result<(), Error> {
        self.chunked(
            chunk,
            |start, values| self.read_f32(start, values),
            |start, values| visit(start, values),
        )
    }

    /// Hands all elements over as f64, at most `chunk` at a time, with the index of the first.
    pub fn each_f64(&self, chunk: usize, mut visit: impl FnMut(usize, &[f64])) -> Result<(), Error> {
        self.chunked(
            chunk,
            |start, values| self.read_f64(start, values),
            |start, values| visit(start, values),
        )
    }

    fn chunked<T: Clone + Default>(
        &self,
        chunk: usize,
        mut read: impl FnMut(usize, &mut [T]) -> Result<(), Error>,
        mut visit: impl FnMut(usize, &[T]),
    ) -> Result<(), Error> {
        let mut values = vec![T::default(); chunk.clamp(1, self.len().max(1))];
        // An empty tensor is read too, so that a wrong dtype is an error whatever the shape.
        read(0, &mut [])?;
        let mut start = 0;
        while start < self.len() {
            let n = values.len().min(self.len() - start);
            read(start, &mut values[..n])?;
            visit(start, &values[..n]);
            start += n;
        }
        Ok(())
    }

    /// Bytes of `n` whole-byte elements from `start` on.
    fn elements(&self, start: usize, n: usize) -> Result<&'a [u8], Error> {
        if !self.dtype().is_float() {
            return Err(self.not_float());
        }
        let size = self.dtype().bytes();
        match start.checked_add(n) {
            Some(end) if end <= self.len() => Ok(&self.bytes[start * size..end * size]),
            _ => Err(Error::OutOfRange {
                tensor: self.name().to_owned(),
                unit: "elements",
                start: start as u64,
                end: (start as u64).saturating_add(n as u64),
                len: self.len() as u64,
            }),
        }
    }

    fn not_float(&self) -> Error {
        Error::NotFloat { tensor: self.name().to_owned(), dtype: self.dtype() }
    }
}

/// Elements of a floating-point type as f32; `None` for other types.
pub(crate) fn convert_f32(dtype: Dtype, bytes: &[u8], values: &mut [f32]) -> Option<()> {
    match dtype {
        Dtype::F32 => convert(bytes, values, f32::from_le_bytes),
        Dtype::F64 => convert(bytes, values, |b| f64::from_le_bytes(b) as f32),
        Dtype::BF16 => convert(bytes, values, |b| bf16::from_le_bytes(b).to_f32()),
        Dtype::F16 => convert(bytes, values, |b| f16::from_le_bytes(b).to_f32()),
        _ => return None,
    }
    Some(())
}

/// Elements of a floating-point type as f64; `None` for other types.
pub(crate) fn convert_f64(dtype: Dtype, bytes: &[u8], values: &mut [f64]) -> Option<()> {
    match dtype {
        Dtype::F32 => convert(bytes, values, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::F64 => convert(bytes, values, f64::from_le_bytes),
        Dtype::BF16 => convert(bytes, values, |b| bf16::from_le_bytes(b).to_f64()),
        Dtype::F16 => convert(bytes, values, |b| f16::from_le_bytes(b).to_f64()),
        _ => return None,
    }
    Some(())
}

fn convert<const N: usize, T>(bytes: &[u8], values: &mut [T], from: impl Fn([u8; N]) -> T) {
    let (elements, _) = bytes.as_chunks::<N>();
    for (value, element) in values.iter_mut().zip(elements) {
        *value = from(*element);
    }
}
