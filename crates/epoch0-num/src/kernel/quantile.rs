//! The normal quantile in f64, without a platform's mathematics library: part of what fixes the bits of a draw.
//!
//! Coefficients: M. J. Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution", Applied
//! Statistics 37 (1988) 477-484, routine PPND16 (relative error about 1e-16).

/// Half the width of the central interval of probabilities.
pub(crate) const CENTRAL: f64 = 0.425;

const A: [f64; 8] = [
    3.3871328727963666080,
    1.3314166789178437745e2,
    1.9715909503065514427e3,
    1.3731693765509461125e4,
    4.5921953931549871457e4,
    6.7265770927008700853e4,
    3.3430575583588128105e4,
    2.5090809287301226727e3,
];
const B: [f64; 8] = [
    1.0,
    4.2313330701600911252e1,
    6.8718700749205790830e2,
    5.3941960214247511077e3,
    2.1213794301586595867e4,
    3.9307895800092710610e4,
    2.8729085735721942674e4,
    5.2264952788528545610e3,
];
const C: [f64; 8] = [
    1.42343711074968357734,
    4.63033784615654529590,
    5.76949722146069140550,
    3.64784832476320460504,
    1.27045825245236838258,
    2.41780725177450611770e-1,
    2.27238449892691845833e-2,
    7.74545014278341407640e-4,
];
const D: [f64; 8] = [
    1.0,
    2.05319162663775882187,
    1.67638483018380384940,
    6.89767334985100004550e-1,
    1.48103976427480074590e-1,
    1.51986665636164571966e-2,
    5.47593808499534494600e-4,
    1.05075007164441684324e-9,
];
const E: [f64; 8] = [
    6.65790464350110377720,
    5.46378491116411436990,
    1.78482653991729133580,
    2.96560571828504891230e-1,
    2.65321895265761230930e-2,
    1.24266094738807843860e-3,
    2.71155556874348757815e-5,
    2.01033439929228813265e-7,
];
const F: [f64; 8] = [
    1.0,
    5.99832206555887937690e-1,
    1.36929880922735805310e-1,
    1.48753612908506148525e-2,
    7.86869131145613259100e-4,
    1.84631831751005468180e-5,
    1.42151175831644588870e-7,
    2.04426310338993978564e-15,
];

#[inline(always)]
fn horner(coefficients: &[f64; 8], x: f64) -> f64 {
    let mut sum = coefficients[7];
    for i in (0..7).rev() {
        sum = sum * x + coefficients[i];
    }
    sum
}

/// Quantile of the probability 1/2 + p, for |p| ≤ [`CENTRAL`].
#[inline(always)]
pub(crate) fn central(p: f64) -> f64 {
    let r = 0.180625 - p * p;
    p * (horner(&A, r) / horner(&B, r))
}

/// The value that a standard normal exceeds with probability `q`, for 0 < q ≤ 1/2. The precision is relative to `q`,
/// so it holds however far out in the tail.
pub(crate) fn upper(q: f64) -> f64 {
    if 0.5 - q <= CENTRAL {
        return central(0.5 - q);
    }
    let r = (-ln(q)).sqrt();
    if r <= 5.0 {
        horner(&C, r - 1.6) / horner(&D, r - 1.6)
    } else {
        horner(&E, r - 5.0) / horner(&F, r - 5.0)
    }
}

/// Natural logarithm of a positive normal number: ln(2^e m) = e ln 2 + 2 artanh((m - 1) / (m + 1)) with m between √½
/// and √2, and artanh by its Taylor series, whose twelfth term is below 2^-60 there.
pub(crate) fn ln(x: f64) -> f64 {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    let above = x.to_bits().wrapping_sub(SQRT_HALF);
    let exponent = (above as i64 >> 52) as f64;
    let m = f64::from_bits((above & 0x000f_ffff_ffff_ffff) + SQRT_HALF);
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let mut sum = 1.0 / 23.0;
    for i in (0..11).rev() {
        sum = sum * square + 1.0 / f64::from(2 * i + 1);
    }
    exponent * std::f64::consts::LN_2 + 2.0 * s * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_is_right() {
        for i in 0..200_000 {
            let x = libm::exp(-700.0 + f64::from(i) * 0.00701);
            let want = libm::log(x);
            assert!((ln(x) - want).abs() <= 4e-16 * want.abs().max(0.5), "ln({x}) = {}, want {want}", ln(x));
        }
    }

    #[test]
    fn quantile_inverts_the_tail() {
        // d ln Q / dz = -z - O(1/z), so an error of 1 ulp in z is one of z² ulp in Q.
        for i in 0..4000 {
            let z = f64::from(i) * 0.009;
            let q = 0.5 * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2);
            let got = upper(q);
            assert!((got - z).abs() <= 1e-15 * (1.0 + z), "upper({q}) = {got}, want {z}");
        }
    }
}
