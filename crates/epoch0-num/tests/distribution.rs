//! That draws follow their laws. Everything random here has a fixed seed; bounds are five standard errors, or p > 1e-4.

use epoch0_num::stats::{
    Moments, kolmogorov_smirnov, kolmogorov_smirnov_rounded, kolmogorov_smirnov_two, mean_error, var_error,
};
use epoch0_num::{Element, Law, Stream};
use half::{bf16, f16};

const N: usize = 200_000;

fn laws() -> Vec<Law> {
    vec![
        Law::uniform(-0.1, 0.1),
        Law::uniform(2.0, 7.0),
        Law::uniform_with_std(0.02),
        Law::normal(0.0, 1.0),
        Law::normal(0.0, 0.02),
        Law::normal(-3.0, 0.5),
        Law::truncated(0.0, 1.0, -2.0, 2.0),
        Law::truncated(0.0, 0.02, -2.0, 2.0),
        Law::truncated(0.1, 0.3, -0.2, 0.9),
        Law::truncated(0.0, 1.0, 3.0, f64::INFINITY),
        Law::truncated(0.0, 1.0, -9.0, -8.0),
        Law::truncated(0.0, 1.0, -0.5, f64::INFINITY),
        Law::truncated(0.5, 1.0, 0.0, 0.01),
        Law::truncated_in_std(0.0, 0.02, -2.0, 2.0, true).unwrap(),
        Law::truncated_in_std(0.0, 0.05, -1.0, 3.0, false).unwrap(),
    ]
}

fn draw<T: Element>(law: &Law, name: &str, n: usize) -> Vec<T> {
    let mut out = vec![T::default(); n];
    law.fill(&Stream::new(20, name), 0, &mut out).unwrap();
    out
}

/// Whether the sample's mean and variance are within five standard errors of the law's. Rounding to `T` adds an error with a
/// variance of at most (ulp of the largest value)² / 12, which is small but not nothing for 16 bits.
fn moments_hold<T: Element>(law: &Law, sample: &[T]) -> Result<(), String> {
    let got = Moments::of(sample);
    let n = got.count();
    let (mean, var) = (law.mean(), law.var());
    let largest = sample.iter().map(|x| x.to_f64().abs()).fold(0.0, f64::max);
    let ulp = T::from_f64(largest).next_up().to_f64() - T::from_f64(largest).to_f64();
    let rounding = ulp * ulp / 12.0;
    let mean_off = (got.mean() - mean).abs() / mean_error(var + rounding, n);
    let var_off =
        ((got.var() - var).abs() - rounding).max(0.0) / var_error(var, law.fourth_central_moment(), n);
    if mean_off < 5.0 && var_off < 5.0 {
        Ok(())
    } else {
        Err(format!("{law} in {}: mean off by {mean_off:.1} s.e., variance by {var_off:.1}", T::DTYPE))
    }
}

fn follows_the_laws<T: Element>() {
    for law in laws() {
        let sample = draw::<T>(&law, "laws", N / 4);
        let test = kolmogorov_smirnov_rounded(&sample, |x| law.cdf(x));
        assert!(test.p_value > 1e-4, "{law} in {}: {test:?}", T::DTYPE);
        moments_hold(&law, &sample).unwrap();
    }
}

#[test]
fn f64_follows_the_laws() {
    follows_the_laws::<f64>();
}

#[test]
fn f32_follows_the_laws() {
    follows_the_laws::<f32>();
}

#[test]
fn f16_follows_the_laws() {
    follows_the_laws::<f16>();
}

#[test]
fn bf16_follows_the_laws() {
    follows_the_laws::<bf16>();
}

#[test]
fn higher_moments_are_a_gaussians() {
    let n = 4_000_000;
    let moments = Moments::of(&draw::<f32>(&Law::normal(0.0, 0.02), "higher", n));
    // Standard errors of skewness and kurtosis of a Gaussian sample: √(6/n), √(24/n).
    assert!(moments.skew().abs() < 5.0 * (6.0 / n as f64).sqrt(), "{}", moments.skew());
    assert!((moments.kurtosis() - 3.0).abs() < 5.0 * (24.0 / n as f64).sqrt(), "{}", moments.kurtosis());
}

/// The tests above would be worth nothing if they held for anything.
#[test]
fn wrong_draws_are_found_out() {
    let law = Law::normal(0.0, 0.02);
    let right = draw::<f32>(&law, "mutants", N);
    moments_hold(&law, &right).unwrap();
    let mutant = |change: &dyn Fn(f32) -> f32| right.iter().map(|&x| change(x)).collect::<Vec<f32>>();
    for (name, wrong) in [
        ("zeros", mutant(&|_| 0.0)),
        ("variance for std", mutant(&|x| x * 0.02)),
        ("std off by 1 %", mutant(&|x| x * 1.01)),
        ("mean off by 0.02 std", mutant(&|x| x + 0.0004)),
    ] {
        assert!(moments_hold(&law, &wrong).is_err(), "{name} passes");
    }
    // The right moments and the wrong shape.
    let uniform = draw::<f32>(&Law::uniform_with_std(0.02), "mutants", N);
    moments_hold(&Law::uniform_with_std(0.02), &uniform).unwrap();
    assert!(kolmogorov_smirnov_rounded(&uniform, |x| law.cdf(x)).p_value < 1e-9);
    let wrong: Vec<f64> = right.iter().map(|&x| f64::from(x) * 1.05).collect();
    assert!(kolmogorov_smirnov(&wrong, |x| law.cdf(x)).p_value < 1e-4);
}

#[test]
fn f32_reaches_the_tails() {
    // 2^25 draws: 2,125 are expected beyond 4 and 19 beyond 5.
    let law = Law::normal(0.0, 1.0);
    let wide = Law::truncated(0.0, 1.0, -1e6, 1e6);
    for (name, law) in [("normal", law), ("truncated", wide)] {
        let mut out = vec![0_f32; 1 << 22];
        let (mut beyond_4, mut beyond_5) = (0, 0);
        for part in 0..8 {
            law.fill_par(&Stream::new(1, name), part << 22, &mut out).unwrap();
            beyond_4 += out.iter().filter(|x| x.abs() > 4.0).count();
            beyond_5 += out.iter().filter(|x| x.abs() > 5.0).count();
        }
        let n = f64::from(1 << 25);
        for (got, z) in [(beyond_4, 4.0), (beyond_5, 5.0)] {
            let want = 2.0 * epoch0_num::special::normal_sf(z) * n;
            let off = (got as f64 - want).abs() / want.sqrt();
            assert!(off < 5.0, "{name}: {got} beyond {z}, want {want:.1}");
        }
    }
}

fn distinct<T: Element>(law: &Law) -> usize {
    let mut bits: Vec<u64> =
        draw::<T>(law, "distinct", 1 << 16).iter().map(|x| x.to_f64().to_bits()).collect();
    bits.sort_unstable();
    bits.dedup();
    bits.len()
}

#[test]
fn draws_take_many_values() {
    for law in
        [Law::truncated(0.0, 0.02, -2.0, 2.0), Law::normal(0.0, 0.02), Law::truncated(0.0, 0.02, -0.04, 0.04)]
    {
        assert!(distinct::<f64>(&law) > 65_500, "{law} in f64: {}", distinct::<f64>(&law));
        assert!(distinct::<f32>(&law) > 60_000, "{law} in f32: {}", distinct::<f32>(&law));
        assert!(distinct::<f16>(&law) >= 3000, "{law} in f16: {}", distinct::<f16>(&law));
        assert!(distinct::<bf16>(&law) >= 1000, "{law} in bf16: {}", distinct::<bf16>(&law));
    }
    // Bounds so close that only a few thousand f32 lie between them: most of those come up.
    let narrow = Law::truncated(0.0, 1.0, 1.0, 1.001);
    assert!(distinct::<f32>(&narrow) > 5000, "{}", distinct::<f32>(&narrow));
    // And far from zero, bounds that a difference of Φ could not tell apart.
    let near_zero = Law::truncated(1.0, 1.0, 0.0, 1e-5);
    assert!(distinct::<f32>(&near_zero) > 60_000, "{}", distinct::<f32>(&near_zero));
}

fn within_bounds<T: Element>(law: &Law, per_bound: usize) {
    let (low, high) = law.support();
    let sample = draw::<T>(law, "bounds", 1 << 20);
    let (mut at_low, mut at_high) = (0, 0);
    for x in sample {
        let x = x.to_f64();
        assert!(low <= x && x <= high, "{law} in {}: {x}", T::DTYPE);
        at_low += usize::from(x == T::from_f64(low).to_f64());
        at_high += usize::from(x == T::from_f64(high).to_f64());
    }
    assert!(
        at_low <= per_bound && at_high <= per_bound,
        "{law} in {}: {at_low}, {at_high} at the bounds",
        T::DTYPE
    );
}

#[test]
fn draws_stay_within_the_bounds_and_do_not_pile_up_there() {
    for law in [
        Law::uniform(-0.1, 0.1),
        Law::uniform(1.0, 3.0),
        Law::truncated(0.0, 1.0, -2.0, 2.0),
        Law::truncated(0.0, 1.0, -0.3, 0.1),
        Law::truncated(0.0, 0.02, -0.04, 0.04),
        Law::truncated(0.0, 1.0, 4.0, 5.0),
        Law::truncated(0.0, 1.0, 0.7, 0.7001),
    ] {
        within_bounds::<f64>(&law, 1);
        // The last of these has 1,700 f32 between its bounds.
        within_bounds::<f32>(
            &law,
            if matches!(law, Law::TruncatedNormal { low: 0.7, .. }) { 1000 } else { 8 },
        );
    }
    let mut out = [0_f32; 4096];
    Law::uniform(0.0, 1.0 + 1e-9).fill(&Stream::new(0, "half open"), 0, &mut out).unwrap();
    Law::uniform(1.0, 1.0 + f64::from(f32::EPSILON)).fill(&Stream::new(0, "half open"), 0, &mut out).unwrap();
    assert!(out.iter().all(|&x| x == 1.0), "the upper end is left out");
}

/// Correlation of two samples of a law with mean 0, in standard errors.
fn correlation(var: f64, pairs: impl Iterator<Item = (f32, f32)>) -> f64 {
    let (sum, n) =
        pairs.fold((0.0_f64, 0.0_f64), |(sum, n), (a, b)| (sum + f64::from(a) * f64::from(b), n + 1.0));
    sum / n.sqrt() / var
}

#[test]
fn draws_are_uncorrelated() {
    let n = 1 << 20;
    for law in [Law::normal(0.0, 1.0), Law::uniform(-1.0, 1.0), Law::truncated(0.0, 1.0, -2.0, 2.0)] {
        let a = draw::<f32>(&law, "a", n);
        let other = draw::<f32>(&law, "b", n);
        let mut child = vec![0_f32; n];
        law.fill(&Stream::new(20, "a").child("mask"), 0, &mut child).unwrap();
        let mut next_seed = vec![0_f32; n];
        law.fill(&Stream::new(21, "a"), 0, &mut next_seed).unwrap();
        for (name, b) in [("streams", &other), ("child", &child), ("seeds", &next_seed)] {
            let off = correlation(law.var(), a.iter().copied().zip(b.iter().copied()));
            assert!(off.abs() < 5.0, "{law}, {name}: {off}");
        }
        // Neighbours, lanes, Box–Muller partners, chunks.
        for lag in [1, 2, 7, 8, 16, 64, 127, 128, 129, 1024] {
            let off = correlation(law.var(), a.iter().copied().zip(a[lag..].iter().copied()));
            assert!(off.abs() < 5.0, "{law}, lag {lag}: {off}");
        }
        // Squares too: partners share a radius, whose square must be independent of where the angle puts it.
        let mean = law.var() as f32;
        let squares: Vec<f32> = a.iter().map(|x| x * x - mean).collect();
        let var = law.fourth_central_moment() - law.var() * law.var();
        for lag in [1, 8, 64, 128] {
            let off = correlation(var, squares.iter().copied().zip(squares[lag..].iter().copied()));
            assert!(off.abs() < 5.0, "{law}, squares, lag {lag}: {off}");
        }
    }
}

#[test]
fn f32_and_f64_draw_the_same_law() {
    for law in [Law::normal(0.0, 1.0), Law::truncated(0.0, 1.0, -2.0, 2.0)] {
        let a = draw::<f64>(&law, "two samples", N);
        let b: Vec<f64> = draw::<f32>(&law, "two samples", N).into_iter().map(f64::from).collect();
        assert!(kolmogorov_smirnov_two(&a, &b).p_value > 1e-4, "{law}");
    }
}
