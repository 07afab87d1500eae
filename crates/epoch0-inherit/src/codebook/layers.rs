//! Layer by layer: each is learned on what those before it make now, toward what the whole network makes.

use std::collections::HashMap;
use std::sync::mpsc::sync_channel;

use epoch0_engine::{Batch, Mode, Tensor, Value, Var, Weights, run, sweep};
use epoch0_method::Error;
use epoch0_net::{Node, NodeId, Op, ParamId, Window};
use serde::Serialize;

use super::ID;
use super::fit::Rows;
use super::learn::{By, Problem, learn, means};
use super::pack::CodebookTensor;
use super::plan::{Failure, Plan, Target};
use crate::pair::refuse;

/// Most positions of a batch that a layer is learned on, evenly spaced.
const POSITIONS: usize = 16_384;

/// What learning did to a layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// Name of the weight.
    pub name: String,
    /// The squared distance of what it makes from what it made in the whole network, as a share of the variance of that: with
    /// k-means, and learned; both on what the layers before it make now.
    pub error: [f64; 2],
    /// How many times a weight went to another level.
    pub flips: u64,
    /// Over how many levels on average.
    pub reach: f64,
}

/// A network whose codes were learned.
#[derive(Debug)]
pub struct Learned {
    /// For each target its codes, and the relative error of the weights.
    pub tensors: Vec<(CodebookTensor<'static>, f64)>,
    /// Biases that make up for what the mean of a layer's answers lost.
    pub biases: HashMap<ParamId, Vec<f32>>,
    /// What learning did to each layer, in order.
    pub layers: Vec<Layer>,
}

/// Rows of a map: of what comes in, or of what comes out.
struct Positions {
    n: usize,
    of: usize,
}

impl Positions {
    fn new(of: usize) -> Self {
        Self { n: of.min(POSITIONS), of }
    }

    fn iter(&self) -> impl Iterator<Item = usize> + use<> {
        let (n, of) = (self.n, self.of);
        (0..n).map(move |nth| nth * of / n)
    }
}

/// What a map answers, a row for each position.
pub(super) fn answers(node: &Node, value: &Value) -> Option<Vec<f32>> {
    let (shape, values) = (value.shape(), value.real()?.value().to_f32());
    if !matches!(node.op, Op::Conv { .. }) {
        let width = *shape.last()?;
        let positions = Positions::new(values.len() / width.max(1));
        return Some(positions.iter().flat_map(|at| values[at * width..(at + 1) * width].to_vec()).collect());
    }
    let (channels, space) = (shape[1], shape[2..].iter().product::<usize>());
    let positions = Positions::new(shape[0] * space);
    let row = |at: usize| {
        let (begin, place) = (at / space * channels * space, at % space);
        (0..channels).map(|channel| values[begin + channel * space + place]).collect::<Vec<f32>>()
    };
    Some(positions.iter().flat_map(row).collect())
}

/// What a map reads, a row for each position of what it answers.
fn inputs(node: &Node, value: &Value, answer: &[usize]) -> Option<Vec<f32>> {
    let Op::Conv { window, .. } = &node.op else { return answers(node, value) };
    let (shape, values) = (value.shape(), value.real()?.value().to_f32());
    let space: usize = answer[2..].iter().product();
    let taps = window.kernel.iter().product::<usize>();
    let mut rows = Vec::new();
    for at in Positions::new(answer[0] * space).iter() {
        let places = places(window, at % space, &shape[2..], &answer[2..], taps);
        let size: usize = shape[2..].iter().product();
        for channel in 0..shape[1] {
            let begin = (at / space * shape[1] + channel) * size;
            rows.extend(places.iter().map(|place| place.map_or(0.0, |place| values[begin + place])));
        }
    }
    Some(rows)
}

/// For each tap of a window at an output position the place that it reads; none in the padding.
fn places(window: &Window, mut at: usize, space: &[usize], out: &[usize], taps: usize) -> Vec<Option<usize>> {
    let mut position = vec![0; out.len()];
    for dim in (0..out.len()).rev() {
        (position[dim], at) = (at % out[dim], at / out[dim]);
    }
    let one = |mut tap: usize| {
        let (mut place, mut stride) = (0, 1);
        for dim in (0..out.len()).rev() {
            let (nth, rest) = (tap % window.kernel[dim], tap / window.kernel[dim]);
            tap = rest;
            let here = position[dim] * window.stride[dim] + nth * window.dilation[dim];
            let here = here.checked_sub(window.padding[dim]).filter(|&here| here < space[dim])?;
            place += here * stride;
            stride *= space[dim];
        }
        Some(place)
    };
    (0..taps).map(one).collect()
}

fn bias(node: &Node) -> Option<ParamId> {
    match &node.op {
        Op::Linear { bias, .. } | Op::Conv { bias, .. } => *bias,
        _ => None,
    }
}

/// A tensor like another, of other numbers.
fn like(tensor: &Tensor, values: Vec<f32>) -> Var {
    Var::constant(Tensor::from_f32(values, &tensor.shape(), tensor.precision(), &tensor.device()))
}

fn no_numbers(plan: &Plan<'_>, target: &Target) -> Error {
    let name = &plan.net.param(target.param).name;
    refuse(ID, name, "it is not given real numbers", "leave the data out")
}

impl Plan<'_> {
    /// Learns the codes of each map in turn, given all weights in the new order and examples.
    ///
    /// # Errors
    /// When the network cannot be run.
    pub fn learn(&self, weights: &Weights, batch: &Batch) -> Result<Learned, Error> {
        let maps = self.maps();
        // One map's answers are made while the map before is learned.
        let (send, receive) = sync_channel::<(NodeId, Vec<f32>)>(1);
        std::thread::scope(|scope| {
            let maps_of = &maps;
            let teacher = scope.spawn(move || {
                run(self.net, &weights.constants(), &batch.inputs, Mode::Eval, &mut |done| {
                    let answers =
                        maps_of.contains_key(&done.id).then(|| answers(done.node, &done.outputs[0]));
                    if let Some(answers) = answers.flatten() {
                        // The learner has ended with an error of its own where nobody listens.
                        let _ = send.send((done.id, answers));
                    }
                    Ok(())
                })
                .map(|_| ())
            });
            let found = self.follow(weights, batch, &maps, &mut || receive.recv().ok());
            drop(receive);
            let taught = teacher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            taught.map_err(|error| Failure::from(error).0)?;
            found
        })
    }

    fn follow(
        &self,
        weights: &Weights,
        batch: &Batch,
        maps: &HashMap<NodeId, usize>,
        next: &mut dyn FnMut() -> Option<(NodeId, Vec<f32>)>,
    ) -> Result<Learned, Error> {
        let mut params = weights.constants();
        let mut fits = Vec::new();
        for target in self.targets() {
            let Some(tensor) = weights.get(target.param) else { continue };
            let rows = Rows::new(&self.net.param(target.param).shape, target.dim);
            let own = rows.gathered(&tensor.to_f32());
            let fit = self.fit(target, &own)?;
            let of = target.groups.of(rows.n);
            if target.node.is_none() {
                params.set(target.param, like(tensor, rows.scattered(&fit.values(&of))));
            }
            let error = fit.error(&own, &of);
            fits.push((fit, error));
        }
        let (mut biases, mut layers) = (HashMap::new(), Vec::new());
        sweep::<Failure>(self.net, &mut params, &batch.inputs, Mode::Eval, |turn| {
            let Some(&nth) = maps.get(&turn.id) else { return Ok(turn.evaluate()?) };
            let target = &self.targets()[nth];
            let (param, missing) = (self.net.param(target.param), || Failure(no_numbers(self, target)));
            let tensor = weights.get(target.param).ok_or_else(missing)?;
            let (id, mut y) = next().ok_or_else(missing)?;
            if id != turn.id {
                return Err(missing());
            }
            let shape = turn.evaluate()?.first().map(Value::shape).unwrap_or_default();
            let x = inputs(turn.node, &turn.inputs[0], &shape).ok_or_else(missing)?;
            let own_bias = bias(turn.node).and_then(|bias| Some((bias, weights.get(bias)?)));
            if let Some((_, tensor)) = own_bias {
                let bias = tensor.to_f32();
                y.chunks_mut(bias.len().max(1))
                    .for_each(|row| row.iter_mut().zip(&bias).for_each(|(y, b)| *y -= b));
            }
            let rows = Rows::new(&param.shape, target.dim);
            let of = target.groups.of(rows.n);
            let (mean_x, mean_y) = (means(&x, rows.width()), means(&y, rows.n));
            let variance: f64 = {
                let squares = y.iter().map(|&y| f64::from(y).powi(2)).sum::<f64>() * rows.n as f64;
                squares / y.len().max(1) as f64 - mean_y.iter().map(|mean| mean * mean).sum::<f64>()
            };
            let problem = Problem::new(x, y, [rows.n, rows.width()], own_bias.is_some());
            let by = By { steps: self.by.steps, gradient: self.by.gradient, reach: self.by.reach as usize };
            let own = rows.gathered(&tensor.to_f32());
            let (fit, learned) = learn(&problem, &own, &fits[nth].0, &of, by);
            let values = fit.values(&of);
            if let Some((id, tensor)) = own_bias {
                let mean = |row: usize| -> f64 {
                    let own = &values[row * rows.width()..(row + 1) * rows.width()];
                    own.iter().zip(&mean_x).map(|(&w, x)| f64::from(w) * x).sum()
                };
                let old = tensor.to_f32();
                let new: Vec<f32> =
                    (0..rows.n).map(|row| (f64::from(old[row]) + mean_y[row] - mean(row)) as f32).collect();
                turn.params.set(id, like(tensor, new.clone()));
                biases.insert(id, new);
            }
            turn.params.set(target.param, like(tensor, rows.scattered(&values)));
            let share = |loss: f64| if variance > 0.0 { loss / variance } else { 0.0 };
            let [flips, levels] = learned.flips;
            layers.push(Layer {
                name: param.name.clone(),
                error: learned.loss.map(share),
                flips,
                reach: if flips > 0 { levels as f64 / flips as f64 } else { 0.0 },
            });
            let error = fit.error(&own, &of);
            fits[nth] = (fit, error);
            Ok(turn.evaluate()?)
        })
        .map_err(|failure| failure.0)?;
        let packed = fits.into_iter().zip(self.targets());
        let tensors = packed.map(|((fit, error), target)| (self.packed(target, fit), error)).collect();
        Ok(Learned { tensors, biases, layers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_read_where_convolutions_do() {
        let window =
            Window { kernel: vec![2, 3], stride: vec![2, 1], padding: vec![0, 1], dilation: vec![1, 1] };
        // 4 × 3 in, 2 × 3 out: the second row's first window.
        let found = places(&window, 3, &[4, 3], &[2, 3], 6);
        assert_eq!(found, [None, Some(6), Some(7), None, Some(9), Some(10)]);
    }
}
