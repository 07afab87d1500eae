//! Block sparse: Gaussian blocks, all else zero, with rows and columns in random order.
//!
//! # Idea
//! Wide networks are Gaussian processes not only with independent weights: pseudo-iid laws will do (see `low_rank`), and
//! blocks of weights whose rows and columns are put in random order are one. Networks of them are tuned to the edge of
//! chaos with the same numbers, and store and multiply a fraction of the weights.
//!
//! # Method
//! With m outputs and n inputs:
//! 1. Cut the matrix into `block × block` blocks and choose a share `density` of them, as many in each row and column of
//!    blocks, or one more where that does not come out even.
//! 2. Draw these from `N(0, σ_w² / (n p))`, p the share that was chosen; all others are 0.
//! 3. Put all rows in random order, and all columns in another.
//!
//! A weight has mean 0 and variance `σ_w² / n`, as a Gaussian start has. `σ_w` is the gain of the activation that follows,
//! where it is not given. The first layer is Gaussian, as the theorem has it.
//!
//! # Shapes
//! Weights with inputs and outputs whose sides are multiples of `block`; a convolution is flattened to `in · receptive`
//! columns. Each group and each part of packed attention is a matrix of its own. Asked for a whole network, it covers those
//! linear maps and convolutions, and says how many it leaves to what is below; a rule that names another is refused.
//!
//! # Cost
//! O(weights), with two shuffles.
//!
//! # Departures
//! The order is written into the matrix: nothing is stored apart. Columns of a convolution are put in order one by one, not
//! channel by channel.
//!
//! # Traps
//! - Without the random order, blocks on the diagonal make units of one block independent of those of another, and the
//!   network several narrow ones. Putting rows in order alone does not help.
//! - Biases are left to what is below. On the edge of chaos they belong to the start: `eoc` says what they are.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("mlp:64-256-256-10").unwrap();
//! let recipe = "{base: pytorch_default, rules: [{with: block_sparse}]}";
//! let plan = Plan::new(METHODS, &net, &Recipe::from_yaml("recipe", recipe).unwrap(), 7).unwrap();
//! let law = |name: &str| &plan.sites_of(net.find(name).unwrap())[0].law;
//! assert_eq!(law("2.weight").to_string(), "block sparse, 256 of 1024 blocks of 8 × 8");
//! assert!((law("2.weight").std() - (2.0f64 / 256.0).sqrt()).abs() < 1e-12);
//! // Ten classes are not made of blocks of eight.
//! assert!(plan.remarks()[0].starts_with("block_sparse: 1 of 3 weights"));
//! ```
//!
//! # References
//! - [naitsaada2023iid] Definition 1 and Section 2.2; [hayou2019impact] for the edge of chaos

mod claims;

use epoch0_method::{ArrayMut, At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::Network;
use epoch0_num::Stream;
use epoch0_num::joint::{self, Float, JointError};

use crate::low_rank::{First, law, left_below, std};
use crate::shared::{Matrix, each_map, unsupported};

/// Parameters of the start of blocks.
#[derive(Clone, Debug, Params)]
pub struct BlockSparse {
    /// Side of a block.
    #[param(default = 8, range = "[1, 65536]")]
    pub block: u32,
    /// Share of blocks that are not zero.
    #[param(default = 0.25, range = "(0, 1]", symbol = "p")]
    pub density: f64,
    /// Standard deviation of a weight times the root of the fan-in; auto is the gain of the activation that follows.
    #[param(default = None, range = "[0, inf)", symbol = "σ_w")]
    pub sigma_w: Option<f64>,
    /// What the first layer is drawn from.
    #[param(default = First::Gaussian)]
    pub first: First,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "block_sparse",
    aliases: &[],
    family: Family::Init,
    papers: &["naitsaada2023iid", "hayou2019impact"],
    source: include_str!("mod.rs"),
    params: BlockSparse::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(BlockSparse::from_values(INFO.id, values)?))
}

impl Initializer for BlockSparse {
    fn remarks(&self, net: &Network) -> Vec<String> {
        left_below(self, net, "are not made of such blocks, or too few of these")
    }

    fn covers(&self, at: &At<'_>) -> bool {
        at.role.is_matrix() && (self.first.is_gaussian(at) || self.name(at).is_ok())
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        law(INFO.id, (self.sigma_w, self.first), at, || self.name(at))
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let matrix = Matrix::of(INFO.id, at)?;
        let std = std(INFO.id, self.sigma_w, at)?;
        let drawn = match out {
            ArrayMut::F32(out) => self.draw(&matrix, std, stream, out),
            ArrayMut::F64(out) => self.draw(&matrix, std, stream, out),
        };
        drawn.map_err(|error| refused(at, &error))
    }
}

impl BlockSparse {
    /// What the law of a site is called, where there is one.
    fn name(&self, at: &At<'_>) -> Result<String, Error> {
        let matrix = Matrix::of(INFO.id, at)?;
        let block = self.block as usize;
        let (rows, cols) = (matrix.out, matrix.columns());
        if rows % block != 0 || cols % block != 0 {
            return Err(refused(at, &JointError::Blocks { block, rows, cols }));
        }
        let blocks = [matrix.out, matrix.columns()].map(|side| side / block);
        let kept = joint::nonzeros(INFO.id, blocks[0], blocks[1], self.density);
        let kept = kept.map_err(|error| refused(at, &error))?;
        Ok(format!("block sparse, {kept} of {} blocks of {block} × {block}", blocks[0] * blocks[1]))
    }

    fn draw<T: Float>(
        &self,
        matrix: &Matrix,
        std: f64,
        stream: &Stream,
        out: &mut [T],
    ) -> Result<(), JointError> {
        each_map(matrix, stream, out, |stream, map| {
            joint::block_sparse(
                stream,
                matrix.out,
                matrix.columns(),
                self.block as usize,
                self.density,
                std,
                map,
            )
        })
    }
}

fn refused(at: &At<'_>, error: &JointError) -> Error {
    unsupported(INFO.id, at.label(), error, "another block or density, or low_rank, which takes any matrix")
}
