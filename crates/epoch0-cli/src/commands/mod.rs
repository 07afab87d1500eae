//! The commands, one file each.

mod adapt;
mod average;
mod base_shapes;
mod calibration;
mod cite;
mod compare;
mod compress;
mod coord_check;
mod data;
mod diff;
mod eoc;
mod eval;
mod examine;
mod explain;
mod fold_bn;
mod gain;
mod gossip;
mod igb;
mod inherit;
mod init;
mod learngene;
mod list;
mod start;
mod strip_norm;
mod train;
mod verify;
mod verify_weights;

use std::path::{Path, PathBuf};

use clap::CommandFactory;
use serde::Serialize;

use crate::args::{Args, Command};

/// What a command has to say.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    /// Whether what it was asked to check holds.
    pub(crate) holds: bool,
}

impl Outcome {
    fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), holds: true }
    }

    fn json(value: &impl Serialize) -> Result<Self, Failure> {
        let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Output(error.to_string()))?;
        Ok(Self::text(text + "\n"))
    }
}

/// Why a command could not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Epoch0(#[from] epoch0::Error),
    #[error(transparent)]
    MeanField(#[from] epoch0::num::meanfield::MeanFieldError),
    #[error(transparent)]
    Method(#[from] epoch0::method::Error),
    #[error(transparent)]
    Format(#[from] epoch0::format::Error),
    #[error(transparent)]
    Engine(#[from] epoch0::engine::Error),
    #[error(transparent)]
    Data(#[from] epoch0::data::Error),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("standard output: {0}")]
    Output(String),
    #[error("threads: {0}")]
    Threads(String),
    #[error("{what} `{given}` is unknown\nhint: {hint}")]
    Unknown { what: &'static str, given: String, hint: String },
    #[error("training: {0}")]
    Training(String),
    #[error("interrupted after step {step}{}", written(out.as_deref()))]
    Interrupted { step: u64, out: Option<PathBuf> },
    #[error(
        "{option}: {start} looks at no data\nhint: methods that do calibrate what is drawn, such as lsuv"
    )]
    NoCalibration { option: &'static str, start: String },
    #[error(
        "{method}: it takes a start from another network, and none was named\nhint: name one with `--from CHECKPOINT`"
    )]
    NoParent { method: &'static str },
    #[error("{what} `{given}`: it has no weights\nhint: name a checkpoint folder or an ONNX file")]
    NoWeights { what: &'static str, given: String },
    #[error(
        "{option}: `{method}` starts no adapters\nhint: methods that do are lora_a, pissa and others (`epoch0 list`)"
    )]
    NoAdapter { option: &'static str, method: String },
    #[error("{}: not a record of claims\nhint: name another folder, or move it away", .0.display())]
    NoRecord(PathBuf),
    #[error("sigma is {0}, allowed a finite number above 0")]
    Sigma(f64),
    #[error(transparent)]
    Rational(epoch0::num::rational::RationalError),
}

fn written(out: Option<&Path>) -> String {
    match out {
        Some(out) => format!("; it is in {0}\nhint: go on with `epoch0 train --resume {0}`", out.display()),
        None => "\nhint: with `-o FOLDER` an interrupted training is kept and can go on".to_owned(),
    }
}

pub(crate) fn run(args: Args) -> Result<Outcome, Failure> {
    if let Some(threads) = args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
        pool.build_global().map_err(|error| Failure::Threads(error.to_string()))?;
    }
    let json = args.json;
    match args.command {
        Command::Init(args) => init::run(&args, json),
        Command::Train(args) => train::run(&args, json),
        Command::Compare(args) => compare::run(&args, json),
        Command::CoordCheck(args) => coord_check::run(&args, json),
        Command::BaseShapes(args) => base_shapes::run(&args),
        Command::List(args) => list::run(args.what, json),
        Command::Explain(args) => explain::run(&args, json),
        Command::Cite(args) => cite::run(&args.what, json),
        Command::VerifyWeights(args) => verify_weights::run(&args.path, json),
        Command::Data(args) => data::run(&args, json),
        Command::Examine(args) => examine::run(&args, json),
        Command::Eval(args) => eval::run(&args, json),
        Command::FoldBn(args) => fold_bn::run(&args, json),
        Command::StripNorm(args) => strip_norm::run(&args, json),
        Command::Average(args) => average::run(&args, json),
        Command::Diff(args) => diff::run(&args, json),
        Command::Gossip(args) => gossip::run(&args, json),
        Command::Learngene(args) => learngene::run(&args, json),
        Command::Compress(args) => compress::run(&args, json),
        Command::Decompress(args) => compress::undo(&args, json),
        Command::Verify(args) => verify::run(&args, json),
        Command::Gain(args) => gain::run(&args, json),
        Command::Eoc(args) => eoc::run(&args, json),
        Command::Igb(args) => igb::run(&args, json),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "epoch0", &mut text);
            Ok(Outcome::text(String::from_utf8_lossy(&text)))
        }
        Command::Man { folder } => man(folder),
    }
}

fn man(folder: Option<PathBuf>) -> Result<Outcome, Failure> {
    let Some(folder) = folder else {
        let mut text = Vec::new();
        clap_mangen::Man::new(Args::command())
            .render(&mut text)
            .map_err(|error| Failure::Output(error.to_string()))?;
        return Ok(Outcome::text(String::from_utf8_lossy(&text)));
    };
    std::fs::create_dir_all(&folder)
        .and_then(|()| clap_mangen::generate_to(Args::command(), &folder))
        .map_err(|source| Failure::File { path: folder, source })?;
    Ok(Outcome::text(""))
}
