//! `epoch0 diff`.

use std::fmt::Write as _;

use epoch0::format::{Checkpoint, write_file_atomically};
use epoch0::{Comparing, Diff as Found};

use super::{Failure, Outcome};
use crate::args::Diff;
use crate::number::short;
use crate::table::{Align, FAINT, HEADING, Table};
use crate::terminal;

pub(super) fn run(args: &Diff, json: bool) -> Result<Outcome, Failure> {
    terminal::catch_interrupts();
    let bar = terminal::byte_bar(Checkpoint::open(&args.second)?.total_bytes(), "comparing");
    let progress = |bytes| bar.inc(bytes);
    let how = Comparing { cancel: Some(&terminal::CANCELLED), progress: Some(&progress) };
    let found = epoch0::diff(&args.first, &args.second, &how);
    bar.finish_and_clear();
    let found = found?;
    if let Some(path) = &args.report {
        write_file_atomically(path, epoch0_report::html(&found.document()).as_bytes())?;
    }
    let mut text = if json { Outcome::json(&found)?.text } else { table(&found) };
    if let (Some(path), false) = (&args.report, json) {
        let _ = writeln!(text, "\nreport: {}", path.display());
    }
    Ok(Outcome { text, holds: found.is_same() || !args.strict })
}

fn table(found: &Found) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{HEADING}{}{HEADING:#} · A {} · B {}\n", found.outcome, found.first, found.second);
    let mut table = Table::new(&[
        ("tensor", Align::Left),
        ("×", Align::Right),
        ("shape", Align::Right),
        ("B is", Align::Left),
        ("distance", Align::Right),
        ("cosine", Align::Right),
        ("correlation", Align::Right),
        ("which", Align::Left),
    ]);
    let number = |value: Option<f64>| match value {
        Some(value) if !value.is_nan() => short(value),
        _ => "–".to_owned(),
    };
    for group in &found.groups {
        let shape = match &group.shape[..] {
            [] => "scalar".to_owned(),
            shape => shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×"),
        };
        let distance = match group.relative {
            Some([low, high]) if short(low) != short(high) => format!("{} to {}", short(low), short(high)),
            other => number(other.map(|[_, high]| high)),
        };
        table.row(vec![
            group.name.clone(),
            group.n_tensors.to_string(),
            shape,
            group.relation.to_owned(),
            distance,
            number(group.cosine),
            number(group.correlation),
            group.details.clone(),
        ]);
    }
    table.fit(terminal::width(), &["×", "correlation", "shape", "cosine"]);
    out += &table.render();
    let _ = writeln!(out, "\n{}", found.summary());
    if let Some(words) = found.layer_words() {
        let _ = writeln!(out, "layers: {words}");
    }
    for receipt in &found.receipts {
        let _ = writeln!(out, "{FAINT}{receipt}{FAINT:#}");
    }
    out
}
