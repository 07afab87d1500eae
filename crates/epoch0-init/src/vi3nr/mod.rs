//! VI3NR: the scale that keeps pre-activations, and with the right size of them gradients, for any activation.
//!
//! # Idea
//! Glorot's, He's and SIREN's gains are cases of one rule: choose the standard deviation σ_p that pre-activations are to
//! have, and scale each layer by what its activation makes of a Gaussian of that size. Forward any σ_p stays; backward
//! only one does. Take it for networks of unusual activations (Gaussian, sinc, wavelets, sines of coordinates), where no
//! table has a gain and the size matters more than anything else.
//!
//! # Method
//! With standard normal z and the activation f between layers,
//! - a map that reads the network's inputs, of mean μ and standard deviation s, gets `fan_in Var(w) = σ_p² / (μ² + s²)`
//! - a map behind an activation gets `fan_in Var(w) = σ_p² / E[f(σ_p z)²]`
//! - gradients' second moment is multiplied by `cond(σ_p) = σ_p² E[f'(σ_p z)²] / E[f(σ_p z)²]` per layer. Auto takes the
//!   σ_p within 1e-3 … 10 at which that is 1, of several the smallest; where there is none, that which comes closest
//! - the last map has the σ_p of the activation before it, or answers of standard deviation `output`
//! - biases are 0
//!
//! Expectations are adaptive quadratures. The identity gives LeCun's start, rectifiers He's, small σ_p Kumar's.
//! Standard deviations σ_p of the start: Gaussian of width w `1.554 w`, sinc 2.223, wavelet 0.870, sigmoid 6.75; tanh and
//! sine have none but the limit of small σ_p, where they are linear, and ReLU keeps both at any.
//!
//! # Shapes
//! Weights of linear maps and convolutions and their biases, of any network that is made of known operations: where
//! something else than an activation stands between two maps its second moment is followed through the graph.
//!
//! # Cost
//! Some hundred quadratures for each activation (milliseconds to a second), then O(weights), in pieces of any size.
//!
//! # Departures
//! - The authors' code draws a million numbers without a seed for each expectation; here they are quadratures.
//! - It searches σ_p on a grid of steps of 0.001; here it is the root.
//! - It leaves biases as torch starts them; here they are 0, as the derivation takes them.
//! - Where two activations differ each map has the σ_p of the activation that follows it.
//! - Tables (words, positions) are left to the preset below, and taken to have the variance of the network's source, or 1.
//!
//! # Traps
//! - It is E[f²] that counts, not the variance of f: a Gaussian or a sigmoid has a mean.
//! - The inputs' statistics are those of what the network is given: coordinates after they are scaled to `[-1, 1]`, which
//!   have `input_std` 0.577, and encoded features after the encoding.
//! - σ_p = 1 is no neutral choice: with Gaussians of width 0.05 gradients then grow 200-fold per layer.
//! - In shallow networks the balance does not matter; try some σ_p around it.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("mlp:2-128-128-1,act=gaussian(0.05)").unwrap();
//! let recipe = Recipe::from_yaml("recipe", "base: {with: vi3nr, set: {distribution: normal}}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! // σ_p = 0.0777 and gain² = 0.01457 behind the Gaussian.
//! assert!((plan.sites()[0].law.std() - 0.0549342).abs() < 1e-6);
//! assert!((plan.sites()[2].law.std() - 0.01067).abs() < 1e-5);
//! ```
//!
//! # References
//! - [koneputugodage2025vi3nr]; code of the authors: Chumbyte/vi3nr
//! - [sitzmann2020implicit] whose hidden bound is the rule where the mean of sin² is ½

mod claims;

use std::collections::HashMap;
use std::sync::Arc;

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::moments::{Draws, Flow, Scale};
use epoch0_net::{Network, NodeId, ParamId, Role, Site};
use epoch0_num::gain::balanced_sigma;
use epoch0_num::meanfield::Signal;
use epoch0_num::{Activation, Law};

use crate::shared::followed::{follow, maps, own_moments};
use crate::shared::unsupported;
use crate::variance_scaling::Distribution;

/// Parameters of VI3NR.
#[derive(Clone, Debug, Params)]
pub struct Vi3nr {
    /// Standard deviation of pre-activations; auto is where signals and gradients both keep their size.
    #[param(default = None, range = "(0, inf)", symbol = "σ_p")]
    pub sigma: Option<f64>,
    /// Shape of the weights' law.
    #[param(default = Distribution::Uniform)]
    pub distribution: Distribution,
    /// Mean of the network's inputs over examples and elements.
    #[param(default = 0.0, range = "(-inf, inf)", symbol = "μ")]
    pub input_mean: f64,
    /// Standard deviation of the network's inputs over examples and elements.
    #[param(default = 1.0, range = "[0, inf)", symbol = "s")]
    pub input_std: f64,
    /// Standard deviation of what maps answer that no activation follows; auto is that of the pre-activations before.
    #[param(default = None, range = "(0, inf)")]
    pub output: Option<f64>,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "vi3nr",
    aliases: &["variance_informed"],
    family: Family::Init,
    papers: &["koneputugodage2025vi3nr", "sitzmann2020implicit"],
    source: include_str!("mod.rs"),
    params: Vi3nr::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    let params = Vi3nr::from_values(INFO.id, values)?;
    if params.input_mean == 0.0 && params.input_std == 0.0 {
        let hint = "give the mean and the standard deviation of what the network is given";
        let why = "both are 0: nothing can be scaled to have a size";
        return Err(unsupported(INFO.id, "input_mean and input_std", &why, hint));
    }
    Ok(Box::new(params))
}

impl Initializer for Vi3nr {
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
    fn remarks(&self, _net: &Network) -> Vec<String> {
        self.solved.remarks.clone()
    }

    fn covers(&self, at: &At<'_>) -> bool {
        (at.role.is_matrix() || at.role == Role::Bias) && self.solved.weights.contains_key(&at.node)
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        match self.solved.weights.get(&at.node) {
            Some(&variance) if at.role.is_matrix() => {
                Ok(SiteLaw::Each(self.distribution.law(variance.sqrt())))
            }
            Some(_) if at.role == Role::Bias => Ok(SiteLaw::Each(Law::ZEROS)),
            _ => {
                let why = format!("no signal was followed to this {}", at.role);
                Err(unsupported(INFO.id, at.label(), &why, "leave it to the preset below"))
            }
        }
    }
}

/// The variance of every map's weights.
#[derive(Debug)]
struct Solved {
    weights: HashMap<NodeId, f64>,
    remarks: Vec<String>,
}

impl Solved {
    fn of(net: &Network, params: &Vi3nr) -> Result<Self, Error> {
        let input = Signal::of_table(params.input_mean, params.input_std.powi(2), false);
        let input = input.map_err(|error| {
            unsupported(INFO.id, "input_std", &error, "a standard deviation whose square is a number")
        })?;
        let mut solver = Solver {
            net,
            params,
            sites: maps(net),
            sigmas: HashMap::new(),
            last: 1.0,
            weights: HashMap::new(),
            remarks: Vec::new(),
            refused: None,
        };
        let hint = "`lsuv`, which measures what this works out";
        let followed = follow(INFO.id, net, &input, &mut solver, hint);
        if let Some(error) = solver.refused {
            return Err(error);
        }
        let (_, remark) = followed?;
        let mut remarks = solver.remarks;
        remarks.extend(remark);
        Ok(Self { weights: solver.weights, remarks })
    }
}

struct Solver<'a> {
    net: &'a Network,
    params: &'a Vi3nr,
    sites: HashMap<NodeId, &'a Site>,
    /// σ_p by activation.
    sigmas: HashMap<String, f64>,
    /// σ_p of the last map that an activation follows.
    last: f64,
    weights: HashMap<NodeId, f64>,
    remarks: Vec<String>,
    refused: Option<Error>,
}

impl Solver<'_> {
    fn sigma(&mut self, act: &Activation) -> Result<f64, Error> {
        if let Some(sigma) = self.params.sigma {
            return Ok(sigma);
        }
        let name = act.to_string();
        if let Some(&sigma) = self.sigmas.get(&name) {
            return Ok(sigma);
        }
        let found = balanced_sigma(act)
            .map_err(|error| unsupported(INFO.id, format!("σ_p of activation {act}"), &error, "set sigma"))?;
        if (found.ratio - 1.0).abs() > 1e-3 {
            self.remarks.push(format!(
                "no σ_p balances {act}: at {:.4} gradients' second moment still changes by a factor of {:.4} per layer",
                found.sigma, found.ratio
            ));
        }
        self.sigmas.insert(name, found.sigma);
        Ok(found.sigma)
    }

    fn variance(&mut self, site: &Site, arriving: &Signal, n_summed: f64) -> Result<f64, Error> {
        let target = match &site.activation {
            Some(act) => {
                self.last = self.sigma(act)?;
                self.last
            }
            None => self.params.output.unwrap_or(self.last),
        };
        let variance = target * target / (n_summed * arriving.second);
        if variance.is_finite() && variance > 0.0 {
            return Ok(variance);
        }
        let why = format!(
            "what arrives has a second moment of {:e}, which nothing scales to {target}²",
            arriving.second
        );
        Err(unsupported(
            INFO.id,
            site.label(),
            &why,
            "another sigma: the activation before may be 0 where this one looks",
        ))
    }
}

impl Draws for Solver<'_> {
    fn map(&mut self, node: NodeId, arriving: &Signal, n_summed: f64, _: &Flow) -> Scale {
        let none = Scale { weight: 0.0, bias: 0.0 };
        let Some(&site) = self.sites.get(&node) else { return none };
        match self.variance(site, arriving, n_summed) {
            Ok(weight) => {
                self.weights.insert(node, weight);
                Scale { weight, bias: 0.0 }
            }
            Err(error) => {
                self.refused.get_or_insert(error);
                none
            }
        }
    }

    fn table(&mut self, _: NodeId, param: ParamId) -> (f64, f64) {
        match self.net.param(param).role {
            Role::Embedding | Role::Position | Role::Token if self.net.param(param).native.is_none() => {
                (0.0, 1.0)
            }
            _ => own_moments(self.net, param),
        }
    }
}

#[cfg(test)]
mod tests {
    use epoch0_method::Value;
    use epoch0_net::zoo;
    use epoch0_num::gain::steady_gain;

    use super::*;

    fn stds(net: &str, values: &[(&str, f64)]) -> Result<Vec<f64>, Error> {
        let net = zoo::build(net).unwrap();
        let values: Values =
            values.iter().map(|(name, value)| ((*name).to_owned(), Value::Number(*value))).collect();
        let method = build(&values)?.for_network(&net)?.unwrap();
        let sites = net.sites().iter().filter(|site| site.role.is_matrix());
        sites.map(|site| Ok(method.law(&At { net: &net, site })?.std())).collect()
    }

    #[test]
    fn layers_have_the_gains_of_the_rule() {
        let found =
            stds("mlp:16-64-32-4,act=sigmoid", &[("sigma", 1.0), ("input_mean", 3.0), ("input_std", 4.0)]);
        let gain = steady_gain(&Activation::Sigmoid, 1.0).unwrap();
        for (found, wanted) in found.unwrap().iter().zip([1.0 / 20.0, gain / 8.0, gain / 32f64.sqrt()]) {
            assert!((found / wanted - 1.0).abs() < 1e-9, "{found}, wanted {wanted}");
        }
        let found = stds("mlp:16-64-32-4,act=tanh", &[("sigma", 0.5), ("output", 2.0)]).unwrap();
        assert!((found[0] - 0.125).abs() < 1e-12);
        let gain = steady_gain(&Activation::Tanh, 0.5).unwrap() / 32f64.sqrt();
        assert!((found[2] / (4.0 * gain) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn rectifiers_get_hes_start_and_convolutions_their_receptive_field() {
        let found = stds("mlp:16-50-50-4,act=relu", &[]).unwrap();
        assert!((found[1] - 0.2).abs() < 1e-12);
        let found = stds("lenet,act=wavelet", &[("sigma", 1.0)]).unwrap();
        assert!((found[0] - 0.2).abs() < 1e-12);
    }

    #[test]
    fn what_has_no_size_is_refused() {
        let text = |net: &str, values: &[(&str, f64)]| stds(net, values).unwrap_err().to_string();
        assert!(text("mlp:4-4-4", &[("input_std", 0.0)]).contains("both are 0"));
        assert!(text("mlp:4-4-4", &[("sigma", 0.0)]).contains("sigma is 0"));
        let flat = text("mlp:4-4-4,act=shifted_relu(100)", &[("sigma", 1.0)]);
        assert!(flat.starts_with("vi3nr: 2.weight: what arrives has a second moment of 0e0"), "{flat}");
        assert!(text("mlp:4-4-4,act=expr:exp(x^2)", &[("sigma", 1.0)]).starts_with("vi3nr: "));
    }

    #[test]
    fn what_cannot_be_balanced_is_said() {
        let net = zoo::build("mlp:4-4-4,act=softplus").unwrap();
        let method = Vi3nr::default().for_network(&net).unwrap().unwrap();
        let found = balanced_sigma(&"softplus".parse().unwrap()).unwrap();
        assert_eq!(method.remarks(&net).is_empty(), (found.ratio - 1.0).abs() <= 1e-3, "{found:?}");
    }
}
