//! Stochastic block graphs with features.
//!
//! Node `i` is of class `i mod classes`. Each pair of nodes has an edge with probability p within a class and p / ratio
//! between two, p such that a node has `degree` edges on average (P. Holland, K. Laskey, S. Leinhardt, "Stochastic
//! blockmodels: first steps", Social Networks 1983). Features are N(0, 1) around `signal` times a random direction of
//! length 1 for each class (Y. Deshpande, S. Sen, A. Montanari, E. Mossel, "Contextual stochastic block models",
//! NeurIPS 2018). With `tail` a pair's probability is multiplied by both nodes' factors, whose law is Pareto's with that
//! exponent and mean 1: few nodes have many edges, which are then fewer than `degree` where a probability would be above
//! 1 (B. Karrer, M. Newman, "Stochastic blockmodels and community structure in networks", Physical Review E 2011; F.
//! Chung, L. Lu 2002). The first `train` nodes of each class are trained on, the `validation` nodes that follow those
//! validate, all others test.
//!
//! # Shapes
//! A graph of `n` nodes with features `[n, dim]`.
//!
//! # Cost
//! One word for each pair of nodes.

use std::ops::RangeInclusive;

use epoch0_net::zoo::spec::Spec;
use epoch0_num::Stream;
use rayon::prelude::*;

use super::{SCALE, check_count, check_real, normals, seed, uniform};
use crate::array::Array;
use crate::{Error, Graph, Role};

/// Parameters of [`blocks`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlocksConfig {
    /// Nodes, 2 to 100,000.
    pub n: usize,
    /// Classes, 1 to 1,000 and at most `n`.
    pub classes: usize,
    /// Edges of a node, on average; more than 0, and such that no probability is above 1.
    pub degree: f64,
    /// How many times likelier an edge is within a class than between two; 10^-3 to 10^6. Below 1 unlike nodes meet.
    pub ratio: f64,
    /// Exponent of the law of degrees, above 2 and at most 100; 0 for nodes that are alike.
    pub tail: f64,
    /// Features of a node, 1 to 65,536.
    pub dim: usize,
    /// How far the means of a class's features are from 0, in standard deviations of a feature; 0 to 10^6.
    pub signal: f64,
    /// Nodes of each class that are trained on, 1 or more.
    pub train: usize,
    /// Nodes that validate, of all classes together.
    pub validation: usize,
    /// Seed of edges and features.
    pub seed: u64,
}

impl Default for BlocksConfig {
    fn default() -> Self {
        Self {
            n: 1000,
            classes: 4,
            degree: 10.0,
            ratio: 10.0,
            tail: 0.0,
            dim: 32,
            signal: 1.0,
            train: 20,
            validation: 100,
            seed: 0,
        }
    }
}

const NODES: RangeInclusive<usize> = 2..=100_000;
const CLASSES: RangeInclusive<usize> = 1..=1000;
const DIM: RangeInclusive<usize> = 1..=1 << 16;

/// Draws a stochastic block graph.
///
/// # Errors
/// When a parameter is out of its range, or the features have more than 2^28 numbers.
pub fn blocks(config: BlocksConfig) -> Result<Graph, Error> {
    let BlocksConfig { n, classes, dim, .. } = config;
    check_count("blocks", "n", n, &NODES)?;
    check_count("blocks", "classes", classes, &(1..=n.min(*CLASSES.end())))?;
    check_count("blocks", "dim", dim, &DIM)?;
    check_count("blocks", "n × dim", n * dim, &(1..=1 << 28))?;
    check_count("blocks", "train", config.train, &(1..=n))?;
    check_count("blocks", "validation", config.validation, &(0..=n))?;
    check_real("blocks", "ratio", config.ratio, &(1e-3..=1e6))?;
    check_real("blocks", "signal", config.signal, &SCALE)?;
    let (within, between) = probabilities(config)?;
    let stream = Stream::new(config.seed, "data/blocks");
    let factors = factors(&stream.child("factors"), n, config.tail)?;
    let n_train = config.train.saturating_mul(classes);
    let role = |node: usize| match node {
        _ if node < n_train => Role::Train,
        _ if node < n_train.saturating_add(config.validation) => Role::Validation,
        _ => Role::Test,
    };
    Ok(Graph {
        edges: edges(&stream.child("edges"), &factors, classes, within, between),
        features: features(&stream, config)?,
        labels: (0..n).map(|node| Some((node % classes) as u32)).collect(),
        class_names: (0..classes).map(|class| class.to_string()).collect(),
        roles: (0..n).map(role).collect(),
    })
}

/// Of an edge within a class, and between two.
fn probabilities(config: BlocksConfig) -> Result<(f64, f64), Error> {
    let BlocksConfig { n, classes, degree, ratio, .. } = config;
    // Pairs of each kind, exactly: class c has ⌈(n − c) / classes⌉ nodes.
    let pairs = |n: usize| (n as f64) * (n as f64 - 1.0) / 2.0;
    let n_within: f64 = (0..classes).map(|class| pairs((n - class).div_ceil(classes))).sum();
    let n_between = pairs(n) - n_within;
    let within = degree * n as f64 / 2.0 / (n_within + n_between / ratio);
    let most = if n_between > 0.0 { within.max(within / ratio) } else { within };
    if degree > 0.0 && most <= 1.0 {
        return Ok((within, (within / ratio).min(1.0)));
    }
    let allowed = format!("more than 0 and at most {}", degree.abs() / most.abs());
    Err(Error::param("blocks", "degree", degree, if most.is_finite() { allowed } else { "finite".into() }))
}

/// Factors of the nodes' probabilities, of mean 1 over draws.
fn factors(stream: &Stream, n: usize, tail: f64) -> Result<Vec<f64>, Error> {
    if tail == 0.0 {
        return Ok(vec![1.0; n]);
    }
    if !(tail > 2.0 && tail <= 100.0) {
        return Err(Error::param("blocks", "tail", tail, "0, or more than 2 and at most 100"));
    }
    let least = (tail - 2.0) / (tail - 1.0);
    let factor = |node: usize| {
        let share = 1.0 - uniform(stream, node as u64, 0.0, 1.0);
        least * libm::pow(share, -1.0 / (tail - 1.0))
    };
    Ok((0..n).map(factor).collect())
}

fn edges(stream: &Stream, factors: &[f64], classes: usize, within: f64, between: f64) -> Vec<[u32; 2]> {
    let n = factors.len();
    // An edge is there if its word is below the bound, of 2^32.
    let bound = |probability: f64| (probability.min(1.0) * 4_294_967_296.0).round() as u64;
    let of_node = |a: usize| {
        // Row `a` has the words of its pairs with all that come later; rows follow each other as in a square.
        let mut words = vec![0; n - a - 1];
        stream.words((a * n + a + 1) as u64, &mut words);
        let is_edge = |(b, word): (usize, u32)| {
            let probability = if a % classes == b % classes { within } else { between };
            let is_there = u64::from(word) < bound(probability * factors[a] * factors[b]);
            is_there.then_some([a as u32, b as u32])
        };
        (a + 1..n).zip(words).filter_map(is_edge).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<[u32; 2]>> = (0..n).into_par_iter().map(of_node).collect();
    rows.concat()
}

fn features(stream: &Stream, config: BlocksConfig) -> Result<Array<f32>, Error> {
    let BlocksConfig { n, classes, dim, signal, .. } = config;
    let mut means = vec![0.0f64; classes * dim];
    normals(&stream.child("means"), 0, &mut means);
    for mean in means.chunks_exact_mut(dim) {
        let length = mean.iter().map(|value| value * value).sum::<f64>().sqrt();
        mean.iter_mut().for_each(|value| *value *= signal / length);
    }
    let mut data = vec![0.0f32; n * dim];
    normals(&stream.child("features"), 0, &mut data);
    for (node, row) in data.chunks_exact_mut(dim).enumerate() {
        let mean = &means[node % classes * dim..];
        row.iter_mut().zip(mean).for_each(|(value, mean)| *value += *mean as f32);
    }
    Array::new([n, dim], data)
}

pub(super) fn read(spec: &mut Spec<'_>) -> Result<BlocksConfig, String> {
    let default = BlocksConfig::default();
    Ok(BlocksConfig {
        n: spec.size("n", default.n, &NODES)?,
        classes: spec.size("classes", default.classes, &CLASSES)?,
        degree: spec.real("degree", default.degree)?,
        ratio: spec.real("ratio", default.ratio)?,
        tail: spec.real("tail", default.tail)?,
        dim: spec.size("dim", default.dim, &DIM)?,
        signal: spec.real("signal", default.signal)?,
        train: spec.size("train", default.train, &NODES)?,
        validation: spec.size("validation", default.validation, &(0..=*NODES.end()))?,
        seed: seed(spec)?,
    })
}
