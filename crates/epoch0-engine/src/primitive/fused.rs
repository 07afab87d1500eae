//! Operations that are several primitives at once.
//!
//! Each has a definition in terms of other operations, from which derivatives of every order follow, and quicker ways
//! to its value and its first derivative. The quick ways are taken where nothing is to be differentiated again.

use std::fmt::Debug;

use crate::Tensor;
use crate::host::normalize::{self, Plan};
use crate::host::rows::{self, Kind};
use crate::var::{Order, Primitive, Var, jvp_within, vjp_within};

/// Several primitives at once.
pub(crate) trait Fuse: Debug + Send + Sync + 'static {
    /// The definition.
    fn define(&self, inputs: &[Var]) -> Var;

    /// The value, where there is a quick way to it.
    fn value(&self, _inputs: &[&Tensor]) -> Option<Tensor> {
        None
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

/// Itself. The inputs of a definition are nodes of their own, one for each even where two are the same value.
#[derive(Debug)]
struct Same;

impl Primitive for Same {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        inputs[0].clone()
    }

    fn jvp(&self, _: &[Var], _: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        tangents[0].clone()
    }

    fn vjp(&self, _: &[Var], _: &Var, cotangent: &Var, _: &[bool]) -> Vec<Option<Var>> {
        vec![Some(cotangent.clone())]
    }
}

/// The inputs to differentiate a definition by, and whether that has to be tracked: where an input or one of `others` is.
fn open<'a>(inputs: &'a [Var], others: impl IntoIterator<Item = &'a Var>) -> (Vec<Var>, Order) {
    let is_tracked = inputs.iter().chain(others).any(Var::is_tracked);
    let own = |input: &Var| {
        if input.is_tracked() { Var::apply(Same, &[input]) } else { Var::leaf(input.value().clone()) }
    };
    (inputs.iter().map(own).collect(), if is_tracked { Order::Differentiable } else { Order::Last })
}

impl<F: Fuse> Primitive for Fused<F> {
    fn forward(&self, inputs: &[&Tensor]) -> Tensor {
        self.0.value(inputs).unwrap_or_else(|| {
            let inputs: Vec<Var> = inputs.iter().map(|&input| Var::constant(input.clone())).collect();
            self.0.define(&inputs).value().clone()
        })
    }

    fn jvp(&self, inputs: &[Var], _: &Var, tangents: &[Option<Var>]) -> Option<Var> {
        let (inputs, order) = open(inputs, tangents.iter().flatten());
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
        let (inputs, order) = open(inputs, [cotangent]);
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

    fn value(&self, inputs: &[&Tensor]) -> Option<Tensor> {
        rows::softmax(Kind::Plain, inputs[0], self.0)
    }

    fn pull(&self, _: &[&Tensor], y: &Tensor, cotangent: &Tensor, _: &[bool]) -> Option<Vec<Option<Tensor>>> {
        let found = rows::softmax_pull(Kind::Plain, y, cotangent, self.0).unwrap_or_else(|| {
            let weighted = y.mul(cotangent);
            weighted.sub(&y.mul(&weighted.sum_dims(&[self.0])))
        });
        Some(vec![Some(found)])
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

    fn value(&self, inputs: &[&Tensor]) -> Option<Tensor> {
        rows::softmax(Kind::Log, inputs[0], self.0)
    }

    fn pull(&self, _: &[&Tensor], y: &Tensor, cotangent: &Tensor, _: &[bool]) -> Option<Vec<Option<Tensor>>> {
        let found = rows::softmax_pull(Kind::Log, y, cotangent, self.0)
            .unwrap_or_else(|| cotangent.sub(&y.exp().mul(&cotangent.sum_dims(&[self.0]))));
        Some(vec![Some(found)])
    }
}

/// `(x − mean) / √(variance + eps)` over dimensions, the variance being that of the values themselves (biased), or their
/// mean square where the mean is not taken away; times a
/// scale and plus a shift where there are these inputs, which broadcast.
#[derive(Debug)]
struct Normalize {
    dims: Vec<usize>,
    eps: f64,
    /// Whether the mean is taken away.
    is_centred: bool,
}

impl Normalize {
    fn plan(&self, inputs: &[&Tensor]) -> Option<Plan> {
        let scale = match inputs {
            [_] => None,
            [_, scale, shift] if scale.shape() == shift.shape() => Some(scale.shape()),
            _ => return None,
        };
        Plan::of(&inputs[0].shape(), &self.dims, self.eps, self.is_centred, scale.as_deref())
    }
}

impl Fuse for Normalize {
    fn define(&self, inputs: &[Var]) -> Var {
        let x = match self.is_centred {
            true => inputs[0].sub(&inputs[0].mean_keep(&self.dims)),
            false => inputs[0].clone(),
        };
        let x = x.div(&x.square().mean_keep(&self.dims).add_scalar(self.eps).sqrt());
        match inputs {
            [_, scale, shift] => x.mul(scale).add(shift),
            _ => x,
        }
    }

    fn value(&self, inputs: &[&Tensor]) -> Option<Tensor> {
        normalize::value(self.plan(inputs)?, inputs)
    }

    fn pull(
        &self,
        inputs: &[&Tensor],
        _: &Tensor,
        cotangent: &Tensor,
        _: &[bool],
    ) -> Option<Vec<Option<Tensor>>> {
        let found = normalize::pull(self.plan(inputs)?, inputs, cotangent)?;
        Some(found.into_iter().map(Some).collect())
    }
}

/// `x · scale + shift`, both of one dimension: numbers of an index along a dimension of x.
#[derive(Debug)]
struct Scaled(usize);

impl Scaled {
    /// The shape that broadcasts `n` numbers along the dimension.
    fn along(&self, rank: usize, n: usize) -> Vec<usize> {
        let mut shape = vec![1; rank];
        shape[self.0] = n;
        shape
    }
}

impl Fuse for Scaled {
    fn define(&self, inputs: &[Var]) -> Var {
        let shape = self.along(inputs[0].rank(), inputs[1].value().len());
        inputs[0].mul(&inputs[1].reshape(&shape)).add(&inputs[2].reshape(&shape))
    }

    fn value(&self, inputs: &[&Tensor]) -> Option<Tensor> {
        normalize::scaled(inputs[0], self.0, inputs[1], inputs[2])
    }

    fn pull(
        &self,
        inputs: &[&Tensor],
        _: &Tensor,
        cotangent: &Tensor,
        wanted: &[bool],
    ) -> Option<Vec<Option<Tensor>>> {
        let others: Vec<usize> = (0..cotangent.rank()).filter(|&dim| dim != self.0).collect();
        let n = cotangent.shape()[self.0];
        let find = |at: usize| match at {
            0 => Some(cotangent.mul(&inputs[1].reshape(&self.along(cotangent.rank(), n)))),
            1 => normalize::dots(cotangent, inputs[0], self.0),
            _ => Some(cotangent.sum_dims(&others).reshape(&[n])),
        };
        (0..3).map(|at| if wanted[at] { find(at).map(Some) } else { Some(None) }).collect()
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
        Self::apply(Fused(Normalize { dims: dims.to_vec(), eps, is_centred: true }), &[self])
    }

    /// [`Var::standardize`], times a scale, plus a shift: both of one shape, which broadcasts to this one's.
    #[must_use]
    pub fn normalize(&self, dims: &[usize], eps: f64, scale: &Self, shift: &Self) -> Self {
        Self::apply(Fused(Normalize { dims: dims.to_vec(), eps, is_centred: true }), &[self, scale, shift])
    }

    /// `x / √(mean x² + eps)` over the last dimensions, as many as `scale` has, times it (Zhang and Sennrich 2019).
    #[must_use]
    pub fn rms_norm(&self, eps: f64, scale: &Self) -> Self {
        let dims: Vec<usize> = (self.rank() - scale.rank()..self.rank()).collect();
        let shift = Self::constant(scale.value().zeros_like());
        Self::apply(Fused(Normalize { dims, eps, is_centred: false }), &[self, scale, &shift])
    }

    /// `x · scale + shift`, where both have one dimension: a number for each index along dimension `dim`.
    #[must_use]
    pub fn affine(&self, dim: usize, scale: &Self, shift: &Self) -> Self {
        Self::apply(Fused(Scaled(dim)), &[self, scale, shift])
    }

    /// Layer normalization over the last dimensions, as many as `scale` and `shift` have.
    #[must_use]
    pub fn layer_norm(&self, eps: f64, scale: &Self, shift: &Self) -> Self {
        let dims: Vec<usize> = (self.rank() - scale.rank()..self.rank()).collect();
        self.normalize(&dims, eps, scale, shift)
    }

    /// Batch normalization of `[batch, channels, …]` with the batch's own moments; `scale` and `shift` are of channels.
    #[must_use]
    pub fn batch_norm(&self, eps: f64, scale: &Self, shift: &Self) -> Self {
        let dims: Vec<usize> = (0..self.rank()).filter(|&dim| dim != 1).collect();
        let mut shape = vec![1; self.rank()];
        shape[1] = self.shape()[1];
        self.normalize(&dims, eps, &scale.reshape(&shape), &shift.reshape(&shape))
    }

    /// Batch normalization of `[batch, channels, …]` with given moments; all inputs are of channels.
    #[must_use]
    pub fn batch_norm_eval(
        &self,
        eps: f64,
        mean: &Self,
        variance: &Self,
        scale: &Self,
        shift: &Self,
    ) -> Self {
        let scale = scale.div(&variance.add_scalar(eps).sqrt());
        let shift = shift.sub(&mean.mul(&scale));
        self.affine(1, &scale, &shift)
    }
}
