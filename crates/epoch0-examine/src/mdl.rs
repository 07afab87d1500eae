//! MDL probing: what labels of words cost in bits, given the words' vectors.
//!
//! # Idea
//! The accuracy of a probe says little of a table: a probe may learn the task by itself. The length of a code for the
//! labels counts both, how well they are told in the end and how many examples that takes. Vectors that know something
//! of the labels make the code short, however little is trained.
//!
//! # Method
//! The prequential (online) code: samples are shuffled and sent in portions that end at 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.25,
//! 12.5, 25, 50 and 100 % of them. The first is sent uniformly, `t₁ log₂ C` bits; each other one by a probe that was trained
//! on all before it, `-Σ log₂ p`. Compression is `n log₂ C` over the length of all of it.
//!
//! The probe is a linear map with a softmax, or one layer of `hidden` rectifiers below it, trained by Adam until the loss
//! on a tenth of what is known stops to fall. The code is read twice: with the vectors as they are, and trained along.
//!
//! `tags` is a file with a sample on each line: a word first, its label last, spaces or tabs between (CoNLL's form; empty
//! lines and `-DOCSTART-` are passed over). Words are rows of the table by number, or by their line in the file `vocab`;
//! words that it lacks are passed over and counted. Without `tags` labels are the tenth of the table that a row lies in (the
//! half, of less than 100 rows), which for a sorted vocabulary is frequency.
//!
//! # Shapes
//! A network with a table of words, or with a matrix that `table` names, rows being words.
//!
//! # Cost
//! Per look at n samples O(n · width · classes); a few seconds for 5,000 samples of 50 dimensions, minutes for 100,000.
//! Trained along it keeps four times the table.
//!
//! # Departures
//! Rates are not annealed. There is one probe for all portions, not the best of several.
//!
//! # Traps
//! - Codes depend on the scale of a table, because Adam's steps do not: compare tables of one standard deviation.
//! - They depend on the probe: compare at equal `hidden`, `rate` and samples.
//! - Where each word has one label and few samples, what is coded is mostly which words were seen.
//!
//! # Example
//! ```
//! assert!(epoch0_examine::find("mdl").is_ok());
//! ```
//!
//! # References
//! - [voita2020information] §2.2, the online code
//! - [heidenreich2022eigennoise] where tables are compared by it

use std::collections::HashMap;

use epoch0_method::reading::{
    Axis, Cell, Column, Figure, Finding, Health, Kind, Quantity, Severity, Shape, Table,
};
use epoch0_method::{Entry, Error as MethodError, Family, Info, Params, Status, Values};
use epoch0_net::{Network, ParamId, Role};
use epoch0_num::prequential::{Code, Probe, Samples, code};

use crate::shared::show::{not_finite, show};
use crate::{Error, Examiner, Reading, Subject, Watch};

/// Parameters of the probe.
#[derive(Clone, Debug, Params)]
pub struct Mdl {
    /// File of samples: a word and its label on each line; auto takes tenths of the table.
    #[param(default = None)]
    pub tags: Option<String>,
    /// File of words, the table's first row in the first line; auto takes rows by number.
    #[param(default = None)]
    pub vocab: Option<String>,
    /// Name of the table; auto takes the first table of words.
    #[param(default = None)]
    pub table: Option<String>,
    /// Rectifiers of the probe; 0 is a linear map.
    #[param(default = 0, range = "[0, 10000]")]
    pub hidden: u32,
    /// Learning rate of Adam.
    #[param(default = 1e-3, range = "(0, 1)")]
    pub rate: f64,
    /// Samples that are read at most.
    #[param(default = 20_000, range = "[3, 1000000]")]
    pub samples: u32,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Examiner> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "mdl",
    aliases: &["prequential", "online_code"],
    family: Family::Examine,
    papers: &["voita2020information", "heidenreich2022eigennoise"],
    source: include_str!("mdl.rs"),
    params: Mdl::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Examiner>, MethodError> {
    Ok(Box::new(Mdl::from_values(INFO.id, values)?))
}

/// Labelled rows.
struct Tagged {
    rows: Vec<u32>,
    labels: Vec<u32>,
    names: Vec<String>,
    /// Samples whose word has no row.
    unknown: usize,
    of: String,
}

fn refused(what: impl Into<String>, why: impl Into<String>, hint: &str) -> Error {
    MethodError::Unsupported {
        method: INFO.id.to_owned(),
        what: what.into(),
        why: why.into(),
        hint: hint.to_owned(),
    }
    .into()
}

fn text(what: &str, path: &str) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|error| refused(what, format!("{path}: {error}"), "the name of a text file"))
}

impl Mdl {
    fn table(&self, network: &Network) -> Result<Option<ParamId>, Error> {
        let ids = (0..network.params().len() as u32).map(ParamId);
        let Some(name) = &self.table else {
            return Ok(ids.into_iter().find(|id| network.param(*id).role == Role::Embedding));
        };
        let found = network.find(name).filter(|id| network.param(*id).shape.len() == 2);
        found.map(Some).ok_or_else(|| {
            let why = format!("`{name}` is no matrix of {}", network.name());
            refused("table", why, "the name of a matrix whose rows are words")
        })
    }

    fn tagged(&self, n_rows: usize) -> Result<Tagged, Error> {
        let Some(path) = &self.tags else {
            let (parts, name) = if n_rows < 100 { (2, "half") } else { (10, "tenth") };
            let rows: Vec<u32> = (0..n_rows as u32).collect();
            let labels = rows.iter().map(|&row| (row as usize * parts / n_rows) as u32).collect();
            let names = (1..=parts).map(|part| format!("{name} {part}")).collect();
            return Ok(Tagged { rows, labels, names, unknown: 0, of: format!("{parts} parts of the table") });
        };
        let vocab = self.vocab.as_ref().map(|path| text("vocab", path)).transpose()?;
        let vocab: Option<HashMap<&str, u32>> = vocab.as_ref().map(|text| {
            let words = text.lines().map(|line| line.split_whitespace().next().unwrap_or_default());
            words.zip(0..n_rows as u32).collect()
        });
        let mut tagged =
            Tagged { rows: Vec::new(), labels: Vec::new(), names: Vec::new(), unknown: 0, of: path.clone() };
        let mut known: HashMap<String, u32> = HashMap::new();
        for (nth, line) in text("tags", path)?.lines().enumerate() {
            let mut fields = line.split_whitespace();
            let (Some(word), label) = (fields.next(), fields.next_back()) else { continue };
            if word == "-DOCSTART-" {
                continue;
            }
            let place = || format!("tags {path}, line {}", nth + 1);
            let Some(label) = label else {
                return Err(refused(
                    place(),
                    format!("`{word}` has no label"),
                    "a word first and its label last",
                ));
            };
            let row = match &vocab {
                Some(vocab) => vocab.get(word).copied(),
                None => {
                    Some(word.parse().ok().filter(|row: &u32| (*row as usize) < n_rows).ok_or_else(|| {
                        let why = format!("`{word}` is no row of a table of {n_rows}");
                        refused(place(), why, "the number of a row, or words with vocab=FILE")
                    })?)
                }
            };
            let Some(row) = row else {
                tagged.unknown += 1;
                continue;
            };
            let class = *known.entry(label.to_owned()).or_insert_with(|| {
                tagged.names.push(label.to_owned());
                tagged.names.len() as u32 - 1
            });
            tagged.rows.push(row);
            tagged.labels.push(class);
        }
        Ok(tagged)
    }
}

impl Examiner for Mdl {
    fn examine(&self, subject: &Subject<'_>, watch: Watch<'_>) -> Result<Reading, Error> {
        let Subject { network, weights, .. } = *subject;
        watch.reach(0.0)?;
        let mut reading = Reading::new(INFO.id, "MDL probing", "");
        let done = |mut reading: Reading, name: &str, what: String| {
            reading.findings.push(Finding::new(name, Severity::Note, Health::Healthy, what));
            watch.reach(1.0).map(|()| reading)
        };
        if let Some(finding) = not_finite(subject) {
            reading.findings.push(finding);
            watch.reach(1.0)?;
            return Ok(reading);
        }
        let Some(value) = self.table(network)?.and_then(|id| Some((id, weights.get(id)?))) else {
            return done(reading, "no_table", "The network has no table of words.".to_owned());
        };
        let (name, value) = (&network.param(value.0).name, value.1);
        let (n_rows, width) = (value.shape()[0], value.shape()[1]);
        let mut tagged = self.tagged(n_rows)?;
        tagged.rows.truncate(self.samples as usize);
        tagged.labels.truncate(self.samples as usize);
        let table = value.to_f32();
        let samples = Samples {
            table: &table,
            width,
            rows: &tagged.rows,
            labels: &tagged.labels,
            classes: tagged.names.len(),
        };
        let probe =
            Probe { hidden: self.hidden as usize, rate: self.rate, seed: subject.seed, ..Probe::default() };
        let frozen = match code(&samples, &probe) {
            Ok(frozen) => frozen,
            Err(error) if self.tags.is_none() => {
                return done(reading, "too_few", format!("Labels of {name} have no code: {error}."));
            }
            Err(error) => return Err(refused("tags", error.to_string(), "more samples, of several labels")),
        };
        watch.reach(0.3)?;
        let tuned = code(&samples, &Probe { fine_tune: true, ..probe })
            .map_err(|error| refused("tags", error.to_string(), "more samples, of several labels"))?;
        let unknown = match tagged.unknown {
            0 => String::new(),
            n => format!("; {n} words have no row and were passed over"),
        };
        reading.summary = format!(
            "{} samples of {} labels ({}) by {name}, {n_rows} rows of {width}{unknown}.",
            tagged.rows.len(),
            tagged.names.len(),
            tagged.of
        );
        reading.findings.push(told(&frozen, &tuned));
        let mut lengths: Vec<f64> = table
            .chunks(width.max(1))
            .map(|row| row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt())
            .collect();
        lengths.sort_by(f64::total_cmp);
        let kbit = |name, label, code: &Code| Quantity::new(name, label, code.bits / 1000.0, "kbit");
        let times = |name, label, code: &Code| Quantity::new(name, label, code.compression(), "");
        reading.quantities = vec![
            Quantity::new("uniform_code", "uniform code", frozen.uniform / 1000.0, "kbit"),
            kbit("code", "code by the vectors as they are", &frozen),
            times("compression", "compression", &frozen)
                .help("The uniform code over the code; 1 is nothing."),
            kbit("tuned_code", "code with vectors trained along", &tuned),
            times("tuned_compression", "compression, trained along", &tuned),
            Quantity::new("row_length", "median length of a row", lengths[lengths.len() / 2], ""),
        ];
        reading.figures.push(figure(&frozen, &tuned, tagged.names.len()));
        reading.tables.push(portions(&frozen, &tuned));
        watch.reach(1.0)?;
        Ok(reading)
    }
}

fn told(frozen: &Code, tuned: &Code) -> Finding {
    let what = format!(
        "Labels cost {} kbit, {} times less than uniformly; {} kbit with vectors trained along.",
        show(frozen.bits / 1000.0),
        show(frozen.compression()),
        show(tuned.bits / 1000.0)
    );
    Finding::new("labels_cost", Severity::Note, Health::Healthy, what)
}

/// Bits of a label in each portion.
fn per_label(code: &Code) -> (Vec<f64>, Vec<f64>) {
    let each = code.portions.iter().skip(1);
    each.map(|portion| (portion.from as f64, portion.bits / (portion.to - portion.from) as f64)).unzip()
}

fn figure(frozen: &Code, tuned: &Code, classes: usize) -> Figure {
    let uniform = (classes as f64).log2();
    let ((x, y), (tuned_x, tuned_y)) = (per_label(frozen), per_label(tuned));
    let last = |y: &[f64]| y.last().copied().unwrap_or(uniform);
    let alt = format!(
        "Bits of a label by samples known: at the end {} as they are and {} trained along; {} uniformly.",
        show(last(&y)),
        show(last(&tuned_y)),
        show(uniform)
    );
    Figure::new(
        "portions",
        "What a label costs",
        alt,
        Axis::new("samples known").log(),
        Axis::new("bits of a label"),
    )
    .with("as they are", Shape::Line { x, y })
    .with("trained along", Shape::Line { x: tuned_x, y: tuned_y })
    .with("uniform", Shape::Rule { axis: epoch0_method::reading::Direction::Y, at: uniform })
}

fn portions(frozen: &Code, tuned: &Code) -> Table {
    let mut table = Table::new(
        "portions",
        "Portions",
        [
            Column::new("from", "samples known", Kind::Integer),
            Column::new("sent", "samples sent", Kind::Integer),
            Column::new("bits", "code", Kind::Real).unit("bit"),
            Column::new("tuned_bits", "code, trained along", Kind::Real).unit("bit"),
        ],
    );
    for (one, other) in frozen.portions.iter().zip(&tuned.portions) {
        let count = |n: usize| Cell::Integer(n as i64);
        table.push([count(one.from), count(one.to - one.from), Cell::Real(one.bits), Cell::Real(other.bits)]);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::shared::case::{Case, matched};

    const NET: &str = "gpt:layers=1,heads=2,embed=8,vocab=40,positions=8";

    fn read(by: &Mdl) -> Result<Reading, Error> {
        let case = Case::new("mdl", NET, 1, |network| matched(network, 2, 1)).unwrap();
        by.examine(&case.subject(), Watch::default())
    }

    fn of(tags: &str, vocab: Option<&str>) -> Result<Reading, Error> {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let nth = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("epoch0-mdl-{}-{nth}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            Some(path.display().to_string())
        };
        let by = Mdl {
            tags: write("tags.tsv", tags),
            vocab: vocab.and_then(|vocab| write("vocab.txt", vocab)),
            ..Mdl::from_values("mdl", &Values::new()).unwrap()
        };
        let found = read(&by);
        std::fs::remove_dir_all(folder).unwrap();
        found
    }

    #[test]
    fn labels_that_words_tell_are_cheap() {
        let lines =
            |n: usize, line: &dyn Fn(usize) -> String| (0..n).map(line).collect::<Vec<_>>().join("\n");
        let tags = lines(2000, &|at| format!("{}\t{}", at % 40, ["noun", "verb"][at % 2]));
        let found = of(&tags, None).unwrap();
        assert_eq!(found.quantity("uniform_code"), Some(2.0));
        assert!(found.quantity("tuned_compression").unwrap() > 1.5, "{found:?}");
        let vocab = lines(40, &|row| format!("w{row} 1"));
        let tags = lines(2000, &|at| format!("w{} x B-{}\n", at % 50, at % 2));
        let found = of(&tags, Some(&vocab)).unwrap();
        assert!(found.summary.contains("400 words have no row"), "{}", found.summary);
    }

    #[test]
    fn bad_files_are_refused() {
        let text = |tags: &str| of(tags, None).unwrap_err().to_string();
        assert!(text("40 noun\n").contains("line 1: `40` is no row of a table of 40"));
        assert!(text("3\n").contains("`3` has no label"));
        assert!(text("1 a\n2 a\n").contains("2 samples of 1 classes"));
        let nowhere =
            Mdl { tags: Some("nowhere".to_owned()), ..Mdl::from_values("mdl", &Values::new()).unwrap() };
        assert!(read(&nowhere).unwrap_err().to_string().contains("nowhere"));
        let other = Mdl { table: Some("wte".to_owned()), ..Mdl::from_values("mdl", &Values::new()).unwrap() };
        assert!(read(&other).unwrap_err().to_string().contains("`wte` is no matrix"));
    }
}
