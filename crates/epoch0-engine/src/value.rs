//! What flows between the operations of a network.

use std::sync::Arc;

use ndarray::{ArrayD, Axis, Slice};

use crate::{Indices, Mask, Tensor, Var};

/// A value of a network. Integers and truth values are small (words, positions, masks) and stay with the processor.
#[derive(Clone, Debug)]
pub enum Value {
    /// Real numbers.
    Real(Var),
    /// Integers.
    Index(Arc<ArrayD<i64>>),
    /// Truth values.
    Truth(Arc<ArrayD<bool>>),
}

impl Value {
    /// Real numbers that nothing is differentiated by.
    pub fn constant(tensor: Tensor) -> Self {
        Self::Real(Var::constant(tensor))
    }

    /// Integers, the last dimension varying fastest; `None` when the shape has another number of elements.
    pub fn index(values: Vec<i64>, shape: &[usize]) -> Option<Self> {
        ArrayD::from_shape_vec(shape, values).ok().map(|array| Self::Index(Arc::new(array)))
    }

    /// Truth values, the last dimension varying fastest; `None` when the shape has another number of elements.
    pub fn truth(values: Vec<bool>, shape: &[usize]) -> Option<Self> {
        ArrayD::from_shape_vec(shape, values).ok().map(|array| Self::Truth(Arc::new(array)))
    }

    /// Sizes of its dimensions.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::Real(var) => var.shape(),
            Self::Index(array) => array.shape().to_vec(),
            Self::Truth(array) => array.shape().to_vec(),
        }
    }

    /// The real numbers, where it holds such.
    pub fn real(&self) -> Option<&Var> {
        match self {
            Self::Real(var) => Some(var),
            _ => None,
        }
    }

    /// What it holds, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Real(_) => "real numbers",
            Self::Index(_) => "integers",
            Self::Truth(_) => "truth values",
        }
    }
}

impl From<Var> for Value {
    fn from(var: Var) -> Self {
        Self::Real(var)
    }
}

impl From<ArrayD<i64>> for Value {
    fn from(array: ArrayD<i64>) -> Self {
        Self::Index(Arc::new(array))
    }
}

impl From<ArrayD<bool>> for Value {
    fn from(array: ArrayD<bool>) -> Self {
        Self::Truth(Arc::new(array))
    }
}

/// Elements in order, the last dimension varying fastest.
pub(crate) fn elements<T: Copy>(array: &ArrayD<T>) -> Vec<T> {
    array.iter().copied().collect()
}

/// On the device of `like`.
pub(crate) fn to_indices(array: &ArrayD<i64>, like: &Tensor) -> Indices {
    Indices::new(elements(array), array.shape(), &like.device())
}

/// On the device of `like`.
pub(crate) fn to_mask(array: &ArrayD<bool>, like: &Tensor) -> Mask {
    Mask::new(elements(array), array.shape(), &like.device())
}

/// A shape whose number of elements is right, and whose sizes fit what is asked, is the caller's to see to.
impl Value {
    pub(crate) fn reshape(&self, shape: &[usize]) -> Self {
        match self {
            Self::Real(var) => Self::Real(var.reshape(shape)),
            Self::Index(array) => reshaped(array, shape).into(),
            Self::Truth(array) => reshaped(array, shape).into(),
        }
    }

    pub(crate) fn permute(&self, order: &[usize]) -> Self {
        match self {
            Self::Real(var) => Self::Real(var.permute(order)),
            Self::Index(array) => (**array).clone().permuted_axes(order).into(),
            Self::Truth(array) => (**array).clone().permuted_axes(order).into(),
        }
    }

    pub(crate) fn expand(&self, shape: &[usize]) -> Self {
        match self {
            Self::Real(var) => Self::Real(var.expand(shape)),
            Self::Index(array) => expanded(array, shape).into(),
            Self::Truth(array) => expanded(array, shape).into(),
        }
    }

    pub(crate) fn slice(&self, dim: usize, start: usize, end: usize, step: usize) -> Self {
        match self {
            Self::Real(var) => Self::Real(var.slice(dim, start, end, step)),
            Self::Index(array) => sliced(array, dim, start, end, step).into(),
            Self::Truth(array) => sliced(array, dim, start, end, step).into(),
        }
    }

    pub(crate) fn flip(&self, dim: usize) -> Self {
        fn flipped<T: Clone>(array: &ArrayD<T>, dim: usize) -> ArrayD<T> {
            let mut array = array.clone();
            array.invert_axis(Axis(dim));
            array
        }
        match self {
            Self::Real(var) => Self::Real(var.flip(dim)),
            Self::Index(array) => flipped(array, dim).into(),
            Self::Truth(array) => flipped(array, dim).into(),
        }
    }

    /// All of one kind, that of the first; `None` otherwise.
    pub(crate) fn concat(parts: &[Self], dim: usize) -> Option<Self> {
        let all = |kind: fn(&Self) -> bool| parts.iter().all(kind);
        match parts.first()? {
            Self::Real(_) if all(|part| matches!(part, Self::Real(_))) => {
                let parts: Vec<&Var> = parts.iter().filter_map(Self::real).collect();
                Some(Self::Real(Var::concat(&parts, dim)))
            }
            Self::Index(_) => {
                let views: Option<Vec<_>> = parts.iter().map(|part| Some(part.as_index()?.view())).collect();
                ndarray::concatenate(Axis(dim), &views?).ok().map(Self::from)
            }
            Self::Truth(_) => {
                let views: Option<Vec<_>> = parts.iter().map(|part| Some(part.as_truth()?.view())).collect();
                ndarray::concatenate(Axis(dim), &views?).ok().map(Self::from)
            }
            Self::Real(_) => None,
        }
    }

    pub(crate) fn as_index(&self) -> Option<&ArrayD<i64>> {
        match self {
            Self::Index(array) => Some(array),
            _ => None,
        }
    }

    pub(crate) fn as_truth(&self) -> Option<&ArrayD<bool>> {
        match self {
            Self::Truth(array) => Some(array),
            _ => None,
        }
    }
}

fn reshaped<T: Copy>(array: &ArrayD<T>, shape: &[usize]) -> ArrayD<T> {
    ArrayD::from_shape_vec(shape, elements(array)).expect("as many elements")
}

/// Broadcasts as numpy does.
pub(crate) fn expanded<T: Clone>(array: &ArrayD<T>, shape: &[usize]) -> ArrayD<T> {
    array.broadcast(shape).expect("a shape that it broadcasts to").to_owned()
}

fn sliced<T: Clone>(array: &ArrayD<T>, dim: usize, start: usize, end: usize, step: usize) -> ArrayD<T> {
    array.slice_axis(Axis(dim), Slice::new(start as isize, Some(end as isize), step as isize)).to_owned()
}
