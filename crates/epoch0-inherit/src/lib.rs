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
mod kin;
mod layers;
mod made;
mod new_places;
mod origin;
mod pair;
mod score;
mod trial;
mod uses;

pub mod adapter;
pub mod codebook;
pub mod expand;
pub mod guidance;
pub mod hyper_cloning;
pub mod iir_snn;
pub mod learngene_pool;
pub mod llama_pro;
pub mod merge;
pub mod mixture_growth;
pub mod net2net;
pub mod new_tokens;
pub mod resize_input;
pub mod stacking;
pub mod subclone;
pub mod subnetwork_search;
pub mod upcycle;
pub mod weight_selection;

use std::fmt::Debug;

use epoch0_method::{Entry, Error};

pub use axes::{Kind, Leaf};
pub use gather::{Gather, Stored, Sum};
pub use kin::{Further, Kin, Memory, Needs, Tensors, Training};
pub use made::{Weighed, made, made_of};
pub use new_places::{How, NewPlaces};
pub use origin::{DRAWN, Dim, Inheritance, Inherited, MEAN, Mix, Noise, Origin, Term, ZERO, is_new};
pub use pair::{Choose, Layer, Pairs};

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

    /// How many parents a child has.
    fn n_parents(&self) -> usize {
        1
    }
}

/// Every method that makes a child of a parent, by id.
pub static METHODS: &[&Entry<dyn Inheritor>] = &[
    &expand::ENTRY,
    &guidance::ENTRY,
    &hyper_cloning::ENTRY,
    &iir_snn::ENTRY,
    &llama_pro::ENTRY,
    &mixture_growth::ENTRY,
    &net2net::ENTRY,
    &new_tokens::ENTRY,
    &resize_input::ENTRY,
    &stacking::ENTRY,
    &subclone::ENTRY,
    &subnetwork_search::ENTRY,
    &upcycle::ENTRY,
    &weight_selection::ENTRY,
];

/// The method of that id or alias.
///
/// # Errors
/// [`Error::UnknownMethod`], with ids that are close.
pub fn find(name: &str) -> Result<&'static Entry<dyn Inheritor>, Error> {
    epoch0_method::find(METHODS, name)
}
