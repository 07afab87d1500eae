//! Updates in one pass over slices.

use std::ops::{Add, Div, Mul, Sub};

use rayon::prelude::*;

use super::{Optimizer, Update};

/// Numbers of a weight.
pub(super) trait Number:
    Copy
    + Send
    + Sync
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    fn of(x: f64) -> Self;
    fn root(self) -> Self;
    fn to_f64(self) -> f64;
}

impl Number for f32 {
    fn of(x: f64) -> Self {
        x as Self
    }

    fn root(self) -> Self {
        self.sqrt()
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Number for f64 {
    fn of(x: f64) -> Self {
        x
    }

    fn root(self) -> Self {
        self.sqrt()
    }

    fn to_f64(self) -> f64 {
        self
    }
}

/// Numbers that one thread works on at a time. Sums are taken per piece, so that threads do not change them.
const PIECE: usize = 1 << 14;

/// Sum of squares.
pub(super) fn squares<T: Number>(values: &[T]) -> f64 {
    let of_piece = |piece: &[T]| piece.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>();
    let sums: Vec<f64> = values.par_chunks(PIECE).map(of_piece).collect();
    sums.iter().sum()
}

impl Update {
    /// Changes weights by their gradients. `moments` are as the optimizer names them, zeros before the first update.
    pub(super) fn apply<T: Number>(&self, weights: &mut [T], gradients: &[T], moments: &mut [Vec<T>]) {
        match moments {
            [] => weights
                .par_chunks_mut(PIECE)
                .zip(gradients.par_chunks(PIECE))
                .for_each(|(w, g)| self.plain(w, g)),
            [velocity] => weights
                .par_chunks_mut(PIECE)
                .zip(gradients.par_chunks(PIECE))
                .zip(velocity.par_chunks_mut(PIECE))
                .for_each(|((w, g), v)| self.momentum(w, g, v)),
            [first, second, ..] => weights
                .par_chunks_mut(PIECE)
                .zip(gradients.par_chunks(PIECE))
                .zip(first.par_chunks_mut(PIECE).zip(second.par_chunks_mut(PIECE)))
                .for_each(|((w, g), (m, s))| self.adam(w, g, m, s)),
        }
    }

    /// A gradient as it is used.
    fn clipped<T: Number>(&self) -> impl Fn(T) -> T + use<T> {
        let (factor, bound) = (self.clipping.factor, self.clipping.bound);
        let (scale, high, low) = (T::of(factor), T::of(bound), T::of(-bound));
        move |g| {
            let g = if factor == 1.0 { g } else { g * scale };
            // Written so that NaN stays NaN.
            if g > high {
                high
            } else if g < low {
                low
            } else {
                g
            }
        }
    }

    fn plain<T: Number>(&self, weights: &mut [T], gradients: &[T]) {
        let (rate, decay, clipped) =
            (T::of(self.learning_rate), T::of(self.weight_decay), self.clipped::<T>());
        for (w, &g) in weights.iter_mut().zip(gradients) {
            let g = clipped(g) + decay * *w;
            *w = *w - rate * g;
        }
    }

    fn momentum<T: Number>(&self, weights: &mut [T], gradients: &[T], velocity: &mut [T]) {
        let Optimizer::Sgd(sgd) = self.optimizer else { return };
        let (rate, decay, clipped) =
            (T::of(self.learning_rate), T::of(self.weight_decay), self.clipped::<T>());
        let (keep, take) = (T::of(sgd.momentum), T::of(1.0 - sgd.dampening));
        for ((w, &g), v) in weights.iter_mut().zip(gradients).zip(velocity) {
            let g = clipped(g) + decay * *w;
            *v = if self.nth == 1 { g } else { keep * *v + take * g };
            let direction = if sgd.nesterov { g + keep * *v } else { *v };
            *w = *w - rate * direction;
        }
    }

    fn adam<T: Number>(&self, weights: &mut [T], gradients: &[T], first: &mut [T], second: &mut [T]) {
        let (adam, is_apart) = match self.optimizer {
            Optimizer::Adam(adam) => (adam, false),
            Optimizer::AdamW(adam) => (adam, true),
            Optimizer::Sgd(_) => return,
        };
        let (correction1, correction2) = self.corrections(&adam);
        let (take1, keep2, take2) = (T::of(1.0 - adam.beta1), T::of(adam.beta2), T::of(1.0 - adam.beta2));
        let (rate, root, eps) =
            (T::of(self.learning_rate / correction1), T::of(correction2), T::of(adam.eps));
        let (decay, shrink) = (T::of(self.weight_decay), T::of(1.0 - self.learning_rate * self.weight_decay));
        let clipped = self.clipped::<T>();
        for ((w, &g), (m, s)) in weights.iter_mut().zip(gradients).zip(first.iter_mut().zip(second)) {
            let mut g = clipped(g);
            if is_apart {
                *w = *w * shrink;
            } else {
                g = g + decay * *w;
            }
            *m = *m + take1 * (g - *m);
            *s = keep2 * *s + take2 * (g * g);
            *w = *w - rate * (*m / (s.root() / root + eps));
        }
    }
}
