//! Joint laws: identities, distributions and errors.

use epoch0_num::joint::{self, Float, JointError, Moments};
use epoch0_num::{Element, Law, Stream};

fn stream(name: &str, index: u64) -> Stream {
    Stream::new(index, name)
}

fn orthogonal<T: Float>(stream: &Stream, rows: usize, cols: usize, gain: f64) -> Vec<T> {
    let mut out = vec![T::default(); rows * cols];
    joint::orthogonal(stream, rows, cols, gain, &mut out).unwrap();
    out
}

fn bits<T: Element>(values: &[T]) -> Vec<u64> {
    values.iter().map(|v| v.to_f64().to_bits()).collect()
}

/// Samples of one number, held against its expectation within five standard errors.
#[derive(Default)]
struct Sample {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Sample {
    fn add(&mut self, x: f64) {
        self.n += 1.0;
        let delta = x - self.mean;
        self.mean += delta / self.n;
        self.squares += delta * (x - self.mean);
    }

    fn standard_error(&self) -> f64 {
        (self.squares / (self.n - 1.0) / self.n).sqrt()
    }

    fn check(&self, expected: f64, what: &str) {
        let error = self.standard_error();
        assert!(error > 0.0, "{what} never varies");
        let off = (self.mean - expected) / error;
        assert!(off.abs() < 5.0, "{what}: {} ± {error}, expected {expected}, {off:.1} s.e. off", self.mean);
    }
}

mod law_orthogonal {
    use super::*;

    /// Largest difference of the shorter side's Gram matrix from `gain²` times the identity, in units of `gain²`.
    fn deviation<T: Float>(q: &[T], rows: usize, cols: usize, gain: f64) -> f64 {
        let q: Vec<f64> = q.iter().map(|v| v.to_f64() / gain).collect();
        let (short, long) = (rows.min(cols), rows.max(cols));
        let at = |i: usize, k: usize| if rows <= cols { q[i * cols + k] } else { q[k * cols + i] };
        let mut worst = 0.0_f64;
        for i in 0..short {
            for j in 0..=i {
                let dot: f64 = (0..long).map(|k| at(i, k) * at(j, k)).sum();
                worst = worst.max((dot - f64::from(u8::from(i == j))).abs());
            }
        }
        worst
    }

    /// Shapes around the sizes at which the work is cut, and 24 at random.
    fn shapes() -> Vec<(usize, usize)> {
        let mut shapes =
            vec![(1, 1), (1, 40), (40, 1), (2, 2), (96, 96), (97, 97), (95, 300), (300, 192), (193, 257)];
        let mut sides = [0.0_f64; 48];
        Law::Uniform { low: 1.0, high: 120.0 }.fill(&stream("shapes", 0), 0, &mut sides).unwrap();
        shapes.extend(sides.chunks_exact(2).map(|s| (s[0] as usize, s[1] as usize)));
        shapes
    }

    #[test]
    fn gram_matrix_is_the_squared_gain_on_the_diagonal() {
        for (i, (rows, cols)) in shapes().into_iter().enumerate() {
            for gain in [1.0, std::f64::consts::SQRT_2, -0.1, 3e30] {
                let single =
                    deviation(&orthogonal::<f32>(&stream("q", i as u64), rows, cols, gain), rows, cols, gain);
                // The gain itself is rounded to f32, which shifts its square by up to 2⁻²³.
                assert!(single < 1e-6, "f32 {rows}×{cols} gain {gain}: {single}");
                let double =
                    deviation(&orthogonal::<f64>(&stream("q", i as u64), rows, cols, gain), rows, cols, gain);
                assert!(double < 1e-14, "f64 {rows}×{cols} gain {gain}: {double}");
            }
        }
    }

    #[test]
    fn gain_multiplies_and_sides_transpose() {
        for (rows, cols) in [(3, 7), (130, 100), (1, 5)] {
            let q = orthogonal::<f32>(&stream("q", 0), rows, cols, 1.0);
            let scaled: Vec<f32> = q.iter().map(|v| v * 0.7).collect();
            assert_eq!(orthogonal::<f32>(&stream("q", 0), rows, cols, 0.7), scaled);
            let transposed: Vec<f32> = (0..rows * cols).map(|at| q[at % rows * cols + at / rows]).collect();
            assert_eq!(orthogonal::<f32>(&stream("q", 0), cols, rows, 1.0), transposed);
            assert!(orthogonal::<f32>(&stream("q", 0), rows, cols, 0.0).iter().all(|&v| v == 0.0));
        }
    }

    #[test]
    fn both_types_draw_the_same_kind_of_matrix_up_to_the_largest_gain() {
        let q = orthogonal::<f32>(&stream("q", 0), 50, 200, f64::from(f32::MAX));
        assert!(q.iter().all(|v| v.is_finite()));
        let q = orthogonal::<f64>(&stream("q", 0), 50, 200, f64::MAX);
        assert!(q.iter().all(|v| v.is_finite()));
    }

    #[test]
    fn streams_and_sides_of_zero() {
        assert_ne!(
            orthogonal::<f32>(&stream("a", 0), 4, 4, 1.0),
            orthogonal::<f32>(&stream("b", 0), 4, 4, 1.0)
        );
        assert_eq!(orthogonal::<f32>(&stream("a", 0), 0, 4, 1.0), []);
        assert_eq!(orthogonal::<f64>(&stream("a", 0), 4, 0, 1.0), []);
        assert_eq!(orthogonal::<f64>(&stream("a", 0), 0, 0, 1.0), []);
    }

    /// Distribution function of a coordinate of a uniform point on the unit sphere of n dimensions; its density is
    /// proportional to (1 − x²)^((n − 3)/2).
    fn coordinate_cdf(n: usize, x: f64) -> f64 {
        use std::f64::consts::PI;
        let x = x.clamp(-1.0, 1.0);
        match n {
            2 => 0.5 + x.asin() / PI,
            3 => 0.5 + 0.5 * x,
            4 => 0.5 + (x * (1.0 - x * x).sqrt() + x.asin()) / PI,
            5 => 0.5 + 0.75 * x - 0.25 * x * x * x,
            _ => unreachable!("no closed form written down"),
        }
    }

    #[test]
    fn every_entry_has_the_exact_marginal_law() {
        const N: usize = 4000;
        for (rows, cols) in [(2, 2), (3, 3), (4, 4), (5, 5), (1, 3), (2, 5), (4, 1), (5, 3)] {
            let mut entries = vec![Vec::with_capacity(N); rows * cols];
            for i in 0..N {
                let q = orthogonal::<f64>(&stream("ks", i as u64), rows, cols, 1.0);
                entries.iter_mut().zip(q).for_each(|(values, v)| values.push(v));
            }
            for (at, values) in entries.iter_mut().enumerate() {
                values.sort_by(f64::total_cmp);
                let distance = (0..N).fold(0.0_f64, |worst, i| {
                    let cdf = coordinate_cdf(rows.max(cols), values[i]);
                    worst.max(cdf - i as f64 / N as f64).max((i + 1) as f64 / N as f64 - cdf)
                });
                // Kolmogorov: exceeded with probability 2·exp(−2·2.7²) = 9e-7.
                let scaled = distance * (N as f64).sqrt();
                assert!(scaled < 2.7, "entry {at} of {rows}×{cols}: √n·D = {scaled}");
            }
        }
    }

    fn trace(q: &[f64], n: usize) -> f64 {
        (0..n).map(|i| q[i * n + i]).sum()
    }

    /// On O(n) the trace has the moments of a standard Gaussian up to the order 2n + 1 (Diaconis and Evans, "Linear
    /// functionals of eigenvalues of random matrices", 2001), and E tr Q² = 1.
    #[test]
    fn traces_are_those_of_the_orthogonal_group() {
        for (n, count) in [(2, 20_000), (4, 20_000), (100, 2000), (150, 600)] {
            let [mut first, mut second, mut fourth, mut of_square] = [(); 4].map(|()| Sample::default());
            for i in 0..count {
                let q = orthogonal::<f64>(&stream("trace", i), n, n, 1.0);
                let t = trace(&q, n);
                first.add(t);
                second.add(t * t);
                fourth.add(t.powi(4));
                of_square.add((0..n * n).map(|at| q[at] * q[at % n * n + at / n]).sum());
            }
            first.check(0.0, &format!("trace, n = {n}"));
            second.check(1.0, &format!("trace², n = {n}"));
            fourth.check(3.0, &format!("trace⁴, n = {n}"));
            of_square.check(1.0, &format!("trace of the square, n = {n}"));
        }
    }

    fn determinant(mut a: Vec<f64>, n: usize) -> f64 {
        let mut det = 1.0;
        for k in 0..n {
            let pivot = (k..n).max_by(|&i, &j| a[i * n + k].abs().total_cmp(&a[j * n + k].abs())).unwrap();
            if pivot != k {
                (0..n).for_each(|j| a.swap(k * n + j, pivot * n + j));
                det = -det;
            }
            det *= a[k * n + k];
            for i in k + 1..n {
                let factor = a[i * n + k] / a[k * n + k];
                (k..n).for_each(|j| a[i * n + j] -= factor * a[k * n + j]);
            }
        }
        det
    }

    #[test]
    fn rotations_and_reflections_are_equally_likely() {
        for n in [1, 2, 3, 6] {
            let mut sample = Sample::default();
            for i in 0..10_000 {
                let det = determinant(orthogonal::<f64>(&stream("det", i), n, n, 1.0), n);
                assert!((det.abs() - 1.0).abs() < 1e-13);
                sample.add(det);
            }
            sample.check(0.0, &format!("determinant, n = {n}"));
        }
    }

    /// Q of A = Q·R with positive diagonal of R, for a Gaussian A: Gram and Schmidt's orthogonalization, twice.
    fn gram_schmidt(stream: &Stream, n: usize) -> Vec<f64> {
        let mut a = vec![0.0; n * n];
        Law::Normal { mean: 0.0, std: 1.0 }.fill(stream, 0, &mut a).unwrap();
        for j in 0..n {
            for _ in 0..2 {
                for k in 0..j {
                    let dot: f64 = (0..n).map(|i| a[i * n + k] * a[i * n + j]).sum();
                    (0..n).for_each(|i| a[i * n + j] -= dot * a[i * n + k]);
                }
                let norm = (0..n).map(|i| a[i * n + j] * a[i * n + j]).sum::<f64>().sqrt();
                (0..n).for_each(|i| a[i * n + j] /= norm);
            }
        }
        a
    }

    /// Joint moments of two rows and columns against a factorization that shares no code, and both against the exact
    /// integrals over O(n) (Collins and Śniady, "Integration with respect to the Haar measure on unitary, orthogonal
    /// and symplectic group", 2006, §5.2).
    #[test]
    fn joint_moments_are_those_of_a_factorized_gaussian_matrix() {
        type Moment = (&'static str, fn(&dyn Fn(usize, usize) -> f64) -> f64, fn(f64) -> f64);
        let moments: [Moment; 6] = [
            ("q11 q22", |q| q(0, 0) * q(1, 1), |_| 0.0),
            ("q11² q22²", |q| (q(0, 0) * q(1, 1)).powi(2), |n| (n + 1.0) / (n * (n - 1.0) * (n + 2.0))),
            (
                "q11 q12 q21 q22",
                |q| q(0, 0) * q(0, 1) * q(1, 0) * q(1, 1),
                |n| -1.0 / (n * (n - 1.0) * (n + 2.0)),
            ),
            ("q11² q12²", |q| (q(0, 0) * q(0, 1)).powi(2), |n| 1.0 / (n * (n + 2.0))),
            ("q11² q21²", |q| (q(0, 0) * q(1, 0)).powi(2), |n| 1.0 / (n * (n + 2.0))),
            ("q22⁴", |q| q(1, 1).powi(4), |n| 3.0 / (n * (n + 2.0))),
        ];
        for n in [2, 3, 5, 8] {
            // The same moments at the other corner, whose entries are made by the last reflections.
            let corners = [false, true];
            let mut samples: Vec<[Sample; 2]> = (0..12).map(|_| Default::default()).collect();
            for i in 0..10_000 {
                let ours = orthogonal::<f64>(&stream("moments", i), n, n, 1.0);
                let theirs = gram_schmidt(&stream("factorized", i), n);
                let cases = corners.iter().flat_map(|&corner| moments.map(|(_, moment, _)| (corner, moment)));
                for ((corner, moment), samples) in cases.zip(&mut samples) {
                    for (q, sample) in [&ours, &theirs].into_iter().zip(samples) {
                        sample.add(moment(&|i, j| {
                            if corner { q[(n - 1 - i) * n + n - 1 - j] } else { q[i * n + j] }
                        }));
                    }
                }
            }
            let cases =
                corners.iter().flat_map(|&corner| moments.map(|(name, _, exact)| (corner, name, exact)));
            for ((corner, name, exact), [ours, theirs]) in cases.zip(&samples) {
                ours.check(exact(n as f64), &format!("{name}, n = {n}, last corner {corner}"));
                theirs.check(exact(n as f64), &format!("factorized {name}, n = {n}, last corner {corner}"));
            }
        }
    }

    #[test]
    fn moments_of_an_entry_are_as_stated() {
        assert_eq!(joint::orthogonal_moments(3, 2, 2.0), Moments { mean: 0.0, var: 4.0 / 3.0, fourth: 3.2 });
        for (rows, cols) in [(3, 3), (2, 6), (120, 5)] {
            let stated = joint::orthogonal_moments(rows, cols, 1.5);
            let [mut mean, mut fourth] = [(); 2].map(|()| Sample::default());
            for i in 0..4000 {
                let q = orthogonal::<f32>(&stream("entry", i), rows, cols, 1.5);
                mean.add(q.iter().copied().map(f64::from).sum::<f64>() / q.len() as f64);
                fourth.add(q.iter().map(|&v| f64::from(v).powi(4)).sum::<f64>() / q.len() as f64);
                // The variance is exact in every draw: the squares add up to gain² times the shorter side.
                let var = q.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / q.len() as f64;
                assert!((var / stated.var - 1.0).abs() < 1e-6);
            }
            mean.check(stated.mean, &format!("mean of {rows}×{cols}"));
            fourth.check(stated.fourth, &format!("fourth moment of {rows}×{cols}"));
        }
    }

    #[test]
    fn threads_do_not_matter() {
        for (rows, cols) in [(200, 310), (310, 200)] {
            let draw = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| bits(&orthogonal::<f32>(&stream("q", 0), rows, cols, 1.1)))
            };
            assert!(draw(1) == draw(2) && draw(1) == draw(4));
        }
    }
}

mod law_convolution {
    use super::*;

    /// `out[o, t] = Σ weight[o, i, k] · input[group(o) + i, t·1 + k − pad]` over any number of spatial dimensions, zero
    /// or circular beyond the edges.
    struct Convolution<'a> {
        weight: &'a [f64],
        shape: &'a [usize],
        groups: usize,
        pad: &'a [usize],
        circular: bool,
    }

    /// The indices of a box of these sides, in row-major order.
    fn indices(sides: &[usize]) -> Vec<Vec<usize>> {
        sides.iter().fold(vec![vec![]], |all, &side| {
            all.iter().flat_map(|head| (0..side).map(move |i| [head.as_slice(), &[i]].concat())).collect()
        })
    }

    fn offset(index: &[usize], sides: &[usize]) -> usize {
        index.iter().zip(sides).fold(0, |at, (i, side)| at * side + i)
    }

    impl Convolution<'_> {
        /// Value at output channel `o` and position `at` for an input of these sides.
        fn at(&self, input: &[f64], sides: &[usize], o: usize, at: &[usize]) -> f64 {
            let (inputs, kernel) = (self.shape[1], &self.shape[2..]);
            let taps: usize = kernel.iter().product();
            let places: usize = sides.iter().product();
            let group = o / (self.shape[0] / self.groups);
            let mut sum = 0.0;
            for tap in indices(kernel) {
                let place: Option<Vec<usize>> = (0..sides.len())
                    .map(|d| {
                        let shifted = (at[d] + tap[d]) as isize - self.pad[d] as isize;
                        let side = sides[d] as isize;
                        let wrapped = if self.circular { shifted.rem_euclid(side) } else { shifted };
                        (0..side).contains(&wrapped).then_some(wrapped as usize)
                    })
                    .collect();
                let Some(place) = place else { continue };
                for i in 0..inputs {
                    sum += self.weight[(o * inputs + i) * taps + offset(&tap, kernel)]
                        * input[(group * inputs + i) * places + offset(&place, sides)];
                }
            }
            sum
        }
    }

    fn input(channels: usize, sides: &[usize]) -> Vec<f64> {
        let mut input = vec![0.0; channels * sides.iter().product::<usize>()];
        Law::Normal { mean: 0.0, std: 1.0 }.fill(&stream("input", 0), 0, &mut input).unwrap();
        input
    }

    #[test]
    fn dirac_hands_its_input_on() {
        for (shape, groups) in [
            (&[4, 4, 3][..], 1),
            (&[6, 4, 5], 1),
            (&[2, 4, 1], 1),
            (&[6, 2, 3, 5], 3),
            (&[4, 3, 1, 3], 2),
            (&[3, 1, 3, 3, 3], 3),
            (&[5, 5, 4], 1),
            (&[4, 4, 2, 4], 1),
        ] {
            let mut weight = vec![f64::NAN; shape.iter().product()];
            joint::dirac(shape, groups, &mut weight).unwrap();
            let (kernel, sides) = (&shape[2..], &[5, 4, 3][..shape.len() - 2]);
            let pad: Vec<usize> = kernel.iter().map(|k| k / 2).collect();
            let input = input(shape[1] * groups, sides);
            let convolution = Convolution { weight: &weight, shape, groups, pad: &pad, circular: false };
            let places: usize = sides.iter().product();
            for o in 0..shape[0] {
                let per_group = shape[0] / groups;
                let (group, channel) = (o / per_group, o % per_group);
                for at in indices(sides) {
                    let expected = if channel < shape[1] {
                        input[(group * shape[1] + channel) * places + offset(&at, sides)]
                    } else {
                        0.0
                    };
                    assert_eq!(
                        convolution.at(&input, sides, o, &at),
                        expected,
                        "{shape:?}, channel {o} at {at:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn delta_orthogonal_keeps_the_norm() {
        for shape in [&[5, 5, 3][..], &[7, 4, 3, 5], &[4, 3, 3, 1, 3], &[3, 3, 2], &[4, 4, 4, 2], &[2, 1, 1]]
        {
            let mut weight = vec![f64::NAN; shape.iter().product()];
            joint::delta_orthogonal(&stream("conv", 0), shape, 1.3, &mut weight).unwrap();
            let (kernel, sides) = (&shape[2..], &[5, 4, 3][..shape.len() - 2]);
            let pad: Vec<usize> = kernel.iter().map(|k| (k - 1) / 2).collect();
            let input = input(shape[1], sides);
            let convolution = Convolution { weight: &weight, shape, groups: 1, pad: &pad, circular: true };
            let outputs = (0..shape[0]).flat_map(|o| indices(sides).into_iter().map(move |at| (o, at)));
            let square: f64 = outputs.map(|(o, at)| convolution.at(&input, sides, o, &at).powi(2)).sum();
            let expected = 1.69 * input.iter().map(|v| v * v).sum::<f64>();
            assert!((square / expected - 1.0).abs() < 1e-13, "{shape:?}: {square}, expected {expected}");
        }
    }

    #[test]
    fn delta_orthogonal_is_orthogonal_at_the_centre_and_zero_elsewhere() {
        let shape = [6, 4, 3, 4];
        let mut weight = vec![f32::NAN; 288];
        joint::delta_orthogonal(&stream("conv", 0), &shape, 0.5, &mut weight).unwrap();
        let centre = orthogonal::<f32>(&stream("conv", 0), 6, 4, 0.5);
        for (i, taps) in weight.chunks_exact(12).enumerate() {
            // Row (3 − 1)/2 and column (4 − 1)/2 of the kernel.
            assert!(taps.iter().enumerate().all(|(tap, &v)| v == if tap == 5 { centre[i] } else { 0.0 }));
        }
    }

    #[test]
    fn moments_of_delta_orthogonal_are_as_stated() {
        let shape = [4, 3, 5];
        let stated = joint::delta_orthogonal_moments(&shape, 2.0).unwrap();
        assert_eq!(stated, Moments { mean: 0.0, var: 0.2, fourth: 0.4 });
        let [mut mean, mut fourth] = [(); 2].map(|()| Sample::default());
        for i in 0..4000 {
            let mut weight = [0.0_f64; 60];
            joint::delta_orthogonal(&stream("entry", i), &shape, 2.0, &mut weight).unwrap();
            mean.add(weight.iter().sum::<f64>() / 60.0);
            fourth.add(weight.iter().map(|v| v.powi(4)).sum::<f64>() / 60.0);
            assert!((weight.iter().map(|v| v * v).sum::<f64>() / 60.0 - stated.var).abs() < 1e-14);
        }
        mean.check(0.0, "mean");
        fourth.check(stated.fourth, "fourth moment");
    }

    #[test]
    fn eye_is_the_identity() {
        for (rows, cols) in [(3, 3), (2, 5), (5, 2), (0, 3), (3, 0), (1, 1)] {
            let mut out = vec![f64::NAN; rows * cols];
            joint::eye(rows, cols, -1.5, &mut out).unwrap();
            for i in 0..rows {
                for j in 0..cols {
                    assert_eq!(out[i * cols + j], if i == j { -1.5 } else { 0.0 });
                }
            }
        }
    }
}

mod law_sparse {
    use super::*;

    fn sparse<T: Element>(stream: &Stream, rows: usize, cols: usize, sparsity: f64) -> Vec<T> {
        let mut out = vec![T::default(); rows * cols];
        joint::sparse(stream, rows, cols, sparsity, 0.01, &mut out).unwrap();
        out
    }

    #[test]
    fn every_column_has_its_zeros_and_the_rest_are_the_normal_draws() {
        for (rows, cols, sparsity, zeros) in [
            (10, 7, 0.1, 1),
            (10, 3, 0.11, 2),
            (7, 200, 0.9, 7),
            (300, 300, 0.25, 75),
            (5, 5, 0.0, 0),
            (100, 2, 0.07, 8),
        ] {
            assert_eq!(joint::zeros_per_column(rows, sparsity), Ok(zeros));
            let out = sparse::<f32>(&stream("s", 0), rows, cols, sparsity);
            let mut normal = vec![0.0_f32; rows * cols];
            Law::Normal { mean: 0.0, std: 0.01 }.fill(&stream("s", 0), 0, &mut normal).unwrap();
            for col in 0..cols {
                let column = (0..rows).map(|row| row * cols + col);
                assert_eq!(column.clone().filter(|&at| out[at] == 0.0).count(), zeros);
                assert!(column.clone().all(|at| out[at] == 0.0 || out[at] == normal[at]));
            }
        }
    }

    #[test]
    fn a_columns_zeros_depend_on_its_number_only() {
        let places = |cols: usize, col: usize| -> Vec<bool> {
            let out = sparse::<f64>(&stream("s", 0), 40, cols, 0.5);
            (0..40).map(|row| out[row * cols + col] == 0.0).collect()
        };
        assert_eq!(places(5, 3), places(90, 3));
        assert_ne!(places(5, 3), places(5, 2));
    }

    /// Each row is zero with probability z/n, each pair of rows with z(z − 1)/(n(n − 1)), neighbouring columns
    /// independently.
    #[test]
    fn all_sets_of_rows_are_equally_likely() {
        const ROWS: usize = 7;
        const COLS: usize = 60_000;
        let out = sparse::<f32>(&stream("places", 0), ROWS, COLS, 0.4);
        let zero = |row: usize, col: usize| f64::from(u8::from(out[row * COLS + col] == 0.0));
        for row in 0..ROWS {
            let [mut single, mut beside] = [(); 2].map(|()| Sample::default());
            (0..COLS).for_each(|col| single.add(zero(row, col)));
            (0..COLS / 2).for_each(|col| beside.add(zero(row, 2 * col) * zero(row, 2 * col + 1)));
            single.check(3.0 / 7.0, &format!("row {row}"));
            beside.check(9.0 / 49.0, &format!("row {row} in neighbouring columns"));
            for other in 0..row {
                let mut pair = Sample::default();
                (0..COLS).for_each(|col| pair.add(zero(row, col) * zero(other, col)));
                pair.check(6.0 / 42.0, &format!("rows {row} and {other}"));
            }
        }
    }

    #[test]
    fn moments_are_as_stated() {
        let stated = joint::sparse_moments(20, 0.31, 0.01).unwrap();
        let [mut mean, mut second, mut fourth] = [(); 3].map(|()| Sample::default());
        for v in sparse::<f64>(&stream("moments", 0), 20, 20_000, 0.31) {
            mean.add(v);
            second.add(v * v);
            fourth.add(v.powi(4));
        }
        mean.check(stated.mean, "mean");
        second.check(stated.var, "variance");
        fourth.check(stated.fourth, "fourth moment");
    }

    #[test]
    fn threads_do_not_matter() {
        let draw = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| bits(&sparse::<half::bf16>(&stream("s", 0), 333, 511, 0.3)))
        };
        assert!(draw(1) == draw(2) && draw(1) == draw(4));
    }
}

/// Our own output, pinned: a change here changes every orthogonal or sparse start that was ever drawn.
mod snapshot {
    use super::*;

    /// FNV-1a of the bits.
    fn digest<T: Element>(values: &[T]) -> u64 {
        let bytes = values.iter().flat_map(|v| v.to_f64().to_bits().to_le_bytes());
        bytes
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    #[test]
    fn a_small_orthogonal_matrix() {
        let q = orthogonal::<f32>(&Stream::new(0, "fc.weight"), 3, 3, 1.0);
        assert_eq!(
            q.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            [
                0xbf14e768, 0xbf487170, 0xbe61c8eb, 0x3f3622f8, 0xbeb77304, 0xbf1ac111, 0x3ec9e3ca,
                0xbf022c6d, 0x3f43f630
            ]
        );
        let q = orthogonal::<f64>(&Stream::new(0, "fc.weight"), 2, 3, 1.0);
        assert_eq!(
            q.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            [
                0x3fe53edff291038a,
                0x3fe7c7b67ff7d576,
                0xbfb55c7e8fd0de01,
                0x3fd921614df2f1d4,
                0xbfdc4003df41bc50,
                0xbfe9d18ee0764bbc
            ]
        );
    }

    #[test]
    fn larger_matrices() {
        let stream = &Stream::new(0, "fc.weight");
        assert_eq!(digest(&orthogonal::<f32>(stream, 200, 330, 1.5)), 0xf430bc3b47006e97);
        assert_eq!(digest(&orthogonal::<f64>(stream, 330, 200, 1.5)), 0x4e48eb71d08a00a1);
        let mut out = vec![0.0_f32; 90 * 70];
        joint::sparse(stream, 90, 70, 0.3, 0.01, &mut out).unwrap();
        assert_eq!(digest(&out), 0xb7709d8faaf9ef21);
    }
}

mod errors {
    use super::*;

    #[test]
    fn wrong_input_is_named() {
        let stream = &stream("e", 0);
        let out = &mut [0.0_f32; 12][..];
        let errors = [
            (
                joint::orthogonal(stream, 3, 4, f64::NAN, out),
                "orthogonal: gain is NaN, allowed finite numbers within the range of f32",
            ),
            (
                joint::orthogonal(stream, 3, 4, 1e39, out),
                "orthogonal: gain is 1000000000000000000000000000000000000000, allowed finite numbers within the range of f32",
            ),
            (
                joint::orthogonal(stream, 3, 5, 1.0, out),
                "orthogonal: the buffer holds 12 elements, shape [3, 5] has 15",
            ),
            (
                joint::orthogonal(stream, usize::MAX, 4, 1.0, out),
                "orthogonal: the buffer holds 12 elements, shape [18446744073709551615, 4] has 73786976294838206460",
            ),
            (
                joint::eye(2, 6, f64::INFINITY, out),
                "eye: gain is inf, allowed finite numbers within the range of f32",
            ),
            (joint::eye(2, 5, 1.0, out), "eye: the buffer holds 12 elements, shape [2, 5] has 10"),
            (joint::dirac(&[3, 4], 1, out), "dirac: shape [3, 4] has 2 dimensions, allowed 3, 4 or 5"),
            (
                joint::dirac(&[3, 2, 1, 1, 1, 2], 1, out),
                "dirac: shape [3, 2, 1, 1, 1, 2] has 6 dimensions, allowed 3, 4 or 5",
            ),
            (
                joint::dirac(&[3, 2, 2], 2, out),
                "dirac: groups is 2, allowed divisors of the 3 output channels",
            ),
            (
                joint::dirac(&[3, 2, 2], 0, out),
                "dirac: groups is 0, allowed divisors of the 3 output channels",
            ),
            (joint::dirac(&[3, 2, 3], 1, out), "dirac: the buffer holds 12 elements, shape [3, 2, 3] has 18"),
            (
                joint::delta_orthogonal(stream, &[2, 3, 2], 1.0, out),
                "delta_orthogonal: 2 output channels for 3 input channels, allowed at least as many\n\
                 hint: use orthogonal, which makes the rows orthonormal instead",
            ),
            (
                joint::delta_orthogonal(stream, &[4, 3], 1.0, out),
                "delta_orthogonal: shape [4, 3] has 2 dimensions, allowed 3, 4 or 5",
            ),
            (
                joint::delta_orthogonal(stream, &[3, 2, 2], f64::NEG_INFINITY, out),
                "delta_orthogonal: gain is -inf, allowed finite numbers within the range of f32",
            ),
            (joint::sparse(stream, 3, 4, 1.0, 1.0, out), "sparse: sparsity is 1, allowed 0 <= sparsity < 1"),
            (
                joint::sparse(stream, 3, 4, -0.1, 1.0, out),
                "sparse: sparsity is -0.1, allowed 0 <= sparsity < 1",
            ),
            (
                joint::sparse(stream, 3, 4, f64::NAN, 1.0, out),
                "sparse: sparsity is NaN, allowed 0 <= sparsity < 1",
            ),
            (
                joint::sparse(stream, 3, 3, 0.1, 1.0, out),
                "sparse: the buffer holds 12 elements, shape [3, 3] has 9",
            ),
        ];
        for (result, message) in errors {
            assert_eq!(result.unwrap_err().to_string(), message);
        }
        let error = joint::sparse(stream, 3, 4, 0.1, -1.0, out).unwrap_err();
        assert!(matches!(error, JointError::Law { law: "sparse", .. }), "{error}");
        let error = joint::sparse::<f32>(stream, 0, 4, 0.1, f64::NAN, &mut []).unwrap_err();
        assert!(matches!(error, JointError::Law { law: "sparse", .. }), "{error}");
    }

    #[test]
    fn shapes_flatten_as_torch_has_it() {
        assert_eq!(joint::flat(&[8, 4]), Ok((8, 4)));
        assert_eq!(joint::flat(&[8, 4, 3, 3]), Ok((8, 36)));
        assert_eq!(joint::flat(&[8, 0, 3]), Ok((8, 0)));
        for shape in [&[][..], &[8]] {
            assert!(matches!(joint::flat(shape), Err(JointError::Dims { .. })));
        }
        assert!(joint::flat(&[8, usize::MAX, 2]).is_err());
    }

    #[test]
    fn shapes_without_elements_are_filled() {
        assert_eq!(joint::dirac::<f32>(&[0, 3, 2], 1, &mut []), Ok(()));
        assert_eq!(joint::dirac::<f32>(&[4, 3, 0], 2, &mut []), Ok(()));
        assert_eq!(joint::delta_orthogonal::<f32>(&stream("e", 0), &[4, 3, 0], 1.0, &mut []), Ok(()));
        assert_eq!(joint::delta_orthogonal::<f32>(&stream("e", 0), &[4, 0, 3], 1.0, &mut []), Ok(()));
        assert_eq!(joint::sparse::<f32>(&stream("e", 0), 4, 0, 0.5, 1.0, &mut []), Ok(()));
        assert_eq!(joint::sparse::<f32>(&stream("e", 0), 0, 4, 0.5, 1.0, &mut []), Ok(()));
    }
}
