//! NPY, numpy's file of one array.
//!
//! `\x93NUMPY`, a version, the length of a header, the header (a Python dictionary of type, order and shape), the
//! elements (numpy, "NEP 1: a simple file format for NumPy arrays"). Versions 1 to 3, both byte orders and both memory
//! orders are read; version 1, little-endian, row-major is written. Arrays of objects, records, texts and complex
//! numbers are refused.

use std::io::Write;
use std::path::Path;

use epoch0_format::write_file_atomically;
use half::f16;

use super::Source;
use crate::Error;
use crate::array::{AnyArray, Array, len_of};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// The longest header that is read, in bytes. Numpy itself refuses more than 10,000.
const LONGEST_HEADER: u64 = 1 << 16;

/// More dimensions than numpy has.
const MOST_DIMS: usize = 64;

/// Reads a file.
///
/// # Errors
/// When it cannot be read, is not in the format, of a type above that is refused, or shorter or longer than it says.
pub fn read(path: &Path) -> Result<AnyArray, Error> {
    parse(&mut Source::open(path)?)
}

/// Reads an array from memory; `of` is its name in errors.
///
/// # Errors
/// As [`read()`].
pub fn from_bytes(of: &str, bytes: &[u8]) -> Result<AnyArray, Error> {
    parse(&mut Source::bytes(of, bytes))
}

/// Writes a file, whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, array: &AnyArray) -> Result<(), Error> {
    Ok(write_file_atomically(path, &to_bytes(array))?)
}

/// An array as the bytes of a file.
pub fn to_bytes(array: &AnyArray) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_to(array, &mut bytes).expect("memory takes everything");
    bytes
}

pub(super) fn write_to(array: &AnyArray, out: &mut impl Write) -> std::io::Result<()> {
    fn elements<const N: usize, T: Copy>(
        array: &Array<T>,
        out: &mut impl Write,
        to: impl Fn(T) -> [u8; N],
    ) -> std::io::Result<()> {
        // In pieces, so that a large array is not there twice.
        array.data().chunks(1 << 14).try_for_each(|chunk| {
            let bytes: Vec<u8> = chunk.iter().flat_map(|&element| to(element)).collect();
            out.write_all(&bytes)
        })
    }
    let descr = match array {
        AnyArray::F16(_) => "<f2",
        AnyArray::F32(_) => "<f4",
        AnyArray::F64(_) => "<f8",
        AnyArray::I8(_) => "|i1",
        AnyArray::I16(_) => "<i2",
        AnyArray::I32(_) => "<i4",
        AnyArray::I64(_) => "<i8",
        AnyArray::U8(_) => "|u1",
        AnyArray::U16(_) => "<u2",
        AnyArray::U32(_) => "<u4",
        AnyArray::U64(_) => "<u8",
        AnyArray::Bool(_) => "|b1",
    };
    let sizes: Vec<String> = array.shape().iter().map(usize::to_string).collect();
    // A tuple of one has to have a comma.
    let comma = if sizes.len() == 1 { "," } else { "" };
    let sizes = sizes.join(", ") + comma;
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    // The elements start at a multiple of 64 bytes.
    while !(MAGIC.len() + 4 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    out.write_all(MAGIC)?;
    match u16::try_from(header.len()) {
        Ok(len) => {
            out.write_all(&[1, 0])?;
            out.write_all(&len.to_le_bytes())?;
        }
        Err(_) => return Err(std::io::Error::other("the shape has too many dimensions")),
    }
    out.write_all(header.as_bytes())?;
    match array {
        AnyArray::F16(array) => elements(array, out, f16::to_le_bytes),
        AnyArray::F32(array) => elements(array, out, f32::to_le_bytes),
        AnyArray::F64(array) => elements(array, out, f64::to_le_bytes),
        AnyArray::I8(array) => elements(array, out, i8::to_le_bytes),
        AnyArray::I16(array) => elements(array, out, i16::to_le_bytes),
        AnyArray::I32(array) => elements(array, out, i32::to_le_bytes),
        AnyArray::I64(array) => elements(array, out, i64::to_le_bytes),
        AnyArray::U8(array) => out.write_all(array.data()),
        AnyArray::U16(array) => elements(array, out, u16::to_le_bytes),
        AnyArray::U32(array) => elements(array, out, u32::to_le_bytes),
        AnyArray::U64(array) => elements(array, out, u64::to_le_bytes),
        AnyArray::Bool(array) => elements(array, out, |value| [u8::from(value)]),
    }
}

pub(super) fn parse(source: &mut Source<'_>) -> Result<AnyArray, Error> {
    let start = source.exactly("the header", 8)?;
    if &start[..6] != MAGIC || !(1..=3).contains(&start[6]) {
        let allowed = "\\x93NUMPY and a version from 1 to 3";
        return Err(Error::content(&source.of, "its start", start.escape_ascii(), allowed));
    }
    let len = if start[6] == 1 {
        let len = source.exactly("the header", 2)?;
        u64::from(u16::from_le_bytes([len[0], len[1]]))
    } else {
        let len = source.exactly("the header", 4)?;
        u64::from(u32::from_le_bytes([len[0], len[1], len[2], len[3]]))
    };
    if len > LONGEST_HEADER {
        let allowed = format!("at most {LONGEST_HEADER}");
        return Err(Error::content(&source.of, "the header's length", len, allowed));
    }
    let text = source.exactly("the header", len)?;
    let header = std::str::from_utf8(&text).ok().and_then(Header::parse).ok_or_else(|| {
        let shown: String = String::from_utf8_lossy(&text).chars().take(100).collect();
        let allowed = "{'descr': TYPE, 'fortran_order': True or False, 'shape': (SIZES)}";
        Error::content(&source.of, "the header", format!("`{}`", shown.trim_end()), allowed)
    })?;
    let array = header.elements(source)?;
    source.end()?;
    Ok(array)
}

#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    is_fortran: bool,
    shape: Vec<usize>,
}

/// What is left of a header.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn skip(&mut self, mark: char) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(mark)?.trim_start();
        Some(())
    }

    fn quoted(&mut self) -> Option<&'a str> {
        let quote = self.0.chars().next().filter(|mark| ['\'', '"'].contains(mark))?;
        let (text, rest) = self.0[1..].split_once(quote)?;
        self.0 = rest;
        Some(text)
    }

    fn bool(&mut self) -> Option<bool> {
        let (value, word) = if self.0.starts_with("True") { (true, "True") } else { (false, "False") };
        self.0 = self.0.strip_prefix(word)?;
        Some(value)
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        self.skip('(')?;
        let (inside, rest) = self.0.split_once(')')?;
        self.0 = rest;
        let inside = inside.trim();
        if inside.is_empty() {
            return Some(Vec::new());
        }
        // `(3)` is a number in Python, and no shape.
        let is_tuple = inside.contains(',');
        let sizes = inside.strip_suffix(',').unwrap_or(inside).split(',').map(|size| {
            // Python 2 wrote long integers with an L.
            let size = size.trim();
            let size = size.strip_suffix('L').unwrap_or(size);
            size.bytes().all(|byte| byte.is_ascii_digit()).then(|| size.parse().ok())?
        });
        sizes.collect::<Option<Vec<usize>>>().filter(|sizes| is_tuple && sizes.len() <= MOST_DIMS)
    }
}

impl Header {
    fn parse(text: &str) -> Option<Self> {
        let mut rest = Rest(text);
        let (mut descr, mut is_fortran, mut shape) = (None, None, None);
        rest.skip('{')?;
        while !rest.0.starts_with('}') {
            let key = rest.quoted()?;
            rest.skip(':')?;
            let is_new = match key {
                "descr" => descr.replace(rest.quoted()?.to_owned()).is_none(),
                "fortran_order" => is_fortran.replace(rest.bool()?).is_none(),
                "shape" => shape.replace(rest.tuple()?).is_none(),
                _ => false,
            };
            if !is_new {
                return None;
            }
            if rest.skip(',').is_none() {
                rest.0 = rest.0.trim_start();
                if !rest.0.starts_with('}') {
                    return None;
                }
            }
        }
        let is_end = rest.0[1..].trim().is_empty();
        let header = Self { descr: descr?, is_fortran: is_fortran?, shape: shape? };
        is_end.then_some(header)
    }

    fn elements(self, source: &mut Source<'_>) -> Result<AnyArray, Error> {
        let unknown = |descr: &str| {
            let allowed = "f2, f4, f8, i1, i2, i4, i8, u1, u2, u4, u8 and b1, after `<`, `>`, `=` or `|`";
            Error::content(&source.of, "the type", format!("`{descr}`"), allowed)
                .hint("convert it with array.astype(numpy.float32)")
        };
        let Some((order @ ("<" | ">" | "=" | "|"), kind)) = self.descr.split_at_checked(1) else {
            return Err(unknown(&self.descr));
        };
        let width = match kind {
            "i1" | "u1" | "b1" => 1u64,
            "f2" | "i2" | "u2" => 2,
            "f4" | "i4" | "u4" => 4,
            "f8" | "i8" | "u8" => 8,
            _ => return Err(unknown(&self.descr)),
        };
        let len = len_of(&self.shape).and_then(|len| (len as u64).checked_mul(width)).ok_or_else(|| {
            let found = format!("{:?}", self.shape);
            Error::content(&source.of, "the shape", found, "one that fits into memory")
        })?;
        let mut bytes = source.exactly("the elements", len)?;
        if order == ">" {
            bytes.chunks_exact_mut(width as usize).for_each(<[u8]>::reverse);
        }
        Ok(match kind {
            "f2" => self.array(&bytes, f16::from_le_bytes)?.into(),
            "f4" => self.array(&bytes, f32::from_le_bytes)?.into(),
            "f8" => self.array(&bytes, f64::from_le_bytes)?.into(),
            "i1" => self.array(&bytes, i8::from_le_bytes)?.into(),
            "i2" => self.array(&bytes, i16::from_le_bytes)?.into(),
            "i4" => self.array(&bytes, i32::from_le_bytes)?.into(),
            "i8" => self.array(&bytes, i64::from_le_bytes)?.into(),
            "u1" => self.array(&bytes, u8::from_le_bytes)?.into(),
            "u2" => self.array(&bytes, u16::from_le_bytes)?.into(),
            "u4" => self.array(&bytes, u32::from_le_bytes)?.into(),
            "u8" => self.array(&bytes, u64::from_le_bytes)?.into(),
            _ => self.array(&bytes, |[byte]: [u8; 1]| byte != 0)?.into(),
        })
    }

    fn array<const N: usize, T: Copy>(
        &self,
        bytes: &[u8],
        from: impl Fn([u8; N]) -> T,
    ) -> Result<Array<T>, Error> {
        let (elements, _) = bytes.as_chunks();
        let elements: Vec<T> = elements.iter().map(|&element| from(element)).collect();
        let elements = if self.is_fortran { row_major(&self.shape, &elements) } else { elements };
        Array::new(self.shape.clone(), elements)
    }
}

/// Elements in column-major order put into row-major order.
fn row_major<T: Copy>(shape: &[usize], elements: &[T]) -> Vec<T> {
    let strides: Vec<usize> = shape
        .iter()
        .scan(1, |stride, &size| {
            let own = *stride;
            *stride *= size;
            Some(own)
        })
        .collect();
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    let mut out = Vec::with_capacity(elements.len());
    while out.len() < elements.len() {
        out.push(elements[at]);
        // Count up, the last dimension fastest.
        for dim in (0..shape.len()).rev() {
            index[dim] += 1;
            at += strides[dim];
            if index[dim] < shape[dim] {
                break;
            }
            at -= strides[dim] * shape[dim];
            index[dim] = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_python_reads_them() {
        let header =
            |text: &str| Header::parse(text).map(|header| (header.descr, header.is_fortran, header.shape));
        let of = |shape: &[usize]| Some(("<f4".to_owned(), false, shape.to_vec()));
        for (shape, sizes) in [("()", &[][..]), ("(3,)", &[3]), ("(3, 4)", &[3, 4]), ("( 3L,4L, )", &[3, 4])]
        {
            let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}   \n");
            assert_eq!(header(&text), of(sizes), "{shape}");
        }
        assert_eq!(header("{\"shape\":(2,),\"fortran_order\":False,\"descr\":\"<f4\"}"), of(&[2]));
        for bad in [
            "",
            "{",
            "{}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} x",
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3,)}",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '<f4' 'fortran_order': False, 'shape': (3,)}",
        ] {
            assert_eq!(header(bad), None, "{bad}");
        }
    }

    #[test]
    fn column_major_becomes_row_major() {
        // Of [[0, 1, 2], [3, 4, 5]].
        assert_eq!(row_major(&[2, 3], &[0, 3, 1, 4, 2, 5]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(row_major(&[], &[7]), [7]);
        assert!(row_major::<u8>(&[0, 3], &[]).is_empty());
        // [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
        assert_eq!(row_major(&[2, 2, 2], &[0, 4, 2, 6, 1, 5, 3, 7]), [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}
