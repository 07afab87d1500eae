//! The page of a comparison: what it comes to, the table, the curves.

use epoch0_method::reading::{Arm, Axis, Comparison, Figure, Shape, Standing};
use maud::{Markup, html};

use super::{Page, contents, reading};
use crate::{number, words};

pub(crate) fn page(comparison: &Comparison) -> Page<'_> {
    let mut sections = vec![("methods".to_owned(), "Methods".to_owned())];
    if !comparison.figures.is_empty() {
        sections.push(("curves".to_owned(), "Over training".to_owned()));
    }
    let is_won = comparison.best().is_some_and(|best| comparison.standing(best) == Standing::Better);
    let body = html! {
        section.verdict.{ (if is_won { "ok" } else { "info" }) } aria-labelledby="verdict" {
            header {
                span.sign aria-hidden="true" { (if is_won { "▲" } else { "=" }) }
                h2 id="verdict" {
                    @match comparison.best().filter(|_| is_won) {
                        Some(best) => { (words::clean(&best.method)) " wins" },
                        None => "No method wins",
                    }
                }
            }
            p.what { (words::outcome(comparison)) }
        }
        dl.strip {
            @for (name, value) in [
                ("Network", &comparison.network.name), ("Data", &comparison.data), ("Training", &comparison.training),
                ("Test", &comparison.test),
            ] { @if !value.is_empty() { div { dt { (name) } dd { (words::clean(value)) } } } }
            div { dt { "Seeds" } dd { (comparison.seeds.len()) } }
        }
        @if !comparison.note.is_empty() { p.note { (words::clean(&comparison.note)) } }
        (contents(&sections))
        section.reading id="methods" aria-labelledby="methods-h" {
            h2 id="methods-h" { "Methods" }
            p.lead {
                (words::with_unit(&comparison.metric.label, &comparison.metric.unit)) ", mean over seeds with its 95% interval; "
                "differences from " code { (words::clean(&comparison.baseline)) } " seed by seed, significant below p = "
                (number::trimmed(comparison.level)) "."
            }
            (table(comparison))
            (reading::figures(&[spread(comparison)], "methods"))
        }
        @if !comparison.figures.is_empty() {
            section.reading id="curves" aria-labelledby="curves-h" {
                h2 id="curves-h" { "Over training" }
                (reading::figures(&comparison.figures, "curves"))
            }
        }
    };
    Page {
        kind: "comparison",
        title: comparison.title.clone(),
        outcome: format!("{} methods", comparison.arms.len()),
        body,
        versions: &comparison.versions,
    }
}

fn table(comparison: &Comparison) -> Markup {
    let best = comparison.best();
    let has = words::Extra::of(comparison);
    html! {
        div.table {
            div.scroll role="region" aria-labelledby="methods-h" tabindex="0" {
                table aria-labelledby="methods-h" {
                    thead {
                        tr {
                            th scope="col" { "method" }
                            th.n scope="col" { (words::clean(&comparison.metric.label)) }
                            th.n scope="col" { "difference" }
                            th.n scope="col" { "p" }
                            th.n scope="col" { "seeds won" }
                            th.n scope="col" { "diverged" }
                            th scope="col" { "against the baseline" }
                            @if has.rate { th.n scope="col" { "best rate" } }
                            @if has.health { th scope="col" { "start" } }
                        }
                    }
                    tbody {
                        @for arm in &comparison.arms {
                            (row(comparison, arm, best.is_some_and(|best| std::ptr::eq(best, arm)), &has))
                        }
                    }
                }
            }
        }
    }
}

fn row(comparison: &Comparison, arm: &Arm, is_best: bool, has: &words::Extra) -> Markup {
    let standing = comparison.standing(arm);
    let (sign, word) = words::standing(standing);
    let class = match standing {
        Standing::Better => "ok",
        Standing::Worse => "bad",
        _ => "info",
    };
    let unit = &comparison.metric.unit;
    html! {
        tr.best[is_best] {
            th scope="row" { bdi { (words::clean(&arm.method)) } @if is_best { " (best)" } }
            td.n { (words::mean(arm, unit)) }
            @match &arm.versus {
                Some(versus) => {
                    td.n { (words::plus_minus(versus.difference, (versus.interval.1 - versus.interval.0) / 2.0, unit)) }
                    td.n { (number::p_value(versus.p_value)) }
                    td.n { (versus.wins) " of " (arm.values.len()) }
                },
                None => { td.n { "–" } td.n { "–" } td.n { "–" } },
            }
            td.n.off[arm.diverged > 0] { (arm.diverged) }
            td { span.tag.{ (class) } { (sign) " " (word) } }
            @if has.rate { td.n { (arm.learning_rate.map_or_else(|| "–".to_owned(), number::short)) } }
            @if has.health {
                td { (arm.health.map_or_else(|| "–".to_owned(), |health| words::health(health).0.to_lowercase())) }
            }
        }
    }
}

/// Every seed of every method, with the intervals of the means.
fn spread(comparison: &Comparison) -> Figure {
    let arms = &comparison.arms;
    let names = arms.iter().map(|arm| arm.method.clone());
    let x = Axis::new("").names(names);
    let y = Axis::new(&comparison.metric.label).unit(&comparison.metric.unit);
    let positions: Vec<f64> = (0..arms.len()).map(|at| at as f64).collect();
    let mut seeds = (Vec::new(), Vec::new());
    for (at, arm) in positions.iter().zip(arms) {
        let n = arm.values.len() as f64;
        for (seed, value) in arm.values.iter().enumerate() {
            seeds.0.push(at - 0.22 + 0.14 * (seed as f64 + 0.5 - n / 2.0) / n.max(1.0));
            seeds.1.push(*value);
        }
    }
    let intervals = Shape::Intervals {
        x: positions.clone(),
        low: arms.iter().map(|arm| arm.interval.0).collect(),
        high: arms.iter().map(|arm| arm.interval.1).collect(),
    };
    let means = Shape::Points { x: positions, y: arms.iter().map(|arm| arm.mean).collect() };
    Figure::new("spread", "Every seed, and the means", words::outcome(comparison), x, y)
        .with("one seed", Shape::Points { x: seeds.0, y: seeds.1 })
        .with("mean and 95% interval", means)
        .with("mean and 95% interval", intervals)
}
