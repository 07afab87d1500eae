//! Deep plain networks for claims about starts of any kind, run and trained by the engine.

use epoch0_engine::{
    Device, Mode, Order, Parameters, Precision, Tensor, Value, Var, Weights, grad, loss, run,
};
use epoch0_method::Error;
use epoch0_net::{Builder, Linear, Network, NormKind, Role, Source};
use epoch0_num::{Activation, Dtype, Stream};

use super::Examples;
use super::broken;
use crate::METHODS;
use crate::calibrate::{Calibration, calibrate};
use crate::start::{Plan, Recipe};

/// What stands behind every layer but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Tanh,
    Relu,
    /// The larger of two linear maps.
    Maxout,
    /// Batch normalization, then ReLU.
    NormRelu,
}

/// Linear maps of one width with units between: `depth` of them, and a readout.
pub(crate) fn deep(
    n_inputs: usize,
    width: usize,
    depth: usize,
    classes: usize,
    unit: Unit,
) -> Result<Network, Error> {
    let mut b = Builder::new("deep", Source::Built, Dtype::F32);
    let mut x = b.input("x", &[None, Some(n_inputs)]);
    let per_unit = if unit == Unit::Maxout { 2 } else { 1 };
    for layer in 0..depth {
        x = b.linear(x, &format!("fc{layer}"), Linear::new(width * per_unit));
        x = match unit {
            Unit::Tanh => b.activation(x, Activation::Tanh),
            Unit::Relu => b.activation(x, Activation::Relu),
            Unit::Maxout => b.maxout(x, 1, per_unit),
            Unit::NormRelu => {
                x = b.norm(x, &format!("norm{layer}"), NormKind::Batch, 1e-5, true);
                b.activation(x, Activation::Relu)
            }
        };
    }
    let x = b.linear(x, "readout", Linear::new(classes).role(Role::Readout));
    b.output(x, "logits");
    b.finish().map_err(|error| broken(&error))
}

/// The weights of a recipe in YAML, calibrated on what the network is given where it says so.
pub(crate) fn start(
    net: &Network,
    recipe: &str,
    seed: u64,
    inputs: &[Value],
) -> Result<(Weights, Option<Calibration>), Error> {
    let recipe = Recipe::from_yaml("a claim's recipe", recipe)?;
    let plan = Plan::new(METHODS, net, &recipe, seed)?;
    let weights = plan.weights(Precision::Single, &Device::cpu()).map_err(|error| broken(&error))?;
    let Some((id, calibrator)) = recipe.calibrator()? else { return Ok((weights, None)) };
    let (weights, done) = calibrate(id, &*calibrator, net, &weights, &inputs.to_vec().into())
        .map_err(|error| broken(&error))?;
    Ok((weights, Some(done)))
}

/// Examples as a network is given them, and their classes.
pub(crate) fn batch(examples: &Examples, which: &[usize]) -> (Value, Vec<i64>) {
    let (values, classes) = examples.pick(which);
    let width = values.len() / which.len().max(1);
    let tensor = Tensor::from_f32(values, &[which.len(), width], Precision::Single, &Device::cpu());
    (Value::constant(tensor), classes.into_iter().map(i64::from).collect())
}

/// How such a network is trained: gradient descent with momentum 0.9.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descent {
    pub(crate) lr: f64,
    pub(crate) steps: usize,
    pub(crate) batch: usize,
    pub(crate) seed: u64,
    /// Steps between two looks at the accuracy; training ends at `until`.
    pub(crate) look_every: usize,
    pub(crate) until: f64,
}

/// What training came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trained {
    /// Mean cross-entropy over the examples, nats; infinite where it diverged.
    pub(crate) loss: f64,
    /// Share of right answers on them.
    pub(crate) accuracy: f64,
    /// Steps after which the accuracy was first seen to be enough.
    pub(crate) reached: Option<usize>,
}

impl Descent {
    /// Trains on examples in an order that is shuffled each epoch.
    pub(crate) fn train(
        &self,
        net: &Network,
        weights: &Weights,
        examples: &Examples,
    ) -> Result<Trained, Error> {
        const MOMENTUM: f64 = 0.9;
        let stream = Stream::new(self.seed, "order of examples");
        let n = examples.len();
        let mut order: Vec<usize> = (0..n).collect();
        let per_epoch = (n / self.batch).max(1);
        let mut params = weights.leaves(net);
        let mut velocity: Vec<Option<Var>> = params.tracked().map(|_| None).collect();
        for step in 0..self.steps {
            if step % per_epoch == 0 {
                for last in (1..n).rev() {
                    order.swap(last, stream.below((step * n + last) as u64, last as u64 + 1) as usize);
                }
            }
            let at = step % per_epoch * self.batch;
            let (inputs, classes) = batch(examples, &order[at..(at + self.batch).min(n)]);
            let logits = answers(net, &params, inputs)?;
            let loss = loss::cross_entropy(&logits, &classes).map_err(|error| broken(&error))?.mean();
            if !loss.value().item().is_finite() {
                return Ok(Trained { loss: f64::INFINITY, accuracy: 0.0, reached: None });
            }
            let (ids, wrt): (Vec<_>, Vec<Var>) = params.tracked().map(|(id, var)| (id, var.clone())).unzip();
            let gradients = grad(&loss, &wrt.iter().collect::<Vec<_>>(), Order::Last);
            for (((id, var), gradient), speed) in ids.iter().zip(&wrt).zip(gradients).zip(&mut velocity) {
                let push = gradient.scale(-self.lr);
                let now = speed.as_ref().map_or(push.clone(), |speed| speed.scale(MOMENTUM).add(&push));
                params.set(*id, Var::leaf(var.detach().add(&now).value().clone()));
                *speed = Some(now);
            }
            if self.look_every > 0 && (step + 1) % self.look_every == 0 {
                let seen = evaluate(net, &params, examples, 1000.min(n))?;
                if seen.accuracy >= self.until {
                    return Ok(Trained { reached: Some(step + 1), ..seen });
                }
            }
        }
        evaluate(net, &params, examples, n)
    }
}

fn answers(net: &Network, params: &Parameters, inputs: Value) -> Result<Var, Error> {
    let done = run(net, params, &[inputs], Mode::Train, &mut |_| Ok(())).map_err(|error| broken(&error))?;
    done.outputs[0].real().cloned().ok_or_else(|| broken(&"the network answers no numbers"))
}

/// Loss and accuracy on the first examples, a thousand at a time.
fn evaluate(net: &Network, params: &Parameters, examples: &Examples, n: usize) -> Result<Trained, Error> {
    let (mut loss, mut right) = (0.0, 0.0);
    for from in (0..n).step_by(1000) {
        let which: Vec<usize> = (from..(from + 1000).min(n)).collect();
        let (inputs, classes) = batch(examples, &which);
        let logits = answers(net, params, inputs)?.detach();
        let losses = loss::cross_entropy(&logits, &classes).map_err(|error| broken(&error))?;
        loss += losses.value().to_f64().iter().sum::<f64>();
        right +=
            which.len() as f64 * loss::accuracy(logits.value(), &classes).map_err(|error| broken(&error))?;
    }
    let loss = if loss.is_finite() { loss / n as f64 } else { f64::INFINITY };
    Ok(Trained { loss, accuracy: right / n as f64, reached: None })
}
