//! What can be wrong with an ONNX file.

use epoch0_net::NetError;

use super::wire::WireFault;

/// Why an ONNX file is no network that can be run.
///
/// Names come from the file: they are cut to a length fit for messages, with control characters escaped.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxFault {
    /// Bytes that are no message of ONNX.
    #[error("not an ONNX file: {0}")]
    Wire(#[from] WireFault),
    /// A model without a graph.
    #[error("the file holds no graph, so it is no ONNX model")]
    NoGraph,
    /// Too much to read.
    #[error("{what} has {found}, allowed at most {allowed}")]
    Limit {
        /// What is too large.
        what: String,
        /// How large it is.
        found: String,
        /// The limit.
        allowed: u64,
    },
    /// An operator set that is not known.
    #[error(
        "operators are of version {found}, allowed 13 and later\nhint: export again with opset_version=17"
    )]
    Opset {
        /// The version.
        found: i64,
    },
    /// A name twice.
    #[error("{what} `{name}` is there twice")]
    Duplicate {
        /// "value" or "function".
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A value that nothing makes before it is read: a name that is wrong, or nodes in a circle.
    #[error("{place} reads `{value}`, which nothing makes before it")]
    Undefined {
        /// Node or output.
        place: String,
        /// The value.
        value: String,
    },
    /// A weight or constant that is not of the format.
    #[error("initializer `{name}`: {why}")]
    Initializer {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// External data that is somewhere else than beside the file.
    #[error("initializer `{name}` is said to be in `{found}`, allowed a file in the folder of the model")]
    ExternalPath {
        /// The initializer.
        name: String,
        /// The location.
        found: String,
    },
    /// External data that ends before the initializer does.
    #[error("initializer `{name}` is said to be at bytes {start}..{end} of `{file}`, which has {length}")]
    ExternalRange {
        /// The initializer.
        name: String,
        /// The file.
        file: String,
        /// First byte.
        start: u64,
        /// One past the last.
        end: u64,
        /// Bytes of the file.
        length: u64,
    },
    /// An operator that cannot be run.
    #[error("node `{node}` is {domain}{op}: {why}")]
    Operator {
        /// The node.
        node: String,
        /// The operator's domain, with `::`, where it is not ONNX's own.
        domain: String,
        /// The operator.
        op: String,
        /// Why not, and what is allowed.
        why: String,
    },
    /// The graph's parts do not fit together.
    #[error(transparent)]
    Network(#[from] NetError),
    /// A weight that the network has no parameter for, or one without values.
    #[error("{0}")]
    Weights(String),
}
