//! Starts from other networks: which parts of a parent a child takes.
//!
//! A child speaks of its parent in axes: [`pair`] walks the parameters of both and has a method choose, once for each axis,
//! which places of the parent's axis the child's takes, and which of the parent's layers each of its layers is made of. What a
//! network couples (heads and their queries, a residual stream and all that writes into it, tied tables) is then chosen
//! alike everywhere. [`Gather`] reads what was chosen, piece by piece.

mod axes;
mod gather;
mod pair;

pub mod merge;
pub mod weight_selection;

use std::fmt::Debug;
use std::sync::Arc;

use epoch0_method::{Entry, Error};
use epoch0_net::{Network, ParamId};

pub use axes::Leaf;
pub use gather::Gather;
pub use pair::{Choose, pair};

/// A parameter that comes from the parent.
#[derive(Clone, Debug, PartialEq)]
pub struct Inherited {
    /// The parent's parameter.
    pub from: ParamId,
    /// For each dimension the place in the parent's that each of the child's comes from.
    pub places: Vec<Arc<[usize]>>,
}

/// What a child takes from its parent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inheritance {
    /// For each of the child's parameters where it comes from; none where it is to be drawn.
    pub params: Vec<Option<Inherited>>,
    /// For each stack of layers its name, the parent's number of layers, and the one that each of the child's is made of.
    pub layers: Vec<(String, usize, Vec<usize>)>,
    /// For each axis of the child its name, the parent's size, and the places taken.
    pub axes: Vec<(String, usize, Arc<[usize]>)>,
}

/// A way to make a child of a parent.
pub trait Inheritor: Send + Sync + Debug {
    /// What the child takes.
    ///
    /// # Errors
    /// When the parent has not what the child needs.
    fn inherit(&self, parent: &Network, child: &Network, seed: u64) -> Result<Inheritance, Error>;
}

/// Every method that makes a child of a parent, by id.
pub static METHODS: &[&Entry<dyn Inheritor>] = &[&weight_selection::ENTRY];

/// The method of that id or alias.
///
/// # Errors
/// [`Error::UnknownMethod`], with ids that are close.
pub fn find(name: &str) -> Result<&'static Entry<dyn Inheritor>, Error> {
    epoch0_method::find(METHODS, name)
}
