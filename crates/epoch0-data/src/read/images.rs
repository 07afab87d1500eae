//! Folders of images, a sub-folder for each class.
//!
//! `FOLDER/CLASS/IMAGE`, or `FOLDER/train/CLASS/IMAGE` and `FOLDER/test/CLASS/IMAGE` (`val` and `valid` are taken for
//! `test`). Images are PNG or JPEG, recognized by their first bytes; other files are not looked at. Classes are the
//! sub-folders in the order of their names, and so are the images of each.

use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use rayon::prelude::*;

use super::names;
use crate::array::Array;
use crate::{Classes, Dataset, Error, Examples, Inputs, Targets};

/// How images are made alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Scale each image to this many rows and columns (linear interpolation over the area). Without it all images have
    /// to be of one size.
    pub size: Option<u32>,
    /// 1 (gray) or 3 (red, green, blue). Without it 1 if all images are gray, otherwise 3.
    pub channels: Option<usize>,
}

/// The largest side of an image, in pixels.
const LARGEST: u32 = 1 << 14;

/// Bytes that decoding one image may take.
const MEMORY: u64 = 1 << 30;

/// Reads a folder of images: `[example, channel, row, column]` and the class of each.
///
/// # Errors
/// When there are no images, one cannot be decoded, sizes differ though none is asked for, or the test part has a class
/// that the training part lacks.
pub fn read_folder(folder: &Path, options: Options) -> Result<Dataset, Error> {
    let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
    let train_folder = folder.join("train");
    let (train_folder, test_folder) = if train_folder.is_dir() {
        let tests = ["test", "val", "valid"].map(|name| folder.join(name));
        (train_folder, tests.into_iter().find(|path| path.is_dir()))
    } else {
        (folder.to_owned(), None)
    };
    let class_names = classes(&train_folder)?;
    let train = list(&train_folder, &class_names)?;
    let test = match &test_folder {
        Some(test_folder) => {
            if let Some(other) = classes(test_folder)?.into_iter().find(|name| !class_names.contains(name)) {
                let allowed = format!("those of training: {}", class_names.join(", "));
                return Err(Error::content(test_folder.display(), "a class", format!("`{other}`"), allowed));
            }
            Some(list(test_folder, &class_names)?)
        }
        None => None,
    };
    // What all have to be like is settled by headers alone.
    let mut files: Vec<PathBuf> = Vec::new();
    for (path, _) in train.iter().chain(test.iter().flatten()) {
        files.push(path.clone());
    }
    let like = Like::settle(&files, options)?;
    let train = like.decode(&train, &class_names, &name)?;
    let test = test.map(|test| like.decode(&test, &class_names, &name)).transpose()?;
    Ok(Dataset { files, ..Dataset::new(name, train, test) })
}

/// One image, from 0 to 1: `[row, column]` where it is gray, otherwise `[row, column, 3]`.
pub(super) fn read_file(path: &Path) -> Result<Array<f64>, Error> {
    let (columns, rows, is_color) = header(path)?;
    let image = open(path)?.decode().map_err(|error| not_decoded(path, &error))?;
    let (rows, columns) = (rows as usize, columns as usize);
    let (shape, pixels) = if is_color {
        (vec![rows, columns, 3], image.into_rgb8().into_raw())
    } else {
        (vec![rows, columns], image.into_luma8().into_raw())
    };
    Ok(Array::new(shape, pixels)?.map(|&byte| f64::from(byte) / 255.0))
}

/// Whether a folder has sub-folders.
pub(crate) fn has_folders(folder: &Path) -> bool {
    names(folder).is_ok_and(|names| names.iter().any(|name| folder.join(name).is_dir()))
}

fn classes(folder: &Path) -> Result<Vec<String>, Error> {
    Ok(names(folder)?.into_iter().filter(|name| folder.join(name).is_dir()).collect())
}

fn list(folder: &Path, class_names: &[String]) -> Result<Vec<(PathBuf, u32)>, Error> {
    let mut found = Vec::new();
    for (class, class_name) in class_names.iter().enumerate() {
        let class_folder = folder.join(class_name);
        if !class_folder.is_dir() {
            continue;
        }
        for name in names(&class_folder)? {
            let ending = Path::new(&name).extension().map(std::ffi::OsStr::to_ascii_lowercase);
            if ending.is_some_and(|ending| ["png", "jpg", "jpeg"].iter().any(|known| ending == *known)) {
                found.push((class_folder.join(name), class as u32));
            }
        }
    }
    if found.is_empty() {
        return Err(Error::content(folder.display(), "the number of images", 0, "1 or more")
            .hint("a sub-folder for each class, with .png, .jpg or .jpeg files in it"));
    }
    Ok(found)
}

/// What all images are made.
struct Like {
    channels: usize,
    rows: u32,
    columns: u32,
}

impl Like {
    fn settle(paths: &[PathBuf], options: Options) -> Result<Self, Error> {
        let channels = options.channels;
        if let Some(channels) = channels.filter(|channels| ![1, 3].contains(channels)) {
            return Err(Error::param("images", "channels", channels, "1 or 3"));
        }
        if let Some(size) = options.size.filter(|size| !(1..=LARGEST).contains(size)) {
            return Err(Error::param("images", "size", size, format!("1 to {LARGEST}")));
        }
        let headers = paths.par_iter().map(|path| header(path)).collect::<Result<Vec<_>, _>>()?;
        let (columns, rows, _) = headers[0];
        let other = headers.iter().position(|&(width, height, _)| (width, height) != (columns, rows));
        if let (None, Some(nth)) = (options.size, other) {
            let (other_columns, other_rows, _) = headers[nth];
            let allowed = format!("{columns} × {rows}, as of the first");
            let found = format!("{other_columns} × {other_rows}");
            return Err(Error::content(paths[nth].display(), "its size", found, allowed)
                .hint("scale all to one size with size=N"));
        }
        let is_color = headers.iter().any(|&(_, _, is_color)| is_color);
        let (rows, columns) = options.size.map_or((rows, columns), |size| (size, size));
        Ok(Self { channels: channels.unwrap_or(if is_color { 3 } else { 1 }), rows, columns })
    }

    fn decode(&self, images: &[(PathBuf, u32)], class_names: &[String], of: &str) -> Result<Examples, Error> {
        let planes = images.par_iter().map(|(path, _)| self.pixels(path)).collect::<Result<Vec<_>, _>>()?;
        let shape = [images.len(), self.channels, self.rows as usize, self.columns as usize];
        let inputs = Inputs::Pixels(Array::new(shape, planes.concat())?);
        let labels = images.iter().map(|&(_, class)| class).collect();
        Examples::new(of, inputs, Targets::Classes(Classes { labels, names: class_names.into() }))
    }

    /// The planes of one image, one channel after the other.
    fn pixels(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let mut image = open(path)?.decode().map_err(|error| not_decoded(path, &error))?;
        if (image.width(), image.height()) != (self.columns, self.rows) {
            image = image.resize_exact(self.columns, self.rows, image::imageops::FilterType::Triangle);
        }
        Ok(if self.channels == 1 { image.into_luma8().into_raw() } else { planes(image) })
    }
}

fn planes(image: DynamicImage) -> Vec<u8> {
    let pixels = image.into_rgb8().into_raw();
    (0..3).flat_map(|channel| pixels.iter().skip(channel).step_by(3).copied()).collect()
}

fn open(path: &Path) -> Result<ImageReader<std::io::BufReader<std::fs::File>>, Error> {
    let mut reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(Error::io("read", path))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST);
    limits.max_image_height = Some(LARGEST);
    limits.max_alloc = Some(MEMORY);
    reader.limits(limits);
    Ok(reader)
}

/// Columns, rows and whether it has colours.
fn header(path: &Path) -> Result<(u32, u32, bool), Error> {
    let decoder = open(path)?.into_decoder().map_err(|error| not_decoded(path, &error))?;
    let (columns, rows) = decoder.dimensions();
    Ok((columns, rows, decoder.color_type().has_color()))
}

fn not_decoded(path: &Path, error: &image::ImageError) -> Error {
    let found = format!("not decoded ({error})");
    Error::content(path.display(), "the image", found, "a whole PNG or JPEG file")
}
