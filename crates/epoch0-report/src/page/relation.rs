//! The page of two checkpoints: what they have to do with each other, tensor by tensor.

use epoch0_method::reading::Relation;
use maud::html;

use super::{Page, contents, reading};
use crate::words;

pub(crate) fn page(relation: &Relation) -> Page<'_> {
    let readings = relation.readings.iter().enumerate();
    let sections: Vec<_> =
        readings.map(|(at, reading)| (format!("reading{at}"), reading.title.clone())).collect();
    let body = html! {
        section.verdict.ok aria-labelledby="verdict" {
            header { h2 id="verdict" { (words::clean(&relation.outcome)) } }
            p.what { (words::clean(&relation.summary)) }
        }
        dl.strip {
            @for (name, value) in &relation.facts {
                div { dt { (words::clean(name)) } dd { bdi { (words::clean(value)) } } }
            }
        }
        (contents(&sections))
        @for ((id, _), reading) in sections.iter().zip(&relation.readings) { (reading::section(reading, None, id)) }
    };
    Page {
        kind: "diff",
        title: relation.title.clone(),
        outcome: relation.outcome.clone(),
        body,
        versions: &relation.versions,
    }
}
