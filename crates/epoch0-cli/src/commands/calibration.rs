//! What a calibration did, as a table.

use std::fmt::Write as _;

use epoch0::Calibrated;
use epoch0::init::calibrate::{Layer, State};
use epoch0::method::reading::ProbeSource;

use crate::number::{grouped, short};
use crate::table::{Align, BAD, FAINT, GOOD, HEADING, Table};
use crate::terminal;

pub(super) fn table(done: &Calibrated) -> String {
    let mut out = String::new();
    let batch = &done.batch;
    let why = match batch.source {
        ProbeSource::Data => "",
        ProbeSource::MatchedRandom => " that match the network (no `--data` was given)",
    };
    let of = done.weights_of.as_ref().map_or_else(String::new, |of| format!("{of} "));
    let _ = writeln!(
        out,
        "\n{HEADING}{of}calibrated by {}{HEADING:#} on {} examples of {}{why}\n",
        done.calibration.method,
        grouped(batch.n_examples as u64),
        batch.name,
    );
    let mut table = Table::new(&[
        ("layer", Align::Left),
        ("operation", Align::Left),
        ("std before", Align::Right),
        ("factor", Align::Right),
        ("iterations", Align::Right),
        ("std after", Align::Right),
        ("smallest channel", Align::Right),
        ("largest", Align::Right),
        ("", Align::Left),
    ]);
    for layer in &done.calibration.layers {
        table.row(vec![
            layer.name.clone(),
            layer.op.to_owned(),
            short(layer.before.std),
            short(layer.factor),
            layer.iterations.to_string(),
            short(layer.after.std),
            short(layer.after.channel_min),
            short(layer.after.channel_max),
            remark(layer),
        ]);
    }
    table.fit(terminal::width(), &["operation", "largest", "smallest channel"]);
    out += &table.render();
    for name in &done.calibration.unused {
        let _ = writeln!(out, "{FAINT}{name} multiplies nothing; it is as it was drawn{FAINT:#}");
    }
    let missed = done.calibration.missed().count();
    let _ = match missed {
        0 => writeln!(out, "\n{GOOD}all layers{GOOD:#} are where they should be"),
        1 => writeln!(out, "\n{BAD}1 layer{BAD:#} is not where it should be"),
        n => writeln!(out, "\n{BAD}{n} layers{BAD:#} are not where they should be"),
    };
    out
}

fn remark(layer: &Layer) -> String {
    match (&layer.note, layer.state) {
        (Some(note), _) => note.clone(),
        (None, State::Missed) => "missed".to_owned(),
        (None, _) => String::new(),
    }
}
