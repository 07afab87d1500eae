//! Activations, as `epoch0_num` defines them. Derivatives at kinks are those that torch takes.

use epoch0_num::Activation;
use epoch0_num::activation::{Expression, Function, Op};

use crate::host::curve::{self, QUICK, SELU_ALPHA, SELU_SCALE, SQRT_2_OVER_PI};
use crate::primitive::fused::{Fuse, Fused};
use crate::var::Var;
use crate::{Mask, Tensor};

impl Fuse for Activation {
    fn define(&self, inputs: &[Var]) -> Var {
        define(self, &inputs[0])
    }

    fn value(&self, inputs: &[&Tensor]) -> Option<Tensor> {
        curve::value(self, inputs[0])
    }

    fn pull(
        &self,
        inputs: &[&Tensor],
        _: &Tensor,
        cotangent: &Tensor,
        _: &[bool],
    ) -> Option<Vec<Option<Tensor>>> {
        Some(vec![Some(curve::pull(self, inputs[0], cotangent)?)])
    }
}

fn at_most(x: &Var, bound: f64) -> Mask {
    x.value().lower_equal(bound)
}

/// `x` above zero, `below` elsewhere.
fn above(x: &Var, below: &Var) -> Var {
    x.choose(&at_most(x, 0.0), below)
}

fn relu(x: &Var) -> Var {
    x.clear(&at_most(x, 0.0))
}

/// `min(x, 0)`: exponentials of it do not overflow.
fn negative(x: &Var) -> Var {
    x.clear(&x.value().greater(0.0))
}

fn clip(x: &Var, min: f64, max: f64) -> Var {
    x.fill(&at_most(x, min), min).fill(&x.value().greater_equal(max), max)
}

/// `1 / (1 + exp(−x))`, by the tangent, which overflows nowhere.
fn sigmoid(x: &Var) -> Var {
    x.scale(0.5).tanh().scale(0.5).add_scalar(0.5)
}

/// `log(1 + exp(x))`.
fn softplus(x: &Var) -> Var {
    // Each side from a number that its exponential does not overflow for.
    let (above, below) = (relu(x), negative(x));
    let above = above.add(&above.neg().exp().add_scalar(1.0).log());
    above.choose(&at_most(x, 0.0), &below.exp().add_scalar(1.0).log())
}

fn elu(x: &Var, alpha: f64, width: f64) -> Var {
    above(x, &negative(x).scale(1.0 / width).exp().add_scalar(-1.0).scale(alpha))
}

/// `sin(u) / u`; near 0 by its series, of which derivatives can be taken.
fn sinc(u: &Var) -> Var {
    let is_small = u.value().abs().lower_equal(0.25);
    let square = u.square();
    // 1 - u²/6 (1 - u²/20 (1 - u²/42 …)), as far as doubles have digits.
    let mut series = Var::constant(u.value().full_like(1.0, &u.shape()));
    for k in (1..=7).rev() {
        let divisor = f64::from(2 * k) * f64::from(2 * k + 1);
        series = square.mul(&series).scale(-1.0 / divisor).add_scalar(1.0);
    }
    let away = u.fill(&is_small, 1.0);
    away.sin().div(&away).choose(&is_small, &series)
}

fn define(activation: &Activation, x: &Var) -> Var {
    match activation {
        Activation::Identity => x.clone(),
        Activation::Relu => relu(x),
        Activation::LeakyRelu { slope } | Activation::Prelu { slope } => above(x, &x.scale(*slope)),
        Activation::Elu { alpha } => elu(x, *alpha, 1.0),
        Activation::Selu => elu(x, SELU_ALPHA, 1.0).scale(SELU_SCALE),
        Activation::Celu { alpha } => elu(x, *alpha, *alpha),
        Activation::Gelu => {
            let cdf = x.scale(std::f64::consts::FRAC_1_SQRT_2).erf().add_scalar(1.0).scale(0.5);
            x.mul(&cdf)
        }
        Activation::GeluTanh => {
            let cubic = x.mul(&x.square().scale(0.044715).add_scalar(1.0)).scale(SQRT_2_OVER_PI);
            x.mul(&cubic.tanh().add_scalar(1.0).scale(0.5))
        }
        Activation::QuickGelu => x.mul(&sigmoid(&x.scale(QUICK))),
        Activation::Silu => x.mul(&sigmoid(x)),
        Activation::Mish => x.mul(&softplus(x).tanh()),
        Activation::Softplus { beta, threshold } => {
            let scaled = x.scale(*beta);
            softplus(&scaled).scale(1.0 / beta).choose(&scaled.value().greater(*threshold), x)
        }
        Activation::Softsign => x.div(&x.abs().add_scalar(1.0)),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => sigmoid(x),
        Activation::HardSigmoid => clip(&x.add_scalar(3.0), 0.0, 6.0).scale(1.0 / 6.0),
        Activation::HardSwish => x.mul(&clip(&x.add_scalar(3.0), 0.0, 6.0)).scale(1.0 / 6.0),
        Activation::HardTanh { min, max } => clip(x, *min, *max),
        Activation::Relu6 => clip(x, 0.0, 6.0),
        Activation::ReluSquared => relu(x).square(),
        Activation::Abs => x.abs(),
        Activation::Exp => x.exp(),
        Activation::Sine { omega } => x.scale(*omega).sin(),
        Activation::Gaussian { std } => x.square().scale(-0.5 / (std * std)).exp(),
        Activation::Sinc { omega } => sinc(&x.scale(*omega)),
        Activation::Wavelet { omega, scale } => {
            x.scale(*omega).cos().mul(&x.square().scale(-scale * scale).exp())
        }
        Activation::ShiftedRelu { tau } => relu(&x.add_scalar(-tau)),
        Activation::ClippedShiftedRelu { tau, m } => clip(&x.add_scalar(-tau), 0.0, *m),
        // Without a threshold there is no kink at 0.
        Activation::SoftThreshold { tau } if *tau == 0.0 => x.clone(),
        Activation::ClippedSoftThreshold { tau, m } if *tau == 0.0 => clip(x, -m, *m),
        Activation::SoftThreshold { tau } => relu(&x.add_scalar(-tau)).sub(&relu(&x.neg().add_scalar(-tau))),
        Activation::ClippedSoftThreshold { tau, m } => {
            clip(&x.add_scalar(-tau), 0.0, *m).add(&clip(&x.add_scalar(*tau), -m, 0.0))
        }
        Activation::Expression(expression) => evaluate(expression, x),
        _ => unreachable!("an activation that the engine does not know"),
    }
}

/// Runs the machine with a stack on whole arrays.
fn evaluate(expression: &Expression, x: &Var) -> Var {
    let number = |value: f64| Var::constant(x.value().full_like(value, &x.shape()));
    let mut stack: Vec<Var> = Vec::new();
    for op in expression.ops() {
        let mut pop = || stack.pop().expect("an expression is complete");
        let result = match op {
            Op::Number(value) => number(*value),
            Op::X => x.clone(),
            Op::Neg => pop().neg(),
            Op::PowConst(power) => pop().powf(*power),
            Op::Call(function) => call(*function, &pop()),
            Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Pow | Op::Min | Op::Max => {
                let (b, a) = (pop(), pop());
                match op {
                    Op::Add => a.add(&b),
                    Op::Sub => a.sub(&b),
                    Op::Mul => a.mul(&b),
                    Op::Div => a.div(&b),
                    Op::Pow => b.mul(&a.log()).exp(),
                    Op::Min => a.minimum(&b),
                    _ => a.maximum(&b),
                }
            }
        };
        stack.push(result);
    }
    stack.pop().expect("an expression has a value")
}

fn call(function: Function, x: &Var) -> Var {
    match function {
        Function::Exp => x.exp(),
        Function::Log => x.log(),
        Function::Sqrt => x.sqrt(),
        Function::Sin => x.sin(),
        Function::Cos => x.cos(),
        Function::Tan => x.sin().div(&x.cos()),
        Function::Sinh => x.exp().sub(&x.neg().exp()).scale(0.5),
        Function::Cosh => x.exp().add(&x.neg().exp()).scale(0.5),
        Function::Tanh => x.tanh(),
        Function::Atan => x.atan(),
        Function::Sigmoid => sigmoid(x),
        Function::Softplus => softplus(x),
        Function::Erf => x.erf(),
        Function::Relu => relu(x),
        Function::Abs => x.abs(),
        Function::Sign => Var::constant(x.value().sign()),
    }
}

impl Var {
    /// An activation, element by element.
    #[must_use]
    pub fn activation(&self, activation: &Activation) -> Self {
        match activation {
            Activation::Identity => self.clone(),
            _ => Self::apply(Fused(activation.clone()), &[self]),
        }
    }

    /// Rectifier.
    #[must_use]
    pub fn relu(&self) -> Self {
        self.activation(&Activation::Relu)
    }

    /// `1 / (1 + exp(−x))`.
    #[must_use]
    pub fn sigmoid(&self) -> Self {
        self.activation(&Activation::Sigmoid)
    }

    /// The larger of two, element by element; broadcasts. Where they are equal each has half of the derivative.
    #[must_use]
    pub fn maximum(&self, other: &Self) -> Self {
        let one = self.choose(&self.value().lower(other.value()), other);
        let two = other.choose(&other.value().lower(self.value()), self);
        one.add(&two).scale(0.5)
    }

    /// The smaller of two, element by element; broadcasts. Where they are equal each has half of the derivative.
    #[must_use]
    pub fn minimum(&self, other: &Self) -> Self {
        self.neg().maximum(&other.neg()).neg()
    }

    /// Kept within bounds; nothing passes at and beyond them.
    #[must_use]
    pub fn clip(&self, min: f64, max: f64) -> Self {
        clip(self, min, max)
    }
}
