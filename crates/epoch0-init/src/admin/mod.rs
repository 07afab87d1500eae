//! Admin: transformers that normalize after sums, with branches the smaller the more came before them.
//!
//! # Idea
//! Where the sum of skip and branch is normalized (the original transformer, BERT), every branch is as loud as all before it
//! together, and a change in any of them changes the whole output: training deep stacks diverges. Admin makes the skip louder
//! by what has been added so far, as it is in networks that normalize before each branch, and leaves the network free to
//! change that.
//!
//! # Method
//! `x_i = LN(ω_i x_(i-1) + f_i(x_(i-1)))`. One run of the network over a batch settles all ω, in its order:
//!
//! ```text
//! ω_1 = 1,   ω_(i+1)² = Var[ω_i x_(i-1)] + Var[f_i(x_(i-1))]
//! ```
//!
//! so about `ω_i² = 1 + Σ Var[f_j]` over the branches before. A norm does not see the size of what it divides: instead of a
//! factor on the skip, `1/ω_i` is put on the last weight of the branch, its bias, and what else is multiplied with what the
//! branch adds.
//!
//! # Shapes
//! Networks with residual sums that are normalized: BERT and its kin, `gpt:norm=post` in the zoo. Packed and tied weights at
//! the end of a branch are refused.
//!
//! # Cost
//! One run of the network.
//!
//! # Departures
//! - ω is not a parameter of its own, as in the paper, and so not learned: the weights behind it are.
//! - So that a step does what it would do in the paper's network, the weights that were divided by ω learn at 1/ω of the rate
//!   with Adam, and at 1/ω² with gradient descent. `train` and `compare` heed that, and `init` writes it beside the checkpoint.
//!
//! # Traps
//! - The norm's ε is not scaled; it matters where a sum has a variance near 1e-5.
//! - It is about the first steps: ω of a trained network says nothing.
//!
//! # Example
//! ```
//! let admin = epoch0_init::calibrate::find("admin").unwrap();
//! assert_eq!(admin.info.id, "admin");
//! ```
//!
//! # References
//! - [liu2020understanding] Section 4.2; code of the authors

mod claims;

use std::collections::HashMap;

use epoch0_engine::{Batch, Mode, Tensor, Value, Var, Weights, sweep};
use epoch0_method::{Entry, Error as MethodError, Family, Info, Params, Status, Values};
use epoch0_net::{BranchEnd, Network, NodeId, Op, ParamId};

use crate::calibrate::{Calibration, Calibrator, Error, Layer, Spread, State};
use crate::shared::unsupported;
use crate::start::Rule;

/// Parameters of Admin: it has none.
#[derive(Clone, Debug, Params)]
pub struct Admin {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Calibrator> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "admin",
    aliases: &["adaptive_model_initialization"],
    family: Family::Init,
    papers: &["liu2020understanding"],
    source: include_str!("mod.rs"),
    params: Admin::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Calibrator>, MethodError> {
    Ok(Box::new(Admin::from_values(INFO.id, values)?))
}

/// A branch, and what scales with it.
struct Scaled {
    end: BranchEnd,
    scalers: Vec<ParamId>,
}

/// The branches whose sums are normalized.
fn normalized(net: &Network) -> Result<Vec<Scaled>, MethodError> {
    let is_norm = |id: &&epoch0_net::Node| matches!(id.op, Op::Norm { .. });
    let feeds_norms = |end: &BranchEnd| {
        let outputs = &net.nodes()[end.sum.0 as usize].outputs;
        let mut readers =
            net.nodes().iter().filter(|node| outputs.iter().any(|output| node.inputs.contains(output)));
        let first = readers.next();
        first.as_ref().is_some_and(is_norm) && readers.all(|node| is_norm(&node))
    };
    // The last sum of a stack that normalizes before its branches feeds a norm too.
    let all = net.branch_ends();
    let bare: Vec<usize> = all.iter().filter(|end| !feeds_norms(end)).map(|end| end.stack).collect();
    let found: Vec<BranchEnd> = all.into_iter().filter(|end| !bare.contains(&end.stack)).collect();
    if found.is_empty() {
        let why = "it has no stack of residual branches whose sums go through a norm and nothing else";
        let hint =
            "where norms stand before branches take megatron or auto, where there are none t_fixup or fixup";
        return Err(unsupported(INFO.id, net.name(), &why, hint));
    }
    let weight = |end: &BranchEnd| &net.param(net.nodes()[end.last.0 as usize].op.params()[0]).name;
    let scaled = found.into_iter().map(|end| {
        let Some(scalers) = end.scalers.clone() else {
            let why = "something stands between it and the sum that no parameter scales";
            return Err(unsupported(
                INFO.id,
                weight(&end),
                &why,
                "leave it out of the network, or take auto",
            ));
        };
        let is_tied =
            |param: &ParamId| net.sites().iter().filter(|site| site.param == *param).any(|site| site.is_tied);
        if let Some(tied) = scalers.iter().find(|param| is_tied(param)) {
            let why = "it ends a branch and is used elsewhere too, where it would be scaled as well";
            return Err(unsupported(INFO.id, &net.param(*tied).name, &why, "take auto"));
        }
        Ok(Scaled { end, scalers })
    });
    scaled.collect()
}

impl Calibrator for Admin {
    fn draws(&self) -> Vec<Rule> {
        Vec::new()
    }

    fn calibrate(
        &self,
        network: &Network,
        weights: &mut Weights,
        batch: &Batch,
    ) -> Result<Calibration, Error> {
        let branches = normalized(network)?;
        let mut done = Calibration {
            method: INFO.id,
            layers: Vec::new(),
            unused: Vec::new(),
            passes: 1.0,
            rates: Vec::new(),
        };
        let mut params = weights.constants();
        // ω of the branch that follows on a sum.
        let mut omegas: HashMap<NodeId, f64> = HashMap::new();
        sweep(network, &mut params, &batch.inputs, Mode::Train, |turn| {
            let mut terms = turn.inputs.to_vec();
            let mut total = 0.0;
            for Scaled { end, scalers } in branches.iter().filter(|branch| branch.end.sum == turn.id) {
                let at = |wanted| turn.node.inputs.iter().position(|&input| input == wanted);
                let (Some(skip), Some(term)) = (at(end.branch.skip), at(end.term)) else { continue };
                let (Some(x), Some(f)) = (turn.inputs[skip].real(), turn.inputs[term].real()) else {
                    continue;
                };
                let omega = network.nearest(end.branch.skip, |sum| omegas.get(&sum).copied()).unwrap_or(1.0);
                if total == 0.0 {
                    total = omega * omega * variance(network, end, x, 1.0)?.std.powi(2);
                }
                let before = variance(network, end, f, 1.0)?;
                total += before.std * before.std;
                terms[term] = Value::Real(f.scale(1.0 / omega));
                let after = variance(network, end, f, 1.0 / omega)?;
                divide(network, weights, scalers, omega, [before, after], &mut done);
            }
            if total > 0.0 {
                omegas.insert(turn.id, total.sqrt());
            }
            let mut real = terms.iter().map(Value::real);
            match (total > 0.0, real.next().flatten()) {
                (true, Some(first)) => {
                    let rest = real.flatten();
                    Ok(vec![Value::Real(rest.fold(first.clone(), |sum, term| sum.add(term)))])
                }
                _ => Ok::<_, Error>(turn.evaluate()?),
            }
        })?;
        Ok(done)
    }
}

/// How a value is spread, times a factor.
fn variance(network: &Network, end: &BranchEnd, value: &Var, factor: f64) -> Result<Spread, Error> {
    let found = Spread::of(&value.value().to_f64(), factor);
    if found.std.is_finite() {
        return Ok(found);
    }
    let weight = network.nodes()[end.last.0 as usize].op.params()[0];
    let (method, site) = (INFO.id.to_owned(), network.param(weight).name.clone());
    Err(MethodError::NotFinite { method, site, value: found.std.to_string() }.into())
}

/// Divides what scales a branch.
fn divide(
    network: &Network,
    weights: &mut Weights,
    scalers: &[ParamId],
    omega: f64,
    [before, after]: [Spread; 2],
    done: &mut Calibration,
) {
    for &param in scalers {
        let Some(value) = weights.get(param).cloned() else { continue };
        let values: Vec<f64> = value.to_f64().into_iter().map(|value| value / omega).collect();
        let is_zero = values.iter().all(|value| *value == 0.0);
        weights.set(param, Tensor::from_f64(values, &value.shape(), value.precision(), &value.device()));
        done.rates.push((param, 1.0 / omega));
        if !is_zero {
            let (name, op) = (network.param(param).name.clone(), network.param(param).role.name());
            let factor = 1.0 / omega;
            done.layers.push(Layer {
                name,
                op,
                before,
                factor,
                iterations: 1,
                after,
                state: State::Within,
                note: None,
            });
        }
    }
}
