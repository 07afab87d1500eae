//! Fixup: residual networks without normalization, whose first steps do as much at any depth.
//!
//! # Idea
//! Without normalization the answers and the updates of a residual network grow with its depth. Fixup zeroes the last
//! weight of every branch and the classifier, so that the network begins as its skips, and shrinks the other weights of a
//! branch so that a step of size η changes the answers by Θ(η) however many branches there are. Take it for deep residual
//! networks and transformers whose norms are left out.
//!
//! # Method
//! `L` is the number of residual branches of a stack, `m` the number of weights that are multiplied with each other in a
//! branch (2 in a basic block, 3 in a bottleneck, 4 in attention: queries, keys, values and the projection behind them).
//! 1. The readout, its bias, and the last weight of every branch are 0.
//! 2. Other weights of a branch get the standard start times `L^(-1/(2m - 2))`.
//! 3. All other weights get the standard start; biases are 0, single factors (`scalar`) 1.
//!
//! The standard start is He's, `√(2 / fan_out)`, where a rectifier or another activation follows, and Glorot's where none
//! does, as for queries, keys and values; before maxout units it is that of `maxout`. A branch of one weight is that zero alone.
//!
//! # Shapes
//! Linear maps and convolutions with their biases, and single factors, of any network with residual branches; grouped and
//! packed weights have the fans of one group or part. Norms, if there are some, and tables are left alone.
//!
//! # Cost
//! O(weights), in pieces of any size; the branches are found when the network is read.
//!
//! # Departures
//! - The scalar biases and the factor of each branch (rule 3 of the paper) have to be in the network: a start does not change
//!   it. Networks of the zoo have them with `norm=fixup`, and `epoch0 strip-norm` puts them into ONNX files.
//! - The code's stem keeps the framework's start; here it gets the standard one.
//!
//! # Traps
//! - `fan_out`, not `fan_in`, as the code has it: with stride 2 that matters.
//! - `L` counts branches, not layers or blocks: a transformer block has two.
//! - Single shifts and factors learn at a tenth of the rate, which `train` and `compare` heed and `init` writes beside the
//!   checkpoint; with the full rate they destabilize training.
//! - With norms left in the network the start is harmless and pointless.
//! - At the first step only the classifier has a gradient, at the second the last weights of branches, then all.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("resnet20,norm=none").unwrap();
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, rules: [{with: fixup}]}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! let law = |name: &str| plan.sites_of(net.find(name).unwrap())[0].law.std();
//! assert_eq!(law("layer1.0.conv2.weight"), 0.0);
//! // Nine branches of two weights: He's √(2 / (16 · 9)) times 9^(-1/2).
//! assert!((law("layer1.0.conv1.weight") - (2.0f64 / 144.0).sqrt() / 3.0).abs() < 1e-12);
//! ```
//!
//! # References
//! - [zhang2019fixup] Section 3 and Appendix; [he2015delving]; [glorot2010understanding]

mod claims;

use epoch0_method::{
    At, Choice, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Steps, Values,
};
use epoch0_net::{Branch, Network, Role};
use epoch0_num::{Law, gain};

use crate::maxout;
use crate::shared::unsupported;
use crate::variance_scaling::fans;

/// What weights are drawn from before branches are shrunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Standard {
    /// He's where an activation follows, Glorot's where none does.
    Auto,
    /// He's everywhere: `√(2 / fan_out)`.
    He,
    /// Glorot's everywhere: `√(2 / (fan_in + fan_out))`.
    Xavier,
}

/// Parameters of Fixup.
#[derive(Clone, Debug, Params)]
pub struct Fixup {
    /// The start that branches shrink.
    #[param(default = Standard::Auto)]
    pub standard: Standard,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "fixup",
    aliases: &["fixup_init"],
    family: Family::Init,
    papers: &["zhang2019fixup", "he2015delving", "glorot2010understanding"],
    source: include_str!("mod.rs"),
    params: Fixup::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Fixup::from_values(INFO.id, values)?))
}

/// Stacks of residual branches, one for each number of branches and of weights in them.
fn stacks(net: &Network) -> Vec<Branch> {
    let mut stacks: Vec<Branch> = net.sites().iter().filter_map(epoch0_net::Site::ends_branch).collect();
    stacks.sort_unstable_by_key(|branch| (branch.count, branch.degree));
    stacks.dedup_by_key(|branch| (branch.count, branch.degree));
    stacks
}

impl Initializer for Fixup {
    fn for_network(&self, net: &Network) -> Result<Option<Box<dyn Initializer>>, Error> {
        if stacks(net).is_empty() {
            let hint = "for a plain network take auto, he_normal or lsuv";
            return Err(unsupported(INFO.id, net.name(), &"it has no residual branches", hint));
        }
        Ok(None)
    }

    fn remarks(&self, net: &Network) -> Vec<String> {
        let stacks = stacks(net);
        let each = stacks.iter().map(|branch| format!("{} weights in a branch", branch.degree));
        let each = each.collect::<Vec<_>>().join(" or ");
        stacks.first().map(|first| format!("{} residual branches, {each}", first.count)).into_iter().collect()
    }

    fn covers(&self, at: &At<'_>) -> bool {
        at.role.is_matrix() || matches!(at.role, Role::Scalar | Role::Bias)
    }

    fn learning_rate(&self, at: &At<'_>, _steps: Steps) -> f64 {
        if at.net.param(at.param).len() == 1 { 0.1 } else { 1.0 }
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let zero = Ok(SiteLaw::Each(Law::ZEROS));
        match at.role {
            Role::Bias | Role::Readout => return zero,
            Role::Scalar => return Ok(SiteLaw::Each(Law::ONES)),
            _ => {}
        }
        let std = self.standard_std(at)?;
        let std = match at.branch {
            None => std,
            Some(Branch { is_last: true, .. }) => return zero,
            // More than one weight: this one is not the last.
            Some(Branch { count, degree, .. }) => {
                std * (count as f64).powf(-0.5 / (degree.max(2) as f64 - 1.0))
            }
        };
        Ok(SiteLaw::Each(Law::normal(0.0, std)))
    }
}

impl Fixup {
    fn standard_std(&self, at: &At<'_>) -> Result<f64, Error> {
        let fans = fans(INFO.id, at)?;
        if let (Standard::Auto, Some(units)) = (self.standard, at.maxout) {
            return Ok(maxout::gain_behind(INFO.id, at, units)? / fans.in_.sqrt());
        }
        let (he, xavier) = (|gain: f64| gain / fans.out.sqrt(), (2.0 / (fans.in_ + fans.out)).sqrt());
        Ok(match (self.standard, &at.activation) {
            (Standard::He, _) => he(2f64.sqrt()),
            (Standard::Auto, Some(act)) => he(gain::rms_gain(act, 1.0).unwrap_or(2f64.sqrt())),
            (Standard::Xavier, _) | (Standard::Auto, None) => xavier,
        })
    }
}
