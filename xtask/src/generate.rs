//! `cargo xtask gen`: docs/methods, a page for each method and one that lists them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use epoch0::Method;
use epoch0::method::{Bibliography, Expectation};

use crate::evidence;

const NOTE: &str = "<!-- Written by `cargo xtask gen` from the method's source file. Change that. -->\n\n";

/// Writes the pages, or checks that they are what would be written.
pub(crate) fn run(root: &Path, check: bool) -> Result<String, String> {
    let methods = methods(root, check)?;
    let (path, text) = (root.join("docs/evidence.md"), evidence::page(root)?);
    let is_fresh = fs::read_to_string(&path).ok().as_deref() == Some(&text);
    match (is_fresh, check) {
        (true, _) => {}
        (false, true) => return Err("docs/evidence.md is stale: run `cargo xtask gen`".to_owned()),
        (false, false) => {
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(methods)
}

fn methods(root: &Path, check: bool) -> Result<String, String> {
    let folder = root.join("docs/methods");
    let pages = pages();
    let mut stale = Vec::new();
    for (name, text) in &pages {
        let path = folder.join(name);
        if fs::read_to_string(&path).ok().as_deref() != Some(text) {
            stale.push(name.clone());
            if !check {
                fs::create_dir_all(&folder)
                    .and_then(|()| fs::write(&path, text))
                    .map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
    }
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !pages.contains_key(&name) {
            if !check {
                fs::remove_file(entry.path())
                    .map_err(|error| format!("{}: {error}", entry.path().display()))?;
            }
            stale.push(name);
        }
    }
    match (stale.is_empty(), check) {
        (true, _) => Ok(format!("docs/methods is fresh, {} pages", pages.len())),
        (false, false) => Ok(format!("docs/methods: {} pages written", stale.len())),
        (false, true) => Err(format!("docs/methods is stale ({}): run `cargo xtask gen`", stale.join(", "))),
    }
}

fn pages() -> BTreeMap<String, String> {
    let mut pages: BTreeMap<_, _> =
        epoch0::methods().iter().map(|entry| (format!("{}.md", entry.info.id), page(entry))).collect();
    let mut index = format!("{NOTE}# Methods\n\n| id | also | what it does | papers |\n|---|---|---|---|\n");
    for entry in epoch0::methods() {
        let info = entry.info;
        let papers: Vec<_> = info.papers.iter().map(|key| format!("[{key}]")).collect();
        let also: Vec<_> = info.aliases.iter().map(|alias| format!("`{alias}`")).collect();
        let (id, summary) = (info.id, info.summary());
        let _ =
            writeln!(index, "| [`{id}`]({id}.md) | {} | {summary} | {} |", also.join(", "), papers.join(" "));
    }
    pages.insert("README.md".to_owned(), index);
    pages
}

fn page(entry: &Method) -> String {
    let info = entry.info;
    let mut out = format!("{NOTE}# `{}`\n\n", info.id);
    if !info.aliases.is_empty() {
        let also: Vec<_> = info.aliases.iter().map(|alias| format!("`{alias}`")).collect();
        let _ = writeln!(out, "Also known as {}.\n", also.join(", "));
    }
    let mut in_code = false;
    for line in info.doc().lines() {
        in_code ^= line.starts_with("```");
        match line.strip_prefix("# ").filter(|_| !in_code) {
            Some(heading) => {
                if heading == "Cost" {
                    out += &params(entry);
                }
                let _ = writeln!(out, "## {heading}");
            }
            None => {
                let _ = writeln!(out, "{line}");
            }
        }
    }
    if !entry.claims.is_empty() {
        let _ = writeln!(out, "\n## Claims\n\n`epoch0 verify {}` runs them.\n", info.id);
        for claim in entry.claims {
            let _ = writeln!(out, "- `{}`: {}", claim.name, claim.text);
            let _ = match claim.expectation {
                Expectation::Holds => Ok(()),
                Expectation::NotReproduced { why } => {
                    writeln!(out, "  **Not reproduced at this scale**: {why}.")
                }
                Expectation::NotMeasured { why } => writeln!(out, "  **Not measured yet**: {why}."),
            };
        }
    }
    out.push_str("\n## Papers\n\n");
    for paper in info.papers.iter().filter_map(|key| Bibliography::get().find(key)) {
        let _ = writeln!(out, "- [{}] {}", paper.key, paper.line());
    }
    out
}

fn params(entry: &Method) -> String {
    if entry.info.params.is_empty() {
        return String::new();
    }
    let mut out = "## Parameters\n\n| name | default | allowed | meaning |\n|---|---|---|---|\n".to_owned();
    for parameter in entry.info.params {
        let (default, allowed) = ((parameter.default)(), parameter.allowed());
        let _ = writeln!(out, "| `{}` | {default} | {allowed} | {} |", parameter.name, parameter.doc);
    }
    out + "\n"
}
