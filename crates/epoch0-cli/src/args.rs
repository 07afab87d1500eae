//! Arguments.

mod adapter;
mod compress;
mod learngene;
mod merge;
mod train;

use std::path::PathBuf;

use clap::builder::Styles;
use clap::builder::styling::{AnsiColor, Effects};
use clap::{Args as ClapArgs, Parser, Subcommand};
use clap_complete::Shell;
use epoch0::examining::igb::Remedy;
use epoch0::format::ShardSize;
use epoch0::method::ClaimKind;
use epoch0::num::{Activation, Dtype};

pub(crate) use adapter::AdapterArgs;
pub(crate) use compress::{Compress, Decompress};
pub(crate) use learngene::{Distill, Export, Learngene, Stitch, Test, TrainPool};
pub(crate) use merge::{Average, Diff, Gossip};
pub(crate) use train::{Checking, Compare, OptimizerName, StartArgs, Train};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().effects(Effects::BOLD))
    .usage(AnsiColor::Yellow.on_default().effects(Effects::BOLD))
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// Everything about how a neural network starts.
#[derive(Debug, Parser)]
#[command(name = "epoch0", version, styles = STYLES, max_term_width = 100, after_help = AFTER)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print data as JSON instead of tables.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Number of threads; results do not depend on it.
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
}

const AFTER: &str = "\
Examples:
  epoch0 init examples/gpt2/config.json -o out       GPT-2 as transformers starts it
  epoch0 init config.json --with orthogonal --set gain=1.4 --seed 7 -o out
  epoch0 init resnet18 --with he_normal --set mode=fan_out --dry-run
  epoch0 init lenet --with lsuv --data mnist -o out  scaled layer by layer on a batch of data
  epoch0 init small.json --from big/ --with weight_selection -o small    a smaller network from a larger one
  epoch0 init llama/ --with pissa --rank 16 -o adapter   a LoRA adapter that peft loads
  epoch0 average a/ b/ --weights 0.3,0.7 -o soup     a mean of networks · epoch0 diff a/ b/
  epoch0 verify-weights out                          draw it again and compare every bit
  epoch0 train mlp:784-512-10 --data mnist --for 3ep --with he_normal -o run
  epoch0 compare lenet --with he_normal,xavier_normal --data mnist --seeds 5 --for 1ep
  epoch0 coord-check 'mlp:64-{w}-{w}-10' --with mup  whether features move alike at every width
  epoch0 list · epoch0 explain kumar · epoch0 gain gelu
  epoch0 eoc --activation tanh --depth 100           standard deviations on the edge of chaos

Exit codes: 0 done, 1 done and something does not hold, 2 could not do it, 130 interrupted.";

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Draw a start for a network and write it as a checkpoint.
    Init(Init),
    /// Train a network from a start, and write down what happens.
    Train(Box<Train>),
    /// Train several starts over several seeds and compare them.
    Compare(Box<Compare>),
    /// Train a network at several widths for a few steps: whether features move alike, with a verdict.
    CoordCheck(Checking),
    /// Write the base shapes (.bsh) of a network at two widths, as mup reads them.
    BaseShapes(Shapes),
    /// List methods, families of networks, the zoo or papers.
    List(List),
    /// Explain a method: idea, formulas, parameters, traps, references.
    Explain(Explain),
    /// Print the BibTeX of a method's papers, or of a paper by its number.
    Cite(Cite),
    /// Draw a checkpoint again from its receipt and compare, or say which preset it looks like.
    VerifyWeights(VerifyWeights),
    /// List what `--data` understands, or fetch a public data set.
    #[command(subcommand)]
    Data(Data),
    /// Examine a start before training: signals, gradients, weights, with a verdict.
    Examine(Examine),
    /// Run a network on arrays, and write its outputs and gradients.
    Eval(Eval),
    /// Make batch normalizations part of the linear maps and convolutions before them.
    FoldBn(FoldBn),
    /// Take batch normalizations out of an ONNX file, and put Fixup's single shifts and factors in.
    StripNorm(StripNorm),
    /// Make one network of several: a mean of their weights, aligned before and scaled after where asked.
    Average(Average),
    /// Say how two checkpoints relate, tensor by tensor: same, scaled, selected, permuted, drifted, drawn anew.
    Diff(Diff),
    /// Train networks that are averaged with their neighbours' in turn, and follow them.
    Gossip(Box<Gossip>),
    /// Distill a network into a pool of small ones, and stitch their blocks into networks of many sizes.
    #[command(subcommand)]
    Learngene(Box<Learngene>),
    /// Write a checkpoint as codes of a few bits and the codebooks that they point into.
    Compress(Compress),
    /// Write what codes stand for as an ordinary checkpoint.
    Decompress(Decompress),
    /// Run what a method's papers claim.
    Verify(Verify),
    /// Gains of an activation: torch's table, exact second moment, fixed point, first order.
    Gain(Gain),
    /// The edge of chaos of an activation: standard deviations, rates, phases.
    Eoc(Eoc),
    /// How unevenly an untrained classifier guesses: initial guessing bias over depth.
    Igb(Igb),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, or write those of all commands into a folder.
    Man {
        /// Folder to write into.
        folder: Option<PathBuf>,
    },
}

/// Arguments of `init`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Init {
    /// A config.json, a folder that holds one, an ONNX file, or a network of the zoo (resnet18, mlp:784-512-10).
    #[arg(value_name = "NET")]
    pub(crate) net: String,
    /// Folder to write, or, for a network of an ONNX file, such a file; it appears whole or not at all.
    #[arg(short, long, value_name = "PATH", required_unless_present = "dry_run")]
    pub(crate) out: Option<PathBuf>,
    /// Method for the parameters it is meant for; all others keep the base. With `--from`, a method that inherits. A method
    /// that starts adapters writes those of NET, which is a checkpoint.
    #[arg(long, value_name = "ID")]
    pub(crate) with: Option<String>,
    /// Parameter of the method.
    #[arg(long, value_name = "NAME=VALUE", requires = "with", value_parser = pair)]
    pub(crate) set: Vec<(String, String)>,
    /// A checkpoint to begin from, safetensors or torch's, with the method that says what is taken of it; the base draws what
    /// it has not. NET@FILE names the network of a file that does not say it. Once for each parent, where the method takes
    /// several.
    #[arg(long, value_name = "CHECKPOINT", requires = "with", conflicts_with_all = ["recipe", "base_shapes"])]
    pub(crate) from: Vec<String>,
    /// Base shapes of mup: the width at which learning rates were found, for a method with `base` (mup).
    #[arg(long, value_name = "FILE.bsh", requires = "with")]
    pub(crate) base_shapes: Option<PathBuf>,
    /// Preset for what nothing else covers [default: hf_default for configs, pytorch_default for the zoo; none with a
    /// recipe].
    #[arg(long, value_name = "ID")]
    pub(crate) base: Option<String>,
    /// Recipe in YAML: rules by name, role and place; later rules win.
    #[arg(long, value_name = "FILE", conflicts_with = "with")]
    pub(crate) recipe: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) calibrating: CalibratingArgs,
    #[command(flatten)]
    pub(crate) adapter: AdapterArgs,
    /// Seed: the same seed gives the same bits, whatever the machine, order, sharding and threads.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Element type [default: the config's, or f32].
    #[arg(long, value_name = "TYPE", value_parser = float_dtype)]
    pub(crate) dtype: Option<Dtype>,
    /// Size from which a checkpoint is cut into files: bytes, or with a unit (MB, GiB…).
    #[arg(long, value_name = "SIZE", default_value_t = ShardSize::default())]
    pub(crate) shard_size: ShardSize,
    /// Replace a checkpoint that stands there.
    #[arg(long)]
    pub(crate) force: bool,
    /// Say what would be drawn, and draw nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Accept keys of a config that its family does not have.
    #[arg(long)]
    pub(crate) any_key: bool,
}

/// What methods look at that calibrate.
#[derive(Debug, ClapArgs)]
pub(crate) struct CalibratingArgs {
    /// Data that methods look at which calibrate (lsuv) or score a parent (subclone): a name (`epoch0 data list`), a file or
    /// folder, or a generator; without any, random inputs that match the network are drawn.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: Option<String>,
    /// Number of examples that they look at [default: as many as fit, 8 to 1024; to score a parent 512].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) examples: Option<u32>,
    /// Exit with 1 if a layer is not calibrated to the method's tolerance.
    #[arg(long)]
    pub(crate) strict: bool,
}

/// A network with weights: those of a checkpoint, or drawn.
#[derive(Debug, ClapArgs)]
pub(crate) struct Start {
    /// A checkpoint folder or file, a config.json, an ONNX file, a network of the zoo (resnet18, mlp:784-512-10), or one with
    /// the weights of a file, resnet18@resnet18.pth.
    #[arg(value_name = "NET")]
    pub(crate) net: String,
    #[command(flatten)]
    pub(crate) drawn: StartArgs,
    /// Preset for what nothing else covers [default: hf_default for configs, pytorch_default otherwise].
    #[arg(long, value_name = "ID")]
    pub(crate) base: Option<String>,
    /// Seed of what is drawn.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Where to compute: cpu, or cuda and wgpu in builds that have them.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub(crate) device: String,
    /// Compute in double precision.
    #[arg(long)]
    pub(crate) double: bool,
}

/// What `data` does.
#[derive(Debug, Subcommand)]
pub(crate) enum Data {
    /// List data sets and generators.
    List,
    /// Fetch a public data set into the cache, checked by its sum.
    Fetch {
        /// The set.
        name: String,
        /// Folder of the cache [default: the user's].
        #[arg(long, value_name = "FOLDER")]
        cache: Option<PathBuf>,
    },
}

/// Arguments of `examine`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Examine {
    #[command(flatten)]
    pub(crate) start: Start,
    /// Examiners, in the order of their readings, or `all` [default: propagation,igb,parameters, which are quick, and
    /// filters where there are convolutions].
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Parameter of an examiner: `curvature.rate=0.1`.
    #[arg(long, value_name = "ID.NAME=VALUE", value_parser = pair)]
    pub(crate) param: Vec<(String, String)>,
    /// Data to examine with: a name (`epoch0 data list`), a file or folder, or a generator; without any, random inputs
    /// that match the network are drawn.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: Option<String>,
    /// Number of examples [default: as many as fit, 8 to 256].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) examples: Option<u32>,
    /// Write a report that needs nothing else: one HTML file.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Take guessing bias away and write the weights: `bias`, mean logits from the readout's bias, or `shift`, means of
    /// activations from the next layer's.
    #[arg(long, value_name = "REMEDY", requires = "out", value_parser = remedy)]
    pub(crate) fix: Option<Remedy>,
    /// Folder to write; it appears whole or not at all.
    #[arg(short, long, value_name = "FOLDER", requires = "fix")]
    pub(crate) out: Option<PathBuf>,
    /// Replace a checkpoint that stands there.
    #[arg(long, requires = "out")]
    pub(crate) force: bool,
}

/// Arguments of `eval`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Eval {
    #[command(flatten)]
    pub(crate) start: Start,
    /// Arrays by the names of the network's inputs, as NPZ.
    #[arg(long, value_name = "FILE")]
    pub(crate) inputs: PathBuf,
    /// File to write, NPZ: outputs by their names.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Also write the gradients of the sum of all outputs, as `grad/NAME` of parameters and inputs.
    #[arg(long)]
    pub(crate) grad: bool,
    /// Run as in training: batch normalization uses the batch's statistics.
    #[arg(long)]
    pub(crate) train: bool,
}

/// Arguments of `fold-bn`.
#[derive(Debug, ClapArgs)]
pub(crate) struct FoldBn {
    /// A checkpoint (folder, file of weights or index), or an ONNX file.
    #[arg(value_name = "CHECKPOINT|MODEL.onnx")]
    pub(crate) from: PathBuf,
    /// The network, where the checkpoint does not say: a config.json or a network of the zoo (resnet18).
    #[arg(long, value_name = "NET")]
    pub(crate) net: Option<String>,
    /// What to write: a folder, in which names and shapes stay and folded normalizations do nothing; or an ONNX file,
    /// without them.
    #[arg(short, long, value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// Replace what stands there.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Arguments of `strip-norm`.
#[derive(Debug, ClapArgs)]
pub(crate) struct StripNorm {
    /// A model with residual branches.
    #[arg(value_name = "MODEL.onnx")]
    pub(crate) from: PathBuf,
    /// The file to write; `epoch0 init` draws its start, `--with fixup` for one.
    #[arg(short, long, value_name = "OUT.onnx")]
    pub(crate) out: PathBuf,
    /// Replace what stands there.
    #[arg(long)]
    pub(crate) force: bool,
}

/// Arguments of `base-shapes`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Shapes {
    /// The network at the width at which learning rates were found.
    #[arg(value_name = "BASE")]
    pub(crate) base: String,
    /// The same at any other width: sizes that differ are widths.
    #[arg(value_name = "WIDER")]
    pub(crate) wider: String,
    /// File to write [default: standard output].
    #[arg(short, long, value_name = "FILE.bsh")]
    pub(crate) out: Option<PathBuf>,
}

/// Arguments of `list`.
#[derive(Debug, ClapArgs)]
pub(crate) struct List {
    /// What to list.
    #[arg(value_enum, default_value_t)]
    pub(crate) what: Listed,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Listed {
    /// Methods.
    #[default]
    Methods,
    /// Families of Hugging Face configs.
    Families,
    /// Networks by name.
    Zoo,
    /// The papers the project grew out of.
    Papers,
}

/// Arguments of `explain`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Explain {
    /// The method.
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Print the method's source file.
    #[arg(long)]
    pub(crate) source: bool,
}

/// Arguments of `cite`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Cite {
    /// A method, a paper's number, or its key.
    #[arg(value_name = "ID|PAPER")]
    pub(crate) what: String,
}

/// Arguments of `verify-weights`.
#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyWeights {
    /// A checkpoint: a folder, a file of weights (safetensors, torch's) or an index.
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) path: PathBuf,
}

/// Arguments of `verify`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Verify {
    /// A method, a paper's number, or `all`.
    #[arg(value_name = "ID|PAPER|all")]
    pub(crate) what: String,
    /// Only claims whose name contains this.
    #[arg(long, value_name = "TEXT")]
    pub(crate) claim: Option<String>,
    /// Only laws, which are quick, or only effects, which train.
    #[arg(long, value_enum)]
    pub(crate) kind: Option<Kind>,
    /// Keep what was found in a file for each paper in this folder, claim by claim; a later run takes an earlier one's
    /// place.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) record: Option<PathBuf>,
}

/// Kinds of claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// An identity or closed form.
    Law,
    /// An effect on training.
    Effect,
}

impl From<Kind> for ClaimKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Law => Self::Law,
            Kind::Effect => Self::Effect,
        }
    }
}

/// Arguments of `gain`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Gain {
    /// An activation: relu, gelu, leaky_relu(0.1), expr:x*tanh(x)…
    #[arg(value_name = "ACTIVATION", value_parser = activation, required_unless_present_any = ["named", "maxout"])]
    pub(crate) activation: Option<Activation>,
    /// The same, by its name.
    #[arg(long = "activation", id = "named", value_name = "ACTIVATION", value_parser = activation, conflicts_with = "activation")]
    pub(crate) named: Option<Activation>,
    /// Instead of an activation: maxout units, the largest of so many maps.
    #[arg(long, value_name = "RANK", conflicts_with_all = ["activation", "named", "sigma"], value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) maxout: Option<u32>,
    /// Side of the square window of max-pooling behind maxout units.
    #[arg(long, value_name = "SIDE", requires = "maxout", conflicts_with_all = ["activation", "named"], value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) pool: Option<u32>,
    /// Standard deviation of what the activation is given.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) sigma: f64,
    /// Instead of gains: the rational function that is closest to the activation, in both forms of its denominator.
    #[arg(long, conflicts_with_all = ["maxout", "sigma"])]
    pub(crate) rational: bool,
    /// Where the rational function is fitted.
    #[arg(long, value_name = "LOW,HIGH", requires = "rational", value_delimiter = ',', default_values_t = [-3.0, 3.0], allow_negative_numbers = true)]
    pub(crate) range: Vec<f64>,
}

impl Gain {
    /// The activation, whichever way it was given.
    pub(crate) fn of(&self) -> Option<&Activation> {
        self.activation.as_ref().or(self.named.as_ref())
    }
}

/// Arguments of `eoc`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Eoc {
    /// An activation: tanh, gelu, leaky_relu(0.1), expr:x*tanh(x)…
    #[arg(long, value_name = "ACTIVATION", value_parser = activation)]
    pub(crate) activation: Activation,
    /// The point with this variance of pre-activations [default: 1].
    #[arg(long, group = "point")]
    pub(crate) q: Option<f64>,
    /// Share of units that are 0: solves the threshold of shifted_relu, soft_threshold, crelu or cst, at q.
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["sigma_b", "depth", "curve", "phase"])]
    pub(crate) sparsity: Option<f64>,
    /// Slope of the variance map at q, below 1: solves the bound of crelu or cst.
    #[arg(long, value_name = "SLOPE", requires = "sparsity")]
    pub(crate) slope: Option<f64>,
    /// The point with this standard deviation of biases.
    #[arg(long, group = "point")]
    pub(crate) sigma_b: Option<f64>,
    /// The point whose rate suits so many layers.
    #[arg(long, group = "point", value_name = "LAYERS")]
    pub(crate) depth: Option<usize>,
    /// Points along the edge.
    #[arg(long, group = "point")]
    pub(crate) curve: bool,
    /// Number of points of the curve.
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub(crate) points: u16,
    /// Print the curve as CSV.
    #[arg(long, requires = "curve", conflicts_with = "json")]
    pub(crate) csv: bool,
    /// The phase of these standard deviations, of weights times √fan_in and of biases.
    #[arg(long, group = "point", num_args = 2, value_names = ["SIGMA_W", "SIGMA_B"])]
    pub(crate) phase: Option<Vec<f64>>,
    /// Variance of the first layer's pre-activations, from which the phase is looked for.
    #[arg(long, value_name = "Q", default_value_t = 1.0, requires = "phase")]
    pub(crate) start: f64,
}

/// Arguments of `igb`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Igb {
    /// An activation: relu, gelu, leaky_relu(0.1), expr:x*tanh(x)…
    #[arg(long, value_name = "ACTIVATION", value_parser = activation)]
    pub(crate) activation: Activation,
    /// Number of hidden layers.
    #[arg(long, value_name = "LAYERS", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) depth: u16,
    /// Positions of the max-pooling in each layer; 4 is 2 × 2.
    #[arg(long, value_name = "POSITIONS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) pool: u32,
    /// Mean cosine of two inputs: 0 for centred data.
    #[arg(long, value_name = "RHO", default_value_t = 0.0)]
    pub(crate) input_rho: f64,
    /// Standard deviation of weights times √fan_in.
    #[arg(long, default_value_t = std::f64::consts::SQRT_2)]
    pub(crate) sigma_w: f64,
    /// Standard deviation of biases.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) sigma_b: f64,
    /// Number of classes.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..))]
    pub(crate) classes: u16,
    /// Draws for the share of the largest of more than two classes.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub(crate) draws: u32,
    /// Seed of those draws.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

fn activation(text: &str) -> Result<Activation, String> {
    text.parse().map_err(|error: epoch0::num::activation::ActivationError| error.to_string())
}

fn remedy(text: &str) -> Result<Remedy, String> {
    match text {
        "bias" => Ok(Remedy::Bias),
        "shift" => Ok(Remedy::Shift),
        "center" => Err("inputs are centred in the data, not in the weights: normalize them".to_owned()),
        _ => Err("allowed bias and shift".to_owned()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a parameter is given as NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn float_dtype(text: &str) -> Result<Dtype, String> {
    let dtype: Dtype = text.parse().map_err(|error: epoch0::num::dtype::UnknownDtype| error.to_string())?;
    match dtype {
        Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16 => Ok(dtype),
        other => Err(format!("weights cannot be drawn as {other}, allowed f64, f32, f16 and bf16")),
    }
}
