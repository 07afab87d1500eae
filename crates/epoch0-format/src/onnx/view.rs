//! Values seen in another arrangement than that in which they are computed.
//!
//! Reshapes and transpositions are not carried out as they come: a value is kept with the dimensions that it is to
//! be seen in, each made of pieces of its own. An operation that does not mind is applied to the value as it is; what
//! one exporter undoes after another node (heads taken apart and put together, sequences flattened around a product)
//! is then undone for nothing.

use epoch0_net::ValueId;

use super::size::Size;

/// A value and how it is seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub base: ValueId,
    /// Sizes of the pieces.
    pub atoms: Vec<Size>,
    /// Pieces of each dimension of the value itself, slowest first; none for size one.
    pub base_dims: Vec<Vec<usize>>,
    /// Pieces of each dimension that is seen. Pieces that the value does not have repeat it.
    pub dims: Vec<Vec<usize>>,
}

impl View {
    /// A value as it is.
    pub(super) fn whole(base: ValueId, sizes: &[Size]) -> Self {
        let mut atoms = Vec::new();
        let mut dims = Vec::new();
        for size in sizes {
            if *size == Size::ONE {
                dims.push(Vec::new());
            } else {
                dims.push(vec![atoms.len()]);
                atoms.push(size.clone());
            }
        }
        Self { base, atoms, base_dims: dims.clone(), dims }
    }

    /// The same arrangement of another value, whose dimensions are those of this one's.
    pub(super) fn onto(&self, base: ValueId) -> Self {
        Self { base, ..self.clone() }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.base_dims == self.dims
    }

    /// Whether two values are seen in the same way.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.base_dims == other.base_dims && self.dims == other.dims && self.atoms == other.atoms
    }

    /// Whether some piece repeats the value.
    pub(super) fn repeats(&self) -> bool {
        self.dims.iter().flatten().any(|atom| !self.is_own(*atom))
    }

    pub(super) fn is_own(&self, atom: usize) -> bool {
        self.base_dims.iter().flatten().any(|own| *own == atom)
    }

    /// Whether the last dimension is the last one of the value itself.
    pub(super) fn keeps_last(&self) -> bool {
        match (self.dims.last(), self.base_dims.last()) {
            (Some(seen), Some(own)) => seen == own && !seen.is_empty(),
            _ => false,
        }
    }

    pub(super) fn size(&self, dim: &[usize]) -> Option<Size> {
        super::size::product(dim.iter().map(|&atom| &self.atoms[atom]))
    }

    /// In another order.
    pub(super) fn transposed(&self, order: &[usize]) -> Self {
        Self { dims: order.iter().map(|&dim| self.dims[dim].clone()).collect(), ..self.clone() }
    }

    /// In another shape of as many elements; `None` where pieces cannot be cut to it.
    pub(super) fn reshaped(&self, to: &[Size]) -> Option<Self> {
        let mut view = self.clone();
        let mut rest: Vec<usize> = self.dims.iter().flatten().rev().copied().collect();
        let mut dims = Vec::new();
        for size in to {
            let mut dim = Vec::new();
            let mut need = size.clone();
            while need != Size::ONE {
                let atom = rest.pop()?;
                let have = view.atoms[atom].clone();
                if let Some(left) = need.div(&have) {
                    dim.push(atom);
                    need = left;
                    continue;
                }
                let behind = have.div(&need)?;
                let second = view.cut(atom, need, behind);
                dim.push(atom);
                rest.push(second);
                need = Size::ONE;
            }
            dims.push(dim);
        }
        view.dims = dims;
        rest.is_empty().then_some(view)
    }

    /// Cuts a piece in two; gives the second.
    fn cut(&mut self, atom: usize, first: Size, second: Size) -> usize {
        let new = self.atoms.len();
        self.atoms[atom] = first;
        self.atoms.push(second);
        for dim in self.base_dims.iter_mut().chain(&mut self.dims) {
            if let Some(at) = dim.iter().position(|own| *own == atom) {
                dim.insert(at + 1, new);
            }
        }
        new
    }

    /// With dimensions of size one repeated.
    pub(super) fn expanded(&self, to: &[Size]) -> Option<Self> {
        let mut view = self.clone();
        let skip = to.len().checked_sub(self.dims.len())?;
        for _ in 0..skip {
            view.dims.insert(0, Vec::new());
        }
        for (at, size) in to.iter().enumerate() {
            if view.dims[at].is_empty() && *size != Size::ONE {
                view.dims[at].push(view.atoms.len());
                view.atoms.push(size.clone());
            }
        }
        Some(view)
    }

    /// Pieces of the value itself, in its order.
    pub(super) fn own_order(&self) -> Vec<usize> {
        self.base_dims.iter().flatten().copied().collect()
    }

    /// Its own pieces in the order in which they are seen.
    pub(super) fn seen_order(&self) -> Vec<usize> {
        self.dims.iter().flatten().copied().filter(|atom| self.is_own(*atom)).collect()
    }
}

/// Pieces that stay together, in the order of `own`, when that order becomes `seen`.
pub(super) fn runs(own: &[usize], seen: &[usize]) -> Vec<Vec<usize>> {
    let mut runs: Vec<Vec<usize>> = Vec::new();
    for &atom in own {
        let follows = |last: usize| {
            let at = seen.iter().position(|other| *other == last);
            at.is_some_and(|at| seen.get(at + 1) == Some(&atom))
        };
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|&last| follows(last)) => run.push(atom),
            _ => runs.push(vec![atom]),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(sizes: &[i64]) -> Vec<Size> {
        sizes.iter().map(|&size| Size::Fixed(size)).collect()
    }

    #[test]
    fn heads_taken_apart_and_put_together_are_as_before() {
        let view = View::whole(ValueId(0), &fixed(&[2, 16, 64]));
        let heads = view.reshaped(&fixed(&[2, 16, 4, 16])).unwrap().transposed(&[0, 2, 1, 3]);
        assert!(!heads.is_whole());
        let back = heads.transposed(&[0, 2, 1, 3]).reshaped(&fixed(&[2, 16, 64])).unwrap();
        assert!(back.is_whole());
        assert!(heads.reshaped(&fixed(&[2, 4, 256])).is_some());
        assert!(view.reshaped(&fixed(&[2, 16, 63])).is_none());
    }

    #[test]
    fn flattened_rows_keep_the_last_dimension() {
        let view = View::whole(ValueId(0), &fixed(&[2, 16, 64])).reshaped(&fixed(&[32, 64])).unwrap();
        assert!(view.keeps_last() && !view.is_whole());
        let cut = view.reshaped(&fixed(&[2, 4, 4, 64])).unwrap();
        assert!(cut.keeps_last());
    }

    #[test]
    fn repeated_pieces_are_known_as_such() {
        let view = View::whole(ValueId(0), &fixed(&[2, 1, 8])).expanded(&fixed(&[2, 3, 8])).unwrap();
        assert!(view.repeats());
        assert_eq!(view.seen_order(), view.own_order());
    }

    #[test]
    fn runs_are_what_stays_together() {
        assert_eq!(runs(&[0, 1, 2, 3], &[2, 3, 0, 1]), [vec![0, 1], vec![2, 3]]);
        assert_eq!(runs(&[0, 1, 2], &[0, 1, 2]), [vec![0, 1, 2]]);
    }
}
