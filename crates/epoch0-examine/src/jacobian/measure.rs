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

impl Layer {
    /// Of mean traces of `JᵀJ` and its square.
    fn of(name: &str, depth: usize, width: usize, first: f64, second: Option<f64>) -> Self {
        let n = width.max(1) as f64;
        let mean_square = first / n;
        let spread =
            second.filter(|_| first > 0.0).map(|second| (n * second / (first * first) - 1.0).max(0.0));
        Self { name: name.to_owned(), depth, width, mean_square, spread }
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
    let layers = ran.layers.iter().zip(&traces).map(|((site, output), (first, second))| {
        let site = &sites[*site];
        let width = n_inputs.min(output.value().len() / examples);
        Layer::of(&site.label(), site.depth, width, *first, *second)
    });
    let mut layers: Vec<Layer> = layers.collect();
    let last = layers.last().map_or_else(String::new, |layer| layer.name.clone());
    layers.sort_by_key(|layer| layer.depth);
    let (first_trace, second) = traces.last().copied().unwrap_or((f64::NAN, None));
    let width = n_inputs.min(n_outputs);
    let mut answers = Layer::of("output", 0, width, first_trace, second);
    let singular = if answers.mean_square.is_finite() {
        singular(method, subject, &weights, &probe, &ran)?
    } else {
        Singular::Largest(Vec::new())
    };
    if let Singular::All(all) = &singular {
        // Exact where it can be.
        let n = all.len().max(1) as f64;
        let power = |power: i32| all.iter().flatten().map(|s| s.powi(power)).sum::<f64>() / n;
        answers = Layer::of("output", 0, width, power(2), Some(power(4)));
    }
    watch.reach(1.0)?;
    Ok(Measured { input: ran.name, examples, n_inputs, n_outputs, last, layers, answers, singular })
}

/// Mean over examples and probes of `‖J v‖²` and, where it is looked for, `‖Jᵀ J v‖²`: of each layer, then of the answers.
fn traces(
    method: &Jacobian,
    subject: &Subject<'_>,
    ran: &Run,
    watch: Watch<'_>,
) -> Result<Vec<(f64, Option<f64>)>, Error> {
    let outputs: Vec<&Var> = ran.layers.iter().map(|(_, output)| output).chain([&ran.answers]).collect();
    // Evenly spaced, the last included; the answers always.
    let (n, most) = (ran.layers.len(), method.layers as usize);
    let is_chosen = |at: usize| at == n || n <= most || (at + 1) * most / n > at * most / n;
    let mut traces: Vec<(f64, Option<f64>)> = (0..=n).map(|at| (0.0, is_chosen(at).then_some(0.0))).collect();
    let probes = method.probes as usize;
    let scale = 1.0 / (probes * ran.examples.max(1)) as f64;
    for probe in 0..probes {
        let stream = Stream::new(subject.seed, &format!("jacobian/{probe}"));
        let direction = signs(&stream, ran.input.value().len());
        let direction = split(&direction, &[ran.input.value()]).remove(0);
        let pushed = jvp(&outputs, &[(&ran.input, Var::constant(direction))], Order::Last);
        for (at, (pushed, traces)) in pushed.into_iter().zip(&mut traces).enumerate() {
            watch.reach(0.1 + 0.7 * (probe * (n + 1) + at) as f64 / (probes * (n + 1)) as f64)?;
            let Some(pushed) = pushed else { continue };
            traces.0 += scale * square(&pushed.value().to_f64());
            if let Some(second) = &mut traces.1 {
                let pulled =
                    vjp(&[(outputs[at], pushed.detach())], &[&ran.input], Order::Last).pop().flatten();
                *second += scale * pulled.map_or(0.0, |pulled| square(&pulled.value().to_f64()));
            }
        }
    }
    Ok(traces)
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
