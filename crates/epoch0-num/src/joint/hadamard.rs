//! Hadamard's matrices, in Sylvester's order.

use super::{Float, JointError, Moments, check_gain, check_length};

/// The first `rows` rows and `cols` columns of `gain` times Sylvester's Hadamard matrix: entry `(i, j)` is `gain` where
/// `i` and `j` have an even number of ones in common in binary, and `-gain` elsewhere.
///
/// Columns are orthogonal where `rows` is a power of two and `cols` at most `rows`.
///
/// ```
/// let mut out = [0.0_f32; 8];
/// epoch0_num::joint::hadamard(4, 2, 1.0, &mut out)?;
/// assert_eq!(out, [1.0, 1.0, 1.0, -1.0, 1.0, 1.0, 1.0, -1.0]);
/// # Ok::<(), epoch0_num::joint::JointError>(())
/// ```
///
/// # Errors
/// When the gain is not finite in `T` or the buffer is not `rows · cols` long.
pub fn hadamard<T: Float>(rows: usize, cols: usize, gain: f64, out: &mut [T]) -> Result<(), JointError> {
    const LAW: &str = "hadamard";
    check_length(LAW, &[rows, cols], out.len())?;
    let gain: T = check_gain(LAW, gain)?;
    for (i, row) in out.chunks_exact_mut(cols.max(1)).enumerate() {
        for (j, weight) in row.iter_mut().enumerate() {
            *weight = if is_even(i & j) { gain } else { -gain };
        }
    }
    Ok(())
}

/// Moments over the entries of [`hadamard`].
pub fn hadamard_moments(rows: usize, cols: usize, gain: f64) -> Moments {
    let sum: i64 = (0..cols).map(|column| column_sum(rows, column)).sum();
    let n = rows as f64 * cols as f64;
    // Share of positive entries.
    let positive = if n == 0.0 { 0.5 } else { 0.5 * (1.0 + sum as f64 / n) };
    let mean = (2.0 * positive - 1.0) * gain;
    let (above, below) = (gain - mean, gain + mean);
    let moment = |power: i32| positive * above.powi(power) + (1.0 - positive) * below.powi(power);
    Moments { mean, var: moment(2), fourth: moment(4) }
}

fn is_even(common: usize) -> bool {
    common.count_ones().is_multiple_of(2)
}

/// Sum of the first `rows` signs of a column. The numbers below `rows` are a block of `2^b` for each of its binary ones
/// `b`: those that agree with it above `b`. Signs within a block cancel unless the column has no ones below `b`.
fn column_sum(rows: usize, column: usize) -> i64 {
    let blocks = (0..usize::BITS).filter(|&bit| rows >> bit & 1 == 1);
    blocks
        .filter(|&bit| column & ((1 << bit) - 1) == 0)
        .map(|bit| {
            let size = 1_i64 << bit;
            let above = rows & !(1 << bit) & !((1 << bit) - 1);
            if is_even(above & column) { size } else { -size }
        })
        .sum()
}
