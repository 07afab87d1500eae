//! Statistics of arrays, in one fixed order whatever the number of threads.

use epoch0_engine::kernel::Gram;
use rayon::prelude::*;

/// Elements that are summed by one task.
const CHUNK: usize = 1 << 14;

/// Mean, variance and extremes of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Moments {
    pub(crate) n: usize,
    pub(crate) mean: f64,
    /// Mean square.
    pub(crate) second: f64,
    pub(crate) non_finite: usize,
    pub(crate) zeros: usize,
}

impl Moments {
    pub(crate) fn of(values: &[f32]) -> Self {
        let parts: Vec<(f64, f64, usize, usize)> = values
            .par_chunks(CHUNK)
            .map(|part| {
                let (mut sum, mut square, mut odd, mut zeros) = (0.0, 0.0, 0, 0);
                for &x in part {
                    let x = f64::from(x);
                    if x.is_finite() {
                        sum += x;
                        square += x * x;
                        zeros += usize::from(x == 0.0);
                    } else {
                        odd += 1;
                    }
                }
                (sum, square, odd, zeros)
            })
            .collect();
        let (mut sum, mut square, mut odd, mut zeros) = (0.0, 0.0, 0, 0);
        for part in parts {
            sum += part.0;
            square += part.1;
            odd += part.2;
            zeros += part.3;
        }
        let n = values.len().max(1) as f64;
        Self { n: values.len(), mean: sum / n, second: square / n, non_finite: odd, zeros }
    }

    /// Variance; second moment less the mean's square, which is exact enough where it is shown.
    pub(crate) fn variance(&self) -> f64 {
        (self.second - self.mean * self.mean).max(0.0)
    }
}

/// Mean cosine of pairs of neighbouring examples; NaN where there is no pair or one is zero.
pub(crate) fn cosine(values: &[f32], examples: usize) -> f64 {
    if examples < 2 || values.is_empty() {
        return f64::NAN;
    }
    let width = values.len() / examples;
    let rows: Vec<&[f32]> = values.chunks_exact(width).collect();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    let squares: Vec<f64> = rows.par_iter().map(|row| dot(row, row)).collect();
    // Distances keep what cosines close to one lose.
    let pairs: Vec<f64> = (0..rows.len() - 1)
        .into_par_iter()
        .map(|at| {
            let (a, b) = (squares[at].sqrt(), squares[at + 1].sqrt());
            if a == 0.0 || b == 0.0 {
                return f64::NAN;
            }
            let gap: f64 = rows[at]
                .iter()
                .zip(rows[at + 1])
                .map(|(&x, &y)| {
                    let gap = f64::from(x) / a - f64::from(y) / b;
                    gap * gap
                })
                .sum();
            gap / 2.0
        })
        .collect();
    1.0 - pairs.iter().sum::<f64>() / pairs.len() as f64
}

/// Effective rank of examples: `exp` of the entropy of the shares that directions have of the variance about the mean
/// (Roy and Vetterli 2007, with squared singular values); from 1 to `examples − 1`. NaN where nothing varies.
pub(crate) fn effective_rank(values: &[f32], examples: usize) -> f64 {
    if examples < 2 || values.is_empty() {
        return f64::NAN;
    }
    let width = values.len() / examples;
    let mut mean = vec![0.0f64; width];
    for row in values.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x) / examples as f64);
    }
    let centred: Vec<f64> = values
        .chunks_exact(width)
        .flat_map(|row| row.iter().zip(&mean).map(|(&x, mean)| f64::from(x) - mean))
        .collect();
    match Gram::of_rows(&centred, &centred, width).spectrum() {
        Ok(spectrum) if spectrum.max() > 0.0 => spectrum.effective_rank(),
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_counts_directions() {
        // Four examples at the corners of a square: two directions of the same variance.
        let values = [1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0];
        assert!((effective_rank(&values, 4) - 2.0).abs() < 1e-9);
        // On a line: one direction.
        assert!((effective_rank(&[0.0, 0.0, 1.0, 2.0, 2.0, 4.0], 3) - 1.0).abs() < 1e-9);
        assert!(effective_rank(&[1.0, 2.0, 1.0, 2.0], 2).is_nan());
    }

    #[test]
    fn cosine_of_pairs() {
        assert!((cosine(&[1.0, 0.0, 0.0, 2.0], 2)).abs() < 1e-12);
        assert!((cosine(&[1.0, 0.0, 3.0, 0.0, -1.0, 0.0], 3) - 0.0).abs() < 1e-12);
        // Closer than single precision's cosine could tell.
        let close = cosine(&[1.0, 0.0, 1.0, 1e-6], 2);
        assert!((1.0 - close) > 0.0 && (1.0 - close) < 1e-11);
        assert!(cosine(&[1.0], 1).is_nan());
    }

    #[test]
    fn moments_count_what_is_not_finite() {
        let found = Moments::of(&[1.0, -1.0, f32::NAN, 0.0]);
        assert_eq!((found.n, found.non_finite, found.zeros), (4, 1, 1));
        assert_eq!(found.second, 0.5);
    }
}
