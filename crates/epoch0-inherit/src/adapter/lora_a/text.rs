//! A small transformer that was trained on a text, and is tuned on another.

use epoch0_data::Order as DataOrder;
use epoch0_data::{Array, BatchSize, Batches, Dataset, Examples, Inputs, Targets};
use epoch0_engine::{Device, Mode, Order, Precision, Tensor, Var, Weights, run, vjp};
use epoch0_method::{Error, Verdict};
use epoch0_net::{Network, ParamId, zoo};
use epoch0_num::Stream;
use epoch0_train::claims::{broken, draw, listed, mean, of};
use epoch0_train::{Adam as Optimizer, Feed, Settings, Span, Trainer, beside};

use super::super::shared::bare;
use super::super::targets::{self, Targets as Which};
use super::super::{Adapter, Target};
use super::claims::both;
use super::toy::Adam;

const NETWORK: &str = "gpt:layers=2,heads=4,embed=128,vocab=65,positions=32";
const DATA: &str = "tinyshakespeare,block=32";
const SEEDS: usize = 3;
const RANK: usize = 4;
const BATCH: usize = 16;
/// Steps on the first text, and on the second.
const STEPS: (u64, usize) = (400, 100);
/// Test examples that are looked at.
const TESTED: usize = 256;

/// Rates 2^-3 to 2^-10.
fn rates() -> Vec<f64> {
    (3..=10).map(|power| 0.5_f64.powi(power)).collect()
}

/// The same text from its end to its beginning.
fn backwards(examples: &Examples) -> Result<Examples, Error> {
    let (Inputs::Tokens(inputs), Targets::Next(next)) = (examples.inputs(), examples.targets()) else {
        return Err(broken(&"no text"));
    };
    let turned = |array: &Array<i64>| {
        let width = array.shape()[1];
        let values = array.data().chunks_exact(width).flat_map(|row| row.iter().rev().copied());
        of(Array::new(array.shape().to_vec(), values.collect()))
    };
    // What follows in one direction was before in the other.
    of(Examples::new("text", Inputs::Tokens(turned(next)?), Targets::Next(turned(inputs)?)))
}

/// A network and what it is tuned on.
struct Tuning<'a> {
    net: &'a Network,
    data: &'a Dataset,
    feed: Feed,
    targets: Vec<Target>,
}

impl Tuning<'_> {
    /// Mean loss of the first test examples.
    fn test(&self, weights: &Weights, adapter: &[(Var, Var)]) -> Result<f64, Error> {
        let Some(test) = &self.data.test else { return Err(broken(&"no test examples")) };
        let which: Vec<usize> = (0..TESTED.min(test.len())).collect();
        let mut sum = 0.0;
        for part in which.chunks(64) {
            let params = self.params(weights, adapter);
            let inputs = self.feed.inputs(&test.inputs().pick(part), Precision::Single, &Device::cpu());
            let done = of(run(self.net, &params, &inputs, Mode::Eval, &mut |_| Ok(())))?;
            let answer = of(self.feed.answer(&done.outputs))?;
            let loss = of(self.feed.loss(answer, &test.targets().pick(part)))?.mean.value().item();
            sum += loss * part.len() as f64 / which.len() as f64;
        }
        Ok(sum)
    }

    /// Weights with what adapters add.
    fn params(&self, weights: &Weights, adapter: &[(Var, Var)]) -> epoch0_engine::Parameters {
        let mut params = weights.constants();
        for (target, (a, b)) in self.targets.iter().zip(adapter) {
            let Some(weight) = params.get(target.param).cloned() else { continue };
            params.set(target.param, weight.add(&b.matmul(a)));
        }
        params
    }

    /// Tunes adapters; the test loss at the end, infinite where it diverged.
    fn train(&self, weights: &Weights, method: &dyn Adapter, rate: f64, seed: u64) -> Result<f64, Error> {
        let mut values = Vec::new();
        for target in &self.targets {
            let map = super::super::Map {
                stream: Stream::new(seed, &format!("lora/text/{}", target.module)),
                ..bare(target.rows, target.columns, RANK, seed)
            };
            let start = method.start(&map)?;
            values.push((start.a, Adam::new(RANK * target.columns)));
            values.push((start.b, Adam::new(RANK * target.rows)));
        }
        let vars = |values: &[(super::super::Matrix, Adam)]| -> Vec<(Var, Var)> {
            let leaf = |matrix: &super::super::Matrix| {
                let shape = [matrix.rows(), matrix.columns()];
                Var::leaf(Tensor::from_f64(
                    matrix.values().to_vec(),
                    &shape,
                    Precision::Single,
                    &Device::cpu(),
                ))
            };
            values.chunks_exact(2).map(|pair| (leaf(&pair[0].0), leaf(&pair[1].0))).collect()
        };
        let order = DataOrder::Shuffled { seed };
        let batches = Batches::new(&self.data.train, of(BatchSize::new(BATCH))?, order);
        for batch in batches.epoch(0).take(STEPS.1) {
            let adapter = vars(&values);
            let params = self.params(weights, &adapter);
            let inputs = self.feed.inputs(&batch.inputs, Precision::Single, &Device::cpu());
            let done = of(run(self.net, &params, &inputs, Mode::Train, &mut |_| Ok(())))?;
            let loss = of(self.feed.loss(of(self.feed.answer(&done.outputs))?, &batch.targets))?.mean;
            if !loss.value().item().is_finite() {
                return Ok(f64::INFINITY);
            }
            let leaves: Vec<&Var> = adapter.iter().flat_map(|(a, b)| [a, b]).collect();
            let one = Var::constant(loss.value().full_like(1.0, &loss.shape()));
            let found = vjp(&[(&loss, one)], &leaves, Order::Last);
            for ((matrix, adam), gradient) in values.iter_mut().zip(found) {
                if let Some(gradient) = gradient {
                    adam.step(matrix.values_mut(), &gradient.value().to_f64(), rate);
                }
            }
        }
        let loss = self.test(weights, &vars(&values))?;
        Ok(if loss.is_finite() { loss } else { f64::INFINITY })
    }
}

/// Trains the network on the text, read as it is.
fn trained(net: &Network, data: &Dataset, seed: u64) -> Result<Weights, Error> {
    let double = draw("lora_a", net, &Stream::new(seed, "lora/text"))?;
    // What stands on a residual stream is small, as GPT-2's weights are.
    let mut weights = double;
    let single: Vec<(ParamId, Tensor)> = weights
        .iter()
        .map(|(id, value)| {
            let is_table = net.param(id).role == epoch0_net::Role::Embedding
                || net.param(id).role == epoch0_net::Role::Position;
            let factor = if is_table { 0.02 } else { 1.0 };
            let values = value.to_f64().into_iter().map(|x| factor * x).collect();
            (id, Tensor::from_f64(values, &value.shape(), Precision::Single, &Device::cpu()))
        })
        .collect();
    single.into_iter().for_each(|(id, value)| weights.set(id, value));
    let settings = Settings {
        length: Span::Steps(STEPS.0),
        optimizer: epoch0_train::Optimizer::Adam(Optimizer::default()),
        learning_rate: 2e-3,
        batch: BATCH,
        seed,
        test_every: Span::Steps(STEPS.0),
        ..Settings::default()
    };
    let mut trainer = of(Trainer::new(net, weights, data, settings))?;
    of(trainer.run(&mut ()))?;
    Ok(trainer.into_weights())
}

pub(super) fn a_small_transformer_is_tuned_better() -> Result<Verdict, Error> {
    let net = of(zoo::build(NETWORK))?;
    let forwards = of(Dataset::open(DATA))?;
    let Some(test) = &forwards.test else { return Err(broken(&"no test examples")) };
    let turned = Dataset::new("the same text backwards", backwards(&forwards.train)?, Some(backwards(test)?));
    let turned = Dataset { vocabulary: forwards.vocabulary.clone(), ..turned };
    let bases = beside(SEEDS, |seed| trained(&net, &forwards, seed as u64))?;
    let tuning = Tuning {
        net: &net,
        data: &turned,
        feed: of(Feed::new(&net, &turned))?,
        targets: targets::find("lora_a", &net, &Which::AllLinear)?,
    };
    let before = (0..SEEDS).map(|seed| tuning.test(&bases[seed], &[])).collect::<Result<Vec<_>, _>>()?;
    let rates = rates();
    let mut details = vec![format!("before tuning: {}", listed(before.iter().copied(), 3))];
    let (mut best, mut largest) = (Vec::new(), Vec::new());
    for (name, method) in both() {
        let found = beside(rates.len() * SEEDS, |job| {
            let (rate, seed) = (rates[job / SEEDS], job % SEEDS);
            tuning.train(&bases[seed], &*method, rate, seed as u64)
        })?;
        let by_rate: Vec<&[f64]> = found.chunks(SEEDS).collect();
        let means: Vec<f64> = by_rate.iter().map(|losses| mean(losses)).collect();
        let at = (0..rates.len()).min_by(|&a, &b| means[a].total_cmp(&means[b])).unwrap_or(0);
        let learns = |losses: &&[f64]| losses.iter().zip(&before).all(|(after, before)| after < before);
        largest.push(by_rate.iter().position(learns).map_or(0.0, |at| rates[at]));
        best.push(by_rate[at].to_vec());
        details.push(format!(
            "{name}: mean test loss at 2^-3 to 2^-10 {}; best at 2^-{}: {}; largest rate that learns {:.4}",
            listed(means.iter().copied(), 3),
            at + 3,
            listed(by_rate[at].iter().copied(), 4),
            largest[largest.len() - 1]
        ));
    }
    let gains: Vec<f64> = best[0].iter().zip(&best[1]).map(|(a, b)| b - a).collect();
    let (low, gain, high) = epoch0_train::claims::interval(&gains);
    Ok(Verdict {
        holds: gain >= 0.0 && largest[0] >= 2.0 * largest[1],
        measured: gain,
        bound: "at least 0 nats ahead, with a largest rate that learns at least twice as large".to_owned(),
        interval: Some((low, high)),
        details,
    })
}
