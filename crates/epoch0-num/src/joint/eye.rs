//! The identity.

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
