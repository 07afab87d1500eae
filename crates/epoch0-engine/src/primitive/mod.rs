//! Operations with their derivatives: forward rule, tangent rule and cotangent rule stand together.

mod activation;
pub(crate) mod conv;
pub(crate) mod elementwise;
pub(crate) mod fused;
mod matmul;
mod mixture;
pub(crate) mod poincare;
pub(crate) mod pool;
mod propagate;
mod rational;
mod shape;
mod shift;
mod spiking;
#[cfg(test)]
mod tests;
