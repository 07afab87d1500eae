//! The matrix of independent co-occurrences and its eigenvectors, in time and memory that grow with the vocabulary only as
//! what is written does.

use epoch0_num::special::{cos, exp, ln, ln_1p};
use epoch0_num::symmetric::{dot, eigen, face_up};
use rayon::prelude::*;

use super::Transform;

/// Eigenvalues below this share of the largest are rounding.
const ROUNDING: f64 = 1e-11;
/// Most heads: ranks that are looked at one by one.
pub(super) const HEADS: usize = 2048;
/// Points at which a smooth transform is known; between them it is a polynomial.
const NODES: usize = 80;
/// Ranks that are taken together.
const AT_ONCE: usize = 1024;

/// The components with the largest eigenvalues: columns of `Q |Λ|^½`, by rank.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Factors {
    /// Eigenvalues, the largest in size first.
    pub(super) values: Vec<f64>,
    /// How many eigenvalues the matrix has that are not zero.
    pub(super) rank: usize,
    columns: Columns,
    n: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Columns {
    /// Each written out.
    Dense(Vec<Vec<f64>>),
    /// In each piece of the ranks a constant and a multiple of the rank's logarithm.
    Pieces { piece: Vec<u32>, columns: Vec<Vec<(f64, f64)>> },
}

/// Expected co-occurrences of the first two words: `2 m N / H_N`.
pub(super) fn most(n: usize, window: u32) -> f64 {
    let harmonic: f64 = (1..=n).rev().map(|rank| 1.0 / rank as f64).sum();
    2.0 * f64::from(window) * n as f64 / harmonic
}

/// What stands for words whose ranks have this product.
pub(super) fn entry(transform: Transform, most: f64, product: f64) -> f64 {
    let expected = most / product;
    match transform {
        Transform::Raw => expected,
        Transform::Log => ln(expected),
        Transform::LogFloor => ln(expected.max(1.0)),
        Transform::Log1p => ln_1p(expected),
    }
}

fn logs(n: usize) -> Vec<f64> {
    (1..=n).map(|rank| ln(rank as f64)).collect()
}

impl Factors {
    /// The first `d` components for `n` words; none where ranks that need their own place are more than [`HEADS`].
    pub(super) fn new(n: usize, d: usize, transform: Transform, window: u32) -> Option<Self> {
        let most = most(n, window);
        match transform {
            Transform::Raw => {
                let column = (1..=n).map(|rank| most.sqrt() / rank as f64).collect::<Vec<f64>>();
                let values = vec![dot(&column, &column)];
                Some(Self { values, rank: 1, columns: Columns::Dense(vec![column]), n })
            }
            Transform::Log => Pieces::log(n, most).factors(d),
            Transform::LogFloor => {
                let heads = (most.sqrt() as usize).min(n);
                if heads > HEADS { None } else { Pieces::log_floor(n, most, heads).factors(d) }
            }
            Transform::Log1p => smooth(n, d, most),
        }
    }

    /// Number of components.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// A component, by rank.
    pub(super) fn column(&self, at: usize) -> Vec<f64> {
        match &self.columns {
            Columns::Dense(columns) => columns[at].clone(),
            Columns::Pieces { piece, columns } => {
                let logs = (1..=self.n).map(|rank| ln(rank as f64));
                let value = |(&piece, log): (&u32, f64)| {
                    let (constant, slope) = columns[at][piece as usize];
                    constant + slope * log
                };
                piece.iter().zip(logs).map(value).collect()
            }
        }
    }

    /// Squared lengths of the rows, and the sum of all entries.
    pub(super) fn survey(&self) -> (Vec<f64>, f64) {
        let (mut squares, mut sum) = (vec![0.0; self.n], 0.0);
        for at in 0..self.len() {
            let column = self.column(at);
            sum += column.iter().sum::<f64>();
            squares.iter_mut().zip(&column).for_each(|(square, value)| *square += value * value);
        }
        (squares, sum)
    }
}

/// A matrix whose entries are a constant less the logarithms of both ranks where that is not cut off: it maps the constants
/// and logarithms on pieces of the ranks to each other.
struct Pieces {
    /// Piece of each rank.
    piece: Vec<u32>,
    /// Number of ranks of each piece, the mean of their logarithms, and the root of their squared deviations.
    each: Vec<(usize, f64, f64)>,
    /// The matrix in the basis of pieces: `[[X, Y], [Yᵀ, 0]]`, `X` and the rows of `Y`.
    square: Vec<f64>,
    beside: Vec<Vec<f64>>,
}

impl Pieces {
    fn new(n: usize, piece: Vec<u32>) -> Self {
        let n_pieces = piece.last().map_or(0, |last| *last as usize + 1);
        let logs = logs(n);
        let mut each = vec![(0, 0.0, 0.0); n_pieces];
        for (&piece, log) in piece.iter().zip(&logs) {
            let of = &mut each[piece as usize];
            (of.0, of.1) = (of.0 + 1, of.1 + log);
        }
        each.iter_mut().for_each(|of| of.1 /= of.0 as f64);
        for (&piece, log) in piece.iter().zip(&logs) {
            let of = &mut each[piece as usize];
            of.2 += (log - of.1) * (log - of.1);
        }
        each.iter_mut().for_each(|of| of.2 = of.2.sqrt());
        Self { piece, each, square: Vec::new(), beside: Vec::new() }
    }

    /// Nothing is cut off: one piece, two dimensions.
    fn log(n: usize, most: f64) -> Self {
        let mut pieces = Self::new(n, vec![0; n]);
        let (n, mean, spread) = (n as f64, pieces.each[0].1, pieces.each[0].2);
        pieces.square = vec![n * (ln(most) - 2.0 * mean)];
        pieces.beside = vec![if spread > 0.0 { vec![-spread * n.sqrt()] } else { Vec::new() }];
        pieces
    }

    /// Heads, ranks up to the root of the largest entry, each by itself; ranks behind that meet only heads, those with as
    /// many of them together.
    fn log_floor(n: usize, most: f64, heads: usize) -> Self {
        let mut piece: Vec<u32> = (0..heads as u32).collect();
        let mut reach = Vec::new();
        for rank in heads + 1..=n {
            let heads_met = (most / rank as f64) as usize;
            if reach.last() != Some(&heads_met) {
                reach.push(heads_met);
            }
            piece.push((heads + reach.len() - 1) as u32);
        }
        let mut pieces = Self::new(n, piece);
        let (log_most, logs) = (ln(most), logs(heads));
        pieces.square = (0..heads * heads).map(|at| log_most - logs[at / heads] - logs[at % heads]).collect();
        pieces.beside = (0..heads)
            .map(|head| {
                let mut row = Vec::new();
                for (&(n, mean, spread), &reach) in pieces.each[heads..].iter().zip(&reach) {
                    let is_met = head < reach;
                    row.push(if is_met { (n as f64).sqrt() * (log_most - logs[head] - mean) } else { 0.0 });
                    if spread > 0.0 {
                        row.push(if is_met { -spread } else { 0.0 });
                    }
                }
                row
            })
            .collect();
        pieces
    }

    fn factors(self, d: usize) -> Option<Factors> {
        let heads = self.beside.len();
        // Another basis of what is beside makes it a triangle, and the problem small.
        let width = self.beside.first().map_or(0, Vec::len);
        let triangle = if width > heads { triangle(self.beside.clone()) } else { self.beside.clone() };
        let rest = width.min(heads);
        let n = heads + rest;
        let mut matrix = vec![0.0; n * n];
        for row in 0..heads {
            matrix[row * n..row * n + heads].copy_from_slice(&self.square[row * heads..(row + 1) * heads]);
            for (column, &value) in triangle[row][..rest].iter().enumerate() {
                matrix[row * n + heads + column] = value;
                matrix[(heads + column) * n + row] = value;
            }
        }
        let (kept, rank) = largest(&eigen(n, &matrix)?, d);
        let columns = kept
            .par_iter()
            .map(|(value, vector)| {
                // Beside the heads an eigenvector is what the matrix makes of it, divided by its eigenvalue.
                let mut beside = vec![0.0; width];
                for (row, head) in self.beside.iter().zip(vector) {
                    beside.iter_mut().zip(row).for_each(|(sum, entry)| *sum += head * entry / value);
                }
                self.column(&vector[..heads], &beside, value.abs().sqrt())
            })
            .collect();
        let values = kept.iter().map(|(value, _)| *value).collect();
        let n = self.piece.len();
        let mut factors =
            Factors { values, rank, columns: Columns::Pieces { piece: self.piece, columns }, n };
        factors.face_up();
        Some(factors)
    }

    /// Constants and slopes of a vector in the basis of pieces. A matrix without a cut has its one piece's slope beside.
    fn column(&self, heads: &[f64], beside: &[f64], scale: f64) -> Vec<(f64, f64)> {
        let mut beside = beside.iter();
        let is_cut = self.each.len() != 1 || heads.len() != 1 || self.each[0].0 == 1;
        let each = self.each.iter().enumerate();
        each.map(|(at, &(n, mean, spread))| {
            let is_head = at < heads.len();
            let constant = if is_head { heads[at] } else { beside.next().copied().unwrap_or(0.0) };
            let constant = constant / (n as f64).sqrt();
            let has_slope = spread > 0.0 && !(is_head && is_cut);
            let slope = if has_slope { beside.next().copied().unwrap_or(0.0) / spread } else { 0.0 };
            (scale * (constant - slope * mean), scale * slope)
        })
        .collect()
    }
}

impl Factors {
    /// Turns each component so that its largest entry is positive.
    fn face_up(&mut self) {
        let turned: Vec<bool> = (0..self.len())
            .into_par_iter()
            .map(|at| {
                let column = self.column(at);
                let mut turned = column.clone();
                face_up(&mut turned);
                turned != column
            })
            .collect();
        if let Columns::Pieces { columns, .. } = &mut self.columns {
            for (column, _) in columns.iter_mut().zip(turned).filter(|(_, turned)| *turned) {
                column.iter_mut().for_each(|(constant, slope)| (*constant, *slope) = (-*constant, -*slope));
            }
        }
    }
}

/// Eigenvalues and eigenvectors by size, `d` at most, and how many are no rounding.
fn largest(found: &epoch0_num::symmetric::Eigen, d: usize) -> (Vec<(f64, Vec<f64>)>, usize) {
    let mut order: Vec<usize> = (0..found.values.len()).collect();
    order.sort_by(|&a, &b| found.values[b].abs().total_cmp(&found.values[a].abs()));
    let most = order.first().map_or(0.0, |&at| found.values[at].abs());
    order.retain(|&at| found.values[at].abs() > ROUNDING * most);
    let rank = order.len();
    let kept = order.into_iter().take(d).map(|at| (found.values[at], found.vector(at).to_vec()));
    (kept.collect(), rank)
}

/// The triangle `R` of `A = Q R` by reflections, for the columns of `A`, which are at least as long as they are many: as
/// rows of `Rᵀ`.
fn triangle(mut columns: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let n = columns.len();
    for at in 0..n {
        let (done, rest) = columns.split_at_mut(at + 1);
        let column = &mut done[at];
        let mut v = column[at..].to_vec();
        let norm = dot(&v, &v).sqrt();
        let end = if v[0] > 0.0 { -norm } else { norm };
        column[at..].fill(0.0);
        column[at] = end;
        v[0] -= end;
        let square = dot(&v, &v);
        if square > 0.0 {
            rest.par_iter_mut().with_min_len(16).for_each(|column| {
                let factor = -2.0 / square * dot(&column[at..], &v);
                column[at..].iter_mut().zip(&v).for_each(|(value, v)| *value += factor * v);
            });
        }
    }
    columns.iter_mut().for_each(|column| column.truncate(n));
    columns
}

/// A transform that is smooth in the logarithm of the product of ranks: it is taken at Chebyshev points `x` of the logarithms,
/// `G = P g(x + x) Pᵀ`, with polynomials between.
fn smooth(n: usize, d: usize, most: f64) -> Option<Factors> {
    let logs = logs(n);
    let nodes: Vec<f64> = if n <= NODES {
        logs.clone()
    } else {
        let half = logs[n - 1] / 2.0;
        let angle = |node: usize| std::f64::consts::PI * node as f64 / (NODES - 1) as f64;
        (0..NODES).map(|node| half * (1.0 - cos(angle(node)))).collect()
    };
    let p = nodes.len();
    let between = |log: f64| -> Vec<f64> { polynomials(&nodes, log) };
    let mut rows: Vec<Vec<f64>> = vec![Vec::new(); p];
    for ranks in logs.chunks(AT_ONCE) {
        let block: Vec<Vec<f64>> = ranks.par_iter().with_min_len(64).map(|&log| between(log)).collect();
        for (node, column) in rows.iter_mut().enumerate() {
            column.extend(block.iter().map(|row| row[node]));
        }
        if rows[0].len() > p {
            // `triangle` answers Rᵀ by rows, that is R by columns.
            rows = triangle(rows);
        }
    }
    // R with as many rows as it has; fewer words than points are the points themselves.
    let height = rows[0].len();
    let g = |a: usize, b: usize| ln_1p(most * exp(-(nodes[a] + nodes[b])));
    // g Rᵀ, then R (g Rᵀ).
    let half: Vec<Vec<f64>> = (0..p)
        .map(|a| (0..height).map(|row| (0..p).map(|b| g(a, b) * rows[b][row]).sum()).collect())
        .collect();
    let mut matrix = vec![0.0; height * height];
    for row in 0..height {
        for column in 0..height {
            matrix[row * height + column] = (0..p).map(|a| rows[a][row] * half[a][column]).sum();
        }
    }
    for at in 0..height * height {
        let (row, column) = (at / height, at % height);
        if row < column {
            matrix[at] = f64::midpoint(matrix[at], matrix[column * height + row]);
            matrix[column * height + row] = matrix[at];
        }
    }
    let (kept, rank) = largest(&eigen(height, &matrix)?, d);
    let weights: Vec<Vec<f64>> = kept
        .iter()
        .map(|(value, vector)| half.iter().map(|row| dot(row, vector) * value.abs().sqrt() / value).collect())
        .collect();
    let mut columns = vec![vec![0.0; n]; kept.len()];
    let values: Vec<Vec<f64>> = logs
        .par_iter()
        .with_min_len(64)
        .map(|&log| {
            let row = between(log);
            weights.iter().map(|weights| dot(&row, weights)).collect()
        })
        .collect();
    for (at, column) in columns.iter_mut().enumerate() {
        column.iter_mut().zip(&values).for_each(|(value, row)| *value = row[at]);
        face_up(column);
    }
    let values = kept.iter().map(|(value, _)| *value).collect();
    Some(Factors { values, rank, columns: Columns::Dense(columns), n })
}

/// What the values at Chebyshev's points (or at all points there are) count for a polynomial's value at `x`, by barycentric
/// interpolation.
fn polynomials(nodes: &[f64], x: f64) -> Vec<f64> {
    if let Some(at) = nodes.iter().position(|&node| node == x) {
        return (0..nodes.len()).map(|node| if node == at { 1.0 } else { 0.0 }).collect();
    }
    let last = nodes.len() - 1;
    let mut parts: Vec<f64> = nodes
        .iter()
        .enumerate()
        .map(|(at, node)| {
            let half = if at == 0 || at == last { 0.5 } else { 1.0 };
            (if at % 2 == 0 { half } else { -half }) / (x - node)
        })
        .collect();
    let sum: f64 = parts.iter().sum();
    parts.iter_mut().for_each(|part| *part /= sum);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dense(n: usize, transform: Transform, window: u32) -> Vec<f64> {
        let most = most(n, window);
        (0..n * n).map(|at| entry(transform, most, ((at / n + 1) * (at % n + 1)) as f64)).collect()
    }

    #[test]
    fn spectra_are_those_of_the_dense_matrix() {
        for transform in [Transform::Raw, Transform::Log, Transform::LogFloor, Transform::Log1p] {
            for (n, window) in [(1, 5), (2, 5), (7, 1), (60, 5), (81, 5), (300, 5), (300, 60)] {
                let matrix = dense(n, transform, window);
                let found = Factors::new(n, n, transform, window).unwrap();
                let (all, rank) = largest(&eigen(n, &matrix).unwrap(), n);
                assert!(found.rank.abs_diff(rank) <= 1, "{transform:?} {n} {window}: {} {rank}", found.rank);
                let size = all[0].0.abs();
                for ((value, _), found) in all.iter().zip(&found.values) {
                    assert!((value - found).abs() <= 1e-11 * size, "{transform:?} {n}: {value} {found}");
                }
                // E sign(Λ) Eᵀ is the matrix.
                let columns: Vec<Vec<f64>> = (0..found.len()).map(|at| found.column(at)).collect();
                for at in (0..n * n).step_by(1 + n / 7) {
                    let again: f64 = columns
                        .iter()
                        .zip(&found.values)
                        .map(|(column, value)| value.signum() * column[at / n] * column[at % n])
                        .sum();
                    assert!((again - matrix[at]).abs() <= 1e-9 * size.max(1.0), "{transform:?} {n} {at}");
                }
            }
        }
    }

    #[test]
    fn ranks_are_those_of_the_staircase() {
        let of = |n| Factors::new(n, n, Transform::LogFloor, 5).unwrap().rank;
        assert_eq!([500, 1000, 2000].map(of), [53, 72, 97]);
        assert_eq!(Factors::new(1000, 50, Transform::Log, 5).unwrap().rank, 2);
        assert_eq!(Factors::new(50_000, 8, Transform::LogFloor, 5000), None);
    }
}
