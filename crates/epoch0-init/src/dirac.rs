//! Dirac: convolutions that hand their input on.
//!
//! # Idea
//! The identity of convolutions. For plain deep convolutional networks that should begin as the identity does, and
//! for layers put into a trained network.
//!
//! # Method
//! `w[i, j, centre] = 1` where `i = j` within each group, and 0 elsewhere; the centre is tap `k / 2` in each
//! dimension. As many channels as both sides have come out as they went in.
//!
//! # Shapes
//! Convolutions of one to three dimensions; groups are those of the convolution. Linear maps have `eye`. Asked for a
//! whole network, it covers convolutions; a rule that names another site is refused.
//!
//! # Cost
//! O(weights): a fill.
//!
//! # Departures
//! DiracNets add the identity to a normalized weight at every step; this is the start only, torch's `dirac_`.
//!
//! # Traps
//! torch's function has to be told the number of groups (`groups=1` puts the identity of a grouped convolution into
//! its first group alone); here the site knows. The identity needs stride 1, and half the kernel as padding. With an
//! even kernel the output is one position longer.
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
//! let recipe = Recipe::from_yaml("recipe", "base: dirac").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "dirac");
//! ```
//!
//! # References
//! - [zagoruyko2017diracnets] §3
//! - [paszke2019pytorch] `torch.nn.init.dirac_`

use epoch0_method::{
    ArrayMut, At, Entry, Error, Family, Info, Initializer, Joint, Params, SiteLaw, Status, Values,
};
use epoch0_num::{Stream, joint};

use crate::shared::{Matrix, unsupported};

/// Parameters of the Dirac start: none.
#[derive(Clone, Debug, Params)]
pub struct Dirac {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "dirac",
    aliases: &[],
    family: Family::Init,
    papers: &["zagoruyko2017diracnets", "paszke2019pytorch"],
    source: include_str!("dirac.rs"),
    params: Dirac::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Dirac::from_values(INFO.id, values)?))
}

impl Initializer for Dirac {
    fn covers(&self, at: &At<'_>) -> bool {
        at.role.is_matrix() && !at.view.receptive.is_empty()
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let matrix = matrix(at)?;
        let share = matrix.out.min(matrix.in_) as f64 / matrix.len() as f64;
        Ok(SiteLaw::Joint(Joint {
            name: "dirac".to_owned(),
            mean: share,
            var: share * (1.0 - share),
            support: (0.0, 1.0),
        }))
    }

    fn fill(&self, at: &At<'_>, _: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let matrix = matrix(at)?;
        let drawn = match out {
            ArrayMut::F32(out) => joint::dirac(&shape(&matrix), matrix.n_maps, out),
            ArrayMut::F64(out) => joint::dirac(&shape(&matrix), matrix.n_maps, out),
        };
        drawn.map_err(|error| refused(at, &error))
    }
}

/// The maps of a convolution with one to three dimensions of space.
fn matrix(at: &At<'_>) -> Result<Matrix, Error> {
    let matrix = Matrix::of(INFO.id, at)?;
    let n_space = matrix.receptive.len();
    if (1..=3).contains(&n_space) {
        return Ok(matrix);
    }
    Err(refused(at, &format!("it has {n_space} dimensions of space, allowed 1, 2 or 3")))
}

/// `[out, in / groups, receptive…]`, as torch has it.
fn shape(matrix: &Matrix) -> Vec<usize> {
    let mut shape = matrix.shape();
    shape[0] *= matrix.n_maps;
    shape
}

fn refused(at: &At<'_>, why: &impl std::fmt::Display) -> Error {
    unsupported(INFO.id, at.label(), why, "use eye, which is the identity of linear maps")
}
