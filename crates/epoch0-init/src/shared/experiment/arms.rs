//! Starts that are trained side by side, each at the learning rate that suits it best.

use std::ops::ControlFlow;

use epoch0_data::{Dataset, Targets};
use epoch0_engine::{Batch, Device, Precision, Weights};
use epoch0_method::{Error, Verdict};
use epoch0_net::{Network, ParamId, zoo};
use epoch0_num::Dtype;
use epoch0_train::{Adam, Evaluation, Feed, Observer, Optimizer, Settings, Sgd, Span, Trainer, beside};

use super::{Examples, at_least, broken};
use crate::METHODS;
use crate::calibrate::calibrate;
use crate::start::{Plan, Recipe};

/// A room's error as the method's.
pub(crate) fn of<T, E: std::fmt::Display>(found: Result<T, E>) -> Result<T, Error> {
    found.map_err(|error| broken(&error))
}

/// A network of the zoo.
pub(crate) fn zoo_network(name: &str) -> Result<Network, Error> {
    of(zoo::build(name))
}

/// The same in double precision.
pub(crate) fn doubled(name: &str) -> Result<Network, Error> {
    let mut net = zoo_network(name)?;
    net.set_dtype(Dtype::F64);
    Ok(net)
}

/// A network's weights by a recipe in YAML.
pub(crate) fn draw_start(net: &Network, recipe: &str, seed: u64) -> Result<Weights, Error> {
    Ok(begin(net, recipe, seed, &Optimizer::Sgd(Sgd::default()))?.0)
}

/// The same with the factors of the learning rate that the start is made for.
pub(crate) fn begin(
    net: &Network,
    recipe: &str,
    seed: u64,
    optimizer: &Optimizer,
) -> Result<(Weights, Vec<(ParamId, f64)>), Error> {
    let recipe = Recipe::from_yaml("a claim's recipe", recipe)?;
    let is_double = net.params().iter().any(|param| param.dtype == Dtype::F64);
    let precision = if is_double { Precision::Double } else { Precision::Single };
    let plan = Plan::new(METHODS, net, &recipe, seed)?;
    Ok((plan.weights(precision, &Device::cpu())?, plan.learning_rates(optimizer.steps())))
}

/// Weights that the recipe calibrates, on training examples.
fn calibrated(net: &Network, recipe: &str, weights: Weights, data: &Dataset) -> Result<Weights, Error> {
    const BATCH: usize = 1000;
    let recipe = Recipe::from_yaml("a claim's recipe", recipe)?;
    let Some((id, calibrator)) = recipe.calibrator()? else { return Ok(weights) };
    let batch: Vec<usize> = (0..data.train.len().min(BATCH)).collect();
    let precision = weights.iter().next().map_or(Precision::Single, |(_, value)| value.precision());
    let inputs =
        of(Feed::new(net, data))?.inputs(&data.train.inputs().pick(&batch), precision, &Device::cpu());
    let labels = match data.train.targets().pick(&batch) {
        Targets::Classes(classes) => Some(classes.labels.iter().map(|&label| i64::from(label)).collect()),
        _ => None,
    };
    Ok(of(calibrate(id, &*calibrator, net, &weights, &Batch { inputs, labels }))?.0)
}

/// Plain gradient descent for so long.
pub(crate) fn descent(learning_rate: f64, length: Span, batch: usize, seed: u64) -> Settings {
    Settings {
        length,
        optimizer: Optimizer::Sgd(Sgd::default()),
        learning_rate,
        batch,
        seed,
        ..Settings::default()
    }
}

/// Mean of some numbers.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Numbers for people.
pub(crate) fn listed(values: impl IntoIterator<Item = f64>, digits: usize) -> String {
    values.into_iter().map(|value| format!("{value:.digits$}")).collect::<Vec<_>>().join(", ")
}

/// A start of a network.
pub(crate) struct Arm<'a> {
    pub(crate) name: &'a str,
    pub(crate) net: &'a Network,
    /// In YAML.
    pub(crate) recipe: String,
}

/// What training made of a start.
pub(crate) struct Swept {
    /// The rate with the best mean.
    pub(crate) rate: f64,
    /// What was found at that rate, by seed.
    pub(crate) best: Vec<f64>,
    /// What was found at each rate, for people.
    pub(crate) details: String,
}

/// What a training is judged by.
#[derive(Clone, Copy)]
pub(crate) enum By {
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
    fn tested(
        &mut self,
        _: &Trainer<'_>,
        found: &Evaluation,
    ) -> Result<ControlFlow<()>, epoch0_train::Error> {
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
pub(crate) fn first_is_ahead(found: &[Swept], by: By, least: f64) -> Verdict {
    let [first, second] = found else { unreachable!("two arms") };
    let (sign, unit) = if matches!(by, By::Accuracy) { (1.0, "points") } else { (-1.0, "nats") };
    let gains: Vec<f64> = first.best.iter().zip(&second.best).map(|(a, b)| sign * (a - b)).collect();
    at_least(&gains, least, unit, found.iter().map(|swept| swept.details.clone()).collect())
}

/// That the first of two starts of 20 hidden layers of 64 rectifiers reaches 20 points more in an epoch of 10,000 digits, each
/// at its best rate; the starts by name and recipe.
pub(crate) fn deep_rectifiers(starts: [(&str, String); 2]) -> Result<Verdict, Error> {
    let data = Examples::set(10_000, 2_000)?;
    let widths = ["64"; 20].join("-");
    let net = zoo_network(&format!("mlp:784-{widths}-10"))?;
    let arms = starts.map(|(name, recipe)| Arm { name, net: &net, recipe });
    let found = at_best_rate(&data, &arms, &[0.01, 0.03, 0.1, 0.3], 3, By::Accuracy, |rate, seed| {
        descent(rate, Span::Epochs(1.0), 64, seed)
    })?;
    Ok(first_is_ahead(&found, By::Accuracy, 20.0))
}

/// That the first of two starts of a network of 65 letters learns those of tinyshakespeare with Adam to a loss lower by so many
/// nats, each at its best rate.
pub(crate) fn letters(
    net: &Network,
    starts: [(&str, String); 2],
    rates: &[f64],
    steps: u64,
    least: f64,
) -> Result<Verdict, Error> {
    let data = of(Dataset::open("tinyshakespeare,block=64"))?;
    let arms = starts.map(|(name, recipe)| Arm { name, net, recipe });
    let found = at_best_rate(&data, &arms, rates, 3, By::Loss, |rate, seed| Settings {
        length: Span::Steps(steps),
        optimizer: Optimizer::Adam(Adam::default()),
        learning_rate: rate,
        batch: 16,
        seed,
        ..Settings::default()
    })?;
    Ok(first_is_ahead(&found, By::Loss, least))
}

/// Trains every arm with every rate and seeds `0..n_seeds`.
pub(crate) fn at_best_rate(
    data: &Dataset,
    arms: &[Arm<'_>],
    rates: &[f64],
    n_seeds: usize,
    by: By,
    settings: impl Fn(f64, u64) -> Settings + Sync,
) -> Result<Vec<Swept>, Error> {
    let per_arm = rates.len() * n_seeds;
    let found = beside(arms.len() * per_arm, |job| {
        let (arm, rate, seed) =
            (&arms[job / per_arm], rates[job % per_arm / n_seeds], (job % n_seeds) as u64);
        let mut settings = settings(rate, seed);
        let (weights, factors) = begin(arm.net, &arm.recipe, seed, &settings.optimizer)?;
        let weights = calibrated(arm.net, &arm.recipe, weights, data)?;
        if !matches!(by, By::StepsTo(_)) {
            settings.test_every = settings.length;
        }
        let most = settings.length.steps(settings.pace(data.train.len()));
        let trainer = of(Trainer::new(arm.net, weights, data, settings))?;
        by.of(trainer.with_learning_rates(&factors), most)
    })?;
    let swept = arms.iter().zip(found.chunks(per_arm)).map(|(arm, of_arm)| {
        let by_rate: Vec<&[f64]> = of_arm.chunks(n_seeds).collect();
        let means: Vec<f64> = by_rate.iter().map(|found| mean(found)).collect();
        let at = by.best(&means);
        let details = format!(
            "{}: mean at rates {rates:?}: {}; at {}: {}",
            arm.name,
            listed(means.iter().copied(), by.digits()),
            rates[at],
            listed(by_rate[at].iter().copied(), by.digits())
        );
        Swept { rate: rates[at], best: by_rate[at].to_vec(), details }
    });
    Ok(swept.collect())
}
