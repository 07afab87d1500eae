//! Operations of an expression, on dual numbers.

use libm::{atan, cos, cosh, erf, exp, log, pow, sin, sinh, tan, tanh};

use crate::activation::{sigmoid, sigmoid_curve, sigmoid_slope, softplus, tanh_slope};

/// A value and its first two derivatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Dual {
    pub(super) value: f64,
    pub(super) slope: f64,
    pub(super) curve: f64,
}

impl Dual {
    /// `x` itself, moving by `slope`.
    pub(super) fn variable(value: f64, slope: f64) -> Self {
        Self { value, slope, curve: 0.0 }
    }
}

/// What is taken for the derivative at a kink.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ties {
    /// What frameworks take.
    Framework,
    /// The one on the side to which the argument moves, given by its slope.
    AlongSlope,
}

/// An operation: takes its operands from the stack and puts its result there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// A number.
    Number(f64),
    /// The argument.
    X,
    /// `−a`.
    Neg,
    /// `a + b`.
    Add,
    /// `a − b`.
    Sub,
    /// `a · b`.
    Mul,
    /// `a / b`.
    Div,
    /// A power with an exponent that does not depend on `x`.
    PowConst(f64),
    /// `a ^ b`.
    Pow,
    /// The smaller.
    Min,
    /// The larger.
    Max,
    /// A function of one argument.
    Call(Function),
}

/// A function of one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say all")]
pub enum Function {
    Exp,
    Log,
    Sqrt,
    Sin,
    Cos,
    Tan,
    Sinh,
    Cosh,
    Tanh,
    Atan,
    Sigmoid,
    Softplus,
    Erf,
    Relu,
    Abs,
    Sign,
}

impl Function {
    /// Functions and their names.
    pub(super) const ALL: &[(&str, Self)] = &[
        ("exp", Self::Exp),
        ("log", Self::Log),
        ("sqrt", Self::Sqrt),
        ("sin", Self::Sin),
        ("cos", Self::Cos),
        ("tan", Self::Tan),
        ("sinh", Self::Sinh),
        ("cosh", Self::Cosh),
        ("tanh", Self::Tanh),
        ("atan", Self::Atan),
        ("sigmoid", Self::Sigmoid),
        ("softplus", Self::Softplus),
        ("erf", Self::Erf),
        ("relu", Self::Relu),
        ("abs", Self::Abs),
        ("sign", Self::Sign),
    ];

    fn apply(self, a: Dual, ties: Ties) -> Dual {
        const TWO_OVER_SQRT_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI;
        let v = a.value;
        // The value and the function's own first two derivatives.
        let (value, first, second) = match self {
            Self::Exp => {
                let e = exp(v);
                (e, e, e)
            }
            Self::Log => (log(v), 1.0 / v, -1.0 / (v * v)),
            Self::Sqrt => (v.sqrt(), 0.5 / v.sqrt(), -0.25 / (v * v.sqrt())),
            Self::Sin => {
                let (s, c) = (sin(v), cos(v));
                (s, c, -s)
            }
            Self::Cos => {
                let (s, c) = (sin(v), cos(v));
                (c, -s, -c)
            }
            Self::Tan => {
                let t = tan(v);
                (t, 1.0 + t * t, 2.0 * t * (1.0 + t * t))
            }
            Self::Sinh => {
                let (s, c) = (sinh(v), cosh(v));
                (s, c, s)
            }
            Self::Cosh => {
                let (s, c) = (sinh(v), cosh(v));
                (c, s, c)
            }
            Self::Tanh => {
                let (t, slope) = (tanh(v), tanh_slope(v));
                (t, slope, -2.0 * t * slope)
            }
            Self::Atan => {
                let slope = 1.0 / (1.0 + v * v);
                (atan(v), slope, -2.0 * v * slope * slope)
            }
            Self::Sigmoid => (sigmoid(v), sigmoid_slope(v), sigmoid_curve(v)),
            Self::Softplus => (softplus(v), sigmoid(v), sigmoid_slope(v)),
            Self::Erf => {
                let slope = TWO_OVER_SQRT_PI * exp(-v * v);
                (erf(v), slope, -2.0 * v * slope)
            }
            Self::Relu => {
                let side = side(a, ties);
                (if v < 0.0 { 0.0 } else { v }, if side > 0.0 { 1.0 } else { side * 0.0 }, 0.0)
            }
            Self::Abs => (v.abs(), side(a, ties), 0.0),
            Self::Sign => (side(a, ties), 0.0, 0.0),
        };
        Dual { value, slope: first * a.slope, curve: second * a.slope * a.slope + first * a.curve }
    }
}

/// The sign of a number, or at 0 that of where it goes to.
fn side(a: Dual, ties: Ties) -> f64 {
    let sign = |v: f64| {
        if v > 0.0 {
            1.0
        } else if v < 0.0 {
            -1.0
        } else {
            v * 0.0
        }
    };
    if a.value == 0.0 && ties == Ties::AlongSlope { sign(a.slope) } else { sign(a.value) }
}

impl Op {
    /// How many numbers it takes.
    pub(super) fn operands(&self) -> usize {
        match self {
            Self::Number(_) | Self::X => 0,
            Self::Neg | Self::PowConst(_) | Self::Call(_) => 1,
            Self::Add | Self::Sub | Self::Mul | Self::Div | Self::Pow | Self::Min | Self::Max => 2,
        }
    }

    /// Whether it is not smooth, or has no value, where [`Op::kink_argument`] is 0.
    pub(super) fn has_kink(&self) -> bool {
        matches!(
            self,
            Self::Div | Self::Min | Self::Max | Self::Call(Function::Relu | Function::Abs | Function::Sign)
        )
    }

    /// What is 0 at the operation's kink.
    pub(super) fn kink_argument(&self, operands: &[Dual]) -> Option<f64> {
        match (self, operands) {
            _ if !self.has_kink() => None,
            (Self::Div, [_, divisor]) => Some(divisor.value),
            // Compared rather than subtracted: infinities that are equal do not differ.
            (_, [a, b]) if a.value == b.value => Some(0.0),
            (_, [a, b]) => Some(a.value - b.value),
            (_, [a]) => Some(a.value),
            _ => None,
        }
    }

    /// The result of the operation at `x`.
    pub(super) fn apply(&self, x: Dual, operands: &[Dual], ties: Ties) -> Dual {
        match (*self, operands) {
            (Self::Number(value), _) => Dual { value, slope: 0.0, curve: 0.0 },
            (Self::Neg, [a]) => Dual { value: -a.value, slope: -a.slope, curve: -a.curve },
            (Self::Add, [a, b]) => {
                Dual { value: a.value + b.value, slope: a.slope + b.slope, curve: a.curve + b.curve }
            }
            (Self::Sub, [a, b]) => {
                Dual { value: a.value - b.value, slope: a.slope - b.slope, curve: a.curve - b.curve }
            }
            (Self::Mul, [a, b]) => Dual {
                value: a.value * b.value,
                slope: a.slope * b.value + a.value * b.slope,
                curve: a.curve * b.value + 2.0 * a.slope * b.slope + a.value * b.curve,
            },
            (Self::Div, [a, b]) => {
                let value = a.value / b.value;
                let slope = (a.slope - value * b.slope) / b.value;
                Dual { value, slope, curve: (a.curve - 2.0 * slope * b.slope - value * b.curve) / b.value }
            }
            (Self::PowConst(exponent), [a]) => {
                let times = |factor: f64, power_of: f64| {
                    if factor == 0.0 { 0.0 } else { factor * power(a.value, power_of) }
                };
                let first = times(exponent, exponent - 1.0);
                let second = times(exponent * (exponent - 1.0), exponent - 2.0);
                Dual {
                    value: power(a.value, exponent),
                    slope: first * a.slope,
                    curve: second * a.slope * a.slope + first * a.curve,
                }
            }
            (Self::Pow, [a, b]) => {
                let value = pow(a.value, b.value);
                let log = log(a.value);
                let (by_exponent, mut first, mut second) =
                    (value * log * b.slope, 0.0, value * (log * log * b.slope * b.slope + log * b.curve));
                // A base that does not depend on x leaves only what comes from the exponent.
                if a.slope != 0.0 || a.curve != 0.0 {
                    let below = pow(a.value, b.value - 1.0);
                    let twice_below = (b.value - 1.0) * pow(a.value, b.value - 2.0);
                    first = b.value * below * a.slope;
                    second += 2.0 * b.slope * a.slope * below * (1.0 + b.value * log)
                        + b.value * (below * a.curve + twice_below * a.slope * a.slope);
                }
                Dual { value, slope: first + by_exponent, curve: second }
            }
            (Self::Min, [a, b]) => extremum(*a, *b, -1.0, ties),
            (Self::Max, [a, b]) => extremum(*a, *b, 1.0, ties),
            (Self::Call(function), [a]) => function.apply(*a, ties),
            _ => x,
        }
    }
}

/// `a^b`, with short ways for the exponents that are used most.
fn power(a: f64, b: f64) -> f64 {
    if b == 1.0 {
        a
    } else if b == 2.0 {
        a * a
    } else if b == 3.0 {
        a * a * a
    } else {
        pow(a, b)
    }
}

/// The larger of both for `direction` 1, the smaller for -1.
fn extremum(a: Dual, b: Dual, direction: f64, ties: Ties) -> Dual {
    let ahead = direction * (a.value - b.value);
    if ahead > 0.0 {
        a
    } else if ahead < 0.0 {
        b
    } else if a.value == b.value {
        let slope = match ties {
            Ties::Framework => 0.5 * (a.slope + b.slope),
            Ties::AlongSlope if direction * (a.slope - b.slope) > 0.0 => a.slope,
            Ties::AlongSlope => b.slope,
        };
        Dual { value: a.value, slope, curve: 0.5 * (a.curve + b.curve) }
    } else {
        Dual { value: f64::NAN, slope: f64::NAN, curve: f64::NAN }
    }
}
