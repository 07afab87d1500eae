//! Activations that one node is.

use epoch0_num::Activation;

use super::graph::{Graph, Node};

/// Whether an operator computes each element by itself.
pub(super) fn is_pointwise(op: &str) -> bool {
    matches!(
        op,
        "Add"
            | "Sub"
            | "Mul"
            | "Div"
            | "Pow"
            | "Neg"
            | "Erf"
            | "Tanh"
            | "Sigmoid"
            | "Exp"
            | "Log"
            | "Sqrt"
            | "Relu"
            | "Clip"
            | "Softplus"
            | "HardSigmoid"
            | "Min"
            | "Max"
            | "Reciprocal"
            | "Abs"
    )
}

/// The activation that one node is.
pub(super) fn activation_of(graph: &Graph<'_>, node: &Node<'_>) -> Option<Activation> {
    let alpha = |default: f64| node.float("alpha").unwrap_or(default);
    let bound = |at: usize| graph.known(node.input(at)).and_then(|known| known.single()?.real());
    Some(match node.op {
        "Relu" => Activation::Relu,
        "LeakyRelu" => Activation::LeakyRelu { slope: alpha(0.01) },
        "Elu" => Activation::Elu { alpha: alpha(1.0) },
        "Celu" => Activation::Celu { alpha: alpha(1.0) },
        "Selu" if node.attrs.is_empty() || is_near(alpha(1.673_263_2), 1.673_263_2) => Activation::Selu,
        "Gelu" => match node.text("approximate") {
            Some("tanh") => Activation::GeluTanh,
            _ => Activation::Gelu,
        },
        "Sigmoid" => Activation::Sigmoid,
        "HardSigmoid" => {
            let (slope, middle) = (alpha(0.2), node.float("beta").unwrap_or(0.5));
            (is_near(slope, 1.0 / 6.0) && is_near(middle, 0.5)).then_some(Activation::HardSigmoid)?
        }
        "HardSwish" => Activation::HardSwish,
        "Swish" if is_near(alpha(1.0), 1.0) => Activation::Silu,
        "Tanh" => Activation::Tanh,
        "Softplus" => Activation::Softplus { beta: 1.0, threshold: f64::INFINITY },
        "Softsign" => Activation::Softsign,
        // What is beyond the threshold, less the threshold.
        "Shrink" if node.float("bias").unwrap_or(0.0) == node.float("lambd").unwrap_or(0.5) => {
            let tau = node.float("lambd").filter(|tau| *tau >= 0.0 && tau.is_finite())?;
            Activation::SoftThreshold { tau }
        }
        "Mish" => Activation::Mish,
        "Clip" => match (node.input(1).map(|_| bound(1)), node.input(2).map(|_| bound(2))) {
            (Some(Some(min)), Some(Some(max))) if min == 0.0 && max == 6.0 => Activation::Relu6,
            (Some(Some(0.0)), None) => Activation::Relu,
            (Some(Some(min)), Some(Some(max))) if min < max && min.is_finite() && max.is_finite() => {
                Activation::HardTanh { min, max }
            }
            _ => return None,
        },
        _ => return None,
    })
}

fn is_near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}
