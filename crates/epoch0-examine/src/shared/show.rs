//! Numbers in sentences, and findings that several examiners have.

use epoch0_method::reading::{Finding, Health, Place, Severity};

use crate::Subject;

/// A number in a sentence.
pub(crate) fn show(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if (0.01..1000.0).contains(&size) => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// What is said of a network whose numbers are none.
pub(crate) fn broken(what: impl Into<String>) -> Finding {
    Finding::new("finite", Severity::Bad, Health::Broken, what)
        .reason("Nothing that follows a NaN or an infinity is a number.")
        .help("Look for NaN in the weights, for exponentials of large numbers, for a division by zero; `propagation` names the layer.")
}

/// What is said of the first learned weight that is no number; nothing where all are.
pub(crate) fn not_finite(subject: &Subject<'_>) -> Option<Finding> {
    let Subject { network, weights, .. } = *subject;
    let learned = weights.iter().filter(|(id, _)| !network.param(*id).role.is_buffer());
    let odd = learned.into_iter().find(|(_, value)| value.to_f32().iter().any(|x| !x.is_finite()))?;
    let name = &network.param(odd.0).name;
    Some(broken(format!("{name} holds NaN or infinities.")).at(Place::new(name)))
}
