//! Haar-distributed orthogonal matrices.
//!
//! The law is that of `Q` in the factorization `A = Q·R` of a Gaussian matrix with the diagonal of `R` positive
//! (Mezzadri, "How to generate random matrices from the classical compact groups", 2007), but nothing is factorized.
//! The k-th Householder reflection of such a factorization is made from a vector that is Gaussian and independent
//! of the vectors before it, since those reflections leave the remaining columns Gaussian. So the reflections are
//! drawn by themselves, from Gaussian vectors of decreasing length (Stewart, "The efficient generation of random
//! orthogonal matrices", 1980), and multiplied together: `4/3 n³` operations, all in matrix products, where a
//! factorization and its accumulation take `8/3 n³`.

use rayon::prelude::*;

use super::gemm::{self, Float, Isa, Packed, Sign, Strip};
use super::{JointError, Moments, check_gain, check_length};
use crate::{Law, Stream};

/// Reflections that are applied at once. Part of the definition of the bits.
const BLOCK: usize = 96;
/// Rows of the result that are updated at once, by one thread.
const PANEL: usize = 48;
const _: () = assert!(BLOCK.is_multiple_of(PANEL), "a panel lies within or below a block's diagonal part");

/// Standard normals, from an index on.
type Normals<'a, T> = &'a (dyn Fn(u64, &mut [T]) + Sync);

/// A `rows × cols` matrix, `gain` times one with orthonormal rows where `rows <= cols` and orthonormal columns
/// otherwise, uniformly distributed (Haar) over all such matrices.
///
/// With `gain` 1 and n the longer side, `Q·Qᵀ` (or `Qᵀ·Q`) differs from the identity by less than 10⁻⁶ in f32 and
/// 10⁻¹⁴ in f64, measured up to n = 2048.
///
/// The matrix for `(cols, rows)` is the transpose of that for `(rows, cols)`. Taller ones take as much memory again
/// while they are drawn.
///
/// ```
/// use epoch0_num::{Stream, joint};
///
/// let mut q = [0.0_f64; 6];
/// joint::orthogonal(&Stream::new(7, "fc.weight"), 2, 3, 1.0, &mut q)?;
/// let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
/// assert!(dot(&q[..3], &q[3..]).abs() < 1e-15);
/// assert!((dot(&q[..3], &q[..3]) - 1.0).abs() < 1e-15);
/// # Ok::<(), joint::JointError>(())
/// ```
///
/// # Errors
/// When the gain is not finite in `T` or the buffer is not `rows · cols` long.
pub fn orthogonal<T: Float>(
    stream: &Stream,
    rows: usize,
    cols: usize,
    gain: f64,
    out: &mut [T],
) -> Result<(), JointError> {
    const LAW: &str = "orthogonal";
    check_length(LAW, &[rows, cols], out.len())?;
    let gain = check_gain(LAW, gain)?;
    let normals = |start: u64, out: &mut [T]| {
        Law::Normal { mean: 0.0, std: 1.0 }
            .fill(stream, start, out)
            .expect("the standard normal can be drawn");
    };
    haar(Isa::detect(), &normals, rows, cols, out);
    if gain != T::ONE {
        // At the end, so that no gain whatever overflows on the way.
        out.par_iter_mut().with_min_len(1 << 14).for_each(|weight| *weight = *weight * gain);
    }
    Ok(())
}

/// Moments of an entry of [`orthogonal`]: mean 0, variance `gain² / n` and fourth moment `3 gain⁴ / (n (n + 2))`,
/// where n is the longer side.
///
/// They hold for every rectangle: each entry is `gain` times a coordinate of a uniform point on the unit sphere of
/// n dimensions, whose square has the law Beta(1/2, (n − 1)/2).
pub fn orthogonal_moments(rows: usize, cols: usize, gain: f64) -> Moments {
    let n = rows.max(cols).max(1) as f64;
    let square = gain * gain;
    Moments { mean: 0.0, var: square / n, fourth: 3.0 * square * square / (n * (n + 2.0)) }
}

/// Draws a matrix with gain 1.
fn haar<T: Float>(isa: Isa, normals: Normals<'_, T>, rows: usize, cols: usize, out: &mut [T]) {
    if rows <= cols {
        wide(isa, normals, rows, cols, out);
    } else {
        let mut transposed = vec![T::ZERO; out.len()];
        wide(isa, normals, cols, rows, &mut transposed);
        transpose(&transposed, rows, cols, out);
    }
}

/// The case `rows <= cols`: `out = D · I · Hᵣ … H₂ · H₁`, where `Hₖ` is the reflection that takes the Gaussian vector
/// `xₖ`, which is zero before its k-th coordinate, to a multiple of the k-th axis, `I` is the first rows of the
/// identity, and `D` the signs of those multiples, which are the signs on the diagonal of `R`.
///
/// The reflections are applied from the last to the first, a block at a time. Before the block that begins at row
/// `first`, the rows from there on are diagonal within the block, and those below it, which later blocks have made,
/// are zero in its columns.
fn wide<T: Float>(isa: Isa, normals: Normals<'_, T>, rows: usize, cols: usize, out: &mut [T]) {
    out.fill(T::ZERO);
    if out.is_empty() {
        return;
    }
    for first in (0..rows).step_by(BLOCK).rev() {
        let block = Block::draw(normals, first, BLOCK.min(rows - first), cols);
        for (i, reflection) in block.reflections.iter().enumerate() {
            out[(first + i) * (cols + 1)] = if reflection.positive { T::ONE } else { -T::ONE };
        }
        block.apply(isa, &mut out[first * cols..]);
    }
}

/// What belongs to a reflection `H = I − tau·v·vᵀ` besides its vector.
struct Reflection {
    /// `2 / vᵀv`.
    tau: f64,
    /// Whether the vector that `H` was made from is taken to a positive multiple of the axis.
    positive: bool,
}

/// Successive reflections.
struct Block<T> {
    reflections: Vec<Reflection>,
    /// Their vectors without the leading coordinates that are zero in all of them, one after the other, row `i` zero
    /// before column `i` and 1 there.
    vectors: Vec<T>,
    /// Coordinates of each.
    length: usize,
    /// Coordinates that are left out.
    first: usize,
}

impl<T: Float> Block<T> {
    /// The reflections `first .. first + size` of a matrix with `cols` columns. The Gaussian vector of reflection
    /// `k` is row `k`, from the diagonal on, of a matrix of standard normals with `cols` columns.
    fn draw(normals: Normals<'_, T>, first: usize, size: usize, cols: usize) -> Self {
        let length = cols - first;
        let mut vectors = vec![T::ZERO; size * length];
        let reflections = vectors
            .par_chunks_mut(length)
            .with_min_len(1 + 4096 / length)
            .enumerate()
            .map(|(i, row)| {
                let k = (first + i) as u64;
                normals(k * cols as u64 + k, &mut row[i..]);
                reflect(&mut row[i..])
            })
            .collect();
        Self { reflections, vectors, length, first }
    }

    /// The lower triangular `L` of `Hₗₐₛₜ … H₁ = I − Vᵀ·L·V`, `V` having the vectors as its rows: row `j` is
    /// `−tauⱼ · Σᵢ (vⱼ·vᵢ) · row i`, with `tauⱼ` on the diagonal (Schreiber and Van Loan, "A storage-efficient WY
    /// representation for products of Householder transformations", 1989).
    fn triangle(&self, isa: Isa) -> Vec<T> {
        let (size, length) = (self.reflections.len(), self.length);
        let columns = Packed::transposed(&self.vectors, length, size, length);
        let mut products = vec![T::ZERO; size * size];
        products.par_chunks_mut(PANEL * size).zip(self.vectors.par_chunks(PANEL * length)).for_each(
            |(products, data)| {
                let rows = Strip { data, rows: data.len() / length, stride: length };
                gemm::accumulate(isa, Sign::Plus, rows, &columns, products, size);
            },
        );
        let mut triangle = vec![0.0; size * size];
        for (j, reflection) in self.reflections.iter().enumerate() {
            let (above, row) = triangle.split_at_mut(j * size);
            for (i, above) in above.chunks_exact(size).enumerate() {
                let factor = reflection.tau * products[j * size + i].wide();
                row.iter_mut().zip(&above[..=i]).for_each(|(slot, &value)| *slot -= factor * value);
            }
            row[j] = reflection.tau;
        }
        triangle.into_iter().map(T::of).collect()
    }

    /// Multiplies the rows from the block's first on by the block's reflections, from the right:
    /// `W ← W − (W·Vᵀ)·L·V`.
    fn apply(&self, isa: Isa, out: &mut [T]) {
        let (size, length) = (self.reflections.len(), self.length);
        let cols = self.first + length;
        let triangle = Packed::rows(&self.triangle(isa), size, size, size);
        let across = Packed::rows(&self.vectors, size, length, length);
        let down = Packed::transposed(&self.vectors[size.min(length)..], length - size, size, length);
        out.par_chunks_mut(PANEL * cols).enumerate().for_each(|(i, panel)| {
            let (rows, above) = (panel.len() / cols, i * PANEL);
            let panel = &mut panel[self.first..];
            let mut products = vec![T::ZERO; rows * size];
            if above < size {
                // The block's own rows are diagonal so far.
                for (r, products) in products.chunks_exact_mut(size).enumerate() {
                    let diagonal = panel[r * cols + above + r];
                    for (j, product) in products.iter_mut().enumerate() {
                        *product = diagonal * self.vectors[j * length + above + r];
                    }
                }
            } else {
                // The rows below are zero in the block's columns so far.
                let rows = Strip { data: &panel[size..], rows, stride: cols };
                gemm::accumulate(isa, Sign::Plus, rows, &down, &mut products, size);
            }
            let mut weights = vec![T::ZERO; rows * size];
            let products = Strip { data: &products, rows, stride: size };
            gemm::accumulate(isa, Sign::Plus, products, &triangle, &mut weights, size);
            let weights = Strip { data: &weights, rows, stride: size };
            gemm::accumulate(isa, Sign::Minus, weights, &across, panel, cols);
        });
    }
}

/// Makes of a Gaussian vector the vector of the reflection that takes it to a multiple of the first axis, scaled so
/// that its first coordinate is 1.
///
/// The multiple has the sign opposite to the vector's first coordinate, so that nothing cancels. The norm is taken
/// again from the rounded vector, which makes the reflection orthogonal to the precision of `tau`.
fn reflect<T: Float>(x: &mut [T]) -> Reflection {
    let head = x[0].wide();
    let pivot = head + square_sum(x).sqrt().copysign(head);
    // A vector of zeros is as good a chance as any other, and no direction: its reflection is that of the axis.
    let scale = if pivot == 0.0 { 0.0 } else { 1.0 / pivot };
    for v in &mut *x {
        *v = T::of(v.wide() * scale);
    }
    x[0] = T::ONE;
    Reflection { tau: 2.0 / square_sum(x), positive: head.is_sign_negative() }
}

/// Sum of squares in f64, in eight sums of every eighth term.
fn square_sum<T: Float>(x: &[T]) -> f64 {
    let mut sums = [0.0; 8];
    for terms in x.chunks(8) {
        for (sum, v) in sums.iter_mut().zip(terms) {
            *sum += v.wide() * v.wide();
        }
    }
    sums.iter().sum()
}

/// Writes the transpose of a `cols × rows` matrix.
fn transpose<T: Float>(from: &[T], rows: usize, cols: usize, out: &mut [T]) {
    const STRIP: usize = 32;
    if out.is_empty() {
        return;
    }
    out.par_chunks_mut(STRIP * cols).enumerate().for_each(|(i, strip)| {
        let height = strip.len() / cols;
        for (j, row) in from.chunks_exact(rows).enumerate() {
            for (r, &value) in row[i * STRIP..][..height].iter().enumerate() {
                strip[r * cols + j] = value;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn<T: Float>(isa: Isa, threads: usize, rows: usize, cols: usize) -> Vec<T> {
        let stream = Stream::new(3, "weight");
        let normals = |start: u64, out: &mut [T]| {
            Law::Normal { mean: 0.0, std: 1.0 }.fill(&stream, start, out).unwrap();
        };
        let mut out = vec![T::ZERO; rows * cols];
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| haar(isa, &normals, rows, cols, &mut out));
        out
    }

    fn check<T: Float>() {
        for (rows, cols) in [(1, 1), (5, 3), (100, 350), (230, 230), (300, 99)] {
            let expected = drawn::<T>(Isa::Baseline, 1, rows, cols);
            for threads in [1, 2, 4] {
                assert!(
                    drawn::<T>(Isa::detect(), threads, rows, cols) == expected,
                    "{rows}×{cols}, {threads} threads"
                );
            }
        }
    }

    #[test]
    fn bits_depend_neither_on_threads_nor_on_the_instruction_set() {
        check::<f32>();
        check::<f64>();
    }

    /// The definition, one reflection after the other, with the Gaussian vectors where `Block::draw` says they are.
    #[test]
    fn blocks_of_reflections_are_their_product() {
        for (rows, cols) in [(5, 9), (7, 7), (96, 97), (210, 230)] {
            let mut naive = vec![0.0_f64; rows * cols];
            for k in (0..rows).rev() {
                let mut x = vec![0.0_f64; cols - k];
                let normal = Law::Normal { mean: 0.0, std: 1.0 };
                normal.fill(&Stream::new(3, "weight"), (k * cols + k) as u64, &mut x).unwrap();
                let head = x[0];
                naive[k * cols + k] = -head.signum();
                x[0] += head.signum() * x.iter().map(|x| x * x).sum::<f64>().sqrt();
                let square: f64 = x.iter().map(|x| x * x).sum();
                for row in naive.chunks_exact_mut(cols).skip(k) {
                    let dot: f64 = row[k..].iter().zip(&x).map(|(w, x)| w * x).sum();
                    row[k..].iter_mut().zip(&x).for_each(|(w, x)| *w -= 2.0 * dot / square * x);
                }
            }
            for (at, (a, b)) in drawn::<f64>(Isa::detect(), 2, rows, cols).iter().zip(naive).enumerate() {
                assert!((a - b).abs() < 1e-13, "{rows}×{cols} at {at}: {a}, one by one {b}");
            }
        }
    }

    #[test]
    fn a_reflection_takes_its_vector_to_the_axis() {
        for x in
            [vec![3.0, 4.0], vec![-3.0, 4.0], vec![-0.0, 5.0], vec![2.0], vec![-1e-30_f64], vec![0.0, 0.0]]
        {
            let mut v = x.clone();
            let Reflection { tau, positive } = reflect(&mut v);
            let along = tau * v.iter().zip(&x).map(|(v, x)| v * x).sum::<f64>();
            let image: Vec<f64> = x.iter().zip(&v).map(|(x, v)| x - along * v).collect();
            let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
            assert!(
                (image[0] - if positive { norm } else { -norm }).abs() <= 1e-15 * norm,
                "{x:?} to {image:?}"
            );
            assert!(image[1..].iter().all(|v| v.abs() <= 1e-15 * norm), "{x:?} to {image:?}");
        }
    }
}
