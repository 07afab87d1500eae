//! What several examiners need.

pub(crate) mod case;
pub(crate) mod inputs;
pub(crate) mod kernel;
pub(crate) mod numbers;
pub(crate) mod show;
