//! Expectations over Gaussians: `E[g(σz)]` and `E[f(u) g(v)]`, with the error that was estimated.
//!
//! The line is cut where the function is not smooth, and each panel is refined by an adaptive Gauss–Kronrod
//! rule until the estimated error is small against `E|g|`. The range follows the function: it reaches as far
//! as `g` times the density matters, so exponential growth is integrated as well as a bounded function.
//! No function of the platform's mathematics library is called, so results are equal on every machine.

mod difference;
mod hermite;
mod panels;

pub use difference::half_square_difference;
pub use hermite::{GaussHermite, gauss_hermite};

pub(crate) use panels::once;
use panels::{Cuts, integrate_to};

/// How far from the mean, in standard deviations, an integrand is looked at. Beyond, the density is too
/// small for a double.
pub const REACH: f64 = 37.5;

/// Error asked for, relative to `E|g|`, in one dimension.
const TOL: f64 = 1e-13;
/// Error asked for in two dimensions, relative to `E|f g|`: inside, and outside.
const TOL_PAIR: (f64, f64) = (1e-11, 1e-10);
/// Distance of the points that the range is found from.
const SCAN_STEP: f64 = 0.5;
/// What the integrand may be, relative to its largest value, where the range ends.
const NEGLIGIBLE: f64 = 1e-20;
/// What it may be at [`REACH`] where the range has to end for want of precision.
const TOLERABLE: f64 = 1e-14;
/// Below this, an integrand may be largest at [`REACH`] because it is zero before, as `max(0, x - 37)` is, and
/// its integral does not matter.
const TINY: f64 = 1e-280;

/// An integral and how well it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The integral.
    pub value: f64,
    /// Estimated absolute error; the true one is nearly always smaller.
    pub error: f64,
    /// How often the integrand was evaluated.
    pub evaluations: usize,
}

/// Why an expectation has no value.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuadratureError {
    /// The function is not finite somewhere that matters, or grows too fast.
    #[error(
        "the expectation is not finite: near x = {at} the function is no finite number, or it grows about \
         as fast as the Gaussian decays"
    )]
    NotFinite {
        /// Argument of the function at which this was noticed.
        at: f64,
    },
    /// The error stayed too large.
    #[error(
        "the expectation did not converge: after {evaluations} evaluations it is {value} with an estimated \
         error of {error}"
    )]
    NotConverged {
        /// The integral as far as it is known.
        value: f64,
        /// Its estimated absolute error.
        error: f64,
        /// How often the integrand was evaluated.
        evaluations: usize,
    },
    /// A parameter is out of its range.
    #[error("{name} is {got}, allowed {allowed}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What it is.
        got: f64,
        /// What it may be.
        allowed: &'static str,
    },
}

/// `E[g(σz)]` for standard normal `z`, to a relative error of about 1e-12 of `E|g(σz)|`.
///
/// `kinks` are the arguments of `g` at which it or its derivative jumps. Leaving some out costs evaluations,
/// not accuracy, unless `g` has features much narrower than both one and `σ`. Where rounding errors of `g` itself
/// allow no better, an error up to 1e-9 is accepted, and reported.
///
/// # Errors
/// - [`QuadratureError::NotFinite`] when `g` is not finite or grows as fast as the density decays;
/// - [`QuadratureError::NotConverged`] when the error stays too large, as for `1/|x|`;
/// - [`QuadratureError::Parameter`] when `sigma` is negative or not finite.
///
/// # Example
/// ```
/// use epoch0_num::quadrature::expectation;
/// let second_moment = expectation(|x| x.max(0.0) * x.max(0.0), 2.0, &[0.0])?;
/// assert!((second_moment.value - 2.0).abs() < 1e-12);
/// # Ok::<(), epoch0_num::quadrature::QuadratureError>(())
/// ```
pub fn expectation(
    g: impl FnMut(f64) -> f64,
    sigma: f64,
    kinks: &[f64],
) -> Result<Estimate, QuadratureError> {
    expectation_to(g, sigma, kinks, 0.0)
}

/// As [`expectation`]; an absolute error below `floor` is small enough too.
pub(crate) fn expectation_to(
    mut g: impl FnMut(f64) -> f64,
    sigma: f64,
    kinks: &[f64],
    floor: f64,
) -> Result<Estimate, QuadratureError> {
    check_sigma("sigma", sigma)?;
    if sigma == 0.0 {
        let value = g(0.0);
        return if value.is_finite() {
            Ok(Estimate { value, error: 0.0, evaluations: 1 })
        } else {
            Err(QuadratureError::NotFinite { at: 0.0 })
        };
    }
    let mut cuts = Cuts::around(0.0, 1.0 / sigma);
    cuts.extend(kinks.iter().map(|kink| kink / sigma));
    normal(|z| g(sigma * z), cuts, (TOL, floor)).map_err(|error| in_x(error, sigma))
}

/// `E[f(u) g(v)]` for jointly Gaussian `u` and `v` with means 0, standard deviations `sigma` and correlation
/// `rho`, to about 1e-9 of `E|f g|`. Kinks are those of `f` and of `g`, as in [`expectation`].
///
/// This is the correlation map of a layer when `f = g` is its activation.
///
/// # Errors
/// As [`expectation`]; also when `rho` is not within `[-1, 1]`.
///
/// # Example
/// ```
/// use epoch0_num::quadrature::expectation_pair;
/// let relu = |x: f64| x.max(0.0);
/// let same = expectation_pair(relu, relu, (1.0, 1.0), 0.0, (&[0.0], &[0.0]))?;
/// assert!((same.value - 0.15915494309189535).abs() < 1e-9); // 1/(2π)
/// # Ok::<(), epoch0_num::quadrature::QuadratureError>(())
/// ```
pub fn expectation_pair(
    f: impl Fn(f64) -> f64,
    g: impl Fn(f64) -> f64,
    sigma: (f64, f64),
    rho: f64,
    kinks: (&[f64], &[f64]),
) -> Result<Estimate, QuadratureError> {
    check_sigma("sigma of u", sigma.0)?;
    check_sigma("sigma of v", sigma.1)?;
    if !(-1.0..=1.0).contains(&rho) {
        return Err(QuadratureError::Parameter { name: "rho", got: rho, allowed: "-1 to 1" });
    }
    if rho == 0.0 || sigma.0 == 0.0 || sigma.1 == 0.0 {
        let (a, b) = (expectation(f, sigma.0, kinks.0)?, expectation(g, sigma.1, kinks.1)?);
        let error = a.error * b.value.abs() + b.error * a.value.abs() + a.error * b.error;
        let evaluations = a.evaluations + b.evaluations;
        return Ok(Estimate { value: a.value * b.value, error, evaluations });
    }
    // The part of v that does not come from u.
    let rest = ((1.0 - rho) * (1.0 + rho)).sqrt();
    if rest == 0.0 {
        let both: Vec<f64> = kinks
            .0
            .iter()
            .map(|kink| kink / sigma.0)
            .chain(kinks.1.iter().map(|k| k / sigma.1 * rho))
            .collect();
        let mut cuts = Cuts::around(0.0, 1.0 / sigma.0.max(sigma.1));
        cuts.extend(both);
        return normal(|z| f(sigma.0 * z) * g(sigma.1 * rho * z), cuts, (TOL, 0.0))
            .map_err(|error| in_x(error, sigma.0));
    }

    let mut failure = None;
    let mut evaluations = 0;
    // E[g(v) | u = σ_u z].
    let mut given = |z: f64| {
        let mut cuts = Cuts::around(-rho * z / rest, 1.0 / (sigma.1 * rest));
        cuts.extend(kinks.1.iter().map(|kink| (kink / sigma.1 - rho * z) / rest));
        match normal(|w| g(sigma.1 * (rho * z + rest * w)), cuts, (TOL_PAIR.0, 0.0)) {
            Ok(inside) => {
                evaluations += inside.evaluations;
                inside.value
            }
            Err(error) => {
                failure.get_or_insert(match error {
                    QuadratureError::NotFinite { at } => {
                        QuadratureError::NotFinite { at: sigma.1 * (rho * z + rest * at) }
                    }
                    other => other,
                });
                f64::NAN
            }
        }
    };
    // The conditional expectation turns at the images of g's kinks, within `rest` of them.
    let mut cuts = Cuts::around(0.0, 1.0 / sigma.0.max(sigma.1));
    cuts.extend(kinks.0.iter().map(|kink| kink / sigma.0));
    for kink in kinks.1.iter().take(32) {
        cuts.add_around(kink / (sigma.1 * rho), rest / rho.abs());
    }
    let product = |z: f64| {
        let value = f(sigma.0 * z);
        if value == 0.0 { 0.0 } else { value * given(z) }
    };
    let outside = normal(product, cuts, (TOL_PAIR.1, 0.0));
    if let Some(error) = failure {
        return Err(error);
    }
    let outside = outside.map_err(|error| in_x(error, sigma.0))?;
    // What the inner integrals may be off by is relative to E|f g|, which is no more than √(E f² E g²).
    let square = |f: &dyn Fn(f64) -> f64, sigma, kinks| expectation(|x| f(x) * f(x), sigma, kinks);
    let bound = match (square(&f, sigma.0, kinks.0), square(&g, sigma.1, kinks.1)) {
        (Ok(f), Ok(g)) => (f.value * g.value).sqrt(),
        _ => outside.value.abs(),
    };
    let error = outside.error + 2.0 * TOL_PAIR.0 * bound;
    Ok(Estimate { value: outside.value, error, evaluations: evaluations + outside.evaluations })
}

fn check_sigma(name: &'static str, sigma: f64) -> Result<(), QuadratureError> {
    if sigma.is_finite() && sigma >= 0.0 {
        Ok(())
    } else {
        Err(QuadratureError::Parameter { name, got: sigma, allowed: "finite numbers from 0" })
    }
}

/// Says where an error lies in the function's own argument.
fn in_x(error: QuadratureError, sigma: f64) -> QuadratureError {
    match error {
        QuadratureError::NotFinite { at } => QuadratureError::NotFinite { at: at * sigma },
        other => other,
    }
}

/// The standard normal density.
pub(crate) fn density(z: f64) -> f64 {
    const INV_SQRT_TAU: f64 = 0.398942280401432677939946059934381868;
    INV_SQRT_TAU * libm::exp(-0.5 * z * z)
}

/// `∫ g(z) density(z) dz` over the range that matters, to a relative or an absolute error.
fn normal(
    mut g: impl FnMut(f64) -> f64,
    mut cuts: Cuts,
    (tol, floor): (f64, f64),
) -> Result<Estimate, QuadratureError> {
    let (low, high) = range(&mut g)?;
    cuts.keep_within(low, high);
    integrate_to(|z| g(z) * density(z), &cuts, tol, floor)
}

/// The range outside of which `g` times the density is negligible.
fn range(g: &mut impl FnMut(f64) -> f64) -> Result<(f64, f64), QuadratureError> {
    // Points off the round numbers, where functions like to be special.
    let count = (REACH / SCAN_STEP) as usize;
    let sides = [-1.0, 1.0].map(|sign| {
        let mut weighted = Vec::with_capacity(count);
        let mut stop = None;
        for k in 0..count {
            let z = sign * (k as f64 + 0.37) * SCAN_STEP;
            let value = g(z).abs() * density(z);
            if !value.is_finite() {
                stop = Some(z);
                break;
            }
            weighted.push(value);
        }
        (weighted, stop)
    });
    let top = sides.iter().flat_map(|(weighted, _)| weighted).fold(0.0, |top: f64, value| top.max(*value));
    let mut ends = [0.0; 2];
    for (end, (weighted, stop)) in ends.iter_mut().zip(&sides) {
        let reached = weighted.iter().rposition(|value| *value > NEGLIGIBLE * top).map_or(0, |last| last + 1);
        if reached == weighted.len() {
            // The integrand matters as far as it was seen.
            let tail = &weighted[weighted.len().saturating_sub(4)..];
            let at = stop.unwrap_or(REACH);
            if stop.is_some() || (top > TINY && tail.iter().any(|value| *value > TOLERABLE * top)) {
                return Err(QuadratureError::NotFinite { at });
            }
        }
        *end = ((reached as f64 + 0.37) * SCAN_STEP).min(REACH);
    }
    Ok((-ends[0], ends[1]))
}
