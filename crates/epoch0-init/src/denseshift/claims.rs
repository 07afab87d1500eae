//! What the paper claims, as identities and experiments.

use epoch0_data::{Classes, Dataset, Examples as Labelled, Targets};
use epoch0_engine::{Tensor, Value, Weights};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::{Builder, Linear, Network, NormKind, Pool, Role, Shift, Source, Window};
use epoch0_num::{Activation, Dtype};
use epoch0_train::{Flips, Freezing, Optimizer, Schedule, Settings, Sgd, Span, Trainer, beside, schedule};

use crate::shared::experiment::{
    Arm, By, Examples, answers, at_best_rate, broken, doubled, draw_start, interval, listed, mean, of,
    zoo_network,
};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "no_weight_is_zero",
        text: "weights of N bits are exactly the 2^N signed powers of two, and none is 0, latents that are 0 included",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 0,
        expectation: Expectation::Holds,
        run: no_weight_is_zero,
    },
    Claim {
        name: "exponents_halve",
        text: "at the start exponent k has a share of 2^-(k+1), the largest twice that, within 4 standard errors",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: exponents_halve,
    },
    Claim {
        name: "shifts_are_exact",
        text: "on inputs of 8 bits sums of shifted integers are the network's answers to the last bit, and a product with a \
               weight is an addition to the exponent and a flip of the sign",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: shifts_are_exact,
    },
    Claim {
        name: "as_good_as_full_precision",
        text: "three convolutions with weights of 2, 3 and 4 bits come within 2 points of full precision on MNIST",
        kind: ClaimKind::Effect,
        budget_s: 1200,
        seeds: 3,
        expectation: Expectation::NotMeasured { why: "it takes a quarter of an hour of two cores" },
        run: as_good_as_full_precision,
    },
    Claim {
        name: "low_variance_transfers",
        text: "trained on digits 0 to 4 and then on 1000 images of 5 to 9, latents that began at 0.001 are at least 1 point \
               better than ones that began as He's, and at least twice as many signs and exponents change",
        kind: ClaimKind::Effect,
        budget_s: 1200,
        seeds: 5,
        expectation: Expectation::Holds,
        run: low_variance_transfers,
    },
];

const NARROW: &str = "{base: pytorch_default, rules: [{with: denseshift}]}";
/// As the networks before began: all latents as He draws weights.
const WIDE: &str = "{base: pytorch_default, rules: [{with: he_normal}]}";

/// What is learned for a weight's sign, and its gates.
struct Latents {
    shift: Shift,
    signs: Vec<f64>,
    gates: Vec<Vec<f64>>,
}

impl Latents {
    fn code(&self, at: usize) -> u8 {
        self.shift.code(self.signs[at], self.gates.iter().map(|gate| gate[at]))
    }
}

/// Those of the first weight that is a power of two.
fn latents(net: &Network, weights: &Weights) -> Result<Latents, Error> {
    let (weight, shift) = net.shifts().next().ok_or_else(|| broken(&"no weight is a power of two"))?;
    let values = |id| weights.get(id).map(Tensor::to_f64).unwrap_or_default();
    let gates = shift.gates.iter().map(|gate| values(*gate)).collect();
    Ok(Latents { shift: shift.clone(), signs: values(weight), gates })
}

/// Two maps without biases, the second of which has weights of so many bits; a readout hands on what it is given.
fn pair(bits: u32) -> Result<Network, Error> {
    doubled(&format!("mlp:16-16-512-512,act=identity,bias=false,shift={bits}"))
}

/// The same with first and last map the identity.
fn between_identities(net: &Network, mut weights: Weights) -> Result<Weights, Error> {
    for name in ["0.weight", "4.weight"] {
        let id = net.find(name).ok_or_else(|| broken(&"a map has no weight"))?;
        let n = net.param(id).shape[0];
        let values = (0..n * n).map(|at| f64::from(u8::from(at / n == at % n))).collect();
        let like = weights.get(id).ok_or_else(|| broken(&"a weight has no value"))?;
        let eye = Tensor::from_f64(values, &[n, n], like.precision(), &like.device());
        weights.set(id, eye);
    }
    Ok(weights)
}

fn input(like: &Weights, values: Vec<f64>, shape: &[usize]) -> Result<Value, Error> {
    let (_, like) = like.iter().next().ok_or_else(|| broken(&"no weights"))?;
    Ok(Value::constant(Tensor::from_f64(values, shape, like.precision(), &like.device())))
}

fn no_weight_is_zero() -> Result<Verdict, Error> {
    let mut wrong = 0.0;
    let mut details = Vec::new();
    for bits in 2..=4 {
        let net = pair(bits)?;
        let mut weights = between_identities(&net, draw_start(&net, NARROW, 0)?)?;
        // Some latents are 0 to the last bit.
        let ids: Vec<_> =
            net.shifts().flat_map(|(weight, shift)| [vec![weight], shift.gates.clone()].concat()).collect();
        for id in ids {
            let value = weights.get(id).ok_or_else(|| broken(&"a latent has no value"))?;
            let latents =
                value.to_f64().into_iter().enumerate().map(|(at, x)| if at % 7 == 0 { 0.0 } else { x });
            let latents =
                Tensor::from_f64(latents.collect(), &value.shape(), value.precision(), &value.device());
            weights.set(id, latents);
        }
        let drawn = latents(&net, &weights)?;
        let shift = &drawn.shift;
        // A row of the identity is answered by a column of the weight.
        let eye = (0..16 * 16).map(|at| f64::from(u8::from(at / 16 == at % 16))).collect();
        let found = answers(&net, &weights, &input(&weights, eye, &[16, 16])?)?;
        let mut seen = std::collections::BTreeSet::new();
        for (at, w) in found.iter().enumerate() {
            let (column, row) = (at / 512, at % 512);
            let stored = row * 16 + column;
            let code = drawn.code(stored);
            wrong += f64::from(u8::from(*w != shift.value(code) || *w == 0.0));
            seen.insert(*w as i64);
        }
        let all: Vec<i64> = (0..1u8 << bits).map(|code| shift.value(code) as i64).collect();
        wrong += all.iter().filter(|w| !seen.contains(w)).count() as f64
            + (seen.len() as f64 - all.len() as f64).abs();
        details.push(format!(
            "{bits} bits: {}",
            seen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ));
    }
    Ok(Verdict { details, ..Verdict::at_most(wrong, 0.0) })
}

fn exponents_halve() -> Result<Verdict, Error> {
    let mut worst = 0.0f64;
    let mut details = Vec::new();
    for bits in 2..=4 {
        let net = zoo_network(&format!("mlp:10-300-300-10,norm=batch,shift={bits}"))?;
        let drawn = latents(&net, &draw_start(&net, NARROW, 0)?)?;
        let Latents { shift, signs, gates } = &drawn;
        let n = signs.len();
        let largest = shift.gates.len();
        let mut counts = vec![0usize; largest + 1];
        for at in 0..n {
            counts[usize::from(drawn.code(at) & ((1 << (bits - 1)) - 1))] += 1;
        }
        for (exponent, count) in counts.iter().enumerate() {
            let share = 0.5f64.powi((exponent + 1).min(largest) as i32);
            let error = (share * (1.0 - share) / n as f64).sqrt();
            worst = worst.max((*count as f64 / n as f64 - share).abs() / error);
        }
        let shares = counts.iter().map(|count| *count as f64 / n as f64);
        details.push(format!("{bits} bits, shares of exponents: {}", listed(shares, 4)));
        for (what, values) in
            std::iter::once(("signs", signs)).chain(gates.iter().map(|gate| ("a gate", gate)))
        {
            let std = (values.iter().map(|x| x * x).sum::<f64>() / n as f64).sqrt();
            if (std / 1e-3 - 1.0).abs() * (2.0 * n as f64).sqrt() > 4.0 {
                return Err(broken(&format!("latents of {what} have a standard deviation of {std:e}")));
            }
        }
    }
    details.push("largest deviation of a share, in standard errors".to_owned());
    Ok(Verdict { details, ..Verdict::at_most(worst, 4.0) })
}

fn shifts_are_exact() -> Result<Verdict, Error> {
    const EXAMPLES: usize = 32;
    let mut wrong = 0usize;
    let mut details = Vec::new();
    for bits in 2..=4 {
        let mut net = pair(bits)?;
        net.set_dtype(Dtype::F32);
        let weights = between_identities(&net, draw_start(&net, NARROW, 1)?)?;
        let drawn = latents(&net, &weights)?;
        let shift = &drawn.shift;
        let codes: Vec<u8> = (0..drawn.signs.len()).map(|at| drawn.code(at)).collect();
        let x: Vec<i32> = (0..EXAMPLES * 16).map(|at| (at as i32 * 37 + 11) % 256 - 128).collect();
        let given = input(&weights, x.iter().map(|&x| f64::from(x)).collect(), &[EXAMPLES, 16])?;
        let found = answers(&net, &weights, &given)?;
        let negative = 1u8 << (bits - 1);
        for (at, y) in found.iter().enumerate() {
            let (example, unit) = (at / 512, at % 512);
            let sum: i32 = (0..16)
                .map(|input| {
                    let code = codes[unit * 16 + input];
                    let shifted = x[example * 16 + input] << (code & (negative - 1));
                    if code & negative == 0 { shifted } else { -shifted }
                })
                .sum();
            wrong += usize::from(f64::from(sum) != *y);
        }
        for &code in &codes {
            let x = 0.7f32 + f32::from(code);
            let bits = x.to_bits() + (u32::from(code & (negative - 1)) << 23);
            let bits = bits ^ (u32::from(code & negative != 0) << 31);
            wrong += usize::from(f32::from_bits(bits) != x * shift.value(code) as f32);
        }
        details.push(format!("{bits} bits: {} sums and {} products", found.len(), codes.len()));
    }
    Ok(Verdict { details, ..Verdict::at_most(wrong as f64, 0.0) })
}

/// Three convolutions with batch normalizations and pools, and a readout; with `bits` the second and third are shifts.
fn convolutions(classes: usize, bits: Option<u32>) -> Result<Network, Error> {
    let mut b = Builder::new("three convolutions", Source::Built, Dtype::F32);
    let mut x = b.input("image", &[None, Some(1), Some(28), Some(28)]);
    for (layer, channels) in [16, 32, 32].into_iter().enumerate() {
        x = b.conv(x, &format!("conv{layer}"), channels, Window::square(3, 1, 1), 1, false);
        x = b.norm(x, &format!("norm{layer}"), NormKind::Batch, 1e-5, true);
        x = b.activation(x, Activation::Relu);
        if layer < 2 {
            x = b.pool(x, Pool::Max(Window::square(2, 2, 0)));
        }
    }
    x = b.pool(x, Pool::GlobalMean);
    x = b.flatten(x);
    x = b.linear(x, "fc", Linear::new(classes).role(Role::Readout));
    b.output(x, "logits");
    if let Some(bits) = bits {
        b.shift_maps(bits);
    }
    of(b.finish())
}

/// The authors' training, shorter.
fn training(rate: f64, epochs: f64, seed: u64) -> Settings {
    Settings {
        length: Span::Epochs(epochs),
        optimizer: Optimizer::Sgd(Sgd { momentum: 0.9, weight_decay: 1e-4, ..Sgd::default() }),
        learning_rate: rate,
        schedule: Schedule { shape: schedule::Shape::Cosine { floor: 0.0 }, ..Schedule::default() },
        batch: 64,
        seed,
        ..Settings::default()
    }
}

fn as_good_as_full_precision() -> Result<Verdict, Error> {
    const SEEDS: usize = 3;
    let data = Examples::images(10_000, 2_000)?;
    let nets = [None, Some(2), Some(3), Some(4)]
        .into_iter()
        .map(|bits| convolutions(10, bits))
        .collect::<Result<Vec<_>, _>>()?;
    let names = ["full precision, he_normal", "2 bits", "3 bits", "4 bits"];
    let arms: Vec<Arm<'_>> = names
        .iter()
        .zip(&nets)
        .map(|(name, net)| {
            let recipe = if net.shifts().next().is_some() { NARROW } else { WIDE };
            Arm { name, net, recipe: recipe.to_owned() }
        })
        .collect();
    let found =
        at_best_rate(&data, &arms, &[0.1], SEEDS, By::Accuracy, |rate, seed| training(rate, 5.0, seed))?;
    let gap = |arm: usize| -> Vec<f64> {
        found[0].best.iter().zip(&found[arm].best).map(|(full, own)| full - own).collect()
    };
    let gaps: Vec<Vec<f64>> = (1..4).map(gap).collect();
    let worst = gaps.iter().max_by(|a, b| mean(a).total_cmp(&mean(b))).ok_or_else(|| broken(&"no gap"))?;
    let (low, measured, high) = interval(worst);
    let mut details = vec![data.name.clone(), "test accuracy in % after 5 epochs of momentum".to_owned()];
    details.extend(found.iter().map(|found| found.details.clone()));
    for (gap, bits) in gaps.iter().zip(2..) {
        details.push(format!("{bits} bits behind full precision: {}", listed(gap.iter().copied(), 2)));
    }
    Ok(Verdict { details, interval: Some((low, high)), ..Verdict::at_most(measured, 2.0) })
}

/// Images of five digits from `first` on, as classes 0 to 4; the first `n` of the training images.
fn five(data: &Dataset, first: u32, n: usize) -> Result<Dataset, Error> {
    let part = |of: &Labelled, most: usize| -> Result<Labelled, Error> {
        let labels = &of_classes(of)?.labels;
        let which: Vec<usize> =
            (0..labels.len()).filter(|&at| (first..first + 5).contains(&labels[at])).take(most).collect();
        let labels = which.iter().map(|&at| labels[at] - first).collect();
        let (inputs, _) = of.pick(&which).into_parts();
        self::of(Labelled::new("digits", inputs, Targets::Classes(Classes::numbered(labels, 5))))
    };
    let test = data.test.as_ref().ok_or_else(|| broken(&"nothing to test on"))?;
    Ok(Dataset::new(data.name.clone(), part(&data.train, n)?, Some(part(test, usize::MAX)?)))
}

fn of_classes(examples: &Labelled) -> Result<&Classes, Error> {
    examples.classes().ok_or_else(|| broken(&"the examples have no classes"))
}

/// Test accuracy in % on new digits, and what changed in the first epoch on them.
fn transferred(net: &Network, recipe: &str, sets: &[Dataset; 2], seed: u64) -> Result<(f64, Flips), Error> {
    let fresh = draw_start(net, recipe, seed)?;
    let mut first = of(Trainer::new(net, fresh.clone(), &sets[0], training(0.1, 3.0, seed)))?;
    of(first.run(&mut ()))?;
    let mut weights = first.into_weights();
    for name in ["fc.weight", "fc.bias"] {
        let id = net.find(name).ok_or_else(|| broken(&"it has no readout"))?;
        let value = fresh.get(id).ok_or_else(|| broken(&"its readout has no value"))?;
        weights.set(id, value.clone());
    }
    let mut second = of(Trainer::new(net, weights, &sets[1], training(0.1, 2.0, seed)))?;
    let mut freezing = Freezing::default();
    of(second.run(&mut freezing))?;
    let accuracy = of(second.test())?.and_then(|found| found.accuracy).unwrap_or(f64::NAN);
    let flips = freezing.flips().first().copied().ok_or_else(|| broken(&"nothing was seen to change"))?;
    Ok((100.0 * accuracy, flips))
}

fn low_variance_transfers() -> Result<Verdict, Error> {
    const SEEDS: usize = 5;
    let data = Examples::images(12_000, 4_000)?;
    let sets = [five(&data, 0, 5_000)?, five(&data, 5, 1_000)?];
    let net = convolutions(5, Some(3))?;
    let found = beside(2 * SEEDS, |job| {
        let recipe = if job < SEEDS { NARROW } else { WIDE };
        transferred(&net, recipe, &sets, (job % SEEDS) as u64)
    })?;
    let (narrow, wide) = found.split_at(SEEDS);
    let gains: Vec<f64> = narrow.iter().zip(wide).map(|(narrow, wide)| narrow.0 - wide.0).collect();
    let rate = |of: &[(f64, Flips)]| {
        mean(&of.iter().map(|(_, flips)| flips.signs + flips.exponents).collect::<Vec<_>>())
    };
    let (low, gain, high) = interval(&gains);
    let ratio = rate(narrow) / rate(wide);
    let mut details =
        vec![data.name.clone(), "5000 images of 0 to 4, 3 epochs; 1000 of 5 to 9, 2 epochs".to_owned()];
    for (name, of) in [("latents from 0.001", narrow), ("latents as He's", wide)] {
        details.push(format!(
            "{name}: test accuracy in % {}; share of signs that changed in the first epoch {}, of exponents {}",
            listed(of.iter().map(|of| of.0), 2),
            listed(of.iter().map(|of| of.1.signs), 4),
            listed(of.iter().map(|of| of.1.exponents), 4),
        ));
    }
    Ok(Verdict {
        holds: gain >= 1.0 && ratio >= 2.0,
        measured: gain,
        bound: format!("at least 1 point; signs and exponents change {ratio:.2} times as often, at least 2"),
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
