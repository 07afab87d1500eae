//! `epoch0 examine`.

use epoch0::data::Dataset;
use epoch0::format::{Replace, write_file_atomically};
use epoch0::method::{Value, Values};
use epoch0::{ALL, Examining, USUAL, data_probe, examine, examining, matched_probe, write_weights};

use super::train::show;
use super::{Failure, Outcome};
use crate::args::Examine;
use crate::terminal;

pub(super) fn run(args: &Examine, json: bool) -> Result<Outcome, Failure> {
    terminal::catch_interrupts();
    let mut with = asked(args)?;
    let bar = terminal::share_bar("reading");
    let data = args.data.as_deref().map(|spec| Ok::<_, Failure>((spec, Dataset::open(spec)?))).transpose()?;
    let data = data.as_ref().map(|(spec, data)| (*spec, data));
    let started = args.start.open(data)?;
    let net = &started.described.net;
    if args.only.is_empty() && net.spiking_steps().is_some() {
        with.push(("spikes".to_owned(), Values::new()));
    }
    let examples = args.examples.map(|n| n as usize);
    let (seed, precision) = (args.start.seed, started.precision);
    let probe = match data {
        Some((_, data)) => {
            data_probe(net, &started.weights, data, examples, seed, precision, &started.device)?
        }
        None => matched_probe(net, &started.weights, examples, seed, precision, &started.device)?,
    };
    let progress = |share: f64, what: &str| {
        bar.set_message(what.to_owned());
        bar.set_position((share * 1000.0) as u64);
    };
    let options = Examining {
        with: &with,
        start: &started.from,
        seed: args.start.seed,
        cancel: Some(&terminal::CANCELLED),
        progress: Some(&progress),
    };
    let examination = examine(net, &started.weights, &probe, &options);
    bar.finish_and_clear();
    let examination = examination?;
    if let (Some(remedy), Some(out)) = (args.fix, &args.out) {
        let subject = examining::Subject { network: net, weights: &started.weights, probe: &probe, seed };
        let weights = examining::igb::fixed(&subject, remedy).map_err(epoch0::Error::from)?;
        let replace = if args.force { Replace::Checkpoint } else { Replace::Never };
        write_weights(&started.described, &weights, out, replace)?;
    }
    if let Some(path) = &args.report {
        write_file_atomically(path, epoch0_report::html(&examination).as_bytes())?;
    }
    let mut text = show(&examination, json);
    if let (Some(path), false) = (&args.report, json) {
        text += &format!("\nreport: {}\n", path.display());
    }
    if let (Some(remedy), Some(out), false) = (args.fix, &args.out, json) {
        text += &format!("\nwrote {} after `{}`\n", out.display(), remedy.name());
    }
    Ok(Outcome { text, holds: examination.is_healthy() })
}

/// Examiners with values of their parameters.
fn asked(args: &Examine) -> Result<Vec<(String, Values)>, Failure> {
    let ids: Vec<&str> = match &args.only[..] {
        [] => USUAL.to_vec(),
        [all] if all == "all" => ALL.to_vec(),
        only => only.iter().map(String::as_str).collect(),
    };
    let mut asked = Vec::with_capacity(ids.len());
    for id in ids {
        asked.push((examining::find(id)?.info.id.to_owned(), Values::new()));
    }
    if args.fix.is_some() {
        // What the remedy comes to is told, biased or not.
        let at = asked.iter().position(|(id, _)| id == "igb").unwrap_or_else(|| {
            asked.push(("igb".to_owned(), Values::new()));
            asked.len() - 1
        });
        asked[at].1.insert("remedies".to_owned(), Value::Flag(true));
    }
    for (name, value) in &args.param {
        let unknown = |hint: String| Failure::Unknown { what: "parameter", given: name.clone(), hint };
        let (id, name) = name
            .split_once('.')
            .ok_or_else(|| unknown("an examiner and its parameter, as in curvature.rate=0.1".to_owned()))?;
        let id = examining::find(id)?.info.id;
        let (_, values) = asked
            .iter_mut()
            .find(|(asked, _)| asked == id)
            .ok_or_else(|| unknown(format!("{id} is not asked for, add it to --only")))?;
        values.insert(name.to_owned(), Value::parse(value));
    }
    Ok(asked)
}
