//! Convolutions and pooling: their values against loops, their derivatives against differences and each other.

#[path = "../../tests/harness/mod.rs"]
mod harness;

use epoch0_net::Window;
use harness::{check, close, distinct, random};
use proptest::prelude::*;

use super::conv::Moves;
use crate::{Tensor, Var};

/// A convolution's sizes: batch, groups, channels in and out per group, and per dimension size, kernel and how it moves.
#[derive(Clone, Debug)]
struct Case {
    batch: usize,
    inputs: usize,
    outputs: usize,
    sizes: Vec<usize>,
    kernel: Vec<usize>,
    moves: Moves,
}

impl Case {
    fn x(&self) -> Vec<usize> {
        [vec![self.batch, self.inputs * self.moves.groups], self.sizes.clone()].concat()
    }

    fn weight(&self) -> Vec<usize> {
        [vec![self.outputs * self.moves.groups, self.inputs], self.kernel.clone()].concat()
    }

    fn y(&self) -> Vec<usize> {
        let size = |dim: usize| {
            let reach = self.moves.dilation[dim] * (self.kernel[dim] - 1) + 1;
            (self.sizes[dim] + 2 * self.moves.padding[dim] - reach) / self.moves.stride[dim] + 1
        };
        let sizes = (0..self.sizes.len()).map(size).collect();
        [vec![self.batch, self.outputs * self.moves.groups], sizes].concat()
    }
}

/// Per dimension: kernel, stride, padding, dilation, and how much the input exceeds one window.
fn dimension() -> impl Strategy<Value = (usize, usize, usize, usize, usize)> {
    (1usize..4, 1usize..4, 0usize..3, 1usize..3, 0usize..5)
}

fn cases() -> impl Strategy<Value = Case> {
    let all = (1usize..3, 1usize..4, 1usize..3, 1usize..3, prop::collection::vec(dimension(), 1..4));
    all.prop_map(|(batch, groups, inputs, outputs, dims)| {
        let each =
            |f: fn(&(usize, usize, usize, usize, usize)) -> usize| dims.iter().map(f).collect::<Vec<_>>();
        let more = if dims.len() == 3 { 2 } else { 5 };
        let sizes = dims
            .iter()
            .map(|&(k, _, p, d, extra)| (d * (k - 1) + 1 + extra.min(more)).saturating_sub(2 * p).max(1));
        Case {
            batch,
            inputs,
            outputs,
            sizes: sizes.collect(),
            kernel: each(|d| d.0),
            moves: Moves { stride: each(|d| d.1), padding: each(|d| d.2), dilation: each(|d| d.3), groups },
        }
    })
}

fn positions(sizes: &[usize]) -> Vec<Vec<usize>> {
    sizes.iter().fold(vec![vec![]], |all, &n| {
        all.into_iter().flat_map(|at| (0..n).map(move |p| [at.clone(), vec![p]].concat())).collect()
    })
}

fn offset(position: &[usize], shape: &[usize]) -> usize {
    position.iter().zip(shape).fold(0, |at, (p, n)| at * n + p)
}

/// Calls `f(x, w, y)` with the offsets of every product that a convolution sums.
fn products(case: &Case, mut f: impl FnMut(usize, usize, usize)) {
    let (x_shape, w_shape, y_shape) = (case.x(), case.weight(), case.y());
    let Moves { stride, padding, dilation, .. } = &case.moves;
    for y in positions(&y_shape) {
        let group = y[1] / case.outputs;
        for w in positions(&w_shape[1..]) {
            let mut x = vec![y[0], group * case.inputs + w[0]];
            for dim in 0..stride.len() {
                x.push((y[dim + 2] * stride[dim] + w[dim + 1] * dilation[dim]).wrapping_sub(padding[dim]));
            }
            if x[2..].iter().zip(&x_shape[2..]).all(|(p, n)| p < n) {
                let w = [vec![y[1]], w].concat();
                f(offset(&x, &x_shape), offset(&w, &w_shape), offset(&y, &y_shape));
            }
        }
    }
}

/// The three maps of a convolution, against loops, and their derivatives.
fn verify(case: &Case, with_derivatives: bool) {
    let (x, w, y) = (random(1, &case.x()), random(2, &case.weight()), random(3, &case.y()));
    let (xs, ws, ys) = (x.to_f64(), w.to_f64(), y.to_f64());
    let (mut by_x, mut by_w, mut by_y) = (vec![0.0; xs.len()], vec![0.0; ws.len()], vec![0.0; ys.len()]);
    products(case, |x, w, y| {
        by_y[y] += xs[x] * ws[w];
        by_x[x] += ys[y] * ws[w];
        by_w[w] += xs[x] * ys[y];
    });
    for precision in [crate::Precision::Double, crate::Precision::Single] {
        let tolerance = if precision == crate::Precision::Double { 1e-13 } else { 1e-5 };
        let [x, w, y] = [&x, &w, &y].map(|t| Var::constant(t.cast(precision)));
        let found = x.conv(&w, &case.moves);
        assert_eq!(found.shape(), case.y());
        close(&found.value().to_f64(), &by_y, tolerance, "conv");
        let found = y.conv_input(&w, &case.moves, &case.sizes);
        assert_eq!(found.shape(), case.x());
        close(&found.value().to_f64(), &by_x, tolerance, "conv_input");
        let found = x.conv_weight(&y, &case.moves, &case.weight());
        assert_eq!(found.shape(), case.weight());
        close(&found.value().to_f64(), &by_w, tolerance, "conv_weight");
    }
    if with_derivatives {
        check("conv", &[x.clone(), w.clone()], |v| v[0].conv(&v[1], &case.moves));
        check("conv_input", &[y.clone(), w], |v| v[0].conv_input(&v[1], &case.moves, &case.sizes));
        check("conv_weight", &[x, y], |v| v[0].conv_weight(&v[1], &case.moves, &case.weight()));
    }
}

/// A window of one size in every dimension.
fn window(dims: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Window {
    let all = |n: usize| vec![n; dims];
    Window { kernel: all(kernel), stride: all(stride), padding: all(padding), dilation: all(dilation) }
}

/// Values of the windows of `[batch, channels, space…]`, in order; `None` stands for padding.
fn windows(x: &Tensor, window: &Window, sizes: &[usize]) -> Vec<Vec<Option<f64>>> {
    let (shape, xs) = (x.shape(), x.to_f64());
    let all = positions(&[&shape[..2], sizes].concat());
    let values = |y: Vec<usize>| {
        let taps = positions(&window.kernel).into_iter().map(|tap| {
            let mut at = y[..2].to_vec();
            for dim in 0..sizes.len() {
                let p = y[dim + 2] * window.stride[dim] + tap[dim] * window.dilation[dim];
                at.push(p.wrapping_sub(window.padding[dim]));
            }
            let inside = at[2..].iter().zip(&shape[2..]).all(|(p, n)| p < n);
            inside.then(|| xs[offset(&at, &shape)])
        });
        taps.collect()
    };
    all.into_iter().map(values).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn convolutions(case in cases()) {
        verify(&case, true);
    }

    #[test]
    fn max_pools(
        dims in 1usize..3, kernel in 1usize..4, stride in 1usize..4, padding in 0usize..2, dilation in 1usize..3,
        extra in 0usize..5, ceil in any::<bool>(),
    ) {
        let padding = padding.min(kernel / 2);
        let size = (dilation * (kernel - 1) + 1 + extra).saturating_sub(2 * padding).max(1);
        let window = window(dims, kernel, stride, padding, dilation);
        let x = distinct(4, &[vec![2, 2], vec![size; dims]].concat());
        let n = if ceil { window.output_ceil(0, size) } else { window.output(0, size) };
        let sizes = vec![n.expect("the window fits"); dims];
        let found = Var::constant(x.clone()).max_pool(&window, ceil);
        prop_assert_eq!(&found.shape()[2..], &sizes[..]);
        let expected: Vec<f64> = windows(&x, &window, &sizes)
            .into_iter()
            .map(|values| values.into_iter().flatten().fold(f64::NEG_INFINITY, f64::max))
            .collect();
        // A window of a dilated kernel can meet nothing but padding.
        prop_assume!(expected.iter().all(|max| max.is_finite()));
        close(&found.value().to_f64(), &expected, 0.0, "max_pool");
        check("max_pool", &[x], |v| v[0].max_pool(&window, ceil));
    }

    #[test]
    fn mean_pools(dims in 1usize..4, kernel in 1usize..4, stride in 1usize..4, padding in 0usize..2, extra in 0usize..4) {
        let padding = padding.min(kernel / 2);
        let size = (kernel + extra).saturating_sub(2 * padding).max(1);
        let window = window(dims, kernel, stride, padding, 1);
        let x = random(5, &[vec![2, 1], vec![size; dims]].concat());
        let sizes = vec![window.output(0, size).expect("the window fits"); dims];
        let found = Var::constant(x.clone()).mean_pool(&window);
        prop_assert_eq!(&found.shape()[2..], &sizes[..]);
        let expected: Vec<f64> = windows(&x, &window, &sizes)
            .into_iter()
            .map(|values| values.iter().flatten().sum::<f64>() / values.len() as f64)
            .collect();
        close(&found.value().to_f64(), &expected, 1e-14, "mean_pool");
        check("mean_pool", &[x], |v| v[0].mean_pool(&window));
    }

    #[test]
    fn adaptive(sizes in prop::collection::vec((1usize..7, 1usize..7), 1..4)) {
        let (from, to): (Vec<usize>, Vec<usize>) = sizes.into_iter().unzip();
        let x = random(6, &[vec![1, 2], from.clone()].concat());
        let found = Var::constant(x.clone()).adaptive_mean(&to);
        let xs = x.to_f64();
        let expected: Vec<f64> = positions(&[vec![1, 2], to.clone()].concat())
            .into_iter()
            .map(|y| {
                let (mut sum, mut n) = (0.0, 0.0);
                for at in positions(&x.shape()) {
                    let inside = (0..to.len()).all(|dim| {
                        let (p, size) = (y[dim + 2], from[dim]);
                        (p * size / to[dim]..((p + 1) * size).div_ceil(to[dim])).contains(&at[dim + 2])
                    });
                    if inside && at[..2] == y[..2] {
                        (sum, n) = (sum + xs[offset(&at, &x.shape())], n + 1.0);
                    }
                }
                sum / n
            })
            .collect();
        close(&found.value().to_f64(), &expected, 1e-13, "adaptive_mean");
        check("adaptive_mean", &[x], |v| v[0].adaptive_mean(&to));
    }
}

/// Sizes that networks have: first layers, depthwise, pointwise with stride, dilated; large enough to be cut up.
#[test]
fn usual_convolutions() {
    let moves = |stride: usize, padding: usize, dilation: usize, groups: usize| Moves {
        stride: vec![stride; 2],
        padding: vec![padding; 2],
        dilation: vec![dilation; 2],
        groups,
    };
    let cases = [
        (2, 3, 8, 17, 7, moves(2, 3, 1, 1)),
        (3, 1, 1, 14, 3, moves(1, 1, 1, 6)),
        (2, 1, 2, 9, 5, moves(2, 2, 1, 4)),
        (2, 4, 5, 9, 1, moves(2, 0, 1, 1)),
        (1, 4, 5, 30, 1, moves(1, 0, 1, 1)),
        (1, 2, 3, 40, 3, moves(1, 1, 1, 1)),
        (2, 2, 2, 12, 3, moves(1, 4, 2, 2)),
        (1, 1, 1, 1, 1, moves(1, 0, 1, 1)),
        // One window, nothing left over; a kernel wider than the input.
        (1, 2, 2, 3, 5, moves(1, 1, 1, 1)),
    ];
    for (batch, inputs, outputs, size, kernel, moves) in cases {
        let case = Case { batch, inputs, outputs, sizes: vec![size; 2], kernel: vec![kernel; 2], moves };
        verify(&case, false);
    }
}

/// Convolutions that are cut up for threads give the same bits for any number of them.
#[test]
fn threads() {
    let moves = |kernel: usize, stride: usize, groups: usize| Moves {
        stride: vec![stride; 2],
        padding: vec![kernel / 2; 2],
        dilation: vec![1; 2],
        groups,
    };
    // Whole images together, parts of one, channels alone.
    let cases = [
        (5, 64, 64, 14, 3, moves(3, 1, 1)),
        (2, 3, 64, 150, 7, moves(7, 2, 1)),
        (1, 32, 16, 70, 3, moves(3, 1, 1)),
        (4, 16, 24, 33, 1, moves(1, 2, 1)),
        (3, 1, 2, 40, 5, moves(5, 1, 32)),
        (3, 8, 8, 20, 3, moves(3, 1, 4)),
    ];
    let results = |precision| -> Vec<Vec<u64>> {
        let all = cases.iter().flat_map(|(batch, inputs, outputs, size, kernel, moves)| {
            let case = Case {
                batch: *batch,
                inputs: *inputs,
                outputs: *outputs,
                sizes: vec![*size; 2],
                kernel: vec![*kernel; 2],
                moves: moves.clone(),
            };
            let var = |seed, shape: &[usize]| Var::constant(random(seed, shape).cast(precision));
            let (x, w, y) = (var(1, &case.x()), var(2, &case.weight()), var(3, &case.y()));
            let pooled = x.max_pool(&window(2, 3, 2, 1, 1), false);
            [
                x.conv(&w, moves),
                y.conv_input(&w, moves, &case.sizes),
                x.conv_weight(&y, moves, &case.weight()),
                pooled.sum(),
                x.standardize(&[0, 2, 3], 1e-5),
                x.mean_pool(&window(2, 3, 2, 1, 1)),
            ]
        });
        all.map(|var| var.value().to_f64().into_iter().map(f64::to_bits).collect()).collect()
    };
    let in_pool = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
        pool.install(|| [results(crate::Precision::Single), results(crate::Precision::Double)].concat())
    };
    let one = in_pool(1);
    for threads in [2, 3, 8] {
        for (at, (one, many)) in one.iter().zip(&in_pool(threads)).enumerate() {
            assert!(one == many, "result {at} differs between one thread and {threads}");
        }
    }
}
