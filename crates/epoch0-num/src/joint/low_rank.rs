//! Gaussian matrices of low rank.

use rayon::prelude::*;

use super::gemm::{self, Float, Isa, Packed, Sign, Strip};
use super::{JointError, check_length, orthogonal};
use crate::{Law, Stream};

const LAW: &str = "low_rank";
/// Rows of the product that one task computes.
const PANEL: usize = 48;

/// A `rows × cols` matrix of rank `rank`: `C · P`, where `C` has orthonormal columns (Haar) and the entries of `P` are
/// N(0, `std² · rows / rank`). An entry has mean 0 and variance `std²`; rows and columns are exchangeable.
///
/// # Errors
/// When the rank is not one of `1 ..= min(rows, cols)` (a matrix without entries has any), `std` is not one that a
/// Gaussian can have, or the buffer is not `rows · cols` long.
pub fn low_rank<T: Float>(
    stream: &Stream,
    rows: usize,
    cols: usize,
    rank: usize,
    std: f64,
    out: &mut [T],
) -> Result<(), JointError> {
    check_length(LAW, &[rows, cols], out.len())?;
    if out.is_empty() {
        return Ok(());
    }
    if rank == 0 || rank > rows.min(cols) {
        return Err(JointError::Rank { got: rank, most: rows.min(cols) });
    }
    let mut left = vec![T::ZERO; rows * rank];
    orthogonal(&stream.child("left"), rows, rank, (rows as f64 / rank as f64).sqrt(), &mut left)?;
    let mut right = vec![T::ZERO; rank * cols];
    Law::normal(0.0, std)
        .fill_par(&stream.child("right"), 0, &mut right)
        .map_err(|source| JointError::Law { law: LAW, source })?;
    let (isa, right) = (Isa::detect(), Packed::rows(&right, rank, cols, cols));
    out.fill(T::ZERO);
    out.par_chunks_mut(PANEL * cols).zip(left.par_chunks(PANEL * rank)).for_each(|(product, data)| {
        let rows = Strip { data, rows: data.len() / rank, stride: rank };
        gemm::accumulate(isa, Sign::Plus, rows, &right, product, cols);
    });
    Ok(())
}

/// The rank that is a share `gamma` of the shorter side, rounded up; at least 1, at most the shorter side.
pub fn rank(gamma: f64, rows: usize, cols: usize) -> usize {
    let most = rows.min(cols);
    ((gamma * most as f64).ceil() as usize).clamp(1, most.max(1))
}
