//! Arrays on a device: real numbers, integers, truth values, of any rank.

use burn_backend::ops::{BoolTensorOps, FloatTensorOps, IntTensorOps};
use burn_backend::tensor::IndexingUpdateOp;
use burn_backend::{
    BoolDType, BoolStore, DType, FloatDType, IntDType, Shape, Slice, TensorData, TensorMetadata, read_sync,
};
use burn_dispatch::{Dispatch, DispatchTensor};

use crate::host::{normalize, sums};
use crate::{Device, Precision};

type B = Dispatch;

/// An array of real numbers. Cloning shares the elements.
#[derive(Clone, Debug)]
pub struct Tensor(pub(crate) DispatchTensor);

/// An array of integers: words, positions, indices.
#[derive(Clone, Debug)]
pub struct Indices(pub(crate) DispatchTensor);

/// An array of truth values.
#[derive(Clone, Debug)]
pub struct Mask(pub(crate) DispatchTensor);

fn dims(tensor: &DispatchTensor) -> Vec<usize> {
    tensor.shape().iter().copied().collect()
}

fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

impl Precision {
    pub(crate) fn dtype(self) -> FloatDType {
        match self {
            Self::Single => FloatDType::F32,
            Self::Double => FloatDType::F64,
        }
    }
}

impl Tensor {
    /// From elements in order, the last dimension varying fastest.
    ///
    /// # Panics
    ///
    /// When the shape has another number of elements.
    pub fn from_f32(values: Vec<f32>, shape: &[usize], precision: Precision, device: &Device) -> Self {
        assert_eq!(values.len(), count(shape), "elements of a tensor of shape {shape:?}");
        match precision {
            Precision::Single => Self(B::float_from_data(TensorData::new(values, shape.to_vec()), &device.0)),
            Precision::Double => {
                Self::from_f64(values.into_iter().map(f64::from).collect(), shape, precision, device)
            }
        }
    }

    /// As [`Tensor::from_f32`]; single precision rounds to nearest.
    pub fn from_f64(values: Vec<f64>, shape: &[usize], precision: Precision, device: &Device) -> Self {
        assert_eq!(values.len(), count(shape), "elements of a tensor of shape {shape:?}");
        match precision {
            Precision::Double => Self(B::float_from_data(TensorData::new(values, shape.to_vec()), &device.0)),
            Precision::Single => {
                Self::from_f32(values.into_iter().map(|x| x as f32).collect(), shape, precision, device)
            }
        }
    }

    /// All elements the same.
    pub fn full(value: f64, shape: &[usize], precision: Precision, device: &Device) -> Self {
        Self(B::float_full(Shape::from(shape.to_vec()), value.into(), &device.0, precision.dtype()))
    }

    /// As [`Tensor::full`], with precision and device of this one.
    #[must_use]
    pub fn full_like(&self, value: f64, shape: &[usize]) -> Self {
        Self::full(value, shape, self.precision(), &self.device())
    }

    /// Zeros of the same shape.
    #[must_use]
    pub fn zeros_like(&self) -> Self {
        self.full_like(0.0, &self.shape())
    }

    /// Sizes of its dimensions.
    pub fn shape(&self) -> Vec<usize> {
        dims(&self.0)
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.shape().num_dims()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.0.shape().num_elements()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Precision of its elements.
    pub fn precision(&self) -> Precision {
        match self.0.dtype() {
            DType::F64 => Precision::Double,
            _ => Precision::Single,
        }
    }

    /// Where it lives.
    pub fn device(&self) -> Device {
        Device(self.0.device())
    }

    /// Its elements in order.
    pub fn to_f64(&self) -> Vec<f64> {
        match self.precision() {
            Precision::Double => self.data().try_into_vec().unwrap_or_default(),
            Precision::Single => self.to_f32().into_iter().map(f64::from).collect(),
        }
    }

    /// Its elements in order, rounded to single precision where they are not.
    pub fn to_f32(&self) -> Vec<f32> {
        match self.precision() {
            Precision::Single => self.data().try_into_vec().unwrap_or_default(),
            Precision::Double => self.to_f64().into_iter().map(|x| x as f32).collect(),
        }
    }

    /// The only element, or the first.
    pub fn item(&self) -> f64 {
        self.to_f64().first().copied().unwrap_or(f64::NAN)
    }

    fn data(&self) -> TensorData {
        read_sync(B::float_into_data(self.0.clone())).expect("a tensor can be read")
    }

    /// The same elements with another precision.
    #[must_use]
    pub fn cast(&self, precision: Precision) -> Self {
        if precision == self.precision() {
            return self.clone();
        }
        Self(B::float_cast(self.0.clone(), precision.dtype()))
    }

    pub(crate) fn reshape(&self, shape: &[usize]) -> Self {
        if self.shape() == shape {
            return self.clone();
        }
        Self(B::float_reshape(self.0.clone(), Shape::from(shape.to_vec())))
    }

    pub(crate) fn permute(&self, order: &[usize]) -> Self {
        Self(B::float_permute(self.0.clone(), order))
    }

    /// Broadcasts to a shape of the same rank or a larger one.
    pub(crate) fn expand(&self, shape: &[usize]) -> Self {
        if self.shape() == shape {
            return self.clone();
        }
        Self(B::float_expand(self.with_rank(shape.len()).0, Shape::from(shape.to_vec())))
    }

    /// Dimensions of one before the first, up to that rank.
    pub(crate) fn with_rank(&self, rank: usize) -> Self {
        let shape = self.shape();
        if shape.len() >= rank {
            return self.clone();
        }
        let padded: Vec<usize> = std::iter::repeat_n(1, rank - shape.len()).chain(shape).collect();
        self.reshape(&padded)
    }

    pub(crate) fn sum_dims(&self, over: &[usize]) -> Self {
        if let Some(sum) = sums::sum(self, over) {
            return sum;
        }
        over.iter().fold(self.clone(), |sum, &dim| {
            if sum.shape()[dim] == 1 { sum } else { Self(B::float_sum_dim(sum.0, dim)) }
        })
    }

    /// Mean and biased variance of each index of dimension 1, over all others: `[channels]`.
    pub(crate) fn batch_statistics(&self) -> (Self, Self) {
        let dims: Vec<usize> = (0..self.rank()).filter(|&dim| dim != 1).collect();
        normalize::statistics(self, &dims).unwrap_or_else(|| {
            let channels = self.shape()[1];
            let share = channels as f64 / self.len() as f64;
            let mean = self.sum_dims(&dims).scale(share);
            let centred = self.sub(&mean);
            let variance = centred.mul(&centred).sum_dims(&dims).scale(share);
            (mean.reshape(&[channels]), variance.reshape(&[channels]))
        })
    }

    /// Sums what broadcasting to `self.shape()` has repeated.
    pub(crate) fn sum_to(&self, shape: &[usize]) -> Self {
        let mine = self.shape();
        if mine == shape {
            return self.clone();
        }
        let ahead = mine.len() - shape.len();
        let over: Vec<usize> =
            (0..mine.len()).filter(|&dim| dim < ahead || shape[dim - ahead] != mine[dim]).collect();
        self.sum_dims(&over).reshape(shape)
    }

    /// `start .. end` of each dimension by a step.
    pub(crate) fn slice(&self, dim: usize, start: usize, end: usize, step: usize) -> Self {
        Self(B::float_slice(self.0.clone(), &slices(self.rank(), dim, start, end, step)))
    }

    /// Puts `part` where [`Tensor::slice`] would have taken it.
    pub(crate) fn slice_assign(
        &self,
        dim: usize,
        start: usize,
        end: usize,
        step: usize,
        part: &Self,
    ) -> Self {
        let slices = slices(self.rank(), dim, start, end, step);
        Self(B::float_slice_assign(self.0.clone(), &slices, part.0.clone()))
    }

    pub(crate) fn flip(&self, dim: usize) -> Self {
        Self(B::float_flip(self.0.clone(), &[dim]))
    }

    pub(crate) fn concat(parts: &[&Self], dim: usize) -> Self {
        Self(B::float_cat(parts.iter().map(|part| part.0.clone()).collect(), dim))
    }

    /// Rows along a dimension.
    pub(crate) fn select(&self, dim: usize, rows: &Indices) -> Self {
        Self(B::float_select(self.0.clone(), dim, rows.0.clone()))
    }

    /// Adds `parts` to rows along a dimension.
    pub(crate) fn select_add(&self, dim: usize, rows: &Indices, parts: &Self) -> Self {
        Self(B::float_select_assign(
            self.0.clone(),
            dim,
            rows.0.clone(),
            parts.0.clone(),
            IndexingUpdateOp::Add,
        ))
    }

    pub(crate) fn gather(&self, dim: usize, indices: &Indices) -> Self {
        Self(B::float_gather(dim, self.0.clone(), indices.0.clone()))
    }

    pub(crate) fn scatter_add(&self, dim: usize, indices: &Indices, parts: &Self) -> Self {
        Self(B::float_scatter(dim, self.0.clone(), indices.0.clone(), parts.0.clone(), IndexingUpdateOp::Add))
    }

    pub(crate) fn cumsum(&self, dim: usize) -> Self {
        Self(B::float_cumsum(self.0.clone(), dim))
    }

    /// The largest along a dimension, which stays with size one, and where it is.
    pub(crate) fn max_dim(&self, dim: usize) -> (Self, Indices) {
        let (max, at) = B::float_max_dim_with_indices(self.0.clone(), dim, IntDType::I64);
        (Self(max), Indices(at))
    }

    pub(crate) fn mask_where(&self, mask: &Mask, other: &Self) -> Self {
        Self(B::float_mask_where(self.0.clone(), mask.0.clone(), other.0.clone()))
    }

    pub(crate) fn mask_fill(&self, mask: &Mask, value: f64) -> Self {
        Self(B::float_mask_fill(self.0.clone(), mask.0.clone(), value.into()))
    }

    /// How truth values are stored: other devices than the processor have none of a byte.
    fn truth(&self) -> BoolDType {
        if self.device().is_cpu() { BoolDType::Native } else { BoolDType::U32 }
    }

    pub(crate) fn greater(&self, bound: f64) -> Mask {
        Mask(B::float_greater_elem(self.0.clone(), bound.into(), self.truth()))
    }

    pub(crate) fn greater_equal(&self, bound: f64) -> Mask {
        Mask(B::float_greater_equal_elem(self.0.clone(), bound.into(), self.truth()))
    }

    pub(crate) fn lower_equal(&self, bound: f64) -> Mask {
        Mask(B::float_lower_equal_elem(self.0.clone(), bound.into(), self.truth()))
    }

    /// Whether elements are below those of `other`; broadcasts.
    pub(crate) fn lower(&self, other: &Self) -> Mask {
        let shape = crate::primitive::elementwise::broadcast(&self.shape(), &other.shape());
        Mask(B::float_lower(self.expand(&shape).0, other.expand(&shape).0, self.truth()))
    }
}

fn slices(rank: usize, dim: usize, start: usize, end: usize, step: usize) -> Vec<Slice> {
    let mut slices = vec![Slice::new(0, None, 1); rank];
    slices[dim] = Slice::new(start as isize, Some(end as isize), step as isize);
    slices
}

macro_rules! unary {
    ($($name:ident => $op:ident,)*) => {
        impl Tensor {
            $(pub(crate) fn $name(&self) -> Self {
                Self(B::$op(self.0.clone()))
            })*
        }
    };
}

unary! {
    atan => float_atan,
    abs => float_abs,
    sign => float_sign,
    floor => float_floor,
    ceil => float_ceil,
    round => float_round,
}

macro_rules! scalar {
    ($($name:ident => $op:ident,)*) => {
        impl Tensor {
            $(pub(crate) fn $name(&self, scalar: f64) -> Self {
                Self(B::$op(self.0.clone(), scalar.into()))
            })*
        }
    };
}

scalar! {
    powf => float_powf_scalar,
}

impl Tensor {
    /// Matrix product over the last two dimensions, the others broadcast. Ranks are the same and at least two.
    pub(crate) fn matmul(&self, other: &Self) -> Self {
        Self(B::float_matmul(self.0.clone(), other.0.clone()))
    }
}

impl Indices {
    /// From elements in order, the last dimension varying fastest.
    ///
    /// # Panics
    ///
    /// When the shape has another number of elements.
    pub fn new(values: Vec<i64>, shape: &[usize], device: &Device) -> Self {
        assert_eq!(values.len(), count(shape), "elements of indices of shape {shape:?}");
        Self(B::int_from_data(TensorData::new(values, shape.to_vec()), &device.0))
    }

    /// Sizes of its dimensions.
    pub fn shape(&self) -> Vec<usize> {
        dims(&self.0)
    }

    /// Its elements in order.
    pub fn to_vec(&self) -> Vec<i64> {
        let data = read_sync(B::int_into_data(self.0.clone())).expect("indices can be read");
        data.convert::<i64>().try_into_vec().unwrap_or_default()
    }

    /// Where it lives.
    pub fn device(&self) -> Device {
        Device(self.0.device())
    }

    /// The same elements in another shape.
    #[must_use]
    pub fn reshape(&self, shape: &[usize]) -> Self {
        Self(B::int_reshape(self.0.clone(), Shape::from(shape.to_vec())))
    }

    /// As real numbers.
    pub fn to_real(&self, precision: Precision) -> Tensor {
        Tensor(B::int_into_float(self.0.clone(), precision.dtype()))
    }
}

impl Mask {
    /// From elements in order, the last dimension varying fastest.
    ///
    /// # Panics
    ///
    /// When the shape has another number of elements.
    pub fn new(values: Vec<bool>, shape: &[usize], device: &Device) -> Self {
        assert_eq!(values.len(), count(shape), "elements of a mask of shape {shape:?}");
        let data = TensorData::new(values, shape.to_vec());
        let data = if device.is_cpu() { data } else { data.convert_dtype(DType::Bool(BoolStore::U32)) };
        Self(B::bool_from_data(data, &device.0))
    }

    /// Sizes of its dimensions.
    pub fn shape(&self) -> Vec<usize> {
        dims(&self.0)
    }

    /// Its elements in order.
    pub fn to_vec(&self) -> Vec<bool> {
        let data = read_sync(B::bool_into_data(self.0.clone())).expect("a mask can be read");
        data.convert::<bool>().try_into_vec().unwrap_or_default()
    }

    /// Where it lives.
    pub fn device(&self) -> Device {
        Device(self.0.device())
    }

    /// Broadcasts to a shape of the same rank or a larger one.
    pub(crate) fn expand(&self, shape: &[usize]) -> Self {
        let mine = self.shape();
        if mine == shape {
            return self.clone();
        }
        let padded: Vec<usize> = std::iter::repeat_n(1, shape.len() - mine.len()).chain(mine).collect();
        let padded = B::bool_reshape(self.0.clone(), Shape::from(padded));
        Self(B::bool_expand(padded, Shape::from(shape.to_vec())))
    }

    /// Ones where it is true.
    pub fn to_real(&self, precision: Precision) -> Tensor {
        Tensor(B::bool_into_float(self.0.clone(), precision.dtype()))
    }

    pub(crate) fn not(&self) -> Self {
        Self(B::bool_not(self.0.clone()))
    }
}
