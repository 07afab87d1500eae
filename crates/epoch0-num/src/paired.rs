//! Comparisons over few seeds: intervals of means, paired tests, and their correction when there are several.
//!
//! What is compared is paired: number `i` of both sides has the same seed and data, so that what seeds do to both alike
//! cancels in the difference.

use crate::stats::Moments;

/// A mean with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean; NaN of nothing.
    pub mean: f64,
    /// Low and high end; NaN of less than two numbers.
    pub interval: (f64, f64),
}

/// The mean of a sample and the interval in which the true one lies with probability `level`, by Student's t; the sample is
/// taken to be normal.
pub fn mean(sample: &[f64], level: f64) -> Mean {
    let moments = Moments::of(sample);
    let (mean, n) = (moments.mean(), sample.len() as f64);
    let reach =
        if n < 2.0 { f64::NAN } else { t_quantile(0.5 + 0.5 * level, n - 1.0) * moments.mean_error() };
    Mean { mean, interval: (mean - reach, mean + reach) }
}

/// Probability of a mean difference at least as large, in either direction, if the differences were normal around 0:
/// Student's paired t-test. NaN of less than two differences; 1 where all are 0.
pub fn t_test(differences: &[f64]) -> f64 {
    let moments = Moments::of(differences);
    if differences.len() < 2 {
        return f64::NAN;
    }
    if moments.mean() == 0.0 {
        return 1.0;
    }
    t_two_sided(moments.mean() / moments.mean_error(), differences.len() as f64 - 1.0)
}

/// Probability of signed ranks at least as uneven if each difference had either sign with probability 1/2: Wilcoxon's
/// signed-rank test, exact also where differences are equal. Zeros are left out, as Wilcoxon does. With n differences the
/// smallest p there can be is 2^(1 − n): 0.0625 with five.
///
/// NaN where nothing is left, and above 1,000 differences, where the exact law takes too long.
pub fn signed_rank_test(differences: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = differences.iter().copied().filter(|&d| d != 0.0).collect();
    let n = sorted.len();
    if n == 0 || n > 1000 || sorted.iter().any(|d| d.is_nan()) {
        return f64::NAN;
    }
    sorted.sort_unstable_by(|a, b| a.abs().total_cmp(&b.abs()));
    // Twice the ranks, which are whole also where equal differences share the mean of theirs.
    let mut ranks = Vec::with_capacity(n);
    for equal in sorted.chunk_by(|a, b| a.abs() == b.abs()) {
        let before = ranks.len();
        ranks.extend(std::iter::repeat_n(2 * before + 1 + equal.len(), equal.len()));
    }
    let total: usize = ranks.iter().sum();
    let positive: usize = sorted.iter().zip(&ranks).filter(|(d, _)| **d > 0.0).map(|(_, rank)| rank).sum();
    // Probability of each sum of the ranks with a positive sign.
    let mut law = vec![0.0; total + 1];
    law[0] = 1.0;
    let mut reached = 0;
    for &rank in &ranks {
        reached += rank;
        for sum in (0..=reached).rev() {
            let with = if sum >= rank { law[sum - rank] } else { 0.0 };
            law[sum] = 0.5 * (law[sum] + with);
        }
    }
    let (low, high) = (law[..=positive].iter().sum::<f64>(), law[positive..].iter().sum::<f64>());
    (2.0 * low.min(high)).min(1.0)
}

/// p-values corrected for their number, so that the chance of any false finding stays what one p-value says: from the
/// smallest on, each times the number of those not smaller, and none smaller than the one before (S. Holm 1979). NaN stays
/// NaN and is not counted.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).filter(|&at| !p_values[at].is_nan()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut corrected = p_values.to_vec();
    let mut least = 0.0f64;
    for (nth, &at) in order.iter().enumerate() {
        least = least.max((p_values[at] * (order.len() - nth) as f64).min(1.0));
        corrected[at] = least;
    }
    corrected
}

/// Probability that |T| is at least |t| under Student's law with `df` degrees of freedom.
pub fn t_two_sided(t: f64, df: f64) -> f64 {
    if t.is_infinite() {
        return 0.0;
    }
    // Near 0 the argument is too close to 1 to say how far it is from there; its complement says it.
    if t * t < df {
        return 1.0 - incomplete_beta(t * t / (df + t * t), 0.5, df / 2.0);
    }
    incomplete_beta(df / (df + t * t), df / 2.0, 0.5)
}

/// The number below which Student's law with `df` degrees of freedom has probability `p`.
pub fn t_quantile(p: f64, df: f64) -> f64 {
    if p.is_nan() || !(0.0..=1.0).contains(&p) || df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    if p == 0.5 {
        return 0.0;
    }
    if p < 0.5 {
        return -t_quantile(1.0 - p, df);
    }
    if p == 1.0 {
        return f64::INFINITY;
    }
    let tail = 2.0 * (1.0 - p);
    let (mut low, mut high) = (0.0f64, 1.0f64);
    while t_two_sided(high, df) > tail && high < f64::MAX / 4.0 {
        (low, high) = (high, 2.0 * high);
    }
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return middle;
        }
        if t_two_sided(middle, df) > tail { low = middle } else { high = middle }
    }
}

/// The regularized incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22) on the side where that is
/// quick.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x.is_nan() {
        return f64::NAN;
    }
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let log_front =
        a * libm::log(x) + b * libm::log1p(-x) + libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b);
    // Lentz's way of going through the fraction; nothing becomes exactly 0.
    let away = |x: f64| if x.abs() < 1e-300 { 1e-300 } else { x };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in 1..10_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-16 {
            break;
        }
    }
    libm::exp(log_front) * fraction / a
}
