//! Inner products of gradients.

use rayon::prelude::*;

use epoch0_net::ParamId;

use super::gradients::{Gradients, block, ranges};
use super::piece::{Outer, Piece, Rows, Signal};
use crate::kernel::Gram;
use crate::{Error, Tensor};

/// Rows of one product of matrices. Of a symmetric matrix of many such only one half is computed.
const TILE: usize = 512;

impl Gradients {
    /// Inner products of all gradients with each other, over the parameters that `select` says: `[rows, rows]`,
    /// symmetric.
    pub fn gram(&self, select: impl Fn(ParamId) -> bool) -> Gram {
        let mut sums = Sums::new(self, self, true);
        for term in terms(self, self, &select) {
            sums.add(&term);
        }
        sums.finish()
    }

    /// Inner products of these gradients with others' by the same parameters: `[rows, other's rows]`.
    ///
    /// # Errors
    ///
    /// When the others are not by the same parameters.
    pub fn cross_gram(&self, other: &Self, select: impl Fn(ParamId) -> bool) -> Result<Gram, Error> {
        if self.shapes != other.shapes {
            return Err(Error::Input {
                name: "gradients".to_owned(),
                found: format!("by {} parameters", other.shapes.len()),
                allowed: format!("by the same {} parameters, of the same shapes", self.shapes.len()),
            });
        }
        let mut sums = Sums::new(self, other, false);
        for term in terms(self, other, &select) {
            sums.add(&term);
        }
        Ok(sums.finish())
    }
}

/// All uses of one parameter, or of a weight and its bias seen as one, in two batches.
struct Term {
    left: Vec<Piece>,
    right: Vec<Piece>,
    first: usize,
    others: usize,
}

fn terms(left: &Gradients, right: &Gradients, select: &impl Fn(ParamId) -> bool) -> Vec<Term> {
    let mut terms: Vec<Term> = Vec::new();
    for param in left.params().filter(|param| select(*param)) {
        let (first, others) = left.matrix(param);
        let mut term =
            Term { left: left.pieces[&param].clone(), right: right.pieces[&param].clone(), first, others };
        // A bias is a weight of an input that is always one.
        if let Some(weight) = terms.iter_mut().find(|before| before.is_beside(&term)) {
            weight.join(&term);
            continue;
        }
        term.shorten();
        terms.push(term);
    }
    terms
}

/// Of a parameter with one use that is one outer product.
fn single(pieces: &[Piece]) -> Option<&Outer> {
    match pieces {
        [Piece::Outer(outer)] => Some(outer),
        _ => None,
    }
}

impl Term {
    fn is_beside(&self, other: &Self) -> bool {
        let fits = |one: &[Piece], two: &[Piece]| {
            single(one).zip(single(two)).is_some_and(|(one, two)| {
                one.origin == two.origin
                    && one.signal == two.signal
                    && one.positions() == 1
                    && one.maps() == 1
            })
        };
        fits(&self.left, &other.left) && fits(&self.right, &other.right)
    }

    fn join(&mut self, other: &Self) {
        let join = |into: &mut [Piece], from: &[Piece]| {
            let ([Piece::Outer(into)], Some(from)) = (into, single(from)) else { return };
            match into.signal {
                Signal::Columns => into.columns = Tensor::concat(&[&into.columns, &from.columns], 4),
                Signal::Rows => into.rows = Tensor::concat(&[&into.rows, &from.rows], 4),
            }
        };
        join(&mut self.left, &other.left);
        join(&mut self.right, &other.right);
        if let Some(outer) = single(&self.left) {
            (self.first, self.others) = (outer.n_rows(), outer.n_columns());
        }
    }

    /// Of a table that is only looked up, the rows that no word names are zero everywhere.
    fn shorten(&mut self) {
        let rows = |pieces: &[Piece]| -> Option<Vec<Rows>> {
            let rows = pieces.iter().map(|piece| match piece {
                Piece::Rows(rows) => Some(rows.clone()),
                _ => None,
            });
            rows.collect()
        };
        let (Some(left), Some(right)) = (rows(&self.left), rows(&self.right)) else { return };
        let mut words: Vec<i64> =
            left.iter().chain(&right).flat_map(|rows| rows.words.iter().copied()).collect();
        words.sort_unstable();
        words.dedup();
        self.first = words.len();
        self.left = left.iter().map(|rows| Piece::Rows(rows.among(&words))).collect();
        self.right = right.iter().map(|rows| Piece::Rows(rows.among(&words))).collect();
    }

    /// Whether products of positions cost less than forming gradients, in multiplications.
    fn by_positions(&self) -> Option<(&Outer, &Outer)> {
        let (a, b) = (single(&self.left)?, single(&self.right)?);
        let scalars = |pieces: &[Piece]| (pieces[0].examples() * pieces[0].outputs()) as f64;
        let (left, right) = (scalars(&self.left), scalars(&self.right));
        let examples = (self.left[0].examples() * self.right[0].examples()) as f64;
        let (m, p) = (a.maps() as f64, a.positions() as f64);
        let (r, c) = (a.n_rows() as f64, a.n_columns() as f64);
        let (signal, back) = match a.signal {
            Signal::Columns => (c, r),
            Signal::Rows => (r, c),
        };
        // A product that is read once costs as much as a few multiplications.
        let positions = m * p * b.positions() as f64 * (left * right * (back + 4.0) + examples * signal);
        let formed = m * r * c * (p * (left + right) + left * right);
        (positions < formed).then_some((a, b))
    }
}

/// Inner products so far.
struct Sums {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
    /// Whether only what is on and above the diagonal counts.
    is_symmetric: bool,
}

impl Sums {
    fn new(left: &Gradients, right: &Gradients, is_symmetric: bool) -> Self {
        let (rows, columns) = (left.rows(), right.rows());
        Self { rows, columns, values: vec![0.0; rows * columns], is_symmetric }
    }

    fn add(&mut self, term: &Term) {
        match term.by_positions() {
            Some((left, right)) if left.positions() * right.positions() * left.maps() == 1 => {
                self.add_vectors(left, right);
            }
            Some((left, right)) => self.add_positions(left, right),
            None => self.add_formed(term),
        }
    }

    fn add_formed(&mut self, term: &Term) {
        let Self { rows, columns, .. } = *self;
        let mut cuts = ranges(&term.left, term.first, term.others);
        if !self.is_symmetric {
            let other = ranges(&term.right, term.first, term.others);
            // The longer list has the shorter ranges.
            if other.len() > cuts.len() {
                cuts = other;
            }
        }
        for range in cuts {
            let width = range.len() * term.others;
            let left = block(&term.left, &range, term.others).reshape(&[rows, width]);
            let right = match self.is_symmetric {
                true => left.clone(),
                false => block(&term.right, &range, term.others).reshape(&[columns, width]),
            };
            self.tiles(TILE, TILE, |rows, columns| {
                let left = left.slice(0, rows.start, rows.end, 1);
                let right = right.slice(0, columns.start, columns.end, 1);
                left.matmul(&right.permute(&[1, 0])).to_f64()
            });
        }
    }

    /// Calls `product` for tiles of the matrix and adds what it answers.
    fn tiles(
        &mut self,
        height: usize,
        width: usize,
        mut product: impl FnMut(std::ops::Range<usize>, std::ops::Range<usize>) -> Vec<f64>,
    ) {
        let columns = self.columns;
        for top in (0..self.rows).step_by(height) {
            let rows = top..(top + height).min(self.rows);
            for left in (0..columns).step_by(width) {
                let part = left..(left + width).min(columns);
                if self.is_symmetric && part.end <= rows.start {
                    continue;
                }
                let found = product(rows.clone(), part.clone());
                let into = self.values[rows.start * columns..rows.end * columns].par_chunks_mut(columns);
                into.zip(found.par_chunks(part.len())).for_each(|(into, found)| {
                    into[part.clone()].iter_mut().zip(found).for_each(|(into, found)| *into += found);
                });
            }
        }
    }

    /// One position: the products of what was met, once for all numbers of an example, times those of what came back.
    fn add_vectors(&mut self, left: &Outer, right: &Outer) {
        let (a, b) = (Vectors::of(left), Vectors::of(right));
        let examples = |outputs: usize| (TILE / outputs).max(1);
        let (height, width) = (examples(a.outputs) * a.outputs, examples(b.outputs) * b.outputs);
        self.tiles(height, width, |rows, columns| {
            let product = |x: &Tensor, y: &Tensor, x_per: usize, y_per: usize| {
                let x = x.slice(0, rows.start / x_per, rows.end / x_per, 1);
                let y = y.slice(0, columns.start / y_per, columns.end / y_per, 1);
                x.matmul(&y.permute(&[1, 0])).to_f64()
            };
            let mut back = product(&a.back, &b.back, 1, 1);
            let met = product(&a.met, &b.met, a.outputs, b.outputs);
            let n = columns.len() / b.outputs;
            back.par_chunks_mut(columns.len()).enumerate().for_each(|(row, back)| {
                let met = &met[row / a.outputs * n..][..n];
                for (part, met) in back.chunks_mut(b.outputs).zip(met) {
                    part.iter_mut().for_each(|value| *value *= met);
                }
            });
            back
        });
    }

    /// Products of all positions of one number with all of another.
    fn add_positions(&mut self, left: &Outer, right: &Outer) {
        for map in 0..left.maps() {
            let (a, b) = (Positions::of(left, map), Positions::of(right, map));
            // Products of a tile stay within the faster memory.
            let examples =
                |part: &Positions| (2 * TILE / (part.outputs * part.positions)).max(1) * part.outputs;
            self.tiles(examples(&a), examples(&b), |rows, columns| {
                let product = |x: &Tensor, y: &Tensor, x_per: usize, y_per: usize| {
                    let (p, q) = (a.positions, b.positions);
                    let x = x.slice(0, rows.start / x_per * p, rows.end / x_per * p, 1);
                    let y = y.slice(0, columns.start / y_per * q, columns.end / y_per * q, 1);
                    x.matmul(&y.permute(&[1, 0])).to_f64()
                };
                let back = product(&a.back, &b.back, 1, 1);
                let met = product(&a.met, &b.met, a.outputs, b.outputs);
                let (p, q) = (a.positions, b.positions);
                let (n_back, n_met) = (columns.len() * q, columns.len() / b.outputs * q);
                let mut found = vec![0.0; rows.len() * columns.len()];
                found.par_chunks_mut(columns.len()).enumerate().for_each(|(row, found)| {
                    for (column, found) in found.iter_mut().enumerate() {
                        for position in 0..p {
                            let back = &back[(row * p + position) * n_back + column * q..][..q];
                            let met = &met
                                [(row / a.outputs * p + position) * n_met + column / b.outputs * q..][..q];
                            *found += back.iter().zip(met).map(|(back, met)| back * met).sum::<f64>();
                        }
                    }
                });
                found
            });
        }
    }

    fn finish(mut self) -> Gram {
        if self.is_symmetric {
            for row in 1..self.rows {
                for column in 0..row {
                    self.values[row * self.columns + column] = self.values[column * self.columns + row];
                }
            }
        }
        Gram::new(self.rows, self.columns, self.values)
    }
}

/// An outer product of one position as two matrices.
struct Vectors {
    /// A row for each example.
    met: Tensor,
    /// A row for each number.
    back: Tensor,
    outputs: usize,
}

impl Vectors {
    fn of(outer: &Outer) -> Self {
        let (met, back) = match outer.signal {
            Signal::Columns => (&outer.columns, &outer.rows),
            Signal::Rows => (&outer.rows, &outer.columns),
        };
        let (met_shape, shape) = (met.shape(), back.shape());
        Self {
            met: met.reshape(&[met_shape[0], met_shape[4]]),
            back: back.reshape(&[shape[0] * shape[1], shape[4]]),
            outputs: shape[1],
        }
    }
}

/// One map of an outer product as two matrices, with a row for each position of each example or number.
struct Positions {
    met: Tensor,
    back: Tensor,
    outputs: usize,
    positions: usize,
}

impl Positions {
    fn of(outer: &Outer, map: usize) -> Self {
        let (met, back) = match outer.signal {
            Signal::Columns => (&outer.columns, &outer.rows),
            Signal::Rows => (&outer.rows, &outer.columns),
        };
        let (met, back) = (met.slice(2, map, map + 1, 1), back.slice(2, map, map + 1, 1));
        let (met_shape, shape) = (met.shape(), back.shape());
        Self {
            met: met.reshape(&[met_shape[0] * met_shape[3], met_shape[4]]),
            back: back.reshape(&[shape[0] * shape[1] * shape[3], shape[4]]),
            outputs: shape[1],
            positions: shape[3],
        }
    }
}
