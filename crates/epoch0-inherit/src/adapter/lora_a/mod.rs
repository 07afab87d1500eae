//! LoRA with Init[A]: adapters whose A is drawn and whose B is zero, which learn at larger rates.
//!
//! # Idea
//! An adapter `s B A` adds nothing at the start when one of its two factors is zero. Which one is not the same: with A drawn,
//! learning rates may be of the order of one over the root of the width, with B drawn (`lora_b`) of one over the width. So with A
//! drawn the adapter learns more in the same time, at the price of features `A x` that grow with the width.
//!
//! # Method
//! `B = 0`. A is drawn, each entry by itself, with variance of the order of 1/n for n inputs: as peft does, U(±1/√n), which is
//! He's law with a slope of √5, or with `law: normal` N(0, 1/n), as the paper has it.
//!
//! # Shapes
//! Linear maps, of which Conv1D is one, convolutions in one group (A reads windows, B is 1 × 1), and tables of vectors, of which,
//! as in peft, A is zero and B is N(0, 1).
//!
//! # Cost
//! The draws of rank × inputs numbers; no weight is read.
//!
//! # Departures
//! None.
//!
//! # Traps
//! - At the same learning rate `lora_a` and `lora_b` cannot be compared: each has its own best one.
//! - `law: gaussian` is peft's, N(0, 1/rank²) whatever the width: features grow with the root of it.
//! - The factor alpha / rank multiplies what a step does, as a learning rate does.
//!
//! # Example
//! ```
//! use epoch0_inherit::adapter::{Kind, Map, find};
//! use epoch0_num::Stream;
//!
//! let method = (find("lora_a").unwrap().build)(&Default::default()).unwrap();
//! let map = Map {
//!     name: "q_proj", kind: Kind::Linear, rows: 6, columns: 4, rank: 2, scale: 1.0, weight: None, is_transposed: false,
//!     met: None, gradient: None, stream: Stream::new(0, "q_proj"),
//! };
//! let start = method.start(&map).unwrap();
//! assert!(start.b.is_zero());
//! assert!(start.a.values().iter().all(|value| value.abs() <= 0.5));
//! ```
//!
//! # References
//! - [hayou2024impact] Sections 2 to 4
//! - [hu2021lora] Section 4.1
//! - [kalajdzievski2023rank] the scale with `--rslora`
//! - [liu2024dora] the norms with `--dora`

mod claims;
mod text;
mod toy;

use epoch0_method::{Choice, Entry, Error, Family, Info, Params, Status, Values};
use epoch0_num::Law;

use super::{Adapter, Kind, Looks, Map, Matrix, Start};

/// What A is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum ByInputs {
    /// Uniform within ±1/√n, as peft does.
    Kaiming,
    /// Normal with variance 1/n.
    Normal,
    /// Normal with standard deviation 1/rank, peft's `gaussian`.
    Gaussian,
}

/// Parameters of `lora_a`.
#[derive(Clone, Debug, Params)]
pub struct LoraA {
    /// What A is drawn from.
    #[param(default = ByInputs::Kaiming)]
    pub law: ByInputs,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Adapter> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "lora_a",
    aliases: &["lora", "lora_init_a"],
    family: Family::Inherit,
    papers: &["hayou2024impact", "hu2021lora", "kalajdzievski2023rank", "liu2024dora"],
    source: include_str!("mod.rs"),
    params: LoraA::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Adapter>, Error> {
    Ok(Box::new(LoraA::from_values(INFO.id, values)?))
}

impl Adapter for LoraA {
    fn looks_at(&self) -> Looks {
        Looks::Shapes
    }

    fn start(&self, map: &Map<'_>) -> Result<Start, Error> {
        let draw = |rows, columns, law, part: &str| {
            Matrix::drawn(INFO.id, rows, columns, law, &map.stream.child(part))
        };
        let n = (map.columns as f64).sqrt();
        let (a, b) = match (map.kind, self.law) {
            // What words are drawn as has no inputs to be scaled by.
            (Kind::Embedding, _) => {
                (Matrix::zeros(map.rank, map.columns), draw(map.rows, map.rank, Law::normal(0.0, 1.0), "b")?)
            }
            (_, law) => {
                let law = match law {
                    ByInputs::Kaiming => Law::Uniform { low: -1.0 / n, high: 1.0 / n },
                    ByInputs::Normal => Law::normal(0.0, 1.0 / n),
                    ByInputs::Gaussian => Law::normal(0.0, 1.0 / map.rank as f64),
                };
                (draw(map.rank, map.columns, law, "a")?, Matrix::zeros(map.rows, map.rank))
            }
        };
        Ok(Start { a, b, base: None })
    }
}
