//! Identity: ones on the main diagonal of every matrix.
//!
//! # Idea
//! A linear map that hands its input on. For recurrent matrices of rectifiers and for maps that should begin by doing
//! nothing. It breaks no symmetry of its own: what differs between units differs because their inputs do.
//!
//! # Method
//! `w[i, j] = gain` where `i = j`, and 0 elsewhere. A matrix that is not square hands on as much as fits.
//!
//! # Shapes
//! Weights of linear maps, each part of packed attention for itself; tables where a rule names them. Convolutions
//! have `dirac`. Norms, biases and free vectors are refused; asked for a whole network, it covers linear maps.
//!
//! # Cost
//! O(weights): a fill.
//!
//! # Departures
//! torch's function has no gain; keras's `Identity` has.
//!
//! # Traps
//! Where the layout is `[in, out]` or transposed the diagonal is the same, but in a packed matrix it is one diagonal
//! per part, not one over all.
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
//! let recipe = Recipe::from_yaml("recipe", "base: {with: identity, set: {gain: 0.5}}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "identity, gain 0.5");
//! assert_eq!(plan.sites()[0].law.mean(), 0.5 / 64.0);
//! ```
//!
//! # References
//! - [le2015simple] §2
//! - [paszke2019pytorch] `torch.nn.init.eye_`; [chollet2015keras] `Identity`

use epoch0_method::{
    ArrayMut, At, Entry, Error, Family, Info, Initializer, Joint, Params, SiteLaw, Status, Values,
};
use epoch0_num::{Stream, joint};

use crate::shared::{Matrix, unsupported};

/// Parameters of the identity start.
#[derive(Clone, Debug, Params)]
pub struct Eye {
    /// What stands on the diagonal.
    #[param(default = 1.0)]
    pub gain: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "eye",
    aliases: &["identity"],
    family: Family::Init,
    papers: &["le2015simple", "paszke2019pytorch", "chollet2015keras"],
    source: include_str!("eye.rs"),
    params: Eye::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Eye::from_values(INFO.id, values)?))
}

impl Initializer for Eye {
    fn covers(&self, at: &At<'_>) -> bool {
        at.role.is_matrix() && at.view.receptive.is_empty()
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let matrix = matrix(at)?;
        let share = matrix.out.min(matrix.in_) as f64 / matrix.len() as f64;
        let mean = share * self.gain;
        Ok(SiteLaw::Joint(Joint {
            name: format!("identity, gain {}", self.gain),
            mean,
            var: mean * (self.gain - mean),
            support: (self.gain.min(0.0), self.gain.max(0.0)),
        }))
    }

    fn fill(&self, at: &At<'_>, _: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let matrix = matrix(at)?;
        let drawn = match out {
            ArrayMut::F32(out) => joint::eye(matrix.out, matrix.in_, self.gain, out),
            ArrayMut::F64(out) => joint::eye(matrix.out, matrix.in_, self.gain, out),
        };
        drawn.map_err(|error| unsupported(INFO.id, at.label(), &error, "a smaller gain"))
    }
}

fn matrix(at: &At<'_>) -> Result<Matrix, Error> {
    let matrix = Matrix::of(INFO.id, at)?;
    if matrix.receptive.is_empty() {
        return Ok(matrix);
    }
    let why = "a convolution's identity is more than a matrix";
    Err(unsupported(INFO.id, at.label(), &why, "use dirac, which is the identity of convolutions"))
}
