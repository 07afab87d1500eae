//! Files that `torch.save` writes: a state dict by itself, or one of a larger checkpoint.
//!
//! A file is a zip archive of storages and a pickle that says how tensors lie in them. Storages stand in it as they are, so that a
//! tensor is a range of the mapped file; the pickle is read by [`pickle`], which runs nothing.

mod archive;
mod fault;
mod globals;
mod pickle;
mod state;
mod strided;

use std::collections::HashMap;
use std::path::Path;

use epoch0_num::Dtype;

use super::{Header, Note, TensorInfo};
use crate::error::{Fault, shown, shown_shape};
use archive::Entries;
pub use fault::TorchFault;
use pickle::{Pickle, Rebuilt};
pub(crate) use strided::Strided;

/// Endings of files that torch writes.
pub(crate) const ENDINGS: [&str; 4] = ["bin", "pt", "pth", "ckpt"];
/// Bytes that copies of tensors whose elements do not follow each other may take, beyond four times the file's.
const COPIED: usize = 1 << 24;

/// What a file of torch holds.
#[derive(Debug, Default)]
pub struct TorchFile {
    /// Its tensors, in the order of their data: each once, under the first of its names. Ranges may overlap and leave holes.
    pub header: Header,
    /// How elements lie in a tensor's range, where they do not follow each other; beside the tensors.
    pub(crate) strided: Vec<Option<Strided>>,
    /// Further names of tensors, with the tensor's place in the header.
    pub ties: Vec<(String, usize)>,
    /// What is odd about it.
    pub notes: Vec<Note>,
}

/// Whether a file is one of torch's, by how it begins and what it is called.
pub(crate) fn is_torch(path: &Path, file: &[u8]) -> bool {
    let is_named = path.extension().is_some_and(|ext| ENDINGS.iter().any(|ending| ext == *ending));
    archive::is_archive(file) || is_named && file.get(8) != Some(&b'{')
}

impl TorchFile {
    /// Reads what a whole file says of its tensors; `key` says under which key they are, where the file has several.
    ///
    /// # Errors
    /// When it is no archive of `torch.save`, is not whole, names what would have to be run, or holds no tensors by name.
    pub fn parse(file: &[u8], key: Option<&str>) -> Result<Self, Fault> {
        if !archive::is_archive(file) {
            return Err(no_archive(file).into());
        }
        let entries = archive::entries(file)?;
        let is_pickle = |name: &&&str| name.split_once('/').is_some_and(|(_, name)| name == "data.pkl");
        let name = entries.keys().find(is_pickle);
        let name =
            name.ok_or_else(|| TorchFault::archive("it has no data.pkl, as archives of torch.save have"))?;
        let folder = name.trim_end_matches("data.pkl");
        let order =
            entries.get(format!("{folder}byteorder").as_str()).map_or(&b"little"[..], |at| &file[at.clone()]);
        if order != b"little" {
            let found = shown(&String::from_utf8_lossy(&order[..order.len().min(16)]));
            return Err(TorchFault::ByteOrder { found }.into());
        }
        let pickle = Pickle::parse(&file[entries[*name].clone()])?;
        let chosen = state::dict(&pickle, key)?;
        let mut own = Self { notes: chosen.notes, ..Self::default() };
        own.lay_out(&chosen.tensors, &pickle, &entries, folder, file.len())?;
        Ok(own)
    }

    fn lay_out(
        &mut self,
        tensors: &[(String, &Rebuilt)],
        pickle: &Pickle<'_>,
        entries: &Entries<'_>,
        folder: &str,
        length: usize,
    ) -> Result<(), Fault> {
        let mut placed: Vec<(TensorInfo, Option<Strided>)> = Vec::with_capacity(tensors.len());
        let mut ties = Vec::new();
        let mut seen = HashMap::new();
        let mut left = length.saturating_mul(4).saturating_add(COPIED);
        for (name, tensor) in tensors {
            let key = &pickle.bytes[tensor.storage.key.clone()];
            let entry =
                str::from_utf8(key).ok().and_then(|key| entries.get(format!("{folder}data/{key}").as_str()));
            let entry = entry.ok_or_else(|| {
                let key = shown(&String::from_utf8_lossy(key));
                TorchFault::tensor(name, format!("its numbers, entry `data/{key}`, are not in the archive"))
            })?;
            let (info, strided) = place(name, tensor, entry)?;
            if strided.is_some() {
                let bytes = info.dtype.bytes() * info.shape.iter().product::<usize>();
                left = left.checked_sub(bytes).ok_or_else(|| {
                    let why = "it repeats its elements, and with it more is repeated than the file is long";
                    TorchFault::tensor(name, why)
                })?;
            }
            let is_empty = info.range.is_empty();
            let lies = (info.range.clone(), info.dtype, info.shape.clone(), strided.clone());
            match seen.get(&lies) {
                Some(&first) if !is_empty => ties.push((name.clone(), first)),
                _ => {
                    seen.insert(lies, placed.len());
                    placed.push((info, strided));
                }
            }
        }
        // In the order of data; where a tensor went is looked up for those tied to it.
        let mut order: Vec<usize> = (0..placed.len()).collect();
        order.sort_by_key(|&at| (placed[at].0.range.start, at));
        let mut went = vec![0; placed.len()];
        order.iter().enumerate().for_each(|(at, &from)| went[from] = at);
        for (name, first) in ties {
            self.notes.push(Note::Tied { tensor: shown(&name), with: shown(&placed[first].0.name) });
            self.ties.push((name, went[first]));
        }
        let mut placed: Vec<_> = placed.into_iter().map(Some).collect();
        for (info, strided) in order.iter().filter_map(|&from| placed[from].take()) {
            self.header.tensors.push(info);
            self.strided.push(strided);
        }
        Ok(())
    }
}

/// Where a tensor lies, in a storage that is these bytes of the file.
fn place(
    name: &str,
    tensor: &Rebuilt,
    storage: &std::ops::Range<usize>,
) -> Result<(TensorInfo, Option<Strided>), TorchFault> {
    let wrong = |why: String| TorchFault::tensor(name, why);
    let dtype = tensor.dtype.or(tensor.storage.dtype).ok_or_else(|| wrong("it has no type".to_owned()))?;
    if !dtype.bits().is_multiple_of(8) {
        return Err(wrong(format!("its type is {dtype}, which shares bytes, allowed whole bytes")));
    }
    let size = dtype.bytes();
    let stored = tensor.storage.dtype.map_or(1, Dtype::bytes);
    let held = usize::try_from(tensor.storage.elements).ok().and_then(|n| n.checked_mul(stored));
    let held = held.filter(|held| *held <= storage.len()).ok_or_else(|| {
        let (n, found) = (tensor.storage.elements, storage.len());
        wrong(format!("its storage has {n} elements of {stored} bytes, but {found} bytes in the archive"))
    })?;
    let shape = || shown_shape(&tensor.shape);
    let natural = |numbers: &[i64]| -> Option<Vec<usize>> {
        numbers.iter().map(|&n| usize::try_from(n).ok()).collect()
    };
    let dims = natural(&tensor.shape).zip(natural(&tensor.strides)).zip(usize::try_from(tensor.offset).ok());
    let Some(((dims, strides), offset)) = dims.filter(|((dims, strides), _)| dims.len() == strides.len())
    else {
        let (strides, offset) = (shown_shape(&tensor.strides), tensor.offset);
        return Err(wrong(format!(
            "shape {}, strides {strides} and offset {offset} fit no storage",
            shape()
        )));
    };
    let past = || wrong(format!("of shape {} it reaches past its storage of {held} bytes", shape()));
    let bytes = dims.iter().try_fold(size, |n, &dim| n.checked_mul(dim)).ok_or_else(past)?;
    let start = offset.checked_mul(size).filter(|start| *start <= held).ok_or_else(past)?;
    let mut span = bytes.min(size);
    if bytes > 0 {
        for (&dim, &stride) in dims.iter().zip(&strides) {
            let reach = (dim - 1).checked_mul(stride).and_then(|n| n.checked_mul(size));
            span = reach.and_then(|reach| span.checked_add(reach)).ok_or_else(past)?;
        }
    }
    let end = start.checked_add(span).filter(|end| *end <= held).ok_or_else(past)?;
    let strided = Strided::of(&dims, &strides, size);
    let range = storage.start + start..storage.start + end;
    Ok((TensorInfo { name: name.to_owned(), dtype, shape: dims, range }, strided))
}

/// What a file is that should be an archive.
fn no_archive(file: &[u8]) -> TorchFault {
    let is_pickle = matches!(file, [0x80, 2..=5, ..]);
    match file.get(257..262) {
        _ if is_pickle => TorchFault::Legacy { found: "a bare pickle" },
        Some(b"ustar") => TorchFault::Legacy { found: "a tar archive" },
        _ => TorchFault::Unknown,
    }
}
