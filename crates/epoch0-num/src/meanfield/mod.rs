//! Mean-field theory of wide random layers: what becomes of variance, correlation and gradients over depth.
//!
//! A [`Layer`] is `h' = W φ(h) + b` with independent weights of variance `σ_w² / fan_in` and biases of variance `σ_b²`.
//! At large width pre-activations are Gaussian, and two numbers tell all: the variance `q` of an input's pre-activations
//! and the correlation `c` of two inputs'. They follow (Poole et al. 2016, Schoenholz et al. 2017)
//!
//! - `V(q) = σ_b² + σ_w² E[φ(u)²]`, `u ~ N(0, q)`: [`Layer::variance`];
//! - `C(q, c) = (σ_b² + σ_w² E[φ(u) φ(v)]) / V(q)`, `u, v ~ N(0, q)` with correlation `c`: [`Layer::correlation`], and
//!   [`Layer::decorrelation`], which carries `1 - c` and so stays precise as inputs come together;
//! - gradients' variance is multiplied by `χ₁(q) = σ_w² E[φ'(u)²]` per layer: [`Layer::chi1`].
//!
//! Where the fixed point of `V` has `χ₁ < 1` inputs come together and gradients vanish (order), where `χ₁ > 1` they
//! come apart and gradients explode (chaos): [`Layer::phase`]. Between lies the edge of chaos, `χ₁ = 1`, on which
//! information travels deepest: [`edge_at_q`], [`edge_at_sigma_b`], [`edge_at_depth`], and [`rate`] says how slowly
//! inputs come together there (Hayou et al. 2019); [`sparse_edge`] finds it for activations that most units are 0 behind. Convolutions have the same maps, with the receptive field in the
//! fan-in.
//!
//! What is no plain stack is followed by a [`Signal`] through each operation. [`guessing`] reads off the same maps how far an untrained classifier favours some classes.

mod edge;
pub mod guessing;
mod kernel;
mod layer;
mod map;
mod phase;
mod root;
mod signal;
mod sparse;
mod trajectory;

pub use edge::{
    Edge, EdgePoint, Rate, Stability, edge_at_depth, edge_at_q, edge_at_sigma_b, edge_range, rate,
};
pub use layer::Layer;
pub use map::CorrelationMap;
pub use phase::{FixedPoint, Limit, Phase, PhaseReport};
pub(crate) use root::between_closely as root_between;
pub use signal::{Signal, Stage, follow, perceptron};
pub use sparse::{SparseEdge, q_of_sparsity, sparse_edge, sparsity};
pub use trajectory::{Trajectory, trajectory};

use crate::gain::GainError;
use crate::quadrature::QuadratureError;
use crate::{Activation, activation::ActivationError};

/// Why the theory has no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MeanFieldError {
    /// A number is out of its range.
    #[error("{name} is {got}, allowed {allowed}")]
    Parameter {
        /// What it is called.
        name: &'static str,
        /// What it is.
        got: f64,
        /// What it may be.
        allowed: &'static str,
    },
    /// The activation has no edge of chaos, or none where it was asked for.
    #[error("activation `{activation}` has no edge of chaos {place}: {why}\nhint: {hint}")]
    NoEdge {
        /// The activation.
        activation: String,
        /// Where it was looked for: `at q = 0.1`.
        place: String,
        /// What was found.
        why: String,
        /// What can be asked for.
        hint: String,
    },
    /// A part of a network stands where the theory has no answer.
    #[error("{what}\nhint: a plain network is linear maps with activations, pools and norms between")]
    Stage {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A step of the computation did not reach its precision.
    #[error("activation `{activation}`: {what} was not found to the precision wanted")]
    NotFound {
        /// The activation.
        activation: String,
        /// What was looked for.
        what: &'static str,
    },
    /// An expectation has no value, or the activation no slope.
    #[error(transparent)]
    Gain(#[from] GainError),
}

impl From<ActivationError> for MeanFieldError {
    fn from(error: ActivationError) -> Self {
        Self::Gain(error.into())
    }
}

/// An error of quadrature, for an activation.
fn of(act: &Activation) -> impl Fn(QuadratureError) -> MeanFieldError {
    move |error| match error {
        QuadratureError::Parameter { name, got, allowed } => MeanFieldError::Parameter { name, got, allowed },
        error => GainError::Quadrature { activation: act.to_string(), error }.into(),
    }
}

/// Refuses what is not finite or below 0.
fn from_zero(name: &'static str, got: f64) -> Result<(), MeanFieldError> {
    if got.is_finite() && got >= 0.0 {
        Ok(())
    } else {
        Err(MeanFieldError::Parameter { name, got, allowed: "finite numbers from 0" })
    }
}

/// Refuses what is not finite or not above 0.
fn positive(name: &'static str, got: f64) -> Result<(), MeanFieldError> {
    if got.is_finite() && got > 0.0 {
        Ok(())
    } else {
        Err(MeanFieldError::Parameter { name, got, allowed: "finite numbers above 0" })
    }
}
