//! Runs and differentiates networks.
mod device;
mod error;
mod primitive;
mod tensor;
mod var;

pub use device::{Device, Precision};
pub use error::Error;
pub use tensor::{Indices, Mask, Tensor};
pub use var::{Order, Var, grad, hvp, jvp, vjp};
