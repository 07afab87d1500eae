//! Weight subcloning: a smaller network of a trained one's most important neurons, its weights scaled to fewer inputs.
//!
//! # Idea
//! What passes through a trained transformer changes little from layer to layer: some coordinates of the residual stream are large
//! everywhere, and layers in the middle add little. Keeping the places that matter most and the layers at both ends, and giving
//! weights the size that sums over fewer inputs need, is a start from which training is several times faster.
//!
//! # Method
//! 1. Scores. The parent is run on examples. A coordinate of the residual stream has the mean |x| of all that lies on the stream,
//!    the embedding and each sum, one score for the whole network; a head that of what it answers, in its layer; a hidden unit
//!    that of what it answers, in its layer. `by: weights` takes norms of weights instead, and no examples.
//! 2. The best are kept, in the parent's order. With grouped queries first groups by the sum over their queries, then queries in
//!    each group; dimensions of heads in each head, but pairs that rotate (RoPE) at every so many.
//! 3. Every weight whose inputs went from n to n' is multiplied by √(n/n'); biases, tables and normalizations are not. Where
//!    answers are read off the table of words, the last normalization is multiplied by √(n/n').
//! 4. Layers go from the middle (`layers: middle`), or where they change least what passes (`layers: data`).
//!
//! # Shapes
//! Any network of which both configs are of one family, the child no larger in any axis.
//!
//! # Cost
//! A forward pass over the examples, the parent's weights in memory for it; then reading what is taken.
//!
//! # Departures
//! The paper does not say which values are scored; here they are those above. Readouts of classes are kept where both have as
//! many.
//!
//! # Traps
//! - Answers do not stay: the gain is how fast it learns, with a smaller learning rate than from a random start (the paper: 1/20)
//!   and weight decay (1/40 to 1/100).
//! - A few coordinates may hold most of the score ("massive activations"); how much the largest has is said.
//!
//! # Example
//! ```
//! use epoch0_inherit::{Kin, Needs, find};
//! use epoch0_net::zoo;
//!
//! let (parent, child) = (zoo::build("mlp:8-16-4").unwrap(), zoo::build("mlp:8-4-4").unwrap());
//! let method = (find("subclone").unwrap().build)(&Default::default()).unwrap();
//! assert_eq!(method.needs(), Needs::Activations);
//! let error = method.inherit(&Kin::new(&parent, &child)).unwrap_err();
//! assert!(error.to_string().contains("activations"));
//! ```
//!
//! # References
//! - [samragh2023weight] Section 3

mod claims;

use std::cell::RefCell;
use std::collections::HashMap;

use epoch0_method::{Choice, Entry, Error, Family, Info, Params, Status, Values};
use epoch0_net::{AxisId, Network, Op, Param};

use crate::axes::Leaf;
use crate::layers::{even, fewer, numbered};
use crate::pair::{Choose, Layer, Pairs, refuse};
use crate::score::Scores;
use crate::uses::{is_tied, normed, norms_before, sides};
use crate::{Inheritance, Inheritor, Kin, Needs, Origin};

/// What a place is scored by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum By {
    /// Mean size of what passes through it.
    Activations,
    /// Norms of the weights at it.
    Weights,
    /// Nothing: the first places are taken.
    Order,
}

/// Which layers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Layers {
    /// Those at both ends.
    Middle,
    /// Those that change most what passes, with the first and the last.
    Data,
    /// The first.
    First,
    /// The last.
    Last,
    /// Evenly spaced.
    Uniform,
}

/// Parameters of subcloning.
#[derive(Clone, Debug, Params)]
pub struct Subclone {
    /// What a place is scored by.
    #[param(default = By::Activations)]
    pub by: By,
    /// Which layers are kept: without those in the `middle`, or by `data`.
    #[param(default = Layers::Middle)]
    pub layers: Layers,
    /// Layers by number from 0 with dashes between, `0-3-7`, instead.
    #[param(default = None)]
    pub explicit: Option<String>,
    /// Whether weights are multiplied by the root of how many times fewer inputs they have.
    #[param(default = true)]
    pub scale: bool,
    /// Whether that is made up for before a table of words that answers are read off.
    #[param(default = true)]
    pub fold: bool,
    /// Whether factors of normalizations, and their ε, are those of vectors that had only zeros at the places that are gone.
    #[param(default = false)]
    pub restore: bool,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Inheritor> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "subclone",
    aliases: &["subcloning", "weight_subcloning"],
    family: Family::Inherit,
    papers: &["samragh2023weight"],
    source: include_str!("mod.rs"),
    params: Subclone::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Inheritor>, Error> {
    Ok(Box::new(Subclone::from_values(INFO.id, values)?))
}

impl Inheritor for Subclone {
    fn needs(&self) -> Needs {
        match (self.by, self.layers) {
            (By::Activations, _) | (_, Layers::Data) => Needs::Activations,
            (By::Weights, _) => Needs::Weights,
            (By::Order, _) => Needs::Nothing,
        }
    }

    fn inherit(&self, kin: &Kin<'_>) -> Result<Inheritance, Error> {
        let missing = |input: &str| Error::Missing {
            method: INFO.id.to_owned(),
            input: format!("the parent's {input}"),
            hint: "give the parent as a checkpoint, or set `by=order` and `layers=middle`".to_owned(),
        };
        let activations = match kin.running {
            _ if self.needs() != Needs::Activations => None,
            None => return Err(missing("activations")),
            Some((weights, batch)) => {
                let scores = Scores::of_activations(kin.parent, weights, batch);
                Some(scores.map_err(|error| {
                    refuse(INFO.id, kin.parent.name(), &error.to_string(), "set `by=weights`")
                })?)
            }
        };
        let by_weights = match kin.tensors {
            _ if self.by != By::Weights => None,
            None => return Err(missing("weights")),
            Some(tensors) => Some(Scores::of_weights(kin.parent, tensors)?),
        };
        let scores = match self.by {
            By::Activations => activations.as_ref(),
            By::Weights => by_weights.as_ref(),
            By::Order => None,
        };
        let cut = Cut {
            by: self,
            parent: kin.parent,
            scores,
            changes: activations.as_ref().map(|scores| &scores.changes),
            chosen: RefCell::default(),
            notes: RefCell::default(),
        };
        let mut found = Pairs::new(INFO.id, kin, &cut)?.taken();
        if self.scale {
            self.scaled(kin, &mut found)?;
        }
        if self.restore {
            restored(kin, &mut found);
        }
        found.notes = cut.notes.into_inner();
        Ok(found)
    }
}

impl Subclone {
    /// Weights get the size that sums over fewer inputs need.
    fn scaled(&self, kin: &Kin<'_>, found: &mut Inheritance) -> Result<(), Error> {
        let sides = sides(kin.child);
        let mut folds = Vec::new();
        for (at, origin) in found.params.iter_mut().enumerate() {
            let Origin::Taken(inherited) = origin else { continue };
            let (own, from) = (&kin.child.params()[at].shape, &kin.parent.param(inherited.from).shape);
            let param = epoch0_net::ParamId(at as u32);
            let read = sides[at].iter().flatten().position(|side| side.reads);
            let Some(dim) = read.filter(|&dim| own[dim] != from[dim]) else { continue };
            let factor = (from[dim] as f64 / own[dim] as f64).sqrt();
            if !is_tied(&sides, param) {
                inherited.affine.0 *= factor;
            } else if self.fold {
                folds.push((param, factor));
            }
        }
        for (table, factor) in folds {
            for norm in norms_before(INFO.id, kin.child, table)? {
                let Op::Norm { scale, shift, .. } = kin.child.nodes()[norm.0 as usize].op else { continue };
                for param in scale.into_iter().chain(shift) {
                    if let Origin::Taken(inherited) = &mut found.params[param.0 as usize] {
                        inherited.affine.0 *= factor;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Normalizations as if only zeros were gone from what they sum over.
fn restored(kin: &Kin<'_>, found: &mut Inheritance) {
    let size = |net: &Network, param| net.param(param).len() as f64;
    for normed in normed(kin.child) {
        let Op::Norm { scale: Some(scale), .. } = kin.child.nodes()[normed.node.0 as usize].op else {
            continue;
        };
        let Origin::Taken(inherited) = &mut found.params[scale.0 as usize] else { continue };
        let share = size(kin.parent, inherited.from) / size(kin.child, scale);
        if share != 1.0 {
            inherited.affine.0 *= share.sqrt();
            inherited.affine.1 = normed.offset * (inherited.affine.0 - 1.0);
            found.epsilon = kin.parent.norm_epsilon().map(|epsilon| epsilon * share);
        }
    }
}

struct Cut<'a> {
    by: &'a Subclone,
    parent: &'a Network,
    scores: Option<&'a Scores>,
    changes: Option<&'a HashMap<usize, f64>>,
    /// Places of the parent's axes that were chosen, for what lies within them.
    chosen: RefCell<HashMap<AxisId, Vec<usize>>>,
    notes: RefCell<Vec<String>>,
}

/// The `n` places with the highest scores, in order; of equal ones the first.
fn best(scores: &[f64], n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    order.truncate(n);
    order.sort_unstable();
    order
}

impl Choose for Cut<'_> {
    fn layers(&self, stack: &str, parent: usize, child: usize) -> Result<Vec<Layer>, Error> {
        fewer(INFO.id, stack, parent, child)?;
        if let Some(text) = &self.by.explicit {
            return numbered(INFO.id, text, stack, parent, child);
        }
        let numbers: Vec<usize> = match (self.by.layers, self.changes) {
            (Layers::First, _) => (0..child).collect(),
            (Layers::Last, _) => (parent - child..parent).collect(),
            (Layers::Uniform, _) => even(parent, child),
            (Layers::Data, Some(changes)) if child > 1 => {
                let blocks = self.parent.blocks().iter().enumerate();
                let own = blocks.filter(|(_, block)| {
                    block
                        .strip_prefix(stack)
                        .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
                });
                let mut scores: Vec<f64> =
                    own.map(|(at, _)| changes.get(&at).copied().unwrap_or(0.0)).collect();
                if let [first, .., last] = &mut scores[..] {
                    (*first, *last) = (f64::INFINITY, f64::INFINITY);
                }
                best(&scores, child)
            }
            _ => (0..child.div_ceil(2)).chain(parent - child / 2..parent).collect(),
        };
        Ok(numbers.into_iter().map(Layer::Of).collect())
    }

    fn places(&self, leaf: Leaf<'_>) -> Result<Vec<Vec<usize>>, Error> {
        let first = || vec![(0..leaf.child).collect::<Vec<_>>()];
        let scores = leaf.from.zip(self.scores).and_then(|(axis, scores)| scores.leaf(self.parent, axis));
        // Part of an axis, such as the dimensions of heads that do not rotate, is taken in order.
        let Some(scores) = scores.filter(|scores| scores[0].len() == leaf.parent) else { return Ok(first()) };
        let found: Vec<Vec<usize>> = if scores.len() == 1 || self.is_shared(leaf) {
            let mut sums = vec![0.0; leaf.parent];
            for of_group in &scores {
                sums.iter_mut().zip(of_group).for_each(|(sum, score)| *sum += score);
            }
            self.note(leaf.name, &sums);
            vec![best(&sums, leaf.child)]
        } else {
            let chosen = self.chosen.borrow();
            let outer = leaf.from.and_then(|axis| self.outer(axis, scores.len()));
            let groups = match outer.and_then(|axis| chosen.get(&axis)) {
                Some(groups) => groups.clone(),
                None => (0..scores.len()).collect(),
            };
            groups.iter().map(|&group| best(&scores[group], leaf.child)).collect()
        };
        if let (Some(axis), [places]) = (leaf.from, &found[..]) {
            self.chosen.borrow_mut().insert(axis, places.clone());
        }
        Ok(found)
    }

    fn takes_readout(&self, child: &Network, readout: &Param) -> bool {
        let same = self.parent.find(&readout.name).map(|id| self.parent.param(id));
        let answers = child.axis(readout.axes[0]).size;
        same.is_some_and(|theirs| self.parent.axis(theirs.axes[0]).size == answers)
    }
}

impl Cut<'_> {
    /// Whether a parameter has just this axis for all heads, as factors of their normalization have.
    fn is_shared(&self, leaf: Leaf<'_>) -> bool {
        self.parent.params().iter().any(|param| param.axes.iter().any(|axis| Some(*axis) == leaf.from))
    }

    /// The outermost factor, of that size, of an axis that this is part of.
    fn outer(&self, leaf: AxisId, size: usize) -> Option<AxisId> {
        let wholes = (0..self.parent.axes().len() as u32).map(AxisId);
        wholes.into_iter().find_map(|axis| {
            let mut parts = Vec::new();
            crate::score::flattened(self.parent, axis, &mut parts);
            let first = *parts.first()?;
            (parts.len() > 1
                && first != leaf
                && parts.contains(&leaf)
                && self.parent.axis(first).size == Some(size))
            .then_some(first)
        })
    }

    fn note(&self, name: &str, scores: &[f64]) {
        let sum: f64 = scores.iter().sum();
        let (at, most) =
            scores.iter().copied().enumerate().fold((0, 0.0), |a, b| if b.1 > a.1 { b } else { a });
        if most > 0.2 * sum && scores.len() > 16 {
            let share = 100.0 * most / sum;
            self.notes.borrow_mut().push(format!("place {at} of `{name}` has {share:.0} % of its score"));
        }
    }
}
