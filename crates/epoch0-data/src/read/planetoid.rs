//! Citation graphs as four tables.
//!
//! One line a node in `features.tsv` (the columns that are not 0, in rising order; an empty line has none), `labels.tsv`
//! (a class, or -1 where it is not known) and `split.tsv` (`train`, `val`, `test` or `none`); one line an edge in
//! `edges.tsv`, two nodes, each edge once. Tabs between numbers. Features are 0 or 1.
//!
//! The split that usually goes with Cora, Citeseer and Pubmed is that of Z. Yang, W. Cohen, R. Salakhutdinov,
//! "Revisiting semi-supervised learning with graph embeddings" (ICML 2016): 20 nodes a class to train on, 500 to
//! validate, 1,000 to test.

use std::path::Path;

use super::{needed, text_file};
use crate::array::Array;
use crate::{Dataset, Error, Graph, Role};

/// Reads a folder with the four tables.
///
/// # Errors
/// When a table is missing or a line of one is not in the form, an edge names no node or stands there twice, tables
/// differ in their number of nodes, or no node is to be trained on.
pub fn read_folder(folder: &Path, name: &str) -> Result<Dataset, Error> {
    let mut files = Vec::new();
    let mut table = |name: &str| {
        let path = needed(folder, name)?;
        files.push(path.clone());
        text_file(&path).map(|text| (path.display().to_string(), text))
    };
    let (labels_of, labels) = table("labels.tsv")?;
    let (features_of, features) = table("features.tsv")?;
    let (roles_of, roles) = table("split.tsv")?;
    let (edges_of, edges) = table("edges.tsv")?;
    let labels = read_labels(&labels_of, &labels)?;
    let n = labels.len();
    let roles = read_roles(&roles_of, &roles)?;
    let rows = features.lines().map(str::trim_end).collect::<Vec<_>>();
    for (of, found) in [(&roles_of, roles.len()), (&features_of, rows.len())] {
        if found != n {
            return Err(Error::content(of, "the number of lines", found, format!("{n}, as of labels.tsv")));
        }
    }
    let n_classes = labels.iter().flatten().max().map_or(0, |&largest| largest as usize + 1);
    let graph = Graph {
        edges: read_edges(&edges_of, &edges, n)?,
        features: read_features(&features_of, &rows)?,
        labels,
        class_names: (0..n_classes).map(|class| class.to_string()).collect(),
        roles,
    };
    Ok(Dataset { files, ..graph.into_dataset(name)? })
}

/// More classes, features or nodes than any of these graphs has.
const MOST: u32 = 1 << 24;

/// Features of all nodes together: 4 GiB.
const MOST_ELEMENTS: usize = 1 << 30;

fn number(of: &str, line: usize, text: &str) -> Result<u32, Error> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if is_number && number < MOST => Ok(number),
        _ => {
            let shown: String = text.chars().take(40).collect();
            let allowed = format!("whole numbers from 0 to {}", MOST - 1);
            Err(Error::content(of, format!("line {}", line + 1), format!("`{shown}`"), allowed))
        }
    }
}

fn read_labels(of: &str, text: &str) -> Result<Vec<Option<u32>>, Error> {
    let label = |(line, text): (usize, &str)| match text.trim() {
        "-1" => Ok(None),
        text => number(of, line, text).map(Some),
    };
    text.lines().enumerate().map(label).collect()
}

fn read_roles(of: &str, text: &str) -> Result<Vec<Role>, Error> {
    let role = |(line, text): (usize, &str)| match text.trim() {
        "train" => Ok(Role::Train),
        "val" => Ok(Role::Validation),
        "test" => Ok(Role::Test),
        "none" => Ok(Role::Unused),
        other => {
            let shown: String = other.chars().take(40).collect();
            let place = format!("line {}", line + 1);
            Err(Error::content(of, place, format!("`{shown}`"), "train, val, test or none"))
        }
    };
    text.lines().enumerate().map(role).collect()
}

fn read_edges(of: &str, text: &str, n: usize) -> Result<Vec<[u32; 2]>, Error> {
    let mut edges = Vec::new();
    for (line, text) in text.lines().enumerate() {
        let place = || format!("line {}", line + 1);
        let Some((a, b)) = text.trim_end().split_once('\t') else {
            return Err(Error::content(of, place(), "no pair", "two nodes with a tab between them"));
        };
        let (a, b) = (number(of, line, a)?, number(of, line, b)?);
        if a.max(b) as usize >= n || a == b {
            let allowed = format!("two different nodes from 0 to {}", n.saturating_sub(1));
            return Err(Error::content(of, place(), format!("{a} and {b}"), allowed));
        }
        edges.push([a.min(b), a.max(b)]);
    }
    edges.sort_unstable();
    if let Some(twice) = edges.windows(2).find(|pair| pair[0] == pair[1]) {
        let [a, b] = twice[0];
        return Err(Error::content(of, format!("edge {a} – {b}"), "there twice", "each edge once"));
    }
    Ok(edges)
}

fn read_features(of: &str, rows: &[&str]) -> Result<Array<f32>, Error> {
    let mut columns = Vec::with_capacity(rows.len());
    for (line, row) in rows.iter().enumerate() {
        let row: Vec<u32> = row
            .split('\t')
            .filter(|text| !text.is_empty())
            .map(|text| number(of, line, text))
            .collect::<Result<_, _>>()?;
        if !row.is_sorted_by(|a, b| a < b) {
            return Err(Error::content(of, format!("line {}", line + 1), "not rising", "rising columns"));
        }
        columns.push(row);
    }
    let width = columns.iter().filter_map(|row| row.last()).max().map_or(0, |&last| last as usize + 1);
    if width == 0 || rows.len().saturating_mul(width) > MOST_ELEMENTS {
        let found = format!("{} nodes × {width} columns", rows.len());
        return Err(Error::content(of, "its size", found, format!("1 to {MOST_ELEMENTS} elements")));
    }
    let mut data = vec![0.0; rows.len() * width];
    for (row, columns) in data.chunks_exact_mut(width).zip(&columns) {
        columns.iter().for_each(|&column| row[column as usize] = 1.0);
    }
    Array::new([rows.len(), width], data)
}
