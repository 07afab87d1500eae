//! `epoch0 examine`.

use epoch0::data::Dataset;
use epoch0::format::write_file_atomically;
use epoch0::method::Values;
use epoch0::{Examining, data_probe, examine, matched_probe};

use super::train::show;
use super::{Failure, Outcome};
use crate::args::Examine;
use crate::terminal;

pub(super) fn run(args: &Examine, json: bool) -> Result<Outcome, Failure> {
    terminal::catch_interrupts();
    let bar = terminal::share_bar("reading");
    let data = args.data.as_deref().map(|spec| Ok::<_, Failure>((spec, Dataset::open(spec)?))).transpose()?;
    let data = data.as_ref().map(|(spec, data)| (*spec, data));
    let started = args.start.open(data)?;
    let net = &started.described.net;
    let examples = args.examples.map(|n| n as usize);
    let (seed, precision) = (args.start.seed, started.precision);
    let probe = match data {
        Some((_, data)) => {
            data_probe(net, &started.weights, data, examples, seed, precision, &started.device)?
        }
        None => matched_probe(net, &started.weights, examples, seed, precision, &started.device)?,
    };
    let with: Vec<(String, Values)> = args.only.iter().map(|id| (id.clone(), Values::new())).collect();
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
    if let Some(path) = &args.report {
        write_file_atomically(path, epoch0_report::html(&examination).as_bytes())?;
    }
    let mut text = show(&examination, json);
    if let (Some(path), false) = (&args.report, json) {
        text += &format!("\nreport: {}\n", path.display());
    }
    Ok(Outcome { text, holds: examination.is_healthy() })
}
