//! Tables: CSV and TSV, one example a line.
//!
//! The first line holds names if none of its cells is a number. One column is the target, the last unless another is
//! named; all others are inputs and have to be numbers.

use std::collections::BTreeSet;
use std::path::Path;

use super::{LONGEST_TEXT, Source};
use crate::array::Array;
use crate::{Classes, Dataset, Error, Examples, Inputs, Targets};

/// What the target is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Numbers if every cell is one, otherwise classes.
    #[default]
    Auto,
    /// Classes: the distinct cells, in the order of their numbers if all are whole numbers, otherwise of their texts.
    Classes,
    /// Numbers.
    Values,
}

/// How a table becomes examples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Name of the target's column, or its index from 0; the last column if `None`.
    pub target: Option<String>,
    /// What the target is.
    pub kind: Kind,
}

/// Reads a table, gzipped or not: inputs `[line, column]`, targets `[line, 1]` or classes. Columns are parted by tabs
/// if the file is called `.tsv`, otherwise by commas.
///
/// # Errors
/// When lines differ in length, a cell is no finite number where one is needed, the target's column is not there, or
/// there is nothing but a target.
pub fn read(path: &Path, options: &Options) -> Result<Dataset, Error> {
    let (of, bytes, delimiter) = whole(path)?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let examples = from_bytes(&of, &bytes, delimiter, options)?;
    Ok(Dataset { files: vec![path.to_owned()], ..Dataset::new(name, examples, None) })
}

/// What to call a file in errors, all of it, and what parts its columns.
fn whole(path: &Path) -> Result<(String, Vec<u8>, u8), Error> {
    let mut source = Source::open(path)?;
    let bytes = source.rest(LONGEST_TEXT)?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let is_tsv =
        Path::new(name.strip_suffix(".gz").unwrap_or(&name)).extension().is_some_and(|ext| ext == "tsv");
    Ok((source.of, bytes, if is_tsv { b'\t' } else { b',' }))
}

/// All numbers of a table that has no target: `[line, column]`, or `[line]` where there is one column.
pub(super) fn numbers(path: &Path) -> Result<Array<f64>, Error> {
    let (of, bytes, delimiter) = whole(path)?;
    let (names, records, first) = records(&of, &bytes, delimiter)?;
    let lines = &records[first..];
    if lines.is_empty() {
        return Err(Error::content(of, "the number of lines", 0, "1 or more"));
    }
    let mut numbers = Vec::with_capacity(lines.len() * names.len());
    for (nth, line) in lines.iter().enumerate() {
        for (cell, name) in line.iter().zip(&names) {
            numbers.push(f64::from(value(&of, &place(line, nth, name), cell.trim())?));
        }
    }
    let shape = if names.len() == 1 { vec![lines.len()] } else { vec![lines.len(), names.len()] };
    Array::new(shape, numbers)
}

/// Names of the columns, all lines, and the index of the first that holds no names.
fn records(
    of: &str,
    bytes: &[u8],
    delimiter: u8,
) -> Result<(Vec<String>, Vec<csv::StringRecord>, usize), Error> {
    // A byte-order mark would become part of the first name.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).delimiter(delimiter).from_reader(bytes);
    let records = reader.records().collect::<Result<Vec<_>, _>>().map_err(|error| not_csv(of, &error))?;
    let Some(first) = records.first() else {
        return Err(Error::content(of, "the number of lines", 0, "1 or more"));
    };
    let has_names = first.iter().all(|cell| cell.trim().parse::<f64>().is_err());
    let names: Vec<String> = if has_names {
        first.iter().map(|name| name.trim().to_owned()).collect()
    } else {
        (0..first.len()).map(|column| column.to_string()).collect()
    };
    Ok((names, records, usize::from(has_names)))
}

/// Reads a table from memory; `of` is its name in errors.
///
/// # Errors
/// As [`read()`].
pub fn from_bytes(of: &str, bytes: &[u8], delimiter: u8, options: &Options) -> Result<Examples, Error> {
    let (names, records, first) = records(of, bytes, delimiter)?;
    let (width, lines) = (names.len(), &records[first..]);
    if width < 2 || lines.is_empty() {
        let found = format!("{} lines × {width} columns", lines.len());
        return Err(Error::content(of, "its size", found, "1 or more lines, 2 or more columns"));
    }
    let target = match &options.target {
        None => width - 1,
        Some(wanted) => column(of, &names, wanted)?,
    };
    let mut inputs = Vec::with_capacity(lines.len() * (width - 1));
    let mut cells = Vec::with_capacity(lines.len());
    for (nth, line) in lines.iter().enumerate() {
        for (at, cell) in line.iter().enumerate() {
            if at == target {
                cells.push(cell.trim());
            } else {
                inputs.push(value(of, &place(line, nth, &names[at]), cell.trim())?);
            }
        }
    }
    let inputs = Inputs::Values(Array::new([lines.len(), width - 1], inputs)?);
    let is_values = match options.kind {
        Kind::Values => true,
        Kind::Classes => false,
        // A cell such as `nan` is a number that is refused below, not the name of a class.
        Kind::Auto => cells.iter().all(|cell| cell.parse::<f64>().is_ok()),
    };
    let targets = if is_values {
        let values = cells
            .iter()
            .enumerate()
            .map(|(nth, cell)| value(of, &place(&lines[nth], nth, &names[target]), cell));
        Targets::Values(Array::new([lines.len(), 1], values.collect::<Result<_, _>>()?)?)
    } else {
        if let Some(nth) = cells.iter().position(|cell| cell.is_empty()) {
            let place = place(&lines[nth], nth, &names[target]);
            return Err(Error::content(of, place, "empty", "the name of a class"));
        }
        Targets::Classes(classes(&cells))
    };
    Examples::new(of, inputs, targets)
}

fn place(line: &csv::StringRecord, nth: usize, column: &str) -> String {
    let line = line.position().map_or(nth as u64 + 1, csv::Position::line);
    format!("line {line}, column `{column}`")
}

fn value(of: &str, place: &str, cell: &str) -> Result<f32, Error> {
    match cell.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => {
            let shown: String = cell.chars().take(40).collect();
            let hint = "fill or leave out lines with missing values, and give words numbers";
            Err(Error::content(of, place, format!("`{shown}`"), "finite numbers").hint(hint))
        }
    }
}

fn column(of: &str, names: &[String], wanted: &str) -> Result<usize, Error> {
    let by_name = names.iter().position(|name| name == wanted);
    let by_index = || wanted.parse().ok().filter(|&index: &usize| index < names.len());
    by_name.or_else(by_index).ok_or_else(|| {
        let allowed = names.iter().take(50).map(String::as_str).collect::<Vec<_>>().join(", ");
        Error::content(of, "the target's column", format!("`{wanted}`"), allowed)
    })
}

fn classes(cells: &[&str]) -> Classes {
    let distinct: BTreeSet<&str> = cells.iter().copied().collect();
    let mut names: Vec<&str> = distinct.into_iter().collect();
    let numbers: Option<Vec<i64>> = names.iter().map(|name| name.parse().ok()).collect();
    if numbers.is_some() {
        names.sort_by_cached_key(|name| name.parse::<i64>().ok());
    }
    let index: std::collections::HashMap<&str, u32> =
        names.iter().enumerate().map(|(class, &name)| (name, class as u32)).collect();
    let labels = cells.iter().map(|cell| index[cell]).collect();
    Classes { labels, names: names.into_iter().map(str::to_owned).collect() }
}

fn not_csv(of: &str, error: &csv::Error) -> Error {
    let line = |position: &Option<csv::Position>| {
        position.as_ref().map_or_else(|| "a line".to_owned(), |at| format!("line {}", at.line()))
    };
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let allowed = format!("{expected_len} cells, as of the first line");
            Error::content(of, line(pos), format!("{len} cells long"), allowed)
        }
        csv::ErrorKind::Utf8 { pos, .. } => Error::content(of, line(pos), "no UTF-8", "text in UTF-8"),
        _ => Error::content(of, "the table", format!("not readable ({error})"), "CSV"),
    }
}
