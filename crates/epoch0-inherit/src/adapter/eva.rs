//! EVA: adapters that read where a map's inputs vary most, with ranks where that is worth most.
//!
//! # Idea
//! What a map meets lies in few directions. An A made of those sees as much of the inputs as any of its rank can, so that B has
//! something to learn from; and rank is better spent where few directions hold much of the variance.
//!
//! # Method
//! 1. The network is run on data, and of each map's inputs the mean and the covariance are taken.
//! 2. Of the covariance the first `rho · rank` eigenvectors are directions, and their shares of the variance what they are worth.
//! 3. The ranks of all maps together are given to the directions that are worth most, of whichever map; a map that gets none has
//!    no adapter. The factor s of each map's adapter stays what it was.
//! 4. A is a map's directions, B is zero.
//!
//! # Shapes
//! Linear maps, of which Conv1D is one.
//!
//! # Cost
//! A run of the network, and for each map a product of its inputs with themselves and the eigenvectors of that.
//!
//! # Departures
//! - The covariance is that of all examples at once, and exact, where the paper takes singular values batch by batch until they
//!   stay as they are.
//! - Padding counts where the data have any.
//!
//! # Traps
//! - The network is run on `--examples` at once (as many as fit); directions of few are those of noise.
//! - Ranks differ afterwards: they stand in `rank_pattern`.
//!
//! # Example
//! ```
//! use epoch0_inherit::adapter::{Digest, Kind, Map, Matrix, find};
//! use epoch0_num::Stream;
//!
//! let method = (find("eva").unwrap().build)(&Default::default()).unwrap();
//! let digest = |values: &[f64]| Digest { values: values.to_vec(), ..Digest::default() };
//! // Two of rank 2 each: the first has three of the four directions that are worth most.
//! let ranks = method.ranks(&[2, 2], &[&digest(&[0.5, 0.3, 0.15, 0.01]), &digest(&[0.4, 0.1, 0.1, 0.1])]);
//! assert_eq!(ranks, [3, 1]);
//! ```
//!
//! # References
//! - [paischer2024one] Section 3

use epoch0_method::{
    Claim, ClaimKind, Entry, Error, Expectation, Family, Info, Params, Status, Values, Verdict,
};
use faer::Side;

use super::shared::{bare, example};
use super::{Adapter, Digest, Looks, Map, Matrix, Moments, Start};

/// Parameters of EVA.
#[derive(Clone, Debug, Params)]
pub struct Eva {
    /// The most that a map's rank may become, in units of what was asked for; 1 leaves ranks as they are.
    #[param(default = 2.0, range = "[1, 1000]")]
    pub rho: f64,
    /// Whether directions are divided by the root of their singular value.
    #[param(default = false)]
    pub whiten: bool,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Adapter> = Entry { info: &INFO, build, claims: CLAIMS };

static INFO: Info = Info {
    id: "eva",
    aliases: &[],
    family: Family::Inherit,
    papers: &["paischer2024one"],
    source: include_str!("eva.rs"),
    params: Eva::PARAMS,
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Adapter>, Error> {
    Ok(Box::new(Eva::from_values(INFO.id, values)?))
}

impl Adapter for Eva {
    fn looks_at(&self) -> Looks {
        Looks::Inputs
    }

    fn directions(&self, rank: usize) -> usize {
        (self.rho * rank as f64).round() as usize
    }

    fn digest(&self, map: &Map<'_>, met: &Moments, directions: usize) -> Result<Digest, Error> {
        let refuse = |why: String, hint: &str| Error::Unsupported {
            method: INFO.id.to_owned(),
            what: map.name.to_owned(),
            why,
            hint: hint.to_owned(),
        };
        if met.n <= directions {
            let why = format!("{} vectors have no {directions} directions", met.n);
            return Err(refuse(why, "look at more with `--examples`, or take a smaller rank"));
        }
        let columns = met.mean.len();
        let mut covariance = met.second.clone();
        for (at, value) in covariance.values_mut().iter_mut().enumerate() {
            *value -= met.mean[at / columns] * met.mean[at % columns];
        }
        let total: f64 = (0..columns).map(|at| covariance.values()[at * columns + at]).sum();
        let found = covariance
            .faer()
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| refuse("directions of its inputs were not found".to_owned(), "take other data"))?;
        if total.partial_cmp(&0.0) != Some(std::cmp::Ordering::Greater) {
            return Err(refuse(format!("the variance of what it meets is {total}"), "take other data"));
        }
        // Eigenvalues rise.
        let (vectors, values) = (found.U(), found.S().column_vector());
        let mut rows = Vec::with_capacity(directions * columns);
        let mut shares = Vec::with_capacity(directions);
        for k in 0..directions {
            let from = columns - 1 - k;
            let value = values[from].max(0.0);
            let column = vectors.col(from);
            let largest = column.iter().fold(0.0_f64, |best, &x| if x.abs() > best.abs() { x } else { best });
            let singular = (value * met.n as f64).sqrt();
            let size = if self.whiten && singular > 0.0 { singular.sqrt().recip() } else { 1.0 };
            rows.extend(column.iter().map(|&x| x * size * largest.signum()));
            shares.push(value / total);
        }
        Ok(Digest { left: Matrix::default(), right: Matrix::new(directions, columns, rows), values: shares })
    }

    fn ranks(&self, asked: &[usize], met: &[&Digest]) -> Vec<usize> {
        let budget: usize = asked.iter().sum();
        let mut all: Vec<(f64, usize)> = met
            .iter()
            .enumerate()
            .flat_map(|(at, digest)| digest.values.iter().map(move |&share| (share, at)))
            .collect();
        // Of equals the first map's.
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut ranks = vec![0; asked.len()];
        all.iter().take(budget).for_each(|(_, at)| ranks[*at] += 1);
        ranks
    }

    fn start(&self, map: &Map<'_>) -> Result<Start, Error> {
        let met = map.given(INFO.id, "what is met by the inputs", map.met)?;
        Ok(Start { a: met.right.first_rows(map.rank), b: Matrix::zeros(map.rows, map.rank), base: None })
    }
}

static CLAIMS: &[Claim] = &[Claim {
    name: "no_directions_hold_more",
    text: "the directions hold as much of the inputs' variance as the largest singular values of what is met, less its mean, and \
           more than random ones",
    kind: ClaimKind::Law,
    budget_s: 5,
    seeds: 0,
    expectation: Expectation::Holds,
    run: no_directions_hold_more,
}];

/// Moments of vectors, as rows.
pub(crate) fn moments_of(vectors: &Matrix) -> Moments {
    let n = vectors.rows() as f64;
    let mean = (0..vectors.columns())
        .map(|column| (0..vectors.rows()).map(|row| vectors.row(row)[column]).sum::<f64>() / n)
        .collect();
    Moments { n: vectors.rows(), mean, second: vectors.transposed().times(vectors).scaled(1.0 / n) }
}

fn no_directions_hold_more() -> Result<Verdict, Error> {
    let (rank, vectors) = (4, example(300, 40, 5)?);
    let met = moments_of(&vectors);
    let digest = Eva { rho: 1.0, whiten: false }.digest(&bare(8, 40, rank, 0), &met, rank)?;
    let mut centred = vectors;
    for (at, value) in centred.values_mut().iter_mut().enumerate() {
        *value -= met.mean[at % 40];
    }
    let held = |directions: &Matrix| centred.times(&directions.transposed()).squares() / centred.squares();
    let found = super::matrix::Factors::of(INFO.id, "inputs", centred.faer())?;
    let best: f64 = found.values[..rank].iter().map(|value| value * value).sum::<f64>() / centred.squares();
    let random = super::matrix::Factors::of(INFO.id, "random", example(rank, 40, 6)?.faer())?;
    let (own, other) = (held(&digest.right), held(&Matrix::of(random.right.as_ref())));
    let sum: f64 = digest.values.iter().sum();
    let worst = (own / best - 1.0).abs().max((sum / best - 1.0).abs()) / 1e-9;
    Ok(Verdict::at_most(if other < own { worst } else { f64::INFINITY }, 1.0)
        .detail(format!("{own:.4} of the variance, of random directions {other:.4}")))
}
