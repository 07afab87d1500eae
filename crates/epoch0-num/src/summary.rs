//! Count, sums and extremes of many elements, quickly.

use crate::Element;
use crate::kernel::Level;

/// Sums run side by side: one for each lane, whatever the machine's vectors hold.
const LANES: usize = 16;
/// Single precision within a block, double between blocks: exact to about 1e-6 and quick.
const BLOCK: usize = 1024;

/// Count, sums and extremes of elements, as they are stored. Unlike [`crate::stats::Moments`], made for billions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Number of elements.
    pub n: u64,
    sum: f64,
    sum_of_squares: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl Default for Summary {
    fn default() -> Self {
        Self { n: 0, sum: 0.0, sum_of_squares: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Summary {
    /// Of some elements. Squares are summed in single precision: elements larger than 1e19 overflow to infinity.
    pub fn of<T: Element>(values: &[T]) -> Self {
        match Level::best() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::Avx512 => {
                #[expect(unsafe_code, reason = "instructions picked at run time")]
                // SAFETY: both levels are only available where the machine has AVX2.
                unsafe {
                    of_avx2(values)
                }
            }
            _ => of(values),
        }
    }

    /// Of `n` elements that are all `value`.
    pub fn constant(value: f64, n: u64) -> Self {
        Self { n, sum: value * n as f64, sum_of_squares: value * value * n as f64, min: value, max: value }
    }

    /// Adds another's elements.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.sum += other.sum;
        self.sum_of_squares += other.sum_of_squares;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Mean.
    pub fn mean(&self) -> f64 {
        self.sum / self.n as f64
    }

    /// Standard deviation.
    pub fn std(&self) -> f64 {
        if self.min == self.max {
            return 0.0;
        }
        (self.sum_of_squares / self.n as f64 - self.mean() * self.mean()).max(0.0).sqrt()
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn of_avx2<T: Element>(values: &[T]) -> Summary {
    of(values)
}

#[inline(always)]
fn of<T: Element>(values: &[T]) -> Summary {
    let mut all = Summary { n: values.len() as u64, ..Summary::default() };
    let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    for block in values.chunks(BLOCK) {
        let (mut sum, mut squares) = ([0.0f32; LANES], [0.0f32; LANES]);
        let mut add = |lane: usize, value: f32| {
            sum[lane] += value;
            squares[lane] += value * value;
            low[lane] = if value < low[lane] { value } else { low[lane] };
            high[lane] = if value > high[lane] { value } else { high[lane] };
        };
        let mut whole = block.chunks_exact(LANES);
        for lanes in &mut whole {
            for lane in 0..LANES {
                add(lane, lanes[lane].to_f32());
            }
        }
        for (lane, value) in whole.remainder().iter().enumerate() {
            add(lane, value.to_f32());
        }
        all.sum += sum.iter().map(|&sum| f64::from(sum)).sum::<f64>();
        all.sum_of_squares += squares.iter().map(|&sum| f64::from(sum)).sum::<f64>();
    }
    all.min = f64::from(low.into_iter().fold(f32::INFINITY, f32::min));
    all.max = f64::from(high.into_iter().fold(f32::NEG_INFINITY, f32::max));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Law, Stream, bf16, stats::Moments};

    fn agrees<T: Element>(n: usize) {
        let mut values = vec![T::default(); n];
        Law::normal(0.5, 2.0).fill(&Stream::new(3, "summary"), 0, &mut values).unwrap();
        let (summary, moments) = (Summary::of(&values), Moments::of(&values));
        assert_eq!(summary.n, n as u64);
        assert!((summary.mean() - moments.mean()).abs() < 1e-5, "{summary:?}");
        let population = moments.std() * ((n - 1) as f64 / n as f64).sqrt();
        assert!((summary.std() / population - 1.0).abs() < 1e-5, "{summary:?} {population}");
        let extreme =
            |pick: fn(f64, f64) -> f64, first| values.iter().map(|value| value.to_f64()).fold(first, pick);
        assert_eq!(summary.min as f32, extreme(f64::min, f64::INFINITY) as f32);
        assert_eq!(summary.max as f32, extreme(f64::max, f64::NEG_INFINITY) as f32);
        assert_eq!(Summary::of(&values), of(&values), "instructions do not matter");
    }

    #[test]
    fn agrees_with_moments() {
        for n in [2, 15, 16, 17, 1023, 1025, 50_000] {
            agrees::<f32>(n);
            agrees::<f64>(n);
            agrees::<bf16>(n);
        }
    }

    #[test]
    fn parts_make_the_whole() {
        let values: Vec<f32> = (0..5000).map(|n| (n % 37) as f32).collect();
        let mut parts = Summary::default();
        values.chunks(1024).for_each(|part| parts.merge(&Summary::of(part)));
        assert_eq!(parts, Summary::of(&values));
        assert_eq!(Summary::constant(3.0, 4), Summary::of(&[3.0f32; 4]));
    }
}
