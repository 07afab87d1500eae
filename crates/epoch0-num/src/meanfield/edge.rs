//! The edge of chaos: the standard deviations with `χ₁ = 1` at the fixed point.

use std::f64::consts::PI;

use super::kernel::{
    curve_square, expect, expect_to, is_homogeneous, jumps, kink_weight, second_moment, slope_square,
};
use super::{Layer, MeanFieldError, positive, root};
use crate::Activation;
use crate::gain::GainError;
use crate::quadrature::QuadratureError;

/// Exponents of 2 between which `q` is looked for, in halves.
const OCTAVES: std::ops::RangeInclusive<i32> = -58..=48;
/// Smallest `q` at which `σ_b²` has digits.
const LEAST: f64 = 1e-9;
/// `σ_b²` that is rounding, relative to what it is the difference of.
const ROUNDING: f64 = 1e-10;

/// Relative error up to which `σ_b²` is taken as it is.
const FEW_DIGITS: f64 = 1e-3;

/// How correlations of two inputs approach 1 on the edge.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(tag = "law", rename_all = "snake_case")]
pub enum Rate {
    /// `1 - c ~ κ / l²`, as for ReLU: the derivative jumps.
    InverseSquare {
        /// `κ = 9π / (σ_w² Σ J² density(x/√q))²` over jumps `J` of `φ'` at `x`; 9π²/2 for ReLU.
        kappa: f64,
    },
    /// `1 - c ~ β_q / l`: the activation has a second derivative.
    Inverse {
        /// `β_q = 2 E[φ'²] / (q E[φ''²])`.
        beta: f64,
    },
    /// Correlations do not change: the activation is linear where the Gaussian looks.
    Frozen,
    /// The derivative is continuous, but the second has no second moment: between the other two.
    Unknown,
}

impl Rate {
    /// The depth at which two inputs have about come together: `β_q`, or `√κ`; infinite when they never do.
    pub fn horizon(&self) -> Option<f64> {
        match self {
            Self::InverseSquare { kappa } => Some(kappa.sqrt()),
            Self::Inverse { beta } => Some(*beta),
            Self::Frozen => Some(f64::INFINITY),
            Self::Unknown => None,
        }
    }
}

/// How correlations approach 1 where `χ₁ = 1` at variance `q` (Hayou et al. 2019, Propositions 2 and 3).
///
/// Kinks come from the probability that inputs which are close stand on different sides: near 1
/// `1 - C = ε - ⅔ σ_w² Σ J² density(x/√q) ε^(3/2)/√π`, and so `ε ~ κ/l²`; without kinks
/// `1 - C = ε - ½ σ_w² q E[φ''²] ε²`, and so `ε ~ β_q/l`.
///
/// # Errors
/// As [`Layer::chi1`].
pub fn rate(act: &Activation, q: f64) -> Result<Rate, MeanFieldError> {
    positive("q", q)?;
    let slope = slope_square(act, q)?;
    if !jumps(act, q).is_empty() {
        let weight = kink_weight(act, q) / slope;
        let kappa = 9.0 * PI / (weight * weight);
        if kappa.is_finite() {
            return Ok(Rate::InverseSquare { kappa });
        }
    }
    Ok(match curve_square(act, q) {
        None => Rate::Unknown,
        Some(0.0) => Rate::Frozen,
        Some(curve) => Rate::Inverse { beta: 2.0 * slope / (q * curve) },
    })
}

/// A point of the edge of chaos.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct EdgePoint {
    /// Variance of pre-activations at the fixed point.
    pub q: f64,
    /// Standard deviation of weights times `√fan_in`.
    pub sigma_w: f64,
    /// Standard deviation of biases.
    pub sigma_b: f64,
    /// `χ₁`, computed anew: 1 but for rounding.
    pub chi1: f64,
    /// `V'(q)`. Below 1 the variance comes back to `q`, above it leaves.
    pub variance_slope: f64,
    /// `V''(q)`, which decides where `V'` is 1; nothing in the limit of small `q`.
    pub variance_curvature: Option<f64>,
    /// How correlations approach 1.
    pub rate: Rate,
}

/// What becomes of a variance that is a little off the fixed point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stability {
    /// It comes back: `V' < 1`.
    Stable,
    /// It stays where it is: `V' = 1` without curvature, as for rectifiers.
    Marginal,
    /// `V' = 1` and `V'' > 0`: from below it comes back, from above it leaves.
    UnstableFromAbove,
    /// `V' = 1` and `V'' < 0`: from above it comes back, from below it leaves.
    UnstableFromBelow,
    /// It leaves: `V' > 1`, or `V' ≤ -1`.
    Unstable,
}

impl EdgePoint {
    /// What becomes of a variance that is a little off `q`.
    pub fn stability(&self) -> Stability {
        /// Rounding of slope and curvature.
        const NONE: f64 = 1e-9;
        if (self.variance_slope - 1.0).abs() > NONE {
            let is_stable = self.variance_slope.abs() < 1.0;
            return if is_stable { Stability::Stable } else { Stability::Unstable };
        }
        match self.variance_curvature {
            Some(curvature) if curvature * self.q > NONE => Stability::UnstableFromAbove,
            Some(curvature) if curvature * self.q < -NONE => Stability::UnstableFromBelow,
            _ => Stability::Marginal,
        }
    }

    /// Depth scale `1 / |log V'|` over which the variance settles; infinite at 1.
    pub fn xi_q(&self) -> f64 {
        super::phase::depth_scale(self.variance_slope)
    }
}

/// What the edge would be at one `q`: `σ_w²`, and `σ_b²`, which may be negative.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// `σ_w² = 1 / E[φ'²]`.
    pub weight: f64,
    /// `σ_b² = q - E[φ²] / E[φ'²]`; there is no such point where it is negative.
    pub bias: f64,
}

impl Edge {
    /// The two variances with `χ₁ = 1` and the fixed point `q`, whether or not `σ_b²` is one.
    ///
    /// `σ_b² E[φ'²]` is computed as `E[q ψ'² - ψ²] - E[φ]²`, `ψ` being what is left of `φ` without its mean and its
    /// linear part: `q E[φ'²] - E[φ²]` is of third order in `q` for tanh, and lost to rounding from `q = 1e-5` on.
    ///
    /// # Errors
    /// As [`Layer::chi1`].
    pub fn at(act: &Activation, q: f64) -> Result<Self, MeanFieldError> {
        if !(q.is_finite() && q >= LEAST) {
            let allowed = "finite numbers from 1e-9 (σ_b = 0 is the limit of small q)";
            return Err(MeanFieldError::Parameter { name: "q", got: q, allowed });
        }
        let slope = slope_square(act, q)?;
        if slope == 0.0 {
            return Err(
                GainError::Zero { activation: format!("derivative of {act}"), sigma: q.sqrt() }.into()
            );
        }
        let mean = expect(act, q, |x| act.value(x))?;
        let linear = expect(act, q, |x| act.derivative(x))?;
        // What rounding makes of a ψ that is nothing.
        let noise = 4.0 * f64::EPSILON;
        let floor = noise * noise * (q * slope + second_moment(act, q)?);
        let rest = expect_to(act, q, floor, |x| {
            let (value, slope) = (act.value(x) - mean - linear * x, act.derivative(x) - linear);
            q * slope * slope - value * value
        });
        let rest = match rest {
            // At small q what is left of φ has few digits.
            Err(MeanFieldError::Gain(GainError::Quadrature {
                error: QuadratureError::NotConverged { value, error, .. },
                ..
            })) if error <= f64::max(FEW_DIGITS * value.abs(), ROUNDING * mean * mean) => value,
            rest => rest?,
        };
        let difference = rest - mean * mean;
        let bias =
            if difference.abs() <= ROUNDING * (rest.abs() + mean * mean) { 0.0 } else { difference / slope };
        Ok(Self { weight: 1.0 / slope, bias })
    }
}

/// The point of the edge whose fixed point is `q`: `σ_w = 1/√E[φ'²]`, `σ_b² = q - σ_w² E[φ²]`.
///
/// # Errors
/// [`MeanFieldError::NoEdge`] where `σ_b²` would be negative; otherwise as [`Layer::chi1`].
///
/// # Example
/// ```
/// use epoch0_num::{Activation, meanfield::edge_at_q};
/// let point = edge_at_q(&Activation::Tanh, 0.5)?;
/// assert!((point.sigma_w - 1.2992).abs() < 1e-4 && (point.sigma_b - 0.1950).abs() < 1e-4);
/// # Ok::<(), epoch0_num::meanfield::MeanFieldError>(())
/// ```
pub fn edge_at_q(act: &Activation, q: f64) -> Result<EdgePoint, MeanFieldError> {
    act.check()?;
    let edge = Edge::at(act, q)?;
    if edge.bias < 0.0 {
        let hint = match edge_range(act)? {
            Some((low, high)) => format!("there are points for q from {low:.4} to {high:.4}"),
            None => NOWHERE.to_owned(),
        };
        return Err(no_edge(act, format!("at q = {q}"), format!("σ_b² would be {:.4e}", edge.bias), hint));
    }
    let (sigma_w, sigma_b) = (edge.weight.sqrt(), edge.bias.sqrt());
    let layer = Layer::new(act, sigma_w, sigma_b)?;
    Ok(EdgePoint {
        q,
        sigma_w,
        sigma_b,
        chi1: layer.chi1(q)?,
        variance_slope: layer.variance_slope(q)?,
        variance_curvature: Some(layer.variance_curvature(q)?),
        rate: rate(act, q)?,
    })
}

const NOWHERE: &str =
    "σ_b² would be negative for every q; another activation, or one shifted to have mean 0, has one";

fn no_edge(act: &Activation, place: String, why: String, hint: String) -> MeanFieldError {
    MeanFieldError::NoEdge { activation: act.to_string(), place, why, hint }
}

/// The grid of `q`, two to the octave, until expectations end.
fn grid(act: &Activation) -> Result<Vec<(f64, Edge)>, MeanFieldError> {
    let mut points = Vec::new();
    for half in OCTAVES {
        let q = libm::exp2(0.5 * f64::from(half));
        match Edge::at(act, q) {
            Ok(edge) => points.push((q, edge)),
            // From some q on what grows too fast has no expectation, and what is flat no slope.
            Err(MeanFieldError::Gain(GainError::Quadrature { .. } | GainError::Zero { .. }))
                if !points.is_empty() =>
            {
                break;
            }
            // Below some q a slope that is 0 around 0 has none.
            Err(MeanFieldError::Gain(GainError::Zero { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    if points.is_empty() {
        // Say why, at the variance that everyone knows.
        Edge::at(act, 1.0)?;
    }
    Ok(points)
}

/// The smallest and largest `q` between `2⁻²⁹` and `2²⁴` for which there is a point on the edge; those between may
/// have none. Nothing if there is no point at all.
///
/// # Errors
/// As [`Layer::chi1`].
pub fn edge_range(act: &Activation) -> Result<Option<(f64, f64)>, MeanFieldError> {
    let points = grid(act)?;
    let Some(first) = points.iter().position(|(_, edge)| edge.bias >= 0.0) else { return Ok(None) };
    let last = points.iter().rposition(|(_, edge)| edge.bias >= 0.0).unwrap_or(first);
    let end = |outside: Option<&(f64, Edge)>, inside: &(f64, Edge)| match outside {
        Some(outside) if inside.1.bias > 0.0 => {
            let bias = |q: f64| Ok(Edge::at(act, q)?.bias);
            root::between::<MeanFieldError>(
                bias,
                (outside.0, outside.1.bias),
                (inside.0, inside.1.bias),
                1e-12,
            )
        }
        _ => Ok(inside.0),
    };
    let low = end(first.checked_sub(1).and_then(|before| points.get(before)), &points[first])?;
    let high = end(points.get(last + 1), &points[last])?;
    Ok(Some((low, high)))
}

/// The point of the edge whose biases have the standard deviation `sigma_b`; of several, that with the smallest `q`.
///
/// Activations with `φ(s x) = s φ(x)` have a single point, `σ_b = 0`, at which any `q` is fixed: `q` is 1 there. With
/// `σ_b = 0` and `φ(0) = 0` others have the limit `q → 0`, `σ_w = 1/|φ'(0)|`, where the network is linear.
///
/// # Errors
/// [`MeanFieldError::NoEdge`] where there is no such point; otherwise as [`Layer::chi1`].
pub fn edge_at_sigma_b(act: &Activation, sigma_b: f64) -> Result<EdgePoint, MeanFieldError> {
    act.check()?;
    super::from_zero("sigma_b", sigma_b)?;
    let place = || format!("with σ_b = {sigma_b}");
    if is_homogeneous(act) {
        let point = edge_at_q(act, 1.0)?;
        if sigma_b == point.sigma_b {
            return Ok(point);
        }
        let why = format!("its only point is σ_w = {:.6}, σ_b = 0", point.sigma_w);
        return Err(no_edge(act, place(), why, "take σ_b = 0; any q is a fixed point there".to_owned()));
    }
    let at_zero = act.at_zero();
    if sigma_b == 0.0 && at_zero.value == 0.0 && at_zero.differentiable && at_zero.derivative != 0.0 {
        let sigma_w = 1.0 / at_zero.derivative.abs();
        let variance_slope = Layer::new(act, sigma_w, 0.0)?.variance_slope(0.0)?;
        return Ok(EdgePoint {
            q: 0.0,
            sigma_w,
            sigma_b: 0.0,
            chi1: 1.0,
            variance_slope,
            variance_curvature: None,
            rate: Rate::Frozen,
        });
    }
    let points = grid(act)?;
    let target = sigma_b * sigma_b;
    let crossing = points.windows(2).find(|pair| pair[0].1.bias < target && pair[1].1.bias >= target);
    let Some(pair) = crossing else {
        let bias =
            |take: fn(f64, f64) -> f64, from: f64| points.iter().map(|(_, edge)| edge.bias).fold(from, take);
        let (low, high) = (bias(f64::min, f64::INFINITY).max(0.0), bias(f64::max, f64::NEG_INFINITY));
        if high < 0.0 {
            return Err(no_edge(
                act,
                "at all".to_owned(),
                "σ_b² would be negative".to_owned(),
                NOWHERE.to_owned(),
            ));
        }
        let why = format!("σ_b along it goes from {:.4} to {:.4}", low.sqrt(), high.sqrt());
        return Err(no_edge(
            act,
            place(),
            why,
            "ask for a σ_b in that range, or for a point by its q".to_owned(),
        ));
    };
    let off = |q: f64| Ok(Edge::at(act, q)?.bias - target);
    let ends = [0, 1].map(|end| (pair[end].0, pair[end].1.bias - target));
    let q = root::between::<MeanFieldError>(off, ends[0], ends[1], 1e-14)?;
    let point = edge_at_q(act, q)?;
    // The σ_b that was asked for, rather than what rounding made of it.
    Ok(EdgePoint { sigma_b, ..point })
}

/// The point of the edge whose rate suits a network of `depth` layers: `β_q = depth`, so that two inputs come together
/// about where the network ends. Larger `β_q` makes the network nearly linear, smaller loses the inputs before the end.
///
/// Where the derivative jumps `√κ` takes the place of `β_q`, as `1 - c ~ (√κ/l)²`. Activations with
/// `φ(s x) = s φ(x)` have a single point, which is it for every depth.
///
/// # Errors
/// [`MeanFieldError::NoEdge`] where there is no such point; otherwise as [`Layer::chi1`].
pub fn edge_at_depth(act: &Activation, depth: usize) -> Result<EdgePoint, MeanFieldError> {
    act.check()?;
    let wanted = depth as f64;
    positive("depth", wanted)?;
    if is_homogeneous(act) {
        return edge_at_q(act, 1.0);
    }
    let horizon = |q: f64| Ok::<_, MeanFieldError>(rate(act, q)?.horizon());
    let mut before: Option<(f64, f64)> = None;
    let (mut least, mut most) = (f64::INFINITY, 0.0);
    for (q, edge) in grid(act)? {
        let Some(here) = horizon(q)? else { continue };
        if edge.bias >= 0.0 {
            least = f64::min(least, here);
            most = f64::max(most, here);
        }
        if let Some((low, there)) = before
            && there > wanted
            && here <= wanted
        {
            let off = |q: f64| Ok(horizon(q)?.map_or(f64::NAN, |here| libm::log(here / wanted)));
            // At the smallest q the rate is beyond all bounds; any large number tells the side.
            let far = |here: f64| if here.is_finite() { libm::log(here / wanted) } else { 1e3 };
            let q = root::between::<MeanFieldError>(off, (low, far(there)), (q, far(here)), 1e-14)?;
            match edge_at_q(act, q) {
                Err(MeanFieldError::NoEdge { .. }) => {}
                found => return found,
            }
        }
        before = Some((q, here));
    }
    let place = format!("for a depth of {depth}");
    if least > most {
        return Err(no_edge(
            act,
            place,
            "σ_b² would be negative, or the rate is not known".to_owned(),
            NOWHERE.to_owned(),
        ));
    }
    let why = format!("depths along it go from {least:.3} to {most:.3e}");
    Err(no_edge(act, place, why, "ask for a point by its q or its σ_b".to_owned()))
}
