//! Tables, as much of them as has room.

use anstyle::Style;
use epoch0_method::reading::{Cell, Severity, Table};
use unicode_width::UnicodeWidthStr;

use super::{FAINT, Lines, PLAIN, Span, middle_cut, tone};
use crate::words;

/// Most rows that are shown.
const MOST_ROWS: usize = 14;

/// Text in columns. The first is set left and shortened where it has to be; columns that have no room are left out.
pub(super) struct Grid {
    headings: Vec<String>,
    /// Whether a column is set right.
    right: Vec<bool>,
    /// Whether a column is kept when others are left out.
    kept: Vec<bool>,
    rows: Vec<Vec<(Style, String)>>,
}

impl Grid {
    pub(super) fn new(columns: impl IntoIterator<Item = (String, bool, bool)>) -> Self {
        let mut grid = Self { headings: vec![], right: vec![], kept: vec![], rows: vec![] };
        for (heading, right, kept) in columns {
            grid.headings.push(heading);
            grid.right.push(right);
            grid.kept.push(kept);
        }
        grid
    }

    pub(super) fn push(&mut self, row: Vec<(Style, String)>) {
        self.rows.push(row);
    }

    fn column_width(&self, at: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[at].1.width());
        cells.max().unwrap_or(0).max(self.headings[at].width())
    }

    /// Writes it, with headings.
    pub(super) fn write(&self, lines: &mut Lines) {
        let room = lines.width() - 2;
        if self.headings.is_empty() {
            return;
        }
        let first = 0;
        // Names stay readable before other columns get room; of those, the ones that are kept come first.
        let mut left = room - self.column_width(first).min(room * 3 / 5);
        let mut shown = vec![first];
        for is_kept in [true, false] {
            for at in (1..self.headings.len()).filter(|at| self.kept[*at] == is_kept) {
                if let Some(rest) = left.checked_sub(self.column_width(at) + 2) {
                    left = rest;
                    shown.push(at);
                }
            }
        }
        shown.sort_unstable();
        let rest = |shown: &[usize]| shown[1..].iter().map(|at| self.column_width(*at) + 2).sum::<usize>();
        let name_width = self.column_width(first).min(room - rest(&shown));
        let sign = lines.pick("…", "..").to_owned();
        let headings: Vec<_> = self.headings.iter().map(|heading| (FAINT, heading.clone())).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let name = middle_cut(&row[first].1, name_width, &sign);
            let pad = " ".repeat(name_width - name.width());
            let mut spans: Vec<Span<'_>> =
                vec![(PLAIN, "  ".into()), (row[first].0, name.into()), (PLAIN, pad.into())];
            for &at in &shown[1..] {
                let (style, text) = &row[at];
                let pad = " ".repeat(self.column_width(at) - text.width());
                let (before, after) =
                    if self.right[at] { (pad, String::new()) } else { (String::new(), pad) };
                spans.push((PLAIN, format!("  {before}").into()));
                spans.push((*style, text.into()));
                spans.push((PLAIN, after.into()));
            }
            lines.line(&spans);
        }
        let left_out = self.headings.len() - shown.len();
        if left_out > 0 {
            let hint =
                if left_out == 1 { "1 column has".to_owned() } else { format!("{left_out} columns have") };
            lines.paragraph(&[], 2, FAINT, &format!("{hint} no room here."));
        }
    }
}

/// Which rows are shown: all, or the first, the last, and those around the first that is marked.
fn shown(table: &Table) -> Vec<usize> {
    let n = table.rows.len();
    if n <= MOST_ROWS {
        return (0..n).collect();
    }
    let marked = table.rows.iter().position(|row| mark(row) >= Some(Severity::Warn));
    let Some(marked) = marked else { return (0..6).chain(n - 6..n).collect() };
    let around = (marked.saturating_sub(2)..n).take(5);
    let mut rows: Vec<usize> = (0..4).chain(around).chain(n - 3..n).collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

fn mark(row: &[Cell]) -> Option<Severity> {
    row.iter().find_map(|cell| if let Cell::Mark(severity) = cell { Some(*severity) } else { None })
}

/// A table, in short.
pub(super) fn table(table: &Table, lines: &mut Lines) {
    lines.title(&table.title);
    if table.rows.is_empty() {
        return lines.paragraph(&[], 2, FAINT, "This table has no rows.");
    }
    let is_mark = |at: usize| table.rows.iter().any(|row| matches!(row[at], Cell::Mark(_)));
    let columns = table.columns.iter().enumerate().map(|(at, column)| {
        let heading = lines.plain(&words::with_unit(&column.label, &column.unit));
        (heading, column.kind.is_number(), is_mark(at))
    });
    let mut grid = Grid::new(columns);
    let shown = shown(table);
    let mut last = None;
    for &at in &shown {
        if last.is_some_and(|last| at > last + 1) {
            let dots = lines.pick("⋮", ":");
            grid.push(table.columns.iter().map(|_| (FAINT, dots.to_owned())).collect());
        }
        last = Some(at);
        let row = &table.rows[at];
        let cells = row.iter().zip(&table.columns).map(|(cell, column)| {
            let text = lines.plain(&words::cell(cell, column.kind));
            match cell {
                Cell::Mark(severity) => (tone(*severity), format!("{} {text}", lines.sign(*severity).1)),
                Cell::Real(value) if !value.is_finite() => (tone(Severity::Bad), text),
                Cell::Missing => (FAINT, text),
                _ => (PLAIN, text),
            }
        });
        grid.push(cells.collect());
    }
    grid.write(lines);
    if shown.len() < table.rows.len() {
        let text = format!("{} of {} rows; the page and the JSON have all.", shown.len(), table.rows.len());
        lines.paragraph(&[], 2, FAINT, &text);
    }
    if !table.note.is_empty() {
        lines.paragraph(&[], 2, FAINT, &table.note);
    }
}
