//! Traces of the Jacobian's powers at every layer, and singular values at the output.

use std::collections::HashMap;

use epoch0_engine::curvature::Jacobian as Operator;
use epoch0_engine::{Mode, Order, Value, Var, Weights, jvp, run, vjp};
use epoch0_net::{NodeId, Op};
use epoch0_num::Stream;

use super::Jacobian;
use crate::shared::inputs::{settled, signs, split, square, within};
use crate::{Error, Probe, Subject, Watch};

/// Real numbers that a run may keep.
const VALUES: usize = 1 << 27;
/// Elements of all examples' Jacobians that are formed at most.
const FORMED: usize = 1 << 24;

/// A layer's Jacobian by the input.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) depth: usize,
    /// How many singular values there are: the smaller of inputs and units of one example.
    pub(super) width: usize,
    pub(super) mean_square: f64,
    /// Variance of squared singular values over the square of their mean; `None` where it was not looked for.
    pub(super) spread: Option<f64>,
}

/// Traces of powers of Jacobians, example by example.
#[derive(Clone, Copy, Debug, Default)]
struct Traces {
    /// Mean over examples of `tr JᵀJ`.
    first: f64,
    /// Sum over examples of `(tr JᵀJ)²`, and of `tr (JᵀJ)²`; `None` where they were not looked for.
    second: Option<(f64, f64)>,
}

impl Layer {
    /// Of traces of Jacobians with so many singular values.
    fn of(name: &str, depth: usize, width: usize, traces: Traces) -> Self {
        let n = width.max(1) as f64;
        let spread = traces
            .second
            .filter(|(squares, _)| *squares > 0.0)
            .map(|(squares, seconds)| (n * seconds / squares - 1.0).max(0.0));
        Self { name: name.to_owned(), depth, width, mean_square: traces.first / n, spread }
    }

    /// How many directions pass: `(Σ s²)² / Σ s⁴`.
    pub(super) fn directions(&self) -> Option<f64> {
        self.spread.map(|spread| self.width as f64 / (1.0 + spread))
    }
}

/// Singular values of the whole map.
#[derive(Clone, Debug)]
pub(super) enum Singular {
    /// All of each example, the largest first.
    All(Vec<Vec<f64>>),
    /// The largest of one example.
    Largest(Vec<f64>),
}

impl Singular {
    fn values(&self) -> Box<dyn Iterator<Item = f64> + '_> {
        match self {
            Self::All(all) => Box::new(all.iter().flatten().copied()),
            Self::Largest(values) => Box::new(values.iter().copied()),
        }
    }

    pub(super) fn max(&self) -> Option<f64> {
        self.values().reduce(f64::max)
    }

    pub(super) fn min(&self) -> Option<f64> {
        self.values().reduce(f64::min)
    }
}

/// Everything measured.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// What derivatives are by, for people.
    pub(super) input: String,
    pub(super) examples: usize,
    pub(super) n_inputs: usize,
    pub(super) n_outputs: usize,
    /// Name of the last layer.
    pub(super) last: String,
    pub(super) layers: Vec<Layer>,
    pub(super) answers: Layer,
    pub(super) singular: Singular,
}

impl Measured {
    /// Itself, where all its numbers are finite.
    pub(super) fn finite(self) -> Option<Self> {
        let is_finite =
            |layer: &Layer| layer.mean_square.is_finite() && layer.spread.is_none_or(f64::is_finite);
        let is_finite = self.layers.iter().chain([&self.answers]).all(is_finite);
        is_finite.then_some(self)
    }
}

/// A run that remembers how layers depend on an input.
struct Run {
    input: Var,
    name: String,
    layers: Vec<(usize, Var)>,
    answers: Var,
    examples: usize,
}

fn record(subject: &Subject<'_>, weights: &Weights, probe: &Probe) -> Result<Run, Error> {
    let network = subject.network;
    let with_site: HashMap<NodeId, usize> =
        network.sites().iter().enumerate().rev().map(|(at, site)| (site.node, at)).collect();
    let real = probe.inputs.iter().position(|input| input.real().is_some());
    let mut inputs = probe.inputs.clone();
    let mut from = None;
    if let Some(at) = real
        && let Some(var) = inputs[at].real()
    {
        let leaf = Var::leaf(var.value().clone());
        let name = network.value(network.inputs()[at]).name.clone().unwrap_or_default();
        from = Some((leaf.clone(), format!("input `{name}`")));
        inputs[at] = Value::Real(leaf);
    }
    // Tables are leaves, so that the vectors of words remember where they go.
    let tables: Vec<_> = network
        .nodes()
        .iter()
        .filter_map(|node| match node.op {
            Op::Embedding { table } if real.is_none() => Some(table),
            _ => None,
        })
        .collect();
    let params = weights.parameters(|id| tables.first() == Some(&id));
    let mut layers = Vec::new();
    let ran = run(network, &params, &inputs, Mode::Eval, &mut |done| {
        let Some(output) = done.outputs.first().and_then(Value::real).filter(|output| output.is_tracked())
        else {
            return Ok(());
        };
        if let Op::Embedding { table } = done.node.op
            && from.is_none()
        {
            from = Some((output.clone(), format!("vectors of words, `{}`", network.param(table).name)));
        } else if let Some(&site) = with_site.get(&done.id)
            && network.sites()[site].role.is_matrix()
        {
            layers.push((site, output.clone()));
        }
        Ok(())
    })?;
    let Some((input, name)) = from else {
        return Err(Error::Probe {
            what: "inputs of the network".to_owned(),
            found: "none with real numbers, and no table of vectors for words".to_owned(),
            allowed: "one that can be differentiated by".to_owned(),
        });
    };
    let answers = probe.answers(&ran)?.clone();
    Ok(Run { input, name, layers, answers, examples: probe.len() })
}

pub(super) fn measure(method: &Jacobian, subject: &Subject<'_>, watch: Watch<'_>) -> Result<Measured, Error> {
    watch.reach(0.0)?;
    let probe = within(subject, method.examples as usize, VALUES)?;
    let weights = settled(subject.network, subject.weights, &subject.probe.inputs)?;
    let ran = record(subject, &weights, &probe)?;
    watch.reach(0.1)?;
    let examples = ran.examples.max(1);
    let n_inputs = ran.input.value().len() / examples;
    let n_outputs = ran.answers.value().len() / examples;
    let traces = traces(method, subject, &ran, watch)?;
    let sites = subject.network.sites();
    let layers = ran.layers.iter().zip(&traces).map(|((site, output), traces)| {
        let site = &sites[*site];
        let width = n_inputs.min(output.value().len() / examples);
        Layer::of(&site.label(), site.depth, width, *traces)
    });
    let mut layers: Vec<Layer> = layers.collect();
    let last = layers.last().map_or_else(String::new, |layer| layer.name.clone());
    layers.sort_by_key(|layer| layer.depth);
    let width = n_inputs.min(n_outputs);
    let mut answers = Layer::of("output", 0, width, traces.last().copied().unwrap_or_default());
    let singular = if answers.mean_square.is_finite() {
        singular(method, subject, &weights, &probe, &ran)?
    } else {
        Singular::Largest(Vec::new())
    };
    if let Singular::All(all) = &singular {
        // Exact where it can be.
        let power = |values: &Vec<f64>, power: i32| values.iter().map(|s| s.powi(power)).sum::<f64>();
        let first = all.iter().map(|values| power(values, 2)).sum::<f64>() / all.len().max(1) as f64;
        let squares = all.iter().map(|values| power(values, 2).powi(2)).sum();
        let seconds = all.iter().map(|values| power(values, 4)).sum();
        answers = Layer::of("output", 0, width, Traces { first, second: Some((squares, seconds)) });
    }
    watch.reach(1.0)?;
    Ok(Measured { input: ran.name, examples, n_inputs, n_outputs, last, layers, answers, singular })
}

/// Traces by Hutchinson's estimator: `tr JᵀJ = E‖J v‖²` of each layer, then of the answers, and of the square
/// `E‖JᵀJ v‖²` where it is looked for. Products of the estimates of two probes are those of the square of a trace, without
/// the noise of one.
fn traces(
    method: &Jacobian,
    subject: &Subject<'_>,
    ran: &Run,
    watch: Watch<'_>,
) -> Result<Vec<Traces>, Error> {
    let outputs: Vec<&Var> = ran.layers.iter().map(|(_, output)| output).chain([&ran.answers]).collect();
    // Evenly spaced, the last included; the answers always.
    let (n, most) = (ran.layers.len(), method.layers as usize);
    let is_chosen = |at: usize| at == n || n <= most || (at + 1) * most / n > at * most / n;
    let (examples, probes) = (ran.examples.max(1), method.probes as usize);
    let of_input = ran.input.value().len() / examples;
    // For each output, probe and example.
    let mut firsts: Vec<Vec<Vec<f64>>> = vec![Vec::with_capacity(probes); n + 1];
    let has_rows = |at: usize| outputs[at].shape().first() == Some(&examples);
    let mut seconds: Vec<Option<f64>> =
        (0..=n).map(|at| (is_chosen(at) && has_rows(at)).then_some(0.0)).collect();
    for probe in 0..probes {
        let stream = Stream::new(subject.seed, &format!("jacobian/{probe}"));
        let direction = signs(&stream, ran.input.value().len());
        let direction = split(&direction, &[ran.input.value()]).remove(0);
        let pushed = jvp(&outputs, &[(&ran.input, Var::constant(direction))], Order::Last);
        for (at, pushed) in pushed.into_iter().enumerate() {
            watch.reach(0.1 + 0.7 * (probe * (n + 1) + at) as f64 / (probes * (n + 1)) as f64)?;
            let Some(pushed) = pushed else {
                firsts[at].push(vec![0.0; examples]);
                continue;
            };
            firsts[at].push(squares(&pushed, pushed.value().len() / examples));
            if let Some(second) = &mut seconds[at] {
                let pulled = vjp(&[(outputs[at], pushed)], &[&ran.input], Order::Last).pop().flatten();
                let squares = pulled.map_or_else(Vec::new, |pulled| squares(&pulled, of_input));
                *second += squares.iter().sum::<f64>() / probes as f64;
            }
        }
    }
    let traces = firsts.iter().zip(seconds).map(|(firsts, seconds)| {
        let of_example = |example: usize| firsts.iter().map(move |probe| probe[example]);
        let square = |example: usize| {
            let sum: f64 = of_example(example).sum();
            let own: f64 = of_example(example).map(|first| first * first).sum();
            ((sum * sum - own) / (probes * (probes - 1)) as f64).max(0.0)
        };
        let first: f64 = (0..examples).flat_map(of_example).sum();
        Traces {
            first: first / (probes * examples) as f64,
            second: seconds.map(|seconds| ((0..examples).map(square).sum(), seconds)),
        }
    });
    Ok(traces.collect())
}

/// `‖x‖²` of each example, so many numbers each.
fn squares(var: &Var, of_one: usize) -> Vec<f64> {
    var.value().to_f64().chunks(of_one.max(1)).map(square).collect()
}

fn singular(
    method: &Jacobian,
    subject: &Subject<'_>,
    weights: &Weights,
    probe: &Probe,
    ran: &Run,
) -> Result<Singular, Error> {
    let examples = ran.examples.max(1);
    let (inputs, outputs) = (ran.input.value().len() / examples, ran.answers.value().len() / examples);
    let formed = FORMED / (inputs * outputs).max(1);
    if inputs.min(outputs) <= method.exact as usize && formed > 0 {
        let few = probe.first(subject.network, formed);
        let all = if few.len() < examples {
            let ran = record(subject, weights, &few)?;
            Operator::new(&ran.answers, &ran.input)?.singular_values()?
        } else {
            Operator::new(&ran.answers, &ran.input)?.singular_values()?
        };
        return Ok(Singular::All(all));
    }
    let one = record(subject, weights, &probe.first(subject.network, 1))?;
    let stream = Stream::new(subject.seed, "jacobian/largest");
    Ok(Singular::Largest(Operator::new(&one.answers, &one.input)?.largest(method.steps as usize, &stream)?))
}
