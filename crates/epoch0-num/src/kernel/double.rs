//! Draws in f64, two words each: word `i` of a chunk is the lower half and word `i + 32` the upper half of its draw `i`.

use super::CHUNK;
use super::plan::{Plan, Truncated};
use super::quantile;

const DRAWS: usize = CHUNK / 2;
/// 2^-53.
const UNIT: f64 = 1.0 / 9_007_199_254_740_992.0;

#[inline(always)]
pub(crate) fn draw(plan: &Plan<f64>, words: &[[u32; CHUNK]], out: &mut [[f64; DRAWS]]) {
    for (words, out) in words.iter().zip(out) {
        chunk(plan, words, out);
    }
}

#[inline(always)]
fn chunk(plan: &Plan<f64>, words: &[u32; CHUNK], out: &mut [f64; DRAWS]) {
    let word = |i: usize| u64::from(words[i + DRAWS]) << 32 | u64::from(words[i]);
    match plan {
        Plan::Constant(value) => *out = [*value; DRAWS],
        Plan::Uniform { low, span, min, max } => {
            for i in 0..DRAWS {
                let u = (word(i) >> 11) as i64 as f64 * UNIT;
                out[i] = clamp(*low + u * *span, *min, *max);
            }
        }
        Plan::Normal { mean, std } => {
            for i in 0..DRAWS {
                let half = half(word(i));
                let z = if half.abs() <= quantile::CENTRAL {
                    quantile::central(half)
                } else if half < 0.0 {
                    -quantile::upper(0.5 + half)
                } else {
                    quantile::upper(0.5 - half)
                };
                out[i] = *mean + *std * z;
            }
        }
        Plan::Truncated(law) => truncated(law, word, out),
        Plan::Narrow { low, width, first, second, min, max } => {
            for i in 0..DRAWS {
                let u = 0.5 + half(word(i));
                let t = u + u * (1.0 - u) * (*first + *second * u);
                out[i] = clamp(*low + *width * t, *min, *max);
            }
        }
    }
}

/// u - 1/2 for a u in (0, 1) of 53 bits; exact.
#[inline(always)]
fn half(word: u64) -> f64 {
    ((word as i64 >> 11) as f64 + 0.5) * UNIT
}

#[inline(always)]
fn truncated(law: &Truncated<f64>, word: impl Fn(usize) -> u64, out: &mut [f64; DRAWS]) {
    for i in 0..DRAWS {
        let half = half(word(i));
        let p = law.shift + law.exact.mass * half;
        let z = if p.abs() <= quantile::CENTRAL { quantile::central(p) } else { law.exact.quantile(half) };
        out[i] = clamp(law.exact.mean + law.exact.std * z, law.min, law.max);
    }
}

#[inline(always)]
fn clamp(x: f64, min: f64, max: f64) -> f64 {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}
