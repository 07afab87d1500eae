//! Orthogonal: rows or columns of every matrix are orthonormal, uniformly among all such.
//!
//! # Idea
//! A product of random matrices spreads its singular values over orders of magnitude as it gets deeper; one of
//! orthogonal matrices keeps them all at 1. For deep linear or tanh networks without normalization, recurrent
//! matrices and policies.
//!
//! # Method
//! 1. See the weight as a matrix of `out` rows and `in · receptive` columns.
//! 2. Draw it uniformly (Haar) among the matrices whose shorter side is orthonormal.
//! 3. Multiply by `gain`.
//!
//! A weight has mean 0 and variance `gain² / max(rows, columns)`. Groups of a convolution and parts of packed
//! attention are matrices of their own.
//!
//! # Shapes
//! Weights with inputs and outputs, convolutions included; tables where a rule names them. Norms, biases and free
//! vectors have no inputs and are refused; asked for a whole network, it covers linear maps and convolutions.
//!
//! # Cost
//! O(weights · shorter side) time, and up to as much memory again as the matrix.
//!
//! # Departures
//! torch flattens a grouped convolution to one matrix of all groups; here each group is a map of its own and gets its
//! own matrix.
//!
//! # Traps
//! For a convolution this makes the flattened kernel orthogonal, not the convolution: its norm depends on the overlap
//! of its positions. `delta_orthogonal` makes the convolution itself keep norms. A gain for rectifiers (√2) keeps the
//! second moment, but no longer all singular values at 1. That lengths do not fluctuate more from layer to layer holds for
//! networks of one width of tanh and its kin; behind rectifiers they do.
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
//! let recipe = Recipe::from_yaml("recipe", "base: {with: orthogonal, set: {gain: 2}}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! let (bytes, _) = plan.draw_whole(net.find("fc.weight").unwrap()).unwrap();
//! let row = bytes[..64 * 4].chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
//! assert!((row.map(|w| w * w).sum::<f32>() - 4.0).abs() < 1e-5);
//! ```
//!
//! # References
//! - [saxe2013exact] §3; [mezzadri2007generate] why the signs have to be fixed; [stewart1980efficient] drawing by
//!   reflections
//! - [paszke2019pytorch] `torch.nn.init.orthogonal_`
//! - [day2023feature] what finite width does to deep tanh networks

mod claims;

use epoch0_method::{
    ArrayMut, At, Entry, Error, Family, Info, Initializer, Joint, Params, SiteLaw, Status, Values,
};
use epoch0_num::Stream;
use epoch0_num::joint::{self, Float, JointError};

use crate::shared::{Matrix, each_map, unsupported};

/// Parameters of the orthogonal start.
#[derive(Clone, Debug, Params)]
pub struct Orthogonal {
    /// Factor on the matrix, and so all of its singular values; 0 gives zeros.
    #[param(default = 1.0, range = "[0, inf)")]
    pub gain: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "orthogonal",
    aliases: &[],
    family: Family::Init,
    papers: &[
        "saxe2013exact",
        "mezzadri2007generate",
        "stewart1980efficient",
        "paszke2019pytorch",
        "day2023feature",
    ],
    source: include_str!("mod.rs"),
    params: Orthogonal::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Orthogonal::from_values(INFO.id, values)?))
}

impl Initializer for Orthogonal {
    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let matrix = Matrix::of(INFO.id, at)?;
        Ok(SiteLaw::Joint(joint_law(&matrix, self.gain, format!("orthogonal, gain {}", self.gain))))
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let drawn = fill(&Matrix::of(INFO.id, at)?, self.gain, stream, out);
        drawn.map_err(|error| unsupported(INFO.id, at.label(), &error, "a smaller gain"))
    }
}

/// The law of orthonormal matrices times a gain.
pub(crate) fn joint_law(matrix: &Matrix, gain: f64, name: String) -> Joint {
    let moments = joint::orthogonal_moments(matrix.out, matrix.columns(), gain);
    Joint { name, mean: moments.mean, var: moments.var, support: (-gain, gain) }
}

/// Draws each map of a site as an orthonormal matrix times a gain.
pub(crate) fn fill(matrix: &Matrix, gain: f64, stream: &Stream, out: ArrayMut<'_>) -> Result<(), JointError> {
    fn draw<T: Float>(matrix: &Matrix, gain: f64, stream: &Stream, out: &mut [T]) -> Result<(), JointError> {
        each_map(matrix, stream, out, |stream, map| {
            joint::orthogonal(stream, matrix.out, matrix.columns(), gain, map)
        })
    }
    match out {
        ArrayMut::F32(out) => draw(matrix, gain, stream, out),
        ArrayMut::F64(out) => draw(matrix, gain, stream, out),
    }
}
