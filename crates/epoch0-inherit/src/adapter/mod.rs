//! Adapters: a low-rank term `s B A` beside each of some maps of a network, which is what is trained while the network stays.
//!
//! A method says how A and B start, and whether the map beside them changes. What else it is for a user, is the same for all:
//! which maps have one ([`targets`]), rank and scale ([`Config`]), and the folder that peft loads ([`peft`]).

mod config;
pub(crate) mod matrix;
pub mod peft;
mod shared;
pub mod targets;

pub mod corda;
pub mod eva;
pub mod loftq;
pub mod lora_a;
pub mod lora_b;
pub mod lora_ga;
pub mod mica;
pub mod olora;
pub mod orthogonal_lora;
pub mod pissa;

use std::fmt::Debug;

use epoch0_method::{Choice, Entry, Error};
use epoch0_num::Stream;
use serde::{Deserialize, Serialize};

pub use config::Config;
pub use matrix::Matrix;
pub use targets::{Kind, Target, Targets};

/// What a method looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// Shapes of maps.
    Shapes,
    /// Their weights.
    Weights,
    /// Their weights, and what they meet when the network is run on data.
    Inputs,
    /// Their weights, and gradients of a loss on data.
    Gradients,
}

impl Looks {
    /// Whether it needs data.
    pub const fn needs_data(self) -> bool {
        matches!(self, Self::Inputs | Self::Gradients)
    }
}

/// What gives back what the start of an adapter adds to a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Choice)]
pub enum Residual {
    /// A second half of the adapter, of the same rank, which subtracts it: the network itself stays.
    Adapter,
    /// The network: a changed one is written beside the adapter.
    Base,
}

/// A map, and what is known of it.
#[derive(Clone, Debug)]
pub struct Map<'a> {
    /// Its module.
    pub name: &'a str,
    /// What it is.
    pub kind: Kind,
    /// Outputs.
    pub rows: usize,
    /// Inputs, of a convolution those of a window.
    pub columns: usize,
    /// Rank of its adapter.
    pub rank: usize,
    /// Factor s of the adapter.
    pub scale: f64,
    /// Its weight `[rows, columns]`, for methods that look at it.
    pub weight: Option<&'a Matrix>,
    /// Whether the checkpoint stores the weight `[columns, rows]`.
    pub is_transposed: bool,
    /// What was made of its inputs, for methods that look at them.
    pub met: Option<&'a Digest>,
    /// The gradient of the loss by its weight, `[rows, columns]`, for methods that look at it.
    pub gradient: Option<&'a Matrix>,
    /// What is drawn for it.
    pub stream: Stream,
}

impl<'a> Map<'a> {
    fn given<T>(&self, method: &str, what: &str, given: Option<&'a T>) -> Result<&'a T, Error> {
        given.ok_or_else(|| Error::Missing {
            method: method.to_owned(),
            input: format!("{what} of {}", self.name),
            hint: "give a checkpoint, and data where the method looks at them".to_owned(),
        })
    }

    pub(crate) fn weight(&self, method: &str) -> Result<&'a Matrix, Error> {
        self.given(method, "the weight", self.weight)
    }
}

/// Sums over what a map met.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// How many vectors.
    pub n: usize,
    /// Their mean.
    pub mean: Vec<f64>,
    /// Mean of `x xᵀ`.
    pub second: Matrix,
}

/// What a method keeps of what a map met.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Digest {
    /// Left vectors, as columns.
    pub left: Matrix,
    /// Right vectors, as rows.
    pub right: Matrix,
    /// A number for each.
    pub values: Vec<f64>,
}

/// How an adapter starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// `[rank, columns]`.
    pub a: Matrix,
    /// `[rows, rank]`.
    pub b: Matrix,
    /// What becomes of the map, where the form of the start is [`Form::Replaced`].
    pub base: Option<Matrix>,
}

/// What a start is to the map beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The map stays: the adapter adds nothing yet.
    Plain,
    /// The map stays: a second half of the adapter takes away what the first adds.
    Doubled,
    /// The map loses what the adapter adds.
    Residual,
    /// The map becomes another.
    Replaced,
}

impl Form {
    /// Whether the network beside it is another than the one it was made for.
    pub const fn changes_base(self) -> bool {
        matches!(self, Self::Residual | Self::Replaced)
    }

    /// Rank in the files over the rank asked for.
    pub const fn times(self) -> usize {
        if matches!(self, Self::Doubled) { 2 } else { 1 }
    }
}

impl Residual {
    /// The form of starts that add something.
    pub(crate) const fn form(self) -> Form {
        match self {
            Self::Adapter => Form::Doubled,
            Self::Base => Form::Residual,
        }
    }
}

impl Start {
    /// Twice the rank, so that the second half gives back what the first adds: `A' = [A; A]`, `B' = [B, -B]`.
    #[must_use]
    pub fn doubled(&self) -> Self {
        let a = self.a.values().iter().chain(self.a.values()).copied().collect();
        let of_row =
            |row: &[f64]| row.iter().copied().chain(row.iter().map(|value| -value)).collect::<Vec<_>>();
        let b = self.b.values().chunks_exact(self.b.columns().max(1)).flat_map(of_row).collect();
        Self {
            a: Matrix::new(2 * self.a.rows(), self.a.columns(), a),
            b: Matrix::new(self.b.rows(), 2 * self.b.columns(), b),
            base: None,
        }
    }
}

/// A way to start adapters.
pub trait Adapter: Send + Sync + Debug {
    /// What it looks at.
    fn looks_at(&self) -> Looks;

    /// A map's start.
    ///
    /// # Errors
    /// When there is none for it.
    fn start(&self, map: &Map<'_>) -> Result<Start, Error>;

    /// What its starts are to the maps beside them.
    fn form(&self) -> Form {
        Form::Plain
    }

    /// How many directions it may want of a map whose adapter was asked to have a rank.
    fn directions(&self, rank: usize) -> usize {
        rank
    }

    /// What it keeps of a map's inputs, where it looks at them; `directions` says how many.
    ///
    /// # Errors
    /// When they cannot be made anything of.
    fn digest(&self, _map: &Map<'_>, _met: &Moments, _directions: usize) -> Result<Digest, Error> {
        Ok(Digest::default())
    }

    /// The ranks that maps get, of what was asked for and what they met.
    fn ranks(&self, asked: &[usize], _met: &[&Digest]) -> Vec<usize> {
        asked.to_vec()
    }

    /// What peft has to be told where a start is loaded: its `init_lora_weights`.
    fn peft(&self) -> serde_json::Value {
        true.into()
    }
}

/// Every method that starts adapters, by id.
pub static ADAPTERS: &[&Entry<dyn Adapter>] = &[
    &corda::ENTRY,
    &eva::ENTRY,
    &loftq::ENTRY,
    &lora_a::ENTRY,
    &lora_b::ENTRY,
    &lora_ga::ENTRY,
    &mica::ENTRY,
    &olora::ENTRY,
    &orthogonal_lora::ENTRY,
    &pissa::ENTRY,
];

/// The method of that id or alias.
///
/// # Errors
/// [`Error::UnknownMethod`], with ids that are close.
pub fn find(name: &str) -> Result<&'static Entry<dyn Adapter>, Error> {
    epoch0_method::find(ADAPTERS, name)
}

#[cfg(test)]
mod tests {
    use epoch0_method::{Bibliography, ClaimKind, Family, Value};

    use super::*;

    /// As the kit checks it of initializers.
    #[test]
    fn headers_have_all_sections() {
        for entry in ADAPTERS {
            let info = entry.info;
            assert_eq!(info.family, Family::Inherit, "{}", info.id);
            let all = ["Idea", "Method", "Shapes", "Cost", "Departures", "Traps", "Example", "References"];
            let doc = info.doc();
            let found: Vec<&str> = doc.lines().filter_map(|line| line.strip_prefix("# ")).collect();
            assert_eq!(found, all, "{}", info.id);
            assert!(info.summary().chars().count() <= 100, "{}", info.id);
            for paper in info.papers {
                assert!(Bibliography::get().find(paper).is_some(), "{}: {paper}", info.id);
                assert!(info.section("References").unwrap().contains(paper), "{}: {paper}", info.id);
            }
        }
    }

    #[test]
    fn laws_hold() {
        for entry in ADAPTERS {
            for claim in entry.claims.iter().filter(|claim| claim.kind == ClaimKind::Law) {
                let verdict = (claim.run)().unwrap();
                assert!(verdict.holds, "{}/{}: {verdict:?}", entry.info.id, claim.name);
            }
        }
    }

    #[test]
    fn parameters_are_checked() {
        for entry in ADAPTERS {
            let unknown = [("nonsense".to_owned(), Value::Number(1.0))].into();
            let error = (entry.build)(&unknown).unwrap_err().to_string();
            assert!(error.contains("nonsense"), "{error}");
            for parameter in entry.info.params {
                let wrong = [(parameter.name.to_owned(), Value::Text("a wrong word".to_owned()))].into();
                assert!((entry.build)(&wrong).is_err(), "{}: {}", entry.info.id, parameter.name);
            }
        }
    }

    #[test]
    fn doubled_starts_add_nothing() {
        let a = Matrix::new(2, 3, (0..6).map(f64::from).collect());
        let b = Matrix::new(2, 2, vec![1.0, -2.0, 0.5, 3.0]);
        let doubled = Start { a, b, base: None }.doubled();
        assert_eq!(doubled.b.values(), [1.0, -2.0, -1.0, 2.0, 0.5, 3.0, -0.5, -3.0]);
        assert!(doubled.b.times(&doubled.a).is_zero());
    }
}
