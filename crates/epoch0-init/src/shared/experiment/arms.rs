//! Starts that are trained side by side, each at the learning rate that suits it best.

use epoch0_data::{Dataset, Targets};
use epoch0_engine::{Batch, Device, Precision, Weights};
use epoch0_method::{Error, Verdict};
use epoch0_net::{Network, ParamId, zoo};
use epoch0_num::Dtype;
use epoch0_train::claims::{self, By, Examples, Swept, descent, first_is_ahead, of};
use epoch0_train::{Adam, Feed, Optimizer, Settings, Sgd, Span, Start};

use crate::METHODS;
use crate::calibrate::calibrate;
use crate::start::{Plan, Recipe};

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

/// A start of a network.
pub(crate) struct Arm<'a> {
    pub(crate) name: &'a str,
    pub(crate) net: &'a Network,
    /// In YAML.
    pub(crate) recipe: String,
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
    let start = |arm: usize, seed: u64, optimizer: &Optimizer| {
        let Arm { net, recipe, .. } = &arms[arm];
        let (weights, learning_rates) = begin(net, recipe, seed, optimizer)?;
        Ok(Start { weights: calibrated(net, recipe, weights, data)?, learning_rates })
    };
    let named: Vec<(&str, &Network)> = arms.iter().map(|arm| (arm.name, arm.net)).collect();
    claims::at_best_rate(data, &named, start, rates, n_seeds, by, settings)
}
