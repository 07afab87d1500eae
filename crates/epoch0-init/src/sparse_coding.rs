//! Sparse coding: filters are the atoms that rebuild whitened patches with few of them at a time.
//!
//! # Idea
//! Natural images are sums of few parts. A dictionary in which patches need few atoms has localized, oriented edges for
//! atoms, as cells of the visual cortex have receptive fields.
//!
//! # Method
//! On patches `x` that are whitened as in `zca_kmeans`, with atoms `D` of length 1, random patches at first:
//! 1. code a batch: `s` minimizes `½|x - D s|² + lambda |s|₁`, by 20 steps of ISTA from 0 with step `1/‖DᵀD‖`, bounded by
//!    its largest row sum
//! 2. move the atoms by `Σ (x - D s) sᵀ / Σ s²`, each by its own sum, and bring them back to length 1
//! 3. filters are the atoms through the whitening
//!
//! Then the filters of a layer are scaled, each by itself, so that its output on the patches as they are read has variance 1
//! (`raw` leaves them as they are learned); a filter that answers a hundredth as much as the strongest, or less, is scaled
//! as one that does. Filters beyond those that are learned are their negatives, then random rotations of them.
//!
//! # Shapes
//! Weights of convolutions, each group by itself, and of linear maps, whose patches are their inputs; readouts,
//! transposed and recurrent layers stay as they were drawn, by He's start with biases of zero. `layers: first` are those
//! that as few weights as possible come before, `all` each on what the layers before it make. Layers whose patches have
//! more than 1,200 numbers are left alone and listed.
//!
//! # Cost
//! O(passes P (n² + n d)) times 20 for ISTA: seconds for 64 filters of 5 × 5.
//!
//! # Departures
//! The step of an atom is the one that is best for it alone; the survey gives none.
//!
//! # Traps
//! - A filter's answer is not its code: the network has no lateral inhibition, so that answers are less sparse.
//! - `lambda` is relative to whitened patches, whose numbers have variance about 1.
//! - Scale explains much of what a start by filters gains: compare with He's start and with `random_patches`.
//! - Patches are of the batch that calibrates, 1,024 examples at most: training examples, where the data have parts.
//!
//! # Example
//! ```
//! use epoch0_init::{calibrate, start::Recipe};
//!
//! let recipe = Recipe::from_yaml("recipe", "{base: pytorch_default, calibrate: sparse_coding}").unwrap();
//! assert_eq!(recipe.calibrator().unwrap().unwrap().0, "sparse_coding");
//! assert!(calibrate::find("sparse_filters").is_ok());
//! ```
//!
//! # References
//! - [olshausen1996emergence]
//! - [hirani2024filter] the survey

use epoch0_method::{Entry, Error as MethodError, Family, Info, Params, Status, Values, Waiver};
use epoch0_num::Stream;
use epoch0_num::symmetric::dot;
use rayon::prelude::*;

use crate::calibrate::Calibrator;
use crate::shared::filters::{Layers, Learner, Learning, Patches, Whitening, unit};

/// Parameters of filters by sparse coding.
#[derive(Clone, Debug, Params)]
pub struct SparseCoding {
    /// Layers that get filters.
    #[param(default = Layers::First)]
    pub layers: Layers,
    /// Whether filters are left as they are learned instead of being brought to unit variance of what they answer.
    #[param(default = false)]
    pub raw: bool,
    /// Patches that are learned from at most.
    #[param(default = 10_000, range = "[2, 1000000]", symbol = "P")]
    pub patches: u32,
    /// What is added to the variance of each direction before it is whitened, as a share of the mean variance.
    #[param(default = 0.1, range = "[0, 10]", symbol = "ε")]
    pub epsilon: f64,
    /// Price of a code's size.
    #[param(default = 0.1, range = "(0, 10]", symbol = "λ")]
    pub lambda: f64,
    /// Passes over the patches.
    #[param(default = 2, range = "[1, 1000]")]
    pub passes: u32,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Calibrator> = Entry { info: &INFO, build, claims: &[] };

static INFO: Info = Info {
    id: "sparse_coding",
    aliases: &["sparse_filters"],
    family: Family::Init,
    papers: &["hirani2024filter", "olshausen1996emergence"],
    source: include_str!("sparse_coding.rs"),
    params: SparseCoding::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[Waiver {
        check: "directions_are_kept",
        why: "filters that are learned take the place of what was drawn",
    }],
};

fn build(values: &Values) -> Result<Box<dyn Calibrator>, MethodError> {
    Ok(Box::new(SparseCoding::from_values(INFO.id, values)?))
}

impl Learner for SparseCoding {
    fn learning(&self) -> Learning {
        let Self { layers, raw, patches, .. } = *self;
        Learning { method: INFO.id, layers, raw, patches }
    }

    fn filters(&self, patches: &Patches, n: usize, stream: &Stream) -> Option<Vec<f64>> {
        const BATCH: usize = 100;
        let d = patches.d;
        let whitening = Whitening::new(&patches.components()?, self.epsilon);
        let white = whitening.of(&patches.values);
        let n = n.min(patches.len());
        let picked = patches.some(n, &stream.child("first atoms"));
        let mut atoms: Vec<f64> =
            picked.iter().flat_map(|&at| white[at * d..(at + 1) * d].to_vec()).collect();
        atoms.chunks_mut(d).for_each(unit);
        for _ in 0..self.passes {
            for batch in white.chunks(BATCH * d) {
                let products: Vec<f64> = (0..n * n)
                    .map(|at| dot(&atoms[at / n * d..(at / n + 1) * d], &atoms[at % n * d..(at % n + 1) * d]))
                    .collect();
                let codes: Vec<Vec<f64>> =
                    batch.par_chunks(d).map(|patch| self.code(&atoms, &products, patch)).collect();
                improve(&mut atoms, batch, &codes, d);
            }
        }
        Some(whitening.of(&atoms))
    }
}

impl SparseCoding {
    /// The code of a patch, by iterated soft thresholds; `products` are those of the atoms with each other.
    fn code(&self, atoms: &[f64], products: &[f64], patch: &[f64]) -> Vec<f64> {
        const STEPS: usize = 20;
        let n = atoms.len() / patch.len();
        let with_patch: Vec<f64> = atoms.chunks(patch.len()).map(|atom| dot(atom, patch)).collect();
        let row_sum = |row: &[f64]| row.iter().map(|product| product.abs()).sum::<f64>();
        let step = 1.0 / products.chunks(n).map(row_sum).fold(1.0, f64::max);
        let mut code = vec![0.0; n];
        for _ in 0..STEPS {
            let moved = products.chunks(n).zip(&with_patch).zip(&code).map(|((row, with), s)| {
                let to = s + step * (with - dot(row, &code));
                to.signum() * (to.abs() - step * self.lambda).max(0.0)
            });
            code = moved.collect();
        }
        code
    }
}

/// Moves each atom to what is best for the codes with all others as they are, and back to length 1.
fn improve(atoms: &mut [f64], batch: &[f64], codes: &[Vec<f64>], d: usize) {
    let mut sums = vec![0.0; atoms.len()];
    let mut squares = vec![0.0; atoms.len() / d];
    for (patch, code) in batch.chunks(d).zip(codes) {
        let mut rest = patch.to_vec();
        for (atom, s) in atoms.chunks(d).zip(code) {
            rest.iter_mut().zip(atom).for_each(|(rest, value)| *rest -= s * value);
        }
        for ((sum, square), s) in sums.chunks_mut(d).zip(&mut squares).zip(code).filter(|(_, s)| **s != 0.0) {
            *square += s * s;
            sum.iter_mut().zip(&rest).for_each(|(sum, rest)| *sum += s * rest);
        }
    }
    for ((atom, sum), square) in atoms.chunks_mut(d).zip(sums.chunks(d)).zip(squares) {
        if square > 0.0 {
            atom.iter_mut().zip(sum).for_each(|(value, sum)| *value += sum / square);
            unit(atom);
        }
    }
}

#[cfg(test)]
mod tests {
    use epoch0_num::Law;

    use super::*;

    #[test]
    fn atoms_that_made_the_data_are_found() {
        // Patches of 8 numbers, each one of 6 directions, with either sign.
        let stream = Stream::new(3, "atoms");
        let mut truth = vec![0.0; 6 * 8];
        Law::normal(0.0, 1.0).fill(&stream, 0, &mut truth).unwrap();
        truth.chunks_mut(8).for_each(unit);
        let raw: Vec<f64> = (0..3000u64)
            .flat_map(|at| {
                let (atom, sign) =
                    (stream.below(at, 6) as usize, stream.below(9000 + at, 2) as f64 * 4.0 - 2.0);
                truth[atom * 8..(atom + 1) * 8].iter().map(move |value| sign * value).collect::<Vec<f64>>()
            })
            .collect();
        let by = SparseCoding {
            epsilon: 10.0,
            passes: 20,
            ..SparseCoding::from_values(INFO.id, &Values::new()).unwrap()
        };
        let patches = Patches::new(raw, 8, false);
        let mut found = by.filters(&patches, 12, &stream).unwrap();
        found.chunks_mut(8).for_each(unit);
        let best = |atom: &[f64]| found.chunks(8).map(|one| dot(one, atom).abs()).fold(0.0, f64::max);
        let mean = truth.chunks(8).map(best).sum::<f64>() / 6.0;
        // The best of twelve random directions would be at 0.75.
        assert!(mean > 0.9, "{mean}");
    }
}
