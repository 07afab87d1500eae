//! Eigenvalues and eigenvectors of symmetric matrices, the same bits on every machine and with any number of threads.
//!
//! Reflections make the matrix tridiagonal (A. Householder 1958), implicit QL steps make that diagonal (H. Bowdler,
//! R. Martin, C. Reinsch, J. Wilkinson 1968). All of it is plain arithmetic and square roots, summed in one fixed order.

use rayon::prelude::*;

/// Steps of QL for an eigenvalue at most; two are usual.
const STEPS: usize = 100;
/// Columns of the eigenvectors that are turned together.
const COLUMNS: usize = 16;
/// Rows that one task takes at least.
const ROWS: usize = 64;
/// Partial sums of a product.
const LANES: usize = 8;

/// Eigenvalues, the largest first, and eigenvectors of length 1 whose largest entry is positive.
#[derive(Clone, Debug, PartialEq)]
pub struct Eigen {
    /// Eigenvalues, falling.
    pub values: Vec<f64>,
    /// Eigenvectors as rows, in the order of their eigenvalues.
    vectors: Vec<f64>,
}

/// Eigenvalues and eigenvectors of a symmetric matrix of `n` rows, given row by row. O(n³).
///
/// None when the buffer has not `n²` elements, or one is not finite.
///
/// ```
/// let eigen = epoch0_num::symmetric::eigen(2, &[2.0, 1.0, 1.0, 2.0]).unwrap();
/// assert!((eigen.values[0] - 3.0).abs() < 1e-15 && (eigen.values[1] - 1.0).abs() < 1e-15);
/// assert!((eigen.vector(0)[0] - 0.5f64.sqrt()).abs() < 1e-15);
/// ```
pub fn eigen(n: usize, matrix: &[f64]) -> Option<Eigen> {
    if matrix.len() != n * n || matrix.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let size = matrix.iter().fold(0.0, |size: f64, value| size.max(value.abs()));
    if size == 0.0 {
        let vectors = (0..n * n).map(|at| if at / n == at % n { 1.0 } else { 0.0 }).collect();
        return Some(Eigen { values: vec![0.0; n], vectors });
    }
    let mut tri = tridiagonal(n, matrix.iter().map(|value| value / size).collect());
    let mut blocks = tri.basis();
    tri.diagonalize(&mut blocks)?;
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| tri.diagonal[b].total_cmp(&tri.diagonal[a]));
    let mut vectors = Vec::with_capacity(n * n);
    for &row in &order {
        let from = vectors.len();
        for block in &blocks {
            let width = block.len() / n;
            vectors.extend_from_slice(&block[row * width..(row + 1) * width]);
        }
        face_up(&mut vectors[from..]);
    }
    Some(Eigen { values: order.iter().map(|&at| size * tri.diagonal[at]).collect(), vectors })
}

impl Eigen {
    /// The eigenvector of the `k`-th eigenvalue.
    pub fn vector(&self, k: usize) -> &[f64] {
        let n = self.values.len();
        &self.vectors[k * n..(k + 1) * n]
    }

    /// `V f(Λ) Vᵀ`, row by row: powers and inverses of the matrix.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Vec<f64> {
        let n = self.values.len();
        let scaled: Vec<f64> = self.values.iter().map(|&value| f(value)).collect();
        let mut out = vec![0.0; n * n];
        out.par_chunks_mut(n.max(1)).with_min_len(ROWS).enumerate().for_each(|(row, out)| {
            for (k, factor) in scaled.iter().enumerate() {
                let vector = self.vector(k);
                add(factor * vector[row], vector, out);
            }
        });
        out
    }
}

/// Turns a vector so that its largest entry, the first of equals, is positive.
pub fn face_up(vector: &mut [f64]) {
    let mut largest = 0.0_f64;
    for &value in vector.iter() {
        if value.abs() > largest.abs() {
            largest = value;
        }
    }
    if largest < 0.0 {
        vector.iter_mut().for_each(|value| *value = -*value);
    }
}

/// `⟨a, b⟩`, in lanes that are added up in a fixed order.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (mut left, mut right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let mut sums = [0.0; LANES];
    for (a, b) in (&mut left).zip(&mut right) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (b + f)) + ((c + g) + (d + h)) + rest
}

/// `out += factor · vector`.
fn add(factor: f64, vector: &[f64], out: &mut [f64]) {
    out.iter_mut().zip(vector).for_each(|(out, value)| *out += factor * value);
}

/// A tridiagonal matrix and the reflections that led to it.
struct Tridiagonal {
    diagonal: Vec<f64>,
    /// Beside the diagonal; the last is 0.
    beside: Vec<f64>,
    /// `1 - β v vᵀ`, `v` beginning behind the reflection's own index.
    reflections: Vec<(f64, Vec<f64>)>,
}

fn tridiagonal(n: usize, mut a: Vec<f64>) -> Tridiagonal {
    let mut beside = vec![0.0; n];
    let mut reflections = Vec::with_capacity(n.saturating_sub(2));
    for k in 0..n.saturating_sub(2) {
        let mut v = a[k * n + k + 1..(k + 1) * n].to_vec();
        if v[1..].iter().all(|&value| value == 0.0) {
            beside[k] = v[0];
            reflections.push((0.0, v));
            continue;
        }
        let norm = dot(&v, &v).sqrt();
        beside[k] = if v[0] > 0.0 { -norm } else { norm };
        v[0] -= beside[k];
        let beta = 2.0 / dot(&v, &v);
        let rest = &mut a[(k + 1) * n..];
        let mut w: Vec<f64> =
            rest.par_chunks(n).with_min_len(ROWS).map(|row| beta * dot(&row[k + 1..], &v)).collect();
        add(-0.5 * beta * dot(&w, &v), &v, &mut w);
        rest.par_chunks_mut(n).with_min_len(ROWS).enumerate().for_each(|(row, out)| {
            let (of_v, of_w) = (v[row], w[row]);
            for ((out, v), w) in out[k + 1..].iter_mut().zip(&v).zip(&w) {
                *out -= of_v * w + of_w * v;
            }
        });
        reflections.push((beta, v));
    }
    if n >= 2 {
        beside[n - 2] = a[(n - 2) * n + n - 1];
    }
    Tridiagonal { diagonal: (0..n).map(|at| a[at * n + at]).collect(), beside, reflections }
}

impl Tridiagonal {
    /// The basis in which the matrix is tridiagonal, as rows, in blocks of a few columns.
    fn basis(&self) -> Vec<Vec<f64>> {
        let n = self.diagonal.len();
        let block = |first: usize| {
            let width = COLUMNS.min(n - first);
            let mut block = vec![0.0; n * width];
            (0..width).for_each(|column| block[(first + column) * width + column] = 1.0);
            let mut sums = vec![0.0; width];
            for (k, (beta, v)) in self.reflections.iter().enumerate() {
                sums.fill(0.0);
                let rows = &mut block[(k + 1) * width..];
                v.iter().zip(rows.chunks(width)).for_each(|(&v, row)| add(v, row, &mut sums));
                v.iter().zip(rows.chunks_mut(width)).for_each(|(&v, row)| add(-beta * v, &sums, row));
            }
            block
        };
        (0..n).into_par_iter().step_by(COLUMNS).map(block).collect()
    }

    /// Makes the matrix diagonal and turns the basis with it; none where it does not get there.
    fn diagonalize(&mut self, blocks: &mut [Vec<f64>]) -> Option<()> {
        let (d, e) = (&mut self.diagonal, &mut self.beside);
        let n = d.len();
        let mut turns: Vec<(usize, f64, f64)> = Vec::new();
        let (mut shift, mut size) = (0.0, 0.0_f64);
        for l in 0..n {
            size = size.max(d[l].abs() + e[l].abs());
            let is_small = |value: f64| value.abs() <= f64::EPSILON * size;
            let m = (l..n - 1).find(|&at| is_small(e[at])).unwrap_or(n - 1);
            let (mut steps, mut is_done) = (0, m == l);
            while !is_done {
                steps += 1;
                if steps > STEPS {
                    return None;
                }
                let from = d[l];
                let mut p = (d[l + 1] - from) / (2.0 * e[l]);
                let root = (p * p + 1.0).sqrt();
                p += if p < 0.0 { -root } else { root };
                d[l] = e[l] / p;
                d[l + 1] = e[l] * p;
                let (next, change) = (d[l + 1], from - d[l]);
                d[l + 2..].iter_mut().for_each(|value| *value -= change);
                shift += change;
                let first = e[l + 1];
                p = d[m];
                let (mut c, mut c2, mut c3, mut s, mut s2) = (1.0, 1.0, 1.0, 0.0, 0.0);
                for i in (l..m).rev() {
                    (c3, c2, s2) = (c2, c, s);
                    let (g, h) = (c * e[i], c * p);
                    let r = (p * p + e[i] * e[i]).sqrt();
                    e[i + 1] = s * r;
                    (s, c) = if r > 0.0 { (e[i] / r, p / r) } else { (0.0, 1.0) };
                    p = c * d[i] - s * g;
                    d[i + 1] = h + s * (c * g + s * d[i]);
                    turns.push((i, c, s));
                }
                p = -s * s2 * c3 * first * e[l] / next;
                e[l] = s * p;
                d[l] = c * p;
                if turns.len() > 32 * n {
                    turn(&turns, blocks, n);
                    turns.clear();
                }
                is_done = e[l].abs() <= f64::EPSILON * size;
            }
            d[l] += shift;
            e[l] = 0.0;
        }
        turn(&turns, blocks, n);
        Some(())
    }
}

/// Turns neighbouring rows of each block.
fn turn(turns: &[(usize, f64, f64)], blocks: &mut [Vec<f64>], n: usize) {
    blocks.par_iter_mut().for_each(|block| {
        let width = block.len() / n;
        for &(i, c, s) in turns {
            let (upper, lower) = block[i * width..(i + 2) * width].split_at_mut(width);
            for (a, b) in upper.iter_mut().zip(lower) {
                (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Law, Stream};

    fn random(n: usize, seed: u64) -> Vec<f64> {
        let mut values = vec![0.0; n * n];
        Law::normal(0.0, 1.0).fill(&Stream::new(seed, "symmetric"), 0, &mut values).unwrap();
        (0..n * n).map(|at| values[at] + values[at % n * n + at / n]).collect()
    }

    #[test]
    fn eigenvectors_are_orthonormal_and_rebuild_the_matrix() {
        for n in [1, 2, 3, 17, 90] {
            let matrix = random(n, n as u64);
            let found = eigen(n, &matrix).unwrap();
            assert!(found.values.windows(2).all(|pair| pair[0] >= pair[1]));
            for a in 0..n {
                for b in 0..n {
                    let wanted = if a == b { 1.0 } else { 0.0 };
                    assert!((dot(found.vector(a), found.vector(b)) - wanted).abs() < 1e-12);
                }
            }
            let again = found.map(|value| value);
            assert!(matrix.iter().zip(again).all(|(a, b)| (a - b).abs() < 1e-11), "{n}");
        }
    }

    #[test]
    fn known_spectra() {
        // The second difference: 2 - 2 cos(π k / (n + 1)).
        let n = 40;
        let at = |row: usize, column: usize| match row.abs_diff(column) {
            0 => 2.0,
            1 => -1.0,
            _ => 0.0,
        };
        let matrix: Vec<f64> = (0..n * n).map(|index| at(index / n, index % n)).collect();
        let found = eigen(n, &matrix).unwrap();
        for (k, value) in found.values.iter().rev().enumerate() {
            let angle = std::f64::consts::PI * (k + 1) as f64 / (n + 1) as f64;
            assert!((value - (2.0 - 2.0 * angle.cos())).abs() < 1e-13);
        }
        // Rank one, many zeros.
        let ones = eigen(30, &[1.0; 900]).unwrap();
        assert!((ones.values[0] - 30.0).abs() < 1e-12 && ones.values[1].abs() < 1e-13);
        assert!(ones.vector(0).iter().all(|x| (x - 1.0 / 30f64.sqrt()).abs() < 1e-13));
        assert_eq!(eigen(3, &[0.0; 9]).unwrap().values, [0.0; 3]);
    }

    #[test]
    fn threads_do_not_matter() {
        let matrix = random(200, 3);
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool(1).install(|| eigen(200, &matrix)), pool(4).install(|| eigen(200, &matrix)));
    }

    #[test]
    fn bad_matrices_have_none() {
        assert_eq!(eigen(2, &[1.0; 3]), None);
        assert_eq!(eigen(1, &[f64::NAN]), None);
        assert_eq!(eigen(0, &[]).map(|found| found.values.len()), Some(0));
    }
}
