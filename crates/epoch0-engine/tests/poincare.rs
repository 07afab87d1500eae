//! The Poincaré ball: values against plain formulas, derivatives against differences and each other, and the laws of its
//! geometry.

#![allow(clippy::cloned_ref_to_slice_refs, reason = "lists of inputs are written alike")]

mod common;
mod harness;

use epoch0_engine::{Ball, Device, Mode, Moves, Precision, Tensor, Var, run};
use epoch0_net::zoo;
use harness::{check, close, dot, random, tensor};

const CURVATURE: f64 = 0.1;

fn ball() -> Ball {
    Ball::new(CURVATURE).unwrap()
}

/// Points with norms up to 1.3 of the 3.16 that the ball has.
fn points(seed: u64, shape: &[usize]) -> Tensor {
    scaled(&random(seed, shape), 0.6)
}

fn scaled(x: &Tensor, factor: f64) -> Tensor {
    tensor(&x.to_f64().iter().map(|x| factor * x).collect::<Vec<_>>(), &x.shape())
}

fn constant(x: &Tensor) -> Var {
    Var::constant(x.clone())
}

fn values(x: &Var) -> Vec<f64> {
    x.value().to_f64()
}

/// The plain formulas, of single points.
mod plain {
    use super::CURVATURE as C;

    pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
        x.iter().zip(y).map(|(x, y)| x * y).sum()
    }

    fn norm(x: &[f64]) -> f64 {
        dot(x, x).sqrt()
    }

    pub(super) fn times(x: &[f64], factor: f64) -> Vec<f64> {
        x.iter().map(|x| factor * x).collect()
    }

    pub(super) fn add(x: &[f64], y: &[f64]) -> Vec<f64> {
        let (p, q, inner) = (dot(x, x), dot(y, y), dot(x, y));
        let below = 1.0 + 2.0 * C * inner + C * C * p * q;
        let sum = |(x, y): (&f64, &f64)| ((1.0 + 2.0 * C * inner + C * q) * x + (1.0 - C * p) * y) / below;
        x.iter().zip(y).map(sum).collect()
    }

    pub(super) fn exp(v: &[f64]) -> Vec<f64> {
        let n = C.sqrt() * norm(v);
        times(v, n.tanh() / n)
    }

    pub(super) fn log(x: &[f64]) -> Vec<f64> {
        let n = C.sqrt() * norm(x);
        times(x, n.atanh() / n)
    }

    pub(super) fn lambda(x: &[f64]) -> f64 {
        2.0 / (1.0 - C * dot(x, x))
    }

    pub(super) fn exp_at(x: &[f64], v: &[f64]) -> Vec<f64> {
        let n = norm(v);
        add(x, &times(v, (C.sqrt() * lambda(x) * n / 2.0).tanh() / (C.sqrt() * n)))
    }

    pub(super) fn log_at(x: &[f64], y: &[f64]) -> Vec<f64> {
        let m = add(&times(x, -1.0), y);
        let n = norm(&m);
        times(&m, 2.0 / (C.sqrt() * lambda(x)) * (C.sqrt() * n).atanh() / n)
    }

    pub(super) fn gyrate(u: &[f64], v: &[f64], w: &[f64]) -> Vec<f64> {
        add(&times(&add(u, v), -1.0), &add(u, &add(v, w)))
    }

    pub(super) fn distance(x: &[f64], y: &[f64]) -> f64 {
        2.0 / C.sqrt() * (C.sqrt() * norm(&add(&times(x, -1.0), y))).atanh()
    }

    pub(super) fn scores(x: &[f64], z: &[f64], r: &[f64]) -> Vec<f64> {
        let score = |(z, r): (&[f64], &f64)| {
            let (n, root, lambda) = (norm(z), C.sqrt(), lambda(x));
            let inside = root * lambda * dot(x, z) / n * (2.0 * root * r).cosh()
                - (lambda - 1.0) * (2.0 * root * r).sinh();
            2.0 * n / root * inside.asinh()
        };
        z.chunks(x.len()).zip(r).map(score).collect()
    }

    pub(super) fn linear(x: &[f64], z: &[f64], r: &[f64]) -> Vec<f64> {
        let w: Vec<f64> = scores(x, z, r).iter().map(|v| (C.sqrt() * v).sinh() / C.sqrt()).collect();
        times(&w, 1.0 / (1.0 + (1.0 + C * dot(&w, &w)).sqrt()))
    }
}

#[test]
fn points_are_those_of_the_formulas() {
    let (x, y, u) = (points(1, &[4, 3]), points(2, &[4, 3]), points(3, &[4, 3]));
    let (z, r) = (random(4, &[5, 3]), random(5, &[5]));
    let rows = |t: &Tensor| -> Vec<Vec<f64>> { t.to_f64().chunks(3).map(<[f64]>::to_vec).collect() };
    let (xs, ys, us) = (rows(&x), rows(&y), rows(&u));
    let each = |f: &dyn Fn(usize) -> Vec<f64>| -> Vec<f64> { (0..4).flat_map(f).collect() };
    let (b, [x, y, u, z, r]) = (ball(), [&x, &y, &u, &z, &r].map(constant));
    close(&values(&b.exp(&x)), &each(&|at| plain::exp(&xs[at])), 1e-14, "exp");
    close(&values(&b.log(&x)), &each(&|at| plain::log(&xs[at])), 1e-14, "log");
    close(&values(&b.add(&x, &y)), &each(&|at| plain::add(&xs[at], &ys[at])), 1e-14, "add");
    let turned = each(&|at| plain::gyrate(&xs[at], &ys[at], &us[at]));
    close(&values(&b.gyrate(&x, &y, &u)), &turned, 1e-14, "gyrate");
    let far: Vec<f64> = (0..4).map(|at| plain::distance(&xs[at], &ys[at])).collect();
    close(&values(&b.distance(&x, &y)), &far, 1e-14, "distance");
    let (zs, rs) = (values(&z), values(&r));
    let scores = each(&|at| plain::scores(&xs[at], &zs, &rs));
    close(&values(&b.scores(&x, &z, Some(&r))), &scores, 1e-13, "scores");
    close(
        &values(&b.linear(&x, &z, Some(&r))),
        &each(&|at| plain::linear(&xs[at], &zs, &rs)),
        1e-13,
        "linear",
    );
    let none = [0.0; 5];
    close(&values(&b.linear(&x, &z, None)), &each(&|at| plain::linear(&xs[at], &zs, &none)), 1e-13, "linear");
}

/// A convolution is the fully connected layer on windows whose tangent vectors are joined.
#[test]
fn convolutions_are_linear_on_windows() {
    let (x, z, r) = (points(1, &[2, 3, 4, 5]), random(2, &[4, 3, 3, 3]), random(3, &[4]));
    let moves = Moves { stride: vec![2, 1], padding: vec![1, 1], dilation: vec![1, 1], groups: 1 };
    let joining = 0.4;
    let y = ball().conv(&constant(&x), &constant(&z), Some(&constant(&r)), &moves, joining);
    assert_eq!(y.shape(), [2, 4, 2, 5]);
    let tangents = values(&ball().log(&constant(&x)));
    let found = values(&y);
    let mut expected = vec![0.0; found.len()];
    for n in 0..2 {
        for (row, column) in (0..2usize).flat_map(|row| (0..5usize).map(move |column| (row, column))) {
            let mut window = Vec::new();
            for (channel, dy, dx) in (0..27usize).map(|at| (at / 9, at / 3 % 3, at % 3)) {
                let (i, j) = ((2 * row + dy).wrapping_sub(1), (column + dx).wrapping_sub(1));
                let is_inside = i < 4 && j < 5;
                window.push(if is_inside {
                    joining * tangents[((n * 3 + channel) * 4 + i) * 5 + j]
                } else {
                    0.0
                });
            }
            let point = plain::linear(&plain::exp(&window), &z.to_f64(), &r.to_f64());
            for (k, value) in point.into_iter().enumerate() {
                expected[((n * 4 + k) * 2 + row) * 5 + column] = value;
            }
        }
    }
    close(&found, &expected, 1e-13, "convolution");
}

/// Normalization by the formulas: logarithm at the mean, transport, factor, exponential at the new mean.
#[test]
fn settling_is_transport() {
    let (x, shift) = (points(1, &[5, 3]), points(2, &[3]));
    let (scale, eps) = (0.7, 1e-3);
    let b = ball();
    let (mean, x) = (b.midpoint(&constant(&x)), constant(&x));
    let variance = b.spread(&x, &mean);
    let (from, to) = (values(&mean), plain::exp(&shift.to_f64()));
    let distances: Vec<f64> = values(&x).chunks(3).map(|x| plain::distance(&from, x).powi(2)).collect();
    let spread = distances.iter().sum::<f64>() / 5.0;
    close(&values(&variance), &[spread], 1e-13, "variance");
    let moved = |x: &[f64]| {
        let v = plain::gyrate(&to, &plain::times(&from, -1.0), &plain::log_at(&from, x));
        let v = plain::times(&v, plain::lambda(&from) / plain::lambda(&to) * (scale / (spread + eps)).sqrt());
        plain::exp_at(&to, &v)
    };
    let expected: Vec<f64> = values(&x).chunks(3).flat_map(moved).collect();
    let scale = constant(&tensor(&[scale], &[1]));
    let (found, same) = b.settle(&x, &mean, None, [&scale, &constant(&shift)], eps);
    close(&values(&same), &[spread], 1e-13, "variance");
    let (known, _) = b.settle(&x, &mean, Some(&variance), [&scale, &constant(&shift)], eps);
    close(&values(&known), &expected, 1e-13, "settled");
    close(&values(&found), &expected, 1e-13, "settled");
}

#[test]
fn geometry_has_its_laws() {
    for curvature in [0.01, 0.1, 1.0] {
        let b = Ball::new(curvature).unwrap();
        let size = 0.5 / f64::sqrt(curvature);
        let [x, y, u] = [1, 2, 3].map(|seed| constant(&scaled(&random(seed, &[6, 3]), size)));
        let zero = vec![0.0; 18];
        close(&values(&b.add(&x.neg(), &x)), &zero, 1e-14, "what is taken from itself");
        close(&values(&b.distance(&x, &y)), &values(&b.distance(&y, &x)), 1e-13, "distances are symmetric");
        let v = u.scale(2.0);
        close(&values(&b.log(&b.exp(&v))), &values(&v), 1e-12, "log of exp");
        let turned = values(&b.gyrate(&x, &y, &u));
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        for (turned, u) in turned.chunks(3).zip(values(&u).chunks(3)) {
            close(&[norm(turned)], &[norm(u)], 1e-12, "gyrations keep norms");
        }
        let halves = Tensor::from_f64(
            vec![0.5, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.5],
            &[3, 3],
            Precision::Double,
            &Device::cpu(),
        );
        close(&values(&b.linear(&x, &constant(&halves), None)), &values(&x), 1e-14, "half the identity");
    }
}

#[test]
fn derivatives_are_exact() {
    let b = ball();
    let (x, y, w) = (points(1, &[3, 4]), points(2, &[3, 4]), random(3, &[3, 4]));
    check("exp", &[w.clone()], |v| b.exp(&v[0]));
    check("log", &[x.clone()], |v| b.log(&v[0]));
    check("exp near the origin", &[scaled(&w, 0.1)], |v| b.exp(&v[0]));
    check("log near the origin", &[scaled(&w, 0.1)], |v| b.log(&v[0]));
    check("exp at the origin", &[scaled(&w, 0.0)], |v| b.exp(&v[0]));
    check("log at the origin", &[scaled(&w, 0.0)], |v| b.log(&v[0]));
    check("exp to the edge", &[scaled(&w, 40.0)], |v| b.exp(&v[0]));
    check("add", &[x.clone(), y.clone()], |v| b.add(&v[0], &v[1]));
    check("add to itself", &[x.clone()], |v| b.add(&v[0], &v[0]));
    check("add at the origin", &[scaled(&x, 0.0), y.clone()], |v| b.add(&v[0], &v[1]));
    check("distance", &[x.clone(), y.clone()], |v| b.distance(&v[0], &v[1]));
    check("gyrate", &[x.clone(), y.clone(), w.clone()], |v| b.gyrate(&v[0], &v[1], &v[2]));
    let (z, r) = (random(4, &[5, 4]), random(5, &[5]));
    check("scores", &[x.clone(), z.clone(), r.clone()], |v| b.scores(&v[0], &v[1], Some(&v[2])));
    check("linear", &[x.clone(), z.clone(), r.clone()], |v| b.linear(&v[0], &v[1], Some(&v[2])));
    check("linear without bias", &[x.clone(), z.clone()], |v| b.linear(&v[0], &v[1], None));
    check("linear at the origin", &[scaled(&x, 0.0), z.clone(), r.clone()], |v| {
        b.linear(&v[0], &v[1], Some(&v[2]))
    });
    check("linear to the edge", &[x.clone(), scaled(&z, 8.0)], |v| b.linear(&v[0], &v[1], None));
    check("midpoint", &[x.clone()], |v| b.midpoint(&v[0]));
    check("spread", &[x.clone(), points(6, &[1, 4])], |v| b.spread(&v[0], &v[1]));
    let settled = |v: &[Var]| {
        let mean = b.midpoint(&v[0]);
        let scale = v[1].square().add_scalar(0.5);
        b.settle(&v[0], &mean, None, [&scale, &v[2]], 1e-2).0
    };
    check("batch normalization", &[x.clone(), random(7, &[1]), points(8, &[4])], settled);
    check("batch normalization to the origin", &[x, random(7, &[1]), tensor(&[0.0; 4], &[4])], settled);
}

#[test]
fn derivatives_over_space_are_exact() {
    let b = ball();
    let moves = Moves { stride: vec![2, 1], padding: vec![1, 0], dilation: vec![1, 1], groups: 1 };
    let (x, z, r) = (points(1, &[2, 2, 3, 4]), random(2, &[3, 2, 3, 2]), random(3, &[3]));
    check("convolution", &[x.clone(), z.clone(), r], |v| b.conv(&v[0], &v[1], Some(&v[2]), &moves, 0.5));
    check("convolution without bias", &[x.clone(), z], |v| b.conv(&v[0], &v[1], None, &moves, 0.5));
    check("midpoint", &[x.clone()], |v| b.midpoint(&v[0]));
    check("add", &[x.clone(), points(4, &[2, 2, 3, 4])], |v| b.add(&v[0], &v[1]));
    check("spread", &[x, points(5, &[1, 2, 1, 1])], |v| b.spread(&v[0], &v[1]));
}

/// A weight of zeros has no direction, and learns as if its distance were a linear function.
#[test]
fn weights_of_zeros_learn() {
    let (x, z) = (points(1, &[2, 3]), Var::leaf(tensor(&[0.0; 6], &[2, 3])));
    let y = ball().scores(&constant(&x), &z, None);
    assert_eq!(values(&y), [0.0; 4]);
    let found = epoch0_engine::grad(&y.sum(), &[&z], epoch0_engine::Order::Last).remove(0);
    let mut expected = [0.0; 3];
    for x in x.to_f64().chunks(3) {
        expected.iter_mut().zip(x).for_each(|(sum, x_i)| *sum += 2.0 * plain::lambda(x) * x_i);
    }
    close(&values(&found), &[expected, expected].concat(), 1e-12, "slope at zero");
}

#[test]
fn midpoints_are_means() {
    let b = ball();
    let x = points(1, &[20, 3]);
    let both: Vec<f64> = x.to_f64().iter().copied().chain(x.to_f64().iter().map(|x| -x)).collect();
    close(&values(&b.midpoint(&constant(&tensor(&both, &[40, 3])))), &[0.0; 3], 1e-14, "symmetric points");
    // Those of two points are the point halfway.
    let two = constant(&tensor(&x.to_f64()[..6], &[2, 3]));
    let (middle, _) = b.frechet(&two, 1e-10);
    close(&values(&b.midpoint(&two)), &values(&middle), 1e-9, "two points");
    // The sum of squared distances is least at the Fréchet mean.
    let cloud = constant(&x);
    let (mean, steps) = b.frechet(&cloud, 1e-10);
    assert!((2..100).contains(&steps), "{steps} steps");
    let at = |mean: &Var| b.spread(&cloud, mean).value().item();
    let least = at(&mean);
    assert!(least < at(&b.midpoint(&cloud)));
    for direction in 0..3 {
        for step in [-1e-3, 1e-3] {
            let mut aside = values(&mean);
            aside[direction] += step;
            assert!(least < at(&constant(&tensor(&aside, &[1, 3]))), "direction {direction}");
        }
    }
    let leaf = Var::leaf(mean.value().clone());
    let slope = epoch0_engine::grad(&b.spread(&cloud, &leaf), &[&leaf], epoch0_engine::Order::Last).remove(0);
    assert!(dot(slope.value(), slope.value()) < 1e-16);
}

/// Single precision keeps what is small, and stays inside the ball.
#[test]
fn single_precision_is_stable() {
    let b = ball();
    let single = |x: Vec<f64>| Var::constant(Tensor::from_f64(x, &[1, 2], Precision::Single, &Device::cpu()));
    for size in [1e-6, 1e-3, 0.1, 1.0, 5.0] {
        let v = single(vec![size, -0.5 * size]);
        let back = b.log(&b.exp(&v)).value().to_f64();
        assert!((back[0] / size - 1.0).abs() < 1e-4, "{size}: {}", back[0]);
    }
    for size in [10.0, 1e3, 1e12] {
        let x = b.exp(&single(vec![size, size])).value().to_f64();
        let reach = CURVATURE * plain::dot(&x, &x);
        assert!(reach < 0.9921, "{size}: {reach}");
        let x = single(x);
        let y = b.add(&x, &x);
        let y = b.linear(&y, &single(vec![1e3, -2e3]), None).value().to_f64();
        assert!(y.iter().all(|y| y.is_finite()) && CURVATURE * plain::dot(&y, &y) < 0.9921, "{y:?}");
    }
}

#[test]
fn hyperbolic_functions() {
    let xs = [-300.0f64, -3.0, -0.9, -1e-3, -1e-9, 0.0, 1e-12, 1e-4, 0.3, 0.4, 0.999, 1.0, 20.0, 1e6];
    for (precision, tolerance) in [(Precision::Single, 3e-7), (Precision::Double, 4e-16)] {
        type Case = (&'static str, fn(&Var) -> Var, fn(f64) -> f64, f64);
        let cases: [Case; 3] = [
            ("sinh", Var::sinh, f64::sinh, 80.0),
            ("asinh", Var::asinh, f64::asinh, 1e9),
            ("artanh", Var::artanh, f64::atanh, 0.9991),
        ];
        for (name, f, host, most) in cases {
            let xs: Vec<f64> = xs.into_iter().filter(|x| x.abs() <= most).collect();
            let x = Tensor::from_f64(xs.clone(), &[xs.len()], precision, &Device::cpu());
            let rounded = x.to_f64();
            for (x, y) in rounded.iter().zip(f(&Var::constant(x)).value().to_f64()) {
                let wanted = host(*x);
                assert!(
                    (y - wanted).abs() <= tolerance * 8.0 * wanted.abs(),
                    "{name}({x}) is {y}, not {wanted}"
                );
            }
        }
    }
    let x = random(1, &[7]);
    check("sinh", &[x.clone()], |v| v[0].sinh());
    check("asinh", &[x.clone()], |v| v[0].asinh());
    check("artanh", &[scaled(&x, 0.8)], |v| v[0].artanh());
}

/// In evaluation, with what it met in training as its running statistics, a network answers as it did in training.
#[test]
fn statistics_are_what_evaluation_uses() {
    for norm in ["midpoint", "frechet"] {
        let network = zoo::build(&format!("poincare_resnet:8,width=2,size=8,norm={norm}")).unwrap();
        let mut weights = common::weights(&network);
        let inputs = [common::reals("images", &[3, 3, 8, 8])];
        let trained = run(&network, &weights.constants(), &inputs, Mode::Train, &mut |_| Ok(())).unwrap();
        assert_eq!(trained.statistics.len(), 7);
        for met in &trained.statistics {
            let [mean, variance, _] = network.nodes()[met.node.0 as usize].op.running().unwrap();
            weights.set(mean, met.mean.clone());
            weights.set(variance, met.variance.clone());
        }
        let used = run(&network, &weights.constants(), &inputs, Mode::Eval, &mut |_| Ok(())).unwrap();
        let numbers = |run: &epoch0_engine::Run| values(run.outputs[0].real().unwrap());
        close(&numbers(&used), &numbers(&trained), 1e-12, norm);
    }
    let network = zoo::build("poincare_mlp:4-3-2,norm=midpoint").unwrap();
    let params = common::weights(&network).constants();
    let one = [common::reals("one", &[1, 4])];
    let error = run(&network, &params, &one, Mode::Train, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.starts_with("poincare_norm `norms.0.weight`: found one point"), "{error}");
    assert!(run(&network, &params, &one, Mode::Eval, &mut |_| Ok(())).is_ok());
}
