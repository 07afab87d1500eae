//! Starts that are trained side by side, each at the learning rate that suits it best.

use std::ops::ControlFlow;

use epoch0_data::Dataset;
use epoch0_method::{Error, Verdict};
use epoch0_net::Network;

use super::{at_least, listed, mean, of};
use crate::{Evaluation, Observer, Optimizer, Settings, Sgd, Span, Start, Trainer, beside};

/// Plain gradient descent for so long.
pub fn descent(learning_rate: f64, length: Span, batch: usize, seed: u64) -> Settings {
    Settings {
        length,
        optimizer: Optimizer::Sgd(Sgd::default()),
        learning_rate,
        batch,
        seed,
        ..Settings::default()
    }
}

/// What training made of a start.
#[derive(Clone, Debug, PartialEq)]
pub struct Swept {
    /// The rate with the best mean.
    pub rate: f64,
    /// What was found at that rate, by seed.
    pub best: Vec<f64>,
    /// What was found at each rate, for people.
    pub details: String,
}

/// What a training is judged by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum By {
    /// Test accuracy in % at the end; what diverged is tested with the last weights that it had.
    Accuracy,
    /// Mean loss of the test examples at the end; infinite where it diverged.
    Loss,
    /// Steps until a test first shows that share of right answers; all steps where none does.
    StepsTo(f64),
}

/// Stops once the test accuracy is there.
struct Until {
    accuracy: f64,
    reached: Option<u64>,
}

impl Observer for Until {
    fn tested(&mut self, _: &Trainer<'_>, found: &Evaluation) -> Result<ControlFlow<()>, crate::Error> {
        if found.accuracy.is_some_and(|accuracy| accuracy >= self.accuracy) {
            self.reached = Some(found.step);
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl By {
    fn of(self, mut trainer: Trainer<'_>, most: u64) -> Result<f64, Error> {
        match self {
            Self::Accuracy => {
                of(trainer.run(&mut ()))?;
                let found = of(trainer.test())?.and_then(|found| found.accuracy);
                Ok(100.0 * found.unwrap_or(f64::NAN))
            }
            Self::Loss => {
                of(trainer.run(&mut ()))?;
                let found = of(trainer.test())?.map_or(f64::NAN, |found| found.loss);
                Ok(if found.is_finite() { found } else { f64::INFINITY })
            }
            Self::StepsTo(accuracy) => {
                let mut until = Until { accuracy, reached: None };
                of(trainer.run(&mut until))?;
                Ok(until.reached.unwrap_or(most) as f64)
            }
        }
    }

    fn best(self, means: &[f64]) -> usize {
        let of = |at: usize| match self {
            Self::Accuracy => -means[at],
            Self::Loss | Self::StepsTo(_) => means[at],
        };
        (0..means.len()).min_by(|&a, &b| of(a).total_cmp(&of(b))).unwrap_or(0)
    }

    fn digits(self) -> usize {
        match self {
            Self::Accuracy => 2,
            Self::Loss => 3,
            Self::StepsTo(_) => 0,
        }
    }
}

/// That the first of two arms is ahead of the second by so much: of accuracies in points, of losses in nats.
///
/// # Panics
/// When there are not two.
pub fn first_is_ahead(found: &[Swept], by: By, least: f64) -> Verdict {
    let [first, second] = found else { unreachable!("two arms") };
    let (sign, unit) = if matches!(by, By::Accuracy) { (1.0, "points") } else { (-1.0, "nats") };
    let gains: Vec<f64> = first.best.iter().zip(&second.best).map(|(a, b)| sign * (a - b)).collect();
    at_least(&gains, least, unit, found.iter().map(|swept| swept.details.clone()).collect())
}

/// Trains every arm, of which name and network are given, with every rate and seeds `0..n_seeds`; `start` draws one's weights.
///
/// # Errors
/// What `start` answers, and when a network cannot be trained.
pub fn at_best_rate(
    data: &Dataset,
    arms: &[(&str, &Network)],
    start: impl Fn(usize, u64, &Optimizer) -> Result<Start, Error> + Sync,
    rates: &[f64],
    n_seeds: usize,
    by: By,
    settings: impl Fn(f64, u64) -> Settings + Sync,
) -> Result<Vec<Swept>, Error> {
    let per_arm = rates.len() * n_seeds;
    let found = beside(arms.len() * per_arm, |job| {
        let (arm, rate, seed) = (job / per_arm, rates[job % per_arm / n_seeds], (job % n_seeds) as u64);
        let mut settings = settings(rate, seed);
        let Start { weights, learning_rates } = start(arm, seed, &settings.optimizer)?;
        if !matches!(by, By::StepsTo(_)) {
            settings.test_every = settings.length;
        }
        let most = settings.length.steps(settings.pace(data.train.len()));
        let trainer = of(Trainer::new(arms[arm].1, weights, data, settings))?;
        by.of(trainer.with_learning_rates(&learning_rates), most)
    })?;
    let swept = arms.iter().zip(found.chunks(per_arm)).map(|((name, _), of_arm)| {
        let by_rate: Vec<&[f64]> = of_arm.chunks(n_seeds).collect();
        let means: Vec<f64> = by_rate.iter().map(|found| mean(found)).collect();
        let at = by.best(&means);
        let details = format!(
            "{name}: mean at rates {rates:?}: {}; at {}: {}",
            listed(means.iter().copied(), by.digits()),
            rates[at],
            listed(by_rate[at].iter().copied(), by.digits())
        );
        Swept { rate: rates[at], best: by_rate[at].to_vec(), details }
    });
    Ok(swept.collect())
}
