//! Arguments of what has to do with several networks.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use epoch0::format::ShardSize;
use epoch0::inheriting::merge::gossip::{Partition, Topology};
use epoch0::num::Dtype;

use super::{float_dtype, pair};

/// Arguments of `average`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Average {
    /// Checkpoints with the same tensors: folders, files of weights (safetensors, torch's) or indices.
    #[arg(value_name = "CHECKPOINT", required = true)]
    pub(crate) networks: Vec<String>,
    /// How much is taken of each, of sum 1 [default: of all alike].
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', allow_negative_numbers = true)]
    pub(crate) weights: Option<Vec<f64>>,
    /// Method: average, or variance_corrected_average.
    #[arg(long, value_name = "ID", default_value = "average")]
    pub(crate) with: String,
    /// Parameter of the method.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) set: Vec<(String, String)>,
    /// First put the units of each network into the order of the first one's (Git Re-Basin), which changes no function.
    #[arg(long)]
    pub(crate) align: bool,
    /// Type of the means [default: that of the first network].
    #[arg(long, value_name = "TYPE", value_parser = float_dtype)]
    pub(crate) dtype: Option<Dtype>,
    /// Folder to write; it appears whole or not at all.
    #[arg(short, long, value_name = "FOLDER", required_unless_present = "dry_run")]
    pub(crate) out: Option<PathBuf>,
    /// Seed of the order in which axes are aligned.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Size from which a checkpoint is cut into files: bytes, or with a unit (MB, GiB…).
    #[arg(long, value_name = "SIZE", default_value_t = ShardSize::default())]
    pub(crate) shard_size: ShardSize,
    /// Replace a checkpoint that stands there.
    #[arg(long)]
    pub(crate) force: bool,
    /// Read the networks and say what the mean would be, and write nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Arguments of `diff`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Diff {
    /// A checkpoint: a folder, a file of weights (safetensors, torch's) or an index.
    #[arg(value_name = "A")]
    pub(crate) first: PathBuf,
    /// Another, perhaps made of it.
    #[arg(value_name = "B")]
    pub(crate) second: PathBuf,
    /// Write a report that needs nothing else: one HTML file.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Exit with 1 unless all tensors are the same.
    #[arg(long)]
    pub(crate) strict: bool,
}

/// Arguments of `gossip`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Gossip {
    /// The network of every node: a config.json, or a network of the zoo (mlp:784-100-10,act=tanh).
    #[arg(value_name = "NET")]
    pub(crate) net: String,
    /// Data that is dealt out to the nodes: a name (`epoch0 data list`), a file or folder, or a generator.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: String,
    /// Number of nodes.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..))]
    pub(crate) nodes: u16,
    /// Who talks to whom: ring, full, regular:K or er:P.
    #[arg(long, value_name = "GRAPH", default_value = "regular:4", value_parser = topology)]
    pub(crate) topology: Topology,
    /// Who has which examples: iid or dirichlet:A.
    #[arg(long, value_name = "HOW", default_value = "iid", value_parser = partition)]
    pub(crate) partition: Partition,
    /// What nodes do: none, average, conservative:C, vc[:conservative|self|others], fedavg, sampled:P or first.
    #[arg(long, value_name = "HOW,…", value_delimiter = ',', default_value = "average,vc")]
    pub(crate) merge: Vec<String>,
    /// Whether nodes begin with the same weights.
    #[arg(long)]
    pub(crate) common_start: bool,
    /// Method that draws the starts; all others keep the network's usual one.
    #[arg(long, value_name = "ID", default_value = "xavier_normal")]
    pub(crate) with: String,
    /// Steps of each node.
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) steps: u32,
    /// Steps between two exchanges.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) every: u32,
    /// Steps between two looks [default: a tenth of all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) look_every: Option<u32>,
    /// Learning rate of gradient descent with momentum.
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    pub(crate) rate: f64,
    /// Momentum.
    #[arg(long, default_value_t = 0.9)]
    pub(crate) momentum: f64,
    /// Examples in a batch.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// Seed of starts, graph, parts and orders.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

fn topology(text: &str) -> Result<Topology, String> {
    text.parse().map_err(|error: epoch0::method::Error| error.to_string())
}

fn partition(text: &str) -> Result<Partition, String> {
    text.parse().map_err(|error: epoch0::method::Error| error.to_string())
}
