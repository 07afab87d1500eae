//! What the paper claims, as identities and experiments.

use epoch0_data::Dataset;
use epoch0_engine::{Mode, Parameters, Tensor, Value, Var, Weights, loss, run, vjp};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::{Network, Role};
use epoch0_num::paired;
use epoch0_train::Span;

use crate::shared::experiment::{
    Arm, By, Examples, answers, at_best_rate, broken, descent, doubled, draw_start, listed, mean, noise, of,
    skips_off, zoo_network,
};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "begins_as_its_skips",
        text: "answers are 0 whatever comes in, so that the loss is ln C, and every block is the rectifier of its skip",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 3,
        expectation: Expectation::Holds,
        run: begins_as_its_skips,
    },
    Claim {
        name: "branches_shrink",
        text: "weights of branches have He's standard deviation times L^(-1/(2m-2)), within 3 standard errors, for m = 2 and \
               m = 3",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: branches_shrink,
    },
    Claim {
        name: "learning_goes_inward",
        text: "at the first step only the readout has a gradient, at the second the last weights of branches have one, at \
               the third all weights",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: learning_goes_inward,
    },
    Claim {
        name: "update_is_independent_of_depth",
        text: "over the first three steps the answers change by as much with 4, 16, 64 and 256 blocks, to 20 %; with the \
               last weights zeroed and no factor L the change grows a hundredfold",
        kind: ClaimKind::Effect,
        budget_s: 300,
        seeds: 5,
        expectation: Expectation::Holds,
        run: update_is_independent_of_depth,
    },
    Claim {
        name: "trains_without_normalization",
        text: "with 50 blocks of width 100 it reaches the accuracy that batch normalization has, less 1.5 points, and 20 \
               points more than He's start without normalization, each at its best learning rate",
        kind: ClaimKind::Effect,
        budget_s: 1800,
        seeds: 3,
        expectation: Expectation::Holds,
        run: trains_without_normalization,
    },
];

const RECIPE: &str = "{base: pytorch_default, rules: [{with: fixup}]}";

fn begins_as_its_skips() -> Result<Verdict, Error> {
    let net = doubled("residual_mlp:20-32-10,blocks=6,norm=fixup")?;
    let (mut largest, mut blocks) = (0.0f64, 0.0f64);
    for seed in 0..3 {
        let weights = draw_start(&net, RECIPE, seed)?;
        let x = noise(&net, &[16, 20], seed)?;
        let (off, n_sums) = skips_off(&net, &weights, &x)?;
        // Of each block, with the shift before it and with the branch.
        blocks = blocks.max(if n_sums == 12 { off } else { f64::INFINITY });
        largest = answers(&net, &weights, &x)?.iter().map(|logit| logit.abs()).fold(largest, f64::max);
    }
    let details = vec![
        format!("largest answer {largest:e}, from which a loss of ln 10 follows"),
        format!("largest change of a skip by its block {blocks:e} of it"),
    ];
    Ok(Verdict { details, ..Verdict::at_most(largest.max(blocks), 0.0) })
}

fn branches_shrink() -> Result<Verdict, Error> {
    let mut worst = 0.0f64;
    let mut details = Vec::new();
    for (spec, count, degree) in [("resnet20,norm=fixup", 9.0f64, 2.0f64), ("resnet50,norm=fixup", 16.0, 3.0)]
    {
        let net = zoo_network(spec)?;
        let weights = draw_start(&net, RECIPE, 0)?;
        for site in net.sites() {
            let Some(branch) = site.branch.filter(|branch| !branch.is_last) else { continue };
            if branch.degree as f64 != degree || branch.count as f64 != count {
                return Err(broken(&format!("{} stands in {branch:?}", site.name)));
            }
            let fan_out = site.fans.map_or(1.0, |fans| fans.out);
            let expected = (2.0 / fan_out).sqrt() * count.powf(-1.0 / (2.0 * degree - 2.0));
            let values = weights.get(site.param).map(Tensor::to_f64).unwrap_or_default();
            let n = values.len() as f64;
            let std = (values.iter().map(|x| x * x).sum::<f64>() / n).sqrt();
            worst = worst.max((std / expected - 1.0).abs() * (2.0 * n).sqrt());
        }
        details.push(format!("{spec}: {count} branches of {degree} weights"));
    }
    details.push("largest deviation of a standard deviation, in standard errors".to_owned());
    Ok(Verdict { details, ..Verdict::at_most(worst, 3.0) })
}

/// Gradients of a batch's cross-entropy by all weights.
fn gradients(
    net: &Network,
    weights: &Weights,
    x: &Value,
    labels: &[i64],
) -> Result<(Parameters, Vec<Option<Var>>), Error> {
    let params = weights.leaves(net);
    let done = of(run(net, &params, std::slice::from_ref(x), Mode::Train, &mut |_| Ok(())))?;
    let logits = done.outputs[0].real().ok_or_else(|| broken(&"no real outputs"))?.clone();
    let loss = of(loss::cross_entropy(&logits, labels))?.mean();
    let one = Var::constant(loss.value().full_like(1.0, &loss.shape()));
    let wrt: Vec<Var> = params.tracked().map(|(_, var)| var.clone()).collect();
    let found = vjp(&[(&loss, one)], &wrt.iter().collect::<Vec<_>>(), epoch0_engine::Order::Last);
    Ok((params, found))
}

/// A step of plain descent; the scalars learn at a tenth of the rate.
fn stepped(net: &Network, weights: &Weights, x: &Value, labels: &[i64], rate: f64) -> Result<Weights, Error> {
    let (params, gradients) = gradients(net, weights, x, labels)?;
    let mut next = weights.clone();
    for ((id, var), gradient) in params.tracked().zip(gradients) {
        let Some(gradient) = gradient else { continue };
        let is_single = net.param(id).len() == 1;
        let push = gradient.scale(if is_single { -0.1 * rate } else { -rate });
        next.set(id, var.detach().add(&push).value().clone());
    }
    Ok(next)
}

fn labels(n: usize) -> Vec<i64> {
    (0..n as i64).map(|nth| nth % 10).collect()
}

fn learning_goes_inward() -> Result<Verdict, Error> {
    const STEPS: usize = 3;
    let net = doubled("residual_mlp:20-32-10,blocks=6,norm=fixup")?;
    let x = noise(&net, &[32, 20], 0)?;
    let labels = labels(32);
    let mut weights = draw_start(&net, RECIPE, 0)?;
    let mut wrong = Vec::new();
    for step in 0..STEPS {
        let (params, found) = gradients(&net, &weights, &x, &labels)?;
        for ((id, _), gradient) in params.tracked().zip(found) {
            let Some(site) = net.sites_of(id).find(|site| site.role.is_matrix()) else { continue };
            let size = gradient.map_or(0.0, |gradient| {
                gradient.value().to_f64().iter().map(|x| x.abs()).fold(0.0, f64::max)
            });
            let from = match (site.role, site.branch) {
                (Role::Readout, _) => 0,
                (_, Some(branch)) if !branch.is_last => 2,
                _ => 1,
            };
            if (size > 0.0) != (step >= from) {
                wrong.push(format!("step {step}: gradient of {} is {size:e}", site.name));
            }
        }
        weights = stepped(&net, &weights, &x, &labels, 0.1)?;
    }
    let n = wrong.len() as f64;
    Ok(Verdict { details: wrong, ..Verdict::at_most(n, 0.0) })
}

/// Mean over three steps of how much the answers to a batch change.
fn change(net: &Network, recipe: &str, seed: u64) -> Result<f64, Error> {
    const RATE: f64 = 0.05;
    const STEPS: usize = 3;
    let (x, labels) = (noise(net, &[32, 64], seed)?, labels(32));
    let mut weights = draw_start(net, recipe, seed)?;
    let mut total = 0.0;
    let mut before = answers(net, &weights, &x)?;
    for _ in 0..STEPS {
        weights = stepped(net, &weights, &x, &labels, RATE)?;
        let after = answers(net, &weights, &x)?;
        let moved = after.iter().zip(&before).map(|(after, before)| (after - before).abs());
        total += moved.sum::<f64>() / before.len() as f64;
        before = after;
    }
    Ok(total / STEPS as f64)
}

fn update_is_independent_of_depth() -> Result<Verdict, Error> {
    const DEPTHS: [usize; 4] = [4, 16, 64, 256];
    const SEEDS: u64 = 5;
    let zeroed = "{base: pytorch_default, rules: [{role: bias, with: zeros}, {with: he_normal, set: {mode: fan_out}}, \
                  {role: scalar, with: ones}, {ends_branch: true, with: zeros}]}";
    let mut details = vec!["mean change of an answer in a step, over three steps at rate 0.05".to_owned()];
    let mut found = Vec::new();
    for (name, recipe) in [("fixup", RECIPE), ("last weights 0 alone", zeroed)] {
        let mut by_depth = Vec::new();
        for blocks in DEPTHS {
            let net = doubled(&format!("residual_mlp:64-64-10,blocks={blocks},norm=fixup"))?;
            let changes: Vec<f64> =
                epoch0_train::beside(SEEDS as usize, |seed| change(&net, recipe, seed as u64))?;
            details.push(format!("{name}, {blocks} blocks: {}", listed(changes.iter().copied(), 4)));
            by_depth.push(mean(&changes));
        }
        found.push(by_depth);
    }
    let spread = |changes: &[f64]| {
        changes.iter().copied().fold(0.0, f64::max) / changes.iter().copied().fold(f64::INFINITY, f64::min)
    };
    let (even, grows) = (spread(&found[0]), found[1][3] / found[1][0]);
    // What overflowed grew, too.
    let grows_enough = grows.is_nan() || grows >= 100.0;
    Ok(Verdict {
        holds: even <= 1.2 && grows_enough,
        measured: even,
        bound: format!("at most 1.2; without the factor it grows by {grows:.1}, at least 100"),
        interval: None,
        details,
    })
}

fn trains_without_normalization() -> Result<Verdict, Error> {
    const SEEDS: usize = 3;
    const RATES: [f64; 3] = [0.01, 0.03, 0.1];
    const EPOCHS: f64 = 5.0;
    const BATCH: usize = 32;
    let data: Dataset = Examples::set(10_000, 2_000)?;
    let net = |norm: &str| zoo_network(&format!("residual_mlp:784-100-10,blocks=50,norm={norm}"));
    let (fixup, batch, none) = (net("fixup")?, net("batch")?, net("none")?);
    let he = "{base: pytorch_default, rules: [{role: bias, with: zeros}, {with: he_normal, set: {mode: fan_out}}]}";
    let arms = [
        Arm { name: "fixup", net: &fixup, recipe: RECIPE.to_owned() },
        Arm { name: "he_normal with batch normalization", net: &batch, recipe: he.to_owned() },
        Arm { name: "he_normal without normalization", net: &none, recipe: he.to_owned() },
    ];
    let found = at_best_rate(&data, &arms, &RATES, SEEDS, By::Accuracy, |rate, seed| {
        descent(rate, Span::Epochs(EPOCHS), BATCH, seed)
    })?;
    let [own, normalized, plain] = [0, 1, 2].map(|arm| mean(&found[arm].best));
    let mut details = vec![
        data.name.clone(),
        format!(
            "test accuracy in % after {EPOCHS} epochs of batches of {BATCH}, plain descent, one rate for all parameters"
        ),
    ];
    details.extend(found.iter().map(|found| found.details.clone()));
    Ok(Verdict {
        holds: own >= normalized - 1.5 && own >= plain + 20.0,
        measured: own,
        bound: format!("at least {:.2} and {:.2}", normalized - 1.5, plain + 20.0),
        interval: Some(paired::mean(&found[0].best, 0.95).interval),
        details,
    })
}
