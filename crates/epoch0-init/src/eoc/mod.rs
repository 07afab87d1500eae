//! Edge of chaos: weights and biases at which information travels deepest, for any activation.
//!
//! # Idea
//! In a wide random network the variance of a layer and the correlation of two inputs follow deterministic maps. Below
//! the edge of chaos inputs become equal and gradients vanish, above it inputs become unrelated and gradients explode,
//! both exponentially; only on it are both polynomial. For smooth activations the edge is a curve, and which point of it
//! suits depends on the depth. Take it for deep plain networks without normalization; with residual branches or norms
//! other things decide.
//!
//! # Method
//! With `y = W φ(x) + b`, `W ~ N(0, σ_w²/fan_in)`, `b ~ N(0, σ_b²)` and standard normal z, the edge at variance q is
//! - `σ_w² = 1 / E[φ'(√q z)²]`, so that `χ₁ = 1`
//! - `σ_b² = q - σ_w² E[φ(√q z)²]`, so that q is the fixed point; there is no such point where it is negative
//!
//! On it `1 - c ~ β_q / l` after l layers with `β_q = 2 E[φ'²] / (q E[φ''²])` for smooth activations, and `κ / l²` where
//! φ' jumps. The point is chosen
//! - by `q`, or
//! - by `sigma_b`, solving `σ_b²(q) = sigma_b²`, or
//! - by `depth`: `β_q = depth`. Larger β_q makes the network nearly linear, smaller loses the inputs on the way, or
//! - by `sparsity`: q such that so many units are 0 behind the thresholds that the activations have. With `slope` the
//!   slope V'(q) of the variance map is held against what is asked for.
//!
//! ReLU and its kin have one point, `σ_b = 0` and `σ_w² = 2 / (1 + slope²)`, for every q: He's start.
//!
//! # Shapes
//! Weights of linear maps and convolutions, and biases. Fans are those of the site; a convolution's include the receptive
//! field. Norms, tables and free vectors are left alone.
//!
//! # Cost
//! A few quadratures for each activation in the network (10 to 100 ms), then O(weights), in pieces of any size.
//!
//! # Departures
//! - The activation that follows a site stands for the one that its input came through; a site that none follows is
//!   linear, with `1/fan_in` and biases 0.
//! - Where φ' jumps and the edge still is a curve (hard tanh, SELU) `√κ = depth` takes the place of `β_q = depth`; the
//!   paper has no rule there.
//! - `input` is an addition: it lets the first layer give its pre-activations the variance q at once.
//!
//! # Traps
//! - Biases are part of it: with torch's, or none, the network is not on the edge.
//! - Where inputs do not have the second moment that q wants, the first layers are spent on getting there; set `input`.
//! - `χ₁ = 1` does not say that q is stable: that is `V'(q) < 1`, which `epoch0 eoc` prints. For exp and for shifted
//!   ReLU it fails, and variances leave.
//! - Thresholds (`shifted_relu`, `soft_threshold`) have `V' = 1` and `V'' > 0` on their edge: what noise of finite width
//!   adds is amplified, and deep networks blow up. Bounded ones (`crelu`, `cst`) have `V' < 1`; `epoch0 eoc --activation
//!   crelu --sparsity 0.85 --slope 0.7` says which threshold and bound. A remark says where q is not stable.
//! - The standard deviation of SiLU's and GELU's weights falls along the curve as q grows.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::{Builder, Linear, Source};
//!
//! let mut b = Builder::new("net", Source::Built, epoch0_num::Dtype::F32);
//! let x = b.input("x", &[None, Some(64)]);
//! let y = b.linear(x, "fc", Linear::new(32));
//! b.activation(y, "tanh".parse().unwrap());
//! let net = b.finish().unwrap();
//! let recipe = Recipe::from_yaml("recipe", "base: {with: eoc, set: {q: 0.5}}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "normal(0, 0.162403)");
//! assert_eq!(plan.sites()[1].law.to_string(), "normal(0, 0.195042)");
//! ```
//!
//! # References
//! - [hayou2019impact] Section 2 and Propositions 2 and 3; [schoenholz2016deep] for depth scales; [poole2016exponential]
//!   for the maps; [xiao2018dynamical] for convolutions; [price2024deep] for thresholds and the slope V'

mod claims;
mod effects;
mod sparse;

use std::sync::{Mutex, PoisonError};

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::{Maxout, Network, Role};
use epoch0_num::meanfield::{
    EdgePoint, MeanFieldError, Stability, edge_at_depth, edge_at_q, edge_at_sigma_b, q_of_sparsity,
};
use epoch0_num::{Activation, Law};

use crate::shared::unsupported;
use crate::variance_scaling::fans;

/// Parameters of the start at the edge of chaos. At most one of `q`, `sigma_b`, `depth` and
/// `sparsity` is given.
#[derive(Clone, Debug, Params)]
pub struct Eoc {
    /// The activation of the maps; auto takes the one that follows each site, and the identity where none does.
    #[param(default = None, symbol = "φ")]
    pub activation: Option<Activation>,
    /// Variance of pre-activations at the fixed point.
    #[param(default = None, range = "[1e-9, inf)", symbol = "q")]
    pub q: Option<f64>,
    /// Standard deviation of biases.
    #[param(default = None, range = "[0, inf)", symbol = "σ_b")]
    pub sigma_b: Option<f64>,
    /// Number of layers that the rate is matched to; auto is the network's, where the point is not chosen
    /// otherwise.
    #[param(default = None, range = "[1, inf)", symbol = "L")]
    pub depth: Option<u32>,
    /// Share of units that are 0 behind the activations, which have to have a threshold; q follows.
    #[param(default = None, range = "(0, 1)", symbol = "s")]
    pub sparsity: Option<f64>,
    /// Slope of the variance map that the point is to have; another by more than 0.001 is refused.
    #[param(default = None, range = "(0, 1)", symbol = "V'")]
    pub slope: Option<f64>,
    /// Second moment of the network's inputs, for first weights that give the variance q at once; auto draws these as
    /// all others.
    #[param(default = None, range = "(0, inf)")]
    pub input: Option<f64>,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "eoc",
    aliases: &["edge_of_chaos"],
    family: Family::Init,
    papers: &[
        "hayou2019impact",
        "schoenholz2016deep",
        "poole2016exponential",
        "xiao2018dynamical",
        "price2024deep",
    ],
    source: include_str!("mod.rs"),
    params: Eoc::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    let params = Eoc::from_values(INFO.id, values)?;
    let given =
        [params.q.is_some(), params.sigma_b.is_some(), params.depth.is_some(), params.sparsity.is_some()];
    if given.iter().filter(|given| **given).count() > 1 {
        return Err(unsupported(
            INFO.id,
            "q, sigma_b, depth and sparsity",
            &"each of them fixes the point on the edge by itself, and more than one is given",
            "give one of them, or none for the network's depth",
        ));
    }
    Ok(Box::new(AtEdge { params, found: Mutex::default() }))
}

/// The method with the points that it has found.
#[derive(Debug)]
struct AtEdge {
    params: Eoc,
    /// By activation and depth of the network: many sites share one.
    found: Mutex<Vec<(Activation, usize, EdgePoint)>>,
}

impl AtEdge {
    fn point(&self, act: &Activation, at: &At<'_>) -> Result<EdgePoint, Error> {
        let weights = at.net.sites().iter().filter(|site| site.role.is_matrix());
        let depth = weights.map(|site| site.depth).max().unwrap_or(1).max(1);
        let depth = self.params.depth.map_or(depth, |depth| depth as usize);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, point)) = found.iter().find(|(known, of, _)| known == act && *of == depth) {
            return Ok(*point);
        }
        let Eoc { q, sigma_b, sparsity, .. } = self.params;
        let point = match (q, sigma_b, sparsity) {
            (Some(q), _, _) => edge_at_q(act, q),
            (_, Some(sigma_b), _) => edge_at_sigma_b(act, sigma_b),
            (_, _, Some(share)) => q_of_sparsity(act, share).and_then(|q| edge_at_q(act, q)),
            _ => edge_at_depth(act, depth),
        };
        let point = point.map_err(|error| refused(at, act, &error))?;
        if let Some(slope) = self.params.slope
            && (point.variance_slope - slope).abs() > 1e-3
        {
            let (found, q) = (point.variance_slope, point.q);
            let why = format!("V' is {found:.4} at q = {q:.4}, and {slope} is asked for");
            let hint =
                "`epoch0 eoc --sparsity … --slope …` finds the threshold and the bound of crelu and cst";
            return Err(unsupported(INFO.id, format!("{}, activation {act}", at.label()), &why, hint));
        }
        found.push((act.clone(), depth, point));
        Ok(point)
    }
}

fn refused(at: &At<'_>, act: &Activation, error: &MeanFieldError) -> Error {
    let text = error.to_string();
    let hint = text.split_once("\nhint: ").map_or("", |(_, hint)| hint);
    let hint = if hint.is_empty() { "name another activation, or choose the point by q" } else { hint };
    unsupported(INFO.id, format!("{}, activation {act}", at.label()), &text, hint)
}

/// Maxout units let gradients keep their size at `σ_w² = 1` and signals at `1 / M`, which is 1 for the larger of two.
fn check_maxout(at: &At<'_>, units: Maxout) -> Result<(), Error> {
    if units.candidates() == 2 && at.activation.is_none() {
        return Ok(());
    }
    let why = format!(
        "a maxout unit of {} values follows, and from three on no σ_w keeps both signals and gradients",
        units.candidates()
    );
    Err(unsupported(INFO.id, at.label(), &why, "maxout, which keeps signals, or name an activation"))
}

impl Initializer for AtEdge {
    /// Of the points that were found, those at which the variance does not stay.
    fn remarks(&self, _net: &Network) -> Vec<String> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let said = found.iter().filter_map(|(act, _, point)| {
            let EdgePoint { q, variance_slope, .. } = point;
            match point.stability() {
                Stability::UnstableFromAbove => Some(format!(
                    "{act}: the variance is not stable from above q = {q:.4}, as V'' > 0 where V' = 1"
                )),
                Stability::Unstable => Some(format!(
                    "{act}: the variance is not stable at q = {q:.4}, with V' = {variance_slope:.4}"
                )),
                _ => None,
            }
        });
        said.collect()
    }

    fn covers(&self, at: &At<'_>) -> bool {
        at.role.is_matrix() || (at.role == Role::Bias && at.fans.is_some())
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let fan_in = fans(INFO.id, at)?.in_;
        if let (None, Some(units)) = (&self.params.activation, at.maxout) {
            check_maxout(at, units)?;
        }
        // A map that no activation follows is linear, and has one point whatever is asked for.
        let Some(act) = self.params.activation.as_ref().or(at.activation.as_ref()) else {
            let std = if at.role == Role::Bias { 0.0 } else { 1.0 / fan_in.sqrt() };
            return Ok(SiteLaw::Each(Law::normal(0.0, std)));
        };
        let point = self.point(act, at)?;
        if at.role == Role::Bias {
            return Ok(SiteLaw::Each(Law::normal(0.0, point.sigma_b)));
        }
        let weight = match self.params.input {
            // q - σ_b² = σ_w² E[φ²], which is never negative.
            Some(input) if at.depth == 1 => (point.q - point.sigma_b * point.sigma_b) / input,
            _ => point.sigma_w * point.sigma_w,
        };
        Ok(SiteLaw::Each(Law::normal(0.0, (weight / fan_in).sqrt())))
    }
}

#[cfg(test)]
mod tests {
    use epoch0_method::{At, Value, Values};

    use super::*;
    use crate::shared::experiment::network;

    fn laws(values: &[(&str, Value)], act: &str, widths: &[usize]) -> Result<Vec<(String, f64)>, Error> {
        let net = network(widths, &act.parse().unwrap()).unwrap();
        let values: Values = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let method = build(&values)?;
        net.sites()
            .iter()
            .map(|site| Ok((site.name.clone(), method.law(&At { net: &net, site })?.std())))
            .collect()
    }

    #[test]
    fn depth_comes_from_the_network() {
        let widths = [64; 31];
        let found = laws(&[], "tanh", &widths).unwrap();
        let point = edge_at_depth(&Activation::Tanh, 30).unwrap();
        assert_eq!(found[0], ("fc0.weight".to_owned(), point.sigma_w / 8.0));
        assert_eq!(found[1], ("fc0.bias".to_owned(), point.sigma_b));
        // Nothing follows the last.
        assert_eq!(found[58], ("fc29.weight".to_owned(), 0.125));
        assert_eq!(found[59], ("fc29.bias".to_owned(), 0.0));
        let given = laws(&[("depth", Value::Number(7.0))], "tanh", &widths).unwrap();
        assert_eq!(given[0].1, edge_at_depth(&Activation::Tanh, 7).unwrap().sigma_w / 8.0);
    }

    #[test]
    fn relu_is_he() {
        for set in [vec![], vec![("q", Value::Number(3.0))], vec![("sigma_b", Value::Number(0.0))]] {
            let found = laws(&set, "relu", &[50, 20, 10]).unwrap();
            assert!((found[0].1 - 0.2).abs() < 1e-12 && found[1].1 == 0.0, "{found:?}");
        }
    }

    #[test]
    fn the_first_layer_meets_its_input() {
        let found =
            laws(&[("q", Value::Number(0.5)), ("input", Value::Number(4.0))], "tanh", &[64, 64, 64]).unwrap();
        let point = edge_at_q(&Activation::Tanh, 0.5).unwrap();
        let arrives = found[0].1.powi(2) * 64.0 * 4.0 + point.sigma_b.powi(2);
        assert!((arrives - 0.5).abs() < 1e-12, "{arrives}");
    }

    #[test]
    fn what_has_no_point_is_refused_with_a_way_out() {
        let text = |set: &[(&str, Value)], act: &str| laws(set, act, &[8, 8, 8]).unwrap_err().to_string();
        let relu = text(&[("sigma_b", Value::Number(0.1))], "relu");
        assert!(
            relu.starts_with("eoc: fc0.weight, activation relu: ") && relu.contains("\nhint: take σ_b = 0"),
            "{relu}"
        );
        let low = text(&[("q", Value::Number(0.5))], "exp");
        assert!(low.contains("hint: there are points for q from 1.0000"), "{low}");
        let both = text(&[("q", Value::Number(0.5)), ("depth", Value::Number(5.0))], "tanh");
        assert!(both.contains("more than one is given\nhint: "), "{both}");
    }
}
