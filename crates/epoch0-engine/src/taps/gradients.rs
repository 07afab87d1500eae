//! Gradients of the numbers of each example, and what is computed from them.

use std::collections::BTreeMap;
use std::ops::Range;

use epoch0_net::{NodeId, ParamId};

use super::piece::Piece;
use crate::Tensor;

/// Elements of a block of gradients that is formed at once.
pub(super) const BLOCK: usize = 1 << 25;

/// Gradients of one number of each example, or of several, by each tracked parameter, as what they are the product of.
///
/// What it answers has a row for each number: those of an example stand together, so that number c of example i has row
/// `i · outputs + c`.
#[derive(Clone, Debug)]
pub struct Gradients {
    pub(super) examples: usize,
    pub(super) outputs: usize,
    pub(super) shapes: BTreeMap<ParamId, Vec<usize>>,
    pub(super) pieces: BTreeMap<ParamId, Vec<Piece>>,
    pub(super) cotangents: BTreeMap<NodeId, Vec<Option<Tensor>>>,
}

impl Gradients {
    /// How many examples there are.
    pub fn examples(&self) -> usize {
        self.examples
    }

    /// How many numbers each example has.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// How many rows there are: examples times their numbers.
    pub fn rows(&self) -> usize {
        self.examples * self.outputs
    }

    /// The parameters, in the network's order.
    pub fn params(&self) -> impl Iterator<Item = ParamId> {
        self.shapes.keys().copied()
    }

    /// What came back to the outputs of an operation with learned parameters. `None` for other operations, and for several
    /// numbers side by side.
    pub fn cotangent(&self, node: NodeId) -> Option<&[Option<Tensor>]> {
        self.cotangents.get(&node).map(Vec::as_slice)
    }

    /// Lets go of what is larger than the gradients made of it.
    pub(super) fn compact(self) -> Self {
        let compact =
            |(id, pieces): (ParamId, Vec<Piece>)| (id, pieces.into_iter().map(Piece::compact).collect());
        Self { pieces: self.pieces.into_iter().map(compact).collect(), cotangents: BTreeMap::new(), ..self }
    }

    /// Gradients of several numbers of the same examples, side by side.
    pub(super) fn beside(parts: &[Self]) -> Option<Self> {
        let first = parts.first()?;
        let pieces = first.pieces.iter().map(|(id, own)| {
            let joined = (0..own.len()).map(|at| {
                let same: Vec<&Piece> = parts.iter().map(|part| &part.pieces[id][at]).collect();
                Piece::beside(&same)
            });
            (*id, joined.collect())
        });
        Some(Self {
            examples: first.examples,
            outputs: parts.len(),
            shapes: first.shapes.clone(),
            pieces: pieces.collect(),
            cotangents: BTreeMap::new(),
        })
    }

    /// First dimension of a parameter, and the product of the others.
    pub(super) fn matrix(&self, param: ParamId) -> (usize, usize) {
        let shape = &self.shapes[&param];
        (shape.first().copied().unwrap_or(1), shape.iter().skip(1).product())
    }

    /// A parameter's gradients: `[rows, shape…]`. They are formed as a whole: the size of the parameter for each row.
    ///
    /// # Panics
    ///
    /// When the parameter is not tracked.
    pub fn per_example(&self, param: ParamId) -> Tensor {
        let (first, _) = self.matrix(param);
        let mut shape = vec![self.rows()];
        shape.extend(&self.shapes[&param]);
        self.block(param, &(0..first)).reshape(&shape)
    }

    /// Gradients of rows of a parameter, all uses together: `[n, o, rows · others]`.
    pub(super) fn block(&self, param: ParamId, range: &Range<usize>) -> Tensor {
        let (_, others) = self.matrix(param);
        block(&self.pieces[&param], range, others)
    }

    /// Ranges of rows of a parameter whose gradients are formed at once.
    pub(super) fn ranges(&self, param: ParamId) -> Vec<Range<usize>> {
        let (first, others) = self.matrix(param);
        ranges(&self.pieces[&param], first, others)
    }

    /// The sum of the gradients over all rows, of the parameter's shape.
    ///
    /// # Panics
    ///
    /// When the parameter is not tracked.
    pub fn sum(&self, param: ParamId) -> Tensor {
        self.total(param, Tensor::clone)
    }

    /// Sums over all rows of the signs of a parameter's gradients (0 for 0), of the parameter's shape.
    ///
    /// # Panics
    ///
    /// When the parameter is not tracked.
    pub fn sign_sum(&self, param: ParamId) -> Tensor {
        if let [Piece::Outer(outer)] = self.pieces[&param].as_slice()
            && outer.positions() == 1
        {
            // The sign of a product is the product of the signs.
            let mut signs = outer.clone();
            (signs.rows, signs.columns) = (outer.rows.sign(), outer.columns.sign());
            let pieces = [Piece::Outer(signs)];
            let (first, others) = self.matrix(param);
            return total(&pieces, &ranges(&pieces, first, others), others, Tensor::clone)
                .reshape(&self.shapes[&param]);
        }
        self.total(param, Tensor::sign)
    }

    fn total(&self, param: ParamId, map: impl Fn(&Tensor) -> Tensor) -> Tensor {
        let (_, others) = self.matrix(param);
        total(&self.pieces[&param], &self.ranges(param), others, map).reshape(&self.shapes[&param])
    }

    /// Squared norms of the gradients, one for each row, over the parameters that `select` says.
    pub fn squared_norms(&self, select: impl Fn(ParamId) -> bool) -> Vec<f64> {
        let mut norms = vec![0.0; self.rows()];
        for param in self.params().filter(|param| select(*param)) {
            let mut add = |found: &Tensor| {
                norms.iter_mut().zip(found.to_f64()).for_each(|(norm, found)| *norm += found);
            };
            if let [Piece::Outer(outer)] = self.pieces[&param].as_slice() {
                let (p, r, c) = (outer.positions(), outer.n_rows(), outer.n_columns());
                if p * (r + c + 4) < r * c {
                    add(&outer.squared_norms());
                    continue;
                }
            }
            for range in self.ranges(param) {
                let part = self.block(param, &range);
                add(&part.mul(&part).sum_dims(&[2]));
            }
        }
        norms
    }
}

fn total(
    pieces: &[Piece],
    ranges: &[Range<usize>],
    others: usize,
    map: impl Fn(&Tensor) -> Tensor,
) -> Tensor {
    let parts: Vec<Tensor> =
        ranges.iter().map(|range| map(&block(pieces, range, others)).sum_dims(&[0, 1])).collect();
    Tensor::concat(&parts.iter().collect::<Vec<_>>(), 2)
}

/// Gradients of rows of a parameter, all uses together: `[n, o, rows · others]`.
pub(super) fn block(pieces: &[Piece], range: &Range<usize>, others: usize) -> Tensor {
    let mut parts = pieces.iter().map(|piece| piece.block(range, others));
    let first = parts.next().expect("a parameter has a use");
    parts.fold(first, |sum, part| sum.add(&part))
}

/// Ranges of rows of a parameter whose gradients are formed at once.
pub(super) fn ranges(pieces: &[Piece], first: usize, others: usize) -> Vec<Range<usize>> {
    let scalars = pieces.first().map_or(1, |piece| piece.examples() * piece.outputs());
    let mut maps: Vec<usize> = pieces
        .iter()
        .filter_map(Piece::outer)
        .filter(|outer| outer.maps() > 1)
        .map(super::piece::Outer::n_rows)
        .collect();
    maps.dedup();
    let step = (BLOCK / (scalars * others).max(1)).max(1);
    let step = match maps[..] {
        [] => step,
        // Rows of one map, or whole maps.
        [rows] => step.next_multiple_of(rows),
        // Maps of several sizes meet in no block but the whole.
        _ => first,
    };
    (0..first).step_by(step.max(1)).map(|start| start..(start + step).min(first)).collect()
}
