//! The walk over a network's weights in the order in which they run, at the price of about one run.

use std::collections::HashMap;

use epoch0_engine::{Mode, Parameters, Tensor, Turn, Value, Var, Weights};
use epoch0_net::{Network, NodeId, NormKind, Op, ParamId, Role, Site};

use super::meeting::{Change, Factor, Kind, Meeting};
use super::output::Output;
use super::{Calibration, Error, Layer};

/// Runs a network on a batch and lets `decide` change each weight when its turn comes, before anything has read its
/// output.
///
/// Batch normalizations use the batch's statistics. A packed weight is decided part by part. The output of a linear map
/// without a bias is scaled as its weight is; other operations, and all whose weights are replaced, are done once more with
/// the new weight.
///
/// # Errors
/// What `decide` answers, and when the network cannot be run.
pub fn sweep(
    method: &'static str,
    network: &Network,
    weights: &mut Weights,
    inputs: &[Value],
    decide: impl FnMut(&Meeting<'_>) -> Result<Change, Error>,
) -> Result<Calibration, Error> {
    let mut params = weights.constants();
    let mut walk = Walk::new(method, network, decide);
    epoch0_engine::sweep(network, &mut params, inputs, Mode::Train, |turn| walk.visit(turn))?;
    for (id, by) in &walk.decided {
        for part in parts(network, *id).into_iter().filter(|_| by.is_changed) {
            if let Some(var) = params.get(part) {
                weights.set(part, var.value().clone());
            }
        }
    }
    let is_unmet = |(at, _): &(usize, &epoch0_net::Param)| {
        let id = ParamId(*at as u32);
        !walk.decided.contains_key(&id) && !network.is_latent(id)
    };
    let of_map = |(_, param): &(usize, &epoch0_net::Param)| {
        (param.role.is_matrix() || param.role == Role::Embedding) && param.shape.len() >= 2
    };
    let unused = network.params().iter().enumerate().filter(of_map).filter(is_unmet);
    let unused = unused.map(|(_, param)| param.name.clone()).collect();
    let passes = walk.done as f64 / network.nodes().len().max(1) as f64;
    Ok(Calibration { method, layers: walk.layers, unused, passes, rates: Vec::new() })
}

/// What a weight is made of: itself, or templates.
fn parts(network: &Network, weight: ParamId) -> Vec<ParamId> {
    network.mixture_of(weight).map_or_else(|| vec![weight], |mixture| mixture.templates.clone())
}

/// A weight, mixed where it is made of templates, with their coefficients.
fn whole(network: &Network, weight: ParamId, params: &Parameters) -> Option<(Tensor, Vec<f64>)> {
    let Some(mixture) = network.mixture_of(weight) else {
        return Some((params.get(weight)?.value().clone(), vec![1.0]));
    };
    let templates = mixture.templates.iter().map(|id| params.get(*id)).collect::<Option<Vec<_>>>()?;
    let coefficients = params.get(mixture.coefficients)?;
    Some((Var::mixed(&templates, coefficients).value().clone(), coefficients.value().to_f64()))
}

/// Where a weight was decided.
struct Decided {
    /// The operation, for people.
    at: &'static str,
    is_changed: bool,
}

struct Walk<'n, F> {
    method: &'static str,
    network: &'n Network,
    decide: F,
    sites: HashMap<NodeId, Vec<&'n Site>>,
    decided: HashMap<ParamId, Decided>,
    layers: Vec<Layer>,
    /// Operations done.
    done: usize,
}

/// A layer by its index, and channels of its output.
type Replaced = (usize, Vec<usize>);

/// A weight at an operation and what it makes there.
struct Met<'a> {
    weight: ParamId,
    /// What a map reads.
    input: Option<&'a Var>,
    kind: Kind,
    output: Output,
    bias: Option<Vec<f64>>,
    node: NodeId,
    op: &'a Op,
}

impl<'n, F> Walk<'n, F>
where
    F: FnMut(&Meeting<'_>) -> Result<Change, Error>,
{
    fn new(method: &'static str, network: &'n Network, decide: F) -> Self {
        let mut sites: HashMap<NodeId, Vec<&Site>> = HashMap::new();
        network.sites().iter().for_each(|site| sites.entry(site.node).or_default().push(site));
        Self { method, network, decide, sites, decided: HashMap::new(), layers: Vec::new(), done: 0 }
    }

    fn visit(&mut self, turn: &mut Turn<'_>) -> Result<Vec<Value>, Error> {
        let (id, op) = (turn.id, &turn.node.op);
        match *op {
            // No factor of what is learned changes a signed power of two.
            Op::Linear { weight, .. } | Op::Conv { weight, .. }
                if self.network.shift_of(weight).is_some() =>
            {
                self.evaluate(turn)
            }
            Op::Linear { weight, bias, .. } | Op::Conv { weight, bias, .. } => {
                let made = self.evaluate(turn)?;
                let Some(Value::Real(y)) = made.first() else { return Ok(made) };
                let dim = if matches!(op, Op::Linear { .. }) { y.rank() - 1 } else { 1 };
                let bias = bias.and_then(|bias| turn.params.get(bias)).map(|var| var.value().to_f64());
                let bias = bias.filter(|bias| bias.iter().any(|&term| term != 0.0));
                let output = Output::new(y.value(), dim);
                let input = turn.inputs.first().and_then(Value::real).cloned();
                let met = Met { weight, input: input.as_ref(), kind: Kind::Map, output, bias, node: id, op };
                let (factors, replaced) = self.meet(&met, turn)?;
                if !replaced.is_empty() {
                    let made = self.evaluate(turn)?;
                    if let Some(Value::Real(y)) = made.first() {
                        let output = Output::new(y.value(), dim);
                        for (layer, channels) in replaced {
                            self.layers[layer].after = output.spread(&channels, |_, value| value);
                        }
                    }
                    return Ok(made);
                }
                if factors.iter().all(|factor| *factor == 1.0) {
                    return Ok(made);
                }
                if met.bias.is_some() {
                    return self.evaluate(turn);
                }
                Ok(vec![Value::Real(scaled(y, dim, &factors))])
            }
            Op::Embedding { table } => {
                let rows = turn.params.get(table).map(|var| Output::new(var.value(), 0));
                if let Some(output) = rows {
                    let (kind, input) = (Kind::Table, None);
                    let met = Met { weight: table, input, kind, output, bias: None, node: id, op };
                    self.meet(&met, turn)?;
                }
                self.evaluate(turn)
            }
            Op::Recurrent { input_weight, state_weight, reverse, .. } => {
                if let (Some(Value::Real(x)), Some(weight)) =
                    (turn.inputs.first(), turn.params.get(input_weight))
                    && x.rank() == 3
                    && weight.shape()[1] == x.shape()[2]
                {
                    let output = Output::new(self.product(x, weight).value(), 2);
                    let (weight, kind, input) = (input_weight, Kind::Map, None);
                    let met = Met { weight, input, kind, output, bias: None, node: id, op };
                    self.meet(&met, turn)?;
                }
                let made = self.evaluate(turn)?;
                if let (Some(Value::Real(states)), Some(weight)) =
                    (made.first(), turn.params.get(state_weight))
                {
                    // What the weight meets: all states but the last, or the only one.
                    let n = states.shape()[0];
                    let (from, to) = if reverse { (1, n) } else { (0, n - 1) };
                    let before = if n > 1 { states.slice(0, from, to, 1) } else { states.clone() };
                    let output = Output::new(self.product(&before, weight).value(), 2);
                    let (weight, kind, input) = (state_weight, Kind::State, None);
                    let met = Met { weight, input, kind, output, bias: None, node: id, op };
                    self.meet(&met, turn)?;
                }
                Ok(made)
            }
            _ => self.evaluate(turn),
        }
    }

    fn evaluate(&mut self, turn: &Turn<'_>) -> Result<Vec<Value>, Error> {
        self.done += 1;
        Ok(turn.evaluate()?)
    }

    /// `x Wᵀ`: what a weight of a recurrent layer makes of all steps at once.
    fn product(&mut self, x: &Var, weight: &Var) -> Var {
        self.done += 1;
        x.matmul(&weight.swap(0, 1))
    }

    /// Has all parts of a weight decided and multiplied; answers the factor of each channel of its output, and the layers,
    /// with their channels, whose weights are others.
    fn meet(&mut self, met: &Met<'_>, turn: &mut Turn<'_>) -> Result<(Vec<f64>, Vec<Replaced>), Error> {
        let network = self.network;
        let sites = self.sites.get(&met.node).cloned().unwrap_or_default();
        let sites = sites.into_iter().filter(|site| site.param == met.weight);
        let param = network.param(met.weight);
        let weight = whole(network, met.weight, turn.params);
        let elements = weight.as_ref().map(|(weight, _)| weight.to_f64()).unwrap_or_default();
        let used_before = self.decided.get(&met.weight).map(|by| by.at);
        let mut changes: Vec<(&Site, Factor)> = Vec::new();
        let mut factors = vec![1.0; met.output.channels()];
        let mut replaced = Vec::new();
        for site in sites {
            let mut is_zero = true;
            site.view.runs(|_, start, length, stride| {
                is_zero &= (0..length).all(|step| elements[start + step * stride] == 0.0);
            });
            let meeting = Meeting {
                method: self.method,
                site,
                kind: met.kind,
                used_before,
                meets_batch_norm: self.meets_batch_norm(met.node),
                is_fixed: param.fixed.is_some(),
                is_zero,
                op: met.op,
                input: met.input,
                elements: &elements,
                output: &met.output,
                channels: channels(site, met),
                bias: met.bias.as_deref(),
            };
            let change = (self.decide)(&meeting)?;
            let factor = match &change.factor {
                Factor::One(factor) => *factor,
                Factor::Rows(_) if change.before.std == 0.0 => 1.0,
                Factor::Rows(_) => change.after.std / change.before.std,
                Factor::New(values) => {
                    let size = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>().sqrt();
                    let before = size(&meeting.weights());
                    size(values) / if before > 0.0 { before } else { 1.0 }
                }
            };
            if !change.is_none() {
                match change.factor {
                    Factor::One(factor) => {
                        meeting.channels.iter().for_each(|&channel| factors[channel] = factor);
                    }
                    Factor::New(_) => replaced.push((self.layers.len(), meeting.channels.clone())),
                    Factor::Rows(_) => {}
                }
                changes.push((site, change.factor));
            }
            self.layers.push(Layer {
                name: site.label(),
                op: met.op.name(),
                before: change.before,
                factor,
                iterations: change.iterations,
                after: change.after,
                state: change.state,
                note: change.note,
            });
        }
        if let (Some((_, coefficients)), false) = (&weight, changes.is_empty()) {
            let squares: f64 = coefficients.iter().map(|a| a * a).sum();
            for (part, coefficient) in parts(network, met.weight).into_iter().zip(coefficients) {
                let Some(own) = turn.params.get(part).map(|var| var.value().clone()) else { continue };
                let share = coefficient / squares;
                turn.params.set(part, Var::constant(multiplied(&own, (&elements, share), &changes)));
            }
        }
        let is_changed = !changes.is_empty();
        self.decided.entry(met.weight).or_insert(Decided { at: met.op.name(), is_changed });
        Ok((factors, replaced))
    }

    fn meets_batch_norm(&self, node: NodeId) -> bool {
        let outputs = &self.network.nodes()[node.0 as usize].outputs;
        let Some(output) = outputs.first() else { return false };
        let mut readers = self.network.nodes().iter().filter(|node| node.inputs.contains(output)).peekable();
        readers.peek().is_some()
            && !self.network.outputs().contains(output)
            && readers.all(|node| matches!(node.op, Op::Norm { kind: NormKind::Batch, .. }))
    }
}

/// Channels of the output that a site makes.
fn channels(site: &Site, met: &Met<'_>) -> Vec<usize> {
    let all = || (0..met.output.channels()).collect();
    // Where the first input's weights lie, a row of the weight is a channel.
    let row = match met.op {
        Op::Linear { layout: epoch0_net::Layout::InOut, .. } => 1,
        Op::Linear { .. } | Op::Recurrent { .. } => site.view.n_in().max(1),
        _ => return all(),
    };
    let mut found = vec![site.view.offset / row];
    for &(length, stride) in &site.view.out {
        let step = |&first: &usize| (0..length).map(move |nth| first + nth * stride / row);
        found = found.iter().flat_map(step).collect();
    }
    found
}

/// Each channel by its factor.
fn scaled(y: &Var, dim: usize, factors: &[f64]) -> Var {
    if factors.iter().all(|factor| *factor == factors[0]) {
        return y.scale(factors[0]);
    }
    let mut shape = vec![1; y.rank()];
    shape[dim] = factors.len();
    let value = y.value();
    y.mul(&Var::constant(Tensor::from_f64(factors.to_vec(), &shape, value.precision(), &value.device())))
}

/// A weight, or a template of it, with its parts multiplied, each element rounded once; of what is new, its share of what
/// that differs by from the whole.
fn multiplied(weight: &Tensor, (whole, share): (&[f64], f64), changes: &[(&Site, Factor)]) -> Tensor {
    let (shape, mut elements) = (weight.shape(), weight.to_f64());
    for (site, factor) in changes {
        match factor {
            Factor::One(factor) => site.view.runs(|_, start, length, stride| {
                (0..length).for_each(|step| elements[start + step * stride] *= factor);
            }),
            Factor::New(values) => site.view.runs(|canonical, start, length, stride| {
                for step in 0..length {
                    let (at, new) = (start + step * stride, values[canonical + step]);
                    let is_whole = share == 1.0;
                    elements[at] = if is_whole { new } else { elements[at] + share * (new - whole[at]) };
                }
            }),
            Factor::Rows(factors) => {
                let width = shape.last().copied().unwrap_or(1).max(1);
                for (row, factor) in elements.chunks_mut(width).zip(factors) {
                    row.iter_mut().for_each(|element| *element *= factor);
                }
            }
        }
    }
    Tensor::from_f64(elements, &shape, weight.precision(), &weight.device())
}
