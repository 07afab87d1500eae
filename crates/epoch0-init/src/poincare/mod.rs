//! Poincaré: layers of the Poincaré ball that hand their points on, half the identity as weights.
//!
//! # Idea
//! Points of deep networks in hyperbolic space fall to the origin, where the ball is flat, when weights are small random
//! numbers. A fully connected layer of the ball whose weights are half the identity is the identity, at any curvature and
//! at any norm, so that points keep theirs however deep the network is.
//!
//! # Method
//! A layer sends x to the point with signed distances v to the coordinate hyperplanes, `λ = 2 / (1 − c ‖x‖²)`:
//! - `v_k = 2 ‖z_k‖ / √c · asinh(√c λ ⟨x, z_k / ‖z_k‖⟩ cosh(2 √c r_k) − (λ − 1) sinh(2 √c r_k))`
//! - `w = sinh(√c v) / √c`, `y = w / (1 + √(1 + c ‖w‖²))`
//! - weights `z_k` are rows of `½ I`, offsets `r_k` are 0: `v = asinh(√c λ x) / √c`, `w = λ x`, `y = x`
//! - a convolution is that layer on windows whose points are joined: tangent vectors at the origin side by side, times
//!   `β(k² n) / β(n)` with `β(a) = B(a / 2, 1 / 2)`, about 1 / k. Weights are 0 but for the centre tap of channel j at output
//!   j, which is `½` times the inverse of that factor (`compensate`), so that small points keep their norm
//! - `conv: official` takes the identity of the flattened window: output j reads tap `j mod k²` of channel `⌊j / k²⌋`
//!
//! # Shapes
//! Weights and offsets of `poincare_linear`, `poincare_scores` and `poincare_conv`: of `poincare_mlp` and
//! `poincare_resnet` of the zoo, or built. A network without such layers is refused; in one that has others too those are
//! left to the preset below. The batch normalizations of the ball start at variance 1 and the origin.
//!
//! # Cost
//! O(weights): a fill. What the layers cost is another matter: forward and backward a convolution takes 4 times a flat one
//! and a batch normalization 8 times (8 channels of 28 × 28; example `poincare` of the engine). A pass remembers of an
//! operation what it read and nothing of what it did.
//!
//! # Departures
//! - The authors' code takes the identity of the flattened window; the default here keeps what stands at the centre.
//! - Their evaluation uses a batch's own statistics; here batch normalizations keep running ones, as tangent vectors at the
//!   origin. `epoch0 train --bn-stats population` takes those of all examples.
//! - Their weights are stored `[in, out]`, and those of convolutions flattened; here they are torch's.
//! - Their scores multiply by `λ = 2 (1 − c ‖x‖²)`, with which half the identity is not the identity.
//!
//! # Traps
//! - More outputs than inputs: the rest have weights of 0 and are 0. They learn, since the slope at 0 is not. Fewer outputs
//!   than inputs: the others are dropped, of which a wide input's first few may be an image's empty border.
//! - Rectifiers halve what is handed on; batch normalizations bring it back, and a collapse too: with them a short training
//!   of a residual network went better from the Gaussian start (claim `trains_better`).
//! - The identity is that of stride 1 and of small points: how far from the origin a window is depends on all of it, and
//!   points far out change with their neighbours.
//! - Pooling and activations are for tangent vectors (`poincare_log` before, `poincare_exp` behind).
//! - Vectors of many inputs of size 1 lie on the edge of the ball: join them (`Poincare::joining`), as `poincare_mlp` does.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("poincare_mlp:16-16-10").unwrap();
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, rules: [{with: poincare}]}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "identity, gain 0.5");
//! ```
//!
//! # References
//! - [vanspengler2023poincare] Sections 3.1 to 3.4
//! - [shimizu2020hyperbolic] Sections 3.2 and 3.3

mod claims;
mod effects;

use epoch0_method::{
    ArrayMut, At, Choice, Entry, Error, Family, Info, Initializer, Joint, Params, SiteLaw, Status, Values,
};
use epoch0_net::{Network, Poincare as InBall, Role};
use epoch0_num::joint::{self, Float, JointError};
use epoch0_num::{Law, Stream};

use crate::shared::identity::at_centre;
use crate::shared::{Matrix, short, unsupported};

/// Which identity a convolution has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Conv {
    /// Of channels, at the centre of the kernel.
    Dirac,
    /// Of the flattened window.
    Official,
}

/// Parameters of the start of hyperbolic layers.
#[derive(Clone, Debug, Params)]
pub struct Poincare {
    /// Which identity a convolution has.
    #[param(default = Conv::Dirac)]
    pub conv: Conv,
    /// Whether the centre of a kernel makes up for the factor with which windows are joined.
    #[param(default = true)]
    pub compensate: bool,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "poincare",
    aliases: &["poincare_id", "hyperbolic_identity"],
    family: Family::Init,
    papers: &["vanspengler2023poincare", "shimizu2020hyperbolic"],
    source: include_str!("mod.rs"),
    params: Poincare::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Poincare::from_values(INFO.id, values)?))
}

/// Whether a site is that of a map of the ball.
pub(crate) fn is_hyperbolic(at: &At<'_>) -> bool {
    at.net.nodes()[at.node.0 as usize].op.flat().is_some()
}

/// Refuses networks without maps of the ball.
pub(crate) fn check_network(method: &str, net: &Network) -> Result<(), Error> {
    if net.nodes().iter().any(|node| node.op.flat().is_some()) {
        return Ok(());
    }
    let found: std::collections::BTreeSet<_> =
        net.nodes().iter().filter(|node| node.op.is_map()).map(|node| node.op.name()).collect();
    let found = found.into_iter().collect::<Vec<_>>().join(" and ");
    let why = format!(
        "its maps are {}, allowed networks with poincare_linear, poincare_scores or poincare_conv",
        if found.is_empty() { "none" } else { &found }
    );
    let hint =
        "take poincare_mlp or poincare_resnet20 of the zoo; for maps of flat space there are eye and dirac";
    Err(unsupported(method, net.name(), &why, hint))
}

/// Refuses other sites.
pub(crate) fn check_site(method: &str, at: &At<'_>) -> Result<(), Error> {
    if is_hyperbolic(at) {
        return Ok(());
    }
    let why = format!("it is for layers of the Poincaré ball, and this is a {} of {}", at.role, at.op);
    Err(unsupported(method, at.label(), &why, "leave it to a rule of its own, such as pytorch_default"))
}

impl Initializer for Poincare {
    fn for_network(&self, net: &Network) -> Result<Option<Box<dyn Initializer>>, Error> {
        check_network(INFO.id, net).map(|()| None)
    }

    fn remarks(&self, net: &Network) -> Vec<String> {
        let sites = net.sites().iter().filter(|site| site.role.is_matrix() && site.is_own);
        let in_ball = sites.filter(|site| is_hyperbolic(&At { net, site }));
        let dropped =
            in_ball.filter(|site| site.role != Role::Readout && site.view.n_in() > 4 * site.view.n_out());
        let dropped: Vec<_> = dropped.map(epoch0_net::Site::label).collect();
        if dropped.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "{} hands on fewer than a quarter of its inputs, the first; poincare_gaussian mixes all of them",
            dropped.join(", ")
        )]
    }

    fn covers(&self, at: &At<'_>) -> bool {
        is_hyperbolic(at)
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        check_site(INFO.id, at)?;
        if at.role == Role::Bias {
            return Ok(SiteLaw::Each(Law::ZEROS));
        }
        let matrix = Matrix::of(INFO.id, at)?;
        let (ones, gain) = self.diagonal(&matrix);
        let mean = ones as f64 * gain / matrix.len() as f64;
        Ok(SiteLaw::Joint(Joint {
            name: format!("identity, gain {}", short(gain)),
            mean,
            var: mean * (gain - mean),
            support: (0.0, gain),
        }))
    }

    fn fill(&self, at: &At<'_>, _: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let matrix = Matrix::of(INFO.id, at)?;
        let drawn = match out {
            ArrayMut::F32(out) => self.draw(&matrix, out),
            ArrayMut::F64(out) => self.draw(&matrix, out),
        };
        drawn.map_err(|error| unsupported(INFO.id, at.label(), &error, "another start for this weight"))
    }
}

impl Poincare {
    /// How many numbers are not zero, and what they are.
    fn diagonal(&self, matrix: &Matrix) -> (usize, f64) {
        match self.conv {
            Conv::Official => (matrix.out.min(matrix.columns()), 0.5),
            Conv::Dirac if self.compensate => {
                (matrix.out.min(matrix.in_), 0.5 / InBall::joining(matrix.taps(), matrix.in_))
            }
            Conv::Dirac => (matrix.out.min(matrix.in_), 0.5),
        }
    }

    fn draw<T: Float>(&self, matrix: &Matrix, out: &mut [T]) -> Result<(), JointError> {
        let (_, gain) = self.diagonal(matrix);
        match self.conv {
            Conv::Official => joint::eye(matrix.out, matrix.columns(), gain, out),
            Conv::Dirac => {
                at_centre(matrix, out, |channels| joint::eye(matrix.out, matrix.in_, gain, channels))
            }
        }
    }
}
