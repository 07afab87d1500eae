//! Against scipy 1.17.1.

use epoch0_num::paired::{holm, mean, signed_rank_test, t_quantile, t_test, t_two_sided};

const A: [f64; 5] = [0.91, 0.87, 0.93, 0.90, 0.88];
const B: [f64; 5] = [0.89, 0.86, 0.90, 0.905, 0.85];

fn close(found: f64, wanted: f64, bound: f64) {
    assert!((found - wanted).abs() <= bound * wanted.abs().max(1e-300), "{found}, not {wanted}");
}

#[test]
fn student_is_scipys() {
    for (p, df, wanted) in [
        (0.975, 1.0, 12.706204736174694),
        (0.975, 4.0, 2.7764451051977934),
        (0.975, 9.0, 2.262157162798205),
        (0.95, 30.0, 1.697260886593957),
        (0.995, 2.5, 7.163728138948783),
        (0.6, 4.0, 0.2707222947075976),
    ] {
        close(t_quantile(p, df), wanted, 1e-12);
        close(t_quantile(1.0 - p, df), -wanted, 1e-12);
    }
    for (t, df, wanted) in [
        (0.5, 1.0, 0.7048327646991335),
        (2.0, 4.0, 0.11611652351681556),
        (-5.0, 9.0, 0.0007389679098032426),
        (40.0, 4.0, 2.3340163226012678e-06),
        (0.0, 3.0, 1.0),
        (1e-8, 5.0, 0.9999999924078662),
    ] {
        close(t_two_sided(t, df), wanted, 1e-12);
    }
}

#[test]
fn paired_differences_are_scipys() {
    let differences: Vec<f64> = A.iter().zip(B).map(|(a, b)| a - b).collect();
    close(t_test(&differences), 0.062449600206163025, 1e-10);
    let found = mean(&differences, 0.95);
    close(found.mean, 0.017, 1e-12);
    close(found.interval.0, -0.0014168533299198163, 1e-10);
    close(found.interval.1, 0.035416853329919847, 1e-10);
    let (low, high) = mean(&A, 0.95).interval;
    close(low, 0.8683556783493338, 1e-12);
    close(high, 0.9276443216506662, 1e-12);
}

#[test]
fn signed_ranks_are_exact() {
    close(signed_rank_test(&[0.3, -0.1, 0.7, 0.2, 0.9, -0.4, 1.1]), 0.15625, 1e-14);
    close(signed_rank_test(&[1.0, 2.0, 3.0, 4.0, 5.0]), 0.0625, 1e-14);
    // Equal differences, by all permutations of their signs.
    close(signed_rank_test(&[1.0, 1.0, -1.0, 2.0, 3.0, 3.0]), 0.125, 1e-14);
    close(signed_rank_test(&[1.0, 0.0, 2.0, 0.0, 3.0, 4.0, 5.0]), 0.0625, 1e-14);
    close(signed_rank_test(&[-1.0, 1.0]), 1.0, 1e-14);
    assert!(signed_rank_test(&[]).is_nan() && signed_rank_test(&[0.0]).is_nan());
    assert!(signed_rank_test(&[1.0, f64::NAN]).is_nan());
}

/// By hand: 0.01 × 4, 0.02 × 3, the larger of that and 0.03 × 2, and 0.5.
#[test]
fn several_tests_are_corrected() {
    assert_eq!(holm(&[0.02, 0.5, 0.01, 0.03]), [0.06, 0.5, 0.04, 0.06]);
    let found = holm(&[0.9, f64::NAN, 0.6]);
    assert_eq!((found[0], found[2]), (1.0, 1.0));
    assert!(found[1].is_nan());
}

#[test]
fn edges() {
    assert!(
        t_test(&[1.0]).is_nan() && mean(&[1.0], 0.95).interval.0.is_nan() && mean(&[], 0.95).mean.is_nan()
    );
    assert_eq!(t_test(&[0.0, 0.0, 0.0]), 1.0);
    assert_eq!(t_test(&[1.0, 1.0]), 0.0);
    assert!(t_quantile(2.0, 3.0).is_nan() && t_quantile(0.5, 0.0).is_nan());
    assert_eq!((t_quantile(0.5, 3.0), t_quantile(1.0, 3.0)), (0.0, f64::INFINITY));
}
