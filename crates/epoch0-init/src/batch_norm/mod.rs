//! Batch normalization: the start of its factors, shifts and running statistics.
//!
//! # Idea
//! Each feature is brought to mean 0 and variance 1 over the mini-batch inside the network, and then scaled and shifted by
//! numbers that are learned. The weights before it may have any scale, so that larger learning rates work and their start
//! matters less. What is left to start are the factor γ and the shift β: γ = 1 and β = 0 begin with normalization alone; γ
//! = 0 in the last normalization of each residual branch begins with blocks that are the identity.
//!
//! # Method
//! In training, per feature (of vectors) or channel (over examples and positions), with mean μ and biased variance σ² of
//! the batch: `y = γ (x − μ) / √(σ² + ε) + β`. In evaluation with statistics of the population in their place, the
//! variance unbiased. This method gives
//! - γ by `gamma`: `ones`; `uniform`, U(0, 1); `positive_negative`, −1 or 1 with the same chance
//! - β = `beta`
//! - running mean 0, running variance 1, count 0
//! - with `zero_init_last`, γ = 0 where the normalization follows the last weight of a residual branch
//!
//! # Shapes
//! Factors, shifts and statistics of batch normalizations, `[features]`, and their counts. All else, other norms among it,
//! is left to what is below it: `--with batch_norm` goes with the network's usual start, a recipe's rule with any other.
//!
//! # Cost
//! O(features).
//!
//! # Departures
//! The paper's ε is not the start's business: networks have their own (torch 1e-5, Keras 1e-3). Statistics of the
//! population are an option of training (`--bn-stats population`); frameworks have running means instead, and so has the
//! default.
//!
//! # Traps
//! - torch's momentum 0.1 is Keras' 0.9: one is the share that is replaced, the other the share that is kept.
//! - A bias before it does nothing: μ takes it away. Its gradient is 0.
//! - `zero_init_last` finds the normalization behind the last weight of a branch. Where it stands before the weight (as in
//!   networks with activation first) there is none, and the option changes nothing.
//! - With `gamma=uniform` or `positive_negative` the last normalization of a branch is no identity either; taken with
//!   `zero_init_last` the zeros win.
//! - Measurements of a start have to say which statistics they used: running ones (mean 0, variance 1 before training)
//!   normalize nothing.
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::zoo;
//!
//! let net = zoo::build("resnet18").unwrap();
//! let recipe = "{base: pytorch_default, rules: [{with: batch_norm, set: {zero_init_last: true}}]}";
//! let recipe = Recipe::from_yaml("recipe", recipe).unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! let law = |name: &str| plan.sites_of(net.find(name).unwrap())[0].law.to_string();
//! assert_eq!(law("layer1.0.bn1.weight"), "ones");
//! assert_eq!(law("layer1.0.bn2.weight"), "zeros");
//! ```
//!
//! # References
//! - [ioffe2015batch] algorithms 1 and 2; [goyal2017accurate] §5.1 for γ = 0

mod claims;
mod effects;

use epoch0_method::{
    ArrayMut, At, Choice, Entry, Error, Family, Info, Initializer, Joint, Params, SiteLaw, Status, Values,
};
use epoch0_net::{Network, NodeId, NormKind, Op, Role};
use epoch0_num::{Law, Stream};

use crate::shared::unsupported;

/// Law of the factors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Gamma {
    /// All 1.
    Ones,
    /// Uniform between 0 and 1.
    Uniform,
    /// −1 or 1, with the same chance.
    PositiveNegative,
}

/// Parameters of the start of batch normalizations.
#[derive(Clone, Debug, Params)]
pub struct BatchNorm {
    /// Law of the factors.
    #[param(default = Gamma::Ones, symbol = "γ")]
    pub gamma: Gamma,
    /// The shift.
    #[param(default = 0.0, symbol = "β")]
    pub beta: f64,
    /// Whether factors are 0 in the last normalization of each residual branch.
    #[param(default = false)]
    pub zero_init_last: bool,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "batch_norm",
    aliases: &["batchnorm", "bn"],
    family: Family::Init,
    papers: &["ioffe2015batch", "goyal2017accurate"],
    source: include_str!("mod.rs"),
    params: BatchNorm::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(BatchNorm::from_values(INFO.id, values)?))
}

impl Initializer for BatchNorm {
    fn covers(&self, at: &At<'_>) -> bool {
        is_batch_norm(at)
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let law = match at.role {
            _ if !is_batch_norm(at) => {
                let why = format!("it is no part of a batch normalization but of a {}", at.op);
                return Err(unsupported(INFO.id, at.label(), &why, "name batch normalizations only"));
            }
            Role::NormScale if self.zero_init_last && ends_branch(at) => Law::ZEROS,
            Role::NormScale => match self.gamma {
                Gamma::Ones => Law::ONES,
                Gamma::Uniform => Law::uniform(0.0, 1.0),
                Gamma::PositiveNegative => {
                    return Ok(SiteLaw::Joint(Joint {
                        name: "-1 or 1".to_owned(),
                        mean: 0.0,
                        var: 1.0,
                        support: (-1.0, 1.0),
                    }));
                }
            },
            Role::NormShift => Law::constant(self.beta),
            Role::RunningVar => Law::ONES,
            _ => Law::ZEROS,
        };
        Ok(SiteLaw::Each(law))
    }

    /// Signs, by the lowest bit of the factor's own word.
    fn fill(&self, _: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let mut words = vec![0; out.len()];
        stream.words(0, &mut words);
        let signs = words.into_iter().map(|word| if word & 1 == 0 { -1.0f32 } else { 1.0 });
        match out {
            ArrayMut::F32(out) => out.iter_mut().zip(signs).for_each(|(factor, sign)| *factor = sign),
            ArrayMut::F64(out) => {
                out.iter_mut().zip(signs).for_each(|(factor, sign)| *factor = f64::from(sign));
            }
        }
        Ok(())
    }
}

fn is_batch_norm(at: &At<'_>) -> bool {
    matches!(at.net.nodes()[at.node.0 as usize].op, Op::Norm { kind: NormKind::Batch, .. })
}

/// Whether the normalization follows the last weight of a residual branch, with nothing but activations and other norms
/// between.
fn ends_branch(at: &At<'_>) -> bool {
    let ends =
        |node: NodeId| at.net.sites().iter().any(|site| site.node == node && site.ends_branch().is_some());
    layer_before(at.net, at.node).is_some_and(ends)
}

/// The linear map or convolution that a norm follows.
fn layer_before(net: &Network, norm: NodeId) -> Option<NodeId> {
    let mut at = norm;
    loop {
        let input = *net.nodes()[at.0 as usize].inputs.first()?;
        at = net.value(input).from?;
        match net.nodes()[at.0 as usize].op {
            Op::Linear { .. } | Op::Conv { .. } => return Some(at),
            Op::Activation(_) | Op::Norm { .. } | Op::Scale(_) => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use epoch0_net::zoo;

    use super::*;
    use crate::METHODS;
    use crate::start::{Plan, Recipe};

    fn zeros(spec: &str) -> Vec<String> {
        let net = zoo::build(spec).unwrap();
        let recipe = "{base: pytorch_default, rules: [{with: batch_norm, set: {zero_init_last: true}}]}";
        let recipe = Recipe::from_yaml("recipe", recipe).unwrap();
        let plan = Plan::new(METHODS, &net, &recipe, 0).unwrap();
        let is_zero = |planned: &&crate::start::Planned| {
            let site = &net.sites()[planned.site];
            site.role == Role::NormScale && planned.law == SiteLaw::Each(Law::ZEROS)
        };
        plan.sites().iter().filter(is_zero).map(|planned| net.sites()[planned.site].name.clone()).collect()
    }

    /// Those that torchvision's `zero_init_residual` names: `bn2` of a basic block, `bn3` of a bottleneck; not those of
    /// projections.
    #[test]
    fn last_norms_are_those_of_torchvision() {
        let wanted = |norm: &str, blocks: [usize; 4]| -> Vec<String> {
            let of_stage = |(stage, &n): (usize, &usize)| {
                (0..n).map(|block| format!("layer{}.{block}.{norm}.weight", stage + 1)).collect::<Vec<_>>()
            };
            blocks.iter().enumerate().flat_map(of_stage).collect()
        };
        assert_eq!(zeros("resnet18"), wanted("bn2", [2, 2, 2, 2]));
        assert_eq!(zeros("resnet50"), wanted("bn3", [3, 4, 6, 3]));
        assert_eq!(zeros("vgg11_bn"), Vec::<String>::new());
    }

    #[test]
    fn signs_are_even_and_factors_are_drawn() {
        let net = zoo::build("mlp:8-4096-3,norm=batch").unwrap();
        let id = net.find("1.weight").unwrap();
        let draw = |gamma: &str| -> Vec<f32> {
            let recipe =
                format!("{{base: pytorch_default, rules: [{{with: batch_norm, set: {{gamma: {gamma}}}}}]}}");
            let recipe = Recipe::from_yaml("recipe", &recipe).unwrap();
            let plan = Plan::new(METHODS, &net, &recipe, 3).unwrap();
            let (bytes, _) = plan.draw_whole(id).unwrap();
            bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
        };
        let signs = draw("positive_negative");
        assert!(signs.iter().all(|sign| sign.abs() == 1.0));
        // Five standard deviations of 4096 even signs are 320.
        assert!(signs.iter().sum::<f32>().abs() <= 320.0);
        let uniform = draw("uniform");
        assert!(uniform.iter().all(|factor| (0.0..1.0).contains(factor)));
        assert!((uniform.iter().sum::<f32>() / 4096.0 - 0.5).abs() < 0.03);
    }

    #[test]
    fn other_norms_are_left_alone() {
        let net = zoo::build("mlp:8-16-3,norm=layer").unwrap();
        let method = BatchNorm { gamma: Gamma::Ones, beta: 0.0, zero_init_last: false };
        let site = net.sites().iter().find(|site| site.name == "1.weight").unwrap();
        assert!(!method.covers(&At { net: &net, site }));
        let error = method.law(&At { net: &net, site }).unwrap_err().to_string();
        assert!(error.starts_with("batch_norm") && error.contains("1.weight"), "{error}");
    }
}
