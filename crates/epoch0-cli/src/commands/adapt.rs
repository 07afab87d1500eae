//! `epoch0 init --with` a method that starts adapters.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use epoch0::data::Dataset;
use epoch0::format::Replace;
use epoch0::inheriting::adapter::{Form, find};
use epoch0::method::Value;
use epoch0::num::Dtype;
use epoch0::{Adapted, Adapting, Calibrating, Described, Options, adapt, bytes_to_adapt};

use super::{Failure, Outcome};
use crate::args::Init;
use crate::number::{grouped, short};
use crate::table::{Align, BAD, FAINT, HEADING, Table};
use crate::terminal;

/// The method, where it starts adapters; what goes with them makes no sense elsewhere.
pub(super) fn method(args: &Init) -> Result<Option<&str>, Failure> {
    if let Some(with) = &args.with {
        // Names that are close are of all families.
        epoch0::method(with)?;
    }
    let with = args.with.as_deref().filter(|with| find(with).is_ok());
    match (with, args.adapter.given()) {
        (None, Some(option)) => {
            Err(Failure::NoAdapter { option, method: args.with.clone().unwrap_or_default() })
        }
        (Some(with), _) if !args.from.is_empty() => Err(Failure::Unknown {
            what: "way to inherit",
            given: with.to_owned(),
            hint: "an adapter stands beside NET itself: leave `--from` out".to_owned(),
        }),
        (with, _) => Ok(with),
    }
}

pub(super) fn run(args: &Init, described: &Described, with: &str, json: bool) -> Result<Outcome, Failure> {
    let set: BTreeMap<String, Value> =
        args.set.iter().map(|(name, value)| (name.clone(), Value::parse(value))).collect();
    let adapting = Adapting { method: find(with)?.info.id.to_owned(), set, config: args.adapter.config() };
    let data = args.calibrating.data.as_deref().map(|spec| Ok::<_, Failure>((spec, Dataset::open(spec)?)));
    let data = data.transpose()?;
    terminal::catch_interrupts();
    let bar = terminal::byte_bar(bytes_to_adapt(described, &adapting)?, "adapting");
    let progress = |bytes| bar.inc(bytes);
    let options = Options {
        seed: args.seed,
        calibrating: Calibrating {
            data: data.as_ref().map(|(spec, data)| (*spec, data)),
            examples: args.calibrating.examples.map(|n| n as usize),
        },
        shard_size: args.shard_size,
        replace: if args.force { Replace::Checkpoint } else { Replace::Never },
        cancel: Some(&terminal::CANCELLED),
        progress: Some(&progress),
    };
    let out = args.out.as_deref().filter(|_| !args.dry_run);
    let report = adapt(described, &adapting, args.dtype.unwrap_or(Dtype::F32), out, &options);
    bar.finish_and_clear();
    let report = report?;
    let text = if json { Outcome::json(&report)?.text } else { table(&report) };
    Ok(Outcome { text, holds: true })
}

fn table(report: &Adapted) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{HEADING}{}{HEADING:#} {} parameters · an adapter of {} by {} · {} · seed {}\n",
        report.network,
        grouped(report.n_params[0]),
        grouped(report.n_params[1]),
        report.adapting.method,
        report.dtype,
        report.seed
    );
    let mut table = Table::new(&[
        ("module", Align::Left),
        ("×", Align::Right),
        ("out×in", Align::Right),
        ("rank", Align::Right),
        ("scale", Align::Right),
    ]);
    for group in &report.groups {
        table.row(vec![
            group.module.clone(),
            group.n.to_string(),
            format!("{}×{}", group.shape[0], group.shape[1]),
            group.rank.to_string(),
            short(group.scale),
        ]);
    }
    table.fit(terminal::width(), &["×"]);
    out += &table.render();
    let said = match report.form {
        Form::Plain => "it adds nothing yet",
        Form::Doubled => "its second half takes away what the first adds: the network stays",
        Form::Residual => "the network beside it has lost what it adds",
        Form::Replaced => "the network beside it is another",
    };
    let _ = writeln!(out, "\n{FAINT}{said}{FAINT:#}");
    for warning in &report.warnings {
        let _ = writeln!(out, "{BAD}{warning}{BAD:#}");
    }
    match (&report.out, report.seconds) {
        (Some(folder), Some(seconds)) => {
            let _ = writeln!(out, "\nwrote {folder}/ in {seconds:.1} s");
            if let Some(base) = &report.base_out {
                let _ = writeln!(out, "wrote {base}/, the network that it stands beside now");
            }
        }
        _ => out.push_str("\nnothing was written (dry run)\n"),
    }
    out
}
