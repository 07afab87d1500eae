//! How far features and weights move in the first steps of training.

use epoch0_engine::{Mode, Order, Parameters, Run, Tensor, Value, Var, Weights, run, vjp};
use epoch0_net::{Network, NodeId, Op, ParamId, Role, Site};
use epoch0_num::{Law, Stream};

use crate::optimizer::{Clip, Decayed, Optimizer, State};
use crate::{Error, Start};

/// How far a map's output, and its weight, move.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    /// Name of the weight, `(tied)` behind it where it is drawn at another place.
    pub layer: String,
    /// Number of weights on the longest path from an input up to here, this one included.
    pub depth: usize,
    /// Whether it is a readout.
    pub answers: bool,
    /// Root mean square of the output's entries at the start.
    pub features: f64,
    /// Root mean square of what they have changed by.
    pub features_moved: f64,
    /// Spectral norm of the weight at the start over √(fan_out / fan_in); 0 of a table.
    pub norm: f64,
    /// The same of what it has changed by.
    pub norm_moved: f64,
}

/// Steps that are taken on one batch, again and again.
#[derive(Clone, Copy)]
pub struct FewSteps<'a, E> {
    /// How many.
    pub steps: u64,
    /// How gradients change weights.
    pub optimizer: Optimizer,
    /// The learning rate.
    pub learning_rate: f64,
    /// What the network is given.
    pub inputs: &'a [Value],
    /// The loss of what it answers.
    pub loss: &'a dyn Fn(&Run) -> Result<Var, E>,
}

/// Takes the steps and says how far each linear map, convolution and table has moved, in the order of the graph.
///
/// # Errors
/// When the network cannot be run on the inputs, and when a loss or a gradient is not finite: [`Error::Diverged`].
pub fn movement<E: From<Error>>(
    network: &Network,
    start: Start,
    plan: &FewSteps<'_, E>,
) -> Result<Vec<Moved>, E> {
    let Start { mut weights, learning_rates } = start;
    let mut per_param = Decayed::All.of(network);
    for (id, factor) in learning_rates {
        per_param[id.0 as usize].learning_rate *= factor;
    }
    let layers: Vec<Vec<&Site>> =
        (0..network.nodes().len()).map(|at| maps(network, NodeId(at as u32))).collect();
    let before = features(network, &weights, plan.inputs, &layers)?;
    let first: Vec<(ParamId, Tensor)> = weights.iter().map(|(id, tensor)| (id, tensor.clone())).collect();
    let diverged = |step| E::from(Error::Diverged { step, learning_rate: plan.learning_rate });
    let mut state = State::new(plan.optimizer, Clip::None, network.params().len());
    for step in 0..plan.steps {
        let params = weights.parameters(|id| per_param[id.0 as usize].is_trained);
        let gradients = gradients(network, &params, plan)?;
        drop(params);
        let norm = state.step(&mut weights, gradients, &per_param, plan.learning_rate);
        if !norm.is_finite() {
            return Err(diverged(step + 1));
        }
    }
    let after = features(network, &weights, plan.inputs, &layers)?;
    let moved = before.into_iter().zip(after).map(|((node, before), (_, after))| {
        let sites = &layers[node.0 as usize];
        let rms = |values: &mut dyn Iterator<Item = f64>| {
            (values.map(|value| value * value).sum::<f64>() / before.len() as f64).sqrt()
        };
        let id = sites[0].param;
        let old = first.iter().find(|(other, _)| *other == id).map(|(_, tensor)| tensor.to_f64());
        let (old, new) = (old.unwrap_or_default(), weights.get(id).map(Tensor::to_f64).unwrap_or_default());
        let change: Vec<f64> = new.iter().zip(&old).map(|(new, old)| new - old).collect();
        let largest = |values: &[f64]| sites.iter().map(|site| norm(site, values)).fold(0.0, f64::max);
        Moved {
            layer: if sites[0].is_own { sites[0].name.clone() } else { format!("{} (tied)", sites[0].name) },
            depth: sites[0].depth,
            answers: sites.iter().any(|site| site.role == Role::Readout),
            features: rms(&mut before.iter().copied()),
            features_moved: rms(&mut before.iter().zip(&after).map(|(a, b)| b - a)),
            norm: largest(&old),
            norm_moved: largest(&change),
        }
    });
    let moved: Vec<Moved> = moved.collect();
    if moved.iter().any(|one| !one.features_moved.is_finite()) {
        return Err(diverged(plan.steps));
    }
    Ok(moved)
}

/// The sites of the map that an operation is; none where it is none.
fn maps(network: &Network, node: NodeId) -> Vec<&Site> {
    let sites = network.sites().iter().filter(|site| site.node == node);
    let is_table = matches!(network.nodes()[node.0 as usize].op, Op::Embedding { .. });
    sites.filter(|site| is_table || site.role.is_matrix()).collect()
}

fn gradients<E: From<Error>>(
    network: &Network,
    params: &Parameters,
    plan: &FewSteps<'_, E>,
) -> Result<Vec<(ParamId, Tensor)>, E> {
    let (ids, vars): (Vec<ParamId>, Vec<&Var>) = params.tracked().unzip();
    let done = run(network, params, plan.inputs, Mode::Train, &mut |_| Ok(())).map_err(Error::from)?;
    let loss = (plan.loss)(&done)?;
    let one = Var::constant(loss.value().full_like(1.0, &loss.shape()));
    let found = vjp(&[(&loss, one)], &vars, Order::Last);
    Ok(ids.into_iter().zip(found).filter_map(|(id, found)| Some((id, found?.value().clone()))).collect())
}

type Features = Vec<(NodeId, Vec<f64>)>;

fn features(
    network: &Network,
    weights: &Weights,
    inputs: &[Value],
    layers: &[Vec<&Site>],
) -> Result<Features, Error> {
    let mut found = Vec::new();
    run(network, &weights.constants(), inputs, Mode::Train, &mut |done| {
        if !layers[done.id.0 as usize].is_empty()
            && let Some(output) = done.outputs[0].real()
        {
            found.push((done.id, output.value().to_f64()));
        }
        Ok(())
    })?;
    Ok(found)
}

/// Passes through a matrix in which its norm is looked for.
const PASSES: usize = 40;

/// Spectral norm of the site's matrix over √(fan_out / fan_in), by power iteration; the largest of maps side by side.
fn norm(site: &Site, values: &[f64]) -> f64 {
    if !site.role.is_matrix() || site.view.is_empty() {
        return 0.0;
    }
    let mut matrix = vec![0.0; site.view.len()];
    site.view.runs(|canonical, storage, length, stride| {
        for at in 0..length {
            matrix[canonical + at] = values[storage + at * stride];
        }
    });
    let rows = site.view.n_out();
    let columns = matrix.len() / site.view.n_batch() / rows;
    let scale = (rows as f64 / columns as f64).sqrt();
    matrix.chunks(rows * columns).map(|map| spectral_norm(map, columns) / scale).fold(0.0, f64::max)
}

fn spectral_norm(matrix: &[f64], columns: usize) -> f64 {
    let mut vector = vec![0.0; columns];
    let drawn = Law::normal(0.0, 1.0).fill(&Stream::new(0, "movement/power"), 0, &mut vector);
    if drawn.is_err() {
        return f64::NAN;
    }
    let mut found = 0.0;
    for _ in 0..PASSES {
        let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
        if length == 0.0 {
            return 0.0;
        }
        vector.iter_mut().for_each(|value| *value /= length);
        let mut back = vec![0.0; columns];
        let mut squares = 0.0;
        for row in matrix.chunks(columns) {
            let image: f64 = row.iter().zip(&vector).map(|(a, b)| a * b).sum();
            squares += image * image;
            back.iter_mut().zip(row).for_each(|(back, value)| *back += image * value);
        }
        found = squares.sqrt();
        vector = back;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_of_known_matrices() {
        assert!((spectral_norm(&[3.0, 0.0, 0.0, -4.0], 2) - 4.0).abs() < 1e-9);
        // A product of a column and a row: the product of their lengths.
        assert!((spectral_norm(&[2.0, 4.0, 4.0, 1.0, 2.0, 2.0], 3) - 45.0f64.sqrt()).abs() < 1e-12);
        assert_eq!(spectral_norm(&[0.0; 6], 3), 0.0);
    }
}
