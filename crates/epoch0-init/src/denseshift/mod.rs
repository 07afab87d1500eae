//! DenseShift: tiny latent weights for networks whose weights are signed powers of two.
//!
//! # Idea
//! Where weights are signed powers of two, multiplications are shifts. Every word of N bits is a weight of its own, none is
//! zero. What is learned stands behind the weight: a number whose sign it takes and gates that count up its exponent. When
//! these begin close to 0 any weight can still change its mind, also when the network is trained on for another task; from
//! wide latents most signs and exponents stay frozen where they were drawn.
//!
//! # Method
//! - `w = s · 2^S`, s the sign of the first latent (1 at 0), `S_1 = g_1`, `S_j = (S_(j-1) + 1) g_j` over `T = 2^(N-1) - 1`
//!   gates, `g_j` = 1 where latent j is above 0 and 0 elsewhere, S the last: 3 bits give ±1, ±2, ±4, ±8
//! - derivatives are those of `s √(S + 1)` with those of signs and gates taken as 1; the network computes them whatever
//!   its start
//! - all latents `~ N(0, std²)`, std = 0.001
//!
//! At the start S is 0 in half of the weights, 1 in a quarter, and so on, the largest as often as the one before it:
//! `E[w²]` is 2.5, 11.5 and 191.5 with 2, 3 and 4 bits, so that a normalization has to follow.
//!
//! # Shapes
//! Latents of linear maps and convolutions of networks with such weights. Every network of the zoo takes `shift=2`, `3` or
//! `4`: `resnet20,shift=3`; `Builder::shift_maps` does the same for built ones. The first map and readouts stay as they
//! are, and are left to the preset below, as are norms and biases. Any other method draws latents as it draws weights:
//! `he_normal` is the start that this one is compared with.
//!
//! # Cost
//! O(latents): `2^(N-1)` for each weight. Training keeps as many numbers, a deployed network N bits.
//!
//! # Departures
//! - Which maps are shifts is the network's to say, not this method's.
//! - Weights that may be 0, which the paper compares with (S³), are not here.
//! - How many signs and exponents change is counted at the tests of a training: `epoch0 train` shows it, and how many never
//!   changed.
//!
//! # Traps
//! - `√(S + 1)` is not the derivative of `2^S`, which would let large weights run away; it is meant so.
//! - Weight decay acts on latents.
//! - Without a normalization behind it a layer multiplies signals by `√(E[w²] · fan_in)`; a remark says where.
//! - The learning rate is in units of latents: one that is large against std flips much of the network at each step.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("mlp:20-30-30-10,norm=batch,shift=3").unwrap();
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, rules: [{with: denseshift}]}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! let (weight, shift) = net.shifts().next().unwrap();
//! assert_eq!(plan.sites_of(weight)[0].law.to_string(), "normal(0, 0.001)");
//! assert_eq!(shift.gates.len(), 3);
//! ```
//!
//! # References
//! - [li2022denseshift] Sections 3.2 to 3.4

mod claims;

use epoch0_method::{At, Entry, Error, Family, Info, Initializer, Params, SiteLaw, Status, Values};
use epoch0_net::{Network, Op, ParamId, ValueId};
use epoch0_num::Law;

use crate::shared::unsupported;

/// Parameters of the start of latents.
#[derive(Clone, Debug, Params)]
pub struct DenseShift {
    /// Standard deviation of latents.
    #[param(default = 1e-3, range = "(0, 1000]", symbol = "σ")]
    pub std: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "denseshift",
    aliases: &["dense_shift"],
    family: Family::Init,
    papers: &["li2022denseshift"],
    source: include_str!("mod.rs"),
    params: DenseShift::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(DenseShift::from_values(INFO.id, values)?))
}

impl Initializer for DenseShift {
    fn for_network(&self, net: &Network) -> Result<Option<Box<dyn Initializer>>, Error> {
        if net.shifts().next().is_some() {
            return Ok(None);
        }
        let why = "no weight of it is a signed power of two";
        let hint = "`shift=3` behind the name of a network of the zoo, such as resnet20,shift=3";
        Err(unsupported(INFO.id, net.name(), &why, hint))
    }

    fn remarks(&self, net: &Network) -> Vec<String> {
        let alone: Vec<(ParamId, f64)> = net
            .shifts()
            .filter_map(|(weight, shift)| {
                let site = net.sites_of(weight).next()?;
                let fan_in = site.fans?.in_;
                let output = net.nodes()[site.node.0 as usize].outputs[0];
                (!is_normalized(net, output)).then(|| (weight, (shift.second_moment() * fan_in).sqrt()))
            })
            .collect();
        let Some((weight, scale)) = alone.iter().max_by(|a, b| a.1.total_cmp(&b.1)) else {
            return Vec::new();
        };
        vec![format!(
            "no normalization follows {} of the shifts: signals behind {} are {scale:.0} times as large as before it; take a \
             network with a normalization behind each map",
            alone.len(),
            net.param(*weight).name
        )]
    }

    fn covers(&self, at: &At<'_>) -> bool {
        at.net.is_latent(at.param)
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        if at.net.is_latent(at.param) {
            return Ok(SiteLaw::Each(Law::normal(0.0, self.std)));
        }
        let why = "it is learned as it is, not in the place of a signed power of two";
        Err(unsupported(INFO.id, at.label(), &why, "use another method for it"))
    }
}

/// Whether all that reads a value is a normalization.
fn is_normalized(net: &Network, value: ValueId) -> bool {
    let mut readers = net.nodes().iter().filter(|node| node.inputs.contains(&value)).peekable();
    readers.peek().is_some() && readers.all(|node| matches!(node.op, Op::Norm { .. }))
}

#[cfg(test)]
mod tests {
    use epoch0_net::zoo;

    use super::*;
    use crate::METHODS;
    use crate::start::{Plan, Recipe};

    /// Labels of sites with their laws.
    type Laws = Vec<(String, String)>;

    fn planned(spec: &str, recipe: &str) -> Result<(Laws, Vec<String>), Error> {
        let net = zoo::build(spec).unwrap();
        let recipe = Recipe::from_yaml("recipe", recipe)?;
        let plan = Plan::new(METHODS, &net, &recipe, 7)?;
        let laws = plan.sites().iter().map(|one| (net.sites()[one.site].label(), one.law.to_string()));
        Ok((laws.collect(), plan.remarks().to_vec()))
    }

    const RECIPE: &str = "{base: pytorch_default, rules: [{with: denseshift, set: {std: 0.25}}]}";

    #[test]
    fn latents_are_drawn_and_nothing_else() {
        let (laws, remarks) = planned("cifar_resnet:8,shift=2", RECIPE).unwrap();
        let narrow: Vec<&str> =
            laws.iter().filter(|(_, law)| law == "normal(0, 0.25)").map(|(name, _)| name.as_str()).collect();
        assert!(narrow.contains(&"layer1.0.conv1.weight") && narrow.contains(&"layer3.0.conv2.weight_t1"));
        assert!(!narrow.contains(&"conv1.weight") && narrow.len() == 12, "{narrow:?}");
        assert!(remarks.is_empty(), "{remarks:?}");
    }

    #[test]
    fn a_missing_normalization_is_said() {
        let (_, remarks) = planned("mlp:10-40-20-5,shift=3", RECIPE).unwrap();
        // √(11.5 · 40)
        assert!(remarks[0].contains("signals behind 2.weight are 21 times"), "{remarks:?}");
    }

    #[test]
    fn networks_without_shifts_are_refused() {
        let error = planned("mlp:10-40-20-5", RECIPE).unwrap_err().to_string();
        assert!(error.starts_with("denseshift") && error.contains("shift=3"), "{error}");
        let rule = "{base: pytorch_default, rules: [{with: denseshift, match: \"0.weight\"}]}";
        let error = planned("mlp:10-40-20-5,shift=3", rule).unwrap_err().to_string();
        assert!(error.contains("0.weight"), "{error}");
    }

    #[test]
    fn other_methods_draw_latents_as_weights() {
        let (laws, _) =
            planned("mlp:10-50-20-5,shift=2", "{base: pytorch_default, rules: [{with: he_normal}]}").unwrap();
        let law = |name: &str| &laws.iter().find(|(label, _)| label == name).unwrap().1;
        assert_eq!(law("2.weight"), "normal(0, 0.2)");
        assert_eq!(law("2.weight_t1"), law("2.weight"));
    }
}
