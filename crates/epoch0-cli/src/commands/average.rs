//! `epoch0 average`.

use std::fmt::Write as _;

use epoch0::checkpoint;
use epoch0::format::Replace;
use epoch0::method::Value;
use epoch0::{Average as Report, Merging, Options};

use super::{Failure, Outcome};
use crate::args::Average;
use crate::number::{bytes, grouped, short};
use crate::table::{Align, FAINT, HEADING, NAME, Table};
use crate::terminal;

pub(super) fn run(args: &Average, json: bool) -> Result<Outcome, Failure> {
    let merging = Merging {
        parents: args.networks.clone(),
        weights: args.weights.clone(),
        method: args.with.clone(),
        set: args.set.iter().map(|(name, value)| (name.clone(), Value::parse(value))).collect(),
        dtype: args.dtype,
        align: args.align.then(|| "git_rebasin".to_owned()),
    };
    terminal::catch_interrupts();
    let total = args
        .networks
        .first()
        .map(|given| checkpoint(given))
        .transpose()?
        .map_or(0, |first| first.total_bytes());
    let bar = terminal::byte_bar(total, "averaging");
    let progress = |bytes| bar.inc(bytes);
    let options = Options {
        seed: args.seed,
        shard_size: args.shard_size,
        replace: if args.force { Replace::Checkpoint } else { Replace::Never },
        cancel: Some(&terminal::CANCELLED),
        progress: Some(&progress),
        ..Options::default()
    };
    let out = args.out.as_deref().filter(|_| !args.dry_run);
    let report = epoch0::average(&merging, out, &options);
    bar.finish_and_clear();
    let report = report?;
    let text = if json { Outcome::json(&report)?.text } else { table(&report) };
    Ok(Outcome::text(text))
}

/// A number, or a dash for none.
fn number(value: f64) -> String {
    if value.is_nan() { "–".to_owned() } else { short(value) }
}

fn table(report: &Report) -> String {
    let mut out = String::new();
    let shares = report.shares.iter().map(|&share| short(share)).collect::<Vec<_>>().join(", ");
    let _ = writeln!(
        out,
        "{HEADING}{}{HEADING:#} {} elements · {} · {} · {} of {} networks, shares {shares}\n",
        report.network.as_deref().unwrap_or("a network"),
        grouped(report.n_elements),
        report.dtype,
        bytes(report.bytes),
        report.merging.method,
        report.shares.len(),
    );
    for moved in &report.aligned {
        let places: usize = moved.axes.iter().map(|(_, _, moved)| moved).sum();
        let of: usize = moved.axes.iter().map(|(_, size, _)| size).sum();
        let _ = writeln!(
            out,
            "{NAME}{}{NAME:#} aligned: {} of {} places of {} axes moved in {} sweeps, sum of products {} to {}",
            moved.parent,
            grouped(places as u64),
            grouped(of as u64),
            moved.axes.len(),
            moved.sweeps,
            short(moved.objective[0]),
            short(moved.objective[1]),
        );
    }
    if !report.aligned.is_empty() {
        out.push('\n');
    }
    let mut table = Table::new(&[
        ("tensor", Align::Left),
        ("×", Align::Right),
        ("shape", Align::Right),
        ("σ of each", Align::Right),
        ("correlation", Align::Right),
        ("σ predicted", Align::Right),
        ("σ of the mean", Align::Right),
        ("factor", Align::Right),
        ("how", Align::Left),
    ]);
    for group in &report.groups {
        let shape = match &group.shape[..] {
            [] => "scalar".to_owned(),
            shape => shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×"),
        };
        let mut row = vec![group.name.clone(), group.n_tensors.to_string(), shape];
        match &group.spread {
            Some(spread) => {
                row.push(each(&spread.std));
                row.extend([spread.correlation, spread.predicted, spread.measured].map(number));
                row.push(if group.how == "corrected" { number(spread.factor) } else { "–".to_owned() });
            }
            None => row.extend((0..5).map(|_| "–".to_owned())),
        }
        row.push(group.how.to_owned());
        table.row(row);
    }
    table.fit(terminal::width(), &["×", "σ predicted", "shape"]);
    out += &table.render();
    for note in &report.notes {
        let _ = writeln!(out, "\nnote: {note}");
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

/// The standard deviations of up to three networks, of more the smallest and largest.
fn each(stds: &[f64]) -> String {
    if stds.len() <= 3 {
        return stds.iter().map(|&std| number(std)).collect::<Vec<_>>().join(" ");
    }
    let low = stds.iter().copied().fold(f64::INFINITY, f64::min);
    let high = stds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} to {}", number(low), number(high))
}
