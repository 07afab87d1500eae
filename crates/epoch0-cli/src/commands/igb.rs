//! `epoch0 igb`.

use std::fmt::Write as _;

use epoch0::num::Stream;
use epoch0::num::meanfield::guessing::{Guess, TopShare, expected_top_share};
use epoch0::num::meanfield::{Signal, Stage, follow, perceptron};
use serde::Serialize;

use super::{Failure, Outcome};
use crate::args::Igb;
use crate::number::short;
use crate::table::{Align, FAINT, Table};

/// What a network of so many hidden layers and a readout would do.
#[derive(Serialize)]
struct Layers {
    depth: usize,
    rho: f64,
    gamma: f64,
    /// `E|G₀ - ½|` for two classes.
    imbalance: f64,
    /// Probability that one of two classes has more than 0.9 of the answers.
    beyond_0_9: f64,
}

#[derive(Serialize)]
struct Prediction {
    activation: String,
    pool: u32,
    input_rho: f64,
    sigma_w: f64,
    sigma_b: f64,
    layers: Vec<Layers>,
    classes: u16,
    top_share: TopShare,
}

pub(super) fn run(args: &Igb, json: bool) -> Result<Outcome, Failure> {
    let stages = perceptron(&args.activation, args.depth.into(), args.sigma_w, args.sigma_b, args.pool);
    let signals = follow(&Signal::input(args.input_rho)?, &stages)?;
    let readout = Stage::Linear { sigma_w: args.sigma_w, sigma_b: args.sigma_b };
    let hidden = stages.iter().zip(&signals).filter(|(stage, _)| matches!(stage, Stage::Activation(_)));
    let mut layers = Vec::new();
    for (nth, (_, signal)) in hidden.enumerate() {
        let logit = signal.behind(&readout)?;
        let guess = Guess::new(logit.gamma())?;
        layers.push(Layers {
            depth: nth + 1,
            rho: logit.rho(),
            gamma: logit.gamma(),
            imbalance: guess.imbalance(),
            beyond_0_9: guess.beyond(0.9),
        });
    }
    let gamma = layers.last().map_or(0.0, |layer| layer.gamma);
    let top_share = if args.classes == 2 {
        TopShare { mean: 0.5 + Guess::new(gamma)?.imbalance(), error: 0.0 }
    } else {
        let stream = Stream::new(args.seed, "igb top share");
        expected_top_share(gamma, args.classes.into(), args.draws as usize, &stream)?
    };
    let prediction = Prediction {
        activation: args.activation.to_string(),
        pool: args.pool,
        input_rho: args.input_rho,
        sigma_w: args.sigma_w,
        sigma_b: args.sigma_b,
        layers,
        classes: args.classes,
        top_share,
    };
    if json { Outcome::json(&prediction) } else { Ok(Outcome::text(show(&prediction))) }
}

fn show(prediction: &Prediction) -> String {
    let mut table = Table::new(&[
        ("layers", Align::Right),
        ("ρ", Align::Right),
        ("γ", Align::Right),
        ("E|G-½|", Align::Right),
        ("P(G>0.9)", Align::Right),
        ("", Align::Left),
    ]);
    for layer in &prediction.layers {
        let bar = "█".repeat((layer.imbalance * 40.0).round() as usize);
        let numbers = [layer.rho, layer.gamma, layer.imbalance, layer.beyond_0_9].map(short);
        table.row([layer.depth.to_string()].into_iter().chain(numbers).chain([bar]).collect());
    }
    let Prediction { activation, pool, input_rho, sigma_w, sigma_b, classes, top_share, .. } = prediction;
    let pool = if *pool > 1 { format!(", max-pooling over {pool}") } else { String::new() };
    let mut out = format!(
        "{activation}{pool}, σ_w = {}, σ_b = {sigma_b}, inputs' ρ = {input_rho}\n\n{}\n",
        short(*sigma_w),
        table.render()
    );
    let spread =
        if top_share.error > 0.0 { format!(" ± {:.3}", 2.0 * top_share.error) } else { String::new() };
    let _ = writeln!(
        out,
        "of {classes} classes the one that is guessed most gets {:.3}{spread} of the answers on average, where {:.3} \
         is even",
        top_share.mean,
        1.0 / f64::from(*classes)
    );
    let _ = writeln!(
        out,
        "{FAINT}G: share of one of two classes over draws of the weights; uniform at γ = 1, nearly all in one class \
         beyond{FAINT:#}"
    );
    out
}
