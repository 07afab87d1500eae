//! What claims are run on: small networks and examples for them.

mod data;
mod deep;
mod mlp;

pub(crate) use data::Examples;
pub(crate) use deep::{Descent, Trained, Unit, batch, deep, start};
pub(crate) use mlp::{Mlp, Training, broken, network};
