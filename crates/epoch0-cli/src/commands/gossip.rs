//! `epoch0 gossip`.

use std::fmt::Write as _;

use epoch0::data::Dataset;
use epoch0::engine::{Device, Precision};
use epoch0::inheriting::merge::gossip::{Exchange, Gossip as Simulation, Look};
use epoch0::inheriting::merge::{
    Averager, average::Average, variance_corrected_average::VarianceCorrectedAverage,
};
use epoch0::method::{Params, Value, Values};
use epoch0::train::{Optimizer, Settings, Sgd, Span};
use epoch0::{Described, draw_weights};
use serde::Serialize;

use super::{Failure, Outcome};
use crate::args::Gossip;
use crate::number::short;
use crate::table::{Align, FAINT, HEADING, Table};
use crate::terminal;

/// What one way of merging came to.
#[derive(Serialize)]
struct Arm {
    merge: String,
    looks: Vec<Look>,
}

#[derive(Serialize)]
struct Report {
    network: String,
    data: String,
    nodes: u16,
    topology: String,
    partition: String,
    common_start: bool,
    start: String,
    every: u32,
    seed: u64,
    arms: Vec<Arm>,
}

pub(super) fn run(args: &Gossip, json: bool) -> Result<Outcome, Failure> {
    let described = Described::open(&args.net)?;
    let data = Dataset::open(&args.data)?;
    let recipe = described.recipe_with(&args.with);
    let settings = Settings {
        length: Span::Steps(args.steps.into()),
        optimizer: Optimizer::Sgd(Sgd { momentum: args.momentum, ..Sgd::default() }),
        learning_rate: args.rate,
        batch: args.batch as usize,
        ..Settings::default()
    };
    settings.check().map_err(epoch0::Error::from)?;
    let exchanges: Vec<Exchange> = args.merge.iter().map(|text| exchange(text)).collect::<Result<_, _>>()?;
    // A recipe that does not fit is told before anything is trained.
    let drawn = |seed: u64| draw_weights(&described.net, &recipe, seed, Precision::Single, &Device::cpu());
    drawn(args.seed)?;
    let look_every = args.look_every.unwrap_or(args.steps.div_ceil(10)).into();
    terminal::catch_interrupts();
    let bar = terminal::step_bar(u64::from(args.steps) * exchanges.len() as u64, "gossip");
    let mut arms = Vec::new();
    for (merge, exchange) in args.merge.iter().zip(exchanges) {
        let simulation = Simulation {
            network: &described.net,
            data: &data,
            nodes: args.nodes.into(),
            topology: args.topology,
            partition: args.partition,
            exchange,
            every: args.every.into(),
            settings,
            look_every,
            seed: args.seed,
            cancel: Some(&terminal::CANCELLED),
        };
        let start = |node: usize| {
            let seed = if args.common_start {
                args.seed
            } else {
                args.seed.wrapping_mul(1000).wrapping_add(node as u64)
            };
            drawn(seed).map_err(|error| epoch0::method::Error::Recipe {
                place: "start".to_owned(),
                why: error.to_string(),
            })
        };
        let done = arms.len() as u64 * u64::from(args.steps);
        let looks = simulation.run(&start, &mut |look| bar.set_position(done + look.step))?;
        arms.push(Arm { merge: merge.clone(), looks });
    }
    bar.finish_and_clear();
    let report = Report {
        network: described.net.name().to_owned(),
        data: data.name.clone(),
        nodes: args.nodes,
        topology: args.topology.to_string(),
        partition: args.partition.to_string(),
        common_start: args.common_start,
        start: args.with.clone(),
        every: args.every,
        seed: args.seed,
        arms,
    };
    if json { Outcome::json(&report) } else { Ok(Outcome::text(table(&report))) }
}

fn exchange(text: &str) -> Result<Exchange, Failure> {
    let wrong =
        |hint: &str| Failure::Unknown { what: "way to merge", given: text.to_owned(), hint: hint.to_owned() };
    let plain = |own: Option<f64>| -> Box<dyn Averager> { Box::new(Average { own }) };
    let share = |number: &str| match number.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(wrong("a share is a number from 0 to 1")),
    };
    let (word, number) = text.split_once(':').map_or((text, None), |(word, number)| (word, Some(number)));
    Ok(match (word, number) {
        ("none", None) => Exchange::None,
        ("average" | "avg", None) => Exchange::Neighbours(plain(None)),
        ("conservative", Some(number)) => Exchange::Neighbours(plain(Some(share(number)?))),
        ("vc", rule) => {
            let set: Values =
                rule.map(|rule| ("rule".to_owned(), Value::Text(rule.to_owned()))).into_iter().collect();
            Exchange::Neighbours(Box::new(VarianceCorrectedAverage::from_values("vc", &set)?))
        }
        ("fedavg", None) => Exchange::Server(plain(None)),
        ("sampled", Some(number)) => Exchange::Sampled(plain(None), share(number)?),
        ("first", None) => Exchange::First(plain(None)),
        _ => {
            return Err(wrong(
                "none, average, conservative:C, vc, vc:self, vc:others, fedavg, sampled:P or first",
            ));
        }
    })
}

fn table(report: &Report) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{HEADING}{}{HEADING:#} {} nodes on {} · {} · {} · {} · merged every {} steps\n",
        report.network,
        report.nodes,
        report.topology,
        report.partition,
        report.data,
        if report.common_start { "a common start" } else { "starts of their own" },
        report.every,
    );
    let mut table = Table::new(&[
        ("merge", Align::Left),
        ("step", Align::Right),
        ("test %", Align::Right),
        ("of nodes", Align::Right),
        ("loss", Align::Right),
        ("σ / σ₀", Align::Right),
        ("correlation", Align::Right),
    ]);
    for arm in &report.arms {
        for look in &arm.looks {
            table.row(vec![
                arm.merge.clone(),
                look.step.to_string(),
                format!("{:.1}", 100.0 * look.accuracy),
                format!("{:.1} to {:.1}", 100.0 * look.range.0, 100.0 * look.range.1),
                short(look.loss),
                short(look.std),
                short(look.correlation),
            ]);
        }
    }
    table.fit(terminal::width(), &["of nodes"]);
    out += &table.render();
    let _ = writeln!(
        out,
        "\n{FAINT}means over nodes; σ over that of the start and correlation over weight tensors{FAINT:#}"
    );
    out
}
