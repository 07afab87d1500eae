//! Checking a written adapter: it is made again from its receipt and compared.

use std::path::{Path, PathBuf};

use epoch0_data::Dataset;
use epoch0_format::Checkpoint;
use epoch0_inherit::adapter::{Looks, peft};
use epoch0_num::{Dtype, Element, with_element};
use rayon::prelude::*;
use serde::Serialize;

use super::write::{Started, parts};
use super::{AdapterReceipt, Work};
use crate::receipt::{self, DRAWS};
use crate::{CALIBRATION_NOISE, Calibrating, Described, Difference, Error, Options, Progress};

/// What checking an adapter found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerifiedAdapter {
    /// The receipt.
    pub receipt: AdapterReceipt,
    /// Whether all bits were compared; otherwise what is computed of weights, to [`CALIBRATION_NOISE`] of the largest element.
    pub is_exact: bool,
    /// Number of tensors that were compared.
    pub n_tensors: usize,
    /// The first tensor that is not what the receipt says; `None` when all are.
    pub difference: Option<Difference>,
}

fn file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(peft::WEIGHTS_FILE) } else { path.to_owned() }
}

/// Whether a folder or file is an adapter.
pub fn is_adapter(path: &Path) -> bool {
    file(path).is_file() && file(path).file_name().is_some_and(|name| name == peft::WEIGHTS_FILE)
}

/// Makes an adapter again from its receipt and compares. A network that was written beside it is not looked at.
///
/// # Errors
/// When the adapter, its receipt, or what that names cannot be read.
pub fn verify_adapter(path: &Path, progress: Option<Progress<'_>>) -> Result<VerifiedAdapter, Error> {
    let place = path.display().to_string();
    let refuse = |why: String| Error::Receipt { place: place.clone(), why };
    let checkpoint = Checkpoint::open(file(path))?;
    let text = checkpoint.metadata().get(receipt::KEY).ok_or_else(|| refuse("it carries none".to_owned()))?;
    let receipt: AdapterReceipt = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
    if receipt.draws != DRAWS {
        let why = format!("draws are of definition {}, this version has {DRAWS}", receipt.draws);
        return Err(refuse(format!("{why}\nhint: use epoch0 {}", receipt.version)));
    }
    let missing = |what: &str, error: &dyn std::fmt::Display| {
        refuse(format!("it was made of `{what}`, which cannot be had: {error}"))
    };
    let described =
        Described::open_with(&receipt.base, true).map_err(|error| missing(&receipt.base, &error))?;
    let data = receipt
        .data
        .as_deref()
        .map(|spec| Ok::<_, Error>((spec, Dataset::open(spec).map_err(|error| missing(spec, &error))?)));
    let data = data.transpose()?;
    let calibrating =
        Calibrating { data: data.as_ref().map(|(spec, data)| (*spec, data)), examples: receipt.examples };
    let options = Options { seed: receipt.seed, calibrating, ..Options::default() };
    let mut work =
        Work::open(&described, &receipt.adapter, &options).map_err(|error| missing(&receipt.base, &error))?;
    let seen = work.look(&options)?;
    work.settle(&seen, &mut Vec::new())?;
    let with = parts(receipt.adapter.config.dora);
    let is_exact = work.method.looks_at() == Looks::Shapes && !receipt.adapter.config.dora;
    let dtype = checkpoint.tensors().next().map_or(Dtype::F32, |tensor| tensor.dtype());
    let kept: Vec<_> = work.kept().collect();
    let compare = |&(at, planned): &(usize, &super::Planned)| {
        let made = Started::of(&work, planned, at, &seen, dtype, with)?;
        for (&part, made) in with.iter().zip(&made.parts) {
            let name = peft::name(&planned.target, part);
            let differs = |what: String| Ok(Some(Difference { tensor: name.clone(), what }));
            let Some(tensor) = checkpoint.get(&name) else { return differs("missing".to_owned()) };
            if tensor.bytes().len() != made.len() || tensor.dtype() != dtype {
                return differs(format!("{} {:?} is not its type and shape", tensor.dtype(), tensor.shape()));
            }
            if let Some(at) = first_difference(dtype, tensor.bytes(), made, is_exact) {
                return differs(format!("element {at} differs from what the receipt gives"));
            }
        }
        if let Some(progress) = progress {
            progress(made.parts.iter().map(|part| part.len() as u64).sum());
        }
        Ok::<_, Error>(None)
    };
    let found: Vec<Option<Difference>> = kept.par_iter().map(compare).collect::<Result<_, _>>()?;
    let mut difference = found.into_iter().flatten().next();
    if difference.is_none() && checkpoint.len() != kept.len() * with.len() {
        let what = format!("{} tensors where {} are expected", checkpoint.len(), kept.len() * with.len());
        difference = Some(Difference { tensor: peft::WEIGHTS_FILE.to_owned(), what });
    }
    Ok(VerifiedAdapter { receipt, is_exact, n_tensors: kept.len() * with.len(), difference })
}

/// Total of what [`verify_adapter`] reports to its progress.
///
/// # Errors
/// When the adapter cannot be opened.
pub fn bytes_to_verify_adapter(path: &Path) -> Result<u64, Error> {
    Ok(Checkpoint::open(file(path))?.total_bytes())
}

fn first_difference(dtype: Dtype, stored: &[u8], made: &[u8], is_exact: bool) -> Option<usize> {
    if is_exact {
        return stored.iter().zip(made).position(|(a, b)| a != b).map(|byte| byte / dtype.bytes());
    }
    with_element!(dtype, T => {
        let values = |bytes: &[u8]| -> Vec<f64> {
            let elements = bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned::<T>);
            elements.map(Element::to_f64).collect()
        };
        let (stored, made) = (values(stored), values(made));
        let largest = made.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let noise = (CALIBRATION_NOISE + 2.0 * dtype.unit_roundoff()) * largest;
        stored.iter().zip(&made).position(|(a, b)| a.is_nan() || (a - b).abs() > noise)
    })
}
