//! Subnetwork selection: the part of a trained network, of a given size, that answers best before any training.
//!
//! # Idea
//! A small language model need not begin from nothing: cut it out of a larger one that is trained. Which coordinates, heads, hidden
//! units and layers are kept decides how well it answers at once, and a search for the best needs only forward passes. Trained on,
//! with the large model as a teacher (`epoch0 train --teacher`), it gets to the same loss with a fraction of the tokens.
//!
//! # Method
//! 1. A candidate is a list of places for each axis of which the child has less, and a list of layers. Candidates of the first
//!    generation are drawn.
//! 2. Each is cut out of the parent, weights as they are, and given the data's first examples. Its loss is its fitness.
//! 3. The `keep` best go on as they are. The others are replaced by children of two of them: each list is taken from one of both,
//!    and with probability `mutation` a tenth of it is exchanged for other places.
//! 4. After `generations` the best is the start.
//!
//! `search: random` draws as many candidates and takes the best.
//!
//! # Shapes
//! Any network of which both configs are of one family, the child no larger in any axis, and data that the parent answers for.
//!
//! # Cost
//! `population` + (`generations` - 1) · (`population` - `keep`) forward passes of the child over the examples; the parent's weights
//! in memory.
//!
//! # Departures
//! The paper searches sizes within a bin of parameters too; here the child's config says them. Pairs of dimensions that rotate
//! (RoPE) stay pairs, at every so many. Lists belong to the parent's layers, so that a child that takes another layer takes its
//! lists too.
//!
//! # Traps
//! - Losses on a few examples are noisy: all candidates are given the same ones.
//! - The sizes of sums over fewer inputs are not made up for, as the paper does not; `subclone` does.
//!
//! # Example
//! ```
//! use epoch0_inherit::{Needs, find};
//!
//! let method = (find("subnetwork_search").unwrap().build)(&Default::default()).unwrap();
//! assert_eq!(method.needs(), Needs::Training);
//! ```
//!
//! # References
//! - [krishnakumar2025begin] Section 3

mod claims;

use std::cell::RefCell;
use std::collections::BTreeMap;

use epoch0_data::Dataset;
use epoch0_engine::{Device, Mode, Precision, Weights, run};
use epoch0_method::{Choice, Entry, Error, Family, Info, Params, Status, Values};
use epoch0_net::{AxisId, Network};
use epoch0_num::Stream;
use epoch0_train::{Feed, beside};

use crate::axes::Leaf;
use crate::layers::fewer;
use crate::made;
use crate::pair::{Choose, Layer, Pairs, refuse};
use crate::{Inheritance, Inheritor, Kin, Needs, Training};

/// How candidates are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Search {
    /// Generation by generation, from the best.
    Evolution,
    /// At random.
    Random,
}

/// What is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Grain {
    /// Layers and places.
    Fine,
    /// Layers; of places the first.
    Coarse,
}

/// Parameters of the search.
#[derive(Clone, Debug, Params)]
pub struct SubnetworkSearch {
    /// How candidates are found.
    #[param(default = Search::Evolution)]
    pub search: Search,
    /// What is searched for.
    #[param(default = Grain::Fine)]
    pub grain: Grain,
    /// Candidates in a generation.
    #[param(default = 20, range = "[2, 10000]")]
    pub population: u32,
    /// Generations.
    #[param(default = 10, range = "[1, 10000]")]
    pub generations: u32,
    /// Candidates that go on, and that others come from.
    #[param(default = 5, range = "[1, 10000]")]
    pub keep: u32,
    /// Probability that a list is changed.
    #[param(default = 0.2, range = "[0, 1]")]
    pub mutation: f64,
    /// Examples that each is given.
    #[param(default = 64, range = "[1, 1000000]")]
    pub examples: u32,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Inheritor> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "subnetwork_search",
    aliases: &["whittle"],
    family: Family::Inherit,
    papers: &["krishnakumar2025begin"],
    source: include_str!("mod.rs"),
    params: SubnetworkSearch::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Inheritor>, Error> {
    Ok(Box::new(SubnetworkSearch::from_values(INFO.id, values)?))
}

impl Inheritor for SubnetworkSearch {
    fn needs(&self) -> Needs {
        Needs::Training
    }

    fn inherit(&self, kin: &Kin<'_>) -> Result<Inheritance, Error> {
        let on = kin.training(INFO.id)?;
        let (best, history) = self.searched(kin, on)?;
        let mut found = Pairs::new(INFO.id, kin, &Cut { by: self, genes: RefCell::new(best) })?.taken();
        let (first, last) = (history[0], history[history.len() - 1]);
        found.notes.push(format!(
            "the best of the first {} candidates has a loss of {first:.4}, that of the last {last:.4}",
            self.population
        ));
        Ok(found)
    }
}

/// Lists of a candidate.
#[derive(Clone, Debug, PartialEq)]
struct Genes {
    /// Of layers, by stack.
    layers: BTreeMap<String, Vec<usize>>,
    /// Of places, by the parent's axis.
    places: BTreeMap<AxisId, Vec<usize>>,
    /// What is not there yet is drawn with this.
    stream: Stream,
}

impl Genes {
    fn new(stream: Stream) -> Self {
        Self { layers: BTreeMap::new(), places: BTreeMap::new(), stream }
    }
}

/// Some of so many numbers, in order.
fn drawn(stream: &Stream, of: usize, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..of).collect();
    order.sort_by_key(|&at| (stream.word(at as u64), at));
    order.truncate(n);
    order.sort_unstable();
    order
}

impl SubnetworkSearch {
    /// The best candidate, and the loss of the best of each generation.
    fn searched(&self, kin: &Kin<'_>, on: Training<'_>) -> Result<(Genes, Vec<f64>), Error> {
        let root = Stream::new(kin.seed, INFO.id);
        let (n, keep) = (self.population as usize, self.keep.min(self.population) as usize);
        let mut known: Vec<(f64, Genes)> = Vec::new();
        let mut history = Vec::new();
        for generation in 0..self.generations {
            let more = if generation == 0 { n } else { n - keep };
            let born = (0..more).map(|nth| {
                let stream = root.child(&format!("{generation}/{nth}"));
                match self.search {
                    Search::Evolution if generation > 0 => child(&known[..keep], stream),
                    _ => Genes::new(stream),
                }
            });
            let born: Vec<Genes> = born.collect();
            let tried = beside(born.len(), |nth| self.loss(kin, on, born[nth].clone()))?;
            known.extend(tried);
            // Of equal ones the first found.
            known.sort_by(|a, b| a.0.total_cmp(&b.0));
            known.truncate(n);
            history.push(known[0].0);
        }
        Ok((known.swap_remove(0).1, history))
    }

    /// A candidate's loss, and its lists with what was not there yet.
    fn loss(&self, kin: &Kin<'_>, on: Training<'_>, genes: Genes) -> Result<(f64, Genes), Error> {
        let cut = Cut { by: self, genes: RefCell::new(genes) };
        let found = Pairs::new(INFO.id, kin, &cut)?.taken();
        let weights = made(&found, (kin.parent, on.parent), kin.child, on.child)?;
        let loss = loss(kin.child, &weights, on.data, self.examples as usize)?;
        Ok((if loss.is_nan() { f64::INFINITY } else { loss }, cut.genes.into_inner()))
    }
}

/// Of two of the best, changed here and there.
fn child(best: &[(f64, Genes)], stream: Stream) -> Genes {
    let pick = |at: u64| &best[stream.below(at, best.len() as u64) as usize].1;
    let (mother, father) = (pick(0), pick(1));
    let chance = |at: u64, name: &str| f64::from(stream.child(name).word(at)) / f64::from(u32::MAX);
    let mut genes = Genes::new(stream.child("new"));
    for (stack, layers) in &mother.layers {
        let layers = if chance(0, stack) < 0.5 { layers } else { father.layers.get(stack).unwrap_or(layers) };
        genes.layers.insert(stack.clone(), layers.clone());
    }
    let axes = mother.places.keys().chain(father.places.keys());
    for axis in axes.copied().collect::<std::collections::BTreeSet<_>>() {
        let name = format!("axis {}", axis.0);
        let (first, second) = if chance(0, &name) < 0.5 { (mother, father) } else { (father, mother) };
        if let Some(places) = first.places.get(&axis).or_else(|| second.places.get(&axis)) {
            genes.places.insert(axis, places.clone());
        }
    }
    // Which lists are exchanged in part is decided where their axis's size is known.
    genes.stream = stream.child("changed");
    genes
}

struct Cut<'a> {
    by: &'a SubnetworkSearch,
    genes: RefCell<Genes>,
}

impl Cut<'_> {
    /// A list that is there, changed by chance; a new one where there is none.
    fn list(&self, known: Option<Vec<usize>>, name: &str, of: usize, n: usize) -> Vec<usize> {
        let stream = self.genes.borrow().stream.child(name);
        let Some(mut list) = known.filter(|list| list.len() == n) else { return drawn(&stream, of, n) };
        let chance = f64::from(stream.word(0)) / f64::from(u32::MAX);
        if chance >= self.by.mutation || n == of {
            return list;
        }
        let others: Vec<usize> = (0..of).filter(|place| !list.contains(place)).collect();
        let n_changed = (n / 10).max(1).min(others.len());
        let (out, within) =
            (drawn(&stream.child("out"), n, n_changed), drawn(&stream.child("in"), others.len(), n_changed));
        out.into_iter().zip(within).for_each(|(at, other)| list[at] = others[other]);
        list.sort_unstable();
        list
    }
}

impl Choose for Cut<'_> {
    fn layers(&self, stack: &str, parent: usize, child: usize) -> Result<Vec<Layer>, Error> {
        fewer(INFO.id, stack, parent, child)?;
        let known = self.genes.borrow().layers.get(stack).cloned();
        let layers = self.list(known, stack, parent, child);
        self.genes.borrow_mut().layers.insert(stack.to_owned(), layers.clone());
        Ok(layers.into_iter().map(Layer::Of).collect())
    }

    fn places(&self, leaf: Leaf<'_>) -> Result<Vec<Vec<usize>>, Error> {
        let (Grain::Fine, Some(axis)) = (self.by.grain, leaf.from) else {
            return Ok(vec![(0..leaf.child).collect()]);
        };
        let known = self.genes.borrow().places.get(&axis).cloned();
        let places = self.list(known, &format!("axis {}", axis.0), leaf.parent, leaf.child);
        self.genes.borrow_mut().places.insert(axis, places.clone());
        Ok(vec![places])
    }
}

/// Mean loss of a network on the first examples: those to test on where there are some.
fn loss(net: &Network, weights: &Weights, data: &Dataset, examples: usize) -> Result<f64, Error> {
    const PIECE: usize = 16;
    let failed = |error: &dyn std::fmt::Display| {
        refuse(INFO.id, net.name(), &error.to_string(), "give data that both networks answer for")
    };
    let feed = Feed::new(net, data).map_err(|error| failed(&error))?;
    let part = data.test.as_ref().unwrap_or(&data.train);
    let all: Vec<usize> = (0..examples.min(part.len())).collect();
    let precision = weights.iter().next().map_or(Precision::Single, |(_, value)| value.precision());
    let (mut sum, mut n) = (0.0, 0usize);
    for piece in all.chunks(PIECE) {
        let inputs = feed.inputs(&part.inputs().pick(piece), precision, &Device::cpu());
        let done = run(net, &weights.constants(), &inputs, Mode::Eval, &mut |_| Ok(()))
            .map_err(|error| failed(&error))?;
        let answer = feed.answer(&done.outputs).map_err(|error| failed(&error))?;
        let found = feed.loss(answer, &part.targets().pick(piece)).map_err(|error| failed(&error))?;
        sum += found.mean.value().item() * found.n_answers as f64;
        n += found.n_answers;
    }
    Ok(sum / n as f64)
}
