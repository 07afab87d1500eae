//! docs/evidence.md: what runs of the papers' claims found, from the records that `epoch0 verify --record evidence` keeps.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use epoch0::method::Expectation;
use epoch0_report::number::short;
use serde_json::Value;

const HEAD: &str = "\
<!-- Written by `cargo xtask gen` from evidence/. Run `epoch0 verify PAPER --record evidence` to change that. -->

# Evidence

What papers claim, as runs of `epoch0 verify` found it. A law is an identity, an effect is what training does at a scale \
that two cores can run; a claim that does not hold stands here with its numbers.

";

/// The page.
pub(crate) fn page(root: &Path) -> Result<String, String> {
    let mut records = BTreeMap::new();
    for entry in fs::read_dir(root.join("evidence")).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let record: Value =
            serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        records.insert(name, record);
    }
    let runs: Vec<&Value> = records.values().flat_map(runs).collect();
    let held = runs.iter().filter(|run| holds(run)).count();
    let mut out = format!("{HEAD}{held} of {} recorded claims hold.", runs.len());
    let machines: std::collections::BTreeSet<String> = runs.iter().map(|run| machine(run)).collect();
    let _ = writeln!(out, " They ran on {}.\n", machines.into_iter().collect::<Vec<_>>().join("; on "));
    for (name, record) in &records {
        let (number, title) =
            (record["paper"].as_u64().unwrap_or(0), record["title"].as_str().unwrap_or_default());
        let _ = writeln!(out, "## {number:03} {title}\n");
        out += "| claim | | found | wanted | seeds | time |\n|---|---|---|---|---|---|\n";
        runs_of(record, &mut out);
        let _ = writeln!(out, "\nRecord: [evidence/{name}](../evidence/{name})\n");
    }
    out += &unmeasured(&runs);
    Ok(out)
}

fn runs(record: &Value) -> impl Iterator<Item = &Value> {
    record["runs"].as_array().into_iter().flatten()
}

fn holds(run: &Value) -> bool {
    run["verdict"]["holds"] == true
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn machine(run: &Value) -> String {
    let machine = &run["machine"];
    let memory = machine["memory_gib"].as_f64().map_or_else(String::new, |gib| format!(", {gib} GiB"));
    format!("{} ({} threads{memory})", word(machine, "processor"), machine["threads"])
}

fn runs_of(record: &Value, out: &mut String) {
    for run in runs(record) {
        let verdict = &run["verdict"];
        let number = |value: &Value| value.as_f64().map_or_else(|| "none".to_owned(), short);
        let interval = match verdict["interval"].as_array() {
            Some(ends) => format!(" ({} to {})", number(&ends[0]), number(&ends[1])),
            None => String::new(),
        };
        let seconds = run["seconds"].as_f64().unwrap_or(f64::NAN);
        let _ = writeln!(
            out,
            "| `{}`: {} | {} | {}{interval} | {} | {} | {seconds:.0} s |",
            word(run, "claim"),
            word(run, "text"),
            if holds(run) { "holds" } else { "**does not hold**" },
            number(&verdict["measured"]),
            word(verdict, "bound"),
            run["seeds"],
        );
    }
}

/// Claims without a run on record.
fn unmeasured(runs: &[&Value]) -> String {
    let mut out = String::new();
    for entry in epoch0::methods() {
        let is_there = |name: &str| {
            runs.iter().any(|run| word(run, "method") == entry.info.id && word(run, "claim") == name)
        };
        for claim in entry.claims.iter().filter(|claim| !is_there(claim.name)) {
            let why = match claim.expectation {
                Expectation::NotMeasured { why } => format!(" ({why})"),
                _ => String::new(),
            };
            let _ = writeln!(out, "- `{}::{}`{why}: {}", entry.info.id, claim.name, claim.text);
        }
    }
    if out.is_empty() { out } else { format!("## Without a record\n\n{out}") }
}
