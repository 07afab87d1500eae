//! Student's law.

use std::f64::consts::TAU;

use rayon::prelude::*;

use super::{Float, JointError, check_gain};
use crate::Stream;

/// Entries that one task draws.
const TASK: usize = 1 << 13;

/// Independent entries with Student's law of `nu` degrees of freedom, scaled to the standard deviation `std`.
///
/// Entry `i` is made of words `4i .. 4i + 4`, two uniform numbers u and v: `√(ν (u^(-2/ν) - 1)) cos(2πv)` has the law
/// exactly (Bailey, "Polar generation of random variates with the t-distribution", 1994).
///
/// # Errors
/// When `nu` is not a finite number above 2, below which there is no variance, or `std` is not finite in `T`.
pub fn student_t<T: Float>(stream: &Stream, nu: f64, std: f64, out: &mut [T]) -> Result<(), JointError> {
    // Half a step from 0, where u is infinite.
    const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
    if !(nu.is_finite() && nu > 2.0) {
        return Err(JointError::Freedom { got: nu });
    }
    check_gain::<T>("student_t", std)?;
    let scale = std * ((nu - 2.0) / nu).sqrt();
    let uniform = |low: u32, high: u32| ((u64::from(high) << 32 | u64::from(low)) >> 11) as f64;
    out.par_chunks_mut(TASK).enumerate().for_each(|(task, part)| {
        let mut words = vec![0; 4 * part.len()];
        stream.words((4 * task * TASK) as u64, &mut words);
        for (weight, words) in part.iter_mut().zip(words.chunks_exact(4)) {
            let u = (uniform(words[0], words[1]) + 0.5) * STEP;
            let v = uniform(words[2], words[3]) * STEP;
            let square = nu * libm::expm1(-2.0 / nu * libm::log(u));
            *weight = T::of(scale * square.sqrt() * libm::cos(TAU * v));
        }
    });
    Ok(())
}
