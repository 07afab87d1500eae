//! What the paper claims, as identities and experiments.

use epoch0_engine::{Mode, Value, Weights, run};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::{Linear, Network, Op, Share};
use epoch0_num::Activation;
use epoch0_num::rational::{Form, RANGE, Rational};
use epoch0_train::{Adam, Optimizer, Settings, Span};

use crate::shared::experiment::{
    Arm, By, Examples, answers, at_best_rate, broken, built, doubled, draw_start, interval, listed, mean,
    noise, of, zoo_network,
};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "begins_as_any_function",
        text: "a learned function begins as the one that is asked for, between -3 and 3: the identity exactly, swish and tanh \
               to 1e-5, GELU to 0.005, ReLU to 0.035",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 0,
        expectation: Expectation::Holds,
        run: begins_as_any_function,
    },
    Claim {
        name: "keeps_variance",
        text: "standard normal features of width 1024 have second moment 1 ± 0.03 behind a learned function and its map, on \
               average over draws, whatever the function begins as",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 16,
        expectation: Expectation::Holds,
        run: keeps_variance,
    },
    Claim {
        name: "keeps_variance_in_depth",
        text: "through 12 such layers of width 256 that begin as swish the variance stays within 0.5 and 2; from weights of \
               standard deviation 0.02 it falls below 0.001",
        kind: ClaimKind::Effect,
        budget_s: 60,
        seeds: 5,
        expectation: Expectation::NotReproduced {
            why: "at width 256 it is 1.8 to 3.6 behind layer 12. Variance 1 is a fixed point that repels: each layer multiplies \
                  a deviation by 1.17, and layers of that width deviate by a tenth; at width 1024 it is 1.0 to 1.8. From 0.02 \
                  it falls to 1e-14",
        },
        run: keeps_variance_in_depth,
    },
    Claim {
        name: "takes_over_a_transformer",
        text: "with the weights of a vision transformer with swish a KAT answers the same, to 0.001 of the answers' standard \
               deviation",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 3,
        expectation: Expectation::Holds,
        run: || takes_over("silu", 1e-3),
    },
    Claim {
        name: "takes_over_gelu",
        text: "the same with GELU, to 0.005",
        kind: ClaimKind::Effect,
        budget_s: 20,
        seeds: 3,
        expectation: Expectation::NotReproduced {
            why: "0.006 to 0.012 with sizes summed, 0.017 to 0.042 with the size of the sum: GELU has no rational of this \
                  degree closer than 0.004 and 0.001 between -3 and 3, and of standard normal features some lie beyond",
        },
        run: || takes_over("gelu", 5e-3),
    },
    Claim {
        name: "trains_against_perceptrons",
        text: "on MNIST a KAT of 4 blocks is at least 0.3 points better than the same transformer with perceptrons, and better \
               than itself from torch's start",
        kind: ClaimKind::Effect,
        budget_s: 3600,
        seeds: 3,
        expectation: Expectation::NotMeasured { why: "it takes half an hour of two cores" },
        run: trains_against_perceptrons,
    },
];

const RECIPE: &str = "{base: timm_vit, rules: [{with: kat}]}";
const FORMS: [Form; 2] = [Form::SumOfAbs, Form::AbsOfSum];

/// `layers` learned functions with square maps behind them.
fn layers(width: usize, layers: usize, start: &Rational) -> Result<Network, Error> {
    built(|b| {
        let mut x = b.input("x", &[None, Some(width)]);
        for layer in 0..layers {
            x = b.rational(x, &format!("act{layer}"), 8, Share::Numerator, start);
            x = b.linear(x, &format!("fc{layer}"), Linear::new(width));
        }
        b.output(x, "y");
    })
}

fn fit(act: &Activation, form: Form) -> Result<Rational, Error> {
    of(Rational::fit(act, form))
}

fn act(name: &str) -> Result<Activation, Error> {
    of(name.parse())
}

fn begins_as_any_function() -> Result<Verdict, Error> {
    const POINTS: usize = 601;
    let bounds = [
        ("identity", 0.0, 0.0),
        ("silu", 1e-5, 1e-5),
        ("tanh", 1e-5, 1e-5),
        ("sigmoid", 1e-5, 1e-5),
        ("gelu", 0.005, 0.005),
        ("mish", 5e-4, 5e-4),
        ("elu", 0.005, 0.005),
        ("softplus", 1e-4, 1e-4),
        ("relu", 0.035, 0.035),
        ("leaky_relu(0.1)", 0.035, 0.035),
    ];
    let mut worst = 0.0f64;
    let mut details = Vec::new();
    for (name, sum_abs, abs_sum) in bounds {
        let act = act(name)?;
        for form in FORMS {
            // What runs are the coefficients that the method draws.
            let net = built(|b| {
                let x = b.input("x", &[None, Some(8)]);
                // The network has it begin as something else.
                let start = Rational { like: Activation::Tanh, ..identity(form) };
                let x = b.rational(x, "act", 8, Share::None, &start);
                b.output(x, "y");
            })?;
            let recipe =
                format!("{{base: timm_vit, rules: [{{with: kat, set: {{activation: \"{name}\"}}}}]}}");
            let weights = draw_start(&net, &recipe, 0)?;
            let step = (RANGE.1 - RANGE.0) / (POINTS - 1) as f64;
            let x: Vec<f64> = (0..POINTS).map(|k| RANGE.0 + step * k as f64).collect();
            let rows: Vec<f64> = x.iter().flat_map(|x| [*x; 8]).collect();
            let input = value(rows, &[POINTS, 8]);
            let found = answers(&net, &weights, &input)?;
            let error = found.iter().enumerate().map(|(at, y)| (y - act.value(x[at / 8])).abs());
            let error = error.fold(0.0, f64::max);
            let bound = if form == Form::SumOfAbs { sum_abs } else { abs_sum };
            worst = worst.max(if error <= bound { error } else { f64::INFINITY });
            details.push(format!("{name}, {}: at most {error:.1e} off, allowed {bound:e}", form.name()));
        }
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 0.035) })
}

/// A function of that form that does nothing.
fn identity(form: Form) -> Rational {
    let numerator = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
    Rational { like: Activation::Identity, form, numerator, denominator: [0.0; 4] }
}

fn value(values: Vec<f64>, shape: &[usize]) -> Value {
    let device = epoch0_engine::Device::cpu();
    Value::constant(epoch0_engine::Tensor::from_f64(values, shape, epoch0_engine::Precision::Double, &device))
}

fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / values.len() as f64
}

fn keeps_variance() -> Result<Verdict, Error> {
    let mut worst = 0.0f64;
    let mut details = Vec::new();
    for name in ["identity", "silu", "gelu", "relu", "sigmoid"] {
        let start = fit(&act(name)?, Form::SumOfAbs)?;
        let net = layers(1024, 1, &start)?;
        let found: Result<Vec<f64>, Error> = (0..16)
            .map(|seed| {
                let x = noise(&net, &[64, 1024], seed)?;
                let found = answers(&net, &draw_start(&net, RECIPE, seed)?, &x)?;
                // Around 0: a function's mean is part of what the next map sums.
                Ok(found.iter().map(|y| y * y).sum::<f64>() / found.len() as f64)
            })
            .collect();
        let found = found?;
        let (low, middle, high) = interval(&found);
        worst = worst.max((middle - 1.0).abs());
        let alpha = of(start.alpha())?;
        details.push(format!("{name}, α = {alpha:.4}: second moment {middle:.4} in [{low:.4}, {high:.4}]"));
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 0.03) })
}

/// Variance behind each map, from standard normal features.
fn by_layer(net: &Network, weights: &Weights, x: &Value) -> Result<Vec<f64>, Error> {
    let mut found = Vec::new();
    let ran = run(net, &weights.constants(), std::slice::from_ref(x), Mode::Eval, &mut |done| {
        if let (Op::Linear { .. }, Some(y)) = (&done.node.op, done.outputs[0].real()) {
            found.push(variance(&y.value().to_f64()));
        }
        Ok(())
    });
    of(ran)?;
    Ok(found)
}

fn keeps_variance_in_depth() -> Result<Verdict, Error> {
    const SEEDS: u64 = 5;
    let last = |width: usize, recipe: &str| -> Result<Vec<f64>, Error> {
        let net = layers(width, 12, &fit(&Activation::Silu, Form::SumOfAbs)?)?;
        let of_seed = |seed| {
            let x = noise(&net, &[256, width], seed)?;
            let found = by_layer(&net, &draw_start(&net, recipe, seed)?, &x)?;
            found.last().copied().ok_or_else(|| broken(&"it has no map"))
        };
        (0..SEEDS).map(of_seed).collect()
    };
    let (own, narrow) = (last(256, RECIPE)?, last(256, "base: timm_vit")?);
    let within = own.iter().all(|variance| (0.5..=2.0).contains(variance));
    let (low, middle, high) = interval(&own);
    Ok(Verdict {
        holds: within && narrow.iter().all(|variance| *variance < 1e-3),
        measured: middle,
        bound: "within 0.5 and 2 at every seed, and below 0.001 from a standard deviation of 0.02".to_owned(),
        interval: Some((low, high)),
        details: vec![
            format!("variance behind layer 12: {}", listed(own.iter().copied(), 3)),
            format!("the same of width 1024: {}", listed(last(1024, RECIPE)?, 3)),
            format!(
                "from a standard deviation of 0.02: at most {:.1e}",
                narrow.iter().copied().fold(0.0, f64::max)
            ),
        ],
    })
}

/// How far the answers of a KAT with a transformer's weights are from that one's.
fn takes_over(act: &str, bound: f64) -> Result<Verdict, Error> {
    const SIZES: &str = "layers=2,embed=64,heads=4,patch=4,in=1,size=28";
    let vit = doubled(&format!("vit:{SIZES},act={act}"))?;
    let mut worst = 0.0f64;
    let mut details = Vec::new();
    for form in FORMS {
        let kat = doubled(&format!("kat:{SIZES},act={act},form={}", form.name()))?;
        let mut found = Vec::new();
        for seed in 0..3 {
            let (given, mut taken) = (draw_start(&vit, RECIPE, seed)?, draw_start(&kat, RECIPE, seed)?);
            for (id, tensor) in given.iter() {
                let name = &vit.param(id).name;
                let own = kat.find(name).ok_or_else(|| broken(&format!("no {name} in it")))?;
                taken.set(own, tensor.clone());
            }
            let x = noise(&vit, &[16, 1, 28, 28], seed)?;
            let (before, after) = (answers(&vit, &given, &x)?, answers(&kat, &taken, &x)?);
            let off = before.iter().zip(&after).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            found.push(off / variance(&before).sqrt());
        }
        worst = found.iter().copied().fold(worst, f64::max);
        let found: Vec<String> = found.iter().map(|off| format!("{off:.1e}")).collect();
        details.push(format!("{}: {} of the standard deviation", form.name(), found.join(", ")));
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, bound) })
}

fn trains_against_perceptrons() -> Result<Verdict, Error> {
    const SEEDS: usize = 3;
    const EPOCHS: f64 = 3.0;
    const SIZES: &str = "layers=4,embed=64,heads=4,patch=4,in=1,size=28";
    let data = Examples::images(10_000, 2_000)?;
    let (kat, vit) = (zoo_network(&format!("kat:{SIZES}"))?, zoo_network(&format!("vit:{SIZES}"))?);
    let arms = [
        Arm { name: "kat", net: &kat, recipe: RECIPE.to_owned() },
        Arm { name: "perceptrons, timm_vit", net: &vit, recipe: "base: timm_vit".to_owned() },
        Arm { name: "kat, pytorch_default", net: &kat, recipe: "base: pytorch_default".to_owned() },
    ];
    let found = at_best_rate(&data, &arms, &[1e-3], SEEDS, By::Accuracy, |rate, seed| Settings {
        length: Span::Epochs(EPOCHS),
        optimizer: Optimizer::AdamW(Adam { weight_decay: 0.01, ..Adam::default() }),
        learning_rate: rate,
        batch: 64,
        seed,
        ..Settings::default()
    })?;
    let against = |arm: usize| -> Vec<f64> {
        found[0].best.iter().zip(&found[arm].best).map(|(own, other)| own - other).collect()
    };
    let (perceptrons, torch) = (against(1), against(2));
    let (low, gain, high) = interval(&perceptrons);
    let mut details = vec![
        data.name.clone(),
        format!("test accuracy in % after {EPOCHS} epochs of AdamW, batches of 64"),
        format!("{} parameters, {} with perceptrons", kat.n_params(), vit.n_params()),
    ];
    details.extend(found.iter().map(|found| found.details.clone()));
    details.push(format!("over torch's start: {}", listed(torch.iter().copied(), 2)));
    Ok(Verdict {
        holds: gain >= 0.3 && mean(&torch) > 0.0,
        measured: gain,
        bound: "at least 0.3 points over perceptrons, and above torch's start".to_owned(),
        interval: Some((low, high)),
        details,
    })
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
