//! `PiSSA`: adapters that start as the principal part of the weight, so that what matters most is trained.
//!
//! # Idea
//! A weight's largest singular values carry most of what it does. An adapter that takes them over, with the rest left frozen,
//! trains the part in which steps count, and begins with gradients that are not those of noise and zero.
//!
//! # Method
//! 1. `W = U diag(σ) Vᵀ`, of which the first r are taken.
//! 2. `B = U √(σ / s)` and `A = √(σ / s) Vᵀ` at scale s, so that `s B A` is the best approximation of rank r.
//! 3. The map loses what the adapter adds: with `residual: adapter` by a second half of the adapter, `A' = [A; A]`,
//!    `B' = [B, -B]`, so that the network itself stays; with `residual: base` the changed network is written beside the adapter.
//!
//! # Shapes
//! Linear maps, of which Conv1D is one, convolutions in one group, as maps from windows, and tables of vectors.
//!
//! # Cost
//! A singular value decomposition of each weight; with `niter` some products with a thin matrix instead. A weight at a time for
//! each thread.
//!
//! # Departures
//! - With `niter` ten dimensions more than the rank are iterated, and draws are of the seed; peft takes none, and torch's
//!   generator.
//! - peft changes the network in memory, and converts afterwards; here an untouched one is the default.
//!
//! # Traps
//! - In the form with two halves all of both are trained: to first order the product moves twice as far in a step as that of the
//!   one half beside a changed network. Where that matters, take `residual: base`.
//! - A network in 16 bits rounds what it loses; the form with two halves rounds nothing.
//!
//! # Example
//! ```
//! use epoch0_inherit::adapter::{Kind, Map, Matrix, find};
//! use epoch0_num::Stream;
//!
//! let weight = Matrix::new(2, 2, vec![0.0, 3.0, 1.0, 0.0]);
//! let method = (find("pissa").unwrap().build)(&Default::default()).unwrap();
//! let map = Map {
//!     name: "q_proj", kind: Kind::Linear, rows: 2, columns: 2, rank: 1, scale: 2.0, weight: Some(&weight),
//!     is_transposed: false, met: None, gradient: None, stream: Stream::new(0, "q_proj"),
//! };
//! let start = method.start(&map).unwrap();
//! let added = start.b.times(&start.a).scaled(2.0);
//! assert!((added.values()[1] - 3.0).abs() < 1e-12 && added.values()[2].abs() < 1e-12);
//! ```
//!
//! # References
//! - [meng2024pissa] Section 3
//! - [halko2011finding] Algorithm 4.4, with `niter`

use epoch0_method::{
    Claim, ClaimKind, Entry, Error, Expectation, Family, Info, Params, Status, Values, Verdict,
};

use super::matrix::Factors;
use super::shared::{example, map_of};
use super::{Adapter, Form, Looks, Map, Residual, Start};

/// Parameters of `PiSSA`.
#[derive(Clone, Debug, Params)]
pub struct Pissa {
    /// Subspace iterations of a randomized decomposition (4 to 16); a full one when auto.
    #[param(default = None, range = "[0, 1000]")]
    pub niter: Option<u32>,
    /// What gives back what the adapter adds.
    #[param(default = Residual::Adapter)]
    pub residual: Residual,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Adapter> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "pissa",
    aliases: &[],
    family: Family::Inherit,
    papers: &["meng2024pissa", "halko2011finding"],
    source: include_str!("pissa.rs"),
    params: Pissa::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Adapter>, Error> {
    Ok(Box::new(Pissa::from_values(INFO.id, values)?))
}

impl Adapter for Pissa {
    fn looks_at(&self) -> Looks {
        Looks::Weights
    }

    fn form(&self) -> Form {
        self.residual.form()
    }

    fn start(&self, map: &Map<'_>) -> Result<Start, Error> {
        let weight = map.weight(INFO.id)?.faer();
        let found = match self.niter {
            Some(niter) => {
                Factors::first(INFO.id, map.name, weight, map.rank, niter, &map.stream.child("range"))?
            }
            None => Factors::of(INFO.id, map.name, weight)?.take(0, map.rank),
        };
        let (a, b) = found.halves(map.scale);
        Ok(Start { a, b, base: None })
    }
}

static CLAIMS: &[Claim] = &[Claim {
    name: "what_is_left_is_the_tail",
    text: "the squares of what the map keeps are those of the singular values behind the rank, whatever the scale; a \
               randomized decomposition of four iterations leaves at most 0.1 % more",
    kind: ClaimKind::Law,
    budget_s: 5,
    seeds: 0,
    expectation: Expectation::Holds,
    run: what_is_left_is_the_tail,
}];

fn what_is_left_is_the_tail() -> Result<Verdict, Error> {
    let (rank, weight) = (6, example(48, 80, 1)?);
    let values = Factors::of(INFO.id, "map", weight.faer())?.values;
    let tail: f64 = values[rank..].iter().map(|value| value * value).sum();
    let mut worst = 0.0_f64;
    for scale in [0.25, 1.0, 16.0] {
        for (niter, slack) in [(None, 1e-9), (Some(4), 1e-3)] {
            let start = Pissa { niter, residual: Residual::Adapter }.start(&map_of(&weight, rank, scale))?;
            let left = weight.clone().plus(-scale, &start.b.times(&start.a)).squares();
            worst = worst.max(((left / tail - 1.0).abs()) / slack);
        }
    }
    Ok(Verdict::at_most(worst, 1.0).detail("the largest departure, in units of what is allowed"))
}
