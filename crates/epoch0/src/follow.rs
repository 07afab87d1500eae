//! Starts in memory, and what follows from them.
//!
//! ```
//! use epoch0::data::Dataset;
//! use epoch0::engine::{Device, Precision};
//! use epoch0::train::{Settings, Status, Trainer};
//! use epoch0::{Described, draw_weights};
//!
//! let described = Described::open("mlp:8-16-3")?;
//! let data = Dataset::open("gaussians:classes=3,dim=8,n=200,separation=4")?;
//! let weights = draw_weights(
//!     &described.net,
//!     &described.recipe_with("he_normal"),
//!     0,
//!     Precision::Single,
//!     &Device::cpu(),
//! )?;
//! let settings = Settings { length: "2ep".parse()?, batch: 16, ..Settings::default() };
//! let mut trainer = Trainer::new(&described.net, weights, &data, settings)?;
//! assert_eq!(trainer.run(&mut ())?, Status::Finished);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use epoch0_data::{Dataset, Inputs};
use epoch0_init::start::{Pattern, Recipe, Use};
use epoch0_method::reading::{Axis, Curve, Figure, Quantity, Shape, Training, Versions};
use epoch0_net::{Network, Source};
use epoch0_train::record::About;
use epoch0_train::{
    Decayed, Evaluation, Flips, Following, Freezing, Look, NormStatistics, Observer, Optimizer, Percentiles,
    Settings, Span, Status, Step, Trainer, wandering,
};

use crate::{Described, Error, summary};

impl Described {
    /// The recipe that the network's source itself starts from.
    pub fn usual_recipe(&self) -> Recipe {
        let usual = match self.net.source() {
            Source::HuggingFace { .. } => "hf_default",
            _ => "pytorch_default",
        };
        Recipe { base: Some(Use::new(usual)), ..Recipe::default() }
    }

    /// The same, with a method (see [`Recipe::add`]).
    pub fn recipe_with(&self, method: &str) -> Recipe {
        let mut recipe = self.usual_recipe();
        recipe.add(method, BTreeMap::new());
        recipe
    }
}

/// The layers of a network whose weight's name matches a glob (`*` crosses dots), or a regular expression between slashes.
///
/// # Errors
/// When it is no pattern, or none matches.
pub fn following(network: &Network, pattern: &str, every: Span) -> Result<Following, Error> {
    let matcher = Pattern::try_from(pattern.to_owned())
        .map_err(|why| epoch0_method::Error::Recipe { place: "follow".to_owned(), why })?;
    Ok(Following::of(network, pattern, |name| matcher.is_match(name), every)?)
}

/// Versions of what makes results.
pub(crate) fn versions() -> Versions {
    Versions::from([("epoch0".to_owned(), env!("CARGO_PKG_VERSION").to_owned())])
}

/// The data for people: `MNIST, 60,000 training and 10,000 test images`.
pub(crate) fn data_in_words(data: &Dataset) -> String {
    let what = match data.train.inputs() {
        Inputs::Tokens(_) => "sequences",
        Inputs::Nodes(_) => "nodes",
        _ if data.train.input_shape().len() == 3 => "images",
        _ => "examples",
    };
    let test = data.test.as_ref().map_or_else(String::new, |test| format!(" and {} test", test.len()));
    format!("{}, {} training{test} {what}", data.name, data.train.len())
}

/// Settings for people: `SGD 0.05, momentum 0.9, batch 128, 3ep`.
pub(crate) fn settings_in_words(settings: &Settings, rate: &str) -> String {
    let mut parts = vec![match settings.optimizer {
        Optimizer::Sgd(_) => format!("SGD {rate}"),
        Optimizer::Adam(_) => format!("Adam {rate}"),
        _ => format!("AdamW {rate}"),
    }];
    match settings.optimizer {
        Optimizer::Sgd(sgd) if sgd.momentum > 0.0 => {
            let kind = if sgd.nesterov { "Nesterov momentum" } else { "momentum" };
            parts.push(format!("{kind} {}", sgd.momentum));
        }
        Optimizer::Adam(adam) | Optimizer::AdamW(adam) => {
            parts.push(format!("betas {} and {}", adam.beta1, adam.beta2));
        }
        _ => {}
    }
    if settings.optimizer.weight_decay() > 0.0 {
        let of = if settings.decayed == Decayed::Matrices { " of matrices" } else { "" };
        parts.push(format!("weight decay {}{of}", settings.optimizer.weight_decay()));
    }
    if settings.schedule != epoch0_train::Schedule::default() {
        parts.push(settings.schedule.to_string());
    }
    match settings.clip {
        epoch0_train::Clip::Norm(bound) => parts.push(format!("gradients clipped to norm {bound}")),
        epoch0_train::Clip::Value(bound) => parts.push(format!("gradients clipped to ± {bound}")),
        _ => {}
    }
    if settings.statistics == NormStatistics::Population {
        parts.push("statistics of the population".to_owned());
    }
    parts.push(match settings.accumulate {
        1 => format!("batch {}", settings.batch),
        n => format!("batch {n} × {}", settings.batch),
    });
    parts.push(settings.length.to_string());
    parts.join(", ")
}

/// An observer that keeps what a training did, for [`Curves::training`].
#[derive(Clone, Debug, Default)]
pub struct Curves {
    steps: Vec<Step>,
    tests: Vec<Evaluation>,
    looks: Vec<Look>,
    freezing: Freezing,
}

impl Observer for Curves {
    fn step(&mut self, _: &Trainer<'_>, step: &Step) -> Result<ControlFlow<()>, epoch0_train::Error> {
        self.steps.push(*step);
        Ok(ControlFlow::Continue(()))
    }

    fn tested(
        &mut self,
        trainer: &Trainer<'_>,
        found: &Evaluation,
    ) -> Result<ControlFlow<()>, epoch0_train::Error> {
        self.tests.push(*found);
        self.freezing.tested(trainer, found)
    }

    fn followed(&mut self, _: &Trainer<'_>, look: &Look) -> Result<(), epoch0_train::Error> {
        self.looks.push(look.clone());
        Ok(())
    }
}

impl Curves {
    /// Steps seen.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Tests seen.
    pub fn tests(&self) -> &[Evaluation] {
        &self.tests
    }

    /// Looks at followed layers.
    pub fn looks(&self) -> &[Look] {
        &self.looks
    }

    /// What the training was and came to, to be shown.
    pub fn training(&self, trainer: &Trainer<'_>, about: &About, status: &Status) -> Training {
        let unit = if trainer.feed().task().has_accuracy() { "nats" } else { "" };
        let mut curves = vec![self.of_steps("train_loss", "training loss", unit, |step| step.loss)];
        let mut quantities = Vec::new();
        if let Some(last) = self.steps.last() {
            quantities.push(Quantity::new("train_loss", "training loss at the last step", last.loss, unit));
        }
        if let Some(last) = self.tests.last() {
            curves.push(self.of_tests("test_loss", "test loss", unit, |test| test.loss));
            quantities.push(Quantity::new("test_loss", "test loss at the end", last.loss, unit));
            if let Some(accuracy) = last.accuracy {
                let of = |test: &Evaluation| test.accuracy.unwrap_or(f64::NAN);
                curves.push(self.of_tests("test_accuracy", "test accuracy", "share", of));
                quantities.push(Quantity::new(
                    "test_accuracy",
                    "test accuracy at the end",
                    accuracy,
                    "share",
                ));
            }
        }
        curves.push(self.of_steps("gradient_norm", "norm of the gradients", "", |step| step.gradient_norm));
        if let Some(last) = self.freezing.flips().last() {
            curves.push(self.of_flips("flipped_signs", "signs flipped since the test before", |of| of.signs));
            curves.push(self.of_flips(
                "flipped_exponents",
                "exponents changed since the test before",
                |of| of.exponents,
            ));
            for (name, label, value) in [
                ("frozen_signs", "signs of powers of two that never changed", last.frozen_signs),
                ("frozen_exponents", "exponents of powers of two that never changed", last.frozen_exponents),
            ] {
                quantities.push(Quantity::new(name, label, value, "share").help("As seen at the tests."));
            }
        }
        for (layer, spread) in wandering(&self.looks) {
            let quantity = Quantity::new(
                &format!("wandering_{}", layer.replace('.', "_")),
                &format!("wandering of the 50th percentile before the activation of {layer}"),
                spread,
                "",
            );
            quantities.push(quantity.help(
                "Standard deviation over the steps that were looked at of a unit's 50th percentile; of the layer's units \
                 the median.",
            ));
        }
        if trainer.settings().schedule != epoch0_train::Schedule::default() {
            curves.push(self.of_steps("learning_rate", "learning rate", "", |step| step.learning_rate));
        }
        Training {
            start: about.start.clone(),
            network: summary(trainer.network(), &about.start),
            data: data_in_words(trainer.data()),
            training: settings_in_words(trainer.settings(), &trainer.settings().learning_rate.to_string()),
            seed: about.start_seed.unwrap_or(trainer.settings().seed),
            curves,
            figures: self.followed_layers(),
            quantities,
            stopped: match status {
                Status::Finished => None,
                Status::Stopped { step } => {
                    Some(format!("stopped after step {step} of {}", trainer.n_steps()))
                }
                Status::Diverged { step, what } => {
                    Some(format!("diverged: {what} is not finite at step {step} of {}", trainer.n_steps()))
                }
            },
            versions: versions(),
        }
    }

    /// A figure for each followed layer: percentiles of its first unit's pre-activation.
    fn followed_layers(&self) -> Vec<Figure> {
        let Some(first) = self.looks.first() else { return Vec::new() };
        let x: Vec<f64> = self.looks.iter().map(|look| look.step as f64).collect();
        let of_layer = |(at, layer): (usize, &str)| {
            let of = |which: fn(&Percentiles) -> f64| -> Vec<f64> {
                let value = |look: &Look| {
                    look.layers.get(at).and_then(|layer| layer.units.first()).map_or(f64::NAN, which)
                };
                self.looks.iter().map(value).collect()
            };
            let (low, middle, high) = (of(|unit| unit.p15), of(|unit| unit.p50), of(|unit| unit.p85));
            let title = format!("What the activation of {layer} meets, first unit");
            let ends = |values: &[f64]| (values[0], values[values.len() - 1]);
            let ((start, end), (low_end, high_end)) = (ends(&middle), (ends(&low).1, ends(&high).1));
            let alt = format!(
                "The 50th percentile goes from {start:.3} to {end:.3}; at the end the 15th and 85th are {low_end:.3} and \
                 {high_end:.3}."
            );
            Figure::new(
                &format!("follow_{}", layer.replace('.', "_")),
                &title,
                alt,
                Axis::new("steps"),
                Axis::new(""),
            )
            .with("15th to 85th percentile", Shape::Band { x: x.clone(), low, high })
            .with("50th percentile", Shape::Line { x: x.clone(), y: middle })
        };
        first.layers.iter().map(|layer| layer.name.as_str()).enumerate().map(of_layer).collect()
    }

    fn of_steps(&self, name: &str, label: &str, unit: &str, value: impl Fn(&Step) -> f64) -> Curve {
        Curve {
            name: name.to_owned(),
            label: label.to_owned(),
            unit: unit.to_owned(),
            steps: self.steps.iter().map(|step| step.step).collect(),
            values: self.steps.iter().map(value).collect(),
        }
    }

    fn of_flips(&self, name: &str, label: &str, value: impl Fn(&Flips) -> f64) -> Curve {
        let flips = self.freezing.flips();
        Curve {
            name: name.to_owned(),
            label: label.to_owned(),
            unit: "share".to_owned(),
            steps: flips.iter().map(|of| of.step).collect(),
            values: flips.iter().map(value).collect(),
        }
    }

    fn of_tests(&self, name: &str, label: &str, unit: &str, value: impl Fn(&Evaluation) -> f64) -> Curve {
        Curve {
            name: name.to_owned(),
            label: label.to_owned(),
            unit: unit.to_owned(),
            steps: self.tests.iter().map(|test| test.step).collect(),
            values: self.tests.iter().map(value).collect(),
        }
    }
}
