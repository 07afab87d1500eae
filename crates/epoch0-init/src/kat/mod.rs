//! KAT: learned rational functions that begin as any given one, and weights that keep their variance.
//!
//! # Idea
//! A layer of a Kolmogorov–Arnold transformer learns its activation: each group of features goes through a rational
//! function before a linear map. Such a layer trains only from a sensible start. Functions begin as one that is known to
//! work (the first of a block as the identity, the second as swish), and each map gets the variance that makes up for what
//! the function in front of it takes from the signal.
//!
//! # Method
//! With `F(x) = P(x) / Q(x)`, P of degree 5 and Q of degree 4, `y = W F(x) + b` and x of variance 1:
//! - coefficients are those of the rational that is closest to the given function at 1000 points from -3 to 3, in least
//!   squares; the identity is met exactly
//! - `Var[W] = α / fan_in`, `α = Var[x] / E[F(x)²]` for Gaussian x, by quadrature over the function that runs: 1 for the
//!   identity, 2.811 for swish, 2.35 for GELU, 2 for ReLU
//! - biases are 0
//!
//! Free positions have a standard deviation of 0.02, tokens of 1e-6. A map that has an activation instead of a learned
//! function in front of it gets the α of that; one with a norm, an input or anything else, α = 1.
//!
//! # Shapes
//! Weights of linear maps and convolutions, their biases, and coefficients of learned functions; `kat`, `kat_tiny`,
//! `kat_small` and `kat_base` of the zoo have such functions, and `Builder::rational` puts them anywhere. Free
//! positions and tokens are covered too, and networks with ordinary activations. Norms and tables that words look up are
//! left to the preset below.
//!
//! # Cost
//! A fit (tens of milliseconds) and a quadrature for each function that differs, then O(weights), in pieces of any size.
//!
//! # Departures
//! - Maps of attention and readouts have α = 1 here; the authors draw them as Xavier does and with a standard deviation of
//!   0.02.
//! - Coefficients come from a fit of our own, in the form of the denominator that the network has. The authors publish a
//!   set for each function, and the one for GELU belongs to another form than their layers compute.
//! - Pools and changes of shape between the function and the map are passed over.
//!
//! # Traps
//! - In the authors' code the weights are drawn by this rule and then overwritten by a truncated normal of 0.02.
//! - Outside of -3 to 3 a fit goes its own way, in a straight line in the end. A signal that grows beyond leaves the
//!   function that was asked for.
//! - Functions with kinks are met less closely: ReLU to 0.03.
//! - Coefficients of the denominator that begin at 0 are at a kink; their derivative is taken from above, or they would
//!   stay there.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("kat:layers=1,embed=64").unwrap();
//! let recipe = Recipe::from_yaml("recipe", "{base: timm_vit, rules: [{with: kat}]}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! let law = |name: &str| plan.sites_of(net.find(name).unwrap())[0].law.to_string();
//! // 1 / 64, and 2.8108 / 256
//! assert_eq!(law("blocks.0.mlp.fc1.weight"), "normal(0, 0.125)");
//! assert_eq!(law("blocks.0.mlp.fc2.weight"), "normal(0, 0.104783)");
//! ```
//!
//! # References
//! - [yang2024kolmogorov] Sections 4.2 to 4.4

mod claims;

use std::collections::HashMap;

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::{Network, NodeId, Op, Role, ValueId};
use epoch0_num::rational::{Form, RANGE, Rational};
use epoch0_num::{Activation, Law, gain};

use crate::shared::identity::is_map;
use crate::shared::{is_table, unsupported};
use crate::variance_scaling::{Distribution, fans};

/// Parameters of the start of learned functions.
#[derive(Clone, Debug, Params)]
pub struct Kat {
    /// What learned functions begin as, those that the network has begin as the identity excepted; auto takes what the
    /// network says.
    #[param(default = None, symbol = "F")]
    pub activation: Option<Activation>,
    /// Shape of the law of weights.
    #[param(default = Distribution::Normal)]
    pub distribution: Distribution,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "kat",
    aliases: &["gr_kan"],
    family: Family::Init,
    papers: &["yang2024kolmogorov"],
    source: include_str!("mod.rs"),
    params: Kat::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Kat::from_values(INFO.id, values)?))
}

impl Initializer for Kat {
    fn for_network(&self, net: &Network) -> Result<Option<Box<dyn Initializer>>, Error> {
        Ok(Some(Box::new(Settled::of(self, net)?)))
    }

    fn covers(&self, at: &At<'_>) -> bool {
        covers(at)
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        Settled::of(self, at.net)?.law(at)
    }
}

fn covers(at: &At<'_>) -> bool {
    let is_free = matches!(at.role, Role::Position | Role::Token) && !is_table(at);
    is_map(at) || is_free || at.role == Role::Coefficient
}

/// The functions of one network, with their alphas.
#[derive(Clone, Debug)]
struct Settled {
    distribution: Distribution,
    /// What each learned function begins as.
    starts: HashMap<NodeId, Rational>,
    /// α of each map with a function in front of it.
    alphas: HashMap<NodeId, f64>,
}

impl Settled {
    fn of(params: &Kat, net: &Network) -> Result<Self, Error> {
        let refuse = |like: &Activation, why: &dyn std::fmt::Display| {
            let hint = "a function that is finite from -3 to 3 and not 0, such as silu";
            unsupported(INFO.id, like.to_string(), &why, hint)
        };
        // Many functions of a network begin alike.
        let mut fits: HashMap<Form, Rational> = HashMap::new();
        let mut known: Vec<(Rational, f64)> = Vec::new();
        let mut starts = HashMap::new();
        let mut of_functions: HashMap<NodeId, f64> = HashMap::new();
        for (index, node) in net.nodes().iter().enumerate() {
            let Op::Rational { start, .. } = &node.op else { continue };
            let named = params.activation.as_ref().filter(|_| start.like != Activation::Identity);
            let start = match (named, fits.get(&start.form)) {
                (None, _) => (**start).clone(),
                (Some(_), Some(fit)) => fit.clone(),
                (Some(act), None) => {
                    let fit = Rational::fit(act, start.form).map_err(|error| refuse(act, &error))?;
                    fits.insert(start.form, fit.clone());
                    fit
                }
            };
            let alpha = match known.iter().find(|(of, _)| *of == start) {
                Some((_, alpha)) => *alpha,
                None => start.alpha().map_err(|error| refuse(&start.like, &error))?,
            };
            known.push((start.clone(), alpha));
            starts.insert(NodeId(index as u32), start);
            of_functions.insert(NodeId(index as u32), alpha);
        }
        let mut alphas = HashMap::new();
        for (index, node) in net.nodes().iter().enumerate() {
            if !matches!(node.op, Op::Linear { .. } | Op::Conv { .. }) {
                continue;
            }
            let Some(front) = front(net, node.inputs[0]) else { continue };
            let alpha = match &net.nodes()[front.0 as usize].op {
                Op::Activation(act) => {
                    let gain = gain::rms_gain(act, 1.0).map_err(|error| {
                        let hint = "name another method for the map behind it in a recipe";
                        unsupported(INFO.id, act.to_string(), &error, hint)
                    })?;
                    gain * gain
                }
                _ => of_functions[&front],
            };
            alphas.insert(NodeId(index as u32), alpha);
        }
        Ok(Self { distribution: params.distribution, starts, alphas })
    }

    fn coefficient(&self, at: &At<'_>) -> Result<f64, Error> {
        let found = self.starts.get(&at.node).and_then(|start| match at.net.nodes()[at.node.0 as usize].op {
            Op::Rational { numerator, .. } if numerator == at.param => start.numerator.get(at.view.offset),
            _ => start.denominator.get(at.view.offset),
        });
        found.copied().ok_or_else(|| {
            let why = "it is no coefficient of a learned function";
            unsupported(INFO.id, at.label(), &why, "add a rule for it to a recipe")
        })
    }
}

/// The function whose values a map reads, where nothing but pools and changes of shape stand between.
fn front(net: &Network, mut value: ValueId) -> Option<NodeId> {
    loop {
        let from = net.value(value).from?;
        let node = &net.nodes()[from.0 as usize];
        match node.op {
            Op::Activation(_) | Op::Rational { .. } => return Some(from),
            Op::Pool(_)
            | Op::Flatten
            | Op::Reshape { .. }
            | Op::Permute { .. }
            | Op::Transpose { .. }
            | Op::SpaceToSequence
            | Op::Select { .. }
            | Op::ChannelShuffle { .. } => value = node.inputs[0],
            _ => return None,
        }
    }
}

impl Initializer for Settled {
    fn covers(&self, at: &At<'_>) -> bool {
        covers(at)
    }

    fn remarks(&self, net: &Network) -> Vec<String> {
        let mut likes: Vec<(String, f64)> = Vec::new();
        for start in self.starts.values() {
            let like = start.like.to_string();
            if likes.iter().all(|(known, _)| *known != like) {
                likes.push((like, start.max_error(RANGE)));
            }
        }
        if likes.is_empty() {
            return vec![format!("{} has no learned function: weights alone are drawn", net.name())];
        }
        likes.sort_by(|a, b| a.0.cmp(&b.0));
        let far = likes.into_iter().filter(|(_, error)| *error > 0.01);
        far.map(|(like, error)| {
            format!("the rational closest to {like} is up to {error:.3} from it between -3 and 3")
        })
        .collect()
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        Ok(SiteLaw::Each(match at.role {
            Role::Bias => Law::ZEROS,
            Role::Position if !is_table(at) => Law::truncated(0.0, 0.02, -2.0, 2.0),
            Role::Token => Law::normal(0.0, 1e-6),
            Role::Coefficient => Law::constant(self.coefficient(at)?),
            _ => {
                let alpha = self.alphas.get(&at.node).copied().unwrap_or(1.0);
                self.distribution.law((alpha / fans(INFO.id, at)?.in_).sqrt())
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use epoch0_method::Value;
    use epoch0_net::zoo;

    use super::*;
    use crate::METHODS;
    use crate::start::{Plan, Recipe};

    fn laws(spec: &str, recipe: &str) -> Result<Vec<(String, String)>, Error> {
        let net = zoo::build(spec).unwrap();
        let recipe = Recipe::from_yaml("recipe", recipe)?;
        let plan = Plan::new(METHODS, &net, &recipe, 7)?;
        let sites =
            plan.sites().iter().map(|planned| (net.sites()[planned.site].label(), planned.law.to_string()));
        Ok(sites.collect())
    }

    fn law<'a>(laws: &'a [(String, String)], label: &str) -> &'a str {
        &laws.iter().find(|(name, _)| name == label).unwrap().1
    }

    #[test]
    fn functions_begin_as_what_is_named() {
        let recipe = "{base: timm_vit, rules: [{with: kat, set: {activation: tanh}}]}";
        let found = laws("kat:layers=2,embed=16,form=abs_sum", recipe).unwrap();
        assert_eq!(law(&found, "blocks.1.mlp.act1.weight_numerator[a1]"), "ones");
        assert_eq!(law(&found, "blocks.1.mlp.act1.weight_denominator[b2]"), "zeros");
        let tanh = Rational::fit(&Activation::Tanh, Form::AbsOfSum).unwrap();
        let constant = Law::constant(tanh.numerator[3]).to_string();
        assert_eq!(law(&found, "blocks.1.mlp.act2.weight_numerator[a3]"), constant);
        // 1 / E[tanh²] = 2.5362
        let std = Law::normal(0.0, (tanh.alpha().unwrap() / 64.0).sqrt()).to_string();
        assert_eq!(law(&found, "blocks.0.mlp.fc2.weight"), std);
        assert!((tanh.alpha().unwrap() - 2.5362).abs() < 1e-3);
        assert_eq!(law(&found, "blocks.0.mlp.fc1.bias"), "zeros");
    }

    #[test]
    fn presets_let_functions_begin_as_the_network_says() {
        for preset in ["pytorch_default", "timm_vit", "hf_default"] {
            let Ok(found) = laws("kat:layers=1,embed=16", &format!("base: {preset}")) else { continue };
            assert_eq!(law(&found, "blocks.0.mlp.act1.weight_numerator[a1]"), "ones", "{preset}");
            assert_ne!(law(&found, "blocks.0.mlp.act2.weight_denominator[b2]"), "zeros", "{preset}");
        }
    }

    #[test]
    fn ordinary_activations_count_as_well() {
        let found = laws("mlp:50-100-100-10", "base: pytorch_default\nrules: [{with: kat}]").unwrap();
        assert_eq!(law(&found, "0.weight"), Law::normal(0.0, (1.0f64 / 50.0).sqrt()).to_string());
        assert_eq!(law(&found, "2.weight"), Law::normal(0.0, (2.0f64 / 100.0).sqrt()).to_string());
    }

    #[test]
    fn functions_without_a_fit_are_refused() {
        let recipe = "{base: timm_vit, rules: [{with: kat, set: {activation: \"expr:log(x)\"}}]}";
        let error = laws("kat:layers=1", recipe).unwrap_err().to_string();
        assert!(error.contains("no finite value at -3"), "{error}");
        let mut values = Values::new();
        values.insert("distribution".to_owned(), Value::Text("cauchy".to_owned()));
        assert!(build(&values).is_err());
    }
}
