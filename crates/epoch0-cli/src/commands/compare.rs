//! `epoch0 compare`: starts side by side.

use std::path::Path;

use epoch0::data::Dataset;
use epoch0::engine::Device;
use epoch0::format::write_file_atomically;
use epoch0::net::Role;
use epoch0::train::{Span, Watch};
use epoch0::{Calibrating, Contender, Contest, Described, Plan, compare, own_precision, start_weights};
use epoch0_report::html;

use super::start::recipe_file;
use super::train::show;
use super::{Failure, Outcome};
use crate::args::Compare;
use crate::terminal::{self, CANCELLED};

pub(super) fn run(args: &Compare, json: bool) -> Result<Outcome, Failure> {
    let described = Described::open(&args.net)?;
    let spec = args.training.data.as_deref().unwrap_or_default();
    let data = Dataset::open(spec).map_err(epoch0::Error::from)?;
    let mut contenders: Vec<Contender> = Vec::new();
    for name in args.with.iter().map(|name| name.trim()) {
        if name == "all" {
            let is_there = |id: &str| contenders.iter().any(|contender| contender.name == id);
            let new: Vec<_> =
                every(&described, (spec, &data)).into_iter().filter(|one| !is_there(&one.name)).collect();
            contenders.extend(new);
        } else {
            contenders.push(contender(&described, name)?);
        }
    }
    let mut settings = args.training.settings(0).map_err(Failure::Training)?;
    let n_steps = settings.length.steps(settings.pace(data.train.len()));
    if args.training.test_every.is_none() {
        settings.test_every = Span::Steps(n_steps.div_ceil(10).max(1));
    }
    let seeds: Vec<u64> = (0..u64::from(args.seeds)).map(|nth| args.first_seed.wrapping_add(nth)).collect();
    terminal::catch_interrupts();
    let n_trials = (contenders.len() * seeds.len()) as u64;
    let bar = terminal::step_bar(n_trials * n_steps * args.rates.len().max(1) as u64, "training");
    let progress = || bar.inc(1);
    let contest = Contest {
        settings,
        seeds: &seeds,
        rates: &args.rates,
        examine: true,
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

/// Every method that gives this network weights that differ, the network's usual start first. What does not fit is told.
fn every(described: &Described, data: (&str, &Dataset)) -> Vec<Contender> {
    let usual = described.usual_recipe();
    let name = usual.base.as_ref().map_or_else(String::new, |base| base.with.clone());
    let mut found = vec![Contender { name, recipe: usual }];
    let mut left = Vec::new();
    for id in epoch0::init::METHODS.iter().map(|entry| entry.info.id) {
        let recipe = described.recipe_with(id);
        let is_fitting = match Plan::new(epoch0::init::METHODS, &described.net, &recipe, 0) {
            Ok(plan) => breaks_symmetry(&plan),
            Err(_) => false,
        };
        if is_fitting && found[0].name != id {
            found.push(Contender { name: id.to_owned(), recipe });
        } else if !is_fitting {
            left.push(id);
        }
    }
    for id in epoch0::init::CALIBRATORS.iter().map(|entry| entry.info.id) {
        let recipe = described.recipe_with(id);
        let on = Calibrating { data: Some(data), examples: None };
        let (precision, device) = (own_precision(&described.net), Device::cpu());
        if start_weights(described, &recipe, 0, &on, precision, &device).is_ok() {
            found.push(Contender { name: id.to_owned(), recipe });
        } else {
            left.push(id);
        }
    }
    if !left.is_empty() {
        terminal::warn(&format!("left out, for they do not fit the network: {}", left.join(", ")));
    }
    found
}

/// Whether the weights of each hidden layer differ from each other.
fn breaks_symmetry(plan: &Plan<'_>) -> bool {
    let net = plan.net();
    let mut hidden = plan.sites().iter().filter(|planned| net.sites()[planned.site].role == Role::Weight);
    hidden.all(|planned| planned.law.std() > 0.0)
}
