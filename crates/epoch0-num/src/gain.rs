//! Gains: what a weight's standard deviation is multiplied with because of the activation around it.
//!
//! Several definitions are in use and give different numbers. For standard normal `z` and activation `φ`:
//!
//! | function | value | keeps |
//! |---|---|---|
//! | [`torch_gain`] | a table | what torch's users are used to |
//! | [`rms_gain`] | `1 / √E[φ(σz)²]` | the second moment at 1, when it follows an activation fed with std `σ` |
//! | [`fixed_point_gain`] | the `σ` with `E[φ(σz)²] = 1` | the second moment *after* every activation at 1 |
//! | [`kumar_gain`] | from `φ(0)` and `φ'(0)` | the same to first order around 0 |
//! | [`steady_gain`] | `σ / √E[φ(σz)²]` | the standard deviation before every activation at `σ` |
//! | [`Maxout::gain`] | `1 / √E[max(z₁…z_K)²]` | the second moment behind maxout units |
//!
//! and two slopes, which tell whether a deviation from the kept value grows from layer to layer: [`chi`], of the
//! second moment, and [`chi1`], of the angle between two inputs (and of gradients).

mod balance;
mod maxout;

pub use balance::{Balanced, balance, balanced_sigma, steady_gain};
pub use maxout::{Maxout, maxout};
pub(crate) use maxout::{covariance_of_largest, of_largest};

use std::fmt;

use crate::Activation;
use crate::activation::ActivationError;
use crate::quadrature::{Estimate, QuadratureError, REACH, expectation};

/// Why an activation has no gain of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GainError {
    /// torch's table has no row for it.
    #[error(
        "activation `{activation}` is not in torch's table of gains, allowed identity, sigmoid, tanh, relu, \
         leaky_relu, selu\nhint: rms_gain and fixed_point_gain are defined for any activation"
    )]
    NotInTable {
        /// The activation.
        activation: String,
    },
    /// No standard deviation gives the second moment 1.
    #[error(
        "no standard deviation gives activation `{activation}` the second moment 1: it lies between {lowest} and \
         {highest}, the largest found at a standard deviation of {at}\nhint: rms_gain is defined here"
    )]
    Unreachable {
        /// The activation.
        activation: String,
        /// Smallest second moment found.
        lowest: f64,
        /// Largest second moment found.
        highest: f64,
        /// Standard deviation at which the largest was found.
        at: f64,
    },
    /// The first-order rule needs a slope at 0.
    #[error(
        "the first-order rule is undefined for activation `{activation}`: {reason}\nhint: use rms_gain, which \
         integrates instead of expanding at 0"
    )]
    NoSlopeAtZero {
        /// The activation.
        activation: String,
        /// What is missing.
        reason: NoSlope,
    },
    /// The activation is zero wherever the Gaussian looks.
    #[error("activation `{activation}` has second moment 0 at a standard deviation of {sigma}")]
    Zero {
        /// The activation.
        activation: String,
        /// The standard deviation.
        sigma: f64,
    },
    /// The activation jumps, so that its derivative has no second moment.
    #[error("activation `{activation}` jumps at x = {at}, so that its squared derivative has no expectation")]
    Jump {
        /// The activation.
        activation: String,
        /// Where.
        at: f64,
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
    /// A parameter of the activation is out of its range.
    #[error(transparent)]
    Activation(#[from] ActivationError),
    /// The expectation has no value.
    #[error("activation `{activation}`: {error}")]
    Quadrature {
        /// The activation.
        activation: String,
        /// Why.
        #[source]
        error: QuadratureError,
    },
}

/// What an activation lacks at 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoSlope {
    /// It has no derivative.
    NotDifferentiable,
    /// Its derivative is 0.
    Flat,
    /// Its value or its derivative is not finite.
    NotFinite,
}

impl fmt::Display for NoSlope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotDifferentiable => "it has no derivative at 0",
            Self::Flat => "its derivative at 0 is 0",
            Self::NotFinite => "it is not finite at 0",
        })
    }
}

/// What [`kumar_gain`] keeps at 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// The variance after the activation, as the paper does.
    #[default]
    Post,
    /// The variance before the activation.
    Pre,
}

/// The gain of `torch.nn.init.calculate_gain`: 1 for identity and sigmoid, 5/3 for tanh, √2 for relu,
/// `√(2 / (1 + slope²))` for leaky relu, 3/4 for selu.
///
/// # Errors
/// [`GainError::NotInTable`] for all others, as torch does.
///
/// # Example
/// ```
/// use epoch0_num::{Activation, gain::torch_gain};
/// assert_eq!(torch_gain(&Activation::Tanh)?, 5.0 / 3.0);
/// assert!(torch_gain(&Activation::Gelu).is_err());
/// # Ok::<(), epoch0_num::gain::GainError>(())
/// ```
pub fn torch_gain(act: &Activation) -> Result<f64, GainError> {
    act.check()?;
    match act {
        Activation::Identity | Activation::Sigmoid => Ok(1.0),
        Activation::Tanh => Ok(5.0 / 3.0),
        Activation::Relu => Ok(std::f64::consts::SQRT_2),
        Activation::LeakyRelu { slope } => Ok(leaky(*slope)),
        Activation::Selu => Ok(0.75),
        _ => Err(GainError::NotInTable { activation: act.to_string() }),
    }
}

/// `E[φ(σz)²]`: the second moment after the activation when it is fed with a Gaussian of standard deviation
/// `sigma`.
///
/// # Errors
/// When `sigma` is negative or not finite, and when there is no expectation.
pub fn second_moment(act: &Activation, sigma: f64) -> Result<Estimate, GainError> {
    act.check()?;
    expect(act, sigma, |x| {
        let value = act.value(x);
        value * value
    })
}

/// `1 / √E[φ(σz)²]`: the gain of a layer that follows the activation, for which the layer's output has second
/// moment 1 when the activation's input has standard deviation `sigma` (1 is usual).
///
/// # Errors
/// As [`second_moment`]; [`GainError::Zero`] when the moment is 0.
///
/// # Example
/// ```
/// use epoch0_num::{Activation, gain::rms_gain};
/// let gain = rms_gain(&"gelu".parse::<Activation>()?, 1.0)?;
/// assert!((gain - 1.5335304).abs() < 1e-7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn rms_gain(act: &Activation, sigma: f64) -> Result<f64, GainError> {
    let moment = second_moment(act, sigma)?.value;
    let gain = 1.0 / moment.sqrt();
    if gain.is_finite() { Ok(gain) } else { Err(GainError::Zero { activation: act.to_string(), sigma }) }
}

/// The `σ*` with `E[φ(σ*z)²] = 1`.
///
/// With weights of variance `σ*² / fan_in`, pre-activations of second moment `σ*²` give activations of second
/// moment 1, and these give pre-activations of second moment `σ*²` in the next layer: a fixed point of
/// `q → σ_w² E[φ(√q z)²]` at `q = σ_w² = σ*²`. Where several `σ` solve the equation it is the smallest; where
/// all do, as for `sign`, it is 1. The search goes from 1e-6 to 1e6.
///
/// The fixed point attracts when [`chi`] at `σ*` is below 1.
///
/// # Errors
/// [`GainError::Unreachable`] when there is no such `σ`, as for tanh; otherwise as [`second_moment`].
pub fn fixed_point_gain(act: &Activation) -> Result<f64, GainError> {
    // Half-octaves from 2^-20 to 2^20; 1 is one of them.
    const STEPS: i32 = 40;
    /// Second moments this close to 1 do not tell on which side they are.
    const DEAD: f64 = 1e-10;
    let at = |k: i32| (0..k.abs()).fold(1.0, |sigma: f64, _| sigma * std::f64::consts::SQRT_2);
    let grid = (-STEPS..=STEPS).map(|k| if k < 0 { 1.0 / at(k) } else { at(k) });

    let (mut lowest, mut highest, mut top) = (f64::INFINITY, 0.0, 0.0);
    let mut one_at_one = false;
    // The last point whose side is known, and its side.
    let mut before: Option<(f64, bool)> = None;
    for sigma in grid {
        let moment = match second_moment(act, sigma) {
            Ok(moment) => moment.value,
            // Beyond some σ the moment may be infinite, or too hard to tell.
            Err(GainError::Quadrature { error: QuadratureError::NotFinite { .. }, .. })
                if before.is_some() =>
            {
                f64::INFINITY
            }
            Err(GainError::Quadrature {
                error: QuadratureError::NotConverged { value, error, .. }, ..
            }) if before.is_some() || (value - 1.0).abs() > 10.0 * error => {
                if before.is_some() {
                    break;
                }
                // At very small σ a formula may be all rounding error, and still tell its side.
                value
            }
            Err(error) => return Err(error),
        };
        if moment.is_finite() {
            lowest = f64::min(lowest, moment);
            if moment > highest {
                (highest, top) = (moment, sigma);
            }
        }
        if (moment - 1.0).abs() <= DEAD {
            one_at_one |= sigma == 1.0;
            continue;
        }
        let above = moment > 1.0;
        if let Some((low, side)) = before
            && side != above
            && let Some(found) = crossing(act, low, sigma, side)?
        {
            return Ok(found);
        }
        if moment.is_infinite() {
            break;
        }
        before = Some((sigma, above));
    }
    if one_at_one && before.is_none() {
        return Ok(1.0);
    }
    Err(GainError::Unreachable { activation: act.to_string(), lowest, highest, at: top })
}

/// The point between `low` and `high` at which the second moment leaves the side of 1 that it has at `low`, by
/// bisection; none if it jumps there.
fn crossing(act: &Activation, mut low: f64, mut high: f64, side: bool) -> Result<Option<f64>, GainError> {
    let moment = |sigma| match second_moment(act, sigma) {
        Err(GainError::Quadrature { error: QuadratureError::NotFinite { .. }, .. }) => Ok(f64::INFINITY),
        other => other.map(|moment| moment.value),
    };
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        let there = moment(middle)?;
        if there == 1.0 {
            return Ok(Some(middle));
        }
        if (there > 1.0) == side {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(if (moment(low)? - 1.0).abs() < 1e-9 { Some(low) } else { None })
}

/// `χ = d log E[φ(√v z)²] / d log v` at `v = σ²`: by what power the second moment after the activation follows
/// the one before. 1 for every `φ` with `φ(cx) = c φ(x)`; below 1 deviations die out over depth, above they
/// grow. This is AnyInit's χ; the slope of mean-field theory is [`chi1`].
///
/// It is computed as `½ (E[z² φ(σz)²] / E[φ(σz)²] - 1)`, which needs no derivative.
///
/// # Errors
/// As [`rms_gain`]; also when `sigma` is 0.
pub fn chi(act: &Activation, sigma: f64) -> Result<f64, GainError> {
    if sigma == 0.0 {
        return Err(GainError::Parameter { name: "sigma", got: sigma, allowed: "finite numbers above 0" });
    }
    let moment = second_moment(act, sigma)?.value;
    if moment == 0.0 {
        return Err(GainError::Zero { activation: act.to_string(), sigma });
    }
    let weighted = expect(act, sigma, |x| {
        let value = x / sigma * act.value(x);
        value * value
    })?;
    Ok(0.5 * (weighted.value / moment - 1.0))
}

/// `χ₁ = σ_w² E[φ'(√q z)²]`: the slope of mean-field theory (Poole et al. 2016) for weights of variance
/// `sigma_w² / fan_in` and pre-activations of second moment `q`. It is the factor by which gradients' second
/// moment changes per layer, and at a fixed point the slope of the correlation map at 1: order below 1, chaos
/// above.
///
/// # Errors
/// [`GainError::Jump`] when the activation is not continuous; when `q` or `sigma_w` is negative or not finite;
/// when there is no expectation.
pub fn chi1(act: &Activation, sigma_w: f64, q: f64) -> Result<f64, GainError> {
    act.check()?;
    for (name, got) in [("sigma_w", sigma_w), ("q", q)] {
        if !(got.is_finite() && got >= 0.0) {
            return Err(GainError::Parameter { name, got, allowed: "finite numbers from 0" });
        }
    }
    let sigma = q.sqrt();
    for at in act.kinks(-REACH * sigma, REACH * sigma) {
        // Two doubles to each side: a kink is known to one. Softplus jumps by 2e-9 at its threshold, and is
        // meant to be continuous.
        let (low, high) = (act.value(at.next_down().next_down()), act.value(at.next_up().next_up()));
        if (high - low).abs() > 1e-6 * (1.0 + low.abs()) {
            return Err(GainError::Jump { activation: act.to_string(), at });
        }
    }
    let slope = expect(act, sigma, |x| {
        let slope = act.derivative(x);
        slope * slope
    })?;
    Ok(sigma_w * sigma_w * slope.value)
}

/// The gain of Kumar's rule (2017, "On weight initialization in deep neural networks"): the standard deviation
/// of weights times `√fan_in`, from the expansion `φ(y) ≈ φ(0) + φ'(0) y`.
///
/// - [`Keep::Post`]: `1 / √(φ'(0)² (1 + φ(0)²))`, for variance 1 after each activation;
/// - [`Keep::Pre`]: `1 / √(φ(0)² + φ'(0)²)`, for variance 1 before each activation.
///
/// Relu has no derivative at 0 and is treated separately: √2, as He's; leaky and parametric relu likewise have
/// `√(2 / (1 + slope²))`. Both keep the second moment before activations, whatever is asked for.
///
/// First order holds only while pre-activations are small against the curvature: for sigmoid the rule expects a
/// pre-activation variance of 16, far outside.
///
/// # Errors
/// [`GainError::NoSlopeAtZero`] when the derivative at 0 is 0 or missing.
///
/// # Example
/// ```
/// use epoch0_num::{Activation, gain::{Keep, kumar_gain}};
/// let gain = kumar_gain(&Activation::Sigmoid, Keep::Post)?;
/// assert!((gain * gain - 12.8).abs() < 1e-12);
/// # Ok::<(), epoch0_num::gain::GainError>(())
/// ```
pub fn kumar_gain(act: &Activation, keep: Keep) -> Result<f64, GainError> {
    act.check()?;
    match act {
        Activation::Relu => return Ok(std::f64::consts::SQRT_2),
        Activation::LeakyRelu { slope } | Activation::Prelu { slope } => return Ok(leaky(*slope)),
        _ => (),
    }
    let at = act.at_zero();
    let undefined = |reason| Err(GainError::NoSlopeAtZero { activation: act.to_string(), reason });
    if !at.value.is_finite() {
        return undefined(NoSlope::NotFinite);
    }
    if !at.differentiable {
        return undefined(NoSlope::NotDifferentiable);
    }
    if at.derivative == 0.0 {
        return undefined(NoSlope::Flat);
    }
    let (value, slope) = (at.value * at.value, at.derivative * at.derivative);
    let gain = match keep {
        Keep::Post => 1.0 / (slope * (1.0 + value)).sqrt(),
        Keep::Pre => 1.0 / (value + slope).sqrt(),
    };
    if gain.is_finite() { Ok(gain) } else { undefined(NoSlope::Flat) }
}

/// `√(2 / (1 + slope²))`.
fn leaky(slope: f64) -> f64 {
    (2.0 / (1.0 + slope * slope)).sqrt()
}

/// `E[g(σz)]` for a function that is smooth where the activation is.
fn expect(act: &Activation, sigma: f64, g: impl Fn(f64) -> f64) -> Result<Estimate, GainError> {
    let cuts = act.cuts(-REACH * sigma, REACH * sigma);
    expectation(g, sigma, &cuts).map_err(|error| match error {
        QuadratureError::Parameter { name, got, allowed } => GainError::Parameter { name, got, allowed },
        error => GainError::Quadrature { activation: act.to_string(), error },
    })
}
