//! What is claimed of finite width: fluctuations over draws, by depth (Day, Kahn and Roberts 2023).

use epoch0_engine::taps::Taps;
use epoch0_engine::{Mode, Precision, Tensor, Value, ntk, run};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::{Network, Op};
use epoch0_num::stats::Moments;
use epoch0_train::Span;

use crate::shared::experiment::{
    Arm, By, Examples, at_best_rate, descent, doubled, draw_start, interval, listed, mean, of, zoo_network,
};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "linear_networks_keep_lengths",
        text: "behind each of 60 linear layers of width 30 an input has the length it came with, to 1e-10",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 5,
        expectation: Expectation::Holds,
        run: linear_networks_keep_lengths,
    },
    Claim {
        name: "fluctuations_stay",
        text: "over 60 tanh layers of width 30, n Var(|z|²/n)/K² - 2 stays within 0.3 from layer 5 on; with Gaussian weights it \
               is at least 0.4 l at layers 20, 40 and 60",
        kind: ClaimKind::Effect,
        budget_s: 300,
        seeds: 1500,
        expectation: Expectation::Holds,
        run: fluctuations_stay,
    },
    Claim {
        name: "lengths_fall_with_depth",
        text: "K = E|z|²/n is 1/(2 l) to 20 % from layer 40 on, in tanh layers of width 100",
        kind: ClaimKind::Effect,
        budget_s: 300,
        seeds: 100,
        expectation: Expectation::Holds,
        run: lengths_fall_with_depth,
    },
    Claim {
        name: "tangent_kernels_stay",
        text: "from 20 to 60 tanh layers of width 30, n Var(Θ)/E[Θ]² of the tangent kernel of one input grows by at most 1.3, \
               with Gaussian weights at least twofold",
        kind: ClaimKind::Effect,
        budget_s: 600,
        seeds: 500,
        expectation: Expectation::Holds,
        run: tangent_kernels_stay,
    },
    Claim {
        name: "rectifiers_fluctuate_all_the_same",
        text: "with rectifiers and gain √2, n Var(|z|²/n)/K² grows from layer to layer",
        kind: ClaimKind::Effect,
        budget_s: 300,
        seeds: 500,
        expectation: Expectation::Holds,
        run: rectifiers_fluctuate_all_the_same,
    },
    Claim {
        name: "trains_deep_narrow_networks",
        text: "30 tanh layers of width 30 on 1000 digits reach at least the test accuracy that Gaussian weights give after 300 \
               steps on all of them at once, each at its best learning rate",
        kind: ClaimKind::Effect,
        budget_s: 1800,
        seeds: 5,
        expectation: Expectation::Holds,
        run: trains_deep_narrow_networks,
    },
];

const WIDTH: usize = 30;
const GAUSSIAN: &str = "base: {with: variance_scaling, set: {scale: 1, distribution: normal}}";
const ORTHOGONAL: &str = "base: orthogonal";

/// Layers of one width without biases and a readout of one unit.
fn layers(width: usize, depth: usize, act: &str) -> Result<Network, Error> {
    doubled(&format!("mlp:{width}-{}1,act={act},bias=false", format!("{width}-").repeat(depth)))
}

/// An input with elements of size 1 and both signs.
fn input(width: usize) -> Value {
    let values = (0..width).map(|at| if at % 3 == 0 { -1.0 } else { 1.0 }).collect();
    Value::constant(Tensor::from_f64(values, &[1, width], Precision::Double, &epoch0_engine::Device::cpu()))
}

/// `|z|²/n` of the pre-activations of each hidden layer, over draws of a recipe.
fn lengths(net: &Network, recipe: &str, n_nets: u64, width: usize) -> Result<Vec<Moments>, Error> {
    let mut found: Vec<Moments> = Vec::new();
    for seed in 0..n_nets {
        let weights = draw_start(net, recipe, seed)?;
        let mut layer = 0;
        let ran = run(net, &weights.constants(), &[input(width)], Mode::Train, &mut |done| {
            if let (Op::Linear { .. }, Some(values)) = (&done.node.op, done.outputs[0].real()) {
                let values = values.value().to_f64();
                if found.len() == layer {
                    found.push(Moments::of::<f64>(&[]));
                }
                found[layer].add(values.iter().map(|value| value * value).sum::<f64>() / width as f64);
                layer += 1;
            }
            Ok(())
        });
        of(ran)?;
    }
    // The readout is no layer of that width.
    found.pop();
    Ok(found)
}

/// `n Var(|z|²/n) / K²`, by layer.
fn spreads(found: &[Moments], width: usize) -> Vec<f64> {
    found.iter().map(|length| width as f64 * length.var() / length.mean().powi(2)).collect()
}

fn linear_networks_keep_lengths() -> Result<Verdict, Error> {
    let found = lengths(&layers(WIDTH, 60, "none")?, ORTHOGONAL, 5, WIDTH)?;
    let worst =
        found.iter().map(|length| (length.mean() - 1.0).abs() + length.var().sqrt()).fold(0.0, f64::max);
    Ok(Verdict::at_most(worst, 1e-10).detail("n Var(|z|²/n)/K² - 2 is -2 at all layers".to_owned()))
}

fn fluctuations_stay() -> Result<Verdict, Error> {
    const NETS: u64 = 1500;
    let net = layers(WIDTH, 60, "tanh")?;
    let orthogonal = spreads(&lengths(&net, ORTHOGONAL, NETS, WIDTH)?, WIDTH);
    let gaussian = spreads(&lengths(&net, GAUSSIAN, NETS, WIDTH)?, WIDTH);
    let deep = &orthogonal[4..];
    let range = deep.iter().copied().fold(f64::MIN, f64::max) - deep.iter().copied().fold(f64::MAX, f64::min);
    let grows = [20usize, 40, 60].iter().all(|&layer| gaussian[layer - 1] - 2.0 >= 0.4 * layer as f64);
    let at = |of: &[f64]| listed([5, 10, 20, 40, 60].map(|layer: usize| of[layer - 1] - 2.0), 3);
    let mut verdict = Verdict::at_most(range, 0.3).detail(format!(
        "at layers 5, 10, 20, 40 and 60: orthogonal {}, Gaussian {}",
        at(&orthogonal),
        at(&gaussian)
    ));
    verdict.holds &= grows;
    Ok(verdict)
}

fn lengths_fall_with_depth() -> Result<Verdict, Error> {
    const WIDE: usize = 100;
    let net = layers(WIDE, 60, "tanh")?;
    let found = lengths(&net, ORTHOGONAL, 100, WIDE)?;
    let gaussian = lengths(&net, GAUSSIAN, 100, WIDE)?;
    let of = |found: &[Moments], layer: usize| found[layer - 1].mean() * 2.0 * layer as f64;
    let worst = (40..=60).map(|layer| (of(&found, layer) - 1.0).abs()).fold(0.0, f64::max);
    Ok(Verdict::at_most(worst, 0.2).detail(format!(
        "2 l K at layers 10, 20, 40 and 60: orthogonal {}, Gaussian {}",
        listed([10, 20, 40, 60].map(|layer| of(&found, layer)), 3),
        listed([10, 20, 40, 60].map(|layer| of(&gaussian, layer)), 3)
    )))
}

/// `n Var(Θ) / E[Θ]²` of one input's tangent kernel over draws.
fn kernel_spread(depth: usize, recipe: &str, n_nets: u64) -> Result<f64, Error> {
    let net = layers(WIDTH, depth, "tanh")?;
    let mut found = Moments::of::<f64>(&[]);
    for seed in 0..n_nets {
        let params = draw_start(&net, recipe, seed)?.leaves(&net);
        let inputs = [input(WIDTH)];
        let taps = of(Taps::record(&net, &params, &inputs, Mode::Eval))?;
        found.add(of(ntk::full(&taps, None))?.at(0, 0));
    }
    Ok(WIDTH as f64 * found.var() / found.mean().powi(2))
}

fn tangent_kernels_stay() -> Result<Verdict, Error> {
    const NETS: u64 = 500;
    let at = |recipe| -> Result<[f64; 2], Error> {
        Ok([kernel_spread(20, recipe, NETS)?, kernel_spread(60, recipe, NETS)?])
    };
    let (orthogonal, gaussian) = (at(ORTHOGONAL)?, at(GAUSSIAN)?);
    let (ours, theirs) = (orthogonal[1] / orthogonal[0], gaussian[1] / gaussian[0]);
    let mut verdict = Verdict::at_most(ours, 1.3).detail(format!(
        "n Var(Θ)/E[Θ]² at 20 and 60 layers: orthogonal {}, Gaussian {}, which grows by {theirs:.2}",
        listed(orthogonal, 3),
        listed(gaussian, 3)
    ));
    verdict.holds &= theirs >= 2.0;
    Ok(verdict)
}

fn rectifiers_fluctuate_all_the_same() -> Result<Verdict, Error> {
    let net = layers(WIDTH, 60, "relu")?;
    let recipe = "base: {with: orthogonal, set: {gain: 1.4142135623730951}}";
    let found = spreads(&lengths(&net, recipe, 500, WIDTH)?, WIDTH);
    // Beyond layer 20 a mean over 500 draws is one of few of them.
    let growth = found[19] / found[4];
    Ok(Verdict::within(growth, 2.0, f64::INFINITY).detail(format!(
        "at layers 5, 10, 20: {}",
        listed([5, 10, 20].map(|layer: usize| found[layer - 1]), 2)
    )))
}

fn trains_deep_narrow_networks() -> Result<Verdict, Error> {
    const N: usize = 1000;
    let data = Examples::set(N, 1000)?;
    let net = zoo_network(&format!("mlp:784-{}10,act=tanh", "30-".repeat(30)))?;
    let with_biases = |recipe: &str| format!("{{{recipe}, rules: [{{role: bias, with: zeros}}]}}");
    let arms = [
        Arm { name: "orthogonal", net: &net, recipe: with_biases(ORTHOGONAL) },
        Arm { name: "Gaussian", net: &net, recipe: with_biases(GAUSSIAN) },
    ];
    let training = |rate, seed| descent(rate, Span::Steps(300), N, seed);
    let found = at_best_rate(&data, &arms, &[0.03, 0.1, 0.3], 5, By::Accuracy, training)?;
    let more: Vec<f64> =
        found[0].best.iter().zip(&found[1].best).map(|(ours, theirs)| ours - theirs).collect();
    let (low, measured, high) = interval(&more);
    let mut details =
        vec![data.name.clone(), "test accuracy in % after 300 steps of plain descent".to_owned()];
    details.extend(found.iter().map(|found| found.details.clone()));
    details.push(format!("means {:.2} and {:.2}", mean(&found[0].best), mean(&found[1].best)));
    Ok(Verdict {
        holds: measured >= 0.0,
        measured,
        bound: "at least 0 points more".to_owned(),
        interval: Some((low, high)),
        details,
    })
}
