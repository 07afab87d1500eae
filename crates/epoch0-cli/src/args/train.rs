//! Arguments of `train` and `compare`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use epoch0::train::{Adam, Clip, Decayed, NormStatistics, Optimizer, Schedule, Settings, Sgd, Span};
use epoch0::{Criterion, PairedTest};

use super::pair;

/// Arguments of `train`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Train {
    /// A config.json, a folder with one (its weights are the start, if it has any), or a network of the zoo.
    #[arg(value_name = "NET", required_unless_present = "resume")]
    pub(crate) net: Option<String>,
    #[command(flatten)]
    pub(crate) start: StartArgs,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    /// Learn from this network's answers too: a checkpoint folder that answers for the same data (Hinton et al. 2015).
    #[arg(long, value_name = "NET", conflicts_with = "resume")]
    pub(crate) teacher: Option<String>,
    /// Factors of the data's loss and of the distance to the teacher's answers.
    #[arg(long, value_name = "LOSS,ANSWERS", default_value = "0.3,0.7", requires = "teacher", value_parser = two_numbers)]
    pub(crate) teacher_weights: (f64, f64),
    /// Temperature at which answers are compared.
    #[arg(long, value_name = "T", default_value_t = 10.0, requires = "teacher")]
    pub(crate) temperature: f64,
    /// Seed of the start and of the order of examples.
    #[arg(long, default_value_t = 0, conflicts_with = "resume")]
    pub(crate) seed: u64,
    /// Folder to write weights, optimizer and position into: at the end, when interrupted, and every `--save-every`.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Replace a checkpoint that stands there.
    #[arg(long, requires = "out")]
    pub(crate) force: bool,
    /// How often to write it besides: 500it, 1ep.
    #[arg(long, value_name = "SPAN", requires = "out")]
    pub(crate) save_every: Option<Span>,
    /// Go on, bit by bit, with what was written into a folder; `--for` may make it longer.
    #[arg(
        long,
        value_name = "FOLDER",
        conflicts_with_all = ["net", "data", "with", "recipe", "lr", "optimizer", "momentum", "nesterov", "betas", "eps",
            "weight_decay", "decay_matrices_only", "schedule", "batch", "accumulate", "clip", "clip_value", "test_every",
            "bn_stats", "bn_momentum"]
    )]
    pub(crate) resume: Option<PathBuf>,
    /// Write what happens as lines of JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Steps between two lines of the log.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "log", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) log_every: u64,
    /// Write event files for TensorBoard.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) tensorboard: Option<PathBuf>,
    /// Follow layers whose weight's name matches a glob (or /a regular expression/): percentiles of what their activations
    /// meet go into the log, the event files, the page, and a summary.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) follow: Option<String>,
    /// How often to look at them [default: 100 times].
    #[arg(long, value_name = "SPAN", requires = "follow")]
    pub(crate) follow_every: Option<Span>,
    /// Write the curves as a page.
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
    /// Where to compute: cpu, or cuda and wgpu in builds that have them.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(crate) device: String,
}

/// Where weights start.
#[derive(Debug, ClapArgs)]
pub(crate) struct StartArgs {
    /// Method for the parameters it is meant for; all others keep the network's usual start.
    #[arg(long, value_name = "ID")]
    pub(crate) with: Option<String>,
    /// Parameter of the method.
    #[arg(long, value_name = "NAME=VALUE", requires = "with", value_parser = pair)]
    pub(crate) set: Vec<(String, String)>,
    /// Base shapes of mup: the width at which learning rates were found, for a method with `base` (mup).
    #[arg(long, value_name = "FILE.bsh", requires = "with")]
    pub(crate) base_shapes: Option<PathBuf>,
    /// Recipe in YAML.
    #[arg(long, value_name = "FILE", conflicts_with = "with")]
    pub(crate) recipe: Option<PathBuf>,
}

/// Arguments of `compare`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Compare {
    /// A config.json, a folder with one, or a network of the zoo.
    #[arg(value_name = "NET")]
    pub(crate) net: String,
    /// Starts, the baseline first: ids of methods, or recipes in files that end in .yaml; `all` for every method that fits
    /// the network.
    #[arg(long, value_name = "ID,ID,…", value_delimiter = ',', required = true)]
    pub(crate) with: Vec<String>,
    /// Learning rates: each start is trained with each of them, and shown at the best for it.
    #[arg(long, value_name = "RATE,RATE,…", value_delimiter = ',', conflicts_with = "lr")]
    pub(crate) rates: Vec<f64>,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    /// Number of seeds.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) seeds: u32,
    /// The first seed; the others follow it.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub(crate) first_seed: u64,
    /// What they are compared by: accuracy or loss at the end, area under the curve, or steps_to=NUMBER
    /// [default: accuracy, or loss where there is none].
    #[arg(long, value_name = "CRITERION")]
    pub(crate) by: Option<Criterion>,
    /// How differences are tested.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) test: TestName,
    /// Write the comparison as a page.
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
}

/// Arguments of `coord-check`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Checking {
    /// A network of the zoo with {w} for its width ('mlp:64-{w}-{w}-10'), or a config.json, whose widths are scaled and
    /// whose heads keep their size.
    #[arg(value_name = "NET")]
    pub(crate) net: String,
    #[command(flatten)]
    pub(crate) start: StartArgs,
    /// Widths [default: 64,128,256,512,1024; for a config four that its heads fit].
    #[arg(long, value_name = "W,W,…", value_delimiter = ',')]
    pub(crate) widths: Vec<usize>,
    /// Data whose first batch is learned; without any, random inputs and labels that match the network are drawn.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: Option<String>,
    /// How gradients change weights.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) optimizer: OptimizerName,
    /// Learning rate: so small that no answer saturates.
    #[arg(long, value_name = "RATE", default_value_t = 0.001)]
    pub(crate) lr: f64,
    /// Steps of training, all on one batch.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) steps: u32,
    /// Examples in the batch.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: u32,
    /// Number of seeds.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) seeds: u32,
    /// How far from 0 the slope of a layer may be.
    #[arg(long, value_name = "SLOPE", default_value_t = 0.15)]
    pub(crate) tolerance: f64,
    /// Write a report that needs nothing else: one HTML file.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

/// Names of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestName {
    /// Student's paired t-test.
    #[default]
    T,
    /// Wilcoxon's signed-rank test, exact.
    SignedRank,
}

impl From<TestName> for PairedTest {
    fn from(name: TestName) -> Self {
        match name {
            TestName::T => Self::T,
            TestName::SignedRank => Self::SignedRank,
        }
    }
}

/// Names of optimizers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OptimizerName {
    /// Gradient descent with momentum.
    #[default]
    Sgd,
    /// Adam.
    Adam,
    /// Adam with weight decay apart from the gradient.
    Adamw,
}

/// Statistics that batch normalizations use in evaluation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum BnStats {
    /// Means over the last batches of training, later ones counting more.
    #[default]
    Ema,
    /// Those of all training examples, by one more pass at the end.
    Population,
}

/// How a network is trained.
#[derive(Debug, ClapArgs)]
pub(crate) struct TrainingArgs {
    /// Data: a name (`epoch0 data list`), a file or folder, or a generator (gaussians:classes=3,dim=8,n=1000,separation=2).
    #[arg(long, value_name = "DATA", required_unless_present = "resume")]
    pub(crate) data: Option<String>,
    /// How long: 2000it, 3ep, 60000ex [default: 3ep].
    #[arg(long = "for", value_name = "SPAN")]
    pub(crate) length: Option<Span>,
    /// How gradients change weights.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) optimizer: OptimizerName,
    /// Learning rate [default: 0.05 for sgd, 0.001 for the others].
    #[arg(long, value_name = "RATE")]
    pub(crate) lr: Option<f64>,
    /// Momentum of sgd [default: 0.9].
    #[arg(long, value_name = "SHARE")]
    pub(crate) momentum: Option<f64>,
    /// Take the gradient of sgd ahead (Nesterov).
    #[arg(long)]
    pub(crate) nesterov: bool,
    /// Decay rates of Adam's means [default: 0.9,0.999].
    #[arg(long, value_name = "B1,B2", value_parser = betas)]
    pub(crate) betas: Option<(f64, f64)>,
    /// Term in Adam's denominator [default: 1e-8].
    #[arg(long)]
    pub(crate) eps: Option<f64>,
    /// Weight decay [default: 0, for adamw 0.01].
    #[arg(long, value_name = "FACTOR")]
    pub(crate) weight_decay: Option<f64>,
    /// Leave biases and norms out of the weight decay.
    #[arg(long)]
    pub(crate) decay_matrices_only: bool,
    /// Learning rate over training: constant, cosine, linear, polynomial, step,every=30ep, one_cycle; with
    /// warmup=500it.
    #[arg(long, value_name = "SCHEDULE", default_value_t)]
    pub(crate) schedule: Schedule,
    /// Examples in a batch.
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) batch: usize,
    /// Batches whose gradients make one step.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) accumulate: usize,
    /// Scale gradients down to this norm.
    #[arg(long, value_name = "NORM")]
    pub(crate) clip: Option<f64>,
    /// Keep each number of the gradients within ± this.
    #[arg(long, value_name = "BOUND", conflicts_with = "clip")]
    pub(crate) clip_value: Option<f64>,
    /// How often to test [default: each epoch; for compare ten times].
    #[arg(long, value_name = "SPAN")]
    pub(crate) test_every: Option<Span>,
    /// Where batch normalizations have the statistics from that they use in evaluation.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) bn_stats: BnStats,
    /// How much of a running statistic a batch replaces (torch's momentum; Keras counts what is kept).
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub(crate) bn_momentum: f64,
}

fn betas(text: &str) -> Result<(f64, f64), String> {
    let parse = |text: &str| text.trim().parse::<f64>().ok();
    let both = text.split_once(',').and_then(|(a, b)| Some((parse(a)?, parse(b)?)));
    both.ok_or_else(|| "two numbers are written 0.9,0.999".to_owned())
}

impl TrainingArgs {
    /// What was asked for, or why it makes no sense.
    pub(crate) fn settings(&self, seed: u64) -> Result<Settings, String> {
        let is_sgd = self.optimizer == OptimizerName::Sgd;
        if !is_sgd && (self.momentum.is_some() || self.nesterov) {
            return Err("momentum is sgd's\nhint: the others have --betas".to_owned());
        }
        if is_sgd && (self.betas.is_some() || self.eps.is_some()) {
            return Err("betas and eps are Adam's\nhint: sgd has --momentum".to_owned());
        }
        let default = Adam::default();
        let (beta1, beta2) = self.betas.unwrap_or((default.beta1, default.beta2));
        let adam = |weight_decay: f64| Adam {
            beta1,
            beta2,
            eps: self.eps.unwrap_or(default.eps),
            weight_decay: self.weight_decay.unwrap_or(weight_decay),
        };
        let optimizer = match self.optimizer {
            OptimizerName::Sgd => Optimizer::Sgd(Sgd {
                momentum: self.momentum.unwrap_or(0.9),
                dampening: 0.0,
                nesterov: self.nesterov,
                weight_decay: self.weight_decay.unwrap_or(0.0),
            }),
            OptimizerName::Adam => Optimizer::Adam(adam(0.0)),
            OptimizerName::Adamw => Optimizer::AdamW(adam(0.01)),
        };
        let clip = match (self.clip, self.clip_value) {
            (Some(norm), _) => Clip::Norm(norm),
            (None, Some(bound)) => Clip::Value(bound),
            (None, None) => Clip::None,
        };
        let settings = Settings::default();
        Ok(Settings {
            length: self.length.unwrap_or(settings.length),
            optimizer,
            learning_rate: self.lr.unwrap_or(if is_sgd { 0.05 } else { 1e-3 }),
            schedule: self.schedule,
            decayed: if self.decay_matrices_only { Decayed::Matrices } else { Decayed::All },
            clip,
            batch: self.batch,
            accumulate: self.accumulate,
            seed,
            test_every: self.test_every.unwrap_or(settings.test_every),
            statistics: match self.bn_stats {
                BnStats::Ema => NormStatistics::Running,
                BnStats::Population => NormStatistics::Population,
            },
            statistics_momentum: self.bn_momentum,
        })
    }
}

/// Two numbers with a comma between.
fn two_numbers(text: &str) -> Result<(f64, f64), String> {
    let numbers: Vec<f64> = text
        .split(',')
        .map(|word| word.trim().parse::<f64>().map_err(|error| format!("`{word}`: {error}")))
        .collect::<Result<_, _>>()?;
    match numbers[..] {
        [a, b] => Ok((a, b)),
        _ => Err(format!("{} numbers, allowed two with a comma between", numbers.len())),
    }
}
