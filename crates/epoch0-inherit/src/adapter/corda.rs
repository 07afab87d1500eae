//! `CorDA`: adapters that start as the part of a weight that matters most, or least, for its inputs.
//!
//! # Idea
//! Which directions of a weight matter depends on what it is given. Decomposed together with the covariance of its inputs, a
//! weight's first components are those that the task at hand uses: trained, they learn it fastest. Its last components are those
//! that it does not use: trained on another task, they leave what the network knows alone.
//!
//! # Method
//! 1. The network is run on data; of each map's inputs `C` is the mean of `x xᵀ`, scaled to a mean diagonal of 1, with `damp` added
//!    to the diagonal.
//! 2. `W C = U diag(σ) Vᵀ`; the first r components are taken with `mode: ipm`, for data of the task, the last
//!    with `mode: kpm`, for data of what is to be kept.
//! 3. `B = U √(σ / s)` and `A = √(σ / s) Vᵀ C⁻¹`. The map loses `s B A`, as with `pissa`.
//!
//! # Shapes
//! Linear maps, of which Conv1D is one.
//!
//! # Cost
//! A run of the network, and for each map a product of its inputs with themselves and a singular value decomposition.
//!
//! # Departures
//! peft adds up inputs over their largest number, batch by batch, so that the sizes of A and B depend on how many are looked at;
//! here the mean diagonal is 1. What B A is, is the same.
//!
//! # Traps
//! - The two ways want different data: of the task, or of what the network should go on to know.
//! - Few examples leave C without most directions, which only `damp` then fills.
//! - In the form with two halves all of both are trained; see `pissa`.
//!
//! # Example
//! ```
//! use epoch0_inherit::adapter::{Kind, Map, Matrix, Moments, find};
//! use epoch0_num::Stream;
//!
//! let weight = Matrix::new(2, 2, vec![3.0, 0.0, 0.0, 2.0]);
//! let method = (find("corda").unwrap().build)(&Default::default()).unwrap();
//! let map = Map {
//!     name: "q_proj", kind: Kind::Linear, rows: 2, columns: 2, rank: 1, scale: 1.0, weight: Some(&weight),
//!     is_transposed: false, met: None, gradient: None, stream: Stream::new(0, "q_proj"),
//! };
//! // The second input is ten times as large.
//! let met = Moments { n: 9, mean: vec![0.0; 2], second: Matrix::new(2, 2, vec![1.0, 0.0, 0.0, 100.0]) };
//! let digest = method.digest(&map, &met, 1).unwrap();
//! let start = method.start(&Map { met: Some(&digest), ..map }).unwrap();
//! let added = start.b.times(&start.a);
//! assert!((added.values()[3] - 2.0).abs() < 1e-9 && added.values()[0].abs() < 1e-9);
//! ```
//!
//! # References
//! - [yang2024corda] Section 3

use epoch0_method::{
    Choice, Claim, ClaimKind, Entry, Error, Expectation, Family, Info, Params, Status, Values, Verdict,
};
use faer::Side;
use faer::prelude::Solve;

use super::eva::moments_of;
use super::matrix::Factors;
use super::shared::{example, map_of};
use super::{Adapter, Digest, Form, Looks, Map, Matrix, Moments, Residual, Start};

/// Which components are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Mode {
    /// The first: those of the task that the data are of.
    Ipm,
    /// The last: what the data are of is kept.
    Kpm,
}

/// Parameters of `CorDA`.
#[derive(Clone, Debug, Params)]
pub struct Corda {
    /// What the data stand for: the task, of which the first components are trained (ipm), or what the network knows and keeps
    /// (kpm).
    #[param(default = Mode::Ipm)]
    pub mode: Mode,
    /// What is added to the covariance, in units of its mean diagonal.
    #[param(default = 0.01, range = "(0, 1000]")]
    pub damp: f64,
    /// What gives back what the adapter adds.
    #[param(default = Residual::Adapter)]
    pub residual: Residual,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Adapter> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "corda",
    aliases: &[],
    family: Family::Inherit,
    papers: &["yang2024corda"],
    source: include_str!("corda.rs"),
    params: Corda::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Adapter>, Error> {
    Ok(Box::new(Corda::from_values(INFO.id, values)?))
}

impl Adapter for Corda {
    fn looks_at(&self) -> Looks {
        Looks::Inputs
    }

    fn form(&self) -> Form {
        self.residual.form()
    }

    fn digest(&self, map: &Map<'_>, met: &Moments, _: usize) -> Result<Digest, Error> {
        let refuse = |why: String| Error::Unsupported {
            method: INFO.id.to_owned(),
            what: map.name.to_owned(),
            why,
            hint: "take other data, or a larger `damp`".to_owned(),
        };
        let n = met.mean.len();
        let diagonal = (0..n).map(|at| met.second.values()[at * n + at]).sum::<f64>() / n as f64;
        if !(diagonal.is_finite() && diagonal > 0.0) {
            return Err(refuse(format!("the mean square of what it meets is {diagonal}")));
        }
        let mut covariance = met.second.clone().scaled(1.0 / diagonal);
        covariance.values_mut().iter_mut().step_by(n + 1).for_each(|value| *value += self.damp);
        let product = map.weight(INFO.id)?.times(&covariance);
        let found = Factors::of(INFO.id, map.name, product.faer())?;
        let first = if self.mode == Mode::Ipm { 0 } else { found.values.len() - map.rank };
        let found = found.take(first, map.rank);
        let root = covariance
            .faer()
            .llt(Side::Lower)
            .map_err(|_| refuse("the covariance of what it meets has no inverse".to_owned()))?;
        let right = root.solve(found.right.transpose());
        Ok(Digest {
            left: Matrix::of(found.left.as_ref()),
            right: Matrix::of(right.transpose()),
            values: found.values,
        })
    }

    fn start(&self, map: &Map<'_>) -> Result<Start, Error> {
        let met = map.given(INFO.id, "what is met by the inputs", map.met)?;
        let parts = Factors {
            left: met.left.faer().to_owned(),
            values: met.values.clone(),
            right: met.right.faer().to_owned(),
        };
        let (a, b) = parts.halves(map.scale);
        Ok(Start { a, b, base: None })
    }
}

static CLAIMS: &[Claim] = &[Claim {
    name: "components_are_those_of_the_inputs",
    text: "where inputs have no directions it is PiSSA's start; where they have, less is left of the outputs on them after the \
           first components are taken than after PiSSA's, and more after the last",
    kind: ClaimKind::Law,
    budget_s: 5,
    seeds: 0,
    expectation: Expectation::Holds,
    run: components_are_those_of_the_inputs,
}];

fn components_are_those_of_the_inputs() -> Result<Verdict, Error> {
    let (rank, scale) = (4, 2.0);
    let weight = Matrix::drawn(
        INFO.id,
        30,
        40,
        epoch0_num::Law::normal(0.0, 1.0),
        &epoch0_num::Stream::new(0, "corda/weight"),
    )?;
    let inputs = example(400, 40, 7)?;
    let map = map_of(&weight, rank, scale);
    let left = |mode, met: &Moments| {
        let by = Corda { mode, damp: 0.01, residual: Residual::Adapter };
        let digest = by.digest(&map, met, rank)?;
        let start = by.start(&Map { met: Some(&digest), ..map.clone() })?;
        Ok::<_, Error>(weight.clone().plus(-scale, &start.b.times(&start.a)))
    };
    let even = Moments { n: 100, mean: vec![0.0; 40], second: identity(40) };
    let values = Factors::of(INFO.id, "map", weight.faer())?.values;
    let tail: f64 = values[rank..].iter().map(|value| value * value).sum();
    let on = |weight: &Matrix| inputs.times(&weight.transposed()).squares();
    let met = moments_of(&inputs);
    let pissa = on(&left(Mode::Ipm, &even)?);
    let (task, knowledge) = (on(&left(Mode::Ipm, &met)?), on(&left(Mode::Kpm, &met)?));
    let worst = (left(Mode::Ipm, &even)?.squares() / tail - 1.0).abs();
    let whole = on(&weight);
    Ok(Verdict::at_most(if task < pissa && pissa < knowledge { worst } else { f64::INFINITY }, 1e-9).detail(
        format!(
            "left of the outputs' squares: {:.3} of the first, {:.3} of PiSSA's, {:.3} of the last",
            task / whole,
            pissa / whole,
            knowledge / whole
        ),
    ))
}

fn identity(n: usize) -> Matrix {
    let mut found = Matrix::zeros(n, n);
    found.values_mut().iter_mut().step_by(n + 1).for_each(|value| *value = 1.0);
    found
}
