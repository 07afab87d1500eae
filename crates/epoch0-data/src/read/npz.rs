//! NPZ, numpy's file of named arrays: a zip archive of NPY files.
//!
//! Entries may be stored or deflated. All entries together may have 1 GiB or 64 times the file's length, whichever is
//! more: an archive made to fill the memory is refused.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, Write as _};
use std::path::Path;

use epoch0_format::write_file_atomically;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::{Source, npy};
use crate::{AnyArray, Error};

/// How entries are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are, as by `numpy.savez`.
    #[default]
    Stored,
    /// Deflated, as by `numpy.savez_compressed`.
    Deflated,
}

/// All arrays of a file, in its order.
///
/// # Errors
/// When it cannot be read, is no zip archive, has an entry that is no array or is there twice, or unpacks to more than
/// is allowed.
pub fn read(path: &Path) -> Result<Vec<(String, AnyArray)>, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let len = file.metadata().map_err(Error::io("look at", path))?.len();
    parse(&path.display().to_string(), BufReader::new(file), len)
}

/// All arrays of a file in memory; `of` is its name in errors.
///
/// # Errors
/// As [`read()`].
pub fn from_bytes(of: &str, bytes: &[u8]) -> Result<Vec<(String, AnyArray)>, Error> {
    parse(of, Cursor::new(bytes), bytes.len() as u64)
}

fn parse(of: &str, file: impl Read + Seek, len: u64) -> Result<Vec<(String, AnyArray)>, Error> {
    let not_zip = |error: &ZipError| {
        Error::content(of, "the archive", format!("not readable ({error})"), "a whole zip archive")
    };
    let mut archive = ZipArchive::new(file).map_err(|error| not_zip(&error))?;
    let most = len.saturating_mul(64).max(1 << 30);
    let mut left = most;
    let mut arrays: Vec<(String, AnyArray)> = Vec::new();
    for nth in 0..archive.len() {
        let entry = archive.by_index(nth).map_err(|error| not_zip(&error))?;
        let entry_name = entry.name().map_err(|error| not_zip(&error))?.into_owned();
        let Some(name) = entry_name.strip_suffix(".npy").map(str::to_owned) else {
            let shown: String = entry_name.chars().take(100).collect();
            return Err(Error::content(of, "an entry", format!("`{shown}`"), "names that end in .npy"));
        };
        let size = entry.size();
        if size > left {
            let found = format!("more than {most} bytes unpacked");
            return Err(Error::content(
                of,
                "its length",
                found,
                format!("at most {most} for {len} bytes packed"),
            ));
        }
        if arrays.iter().any(|(other, _)| *other == name) {
            return Err(Error::content(of, format!("array `{name}`"), "there twice", "each name once"));
        }
        left -= size;
        // What an entry unpacks to is held to the size it declares, lest it go on for ever.
        let mut source = Source::reader(format!("{of}, array `{name}`"), entry.take(size.saturating_add(1)));
        arrays.push((name, npy::parse(&mut source)?));
    }
    Ok(arrays)
}

/// Writes arrays under their names, whole or not at all. The same arrays give the same bytes.
///
/// # Errors
/// When a name is there twice, is empty or is no file name, or the file cannot be written.
pub fn write(path: &Path, arrays: &[(String, AnyArray)], compression: Compression) -> Result<(), Error> {
    let bytes = to_bytes(&path.display().to_string(), arrays, compression)?;
    Ok(write_file_atomically(path, &bytes)?)
}

/// Arrays as the bytes of a file; `of` is its name in errors.
///
/// # Errors
/// When a name is there twice, is empty or is no file name.
pub fn to_bytes(of: &str, arrays: &[(String, AnyArray)], compression: Compression) -> Result<Vec<u8>, Error> {
    let method = match compression {
        Compression::Stored => CompressionMethod::Stored,
        Compression::Deflated => CompressionMethod::Deflated,
    };
    let failed = |name: &str, why: String| {
        Error::content(of, format!("array `{name}`"), format!("not written ({why})"), "one that can be")
    };
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (nth, (name, array)) in arrays.iter().enumerate() {
        let is_bad =
            name.is_empty() || name.contains(['\\', '\0']) || name.split('/').any(|part| part == "..");
        if is_bad || name.starts_with('/') || name.len() > 1 << 12 {
            let allowed = "a file name: not empty, not absolute, without `..` and `\\`";
            return Err(Error::content(of, "the name of an array", format!("`{name}`"), allowed));
        }
        if arrays[..nth].iter().any(|(other, _)| other == name) {
            return Err(Error::content(of, format!("array `{name}`"), "there twice", "each name once"));
        }
        let len: u64 = array.shape().iter().map(|&size| size as u64).product();
        let options = SimpleFileOptions::default()
            .compression_method(method)
            .last_modified_time(DateTime::default())
            // More than 32 bits can count; a megabyte is more than headers and growth by deflation need.
            .large_file(len.saturating_mul(8) > u64::from(u32::MAX) - (1 << 20));
        writer.start_file(format!("{name}.npy"), options).map_err(|error| failed(name, error.to_string()))?;
        npy::write_to(array, &mut writer).map_err(|error| failed(name, error.to_string()))?;
        writer.flush().map_err(|error| failed(name, error.to_string()))?;
    }
    let bytes = writer.finish().map_err(|error| failed("the last", error.to_string()))?;
    Ok(bytes.into_inner())
}
