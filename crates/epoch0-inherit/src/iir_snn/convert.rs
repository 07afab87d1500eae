//! A network of rectifiers as one of neurons that spike.

use std::collections::HashMap;

use epoch0_engine::{Batch, Elements, Mode, Parameters, Tensor, Value, Var, Weights, sweep};
use epoch0_method::Error;
use epoch0_net::{Folding, Network, NodeId, Op, ParamId, Spiking};

use super::matched::{Matched, matched};
use super::{INFO, IirSnn, taken};
use crate::pair::refuse;
use crate::{Inheritance, Kin, Origin};

/// The threshold of a layer that has no current above 0 to find one by.
const SILENT: f64 = 0.1;

/// What a spiking child takes of a parent with rectifiers.
pub(super) fn converted(
    by: &IirSnn,
    kin: &Kin<'_>,
    (theirs, batch): (&Weights, &Batch),
) -> Result<Inheritance, Error> {
    let (parent, child) = (kin.parent, kin.child);
    let layers = matched(parent, child)?;
    let mut values: HashMap<ParamId, Vec<f64>> = HashMap::new();
    let mut params = vec![Origin::Drawn; child.params().len()];
    let mut is_folded = false;
    for layer in &layers {
        for (own, from) in &layer.params {
            params[own.0 as usize] = from.map_or(Origin::Constant(0.0), |from| taken(parent, from));
            let zeros = || vec![0.0; child.param(*own).len()];
            values.insert(*own, from.map_or_else(zeros, |from| numbers(theirs, from)));
        }
        if layer.norm.is_some() {
            is_folded = true;
            fold(parent, theirs, layer, &mut values);
            // They are neither the parent's nor a number.
            layer.params.iter().for_each(|(own, _)| params[own.0 as usize] = Origin::Drawn);
        }
    }
    for (threshold, leak) in child.neurons() {
        values.insert(threshold, vec![1.0]);
        values.insert(leak, vec![1.0]);
        params[leak.0 as usize] = Origin::Constant(1.0);
    }
    let failed = |error: epoch0_engine::Error| {
        let hint = "give data that the network takes (`epoch0 data list`)";
        refuse(INFO.id, child.name(), &error.to_string(), hint)
    };
    let like = theirs.iter().next().map(|(_, value)| (value.precision(), value.device()));
    let (precision, device) =
        like.ok_or_else(|| refuse(INFO.id, parent.name(), "it has no weights", "train it"))?;
    let read = |id: ParamId, param: &epoch0_net::Param| match values.get(&id) {
        Some(values) => Ok(Elements::Double(values.clone())),
        None => Err(epoch0_engine::Error::Param {
            name: param.name.clone(),
            found: "nothing like it in the parent".to_owned(),
            allowed: "maps and neurons".to_owned(),
        }),
    };
    let mut own = Weights::read::<epoch0_engine::Error>(child, precision, &device, read).map_err(failed)?;
    let found = thresholds(child, &mut own.constants(), &batch.inputs, by.percentile)?;
    let mut notes = Vec::new();
    for (threshold, value) in &found {
        let value = by.scaling * value.unwrap_or(SILENT);
        params[threshold.0 as usize] = Origin::Constant(value);
        own.set(*threshold, Tensor::from_f64(vec![value], &[1], precision, &device));
    }
    let silent: Vec<&str> = found
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(id, _)| child.param(*id).name.as_str())
        .collect();
    if let Some(first) = silent.first() {
        notes.push(format!(
            "{} of {} layers have no current above 0 at that percentile, `{first}` first: their thresholds are {SILENT}",
            silent.len(),
            found.len()
        ));
    }
    Ok(Inheritance { params, notes, learned: is_folded.then_some(own), ..Inheritance::default() })
}

fn numbers(weights: &Weights, id: ParamId) -> Vec<f64> {
    weights.get(id).map(Tensor::to_f64).unwrap_or_default()
}

/// Makes a batch normalization part of the map before it.
fn fold(parent: &Network, theirs: &Weights, layer: &Matched, values: &mut HashMap<ParamId, Vec<f64>>) {
    let Some((map, norm)) = layer.norm else { return };
    let node = |id: NodeId| &parent.nodes()[id.0 as usize].op;
    let (Op::Norm { eps, scale, shift, running: Some([mean, variance, _]), .. }, Some(outputs)) =
        (node(norm), parent.outputs_of(map))
    else {
        unreachable!("only batch normalizations behind maps are folded");
    };
    let [(weight, _), (bias, from)] = layer.params[..] else { unreachable!("a map with a bias") };
    let of = |id: Option<ParamId>| id.map(|id| numbers(theirs, id));
    let (scale, shift, before) = (of(*scale), of(*shift), of(from));
    let folding = Folding {
        eps: *eps,
        mean: &numbers(theirs, *mean),
        variance: &numbers(theirs, *variance),
        scale: scale.as_deref(),
        shift: shift.as_deref(),
        bias: before.as_deref(),
    };
    let (factors, biases) = folding.affine();
    let weights = values.entry(weight).or_default();
    weights.iter_mut().enumerate().for_each(|(at, value)| *value *= factors[outputs.of(at)]);
    values.insert(bias, biases);
}

/// The threshold of each layer, in their order: each is found with those of the layers before it in their places. None
/// where no number above 0 was found.
fn thresholds(
    net: &Network,
    params: &mut Parameters,
    inputs: &[Value],
    percentile: f64,
) -> Result<Vec<(ParamId, Option<f64>)>, Error> {
    let mut found = Vec::new();
    let failed = |error: epoch0_engine::Error| {
        refuse(
            INFO.id,
            net.name(),
            &error.to_string(),
            "give data that the network takes (`epoch0 data list`)",
        )
    };
    let mut odd = None;
    let done = sweep(net, params, inputs, Mode::Eval, |turn| {
        if let Op::Spiking { by: Spiking::Fire { threshold, .. }, steps } = turn.node.op
            && let Some(current) = turn.inputs.first().and_then(Value::real)
        {
            let value = largest_percentile(&current.value().to_f64(), steps, current.shape()[0], percentile);
            if !value.is_finite() {
                odd.get_or_insert((threshold, value));
            }
            let value = (value > 0.0).then_some(value);
            found.push((threshold, value));
            let like = current.value();
            let value =
                Tensor::from_f64(vec![value.unwrap_or(SILENT)], &[1], like.precision(), &like.device());
            turn.params.set(threshold, Var::constant(value));
        }
        turn.evaluate()
    });
    done.map_err(failed)?;
    if let Some((threshold, value)) = odd {
        let name = &net.param(threshold).name;
        let site = format!("current of {}", name.strip_suffix(".threshold").unwrap_or(name));
        return Err(Error::NotFinite { method: INFO.id.to_owned(), site, value: value.to_string() });
    }
    Ok(found)
}

/// Of each time step the percentile of all currents, and of those the largest; NaN where a current is none. Steps of an
/// example follow each other along the first dimension, of `places`.
pub(super) fn largest_percentile(currents: &[f64], steps: usize, places: usize, percentile: f64) -> f64 {
    let width = currents.len() / places.max(1);
    if currents.is_empty() || currents.iter().any(|current| current.is_nan()) {
        return f64::NAN;
    }
    let of_step = |step: usize| {
        let mut values: Vec<f64> =
            currents.chunks(width).skip(step).step_by(steps).flatten().copied().collect();
        let rank = ((values.len() - 1) as f64 * percentile / 100.0).round_ties_even() as usize;
        let last = values.len() - 1;
        *values.select_nth_unstable_by(rank.min(last), f64::total_cmp).1
    };
    (0..steps).map(of_step).fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_percentiles_of_the_largest_step() {
        // Two examples of two steps and three units: the first step has 0 to 5, the second 10 to 15.
        let currents = [0.0, 1.0, 2.0, 10.0, 11.0, 12.0, 3.0, 4.0, 5.0, 13.0, 14.0, 15.0];
        // torch.kthvalue(k = 1 + round(0.01 P (n - 1))) of the second.
        for (percentile, wanted) in [(100.0, 15.0), (90.0, 14.0), (80.0, 14.0), (50.0, 12.0), (1.0, 10.0)] {
            assert_eq!(largest_percentile(&currents, 2, 4, percentile), wanted, "{percentile}");
        }
        assert!(largest_percentile(&[1.0, f64::NAN], 1, 2, 50.0).is_nan());
        assert_eq!(largest_percentile(&[-1.0, -2.0], 1, 2, 100.0), -1.0);
    }
}
