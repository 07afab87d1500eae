//! What happens to two inputs and to gradients over depth.

use super::{CorrelationMap, Layer, MeanFieldError};

/// Relative change of the variance per layer below which it has settled.
const SETTLED: f64 = 1e-11;
/// Layers from which an interpolated map pays.
const MANY: usize = 80;

/// Variance, correlation and gradients from layer to layer; index 0 is the first layer's pre-activations.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectory {
    /// Variance of pre-activations.
    pub q: Vec<f64>,
    /// `1 - c` of two inputs.
    pub apart: Vec<f64>,
    /// `χ₁` at each layer.
    pub chi1: Vec<f64>,
    /// Variance of the gradient at each layer over that at the last.
    pub gradient: Vec<f64>,
}

impl Trajectory {
    /// Correlation of the two inputs at each layer.
    pub fn c(&self) -> Vec<f64> {
        self.apart.iter().map(|apart| 1.0 - apart).collect()
    }
}

/// Follows two inputs whose first pre-activations have variance `q` and correlation `1 - apart` through `depth` layers
/// in all, until the variance leaves the range of doubles.
///
/// # Errors
/// As [`Layer::chi1`] and [`Layer::decorrelation`].
pub fn trajectory(layer: &Layer, q: f64, apart: f64, depth: usize) -> Result<Trajectory, MeanFieldError> {
    super::positive("q", q)?;
    if !(0.0..=2.0).contains(&apart) {
        return Err(MeanFieldError::Parameter { name: "1 - c", got: apart, allowed: "0 to 2" });
    }
    let mut out = Trajectory { q: Vec::new(), apart: Vec::new(), chi1: Vec::new(), gradient: Vec::new() };
    let (mut q, mut apart, mut settled) = (q, apart, false);
    let mut chi1 = layer.chi1(q)?;
    let mut map: Option<CorrelationMap> = None;
    for nth in 0..depth {
        out.q.push(q);
        out.apart.push(apart);
        out.chi1.push(chi1);
        if nth + 1 == depth {
            break;
        }
        apart = match &map {
            Some(map) => map.decorrelation(apart)?,
            None => layer.decorrelation(q, apart)?,
        };
        // Rounding may leave what cannot be further apart a little beyond.
        apart = apart.clamp(0.0, 2.0);
        if settled {
            continue;
        }
        let next = layer.variance(q)?;
        if !(next.is_finite() && next > 0.0 && next < 1e300) {
            break;
        }
        settled = (next - q).abs() <= SETTLED * q;
        q = next;
        chi1 = layer.chi1(q)?;
        if settled && depth - nth > MANY {
            map = Some(CorrelationMap::new(layer, q)?);
        }
    }
    let mut gradient = 1.0;
    out.gradient = vec![1.0; out.q.len()];
    for nth in (0..out.q.len().saturating_sub(1)).rev() {
        gradient *= out.chi1[nth];
        out.gradient[nth] = gradient;
    }
    Ok(out)
}
