//! `epoch0 coord-check`: whether features move alike at every width.

use epoch0::data::Dataset;
use epoch0::format::write_file_atomically;
use epoch0::train::{Adam, Optimizer, Sgd};
use epoch0::{CoordCheck, Described, Recipe, Widths, coord_check};

use super::train::show;
use super::{Failure, Outcome};
use crate::args::{Checking, OptimizerName};
use crate::terminal;

pub(super) fn run(args: &Checking, json: bool) -> Result<Outcome, Failure> {
    let open = Widths::open(&args.net)?;
    let widths = if args.widths.is_empty() { open.usual() } else { args.widths.clone() };
    let data = args.data.as_deref().map(|spec| Ok::<_, Failure>((spec, Dataset::open(spec)?))).transpose()?;
    let first = open.at(widths[0])?;
    let choice = args.start.choice();
    let recipe = choice.recipe(&first)?;
    let start = choice.name(&recipe);
    let of = |_: &Described| Ok::<Recipe, epoch0::Error>(recipe.clone());
    let adam = Adam::default();
    let how = CoordCheck {
        widths: &widths,
        seeds: args.seeds.into(),
        steps: args.steps.into(),
        batch: args.batch as usize,
        optimizer: match args.optimizer {
            OptimizerName::Sgd => Optimizer::Sgd(Sgd::default()),
            OptimizerName::Adam => Optimizer::Adam(adam),
            OptimizerName::Adamw => Optimizer::AdamW(adam),
        },
        learning_rate: args.lr,
        tolerance: args.tolerance,
    };
    terminal::catch_interrupts();
    let bar = terminal::step_bar(u64::from(args.seeds) * widths.len() as u64, "training");
    let data = data.as_ref().map(|(spec, data)| (*spec, data));
    let found = coord_check(&open, &of, &start, data, &how, &|| bar.inc(1));
    bar.finish_and_clear();
    let found = found?;
    if let Some(path) = &args.report {
        write_file_atomically(path, epoch0_report::html(&found).as_bytes())?;
    }
    Ok(Outcome { text: show(&found, json), holds: found.is_healthy() })
}
