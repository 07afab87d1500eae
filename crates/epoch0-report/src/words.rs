//! What is said alike on a page and in a terminal.

use std::borrow::Cow;

use epoch0_method::reading::{
    Arm, Axis, Better, Bound, Cell, Comparison, Examination, Figure, Finding, Health, Kind, Pass, Place,
    ProbeSource, ProbeSummary, Scale, Severity, Shape, Standing,
};

use crate::number;

/// Longest name that is shown whole, in characters.
const LONGEST: usize = 240;

/// Text of others as it may be shown: control characters and those that turn the direction of text are spelled out, and
/// what is very long loses its middle.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let is_hidden = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let text: Cow<'_, str> = if text.contains(is_hidden) {
        let spell = |letter: char| match letter {
            '\n' | '\t' => " ".to_owned(),
            letter if is_hidden(letter) => letter.escape_unicode().to_string(),
            letter => letter.to_string(),
        };
        text.chars().map(spell).collect::<String>().into()
    } else {
        text.into()
    };
    match text.char_indices().nth(LONGEST) {
        Some(_) if !text.contains(' ') => {
            let letters: Vec<char> = text.chars().collect();
            let (head, tail) = (&letters[..LONGEST / 2], &letters[letters.len() - LONGEST / 2..]);
            head.iter().chain(std::iter::once(&'…')).chain(tail).collect::<String>().into()
        }
        _ => text,
    }
}

/// What some comparisons say of their arms, and others do not.
pub(crate) struct Extra {
    pub(crate) rate: bool,
    pub(crate) health: bool,
}

impl Extra {
    pub(crate) fn of(comparison: &Comparison) -> Self {
        let arms = &comparison.arms;
        Self {
            rate: arms.iter().any(|arm| arm.learning_rate.is_some()),
            health: arms.iter().any(|arm| arm.health.is_some()),
        }
    }
}

/// A state, for people.
pub(crate) fn health(health: Health) -> (&'static str, &'static str) {
    match health {
        Health::Broken => ("Broken", "there are values that cannot be right"),
        Health::Exploding => ("Exploding", "the signal grows with depth"),
        Health::Vanishing => ("Vanishing", "the signal shrinks with depth"),
        Health::Collapsed => ("Collapsed", "different inputs become the same"),
        Health::Chaotic => ("Chaotic", "close inputs come apart with depth"),
        Health::Dead => ("Dead units", "units give zero for every input"),
        Health::Saturated => ("Saturated", "units sit where their activation is flat"),
        Health::Biased => ("Biased", "the untrained network prefers some classes"),
        Health::IllConditioned => ("Ill-conditioned", "usual learning rates will not do"),
        Health::Uneven => ("Uneven", "features move by more or less with the width"),
        Health::Healthy => ("Healthy", "the signal reaches both ends"),
        _ => ("Unhealthy", ""),
    }
}

/// A severity, for people: a sign that does not need color, and a word.
pub(crate) fn severity(severity: Severity) -> (&'static str, &'static str) {
    match severity {
        Severity::Ok => ("✓", "ok"),
        Severity::Note => ("i", "note"),
        Severity::Warn => ("!", "warning"),
        Severity::Bad => ("✕", "bad"),
    }
}

/// What a number has to be.
pub(crate) fn bound(bound: Bound, unit: &str) -> String {
    let show = |value| number::with_unit(value, unit);
    match bound {
        Bound::AtLeast(low) => format!("at least {}", show(low)),
        Bound::AtMost(high) => format!("at most {}", show(high)),
        Bound::Within((low, high)) => format!("between {} and {}", show(low), show(high)),
    }
}

/// What stands beside a place's name: `depth 37, forward`.
pub(crate) fn place(place: &Place) -> String {
    let depth = place.depth.map(|depth| format!("depth {depth}"));
    let pass = place.pass.map(|pass| match pass {
        Pass::Forward => "forward pass".to_owned(),
        Pass::Backward => "backward pass".to_owned(),
    });
    depth.into_iter().chain(pass).collect::<Vec<_>>().join(", ")
}

/// What was measured and what it had to be.
pub(crate) fn measured(finding: &Finding) -> Option<String> {
    let value = number::with_unit(finding.measured?, &finding.unit);
    Some(match finding.bound {
        Some(allowed) => format!("{value}, should be {}", bound(allowed, &finding.unit)),
        None => value,
    })
}

/// What a healthy or unhealthy start comes to, in a sentence.
pub(crate) fn verdict(examination: &Examination) -> String {
    match &examination.verdict {
        Some(finding) => clean(&finding.what).into_owned(),
        None if examination.findings().is_empty() => "Nothing was checked that could be wrong.".to_owned(),
        None => "No check found anything that will hurt training.".to_owned(),
    }
}

/// Whether a finding is the one that decides the verdict. NaN makes findings differ from themselves.
pub(crate) fn is_verdict(finding: &Finding, verdict: Option<&Finding>) -> bool {
    verdict.is_some_and(|verdict| {
        (&verdict.name, verdict.severity, &verdict.what) == (&finding.name, finding.severity, &finding.what)
    })
}

/// How many findings there are of each severity: `1 bad, 2 warnings, 9 ok`.
pub(crate) fn tally(examination: &Examination) -> String {
    let found = examination.findings();
    let count = |which: Severity| {
        let count = found.iter().filter(|(_, finding)| finding.severity == which).count();
        let word = match (which, count) {
            (Severity::Warn, 2..) => "warnings",
            (Severity::Note, 2..) => "notes",
            _ => severity(which).1,
        };
        (count > 0).then(|| format!("{count} {word}"))
    };
    Severity::ALL.into_iter().rev().filter_map(count).collect::<Vec<_>>().join(", ")
}

/// Which inputs were used.
pub(crate) fn probe(probe: &ProbeSummary) -> String {
    let shape: Vec<_> = probe.shape.iter().map(ToString::to_string).collect();
    let shape = if shape.is_empty() { String::new() } else { format!(" of shape {}", shape.join("×")) };
    let (n, name) = (number::grouped(probe.n_examples as u64), clean(&probe.name));
    match probe.source {
        ProbeSource::Data => {
            let labels = if probe.has_labels { "" } else { ", without labels" };
            format!("{n} examples{shape} from {name}{labels}")
        }
        ProbeSource::MatchedRandom => format!("{n} random inputs{shape}, {name}"),
    }
}

/// The warning that belongs to a random probe.
pub(crate) const RANDOM_PROBE: &str = "No data were given: the inputs are random, with the moments that the network \
     expects. What depends on real inputs (classes, correlations of neighbours) may differ.";

/// A cell as text.
pub(crate) fn cell(cell: &Cell, kind: Kind) -> Cow<'_, str> {
    match cell {
        Cell::Missing => "–".into(),
        Cell::Flag(flag) => if *flag { "yes" } else { "no" }.into(),
        Cell::Integer(value) if kind == Kind::Share => number::percent(*value as f64).into(),
        Cell::Integer(value) => number::grouped(*value).into(),
        Cell::Real(value) if kind == Kind::Share => number::percent(*value).into(),
        Cell::Real(value) => number::short(*value).into(),
        Cell::Text(text) => clean(text),
        Cell::Mark(mark) => severity(*mark).1.into(),
    }
}

/// A heading or label with its unit: `time (s)`. Shares are shown in percent and need none.
pub(crate) fn with_unit<'a>(label: &'a str, unit: &str) -> Cow<'a, str> {
    match unit {
        "" | "share" => clean(label),
        unit => format!("{} ({})", clean(label), clean(unit)).into(),
    }
}

/// Name of what stands at a position of an axis that counts things.
pub(crate) fn at(axis: &Axis, x: f64) -> String {
    let name = (x >= 0.0 && x.fract() == 0.0).then(|| axis.names.get(x as usize)).flatten();
    name.map_or_else(|| number::with_unit(x, &axis.unit), |name| clean(name).into_owned())
}

/// What a figure cannot draw, in words.
pub(crate) fn trouble(figure: &Figure) -> Vec<String> {
    let mut out = Vec::new();
    for series in &figure.series {
        let (x, values): (&[f64], Vec<f64>) = match &series.shape {
            Shape::Line { x, y } | Shape::Points { x, y } | Shape::Stems { x, y } => (x, y.clone()),
            Shape::Band { x, low, high } | Shape::Intervals { x, low, high } => {
                let lower = |(low, high): (&f64, &f64)| if high.is_finite() { *low } else { *high };
                (x, low.iter().zip(high).map(lower).collect())
            }
            Shape::Bars { y } => (&[], y.clone()),
            Shape::Histogram { counts, .. } => (&[], counts.clone()),
            Shape::Heatmap { values, .. } | Shape::Tiles { tiles: values, .. } => (&[], values.concat()),
            _ => continue,
        };
        let scale = match &series.shape {
            Shape::Heatmap { color, .. } | Shape::Tiles { color, .. } => color.scale,
            _ => figure.y.scale,
        };
        let mut say = |what: &str, is: &dyn Fn(f64) -> bool| {
            let mut hits = values.iter().enumerate().filter(|(_, value)| is(**value));
            let Some((first, _)) = hits.next() else { return };
            let count = 1 + hits.count();
            let position = x.get(first).copied().unwrap_or(first as f64);
            let place = match &series.shape {
                Shape::Heatmap { .. } | Shape::Tiles { .. } => String::new(),
                _ => format!(", the first at {}", at(&figure.x, position)),
            };
            let label = clean(&series.label);
            let verb = if count == 1 { "is" } else { "are" };
            out.push(format!("{label}: {count} of {} values {verb} {what}{place}.", values.len()));
        };
        say("not finite", &|value| !value.is_finite());
        if scale == Scale::Log {
            say("not positive, without a place on a logarithmic axis", &|value| {
                value.is_finite() && value <= 0.0
            });
        }
    }
    out
}

/// Mean and half of its interval: `0.842 ± 0.011`.
pub(crate) fn mean(arm: &Arm, unit: &str) -> String {
    let half = (arm.interval.1 - arm.interval.0) / 2.0;
    plus_minus(arm.mean, half, unit)
}

/// A number and what it may be off by, to two digits of that: `0.842 ± 0.011`.
pub(crate) fn plus_minus(value: f64, half: f64, unit: &str) -> String {
    let (value, half, unit) = match unit {
        "share" => (value * 100.0, half * 100.0, "%".to_owned()),
        "" => (value, half, String::new()),
        unit => (value, half, format!(" {}", clean(unit))),
    };
    if half.abs() < 1e5 && value.abs() < 1e6 && half.abs() >= 1e-6 {
        let digits = (1 - half.abs().log10().floor() as i32).max(0) as usize;
        format!("{value:.digits$} ± {half:.digits$}{unit}")
    } else {
        format!("{} ± {}{unit}", number::trimmed(value), number::trimmed(half))
    }
}

/// Where an arm stands: a sign that does not need color, and a word.
pub(crate) fn standing(standing: Standing) -> (&'static str, &'static str) {
    match standing {
        Standing::Baseline => ("·", "baseline"),
        Standing::Better => ("▲", "better"),
        Standing::Worse => ("▼", "worse"),
        Standing::Even => ("=", "no difference"),
    }
}

/// What a comparison comes to, in a sentence.
pub(crate) fn outcome(comparison: &Comparison) -> String {
    let baseline = clean(&comparison.baseline);
    let metric = clean(&comparison.metric.label);
    let Some(best) = comparison.best() else {
        return format!("No method gave a finite {metric} on any seed.");
    };
    let value = number::with_unit(best.mean, &comparison.metric.unit);
    let name = clean(&best.method);
    let direction = match comparison.metric.better {
        Better::Lower => "lowest",
        Better::Higher => "highest",
    };
    match (comparison.standing(best), &best.versus) {
        (Standing::Better, Some(versus)) => format!(
            "{name} has the {direction} {metric}, {value}, and is better than {baseline} on {} of {} seeds (p = {}).",
            versus.wins,
            best.values.len(),
            number::p_value(versus.p_value)
        )
        .replace("p = <", "p < "),
        (Standing::Baseline, _) => format!("No method does better than the baseline {baseline}, {value}."),
        _ => format!(
            "{name} has the {direction} {metric}, {value}, but {} seeds do not tell it from {baseline}.",
            best.values.len()
        ),
    }
}
