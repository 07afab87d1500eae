//! Methods that learn filters from patches, on their way through a network.

use std::fmt;

use epoch0_engine::{Batch, Value, Weights};
use epoch0_method::Error as MethodError;
use epoch0_net::{Network, Op, Role};
use epoch0_num::Stream;
use epoch0_num::symmetric::dot;
use rayon::prelude::*;

use super::{Layers, Patches, fill_up, unit};
use crate::calibrate::{Calibration, Calibrator, Change, Error, Factor, Kind, Meeting, State, sweep};
use crate::start::{OneOrMore, Rule};

/// Numbers of a patch at most: its covariance is to be taken apart.
const WIDEST: usize = 1200;
/// Standard deviation, as a share of the largest, below which a filter's output is not brought to 1.
const FAINT: f64 = 0.01;

/// A way to make filters of patches.
pub(crate) trait Learner: fmt::Debug + Send + Sync {
    /// What all such methods are asked for, as it was answered.
    fn learning(&self) -> Learning;

    /// Filters, rows of `patches.d`; as many as asked, or fewer where patches do not give more.
    fn filters(&self, patches: &Patches, n: usize, stream: &Stream) -> Option<Vec<f64>>;
}

/// What all such methods are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Learning {
    pub(crate) method: &'static str,
    pub(crate) layers: Layers,
    /// Whether filters are left as they are learned.
    pub(crate) raw: bool,
    /// Patches at most.
    pub(crate) patches: u32,
}

impl<L: Learner> Calibrator for L {
    fn draws(&self) -> Vec<Rule> {
        usual()
    }

    fn calibrate(
        &self,
        network: &Network,
        weights: &mut Weights,
        batch: &Batch,
    ) -> Result<Calibration, Error> {
        learned(self.learning(), self, network, weights, &batch.inputs)
    }
}

/// What stands below the filters: He's start, and biases of zero.
fn usual() -> Vec<Rule> {
    let words = |words: &[&str]| OneOrMore::Any(words.iter().map(|&word| word.to_owned()).collect());
    vec![
        Rule {
            with: Some("he_normal".to_owned()),
            role: Some(words(&[Role::Weight, Role::Readout].map(Role::name))),
            op: Some(words(&["linear", "conv"])),
            ..Rule::default()
        },
        Rule { with: Some("zeros".to_owned()), role: Some(words(&[Role::Bias.name()])), ..Rule::default() },
    ]
}

/// Replaces the weights of a network's layers by filters that are learned from what they read.
fn learned(
    by: Learning,
    learner: &dyn Learner,
    network: &Network,
    weights: &mut Weights,
    inputs: &[Value],
) -> Result<Calibration, Error> {
    let is_map = |site: &&epoch0_net::Site| {
        let op = &network.nodes()[site.node.0 as usize].op;
        site.role == Role::Weight
            && matches!(op, Op::Linear { .. } | Op::Conv { transposed: false, .. })
            && !site.view.in_.is_empty()
    };
    let first = network.sites().iter().filter(is_map).map(|site| site.depth).min();
    sweep(by.method, network, weights, inputs, |met| {
        let before = met.spread(1.0, None)?;
        let left = |why: &str| Ok(Change::none(before, why));
        match met.op {
            _ if met.used_before.is_some() => return left("tied: its first use has decided"),
            Op::Linear { .. } | Op::Conv { transposed: false, .. } if met.kind == Kind::Map => {}
            _ => return left("no map that reads patches"),
        }
        if met.site.role != Role::Weight {
            return left("as it was drawn: filters are for weights before a readout");
        }
        if by.layers == Layers::First && Some(met.site.depth) != first {
            return left("as it was drawn: not a first layer");
        }
        by.layer(learner, met, before)
    })
}

impl Learning {
    fn layer(
        &self,
        learner: &dyn Learner,
        met: &Meeting<'_>,
        before: crate::calibrate::Spread,
    ) -> Result<Change, Error> {
        let view = &met.site.view;
        let (groups, n) = (view.n_batch(), view.n_out());
        let d = view.n_in() * view.receptive_shape().iter().product::<usize>();
        if d > WIDEST {
            let why = format!("as it was drawn: patches of {d} numbers, at most {WIDEST} are learned from");
            return Ok(Change::none(before, why));
        }
        let drawn = met.weights();
        // The seed of the start is in the weights that it drew.
        let mut seed: u64 = 0xcbf2_9ce4_8422_2325;
        drawn.iter().for_each(|weight| seed = (seed ^ weight.to_bits()).wrapping_mul(0x0100_0000_01b3));
        let stream = Stream::new(seed, &met.site.label());
        let refused = |why: &str, hint: &str| -> Error {
            let (method, what) = (self.method.to_owned(), met.site.label());
            MethodError::Unsupported { method, what, why: why.to_owned(), hint: hint.to_owned() }.into()
        };
        let input = met.input.map(|input| (input.value().shape(), input.value().to_f64()));
        let (shape, values) = input.unwrap_or_default();
        let (mut weights, mut flat, mut fewest) = (Vec::with_capacity(drawn.len()), 0, n);
        for group in 0..groups {
            let stream = if groups > 1 { stream.child(&group.to_string()) } else { stream };
            let patches =
                Patches::of(met, (&shape, &values), group, self.patches as usize, &stream.child("patches"));
            let patches = patches.filter(|patches| patches.d == d && patches.len() > 1).ok_or_else(|| {
                refused("there are less than two patches of what it reads", "take more examples")
            })?;
            if patches.is_flat() {
                flat += 1;
                weights.extend_from_slice(&drawn[group * n * d..(group + 1) * n * d]);
                continue;
            }
            let filters = learner.filters(&patches, n, &stream.child("filters"));
            let mut filters = filters.ok_or_else(|| {
                refused("what it reads has no covariance of finite numbers", "give data that are finite")
            })?;
            fewest = fewest.min(filters.len() / d);
            filters = fill_up(filters, d, n, &stream);
            if !self.raw {
                to_unit_variance(&mut filters, &patches);
            }
            weights.extend(filters);
        }
        if flat == groups {
            let hint = "give data that vary; if they do, the layers before this one let nothing through";
            return Err(refused("patches of what it reads are all the same", hint));
        }
        let note = (fewest < n).then(|| {
            format!("patches give {fewest} filters of {n}, the others are made of them: take more examples or fewer filters")
        });
        let dimensions = d.min(n);
        let state = if fewest < dimensions { State::Missed } else { State::Within };
        Ok(Change { factor: Factor::New(weights), before, after: before, iterations: 1, state, note })
    }
}

/// Brings the variance of each filter's output on patches as they are read to 1; of those that hardly answer, with what is
/// the faintest answer that counts.
fn to_unit_variance(filters: &mut [f64], patches: &Patches) {
    let d = patches.d;
    let n = patches.len() as f64;
    let stds: Vec<f64> = filters
        .par_chunks(d)
        .map(|filter| {
            let answers: Vec<f64> = patches.raw.chunks(d).map(|patch| dot(filter, patch)).collect();
            let mean = answers.iter().sum::<f64>() / n;
            (answers.iter().map(|answer| (answer - mean).powi(2)).sum::<f64>() / n).sqrt()
        })
        .collect();
    let largest = stds.iter().copied().fold(0.0, f64::max);
    for (filter, std) in filters.chunks_mut(d).zip(stds) {
        let std = std.max(FAINT * largest);
        if std > 0.0 {
            filter.iter_mut().for_each(|weight| *weight /= std);
        }
    }
}

/// Spherical k-means: unit vectors, each of which is the direction of what it explains best of all. Answers them with what is
/// left unexplained after each pass.
pub(crate) fn spherical(
    data: &[f64],
    d: usize,
    mut centres: Vec<f64>,
    passes: u32,
    stream: &Stream,
) -> (Vec<f64>, Vec<f64>) {
    let n = data.len() / d;
    let whole: f64 = dot(data, data);
    centres.chunks_mut(d).for_each(unit);
    let mut left = Vec::new();
    for pass in 0..u64::from(passes) {
        let best: Vec<(usize, f64)> = data
            .par_chunks(d)
            .with_min_len(256)
            .map(|point| {
                let mut best = (0, 0.0_f64);
                for (at, centre) in centres.chunks(d).enumerate() {
                    let product = dot(point, centre);
                    if product.abs() > best.1.abs() {
                        best = (at, product);
                    }
                }
                best
            })
            .collect();
        left.push(whole - best.iter().map(|(_, product)| product * product).sum::<f64>());
        let mut sums = vec![0.0; centres.len()];
        for (point, &(at, product)) in data.chunks(d).zip(&best) {
            let sum = &mut sums[at * d..(at + 1) * d];
            sum.iter_mut().zip(point).for_each(|(sum, value)| *sum += product * value);
        }
        for (at, sum) in sums.chunks_mut(d).enumerate() {
            if sum.iter().all(|value| *value == 0.0) {
                let pick = stream.below(pass * (centres.len() / d) as u64 + at as u64, n as u64) as usize;
                sum.copy_from_slice(&data[pick * d..(pick + 1) * d]);
            }
            unit(sum);
        }
        centres = sums;
    }
    (centres, left)
}
