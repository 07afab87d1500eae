//! What the paper claims of training: nodes that gossip.

use epoch0_data::Dataset;
use epoch0_engine::{Device, Elements, Precision, Weights};
use epoch0_method::{Error, Verdict};
use epoch0_net::{Network, Role, zoo};
use epoch0_num::{Law, Stream};
use epoch0_train::claims::{Examples, broken, listed, mean, of};
use epoch0_train::{Optimizer, Settings, Sgd, Span, beside};

use super::super::average::Average;
use super::super::gossip::{Exchange, Gossip, Look, Partition, Topology};
use super::VarianceCorrectedAverage;

/// Nodes, steps at which is looked, and seeds.
const NODES: usize = 16;
const LOOK: u64 = 200;
const STEPS: u64 = 400;
const SEEDS: u64 = 3;

/// What differs between simulations.
#[derive(Clone, Copy)]
struct Arm {
    name: &'static str,
    corrected: Option<bool>,
    common_start: bool,
    topology: Topology,
    partition: Partition,
}

impl Arm {
    const fn iid(name: &'static str, corrected: Option<bool>, common_start: bool) -> Self {
        Self { name, corrected, common_start, topology: Topology::Regular(4), partition: Partition::Iid }
    }

    fn exchange(self) -> Exchange {
        match self.corrected {
            None => Exchange::None,
            Some(false) => Exchange::Neighbours(Box::new(Average { own: None })),
            Some(true) => Exchange::Neighbours(Box::new(VarianceCorrectedAverage::default())),
        }
    }
}

/// Weights as Xavier draws them, biases zero.
pub(crate) fn xavier(net: &Network, seed: u64) -> Result<Weights, Error> {
    let stream = Stream::new(seed, "start");
    of(Weights::read::<epoch0_engine::Error>(net, Precision::Single, &Device::cpu(), |id, param| {
        let fans = net.sites_of(id).find_map(|site| site.fans);
        let law = match (param.role.is_matrix(), fans) {
            (true, Some(fans)) => Law::normal(0.0, (2.0 / (fans.in_ + fans.out)).sqrt()),
            _ if matches!(param.role, Role::NormScale | Role::RunningVar) => Law::Constant { value: 1.0 },
            _ => Law::Constant { value: 0.0 },
        };
        let mut values = vec![0.0f32; param.len()];
        law.fill(&stream.child(&param.name), 0, &mut values).map_err(|error| {
            epoch0_engine::Error::Param {
                name: param.name.clone(),
                found: error.to_string(),
                allowed: "a law that can be drawn from".to_owned(),
            }
        })?;
        Ok(Elements::Single(values))
    }))
}

/// Looks of one arm: of each seed, in order.
type Looks = Vec<Vec<Look>>;

/// Looks of each arm, and what the data are.
fn simulated(arms: &[Arm]) -> Result<(Vec<Looks>, String), Error> {
    let net = zoo::build("mlp:784-100-100-100-100-10,act=tanh").map_err(|error| broken(&error))?;
    let data: Dataset = Examples::set(30_000, 2_000)?;
    let n_seeds = SEEDS as usize;
    let found = beside(arms.len() * n_seeds, |job| {
        let (arm, seed) = (arms[job / n_seeds], (job % n_seeds) as u64);
        let settings = Settings {
            length: Span::Steps(STEPS),
            optimizer: Optimizer::Sgd(Sgd { momentum: 0.9, ..Sgd::default() }),
            learning_rate: 0.01,
            batch: 32,
            ..Settings::default()
        };
        let gossip = Gossip {
            network: &net,
            data: &data,
            nodes: NODES,
            topology: arm.topology,
            partition: arm.partition,
            exchange: arm.exchange(),
            every: 1,
            settings,
            look_every: LOOK,
            seed,
            cancel: None,
        };
        let start = |node: usize| xavier(&net, seed * 1000 + if arm.common_start { 0 } else { node as u64 });
        gossip.run(&start, &mut |_| {})
    })?;
    Ok((found.chunks(n_seeds).map(<[_]>::to_vec).collect(), data.name))
}

/// Mean accuracies in % by seed, at the look of that number.
fn accuracies(looks: &[Vec<Look>], nth: usize) -> Vec<f64> {
    looks.iter().map(|looks| 100.0 * looks[nth].accuracy).collect()
}

fn told(arms: &[Arm], found: &[Looks], data: &str) -> Vec<String> {
    let mut details = vec![data.to_owned()];
    details.extend(arms.iter().zip(found).map(|(arm, looks)| {
        let std = mean(&looks.iter().map(|looks| looks[0].std).collect::<Vec<_>>());
        format!(
            "{}: step {LOOK}: {} %; step {STEPS}: {} %; std of weights at step {LOOK} over that of the start {std:.3}",
            arm.name,
            listed(accuracies(looks, 0), 1),
            listed(accuracies(looks, 1), 1),
        )
    }));
    details
}

pub(super) fn early() -> Result<Verdict, Error> {
    let arms = [
        Arm::iid("plain", Some(false), false),
        Arm::iid("corrected", Some(true), false),
        Arm::iid("plain, common start", Some(false), true),
        Arm::iid("no exchange", None, false),
    ];
    let (found, data) = simulated(&arms)?;
    let at = |arm: usize, nth: usize| mean(&accuracies(&found[arm], nth));
    let ahead = at(1, 0) - at(0, 0);
    let common = (at(1, 0) - at(2, 0)).abs();
    let alone = at(1, 1) - at(3, 1);
    let holds = ahead >= 50.0 && at(1, 0) >= 88.0 && common <= 5.0 && alone >= 2.0;
    let mut details = told(&arms, &found, &data);
    details.push(format!(
        "corrected {:.1} %; {ahead:.1} points ahead of plain, {common:.1} from a common start, {alone:.1} ahead of no exchange at the end",
        at(1, 0)
    ));
    Ok(Verdict {
        holds,
        measured: ahead,
        bound: "at least 50 points, 88 % in all, at most 5 points from a common start, 2 points ahead of no exchange".to_owned(),
        interval: None,
        details,
    })
}

pub(super) fn uneven() -> Result<Verdict, Error> {
    let arm = |name, corrected, topology| Arm {
        topology,
        partition: Partition::Dirichlet(0.3),
        ..Arm::iid(name, Some(corrected), false)
    };
    let arms = [
        arm("plain, regular", false, Topology::Regular(4)),
        arm("corrected, regular", true, Topology::Regular(4)),
        arm("plain, ring", false, Topology::Ring),
        arm("corrected, ring", true, Topology::Ring),
    ];
    let (found, data) = simulated(&arms)?;
    let at = |arm: usize| mean(&accuracies(&found[arm], 0));
    let least = (at(1) - at(0)).min(at(3) - at(2));
    Ok(Verdict {
        holds: least >= 30.0,
        measured: least,
        bound: "at least 30 points on both graphs".to_owned(),
        interval: None,
        details: told(&arms, &found, &data),
    })
}

pub(super) fn harmless() -> Result<Verdict, Error> {
    let arms = [Arm::iid("plain", Some(false), true), Arm::iid("corrected", Some(true), true)];
    let (found, data) = simulated(&arms)?;
    let off = (mean(&accuracies(&found[0], 1)) - mean(&accuracies(&found[1], 1))).abs();
    Ok(Verdict {
        holds: off < 2.0,
        measured: off,
        bound: "below 2 points".to_owned(),
        interval: None,
        details: told(&arms, &found, &data),
    })
}
