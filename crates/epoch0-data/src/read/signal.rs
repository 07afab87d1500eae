//! Signals: one array of numbers on a grid, to be represented by coordinates.
//!
//! `.npy` is taken as it is, `[sample]`, `[row, column]`, with a last dimension of channels or without; `.csv` and `.tsv` are
//! `[line, column]`, or `[line]` where there is one column; `.png` and `.jpg` are `[row, column]`, or `[row, column, 3]`, from
//! 0 to 1.

use std::path::Path;

use super::{images, npy, table};
use crate::Error;
use crate::array::Array;

/// Reads a signal by the ending of the file's name.
///
/// # Errors
/// When the ending is none of these, the file cannot be read, or a number is not finite.
pub fn read(path: &Path) -> Result<Array<f64>, Error> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().to_ascii_lowercase();
    let ending = name.strip_suffix(".gz").unwrap_or(&name).rsplit_once('.').map_or("", |(_, ending)| ending);
    let array = match ending {
        "npy" => npy::read(path)?.to_f64(),
        "csv" | "tsv" => table::numbers(path)?,
        "png" | "jpg" | "jpeg" => images::read_file(path)?,
        _ => {
            let allowed = ".npy, .csv, .tsv, .png or .jpg";
            return Err(Error::content(
                path.display(),
                "the ending of its name",
                format!("`{ending}`"),
                allowed,
            ));
        }
    };
    match array.data().iter().position(|value| !value.is_finite()) {
        Some(at) => {
            let found = array.data()[at];
            Err(Error::content(path.display(), format!("number {at}"), found, "finite numbers"))
        }
        None => Ok(array),
    }
}
