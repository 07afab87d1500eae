//! Whatever is in a document: nothing panics, no line is too wide.

use crate::made_up;
use crate::page::{attribute, tags};
use epoch0_method::reading::{
    Arm, Axis, Better, Bound, Cell, Column, Direction, Examination, Figure, Finding, Health, Kind, Metric,
    Place, Quantity, Reading, Severity, Shape, Table, Versus,
};
use epoch0_report::{Document, Terminal, data, html, json};
use proptest::prelude::*;
use unicode_width::UnicodeWidthStr;

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => any::<f64>(),
        4 => -10.0..10.0,
        1 => prop::sample::select(vec![
            0.0, -0.0, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324,
            1e16, 1e16 + 2.0,
        ]),
    ]
}

fn numbers() -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![
        prop::collection::vec(number(), 0..12),
        (number(), 1..40_usize).prop_map(|(value, n)| vec![value; n]),
        (number(), 0..200_usize)
            .prop_map(|(value, n)| (0..n).map(|at| value * 0.5_f64.powi(at as i32)).collect()),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z.0-9]{0,30}", "\\PC{0,20}", any::<String>(), Just("日本語の層".repeat(30))]
}

fn shape() -> impl Strategy<Value = Shape> {
    let axis = || prop::sample::select(vec![Direction::X, Direction::Y]);
    prop_oneof![
        (numbers(), numbers()).prop_map(|(x, y)| Shape::Line { x, y }),
        (numbers(), numbers()).prop_map(|(x, y)| Shape::Points { x, y }),
        (numbers(), numbers(), numbers()).prop_map(|(x, low, high)| Shape::Band { x, low, high }),
        (numbers(), numbers(), numbers()).prop_map(|(x, low, high)| Shape::Intervals { x, low, high }),
        numbers().prop_map(|y| Shape::Bars { y }),
        (numbers(), numbers()).prop_map(|(edges, counts)| Shape::Histogram { edges, counts }),
        (numbers(), numbers()).prop_map(|(x, y)| Shape::Stems { x, y }),
        (
            numbers(),
            numbers(),
            prop::collection::vec(numbers(), 0..5),
            prop::option::of(number()),
            self::axis()
        )
            .prop_map(|(x, y, values, center, color)| Shape::Heatmap { x, y, values, color, center }),
        (0usize..4, prop::collection::vec(numbers(), 0..5), prop::option::of(number()), self::axis())
            .prop_map(|(width, tiles, center, color)| Shape::Tiles { width, tiles, color, center }),
        (axis(), number()).prop_map(|(axis, at)| Shape::Rule { axis, at }),
        (axis(), number(), number()).prop_map(|(axis, low, high)| Shape::Span { axis, low, high }),
    ]
}

fn axis() -> impl Strategy<Value = Axis> {
    (
        text(),
        any::<bool>(),
        prop::sample::select(vec!["", "share", "s"]),
        prop::collection::vec(text(), 0..30),
    )
        .prop_map(|(label, is_log, unit, names)| {
            let axis = Axis::new(&label).unit(unit).names(names);
            if is_log { axis.log() } else { axis }
        })
}

fn figure() -> impl Strategy<Value = Figure> {
    (text(), axis(), axis(), prop::collection::vec((text(), shape()), 0..5)).prop_map(
        |(title, x, y, series)| {
            let figure = Figure::new("f", &title, title.clone(), x, y);
            series.into_iter().fold(figure, |figure, (label, shape)| figure.with(label, shape))
        },
    )
}

fn table() -> impl Strategy<Value = Table> {
    let kinds = vec![Kind::Text, Kind::Integer, Kind::Real, Kind::Share, Kind::Flag, Kind::Mark];
    let cell = prop_oneof![
        Just(Cell::Missing),
        any::<bool>().prop_map(Cell::from),
        any::<i64>().prop_map(Cell::from),
        number().prop_map(Cell::from),
        text().prop_map(Cell::from),
        prop::sample::select(Severity::ALL.to_vec()).prop_map(Cell::from),
    ];
    let columns = prop::collection::vec((text(), prop::sample::select(kinds)), 0..7);
    (text(), columns, prop::collection::vec(prop::collection::vec(cell, 0..8), 0..30)).prop_map(
        |(title, columns, rows)| {
            let columns =
                columns.iter().map(|(label, kind)| Column::new("c", label, *kind).unit("s").help(label));
            let mut table = Table::new("t", &title, columns);
            rows.into_iter().for_each(|row| table.push(row));
            table
        },
    )
}

fn finding() -> impl Strategy<Value = Finding> {
    let severity = prop::sample::select(Severity::ALL.to_vec());
    let health = prop::sample::select(Health::ALL.to_vec());
    (severity, health, text(), number(), number()).prop_map(|(severity, health, text, measured, bound)| {
        Finding::new("f", severity, health, text.clone())
            .at(Place::new(text.clone()).depth(3))
            .measured(measured, "share", Some(Bound::AtLeast(bound)))
            .reason(text.clone())
            .help(text)
    })
}

fn examination() -> impl Strategy<Value = Examination> {
    let parts = (
        text(),
        prop::collection::vec(finding(), 0..4),
        prop::collection::vec((text(), number()), 0..4),
        prop::collection::vec(figure(), 0..3),
        prop::collection::vec(table(), 0..3),
    );
    parts.prop_map(|(title, findings, quantities, figures, tables)| {
        let quantities =
            quantities.iter().map(|(label, value)| Quantity::new("q", label, *value, "s").help(label));
        let reading = Reading {
            findings,
            quantities: quantities.collect(),
            figures,
            tables,
            ..Reading::new("m", &title, title.clone())
        };
        let mut network = made_up::network(&title, &title, 12, 3);
        network.dtype = title;
        Examination::new(network, made_up::random(&[3]), 0, vec![reading], made_up::versions())
    })
}

fn fits<D: Document>(document: &D, width: usize, color: bool, unicode: bool) {
    let text = Terminal { width, color: false, unicode }.text(document);
    for line in text.lines() {
        assert!(line.width() <= width.max(24), "{width}: {line:?} has {}", line.width());
        assert!(unicode || line.is_ascii(), "{line:?}");
        assert!(!line.contains(|letter: char| letter.is_control()), "{line:?}");
    }
    if color {
        let colored = Terminal { width, color, unicode }.text(document);
        let plain = colored
            .split('\u{1b}')
            .enumerate()
            .map(|(at, part)| if at == 0 { part } else { part.split_once('m').map_or("", |(_, rest)| rest) });
        let trimmed = |text: &str| text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        assert_eq!(trimmed(&plain.collect::<String>()), trimmed(&text), "colors change no letter");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_examination_is_shown(
        examination in examination(),
        width in prop_oneof![0..60_usize, Just(40), Just(80), 60..300_usize],
        color: bool,
        unicode: bool,
    ) {
        fits(&examination, width, color, unicode);
        let page = html(&examination);
        for tag in tags(&page) {
            for name in ["d", "x", "y", "cx", "cy", "width", "height", "transform", "viewBox"] {
                let value = attribute(&tag, name).unwrap_or_default();
                assert!(!value.contains("NaN") && !value.contains("inf"), "<{}> has {name}={value}", tag.name);
            }
        }
        let back: Examination = serde_json::from_str(data(&page).unwrap()).unwrap();
        prop_assert_eq!(json(&back), json(&examination));
    }

    #[test]
    fn any_comparison_is_shown(
        arms in prop::collection::vec((text(), numbers(), number(), number(), number()), 0..6),
        unit in prop::sample::select(vec!["", "share", "nats"]),
        width in 0..120_usize,
        is_lower: bool,
    ) {
        let mut comparison = made_up::comparison();
        comparison.metric = Metric {
            unit: unit.to_owned(),
            better: if is_lower { Better::Lower } else { Better::Higher },
            ..comparison.metric
        };
        comparison.arms = arms
            .into_iter()
            .map(|(method, values, mean, difference, p_value)| Arm {
                method,
                values,
                mean,
                interval: (difference, mean),
                versus: Some(Versus { difference, interval: (mean, difference), p_value, wins: 1, ties: 0 }),
                diverged: 1,
                learning_rate: Some(p_value),
                health: None,
            })
            .collect();
        fits(&comparison, width, false, true);
        html(&comparison);
    }
}

#[test]
fn made_up_documents_fit() {
    for width in [0, 24, 40, 57, 80, 120, 300] {
        for unicode in [false, true] {
            fits(&made_up::healthy(), width, true, unicode);
            fits(&made_up::vanishing(), width, true, unicode);
            fits(&made_up::chaotic(), width, true, unicode);
            fits(&made_up::hostile(), width, true, unicode);
            fits(&made_up::comparison(), width, true, unicode);
            fits(&made_up::training(), width, true, unicode);
        }
    }
}

#[test]
fn the_terminal_says_the_verdict_first() {
    let text = Terminal { width: 80, color: false, unicode: true }.text(&made_up::vanishing());
    assert!(text.starts_with("✕ Vanishing  mlp-784-100x512-10\n  Outputs shrink by a factor 0.50"), "{text}");
    assert!(text.contains("layers.14.weight (depth 15, forward pass)"));
    assert!(text.contains("█") && text.contains("12 of 100 rows"));
    let text = Terminal { width: 80, color: false, unicode: true }.text(&made_up::comparison());
    assert!(text.contains("▲ better") && text.contains("▼ worse") && text.contains("= no difference"));
}
