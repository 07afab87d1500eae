//! Starts from other networks: which parts of a parent a child takes, and what stands where it has more.
//!
//! A child speaks of its parent in axes: [`Pairs`] walks the parameters of both and has a method choose, once for each axis,
//! which place of the parent's axis each of the child's is, and which of the parent's layers each of its layers is made of.
//! What a network couples (heads and their queries, a residual stream and all that writes into it, tied tables) is then
//! chosen alike everywhere. [`Gather`] reads what was chosen, piece by piece.

mod axes;
mod case;
mod gather;
mod grow;
mod layers;
mod pair;
mod score;
mod trial;
mod uses;

pub mod codebook;
pub mod expand;
pub mod hyper_cloning;
pub mod llama_pro;
pub mod net2net;
pub mod stacking;
pub mod subclone;
pub mod weight_selection;

use std::fmt::Debug;
use std::sync::Arc;

use epoch0_engine::{Batch, Weights};
use epoch0_method::{Entry, Error};
use epoch0_net::{Network, ParamId};
use epoch0_num::Stream;

pub use axes::Leaf;
pub use gather::{Gather, Stored};
pub use pair::{Choose, Layer, Pairs};

/// A place that is drawn, as the child's parameter is by itself.
pub const DRAWN: usize = usize::MAX;
/// A place that is zero.
pub const ZERO: usize = usize::MAX - 1;
/// A place that is the mean of the parent's places.
pub const MEAN: usize = usize::MAX - 2;

/// Whether a place is none of the parent's.
pub const fn is_new(place: usize) -> bool {
    place >= MEAN
}

/// One dimension of a child's parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Dim {
    /// For each place the parent's that it is, or [`DRAWN`], [`ZERO`] or [`MEAN`]. Where dimensions differ in what is new,
    /// zero goes before the mean and that before what is drawn.
    pub places: Arc<[usize]>,
    /// A factor for each place, where one is not 1.
    pub scales: Option<Arc<[f64]>>,
}

/// A parameter that comes from the parent.
#[derive(Clone, Debug, PartialEq)]
pub struct Inherited {
    /// The parent's parameter.
    pub from: ParamId,
    /// Its dimensions.
    pub dims: Vec<Dim>,
    /// What is taken is multiplied by the first, then the second is added.
    pub affine: (f64, f64),
    /// What is added to places that are the same, such that its sum over them is zero.
    pub noise: Option<Noise>,
}

/// Noise on repeated places, which makes them differ and leaves their sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// The dimension in which places are repeated.
    pub dim: usize,
    /// Its standard deviation, as a share of the root mean square of what the parent's tensor becomes.
    pub share: f64,
    /// What it is drawn with.
    pub stream: Stream,
}

impl Inherited {
    /// Whether some of it is drawn.
    pub fn draws(&self) -> bool {
        self.dims.iter().any(|dim| dim.places.contains(&DRAWN))
    }

    /// Whether what is taken keeps its numbers.
    pub fn is_scaled(&self) -> bool {
        self.affine != (1.0, 0.0) || self.noise.is_some() || self.dims.iter().any(|dim| dim.scales.is_some())
    }
}

/// Where a child's parameter comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// It is drawn by the recipe.
    Drawn,
    /// It is the same number everywhere.
    Constant(f64),
    /// The parent.
    Taken(Inherited),
}

impl Origin {
    /// What comes from the parent.
    pub fn taken(&self) -> Option<&Inherited> {
        match self {
            Self::Taken(inherited) => Some(inherited),
            Self::Drawn | Self::Constant(_) => None,
        }
    }
}

/// What a child takes from its parent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inheritance {
    /// For each of the child's parameters where it comes from.
    pub params: Vec<Origin>,
    /// For each stack of layers its name, the parent's number of layers, and what each of the child's is made of.
    pub layers: Vec<(String, usize, Vec<Layer>)>,
    /// For each axis of the child its name, the parent's size, and the places taken.
    pub axes: Vec<(String, usize, Arc<[usize]>)>,
    /// What normalizations have to add to the variance for the child to be what it should be, where that is not what its config
    /// says.
    pub epsilon: Option<f64>,
    /// Whether the child computes what the parent does.
    pub preserves: bool,
    /// What to know of how it was chosen.
    pub notes: Vec<String>,
}

/// What a method looks at in a parent, apart from its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// Its weights.
    Weights,
    /// What it does to examples.
    Activations,
}

/// A parent's weights.
pub trait Tensors {
    /// Those of a parameter.
    ///
    /// # Errors
    /// When they cannot be read.
    fn tensor(&self, param: ParamId) -> Result<Stored<'_>, Error>;
}

/// A child and the parent that it is to be made of.
#[derive(Clone, Copy)]
pub struct Kin<'a> {
    /// The parent.
    pub parent: &'a Network,
    /// The child.
    pub child: &'a Network,
    /// What is drawn by the method is drawn with this.
    pub seed: u64,
    /// The parent's weights, where the method needs them.
    pub tensors: Option<&'a dyn Tensors>,
    /// The parent's weights in memory and examples, where the method needs activations.
    pub running: Option<(&'a Weights, &'a Batch)>,
}

impl<'a> Kin<'a> {
    /// A child and a parent of which only sizes are looked at.
    pub fn new(parent: &'a Network, child: &'a Network) -> Self {
        Self { parent, child, seed: 0, tensors: None, running: None }
    }
}

/// A way to make a child of a parent.
pub trait Inheritor: Send + Sync + Debug {
    /// What the child takes.
    ///
    /// # Errors
    /// When the parent has not what the child needs.
    fn inherit(&self, kin: &Kin<'_>) -> Result<Inheritance, Error>;

    /// What it looks at in a parent.
    fn needs(&self) -> Needs {
        Needs::Nothing
    }
}

/// Every method that makes a child of a parent, by id.
pub static METHODS: &[&Entry<dyn Inheritor>] = &[
    &expand::ENTRY,
    &hyper_cloning::ENTRY,
    &llama_pro::ENTRY,
    &net2net::ENTRY,
    &stacking::ENTRY,
    &subclone::ENTRY,
    &weight_selection::ENTRY,
];

/// The method of that id or alias.
///
/// # Errors
/// [`Error::UnknownMethod`], with ids that are close.
pub fn find(name: &str) -> Result<&'static Entry<dyn Inheritor>, Error> {
    epoch0_method::find(METHODS, name)
}
