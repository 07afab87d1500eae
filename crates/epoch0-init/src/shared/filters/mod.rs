//! Starts by filters: patterns that are known, and filters learned from patches of what a layer reads.

mod learn;
mod patches;
mod pattern;

use epoch0_method::Choice;
use epoch0_num::Stream;
use epoch0_num::joint::orthogonal;
use epoch0_num::symmetric::dot;

pub(crate) use learn::{Learner, Learning, spherical};
pub(crate) use patches::{Patches, Whitening};
pub(crate) use pattern::{Patterns, Spread2d};

/// Which layers get filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Layers {
    /// Those that no other weight comes before, or as few as possible.
    First,
    /// All but readouts, each on what those before it make.
    All,
}

/// Scales a vector to length 1; a vector of zeros stays one.
pub(crate) fn unit(vector: &mut [f64]) {
    let length = dot(vector, vector).sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
}

/// As many filters as asked, rows of `d`: those that there are, then their negatives, then random rotations of them.
pub(crate) fn fill_up(mut filters: Vec<f64>, d: usize, n: usize, stream: &Stream) -> Vec<f64> {
    let own = filters.len() / d.max(1);
    filters.truncate(n * d);
    if own == 0 {
        return filters;
    }
    let negatives: Vec<f64> = filters.iter().take((n - n.min(own)) * d).map(|value| -value).collect();
    filters.extend(negatives);
    for turn in 0.. {
        let missing = (n - filters.len() / d).min(own);
        if missing == 0 {
            break;
        }
        let mut rotation = vec![0.0; own * own];
        orthogonal(&stream.child(&format!("rotation {turn}")), own, own, 1.0, &mut rotation)
            .expect("a square matrix of its size");
        for row in rotation.chunks(own).take(missing) {
            let mut mixed = vec![0.0; d];
            for (share, filter) in row.iter().zip(filters.chunks(d)) {
                mixed.iter_mut().zip(filter).for_each(|(sum, value)| *sum += share * value);
            }
            filters.extend(mixed);
        }
    }
    filters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_filled_up_by_negatives_and_rotations() {
        let stream = Stream::new(1, "filters");
        let own = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        assert_eq!(fill_up(own.clone(), 3, 1, &stream), own[..3]);
        let five = fill_up(own.clone(), 3, 7, &stream);
        assert_eq!(five[..6], own);
        assert!(five[6..12].iter().zip(&own).all(|(a, b)| *a == -b));
        for pair in [&five[12..15], &five[15..18], &five[18..21]] {
            assert!((dot(pair, pair) - 1.0).abs() < 1e-12 && pair[2] == 0.0);
        }
        assert!(dot(&five[12..15], &five[15..18]).abs() < 1e-12);
    }
}
