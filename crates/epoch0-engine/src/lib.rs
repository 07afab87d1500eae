//! Runs and differentiates networks.
#[cfg(test)]
extern crate self as epoch0_engine;

mod device;
mod error;
mod host;
mod primitive;
mod tensor;
mod var;

pub use device::{Device, Precision};
pub use error::Error;
pub use tensor::{Indices, Mask, Tensor};
pub use var::{Order, Var, grad, hvp, jvp, vjp};
