//! What can be wrong when a network is run.

/// Why a network could not be run or differentiated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No device has that name.
    #[error(
        "device `{name}`: not known to this build\nhint: cpu is always there; cuda and wgpu need a build with that feature"
    )]
    Device {
        /// The name.
        name: String,
    },
}
