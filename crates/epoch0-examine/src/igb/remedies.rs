//! What takes the bias away, tried on the start at hand.

use epoch0_engine::{Batch, Mode, Tensor, Value, Var, Weights, ntk, sweep};
use epoch0_method::reading::{Cell, Column, Kind, Table};
use epoch0_net::{Layout, Network, NodeId, Op, ParamId};

use super::measure::{Logits, Measured};
use crate::{Error, Subject, Watch};

/// Examples that means of activations are taken over at most.
const EXAMPLES: usize = 16;

/// Something that takes guessing bias away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The mean logit of each class, over a batch, taken from the readout's bias.
    Bias,
    /// Inputs less their mean.
    Center,
    /// Activations less their mean over units and data, `φ(u) − E φ(u)`, by the biases of the layers that read them.
    Shift,
}

impl Remedy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bias, Self::Center, Self::Shift];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bias => "bias",
            Self::Center => "center",
            Self::Shift => "shift",
        }
    }

    /// What is done, for people.
    pub fn what(self) -> &'static str {
        match self {
            Self::Bias => "taking mean logits from the readout's bias",
            Self::Center => "centring the inputs",
            Self::Shift => "taking each activation's mean from the next layer's bias",
        }
    }
}

/// A remedy on a start: what the start then guesses, or why it cannot be tried.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) remedy: Remedy,
    pub(super) after: Result<Measured, String>,
}

/// Tries every remedy. Means are taken over the first half of the examples, guesses counted on the second. `logits` are
/// those of the start as it is.
pub(super) fn tried(subject: &Subject<'_>, logits: &Logits, watch: Watch<'_>) -> Result<Vec<Tried>, Error> {
    let mut all = Vec::new();
    for (at, remedy) in Remedy::ALL.into_iter().enumerate() {
        watch.reach(0.4 + 0.2 * at as f64)?;
        let after = match remedy {
            Remedy::Center => match centred(&subject.probe.inputs) {
                Some(inputs) => guesses(subject, subject.weights, &inputs)?,
                None => Err("the inputs are words".to_owned()),
            },
            _ => match remedied(subject, remedy, Some(logits))? {
                Ok(weights) => guesses(subject, &weights, &subject.probe.inputs)?,
                Err(why) => Err(why),
            },
        };
        all.push(Tried { remedy, after });
    }
    Ok(all)
}

/// Guesses on the second half of the examples.
fn guesses(
    subject: &Subject<'_>,
    weights: &Weights,
    inputs: &[Value],
) -> Result<Result<Measured, String>, Error> {
    let none = || "the network does not choose among classes".to_owned();
    let n = subject.probe.summary.n_examples;
    // A network may be bound to as many examples as there are.
    let is_whole = n < 2 || subject.probe.first(subject.network, n / 2).len() == subject.probe.len();
    let later: Vec<Value> = match is_whole {
        true => inputs.to_vec(),
        false => Batch::from(inputs.to_vec()).part(subject.network, &(n / 2..n)).inputs,
    };
    let logits = Logits::of(subject, weights, &later)?;
    let of_later = |logits: &Logits| match is_whole {
        true => Measured::of(logits.halves().1, logits.classes),
        false => Measured::of(&logits.values, logits.classes),
    };
    Ok(logits.as_ref().ok_or_else(none).map(of_later))
}

/// The weights after a remedy that is written into biases.
///
/// # Errors
/// When the network cannot be run, or has no place for it.
pub fn fixed(subject: &Subject<'_>, remedy: Remedy) -> Result<Weights, Error> {
    remedied(subject, remedy, None)?.map_err(|why| Error::Probe {
        what: format!("remedy `{}`", remedy.name()),
        found: why,
        allowed: "a network with a place for it".to_owned(),
    })
}

fn remedied(
    subject: &Subject<'_>,
    remedy: Remedy,
    logits: Option<&Logits>,
) -> Result<Result<Weights, String>, Error> {
    match remedy {
        Remedy::Bias => of_readout(subject, logits),
        Remedy::Shift => shifted(subject),
        Remedy::Center => Ok(Err("it is one of the data, not of the weights".to_owned())),
    }
}

/// Inputs less the mean over the first half of the examples; `None` where there are no real numbers.
fn centred(inputs: &[Value]) -> Option<Vec<Value>> {
    inputs.iter().any(|input| input.real().is_some()).then(|| {
        let center = |input: &Value| {
            let Some(var) = input.real() else { return input.clone() };
            let (values, shape) = (var.value().to_f64(), var.shape());
            let of_one = values.len() / shape[0].max(1);
            let half = (shape[0] / 2).max(1);
            let mut mean = vec![0.0; of_one];
            for row in values.chunks_exact(of_one.max(1)).take(half) {
                mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x / half as f64);
            }
            let values = values.iter().enumerate().map(|(at, x)| x - mean[at % of_one]).collect();
            let value = var.value();
            Value::constant(Tensor::from_f64(values, &shape, value.precision(), &value.device()))
        };
        inputs.iter().map(center).collect()
    })
}

fn of_readout(subject: &Subject<'_>, logits: Option<&Logits>) -> Result<Result<Weights, String>, Error> {
    let network = subject.network;
    let node = ntk::readout(network).map(|node| &network.nodes()[node.0 as usize].op);
    let Some(&Op::Linear { bias: Some(bias), .. }) = node else {
        return Ok(Err("the readout has no bias".to_owned()));
    };
    let own = match logits {
        Some(_) => None,
        None => Logits::of(subject, subject.weights, &subject.probe.inputs)?,
    };
    let Some(logits) = logits.or(own.as_ref()) else {
        return Ok(Err("the network does not choose among classes".to_owned()));
    };
    let means = logits.means(logits.halves().0);
    let mut weights = subject.weights.clone();
    Ok(if lower(&mut weights, bias, &means) {
        Ok(weights)
    } else {
        Err("the readout has no bias".to_owned())
    })
}

/// Takes numbers from a bias; whether it is there and has as many.
fn lower(weights: &mut Weights, bias: ParamId, by: &[f64]) -> bool {
    let Some(value) = weights.get(bias).filter(|value| value.len() == by.len()) else { return false };
    let values = value.to_f64().iter().zip(by).map(|(bias, by)| bias - by).collect();
    let lowered = Tensor::from_f64(values, &value.shape(), value.precision(), &value.device());
    weights.set(bias, lowered);
    true
}

/// Layers with a bias that read an activation, in the order of the graph: the operation, its weight and its bias.
fn readers(network: &Network) -> Vec<(NodeId, ParamId, ParamId)> {
    let reads_activation = |mut id: NodeId| loop {
        let node = &network.nodes()[id.0 as usize];
        let Some(from) = node.inputs.first().and_then(|input| network.value(*input).from) else {
            return false;
        };
        match network.nodes()[from.0 as usize].op {
            Op::Activation(_) => return true,
            // A constant passes these as it is.
            Op::Pool(_) | Op::Flatten | Op::Permute { .. } | Op::SpaceToSequence => id = from,
            _ => return false,
        }
    };
    let nodes = network.nodes().iter().enumerate().filter_map(|(at, node)| match node.op {
        Op::Linear { weight, bias: Some(bias), .. }
        | Op::Conv { weight, bias: Some(bias), transposed: false, .. } => {
            Some((NodeId(at as u32), weight, bias))
        }
        _ => None,
    });
    nodes.filter(|(id, ..)| reads_activation(*id)).collect()
}

/// For each output the sum of the weights that it is made with.
fn row_sums(network: &Network, id: NodeId, weight: &Tensor) -> Vec<f64> {
    let (shape, values) = (weight.shape(), weight.to_f64());
    match network.nodes()[id.0 as usize].op {
        Op::Linear { layout: Layout::InOut, .. } => {
            let mut sums = vec![0.0; shape[1]];
            for row in values.chunks_exact(shape[1].max(1)) {
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            sums
        }
        _ => {
            values.chunks_exact((values.len() / shape[0].max(1)).max(1)).map(|row| row.iter().sum()).collect()
        }
    }
}

fn shifted(subject: &Subject<'_>) -> Result<Result<Weights, String>, Error> {
    let network = subject.network;
    let readers = readers(network);
    if readers.is_empty() {
        return Ok(Err("no layer with a bias reads an activation".to_owned()));
    }
    let probe = subject.probe.first(network, (subject.probe.len() / 2).clamp(1, EXAMPLES));
    let inputs: Vec<Value> = match probe.len() == subject.probe.len() {
        true => probe.batch.inputs,
        false => probe.part(network, &(0..probe.summary.n_examples)).inputs,
    };
    let mut weights = subject.weights.clone();
    // What is before a layer has changed when its turn comes.
    let mut params = weights.constants();
    sweep::<Error>(network, &mut params, &inputs, Mode::Train, |turn| {
        if let Some(&(id, weight, bias)) = readers.iter().find(|(id, ..)| *id == turn.id)
            && let Some(met) = turn.inputs.first().and_then(Value::real)
            && let Some(value) = weights.get(weight)
        {
            let mean = mean_of(met);
            let by: Vec<f64> = row_sums(network, id, value).iter().map(|sum| sum * mean).collect();
            lower(&mut weights, bias, &by);
            if let Some(bias_now) = weights.get(bias) {
                turn.params.set(bias, Var::constant(bias_now.clone()));
            }
        }
        Ok(turn.evaluate()?)
    })?;
    Ok(Ok(weights))
}

fn mean_of(var: &Var) -> f64 {
    let values = var.value().to_f64();
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// What each remedy came to.
pub(super) fn table(before: &Measured, tried: &[Tried]) -> Table {
    let mut table = Table::new(
        "remedies",
        "Remedies, tried on this start",
        [
            Column::new("remedy", "remedy", Kind::Text),
            Column::new("what", "what is done", Kind::Text),
            Column::new("top", "top share", Kind::Share)
                .help("Largest share of guesses of one class, afterwards."),
            Column::new("gamma", "γ", Kind::Real).help("Spread of the logits' averages over that of logits."),
            Column::new("why", "", Kind::Text),
        ],
    );
    let none = || Cell::Text("none".to_owned());
    table.push([
        none(),
        Cell::Text("the start as it is".to_owned()),
        Cell::Real(before.top),
        Cell::Real(before.gamma),
        Cell::Missing,
    ]);
    for tried in tried {
        let (top, gamma, why) = match &tried.after {
            Ok(after) => (Cell::Real(after.top), Cell::Real(after.gamma), Cell::Missing),
            Err(why) => (Cell::Missing, Cell::Missing, Cell::Text(why.clone())),
        };
        table.push([
            Cell::Text(tried.remedy.name().to_owned()),
            Cell::Text(tried.remedy.what().to_owned()),
            top,
            gamma,
            why,
        ]);
    }
    table
}
