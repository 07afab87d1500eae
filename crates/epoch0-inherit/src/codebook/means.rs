//! k-means: of numbers, exactly and in order, and of neurons by what their weights look like.

use epoch0_num::Stream;

/// Most rounds of k-means of numbers.
const ROUNDS: usize = 300;
/// Most rounds of k-means of neurons.
const NEURON_ROUNDS: usize = 50;

/// At most `k` centres of numbers in ascending order, which are in ascending order too; fewer where there are fewer numbers.
/// They begin at stretched quantiles.
pub(super) fn centres(sorted: &[f32], k: usize) -> Vec<f64> {
    let n = sorted.len();
    if n == 0 {
        return vec![0.0; k];
    }
    let mut sums = Vec::with_capacity(n + 1);
    let mut sum = 0.0;
    sums.push(0.0);
    for &value in sorted {
        sum += f64::from(value);
        sums.push(sum);
    }
    // The best levels lie as a law does that is √3 times as wide, where numbers are normal (Panter and Dite 1951).
    let (least, middle, most) = (f64::from(sorted[0]), f64::from(sorted[n / 2]), f64::from(sorted[n - 1]));
    let quantile = |nth: usize| f64::from(sorted[((2 * nth + 1) * n / (2 * k)).min(n - 1)]);
    let begin = |nth: usize| (middle + 3f64.sqrt() * (quantile(nth) - middle)).clamp(least, most);
    let mut centres: Vec<f64> = (0..k).map(begin).collect();
    for _ in 0..ROUNDS {
        let ends = ends(sorted, &centres);
        let mut found = Vec::with_capacity(k);
        let mut empty = 0;
        for pair in ends.windows(2) {
            match pair[1] - pair[0] {
                0 => empty += 1,
                len => found.push((sums[pair[1]] - sums[pair[0]]) / len as f64),
            }
        }
        refill(sorted, &sums, &mut found, empty);
        // Where numbers do not differ enough, centres repeat.
        while found.len() < k {
            found.push(found[found.len() - 1]);
        }
        found.sort_by(f64::total_cmp);
        if found == centres {
            break;
        }
        centres = found;
    }
    centres
}

/// Where the numbers of each centre begin, and where the last end: each belongs to the nearest, of two to the smaller.
fn ends(sorted: &[f32], centres: &[f64]) -> Vec<usize> {
    let mut ends = vec![0];
    for pair in centres.windows(2) {
        let middle = f64::midpoint(pair[0], pair[1]);
        let begin = ends[ends.len() - 1];
        ends.push(begin + sorted[begin..].partition_point(|&x| f64::from(x) <= middle));
    }
    ends.push(sorted.len());
    ends
}

/// Cuts those that hold the numbers with the largest error in two, once for each that was empty.
fn refill(sorted: &[f32], sums: &[f64], found: &mut Vec<f64>, empty: usize) {
    for _ in 0..empty {
        found.sort_by(f64::total_cmp);
        let ends = ends(sorted, found);
        let error = |nth: usize| -> f64 {
            sorted[ends[nth]..ends[nth + 1]].iter().map(|&x| (f64::from(x) - found[nth]).powi(2)).sum()
        };
        let errors: Vec<f64> = (0..found.len()).map(error).collect();
        let worst =
            (0..found.len()).fold(0, |worst, nth| if errors[nth] > errors[worst] { nth } else { worst });
        let (begin, end) = (ends[worst], ends[worst + 1]);
        let cut = begin + sorted[begin..end].partition_point(|&x| f64::from(x) <= found[worst]);
        if cut == begin || cut == end {
            return;
        }
        let mean = |begin: usize, end: usize| (sums[end] - sums[begin]) / (end - begin) as f64;
        found[worst] = mean(begin, cut);
        found.push(mean(cut, end));
    }
}

/// The nearest of levels in ascending order; of two the smaller.
pub(super) fn nearest(levels: &[f32], value: f32) -> usize {
    let above = levels.partition_point(|&level| level < value);
    match above {
        0 => 0,
        above if above == levels.len() => above - 1,
        above if value - levels[above - 1] <= levels[above] - value => above - 1,
        above => above,
    }
}

/// Groups of neurons with weights that are alike, given what describes each: for each neuron its group. Groups are numbered by
/// the mean of the first number that describes their neurons.
pub(super) fn neurons(described: &[Vec<f64>], k: usize, stream: &Stream) -> Vec<usize> {
    let n = described.len();
    let k = k.min(n);
    if k <= 1 {
        return vec![0; n];
    }
    let points = standardized(described);
    let mut centres = begin(&points, k, stream);
    let mut of = vec![0; n];
    for round in 0..NEURON_ROUNDS {
        let mut moved = round == 0;
        for (point, of) in points.iter().zip(&mut of) {
            let nearest = closest(point, &centres).0;
            moved |= nearest != *of;
            *of = nearest;
        }
        // One that has become empty takes the neuron that is farthest from its own.
        for empty in (0..k).filter(|nth| !of.contains(nth)).collect::<Vec<_>>() {
            let off = |at: usize| distance(&points[at], &centres[of[at]]);
            let shared = |at: usize| of.iter().filter(|&&other| other == of[at]).count() > 1;
            let far =
                (0..n).filter(|&at| shared(at)).max_by(|&a, &b| off(a).total_cmp(&off(b)).then(b.cmp(&a)));
            if let Some(far) = far.filter(|&far| off(far) > 0.0) {
                of[far] = empty;
                moved = true;
            }
        }
        if !moved {
            break;
        }
        for (nth, centre) in centres.iter_mut().enumerate() {
            let own: Vec<&Vec<f64>> =
                points.iter().zip(&of).filter(|(_, of)| **of == nth).map(|(p, _)| p).collect();
            if own.is_empty() {
                continue;
            }
            for (dim, value) in centre.iter_mut().enumerate() {
                *value = own.iter().map(|point| point[dim]).sum::<f64>() / own.len() as f64;
            }
        }
    }
    numbered(&of, described, k)
}

/// Groups that hold something, in ascending order of what describes them first.
fn numbered(of: &[usize], described: &[Vec<f64>], k: usize) -> Vec<usize> {
    let mut groups: Vec<(f64, usize)> = (0..k)
        .filter_map(|nth| {
            let own = of.iter().zip(described).filter(|(of, _)| **of == nth).map(|(_, point)| point[0]);
            let own: Vec<f64> = own.collect();
            (!own.is_empty()).then(|| (own.iter().sum::<f64>() / own.len() as f64, nth))
        })
        .collect();
    groups.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut names = vec![0; k];
    groups.iter().enumerate().for_each(|(name, (_, nth))| names[*nth] = name);
    of.iter().map(|&nth| names[nth]).collect()
}

/// Each number by its mean and standard deviation over all.
fn standardized(points: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let (n, dims) = (points.len() as f64, points[0].len());
    let mean: Vec<f64> =
        (0..dims).map(|dim| points.iter().map(|point| point[dim]).sum::<f64>() / n).collect();
    let std: Vec<f64> = (0..dims)
        .map(|dim| (points.iter().map(|point| (point[dim] - mean[dim]).powi(2)).sum::<f64>() / n).sqrt())
        .collect();
    let one = |point: &Vec<f64>| {
        let dims = point.iter().enumerate();
        dims.map(|(dim, value)| if std[dim] > 0.0 { (value - mean[dim]) / std[dim] } else { 0.0 }).collect()
    };
    points.iter().map(one).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

fn closest(point: &[f64], centres: &[Vec<f64>]) -> (usize, f64) {
    let mut best = (0, f64::INFINITY);
    for (nth, centre) in centres.iter().enumerate() {
        let far = distance(point, centre);
        if far < best.1 {
            best = (nth, far);
        }
    }
    best
}

/// Centres far from each other: each is drawn with the squared distance to the nearest so far (k-means++).
fn begin(points: &[Vec<f64>], k: usize, stream: &Stream) -> Vec<Vec<f64>> {
    let mut centres = vec![points[stream.below(0, points.len() as u64) as usize].clone()];
    let mut far: Vec<f64> = points.iter().map(|point| distance(point, &centres[0])).collect();
    while centres.len() < k {
        let all: f64 = far.iter().sum();
        let mut left = all * (f64::from(stream.word(2 * centres.len() as u64 + 2)) / f64::from(u32::MAX));
        let mut chosen = points.len() - 1;
        for (at, far) in far.iter().enumerate() {
            left -= far;
            if left < 0.0 {
                chosen = at;
                break;
            }
        }
        let centre = points[chosen].clone();
        far.iter_mut().zip(points).for_each(|(far, point)| *far = far.min(distance(point, &centre)));
        centres.push(centre);
    }
    centres
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centres_are_the_means_of_what_is_nearest() {
        let sorted = [-3.0, -2.0, -1.0, 10.0, 11.0, 100.0];
        assert_eq!(centres(&sorted, 3), [-2.0, 10.5, 100.0]);
        // An optimum of a heavy tail, which quantiles alone do not see.
        let mut values: Vec<f32> = vec![0.0; 1000];
        values.extend([1.0, 5.0, 9.0]);
        assert_eq!(centres(&values, 4), [0.0, 1.0, 5.0, 9.0]);
    }

    #[test]
    fn numbers_that_are_the_same_give_centres_that_are() {
        assert_eq!(centres(&[2.0; 5], 4), [2.0; 4]);
        assert_eq!(centres(&[1.0, 2.0], 3), [1.0, 2.0, 2.0]);
        assert_eq!(centres(&[], 2), [0.0, 0.0]);
    }

    #[test]
    fn the_nearest_level_of_two_is_the_smaller() {
        let levels = [-1.0, 0.0, 2.0];
        let found: Vec<usize> = [-5.0, -0.5, -0.4, 1.0, 1.1, 7.0].map(|x| nearest(&levels, x)).to_vec();
        assert_eq!(found, [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn neurons_that_are_alike_are_together() {
        let described: Vec<Vec<f64>> =
            (0..30).map(|at| vec![[1.0, 100.0, 10.0][at % 3] * (1.0 + at as f64 * 1e-3), 0.0]).collect();
        let groups = neurons(&described, 3, &Stream::new(0, "test"));
        assert!((0..30).all(|at| groups[at] == [0, 2, 1][at % 3]), "{groups:?}");
        assert_eq!(neurons(&vec![vec![1.0]; 4], 3, &Stream::new(0, "test")), [0; 4]);
    }
}
