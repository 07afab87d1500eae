//! Small charts of letters.

use anstyle::AnsiColor;
use epoch0_method::reading::{Axis, Figure, Scale, Series, Severity, Shape};
use unicode_width::UnicodeWidthStr;

use super::{FAINT, Lines, PLAIN, Span, middle_cut, tone};
use crate::svg::{Range, has_matrix};
use crate::{number, words};

/// Rows of a chart that has them.
const ROWS: usize = 4;
/// From this many points on, a line gets rows.
const MANY: usize = 16;
/// Widest chart, in columns.
const WIDEST: usize = 72;
/// Most rows of a matrix, most bars.
const MOST: usize = 12;
/// Widest label beside a chart.
const LABEL: usize = 14;

/// A figure, in short.
pub(super) fn figure(figure: &Figure, lines: &mut Lines) {
    lines.title(&figure.title);
    // What is drawn over a matrix means nothing without it.
    let over_matrix = has_matrix(figure);
    let is_drawn = |series: &&Series| values(series).is_some() && !over_matrix;
    let drawn: Vec<&Series> = figure.series.iter().filter(is_drawn).collect();
    let all = drawn.iter().filter_map(|series| values(series)).flatten().copied();
    let counted =
        drawn.iter().any(|series| !matches!(series.shape, Shape::Line { .. } | Shape::Points { .. }));
    let zero = (counted && figure.y.scale == Scale::Linear).then_some(0.0);
    if let Some(range) = Range::of(all.chain(zero), figure.y.scale, 0.0) {
        let is_tall =
            drawn.len() <= 2 && drawn.iter().all(|series| values(series).is_some_and(|y| y.len() >= MANY));
        for series in &drawn {
            let y = values(series).unwrap_or_default();
            match &series.shape {
                Shape::Bars { .. } if y.len() <= MOST && !figure.x.names.is_empty() => {
                    bars(figure, y, &range, lines);
                }
                Shape::Line { .. } if is_tall => tall(figure, series, y, lines),
                _ => flat(figure, series, y, &range, lines),
            }
        }
    }
    for series in &figure.series {
        if let Shape::Heatmap { values, color, .. } = &series.shape {
            matrix(values, color, lines);
        }
        if let Shape::Tiles { .. } = &series.shape {
            // Letters are too coarse for them.
            lines.paragraph(&[(PLAIN, "  ".into())], 2, FAINT, &figure.alt);
        }
    }
    for trouble in words::trouble(figure) {
        let sign = lines.sign(Severity::Bad);
        lines.paragraph(&[(PLAIN, "  ".into()), sign], 4, PLAIN, &trouble);
    }
}

fn values(series: &Series) -> Option<&[f64]> {
    match &series.shape {
        Shape::Line { y, .. }
        | Shape::Points { y, .. }
        | Shape::Stems { y, .. }
        | Shape::Bars { y }
        | Shape::Histogram { counts: y, .. } => Some(y),
        _ => None,
    }
}

/// Where each column's values lie, 0 to 1; none where none has a place. Few values are stretched.
fn columns(y: &[f64], range: &Range, width: usize) -> Vec<Option<f64>> {
    let width = if y.len() < width { y.len() * (width / y.len().max(1)).min(3) } else { width };
    let mean = |column: usize| {
        let (first, last) = (column * y.len() / width, ((column + 1) * y.len()).div_ceil(width));
        let places: Vec<f64> = y[first..last.max(first + 1)].iter().filter_map(|y| range.at(*y)).collect();
        (!places.is_empty()).then(|| places.iter().sum::<f64>() / places.len() as f64)
    };
    (0..width).map(mean).collect()
}

/// A letter that is filled by so many eighths.
fn block(lines: &Lines, eighths: usize) -> &'static str {
    if lines.terminal.unicode {
        [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"][eighths.min(8)]
    } else {
        [" ", ".", ".", ":", ":", "-", "=", "#", "#"][eighths.min(8)]
    }
}

fn lost(lines: &Lines) -> Span<'static> {
    (tone(Severity::Bad), if lines.terminal.unicode { "✕" } else { "x" }.into())
}

/// The first and the last value.
fn ends(y: &[f64], unit: &str, lines: &Lines) -> String {
    let arrow = lines.pick("→", "->");
    match (y.first(), y.last()) {
        (Some(first), Some(last)) => {
            let (first, last) = (number::with_unit(*first, unit), number::with_unit(*last, unit));
            lines.plain(&first) + &format!(" {arrow} ") + &lines.plain(&last)
        }
        _ => "no values".to_owned(),
    }
}

/// A series in one row, on the scale that all series of the figure share.
fn flat(figure: &Figure, series: &Series, y: &[f64], range: &Range, lines: &mut Lines) {
    let dots = lines.pick("…", "..").to_owned();
    let label = middle_cut(&lines.plain(&series.label), LABEL.min(lines.width() / 3), &dots);
    let labels = figure.series.iter().map(|other| lines.plain(&other.label).width());
    let label_width = labels.max().unwrap_or(0).min(LABEL).min(lines.width() / 3);
    let tail = match &series.shape {
        // Positions say more of a distribution than the counts at its ends.
        Shape::Histogram { edges, .. } => ends(edges, &figure.x.unit, lines),
        _ => ends(y, &figure.y.unit, lines),
    };
    let tail = format!("  {tail}");
    let fixed = 2 + label_width + 2;
    let room = lines.width().saturating_sub(fixed + tail.width());
    // A chart that would be too small leaves its place to the numbers, a line further down.
    let (room, is_apart) = if room < 8 { (lines.width().saturating_sub(fixed), true) } else { (room, false) };
    let pad = " ".repeat(label_width.saturating_sub(label.width()) + 2);
    let mut spans: Vec<Span<'_>> = vec![(PLAIN, "  ".into()), (FAINT, label.into()), (PLAIN, pad.into())];
    for column in columns(y, range, room.min(WIDEST)) {
        spans.push(match column {
            Some(at) => (AnsiColor::Cyan.on_default(), block(lines, 1 + (at * 7.0).round() as usize).into()),
            None => lost(lines),
        });
    }
    if is_apart {
        lines.line(&spans);
        lines.paragraph(&[], 4, PLAIN, &tail);
    } else {
        spans.push((PLAIN, tail.into()));
        lines.line(&spans);
    }
}

/// A series in several rows, on a scale of its own.
fn tall(figure: &Figure, series: &Series, y: &[f64], lines: &mut Lines) {
    let text = format!("{}  {}", lines.plain(&series.label), ends(y, &figure.y.unit, lines));
    lines.line(&[(PLAIN, "  ".into()), (FAINT, text.into())]);
    let Some(range) = Range::of(y.iter().copied(), figure.y.scale, 0.0) else { return };
    let (low, high) = range.ends();
    let labels = [high, low].map(|end| lines.plain(&number::with_unit(end, &figure.y.unit)));
    let label_width = labels[0].width().max(labels[1].width());
    let columns = columns(y, &range, lines.width().saturating_sub(label_width + 6).clamp(8, WIDEST));
    for row in 0..ROWS {
        let label = match row {
            0 => labels[0].as_str(),
            row if row + 1 == ROWS => labels[1].as_str(),
            _ => "",
        };
        let (tick, side) = (lines.pick("┤", "|"), lines.pick("│", "|"));
        let pad = " ".repeat(label_width - label.width() + 2);
        let edge = format!("{pad}{label} {}", if label.is_empty() { side } else { tick });
        let mut spans: Vec<Span<'_>> = vec![(FAINT, edge.into())];
        for column in &columns {
            spans.push(match column {
                Some(at) => {
                    // The least value still shows.
                    let filled = ((at * (ROWS * 8) as f64).round() as usize).max(1);
                    let eighths = filled.saturating_sub((ROWS - 1 - row) * 8);
                    (AnsiColor::Cyan.on_default(), block(lines, eighths).into())
                }
                None if row + 1 == ROWS => lost(lines),
                None => (PLAIN, " ".into()),
            });
        }
        lines.line(&spans);
    }
    let under = format!("{} 1 to {}", lines.plain(&figure.x.label), y.len());
    if under.width() + label_width + 4 <= lines.width() {
        lines.line(&[(FAINT, format!("{}{under}", " ".repeat(label_width + 4)).into())]);
    }
}

/// A bar for each name.
fn bars(figure: &Figure, y: &[f64], range: &Range, lines: &mut Lines) {
    let dots = lines.pick("…", "..").to_owned();
    let names: Vec<_> = (0..y.len())
        .map(|at| {
            middle_cut(&lines.plain(&words::at(&figure.x, at as f64)), LABEL.min(lines.width() / 3), &dots)
        })
        .collect();
    let name_width = names.iter().map(|name| name.width()).max().unwrap_or(0);
    let numbers: Vec<_> = y.iter().map(|y| number::with_unit(*y, &figure.y.unit)).collect();
    let number_width = numbers.iter().map(|number| number.width()).max().unwrap_or(0);
    let room = lines.width().saturating_sub(name_width + number_width + 6).min(WIDEST / 2);
    for ((name, number), y) in names.iter().zip(&numbers).zip(y) {
        let length = range.at(*y).map_or(0, |at| (at * room as f64).round() as usize);
        let pad = " ".repeat(name_width - name.width() + 2);
        lines.line(&[
            (PLAIN, "  ".into()),
            (FAINT, name.as_str().into()),
            (PLAIN, pad.into()),
            (AnsiColor::Cyan.on_default(), lines.pick("█", "#").repeat(length).into()),
            (PLAIN, format!(" {number}").into()),
        ]);
    }
}

/// A matrix as shades, averaged to few rows.
fn matrix(values: &[Vec<f64>], color: &Axis, lines: &mut Lines) {
    let n_columns = values.iter().map(Vec::len).max().unwrap_or(0);
    let Some(range) = Range::of(values.iter().flatten().copied(), color.scale, 0.0) else { return };
    let block = values.len().max(n_columns).div_ceil(MOST).max(1);
    let shades =
        if lines.terminal.unicode { [" ", "░", "▒", "▓", "█"] } else { [" ", ".", ":", "+", "#"] };
    for rows in values.chunks(block) {
        let mut spans: Vec<Span<'_>> = vec![(PLAIN, "  ".into())];
        for column in 0..n_columns.div_ceil(block) {
            let cells = rows.iter().flat_map(|row| row.iter().skip(column * block).take(block));
            let places: Vec<f64> = cells.filter_map(|value| range.at(*value)).collect();
            spans.push(match places.len() {
                0 => (tone(Severity::Bad), "??".into()),
                n => {
                    let mean = places.iter().sum::<f64>() / n as f64;
                    (PLAIN, shades[(mean * 4.0).round() as usize].repeat(2).into())
                }
            });
        }
        lines.line(&spans);
    }
    let (low, high) = range.ends();
    let key = format!("{} from {} to {}", color.label, number::trimmed(low), number::trimmed(high));
    lines.paragraph(&[], 2, FAINT, &key);
}
