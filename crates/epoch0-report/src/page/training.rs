//! The page of a training run: what it came to, and its curves.

use epoch0_method::reading::{Axis, Curve, Figure, Shape, Training};
use maud::html;

use super::{Page, reading};
use crate::words;

pub(crate) fn page(training: &Training) -> Page<'_> {
    let figures: Vec<_> =
        training.curves.iter().map(figure).chain(training.figures.iter().cloned()).collect();
    let (class, sign, word) = match &training.stopped {
        Some(_) => ("bad", "✕", "Stopped"),
        None => ("ok", "✓", "Finished"),
    };
    let body = html! {
        section.verdict.{ (class) } aria-labelledby="verdict" {
            header { span.sign aria-hidden="true" { (sign) } h2 id="verdict" { (word) } }
            @if let Some(why) = &training.stopped { p.what { (words::clean(why)) } }
            (reading::quantities(&training.quantities))
        }
        dl.strip {
            @for (name, value) in [
                ("Start", &training.start), ("Data", &training.data), ("Training", &training.training),
            ] { @if !value.is_empty() { div { dt { (name) } dd { (words::clean(value)) } } } }
            div { dt { "Seed" } dd { (training.seed) } }
        }
        section.reading id="curves" aria-labelledby="curves-h" {
            h2 id="curves-h" { "Over training" }
            (reading::figures(&figures, "curves"))
        }
    };
    Page {
        kind: "training",
        title: training.network.name.clone(),
        outcome: word.to_lowercase(),
        body,
        versions: &training.versions,
    }
}

/// A curve as a figure, said in words by its ends.
pub(crate) fn figure(curve: &Curve) -> Figure {
    let alt = match (curve.values.first(), curve.values.last()) {
        (Some(first), Some(last)) => {
            let show = |value: &f64| crate::number::with_unit(*value, &curve.unit);
            format!("{} goes from {} to {}.", curve.label, show(first), show(last))
        }
        _ => format!("{} has no values.", curve.label),
    };
    let line =
        Shape::Line { x: curve.steps.iter().map(|step| *step as f64).collect(), y: curve.values.clone() };
    let y = Axis::new("").unit(&curve.unit);
    Figure::new(&curve.name, &curve.label, alt, Axis::new("steps"), y).with(&curve.label, line)
}
