//! `sin(u) / u`.

use libm::{cos, sin};

/// Below this size derivatives are summed as series, which do not cancel.
const SMALL: f64 = 0.5;

/// `sin(u) / u` and its first two derivatives.
pub(super) fn sinc(u: f64) -> [f64; 3] {
    if u.abs() >= SMALL {
        let (sine, cosine) = (sin(u) / u, cos(u) / u);
        let slope = cosine - sine / u;
        return [sine, slope, -sine - 2.0 * slope / u];
    }
    // Σ (-1)^k u^(2k) / (2k + 1)!, and term by term.
    let square = u * u;
    let mut sums = [1.0, 0.0, 0.0];
    // (-1)^k u^(2k-2) / (2k + 1)!
    let mut term = -1.0 / 6.0;
    for k in 1..=9 {
        let k = f64::from(k);
        sums[0] += term * square;
        sums[1] += 2.0 * k * term * u;
        sums[2] += 2.0 * k * (2.0 * k - 1.0) * term;
        term *= -square / ((2.0 * k + 2.0) * (2.0 * k + 3.0));
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::sinc;

    #[test]
    fn series_and_quotient_meet() {
        let (below, above) = (sinc(0.5f64.next_down()), sinc(0.5));
        for (series, quotient) in below.iter().zip(above) {
            assert!((series - quotient).abs() < 1e-14, "{series} and {quotient}");
        }
        assert_eq!(sinc(0.0), [1.0, 0.0, -1.0 / 3.0]);
        assert!(sinc(f64::NAN).iter().all(|value| value.is_nan()));
    }
}
