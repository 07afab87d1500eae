//! Streams of randomness, laws and how to draw them, gains, quadrature, mean-field theory and statistics.
//!
//! Everything here is a pure function of its arguments: no clock, no environment variable, no global
//! generator, no platform mathematics library and no number of threads changes a bit of any result.

pub mod activation;
pub mod dtype;
mod element;
pub mod gain;
pub mod graph;
pub mod joint;
mod kernel;
pub mod law;
pub mod meanfield;
pub mod paired;
pub mod prequential;
pub mod quadrature;
pub mod rational;
pub mod special;
pub mod stats;
pub mod stream;
mod summary;
pub mod symmetric;
pub mod waves;

pub use activation::Activation;
pub use dtype::Dtype;
pub use element::{Element, Real};
pub use half::{bf16, f16};
pub use law::{Law, LawError};
pub use stream::Stream;
pub use summary::Summary;
