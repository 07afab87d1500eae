//! One layer: its maps of variance and correlation, and their slopes.

use super::kernel::{curve_square, difference, expect, is_homogeneous, second_moment, slope_square};
use super::{MeanFieldError, from_zero, of};
use crate::Activation;
use crate::quadrature::{REACH, expectation_pair};

/// Variance at which slopes at 0 are taken.
const NEAR_ZERO: f64 = 1e-12;

/// A wide random layer `h' = W φ(h) + b` with independent `W ~ (0, σ_w² / fan_in)` and `b ~ (0, σ_b²)`.
///
/// # Example
/// ```
/// use epoch0_num::{Activation, meanfield::Layer};
/// let layer = Layer::new(&Activation::Relu, 2f64.sqrt(), 0.0)?;
/// assert!((layer.variance(3.0)? - 3.0).abs() < 1e-12);
/// assert!((layer.chi1(3.0)? - 1.0).abs() < 1e-12);
/// // Inputs at right angles come together: the arc-cosine kernel gives 1/π.
/// assert!((layer.correlation(3.0, 0.0)? - std::f64::consts::FRAC_1_PI).abs() < 1e-12);
/// # Ok::<(), epoch0_num::meanfield::MeanFieldError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    pub(super) act: Activation,
    pub(super) sigma_w: f64,
    pub(super) sigma_b: f64,
}

impl Layer {
    /// A layer behind an activation, with standard deviations of weights times `√fan_in` and of biases.
    ///
    /// # Errors
    /// When a standard deviation is negative or not finite, or the activation's parameters are out of their range.
    pub fn new(act: &Activation, sigma_w: f64, sigma_b: f64) -> Result<Self, MeanFieldError> {
        act.check()?;
        from_zero("sigma_w", sigma_w)?;
        from_zero("sigma_b", sigma_b)?;
        Ok(Self { act: act.clone(), sigma_w, sigma_b })
    }

    /// The activation.
    pub fn activation(&self) -> &Activation {
        &self.act
    }

    /// Standard deviation of weights times `√fan_in`.
    pub fn sigma_w(&self) -> f64 {
        self.sigma_w
    }

    /// Standard deviation of biases.
    pub fn sigma_b(&self) -> f64 {
        self.sigma_b
    }

    /// `σ_w²`.
    pub(super) fn weight(&self) -> f64 {
        self.sigma_w * self.sigma_w
    }

    /// `V(q) = σ_b² + σ_w² E[φ(√q z)²]`: variance of pre-activations, given that of the layer before.
    ///
    /// # Errors
    /// When `q` is negative or not finite, or the expectation is not finite.
    pub fn variance(&self, q: f64) -> Result<f64, MeanFieldError> {
        from_zero("q", q)?;
        Ok(self.sigma_b * self.sigma_b + self.weight() * second_moment(&self.act, q)?)
    }

    /// `V'(q)`, the factor by which a small deviation of the variance grows per layer. It is computed as
    /// `σ_w² E[(z² - 1) φ(√q z)²] / (2q)`, which needs no derivative; at 0 it is the limit.
    ///
    /// # Errors
    /// As [`Layer::variance`].
    pub fn variance_slope(&self, q: f64) -> Result<f64, MeanFieldError> {
        from_zero("q", q)?;
        let q = q.max(NEAR_ZERO);
        let (sigma, at_zero) = (q.sqrt(), self.act.value(0.0));
        let weighted = expect(&self.act, q, |x| {
            let (z, value) = (x / sigma, self.act.value(x));
            // What does not depend on z drops out, and would only add rounding.
            (z * z - 1.0) * (value - at_zero) * (value + at_zero)
        })?;
        Ok(self.weight() * weighted / (2.0 * q))
    }

    /// `V''(q) = σ_w² E[(z⁴ - 6z² + 3) φ(√q z)²] / (4q²)`. Where `V'(q*) = 1` its sign says on which side the fixed
    /// point is not stable.
    ///
    /// # Errors
    /// As [`Layer::variance`]; `q` has to be above 0.
    pub fn variance_curvature(&self, q: f64) -> Result<f64, MeanFieldError> {
        super::positive("q", q)?;
        let (sigma, at_zero) = (q.sqrt(), self.act.value(0.0));
        let weighted = expect(&self.act, q, |x| {
            let (z, value) = (x / sigma, self.act.value(x));
            let square = z * z;
            (square * (square - 6.0) + 3.0) * (value - at_zero) * (value + at_zero)
        })?;
        Ok(self.weight() * weighted / (4.0 * q * q))
    }

    /// `χ₁ = σ_w² E[φ'(√q z)²]`: the factor of gradients' variance per layer, and at a fixed point `q` the slope of the
    /// correlation map at 1.
    ///
    /// # Errors
    /// As [`Layer::variance`]; also when the activation jumps.
    pub fn chi1(&self, q: f64) -> Result<f64, MeanFieldError> {
        from_zero("q", q)?;
        Ok(self.weight() * slope_square(&self.act, q)?)
    }

    /// `C(q, c)`: correlation of two inputs' pre-activations, given that of the layer before, where both have variance
    /// `q`.
    ///
    /// # Errors
    /// As [`Layer::variance`]; also when `c` is not within `[-1, 1]` or `V(q)` is 0.
    pub fn correlation(&self, q: f64, c: f64) -> Result<f64, MeanFieldError> {
        if !(-1.0..=1.0).contains(&c) {
            return Err(MeanFieldError::Parameter { name: "c", got: c, allowed: "-1 to 1" });
        }
        Ok(1.0 - self.decorrelation(q, 1.0 - c)?)
    }

    /// `1 - C(q, 1 - ε)`, precise in relative terms however small `ε` is.
    ///
    /// # Errors
    /// As [`Layer::correlation`], with `ε` within `[0, 2]`.
    pub fn decorrelation(&self, q: f64, apart: f64) -> Result<f64, MeanFieldError> {
        let variance = self.variance(q)?;
        super::positive("V(q)", variance)?;
        Ok(self.weight() * difference(&self.act, q, apart)? / variance)
    }

    /// `∂C/∂c`: the factor by which a small deviation of the correlation changes per layer, `χ₁ / (V(q) / q)` at 1.
    ///
    /// # Errors
    /// As [`Layer::chi1`] and [`Layer::correlation`].
    pub fn correlation_slope(&self, q: f64, c: f64) -> Result<f64, MeanFieldError> {
        // The check for jumps is that of χ₁.
        let close = self.chi1(q)?;
        let variance = self.variance(q)?;
        super::positive("V(q)", variance)?;
        if c == 1.0 {
            return Ok(close * q / variance);
        }
        let sigma = q.sqrt();
        let kinks = self.act.kinks(-REACH * sigma, REACH * sigma);
        let slope = |x: f64| self.act.derivative(x);
        let pair =
            expectation_pair(slope, slope, (sigma, sigma), c, (&kinks, &kinks)).map_err(of(&self.act))?;
        Ok(self.weight() * pair.value * q / variance)
    }

    /// Whether scales pass through the layer: the activation is homogeneous and there are no biases, so that maps of
    /// correlation do not depend on `q`.
    pub fn is_scale_free(&self) -> bool {
        self.sigma_b == 0.0 && is_homogeneous(&self.act)
    }

    /// `σ_w² E[φ''(√q z)²]`, kinks aside; nothing where it has no value.
    pub fn curvature(&self, q: f64) -> Option<f64> {
        curve_square(&self.act, q).map(|square| self.weight() * square)
    }
}
