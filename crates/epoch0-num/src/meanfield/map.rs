//! The correlation map at one variance, made quick.

use std::f64::consts::PI;

use libm::cos;

use super::kernel::angle;
use super::{Layer, MeanFieldError};

/// Degrees that are tried, one after the other.
const DEGREES: [usize; 4] = [16, 32, 64, 128];
/// Size of the last coefficients at which a degree is enough.
const ENOUGH: f64 = 1e-10;

/// `ε → 1 - C(q, 1 - ε)` for one `q`, for following correlations over thousands of layers.
///
/// `(1 - C) / ε` is interpolated by Chebyshev polynomials in the angle `θ = arccos(1 - ε)`, in which kernels of kinked
/// and of smooth activations are smooth; where that does not converge every value is integrated.
#[derive(Clone, Debug)]
pub struct CorrelationMap {
    layer: Layer,
    q: f64,
    /// Coefficients over `[0, π]`; none where interpolation does not reach its precision.
    coefficients: Option<Vec<f64>>,
}

impl CorrelationMap {
    /// The map of a layer at variance `q`.
    ///
    /// # Errors
    /// As [`Layer::decorrelation`] and [`Layer::correlation_slope`].
    pub fn new(layer: &Layer, q: f64) -> Result<Self, MeanFieldError> {
        let ratio = |theta: f64| {
            let half = libm::sin(0.5 * theta);
            let apart = 2.0 * half * half;
            if apart == 0.0 {
                layer.correlation_slope(q, 1.0)
            } else {
                Ok(layer.decorrelation(q, apart.min(2.0))? / apart)
            }
        };
        let mut values: Vec<f64> = Vec::new();
        for degree in DEGREES {
            // Nodes of a degree are every second of the next.
            let before = std::mem::take(&mut values);
            for k in 0..=degree {
                let value = match before.get(k / 2) {
                    Some(&value) if k % 2 == 0 => value,
                    _ => ratio(0.5 * PI * (1.0 - cos(PI * k as f64 / degree as f64)))?,
                };
                values.push(value);
            }
            let coefficients = chebyshev(&values);
            let size = coefficients.iter().fold(0.0, |size: f64, c| size.max(c.abs()));
            if coefficients[degree - 2..].iter().all(|c| c.abs() <= ENOUGH * size) {
                return Ok(Self { layer: layer.clone(), q, coefficients: Some(coefficients) });
            }
        }
        Ok(Self { layer: layer.clone(), q, coefficients: None })
    }

    /// `1 - C(q, 1 - ε)`, to about 1e-9 in relative terms.
    ///
    /// # Errors
    /// As [`Layer::decorrelation`].
    pub fn decorrelation(&self, apart: f64) -> Result<f64, MeanFieldError> {
        let Some(coefficients) = &self.coefficients else {
            return self.layer.decorrelation(self.q, apart);
        };
        if !(0.0..=2.0).contains(&apart) {
            return Err(MeanFieldError::Parameter { name: "1 - c", got: apart, allowed: "0 to 2" });
        }
        // Clenshaw's sum at x = 1 - 2θ/π, which runs from 1 to -1.
        let x = 1.0 - 2.0 * angle(apart) / PI;
        let (mut next, mut after) = (0.0, 0.0);
        for &coefficient in coefficients.iter().skip(1).rev() {
            (next, after) = (2.0 * x * next - after + coefficient, next);
        }
        Ok(apart * (x * next - after + coefficients[0]))
    }
}

/// Chebyshev coefficients of the polynomial through values at `cos(π k / n)`.
fn chebyshev(values: &[f64]) -> Vec<f64> {
    let n = values.len() - 1;
    let at = |index: usize| cos(PI * (index % (2 * n)) as f64 / n as f64);
    (0..=n)
        .map(|k| {
            let inner: f64 = (1..n).map(|j| values[j] * at(k * j)).sum();
            let ends = 0.5 * (values[0] + values[n] * at(k * n));
            let factor = if k == 0 || k == n { 1.0 } else { 2.0 };
            factor / n as f64 * (inner + ends)
        })
        .collect()
}
