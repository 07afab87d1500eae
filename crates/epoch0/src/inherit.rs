//! Starts from other networks, streamed: what a child takes goes from the parent's files into its own, piece by piece.

use std::path::Path;
use std::time::Instant;

use epoch0_format::{self as format, Checkpoint, NewFolder, Tensor, Watch, Writer, pt_metadata};
use epoch0_inherit::{Gather, Inheritance, Inheritor};
use epoch0_init::METHODS;
use epoch0_init::start::{Plan, Recipe};
use epoch0_method::{Entry, Values};
use epoch0_net::{Network, ParamId};
use epoch0_num::Dtype;
use serde::{Deserialize, Serialize};

use crate::initialize::layout;
use crate::report::pattern;
use crate::weights::tensor_of;
use crate::{Described, Error, Options, Receipt, receipt};

/// What a start takes from another network, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// The parent, as it was named.
    pub from: String,
    /// Id of the method.
    pub method: String,
    /// Its parameters that were given.
    #[serde(default)]
    pub set: Values,
}

/// What a child was made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Descent {
    /// Name of the child.
    pub network: String,
    /// Its number of learned elements, and the parent's.
    pub n_params: [u64; 2],
    /// What it takes.
    #[serde(flatten)]
    pub lineage: Lineage,
    /// The seed.
    pub seed: u64,
    /// Element type.
    pub dtype: String,
    /// Bytes of the child's tensors.
    pub bytes: u64,
    /// Layers, stack by stack.
    pub layers: Vec<Layers>,
    /// Axes of which a part is taken.
    pub axes: Vec<Taken>,
    /// Parameters, those that differ in numbers only together.
    pub groups: Vec<Heirs>,
    /// Files that were copied as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copied: Vec<String>,
    /// The folder written; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
    /// Names of the files written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Seconds that it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// The parent's layers that a child's are made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layers {
    /// Name of the stack.
    pub stack: String,
    /// How many the parent has.
    pub of: usize,
    /// Which are taken.
    pub taken: Vec<usize>,
}

/// The part of a parent's axis that a child takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Taken {
    /// Name of the axis, with `*` where the names of axes differ that are taken alike.
    pub axis: String,
    /// The parent's size.
    pub of: usize,
    /// The places taken.
    pub places: Vec<usize>,
}

/// Parameters that are made alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Heirs {
    /// Name, with `*` where names differ.
    pub name: String,
    /// Number of parameters.
    pub n_params: usize,
    /// Shape of each.
    pub shape: Vec<usize>,
    /// Shape of the parent's; absent where it is drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<Vec<usize>>,
    /// `copied`, `selected`, or the law that it is drawn from.
    pub how: String,
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

/// The method of that id; one of another family is named as such.
fn find(name: &str) -> Result<&'static Entry<dyn Inheritor>, epoch0_method::Error> {
    epoch0_inherit::find(name).map_err(|unknown| match crate::method(name) {
        Ok(other) => epoch0_method::Error::Unsupported {
            method: other.info.id.to_owned(),
            what: "a start from another network".to_owned(),
            why: format!("it belongs to the family {}", other.info.family.name()),
            hint: "leave `from` out, or take a method of the family inherit (`epoch0 list`)".to_owned(),
        },
        Err(_) => unknown,
    })
}

/// A parent with its weights, and what a child takes of it.
pub(crate) struct Parent {
    net: Network,
    checkpoint: Checkpoint,
    inheritance: Inheritance,
}

impl Parent {
    /// Opens the parent and pairs it with the child.
    pub(crate) fn open(lineage: &Lineage, child: &Network, seed: u64) -> Result<Self, Error> {
        let method = (find(&lineage.method)?.build)(&lineage.set)?;
        let described = Described::open_with(&lineage.from, true)?;
        let Some(path) = &described.checkpoint else {
            return Err(epoch0_method::Error::Missing {
                method: lineage.method.clone(),
                input: format!("a checkpoint in `{}`", lineage.from),
                hint: "name a folder with a config.json and safetensors".to_owned(),
            }
            .into());
        };
        let inheritance = method.inherit(&described.net, child, seed)?;
        Ok(Self { checkpoint: Checkpoint::open(path)?, net: described.net, inheritance })
    }

    /// Where a child's parameter comes from; none where it is drawn.
    pub(crate) fn of(&self, child: ParamId) -> Result<Option<Gather<'_>>, Error> {
        let Some(inherited) = &self.inheritance.params[child.0 as usize] else { return Ok(None) };
        Ok(Some(Gather::new(inherited, tensor_of(&self.checkpoint, &self.net, inherited.from)?)))
    }

    fn tensor(&self, child: ParamId) -> Result<Option<Tensor<'_>>, Error> {
        let inherited = self.inheritance.params[child.0 as usize].as_ref();
        inherited.map(|inherited| tensor_of(&self.checkpoint, &self.net, inherited.from)).transpose()
    }
}

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
    let parent = Parent::open(lineage, &child.net, options.seed)?;
    let is_child =
        |at: &usize| parent.inheritance.params[*at].is_some() && child.net.params()[*at].dtype.is_float();
    let first = (0..child.net.params().len()).find(is_child);
    let theirs =
        first.map(|at| parent.tensor(ParamId(at as u32))).transpose()?.flatten().map(|tensor| tensor.dtype());
    if let Some(dtype) = dtype.or(theirs) {
        child.set_dtype(dtype);
    }
    check(&parent, &child.net, lineage)?;
    let plan = Plan::new(METHODS, &child.net, recipe, options.seed)?;
    let mut report = descent(&parent, &plan, lineage);
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
    report.copied = copy_beside(Path::new(&lineage.from), &folder)?;
    report.files = writer.finish()?.files;
    folder.commit()?;
    report.out = Some(out.display().to_string());
    report.seconds = Some(begun.elapsed().as_secs_f64());
    Ok(report)
}

/// What a parent's file holds has to be what its config says, in types that can be read.
fn check(parent: &Parent, child: &Network, lineage: &Lineage) -> Result<(), Error> {
    for (at, param) in child.params().iter().enumerate() {
        let Some(tensor) = parent.tensor(ParamId(at as u32))? else { continue };
        let is_number = |dtype: Dtype| matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16);
        if tensor.dtype() == param.dtype || (is_number(tensor.dtype()) && is_number(param.dtype)) {
            continue;
        }
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
    let gathers = all.clone().map(|at| parent.of(ParamId(at as u32))).collect::<Result<Vec<_>, _>>()?;
    let is_whole = |at: &usize| gathers[*at].is_none() && plan.single_law(ParamId(*at as u32)).is_none();
    let (wholes, pieces): (Vec<usize>, Vec<usize>) = all.partition(is_whole);
    let watch = Watch { cancel: options.cancel, progress: options.progress };
    writer.fill(pieces, watch, |tensor, start, buffer| {
        let param = ParamId(tensor as u32);
        let Some(gather) = &gathers[tensor] else {
            plan.draw_piece(param, start, buffer)?;
            return Ok::<(), Error>(());
        };
        match gather.read(start, net.param(param).dtype, buffer) {
            None => Ok(()),
            Some(odd) => Err(epoch0_method::Error::NotFinite {
                method: lineage.method.clone(),
                site: format!("{} of the parent", net.param(param).name),
                value: odd.to_string(),
            }
            .into()),
        }
    })?;
    for tensor in wholes {
        let (bytes, _) = plan.draw_whole(ParamId(tensor as u32))?;
        writer.write_at(tensor, 0, &bytes)?;
        if let Some(progress) = options.progress {
            progress(bytes.len() as u64);
        }
    }
    Ok(())
}

/// Copies tokenizers and the like; answers their names.
pub(crate) fn copy_beside(parent: &Path, folder: &NewFolder) -> Result<Vec<String>, Error> {
    let from = if parent.is_dir() { parent } else { parent.parent().unwrap_or(Path::new("")) };
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

fn descent(parent: &Parent, plan: &Plan<'_>, lineage: &Lineage) -> Descent {
    let net = plan.net();
    let mut groups: Vec<Heirs> = Vec::new();
    for (at, param) in net.params().iter().enumerate() {
        let inherited = parent.inheritance.params[at].as_ref();
        let of = inherited.map(|inherited| parent.net.param(inherited.from).shape.clone());
        let law = || plan.sites_of(ParamId(at as u32)).first().map(|planned| planned.law.to_string());
        let how = match &of {
            Some(of) if *of == param.shape => "copied".to_owned(),
            Some(_) => "selected".to_owned(),
            None => format!("drawn: {}", law().unwrap_or_default()),
        };
        let (name, shape) = (param.name.clone(), param.shape.clone());
        let like = groups.iter_mut().find_map(|group| {
            let is_like = group.shape == shape && group.of == of && group.how == how;
            pattern(&group.name, &name).filter(|_| is_like).map(|name| (group, name))
        });
        match like {
            Some((group, name)) => {
                group.name = name;
                group.n_params += 1;
            }
            None => groups.push(Heirs { name, n_params: 1, shape, of, how }),
        }
    }
    let mut axes: Vec<Taken> = Vec::new();
    for (axis, of, places) in &parent.inheritance.axes {
        if places.len() == *of {
            continue;
        }
        let like = axes.iter_mut().find_map(|taken| {
            let is_like = taken.of == *of && taken.places == **places;
            pattern(&taken.axis, axis).filter(|_| is_like).map(|name| (taken, name))
        });
        match like {
            Some((taken, name)) => taken.axis = name,
            None => axes.push(Taken { axis: axis.clone(), of: *of, places: places.to_vec() }),
        }
    }
    let layers = parent.inheritance.layers.iter().map(|(stack, of, taken)| Layers {
        stack: stack.clone(),
        of: *of,
        taken: taken.clone(),
    });
    let dtype = net.params().iter().map(|param| param.dtype).find(|dtype| dtype.is_float());
    Descent {
        network: net.name().to_owned(),
        n_params: [net.n_params(), parent.net.n_params()],
        lineage: lineage.clone(),
        seed: plan.seed(),
        dtype: dtype.map_or_else(String::new, |dtype| dtype.to_string()),
        bytes: net.bytes(),
        layers: layers.collect(),
        axes,
        groups,
        copied: Vec::new(),
        out: None,
        files: Vec::new(),
        seconds: None,
    }
}
