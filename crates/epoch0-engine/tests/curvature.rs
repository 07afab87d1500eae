//! Curvature against finite differences and dense matrices.

mod common;

use common::{close, normal, reals, tensor, weights, words};
use epoch0_engine::curvature::{Hessian, Jacobian, Lanczos, Symmetric, density, ends, trace};
use epoch0_engine::kernel::{Gram, Regression};
use epoch0_engine::{Error, Mode, Order, Parameters, Tensor, Value, Var, Weights, grad, hvp, loss, run};
use epoch0_net::{Network, zoo};
use epoch0_num::Stream;

/// Loss of a network on inputs with labels, or on words.
fn loss_of(network: &Network, params: &Parameters, inputs: &[Value], labels: &[i64]) -> Var {
    let done = run(network, params, inputs, Mode::Eval, &mut |_| Ok(())).unwrap();
    let logits = done.outputs[0].real().unwrap();
    match logits.rank() {
        3 => loss::next_word(logits, labels).unwrap().mean(),
        _ => loss::cross_entropy(logits, labels).unwrap().mean(),
    }
}

struct Case {
    network: Network,
    inputs: Vec<Value>,
    labels: Vec<i64>,
}

fn perceptron(spec: &str) -> Case {
    Case {
        network: zoo::build(spec).unwrap(),
        inputs: vec![reals("x", &[6, 4])],
        labels: vec![0, 2, 1, 1, 0, 2],
    }
}

fn cases() -> Vec<Case> {
    let ids = words("x", &[2, 5], 7);
    let labels = match &ids {
        Value::Index(words) => words.iter().copied().collect(),
        _ => unreachable!(),
    };
    let positions = Value::index((0..10).map(|at| at % 5).collect(), &[2, 5]).unwrap();
    vec![
        perceptron("mlp:4-6-5-3,act=tanh"),
        perceptron("mlp:4-6-6-3,act=gelu,norm=layer"),
        Case {
            network: zoo::build("lenet:size=16,act=silu,classes=3,pool=mean").unwrap(),
            inputs: vec![reals("x", &[2, 1, 16, 16])],
            labels: vec![1, 2],
        },
        Case {
            network: zoo::build("gpt:layers=1,heads=2,embed=8,vocab=7,positions=5").unwrap(),
            inputs: vec![ids, positions],
            labels,
        },
    ]
}

fn hessian(case: &Case, weights: &Weights) -> (Hessian, Parameters, Var) {
    let params = weights.leaves(&case.network);
    let loss = loss_of(&case.network, &params, &case.inputs, &case.labels);
    let wrt: Vec<&Var> = params.tracked().map(|(_, var)| var).collect();
    (Hessian::new(&loss, &wrt), params.clone(), loss)
}

fn flat(parts: &[Tensor]) -> Vec<f64> {
    parts.iter().flat_map(Tensor::to_f64).collect()
}

#[test]
fn products_are_differences_of_gradients() {
    for case in cases() {
        let start = weights(&case.network);
        let (hessian, params, loss) = hessian(&case, &start);
        let direction: Vec<Tensor> =
            params.tracked().map(|(id, var)| tensor(&format!("direction {}", id.0), &var.shape())).collect();
        let found = flat(&hessian.product(&direction));

        let step = 1e-5;
        let gradient_at = |sign: f64| {
            let mut moved = start.clone();
            for ((id, var), direction) in params.tracked().zip(&direction) {
                let values = var.value().to_f64().into_iter().zip(direction.to_f64());
                let values = values.map(|(x, d)| x + sign * step * d).collect();
                let value = var.value();
                moved.set(id, Tensor::from_f64(values, &var.shape(), value.precision(), &value.device()));
            }
            let params = moved.leaves(&case.network);
            let loss = loss_of(&case.network, &params, &case.inputs, &case.labels);
            let wrt: Vec<&Var> = params.tracked().map(|(_, var)| var).collect();
            let gradient = grad(&loss, &wrt, Order::Last);
            gradient.iter().flat_map(|part| part.value().to_f64()).collect::<Vec<_>>()
        };
        let (ahead, behind) = (gradient_at(1.0), gradient_at(-1.0));
        let wanted: Vec<f64> = ahead.iter().zip(&behind).map(|(a, b)| (a - b) / (2.0 * step)).collect();
        close(&found, &wanted, 1e-6, "Hessian-vector product");

        let pairs: Vec<(&Var, Var)> =
            params.tracked().zip(&direction).map(|((_, var), d)| (var, Var::constant(d.clone()))).collect();
        let other: Vec<f64> =
            hvp(&loss, &pairs, Order::Last).iter().flat_map(|part| part.value().to_f64()).collect();
        close(&found, &other, 1e-9, "reverse over forward");
    }
}

/// A map's matrix, column by column.
fn dense(map: &dyn Symmetric) -> Gram {
    let n = map.size();
    let columns = (0..n).flat_map(|at| {
        let mut unit = vec![0.0; n];
        unit[at] = 1.0;
        map.apply(&unit)
    });
    Gram::new(n, n, columns.collect())
}

#[test]
fn lanczos_finds_the_ends_of_a_spectrum() {
    let case = perceptron("mlp:4-6-5-3,act=tanh");
    let (hessian, ..) = hessian(&case, &weights(&case.network));
    let matrix = dense(&hessian);
    let n = matrix.rows();
    for row in 0..n {
        for column in 0..row {
            assert!((matrix.at(row, column) - matrix.at(column, row)).abs() < 1e-12, "symmetry");
        }
    }
    let spectrum = matrix.spectrum().unwrap();
    let stream = Stream::new(1, "lanczos");
    let found = ends(&hessian, 1e-9, n, &stream).unwrap();
    close(&[found.max.value, found.min.value], &[spectrum.max(), spectrum.min()], 1e-8, "ends");
    let image = matrix.apply(&found.max.vector);
    let wanted: Vec<f64> = found.max.vector.iter().map(|x| x * spectrum.max()).collect();
    close(&image, &wanted, 1e-7, "eigenvector");
    assert_eq!(found, ends(&hessian, 1e-9, n, &stream).unwrap());

    // All of the space: every eigenvalue, and moments that are exact.
    let all = Lanczos::run(&hessian, normal("start", n), n).unwrap();
    assert!(all.is_exhausted());
    let points: Vec<f64> = all.ritz().unwrap().iter().rev().map(|ritz| ritz.value).collect();
    if points.len() == n {
        close(&points, spectrum.values(), 1e-8, "all eigenvalues");
    }
    let probes = 200;
    let estimate = trace(&hessian, probes, &stream).unwrap();
    assert!((estimate.mean - matrix.trace()).abs() < 4.0 * estimate.error, "{estimate:?}");
    let density = density(&hessian, probes, n, &stream).unwrap();
    let weight: f64 = density.points.iter().map(|(_, weight)| weight).sum();
    close(&[weight], &[1.0], 1e-12, "weights of a density");
    assert!((density.moment(1) * n as f64 - matrix.trace()).abs() < 4.0 * estimate.error);
    let squares = matrix.norm().powi(2) / n as f64;
    close(&[density.moment(2)], &[squares], 0.2, "second moment");
    close(&[density.below(spectrum.max() + 1.0)], &[1.0], 1e-12, "whole weight");
}

#[test]
fn a_map_of_low_rank_is_exhausted() {
    let rows = normal("rows", 3 * 20);
    let columns: Vec<f64> =
        (0..20).flat_map(|at| (0..3).map(move |row| (row, at))).map(|(r, c)| rows[r * 20 + c]).collect();
    let matrix = Gram::of_rows(&columns, &columns, 3);
    let lanczos = Lanczos::run(&matrix, normal("start", 20), 20).unwrap();
    assert!(lanczos.is_exhausted());
    assert!(lanczos.ritz().unwrap().len() <= 5);
    let found = ends(&matrix, 1e-10, 20, &Stream::new(1, "low rank")).unwrap();
    close(&[found.max.value], &[matrix.spectrum().unwrap().max()], 1e-9, "largest");
    assert!(found.min.value.abs() < 1e-9);
}

#[test]
fn jacobians_push_and_pull() {
    for case in &cases()[..3] {
        let params = weights(&case.network).constants();
        let input = Var::leaf(case.inputs[0].real().unwrap().value().clone());
        let done = run(&case.network, &params, &[input.clone().into()], Mode::Eval, &mut |_| Ok(())).unwrap();
        let output = done.outputs[0].real().unwrap();
        let jacobian = Jacobian::new(output, &input).unwrap();
        let (v, u) = (tensor("v", &input.shape()), tensor("u", &output.shape()));
        let dot = |a: &Tensor, b: &Tensor| a.to_f64().iter().zip(b.to_f64()).map(|(a, b)| a * b).sum::<f64>();
        close(&[dot(&u, &jacobian.push(&v))], &[dot(&jacobian.pull(&u), &v)], 1e-11, "transposition");

        // One example's Jacobian, by finite differences along v.
        let per_example = jacobian.per_example().unwrap();
        let [n, outputs, inputs] = per_example.shape()[..] else { unreachable!() };
        let (matrix, direction) = (per_example.to_f64(), v.to_f64());
        let mut pushed = vec![0.0; n * outputs];
        for example in 0..n {
            for row in 0..outputs {
                let line = &matrix[(example * outputs + row) * inputs..][..inputs];
                let along = &direction[example * inputs..][..inputs];
                pushed[example * outputs + row] = line.iter().zip(along).map(|(a, b)| a * b).sum();
            }
        }
        close(&jacobian.push(&v).to_f64(), &pushed, 1e-10, "rows of Jacobians");

        let mut all: Vec<f64> = jacobian.singular_values().unwrap().into_iter().flatten().collect();
        all.sort_by(|a, b| b.total_cmp(a));
        let found = jacobian.largest(all.len(), &Stream::new(1, "singular")).unwrap();
        close(&found[..3], &all[..3], 1e-8, "largest singular values");
    }
    let constant = Var::constant(tensor("x", &[2, 2]));
    assert!(matches!(Jacobian::new(&constant, &constant), Err(Error::Input { .. })));
}

#[test]
fn losses_are_what_their_formulas_say() {
    let logits = tensor("logits", &[4, 3]);
    let (labels, values) = (vec![2, 0, 1, 1], logits.to_f64());
    let wanted: Vec<f64> = labels
        .iter()
        .enumerate()
        .map(|(at, &label)| {
            let row = &values[at * 3..at * 3 + 3];
            row.iter().map(|z| z.exp()).sum::<f64>().ln() - row[label as usize]
        })
        .collect();
    let found = loss::cross_entropy(&Var::constant(logits.clone()), &labels).unwrap();
    close(&found.value().to_f64(), &wanted, 1e-12, "cross-entropy");
    let targets: Vec<f64> = normal("targets", 12).into_iter().map(|x| f64::from(u8::from(x > 0.0))).collect();
    let target = Tensor::from_f64(targets.clone(), &[4, 3], logits.precision(), &logits.device());
    let found =
        loss::logistic(&Var::constant(logits.clone()).scale(40.0), &Var::constant(target.clone())).unwrap();
    let term = |z: f64, t: f64| z.max(0.0) - z * t + (-z.abs()).exp().ln_1p();
    let wanted: Vec<f64> = (0..4)
        .map(|row| {
            (0..3).map(|column| term(40.0 * values[row * 3 + column], targets[row * 3 + column])).sum()
        })
        .collect();
    close(&found.value().to_f64(), &wanted, 1e-12, "logistic");
    let found = loss::squared_error(&Var::constant(logits.clone()), &Var::constant(target)).unwrap();
    let wanted: Vec<f64> = (0..4)
        .map(|row| (0..3).map(|column| (values[row * 3 + column] - targets[row * 3 + column]).powi(2)).sum())
        .collect();
    close(&found.value().to_f64(), &wanted, 1e-12, "squared error");
    let best: Vec<i64> = values
        .chunks(3)
        .map(|row| (0..3).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as i64)
        .collect();
    assert_eq!(loss::accuracy(&logits, &best).unwrap(), 1.0);
    assert_eq!(loss::accuracy(&logits, &[(best[0] + 1) % 3, best[1], best[2], best[3]]).unwrap(), 0.75);
}

#[test]
fn labels_out_of_range_are_refused() {
    let logits = Var::constant(tensor("logits", &[4, 3]));
    for labels in [vec![0, 1, 2], vec![0, 1, 2, 3], vec![0, 1, -1, 2]] {
        let error = loss::cross_entropy(&logits, &labels).unwrap_err();
        assert!(matches!(&error, Error::Input { name, .. } if name == "labels"), "{error}");
    }
    let words = Var::constant(tensor("logits", &[2, 1, 3]));
    assert!(loss::next_word(&words, &[0, 1]).is_err());
    assert!(loss::next_word(&logits, &[0, 1, 2, 0]).is_err());
    let half = Var::constant(tensor("target", &[4, 3]));
    assert!(loss::logistic(&logits, &half).is_err());
    assert!(loss::squared_error(&logits, &words).is_err());
}

#[test]
fn spectra_and_regression() {
    let features = normal("features", 12 * 20);
    let kernel = Gram::of_rows(&features, &features, 20);
    let spectrum = kernel.spectrum().unwrap();
    close(&[spectrum.values().iter().sum::<f64>()], &[kernel.trace()], 1e-10, "trace");
    assert!(spectrum.min() > 0.0 && spectrum.condition() > 1.0);
    assert!(spectrum.participation() <= 12.0 && spectrum.effective_rank() <= 12.0);
    let even = Gram::new(3, 3, vec![2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 2.0]).spectrum().unwrap();
    close(&[even.condition(), even.participation(), even.effective_rank()], &[1.0, 3.0, 3.0], 1e-12, "even");
    close(&[even.learning_rate_limit(5)], &[5.0], 1e-12, "learning rate");
    close(&[kernel.alignment(&kernel)], &[1.0], 1e-12, "alignment");
    let centred = kernel.centred();
    assert!(centred.row(3).iter().sum::<f64>().abs() < 1e-10);

    let targets = normal("targets", 24);
    let fit = Regression::fit(&kernel, &targets, 0.0).unwrap();
    close(&fit.predict(&kernel).unwrap(), &targets, 1e-8, "interpolation");
    assert!(matches!(Regression::fit(&kernel, &targets[1..], 0.0), Err(Error::Input { .. })));
    let flat = Gram::new(2, 2, vec![1.0, 2.0, 2.0, 1.0]);
    assert!(matches!(Regression::fit(&flat, &[1.0, 2.0], 0.0), Err(Error::Numeric { .. })));
    assert!(matches!(Gram::new(1, 1, vec![f64::NAN]).spectrum(), Err(Error::Numeric { .. })));
    assert!(matches!(Gram::new(1, 2, vec![0.0; 2]).spectrum(), Err(Error::Numeric { .. })));
}
