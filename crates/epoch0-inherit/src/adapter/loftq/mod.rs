//! `LoftQ`: a quantized network beside adapters that start as what quantization takes from each weight.
//!
//! # Idea
//! Rounding a weight to four bits loses something, and an adapter that begins at zero begins from that loss. Quantization and
//! adapter can be chosen together instead, so that both are as near to the weight as they can be.
//!
//! # Method
//! With R = W at first, so often as `iterations` says:
//!
//! 1. `Q = quantized(R)`;
//! 2. `s B A` is the best approximation of `W - Q` of rank r, its singular values halved between both factors at scale s;
//! 3. `R = W - s B A`.
//!
//! Four bits are `NF4`: 16 levels, which are quantiles of a Gaussian, times the largest size of each 64 numbers in a row. Eight
//! bits are whole numbers to 127, times the largest size of each row over 127. Rows and blocks are those of the checkpoint, as
//! `bitsandbytes` takes them. Q is written as the network beside the adapter, in the type that the weight had.
//!
//! # Shapes
//! Linear maps, of which Conv1D is one, convolutions in one group, as maps from windows, and tables of vectors, each of which is
//! read at one place only.
//!
//! # Cost
//! A singular value decomposition of each weight for each iteration, a weight at a time for each thread.
//!
//! # Departures
//! - The scale alpha / r is part of the adapter, so that Q + s B A is near W whatever it is. peft's start is so only at a scale
//!   of 1: it takes the scale for 1 whatever it is, and at 2 begins from the other side of the weight (its issue 1982).
//! - The network with Q has to be written, as no adapter can give back what rounding takes.
//!
//! # Traps
//! - Beside the network as it was the adapter is wrong: its config names the quantized one.
//! - Loaded in four bits Q is quantized again, to the levels that it has; a network in 16 bits rounds the size of each block.
//! - Iterations do not always come nearer: the best of them is kept.
//!
//! # Example
//! ```
//! use epoch0_inherit::adapter::{Kind, Map, Matrix, find};
//! use epoch0_num::Stream;
//!
//! let weight = Matrix::new(2, 2, vec![1.0, 0.1, -0.6, 0.35]);
//! let method = (find("loftq").unwrap().build)(&Default::default()).unwrap();
//! let map = Map {
//!     name: "q_proj", kind: Kind::Linear, rows: 2, columns: 2, rank: 2, scale: 4.0, weight: Some(&weight),
//!     is_transposed: false, met: None, gradient: None, stream: Stream::new(0, "q_proj"),
//! };
//! let start = method.start(&map).unwrap();
//! // At full rank nothing is lost.
//! let sum = start.base.unwrap().plus(4.0, &start.b.times(&start.a));
//! assert!(sum.plus(-1.0, &weight).squares() < 1e-24);
//! ```
//!
//! # References
//! - [li2023loftq] Algorithm 1
//! - [dettmers2023qlora] Appendix E, the levels of `NF4`

mod claims;
mod levels;

use epoch0_method::{Choice, Entry, Error, Family, Info, Params, Status, Values};

use super::matrix::Factors;
use super::{Adapter, Form, Looks, Map, Matrix, Start};

/// How many bits a weight is rounded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Levels {
    /// Four: quantiles of a Gaussian, in blocks of 64.
    Nf4,
    /// Eight: whole numbers, row by row.
    Int8,
}

/// Parameters of `LoftQ`.
#[derive(Clone, Debug, Params)]
pub struct Loftq {
    /// What a weight is rounded to.
    #[param(default = Levels::Nf4)]
    pub levels: Levels,
    /// How often quantization and adapter are chosen in turn.
    #[param(default = 1, range = "[1, 100]")]
    pub iterations: u32,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Adapter> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "loftq",
    aliases: &[],
    family: Family::Inherit,
    papers: &["li2023loftq", "dettmers2023qlora"],
    source: include_str!("mod.rs"),
    params: Loftq::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Adapter>, Error> {
    Ok(Box::new(Loftq::from_values(INFO.id, values)?))
}

impl Loftq {
    /// A weight rounded to levels, where the checkpoint stores it row by row or column by column.
    fn quantized(&self, weight: &Matrix, is_transposed: bool) -> Matrix {
        if is_transposed {
            return self.quantized(&weight.transposed(), false).transposed();
        }
        let mut rounded = weight.clone();
        match self.levels {
            Levels::Nf4 => levels::nf4(rounded.values_mut()),
            Levels::Int8 => levels::int8(rounded.values_mut(), weight.columns()),
        }
        rounded
    }
}

impl Adapter for Loftq {
    fn looks_at(&self) -> Looks {
        Looks::Weights
    }

    fn form(&self) -> Form {
        Form::Replaced
    }

    fn start(&self, map: &Map<'_>) -> Result<Start, Error> {
        let weight = map.weight(INFO.id)?;
        let mut rest = weight.clone();
        let mut best: Option<(f64, Start)> = None;
        for _ in 0..self.iterations {
            let base = self.quantized(&rest, map.is_transposed);
            let lost = weight.clone().plus(-1.0, &base);
            let (a, b) = Factors::of(INFO.id, map.name, lost.faer())?.take(0, map.rank).halves(map.scale);
            let added = b.times(&a);
            rest = weight.clone().plus(-map.scale, &added);
            let left = lost.plus(-map.scale, &added).squares();
            if best.as_ref().is_none_or(|(least, _)| left < *least) {
                best = Some((left, Start { a, b, base: Some(base) }));
            }
        }
        best.map(|(_, start)| start).ok_or_else(|| Error::NotFinite {
            method: INFO.id.to_owned(),
            site: map.name.to_owned(),
            value: "what is lost".to_owned(),
        })
    }
}
