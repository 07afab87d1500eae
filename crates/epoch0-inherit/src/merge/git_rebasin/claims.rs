//! What the paper claims: the function stays, planted permutations are found, and the barrier between two networks falls.

use std::sync::Arc;

use epoch0_data::prepare::order;
use epoch0_engine::{Device, Mode, Precision, Tensor, Value, Var, Weights, run};
use epoch0_format::hf;
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::{Network, ParamId, zoo};
use epoch0_num::{Law, Stream};
use epoch0_train::claims::{Examples, broken, draw, listed, mean, of};
use epoch0_train::{Adam, Optimizer, Settings, Span, Trainer, beside};

use super::axes::{Moves, free};
use super::{GitRebasin, INFO, all_places, permuted};
use crate::merge::variance_corrected_average::xavier;
use crate::merge::{Aligner, Alignment, average::Average};
use crate::merge::{Averager, Kind, averaged};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "function_is_kept",
        text: "a random permutation of every axis that is called free changes no output of perceptrons, convolutional networks, \
               residual networks, decoders with grouped queries and packed projections, and vision transformers, to 1e-9",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: function_is_kept,
    },
    Claim {
        name: "planted_permutation_is_found",
        text: "of a network and itself with all hidden axes permuted and a tenth of noise, the permutation is found exactly, in a \
               perceptron, a residual network and a decoder",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: planted_permutation_is_found,
    },
    Claim {
        name: "barrier_falls",
        text: "two perceptrons 784-512-512-512-10 trained on MNIST from different starts: the barrier of the test loss on the \
               straight line between them is at most half as high once one is aligned with the other, in the mean over 5 seeds \
               and above 0 in its interval",
        kind: ClaimKind::Effect,
        budget_s: 600,
        seeds: 5,
        expectation: Expectation::Holds,
        run: barrier_falls,
    },
];

fn built(spec: &str) -> Result<Network, Error> {
    zoo::build(spec).map_err(|error| broken(&error))
}

/// Random permutations of all free axes.
pub(super) fn shuffled(net: &Network, seed: u64) -> Moves {
    free(net).iter().map(|axis| (axis.axis, order(axis.size, seed, u64::from(axis.axis.0)).into())).collect()
}

/// Weights with their dimensions in other orders.
pub(super) fn moved(
    net: &Network,
    weights: &Weights,
    places: &[Vec<Option<Arc<[usize]>>>],
) -> Result<Weights, Error> {
    let mut moved = weights.clone();
    for (id, value) in weights.iter() {
        let (shape, places) = (&net.param(id).shape, &places[id.0 as usize]);
        // Numbers of double precision are moved by their places.
        let at: Vec<f32> = (0..value.len()).map(|at| at as f32).collect();
        if value.len() > 1 << 24 {
            return Err(broken(&"a parameter of a claim's network has more than 2^24 elements"));
        }
        let values = value.to_f64();
        let picked = permuted(shape, places, &at).into_iter().map(|at| values[at as usize]).collect();
        moved.set(id, Tensor::from_f64(picked, shape, value.precision(), &value.device()));
    }
    Ok(moved)
}

/// Inputs of a network: two examples of five words, or random numbers.
fn inputs(net: &Network) -> Vec<Value> {
    let of = |(nth, &id): (usize, &epoch0_net::ValueId)| {
        let value = net.value(id);
        // Two examples: of five words, or of pictures.
        let unknown = [2, if value.dims.len() == 4 { 64 } else { 5 }];
        let mut sizes = unknown.iter();
        let shape: Vec<usize> = value
            .dims
            .iter()
            .map(|&axis| net.axis(axis).size.unwrap_or_else(|| *sizes.next().unwrap_or(&unknown[1])))
            .collect();
        let len: usize = shape.iter().product();
        if value.is_index {
            let name = value.name.as_deref().unwrap_or_default();
            let word = |at: usize| match name {
                "position_ids" => at % 5,
                "token_type_ids" => 0,
                _ => (7 * at + 3 + nth) % 11,
            };
            return Value::index((0..len).map(|at| word(at) as i64).collect(), &shape)
                .expect("as many as its shape");
        }
        let mut values = vec![0.0; len];
        // A normal law can be drawn from.
        let _ = Law::normal(0.0, 1.0).fill(&Stream::new(nth as u64, "input"), 0, &mut values);
        Value::constant(Tensor::from_f64(values, &shape, Precision::Double, &Device::cpu()))
    };
    net.inputs().iter().enumerate().map(of).collect()
}

/// Weights of which no two places are alike: as drawn, with everything that is constant shaken.
pub(super) fn shaken(net: &Network, seed: u64) -> Result<Weights, Error> {
    let stream = Stream::new(seed, "shaken");
    let mut weights = draw(INFO.id, net, &stream)?;
    let shaken: Vec<(ParamId, Tensor)> = weights
        .iter()
        .map(|(id, value)| {
            let mut noise = vec![0.0f64; value.len()];
            let _ = Law::uniform(0.0, 0.1).fill(&stream.child(&net.param(id).name), 0, &mut noise);
            let values = value.to_f64().iter().zip(noise).map(|(value, noise)| value + noise).collect();
            (id, Tensor::from_f64(values, &net.param(id).shape, value.precision(), &value.device()))
        })
        .collect();
    shaken.into_iter().for_each(|(id, value)| weights.set(id, value));
    Ok(weights)
}

/// The largest change of an output, in units of the largest output.
pub(super) fn change(net: &Network) -> Result<f64, Error> {
    let weights = shaken(net, 0)?;
    let other = moved(net, &weights, &all_places(net, &shuffled(net, 1)))?;
    let inputs = inputs(net);
    let outputs = |weights: &Weights| -> Result<Vec<f64>, Error> {
        let done = of(run(net, &weights.constants(), &inputs, Mode::Eval, &mut |_| Ok(())))?;
        Ok(done.outputs.iter().filter_map(Value::real).map(Var::value).flat_map(Tensor::to_f64).collect())
    };
    let (a, b) = (outputs(&weights)?, outputs(&other)?);
    let scale = a.iter().map(|value| value.abs()).fold(0.0, f64::max);
    let most = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    Ok(if scale > 0.0 { most / scale } else { f64::NAN })
}

const KEPT: [&str; 8] = [
    "mlp:20-16-12-5,act=tanh",
    "mlp:20-16-16-16-5,norm=batch,residual=true",
    "lenet",
    "cifar_resnet:8",
    "shufflenet_v2_x1_0",
    "squeezenet1_0,size=64",
    "vit:layers=2",
    "gpt:layers=2,heads=4,embed=32,vocab=50,positions=16",
];

fn function_is_kept() -> Result<Verdict, Error> {
    let mut worst = Verdict::at_most(0.0, 1e-9);
    let llama = r#"{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "num_attention_heads": 8,
        "num_key_value_heads": 2, "head_dim": 4, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 40,
        "max_position_embeddings": 16, "rms_norm_eps": 1e-6, "hidden_act": "silu", "tie_word_embeddings": false}"#;
    let llama = of(hf::Config::parse("llama", llama.as_bytes()))?;
    let mut nets = vec![of(hf::network(&llama, true))?];
    for spec in KEPT {
        nets.push(built(spec)?);
    }
    for net in &nets {
        let n = free(net).len();
        let off = if n == 0 { f64::INFINITY } else { change(net)? };
        worst = worst.detail(format!("{}: {n} axes permuted, outputs off by {off:.1e}", net.name()));
        worst.measured = if off.is_nan() { f64::INFINITY } else { worst.measured.max(off) };
    }
    Ok(Verdict { holds: worst.measured <= 1e-9, ..worst })
}

fn aligned(net: &Network, own: &Weights, other: &Weights, seed: u64) -> Result<Alignment, Error> {
    let read = |id: ParamId, is_other: bool| {
        Ok((if is_other { other } else { own }).get(id).map_or_else(Vec::new, Tensor::to_f32))
    };
    GitRebasin { sweeps: 100 }.align(net, seed, &read)
}

/// Places of free axes that are not what was planted.
fn planted_permutation_is_found() -> Result<Verdict, Error> {
    let mut wrong = Verdict::at_most(0.0, 0.0);
    for spec in ["mlp:40-32-32-10", "cifar_resnet:8", "gpt:layers=2,heads=4,embed=32,vocab=50,positions=16"] {
        let net = built(spec)?;
        let weights = shaken(&net, 3)?;
        let planted = shuffled(&net, 5);
        let mut other = moved(&net, &weights, &all_places(&net, &planted))?;
        let noisy: Vec<(ParamId, Tensor)> = other
            .iter()
            .map(|(id, value)| {
                let values = value.to_f64();
                let std = epoch0_num::stats::Moments::of(&values).std();
                let mut noise = vec![0.0f64; values.len()];
                let _ = Law::normal(0.0, 1.0).fill(&Stream::new(9, &net.param(id).name), 0, &mut noise);
                let std = if std.is_nan() { 0.0 } else { std };
                let values =
                    values.iter().zip(noise).map(|(value, noise)| value + 0.1 * std * noise).collect();
                (id, Tensor::from_f64(values, &net.param(id).shape, value.precision(), &value.device()))
            })
            .collect();
        noisy.into_iter().for_each(|(id, value)| other.set(id, value));
        let found = aligned(&net, &weights, &other, 0)?;
        // Undone, the planted permutation is none: each place of a tensor is taken from where it went.
        let put = all_places(&net, &planted);
        let mut off = 0;
        for (put, back) in put.iter().zip(&found.places) {
            for (put, back) in put.iter().zip(back) {
                off += match (put, back) {
                    (Some(put), Some(back)) => {
                        back.iter().enumerate().filter(|(at, place)| put[**place] != *at).count()
                    }
                    (Some(put), None) => put.iter().enumerate().filter(|(at, place)| *at != **place).count(),
                    (None, Some(back)) => {
                        back.iter().enumerate().filter(|(at, place)| *at != **place).count()
                    }
                    (None, None) => 0,
                };
            }
        }
        wrong = wrong.detail(format!("{spec}: {off} places wrong after {} sweeps", found.sweeps));
        wrong.measured += off as f64;
    }
    Ok(Verdict { holds: wrong.measured == 0.0, ..wrong })
}

/// Points on the straight line, both ends among them.
const POINTS: usize = 11;

/// How far the loss on the line between two networks rises above the line between their losses, at most.
fn barrier(trainer: &mut Trainer<'_>, a: &Weights, b: &Weights) -> Result<f64, Error> {
    let mut losses = Vec::with_capacity(POINTS);
    let method = Average { own: None };
    for nth in 0..POINTS {
        let share = nth as f64 / (POINTS - 1) as f64;
        let mut mixed = a.clone();
        for (id, value) in a.iter() {
            let other = b.get(id).map_or_else(Vec::new, Tensor::to_f32);
            let shares = [1.0 - share, share];
            debug_assert!(!method.corrects(Kind::Weight));
            let values = averaged(&method, Kind::Weight, &shares, &[&value.to_f32(), &other]);
            mixed.set(id, Tensor::from_f32(values, &value.shape(), value.precision(), &value.device()));
        }
        trainer.set_weights(mixed);
        losses.push(of(trainer.test())?.map_or(f64::NAN, |found| found.loss));
    }
    let (first, last) = (losses[0], losses[POINTS - 1]);
    let rise = |(nth, loss): (usize, &f64)| {
        let share = nth as f64 / (POINTS - 1) as f64;
        loss - ((1.0 - share) * first + share * last)
    };
    Ok(losses.iter().enumerate().map(rise).fold(0.0, f64::max))
}

fn barrier_falls() -> Result<Verdict, Error> {
    let net = built("mlp:784-512-512-512-10")?;
    let data = Examples::set(20_000, 5_000)?;
    let found = beside(5, |seed| {
        let trained = |nth: u64| {
            let settings = Settings {
                length: Span::Epochs(5.0),
                optimizer: Optimizer::Adam(Adam::default()),
                learning_rate: 1e-3,
                batch: 128,
                seed: 2 * seed as u64 + nth,
                test_every: Span::Epochs(5.0),
                ..Settings::default()
            };
            let mut trainer = of(Trainer::new(&net, xavier(&net, 2 * seed as u64 + nth)?, &data, settings))?;
            of(trainer.run(&mut ()))?;
            Ok::<_, Error>(trainer)
        };
        let mut trainer = trained(0)?;
        let (a, b) = (trainer.weights().clone(), trained(1)?.into_weights());
        let found = aligned(&net, &a, &b, seed as u64)?;
        let back = {
            let mut back = b.clone();
            for (id, value) in b.iter() {
                let values = permuted(&value.shape(), &found.places[id.0 as usize], &value.to_f32());
                back.set(id, Tensor::from_f32(values, &value.shape(), value.precision(), &value.device()));
            }
            back
        };
        Ok::<_, Error>((barrier(&mut trainer, &a, &b)?, barrier(&mut trainer, &a, &back)?))
    })?;
    let (plain, aligned): (Vec<f64>, Vec<f64>) = found.into_iter().unzip();
    let gains: Vec<f64> = plain.iter().zip(&aligned).map(|(plain, aligned)| plain - 2.0 * aligned).collect();
    let (low, _, high) = epoch0_train::claims::interval(&gains);
    let ratio = mean(&aligned) / mean(&plain);
    Ok(Verdict {
        holds: ratio <= 0.5 && low > 0.0,
        measured: ratio,
        bound: "at most 0.5 of the barrier without, twice it below that in the interval".to_owned(),
        interval: Some((low, high)),
        details: vec![
            data.name.clone(),
            format!("barriers in nats, plain: {}", listed(plain, 4)),
            format!("aligned: {}", listed(aligned, 4)),
        ],
    })
}

/// Weights of single precision, for tests.
#[cfg(test)]
pub(super) fn single(net: &Network, values: impl Fn(ParamId) -> Vec<f32>) -> Weights {
    let read = Weights::read::<epoch0_engine::Error>(net, Precision::Single, &Device::cpu(), |id, _| {
        Ok(epoch0_engine::Elements::Single(values(id)))
    });
    read.unwrap()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn laws_hold() {
        for claim in CLAIMS.iter().filter(|claim| claim.kind == ClaimKind::Law) {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:?}", claim.name);
        }
    }

    #[test]
    fn no_output_of_any_family_changes() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/configs");
        let mut n = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let Ok(config) = hf::Config::open(&path) else { continue };
            let net = hf::network(&config, true).unwrap();
            if free(&net).is_empty() {
                continue;
            }
            // Networks that answer nothing that is not zero cannot be told apart.
            match change(&net) {
                Ok(off) => assert!(off <= 1e-9, "{}: outputs off by {off:.1e}", path.display()),
                Err(error) => panic!("{}: {error}", path.display()),
            }
            n += 1;
        }
        assert!(n >= 30, "{n} configs");
    }

    #[test]
    fn what_cannot_be_permuted_is_told() {
        let net = built("mlp:4-3").unwrap();
        let weights = single(&net, |id| vec![0.0; net.param(id).len()]);
        let error = aligned(&net, &weights, &weights, 0).unwrap_err().to_string();
        assert!(error.contains("none of its axes") && error.contains("hint: "), "{error}");
    }
}
