//! Activations and other functions of one number, with their slopes.

use burn_backend::ops::FloatTensorOps;
use burn_dispatch::Dispatch;
use epoch0_num::Activation;

use super::{Function, Function2, Real, map, map2};
use crate::Tensor;

/// A function of one number and its derivative; at kinks that which torch takes.
trait Curve: Sync {
    fn value<T: Real>(&self, x: T) -> T;
    fn slope<T: Real>(&self, x: T) -> T;
}

struct Value<C>(C);

impl<C: Curve> Function for Value<C> {
    #[inline(always)]
    fn at<T: Real>(&self, x: T) -> T {
        self.0.value(x)
    }
}

struct Pull<C>(C);

impl<C: Curve> Function2 for Pull<C> {
    #[inline(always)]
    fn at<T: Real>(&self, x: T, cotangent: T) -> T {
        cotangent * self.0.slope(x)
    }
}

/// The activation of every element.
pub(crate) fn value(activation: &Activation, x: &Tensor) -> Option<Tensor> {
    run(activation, x, None)
}

/// Cotangent times the activation's slope.
pub(crate) fn pull(activation: &Activation, x: &Tensor, cotangent: &Tensor) -> Option<Tensor> {
    run(activation, x, Some(cotangent))
}

fn draw(curve: impl Curve, x: &Tensor, cotangent: Option<&Tensor>) -> Option<Tensor> {
    match cotangent {
        Some(cotangent) => map2(x, cotangent, &Pull(curve)),
        None => map(x, &Value(curve)),
    }
}

fn run(activation: &Activation, x: &Tensor, cotangent: Option<&Tensor>) -> Option<Tensor> {
    match *activation {
        Activation::Relu => draw(Relu, x, cotangent),
        Activation::LeakyRelu { slope } | Activation::Prelu { slope } => draw(Leaky(slope), x, cotangent),
        Activation::Elu { alpha } => draw(Elu { alpha, width: 1.0, scale: 1.0 }, x, cotangent),
        Activation::Selu => draw(Elu { alpha: SELU_ALPHA, width: 1.0, scale: SELU_SCALE }, x, cotangent),
        Activation::Celu { alpha } => draw(Elu { alpha, width: alpha, scale: 1.0 }, x, cotangent),
        Activation::Gelu => draw(Gelu, x, cotangent),
        Activation::GeluTanh => draw(GeluTanh, x, cotangent),
        Activation::QuickGelu => draw(Swish(QUICK), x, cotangent),
        Activation::Silu => draw(Swish(1.0), x, cotangent),
        Activation::Mish => draw(Mish, x, cotangent),
        Activation::Tanh => draw(Tanh, x, cotangent),
        Activation::Sigmoid => draw(Sigmoid, x, cotangent),
        Activation::HardSigmoid => draw(HardSigmoid, x, cotangent),
        Activation::HardSwish => draw(HardSwish, x, cotangent),
        Activation::HardTanh { min, max } => draw(Clip(min, max), x, cotangent),
        Activation::Relu6 => draw(Clip(0.0, 6.0), x, cotangent),
        Activation::Exp => draw(Power, x, cotangent),
        Activation::Softplus { beta, threshold } => draw(Softplus { beta, threshold }, x, cotangent),
        Activation::Softsign => draw(Softsign, x, cotangent),
        Activation::ReluSquared => draw(ReluSquared, x, cotangent),
        Activation::Abs => draw(Size, x, cotangent),
        Activation::Sine { omega } => draw(Sine(omega), x, cotangent),
        Activation::Gaussian { std } => draw(Bell(-0.5 / (std * std)), x, cotangent),
        Activation::Wavelet { omega, scale } => draw(Wavelet(omega, -scale * scale), x, cotangent),
        Activation::ShiftedRelu { tau } => draw(Beyond(tau, f64::INFINITY), x, cotangent),
        Activation::ClippedShiftedRelu { tau, m } => draw(Beyond(tau, m), x, cotangent),
        // Without a threshold there is no kink at 0: what is left takes the general way.
        Activation::SoftThreshold { tau } if tau > 0.0 => draw(Outside(tau, f64::INFINITY), x, cotangent),
        Activation::ClippedSoftThreshold { tau, m } if tau > 0.0 => draw(Outside(tau, m), x, cotangent),
        _ => draw(Any(activation), x, cotangent),
    }
}

macro_rules! plain {
    ($($name:ident, $method:ident => $elsewhere:ident,)*) => {
        $(
            struct $name;

            impl Function for $name {
                #[inline(always)]
                fn at<T: Real>(&self, x: T) -> T {
                    Real::$method(x)
                }
            }
        )*

        impl Tensor {
            $(pub(crate) fn $method(&self) -> Self {
                map(self, &$name).unwrap_or_else(|| Self(Dispatch::$elsewhere(self.0.clone())))
            })*
        }
    };
}

plain! {
    Exp, exp => float_exp,
    Log, log => float_log,
    Erf, erf => float_erf,
    TanhOf, tanh => float_tanh,
    SinhOf, sinh => float_sinh,
    AsinhOf, asinh => float_asinh,
    ArtanhOf, artanh => float_atanh,
    Sin, sin => float_sin,
    Cos, cos => float_cos,
    Root, sqrt => float_sqrt,
    Inverse, recip => float_recip,
}

pub(crate) const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
pub(crate) const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
pub(crate) const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
pub(crate) const QUICK: f64 = 1.702;
/// `1 / √(2π)`.
const BELL: f64 = 0.398_942_280_401_432_7;
const CUBIC: f64 = 0.044715;

struct Relu;

impl Curve for Relu {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        if x <= T::ZERO { T::ZERO } else { x }
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        if x <= T::ZERO { T::ZERO } else { T::ONE }
    }
}

struct Leaky(f64);

impl Curve for Leaky {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        if x <= T::ZERO { x * T::of(self.0) } else { x }
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        if x <= T::ZERO { T::of(self.0) } else { T::ONE }
    }
}

/// `scale · x` above zero, `scale · alpha · (exp(x / width) − 1)` below.
struct Elu {
    alpha: f64,
    width: f64,
    scale: f64,
}

impl Curve for Elu {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        let below = (x * T::of(1.0 / self.width)).exp_m1() * T::of(self.scale * self.alpha);
        if x <= T::ZERO { below } else { x * T::of(self.scale) }
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        let below = (x * T::of(1.0 / self.width)).exp() * T::of(self.scale * self.alpha / self.width);
        if x <= T::ZERO { below } else { T::of(self.scale) }
    }
}

struct Gelu;

impl Curve for Gelu {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        x * x.normal()
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        x.normal() + x * (x * x * T::of(-0.5)).exp() * T::of(BELL)
    }
}

struct GeluTanh;

impl Curve for GeluTanh {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        let inner = x * (T::ONE + x * x * T::of(CUBIC)) * T::of(2.0 * SQRT_2_OVER_PI);
        x * inner.sigmoid()
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        let square = x * x;
        let inner = x * (T::ONE + square * T::of(CUBIC)) * T::of(2.0 * SQRT_2_OVER_PI);
        let slope = (T::ONE + square * T::of(3.0 * CUBIC)) * T::of(2.0 * SQRT_2_OVER_PI);
        let (gate, gate_slope) = gate(inner);
        gate + x * gate_slope * slope
    }
}

/// The sigmoid and its derivative, small where they are, too.
#[inline(always)]
fn gate<T: Real>(x: T) -> (T, T) {
    let e = (-x.magnitude()).exp();
    let above = T::ONE / (T::ONE + e);
    let below = e * above;
    (if x < T::ZERO { below } else { above }, below * above)
}

/// `x σ(k x)`.
struct Swish(f64);

impl Curve for Swish {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        x / (T::ONE + (x * T::of(-self.0)).exp())
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        let inner = x * T::of(self.0);
        let (gate, slope) = gate(inner);
        gate + inner * slope
    }
}

struct Mish;

impl Curve for Mish {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        // tanh(log(1 + e)) = e (e + 2) / (e (e + 2) + 2); from 20 it is one.
        let e = x.at_most(T::of(20.0)).exp();
        let n = e * (e + T::of(2.0));
        x * (n / (n + T::of(2.0)))
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        let e = x.at_most(T::of(20.0)).exp();
        let n = e * (e + T::of(2.0));
        let below = T::ONE / (n + T::of(2.0));
        // 1 − tanh² is 4 (e + 1)² / (n + 2)², the sigmoid e / (1 + e).
        n * below + x * T::of(4.0) * e * (e + T::ONE) * below * below
    }
}

struct Tanh;

impl Curve for Tanh {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        x.tanh()
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        gate(x + x).1 * T::of(4.0)
    }
}

struct Sigmoid;

impl Curve for Sigmoid {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        x.sigmoid()
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        gate(x).1
    }
}

struct Clip(f64, f64);

impl Curve for Clip {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        x.at_least(T::of(self.0)).at_most(T::of(self.1))
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        // Two choices rather than one of either condition, so that there is no branch.
        let below = if x >= T::of(self.1) { T::ZERO } else { T::ONE };
        if x <= T::of(self.0) { T::ZERO } else { below }
    }
}

struct HardSigmoid;

impl Curve for HardSigmoid {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        (x + T::of(3.0)).at_least(T::ZERO).at_most(T::of(6.0)) * T::of(1.0 / 6.0)
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        Clip(-3.0, 3.0).slope(x) * T::of(1.0 / 6.0)
    }
}

struct HardSwish;

impl Curve for HardSwish {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        x * HardSigmoid.value(x)
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        let within = x * T::of(1.0 / 3.0) + T::of(0.5);
        let above = if x >= T::of(3.0) { T::ONE } else { within };
        if x <= T::of(-3.0) { T::ZERO } else { above }
    }
}

/// `exp(x)`.
struct Power;

impl Curve for Power {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        x.exp()
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        x.exp()
    }
}

struct Softplus {
    beta: f64,
    threshold: f64,
}

impl Curve for Softplus {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        let inner = x * T::of(self.beta);
        let soft = (inner.at_least(T::ZERO) + (-inner.magnitude()).exp().log_1p()) * T::of(1.0 / self.beta);
        if inner > T::of(self.threshold) { x } else { soft }
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        let inner = x * T::of(self.beta);
        let soft = inner.sigmoid();
        if inner > T::of(self.threshold) { T::ONE } else { soft }
    }
}

struct Softsign;

impl Curve for Softsign {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        x / (T::ONE + x.magnitude())
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        let by = T::ONE / (T::ONE + x.magnitude());
        by * by
    }
}

struct ReluSquared;

impl Curve for ReluSquared {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        Relu.value(x) * x
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        Relu.value(x) * T::of(2.0)
    }
}

/// `|x|`.
struct Size;

impl Curve for Size {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        x.magnitude()
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        let above = if x > T::ZERO { T::ONE } else { T::ZERO };
        if x < T::ZERO { -T::ONE } else { above }
    }
}

struct Sine(f64);

impl Curve for Sine {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        (x * T::of(self.0)).sin()
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        (x * T::of(self.0)).cos() * T::of(self.0)
    }
}

/// `exp(c x²)`.
struct Bell(f64);

impl Curve for Bell {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        (x * x * T::of(self.0)).exp()
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        self.value(x) * x * T::of(2.0 * self.0)
    }
}

/// `cos(ω x) exp(c x²)`.
struct Wavelet(f64, f64);

impl Curve for Wavelet {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        (x * T::of(self.0)).cos() * Bell(self.1).value(x)
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        let inner = x * T::of(self.0);
        (inner.cos() * x * T::of(2.0 * self.1) - inner.sin() * T::of(self.0)) * Bell(self.1).value(x)
    }
}

/// What of `x` is above a threshold, up to a bound.
struct Beyond(f64, f64);

impl Curve for Beyond {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        (x - T::of(self.0)).at_least(T::ZERO).at_most(T::of(self.1))
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        Clip(0.0, self.1).slope(x - T::of(self.0))
    }
}

/// The same on either side of zero, for a threshold above 0.
struct Outside(f64, f64);

impl Curve for Outside {
    #[inline(always)]
    fn value<T: Real>(&self, x: T) -> T {
        let above = Beyond(self.0, self.1);
        above.value(x) - above.value(-x)
    }

    #[inline(always)]
    fn slope<T: Real>(&self, x: T) -> T {
        Beyond(self.0, self.1).slope(x.magnitude())
    }
}

/// In double precision, one by one.
struct Any<'a>(&'a Activation);

impl Curve for Any<'_> {
    fn value<T: Real>(&self, x: T) -> T {
        T::of(self.0.value(x.wide()))
    }

    fn slope<T: Real>(&self, x: T) -> T {
        T::of(self.0.derivative(x.wide()))
    }
}
