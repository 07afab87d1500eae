//! A child and its parent, as a method is given them.

use epoch0_data::Dataset;
use epoch0_engine::{Batch, Tensor, Weights};
use epoch0_method::Error;
use epoch0_net::{Network, ParamId};
use epoch0_num::Dtype;

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

/// A network's weights in memory, as they would stand in a file.
pub struct Memory<'a> {
    net: &'a Network,
    bytes: Vec<Vec<u8>>,
}

impl<'a> Memory<'a> {
    /// Of weights that are of the network.
    pub fn new(net: &'a Network, weights: &Weights) -> Self {
        let bytes = (0..net.params().len()).map(|at| {
            let values = weights.get(ParamId(at as u32)).map(Tensor::to_f64).unwrap_or_default();
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        });
        Self { net, bytes: bytes.collect() }
    }
}

impl Tensors for Memory<'_> {
    fn tensor(&self, param: ParamId) -> Result<Stored<'_>, Error> {
        let shape = &self.net.param(param).shape;
        Ok(Stored { dtype: Dtype::F64, shape, bytes: &self.bytes[param.0 as usize] })
    }
}

/// A child and the parent that it is to be made of.
#[derive(Clone, Copy)]
pub struct Kin<'a> {
    /// The parent.
    pub parent: &'a Network,
    /// The child.
    pub child: &'a Network,
    /// Further parents, where the method takes several.
    pub further: &'a [Further<'a>],
    /// What is drawn by the method is drawn with this.
    pub seed: u64,
    /// The parent's weights, where the method needs them.
    pub tensors: Option<&'a dyn Tensors>,
    /// The parent's weights in memory and examples, where the method needs activations.
    pub running: Option<(&'a Weights, &'a Batch)>,
    /// What the child learns on, where the method trains it.
    pub training: Option<Training<'a>>,
}

/// A further parent.
#[derive(Clone, Copy)]
pub struct Further<'a> {
    /// The network.
    pub net: &'a Network,
    /// Its weights, where the method needs them.
    pub tensors: Option<&'a dyn Tensors>,
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
        Self { parent, child, further: &[], seed: 0, tensors: None, running: None, training: None }
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
