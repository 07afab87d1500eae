//! Readers, one file a format.
//!
//! A reader never allocates more than the file can hold: sizes that a header declares are believed as far as bytes
//! follow. Gzip is recognized by its first bytes, whatever the file is called.

pub mod cifar;
pub mod idx;
pub mod images;
pub mod npy;
pub mod npz;
pub mod planetoid;
pub mod signal;
pub mod table;
pub mod text;

mod arrays;

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::Error;

pub use arrays::{from_arrays, safetensors};

/// Bytes from a file, a gzipped file or memory, and what to call them.
pub(crate) struct Source<'a> {
    pub(crate) of: String,
    reader: Box<dyn Read + 'a>,
}

impl Source<'static> {
    /// Opens a file, gzipped or not.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        if file.metadata().is_ok_and(|meta| meta.is_dir()) {
            return Err(Error::content(path.display(), "it", "a folder", "a file"));
        }
        let mut start = Vec::new();
        (&mut file).take(2).read_to_end(&mut start).map_err(Error::io("read", path))?;
        let gzipped = start == [0x1f, 0x8b];
        let whole = BufReader::new(Cursor::new(start).chain(file));
        let reader: Box<dyn Read> =
            if gzipped { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
        Ok(Self { of: path.display().to_string(), reader })
    }
}

impl<'a> Source<'a> {
    /// Bytes in memory, as they are.
    pub(crate) fn bytes(of: &str, bytes: &'a [u8]) -> Self {
        Self::reader(of.to_owned(), bytes)
    }

    /// What a reader gives, as it is.
    pub(crate) fn reader(of: String, reader: impl Read + 'a) -> Self {
        Self { of, reader: Box::new(reader) }
    }

    /// At most `most` of the following bytes.
    pub(crate) fn up_to(&mut self, most: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(most).read_to_end(&mut bytes);
        read.map_err(|source| Error::Io { what: "read", path: PathBuf::from(&self.of), source })?;
        Ok(bytes)
    }

    /// The following `len` bytes, which have to be there; `what` they are.
    pub(crate) fn exactly(&mut self, what: &str, len: u64) -> Result<Vec<u8>, Error> {
        let bytes = self.up_to(len)?;
        if bytes.len() as u64 == len {
            return Ok(bytes);
        }
        let found = format!("{} bytes", bytes.len());
        Err(Error::content(&self.of, format!("the length of {what}"), found, format!("{len} bytes"))
            .hint("the file was cut short"))
    }

    /// Everything that follows, `most` bytes at most.
    pub(crate) fn rest(&mut self, most: u64) -> Result<Vec<u8>, Error> {
        let bytes = self.up_to(most.saturating_add(1))?;
        if bytes.len() as u64 > most {
            return Err(Error::content(&self.of, "its length", format!("more than {most} bytes"), "less"));
        }
        Ok(bytes)
    }

    /// Refuses bytes that should not be there.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        if self.up_to(1)?.is_empty() {
            return Ok(());
        }
        Err(Error::content(&self.of, "its length", "more than its header says", "what the header says"))
    }
}

/// The most that a text or a table may have, in bytes.
pub(crate) const LONGEST_TEXT: u64 = 1 << 30;

/// A whole text file, gzipped or not.
pub(crate) fn text_file(path: &Path) -> Result<String, Error> {
    let mut source = Source::open(path)?;
    let bytes = source.rest(LONGEST_TEXT)?;
    String::from_utf8(bytes).map_err(|error| {
        let place = format!("byte {}", error.utf8_error().valid_up_to());
        Error::content(path.display(), place, "no UTF-8", "text in UTF-8")
    })
}

/// The file of this name in a folder, or the gzipped one.
pub(crate) fn plain_or_gz(folder: &Path, name: &str) -> Option<PathBuf> {
    [folder.join(name), folder.join(format!("{name}.gz"))].into_iter().find(|path| path.is_file())
}

/// The same, which has to be there.
pub(crate) fn needed(folder: &Path, name: &str) -> Result<PathBuf, Error> {
    plain_or_gz(folder, name).ok_or_else(|| {
        let allowed = format!("a folder with {name} or {name}.gz");
        Error::content(folder.display(), "it", format!("a folder without {name}"), allowed)
    })
}

/// Names in a folder, sorted, without hidden ones.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let name = entry.map_err(Error::io("list", folder))?.file_name();
        let name = name.into_string().map_err(|name| {
            Error::content(folder.display(), "a name", format!("`{}`", name.display()), "names in UTF-8")
        })?;
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
