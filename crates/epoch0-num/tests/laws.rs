//! Moments, distribution functions, names and errors of the laws.

use epoch0_num::special::{erf, normal_cdf, normal_quantile, normal_sf};
use epoch0_num::{Law, LawError, Stream};
use half::f16;

fn close(got: f64, want: f64, relative: f64) -> bool {
    (got - want).abs() <= relative * want.abs().max(1e-300)
}

/// Mean, variance and fourth central moment of standard Gaussians between bounds, by quadrature with 40 digits (mpmath 1.3).
#[test]
fn truncated_moments_match_references() {
    for (low, high, mean, var, fourth) in [
        (-2.0, 2.0, 0.0, 0.773741303549923247, 1.41618912484946273),
        (-1.0, 3.0, 0.282786110727154008, 0.616141735357829296, 1.06075608895241208),
        (8.0, 9.0, 8.12118899297979712, 0.014148542782748111, 0.00153700444620173513),
        (-0.5, 0.25, -0.119250558964100562, 0.0459825209326889954, 0.00384981587409195702),
        (3.0, f64::INFINITY, 3.28309865493043651, 0.0705591867852681169, 0.0338663436214724429),
        (-100.0, 100.0, 0.0, 1.0, 3.0),
    ] {
        let law = Law::truncated(0.0, 1.0, low, high);
        assert!((law.mean() - mean).abs() < 1e-14, "{law}: {}", law.mean());
        assert!(close(law.var(), var, 1e-12), "{law}: {}", law.var());
        assert!(close(law.fourth_central_moment(), fourth, 1e-12), "{law}: {}", law.fourth_central_moment());
        // Location and scale.
        let moved = Law::truncated(5.0, 3.0, 5.0 + 3.0 * low, 5.0 + 3.0 * high);
        assert!((moved.mean() - (5.0 + 3.0 * mean)).abs() < 1e-13);
        assert!(close(moved.std(), 3.0 * var.sqrt(), 1e-11));
    }
}

#[test]
fn compensation_has_the_frameworks_constant() {
    // jax and keras divide by this number for bounds at two standard deviations.
    assert!((Law::truncated(0.0, 1.0, -2.0, 2.0).std() - 0.87962566103423978).abs() < 1e-14);
    let law = Law::truncated_in_std(0.5, 0.02, -2.0, 2.0, true).unwrap();
    assert!(close(law.std(), 0.02, 1e-13) && close(law.mean(), 0.5, 1e-13), "{law}");
    let Law::TruncatedNormal { std, high, .. } = law else { panic!("{law}") };
    assert!(close(std, 0.02 / 0.87962566103423978, 1e-13) && close(high, 0.5 + 2.0 * std, 1e-13));
    let plain = Law::truncated_in_std(0.0, 0.02, -2.0, 2.0, false).unwrap();
    assert_eq!(plain, Law::truncated(0.0, 0.02, -0.04, 0.04));
}

#[test]
fn distribution_functions_agree_with_moments() {
    // E w = high - ∫ F, by the midpoint rule.
    for law in [
        Law::uniform(-1.0, 3.0),
        Law::truncated(0.0, 1.0, -2.0, 2.0),
        Law::truncated(0.0, 1.0, 4.0, 4.5),
        Law::truncated(0.0, 1.0, 1.0, 1.0001),
        Law::truncated(0.3, 2.0, -5.0, -3.0),
    ] {
        let (low, high) = law.support();
        let step = (high - low) / 20_000.0;
        let area: f64 = (0..20_000).map(|i| law.cdf(low + (f64::from(i) + 0.5) * step) * step).sum();
        assert!(
            (high - area - law.mean()).abs() < 1e-8 * (high - low),
            "{law}: {} {}",
            high - area,
            law.mean()
        );
        assert_eq!((law.cdf(low - 1.0), law.cdf(high), law.cdf(high + 1.0)), (0.0, 1.0, 1.0));
    }
    assert!(close(Law::normal(1.0, 2.0).cdf(3.0), normal_cdf(1.0), 1e-15));
    assert_eq!((Law::constant(2.0).cdf(1.9), Law::constant(2.0).cdf(2.0)), (0.0, 1.0));
}

#[test]
fn special_functions_match_references() {
    // scipy 1.17: scipy.special.ndtr, ndtri, erf.
    assert!(close(normal_cdf(-10.0), 7.61985302416052e-24, 1e-13));
    assert!(close(normal_sf(5.0), 2.866515718791939e-7, 1e-13));
    assert!(close(erf(0.5), 0.5204998778130465, 1e-15));
    assert!(close(normal_quantile(0.975), 1.959963984540054, 1e-15));
    assert!(close(normal_quantile(1e-20), -9.262340089798408, 1e-15));
    assert!(normal_quantile(0.0) == f64::NEG_INFINITY && normal_quantile(1.0) == f64::INFINITY);
    assert!(
        normal_quantile(-0.1).is_nan() && normal_quantile(1.1).is_nan() && normal_quantile(f64::NAN).is_nan()
    );
}

#[test]
fn scaling_scales_the_moments() {
    for law in [
        Law::constant(0.7),
        Law::uniform(-1.0, 3.0),
        Law::normal(0.5, 2.0),
        Law::truncated(0.5, 2.0, -1.0, 4.0),
        Law::truncated(0.0, 1.0, 1.0, f64::INFINITY),
    ] {
        for factor in [2.0, -0.5] {
            let scaled = law.scaled(factor);
            scaled.check().unwrap();
            assert!((scaled.mean() - factor * law.mean()).abs() < 1e-13, "{scaled}");
            assert!((scaled.var() - factor * factor * law.var()).abs() < 1e-13, "{scaled}");
        }
        law.scaled(0.0).check().unwrap();
    }
}

#[test]
fn laws_print_as_people_write_them() {
    for (law, text) in [
        (Law::normal(0.0, 0.02), "normal(0, 0.02)"),
        (Law::uniform(-0.1, 0.1), "uniform(-0.1, 0.1)"),
        (Law::truncated(0.0, 0.02, -2.0, 2.0), "truncated normal(0, 0.02) in [-2, 2]"),
        (Law::truncated(0.0, 1.0, f64::NEG_INFINITY, 2.0), "truncated normal(0, 1) in [-inf, 2]"),
        (Law::normal(0.0, 1.0 / 3.0), "normal(0, 0.333333)"),
        (Law::normal(-1e-9, 12345678.0), "normal(-1e-9, 1.23457e7)"),
        (Law::ZEROS, "zeros"),
        (Law::ONES, "ones"),
        (Law::constant(-0.5), "constant(-0.5)"),
    ] {
        assert_eq!(law.to_string(), text);
    }
}

#[test]
fn wrong_parameters_are_refused_by_name() {
    let nan = f64::NAN;
    let inf = f64::INFINITY;
    for (law, message) in [
        (Law::constant(nan), "value is NaN, allowed a finite number"),
        (Law::normal(0.0, -1.0), "std is -1, allowed 0 or more"),
        (Law::normal(0.0, inf), "std is inf, allowed a finite number"),
        (Law::normal(nan, 1.0), "mean is NaN, allowed a finite number"),
        (Law::uniform(1.0, -1.0), "high is -1, allowed low or more"),
        (Law::uniform(-inf, 1.0), "low is -inf, allowed a finite number"),
        (Law::truncated(0.0, 0.0, -1.0, 1.0), "std is 0, allowed more than 0"),
        (Law::truncated(0.0, 1.0, 2.0, -2.0), "high is -2, allowed more than low"),
        (Law::truncated(0.0, 1.0, 2.0, 2.0), "high is 2, allowed more than low"),
        (Law::truncated(0.0, 1.0, nan, 2.0), "low is NaN, allowed a number, or infinite"),
        (Law::truncated(0.0, 1.0, inf, inf), "high is inf, allowed more than low"),
    ] {
        assert_eq!(law.check().unwrap_err().to_string(), message);
        let mut out = [7_f32; 3];
        assert!(law.fill(&Stream::new(0, ""), 0, &mut out).is_err());
        assert_eq!(out, [7.0; 3], "a refused fill writes nothing");
    }
    for (law, bound) in [
        (Law::truncated(0.0, 1.0, 40.0, 50.0), "low is 40"),
        (Law::truncated(0.0, 1.0, -99.0, -38.0), "high is -38"),
    ] {
        let message = law.check().unwrap_err().to_string();
        assert!(message.starts_with(bound) && message.contains("probability"), "{message}");
    }
    let error = Law::truncated_in_std(0.0, 1.0, 2.0, 1.0, true).unwrap_err();
    assert_eq!(error.to_string(), "high_in_std is 1, allowed more than low_in_std");
    assert!(Law::truncated_in_std(0.0, -1.0, -2.0, 2.0, true).is_err());
    assert!(Law::truncated_in_std(nan, 1.0, -2.0, 2.0, false).is_err());
}

#[test]
fn draws_that_do_not_fit_the_type_are_refused() {
    let stream = Stream::new(0, "");
    let mut out = [f16::ZERO; 4];
    for law in [
        Law::normal(0.0, 1e4),
        Law::uniform(-1e5, 1e5),
        Law::constant(7e4),
        Law::truncated(0.0, 1e6, -1e6, 1e6),
    ] {
        assert!(matches!(law.fill(&stream, 0, &mut out), Err(LawError::Range { .. })), "{law}");
    }
    Law::truncated(0.0, 0.02, -1e9, 1e9).fill(&stream, 0, &mut out).unwrap();
    let mut out = [0_f32; 4];
    assert!(matches!(Law::uniform(-3e38, 3e38).fill(&stream, 0, &mut out), Err(LawError::Range { .. })));
    let gap = Law::uniform(1.0 + 1e-9, 1.0 + 2e-9);
    assert!(matches!(gap.fill(&stream, 0, &mut out), Err(LawError::Gap { .. })));
    gap.fill(&stream, 0, &mut [0_f64; 4]).unwrap();
    let mut out = [0_f64; 4];
    assert!(Law::uniform(-1.7e308, 1.7e308).fill(&stream, 0, &mut out).is_err());
}

#[test]
fn extreme_bounds_give_numbers_within_them() {
    for law in [
        Law::truncated(0.0, 1.0, 30.0, f64::INFINITY),
        Law::truncated(0.0, 1.0, f64::NEG_INFINITY, -12.0),
        Law::truncated(0.0, 1e-30, -1.0, 1.0),
        Law::truncated(1e6, 1.0, 1e6 - 2.0, 1e6 + 2.0),
        Law::truncated(0.0, 1.0, 20.0, 20.0 + 1e-6),
    ] {
        let (low, high) = law.support();
        let mut out = [0_f32; 1000];
        law.fill(&Stream::new(5, "extreme"), 0, &mut out).unwrap();
        assert!(out.iter().all(|&x| low <= f64::from(x) && f64::from(x) <= high), "{law}");
    }
}
