//! Gaussian weights with the same number of zeros in every column.

use super::{JointError, Moments, check_length};
use crate::{Element, Law, Stream};

const LAW: &str = "sparse";

/// A `rows × cols` matrix with [`zeros_per_column`] zeros in every column, at places chosen uniformly among all sets
/// of that many rows, independently for each column; the other entries are N(0, `std`²). (J. Martens, "Deep learning
/// via Hessian-free optimization", 2010, §5; counted as torch counts.)
///
/// Which entries of a column are zero is a function of the stream, `rows`, `sparsity` and the column's number, and
/// the values of the others are those of [`Law::Normal`] at their place in the matrix.
///
/// # Errors
/// When `sparsity` is not in `[0, 1)`, `std` is not one that a Gaussian can have, or the buffer is not
/// `rows · cols` long.
pub fn sparse<T: Element>(
    stream: &Stream,
    rows: usize,
    cols: usize,
    sparsity: f64,
    std: f64,
    out: &mut [T],
) -> Result<(), JointError> {
    check_length(LAW, &[rows, cols], out.len())?;
    let zeros = zeros_per_column(rows, sparsity)?;
    Law::Normal { mean: 0.0, std }
        .fill_par(stream, 0, out)
        .map_err(|source| JointError::Law { law: LAW, source })?;
    let places = stream.child("zeros");
    let mut order = vec![0; rows];
    for col in 0..cols {
        for &row in shuffle(&places, col, zeros, &mut order) {
            out[row * cols + col] = T::default();
        }
    }
    Ok(())
}

/// Zeros that [`sparse`] puts in each column: `sparsity · rows`, rounded up.
///
/// The product is rounded to f64 first, and `sparsity` is the f64 nearest to the number meant, so 0.07 of 100 rows are
/// 8 zeros, as in torch.
///
/// # Errors
/// When `sparsity` is not in `[0, 1)`.
pub fn zeros_per_column(rows: usize, sparsity: f64) -> Result<usize, JointError> {
    if !(0.0..1.0).contains(&sparsity) {
        return Err(JointError::Sparsity { got: sparsity });
    }
    Ok((sparsity * rows as f64).ceil() as usize)
}

/// Moments of an entry of [`sparse`]: mean 0, variance `p std²` and fourth moment `3 p std⁴`, where `p` is the share of
/// entries that are not set to zero.
///
/// # Errors
/// When `sparsity` is not in `[0, 1)`.
pub fn sparse_moments(rows: usize, sparsity: f64, std: f64) -> Result<Moments, JointError> {
    let kept = 1.0 - zeros_per_column(rows, sparsity)? as f64 / rows.max(1) as f64;
    let square = std * std;
    Ok(Moments { mean: 0.0, var: kept * square, fourth: 3.0 * kept * square * square })
}

/// The first `count` of `0 .. order.len()` after a shuffle of the column's own (Fisher and Yates, in Durstenfeld's
/// form). `order` is where the shuffle takes place.
pub(super) fn shuffle<'a>(places: &Stream, col: usize, count: usize, order: &'a mut [usize]) -> &'a [usize] {
    order.iter_mut().enumerate().for_each(|(i, row)| *row = i);
    let mut words = vec![0; 2 * count];
    places.words(2 * col as u64 * count as u64, &mut words);
    for (i, pair) in words.chunks_exact(2).enumerate() {
        // The upper half of the product: none of the `left` places is favoured by more than left/2⁶⁴ of its share.
        let word = u64::from(pair[1]) << 32 | u64::from(pair[0]);
        let left = order.len() - i;
        order.swap(i, i + ((u128::from(word) * left as u128) >> 64) as usize);
    }
    &order[..count]
}
