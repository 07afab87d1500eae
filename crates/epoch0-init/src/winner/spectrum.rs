//! Where the middle of a signal's spectrum lies.

use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

/// A signal on a grid, one list of values for each channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sampled {
    /// Samples along each dimension of the grid.
    pub(super) shape: Vec<usize>,
    /// Values by channel, row-major.
    pub(super) channels: Vec<Vec<f64>>,
}

impl Sampled {
    /// A grid of the first `n_dims` dimensions, and channels in the last one where there is another.
    pub(super) fn new(shape: &[usize], values: &[f64], n_dims: usize) -> Option<Self> {
        let n_channels = match shape.len().checked_sub(n_dims)? {
            0 => 1,
            1 => shape[n_dims],
            _ => return None,
        };
        let channel = |nth: usize| values.iter().skip(nth).step_by(n_channels.max(1)).copied().collect();
        Some(Self { shape: shape[..n_dims].to_vec(), channels: (0..n_channels).map(channel).collect() })
    }

    /// Number of samples of one channel.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// `ψ = 2 Σ k |ŷ(k)| / Σ |ŷ(k)|`, `k` being the frequency in cycles per sample, 0 to ½, of the size of its vector in
    /// more than one dimension; the mean over channels. Nothing for a signal that is 0.
    ///
    /// It is rounded to 2⁻³⁰, so that sums which differ in their last digits are the same.
    pub(super) fn centroid(&self) -> Option<f64> {
        const STEPS: f64 = (1u64 << 30) as f64;
        let mut sum = 0.0;
        for channel in &self.channels {
            let (weighted, total) = self.moments(&spectrum(&self.shape, channel));
            if !(total > 0.0 && total.is_finite()) {
                return None;
            }
            sum += 2.0 * weighted / total;
        }
        let mean = sum / self.channels.len() as f64;
        Some((mean * STEPS).round() / STEPS).filter(|centroid| centroid.is_finite())
    }

    /// `Σ k |ŷ(k)|` and `Σ |ŷ(k)|`.
    fn moments(&self, spectrum: &[Complex<f64>]) -> (f64, f64) {
        let (mut weighted, mut total) = (0.0, 0.0);
        for (at, value) in spectrum.iter().enumerate() {
            // One side of the spectrum of a single dimension is all of it.
            if self.shape.len() == 1 && 2 * at > self.shape[0] {
                break;
            }
            let size = (value.re * value.re + value.im * value.im).sqrt();
            weighted += self.frequency(at) * size;
            total += size;
        }
        (weighted, total)
    }

    /// The frequency of a bin, in cycles per sample, at most ½.
    fn frequency(&self, bin: usize) -> f64 {
        let (mut rest, mut square) = (bin, 0.0);
        for &size in self.shape.iter().rev() {
            let place = rest % size;
            rest /= size;
            let along = place.min(size - place) as f64 / size as f64;
            square += along * along;
        }
        square.sqrt().min(0.5)
    }
}

/// The Fourier transform over all dimensions.
fn spectrum(shape: &[usize], values: &[f64]) -> Vec<Complex<f64>> {
    let mut data: Vec<Complex<f64>> = values.iter().map(|&value| Complex::new(value, 0.0)).collect();
    let mut planner = FftPlanner::new();
    let mut stride = 1;
    for &size in shape.iter().rev() {
        let transform = planner.plan_fft_forward(size);
        let mut line = vec![Complex::default(); size];
        for first in (0..data.len()).filter(|at| at / stride % size == 0) {
            for (step, value) in line.iter_mut().enumerate() {
                *value = data[first + step * stride];
            }
            transform.process(&mut line);
            for (step, value) in line.iter().enumerate() {
                data[first + step * stride] = *value;
            }
        }
        stride *= size;
    }
    data
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    #[test]
    fn images_have_the_size_of_their_waves_vector() {
        let (rows, columns) = (32, 48);
        let wave = |at: usize| {
            let (row, column) = ((at / columns) as f64, (at % columns) as f64);
            (TAU * (row * 4.0 / 32.0 + column * 9.0 / 48.0)).cos()
        };
        let values: Vec<f64> = (0..rows * columns).map(wave).collect();
        let image = Sampled::new(&[rows, columns], &values, 2).unwrap();
        let wanted = 2.0 * (4.0f64 / 32.0).hypot(9.0 / 48.0);
        assert!((image.centroid().unwrap() - wanted).abs() < 1e-8);
    }

    #[test]
    fn channels_stand_last() {
        let values: Vec<f64> = (0..24).map(f64::from).collect();
        let two = Sampled::new(&[12, 2], &values, 1).unwrap();
        assert_eq!((two.shape.clone(), two.channels.len(), two.channels[1][0]), (vec![12], 2, 1.0));
        assert_eq!(two.len(), 12);
        assert!(Sampled::new(&[12, 2], &values, 3).is_none());
        assert!(Sampled::new(&[12, 2, 1, 1], &values, 1).is_none());
        assert_eq!(Sampled::new(&[4], &[0.0; 4], 1).unwrap().centroid(), None);
    }
}
