//! How words become weights, and which instructions do it.
//!
//! Everything in here is plain IEEE 754 `+ - * / sqrt` and integer arithmetic in loops over fixed-size arrays, in
//! an order that the source fixes. The compiler may turn those loops into vector instructions, but it may not
//! change a result: Rust never contracts `a * b + c` into one rounding and never reassociates. So the same source,
//! compiled for several instruction sets, gives the same bits, and the set can be picked at run time.

#![expect(clippy::inline_always, reason = "what is not inlined is not compiled for the level that calls it")]
#![expect(clippy::needless_range_loop, reason = "loops by index are what the compiler makes vectors of")]

pub(crate) mod aes;
pub(crate) mod double;
pub(crate) mod plan;
pub(crate) mod quantile;
pub(crate) mod round;
pub(crate) mod single;

use crate::Element;
use aes::{GROUP, Key, Keystream};
use plan::Plan;

/// Words that are made into draws side by side: the widest vectors hold half of them, and laws that take words in pairs
/// take them half a chunk apart.
pub(crate) const CHUNK: usize = 64;

/// Chunks that are made at once: few enough for their words and draws to stay in the nearest cache.
const BATCH: usize = 8;

/// At the start of a cache line, so that no vector of it lies across two.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Aligned<T>(pub(crate) T);

/// A type that draws are computed in. Sealed: only [`crate::Real`]'s two types implement it.
pub trait Draw: Copy + PartialOrd + Send + Sync + 'static {
    /// The draws of one chunk.
    type Block: Copy;
    /// Draws that one chunk of words makes.
    const PER_CHUNK: usize;
    /// A block of zeros.
    const ZEROS: Self::Block;
    /// The draws of the chunks that have these words.
    fn draw(plan: &Plan<Self>, words: &[[u32; CHUNK]], out: &mut [Self::Block]);
    /// The nearest number to `value`.
    fn nearest(value: f64) -> Self;
    /// The smallest number that is at least `value`.
    fn at_least(value: f64) -> Self;
    /// The largest number that is at most `value`.
    fn at_most(value: f64) -> Self;
    /// The largest number below `value`.
    fn below(value: f64) -> Self;
    /// Its value.
    fn to_f64(self) -> f64;
}

macro_rules! draw {
    ($t:ty, $per_chunk:expr, $draw:path) => {
        impl Draw for $t {
            type Block = [$t; $per_chunk];
            const PER_CHUNK: usize = $per_chunk;
            const ZEROS: Self::Block = [0.0; $per_chunk];
            #[inline(always)]
            fn draw(plan: &Plan<Self>, words: &[[u32; CHUNK]], out: &mut [Self::Block]) {
                $draw(plan, words, out);
            }
            fn nearest(value: f64) -> Self {
                value as Self
            }
            fn at_least(value: f64) -> Self {
                let near = value as Self;
                if f64::from(near) < value { near.next_up() } else { near }
            }
            fn at_most(value: f64) -> Self {
                let near = value as Self;
                if f64::from(near) > value { near.next_down() } else { near }
            }
            fn below(value: f64) -> Self {
                let near = value as Self;
                if f64::from(near) >= value { near.next_down() } else { near }
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
        }
    };
}
draw!(f32, CHUNK, single::draw);
draw!(f64, CHUNK / 2, double::draw);

/// Seals [`Element`].
pub trait Plain {}
impl Plain for f64 {}
impl Plain for f32 {}
impl Plain for half::f16 {}
impl Plain for half::bf16 {}

/// A set of instructions that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// What every machine of this architecture has.
    Baseline,
    /// x86-64 with AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The levels that this machine can run, best last.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let levels = {
            let avx2 = is_x86_feature_detected!("avx2");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            [Some(Self::Baseline), avx2.then_some(Self::Avx2), avx512.then_some(Self::Avx512)]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let levels = [Some(Self::Baseline)];
        levels.into_iter().flatten()
    }

    /// The best level that this machine can run. (The standard library caches the detection.)
    pub(crate) fn best() -> Self {
        Self::available().last().unwrap_or(Self::Baseline)
    }
}

/// Draws elements `start..start + out.len()` of the tensor that `key`'s stream makes under `plan`.
pub(crate) fn fill<T: Element>(level: Level, plan: &Plan<T::Draw>, key: &Key, start: u64, out: &mut [T]) {
    let words = &Keystream::new(key);
    match level {
        Level::Baseline => run(plan, words, start, out),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => {
            #[expect(unsafe_code, reason = "instructions picked at run time")]
            // SAFETY: `Level::available` yields this level only where the machine has these instructions.
            unsafe {
                run_avx2(plan, words, start, out);
            }
        }
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => {
            #[expect(unsafe_code, reason = "instructions picked at run time")]
            // SAFETY: `Level::available` yields this level only where the machine has these instructions.
            unsafe {
                run_avx512(plan, words, start, out);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2<T: Element>(plan: &Plan<T::Draw>, words: &Keystream, start: u64, out: &mut [T]) {
    run(plan, words, start, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn run_avx512<T: Element>(plan: &Plan<T::Draw>, words: &Keystream, start: u64, out: &mut [T]) {
    run(plan, words, start, out);
}

#[inline(always)]
fn run<T: Element>(plan: &Plan<T::Draw>, keystream: &Keystream, start: u64, mut out: &mut [T]) {
    let per_chunk = <T::Draw as Draw>::PER_CHUNK;
    let mut chunk = start / per_chunk as u64;
    let mut skip = (start % per_chunk as u64) as usize;
    let mut words = Aligned([[0; CHUNK]; BATCH]);
    let mut draws = Aligned([T::default(); CHUNK * BATCH]);
    while !out.is_empty() {
        let batch = (skip + out.len()).div_ceil(per_chunk).min(BATCH);
        let words = &mut words.0[..batch];
        let (groups, _) = words.as_flattened_mut().as_chunks_mut();
        keystream.groups(chunk.wrapping_mul((CHUNK / GROUP) as u64), groups);
        let (now, later) = out.split_at_mut((batch * per_chunk - skip).min(out.len()));
        let whole = now.len() == batch * per_chunk;
        if whole {
            draw(plan, words, now);
        } else {
            let draws = &mut draws.0[..batch * per_chunk];
            draw(plan, words, draws);
            let source = &draws[skip..skip + now.len()];
            now.copy_from_slice(source);
        }
        out = later;
        skip = 0;
        chunk = chunk.wrapping_add(batch as u64);
    }
}

/// The draws of chunks, `out` being as long as all of them.
#[inline(always)]
fn draw<T: Element>(plan: &Plan<T::Draw>, words: &[[u32; CHUNK]], out: &mut [T]) {
    if let Some(blocks) = T::as_blocks(out) {
        T::Draw::draw(plan, words, blocks);
    } else {
        let mut draws = Aligned([<T::Draw as Draw>::ZEROS; BATCH]);
        T::Draw::draw(plan, words, &mut draws.0[..words.len()]);
        T::round(&draws.0[..words.len()], out);
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::{Law, Stream};

    fn laws() -> [Law; 7] {
        [
            Law::uniform(-0.1, 0.3),
            Law::normal(0.5, 0.02),
            Law::truncated(0.0, 1.0, -2.0, 2.0),
            Law::truncated(0.0, 0.02, -2.0, 2.0),
            Law::truncated(0.0, 1.0, 3.0, f64::INFINITY),
            Law::truncated(1.0, 1.0, 0.0, 1e-5),
            Law::constant(0.3),
        ]
    }

    fn bits<T: Element>(level: Level, law: &Law) -> Vec<u64> {
        let mut out = vec![T::default(); 5000];
        let plan = Plan::new::<T>(law).expect("the laws are valid");
        fill(level, &plan, Stream::new(3, "levels").key(), 37, &mut out);
        out.iter().map(|x| x.to_f64().to_bits()).collect()
    }

    fn all_levels_agree<T: Element>() {
        for law in laws() {
            let want = bits::<T>(Level::Baseline, &law);
            for level in Level::available() {
                assert!(bits::<T>(level, &law) == want, "{law} in {} at {level:?}", T::DTYPE);
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        all_levels_agree::<f64>();
        all_levels_agree::<f32>();
        all_levels_agree::<f16>();
        all_levels_agree::<bf16>();
    }
}
