//! What happens at every layer, forwards, backwards and along a direction of the inputs.

use std::collections::HashMap;

use epoch0_engine::{Done, Mode, Order, Tensor, Value, Var, jvp, run, vjp};
use epoch0_net::{NodeId, Op, ParamId};
use epoch0_num::{Activation, Law, Stream};
use rayon::prelude::*;

use crate::shared::numbers::{Moments, cosine, effective_rank};
use crate::{Error, Subject, Watch};

/// Steps back from an activation to the layer that it belongs to.
const STEPS_BACK: usize = 8;

/// Examples whose effective rank is taken at most.
const RANKED: usize = 64;

/// A weight in its place, and what was measured there.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) op: &'static str,
    pub(super) depth: usize,
    /// Whether it is a matrix between units, rather than a table.
    pub(super) is_matrix: bool,
    /// Whether all its weights are zero: what it gives says nothing about the signal then.
    pub(super) is_zero: bool,
    /// Its output.
    pub(super) forward: Moments,
    /// Mean cosine of two examples' outputs.
    pub(super) cosine: f64,
    /// Effective rank of the examples' outputs.
    pub(super) rank: f64,
    pub(super) activation: Option<AfterActivation>,
    /// How many positions each unit has in an example.
    pub(super) positions: usize,
    /// Gradient of the summed loss at its output.
    pub(super) backward: Option<Moments>,
    /// Growth of a small change of the inputs, relative to the signal: squared.
    pub(super) change: f64,
    pub(super) weight_rms: f64,
    pub(super) gradient_rms: Option<f64>,
}

/// What an activation does to a layer's output.
#[derive(Clone, Copy, Debug)]
pub(super) struct AfterActivation {
    /// Share of the units that are zero for every example.
    pub(super) dead: f64,
    /// Share of the values at which a squashing activation is flat.
    pub(super) saturated: Option<f64>,
}

/// Everything measured in one pass.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) layers: Vec<Layer>,
    /// Mean loss of an example.
    pub(super) loss: f64,
    /// The loss of answers that know nothing, where there is one: `ln classes`.
    pub(super) ignorance: Option<f64>,
    pub(super) answers: Moments,
    /// Parameters whose gradient has NaN or infinities.
    pub(super) broken_gradients: Vec<String>,
}

struct Seen {
    id: NodeId,
    output: Var,
    activation: Option<AfterActivation>,
}

pub(super) fn measure(subject: &Subject<'_>, watch: Watch<'_>) -> Result<Measured, Error> {
    let Subject { network, weights, probe, seed } = *subject;
    let params = weights.leaves(network);
    let inputs: Vec<Value> = probe
        .inputs
        .iter()
        .map(|value| match value {
            Value::Real(var) => Value::Real(Var::leaf(var.value().clone())),
            other => other.clone(),
        })
        .collect();
    let with_site: HashMap<NodeId, usize> =
        network.sites().iter().enumerate().rev().map(|(at, site)| (site.node, at)).collect();
    let mut seen: Vec<Seen> = Vec::new();
    let mut of_node: HashMap<NodeId, usize> = HashMap::new();
    let n_nodes = network.nodes().len().max(1) as f64;
    watch.reach(0.0)?;
    let mut stop = None;
    let result = run(network, &params, &inputs, Mode::Train, &mut |done: Done<'_>| {
        if let Err(error) = watch.reach(0.3 * f64::from(done.id.0) / n_nodes) {
            stop.get_or_insert(error);
        }
        if let (Some(&site), Some(output)) =
            (with_site.get(&done.id), done.outputs.first().and_then(Value::real))
        {
            let site = &network.sites()[site];
            if site.role.is_matrix() || matches!(done.node.op, Op::Embedding { .. }) {
                of_node.insert(done.id, seen.len());
                seen.push(Seen { id: done.id, output: output.clone(), activation: None });
            }
        }
        if let Op::Activation(activation) = &done.node.op
            && let (Some(x), Some(y)) = (done.inputs[0].real(), done.outputs[0].real())
            && let Some(at) = layer_before(subject, done.id, &of_node)
        {
            let op = &network.nodes()[seen[at].id.0 as usize].op;
            let by_channel = matches!(op.flat().as_ref().unwrap_or(op), Op::Conv { .. });
            seen[at].activation = Some(after(activation, x.value(), y.value(), by_channel));
        }
        Ok(())
    })?;
    if let Some(error) = stop {
        return Err(error);
    }
    let answers = probe.answers(&result)?;
    let loss = probe.total_loss(answers, seed)?;
    watch.reach(0.35)?;

    let wrt_params: Vec<(ParamId, &Var)> = params.tracked().collect();
    let wrt: Vec<&Var> =
        seen.iter().map(|seen| &seen.output).chain(wrt_params.iter().map(|(_, var)| *var)).collect();
    let one = Var::constant(loss.value().full_like(1.0, &[1]));
    let found = vjp(&[(&loss, one)], &wrt, Order::Last);
    watch.reach(0.65)?;
    let (at_outputs, of_params) = found.split_at(seen.len());

    let changes = changes(&seen, &inputs, seed);
    watch.reach(0.85)?;

    let (examples, sees_graph) = (probe.len(), network.graph_inputs().is_some());
    let mut gradients: HashMap<ParamId, Moments> = HashMap::new();
    let mut broken_gradients = Vec::new();
    for ((id, _), gradient) in wrt_params.iter().zip(of_params) {
        if let Some(gradient) = gradient {
            let moments = Moments::of(&gradient.value().to_f32());
            if moments.non_finite > 0 {
                broken_gradients.push(network.param(*id).name.clone());
            }
            gradients.insert(*id, moments);
        }
    }
    let layers = seen.iter().zip(at_outputs).zip(changes).map(|((seen, gradient), change)| {
        let site = &network.sites()[with_site[&seen.id]];
        let values = seen.output.value().to_f32();
        let weight = weights.get(site.param).map(|weight| Moments::of(&weight.to_f32())).unwrap_or_default();
        let packed =
            network.sites().iter().filter(|other| other.node == seen.id && other.param == site.param).count();
        // Every node of a graph is in a layer's output, whichever are asked for.
        let rows = if sees_graph { seen.output.shape()[0] } else { examples };
        Layer {
            name: if packed > 1 { site.name.clone() } else { site.label() },
            op: site.op,
            depth: site.depth,
            is_matrix: site.role.is_matrix(),
            is_zero: weight.second == 0.0,
            forward: Moments::of(&values),
            cosine: cosine(&values, rows),
            rank: effective_rank(&values[..values.len() / rows.max(1) * rows.min(RANKED)], rows.min(RANKED)),
            activation: seen.activation,
            positions: positions(&seen.output.shape(), site.op.starts_with("conv")),
            backward: gradient.as_ref().map(|gradient| Moments::of(&gradient.value().to_f32())),
            change,
            weight_rms: weight.second.sqrt(),
            gradient_rms: gradients.get(&site.param).map(|moments| moments.second.sqrt()),
        }
    });
    let layers = layers.collect();
    watch.reach(1.0)?;
    let shape = answers.shape();
    Ok(Measured {
        layers,
        loss: loss.value().item() / examples.max(1) as f64,
        ignorance: match probe.loss_of(answers) {
            epoch0_engine::Loss::Squares => None,
            _ => shape.last().map(|&classes| (classes as f64).ln()),
        },
        answers: Moments::of(&answers.value().to_f32()),
        broken_gradients,
    })
}

impl Layer {
    /// Second moment of the gradient at a unit, summed over its positions: a unit of a convolution is reached at each.
    pub(super) fn gradient(&self) -> f64 {
        self.backward.map_or(f64::NAN, |moments| moments.second * self.positions as f64)
    }
}

fn positions(shape: &[usize], by_channel: bool) -> usize {
    let of_example: usize = shape.iter().skip(1).product();
    let units = if by_channel { shape.get(1) } else { shape.last() };
    of_example / units.copied().unwrap_or(1).max(1)
}

/// The layer whose output an activation is applied to, with norms, sums and pooling between.
fn layer_before(subject: &Subject<'_>, from: NodeId, of_node: &HashMap<NodeId, usize>) -> Option<usize> {
    let mut at = from;
    for _ in 0..STEPS_BACK {
        let node = &subject.network.nodes()[at.0 as usize];
        at = subject.network.value(*node.inputs.first()?).from?;
        if let Some(&layer) = of_node.get(&at) {
            return Some(layer);
        }
    }
    None
}

/// Whether a function is flat on both sides.
fn squashes(activation: &Activation) -> bool {
    let flat = |sign: f64| {
        let (near, far) = (activation.value(sign * 50.0), activation.value(sign * 70.0));
        near.is_finite() && (near - far).abs() < 1e-9
    };
    flat(1.0) && flat(-1.0)
}

fn after(activation: &Activation, x: &Tensor, y: &Tensor, by_channel: bool) -> AfterActivation {
    let shape = y.shape();
    let unit_dim = if by_channel && shape.len() > 2 { 1 } else { shape.len().saturating_sub(1) };
    let units = shape.get(unit_dim).copied().unwrap_or(1).max(1);
    let inner: usize = shape[(unit_dim + 1).min(shape.len())..].iter().product();
    let mut alive = vec![false; units];
    for (at, value) in y.to_f32().into_iter().enumerate() {
        if value != 0.0 {
            alive[at / inner.max(1) % units] = true;
        }
    }
    let dead = alive.iter().filter(|alive| !**alive).count() as f64 / units as f64;
    let saturated = squashes(activation).then(|| {
        let values = x.to_f32();
        // Where the slope is below a hundredth of the steepest.
        let steepest =
            (-40..=40).map(|at| activation.derivative(f64::from(at) / 10.0).abs()).fold(0.0, f64::max);
        let flat: usize = values
            .par_chunks(1 << 14)
            .map(|part| {
                part.iter().filter(|&&x| activation.derivative(f64::from(x)).abs() < 0.01 * steepest).count()
            })
            .sum();
        flat as f64 / values.len().max(1) as f64
    });
    AfterActivation { dead, saturated }
}

/// For each layer the mean square of a small change over that of the signal, where the same is one at the inputs. Inputs
/// that are words change where they have become vectors.
fn changes(seen: &[Seen], inputs: &[Value], seed: u64) -> Vec<f64> {
    let from: Vec<&Var> = {
        let real: Vec<&Var> = inputs.iter().filter_map(Value::real).collect();
        if real.is_empty() { seen.first().map(|seen| &seen.output).into_iter().collect() } else { real }
    };
    let second = |var: &Var| Moments::of(&var.value().to_f32()).second;
    let wrt: Vec<(&Var, Var)> = from
        .iter()
        .enumerate()
        .map(|(at, var)| {
            let value = var.value();
            // As large as the signal itself, so that ratios start at one; the map is linear in it.
            let law = Law::Normal { mean: 0.0, std: second(var).sqrt().max(f64::MIN_POSITIVE) };
            let mut values = vec![0.0f32; value.len()];
            let stream = Stream::new(seed, &format!("change/{at}"));
            if law.fill_par(&stream, 0, &mut values).is_err() {
                values.fill(0.0);
            }
            (
                *var,
                Var::constant(Tensor::from_f32(values, &value.shape(), value.precision(), &value.device())),
            )
        })
        .collect();
    let outputs: Vec<&Var> = seen.iter().map(|seen| &seen.output).collect();
    let found = jvp(&outputs, &wrt, Order::Last);
    let ratio = |(seen, change): (&Seen, Option<Var>)| match change {
        Some(change) => second(&change) / second(&seen.output),
        None => f64::NAN,
    };
    seen.iter().zip(found).map(ratio).collect()
}
