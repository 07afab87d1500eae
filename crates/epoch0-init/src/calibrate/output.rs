//! What a weight makes of its input, measured in double precision, in one order whatever the number of threads.

use std::ops::Range;

use epoch0_engine::{Elements, Precision, Tensor};
use epoch0_num::Element;
use rayon::prelude::*;
use serde::Serialize;

/// Numbers that one task looks at.
const CHUNK: usize = 1 << 15;

/// How numbers are spread, over all and channel by channel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// How many there are.
    pub n: u64,
    /// Mean over all.
    pub mean: f64,
    /// Standard deviation over all.
    pub std: f64,
    /// Smallest standard deviation of a channel over examples and positions.
    pub channel_min: f64,
    /// Largest.
    pub channel_max: f64,
}

impl Spread {
    /// Of some numbers times a factor, all of one channel.
    pub(crate) fn of(values: &[f64], factor: f64) -> Self {
        let whole = sums(values, 1, values.len(), &[0], |_, value| factor * value);
        let sums = whole.first().copied().unwrap_or_default();
        let std = sums.std();
        Self { n: sums.n as u64, mean: sums.mean, std, channel_min: std, channel_max: std }
    }
}

/// Count, mean, and sum of squared deviations.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Sums {
    /// The sums of both (T. Chan, G. Golub, R. LeVeque 1983).
    fn merge(&mut self, other: &Self) {
        let n = self.n + other.n;
        if n == 0.0 {
            return;
        }
        let delta = other.mean - self.mean;
        self.squares += other.squares + delta * delta * self.n * other.n / n;
        self.mean += delta * other.n / n;
        self.n = n;
    }

    fn std(&self) -> f64 {
        (self.squares / self.n).sqrt()
    }
}

/// Elements `[outer, channel, inner]`.
#[derive(Clone, Debug)]
pub(super) struct Output {
    elements: Elements,
    channels: usize,
    inner: usize,
}

impl Output {
    /// Of a tensor whose channels lie along dimension `dim`.
    pub(super) fn new(tensor: &Tensor, dim: usize) -> Self {
        let shape = tensor.shape();
        let elements = match tensor.precision() {
            Precision::Single => Elements::Single(tensor.to_f32()),
            Precision::Double => Elements::Double(tensor.to_f64()),
        };
        Self { elements, channels: shape[dim], inner: shape[dim + 1..].iter().product() }
    }

    /// How many channels it has.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Mean and standard deviation of some channels, each number seen through `through(channel, number)`: the mean of
    /// each channel first, then the deviations from it.
    pub(super) fn spread(&self, of: &[usize], through: impl Fn(usize, f64) -> f64 + Sync) -> Spread {
        let sums = self.sums(of, through);
        let mut all = Sums::default();
        sums.iter().for_each(|channel| all.merge(channel));
        // A NaN in one channel is one in `all`.
        let stds = || sums.iter().map(Sums::std);
        Spread {
            n: all.n as u64,
            mean: all.mean,
            std: all.std(),
            channel_min: stds().fold(f64::INFINITY, f64::min),
            channel_max: stds().fold(0.0, f64::max),
        }
    }

    /// Standard deviation of each channel.
    pub(super) fn stds(&self) -> Vec<f64> {
        let all: Vec<usize> = (0..self.channels).collect();
        self.sums(&all, |_, value| value).iter().map(Sums::std).collect()
    }

    fn sums(&self, of: &[usize], through: impl Fn(usize, f64) -> f64 + Sync) -> Vec<Sums> {
        match &self.elements {
            Elements::Single(values) => sums(values, self.channels, self.inner, of, through),
            Elements::Double(values) => sums(values, self.channels, self.inner, of, through),
        }
    }
}

fn sums<T: Element>(
    values: &[T],
    channels: usize,
    inner: usize,
    of: &[usize],
    through: impl Fn(usize, f64) -> f64 + Sync,
) -> Vec<Sums> {
    let row = (channels * inner).max(1);
    let rows = (CHUNK / row).max(1);
    let parts: Vec<Vec<Sums>> = values
        .par_chunks(rows * row)
        .map(|part| {
            let n = (part.len() / row * inner) as f64;
            let of_channel = |at: usize| {
                let (channel, place) = (of[at], of[at] * inner..(of[at] + 1) * inner);
                let mut sum = 0.0;
                each(part, row, &place, |value| sum += through(channel, value));
                let (mean, mut squares) = (sum / n, 0.0);
                each(part, row, &place, |value| squares += (through(channel, value) - mean).powi(2));
                Sums { n, mean, squares }
            };
            (0..of.len()).map(of_channel).collect()
        })
        .collect();
    let mut all = vec![Sums::default(); of.len()];
    for part in &parts {
        all.iter_mut().zip(part).for_each(|(sum, part)| sum.merge(part));
    }
    all
}

/// The numbers of one channel.
fn each<T: Element>(part: &[T], row: usize, place: &Range<usize>, mut visit: impl FnMut(f64)) {
    for row in part.chunks_exact(row) {
        row[place.clone()].iter().for_each(|value| visit(value.to_f64()));
    }
}

#[cfg(test)]
mod tests {
    use epoch0_engine::Device;

    use super::*;

    fn output(values: &[f64], shape: &[usize], dim: usize, precision: Precision) -> Output {
        Output::new(&Tensor::from_f64(values.to_vec(), shape, precision, &Device::cpu()), dim)
    }

    #[test]
    fn channels_are_apart_and_together() {
        // Two examples, two channels, two positions; by hand.
        let values = [1.0, 3.0, 10.0, 10.0, 5.0, 7.0, 10.0, 10.0];
        for precision in [Precision::Single, Precision::Double] {
            let output = output(&values, &[2, 2, 2], 1, precision);
            let all = output.spread(&[0, 1], |_, value| value);
            assert_eq!((all.n, all.mean), (8, 7.0));
            assert!((all.std * all.std - 11.5).abs() < 1e-12, "{all:?}");
            assert_eq!(all.channel_min, 0.0);
            assert!((all.channel_max - 5.0f64.sqrt()).abs() < 1e-12);
            let first = output.spread(&[0], |channel, value| value + 100.0 * channel as f64);
            assert_eq!((first.n, first.mean, first.std), (4, 4.0, 5.0f64.sqrt()));
            assert_eq!(output.stds()[1], 0.0);
        }
    }

    #[test]
    fn a_large_mean_leaves_the_variance_alone() {
        let values: Vec<f64> = (0..100_000).map(|at| 1e7 + f64::from(at % 2)).collect();
        let spread = output(&values, &[50_000, 2], 1, Precision::Single).spread(&[0, 1], |_, value| value);
        assert!((spread.std - 0.5).abs() < 1e-9, "{spread:?}");
        let spread = output(&values, &[100_000, 1], 1, Precision::Single).spread(&[0], |_, value| value);
        assert!((spread.std - 0.5).abs() < 1e-9, "{spread:?}");
    }

    #[test]
    fn what_is_not_finite_is_seen() {
        let spread = output(&[1.0, f64::NAN, 2.0, 3.0], &[2, 2], 1, Precision::Double);
        assert!(spread.spread(&[0, 1], |_, value| value).std.is_nan());
    }
}
