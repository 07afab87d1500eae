//! Drawing a start into a checkpoint folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use epoch0_engine::{Device, Weights};
use epoch0_format::{
    self as format, NewFolder, Replace, ShardSize, TensorSpec, Watch, Writer, onnx, pt_metadata,
};
use epoch0_init::METHODS;
use epoch0_init::start::{Measured, Plan, Recipe};
use epoch0_net::ParamId;
use epoch0_num::Summary;

use crate::calibrate::{planned_weights, stored};
use crate::receipt::{self, Ran};
use crate::report::learning_rates_by_name;
use crate::{Calibrated, Calibrating, Described, Error, Receipt, Report, own_precision};

/// How a start is drawn and written.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// The seed.
    pub seed: u64,
    /// How large a file becomes before another is begun.
    pub shard_size: ShardSize,
    /// What it is calibrated on, where the recipe calibrates.
    pub calibrating: Calibrating<'a>,
    /// Whether a checkpoint that stands at the target may be replaced.
    pub replace: Replace,
    /// Once true, the work ends with an error and leaves nothing.
    pub cancel: Option<&'a AtomicBool>,
    /// Called with the bytes written since the last call.
    pub progress: Option<Progress<'a>>,
}

impl Options<'_> {
    pub(crate) fn check_cancelled(&self) -> Result<(), Error> {
        match self.cancel {
            Some(cancel) if cancel.load(Ordering::Relaxed) => Err(format::Error::Cancelled.into()),
            _ => Ok(()),
        }
    }
}

/// Called with a number of bytes just written, from any thread.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// What would be drawn: every parameter with its law, and nothing written.
///
/// # Errors
/// When the recipe does not fit the network.
pub fn plan(described: &Described, recipe: &Recipe, seed: u64) -> Result<Report, Error> {
    Ok(Report::new(&Plan::new(METHODS, &described.net, recipe, seed)?, recipe, &[]))
}

/// Draws a start and writes it as a checkpoint folder: `config.json` where the network has one, and safetensors with
/// a receipt. A network of an ONNX file is written as such a file where `out` ends in `.onnx`: the one that was given,
/// with the new weights in it. What is written appears whole or not at all.
///
/// # Errors
/// When the recipe does not fit the network, or the files cannot be written.
pub fn initialize(
    described: &Described,
    recipe: &Recipe,
    out: &Path,
    options: &Options<'_>,
) -> Result<Report, Error> {
    let begun = Instant::now();
    let net = &described.net;
    let onnx = match (out.extension().is_some_and(|extension| extension == "onnx"), &described.onnx) {
        (false, _) => None,
        (true, Some(onnx)) => Some(onnx),
        (true, None) => {
            return Err(Error::NoOnnx { given: described.given.clone(), out: out.to_owned() });
        }
    };
    let plan = Plan::new(METHODS, net, recipe, options.seed)?;
    let mut receipt = Receipt::new(net, recipe, options.seed, plan.digest());
    // A calibration needs all weights at once; what is only drawn goes piece by piece into the files.
    let started = recipe.calibrate.is_some().then(|| {
        let (on, precision) = (&options.calibrating, own_precision(net));
        planned_weights(described, recipe, &plan, on, precision, &Device::cpu())
    });
    let (weights, calibrated) = started.transpose()?.unzip();
    let calibrated = calibrated.flatten();
    receipt.onnx = described.onnx.is_some().then(|| described.given.clone());
    receipt.calibrated_on = calibrated.as_ref().map(|done| Ran {
        data: options.calibrating.data.map(|(spec, _)| spec.to_owned()),
        examples: done.batch.n_examples,
        weights_of: done.weights_of.clone(),
    });
    let (measured, files) = match onnx {
        Some(onnx) => {
            let from = Path::new(&described.given);
            (write_onnx(&plan, weights.as_ref(), onnx, from, out, &receipt, options)?, Vec::new())
        }
        None => {
            let start = (weights.as_ref(), calibrated.as_ref());
            write_folder(&plan, start, described, out, &receipt, options)?
        }
    };
    let mut report = Report::new(&plan, recipe, &measured);
    report.learning_rates = learning_rates_by_name(&plan, calibrated.as_ref());
    report.calibrated = calibrated;
    report.out = Some(out.display().to_string());
    report.files = files;
    report.seconds = Some(begun.elapsed().as_secs_f64());
    Ok(report)
}

/// File of the factors of the learning rate that a start is made for: `{"sgd": {NAME: FACTOR}, "adam": …}`, parameters that
/// are not named having 1.
pub const LEARNING_RATES_FILE: &str = "learning_rates.json";

/// Writes every parameter, drawn or one of `weights`, into a checkpoint folder; what was measured, and the files' names.
fn write_folder(
    plan: &Plan<'_>,
    (weights, calibrated): (Option<&Weights>, Option<&Calibrated>),
    described: &Described,
    out: &Path,
    receipt: &Receipt,
    options: &Options<'_>,
) -> Result<(Vec<Measured>, Vec<String>), Error> {
    let mut metadata = pt_metadata();
    metadata.insert(receipt::KEY.to_owned(), receipt.to_json());
    let layout = layout(plan, &metadata, options.shard_size)?;
    let folder = NewFolder::begin(out, options.replace)?;
    let writer = Writer::create(folder.path(), layout)?;
    let measured = match weights {
        Some(weights) => write(plan, weights, &writer, options)?,
        None => draw(plan, &writer, options)?,
    };
    if let Some(text) = described.config_text() {
        folder.write("config.json", text.as_bytes())?;
    }
    let factors = learning_rates_by_name(plan, calibrated);
    let mut files = writer.finish()?.files;
    if !factors.is_empty() {
        let text = serde_json::to_string_pretty(&factors).expect("factors are plain data") + "\n";
        folder.write(LEARNING_RATES_FILE, text.as_bytes())?;
        files.push(LEARNING_RATES_FILE.to_owned());
    }
    folder.commit()?;
    Ok((measured, files))
}

/// Writes every parameter, drawn or one of `weights`, into a copy of an ONNX file.
fn write_onnx(
    plan: &Plan<'_>,
    weights: Option<&Weights>,
    onnx: &onnx::Weights,
    from: &Path,
    out: &Path,
    receipt: &Receipt,
    options: &Options<'_>,
) -> Result<Vec<Measured>, Error> {
    // The file's types are what its operators were written for.
    for (param, stored) in
        plan.net().params().iter().filter_map(|param| Some((param, onnx.get(&param.name)?)))
    {
        if param.dtype != stored.dtype() {
            return Err(Error::OnnxDtype {
                name: param.name.clone(),
                found: stored.dtype(),
                asked: param.dtype,
            });
        }
    }
    let mut measured: BTreeMap<ParamId, Vec<Measured>> = BTreeMap::new();
    let metadata = BTreeMap::from([(receipt::KEY.to_owned(), receipt.to_json())]);
    onnx::write(from, out, &metadata, options.replace, |weight, bytes| {
        options.check_cancelled()?;
        let Some(param) = plan.net().find(weight.name()) else { return Ok(()) };
        let (drawn, sites) = match weights {
            Some(weights) => stored(plan, weights, param)?,
            None => plan.draw_whole(param)?,
        };
        bytes.copy_from_slice(&drawn);
        // A parameter that lies in several places is drawn for each.
        if measured.insert(param, sites).is_none()
            && let Some(progress) = options.progress
        {
            progress(drawn.len() as u64);
        }
        Ok::<(), Error>(())
    })?;
    Ok(measured.into_values().flatten().collect())
}

/// Writes weights that are there; what was measured comes back in the order of the plan.
fn write(
    plan: &Plan<'_>,
    weights: &Weights,
    writer: &Writer,
    options: &Options<'_>,
) -> Result<Vec<Measured>, Error> {
    let mut measured = Vec::new();
    for tensor in 0..plan.net().params().len() {
        options.check_cancelled()?;
        let (bytes, sites) = stored(plan, weights, ParamId(tensor as u32))?;
        writer.write_at(tensor, 0, &bytes)?;
        measured.extend(sites);
        if let Some(progress) = options.progress {
            progress(bytes.len() as u64);
        }
    }
    Ok(measured)
}

pub(crate) fn layout(
    plan: &Plan<'_>,
    metadata: &BTreeMap<String, String>,
    shard_size: ShardSize,
) -> Result<format::Plan, Error> {
    let specs = plan
        .net()
        .params()
        .iter()
        .map(|param| TensorSpec::new(&param.name, param.dtype, param.shape.clone()));
    Ok(format::Plan::new(specs.collect(), metadata, shard_size)?)
}

/// Draws every parameter into the writer; what was drawn comes back in the order of the plan.
fn draw(plan: &Plan<'_>, writer: &Writer, options: &Options<'_>) -> Result<Vec<Measured>, Error> {
    let param = |tensor: usize| ParamId(tensor as u32);
    let (pieces, wholes): (Vec<_>, Vec<_>) =
        (0..plan.net().params().len()).partition(|&tensor| plan.single_law(param(tensor)).is_some());
    let watch = Watch { cancel: options.cancel, progress: options.progress };

    let drawn: Mutex<Vec<(usize, usize, Summary)>> = Mutex::default();
    writer.fill(pieces, watch, |tensor, start, buffer| {
        let summary = plan.draw_piece(param(tensor), start, buffer)?;
        drawn.lock().unwrap_or_else(PoisonError::into_inner).push((tensor, start, summary));
        Ok::<(), Error>(())
    })?;
    // Pieces end in any order; sums are taken in one.
    let mut drawn = drawn.into_inner().unwrap_or_else(PoisonError::into_inner);
    drawn.sort_unstable_by_key(|&(tensor, start, _)| (tensor, start));
    let mut measured: Vec<Measured> = Vec::new();
    for (tensor, _, summary) in drawn {
        let planned = plan.first_of(param(tensor));
        match measured.last_mut() {
            Some(last) if last.planned == planned => last.summary.merge(&summary),
            _ => measured.push(Measured { planned, summary }),
        }
    }

    for tensor in wholes {
        options.check_cancelled()?;
        let (bytes, sites) = plan.draw_whole(param(tensor))?;
        writer.write_at(tensor, 0, &bytes)?;
        measured.extend(sites);
        if let Some(progress) = options.progress {
            progress(bytes.len() as u64);
        }
    }
    Ok(measured)
}
