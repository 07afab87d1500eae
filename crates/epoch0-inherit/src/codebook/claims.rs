//! That order changes nothing, files hold what was written, groups help, and learning does more.

use std::collections::HashMap;

use epoch0_data::Dataset;
use epoch0_engine::{Batch, Device, Mode as Running, Precision, Tensor, Weights, run};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Values, Verdict};
use epoch0_net::{Network, NodeId, Op, ParamId, zoo};
use epoch0_num::{Dtype, Law, Stream};
use epoch0_train::claims::{Examples, at_least, draw, interval, listed, mean, of};
use epoch0_train::{Adam, Evaluation, Feed, Optimizer, Settings, Span, Trainer, beside};

use super::fit::Rows;
use super::layers::{Learned, answers};
use super::pack::{CodebookTensor, Parts};
use super::plan::Plan;
use super::{Codebook, ENTRY};
use crate::case::{FAMILIES, built, configured, deviation, set, trained};
use crate::trial::single;
use crate::{Stored, Tensors};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "order_changes_nothing",
        text: "perceptrons, convolutional and residual networks and transformers of every family answer as before with neurons in \
               the order of their groups, to 1e-10",
        kind: ClaimKind::Law,
        budget_s: 10,
        seeds: 0,
        expectation: Expectation::Holds,
        run: order_changes_nothing,
    },
    Claim {
        name: "codes_come_back",
        text: "what is read is what the codes stand for, bit by bit, in all modes; bytes are those of the formula; and 8 bits in one \
               group leave a relative error of at most 1e-4",
        kind: ClaimKind::Law,
        budget_s: 10,
        seeds: 0,
        expectation: Expectation::Holds,
        run: codes_come_back,
    },
    Claim {
        name: "groups_help_in_order",
        text: "a perceptron that has learned digits, its neurons rescaled by factors e^N(0, 0.8) that change nothing, has with 2 bits \
               a smaller error with 4 scales than with one book, with 4 books than that, and with 8 than that",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: groups_help_in_order,
    },
    Claim {
        name: "groups_keep_answers",
        text: "of that perceptron 25 points more are right with 8 books than with one",
        kind: ClaimKind::Effect,
        budget_s: 60,
        seeds: 1,
        expectation: Expectation::NotReproduced {
            why: "with seed 0 there are 16.2 % with one book, 14.0 with 4 scales, 26.7 with 4 books and 25.9 with 8, of 95.4: \
                  9.7 points; 2 bits in the first layer of 784 inputs leave little without learning",
        },
        run: groups_keep_answers,
    },
    Claim {
        name: "learning_does_more",
        text: "of a perceptron that has learned digits, with 2 bits, every layer's answers to other digits are at most 0.6 times as \
               far off as with k-means alone, and 3 points more are right",
        kind: ClaimKind::Effect,
        budget_s: 300,
        seeds: 5,
        expectation: Expectation::NotMeasured {
            why: "no run has come to its end yet; that learning lowers losses is a test of it",
        },
        run: learning_does_more,
    },
    Claim {
        name: "proximal_steps_are_short",
        text: "with 3 bits and all levels in reach the proximal gradient ends with a loss no larger than the plain one's after as \
               many steps, for 4 of 5 seeds, and a weight that changes goes over 1 to 1.3 levels, with the plain one over more",
        kind: ClaimKind::Effect,
        budget_s: 300,
        seeds: 5,
        expectation: Expectation::NotMeasured {
            why: "no run has come to its end yet; that learning lowers losses is a test of it",
        },
        run: proximal_steps_are_short,
    },
    Claim {
        name: "letters_stay_likely",
        text: "a transformer that has learned letters of tinyshakespeare has with 3 bits, learned, at most 1.05 times its \
               perplexity, and rounded to an even grid more than that and more than learned",
        kind: ClaimKind::Effect,
        budget_s: 600,
        seeds: 3,
        expectation: Expectation::NotMeasured {
            why: "no run has come to its end yet; that learning lowers losses is a test of it",
        },
        run: letters_stay_likely,
    },
];

/// Weights as bytes.
struct Held<'a> {
    net: &'a Network,
    dtype: Dtype,
    bytes: Vec<Vec<u8>>,
}

impl<'a> Held<'a> {
    fn new(net: &'a Network, weights: &Weights) -> Self {
        let is_double = weights.iter().any(|(_, value)| value.precision() == Precision::Double);
        let bytes = |value: &Tensor| match is_double {
            true => value.to_f64().iter().flat_map(|x| x.to_le_bytes()).collect(),
            false => value.to_f32().iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        let ids = (0..net.params().len() as u32).map(ParamId);
        let bytes = ids.map(|id| weights.get(id).map(bytes).unwrap_or_default()).collect();
        Self { net, dtype: if is_double { Dtype::F64 } else { Dtype::F32 }, bytes }
    }
}

impl Tensors for Held<'_> {
    fn tensor(&self, param: ParamId) -> Result<Stored<'_>, Error> {
        let (shape, bytes) = (&self.net.param(param).shape, &self.bytes[param.0 as usize]);
        Ok(Stored { dtype: self.dtype, shape, bytes })
    }
}

fn order_changes_nothing() -> Result<Verdict, Error> {
    let method = (ENTRY.build)(&set(&[("groups", "4")]))?;
    let mut nets = Vec::new();
    for spec in [
        "mlp:8-16-12-4",
        "lenet",
        "wide_resnet:10-2,size=8",
        "vit:layers=2,heads=2,embed=16,mlp=24,patch=4,in=1,size=8",
    ] {
        nets.push((spec, built(spec)?));
    }
    for (family, config, _) in FAMILIES {
        nets.push((family, configured(config, "{}")?));
    }
    let (mut worst, mut details) = (0.0f64, Vec::new());
    for (name, net) in &nets {
        let weights = trained(net, 1)?;
        let held = Held::new(net, &weights);
        let plan = Plan::new(&method, net, &held, 0)?;
        let ordered = plan.weights(&held, Precision::Double)?;
        let off = deviation((net, &weights), (net, &ordered))?;
        let axes = plan.axes().len();
        details.push(format!("{name}: {axes} axes, {off:.1e}"));
        worst = worst.max(if off.is_nan() || axes == 0 { f64::INFINITY } else { off });
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 1e-10) })
}

/// The largest difference of what is read from what the codes stand for, and of bytes from the formula; infinite where parts do not
/// come back.
fn read_back(net: &Network, method: &Codebook, held: &Held<'_>) -> Result<f64, Error> {
    let plan = Plan::new(method, net, held, 0)?;
    let mut off = 0.0f64;
    for target in plan.targets() {
        let param = net.param(target.param);
        let rows = Rows::new(&param.shape, target.dim);
        let weights = plan.weights(held, Precision::Single)?;
        let own = rows.gathered(&weights.get(target.param).map(Tensor::to_f32).unwrap_or_default());
        let fit = plan.fit(target, &own)?;
        let wanted = rows.scattered(&fit.values(&target.groups.of(rows.n)));
        let (tensor, _) = plan.tensor(target, held)?;
        let owned = tensor.parts();
        let part = |name: &str| owned.iter().find(|part| part.0 == name);
        let bytes = |name: &str| part(name).map(|part| &*part.3);
        let parts = Parts {
            codes: bytes("codes").unwrap_or_default(),
            books: (part("books").map_or(&[], |part| &part.2[..]), bytes("books").unwrap_or_default()),
            scales: bytes("scales"),
            ends: bytes("groups"),
            rows: bytes("rows"),
        };
        let read = CodebookTensor::read(&param.name, (param.shape.clone(), target.dim, target.bits), parts)?;
        let mut found = vec![0.0; param.len()];
        read.values(0, &mut found);
        if found.iter().zip(&wanted).any(|(a, b)| a.to_bits() != b.to_bits()) {
            return Ok(f64::INFINITY);
        }
        let n: usize = owned.iter().map(|part| part.3.len()).sum();
        off = off.max((n as f64 - plan.bytes(target) as f64).abs());
    }
    Ok(off)
}

fn codes_come_back() -> Result<Verdict, Error> {
    let mut off = 0.0f64;
    let mut details = Vec::new();
    for (family, config, _) in FAMILIES.iter().filter(|(name, ..)| ["gpt2", "llama", "vit"].contains(name)) {
        let net = configured(config, "{}")?;
        let held = Held::new(&net, &trained(&net, 1)?);
        for mode in ["books", "scales", "uniform"] {
            for (bits, groups) in [("1", "1"), ("2", "4"), ("3", "auto"), ("5", "3"), ("8", "2")] {
                let method = (ENTRY.build)(&set(&[("mode", mode), ("bits", bits), ("groups", groups)]))?;
                off = off.max(read_back(&net, &method, &held)?);
            }
        }
        details.push(format!("{family}: off by {off}"));
    }
    let net = built("mlp:64-128-64-10")?;
    let held = Held::new(&net, &trained(&net, 1)?);
    let method = (ENTRY.build)(&set(&[("bits", "8"), ("groups", "1")]))?;
    let plan = Plan::new(&method, &net, &held, 0)?;
    let mut worst = 0.0f64;
    for target in plan.targets() {
        worst = worst.max(plan.tensor(target, &held)?.1);
    }
    details.push(format!("8 bits in one group: {worst:.1e}"));
    let measured = if off > 0.0 { f64::INFINITY } else { worst };
    Ok(Verdict { details, ..Verdict::at_most(measured, 1e-4) })
}

/// A network that has learned something, and what it has learned from.
struct Case {
    net: Network,
    data: Dataset,
    weights: Weights,
}

/// What became of a network.
struct Made {
    /// Its weights in the new order, and as codes stand for them.
    whole: Weights,
    coded: Weights,
    /// Squared distance of all codes from their weights, as a share.
    error: f64,
    learned: Option<Learned>,
}

fn settings(steps: u64, batch: usize, seed: u64) -> Settings {
    let length = Span::Steps(steps);
    let optimizer = Optimizer::Adam(Adam::default());
    Settings {
        length,
        optimizer,
        learning_rate: 2e-3,
        batch,
        seed,
        test_every: length,
        ..Settings::default()
    }
}

impl Case {
    fn new(spec: &str, data: Dataset, steps: u64, batch: usize, seed: u64) -> Result<Self, Error> {
        let net = of(zoo::build(spec))?;
        let drawn = single(&net, &draw("codebook", &net, &Stream::new(seed, "codebook"))?)?;
        let mut trainer = of(Trainer::new(&net, drawn, &data, settings(steps, batch, seed)))?;
        of(trainer.run(&mut ()))?;
        let weights = trainer.weights().clone();
        drop(trainer);
        Ok(Self { net, data, weights })
    }

    fn digits(seed: u64, steps: u64) -> Result<Self, Error> {
        Self::new("mlp:784-200-100-10", Examples::set(10_000, 2_000)?, steps, 64, seed)
    }

    fn test(&self, weights: &Weights) -> Result<Evaluation, Error> {
        let trainer = of(Trainer::new(&self.net, weights.clone(), &self.data, settings(1, 1, 0)))?;
        of(trainer.test())?.ok_or_else(|| epoch0_train::claims::broken(&"no test examples"))
    }

    fn accuracy(&self, weights: &Weights) -> Result<f64, Error> {
        Ok(100.0 * self.test(weights)?.accuracy.unwrap_or(f64::NAN))
    }

    /// The first examples of the training part, or of the test part.
    fn batch(&self, n: usize, is_test: bool) -> Result<Batch, Error> {
        let part = self.data.test.as_ref().filter(|_| is_test).unwrap_or(&self.data.train);
        let inputs = part.inputs().pick(&(0..n.min(part.len())).collect::<Vec<_>>());
        let feed = of(Feed::new(&self.net, &self.data))?;
        Ok(Batch::from(feed.inputs(&inputs, Precision::Single, &Device::cpu())))
    }

    fn made(&self, values: &Values, batch: Option<&Batch>) -> Result<Made, Error> {
        let method = (ENTRY.build)(values)?;
        let held = Held::new(&self.net, &self.weights);
        let plan = Plan::new(&method, &self.net, &held, 0)?;
        let whole = plan.weights(&held, Precision::Single)?;
        let mut learned = batch.map(|batch| plan.learn(&whole, batch)).transpose()?;
        let tensors = match &mut learned {
            Some(learned) => std::mem::take(&mut learned.tensors),
            None => {
                plan.targets().iter().map(|target| plan.tensor(target, &held)).collect::<Result<_, _>>()?
            }
        };
        let mut coded = whole.clone();
        let (mut off, mut size) = (0.0, 0.0);
        let put = |coded: &mut Weights, id: ParamId, values: Vec<f32>| {
            let tensor =
                Tensor::from_f32(values, &self.net.param(id).shape, Precision::Single, &Device::cpu());
            coded.set(id, tensor);
        };
        for (target, (tensor, error)) in plan.targets().iter().zip(&tensors) {
            let own = whole.get(target.param).map(Tensor::to_f64).unwrap_or_default();
            let squares: f64 = own.iter().map(|w| w * w).sum();
            (off, size) = (off + error * squares, size + squares);
            let mut values = vec![0.0; own.len()];
            tensor.values(0, &mut values);
            put(&mut coded, target.param, values);
        }
        for (id, values) in learned.iter().flat_map(|learned| &learned.biases) {
            put(&mut coded, *id, values.clone());
        }
        Ok(Made { whole, coded, error: off / size, learned })
    }

    /// What each map answers to a batch.
    fn answers(&self, weights: &Weights, batch: &Batch) -> Result<HashMap<NodeId, Vec<f32>>, Error> {
        let mut found = HashMap::new();
        of(run(&self.net, &weights.constants(), &batch.inputs, Running::Eval, &mut |done| {
            if matches!(done.node.op, Op::Linear { .. } | Op::Conv { .. })
                && let Some(values) = answers(done.node, &done.outputs[0])
            {
                found.insert(done.id, values);
            }
            Ok(())
        }))?;
        Ok(found)
    }

    /// How far off each map's answers to a batch are, as a share of their variance, in order.
    fn off(&self, made: &Made, batch: &Batch) -> Result<Vec<f64>, Error> {
        let (wanted, found) = (self.answers(&made.whole, batch)?, self.answers(&made.coded, batch)?);
        let mut nodes: Vec<&NodeId> = wanted.keys().collect();
        nodes.sort();
        let share = |node: &&NodeId| {
            let (wanted, found) = (&wanted[*node], &found[*node]);
            let off: f64 = wanted.iter().zip(found).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            let mean = wanted.iter().map(|&y| f64::from(y)).sum::<f64>() / wanted.len() as f64;
            off / wanted.iter().map(|&y| (f64::from(y) - mean).powi(2)).sum::<f64>()
        };
        Ok(nodes.iter().map(share).collect())
    }
}

/// Multiplies hidden neurons by factors, and divides what reads them.
fn rescaled(case: &mut Case, seed: u64) -> Result<(), Error> {
    let maps: Vec<(ParamId, Option<ParamId>)> = case
        .net
        .nodes()
        .iter()
        .filter_map(|node| match node.op {
            Op::Linear { weight, bias, .. } => Some((weight, bias)),
            _ => None,
        })
        .collect();
    for (nth, pair) in maps.windows(2).enumerate() {
        let n = case.net.param(pair[0].0).shape[0];
        let mut logs = vec![0.0f64; n];
        of(Law::normal(0.0, 0.8).fill(&Stream::new(seed, &format!("factors/{nth}")), 0, &mut logs))?;
        let mut each = |id: ParamId, change: &dyn Fn(usize, f32) -> f32| {
            if let Some(tensor) = case.weights.get(id) {
                let values = tensor.to_f32().into_iter().enumerate().map(|(at, w)| change(at, w)).collect();
                let shape = tensor.shape();
                case.weights.set(id, Tensor::from_f32(values, &shape, Precision::Single, &Device::cpu()));
            }
        };
        let columns = case.net.param(pair[0].0).shape[1];
        each(pair[0].0, &|at, w| w * logs[at / columns].exp() as f32);
        if let Some(bias) = pair[0].1 {
            each(bias, &|at, b| b * logs[at].exp() as f32);
        }
        each(pair[1].0, &|at, w| w / logs[at % n].exp() as f32);
    }
    Ok(())
}

/// Errors and accuracy in % with more and more groups, and whether rescaling changed what is right.
/// Errors and answers of four ways to group, and what is told of them.
type Grouped = ([f64; 4], [f64; 4], Vec<String>);

fn grouped() -> Result<Grouped, Error> {
    let mut case = Case::digits(0, 400)?;
    rescaled(&mut case, 0)?;
    let whole = case.accuracy(&case.weights)?;
    let (mut errors, mut right) = ([0.0; 4], [0.0; 4]);
    let ways = [("books", "1"), ("scales", "4"), ("books", "4"), ("books", "8")];
    for (nth, (mode, groups)) in ways.into_iter().enumerate() {
        let made = case.made(&set(&[("mode", mode), ("groups", groups), ("ends", "2")]), None)?;
        (errors[nth], right[nth]) = (made.error, case.accuracy(&made.coded)?);
    }
    let details = format!("errors {}; accuracy {} of {whole:.1} %", listed(errors, 3), listed(right, 1));
    Ok((errors, right, vec![details]))
}

fn groups_help_in_order() -> Result<Verdict, Error> {
    let (errors, _, details) = grouped()?;
    let worst = errors.windows(2).map(|pair| pair[1] / pair[0]).fold(0.0, f64::max);
    Ok(Verdict { details, ..Verdict::at_most(worst, 0.999) })
}

fn groups_keep_answers() -> Result<Verdict, Error> {
    let (_, right, details) = grouped()?;
    let measured = right[3] - right[0];
    let bound = "at least 25 points".to_owned();
    Ok(Verdict { holds: measured >= 25.0, measured, bound, interval: None, details })
}

fn learning_does_more() -> Result<Verdict, Error> {
    let found = beside(5, |seed| {
        let case = Case::digits(seed as u64, 400)?;
        let values = set(&[("ends", "2")]);
        let (batch, other) = (case.batch(1024, false)?, case.batch(1024, true)?);
        let (plain, learned) = (case.made(&values, None)?, case.made(&values, Some(&batch))?);
        let (far, near) = (case.off(&plain, &other)?, case.off(&learned, &other)?);
        let shares: Vec<f64> = near.iter().zip(&far).map(|(near, far)| near / far).collect();
        let right =
            [case.accuracy(&case.weights)?, case.accuracy(&plain.coded)?, case.accuracy(&learned.coded)?];
        Ok::<_, Error>((shares, right))
    })?;
    let worst = found.iter().flat_map(|(shares, _)| shares).copied().fold(0.0, f64::max);
    let gains: Vec<f64> = found.iter().map(|(_, right)| right[2] - right[1]).collect();
    let details = found.iter().map(|(shares, right)| {
        format!(
            "errors {} times those of k-means; accuracy {} % whole, with k-means, learned",
            listed(shares.iter().copied(), 3),
            listed(right.iter().copied(), 1)
        )
    });
    let gained = at_least(&gains, 3.0, "points", details.collect());
    let bound = format!("errors at most 0.6 times those of k-means (largest {worst:.3}), {}", gained.bound);
    Ok(Verdict { holds: gained.holds && worst <= 0.6, bound, ..gained })
}

fn proximal_steps_are_short() -> Result<Verdict, Error> {
    let found = beside(5, |seed| {
        let case = Case::digits(seed as u64, 400)?;
        let batch = case.batch(1024, false)?;
        let ends = |gradient: &str| {
            let values = set(&[("bits", "3"), ("ends", "3"), ("reach", "0"), ("gradient", gradient)]);
            let layers =
                case.made(&values, Some(&batch))?.learned.map(|learned| learned.layers).unwrap_or_default();
            let loss = mean(&layers.iter().map(|layer| layer.error[1]).collect::<Vec<_>>());
            let flips: u64 = layers.iter().map(|layer| layer.flips).sum();
            let levels: f64 = layers.iter().map(|layer| layer.flips as f64 * layer.reach).sum();
            Ok::<_, Error>((loss, levels / flips as f64))
        };
        Ok::<_, Error>((ends("proximal")?, ends("plain")?))
    })?;
    let ratios: Vec<f64> = found.iter().map(|(near, plain)| near.0 / plain.0).collect();
    let won = ratios.iter().filter(|&&ratio| ratio <= 1.0).count();
    let is_short = found.iter().all(|(near, plain)| (1.0..=1.3).contains(&near.1) && plain.1 > near.1);
    let (low, measured, high) = interval(&ratios);
    let details = found.iter().map(|(near, plain)| {
        format!(
            "proximal: loss {:.5}, {:.3} levels a change; plain: loss {:.5}, {:.3} levels",
            near.0, near.1, plain.0, plain.1
        )
    });
    Ok(Verdict {
        holds: won >= 4 && is_short,
        measured,
        bound: "a loss at most as large for 4 of 5 seeds, and 1 to 1.3 levels, less than plain".to_owned(),
        interval: Some((low, high)),
        details: details.collect(),
    })
}

fn letters_stay_likely() -> Result<Verdict, Error> {
    let found = beside(3, |seed| {
        let data = of(Dataset::open("tinyshakespeare,block=64"))?;
        let spec = "gpt:layers=2,heads=4,embed=64,vocab=65,positions=64";
        let case = Case::new(spec, data, 800, 32, seed as u64)?;
        let batch = case.batch(128, false)?;
        let learned = case.made(&set(&[("bits", "3")]), Some(&batch))?;
        let even = case.made(&set(&[("bits", "3"), ("mode", "uniform")]), None)?;
        let alone = case.made(&set(&[("bits", "3")]), None)?;
        let loss = |weights: &Weights| Ok::<_, Error>(case.test(weights)?.loss);
        Ok::<_, Error>([loss(&case.weights)?, loss(&learned.coded)?, loss(&alone.coded)?, loss(&even.coded)?])
    })?;
    let ratio = |at: usize| found.iter().map(|loss| (loss[at] - loss[0]).exp()).collect::<Vec<f64>>();
    let (learned, even) = (ratio(1), ratio(3));
    let (low, measured, high) = interval(&learned);
    let is_worse = even.iter().zip(&learned).all(|(even, learned)| *even > *learned && *even > 1.05);
    let details = found.iter().map(|loss| {
        format!(
            "perplexity {:.3}; learned {:.3}, with k-means {:.3}, on an even grid {:.3}",
            loss[0].exp(),
            loss[1].exp(),
            loss[2].exp(),
            loss[3].exp()
        )
    });
    Ok(Verdict {
        holds: measured <= 1.05 && is_worse,
        measured,
        bound: "at most 1.05 times the perplexity, and more on an even grid".to_owned(),
        interval: Some((low, high)),
        details: details.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_hold() {
        for claim in CLAIMS.iter().filter(|claim| claim.kind == ClaimKind::Law) {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:#?}", claim.name);
        }
    }

    #[test]
    fn what_cannot_be_compressed_is_named() {
        let net = built("mlp:8-16-4").unwrap();
        let mut weights = trained(&net, 1).unwrap();
        let held = Held::new(&net, &weights);
        let method = (ENTRY.build)(&set(&[("groups", "17")])).unwrap();
        let error = Plan::new(&method, &net, &held, 0).unwrap_err().to_string();
        assert_eq!(error, "codebook: groups is 17, allowed at most 16, the rows of the largest tensor");
        let id = net.find("0.weight").or(net.find(&net.params()[0].name)).unwrap();
        let mut values = weights.get(id).unwrap().to_f64();
        values[3] = f64::NAN;
        weights.set(id, Tensor::from_f64(values, &net.param(id).shape, Precision::Double, &Device::cpu()));
        let method = (ENTRY.build)(&Values::new()).unwrap();
        let error = Plan::new(&method, &net, &Held::new(&net, &weights), 0).unwrap_err().to_string();
        assert!(error.contains(&net.param(id).name) && error.contains("NaN"), "{error}");
    }
}
