//! Starts that look at a batch: weights are drawn, and then changed by what the batch does in the network, before any
//! training.
//!
//! A [`Calibrator`] is one such method. The family gives it the network's weights one at a time, in the order in which
//! they run ([`sweep()`]), and measures what each makes of its input ([`Meeting`]); all of it costs about one run of the
//! network. [`calibrate`] checks the batch first.

mod error;
mod meeting;
mod output;
mod sweep;

use std::fmt::Debug;

use epoch0_engine::{Batch, Value, Weights};
use epoch0_method::{Entry, Steps};
use epoch0_net::{Network, ParamId};
use serde::Serialize;

pub use error::Error;
pub use meeting::{Change, Factor, Kind, Meeting};
pub use output::Spread;
pub use sweep::sweep;

use crate::start::Rule;

/// A method that changes drawn weights by what a batch does to them.
pub trait Calibrator: Send + Sync + Debug {
    /// What it draws itself: rules between a recipe's base and the recipe's own rules. None where it takes weights as
    /// they are, those of a checkpoint too.
    fn draws(&self) -> Vec<Rule>;

    /// Changes `weights` by what the batch does with them.
    ///
    /// # Errors
    /// When the network cannot be run on the batch, or a layer does with it what the method cannot use.
    fn calibrate(
        &self,
        network: &Network,
        weights: &mut Weights,
        batch: &Batch,
    ) -> Result<Calibration, Error>;
}

/// A calibrator with its id.
pub type Named = (&'static str, Box<dyn Calibrator>);

/// What a calibration did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// Id of the method.
    pub method: &'static str,
    /// Layers, in the order in which the network runs them.
    pub layers: Vec<Layer>,
    /// Weights that the network never multiplies anything by; they are as they were drawn.
    pub unused: Vec<String>,
    /// What it cost: operations done, over those of one run of the network.
    pub passes: f64,
    /// Parameters that were multiplied by a factor only because another parameter, which the network does not have, could
    /// not be: a step is to change what they do as it would there.
    #[serde(skip)]
    pub rates: Vec<(ParamId, f64)>,
}

impl Calibration {
    /// What the learning rates of such parameters are to be multiplied by. Of `c w` Adam's steps change `w` alike if they are c
    /// times as long; gradient descent's, whose gradients are 1/c times as large, if their rate is c² times as large.
    pub fn learning_rates(&self, steps: Steps) -> Vec<(ParamId, f64)> {
        let power = if steps == Steps::Sgd { 2 } else { 1 };
        self.rates.iter().map(|&(param, factor)| (param, factor.powi(power))).collect()
    }

    /// Layers that are not where the method wants them.
    pub fn missed(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| layer.state == State::Missed)
    }
}

/// A layer before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// The weight, with its part where it is packed: `h.0.attn.c_attn.weight[q]`.
    pub name: String,
    /// The operation.
    pub op: &'static str,
    /// Its output when its turn came: the layers before it were done.
    pub before: Spread,
    /// What its weights were multiplied by; for a table the ratio of its standard deviations.
    pub factor: f64,
    /// Times that a factor was found.
    pub iterations: u32,
    /// Its output with the weights that it has now.
    pub after: Spread,
    /// Whether it is where the method wants it.
    pub state: State,
    /// Why it was left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How a layer came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Within the method's tolerance.
    Within,
    /// Still outside of it.
    Missed,
    /// Measured only.
    Left,
}

/// The calibrator of that id or alias.
///
/// # Errors
/// [`epoch0_method::Error::UnknownMethod`], with ids that are close.
pub fn find(name: &str) -> Result<&'static Entry<dyn Calibrator>, epoch0_method::Error> {
    epoch0_method::find(crate::CALIBRATORS, name)
}

/// Calibrates weights on a batch; on an error nothing has changed.
///
/// # Errors
/// When the batch is no use (a number that is not finite, examples that are all the same), and what the method answers.
pub fn calibrate(
    id: &str,
    method: &dyn Calibrator,
    network: &Network,
    weights: &Weights,
    batch: &Batch,
) -> Result<(Weights, Calibration), Error> {
    check_batch(id, network, &batch.inputs)?;
    let mut weights = weights.clone();
    let done = method.calibrate(network, &mut weights, batch)?;
    Ok((weights, done))
}

fn check_batch(id: &str, network: &Network, inputs: &[Value]) -> Result<(), Error> {
    let mut is_same = true;
    for (&value, input) in network.inputs().iter().zip(inputs) {
        let name = network.value(value).name.clone().unwrap_or_default();
        let n = input.shape().first().copied().unwrap_or(1);
        match input {
            Value::Real(var) => {
                let values = var.value().to_f64();
                if let Some(odd) = values.iter().find(|value| !value.is_finite()) {
                    let (method, site) = (id.to_owned(), format!("input `{name}` of the batch"));
                    return Err(
                        epoch0_method::Error::NotFinite { method, site, value: odd.to_string() }.into()
                    );
                }
                is_same &= rows_are_same(&values, n);
            }
            Value::Index(array) => is_same &= rows_are_same(&array.iter().copied().collect::<Vec<_>>(), n),
            Value::Truth(array) => is_same &= rows_are_same(&array.iter().copied().collect::<Vec<_>>(), n),
        }
    }
    if is_same && !inputs.is_empty() {
        return Err(epoch0_method::Error::Unsupported {
            method: id.to_owned(),
            what: "the batch".to_owned(),
            why: "its examples are all the same, so that nothing varies".to_owned(),
            hint: "give examples of the data that the network is for".to_owned(),
        }
        .into());
    }
    Ok(())
}

/// Whether all examples are the first; of a single example, whether all its elements are.
fn rows_are_same<T: PartialEq>(values: &[T], n: usize) -> bool {
    if n < 2 {
        return values.windows(2).all(|pair| pair[0] == pair[1]);
    }
    let width = (values.len() / n).max(1);
    values.chunks(width).all(|row| row == &values[..width.min(values.len())])
}
