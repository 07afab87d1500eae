//! `epoch0 compare`: starts side by side.

use std::path::Path;

use epoch0::data::Dataset;
use epoch0::format::write_file_atomically;
use epoch0::train::{Span, Watch};
use epoch0::{Contender, Contest, Described, compare};
use epoch0_report::html;

use super::start::recipe_file;
use super::train::show;
use super::{Failure, Outcome};
use crate::args::Compare;
use crate::terminal::{self, CANCELLED};

pub(super) fn run(args: &Compare, json: bool) -> Result<Outcome, Failure> {
    let described = Described::open(&args.net)?;
    let contenders: Vec<Contender> =
        args.with.iter().map(|name| contender(&described, name.trim())).collect::<Result<_, _>>()?;
    let spec = args.training.data.as_deref().unwrap_or_default();
    let data = Dataset::open(spec).map_err(epoch0::Error::from)?;
    let mut settings = args.training.settings(0).map_err(Failure::Training)?;
    let n_steps = settings.length.steps(settings.pace(data.train.len()));
    if args.training.test_every.is_none() {
        settings.test_every = Span::Steps(n_steps.div_ceil(10).max(1));
    }
    let seeds: Vec<u64> = (0..u64::from(args.seeds)).map(|nth| args.first_seed.wrapping_add(nth)).collect();
    terminal::catch_interrupts();
    let n_trials = (contenders.len() * seeds.len()) as u64;
    let bar = terminal::step_bar(n_trials * n_steps, "training");
    let progress = || bar.inc(1);
    let contest = Contest {
        settings,
        seeds: &seeds,
        criterion: args.by,
        test: args.test.into(),
        watch: Watch { cancel: Some(&CANCELLED), progress: Some(&progress) },
    };
    let comparison = compare(&described, &data, &contenders, &contest);
    bar.finish_and_clear();
    let comparison = comparison?;
    if let Some(path) = &args.report {
        write_file_atomically(path, html(&comparison).as_bytes())?;
    }
    Ok(Outcome::text(show(&comparison, json)))
}

/// A method by its id, or a recipe by its file.
fn contender(described: &Described, name: &str) -> Result<Contender, Failure> {
    let path = Path::new(name);
    let is_file = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    let recipe = if is_file { recipe_file(path)? } else { described.recipe_with(name) };
    Ok(Contender { name: name.to_owned(), recipe })
}
