//! Matrix products whose bits are part of their definition.
//!
//! `C ± A·B` is defined element by element: the inner dimension is cut every [`DEPTH`] terms; within a cut the
//! terms are summed in order by fused multiply-adds that start from zero, and the sums of the cuts are added to (or
//! subtracted from) the element of `C` one after the other. Nothing in that depends on the size of a tile, on a
//! cache, on the number of threads or on the instruction set, and a fused multiply-add is rounded once by IEEE 754.
//! Hardware without it gets the same bits from `libm`'s, at some fifty times the cost.
//!
//! Layout follows Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008): `B` is
//! packed into columns of [`Float::WIDTH`], strips of `A` into rows of [`HEIGHT`], and a tile of
//! `HEIGHT × WIDTH` sums stays in registers.

use rayon::prelude::*;

use crate::Element;

/// Terms of an inner product that are summed before the sum is added to the result. Part of the definition.
pub(super) const DEPTH: usize = 256;
/// Rows of a tile.
pub(super) const HEIGHT: usize = 6;

/// The floating-point types that joint laws are computed in: f32 and f64.
pub trait Float: Element<Draw = Self> + PartialEq + private::Kernel {}
impl Float for f32 {}
impl Float for f64 {}

pub(super) mod private {
    use std::ops::{Add, Mul, Neg, Sub};

    use super::{Isa, Packed, Sign, Strip};

    /// What the arithmetic of a type has to offer; not for use outside.
    pub trait Kernel:
        Copy
        + Add<Output = Self>
        + Sub<Output = Self>
        + Mul<Output = Self>
        + Neg<Output = Self>
        + Send
        + Sync
        + 'static
    {
        const ZERO: Self;
        const ONE: Self;
        /// Columns of a tile: two vectors of 256 bits.
        const WIDTH: usize;
        /// The nearest number to `value`.
        fn of(value: f64) -> Self;
        /// Its value.
        fn wide(self) -> f64;
        /// See [`super::accumulate`].
        fn accumulate(
            isa: Isa,
            sign: Sign,
            a: Strip<'_, Self>,
            b: &Packed<Self>,
            c: &mut [Self],
            stride: usize,
        );
    }
}

/// Some rows of a row-major matrix: row `i` begins at `data[i * stride]`.
#[derive(Clone, Copy)]
pub struct Strip<'a, T> {
    pub data: &'a [T],
    pub rows: usize,
    pub stride: usize,
}

/// Whether a product is added or subtracted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    Plus,
    Minus,
}

/// An instruction set to compute with; the bits are the same in each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isa {
    /// What every machine of the target has.
    Baseline,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Isa {
    /// The fastest one of this machine.
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Self::Avx2;
        }
        Self::Baseline
    }
}

/// Whether fused multiply-adds are instructions of every machine of the target.
const FUSED_IN_BASELINE: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

/// The right-hand matrix of products, `depth × columns`, in the order that tiles read it.
///
/// For each cut of the inner dimension, for each group of `WIDTH` columns, the rows of that group, zeros beyond the
/// last column.
pub struct Packed<T> {
    data: Vec<T>,
    depth: usize,
    columns: usize,
}

impl<T: Float> Packed<T> {
    /// Packs the matrix whose row `k`, columns `j .. j + group.len()`, `read(k, j, group)` writes.
    fn pack(depth: usize, columns: usize, read: impl Fn(usize, usize, &mut [T]) + Sync) -> Self {
        let padded = columns.next_multiple_of(T::WIDTH);
        let mut data = vec![T::ZERO; depth * padded];
        for (cut, block) in data.chunks_mut(DEPTH * padded.max(1)).enumerate() {
            let (start, rows) = (cut * DEPTH, block.len() / padded);
            block.par_chunks_mut(rows * T::WIDTH).enumerate().for_each(|(group, panel)| {
                let j = group * T::WIDTH;
                let width = T::WIDTH.min(columns - j);
                for (k, row) in panel.chunks_exact_mut(T::WIDTH).enumerate() {
                    read(start + k, j, &mut row[..width]);
                }
            });
        }
        Self { data, depth, columns }
    }

    /// Packs a row-major matrix with rows `stride` apart.
    pub(super) fn rows(data: &[T], depth: usize, columns: usize, stride: usize) -> Self {
        Self::pack(depth, columns, |k, j, row| {
            row.copy_from_slice(&data[k * stride + j..][..row.len()]);
        })
    }

    /// Packs the transpose of a row-major matrix, which has `columns` rows, `stride` apart.
    pub(super) fn transposed(data: &[T], depth: usize, columns: usize, stride: usize) -> Self {
        Self::pack(depth, columns, |k, j, row| {
            for (offset, value) in row.iter_mut().enumerate() {
                *value = data[(j + offset) * stride + k];
            }
        })
    }
}

/// `C ± A·B`, with the rows of `C` `stride` apart. `A` has as many columns as `B` has rows.
pub(super) fn accumulate<T: Float>(
    isa: Isa,
    sign: Sign,
    a: Strip<'_, T>,
    b: &Packed<T>,
    c: &mut [T],
    stride: usize,
) {
    T::accumulate(isa, sign, a, b, c, stride);
}

/// The body of [`accumulate`], inlined into one function for each type and instruction set. `W` is the type's
/// `WIDTH`; `tile_sums` writes the sums of a tile, given its `HEIGHT` values of `A` and `W` of `B` for each term.
#[inline(always)]
#[expect(
    clippy::inline_always,
    reason = "the body has to be compiled with the features of the function around it"
)]
fn body<T: Float, const W: usize>(
    sign: Sign,
    a: Strip<'_, T>,
    b: &Packed<T>,
    c: &mut [T],
    stride: usize,
    tile_sums: impl Fn(&[T], &[T], &mut [[T; W]; HEIGHT]),
) {
    let padded = b.columns.next_multiple_of(W);
    if a.rows == 0 || padded == 0 {
        return;
    }
    let mut strip = vec![T::ZERO; a.rows.next_multiple_of(HEIGHT) * DEPTH.min(b.depth)];
    for (cut, block) in b.data.chunks(DEPTH * padded).enumerate() {
        let depth = block.len() / padded;
        let strip = &mut strip[..a.rows.next_multiple_of(HEIGHT) * depth];
        for (i, tile) in strip.chunks_exact_mut(HEIGHT * depth).enumerate() {
            for r in 0..HEIGHT.min(a.rows - i * HEIGHT) {
                let row = &a.data[(i * HEIGHT + r) * a.stride + cut * DEPTH..][..depth];
                for (slot, &value) in tile[r..].iter_mut().step_by(HEIGHT).zip(row) {
                    *slot = value;
                }
            }
        }
        for (group, panel) in block.chunks_exact(depth * W).enumerate() {
            let width = W.min(b.columns - group * W);
            for (i, tile) in strip.chunks_exact(HEIGHT * depth).enumerate() {
                let mut sums = [[T::ZERO; W]; HEIGHT];
                tile_sums(tile, panel, &mut sums);
                for (r, sums) in sums.iter().enumerate().take(a.rows - i * HEIGHT) {
                    let row = &mut c[(i * HEIGHT + r) * stride + group * W..][..width];
                    match sign {
                        Sign::Plus => row.iter_mut().zip(sums).for_each(|(c, &s)| *c = *c + s),
                        Sign::Minus => row.iter_mut().zip(sums).for_each(|(c, &s)| *c = *c - s),
                    }
                }
            }
        }
    }
}

macro_rules! kernel {
    ($t:ident, $width:literal, $libm:path, $avx2:ident,
     [$zero:ident, $load:ident, $splat:ident, $fused:ident, $store:ident]) => {
        impl private::Kernel for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const WIDTH: usize = $width;
            #[inline(always)]
            fn of(value: f64) -> Self {
                value as $t
            }
            #[inline(always)]
            fn wide(self) -> f64 {
                f64::from(self)
            }
            #[cfg_attr(
                target_arch = "x86_64",
                expect(unsafe_code, reason = "calls a function with CPU features")
            )]
            fn accumulate(
                isa: Isa,
                sign: Sign,
                a: Strip<'_, Self>,
                b: &Packed<Self>,
                c: &mut [Self],
                stride: usize,
            ) {
                match isa {
                    Isa::Baseline => body::<$t, $width>(sign, a, b, c, stride, |left, right, sums| {
                        for (left, right) in left.chunks_exact(HEIGHT).zip(right.chunks_exact($width)) {
                            for (sums, &x) in sums.iter_mut().zip(left) {
                                for (sum, &y) in sums.iter_mut().zip(right) {
                                    *sum = if FUSED_IN_BASELINE {
                                        x.mul_add(y, *sum)
                                    } else {
                                        $libm(x, y, *sum)
                                    };
                                }
                            }
                        }
                    }),
                    // SAFETY: `Isa::Avx2` is only made by `Isa::detect`, after it found the features.
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => unsafe { $avx2(sign, a, b, c, stride) },
                }
            }
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        #[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
        fn $avx2(sign: Sign, a: Strip<'_, $t>, b: &Packed<$t>, c: &mut [$t], stride: usize) {
            use std::arch::x86_64::{$fused, $load, $splat, $store, $zero};
            const HALF: usize = $width / 2;
            body::<$t, $width>(sign, a, b, c, stride, |left, right, sums| {
                let mut vectors = [[$zero(); 2]; HEIGHT];
                for (left, right) in left.chunks_exact(HEIGHT).zip(right.chunks_exact($width)) {
                    // SAFETY: `right` has two vectors of `HALF` elements.
                    let (near, far) = unsafe { ($load(right.as_ptr()), $load(right.as_ptr().add(HALF))) };
                    for r in 0..HEIGHT {
                        let x = $splat(left[r]);
                        vectors[r] = [$fused(x, near, vectors[r][0]), $fused(x, far, vectors[r][1])];
                    }
                }
                for (sums, [near, far]) in sums.iter_mut().zip(vectors) {
                    // SAFETY: `sums` has two vectors of `HALF` elements.
                    unsafe {
                        $store(sums.as_mut_ptr(), near);
                        $store(sums.as_mut_ptr().add(HALF), far);
                    }
                }
            });
        }
    };
}
kernel!(
    f32,
    16,
    libm::fmaf,
    accumulate_f32_avx2,
    [_mm256_setzero_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_storeu_ps]
);
kernel!(
    f64,
    8,
    libm::fma,
    accumulate_f64_avx2,
    [_mm256_setzero_pd, _mm256_loadu_pd, _mm256_set1_pd, _mm256_fmadd_pd, _mm256_storeu_pd]
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Law, Stream};

    fn normals<T: Float>(name: &str, len: usize) -> Vec<T> {
        let mut out = vec![T::ZERO; len];
        Law::Normal { mean: 0.0, std: 1.0 }.fill(&Stream::new(1, name), 0, &mut out).unwrap();
        out
    }

    /// The definition, written down element by element.
    fn defined<T: Float>(fused: fn(T, T, T) -> T, m: usize, n: usize, k: usize, a: &[T], b: &[T]) -> Vec<T> {
        let mut c = vec![T::ZERO; m * n];
        for i in 0..m {
            for j in 0..n {
                for cut in (0..k).step_by(DEPTH) {
                    let terms = cut..k.min(cut + DEPTH);
                    let sum = terms.fold(T::ZERO, |sum, l| fused(a[i * k + l], b[l * n + j], sum));
                    c[i * n + j] = c[i * n + j] + sum;
                }
            }
        }
        c
    }

    fn check<T: Float>(fused: fn(T, T, T) -> T, roundoff: f64) {
        for (m, n, k) in [
            (1, 1, 1),
            (6, 16, 256),
            (7, 17, 257),
            (13, 5, 600),
            (48, 33, 2),
            (5, 40, 0),
            (0, 3, 3),
            (3, 0, 3),
        ] {
            let (a, b) = (normals::<T>("a", m * k), normals::<T>("b", k * n));
            let exact = defined(fused, m, n, k, &a, &b);
            let transpose: Vec<T> = (0..n * k).map(|at| b[at % k * n + at / k]).collect();
            let mut isas = vec![Isa::Baseline, Isa::detect()];
            isas.dedup();
            for isa in isas {
                for packed in [Packed::rows(&b, k, n, n), Packed::transposed(&transpose, k, n, k)] {
                    let mut c = vec![T::ZERO; m * n];
                    accumulate(isa, Sign::Plus, Strip { data: &a, rows: m, stride: k }, &packed, &mut c, n);
                    assert!(c == exact, "{isa:?} {m}×{n}×{k}");
                    accumulate(isa, Sign::Minus, Strip { data: &a, rows: m, stride: k }, &packed, &mut c, n);
                    assert!(k > DEPTH || c.iter().all(|&v| v == T::ZERO), "{isa:?} {m}×{n}×{k}");
                }
            }
            for i in 0..m {
                for j in 0..n {
                    let terms = (0..k).map(|l| a[i * k + l].wide() * b[l * n + j].wide());
                    let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()));
                    // Higham, "Accuracy and Stability of Numerical Algorithms", eq. 3.5.
                    assert!((exact[i * n + j].wide() - sum).abs() <= 1.01 * (k as f64) * roundoff * size);
                }
            }
        }
    }

    #[test]
    fn products_are_what_their_definition_says_on_every_instruction_set() {
        check::<f32>(f32::mul_add, 2.0_f64.powi(-24));
        // The comparison product is itself in f64, hence twice the roundoff.
        check::<f64>(f64::mul_add, 2.0_f64.powi(-52));
    }

    #[test]
    fn fused_multiply_adds_without_hardware_have_the_same_bits() {
        let (a, b, c) = (normals::<f32>("a", 20000), normals::<f32>("b", 20000), normals::<f32>("c", 20000));
        for ((a, b), c) in a.into_iter().zip(b).zip(c) {
            for scale in [1.0, 1e-4, 1e-20, 1e-38, 1e18] {
                // Sums that nearly cancel, and results among the subnormals.
                for c in [c, -(a * b) * scale, c * 1e-8, c * scale] {
                    assert_eq!(libm::fmaf(a * scale, b, c).to_bits(), (a * scale).mul_add(b, c).to_bits());
                    let (a, b, c) = (f64::from(a) * f64::from(scale), f64::from(b) / 3.0, f64::from(c) / 7.0);
                    for c in [c, -(a * b), c * 1e-300] {
                        assert_eq!(libm::fma(a, b, c).to_bits(), a.mul_add(b, c).to_bits());
                    }
                }
            }
        }
    }
}
