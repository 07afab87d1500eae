//! CIFAR-10 and CIFAR-100 in their binary form.
//!
//! Records of one label byte (CIFAR-10) or two, coarse and fine (CIFAR-100), and 3,072 bytes: the planes red, green and
//! blue of 32 × 32 pixels, row-major (A. Krizhevsky, "The CIFAR-10 dataset", cs.toronto.edu/~kriz/cifar.html).

use std::path::{Path, PathBuf};

use super::{Source, plain_or_gz};
use crate::array::Array;
use crate::{Classes, Dataset, Error, Examples, Inputs, Targets};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 10 classes.
    Cifar10,
    /// 100 fine classes; the coarse labels are left out.
    Cifar100,
}

const PIXELS: usize = 3 * 32 * 32;

/// More than any set of the form has: 2^20 records.
const LONGEST: u64 = (PIXELS as u64 + 2) << 20;

#[rustfmt::skip]
const CLASSES_10: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

#[rustfmt::skip]
const CLASSES_100: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
    "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard",
    "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum",
    "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
    "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf",
    "woman", "worm",
];

impl Kind {
    /// Names of the classes, by label.
    pub fn class_names(self) -> &'static [&'static str] {
        match self {
            Self::Cifar10 => &CLASSES_10,
            Self::Cifar100 => &CLASSES_100,
        }
    }

    fn label_bytes(self) -> usize {
        match self {
            Self::Cifar10 => 1,
            Self::Cifar100 => 2,
        }
    }
}

/// Reads a folder in the form of the original (`data_batch_1.bin` … and `test_batch.bin`) or with `train.bin` and
/// `test.bin`, gzipped or not: images `[example, 3, 32, 32]` and labels.
///
/// # Errors
/// When a file is missing, is no whole number of records, or a label names no class.
pub fn read_folder(folder: &Path, name: &str, kind: Kind) -> Result<Dataset, Error> {
    let batches: Vec<PathBuf> =
        (1..=5).map_while(|nth| plain_or_gz(folder, &format!("data_batch_{nth}.bin"))).collect();
    let train_files = if batches.is_empty() { vec![super::needed(folder, "train.bin")?] } else { batches };
    let test_file = match plain_or_gz(folder, "test_batch.bin") {
        Some(path) => path,
        None => super::needed(folder, "test.bin")?,
    };
    let train = read_files(&train_files, kind)?;
    let test = read_files(std::slice::from_ref(&test_file), kind)?;
    let files = train_files.into_iter().chain([test_file]).collect();
    Ok(Dataset { files, ..Dataset::new(name, train, Some(test)) })
}

/// Which of the two a folder holds, by its names and the length of its records; CIFAR-10 where that cannot be told.
pub(crate) fn kind_of(folder: &Path) -> Result<Kind, Error> {
    let Some(path) = plain_or_gz(folder, "train.bin") else { return Ok(Kind::Cifar10) };
    let len = Source::open(&path)?.rest(LONGEST)?.len();
    let holds = |kind: Kind| len.is_multiple_of(kind.label_bytes() + PIXELS);
    Ok(if holds(Kind::Cifar100) && !holds(Kind::Cifar10) { Kind::Cifar100 } else { Kind::Cifar10 })
}

/// Reads files of records, one after the other, as one set of examples.
///
/// # Errors
/// As [`read_folder`].
pub fn read_files(paths: &[PathBuf], kind: Kind) -> Result<Examples, Error> {
    let mut records = Records::default();
    for path in paths {
        let mut source = Source::open(path)?;
        let bytes = source.rest(LONGEST)?;
        records.add(&source.of, &bytes, kind)?;
    }
    records.examples(kind)
}

/// Reads records from memory; `of` is their name in errors.
///
/// # Errors
/// As [`read_folder`].
pub fn from_bytes(of: &str, bytes: &[u8], kind: Kind) -> Result<Examples, Error> {
    let mut records = Records::default();
    records.add(of, bytes, kind)?;
    records.examples(kind)
}

#[derive(Default)]
struct Records {
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Records {
    fn add(&mut self, of: &str, bytes: &[u8], kind: Kind) -> Result<(), Error> {
        let label_bytes = kind.label_bytes();
        let record = label_bytes + PIXELS;
        if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
            let allowed = format!("a multiple of {record} bytes, those of a record");
            return Err(Error::content(of, "its length", format!("{} bytes", bytes.len()), allowed)
                .hint("the file was cut short, or is of the other CIFAR"));
        }
        self.pixels.reserve(bytes.len());
        for (nth, record) in bytes.chunks_exact(record).enumerate() {
            let label = u32::from(record[label_bytes - 1]);
            let n_classes = kind.class_names().len();
            if label as usize >= n_classes {
                let allowed = format!("0 to {}", n_classes - 1);
                return Err(Error::content(of, format!("the label of record {nth}"), label, allowed));
            }
            self.labels.push(label);
            self.pixels.extend_from_slice(&record[label_bytes..]);
        }
        Ok(())
    }

    fn examples(self, kind: Kind) -> Result<Examples, Error> {
        let inputs = Inputs::Pixels(Array::new([self.labels.len(), 3, 32, 32], self.pixels)?);
        let names = kind.class_names().iter().map(|&name| name.to_owned()).collect();
        Examples::new("CIFAR", inputs, Targets::Classes(Classes { labels: self.labels, names }))
    }
}
