//! `MiCA`: adapters that write where the weight writes least: B the last left singular vectors, and A zero.
//!
//! # Idea
//! What is new is learned with the least damage to what is known where the weight does least: in the directions of outputs that
//! belong to its smallest singular values. B is held there, and only A learns.
//!
//! # Method
//! `W = U diag(σ) Vᵀ`; B is the last r columns of U, A is zero. B is not trained: peft is told so by `init_lora_weights: mica`.
//!
//! # Shapes
//! Linear maps, of which Conv1D is one, and tables of vectors: peft holds B still in no others, and not with DoRA.
//!
//! # Cost
//! A singular value decomposition of each weight, a weight at a time for each thread.
//!
//! # Departures
//! None.
//!
//! # Traps
//! - Versions of peft that do not know `mica` refuse the config; set `init_lora_weights` to true there, and freeze B by hand.
//! - peft decomposes each weight again when it loads such an adapter, before it takes the values in the file.
//!
//! # Example
//! ```
//! use epoch0_inherit::adapter::{Kind, Map, Matrix, find};
//! use epoch0_num::Stream;
//!
//! let weight = Matrix::new(2, 2, vec![3.0, 0.0, 0.0, 1.0]);
//! let method = (find("mica").unwrap().build)(&Default::default()).unwrap();
//! let map = Map {
//!     name: "q_proj", kind: Kind::Linear, rows: 2, columns: 2, rank: 1, scale: 1.0, weight: Some(&weight),
//!     is_transposed: false, met: None, gradient: None, stream: Stream::new(0, "q_proj"),
//! };
//! let start = method.start(&map).unwrap();
//! assert!(start.a.is_zero() && start.b.values()[0].abs() < 1e-12);
//! ```
//!
//! # References
//! - [mica2026minor] as peft has it

use epoch0_method::{
    Claim, ClaimKind, Entry, Error, Expectation, Family, Info, Params, Status, Values, Verdict,
};

use super::matrix::Factors;
use super::shared::{example, map_of};
use super::{Adapter, Kind, Looks, Map, Matrix, Start};

/// `MiCA` has no parameters.
#[derive(Clone, Copy, Debug, Params)]
pub struct Mica {}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Adapter> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "mica",
    aliases: &[],
    family: Family::Inherit,
    papers: &["mica2026minor"],
    source: include_str!("mica.rs"),
    params: Mica::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Adapter>, Error> {
    Ok(Box::new(Mica::from_values(INFO.id, values)?))
}

impl Adapter for Mica {
    fn looks_at(&self) -> Looks {
        Looks::Weights
    }

    fn start(&self, map: &Map<'_>) -> Result<Start, Error> {
        if map.kind == Kind::Conv {
            return Err(Error::Unsupported {
                method: INFO.id.to_owned(),
                what: map.name.to_owned(),
                why: "it is a convolution, whose B peft would train".to_owned(),
                hint: "leave it out of the targets, or take pissa".to_owned(),
            });
        }
        let found = Factors::of(INFO.id, map.name, map.weight(INFO.id)?.faer())?;
        let last = found.values.len() - map.rank;
        let b = Matrix::of(found.take(last, map.rank).left.as_ref());
        Ok(Start { a: Matrix::zeros(map.rank, map.columns), b, base: None })
    }

    fn peft(&self) -> serde_json::Value {
        "mica".into()
    }
}

static CLAIMS: &[Claim] = &[Claim {
    name: "b_is_where_the_weight_writes_least",
    text: "columns of B are orthonormal, and the squares of Bᵀ W are those of the smallest singular values",
    kind: ClaimKind::Law,
    budget_s: 2,
    seeds: 0,
    expectation: Expectation::Holds,
    run: b_is_where_the_weight_writes_least,
}];

fn b_is_where_the_weight_writes_least() -> Result<Verdict, Error> {
    let (rank, weight) = (4, example(30, 50, 3)?);
    let values = Factors::of(INFO.id, "map", weight.faer())?.values;
    let least: f64 = values[values.len() - rank..].iter().map(|value| value * value).sum();
    let start = Mica {}.start(&map_of(&weight, rank, 1.0))?;
    let found = start.b.transposed().times(&weight).squares();
    let gram = start.b.transposed().times(&start.b);
    let off =
        (0..rank * rank).map(|at| (gram.values()[at] - f64::from(u8::from(at % (rank + 1) == 0))).abs());
    Ok(Verdict::at_most(off.fold((found / least - 1.0).abs(), f64::max), 1e-9))
}
