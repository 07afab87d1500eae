//! `epoch0 compress` and `epoch0 decompress`.

use std::collections::BTreeMap;

use epoch0::format::Replace;
use epoch0::method::Value;
use epoch0::{Calibrating, Compressed, Compressing, Described, Options};

use super::{Failure, Outcome};
use crate::args::{Compress, Decompress};
use crate::number::{bytes, short};
use crate::table::{Align, FAINT, Table};
use crate::terminal;

pub(super) fn run(args: &Compress, json: bool) -> Result<Outcome, Failure> {
    let mut set: BTreeMap<String, Value> =
        args.set.iter().map(|(name, value)| (name.clone(), Value::parse(value))).collect();
    let given = [
        ("bits", &args.bits),
        ("groups", &args.groups),
        ("mode", &args.mode),
        ("steps", &args.steps),
        ("gradient", &args.gradient),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            set.insert(name.to_owned(), Value::parse(value));
        }
    }
    let how = Compressing { set, data: args.data.clone(), examples: args.examples.map(|n| n as usize) };
    let described = Described::open_with(&args.model, true)?;
    terminal::catch_interrupts();
    let spinner = terminal::spinner("compressing".to_owned());
    let options = options(args.seed, args.force, None);
    let compressed = epoch0::compress(&described, &how, &args.out, &options);
    spinner.finish_and_clear();
    let compressed = compressed?;
    if json {
        return Outcome::json(&compressed);
    }
    Ok(Outcome::text(show(&compressed)))
}

pub(super) fn undo(args: &Decompress, json: bool) -> Result<Outcome, Failure> {
    terminal::catch_interrupts();
    let bar = terminal::byte_bar(0, "decompressing");
    let progress = |bytes| bar.inc(bytes);
    let done = epoch0::decompress(&args.from, &args.out, &options(0, args.force, Some(&progress)));
    bar.finish_and_clear();
    let done = done?;
    if json {
        return Outcome::json(&done);
    }
    Ok(Outcome::text(format!(
        "{} tensors were codes, {} were not; {}\nwrote {}\n",
        done.coded,
        done.kept,
        bytes(done.bytes),
        done.out
    )))
}

fn options(seed: u64, force: bool, progress: Option<epoch0::Progress<'_>>) -> Options<'_> {
    Options {
        seed,
        calibrating: Calibrating::default(),
        replace: if force { Replace::Checkpoint } else { Replace::Never },
        cancel: Some(&terminal::CANCELLED),
        progress,
        ..Options::default()
    }
}

fn show(compressed: &Compressed) -> String {
    let mut table = Table::new(&[
        ("tensor", Align::Left),
        ("shape", Align::Left),
        ("bits", Align::Right),
        ("groups", Align::Right),
        ("error", Align::Right),
        ("answers, k-means", Align::Right),
        ("learned", Align::Right),
    ]);
    for tensor in &compressed.tensors {
        let layer = compressed.layers.iter().find(|layer| layer.name == tensor.name);
        let answer = |at: usize| layer.map_or_else(String::new, |layer| percent(layer.error[at]));
        let shape = tensor.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×");
        let groups = match tensor.by {
            "one" => "1".to_owned(),
            by => format!("{} {by}", tensor.groups),
        };
        table.row(vec![
            tensor.name.clone(),
            shape,
            tensor.bits.to_string(),
            groups,
            percent(tensor.error),
            answer(0),
            answer(1),
        ]);
    }
    table.fit(terminal::width(), &["shape", "groups", "bits"]);
    let mut out = table.render();
    for warning in &compressed.warnings {
        out += &format!("{FAINT}note: {warning}{FAINT:#}\n");
    }
    if let Some(asked) = &compressed.asked {
        out += &format!("learned on {} examples of {}\n", asked.n_examples, asked.name);
    }
    let [before, after] = compressed.bytes;
    out + &format!(
        "{} to {}: {} times smaller, {} bits per weight with books and groups, {} per parameter with all\nwrote {}\n",
        bytes(before),
        bytes(after),
        short(compressed.ratio),
        short(compressed.bits_per_weight),
        short(compressed.bits_per_param),
        compressed.out
    )
}

fn percent(share: f64) -> String {
    format!("{} %", short(100.0 * share))
}
