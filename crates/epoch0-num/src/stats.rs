//! Moments of samples, their standard errors, and Kolmogorov–Smirnov tests.

use crate::Element;

/// Count, mean and central moments of a sample up to the fourth, in one pass.
///
/// Samples can be added one by one, or moments of parts merged (P. Pébay, "Formulas for robust, one-pass parallel
/// computation of covariances and arbitrary-order statistical moments", 2008): deviations are taken from the running
/// mean, so nothing cancels even where the mean is large.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    count: u64,
    mean: f64,
    /// Sums of the deviations' second, third and fourth powers.
    sums: [f64; 3],
}

impl Moments {
    /// Of nothing yet.
    pub const fn new() -> Self {
        Self { count: 0, mean: 0.0, sums: [0.0; 3] }
    }

    /// Of these elements. Blocks of them are summed by themselves and merged, for speed and precision.
    pub fn of<T: Element>(sample: &[T]) -> Self {
        let mut total = Self::new();
        for block in sample.chunks(1024) {
            let count = block.len() as f64;
            let mean = block.iter().map(|x| x.to_f64()).sum::<f64>() / count;
            let mut sums = [0.0; 3];
            let mut rest = 0.0;
            for x in block {
                let deviation = x.to_f64() - mean;
                let square = deviation * deviation;
                rest += deviation;
                sums[0] += square;
                sums[1] += square * deviation;
                sums[2] += square * square;
            }
            // What rounding left in the mean counts again in the second moment (T. Chan et al. 1983).
            sums[0] -= rest * rest / count;
            total.merge(&Self { count: block.len() as u64, mean, sums });
        }
        total
    }

    /// Adds one number.
    pub fn add(&mut self, x: f64) {
        self.merge(&Self { count: 1, mean: x, sums: [0.0; 3] });
    }

    /// Adds another sample's.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let n = a + b;
        let delta = other.mean - self.mean;
        let ratio = delta / n;
        let [a2, a3, a4] = self.sums;
        let [b2, b3, b4] = other.sums;
        self.sums = [
            a2 + b2 + a * b * delta * ratio,
            a3 + b3 + a * b * (a - b) * delta * ratio * ratio + 3.0 * ratio * (a * b2 - b * a2),
            a4 + b4
                + a * b * (a * a - a * b + b * b) * delta * ratio * ratio * ratio
                + 6.0 * ratio * ratio * (a * a * b2 + b * b * a2)
                + 4.0 * ratio * (a * b3 - b * a3),
        ];
        self.mean += b * ratio;
        self.count += other.count;
    }

    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean; NaN of nothing.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { f64::NAN } else { self.mean }
    }

    /// Unbiased variance (divisor n - 1); NaN of less than two numbers.
    pub fn var(&self) -> f64 {
        if self.count < 2 { f64::NAN } else { self.sums[0] / (self.count - 1) as f64 }
    }

    /// Square root of [`Moments::var`].
    pub fn std(&self) -> f64 {
        self.var().sqrt()
    }

    /// The mean of the deviations' fourth powers.
    pub fn fourth_central_moment(&self) -> f64 {
        self.sums[2] / self.count as f64
    }

    /// Skewness m₃ / m₂^(3/2); NaN of a constant.
    pub fn skew(&self) -> f64 {
        (self.count as f64).sqrt() * self.sums[1] / self.sums[0].powf(1.5)
    }

    /// Kurtosis m₄ / m₂², 3 for a Gaussian; NaN of a constant.
    pub fn kurtosis(&self) -> f64 {
        self.count as f64 * self.sums[2] / (self.sums[0] * self.sums[0])
    }

    /// Standard error of the mean, from the sample's own variance.
    pub fn mean_error(&self) -> f64 {
        mean_error(self.var(), self.count)
    }

    /// Standard error of the variance, from the sample's own moments.
    pub fn var_error(&self) -> f64 {
        var_error(self.var(), self.fourth_central_moment(), self.count)
    }
}

/// Slope of the straight line that is nearest to points, by least squares; NaN of less than two different positions.
///
/// ```
/// assert_eq!(epoch0_num::stats::slope(&[0.0, 1.0, 2.0], &[1.0, 3.0, 5.0]), 2.0);
/// ```
pub fn slope(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len().min(y.len());
    let (x, y) = (&x[..n], &y[..n]);
    let (center_x, center_y) = (x.iter().sum::<f64>() / n as f64, y.iter().sum::<f64>() / n as f64);
    let both: f64 = x.iter().zip(y).map(|(x, y)| (x - center_x) * (y - center_y)).sum();
    both / x.iter().map(|x| (x - center_x) * (x - center_x)).sum::<f64>()
}

/// The middle of some numbers, the mean of the two in the middle of an even count; NaN of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    match (n, n % 2) {
        (0, _) => f64::NAN,
        (_, 1) => sorted[n / 2],
        _ => 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]),
    }
}

/// Standard error of the mean of `count` draws of a law with this variance.
pub fn mean_error(var: f64, count: u64) -> f64 {
    (var / count as f64).sqrt()
}

/// Standard error of the unbiased variance of `count` draws of a law with these moments:
/// √((μ₄ - σ⁴ (n - 3) / (n - 1)) / n).
pub fn var_error(var: f64, fourth_central_moment: f64, count: u64) -> f64 {
    let n = count as f64;
    ((fourth_central_moment - var * var * (n - 3.0) / (n - 1.0)) / n).max(0.0).sqrt()
}

/// Result of a Kolmogorov–Smirnov test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KolmogorovSmirnov {
    /// The largest distance between the two distribution functions.
    pub statistic: f64,
    /// Probability of a distance at least as large if the hypothesis holds.
    pub p_value: f64,
}

/// Tests whether a sample comes from the continuous law with this distribution function. NaN in the sample, or no sample,
/// gives a statistic of 1 and p = 0.
pub fn kolmogorov_smirnov(sample: &[f64], cdf: impl Fn(f64) -> f64) -> KolmogorovSmirnov {
    kolmogorov_smirnov_between(sample, &cdf, &cdf)
}

/// Tests whether elements are the roundings of draws from the continuous law with this distribution function.
///
/// A law rounded to few values is not continuous, and a plain test finds that out from a few thousand bf16 weights. Here
/// an element stands for the interval that rounds to it: the share of the sample up to it is compared with the law's up
/// to the middle between it and its upper neighbour, the share below it with the law's up to the middle below. As for
/// any law with steps, p is then on the safe side.
pub fn kolmogorov_smirnov_rounded<T: Element>(sample: &[T], cdf: impl Fn(f64) -> f64) -> KolmogorovSmirnov {
    let values: Vec<f64> = sample.iter().map(|x| x.to_f64()).collect();
    let middle = |x: f64, neighbour: T| 0.5 * x + 0.5 * neighbour.to_f64();
    kolmogorov_smirnov_between(
        &values,
        |x| cdf(middle(x, T::from_f64(x).next_down())),
        |x| cdf(middle(x, T::from_f64(x).next_up())),
    )
}

/// The test for a law whose distribution function is `below(x)` just below `x` and `upto(x)` at `x`.
fn kolmogorov_smirnov_between(
    sample: &[f64],
    below: impl Fn(f64) -> f64,
    upto: impl Fn(f64) -> f64,
) -> KolmogorovSmirnov {
    if sample.is_empty() || sample.iter().any(|x| x.is_nan()) {
        return KolmogorovSmirnov { statistic: 1.0, p_value: 0.0 };
    }
    let mut sorted = sample.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let mut statistic = 0_f64;
    let mut before = 0;
    for equal in sorted.chunk_by(|a, b| a == b) {
        let after = before + equal.len();
        let x = equal[0];
        statistic =
            statistic.max((below(x) - before as f64 / n).abs()).max((upto(x) - after as f64 / n).abs());
        before = after;
    }
    KolmogorovSmirnov { statistic, p_value: kolmogorov_sf(statistic, n) }
}

/// Tests whether two samples come from the same law. An empty sample, or a NaN, gives a statistic of 1 and p = 0.
pub fn kolmogorov_smirnov_two(a: &[f64], b: &[f64]) -> KolmogorovSmirnov {
    if a.is_empty() || b.is_empty() || a.iter().chain(b).any(|x| x.is_nan()) {
        return KolmogorovSmirnov { statistic: 1.0, p_value: 0.0 };
    }
    let sorted = |sample: &[f64]| {
        let mut sorted = sample.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted
    };
    let (a, b) = (sorted(a), sorted(b));
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (mut i, mut j) = (0, 0);
    let mut statistic = 0_f64;
    while i < a.len() && j < b.len() {
        let x = a[i].min(b[j]);
        while i < a.len() && a[i] <= x {
            i += 1;
        }
        while j < b.len() && b[j] <= x {
            j += 1;
        }
        statistic = statistic.max((i as f64 / n - j as f64 / m).abs());
    }
    KolmogorovSmirnov { statistic, p_value: kolmogorov_sf(statistic, n * m / (n + m)) }
}

/// Probability that the one-sample statistic of `n` draws exceeds `statistic`: Kolmogorov's limit at a corrected argument,
/// right to about 2 % of p at n = 20 and better for more (J. Vrbik, "Small-sample corrections to Kolmogorov–Smirnov test
/// statistic", Pioneer Journal of Theoretical and Applied Statistics 15, 2018).
fn kolmogorov_sf(statistic: f64, n: f64) -> f64 {
    let x = statistic * n.sqrt();
    kolmogorov_limit_sf(x + 1.0 / (6.0 * n.sqrt()) + (x - 1.0) / (4.0 * n))
}

/// 1 - K(x), K being Kolmogorov's distribution.
fn kolmogorov_limit_sf(x: f64) -> f64 {
    use std::f64::consts::PI;
    if x <= 0.0 {
        return 1.0;
    }
    // Two forms of the same theta function, each quick on its side.
    if x < 1.0 {
        let sum: f64 =
            (0..4).map(|k| libm::exp(-f64::from((2 * k + 1) * (2 * k + 1)) * PI * PI / (8.0 * x * x))).sum();
        1.0 - (2.0 * PI).sqrt() / x * sum
    } else {
        let term = |k: i32| {
            let size = libm::exp(-2.0 * f64::from(k * k) * x * x);
            if k % 2 == 1 { size } else { -size }
        };
        (2.0 * (1..6).map(term).sum::<f64>()).clamp(0.0, 1.0)
    }
}
