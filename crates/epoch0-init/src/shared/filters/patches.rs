//! Patches of what a map reads, and whitening.

use epoch0_net::{Op, Window};
use epoch0_num::Stream;
use epoch0_num::symmetric::{Eigen, eigen};
use rayon::prelude::*;

use crate::calibrate::Meeting;

/// Numbers that patches are at most.
const NUMBERS: usize = 8_000_000;
/// What is added to the variance of a patch before it is divided by, as a share of the mean variance.
const CONTRAST: f64 = 0.01;

/// Patches, one a row.
#[derive(Clone, Debug)]
pub(crate) struct Patches {
    /// Numbers of a patch, in the order of a filter's weights.
    pub(crate) d: usize,
    /// As they are read.
    pub(crate) raw: Vec<f64>,
    /// Of one mean and contrast where they reach over several places, less the mean patch.
    pub(crate) values: Vec<f64>,
}

impl Patches {
    /// `most` patches at random, or all where there are no more, of what one group of a map reads: `values` of a shape.
    pub(crate) fn of(
        met: &Meeting<'_>,
        (shape, values): (&[usize], &[f64]),
        group: usize,
        most: usize,
        stream: &Stream,
    ) -> Option<Self> {
        match met.op {
            Op::Conv { window, groups, transposed: false, .. } => {
                let places = Places::new(shape, window, *groups, group)?;
                let (n, d) = (places.count(), places.d());
                let which = Self::which(n, d, most, stream);
                let mut raw = vec![0.0; which.len() * d];
                for (&nth, out) in which.iter().zip(raw.chunks_mut(d)) {
                    places.read(values, nth, out);
                }
                Some(Self::new(raw, d, window.kernel.iter().product::<usize>() > 1))
            }
            Op::Linear { .. } => {
                let d = *shape.last()?;
                let which = Self::which(values.len() / d.max(1), d, most, stream);
                let raw = which.iter().flat_map(|&nth| &values[nth * d..(nth + 1) * d]).copied().collect();
                Some(Self::new(raw, d, false))
            }
            _ => None,
        }
    }

    fn which(n: usize, d: usize, most: usize, stream: &Stream) -> Vec<usize> {
        let most = most.min(NUMBERS / d.max(1)).max(1);
        if n <= most {
            return (0..n).collect();
        }
        (0..most as u64).map(|at| stream.below(at, n as u64) as usize).collect()
    }

    /// Of these rows; of one contrast where it is asked for.
    pub(crate) fn new(raw: Vec<f64>, d: usize, of_one_contrast: bool) -> Self {
        let mut values = raw.clone();
        if of_one_contrast {
            let moments: Vec<(f64, f64)> = raw
                .chunks(d)
                .map(|patch| {
                    let mean = patch.iter().sum::<f64>() / d as f64;
                    (mean, patch.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / d as f64)
                })
                .collect();
            let floor =
                CONTRAST * moments.iter().map(|(_, var)| var).sum::<f64>() / moments.len().max(1) as f64;
            for (patch, (mean, var)) in values.chunks_mut(d).zip(moments) {
                let std = (var + floor).sqrt();
                let scaled = |value: f64| if std > 0.0 { (value - mean) / std } else { 0.0 };
                patch.iter_mut().for_each(|value| *value = scaled(*value));
            }
        }
        let n = (values.len() / d.max(1)).max(1) as f64;
        let mut mean = vec![0.0; d];
        for patch in values.chunks(d) {
            mean.iter_mut().zip(patch).for_each(|(sum, value)| *sum += value / n);
        }
        for patch in values.chunks_mut(d) {
            patch.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean);
        }
        Self { d, raw, values }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.raw.len() / self.d
    }

    /// A patch as filters are learned from it.
    pub(crate) fn patch(&self, at: usize) -> &[f64] {
        &self.values[at * self.d..(at + 1) * self.d]
    }

    /// Some of them at random, no two the same, and none of them zero: as many as asked, or as there are.
    pub(crate) fn some(&self, n: usize, stream: &Stream) -> Vec<usize> {
        let mut all: Vec<usize> =
            (0..self.len()).filter(|&at| self.patch(at).iter().any(|value| value.abs() > 1e-9)).collect();
        let n = n.min(all.len());
        for at in 0..n {
            let other = at + stream.below(at as u64, (all.len() - at) as u64) as usize;
            all.swap(at, other);
        }
        all.truncate(n);
        all
    }

    /// Eigenvalues and eigenvectors of the covariance.
    pub(crate) fn components(&self) -> Option<Eigen> {
        let (d, n) = (self.d, self.len() as f64);
        let mut covariance = vec![0.0; d * d];
        covariance.par_chunks_mut(d).enumerate().for_each(|(row, out)| {
            for patch in self.values.chunks(d) {
                let factor = patch[row] / n;
                out[..=row].iter_mut().zip(patch).for_each(|(sum, value)| *sum += factor * value);
            }
        });
        for at in 0..d * d {
            if at % d > at / d {
                covariance[at] = covariance[at % d * d + at / d];
            }
        }
        eigen(d, &covariance)
    }

    /// Whether nothing varies.
    pub(crate) fn is_flat(&self) -> bool {
        self.values.iter().all(|value| value.abs() < 1e-12)
    }
}

/// A symmetric map after which patches have the identity as covariance.
#[derive(Clone, Debug)]
pub(crate) struct Whitening {
    d: usize,
    map: Vec<f64>,
}

impl Whitening {
    /// With `epsilon`, as a share of the mean variance, added to the variance of each direction.
    pub(crate) fn new(components: &Eigen, epsilon: f64) -> Self {
        let d = components.values.len();
        let mean = components.values.iter().sum::<f64>() / d as f64;
        // Directions without variance stay without.
        let floor = 1e-10 * components.values[0].max(0.0);
        let scale = |value: f64| {
            if value > floor || epsilon > 0.0 { 1.0 / (value.max(0.0) + epsilon * mean).sqrt() } else { 0.0 }
        };
        Self { d, map: components.map(scale) }
    }

    /// Each row through the map, which takes whitened patches from patches, and filters of patches from filters of
    /// whitened ones.
    pub(crate) fn of(&self, rows: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; rows.len()];
        out.par_chunks_mut(self.d).zip(rows.par_chunks(self.d)).for_each(|(out, row)| {
            for (value, map) in row.iter().zip(self.map.chunks(self.d)) {
                out.iter_mut().zip(map).for_each(|(sum, entry)| *sum += value * entry);
            }
        });
        out
    }
}

/// Where the window of a convolution can lie: inside of its input, where it fits there, otherwise where padding lets it.
struct Places<'a> {
    window: &'a Window,
    /// Examples, channels of all groups, and lengths.
    examples: usize,
    channels: usize,
    lengths: &'a [usize],
    /// First channel, and how many the group has.
    first: usize,
    of_group: usize,
    /// In each dimension the first origin and how many there are.
    origins: Vec<(isize, usize)>,
}

impl<'a> Places<'a> {
    fn new(shape: &'a [usize], window: &'a Window, groups: usize, group: usize) -> Option<Self> {
        let [examples, channels, lengths @ ..] = shape else { return None };
        if lengths.len() != window.kernel.len() {
            return None;
        }
        let origins = lengths.iter().enumerate().map(|(dim, &length)| {
            let span = (window.kernel[dim] - 1) * window.dilation[dim] + 1;
            if length >= span {
                return Some((0, length - span + 1));
            }
            let padding = window.padding[dim];
            let n = (length + 2 * padding + 1).checked_sub(span).filter(|n| *n > 0)?;
            Some((-(padding as isize), n))
        });
        let origins = origins.collect::<Option<Vec<_>>>()?;
        let (examples, channels, of_group) = (*examples, *channels, channels / groups.max(1));
        Some(Self { window, examples, channels, lengths, first: group * of_group, of_group, origins })
    }

    fn count(&self) -> usize {
        self.examples * self.origins.iter().map(|(_, n)| n).product::<usize>()
    }

    fn d(&self) -> usize {
        self.of_group * self.window.kernel.iter().product::<usize>()
    }

    /// The `nth` patch, in the order of a filter's weights: channels, then taps.
    fn read(&self, values: &[f64], mut nth: usize, out: &mut [f64]) {
        let mut origin = vec![0; self.origins.len()];
        for (at, &(first, n)) in origin.iter_mut().zip(&self.origins).rev() {
            *at = first + (nth % n) as isize;
            nth /= n;
        }
        let area: usize = self.lengths.iter().product();
        let taps: usize = self.window.kernel.iter().product();
        for tap in 0..taps {
            let (mut rest, mut place, mut stride, mut is_inside) = (tap, 0, 1, true);
            for dim in (0..origin.len()).rev() {
                let step = rest % self.window.kernel[dim];
                rest /= self.window.kernel[dim];
                let at = origin[dim] + (step * self.window.dilation[dim]) as isize;
                is_inside &= (0..self.lengths[dim] as isize).contains(&at);
                place += at.max(0) as usize * stride;
                stride *= self.lengths[dim];
            }
            for channel in 0..self.of_group {
                let base = (nth * self.channels + self.first + channel) * area;
                out[channel * taps + tap] = if is_inside { values[base + place] } else { 0.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use epoch0_num::Law;
    use epoch0_num::symmetric::dot;

    #[test]
    fn patches_are_those_of_the_window() {
        // Two examples of two channels, 3 × 4; the second group reads the second channel.
        let values: Vec<f64> = (0..48).map(f64::from).collect();
        let window =
            Window { kernel: vec![2, 2], stride: vec![1, 1], padding: vec![0, 0], dilation: vec![1, 2] };
        let places = Places::new(&[2, 2, 3, 4], &window, 2, 1).unwrap();
        assert_eq!((places.count(), places.d()), (2 * 2 * 2, 4));
        let mut out = vec![0.0; 4];
        places.read(&values, 5, &mut out);
        // Second example, origin (0, 1).
        assert_eq!(out, [37.0, 39.0, 41.0, 43.0]);
        let wide = Window::square(5, 1, 2);
        let places = Places::new(&[1, 1, 2, 2], &wide, 1, 0).unwrap();
        let mut out = vec![0.0; 25];
        places.read(&values, 0, &mut out);
        assert_eq!((out[12], out[13], out[18], out.iter().sum::<f64>()), (0.0, 1.0, 3.0, 6.0));
        assert!(Places::new(&[1, 1, 2, 2], &Window::square(7, 1, 2), 1, 0).is_none());
    }

    #[test]
    fn whitened_patches_have_the_identity_as_covariance() {
        let mut raw = vec![0.0; 4000 * 6];
        Law::normal(0.0, 1.0).fill(&Stream::new(1, "patches"), 0, &mut raw).unwrap();
        raw.chunks_mut(6).for_each(|patch| {
            patch[1] += 3.0 * patch[0];
            patch[5] = 10.0 * patch[5] + patch[2];
        });
        let patches = Patches::new(raw, 6, false);
        let white = Whitening::new(&patches.components().unwrap(), 0.0).of(&patches.values);
        let again = Patches::new(white, 6, false).components().unwrap();
        assert!(again.values.iter().all(|value| (value - 1.0).abs() < 1e-9), "{:?}", again.values);
        assert!((dot(again.vector(0), again.vector(0)) - 1.0).abs() < 1e-12);
    }
}
