//! IDX, the format of MNIST.
//!
//! Big-endian: two zero bytes, the element type, the number of dimensions, each size as an unsigned 32-bit number, then
//! the elements in row-major order (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits").

use std::path::{Path, PathBuf};

use super::{Source, needed};
use crate::array::{AnyArray, Array, len_of};
use crate::{Classes, Dataset, Error, Examples, Inputs, Targets};

/// Reads an IDX file, gzipped or not.
///
/// # Errors
/// When it cannot be read, its header is none, or it has fewer or more bytes than its header says.
pub fn read(path: &Path) -> Result<AnyArray, Error> {
    let mut source = Source::open(path)?;
    parse(&mut source, None)
}

/// Reads the first `n` rows of an IDX file, and no more of the file than they need.
///
/// # Errors
/// As [`read()`], and when there are fewer rows.
pub fn read_first(path: &Path, n: usize) -> Result<AnyArray, Error> {
    parse(&mut Source::open(path)?, Some(n))
}

/// Reads IDX from memory; `of` is its name in errors.
///
/// # Errors
/// As [`read()`].
pub fn from_bytes(of: &str, bytes: &[u8]) -> Result<AnyArray, Error> {
    parse(&mut Source::bytes(of, bytes), None)
}

fn parse(source: &mut Source<'_>, first: Option<usize>) -> Result<AnyArray, Error> {
    let magic = source.exactly("the header", 4)?;
    let [0, 0, kind @ (8 | 9 | 11..=14), n_dims @ 1..=8] = magic[..] else {
        let allowed = "[0, 0, TYPE, DIMENSIONS] with types 8, 9, 11 to 14 and 1 to 8 dimensions";
        return Err(Error::content(&source.of, "its start", format!("{magic:?}"), allowed)
            .hint("this is no IDX file"));
    };
    let n_dims = usize::from(n_dims);
    let sizes = source.exactly("the header", 4 * n_dims as u64)?;
    let (sizes, _) = sizes.as_chunks();
    let mut shape: Vec<usize> = sizes.iter().map(|&size| u32::from_be_bytes(size) as usize).collect();
    if let Some(n) = first {
        if shape[0] < n {
            let found = shape[0].to_string();
            return Err(Error::content(&source.of, "the number of rows", found, format!("{n} or more")));
        }
        shape[0] = n;
    }
    let width = match kind {
        8 | 9 => 1u64,
        11 => 2,
        12 | 13 => 4,
        _ => 8,
    };
    let len = len_of(&shape).and_then(|len| (len as u64).checked_mul(width)).ok_or_else(|| {
        Error::content(&source.of, "its shape", format!("{shape:?}"), "one that fits into memory")
    })?;
    let bytes = source.exactly("the elements", len)?;
    if first.is_none() {
        source.end()?;
    }
    Ok(match kind {
        8 => Array::new(shape, bytes)?.into(),
        9 => Array::new(shape, bytes.into_iter().map(|byte| byte as i8).collect())?.into(),
        11 => Array::new(shape, elements(&bytes, i16::from_be_bytes))?.into(),
        12 => Array::new(shape, elements(&bytes, i32::from_be_bytes))?.into(),
        13 => Array::new(shape, elements(&bytes, f32::from_be_bytes))?.into(),
        _ => Array::new(shape, elements(&bytes, f64::from_be_bytes))?.into(),
    })
}

fn elements<const N: usize, T>(bytes: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (elements, _) = bytes.as_chunks();
    elements.iter().map(|&element| from(element)).collect()
}

/// Reads a folder with the four files of MNIST or of a set in its form, gzipped or not: images
/// `[example, 1, row, column]` and labels.
///
/// # Errors
/// When a file is missing or not in the format, numbers of images and labels differ, or a label names no class.
pub fn read_folder(folder: &Path, name: &str, class_names: &[String]) -> Result<Dataset, Error> {
    let (train, mut files) = part(folder, "train", None, class_names)?;
    let (test, test_files) = part(folder, "t10k", None, class_names)?;
    files.extend(test_files);
    Ok(Dataset { files, ..Dataset::new(name, train, Some(test)) })
}

/// The first `n` training examples of such a folder, reading no more of its files than that.
///
/// # Errors
/// As [`read_folder`], and when there are fewer.
pub fn first_training(folder: &Path, n: usize, class_names: &[String]) -> Result<Examples, Error> {
    Ok(part(folder, "train", Some(n), class_names)?.0)
}

fn part(
    folder: &Path,
    part: &str,
    first: Option<usize>,
    class_names: &[String],
) -> Result<(Examples, Vec<PathBuf>), Error> {
    let images_path = needed(folder, &format!("{part}-images-idx3-ubyte"))?;
    let labels_path = needed(folder, &format!("{part}-labels-idx1-ubyte"))?;
    let bytes = |path: &Path, n_dims: usize| match parse(&mut Source::open(path)?, first)? {
        AnyArray::U8(array) if array.shape().len() == n_dims => Ok(array),
        other => {
            let found = format!("{} of shape {:?}", other.dtype(), other.shape());
            Err(Error::content(path.display(), "its array", found, format!("u8 of {n_dims} dimensions")))
        }
    };
    let images = bytes(&images_path, 3)?;
    let labels = bytes(&labels_path, 1)?;
    let [n, rows, columns] = [images.shape()[0], images.shape()[1], images.shape()[2]];
    let images = images.reshaped([n, 1, rows, columns])?;
    let classes = Classes {
        labels: labels.data().iter().map(|&label| u32::from(label)).collect(),
        names: class_names.into(),
    };
    let of = labels_path.display().to_string();
    let examples = Examples::new(&of, Inputs::Pixels(images), Targets::Classes(classes))?;
    Ok((examples, vec![images_path, labels_path]))
}
