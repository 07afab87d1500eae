//! Kumar: the variance that keeps any activation with a slope at 0 at unit variance, to first order.
//!
//! # Idea
//! Glorot's rule holds for activations that are the identity around 0, He's for rectifiers. Expanding the activation
//! to first order at 0 gives one formula for every activation that has a slope there, sigmoid and softplus included,
//! whose value at 0 is not 0. Take it for plain networks of such an activation; where the activation has a kink at 0
//! or no slope, take `he_normal`, whose gain integrates instead of expanding.
//!
//! # Method
//! With `x' = g(y)`, `y = W x`, biases 0 and `g(y) ≈ g(0) + g'(0)·y`, the inputs of a layer have mean `g(0)` and
//! variance 1, so that `var(y) = fan_in · v² · (1 + g(0)²)` and `var(x') = g'(0)² · var(y)`. Hence
//! - `keep: post`, for `var(x') = 1`: `v² = 1 / (fan_in · g'(0)² · (1 + g(0)²))`, which is the paper's
//! - `keep: pre`, for `var(y) = 1`: `v² = 1 / (fan_in · (g(0)² + g'(0)²))`
//!
//! ReLU, leaky and parametric ReLU have a kink at 0 and get He's `v² = 2 / (fan_in · (1 + slope²))`. In terms of
//! `fan_in · v²`: identity and tanh 1, sigmoid 12.8 (a standard deviation of 3.58/√fan_in), SiLU and GELU 4, softplus
//! 2.70, ReLU 2.
//!
//! # Shapes
//! Any weight with fans; fans are those of the site, so packed, grouped and transposed weights get theirs. Weights of
//! linear maps and convolutions are covered; norms, biases (which the derivation takes as 0) and tables are left alone.
//!
//! # Cost
//! O(weights), a few nanoseconds each, in pieces of any size.
//!
//! # Departures
//! The paper has one activation throughout. Here the activation that follows a site stands both for the one that its
//! output meets and for the one that made its input; a site that none follows is linear, with `v² = 1/fan_in`. Leaky
//! and parametric ReLU are not in the paper. `keep: pre` is an addition. The claims about variances hold on average
//! over draws: at width 500 a single network of 20 layers is typically off by 5 % with tanh, by a factor of 1.4 with
//! ReLU.
//!
//! # Traps
//! - "3.6/√N", the paper's number for sigmoid, is a standard deviation, not a variance.
//! - First order holds while pre-activations are small against the curvature. For sigmoid the rule expects a variance
//!   of 16 before the activation, where the sigmoid is flat: its output's variance cannot exceed 1/4, let alone be 1.
//!   The rule helps there all the same, because the start is so much wider than Glorot's: gradients reach the first
//!   layer, but ten layers may still need more than five epochs to leave the plateau; see the claims.
//! - At unit input variance tanh's signal decays with depth, as it does from Glorot's start; see the claims.
//! - The input of the first layer has to have unit variance.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::{Builder, Linear, Source};
//!
//! let mut b = Builder::new("net", Source::Built, epoch0_num::Dtype::F32);
//! let x = b.input("x", &[None, Some(64)]);
//! let y = b.linear(x, "fc", Linear::new(32).bias(false));
//! b.activation(y, "sigmoid".parse().unwrap());
//! let net = b.finish().unwrap();
//! let recipe = Recipe::from_yaml("recipe", "base: kumar").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "normal(0, 0.447214)");
//! ```
//!
//! # References
//! - [kumar2017weight]; [he2015delving] Eq. 10 for rectifiers

mod claims;

use epoch0_method::{At, Choice, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_num::{Activation, gain};

use crate::shared::unsupported;
use crate::variance_scaling::{self, fans};

/// What is kept at unit variance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Keep {
    /// The signal after each activation, as in the paper.
    Post,
    /// The signal before each activation.
    Pre,
}

/// Shape of the law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Distribution {
    /// Gaussian.
    Normal,
    /// Uniform.
    Uniform,
}

/// Parameters of Kumar's start.
#[derive(Clone, Debug, Params)]
pub struct Kumar {
    /// The activation that is expanded at 0; auto takes the one that follows each site, and the identity where none
    /// does.
    #[param(default = None, symbol = "g")]
    pub activation: Option<Activation>,
    /// Which side of the activation is kept at unit variance.
    #[param(default = Keep::Post)]
    pub keep: Keep,
    /// Shape of the law.
    #[param(default = Distribution::Normal)]
    pub distribution: Distribution,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "kumar",
    aliases: &["kumar_init"],
    family: Family::Init,
    papers: &["kumar2017weight", "he2015delving"],
    source: include_str!("mod.rs"),
    params: Kumar::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Kumar::from_values(INFO.id, values)?))
}

impl Initializer for Kumar {
    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let fan_in = fans(INFO.id, at)?.in_;
        if self.activation.is_none() && at.maxout.is_some() {
            let why = "a maxout unit follows, which is no function of one number to expand at 0";
            return Err(unsupported(INFO.id, at.label(), &why, "use maxout, or name an activation"));
        }
        let act = self.activation.as_ref().or(at.activation.as_ref()).unwrap_or(&Activation::Identity);
        let keep = match self.keep {
            Keep::Post => gain::Keep::Post,
            Keep::Pre => gain::Keep::Pre,
        };
        let gain = gain::kumar_gain(act, keep).map_err(|error| {
            let hint =
                "use he_normal, whose gain integrates over the activation instead of expanding it at 0";
            unsupported(INFO.id, at.label(), &error, hint)
        })?;
        let shape = match self.distribution {
            Distribution::Normal => variance_scaling::Distribution::Normal,
            Distribution::Uniform => variance_scaling::Distribution::Uniform,
        };
        Ok(SiteLaw::Each(shape.law(gain / fan_in.sqrt())))
    }
}
