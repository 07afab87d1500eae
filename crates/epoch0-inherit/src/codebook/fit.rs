//! Codes and books of one matrix of rows, by k-means of its numbers.

use epoch0_method::Error;
use epoch0_num::f16;
use rayon::prelude::*;

use super::means::{centres, nearest};
use super::{ID, Mode};
use crate::pair::refuse;

/// A matrix whose rows are the neurons, whatever lies where in the tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    /// Elements of the dimensions before that of the rows.
    outer: usize,
    /// Rows.
    pub(super) n: usize,
    /// Elements of the dimensions behind.
    inner: usize,
}

impl Rows {
    pub(super) fn new(shape: &[usize], dim: usize) -> Self {
        let product = |sizes: &[usize]| sizes.iter().product::<usize>();
        Self { outer: product(&shape[..dim]), n: shape[dim], inner: product(&shape[dim + 1..]) }
    }

    /// Elements of a row.
    pub(super) fn width(&self) -> usize {
        self.outer * self.inner
    }

    fn moved<T: Copy + Default>(&self, from: &[T], is_back: bool) -> Vec<T> {
        if self.outer == 1 {
            return from.to_vec();
        }
        let mut to = vec![T::default(); from.len()];
        for outer in 0..self.outer {
            for row in 0..self.n {
                let (own, other) =
                    ((outer * self.n + row) * self.inner, row * self.width() + outer * self.inner);
                let (read, write) = if is_back { (other, own) } else { (own, other) };
                to[write..write + self.inner].copy_from_slice(&from[read..read + self.inner]);
            }
        }
        to
    }

    /// Elements of the tensor row by row.
    pub(super) fn gathered<T: Copy + Default>(&self, tensor: &[T]) -> Vec<T> {
        self.moved(tensor, false)
    }

    /// Rows as the tensor has them.
    pub(super) fn scattered<T: Copy + Default>(&self, rows: &[T]) -> Vec<T> {
        self.moved(rows, true)
    }
}

/// Codes of a matrix, row by row, and what they stand for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fit {
    pub(super) bits: u32,
    pub(super) width: usize,
    pub(super) codes: Vec<u8>,
    /// One for each group, or one for all, each in ascending order.
    pub(super) books: Vec<f32>,
    pub(super) scales: Option<Vec<f32>>,
}

/// A number as a file holds it.
pub(super) fn half(value: f64) -> f32 {
    f16::from_f64(value).to_f32()
}

impl Fit {
    /// By k-means, or on an even grid from −max to max of each row, given the group of each row.
    pub(super) fn new(
        name: &str,
        weights: &[f32],
        width: usize,
        of: &[u32],
        bits: u32,
        mode: Mode,
    ) -> Result<Self, Error> {
        let k = 1usize << bits;
        let n = of.iter().max().map_or(1, |&most| most as usize + 1);
        let rows = |group: usize| {
            of.iter().enumerate().filter(move |(_, of)| **of as usize == group).map(|(at, _)| at)
        };
        let row = |at: usize| &weights[at * width..(at + 1) * width];
        let book = |mut values: Vec<f32>| {
            values.par_sort_unstable_by(f32::total_cmp);
            centres(&values, k).into_iter().map(half).collect::<Vec<f32>>()
        };
        let (books, scales) = match mode {
            Mode::Books => {
                let own = |group: usize| book(rows(group).flat_map(|at| row(at).iter().copied()).collect());
                ((0..n).into_par_iter().flat_map_iter(own).collect(), None)
            }
            Mode::Scales => {
                let mut sums = vec![(0.0, 0usize); n];
                for (at, &group) in of.iter().enumerate() {
                    let sum = &mut sums[group as usize];
                    sum.0 += row(at).iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
                    sum.1 += width;
                }
                let scale = |(sum, n): (f64, usize)| half((sum / n.max(1) as f64).sqrt());
                let scales: Vec<f32> =
                    sums.into_iter().map(scale).map(|s| if s > 0.0 { s } else { 1.0 }).collect();
                let normal =
                    |at: usize| row(at).iter().map(|x| x / scales[of[at] as usize]).collect::<Vec<f32>>();
                (book((0..of.len()).flat_map(normal).collect()), Some(scales))
            }
            Mode::Uniform => {
                let most = |at: usize| row(at).iter().fold(0.0f32, |most, x| most.max(x.abs()));
                let scales = (0..of.len()).map(|at| half(f64::from(most(at)))).collect();
                let last = (k - 1) as f64;
                ((0..k).map(|at| half(2.0 * at as f64 / last - 1.0)).collect(), Some(scales))
            }
        };
        let mut fit = Self { bits, width, codes: Vec::new(), books, scales };
        if let Some(odd) =
            fit.books.iter().chain(fit.scales.iter().flatten()).find(|value| !value.is_finite())
        {
            let why = format!("its weights become {odd} in f16, which books are written as");
            return Err(refuse(ID, name, &why, "scales reach farther than books: take mode=scales"));
        }
        let code = |(at, values): (usize, &[f32])| {
            let levels = fit.levels(of[at] as usize);
            values.iter().map(|&x| nearest(&levels, x) as u8).collect::<Vec<u8>>()
        };
        fit.codes = weights.par_chunks(width.max(1)).enumerate().flat_map_iter(code).collect();
        Ok(fit)
    }

    /// What codes of a group stand for.
    pub(super) fn levels(&self, group: usize) -> Vec<f32> {
        let k = 1usize << self.bits;
        match &self.scales {
            None if self.books.len() == k => self.books.clone(),
            None => self.books[group * k..(group + 1) * k].to_vec(),
            Some(scales) => self.books.iter().map(|level| level * scales[group]).collect(),
        }
    }

    /// The matrix that the codes stand for.
    pub(super) fn values(&self, of: &[u32]) -> Vec<f32> {
        let mut values = vec![0.0; self.codes.len()];
        if self.width == 0 {
            return values;
        }
        values.par_chunks_mut(self.width).zip(self.codes.par_chunks(self.width)).enumerate().for_each(
            |(at, (values, codes))| {
                let levels = self.levels(of[at] as usize);
                values.iter_mut().zip(codes).for_each(|(value, &code)| *value = levels[usize::from(code)]);
            },
        );
        values
    }

    /// The squared distance of what the codes stand for, as a share of the squared weights.
    pub(super) fn error(&self, weights: &[f32], of: &[u32]) -> f64 {
        let values = self.values(of);
        let off: f64 =
            weights.iter().zip(&values).map(|(w, v)| (f64::from(*w) - f64::from(*v)).powi(2)).sum();
        let size: f64 = weights.iter().map(|&w| f64::from(w).powi(2)).sum();
        if size > 0.0 { off / size } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use epoch0_num::{Law, Stream};

    fn normal(n: usize) -> Vec<f32> {
        let mut values = vec![0.0; n];
        Law::normal(0.0, 0.05).fill(&Stream::new(0, "fit"), 0, &mut values).unwrap();
        values
    }

    /// Lloyd-Max quantizers of a normal law: J. Max, 1960, table I, with 4, 8 and 16 levels.
    #[test]
    fn errors_are_those_of_the_best_quantizers() {
        let weights = normal(200_000);
        for (bits, wanted) in [(2, 0.1175), (3, 0.03454), (4, 0.009497)] {
            for mode in [Mode::Books, Mode::Scales] {
                let fit = Fit::new("w", &weights, 200, &vec![0; 1000], bits, mode).unwrap();
                let found = fit.error(&weights, &vec![0; 1000]);
                assert!((found / wanted - 1.0).abs() < 0.03, "{bits} {mode:?}: {found}");
            }
            let of: Vec<u32> = (0..1000).collect();
            let even = Fit::new("w", &weights, 200, &of, bits, Mode::Uniform).unwrap();
            assert!(even.error(&weights, &of) > 1.2 * wanted);
        }
    }

    #[test]
    fn rows_are_gathered_along_any_dimension() {
        let values: Vec<u32> = (0..24).collect();
        let rows = Rows::new(&[2, 3, 4], 1);
        assert_eq!((rows.n, rows.width()), (3, 8));
        let gathered = rows.gathered(&values);
        assert_eq!(gathered[8..16], [4, 5, 6, 7, 16, 17, 18, 19]);
        assert_eq!(rows.scattered(&gathered), values);
    }

    #[test]
    fn what_does_not_fit_into_books_is_named() {
        let weights = [1e6f32, 1.0, 2.0, 3.0];
        let error = Fit::new("w", &weights, 2, &[0, 0], 2, Mode::Books).unwrap_err().to_string();
        assert!(error.contains("w: its weights become inf in f16"), "{error}");
        let zeros = Fit::new("w", &[0.0; 4], 2, &[0, 1], 1, Mode::Scales).unwrap();
        assert_eq!(zeros.values(&[0, 1]), [0.0; 4]);
    }
}
