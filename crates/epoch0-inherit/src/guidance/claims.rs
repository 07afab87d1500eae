//! That guided networks learn what they would not by themselves.

use epoch0_engine::Weights;
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::{Builder, Linear, Network, Pool, Role, Source, Window, zoo};
use epoch0_num::{Activation, Dtype, Law, Stream};
use epoch0_train::beside;
use epoch0_train::claims::{Examples, at_least, draw, of};
use epoch0_train::lesson::Alignment;
use epoch0_train::{Adam, Optimizer, Settings, Span, Trainer};

use crate::trial::single;

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "deep_plain_convolutions_become_trainable",
        text: "a network of 20 convolutions without skips or normalization, drawn as torch draws it and guided by a residual network \
               that has learned nothing, reaches 10 points more in two epochs of 5,000 digits than unguided, each at the better of two rates",
        kind: ClaimKind::Effect,
        budget_s: 1200,
        seeds: 3,
        expectation: Expectation::NotMeasured { why: "it takes more than ten minutes of two cores" },
        run: deep_plain_convolutions_become_trainable,
    },
    Claim {
        name: "weight_of_zero_is_plain_training",
        text: "with a weight of 0 guided training is ordinary training, bit by bit, and the guide stays what it was",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 0,
        expectation: Expectation::Holds,
        run: weight_of_zero_is_plain_training,
    },
];

fn start(net: &Network, name: &str, seed: u64) -> Result<Weights, Error> {
    single(net, &draw("guidance", net, &Stream::new(seed, name))?)
}

fn settings(length: Span, learning_rate: f64, seed: u64) -> Settings {
    let optimizer = Optimizer::Adam(Adam::default());
    Settings { length, optimizer, learning_rate, batch: 64, seed, test_every: length, ..Settings::default() }
}

fn deep_plain_convolutions_become_trainable() -> Result<Verdict, Error> {
    let data = Examples::images(5_000, 1_000)?;
    let plain = plain()?;
    let guide = of(zoo::build("cifar_resnet:8,in=1,size=28"))?;
    let rates = [3e-4, 1e-3];
    // Guided or not, rate, seed.
    let found = beside(2 * rates.len() * 3, |job| {
        let (is_guided, rate, seed) = (job / 6 == 0, rates[job / 3 % 2], (job % 3) as u64);
        let theirs = start(&guide, "guide", seed)?;
        let alignment = of(Alignment::new(&plain, &guide, &theirs, &data))?;
        let trainer = of(Trainer::new(
            &plain,
            start(&plain, "plain", seed)?,
            &data,
            settings(Span::Epochs(2.0), rate, seed),
        ))?;
        let mut trainer = if is_guided { trainer.with_lesson(&alignment) } else { trainer };
        of(trainer.run(&mut ()))?;
        let accuracy = of(trainer.test())?.and_then(|found| found.accuracy);
        Ok::<_, Error>(100.0 * accuracy.unwrap_or(f64::NAN))
    })?;
    let best = |arm: &[f64]| -> Vec<f64> {
        let mean = |seeds: &[f64]| seeds.iter().sum::<f64>() / seeds.len() as f64;
        let by_rate: Vec<&[f64]> = arm.chunks(3).collect();
        by_rate.into_iter().max_by(|a, b| mean(a).total_cmp(&mean(b))).unwrap_or_default().to_vec()
    };
    let (guided, unguided) = found.split_at(6);
    let gains: Vec<f64> = best(guided).iter().zip(best(unguided)).map(|(a, b)| a - b).collect();
    let details = vec![format!("guided by rate and seed {guided:.1?}"), format!("unguided {unguided:.1?}")];
    Ok(at_least(&gains, 10.0, "points", details))
}

/// Twenty convolutions of 16 channels, each drawn from ±1/√fan-in as torch draws it.
fn plain() -> Result<Network, Error> {
    let mut b = Builder::new("plain", Source::Built, Dtype::F32);
    let mut x = b.input("image", &[None, Some(1), Some(28), Some(28)]);
    for layer in 0..20 {
        let stride = if layer == 5 || layer == 10 { 2 } else { 1 };
        x = b.conv(x, &format!("conv{layer}"), 16, Window::square(3, stride, 1), 1, true);
        x = b.activation(x, Activation::Relu);
    }
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.flatten(x);
    let x = b.linear(x, "readout", Linear::new(10).role(Role::Readout));
    b.output(x, "logits");
    let mut net = of(b.finish())?;
    net.set_native(|_, site| {
        let bound = 1.0 / site.fans?.in_.sqrt();
        Some(Law::Uniform { low: -bound, high: bound })
    });
    Ok(net)
}

fn weight_of_zero_is_plain_training() -> Result<Verdict, Error> {
    let data = Examples::set(256, 64)?;
    let (net, guide) = (of(zoo::build("mlp:784-16-16-10"))?, of(zoo::build("mlp:784-24-24-24-10"))?);
    let theirs = start(&guide, "guide", 0)?;
    let before: Vec<Vec<f32>> = theirs.iter().map(|(_, value)| value.to_f32()).collect();
    let train = |weight: Option<f64>| -> Result<Vec<Vec<f32>>, Error> {
        let mut alignment = of(Alignment::new(&net, &guide, &theirs, &data))?;
        alignment.weight = weight.unwrap_or(0.0);
        let trainer =
            of(Trainer::new(&net, start(&net, "net", 0)?, &data, settings(Span::Steps(8), 1e-3, 0)))?;
        let mut trainer = if weight.is_some() { trainer.with_lesson(&alignment) } else { trainer };
        of(trainer.run(&mut ()))?;
        Ok(trainer.weights().iter().map(|(_, value)| value.to_f32()).collect())
    };
    let (plain, zero, guided) = (train(None)?, train(Some(0.0))?, train(Some(1.0))?);
    let after: Vec<Vec<f32>> = theirs.iter().map(|(_, value)| value.to_f32()).collect();
    let wrong = [plain != zero, plain == guided, before != after];
    Ok(Verdict::at_most(wrong.iter().filter(|is_wrong| **is_wrong).count() as f64, 0.0))
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
}
