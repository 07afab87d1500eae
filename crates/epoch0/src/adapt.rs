//! Adapters beside the maps of a checkpoint, as a folder that peft loads.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Instant;

use epoch0_data::Dataset;
use epoch0_data::prepare::order;
use epoch0_engine::{Device, Mode, Order, Precision, Value, Var, Weights, run, vjp};
use epoch0_format::{self as format, Checkpoint, NewFolder, Plan, TensorSpec, Writer, pt_metadata};
use epoch0_inherit::adapter::peft::{self, About, Part};
use epoch0_inherit::adapter::{
    self, Adapter, Config, Digest, Form, Looks, Map, Matrix, Moments, Target, targets,
};
use epoch0_method::Values;
use epoch0_net::{Network, NodeId, ParamId, Source, ValueId};
use epoch0_num::{Dtype, Element, Stream, with_element};
use epoch0_train::Feed;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::inherit::copy_beside;
use crate::receipt::{self, DRAWS};
use crate::report::pattern;
use crate::weights::tensor_of;
use crate::{Described, Error, Options, data_probe, read_weights};

/// Examples of which gradients are added up, where no number is given.
const GRADIENT_EXAMPLES: usize = 64;
/// Examples of which gradients are taken at a time.
const AT_A_TIME: usize = 8;

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

/// What data said.
#[derive(Default)]
struct Seen {
    digests: Vec<Digest>,
    gradients: Vec<Matrix>,
    examples: Option<usize>,
}

/// Everything that a start needs.
struct Work<'a> {
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
    if let Some(out) = out {
        // What cannot be written is known before the work.
        let folders = Folders::begin(out, form, options)?;
        let seen = work.look(described, options)?;
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
        folders.write(described, &work, &seen, adapting, dtype, &note, options, &mut warnings)?;
        let mut report = work.report(adapting, dtype, warnings);
        report.examples = seen.examples;
        report.out = Some(out.display().to_string());
        report.base_out = form.changes_base().then(|| base_path(out).display().to_string());
        report.seconds = Some(begun.elapsed().as_secs_f64());
        return Ok(report);
    }
    Ok(work.report(adapting, dtype, warnings))
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
        config.check(id, found.iter().map(|target| target.module.as_str()))?;
        let mut planned = Vec::with_capacity(found.len());
        for target in found {
            let (rank, most) = (config.rank_of(&target.module), target.rows.min(target.columns));
            if rank > most {
                return Err(epoch0_method::Error::Param {
                    method: id.to_owned(),
                    name: format!("rank of {}", target.module),
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
        let work = Self { id, method, net, checkpoint, planned, seed: options.seed, with_weights };
        if work.method.form().changes_base() {
            work.planned.iter().try_for_each(|planned| work.check_alone(&planned.target))?;
        }
        Ok(work)
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

    /// Runs the network on the data, where the method looks at them.
    fn look(&self, described: &Described, options: &Options<'_>) -> Result<Seen, Error> {
        let Some((_, data)) = options.calibrating.data else { return Ok(Seen::default()) };
        let Some(path) = &described.checkpoint else { return Ok(Seen::default()) };
        let weights = read_weights(self.net, path, Precision::Single, &Device::cpu())?;
        match self.method.looks_at() {
            Looks::Inputs => self.inputs(&weights, data, options),
            _ => self.gradients(&weights, data, options),
        }
    }

    fn inputs(&self, weights: &Weights, data: &Dataset, options: &Options<'_>) -> Result<Seen, Error> {
        if let Some(other) = self.planned.iter().find(|planned| planned.target.kind != adapter::Kind::Linear)
        {
            let why = "it looks at vectors that linear maps meet".to_owned();
            return Err(refuse(
                self.id,
                &other.target.module,
                why,
                "leave it out of the targets, or take lora_ga",
            ));
        }
        let examples = options.calibrating.examples;
        let probe =
            data_probe(self.net, weights, data, examples, options.seed, Precision::Single, &Device::cpu())?;
        let by_node: HashMap<NodeId, Vec<usize>> =
            self.planned.iter().enumerate().fold(HashMap::new(), |mut map, (at, planned)| {
                planned
                    .target
                    .nodes
                    .iter()
                    .for_each(|node| map.entry(*node).or_insert_with(Vec::new).push(at));
                map
            });
        let mut digests: Vec<Option<Digest>> = vec![None; self.planned.len()];
        let mut open: HashMap<usize, Vec<Moments>> = HashMap::new();
        // Queries, keys and values meet the same.
        let mut last: Option<(ValueId, Moments)> = None;
        let mut failure: Option<Error> = None;
        let done = run(self.net, &weights.constants(), &probe.inputs, Mode::Eval, &mut |done| {
            let Some(which) = by_node.get(&done.id) else { return Ok(()) };
            let (Some(&value), Some(Value::Real(met))) = (done.node.inputs.first(), done.inputs.first())
            else {
                return Ok(());
            };
            if failure.is_some() {
                return Ok(());
            }
            if last.as_ref().is_none_or(|(known, _)| *known != value) {
                last = Some((value, moments(met)));
            }
            let Some((_, found)) = &last else { return Ok(()) };
            for &at in which {
                let all = open.entry(at).or_default();
                all.push(found.clone());
                if all.len() == self.planned[at].target.nodes.len() {
                    let met = open.remove(&at).map(|all| together(&all)).unwrap_or_default();
                    match self.digest(at, &met) {
                        Ok(digest) => digests[at] = Some(digest),
                        Err(error) => failure = Some(error),
                    }
                }
            }
            Ok(())
        });
        match (failure, done) {
            (Some(failure), _) => return Err(failure),
            (None, done) => done.map(|_| ())?,
        }
        let digests = digests.into_iter().map(Option::unwrap_or_default).collect();
        Ok(Seen { digests, examples: Some(probe.len()), ..Seen::default() })
    }

    fn digest(&self, at: usize, met: &Moments) -> Result<Digest, Error> {
        let planned = &self.planned[at];
        let weight = self.weight(&planned.target)?;
        let directions = self.method.directions(planned.rank).min(planned.target.columns);
        Ok(self.method.digest(&self.map(planned, Some(&weight)), met, directions)?)
    }

    fn gradients(&self, weights: &Weights, data: &Dataset, options: &Options<'_>) -> Result<Seen, Error> {
        let feed = Feed::new(self.net, data)?;
        let asked = options.calibrating.examples.unwrap_or(GRADIENT_EXAMPLES);
        let mut which = order(data.train.len(), options.seed, 0);
        which.truncate(feed.batch(asked, data.train.len()));
        let params = weights.parameters(|id| self.planned.iter().any(|planned| planned.target.param == id));
        let (ids, vars): (Vec<ParamId>, Vec<&Var>) = params.tracked().unzip();
        let mut sums: Vec<Vec<f64>> = vars.iter().map(|var| vec![0.0; var.value().len()]).collect();
        for part in which.chunks(feed.batch(AT_A_TIME, which.len())) {
            options.check_cancelled()?;
            let inputs = feed.inputs(&data.train.inputs().pick(part), Precision::Single, &Device::cpu());
            let done = run(self.net, &params, &inputs, Mode::Eval, &mut |_| Ok(()))?;
            let loss = feed.loss(feed.answer(&done.outputs)?, &data.train.targets().pick(part))?.mean;
            let share = part.len() as f64 / which.len() as f64;
            let seed = Var::constant(loss.value().full_like(share, &loss.shape()));
            for (sum, term) in sums.iter_mut().zip(vjp(&[(&loss, seed)], &vars, Order::Last)) {
                let Some(term) = term else { continue };
                sum.iter_mut().zip(term.value().to_f64()).for_each(|(sum, term)| *sum += term);
            }
        }
        let of = |planned: &Planned| {
            let at = ids.iter().position(|id| *id == planned.target.param);
            let values = at.map_or_else(Vec::new, |at| sums[at].clone());
            match values.iter().find(|value| !value.is_finite()) {
                None => Ok(oriented(&planned.target, values)),
                Some(odd) => Err(Error::from(epoch0_method::Error::NotFinite {
                    method: self.id.to_owned(),
                    site: format!("the gradient by {}", self.net.param(planned.target.param).name),
                    value: odd.to_string(),
                })),
            }
        };
        let gradients = self.planned.iter().map(of).collect::<Result<_, _>>()?;
        Ok(Seen { gradients, examples: Some(which.len()), ..Seen::default() })
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

/// Of vectors along the last dimension.
fn moments(met: &Var) -> Moments {
    let columns = met.shape().last().copied().unwrap_or(1).max(1);
    let values = met.value().to_f64();
    let n = values.len() / columns;
    let mut mean = vec![0.0; columns];
    for vector in values.chunks_exact(columns) {
        mean.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value / n as f64);
    }
    let vectors = Matrix::new(n, columns, values);
    Moments { n, mean, second: vectors.transposed().times(&vectors).scaled(1.0 / n as f64) }
}

/// Of the vectors of all.
fn together(all: &[Moments]) -> Moments {
    let n: usize = all.iter().map(|one| one.n).sum();
    let mut found = Moments {
        n,
        mean: vec![0.0; all.first().map_or(0, |one| one.mean.len())],
        second: all
            .first()
            .map_or_else(Matrix::default, |one| Matrix::zeros(one.second.rows(), one.second.columns())),
    };
    for one in all {
        let share = one.n as f64 / n.max(1) as f64;
        found.mean.iter_mut().zip(&one.mean).for_each(|(sum, value)| *sum += share * value);
        found.second = found.second.plus(share, &one.second);
    }
    found
}

/// Rounded to what a type can hold, and its little-endian bytes; what that is not finite is an error.
fn encoded(method: &str, place: &str, dtype: Dtype, values: &[f64]) -> Result<(Vec<f64>, Vec<u8>), Error> {
    with_element!(dtype, T => {
        let rounded: Vec<T> = values.iter().map(|&value| T::from_f64(value)).collect();
        let back: Vec<f64> = rounded.iter().map(|value| value.to_f64()).collect();
        if let Some(at) = back.iter().position(|value| !value.is_finite()) {
            let site = format!("{place} as {dtype}");
            return Err(epoch0_method::Error::NotFinite { method: method.to_owned(), site, value: values[at].to_string() }.into());
        }
        Ok((back, bytemuck::cast_slice(&rounded).to_vec()))
    })
}

/// Folders in the making.
struct Folders {
    adapter: NewFolder,
    base: Option<(NewFolder, PathBuf)>,
}

impl Folders {
    fn begin(out: &Path, form: Form, options: &Options<'_>) -> Result<Self, Error> {
        let adapter = NewFolder::begin(out, options.replace)?;
        let path = form.changes_base().then(|| base_path(out));
        let base =
            path.map(|path| Ok::<_, Error>((NewFolder::begin(&path, options.replace)?, path))).transpose()?;
        Ok(Self { adapter, base })
    }

    #[expect(clippy::too_many_arguments, reason = "what is written, and where, each once")]
    fn write(
        self,
        described: &Described,
        work: &Work<'_>,
        seen: &Seen,
        adapting: &Adapting,
        dtype: Dtype,
        note: &AdapterReceipt,
        options: &Options<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Error> {
        let form = work.method.form();
        let kept: Vec<(usize, &Planned)> =
            work.planned.iter().enumerate().filter(|(_, planned)| planned.rank > 0).collect();
        let parts: &[Part] =
            if adapting.config.dora { &[Part::A, Part::B, Part::Magnitude] } else { &[Part::A, Part::B] };
        let specs = kept.iter().flat_map(|(_, planned)| {
            parts.iter().map(|&part| {
                let shape = peft::shape(&planned.target, part, planned.rank * form.times());
                TensorSpec::new(peft::name(&planned.target, part), dtype, shape)
            })
        });
        let mut metadata = pt_metadata();
        metadata
            .insert(receipt::KEY.to_owned(), serde_json::to_string(note).expect("a receipt is plain data"));
        let plan = Plan::in_file(peft::WEIGHTS_FILE, specs.collect(), &metadata)?;
        let writer = Writer::create(self.adapter.path(), plan)?;
        let changed = self.base.as_ref().map(|(folder, _)| base_writer(work, folder, options)).transpose()?;
        let one = |(nth, (at, planned)): (usize, &(usize, &Planned))| {
            options.check_cancelled()?;
            let weight = work.with_weights.then(|| work.weight(&planned.target)).transpose()?;
            let start = work.method.start(&Map {
                met: seen.digests.get(*at),
                gradient: seen.gradients.get(*at),
                ..work.map(planned, weight.as_ref())
            })?;
            let bytes = Started { work, planned, start, weight, dtype }.encode(parts)?;
            for (part, bytes) in bytes.parts.iter().enumerate() {
                writer.write_at(nth * parts.len() + part, 0, bytes)?;
            }
            if let (Some(bytes), Some((writer, by_name))) = (bytes.base, &changed) {
                writer.write_at(by_name[bytes.0], 0, &bytes.1)?;
            }
            if let Some(progress) = options.progress {
                progress(work.net.param(planned.target.param).bytes());
            }
            Ok::<_, Error>(bytes.is_zero.then(|| planned.target.module.clone()))
        };
        let zero: Vec<Option<String>> = kept.par_iter().enumerate().map(one).collect::<Result<_, _>>()?;
        let zero: Vec<String> = zero.into_iter().flatten().collect();
        if let Some(first) = zero.first() {
            let more = if zero.len() > 1 { format!(" and {} more", zero.len() - 1) } else { String::new() };
            warnings.push(format!("A and B of {first}{more} are both zero: they never learn"));
        }
        writer.finish()?;
        if let (Some((folder, path)), Some((writer, _))) = (self.base, changed) {
            finish_base(described, work, &folder, writer, &kept)?;
            let _ = path;
            folder.commit()?;
        }
        let base = match form.changes_base() {
            true => base_path(self.adapter.target()).display().to_string(),
            false => described.given.clone(),
        };
        let targets: Vec<(Target, usize, f64)> = kept
            .iter()
            .map(|(_, planned)| (planned.target.clone(), planned.rank * form.times(), planned.scale))
            .collect();
        let about =
            About { base: &base, config: &adapting.config, targets: &targets, init: work.method.peft() };
        self.adapter.write(peft::CONFIG_FILE, peft::config_text(work.net, &about).as_bytes())?;
        self.adapter.commit()?;
        Ok(())
    }
}

/// Files of the changed network, and places of tensors in them by name.
type BaseWriter<'w> = (Writer, BTreeMap<&'w str, usize>);

fn base_writer<'w>(
    work: &'w Work<'_>,
    folder: &NewFolder,
    options: &Options<'_>,
) -> Result<BaseWriter<'w>, Error> {
    let mut metadata = work.checkpoint.metadata().clone();
    // What a receipt says is no longer so.
    metadata.remove(receipt::KEY);
    metadata.extend(pt_metadata());
    if let Source::Zoo { spec } = work.net.source() {
        metadata.insert(receipt::NETWORK_KEY.to_owned(), spec.clone());
    }
    let tensors = || work.checkpoint.tensors();
    let spec = |tensor: format::Tensor<'_>| TensorSpec::new(tensor.name(), tensor.dtype(), tensor.shape());
    let plan = Plan::new(tensors().map(spec).collect(), &metadata, options.shard_size)?;
    let by_name = tensors().enumerate().map(|(at, tensor)| (tensor.name(), at)).collect();
    Ok((Writer::create(folder.path(), plan)?, by_name))
}

/// Writes what stays as it was, and what stands beside it.
fn finish_base(
    described: &Described,
    work: &Work<'_>,
    folder: &NewFolder,
    writer: Writer,
    kept: &[(usize, &Planned)],
) -> Result<(), Error> {
    let names = kept
        .iter()
        .map(|(_, planned)| Ok(tensor_of(&work.checkpoint, work.net, planned.target.param)?.name()));
    let changed: Vec<&str> = names.collect::<Result<_, Error>>()?;
    for (at, tensor) in work.checkpoint.tensors().enumerate() {
        if !changed.contains(&tensor.name()) {
            writer.write_at(at, 0, tensor.bytes())?;
        }
    }
    if let Some(text) = described.config_text() {
        folder.write("config.json", text.as_bytes())?;
    }
    copy_beside(Path::new(&described.given), folder)?;
    writer.finish()?;
    Ok(())
}

/// A start that is about to be written.
struct Started<'a> {
    work: &'a Work<'a>,
    planned: &'a Planned,
    start: adapter::Start,
    weight: Option<Matrix>,
    dtype: Dtype,
}

struct Encoded<'a> {
    parts: Vec<Vec<u8>>,
    base: Option<(&'a str, Vec<u8>)>,
    is_zero: bool,
}

impl<'a> Started<'a> {
    fn encode(self, parts: &[Part]) -> Result<Encoded<'a>, Error> {
        let Self { work, planned: Planned { target, scale, .. }, start, weight, dtype } = self;
        let form = work.method.form();
        let round = |matrix: Matrix, part: Part| {
            let (rows, columns) = (matrix.rows(), matrix.columns());
            let (rounded, bytes) = encoded(work.id, &peft::name(target, part), dtype, matrix.values())?;
            Ok::<_, Error>((Matrix::new(rows, columns, rounded), bytes))
        };
        let is_zero = start.a.is_zero() && start.b.is_zero();
        let replaced = start.base.clone();
        let start = if form == Form::Doubled { start.doubled() } else { start };
        let ((a, a_bytes), (b, b_bytes)) = (round(start.a, Part::A)?, round(start.b, Part::B)?);
        let mut bytes = vec![a_bytes, b_bytes];
        let base = match (form, &weight) {
            // Of what was stored, so that base and adapter are the map.
            (Form::Residual, Some(weight)) => Some(weight.clone().plus(-scale, &b.times(&a))),
            (Form::Replaced, _) => replaced,
            _ => None,
        };
        if parts.contains(&Part::Magnitude)
            && let Some(weight) = base.as_ref().or(weight.as_ref())
        {
            let norms = weight.clone().plus(*scale, &b.times(&a)).row_norms();
            bytes.push(encoded(work.id, &peft::name(target, Part::Magnitude), dtype, &norms)?.1);
        }
        let base = match base {
            Some(base) => {
                let tensor = tensor_of(&work.checkpoint, work.net, target.param)?;
                let stored = if target.is_transposed { base.transposed() } else { base };
                Some((tensor.name(), encoded(work.id, tensor.name(), tensor.dtype(), stored.values())?.1))
            }
            None => None,
        };
        Ok(Encoded { parts: bytes, base, is_zero })
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
