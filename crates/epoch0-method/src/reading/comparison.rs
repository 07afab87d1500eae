//! Methods side by side, over seeds.

use serde::{Deserialize, Serialize};

use super::{Figure, Health, NetworkSummary, Quantity, Versions, real};

/// Which numbers are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Small ones, as of a loss.
    Lower,
    /// Large ones, as of an accuracy.
    Higher,
}

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Stable name, `snake_case`: `test_accuracy`.
    pub name: String,
    /// For people.
    pub label: String,
    /// Unit; empty where there is none, `share` for fractions of a whole.
    pub unit: String,
    /// Which numbers are good.
    pub better: Better,
}

/// A method against the baseline, seed by seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Versus {
    /// Mean over seeds of the method's number less the baseline's.
    #[serde(with = "real")]
    pub difference: f64,
    /// 95 % interval of that.
    #[serde(with = "real::pair")]
    pub interval: (f64, f64),
    /// Probability of a difference at least as large if there were none.
    #[serde(with = "real")]
    pub p_value: f64,
    /// Seeds on which the method is better.
    pub wins: usize,
    /// Seeds on which neither is.
    pub ties: usize,
}

/// A method of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// Id, or what the user called it.
    pub method: String,
    /// The metric, a number for each seed; NaN where the run failed or diverged.
    #[serde(with = "real::list")]
    pub values: Vec<f64>,
    /// Mean over the seeds.
    #[serde(with = "real")]
    pub mean: f64,
    /// 95 % interval of the mean.
    #[serde(with = "real::pair")]
    pub interval: (f64, f64),
    /// Against the baseline; absent for the baseline itself.
    pub versus: Option<Versus>,
    /// Seeds whose run gave NaN or stopped.
    pub diverged: usize,
    /// The learning rate at which it did best, where several were tried; the values are of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// What an examination found of the start before training, with the first seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// Methods compared on one network and one set of data, over the same seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Title, for people.
    pub title: String,
    /// The network.
    pub network: NetworkSummary,
    /// The data, for people: `fashion_mnist, 10,000 training and 2,000 test images`.
    pub data: String,
    /// How it was trained, for people: `SGD 0.05, momentum 0.9, batch 128, 3ep`.
    pub training: String,
    /// What is compared.
    pub metric: Metric,
    /// Method that the others are tested against.
    pub baseline: String,
    /// The test and its correction, for people: `paired t-test, Holm–Bonferroni over 2 comparisons`.
    pub test: String,
    /// Probability below which a difference counts.
    #[serde(with = "real")]
    pub level: f64,
    /// Seeds, in the order of every arm's values.
    pub seeds: Vec<u64>,
    /// Methods.
    pub arms: Vec<Arm>,
    /// Curves over training, as means with bands.
    pub figures: Vec<Figure>,
    /// What has to be known to read it; may be empty.
    pub note: String,
    /// Versions of what made it.
    pub versions: Versions,
}

/// What a method's difference from the baseline comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It is the baseline.
    Baseline,
    /// Better, beyond the level.
    Better,
    /// Worse, beyond the level.
    Worse,
    /// No difference beyond the level.
    Even,
}

impl Comparison {
    /// Where an arm stands.
    pub fn standing(&self, arm: &Arm) -> Standing {
        let Some(versus) = &arm.versus else { return Standing::Baseline };
        let is_better = match self.metric.better {
            Better::Lower => versus.difference < 0.0,
            Better::Higher => versus.difference > 0.0,
        };
        match versus.p_value < self.level {
            true if is_better => Standing::Better,
            true => Standing::Worse,
            false => Standing::Even,
        }
    }

    /// The arm with the best mean, of those that did not diverge on every seed.
    pub fn best(&self) -> Option<&Arm> {
        let arms = self.arms.iter().filter(|arm| arm.mean.is_finite());
        match self.metric.better {
            Better::Lower => arms.min_by(|a, b| a.mean.total_cmp(&b.mean)),
            // Of equals the first, as above.
            Better::Higher => arms.rev().max_by(|a, b| a.mean.total_cmp(&b.mean)),
        }
    }
}

/// A number followed over training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Stable name, `snake_case`: `train_loss`.
    pub name: String,
    /// For people.
    pub label: String,
    /// Unit; empty where there is none.
    pub unit: String,
    /// Steps taken when each value was read.
    pub steps: Vec<u64>,
    /// Values.
    #[serde(with = "real::list")]
    pub values: Vec<f64>,
}

/// What following one start gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Id of the method that gave the start, or where it came from.
    pub start: String,
    /// The network.
    pub network: NetworkSummary,
    /// The data, for people.
    pub data: String,
    /// Optimizer, schedule, batch and length, for people.
    pub training: String,
    /// Seed.
    pub seed: u64,
    /// Numbers followed.
    pub curves: Vec<Curve>,
    /// What else was followed.
    #[serde(default)]
    pub figures: Vec<Figure>,
    /// Numbers at the end.
    pub quantities: Vec<Quantity>,
    /// Why and at which step it stopped before its end, where it did.
    pub stopped: Option<String>,
    /// Versions of what made it.
    pub versions: Versions,
}
