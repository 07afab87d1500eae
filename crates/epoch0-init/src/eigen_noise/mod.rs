//! EigenNoise: word vectors from no corpus: what independent words of Zipf's law would teach.
//!
//! # Idea
//! GloVe and its kin factorize how often words occur together. Much of that is only how often they occur at all: if words
//! were independent of each other and followed Zipf's law, the matrix would be known without reading anything. Its
//! eigenvectors are the start of the table. Take it for a vocabulary that is sorted by frequency, where frequent words have
//! other jobs than rare ones; the vectors tell nothing else.
//!
//! # Method
//! With words ranked by frequency, `r = 1 … N`, frequencies `∝ 1/r`, and a window of `m` words to either side:
//! 1. expected co-occurrences `X[i, j] = 2 m N / (r_i r_j H_N)`, with `H_N = Σ 1/k`
//! 2. `G = g(X)`: `log-floor` is `ln max(1, X)`, all words co-occur at least once; `log` is `ln X`, `log1p` is `ln(1 + X)`,
//!    `raw` is X
//! 3. `G = Q Λ Qᵀ`, and the table is `E = Q |Λ|^½` of the d eigenvalues that are largest in size. The largest entry of each
//!    column is positive.
//! 4. columns beyond G's rank, and rows of words that G has only zeros for, are drawn from N(0, s²): s is `fill / √d` of the
//!    median length of a row
//! 5. with `std` the table is multiplied by a number so that its entries have that standard deviation
//!
//! A row of the table is a rank: the first is the most frequent word. `counts` names a file with a line for each row, its
//! count alone or behind the word, and ranks go by them. A row for padding has no rank.
//!
//! # Shapes
//! Tables of words, and readouts tied to them; a rule may name an untied readout. Everything else is refused: a recipe
//! needs a base for it.
//!
//! # Cost
//! O(N d), and the eigenvalues of a matrix whose side is G's rank, about `2 √(2 m N / H_N)`: a fifth of a second for 50,000
//! words, about ten seconds for 400,000. G itself is never there. `log1p` is smooth and has less than 30 components above
//! rounding; they are found through polynomials at 80 points.
//!
//! # Departures
//! - The paper says neither how G is transformed nor what a component is scaled by. X itself has rank 1 and its logarithm
//!   rank 2, so that all else would be noise of the solver: hence `log-floor`, and `|Λ|^½` as in factorizations of G.
//! - What fills is an addition; with `fill: 0` it is zero.
//! - A readout's bias is left to other rules.
//!
//! # Traps
//! - Words of rank above `2 m N / H_N` (with a window of 5, of vocabularies above 12,000 words) are only filled.
//! - The first component is by far the largest and decides cosines; lengths of rows fall with rank.
//! - Ids of a tokenizer are not always sorted by frequency: without `counts` a row's number is its rank.
//! - The scale is that of the factors, not the one that the network was made for: give `std` (0.02 in GPT-2).
//!
//! # Example
//! ```
//! use epoch0_init::{METHODS, start::{Plan, Recipe}};
//! use epoch0_net::{Builder, Role, Source};
//!
//! let mut b = Builder::new("net", Source::Built, epoch0_num::Dtype::F32);
//! let ids = b.index_input("ids", &[None, None]);
//! b.embedding(ids, "words", 1000, 50, Role::Embedding, None);
//! let net = b.finish().unwrap();
//! let recipe = Recipe::from_yaml("recipe", "base: {with: eigen_noise, set: {std: 0.02}}").unwrap();
//! let plan = Plan::new(METHODS, &net, &recipe, 7).unwrap();
//! assert_eq!(plan.sites()[0].law.to_string(), "eigen noise, 50 of 72 components");
//! assert!((plan.sites()[0].law.std() - 0.02).abs() < 1e-12);
//! ```
//!
//! # References
//! - [heidenreich2022eigennoise]
//! - [pennington2014glove] what it warms up
//! - [voita2020information] for the probe of the claims

mod claims;
mod cooccurrence;
mod effects;
mod language;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use epoch0_method::{
    ArrayMut, At, Choice, Entry, Error, Family, Info, Initializer, Joint, Params, SiteLaw, Status, Values,
};
use epoch0_net::{Network, Role};
use epoch0_num::{Element, Law, LawError, Stream};
use rayon::prelude::*;

use crate::shared::unsupported;
use cooccurrence::{Factors, HEADS};

/// What expected co-occurrences go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Transform {
    /// The logarithm, 0 below one co-occurrence.
    LogFloor,
    /// The logarithm: two components.
    Log,
    /// The logarithm of one more.
    Log1p,
    /// Nothing: one component.
    Raw,
}

/// Parameters of EigenNoise.
#[derive(Clone, Debug, PartialEq, Params)]
pub struct EigenNoise {
    /// What expected co-occurrences go through.
    #[param(default = Transform::LogFloor)]
    pub transform: Transform,
    /// Words to either side that count as occurring together.
    #[param(default = 5, range = "[1, 10000]", symbol = "m")]
    pub window: u32,
    /// Standard deviation that the table is brought to; auto leaves it as it is factorized.
    #[param(default = None, range = "(0, inf)")]
    pub std: Option<f64>,
    /// Length of what fills, as a share of the median row's; 0 leaves zeros.
    #[param(default = 0.01, range = "[0, inf)")]
    pub fill: f64,
    /// File with a line for each row of the table that ends in the word's count; auto takes rows as sorted.
    #[param(default = None)]
    pub counts: Option<String>,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Initializer> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "eigen_noise",
    aliases: &["eigennoise"],
    family: Family::Init,
    papers: &["heidenreich2022eigennoise", "pennington2014glove", "voita2020information"],
    source: include_str!("mod.rs"),
    params: EigenNoise::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Initializer>, Error> {
    Ok(Box::new(Tables { by: EigenNoise::from_values(INFO.id, values)?, made: Mutex::default() }))
}

/// A table's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Size {
    rows: usize,
    width: usize,
    padding: Option<usize>,
    /// Whether canonical order has a row's elements side by side.
    by_rows: bool,
}

impl Size {
    fn of(at: &At<'_>) -> Result<Self, Error> {
        let param = at.net.param(at.param);
        let (n_in, n_out) = (at.view.n_in(), at.view.n_out());
        let (rows, width, by_rows) = match at.role {
            Role::Embedding => (n_in, n_out, false),
            Role::Readout if at.view.receptive.is_empty() && n_in > 0 => (n_out, n_in, true),
            role => {
                let why = format!("a {role} is no table of words");
                return Err(unsupported(INFO.id, at.label(), &why, "name the table by `role: embedding`"));
            }
        };
        Ok(Self { rows, width, padding: param.padding_row.filter(|&row| row < rows), by_rows })
    }

    /// Rows that are words.
    fn words(&self) -> usize {
        self.rows - usize::from(self.padding.is_some())
    }
}

/// A table that is ready to be written.
#[derive(Debug)]
struct Table {
    factors: Factors,
    /// Rank of each row less one; none for padding.
    ranks: Vec<Option<u32>>,
    /// Ranks less one of words that have only zeros.
    is_empty: Vec<bool>,
    scale: f64,
    /// Standard deviation of what fills.
    noise: f64,
    mean: f64,
    var: f64,
}

impl EigenNoise {
    fn table(&self, size: Size, label: &str) -> Result<Table, Error> {
        let ranks = self.ranks(size, label)?;
        let n = size.words();
        if n == 0 {
            return Err(unsupported(INFO.id, label, &"it has no words", "a larger vocabulary"));
        }
        let factors = Factors::new(n, size.width, self.transform, self.window).ok_or_else(|| {
            let heads = cooccurrence::most(n, self.window).sqrt() as usize;
            let why = format!("{n} words in a window of {} have {heads} ranks that differ in all they meet, allowed {HEADS}", self.window);
            unsupported(INFO.id, label, &why, "a smaller window")
        })?;
        let (squares, sum) = factors.survey();
        let is_empty: Vec<bool> = squares.iter().map(|&square| square == 0.0).collect();
        let mut lengths: Vec<f64> =
            squares.iter().filter(|&&square| square > 0.0).map(|square| square.sqrt()).collect();
        lengths.sort_by(f64::total_cmp);
        let median = lengths.get(lengths.len() / 2).copied().unwrap_or(1.0);
        let noise = self.fill * median / (size.width as f64).sqrt();
        let n_empty = is_empty.iter().filter(|empty| **empty).count();
        let n_filled = n_empty * size.width + (n - n_empty) * (size.width - factors.len());
        let (count, square) = ((n * size.width) as f64, squares.iter().sum::<f64>());
        let mean = sum / count;
        let var = (square + n_filled as f64 * noise * noise) / count - mean * mean;
        let scale = match self.std {
            Some(std) if var > 0.0 => std / var.sqrt(),
            _ => 1.0,
        };
        let (noise, mean, var) = (scale * noise, scale * mean, scale * scale * var.max(0.0));
        Ok(Table { factors, ranks, is_empty, scale, noise, mean, var })
    }

    fn ranks(&self, size: Size, label: &str) -> Result<Vec<Option<u32>>, Error> {
        let mut rows: Vec<usize> = (0..size.rows).filter(|&row| Some(row) != size.padding).collect();
        if let Some(path) = &self.counts {
            let counts = counts(path)?;
            if counts.len() != size.rows {
                let why = format!("{label} has {} rows, and {path} has {} counts", size.rows, counts.len());
                return Err(unsupported(
                    INFO.id,
                    "counts",
                    &why,
                    "a line for each row, in the table's order",
                ));
            }
            rows.sort_by(|&a, &b| counts[b].total_cmp(&counts[a]));
        }
        let mut ranks = vec![None; size.rows];
        rows.into_iter().enumerate().for_each(|(rank, row)| ranks[row] = Some(rank as u32));
        Ok(ranks)
    }
}

/// A count at the end of each line, behind the word where there is one.
fn counts(path: &str) -> Result<Vec<f64>, Error> {
    let refused = |why: &dyn std::fmt::Display| {
        unsupported(
            INFO.id,
            format!("counts {path}"),
            &why.to_string(),
            "lines such as `the 22038615`, or counts alone",
        )
    };
    let text = std::fs::read_to_string(Path::new(path)).map_err(|error| refused(&error))?;
    let mut words: HashMap<&str, usize> = HashMap::new();
    let lines = text.lines().enumerate();
    lines
        .map(|(nth, line)| {
            let (word, count) = match line.trim_end().rsplit_once([' ', '\t']) {
                Some((word, count)) => (Some(word), count),
                None => (None, line.trim()),
            };
            if let Some(first) = word.and_then(|word| words.insert(word, nth)) {
                return Err(refused(&format!("lines {} and {} are of one word", first + 1, nth + 1)));
            }
            count.parse().ok().filter(|count: &f64| count.is_finite() && *count >= 0.0).ok_or_else(|| {
                let shown: String = count.chars().take(40).collect();
                refused(&format!("line {} ends in `{shown}`, allowed a number of 0 or more", nth + 1))
            })
        })
        .collect()
}

/// The method with the tables that it has been asked for.
#[derive(Debug)]
struct Tables {
    by: EigenNoise,
    made: Mutex<HashMap<Size, Arc<Table>>>,
}

impl Tables {
    fn of(&self, at: &At<'_>) -> Result<(Size, Arc<Table>), Error> {
        let size = Size::of(at)?;
        // A tied readout is the same table, seen from the other side.
        let key = Size { by_rows: false, ..size };
        let mut made = self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(table) = made.get(&key) {
            return Ok((size, table.clone()));
        }
        let table = Arc::new(self.by.table(size, &at.label())?);
        made.insert(key, table.clone());
        Ok((size, table))
    }
}

impl Initializer for Tables {
    fn covers(&self, at: &At<'_>) -> bool {
        at.role == Role::Embedding
            || at.role == Role::Readout && at.net.param(at.param).role == Role::Embedding
    }

    fn remarks(&self, _net: &Network) -> Vec<String> {
        let made = self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut tables: Vec<_> = made.iter().collect();
        tables.sort_by_key(|(size, _)| (size.rows, size.width));
        tables
            .into_iter()
            .map(|(size, table)| {
                let n_empty = table.is_empty.iter().filter(|empty| **empty).count();
                let filled = if self.by.fill > 0.0 { "noise" } else { "zero" };
                format!(
                    "of {} words in {} dimensions, {} components of rank {}; {} dimensions and the {n_empty} rarest words are {filled}; rows are ranked by {}",
                    size.words(),
                    size.width,
                    table.factors.len(),
                    table.factors.rank,
                    size.width - table.factors.len(),
                    self.by.counts.as_deref().unwrap_or("their number"),
                )
            })
            .collect()
    }

    fn law(&self, at: &At<'_>) -> Result<SiteLaw, Error> {
        let (_, table) = self.of(at)?;
        Ok(SiteLaw::Joint(Joint {
            name: format!("eigen noise, {} of {} components", table.factors.len(), table.factors.rank),
            mean: table.mean,
            var: table.var,
            support: (f64::NEG_INFINITY, f64::INFINITY),
        }))
    }

    fn fill(&self, at: &At<'_>, stream: &Stream, out: ArrayMut<'_>) -> Result<(), Error> {
        let (size, table) = self.of(at)?;
        let drawn = match out {
            ArrayMut::F32(out) => table.write(size, stream, out),
            ArrayMut::F64(out) => table.write(size, stream, out),
        };
        drawn.map_err(|error| unsupported(INFO.id, at.label(), &error, "a smaller fill"))
    }
}

impl Table {
    fn write<T: Element>(&self, size: Size, stream: &Stream, out: &mut [T]) -> Result<(), LawError> {
        if self.noise > 0.0 {
            Law::normal(0.0, self.noise).fill(stream, 0, out)?;
        } else {
            out.fill(T::default());
        }
        let value = |column: &[f64], row: usize| {
            let rank = self.ranks[row]? as usize;
            (!self.is_empty[rank]).then(|| T::from_f64(self.scale * column[rank]))
        };
        if size.by_rows {
            for at in 0..self.factors.len() {
                let column = self.factors.column(at);
                for (row, of_row) in out.chunks_mut(size.width).enumerate() {
                    of_row[at] = value(&column, row).unwrap_or(of_row[at]);
                }
            }
        } else {
            let columns = out.par_chunks_mut(size.rows).take(self.factors.len()).enumerate();
            columns.for_each(|(at, out)| {
                let column = self.factors.column(at);
                for (row, out) in out.iter_mut().enumerate() {
                    *out = value(&column, row).unwrap_or(*out);
                }
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(rows: usize, width: usize) -> Size {
        Size { rows, width, padding: None, by_rows: false }
    }

    fn written(by: &EigenNoise, size: Size) -> Vec<f64> {
        let mut out = vec![0.0; size.rows * size.width];
        by.table(size, "words").unwrap().write(size, &Stream::new(1, "words"), &mut out).unwrap();
        out
    }

    #[test]
    fn rows_and_columns_are_two_sides_of_one_table() {
        let by = EigenNoise::default();
        let (columns, rows) =
            (written(&by, size(40, 6)), written(&by, Size { by_rows: true, ..size(40, 6) }));
        assert!((0..240).all(|at| columns[at % 6 * 40 + at / 6] == rows[at]));
    }

    #[test]
    fn counts_and_padding_move_ranks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counts.txt");
        std::fs::write(&path, "a 1\nb 30\nc 2\nd 4\n").unwrap();
        let by = EigenNoise { counts: Some(path.display().to_string()), ..EigenNoise::default() };
        let (sorted, ranked) = (written(&EigenNoise::default(), size(4, 2)), written(&by, size(4, 2)));
        for (row, rank) in [3, 0, 2, 1].into_iter().enumerate() {
            assert_eq!(ranked[row], sorted[rank]);
        }
        let padded = Size { padding: Some(0), ..size(5, 2) };
        let table = EigenNoise::default().table(padded, "words").unwrap();
        assert_eq!(table.ranks, [None, Some(0), Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn bad_counts_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let text = |lines: &str| {
            let path = folder.path().join("counts.txt");
            std::fs::write(&path, lines).unwrap();
            let by = EigenNoise { counts: Some(path.display().to_string()), ..EigenNoise::default() };
            let error = by.table(size(2, 2), "words").unwrap_err().to_string();
            assert!(error.starts_with("eigen_noise: ") && error.contains("\nhint: "), "{error}");
            error
        };
        assert!(text("1\n2\n3\n").contains("words has 2 rows"));
        assert!(text("a 1\na 2\n").contains("lines 1 and 2 are of one word"));
        assert!(text("a 1\nb -2\n").contains("line 2 ends in `-2`"));
        assert!(text("a 1\nb many\n").contains("`many`"));
        let nowhere = EigenNoise { counts: Some("nowhere.txt".to_owned()), ..EigenNoise::default() };
        assert!(nowhere.table(size(2, 2), "words").unwrap_err().to_string().contains("nowhere.txt"));
    }

    #[test]
    fn what_the_matrix_says_nothing_of_is_filled_or_zero() {
        let by = |fill| EigenNoise { fill, ..EigenNoise::default() };
        // 30,000 words: those of rank above 2 · 5 · 30,000 / H are met by none.
        let table = by(0.01).table(size(30_000, 4), "words").unwrap();
        let most = cooccurrence::most(30_000, 5) as usize;
        assert_eq!(table.is_empty.iter().position(|empty| *empty), Some(most));
        let (noise, zero) = (written(&by(0.01), size(50, 60)), written(&by(0.0), size(50, 60)));
        assert_eq!(noise[..500], zero[..500]);
        assert!(noise[50 * 59..].iter().all(|value| *value != 0.0));
        assert!(zero[50 * 59..].iter().all(|value| *value == 0.0));
    }

    #[test]
    fn standard_deviations_are_as_asked() {
        let by = EigenNoise { std: Some(0.02), ..EigenNoise::default() };
        let values = written(&by, size(500, 64));
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let var = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!((var.sqrt() - 0.02).abs() < 1e-5, "{}", var.sqrt());
    }
}
