//! `epoch0 init --from`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use epoch0::format::Replace;
use epoch0::method::Value;
use epoch0::method::reading::ProbeSource;
use epoch0::{Calibrating, Descent, Described, Lineage, Options, Use};

use super::{Failure, Outcome};
use crate::args::Init;
use crate::number::{bytes, grouped, short};
use crate::table::{Align, FAINT, HEADING, Table};
use crate::terminal;

pub(super) fn run(
    args: &Init,
    described: &mut Described,
    (from, also): (&str, &[String]),
    with: &str,
    json: bool,
) -> Result<Outcome, Failure> {
    let set: BTreeMap<String, Value> =
        args.set.iter().map(|(name, value)| (name.clone(), Value::parse(value))).collect();
    let lineage = Lineage {
        from: from.to_owned(),
        also: also.to_vec(),
        method: with.to_owned(),
        set,
        data: args.calibrating.data.clone(),
        examples: args.calibrating.examples.map(|n| n as usize),
    };
    let mut recipe = described.usual_recipe();
    if let Some(base) = &args.base {
        recipe.base = Some(Use::new(base));
    }
    terminal::catch_interrupts();
    let bar = terminal::byte_bar(described.net.bytes(), "taking");
    let progress = |bytes| bar.inc(bytes);
    let options = Options {
        seed: args.seed,
        calibrating: Calibrating::default(),
        shard_size: args.shard_size,
        replace: if args.force { Replace::Checkpoint } else { Replace::Never },
        cancel: Some(&terminal::CANCELLED),
        progress: Some(&progress),
    };
    let out = args.out.as_deref().filter(|_| !args.dry_run);
    let report = epoch0::inherit(described, &lineage, &recipe, args.dtype, out, &options);
    bar.finish_and_clear();
    let report = report?;
    let text = if json { Outcome::json(&report)?.text } else { table(&report) };
    Ok(Outcome { text, holds: report.proof.is_none_or(|proof| proof.holds) })
}

/// Places for people: `every 2nd of 768`, `the first 512 of 1024`, `all 16 and 8 new`.
fn places(taken: &[Option<usize>], of: usize) -> String {
    let old: Vec<usize> = taken.iter().flatten().copied().collect();
    let n_new = taken.len() - old.len();
    if n_new > 0 {
        let is_before = taken[..old.len()].iter().all(Option::is_some);
        let among = if is_before { "" } else { " among them" };
        return format!(
            "{} and {n_new} new{among}",
            places(&old.into_iter().map(Some).collect::<Vec<_>>(), of)
        );
    }
    let steps: Vec<usize> = old.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    let n = old.len();
    if old.iter().copied().eq(0..of) {
        return format!("all {of}");
    }
    if n > of && old.iter().enumerate().all(|(at, &place)| place == at % of) {
        return format!("all {of}, repeated to {n}");
    }
    match (old.first(), steps.first()) {
        (Some(first), Some(&step)) if steps.iter().all(|other| *other == step) && step < of => {
            match (step, *first) {
                (1, 0) => format!("the first {n} of {of}"),
                (1, first) if first + n == of => format!("the last {n} of {of}"),
                (1, first) => format!("{first} to {} of {of}", first + n - 1),
                (step, first) => format!("{n} of {of}, every {step} from {first}"),
            }
        }
        _ => {
            let shown: Vec<String> = old.iter().take(6).map(ToString::to_string).collect();
            format!("{n} of {of}: {}{}", shown.join(", "), if n > 6 { ", …" } else { "" })
        }
    }
}

fn table(report: &Descent) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{HEADING}{}{HEADING:#} {} parameters · {} · {} · from {}, {} parameters{}, by {}\n",
        report.network,
        grouped(report.n_params[0]),
        report.dtype,
        bytes(report.bytes),
        report.lineage.named(),
        grouped(report.n_params[1]),
        if report.lineage.also.is_empty() { "" } else { " each" },
        report.lineage.method,
    );
    let shape = |shape: &[usize]| match shape {
        [] => "scalar".to_owned(),
        _ => shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×"),
    };
    let mut table = Table::new(&[
        ("parameter", Align::Left),
        ("×", Align::Right),
        ("shape", Align::Right),
        ("parent's", Align::Right),
        ("how", Align::Left),
    ]);
    for group in &report.groups {
        table.row(vec![
            group.name.clone(),
            group.n_params.to_string(),
            shape(&group.shape),
            group.of.as_deref().map_or_else(|| "–".to_owned(), shape),
            group.how.clone(),
        ]);
    }
    table.fit(terminal::width(), &["×", "parent's"]);
    out += &table.render();
    if !report.layers.is_empty() || !report.axes.is_empty() {
        let mut table = Table::new(&[("taken", Align::Left), ("which", Align::Left)]);
        for layers in &report.layers {
            let which = places(&layers.taken, layers.of);
            let silent = match &layers.silent[..] {
                [] => String::new(),
                silent => {
                    let numbers: Vec<String> = silent.iter().map(ToString::to_string).collect();
                    format!("; {} add nothing at the start", numbers.join(", "))
                }
            };
            table.row(vec![format!("layers of {}", layers.stack), which + &silent]);
        }
        for axis in &report.axes {
            table.row(vec![axis.axis.clone(), places(&axis.places, axis.of)]);
        }
        out.push('\n');
        out += &table.render();
    }
    if let Some(asked) = &report.asked {
        let why = match asked.source {
            ProbeSource::Data => "",
            ProbeSource::MatchedRandom => " that match the parent (no `--data` was given)",
        };
        let n = grouped(asked.n_examples as u64);
        let _ = writeln!(out, "\nscored on {n} examples of {}{why}", asked.name);
    }
    if let Some(epsilon) = report.epsilon {
        let _ = writeln!(out, "\nnormalizations have to add {} to the variance for this", short(epsilon));
    }
    for warning in &report.warnings {
        let _ = writeln!(out, "\nwarning: {warning}");
    }
    match (&report.proof, report.preserves && report.out.is_some()) {
        (Some(proof), _) => {
            let (word, than) =
                if proof.holds { ("stay", "no more than") } else { ("do not stay", "more than") };
            let _ = writeln!(
                out,
                "\nanswers {word}: they differ by {:.1e} of the largest, {than} the {:.0e} of rounding ({} examples, {})",
                proof.deviation, proof.tolerance, proof.asked.n_examples, proof.asked.name
            );
        }
        (None, true) => {
            out.push_str("\nanswers should stay; both networks are too large to be run here for a proof\n");
        }
        (None, false) => {}
    }
    if !report.copied.is_empty() {
        let _ = writeln!(out, "\n{FAINT}copied beside it: {}{FAINT:#}", report.copied.join(", "));
    }
    match (&report.out, report.seconds) {
        (Some(folder), Some(seconds)) => {
            let n = report.files.len();
            let files = if n == 1 { "1 file".to_owned() } else { format!("{n} files") };
            let _ = writeln!(out, "\nwrote {folder}/ · {files} · {} in {seconds:.1} s", bytes(report.bytes));
        }
        _ => out.push_str("\nnothing was written (dry run)\n"),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::places;

    #[test]
    fn places_in_words() {
        let old =
            |taken: &[usize], of| places(&taken.iter().map(|&place| Some(place)).collect::<Vec<_>>(), of);
        assert_eq!(old(&[0, 1, 2], 3), "all 3");
        assert_eq!(old(&[0, 1], 4), "the first 2 of 4");
        assert_eq!(old(&[2, 3], 4), "the last 2 of 4");
        assert_eq!(old(&[0, 2, 4], 6), "3 of 6, every 2 from 0");
        assert_eq!(old(&[0, 3, 5], 6), "3 of 6: 0, 3, 5");
        assert_eq!(old(&[], 0), "all 0");
        assert_eq!(old(&[0, 1, 2, 0, 1, 2], 3), "all 3, repeated to 6");
        assert_eq!(places(&[Some(0), Some(1), None], 2), "all 2 and 1 new");
        assert_eq!(places(&[Some(0), None, Some(1)], 2), "all 2 and 1 new among them");
    }
}
