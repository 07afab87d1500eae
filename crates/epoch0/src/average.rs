//! Several networks made one, streamed: pieces of all parents are averaged and go into the new files.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use epoch0_format::read::folder_of;
use epoch0_format::{
    self as format, Checkpoint, NewFolder, Plan, Tensor, TensorSpec, Watch, Writer, pt_metadata,
};
use epoch0_inherit::merge::{Averager, BLOCK, Comoments, Kind, find, shares};
use epoch0_method::Values;
use epoch0_net::{ParamId, Role, Source};
use epoch0_num::Dtype;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::align::{self, Aligned};
use crate::describe::{parts, say_dtype};
use crate::inherit::copy_beside;
use crate::weights::tensor_of;
use crate::{Described, Error, Options, Receipt, receipt};

mod again;
mod numbers;
mod report;

pub(crate) use again::verify_merged;
pub(crate) use numbers::read_wide;
pub use report::{Average, Mean, MeanGroup};

/// Which networks are made one, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Merging {
    /// The networks, as they were named.
    pub parents: Vec<String>,
    /// How much of each is taken, where it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<f64>>,
    /// Id of the method.
    pub method: String,
    /// Its parameters that were given.
    #[serde(default)]
    pub set: Values,
    /// Id of the method that aligns all with the first before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub align: Option<String>,
    /// Type of the means, where it is not the first network's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<Dtype>,
}

/// Numbers that moments are taken of at a time: a constant, so that sums are the same on any machine.
const PIECE: usize = 1 << 18;

/// What stands in config files without saying anything of the network.
const SAYS_NOTHING: [&str; 5] =
    ["_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures"];

/// What becomes of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// It is that of the first network.
    Copied,
    /// The mean of all.
    Mean(Kind),
}

/// A tensor of the new network.
struct Item {
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
    how: How,
    param: Option<ParamId>,
}

struct Parent {
    given: String,
    checkpoint: Checkpoint,
    described: Option<Described>,
    aligned: Option<Aligned>,
}

/// Networks that are open and fit each other.
pub(crate) struct Merge {
    id: &'static str,
    method: Box<dyn Averager>,
    shares: Vec<f64>,
    parents: Vec<Parent>,
    items: Vec<Item>,
    notes: Vec<String>,
}

fn refuse(method: &str, place: String, found: String, allowed: impl Into<String>) -> Error {
    Error::Merge { method: method.to_owned(), place, found, allowed: allowed.into() }
}

impl Parent {
    fn open(given: &str, notes: &mut Vec<String>) -> Result<Self, Error> {
        let (net, path) = parts(given);
        let checkpoint = Checkpoint::open(path)?;
        // A file of a checkpoint says nothing of its network; the folder that it stands in may.
        let folder = folder_of(path);
        let of = net.map_or_else(|| folder.to_string_lossy(), Cow::Borrowed);
        let described = match Described::open_with(&of, true) {
            Ok(described) => Some(described),
            Err(error) => {
                if net.is_some() {
                    return Err(error);
                }
                if folder.join("config.json").is_file() {
                    let why = error.to_string();
                    let why = why.lines().next().unwrap_or_default();
                    notes.push(format!(
                        "the network of `{given}` is not known ({why}): tensors are told by their names"
                    ));
                }
                None
            }
        };
        Ok(Self { given: given.to_owned(), checkpoint, described, aligned: None })
    }
}

impl Merge {
    pub(crate) fn open(merging: &Merging, seed: u64) -> Result<Self, Error> {
        let entry = find_method(&merging.method)?;
        let (id, method) = (entry.info.id, (entry.build)(&merging.set)?);
        if merging.parents.is_empty() {
            return Err(refuse(id, "networks".to_owned(), "none".to_owned(), "at least one"));
        }
        if merging.weights.is_some() && merging.set.contains_key("own") {
            return Err(refuse(id, "own".to_owned(), "it and weights".to_owned(), "one of them"));
        }
        let shares = shares(id, &*method, merging.weights.as_deref(), merging.parents.len())?;
        if let Some(dtype) = merging.dtype.filter(|dtype| !dtype.is_float()) {
            return Err(refuse(
                id,
                "the type of means".to_owned(),
                dtype.to_string(),
                "f64, f32, f16 or bf16",
            ));
        }
        let mut notes = Vec::new();
        let parents = merging.parents.iter().map(|given| Parent::open(given, &mut notes));
        let parents = parents.collect::<Result<Vec<_>, _>>()?;
        let mut merge = Self { id, method, shares, items: Vec::new(), parents, notes };
        merge.items = merge.items(merging.dtype)?;
        merge.check_networks()?;
        if let Some(align) = &merging.align {
            let found = align::align(align, &merge.parents_with_networks(align)?, seed)?;
            for (parent, aligned) in merge.parents[1..].iter_mut().zip(found) {
                parent.aligned = Some(aligned);
            }
        }
        Ok(merge)
    }

    fn parents_with_networks(&self, align: &str) -> Result<Vec<(&Described, &Checkpoint)>, Error> {
        let with = self.parents.iter().map(|parent| {
            let described = parent.described.as_ref().ok_or_else(|| epoch0_method::Error::Missing {
                method: align.to_owned(),
                input: format!("the network of `{}`", parent.given),
                hint: "name a folder with a config.json, or with a start or training of a zoo network"
                    .to_owned(),
            })?;
            Ok((described, &parent.checkpoint))
        });
        with.collect()
    }

    /// The tensors of the first, which all have to have; means of a type, where it is not the first's.
    fn items(&self, means: Option<Dtype>) -> Result<Vec<Item>, Error> {
        let first = &self.parents[0];
        let params = first.described.as_ref().map(|described| by_tensor(described, &first.checkpoint));
        let mut items = Vec::with_capacity(first.checkpoint.len());
        for tensor in first.checkpoint.tensors() {
            let param = params.as_ref().and_then(|params| params.get(tensor.name()).copied());
            let how = self.how(&tensor, param)?;
            let (name, shape) = (tensor.name().to_owned(), tensor.shape().to_vec());
            let dtype = means.filter(|_| how != How::Copied).unwrap_or(tensor.dtype());
            items.push(Item { name, shape, dtype, how, param });
        }
        for parent in &self.parents[1..] {
            if let Some(extra) =
                parent.checkpoint.tensors().find(|tensor| first.checkpoint.get(tensor.name()).is_none())
            {
                let place = format!("`{}` of {}", extra.name(), parent.given);
                return Err(refuse(
                    self.id,
                    place,
                    format!("{} has none of that name", first.given),
                    "the same names in all",
                ));
            }
        }
        Ok(items)
    }

    /// What becomes of a tensor of the first; its like in all others is checked.
    fn how(&self, tensor: &Tensor<'_>, param: Option<ParamId>) -> Result<How, Error> {
        let name = tensor.name();
        let mut are_equal = true;
        for parent in &self.parents[1..] {
            let place = || format!("`{name}` of {}", parent.given);
            let Some(other) = parent.checkpoint.get(name) else {
                return Err(refuse(
                    self.id,
                    place(),
                    "there is none".to_owned(),
                    format!("the names of {}", self.parents[0].given),
                ));
            };
            if other.shape() != tensor.shape() {
                let found = format!("shape {:?}", other.shape());
                return Err(refuse(
                    self.id,
                    place(),
                    found,
                    format!("{:?} as in {}", tensor.shape(), self.parents[0].given),
                ));
            }
            let fits =
                other.dtype() == tensor.dtype() || (other.dtype().is_float() && tensor.dtype().is_float());
            if !fits {
                let found = format!("type {}", other.dtype());
                return Err(refuse(
                    self.id,
                    place(),
                    found,
                    format!("{} as in {}", tensor.dtype(), self.parents[0].given),
                ));
            }
            are_equal &= tensor.dtype().is_float() || other.bytes() == tensor.bytes();
        }
        let role = param.and_then(|param| Some(self.parents[0].described.as_ref()?.net.param(param).role));
        if tensor.dtype().is_float() {
            let n_dims = tensor.shape().len();
            let kind = role.map_or_else(|| Kind::by_name(name, n_dims), |role| Kind::of(role, n_dims));
            return Ok(How::Mean(kind));
        }
        let is_count = role == Some(Role::BatchCount) || name.ends_with("num_batches_tracked");
        if are_equal || is_count {
            return Ok(How::Copied);
        }
        Err(refuse(
            self.id,
            format!("`{name}`"),
            format!("{} that differ between the networks", tensor.dtype()),
            "numbers in f64, f32, f16 or bf16, or the same in all",
        ))
    }

    /// Networks of the same tensors may still compute different things.
    fn check_networks(&mut self) -> Result<(), Error> {
        let (first, others) = self.parents.split_at(1);
        let Some(own) = &first[0].described else { return Ok(()) };
        for parent in others {
            let Some(theirs) = &parent.described else { continue };
            let differs = differing(own, theirs);
            if theirs.net.nodes() == own.net.nodes() {
                if let Some((key, ours, found)) = differs {
                    let (a, b) = (&first[0].given, &parent.given);
                    self.notes.push(format!(
                        "`{key}` of the config is {ours} in {a} and {found} in {b}; that of {a} is kept"
                    ));
                }
                continue;
            }
            let (place, found, allowed) = match differs {
                Some((key, ours, found)) => {
                    (format!("`{key}` in the config of {}", parent.given), found, ours)
                }
                None => (
                    parent.given.clone(),
                    format!("another network, {}", theirs.net.name()),
                    own.net.name().to_owned(),
                ),
            };
            return Err(refuse(self.id, place, found, format!("{allowed} as in {}", first[0].given)));
        }
        Ok(())
    }

    fn tensor(&self, parent: usize, item: &Item) -> Tensor<'_> {
        self.parents[parent].checkpoint.get(&item.name).expect("it was checked that all have it")
    }

    /// Fills `room` with `n` elements of each network, `BLOCK` apart.
    fn read(&self, item: &Item, start: usize, n: usize, room: &mut [f64]) -> Result<(), Error> {
        for (parent, room) in room.chunks_mut(BLOCK).enumerate() {
            let tensor = self.tensor(parent, item);
            let places = item.param.and_then(|param| self.parents[parent].aligned.as_ref()?.places(param));
            match places {
                Some(places) => places.read(&tensor, start, &mut room[..n])?,
                None => read_wide(&tensor, start, &mut room[..n])?,
            }
        }
        Ok(())
    }

    /// Moments of a piece.
    fn moments(&self, item: &Item, start: usize, len: usize) -> Result<Comoments, Error> {
        let mut room = vec![0.0; self.parents.len() * BLOCK];
        let mut found = Comoments::new(self.parents.len());
        for begin in (start..start + len).step_by(BLOCK) {
            let n = BLOCK.min(start + len - begin);
            self.read(item, begin, n, &mut room)?;
            found.merge(&Comoments::of_block(&mut room, n));
        }
        if found.is_finite() { Ok(found) } else { Err(self.not_finite(item, start, len)) }
    }

    fn not_finite(&self, item: &Item, start: usize, len: usize) -> Error {
        let mut values = vec![0.0; len];
        for (nth, parent) in self.parents.iter().enumerate() {
            let tensor = self.tensor(nth, item);
            // An aligned network is read as it is stored, all of it: its elements are elsewhere.
            let (start, len) = if parent.aligned.is_some() { (0, tensor.len()) } else { (start, len) };
            values.resize(len, 0.0);
            if tensor.read_f64(start, &mut values).is_ok()
                && let Some(odd) = values.iter().find(|value| !value.is_finite())
            {
                let site = format!("`{}` of {}", item.name, parent.given);
                return epoch0_method::Error::NotFinite {
                    method: self.id.to_owned(),
                    site,
                    value: odd.to_string(),
                }
                .into();
            }
        }
        let site = format!("the variance of `{}`", item.name);
        epoch0_method::Error::NotFinite { method: self.id.to_owned(), site, value: "inf".to_owned() }.into()
    }

    /// Moments of a whole tensor.
    fn whole_moments(&self, item: &Item) -> Result<Comoments, Error> {
        let len: usize = item.shape.iter().product();
        let starts: Vec<usize> = (0..len).step_by(PIECE).collect();
        let pieces = starts.into_par_iter().map(|start| self.moments(item, start, PIECE.min(len - start)));
        let pieces: Vec<Comoments> = pieces.collect::<Result<_, _>>()?;
        let mut whole = Comoments::new(self.parents.len());
        pieces.iter().for_each(|piece| whole.merge(piece));
        Ok(whole)
    }

    fn corrects(&self, item: &Item) -> bool {
        matches!(item.how, How::Mean(kind) if self.method.corrects(kind))
    }

    /// What deviations from the mean are multiplied by, and that mean.
    fn correction(&self, item: &Item, moments: &Comoments) -> (f64, f64) {
        let How::Mean(kind) = item.how else { return (1.0, 0.0) };
        (self.method.factor(kind, &self.shares, moments), moments.mean_of(&self.shares))
    }

    /// Writes elements from `start` on into `out`, and gives their moments where they are asked for.
    fn piece(
        &self,
        item: &Item,
        (factor, centre): (f64, f64),
        start: usize,
        out: &mut [u8],
        looks: bool,
    ) -> Result<Comoments, Error> {
        let mut found = Comoments::new(self.parents.len());
        if item.how == How::Copied {
            let size = item.dtype.bits();
            let begin = start * size / 8;
            out.copy_from_slice(&self.tensor(0, item).bytes()[begin..begin + out.len()]);
            return Ok(found);
        }
        let mut room = vec![0.0; self.parents.len() * BLOCK];
        let mut mean = vec![0.0; BLOCK];
        let size = item.dtype.bytes();
        for (nth, out) in out.chunks_mut(BLOCK * size).enumerate() {
            let n = out.len() / size;
            self.read(item, start + nth * BLOCK, n, &mut room)?;
            let mean = &mut mean[..n];
            for (nth, (share, values)) in self.shares.iter().zip(room.chunks(BLOCK)).enumerate() {
                let pairs = mean.iter_mut().zip(values);
                if nth == 0 {
                    pairs.for_each(|(mean, value)| *mean = share * value);
                } else {
                    pairs.for_each(|(mean, value)| *mean += share * value);
                }
            }
            if factor != 1.0 {
                mean.iter_mut().for_each(|mean| *mean = centre + (*mean - centre) * factor);
            }
            let is_finite = numbers::write(item.dtype, mean, out);
            if !is_finite {
                return Err(self.overflow(item, start, nth * BLOCK + n));
            }
            if looks {
                found.merge(&Comoments::of_block(&mut room, n));
            }
        }
        Ok(found)
    }

    /// A mean that is not finite: a parent's number, or one that is too large for the type.
    fn overflow(&self, item: &Item, start: usize, len: usize) -> Error {
        match self.moments(item, start, len) {
            Err(error) => error,
            Ok(_) => refuse(
                self.id,
                format!("`{}`", item.name),
                "a mean that is too large".to_owned(),
                format!("what {} can hold", item.dtype),
            ),
        }
    }
}

/// The averaging method of that id; one of another family is named as such.
fn find_method(name: &str) -> Result<&'static epoch0_method::Entry<dyn Averager>, epoch0_method::Error> {
    find(name).map_err(|unknown| match crate::method(name) {
        Ok(other) => epoch0_method::Error::Unsupported {
            method: other.info.id.to_owned(),
            what: "a mean of networks".to_owned(),
            why: format!("it belongs to the family {}", other.info.family.name()),
            hint: "take average or variance_corrected_average".to_owned(),
        },
        Err(_) => unknown,
    })
}

/// The text of a config with another type of numbers.
fn with_dtype(text: &[u8], dtype: Dtype) -> Option<String> {
    let mut keys: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text).ok()?;
    say_dtype(&mut keys, dtype);
    Some(serde_json::to_string_pretty(&keys).ok()? + "\n")
}

/// A network's parameters by the names that a checkpoint has for them.
fn by_tensor(described: &Described, checkpoint: &Checkpoint) -> HashMap<String, ParamId> {
    let net = &described.net;
    let mut found: HashMap<String, ParamId> = (0..net.params().len())
        .map(|at| ParamId(at as u32))
        .filter_map(|id| Some((tensor_of(checkpoint, net, id).ok()?.name().to_owned(), id)))
        .collect();
    for tie in net.ties() {
        found.insert(tie.alias.clone(), tie.param);
    }
    found
}

/// The first key of two configs that differs, where both have one, with its values.
fn differing(own: &Described, theirs: &Described) -> Option<(String, String, String)> {
    let (own, theirs) = (own.config.as_ref()?, theirs.config.as_ref()?);
    let keys = own.keys().chain(theirs.keys()).filter(|key| !SAYS_NOTHING.contains(&key.as_str()));
    let mut differ = keys.filter(|key| own.get(*key) != theirs.get(*key));
    let shown =
        |value: Option<&serde_json::Value>| value.map_or_else(|| "absent".to_owned(), ToString::to_string);
    differ.next().map(|key| (key.clone(), shown(own.get(key)), shown(theirs.get(key))))
}

/// Makes one network of several and writes it as a checkpoint folder, with what stands beside the first one's (config,
/// tokenizers) and a receipt; without `out` it says what would be written. Tensors are of the first one's types, means of
/// another where one is said.
///
/// # Errors
/// When a network cannot be read, has not the tensors of the first or holds a number that is not finite, when shares do not sum
/// to 1, and when the files cannot be written.
pub fn average(merging: &Merging, out: Option<&Path>, options: &Options<'_>) -> Result<Average, Error> {
    let begun = Instant::now();
    let merge = Merge::open(merging, options.seed)?;
    let merging = &Merging { method: merge.id.to_owned(), ..merging.clone() };
    let Some(out) = out else {
        let moments = merge.items.iter().map(|item| match item.how {
            How::Copied => Ok(None),
            How::Mean(_) => {
                options.check_cancelled()?;
                let found = merge.whole_moments(item)?;
                if let Some(progress) = options.progress {
                    progress(merge.tensor(0, item).bytes().len() as u64);
                }
                Ok(Some(found))
            }
        });
        return Ok(report::of(&merge, merging, options.seed, moments.collect::<Result<_, Error>>()?));
    };
    let first = &merge.parents[0];
    let zoo = match first.described.as_ref().map(|described| described.net.source()) {
        Some(Source::Zoo { spec }) => Some(spec.clone()),
        _ => None,
    };
    let mut metadata = pt_metadata();
    metadata.insert(receipt::KEY.to_owned(), Receipt::of_merge(merging, zoo, options.seed).to_json());
    let specs = merge.items.iter().map(|item| TensorSpec::new(&item.name, item.dtype, item.shape.clone()));
    let layout = Plan::new(specs.collect(), &metadata, options.shard_size)?;
    let folder = NewFolder::begin(out, options.replace)?;
    let writer = Writer::create(folder.path(), layout)?;
    let moments = write(&merge, &writer, options)?;
    let mut report = report::of(&merge, merging, options.seed, moments);
    let place = parts(&first.given).1;
    let config = folder_of(place).join("config.json");
    if config.is_file() {
        let text = std::fs::read(&config).map_err(|error| format::Error::io("read", &config)(error))?;
        let changed = merging.dtype.and_then(|dtype| with_dtype(&text, dtype));
        folder.write("config.json", changed.as_ref().map_or(&text[..], String::as_bytes))?;
    }
    report.copied = copy_beside(place, &folder)?;
    report.files = writer.finish()?.files;
    folder.commit()?;
    report.out = Some(out.display().to_string());
    report.seconds = Some(begun.elapsed().as_secs_f64());
    Ok(report)
}

/// Writes every tensor; what was measured comes back in their order.
fn write(merge: &Merge, writer: &Writer, options: &Options<'_>) -> Result<Vec<Option<Comoments>>, Error> {
    // What is corrected has to be known whole before.
    let mut moments: Vec<Option<Comoments>> = Vec::with_capacity(merge.items.len());
    for item in &merge.items {
        options.check_cancelled()?;
        moments.push(if merge.corrects(item) { Some(merge.whole_moments(item)?) } else { None });
    }
    let corrections: Vec<Option<(f64, f64)>> = merge
        .items
        .iter()
        .zip(&moments)
        .map(|(item, moments)| moments.as_ref().map(|moments| merge.correction(item, moments)))
        .collect();
    let watch = Watch { cancel: options.cancel, progress: options.progress };
    let pieces: Mutex<Vec<(usize, usize, Comoments)>> = Mutex::default();
    writer.fill(0..merge.items.len(), watch, |tensor, start, buffer| {
        let item = &merge.items[tensor];
        let correction = corrections[tensor];
        let found =
            merge.piece(item, correction.unwrap_or((1.0, 0.0)), start, buffer, correction.is_none())?;
        if correction.is_none() && item.how != How::Copied {
            if !found.is_finite() {
                return Err(merge.not_finite(item, start, buffer.len() / item.dtype.bytes()));
            }
            pieces.lock().unwrap_or_else(PoisonError::into_inner).push((tensor, start, found));
        }
        Ok::<(), Error>(())
    })?;
    // Pieces end in any order; sums are taken in one.
    let mut pieces = pieces.into_inner().unwrap_or_else(PoisonError::into_inner);
    pieces.sort_unstable_by_key(|&(tensor, start, _)| (tensor, start));
    for (tensor, _, piece) in pieces {
        moments[tensor].get_or_insert_with(|| Comoments::new(merge.parents.len())).merge(&piece);
    }
    Ok(moments)
}
