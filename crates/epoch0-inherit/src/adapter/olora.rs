//! `OLoRA`: adapters that start as the first rows and columns of a QR decomposition of the weight.
//!
//! # Idea
//! With an orthonormal B what is learned in A arrives undistorted. A QR decomposition gives such a B and an A that go together
//! with the weight, at less cost than singular values.
//!
//! # Method
//! `W = Q R`; B is the first r columns of Q, A the first r rows of R. The map loses `s B A`, as with `pissa`: by a second half
//! of the adapter, or with `residual: base` in a changed network beside it.
//!
//! # Shapes
//! Linear maps, of which Conv1D is one, convolutions in one group, as maps from windows, and tables of vectors.
//!
//! # Cost
//! A QR decomposition of each weight, a weight at a time for each thread.
//!
//! # Departures
//! None. (peft passes over how GPT-2's Conv1D is stored, and decomposes the transpose; here a map is what it does.)
//!
//! # Traps
//! - The scale multiplies what is taken: at alpha twice the rank the map loses `2 B A`, which is no part of it any more.
//! - Which columns come first is an accident of the order of inputs: B A is not the best approximation.
//!
//! # Example
//! ```
//! use epoch0_inherit::adapter::{Kind, Map, Matrix, find};
//! use epoch0_num::Stream;
//!
//! let weight = Matrix::new(2, 2, vec![3.0, 1.0, 4.0, 2.0]);
//! let method = (find("olora").unwrap().build)(&Default::default()).unwrap();
//! let map = Map {
//!     name: "q_proj", kind: Kind::Linear, rows: 2, columns: 2, rank: 1, scale: 1.0, weight: Some(&weight),
//!     is_transposed: false, met: None, gradient: None, stream: Stream::new(0, "q_proj"),
//! };
//! let start = method.start(&map).unwrap();
//! // The first column of the product is that of the weight.
//! let added = start.b.times(&start.a);
//! assert!((added.values()[0] - 3.0).abs() < 1e-12 && (added.values()[2] - 4.0).abs() < 1e-12);
//! ```
//!
//! # References
//! - [buyukakyuz2024olora] Section 3

use epoch0_method::{
    Claim, ClaimKind, Entry, Error, Expectation, Family, Info, Params, Status, Values, Verdict,
};

use super::shared::{example, map_of};
use super::{Adapter, Form, Looks, Map, Matrix, Residual, Start};

/// Parameters of `OLoRA`.
#[derive(Clone, Debug, Params)]
pub struct Olora {
    /// What gives back what the adapter adds.
    #[param(default = Residual::Adapter)]
    pub residual: Residual,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Adapter> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "olora",
    aliases: &[],
    family: Family::Inherit,
    papers: &["buyukakyuz2024olora"],
    source: include_str!("olora.rs"),
    params: Olora::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Adapter>, Error> {
    Ok(Box::new(Olora::from_values(INFO.id, values)?))
}

impl Adapter for Olora {
    fn looks_at(&self) -> Looks {
        Looks::Weights
    }

    fn form(&self) -> Form {
        self.residual.form()
    }

    fn start(&self, map: &Map<'_>) -> Result<Start, Error> {
        let qr = map.weight(INFO.id)?.faer().qr();
        let (q, r) = (qr.compute_thin_Q(), qr.thin_R());
        let (a, b) = (Matrix::of(r.subrows(0, map.rank)), Matrix::of(q.subcols(0, map.rank)));
        Ok(Start { a, b, base: None })
    }
}

static CLAIMS: &[Claim] = &[Claim {
    name: "b_is_orthonormal",
    text: "columns of B are orthonormal, and the first columns of B A, as many as the rank, are those of the weight",
    kind: ClaimKind::Law,
    budget_s: 2,
    seeds: 0,
    expectation: Expectation::Holds,
    run: b_is_orthonormal,
}];

fn b_is_orthonormal() -> Result<Verdict, Error> {
    let mut worst = 0.0_f64;
    for (rows, columns) in [(40, 24), (24, 40)] {
        let (rank, weight) = (5, example(rows, columns, 2)?);
        let start = Olora { residual: Residual::Adapter }.start(&map_of(&weight, rank, 2.0))?;
        let gram = start.b.transposed().times(&start.b);
        for (at, value) in gram.values().iter().enumerate() {
            worst = worst.max((value - f64::from(u8::from(at % (rank + 1) == 0))).abs());
        }
        let added = start.b.times(&start.a);
        for row in 0..rows {
            let pairs = added.row(row)[..rank].iter().zip(&weight.row(row)[..rank]);
            worst = pairs.fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
        }
    }
    Ok(Verdict::at_most(worst, 1e-12))
}
