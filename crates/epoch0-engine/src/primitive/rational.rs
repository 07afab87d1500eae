//! Rational functions with learned coefficients.

use epoch0_num::rational::{DENOMINATOR, Form, NUMERATOR};

use crate::Tensor;
use crate::host::rational as quick;
use crate::primitive::fused::{Fuse, Fused};
use crate::var::Var;

/// Inputs are x, coefficients of the numerator and of the denominator, of each group of the last dimension or of all.
#[derive(Debug)]
struct Rational {
    groups: usize,
    form: Form,
}

/// `|x|`, whose derivative at 0 is that from above.
fn size(x: &Var) -> Var {
    let ones = x.value().full_like(1.0, &x.shape());
    let signs = ones.mask_fill(&x.value().scale(-1.0).greater(0.0), -1.0);
    x.mul(&Var::constant(signs))
}

/// `c_0 + c_1 x + …`, by columns of coefficients.
fn horner(columns: &[Var], x: &Var) -> Var {
    let (last, rest) = columns.split_last().expect("a polynomial has coefficients");
    rest.iter().rev().fold(last.clone(), |sum, column| sum.mul(x).add(column))
}

fn columns(coefficients: &Var, n: usize) -> Vec<Var> {
    (0..n).map(|at| coefficients.slice(1, at, at + 1, 1)).collect()
}

impl Fuse for Rational {
    fn define(&self, inputs: &[Var]) -> Var {
        let shape = inputs[0].shape();
        let width = shape.last().copied().unwrap_or(1);
        let rows = inputs[0].value().len() / width.max(1);
        let x = inputs[0].reshape(&[rows, self.groups, width / self.groups]);
        let below = columns(&inputs[2], DENOMINATOR);
        let below = match self.form {
            Form::SumOfAbs => {
                let below: Vec<Var> = below.iter().map(size).collect();
                let x = x.abs();
                horner(&below, &x).mul(&x)
            }
            Form::AbsOfSum => size(&horner(&below, &x).mul(&x)),
        };
        horner(&columns(&inputs[1], NUMERATOR), &x).div(&below.add_scalar(1.0)).reshape(&shape)
    }

    fn value(&self, inputs: &[&Tensor]) -> Option<Tensor> {
        quick::value(self.form, self.groups, inputs)
    }

    fn pull(
        &self,
        inputs: &[&Tensor],
        _: &Tensor,
        cotangent: &Tensor,
        _: &[bool],
    ) -> Option<Vec<Option<Tensor>>> {
        let found = quick::pull(self.form, self.groups, inputs, cotangent)?;
        Some(found.into_iter().map(Some).collect())
    }
}

impl Var {
    /// `P(x) / Q(x)` for each number, by the group of the last dimension that it stands in: numerator `[1 or groups, 6]`,
    /// denominator `[1 or groups, 4]`.
    ///
    /// # Panics
    ///
    /// When the last dimension is not divisible by the groups, or a shape is another.
    #[must_use]
    pub fn rational(&self, numerator: &Self, denominator: &Self, groups: usize, form: Form) -> Self {
        let fits = |var: &Self, n: usize| var.shape() == [1, n] || var.shape() == [groups, n];
        assert!(
            fits(numerator, NUMERATOR) && fits(denominator, DENOMINATOR),
            "coefficients of shapes {:?} and {:?} for {groups} groups",
            numerator.shape(),
            denominator.shape()
        );
        assert!(
            groups > 0 && self.shape().last().is_some_and(|width| width.is_multiple_of(groups)),
            "{groups} groups of the last dimension of shape {:?}",
            self.shape()
        );
        Self::apply(Fused(Rational { groups, form }), &[self, numerator, denominator])
    }
}
