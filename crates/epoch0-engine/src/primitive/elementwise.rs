//! Sums, products and functions, element by element.

use crate::var::{Primitive, Var};
use crate::{Mask, Tensor};

/// Sums `cotangent` to the shape of an input that was broadcast.
fn back(cotangent: &Var, input: &Var) -> Var {
    cotangent.sum_to(&input.shape())
}

/// Broadcasts a tangent to the output's shape.
fn out(tangent: &Var, output: &Var) -> Var {
    tangent.expand(&output.shape())
}

fn plus(a: Option<Var>, b: Option<Var>) -> Option<Var> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.add(&b)),
        (a, b) => a.or(b),
    }
}

#[derive(Debug)]
struct Add;

impl Primitive for Add {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        inputs[0].add(inputs[1])
    }

    fn jvp(&self, _: &[Var], output: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        let [a, b] = [&tangents[0], &tangents[1]].map(|tangent| tangent.as_ref().map(|t| out(t, output)));
        plus(a, b)
    }

    fn vjp(&self, inputs: &[Var], _: &Var, cotangent: &Var, wanted: &[bool]) -> Vec<Option<Var>> {
        (0..2).map(|at| wanted[at].then(|| back(cotangent, &inputs[at]))).collect()
    }
}

#[derive(Debug)]
struct Sub;

impl Primitive for Sub {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        inputs[0].sub(inputs[1])
    }

    fn jvp(&self, _: &[Var], output: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        let a = tangents[0].as_ref().map(|t| out(t, output));
        let b = tangents[1].as_ref().map(|t| out(&t.neg(), output));
        plus(a, b)
    }

    fn vjp(&self, inputs: &[Var], _: &Var, cotangent: &Var, wanted: &[bool]) -> Vec<Option<Var>> {
        vec![
            wanted[0].then(|| back(cotangent, &inputs[0])),
            wanted[1].then(|| back(&cotangent.neg(), &inputs[1])),
        ]
    }
}

#[derive(Debug)]
struct Mul;

impl Primitive for Mul {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        inputs[0].mul(inputs[1])
    }

    fn jvp(&self, inputs: &[Var], output: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        let a = tangents[0].as_ref().map(|t| out(&t.mul(&inputs[1]), output));
        let b = tangents[1].as_ref().map(|t| out(&inputs[0].mul(t), output));
        plus(a, b)
    }

    fn vjp(&self, inputs: &[Var], _: &Var, cotangent: &Var, wanted: &[bool]) -> Vec<Option<Var>> {
        vec![
            wanted[0].then(|| back(&cotangent.mul(&inputs[1]), &inputs[0])),
            wanted[1].then(|| back(&cotangent.mul(&inputs[0]), &inputs[1])),
        ]
    }
}

#[derive(Debug)]
struct Div;

impl Primitive for Div {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        inputs[0].div(inputs[1])
    }

    fn jvp(&self, inputs: &[Var], output: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        let a = tangents[0].as_ref().map(|t| out(&t.div(&inputs[1]), output));
        let b = tangents[1].as_ref().map(|t| out(&output.mul(t).div(&inputs[1]).neg(), output));
        plus(a, b)
    }

    fn vjp(&self, inputs: &[Var], output: &Var, cotangent: &Var, wanted: &[bool]) -> Vec<Option<Var>> {
        vec![
            wanted[0].then(|| back(&cotangent.div(&inputs[1]), &inputs[0])),
            wanted[1].then(|| back(&cotangent.mul(output).div(&inputs[1]).neg(), &inputs[1])),
        ]
    }
}

/// A function of one number, with its derivative as a function of input and output.
#[derive(Clone, Copy, Debug)]
enum Map {
    Scale(f64),
    Shift(f64),
    Power(f64),
    Exp,
    Log,
    Sin,
    Cos,
    Tanh,
    Sinh,
    Asinh,
    Artanh,
    Erf,
    Atan,
    Abs,
}

impl Map {
    /// `φ'(x) · factor`.
    fn slope(self, x: &Var, y: &Var, factor: &Var) -> Var {
        match self {
            Self::Scale(scale) => factor.scale(scale),
            Self::Shift(_) => factor.clone(),
            Self::Power(2.0) => factor.mul(x).scale(2.0),
            Self::Power(0.5) => factor.div(y).scale(0.5),
            Self::Power(-1.0) => factor.mul(y).mul(y).neg(),
            Self::Power(power) => factor.mul(&x.powf(power - 1.0)).scale(power),
            Self::Exp => factor.mul(y),
            Self::Log => factor.div(x),
            Self::Sin => factor.mul(&x.cos()),
            Self::Cos => factor.mul(&x.sin()).neg(),
            Self::Tanh => factor.sub(&factor.mul(y).mul(y)),
            Self::Sinh => factor.mul(&y.square().add_scalar(1.0).sqrt()),
            Self::Asinh => factor.div(&x.square().add_scalar(1.0).sqrt()),
            Self::Artanh => factor.div(&x.square().neg().add_scalar(1.0)),
            Self::Erf => {
                let bell = x.mul(x).neg().exp().scale(std::f64::consts::FRAC_2_SQRT_PI);
                factor.mul(&bell)
            }
            Self::Atan => factor.div(&x.square().add_scalar(1.0)),
            Self::Abs => factor.mul(&Var::constant(x.value().sign())),
        }
    }
}

impl Primitive for Map {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        let x = inputs[0];
        match *self {
            Self::Scale(scale) => x.scale(scale),
            Self::Shift(shift) => x.add_scalar(shift),
            Self::Power(2.0) => x.mul(x),
            Self::Power(0.5) => x.sqrt(),
            Self::Power(-1.0) => x.recip(),
            Self::Power(power) => x.powf(power),
            Self::Exp => x.exp(),
            Self::Log => x.log(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Tanh => x.tanh(),
            Self::Sinh => x.sinh(),
            Self::Asinh => x.asinh(),
            Self::Artanh => x.artanh(),
            Self::Erf => x.erf(),
            Self::Atan => x.atan(),
            Self::Abs => x.abs(),
        }
    }

    fn jvp(&self, inputs: &[Var], output: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        tangents[0].as_ref().map(|tangent| self.slope(&inputs[0], output, tangent))
    }

    fn vjp(&self, inputs: &[Var], output: &Var, cotangent: &Var, _: &[bool]) -> Vec<Option<Var>> {
        vec![Some(self.slope(&inputs[0], output, cotangent))]
    }
}

/// The second input where the mask is true, the first elsewhere; all of one shape.
#[derive(Debug)]
struct Choose(Mask);

impl Primitive for Choose {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        inputs[0].mask_where(&self.0, inputs[1])
    }

    fn jvp(&self, _: &[Var], _: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        match (&tangents[0], &tangents[1]) {
            (Some(a), Some(b)) => Some(a.choose(&self.0, b)),
            (Some(a), None) => Some(a.clear(&self.0)),
            (None, Some(b)) => Some(b.clear(&self.0.not())),
            (None, None) => None,
        }
    }

    fn vjp(&self, _: &[Var], _: &Var, cotangent: &Var, wanted: &[bool]) -> Vec<Option<Var>> {
        vec![wanted[0].then(|| cotangent.clear(&self.0)), wanted[1].then(|| cotangent.clear(&self.0.not()))]
    }
}

/// A constant where the mask is true.
#[derive(Debug)]
struct Fill(Mask, f64);

impl Primitive for Fill {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        inputs[0].mask_fill(&self.0, self.1)
    }

    fn jvp(&self, _: &[Var], _: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        tangents[0].as_ref().map(|tangent| tangent.clear(&self.0))
    }

    fn vjp(&self, _: &[Var], _: &Var, cotangent: &Var, _: &[bool]) -> Vec<Option<Var>> {
        vec![Some(cotangent.clear(&self.0))]
    }
}

impl Var {
    /// Sum; broadcasts as numpy does.
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        Self::apply(Add, &[self, other])
    }

    /// Difference; broadcasts as numpy does.
    #[must_use]
    pub fn sub(&self, other: &Self) -> Self {
        Self::apply(Sub, &[self, other])
    }

    /// Product, element by element; broadcasts as numpy does.
    #[must_use]
    pub fn mul(&self, other: &Self) -> Self {
        Self::apply(Mul, &[self, other])
    }

    /// Quotient; broadcasts as numpy does.
    #[must_use]
    pub fn div(&self, other: &Self) -> Self {
        Self::apply(Div, &[self, other])
    }

    /// `−x`.
    #[must_use]
    pub fn neg(&self) -> Self {
        self.scale(-1.0)
    }

    /// Product with a constant.
    #[must_use]
    pub fn scale(&self, factor: f64) -> Self {
        Self::apply(Map::Scale(factor), &[self])
    }

    /// Sum with a constant.
    #[must_use]
    pub fn add_scalar(&self, term: f64) -> Self {
        Self::apply(Map::Shift(term), &[self])
    }

    /// `x ^ power`.
    #[must_use]
    pub fn powf(&self, power: f64) -> Self {
        // These have no derivative of the form `power · x ^ (power − 1)` at zero.
        match power {
            0.0 => self.scale(0.0).add_scalar(1.0),
            1.0 => self.clone(),
            _ => Self::apply(Map::Power(power), &[self]),
        }
    }

    /// `√x`.
    #[must_use]
    pub fn sqrt(&self) -> Self {
        self.powf(0.5)
    }

    /// `1 / x`.
    #[must_use]
    pub fn recip(&self) -> Self {
        self.powf(-1.0)
    }

    /// `x²`.
    #[must_use]
    pub fn square(&self) -> Self {
        self.powf(2.0)
    }

    /// Exponential.
    #[must_use]
    pub fn exp(&self) -> Self {
        Self::apply(Map::Exp, &[self])
    }

    /// Natural logarithm.
    #[must_use]
    pub fn log(&self) -> Self {
        Self::apply(Map::Log, &[self])
    }

    /// Sine.
    #[must_use]
    pub fn sin(&self) -> Self {
        Self::apply(Map::Sin, &[self])
    }

    /// Cosine.
    #[must_use]
    pub fn cos(&self) -> Self {
        Self::apply(Map::Cos, &[self])
    }

    /// Hyperbolic tangent.
    #[must_use]
    pub fn tanh(&self) -> Self {
        Self::apply(Map::Tanh, &[self])
    }

    /// Hyperbolic sine.
    #[must_use]
    pub fn sinh(&self) -> Self {
        Self::apply(Map::Sinh, &[self])
    }

    /// Inverse of the hyperbolic sine.
    #[must_use]
    pub fn asinh(&self) -> Self {
        Self::apply(Map::Asinh, &[self])
    }

    /// Inverse of the hyperbolic tangent.
    #[must_use]
    pub fn artanh(&self) -> Self {
        Self::apply(Map::Artanh, &[self])
    }

    /// Error function.
    #[must_use]
    pub fn erf(&self) -> Self {
        Self::apply(Map::Erf, &[self])
    }

    /// Arc tangent.
    #[must_use]
    pub fn atan(&self) -> Self {
        Self::apply(Map::Atan, &[self])
    }

    /// `|x|`; its derivative at zero is zero.
    #[must_use]
    pub fn abs(&self) -> Self {
        Self::apply(Map::Abs, &[self])
    }

    /// `other` where the mask is true, this one elsewhere; broadcasts.
    #[must_use]
    pub fn choose(&self, mask: &Mask, other: &Self) -> Self {
        let shape = broadcast(&broadcast(&self.shape(), &other.shape()), &mask.shape());
        Self::apply(Choose(mask.expand(&shape)), &[&self.expand(&shape), &other.expand(&shape)])
    }

    /// A constant where the mask is true; the mask is broadcast.
    #[must_use]
    pub fn fill(&self, mask: &Mask, value: f64) -> Self {
        let shape = broadcast(&self.shape(), &mask.shape());
        Self::apply(Fill(mask.expand(&shape), value), &[&self.expand(&shape)])
    }

    /// Zero where the mask is true.
    #[must_use]
    pub fn clear(&self, mask: &Mask) -> Self {
        self.fill(mask, 0.0)
    }
}

/// The shape that two shapes broadcast to.
///
/// # Panics
///
/// When they do not; see [`try_broadcast`].
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Vec<usize> {
    try_broadcast(a, b).unwrap_or_else(|| panic!("shapes {a:?} and {b:?} do not broadcast"))
}

/// The shape that two shapes broadcast to, where they do.
pub(crate) fn try_broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], dim: usize| (dim + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    let both = (0..rank).map(|dim| match (size(a, dim), size(b, dim)) {
        (x, y) if x == y => Some(x),
        (1, y) => Some(y),
        (x, 1) => Some(x),
        _ => None,
    });
    both.collect()
}
