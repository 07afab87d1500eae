//! LoRA with Init[B]: adapters whose B is drawn and whose A is zero, which learn at smaller rates.
//!
//! # Idea
//! An adapter `s B A` adds nothing at the start when one of its two factors is zero. With B drawn, learning rates have to be of
//! the order of one over the width, so that B itself hardly learns; but features `A x` stay small. `lora_a` is the other way
//! round, and the better one.
//!
//! # Method
//! `A = 0`. B is drawn, each entry by itself, with variance of the order of 1/r at rank r: U(±1/√r), He's law with a slope of √5,
//! or with `law: normal` N(0, 1/r).
//!
//! # Shapes
//! Linear maps, of which Conv1D is one, convolutions in one group (A reads windows, B is 1 × 1) and tables of vectors.
//!
//! # Cost
//! The draws of outputs × rank numbers; no weight is read.
//!
//! # Departures
//! None.
//!
//! # Traps
//! - Best learning rates are several times smaller than those of `lora_a`, the more so the wider the network.
//!
//! # Example
//! ```
//! use epoch0_inherit::adapter::{Kind, Map, find};
//! use epoch0_num::Stream;
//!
//! let method = (find("lora_b").unwrap().build)(&Default::default()).unwrap();
//! let map = Map {
//!     name: "q_proj", kind: Kind::Linear, rows: 6, columns: 9, rank: 4, scale: 1.0, weight: None, is_transposed: false,
//!     met: None, gradient: None, stream: Stream::new(0, "q_proj"),
//! };
//! let start = method.start(&map).unwrap();
//! assert!(start.a.is_zero());
//! assert!(start.b.values().iter().all(|value| value.abs() <= 0.5));
//! ```
//!
//! # References
//! - [hayou2024impact] Sections 2 to 4

use epoch0_method::{Choice, Entry, Error, Family, Info, Params, Status, Values};
use epoch0_num::Law;

use super::{Adapter, Looks, Map, Matrix, Start};

/// What B is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum ByRank {
    /// Uniform within ±1/√r.
    Kaiming,
    /// Normal with variance 1/r.
    Normal,
}

/// Parameters of `lora_b`.
#[derive(Clone, Debug, Params)]
pub struct LoraB {
    /// What B is drawn from.
    #[param(default = ByRank::Kaiming)]
    pub law: ByRank,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Adapter> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "lora_b",
    aliases: &["lora_init_b"],
    family: Family::Inherit,
    papers: &["hayou2024impact"],
    source: include_str!("lora_b.rs"),
    params: LoraB::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Adapter>, Error> {
    Ok(Box::new(LoraB::from_values(INFO.id, values)?))
}

impl Adapter for LoraB {
    fn looks_at(&self) -> Looks {
        Looks::Shapes
    }

    fn start(&self, map: &Map<'_>) -> Result<Start, Error> {
        let r = (map.rank as f64).sqrt();
        let law = match self.law {
            ByRank::Kaiming => Law::Uniform { low: -1.0 / r, high: 1.0 / r },
            ByRank::Normal => Law::normal(0.0, 1.0 / r),
        };
        let b = Matrix::drawn(INFO.id, map.rows, map.rank, law, &map.stream.child("b"))?;
        Ok(Start { a: Matrix::zeros(map.rank, map.columns), b, base: None })
    }
}
