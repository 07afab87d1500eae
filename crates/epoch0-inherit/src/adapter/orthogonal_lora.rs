//! Orthogonal LoRA: adapters of which both factors are drawn, with a product that is zero.
//!
//! # Idea
//! Where one factor of an adapter is zero, only the other learns in the first step. Both can be drawn, and their product still be
//! zero, if B reads nothing of what A writes: both then learn from the first step, and no weight has to be read.
//!
//! # Method
//! Of a random orthogonal matrix of the rank's size, rows are dealt to P and Q in turn. `A = (X P)ᵀ / 10` and `B = Y Q / 10` with
//! standard normal X and Y: `B A = Y Q Pᵀ Xᵀ / 100 = 0`.
//!
//! # Shapes
//! Linear maps, of which Conv1D is one, convolutions in one group and tables of vectors; ranks are even.
//!
//! # Cost
//! Draws of rank / 2 numbers for each input and output; no weight is read.
//!
//! # Departures
//! Q is uniform over orthogonal matrices; that of a QR decomposition without signs put right, as peft's, is not.
//!
//! # Traps
//! - The product is zero up to rounding, about 1e-8 of what it might be.
//! - A and B have only half the rank each until they have learned.
//!
//! # Example
//! ```
//! use epoch0_inherit::adapter::{Kind, Map, find};
//! use epoch0_num::Stream;
//!
//! let method = (find("orthogonal_lora").unwrap().build)(&Default::default()).unwrap();
//! let map = Map {
//!     name: "q_proj", kind: Kind::Linear, rows: 6, columns: 4, rank: 2, scale: 1.0, weight: None, is_transposed: false,
//!     met: None, gradient: None, stream: Stream::new(0, "q_proj"),
//! };
//! let start = method.start(&map).unwrap();
//! assert!(start.b.times(&start.a).squares() < 1e-30 && start.b.squares() > 0.0);
//! ```
//!
//! # References
//! - [datta2024rethinking] Orthogonal initialisation

use epoch0_method::{
    Claim, ClaimKind, Entry, Error, Expectation, Family, Info, Params, Status, Values, Verdict,
};
use epoch0_num::{Law, joint};

use super::shared::bare;
use super::{Adapter, Looks, Map, Matrix, Start};

/// Parameters of orthogonal LoRA.
#[derive(Clone, Debug, Params)]
pub struct Orthogonal {
    /// Factor of A and of B.
    #[param(default = 0.1, range = "(0, inf)")]
    pub gain: f64,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Adapter> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "orthogonal_lora",
    aliases: &["lora_orthogonal"],
    family: Family::Inherit,
    papers: &["datta2024rethinking"],
    source: include_str!("orthogonal_lora.rs"),
    params: Orthogonal::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Adapter>, Error> {
    Ok(Box::new(Orthogonal::from_values(INFO.id, values)?))
}

impl Adapter for Orthogonal {
    fn looks_at(&self) -> Looks {
        Looks::Shapes
    }

    fn start(&self, map: &Map<'_>) -> Result<Start, Error> {
        let rank = map.rank;
        if rank % 2 == 1 {
            return Err(Error::Param {
                method: INFO.id.to_owned(),
                name: format!("rank of `{}`", map.name),
                got: rank.to_string(),
                allowed: "an even number: half of it is A's, half B's".to_owned(),
            });
        }
        let mut square = vec![0.0; rank * rank];
        joint::orthogonal(&map.stream.child("rotation"), rank, rank, 1.0, &mut square).map_err(|error| {
            Error::Unsupported {
                method: INFO.id.to_owned(),
                what: map.name.to_owned(),
                why: error.to_string(),
                hint: "take another rank".to_owned(),
            }
        })?;
        let every_other = |from: usize| {
            let rows = (from..rank).step_by(2).flat_map(|row| &square[row * rank..(row + 1) * rank]);
            Matrix::new(rank / 2, rank, rows.copied().collect())
        };
        let drawn = |rows, part: &str| {
            Matrix::drawn(INFO.id, rows, rank / 2, Law::normal(0.0, self.gain), &map.stream.child(part))
        };
        let a = drawn(map.columns, "a")?.times(&every_other(0)).transposed();
        let b = drawn(map.rows, "b")?.times(&every_other(1));
        Ok(Start { a, b, base: None })
    }
}

static CLAIMS: &[Claim] = &[Claim {
    name: "the_product_is_zero",
    text: "B A is zero to rounding though neither is, at any even rank, and entries have variance gain² / 2",
    kind: ClaimKind::Law,
    budget_s: 2,
    seeds: 0,
    expectation: Expectation::Holds,
    run: the_product_is_zero,
}];

fn the_product_is_zero() -> Result<Verdict, Error> {
    let mut worst = 0.0_f64;
    let mut details = Vec::new();
    for rank in [2, 8, 32] {
        let start = Orthogonal { gain: 0.1 }.start(&bare(400, 300, rank, 0))?;
        let product =
            start.b.times(&start.a).values().iter().fold(0.0_f64, |worst, value| worst.max(value.abs()));
        let variance = |matrix: &Matrix| matrix.squares() / matrix.values().len() as f64 / 0.005;
        let (a, b) = (variance(&start.a), variance(&start.b));
        // At 300 · rank / 2 draws, five standard deviations.
        let slack = 5.0 * (2.0 / (300.0 * rank as f64 / 2.0)).sqrt();
        worst = worst.max(product / 1e-14).max((a - 1.0).abs() / slack).max((b - 1.0).abs() / slack);
        details.push(format!(
            "rank {rank}: product {product:.1e}, variances {a:.3} and {b:.3} of what they should be"
        ));
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 1.0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_ranks_are_refused() {
        let error = Orthogonal { gain: 0.1 }.start(&bare(4, 4, 3, 0)).unwrap_err().to_string();
        assert!(error.contains("rank of `map` is 3"), "{error}");
    }
}
