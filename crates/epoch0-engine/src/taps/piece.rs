//! Gradients of one parameter, an array of its shape for each scalar, as what they are the product of.

use std::ops::Range;
use std::sync::Arc;

use epoch0_net::NodeId;

use crate::{Indices, Tensor};

/// Which factor of an outer product the forward pass knew: it is one for all scalars of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Rows,
    Columns,
}

/// What the gradients of one use of a parameter are made of, for n examples with o scalars each. The parameter is seen
/// as a matrix: its first dimension by all others.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// The gradients: `[n, o, first · others]`.
    Plain(Tensor),
    /// Sums of outer products.
    Outer(Outer),
    /// Rows of a table.
    Rows(Rows),
}

/// `Σ_p rows_p ⊗ columns_p` over positions p, for each of m maps, whose rows stand below each other.
#[derive(Clone, Debug)]
pub(super) struct Outer {
    /// The operation, and which of its maps.
    pub(super) origin: (NodeId, u8),
    /// `[n, o, m, positions, rows]`, one scalar where it is the signal.
    pub(super) rows: Tensor,
    /// `[n, o, m, positions, columns]`, one scalar where it is the signal.
    pub(super) columns: Tensor,
    /// Which of them is the signal.
    pub(super) signal: Signal,
}

/// `delta_p` at row `words_p`, summed over positions.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    /// `[n, positions]`.
    pub(super) words: Arc<[i64]>,
    /// `[n, o, positions, width]`.
    pub(super) delta: Tensor,
}

impl Outer {
    pub(super) fn maps(&self) -> usize {
        self.rows.shape()[2]
    }

    pub(super) fn positions(&self) -> usize {
        self.rows.shape()[3]
    }

    /// Rows of one map.
    pub(super) fn n_rows(&self) -> usize {
        self.rows.shape()[4]
    }

    pub(super) fn n_columns(&self) -> usize {
        self.columns.shape()[4]
    }

    /// Squared norms, `[n, o]`, from the products of positions with each other.
    pub(super) fn squared_norms(&self) -> Tensor {
        let products = |side: &Tensor| {
            let [n, o, m, p, width] = sizes(side);
            let flat = side.reshape(&[n * o * m, p, width]);
            flat.matmul(&flat.permute(&[0, 2, 1])).reshape(&[n, o, m * p * p])
        };
        let both = products(&self.rows).mul(&products(&self.columns)).sum_dims(&[2]);
        let shape = both.shape();
        both.reshape(&shape[..2])
    }

    /// Gradients of rows of the parameter: whole maps, or rows of one.
    fn block(&self, range: &Range<usize>) -> Tensor {
        let (maps, n_rows) = (self.maps(), self.n_rows());
        let (rows, columns) = if range.len() == maps * n_rows {
            (self.rows.clone(), self.columns.clone())
        } else {
            let (first, last) = (range.start / n_rows, (range.end - 1) / n_rows);
            let mut rows = self.rows.slice(2, first, last + 1, 1);
            if first == last {
                rows = rows.slice(4, range.start - first * n_rows, range.end - first * n_rows, 1);
            }
            (rows, self.columns.slice(2, first, last + 1, 1))
        };
        let [n, a, m, p, r] = sizes(&rows);
        let [_, b, _, _, c] = sizes(&columns);
        let left = rows.permute(&[0, 2, 1, 4, 3]);
        let right = columns.permute(&[0, 2, 3, 1, 4]);
        let product = left.reshape(&[n * m, a * r, p]).matmul(&right.reshape(&[n * m, p, b * c]));
        product.reshape(&[n, m, a, r, b, c]).permute(&[0, 2, 4, 1, 3, 5]).reshape(&[n, a * b, m * r * c])
    }
}

fn sizes(tensor: &Tensor) -> [usize; 5] {
    let shape = tensor.shape();
    std::array::from_fn(|at| shape[at])
}

impl Rows {
    fn block(&self, range: &Range<usize>) -> Tensor {
        let shape = self.delta.shape();
        let (n, o, positions, width) = (shape[0], shape[1], shape[2], shape[3]);
        let n_rows = range.len();
        // What lies outside goes to a row that is thrown away.
        let at = self.words.iter().enumerate().map(|(index, &word)| {
            let example = index / positions;
            match range.contains(&(word as usize)) {
                true => (example * n_rows + word as usize - range.start) as i64,
                false => (n * n_rows) as i64,
            }
        });
        let at = Indices::new(at.collect(), &[n * positions], &self.delta.device());
        let parts = self.delta.permute(&[0, 2, 1, 3]).reshape(&[n * positions, o * width]);
        let sums = self.delta.full_like(0.0, &[n * n_rows + 1, o * width]).select_add(0, &at, &parts);
        let sums = sums.slice(0, 0, n * n_rows, 1).reshape(&[n, n_rows, o, width]);
        sums.permute(&[0, 2, 1, 3]).reshape(&[n, o, n_rows * width])
    }

    /// Seen by words of a shorter list, which holds all that occur.
    pub(super) fn among(&self, words: &[i64]) -> Self {
        let place = |word: &i64| words.binary_search(word).unwrap_or_default() as i64;
        Self { words: self.words.iter().map(place).collect(), delta: self.delta.clone() }
    }
}

impl Piece {
    /// Scalars of each example.
    pub(super) fn outputs(&self) -> usize {
        match self {
            Self::Plain(values) => values.shape()[1],
            Self::Outer(outer) => outer.rows.shape()[1].max(outer.columns.shape()[1]),
            Self::Rows(rows) => rows.delta.shape()[1],
        }
    }

    pub(super) fn examples(&self) -> usize {
        match self {
            Self::Plain(values) => values.shape()[0],
            Self::Outer(outer) => outer.rows.shape()[0],
            Self::Rows(rows) => rows.delta.shape()[0],
        }
    }

    /// The gradients of rows of the parameter: `[n, o, rows · others]`.
    pub(super) fn block(&self, range: &Range<usize>, others: usize) -> Tensor {
        match self {
            Self::Plain(values) => values.slice(2, range.start * others, range.end * others, 1),
            Self::Outer(outer) => outer.block(range),
            Self::Rows(rows) => rows.block(range),
        }
    }

    /// The gradients themselves where they are smaller than what they are made of.
    pub(super) fn compact(self) -> Self {
        let Self::Outer(outer) = &self else { return self };
        let (first, others) = (outer.maps() * outer.n_rows(), outer.n_columns());
        let delta = match outer.signal {
            Signal::Rows => outer.n_columns(),
            Signal::Columns => outer.n_rows(),
        };
        if outer.positions() > 1 && first * others <= outer.maps() * outer.positions() * delta {
            return Self::Plain(outer.block(&(0..first)));
        }
        self
    }

    /// Pieces of the same use for other scalars of the same examples, side by side.
    pub(super) fn beside(parts: &[&Self]) -> Self {
        let first = parts[0];
        let all = |of: fn(&Self) -> Option<&Tensor>| {
            let tensors: Vec<&Tensor> = parts.iter().filter_map(|part| of(part)).collect();
            Tensor::concat(&tensors, 1)
        };
        match first {
            Self::Plain(_) => Self::Plain(all(|part| match part {
                Self::Plain(values) => Some(values),
                _ => None,
            })),
            Self::Outer(outer) => {
                let mut outer = outer.clone();
                match outer.signal {
                    Signal::Columns => outer.rows = all(|part| Some(&part.outer()?.rows)),
                    Signal::Rows => outer.columns = all(|part| Some(&part.outer()?.columns)),
                }
                Self::Outer(outer)
            }
            Self::Rows(rows) => {
                let delta = all(|part| match part {
                    Self::Rows(rows) => Some(&rows.delta),
                    _ => None,
                });
                Self::Rows(Rows { delta, ..rows.clone() })
            }
        }
    }

    pub(super) fn outer(&self) -> Option<&Outer> {
        match self {
            Self::Outer(outer) => Some(outer),
            _ => None,
        }
    }
}
