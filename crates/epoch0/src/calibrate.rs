//! Starts that look at a batch: drawn, and then calibrated on data or on what matches the network.

use std::collections::HashMap;

use bytemuck::cast_slice;
use epoch0_data::Dataset;
use epoch0_engine::{Device, Mode, Precision, Tensor, Value, Weights, run};
use epoch0_examine::Probe;
use epoch0_init::METHODS;
use epoch0_init::calibrate::{self, Calibration};
use epoch0_init::start::{Measured, Plan, Recipe};
use epoch0_method::Steps;
use epoch0_method::reading::ProbeSummary;
use epoch0_net::{Network, ParamId, ValueId};
use epoch0_num::{Dtype, Element, Summary, with_element};
use epoch0_train::{Optimizer, Start};
use serde::Serialize;

use crate::examine::{data_probe, matched_probe};
use crate::{Described, Error, own_precision};

/// Values that may wait for their readers at one time, over all examples.
const VALUES: usize = 100_000_000;

/// What a start is calibrated on, where its recipe calibrates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calibrating<'a> {
    /// The data, as they were named, and what that is; inputs that match the network are drawn where there are none.
    pub data: Option<(&'a str, &'a Dataset)>,
    /// Number of examples; as many as fit, 8 to 1024, when absent.
    pub examples: Option<usize>,
}

/// What calibrated a start, and what that did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibrated {
    /// What it was done on.
    pub batch: ProbeSummary,
    /// The layers.
    #[serde(flatten)]
    pub calibration: Calibration,
    /// The checkpoint whose weights were calibrated; absent where they were drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights_of: Option<String>,
}

impl Calibrated {
    /// What was not reached, in a sentence; nothing where all was.
    pub fn shortfall(&self) -> Option<String> {
        let names: Vec<&str> = self.calibration.missed().map(|layer| layer.name.as_str()).collect();
        let (named, more) = names.split_at(names.len().min(3));
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        (!names.is_empty()).then(|| {
            format!("{} did not bring {}{more} where it should be", self.calibration.method, named.join(", "))
        })
    }
}

/// Draws a start in memory and calibrates it where its recipe says so: the same values as [`crate::initialize`] writes.
///
/// A calibrator that takes weights as they are is given those of `described`, where it has any and the recipe says
/// nothing else of them.
///
/// # Errors
/// When the recipe does not fit the network, or the batch does not.
pub fn start_weights(
    described: &Described,
    recipe: &Recipe,
    seed: u64,
    on: &Calibrating<'_>,
    precision: Precision,
    device: &Device,
) -> Result<(Weights, Option<Calibrated>), Error> {
    let plan = Plan::new(METHODS, &described.net, recipe, seed)?;
    planned_weights(described, recipe, &plan, on, precision, device)
}

/// As [`start_weights`], with the factors of the learning rate that the start is made for.
///
/// # Errors
/// As [`start_weights`].
pub fn start_training(
    described: &Described,
    recipe: &Recipe,
    seed: u64,
    on: &Calibrating<'_>,
    optimizer: &Optimizer,
    device: &Device,
) -> Result<(Start, Option<Calibrated>), Error> {
    let plan = Plan::new(METHODS, &described.net, recipe, seed)?;
    let precision = own_precision(&described.net);
    let (weights, done) = planned_weights(described, recipe, &plan, on, precision, device)?;
    Ok((Start { weights, learning_rates: learning_rates(&plan, done.as_ref(), optimizer.steps()) }, done))
}

/// Factors of the learning rate that a plan is made for, and what calibrated it.
pub(crate) fn learning_rates(
    plan: &Plan<'_>,
    calibrated: Option<&Calibrated>,
    steps: Steps,
) -> Vec<(ParamId, f64)> {
    let mut factors = plan.learning_rates(steps);
    for (param, factor) in calibrated.map(|done| done.calibration.learning_rates(steps)).unwrap_or_default() {
        match factors.iter_mut().find(|(other, _)| *other == param) {
            Some(found) => found.1 *= factor,
            None => factors.push((param, factor)),
        }
    }
    factors
}

/// The weights of a plan, calibrated where its recipe says so.
pub(crate) fn planned_weights(
    described: &Described,
    recipe: &Recipe,
    plan: &Plan<'_>,
    on: &Calibrating<'_>,
    precision: Precision,
    device: &Device,
) -> Result<(Weights, Option<Calibrated>), Error> {
    let Some((_, calibrator)) = recipe.calibrator()? else {
        return Ok((plan.weights(precision, device)?, None));
    };
    let says_nothing_else = recipe.rules.is_empty() && recipe.base == described.usual_recipe().base;
    let keeps = calibrator.draws().is_empty() && says_nothing_else;
    let own = if keeps { described.own_weights(precision, device)? } else { None };
    let weights_of = own.is_some().then(|| described.given.clone());
    let weights = match own {
        Some(weights) => weights,
        None => plan.weights(precision, device)?,
    };
    let (weights, mut done) =
        calibrated(&described.net, recipe, weights, plan.seed(), on, precision, device)?;
    if let Some(done) = &mut done {
        done.weights_of = weights_of;
    }
    Ok((weights, done))
}

/// Calibrates weights where the recipe says so.
pub(crate) fn calibrated(
    network: &Network,
    recipe: &Recipe,
    weights: Weights,
    seed: u64,
    on: &Calibrating<'_>,
    precision: Precision,
    device: &Device,
) -> Result<(Weights, Option<Calibrated>), Error> {
    let Some((id, calibrator)) = recipe.calibrator()? else { return Ok((weights, None)) };
    let examples = match on.examples {
        // A graph is seen whole.
        None if network.graph_inputs().is_some() => None,
        None => Some(as_many_as_fit(network, &weights, seed, precision, device)?),
        some => some,
    };
    let probe = match on.data {
        Some((_, data)) => data_probe(network, &weights, data, examples, seed, precision, device)?,
        None => matched_probe(network, &weights, examples, seed, precision, device)?,
    };
    let (mut weights, calibration) = calibrate::calibrate(id, &*calibrator, network, &weights, &probe.batch)?;
    store(network, &mut weights);
    Ok((weights, Some(Calibrated { batch: probe.summary, calibration, weights_of: None })))
}

fn as_many_as_fit(
    network: &Network,
    weights: &Weights,
    seed: u64,
    precision: Precision,
    device: &Device,
) -> Result<usize, Error> {
    let small = Probe::matched(network, 2, seed, precision, device)?;
    let most = most_waiting(network, weights, &small.inputs)?;
    Ok((VALUES / (most / small.len().max(1)).max(1)).clamp(8, 1024))
}

/// The most numbers that wait for their readers at one time of a run.
fn most_waiting(network: &Network, weights: &Weights, inputs: &[Value]) -> Result<usize, Error> {
    let mut readers: HashMap<ValueId, usize> = HashMap::new();
    let reads = network.nodes().iter().flat_map(|node| &node.inputs).chain(network.outputs());
    reads.for_each(|id| *readers.entry(*id).or_default() += 1);
    let len = |value: &Value| value.real().map_or(0, |var| var.value().len());
    let mut waiting: usize = inputs.iter().map(len).sum();
    let mut most = waiting;
    run(network, &weights.constants(), inputs, Mode::Train, &mut |done| {
        waiting += done.outputs.iter().map(len).sum::<usize>();
        most = most.max(waiting);
        for (id, value) in done.node.inputs.iter().zip(done.inputs) {
            if let Some(left) = readers.get_mut(id) {
                *left -= 1;
                waiting -= if *left == 0 { len(value) } else { 0 };
            }
        }
        for (id, value) in done.node.outputs.iter().zip(done.outputs) {
            waiting -= if readers.contains_key(id) { 0 } else { len(value) };
        }
        Ok(())
    })?;
    Ok(most)
}

/// Rounds each weight to what its element type can hold.
fn store(network: &Network, weights: &mut Weights) {
    let rounded: Vec<(ParamId, Tensor)> = weights
        .iter()
        .filter(|(id, value)| {
            let dtype = network.param(*id).dtype;
            let is_exact =
                dtype == Dtype::F64 || dtype == Dtype::F32 && value.precision() == Precision::Single;
            dtype.is_float() && !is_exact
        })
        .map(|(id, value)| {
            let values = with_element!(network.param(id).dtype, T => {
                value.to_f64().into_iter().map(|value| T::from_f64(value).to_f64()).collect()
            });
            (id, Tensor::from_f64(values, &value.shape(), value.precision(), &value.device()))
        })
        .collect();
    rounded.into_iter().for_each(|(id, value)| weights.set(id, value));
}

/// A parameter's value as the little-endian bytes of its type, and what is measured of it at its planned sites.
pub(crate) fn stored(
    plan: &Plan<'_>,
    weights: &Weights,
    param: ParamId,
) -> Result<(Vec<u8>, Vec<Measured>), Error> {
    let Some(value) = weights.get(param) else { return Ok(plan.draw_whole(param)?) };
    let first = plan.first_of(param);
    Ok(with_element!(plan.net().param(param).dtype, T => {
        let values: Vec<T> = value.to_f64().into_iter().map(T::from_f64).collect();
        let bytes = cast_slice(&values).to_vec();
        let measured = if plan.single_law(param).is_some() {
            vec![Measured { planned: first, summary: Summary::of(&values) }]
        } else {
            let of_site = |(nth, planned): (usize, &epoch0_init::start::Planned)| {
                let mut own = Vec::new();
                plan.net().sites()[planned.site].view.runs(|_, start, length, stride| {
                    own.extend((0..length).map(|step| values[start + step * stride]));
                });
                Measured { planned: first + nth, summary: Summary::of(&own) }
            };
            plan.sites_of(param).iter().enumerate().map(of_site).collect()
        };
        (bytes, measured)
    }))
}
