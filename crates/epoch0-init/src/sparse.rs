//! Sparse: a Gaussian with the same number of zeros in every column.
//!
//! # Idea
//! Units that listen to a few inputs only do not saturate however many inputs there are, and start out more different
//! from each other. From the time before gains; today mostly for recurrent and reservoir networks.
//!
//! # Method
//! 1. See the weight as a matrix of `out` rows and `in · receptive` columns.
//! 2. Draw `w ~ N(0, std²)`.
//! 3. In every column set `⌈sparsity · out⌉` weights to 0, at places chosen uniformly, independently of the other
//!    columns.
//!
//! A weight has mean 0 and variance `std²` times the share of each column that is left.
//!
//! # Shapes
//! Weights with inputs and outputs; a convolution is flattened. Each group of a convolution and each part of packed
//! attention is a matrix of its own. Norms, biases and free vectors are refused; asked for a whole network, it covers
//! linear maps and convolutions.
//!
//! # Cost
//! O(weights), with one shuffle of `out` numbers per column.
//!
//! # Departures
//! Martens fixes the number of connections *into* each unit (a row here); this follows torch, which fixes those *out
//! of* each input (a column). torch takes two dimensions only.
//!
//! # Traps
//! `sparsity` is the share of zeros, and is rounded up in each column: 0.1 of 3 rows is one zero, a third. With few
//! rows a high sparsity leaves nothing: 0.7 of 2 rows zeroes both.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::{Builder, Linear, Source};
//!
//! let mut b = Builder::new("net", Source::Built, epoch0_num::Dtype::F32);
//! let x = b.input("x", &[None, Some(64)]);
//! b.linear(x, "fc", Linear::new(32).bias(false));
//! let net = b.finish().unwrap();
//! let recipe = Recipe::from_yaml("recipe", "base: {with: sparse, set: {sparsity: 0.9, std: 1}}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! let (bytes, _) = plan.draw_whole(net.find("fc.weight").unwrap()).unwrap();
//! let zeros = bytes.chunks(4).filter(|four| f32::from_le_bytes((*four).try_into().unwrap()) == 0.0);
//! assert_eq!(zeros.count(), 29 * 64);
//! ```
//!
//! # References
//! - [martens2010deep] §5
//! - [paszke2019pytorch] `torch.nn.init.sparse_`

use epoch0_method::{
    ArrayMut, At, Entry, Error, Family, Info, Initializer, Joint, Params, SiteLaw, Status, Values,
};
use epoch0_num::Stream;
use epoch0_num::joint::{self, Float, JointError};

use crate::shared::{Matrix, each_map, unsupported};

/// Parameters of the sparse start.
#[derive(Clone, Debug, Params)]
pub struct Sparse {
    /// Share of zeros in each column, rounded up to a whole number of weights; 0 leaves a Gaussian.
    #[param(default = 0.1, range = "[0, 1)")]
    pub sparsity: f64,
    /// Standard deviation of the weights that are not zero.
    #[param(default = 0.01, range = "[0, inf)", symbol = "σ")]
    pub std: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "sparse",
    aliases: &[],
    family: Family::Init,
    papers: &["martens2010deep", "paszke2019pytorch"],
    source: include_str!("sparse.rs"),
    params: Sparse::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Sparse::from_values(INFO.id, values)?))
}

impl Initializer for Sparse {
    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let matrix = Matrix::of(INFO.id, at)?;
        let moments = joint::sparse_moments(matrix.out, self.sparsity, self.std)
            .map_err(|error| unsupported(INFO.id, at.label(), &error, "a sparsity below 1"))?;
        let reach = if moments.var == 0.0 { 0.0 } else { f64::INFINITY };
        Ok(SiteLaw::Joint(Joint {
            name: format!("sparse normal(0, {}), sparsity {}", self.std, self.sparsity),
            mean: moments.mean,
            var: moments.var,
            support: (-reach, reach),
        }))
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let matrix = Matrix::of(INFO.id, at)?;
        let drawn = match out {
            ArrayMut::F32(out) => self.draw(&matrix, stream, out),
            ArrayMut::F64(out) => self.draw(&matrix, stream, out),
        };
        drawn.map_err(|error| unsupported(INFO.id, at.label(), &error, "a smaller std"))
    }
}

impl Sparse {
    fn draw<T: Float>(&self, matrix: &Matrix, stream: &Stream, out: &mut [T]) -> Result<(), JointError> {
        each_map(matrix, stream, out, |stream, map| {
            joint::sparse(stream, matrix.out, matrix.columns(), self.sparsity, self.std, map)
        })
    }
}
