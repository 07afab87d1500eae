//! What claims are run on: a small network and examples for it.

mod data;
mod mlp;

pub(crate) use data::Examples;
pub(crate) use mlp::{Mlp, Training, broken, network};
