//! What happened in a training, a line of JSON each.
//!
//! | `kind` | says |
//! |---|---|
//! | `run` | what is trained, on what, how: the first line |
//! | `step` | loss, learning rate and norm of the gradients of a step |
//! | `test` | loss and accuracy on the test examples |
//! | `follow` | percentiles of what the activation behind a followed layer meets |
//! | `flips` | how many weights that are signed powers of two changed since the last test, and how many never did |
//! | `end` | how it ended |
//!
//! All but `time` is the same whenever the same is run. Numbers that are not finite are `null`. A line appears by one
//! write; one that was cut by a crash is dropped when the training goes on, as are those of steps that are taken again.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use epoch0_format::write_file_atomically;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    Error, Evaluation, Flips, Freezing, Look, Observer, Percentiles, Settings, Status, Step, Trainer,
};

/// What is trained, on what, and where it started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The network, as it was named.
    pub network: String,
    /// The data, as they were named.
    pub data: String,
    /// Where the weights came from: a method's id, a recipe, a checkpoint.
    pub start: String,
    /// Seed that the weights were drawn with, where they were drawn.
    pub start_seed: Option<u64>,
    /// What is learned from besides the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<Teacher>,
}

/// A network whose answers are learned from; see [`crate::lesson::Distillation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Teacher {
    /// The network with its weights, as it was named.
    pub from: String,
    /// Factor of the data's loss.
    pub loss: f64,
    /// Factor of the distance to its answers.
    pub answers: f64,
    /// Temperature of both answers.
    pub temperature: f64,
}

/// A line of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Line {
    /// What is trained.
    Run {
        /// Network, data and start.
        #[serde(flatten)]
        about: About,
        /// Steps in all.
        n_steps: u64,
        /// How.
        settings: Box<Settings>,
    },
    /// A step.
    Step {
        /// Its number, from 1.
        step: u64,
        /// Passes over the training examples so far.
        epoch: f64,
        /// Mean loss of its examples, before the weights were changed.
        #[serde(deserialize_with = "maybe")]
        loss: f64,
        /// The learning rate.
        learning_rate: f64,
        /// Euclidean norm of all gradients, before they were clipped.
        #[serde(deserialize_with = "maybe")]
        gradient_norm: f64,
        /// When.
        time: Time,
    },
    /// A test.
    Test {
        /// Steps taken before it.
        step: u64,
        /// Passes over the training examples before it.
        epoch: f64,
        /// Mean loss.
        #[serde(deserialize_with = "maybe")]
        loss: f64,
        /// Share of right answers, where answers are right or wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accuracy: Option<f64>,
        /// When.
        time: Time,
    },
    /// A look at a layer that is followed: percentiles of the pre-activation of its first unit.
    Follow {
        /// Steps taken before it.
        step: u64,
        /// Passes over the training examples before it.
        epoch: f64,
        /// The layer.
        layer: String,
        /// 15th percentile.
        #[serde(deserialize_with = "maybe")]
        p15: f64,
        /// 50th percentile.
        #[serde(deserialize_with = "maybe")]
        p50: f64,
        /// 85th percentile.
        #[serde(deserialize_with = "maybe")]
        p85: f64,
        /// When.
        time: Time,
    },
    /// Changes of weights that are signed powers of two, as shares of all of them.
    Flips {
        /// Steps taken before the look.
        step: u64,
        /// Passes over the training examples before it.
        epoch: f64,
        /// Signs that changed since the last test.
        signs: f64,
        /// Exponents that did.
        exponents: f64,
        /// Signs that never changed.
        frozen_signs: f64,
        /// Exponents that never did.
        frozen_exponents: f64,
        /// When.
        time: Time,
    },
    /// The end.
    End {
        /// `finished`, `stopped` or `diverged`.
        status: String,
        /// Steps taken; where it diverged, the step that could not be taken.
        step: u64,
        /// What was not finite.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        what: Option<String>,
        /// When.
        time: Time,
    },
}

/// What differs from run to run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Time {
    /// Seconds of training before it.
    pub seconds: f64,
}

fn maybe<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(from)?.unwrap_or(f64::NAN))
}

impl Line {
    /// A step's.
    pub fn of_step(step: &Step, seconds: f64) -> Self {
        let Step { step, epoch, loss, learning_rate, gradient_norm } = *step;
        Self::Step { step, epoch, loss, learning_rate, gradient_norm, time: Time { seconds } }
    }

    /// A test's.
    pub fn of_test(found: &Evaluation, seconds: f64) -> Self {
        let Evaluation { step, epoch, loss, accuracy } = *found;
        Self::Test { step, epoch, loss, accuracy, time: Time { seconds } }
    }

    /// Those of a look, one for each layer.
    pub fn of_look(look: &Look, seconds: f64) -> Vec<Self> {
        let (step, epoch, time) = (look.step, look.epoch, Time { seconds });
        let line = |(layer, unit): (&str, Percentiles)| {
            let Percentiles { p15, p50, p85 } = unit;
            Self::Follow { step, epoch, layer: layer.to_owned(), p15, p50, p85, time }
        };
        look.first_units().map(line).collect()
    }

    /// That of changes.
    pub fn of_flips(found: &Flips, seconds: f64) -> Self {
        let Flips { step, epoch, signs, exponents, frozen_signs, frozen_exponents } = *found;
        Self::Flips { step, epoch, signs, exponents, frozen_signs, frozen_exponents, time: Time { seconds } }
    }

    /// An end's, after that many steps.
    pub fn of_end(status: &Status, steps: u64, seconds: f64) -> Self {
        let time = Time { seconds };
        let end = |status: &str, step| Self::End { status: status.to_owned(), step, what: None, time };
        match status {
            Status::Finished => end("finished", steps),
            Status::Stopped { step } => end("stopped", *step),
            Status::Diverged { step, what } => {
                Self::End { status: "diverged".to_owned(), step: *step, what: Some((*what).to_owned()), time }
            }
        }
    }

    /// Steps taken when it was written; none for the first line.
    pub fn step(&self) -> Option<u64> {
        match self {
            Self::Run { .. } => None,
            Self::Step { step, .. }
            | Self::Test { step, .. }
            | Self::Follow { step, .. }
            | Self::Flips { step, .. }
            | Self::End { step, .. } => Some(*step),
        }
    }

    fn time(&self) -> Option<Time> {
        match self {
            Self::Run { .. } => None,
            Self::Step { time, .. }
            | Self::Test { time, .. }
            | Self::Follow { time, .. }
            | Self::Flips { time, .. }
            | Self::End { time, .. } => Some(*time),
        }
    }
}

/// The lines of a record; a last one that was cut is left out.
///
/// # Errors
/// When the file cannot be read, or a line before the last is no line of a record.
pub fn read(path: &Path) -> Result<Vec<Line>, Error> {
    let text = std::fs::read(path).map_err(Error::file(path))?;
    let mut lines = Vec::new();
    let pieces: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
    for (nth, piece) in pieces.iter().enumerate() {
        match serde_json::from_slice(piece) {
            Ok(line) if piece.ends_with(b"\n") => lines.push(line),
            _ if nth + 1 == pieces.len() => {}
            Ok(_) => {}
            Err(error) => {
                let why = format!("line {} is no line of a record: {error}", nth + 1);
                return Err(Error::resume(path, why));
            }
        }
    }
    Ok(lines)
}

/// A record that is written while a training runs.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    every: u64,
    begun: Instant,
    /// Seconds of earlier runs.
    before: f64,
    freezing: Freezing,
}

impl Log {
    /// Begins a record; steps are written every `every`, tests always.
    ///
    /// # Errors
    /// When the file is there already or cannot be written.
    pub fn create(path: &Path, about: &About, trainer: &Trainer<'_>, every: u64) -> Result<Self, Error> {
        if path.exists() {
            let why = "is there already\nhint: name another file, or go on with what it records by --resume";
            return Err(Error::resume(path, why));
        }
        let file = OpenOptions::new().append(true).create_new(true).open(path).map_err(Error::file(path))?;
        let (begun, freezing) = (Instant::now(), Freezing::default());
        let mut log = Self { path: path.to_owned(), file, every: every.max(1), begun, before: 0.0, freezing };
        log.write(&Line::Run {
            about: about.clone(),
            n_steps: trainer.n_steps(),
            settings: Box::new(*trainer.settings()),
        })?;
        Ok(log)
    }

    /// Goes on with a record where the training goes on: what it says of later steps is dropped. Begins it where there is
    /// none.
    ///
    /// # Errors
    /// When the file is no record, or cannot be written.
    pub fn go_on(path: &Path, about: &About, trainer: &Trainer<'_>, every: u64) -> Result<Self, Error> {
        if !path.exists() {
            return Self::create(path, about, trainer, every);
        }
        let kept: Vec<Line> = read(path)?
            .into_iter()
            .filter(|line| {
                !matches!(line, Line::End { .. })
                    && line.step().is_none_or(|step| step <= trainer.step_number())
            })
            .collect();
        let text: String = kept.iter().map(as_text).collect();
        write_file_atomically(path, text.as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).map_err(Error::file(path))?;
        let before = kept.iter().rev().find_map(Line::time).map_or(0.0, |time| time.seconds);
        let (begun, freezing) = (Instant::now(), Freezing::default());
        Ok(Self { path: path.to_owned(), file, every: every.max(1), begun, before, freezing })
    }

    fn seconds(&self) -> f64 {
        self.before + self.begun.elapsed().as_secs_f64()
    }

    fn write(&mut self, line: &Line) -> Result<(), Error> {
        self.file.write_all(as_text(line).as_bytes()).map_err(Error::file(&self.path))
    }

    /// Writes how the training ended.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn end(&mut self, status: &Status, trainer: &Trainer<'_>) -> Result<(), Error> {
        let line = Line::of_end(status, trainer.step_number(), self.seconds());
        self.write(&line)
    }
}

fn as_text(line: &Line) -> String {
    serde_json::to_string(line).expect("a line is plain data") + "\n"
}

impl Observer for Log {
    fn step(&mut self, _: &Trainer<'_>, step: &Step) -> Result<ControlFlow<()>, Error> {
        if step.step.is_multiple_of(self.every) || !step.loss.is_finite() {
            self.write(&Line::of_step(step, self.seconds()))?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn tested(&mut self, trainer: &Trainer<'_>, found: &Evaluation) -> Result<ControlFlow<()>, Error> {
        self.write(&Line::of_test(found, self.seconds()))?;
        let flips = self.freezing.look(trainer.network(), trainer.weights(), found.step, found.epoch);
        if let Some(flips) = flips {
            self.write(&Line::of_flips(&flips, self.seconds()))?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn followed(&mut self, _: &Trainer<'_>, look: &Look) -> Result<(), Error> {
        Line::of_look(look, self.seconds()).iter().try_for_each(|line| self.write(line))
    }
}
