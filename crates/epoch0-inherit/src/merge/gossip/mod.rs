//! Networks that are trained by themselves and merged with their neighbours' in turn.
//!
//! Nodes of a graph each train a network on examples of their own. After every so many steps each puts a mean of its own and
//! its neighbours' weights in the place of its own, all at once; what its optimizer remembers stays with it. Everything is a
//! function of the seed, whatever the number of threads.

mod partition;
mod topology;

use std::sync::atomic::{AtomicBool, Ordering};

use epoch0_data::{Dataset, Examples};
use epoch0_engine::{Device, Precision, Tensor, Weights};
use epoch0_method::Error;
use epoch0_net::{Network, ParamId};
use epoch0_num::Stream;
use epoch0_train::claims::of;
use epoch0_train::{Settings, Trainer};
use rayon::prelude::*;
use serde::Serialize;

pub use partition::Partition;
pub use topology::Topology;

use self::topology::wrong;
use super::{Averager, Comoments, Kind, averaged};

/// What nodes do with each other's networks.
#[derive(Debug)]
pub enum Exchange {
    /// Nothing.
    None,
    /// Each takes the mean of its own, which comes first, and its neighbours'.
    Neighbours(Box<dyn Averager>),
    /// A server takes the mean of all, and each takes that.
    Server(Box<dyn Averager>),
    /// Of each tensor a share of the elements, drawn anew each time, as [`Exchange::Neighbours`]; the rest stays.
    Sampled(Box<dyn Averager>, f64),
    /// One network is handed on until all have it; then as [`Exchange::Neighbours`].
    First(Box<dyn Averager>),
}

/// A simulation.
#[derive(Debug)]
pub struct Gossip<'a> {
    /// The network of every node.
    pub network: &'a Network,
    /// Examples to train on, which are dealt out, and to test on.
    pub data: &'a Dataset,
    /// How many nodes.
    pub nodes: usize,
    /// Who talks to whom.
    pub topology: Topology,
    /// Who has which examples.
    pub partition: Partition,
    /// What nodes do with each other's networks.
    pub exchange: Exchange,
    /// Steps between two exchanges, at least 1.
    pub every: u64,
    /// How nodes train; the length is that of the simulation.
    pub settings: Settings,
    /// Steps between two looks, at least 1.
    pub look_every: u64,
    /// Seed of the graph, of who has which examples, and of what is drawn on the way.
    pub seed: u64,
    /// Once true, it stops.
    pub cancel: Option<&'a AtomicBool>,
}

/// What all nodes look like at a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Look {
    /// Steps taken by each.
    pub step: u64,
    /// Mean test accuracy, 0 to 1.
    pub accuracy: f64,
    /// Smallest and largest test accuracy of a node.
    pub range: (f64, f64),
    /// Mean test loss.
    pub loss: f64,
    /// Standard deviation of each weight tensor over that at the start, on average.
    pub std: f64,
    /// Correlation of two nodes' weights, on average over tensors and pairs.
    pub correlation: f64,
}

/// Weights of all nodes, by parameter.
type All = Vec<Vec<Vec<f32>>>;

impl Gossip<'_> {
    /// Runs it. `start` gives the weights that a node begins with; `seen` is told each look.
    ///
    /// # Errors
    /// When there is no such graph or partition, or a network cannot be trained.
    pub fn run(
        &self,
        start: &(dyn Fn(usize) -> Result<Weights, Error> + Sync),
        seen: &mut dyn FnMut(&Look),
    ) -> Result<Vec<Look>, Error> {
        let Some(test) = &self.data.test else {
            return Err(wrong("data", &self.data.name, "examples to test on"));
        };
        for (name, steps) in [("every", self.every), ("look every", self.look_every)] {
            if steps == 0 {
                return Err(wrong(name, 0, "1 or more"));
            }
        }
        let stream = Stream::new(self.seed, "gossip");
        let neighbours = self.topology.neighbours(self.nodes, &stream.child("graph"))?;
        let dealt = self.partition.deal(&self.data.train, self.nodes, self.seed)?;
        let own: Vec<Dataset> = dealt.iter().map(|which| self.of_node(which)).collect();
        let mut trainers: Vec<Trainer<'_>> = own
            .par_iter()
            .enumerate()
            .map(|(node, data)| {
                let seed = stream.child("order").word_u64(node as u64);
                let settings = Settings { seed, ..self.settings };
                of(Trainer::new(self.network, start(node)?, data, settings))
            })
            .collect::<Result<_, Error>>()?;
        let first = self.weights(&trainers);
        let begun: Vec<f64> = self.matrices().map(|at| mean_std(&first[at])).collect();
        let pace = self.settings.pace(self.data.train.len().div_ceil(self.nodes));
        let steps = self.settings.length.steps(pace);
        let mut looks = Vec::new();
        let mut origins: Vec<usize> = (0..self.nodes).collect();
        for step in 1..=steps {
            if self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
                break;
            }
            trainers.par_iter_mut().try_for_each(|trainer| match of(trainer.step())? {
                (_, None) => Ok(()),
                (_, Some(what)) => Err(wrong("training", format!("{what} at step {step}"), "finite numbers")),
            })?;
            if step % self.every == 0 {
                self.exchange(&mut trainers, &neighbours, &mut origins, &stream.child(&step.to_string()));
            }
            if step % self.look_every == 0 || step == steps {
                let look = self.look(&trainers, test, step, &begun)?;
                seen(&look);
                looks.push(look);
            }
        }
        Ok(looks)
    }

    fn of_node(&self, which: &[usize]) -> Dataset {
        let mut data = Dataset::new(self.data.name.clone(), self.data.train.pick(which), None);
        data.graph.clone_from(&self.data.graph);
        data.vocabulary.clone_from(&self.data.vocabulary);
        data
    }

    /// Parameters of which signals are made.
    fn matrices(&self) -> impl Iterator<Item = usize> {
        let params = self.network.params().iter().enumerate();
        params.filter(|(_, param)| kind(param) == Kind::Weight).map(|(at, _)| at)
    }

    /// Elements of each parameter in each node's network.
    fn weights(&self, trainers: &[Trainer<'_>]) -> All {
        let of = |trainer: &Trainer<'_>, at: usize| {
            trainer.weights().get(ParamId(at as u32)).map_or_else(Vec::new, Tensor::to_f32)
        };
        let n = self.network.params().len();
        (0..n).into_par_iter().map(|at| trainers.iter().map(|trainer| of(trainer, at)).collect()).collect()
    }

    /// Puts merged networks in the place of all at once.
    fn exchange(
        &self,
        trainers: &mut [Trainer<'_>],
        neighbours: &[Vec<usize>],
        origins: &mut [usize],
        stream: &Stream,
    ) {
        let (method, mut sampled) = match &self.exchange {
            Exchange::None => return,
            Exchange::Neighbours(method) | Exchange::Server(method) | Exchange::First(method) => {
                (method, None)
            }
            Exchange::Sampled(method, share) => (method, Some(*share)),
        };
        if sampled.is_some_and(|share| share >= 1.0) {
            sampled = None;
        }
        let all = self.weights(trainers);
        let adopted: Option<Vec<usize>> = match &self.exchange {
            Exchange::First(_) if origins.iter().any(|origin| *origin != origins[0]) => {
                let best = |node: usize| {
                    neighbours[node]
                        .iter()
                        .copied()
                        .chain([node])
                        .min_by_key(|&other| origins[other])
                        .unwrap_or(node)
                };
                let from: Vec<usize> = (0..self.nodes).map(best).collect();
                let new: Vec<usize> = from.iter().map(|&other| origins[other]).collect();
                origins.copy_from_slice(&new);
                Some(from)
            }
            _ => None,
        };
        let everyone: Vec<usize> = (0..self.nodes).collect();
        let is_server = matches!(self.exchange, Exchange::Server(_));
        let precision = |trainer: &Trainer<'_>| {
            trainer.weights().iter().next().map_or(Precision::Single, |(_, tensor)| tensor.precision())
        };
        let merged = |node: usize, at: usize| -> Vec<f32> {
            if let Some(from) = &adopted {
                return all[at][from[node]].clone();
            }
            let who: Vec<usize> = if is_server {
                everyone.clone()
            } else {
                std::iter::once(node).chain(neighbours[node].iter().copied()).collect()
            };
            let views: Vec<&[f32]> = who.iter().map(|&other| all[at][other].as_slice()).collect();
            // Shares were settled when the method was made: a node and its neighbours are two or more.
            let shares = method.shares(who.len()).unwrap_or_else(|_| vec![1.0 / who.len() as f64; who.len()]);
            let param = &self.network.params()[at];
            let mut mean = averaged(&**method, kind(param), &shares, &views);
            if let Some(share) = sampled {
                let mut words = vec![0; mean.len()];
                stream.child(&param.name).words(0, &mut words);
                let is_sent = |word: u32| f64::from(word) < share * 2f64.powi(32);
                for ((value, own), word) in mean.iter_mut().zip(&all[at][node]).zip(words) {
                    if !is_sent(word) {
                        *value = *own;
                    }
                }
            }
            mean
        };
        trainers.par_iter_mut().enumerate().for_each(|(node, trainer)| {
            let mut weights = trainer.weights().clone();
            for (at, param) in self.network.params().iter().enumerate() {
                if !all[at][node].is_empty() {
                    let value =
                        Tensor::from_f32(merged(node, at), &param.shape, precision(trainer), &Device::cpu());
                    weights.set(ParamId(at as u32), value);
                }
            }
            trainer.set_weights(weights);
        });
    }

    fn look(
        &self,
        trainers: &[Trainer<'_>],
        test: &Examples,
        step: u64,
        begun: &[f64],
    ) -> Result<Look, Error> {
        let found: Vec<_> =
            trainers.par_iter().map(|trainer| of(trainer.evaluate(test))).collect::<Result<_, _>>()?;
        let n = found.len() as f64;
        let accuracies: Vec<f64> = found.iter().map(|found| found.accuracy.unwrap_or(f64::NAN)).collect();
        let all = self.weights(trainers);
        let stds: Vec<f64> =
            self.matrices().zip(begun).map(|(at, begun)| mean_std(&all[at]) / begun).collect();
        let correlations: Vec<f64> =
            self.matrices().map(|at| correlation(&all[at])).filter(|corr| !corr.is_nan()).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        Ok(Look {
            step,
            accuracy: mean(&accuracies),
            range: (
                accuracies.iter().copied().fold(f64::INFINITY, f64::min),
                accuracies.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ),
            loss: found.iter().map(|found| found.loss).sum::<f64>() / n,
            std: mean(&stds),
            correlation: mean(&correlations),
        })
    }
}

fn kind(param: &epoch0_net::Param) -> Kind {
    Kind::of(param.role, param.shape.len())
}

/// Mean over nodes of a tensor's standard deviation.
fn mean_std(nodes: &[Vec<f32>]) -> f64 {
    nodes.iter().map(|values| epoch0_num::stats::Moments::of(values).std()).sum::<f64>() / nodes.len() as f64
}

/// Mean correlation of two nodes' tensors.
fn correlation(nodes: &[Vec<f32>]) -> f64 {
    let values: Vec<Vec<f64>> =
        nodes.iter().map(|values| values.iter().map(|&x| f64::from(x)).collect()).collect();
    let views: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
    Comoments::of(&views).mean_corr()
}

/// Mixes numbers on a graph without any training: `rounds` times each node's tensor becomes the method's mean of its own and
/// its neighbours'.
///
/// # Errors
/// When the method is not for so many networks.
pub fn mix(
    method: &dyn Averager,
    neighbours: &[Vec<usize>],
    mut tensors: Vec<Vec<f32>>,
    rounds: usize,
) -> Result<Vec<Vec<f32>>, Error> {
    for _ in 0..rounds {
        let merged = |node: usize| {
            let who = std::iter::once(node).chain(neighbours[node].iter().copied());
            let views: Vec<&[f32]> = who.map(|other| tensors[other].as_slice()).collect();
            Ok(averaged(method, Kind::Weight, &method.shares(views.len())?, &views))
        };
        tensors = (0..neighbours.len()).into_par_iter().map(merged).collect::<Result<_, Error>>()?;
    }
    Ok(tensors)
}

/// A graph of so many nodes, drawn by a seed.
///
/// # Errors
/// When there is none.
pub fn graph(topology: Topology, nodes: usize, seed: u64) -> Result<Vec<Vec<usize>>, Error> {
    topology.neighbours(nodes, &Stream::new(seed, "gossip").child("graph"))
}
