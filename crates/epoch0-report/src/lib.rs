//! Readings, examinations and comparisons as a page, for a terminal, and as JSON.
//!
//! [`html`] gives one file that needs nothing else: it loads nothing, is light or dark, readable on a phone and by a
//! screen reader, and holds its own data as JSON. [`Terminal`] gives the same in short. [`json`] gives the data.
//!
//! ```
//! use epoch0_method::reading::{Examination, NetworkSummary, ProbeSource, ProbeSummary, Versions};
//! use epoch0_report::{Terminal, html, json};
//!
//! let network = NetworkSummary {
//!     name: "mlp".into(), source: "zoo".into(), start: "he_normal".into(),
//!     n_params: 7850, n_sites: 1, depth: 1, dtype: "f32".into(),
//! };
//! let probe = ProbeSummary {
//!     source: ProbeSource::MatchedRandom, name: "normal(0, 1)".into(),
//!     n_examples: 64, shape: vec![784], has_labels: false,
//! };
//! let examination = Examination::new(network, probe, 0, vec![], Versions::new());
//! assert!(html(&examination).starts_with("<!DOCTYPE html>"));
//! assert!(json(&examination).contains(r#""health": "healthy""#));
//! let text = Terminal { width: 60, color: false, unicode: true }.text(&examination);
//! assert!(text.lines().all(|line| line.chars().count() <= 60));
//! ```

pub mod number;
mod page;
mod svg;
mod terminal;
mod words;

use epoch0_method::reading::{Comparison, Examination, Relation, Training};
use serde::Serialize;

pub use terminal::Terminal;

/// What can be shown: an [`Examination`], a [`Comparison`], a [`Training`], a [`Relation`].
pub trait Document: Serialize + sealed::Show {}

impl Document for Examination {}
impl Document for Comparison {}
impl Document for Training {}
impl Document for Relation {}

mod sealed {
    /// How a document is shown.
    pub trait Show {
        /// As a page.
        fn page(&self) -> crate::page::Page<'_>;
        /// In short, as lines.
        fn lines(&self, out: &mut crate::terminal::Lines);
    }
}

impl sealed::Show for Examination {
    fn page(&self) -> page::Page<'_> {
        page::examination(self)
    }

    fn lines(&self, out: &mut terminal::Lines) {
        terminal::examination(self, out);
    }
}

impl sealed::Show for Comparison {
    fn page(&self) -> page::Page<'_> {
        page::comparison(self)
    }

    fn lines(&self, out: &mut terminal::Lines) {
        terminal::comparison(self, out);
    }
}

impl sealed::Show for Training {
    fn page(&self) -> page::Page<'_> {
        page::training(self)
    }

    fn lines(&self, out: &mut terminal::Lines) {
        terminal::training(self, out);
    }
}

impl sealed::Show for Relation {
    fn page(&self) -> page::Page<'_> {
        page::relation(self)
    }

    fn lines(&self, out: &mut terminal::Lines) {
        terminal::relation(self, out);
    }
}

/// One HTML file that needs nothing else.
pub fn html<D: Document>(document: &D) -> String {
    page::render(&document.page(), &compact(document))
}

/// Indented JSON. Keys are the fields of the types in [`epoch0_method::reading`]; numbers that are not finite are the
/// words `NaN`, `inf` and `-inf`.
pub fn json<D: Document>(document: &D) -> String {
    serde_json::to_string_pretty(document).expect("keys are strings and numbers have words")
}

fn compact<D: Document>(document: &D) -> String {
    serde_json::to_string(document).expect("keys are strings and numbers have words")
}

/// The data in a page that [`html`] made, as JSON; none in any other text.
pub fn data(page: &str) -> Option<&str> {
    let (_, rest) = page.rsplit_once(r#"<script type="application/json" id="data">"#)?;
    rest.split_once("</script>").map(|(json, _)| json)
}
