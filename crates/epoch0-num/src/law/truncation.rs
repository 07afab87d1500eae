//! Where a Gaussian is cut and what is left of it.

use crate::special::{normal_cdf, normal_pdf, normal_sf};

/// Bounds closer than this, in standard deviations, count as narrow: the density between them is so nearly constant
/// that its expansion to second order is exact to 1e-9 (the bounds being within 38 standard deviations of the mean), while
/// differences of Φ would lose digits.
const NARROW: f64 = 1.0 / 4096.0;

/// A standard Gaussian between bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truncation {
    /// The lower bound.
    alpha: f64,
    /// Φ(α), the probability cut off below.
    pub(crate) left: f64,
    /// 1 - Φ(β), the probability cut off above.
    pub(crate) right: f64,
    /// Φ(β) - Φ(α), what is left.
    pub(crate) mass: f64,
    /// For narrow bounds: c₁ and c₂ of the quantile t(u) = u + u (1 - u) (c₁ + c₂ u), in units of the width.
    pub(crate) narrow: Option<[f64; 2]>,
    /// For narrow bounds: λ = α w and w², which give the density exp(-λ t - w² t² / 2).
    slope: [f64; 2],
}

impl Truncation {
    /// Of a Gaussian with `mean` and `std` at `low` and `high`.
    pub(crate) fn of(mean: f64, std: f64, low: f64, high: f64) -> Self {
        let (alpha, beta) = ((low - mean) / std, (high - mean) / std);
        let (left, right) = (normal_cdf(alpha), normal_sf(beta));
        let width = (high - low) / std;
        let (lambda, square) = (alpha * width, width * width);
        if width < NARROW && lambda.abs() < 0.01 {
            // To second order the mass is φ(α) w (1 - λ/2 + (λ² - w²)/6), and inverting the CDF term by term gives the
            // quantile.
            let mass = normal_pdf(alpha) * width * normalizer(lambda, square);
            let first = -lambda / 2.0 + (lambda * lambda - square) / 6.0;
            let second = -lambda * lambda / 3.0 - square / 6.0;
            return Self { alpha, left, right, mass, narrow: Some([first, second]), slope: [lambda, square] };
        }
        let mass = if alpha > 0.0 {
            normal_sf(alpha) - right
        } else if beta < 0.0 {
            normal_cdf(beta) - left
        } else {
            1.0 - left - right
        };
        Self { alpha, left, right, mass, narrow: None, slope: [lambda, square] }
    }

    /// Probability below a `z` that is the fraction `t` of the way from bound to bound.
    pub(crate) fn cdf(&self, z: f64, t: f64) -> f64 {
        let [lambda, square] = self.slope;
        if self.narrow.is_some() {
            return t * (1.0 - lambda * t / 2.0 + (lambda * lambda - square) * t * t / 6.0)
                / normalizer(lambda, square);
        }
        let below = if self.alpha > 0.0 {
            normal_sf(self.alpha) - normal_sf(z)
        } else if z > 0.0 {
            return 1.0 - (normal_sf(z) - self.right) / self.mass;
        } else {
            normal_cdf(z) - self.left
        };
        below / self.mass
    }
}

/// ∫₀¹ exp(-λ t - w² t² / 2) dt to second order.
fn normalizer(lambda: f64, square: f64) -> f64 {
    1.0 - lambda / 2.0 + (lambda * lambda - square) / 6.0
}
