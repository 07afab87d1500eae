//! What the paper claims, as experiments.

use epoch0_engine::{Mode, Value, Weights, run};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::{Network, Op};
use rayon::prelude::*;

use crate::shared::experiment::{Descent, Examples, Trained, Unit, batch, broken, deep, interval, start};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "one_division",
        text: "in 30 layers of tanh, ReLU and maxout every layer has unit variance on the batch, to 10 %, after at most one \
               division, and a standard deviation within 0.1 of 1 on other examples",
        kind: ClaimKind::Law,
        budget_s: 30,
        seeds: 3,
        expectation: Expectation::Holds,
        run: one_division,
    },
    Claim {
        name: "one_pass",
        text: "a calibration does no more operations than two runs of the network",
        kind: ClaimKind::Law,
        budget_s: 10,
        seeds: 1,
        expectation: Expectation::Holds,
        run: one_pass,
    },
    Claim {
        name: "deep_tanh_nets_train",
        text: "30 layers of tanh end with a training loss no higher than from Xavier's start and from orthonormal weights \
               that are not scaled",
        kind: ClaimKind::Effect,
        budget_s: 1200,
        seeds: 5,
        expectation: Expectation::NotReproduced {
            why: "on MNIST its loss is 0.023 nats above Xavier's in [0.001, 0.045], and 0.078 above that of orthonormal \
                  weights in [0.017, 0.140]: with tanh these two hold 30 layers as well, at 93 to 97 % of the training \
                  examples all three, and scaling to unit variance puts more units into saturation. On a mixture of \
                  Gaussians it is below both, by 0.001",
        },
        run: || trains(Unit::Tanh),
    },
    Claim {
        name: "deep_relu_nets_train",
        text: "30 layers of ReLU end with a training loss no higher than from Xavier's start and from orthonormal weights \
               that are not scaled",
        kind: ClaimKind::Effect,
        budget_s: 1200,
        seeds: 5,
        expectation: Expectation::Holds,
        run: || trains(Unit::Relu),
    },
    Claim {
        name: "deep_maxout_nets_train",
        text: "30 layers of maxout end with a training loss no higher than from Xavier's start and from orthonormal weights \
               that are not scaled; they reach 85 % of the training examples where Xavier's start stays below 30 %",
        kind: ClaimKind::Effect,
        budget_s: 2400,
        seeds: 5,
        expectation: Expectation::NotReproduced {
            why: "on MNIST it ends lower than Xavier's start in every seed, by 0.451 nats in [0.213, 0.690], and at 91 to 94 %; \
                  but Xavier's start does train: it reaches 63 to 82 %, where the claim has it below 30 %. Orthonormal \
                  weights that are not scaled stay at guessing",
        },
        run: || trains(Unit::Maxout),
    },
    Claim {
        name: "as_fast_as_batch_norm",
        text: "30 layers of ReLU reach 90 % of the training examples within twice the steps that they need with batch \
               normalization",
        kind: ClaimKind::Effect,
        budget_s: 1200,
        seeds: 5,
        expectation: Expectation::Holds,
        run: as_fast_as_batch_norm,
    },
];

const DEPTH: usize = 30;
const WIDTH: usize = 100;
const INPUTS: usize = 784;
const CLASSES: usize = 10;
const SEEDS: u64 = 5;
/// Examples that are trained on.
const N: usize = 10_000;
/// Examples of a calibration.
const BATCH: usize = 1000;

const LSUV: &str = "{base: pytorch_default, calibrate: lsuv}";

/// Starts beside each other; biases are zero in all of them.
const STARTS: [(&str, &str); 3] = [
    ("lsuv", LSUV),
    ("xavier_normal", "{base: pytorch_default, rules: [{with: xavier_normal}, {role: bias, with: zeros}]}"),
    ("orthogonal", "{base: pytorch_default, rules: [{with: orthogonal}, {role: bias, with: zeros}]}"),
];

fn one_division() -> Result<Verdict, Error> {
    let examples = Examples::mnist_or_mixture(2 * BATCH)?;
    let (first, second): (Vec<usize>, Vec<usize>) = ((0..BATCH).collect(), (BATCH..2 * BATCH).collect());
    let (seen, fresh) = (batch(&examples, &first).0, batch(&examples, &second).0);
    let (mut on_batch, mut on_fresh, mut divisions): (f64, f64, u32) = (0.0, 0.0, 0);
    let mut details = vec![examples.name.clone()];
    for unit in [Unit::Tanh, Unit::Relu, Unit::Maxout] {
        let net = deep(INPUTS, WIDTH, DEPTH, CLASSES, unit)?;
        let mut worst: f64 = 0.0;
        for seed in 0..3 {
            let (weights, done) = start(&net, LSUV, seed, std::slice::from_ref(&seen))?;
            let done = done.ok_or_else(|| broken(&"nothing was calibrated"))?;
            for layer in &done.layers {
                on_batch = on_batch.max((layer.after.std.powi(2) - 1.0).abs());
                divisions = divisions.max(layer.iterations);
            }
            for std in stds(&net, &weights, &fresh)? {
                worst = worst.max((std - 1.0).abs());
            }
        }
        details.push(format!("{unit:?}: on other examples at most {worst:.3} off"));
        on_fresh = on_fresh.max(worst);
    }
    details.push(format!("on the batch at most {on_batch:.1e} off, at most {divisions} divisions"));
    let mut verdict = Verdict::at_most(on_fresh, 0.1);
    verdict.holds &= on_batch <= 0.1 && divisions <= 1;
    verdict.bound.push_str(" on other examples; 0.1 on the batch with at most one division");
    Ok(Verdict { details, ..verdict })
}

/// Standard deviation of each layer's output, as a plain run of the network has it.
fn stds(net: &Network, weights: &Weights, inputs: &Value) -> Result<Vec<f64>, Error> {
    let mut found = Vec::new();
    let ran = run(net, &weights.constants(), std::slice::from_ref(inputs), Mode::Train, &mut |done| {
        if let (Op::Linear { .. }, Some(Value::Real(y))) = (&done.node.op, done.outputs.first()) {
            let values = y.value().to_f64();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
            found.push((squares / values.len() as f64).sqrt());
        }
        Ok(())
    });
    ran.map_err(|error| broken(&error))?;
    Ok(found)
}

fn one_pass() -> Result<Verdict, Error> {
    let examples = Examples::mixture(64, INPUTS, CLASSES, 0)?;
    let all: Vec<usize> = (0..64).collect();
    let net = deep(INPUTS, WIDTH, DEPTH, CLASSES, Unit::Maxout)?;
    let (_, done) = start(&net, LSUV, 0, &[batch(&examples, &all).0])?;
    Ok(Verdict::at_most(done.map_or(f64::INFINITY, |done| done.passes), 2.0))
}

/// Three epochs at each of these rates.
const RATES: [f64; 3] = [0.003, 0.01, 0.03];
const EPOCHS: usize = 3;

fn descent(lr: f64, seed: u64) -> Descent {
    Descent { lr, steps: EPOCHS * N / 100, batch: 100, seed, look_every: 0, until: 1.0 }
}

/// Each start with each seed at each rate, in this order.
fn runs(
    unit: Unit,
    starts: &[(&str, &str)],
    examples: &Examples,
    how: impl Fn(f64, u64) -> Descent + Sync,
) -> Result<Vec<Trained>, Error> {
    let net = deep(INPUTS, WIDTH, DEPTH, CLASSES, unit)?;
    let calibration: Vec<usize> = (0..BATCH).collect();
    let (calibration, _) = batch(examples, &calibration);
    let mut jobs = Vec::new();
    for (_, recipe) in starts {
        for seed in 0..SEEDS {
            jobs.extend(RATES.map(|lr| (*recipe, seed, lr)));
        }
    }
    jobs.par_iter()
        .map(|&(recipe, seed, lr)| {
            let (weights, _) = start(&net, recipe, seed, std::slice::from_ref(&calibration))?;
            how(lr, seed).train(&net, &weights, examples)
        })
        .collect()
}

fn trains(unit: Unit) -> Result<Verdict, Error> {
    let examples = Examples::mnist_or_mixture(N)?;
    let found = runs(unit, &STARTS, &examples, descent)?;
    let mut details = vec![
        examples.name.clone(),
        format!(
            "momentum 0.9, learning rates {RATES:?}, {EPOCHS} epochs, batch 100; the best rate of each seed"
        ),
    ];
    // Of each start and seed the rate with the lowest loss.
    let lower = |a: &&Trained, b: &&Trained| a.loss.total_cmp(&b.loss);
    let best: Vec<Trained> =
        found.chunks(RATES.len()).filter_map(|rates| rates.iter().min_by(lower)).copied().collect();
    let by_start: Vec<&[Trained]> = best.chunks(SEEDS as usize).collect();
    for ((name, _), trained) in STARTS.iter().zip(&by_start) {
        let shown: Vec<String> =
            trained.iter().map(|one| format!("{:.3} ({:.1} %)", one.loss, 100.0 * one.accuracy)).collect();
        details.push(format!("{name}: loss and accuracy by seed {}", shown.join(", ")));
    }
    // What is not below the loss of guessing has not trained; a loss that is not finite counts as that.
    let loss = |one: &Trained| if one.loss.is_finite() { one.loss } else { (CLASSES as f64).ln() };
    let over = |other: &[Trained]| -> Vec<f64> {
        by_start[0].iter().zip(other).map(|(ours, theirs)| loss(theirs) - loss(ours)).collect()
    };
    let (xavier, unscaled) = (interval(&over(by_start[1])), interval(&over(by_start[2])));
    details.push(format!(
        "orthogonal's loss less lsuv's: {:.3} in [{:.3}, {:.3}]",
        unscaled.1, unscaled.0, unscaled.2
    ));
    let mut holds = xavier.1 >= 0.0 && unscaled.1 >= 0.0;
    let mut bound = "a mean loss of the other starts, less lsuv's, of at least 0".to_owned();
    if unit == Unit::Maxout {
        holds &= by_start[0].iter().all(|one| one.accuracy >= 0.85);
        holds &= by_start[1].iter().all(|one| one.accuracy <= 0.3);
        bound.push_str("; accuracy at least 0.85, Xavier's at most 0.3, in every seed");
    }
    Ok(Verdict { holds, measured: xavier.1, bound, interval: Some((xavier.0, xavier.2)), details })
}

fn as_fast_as_batch_norm() -> Result<Verdict, Error> {
    let examples = Examples::mnist_or_mixture(N)?;
    let until = |lr: f64, seed: u64| Descent {
        steps: 2 * EPOCHS * N / 100,
        look_every: 10,
        until: 0.9,
        ..descent(lr, seed)
    };
    let most = until(0.0, 0).steps;
    let fastest = |unit: Unit, starts: &[(&str, &str)]| -> Result<Vec<usize>, Error> {
        let found = runs(unit, starts, &examples, until)?;
        let steps = |rates: &[Trained]| rates.iter().filter_map(|one| one.reached).min();
        Ok(found.chunks(RATES.len()).map(|rates| steps(rates).unwrap_or(most)).collect())
    };
    let (ours, theirs) = (fastest(Unit::Relu, &STARTS[..1])?, fastest(Unit::NormRelu, &STARTS[1..2])?);
    let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| *a as f64 / *b as f64).collect();
    let (low, mean, high) = interval(&ratios);
    Ok(Verdict { interval: Some((low, high)), ..Verdict::at_most(mean, 2.0) }
        .detail(examples.name.clone())
        .detail(format!(
            "momentum 0.9, the fastest of learning rates {RATES:?}, batch 100, at most {most} steps"
        ))
        .detail(format!("steps of lsuv {ours:?}, of batch normalization from Xavier's start {theirs:?}")))
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
