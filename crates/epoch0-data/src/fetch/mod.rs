//! Public sets, fetched by address and checksum into a cache.
//!
//! A set's folder appears whole or not at all: its files are written beside it and take its name when every one has the
//! length and the SHA-256 that it has to have. A run that was cut leaves the files that were whole, and the next one goes
//! on with those that are missing.
//!
//! With the feature `fetch`; without it there is only the table of what could be fetched.

#[cfg(feature = "fetch")]
mod client;

use std::path::PathBuf;

#[cfg(feature = "fetch")]
pub use client::{Options, Progress, fetch, fetch_set};

/// A set that can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Set<'a> {
    /// Its name, which is also the folder's in the cache.
    pub name: &'a str,
    /// Its files.
    pub files: &'a [File<'a>],
}

/// A file of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct File<'a> {
    /// Its address.
    pub url: &'a str,
    /// What it is called in the set's folder. An archive is not kept.
    pub name: &'a str,
    /// Its SHA-256, in lower case.
    pub sha256: &'a str,
    /// Its length in bytes.
    pub bytes: u64,
    /// What is taken out of it, if it is a gzipped tar archive: the last parts of their paths.
    pub members: &'a [&'a str],
}

/// The sets that can be fetched.
///
/// Lengths and checksums are those of the files as they are published. The citation graphs are not among them: their
/// publication is in a form (Python pickles) that is not read here.
#[rustfmt::skip]
pub static KNOWN: &[Set<'static>] = &[
    Set { name: "mnist", files: &[
        File { name: "train-images-idx3-ubyte.gz", bytes: 9_912_422,
            url: "https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz",
            sha256: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            members: &[] },
        File { name: "train-labels-idx1-ubyte.gz", bytes: 28_881,
            url: "https://storage.googleapis.com/cvdf-datasets/mnist/train-labels-idx1-ubyte.gz",
            sha256: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            members: &[] },
        File { name: "t10k-images-idx3-ubyte.gz", bytes: 1_648_877,
            url: "https://storage.googleapis.com/cvdf-datasets/mnist/t10k-images-idx3-ubyte.gz",
            sha256: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            members: &[] },
        File { name: "t10k-labels-idx1-ubyte.gz", bytes: 4_542,
            url: "https://storage.googleapis.com/cvdf-datasets/mnist/t10k-labels-idx1-ubyte.gz",
            sha256: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            members: &[] },
    ] },
    Set { name: "fashion-mnist", files: &[
        File { name: "train-images-idx3-ubyte.gz", bytes: 26_421_880,
            url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-images-idx3-ubyte.gz",
            sha256: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            members: &[] },
        File { name: "train-labels-idx1-ubyte.gz", bytes: 29_515,
            url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/train-labels-idx1-ubyte.gz",
            sha256: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            members: &[] },
        File { name: "t10k-images-idx3-ubyte.gz", bytes: 4_422_102,
            url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-images-idx3-ubyte.gz",
            sha256: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            members: &[] },
        File { name: "t10k-labels-idx1-ubyte.gz", bytes: 5_148,
            url: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-labels-idx1-ubyte.gz",
            sha256: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            members: &[] },
    ] },
    Set { name: "cifar10", files: &[
        File { name: "cifar-10-binary.tar.gz", bytes: 170_052_171,
            url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            members: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"] },
    ] },
    Set { name: "cifar100", files: &[
        File { name: "cifar-100-binary.tar.gz", bytes: 168_513_733,
            url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            members: &["train.bin", "test.bin"] },
    ] },
    Set { name: "tinyshakespeare", files: &[
        File { name: "tinyshakespeare.txt", bytes: 1_115_394,
            url: "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
            sha256: "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            members: &[] },
    ] },
];

/// Where fetched sets are kept: `epoch0/data` in the user's folder for caches; `None` if the user has none.
pub fn cache_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || folder("HOME");
    let caches = match folder("XDG_CACHE_HOME").filter(|path| path.is_absolute()) {
        Some(caches) => Some(caches),
        None if cfg!(windows) => folder("LOCALAPPDATA"),
        None if cfg!(target_os = "macos") => home().map(|home| home.join("Library/Caches")),
        None => home().map(|home| home.join(".cache")),
    };
    caches.map(|caches| caches.join("epoch0").join("data"))
}
