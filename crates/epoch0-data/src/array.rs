//! Arrays in memory.

use epoch0_num::Dtype;

use crate::Error;

/// Numbers in row-major order with a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T> {
    shape: Vec<usize>,
    data: Vec<T>,
}

impl<T> Array<T> {
    /// An array of this shape; no dimension at all is a single number.
    ///
    /// # Errors
    /// When the shape has another number of elements.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<T>) -> Result<Self, Error> {
        let shape = shape.into();
        if len_of(&shape) == Some(data.len()) {
            return Ok(Self { shape, data });
        }
        let allowed = format!("a shape of {} elements", data.len());
        Err(Error::content("array", "its shape", format!("{shape:?}"), allowed))
    }

    /// Its shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Its numbers.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// Its numbers, to be changed.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// Shape and numbers.
    pub fn into_parts(self) -> (Vec<usize>, Vec<T>) {
        (self.shape, self.data)
    }

    /// How many rows the first dimension has; 1 for a single number.
    pub fn n_rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Numbers in a row.
    pub fn row_len(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Row `nth` of the first dimension.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, nth: usize) -> &[T] {
        &self.data[nth * self.row_len()..][..self.row_len()]
    }

    /// The same numbers in another shape.
    ///
    /// # Errors
    /// When the shape has another number of elements.
    pub fn reshaped(self, shape: impl Into<Vec<usize>>) -> Result<Self, Error> {
        Self::new(shape, self.data)
    }

    /// Each row as one dimension: `[n, a, b]` becomes `[n, a·b]`.
    #[must_use]
    pub fn flattened(self) -> Self {
        Self { shape: vec![self.n_rows(), self.row_len()], data: self.data }
    }

    /// The same with every number changed.
    pub fn map<U>(&self, change: impl Fn(&T) -> U) -> Array<U> {
        Array { shape: self.shape.clone(), data: self.data.iter().map(change).collect() }
    }
}

impl<T: Copy> Array<T> {
    /// Some rows, in the order asked for.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn pick(&self, rows: &[usize]) -> Self {
        let mut data = Vec::with_capacity(rows.len() * self.row_len());
        rows.iter().for_each(|&row| data.extend_from_slice(self.row(row)));
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = rows.len();
        }
        Self { shape, data }
    }
}

/// How many elements a shape has; `None` if they cannot be counted.
pub(crate) fn len_of(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))
}

macro_rules! any_array {
    ($($name:ident $type:ty: $text:literal,)*) => {
        /// An array of one of the types that files hold.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum AnyArray {
            $(#[doc = $text] $name(Array<$type>),)*
        }

        impl AnyArray {
            /// Its shape.
            pub fn shape(&self) -> &[usize] {
                match self { $(Self::$name(array) => array.shape(),)* }
            }

            /// Type of its elements.
            pub fn dtype(&self) -> Dtype {
                match self { $(Self::$name(_) => Dtype::$name,)* }
            }
        }

        $(impl From<Array<$type>> for AnyArray {
            fn from(array: Array<$type>) -> Self {
                Self::$name(array)
            }
        })*
    };
}

any_array! {
    F16 half::f16: "IEEE 754 binary16.",
    F32 f32: "IEEE 754 binary32.",
    F64 f64: "IEEE 754 binary64.",
    I8 i8: "8-bit signed integer.",
    I16 i16: "16-bit signed integer.",
    I32 i32: "32-bit signed integer.",
    I64 i64: "64-bit signed integer.",
    U8 u8: "8-bit unsigned integer.",
    U16 u16: "16-bit unsigned integer.",
    U32 u32: "32-bit unsigned integer.",
    U64 u64: "64-bit unsigned integer.",
    Bool bool: "Boolean.",
}

impl AnyArray {
    /// As f64, rounded to the nearest where an integer has no f64 of its own.
    pub fn to_f64(&self) -> Array<f64> {
        match self {
            Self::F16(array) => array.map(|value| value.to_f64()),
            Self::F32(array) => array.map(|&value| f64::from(value)),
            Self::F64(array) => array.clone(),
            Self::I8(array) => array.map(|&value| f64::from(value)),
            Self::I16(array) => array.map(|&value| f64::from(value)),
            Self::I32(array) => array.map(|&value| f64::from(value)),
            Self::I64(array) => array.map(|&value| value as f64),
            Self::U8(array) => array.map(|&value| f64::from(value)),
            Self::U16(array) => array.map(|&value| f64::from(value)),
            Self::U32(array) => array.map(|&value| f64::from(value)),
            Self::U64(array) => array.map(|&value| value as f64),
            Self::Bool(array) => array.map(|&value| f64::from(u8::from(value))),
        }
    }

    /// As f32, rounded to the nearest.
    pub fn to_f32(&self) -> Array<f32> {
        match self {
            Self::F16(array) => array.map(|value| value.to_f32()),
            Self::F32(array) => array.clone(),
            Self::U8(array) => array.map(|&value| f32::from(value)),
            // Integers are rounded once, not through f64.
            Self::I64(array) => array.map(|&value| value as f32),
            Self::U64(array) => array.map(|&value| value as f32),
            other => other.to_f64().map(|&value| value as f32),
        }
    }

    /// As i64; `None` for floating-point numbers, and where a number does not fit.
    pub fn to_i64(&self) -> Option<Array<i64>> {
        Some(match self {
            Self::I8(array) => array.map(|&value| i64::from(value)),
            Self::I16(array) => array.map(|&value| i64::from(value)),
            Self::I32(array) => array.map(|&value| i64::from(value)),
            Self::I64(array) => array.clone(),
            Self::U8(array) => array.map(|&value| i64::from(value)),
            Self::U16(array) => array.map(|&value| i64::from(value)),
            Self::U32(array) => array.map(|&value| i64::from(value)),
            Self::U64(array) if array.data().iter().all(|&value| i64::try_from(value).is_ok()) => {
                array.map(|&value| value as i64)
            }
            Self::Bool(array) => array.map(|&value| i64::from(value)),
            _ => return None,
        })
    }
}
