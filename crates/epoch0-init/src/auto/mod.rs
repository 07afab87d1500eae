//! Auto: one scale for each map, solved through the graph, so that signals and gradients keep their size.
//!
//! # Idea
//! He's and Glorot's rules look at one map and its fans. What arrives at a map, though, depends on all that stands before
//! it: a sum with a residual branch, a pool, a mean that an activation leaves, a norm. Auto follows the second moment of
//! a wide random network's values through the graph and chooses each map's scale by what arrives there. It is the start
//! to take when nothing is known but the network.
//!
//! # Method
//! Values are followed in the order of the graph ([`epoch0_net::moments`]). A map that `s` arrives at (second moment,
//! means included) gets weights of variance `(t - b) / (n s)` and biases of variance `b`, where `n` inputs are summed to
//! one output and `t` is what its output is to be:
//! - the last map of a residual branch: `t` is the variance of what goes around the branch, over the number of branches of
//!   the stack, so that the stack grows by a factor of e at most, however deep it is; `b = 0`
//! - a map before an activation φ, in a run of `m` such maps without a norm or a residual sum between: `t = 1, b = 0` as
//!   long as gradients change by less than a factor of `spread` over the run, that is while `χ^m` lies within
//!   `1/spread … spread`, `χ = E[φ'²] / E[φ²]`. Otherwise the point of the edge of chaos whose rate is the run's length,
//!   `t = q` and `b = σ_b²` (see `eoc`), or one nearer to the linear network, where `V'(q)^m` would let the variance leave
//! - any other map: `t = 1, b = 0`
//!
//! Weights are Gaussian, but orthogonal (with the same variance) in a run that sits on the edge of chaos: there a layer is
//! nearly linear, and what a Gaussian matrix does to the length of a vector at random adds up over the run.
//!
//! Tables of words and positions have unit variance; where one is a readout too, they have `1/width`. Attention is taken
//! to look at one position. All else (norms, factors, recurrent layers) is left to the preset below.
//!
//! # Shapes
//! Weights of linear maps and convolutions with their biases, and tables, of any network that is made of known operations.
//!
//! # Cost
//! A quadrature for each activation, milliseconds each; then O(weights), in pieces of any size. No data.
//!
//! # Departures
//! No paper has just this rule. Propagating moments through a graph to scale weights is AutoInit's idea, which keeps
//! forward variance alone; the edge of chaos is what keeps gradients too.
//!
//! # Traps
//! - Inputs are taken to have mean 0 and second moment `input`. Standardize the data, or say what they have.
//! - Scales are those of a wide network. At a width of 10 a single draw is off by more than the scale is worth; `lsuv`
//!   measures instead.
//! - An activation without an edge of chaos (sigmoid, softplus) cannot keep both signals and gradients in a long run; what
//!   remains is said when the start is drawn.
//! - In front of a norm no scale matters to what is computed, only to how fast the weights turn.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("mlp:64-256-256-10,act=relu").unwrap();
//! let plan = Plan::new(METHODS, &net, &Recipe::from_yaml("recipe", "base: auto").unwrap(), 7).unwrap();
//! // What a rectifier sends on has half of the second moment.
//! assert_eq!(plan.sites()[0].law.to_string(), "normal(0, 0.125)");
//! assert_eq!(plan.sites()[2].law.to_string(), "normal(0, 0.0883883)");
//! ```
//!
//! # References
//! - [hayou2019impact] for the edge of chaos; [he2015delving] whose rule it is in a plain network of rectifiers;
//!   [zhang2019fixup] for branches that shrink with their number; [bingham2021autoinit] for following moments

mod claims;
mod solve;

use std::sync::Arc;

use epoch0_method::{
    ArrayMut, At, Choice, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values,
};
use epoch0_net::{Network, Role};
use epoch0_num::{Law, Stream};

use crate::orthogonal;
use crate::shared::{Matrix, unsupported};
use solve::Solved;

/// Shape of the weights' law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Shape {
    /// Gaussian, and orthogonal in runs on the edge of chaos.
    Auto,
    /// Gaussian.
    Normal,
    /// Uniform.
    Uniform,
    /// Orthogonal matrices, flattened where the map is a convolution.
    Orthogonal,
}

/// Parameters of the start that is solved through the graph.
#[derive(Clone, Debug, Params)]
pub struct Auto {
    /// Shape of the weights' law.
    #[param(default = Shape::Auto)]
    pub distribution: Shape,
    /// Second moment of the network's inputs.
    #[param(default = 1.0, range = "(0, inf)")]
    pub input: f64,
    /// By how much gradients may change over a run of maps before the edge of chaos is taken.
    #[param(default = 4.0, range = "(1, inf)")]
    pub spread: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "auto",
    aliases: &[],
    family: Family::Init,
    papers: &["hayou2019impact", "he2015delving", "zhang2019fixup", "bingham2021autoinit"],
    source: include_str!("mod.rs"),
    params: Auto::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Auto::from_values(INFO.id, values)?))
}

impl Initializer for Auto {
    fn for_network(&self, net: &Network) -> Result<Option<Box<dyn Initializer>>, Error> {
        let solved = Arc::new(Solved::of(net, self)?);
        Ok(Some(Box::new(Settled { distribution: self.distribution, solved })))
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        Settled { distribution: self.distribution, solved: Arc::new(Solved::of(at.net, self)?) }.law(at)
    }
}

/// The scales of one network.
#[derive(Clone, Debug)]
struct Settled {
    distribution: Shape,
    solved: Arc<Solved>,
}

impl Settled {
    /// The factor on an orthonormal matrix whose weights have that variance, where the site's weights are such a one.
    fn orthogonal_gain(&self, matrix: &Matrix, at: &At<'_>, variance: f64) -> Option<f64> {
        let is_orthogonal = match self.distribution {
            Shape::Auto => self.solved.is_on_edge(at) && matrix.receptive.is_empty(),
            Shape::Orthogonal => true,
            Shape::Normal | Shape::Uniform => false,
        };
        is_orthogonal.then(|| (variance * matrix.out.max(matrix.columns()) as f64).sqrt())
    }

    fn variance(&self, at: &At<'_>) -> Result<f64, Error> {
        self.solved.variance(at).ok_or_else(|| {
            let why = format!("no signal was followed to this {}", at.role);
            unsupported(INFO.id, at.label(), &why, "leave it to the preset below")
        })
    }
}

impl Initializer for Settled {
    fn remarks(&self, _net: &Network) -> Vec<String> {
        self.solved.remarks.clone()
    }

    fn covers(&self, at: &At<'_>) -> bool {
        self.solved.variance(at).is_some()
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let variance = self.variance(at)?;
        let std = variance.sqrt();
        if !at.role.is_matrix() {
            let is_zero = at.role == Role::Bias && std == 0.0;
            return Ok(SiteLaw::Each(if is_zero { Law::ZEROS } else { Law::normal(0.0, std) }));
        }
        let matrix = Matrix::of(INFO.id, at)?;
        Ok(match self.orthogonal_gain(&matrix, at, variance) {
            Some(gain) => {
                SiteLaw::Joint(orthogonal::joint_law(&matrix, gain, format!("orthogonal, gain {gain:.6}")))
            }
            None if self.distribution == Shape::Uniform => SiteLaw::Each(Law::uniform_with_std(std)),
            None => SiteLaw::Each(Law::normal(0.0, std)),
        })
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let matrix = Matrix::of(INFO.id, at)?;
        let gain = self.orthogonal_gain(&matrix, at, self.variance(at)?).unwrap_or(1.0);
        let drawn = orthogonal::fill(&matrix, gain, stream, out);
        drawn.map_err(|error| unsupported(INFO.id, at.label(), &error, "another distribution"))
    }
}
