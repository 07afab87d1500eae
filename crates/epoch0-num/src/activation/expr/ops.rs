//! Operations of an expression, on dual numbers.

use libm::{atan, cos, cosh, erf, exp, log, pow, sin, sinh, tan, tanh};

use crate::activation::{sigmoid, sigmoid_slope, softplus, tanh_slope};

/// A value and its derivative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Dual {
    pub(super) value: f64,
    pub(super) slope: f64,
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
        // The value and the factor on the argument's slope.
        let (value, factor) = match self {
            Self::Exp => (exp(v), exp(v)),
            Self::Log => (log(v), 1.0 / v),
            Self::Sqrt => (v.sqrt(), 0.5 / v.sqrt()),
            Self::Sin => (sin(v), cos(v)),
            Self::Cos => (cos(v), -sin(v)),
            Self::Tan => (tan(v), 1.0 + tan(v) * tan(v)),
            Self::Sinh => (sinh(v), cosh(v)),
            Self::Cosh => (cosh(v), sinh(v)),
            Self::Tanh => (tanh(v), tanh_slope(v)),
            Self::Atan => (atan(v), 1.0 / (1.0 + v * v)),
            Self::Sigmoid => (sigmoid(v), sigmoid_slope(v)),
            Self::Softplus => (softplus(v), sigmoid(v)),
            Self::Erf => (erf(v), TWO_OVER_SQRT_PI * exp(-v * v)),
            Self::Relu => {
                let side = side(a, ties);
                (if v < 0.0 { 0.0 } else { v }, if side > 0.0 { 1.0 } else { side * 0.0 })
            }
            Self::Abs => (v.abs(), side(a, ties)),
            Self::Sign => (side(a, ties), 0.0),
        };
        Dual { value, slope: factor * a.slope }
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
            (Self::Number(value), _) => Dual { value, slope: 0.0 },
            (Self::Neg, [a]) => Dual { value: -a.value, slope: -a.slope },
            (Self::Add, [a, b]) => Dual { value: a.value + b.value, slope: a.slope + b.slope },
            (Self::Sub, [a, b]) => Dual { value: a.value - b.value, slope: a.slope - b.slope },
            (Self::Mul, [a, b]) => {
                Dual { value: a.value * b.value, slope: a.slope * b.value + a.value * b.slope }
            }
            (Self::Div, [a, b]) => {
                let value = a.value / b.value;
                Dual { value, slope: (a.slope - value * b.slope) / b.value }
            }
            (Self::PowConst(exponent), [a]) => {
                let factor = if exponent == 0.0 { 0.0 } else { exponent * power(a.value, exponent - 1.0) };
                Dual { value: power(a.value, exponent), slope: factor * a.slope }
            }
            (Self::Pow, [a, b]) => {
                let value = pow(a.value, b.value);
                // A base that does not depend on x leaves only the second term.
                let first =
                    if a.slope == 0.0 { 0.0 } else { b.value * pow(a.value, b.value - 1.0) * a.slope };
                Dual { value, slope: first + value * log(a.value) * b.slope }
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
        Dual { value: a.value, slope }
    } else {
        Dual { value: f64::NAN, slope: f64::NAN }
    }
}
