//! What can go wrong in an examination.

/// Why a start could not be examined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network could not be run.
    #[error(transparent)]
    Engine(#[from] epoch0_engine::Error),
    /// A method was given what it cannot use.
    #[error(transparent)]
    Method(#[from] epoch0_method::Error),
    /// The inputs do not fit the network.
    #[error("probe: {what}: found {found}, allowed {allowed}")]
    Probe {
        /// What does not fit.
        what: String,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// It would need more memory than it may take.
    #[error("memory: found {found}, allowed {allowed}\nhint: fewer or smaller examples")]
    Memory {
        /// What is too large.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// It was asked to stop.
    #[error("cancelled")]
    Cancelled,
}
