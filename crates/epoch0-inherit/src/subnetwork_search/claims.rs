//! That the search gets better, and that what it finds learns faster.

use epoch0_data::Dataset;
use epoch0_engine::Weights;
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::Network;
use epoch0_num::Stream;
use epoch0_train::beside;
use epoch0_train::claims::{Examples, draw, interval, of};
use epoch0_train::{Adam, Optimizer, Settings, Span, Trainer};

use super::{Grain, Search, SubnetworkSearch, loss};
use crate::made;
use crate::pair::Pairs;
use crate::trial::single;
use crate::{Kin, Training};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "the_best_never_gets_worse",
        text: "the loss of the best of a generation is never above that of the one before, the search finds the same each time, and a \
               child of the parent's size is the parent",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 0,
        expectation: Expectation::Holds,
        run: the_best_never_gets_worse,
    },
    Claim {
        name: "evolution_beats_chance",
        text: "with as many candidates evolution finds a part of a trained perceptron with a loss no higher than chance does, for 4 \
               of 5 seeds",
        kind: ClaimKind::Effect,
        budget_s: 300,
        seeds: 5,
        expectation: Expectation::Holds,
        run: evolution_beats_chance,
    },
    Claim {
        name: "parts_learn_faster",
        text: "a part of a quarter of the size of a language model of letters gets, in at most 0.6 of the steps, to the loss that a \
               random start of that size has after 600 steps",
        kind: ClaimKind::Effect,
        budget_s: 1800,
        seeds: 3,
        expectation: Expectation::NotMeasured { why: "it takes more than ten minutes of two cores" },
        run: parts_learn_faster,
    },
];

fn search(search: Search, generations: u32) -> SubnetworkSearch {
    let (grain, population, keep) = (Grain::Fine, 12, 4);
    SubnetworkSearch { search, grain, population, generations, keep, mutation: 0.2, examples: 128 }
}

fn start(net: &Network, name: &str, seed: u64) -> Result<Weights, Error> {
    single(net, &draw("subnetwork_search", net, &Stream::new(seed, name))?)
}

fn learned(net: &Network, data: &Dataset, steps: u64, rate: f64, seed: u64) -> Result<Weights, Error> {
    let length = Span::Steps(steps);
    let optimizer = Optimizer::Adam(Adam::default());
    let settings = Settings {
        length,
        optimizer,
        learning_rate: rate,
        batch: 32,
        seed,
        test_every: length,
        ..Settings::default()
    };
    let mut trainer = of(Trainer::new(net, start(net, "parent", seed)?, data, settings))?;
    of(trainer.run(&mut ()))?;
    Ok(trainer.into_weights())
}

fn nets(child: &str) -> Result<(Network, Network), Error> {
    let build = |spec: &str| of(epoch0_net::zoo::build(spec));
    Ok((build("mlp:784-64-64-10")?, build(child)?))
}

fn the_best_never_gets_worse() -> Result<Verdict, Error> {
    let data = Examples::set(512, 256)?;
    let (parent, child) = nets("mlp:784-20-16-10")?;
    let (theirs, own) = (learned(&parent, &data, 60, 1e-3, 0)?, start(&child, "child", 0)?);
    let training = Training { parent: &theirs, child: &own, data: &data };
    let found = search(Search::Evolution, 6).searched(&Kin::new(&parent, &child), training)?;
    let again = search(Search::Evolution, 6).searched(&Kin::new(&parent, &child), training)?;
    let rises = found.1.windows(2).filter(|pair| pair[1] > pair[0]).count();
    let method = search(Search::Random, 1);
    let training = Training { parent: &theirs, child: &theirs, data: &data };
    let kin = Kin::new(&parent, &parent);
    let cut = super::Cut {
        by: &method,
        genes: std::cell::RefCell::new(super::Genes::new(Stream::new(0, "whole"))),
    };
    let whole = made(
        &Pairs::new("subnetwork_search", &kin, &cut)?.taken(),
        (&parent, &theirs),
        &parent,
        training.child,
    )?;
    let off = (loss(&parent, &whole, &data, 128)? - loss(&parent, &theirs, &data, 128)?).abs();
    let wrong = rises + usize::from(found != again) + usize::from(off != 0.0);
    let details = vec![format!("losses of the best {:.3?}", found.1)];
    Ok(Verdict { details, ..Verdict::at_most(wrong as f64, 0.0) })
}

fn evolution_beats_chance() -> Result<Verdict, Error> {
    let data = Examples::set(2_000, 1_000)?;
    let (parent, child) = nets("mlp:784-20-16-10")?;
    let found = beside(5, |seed| {
        let theirs = learned(&parent, &data, 300, 1e-3, seed as u64)?;
        let own = start(&child, "child", seed as u64)?;
        let training = Training { parent: &theirs, child: &own, data: &data };
        let kin = Kin { seed: seed as u64, ..Kin::new(&parent, &child) };
        let best = |by| -> Result<f64, Error> {
            Ok(search(by, 12).searched(&kin, training)?.1.last().copied().unwrap_or(f64::NAN))
        };
        Ok::<_, Error>([best(Search::Evolution)?, best(Search::Random)?])
    })?;
    let better = found.iter().filter(|[evolution, chance]| evolution <= chance).count();
    let details = vec![format!("evolution and chance, by seed: {found:.3?}")];
    Ok(Verdict {
        holds: better >= 4,
        measured: better as f64,
        bound: "at least 4 of 5 seeds".to_owned(),
        interval: None,
        details,
    })
}

fn parts_learn_faster() -> Result<Verdict, Error> {
    const STEPS: u64 = 600;
    let data = of(Dataset::open("tinyshakespeare,block=64"))?;
    let build = |layers: usize, heads: usize, embed: usize| {
        of(epoch0_net::zoo::build(&format!(
            "gpt:layers={layers},heads={heads},embed={embed},vocab=65,positions=64"
        )))
    };
    let (parent, child) = (build(4, 4, 128)?, build(3, 2, 64)?);
    let theirs = learned(&parent, &data, 1500, 1e-3, 0)?;
    let found = beside(3, |seed| {
        let seed = seed as u64;
        let own = start(&child, "child", seed)?;
        let training = Training { parent: &theirs, child: &own, data: &data };
        let kin = Kin { seed, training: Some(training), ..Kin::new(&parent, &child) };
        let method = SubnetworkSearch { examples: 64, ..search(Search::Evolution, 6) };
        let cut = made(&crate::Inheritor::inherit(&method, &kin)?, (&parent, &theirs), &child, &own)?;
        let curve = |start: Weights| -> Result<Vec<(u64, f64)>, Error> {
            let settings = Settings {
                length: Span::Steps(STEPS),
                optimizer: Optimizer::Adam(Adam::default()),
                learning_rate: 1e-3,
                batch: 32,
                seed,
                test_every: Span::Steps(30),
                ..Settings::default()
            };
            let mut curve = crate::trial::Curve::default();
            of(of(Trainer::new(&child, start, &data, settings))?.run(&mut curve))?;
            Ok((0..=STEPS / 30).map(|nth| (30 * nth, curve.at(30 * nth).1)).collect())
        };
        let (random, part) = (curve(own.clone())?, curve(cut)?);
        let goal = random[random.len() - 1].1;
        let reached = part.iter().find(|(_, loss)| *loss <= goal).map_or(STEPS, |(step, _)| *step);
        Ok::<_, Error>((reached as f64 / STEPS as f64, goal, part[0].1, part[part.len() - 1].1))
    })?;
    let shares: Vec<f64> = found.iter().map(|found| found.0).collect();
    let (low, measured, high) = interval(&shares);
    let details = found.iter().map(|(share, goal, begins, ends)| {
        format!("{share:.2} of the steps to {goal:.3}; the part begins at {begins:.3} and ends at {ends:.3}")
    });
    Ok(Verdict {
        holds: measured <= 0.6,
        measured,
        bound: "at most 0.6 of the steps".to_owned(),
        interval: Some((low, high)),
        details: details.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_hold() {
        let verdict = (CLAIMS[0].run)().unwrap();
        assert!(verdict.holds, "{verdict:#?}");
    }
}
