//! What the paper claims of training, as experiments.

use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_num::paired;
use epoch0_train::{Settings, Span};

use crate::shared::experiment::{Arm, By, Examples, at_best_rate, descent, mean, zoo_network};

pub(super) const TRAINS_DEEP: Claim = Claim {
    name: "trains_deep",
    text: "100 layers of 100 tanh on the edge reach 85 % in five epochs, with σ_w² a fifth smaller at most 30 %, and \
           rectifiers on their edge are at most a point better, each at its best learning rate",
    kind: ClaimKind::Effect,
    budget_s: 3600,
    seeds: 3,
    expectation: Expectation::Holds,
    run: trains_deep,
};

pub(super) const POINT_FITS_DEPTH: Claim = Claim {
    name: "point_fits_depth",
    text: "100 layers of 100 tanh reach 80 % at the point with β_q = 100 in no more steps than at β_q = 3, each at its best \
           learning rate",
    kind: ClaimKind::Effect,
    budget_s: 3600,
    seeds: 3,
    expectation: Expectation::Holds,
    run: point_fits_depth,
};

const SEEDS: usize = 3;
const BATCH: usize = 32;
const EPOCHS: f64 = 5.0;
const RATES: [f64; 4] = [1e-4, 1e-3, 1e-2, 1e-1];

fn name(act: &str) -> String {
    format!("mlp:784-{}10,act={act}", "100-".repeat(100))
}

/// The start on the edge, for inputs of second moment 1; `depth` is what the point is chosen by.
fn edge(depth: Option<u32>, scale: f64) -> String {
    let depth = depth.map_or(String::new(), |depth| format!(", depth: {depth}"));
    format!(
        "{{base: {{with: eoc, set: {{input: 1{depth}}}}}, rules: [{{role: [weight, readout], scale: {scale}}}]}}"
    )
}

fn trains_deep() -> Result<Verdict, Error> {
    let data = Examples::set(10_000, 2_000)?;
    let (tanh, relu) = (zoo_network(&name("tanh"))?, zoo_network(&name("relu"))?);
    let arms = [
        Arm { name: "tanh on the edge", net: &tanh, recipe: edge(None, 1.0) },
        Arm { name: "tanh in the ordered phase", net: &tanh, recipe: edge(None, 0.8f64.sqrt()) },
        Arm { name: "relu on the edge", net: &relu, recipe: edge(None, 1.0) },
    ];
    let training = |rate, seed| descent(rate, Span::Epochs(EPOCHS), BATCH, seed);
    let found = at_best_rate(&data, &arms, &RATES, SEEDS, By::Accuracy, training)?;
    let [on, ordered, rectified] = [0, 1, 2].map(|arm| mean(&found[arm].best));
    let mut details = vec![
        data.name.clone(),
        format!("test accuracy in % after {EPOCHS} epochs of batches of {BATCH}, plain descent"),
    ];
    details.extend(found.iter().map(|found| found.details.clone()));
    Ok(Verdict {
        holds: on >= 85.0 && ordered <= 30.0 && on >= rectified - 1.0,
        measured: on,
        bound: format!(
            "at least 85 and at least {:.2}; in the ordered phase {ordered:.2}, at most 30",
            rectified - 1.0
        ),
        interval: Some(paired::mean(&found[0].best, 0.95).interval),
        details,
    })
}

fn point_fits_depth() -> Result<Verdict, Error> {
    const EVERY: u64 = 20;
    let data = Examples::set(10_000, 2_000)?;
    let net = zoo_network(&name("tanh"))?;
    let arms = [("β_q = 3", 3), ("β_q = 100", 100)];
    let arms = arms.map(|(name, depth)| Arm { name, net: &net, recipe: edge(Some(depth), 1.0) });
    let training = |rate, seed| Settings {
        test_every: Span::Steps(EVERY),
        ..descent(rate, Span::Epochs(EPOCHS), BATCH, seed)
    };
    let found = at_best_rate(&data, &arms, &RATES, SEEDS, By::StepsTo(0.8), training)?;
    let mut details = vec![
        data.name.clone(),
        format!(
            "steps to 80 %, tested every {EVERY}; all of {EPOCHS} epochs of batches of {BATCH} where that was not reached"
        ),
    ];
    details.extend(found.iter().map(|found| found.details.clone()));
    let ratios: Vec<f64> = found[1].best.iter().zip(&found[0].best).map(|(fit, low)| fit / low).collect();
    let measured = mean(&found[1].best) / mean(&found[0].best);
    Ok(Verdict {
        details,
        interval: Some(paired::mean(&ratios, 0.95).interval),
        ..Verdict::at_most(measured, 1.0)
    })
}
