//! Convolutions that hand their input on.

use super::{Float, JointError, check_length};

/// A convolution's weight of shape `[out, in / groups, k…]` that is 1 at the centre tap from each input channel to
/// the output channel of the same number in its group, and zero elsewhere.
///
/// With stride 1 and padding `k / 2`, the first `min(out / groups, in / groups)` channels of every group come out as
/// they went in. The centre of a kernel of `k` taps is tap `k / 2`, as torch has it; for an even `k` the output is one
/// position longer than the input, which is found in all but the last.
///
/// # Errors
/// When the shape has not 3, 4 or 5 dimensions, `groups` does not divide `out`, or the buffer is not as long as the
/// shape says.
pub fn dirac<T: Float>(shape: &[usize], groups: usize, out: &mut [T]) -> Result<(), JointError> {
    let [outputs, inputs, kernel @ ..] = shape else { return Err(dims(shape)) };
    if !(1..=3).contains(&kernel.len()) {
        return Err(dims(shape));
    }
    if groups == 0 || outputs % groups != 0 {
        return Err(JointError::Groups { groups, out: *outputs });
    }
    check_length("dirac", shape, out.len())?;
    out.fill(T::ZERO);
    if out.is_empty() {
        return Ok(());
    }
    let taps: usize = kernel.iter().product();
    let centre = kernel.iter().fold(0, |index, &k| index * k + k / 2);
    let per_group = outputs / groups;
    for group in 0..groups {
        for channel in 0..per_group.min(*inputs) {
            out[((group * per_group + channel) * inputs + channel) * taps + centre] = T::ONE;
        }
    }
    Ok(())
}

fn dims(shape: &[usize]) -> JointError {
    JointError::Dims { law: "dirac", shape: shape.to_vec(), allowed: "3, 4 or 5" }
}
