//! Auto: one scale for each map, solved through the whole graph, so that signals and gradients keep their size.
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
//!   `t = q` and `b = σ_b²` (see `eoc`)
//! - any other map: `t = 1, b = 0`
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
//! assert_eq!(plan.sites()[2].law.to_string(), "normal(0, 0.088388)");
//! ```
//!
//! # References
//! - [hayou2019impact] for the edge of chaos; [he2015delving] whose rule it is in a plain network of rectifiers;
//!   [zhang2019fixup] for branches that shrink with their number; [bingham2021autoinit] for following moments

mod solve;

use std::sync::Arc;

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::{Network, Role};
use epoch0_num::Law;

use crate::shared::unsupported;
use crate::variance_scaling::Distribution;
use solve::Solved;

/// Parameters of the start that is solved through the graph.
#[derive(Clone, Debug, Params)]
pub struct Auto {
    /// Shape of the weights' law.
    #[param(default = Distribution::Normal)]
    pub distribution: Distribution,
    /// Second moment of the network's inputs.
    #[param(default = 1.0, range = "(0, inf)")]
    pub input: f64,
    /// By how much gradients may change over a run of maps before the edge of chaos is taken.
    #[param(default = 4.0, range = "(1, inf)")]
    pub spread: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: &[] };

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
    distribution: Distribution,
    solved: Arc<Solved>,
}

impl Initializer for Settled {
    fn remarks(&self) -> Vec<String> {
        self.solved.remarks.clone()
    }

    fn covers(&self, at: &At<'_>) -> bool {
        self.solved.variance(at).is_some()
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let Some(variance) = self.solved.variance(at) else {
            let why = format!("no signal was followed to this {}", at.role);
            return Err(unsupported(INFO.id, at.label(), &why, "leave it to the preset below"));
        };
        let std = variance.sqrt();
        Ok(SiteLaw::Each(match at.role {
            role if role.is_matrix() => self.distribution.law(std),
            Role::Bias if std == 0.0 => Law::ZEROS,
            _ => Law::normal(0.0, std),
        }))
    }
}
