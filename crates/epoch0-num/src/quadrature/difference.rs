//! How far apart a function takes two correlated Gaussians, precise however close they are.

use super::panels::{Cuts, integrate, integrate_to};
use super::{Estimate, QuadratureError, TOL_PAIR, check_sigma, density, gauss_hermite, in_x, range};

/// Distance from the mean, in standard deviations, beyond which there is next to nothing of a Gaussian.
const SEEN: f64 = 10.0;
/// Nodes of the rule that gives a first idea of the size.
const ROUGH: usize = 12;
/// Error of an inner integral that does not matter, relative to the whole, over the density at its place.
const FLOOR: f64 = 1e-12;
/// Error that is accepted, relative to the value.
const ACCEPTED: f64 = 1e-8;

/// `½ E[(f(u) - f(v))²]` for jointly Gaussian `u` and `v` with means 0, standard deviation `sigma` both, and
/// correlation `1 - apart`, to about 1e-9 in relative terms. `kinks` as in [`expectation`](super::expectation).
///
/// It is `E[f²] - E[f(u) f(v)]`, without the cancellation where the correlation is almost 1: `u` and `v` are written as
/// `a s ± b t`, with `a² = σ² (1 - apart/2)`, `b² = σ² apart/2` and independent standard normal `s` and `t`.
/// What rounding leaves is about `1e-16 / √apart` in relative terms.
///
/// # Errors
/// As [`expectation`](super::expectation); also when `apart` is not within `[0, 2]`.
///
/// # Example
/// ```
/// use epoch0_num::quadrature::half_square_difference;
/// // Of the identity it is σ² (1 - ρ).
/// let half = half_square_difference(|x| x, 3.0, 1e-6, &[])?;
/// assert!((half.value / 9e-6 - 1.0).abs() < 1e-9);
/// # Ok::<(), epoch0_num::quadrature::QuadratureError>(())
/// ```
pub fn half_square_difference(
    f: impl Fn(f64) -> f64,
    sigma: f64,
    apart: f64,
    kinks: &[f64],
) -> Result<Estimate, QuadratureError> {
    check_sigma("sigma", sigma)?;
    if !(0.0..=2.0).contains(&apart) {
        return Err(QuadratureError::Parameter { name: "1 - rho", got: apart, allowed: "0 to 2" });
    }
    // Where the second moment is settled, the difference is; but one of both may be far out while the other is not.
    let (low, high) = range(&mut |z| f(sigma * z) * f(sigma * z)).map_err(|error| in_x(error, sigma))?;
    let reach = high.max(-low).max(SEEN);
    let (a, b) = (sigma * (1.0 - 0.5 * apart).sqrt(), sigma * (0.5 * apart).sqrt());
    if b == 0.0 {
        return Ok(Estimate { value: 0.0, error: 0.0, evaluations: 0 });
    }

    // A first idea of the size, so that inner integrals know when their error does not matter. Where the function is
    // nearly flat its differences are mostly rounding, and no tolerance of their own is reached.
    let rule = gauss_hermite(ROUGH)?;
    let square = |s: f64, t: f64| {
        let difference = f(a * s + b * t) - f(a * s - b * t);
        difference * difference
    };
    let rough_value = rule.expectation(|s| rule.expectation(|t| square(s, t)));
    let floor = if rough_value.is_finite() { FLOOR * rough_value } else { 0.0 };

    let mut failure = None;
    let mut evaluations = 0;
    // The largest error of an inner integral that rounding kept from its tolerance, times the density.
    let mut rough: f64 = 0.0;
    // E[(f(u) - f(v))²] given s; symmetric in t, so that half of the line is enough.
    let mut given = |s: f64| {
        let center = a * s;
        let mut cuts = Cuts::wide(0.0, 1.0);
        cuts.add_wide(center.abs() / b, 1.0 / b);
        cuts.extend(kinks.iter().map(|kink| (kink - center).abs() / b));
        cuts.keep_within(0.0, reach);
        let weighted = |t: f64| 2.0 * square(s, t) * density(t);
        match integrate_to(weighted, &cuts, TOL_PAIR.0, floor / density(s)) {
            Ok(inside) => {
                evaluations += 2 * inside.evaluations;
                inside.value
            }
            Err(QuadratureError::NotConverged { value, error, evaluations: more }) => {
                evaluations += 2 * more;
                rough = rough.max(error * density(s));
                value
            }
            Err(error) => {
                failure.get_or_insert(match error {
                    QuadratureError::NotFinite { at } => QuadratureError::NotFinite { at: center + b * at },
                    other => other,
                });
                f64::NAN
            }
        }
    };
    let mut cuts = Cuts::wide(0.0, 1.0 / sigma);
    if a > 0.0 {
        cuts.extend(kinks.iter().map(|kink| kink / a));
        for kink in kinks.iter().take(32) {
            cuts.add_wide(kink / a, b / a);
        }
    }
    cuts.keep_within(-reach, reach);
    let outside = integrate(|s| given(s) * density(s), &cuts, TOL_PAIR.1);
    if let Some(error) = failure {
        return Err(error);
    }
    let outside = outside.map_err(|error| in_x(error, a))?;
    let value = 0.5 * outside.value;
    let error = 0.5 * (outside.error + TOL_PAIR.0 * outside.value + 2.0 * reach * rough);
    if error > ACCEPTED * value {
        return Err(QuadratureError::NotConverged { value, error, evaluations });
    }
    Ok(Estimate { value, error, evaluations })
}
