//! Frequencies of small kernels.

use rayon::prelude::*;

use crate::special::{cos, sin};

/// Kernels that one task takes at least.
const KERNELS: usize = 64;

/// Whether a frequency of a kernel, in cycles per tap, is above half of Nyquist's.
fn is_high(rows: usize, columns: usize, at: usize) -> bool {
    let along = |n: usize, k: usize| k.min(n - k) as f64 / n as f64;
    let (down, across) = (along(rows, at / columns), along(columns, at % columns));
    down * down + across * across > 0.25 * 0.25
}

/// Share of a kernel's frequencies that are above a quarter of a cycle per tap, half of Nyquist's: that of white noise's
/// energy. 0 of a kernel without taps.
pub fn white_share(rows: usize, columns: usize) -> f64 {
    let n = rows * columns;
    (0..n).filter(|&at| is_high(rows, columns, at)).count() as f64 / n.max(1) as f64
}

/// Share of the energy of kernels, one after the other and each row by row, that is above half of Nyquist's frequency. None
/// where there is no energy.
///
/// ```
/// use epoch0_num::waves::high_share;
///
/// assert!(high_share(&[1.0; 9], 3, 3).unwrap() < 1e-12);
/// assert!(high_share(&[1.0, -1.0, 1.0, -1.0], 2, 2).unwrap() > 1.0 - 1e-12);
/// assert_eq!(high_share(&[0.0; 9], 3, 3), None);
/// ```
pub fn high_share(kernels: &[f64], rows: usize, columns: usize) -> Option<f64> {
    let n = rows * columns;
    if n == 0 {
        return None;
    }
    let wave = |at: usize| {
        let of_tap = |tap: usize| {
            let turns = (at / columns * (tap / columns) % rows) as f64 / rows as f64
                + (at % columns * (tap % columns) % columns) as f64 / columns as f64;
            let angle = std::f64::consts::TAU * turns;
            (cos(angle), sin(angle))
        };
        (is_high(rows, columns, at), (0..n).map(of_tap).collect::<Vec<(f64, f64)>>())
    };
    let waves: Vec<_> = (0..n).map(wave).collect();
    let energies: Vec<(f64, f64)> = kernels
        .par_chunks_exact(n)
        .with_min_len(KERNELS)
        .map(|kernel| {
            let (mut high, mut all) = (0.0, 0.0);
            for (is_high, wave) in &waves {
                let (mut real, mut imaginary) = (0.0, 0.0);
                for (value, (c, s)) in kernel.iter().zip(wave) {
                    real += value * c;
                    imaginary += value * s;
                }
                let energy = real * real + imaginary * imaginary;
                all += energy;
                high += if *is_high { energy } else { 0.0 };
            }
            (high, all)
        })
        .collect();
    let (high, all) = energies.iter().fold((0.0, 0.0), |sums, one| (sums.0 + one.0, sums.1 + one.1));
    (all > 0.0).then(|| high / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_has_all_frequencies_alike() {
        let mut point = vec![0.0; 35];
        point[11] = 2.0;
        assert!((high_share(&point, 5, 7).unwrap() - white_share(5, 7)).abs() < 1e-12);
        // Of 3 × 3, all frequencies but the constant are a third of a cycle or more.
        assert!((white_share(3, 3) - 8.0 / 9.0).abs() < 1e-15);
    }
}
