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
use epoch0_init::start::{Recipe, Use};
use epoch0_method::reading::{Curve, Quantity, Training, Versions};
use epoch0_net::Source;
use epoch0_train::record::About;
use epoch0_train::{Decayed, Evaluation, Observer, Optimizer, Settings, Status, Step, Trainer};

use crate::{Described, summary};

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

/// Versions of what makes results.
pub(crate) fn versions() -> Versions {
    Versions::from([("epoch0".to_owned(), env!("CARGO_PKG_VERSION").to_owned())])
}

/// The data for people: `MNIST, 60,000 training and 10,000 test images`.
pub(crate) fn data_in_words(data: &Dataset) -> String {
    let what = match data.train.inputs() {
        Inputs::Tokens(_) => "sequences",
        _ if data.train.input_shape().len() == 3 => "images",
        _ => "examples",
    };
    let test = data.test.as_ref().map_or_else(String::new, |test| format!(" and {} test", test.len()));
    format!("{}, {} training{test} {what}", data.name, data.train.len())
}

/// Settings for people: `SGD 0.05, momentum 0.9, batch 128, 3ep`.
pub(crate) fn settings_in_words(settings: &Settings) -> String {
    let mut parts = vec![match settings.optimizer {
        Optimizer::Sgd(_) => format!("SGD {}", settings.learning_rate),
        Optimizer::Adam(_) => format!("Adam {}", settings.learning_rate),
        _ => format!("AdamW {}", settings.learning_rate),
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
}

impl Observer for Curves {
    fn step(&mut self, _: &Trainer<'_>, step: &Step) -> Result<ControlFlow<()>, epoch0_train::Error> {
        self.steps.push(*step);
        Ok(ControlFlow::Continue(()))
    }

    fn tested(
        &mut self,
        _: &Trainer<'_>,
        found: &Evaluation,
    ) -> Result<ControlFlow<()>, epoch0_train::Error> {
        self.tests.push(*found);
        Ok(ControlFlow::Continue(()))
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
        if trainer.settings().schedule != epoch0_train::Schedule::default() {
            curves.push(self.of_steps("learning_rate", "learning rate", "", |step| step.learning_rate));
        }
        Training {
            start: about.start.clone(),
            network: summary(trainer.network(), &about.start),
            data: data_in_words(trainer.data()),
            training: settings_in_words(trainer.settings()),
            seed: about.start_seed.unwrap_or(trainer.settings().seed),
            curves,
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

    fn of_steps(&self, name: &str, label: &str, unit: &str, value: impl Fn(&Step) -> f64) -> Curve {
        Curve {
            name: name.to_owned(),
            label: label.to_owned(),
            unit: unit.to_owned(),
            steps: self.steps.iter().map(|step| step.step).collect(),
            values: self.steps.iter().map(value).collect(),
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
