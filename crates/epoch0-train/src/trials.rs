//! Several starts over several seeds.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use epoch0_data::Dataset;
use epoch0_engine::Weights;
use epoch0_net::{Network, ParamId};

use crate::{Error, Evaluation, Observer, Settings, Status, Step, Trainer};

/// One start with one seed, trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Which start.
    pub arm: usize,
    /// The seed of its weights and of the order of examples.
    pub seed: u64,
    /// How it ended.
    pub status: Status,
    /// Training loss of each step.
    pub losses: Vec<f64>,
    /// Tests, the first before the first step.
    pub tests: Vec<Evaluation>,
}

/// What a trial begins with.
#[derive(Clone, Debug)]
pub struct Start {
    /// The weights.
    pub weights: Weights,
    /// Factors of the learning rate, where they are not 1.
    pub learning_rates: Vec<(ParamId, f64)>,
}

impl From<Weights> for Start {
    fn from(weights: Weights) -> Self {
        Self { weights, learning_rates: Vec::new() }
    }
}

/// How trials are watched.
#[derive(Clone, Copy, Default)]
pub struct Watch<'a> {
    /// Once true, trials stop after their next step.
    pub cancel: Option<&'a AtomicBool>,
    /// Called after each step of any trial, from any thread.
    pub progress: Option<&'a (dyn Fn() + Sync)>,
}

struct Recorder<'a> {
    watch: Watch<'a>,
    losses: Vec<f64>,
    tests: Vec<Evaluation>,
}

impl Recorder<'_> {
    fn flow(&self) -> ControlFlow<()> {
        match self.watch.cancel {
            Some(cancel) if cancel.load(Ordering::Relaxed) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Observer for Recorder<'_> {
    fn step(&mut self, _: &Trainer<'_>, step: &Step) -> Result<ControlFlow<()>, Error> {
        self.losses.push(step.loss);
        if let Some(progress) = self.watch.progress {
            progress();
        }
        Ok(self.flow())
    }

    fn tested(&mut self, _: &Trainer<'_>, found: &Evaluation) -> Result<ControlFlow<()>, Error> {
        self.tests.push(*found);
        Ok(self.flow())
    }
}

/// Trains each of `n_arms` starts with each seed, which takes the place of that in the settings: with one seed all starts
/// see the same examples in the same order. `start` gives what an arm and a seed begin with.
///
/// Trials run beside each other, on as many threads in all as the current pool has; each is what it would be alone. They
/// come back by arm, then in the order of the seeds.
///
/// # Errors
/// What `start` answers, and when a network cannot be trained. Then no further trial is begun.
pub fn trials<E: From<Error> + Send>(
    network: &Network,
    data: &Dataset,
    settings: &Settings,
    n_arms: usize,
    seeds: &[u64],
    start: impl Fn(usize, u64) -> Result<Start, E> + Sync,
    watch: Watch<'_>,
) -> Result<Vec<Trial>, E> {
    // Seed by seed, so that what is finished early can be compared.
    let jobs: Vec<(usize, u64)> =
        seeds.iter().flat_map(|&seed| (0..n_arms).map(move |arm| (arm, seed))).collect();
    let one = |(arm, seed): (usize, u64)| -> Result<Trial, E> {
        let Start { weights, learning_rates } = start(arm, seed)?;
        let trainer = Trainer::new(network, weights, data, Settings { seed, ..*settings })?;
        let mut trainer = trainer.with_learning_rates(&learning_rates);
        let mut recorder = Recorder { watch, losses: Vec::new(), tests: Vec::new() };
        let status = trainer.run(&mut recorder)?;
        Ok(Trial { arm, seed, status, losses: recorder.losses, tests: recorder.tests })
    };
    let mut found = beside(jobs.len(), |nth| one(jobs[nth]).map(|trial| (nth, trial)))?;
    found.sort_by_key(|(nth, _)| (jobs[*nth].0, *nth));
    Ok(found.into_iter().map(|(_, trial)| trial).collect())
}

/// Does jobs `0..n_jobs` beside each other, on as many threads in all as the current pool has; each is what it would be
/// alone. Their results come back in order.
///
/// # Errors
/// That of the first job that failed. Then no further one is begun.
pub fn beside<T: Send, E: Send>(
    n_jobs: usize,
    job: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let n_threads = rayon::current_num_threads();
    let n_workers = n_threads.min(n_jobs).max(1);
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let found: Mutex<Vec<(usize, Result<T, E>)>> = Mutex::default();
    let work = || {
        // A pool of its own: a job that waits for its own threads must not begin another one meanwhile.
        let pool = rayon::ThreadPoolBuilder::new().num_threads((n_threads / n_workers).max(1)).build();
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= n_jobs || failed.load(Ordering::Relaxed) {
                return;
            }
            // Without a pool it runs in that of everyone.
            let done = match &pool {
                Ok(pool) => pool.install(|| job(nth)),
                Err(_) => job(nth),
            };
            if done.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            found.lock().unwrap_or_else(PoisonError::into_inner).push((nth, done));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..n_workers {
            scope.spawn(work);
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(nth, _)| *nth);
    found.into_iter().map(|(_, done)| done).collect()
}
