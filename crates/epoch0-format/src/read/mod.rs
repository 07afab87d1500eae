//! Reading checkpoints, safetensors or torch's: one file, or shards and an index.

mod header;
mod index;
mod tensor;
pub mod torch;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use memmap2::Mmap;

pub use header::{Header, TensorInfo};
pub(crate) use header::{LENGTH_BYTES, LONGEST_HEADER, METADATA};
pub use index::Index;
pub(crate) use index::is_plain_name;
pub use tensor::Tensor;
pub(crate) use tensor::{convert_f32, convert_f64};

use crate::error::{Error, Fault, shown};
use torch::{Strided, TorchFault, TorchFile};

/// Name of a checkpoint in one file.
pub const SINGLE_FILE: &str = "model.safetensors";
/// Name of the index of a checkpoint in shards.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// Names of a checkpoint that torch wrote, in one file and in shards.
pub const TORCH_FILES: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
/// The longest index that is read.
const LONGEST_INDEX: u64 = 100_000_000;

/// An open checkpoint, memory-mapped: opening reads headers only, tensors are read where they are looked at.
///
/// Lengths are checked when files are opened. A file that another program then cuts short takes the pages under the
/// map away, and the system kills a process that looks at them (`SIGBUS`): replace checkpoints by renaming, never by
/// writing into them, as everything in this crate does.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    files: Vec<Mapped>,
    /// (file, tensor in it), in the order of files and of their data.
    order: Vec<(usize, usize)>,
    by_name: HashMap<String, usize>,
    metadata: BTreeMap<String, String>,
    notes: Vec<Note>,
}

/// Something odd about a checkpoint that does not keep it from being read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Note {
    /// The index states a size that the tensors do not have. Published checkpoints often do.
    #[error("the index states a total_size of {stated}, its tensors have {found} bytes")]
    TotalSize {
        /// The number in the index.
        stated: String,
        /// Bytes of all tensors.
        found: u64,
    },
    /// A shard holds a tensor that the index does not name. It is read all the same.
    #[error("tensor `{tensor}` in `{shard}` is not in the index")]
    Unlisted {
        /// The tensor.
        tensor: String,
        /// The shard.
        shard: String,
    },
    /// Shards disagree about an entry of their metadata; the first one counts.
    #[error("metadata `{key}` of `{shard}` differs from that of the shards before it")]
    Metadata {
        /// The entry.
        key: String,
        /// The shard that differs.
        shard: String,
    },
    /// Two tensors of a file are one: it stands under the first name, and is found by both.
    #[error("`{tensor}` is tied to `{with}`")]
    Tied {
        /// The second name.
        tensor: String,
        /// The first.
        with: String,
    },
    /// Something among the tensors that is none. It is left alone.
    #[error("`{entry}` is {found}, no tensor")]
    NoTensor {
        /// Its name.
        entry: String,
        /// What it is.
        found: &'static str,
    },
}

/// How elements lie, and a copy in which they follow each other.
type Apart = (Strided, OnceLock<Box<[u8]>>);

#[derive(Debug)]
struct Mapped {
    path: PathBuf,
    map: Mmap,
    header: Header,
    /// Of tensors whose elements do not follow each other in the file, how they lie, and a copy from when they are looked at.
    strided: HashMap<usize, Apart>,
    /// Further names of tensors.
    ties: Vec<(String, usize)>,
    notes: Vec<Note>,
}

impl Checkpoint {
    /// Opens a safetensors file, one that torch wrote (`.bin`, `.pt`, `.pth`, `.ckpt`), an index with its shards, or a folder with
    /// any of these.
    ///
    /// In a folder with several, safetensors come first, and one file before shards, as it is for `transformers`. A file of torch
    /// may hold tensors under several keys; `model.pth#ema` opens those under `ema`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let (at, key) = with_key(path);
        let meta = fs::metadata(at).map_err(Error::io("open", at))?;
        if !meta.is_dir() {
            return Self::open_file(path, at, key);
        }
        let names = [SINGLE_FILE, INDEX_FILE].into_iter().chain(TORCH_FILES);
        match names.map(|name| at.join(name)).find(|file| file.exists()) {
            Some(file) => Self::open_file(path, &file, key),
            None => Err(Error::NoCheckpoint { path: path.to_owned(), found: weights_in(at)? }),
        }
    }

    fn open_file(path: &Path, file: &Path, key: Option<&str>) -> Result<Self, Error> {
        if file.to_string_lossy().ends_with(".json") {
            Self::open_index(path, file, key)
        } else {
            Self::of_files(path, vec![Mapped::open(file, key)?])
        }
    }

    fn open_index(path: &Path, index_path: &Path, key: Option<&str>) -> Result<Self, Error> {
        let length = regular_length(index_path)?;
        if LONGEST_INDEX < length {
            let fault = Fault::IndexLength { found: length, allowed: LONGEST_INDEX };
            return Err(Error::malformed(index_path)(fault));
        }
        let text = fs::read(index_path).map_err(Error::io("read", index_path))?;
        let index = Index::parse(&text).map_err(Error::malformed(index_path))?;

        let folder = index_path.parent().unwrap_or(Path::new(""));
        let shards: BTreeMap<&str, &str> =
            index.weight_map.iter().rev().map(|(tensor, shard)| (shard.as_str(), tensor.as_str())).collect();
        let mut files = Vec::with_capacity(shards.len());
        for (shard, tensor) in shards {
            let shard_path = folder.join(shard);
            if !shard_path.exists() {
                let fault = Fault::MissingShard { tensor: shown(tensor), shard: shown(shard) };
                return Err(Error::malformed(index_path)(fault));
            }
            files.push(Mapped::open(&shard_path, key)?);
        }
        let mut checkpoint = Self::of_files(path, files)?;
        checkpoint.check_index(&index).map_err(Error::malformed(index_path))?;
        Ok(checkpoint)
    }

    fn of_files(path: &Path, files: Vec<Mapped>) -> Result<Self, Error> {
        let mut checkpoint = Self {
            path: path.to_owned(),
            files: Vec::new(),
            order: Vec::new(),
            by_name: HashMap::new(),
            metadata: BTreeMap::new(),
            notes: Vec::new(),
        };
        for (nth, file) in files.iter().enumerate() {
            let first = checkpoint.order.len();
            checkpoint.order.extend((0..file.header.tensors.len()).map(|at| (nth, at)));
            let tensors = file.header.tensors.iter().enumerate().map(|(at, tensor)| (&tensor.name, at));
            for (name, at) in tensors.chain(file.ties.iter().map(|(name, at)| (name, *at))) {
                if let Some(&other) = checkpoint.by_name.get(name) {
                    let (first, second) = (files[checkpoint.order[other].0].name(), file.name());
                    let fault = Fault::TwoShards { tensor: shown(name), first, second };
                    return Err(Error::malformed(path)(fault));
                }
                checkpoint.by_name.insert(name.clone(), first + at);
            }
            checkpoint.notes.extend(file.notes.iter().cloned());
            for (key, text) in &file.header.metadata {
                let kept = checkpoint.metadata.entry(key.clone()).or_insert_with(|| text.clone());
                if kept != text {
                    checkpoint.notes.push(Note::Metadata { key: shown(key), shard: file.name() });
                }
            }
        }
        checkpoint.files = files;
        Ok(checkpoint)
    }

    /// Every tensor of the index has to be where the index says.
    fn check_index(&mut self, index: &Index) -> Result<(), Fault> {
        let mut listed = vec![false; self.order.len()];
        for (tensor, shard) in &index.weight_map {
            let Some(&at) = self.by_name.get(tensor) else {
                return Err(Fault::NoShard { tensor: shown(tensor), shard: shown(shard) });
            };
            listed[at] = true;
            let found = self.files[self.order[at].0].name();
            if found != shown(shard) {
                return Err(Fault::WrongShard { tensor: shown(tensor), stated: shown(shard), found });
            }
        }
        for (at, _) in listed.iter().enumerate().filter(|(_, listed)| !**listed) {
            let tensor = self.nth(at);
            self.notes.push(Note::Unlisted { tensor: shown(tensor.name()), shard: file_name(tensor.file()) });
        }
        let found = self.total_bytes();
        if let Some(stated) = &index.total_size
            && stated.as_u64() != Some(found)
            && stated.as_f64() != Some(found as f64)
        {
            self.notes.push(Note::TotalSize { stated: stated.to_string(), found });
        }
        Ok(())
    }

    /// What was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The tensors: files by name, and in each the order of the data.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Tensor<'_>> {
        (0..self.len()).map(|at| self.nth(at))
    }

    /// The tensor with this name, also where that is a further name of one: tied tensors of torch's files have several.
    pub fn get(&self, name: &str) -> Option<Tensor<'_>> {
        self.by_name.get(name).map(|&at| self.nth(at))
    }

    /// The tensor with this name, or an error that suggests names near it.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>, Error> {
        self.get(name).ok_or_else(|| Error::UnknownTensor {
            path: self.path.clone(),
            name: name.to_owned(),
            near: self.near(name),
        })
    }

    /// The texts under `__metadata__`. Where shards disagree the first one counts, and there is a [`Note`].
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The files, sorted by name, with what each says about itself.
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&Path, &Header)> {
        self.files.iter().map(|file| (file.path.as_path(), &file.header))
    }

    /// Bytes of all tensors.
    pub fn total_bytes(&self) -> u64 {
        self.tensors().map(|tensor| tensor.bytes().len() as u64).sum()
    }

    /// What is odd about this checkpoint.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    fn nth(&self, at: usize) -> Tensor<'_> {
        let (nth, at) = self.order[at];
        let file = &self.files[nth];
        let info = &file.header.tensors[at];
        let bytes = &file.map[info.range.clone()];
        let bytes = match file.strided.get(&at) {
            Some((strided, copy)) => copy.get_or_init(|| strided.gather(bytes)),
            None => bytes,
        };
        Tensor { info, file: &file.path, bytes }
    }

    fn near(&self, name: &str) -> Vec<String> {
        const MOST: usize = 3;
        let mut near: Vec<(f64, &str)> = (self.tensors())
            .map(|tensor| (strsim::jaro_winkler(name, tensor.name()), tensor.name()))
            .filter(|(similarity, _)| 0.85 < *similarity)
            .collect();
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        near.into_iter().take(MOST).map(|(_, name)| shown(name)).collect()
    }
}

impl Mapped {
    fn open(path: &Path, key: Option<&str>) -> Result<Self, Error> {
        let length = regular_length(path)?;
        if length < LENGTH_BYTES as u64 {
            return Err(Error::malformed(path)(Fault::TooShort { found: length }));
        }
        let file = File::open(path).map_err(Error::io("open", path))?;
        #[expect(unsafe_code, reason = "mapping a file is unsafe because others may change it")]
        // SAFETY: the map is read-only and private to this value. That no other program changes the file is a demand
        // that `Checkpoint` documents; changed bytes change numbers but never lengths, which were checked once, and
        // nothing here relies on the bytes being valid beyond the header, whose parsed form is an owned copy.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("map", path))?;
        let found = if torch::is_torch(path, &map) {
            TorchFile::parse(&map, key)
        } else if let Some(key) = key {
            Err(TorchFault::NoKey { wanted: shown(key), keys: Vec::new() }.into())
        } else {
            Header::parse(&map).map(|header| TorchFile { header, ..TorchFile::default() })
        };
        let TorchFile { header, strided, ties, notes } = found.map_err(Error::malformed(path))?;
        let strided = strided.into_iter().enumerate();
        let strided = strided.filter_map(|(at, how)| Some((at, (how?, OnceLock::new())))).collect();
        Ok(Self { path: path.to_owned(), map, header, strided, ties, notes })
    }

    fn name(&self) -> String {
        file_name(&self.path)
    }
}

fn file_name(path: &Path) -> String {
    shown(&path.file_name().unwrap_or_default().to_string_lossy())
}

/// Length of a regular file; anything else might never end, or never begin.
pub(crate) fn regular_length(path: &Path) -> Result<u64, Error> {
    let meta = fs::metadata(path).map_err(Error::io("open", path))?;
    if meta.is_file() {
        Ok(meta.len())
    } else {
        let found = if meta.is_dir() { "a folder" } else { "a device or a pipe" };
        Err(Error::NotAFile { path: path.to_owned(), found })
    }
}

/// A path, and the key behind its last `#` where there is no file of the whole name.
fn with_key(path: &Path) -> (&Path, Option<&str>) {
    let split = path.to_str().filter(|_| !path.exists()).and_then(|text| text.rsplit_once('#'));
    match split {
        Some((file, key)) if Path::new(file).exists() => (Path::new(file), Some(key)),
        _ => (path, None),
    }
}

/// Whether a path names a checkpoint, by the names of files alone: a folder with one, or a file of weights.
pub fn names_checkpoint(path: &Path) -> bool {
    let (path, _) = with_key(path);
    if path.is_dir() {
        return [SINGLE_FILE, INDEX_FILE].iter().chain(&TORCH_FILES).any(|name| path.join(name).is_file());
    }
    path.is_file() && is_weights(&path.to_string_lossy())
}

/// The folder that a checkpoint is, or that its file stands in.
pub fn folder_of(path: &Path) -> &Path {
    let (path, _) = with_key(path);
    if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) }
}

/// Whether a file of this name holds weights.
fn is_weights(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    ending == "safetensors" || torch::ENDINGS.contains(&ending)
}

fn weights_in(folder: &Path) -> Result<Vec<String>, Error> {
    const MOST: usize = 5;
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let name = entry.map_err(Error::io("list", folder))?.file_name().to_string_lossy().into_owned();
        if is_weights(&name) || name.ends_with(".safetensors.index.json") || name.ends_with(".bin.index.json")
        {
            names.push(shown(&name));
        }
    }
    names.sort();
    names.truncate(MOST);
    Ok(names)
}
