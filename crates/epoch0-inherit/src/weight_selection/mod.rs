//! Weight selection: a smaller network that begins with evenly spaced weights of a larger one.
//!
//! # Idea
//! A network that was trained holds more than its answers: the sizes of its weights and how they go together. A smaller network
//! of the same family that begins with a selection of them learns faster and ends better than from a random start, above all
//! on little data. It takes neither data nor a run of the network.
//!
//! # Method
//! 1. Layers: the child's first, second… are made of the parent's first, second…, stage by stage where there are stages.
//! 2. Parameters are paired by name.
//! 3. Of an axis of size t the child's, of size s, takes every (t/s)-th place where s divides t, and otherwise the places
//!    nearest to s points evenly spaced from 0 to t - 1. Values stay as they are.
//!
//! What has to be chosen alike is: residual streams, heads with their queries, the two sides of a feed-forward map are one
//! axis each. Heads are taken whole, and dimensions within them; with grouped queries groups first; what rotates (RoPE) in
//! pairs of kept frequencies; packed parameters part by part. Words stay, and of positions the first.
//!
//! # Shapes
//! Any network of which both configs are of one family, the child no larger in any axis. Maps to classes are drawn anew.
//!
//! # Cost
//! Reading what is taken; nothing is held but a piece.
//!
//! # Departures
//! With `mode: compat` every dimension of every tensor is selected by itself, by the authors' rule to the last rounding, packed
//! queries, keys and values as one matrix: heads of the child then mix heads of the parent.
//!
//! # Traps
//! - A child with heads of another size than the parent's, which are not divided, needs as many heads or fewer.
//! - The scale of sums over fewer inputs shrinks: `subclone` of other tools multiplies it back, this paper does not.
//!
//! # Example
//! ```
//! use epoch0_inherit::{Kin, find, weight_selection::WeightSelection};
//! use epoch0_net::zoo;
//!
//! let (parent, child) = (zoo::build("mlp:8-16-4").unwrap(), zoo::build("mlp:8-4-4").unwrap());
//! let method = (find("weight_selection").unwrap().build)(&Default::default()).unwrap();
//! let found = method.inherit(&Kin::new(&parent, &child)).unwrap();
//! let weight = found.params[0].taken().unwrap();
//! assert_eq!(*weight.dims[0].places, [0, 4, 8, 12]);
//! // Four classes of another task would be others.
//! assert!(found.params[2].taken().is_none());
//! ```
//!
//! # References
//! - [xu2023initializing] Section 3; code of the authors

mod claims;

use epoch0_method::{Choice, Entry, Error, Family, Info, Params, Status, Values};
use epoch0_net::{Network, Op, Param, Role};
use epoch0_num::Stream;

use crate::axes::Leaf;
use crate::layers::{even, fewer, numbered};
use crate::pair::{Choose, Layer, Pairs, refuse};
use crate::{Inheritance, Inheritor, Kin};

/// Which layers of the parent the child's are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Layers {
    /// The first.
    First,
    /// The last.
    Last,
    /// Those in the middle.
    Middle,
    /// Evenly spaced, the first and the last among them.
    Uniform,
}

/// Which places of an axis are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Elements {
    /// Evenly spaced.
    Uniform,
    /// The first.
    Consecutive,
    /// Drawn once for each pair of sizes, in order.
    Random,
}

/// What is selected together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Mode {
    /// Axes: heads whole, packed parameters part by part.
    Axes,
    /// Each dimension of each tensor as the authors' code does.
    Compat,
}

/// Whether maps to answers are taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Head {
    /// Of words, which stay the same; not of classes.
    Auto,
    /// Always.
    Keep,
    /// Never.
    Draw,
}

/// Parameters of weight selection.
#[derive(Clone, Debug, Params)]
pub struct WeightSelection {
    /// Which layers are taken.
    #[param(default = Layers::First)]
    pub layers: Layers,
    /// Layers by number from 0 with dashes between, `0-3-7`, instead.
    #[param(default = None)]
    pub explicit: Option<String>,
    /// Which places of an axis are taken.
    #[param(default = Elements::Uniform)]
    pub elements: Elements,
    /// What is selected together.
    #[param(default = Mode::Axes)]
    pub mode: Mode,
    /// Whether maps to answers are taken over.
    #[param(default = Head::Auto)]
    pub head: Head,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Inheritor> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "weight_selection",
    aliases: &[],
    family: Family::Inherit,
    papers: &["xu2023initializing"],
    source: include_str!("mod.rs"),
    params: WeightSelection::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Inheritor>, Error> {
    Ok(Box::new(WeightSelection::from_values(INFO.id, values)?))
}

impl Inheritor for WeightSelection {
    fn inherit(&self, kin: &Kin<'_>) -> Result<Inheritance, Error> {
        Ok(Pairs::new(INFO.id, kin, &Selection { by: self, seed: kin.seed })?.taken())
    }
}

struct Selection<'a> {
    by: &'a WeightSelection,
    seed: u64,
}

/// The places nearest to `n` points evenly spaced over `0..=size - 1`, as `torch.linspace(0, size - 1, n).round()` has them.
fn spaced(size: usize, n: usize) -> Vec<usize> {
    if n > 0 && size.is_multiple_of(n) {
        return (0..n).map(|at| at * (size / n)).collect();
    }
    // Single precision, from both ends to the middle, ties to even: ties that fall otherwise would be other weights.
    let end = (size - 1) as f32;
    let step = end / (n.max(2) - 1) as f32;
    let point = |at: usize| if at < n / 2 { step * at as f32 } else { end - step * (n - 1 - at) as f32 };
    if n == 1 { vec![0] } else { (0..n).map(|at| point(at).round_ties_even() as usize).collect() }
}

impl Choose for Selection<'_> {
    fn layers(&self, stack: &str, parent: usize, child: usize) -> Result<Vec<Layer>, Error> {
        fewer(INFO.id, stack, parent, child)?;
        if let Some(text) = &self.by.explicit {
            return numbered(INFO.id, text, stack, parent, child);
        }
        let from = |first: usize| (first..first + child).collect();
        let numbers: Vec<usize> = match self.by.layers {
            Layers::First => from(0),
            Layers::Last => from(parent - child),
            Layers::Middle => from((parent - child) / 2),
            Layers::Uniform => even(parent, child),
        };
        Ok(numbers.into_iter().map(Layer::Of).collect())
    }

    fn places(&self, leaf: Leaf<'_>) -> Result<Vec<Vec<usize>>, Error> {
        if leaf.child == 0 {
            return Err(refuse(INFO.id, leaf.name, "it has size 0", "give it a size"));
        }
        Ok(vec![match self.by.elements {
            Elements::Uniform => spaced(leaf.parent, leaf.child),
            Elements::Consecutive => (0..leaf.child).collect(),
            Elements::Random => {
                let stream =
                    Stream::new(self.seed, &format!("weight_selection/{}/{}", leaf.parent, leaf.child));
                let mut words = vec![0; leaf.parent];
                stream.words(0, &mut words);
                let mut order: Vec<usize> = (0..leaf.parent).collect();
                order.sort_by_key(|&at| (words[at], at));
                order.truncate(leaf.child);
                order.sort_unstable();
                order
            }
        }])
    }

    fn is_blind(&self) -> bool {
        self.by.mode == Mode::Compat
    }

    fn takes_readout(&self, child: &Network, readout: &Param) -> bool {
        match self.by.head {
            Head::Keep => true,
            Head::Draw => false,
            Head::Auto => {
                let rows = readout.shape.iter().max();
                let is_table = |node: &epoch0_net::Node| {
                    matches!(node.op, Op::Embedding { table } if {
                        let table = child.param(table);
                        table.role == Role::Embedding && table.shape.first() == rows
                    })
                };
                child.nodes().iter().any(is_table)
            }
        }
    }
}
