//! Empirical neural tangent kernels, and what is taken for them.
//!
//! `Θ(x, x')_ab = ⟨∇ f_a(x), ∇ f_b(x')⟩` over the parameters that are tracked. All from taps: one forward pass, a
//! backward pass for each output, and no Jacobian. The function's outputs are the elements of the network's first
//! output for one example. Each takes one batch, for the kernel of its examples with each other, or two.

use epoch0_net::{Network, NodeId, Op};

use crate::kernel::Gram;
use crate::taps::{Gradients, Taps};
use crate::{Error, Tensor, Var};

/// Rows of a full kernel at most: two gigabytes of them.
pub const LIMIT: usize = 1 << 14;

/// The outputs of a run as `[examples, outputs]`.
fn outputs<'t>(taps: &'t Taps<'_>) -> Result<(&'t Var, usize), Error> {
    let output = taps.output()?;
    let shape = output.shape();
    if shape.first() != Some(&taps.examples()) {
        return Err(Error::Unsupported {
            place: taps.network().name().to_owned(),
            what: format!(
                "an output of shape {shape:?} for {} examples has no row for each",
                taps.examples()
            ),
        });
    }
    Ok((output, shape[1..].iter().product()))
}

/// A cotangent with a number for each output, the same for every example.
fn cotangent(output: &Var, of: &[f64]) -> Tensor {
    let value = output.value();
    let row = Tensor::from_f64(of.to_vec(), &[1, of.len()], value.precision(), &value.device());
    row.expand(&[output.shape()[0], of.len()]).reshape(&output.shape())
}

fn one_hot(output: &Var, n: usize, at: usize) -> Tensor {
    let mut of = vec![0.0; n];
    of[at] = 1.0;
    cotangent(output, &of)
}

fn gram(left: &Gradients, right: Option<&Gradients>) -> Result<Gram, Error> {
    match right {
        Some(right) => left.cross_gram(right, |_| true),
        None => Ok(left.gram(|_| true)),
    }
}

fn scalar(taps: &Taps<'_>, of: impl Fn(usize) -> Vec<f64>) -> Result<Gradients, Error> {
    let (output, n) = outputs(taps)?;
    taps.backward(&[(output, cotangent(output, &of(n)))])
}

/// Both batches' gradients of one number of the outputs, and their inner products.
fn of_scalar(
    left: &Taps<'_>,
    right: Option<&Taps<'_>>,
    of: impl Fn(usize) -> Vec<f64>,
) -> Result<Gram, Error> {
    let other = right.map(|right| scalar(right, &of)).transpose()?;
    gram(&scalar(left, &of)?, other.as_ref())
}

/// Gradients of every output.
fn every(taps: &Taps<'_>) -> Result<Gradients, Error> {
    let (output, n) = outputs(taps)?;
    taps.backward_each((0..n).map(|at| vec![(output, one_hot(output, n, at))]))
}

/// The full kernel, `[examples · outputs, examples · outputs]`: output a of example i is row `i · outputs + a`.
///
/// # Errors
///
/// When it would have more than [`LIMIT`] rows, or gradients cannot be had.
pub fn full(left: &Taps<'_>, right: Option<&Taps<'_>>) -> Result<Gram, Error> {
    for taps in std::iter::once(left).chain(right) {
        let rows = taps.examples() * outputs(taps)?.1;
        if rows > LIMIT {
            return Err(Error::Unsupported {
                place: taps.network().name().to_owned(),
                what: format!(
                    "a full kernel of {rows} rows, allowed at most {LIMIT}\nhint: fewer examples, or the kernel of the \
                     outputs' sum, which needs a row for each example"
                ),
            });
        }
    }
    let other = right.map(every).transpose()?;
    gram(&every(left)?, other.as_ref())
}

/// The mean over outputs of their own kernels, `Σ_a Θ_aa / outputs`: `[examples, examples]`.
///
/// # Errors
///
/// When gradients cannot be had.
pub fn trace(left: &Taps<'_>, right: Option<&Taps<'_>>) -> Result<Gram, Error> {
    let (_, n) = outputs(left)?;
    let mut sum: Option<Gram> = None;
    for at in 0..n {
        let of = |n: usize| (0..n).map(|output| f64::from(u8::from(output == at))).collect();
        let own = of_scalar(left, right, of)?;
        sum = Some(match sum {
            Some(sum) => sum.plus(&own),
            None => own,
        });
    }
    let none =
        || Error::Unsupported { place: left.network().name().to_owned(), what: "no output".to_owned() };
    Ok(sum.ok_or_else(none)?.scaled(1.0 / n as f64))
}

/// The kernel of the sum of the outputs over the square root of their number (Mohamadi, Bae & Sutherland 2023, the
/// pseudo-NTK): `[examples, examples]`. At a start with a wide linear readout it is close to every output's own kernel.
///
/// # Errors
///
/// When gradients cannot be had.
pub fn pseudo(left: &Taps<'_>, right: Option<&Taps<'_>>) -> Result<Gram, Error> {
    of_scalar(left, right, |n| vec![1.0 / (n as f64).sqrt(); n])
}

/// The kernel of one output: `[examples, examples]`.
///
/// # Errors
///
/// When there is no such output, or gradients cannot be had.
pub fn single(left: &Taps<'_>, right: Option<&Taps<'_>>, output: usize) -> Result<Gram, Error> {
    let (_, n) = outputs(left)?;
    if output >= n {
        return Err(Error::Input {
            name: "output".to_owned(),
            found: output.to_string(),
            allowed: format!("0 to {}", n.saturating_sub(1)),
        });
    }
    of_scalar(left, right, |n| (0..n).map(|at| f64::from(u8::from(at == output))).collect())
}

/// The linear map whose result is the network's first output, where there is one.
pub fn readout(network: &Network) -> Option<NodeId> {
    let from = network.value(*network.outputs().first()?).from?;
    matches!(network.nodes()[from.0 as usize].op, Op::Linear { .. }).then_some(from)
}

/// Inner products of what the readout reads, the conjugate kernel: `[examples, examples]`. The readout's weight has to
/// be tracked.
///
/// # Errors
///
/// When the network's first output is not that of a linear map, or its parameters are not tracked.
pub fn conjugate(left: &Taps<'_>, right: Option<&Taps<'_>>) -> Result<Gram, Error> {
    let features = |taps: &Taps<'_>| -> Result<(Vec<f64>, usize), Error> {
        let found = readout(taps.network()).and_then(|node| taps.input(node)?.real());
        let found = found.ok_or_else(|| Error::Unsupported {
            place: taps.network().name().to_owned(),
            what: "the last operation is no linear map with learned parameters: it has no features"
                .to_owned(),
        })?;
        Ok((found.value().to_f64(), found.value().len() / taps.examples()))
    };
    let (own, width) = features(left)?;
    let other = right.map(features).transpose()?;
    Ok(Gram::of_rows(&own, other.as_ref().map_or(&own, |(values, _)| values), width))
}
