//! Readings: what examiners return and what is shown of them.
//!
//! These are values only. An examiner returns a [`Reading`]: named numbers, tables, figures, and [`Finding`]s, each with
//! a number, the bound it had to keep and the reason for that bound. An [`Examination`] is all readings of one start with
//! its state; a [`Comparison`] is several methods over seeds. All are written as JSON with the names of their fields,
//! and read back.

mod comparison;
mod figure;
mod finding;
mod real;
mod table;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use comparison::{Arm, Better, Comparison, Curve, Metric, Standing, Training, Versus};
pub use figure::{Axis, Direction, Figure, Scale, Series, Shape};
pub use finding::{Bound, Finding, Health, Pass, Place, Severity};
pub use table::{Cell, Column, Kind, Table};

/// Versions by the name of the thing: `epoch0`, `engine`.
pub type Versions = BTreeMap<String, String>;

/// A named number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantity {
    /// Stable name, `snake_case`: `ntk_condition`.
    pub name: String,
    /// For people.
    pub label: String,
    /// The number.
    #[serde(with = "real")]
    pub value: f64,
    /// Unit; empty where there is none, `share` for a fraction of a whole.
    pub unit: String,
    /// What it is and what is usual, a sentence; may be empty.
    pub help: String,
}

impl Quantity {
    /// A number with its names and unit.
    pub fn new(name: &str, label: &str, value: f64, unit: &str) -> Self {
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            value,
            unit: unit.to_owned(),
            help: String::new(),
        }
    }

    /// What it is and what is usual.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }
}

/// What one examiner read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Id of the examiner.
    pub method: String,
    /// Title, for people.
    pub title: String,
    /// What was read and how, a sentence or two.
    pub summary: String,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Named numbers.
    pub quantities: Vec<Quantity>,
    /// Figures.
    pub figures: Vec<Figure>,
    /// Tables.
    pub tables: Vec<Table>,
}

impl Reading {
    /// Of an examiner, still empty.
    pub fn new(method: &str, title: &str, summary: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            title: title.to_owned(),
            summary: summary.into(),
            findings: Vec::new(),
            quantities: Vec::new(),
            figures: Vec::new(),
            tables: Vec::new(),
        }
    }

    /// A named number's value.
    pub fn quantity(&self, name: &str) -> Option<f64> {
        self.quantities.iter().find(|quantity| quantity.name == name).map(|quantity| quantity.value)
    }
}

/// A network, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSummary {
    /// Name.
    pub name: String,
    /// Where its description came from: `zoo`, a file.
    pub source: String,
    /// Where its weights came from: a method's id, a file.
    pub start: String,
    /// Number of learned elements.
    pub n_params: u64,
    /// Number of sites.
    pub n_sites: usize,
    /// Weights on the longest path from an input to an output.
    pub depth: usize,
    /// Element type of its weights.
    pub dtype: String,
}

/// Where the inputs of an examination came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeSource {
    /// Data that the user named.
    Data,
    /// Drawn at random, to match what the network expects, because no data were given.
    MatchedRandom,
}

/// The inputs that a network was examined with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeSummary {
    /// Where they came from.
    pub source: ProbeSource,
    /// Name of the data, or the law they were drawn from.
    pub name: String,
    /// Number of examples.
    pub n_examples: usize,
    /// Shape of one example.
    pub shape: Vec<usize>,
    /// Whether examples have labels of their own.
    pub has_labels: bool,
}

/// Everything read of one start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Examination {
    /// State of the start.
    pub health: Health,
    /// The finding that decides it; absent where nothing is wrong.
    pub verdict: Option<Finding>,
    /// The network.
    pub network: NetworkSummary,
    /// The inputs.
    pub probe: ProbeSummary,
    /// Seed of what was drawn.
    pub seed: u64,
    /// Readings, in the order that they are shown.
    pub readings: Vec<Reading>,
    /// Versions of what made it.
    pub versions: Versions,
}

impl Examination {
    /// Of these readings. The state is that of the bad finding whose [`Health`] comes first, and of equals the first. A
    /// bad finding that names no state counts as [`Health::Broken`].
    pub fn new(
        network: NetworkSummary,
        probe: ProbeSummary,
        seed: u64,
        readings: Vec<Reading>,
        versions: Versions,
    ) -> Self {
        let state = |finding: &Finding| match finding.health {
            Health::Healthy => Health::Broken,
            health => health,
        };
        let found = readings.iter().flat_map(|reading| &reading.findings);
        let bad = found.filter(|finding| finding.severity == Severity::Bad);
        let verdict = bad.min_by_key(|finding| state(finding)).cloned();
        let health = verdict.as_ref().map_or(Health::Healthy, state);
        Self { health, verdict, network, probe, seed, readings, versions }
    }

    /// Findings with the id of their examiner, the worst first.
    pub fn findings(&self) -> Vec<(&str, &Finding)> {
        let mut all: Vec<_> = self
            .readings
            .iter()
            .flat_map(|reading| reading.findings.iter().map(|finding| (reading.method.as_str(), finding)))
            .collect();
        all.sort_by_key(|(_, finding)| (std::cmp::Reverse(finding.severity), finding.health));
        all
    }

    /// Whether no finding is bad.
    pub fn is_healthy(&self) -> bool {
        self.verdict.is_none()
    }
}

/// What two checkpoints have to do with each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relation {
    /// Title, for people: both names.
    pub title: String,
    /// What it comes to, in a few words.
    pub outcome: String,
    /// What it comes to, a sentence or two.
    pub summary: String,
    /// What is known of both: names with texts.
    pub facts: Vec<(String, String)>,
    /// What was read, in the order that it is shown.
    pub readings: Vec<Reading>,
    /// Versions of what made it.
    pub versions: Versions,
}
