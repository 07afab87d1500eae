//! A figure as SVG.

use std::fmt::Write as _;

use epoch0_method::reading::{Axis, Direction, Figure, Scale, Series, Shape};
use maud::{Markup, html};

use super::heat::{Grid, Heat};
use super::range::{Range, Tick};
use crate::{number, words};

/// Most points of a line that tell their value when pointed at.
const MOST_HOVERS: usize = 160;
/// Width of a letter of the labels, on average.
const LETTER: f64 = 6.4;
/// As many named things are few.
const FEW: usize = 16;
/// Names longer than this are cut beside axes.
const LONGEST_NAME: usize = 16;

/// Size of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// For half a page, or a phone.
    Half,
    /// For the whole width of a page.
    Full,
}

/// The part of a figure that data are drawn in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A coordinate with a tenth of a pixel.
pub(super) fn coordinate(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// A frame and the ranges of its axes.
struct Plane<'a> {
    figure: &'a Figure,
    frame: Frame,
    x: Range,
    y: Range,
}

impl Plane<'_> {
    fn x(&self, value: f64) -> Option<f64> {
        self.x.at(value).map(|at| self.frame.left + at * self.frame.width)
    }

    fn y(&self, value: f64) -> Option<f64> {
        self.y.at(value).map(|at| self.frame.top + (1.0 - at) * self.frame.height)
    }

    fn point(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        Some((self.x(x)?, self.y(y)?))
    }
}

/// Values that a series puts on an axis.
fn values(series: &Series, axis: Direction, scale: Scale) -> Vec<f64> {
    let numbered = |n: usize| vec![-0.6, n as f64 - 0.4];
    match (&series.shape, axis) {
        (
            Shape::Line { x, .. }
            | Shape::Points { x, .. }
            | Shape::Band { x, .. }
            | Shape::Stems { x, .. }
            | Shape::Intervals { x, .. },
            Direction::X,
        ) => x.clone(),
        (Shape::Line { y, .. } | Shape::Points { y, .. }, Direction::Y) => y.clone(),
        (Shape::Band { low, high, .. } | Shape::Intervals { low, high, .. }, Direction::Y) => {
            [low.as_slice(), high].concat()
        }
        (Shape::Bars { y }, Direction::X) => numbered(y.len()),
        (Shape::Histogram { edges, .. }, Direction::X) => edges.clone(),
        (Shape::Bars { y } | Shape::Stems { y, .. } | Shape::Histogram { counts: y, .. }, Direction::Y) => {
            y.iter().copied().chain([0.0]).collect()
        }
        (Shape::Heatmap { x, values, .. }, Direction::X) => {
            edges(x, values.iter().map(Vec::len).max().unwrap_or(0), scale)
        }
        (Shape::Heatmap { y, values, .. }, Direction::Y) => edges(y, values.len(), scale),
        (Shape::Tiles { width, tiles, .. }, axis) => {
            let grid = Grid::of(*width, tiles);
            let n = if axis == Direction::X { grid.columns } else { grid.rows };
            edges(&[], n, Scale::Linear)
        }
        (Shape::Rule { axis: on, at }, axis) if *on == axis => vec![*at],
        (Shape::Span { axis: on, low, high }, axis) if *on == axis => vec![*low, *high],
        _ => Vec::new(),
    }
}

/// Outer edges of a matrix's cells.
fn edges(centers: &[f64], n: usize, scale: Scale) -> Vec<f64> {
    match centers {
        [first, second, .., last] | [first, second @ last] if scale == Scale::Log => {
            let half = (second / first).sqrt();
            vec![first / half, last * half]
        }
        [first, second, .., last] | [first, second @ last] => {
            let half = (second - first) / 2.0;
            vec![first - half, last + half]
        }
        _ if n == 0 => Vec::new(),
        _ => vec![-0.5, n as f64 - 0.5],
    }
}

fn heat(figure: &Figure) -> Option<Heat<'_>> {
    figure.series.iter().find_map(|series| match &series.shape {
        Shape::Heatmap { y, values, color, center, .. } => {
            Some(Heat::new(values, color, *center, !y.is_empty()))
        }
        Shape::Tiles { width, tiles, color, center } => Some(Heat::tiles(*width, tiles, color, *center)),
        _ => None,
    })
}

/// Whether a figure has a matrix, over which all else is drawn.
pub(crate) fn has_matrix(figure: &Figure) -> bool {
    figure.series.iter().any(|series| is_matrix(&series.shape))
}

fn is_matrix(shape: &Shape) -> bool {
    matches!(shape, Shape::Heatmap { .. } | Shape::Tiles { .. })
}

/// Ranges of both axes; none where nothing has a place.
fn ranges(figure: &Figure) -> Option<(Range, Range)> {
    let scale = |axis| if axis == Direction::X { figure.x.scale } else { figure.y.scale };
    let all = |axis| figure.series.iter().flat_map(move |series| values(series, axis, scale(axis)));
    let is_data = |series: &&Series| !matches!(series.shape, Shape::Rule { .. } | Shape::Span { .. });
    figure.series.iter().find(is_data)?;
    let is_tight = figure.series.iter().any(|series| {
        is_matrix(&series.shape) || matches!(series.shape, Shape::Bars { .. } | Shape::Histogram { .. })
    });
    let has_heat = has_matrix(figure);
    let n = figure.x.names.len();
    // Few named things keep half a step from the edges.
    let edges = if n > 0 && n <= FEW && !has_heat { vec![-0.5, n as f64 - 0.5] } else { Vec::new() };
    let x = Range::of(all(Direction::X).chain(edges), figure.x.scale, if is_tight { 0.0 } else { 0.025 })?;
    if has_heat {
        let turned = figure.series.iter().any(|series| match &series.shape {
            Shape::Heatmap { y, .. } => y.is_empty(),
            Shape::Tiles { .. } => true,
            _ => false,
        });
        let range = Range::of(all(Direction::Y), figure.y.scale, 0.0)?;
        return Some((x, if turned { range.turned() } else { range }));
    }
    let y = Range::of(all(Direction::Y), figure.y.scale, 0.06)?;
    let has_negative = all(Direction::Y).any(|value| value < 0.0);
    Some((x, if is_tight && !has_negative { y.starting_at_zero() } else { y }))
}

/// How names stand under an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// There are none, or too many: numbers stand there.
    Counted,
    /// Side by side.
    Level,
    /// Slanted, as long as this, in letters.
    Slanted(usize),
}

impl Names {
    fn under(axis: &Axis, room: f64) -> Self {
        let n = axis.names.len() as f64;
        let longest = axis.names.iter().map(|name| cut(name).chars().count()).max().unwrap_or(0);
        let is_cut = axis.names.iter().any(|name| words::clean(name).chars().count() > LONGEST_NAME);
        // Names without their middles do not tell many things apart.
        let most = if is_cut { FEW / 2 } else { FEW };
        if longest == 0 || axis.names.len() > most || n * 18.0 > room {
            Self::Counted
        } else if n * (longest as f64 * LETTER + 8.0) <= room {
            Self::Level
        } else {
            Self::Slanted(longest)
        }
    }

    /// Height that they need more than numbers.
    fn height(self) -> f64 {
        if let Self::Slanted(letters) = self { letters as f64 * LETTER * 0.6 } else { 0.0 }
    }
}

/// Names as they stand along an axis.
fn named(range: &Range, axis: &Axis) -> Vec<Tick> {
    let place = |(index, name): (usize, &String)| {
        let at = range.at(index as f64).filter(|at| (0.0..=1.0).contains(at))?;
        Some(Tick { at, label: cut(name) })
    };
    axis.names.iter().enumerate().filter_map(place).collect()
}

fn cut(name: &str) -> String {
    let name = words::clean(name);
    if name.chars().count() <= LONGEST_NAME {
        return name.into_owned();
    }
    let letters: Vec<char> = name.chars().collect();
    let half = (LONGEST_NAME - 1) / 2;
    let (head, tail) = (&letters[..half], &letters[letters.len() - half..]);
    head.iter().chain(std::iter::once(&'…')).chain(tail).collect()
}

/// Index of each series' color: one for each label, in order. What is drawn across the figure has none.
fn colors(figure: &Figure) -> Vec<usize> {
    let mut labels: Vec<&str> = Vec::new();
    let mut colors = Vec::new();
    for series in &figure.series {
        if matches!(series.shape, Shape::Rule { .. } | Shape::Span { .. }) {
            colors.push(0);
            continue;
        }
        let known = labels.iter().position(|label| *label == series.label);
        if known.is_none() {
            labels.push(&series.label);
        }
        colors.push(known.unwrap_or(labels.len() - 1) % 6 + 1);
    }
    colors
}

/// Draws a figure. `id` is unique in the page; `speaks` says whether points tell their value when pointed at.
pub(crate) fn plot(figure: &Figure, size: Size, id: &str, speaks: bool) -> Markup {
    let heat = heat(figure);
    let Some((x, y)) = ranges(figure) else {
        return html! { p.empty { "There is nothing to draw: no value has a place in this figure." } };
    };
    let is_square = heat.is_some() && figure.y.names.len() + figure.x.names.len() > 0
        || heat.is_some() && matches!(size, Size::Half);
    let (width, height): (f64, f64) = match size {
        Size::Half if is_square => (400.0, 380.0),
        Size::Half => (400.0, 250.0),
        Size::Full => (840.0, 280.0),
    };
    let top = if figure.y.label.is_empty() { 10.0 } else { 26.0 };
    let names = Names::under(&figure.x, width - 70.0);
    let (height, bottom) = (height + names.height(), 40.0 + names.height());
    let rows = height - top - bottom;
    let is_tiled = figure.series.iter().any(|series| matches!(series.shape, Shape::Tiles { .. }));
    let y_ticks = if is_tiled {
        Vec::new()
    } else if !figure.y.names.is_empty() && figure.y.names.len() as f64 * 14.0 <= rows {
        named(&y, &figure.y)
    } else {
        y.ticks((rows / 38.0).clamp(2.0, 10.0) as usize, &figure.y)
    };
    let longest = y_ticks.iter().map(|tick| tick.label.chars().count()).max().unwrap_or(0);
    let left = longest as f64 * LETTER + 14.0;
    let frame = Frame { left, top, width: width - left - 12.0, height: height - top - bottom };
    let x_ticks = match names {
        _ if is_tiled => Vec::new(),
        Names::Counted => x.ticks((frame.width / 62.0).clamp(2.0, 10.0) as usize, &figure.x),
        _ => named(&x, &figure.x),
    };
    let plane = Plane { figure, frame, x, y };
    let (title, description) = (format!("{id}-t"), format!("{id}-d"));
    let base = frame.top + frame.height;
    let colors = colors(figure);
    html! {
        svg.plot viewBox={ "0 0 " (width) " " (height) } role="img" aria-labelledby=(title) aria-describedby=(description) {
            title id=(title) { (words::clean(&figure.title)) }
            desc id=(description) { (words::clean(&figure.alt)) }
            @for tick in &y_ticks {
                @let at = coordinate(frame.top + (1.0 - tick.at) * frame.height);
                @if heat.is_none() { path.grid d={ "M" (coordinate(frame.left)) " " (at) "h" (coordinate(frame.width)) } {} }
                text x=(coordinate(frame.left - 7.0)) y=(at) dy=".35em" text-anchor="end" { (tick.label) }
            }
            @for tick in &x_ticks {
                @let at = coordinate(frame.left + tick.at * frame.width);
                @if heat.is_none() { path.tick d={ "M" (at) " " (coordinate(base)) "v4" } {} }
                @if let Names::Slanted(_) = names {
                    text text-anchor="end"
                        transform={ "translate(" (at) " " (coordinate(base + 14.0)) ")rotate(-35)" } { (tick.label) }
                } @else {
                    text x=(at) y=(coordinate(base + 16.0)) text-anchor="middle" { (tick.label) }
                }
            }
            @if !figure.y.label.is_empty() {
                text.label x="2" y="12" { (label(&figure.y)) }
            }
            text.label x=(coordinate(frame.left + frame.width)) y=(coordinate(height - 7.0)) text-anchor="end" {
                (label(&figure.x))
            }
            @if let Some(heat) = &heat { (heat.cells(&frame)) }
            @for (series, color) in figure.series.iter().zip(&colors) {
                (draw(&plane, series, *color))
            }
            path.axis d={ "M" (coordinate(frame.left)) " " (coordinate(base)) "h" (coordinate(frame.width)) } {}
            @if speaks {
                @for (series, color) in figure.series.iter().zip(&colors) { (hovers(&plane, series, *color)) }
            }
        }
    }
}

fn label(axis: &Axis) -> String {
    let text = words::with_unit(&axis.label, &axis.unit).into_owned();
    if axis.scale == Scale::Log { format!("{text}, log scale") } else { text }
}

/// What a line, a band's edge or an interval's end may be: points in order, in pieces between which a value is missing.
fn pieces(points: impl Iterator<Item = Option<(f64, f64)>>) -> String {
    let (mut path, mut is_open) = (String::new(), false);
    for point in points {
        match point {
            Some((x, y)) => {
                let _ =
                    write!(path, "{}{} {}", if is_open { "L" } else { "M" }, coordinate(x), coordinate(y));
                is_open = true;
            }
            None => is_open = false,
        }
    }
    path
}

fn draw(plane: &Plane<'_>, series: &Series, color: usize) -> Markup {
    let class = format!("s{color}");
    let frame = &plane.frame;
    let base = frame.top + (1.0 - plane.y.base()) * frame.height;
    match &series.shape {
        Shape::Line { x, y } => {
            let points: Vec<_> = x.iter().zip(y).map(|(x, y)| plane.point(*x, *y)).collect();
            // A point between two gaps would not show in a line.
            let lonely = (0..points.len()).filter(|at| {
                let missing =
                    |at: Option<usize>| at.and_then(|at| points.get(at)).is_none_or(Option::is_none);
                missing(at.checked_sub(1)) && missing(Some(at + 1))
            });
            let lonely: Vec<_> = lonely.filter_map(|at| points[at]).collect();
            html! {
                g class=(class) {
                    path.line d=(pieces(points.iter().copied())) {}
                    (crosses(plane, x, y))
                    @for (x, y) in lonely { circle.dot cx=(coordinate(x)) cy=(coordinate(y)) r="3.5" {} }
                }
            }
        }
        Shape::Points { x, y } => {
            let points = x.iter().zip(y).filter_map(|(x, y)| plane.point(*x, *y));
            html! {
                g class=(class) {
                    (crosses(plane, x, y))
                    @for (x, y) in points { (marker(color, x, y)) }
                }
            }
        }
        Shape::Band { x, low, high } => {
            let edge = |ys: &[f64]| -> Vec<Option<(f64, f64)>> {
                x.iter().zip(ys).map(|(x, y)| plane.point(*x, *y)).collect()
            };
            let both: Vec<_> = edge(low).into_iter().zip(edge(high)).collect();
            let mut path = String::new();
            for piece in both.split(|(low, high)| low.is_none() || high.is_none()) {
                if !piece.is_empty() {
                    let there = piece.iter().map(|(_, high)| *high);
                    let back = piece.iter().rev().map(|(low, _)| *low);
                    path += &pieces(there.chain(back));
                    path.push('z');
                }
            }
            html! { path.band.{ (class) } d=(path) {} }
        }
        Shape::Intervals { x, low, high } => {
            let ends = x.iter().zip(low).zip(high);
            let ends =
                ends.filter_map(|((x, low), high)| Some((plane.x(*x)?, plane.y(*low)?, plane.y(*high)?)));
            let mut path = String::new();
            for (x, low, high) in ends {
                let (left, x, low, high) =
                    (coordinate(x - 5.0), coordinate(x), coordinate(low), coordinate(high));
                let _ = write!(path, "M{left} {low}h10M{left} {high}h10M{x} {low}V{high}");
            }
            html! { path.whisker.{ (class) } d=(path) {} }
        }
        Shape::Bars { y } => {
            let groups =
                plane.figure.series.iter().filter(|series| matches!(series.shape, Shape::Bars { .. }));
            let groups: Vec<_> = groups.collect();
            let nth = groups.iter().position(|other| std::ptr::eq(*other, series)).unwrap_or(0);
            let width = 0.8 / groups.len() as f64;
            let bars = y.iter().enumerate().filter_map(|(at, y)| {
                let left = at as f64 - 0.4 + nth as f64 * width;
                Some((plane.x(left)?, plane.x(left + width)?, plane.y(*y)?))
            });
            html! { path.bar.{ (class) } d=(boxes(bars, base)) {} }
        }
        Shape::Histogram { edges, counts } => {
            let bars = edges
                .windows(2)
                .zip(counts)
                .filter_map(|(edge, count)| Some((plane.x(edge[0])?, plane.x(edge[1])?, plane.y(*count)?)));
            html! { path.bar.{ (class) } d=(boxes(bars, base)) {} }
        }
        Shape::Stems { x, y } => {
            let points: Vec<_> = x.iter().zip(y).filter_map(|(x, y)| plane.point(*x, *y)).collect();
            let mut stems = String::new();
            for (x, y) in &points {
                let _ = write!(stems, "M{} {}V{}", coordinate(*x), coordinate(base), coordinate(*y));
            }
            let dots = points.len() <= 80;
            html! {
                g class=(class) {
                    path.stem d=(stems) {}
                    @if dots { @for (x, y) in points { circle.dot cx=(coordinate(x)) cy=(coordinate(y)) r="3" {} } }
                }
            }
        }
        Shape::Rule { axis, at } => {
            let path = match axis {
                Direction::X => plane.x(*at).map(|x| {
                    format!("M{} {}v{}", coordinate(x), coordinate(frame.top), coordinate(frame.height))
                }),
                Direction::Y => plane.y(*at).map(|y| {
                    format!("M{} {}h{}", coordinate(frame.left), coordinate(y), coordinate(frame.width))
                }),
            };
            html! { @if let Some(path) = path { path.rule d=(path) {} } }
        }
        Shape::Span { axis, low, high } => {
            let corners = match axis {
                Direction::X => {
                    plane.x(*low).zip(plane.x(*high)).map(|(a, b)| (a, b, frame.top, base_of(frame)))
                }
                Direction::Y => plane
                    .y(*low)
                    .zip(plane.y(*high))
                    .map(|(a, b)| (frame.left, frame.left + frame.width, b, a)),
            };
            html! {
                @if let Some((left, right, top, bottom)) = corners {
                    rect.span x=(coordinate(left)) y=(coordinate(top)) width=(coordinate((right - left).max(0.0)))
                        height=(coordinate((bottom - top).max(0.0))) {}
                }
            }
        }
        _ => html! {},
    }
}

fn base_of(frame: &Frame) -> f64 {
    frame.top + frame.height
}

/// Where a value is not finite: a cross at the edge that it left by.
fn crosses(plane: &Plane<'_>, x: &[f64], y: &[f64]) -> Markup {
    let lost = x.iter().zip(y).filter(|(_, y)| !y.is_finite());
    let mut path = String::new();
    for (x, y) in lost.take(MOST_HOVERS) {
        let Some(x) = plane.x(*x) else { continue };
        let edge = if *y < 0.0 { base_of(&plane.frame) - 6.0 } else { plane.frame.top + 6.0 };
        let _ = write!(path, "M{} {}l6 6m-6 0l6-6", coordinate(x - 3.0), coordinate(edge - 3.0));
    }
    html! { @if !path.is_empty() { path.lost d=(path) {} } }
}

/// A mark whose form tells series apart as its color does.
fn marker(color: usize, x: f64, y: f64) -> Markup {
    let at = |dx: f64, dy: f64| format!("{} {}", coordinate(x + dx), coordinate(y + dy));
    html! {
        @match color {
            2 => path.dot d={ "M" (at(-3.2, -3.2)) "h6.4v6.4h-6.4z" } {},
            3 => path.dot d={ "M" (at(0.0, -4.2)) "l4.2 7.2h-8.4z" } {},
            4 => path.dot d={ "M" (at(0.0, -4.4)) "l4.4 4.4l-4.4 4.4l-4.4-4.4z" } {},
            5 => path.dot d={ "M" (at(-4.2, -3.0)) "h8.4l-4.2 7.2z" } {},
            6 => path.dot d={ "M" (at(-4.0, -1.4)) "h8v2.8h-8z" } {},
            _ => circle.dot cx=(coordinate(x)) cy=(coordinate(y)) r="3.4" {},
        }
    }
}

fn boxes(bars: impl Iterator<Item = (f64, f64, f64)>, base: f64) -> String {
    let mut path = String::new();
    for (left, right, top) in bars {
        let (left, right) = (left + 0.5, (right - 0.5).max(left + 0.6));
        let (left, right, base) = (coordinate(left), coordinate(right), coordinate(base));
        let _ = write!(path, "M{left} {base}V{}H{right}V{base}z", coordinate(top));
    }
    path
}

/// Points that tell their value when pointed at.
fn hovers(plane: &Plane<'_>, series: &Series, color: usize) -> Markup {
    let (x, y): (Vec<f64>, &[f64]) = match &series.shape {
        Shape::Line { x, y } | Shape::Points { x, y } | Shape::Stems { x, y } => (x.clone(), y),
        Shape::Bars { y } => ((0..y.len()).map(|at| at as f64).collect(), y),
        _ => return html! {},
    };
    if y.len() > MOST_HOVERS {
        return html! {};
    }
    let (axis, unit) = (&plane.figure.x, &plane.figure.y.unit);
    html! {
        g class={ "hovers s" (color) } {
            @for (x, y) in x.iter().zip(y) {
                @if let Some((left, top)) = plane.point(*x, *y) {
                    circle cx=(coordinate(left)) cy=(coordinate(top)) r="5" {
                        title { (words::at(axis, *x)) ": " (number::with_unit(*y, unit)) }
                    }
                }
            }
        }
    }
}

/// What is what in a figure, and what its colors mean. Nothing where there is one thing only.
pub(crate) fn legend(figure: &Figure) -> Markup {
    let heat = heat(figure);
    let mut seen: Vec<&str> = Vec::new();
    let mut entries = Vec::new();
    for (series, color) in figure.series.iter().zip(colors(figure)) {
        let is_heat = is_matrix(&series.shape);
        if is_heat || series.label.is_empty() || seen.contains(&series.label.as_str()) {
            continue;
        }
        seen.push(&series.label);
        // A band is named by the line in it, where there is one.
        let same =
            |other: &&Series| other.label == series.label && !matches!(other.shape, Shape::Band { .. });
        entries.push((figure.series.iter().find(same).unwrap_or(series), color));
    }
    html! {
        @if entries.len() > 1 {
            ul.legend {
                @for (series, color) in entries {
                    li { (swatch(series, color)) (words::clean(&series.label)) }
                }
            }
        }
        @if let Some(heat) = heat {
            (heat.key())
        }
    }
}

/// What was left out of a figure for its size, in words.
pub(crate) fn note(figure: &Figure) -> Option<String> {
    heat(figure)?.note()
}

fn swatch(series: &Series, color: usize) -> Markup {
    html! {
        svg class={ "s" (color) } viewBox="0 0 26 12" aria-hidden="true" {
            @match &series.shape {
                Shape::Line { .. } => path.line d="M1 6h24" {},
                Shape::Points { .. } => (marker(color, 13.0, 6.0)),
                Shape::Rule { .. } => path.rule d="M1 6h24" {},
                Shape::Span { .. } => rect.span x="1" y="1" width="24" height="10" {},
                Shape::Intervals { .. } => path.whisker d="M3 6h20M3 2v8M23 2v8" {},
                Shape::Stems { .. } => circle.dot cx="13" cy="6" r="3.5" {},
                Shape::Band { .. } => rect.band x="1" y="1" width="24" height="10" {},
                _ => rect.bar x="6" y="1" width="14" height="10" {},
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_label_share_a_color() {
        let shape = || Shape::Line { x: vec![0.0], y: vec![1.0] };
        let rule = Shape::Rule { axis: Direction::Y, at: 1.0 };
        let figure = Figure::new("f", "", "", Axis::new(""), Axis::new(""))
            .with("a", shape())
            .with("limit", rule)
            .with("b", shape())
            .with("a", shape());
        assert_eq!(colors(&figure), [1, 0, 2, 1]);
    }

    #[test]
    fn lines_have_gaps_where_values_are_missing() {
        let points = [Some((0.0, 1.0)), None, Some((2.0, 1.26)), Some((3.0, 1.0))];
        assert_eq!(pieces(points.into_iter()), "M0 1M2 1.3L3 1");
    }
}
