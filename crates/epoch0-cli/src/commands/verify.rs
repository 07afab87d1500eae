//! `epoch0 verify`: runs claims, and keeps records of what they found.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use epoch0::format::write_file_atomically;
use epoch0::method::{Bibliography, Claim, ClaimKind, Expectation, Paper, Verdict};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Failure, Outcome, cite};
use crate::args::Verify;
use crate::number::short;
use crate::table::{BAD, FAINT, GOOD, NAME};
use crate::terminal;

#[derive(Serialize)]
struct Run {
    method: &'static str,
    claim: &'static str,
    text: &'static str,
    kind: ClaimKind,
    expected: Expectation,
    seeds: u32,
    seconds: f64,
    verdict: Verdict,
}

pub(super) fn run(args: &Verify, json: bool) -> Result<Outcome, Failure> {
    let is_asked = |claim: &Claim| {
        args.claim.as_ref().is_none_or(|text| claim.name.contains(text.as_str()))
            && args.kind.is_none_or(|kind| claim.kind == kind.into())
    };
    let claims: Vec<_> = claims(&args.what)?.into_iter().filter(|(_, claim)| is_asked(claim)).collect();
    if claims.is_empty() {
        return Err(Failure::Unknown {
            what: "claim of",
            given: args.what.clone(),
            hint: "`epoch0 explain ID` lists a method's claims".to_owned(),
        });
    }
    let mut runs = Vec::new();
    for (method, claim) in claims {
        let begun = Instant::now();
        let spinner = terminal::spinner(format!("{method}::{} (up to {} s)", claim.name, claim.budget_s));
        let verdict = (claim.run)();
        spinner.finish_and_clear();
        let run = Run {
            method,
            claim: claim.name,
            text: claim.text,
            kind: claim.kind,
            expected: claim.expectation,
            seeds: claim.seeds,
            seconds: begun.elapsed().as_secs_f64(),
            verdict: verdict?,
        };
        if let Some(folder) = &args.record {
            record(folder, &run)?;
        }
        runs.push(run);
    }
    let holds = runs.iter().all(|run| run.verdict.holds);
    let text = if json { Outcome::json(&runs)?.text } else { runs.iter().map(show).collect() };
    Ok(Outcome { text, holds })
}

/// Puts a run into the records of its method's papers, in the place of an earlier one.
fn record(folder: &Path, run: &Run) -> Result<(), Failure> {
    let keys = epoch0::method(run.method)?.info.papers;
    let papers = keys.iter().filter_map(|key| Bibliography::get().find(key));
    for paper in papers.filter(|paper| paper.number.is_some()) {
        let path = folder.join(record_name(paper));
        let mut runs = earlier(&path)?;
        let mut own = serde_json::to_value(run).map_err(|error| Failure::Output(error.to_string()))?;
        own["machine"] = machine();
        own["version"] = env!("CARGO_PKG_VERSION").into();
        match runs.iter_mut().find(|old| old["method"] == run.method && old["claim"] == run.claim) {
            Some(old) => *old = own,
            None => runs.push(own),
        }
        let record = json!({ "paper": paper.number, "key": paper.key, "title": paper.title, "runs": runs });
        std::fs::create_dir_all(folder)
            .map_err(|source| Failure::File { path: folder.to_owned(), source })?;
        let text = Outcome::json(&record)?.text;
        write_file_atomically(&path, text.as_bytes())?;
    }
    Ok(())
}

fn record_name(paper: &Paper) -> String {
    let slug = paper.slug.as_deref().unwrap_or(&paper.key);
    format!("{:03}-{slug}.json", paper.number.unwrap_or(0))
}

/// What a record holds already.
fn earlier(path: &Path) -> Result<Vec<Value>, Failure> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Failure::File { path: path.to_owned(), source }),
    };
    let runs =
        serde_json::from_slice::<Value>(&text).ok().and_then(|record| record["runs"].as_array().cloned());
    runs.ok_or_else(|| Failure::NoRecord(path.to_owned()))
}

/// The size of the machine, as far as it says.
fn machine() -> Value {
    let line = |path: &str, name: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        let (_, value) =
            text.lines().find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name))?;
        Some(value.trim().to_owned())
    };
    let kib = line("/proc/meminfo", "MemTotal")
        .and_then(|text| text.trim_end_matches("kB").trim().parse::<f64>().ok());
    json!({
        "processor": line("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        "threads": rayon::current_num_threads(),
        "memory_gib": kib.map(|kib| (kib / f64::from(1 << 20)).round()),
    })
}

fn claims(what: &str) -> Result<Vec<(&'static str, &'static Claim)>, Failure> {
    let of = |method: epoch0::Method| method.claims.iter().map(move |claim| (method.info.id, claim));
    if what == "all" {
        return Ok(epoch0::methods().into_iter().flat_map(of).collect());
    }
    if what.parse::<u32>().is_ok() {
        let key = cite::papers(what)?[0].key.as_str();
        let methods = epoch0::methods().into_iter().filter(|method| method.info.papers.contains(&key));
        return Ok(methods.flat_map(of).collect());
    }
    Ok(of(epoch0::method(what)?).collect())
}

fn show(run: &Run) -> String {
    let mut out = String::new();
    let (style, word) = match (run.verdict.holds, run.expected) {
        (true, _) => (GOOD, "holds"),
        (false, Expectation::NotReproduced { .. }) => (BAD, "does not hold (known)"),
        (false, Expectation::Holds | Expectation::NotMeasured { .. }) => (BAD, "does not hold"),
    };
    let _ = writeln!(out, "{style}{word}{style:#} {NAME}{}::{}{NAME:#} {}", run.method, run.claim, run.text);
    let interval = run
        .verdict
        .interval
        .map_or_else(String::new, |(low, high)| format!(" (95 % in {} to {})", short(low), short(high)));
    let _ = writeln!(
        out,
        "  measured {}{interval}, wanted {}; {} seeds, {:.1} s",
        short(run.verdict.measured),
        run.verdict.bound,
        run.seeds,
        run.seconds
    );
    for line in &run.verdict.details {
        let _ = writeln!(out, "  {FAINT}{line}{FAINT:#}");
    }
    if let Expectation::NotReproduced { why } = run.expected {
        let _ = writeln!(out, "  {FAINT}not reproduced: {why}{FAINT:#}");
    }
    out
}
