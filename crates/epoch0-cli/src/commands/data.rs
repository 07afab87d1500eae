//! `epoch0 data`: what `--data` understands, and fetching public sets.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use epoch0::data::{fetch, make, open};
use serde::Serialize;

use super::{Failure, Outcome};
use crate::args::Data;
use crate::table::{Align, Table};
use crate::terminal;

#[derive(Serialize)]
struct Row {
    name: &'static str,
    syntax: &'static str,
    text: &'static str,
    kind: &'static str,
    can_be_fetched: bool,
}

pub(super) fn run(args: &Data, json: bool) -> Result<Outcome, Failure> {
    match args {
        Data::List => list(json),
        Data::Fetch { name, cache } => fetch_set(name, cache.clone(), json),
    }
}

fn list(json: bool) -> Result<Outcome, Failure> {
    let can_be_fetched = |name: &str| fetch::KNOWN.iter().any(|set| set.name == name);
    let sets = open::KNOWN.iter().map(|entry| (entry.name, entry.syntax, entry.text, "set"));
    let made = make::KNOWN.iter().map(|entry| (entry.name, entry.syntax, entry.text, "generator"));
    let rows: Vec<Row> = sets
        .chain(made)
        .map(|(name, syntax, text, kind)| Row {
            name,
            syntax,
            text,
            kind,
            can_be_fetched: can_be_fetched(name),
        })
        .collect();
    if json {
        return Outcome::json(&rows);
    }
    let mut table = Table::new(&[
        ("name", Align::Left),
        ("kind", Align::Left),
        ("fetched by name", Align::Left),
        ("what it is", Align::Left),
        ("options", Align::Left),
    ]);
    for row in rows {
        let fetched = if row.can_be_fetched { "yes" } else { "" };
        table.row(vec![
            row.name.to_owned(),
            row.kind.to_owned(),
            fetched.to_owned(),
            row.text.to_owned(),
            row.syntax.to_owned(),
        ]);
    }
    table.fit(terminal::width(), &["options", "fetched by name"]);
    Ok(Outcome::text(
        table.render() + "\nPaths work too: folders of images, IDX, CIFAR, CSV, NPY, NPZ, text.\n",
    ))
}

#[derive(Serialize)]
struct Fetched {
    name: String,
    folder: String,
}

fn fetch_set(name: &str, cache: Option<PathBuf>, json: bool) -> Result<Outcome, Failure> {
    let Some(cache) = cache.or_else(fetch::cache_folder) else {
        return Err(Failure::Unknown {
            what: "cache folder of",
            given: name.to_owned(),
            hint: "no home folder is known: give --cache FOLDER".to_owned(),
        });
    };
    terminal::catch_interrupts();
    let bar = terminal::byte_bar(0, "fetching");
    let folder = fetch::fetch(name, &cache, fetch::Options::default(), &mut |progress| {
        bar.set_message(progress.file.to_owned());
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        match terminal::CANCELLED.load(Ordering::SeqCst) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    bar.finish_and_clear();
    let fetched = Fetched { name: name.to_owned(), folder: folder?.display().to_string() };
    if json { Outcome::json(&fetched) } else { Ok(Outcome::text(fetched.folder + "\n")) }
}
