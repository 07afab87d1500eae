//! `epoch0 explain`.

use std::fmt::Write as _;

use epoch0::method::{Bibliography, Parameter};
use serde::Serialize;

use super::{Failure, Outcome};
use crate::args::Explain;
use crate::table::{FAINT, HEADING, NAME};

#[derive(Serialize)]
struct Explained {
    id: &'static str,
    aliases: &'static [&'static str],
    summary: String,
    doc: String,
    random: bool,
    params: Vec<Param>,
    papers: &'static [&'static str],
    claims: Vec<Claim>,
}

#[derive(Serialize)]
struct Param {
    name: &'static str,
    doc: &'static str,
    symbol: &'static str,
    unit: &'static str,
    default: String,
    allowed: String,
}

#[derive(Serialize)]
struct Claim {
    name: &'static str,
    text: &'static str,
}

pub(super) fn run(args: &Explain, json: bool) -> Result<Outcome, Failure> {
    let entry = epoch0::method(&args.id)?;
    let info = entry.info;
    if args.source {
        return Ok(Outcome::text(info.source));
    }
    let explained = Explained {
        id: info.id,
        aliases: info.aliases,
        summary: info.summary(),
        doc: info.doc(),
        random: info.random,
        params: info.params.iter().map(param).collect(),
        papers: info.papers,
        claims: entry.claims.iter().map(|claim| Claim { name: claim.name, text: claim.text }).collect(),
    };
    if json { Outcome::json(&explained) } else { Ok(Outcome::text(page(&explained))) }
}

fn param(parameter: &Parameter) -> Param {
    Param {
        name: parameter.name,
        doc: parameter.doc,
        symbol: parameter.symbol,
        unit: parameter.unit,
        default: (parameter.default)().to_string(),
        allowed: parameter.allowed(),
    }
}

fn page(explained: &Explained) -> String {
    let mut out = String::new();
    let _ = write!(out, "{NAME}{}{NAME:#}", explained.id);
    if !explained.aliases.is_empty() {
        let _ = write!(out, " {FAINT}also {}{FAINT:#}", explained.aliases.join(", "));
    }
    out.push('\n');
    let mut in_code = false;
    for line in explained.doc.lines() {
        in_code ^= line.starts_with("```");
        match line.strip_prefix("# ") {
            Some(heading) if !in_code => {
                if heading == "Cost" {
                    params(&mut out, explained);
                }
                let _ = writeln!(out, "{HEADING}{heading}{HEADING:#}");
            }
            _ => {
                let _ = writeln!(out, "{line}");
            }
        }
    }
    if !explained.claims.is_empty() {
        let _ =
            writeln!(out, "\n{HEADING}Claims{HEADING:#} (run them with `epoch0 verify {}`)", explained.id);
        for claim in &explained.claims {
            let _ = writeln!(out, "- {NAME}{}{NAME:#}: {}", claim.name, claim.text);
        }
    }
    let papers = explained.papers.iter().filter_map(|key| Bibliography::get().find(key));
    for paper in papers {
        let number = paper.number.map_or_else(String::new, |number| format!("paper {number}, "));
        let _ = writeln!(out, "{FAINT}[{number}{}] {}{FAINT:#}", paper.key, paper.line());
    }
    out
}

fn params(out: &mut String, explained: &Explained) {
    if explained.params.is_empty() {
        return;
    }
    let _ = writeln!(out, "{HEADING}Parameters{HEADING:#} (`--set NAME=VALUE`)");
    for param in &explained.params {
        let _ = writeln!(
            out,
            "- {NAME}{}{NAME:#} [{}]: {} Allowed: {}.",
            param.name, param.default, param.doc, param.allowed
        );
    }
    out.push('\n');
}
