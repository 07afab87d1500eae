//! Operations that are several primitives at once.
//!
//! Each has a definition in terms of other operations, from which derivatives of every order follow, and quicker ways
//! to its value and its first derivative. The quick ways are taken where nothing is to be differentiated again.

use std::fmt::Debug;

use crate::Tensor;
use crate::var::{Order, Primitive, Var, jvp_within, vjp_within};

/// Several primitives at once.
pub(crate) trait Fuse: Debug + Send + Sync + 'static {
    /// The definition.
    fn define(&self, inputs: &[Var]) -> Var;

    /// The value.
    fn value(&self, inputs: &[&Tensor]) -> Tensor {
        let inputs: Vec<Var> = inputs.iter().map(|&input| Var::constant(input.clone())).collect();
        self.define(&inputs).value().clone()
    }

    /// Cotangents of the wanted inputs, where there is a quick way to them.
    fn pull(
        &self,
        _inputs: &[&Tensor],
        _output: &Tensor,
        _cotangent: &Tensor,
        _wanted: &[bool],
    ) -> Option<Vec<Option<Tensor>>> {
        None
    }
}

#[derive(Debug)]
pub(crate) struct Fused<F>(pub(crate) F);

/// The inputs to differentiate a definition by: themselves where they are tracked, else leaves of their values.
fn open(inputs: &[Var]) -> (Vec<Var>, Order) {
    if inputs.iter().any(Var::is_tracked) {
        // An input that is not tracked still has to be one node for the definition and the question.
        let own =
            |input: &Var| if input.is_tracked() { input.clone() } else { Var::leaf(input.value().clone()) };
        (inputs.iter().map(own).collect(), Order::Differentiable)
    } else {
        (inputs.iter().map(|input| Var::leaf(input.value().clone())).collect(), Order::Last)
    }
}

impl<F: Fuse> Primitive for Fused<F> {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        self.0.value(inputs)
    }

    fn jvp(&self, inputs: &[Var], _: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        let (inputs, order) = open(inputs);
        let output = self.0.define(&inputs);
        let stop: Vec<&Var> = inputs.iter().collect();
        let wrt: Vec<(&Var, Var)> = inputs
            .iter()
            .zip(tangents)
            .filter_map(|(input, tangent)| Some((input, tangent.clone()?)))
            .collect();
        jvp_within(&[&output], &wrt, order, &stop).pop().flatten()
    }

    fn vjp(&self, inputs: &[Var], output: &Var, cotangent: &Var, wanted: &[bool]) -> Vec<Option<Var>> {
        if !cotangent.is_tracked() && !inputs.iter().any(Var::is_tracked) {
            let values: Vec<&Tensor> = inputs.iter().map(Var::value).collect();
            if let Some(found) = self.0.pull(&values, output.value(), cotangent.value(), wanted) {
                return found.into_iter().map(|found| found.map(Var::constant)).collect();
            }
        }
        let (inputs, order) = open(inputs);
        let order = if cotangent.is_tracked() { Order::Differentiable } else { order };
        let output = self.0.define(&inputs);
        let stop: Vec<&Var> = inputs.iter().collect();
        let wrt: Vec<&Var> =
            inputs.iter().zip(wanted).filter(|(_, wanted)| **wanted).map(|(input, _)| input).collect();
        let mut found = vjp_within(&[(&output, cotangent.clone())], &wrt, order, &stop).into_iter();
        wanted.iter().map(|wanted| if *wanted { found.next().flatten() } else { None }).collect()
    }
}

/// `exp(x) / Σ exp(x)` over a dimension.
#[derive(Debug)]
struct Softmax(usize);

/// `x` less its largest along a dimension, as a constant: it changes no value and no derivative.
fn centred(x: &Var, dim: usize) -> Var {
    let (max, _) = x.value().max_dim(dim);
    x.sub(&Var::constant(max))
}

impl Fuse for Softmax {
    fn define(&self, inputs: &[Var]) -> Var {
        let weights = centred(&inputs[0], self.0).exp();
        weights.div(&weights.sum_keep(&[self.0]))
    }

    fn pull(&self, _: &[&Tensor], y: &Tensor, cotangent: &Tensor, _: &[bool]) -> Option<Vec<Option<Tensor>>> {
        let weighted = y.mul(cotangent);
        Some(vec![Some(weighted.sub(&y.mul(&weighted.sum_dims(&[self.0]))))])
    }
}

/// `x − log Σ exp(x)` over a dimension.
#[derive(Debug)]
struct LogSoftmax(usize);

impl Fuse for LogSoftmax {
    fn define(&self, inputs: &[Var]) -> Var {
        let x = centred(&inputs[0], self.0);
        x.sub(&x.exp().sum_keep(&[self.0]).log())
    }

    fn pull(&self, _: &[&Tensor], y: &Tensor, cotangent: &Tensor, _: &[bool]) -> Option<Vec<Option<Tensor>>> {
        Some(vec![Some(cotangent.sub(&y.exp().mul(&cotangent.sum_dims(&[self.0]))))])
    }
}

/// `(x − mean) / √(variance + eps)` over dimensions, the variance being that of the values themselves (biased).
#[derive(Debug)]
struct Standardize {
    dims: Vec<usize>,
    eps: f64,
}

impl Standardize {
    fn count(&self, shape: &[usize]) -> f64 {
        self.dims.iter().map(|&dim| shape[dim]).product::<usize>() as f64
    }
}

impl Fuse for Standardize {
    fn define(&self, inputs: &[Var]) -> Var {
        let x = inputs[0].sub(&inputs[0].mean_keep(&self.dims));
        x.div(&x.square().mean_keep(&self.dims).add_scalar(self.eps).sqrt())
    }

    fn pull(
        &self,
        inputs: &[&Tensor],
        y: &Tensor,
        cotangent: &Tensor,
        _: &[bool],
    ) -> Option<Vec<Option<Tensor>>> {
        let (x, n) = (inputs[0], self.count(&inputs[0].shape()));
        let centred = x.sub(&x.sum_dims(&self.dims).scale(1.0 / n));
        let variance = centred.mul(&centred).sum_dims(&self.dims).scale(1.0 / n);
        let deviation = variance.add_scalar(self.eps).sqrt();
        let mean = cotangent.sum_dims(&self.dims).scale(1.0 / n);
        let along = cotangent.mul(y).sum_dims(&self.dims).scale(1.0 / n);
        Some(vec![Some(cotangent.sub(&mean).sub(&y.mul(&along)).div(&deviation))])
    }
}

impl Var {
    /// `exp(x) / Σ exp(x)` over a dimension.
    #[must_use]
    pub fn softmax(&self, dim: usize) -> Self {
        Self::apply(Fused(Softmax(dim)), &[self])
    }

    /// `x − log Σ exp(x)` over a dimension.
    #[must_use]
    pub fn log_softmax(&self, dim: usize) -> Self {
        Self::apply(Fused(LogSoftmax(dim)), &[self])
    }

    /// `(x − mean) / √(variance + eps)` over dimensions, with the biased variance.
    #[must_use]
    pub fn standardize(&self, dims: &[usize], eps: f64) -> Self {
        Self::apply(Fused(Standardize { dims: dims.to_vec(), eps }), &[self])
    }
}
