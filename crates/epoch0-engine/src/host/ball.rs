//! What vectors are multiplied by on their way into the Poincaré ball and out of it, as functions of squared norms.

use super::{Function, Function2, Real, map, map2};
use crate::Tensor;

/// Below it series are taken.
pub(crate) const SMALL: f64 = 0.04;

/// `tanh(√q) / √q`, and `edge / √q` where that is less.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inwards {
    pub(crate) edge: f64,
}

/// `artanh(√q) / √q`, `√q` in the numerator taken for no more than `limit`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outwards {
    pub(crate) limit: f64,
}

/// `tanh(x) = Σ TANH[n] x^(2n + 1)`
const TANH: [f64; 10] = [
    1.0,
    -1.0 / 3.0,
    2.0 / 15.0,
    -17.0 / 315.0,
    62.0 / 2835.0,
    -1382.0 / 155_925.0,
    21_844.0 / 6_081_075.0,
    -929_569.0 / 638_512_875.0,
    6_404_582.0 / 10_854_718_875.0,
    -443_861_162.0 / 1_856_156_927_625.0,
];

/// `artanh(x) = Σ ARTANH[n] x^(2n + 1)`
const ARTANH: [f64; 13] = [
    1.0,
    1.0 / 3.0,
    1.0 / 5.0,
    1.0 / 7.0,
    1.0 / 9.0,
    1.0 / 11.0,
    1.0 / 13.0,
    1.0 / 15.0,
    1.0 / 17.0,
    1.0 / 19.0,
    1.0 / 21.0,
    1.0 / 23.0,
    1.0 / 25.0,
];

/// `Σ c[n] qⁿ`
#[inline(always)]
fn series<T: Real, const N: usize>(q: T, c: [f64; N]) -> T {
    let mut sum = T::of(c[N - 1]);
    for n in (0..N - 1).rev() {
        sum = sum * q + T::of(c[n]);
    }
    sum
}

/// `Σ n c[n] q^(n − 1)`
#[inline(always)]
fn series_slope<T: Real, const N: usize>(q: T, c: [f64; N]) -> T {
    let mut sum = T::of((N - 1) as f64 * c[N - 1]);
    for n in (1..N - 1).rev() {
        sum = sum * q + T::of(n as f64 * c[n]);
    }
    sum
}

/// A function of the squared norm and its derivative.
pub(crate) trait Factor: Sync + Copy {
    fn value<T: Real>(self, q: T) -> T;
    fn slope<T: Real>(self, q: T) -> T;
}

impl Factor for Inwards {
    #[inline(always)]
    fn value<T: Real>(self, q: T) -> T {
        let root = q.sqrt();
        let away = root.tanh().at_most(T::of(self.edge)) / root;
        if q <= T::of(SMALL) { series(q, TANH) } else { away }
    }

    #[inline(always)]
    fn slope<T: Real>(self, q: T) -> T {
        let f = self.value(q);
        let is_far = q.sqrt().tanh() > T::of(self.edge);
        let rest = if is_far { T::ZERO } else { T::ONE - q * f * f };
        let away = (rest - f) / (q + q);
        if q <= T::of(SMALL) { series_slope(q, TANH) } else { away }
    }
}

impl Factor for Outwards {
    #[inline(always)]
    fn value<T: Real>(self, q: T) -> T {
        let root = q.sqrt();
        let away = root.at_most(T::of(self.limit)).artanh() / root;
        if q <= T::of(SMALL) { series(q, ARTANH) } else { away }
    }

    #[inline(always)]
    fn slope<T: Real>(self, q: T) -> T {
        let is_far = q.sqrt() > T::of(self.limit);
        let rest = if is_far { T::ZERO } else { T::ONE / (T::ONE - q) };
        let away = (rest - self.value(q)) / (q + q);
        if q <= T::of(SMALL) { series_slope(q, ARTANH) } else { away }
    }
}

struct Value<F>(F);

impl<F: Factor> Function for Value<F> {
    #[inline(always)]
    fn at<T: Real>(&self, q: T) -> T {
        self.0.value(q)
    }
}

struct Pull<F>(F);

impl<F: Factor> Function2 for Pull<F> {
    #[inline(always)]
    fn at<T: Real>(&self, q: T, cotangent: T) -> T {
        cotangent * self.0.slope(q)
    }
}

/// The factor of every squared norm.
pub(crate) fn value(factor: impl Factor, q: &Tensor) -> Option<Tensor> {
    map(q, &Value(factor))
}

/// Cotangent times the factor's slope.
pub(crate) fn pull(factor: impl Factor, q: &Tensor, cotangent: &Tensor) -> Option<Tensor> {
    map2(q, cotangent, &Pull(factor))
}
