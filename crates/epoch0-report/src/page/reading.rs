//! What a reading holds, as HTML.

use epoch0_method::reading::{Cell, Column, Figure, Finding, Kind, Quantity, Reading, Severity, Table};
use maud::{Markup, html};

use crate::svg::{self, Size, legend, plot};
use crate::{number, words};

/// From this many rows on, a table can be searched.
const MANY_ROWS: usize = 20;
/// From this many positions on, a figure gets the whole width.
const MANY_POSITIONS: usize = 24;
/// As few get it where the figure stands alone.
const SOME_POSITIONS: usize = 8;

/// Class of a severity.
pub(super) fn class(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "ok",
        Severity::Note => "info",
        Severity::Warn => "warn",
        Severity::Bad => "bad",
    }
}

/// Sign of a severity. The word stands beside it or is said.
pub(super) fn sign(severity: Severity) -> Markup {
    html! { span.sign aria-hidden="true" { (words::severity(severity).0) } }
}

/// A reading as a section. What decided the verdict is not said again in full.
pub(super) fn section(reading: &Reading, verdict: Option<&Finding>, id: &str) -> Markup {
    html! {
        section.reading id=(id) aria-labelledby={ (id) "-h" } {
            header {
                h2 id={ (id) "-h" } { (words::clean(&reading.title)) }
                span.name { (words::clean(&reading.method)) }
            }
            @if !reading.summary.is_empty() { p.lead { (words::clean(&reading.summary)) } }
            (findings(&reading.findings, verdict))
            (quantities(&reading.quantities))
            (figures(&reading.figures, id))
            @for (at, table) in reading.tables.iter().enumerate() {
                (self::table(table, &format!("{id}-tab{at}")))
            }
        }
    }
}

/// Findings, those that are fine folded away behind the others.
fn findings(all: &[Finding], verdict: Option<&Finding>) -> Markup {
    let (fine, mut other): (Vec<_>, Vec<_>) =
        all.iter().partition(|finding| finding.severity == Severity::Ok);
    other.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    html! {
        @if !other.is_empty() {
            ul.findings { @for finding in other { (self::finding(finding, words::is_verdict(finding, verdict))) } }
        }
        @if !fine.is_empty() {
            details {
                summary {
                    @if fine.len() == 1 { "1 check passed" } @else { (fine.len()) " checks passed" }
                }
                ul.findings { @for finding in fine { (self::finding(finding, false)) } }
            }
        }
    }
}

fn finding(finding: &Finding, is_verdict: bool) -> Markup {
    html! {
        li.{ (class(finding.severity)) } {
            div.head {
                (sign(finding.severity))
                p {
                    span.tag { (words::severity(finding.severity).1) } " · " (words::clean(&finding.what))
                    @if is_verdict { " " a href="#main" { "This is the verdict." } }
                }
            }
            @if !is_verdict { (facts(finding)) }
        }
    }
}

/// Where, how much, why, and what helps.
pub(super) fn facts(finding: &Finding) -> Markup {
    html! {
        dl.facts {
            @if let Some(place) = &finding.place {
                dt { "Where" }
                dd {
                    bdi.name { (words::clean(&place.name)) }
                    @let more = words::place(place);
                    @if !more.is_empty() { " (" (more) ")" }
                }
            }
            @if let Some(measured) = words::measured(finding) { dt { "Measured" } dd { (measured) } }
            @if !finding.reason.is_empty() { dt { "Why it matters" } dd { (words::clean(&finding.reason)) } }
            @if !finding.help.is_empty() { dt { "What helps" } dd.help { (words::clean(&finding.help)) } }
        }
    }
}

/// Named numbers.
pub(super) fn quantities(all: &[Quantity]) -> Markup {
    html! {
        @if !all.is_empty() {
            dl.tiles {
                @for quantity in all {
                    div {
                        dt { (words::clean(&quantity.label)) }
                        dd.value.off[!quantity.value.is_finite()] { (number::with_unit(quantity.value, &quantity.unit)) }
                        @if !quantity.help.is_empty() { dd.about { (words::clean(&quantity.help)) } }
                    }
                }
            }
        }
    }
}

/// Figures, side by side where they are small.
pub(super) fn figures(all: &[Figure], id: &str) -> Markup {
    html! {
        @if !all.is_empty() {
            div.figures {
                @for (at, figure) in all.iter().enumerate() { (self::figure(figure, all.len() == 1, &format!("{id}-fig{at}"))) }
            }
        }
    }
}

fn figure(figure: &Figure, is_alone: bool, id: &str) -> Markup {
    let least = if is_alone { SOME_POSITIONS } else { MANY_POSITIONS };
    let is_full = figure.x.names.len() >= least && figure.y.names.is_empty();
    html! {
        figure.full[is_full].over[svg::has_matrix(figure)] {
            figcaption { h3 { (words::clean(&figure.title)) } }
            (legend(figure))
            @if is_full {
                div.only-wide { (plot(figure, Size::Full, id, true)) }
                div.only-narrow { (plot(figure, Size::Half, &format!("{id}n"), false)) }
            } @else {
                (plot(figure, Size::Half, id, true))
            }
            @if !figure.note.is_empty() { p.note { (words::clean(&figure.note)) } }
            @if let Some(note) = svg::note(figure) { p.note { (note) } }
            @for trouble in words::trouble(figure) {
                p.note.warn { (sign(Severity::Warn)) " " (trouble) }
            }
        }
    }
}

/// A table that scrolls by itself.
pub(super) fn table(table: &Table, id: &str) -> Markup {
    let is_number = |column: &Column| column.kind.is_number();
    let helps: Vec<_> = table.columns.iter().filter(|column| !column.help.is_empty()).collect();
    let kinds: Vec<Kind> = table.columns.iter().map(|column| column.kind).collect();
    html! {
        div.table {
            header {
                h3 id=(id) { (words::clean(&table.title)) }
                @if table.rows.len() >= MANY_ROWS {
                    label.js { input type="search" placeholder="Filter by name" aria-label={ "Filter the rows of " (words::clean(&table.title)) }; }
                }
            }
            @if table.rows.is_empty() {
                p.empty { "This table has no rows." }
            } @else {
                div.scroll role="region" aria-labelledby=(id) tabindex="0" {
                    table aria-labelledby=(id) {
                        thead {
                            tr {
                                @for column in &table.columns {
                                    th.n[is_number(column)] scope="col" { (words::with_unit(&column.label, &column.unit)) }
                                }
                            }
                        }
                        tbody { @for row in &table.rows { (self::row(row, &kinds)) } }
                    }
                }
            }
            @if !table.note.is_empty() { p.note { (words::clean(&table.note)) } }
            @if !helps.is_empty() {
                details {
                    summary { "What the columns show" }
                    dl.columns {
                        @for column in helps {
                            dt { (words::clean(&column.label)) }
                            dd { (words::clean(&column.help)) }
                        }
                    }
                }
            }
        }
    }
}

fn row(row: &[Cell], kinds: &[Kind]) -> Markup {
    let mark = row.iter().find_map(|cell| match cell {
        Cell::Mark(severity @ (Severity::Warn | Severity::Bad)) => Some(class(*severity)),
        _ => None,
    });
    html! {
        tr class=[mark] {
            @for (at, (cell, kind)) in row.iter().zip(kinds).enumerate() {
                @let text = words::cell(cell, *kind);
                @if at == 0 {
                    th scope="row" { bdi { (breakable(&text)) } }
                } @else {
                    (self::cell(cell, *kind, &text))
                }
            }
        }
    }
}

/// A name that may be broken after its dots, which is where a reader would.
fn breakable(name: &str) -> Markup {
    html! {
        @for piece in name.split_inclusive(['.', '/']) { (piece) @if piece.len() > 3 && !name.ends_with(piece) { wbr; } }
    }
}

fn cell(cell: &Cell, kind: Kind, text: &str) -> Markup {
    match cell {
        Cell::Mark(severity) => html! {
            td { span.tag.{ (class(*severity)) } { (words::severity(*severity).0) " " (text) } }
        },
        Cell::Real(value) if !value.is_finite() => html! { td.n.off { (text) } },
        Cell::Real(value) if kind == Kind::Share && *value > 0.0 => {
            let length = format!("--v:{:.0}%", (value * 100.0).min(100.0));
            html! { td.n.meter style=(length) { (text) } }
        }
        Cell::Text(_) => html! { td { bdi { (text) } } },
        _ => html! { td.n[kind.is_number()] { (text) } },
    }
}
