//! Adapters beside the maps of a checkpoint, as a folder that peft loads.

mod look;
mod verify;
mod write;

use std::path::{Path, PathBuf};
use std::time::Instant;

use epoch0_format::Checkpoint;
use epoch0_inherit::adapter::{self, Adapter, Config, Form, Looks, Map, Matrix, Target, targets};
use epoch0_method::Values;
use epoch0_net::{Network, NodeId};
use epoch0_num::{Dtype, Stream};
use serde::{Deserialize, Serialize};

use self::look::Seen;
use self::write::Folders;
use crate::receipt::DRAWS;
use crate::report::pattern;
use crate::weights::tensor_of;
use crate::{Described, Error, Options};

pub use verify::{VerifiedAdapter, bytes_to_verify_adapter, is_adapter, verify_adapter};

/// How adapters are started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adapting {
    /// Id of the method.
    pub method: String,
    /// Its parameters that were given.
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub set: Values,
    /// Targets, rank and scale.
    #[serde(flatten)]
    pub config: Config,
}

/// The receipt that a written adapter carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterReceipt {
    /// `epoch0`.
    pub tool: String,
    /// Version that made it.
    pub version: String,
    /// Definition of the draws.
    pub draws: u32,
    /// The network that it was made for, as it was named.
    pub base: String,
    /// How.
    pub adapter: Adapting,
    /// The seed.
    pub seed: u64,
    /// The data that were looked at, as they were named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// How many examples of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Adapted {
    /// The network.
    pub network: String,
    /// How.
    #[serde(flatten)]
    pub adapting: Adapting,
    /// The seed.
    pub seed: u64,
    /// What starts are to the maps beside them.
    pub form: Form,
    /// Learned elements of the network, and of the adapter.
    pub n_params: [u64; 2],
    /// Element type of the adapter.
    pub dtype: String,
    /// Maps that have one, those that differ in numbers only together.
    pub groups: Vec<Beside>,
    /// What a user should know.
    pub warnings: Vec<String>,
    /// Examples that were looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
    /// The folder written; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
    /// The folder of the changed network, where one was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_out: Option<String>,
    /// Seconds that it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// Maps whose adapters are alike.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Beside {
    /// Name of the module, with `*` where names differ.
    pub module: String,
    /// How many.
    pub n: usize,
    /// What they are.
    pub kind: adapter::Kind,
    /// Outputs and inputs.
    pub shape: [usize; 2],
    /// Rank in the files.
    pub rank: usize,
    /// Factor of what is added.
    pub scale: f64,
}

/// A map with the rank and factor of its adapter.
#[derive(Clone, Debug)]
struct Planned {
    target: Target,
    rank: usize,
    scale: f64,
}

/// Everything that a start needs.
struct Work<'a> {
    described: &'a Described,
    id: &'static str,
    method: Box<dyn Adapter>,
    net: &'a Network,
    checkpoint: Checkpoint,
    planned: Vec<Planned>,
    seed: u64,
    with_weights: bool,
}

/// Starts adapters and writes them as a folder that peft loads, with a receipt; without `out` it says what would be made. Where
/// the method changes the network beside them, that is written into a folder of the same name with `-base` at its end.
///
/// # Errors
/// When the network has no weights, the method does not fit a map, a weight is not finite, data are needed and not there, or the
/// folder cannot be written.
pub fn adapt(
    described: &Described,
    adapting: &Adapting,
    dtype: Dtype,
    out: Option<&Path>,
    options: &Options<'_>,
) -> Result<Adapted, Error> {
    let begun = Instant::now();
    let mut work = Work::open(described, adapting, options)?;
    let form = work.method.form();
    let mut warnings = Vec::new();
    let Some(out) = out else { return Ok(work.report(adapting, dtype, warnings)) };
    // What cannot be written is known before the work.
    let folders = Folders::begin(out, form, options)?;
    let seen = work.look(options)?;
    work.settle(&seen, &mut warnings)?;
    let note = AdapterReceipt {
        tool: "epoch0".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        draws: DRAWS,
        base: described.given.clone(),
        adapter: adapting.clone(),
        seed: options.seed,
        data: options.calibrating.data.map(|(spec, _)| spec.to_owned()),
        examples: seen.examples,
    };
    warnings.extend(folders.write(&work, &seen, &note, dtype, options)?);
    let mut report = work.report(adapting, dtype, warnings);
    report.examples = seen.examples;
    report.out = Some(out.display().to_string());
    report.base_out = form.changes_base().then(|| base_path(out).display().to_string());
    report.seconds = Some(begun.elapsed().as_secs_f64());
    Ok(report)
}

fn refuse(method: &str, what: &str, why: String, hint: &str) -> Error {
    epoch0_method::Error::Unsupported {
        method: method.to_owned(),
        what: what.to_owned(),
        why,
        hint: hint.to_owned(),
    }
    .into()
}

/// Where the changed network goes.
fn base_path(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push("-base");
    out.with_file_name(name)
}

impl<'a> Work<'a> {
    fn open(described: &'a Described, adapting: &Adapting, options: &Options<'_>) -> Result<Self, Error> {
        let entry = adapter::find(&adapting.method)?;
        let (id, net) = (entry.info.id, &described.net);
        let method = (entry.build)(&adapting.set)?;
        let missing = |input: String, hint: &str| {
            Error::from(epoch0_method::Error::Missing { method: id.to_owned(), input, hint: hint.to_owned() })
        };
        let Some(path) = &described.checkpoint else {
            let hint = "name a folder with a config.json and safetensors, or one that `epoch0 init` wrote";
            return Err(missing(format!("a checkpoint in `{}`", described.given), hint));
        };
        if adapting.config.dora && method.peft() != true {
            let why = format!("peft has no DoRA with `init_lora_weights: {}`, which it needs", method.peft());
            return Err(refuse(id, "DoRA", why, "leave `--dora` out, or take another method"));
        }
        let checkpoint = Checkpoint::open(path)?;
        let found = targets::find(id, net, &adapting.config.targets)?;
        let config = &adapting.config;
        config.check(id, &found.iter().map(|target| target.module.as_str()).collect::<Vec<_>>())?;
        let mut planned = Vec::with_capacity(found.len());
        for target in found {
            let (rank, most) = (config.rank_of(&target.module), target.rows.min(target.columns));
            if rank > most {
                return Err(epoch0_method::Error::Param {
                    method: id.to_owned(),
                    name: format!("rank of `{}`", target.module),
                    got: rank.to_string(),
                    allowed: format!(
                        "1 to {most}, as it has {} outputs and {} inputs",
                        target.rows, target.columns
                    ),
                }
                .into());
            }
            tensor_of(&checkpoint, net, target.param)?;
            planned.push(Planned { rank, scale: config.scale_of(&target.module), target });
        }
        let looks = method.looks_at();
        match (looks.needs_data(), options.calibrating.data) {
            (true, None) => {
                let hint = "name some with `--data` (`epoch0 data list`): the more like those of the task, the better";
                return Err(missing("data".to_owned(), hint));
            }
            (false, Some((spec, _))) => {
                let why = "it looks at no data".to_owned();
                return Err(refuse(
                    id,
                    &format!("data `{spec}`"),
                    why,
                    "leave them out, or take eva, corda or lora_ga",
                ));
            }
            _ => {}
        }
        let with_weights = looks != Looks::Shapes || config.dora;
        let work = Self { described, id, method, net, checkpoint, planned, seed: options.seed, with_weights };
        if work.method.form().changes_base() {
            work.planned.iter().try_for_each(|planned| work.check_alone(&planned.target))?;
        }
        Ok(work)
    }

    /// Those that have an adapter, with their places among all.
    fn kept(&self) -> impl Iterator<Item = (usize, &Planned)> {
        self.planned.iter().enumerate().filter(|(_, planned)| planned.rank > 0)
    }

    /// A weight that is read elsewhere too cannot be changed for one place.
    fn check_alone(&self, target: &Target) -> Result<(), Error> {
        let nodes = self.net.nodes().iter().enumerate();
        let mut readers = nodes.filter(|(_, node)| node.op.params().contains(&target.param));
        if readers.all(|(at, _)| target.nodes.contains(&NodeId(at as u32))) {
            return Ok(());
        }
        let why = "its weight is read at another place too, which would change with it".to_owned();
        Err(refuse(
            self.id,
            &target.module,
            why,
            "leave it out of the targets, or let the adapter give back what it adds",
        ))
    }

    /// A map's weight `[rows, columns]`.
    fn weight(&self, target: &Target) -> Result<Matrix, Error> {
        let tensor = tensor_of(&self.checkpoint, self.net, target.param)?;
        let mut values = vec![0.0; tensor.len()];
        tensor.read_f64(0, &mut values)?;
        if let Some(odd) = values.iter().find(|value| !value.is_finite()) {
            return Err(epoch0_method::Error::NotFinite {
                method: self.id.to_owned(),
                site: format!("{} of the base", tensor.name()),
                value: odd.to_string(),
            }
            .into());
        }
        Ok(oriented(target, values))
    }

    fn map<'m>(&self, planned: &'m Planned, weight: Option<&'m Matrix>) -> Map<'m> {
        let Planned { target, rank, scale } = planned;
        Map {
            name: &target.module,
            kind: target.kind,
            rows: target.rows,
            columns: target.columns,
            rank: *rank,
            scale: *scale,
            weight,
            is_transposed: target.is_transposed,
            met: None,
            gradient: None,
            stream: Stream::new(self.seed, &format!("adapter/{}", target.module)),
        }
    }

    /// Gives maps the ranks that the method wants of what they met; their factors stay.
    fn settle(&mut self, seen: &Seen, warnings: &mut Vec<String>) -> Result<(), Error> {
        if seen.digests.is_empty() {
            return Ok(());
        }
        let asked: Vec<usize> = self.planned.iter().map(|planned| planned.rank).collect();
        let ranks = self.method.ranks(&asked, &seen.digests.iter().collect::<Vec<_>>());
        self.planned.iter_mut().zip(&ranks).for_each(|(planned, rank)| planned.rank = *rank);
        let none: Vec<&str> = self
            .planned
            .iter()
            .filter(|planned| planned.rank == 0)
            .map(|planned| planned.target.module.as_str())
            .collect();
        if none.len() == self.planned.len() {
            return Err(refuse(
                self.id,
                self.net.name(),
                "no map has a direction".to_owned(),
                "take other data",
            ));
        }
        if !none.is_empty() {
            warnings.push(format!("{} got rank 0, and no adapter", none.join(", ")));
        }
        Ok(())
    }

    fn report(&self, adapting: &Adapting, dtype: Dtype, warnings: Vec<String>) -> Adapted {
        let times = self.method.form().times();
        let mut groups: Vec<Beside> = Vec::new();
        for Planned { target, rank, scale } in self.planned.iter().filter(|planned| planned.rank > 0) {
            let new = Beside {
                module: target.module.clone(),
                n: 1,
                kind: target.kind,
                shape: [target.rows, target.columns],
                rank: rank * times,
                scale: *scale,
            };
            let like = groups.iter_mut().find_map(|group| {
                let is_like = Beside { module: new.module.clone(), n: 1, ..group.clone() } == new;
                pattern(&group.module, &new.module).filter(|_| is_like).map(|module| (group, module))
            });
            match like {
                Some((group, module)) => {
                    group.module = module;
                    group.n += 1;
                }
                None => groups.push(new),
            }
        }
        let size = |group: &Beside| {
            let norms = if adapting.config.dora { group.shape[0] } else { 0 };
            (group.n * (group.rank * (group.shape[0] + group.shape[1]) + norms)) as u64
        };
        Adapted {
            network: self.net.name().to_owned(),
            adapting: adapting.clone(),
            seed: self.seed,
            form: self.method.form(),
            n_params: [self.net.n_params(), groups.iter().map(size).sum()],
            dtype: dtype.to_string(),
            groups,
            warnings,
            examples: None,
            out: None,
            base_out: None,
            seconds: None,
        }
    }
}

/// A weight's elements as `[rows, columns]`.
fn oriented(target: &Target, values: Vec<f64>) -> Matrix {
    if target.is_transposed {
        Matrix::new(target.columns, target.rows, values).transposed()
    } else {
        Matrix::new(target.rows, target.columns, values)
    }
}

/// Bytes of the weights beside which adapters stand: the total of what [`adapt`] reports to its progress.
///
/// # Errors
/// When targets are unknown.
pub fn bytes_to_adapt(described: &Described, adapting: &Adapting) -> Result<u64, Error> {
    let found = targets::find(&adapting.method, &described.net, &adapting.config.targets)?;
    Ok(found.iter().map(|target| described.net.param(target.param).bytes()).sum())
}
