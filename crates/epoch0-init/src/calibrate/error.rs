//! What can go wrong in a calibration.

/// Why weights could not be calibrated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network could not be run on the batch.
    #[error(transparent)]
    Engine(#[from] epoch0_engine::Error),
    /// The method cannot use what a layer does with the batch, or the batch itself.
    #[error(transparent)]
    Method(#[from] epoch0_method::Error),
}
