//! A data set by a short specification.
//!
//! A specification is one of
//!
//! - the name of a public set, `mnist` or `tinyshakespeare,block=64`: looked for in the data folders ([`Places`]);
//! - a path: a folder (files of MNIST or CIFAR, tables of Planetoid, images by class) or a file (`.csv`, `.tsv`, `.npy`,
//!   `.npz`, `.safetensors`, `.txt`, IDX);
//! - a generator, `gaussians:classes=10,dim=784,n=10000,separation=2` ([`make::KNOWN`](crate::make::KNOWN)).
//!
//! Options stand after the name or the path, parted by commas. All take
//!
//! | option | is | default |
//! |---|---|---|
//! | `first` | how many training examples are kept, the first | all |
//! | `normalize` | `none`, `whole` or `channel`: scaled to mean 0 and variance 1 as measured on the training part | `none` |
//! | `flatten` | `true` makes each input one dimension | `false` |
//!
//! and files without a test part also `holdout`, the number of examples that are held out to test on, chosen by
//! `holdout_seed`. A name wins over a path; `./mnist` is the path.

use std::path::{Path, PathBuf};

use epoch0_net::zoo::spec::{Spec, near, short};

use crate::read::{self, cifar, idx, images, npy, npz, plain_or_gz, planetoid, table, text};
use crate::{Dataset, Error, Examples, Normalize, Per, make, prepare};

/// Folders where public sets are looked for, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The folders.
    pub folders: Vec<PathBuf>,
}

impl Places {
    /// `$EPOCH0_DATA` if it is set, then the [cache](crate::fetch::cache_folder).
    pub fn from_env() -> Self {
        let own = std::env::var_os("EPOCH0_DATA").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        Self { folders: own.into_iter().chain(crate::fetch::cache_folder()).collect() }
    }

    /// The first of these folders or files that is there.
    pub fn find(&self, names: &[&str]) -> Option<PathBuf> {
        let paths = |name: &&str| self.folders.iter().map(|folder| folder.join(name)).collect::<Vec<_>>();
        names.iter().flat_map(paths).find(|path| path.exists())
    }
}

/// A public set.
#[derive(Clone, Copy, serde::Serialize)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What may follow the name, besides what all take.
    pub syntax: &'static str,
    /// What it is, in a line.
    pub text: &'static str,
    /// What it is called in a data folder; the first that is there is taken.
    pub folders: &'static [&'static str],
    #[serde(skip)]
    read: Read,
}

/// Takes what it needs of a specification; what it returns reads the path.
type Read = fn(&mut Spec<'_>) -> Result<Reader, String>;

type Reader = Box<dyn FnOnce(&Path) -> Result<Dataset, Error>>;

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Names of the classes of MNIST.
pub const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

#[rustfmt::skip]
const CLOTHES: [&str; 10] = [
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
];

const TEXT_SYNTAX: &str = "[,tokens=characters|bytes][,block=128][,test_share=0.1]";

/// The public sets that have names.
#[rustfmt::skip]
pub static KNOWN: &[Entry] = &[
    Entry { name: "mnist", syntax: "", text: "handwritten digits, 60,000 + 10,000 of 28 × 28 (LeCun, Cortes, Burges)",
        folders: &["mnist", "MNIST"], read: |_| reader(|path| idx::read_folder(path, "MNIST", &names(&DIGITS))) },
    Entry { name: "fashion-mnist", syntax: "", text: "clothes, in the form of MNIST (Xiao, Rasul, Vollgraf 2017)",
        folders: &["fashion-mnist", "FashionMNIST"], read: |_| reader(|path| idx::read_folder(path, "Fashion-MNIST", &names(&CLOTHES))) },
    Entry { name: "cifar10", syntax: "", text: "photographs in 10 classes, 50,000 + 10,000 of 3 × 32 × 32 (Krizhevsky 2009)",
        folders: &["cifar10", "cifar-10-batches-bin", "cifar10-jpeg"], read: |_| reader(cifar10) },
    Entry { name: "cifar100", syntax: "", text: "photographs in 100 classes, 50,000 + 10,000 of 3 × 32 × 32 (Krizhevsky 2009)",
        folders: &["cifar100", "cifar-100-binary"], read: |_| reader(|path| cifar::read_folder(path, "CIFAR-100", cifar::Kind::Cifar100)) },
    Entry { name: "cora", syntax: "", text: "citations between 2,708 papers in 7 classes (Planetoid's split)",
        folders: &["cora", "planetoid/cora"], read: |_| reader(|path| planetoid::read_folder(path, "Cora")) },
    Entry { name: "citeseer", syntax: "", text: "citations between 3,327 papers in 6 classes (Planetoid's split)",
        folders: &["citeseer", "planetoid/citeseer"], read: |_| reader(|path| planetoid::read_folder(path, "Citeseer")) },
    Entry { name: "pubmed", syntax: "", text: "citations between 19,717 papers in 3 classes (Planetoid's split)",
        folders: &["pubmed", "planetoid/pubmed"], read: |_| reader(|path| planetoid::read_folder(path, "Pubmed")) },
    Entry { name: "tinyshakespeare", syntax: TEXT_SYNTAX, text: "1.1 MB of Shakespeare (Karpathy 2015)",
        folders: &["tinyshakespeare/tinyshakespeare.txt", "text/tinyshakespeare.txt", "tinyshakespeare.txt"], read: read_text },
];

#[expect(
    clippy::unnecessary_wraps,
    reason = "what reads options may fail, what has none is written the same"
)]
fn reader(read: impl FnOnce(&Path) -> Result<Dataset, Error> + 'static) -> Result<Reader, String> {
    Ok(Box::new(read))
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The copy that was compressed on its way says so wherever its name is shown.
fn cifar10(path: &Path) -> Result<Dataset, Error> {
    let name = if path.ends_with("cifar10-jpeg") {
        "CIFAR-10 (from a JPEG copy, slightly lossier than the original)"
    } else {
        "CIFAR-10"
    };
    cifar::read_folder(path, name, cifar::Kind::Cifar10)
}

fn read_text(spec: &mut Spec<'_>) -> Result<Reader, String> {
    let default = text::Options::default();
    let options = text::Options {
        tokens: match spec.choice("tokens", "characters", &["characters", "bytes"])? {
            "bytes" => text::Tokens::Bytes,
            _ => text::Tokens::Characters,
        },
        block: spec.size("block", default.block, &(1..=1 << 20))?,
        test_share: spec.real("test_share", default.test_share)?,
    };
    reader(move |path| text::read(path, options))
}

fn read_table(spec: &mut Spec<'_>) -> Result<Reader, String> {
    let options = table::Options {
        target: spec.text("target").map(str::to_owned),
        kind: match spec.choice("kind", "auto", &["auto", "classes", "values"])? {
            "classes" => table::Kind::Classes,
            "values" => table::Kind::Values,
            _ => table::Kind::Auto,
        },
    };
    reader(move |path| table::read(path, &options))
}

fn read_images(spec: &mut Spec<'_>) -> Result<Reader, String> {
    // 0 stands for what is not given.
    let size = spec.size("size", 0, &(1..=1 << 14))?;
    let channels = spec.size("channels", 0, &(1..=3))?;
    let given = |number: usize| Some(number).filter(|&number| number > 0);
    let options = images::Options { size: given(size).map(|size| size as u32), channels: given(channels) };
    reader(move |path| images::read_folder(path, options))
}

/// How a path is read, by what is in the folder or by the ending of the file's name.
fn reader_of(path: &Path, spec: &mut Spec<'_>) -> Result<Reader, String> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    if path.is_dir() {
        let has = |name: &str| plain_or_gz(path, name).is_some();
        if has("train-images-idx3-ubyte") {
            let n_classes = spec.size("classes", 10, &(1..=256))?;
            let classes: Vec<String> = (0..n_classes).map(|class| class.to_string()).collect();
            return reader(move |path| idx::read_folder(path, &name, &classes));
        }
        if has("data_batch_1.bin") || has("train.bin") {
            return reader(move |path| cifar::read_folder(path, &name, cifar::kind_of(path)?));
        }
        if has("edges.tsv") {
            return reader(move |path| planetoid::read_folder(path, &name));
        }
        if images::has_folders(path) {
            return read_images(spec);
        }
        return Err("the folder holds no data that are known\nhint: a folder has files of MNIST or CIFAR, \
                    the tables of Planetoid, or a sub-folder of images for each class"
            .to_owned());
    }
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    let ending = plain.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
    match ending.as_str() {
        "csv" | "tsv" => read_table(spec),
        "txt" | "md" => read_text(spec),
        "npz" => reader(move |path| read::from_arrays(&name, &npz::read(path)?)),
        "npy" => reader(move |path| read::from_arrays(&name, &[("inputs".to_owned(), npy::read(path)?)])),
        "safetensors" => reader(move |path| read::from_arrays(&name, &read::safetensors(path)?)),
        _ if ending == "idx" || plain.ends_with("-ubyte") => {
            reader(move |path| read::from_arrays(&name, &[("inputs".to_owned(), idx::read(path)?)]))
        }
        _ => Err("the file's format cannot be told from its name\nhint: names end in .csv, .tsv, .txt, .md, .npy, \
                  .npz, .safetensors, .idx or -ubyte; with .gz after it or not"
            .to_owned()),
    }
}

/// What all specifications take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Common {
    first: usize,
    normalize: Option<Per>,
    flatten: bool,
}

impl Common {
    fn read(spec: &mut Spec<'_>) -> Result<Self, String> {
        Ok(Self {
            first: spec.size("first", 0, &(1..=usize::MAX))?,
            normalize: match spec.choice("normalize", "none", &["none", "whole", "channel"])? {
                "whole" => Some(Per::Whole),
                "channel" => Some(Per::Channel),
                _ => None,
            },
            flatten: spec.flag("flatten", false)?,
        })
    }

    fn apply(self, mut data: Dataset) -> Result<Dataset, Error> {
        if data.graph.is_some() && (self.first > 0 || self.flatten) {
            let found = "a graph, whose nodes stay together";
            return Err(Error::content(data.name, "what first and flatten are for", found, "examples"));
        }
        if self.first > 0 {
            data.train = prepare::first(&data.train, self.first)?;
        }
        if let Some(per) = self.normalize {
            (data, _) = Normalize::dataset(data, per)?;
        }
        if self.flatten {
            data.train = data.train.flattened();
            data.test = data.test.map(Examples::flattened);
        }
        Ok(data)
    }
}

impl Dataset {
    /// The data set that a [specification](mod@crate::open) describes, public ones from [`Places::from_env`].
    ///
    /// # Errors
    /// When nothing is known under the name, an option is unknown or out of its range, or the data cannot be read or are
    /// not what they have to be.
    pub fn open(spec: &str) -> Result<Self, Error> {
        Self::open_from(spec, &Places::from_env())
    }

    /// The same, public sets from these places.
    ///
    /// # Errors
    /// As [`Dataset::open`].
    pub fn open_from(text: &str, places: &Places) -> Result<Self, Error> {
        let wrong = |why: String| Error::Spec { spec: short(text), why };
        let name = text.split([':', ',']).next().unwrap_or(text).trim();
        if let Some(entry) = KNOWN.iter().find(|entry| entry.name == name) {
            let mut spec = Spec::parse(text).map_err(wrong)?;
            let common = Common::read(&mut spec).map_err(wrong)?;
            let read = (entry.read)(&mut spec).map_err(wrong)?;
            spec.done().map_err(wrong)?;
            return common.apply(read(&entry.find(places)?)?);
        }
        if make::KNOWN.iter().any(|entry| entry.name == name) {
            let mut spec = Spec::parse(text).map_err(wrong)?;
            let common = Common::read(&mut spec).map_err(wrong)?;
            let made = make::from_spec(&mut spec).map_err(wrong)?;
            return common.apply(made.ok_or_else(|| unknown(name))?);
        }
        let (path, options) = path_and_options(text).ok_or_else(|| unknown(name))?;
        // The grammar wants a name before the options.
        let options = if options.is_empty() { String::new() } else { format!("path,{options}") };
        let mut spec = Spec::parse(&options).map_err(wrong)?;
        let common = Common::read(&mut spec).map_err(wrong)?;
        let held_out = spec.size("holdout", 0, &(0..=usize::MAX)).map_err(wrong)?;
        let seed = spec.size("holdout_seed", 0, &(0..=usize::MAX)).map_err(wrong)?;
        let read = reader_of(path, &mut spec).map_err(wrong)?;
        spec.done().map_err(wrong)?;
        let mut data = read(path)?;
        if held_out > 0 {
            if data.test.is_some() {
                return Err(wrong("holdout is given, and the data have a test part of their own".to_owned()));
            }
            let split = prepare::split(&data.train, held_out, seed as u64)?;
            (data.train, data.test) = (split.rest, Some(split.held_out));
        }
        common.apply(data)
    }
}

impl Entry {
    /// Where the set is.
    ///
    /// # Errors
    /// When it is in none of these places; says how to get it.
    pub fn find(&self, places: &Places) -> Result<PathBuf, Error> {
        places.find(self.folders).ok_or_else(|| {
            let hint = if crate::fetch::KNOWN.iter().any(|set| set.name == self.name) {
                format!(
                    "`epoch0 data fetch {}`, or set EPOCH0_DATA to a folder with {}",
                    self.name, self.folders[0]
                )
            } else {
                format!("set EPOCH0_DATA to a folder with {}", self.folders[0])
            };
            Error::NotHere { name: self.name, places: places.folders.clone(), hint }
        })
    }
}

/// The longest start of a text that is a path, up to the end or to a comma, and what follows the comma.
fn path_and_options(text: &str) -> Option<(&Path, &str)> {
    let ends = std::iter::once(text.len()).chain(text.rmatch_indices(',').map(|(at, _)| at));
    let mut splits = ends.map(|end| (Path::new(&text[..end]), text[end..].strip_prefix(',').unwrap_or("")));
    splits.find(|(path, _)| !path.as_os_str().is_empty() && path.exists())
}

fn unknown(name: &str) -> Error {
    let known = || KNOWN.iter().map(|entry| entry.name).chain(make::KNOWN.iter().map(|entry| entry.name));
    Error::Unknown { name: short(name), known: known().collect(), near: near(name, known()) }
}
