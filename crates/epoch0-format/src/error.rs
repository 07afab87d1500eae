//! What can go wrong with files.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use epoch0_num::Dtype;

/// Why a file or a folder could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("could not {what} `{}`: {source}", path.display())]
    Io {
        /// What was tried, as in "could not … `path`".
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The disk, the quota or the limit on file sizes is too small.
    #[error("no room for `{}`, which takes {wanted} bytes: {source}", path.display())]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// Bytes that the file takes when whole.
        wanted: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is not what its format demands.
    #[error("`{}`: {fault}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Box<Fault>,
    },
    /// An ONNX file that is no network, or one that cannot be run.
    #[error("`{}`: {fault}", path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Box<crate::onnx::OnnxFault>,
    },
    /// A file that is none of base shapes.
    #[error("`{}`: no base shapes: {why}\nhint: mup writes them with save_base_shapes, `epoch0 base-shapes` too", path.display())]
    BaseShapes {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A path that should name a file names something else.
    #[error("`{}` is {found}, allowed a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it names.
        found: &'static str,
    },
    /// A folder without a checkpoint.
    #[error(
        "`{}` holds no checkpoint, allowed model.safetensors, pytorch_model.bin or either in shards with its index, found {}",
        path.display(),
        listed(found, "no file of weights")
    )]
    NoCheckpoint {
        /// The folder.
        path: PathBuf,
        /// Names of files of weights in it, which may be opened by their own path.
        found: Vec<String>,
    },
    /// A name that the checkpoint does not hold.
    #[error("`{}` has no tensor `{}`{}", path.display(), shown(name), near_hint(near))]
    UnknownTensor {
        /// The checkpoint.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// Names that it might have been.
        near: Vec<String>,
    },
    /// Values asked for of a tensor whose elements are no floating-point numbers.
    #[error("tensor `{}` holds {dtype}, allowed f64, f32, f16 and bf16", shown(tensor))]
    NotFloat {
        /// The tensor.
        tensor: String,
        /// What it holds.
        dtype: Dtype,
    },
    /// Elements or bytes outside of a tensor.
    #[error("{unit} {start}..{end} of tensor `{}` asked for, allowed 0..{len}", shown(tensor))]
    OutOfRange {
        /// The tensor.
        tensor: String,
        /// "elements" or "bytes".
        unit: &'static str,
        /// First one asked for.
        start: u64,
        /// One past the last.
        end: u64,
        /// How many there are.
        len: u64,
    },
    /// A checkpoint cannot be laid out.
    #[error("the checkpoint cannot be laid out: {0}")]
    Plan(PlanFault),
    /// A size that cannot be read.
    #[error(
        "shard size `{found}` is not a size, allowed a number of bytes from 1, or one with KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB or TiB (powers of 1024)"
    )]
    ShardSize {
        /// The text.
        found: String,
    },
    /// Bytes written a second time.
    #[error("bytes {start}..{end} of tensor `{}` were written before", shown(tensor))]
    WrittenTwice {
        /// The tensor.
        tensor: String,
        /// First byte of the second write.
        start: u64,
        /// One past its last.
        end: u64,
    },
    /// A checkpoint finished before all of it was written.
    #[error("tensor `{}` is not finished: {written} of {wanted} bytes were written", shown(tensor))]
    Unfinished {
        /// The first unfinished tensor.
        tensor: String,
        /// Bytes written.
        written: u64,
        /// Bytes it has.
        wanted: u64,
    },
    /// The work was cancelled; nothing is left behind.
    #[error("cancelled, nothing was kept")]
    Cancelled,
    /// An output folder cannot be put where it was asked for.
    #[error("cannot write to `{}`: {fault}", path.display())]
    Target {
        /// The folder that was asked for.
        path: PathBuf,
        /// Why not.
        fault: TargetFault,
    },
}

/// What is wrong with a checkpoint file.
///
/// Names come from the file: they are cut to a length fit for messages, with control characters escaped.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A file of torch that cannot be read.
    #[error(transparent)]
    Torch(#[from] crate::read::torch::TorchFault),
    /// Not even a header length.
    #[error("the file has {found} bytes, a safetensors file has at least 8")]
    TooShort {
        /// Its length.
        found: u64,
    },
    /// A header that the file, or reason, has no room for.
    #[error("the header claims {found} bytes, allowed at most {allowed} in this file")]
    HeaderLength {
        /// The length in the file.
        found: u64,
        /// The rest of the file, or the limit of 100,000,000.
        allowed: u64,
    },
    /// A header that is not text.
    #[error("the header is not UTF-8 at byte {at}")]
    HeaderUtf8 {
        /// Offset in the header.
        at: usize,
    },
    /// A header that is not a JSON object.
    #[error("the header is not a JSON object: {why}")]
    HeaderJson {
        /// The parser's reason.
        why: String,
    },
    /// A key twice in one JSON object.
    #[error("`{name}` is there twice")]
    Duplicate {
        /// The key.
        name: String,
    },
    /// Metadata that is not text.
    #[error("__metadata__ has to be an object of texts: {why}")]
    Metadata {
        /// The parser's reason.
        why: String,
    },
    /// A tensor's entry that is not of the format.
    #[error(
        "the entry of tensor `{tensor}` has to be {{\"dtype\": …, \"shape\": […], \"data_offsets\": [begin, end]}}: {why}"
    )]
    Entry {
        /// The tensor.
        tensor: String,
        /// The parser's reason.
        why: String,
    },
    /// An unknown element type.
    #[error("tensor `{tensor}` has dtype `{found}`, allowed {}", dtype_names())]
    UnknownDtype {
        /// The tensor.
        tensor: String,
        /// Its dtype.
        found: String,
    },
    /// A shape whose size does not fit in the machine's addresses.
    #[error("tensor `{tensor}` of shape {shape} has more bytes than can be addressed")]
    ShapeOverflow {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: String,
    },
    /// Packed elements that end inside a byte.
    #[error("tensor `{tensor}` of shape {shape} and dtype {dtype} is no whole number of bytes")]
    PartialByte {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: String,
        /// Its dtype.
        dtype: Dtype,
    },
    /// Data of another size than shape and dtype say.
    #[error(
        "tensor `{tensor}` of shape {shape} and dtype {dtype} takes {wanted} bytes, but its data_offsets span {found}"
    )]
    Size {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: String,
        /// Its dtype.
        dtype: Dtype,
        /// What they make.
        wanted: u64,
        /// What the offsets make.
        found: u64,
    },
    /// Offsets that end before they begin.
    #[error("data_offsets of tensor `{tensor}` are [{begin}, {end}], allowed begin <= end")]
    Backwards {
        /// The tensor.
        tensor: String,
        /// First offset.
        begin: u64,
        /// Second offset.
        end: u64,
    },
    /// Data beyond the end of the file: a cut file, mostly.
    #[error("data of tensor `{tensor}` end at {end}, allowed at most {allowed}, where the file ends")]
    PastEnd {
        /// The tensor.
        tensor: String,
        /// Where its data would end, in bytes after the header.
        end: u64,
        /// Bytes after the header.
        allowed: u64,
    },
    /// Bytes that belong to no tensor, before one.
    #[error(
        "data of tensor `{tensor}` begin at {found}, allowed {allowed}: the bytes between belong to no tensor"
    )]
    Hole {
        /// The tensor after the hole.
        tensor: String,
        /// Where it begins.
        found: u64,
        /// Where the data before it end.
        allowed: u64,
    },
    /// Two tensors share bytes.
    #[error(
        "data of tensor `{tensor}` begin at {found}, inside of tensor `{other}`, which ends at {allowed}"
    )]
    Overlap {
        /// The second tensor.
        tensor: String,
        /// The first.
        other: String,
        /// Where the second begins.
        found: u64,
        /// Where the first ends.
        allowed: u64,
    },
    /// Bytes after the last tensor.
    #[error("{found} bytes follow the header, allowed {allowed}, where the last tensor ends")]
    Trailing {
        /// Bytes after the header.
        found: u64,
        /// Bytes that tensors take.
        allowed: u64,
    },
    /// An index that is not of the format.
    #[error("the index has to be a JSON object with a `weight_map` of texts: {why}")]
    IndexJson {
        /// The parser's reason.
        why: String,
    },
    /// An index too large to be one.
    #[error("the index has {found} bytes, allowed at most {allowed}")]
    IndexLength {
        /// Its length.
        found: u64,
        /// The limit.
        allowed: u64,
    },
    /// A shard that is not a plain file name.
    #[error("tensor `{tensor}` is said to be in `{found}`, allowed the name of a file in the same folder")]
    ShardName {
        /// The tensor.
        tensor: String,
        /// The name.
        found: String,
    },
    /// A shard that is not there.
    #[error("tensor `{tensor}` is said to be in `{shard}`, which is not in the folder")]
    MissingShard {
        /// The first tensor that should be in it.
        tensor: String,
        /// The shard.
        shard: String,
    },
    /// A tensor that is in no shard.
    #[error("tensor `{tensor}` is said to be in `{shard}`, but is in no shard")]
    NoShard {
        /// The tensor.
        tensor: String,
        /// Where it should be.
        shard: String,
    },
    /// A tensor in another shard than the index says.
    #[error("tensor `{tensor}` is said to be in `{stated}`, but is in `{found}`")]
    WrongShard {
        /// The tensor.
        tensor: String,
        /// Where it should be.
        stated: String,
        /// Where it is.
        found: String,
    },
    /// A tensor in two shards.
    #[error("tensor `{tensor}` is in `{first}` and in `{second}`")]
    TwoShards {
        /// The tensor.
        tensor: String,
        /// One shard.
        first: String,
        /// The other.
        second: String,
    },
}

/// Why a checkpoint cannot be laid out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanFault {
    /// A name twice.
    #[error("tensor `{}` is there twice", shown(name))]
    Duplicate {
        /// The name.
        name: String,
    },
    /// The name that headers keep for metadata.
    #[error("a tensor is named `__metadata__`, which the format keeps for itself")]
    ReservedName,
    /// More bytes than can be addressed, or packed elements that end inside a byte.
    #[error(
        "tensor `{}` of shape {shape} and dtype {dtype} is too large, or no whole number of bytes",
        shown(name)
    )]
    Size {
        /// The name.
        name: String,
        /// The shape.
        shape: String,
        /// The dtype.
        dtype: Dtype,
    },
    /// Metadata without the key that loaders ask for.
    #[error("metadata has no `format`, allowed `format: pt`, which loaders ask for")]
    NoFormat,
    /// A header that readers would refuse.
    #[error("the header of `{file}` has {found} bytes, readers allow 100000000: use smaller shards")]
    HeaderLength {
        /// The file.
        file: String,
        /// Its header's length.
        found: u64,
    },
}

/// Why an output folder cannot be put where it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetFault {
    /// There is something already.
    #[error("it exists and is not empty, it holds `{first}`\nhint: --force replaces a checkpoint folder")]
    Exists {
        /// The first entry in it, by name.
        first: String,
    },
    /// There is something that no checkpoint folder holds, which is never deleted.
    #[error(
        "it holds `{first}`, which is no file of a checkpoint, so it is not replaced\nhint: name another folder or move that file away"
    )]
    Foreign {
        /// The first foreign entry, by name.
        first: String,
    },
    /// A file stands where one is to be written.
    #[error("it exists\nhint: --force replaces it")]
    FileExists,
    /// A file stands there.
    #[error("it is a file, allowed a folder")]
    IsFile,
    /// The folder that should hold it is not there.
    #[error("the folder `{}` does not exist\nhint: make it first", .parent.display())]
    NoParent {
        /// That folder.
        parent: PathBuf,
    },
    /// What should hold it is a file.
    #[error("`{}` is not a folder", .parent.display())]
    ParentIsFile {
        /// That file.
        parent: PathBuf,
    },
    /// The root, a mount point or the current folder: nothing can be renamed onto it.
    #[error("it is {what}, which cannot be replaced as a whole\nhint: name a new folder inside of it")]
    Fixed {
        /// What it is.
        what: &'static str,
    },
    /// Not the name of a file in a folder.
    #[error("`{name}` is not a file name")]
    FileName {
        /// The name.
        name: String,
    },
}

impl Error {
    /// An error of the system, with what was being done (`read`, `open`…) to which file.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }

    /// An error of writing a file of `wanted` bytes.
    pub(crate) fn writing(path: &Path, wanted: u64) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::NoSpace { path: path.to_owned(), wanted, source }
            }
            _ => Self::Io { what: "write", path: path.to_owned(), source },
        }
    }

    pub(crate) fn malformed(path: &Path) -> impl FnOnce(Fault) -> Self {
        move |fault| Self::Malformed { path: path.to_owned(), fault: Box::new(fault) }
    }

    pub(crate) fn onnx(path: &Path) -> impl FnOnce(crate::onnx::OnnxFault) -> Self {
        move |fault| Self::Onnx { path: path.to_owned(), fault: Box::new(fault) }
    }

    pub(crate) fn target(path: &Path, fault: TargetFault) -> Self {
        Self::Target { path: path.to_owned(), fault }
    }

    /// What is wrong with the file, where this is [`Error::Malformed`].
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Malformed { fault, .. } => Some(fault),
            _ => None,
        }
    }
}

/// A name out of a file, fit for a message: no control characters, not longer than a line.
pub(crate) fn shown(name: &str) -> String {
    const LONGEST: usize = 120;
    let mut text: String = name.escape_debug().take(LONGEST + 1).collect();
    if text.chars().count() > LONGEST {
        text = text.chars().take(LONGEST).chain(['…']).collect();
    }
    text
}

/// A shape, fit for a message.
pub(crate) fn shown_shape<T: fmt::Display>(shape: &[T]) -> String {
    const LONGEST: usize = 16;
    let dims: Vec<String> = shape.iter().take(LONGEST).map(ToString::to_string).collect();
    format!("[{}{}]", dims.join(", "), if shape.len() > LONGEST { ", …" } else { "" })
}

fn listed(names: &[String], none: &str) -> String {
    if names.is_empty() { none.to_owned() } else { names.join(", ") }
}

fn near_hint(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("\nhint: near names are {}", near.join(", ")) }
}

fn dtype_names() -> String {
    Dtype::ALL.map(Dtype::safetensors_name).join(", ")
}
