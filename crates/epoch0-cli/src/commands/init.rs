//! `epoch0 init`.

use std::fmt::Write as _;

use epoch0::data::Dataset;
use epoch0::format::Replace;
use epoch0::method::Family;
use epoch0::net::Source;
use epoch0::{Calibrating, Described, Options, Recipe, Report, initialize, plan};

use super::start::Choice;
use super::{Failure, Outcome, adapt, calibration, inherit};
use crate::args::{CalibratingArgs, Init};
use crate::number::{bytes, grouped, short};
use crate::table::{Align, FAINT, HEADING, Table};
use crate::terminal;

pub(super) fn run(args: &Init, json: bool) -> Result<Outcome, Failure> {
    let mut described = Described::open_with(&args.net, args.any_key)?;
    if let Some(with) = adapt::method(args)? {
        return adapt::run(args, &described, with, json);
    }
    if let ([from, also @ ..], Some(with)) = (&args.from[..], &args.with) {
        return inherit::run(args, &mut described, (from, also), with, json);
    }
    if let Some(entry) = args.with.as_deref().and_then(|with| epoch0::inheriting::find(with).ok()) {
        return Err(Failure::NoParent { method: entry.info.id });
    }
    let named = args.with.as_deref().and_then(|with| epoch0::method(with).ok());
    if let Some(method) = named.filter(|method| method.info.family == Family::Merge) {
        return Err(epoch0::method::Error::Unsupported {
            method: method.info.id.to_owned(),
            what: "a start".to_owned(),
            why: "it makes one network of several".to_owned(),
            hint: "`epoch0 average A B -o OUT` averages checkpoints, `--align` aligns them first".to_owned(),
        }
        .into());
    }
    if let Some(dtype) = args.dtype {
        described.set_dtype(dtype);
    }
    let choice = Choice {
        with: args.with.as_deref(),
        set: &args.set,
        base_shapes: args.base_shapes.as_deref(),
        base: args.base.as_deref(),
        recipe: args.recipe.as_deref(),
    };
    let recipe = choice.recipe(&described)?;
    let data = calibrating_data(&args.calibrating, &choice, &recipe)?;
    let calibrating = Calibrating {
        data: data.as_ref().map(|(spec, data)| (*spec, data)),
        examples: args.calibrating.examples.map(|n| n as usize),
    };
    let report = match &args.out {
        Some(out) if !args.dry_run => {
            terminal::catch_interrupts();
            let bar = terminal::byte_bar(described.net.bytes(), "drawing");
            let progress = |bytes| bar.inc(bytes);
            let options = Options {
                seed: args.seed,
                calibrating,
                shard_size: args.shard_size,
                replace: if args.force { Replace::Checkpoint } else { Replace::Never },
                cancel: Some(&terminal::CANCELLED),
                progress: Some(&progress),
            };
            let report = initialize(&described, &recipe, out, &options);
            bar.finish_and_clear();
            report?
        }
        _ => plan(&described, &recipe, args.seed)?,
    };
    let is_met = report.calibrated.as_ref().is_none_or(|done| done.calibration.missed().next().is_none());
    let text = if json { Outcome::json(&report)?.text } else { table(&report) };
    Ok(Outcome { text, holds: is_met || !args.calibrating.strict })
}

/// The data that were named; naming them, or what goes with them, makes no sense where nothing looks at them.
fn calibrating_data<'a>(
    args: &'a CalibratingArgs,
    choice: &Choice<'_>,
    recipe: &Recipe,
) -> Result<Option<(&'a str, Dataset)>, Failure> {
    let given =
        [("--data", args.data.is_some()), ("--examples", args.examples.is_some()), ("--strict", args.strict)];
    if let (None, Some((option, _))) = (&recipe.calibrate, given.iter().find(|(_, is_given)| *is_given)) {
        return Err(Failure::NoCalibration { option, start: choice.name(recipe) });
    }
    args.data.as_deref().map(|spec| Ok((spec, Dataset::open(spec)?))).transpose()
}

fn table(report: &Report) -> String {
    let mut out = String::new();
    let kind = match &report.source {
        Source::HuggingFace { architecture, .. } => architecture.as_str(),
        Source::Zoo { .. } => "zoo",
        Source::Onnx { .. } => "ONNX",
        _ => "network",
    };
    let _ = writeln!(
        out,
        "{HEADING}{}{HEADING:#} {kind} · {} parameters · {} · {} · seed {}\n",
        report.network,
        grouped(report.n_params),
        report.dtype,
        bytes(report.bytes),
        report.seed
    );
    let mut table = Table::new(&[
        ("parameter", Align::Left),
        ("×", Align::Right),
        ("shape", Align::Right),
        ("role", Align::Left),
        ("method", Align::Left),
        ("rule", Align::Left),
        ("law", Align::Left),
        ("fan in", Align::Right),
        ("fan out", Align::Right),
        ("std asked", Align::Right),
        ("measured", Align::Right),
    ]);
    for group in &report.groups {
        let fan = |fan: Option<f64>| fan.map_or_else(|| "–".to_owned(), |fan| fan.to_string());
        let shape = group.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×");
        table.row(vec![
            group.name.clone(),
            group.n_params.to_string(),
            if shape.is_empty() { "scalar".to_owned() } else { shape },
            group.role.to_owned(),
            group.method.clone(),
            group.rule.clone(),
            group.law.clone(),
            fan(group.fans.map(|fans| fans.in_)),
            fan(group.fans.map(|fans| fans.out)),
            short(group.std),
            group.measured.map_or_else(|| "–".to_owned(), |drawn| short(drawn.std)),
        ]);
    }
    table.fit(terminal::width(), &["rule", "shape", "method", "×", "role", "fan out", "fan in"]);
    out += &table.render();
    for remark in &report.remarks {
        let _ = writeln!(out, "{FAINT}{remark}{FAINT:#}");
    }
    for (alias, name) in &report.ties {
        let _ = writeln!(out, "{FAINT}{alias} is {name}{FAINT:#}");
    }
    if let Some(done) = &report.calibrated {
        out += &calibration::table(done);
    }
    match (&report.out, report.seconds) {
        (Some(folder), Some(seconds)) => {
            let what = match report.files.len() {
                // An ONNX file has its own name.
                0 => folder.clone(),
                1 => format!("{folder}/ · 1 file"),
                n => format!("{folder}/ · {n} files"),
            };
            let _ = writeln!(out, "\nwrote {what} · {} in {seconds:.1} s", bytes(report.bytes));
        }
        _ => {
            out.push_str("\nnothing was drawn (dry run)\n");
            if let Some(used) = &report.recipe.calibrate {
                let _ = writeln!(out, "what is drawn would be calibrated by {}", used.with);
            }
        }
    }
    out
}
