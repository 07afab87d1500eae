//! A class's share of the answers.

use std::f64::consts::PI;

use crate::meanfield::MeanFieldError;
use crate::special::{normal_cdf, normal_pdf, normal_quantile};
use crate::stats::Moments;
use crate::{Law, Stream};

/// The law, over draws of the weights, of the share `G₀` of inputs that a network with two classes gives the first:
/// `G₀ = Φ(√γ Z)`, `Z ~ N(0, 1)`.
///
/// Nothing but ½ at `γ = 0`, one peak below 1, uniform at 1, and above two peaks, at 0 and 1.
///
/// # Example
/// ```
/// use epoch0_num::meanfield::guessing::Guess;
/// let uniform = Guess::new(1.0)?;
/// assert!((uniform.cdf(0.3) - 0.3).abs() < 1e-14);
/// assert!((uniform.imbalance() - 0.25).abs() < 1e-15);
/// # Ok::<(), epoch0_num::meanfield::MeanFieldError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess {
    gamma: f64,
}

impl Guess {
    /// The law for a `γ`.
    ///
    /// # Errors
    /// When `γ` is negative or not a number; it may be infinite.
    pub fn new(gamma: f64) -> Result<Self, MeanFieldError> {
        if gamma >= 0.0 {
            Ok(Self { gamma })
        } else {
            Err(MeanFieldError::Parameter { name: "gamma", got: gamma, allowed: "numbers from 0" })
        }
    }

    /// Probability of a share of at most `share`.
    pub fn cdf(&self, share: f64) -> f64 {
        if share >= 1.0 {
            1.0
        } else if share < 0.0 {
            0.0
        } else if self.gamma == 0.0 {
            f64::from(share >= 0.5)
        } else {
            normal_cdf(normal_quantile(share) / self.gamma.sqrt())
        }
    }

    /// Density `φ(x/√γ) / (√γ φ(x))` at `x = Φ⁻¹(share)`; 0 outside of the open range from 0 to 1. For `γ = 0` all is
    /// at ½, where the density is infinite.
    pub fn density(&self, share: f64) -> f64 {
        if !(share > 0.0 && share < 1.0) {
            0.0
        } else if self.gamma == 0.0 {
            if share == 0.5 { f64::INFINITY } else { 0.0 }
        } else if self.gamma.is_infinite() {
            0.0
        } else {
            let x = normal_quantile(share);
            libm::exp(0.5 * x * x * (1.0 - 1.0 / self.gamma)) / self.gamma.sqrt()
        }
    }

    /// `E|G₀ - ½| = arctan(√γ) / π`: from 0 for none to ½ for all inputs in one class.
    pub fn imbalance(&self) -> f64 {
        libm::atan(self.gamma.sqrt()) / PI
    }

    /// Probability that one of the two classes has a share above `share`, which is at least ½.
    pub fn beyond(&self, share: f64) -> f64 {
        2.0 * self.cdf(1.0 - share.max(0.5)).min(0.5)
    }
}

/// The expected share of the class that gets most.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct TopShare {
    /// Its mean over draws of the weights.
    pub mean: f64,
    /// Standard error of that, from the draws that were made.
    pub error: f64,
}

/// `E[max_c G_c]` for `classes` classes, over `draws` draws of the logits' averages `μ_c ~ N(0, γ)`: given these, logits
/// have variance 1 over the data, and `G_c = ∫ φ(x - μ_c) ∏ Φ(x - μ_c') dx` is a sum over an even grid.
///
/// # Errors
/// When there are fewer than 2 classes or draws, or `γ` is negative or not finite.
pub fn expected_top_share(
    gamma: f64,
    classes: usize,
    draws: usize,
    stream: &Stream,
) -> Result<TopShare, MeanFieldError> {
    super::super::from_zero("gamma", gamma)?;
    for (name, got) in [("classes", classes), ("draws", draws)] {
        if got < 2 {
            let allowed = "whole numbers from 2";
            return Err(MeanFieldError::Parameter { name, got: got as f64, allowed });
        }
    }
    let mut shares = Moments::new();
    let mut centres = vec![0.0f64; classes];
    for draw in 0..draws {
        let filled = Law::normal(0.0, 1.0).fill(stream, (draw * classes) as u64, &mut centres);
        filled.expect("the standard normal can be drawn");
        centres.iter_mut().for_each(|centre| *centre *= gamma.sqrt());
        shares.add(top_share(&centres));
    }
    Ok(TopShare { mean: shares.mean(), error: shares.mean_error() })
}

/// The share of the class whose logit is largest on average.
fn top_share(centres: &[f64]) -> f64 {
    // The trapezoidal rule on what falls as a Gaussian is exact to rounding at this step.
    const STEP: f64 = 0.25;
    const REACH: i32 = 36;
    let top = centres.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let of_all = |x: f64| centres.iter().map(|centre| normal_cdf(top + x - centre)).product::<f64>();
    let sum: f64 = (-REACH..=REACH)
        .map(|k| {
            let x = f64::from(k) * STEP;
            let own = normal_cdf(x);
            if own > 0.0 { normal_pdf(x) * of_all(x) / own } else { 0.0 }
        })
        .sum();
    sum * STEP
}
