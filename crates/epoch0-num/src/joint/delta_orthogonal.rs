//! Convolutions that are orthogonal at their centre tap.

use super::{Float, JointError, Moments, check_gain, check_length, orthogonal};
use crate::Stream;

/// A convolution's weight of shape `[out, in, k…]` (1 to 3 kernel dimensions) whose centre tap is `gain` times a
/// Haar-distributed matrix with orthonormal columns and whose other taps are zero.
///
/// With circular padding and stride 1 the convolution multiplies the norm of every input by `gain`. That needs
/// `out >= in` (Xiao et al., "Dynamical Isometry and a Mean Field Theory of CNNs", 2018, Algorithm 1), so fewer
/// outputs are refused. The centre of a kernel of `k` taps is tap `(k − 1) / 2`, as jax has it; [`super::dirac`]
/// follows torch, which differs for even `k`.
///
/// The matrix is that of `orthogonal(stream, out, in, gain)`.
///
/// # Errors
/// When the shape has not 3, 4 or 5 dimensions, `out < in`, the gain is not finite in `T`, or the buffer is not as
/// long as the shape says.
pub fn delta_orthogonal<T: Float>(
    stream: &Stream,
    shape: &[usize],
    gain: f64,
    out: &mut [T],
) -> Result<(), JointError> {
    const LAW: &str = "delta_orthogonal";
    let (outputs, inputs, kernel) = parts(shape)?;
    check_gain::<T>(LAW, gain)?;
    check_length(LAW, shape, out.len())?;
    out.fill(T::ZERO);
    if out.is_empty() {
        return Ok(());
    }
    let mut matrix = vec![T::ZERO; outputs * inputs];
    orthogonal(stream, outputs, inputs, gain, &mut matrix)?;
    let taps: usize = kernel.iter().product();
    let centre = kernel.iter().fold(0, |index, &k| index * k + (k - 1) / 2);
    for (tap, &weight) in out[centre..].iter_mut().step_by(taps).zip(&matrix) {
        *tap = weight;
    }
    Ok(())
}

/// Moments of an entry of [`delta_orthogonal`], picked from all taps: mean 0, variance `gain² / (out · taps)`, fourth
/// moment `3 gain⁴ / (out (out + 2) taps)`.
///
/// # Errors
/// When the shape is one that [`delta_orthogonal`] refuses.
pub fn delta_orthogonal_moments(shape: &[usize], gain: f64) -> Result<Moments, JointError> {
    let (outputs, inputs, kernel) = parts(shape)?;
    let centre = super::orthogonal_moments(outputs, inputs, gain);
    let taps = kernel.iter().map(|&k| k as f64).product::<f64>();
    Ok(Moments { mean: 0.0, var: centre.var / taps, fourth: centre.fourth / taps })
}

/// Output channels, input channels and kernel of a shape that the law is defined for.
fn parts(shape: &[usize]) -> Result<(usize, usize, &[usize]), JointError> {
    match shape {
        [out, in_, kernel @ ..] if (1..=3).contains(&kernel.len()) => {
            if out < in_ {
                return Err(JointError::FewerOut { out: *out, in_: *in_ });
            }
            Ok((*out, *in_, kernel))
        }
        _ => Err(JointError::Dims { law: "delta_orthogonal", shape: shape.to_vec(), allowed: "3, 4 or 5" }),
    }
}
