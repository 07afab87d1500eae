//! `epoch0 train`: follows what a start does.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use epoch0::data::Dataset;
use epoch0::engine::{Device, Precision, Weights};
use epoch0::format::{Checkpoint, Replace, write_file_atomically};
use epoch0::net::Source;
use epoch0::num::Dtype;
use epoch0::train::checkpoint::{Saved, read_counts, save};
use epoch0::train::lesson::Distillation;
use epoch0::train::record::{About, Log, Teacher};
use epoch0::train::tensorboard::Events;
use epoch0::train::{self, Error, Evaluation, Observer, Optimizer, Span, Status, Step, Trainer};
use epoch0::{Calibrating, Curves, Described, following, own_precision, start_training};
use epoch0_report::{Document, html};
use indicatif::ProgressBar;

use super::{Failure, Outcome};
use crate::args::{StartArgs, Train};
use crate::number::short;
use crate::terminal::{self, CANCELLED};

pub(super) fn run(args: &Train, json: bool) -> Result<Outcome, Failure> {
    let device = Device::named(&args.device).map_err(epoch0::Error::from)?;
    terminal::catch_interrupts();
    match &args.resume {
        Some(folder) => {
            let mut saved = Saved::open(folder).map_err(epoch0::Error::from)?;
            if let Some(length) = args.training.length {
                saved = saved.lasting(length);
            }
            let described = described_in(folder, &saved.about)?;
            let data = Dataset::open(&saved.about.data).map_err(epoch0::Error::from)?;
            let teaching = Teaching::open(saved.about.teacher.as_ref(), &data, &device)?;
            let trainer = saved.go_on(&described.net, &data, &device).map_err(epoch0::Error::from)?;
            let lesson = teaching.as_ref().map(Teaching::lesson).transpose()?;
            let trainer = taught(trainer, lesson.as_ref());
            let out = args.out.clone().unwrap_or_else(|| folder.clone());
            let replaces = args.force || args.out.is_none();
            Run { args, described: &described, about: saved.about, out: Some(out), replaces }
                .finish(trainer, json)
        }
        None => {
            let given = args.net.as_deref().unwrap_or_default();
            let settings = args.training.settings(args.seed).map_err(Failure::Training)?;
            let mut described = Described::open(given)?;
            let spec = args.training.data.as_deref().unwrap_or_default();
            let data = Dataset::open(spec).map_err(epoch0::Error::from)?;
            let (begun, start) =
                begin(&args.start, &described, (spec, &data), args.seed, &settings.optimizer, &device)?;
            let mut about = About {
                network: described.given_network().to_owned(),
                data: spec.to_owned(),
                start_seed: start.is_drawn().then_some(args.seed),
                start: start.name().to_owned(),
                teacher: args.teacher.clone().map(|from| Teacher {
                    from,
                    loss: args.teacher_weights.0,
                    answers: args.teacher_weights.1,
                    temperature: args.temperature,
                }),
            };
            if described.config.is_some() {
                // What is written is what is computed with, and goes on from the folder itself.
                let is_double = described.net.params().iter().any(|param| param.dtype == Dtype::F64);
                described.set_dtype(if is_double { Dtype::F64 } else { Dtype::F32 });
                described.net.name().clone_into(&mut about.network);
            }
            if let Source::Zoo { spec } = described.net.source() {
                // The folder of a start may go; what it is a start of is said here.
                about.network.clone_from(spec);
            }
            let teaching = Teaching::open(about.teacher.as_ref(), &data, &device)?;
            let lesson = teaching.as_ref().map(Teaching::lesson).transpose()?;
            let trainer =
                Trainer::new(&described.net, begun.weights, &data, settings).map_err(epoch0::Error::from)?;
            let mut trainer = taught(trainer.with_learning_rates(&begun.learning_rates), lesson.as_ref());
            if let (Start::Read(_), Some(path)) = (&start, &described.checkpoint) {
                read_counts(&mut trainer, &Checkpoint::open(path)?).map_err(epoch0::Error::from)?;
            }
            let out = args.out.clone();
            Run { args, described: &described, about, out, replaces: args.force }.finish(trainer, json)
        }
    }
}

/// A teacher with its weights.
pub(super) struct Teaching<'a> {
    by: Teacher,
    described: Described,
    weights: Weights,
    data: &'a Dataset,
}

impl<'a> Teaching<'a> {
    pub(super) fn open(
        by: Option<&Teacher>,
        data: &'a Dataset,
        device: &Device,
    ) -> Result<Option<Self>, Failure> {
        let Some(by) = by else { return Ok(None) };
        let described = Described::open_with(&by.from, true)?;
        let weights = described.own_weights(Precision::Single, device)?;
        let weights =
            weights.ok_or_else(|| Failure::NoWeights { what: "teacher", given: by.from.clone() })?;
        Ok(Some(Self { by: by.clone(), described, weights, data }))
    }

    pub(super) fn lesson(&self) -> Result<Distillation<'_>, Failure> {
        let lesson = Distillation::new(&self.described.net, &self.weights, self.data, &self.by);
        Ok(lesson.map_err(epoch0::Error::from)?)
    }
}

fn taught<'a>(trainer: Trainer<'a>, lesson: Option<&'a Distillation<'a>>) -> Trainer<'a> {
    match lesson {
        Some(lesson) => trainer.with_lesson(lesson),
        None => trainer,
    }
}

/// Looks at followed layers, where nothing else is said.
const LOOKS: u64 = 100;

/// Where weights came from.
enum Start {
    Drawn(String),
    Read(String),
}

impl Start {
    fn is_drawn(&self) -> bool {
        matches!(self, Self::Drawn(_))
    }

    fn name(&self) -> &str {
        match self {
            Self::Drawn(name) | Self::Read(name) => name,
        }
    }
}

/// The weights: drawn as asked, else those of the checkpoint or ONNX file that was named, else the network's usual start.
fn begin(
    args: &StartArgs,
    described: &Described,
    data: (&str, &Dataset),
    seed: u64,
    optimizer: &Optimizer,
    device: &Device,
) -> Result<(train::Start, Start), Failure> {
    if !args.is_given()
        && let Some(weights) = described.own_weights(own_precision(&described.net), device)?
    {
        return Ok((weights.into(), Start::Read(described.given.clone())));
    }
    let choice = args.choice();
    let recipe = choice.recipe(described)?;
    let name = choice.name(&recipe);
    let on = Calibrating { data: Some(data), examples: None };
    let (begun, done) = start_training(described, &recipe, seed, &on, optimizer, device)?;
    if let Some(shortfall) = done.and_then(|done| done.shortfall()) {
        terminal::warn(&shortfall);
    }
    Ok((begun, Start::Drawn(name)))
}

/// The network of a training in a folder: by the config that it holds, or by its name in the zoo.
fn described_in(folder: &Path, about: &About) -> Result<Described, Failure> {
    let has_config = folder.join("config.json").is_file();
    let given = if has_config { folder.to_string_lossy().into_owned() } else { about.network.clone() };
    Ok(Described::open(&given)?)
}

/// A training with all that sees it.
struct Run<'a> {
    args: &'a Train,
    described: &'a Described,
    about: About,
    out: Option<PathBuf>,
    /// Whether what stands at `out` may be replaced.
    replaces: bool,
}

impl Run<'_> {
    fn finish(self, mut trainer: Trainer<'_>, json: bool) -> Result<Outcome, Failure> {
        let of_train = |error: Error| Failure::from(epoch0::Error::from(error));
        let args = self.args;
        if let Some(pattern) = &args.follow {
            let usual = Span::Steps(trainer.n_steps().div_ceil(LOOKS));
            let following = following(trainer.network(), pattern, args.follow_every.unwrap_or(usual))?;
            trainer = trainer.following(following);
        }
        let mut log = match &args.log {
            Some(path) if args.resume.is_some() => {
                Some(Log::go_on(path, &self.about, &trainer, args.log_every).map_err(of_train)?)
            }
            Some(path) => Some(Log::create(path, &self.about, &trainer, args.log_every).map_err(of_train)?),
            None => None,
        };
        let folder = args.tensorboard.as_deref();
        let mut events = folder
            .map(|folder| Events::create(folder, trainer.step_number()))
            .transpose()
            .map_err(of_train)?;
        let mut saver = self.out.as_ref().map(|out| Saver {
            about: &self.about,
            described: self.described,
            out,
            replace: if self.replaces { Replace::Checkpoint } else { Replace::Never },
            every: args.save_every.map(|span| {
                let pace = trainer.settings().pace(trainer.data().train.len());
                span.steps(pace).max(1)
            }),
            written: None,
        });
        let mut curves = Curves::default();
        let mut watch = Bar::new(&trainer);
        let mut observers: Vec<&mut dyn Observer> = vec![&mut curves];
        observers.extend(log.as_mut().map(|log| log as &mut dyn Observer));
        observers.extend(events.as_mut().map(|events| events as &mut dyn Observer));
        observers.extend(saver.as_mut().map(|saver| saver as &mut dyn Observer));
        observers.push(&mut watch);
        let status = trainer.run(&mut observers);
        watch.bar.finish_and_clear();
        let status = status.map_err(of_train)?;
        if let Some(log) = &mut log {
            log.end(&status, &trainer).map_err(of_train)?;
        }
        let is_diverged = matches!(status, Status::Diverged { .. });
        if let Some(saver) = saver.as_mut().filter(|_| !is_diverged) {
            saver.save(&trainer).map_err(of_train)?;
        }
        let training = curves.training(&trainer, &self.about, &status);
        if let Some(path) = &args.report {
            write_file_atomically(path, html(&training).as_bytes())?;
        }
        if let Status::Stopped { step } = status {
            return Err(Failure::Interrupted { step, out: self.out });
        }
        let mut text = show(&training, json);
        if let (Some(out), false, false) = (&self.out, json, is_diverged) {
            text += &format!("\nwrote {}/\n", out.display());
        }
        Ok(Outcome { text, holds: !is_diverged })
    }
}

/// A document for standard output.
pub(super) fn show<D: Document>(document: &D, json: bool) -> String {
    if json {
        return epoch0_report::json(document) + "\n";
    }
    // Colours are taken away where standard output is no terminal.
    let width = terminal::width().min(120);
    epoch0_report::Terminal { width, color: true, unicode: true }.text(document)
}

/// Writes the training into its folder.
struct Saver<'a> {
    about: &'a About,
    described: &'a Described,
    out: &'a Path,
    replace: Replace,
    every: Option<u64>,
    /// Steps taken when it was last written.
    written: Option<u64>,
}

impl Saver<'_> {
    fn save(&mut self, trainer: &Trainer<'_>) -> Result<(), Error> {
        if self.written == Some(trainer.step_number()) {
            return Ok(());
        }
        let config = self.described.config_text().map(|text| ("config.json", text.into_bytes()));
        let files: Vec<(&str, Vec<u8>)> = config.into_iter().collect();
        save(trainer, self.about, self.out, self.replace, &files)?;
        // From now on what stands there is its own.
        self.replace = Replace::Checkpoint;
        self.written = Some(trainer.step_number());
        Ok(())
    }
}

impl Observer for Saver<'_> {
    fn step(&mut self, trainer: &Trainer<'_>, step: &Step) -> Result<ControlFlow<()>, Error> {
        let is_due = self.every.is_some_and(|every| step.step.is_multiple_of(every));
        if is_due && step.gradient_norm.is_finite() {
            self.save(trainer)?;
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// The bar, and Ctrl-C.
pub(super) struct Bar {
    pub(super) bar: ProgressBar,
    tested: String,
}

impl Bar {
    fn new(trainer: &Trainer<'_>) -> Self {
        let bar = Self::over(trainer.n_steps(), "training");
        bar.bar.set_position(trainer.step_number());
        bar
    }

    /// Over so many steps.
    pub(super) fn over(steps: u64, what: &'static str) -> Self {
        Self { bar: terminal::step_bar(steps, what), tested: String::new() }
    }

    fn flow() -> ControlFlow<()> {
        if CANCELLED.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Observer for Bar {
    fn step(&mut self, _: &Trainer<'_>, step: &Step) -> Result<ControlFlow<()>, Error> {
        self.bar.set_position(step.step);
        if !self.bar.is_hidden() {
            self.bar.set_message(format!("loss {}{}", short(step.loss), self.tested));
        }
        Ok(Self::flow())
    }

    fn tested(&mut self, _: &Trainer<'_>, found: &Evaluation) -> Result<ControlFlow<()>, Error> {
        self.tested = match found.accuracy {
            Some(accuracy) => format!(" · test {:.2} %", 100.0 * accuracy),
            None => format!(" · test {}", short(found.loss)),
        };
        Ok(Self::flow())
    }
}
