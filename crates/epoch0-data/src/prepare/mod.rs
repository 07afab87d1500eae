//! Preparation: scaling, parts, one-hot targets, and batches in an order that is a function of seed and epoch.

mod batches;
mod normalize;
mod parts;

pub use batches::{Batch, BatchSize, Batches, Epoch, Order, order};
pub use normalize::{Normalize, Per, standardize};
pub use parts::{Split, balanced, first, one_hot, split};
