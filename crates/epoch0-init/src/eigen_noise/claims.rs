//! What the paper claims, as identities and experiments.

use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_num::symmetric::{dot, eigen};
use epoch0_num::{Law, Stream};

use super::cooccurrence::{Factors, entry, most};
use super::{Transform, effects};
use crate::shared::experiment::{broken, of};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "spectrum_is_exact",
        text: "raw co-occurrences have one eigenvalue, (2mN/H)Σr⁻², with a vector ∝ 1/r, their logarithm has two, and \
               columns of log-floor and log1p are eigenvectors of the dense matrix of 500 words, to 1e-10 of the first; 50 of \
               them rebuild it to within the 51st eigenvalue",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 0,
        expectation: Expectation::Holds,
        run: spectrum_is_exact,
    },
    Claim {
        name: "basis_is_orthonormal",
        text: "eigenvectors of 2,000 words are orthonormal to 1e-8, the largest entry of each is positive, and their bits are \
               the same on one thread and on four",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 0,
        expectation: Expectation::Holds,
        run: basis_is_orthonormal,
    },
    Claim {
        name: "frequency_is_encoded",
        text: "ten dimensions tell the logarithm of a word's rank, R² ≥ 0.999 by a linear map; random vectors R² ≤ 0.05",
        kind: ClaimKind::Law,
        budget_s: 20,
        seeds: 1,
        expectation: Expectation::Holds,
        run: frequency_is_encoded,
    },
    effects::FREQUENCY_IS_READ,
    effects::FRAMES_TAGS,
    effects::TAGS_WITHOUT_RANK,
];

fn factors(n: usize, d: usize, transform: Transform) -> Result<Factors, Error> {
    Factors::new(n, d, transform, 5).ok_or_else(|| broken(&"too many ranks"))
}

fn spectrum_is_exact() -> Result<Verdict, Error> {
    const N: usize = 500;
    let size = most(N, 5);
    let raw = factors(N, N, Transform::Raw)?;
    let wanted: f64 = size * (1..=N).map(|rank| (rank as f64).powi(-2)).sum::<f64>();
    let mut worst = (raw.values[0] / wanted - 1.0).abs();
    let column = raw.column(0);
    worst =
        (1..=N).map(|rank| (column[rank - 1] * rank as f64 / column[0] - 1.0).abs()).fold(worst, f64::max);
    let ranks = [raw.rank, factors(N, N, Transform::Log)?.rank];
    let mut details = vec![format!("ranks of raw and log {ranks:?}")];
    let mut rebuilt: f64 = 0.0;
    for transform in [Transform::LogFloor, Transform::Log1p] {
        let dense: Vec<f64> =
            (0..N * N).map(|at| entry(transform, size, ((at / N + 1) * (at % N + 1)) as f64)).collect();
        let found = factors(N, N, transform)?;
        let norm = found.values[0].abs();
        for (at, value) in found.values.iter().enumerate() {
            let column = found.column(at);
            for (row, entry) in dense.chunks(N).zip(&column) {
                worst = worst.max((dot(row, &column) - value * entry).abs() / norm.powf(1.5));
            }
        }
        let next = found.values.get(50).map_or(norm * 1e-11, |value| value.abs());
        let mut rest = dense;
        for (at, value) in found.values.iter().take(50).enumerate() {
            let column = found.column(at);
            for (row, entry) in rest.chunks_mut(N).zip(&column) {
                row.iter_mut().zip(&column).for_each(|(rest, other)| *rest -= value.signum() * entry * other);
            }
        }
        let left = eigen(N, &rest).ok_or_else(|| broken(&"no eigenvalues"))?;
        let left = left.values[0].abs().max(left.values[N - 1].abs());
        rebuilt = rebuilt.max(left / next);
        details.push(format!(
            "{transform:?}: rank {}, eigenvalues from {norm:.4}; {left:.3e} left after 50, the next {next:.3e}",
            found.rank
        ));
    }
    let mut verdict = Verdict::at_most(worst, 1e-10);
    verdict.holds &= ranks == [1, 2] && rebuilt <= 1.0 + 1e-6;
    verdict.bound.push_str("; ranks 1 and 2; what is left at most the next eigenvalue");
    Ok(Verdict { details, ..verdict })
}

fn basis_is_orthonormal() -> Result<Verdict, Error> {
    const N: usize = 2000;
    let mut worst: f64 = 0.0;
    let mut faces_up = true;
    for transform in [Transform::LogFloor, Transform::Log1p] {
        let found = factors(N, 100, transform)?;
        // Of log1p those that are well above rounding.
        let n = found.values.iter().filter(|value| value.abs() > 1e-6 * found.values[0].abs()).count();
        let unit = |at: usize| -> Vec<f64> {
            found.column(at).into_iter().map(|entry| entry / found.values[at].abs().sqrt()).collect()
        };
        let units: Vec<Vec<f64>> = (0..n).map(unit).collect();
        for (a, left) in units.iter().enumerate() {
            for (b, right) in units[..=a].iter().enumerate() {
                worst = worst.max((dot(left, right) - f64::from(a == b)).abs());
            }
            let largest = left
                .iter()
                .copied()
                .fold(0.0, |so_far: f64, x| if x.abs() > so_far.abs() { x } else { so_far });
            faces_up &= largest > 0.0;
        }
        let pool = |threads| of(rayon::ThreadPoolBuilder::new().num_threads(threads).build());
        let again = |threads| pool(threads)?.install(|| factors(N, 100, transform));
        faces_up &= again(1)? == again(4)?;
    }
    let mut verdict = Verdict::at_most(worst, 1e-8);
    verdict.holds &= faces_up;
    Ok(verdict)
}

/// Share of the variance of `y` that a linear map of `columns` and a constant explains.
fn explained(columns: &[Vec<f64>], y: &[f64]) -> Result<f64, Error> {
    let centred = |values: &[f64]| -> Vec<f64> {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|value| value - mean).collect()
    };
    let (columns, y): (Vec<Vec<f64>>, Vec<f64>) =
        (columns.iter().map(|one| centred(one)).collect(), centred(y));
    let n = columns.len();
    let products: Vec<f64> = (0..n * n).map(|at| dot(&columns[at / n], &columns[at % n])).collect();
    let found = eigen(n, &products).ok_or_else(|| broken(&"no eigenvalues"))?;
    let floor = 1e-13 * found.values[0];
    let with_y: Vec<f64> = columns.iter().map(|column| dot(column, &y)).collect();
    let parts = (0..n).filter(|&k| found.values[k] > floor);
    let square: f64 = parts.map(|k| dot(found.vector(k), &with_y).powi(2) / found.values[k]).sum();
    Ok(square / dot(&y, &y))
}

fn frequency_is_encoded() -> Result<Verdict, Error> {
    const N: usize = 1000;
    let logs: Vec<f64> = (1..=N).map(|rank| (rank as f64).ln()).collect();
    let with = |d: usize| -> Result<f64, Error> {
        let found = factors(N, d, Transform::LogFloor)?;
        explained(&(0..d).map(|at| found.column(at)).collect::<Vec<_>>(), &logs)
    };
    let random = |at: u64| -> Result<Vec<f64>, Error> {
        let mut column = vec![0.0; N];
        of(Law::normal(0.0, 1.0).fill(&Stream::new(at, "random vectors"), 0, &mut column))?;
        Ok(column)
    };
    let noise = explained(&(0..10).map(random).collect::<Result<Vec<_>, _>>()?, &logs)?;
    let (two, ten) = (with(2)?, with(10)?);
    Ok(Verdict {
        holds: ten >= 0.999 && noise <= 0.05,
        measured: ten,
        bound: format!("at least 0.999; of random vectors {noise:.4}, at most 0.05"),
        interval: None,
        details: vec![format!("two dimensions {two:.4}, ten {ten:.6}")],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_hold() {
        for claim in CLAIMS.iter().filter(|claim| claim.kind == ClaimKind::Law) {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:?}", claim.name);
        }
    }
}
