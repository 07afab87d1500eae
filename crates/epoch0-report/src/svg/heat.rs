//! Matrices as colors.

use std::fmt::Write as _;

use epoch0_method::reading::{Axis, Scale};
use maud::{Markup, html};

use super::color::{STEPS, parting, rising};
use super::plot::{Frame, coordinate};
use super::range::Range;
use crate::words;

/// Most rows and columns that are drawn; larger matrices are averaged in blocks.
const MOST: usize = 64;

/// A matrix as it is drawn.
pub(super) struct Heat<'a> {
    values: Vec<Vec<f64>>,
    color: &'a Axis,
    center: Option<f64>,
    /// Whether the first row is the lowest.
    rises: bool,
    /// Whether cells without a value are gaps between tiles.
    is_tiled: bool,
    /// Rows and columns of the whole matrix, and how many make one that is drawn.
    whole: (usize, usize, usize),
}

impl<'a> Heat<'a> {
    /// With as many columns as the longest row; what is missing is NaN.
    pub(super) fn new(values: &[Vec<f64>], color: &'a Axis, center: Option<f64>, rises: bool) -> Self {
        let (n_rows, n_columns) = (values.len(), values.iter().map(Vec::len).max().unwrap_or(0));
        let block = n_rows.max(n_columns).div_ceil(MOST).max(1);
        let mean = |row: usize, column: usize| {
            let rows = values.iter().skip(row * block).take(block);
            let cells = rows.flat_map(|row| row.iter().skip(column * block).take(block));
            let cells: Vec<f64> = cells.copied().collect();
            if cells.is_empty() { f64::NAN } else { cells.iter().sum::<f64>() / cells.len() as f64 }
        };
        let row = |row| (0..n_columns.div_ceil(block)).map(|column| mean(row, column)).collect();
        let values = (0..n_rows.div_ceil(block)).map(row).collect();
        Self { values, color, center, rises, is_tiled: false, whole: (n_rows, n_columns, block) }
    }

    /// Small matrices side by side, with a cell between them.
    pub(super) fn tiles(width: usize, tiles: &[Vec<f64>], color: &'a Axis, center: Option<f64>) -> Self {
        let Grid { rows, columns, height, across } = Grid::of(width, tiles);
        let mut values = vec![vec![f64::NAN; columns]; rows];
        // Without a width nothing has a place.
        for (nth, tile) in tiles.iter().enumerate().filter(|_| rows > 0) {
            let (top, left) = (nth / across * (height + 1), nth % across * (width + 1));
            for (at, value) in tile.iter().enumerate() {
                values[top + at / width][left + at % width] = *value;
            }
        }
        Self { values, color, center, rises: false, is_tiled: true, whole: (rows, columns, 1) }
    }

    /// What was averaged, in words.
    pub(super) fn note(&self) -> Option<String> {
        let (rows, columns, block) = self.whole;
        (block > 1)
            .then(|| format!("Each cell is the mean of {block}×{block} of the {rows}×{columns} values."))
    }

    fn range(&self) -> Option<Range> {
        let mut values = self.values.iter().flatten().copied().filter(|value| value.is_finite());
        let Some(center) = self.center.filter(|center| center.is_finite()) else {
            return Range::of(values, self.color.scale, 0.0);
        };
        let first = (values.next()? - center).abs();
        let reach = values.map(|value| (value - center).abs()).fold(first, f64::max);
        Range::of([center - reach, center + reach], Scale::Linear, 0.0)
    }

    fn step_color(&self, step: usize) -> String {
        if self.center.is_some_and(f64::is_finite) { parting(step) } else { rising(step) }
    }

    /// The cells; those that have no color are set apart by the page.
    pub(super) fn cells(&self, frame: &Frame) -> Markup {
        let Some(range) = self.range() else { return html! {} };
        let (n_rows, n_columns) = (self.values.len(), self.values.first().map_or(0, Vec::len));
        let mut paths = vec![String::new(); STEPS + 1];
        for (at, row) in self.values.iter().enumerate() {
            let top = if self.rises { n_rows - 1 - at } else { at };
            let steps: Vec<usize> = row.iter().map(|value| step(&range, *value)).collect();
            let mut left = 0;
            for run in steps.chunk_by(|a, b| a == b) {
                let length = run.len();
                let _ = write!(paths[run[0]], "M{left} {top}h{length}v1h-{length}z");
                left += length;
            }
        }
        // One unit is one cell.
        let (width, height) = (frame.width / n_columns as f64, frame.height / n_rows as f64);
        let (left, top) = (coordinate(frame.left), coordinate(frame.top));
        html! {
            g.heat transform=(format!("translate({left} {top})scale({width:.4} {height:.4})")) {
                @for (step, path) in paths.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
                    @if step == STEPS && self.is_tiled {
                    } @else if step == STEPS {
                        path.none d=(path) {}
                    } @else {
                        path d=(path) style={ "fill:" (self.step_color(step)) } {}
                    }
                }
            }
        }
    }

    /// What the colors mean, as a bar with numbers.
    pub(super) fn key(&self) -> Markup {
        let Some(range) = self.range() else { return html! {} };
        let ticks = range.ticks(4, self.color);
        let label = words::with_unit(&self.color.label, &self.color.unit);
        html! {
            div.key {
                span { (label) }
                svg viewBox="0 0 240 30" aria-hidden="true" {
                    @for step in 0..STEPS {
                        rect x=(step * 9 + 12) y="0" width="9.5" height="11"
                            style={ "fill:" (self.step_color(step)) } {}
                    }
                    @for tick in &ticks {
                        text x=(coordinate(12.0 + tick.at * 216.0)) y="25" text-anchor="middle" { (tick.label) }
                    }
                }
            }
        }
    }
}

/// How tiles are laid side by side.
pub(super) struct Grid {
    /// Cells down and across, gaps included.
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Rows of a tile.
    height: usize,
    /// Tiles in a row.
    across: usize,
}

impl Grid {
    /// As square as tiles of that width allow.
    pub(super) fn of(width: usize, tiles: &[Vec<f64>]) -> Self {
        let longest = tiles.iter().map(Vec::len).max().unwrap_or(0);
        if width == 0 || longest == 0 {
            return Self { rows: 0, columns: 0, height: 0, across: 1 };
        }
        let height = longest.div_ceil(width);
        let across = (tiles.len() as f64 * (height + 1) as f64 / (width + 1) as f64).sqrt().ceil();
        let across = (across as usize).clamp(1, tiles.len());
        let down = tiles.len().div_ceil(across);
        Self { rows: down * (height + 1) - 1, columns: across * (width + 1) - 1, height, across }
    }
}

/// Which color a value has; the last for one that has none.
fn step(range: &Range, value: f64) -> usize {
    range.at(value).map_or(STEPS, |at| ((at * STEPS as f64) as usize).min(STEPS - 1))
}
