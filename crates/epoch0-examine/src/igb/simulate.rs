//! Perceptrons drawn at random, for the claims.

use epoch0_method::Error;
use epoch0_num::{Activation, Law, Stream};
use rayon::prelude::*;

/// A perceptron's shape, without biases.
#[derive(Clone, Debug)]
pub(super) struct Nets {
    pub(super) act: Activation,
    pub(super) n_inputs: usize,
    pub(super) width: usize,
    pub(super) depth: usize,
    pub(super) sigma_w: f32,
}

/// Gaussian inputs `[example, input]`.
pub(super) fn gaussian_inputs(n: usize, n_inputs: usize, seed: u64) -> Result<Vec<f32>, Error> {
    normals(n * n_inputs, &Stream::new(seed, "inputs"))
}

fn normals(len: usize, stream: &Stream) -> Result<Vec<f32>, Error> {
    let mut out = vec![0.0f32; len];
    let drawn = Law::normal(0.0, 1.0).fill(stream, 0, &mut out);
    drawn.map_err(|error| Error::Recipe { place: "a claim's network".to_owned(), why: error.to_string() })?;
    Ok(out)
}

impl Nets {
    /// For each draw of the weights, the logits `[example, 2]` of all inputs.
    fn logits(&self, inputs: &[f32], seed: u64) -> Result<Vec<f32>, Error> {
        let stream = Stream::new(seed, "weights");
        let mut x = inputs.to_vec();
        let mut n_in = self.n_inputs;
        for layer in 0..=self.depth {
            let n_out = if layer == self.depth { 2 } else { self.width };
            let weight = normals(n_in * n_out, &stream.child(&layer.to_string()))?;
            let scale = self.sigma_w / (n_in as f32).sqrt();
            let mut out = vec![0.0f32; x.len() / n_in * n_out];
            for (row, sums) in x.chunks(n_in).zip(out.chunks_mut(n_out)) {
                multiply(row, &weight, sums);
                for sum in sums {
                    *sum *= scale;
                    if layer < self.depth {
                        *sum = self.act.value(f64::from(*sum)) as f32;
                    }
                }
            }
            (x, n_in) = (out, n_out);
        }
        Ok(x)
    }

    /// The share of the first of two classes in each draw; ties count half.
    pub(super) fn shares(&self, inputs: &[f32], draws: u64, seed: u64) -> Result<Vec<f64>, Error> {
        let share = |draw: u64| {
            let logits = self.logits(inputs, seed * 1_000_003 + draw)?;
            let wins = logits.chunks(2).map(|pair| match pair[0].total_cmp(&pair[1]) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            });
            Ok(wins.sum::<f64>() / (logits.len() / 2) as f64)
        };
        (0..draws).into_par_iter().map(share).collect()
    }
}

/// `sums += row · weight` for `weight [in, out]`, four inputs at once.
fn multiply(row: &[f32], weight: &[f32], sums: &mut [f32]) {
    let n = sums.len();
    let (mut fours, mut rows) = (row.chunks_exact(4), weight.chunks_exact(4 * n));
    for (x, w) in (&mut fours).zip(&mut rows) {
        let (w0, rest) = w.split_at(n);
        let (w1, rest) = rest.split_at(n);
        let (w2, w3) = rest.split_at(n);
        for ((((sum, a), b), c), d) in sums.iter_mut().zip(w0).zip(w1).zip(w2).zip(w3) {
            *sum += (x[0] * a + x[1] * b) + (x[2] * c + x[3] * d);
        }
    }
    for (&x, w) in fours.remainder().iter().zip(rows.remainder().chunks(n)) {
        sums.iter_mut().zip(w).for_each(|(sum, w)| *sum += x * w);
    }
}
