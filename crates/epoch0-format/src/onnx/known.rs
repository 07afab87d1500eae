//! Arrays whose elements are known when a network is read: constants, and the sizes that shapes are computed from.

use std::rc::Rc;

use super::size::{Size, product};

/// Largest array that is kept and computed with; what is larger is left to a run.
pub(super) const MOST_KNOWN: usize = 1 << 18;

/// An element.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Elem {
    Real(f64),
    Int(Size),
    Bool(bool),
}

impl Elem {
    pub(super) fn int(value: i64) -> Self {
        Self::Int(Size::Fixed(value))
    }

    pub(super) fn real(&self) -> Option<f64> {
        match self {
            Self::Real(value) => Some(*value),
            Self::Int(size) => size.fixed().map(|value| value as f64),
            Self::Bool(value) => Some(f64::from(u8::from(*value))),
        }
    }

    pub(super) fn size(&self) -> Option<Size> {
        match self {
            Self::Int(size) => Some(size.clone()),
            _ => None,
        }
    }

    pub(super) fn truth(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Int(size) => size.fixed().map(|value| value != 0),
            Self::Real(value) => Some(*value != 0.0),
        }
    }
}

/// What elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Real,
    Index,
    Bool,
}

/// A known array.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub shape: Vec<usize>,
    pub data: Rc<Vec<Elem>>,
}

impl Known {
    pub(super) fn new(shape: Vec<usize>, data: Vec<Elem>) -> Option<Self> {
        (count(&shape)? == data.len()).then(|| Self { shape, data: Rc::new(data) })
    }

    pub(super) fn scalar(elem: Elem) -> Self {
        Self { shape: Vec::new(), data: Rc::new(vec![elem]) }
    }

    /// A list of sizes.
    pub(super) fn list(sizes: impl IntoIterator<Item = Size>) -> Self {
        let data: Vec<_> = sizes.into_iter().map(Elem::Int).collect();
        Self { shape: vec![data.len()], data: Rc::new(data) }
    }

    /// The only element.
    pub(super) fn single(&self) -> Option<&Elem> {
        if self.data.len() == 1 { self.data.first() } else { None }
    }

    /// The value of all elements, where they are equal.
    pub(super) fn uniform(&self) -> Option<f64> {
        let first = self.data.first()?.real()?;
        self.data.iter().all(|elem| elem.real() == Some(first)).then_some(first)
    }

    /// Integers, where all are fixed.
    pub(super) fn ints(&self) -> Option<Vec<i64>> {
        self.data.iter().map(|elem| elem.size()?.fixed()).collect()
    }

    /// Integers that may be symbolic.
    pub(super) fn sizes(&self) -> Option<Vec<Size>> {
        self.data.iter().map(Elem::size).collect()
    }

    pub(super) fn kind(&self) -> Kind {
        match self.data.first() {
            Some(Elem::Int(_)) => Kind::Index,
            Some(Elem::Bool(_)) => Kind::Bool,
            _ => Kind::Real,
        }
    }

    /// The same elements in another shape.
    pub(super) fn reshaped(&self, shape: Vec<usize>) -> Option<Self> {
        (count(&shape)? == self.data.len()).then(|| Self { shape, data: Rc::clone(&self.data) })
    }

    /// An array whose element at an index is the one here at what `from` makes of the index.
    pub(super) fn gathered(
        &self,
        shape: Vec<usize>,
        mut from: impl FnMut(&[usize]) -> Option<usize>,
    ) -> Option<Self> {
        let n = count(&shape).filter(|&n| n <= MOST_KNOWN)?;
        let mut data = Vec::with_capacity(n);
        let mut index = vec![0; shape.len()];
        for _ in 0..n {
            data.push(self.data.get(from(&index)?)?.clone());
            advance(&mut index, &shape);
        }
        Self::new(shape, data)
    }

    /// Elements broadcast to a shape.
    pub(super) fn broadcast(&self, shape: &[usize]) -> Option<Self> {
        if self.shape == shape {
            return Some(self.clone());
        }
        let skip = shape.len().checked_sub(self.shape.len())?;
        let fits = self.shape.iter().zip(&shape[skip..]).all(|(mine, theirs)| mine == theirs || *mine == 1);
        if !fits {
            return None;
        }
        let strides = strides(&self.shape);
        let steps: Vec<_> = self
            .shape
            .iter()
            .zip(&strides)
            .map(|(&size, &stride)| if size == 1 { 0 } else { stride })
            .collect();
        self.gathered(shape.to_vec(), |index| {
            Some(index[skip..].iter().zip(&steps).map(|(at, step)| at * step).sum())
        })
    }

    /// The array without dimension 0, where it is the same at each of its positions.
    pub(super) fn repeated_over_first(&self) -> bool {
        let Some(&n) = self.shape.first() else { return false };
        let part = self.data.len() / n.max(1);
        n > 0 && part > 0 && self.data.chunks(part).all(|chunk| chunk == &self.data[..part])
    }
}

/// Number of elements.
pub(super) fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |all, &size| all.checked_mul(size))
}

/// Steps of an array's dimensions.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for at in (1..shape.len()).rev() {
        strides[at - 1] = strides[at].saturating_mul(shape[at]);
    }
    strides
}

/// The next index in row-major order; the first again after the last.
pub(super) fn advance(index: &mut [usize], shape: &[usize]) {
    for at in (0..shape.len()).rev() {
        index[at] += 1;
        if index[at] < shape[at] {
            return;
        }
        index[at] = 0;
    }
}

/// Fixed sizes as a shape.
pub(super) fn fixed_shape(sizes: &[Size]) -> Option<Vec<usize>> {
    sizes.iter().map(|size| usize::try_from(size.fixed()?).ok()).collect()
}

/// Sizes of shapes broadcast against each other from the right; `None` where they cannot be.
pub(super) fn broadcast_sizes(a: &[Size], b: &[Size]) -> Option<Vec<Size>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[Size], dim: usize| {
        dim.checked_sub(rank - shape.len()).map_or(Size::ONE, |dim| shape[dim].clone())
    };
    (0..rank)
        .map(|dim| match (at(a, dim), at(b, dim)) {
            (left, right) if left == right => Some(left),
            (Size::Fixed(1), other) | (other, Size::Fixed(1)) => Some(other),
            _ => None,
        })
        .collect()
}

/// What a shape becomes that a reshape asks for: `0` keeps a size, `-1` is what is left.
pub(super) fn reshape_target(from: &[Size], target: &[Size], keep_zero: bool) -> Option<Vec<Size>> {
    let mut to: Vec<Option<Size>> = Vec::new();
    for (at, size) in target.iter().enumerate() {
        to.push(match size.fixed() {
            Some(0) if !keep_zero => Some(from.get(at)?.clone()),
            Some(-1) => None,
            Some(size) if size < 0 => return None,
            _ => Some(size.clone()),
        });
    }
    let open: Vec<_> = (0..to.len()).filter(|&at| to[at].is_none()).collect();
    match open[..] {
        [] => {}
        [at] => {
            let rest = product(to.iter().flatten())?;
            to[at] = Some(product(from)?.div(&rest)?);
        }
        _ => return None,
    }
    to.into_iter().collect()
}

/// A dimension counted from the end where negative.
pub(super) fn dim_of(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(rank as i64)? } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank.max(1))
}
