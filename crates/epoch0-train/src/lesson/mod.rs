//! What a network learns from besides its data: another network's answers, or how it sees examples.

mod alignment;
mod distillation;

use std::collections::HashMap;
use std::fmt::Debug;

use epoch0_data::Inputs;
use epoch0_engine::{Device, Precision, Var};
use epoch0_net::ValueId;

use crate::Error;

pub use alignment::{Alignment, alignable, cka, mapped};
pub use distillation::{Distillation, apart};

/// A batch that a network has just answered to.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// Steps taken before.
    pub step: u64,
    /// The examples.
    pub examples: &'a Inputs,
    /// Values that were asked for.
    pub values: &'a HashMap<ValueId, Var>,
    /// What the network answered.
    pub answer: &'a Var,
    /// Mean loss of that.
    pub loss: &'a Var,
    /// What it computes with.
    pub precision: Precision,
    /// Where it computes.
    pub device: &'a Device,
}

/// What is minimized in the place of the loss alone.
pub trait Lesson: Debug + Sync {
    /// Values of the network that it looks at.
    fn values(&self, step: u64) -> Vec<ValueId>;

    /// What is minimized.
    ///
    /// # Errors
    /// When what teaches cannot be run on the examples.
    fn objective(&self, answered: &Answered<'_>) -> Result<Var, Error>;
}
