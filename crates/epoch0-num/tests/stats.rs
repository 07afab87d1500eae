//! Moments and Kolmogorov–Smirnov tests against references.

use epoch0_num::stats::{
    Moments, kolmogorov_smirnov, kolmogorov_smirnov_rounded, kolmogorov_smirnov_two, mean_error, median,
    var_error,
};
use epoch0_num::{Law, Stream};
use half::bf16;

#[test]
fn moments_match_references() {
    // numpy 2.4.6 and scipy 1.17: mean, var(ddof=1), skew, kurtosis(fisher=False); the offset would ruin naive sums.
    let sample: Vec<f64> = [0.5, 1.0, 1.5, 7.0, -2.0, 3.25].iter().map(|x| 1e6 + x).collect();
    let mut one_by_one = Moments::new();
    for &x in &sample {
        one_by_one.add(x);
    }
    let mut merged = Moments::of(&sample[..2]);
    merged.merge(&Moments::new());
    merged.merge(&Moments::of(&sample[2..]));
    for got in [Moments::of(&sample), one_by_one, merged] {
        assert_eq!(got.count(), 6);
        assert!((got.mean() - 1000001.875).abs() < 1e-9);
        assert!((got.var() - 9.19375).abs() < 1e-9, "{}", got.var());
        assert!((got.skew() - 0.594970442510512).abs() < 1e-8, "{}", got.skew());
        assert!((got.kurtosis() - 2.621065503426546).abs() < 1e-8, "{}", got.kurtosis());
    }
    assert!(Moments::new().mean().is_nan() && Moments::of(&[1.0]).var().is_nan());
    assert_eq!(Moments::of(&vec![2.0; 5000]).var(), 0.0);
}

#[test]
fn parts_merge_to_the_whole() {
    let mut sample = vec![0_f32; 100_000];
    Law::normal(5.0, 0.1).fill(&Stream::new(0, "merge"), 0, &mut sample).unwrap();
    let whole = Moments::of(&sample);
    let mut parts = Moments::new();
    for part in sample.chunks(777) {
        parts.merge(&Moments::of(part));
    }
    assert!((whole.mean() - parts.mean()).abs() < 1e-13);
    assert!((whole.var() / parts.var() - 1.0).abs() < 1e-12);
    assert!((whole.kurtosis() / parts.kurtosis() - 1.0).abs() < 1e-10);
}

#[test]
fn standard_errors_are_those_of_repeated_samples() {
    let law = Law::uniform(0.0, 1.0);
    let (mut means, mut vars) = (Moments::new(), Moments::new());
    for i in 0..4000 {
        let mut sample = [0_f64; 50];
        law.fill(&Stream::new(i, "errors"), 0, &mut sample).unwrap();
        means.add(Moments::of(&sample).mean());
        vars.add(Moments::of(&sample).var());
    }
    // The relative standard error of a standard deviation from 4000 samples is 1.1 %.
    assert!((means.std() / mean_error(law.var(), 50) - 1.0).abs() < 0.06);
    assert!((vars.std() / var_error(law.var(), law.fourth_central_moment(), 50) - 1.0).abs() < 0.06);
}

/// A sample of `n` whose distance from the uniform law is `d`: all points moved up from the middles of their steps.
fn moved(n: usize, d: f64) -> Vec<f64> {
    (0..n).map(|i| i as f64 / n as f64 + d).collect()
}

#[test]
fn p_values_match_the_exact_distribution() {
    // scipy 1.17: scipy.stats.kstwo.sf(d, n).
    for (n, d, want) in [
        (20, 0.11180339887498948, 0.9403295435587082),
        (20, 0.17888543819998318, 0.48908495494245874),
        (20, 0.22360679774997896, 0.23255659230168213),
        (20, 0.30410524493997143, 0.03876353765194429),
        (20, 0.436033255612459, 0.0005626918550467597),
        (100, 0.05, 0.9532159710635725),
        (100, 0.08, 0.5182193645480672),
        (100, 0.1, 0.2526927570063874),
        (100, 0.136, 0.0448602997908478),
        (100, 0.195, 0.0008320730619398328),
        (1000, 0.015811388300841896, 0.9605616144751687),
        (1000, 0.025298221281347035, 0.5356909657557909),
        (1000, 0.03162277660168379, 0.2644092421903177),
        (1000, 0.04300697617828996, 0.0480530330137775),
        (1000, 0.0616644143732834, 0.0009512315421932735),
    ] {
        let got = kolmogorov_smirnov(&moved(n, d), |x| x.clamp(0.0, 1.0));
        assert!((got.statistic - d).abs() < 1e-12, "{got:?}");
        let tolerance = 1e-4 + 0.03 * want * (20.0 / n as f64).sqrt();
        assert!((got.p_value - want).abs() < tolerance, "n {n}, d {d}: {} want {want}", got.p_value);
    }
}

#[test]
fn two_samples_match_a_reference() {
    // scipy 1.17: ks_2samp(a, b).statistic; equal values in both samples are one step.
    let a = [0.1, 0.5, 0.9, 1.3, 2.0, 2.2, 3.1];
    let b = [0.2, 0.5, 1.1, 1.2, 2.9, 3.3, 3.5, 3.6, 4.0];
    assert!((kolmogorov_smirnov_two(&a, &b).statistic - 4.0 / 9.0).abs() < 1e-15);
    assert_eq!(kolmogorov_smirnov_two(&a, &a).statistic, 0.0);
    assert_eq!(kolmogorov_smirnov_two(&a, &a).p_value, 1.0);
}

#[test]
fn p_values_are_uniform_under_the_hypothesis() {
    let law = Law::normal(0.0, 1.0);
    let p: Vec<f64> = (0..2000)
        .map(|i| {
            let mut sample = [0_f64; 200];
            law.fill(&Stream::new(i, "p"), 0, &mut sample).unwrap();
            kolmogorov_smirnov(&sample, |x| law.cdf(x)).p_value
        })
        .collect();
    assert!(kolmogorov_smirnov(&p, |x| x.clamp(0.0, 1.0)).p_value > 1e-4);
}

#[test]
fn rounding_is_accounted_for() {
    let law = Law::uniform(0.9, 1.3);
    let mut sample = vec![bf16::ZERO; 200_000];
    law.fill(&Stream::new(0, "rounded"), 0, &mut sample).unwrap();
    let plain: Vec<f64> = sample.iter().map(|x| x.to_f64()).collect();
    assert!(kolmogorov_smirnov(&plain, |x| law.cdf(x)).p_value < 1e-6, "a plain test sees the steps");
    assert!(kolmogorov_smirnov_rounded(&sample, |x| law.cdf(x)).p_value > 1e-4);
    let other = Law::uniform(0.9, 1.31);
    assert!(kolmogorov_smirnov_rounded(&sample, |x| other.cdf(x)).p_value < 1e-6);
}

#[test]
fn bad_samples_do_not_pass() {
    for sample in [&[][..], &[0.5, f64::NAN][..]] {
        assert_eq!(kolmogorov_smirnov(sample, |x| x).p_value, 0.0);
        assert_eq!(kolmogorov_smirnov_two(sample, &[0.5]).p_value, 0.0);
    }
}

#[test]
fn medians_stand_in_the_middle() {
    assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&[4.0, f64::INFINITY, 1.0, 2.0]), 3.0);
    assert!(median(&[]).is_nan());
}
