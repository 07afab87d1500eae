//! The edge of chaos of activations that set most units to 0 (Price et al. 2024).
//!
//! Behind a threshold `τ` a share `s` of Gaussian units is 0. On the edge `V'(q) = 1` for the plain thresholds, and as
//! `V'' > 0` noise that lifts the variance is amplified. A bound `m` on what is left makes `V'` smaller and leaves `χ₁`
//! at 1.

use super::{EdgePoint, MeanFieldError, edge_at_q, positive, root};
use crate::Activation;
use crate::special::{normal_cdf, normal_pdf, normal_quantile, normal_sf};

/// A threshold with its edge of chaos.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SparseEdge {
    /// The activation, with its threshold and, where it has one, its bound.
    pub activation: Activation,
    /// Share of units that are 0.
    pub sparsity: f64,
    /// The edge.
    #[serde(flatten)]
    pub point: EdgePoint,
}

/// What an activation is made of: on how many sides it passes, its threshold, its bound.
fn parts(act: &Activation) -> Option<(u8, f64, Option<f64>)> {
    match act {
        Activation::Relu => Some((1, 0.0, None)),
        Activation::ShiftedRelu { tau } => Some((1, *tau, None)),
        Activation::ClippedShiftedRelu { tau, m } => Some((1, *tau, Some(*m))),
        Activation::SoftThreshold { tau } => Some((2, *tau, None)),
        Activation::ClippedSoftThreshold { tau, m } => Some((2, *tau, Some(*m))),
        _ => None,
    }
}

fn no_threshold(act: &Activation, what: &str) -> MeanFieldError {
    MeanFieldError::NoEdge {
        activation: act.to_string(),
        place: "by its sparsity".to_owned(),
        why: what.to_owned(),
        hint: "allowed are shifted_relu, soft_threshold, crelu and cst".to_owned(),
    }
}

/// The share of units that are 0 behind the activation where pre-activations have variance `q`; nothing for activations
/// without a threshold.
pub fn sparsity(act: &Activation, q: f64) -> Option<f64> {
    let (sides, tau, _) = parts(act)?;
    Some(1.0 - f64::from(sides) * normal_sf(tau / q.sqrt()))
}

/// `τ / √q` at which the share of units that are 0 is `sparsity`.
fn threshold(sides: u8, sparsity: f64) -> Result<f64, MeanFieldError> {
    let refused = |allowed| Err(MeanFieldError::Parameter { name: "sparsity", got: sparsity, allowed });
    if !(sparsity > 0.0 && sparsity < 1.0) {
        return refused("(0, 1)");
    }
    let z = if sides == 2 { normal_quantile(0.5 * (1.0 + sparsity)) } else { normal_quantile(sparsity) };
    if z < 0.0 {
        refused("[0.5, 1): a rectifier sets half of its units to 0 before it is shifted")
    } else {
        Ok(z)
    }
}

/// The variance of pre-activations at which the activation, with the threshold that it has, sets that share of units to
/// 0.
///
/// # Errors
/// When the activation has no threshold, or the share is out of its range.
pub fn q_of_sparsity(act: &Activation, sparsity: f64) -> Result<f64, MeanFieldError> {
    let Some((sides, tau, _)) = parts(act) else {
        return Err(no_threshold(act, "it has no threshold"));
    };
    let z = threshold(sides, sparsity)?;
    if tau == 0.0 || z == 0.0 {
        let share = 1.0 - 0.5 * f64::from(sides);
        let why = format!("with threshold {tau} its sparsity is {share} whatever the variance");
        return Err(no_threshold(act, &why));
    }
    Ok((tau / z) * (tau / z))
}

/// The threshold for a share `sparsity` of zeros, the bound for a slope `V'(q) = slope`, and the standard deviations on
/// the edge of chaos. `family` says which activation it is; its own numbers are replaced.
///
/// With `t = τ/√q`, `μ = m/√q`, `k` sides and the normal density `f`, `χ₁ = 1` needs `σ_w² = 1 / (k (Φ(t+μ) - Φ(t)))`, and
/// then `V'(q) = 1 - σ_w² k μ f(t+μ)`, which grows with `μ` from 0 to 1.
///
/// # Errors
/// When a number is out of its range, a slope is asked of an activation without a bound or none of one with a bound,
/// or `σ_b²` would be negative.
///
/// # Example
/// ```
/// use epoch0_num::meanfield::sparse_edge;
/// let edge = sparse_edge(&"crelu".parse()?, 0.85, Some(0.7), 1.0)?;
/// assert_eq!(format!("{:.4} {:.4}", edge.point.sigma_w.powi(2), edge.point.sigma_b.powi(2)), "7.3348 0.5953");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sparse_edge(
    family: &Activation,
    sparsity: f64,
    slope: Option<f64>,
    q: f64,
) -> Result<SparseEdge, MeanFieldError> {
    positive("q", q)?;
    let Some((sides, _, bound)) = parts(family) else {
        return Err(no_threshold(family, "it has no threshold"));
    };
    let z = threshold(sides, sparsity)?;
    let (tau, scale) = (z * q.sqrt(), q.sqrt());
    let bound = match (bound, slope) {
        (None, None) => None,
        (Some(_), Some(slope)) => Some(scale * bound_for_slope(z, slope)?),
        (None, Some(_)) => {
            return Err(no_threshold(
                family,
                "it has no bound, so that V' is 1 and no other slope can be asked for",
            ));
        }
        (Some(_), None) => {
            return Err(no_threshold(family, "it has a bound, which follows from a slope V' below 1"));
        }
    };
    let activation = match (sides, bound) {
        (1, None) => Activation::ShiftedRelu { tau },
        (1, Some(m)) => Activation::ClippedShiftedRelu { tau, m },
        (_, None) => Activation::SoftThreshold { tau },
        (_, Some(m)) => Activation::ClippedSoftThreshold { tau, m },
    };
    let point = edge_at_q(&activation, q)?;
    Ok(SparseEdge { activation, sparsity, point })
}

/// `m / √q` at which `V'` is `slope`, for a threshold of `z √q`.
fn bound_for_slope(z: f64, slope: f64) -> Result<f64, MeanFieldError> {
    if !(slope > 0.0 && slope < 1.0) {
        return Err(MeanFieldError::Parameter { name: "slope", got: slope, allowed: "(0, 1)" });
    }
    let off = |bound: f64| {
        // Tails rather than cumulative probabilities, which are close to 1.
        let share = if z > 0.0 { normal_sf(z) - normal_sf(z + bound) } else { normal_cdf(z + bound) - 0.5 };
        Ok(1.0 - bound * normal_pdf(z + bound) / share - slope)
    };
    let (low, high) = (1e-6, 40.0);
    let (at_low, at_high) = (off(low)?, off(high)?);
    if at_low >= 0.0 {
        return Ok(low);
    }
    root::between(off, (low, at_low), (high, at_high), 1e-14)
}
