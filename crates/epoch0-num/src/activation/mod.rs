//! Activation functions: values, derivatives, and where they are not smooth.
//!
//! Names are those of torch, Hugging Face, keras and jax; anything else can be given as an expression of `x`.
//! No function of the platform's mathematics library is called, so results are equal on every machine.

mod expr;
mod names;
mod sinc;

pub use expr::{Expression, ExpressionError, ExpressionErrorKind, Function, Op};
pub use names::ActivationError;

use libm::{cos, erfc, exp, expm1, log1p, sin, tanh};
use serde::{Deserialize, Serialize};

/// An activation function, applied to each number by itself.
///
/// Reads from and prints as text: `relu`, `leaky_relu(0.2)`, `softplus(beta=2)`, `LeakyReLU(negative_slope=0.2)`,
/// `gelu_new`, `expr:x*sigmoid(1.5*x)`. Parameters that are left out have torch's defaults.
///
/// # Example
/// ```
/// use epoch0_num::Activation;
/// let act: Activation = "leaky_relu(0.2)".parse()?;
/// assert_eq!(act, Activation::LeakyRelu { slope: 0.2 });
/// assert_eq!(act.value(-1.0), -0.2);
/// assert_eq!(act.to_string(), "leaky_relu(0.2)");
/// # Ok::<(), epoch0_num::activation::ActivationError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Activation {
    /// `x`.
    Identity,
    /// `max(0, x)`.
    Relu,
    /// `x` above 0, `slope · x` below.
    LeakyRelu {
        /// Slope below 0; 0.01 by default (keras has 0.3 or 0.2).
        slope: f64,
    },
    /// As [`Activation::LeakyRelu`], with a slope that is learned.
    Prelu {
        /// Slope below 0 at the start; 0.25 by default.
        slope: f64,
    },
    /// `x` above 0, `alpha · (exp(x) - 1)` below (Clevert et al. 2015).
    Elu {
        /// Depth below 0; 1 by default.
        alpha: f64,
    },
    /// ELU with the constants that keep mean 0 and variance 1 (Klambauer et al. 2017).
    Selu,
    /// `x` above 0, `alpha · (exp(x / alpha) - 1)` below (Barron 2017).
    Celu {
        /// Depth below 0, positive; 1 by default.
        alpha: f64,
    },
    /// `x Φ(x)` with the exact normal distribution function (Hendrycks and Gimpel 2016).
    Gelu,
    /// `x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))`: `gelu_new`, `gelu_pytorch_tanh`, `gelu_fast`.
    GeluTanh,
    /// `x σ(1.702 x)`.
    QuickGelu,
    /// `x σ(x)`, also named swish.
    Silu,
    /// `x tanh(log(1 + exp(x)))` (Misra 2019).
    Mish,
    /// `log(1 + exp(beta x)) / beta`, and `x` where `beta x > threshold`.
    Softplus {
        /// Sharpness, positive; 1 by default.
        beta: f64,
        /// Where torch goes over to `x`, from 0; 20 by default.
        threshold: f64,
    },
    /// `x / (1 + |x|)`.
    Softsign,
    /// `tanh(x)`.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `min(max(x/6 + 1/2, 0), 1)`.
    HardSigmoid,
    /// `x · min(max(x/6 + 1/2, 0), 1)`.
    HardSwish,
    /// `min(max(x, min), max)`.
    HardTanh {
        /// Lower end; -1 by default.
        min: f64,
        /// Upper end, above the lower; 1 by default.
        max: f64,
    },
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `max(0, x)²` (So et al. 2021).
    ReluSquared,
    /// `|x|`.
    Abs,
    /// `exp(x)`.
    Exp,
    /// `sin(omega x)` (Sitzmann et al. 2020).
    Sine {
        /// Angular frequency; 1 by default.
        omega: f64,
    },
    /// `exp(-x² / (2 std²))`.
    Gaussian {
        /// Width, positive; 1 by default.
        std: f64,
    },
    /// `sin(omega x) / (omega x)`, 1 at 0 (Ramasinghe and Lucey 2022).
    Sinc {
        /// Angular frequency, positive; 1 by default.
        omega: f64,
    },
    /// `cos(omega x) exp(-(scale x)²)`: the real Gabor wavelet of WIRE (Saragadam et al. 2023).
    Wavelet {
        /// Angular frequency; 1 by default.
        omega: f64,
        /// One over the width, positive; 1 by default.
        scale: f64,
    },
    /// `max(0, x - tau)` (Price et al. 2024).
    ShiftedRelu {
        /// Threshold, at least 0; 0.5 by default.
        tau: f64,
    },
    /// `sign(x) max(0, |x| - tau)`; torch's Softshrink.
    SoftThreshold {
        /// Threshold, at least 0; 0.5 by default.
        tau: f64,
    },
    /// `min(max(0, x - tau), m)` (Price et al. 2024).
    ClippedShiftedRelu {
        /// Threshold, at least 0; 0.5 by default.
        tau: f64,
        /// Largest value, positive; 1 by default.
        m: f64,
    },
    /// `sign(x) min(max(0, |x| - tau), m)` (Price et al. 2024).
    ClippedSoftThreshold {
        /// Threshold, at least 0; 0.5 by default.
        tau: f64,
        /// Largest size, positive; 1 by default.
        m: f64,
    },
    /// A text in `x`.
    Expression(Expression),
}

/// An activation at 0, where expansions start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtZero {
    /// Value.
    pub value: f64,
    /// Derivative; where there is none, what frameworks take for it.
    pub derivative: f64,
    /// Whether the function has a derivative at 0.
    pub differentiable: bool,
}

// Constants of SELU (Klambauer et al. 2017, appendix).
const SELU_ALPHA: f64 = 1.6732632423543772848170429916717;
const SELU_SCALE: f64 = 1.0507009873554804934193349852946;
/// √(2/π).
const SQRT_2_OVER_PI: f64 = 0.79788456080286535587989211986876;
const QUICK: f64 = 1.702;

impl Activation {
    /// The activation that a text in `x` describes, such as `x*sigmoid(1.5*x)`.
    ///
    /// # Errors
    /// When the text is no expression; the error says where.
    pub fn expression(text: &str) -> Result<Self, ExpressionError> {
        Expression::parse(text).map(Self::Expression)
    }

    /// The activation at `x`.
    pub fn value(&self, x: f64) -> f64 {
        match self {
            Self::Identity => x,
            Self::Relu => above(x, x, 0.0),
            Self::LeakyRelu { slope } | Self::Prelu { slope } => above(x, x, slope * x),
            Self::Elu { alpha } => above(x, x, alpha * expm1(x)),
            Self::Selu => SELU_SCALE * above(x, x, SELU_ALPHA * expm1(x)),
            Self::Celu { alpha } => above(x, x, alpha * expm1(x / alpha)),
            Self::Gelu => x * normal_cdf(x),
            Self::GeluTanh => x * sigmoid(2.0 * SQRT_2_OVER_PI * (x + 0.044715 * x * x * x)),
            Self::QuickGelu => x * sigmoid(QUICK * x),
            Self::Silu => x * sigmoid(x),
            Self::Mish => x * tanh_softplus(x).0,
            Self::Softplus { beta, threshold } => {
                if beta * x > *threshold {
                    x
                } else {
                    softplus(beta * x) / beta
                }
            }
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Tanh => tanh(x),
            Self::Sigmoid => sigmoid(x),
            Self::HardSigmoid => clip(x + 3.0, 0.0, 6.0) / 6.0,
            Self::HardSwish => x * clip(x + 3.0, 0.0, 6.0) / 6.0,
            Self::HardTanh { min, max } => clip(x, *min, *max),
            Self::Relu6 => clip(x, 0.0, 6.0),
            Self::ReluSquared => above(x, x * x, 0.0),
            Self::Abs => x.abs(),
            Self::Exp => exp(x),
            Self::Sine { omega } => sin(omega * x),
            Self::Gaussian { std } => exp(-0.5 * (x / std) * (x / std)),
            Self::Sinc { omega } => sinc::sinc(omega * x)[0],
            Self::Wavelet { omega, scale } => cos(omega * x) * exp(-(scale * x) * (scale * x)),
            Self::ShiftedRelu { tau } => above(x - tau, x - tau, 0.0),
            Self::SoftThreshold { tau } => beyond(x, *tau, f64::INFINITY),
            Self::ClippedShiftedRelu { tau, m } => clip(x - tau, 0.0, *m),
            Self::ClippedSoftThreshold { tau, m } => beyond(x, *tau, *m),
            Self::Expression(expression) => expression.value(x),
        }
    }

    /// The derivative at `x`. Where there is none it is what torch's reverse mode takes for it: 0 for `relu`
    /// and `abs` at 0, 0 at the ends of `hard_tanh`, the lower side's for the `elu` family.
    pub fn derivative(&self, x: f64) -> f64 {
        match self {
            Self::Identity => 1.0,
            Self::Relu => above(x, 1.0, 0.0),
            Self::LeakyRelu { slope } | Self::Prelu { slope } => above(x, 1.0, *slope),
            Self::Elu { alpha } => above(x, 1.0, alpha * exp(x)),
            Self::Selu => SELU_SCALE * above(x, 1.0, SELU_ALPHA * exp(x)),
            Self::Celu { alpha } => above(x, 1.0, exp(x / alpha)),
            Self::Gelu => normal_cdf(x) + x * crate::quadrature::density(x),
            Self::GeluTanh => {
                let inner = 2.0 * SQRT_2_OVER_PI * (x + 0.044715 * x * x * x);
                let slope = 2.0 * SQRT_2_OVER_PI * (1.0 + 3.0 * 0.044715 * x * x);
                sigmoid(inner) + x * sigmoid_slope(inner) * slope
            }
            Self::QuickGelu => sigmoid(QUICK * x) + QUICK * x * sigmoid_slope(QUICK * x),
            Self::Silu => sigmoid(x) + x * sigmoid_slope(x),
            Self::Mish => {
                let (tanh, rest) = tanh_softplus(x);
                tanh + x * rest * sigmoid(x)
            }
            Self::Softplus { beta, threshold } => {
                if beta * x > *threshold {
                    1.0
                } else {
                    sigmoid(beta * x)
                }
            }
            Self::Softsign => {
                let root = 1.0 + x.abs();
                1.0 / (root * root)
            }
            Self::Tanh => tanh_slope(x),
            Self::Sigmoid => sigmoid_slope(x),
            Self::HardSigmoid => within(x, -3.0, 3.0) / 6.0,
            Self::HardSwish => {
                if x >= 3.0 {
                    1.0
                } else if x <= -3.0 {
                    0.0
                } else {
                    x / 3.0 + 0.5
                }
            }
            Self::HardTanh { min, max } => within(x, *min, *max),
            Self::Relu6 => within(x, 0.0, 6.0),
            Self::ReluSquared => above(x, 2.0 * x, 0.0),
            Self::Abs => above(x, 1.0, if x < 0.0 { -1.0 } else { 0.0 }),
            Self::Exp => exp(x),
            Self::Sine { omega } => omega * cos(omega * x),
            Self::Gaussian { std } => -x / (std * std) * exp(-0.5 * (x / std) * (x / std)),
            Self::Sinc { omega } => omega * sinc::sinc(omega * x)[1],
            Self::Wavelet { omega, scale } => {
                let (cosine, sine) = (cos(omega * x), sin(omega * x));
                -(omega * sine + 2.0 * scale * scale * x * cosine) * exp(-(scale * x) * (scale * x))
            }
            Self::ShiftedRelu { tau } => above(x - tau, 1.0, 0.0),
            Self::SoftThreshold { tau } => outside(x, *tau, f64::INFINITY),
            Self::ClippedShiftedRelu { tau, m } => within(x, *tau, tau + m),
            Self::ClippedSoftThreshold { tau, m } => outside(x, *tau, *m),
            Self::Expression(expression) => expression.derivative(x),
        }
    }

    /// The second derivative at `x`, where there is one; at a kink that of one of the sides, or 0. It does not say that
    /// the first derivative jumps.
    pub fn second_derivative(&self, x: f64) -> f64 {
        match self {
            Self::Identity
            | Self::Relu
            | Self::LeakyRelu { .. }
            | Self::Prelu { .. }
            | Self::HardSigmoid
            | Self::HardTanh { .. }
            | Self::Relu6
            | Self::ShiftedRelu { .. }
            | Self::SoftThreshold { .. }
            | Self::ClippedShiftedRelu { .. }
            | Self::ClippedSoftThreshold { .. }
            | Self::Abs => 0.0,
            Self::Elu { alpha } => above(x, 0.0, alpha * exp(x)),
            Self::Selu => SELU_SCALE * above(x, 0.0, SELU_ALPHA * exp(x)),
            Self::Celu { alpha } => above(x, 0.0, exp(x / alpha) / alpha),
            Self::Gelu => (2.0 - x * x) * crate::quadrature::density(x),
            Self::GeluTanh => {
                let inner = 2.0 * SQRT_2_OVER_PI * (x + 0.044715 * x * x * x);
                let slope = 2.0 * SQRT_2_OVER_PI * (1.0 + 3.0 * 0.044715 * x * x);
                let curve = 2.0 * SQRT_2_OVER_PI * 6.0 * 0.044715 * x;
                (2.0 * slope + x * curve) * sigmoid_slope(inner) + x * slope * slope * sigmoid_curve(inner)
            }
            Self::QuickGelu => swish_curve(QUICK, x),
            Self::Silu => swish_curve(1.0, x),
            Self::Mish => {
                let (tanh, rest) = tanh_softplus(x);
                let slope = rest * sigmoid(x);
                let curve = rest * sigmoid_slope(x) - 2.0 * tanh * slope * sigmoid(x);
                2.0 * slope + x * curve
            }
            Self::Softplus { beta, threshold } => {
                if beta * x > *threshold {
                    0.0
                } else {
                    beta * sigmoid_slope(beta * x)
                }
            }
            Self::Softsign => {
                let root = 1.0 + x.abs();
                above(x, -2.0, if x < 0.0 { 2.0 } else { 0.0 }) / (root * root * root)
            }
            Self::Tanh => -2.0 * tanh(x) * tanh_slope(x),
            Self::Sigmoid => sigmoid_curve(x),
            Self::HardSwish => within(x, -3.0, 3.0) / 3.0,
            Self::ReluSquared => above(x, 2.0, 0.0),
            Self::Exp => exp(x),
            Self::Sine { omega } => -omega * omega * sin(omega * x),
            Self::Gaussian { std } => {
                let z = x / std;
                (z * z - 1.0) / (std * std) * exp(-0.5 * z * z)
            }
            Self::Sinc { omega } => omega * omega * sinc::sinc(omega * x)[2],
            Self::Wavelet { omega, scale } => {
                let (cosine, sine, square) = (cos(omega * x), sin(omega * x), scale * scale);
                let even = 4.0 * square * square * x * x - 2.0 * square - omega * omega;
                (even * cosine + 4.0 * omega * square * x * sine) * exp(-square * x * x)
            }
            Self::Expression(expression) => expression.second_derivative(x),
        }
    }

    /// The points in the open range from `low` to `high` where the function, or a derivative of it, jumps; in
    /// ascending order. Those of an expression are searched for on a grid, so that pairs which lie very close
    /// together can be missed, and no more than about a thousand are listed.
    pub fn kinks(&self, low: f64, high: f64) -> Vec<f64> {
        let mut kinks = match self {
            Self::Relu
            | Self::LeakyRelu { .. }
            | Self::Prelu { .. }
            | Self::Elu { .. }
            | Self::Selu
            | Self::Celu { .. }
            | Self::Softsign
            | Self::ReluSquared
            | Self::Abs => vec![0.0],
            Self::Softplus { beta, threshold } => vec![threshold / beta],
            Self::HardSigmoid | Self::HardSwish => vec![-3.0, 3.0],
            Self::HardTanh { min, max } => vec![*min, *max],
            Self::Relu6 => vec![0.0, 6.0],
            Self::ShiftedRelu { tau } => vec![*tau],
            Self::ClippedShiftedRelu { tau, m } => vec![*tau, tau + m],
            // Without a threshold there is none at 0.
            Self::SoftThreshold { tau } if *tau > 0.0 => vec![-tau, *tau],
            Self::ClippedSoftThreshold { tau, m } if *tau > 0.0 => vec![-tau - m, -tau, *tau, tau + m],
            Self::ClippedSoftThreshold { m, .. } => vec![-m, *m],
            Self::Expression(expression) => return expression.kinks(low, high),
            Self::Identity
            | Self::Gelu
            | Self::GeluTanh
            | Self::QuickGelu
            | Self::Silu
            | Self::Mish
            | Self::Tanh
            | Self::Sigmoid
            | Self::Exp
            | Self::Sine { .. }
            | Self::Gaussian { .. }
            | Self::Sinc { .. }
            | Self::Wavelet { .. }
            | Self::SoftThreshold { .. } => Vec::new(),
        };
        kinks.retain(|kink| low < *kink && *kink < high);
        kinks
    }

    /// Where to cut the range from `low` to `high` before integrating over it: the kinks, and for a function that is
    /// narrow against the range points at which it turns, so that none of it is overlooked.
    pub(crate) fn cuts(&self, low: f64, high: f64) -> Vec<f64> {
        /// Width, as a share of the range, from which adaptive integration finds a bump by itself.
        const WIDE: f64 = 1e-3;
        let width = match self {
            Self::Gaussian { std } => *std,
            Self::Wavelet { scale, .. } => 1.0 / scale,
            Self::Sinc { omega } => 1.0 / omega,
            _ => return self.kinks(low, high),
        };
        let mut cuts = Vec::new();
        let mut distance = width;
        if width < WIDE * (high - low) {
            while distance < high.max(-low) && cuts.len() < 256 {
                cuts.extend([-distance, distance]);
                distance *= 2.0;
            }
        }
        cuts.retain(|cut| low < *cut && *cut < high);
        cuts
    }

    /// `omega` where the activation is `sin(omega x)`, by its name or as an expression.
    pub fn sine_omega(&self) -> Option<f64> {
        match self {
            Self::Sine { omega } => Some(*omega),
            Self::Expression(expression) => match expression.ops() {
                [Op::X, Op::Call(Function::Sin)] => Some(1.0),
                [Op::Number(omega), Op::X, Op::Mul, Op::Call(Function::Sin)]
                | [Op::X, Op::Number(omega), Op::Mul, Op::Call(Function::Sin)] => Some(*omega),
                _ => None,
            },
            _ => None,
        }
    }

    /// Value and derivative at 0, and whether there is a derivative.
    pub fn at_zero(&self) -> AtZero {
        let differentiable = match self {
            Self::Relu | Self::Selu | Self::Abs | Self::Relu6 => false,
            Self::LeakyRelu { slope } | Self::Prelu { slope } => *slope == 1.0,
            Self::Elu { alpha } => *alpha == 1.0,
            Self::Softplus { threshold, .. } => *threshold > 0.0,
            Self::HardTanh { min, max } => *min != 0.0 && *max != 0.0,
            Self::ShiftedRelu { tau } | Self::ClippedShiftedRelu { tau, .. } => *tau != 0.0,
            Self::Expression(expression) => return expression.at_zero(),
            _ => true,
        };
        AtZero { value: self.value(0.0), derivative: self.derivative(0.0), differentiable }
    }
}

/// `yes` above 0, `no` at and below; not a number stays so.
fn above(x: f64, yes: f64, no: f64) -> f64 {
    if x > 0.0 {
        yes
    } else if x.is_nan() {
        x
    } else {
        no
    }
}

/// As `f64::clamp`, for any ends.
fn clip(x: f64, min: f64, max: f64) -> f64 {
    if x < min {
        min
    } else if x > max {
        max
    } else {
        x
    }
}

/// What of `x` is beyond `tau` on either side, up to `most`.
fn beyond(x: f64, tau: f64, most: f64) -> f64 {
    clip(x - tau, 0.0, most) + clip(x + tau, -most, 0.0)
}

/// Derivative of [`beyond`]; with `tau` 0 there is no kink at 0.
fn outside(x: f64, tau: f64, most: f64) -> f64 {
    let size = x.abs();
    if x.is_nan() { x } else { f64::from((size > tau || tau == 0.0) && size < tau + most) }
}

/// 1 inside the open range, 0 elsewhere.
fn within(x: f64, min: f64, max: f64) -> f64 {
    if x.is_nan() { x } else { f64::from(min < x && x < max) }
}

/// `1 / (1 + exp(-x))`.
fn sigmoid(x: f64) -> f64 {
    if x < 0.0 {
        let e = exp(x);
        e / (1.0 + e)
    } else {
        1.0 / (1.0 + exp(-x))
    }
}

/// Derivative of [`sigmoid`].
fn sigmoid_slope(x: f64) -> f64 {
    let e = exp(-x.abs());
    e / ((1.0 + e) * (1.0 + e))
}

/// Second derivative of [`sigmoid`], `σ' (1 - 2σ)`, exact in the tails.
fn sigmoid_curve(x: f64) -> f64 {
    -sigmoid_slope(x) * tanh(0.5 * x)
}

/// Second derivative of `x σ(k x)`.
fn swish_curve(k: f64, x: f64) -> f64 {
    k * (2.0 * sigmoid_slope(k * x) + k * x * sigmoid_curve(k * x))
}

/// Derivative of tanh, `4 σ(2x) σ(-2x)`, exact in the tails.
fn tanh_slope(x: f64) -> f64 {
    4.0 * sigmoid_slope(2.0 * x)
}

/// `log(1 + exp(x))`.
fn softplus(x: f64) -> f64 {
    if x > 0.0 { x + log1p(exp(-x)) } else { log1p(exp(x)) }
}

/// The standard normal distribution function.
fn normal_cdf(x: f64) -> f64 {
    0.5 * erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// `t = tanh(softplus(x))` and `1 - t²`. With `w = e^x (e^x + 2)`, `t = w / (w + 2)`.
fn tanh_softplus(x: f64) -> (f64, f64) {
    if x > 20.0 {
        return (1.0, 0.0);
    }
    let e = exp(x);
    let w = e * (e + 2.0);
    (w / (w + 2.0), 4.0 * (w + 1.0) / ((w + 2.0) * (w + 2.0)))
}
