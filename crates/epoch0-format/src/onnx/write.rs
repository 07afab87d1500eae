//! Writing an ONNX file again with other weights.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::store::{Order, PROPERTY, Place, Raw, Weights, property};
use super::wire::{self, Field, put_bytes, put_int, put_length};
use super::{Onnx, OnnxFault, Weight, open};
use crate::error::{Error, TargetFault};
use crate::folder::{Replace, aside_name, parent_of, resolve, sync_folder};

/// Data beside the model begin at multiples of this.
const ALIGN: u64 = 64;

/// Writes the model in `from` to `to`, with other values for its parameters, and with `metadata` among its properties.
///
/// `fill` is given each parameter and room for its elements, little-endian, in the parameter's type, shape and order;
/// where the file has them transposed or their gates in another order, they are put so. All else stays as it is,
/// byte by byte. A model whose weights lie in files beside it gets one such file, `NAME.data` (or `NAME.1.data`… where
/// there is one already, so that no model loses its own). Files appear whole or not at all, the model last. A
/// parameter that lies in several places is asked for once for each.
///
/// # Errors
/// Those of [`open`], of `fill`, and of writing.
pub fn write<E: From<Error>>(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    metadata: &BTreeMap<String, String>,
    replace: Replace,
    fill: impl FnMut(Weight<'_>, &mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let to = free(to.as_ref(), replace)?;
    let Onnx { weights, .. } = open(from)?;
    rewrite(&weights, &to, &Edits { metadata: metadata.clone(), ..Edits::default() }, fill)
}

/// The place for a model; an error where there is something that may not be replaced.
pub(super) fn free(to: &Path, replace: Replace) -> Result<PathBuf, Error> {
    let to = resolve(to)?;
    match fs::symlink_metadata(&to) {
        Ok(meta) if meta.is_dir() => Err(Error::NotAFile { path: to, found: "a folder" }),
        Ok(_) if replace == Replace::Never => Err(Error::target(&to, TargetFault::FileExists)),
        _ => Ok(to),
    }
}

/// What changes in a model besides its weights.
#[derive(Debug, Default)]
pub(super) struct Edits {
    /// New messages in the place of nodes, in order.
    pub nodes: HashMap<usize, Vec<Vec<u8>>>,
    /// Messages of tensors that are added.
    pub added: Vec<Vec<u8>>,
    /// Tensors of the file that go.
    pub dropped: HashSet<usize>,
    /// Properties, in the place of those of the same keys.
    pub metadata: BTreeMap<String, String>,
}

/// As [`write()`], with other changes too.
pub(super) fn rewrite<E: From<Error>>(
    weights: &Weights,
    to: &Path,
    edits: &Edits,
    mut fill: impl FnMut(Weight<'_>, &mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let plan = Rewrite::of(weights, edits);
    let is_beside =
        weights.raws.iter().any(|raw| matches!(raw.place, Place::Mapped { file, .. } if file > 0));
    let beside = if is_beside { Some(free_name(to)) } else { None };
    let mut places = HashMap::new();
    if let Some(path) = &beside {
        let mut out = Out::begin(path)?;
        let mut at = 0u64;
        for (index, raw) in weights.raws.iter().enumerate() {
            let is_twin = index >= plan.n_stored;
            if !is_twin && !matches!(raw.place, Place::Mapped { file, .. } if file > 0) {
                continue;
            }
            if is_twin && !plan.new.contains(&index) || plan.edits.dropped.contains(&index) {
                continue;
            }
            let gap = at.next_multiple_of(ALIGN) - at;
            out.put(&vec![0; gap as usize])?;
            at += gap;
            let bytes = plan.bytes(weights, index, &mut fill)?;
            out.put(&bytes)?;
            places.insert(index, (at, bytes.len() as u64));
            at += bytes.len() as u64;
        }
        out.commit()?;
    }
    let name =
        beside.as_ref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
    let written = model(weights, &plan, to, name.as_deref(), &places, &mut fill);
    if written.is_err()
        && let Some(path) = &beside
    {
        // Nothing names it.
        let _ = fs::remove_file(path);
    }
    written
}

/// What changes in the file.
struct Rewrite<'a> {
    edits: &'a Edits,
    /// How many tensors the file has; those after them stand for one of them under another name.
    n_stored: usize,
    /// For each tensor the parameters that have elements in it, and how they lie.
    holders: HashMap<usize, Vec<(String, Order)>>,
    /// Tensors that have to be added.
    new: HashSet<usize>,
}

impl<'a> Rewrite<'a> {
    fn of(weights: &Weights, edits: &'a Edits) -> Self {
        let mut holders: HashMap<usize, Vec<(String, Order)>> = HashMap::new();
        for name in &weights.order {
            let stored = &weights.stored[name];
            for order in std::iter::once(&stored.order).chain(&stored.copies) {
                let mut raws: Vec<usize> = match order {
                    Order::Runs(runs) => runs.iter().map(|run| run.0).collect(),
                    Order::Transposed(raw) => vec![*raw],
                    Order::Zeros => Vec::new(),
                };
                raws.sort_unstable();
                raws.dedup();
                for raw in raws {
                    holders.entry(raw).or_default().push((name.clone(), order.clone()));
                }
            }
        }
        let n_stored = weights.n_stored;
        let new = holders.keys().copied().filter(|&raw| raw >= n_stored).collect();
        Self { edits, n_stored, holders, new }
    }

    /// The elements of a tensor with the parameters' new ones.
    fn bytes<E: From<Error>>(
        &self,
        weights: &Weights,
        index: usize,
        fill: &mut impl FnMut(Weight<'_>, &mut [u8]) -> Result<(), E>,
    ) -> Result<Vec<u8>, E> {
        let raw = &weights.raws[index];
        let mut bytes = weights.files.bytes(raw).to_vec();
        let width = raw.dtype.bytes();
        for (name, order) in self.holders.get(&index).into_iter().flatten() {
            let Some(weight) = weights.get(name) else { continue };
            let mut values = vec![0; weight.len() * width];
            fill(weight, &mut values)?;
            match order {
                Order::Zeros => {}
                Order::Transposed(_) => {
                    let (rows, columns) = (weight.shape()[0], weight.shape()[1]);
                    for (at, element) in values.chunks_exact(width).enumerate() {
                        let place = (at % columns) * rows + at / columns;
                        bytes[place * width..(place + 1) * width].copy_from_slice(element);
                    }
                }
                Order::Runs(runs) => {
                    let mut first = 0;
                    for &(from, start, n) in runs {
                        if from == index {
                            bytes[start * width..(start + n) * width]
                                .copy_from_slice(&values[first * width..(first + n) * width]);
                        }
                        first += n;
                    }
                }
            }
        }
        Ok(bytes)
    }
}

/// A part of the new file.
enum Piece<'a> {
    /// Bytes of the old one.
    Same(&'a [u8]),
    /// A tensor's message without its elements, and the tensor.
    Tensor { head: Vec<u8>, index: usize, length: u64 },
    /// A message of its own.
    New(Vec<u8>),
}

fn varint_length(mut value: u64) -> u64 {
    let mut n = 1;
    while value >= 0x80 {
        value >>= 7;
        n += 1;
    }
    n
}

/// Writes the model's own file.
fn model<E: From<Error>>(
    weights: &Weights,
    plan: &Rewrite<'_>,
    to: &Path,
    beside: Option<&str>,
    places: &HashMap<usize, (u64, u64)>,
    fill: &mut impl FnMut(Weight<'_>, &mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let bad = |fault: super::WireFault| Error::onnx(&weights.files.path)(OnnxFault::Wire(fault));
    let twins: HashSet<&str> = plan.new.iter().map(|&index| weights.raws[index].name.as_str()).collect();
    let mut out = Out::begin(to)?;
    let mut rest = weights.files.main();
    while let Some(field) = wire::next(&mut rest).map_err(bad)? {
        if field.number == PROPERTY {
            let (key, _) = property(field.bytes().map_err(bad)?).map_err(bad)?;
            if plan.edits.metadata.contains_key(key) {
                continue;
            }
        }
        if field.number != 7 {
            out.put(field.whole)?;
            continue;
        }
        let pieces =
            graph(weights, plan, field.bytes().map_err(bad)?, &twins, beside, places).map_err(bad)?;
        let length = |piece: &Piece<'_>| match piece {
            Piece::Same(bytes) => bytes.len() as u64,
            Piece::New(bytes) => bytes.len() as u64,
            Piece::Tensor { head, length, .. } => {
                let inner = tensor_length(head, *length);
                1 + varint_length(inner) + inner
            }
        };
        let mut head = Vec::new();
        put_length(&mut head, 7, pieces.iter().map(length).sum());
        out.put(&head)?;
        for piece in pieces {
            match piece {
                Piece::Same(bytes) => out.put(bytes)?,
                Piece::New(bytes) => out.put(&bytes)?,
                Piece::Tensor { head, index, length } => {
                    let mut start = Vec::new();
                    put_length(&mut start, 5, tensor_length(&head, length));
                    start.extend(head);
                    put_length(&mut start, 9, length);
                    out.put(&start)?;
                    out.put(&plan.bytes(weights, index, fill)?)?;
                }
            }
        }
    }
    for (key, value) in &plan.edits.metadata {
        let (mut entry, mut whole) = (Vec::new(), Vec::new());
        put_bytes(&mut entry, 1, key.as_bytes());
        put_bytes(&mut entry, 2, value.as_bytes());
        put_bytes(&mut whole, PROPERTY, &entry);
        out.put(&whole)?;
    }
    out.commit()?;
    Ok(())
}

/// Length of a tensor's message whose elements take `length` bytes.
fn tensor_length(head: &[u8], length: u64) -> u64 {
    head.len() as u64 + 1 + varint_length(length) + length
}

/// The parts of the new graph.
fn graph<'a>(
    weights: &Weights,
    plan: &Rewrite<'_>,
    bytes: &'a [u8],
    twins: &HashSet<&str>,
    beside: Option<&str>,
    places: &HashMap<usize, (u64, u64)>,
) -> Result<Vec<Piece<'a>>, super::WireFault> {
    let mut pieces = Vec::new();
    let (mut node, mut index) = (0, 0);
    let mut rest = bytes;
    while let Some(field) = wire::next(&mut rest)? {
        match field.number {
            1 => {
                match plan.edits.nodes.get(&node) {
                    Some(new) => {
                        let mut messages = Vec::new();
                        new.iter().for_each(|new| put_bytes(&mut messages, 1, new));
                        pieces.push(Piece::New(messages));
                    }
                    // A node that gave a parameter a second name, which is now a parameter of its own.
                    None if is_renaming(field.bytes()?, twins)? => {}
                    None => pieces.push(Piece::Same(field.whole)),
                }
                node += 1;
            }
            5 if plan.edits.dropped.contains(&index) => index += 1,
            5 => {
                let raw = &weights.raws[index];
                if let Some(place) = places.get(&index) {
                    let mut tensor = head(field.bytes()?)?;
                    external(&mut tensor, beside.unwrap_or(""), *place);
                    pieces.push(whole(&tensor));
                } else if plan.holders.contains_key(&index) {
                    let length = weights.files.bytes(raw).len() as u64;
                    pieces.push(Piece::Tensor { head: head(field.bytes()?)?, index, length });
                } else {
                    pieces.push(Piece::Same(field.whole));
                }
                index += 1;
            }
            _ => pieces.push(Piece::Same(field.whole)),
        }
    }
    pieces.extend(plan.edits.added.iter().map(|tensor| whole(tensor)));
    let mut new: Vec<usize> = plan.new.iter().copied().collect();
    new.sort_unstable();
    for index in new {
        let raw = &weights.raws[index];
        let mut tensor = Vec::new();
        for &size in &raw.shape {
            put_int(&mut tensor, 1, size as i64);
        }
        put_int(&mut tensor, 2, elem_of(raw));
        put_bytes(&mut tensor, 8, raw.name.as_bytes());
        if let Some(place) = places.get(&index) {
            external(&mut tensor, beside.unwrap_or(""), *place);
            pieces.push(whole(&tensor));
        } else {
            let length = weights.files.bytes(raw).len() as u64;
            pieces.push(Piece::Tensor { head: tensor, index, length });
        }
    }
    Ok(pieces)
}

fn whole(tensor: &[u8]) -> Piece<'static> {
    let mut message = Vec::new();
    put_bytes(&mut message, 5, tensor);
    Piece::New(message)
}

/// A tensor's message without its elements.
fn head(bytes: &[u8]) -> Result<Vec<u8>, super::WireFault> {
    let mut head = Vec::new();
    let mut rest = bytes;
    while let Some(Field { number, whole, .. }) = wire::next(&mut rest)? {
        if !matches!(number, 4..=7 | 9..=11 | 13 | 14) {
            head.extend_from_slice(whole);
        }
    }
    Ok(head)
}

/// Says that a tensor's elements lie in a file beside the model.
fn external(tensor: &mut Vec<u8>, location: &str, (offset, length): (u64, u64)) {
    for (key, value) in
        [("location", location.to_owned()), ("offset", offset.to_string()), ("length", length.to_string())]
    {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, key.as_bytes());
        put_bytes(&mut entry, 2, value.as_bytes());
        put_bytes(tensor, 13, &entry);
    }
    put_int(tensor, 14, 1);
}

/// Whether a node is an identity whose output is one of the names.
fn is_renaming(bytes: &[u8], names: &HashSet<&str>) -> Result<bool, super::WireFault> {
    let (mut op, mut output) = ("", "");
    let mut rest = bytes;
    while let Some(field) = wire::next(&mut rest)? {
        match field.number {
            2 => output = field.text()?,
            4 => op = field.text()?,
            _ => {}
        }
    }
    Ok(op == "Identity" && names.contains(output))
}

pub(super) fn elem_of(raw: &Raw) -> i64 {
    (1..=16).find(|&elem| super::store::dtype_of(elem) == Some(raw.dtype)).unwrap_or(1)
}

/// A name for data beside a model that no file has.
fn free_name(model: &Path) -> PathBuf {
    let name = model.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let first = std::iter::once(format!("{name}.data"));
    let others = (1u32..).map(|n| format!("{name}.{n}.data"));
    first
        .chain(others)
        .map(|name| model.with_file_name(name))
        .find(|path| fs::symlink_metadata(path).is_err())
        .unwrap_or_else(|| model.with_file_name("model.data"))
}

/// A file that takes its name when it is whole.
struct Out {
    target: PathBuf,
    aside: PathBuf,
    file: Option<BufWriter<File>>,
    written: u64,
}

impl Out {
    fn begin(target: &Path) -> Result<Self, Error> {
        let name = target.file_name().unwrap_or_default();
        loop {
            let aside = target.with_file_name(aside_name(name));
            match OpenOptions::new().write(true).create_new(true).open(&aside) {
                Ok(file) => {
                    let file = Some(BufWriter::with_capacity(1 << 20, file));
                    return Ok(Self { target: target.to_owned(), aside, file, written: 0 });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", target)(error)),
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.written += bytes.len() as u64;
        match &mut self.file {
            Some(file) => file.write_all(bytes).map_err(Error::writing(&self.target, self.written)),
            None => Ok(()),
        }
    }

    fn commit(mut self) -> Result<(), Error> {
        if let Some(file) = self.file.take() {
            let file = file
                .into_inner()
                .map_err(|error| Error::writing(&self.target, self.written)(error.into_error()))?;
            file.sync_all().map_err(Error::writing(&self.target, self.written))?;
            fs::rename(&self.aside, &self.target).map_err(Error::io("write", &self.target))?;
            self.aside.clear();
        }
        sync_folder(parent_of(&self.target))
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        if !self.aside.as_os_str().is_empty() {
            // A drop has nowhere to report to.
            let _ = fs::remove_file(&self.aside);
        }
    }
}
