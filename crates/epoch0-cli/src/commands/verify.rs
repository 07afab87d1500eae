//! `epoch0 verify`: runs claims.

use std::fmt::Write as _;
use std::time::Instant;

use epoch0::method::{Claim, Expectation, Verdict};
use serde::Serialize;

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
    expected: Expectation,
    seeds: u32,
    seconds: f64,
    verdict: Verdict,
}

pub(super) fn run(args: &Verify, json: bool) -> Result<Outcome, Failure> {
    let claims: Vec<_> = claims(&args.what)?
        .into_iter()
        .filter(|(_, claim)| args.claim.as_ref().is_none_or(|text| claim.name.contains(text.as_str())))
        .collect();
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
        let verdict = verdict?;
        runs.push(Run {
            method,
            claim: claim.name,
            text: claim.text,
            expected: claim.expectation,
            seeds: claim.seeds,
            seconds: begun.elapsed().as_secs_f64(),
            verdict,
        });
    }
    let holds = runs.iter().all(|run| run.verdict.holds);
    let text = if json { Outcome::json(&runs)?.text } else { runs.iter().map(show).collect() };
    Ok(Outcome { text, holds })
}

fn claims(what: &str) -> Result<Vec<(&'static str, &'static Claim)>, Failure> {
    let of = |method: epoch0::Method| method.claims.iter().map(move |claim| (method.info.id, claim));
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
        (false, Expectation::Holds) => (BAD, "does not hold"),
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
