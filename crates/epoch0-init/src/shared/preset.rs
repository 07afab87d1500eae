//! What the presets agree on: parameters that start at a value which frameworks and models share.

use epoch0_method::{At, Error};
use epoch0_net::{NormKind, Op, Role};
use epoch0_num::Law;

use super::unsupported;

/// Whether the parameter is a table that indices are looked up in, and not a free array.
pub(crate) fn is_table(at: &At<'_>) -> bool {
    matches!(at.net.nodes()[at.node.0 as usize].op, Op::Embedding { .. } | Op::RelativeBias { .. })
}

/// The start of norms, buffers, factors and shifts: norms begin as normalization alone, running statistics at mean 0
/// and variance 1. Learned functions begin as what the network has them begin as. Factors that belong to the architecture have the value of the network's source, where it states
/// one; otherwise a factor per channel at the end of a branch starts at `layer_scale` and a single one does nothing.
pub(crate) fn settled(method: &str, at: &At<'_>, layer_scale: f64) -> Result<Law, Error> {
    let native = at.net.param(at.param).native;
    match at.role {
        Role::Bias | Role::NormShift | Role::RunningMean | Role::BatchCount => Ok(Law::ZEROS),
        Role::RunningVar => Ok(Law::ONES),
        Role::NormScale => Ok(Law::constant(1.0 - norm_offset(at))),
        Role::LayerScale => Ok(native.unwrap_or(Law::constant(layer_scale))),
        Role::Scalar => Ok(native.unwrap_or(if is_exponent(at) { Law::ZEROS } else { Law::ONES })),
        Role::Coefficient => {
            let starts = at.net.coefficients(at.param).unwrap_or_default();
            Ok(Law::constant(starts.get(at.view.offset).copied().unwrap_or(0.0)))
        }
        role => {
            let why = format!("it has nothing to say about the role {role}");
            Err(unsupported(method, at.label(), &why, "add a rule for it to a recipe"))
        }
    }
}

/// What a norm adds to its stored factor.
pub(crate) fn norm_offset(at: &At<'_>) -> f64 {
    match at.net.nodes()[at.node.0 as usize].op {
        Op::Norm { kind: NormKind::Rms { offset }, .. } => offset,
        _ => 0.0,
    }
}

/// Whether a free parameter goes through an exponential before it multiplies.
fn is_exponent(at: &At<'_>) -> bool {
    let value = at.net.nodes()[at.node.0 as usize].outputs[0];
    at.net.nodes().iter().any(|node| node.op == Op::Exp && node.inputs.contains(&value))
}
