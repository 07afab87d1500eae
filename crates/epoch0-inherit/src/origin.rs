//! Where a child's parameters come from.

use std::sync::Arc;

use epoch0_engine::Weights;
use epoch0_net::ParamId;
use epoch0_num::Stream;

use crate::{Layer, NewPlaces};

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

/// For each place the parent's that it is the sum of, with a factor each.
pub type Mix = Arc<[Vec<(usize, f64)>]>;

/// One dimension of a child's parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Dim {
    /// For each place the parent's that it is, or [`DRAWN`], [`ZERO`] or [`MEAN`]. Where dimensions differ in what is new,
    /// zero goes before the mean and that before what is drawn.
    pub places: Arc<[usize]>,
    /// A factor for each place, where one is not 1.
    pub scales: Option<Arc<[f64]>>,
    /// For each place what it is the sum of, the parent's places with a factor each, where it is more than one; `places` then say
    /// nothing.
    pub mix: Option<Mix>,
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
    /// What places of the mean are, where they are not that of all.
    pub new: Option<NewPlaces>,
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
        self.affine != (1.0, 0.0)
            || self.noise.is_some()
            || self.dims.iter().any(|dim| dim.scales.is_some() || dim.mix.is_some())
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
    /// The sum of what is taken of several parameters, of the parent or of further ones. Nothing of it is drawn.
    Sum(Vec<Term>),
}

/// What a parameter is the sum of.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Which parent: 0 is the first.
    pub parent: usize,
    /// What is taken of it.
    pub of: Inherited,
}

impl Origin {
    /// What comes from the parent, where that is all.
    pub fn taken(&self) -> Option<&Inherited> {
        match self {
            Self::Taken(inherited) => Some(inherited),
            Self::Drawn | Self::Constant(_) | Self::Sum(_) => None,
        }
    }

    /// All that comes from parents, with their numbers.
    pub fn all_taken(&self) -> impl Iterator<Item = (usize, &Inherited)> {
        let terms = if let Self::Sum(terms) = self { &terms[..] } else { &[] };
        let one = self.taken().map(|inherited| (0, inherited));
        one.into_iter().chain(terms.iter().map(|term| (term.parent, &term.of)))
    }
}

/// What a child takes from its parent.
#[derive(Clone, Debug, Default)]
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
    /// How much of each parent's answers its own are the sum of then, where there are several.
    pub shares: Vec<f64>,
    /// What to know of how it was chosen.
    pub notes: Vec<String>,
    /// The child's weights, where it has learned them: then these count, and not where parameters come from.
    pub learned: Option<Weights>,
}
