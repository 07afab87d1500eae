//! What the paper claims, as experiments: identities.

use epoch0_data::{Dataset, Order as DataOrder};
use epoch0_engine::{Device, Mode, Order, Precision, Tensor, Value, Var, Weights, run, vjp};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::{Builder, Linear, Network, NormKind, Source, Window, zoo};
use epoch0_num::{Activation, Dtype, Law, Stream};
use epoch0_train::schedule::Schedule;
use epoch0_train::{Optimizer, Settings, Sgd, Trainer};

use super::effects;
use crate::shared::experiment::{broken, draw_start, of};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "gradients",
        text: "gradients by inputs, factors and shifts are those of differences, of vectors and of images",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 0,
        expectation: Expectation::Holds,
        run: gradients,
    },
    Claim {
        name: "moments",
        text: "over the batch each output has the mean β and the standard deviation |γ|",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 0,
        expectation: Expectation::Holds,
        run: moments,
    },
    Claim {
        name: "scale_does_not_matter",
        text: "weights a hundred times as large give the same outputs, and gradients a hundredth as large",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 0,
        expectation: Expectation::Holds,
        run: scale_does_not_matter,
    },
    Claim {
        name: "bias_before_it_does_nothing",
        text: "the gradient by a bias before it is zero",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 0,
        expectation: Expectation::Holds,
        run: bias_before_it_does_nothing,
    },
    Claim {
        name: "examples_do_not_matter_in_evaluation",
        text: "in evaluation an example has the same bits alone and in a batch",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 0,
        expectation: Expectation::Holds,
        run: examples_do_not_matter_in_evaluation,
    },
    Claim {
        name: "running_and_population_statistics_agree",
        text: "once training has come to rest, running statistics answer as those of the population do, to 2 %",
        kind: ClaimKind::Law,
        budget_s: 30,
        seeds: 3,
        expectation: Expectation::Holds,
        run: running_and_population_statistics_agree,
    },
    effects::TRAINS_FASTER,
    effects::LARGER_RATES,
    effects::START_MATTERS_LESS,
    effects::INPUTS_MOVE_LESS,
];

fn normal(name: &str, shape: &[usize]) -> Result<Tensor, Error> {
    let mut values = vec![0.0; shape.iter().product()];
    of(Law::normal(0.0, 1.0).fill(&Stream::new(0, name), 0, &mut values))?;
    Ok(Tensor::from_f64(values, shape, Precision::Double, &Device::cpu()))
}

/// `Σ c y` of a batch normalization, c fixed, and its gradients.
fn gradients() -> Result<Verdict, Error> {
    const STEP: f64 = 1e-5;
    let mut worst: f64 = 0.0;
    let mut details = Vec::new();
    for shape in [vec![6, 4], vec![3, 4, 3, 2]] {
        let names = ["x", "gamma", "beta"];
        let inputs = [normal("x", &shape)?, normal("gamma", &[4])?, normal("beta", &[4])?];
        let cotangent = Var::constant(normal("cotangent", &shape)?);
        let value = |inputs: &[Tensor; 3]| {
            let [x, gamma, beta] = inputs.clone().map(Var::leaf);
            let sum = x.batch_norm(1e-5, &gamma, &beta).mul(&cotangent).sum();
            (sum, [x, gamma, beta])
        };
        let (sum, leaves) = value(&inputs);
        let one = Var::constant(sum.value().full_like(1.0, &sum.shape()));
        let wrt: Vec<&Var> = leaves.iter().collect();
        let exact = vjp(&[(&sum, one)], &wrt, Order::Last);
        for (at, (name, exact)) in names.iter().zip(exact).enumerate() {
            let exact = exact.map(|var| var.value().to_f64()).unwrap_or_default();
            let values = inputs[at].to_f64();
            let mut found = Vec::new();
            for element in 0..values.len() {
                let moved = |by: f64| {
                    let mut values = values.clone();
                    values[element] += by;
                    let mut inputs = inputs.clone();
                    inputs[at] =
                        Tensor::from_f64(values, &inputs[at].shape(), Precision::Double, &Device::cpu());
                    value(&inputs).0.value().item()
                };
                found.push((moved(STEP) - moved(-STEP)) / (2.0 * STEP));
            }
            let error = relative(&exact, &found);
            details.push(format!("{shape:?}: by {name} {error:.1e}"));
            worst = worst.max(error);
        }
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 1e-6) })
}

/// Largest difference, against the largest number.
fn relative(found: &[f64], wanted: &[f64]) -> f64 {
    let largest = wanted.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    let apart = found.iter().zip(wanted).fold(0.0f64, |most, (a, b)| most.max((a - b).abs()));
    if found.len() == wanted.len() { apart / largest } else { f64::INFINITY }
}

fn moments() -> Result<Verdict, Error> {
    let mut worst: f64 = 0.0;
    for shape in [vec![64, 5], vec![8, 5, 6, 7]] {
        let (gamma, beta) = (normal("gamma", &[5])?, normal("beta", &[5])?);
        // Far from mean 0 and variance 1.
        let x = Var::constant(normal("x", &shape)?).scale(30.0).add_scalar(-70.0);
        let y = x.batch_norm(1e-12, &Var::constant(gamma.clone()), &Var::constant(beta.clone()));
        let (values, inner) = (y.value().to_f64(), shape[2..].iter().product::<usize>());
        for (channel, (gamma, beta)) in gamma.to_f64().iter().zip(beta.to_f64()).enumerate() {
            let own: Vec<f64> = values.chunks(inner).skip(channel).step_by(5).flatten().copied().collect();
            let n = own.len() as f64;
            let mean = own.iter().sum::<f64>() / n;
            let std = (own.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / n).sqrt();
            worst = worst.max((mean - beta).abs()).max((std - gamma.abs()).abs());
        }
    }
    Ok(Verdict::at_most(worst, 1e-5))
}

/// A layer with a bias and a batch normalization.
fn layer_and_norm(image: bool) -> Result<Network, Error> {
    let mut b = Builder::new("layer", Source::Built, Dtype::F64);
    let y = if image {
        let x = b.input("x", &[None, Some(3), Some(6), Some(6)]);
        b.conv(x, "layer", 5, Window::square(3, 1, 1), 1, true)
    } else {
        let x = b.input("x", &[None, Some(7)]);
        b.linear(x, "layer", Linear::new(5))
    };
    let y = b.norm(y, "norm", NormKind::Batch, 1e-5, true);
    let y = b.activation(y, Activation::Tanh);
    b.output(y, "y");
    of(b.finish())
}

fn input_of(image: bool, n: usize) -> Result<Value, Error> {
    let shape = if image { vec![n, 3, 6, 6] } else { vec![n, 7] };
    Ok(Value::constant(normal("inputs", &shape)?))
}

/// Outputs in training and gradients of their sum times a fixed cotangent, by the layer's weight and bias, with the weight
/// and bias `scale` times as large.
fn outputs_and_gradients(image: bool, scale: f64) -> Result<[Vec<f64>; 3], Error> {
    let net = layer_and_norm(image)?;
    let mut weights = weights(&net)?;
    let ids = ["layer.weight", "layer.bias"].map(|name| net.find(name));
    for id in ids.into_iter().flatten() {
        if let Some(value) = weights.get(id) {
            let scaled = Var::constant(value.clone()).scale(scale).value().clone();
            weights.set(id, scaled);
        }
    }
    let params = weights.leaves(&net);
    let done = of(run(&net, &params, &[input_of(image, 16)?], Mode::Train, &mut |_| Ok(())))?;
    let y = done.outputs[0].real().ok_or_else(|| broken(&"no real outputs"))?;
    let cotangent = Var::constant(normal("cotangent", &y.shape())?);
    let wrt: Vec<&Var> = ids.iter().flatten().filter_map(|&id| params.get(id)).collect();
    let mut found = vjp(&[(y, cotangent)], &wrt, Order::Last).into_iter();
    let mut next = || found.next().flatten().map(|var| var.value().to_f64()).unwrap_or_default();
    Ok([y.value().to_f64(), next(), next()])
}

/// Normal weights, biases and shifts; running statistics that are not the start's.
fn weights(net: &Network) -> Result<Weights, Error> {
    let mut weights = draw_start(net, "{base: pytorch_default}", 0)?;
    for (index, param) in net.params().iter().enumerate() {
        let id = epoch0_net::ParamId(index as u32);
        if param.role.is_buffer() && weights.get(id).is_some() {
            let value = normal(&param.name, &param.shape)?.to_f64().into_iter();
            let is_variance = param.name.ends_with("running_var");
            let values = value.map(|x| if is_variance { 0.5 + x * x } else { x }).collect();
            weights.set(id, Tensor::from_f64(values, &param.shape, Precision::Double, &Device::cpu()));
        }
    }
    Ok(weights)
}

fn scale_does_not_matter() -> Result<Verdict, Error> {
    let (mut worst, mut details, mut holds) = (0.0f64, Vec::new(), true);
    for image in [false, true] {
        let ([y, slope, _], [other, other_slope, _]) =
            (outputs_and_gradients(image, 1.0)?, outputs_and_gradients(image, 100.0)?);
        let apart = relative(&other, &y);
        let times: Vec<f64> = other_slope.iter().map(|slope| 100.0 * slope).collect();
        let of_slopes = relative(&times, &slope);
        details.push(format!(
            "{}: outputs differ by {apart:.1e}, a hundred times the gradient by {of_slopes:.1e}",
            if image { "convolution" } else { "linear map" }
        ));
        worst = worst.max(apart);
        holds &= of_slopes <= 0.01;
    }
    let mut verdict = Verdict { details, ..Verdict::at_most(worst, 1e-4) };
    verdict.holds &= holds;
    verdict.bound.push_str(", and gradients a hundredth to 1 %");
    Ok(verdict)
}

/// In real numbers it is zero; sums of f64 leave their rounding, against the gradient by the weight.
fn bias_before_it_does_nothing() -> Result<Verdict, Error> {
    let mut worst: f64 = 0.0;
    for image in [false, true] {
        let [_, weight, bias] = outputs_and_gradients(image, 1.0)?;
        let largest = |values: &[f64]| values.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        worst = worst.max(largest(&bias) / largest(&weight));
    }
    Ok(Verdict::at_most(worst, 1e-12))
}

fn examples_do_not_matter_in_evaluation() -> Result<Verdict, Error> {
    let mut differing = 0;
    for image in [false, true] {
        let shape: Vec<usize> = if image { vec![12, 5, 4, 3] } else { vec![12, 5] };
        let per_example = shape[1..].iter().product::<usize>();
        let x = normal("x", &shape)?.cast(Precision::Single);
        let vector = |name: &str| Ok(Var::constant(normal(name, &[5])?.cast(Precision::Single)));
        let (mean, gamma, beta) = (vector("mean")?, vector("gamma")?, vector("beta")?);
        let variance = vector("variance")?.square().add_scalar(0.5);
        let evaluate = |x: &Tensor| {
            Var::constant(x.clone()).batch_norm_eval(1e-5, &mean, &variance, &gamma, &beta).value().to_f32()
        };
        let all = evaluate(&x);
        for (nth, example) in x.to_f32().chunks(per_example).enumerate() {
            let alone: Vec<usize> = std::iter::once(1).chain(shape[1..].iter().copied()).collect();
            let alone =
                evaluate(&Tensor::from_f32(example.to_vec(), &alone, Precision::Single, &Device::cpu()));
            let together = &all[nth * per_example..][..per_example];
            differing += alone.iter().zip(together).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        }
    }
    Ok(Verdict::at_most(differing as f64, 0.0))
}

fn running_and_population_statistics_agree() -> Result<Verdict, Error> {
    let data = of(Dataset::open("gaussians:classes=3,dim=8,n=600,separation=2"))?;
    let net = of(zoo::build("mlp:8-32-32-3,norm=batch"))?;
    let settings = Settings {
        length: of("40ep".parse())?,
        optimizer: Optimizer::Sgd(Sgd::default()),
        learning_rate: 0.1,
        schedule: of("linear".parse::<Schedule>())?,
        batch: 60,
        ..Settings::default()
    };
    let (mut worst, mut details) = (0.0f64, Vec::new());
    for seed in 0..3 {
        let start = draw_start(&net, "{base: pytorch_default, rules: [{with: he_normal}]}", seed)?;
        let mut trainer = of(Trainer::new(&net, start, &data, Settings { seed, ..settings }))?;
        of(trainer.run(&mut ()))?;
        let running = answers(&trainer)?;
        of(trainer.settle_statistics())?;
        let population = answers(&trainer)?;
        let apart = {
            let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
            squares(&mut running.iter().zip(&population).map(|(a, b)| a - b))
                / squares(&mut population.iter().copied())
        };
        details.push(format!("seed {seed}: logits differ by {:.2} %", 100.0 * apart));
        worst = worst.max(apart);
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 0.02) })
}

/// Logits of all training examples in evaluation.
fn answers(trainer: &Trainer<'_>) -> Result<Vec<f64>, Error> {
    let examples = &trainer.data().train;
    let size = of(epoch0_data::BatchSize::new(examples.len()))?;
    let all = epoch0_data::Batches::new(examples, size, DataOrder::Stored).epoch(0).next();
    let all = all.ok_or_else(|| broken(&"no examples"))?;
    let inputs = trainer.feed().inputs(&all.inputs, Precision::Single, &Device::cpu());
    let done =
        of(run(trainer.network(), &trainer.weights().constants(), &inputs, Mode::Eval, &mut |_| Ok(())))?;
    Ok(done.outputs[0].real().map(|var| var.value().to_f64()).unwrap_or_default())
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
