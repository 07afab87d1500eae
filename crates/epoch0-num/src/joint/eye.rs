//! The identity, once or over and over.

use super::{Float, JointError, check_gain, check_length};

/// `gain` on the main diagonal of a `rows × cols` matrix and zero elsewhere: as much of the input handed on as fits.
///
/// ```
/// let mut out = [f32::NAN; 6];
/// epoch0_num::joint::eye(2, 3, 1.0, &mut out)?;
/// assert_eq!(out, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
/// # Ok::<(), epoch0_num::joint::JointError>(())
/// ```
///
/// # Errors
/// When the gain is not finite in `T` or the buffer is not `rows · cols` long.
pub fn eye<T: Float>(rows: usize, cols: usize, gain: f64, out: &mut [T]) -> Result<(), JointError> {
    check_length("eye", &[rows, cols], out.len())?;
    let gain = check_gain("eye", gain)?;
    out.fill(T::ZERO);
    if cols > 0 {
        out.iter_mut().step_by(cols + 1).take(rows.min(cols)).for_each(|weight| *weight = gain);
    }
    Ok(())
}

/// `gain` at every `(i, j)` whose numbers leave the same remainder when divided by the shorter side, and zero elsewhere:
/// copies of the identity below or beside each other until the matrix is full, so that every row and column has an entry.
///
/// ```
/// let mut out = [f32::NAN; 6];
/// epoch0_num::joint::tiled_eye(3, 2, 1.0, &mut out)?;
/// assert_eq!(out, [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]);
/// # Ok::<(), epoch0_num::joint::JointError>(())
/// ```
///
/// # Errors
/// When the gain is not finite in `T` or the buffer is not `rows · cols` long.
pub fn tiled_eye<T: Float>(rows: usize, cols: usize, gain: f64, out: &mut [T]) -> Result<(), JointError> {
    const LAW: &str = "tiled_eye";
    check_length(LAW, &[rows, cols], out.len())?;
    let gain = check_gain(LAW, gain)?;
    out.fill(T::ZERO);
    let side = rows.min(cols);
    if side > 0 {
        for at in 0..rows.max(cols) {
            let (row, col) = if rows >= cols { (at, at % side) } else { (at % side, at) };
            out[row * cols + col] = gain;
        }
    }
    Ok(())
}
