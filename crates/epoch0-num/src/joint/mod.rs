//! Joint laws: tensors that are drawn as a whole because their weights depend on each other.
//!
//! | function | law |
//! |---|---|
//! | [`orthogonal`] | orthonormal rows or columns, Haar-distributed |
//! | [`delta_orthogonal`] | a convolution that is orthogonal at its centre tap and zero elsewhere |
//! | [`eye`], [`tiled_eye`] | the identity, once or until the matrix is full |
//! | [`hadamard`] | Sylvester's matrix of signs |
//! | [`dirac`] | a convolution that hands its input on |
//! | [`sparse`] | Gaussian, with the same number of zeros in every column |
//! | [`structured_sparse`] | Gaussian at places that rows and columns have the same number of |
//! | [`block_sparse`] | Gaussian in blocks, rows and columns in random order |
//! | [`low_rank`] | orthonormal columns times a Gaussian |
//! | [`student_t`] | Student's t, each entry by itself |
//! | [`convolution_aware`] | kernels whose slices are orthonormal in Fourier space |
//!
//! Each fills a dense row-major buffer and is a pure function of the stream, the shape and its parameters: the
//! bits are the same on every machine, with every instruction set and any number of threads. Shapes are
//! `[out, in, receptive…]`; [`flat`] makes a matrix of them.

mod balanced;
mod convolution_aware;
mod delta_orthogonal;
mod dirac;
mod eye;
mod gemm;
mod hadamard;
mod low_rank;
mod orthogonal;
mod sparse;
mod student_t;

pub use balanced::{block_sparse, nonzeros, structured_sparse};
pub use convolution_aware::{ConvolutionAware, convolution_aware};
pub use delta_orthogonal::{delta_orthogonal, delta_orthogonal_moments};
pub use dirac::dirac;
pub use eye::{eye, tiled_eye};
pub use gemm::Float;
pub use hadamard::{hadamard, hadamard_moments};
pub use low_rank::{low_rank, rank};
pub use orthogonal::{orthogonal, orthogonal_moments};
pub use sparse::{sparse, sparse_moments, zeros_per_column};
pub use student_t::student_t;

use crate::LawError;

/// Why a tensor cannot be drawn.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JointError {
    /// The law is not defined for so many dimensions.
    #[error("{law}: shape {shape:?} has {} dimensions, allowed {allowed}", shape.len())]
    Dims {
        /// The law.
        law: &'static str,
        /// The shape asked for.
        shape: Vec<usize>,
        /// How many dimensions it may have.
        allowed: &'static str,
    },
    /// The output channels cannot be parted into so many groups.
    #[error("dirac: groups is {groups}, allowed divisors of the {out} output channels")]
    Groups {
        /// Groups asked for.
        groups: usize,
        /// Output channels of the shape.
        out: usize,
    },
    /// The share of zeros is out of its range.
    #[error("sparse: sparsity is {got}, allowed 0 <= sparsity < 1")]
    Sparsity {
        /// The share asked for.
        got: f64,
    },
    /// So few entries that a row or a column has none, or more than there are.
    #[error("{law}: density is {got}, allowed {least} to 1, so that no row and no column is empty")]
    Density {
        /// The law.
        law: &'static str,
        /// The density asked for.
        got: f64,
        /// The smallest with which all rows and columns have an entry.
        least: f64,
    },
    /// The matrix is not made of such blocks.
    #[error("block_sparse: {rows} rows and {cols} columns, allowed multiples of the block's {block}")]
    Blocks {
        /// Side of a block.
        block: usize,
        /// Rows.
        rows: usize,
        /// Columns.
        cols: usize,
    },
    /// There is no matrix of that rank.
    #[error("low_rank: rank is {got}, allowed 1 to {most}")]
    Rank {
        /// The rank asked for.
        got: usize,
        /// The shorter side.
        most: usize,
    },
    /// Student's law with so few degrees of freedom has no variance.
    #[error("student_t: nu is {got}, allowed finite numbers above 2")]
    Freedom {
        /// The degrees of freedom asked for.
        got: f64,
    },
    /// The gain is not a finite number of the type that is drawn.
    #[error("{law}: gain is {got}, allowed finite numbers within the range of {dtype}")]
    Gain {
        /// The law.
        law: &'static str,
        /// The gain asked for.
        got: f64,
        /// The type that is drawn.
        dtype: crate::Dtype,
    },
    /// Fewer output than input channels: no such convolution keeps the norm of every input.
    #[error(
        "delta_orthogonal: {out} output channels for {in_} input channels, allowed at least as many\n\
         hint: use orthogonal, which makes the rows orthonormal instead"
    )]
    FewerOut {
        /// Output channels.
        out: usize,
        /// Input channels.
        in_: usize,
    },
    /// The buffer is not as long as the shape says.
    #[error("{law}: the buffer holds {got} elements, shape {shape:?} has {}", elements(shape))]
    Length {
        /// The law.
        law: &'static str,
        /// Elements of the buffer.
        got: usize,
        /// The shape asked for.
        shape: Vec<usize>,
    },
    /// The law of the single weights cannot be drawn.
    #[error("{law}: {source}")]
    Law {
        /// The law.
        law: &'static str,
        /// What is wrong.
        source: LawError,
    },
}

/// Moments of a joint law's entries: of one entry picked at random, over all draws.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Mean.
    pub mean: f64,
    /// Variance.
    pub var: f64,
    /// Fourth central moment.
    pub fourth: f64,
}

/// The matrix that a weight of shape `[out, in, receptive…]` is to an orthogonal law, as torch flattens it:
/// `out` rows and `in · receptive` columns.
///
/// ```
/// assert_eq!(epoch0_num::joint::flat(&[64, 3, 7, 7]), Ok((64, 147)));
/// ```
///
/// # Errors
/// When there are fewer than two dimensions, or more columns than can be counted.
pub fn flat(shape: &[usize]) -> Result<(usize, usize), JointError> {
    let dims = |allowed| JointError::Dims { law: "orthogonal", shape: shape.to_vec(), allowed };
    let [rows, rest @ ..] = shape else { return Err(dims("2 or more")) };
    if rest.is_empty() {
        return Err(dims("2 or more"));
    }
    let cols = rest.iter().try_fold(1_usize, |product, &n| product.checked_mul(n));
    Ok((*rows, cols.ok_or_else(|| dims("those whose elements can be counted"))?))
}

/// Elements of a shape, however many.
fn elements(shape: &[usize]) -> u128 {
    shape.iter().fold(1, |product: u128, &n| product.saturating_mul(n as u128))
}

/// Refuses a buffer that is not as long as the shape says.
fn check_length(law: &'static str, shape: &[usize], got: usize) -> Result<(), JointError> {
    if elements(shape) == got as u128 {
        return Ok(());
    }
    Err(JointError::Length { law, got, shape: shape.to_vec() })
}

/// The gain as an element of the tensor; refused where it is not finite.
fn check_gain<T: Float>(law: &'static str, gain: f64) -> Result<T, JointError> {
    let cast = T::of(gain);
    if cast.wide().is_finite() {
        return Ok(cast);
    }
    Err(JointError::Gain { law, got: gain, dtype: T::DTYPE })
}
