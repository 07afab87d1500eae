//! Arguments of `learngene`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

use super::pair;
use super::train::TrainingArgs;

/// What is done with a pool.
#[derive(Debug, Subcommand)]
pub(crate) enum Learngene {
    /// Distill a network into small ones, and keep them with what they learned of its features.
    Distill(Distill),
    /// Put maps between the blocks of a pool's networks.
    Stitch(Stitch),
    /// Train all networks of a pool, one of them in each step.
    Train(TrainPool),
    /// List the networks of a pool: what they take, and with data how they answer.
    Test(Test),
    /// Write one network of a pool as a checkpoint of its own.
    Export(Export),
}

/// Arguments of `learngene distill`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Distill {
    /// The ancestry: a checkpoint folder that answers for the data.
    #[arg(value_name = "NET")]
    pub(crate) ancestry: String,
    /// Networks to distill it into, narrow ones first: configs, or networks of the zoo. Give the option once for each.
    #[arg(long, value_name = "NET", required = true)]
    pub(crate) to: Vec<String>,
    /// Method that draws them [default: the network's usual start].
    #[arg(long, value_name = "ID")]
    pub(crate) with: Option<String>,
    /// Parameter of the method learngene_pool: taps, loss, answers, temperature, features.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) set: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    /// Seed of the starts and of the order of examples.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Folder to write.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Replace a checkpoint that stands there.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Arguments of `learngene stitch`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Stitch {
    /// Folder of a pool.
    #[arg(value_name = "POOL")]
    pub(crate) pool: PathBuf,
    /// Networks to stitch, by their numbers from 0 [default: each with the next]. Give the option once for each pair.
    #[arg(long, value_name = "FRONT:END", value_parser = two_places)]
    pub(crate) pair: Vec<(usize, usize)>,
    /// What the maps start from: learned, inverse, least_squares, random [default: learned].
    #[arg(long, value_name = "START")]
    pub(crate) start: Option<String>,
    /// Parameter of the method learngene_pool: window, examples.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) set: Vec<(String, String)>,
    /// Data for least squares.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: Option<String>,
    /// Seed of what is drawn.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Folder to write.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Replace a checkpoint that stands there.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Arguments of `learngene train`.
#[derive(Debug, ClapArgs)]
pub(crate) struct TrainPool {
    /// Folder of a pool.
    #[arg(value_name = "POOL")]
    pub(crate) pool: PathBuf,
    /// How often each network is trained: uniform, or balanced, a whole one as often as all stitched ones of a pair
    /// [default: uniform].
    #[arg(long, value_name = "SAMPLE")]
    pub(crate) sample: Option<String>,
    /// Learn from this network's answers too: a checkpoint folder, such as the ancestry.
    #[arg(long, value_name = "NET")]
    pub(crate) teacher: Option<String>,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    /// Seed of the order of examples and networks.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Folder to write.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Replace a checkpoint that stands there.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Arguments of `learngene test`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Test {
    /// Folder of a pool.
    #[arg(value_name = "POOL")]
    pub(crate) pool: PathBuf,
    /// Data to test on.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: Option<String>,
}

/// Arguments of `learngene export`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Export {
    /// Folder of a pool.
    #[arg(value_name = "POOL")]
    pub(crate) pool: PathBuf,
    /// The network, by its number in `learngene test`.
    #[arg(long, value_name = "N", required_unless_present = "at_most")]
    pub(crate) network: Option<usize>,
    /// The best network of at most so many multiply-adds for an example (2e6): by the data, or without any the largest.
    #[arg(long, value_name = "MULTIPLY-ADDS", conflicts_with = "network")]
    pub(crate) at_most: Option<f64>,
    /// Data that say which is best.
    #[arg(long, value_name = "DATA", requires = "at_most")]
    pub(crate) data: Option<String>,
    /// Folder to write.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Replace a checkpoint that stands there.
    #[arg(long)]
    pub(crate) force: bool,
}

fn two_places(text: &str) -> Result<(usize, usize), String> {
    let both = text.split_once(':').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
    both.ok_or_else(|| "two numbers of networks are written 0:1".to_owned())
}
