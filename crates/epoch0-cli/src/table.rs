//! Tables for terminals.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A table: columns with headings, rows of text.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

pub(crate) const HEADING: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const NAME: Style = AnsiColor::Green.on_default();
pub(crate) const FAINT: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// Leaves out columns, by heading, from the first of `least_needed` on until the table is no wider than `width`.
    pub(crate) fn fit(&mut self, width: usize, least_needed: &[&str]) {
        for heading in least_needed {
            if self.width() <= width {
                return;
            }
            if let Some(at) = self.columns.iter().position(|(name, _)| name == heading) {
                self.columns.remove(at);
                self.rows.iter_mut().for_each(|row| {
                    row.remove(at);
                });
            }
        }
    }

    fn widths(&self) -> Vec<usize> {
        let cell = |at: usize| self.rows.iter().map(move |row| row[at].width());
        (0..self.columns.len())
            .map(|at| cell(at).chain(std::iter::once(self.columns[at].0.width())).max().unwrap_or(0))
            .collect()
    }

    fn width(&self) -> usize {
        self.widths().iter().map(|width| width + 2).sum()
    }

    /// The table as text; the first column is set off.
    pub(crate) fn render(&self) -> String {
        let widths = self.widths();
        let mut out = String::new();
        let headings: Vec<_> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        self.line(&mut out, &headings, &widths, |_| HEADING);
        for row in &self.rows {
            self.line(&mut out, row, &widths, |at| if at == 0 { NAME } else { Style::new() });
        }
        out
    }

    fn line(&self, out: &mut String, cells: &[String], widths: &[usize], style: impl Fn(usize) -> Style) {
        for (at, cell) in cells.iter().enumerate() {
            let style = style(at);
            let pad = " ".repeat(widths[at].saturating_sub(cell.width()));
            let is_last = at + 1 == cells.len();
            let _ = match self.columns[at].1 {
                Align::Right => write!(out, "{pad}{style}{cell}{style:#}"),
                Align::Left if is_last => write!(out, "{style}{cell}{style:#}"),
                Align::Left => write!(out, "{style}{cell}{style:#}{pad}"),
            };
            if !is_last {
                out.push_str("  ");
            }
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_the_least_needed_go_first() {
        let mut table = Table::new(&[("name", Align::Left), ("n", Align::Right), ("law", Align::Left)]);
        table.row(vec!["a".into(), "10".into(), "normal".into()]);
        table.row(vec!["bcdef".into(), "5".into(), "zeros".into()]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(plain, "name    n  law\na      10  normal\nbcdef   5  zeros\n");
        table.fit(14, &["law", "n"]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(plain, "name    n\na      10\nbcdef   5\n");
    }
}
