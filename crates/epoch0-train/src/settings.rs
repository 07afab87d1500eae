//! How a network is trained.

use epoch0_data::BatchSize;
use serde::{Deserialize, Serialize};

use crate::error::within;
use crate::optimizer::{Clip, Decayed, Optimizer, Sgd};
use crate::schedule::Schedule;
use crate::statistics::{self, NormStatistics};
use crate::{Error, Pace, Span};

/// How a network is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// How long.
    pub length: Span,
    /// How gradients change weights.
    pub optimizer: Optimizer,
    /// The learning rate, at least 0; the schedule gives factors of it.
    pub learning_rate: f64,
    /// The learning rate over training.
    pub schedule: Schedule,
    /// Which parameters weight decay is for.
    pub decayed: Decayed,
    /// What gradients are kept from.
    pub clip: Clip,
    /// Examples in a batch, at least 1; a network that sees a whole graph is trained on all examples at once.
    pub batch: usize,
    /// Batches whose gradients make one step, at least 1: their mean, each example counting the same.
    pub accumulate: usize,
    /// Seed of the order of examples.
    pub seed: u64,
    /// How often the network is tested; at the start and the end it always is.
    pub test_every: Span,
    /// Where batch normalizations have the statistics from that they use in evaluation.
    #[serde(default)]
    pub statistics: NormStatistics,
    /// How much of a running statistic a batch replaces, 0 to 1: torch's momentum (Keras counts what is kept, 1 less this).
    #[serde(default = "statistics::momentum_of_torch")]
    pub statistics_momentum: f64,
}

impl Default for Settings {
    /// Gradient descent with a learning rate of 0.05, momentum 0.9 and batches of 128, for 3 epochs, tested after each.
    fn default() -> Self {
        Self {
            length: Span::Epochs(3.0),
            optimizer: Optimizer::Sgd(Sgd { momentum: 0.9, ..Sgd::default() }),
            learning_rate: 0.05,
            schedule: Schedule::default(),
            decayed: Decayed::All,
            clip: Clip::None,
            batch: 128,
            accumulate: 1,
            seed: 0,
            test_every: Span::Epochs(1.0),
            statistics: NormStatistics::default(),
            statistics_momentum: statistics::momentum_of_torch(),
        }
    }
}

impl Settings {
    /// Whether all are in their ranges.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self) -> Result<(), Error> {
        self.optimizer.check()?;
        self.clip.check()?;
        within("learning rate", self.learning_rate, 0.0.., "a finite number, at least 0")?;
        within("accumulate", self.accumulate as f64, 1.0.., "1 or more")?;
        within("momentum of running statistics", self.statistics_momentum, 0.0..=1.0, "0 to 1")?;
        BatchSize::new(self.batch)?;
        Ok(())
    }

    /// How fast steps go through that many examples.
    pub fn pace(&self, n_examples: usize) -> Pace {
        let (batch, accumulate) = (self.batch.max(1), self.accumulate.max(1) as u64);
        Pace { per_epoch: n_examples.div_ceil(batch) as u64, per_step: accumulate, batch: batch as u64 }
    }
}
