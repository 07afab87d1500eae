//! Several starts over several seeds.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use epoch0_net::Network;
use epoch0_train::{Error, Settings, Start, Status, Trainer, Watch, trials};

use crate::common::{gaussians, network, settings, weights};

fn start(network: &Network) -> impl Fn(usize, u64) -> Result<Start, Error> + Sync + '_ {
    move |arm, seed| Ok(weights(network, 100 * arm as u64 + seed).into())
}

#[test]
fn trials_are_what_they_are_alone() {
    let (network, data) = (network("mlp:8-16-3"), gaussians());
    let settings = settings("7it");
    let n_steps = AtomicUsize::new(0);
    let progress = || {
        n_steps.fetch_add(1, Ordering::Relaxed);
    };
    let watch = Watch { progress: Some(&progress), ..Watch::default() };
    let found = trials(&network, &data, &settings, 2, &[4, 1, 9], start(&network), watch).unwrap();
    let order: Vec<(usize, u64)> = found.iter().map(|trial| (trial.arm, trial.seed)).collect();
    assert_eq!(order, [(0, 4), (0, 1), (0, 9), (1, 4), (1, 1), (1, 9)]);
    assert_eq!(n_steps.into_inner(), 6 * 7);
    for trial in &found {
        let own = Settings { seed: trial.seed, ..settings };
        let weights = start(&network)(trial.arm, trial.seed).unwrap().weights;
        let mut alone = Trainer::new(&network, weights, &data, own).unwrap();
        for loss in &trial.losses {
            assert_eq!(alone.step().unwrap().0.loss.to_bits(), loss.to_bits());
        }
        assert_eq!(alone.test().unwrap().unwrap(), *trial.tests.last().unwrap());
    }
}

#[test]
fn errors_and_cancelling_end_them() {
    let (network, data) = (network("mlp:8-16-3"), gaussians());
    let failing = |arm: usize, seed: u64| match arm {
        1 => Err(Error::Span { found: "x".into() }),
        _ => start(&network)(arm, seed),
    };
    assert!(trials(&network, &data, &settings("3it"), 2, &[0, 1], failing, Watch::default()).is_err());
    let cancel = AtomicBool::new(true);
    let watch = Watch { cancel: Some(&cancel), ..Watch::default() };
    let found = trials(&network, &data, &settings("3it"), 1, &[0, 1], start(&network), watch).unwrap();
    assert!(found.iter().all(|trial| matches!(trial.status, Status::Stopped { .. })));
}
