//! Codebooks: weights of a network as small numbers that point into books, learned with the mapping.
//!
//! # Idea
//! A weight of 2 bits says which of 4 numbers of a codebook it is. One codebook for a tensor is too coarse, as neurons differ in
//! size; one for each neuron takes too many bytes. Neurons with weights that are alike are put side by side, which a network
//! does not notice, so that a group is a run of rows and nothing has to say which row is of which group. Books and the mapping
//! are then learned together, layer by layer, from what the whole network does to a few examples.
//!
//! # Method
//! 1. Groups. A neuron is described by standard deviation, mean and largest size of its weights (of all weights that make it:
//!    gate and up of a gated unit); k-means (k-means++, 50 rounds) makes G groups. On axes whose order nothing depends on,
//!    neurons are put in the order of their groups, and the inputs of what reads them follow. Elsewhere a byte says the group of
//!    a row.
//! 2. Books of K = 2^bits numbers by k-means of the weights (from stretched quantiles): `mode=books`, Ŵ = C_g\[I\], one for each
//!    group; `mode=scales`, Ŵ = s_g C\[I\], one book, and s_g the root mean square of the group.
//! 3. Learning, with data. Layers in order: X̃ is what the layers before make now, Y what the layer made in the whole network;
//!    ‖Y − Ŵ X̃‖² is made smaller by Adam, in books, scales, and logits A of the levels about each weight's own. Forward the level
//!    with the largest logit counts; backward w̃ = Σ p_k c_k with p = softmax(A/τ), τ from 1 to 0.1.
//! 4. Proximal gradient. ∂w̃/∂A_k = p_k (c_k − w̃)/τ is largest for the level that is farthest away. `gradient=proximal` has
//!    sign(c_k − ŵ) Δ² / (|c_k − ŵ| + 0.1 Δ) for (c_k − w̃), Δ the middle gap between levels and ŵ the weight's own level, so
//!    that the next level comes first.
//! 5. A bias takes up the mean of what is lost.
//!
//! A file holds codes, packed, and f16 books: rows × columns × bits + 16 G K bits for books, 16 (K + G) for scales, 32 G for runs
//! or 8 for each row.
//!
//! # Shapes
//! Weights of linear maps, convolutions and recurrent layers, and tables of words. What reads inputs or makes answers, tables and
//! routers have `ends` bits, 8 if nothing else is said. All else keeps its type.
//!
//! # Cost
//! k-means sorts each group's weights once. Learning holds the weights and a batch's values twice; a step takes o·i² for a weight
//! of o rows and i columns, as XᵀX is made once.
//!
//! # Departures
//! - The paper's text gives no formulas for grouping, books and gradient; those above are ours and keep to what it says of them.
//! - Gradients are of all examples at once, through XᵀX, not of batches. Adam's second mean is one for all logits of a weight:
//!   one for each would take away what the two gradients differ in. The best of all steps is kept.
//! - Distances of the proximal gradient are from the level that a weight is at, which the forward pass has, not from w̃: from w̃ a
//!   steady pull makes a weight's own logit grow fastest, and it stays.
//! - The order of residual streams and heads stays, and their rows have a byte each. What is no code stays as it is: f16 holds no
//!   variance above 65504.
//! - More groups than a tensor has rows are as many as it has rows.
//!
//! # Traps
//! - Two bits with k-means alone spoil most networks: give data.
//! - Grouped and transposed convolutions, recurrent layers, tables and weights that are used twice are not learned.
//! - `mode=uniform`, rounding to an even grid for each row, is there to compare with.
//!
//! # Example
//! ```
//! use epoch0_inherit::codebook::ENTRY;
//!
//! let method = (ENTRY.build)(&Default::default()).unwrap();
//! assert_eq!((method.bits, method.ends), (2, 8));
//! ```
//!
//! # References
//! - [yvinec2023network] Section 3

mod claims;
mod fit;
mod layers;
mod learn;
mod means;
mod order;
mod pack;
mod plan;

use epoch0_method::{Choice, Entry, Error, Family, Info, Params, Status, Values};

pub use layers::{Layer, Learned};
pub use pack::{CodebookTensor, Groups, Parts, code_bytes};
pub use plan::{Plan, Target};

/// The method's id.
pub(crate) const ID: &str = "codebook";

/// What groups have of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Mode {
    /// A scale; all share one book.
    Scales,
    /// A book.
    Books,
    /// Each row is a group with a scale, and levels are evenly spaced: rounding to nearest.
    Uniform,
}

/// What logits follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Gradient {
    /// Nearer levels first.
    Proximal,
    /// The softmax's own.
    Plain,
}

/// Parameters of codebooks.
#[derive(Clone, Debug, Params)]
pub struct Codebook {
    /// Bits of a code.
    #[param(default = 2, range = "[1, 8]", symbol = "b")]
    pub bits: u32,
    /// Bits of codes of what reads inputs or makes answers, of tables and routers.
    #[param(default = 8, range = "[1, 8]")]
    pub ends: u32,
    /// Groups of rows; with `auto` as many, a power of two, as take 1 % of the codes' bytes.
    #[param(default = None, range = "[1, 256]", symbol = "G")]
    pub groups: Option<u32>,
    /// What groups have of their own.
    #[param(default = Mode::Books)]
    pub mode: Mode,
    /// Whether neurons are put in the order of their groups where that changes nothing.
    #[param(default = true)]
    pub reorder: bool,
    /// Steps of learning, for each layer.
    #[param(default = 500, range = "[0, 100000]")]
    pub steps: u32,
    /// What logits follow.
    #[param(default = Gradient::Proximal)]
    pub gradient: Gradient,
    /// Levels about its own that a weight can go to in a step, itself among them; up to 16 of all with 0.
    #[param(default = 3, range = "[0, 16]", symbol = "m")]
    pub reach: u32,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<Codebook> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: ID,
    aliases: &["jlcm", "codebooks"],
    family: Family::Inherit,
    papers: &["yvinec2023network"],
    source: include_str!("mod.rs"),
    params: Codebook::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<Codebook>, Error> {
    Ok(Box::new(Codebook::from_values(ID, values)?))
}
