//! Networks as codes and codebooks, and back.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Instant;

use epoch0_data::Dataset;
use epoch0_engine::{Device, Precision};
use epoch0_format::{
    self as format, Checkpoint, NewFolder, ShardSize, Tensor, TensorSpec, Watch, Writer, pt_metadata,
};
use epoch0_inherit::Gather;
use epoch0_inherit::codebook::{self, CodebookTensor, Groups, Layer, Learned, Parts, Target};
use epoch0_method::Values;
use epoch0_method::reading::ProbeSummary;
use epoch0_net::{Network, ParamId, Source};
use epoch0_num::Dtype;
use serde::{Deserialize, Serialize};

use crate::examine::data_probe;
use crate::inherit::{Tensors, copy_beside};
use crate::weights::tensor_of;
use crate::{Described, Error, Options, receipt};

/// The file of a compressed network.
pub const CODEBOOK_FILE: &str = "model.jlcm.safetensors";
/// What says which of a file's tensors are codes.
const KEY: &str = "epoch0_codebook";
/// The form of the file.
const VERSION: u32 = 1;

/// How a network is compressed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Compressing {
    /// Parameters of the method that were given.
    pub set: Values,
    /// Data whose examples codes are learned on; without, k-means is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// How many examples; as many as fit, 8 to 256, if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
}

/// What a network was compressed to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compressed {
    /// Name of the network.
    pub network: String,
    /// How.
    #[serde(flatten)]
    pub how: Compressing,
    /// Bytes of the network's tensors before, and of the file's.
    pub bytes: [u64; 2],
    /// How many times smaller it is.
    pub ratio: f64,
    /// Bits of a weight that has a code, with books, scales and groups.
    pub bits_per_weight: f64,
    /// Bits of any parameter, with all that is in the file but its header.
    pub bits_per_param: f64,
    /// Axes whose neurons stand in a new order.
    pub axes: Vec<String>,
    /// Tensors that are codes.
    pub tensors: Vec<Coded>,
    /// What codes were learned on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<ProbeSummary>,
    /// What learning did, layer by layer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
    /// What to know of the result.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The folder written.
    pub out: String,
    /// Seconds that it took.
    pub seconds: f64,
}

/// A tensor as codes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Coded {
    /// Name.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Bits of a code.
    pub bits: u32,
    /// Groups of rows.
    pub groups: usize,
    /// How rows are told into them: `one`, `runs`, `rows` or `each`.
    pub by: &'static str,
    /// Bytes in the file.
    pub bytes: u64,
    /// Squared distance from the weights, as a share of the squared weights.
    pub error: f64,
}

/// What was made of a compressed network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decompressed {
    /// Tensors that were codes.
    pub coded: usize,
    /// Tensors that were not.
    pub kept: usize,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// The folder written.
    pub out: String,
    /// Names of the files written.
    pub files: Vec<String>,
}

/// The notes of a file.
#[derive(Debug, Serialize, Deserialize)]
struct Notes {
    version: u32,
    #[serde(default)]
    set: Values,
    tensors: BTreeMap<String, Note>,
}

/// What a tensor was.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    dtype: String,
    shape: Vec<usize>,
    dim: usize,
    bits: u32,
}

fn unsupported(what: &str, why: &str, hint: &str) -> epoch0_method::Error {
    epoch0_method::Error::Unsupported {
        method: codebook::ENTRY.info.id.to_owned(),
        what: what.to_owned(),
        why: why.to_owned(),
        hint: hint.to_owned(),
    }
}

/// What of a file a tensor is.
enum Piece<'a> {
    /// A part of a target's codes.
    Part(usize, &'static str),
    /// A parameter in the new order.
    Kept(ParamId, Dtype, Box<Gather<'a>>),
}

/// Writes a network's checkpoint as codes and codebooks, with its config and what stands beside it. Without data a tensor is held
/// at a time; with data all weights are.
///
/// # Errors
/// When it is no checkpoint, its weights are not finite or cannot be read, the data do not fit, or it cannot be written.
pub fn compress(
    described: &Described,
    how: &Compressing,
    out: &Path,
    options: &Options<'_>,
) -> Result<Compressed, Error> {
    let begun = Instant::now();
    let method = (codebook::ENTRY.build)(&how.set)?;
    let net = &described.net;
    let Some(path) = &described.checkpoint else {
        return Err(epoch0_method::Error::Missing {
            method: codebook::ENTRY.info.id.to_owned(),
            input: format!("a checkpoint in `{}`", described.given),
            hint: "name a folder with a config.json and weights, or NET@FILE".to_owned(),
        }
        .into());
    };
    let checkpoint = Checkpoint::open(path)?;
    let tensors = Tensors { checkpoint: &checkpoint, net };
    let folder = NewFolder::begin(out, options.replace)?;
    let plan = codebook::Plan::new(&method, net, &tensors, options.seed)?;
    let (learned, asked) = match &how.data {
        Some(spec) => {
            let weights = plan.weights(&tensors, Precision::Single)?;
            let data = Dataset::open(spec)?;
            let (precision, device) = (Precision::Single, Device::cpu());
            let probe = data_probe(net, &weights, &data, how.examples, options.seed, precision, &device)?;
            (Some(plan.learn(&weights, &probe.batch)?), Some(probe.summary))
        }
        None => (None, None),
    };
    let (specs, pieces) = pieces(net, &plan, &checkpoint, learned.as_ref())?;
    let layout = format::Plan::new(specs, &metadata(net, &plan, &checkpoint, how)?, ShardSize::UNLIMITED)?;
    let file_bytes = layout.files().iter().map(|file| file.bytes).sum::<u64>();
    let writer = Writer::create(folder.path(), layout)?;
    let coded = write(net, &plan, &tensors, &writer, &pieces, learned.as_ref(), options)?;
    writer.finish()?;
    let (from, to) = (folder.path().join("model.safetensors"), folder.path().join(CODEBOOK_FILE));
    std::fs::rename(&from, &to).map_err(format::Error::io("rename", &from))?;
    if let Some(text) = described.config_text() {
        folder.write("config.json", text.as_bytes())?;
    }
    copy_beside(described.place(), &folder)?;
    folder.commit()?;
    let n_coded: u64 = plan.targets().iter().map(|target| net.param(target.param).len() as u64).sum();
    let own: u64 = coded.iter().map(|coded| coded.bytes).sum();
    let of = |id: usize| tensor_of(&checkpoint, net, ParamId(id as u32));
    let before = (0..net.params().len())
        .map(|id| of(id).map(|tensor| tensor.bytes().len() as u64))
        .sum::<Result<u64, _>>()?;
    let n_all: u64 = net.params().iter().map(|param| param.len() as u64).sum();
    Ok(Compressed {
        network: net.name().to_owned(),
        how: how.clone(),
        bytes: [before, file_bytes],
        ratio: before as f64 / file_bytes as f64,
        bits_per_weight: 8.0 * own as f64 / n_coded as f64,
        bits_per_param: 8.0 * file_bytes as f64 / n_all as f64,
        axes: plan.axes().into_iter().map(str::to_owned).collect(),
        tensors: coded,
        asked,
        layers: learned.map(|learned| learned.layers).unwrap_or_default(),
        warnings: left_out(net, &checkpoint),
        out: out.display().to_string(),
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Tensors of a checkpoint that are none of the network's.
fn left_out(net: &Network, checkpoint: &Checkpoint) -> Vec<String> {
    let known: std::collections::HashSet<&str> = (0..net.params().len() as u32)
        .filter_map(|id| tensor_of(checkpoint, net, ParamId(id)).ok())
        .map(|tensor| tensor.name())
        .collect();
    let is_other = |name: &&str| !known.contains(name) && net.find(name).is_none();
    let others: Vec<&str> = checkpoint.tensors().map(|tensor| tensor.name()).filter(is_other).collect();
    match others[..] {
        [] => Vec::new(),
        [one] => vec![format!("`{one}` of the checkpoint is none of the network's, and was left out")],
        [first, ..] => vec![format!(
            "{} tensors of the checkpoint are none of the network's, and were left out: `{first}` and others",
            others.len()
        )],
    }
}

/// The tensors of the file.
fn pieces<'a>(
    net: &Network,
    plan: &codebook::Plan<'_>,
    checkpoint: &'a Checkpoint,
    learned: Option<&Learned>,
) -> Result<(Vec<TensorSpec>, Vec<Piece<'a>>), Error> {
    let (mut specs, mut pieces) = (Vec::new(), Vec::new());
    let targets: HashMap<ParamId, usize> =
        plan.targets().iter().enumerate().map(|(nth, target)| (target.param, nth)).collect();
    for (at, param) in net.params().iter().enumerate() {
        let id = ParamId(at as u32);
        if let Some(&nth) = targets.get(&id) {
            for (part, dtype, shape) in plan.parts(&plan.targets()[nth]) {
                specs.push(TensorSpec::new(format!("{}.{part}", param.name), dtype, shape));
                pieces.push(Piece::Part(nth, part));
            }
            continue;
        }
        let tensor = tensor_of(checkpoint, net, id)?;
        let dtype = tensor.dtype();
        if learned.is_some_and(|learned| learned.biases.contains_key(&id)) && !dtype.is_float() {
            return Err(
                unsupported(&param.name, &format!("it is of type {dtype}"), "leave the data out").into()
            );
        }
        specs.push(TensorSpec::new(&param.name, dtype, param.shape.clone()));
        pieces.push(Piece::Kept(id, dtype, Box::new(Gather::new(&plan.ordered(id), tensor))));
    }
    Ok((specs, pieces))
}

fn metadata(
    net: &Network,
    plan: &codebook::Plan<'_>,
    checkpoint: &Checkpoint,
    how: &Compressing,
) -> Result<BTreeMap<String, String>, Error> {
    let note = |target: &Target| -> Result<(String, Note), Error> {
        let param = net.param(target.param);
        let dtype = tensor_of(checkpoint, net, target.param)?.dtype().to_string();
        Ok((
            param.name.clone(),
            Note { dtype, shape: param.shape.clone(), dim: target.dim, bits: target.bits },
        ))
    };
    let tensors = plan.targets().iter().map(note).collect::<Result<_, Error>>()?;
    let notes = Notes { version: VERSION, set: how.set.clone(), tensors };
    let mut metadata = pt_metadata();
    metadata.insert(KEY.to_owned(), serde_json::to_string(&notes).expect("notes are plain data"));
    if let Source::Zoo { spec } = net.source() {
        metadata.insert(receipt::NETWORK_KEY.to_owned(), spec.clone());
    }
    Ok(metadata)
}

/// Writes all tensors; codes of one target at a time.
fn write(
    net: &Network,
    plan: &codebook::Plan<'_>,
    tensors: &Tensors<'_>,
    writer: &Writer,
    pieces: &[Piece<'_>],
    learned: Option<&Learned>,
    options: &Options<'_>,
) -> Result<Vec<Coded>, Error> {
    let biases = learned.map(|learned| learned.biases.clone()).unwrap_or_default();
    let kept = (0..pieces.len()).filter(|&at| matches!(pieces[at], Piece::Kept(..)));
    let watch = Watch { cancel: options.cancel, progress: options.progress };
    writer.fill(kept, watch, |tensor, start, buffer| {
        let Piece::Kept(id, dtype, gather) = &pieces[tensor] else { unreachable!("only what is kept") };
        let odd = match biases.get(id) {
            Some(values) => {
                let n = buffer.len() / dtype.bytes();
                values_as(&values[start..start + n], *dtype, buffer);
                values[start..start + n].iter().copied().find(|value| !value.is_finite()).map(f64::from)
            }
            None => gather.read(start, *dtype, buffer),
        };
        match odd {
            None => Ok::<(), Error>(()),
            Some(odd) => Err(epoch0_method::Error::NotFinite {
                method: codebook::ENTRY.info.id.to_owned(),
                site: net.param(*id).name.clone(),
                value: odd.to_string(),
            }
            .into()),
        }
    })?;
    let mut coded = Vec::new();
    for (nth, target) in plan.targets().iter().enumerate() {
        if options.cancel.is_some_and(|cancel| cancel.load(std::sync::atomic::Ordering::Relaxed)) {
            return Err(format::Error::Cancelled.into());
        }
        let fitted;
        let (tensor, error) = match learned {
            Some(learned) => (&learned.tensors[nth].0, learned.tensors[nth].1),
            None => {
                fitted = plan.tensor(target, tensors)?;
                (&fitted.0, fitted.1)
            }
        };
        let mut bytes = 0;
        for (name, _, _, part) in tensor.parts() {
            let at = pieces
                .iter()
                .position(|piece| matches!(piece, Piece::Part(own, of) if (*own, *of) == (nth, name)));
            writer.write_at(at.expect("a place for each part"), 0, &part)?;
            bytes += part.len() as u64;
            options.progress.into_iter().for_each(|progress| progress(part.len() as u64));
        }
        let param = net.param(target.param);
        coded.push(Coded {
            name: param.name.clone(),
            shape: param.shape.clone(),
            bits: target.bits,
            groups: target.groups.len(),
            by: match target.groups {
                Groups::One => "one",
                Groups::Runs(_) => "runs",
                Groups::Rows(_) => "rows",
                Groups::Each(_) => "each",
            },
            bytes,
            error,
        });
    }
    Ok(coded)
}

fn values_as(values: &[f32], dtype: Dtype, out: &mut [u8]) {
    epoch0_num::with_element!(dtype, T => {
        for (value, to) in values.iter().zip(out.chunks_exact_mut(size_of::<T>())) {
            let value: T = epoch0_num::Element::from_f64(f64::from(*value));
            to.copy_from_slice(bytemuck::bytes_of(&value));
        }
    });
}

/// A file of codes, opened.
fn notes(checkpoint: &Checkpoint) -> Result<Notes, Error> {
    let place = checkpoint.path().display().to_string();
    let hint = "name a folder that `epoch0 compress` wrote";
    let text =
        checkpoint.metadata().get(KEY).ok_or_else(|| unsupported(&place, "it holds no codes", hint))?;
    let notes: Notes = serde_json::from_str(text)
        .map_err(|error| unsupported(&place, &format!("`{KEY}`: {error}"), hint))?;
    if notes.version != VERSION {
        let why = format!("its codes have version {}, allowed {VERSION}", notes.version);
        return Err(unsupported(&place, &why, "take a newer epoch0").into());
    }
    Ok(notes)
}

/// A tensor of codes by its name, checked.
fn coded<'a>(
    checkpoint: &'a Checkpoint,
    name: &str,
    note: &Note,
) -> Result<(CodebookTensor<'a>, Dtype), Error> {
    let hint = "compress the network again";
    let wrong = |why: String| unsupported(name, &why, hint);
    let dtype: Dtype =
        note.dtype.parse().map_err(|error: epoch0_num::dtype::UnknownDtype| wrong(error.to_string()))?;
    if !matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16) {
        return Err(wrong(format!("it was of type {dtype}, allowed f64, f32, f16 and bf16")).into());
    }
    let part = |end: &str, wanted: Dtype| -> Result<Option<Tensor<'a>>, Error> {
        let Some(tensor) = checkpoint.get(&format!("{name}.{end}")) else { return Ok(None) };
        if tensor.dtype() != wanted {
            return Err(wrong(format!("its {end} are of type {}, allowed {wanted}", tensor.dtype())).into());
        }
        Ok(Some(tensor))
    };
    let need = |end: &str, wanted: Dtype| -> Result<Tensor<'a>, Error> {
        Ok(part(end, wanted)?.ok_or_else(|| wrong(format!("its {end} are missing")))?)
    };
    let books = need("books", Dtype::F16)?;
    let parts = Parts {
        codes: need("codes", Dtype::U8)?.bytes(),
        books: (books.shape(), books.bytes()),
        scales: part("scales", Dtype::F16)?.map(|tensor| tensor.bytes()),
        ends: part("groups", Dtype::U32)?.map(|tensor| tensor.bytes()),
        rows: part("rows", Dtype::U8)?.map(|tensor| tensor.bytes()),
    };
    Ok((CodebookTensor::read(name, (note.shape.clone(), note.dim, note.bits), parts)?, dtype))
}

/// Writes what codes stand for as an ordinary checkpoint, with its config and what stands beside it, in pieces.
///
/// # Errors
/// When the folder or file is not what [`compress`] writes, or it cannot be written.
pub fn decompress(from: &Path, out: &Path, options: &Options<'_>) -> Result<Decompressed, Error> {
    let file = if from.is_dir() { from.join(CODEBOOK_FILE) } else { from.to_owned() };
    let checkpoint = Checkpoint::open(&file)?;
    let notes = notes(&checkpoint)?;
    let mut specs = Vec::new();
    let mut sources: Vec<Result<CodebookTensor<'_>, Tensor<'_>>> = Vec::new();
    for (name, note) in &notes.tensors {
        let (tensor, dtype) = coded(&checkpoint, name, note)?;
        specs.push(TensorSpec::new(name, dtype, note.shape.clone()));
        sources.push(Ok(tensor));
    }
    let n_coded = specs.len();
    let ends = [".codes", ".books", ".scales", ".groups", ".rows"];
    let is_part = |name: &str| {
        ends.iter().any(|end| name.strip_suffix(end).is_some_and(|name| notes.tensors.contains_key(name)))
    };
    for tensor in checkpoint.tensors().filter(|tensor| !is_part(tensor.name())) {
        specs.push(TensorSpec::new(tensor.name(), tensor.dtype(), tensor.shape().to_vec()));
        sources.push(Err(tensor));
    }
    let dtypes: Vec<Dtype> = specs.iter().map(|spec| spec.dtype).collect();
    let mut metadata = pt_metadata();
    if let Some(spec) = checkpoint.metadata().get(receipt::NETWORK_KEY) {
        metadata.insert(receipt::NETWORK_KEY.to_owned(), spec.clone());
    }
    let n = specs.len();
    let layout = format::Plan::new(specs, &metadata, options.shard_size)?;
    let bytes = layout.total_bytes();
    let folder = NewFolder::begin(out, options.replace)?;
    let writer = Writer::create(folder.path(), layout)?;
    let watch = Watch { cancel: options.cancel, progress: options.progress };
    writer.fill(0..n, watch, |tensor, start, buffer| {
        match &sources[tensor] {
            Ok(coded) => coded.fill(start, dtypes[tensor], buffer),
            Err(kept) => {
                let begin = start * dtypes[tensor].bits() / 8;
                buffer.copy_from_slice(&kept.bytes()[begin..begin + buffer.len()]);
            }
        }
        Ok::<(), Error>(())
    })?;
    let files = writer.finish()?.files;
    let beside = if from.is_dir() { from } else { from.parent().unwrap_or(Path::new("")) };
    let config = beside.join("config.json");
    if config.is_file() {
        let text = std::fs::read(&config).map_err(format::Error::io("read", &config))?;
        folder.write("config.json", &text)?;
    }
    copy_beside(beside, &folder)?;
    folder.commit()?;
    Ok(Decompressed { coded: n_coded, kept: n - n_coded, bytes, out: out.display().to_string(), files })
}
