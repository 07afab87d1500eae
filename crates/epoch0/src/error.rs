//! What can go wrong, over all rooms.

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A config is not that of a known network.
    #[error(transparent)]
    Config(#[from] epoch0_format::hf::ConfigError),
    /// A graph is no network.
    #[error(transparent)]
    Net(#[from] epoch0_net::NetError),
    /// A method could not do its work.
    #[error(transparent)]
    Method(#[from] epoch0_method::Error),
    /// A file or folder could not be read or written.
    #[error(transparent)]
    Format(#[from] epoch0_format::Error),
    /// A network could not be run.
    #[error(transparent)]
    Engine(#[from] epoch0_engine::Error),
    /// A start could not be calibrated.
    #[error(transparent)]
    Calibrate(#[from] epoch0_init::calibrate::Error),
    /// A start could not be examined.
    #[error(transparent)]
    Examine(#[from] epoch0_examine::Error),
    /// Data could not be had.
    #[error(transparent)]
    Data(#[from] epoch0_data::Error),
    /// A network could not be trained.
    #[error(transparent)]
    Train(#[from] epoch0_train::Error),
    /// Starts cannot be compared.
    #[error("compare: {why}")]
    Compare {
        /// Why not, and a hint.
        why: String,
    },
    /// Batch normalizations cannot be folded.
    #[error("fold: {place}: found {found}, allowed {allowed}")]
    Fold {
        /// The tensor, network or file.
        place: String,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// Networks cannot be made one.
    #[error("{method}: {place}: {found}, allowed {allowed}")]
    Merge {
        /// The method's id.
        method: String,
        /// The tensor with its checkpoint, or the setting.
        place: String,
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// A network does not come at these widths.
    #[error("widths of {given}: {why}")]
    Width {
        /// The network.
        given: String,
        /// Why not.
        why: String,
    },
    /// What was named is no network.
    #[error("`{given}` is no network: {why}\nhint: {hint}")]
    NoNetwork {
        /// What was given.
        given: String,
        /// Why not.
        why: String,
        /// What may be given.
        hint: String,
    },
    /// An ONNX file is made of one that was given.
    #[error("`{given}` is no ONNX file, and `{}` can only be made of one\nhint: name a folder for safetensors", .out.display())]
    NoOnnx {
        /// The network that was given.
        given: String,
        /// The file that was to be written.
        out: std::path::PathBuf,
    },
    /// The operators of an ONNX file take the types that it has.
    #[error(
        "`{name}` is {found} in the ONNX file, and its operators take nothing else: not {asked}\nhint: leave --dtype out, or name a folder for safetensors"
    )]
    OnnxDtype {
        /// The parameter.
        name: String,
        /// Its type in the file.
        found: epoch0_num::Dtype,
        /// The type asked for.
        asked: epoch0_num::Dtype,
    },
    /// A receipt cannot be followed.
    #[error("receipt of {place}: {why}")]
    Receipt {
        /// The checkpoint.
        place: String,
        /// What is wrong with it.
        why: String,
    },
}
