//! The two precisions, and functions of them that compilers make vectors of.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

use burn_backend::Element;

/// A real number of either precision.
///
/// Functions in single precision are polynomials (fitted to be best in the largest relative error, by Lawson's
/// iteration), right to about two units in the last place; those in double precision are `libm`'s.
pub(crate) trait Real:
    Element
    + bytemuck::Pod
    + PartialOrd
    + Sum
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + MulAssign
{
    const ZERO: Self;
    const ONE: Self;
    const LOWEST: Self;

    fn of(value: f64) -> Self;
    fn wide(self) -> f64;
    fn sqrt(self) -> Self;
    fn magnitude(self) -> Self;
    fn exp(self) -> Self;
    /// `exp(x) − 1`.
    fn exp_m1(self) -> Self;
    fn log(self) -> Self;
    /// `log(1 + x)` for `x` from 0 to 1.
    fn log_1p(self) -> Self;
    fn erf(self) -> Self;
    /// The standard normal distribution function.
    fn normal(self) -> Self;
    fn sin(self) -> Self;
    fn cos(self) -> Self;

    #[inline(always)]
    fn at_least(self, other: Self) -> Self {
        if self < other { other } else { self }
    }

    #[inline(always)]
    fn at_most(self, other: Self) -> Self {
        if self > other { other } else { self }
    }

    #[inline(always)]
    fn tanh(self) -> Self {
        // Beyond 20 it is one to either precision, and the exponential does not overflow.
        let e = (self.magnitude() + self.magnitude()).at_most(Self::of(40.0)).exp_m1();
        let size = e / (e + Self::of(2.0));
        if self < Self::ZERO { -size } else { size }
    }

    #[inline(always)]
    fn sinh(self) -> Self {
        let e = self.magnitude().exp_m1();
        let size = Self::of(0.5) * (e + e / (e + Self::ONE));
        if self < Self::ZERO { -size } else { size }
    }

    /// `log(1 + x)` for any `x` from 0.
    #[inline(always)]
    fn log_of_more(self) -> Self {
        let (near, far) = (self.at_most(Self::ONE).log_1p(), (self + Self::ONE).log());
        if self < Self::ONE { near } else { far }
    }

    #[inline(always)]
    fn asinh(self) -> Self {
        let x = self.magnitude();
        let size = (x + x * (x / ((x * x + Self::ONE).sqrt() + Self::ONE))).log_of_more();
        if self < Self::ZERO { -size } else { size }
    }

    #[inline(always)]
    fn artanh(self) -> Self {
        let x = self.magnitude();
        let size = Self::of(0.5) * ((x + x) / (Self::ONE - x)).log_of_more();
        if self < Self::ZERO { -size } else { size }
    }

    #[inline(always)]
    fn recip(self) -> Self {
        Self::ONE / self
    }

    #[inline(always)]
    fn sigmoid(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exp())
    }
}

/// `c₀ + c₁ x + …`
#[inline(always)]
fn polynomial<const N: usize>(x: f32, c: [f32; N]) -> f32 {
    let mut sum = c[N - 1];
    for at in (0..N - 1).rev() {
        sum = sum * x + c[at];
    }
    sum
}

/// `1.5 · 2²³`: adding it rounds to an integer, which is then in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Where the error function goes over from a polynomial to an exponential of one.
const NEAR: f32 = 0.93;

/// `erf(t)` for `|t|` up to [`NEAR`].
#[inline(always)]
fn erf_near(t: f32) -> f32 {
    const C: [f32; 7] = [
        std::f32::consts::FRAC_2_SQRT_PI,
        -0.376_126_32,
        0.112_836_63,
        -0.026_857_706,
        0.005_196_953_7,
        -0.000_809_771_65,
        8.185_137e-5,
    ];
    t * polynomial(t * t, C)
}

/// `1 − erf(t)` for `t` from [`NEAR`]; ends in zero.
#[inline(always)]
fn erfc_far(t: f32) -> f32 {
    const C: [f32; 9] = [
        -1.128_735_1,
        -0.634_681_34,
        -0.107_214_78,
        0.024_782_576,
        -0.004_220_155_5,
        0.000_499_769_87,
        -3.840_341_7e-5,
        1.706_457_7e-6,
        -3.310_138_3e-8,
    ];
    let t = t.at_most(15.0);
    Real::exp(t * polynomial(t, C))
}

/// Sine of `x` and a number of quarter turns. The turns are taken off in double precision, which is exact enough for any
/// number that is not so large that single precision itself is coarser than a turn.
#[inline(always)]
fn wave(x: f32, quarters: u64) -> f32 {
    /// `1.5 · 2⁵²`, as [`ROUND`].
    const ROUND: f64 = 6_755_399_441_055_744.0;
    const SINE: [f32; 4] = [-0.166_666_67, 0.008_333_33, -0.000_198_408_75, 2.752_556_2e-6];
    const COSINE: [f32; 4] = [-0.5, 0.041_666_642, -0.001_388_839_7, 2.476_009_5e-5];
    let wide = f64::from(x);
    let shifted = wide * std::f64::consts::FRAC_2_PI + ROUND;
    let r = (wide - (shifted - ROUND) * std::f64::consts::FRAC_PI_2) as f32;
    let quarter = shifted.to_bits().wrapping_add(quarters);
    let square = r * r;
    let sine = r + r * square * polynomial(square, SINE);
    let cosine = 1.0 + square * polynomial(square, COSINE);
    let value = if quarter & 1 == 0 { sine } else { cosine };
    if quarter & 2 == 0 { value } else { -value }
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const LOWEST: Self = Self::NEG_INFINITY;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value as Self
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        Self::sqrt(self)
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }

    /// `2ⁿ exp(r)` with `|r|` at most half of `ln 2` (Cody and Waite 1980).
    #[inline(always)]
    fn exp(self) -> Self {
        const C: [f32; 5] = [0.499_999_94, 0.166_665_15, 0.041_668_456, 0.008_369_419, 0.001_381_314_5];
        // Beyond these the result is zero or infinite.
        let x = self.at_least(-104.0).at_most(89.0);
        let shifted = x * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        let r = (x - n * 0.693_359_375) - n * -2.121_944_4e-4;
        let y = 1.0 + (r + r * r * polynomial(r, C));
        // In two factors: results below the smallest normal number are right, too.
        let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
        let half = n >> 1;
        let power = |n: i32| Self::from_bits((n.wrapping_add(127) << 23) as u32);
        y * power(half) * power(n.wrapping_sub(half))
    }

    #[inline(always)]
    fn exp_m1(self) -> Self {
        const C: [f32; 7] =
            [1.0 / 2.0, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0, 1.0 / 40320.0];
        let near = self + self * self * polynomial(self, C);
        let far = Real::exp(self) - 1.0;
        if self.abs() < 0.5 { near } else { far }
    }

    #[inline(always)]
    fn log(self) -> Self {
        libm::logf(self)
    }

    /// `2 artanh(x / (2 + x))`, by its series: the argument is a third at most.
    #[inline(always)]
    fn log_1p(self) -> Self {
        const C: [f32; 7] = [2.0, 2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0, 2.0 / 9.0, 2.0 / 11.0, 2.0 / 13.0];
        let s = self / (self + 2.0);
        s * polynomial(s * s, C)
    }

    #[inline(always)]
    fn erf(self) -> Self {
        let (near, far) = (erf_near(self), 1.0 - erfc_far(self.abs()));
        if self.abs() < NEAR { near } else { far.copysign(self) }
    }

    #[inline(always)]
    fn normal(self) -> Self {
        let t = self * std::f32::consts::FRAC_1_SQRT_2;
        let (near, tail) = (0.5 + 0.5 * erf_near(t), 0.5 * erfc_far(t.abs()));
        let far = if self < 0.0 { tail } else { 1.0 - tail };
        if t.abs() < NEAR { near } else { far }
    }

    #[inline(always)]
    fn sin(self) -> Self {
        wave(self, 0)
    }

    #[inline(always)]
    fn cos(self) -> Self {
        wave(self, 1)
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const LOWEST: Self = Self::NEG_INFINITY;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        Self::sqrt(self)
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }

    #[inline(always)]
    fn exp(self) -> Self {
        libm::exp(self)
    }

    #[inline(always)]
    fn exp_m1(self) -> Self {
        libm::expm1(self)
    }

    #[inline(always)]
    fn log(self) -> Self {
        libm::log(self)
    }

    #[inline(always)]
    fn log_1p(self) -> Self {
        libm::log1p(self)
    }

    #[inline(always)]
    fn erf(self) -> Self {
        libm::erf(self)
    }

    #[inline(always)]
    fn normal(self) -> Self {
        epoch0_num::special::normal_cdf(self)
    }

    #[inline(always)]
    fn sin(self) -> Self {
        libm::sin(self)
    }

    #[inline(always)]
    fn cos(self) -> Self {
        libm::cos(self)
    }
}
