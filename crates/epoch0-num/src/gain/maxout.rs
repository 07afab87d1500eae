//! The largest of several standard Gaussians: what maxout units do to signals and gradients (Tseran and Montúfar 2023).

use super::GainError;
use crate::quadrature::{QuadratureError, expectation, once};
use crate::special::{erf, erfc, normal_cdf};

/// Expectations of a maxout unit, the largest of `rank` independent standard Gaussians.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Maxout {
    /// Its mean.
    pub mean: f64,
    /// `M`: its second moment.
    pub second: f64,
    /// `S`: mean of the smallest of as many squares.
    pub least: f64,
    /// `L`: mean of the largest of as many squares.
    pub most: f64,
}

impl Maxout {
    /// `1 / √M`: standard deviation of weights times `√fan_in` that keeps the second moment from maxout layer to maxout
    /// layer.
    pub fn gain(&self) -> f64 {
        1.0 / self.second.sqrt()
    }
}

/// The expectations of a maxout unit of that rank. Max-pooling over p positions behind it makes its rank p times as
/// large, where positions are independent.
///
/// Weights of variance `c / fan_in` multiply the second moment of signals by `cM` per layer, and that of gradients by a
/// factor between `cS` and `cL`.
///
/// # Errors
/// When the rank is 0, or so large that the expectation does not converge.
///
/// # Example
/// ```
/// let five = epoch0_num::gain::maxout(5)?;
/// assert!((five.gain().powi(2) - 0.55555).abs() < 1e-5);
/// # Ok::<(), epoch0_num::gain::GainError>(())
/// ```
pub fn maxout(rank: u32) -> Result<Maxout, GainError> {
    if rank == 0 {
        return Err(GainError::Parameter { name: "rank", got: 0.0, allowed: "whole numbers from 1" });
    }
    let n = f64::from(rank);
    let failed = |error| GainError::Quadrature { activation: format!("maxout{rank}"), error };
    // All others have smaller squares, or larger ones.
    let square = |others: fn(f64) -> f64| {
        let of = |z: f64| n * z * z * power(others(z.abs() * std::f64::consts::FRAC_1_SQRT_2), n - 1.0);
        expectation(of, 1.0, &[0.0]).map(|found| found.value)
    };
    let all = || {
        Ok(Maxout {
            mean: of_largest(rank, |z| z, &[])?,
            second: of_largest(rank, |z| z * z, &[])?,
            least: square(erfc)?,
            most: square(erf)?,
        })
    };
    all().map_err(failed)
}

/// `E[g(m)]` for the largest `m` of `k` independent standard normals; `kinks` are those of `g`.
pub(crate) fn of_largest(k: u32, g: impl Fn(f64) -> f64, kinks: &[f64]) -> Result<f64, QuadratureError> {
    let n = f64::from(k);
    Ok(expectation(|z| n * power(normal_cdf(z), n - 1.0) * g(z), 1.0, kinks)?.value)
}

/// A probability to a power; far out it is next to impossible that all others are on one side.
fn power(p: f64, times: f64) -> f64 {
    if times == 0.0 { 1.0 } else { libm::exp(times * libm::log(p)) }
}

/// Covariance of the largest of `k` standard normals with the largest of `k` others, where each of the first has
/// correlation `rho`, from 0 to 1, with one of the second; to about 1e-4 of what is missing to the variance.
pub(crate) fn covariance_of_largest(k: u32, rho: f64) -> Result<f64, QuadratureError> {
    /// Up to here the double integral is smooth enough for its rule.
    const SMOOTH: f64 = 0.9;
    if k == 1 {
        return Ok(rho);
    }
    if rho <= SMOOTH {
        return Ok(double_integral(f64::from(k), rho));
    }
    // Beyond: what is missing is ε - a ε^1.5 + b ε² with ε = 1 - ρ, as the largest are the same ones but for a share √ε.
    let mean = of_largest(k, |z| z, &[])?;
    let variance = of_largest(k, |z| z * z, &[])? - mean * mean;
    let at = |rho: f64| {
        let apart = 1.0 - rho;
        let missing = variance - double_integral(f64::from(k), rho);
        (apart.sqrt(), (missing / apart - 1.0) / apart.sqrt())
    };
    let ((near, a), (far, b)) = (at(SMOOTH), at(SMOOTH - 0.1));
    let slope = (b - a) / (far - near);
    let root = (1.0 - rho).sqrt();
    Ok(variance - root * root * (1.0 + root * (a + slope * (root - near))))
}

/// `∫∫ P(u ≤ s, v ≤ t)^k - P(u ≤ s)^k P(v ≤ t)^k ds dt` (Hoeffding), over sum and difference of s and t.
fn double_integral(k: f64, rho: f64) -> f64 {
    /// Beyond, both are next to certain or next to impossible.
    const FAR: f64 = 12.0;
    let angle = libm::asin(rho);
    let both = |sum: f64, apart: f64| {
        let (s, t) = (
            (sum + apart) * std::f64::consts::FRAC_1_SQRT_2,
            (sum - apart) * std::f64::consts::FRAC_1_SQRT_2,
        );
        let alone = normal_cdf(s) * normal_cdf(t);
        // What correlation adds (Plackett).
        let more = once(
            |theta| {
                let sine = libm::sin(theta);
                libm::exp(-0.5 * (sum * sum / (1.0 + sine) + apart * apart / (1.0 - sine)))
            },
            0.0,
            angle,
        );
        power(alone + more / std::f64::consts::TAU, k) - power(alone, k)
    };
    let over = |ends: &[f64], f: &dyn Fn(f64) -> f64| -> f64 {
        ends.windows(2).map(|ends| once(f, ends[0], ends[1])).sum()
    };
    // Both orders of s and t are alike.
    2.0 * over(&[0.0, 1.0, 4.0, FAR], &|apart| over(&[-FAR, -4.0, 0.0, 4.0, FAR], &|sum| both(sum, apart)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_paper() {
        let table = [1.0, 1.0, 0.78391, 0.64461, 0.55555, 0.49462, 0.45039, 0.41675, 0.39023, 0.36872];
        for (rank, c) in (1..).zip(table) {
            let found = maxout(rank).unwrap();
            assert!((1.0 / found.second - c).abs() < 1e-5, "{rank}: {}", 1.0 / found.second);
        }
        assert!((1.0 / maxout(20).unwrap().second - 0.26573).abs() < 1e-5);
        for (rank, least, most) in
            [(2, 0.36338, 1.63662), (3, 0.19280, 2.10266), (4, 0.12070, 2.47021), (5, 0.08308, 2.77375)]
        {
            let found = maxout(rank).unwrap();
            assert!((found.least - least).abs() < 1e-5 && (found.most - most).abs() < 1e-5, "{found:?}");
        }
        assert!(maxout(0).is_err());
    }

    #[test]
    fn covariance_of_two_is_a_closed_form() {
        // max(a, b) = (a + b)/2 + |a - b|/2; of absolute values the covariance is 2/π (√(1 - ρ²) + ρ asin ρ - 1).
        for rho in [0.0, 0.1, 0.5, 0.9, 0.95, 0.99, 0.9999, 1.0f64] {
            let absolute = 2.0 / std::f64::consts::PI * ((1.0 - rho * rho).sqrt() + rho * rho.asin() - 1.0);
            let exact = 0.5 * rho + 0.5 * absolute;
            let found = covariance_of_largest(2, rho).unwrap();
            let missing = 0.5 + 0.5 * (1.0 - 2.0 / std::f64::consts::PI) - exact;
            assert!((found - exact).abs() <= 2e-4 * missing + 1e-9, "{rho}: {found}, {exact}");
        }
    }

    #[test]
    fn covariance_of_many_begins_with_their_share_and_ends_with_the_variance() {
        for k in [3, 5, 20] {
            let slope = covariance_of_largest(k, 1e-4).unwrap() / 1e-4;
            assert!((slope * f64::from(k) - 1.0).abs() < 2e-3, "{k}: {slope}");
            let of = maxout(k).unwrap();
            let all = covariance_of_largest(k, 1.0).unwrap();
            assert!((all - (of.second - of.mean * of.mean)).abs() < 1e-9, "{k}: {all}");
        }
    }
}
