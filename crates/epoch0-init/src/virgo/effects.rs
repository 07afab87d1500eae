//! What the paper claims, as experiments: effects.

use epoch0_data::Dataset;
use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_train::{Adam, Optimizer, Settings, Span};

use super::claims::{recipe, usual};
use crate::shared::experiment::{Arm, By, at_best_rate, at_least, listed, mean, of, zoo_network};

pub(super) const DEEP_CONVOLUTIONS_ON_CORA: Claim = Claim {
    name: "deep_convolutions_on_cora",
    text: "6 graph convolutions of 64 units are at least 1 point better on Cora's test nodes than from Xavier's start, each at \
           its best learning rate, and vary no more over seeds",
    kind: ClaimKind::Effect,
    budget_s: 1500,
    seeds: 10,
    expectation: Expectation::NotReproduced {
        why: "it is 0.88 points better in [0.12, 1.64], 76.4 against 75.5 %, where the claim has 1, and varies a little more, by \
              1.27 points against 1.10: normalized edges are nearly an isometry, and six layers train from either start",
    },
    run: deep_convolutions_on_cora,
};

pub(super) const DEEP_SUMS_ON_BLOCKS: Claim = Claim {
    name: "deep_sums_on_blocks",
    text: "5 layers of a graph isomorphism network are at least 5 points better on the test nodes of a stochastic block graph \
           than from Xavier's start, each at its best learning rate",
    kind: ClaimKind::Effect,
    budget_s: 600,
    seeds: 10,
    expectation: Expectation::Holds,
    run: deep_sums_on_blocks,
};

const SEEDS: usize = 10;
/// Steps of each training, on all nodes at once.
const STEPS: u64 = 200;

fn training(learning_rate: f64, seed: u64) -> Settings {
    Settings {
        length: Span::Steps(STEPS),
        optimizer: Optimizer::Adam(Adam { weight_decay: 5e-6, ..Adam::default() }),
        learning_rate,
        seed,
        ..Settings::default()
    }
}

/// Points by which virgo is ahead of Xavier's start, by seed, and by how much its accuracies vary more.
fn ahead(data: &Dataset, net: &str, rates: &[f64]) -> Result<(Vec<f64>, f64, Vec<String>), Error> {
    let net = zoo_network(net)?;
    let arms = [
        Arm { name: "virgo", net: &net, recipe: recipe("{}") },
        Arm { name: "xavier_uniform", net: &net, recipe: usual("xavier_uniform") },
    ];
    let found = at_best_rate(data, &arms, rates, SEEDS, By::Accuracy, training)?;
    let mut details = vec![
        data.name.clone(),
        format!("test accuracy in % after {STEPS} steps of Adam on all nodes, weight decay 5e-6"),
    ];
    details.extend(found.iter().map(|found| found.details.clone()));
    let points = found[0].best.iter().zip(&found[1].best).map(|(own, other)| own - other).collect();
    let std = |values: &[f64]| {
        let middle = mean(values);
        (values.iter().map(|value| (value - middle).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
    };
    let stds = [std(&found[0].best), std(&found[1].best)];
    details.push(format!("standard deviations over seeds: {}", listed(stds, 2)));
    Ok((points, stds[0] - stds[1], details))
}

fn deep_convolutions_on_cora() -> Result<Verdict, Error> {
    let data = match Dataset::open("cora") {
        Ok(data) => data,
        // Where Cora is not at hand, a graph of its size made for the purpose.
        Err(_) => {
            of(Dataset::open("blocks:n=2000,classes=7,degree=4,ratio=30,dim=200,signal=2,validation=500"))?
        }
    };
    let n_classes = data.train.classes().map_or(0, epoch0_data::Classes::n_classes);
    let net = format!("gcn:{}-64-{n_classes},layers=6", data.train.input_shape()[0]);
    let (points, varies_more, details) = ahead(&data, &net, &[1e-3, 1e-2])?;
    let mut verdict = at_least(&points, 1.0, "points", details);
    verdict.holds &= varies_more <= 0.0;
    verdict.bound.push_str(", and no larger a standard deviation");
    Ok(verdict)
}

fn deep_sums_on_blocks() -> Result<Verdict, Error> {
    let data = of(Dataset::open("blocks:n=1000,classes=4,degree=10,ratio=10,dim=32,signal=1"))?;
    let (points, _, details) = ahead(&data, "gin:32-64-4,layers=5", &[1e-4, 3e-4, 1e-3])?;
    Ok(at_least(&points, 5.0, "points", details))
}
