//! Low rank: weights of a fraction of the full rank that wide networks cannot tell from Gaussian ones.
//!
//! # Idea
//! Wide networks are Gaussian processes not only with independent weights. It is enough that rows and columns are
//! exchangeable, that weights are uncorrelated, and that their moments do not grow: pseudo-iid laws. All that theory says
//! of a start by its variances, the edge of chaos included, carries over to weights of low rank as long as the rank grows
//! with the width. Take it for networks whose weights are stored or trained as two factors.
//!
//! # Method
//! With m outputs, n inputs and `r = ⌈gamma min(m, n)⌉`: `W = C P`, the m × r matrix C with orthonormal columns (Haar), the
//! r × n matrix P Gaussian with variance `σ_w² / n · m / r`. A weight has mean 0 and variance `σ_w² / n`, as a Gaussian
//! start has. `σ_w` is the gain of the activation that follows, where it is not given. The first layer is Gaussian, as the
//! theorem has it.
//!
//! # Shapes
//! Weights with inputs and outputs; a convolution is flattened to `in · receptive` columns. Each group of a convolution and
//! each part of packed attention is a matrix of its own. Norms, biases and free vectors are refused; asked for a whole
//! network, it covers linear maps and convolutions.
//!
//! # Cost
//! O(weights · r) time, and memory for both factors.
//!
//! # Departures
//! The factors are not written, only their product.
//!
//! # Traps
//! - A fixed rank is outside of the theorem: at rank 2 a wide network is far from Gaussian (see the claims). `gamma` is a
//!   share for that reason.
//! - A first layer of low rank loses what tells inputs apart; that is `first: same`.
//! - Biases are left to what is below. On the edge of chaos they belong to the start: `eoc` says what they are.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("mlp:64-256-256-10").unwrap();
//! let recipe = "{base: pytorch_default, rules: [{with: low_rank, set: {gamma: 0.1}}]}";
//! let plan = Plan::new(METHODS, &net, &Recipe::from_yaml("recipe", recipe).unwrap(), 7).unwrap();
//! let law = |name: &str| &plan.sites_of(net.find(name).unwrap())[0].law;
//! assert_eq!(law("0.weight").to_string(), "normal(0, 0.176777)");
//! assert_eq!(law("2.weight").to_string(), "low rank, 26 of 256");
//! assert!((law("2.weight").std() - (2.0f64 / 256.0).sqrt()).abs() < 1e-12);
//! ```
//!
//! # References
//! - [naitsaada2023iid] Definition 1 and Section 2.2; [hayou2019impact] for the edge of chaos

mod claims;
mod effects;

use epoch0_method::{
    ArrayMut, At, Choice, Entry, Error, Family, Info, Initializer, Joint, Params, SiteLaw, Status, Values,
};
use epoch0_net::Network;
use epoch0_num::joint::{self, Float, JointError};
use epoch0_num::{Law, Stream};

use crate::he_normal;
use crate::shared::{Matrix, each_map, unsupported};
use crate::variance_scaling::{Mode, fans};

/// What weights that meet the network's inputs are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum First {
    /// Independent Gaussians, as the theorem has it.
    Gaussian,
    /// The law of all others.
    Same,
}

impl First {
    /// Whether a site is of the first layer and Gaussian.
    pub(crate) fn is_gaussian(self, at: &At<'_>) -> bool {
        self == Self::Gaussian && at.depth <= 1
    }
}

/// Parameters of the start of low rank.
#[derive(Clone, Debug, Params)]
pub struct LowRank {
    /// Rank as a share of the shorter side, rounded up.
    #[param(default = 0.25, range = "(0, 1]", symbol = "γ")]
    pub gamma: f64,
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
    id: "low_rank",
    aliases: &[],
    family: Family::Init,
    papers: &["naitsaada2023iid", "hayou2019impact"],
    source: include_str!("mod.rs"),
    params: LowRank::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(LowRank::from_values(INFO.id, values)?))
}

impl Initializer for LowRank {
    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let matrix = Matrix::of(INFO.id, at)?;
        law(INFO.id, (self.sigma_w, self.first), at, || {
            let (rank, most) = (self.rank(&matrix), matrix.out.min(matrix.columns()));
            Ok(format!("low rank, {rank} of {most}"))
        })
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let matrix = Matrix::of(INFO.id, at)?;
        let std = std(INFO.id, self.sigma_w, at)?;
        let drawn = match out {
            ArrayMut::F32(out) => self.draw(&matrix, std, stream, out),
            ArrayMut::F64(out) => self.draw(&matrix, std, stream, out),
        };
        drawn.map_err(|error| unsupported(INFO.id, at.label(), &error, "a smaller sigma_w"))
    }
}

impl LowRank {
    fn rank(&self, matrix: &Matrix) -> usize {
        joint::rank(self.gamma, matrix.out, matrix.columns())
    }

    fn draw<T: Float>(
        &self,
        matrix: &Matrix,
        std: f64,
        stream: &Stream,
        out: &mut [T],
    ) -> Result<(), JointError> {
        each_map(matrix, stream, out, |stream, map| {
            joint::low_rank(stream, matrix.out, matrix.columns(), self.rank(matrix), std, map)
        })
    }
}

/// Standard deviation of a pseudo-iid weight.
pub(crate) fn std(method: &str, sigma_w: Option<f64>, at: &At<'_>) -> Result<f64, Error> {
    match sigma_w {
        Some(sigma_w) => Ok(sigma_w / fans(method, at)?.in_.sqrt()),
        None => he_normal::std(method, None, Mode::FanIn, at),
    }
}

/// The law of a pseudo-iid weight, by the name of what is not the first layer's.
pub(crate) fn law(
    method: &str,
    (sigma_w, first): (Option<f64>, First),
    at: &At<'_>,
    name: impl FnOnce() -> Result<String, Error>,
) -> Result<SiteLaw, Error> {
    let std = std(method, sigma_w, at)?;
    if first.is_gaussian(at) {
        return Ok(SiteLaw::Each(Law::normal(0.0, std)));
    }
    Ok(SiteLaw::Joint(pseudo_iid(name()?, std)))
}

/// What is said where a method is for some weights of a network only.
pub(crate) fn left_below(method: &dyn Initializer, net: &Network, why: &str) -> Vec<String> {
    let sites = net.sites().iter().filter(|site| site.is_own && site.role.is_matrix());
    let fits: Vec<bool> = sites.map(|site| method.covers(&At { net, site })).collect();
    match fits.iter().filter(|fits| !**fits).count() {
        0 => Vec::new(),
        n => vec![format!("{n} of {} weights {why}: they are left to what is below", fits.len())],
    }
}

/// A law by its name and standard deviation; mean 0, unbounded.
pub(crate) fn pseudo_iid(name: String, std: f64) -> Joint {
    let reach = if std == 0.0 { 0.0 } else { f64::INFINITY };
    Joint { name, mean: 0.0, var: std * std, support: (-reach, reach) }
}
