//! Maxout: a Gaussian whose variance keeps the signal's size through maxout units of any rank.
//!
//! # Idea
//! A maxout unit sends on the largest of K linear maps. Its second moment is that of the largest of K Gaussians, which
//! grows with K, so that weights need less variance than linear maps do, where He's start gives them twice as much. How a
//! unit changes gradients depends on the input, but stays within bounds that do not grow with the width.
//!
//! # Method
//! With `M = E[max(z₁ … z_K)²]` for independent standard normal z, computed by quadrature:
//! - `W ~ N(0, c / fan_in)`, `c = 1 / M`: 1 for K = 2, 0.78391, 0.64461, 0.55555 for K = 5
//! - `fan_in` counts the inputs of one of the K maps
//! - max-pooling over p positions right behind the unit makes K·p of K (`pooled`)
//! - biases are 0, or `N(0, c / fan_in)` with `biases`
//! - a map that no maxout unit follows has the variance that keeps second moments through what does follow it:
//!   `1 / fan_in` before nothing, `gain² / fan_in` before an activation
//!
//! # Shapes
//! Weights of linear maps and convolutions of networks with maxout units: of the zoo (`mlp:…,act=maxout5`,
//! `vgg16,act=maxout2`), built, or of ONNX files, where units are a reshape and the largest along a dimension, pooling over
//! units, or the larger of maps or of parts of one. `epoch0 init NET --with maxout --dry-run` shows what is seen.
//!
//! # Cost
//! Two quadratures (below a millisecond), then O(weights), in pieces of any size.
//!
//! # Departures
//! - The paper has networks of maxout units alone; maps before activations have He's rule here.
//! - Pooled positions are taken to be independent, as the authors do; neighbors of an image are alike, and the signal
//!   shrinks a little where they are.
//!
//! # Traps
//! - The fan-out of a weight is that of all K maps: Glorot's rule counts units K times.
//! - Signals keep their size, gradients need not: in directions other than the input's a wide layer multiplies their
//!   second moment by c. From K = 3 on no variance keeps both.
//! - In narrow layers signals wander far from their mean; the median network is smaller than the mean one.
//! - A form that is not recognized is a map that nothing follows. `rank` sets K for those.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("mlp:100-64-10,act=maxout5").unwrap();
//! let plan = Plan::new(METHODS, &net, &Recipe::from_yaml("recipe", "base: maxout").unwrap(), 7).unwrap();
//! // √0.55555 / 10
//! assert_eq!(plan.sites()[0].law.to_string(), "normal(0, 0.0745352)");
//! ```
//!
//! # References
//! - [tseran2023expected] Sections 3 and 5, Table 1 of constants

mod claims;

use std::sync::{Mutex, PoisonError};

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::{Maxout as Units, Network, Role};
use epoch0_num::{Activation, Law, gain};

use crate::he_normal;
use crate::shared::unsupported;
use crate::variance_scaling::{Distribution, Mode, fans};

/// Parameters of the start of maxout networks.
#[derive(Clone, Debug, Params)]
pub struct Maxout {
    /// Rank of units that are not recognized: of all weights but readouts that neither a maxout unit nor an activation is
    /// seen behind.
    #[param(default = None, range = "[1, 1024]", symbol = "K")]
    pub rank: Option<u32>,
    /// Whether max-pooling right behind a unit raises its rank.
    #[param(default = true)]
    pub pooled: bool,
    /// Whether biases are drawn, with the variance of weights.
    #[param(default = false)]
    pub biases: bool,
    /// Shape of the law.
    #[param(default = Distribution::Normal)]
    pub distribution: Distribution,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "maxout",
    aliases: &["maxout_init"],
    family: Family::Init,
    papers: &["tseran2023expected"],
    source: include_str!("mod.rs"),
    params: Maxout::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Settled { params: Maxout::from_values(INFO.id, values)?, found: Mutex::default() }))
}

/// The method with the gains that it has found, by rank: many sites share one.
#[derive(Debug)]
struct Settled {
    params: Maxout,
    found: Mutex<Vec<(u32, f64)>>,
}

impl Settled {
    fn gain(&self, at: &At<'_>, rank: u32) -> Result<f64, Error> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, gain)) = found.iter().find(|(known, _)| *known == rank) {
            return Ok(*gain);
        }
        let gain = gain_of(INFO.id, at, rank)?;
        found.push((rank, gain));
        Ok(gain)
    }

    /// Standard deviation of the weights of a map.
    fn std(&self, at: &At<'_>) -> Result<f64, Error> {
        let Maxout { rank, pooled, .. } = self.params;
        let unseen = rank.filter(|_| at.activation.is_none() && at.role != Role::Readout);
        let gain = match (at.maxout, unseen) {
            (Some(units), _) => {
                check_alone(INFO.id, at)?;
                self.gain(at, if pooled { units.candidates() } else { units.rank as u32 })?
            }
            (None, Some(rank)) => self.gain(at, rank)?,
            (None, None) => return he_normal::std(INFO.id, None, Mode::FanIn, at),
        };
        Ok(gain / fans(INFO.id, at)?.in_.sqrt())
    }
}

/// `1 / √M` of units of that rank.
fn gain_of(method: &str, at: &At<'_>, rank: u32) -> Result<f64, Error> {
    let found = gain::maxout(rank).map_err(|error| {
        unsupported(method, format!("{}, maxout of rank {rank}", at.label()), &error, "a smaller rank")
    })?;
    Ok(found.gain())
}

/// What keeps second moments through the maxout units behind a site, with the positions that are pooled.
pub(crate) fn gain_behind(method: &str, at: &At<'_>, units: Units) -> Result<f64, Error> {
    check_alone(method, at)?;
    gain_of(method, at, units.candidates())
}

/// Refuses a maxout unit with an activation behind it.
fn check_alone(method: &str, at: &At<'_>) -> Result<(), Error> {
    let Some(act) = &at.activation else { return Ok(()) };
    let why = format!("{act} follows a maxout unit, and no rule is known for both");
    let hint = "`lsuv`, which measures, or a standard deviation of your own";
    Err(unsupported(method, at.label(), &why, hint))
}

/// What is to be said where units stand behind weights that get an activation's gain by its name.
pub(crate) fn remarks(net: &Network, named: Option<&Activation>) -> Vec<String> {
    let n_units = net.sites().iter().filter(|site| site.role.is_matrix() && site.maxout.is_some()).count();
    let said = named.filter(|_| n_units > 0).map(|act| {
        format!(
            "the gain of {act} is taken for {n_units} weights with maxout units behind them, which want another: \
             `activation: auto` or maxout"
        )
    });
    said.into_iter().collect()
}

impl Initializer for Settled {
    fn for_network(&self, net: &Network) -> Result<Option<Box<dyn Initializer>>, Error> {
        let has_units = net.sites().iter().any(|site| site.maxout.is_some());
        if has_units || self.params.rank.is_some() {
            return Ok(None);
        }
        let why = "no maxout unit is seen in it";
        let hint =
            "he_normal for activations, or `rank` where units are written in a way that is not recognized";
        Err(unsupported(INFO.id, net.name(), &why, hint))
    }

    fn covers(&self, at: &At<'_>) -> bool {
        at.role.is_matrix() || (at.role == Role::Bias && at.fans.is_some())
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        if at.role == Role::Bias && !self.params.biases {
            return Ok(SiteLaw::Each(Law::ZEROS));
        }
        Ok(SiteLaw::Each(self.params.distribution.law(self.std(at)?)))
    }
}

#[cfg(test)]
mod tests {
    use epoch0_method::Value;
    use epoch0_net::{Builder, Linear, Source, zoo};
    use epoch0_num::Dtype;

    use super::*;
    use crate::METHODS;
    use crate::start::{Plan, Recipe};

    fn laws(net: &Network, recipe: &str) -> Result<Vec<(String, f64)>, Error> {
        let plan = Plan::new(METHODS, net, &Recipe::from_yaml("recipe", recipe)?, 1)?;
        Ok(plan
            .sites()
            .iter()
            .map(|planned| (net.sites()[planned.site].name.clone(), planned.law.std()))
            .collect())
    }

    fn std(laws: &[(String, f64)], name: &str) -> f64 {
        laws.iter().find(|(other, _)| other == name).unwrap().1
    }

    #[test]
    fn ranks_pools_and_readouts() {
        let net = zoo::build("lenet,act=maxout5").unwrap();
        let found = laws(&net, "base: maxout").unwrap();
        // Four positions of five units each; the fan is that of one map.
        assert!((std(&found, "conv1.weight").powi(2) * 25.0 - 0.26573).abs() < 1e-5);
        assert!((std(&found, "fc1.weight").powi(2) * 400.0 - 0.55555).abs() < 1e-5);
        assert!((std(&found, "fc3.weight").powi(2) * 84.0 - 1.0).abs() < 1e-12);
        assert_eq!(std(&found, "fc1.bias"), 0.0);
        let alone = laws(&net, "base: {with: maxout, set: {pooled: false, biases: true}}").unwrap();
        assert!((std(&alone, "conv1.weight").powi(2) * 25.0 - 0.55555).abs() < 1e-5);
        assert_eq!(std(&alone, "fc1.bias"), std(&alone, "fc1.weight"));
    }

    #[test]
    fn other_methods_know_maxout_or_refuse_it() {
        let net = zoo::build("mlp:100-64-64-10,act=maxout5").unwrap();
        let c = 0.55555;
        let he = "{base: {with: he_normal, set: {activation: null}}, rules: [{role: bias, with: zeros}]}";
        for recipe in [he, "base: auto"] {
            let found = laws(&net, recipe).unwrap();
            assert!((std(&found, "2.weight").powi(2) * 64.0 - c).abs() < 1e-5, "{recipe}: {found:?}");
        }
        for recipe in ["base: he_normal", "base: he_uniform"] {
            let recipe =
                Recipe::from_yaml("recipe", &format!("{{{recipe}, rules: [{{role: bias, with: zeros}}]}}"))
                    .unwrap();
            let said = Plan::new(METHODS, &net, &recipe, 1).unwrap().remarks().join(" ");
            assert!(said.contains("the gain of relu is taken for 2 weights"), "{said}");
        }
        for recipe in ["base: eoc", "base: kumar"] {
            let text = laws(&net, recipe).unwrap_err().to_string();
            assert!(
                text.contains("0.weight") && text.contains("maxout") && text.contains("hint: "),
                "{text}"
            );
        }
        // Pairs have one point on the edge of chaos.
        let pairs = zoo::build("mlp:100-64-64-10,act=maxout2").unwrap();
        assert!((std(&laws(&pairs, "base: eoc").unwrap(), "0.weight") - 0.1).abs() < 1e-12);
    }

    #[test]
    fn what_has_no_maxout_is_refused() {
        let net = zoo::build("mlp:8-8-8,act=relu").unwrap();
        let text = laws(&net, "base: maxout").unwrap_err().to_string();
        assert!(text.contains("no maxout unit is seen in it\nhint: "), "{text}");
        let zero = build(&[("rank".to_owned(), Value::Number(0.0))].into_iter().collect()).unwrap_err();
        assert!(zero.to_string().contains("rank"), "{zero}");
        // An activation behind a unit.
        let mut b = Builder::new("net", Source::Built, Dtype::F32);
        let x = b.input("x", &[None, Some(4)]);
        let x = b.linear(x, "fc", Linear::new(6));
        let x = b.maxout(x, 1, 3);
        let x = b.activation(x, Activation::Tanh);
        b.output(x, "y");
        let net = b.finish().unwrap();
        let text = laws(&net, "base: maxout").unwrap_err().to_string();
        assert!(text.contains("tanh follows a maxout unit"), "{text}");
    }

    #[test]
    fn an_unseen_rank_is_given() {
        let net = zoo::build("mlp:100-64-10,act=none").unwrap();
        let found = laws(&net, "base: {with: maxout, set: {rank: 4}}");
        // An activation that does nothing is one all the same.
        assert!((std(&found.unwrap(), "0.weight") - 0.1).abs() < 1e-12);
        let mut b = Builder::new("net", Source::Built, Dtype::F32);
        let x = b.input("x", &[None, Some(100)]);
        let x = b.linear(x, "fc", Linear::new(6));
        b.output(x, "y");
        let found = laws(&b.finish().unwrap(), "base: {with: maxout, set: {rank: 4}}").unwrap();
        assert!((std(&found, "fc.weight").powi(2) * 100.0 - 0.64461).abs() < 1e-5);
    }
}
