//! The gain that keeps pre-activations at a standard deviation, and the one at which gradients keep their size too
//! (Koneputugodage et al. 2025).

use super::{GainError, chi1, rms_gain, second_moment};
use crate::Activation;
use crate::quadrature::QuadratureError;

/// Standard deviations between which a balance is looked for, as the paper's code does.
const RANGE: (f64, f64) = (1e-3, 10.0);
/// Points that are looked at, evenly spread over the logarithm.
const POINTS: u32 = 240;
/// Distance of the ratio from 1 that is none.
const EXACT: f64 = 1e-9;

/// `σ / √E[φ(σz)²]`: weights of standard deviation `gain / √fan_in` behind the activation keep pre-activations of
/// standard deviation `sigma` there.
///
/// # Errors
/// As [`rms_gain`]; also when `sigma` is 0.
///
/// # Example
/// ```
/// use epoch0_num::{Activation, gain::steady_gain};
/// let gain = steady_gain(&Activation::Tanh, 1.0)?;
/// assert!((gain * gain - 2.5362).abs() < 1e-4);
/// # Ok::<(), epoch0_num::gain::GainError>(())
/// ```
pub fn steady_gain(act: &Activation, sigma: f64) -> Result<f64, GainError> {
    let gain = sigma * rms_gain(act, above_zero(sigma)?)?;
    if gain.is_finite() { Ok(gain) } else { Err(GainError::Zero { activation: act.to_string(), sigma }) }
}

/// `σ² E[φ'(σz)²] / E[φ(σz)²]`: by what gradients' second moment changes per layer when weights have
/// [`steady_gain`]. At 1 signals and gradients both keep their size.
///
/// # Errors
/// As [`steady_gain`] and [`chi1`].
pub fn balance(act: &Activation, sigma: f64) -> Result<f64, GainError> {
    let moment = second_moment(act, above_zero(sigma)?)?.value;
    let ratio = chi1(act, sigma, sigma * sigma)? / moment;
    if moment > 0.0 && ratio.is_finite() {
        Ok(ratio)
    } else {
        Err(GainError::Zero { activation: act.to_string(), sigma })
    }
}

/// Where [`balance`] is 1, or comes closest to it.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Balanced {
    /// Standard deviation of pre-activations.
    pub sigma: f64,
    /// The balance there.
    pub ratio: f64,
}

impl Balanced {
    /// Whether signals and gradients both keep their size, but for rounding.
    pub fn is_exact(&self) -> bool {
        (self.ratio - 1.0).abs() <= 10.0 * EXACT
    }
}

/// The standard deviation between 1e-3 and 10 at which [`balance`] is 1; of several the smallest, and 1 where all are
/// such, as for rectifiers. Where there is none, that at which the balance is closest to 1.
///
/// # Errors
/// As [`balance`], where it has no value anywhere.
pub fn balanced_sigma(act: &Activation) -> Result<Balanced, GainError> {
    let at = |nth: u32| RANGE.0 * libm::pow(RANGE.1 / RANGE.0, f64::from(nth) / f64::from(POINTS));
    let mut points: Vec<(f64, f64)> = Vec::new();
    for nth in 0..=POINTS {
        match balance(act, at(nth)) {
            Ok(ratio) => points.push((at(nth), ratio - 1.0)),
            // Too flat where the Gaussian is narrow, or too wild where it is wide.
            Err(
                GainError::Zero { .. }
                | GainError::Quadrature { error: QuadratureError::NotConverged { .. }, .. },
            ) => {}
            Err(GainError::Quadrature { error: QuadratureError::NotFinite { .. }, .. })
                if !points.is_empty() =>
            {
                break;
            }
            Err(error) => return Err(error),
        }
    }
    if points.is_empty() || points.iter().all(|(_, off)| off.abs() <= EXACT) {
        // What is wrong, at the one that everyone knows.
        return Ok(Balanced { sigma: 1.0, ratio: balance(act, 1.0)? });
    }
    if let Some(pair) = points.windows(2).find(|pair| (pair[0].1 > 0.0) != (pair[1].1 > 0.0)) {
        let off = |sigma: f64| Ok::<_, GainError>(balance(act, sigma)? - 1.0);
        let sigma = crate::meanfield::root_between(off, pair[0], pair[1])?;
        return Ok(Balanced { sigma, ratio: balance(act, sigma)? });
    }
    let nearest = |(_, a): &&(f64, f64), (_, b): &&(f64, f64)| a.abs().total_cmp(&b.abs());
    let &(sigma, off) = points.iter().min_by(nearest).unwrap_or(&(1.0, f64::NAN));
    Ok(Balanced { sigma, ratio: 1.0 + off })
}

fn above_zero(sigma: f64) -> Result<f64, GainError> {
    if sigma.is_finite() && sigma > 0.0 {
        Ok(sigma)
    } else {
        Err(GainError::Parameter { name: "sigma", got: sigma, allowed: "finite numbers above 0" })
    }
}
