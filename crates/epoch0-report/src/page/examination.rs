//! The page of an examination: the verdict first, then what was examined, then the readings.

use epoch0_method::reading::{Examination, ProbeSource, Severity};
use maud::{Markup, html};

use super::{Page, contents, reading};
use crate::{number, words};

pub(crate) fn page(examination: &Examination) -> Page<'_> {
    let readings = examination.readings.iter().enumerate();
    let sections: Vec<_> =
        readings.map(|(at, reading)| (format!("reading{at}"), reading.title.clone())).collect();
    let body = html! {
        (verdict(examination))
        (summary(examination))
        (contents(&sections))
        @for ((id, _), reading) in sections.iter().zip(&examination.readings) {
            (reading::section(reading, examination.verdict.as_ref(), id))
        }
    };
    Page {
        kind: "examination",
        title: examination.network.name.clone(),
        outcome: words::health(examination.health).0.to_lowercase(),
        body,
        versions: &examination.versions,
    }
}

fn verdict(examination: &Examination) -> Markup {
    let severity = if examination.is_healthy() { Severity::Ok } else { Severity::Bad };
    let (word, meaning) = words::health(examination.health);
    let tally = words::tally(examination);
    html! {
        section.verdict.{ (reading::class(severity)) } aria-labelledby="verdict" {
            header {
                (reading::sign(severity))
                h2 id="verdict" { (word) @if !meaning.is_empty() { " " small { (meaning) } } }
            }
            p.what { (words::verdict(examination)) }
            @if let Some(finding) = &examination.verdict { (reading::facts(finding)) }
            @if !tally.is_empty() { p.note { "All findings: " (tally) "." } }
        }
    }
}

fn summary(examination: &Examination) -> Markup {
    let network = &examination.network;
    let facts = [
        ("Start", words::clean(&network.start).into_owned()),
        ("Seed", examination.seed.to_string()),
        ("Parameters", number::grouped(network.n_params)),
        ("Depth", network.depth.to_string()),
        ("Places examined", number::grouped(network.n_sites as u64)),
        ("Element type", words::clean(&network.dtype).into_owned()),
        ("Network from", words::clean(&network.source).into_owned()),
    ];
    html! {
        dl.strip {
            @for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
                div { dt { (name) } dd { bdi { (value) } } }
            }
        }
        div.probe {
            p { strong { "Examined with " } (words::probe(&examination.probe)) "." }
            @if examination.probe.source == ProbeSource::MatchedRandom { p.note { (words::RANDOM_PROBE) } }
        }
    }
}
