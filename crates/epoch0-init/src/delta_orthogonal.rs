//! Delta-orthogonal: convolutions that keep the norm of every input.
//!
//! # Idea
//! A convolution keeps norms when it is orthogonal as a map of whole images. The simplest such map mixes the channels
//! at one position orthogonally and looks at no neighbour; training opens the rest of the kernel. With it plain
//! networks of thousands of layers train.
//!
//! # Method
//! 1. Draw an `out × in` matrix with orthonormal columns, uniformly (Haar), times `gain`.
//! 2. Put it at the centre of the kernel, tap `(k − 1) / 2` in each dimension; all other taps are 0.
//!
//! A weight has mean 0 and variance `gain² / (out · taps)`. Each group of a convolution gets a matrix of its own.
//!
//! # Shapes
//! Convolutions of one to three dimensions with at least as many outputs as inputs in each group. Asked for a whole
//! network, it covers these and leaves everything else to the preset below it; a rule that names another site is
//! refused.
//!
//! # Cost
//! O(weights + out · in²) time, and one more `out × in` matrix of memory.
//!
//! # Departures
//! None known.
//!
//! # Traps
//! Norms are kept with circular padding and stride 1 only: zero padding loses a little at the border, a stride loses
//! positions. A convolution with fewer outputs than inputs cannot keep norms; use `orthogonal` there.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::{Builder, Source, Window};
//!
//! let mut b = Builder::new("net", Source::Built, epoch0_num::Dtype::F32);
//! let x = b.input("x", &[None, Some(16), Some(8), Some(8)]);
//! b.conv(x, "conv", 16, Window::square(3, 1, 1), 1, false);
//! let net = b.finish().unwrap();
//! let recipe = Recipe::from_yaml("recipe", "base: delta_orthogonal").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "delta-orthogonal, gain 1");
//! ```
//!
//! # References
//! - [xiao2018dynamical] Algorithm 1
//! - [bradbury2018jax] `delta_orthogonal`

use epoch0_method::{
    ArrayMut, At, Entry, Error, Family, Info, Initializer, Joint, Params, SiteLaw, Status, Values,
};
use epoch0_num::Stream;
use epoch0_num::joint::{self, Float, JointError};

use crate::shared::{Matrix, each_map, unsupported};

/// Parameters of the delta-orthogonal start.
#[derive(Clone, Debug, Params)]
pub struct DeltaOrthogonal {
    /// Factor on the matrix at the centre; 0 gives zeros.
    #[param(default = 1.0, range = "[0, inf)")]
    pub gain: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "delta_orthogonal",
    aliases: &[],
    family: Family::Init,
    papers: &["xiao2018dynamical", "bradbury2018jax"],
    source: include_str!("delta_orthogonal.rs"),
    params: DeltaOrthogonal::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(DeltaOrthogonal::from_values(INFO.id, values)?))
}

impl Initializer for DeltaOrthogonal {
    fn covers(&self, at: &At<'_>) -> bool {
        at.role.is_matrix() && !at.view.receptive.is_empty() && at.view.n_out() >= at.view.n_in()
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let matrix = Matrix::of(INFO.id, at)?;
        let moments = joint::delta_orthogonal_moments(&matrix.shape(), self.gain)
            .map_err(|error| refused(at, &error))?;
        Ok(SiteLaw::Joint(Joint {
            name: format!("delta-orthogonal, gain {}", self.gain),
            mean: moments.mean,
            var: moments.var,
            support: (-self.gain, self.gain),
        }))
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let matrix = Matrix::of(INFO.id, at)?;
        let drawn = match out {
            ArrayMut::F32(out) => self.draw(&matrix, stream, out),
            ArrayMut::F64(out) => self.draw(&matrix, stream, out),
        };
        drawn.map_err(|error| refused(at, &error))
    }
}

impl DeltaOrthogonal {
    fn draw<T: Float>(&self, matrix: &Matrix, stream: &Stream, out: &mut [T]) -> Result<(), JointError> {
        each_map(matrix, stream, out, |stream, map| {
            joint::delta_orthogonal(stream, &matrix.shape(), self.gain, map)
        })
    }
}

fn refused(at: &At<'_>, error: &JointError) -> Error {
    unsupported(INFO.id, at.label(), error, "use orthogonal, which takes any matrix")
}
