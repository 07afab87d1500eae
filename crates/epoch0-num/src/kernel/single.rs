//! Draws in f32, one word each.

use super::plan::{Plan, Truncated};
use super::{Aligned, CHUNK};

/// Words `i` and `i + PAIR` make one Box–Muller pair.
const PAIR: usize = CHUNK / 2;

#[inline(always)]
pub(crate) fn draw(plan: &Plan<f32>, words: &[u32; CHUNK], out: &mut [f32; CHUNK]) {
    match plan {
        Plan::Constant(value) => *out = [*value; CHUNK],
        Plan::Uniform { low, span, min, max } => {
            let step = *span * (1.0 / 16_777_216.0);
            for i in 0..CHUNK {
                let x = *low + (words[i] >> 8) as i32 as f32 * step;
                out[i] = clamp(x, *min, *max);
            }
        }
        Plan::Normal { mean, std } => normal(*mean, *std, words, out),
        Plan::Truncated(law) => truncated(law, words, out),
        Plan::Narrow { low, width, first, second, min, max } => {
            for i in 0..CHUNK {
                let u = ((words[i] >> 8) as i32 as f32 + 0.5) * (1.0 / 16_777_216.0);
                let t = u + u * (1.0 - u) * (*first + *second * u);
                out[i] = clamp(*low + *width * t, *min, *max);
            }
        }
    }
}

#[inline(always)]
fn clamp(x: f32, min: f32, max: f32) -> f32 {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

/// Box–Muller: √(-2 ln u) (cos θ, sin θ). The radius comes from the upper 31 bits of the first word, as
/// u = (k + 1/2) / 2^31, so that it reaches 6.66. The second word gives the angle: its lowest 30 bits place it
/// within an eighth of a turn to either side of an axis, bit 31 picks the axis and bit 30 the side.
#[inline(always)]
fn normal(mean: f32, std: f32, words: &[u32; CHUNK], out: &mut [f32; CHUNK]) {
    let (cosines, sines) = out.split_at_mut(PAIR);
    let cosines: &mut [f32; PAIR] = cosines.try_into().expect("half a chunk");
    let sines: &mut [f32; PAIR] = sines.try_into().expect("half a chunk");
    // Two loops, because one is so long that a processor sees too little of its next turn to overlap the two.
    let mut radii = Aligned([0.0; PAIR]);
    for i in 0..PAIR {
        radii.0[i] = std * minus_two_ln((words[i] >> 1) as i32 as f32 + 0.5).sqrt();
    }
    for i in 0..PAIR {
        let word = words[i + PAIR];
        let angle = (word << 2) as i32 as f32 * (1.0 / 2_147_483_648.0);
        let square = angle * angle;
        // sin(π/4 a) / a and cos(π/4 a) as polynomials in a² on [0, 1], minimax in relative error: 4e-9 and 4e-8.
        let small = angle
            * (7.853_981_6e-1
                + square * (-8.074_543_25e-2 + square * (2.490_001_02e-3 + square * -3.595_045_22e-5)));
        let large = 9.999_999_67e-1
            + square * (-3.084_241_66e-1 + square * (1.584_968_42e-2 + square * -3.187_278_4e-4));
        let large = f32::from_bits(large.to_bits() ^ ((word << 1) & 0x8000_0000));
        let swap = (word as i32) < 0;
        cosines[i] = mean + radii.0[i] * if swap { small } else { large };
        sines[i] = mean + radii.0[i] * if swap { large } else { small };
    }
}

/// -2 ln(x / 2^31), for 1/2 ≤ x ≤ 2^31: exponent and mantissa apart, -2 ln m = -4 artanh((m - 1) / (m + 1)), with m
/// between √½ and √2 and a minimax polynomial for artanh (relative error 1.2e-7).
#[inline(always)]
fn minus_two_ln(x: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let above = x.to_bits().wrapping_sub(SQRT_HALF);
    let exponent = ((above as i32 >> 23) - 31) as f32;
    let m = f32::from_bits((above & 0x007f_ffff) + SQRT_HALF);
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let artanh = s * (4.000_000_47 + square * (1.333_044_47 + square * 8.259_274_6e-1));
    exponent * (-2.0 * std::f32::consts::LN_2) - artanh
}

/// Inversion: a rational approximation of the quantile wherever |Φ - 1/2| is small enough for f32, which is nearly
/// always; what is left, one draw in 200 of a whole Gaussian, is done by itself in f64 and keeps its full precision
/// however far out it is.
#[inline(always)]
fn truncated(law: &Truncated<f32>, words: &[u32; CHUNK], out: &mut [f32; CHUNK]) {
    let mut far = 0;
    for i in 0..CHUNK {
        let p = law.shift + law.step * words[i] as i32 as f32;
        let x = law.mean + law.std * quantile(p);
        out[i] = clamp(x, law.min, law.max);
        far += u32::from(is_far(p));
    }
    if far != 0 {
        tails(law, words, out);
    }
}

/// Quantile of the probability 1/2 + p wherever [`is_far`] does not hold: p R(1/4 - p²), where R is a rational function
/// of degree 5 by 5 fitted for the smallest relative error, 7e-7, up to z = 2.8. All coefficients are positive and so is
/// the argument: nothing cancels.
#[inline(always)]
fn quantile(p: f32) -> f32 {
    let t = 0.25 - p * p;
    // Estrin's scheme: shorter chains than Horner's.
    let (t2, t4) = (t * t, (t * t) * (t * t));
    let above = ((7.232_644_08 + t * 8_241.952_15) + t2 * (1_246_072.25 + t * 35_958_328.0))
        + t4 * (187_143_088.0 + t * 89_283_504.0);
    let below = ((1.0 + t * 1_429.874_76) + t2 * (268_737.969 + t * 10_190_623.0))
        + t4 * (80_304_608.0 + t * 94_605_576.0);
    p * (above / below)
}

/// Whether the probability 1/2 + p is that of a |z| above 2.8.
#[inline(always)]
fn is_far(p: f32) -> bool {
    p.abs() > 0.497_444_87
}

/// Draws again what lies outside of the quick approximation.
#[inline(never)]
fn tails(law: &Truncated<f32>, words: &[u32; CHUNK], out: &mut [f32; CHUNK]) {
    for (words, out) in words.chunks_exact(8).zip(out.chunks_exact_mut(8)) {
        let far = |word: &u32| is_far(law.shift + law.step * *word as i32 as f32);
        if !words.iter().fold(false, |any, word| any | far(word)) {
            continue;
        }
        for (word, x) in words.iter().zip(out) {
            if far(word) {
                let half = (f64::from(*word as i32) + 0.5) * (1.0 / 4_294_967_296.0);
                let z = law.exact.quantile(half);
                *x = clamp((law.exact.mean + law.exact.std * z) as f32, law.min, law.max);
            }
        }
    }
}
