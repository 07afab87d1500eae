//! Tables of typed cells.

use serde::{Deserialize, Serialize, Serializer};

use super::Severity;

/// A cell of a table.
///
/// In JSON a cell is a plain value: a string, a number, a boolean or null; a number that is not finite is one of the
/// words `NaN`, `inf` and `-inf`, and a mark is its word. The column's [`Kind`] tells words from text.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// There is no value.
    Missing,
    /// Yes or no.
    Flag(bool),
    /// A count.
    Integer(i64),
    /// A number, finite or not.
    Real(f64),
    /// Words.
    Text(String),
    /// How good or bad something is.
    #[serde(skip_deserializing)]
    Mark(Severity),
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Missing => serializer.serialize_none(),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Real(value) => super::real::serialize(value, serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Mark(severity) => severity.serialize(serializer),
        }
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<usize> for Cell {
    fn from(value: usize) -> Self {
        i64::try_from(value).map_or(Self::Real(value as f64), Self::Integer)
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Severity> for Cell {
    fn from(value: Severity) -> Self {
        Self::Mark(value)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Words.
    Text,
    /// Counts.
    Integer,
    /// Numbers.
    Real,
    /// Fractions of a whole, 0 to 1; shown in percent.
    Share,
    /// Yes or no.
    Flag,
    /// How good or bad.
    Mark,
}

impl Kind {
    /// Whether its cells are numbers.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Real | Self::Share)
    }
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Stable name, `snake_case`: `second_moment`.
    pub name: String,
    /// Heading, for people.
    pub label: String,
    /// What its cells are.
    pub kind: Kind,
    /// Unit of its numbers; empty where they have none.
    pub unit: String,
    /// What it shows, a sentence; may be empty.
    pub help: String,
}

impl Column {
    /// By name, heading and kind.
    pub fn new(name: &str, label: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            kind,
            unit: String::new(),
            help: String::new(),
        }
    }

    /// In that unit.
    #[must_use]
    pub fn unit(mut self, unit: &str) -> Self {
        unit.clone_into(&mut self.unit);
        self
    }

    /// What it shows.
    #[must_use]
    pub fn help(mut self, help: &str) -> Self {
        help.clone_into(&mut self.help);
        self
    }
}

/// A table. The first column says what a row is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Raw")]
pub struct Table {
    /// Stable name, `snake_case`, unique in its reading.
    pub name: String,
    /// Title, for people.
    pub title: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows, a cell for each column.
    pub rows: Vec<Vec<Cell>>,
    /// What has to be known to read it; may be empty.
    pub note: String,
}

impl Table {
    /// Without rows.
    pub fn new(name: &str, title: &str, columns: impl IntoIterator<Item = Column>) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
            note: String::new(),
        }
    }

    /// Adds a row. One that is too short is filled with [`Cell::Missing`]; what is too much is left out.
    pub fn push(&mut self, row: impl IntoIterator<Item = Cell>) {
        let mut row: Vec<_> = row.into_iter().collect();
        row.resize(self.columns.len(), Cell::Missing);
        self.rows.push(row);
    }
}

/// A table as JSON has it, before words in columns of numbers are numbers again.
#[derive(Deserialize)]
struct Raw {
    name: String,
    title: String,
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    note: String,
}

impl From<Raw> for Table {
    fn from(raw: Raw) -> Self {
        let mut table = Self { rows: Vec::new(), ..Self::new(&raw.name, &raw.title, raw.columns) };
        table.note = raw.note;
        for row in raw.rows {
            let kinds: Vec<_> = table.columns.iter().map(|column| column.kind).collect();
            table.push(row.into_iter().zip(kinds).map(|(cell, kind)| typed(cell, kind)));
        }
        table
    }
}

fn typed(cell: Cell, kind: Kind) -> Cell {
    let Cell::Text(text) = &cell else { return cell };
    match (kind, text.as_str()) {
        (Kind::Integer | Kind::Real | Kind::Share, "NaN") => Cell::Real(f64::NAN),
        (Kind::Integer | Kind::Real | Kind::Share, "inf") => Cell::Real(f64::INFINITY),
        (Kind::Integer | Kind::Real | Kind::Share, "-inf") => Cell::Real(f64::NEG_INFINITY),
        (Kind::Mark, word) => {
            let severity = Severity::ALL.into_iter().find(|severity| severity.name() == word);
            severity.map_or(cell, Cell::Mark)
        }
        _ => cell,
    }
}
