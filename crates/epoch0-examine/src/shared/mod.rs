//! What several examiners need.

pub(crate) mod numbers;
