//! A multilayer perceptron small enough for claims: forward, backward and plain gradient descent.
//!
//! Sums run in one order whatever the number of threads, so results are the same everywhere.

use epoch0_method::{ArrayMut, At, Error, Initializer};
use epoch0_net::{Builder, Linear, NetError, Network, Role, Site, Source};
use epoch0_num::{Activation, Dtype, Stream};

use super::{Examples, broken};

/// A linear map and its bias.
#[derive(Clone, Debug)]
struct Layer {
    n_in: usize,
    n_out: usize,
    /// `[in, out]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// Layers with one activation between them.
#[derive(Clone, Debug)]
pub(crate) struct Mlp {
    layers: Vec<Layer>,
    act: Activation,
}

/// What a forward pass computes.
pub(crate) struct Pass {
    /// What each layer reads, `[example, unit]`: the inputs, then what follows each activation.
    pub(crate) inputs: Vec<Vec<f32>>,
    /// What each layer computes, before the activation; the last are the logits.
    pub(crate) outputs: Vec<Vec<f32>>,
}

/// How a network is trained.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Training {
    pub(crate) lr: f32,
    pub(crate) epochs: usize,
    pub(crate) batch: usize,
    pub(crate) seed: u64,
}

/// The network of these widths, inputs first; `act` stands behind every layer but the last.
pub(crate) fn network(widths: &[usize], act: &Activation) -> Result<Network, NetError> {
    let mut b = Builder::new("mlp", Source::Built, Dtype::F32);
    let mut x = b.input("x", &[None, Some(widths[0])]);
    for (nth, &width) in widths[1..].iter().enumerate() {
        x = b.linear(x, &format!("fc{nth}"), Linear::new(width));
        if nth + 2 < widths.len() {
            x = b.activation(x, act.clone());
        }
    }
    b.output(x, "logits");
    b.finish()
}

impl Mlp {
    /// A network whose weights are drawn by `method`, and whose biases are too where it covers them, otherwise 0.
    pub(crate) fn start(
        widths: &[usize],
        act: &Activation,
        method: &dyn Initializer,
        seed: u64,
    ) -> Result<Self, Error> {
        let net = network(widths, act).map_err(|error| broken(&error))?;
        let draw = |site: &Site, out: &mut [f32]| {
            method.fill(&At { net: &net, site }, &Stream::new(seed, &site.name), ArrayMut::F32(out))
        };
        let mut layers: Vec<Layer> = Vec::new();
        for site in net.sites() {
            if site.role == Role::Weight {
                let (n_in, n_out) = (site.view.n_in(), site.view.n_out());
                let mut weight = vec![0.0; n_in * n_out];
                draw(site, &mut weight)?;
                layers.push(Layer { n_in, n_out, weight: transposed(&weight, n_in), bias: vec![0.0; n_out] });
            } else if method.covers(&At { net: &net, site })
                && let Some(layer) = layers.last_mut()
            {
                draw(site, &mut layer.bias)?;
            }
        }
        Ok(Self { layers, act: act.clone() })
    }

    /// Runs examples `[example, unit]` through the layers.
    pub(crate) fn forward(&self, examples: &[f32]) -> Pass {
        let n = examples.len() / self.layers[0].n_in;
        let mut pass = Pass { inputs: vec![examples.to_vec()], outputs: Vec::new() };
        for (nth, layer) in self.layers.iter().enumerate() {
            let mut output = layer.bias.repeat(n);
            multiply_add(&pass.inputs[nth], &layer.weight, layer.n_in, &mut output, layer.n_out);
            if nth + 1 < self.layers.len() {
                let value = |&y: &f32| self.act.value(f64::from(y)) as f32;
                pass.inputs.push(output.iter().map(value).collect());
            }
            pass.outputs.push(output);
        }
        pass
    }

    /// Gradients of the mean cross entropy: of each layer's weight `[in, out]` and bias.
    pub(crate) fn gradients(&self, pass: &Pass, classes: &[u8]) -> Vec<(Vec<f32>, Vec<f32>)> {
        let logits = pass.outputs.last().expect("a network has layers");
        let n_classes = logits.len() / classes.len();
        let mut delta = logits.clone();
        for (row, &class) in delta.chunks_mut(n_classes).zip(classes) {
            softmax(row);
            row[usize::from(class)] -= 1.0;
            for value in row {
                *value /= classes.len() as f32;
            }
        }
        let mut gradients = Vec::new();
        for (nth, layer) in self.layers.iter().enumerate().rev() {
            let mut weight = vec![0.0; layer.weight.len()];
            let by_unit = transposed(&pass.inputs[nth], layer.n_in);
            multiply_add(&by_unit, &delta, classes.len(), &mut weight, layer.n_out);
            let mut bias = vec![0.0; layer.n_out];
            for row in delta.chunks(layer.n_out) {
                bias.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            gradients.push((weight, bias));
            if nth > 0 {
                let mut below = vec![0.0; classes.len() * layer.n_in];
                let weight = transposed(&layer.weight, layer.n_out);
                multiply_add(&delta, &weight, layer.n_out, &mut below, layer.n_in);
                for (value, &y) in below.iter_mut().zip(&pass.outputs[nth - 1]) {
                    *value *= self.act.derivative(f64::from(y)) as f32;
                }
                delta = below;
            }
        }
        gradients.reverse();
        gradients
    }

    /// Trains by gradient descent on examples in an order that is shuffled each epoch.
    pub(crate) fn train(&mut self, examples: &Examples, training: Training) {
        let stream = Stream::new(training.seed, "order of examples");
        let n = examples.len();
        let mut order: Vec<usize> = (0..n).collect();
        for epoch in 0..training.epochs {
            for last in (1..n).rev() {
                order.swap(last, stream.below((epoch * n + last) as u64, last as u64 + 1) as usize);
            }
            for batch in order.chunks(training.batch) {
                let (inputs, classes) = examples.pick(batch);
                let pass = self.forward(&inputs);
                let gradients = self.gradients(&pass, &classes);
                for (layer, (weight, bias)) in self.layers.iter_mut().zip(&gradients) {
                    step(&mut layer.weight, weight, training.lr);
                    step(&mut layer.bias, bias, training.lr);
                }
            }
        }
    }

    /// Mean cross entropy in nats over all examples.
    pub(crate) fn loss(&self, examples: &Examples) -> f64 {
        const BATCH: usize = 500;
        let all: Vec<usize> = (0..examples.len()).collect();
        let mut sum = 0.0;
        for batch in all.chunks(BATCH) {
            let (inputs, classes) = examples.pick(batch);
            let mut pass = self.forward(&inputs);
            let mut logits = pass.outputs.pop().expect("a network has layers");
            let n_classes = logits.len() / classes.len();
            for (row, &class) in logits.chunks_mut(n_classes).zip(&classes) {
                let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let total: f64 = row.iter().map(|&value| f64::from(value - largest).exp()).sum();
                sum += total.ln() - f64::from(row[usize::from(class)] - largest);
            }
        }
        sum / examples.len() as f64
    }
}

fn step(values: &mut [f32], gradient: &[f32], lr: f32) {
    values.iter_mut().zip(gradient).for_each(|(value, slope)| *value -= lr * slope);
}

fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for value in row.iter_mut() {
        *value = (*value - largest).exp();
    }
    let sum: f32 = row.iter().sum();
    for value in row {
        *value /= sum;
    }
}

/// `[n, width]` as `[width, n]`.
fn transposed(matrix: &[f32], width: usize) -> Vec<f32> {
    let n = matrix.len() / width;
    let mut out = vec![0.0; matrix.len()];
    for (row, values) in matrix.chunks(width).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            out[column * n + row] = value;
        }
    }
    out
}

/// `c += a b` for `a: [m, k]`, `b: [k, n]`, `c: [m, n]`.
fn multiply_add(a: &[f32], b: &[f32], k: usize, c: &mut [f32], n: usize) {
    const AT_ONCE: usize = 4;
    for (left, out) in a.chunks(k).zip(c.chunks_mut(n)) {
        let (mut factors, mut rows) = (left.chunks_exact(AT_ONCE), b.chunks_exact(AT_ONCE * n));
        for (four, rows) in (&mut factors).zip(&mut rows) {
            let (r0, rest) = rows.split_at(n);
            let (r1, rest) = rest.split_at(n);
            let (r2, r3) = rest.split_at(n);
            for ((((sum, w0), w1), w2), w3) in out.iter_mut().zip(r0).zip(r1).zip(r2).zip(r3) {
                *sum += (four[0] * w0 + four[1] * w1) + (four[2] * w2 + four[3] * w3);
            }
        }
        for (&factor, row) in factors.remainder().iter().zip(rows.remainder().chunks(n)) {
            out.iter_mut().zip(row).for_each(|(sum, weight)| *sum += factor * weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kumar::Kumar;

    #[test]
    fn gradients_are_those_of_the_loss() {
        let examples = Examples::mixture(24, 6, 3, 1).unwrap();
        let mut net = Mlp::start(&[6, 5, 4, 3], &Activation::Tanh, &Kumar::default(), 3).unwrap();
        let all: Vec<usize> = (0..24).collect();
        let (inputs, classes) = examples.pick(&all);
        let gradients = net.gradients(&net.forward(&inputs), &classes);
        for (layer, (slopes, _)) in gradients.iter().enumerate() {
            for index in [0, 7] {
                let mut at = |offset: f32| {
                    let before = net.layers[layer].weight[index];
                    net.layers[layer].weight[index] = before + offset;
                    let loss = net.loss(&examples);
                    net.layers[layer].weight[index] = before;
                    loss
                };
                let numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
                let exact = f64::from(slopes[index]);
                assert!((numeric - exact).abs() < 1e-4, "layer {layer}: {numeric} and {exact}");
            }
        }
        let bias = f64::from(gradients[2].1.iter().sum::<f32>());
        assert!(bias.abs() < 1e-6, "what softmax gives its classes sums to nothing: {bias}");
    }

    #[test]
    fn products_take_widths_that_four_does_not_divide() {
        let mut c = vec![1.0; 4];
        multiply_add(
            &[1., 2., 3., 4., 5., 6., 7., 8., 9., 10.],
            &[1., 0., 0., 1., 1., 1., 2., 0., 0., 2.],
            5,
            &mut c,
            2,
        );
        assert_eq!(c, [1. + 12., 1. + 15., 1. + 32., 1. + 35.]);
    }
}
