//! Learngene pool: one large network distilled into small ones whose blocks are stitched into networks of many sizes.
//!
//! # Idea
//! Who needs networks of many sizes can stitch two trained networks: the first blocks of a narrow one, a linear map, the last
//! blocks of a wide one. Instead of training each network by itself, all are distilled from one large network, the ancestry,
//! which is less to keep and lets them be as small as one likes; and what the distillation learns between the ancestry's
//! features and theirs is a start for the maps that stitch them.
//!
//! # Method
//! 1. Distillation. Each network of the pool learns the task and the ancestry's answers, and beside its own loss the squared
//!    distance of features behind its last block (`taps=end`; the first too with `both`) and of what attention adds there from
//!    `M x + b` of the ancestry's. M, `[own width, ancestry's width]`, is learned with it. Block j of L goes with block
//!    ⌈(j + 1) L' / L⌉ - 1 of the ancestry's L'.
//! 2. Stitching. Block i of `front` is followed by block j of `end`, for i and j in a window of two: |i - j| ≤ 1. Pairs that are
//!    first seen in the same window share a map `P x + c`: 16 pairs have 5 maps in networks of 6 blocks, 25 have 8 in 9.
//! 3. Start of P: `learned`, Mᵀ of the front's features (the mean over taps), c = - P b; where the end is narrower than the
//!    ancestry, its own M stands before. `inverse`: M's pseudo-inverse. `least_squares`: what comes closest to the end's values
//!    before block j, given the front's behind block i, on a few examples, averaged over the pairs that share P (SN-Net).
//!    `random`: as torch draws linear maps.
//! 4. Training: each step draws one of the networks, whole or stitched, and learns it; all share their weights.
//!
//! `epoch0 learngene distill`, `stitch`, `train`, `test` and `export` do this.
//!
//! # Shapes
//! Networks whose blocks stand in a chain and that take the same inputs: vision transformers, transformers of words, residual
//! networks, where the map is a convolution of 1 × 1. Networks that are stitched have the same number of blocks, and the same
//! number of positions.
//!
//! # Cost
//! A step of distillation takes one of training and a forward pass of the ancestry, a step of training one of the network that
//! is drawn. Least squares takes a singular value decomposition of features of `examples` examples.
//!
//! # Departures
//! - In the authors' code the optimizer is not given M, which stays random; here it learns.
//! - For j = 0 SN-Net's code takes the values behind the last block; here they are those before the first.
//! - c takes up what b adds, where the authors draw it.
//!
//! # Traps
//! - Mᵀ undoes M only where its rows are orthogonal and of one length: `stitch` says how far they are from it.
//! - Positions and the class token are the front's, the last norm and the readout the end's.
//! - Of many stitched networks, the whole ones are trained rarely: `sample=balanced` draws them as often as all stitched ones
//!   of a pair together.
//!
//! # Example
//! ```
//! use epoch0_inherit::learngene_pool::{ENTRY, shared};
//!
//! let method = (ENTRY.build)(&Default::default()).unwrap();
//! let pairs = shared(6, method.window as usize);
//! assert_eq!((pairs.len(), pairs.iter().map(|pair| pair.stitch).max()), (16, Some(4)));
//! ```
//!
//! # References
//! - [shi2023building] Section 3
//! - [pan2023stitchable] Section 3

mod claims;
mod distill;
mod pool;
mod stitch;

use epoch0_method::{Choice, Entry, Error, Family, Info, Params, Status, Values};

pub use distill::{Distilled, distill};
pub use pool::{Build, Described, Member, Pool, Tested, Transform};
pub use stitch::{Pair, shared};

/// The method's id.
pub(crate) const ID: &str = "learngene_pool";

/// Blocks behind which features are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Taps {
    /// The last.
    End,
    /// The first and the last.
    Both,
    /// Every one.
    All,
}

/// What stitches start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Start {
    /// The transformations of the distillation, transposed.
    Learned,
    /// Their pseudo-inverses.
    Inverse,
    /// Least squares of features (SN-Net).
    LeastSquares,
    /// As torch draws linear maps.
    Random,
}

/// How often each network of a pool is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Sample {
    /// All as often.
    Uniform,
    /// A whole one as often as all stitched ones of a pair.
    Balanced,
}

/// Parameters of a pool.
#[derive(Clone, Debug, Params)]
pub struct LearngenePool {
    /// Blocks behind which features are compared with the ancestry's.
    #[param(default = Taps::Both)]
    pub taps: Taps,
    /// Factor of the data's loss in the distillation.
    #[param(default = 0.5, range = "[0, inf)")]
    pub loss: f64,
    /// Factor of the distance to the ancestry's answers.
    #[param(default = 0.5, range = "[0, inf)")]
    pub answers: f64,
    /// Temperature at which answers are compared.
    #[param(default = 1.0, range = "(0, inf)")]
    pub temperature: f64,
    /// Factor of the squared distance of features.
    #[param(default = 1.0, range = "[0, inf)")]
    pub features: f64,
    /// Blocks in a window of stitching.
    #[param(default = 2, range = "[1, 1000]")]
    pub window: u32,
    /// What stitches start from.
    #[param(default = Start::Learned)]
    pub start: Start,
    /// Examples that least squares look at.
    #[param(default = 64, range = "[1, 65536]")]
    pub examples: u32,
    /// How often each network is trained.
    #[param(default = Sample::Uniform)]
    pub sample: Sample,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<LearngenePool> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: ID,
    aliases: &["learngene", "sn_net"],
    family: Family::Inherit,
    papers: &["shi2023building"],
    source: include_str!("mod.rs"),
    params: LearngenePool::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<LearngenePool>, Error> {
    Ok(Box::new(LearngenePool::from_values(ID, values)?))
}
