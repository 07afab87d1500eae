//! Starts from other networks, streamed: what a child takes goes from the parent's files into its own, piece by piece.

mod descent;
mod parent;
mod proof;

use std::path::Path;
use std::time::Instant;

use epoch0_format::read::folder_of;
use epoch0_format::{self as format, NewFolder, Watch, Writer, pt_metadata};
use epoch0_init::METHODS;
use epoch0_init::start::{Plan, Recipe};
use epoch0_method::Values;
use epoch0_net::{Network, ParamId};
use epoch0_num::Dtype;
use serde::{Deserialize, Serialize};

pub use descent::{Descent, Heirs, Layers, Taken};
pub(crate) use parent::{Heir, Parent, Tensors};
pub use proof::Proof;

use crate::initialize::layout;
use crate::{Described, Error, Options, Receipt, receipt};

/// What a start takes from another network, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The parent, as it was named.
    pub from: String,
    /// Further parents, as they were named, where the method takes several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Id of the method.
    pub method: String,
    /// Its parameters that were given.
    #[serde(default)]
    pub set: Values,
    /// The data whose examples the parent is run on, where the method looks at that; inputs drawn to match it without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// How many examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
}

impl Lineage {
    /// All parents, as they were named.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.from).chain(&self.also).map(String::as_str)
    }

    /// All parents for people.
    pub fn named(&self) -> String {
        self.parents().collect::<Vec<_>>().join(" and ")
    }
}

/// What stands beside a checkpoint and goes with it.
const BESIDE: [&str; 15] = [
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "image_processor_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
];

/// Makes a child of a parent and writes it as a checkpoint folder, with what stands beside the parent's (tokenizers) and a
/// receipt; without `out` it says what would be made. Parameters that the parent has not are drawn by `recipe`. Weights are
/// of the parent's type, unless `dtype` says another.
///
/// # Errors
/// When the parent cannot be read, has not what the child needs or holds a number that is not finite, and when the files cannot
/// be written.
pub fn inherit(
    child: &mut Described,
    lineage: &Lineage,
    recipe: &Recipe,
    dtype: Option<Dtype>,
    out: Option<&Path>,
    options: &Options<'_>,
) -> Result<Descent, Error> {
    let begun = Instant::now();
    let parent = Parent::open(lineage, &child.net, recipe, options.seed)?;
    let mut warnings = Vec::new();
    if let Some(epsilon) = parent.inheritance.epsilon
        && !child.set_norm_epsilon(epsilon)?
    {
        let own = child.net.norm_epsilon().unwrap_or_default();
        warnings.push(format!(
            "normalizations of {} add {own} to the variance, and would have to add {epsilon} for answers to stay exactly",
            child.net.name()
        ));
    }
    let is_child = |at: &usize| {
        parent.inheritance.params[*at].all_taken().next().is_some()
            && child.net.params()[*at].dtype.is_float()
    };
    let first = (0..child.net.params().len()).find(is_child);
    let theirs = first.map(|at| parent.tensors(ParamId(at as u32))).transpose()?;
    let theirs = theirs.and_then(|tensors| tensors.first().map(format::Tensor::dtype));
    if let Some(dtype) = dtype.or(theirs) {
        child.set_dtype(dtype);
    }
    check(&parent, &child.net, lineage)?;
    let plan = Plan::new(METHODS, &child.net, recipe, options.seed)?;
    let mut report = descent::descent(&parent, &plan, lineage);
    report.warnings = parent.inheritance.notes.iter().cloned().chain(warnings).collect();
    let Some(out) = out else { return Ok(report) };
    let mut note = Receipt::new(&child.net, recipe, options.seed, plan.digest());
    note.lineage = Some(lineage.clone());
    let mut metadata = pt_metadata();
    metadata.insert(receipt::KEY.to_owned(), note.to_json());
    let layout = layout(&plan, &metadata, options.shard_size)?;
    let folder = NewFolder::begin(out, options.replace)?;
    let writer = Writer::create(folder.path(), layout)?;
    write(&parent, &plan, &writer, lineage, options)?;
    if let Some(text) = child.config_text() {
        folder.write("config.json", text.as_bytes())?;
    }
    report.copied = copy_beside(&parent.place, &folder)?;
    report.files = writer.finish()?.files;
    folder.commit()?;
    if parent.inheritance.preserves {
        report.proof = proof::proof(&parent, plan.net(), out, options.seed)?;
    }
    report.out = Some(out.display().to_string());
    report.seconds = Some(begun.elapsed().as_secs_f64());
    Ok(report)
}

/// What a parent's file holds has to be what its config says, in types that can be read.
fn check(parent: &Parent, child: &Network, lineage: &Lineage) -> Result<(), Error> {
    for (at, param) in child.params().iter().enumerate() {
        let is_number = |dtype: Dtype| matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16);
        let is_wrong = |tensor: &format::Tensor<'_>| {
            tensor.dtype() != param.dtype && !(is_number(tensor.dtype()) && is_number(param.dtype))
        };
        let tensors = parent.tensors(ParamId(at as u32))?;
        let Some(tensor) = tensors.iter().find(|tensor| is_wrong(tensor)) else { continue };
        return Err(epoch0_method::Error::Unsupported {
            method: lineage.method.clone(),
            what: tensor.name().to_owned(),
            why: format!("it is of type {} in the parent, and {} in the child", tensor.dtype(), param.dtype),
            hint: "take a parent in f64, f32, f16 or bf16".to_owned(),
        }
        .into());
    }
    Ok(())
}

fn write(
    parent: &Parent,
    plan: &Plan<'_>,
    writer: &Writer,
    lineage: &Lineage,
    options: &Options<'_>,
) -> Result<(), Error> {
    let net = plan.net();
    let all = 0..net.params().len();
    let heirs = all.clone().map(|at| parent.of(ParamId(at as u32))).collect::<Result<Vec<_>, _>>()?;
    let is_whole = |at: &usize| heirs[*at].is_drawn() && plan.single_law(ParamId(*at as u32)).is_none();
    let (wholes, pieces): (Vec<usize>, Vec<usize>) = all.partition(is_whole);
    let take = |tensor: usize, start: usize, buffer: &mut [u8]| {
        let param = net.param(ParamId(tensor as u32));
        match heirs[tensor].read(start, param.dtype, buffer) {
            None => Ok(()),
            Some(odd) => Err(epoch0_method::Error::NotFinite {
                method: lineage.method.clone(),
                site: format!("{} of the parent", param.name),
                value: odd.to_string(),
            }),
        }
    };
    let watch = Watch { cancel: options.cancel, progress: options.progress };
    writer.fill(pieces, watch, |tensor, start, buffer| {
        if heirs[tensor].is_drawn() {
            plan.draw_piece(ParamId(tensor as u32), start, buffer)?;
        }
        Ok::<(), Error>(take(tensor, start, buffer)?)
    })?;
    for tensor in wholes {
        let (mut bytes, _) = plan.draw_whole(ParamId(tensor as u32))?;
        take(tensor, 0, &mut bytes)?;
        writer.write_at(tensor, 0, &bytes)?;
        if let Some(progress) = options.progress {
            progress(bytes.len() as u64);
        }
    }
    Ok(())
}

/// Copies tokenizers and the like; answers their names.
pub(crate) fn copy_beside(parent: &Path, folder: &NewFolder) -> Result<Vec<String>, Error> {
    let from = folder_of(parent);
    let mut copied = Vec::new();
    for name in BESIDE.into_iter().chain(["vocab.txt"]) {
        let path = from.join(name);
        if !path.is_file() {
            continue;
        }
        let bytes = std::fs::read(&path).map_err(|error| format::Error::io("read", &path)(error))?;
        folder.write(name, &bytes)?;
        copied.push(name.to_owned());
    }
    Ok(copied)
}
