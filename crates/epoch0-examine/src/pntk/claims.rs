//! What the paper claims, as identities and experiments.

use std::time::Instant;

use epoch0_engine::kernel::{Gram, Regression};
use epoch0_engine::taps::Taps;
use epoch0_engine::{
    Device, Elements, Mode, Order, Parameters, Precision, Tensor, Value, Var, Weights, grad, loss, ntk, run,
};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::{Network, Role, zoo};
use epoch0_num::{Law, Stream, paired};

use super::{INFO, distance, failed};
use epoch0_train::claims::draw;

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "one_output",
        text: "with one output the kernel is the full one, bit by bit",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 1,
        expectation: Expectation::Holds,
        run: one_output,
    },
    Claim {
        name: "readout_alone",
        text: "where only the readout is learned the full kernel is that of the features times the identity, and so is \
               this one",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 1,
        expectation: Expectation::Holds,
        run: readout_alone,
    },
    Claim {
        name: "positive",
        text: "the kernel is symmetric, and no eigenvalue is below -1e-6 times the largest",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 1,
        expectation: Expectation::Holds,
        run: positive,
    },
    Claim {
        name: "differences",
        text: "the kernel is the Gram matrix of finite differences along all parameters, to 1e-3",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: differences,
    },
    Claim {
        name: "error_falls_with_width",
        text: "from width 32 to 512 the distance to the full kernel falls as width^-0.6 ± 0.15, and that of the largest \
               eigenvalues at least as width^-0.4",
        kind: ClaimKind::Effect,
        budget_s: 300,
        seeds: 5,
        expectation: Expectation::Holds,
        run: error_falls_with_width,
    },
    Claim {
        name: "regression_as_with_the_full_kernel",
        text: "kernel regression is within 1 point of accuracy of the full kernel's on 10 classes, and at most 0.5 points \
               worse than with the features' kernel",
        kind: ClaimKind::Effect,
        budget_s: 900,
        seeds: 5,
        expectation: Expectation::Holds,
        run: regression_as_with_the_full_kernel,
    },
    Claim {
        name: "training_spoils_it",
        text: "after 20 epochs of training the distance to the full kernel is larger than at the start in at least 4 of 5 \
               seeds",
        kind: ClaimKind::Effect,
        budget_s: 300,
        seeds: 5,
        expectation: Expectation::Holds,
        run: training_spoils_it,
    },
    Claim {
        name: "time",
        text: "with 10 outputs it takes at most 0.15 of the full kernel's time",
        kind: ClaimKind::Effect,
        budget_s: 120,
        seeds: 1,
        expectation: Expectation::Holds,
        run: time,
    },
];

const OUTPUTS: usize = 10;
const INPUTS: usize = 20;

fn perceptron(width: usize, outputs: usize) -> Result<Network, Error> {
    let spec = format!("mlp:{INPUTS}-{width}-{width}-{outputs},bias=false");
    zoo::build(&spec).map_err(|error| Error::Recipe { place: spec, why: error.to_string() })
}

fn fill(law: &Law, stream: &Stream, len: usize, what: &str) -> Result<Vec<f64>, Error> {
    epoch0_train::claims::fill(INFO.id, law, stream, len, what)
}

/// Inputs of norm one.
fn unit_inputs(n: usize, seed: u64) -> Result<Value, Error> {
    let mut values = fill(&Law::normal(0.0, 1.0), &Stream::new(seed, "inputs"), n * INPUTS, "inputs")?;
    for row in values.chunks_mut(INPUTS) {
        let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        row.iter_mut().for_each(|x| *x /= norm);
    }
    Ok(Value::constant(Tensor::from_f64(values, &[n, INPUTS], Precision::Double, &Device::cpu())))
}

fn weights(net: &Network, seed: u64) -> Result<Weights, Error> {
    draw(INFO.id, net, &Stream::new(seed, "weights"))
}

fn record<'n>(net: &'n Network, params: &Parameters, inputs: &Value) -> Result<Taps<'n>, Error> {
    Taps::record(net, params, std::slice::from_ref(inputs), Mode::Eval).map_err(|error| failed(&error))
}

fn of<T>(found: Result<T, epoch0_engine::Error>) -> Result<T, Error> {
    found.map_err(|error| failed(&error))
}

/// The largest difference over the largest number of the second.
fn relative(found: &[f64], wanted: &[f64]) -> f64 {
    let largest = wanted.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    found.iter().zip(wanted).fold(0.0, |max: f64, (a, b)| max.max((a - b).abs())) / largest
}

fn one_output() -> Result<Verdict, Error> {
    let net = perceptron(64, 1)?;
    let taps = record(&net, &weights(&net, 0)?.leaves(&net), &unit_inputs(16, 0)?)?;
    let (full, pseudo) = (of(ntk::full(&taps, None))?, of(ntk::pseudo(&taps, None))?);
    let different =
        full.values().iter().zip(pseudo.values()).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    Ok(Verdict::at_most(different as f64, 0.0).detail("numbers that differ, of 256"))
}

fn readout_alone() -> Result<Verdict, Error> {
    let net = perceptron(64, OUTPUTS)?;
    let params = weights(&net, 0)?.parameters(|id| net.param(id).role == Role::Readout);
    let taps = record(&net, &params, &unit_inputs(16, 0)?)?;
    let (full, pseudo) = (of(ntk::full(&taps, None))?, of(ntk::pseudo(&taps, None))?);
    let features = of(ntk::conjugate(&taps, None))?;
    let of_full = distance(&full, &features);
    let of_pseudo = relative(pseudo.values(), features.values());
    Ok(Verdict::at_most(of_full.max(of_pseudo), 1e-12)
        .detail(format!("full kernel {of_full:.1e}, this one {of_pseudo:.1e}")))
}

fn positive() -> Result<Verdict, Error> {
    let net = perceptron(64, OUTPUTS)?;
    // In single precision, where it could fail.
    let mut single = weights(&net, 0)?;
    let ids: Vec<_> = single.iter().map(|(id, _)| id).collect();
    for id in ids {
        let value = single.get(id).map(|value| value.cast(Precision::Single));
        value.into_iter().for_each(|value| single.set(id, value));
    }
    let inputs = unit_inputs(48, 0)?;
    let inputs = inputs.real().map(|var| Value::constant(var.value().cast(Precision::Single)));
    let taps = record(&net, &single.leaves(&net), &inputs.unwrap_or(unit_inputs(48, 0)?))?;
    let kernel = of(ntk::pseudo(&taps, None))?;
    let asymmetric = (0..48)
        .flat_map(|i| (0..48).map(move |j| (i, j)))
        .filter(|&(i, j)| kernel.at(i, j) != kernel.at(j, i));
    let asymmetric = asymmetric.count();
    let spectrum = of(kernel.spectrum())?;
    let low = if asymmetric > 0 { f64::INFINITY } else { -spectrum.min() / spectrum.max() };
    Ok(Verdict::at_most(low, 1e-6).detail(format!(
        "eigenvalues from {:e} to {:e}",
        spectrum.min(),
        spectrum.max()
    )))
}

fn differences() -> Result<Verdict, Error> {
    let net = zoo::build("mlp:20-12-4,act=tanh")
        .map_err(|error| Error::Recipe { place: "the network".to_owned(), why: error.to_string() })?;
    let (inputs, start, n) = (unit_inputs(6, 0)?, weights(&net, 0)?, 6);
    let taps = record(&net, &start.leaves(&net), &inputs)?;
    let kernel = of(ntk::pseudo(&taps, None))?;
    let step = 1e-5;
    let sums = |weights: &Weights| -> Result<Vec<f64>, Error> {
        let done =
            of(run(&net, &weights.constants(), std::slice::from_ref(&inputs), Mode::Eval, &mut |_| Ok(())))?;
        let logits = done.outputs[0].real().map(|var| var.value().to_f64()).unwrap_or_default();
        Ok(logits.chunks(4).map(|row| row.iter().sum::<f64>() / 2.0).collect())
    };
    let mut found = vec![0.0; n * n];
    for (id, value) in start.iter() {
        let values = value.to_f64();
        for at in 0..values.len() {
            let moved = |by: f64| {
                let (mut values, mut moved) = (values.clone(), start.clone());
                values[at] += by;
                moved.set(id, Tensor::from_f64(values, &value.shape(), Precision::Double, &Device::cpu()));
                sums(&moved)
            };
            let (ahead, behind) = (moved(step)?, moved(-step)?);
            let slopes: Vec<f64> = ahead.iter().zip(&behind).map(|(a, b)| (a - b) / (2.0 * step)).collect();
            for (row, a) in slopes.iter().enumerate() {
                slopes.iter().enumerate().for_each(|(column, b)| found[row * n + column] += a * b);
            }
        }
    }
    Ok(Verdict::at_most(relative(&found, kernel.values()), 1e-3))
}

/// Distance to the full kernel and relative difference of the largest eigenvalues, and the distance of one output's.
fn errors(net: &Network, params: &Parameters, inputs: &Value) -> Result<[f64; 3], Error> {
    let taps = record(net, params, inputs)?;
    let (full, pseudo) = (of(ntk::full(&taps, None))?, of(ntk::pseudo(&taps, None))?);
    let (top, other) = (of(full.spectrum())?.max(), of(pseudo.spectrum())?.max());
    let single = of(ntk::single(&taps, None, 0))?;
    Ok([distance(&full, &pseudo), (top - other).abs() / top, distance(&full, &single)])
}

/// Slope of the least-squares line.
fn slope(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let along: f64 = x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    along / x.iter().map(|x| (x - mean_x).powi(2)).sum::<f64>()
}

fn error_falls_with_width() -> Result<Verdict, Error> {
    let widths = [32, 64, 128, 256, 512];
    let mut logs: [Vec<f64>; 3] = Default::default();
    let mut details = Vec::new();
    for width in widths {
        let net = perceptron(width, OUTPUTS)?;
        let mut means = [0.0; 3];
        for seed in 0..5 {
            let found = errors(&net, &weights(&net, seed)?.leaves(&net), &unit_inputs(20, seed)?)?;
            means.iter_mut().zip(found).for_each(|(mean, found)| *mean += found / 5.0);
        }
        let [error, top, single] = means;
        details
            .push(format!("width {width}: error {error:.3}, λ_max {top:.3}, of a single output {single:.3}"));
        logs.iter_mut().zip(means).for_each(|(log, mean)| log.push(mean.ln()));
    }
    let x: Vec<f64> = widths.iter().map(|&width| f64::from(width as u32).ln()).collect();
    let [error, top, single] = logs.map(|log| slope(&x, &log));
    details.push(format!("slopes: error {error:.3}, λ_max {top:.3}, of a single output {single:.3}"));
    let mut verdict = Verdict::within(error, -0.75, -0.45);
    verdict.holds &= top <= -0.4;
    verdict.bound.push_str(", and that of λ_max at most -0.4");
    Ok(Verdict { details, ..verdict })
}

/// A task with ten classes that no linear map solves: examples around three centres of each class.
fn task(n: usize, seed: u64, part: &str) -> Result<(Value, Vec<i64>), Error> {
    let per_class = 3;
    let normal = |what: &str, n: usize| fill(&Law::normal(0.0, 1.0), &Stream::new(seed, what), n, what);
    let centres = normal("centres", OUTPUTS * per_class * INPUTS)?;
    let mut values = normal(part, n * INPUTS)?;
    let mut labels = Vec::with_capacity(n);
    for (at, row) in values.chunks_mut(INPUTS).enumerate() {
        let centre = at % (OUTPUTS * per_class);
        labels.push((centre % OUTPUTS) as i64);
        row.iter_mut().zip(&centres[centre * INPUTS..]).for_each(|(x, centre)| *x = 0.7 * *x + centre);
    }
    let inputs = Tensor::from_f64(values, &[n, INPUTS], Precision::Double, &Device::cpu());
    Ok((Value::constant(inputs), labels))
}

/// Labels as 1 for the class and 0 elsewhere, less the mean, less what the network answers.
fn residuals(taps: &Taps<'_>, labels: &[i64]) -> Result<Vec<f64>, Error> {
    let answers = of(taps.output())?.value().to_f64();
    let residual = |(at, answer): (usize, f64)| {
        let is_class = labels[at / OUTPUTS] == (at % OUTPUTS) as i64;
        f64::from(u8::from(is_class)) - 1.0 / OUTPUTS as f64 - answer
    };
    Ok(answers.into_iter().enumerate().map(residual).collect())
}

/// Accuracy of kernel regression with a ridge of 1e-4 times the kernel's mean eigenvalue.
fn accuracy(
    kernel: &Gram,
    cross: &Gram,
    residuals: &[f64],
    test: &Taps<'_>,
    labels: &[i64],
) -> Result<f64, Error> {
    let ridge = 1e-4 * kernel.trace() / kernel.rows() as f64;
    let beyond = of(of(Regression::fit(kernel, residuals, ridge))?.predict(cross))?;
    let answers = of(test.output())?.value().to_f64();
    let all: Vec<f64> = answers.iter().zip(&beyond).map(|(answer, beyond)| answer + beyond).collect();
    let all = Tensor::from_f64(all, &[labels.len(), OUTPUTS], Precision::Double, &Device::cpu());
    of(loss::accuracy(&all, labels))
}

fn regression_as_with_the_full_kernel() -> Result<Verdict, Error> {
    let (few, many, seeds) = (200, 500, 5);
    let net = perceptron(512, OUTPUTS)?;
    let (mut to_full, mut to_features) = (Vec::new(), Vec::new());
    let mut details = Vec::new();
    for seed in 0..seeds {
        let params = weights(&net, seed)?.leaves(&net);
        let (test_inputs, test_labels) = task(500, seed, "test")?;
        let test = record(&net, &params, &test_inputs)?;
        let score =
            |n: usize, kernel: fn(&Taps<'_>, Option<&Taps<'_>>) -> Result<Gram, epoch0_engine::Error>| {
                let (inputs, labels) = task(n, seed, "training")?;
                let taps = record(&net, &params, &inputs)?;
                let residuals = residuals(&taps, &labels)?;
                let (own, cross) = (of(kernel(&taps, None))?, of(kernel(&test, Some(&taps)))?);
                accuracy(&own, &cross, &residuals, &test, &test_labels)
            };
        let (full, same) = (score(few, ntk::full)?, score(few, ntk::pseudo)?);
        let (pseudo, features) = (score(many, ntk::pseudo)?, score(many, ntk::conjugate)?);
        to_full.push(100.0 * (same - full));
        to_features.push(100.0 * (pseudo - features));
        details.push(format!(
            "seed {seed}: {few} examples: full {full:.3}, this {same:.3}; {many}: this {pseudo:.3}, features {features:.3}"
        ));
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut verdict = Verdict::within(mean(&to_full), -1.0, 1.0);
    verdict.holds &= mean(&to_features) >= -0.5;
    verdict.bound.push_str(" points, and at most 0.5 below the features' kernel");
    details.push(format!("over the features' kernel by {:.2} points", mean(&to_features)));
    verdict.interval = Some(paired::mean(&to_full, 0.95).interval);
    Ok(Verdict { details, ..verdict })
}

/// Plain gradient descent with momentum on batches of 20, for 20 epochs.
fn train(
    net: &Network,
    weights: &mut Weights,
    inputs: &Value,
    labels: &[i64],
    rate: f64,
) -> Result<f64, Error> {
    let (batch, momentum) = (20, 0.9);
    let all = inputs.real().map(|var| var.value().to_f64()).unwrap_or_default();
    let mut velocity: Vec<Vec<f64>> = weights.iter().map(|(_, value)| vec![0.0; value.len()]).collect();
    let mut last = f64::NAN;
    for _ in 0..20 {
        for (at, labels) in labels.chunks(batch).enumerate() {
            let part = all[at * batch * INPUTS..][..labels.len() * INPUTS].to_vec();
            let part = Tensor::from_f64(part, &[labels.len(), INPUTS], Precision::Double, &Device::cpu());
            let params = weights.leaves(net);
            let done = of(run(net, &params, &[Value::constant(part)], Mode::Train, &mut |_| Ok(())))?;
            let Some(logits) = done.outputs[0].real() else { continue };
            let loss = of(loss::cross_entropy(logits, labels))?.mean();
            last = loss.value().item();
            let ids: Vec<_> = params.tracked().map(|(id, _)| id).collect();
            let wrt: Vec<&Var> = params.tracked().map(|(_, var)| var).collect();
            for ((id, gradient), velocity) in
                ids.iter().zip(grad(&loss, &wrt, Order::Last)).zip(&mut velocity)
            {
                let Some(value) = weights.get(*id) else { continue };
                let (mut values, shape) = (value.to_f64(), value.shape());
                for ((x, v), g) in values.iter_mut().zip(velocity).zip(gradient.value().to_f64()) {
                    *v = momentum * *v - rate * g;
                    *x += *v;
                }
                weights.set(*id, Tensor::from_f64(values, &shape, Precision::Double, &Device::cpu()));
            }
        }
    }
    Ok(last)
}

fn training_spoils_it() -> Result<Verdict, Error> {
    let net = perceptron(128, OUTPUTS)?;
    let (mut worse, mut details) = (0, Vec::new());
    for seed in 0..5 {
        let mut weights = weights(&net, seed)?;
        let probe = unit_inputs(20, seed)?;
        let [before, ..] = errors(&net, &weights.leaves(&net), &probe)?;
        let (inputs, labels) = task(500, seed, "training")?;
        let loss = train(&net, &mut weights, &inputs, &labels, 0.01)?;
        let [after, ..] = errors(&net, &weights.leaves(&net), &probe)?;
        worse += u32::from(after > before);
        details.push(format!(
            "seed {seed}: error {before:.3} at the start, {after:.3} after training to a loss of {loss:.3}"
        ));
    }
    Ok(Verdict {
        details,
        bound: "at least 4 of 5".to_owned(),
        ..Verdict::within(f64::from(worse), 4.0, 5.0)
    })
}

fn time() -> Result<Verdict, Error> {
    let net = zoo::build("mlp:784-512-512-10")
        .map_err(|error| Error::Recipe { place: "the network".to_owned(), why: error.to_string() })?;
    let values = fill(&Law::normal(0.0, 1.0), &Stream::new(0, "inputs"), 128 * 784, "inputs")?;
    let inputs = Value::constant(Tensor::from_f64(values, &[128, 784], Precision::Single, &Device::cpu()));
    let single =
        of(Weights::read::<epoch0_engine::Error>(&net, Precision::Single, &Device::cpu(), |id, param| {
            let drawn = weights(&net, 0).ok().and_then(|weights| weights.get(id).map(Tensor::to_f32));
            Ok(Elements::Single(drawn.unwrap_or_else(|| vec![0.0; param.len()])))
        }))?;
    let params = single.leaves(&net);
    let clock = |kernel: fn(&Taps<'_>, Option<&Taps<'_>>) -> Result<Gram, epoch0_engine::Error>| {
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let start = Instant::now();
            of(kernel(&record(&net, &params, &inputs)?, None))?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        Ok::<_, Error>(best)
    };
    let (pseudo, full) = (clock(ntk::pseudo)?, clock(ntk::full)?);
    Ok(Verdict::at_most(pseudo / full, 0.15).detail(format!("{pseudo:.3} s and {full:.3} s")))
}
