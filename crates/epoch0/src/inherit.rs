//! Starts from other networks, streamed: what a child takes goes from the parent's files into its own, piece by piece.

use std::path::Path;
use std::time::Instant;

use epoch0_data::Dataset;
use epoch0_engine::{Device, Mode, Precision, Value, Weights, run};
use epoch0_examine::Probe;
use epoch0_format::{self as format, Checkpoint, NewFolder, Tensor, Watch, Writer, pt_metadata};
use epoch0_inherit::{Gather, Inheritance, Inherited, Inheritor, Kin, Layer, Needs, Origin, Stored, is_new};
use epoch0_init::METHODS;
use epoch0_init::start::{Plan, Recipe};
use epoch0_method::reading::ProbeSummary;
use epoch0_method::{Entry, Values};
use epoch0_net::{Network, ParamId};
use epoch0_num::{Dtype, Element, with_element};
use serde::{Deserialize, Serialize};

use crate::examine::{data_probe, matched_probe};
use crate::initialize::layout;
use crate::report::pattern;
use crate::weights::{read_weights, tensor_of};
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
    /// The data whose examples the parent is run on, where the method looks at that; inputs drawn to match it without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// How many examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
}

/// Examples that a parent is run on, where no other number is given.
const SCORED: usize = 512;

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
    /// What the parent was run on, where the method looks at what it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<ProbeSummary>,
    /// Whether the method keeps the parent's answers.
    pub preserves: bool,
    /// What that came to; absent where it was not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// What normalizations add to the variance, where that had to become another number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
    /// What to know of the result.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
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
    /// Which of them each of the child's is made of; none where it is drawn.
    pub taken: Vec<Option<usize>>,
    /// The child's layers that add nothing at the start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<usize>,
}

/// How far a child's answers are from its parent's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proof {
    /// The largest difference, as a share of the parent's largest answer.
    pub deviation: f64,
    /// What rounding to the child's type allows.
    pub tolerance: f64,
    /// Whether it is within that.
    pub holds: bool,
    /// What both were asked.
    pub asked: ProbeSummary,
}

/// The part of a parent's axis that a child takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Taken {
    /// Name of the axis, with `*` where the names of axes differ that are taken alike.
    pub axis: String,
    /// The parent's size.
    pub of: usize,
    /// Which of them each of the child's is; none where it is new.
    pub places: Vec<Option<usize>>,
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
    /// `copied`, `selected` or `grown`, with `scaled` where numbers change; a number; or the law that it is drawn from.
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
    /// What the parent was run on.
    asked: Option<ProbeSummary>,
}

/// A parent's weights in its files.
struct Tensors<'a> {
    checkpoint: &'a Checkpoint,
    net: &'a Network,
}

impl epoch0_inherit::Tensors for Tensors<'_> {
    fn tensor(&self, param: ParamId) -> Result<Stored<'_>, epoch0_method::Error> {
        tensor_of(self.checkpoint, self.net, param).map(Stored::from).map_err(|error| {
            epoch0_method::Error::Unsupported {
                method: "init".to_owned(),
                what: self.net.param(param).name.clone(),
                why: error.to_string(),
                hint: "take a parent that has all its weights".to_owned(),
            }
        })
    }
}

/// The parent's weights in memory, and examples to run it on.
fn running(lineage: &Lineage, net: &Network, path: &Path, seed: u64) -> Result<(Weights, Probe), Error> {
    let (precision, device) = (Precision::Single, Device::cpu());
    let weights = read_weights(net, path, precision, &device)?;
    let examples = Some(lineage.examples.unwrap_or(SCORED));
    let probe = match &lineage.data {
        Some(spec) => {
            let data = Dataset::open(spec)?;
            data_probe(net, &weights, &data, examples, seed, precision, &device)?
        }
        None => matched_probe(net, &weights, examples, seed, precision, &device)?,
    };
    Ok((weights, probe))
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
        let (net, checkpoint) = (&described.net, Checkpoint::open(path)?);
        let stored = Tensors { checkpoint: &checkpoint, net };
        let running = match method.needs() {
            Needs::Activations => Some(running(lineage, net, path, seed)?),
            Needs::Nothing | Needs::Weights => None,
        };
        let kin = Kin {
            parent: net,
            child,
            seed,
            tensors: (method.needs() == Needs::Weights).then_some(&stored),
            running: running.as_ref().map(|(weights, probe)| (weights, &probe.batch)),
        };
        let inheritance = method.inherit(&kin)?;
        let asked = running.map(|(_, probe)| probe.summary);
        Ok(Self { checkpoint, net: described.net, inheritance, asked })
    }

    /// Where a child's parameter comes from.
    pub(crate) fn of(&self, child: ParamId) -> Result<Heir<'_>, Error> {
        Ok(match &self.inheritance.params[child.0 as usize] {
            Origin::Drawn => Heir::Drawn,
            Origin::Constant(value) => Heir::Constant(*value),
            Origin::Taken(inherited) => {
                let tensor = tensor_of(&self.checkpoint, &self.net, inherited.from)?;
                Heir::Taken { gather: Gather::new(inherited, tensor), is_drawn: inherited.draws() }
            }
        })
    }

    fn tensor(&self, child: ParamId) -> Result<Option<Tensor<'_>>, Error> {
        let inherited = self.inheritance.params[child.0 as usize].taken();
        inherited.map(|inherited| tensor_of(&self.checkpoint, &self.net, inherited.from)).transpose()
    }
}

/// A child's parameter.
pub(crate) enum Heir<'a> {
    Drawn,
    Constant(f64),
    /// With whether some of it is drawn.
    Taken {
        gather: Gather<'a>,
        is_drawn: bool,
    },
}

impl Heir<'_> {
    /// Whether some of it is drawn.
    pub(crate) fn is_drawn(&self) -> bool {
        matches!(self, Self::Drawn | Self::Taken { is_drawn: true, .. })
    }

    /// Fills `out` with the elements from `start` on but for those that are drawn, which stay; answers the first that is not
    /// finite.
    pub(crate) fn read(&self, start: usize, dtype: Dtype, out: &mut [u8]) -> Option<f64> {
        match self {
            Self::Drawn => None,
            Self::Taken { gather, .. } => gather.read(start, dtype, out),
            Self::Constant(value) => {
                with_element!(dtype, T => {
                    let value = T::from_f64(*value);
                    out.chunks_exact_mut(size_of::<T>()).for_each(|to| to.copy_from_slice(bytemuck::bytes_of(&value)));
                });
                None
            }
        }
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
        parent.inheritance.params[*at].taken().is_some() && child.net.params()[*at].dtype.is_float()
    };
    let first = (0..child.net.params().len()).find(is_child);
    let theirs =
        first.map(|at| parent.tensor(ParamId(at as u32))).transpose()?.flatten().map(|tensor| tensor.dtype());
    if let Some(dtype) = dtype.or(theirs) {
        child.set_dtype(dtype);
    }
    check(&parent, &child.net, lineage)?;
    let plan = Plan::new(METHODS, &child.net, recipe, options.seed)?;
    let mut report = descent(&parent, &plan, lineage);
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
    report.copied = copy_beside(Path::new(&lineage.from), &folder)?;
    report.files = writer.finish()?.files;
    folder.commit()?;
    if parent.inheritance.preserves {
        report.proof = proof(&parent.net, lineage, plan.net(), out, options.seed)?;
    }
    report.out = Some(out.display().to_string());
    report.seconds = Some(begun.elapsed().as_secs_f64());
    Ok(report)
}

/// Parameters of both networks up to which they are run to see whether answers stay; in double precision up to the first number.
const MOST: [u64; 2] = [200_000_000, 1_500_000_000];
/// Examples that both are asked.
const EXAMPLES: usize = 2;

/// How far the answers of what was written are from the parent's; none where both are too large to be run.
fn proof(
    parent: &Network,
    lineage: &Lineage,
    child: &Network,
    out: &Path,
    seed: u64,
) -> Result<Option<Proof>, Error> {
    let n = parent.n_params() + child.n_params();
    if n > MOST[1] || parent.graph_inputs().is_some() {
        return Ok(None);
    }
    let precision = if n > MOST[0] { Precision::Single } else { Precision::Double };
    let device = Device::cpu();
    let probe = Probe::matched(parent, EXAMPLES, seed, precision, &device)?;
    let answers = |net: &Network, path: &Path| -> Result<Vec<f64>, Error> {
        let weights = read_weights(net, path, precision, &device)?;
        let run = run(net, &weights.constants(), &probe.inputs, Mode::Eval, &mut |_| Ok(()))?;
        Ok(run.outputs.iter().filter_map(Value::real).flat_map(|var| var.value().to_f64()).collect())
    };
    let (wanted, found) = (answers(parent, Path::new(&lineage.from))?, answers(child, out)?);
    let largest = wanted.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    let off = wanted.iter().zip(&found).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()));
    let deviation =
        if wanted.len() == found.len() { off / largest.max(f64::MIN_POSITIVE) } else { f64::INFINITY };
    let stored = child.params().iter().map(|param| param.dtype).filter(|dtype| dtype.is_float());
    let tolerance = match stored.min_by_key(|dtype| dtype.bytes()) {
        Some(Dtype::BF16) => 3e-2,
        Some(Dtype::F16) => 5e-3,
        Some(Dtype::F64) if precision == Precision::Double => 1e-10,
        _ => 1e-5,
    };
    Ok(Some(Proof { deviation, tolerance, holds: deviation <= tolerance, asked: probe.summary }))
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
fn copy_beside(parent: &Path, folder: &NewFolder) -> Result<Vec<String>, Error> {
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
        let origin = &parent.inheritance.params[at];
        let of = origin.taken().map(|inherited| parent.net.param(inherited.from).shape.clone());
        let law = || plan.sites_of(ParamId(at as u32)).first().map(|planned| planned.law.to_string());
        let how = match origin {
            Origin::Drawn => format!("drawn: {}", law().unwrap_or_default()),
            Origin::Constant(value) => value.to_string(),
            Origin::Taken(inherited) => how(inherited, of.as_deref().unwrap_or_default()),
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
        if places.iter().copied().eq(0..*of) {
            continue;
        }
        let places: Vec<Option<usize>> =
            places.iter().map(|&place| (!is_new(place)).then_some(place)).collect();
        let like = axes.iter_mut().find_map(|taken| {
            let is_like = taken.of == *of && taken.places == places;
            pattern(&taken.axis, axis).filter(|_| is_like).map(|name| (taken, name))
        });
        match like {
            Some((taken, name)) => taken.axis = name,
            None => axes.push(Taken { axis: axis.clone(), of: *of, places }),
        }
    }
    let layers = parent.inheritance.layers.iter().map(|(stack, of, taken)| Layers {
        stack: stack.clone(),
        of: *of,
        taken: taken.iter().map(|layer| layer.of()).collect(),
        silent: (0..taken.len()).filter(|&nth| !matches!(taken[nth], Layer::Of(_))).collect(),
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
        asked: parent.asked.clone(),
        preserves: parent.inheritance.preserves,
        proof: None,
        epsilon: parent.inheritance.epsilon,
        warnings: Vec::new(),
        copied: Vec::new(),
        out: None,
        files: Vec::new(),
        seconds: None,
    }
}

/// What became of a parameter.
fn how(inherited: &Inherited, of: &[usize]) -> String {
    let is_whole = inherited.dims.iter().zip(of).all(|(dim, &size)| dim.places.iter().copied().eq(0..size));
    let is_larger = inherited.dims.iter().zip(of).any(|(dim, &size)| dim.places.len() > size);
    let mut how = match (is_whole, is_larger) {
        (true, _) => "copied",
        (_, true) => "grown",
        _ => "selected",
    }
    .to_owned();
    if inherited.is_scaled() {
        how += ", scaled";
    }
    how
}
