//! Draws in f32, one word each.

use super::plan::{Plan, Truncated};
use super::{Aligned, BATCH, CHUNK};

/// Words `i` and `i + PAIR` of a chunk make one Box–Muller pair.
const PAIR: usize = CHUNK / 2;
/// Lanes of the widest vectors.
const WIDE: usize = 16;
/// Vectors that are computed side by side.
const SIDE: usize = PAIR / WIDE;

/// Numbers that the same is done to. One formula is a long chain of operations, each of which waits for the last, and the
/// window in which a processor looks for work is short: it needs several chains next to each other. The compiler makes
/// vectors of each of the numbers, and leaves their order as it is written here.
#[derive(Clone, Copy)]
struct Side<T>([T; SIDE]);

macro_rules! operator {
    ($trait:ident, $method:ident, $op:tt) => {
        impl std::ops::$trait for Side<f32> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                let mut all = self;
                for i in 0..SIDE {
                    all.0[i] = self.0[i] $op other.0[i];
                }
                all
            }
        }
        impl std::ops::$trait<f32> for Side<f32> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: f32) -> Self {
                self $op Side([other; SIDE])
            }
        }
    };
}
operator!(Add, add, +);
operator!(Mul, mul, *);
operator!(Sub, sub, -);
operator!(Div, div, /);

/// Calls a function of one number for each of several.
macro_rules! each {
    (|$($x:ident),+| $result:expr) => {{
        let mut all = Side([Default::default(); SIDE]);
        for i in 0..SIDE {
            $(let $x = $x.0[i];)+
            all.0[i] = $result;
        }
        all
    }};
}

/// Numbers `at`, `at + WIDE`, ... of `all`.
#[inline(always)]
fn side<T: Copy>(all: &[T], at: usize) -> Side<T> {
    let mut side = Side([all[at]; SIDE]);
    for i in 1..SIDE {
        side.0[i] = all[at + i * WIDE];
    }
    side
}

/// The reverse of [`side`].
#[inline(always)]
fn put<T: Copy>(side: Side<T>, all: &mut [T], at: usize) {
    for i in 0..SIDE {
        all[at + i * WIDE] = side.0[i];
    }
}

// Loops by index: closures and what iterators do not inline are functions of their own, which need not be compiled for the
// level they are called at.

#[inline(always)]
pub(crate) fn draw(plan: &Plan<f32>, words: &[[u32; CHUNK]], out: &mut [[f32; CHUNK]]) {
    let out = &mut out[..words.len()];
    match plan {
        Plan::Constant(value) => out.fill([*value; CHUNK]),
        Plan::Uniform { low, span, min, max } => {
            let step = *span * (1.0 / 16_777_216.0);
            for c in 0..words.len() {
                let words = words[c];
                for i in 0..CHUNK {
                    let x = *low + (words[i] >> 8) as i32 as f32 * step;
                    out[c][i] = clamp(x, *min, *max);
                }
            }
        }
        Plan::Normal { mean, std } => normal(*mean, *std, words, out),
        Plan::Truncated(law) => {
            for c in 0..words.len() {
                truncated(law, &words[c], &mut out[c]);
            }
        }
        Plan::Narrow { low, width, first, second, min, max } => {
            for c in 0..words.len() {
                let words = words[c];
                for i in 0..CHUNK {
                    let u = ((words[i] >> 8) as i32 as f32 + 0.5) * (1.0 / 16_777_216.0);
                    let t = u + u * (1.0 - u) * (*first + *second * u);
                    out[c][i] = clamp(*low + *width * t, *min, *max);
                }
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
///
/// Two loops over all chunks, because one would be so long that a processor sees too little of its next turn to overlap
/// the two.
#[inline(always)]
fn normal(mean: f32, std: f32, words: &[[u32; CHUNK]], out: &mut [[f32; CHUNK]]) {
    let mut squares = Aligned([[0.0; PAIR]; BATCH]);
    let squares = &mut squares.0[..words.len()];
    for c in 0..words.len() {
        let words = words[c];
        let mut chunk = [0.0; PAIR];
        for i in 0..WIDE {
            let word = side(&words[..PAIR], i);
            put(minus_two_ln(each!(|word| (word >> 1) as i32 as f32 + 0.5)), &mut chunk, i);
        }
        squares[c] = chunk;
    }
    let out = &mut out[..words.len()];
    for c in 0..words.len() {
        let (words, squares) = (words[c], squares[c]);
        let mut draws = [0.0; CHUNK];
        for i in 0..WIDE {
            let (word, squared) = (side(&words[PAIR..], i), side(&squares, i));
            let angle = each!(|word| (word << 2) as i32 as f32) * (1.0 / 2_147_483_648.0);
            let square = angle * angle;
            // sin(π/4 a) / a and cos(π/4 a) as polynomials in a² on [0, 1], minimax in relative error: 4e-9 and 4e-8.
            let small = square * -3.595_045_22e-5 + 2.490_001_02e-3;
            let large = square * -3.187_278_4e-4 + 1.584_968_42e-2;
            let small = small * square + -8.074_543_25e-2;
            let large = large * square + -3.084_241_66e-1;
            let small = (small * square + std::f32::consts::FRAC_PI_4) * angle;
            let large = large * square + 9.999_999_67e-1;
            let large = each!(|large, word| f32::from_bits(large.to_bits() ^ ((word << 1) & 0x8000_0000)));
            let radius = each!(|squared| squared.sqrt()) * std;
            let (small, large) = (radius * small + mean, radius * large + mean);
            put(each!(|small, large, word| if (word as i32) < 0 { small } else { large }), &mut draws, i);
            put(
                each!(|small, large, word| if (word as i32) < 0 { large } else { small }),
                &mut draws[PAIR..],
                i,
            );
        }
        out[c] = draws;
    }
}

/// -2 ln(x / 2^31), for 1/2 ≤ x ≤ 2^31: exponent and mantissa m apart, with m between √½ and √2, and for -2 ln m a
/// polynomial, minimax in relative error: 1.7e-7.
#[inline(always)]
fn minus_two_ln(x: Side<f32>) -> Side<f32> {
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let bits = each!(|x| x.to_bits().wrapping_sub(31 << 23));
    // The exponent where it stands, so that as a number it is 2^23 times what it means.
    let exponent = each!(|bits| bits.wrapping_sub(SQRT_HALF) & 0xff80_0000);
    let f = each!(|bits, exponent| f32::from_bits(bits.wrapping_sub(exponent))) - 1.0;
    let exponent = each!(|exponent| exponent as i32 as f32) * (-2.0 * std::f32::consts::LN_2 / 8_388_608.0);
    // Estrin's scheme: shorter chains than Horner's.
    let square = f * f;
    let (c01, c23) = (f * 1.000_007_3 + -1.999_999_89, f * 4.993_981_83e-1 + -6.667_011_79e-1);
    let (c45, c67) = (f * 3.450_165_78e-1 + -3.980_033_1e-1, f * 2.021_379_66e-1 + -3.244_516_08e-1);
    let (low, high) = (c01 + square * c23, c45 + square * c67);
    exponent + f * (low + square * square * high)
}

/// Inversion: a rational approximation of the quantile wherever |Φ - 1/2| is small enough for f32, which is nearly
/// always; what is left, one draw in 200 of a whole Gaussian, is done by itself in f64 and keeps its full precision
/// however far out it is.
#[inline(always)]
fn truncated(law: &Truncated<f32>, words: &[u32; CHUNK], out: &mut [f32; CHUNK]) {
    let words_here = *words;
    let mut draws = [0.0; CHUNK];
    let mut far = 0;
    for half in 0..2 {
        for i in half * PAIR..half * PAIR + WIDE {
            let word = side(&words_here, i);
            let p = each!(|word| word as i32 as f32) * law.step + law.shift;
            let x = quantile(p) * law.std + law.mean;
            put(each!(|x| clamp(x, law.min, law.max)), &mut draws, i);
            for p in p.0 {
                far += u32::from(is_far(p));
            }
        }
    }
    *out = draws;
    if far != 0 {
        tails(law, words, out);
    }
}

/// Quantile of the probability 1/2 + p wherever [`is_far`] does not hold: p R(1/4 - p²), where R is a rational function
/// of degree 5 by 5 fitted for the smallest relative error, 7e-7, up to z = 2.8. All coefficients are positive and so is
/// the argument: nothing cancels.
#[inline(always)]
fn quantile(p: Side<f32>) -> Side<f32> {
    let t = Side([0.25; SIDE]) - p * p;
    // Estrin's scheme: shorter chains than Horner's.
    let t2 = t * t;
    let t4 = t2 * t2;
    let above = ((t * 8_241.952_15 + 7.232_644_08) + t2 * (t * 35_958_328.0 + 1_246_072.25))
        + t4 * (t * 89_283_504.0 + 187_143_088.0);
    let below = ((t * 1_429.874_76 + 1.0) + t2 * (t * 10_190_623.0 + 268_737.969))
        + t4 * (t * 94_605_576.0 + 80_304_608.0);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;

    /// Against the same formula in f64, from the same u and angle.
    #[test]
    fn normal_draws_are_accurate() {
        let mut words = vec![[0; CHUNK]; BATCH];
        let mut draws = vec![[0.0; CHUNK]; BATCH];
        let mut worst = 0.0_f64;
        for first in 0..500 {
            let stream = Stream::new(0, "accuracy");
            stream.words(first * (CHUNK * BATCH) as u64, words.as_flattened_mut());
            // The ends of both ranges as well.
            words[0][..4].copy_from_slice(&[0, u32::MAX, 1 << 31, 1]);
            words[0][PAIR..PAIR + 4].copy_from_slice(&[u32::MAX, 1 << 31, 1 << 29, 3 << 29]);
            normal(0.0, 1.0, &words, &mut draws);
            for (words, draws) in words.iter().zip(&draws) {
                for i in 0..PAIR {
                    let u = f64::from((words[i] >> 1) as i32 as f32 + 0.5) / f64::from(1_u32 << 31);
                    let word = words[i + PAIR];
                    let angle = f64::from((word << 2) as i32) / f64::from(1_u32 << 31);
                    let radius = (-2.0 * libm::log(u)).sqrt();
                    let small = radius * libm::sin(std::f64::consts::FRAC_PI_4 * angle);
                    let large = radius * libm::cos(std::f64::consts::FRAC_PI_4 * angle);
                    let large = if word >> 30 & 1 == 1 { -large } else { large };
                    let want = if word >> 31 == 1 { [small, large] } else { [large, small] };
                    for (got, want) in [draws[i], draws[i + PAIR]].into_iter().zip(want) {
                        // An angle has been rounded to f32, too: 2^-25 of it, which is relative.
                        let off = (f64::from(got) - want).abs();
                        worst = worst.max(if off == 0.0 { 0.0 } else { off / want.abs() });
                    }
                }
            }
        }
        assert!(worst < 5e-7, "{worst:e}");
    }
}
