//! What the paper claims, as identities and experiments.

use epoch0_engine::{Device, Precision, Run};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::Role;
use epoch0_train::{Feed, FewSteps, Optimizer, Sgd, Span, Start, movement};

use crate::shared::experiment::{
    Arm, By, Examples, at_best_rate, begin, descent, doubled, draw_start, listed, mean, of, singular_values,
    weight, zoo_network,
};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "norms_are_exact",
        text: "orthonormal starts have the spectral norm √(fan_out/fan_in), square, wide and tall, to 1e-6; a readout's outputs \
               count as one",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: norms_are_exact,
    },
    Claim {
        name: "gaussian_norms_lie_in_the_band",
        text: "Gaussian starts have a spectral norm of 1/2 to 2.1 times √(fan_out/fan_in)",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: gaussian_norms_lie_in_the_band,
    },
    Claim {
        name: "features_move_alike",
        text: "after three steps of descent features have moved by as much at widths from 64 to 1024 in every layer (slope of \
               the logarithms at most 0.15); with one rate for all and He's start they move the more the wider it is (0.4 or \
               more somewhere)",
        kind: ClaimKind::Effect,
        budget_s: 300,
        seeds: 5,
        expectation: Expectation::Holds,
        run: features_move_alike,
    },
    Claim {
        name: "rates_transfer",
        text: "of rates a factor of 2 apart the best is the same from width 64 to 1024, to one step; with one rate for all \
               and He's start it moves by 3 steps or more",
        kind: ClaimKind::Effect,
        budget_s: 1800,
        seeds: 2,
        expectation: Expectation::NotMeasured { why: "it takes half an hour of two cores" },
        run: rates_transfer,
    },
];

const OWN: &str =
    "{base: pytorch_default, rules: [{role: bias, with: zeros}, {with: spectral, set: {sigma: 1.4142135}}]}";
const STANDARD: &str = "{base: pytorch_default, rules: [{role: bias, with: zeros}, {with: he_normal}]}";
const WIDTHS: [usize; 5] = [64, 128, 256, 512, 1024];

/// Spectral norms of a start over √(fan_out/fan_in), smallest and largest.
fn norms(set: &str) -> Result<(f64, f64, Vec<String>), Error> {
    let net = doubled("mlp:64-256-32-32-400-10,act=tanh")?;
    let recipe = format!("{{base: pytorch_default, rules: [{{with: spectral, set: {{{set}}}}}]}}");
    let weights = draw_start(&net, &recipe, 0)?;
    let (mut low, mut high, mut details) = (f64::INFINITY, 0.0f64, Vec::new());
    for site in net.sites().iter().filter(|site| site.role.is_matrix()) {
        let (out, in_) = (site.view.n_out(), site.view.n_in());
        let values = weight(&net, &weights, &site.name)?;
        let counted = if site.role == Role::Readout { 1 } else { out };
        let share = singular_values(&values, in_)?[0] / (counted as f64 / in_ as f64).sqrt();
        details.push(format!("{in_} to {out}: {share:.6}"));
        (low, high) = (low.min(share), high.max(share));
    }
    Ok((low, high, details))
}

fn norms_are_exact() -> Result<Verdict, Error> {
    let (low, high, details) = norms("distribution: orthogonal")?;
    Ok(Verdict { details, ..Verdict::at_most((high - 1.0).abs().max((low - 1.0).abs()), 1e-6) })
}

fn gaussian_norms_lie_in_the_band() -> Result<Verdict, Error> {
    let (low, high, details) = norms("distribution: normal")?;
    Ok(Verdict {
        holds: low >= 0.5 && high <= 2.1,
        measured: high,
        bound: format!("at most 2.1, and {low:.3} at least 0.5"),
        interval: None,
        details,
    })
}

/// Slopes over the logarithm of the width of the logarithm of how far each layer's features move in three steps.
fn slopes(recipe: &str, learning_rate: f64, seeds: usize) -> Result<Vec<f64>, Error> {
    let data = Examples::set(1_000, 200)?;
    let per_width = epoch0_train::beside(WIDTHS.len() * seeds, |job| {
        let (width, seed) = (WIDTHS[job / seeds], (job % seeds) as u64);
        let net = zoo_network(&format!("mlp:784-{width}-{width}-{width}-10"))?;
        let optimizer = Optimizer::Sgd(Sgd::default());
        let (weights, learning_rates) = begin(&net, recipe, seed, &optimizer)?;
        let feed = of(Feed::new(&net, &data))?;
        let which: Vec<usize> = (0..64).map(|nth| nth + 64 * seed as usize).collect();
        let batch = data.train.pick(&which);
        let inputs = feed.inputs(batch.inputs(), Precision::Single, &Device::cpu());
        let loss = |run: &Run| {
            Ok::<_, epoch0_train::Error>(feed.loss(feed.answer(&run.outputs)?, batch.targets())?.mean)
        };
        let plan = FewSteps { steps: 3, optimizer, learning_rate, inputs: &inputs, loss: &loss };
        let moved = of(movement(&net, Start { weights, learning_rates }, &plan))?;
        Ok::<_, Error>(moved.iter().map(|layer| layer.features_moved.ln()).collect::<Vec<_>>())
    })?;
    let logs: Vec<f64> = WIDTHS.iter().map(|&width| (width as f64).ln()).collect();
    let slope = |layer: usize| {
        let of_seeds = |seeds: &[Vec<f64>]| mean(&seeds.iter().map(|moved| moved[layer]).collect::<Vec<_>>());
        let moved: Vec<f64> = per_width.chunks(seeds).map(of_seeds).collect();
        epoch0_num::stats::slope(&logs, &moved)
    };
    Ok((0..per_width[0].len()).map(slope).collect())
}

fn features_move_alike() -> Result<Verdict, Error> {
    const SEEDS: usize = 5;
    // So small that no answer saturates.
    const RATE: f64 = 0.001;
    let (own, standard) = (slopes(OWN, RATE, SEEDS)?, slopes(STANDARD, RATE, SEEDS)?);
    let most = |slopes: &[f64]| slopes.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let measured = own.iter().map(|slope| slope.abs()).fold(0.0, f64::max);
    let details = vec![
        format!("widths {WIDTHS:?}, three hidden layers of rectifiers, three steps on a batch of 64"),
        format!("spectral, rate {RATE}, by layer: {}", listed(own.iter().copied(), 3)),
        format!("he_normal, rate {RATE} for all, by layer: {}", listed(standard.iter().copied(), 3)),
    ];
    Ok(Verdict {
        holds: measured <= 0.15 && most(&standard) >= 0.4,
        measured,
        bound: format!("at most 0.15; of the standard start {:.3}, at least 0.4", most(&standard)),
        interval: None,
        details,
    })
}

fn rates_transfer() -> Result<Verdict, Error> {
    const SEEDS: usize = 2;
    const BATCH: usize = 64;
    let rates: Vec<f64> = (0..12).map(|power| 4.0 * 0.5f64.powi(power)).collect();
    let data = Examples::set(10_000, 2_000)?;
    let nets = WIDTHS
        .iter()
        .map(|width| zoo_network(&format!("mlp:784-{width}-{width}-{width}-10")))
        .collect::<Result<Vec<_>, _>>()?;
    let mut details = vec![
        data.name.clone(),
        format!("test accuracy in % after an epoch of batches of {BATCH}, widths {WIDTHS:?}"),
    ];
    let mut spreads = Vec::new();
    for (name, recipe) in [("spectral", OWN), ("he_normal, one rate", STANDARD)] {
        let arms: Vec<Arm<'_>> =
            nets.iter().map(|net| Arm { name, net, recipe: recipe.to_owned() }).collect();
        let found = at_best_rate(&data, &arms, &rates, SEEDS, By::Accuracy, |rate, seed| {
            descent(rate, Span::Epochs(1.0), BATCH, seed)
        })?;
        details.extend(found.iter().map(|found| found.details.clone()));
        let steps: Vec<f64> = found.iter().map(|found| found.rate.log2()).collect();
        let of = |pick: fn(f64, f64) -> f64| steps.iter().copied().reduce(pick).unwrap_or(f64::NAN);
        spreads.push(of(f64::max) - of(f64::min));
    }
    Ok(Verdict {
        holds: spreads[0] <= 1.0 && spreads[1] >= 3.0,
        measured: spreads[0],
        bound: format!("at most 1 step of 2; of the standard start {}, at least 3", spreads[1]),
        interval: None,
        details,
    })
}
