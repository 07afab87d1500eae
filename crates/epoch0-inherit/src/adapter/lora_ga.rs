//! LoRA-GA: adapters whose first step goes where the whole weight's would, made of its gradient.
//!
//! # Idea
//! With one factor zero an adapter's first steps go in a few random directions. With both made of singular vectors of the loss's
//! gradient, the first step of the product is as near to that of the weight itself as a product of that rank can come.
//!
//! # Method
//! 1. Gradients of the loss by each weight are added up over examples of the data; `G = U diag(σ) Vᵀ`, of which 2 r are taken, by
//!    four subspace iterations.
//! 2. A is r of the rows of Vᵀ, B r columns of U, others: `directions` says which.
//! 3. Both are multiplied: with `scale: stable` by `∜m / √gamma` for m outputs, by which outputs and learning are of one size at
//!    every width; see the parameter.
//! 4. The map loses `s B A`, as with `pissa`.
//!
//! # Shapes
//! Linear maps, of which Conv1D is one, convolutions in one group and tables of vectors, with at least 2 r inputs and outputs.
//!
//! # Cost
//! A run forward and backward over the data; gradients of all targets are held at once.
//!
//! # Departures
//! None from the paper. peft multiplies B by the gradient's singular values, and A by nothing, so that what it starts with depends
//! on the size of the loss; the paper has neither.
//!
//! # Traps
//! - Data have to have what the network should answer.
//! - In the form with two halves all of both are trained; see `pissa`.
//!
//! # Example
//! ```
//! use epoch0_inherit::adapter::{Kind, Map, Matrix, find};
//! use epoch0_method::Value;
//! use epoch0_num::Stream;
//!
//! let set = [("scale".to_owned(), Value::parse("unit"))].into();
//! let method = (find("lora_ga").unwrap().build)(&set).unwrap();
//! let gradient = Matrix::new(2, 2, vec![3.0, 0.0, 0.0, 1.0]);
//! let map = Map {
//!     name: "q_proj", kind: Kind::Linear, rows: 2, columns: 2, rank: 1, scale: 1.0, weight: Some(&gradient),
//!     is_transposed: false, met: None, gradient: Some(&gradient), stream: Stream::new(0, "q_proj"),
//! };
//! let start = method.start(&map).unwrap();
//! // A reads the first direction, B writes the second.
//! assert!((start.a.values()[0].abs() - 1.0).abs() < 1e-9 && (start.b.values()[1].abs() - 1.0).abs() < 1e-9);
//! ```
//!
//! # References
//! - [wang2024loraga] Sections 3.2 and 3.3

use epoch0_method::{
    Choice, Claim, ClaimKind, Entry, Error, Expectation, Family, Info, Params, Status, Values, Verdict,
};
use epoch0_num::Stream;

use super::matrix::Factors;
use super::shared::{example, map_of};
use super::{Adapter, Form, Looks, Map, Matrix, Residual, Start};

/// Which directions of the gradient A reads and B writes, of the first 2 r.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Directions {
    /// A the first half, B the second.
    ArB2r,
    /// A the second half, B the first.
    A2rBr,
    /// B the first, third…, A the second, fourth….
    ArBr,
    /// The same r of both, drawn.
    Random,
}

/// What A and B are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Choice)]
pub enum Size {
    /// `∜outputs / √gamma`.
    Stable,
    /// The mean root of the weight's first singular values over s.
    WeightSvd,
    /// One over s.
    GdScale,
    /// Nothing.
    Unit,
}

/// Parameters of LoRA-GA.
#[derive(Clone, Debug, Params)]
pub struct LoraGa {
    /// Which directions A reads and B writes.
    #[param(default = Directions::ArB2r)]
    pub directions: Directions,
    /// What A and B are multiplied by: `stable` is `∜outputs / √gamma`.
    #[param(default = Size::Stable)]
    pub scale: Size,
    /// How small what is added is, with `scale: stable`.
    #[param(default = 16.0, range = "(0, inf)", symbol = "γ")]
    pub gamma: f64,
    /// What gives back what the adapter adds.
    #[param(default = Residual::Adapter)]
    pub residual: Residual,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Adapter> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "lora_ga",
    aliases: &["loraga"],
    family: Family::Inherit,
    papers: &["wang2024loraga"],
    source: include_str!("lora_ga.rs"),
    params: LoraGa::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Adapter>, Error> {
    Ok(Box::new(LoraGa::from_values(INFO.id, values)?))
}

/// Subspace iterations.
const ITERATIONS: u32 = 4;

impl LoraGa {
    /// Places of A's and B's directions among the first 2 r.
    fn places(&self, rank: usize, stream: &Stream) -> (Vec<usize>, Vec<usize>) {
        let (first, second) = ((0..rank).collect::<Vec<_>>(), (rank..2 * rank).collect::<Vec<_>>());
        match self.directions {
            Directions::ArB2r => (first, second),
            Directions::A2rBr => (second, first),
            Directions::ArBr => ((1..2 * rank).step_by(2).collect(), (0..2 * rank).step_by(2).collect()),
            Directions::Random => {
                let mut places: Vec<usize> = (0..2 * rank).collect();
                places.sort_by_key(|&place| (stream.word(place as u64), place));
                places.truncate(rank);
                (places.clone(), places)
            }
        }
    }

    fn size(&self, map: &Map<'_>) -> Result<f64, Error> {
        Ok(match self.scale {
            Size::Stable => (map.rows as f64).powf(0.25) / self.gamma.sqrt(),
            Size::GdScale => 1.0 / map.scale,
            Size::Unit => 1.0,
            Size::WeightSvd => {
                let (weight, draws) = (map.weight(INFO.id)?.faer(), map.stream.child("weight"));
                let found = Factors::first(INFO.id, map.name, weight, map.rank, ITERATIONS, &draws)?;
                found.values.iter().map(|value| (value / map.scale).sqrt()).sum::<f64>() / map.rank as f64
            }
        })
    }
}

impl Adapter for LoraGa {
    fn looks_at(&self) -> Looks {
        Looks::Gradients
    }

    fn form(&self) -> Form {
        self.residual.form()
    }

    fn start(&self, map: &Map<'_>) -> Result<Start, Error> {
        let gradient = map.given(INFO.id, "the gradient", map.gradient)?;
        let most = map.rows.min(map.columns) / 2;
        if map.rank > most {
            return Err(Error::Param {
                method: INFO.id.to_owned(),
                name: format!("rank of `{}`", map.name),
                got: map.rank.to_string(),
                allowed: format!(
                    "1 to {most}: A and B take directions of a gradient {} × {}",
                    map.rows, map.columns
                ),
            });
        }
        if gradient.is_zero() {
            return Err(Error::Unsupported {
                method: INFO.id.to_owned(),
                what: map.name.to_owned(),
                why: "the gradient of the loss by its weight is zero".to_owned(),
                hint: "take other data, or leave it out of the targets".to_owned(),
            });
        }
        let found = Factors::first(
            INFO.id,
            map.name,
            gradient.faer(),
            2 * map.rank,
            ITERATIONS,
            &map.stream.child("range"),
        )?;
        let (of_a, of_b) = self.places(map.rank, &map.stream.child("directions"));
        let size = self.size(map)?;
        let a = of_a
            .iter()
            .flat_map(|&k| found.right.row(k).iter().map(|&value| size * value).collect::<Vec<_>>());
        let a = Matrix::new(map.rank, map.columns, a.collect());
        let b = (0..map.rows)
            .flat_map(|row| of_b.iter().map(|&k| size * found.left[(row, k)]).collect::<Vec<_>>());
        let b = Matrix::new(map.rows, map.rank, b.collect());
        Ok(Start { a, b, base: None })
    }
}

static CLAIMS: &[Claim] = &[Claim {
    name: "the_first_step_is_the_gradients",
    text: "with directions of A and B apart, a step of gradient descent moves the product by the gradient's part in the first 2 r \
           singular directions, to first order: no product of that rank comes nearer",
    kind: ClaimKind::Law,
    budget_s: 5,
    seeds: 0,
    expectation: Expectation::Holds,
    run: the_first_step_is_the_gradients,
}];

/// `ΔB A + B ΔA` with `ΔB = G Aᵀ` and `ΔA = Bᵀ G` is `Σ σ u vᵀ` over both halves, times the square of the size.
fn the_first_step_is_the_gradients() -> Result<Verdict, Error> {
    let (rank, gradient) = (3, example(40, 30, 8)?);
    let values = Factors::of(INFO.id, "gradient", gradient.faer())?.values;
    let tail: f64 = values[2 * rank..].iter().map(|value| value * value).sum();
    let mut worst = 0.0_f64;
    for directions in [Directions::ArB2r, Directions::A2rBr, Directions::ArBr] {
        let by = LoraGa { directions, scale: Size::Unit, gamma: 16.0, residual: Residual::Adapter };
        let start = by.start(&Map { gradient: Some(&gradient), ..map_of(&gradient, rank, 1.0) })?;
        let (a, b) = (&start.a, &start.b);
        let moved =
            gradient.times(&a.transposed()).times(a).plus(1.0, &b.times(&b.transposed().times(&gradient)));
        let left = gradient.clone().plus(-1.0, &moved).squares();
        worst = worst.max((left / tail - 1.0).abs());
    }
    Ok(Verdict::at_most(worst, 1e-3))
}
