//! Means, variances and correlations of the same tensor in several networks, in one pass and piece by piece.

/// Sums run side by side, whatever the machine's vectors hold.
const LANES: usize = 8;
/// Numbers that are centred at a time.
pub const BLOCK: usize = 2048;

/// Count, means, and sums of products of deviations, of the same elements in several networks.
///
/// Deviations are taken from the mean of a block, and blocks merged (T. Chan et al. 1983), so that nothing cancels where means
/// are large. What is merged in one order gives the same bits on any number of threads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comoments {
    count: u64,
    means: Vec<f64>,
    /// Of networks i ≥ j, at `i (i + 1) / 2 + j`.
    sums: Vec<f64>,
}

fn at(i: usize, j: usize) -> usize {
    let (low, high) = (i.min(j), i.max(j));
    high * (high + 1) / 2 + low
}

fn sum(values: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for chunk in whole {
        for lane in 0..LANES {
            lanes[lane] += chunk[lane];
        }
    }
    rest.iter().zip(&mut lanes).for_each(|(value, lane)| *lane += value);
    lanes.iter().sum()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let ((whole_a, rest_a), (whole_b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in whole_a.iter().zip(whole_b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for ((a, b), lane) in rest_a.iter().zip(rest_b).zip(&mut lanes) {
        *lane += a * b;
    }
    lanes.iter().sum()
}

impl Comoments {
    /// Of nothing yet, in so many networks.
    pub fn new(n_networks: usize) -> Self {
        Self { count: 0, means: vec![0.0; n_networks], sums: vec![0.0; at(n_networks, 0)] }
    }

    /// Of the same elements of each network.
    ///
    /// # Panics
    /// When they are not equally many.
    pub fn of(networks: &[&[f64]]) -> Self {
        let mut total = Self::new(networks.len());
        let len = networks.first().map_or(0, |values| values.len());
        assert!(networks.iter().all(|values| values.len() == len), "as many elements of each");
        let mut room = vec![0.0; networks.len() * BLOCK];
        for start in (0..len).step_by(BLOCK) {
            let n = BLOCK.min(len - start);
            for (values, room) in networks.iter().zip(room.chunks_mut(BLOCK)) {
                room[..n].copy_from_slice(&values[start..start + n]);
            }
            total.merge(&Self::of_block(&mut room, n));
        }
        total
    }

    /// Of `n` elements of each network, which stand [`BLOCK`] apart and are centred in place.
    pub fn of_block(room: &mut [f64], n: usize) -> Self {
        let mut found = Self::new(room.len() / BLOCK);
        if n == 0 {
            return found;
        }
        found.count = n as u64;
        let mut left = Vec::with_capacity(found.means.len());
        for (values, mean) in room.chunks_mut(BLOCK).zip(&mut found.means) {
            *mean = sum(&values[..n]) / n as f64;
            values[..n].iter_mut().for_each(|value| *value -= *mean);
            // What rounding left in the mean counts again in the products.
            left.push(sum(&values[..n]));
        }
        for i in 0..found.means.len() {
            for j in 0..=i {
                let (a, b) = (&room[i * BLOCK..][..n], &room[j * BLOCK..][..n]);
                found.sums[at(i, j)] = dot(a, b) - left[i] * left[j] / n as f64;
            }
        }
        found
    }

    /// Adds other elements.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            self.clone_from(other);
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let share = b / (a + b);
        let delta: Vec<f64> = other.means.iter().zip(&self.means).map(|(theirs, own)| theirs - own).collect();
        for i in 0..delta.len() {
            for j in 0..=i {
                self.sums[at(i, j)] += other.sums[at(i, j)] + a * share * delta[i] * delta[j];
            }
        }
        self.means.iter_mut().zip(delta).for_each(|(mean, delta)| *mean += share * delta);
        self.count += other.count;
    }

    /// How many elements.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How many networks.
    pub fn n_networks(&self) -> usize {
        self.means.len()
    }

    /// Mean in a network.
    pub fn mean(&self, network: usize) -> f64 {
        self.means[network]
    }

    /// Sum of the products of deviations from the means in two networks.
    pub fn sum(&self, i: usize, j: usize) -> f64 {
        self.sums[at(i, j)]
    }

    /// Unbiased covariance of two networks, of one its variance; NaN of less than two elements.
    pub fn cov(&self, i: usize, j: usize) -> f64 {
        if self.count < 2 { f64::NAN } else { self.sum(i, j) / (self.count - 1) as f64 }
    }

    /// Unbiased variance in a network; NaN of less than two elements.
    pub fn var(&self, network: usize) -> f64 {
        self.cov(network, network).max(0.0)
    }

    /// Pearson correlation of two networks; NaN where one is constant.
    pub fn corr(&self, i: usize, j: usize) -> f64 {
        let scale = (self.sum(i, i) * self.sum(j, j)).sqrt();
        if scale > 0.0 { (self.sum(i, j) / scale).clamp(-1.0, 1.0) } else { f64::NAN }
    }

    /// Mean of the correlations of all pairs in which neither is constant; NaN where there is none.
    pub fn mean_corr(&self) -> f64 {
        let pairs = (0..self.means.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        let found: Vec<f64> = pairs.map(|(i, j)| self.corr(i, j)).filter(|corr| !corr.is_nan()).collect();
        found.iter().sum::<f64>() / found.len() as f64
    }

    /// Mean of the elements' mean with these shares.
    pub fn mean_of(&self, shares: &[f64]) -> f64 {
        shares.iter().zip(&self.means).map(|(share, mean)| share * mean).sum()
    }

    /// Unbiased variance of the elements' mean with these shares: aᵀ C a, without another look at them.
    pub fn var_of(&self, shares: &[f64]) -> f64 {
        let row =
            |i: usize| (0..shares.len()).map(move |j| shares[i] * shares[j] * self.cov(i, j)).sum::<f64>();
        (0..shares.len()).map(row).sum::<f64>().max(0.0)
    }

    /// What theory says of that variance where all have one variance and one correlation: σ² (Σ a² + ρ (1 − Σ a²)). Means
    /// over networks and pairs stand for both.
    pub fn predicted_var(&self, shares: &[f64]) -> f64 {
        let n = self.means.len();
        let var = (0..n).map(|network| self.var(network)).sum::<f64>() / n as f64;
        let squares: f64 = shares.iter().map(|share| share * share).sum();
        let corr = self.mean_corr();
        let corr = if corr.is_nan() { 1.0 } else { corr };
        var * (squares + corr * (1.0 - squares)).max(0.0)
    }

    /// Whether all sums are finite: none is where an element is not.
    pub fn is_finite(&self) -> bool {
        self.means.iter().chain(&self.sums).all(|sum| sum.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use epoch0_num::{Law, Stream, stats::Moments};

    use super::*;

    fn drawn(name: &str, mean: f64, n: usize) -> Vec<f64> {
        let mut values = vec![0.0; n];
        Law::normal(mean, 2.0).fill(&Stream::new(1, name), 0, &mut values).unwrap();
        values
    }

    #[test]
    fn parts_are_the_whole_and_moments_those_of_one_sample() {
        for n in [1, 2, 7, BLOCK, BLOCK + 1, 3 * BLOCK + 5] {
            let (a, b) = (drawn("a", 1e6, n), drawn("b", -3.0, n));
            let found = Comoments::of(&[&a, &b]);
            let mut parts = Comoments::new(2);
            for start in (0..n).step_by(1000) {
                let end = n.min(start + 1000);
                parts.merge(&Comoments::of(&[&a[start..end], &b[start..end]]));
            }
            let moments = Moments::of(&a);
            assert_eq!(found.count(), n as u64);
            assert!((found.mean(0) - moments.mean()).abs() < 1e-9);
            if n > 1 {
                assert!((found.var(0) / moments.var() - 1.0).abs() < 1e-9, "{n}");
                assert!((parts.cov(0, 1) - found.cov(0, 1)).abs() < 1e-6, "{n}");
                let mean: Vec<f64> = a.iter().zip(&b).map(|(a, b)| 0.3 * a + 0.7 * b).collect();
                let wanted = Moments::of(&mean).var();
                assert!((found.var_of(&[0.3, 0.7]) / wanted - 1.0).abs() < 1e-6, "{n}");
            } else {
                assert!(found.cov(0, 0).is_nan());
            }
        }
    }

    #[test]
    fn what_is_not_finite_shows() {
        let mut a = drawn("a", 0.0, 100);
        assert!(Comoments::of(&[&a, &a]).is_finite());
        a[57] = f64::NAN;
        assert!(!Comoments::of(&[&a]).is_finite());
    }
}
