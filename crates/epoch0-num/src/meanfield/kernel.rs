//! Expectations over one Gaussian, and over two that are correlated.

use std::f64::consts::PI;

use libm::{exp, expm1};

use super::{MeanFieldError, of};
use crate::Activation;
use crate::gain::{self, GainError};
use crate::quadrature::{REACH, expectation_to, half_square_difference};

/// Jumps of the derivative that are taken for none: softplus has one of 2e-9 at its threshold.
const SMOOTH: f64 = 1e-6;
/// Variances below which an activation is its value and its slopes at 0.
const TINY: f64 = 1e-60;
/// `1 - c` below which the expansion around `c = 1` is more precise than quadrature.
const CLOSE: f64 = 1e-8;

/// `E[g(√q z)]` for a function that is smooth where the activation is.
pub(super) fn expect(act: &Activation, q: f64, g: impl FnMut(f64) -> f64) -> Result<f64, MeanFieldError> {
    expect_to(act, q, 0.0, g)
}

/// As [`expect`]; an absolute error below `floor` is small enough too.
pub(super) fn expect_to(
    act: &Activation,
    q: f64,
    floor: f64,
    g: impl FnMut(f64) -> f64,
) -> Result<f64, MeanFieldError> {
    let sigma = q.sqrt();
    let cuts = act.cuts(-REACH * sigma, REACH * sigma);
    Ok(expectation_to(g, sigma, &cuts, floor).map_err(of(act))?.value)
}

/// `E[φ²]`.
pub(super) fn second_moment(act: &Activation, q: f64) -> Result<f64, MeanFieldError> {
    if q > 0.0 && q < TINY {
        // Squares would leave the range of doubles; this close to 0 there is only the value and two slopes.
        let (value, left, right) = (act.value(0.0), act.derivative(-TINY), act.derivative(TINY));
        return Ok(value * value + 0.5 * q * (left * left + right * right));
    }
    Ok(gain::second_moment(act, q.sqrt())?.value)
}

/// `E[φ'²]`.
pub(super) fn slope_square(act: &Activation, q: f64) -> Result<f64, MeanFieldError> {
    Ok(gain::chi1(act, 1.0, q)?)
}

/// Where the derivative jumps, within what a Gaussian of variance `q` reaches, and by how much.
pub(super) fn jumps(act: &Activation, q: f64) -> Vec<(f64, f64)> {
    let reach = REACH * q.sqrt();
    let jump = |at: f64| {
        // Two doubles to each side: a kink is known to one.
        let low = act.derivative(at.next_down().next_down());
        let high = act.derivative(at.next_up().next_up());
        ((high - low).abs() > SMOOTH * (1.0 + low.abs())).then_some((at, high - low))
    };
    act.kinks(-reach, reach).into_iter().filter_map(jump).collect()
}

/// `Σ J² density(x / √q)` over the jumps `J` of the derivative at `x`.
pub(super) fn kink_weight(act: &Activation, q: f64) -> f64 {
    let weight = |(at, jump): (f64, f64)| jump * jump * crate::quadrature::density(at / q.sqrt());
    jumps(act, q).into_iter().map(weight).sum()
}

/// `E[φ''²]`, kinks aside; nothing where it has no value.
pub(super) fn curve_square(act: &Activation, q: f64) -> Option<f64> {
    let square = expect(act, q, |x| {
        let curve = act.second_derivative(x);
        curve * curve
    });
    square.ok().filter(|square| square.is_finite())
}

/// `φ(x) = α x + β |x|` as `(α, β)`, for activations that are so by name.
fn halves(act: &Activation) -> Option<(f64, f64)> {
    let of_slope = |slope: f64| (0.5 * (1.0 + slope), 0.5 * (1.0 - slope));
    match act {
        Activation::Identity => Some((1.0, 0.0)),
        Activation::Relu => Some(of_slope(0.0)),
        Activation::LeakyRelu { slope } | Activation::Prelu { slope } => Some(of_slope(*slope)),
        Activation::Abs => Some((0.0, 1.0)),
        _ => None,
    }
}

/// Whether `φ(s x) = s φ(x)` for positive `s`, so that scales pass through.
pub(super) fn is_homogeneous(act: &Activation) -> bool {
    let doubles = |x: f64| act.value(2.0 * x) == 2.0 * act.value(x);
    halves(act).is_some() || [0.013, 0.37, 1.1, 5.3, 41.0].iter().all(|&x| doubles(x) && doubles(-x))
}

/// `D(q, ε) = E[φ(u)²] - E[φ(u) φ(v)]` for `u, v ~ N(0, q)` with correlation `1 - ε`, precise in relative terms as
/// `ε → 0`: what two inputs that were `ε` from being the same differ by behind the activation.
pub(super) fn difference(act: &Activation, q: f64, apart: f64) -> Result<f64, MeanFieldError> {
    if !(0.0..=2.0).contains(&apart) {
        return Err(MeanFieldError::Parameter { name: "1 - c", got: apart, allowed: "0 to 2" });
    }
    if let Some(value) = closed(act, q, apart) {
        return Ok(value);
    }
    if apart < CLOSE {
        match slope_square(act, q) {
            // Two inputs that are close straddle a kink with a probability that goes as √ε.
            Ok(slope) => {
                let kinks = 2.0 / 3.0 * kink_weight(act, q) * (apart / PI).sqrt();
                let curve = curve_square(act, q).unwrap_or(0.0);
                return Ok(q * apart * (slope - kinks - 0.5 * q * apart * curve));
            }
            Err(MeanFieldError::Gain(GainError::Jump { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    let sigma = q.sqrt();
    let kinks = act.kinks(-2.0 * REACH * sigma, 2.0 * REACH * sigma);
    Ok(half_square_difference(|x| act.value(x), sigma, apart, &kinks).map_err(of(act))?.value)
}

/// `D` where it has a closed form: the arc-cosine kernel of order 1 (Cho and Saul 2009) and its kin, sine, exponential
/// and Gaussian.
fn closed(act: &Activation, q: f64, apart: f64) -> Option<f64> {
    if let Some((alpha, beta)) = halves(act) {
        // E|z z'| = (2/π) (sin θ + (π/2 - θ) cos θ) with cos θ = c.
        let theta = angle(apart);
        let straight = (alpha * alpha + beta * beta) * apart;
        return Some(q * (straight - beta * beta * (2.0 / PI) * sine_less_cosine(theta)));
    }
    match act {
        Activation::Sine { omega } => {
            let w = omega * omega * q;
            Some(0.5 * (1.0 + exp(-w * (2.0 - apart))) * -expm1(-w * apart))
        }
        Activation::Exp => Some(exp(2.0 * q) * -expm1(-q * apart)).filter(|value| value.is_finite()),
        Activation::Gaussian { std } => {
            let p = q / (std * std);
            let (same, more) = (1.0 + 2.0 * p, p * p * apart * (2.0 - apart));
            let (near, far) = (same.sqrt(), (same + more).sqrt());
            Some(more / (near * far * (near + far)))
        }
        _ => None,
    }
}

/// The angle whose cosine is `1 - apart`.
pub(super) fn angle(apart: f64) -> f64 {
    2.0 * libm::asin((0.5 * apart).sqrt().min(1.0))
}

/// `sin θ - θ cos θ`.
fn sine_less_cosine(theta: f64) -> f64 {
    if theta > 0.25 {
        return libm::sin(theta) - theta * libm::cos(theta);
    }
    // θ³/3 - θ⁵/30 + θ⁷/840 …: each term is the one before times -θ² / (2k (2k + 3)).
    let square = theta * theta;
    let mut term = theta * square / 3.0;
    let mut sum = term;
    for k in 1..8 {
        let k = f64::from(k);
        term *= -square / (2.0 * k * (2.0 * k + 3.0));
        sum += term;
    }
    sum
}
