//! A page: one HTML file that needs nothing else.

mod comparison;
mod examination;
mod reading;
mod relation;
mod training;

use epoch0_method::reading::Versions;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::words;

pub(crate) use comparison::page as comparison;
pub(crate) use examination::page as examination;
pub(crate) use relation::page as relation;
pub(crate) use training::{figure as curve, page as training};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// The page loads nothing, whatever is in it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; \
     form-action 'none'";

/// What a page is made of.
pub struct Page<'a> {
    /// What it is: `examination`.
    pub(crate) kind: &'static str,
    /// What it is of.
    pub(crate) title: String,
    /// What it comes to, in a word or two, for the title of the window.
    pub(crate) outcome: String,
    pub(crate) body: Markup,
    pub(crate) versions: &'a Versions,
}

/// The page, with its data as JSON in it.
pub(crate) fn render(page: &Page<'_>, json: &str) -> String {
    let title = format!("{}: {} · epoch0 {}", words::clean(&page.title), page.outcome, page.kind);
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#main" { "Skip to the verdict" }
                div.wrap {
                    header.bar {
                        span { span.brand { "epoch0" } " " (page.kind) }
                        button.js type="button" id="theme" { "Dark" }
                    }
                    main id="main" {
                        h1 { bdi { (words::clean(&page.title)) } }
                        (page.body)
                    }
                    footer {
                        p {
                            "Made by "
                            @for (at, (name, version)) in page.versions.iter().enumerate() {
                                @if at > 0 { ", " }
                                (words::clean(name)) " " (words::clean(version))
                            }
                            @if page.versions.is_empty() { "epoch0" }
                            ". This page loads nothing; all of its data are in it."
                        }
                        button.js type="button" id="save" { "Save the data as JSON" }
                    }
                }
                // Nothing in JSON needs a `<`: written as an escape it can end no element.
                script type="application/json" id="data" { (PreEscaped(json.replace('<', "\\u003c"))) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    markup.into_string()
}

/// Links to the sections.
pub(crate) fn contents(sections: &[(String, String)]) -> Markup {
    html! {
        @if sections.len() > 1 {
            nav aria-label="Sections" {
                ul { @for (id, title) in sections { li { a href={ "#" (id) } { (words::clean(title)) } } } }
            }
        }
    }
}
