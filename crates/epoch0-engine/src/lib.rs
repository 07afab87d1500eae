//! Runs networks and differentiates them, to any order.
//!
//! A [`Tensor`] is an array on a device (Burn's, behind one type of any rank). A [`Var`] is a tensor that remembers where
//! it came from: [`vjp`] and [`grad`] walk back from it, [`jvp`] forwards, [`hvp`] back over forwards. [`run()`] interprets
//! a network on `Var`s; what it computes can be differentiated by parameters, inputs, and anything on the way.
//!
//! ```
//! use epoch0_engine::{Device, Order, Precision, Tensor, Var, grad, hvp};
//!
//! let x = Var::leaf(Tensor::from_f64(vec![1.0, 2.0], &[2], Precision::Double, &Device::cpu()));
//! let y = x.square().mul(&x).sum();
//! assert_eq!(grad(&y, &[&x], Order::Last)[0].value().to_f64(), [3.0, 12.0]);
//!
//! let direction = Var::constant(Tensor::from_f64(vec![1.0, 0.0], &[2], Precision::Double, &Device::cpu()));
//! assert_eq!(hvp(&y, &[(&x, direction)], Order::Last)[0].value().to_f64(), [6.0, 0.0]);
//! ```

#[cfg(test)]
extern crate self as epoch0_engine;

mod batch;
pub mod curvature;
mod device;
mod error;
mod host;
pub mod kernel;
pub mod loss;
pub mod ntk;
mod primitive;
mod run;
pub mod taps;
mod tensor;
mod value;
mod var;
mod weights;

pub use batch::{Batch, Loss};
pub use device::{Device, Precision};
pub use error::Error;
pub use primitive::conv::Moves;
pub use primitive::poincare::Ball;
pub use run::{BatchStatistics, Done, Mode, Run, Turn, run, sweep};
pub use tensor::{Indices, Mask, Tensor};
pub use value::Value;
pub use var::{Order, Var, grad, hvp, jvp, vjp};
pub use weights::{Elements, Parameters, Weights};
