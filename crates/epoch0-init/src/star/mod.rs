//! Star: variances at which the product of two maps keeps the size of signals.
//!
//! # Idea
//! The product of two linear maps of the same input, element by element, holds all products of two inputs: a network of
//! such stars computes polynomials of a degree that doubles from star to star, and needs no other nonlinearity. Its second
//! moment is the product of the two maps' second moments, so that a rule for single maps is off by what the activation in
//! one of them takes, and in a stack the error is squared at each star.
//!
//! # Method
//! At a star `φ(W₁ x) ∗ W₂ x` whose input has second moment 1, for standard normal z:
//! - a map with an activation behind it has variance `1 / fan_in`
//! - the map without has `1 / (fan_in · E[φ(z)²])`, so that `E[(φ(z₁) z₂)²] = 1`; of several each has its share
//! - where all maps have activations, each has the variance `σ*² / fan_in` at which `E[φ(σ*z)²] = 1`
//!
//! Other maps keep the second moment at 1 through what follows them: `1 / fan_in` before nothing, `gain² / fan_in` before an
//! activation.
//!
//! # Shapes
//! Networks in which outputs of maps of one value are multiplied, with activations or scales between at most: StarNet and
//! DemoNet of the zoo, gated feed-forward blocks (SwiGLU) of decoders, bilinear layers, in configs and ONNX files too.
//! Weights of linear maps and convolutions are covered.
//!
//! # Cost
//! A quadrature for each activation, then O(weights), in pieces of any size.
//!
//! # Departures
//! The paper has no start of its own: its networks take torch's, with the readout truncated normal of standard deviation
//! 0.02. This rule is what its product wants.
//!
//! # Traps
//! - A star is not stable: a second moment that is off by a factor f is off by nearly f² behind it, and stacked stars
//!   explode or vanish doubly exponentially. A norm or a residual branch has to stand between, which a remark says where
//!   none does.
//! - LayerScale of 1e-6, as DemoNet has it, hides all stars at the start.
//! - Products of two large numbers leave the range of half precision.
//! - What arrives is taken to have second moment 1. `auto` follows what does arrive, and keeps stars at 1 as well.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("demonet_2d:4-100").unwrap();
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, rules: [{with: star}]}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! let law = |label: &str| {
//!     let found = plan.sites().iter().find(|planned| net.sites()[planned.site].label() == label);
//!     found.unwrap().law.to_string()
//! };
//! assert_eq!(law("blocks.0.f.weight[x1]"), "normal(0, 0.1)");
//! // √2 / 10
//! assert_eq!(law("blocks.0.f.weight[x2]"), "normal(0, 0.141421)");
//! ```
//!
//! # References
//! - [ma2024rewrite] Sections 3.1 and 3.2 for what a star holds

mod claims;

use std::collections::HashMap;

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::{Network, NodeId, Op, ValueId};
use epoch0_num::{Activation, gain};

use crate::he_normal;
use crate::shared::unsupported;
use crate::variance_scaling::{Distribution, Mode, fans};

/// Parameters of the start of star networks.
#[derive(Clone, Debug, Params)]
pub struct Star {
    /// Shape of the law.
    #[param(default = Distribution::Normal)]
    pub distribution: Distribution,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "star",
    aliases: &[],
    family: Family::Init,
    papers: &["ma2024rewrite"],
    source: include_str!("mod.rs"),
    params: Star::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Star::from_values(INFO.id, values)?))
}

impl Initializer for Star {
    fn for_network(&self, net: &Network) -> Result<Option<Box<dyn Initializer>>, Error> {
        Ok(Some(Box::new(Settled::of(self, net)?)))
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        Settled::of(self, at.net)?.law(at)
    }
}

/// One of the maps that a star multiplies: the operation, and which part of its output.
type Map = (NodeId, Option<String>);

/// The stars of one network.
#[derive(Clone, Debug)]
struct Settled {
    distribution: Distribution,
    /// Standard deviation of weights times `√fan_in`, of each map of a star.
    gains: HashMap<Map, f64>,
    remarks: Vec<String>,
}

impl Settled {
    fn of(params: &Star, net: &Network) -> Result<Self, Error> {
        let mut gains = HashMap::new();
        let (mut n_stars, mut n_in_a_row) = (0, 0);
        // Stars that a value has passed since the last norm or sum.
        let mut passed = vec![0usize; net.values().len()];
        for node in net.nodes() {
            let before = node.inputs.iter().map(|input| passed[input.0 as usize]).max().unwrap_or(0);
            let mut behind =
                if matches!(node.op, Op::Norm { .. } | Op::UnitNorm | Op::Add) { 0 } else { before };
            if let (Op::Mul, Some(maps)) = (&node.op, maps_of(net, &node.inputs)) {
                n_stars += 1;
                behind += 1;
                n_in_a_row = n_in_a_row.max(behind);
                gains.extend(gains_of(maps)?);
            }
            node.outputs.iter().for_each(|output| passed[output.0 as usize] = behind);
        }
        if n_stars == 0 {
            let why = "no product of two maps of one value is seen in it";
            return Err(unsupported(
                INFO.id,
                net.name(),
                &why,
                "he_normal, or auto, which follows products of any kind",
            ));
        }
        let remarks = (n_in_a_row > 1).then(|| {
            format!(
                "{n_in_a_row} stars follow each other without a norm or a residual sum between: what is off in the second \
                 moment is squared at each of them"
            )
        });
        Ok(Self { distribution: params.distribution, gains, remarks: remarks.into_iter().collect() })
    }
}

/// The maps whose outputs are multiplied, with the activations behind them; nothing where something else is.
fn maps_of(net: &Network, factors: &[ValueId]) -> Option<Vec<(Map, Option<Activation>)>> {
    let maps: Option<Vec<_>> = factors.iter().map(|&factor| map_of(net, factor)).collect();
    let maps = maps?;
    let source = |(map, _): &(Map, Option<Activation>)| net.nodes()[map.0.0 as usize].inputs[0];
    let (first, others) = maps.split_first()?;
    let is_star =
        !others.is_empty() && others.iter().all(|map| map.0 != first.0 && source(map) == source(first));
    is_star.then_some(maps)
}

fn map_of(net: &Network, value: ValueId) -> Option<(Map, Option<Activation>)> {
    let (mut value, mut act, mut part) = (value, None, None);
    loop {
        let id = net.value(value).from?;
        let node = &net.nodes()[id.0 as usize];
        match &node.op {
            Op::Linear { .. } | Op::Conv { .. } => return Some(((id, part), act)),
            Op::Activation(found) if act.is_none() => act = Some(found.clone()),
            Op::Split { parts } if part.is_none() => {
                let at = node.outputs.iter().position(|output| *output == value)?;
                part = Some(parts[at].0.clone());
            }
            Op::Scale(_) => {}
            _ => return None,
        }
        value = node.inputs[0];
    }
}

/// Standard deviations times `√fan_in` with which the product of maps has second moment 1.
fn gains_of(maps: Vec<(Map, Option<Activation>)>) -> Result<Vec<(Map, f64)>, Error> {
    let refused = |act: &Activation, error: &gain::GainError| {
        unsupported(INFO.id, format!("activation {act}"), error, "auto, or another activation")
    };
    let n_plain = maps.iter().filter(|(_, act)| act.is_none()).count();
    let mut taken = 1.0;
    for (_, act) in &maps {
        if let (Some(act), true) = (act, n_plain > 0) {
            taken /= gain::rms_gain(act, 1.0).map_err(|error| refused(act, &error))?;
        }
    }
    let share = (1.0 / taken).powf(1.0 / n_plain.max(1) as f64);
    let gain = |act: &Option<Activation>| match act {
        None => Ok(share),
        Some(_) if n_plain > 0 => Ok(1.0),
        Some(act) => gain::fixed_point_gain(act).map_err(|error| refused(act, &error)),
    };
    maps.into_iter().map(|(map, act)| Ok((map, gain(&act)?))).collect()
}

impl Initializer for Settled {
    fn remarks(&self, _net: &Network) -> Vec<String> {
        self.remarks.clone()
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let std = match self.gains.get(&(at.node, at.part.clone())) {
            Some(gain) => gain / fans(INFO.id, at)?.in_.sqrt(),
            None => he_normal::std(INFO.id, None, Mode::FanIn, at)?,
        };
        Ok(SiteLaw::Each(self.distribution.law(std)))
    }
}

#[cfg(test)]
mod tests {
    use epoch0_net::{Builder, Linear, Source, zoo};
    use epoch0_num::Dtype;

    use super::*;
    use crate::METHODS;
    use crate::start::{Plan, Recipe};

    fn plan(net: &Network) -> Result<(HashMap<String, f64>, Vec<String>), Error> {
        let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, rules: [{with: star}]}")?;
        let plan = Plan::new(METHODS, net, &recipe, 1)?;
        let laws = plan
            .sites()
            .iter()
            .map(|planned| (net.sites()[planned.site].label(), planned.law.std()))
            .collect();
        Ok((laws, plan.remarks().iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn starnet_is_seen() {
        let (laws, remarks) = plan(&zoo::build("starnet_s1").unwrap()).unwrap();
        let gain = |name: &str, fan: f64| laws[name] * fan.sqrt();
        assert!((gain("stages.0.1.f1.conv.weight", 24.0) - 1.0).abs() < 1e-12);
        let relu6 = gain::rms_gain(&Activation::Relu6, 1.0).unwrap();
        assert!((gain("stages.0.1.f2.conv.weight", 24.0) - relu6).abs() < 1e-12);
        assert!((gain("stages.0.1.g.conv.weight", 96.0) - 1.0).abs() < 1e-12);
        assert!((gain("stem.0.conv.weight", 27.0) - relu6).abs() < 1e-12);
        assert!(remarks.is_empty(), "{remarks:?}");
    }

    #[test]
    fn stacks_are_warned_of_and_others_refused() {
        let mut b = Builder::new("net", Source::Built, Dtype::F32);
        let mut x = b.input("x", &[None, Some(16)]);
        for layer in 0..3 {
            let maps = ["a", "b"].map(|map| b.linear(x, &format!("{map}{layer}"), Linear::new(16)));
            let gates = maps.map(|map| b.activation(map, Activation::Relu));
            x = b.mul(&if layer == 1 { gates } else { maps });
        }
        b.output(x, "y");
        let (laws, remarks) = plan(&b.finish().unwrap()).unwrap();
        assert!((laws["a0.weight"] - 0.25).abs() < 1e-12 && (laws["b0.weight"] - 0.25).abs() < 1e-12);
        // Rectifiers on both sides have second moment 1 at variance 2 each.
        assert!((laws["a1.weight"] - 0.25 * 2f64.sqrt()).abs() < 1e-9, "{laws:?}");
        assert!(remarks.iter().any(|remark| remark.contains("3 stars follow each other")), "{remarks:?}");
        let text = plan(&zoo::build("resnet18").unwrap()).unwrap_err().to_string();
        assert!(text.contains("no product of two maps") && text.contains("\nhint: "), "{text}");
        // A value times a gate computed from it is no star, nor is a factor.
        for spec in ["mobilenet_v3_small", "demonet_2d:2-8,mode=sum"] {
            assert!(plan(&zoo::build(spec).unwrap()).is_err(), "{spec}");
        }
    }
}
