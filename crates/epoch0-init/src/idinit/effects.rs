//! What the paper claims of training, as experiments.

use epoch0_data::{Array, Dataset, Examples as Data, Inputs, Targets};
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::{Builder, Linear, Network, Source};
use epoch0_num::{Activation, Dtype, Law, Stream, paired};
use epoch0_train::{Optimizer, Settings, Sgd, Span, Trainer, beside};

use crate::shared::experiment::{
    Arm, By, Examples, at_best_rate, changes, descent, draw_start, interval, listed, mean, of, residual,
    taught, zoo_network,
};

pub(super) const RANK_IS_FREED: Claim = Claim {
    name: "rank_is_freed",
    text: "in a network 32-32-128-128-10 what 600 steps of descent change of the third weight has a rank of at most \
           32 from identities filled up with zeros and more than 100 from repeated ones, the readout being one too",
    kind: ClaimKind::Effect,
    budget_s: 120,
    seeds: 5,
    expectation: Expectation::Holds,
    run: rank_is_freed,
};

pub(super) const NEGATIVE_EIGENVALUES: Claim = Claim {
    name: "negative_eigenvalues",
    text: "three linear layers of 8 that are to learn the negative identity stay at a quarter of the loss with plain descent \
           on all examples, and come below 1 % with batches of 4 or with momentum",
    kind: ClaimKind::Effect,
    budget_s: 120,
    seeds: 3,
    expectation: Expectation::Holds,
    run: negative_eigenvalues,
};

pub(super) const TRAINS_DEEP: Claim = Claim {
    name: "trains_deep",
    text: "a residual network of 64 weights in branches without norms gets at least as far as from Fixup's start, less a \
           point, and at least 5 points farther than from He's, each at its best learning rate",
    kind: ClaimKind::Effect,
    budget_s: 900,
    seeds: 3,
    expectation: Expectation::Holds,
    run: trains_deep,
};

fn rank_is_freed() -> Result<Verdict, Error> {
    const SEEDS: u64 = 5;
    const STEPS: u64 = 600;
    let starts = [
        ("filled up with zeros", "base: eye"),
        ("repeated", "base: {with: idinit, set: {eps: 1}}"),
        ("repeated, the readout 1e-6", "base: idinit"),
        ("he_normal", "base: he_normal"),
    ];
    let net = zoo_network("mlp:32-32-128-128-10,bias=false")?;
    let data = taught(4000, 2000)?;
    let found = beside(starts.len() * SEEDS as usize, |job| {
        let (start, seed) = (starts[job / SEEDS as usize].1, job as u64 % SEEDS);
        changes(&data, &net, start, descent(0.1, Span::Steps(STEPS), 64, seed), ("4.weight", STEPS))
    })?;
    let mut details =
        vec![data.name.clone(), format!("{STEPS} steps of plain descent at rate 0.1, batch 64")];
    let mut ranks = Vec::new();
    for ((name, _), found) in starts.iter().zip(found.chunks(SEEDS as usize)) {
        let of_start: Vec<f64> =
            found.iter().map(|(looks, _)| looks.last().map_or(0.0, |look| look.rank as f64)).collect();
        details.push(format!(
            "{name}: rank {}; test accuracy in % {}",
            listed(of_start.iter().copied(), 0),
            listed(found.iter().map(|(_, accuracy)| *accuracy), 1)
        ));
        ranks.push(of_start);
    }
    let least = ranks[1].iter().copied().fold(f64::INFINITY, f64::min);
    let (low, _, high) = interval(&ranks[1]);
    Ok(Verdict {
        holds: ranks[0].iter().all(|&rank| rank <= 32.0) && least > 100.0,
        measured: least,
        bound: "more than 100 in every seed, and at most 32 from identities filled up with zeros".to_owned(),
        interval: Some((low, high)),
        details,
    })
}

/// Three square linear maps.
fn linear_network(side: usize) -> Result<Network, Error> {
    let mut b = Builder::new("linear", Source::Built, Dtype::F64);
    let mut x = b.input("x", &[None, Some(side)]);
    for layer in 0..3 {
        x = b.linear(x, &format!("fc{layer}"), Linear::new(side).bias(false));
    }
    b.output(x, "y");
    of(b.finish())
}

fn negative_eigenvalues() -> Result<Verdict, Error> {
    const SIDE: usize = 8;
    const N: usize = 64;
    // The loss is the mean over numbers, the rates of the literature are for the mean over examples.
    const PER_EXAMPLE: f64 = SIDE as f64;
    let net = linear_network(SIDE)?;
    let ways =
        [("all examples", 0.05, 0.0, N), ("batches of 4", 0.05, 0.0, 4), ("momentum 0.9", 0.02, 0.9, N)];
    let mut shares = Vec::new();
    let mut details = vec!["4000 steps; loss at the end over that at the start, by seed".to_owned()];
    for (name, rate, momentum, batch) in ways {
        let of_seed = |seed| {
            let mut values = vec![0.0f32; N * SIDE];
            of(Law::normal(0.0, 1.0).fill(&Stream::new(seed, "inputs"), 0, &mut values))?;
            let targets = values.iter().map(|value| -value).collect();
            let (inputs, targets) = (of(Array::new([N, SIDE], values))?, of(Array::new([N, SIDE], targets))?);
            let examples = of(Data::new("claim", Inputs::Values(inputs), Targets::Values(targets)))?;
            let data = Dataset::new("the negative identity", examples.clone(), Some(examples));
            let settings = Settings {
                optimizer: Optimizer::Sgd(Sgd { momentum, ..Sgd::default() }),
                ..descent(rate * PER_EXAMPLE, Span::Steps(4000), batch, seed)
            };
            let settings = Settings { test_every: settings.length, ..settings };
            let mut trainer = of(Trainer::new(&net, draw_start(&net, "base: idinit", 0)?, &data, settings))?;
            let loss = |trainer: &Trainer<'_>| Ok(of(trainer.test())?.map_or(f64::NAN, |found| found.loss));
            let before = loss(&trainer)?;
            of(trainer.run(&mut ()))?;
            Ok(loss(&trainer)? / before)
        };
        let of_way = (0..3).map(of_seed).collect::<Result<Vec<f64>, Error>>()?;
        details.push(format!("{name}, rate {rate}: {}", listed(of_way.iter().copied(), 5)));
        shares.push(of_way);
    }
    let is_stuck = shares[0].iter().all(|share| (share - 0.25).abs() <= 0.02);
    let largest = shares[1..].iter().flatten().copied().fold(0.0, f64::max);
    Ok(Verdict {
        holds: is_stuck && largest < 0.01,
        measured: largest,
        bound: "less than 0.01 in every seed, and 0.25 ± 0.02 with plain descent on all examples".to_owned(),
        interval: None,
        details,
    })
}

fn trains_deep() -> Result<Verdict, Error> {
    const SEEDS: usize = 3;
    const RATES: [f64; 4] = [0.001, 0.01, 0.03, 0.1];
    const EPOCHS: f64 = 3.0;
    let data = Examples::set(10_000, 2_000)?;
    let net = of(residual(784, 100, 32, 10, &Activation::Relu))?;
    let arm = |name: &'static str| {
        let recipe =
            format!("{{base: pytorch_default, rules: [{{role: bias, with: zeros}}, {{with: {name}}}]}}");
        Arm { name, net: &net, recipe }
    };
    let training = |rate, seed| Settings {
        optimizer: Optimizer::Sgd(Sgd { momentum: 0.9, ..Sgd::default() }),
        ..descent(rate, Span::Epochs(EPOCHS), 128, seed)
    };
    let arms = [arm("idinit"), arm("fixup"), arm("he_normal")];
    let found = at_best_rate(&data, &arms, &RATES, SEEDS, By::Accuracy, training)?;
    let [ours, fixup, he] = [0, 1, 2].map(|arm| mean(&found[arm].best));
    let mut details = vec![
        data.name.clone(),
        format!(
            "test accuracy in % after {EPOCHS} epochs of batches of 128, momentum 0.9, 32 blocks of width 100"
        ),
    ];
    details.extend(found.iter().map(|found| found.details.clone()));
    Ok(Verdict {
        holds: ours >= fixup - 1.0 && ours >= he + 5.0,
        measured: ours,
        bound: format!("at least {:.2} and at least {:.2}", fixup - 1.0, he + 5.0),
        interval: Some(paired::mean(&found[0].best, 0.95).interval),
        details,
    })
}
