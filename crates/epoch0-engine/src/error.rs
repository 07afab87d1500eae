//! What can be wrong when a network is run.

/// Why a network could not be run or differentiated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No device has that name, or it cannot do what is asked.
    #[error("device `{name}`: {why}")]
    Device {
        /// The name.
        name: String,
        /// What stands against it, and a hint.
        why: String,
    },
    /// An input of the network is missing, or not what it takes.
    #[error("input `{name}`: found {found}, allowed {allowed}")]
    Input {
        /// The input.
        name: String,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// A parameter has no value, or one of another shape.
    #[error("parameter `{name}`: found {found}, allowed {allowed}")]
    Param {
        /// The parameter.
        name: String,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// An operation cannot take what it is given.
    #[error("{place}: found {found}, allowed {allowed}")]
    Operand {
        /// The operation, by parameter or block.
        place: String,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// Something that the engine does not do.
    #[error("{place}: {what}")]
    Unsupported {
        /// The operation, by parameter or block.
        place: String,
        /// What cannot be done, and a hint.
        what: String,
    },
    /// Numbers that something cannot be computed from.
    #[error("{what}: {why}")]
    Numeric {
        /// What was to be computed.
        what: String,
        /// What stands against it, and a hint.
        why: String,
    },
}
