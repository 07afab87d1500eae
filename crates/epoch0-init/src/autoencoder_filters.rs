//! Autoencoder filters: the weights of a small denoising autoencoder of patches.
//!
//! # Idea
//! A layer from whose answers patches can be told again has kept what matters of them, even where part of a patch was
//! missing. Its weights are a start that is learned as the network will be, by gradient descent, but without labels.
//!
//! # Method
//! On patches as `pca_filters` takes them, `x`, with a share `noise` of their numbers set to 0 as `x̃`:
//! 1. `h = max(0, W x̃ + b)`, `x̂ = Wᵀ h + c`, n hidden units, one W for both
//! 2. Adam lowers `|x̂ - x|²` at rate 1e-3, in batches of 32, for `passes` epochs; W begins as N(0, 1/d)
//! 3. filters are the rows of W
//!
//! Then the filters of a layer are scaled, each by itself, so that its output on the patches as they are read has variance 1
//! (`raw` leaves them as they are learned); a filter that answers a hundredth as much as the strongest, or less, is scaled
//! as one that does. Filters beyond those that are learned are their negatives, then random rotations of them.
//!
//! # Shapes
//! Weights of convolutions, each group by itself, and of linear maps, whose patches are their inputs; readouts,
//! transposed and recurrent layers stay as they were drawn, by He's start with biases of zero. `layers: first` are those
//! that as few weights as possible come before, `all` each on what the layers before it make. Layers whose patches have
//! more than 1,200 numbers are left alone and listed.
//!
//! # Cost
//! O(passes P n d): a second for 64 filters of 5 × 5, ten for 7 × 7 × 3.
//!
//! # Departures
//! The bias b is not carried over: the network's bias stays zero.
//!
//! # Traps
//! - With more hidden units than numbers in a patch and no noise, W need not become anything.
//! - After five epochs filters are still noisy; more passes make them smoother.
//! - Scale explains much of what a start by filters gains: compare with He's start and with `random_patches`.
//! - Patches are of the batch that calibrates, 1,024 examples at most: training examples, where the data have parts.
//!
//! # Example
//! ```
//! use epoch0_init::{calibrate, start::Recipe};
//!
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, calibrate: autoencoder_filters}").unwrap();
//! assert_eq!(recipe.calibrator().unwrap().unwrap().0, "autoencoder_filters");
//! assert!(calibrate::find("autoencoder").is_ok());
//! ```
//!
//! # References
//! - [hirani2024filter] the survey

use epoch0_method::{Entry, Error as MethodError, Family, Info, Params, Status, Values, Waiver};
use epoch0_num::Law;
use epoch0_num::Stream;
use epoch0_num::symmetric::dot;

use crate::calibrate::Calibrator;
use crate::shared::filters::{Layers, Learner, Learning, Patches};

/// Parameters of filters by an autoencoder.
#[derive(Clone, Debug, Params)]
pub struct AutoencoderFilters {
    /// Layers that get filters.
    #[param(default = Layers::First)]
    pub layers: Layers,
    /// Whether filters are left as they are learned instead of being brought to unit variance of what they answer.
    #[param(default = false)]
    pub raw: bool,
    /// Patches that are learned from at most.
    #[param(default = 20_000, range = "[2, 1000000]", symbol = "P")]
    pub patches: u32,
    /// Share of a patch's numbers that are set to 0 before it is read.
    #[param(default = 0.2, range = "[0, 1)")]
    pub noise: f64,
    /// Epochs of training.
    #[param(default = 5, range = "[1, 1000]")]
    pub passes: u32,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Calibrator> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "autoencoder_filters",
    aliases: &["autoencoder"],
    family: Family::Init,
    papers: &["hirani2024filter"],
    source: include_str!("autoencoder_filters.rs"),
    params: AutoencoderFilters::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[Waiver {
        check: "directions_are_kept",
        why: "filters that are learned take the place of what was drawn",
    }],
};

fn build(values: &Values) -> Result<Box<dyn Calibrator>, MethodError> {
    Ok(Box::new(AutoencoderFilters::from_values(INFO.id, values)?))
}

impl Learner for AutoencoderFilters {
    fn learning(&self) -> Learning {
        let Self { layers, raw, patches, .. } = *self;
        Learning { method: INFO.id, layers, raw, patches }
    }

    fn filters(&self, patches: &Patches, n: usize, stream: &Stream) -> Option<Vec<f64>> {
        const BATCH: usize = 32;
        let (d, count) = (patches.d, patches.len());
        let mut net = Autoencoder::new(n, d, &stream.child("weights"));
        let cut = stream.child("noise");
        let below = (self.noise * f64::from(u32::MAX)) as u32;
        let mut words = vec![0; d];
        let mut seen = 0;
        for epoch in 0..u64::from(self.passes) {
            let order = stream.child(&format!("order {epoch}"));
            for batch in 0..count.div_ceil(BATCH) {
                let size = BATCH.min(count - batch * BATCH);
                for at in 0..size {
                    let pick = order.below((batch * BATCH + at) as u64, count as u64) as usize;
                    cut.words(seen * d as u64, &mut words);
                    seen += 1;
                    let patch = patches.patch(pick);
                    let read = patch.iter().zip(&words).map(|(x, &word)| if word < below { 0.0 } else { *x });
                    net.learn(&read.collect::<Vec<f64>>(), patch, 1.0 / size as f64);
                }
                net.step();
            }
        }
        Some(net.weights[..n * d].to_vec())
    }
}

/// Weights `[n, d]`, then biases of hidden units and of what comes out, with their Adam state.
struct Autoencoder {
    n: usize,
    d: usize,
    weights: Vec<f64>,
    slopes: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
    steps: i32,
}

impl Autoencoder {
    fn new(n: usize, d: usize, stream: &Stream) -> Self {
        let mut weights = vec![0.0; n * d + n + d];
        let law = Law::normal(0.0, (1.0 / d as f64).sqrt());
        law.fill(stream, 0, &mut weights[..n * d]).expect("a law in range");
        let zeros = vec![0.0; weights.len()];
        Self { n, d, weights, slopes: zeros.clone(), first: zeros.clone(), second: zeros, steps: 0 }
    }

    /// Adds the slopes of `share / 2 |x̂ - x|²`.
    fn learn(&mut self, read: &[f64], wanted: &[f64], share: f64) {
        let (n, d) = (self.n, self.d);
        let (weights, biases) = self.weights.split_at(n * d);
        let answer = |(row, bias): (&[f64], &f64)| (dot(row, read) + bias).max(0.0);
        let hidden: Vec<f64> = weights.chunks(d).zip(biases).map(answer).collect();
        let mut off: Vec<f64> = biases[n..].iter().zip(wanted).map(|(c, x)| c - x).collect();
        for (row, &h) in weights.chunks(d).zip(&hidden).filter(|(_, h)| **h > 0.0) {
            off.iter_mut().zip(row).for_each(|(off, weight)| *off += h * weight);
        }
        off.iter_mut().for_each(|off| *off *= share);
        let (slopes, of_biases) = self.slopes.split_at_mut(n * d);
        for (at, &h) in hidden.iter().enumerate().filter(|(_, h)| **h > 0.0) {
            let slope = dot(&weights[at * d..(at + 1) * d], &off);
            of_biases[at] += slope;
            for ((sum, x), off) in slopes[at * d..(at + 1) * d].iter_mut().zip(read).zip(&off) {
                *sum += slope * x + h * off;
            }
        }
        of_biases[n..].iter_mut().zip(&off).for_each(|(sum, off)| *sum += off);
    }

    fn step(&mut self) {
        const RATE: f64 = 1e-3;
        const BETAS: (f64, f64) = (0.9, 0.999);
        self.steps += 1;
        let (one, two) = (1.0 - BETAS.0.powi(self.steps), 1.0 - BETAS.1.powi(self.steps));
        for at in 0..self.weights.len() {
            let slope = std::mem::take(&mut self.slopes[at]);
            self.first[at] = BETAS.0 * self.first[at] + (1.0 - BETAS.0) * slope;
            self.second[at] = BETAS.1 * self.second[at] + (1.0 - BETAS.1) * slope * slope;
            self.weights[at] -= RATE * (self.first[at] / one) / ((self.second[at] / two).sqrt() + 1e-8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_those_of_the_error() {
        let mut net = Autoencoder::new(3, 4, &Stream::new(1, "weights"));
        net.weights[12..].copy_from_slice(&[0.3, 0.2, 0.1, -0.1, 0.2, 0.0, 0.4]);
        let (read, wanted) = ([0.5, 0.0, -1.0, 2.0], [0.5, 1.0, -1.0, 2.0]);
        let error = |weights: &[f64]| {
            let hidden: Vec<f64> =
                (0..3).map(|k| (dot(&weights[k * 4..k * 4 + 4], &read) + weights[12 + k]).max(0.0)).collect();
            let out =
                |j: usize| weights[15 + j] + (0..3).map(|k| hidden[k] * weights[k * 4 + j]).sum::<f64>();
            0.5 * (0..4).map(|j| (out(j) - wanted[j]).powi(2)).sum::<f64>()
        };
        net.learn(&read, &wanted, 1.0);
        for at in 0..net.weights.len() {
            let moved = |by: f64| {
                let mut weights = net.weights.clone();
                weights[at] += by;
                error(&weights)
            };
            let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!((slope - net.slopes[at]).abs() < 1e-6, "{at}: {slope} {}", net.slopes[at]);
        }
    }
}
