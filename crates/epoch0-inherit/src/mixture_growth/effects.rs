//! What training makes of grown networks.

use epoch0_data::Dataset;
use epoch0_data::prepare::{Normalize, Per};
use epoch0_engine::{Device, Elements, Precision, Tensor, Weights};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Values, Verdict};
use epoch0_net::{Builder, Linear, Network, NormKind, Op, Pool, Role, Source, Window};
use epoch0_num::{Activation, Dtype, Stream};
use epoch0_train::claims::{at_least, draw, listed, mean, of};
use epoch0_train::schedule::{Schedule, Shape};
use epoch0_train::{NormStatistics, Optimizer, Settings, Sgd, Span, Trainer, beside};

use super::claims::grown;
use crate::trial::single;
use crate::{Kin, find, made};

pub(super) const SMOOTH: Claim = Claim {
    name: "growing_is_smooth",
    text: "right after growing, with statistics taken anew, the test loss of blocks of zeros is no higher than that of orthogonal \
           mixtures, and that no higher than that of random blocks: a convolutional network on 5,000 images of CIFAR-10",
    kind: ClaimKind::Effect,
    budget_s: 240,
    seeds: 3,
    expectation: Expectation::NotReproduced {
        why: "losses of orthogonal mixtures are 2.34, 1.91, 2.38, of random blocks 1.99, 1.94, 1.87, of zeros 1.67, 1.65, 1.67: what \
              is orthogonal to the coefficients has hardly learned, and is as large as weights of half the width are drawn",
    },
    run: growing_is_smooth,
};

pub(super) const AHEAD: Claim = Claim {
    name: "mixtures_beat_random_blocks",
    text: "at equal computation in all, orthogonal mixtures end at least 0.5 points above random blocks and no lower than Net2Net of a \
           single parent, each at the better of two learning rates: a convolutional network on 5,000 images of CIFAR-10",
    kind: ClaimKind::Effect,
    budget_s: 1200,
    seeds: 3,
    expectation: Expectation::NotMeasured { why: "it takes more than ten minutes of one core" },
    run: mixtures_beat_random_blocks,
};

/// Passes of a member over the data, and of the grown network.
const EPOCHS: [f64; 2] = [8.0, 3.0];
/// Rate of training from nothing, and those that a grown network goes on with.
const RATE: f64 = 0.05;
const RATES: [f64; 2] = [0.05, 0.01];

/// Four convolutions with normalization, the third around a residual sum; `templates` of each weight, or none.
fn network(width: usize, templates: Option<usize>) -> Result<Network, Error> {
    let mut b = Builder::new("four convolutions", Source::Built, Dtype::F32);
    let x = b.input("image", &[None, Some(3), Some(32), Some(32)]);
    let unit = |b: &mut Builder, x, nth: usize, out: usize, stride: usize| {
        let y = b.conv(x, &format!("conv{nth}"), out, Window::square(3, stride, 1), 1, false);
        let y = b.norm(y, &format!("norm{nth}"), NormKind::Batch, 1e-5, true);
        b.activation(y, Activation::Relu)
    };
    let x = unit(&mut b, x, 1, width, 2);
    let x = unit(&mut b, x, 2, 2 * width, 2);
    let y = unit(&mut b, x, 3, 2 * width, 1);
    let x = b.add(&[x, y]);
    let x = unit(&mut b, x, 4, 4 * width, 2);
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.flatten(x);
    let x = b.linear(x, "fc", Linear::new(10).role(Role::Readout));
    b.output(x, "logits");
    if let Some(templates) = templates {
        b.mix_maps(templates);
    }
    of(b.finish())
}

/// Multiplications of an example's pass through maps and convolutions.
fn work(net: &Network) -> f64 {
    let of_node = |node: &epoch0_net::Node| {
        let weight = match node.op {
            Op::Linear { weight, .. } | Op::Conv { weight, .. } => net.param(weight).len(),
            _ => return 0,
        };
        let dims = &net.value(node.outputs[0]).dims;
        let places: usize = dims.iter().skip(2).filter_map(|&axis| net.axis(axis).size).product();
        weight * places
    };
    net.nodes().iter().map(of_node).sum::<usize>() as f64
}

fn images() -> Result<Dataset, Error> {
    const N: [usize; 2] = [5_000, 2_000];
    let data = of(Dataset::open("cifar10"))?;
    let part = |examples: &epoch0_data::Examples, n: usize| examples.pick(&(0..n).collect::<Vec<_>>());
    let train = part(&data.train, N[0]);
    let test = data.test.as_ref().map(|test| part(test, N[1]));
    Ok(of(Normalize::dataset(Dataset::new("CIFAR-10", train, test), Per::Channel))?.0)
}

fn start(net: &Network, seed: u64, name: &str) -> Result<Weights, Error> {
    single(net, &draw("mixture_growth", net, &Stream::new(seed, name))?)
}

fn trainer<'a>(
    net: &'a Network,
    start: Weights,
    data: &'a Dataset,
    rate: f64,
    epochs: f64,
    seed: u64,
) -> Result<Trainer<'a>, Error> {
    let settings = Settings {
        length: Span::Epochs(epochs),
        optimizer: Optimizer::Sgd(Sgd {
            momentum: 0.9,
            nesterov: true,
            weight_decay: 5e-4,
            ..Sgd::default()
        }),
        learning_rate: rate,
        schedule: Schedule { shape: Shape::Cosine { floor: 0.0 }, ..Schedule::default() },
        batch: 64,
        seed,
        test_every: Span::Epochs(epochs),
        statistics: NormStatistics::Population,
        ..Settings::default()
    };
    of(Trainer::new(net, start, data, settings))
}

fn trained(
    net: &Network,
    start: Weights,
    data: &Dataset,
    rate: f64,
    epochs: f64,
    seed: u64,
) -> Result<(Weights, f64), Error> {
    let mut trainer = trainer(net, start, data, rate, epochs, seed)?;
    of(trainer.run(&mut ()))?;
    let accuracy = of(trainer.test())?.and_then(|found| found.accuracy);
    Ok((trainer.into_weights(), accuracy.map_or(f64::NAN, |share| 100.0 * share)))
}

/// The test loss of weights with statistics taken anew, and these weights.
fn settled(net: &Network, weights: Weights, data: &Dataset) -> Result<(Weights, f64), Error> {
    let mut trainer = trainer(net, weights, data, RATE, 1.0, 0)?;
    of(trainer.settle_statistics())?;
    let loss = of(trainer.test())?.map_or(f64::NAN, |found| found.loss);
    Ok((trainer.into_weights(), loss))
}

/// Children of two members that have learned: of orthogonal mixtures, of random blocks and of zeros.
struct Children {
    child: Network,
    members: f64,
    starts: [(&'static str, Weights); 3],
}

impl Children {
    fn new(data: &Dataset, seed: u64, width: usize) -> Result<Self, Error> {
        let (member, child) = (network(width, Some(2))?, network(2 * width, None)?);
        let learned = |nth: u64| -> Result<(Weights, f64), Error> {
            trained(
                &member,
                start(&member, seed, &format!("member {nth}"))?,
                data,
                RATE,
                EPOCHS[0],
                2 * seed + nth,
            )
        };
        let [(first, a), (second, b)] = [learned(0)?, learned(1)?];
        let drawn = start(&child, seed, "child")?;
        let make = |how: &str| {
            let weights = [first.clone(), second.clone()];
            grown(member.clone(), weights, child.clone(), &[("coefficients", how)])?.made(&drawn)
        };
        let [mixed, zero] = [make("orthogonal")?, make("zero")?];
        // What neither member has: zero even where all of both is one.
        let ones = of(Weights::read::<epoch0_engine::Error>(
            &member,
            Precision::Single,
            &Device::cpu(),
            |_, param| Ok(Elements::Double(vec![1.0; param.len()])),
        ))?;
        let places = grown(member.clone(), [ones.clone(), ones], child.clone(), &[("coefficients", "zero")])?
            .made(&drawn)?;
        let random = of(Weights::read::<epoch0_engine::Error>(
            &child,
            Precision::Single,
            &Device::cpu(),
            |id, param| {
                let of = |weights: &Weights| weights.get(id).map(Tensor::to_f64).unwrap_or_default();
                let (own, free, place) = (of(&zero), of(&drawn), of(&places));
                let is_map = param.role.is_matrix();
                let one = |at: usize| if is_map && place[at] == 0.0 { free[at] } else { own[at] };
                Ok(Elements::Double((0..param.len()).map(one).collect()))
            },
        ))?;
        let mut starts = [("orthogonal", mixed), ("random", random), ("zero", zero)];
        for (_, weights) in &mut starts {
            *weights = settled(&child, weights.clone(), data)?.0;
        }
        Ok(Self { child, members: f64::midpoint(a, b), starts })
    }
}

/// Channels of a member's first convolution.
const WIDTH: usize = 8;

fn growing_is_smooth() -> Result<Verdict, Error> {
    let data = images()?;
    let found = beside(3, |seed| {
        let children = Children::new(&data, seed as u64, WIDTH)?;
        let mut losses = [0.0; 3];
        for (loss, (_, weights)) in losses.iter_mut().zip(&children.starts) {
            *loss = settled(&children.child, weights.clone(), &data)?.1;
        }
        Ok::<_, Error>((children.members, losses))
    })?;
    let gains: Vec<f64> = found.iter().map(|(_, [mixed, random, _])| random - mixed).collect();
    let details = found.iter().map(|(members, [mixed, random, zero])| {
        format!("members right in {members:.1} %; loss of zeros {zero:.3}, orthogonal {mixed:.3}, random {random:.3}")
    });
    let verdict = at_least(&gains, 0.0, "nats below random blocks", details.collect());
    let is_below = found.iter().all(|(_, [mixed, _, zero])| zero <= mixed);
    Ok(Verdict { holds: verdict.holds && is_below, ..verdict })
}

/// Accuracy at the better rate.
fn best(net: &Network, start: &Weights, data: &Dataset, epochs: f64, seed: u64) -> Result<f64, Error> {
    let mut best = 0.0f64;
    for rate in RATES {
        best = best.max(trained(net, start.clone(), data, rate, epochs, seed)?.1);
    }
    Ok(best)
}

fn mixtures_beat_random_blocks() -> Result<Verdict, Error> {
    let data = images()?;
    let found = beside(3, |seed| {
        let seed = seed as u64;
        let Children { child, members, starts } = Children::new(&data, seed, WIDTH)?;
        let mut arms = Vec::new();
        for (_, weights) in &starts {
            arms.push(best(&child, weights, &data, EPOCHS[1], seed)?);
        }
        // A single plain network of half the width that learned for as much computation as both members did.
        let small = network(WIDTH, None)?;
        let (parent, _) =
            trained(&small, start(&small, seed, "parent")?, &data, RATE, 2.0 * EPOCHS[0], seed)?;
        let kin = Kin { seed, ..Kin::new(&small, &child) };
        let wider = (find("net2net")?.build)(&Values::new())?.inherit(&kin)?;
        let wider = made(&wider, (&small, &parent), &child, &start(&child, seed, "child")?)?;
        arms.push(best(&child, &wider, &data, EPOCHS[1], seed)?);
        let whole = 2.0 * EPOCHS[0] * work(&small) / work(&child) + EPOCHS[1];
        arms.push(best(&child, &start(&child, seed, "child")?, &data, whole, seed)?);
        Ok::<_, Error>((members, whole, arms))
    })?;
    let arm = |nth: usize| found.iter().map(|(.., arms)| arms[nth]).collect::<Vec<f64>>();
    let gain = |nth: usize| arm(0).iter().zip(arm(nth)).map(|(own, other)| own - other).collect::<Vec<f64>>();
    let names = ["orthogonal mixtures", "random blocks", "zeros", "Net2Net", "from scratch"];
    let mut details: Vec<String> =
        names.iter().enumerate().map(|(nth, name)| format!("{name}: {} %", listed(arm(nth), 1))).collect();
    details.push(format!(
        "members {} %; both cost as much as {:.1} passes of the full width, each grown network {} more",
        listed(found.iter().map(|(members, ..)| *members), 1),
        found[0].1 - EPOCHS[1],
        EPOCHS[1]
    ));
    details.push(format!(
        "ahead of zeros by {:.1}, of Net2Net by {:.1}, of scratch by {:.1} points",
        mean(&gain(2)),
        mean(&gain(3)),
        mean(&gain(4))
    ));
    let verdict = at_least(&gain(1), 0.5, "points above random blocks", details);
    Ok(Verdict { holds: verdict.holds && mean(&gain(3)) >= 0.0, ..verdict })
}
