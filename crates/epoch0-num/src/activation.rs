//! activation.

/// An activation function.
pub struct Activation;
