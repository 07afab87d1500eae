//! What can be wrong with a network.

/// Why a graph is no network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// Two dimensions that have to be the same have different sizes.
    #[error("{place}: dimensions of {left} and {right} have to agree{hint}")]
    Sizes {
        /// The operation, by the name of its parameter or module.
        place: String,
        /// One size.
        left: usize,
        /// The other size.
        right: usize,
        /// What to look at, from "\nhint: " on, or nothing.
        hint: String,
    },
    /// A size, count or attribute of an operation is out of its range.
    #[error("{place}: {name} is {got}, allowed {allowed}")]
    Attribute {
        /// The operation, by the name of its parameter or module.
        place: String,
        /// The attribute.
        name: &'static str,
        /// What it is.
        got: String,
        /// What it may be.
        allowed: String,
    },
    /// Two parameters have one name.
    #[error("parameter `{0}` is declared twice")]
    Duplicate(String),
    /// A tie names a parameter that the network does not have.
    #[error("`{alias}` is tied to `{target}`, which is no parameter of the network")]
    Tie {
        /// The name that is not stored.
        alias: String,
        /// The parameter that it should be.
        target: String,
    },
    /// A zoo specification cannot be read.
    #[error("zoo: {spec}: {why}")]
    Spec {
        /// The specification.
        spec: String,
        /// What is wrong with it, and what is known.
        why: String,
    },
}
