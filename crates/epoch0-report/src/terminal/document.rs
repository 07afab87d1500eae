//! Documents in short.

use anstyle::Style;
use epoch0_method::reading::{
    Comparison, Examination, Finding, ProbeSource, Quantity, Reading, Relation, Severity, Standing, Training,
};

use super::table::Grid;
use super::{BOLD, FAINT, Lines, PLAIN, chart, table, tone};
use crate::page::curve;
use crate::{number, words};

/// An examination: the verdict, what was examined, the readings.
pub(crate) fn examination(examination: &Examination, lines: &mut Lines) {
    let severity = if examination.is_healthy() { Severity::Ok } else { Severity::Bad };
    let word = words::health(examination.health).0;
    let network = lines.plain(&examination.network.name);
    let lead =
        [lines.sign(severity), (PLAIN, " ".into()), (tone(severity), word.into()), (PLAIN, "  ".into())];
    let mut head = lead.to_vec();
    head.push((BOLD, network.into()));
    lines.line(&head);
    lines.paragraph(&[], 2, PLAIN, &words::verdict(examination));
    if let Some(finding) = &examination.verdict {
        facts(finding, lines);
    }
    lines.blank();
    let summary = &examination.network;
    lines.fact("start", PLAIN, &format!("{}, seed {}", summary.start, examination.seed));
    let dot = lines.pick(" · ", ", ").to_owned();
    let size = [
        format!("{} parameters", number::rough(summary.n_params)),
        format!("depth {}", summary.depth),
        summary.dtype.clone(),
    ];
    lines.fact("network", PLAIN, &size.join(&dot));
    lines.fact("inputs", PLAIN, &words::probe(&examination.probe));
    if examination.probe.source == ProbeSource::MatchedRandom {
        lines.fact("", FAINT, words::RANDOM_PROBE);
    }
    lines.fact("findings", PLAIN, &words::tally(examination));
    for reading in &examination.readings {
        self::reading(reading, examination.verdict.as_ref(), lines);
    }
}

fn reading(reading: &Reading, verdict: Option<&Finding>, lines: &mut Lines) {
    lines.heading(&reading.title);
    if !reading.summary.is_empty() {
        lines.paragraph(&[], 2, FAINT, &reading.summary);
    }
    let mut findings: Vec<_> = reading.findings.iter().collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for finding in findings {
        match finding.severity {
            Severity::Ok => {}
            // It stands at the top already.
            _ if words::is_verdict(finding, verdict) => {}
            severity => {
                let sign = lines.sign(severity);
                lines.paragraph(&[sign], 2, PLAIN, &finding.what);
                facts(finding, lines);
            }
        }
    }
    let fine = reading.findings.iter().filter(|finding| finding.severity == Severity::Ok).count();
    if fine > 0 {
        let sign = lines.sign(Severity::Ok);
        let checks = if fine == 1 { "1 check passed".to_owned() } else { format!("{fine} checks passed") };
        lines.paragraph(&[sign], 2, FAINT, &checks);
    }
    quantities(&reading.quantities, lines);
    for figure in &reading.figures {
        chart::figure(figure, lines);
    }
    for table in &reading.tables {
        table::table(table, lines);
    }
}

fn facts(finding: &Finding, lines: &mut Lines) {
    if let Some(place) = &finding.place {
        let more = words::place(place);
        let more = if more.is_empty() { String::new() } else { format!(" ({more})") };
        lines.fact("where", BOLD, &format!("{}{more}", words::clean(&place.name)));
    }
    lines.fact("measured", PLAIN, &words::measured(finding).unwrap_or_default());
    lines.fact("why", FAINT, &finding.reason);
    lines.fact("helps", PLAIN, &finding.help);
}

fn quantities(all: &[Quantity], lines: &mut Lines) {
    for quantity in all {
        let style = if quantity.value.is_finite() { BOLD } else { tone(Severity::Bad) };
        let value = lines.plain(&number::with_unit(quantity.value, &quantity.unit));
        lines.paragraph(
            &[(PLAIN, "  ".into()), (style, value.into()), (PLAIN, "  ".into())],
            14,
            FAINT,
            &quantity.label,
        );
    }
}

/// A comparison: what it comes to, the table, the curves.
pub(crate) fn comparison(comparison: &Comparison, lines: &mut Lines) {
    let title = lines.plain(&comparison.title);
    lines.line(&[(BOLD, title.into())]);
    lines.paragraph(&[], 2, PLAIN, &words::outcome(comparison));
    lines.blank();
    lines.fact("network", PLAIN, &comparison.network.name);
    lines.fact("data", PLAIN, &comparison.data);
    lines.fact("training", PLAIN, &comparison.training);
    lines.fact("test", PLAIN, &comparison.test);
    lines.fact("note", FAINT, &comparison.note);
    lines.blank();
    let best = comparison.best();
    let heading = lines.plain(&comparison.metric.label);
    let mut columns = vec![
        ("method", false),
        (heading.as_str(), true),
        ("", false),
        ("p", true),
        ("won", true),
        ("diverged", true),
    ];
    let has = words::Extra::of(comparison);
    columns.extend(has.rate.then_some(("rate", true)));
    columns.extend(has.health.then_some(("start", false)));
    let columns =
        columns.into_iter().map(|(name, right)| (name.to_owned(), right, name == heading || name.is_empty()));
    let mut grid = Grid::new(columns);
    for arm in &comparison.arms {
        let standing = comparison.standing(arm);
        let (sign, word) = words::standing(standing);
        let ascii = match standing {
            Standing::Baseline => ".",
            Standing::Better => "+",
            Standing::Worse => "-",
            Standing::Even => "=",
        };
        let style = match standing {
            Standing::Better => tone(Severity::Ok),
            Standing::Worse => tone(Severity::Bad),
            _ => FAINT,
        };
        let is_best = best.is_some_and(|best| std::ptr::eq(best, arm));
        let versus = arm.versus.as_ref();
        let missing = || lines.pick("–", "-").to_owned();
        let mut row = vec![
            (if is_best { BOLD } else { Style::new() }, lines.plain(&arm.method)),
            (
                if is_best { BOLD } else { Style::new() },
                lines.plain(&words::mean(arm, &comparison.metric.unit)),
            ),
            (style, format!("{} {word}", lines.pick(sign, ascii))),
            (PLAIN, versus.map_or_else(missing, |versus| number::p_value(versus.p_value))),
            (PLAIN, versus.map_or_else(missing, |versus| format!("{}/{}", versus.wins, arm.values.len()))),
            (if arm.diverged > 0 { tone(Severity::Bad) } else { PLAIN }, arm.diverged.to_string()),
        ];
        if has.rate {
            row.push((PLAIN, arm.learning_rate.map_or_else(missing, number::short)));
        }
        if has.health {
            row.push((
                FAINT,
                arm.health.map_or_else(missing, |health| words::health(health).0.to_lowercase()),
            ));
        }
        grid.push(row);
    }
    grid.write(lines);
    for figure in &comparison.figures {
        chart::figure(figure, lines);
    }
}

/// A training run: what it came to, its curves.
pub(crate) fn training(training: &Training, lines: &mut Lines) {
    let severity = if training.stopped.is_some() { Severity::Bad } else { Severity::Ok };
    let word = if training.stopped.is_some() { "Stopped" } else { "Finished" };
    let name = lines.plain(&training.network.name);
    let sign = lines.sign(severity);
    lines.line(&[
        sign,
        (PLAIN, " ".into()),
        (tone(severity), word.into()),
        (PLAIN, "  ".into()),
        (BOLD, name.into()),
    ]);
    if let Some(why) = &training.stopped {
        lines.paragraph(&[], 2, PLAIN, why);
    }
    lines.blank();
    lines.fact("start", PLAIN, &format!("{}, seed {}", training.start, training.seed));
    lines.fact("data", PLAIN, &training.data);
    lines.fact("training", PLAIN, &training.training);
    lines.blank();
    quantities(&training.quantities, lines);
    for curve in &training.curves {
        chart::figure(&self::curve(curve), lines);
    }
    for figure in &training.figures {
        chart::figure(figure, lines);
    }
}

/// Two checkpoints: what they have to do with each other, and the readings.
pub(crate) fn relation(relation: &Relation, lines: &mut Lines) {
    let (outcome, title) = (lines.plain(&relation.outcome), lines.plain(&relation.title));
    lines.line(&[(BOLD, outcome.into()), (PLAIN, "  ".into()), (PLAIN, title.into())]);
    lines.paragraph(&[], 2, PLAIN, &relation.summary);
    lines.blank();
    for (name, value) in &relation.facts {
        lines.fact(name, PLAIN, value);
    }
    for reading in &relation.readings {
        self::reading(reading, None, lines);
    }
}
