//! A tensor as codes of its elements and the numbers that they stand for, and how that lies in a file.

use std::borrow::Cow;

use epoch0_method::Error;
use epoch0_num::{Dtype, Element, f16, with_element};

use crate::pair::refuse;

/// A part of a tensor of codes: the end of its name, its type, shape and bytes.
pub(super) type Part<'a> = (&'static str, Dtype, Vec<usize>, Cow<'a, [u8]>);

/// How the rows of a tensor are told into groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Groups {
    /// One group.
    One,
    /// Runs of rows: for each group the row behind its last.
    Runs(Vec<u32>),
    /// The group of each row.
    Rows(Vec<u8>),
    /// Each row is one.
    Each(usize),
}

impl Groups {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::One => 1,
            Self::Runs(ends) => ends.len(),
            Self::Rows(of) => of.iter().max().map_or(1, |&most| usize::from(most) + 1),
            Self::Each(rows) => *rows,
        }
    }

    /// Whether there is none, which cannot be.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The group of each row.
    pub fn of(&self, rows: usize) -> Vec<u32> {
        match self {
            Self::One => vec![0; rows],
            Self::Runs(ends) => {
                let mut begin = 0;
                let mut of = Vec::with_capacity(rows);
                for (nth, &end) in ends.iter().enumerate() {
                    of.extend((begin..end).map(|_| nth as u32));
                    begin = end;
                }
                of
            }
            Self::Rows(of) => of.iter().map(|&group| u32::from(group)).collect(),
            Self::Each(rows) => (0..*rows as u32).collect(),
        }
    }

    /// Bytes that they take.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::One | Self::Each(_) => 0,
            Self::Runs(ends) => 4 * ends.len(),
            Self::Rows(of) => of.len(),
        }
    }
}

/// A tensor whose elements are codes: `books[group, code]`, times the group's scale where there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct CodebookTensor<'a> {
    shape: Vec<usize>,
    /// The dimension whose places are rows.
    dim: usize,
    bits: u32,
    /// Codes in the order of the elements, `bits` each, the first in the lowest bits.
    codes: Cow<'a, [u8]>,
    /// One for each group, or one for all.
    books: Vec<f32>,
    scales: Option<Vec<f32>>,
    groups: Groups,
    /// The group of each row.
    of: Vec<u32>,
}

/// What a tensor in a file consists of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts<'a> {
    /// Codes.
    pub codes: &'a [u8],
    /// Shape and bytes of the books, f16.
    pub books: (&'a [usize], &'a [u8]),
    /// Scales, f16.
    pub scales: Option<&'a [u8]>,
    /// Ends of groups, u32.
    pub ends: Option<&'a [u8]>,
    /// Groups of rows.
    pub rows: Option<&'a [u8]>,
}

/// Bytes of so many codes; none where they cannot be counted.
pub fn code_bytes(len: usize, bits: u32) -> Option<usize> {
    len.checked_mul(bits as usize).map(|bits| bits.div_ceil(8))
}

/// Codes, `bits` each, the first in the lowest bits of the first byte.
pub(crate) fn packed(codes: impl Iterator<Item = u8>, len: usize, bits: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity((len * bits as usize).div_ceil(8));
    let (mut word, mut filled) = (0u32, 0);
    for code in codes {
        word |= u32::from(code) << filled;
        filled += bits;
        while filled >= 8 {
            out.push(word as u8);
            word >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(word as u8);
    }
    out
}

fn halves(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect()
}

fn half_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect()
}

impl<'a> CodebookTensor<'a> {
    /// Of parts that fit.
    pub(crate) fn new(
        (shape, dim, bits): (Vec<usize>, usize, u32),
        codes: Vec<u8>,
        books: Vec<f32>,
        scales: Option<Vec<f32>>,
        groups: Groups,
    ) -> Self {
        let of = groups.of(shape[dim]);
        Self { shape, dim, bits, codes: Cow::Owned(codes), books, scales, groups, of }
    }

    /// The tensor `name` of a file, which may hold anything.
    ///
    /// # Errors
    /// When parts do not fit together.
    pub fn read(
        name: &str,
        (shape, dim, bits): (Vec<usize>, usize, u32),
        parts: Parts<'a>,
    ) -> Result<Self, Error> {
        let wrong = |what: &str, why: String| {
            refuse("codebook", &format!("{name}.{what}"), &why, "compress the network again")
        };
        if !(1..=8).contains(&bits) {
            return Err(wrong("codes", format!("they have {bits} bits each, allowed 1 to 8")));
        }
        let Some(&rows) = shape.get(dim) else {
            return Err(wrong("codes", format!("rows are dimension {dim} of a shape of {}", shape.len())));
        };
        let wanted = shape.iter().try_fold(1usize, |all, &size| all.checked_mul(size));
        let wanted = wanted.and_then(|len| code_bytes(len, bits));
        if wanted != Some(parts.codes.len()) {
            let found = parts.codes.len();
            return Err(wrong(
                "codes",
                format!("it has {found} bytes, which is not shape {shape:?} in {bits} bits"),
            ));
        }
        let of_rows = |what: &str, bytes: &[u8], n: usize| match bytes.len() == n {
            true => Ok(()),
            false => Err(wrong(what, format!("it has {} bytes, allowed {n}", bytes.len()))),
        };
        let k = 1usize << bits;
        let &[n_books, width] = parts.books.0 else {
            return Err(wrong("books", format!("it has shape {:?}, allowed [groups, {k}]", parts.books.0)));
        };
        if width != k || n_books == 0 || parts.books.1.len() / 2 != n_books.saturating_mul(k) {
            return Err(wrong("books", format!("it has shape {:?}, allowed [groups, {k}]", parts.books.0)));
        }
        let n_scales = parts.scales.map(|bytes| bytes.len() / 2);
        let n = n_scales.unwrap_or(n_books);
        if n == 0 || n_scales.is_some() && n_books != 1 {
            return Err(wrong("scales", format!("there are {n} of them, and {n_books} books")));
        }
        let groups = match (parts.ends, parts.rows) {
            (Some(_), Some(_)) => return Err(wrong("groups", "there are both runs and rows".to_owned())),
            (Some(bytes), None) => {
                of_rows("groups", bytes, 4 * n)?;
                let ends: Vec<u32> =
                    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
                let ascends = ends.windows(2).all(|pair| pair[0] <= pair[1]);
                if !ascends || ends.last().is_none_or(|&end| end as usize != rows) {
                    return Err(wrong("groups", format!("its ends do not lead to the {rows} rows")));
                }
                Groups::Runs(ends)
            }
            (None, Some(bytes)) => {
                of_rows("rows", bytes, rows)?;
                if let Some(beyond) = bytes.iter().find(|&&group| usize::from(group) >= n) {
                    return Err(wrong("rows", format!("a row is of group {beyond}, and there are {n}")));
                }
                Groups::Rows(bytes.to_vec())
            }
            (None, None) if n == 1 => Groups::One,
            (None, None) if n == rows => Groups::Each(rows),
            (None, None) => {
                return Err(wrong(
                    "groups",
                    format!("there are {n} groups of {rows} rows, and nothing says which"),
                ));
            }
        };
        let (books, scales) = (halves(parts.books.1), parts.scales.map(halves));
        if books.iter().chain(scales.iter().flatten()).any(|value| !value.is_finite()) {
            return Err(wrong("books", "it holds a number that is not finite".to_owned()));
        }
        let of = groups.of(rows);
        Ok(Self { shape, dim, bits, codes: Cow::Borrowed(parts.codes), books, scales, groups, of })
    }

    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The dimension whose places are rows, and bits of a code.
    pub fn layout(&self) -> (usize, u32) {
        (self.dim, self.bits)
    }

    /// Its groups of rows.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The parts of it that a file holds, with the end of their name, type and shape.
    pub fn parts(&self) -> Vec<Part<'_>> {
        let k = 1 << self.bits;
        let mut parts = vec![
            ("codes", Dtype::U8, vec![self.codes.len()], Cow::Borrowed(&*self.codes)),
            ("books", Dtype::F16, vec![self.books.len() / k, k], Cow::Owned(half_bytes(&self.books))),
        ];
        if let Some(scales) = &self.scales {
            parts.push(("scales", Dtype::F16, vec![scales.len()], Cow::Owned(half_bytes(scales))));
        }
        match &self.groups {
            Groups::One | Groups::Each(_) => {}
            Groups::Runs(ends) => {
                let bytes = ends.iter().flat_map(|end| end.to_le_bytes()).collect();
                parts.push(("groups", Dtype::U32, vec![ends.len()], Cow::Owned(bytes)));
            }
            Groups::Rows(of) => parts.push(("rows", Dtype::U8, vec![of.len()], Cow::Borrowed(of))),
        }
        parts
    }

    fn code(&self, at: usize) -> usize {
        let bit = at * self.bits as usize;
        let next = self.codes.get(bit / 8 + 1).copied().unwrap_or(0);
        let word = u16::from_le_bytes([self.codes[bit / 8], next]);
        usize::from(word >> (bit % 8)) & ((1 << self.bits) - 1)
    }

    /// What a code stands for in a group.
    fn level(&self, group: usize, code: usize) -> f32 {
        match &self.scales {
            None if self.books.len() == 1 << self.bits => self.books[code],
            None => self.books[(group << self.bits) + code],
            Some(scales) => self.books[code] * scales[group],
        }
    }

    /// Elements from `start` on.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn values(&self, start: usize, out: &mut [f32]) {
        let inner: usize = self.shape[self.dim + 1..].iter().product::<usize>().max(1);
        for (at, out) in (start..).zip(out) {
            let row = at / inner % self.shape[self.dim];
            *out = self.level(self.of[row] as usize, self.code(at));
        }
    }

    /// Elements from `start` on, little-endian, as a floating-point type.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn fill(&self, start: usize, dtype: Dtype, out: &mut [u8]) {
        let mut values = vec![0.0; out.len() / dtype.bytes()];
        self.values(start, &mut values);
        with_element!(dtype, T => {
            for (value, to) in values.iter().zip(out.chunks_exact_mut(size_of::<T>())) {
                to.copy_from_slice(bytemuck::bytes_of(&T::from_f64(f64::from(*value))));
            }
        });
    }

    /// The product of a matrix `[out, in]` and a vector: for each row what is at each code is added up first, so that there are
    /// as many products as codes. None where the tensor is no such matrix or the vector has another size.
    pub fn matvec(&self, x: &[f32]) -> Option<Vec<f32>> {
        let &[rows, columns] = &self.shape[..] else { return None };
        if self.dim != 0 || x.len() != columns {
            return None;
        }
        let mut sums = vec![0.0f32; 1 << self.bits];
        let row = |row: usize| {
            sums.fill(0.0);
            x.iter().enumerate().for_each(|(at, x)| sums[self.code(row * columns + at)] += x);
            let group = self.of[row] as usize;
            sums.iter().enumerate().map(|(code, sum)| sum * self.level(group, code)).sum()
        };
        Some((0..rows).map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(bits: u32, groups: Groups, scaled: bool) -> CodebookTensor<'static> {
        let (rows, columns, k) = (6, 5, 1usize << bits);
        let codes = (0..rows * columns).map(|at| (at * 7 % k) as u8);
        let n = groups.len();
        let books = (0..if scaled { k } else { n * k }).map(|at| at as f32 * 0.25 - 2.0).collect();
        let scales = scaled.then(|| (0..n).map(|nth| 1.0 + nth as f32).collect());
        CodebookTensor::new(
            (vec![rows, columns], 0, bits),
            packed(codes, rows * columns, bits),
            books,
            scales,
            groups,
        )
    }

    fn again(tensor: &CodebookTensor<'_>, change: impl Fn(&mut Parts<'_>)) -> Result<Vec<f32>, Error> {
        let owned = tensor.parts();
        let of = |name: &str| owned.iter().find(|part| part.0 == name).map(|part| &*part.3);
        let shape = &owned.iter().find(|part| part.0 == "books").unwrap().2;
        let mut parts = Parts {
            codes: of("codes").unwrap(),
            books: (shape, of("books").unwrap()),
            scales: of("scales"),
            ends: of("groups"),
            rows: of("rows"),
        };
        change(&mut parts);
        let read = CodebookTensor::read("w", (tensor.shape.clone(), tensor.dim, tensor.bits), parts)?;
        let mut values = vec![0.0; 30];
        read.values(0, &mut values);
        Ok(values)
    }

    #[test]
    fn what_is_packed_comes_back() {
        for bits in 1..=8 {
            for groups in
                [Groups::One, Groups::Runs(vec![2, 6]), Groups::Rows(vec![1, 0, 2, 1, 0, 2]), Groups::Each(6)]
            {
                for scaled in [false, true] {
                    let tensor = tensor(bits, groups.clone(), scaled);
                    let values = again(&tensor, |_| {}).unwrap();
                    for (at, value) in values.iter().enumerate() {
                        let (group, code) = (tensor.of[at / 5] as usize, at * 7 % (1 << bits));
                        assert_eq!(*value, tensor.level(group, code));
                    }
                }
            }
        }
    }

    #[test]
    fn products_are_those_of_the_values() {
        let tensor = tensor(3, Groups::Runs(vec![2, 6]), false);
        let x = [1.0, -2.0, 3.0, 0.5, 4.0];
        let mut values = vec![0.0; 30];
        tensor.values(0, &mut values);
        let wanted: Vec<f32> =
            values.chunks(5).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect();
        assert_eq!(tensor.matvec(&x).unwrap(), wanted);
        assert_eq!(tensor.matvec(&x[1..]), None);
    }

    #[test]
    fn files_that_do_not_fit_are_refused() {
        let runs = tensor(2, Groups::Runs(vec![2, 6]), false);
        let rows = tensor(2, Groups::Rows(vec![1, 0, 2, 1, 0, 2]), true);
        let said = |found: Result<Vec<f32>, Error>| found.unwrap_err().to_string();
        assert!(said(again(&runs, |parts| parts.codes = &parts.codes[1..])).contains("w.codes"));
        assert!(said(again(&runs, |parts| parts.books.1 = &[0; 6])).contains("w.books"));
        assert!(said(again(&runs, |parts| parts.books.0 = &[usize::MAX, 4])).contains("w.books"));
        assert!(said(again(&runs, |parts| parts.ends = None)).contains("nothing says which"));
        assert!(said(again(&runs, |parts| parts.ends = Some(&[9, 0, 0, 0, 6, 0, 0, 0]))).contains("ends"));
        assert!(said(again(&runs, |parts| parts.ends = Some(&[6]))).contains("w.groups"));
        assert!(said(again(&rows, |parts| parts.rows = Some(&[7; 6]))).contains("group 7"));
        assert!(said(again(&rows, |parts| parts.rows = Some(&[0; 5]))).contains("w.rows"));
        assert!(said(again(&rows, |parts| parts.scales = Some(&[0xff; 6]))).contains("not finite"));
        let parts = Parts { books: (&[1, 4], &[0; 8]), ..Parts::default() };
        for (shape, dim, bits) in [(vec![usize::MAX, 3], 0, 2), (vec![], 0, 2), (vec![0, 0], 0, 9)] {
            assert!(CodebookTensor::read("w", (shape, dim, bits), parts).is_err());
        }
    }
}
