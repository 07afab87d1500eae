//! Kernels that are orthogonal in Fourier space.

use std::f64::consts::TAU;

use rayon::prelude::*;

use super::{Float, JointError, check_length, orthogonal};
use crate::{Law, Stream};

const LAW: &str = "convolution_aware";

/// How kernels are made orthogonal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvolutionAware {
    /// Standard deviation of what is added to each weight before all are scaled; nothing is where slices are exact.
    pub noise: f64,
    /// Whether the slices themselves are orthonormal, and not what they are half of the spectrum of.
    pub exact: bool,
    /// Standard deviation over the entries.
    pub std: f64,
}

/// Filters of shape `[out, in, k…]` (1 to 3 kernel dimensions) whose slices, one for each input channel, have orthonormal
/// half-spectra: rows of random orthogonal matrices are taken as the real coefficients of a real Fourier transform, turned
/// back, blurred with noise, and scaled so that the variance over all entries, about their mean, is `std²`.
/// (A. Aghajanyan, "Convolution Aware Initialization", 2017.)
///
/// A spectrum has `k₁ ⋯ (⌊k_d / 2⌋ + 1)` coefficients. A filter with more channels has several orthogonal matrices on top
/// of each other. Coefficients of a half-spectrum do not count alike, and some stand for the same wave, so that slices are
/// orthogonal only in part. With `exact` the slices are the rows of orthogonal matrices, which is the same as taking these
/// for coefficients of orthonormal waves: turning by a fixed rotation leaves Haar's law what it is.
///
/// # Errors
/// When the shape has not 3, 4 or 5 dimensions, the noise is not one that a Gaussian can have, the standard deviation is not
/// finite in `T`, or the buffer is not as long as the shape says.
pub fn convolution_aware<T: Float>(
    stream: &Stream,
    shape: &[usize],
    law: &ConvolutionAware,
    out: &mut [T],
) -> Result<(), JointError> {
    let (channels, kernel) = match shape {
        [_, channels, kernel @ ..] if (1..=3).contains(&kernel.len()) => (*channels, kernel),
        _ => return Err(JointError::Dims { law: LAW, shape: shape.to_vec(), allowed: "3, 4 or 5" }),
    };
    check_length(LAW, shape, out.len())?;
    super::check_gain::<T>(LAW, law.std)?;
    if out.is_empty() {
        return Ok(());
    }
    let taps: usize = kernel.iter().product();
    let waves = if law.exact { Vec::new() } else { waves(kernel) };
    let width = if law.exact { taps } else { waves.len() / taps };
    out.par_chunks_exact_mut(channels * taps).enumerate().try_for_each(|(nth, filter)| {
        let stream = stream.child(&nth.to_string());
        let mut basis = vec![0.0_f64; channels * width];
        for (block, rows) in basis.chunks_mut(width * width).enumerate() {
            orthogonal(&stream.child(&block.to_string()), rows.len() / width, width, 1.0, rows)?;
        }
        if law.exact {
            filter.iter_mut().zip(&basis).for_each(|(weight, &value)| *weight = T::of(value));
            return Ok(());
        }
        let mut noise = vec![0.0_f64; filter.len()];
        Law::normal(0.0, law.noise)
            .fill(&stream.child("noise"), 0, &mut noise)
            .map_err(|source| JointError::Law { law: LAW, source })?;
        let slices = filter.chunks_exact_mut(taps).zip(noise.chunks_exact(taps));
        for ((slice, noise), coefficients) in slices.zip(basis.chunks_exact(width)) {
            for ((weight, noise), waves) in slice.iter_mut().zip(noise).zip(waves.chunks_exact(width)) {
                let value: f64 = coefficients.iter().zip(waves).map(|(c, wave)| c * wave).sum();
                *weight = T::of(value + noise);
            }
        }
        Ok(())
    })?;
    scale(law.std, out);
    Ok(())
}

/// Brings the variance over all entries, about their mean, to `std²`. What does not vary stays what it is.
fn scale<T: Float>(std: f64, out: &mut [T]) {
    let n = out.len() as f64;
    let mean = out.iter().map(|weight| weight.wide()).sum::<f64>() / n;
    let var = out.iter().map(|weight| (weight.wide() - mean).powi(2)).sum::<f64>() / n;
    if var > 0.0 {
        let factor = std / var.sqrt();
        out.iter_mut().for_each(|weight| *weight = T::of(weight.wide() * factor));
    }
}

/// What each real coefficient of a half-spectrum adds to each position, `[position, coefficient]`, both row-major: a
/// cosine over the number of positions. Coefficients of the last dimension that are not their own mirror image stand for
/// two.
fn waves(kernel: &[usize]) -> Vec<f64> {
    let taps: usize = kernel.iter().product();
    let last = kernel[kernel.len() - 1];
    let half: Vec<usize> = kernel[..kernel.len() - 1].iter().copied().chain([last / 2 + 1]).collect();
    let width: usize = half.iter().product();
    let mut waves = Vec::with_capacity(taps * width);
    for position in 0..taps {
        for coefficient in 0..width {
            let (mut position, mut rest, mut turns) = (position, coefficient, 0.0);
            for (&n, &n_waves) in kernel.iter().zip(&half).rev() {
                // Whole turns are left out before anything is rounded.
                turns += (position % n * (rest % n_waves) % n) as f64 / n as f64;
                position /= n;
                rest /= n_waves;
            }
            let frequency = coefficient % (last / 2 + 1);
            let twice = frequency > 0 && 2 * frequency < last;
            waves.push(if twice { 2.0 } else { 1.0 } * libm::cos(TAU * turns) / taps as f64);
        }
    }
    waves
}
