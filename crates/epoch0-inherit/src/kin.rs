//! A child and its parent, as a method is given them.

use epoch0_data::Dataset;
use epoch0_engine::{Batch, Weights};
use epoch0_method::Error;
use epoch0_net::{Network, ParamId};

use crate::Stored;

/// What a method looks at in a parent, apart from its sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// Its weights.
    Weights,
    /// What it does to examples.
    Activations,
    /// What the child learns from it, on data.
    Training,
}

/// A parent's weights.
pub trait Tensors: Sync {
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
    /// What the child learns on, where the method trains it.
    pub training: Option<Training<'a>>,
}

/// What a child learns on.
#[derive(Clone, Copy)]
pub struct Training<'a> {
    /// The parent's weights.
    pub parent: &'a Weights,
    /// The child's, as they are drawn.
    pub child: &'a Weights,
    /// The data.
    pub data: &'a Dataset,
}

impl<'a> Kin<'a> {
    /// A child and a parent of which only sizes are looked at.
    pub fn new(parent: &'a Network, child: &'a Network) -> Self {
        Self { parent, child, seed: 0, tensors: None, running: None, training: None }
    }

    /// What the child learns on.
    ///
    /// # Errors
    /// When there are no data.
    pub(crate) fn training(&self, method: &str) -> Result<Training<'a>, Error> {
        self.training.ok_or_else(|| Error::Missing {
            method: method.to_owned(),
            input: "data".to_owned(),
            hint: "name them with `--data`".to_owned(),
        })
    }
}
