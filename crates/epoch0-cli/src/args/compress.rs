//! Arguments of `compress` and `decompress`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::pair;

/// Arguments of `compress`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Compress {
    /// A checkpoint folder.
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
    /// Folder to write; it appears whole or not at all.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Bits of a code, 1 to 8 [default: 2].
    #[arg(long, value_name = "BITS")]
    pub(crate) bits: Option<String>,
    /// Groups of rows, up to 256, or auto [default: auto, as many as take 1 % of the codes' bytes].
    #[arg(long, value_name = "N")]
    pub(crate) groups: Option<String>,
    /// What each group has of its own: books, scales, or uniform, which rounds each row to an even grid [default: books].
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<String>,
    /// Data that codes are learned on: a name (`epoch0 data list`), a file or folder, or a generator; without any, k-means
    /// is all.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: Option<String>,
    /// Number of examples to learn on [default: as many as fit, 8 to 256].
    #[arg(long, value_name = "N", requires = "data", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) examples: Option<u32>,
    /// Steps of learning, for each layer [default: 500].
    #[arg(long, value_name = "N", requires = "data")]
    pub(crate) steps: Option<String>,
    /// What the mapping follows: proximal, nearer levels first, or plain [default: proximal].
    #[arg(long, value_name = "GRADIENT", requires = "data")]
    pub(crate) gradient: Option<String>,
    /// Another parameter of the method (`epoch0 explain codebook`).
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) set: Vec<(String, String)>,
    /// Seed of grouping, and of which examples are learned on.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Replace a checkpoint that stands there.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Arguments of `decompress`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Decompress {
    /// A folder that `compress` wrote, or the file in it.
    #[arg(value_name = "FOLDER")]
    pub(crate) from: PathBuf,
    /// Folder to write; it appears whole or not at all.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Replace a checkpoint that stands there.
    #[arg(long)]
    pub(crate) force: bool,
}
