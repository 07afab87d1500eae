//! Joint laws that are about structure: signs, copies of the identity, rank, places, blocks, tails and spectra.

use std::f64::consts::{PI, TAU};

use epoch0_num::joint::{self, ConvolutionAware, JointError};
use epoch0_num::{Law, Stream};

fn stream(index: u64) -> Stream {
    Stream::new(index, "weight")
}

const AWARE: ConvolutionAware = ConvolutionAware { noise: 0.05, exact: false, std: 0.3 };

#[test]
fn moments_of_signs_are_those_of_all_entries() {
    for (rows, cols) in [(1, 1), (8, 3), (12, 12), (100, 64), (7, 5), (33, 2)] {
        let mut out = vec![0.0_f64; rows * cols];
        joint::hadamard(rows, cols, 0.7, &mut out).unwrap();
        let n = out.len() as f64;
        let mean = out.iter().sum::<f64>() / n;
        let moment = |power: i32| out.iter().map(|x| (x - mean).powi(power)).sum::<f64>() / n;
        let stated = joint::hadamard_moments(rows, cols, 0.7);
        for (found, stated) in [(mean, stated.mean), (moment(2), stated.var), (moment(4), stated.fourth)] {
            assert!((found - stated).abs() < 1e-12, "{rows} × {cols}: {found}, stated {stated}");
        }
    }
}

#[test]
fn copies_of_the_identity_fill_the_matrix() {
    for (rows, cols) in [(3, 3), (2, 5), (5, 2), (1, 4), (4, 1)] {
        let mut out = vec![f64::NAN; rows * cols];
        joint::tiled_eye(rows, cols, -1.5, &mut out).unwrap();
        for (at, &weight) in out.iter().enumerate() {
            let (i, j, side) = (at / cols, at % cols, rows.min(cols));
            assert_eq!(weight, if i % side == j % side { -1.5 } else { 0.0 });
        }
    }
}

#[test]
fn a_matrix_of_low_rank_is_its_factors_product() {
    let (rows, cols, rank) = (53, 31, 7);
    let mut out = vec![0.0_f64; rows * cols];
    joint::low_rank(&stream(0), rows, cols, rank, 0.1, &mut out).unwrap();
    let mut left = vec![0.0_f64; rows * rank];
    joint::orthogonal(&stream(0).child("left"), rows, rank, (53.0_f64 / 7.0).sqrt(), &mut left).unwrap();
    let mut right = vec![0.0_f64; rank * cols];
    Law::normal(0.0, 0.1).fill(&stream(0).child("right"), 0, &mut right).unwrap();
    for (at, &found) in out.iter().enumerate() {
        let product: f64 = (0..rank).map(|k| left[at / cols * rank + k] * right[k * cols + at % cols]).sum();
        assert!((found - product).abs() < 1e-13, "{found} and {product}");
    }
    assert_eq!([joint::rank(0.25, 8, 9), joint::rank(0.26, 8, 9), joint::rank(1e-9, 8, 9)], [2, 3, 1]);
}

/// Every place is as likely as any other, and so is every pair of places in a column, in two columns of a row, and in
/// neither.
#[test]
fn places_are_exchangeable() {
    const DRAWS: u64 = 20_000;
    let (rows, cols) = (4, 6);
    let mut single = [0.0; 24];
    let mut pairs = [0.0; 3];
    for draw in 0..DRAWS {
        let mut out = [0.0_f32; 24];
        joint::structured_sparse(&stream(draw), rows, cols, 0.5, 1.0, &mut out).unwrap();
        let is_kept = |row: usize, col: usize| f64::from(u8::from(out[row * cols + col] != 0.0));
        (0..24).for_each(|at| single[at] += is_kept(at / cols, at % cols) / DRAWS as f64);
        let both = [(1, 0), (0, 1), (3, 4)].map(|(row, col)| is_kept(0, 0) * is_kept(row, col));
        pairs.iter_mut().zip(both).for_each(|(sum, both)| *sum += both / DRAWS as f64);
    }
    let error = 5.0 * (0.25 / DRAWS as f64).sqrt();
    assert!(single.iter().all(|share| (share - 0.5).abs() < error), "{single:?}");
    // Two of four rows, three of six columns; of all pairs neither in a row nor in a column the rest.
    let apart = (12.0 * 12.0 - 4.0 * 9.0 - 6.0 * 4.0 + 12.0) / (24.0 * 15.0);
    for (found, wanted) in pairs.iter().zip([0.5 / 3.0, 0.5 * 2.0 / 5.0, apart]) {
        assert!((found - wanted).abs() < error, "{found}, wanted {wanted}");
    }
}

#[test]
fn tails_are_those_of_students_law() {
    const N: usize = 200_000;
    let cdf = |nu: u32, x: f64| match nu {
        3 => 0.5 + (x / 3.0_f64.sqrt() / (1.0 + x * x / 3.0) + (x / 3.0_f64.sqrt()).atan()) / PI,
        _ => {
            let square = x * x / (1.0 + x * x / 4.0);
            0.5 + 0.375 * (x / (1.0 + x * x / 4.0).sqrt()) * (1.0 - square / 12.0)
        }
    };
    for nu in [3, 4] {
        let scale = (f64::from(nu) / f64::from(nu - 2)).sqrt();
        let mut out = vec![0.0_f64; N];
        joint::student_t(&stream(0), f64::from(nu), 1.0, &mut out).unwrap();
        out.sort_by(f64::total_cmp);
        let far = out.iter().enumerate().fold(0.0_f64, |far, (at, x)| {
            let expected = cdf(nu, x * scale);
            far.max(expected - at as f64 / N as f64).max((at + 1) as f64 / N as f64 - expected)
        });
        // p = 1e-4.
        assert!(far * (N as f64).sqrt() < 2.23, "{nu}: {far}");
    }
}

/// The real inverse Fourier transform of real coefficients by its definition: the whole spectrum is that of the half and
/// its conjugate mirror image, and what is imaginary where they meet is dropped.
fn inverse(kernel: &[usize], coefficients: &[f64]) -> Vec<f64> {
    let (last, taps) = (kernel[kernel.len() - 1], kernel.iter().product::<usize>());
    let half = last / 2 + 1;
    let outer = taps / last;
    let turns = |mut f: usize, mut at: usize| {
        let mut turns = 0.0;
        for &n in kernel[..kernel.len() - 1].iter().rev() {
            turns += (f % n * (at % n)) as f64 / n as f64;
            (f, at) = (f / n, at / n);
        }
        turns
    };
    (0..taps)
        .map(|position| {
            let (at, along) = (position / last, position % last);
            let mut sum = 0.0;
            for frequency in 0..last {
                let mirrored = frequency > last / 2;
                let from = if mirrored { last - frequency } else { frequency };
                // What the outer dimensions make of this column.
                let (mut real, mut imaginary) = (0.0, 0.0);
                for f in 0..outer {
                    let turn = TAU * turns(f, at);
                    real += coefficients[f * half + from] * turn.cos();
                    imaginary += coefficients[f * half + from] * turn.sin();
                }
                if mirrored {
                    imaginary = -imaginary;
                }
                if from == 0 || 2 * from == last {
                    imaginary = 0.0;
                }
                let turn = TAU * (frequency * along) as f64 / last as f64;
                sum += real * turn.cos() - imaginary * turn.sin();
            }
            sum / taps as f64
        })
        .collect()
}

#[test]
fn kernels_are_transforms_of_orthogonal_matrices() {
    for kernel in [&[5][..], &[4], &[3, 3], &[4, 2], &[2, 5], &[3, 2, 3]] {
        let (channels, filters, taps) = (7, 2, kernel.iter().product::<usize>());
        let shape: Vec<usize> = [filters, channels].iter().chain(kernel).copied().collect();
        let n = taps / kernel[kernel.len() - 1] * (kernel[kernel.len() - 1] / 2 + 1);
        let mut out = vec![0.0_f64; filters * channels * taps];
        joint::convolution_aware(&stream(0), &shape, &AWARE, &mut out).unwrap();
        let mut expected = Vec::new();
        for filter in 0..filters {
            let stream = stream(0).child(&filter.to_string());
            let mut basis = vec![0.0_f64; channels * n];
            for (block, rows) in basis.chunks_mut(n * n).enumerate() {
                joint::orthogonal(&stream.child(&block.to_string()), rows.len() / n, n, 1.0, rows).unwrap();
            }
            let mut noise = vec![0.0_f64; channels * taps];
            Law::normal(0.0, 0.05).fill(&stream.child("noise"), 0, &mut noise).unwrap();
            let slices = basis.chunks(n).flat_map(|row| inverse(kernel, row));
            expected.extend(slices.zip(noise).map(|(value, noise)| value + noise));
        }
        let mean = expected.iter().sum::<f64>() / expected.len() as f64;
        let var = expected.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / expected.len() as f64;
        for (found, expected) in out.iter().zip(expected) {
            assert!((found - expected * 0.3 / var.sqrt()).abs() < 1e-12, "{kernel:?}: {found}, {expected}");
        }
    }
}

fn all(out: &mut [Vec<f32>; 5]) {
    let [low, structured, blocks, tails, aware] = out;
    joint::low_rank(&stream(1), 120, 200, 30, 0.1, low).unwrap();
    joint::structured_sparse(&stream(1), 120, 200, 0.1, 0.1, structured).unwrap();
    joint::block_sparse(&stream(1), 120, 200, 8, 0.25, 0.1, blocks).unwrap();
    joint::student_t(&stream(1), 9.0, 0.1, tails).unwrap();
    joint::convolution_aware(&stream(1), &[16, 100, 3, 5], &AWARE, aware).unwrap();
}

fn drawn(threads: usize) -> [Vec<f32>; 5] {
    let mut out = [const { Vec::new() }; 5];
    out.iter_mut().for_each(|out| out.resize(120 * 200, f32::NAN));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| all(&mut out));
    out
}

#[test]
fn threads_do_not_matter() {
    let one = drawn(1);
    assert!(one == drawn(2) && one == drawn(4));
}

/// Our own output, pinned: a change here changes every such start that was ever drawn. FNV-1a of the bits.
#[test]
fn bits_are_pinned() {
    let digest = |values: &Vec<f32>| {
        let bytes = values.iter().flat_map(|v| v.to_bits().to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    let pinned = [
        0x03dc_77d9_b301_09c0,
        0x7138_8b49_4c1c_9344,
        0x7e3e_7234_b341_01cd,
        0x9551_900c_4d3d_995f,
        0xb6e9_3fe0_6ef2_c083,
    ];
    assert_eq!(drawn(2).each_ref().map(digest), pinned);
}

#[test]
fn wrong_input_is_named() {
    let (stream, out) = (&stream(0), &mut [0.0_f32; 12][..]);
    let errors = [
        (joint::hadamard(3, 5, 1.0, out), "hadamard: the buffer holds 12 elements, shape [3, 5] has 15"),
        (joint::tiled_eye(3, 5, 1.0, out), "tiled_eye: the buffer holds 12 elements, shape [3, 5] has 15"),
        (joint::low_rank(stream, 3, 4, 4, 1.0, out), "low_rank: rank is 4, allowed 1 to 3"),
        (joint::low_rank(stream, 3, 4, 0, 1.0, out), "low_rank: rank is 0, allowed 1 to 3"),
        (
            joint::structured_sparse(stream, 3, 4, 0.2, 1.0, out),
            "structured_sparse: density is 0.2, allowed 0.3333333333333333 to 1, so that no row and no column is empty",
        ),
        (
            joint::block_sparse(stream, 3, 4, 2, 1.0, 1.0, out),
            "block_sparse: 3 rows and 4 columns, allowed multiples of the block's 2",
        ),
        (joint::student_t(stream, 2.0, 1.0, out), "student_t: nu is 2, allowed finite numbers above 2"),
        (
            joint::convolution_aware(stream, &[3, 4], &AWARE, out),
            "convolution_aware: shape [3, 4] has 2 dimensions, allowed 3, 4 or 5",
        ),
    ];
    for (result, message) in errors {
        assert_eq!(result.unwrap_err().to_string(), message);
    }
    for density in [f64::NAN, f64::INFINITY, -1.0, 1.5] {
        let error = joint::structured_sparse(stream, 3, 4, density, 1.0, out).unwrap_err();
        assert!(matches!(error, JointError::Density { .. }), "{error}");
    }
}

#[test]
fn shapes_without_elements_are_filled() {
    for (rows, cols) in [(0, 4), (4, 0), (0, 0)] {
        assert_eq!(joint::hadamard::<f32>(rows, cols, 1.0, &mut []), Ok(()));
        assert_eq!(joint::tiled_eye::<f32>(rows, cols, 1.0, &mut []), Ok(()));
        assert_eq!(joint::low_rank::<f32>(&stream(0), rows, cols, 1, 1.0, &mut []), Ok(()));
        assert_eq!(joint::structured_sparse::<f32>(&stream(0), rows, cols, 0.5, 1.0, &mut []), Ok(()));
        assert_eq!(joint::block_sparse::<f32>(&stream(0), rows, cols, 2, 0.5, 1.0, &mut []), Ok(()));
        assert_eq!(joint::convolution_aware::<f32>(&stream(0), &[rows, cols, 3], &AWARE, &mut []), Ok(()));
    }
    assert_eq!(joint::student_t::<f32>(&stream(0), 9.0, 1.0, &mut []), Ok(()));
}
