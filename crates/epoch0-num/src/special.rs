//! Elementary functions and those of the normal distribution, in f64.
//!
//! They rest on the `libm` crate, which is the same code on every platform.

use std::f64::consts::FRAC_1_SQRT_2;

use crate::kernel::quantile;

/// 1/√(2π).
pub(crate) const INV_SQRT_2PI: f64 = 0.398_942_280_401_432_7;

/// The error function erf(x) = 2/√π ∫₀ˣ exp(-t²) dt.
pub fn erf(x: f64) -> f64 {
    libm::erf(x)
}

/// The complementary error function 1 - erf(x), precise in relative terms for large x too.
pub fn erfc(x: f64) -> f64 {
    libm::erfc(x)
}

/// The natural logarithm.
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// `ln(1 + x)`, precise in relative terms for small `x` too.
pub fn ln_1p(x: f64) -> f64 {
    libm::log1p(x)
}

/// The exponential function.
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// The cosine of an angle in radians.
pub fn cos(x: f64) -> f64 {
    libm::cos(x)
}

/// The sine of an angle in radians.
pub fn sin(x: f64) -> f64 {
    libm::sin(x)
}

/// `exp(x) - 1`, precise in relative terms for small `x` too.
pub fn exp_m1(x: f64) -> f64 {
    libm::expm1(x)
}

/// Density of the standard normal distribution.
pub fn normal_pdf(z: f64) -> f64 {
    INV_SQRT_2PI * libm::exp(-0.5 * z * z)
}

/// Probability that a standard normal variable is at most `z`.
pub fn normal_cdf(z: f64) -> f64 {
    0.5 * erfc(-z * FRAC_1_SQRT_2)
}

/// Probability that a standard normal variable exceeds `z`: 1 - [`normal_cdf`], precise in relative terms.
pub fn normal_sf(z: f64) -> f64 {
    0.5 * erfc(z * FRAC_1_SQRT_2)
}

/// The `z` that has [`normal_cdf`] `p`: infinite for 0 and 1, NaN outside of `[0, 1]`.
pub fn normal_quantile(p: f64) -> f64 {
    match p {
        0.0 => f64::NEG_INFINITY,
        1.0 => f64::INFINITY,
        _ if p > 0.0 && p <= 0.5 => -quantile::upper(p),
        _ if p > 0.5 && p < 1.0 => quantile::upper(1.0 - p),
        _ => f64::NAN,
    }
}
