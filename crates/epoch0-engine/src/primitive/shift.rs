//! Weights that are signed powers of two, learned through what they are made of (Li et al. 2022).

use crate::Tensor;
use crate::var::{Primitive, Var};

/// A value that passes on the derivatives of another: a straight-through estimate.
#[derive(Debug)]
struct Valued(Tensor);

impl Primitive for Valued {
    fn forward(&self, _: &[&Tensor]) -> Tensor {
        self.0.clone()
    }

    fn jvp(&self, _: &[Var], _: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        tangents[0].clone()
    }

    fn vjp(&self, _: &[Var], _: &Var, cotangent: &Var, _: &[bool]) -> Vec<Option<Var>> {
        vec![Some(cotangent.clone())]
    }
}

/// 1 where it is at least 0, −1 below.
fn sign(x: &Tensor) -> Tensor {
    // What is no number stays none.
    x.scale(0.0).add_scalar(1.0).mask_fill(&x.scale(-1.0).greater(0.0), -1.0)
}

/// 1 above 0, 0 elsewhere.
pub(super) fn step(x: &Tensor) -> Tensor {
    x.scale(0.0).mask_fill(&x.greater(0.0), 1.0)
}

impl Var {
    /// The given value, with the derivatives of this one.
    ///
    /// # Panics
    ///
    /// When the shapes differ.
    #[must_use]
    pub fn valued(&self, value: Tensor) -> Self {
        assert_eq!(self.shape(), value.shape(), "a value in the place of another");
        Self::apply(Valued(value), &[self])
    }

    /// `s · 2^S`: s is the sign of this one, 1 at 0, and S counts gates, `S_1 = g_1`, `S_j = (S_(j−1) + 1) g_j`, `g_j`
    /// being 1 where gate j is above 0 and 0 elsewhere. Derivatives are those of `s √(S + 1)`, with those of signs and
    /// gates taken as 1 everywhere.
    #[must_use]
    pub fn shifted(&self, gates: &[&Self]) -> Self {
        let signs = self.valued(sign(self.value()));
        let mut exponent: Option<Self> = None;
        for gate in gates {
            let open = gate.valued(step(gate.value()));
            exponent =
                Some(exponent.map_or_else(|| open.clone(), |before| before.add_scalar(1.0).mul(&open)));
        }
        let Some(exponent) = exponent else { return signs };
        let mut value = signs.value().clone();
        for least in 1..=gates.len() {
            value = value.mask_where(&exponent.value().greater_equal(least as f64), &value.scale(2.0));
        }
        let value = value.add(&exponent.value().scale(0.0));
        signs.mul(&exponent.add_scalar(1.0).sqrt()).valued(value)
    }
}
