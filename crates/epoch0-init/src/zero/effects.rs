//! What the paper claims of training, as experiments.

use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_num::{Activation, paired};
use epoch0_train::{Span, beside};

use crate::shared::experiment::{
    Arm, By, Change, Examples, at_best_rate, changes, descent, interval, listed, mean, of, residual, taught,
    zoo_network,
};

pub(super) const RANK_IS_FREED: Claim = Claim {
    name: "rank_is_freed",
    text: "in a network 32-32-128-128-10 what descent changes of the third weight has a rank of at most 32 from identities \
           filled up with zeros, at every look, and more than 32 after 600 steps from a Hadamard matrix",
    kind: ClaimKind::Effect,
    budget_s: 120,
    seeds: 5,
    expectation: Expectation::Holds,
    run: rank_is_freed,
};

pub(super) const RANK_STAYS_LOW: Claim = Claim {
    name: "rank_stays_low",
    text: "there, after 600 steps, its rank is at most half of that from He's start",
    kind: ClaimKind::Effect,
    budget_s: 120,
    seeds: 5,
    expectation: Expectation::Holds,
    run: rank_stays_low,
};

pub(super) const RANK_ON_DIGITS: Claim = Claim {
    name: "rank_on_digits",
    text: "in a network 784-784-1024-1024-10, after an epoch of digits, what has changed of the third weight has a lower \
           stable rank than from He's start in every seed, and the test accuracy is at most 1.5 points lower",
    kind: ClaimKind::Effect,
    budget_s: 300,
    seeds: 3,
    expectation: Expectation::Holds,
    run: rank_on_digits,
};

pub(super) const RUNS_AGREE: Claim = Claim {
    name: "runs_agree",
    text: "in a residual network of four blocks the test accuracy of five orders of the examples spreads no more than from \
           He's start, each at its best learning rate",
    kind: ClaimKind::Effect,
    budget_s: 600,
    seeds: 5,
    expectation: Expectation::Holds,
    run: runs_agree,
};

const SEEDS: u64 = 5;
const THIRD: &str = "4.weight";
const STARTS: [(&str, &str); 3] =
    [("identity", "base: eye"), ("zero", "base: zero"), ("he_normal", "base: he_normal")];

/// Rank of what changed of the third weight.
#[derive(Clone, Copy)]
struct Ranks {
    /// The largest of all looks.
    most: usize,
    /// That of the last look.
    last: usize,
}

/// Ranks by start and seed, and the figures for people.
fn ranks() -> Result<([Vec<Ranks>; 3], Vec<String>), Error> {
    const STEPS: u64 = 600;
    let net = zoo_network("mlp:32-32-128-128-10,bias=false")?;
    let data = taught(4000, 2000)?;
    let found = beside(STARTS.len() * SEEDS as usize, |job| {
        let (start, seed) = (STARTS[job / SEEDS as usize].1, job as u64 % SEEDS);
        changes(&data, &net, start, descent(0.1, Span::Steps(STEPS), 64, seed), (THIRD, 20))
    })?;
    let mut details =
        vec![data.name.clone(), format!("{STEPS} steps of plain descent at rate 0.1, batch 64")];
    let mut by_start = [const { Vec::new() }; 3];
    for (((name, _), found), by_start) in STARTS.iter().zip(found.chunks(SEEDS as usize)).zip(&mut by_start) {
        let of_seed = found.iter().map(|(looks, _)| Ranks {
            most: looks.iter().map(|look| look.rank).max().unwrap_or(0),
            last: looks.last().map_or(0, |look| look.rank),
        });
        *by_start = of_seed.collect();
        let last = found.iter().map(|(looks, _)| looks.last().map_or(0.0, |look| look.stable_rank));
        details.push(format!(
            "{name}: rank {}, at most {}; stable rank {}; test accuracy in % {}",
            listed(by_start.iter().map(|ranks| ranks.last as f64), 0),
            listed(by_start.iter().map(|ranks| ranks.most as f64), 0),
            listed(last, 2),
            listed(found.iter().map(|(_, accuracy)| *accuracy), 1)
        ));
    }
    Ok((by_start, details))
}

fn rank_is_freed() -> Result<Verdict, Error> {
    let (ranks, details) = ranks()?;
    let confined = ranks[0].iter().map(|ranks| ranks.most).max().unwrap_or(0);
    let freed: Vec<f64> = ranks[1].iter().map(|ranks| ranks.last as f64).collect();
    let least = freed.iter().copied().fold(f64::INFINITY, f64::min);
    let (low, _, high) = interval(&freed);
    Ok(Verdict {
        holds: confined <= 32 && least > 32.0,
        measured: least,
        bound: format!("more than 32 in every seed; from identities {confined}, at most 32"),
        interval: Some((low, high)),
        details,
    })
}

fn rank_stays_low() -> Result<Verdict, Error> {
    let (ranks, details) = ranks()?;
    let ratios: Vec<f64> =
        ranks[1].iter().zip(&ranks[2]).map(|(ours, theirs)| ours.last as f64 / theirs.last as f64).collect();
    Ok(Verdict {
        details,
        interval: Some(paired::mean(&ratios, 0.95).interval),
        ..Verdict::at_most(mean(&ratios), 0.5)
    })
}

fn rank_on_digits() -> Result<Verdict, Error> {
    const SEEDS: usize = 3;
    const BATCH: usize = 64;
    const STEPS: u64 = 10_000 / BATCH as u64;
    let data = Examples::set(10_000, 2_000)?;
    let net = zoo_network("mlp:784-784-1024-1024-10,bias=false")?;
    let starts = ["zero", "he_normal"];
    let found = beside(starts.len() * SEEDS, |job| {
        let (start, seed) = (format!("base: {}", starts[job / SEEDS]), (job % SEEDS) as u64);
        changes(&data, &net, &start, descent(0.1, Span::Steps(STEPS), BATCH, seed), (THIRD, STEPS))
    })?;
    let mut details =
        vec![data.name.clone(), format!("an epoch of plain descent at rate 0.1, batch {BATCH}")];
    let stable = |found: &[(Vec<Change>, f64)]| -> Vec<f64> {
        found.iter().map(|(looks, _)| looks.last().map_or(f64::NAN, |look| look.stable_rank)).collect()
    };
    for (name, found) in starts.iter().zip(found.chunks(SEEDS)) {
        let ranks = found.iter().map(|(looks, _)| looks.last().map_or(0.0, |look| look.rank as f64));
        details.push(format!(
            "{name}: stable rank {}; rank {}; test accuracy in % {}",
            listed(stable(found), 2),
            listed(ranks, 0),
            listed(found.iter().map(|(_, accuracy)| *accuracy), 2)
        ));
    }
    let (ours, theirs) = found.split_at(SEEDS);
    let ratios: Vec<f64> =
        stable(ours).iter().zip(stable(theirs)).map(|(ours, theirs)| ours / theirs).collect();
    let accuracy =
        |found: &[(Vec<Change>, f64)]| mean(&found.iter().map(|found| found.1).collect::<Vec<_>>());
    let gap = accuracy(theirs) - accuracy(ours);
    let largest = ratios.iter().copied().fold(0.0, f64::max);
    Ok(Verdict {
        holds: largest < 1.0 && gap <= 1.5,
        measured: largest,
        bound: format!("less than 1, the largest ratio; accuracy {gap:.2} points lower, at most 1.5"),
        interval: Some(paired::mean(&ratios, 0.95).interval),
        details,
    })
}

fn runs_agree() -> Result<Verdict, Error> {
    const RATES: [f64; 4] = [0.01, 0.03, 0.1, 0.3];
    const EPOCHS: f64 = 5.0;
    let data = taught(4000, 2000)?;
    let net = of(residual(32, 64, 4, 10, &Activation::Relu))?;
    let arm = |name: &'static str| {
        let recipe =
            format!("{{base: pytorch_default, rules: [{{role: bias, with: zeros}}, {{with: {name}}}]}}");
        Arm { name, net: &net, recipe }
    };
    let training = |rate, seed| descent(rate, Span::Epochs(EPOCHS), 64, seed);
    let found = at_best_rate(
        &data,
        &[arm("zero"), arm("he_normal")],
        &RATES,
        SEEDS as usize,
        By::Accuracy,
        training,
    )?;
    let spread = |values: &[f64]| {
        let mean = mean(values);
        (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
    };
    let (ours, theirs) = (spread(&found[0].best), spread(&found[1].best));
    let mut details =
        vec![data.name.clone(), format!("test accuracy in % after {EPOCHS} epochs of batches of 64")];
    details.extend(found.iter().map(|found| found.details.clone()));
    details.push(format!("standard deviation {ours:.3} with it, {theirs:.3} with He's start"));
    Ok(Verdict { details, ..Verdict::at_most(ours / theirs, 1.0) })
}
