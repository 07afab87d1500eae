//! What the paper claims, as identities and experiments.

use epoch0_engine::{Batch, Order, Weights};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::Network;

use super::{GradInit, INFO, Optimizer};
use crate::calibrate::calibrate;
use crate::shared::experiment::{Examples, deep_rectifiers, doubled, draw_start, noise, of, zoo_network};
use crate::shared::learned::{Learned, gradient_of};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "slopes_are_exact",
        text: "slopes of the loss behind a step along the scales are those of differences, to 1e-5, for gradient descent, and \
               slopes of the gradient's norm too",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: slopes_are_exact,
    },
    Claim {
        name: "first_step_is_better",
        text: "without a bound the loss behind a step is below that behind one from He's start, on examples that were not looked \
               at, over 3 starts; with one the gradient's norm ends below 1.5 times it",
        kind: ClaimKind::Law,
        budget_s: 60,
        seeds: 3,
        expectation: Expectation::Holds,
        run: first_step_is_better,
    },
    Claim {
        name: "deep_networks_train",
        text: "20 hidden layers of ReLU without normalization from PyTorch's start reach at least 20 points more after an epoch of \
               10,000 digits with it than without, each at its best learning rate",
        kind: ClaimKind::Effect,
        budget_s: 900,
        seeds: 3,
        expectation: Expectation::NotReproduced {
            why: "both stay at guessing, 10.9 and 11.2 %: behind 20 layers of PyTorch's start no signal is left for a loss to depend \
                  on, and the slopes along the scales are those of the biases. From starts that let signals through the first \
                  step is better (first_step_is_better)",
        },
        run: deep_networks_train,
    },
];

const ETA: f64 = 0.1;

fn gradinit() -> GradInit {
    GradInit {
        optimizer: Optimizer::Sgd,
        eta: ETA,
        gamma: 1.0,
        rate: 0.01,
        steps: 100,
        batch: 64,
        min_scale: 0.01,
    }
}

/// Loss behind a step, and the norm of the gradient before it; with what they depend on.
fn objectives(
    net: &Network,
    weights: &Weights,
    batch: &Batch,
    scales: &[f64],
) -> Result<[(f64, Vec<f64>); 2], Error> {
    let method = gradinit();
    let mut learned = of(Learned::new(INFO.id, net, weights, |_| true))?;
    learned.scales.iter_mut().zip(scales).for_each(|((_, scale), to)| *scale = *to);
    let params = learned.parameters();
    let loss = of(learned.loss(&params, batch, 0))?;
    let gradients = gradient_of(&loss, &params, Order::Differentiable);
    let norm = method.norm(&gradients);
    let behind = of(learned.loss(&method.stepped(&params, &gradients, &norm), batch, 0))?;
    let slopes =
        |of_: &epoch0_engine::Var| of(learned.slopes(&gradient_of(of_, &params, Order::Last), &params));
    Ok([(behind.value().item(), slopes(&behind)?), (norm.value().item(), slopes(&norm)?)])
}

fn slopes_are_exact() -> Result<Verdict, Error> {
    let net = doubled("mlp:6-8-8-4,act=tanh")?;
    let weights = draw_start(&net, "{base: pytorch_default}", 0)?;
    let batch =
        Batch { inputs: vec![noise(&net, &[12, 6], 0)?], labels: Some((0..12).map(|at| at % 4).collect()) };
    let ones = vec![1.0; 6];
    let at = objectives(&net, &weights, &batch, &ones)?;
    let (step, mut worst) = (1e-5, 0.0f64);
    for nth in 0..ones.len() {
        let moved = |by: f64| {
            let mut scales = ones.clone();
            scales[nth] += by;
            objectives(&net, &weights, &batch, &scales)
        };
        let (up, down) = (moved(step)?, moved(-step)?);
        for which in 0..2 {
            let expected = (up[which].0 - down[which].0) / (2.0 * step);
            worst = worst.max((at[which].1[nth] - expected).abs() / expected.abs().max(1e-3));
        }
    }
    Ok(Verdict::at_most(worst, 1e-5))
}

fn first_step_is_better() -> Result<Verdict, Error> {
    let (mut worst, mut details) = (f64::NEG_INFINITY, Vec::new());
    for seed in 0..3 {
        let net = zoo_network("mlp:784-64-64-64-64-10")?;
        let weights = draw_start(&net, "{base: pytorch_default, rules: [{with: he_normal}]}", seed)?;
        let examples = Examples::mnist_or_mixture(1_000)?;
        let part = |from: usize| {
            let which: Vec<usize> = (from..from + 500).collect();
            let (inputs, labels) = crate::shared::experiment::batch(&examples, &which);
            Batch { inputs: vec![inputs], labels: Some(labels) }
        };
        let scaled = |gamma: f64| {
            let method = GradInit { gamma, ..gradinit() };
            Ok::<_, Error>(of(calibrate(INFO.id, &method, &net, &weights, &part(0)))?.0)
        };
        let behind = |weights: &Weights| {
            let n = of(Learned::new(INFO.id, &net, weights, |_| true))?.scales.len();
            let [behind, norm] = objectives(&net, weights, &part(500), &vec![1.0; n])?;
            Ok::<_, Error>((behind.0, norm.0))
        };
        let (before, free, bound) = (behind(&weights)?, behind(&scaled(1e9)?)?, behind(&scaled(1.0)?)?);
        details.push(format!(
            "loss behind a step of {ETA}: {:.3}, from He's start {:.3}; norm of the gradient with a bound of 1: {:.3}, before {:.3}",
            free.0, before.0, bound.1, before.1
        ));
        worst = worst.max(free.0 - before.0).max(bound.1 - 1.5);
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 0.0) })
}

fn deep_networks_train() -> Result<Verdict, Error> {
    let base = "base: pytorch_default";
    deep_rectifiers([
        ("gradinit", format!("{{{base}, calibrate: gradinit}}")),
        ("PyTorch's", format!("{{{base}}}")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_hold() {
        for claim in CLAIMS.iter().filter(|claim| claim.kind == ClaimKind::Law) {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:?}", claim.name);
        }
    }
}
