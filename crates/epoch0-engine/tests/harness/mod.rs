//! What every operation has to satisfy, checked in 64 bits.

#![allow(dead_code, reason = "each test takes what it needs")]

use epoch0_engine::{Device, Order, Precision, Tensor, Var, grad, hvp, jvp, vjp};

/// Numbers in `(-1, 1)`, the same ones for the same seed: SplitMix64.
pub(crate) fn noise(seed: u64, n: usize) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (0..n).map(|_| (next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0).collect()
}

pub(crate) fn tensor(values: &[f64], shape: &[usize]) -> Tensor {
    Tensor::from_f64(values.to_vec(), shape, Precision::Double, &Device::cpu())
}

pub(crate) fn random(seed: u64, shape: &[usize]) -> Tensor {
    tensor(&noise(seed, shape.iter().product()), shape)
}

/// `|x|` shifted away from zero: for functions of positive numbers.
pub(crate) fn positive(seed: u64, shape: &[usize]) -> Tensor {
    let values: Vec<f64> = noise(seed, shape.iter().product()).iter().map(|x| x.abs() + 0.5).collect();
    tensor(&values, shape)
}

/// All different, at least a twentieth apart and a fiftieth from zero: for functions with kinks where two are equal.
pub(crate) fn distinct(seed: u64, shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let mut order: Vec<(f64, usize)> = noise(seed, n).into_iter().zip(0..).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut values = vec![0.0; n];
    for (rank, (_, at)) in order.into_iter().enumerate() {
        values[at] = 0.05 * (rank as f64 - (n / 2) as f64) + 0.0213;
    }
    tensor(&values, shape)
}

pub(crate) fn dot(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape(), b.shape(), "shapes of a product");
    a.to_f64().iter().zip(b.to_f64()).map(|(a, b)| a * b).sum()
}

/// Whether numbers agree relative to the largest of them (and to one).
#[track_caller]
pub(crate) fn close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: number of elements");
    let scale = expected.iter().fold(1.0f64, |max, x| max.max(x.abs()));
    for (at, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f - e).abs() <= tolerance * scale,
            "{what}: element {at} is {f}, not {e}\nfound {found:?}\nexpected {expected:?}"
        );
    }
}

fn moved(inputs: &[Tensor], directions: &[Tensor], step: f64) -> Vec<Tensor> {
    let add = |(x, v): (&Tensor, &Tensor)| {
        let values: Vec<f64> = x.to_f64().iter().zip(v.to_f64()).map(|(x, v)| x + step * v).collect();
        tensor(&values, &x.shape())
    };
    inputs.iter().zip(directions).map(add).collect()
}

/// Derivative along a line, by differences of fourth order.
fn slope(mut f: impl FnMut(f64) -> Vec<f64>) -> Vec<f64> {
    let h = 1e-3;
    let (a, b, c, d) = (f(-2.0 * h), f(-h), f(h), f(2.0 * h));
    (0..a.len()).map(|at| (a[at] - 8.0 * b[at] + 8.0 * c[at] - d[at]) / (12.0 * h)).collect()
}

fn flat(tensors: &[Var]) -> Vec<f64> {
    tensors.iter().flat_map(|var| var.value().to_f64()).collect()
}

fn leaves(inputs: &[Tensor]) -> Vec<Var> {
    inputs.iter().cloned().map(Var::leaf).collect()
}

/// A number that has every element of `y` in it, with curvature of its own.
fn objective(y: &Var) -> Var {
    let weights = Var::constant(random(77, &y.shape()));
    y.mul(&weights).sum().add(&y.mul(y).sum().scale(0.5))
}

/// Values are `expected`; first derivatives agree with differences, forward with reverse, the quick way with the
/// definition; second ones with differences of first ones, reverse over forward with reverse over reverse; and they
/// are symmetric.
#[track_caller]
pub(crate) fn check(what: &str, inputs: &[Tensor], f: impl Fn(&[Var]) -> Var) {
    let constants = |inputs: &[Tensor]| -> Vec<Var> { inputs.iter().cloned().map(Var::constant).collect() };
    let value = |inputs: &[Tensor]| f(&constants(inputs)).value().to_f64();
    let x = leaves(inputs);
    let y = f(&x);
    close(&y.value().to_f64(), &value(inputs), 1e-13, &format!("{what}: value of constants"));
    let v: Vec<Tensor> = inputs.iter().zip(100..).map(|(input, seed)| random(seed, &input.shape())).collect();
    let w: Vec<Tensor> = inputs.iter().zip(200..).map(|(input, seed)| random(seed, &input.shape())).collect();
    let u = random(300, &y.shape());
    let vars: Vec<&Var> = x.iter().collect();
    let along = |v: &[Tensor]| -> Vec<(&Var, Var)> {
        x.iter().zip(v).map(|(x, v)| (x, Var::constant(v.clone()))).collect()
    };
    let zeros = |var: &Var| Var::constant(tensor(&vec![0.0; var.value().len()], &var.shape()));

    // First order.
    let differences = slope(|h| value(&moved(inputs, &v, h)));
    let mut cotangents = Vec::new();
    for order in [Order::Last, Order::Differentiable] {
        let jv = jvp(&[&y], &along(&v), order).remove(0).unwrap_or_else(|| zeros(&y));
        assert_eq!(jv.shape(), y.shape(), "{what}: shape of a tangent");
        assert!(order == Order::Differentiable || !jv.is_tracked(), "{what}: last tangents are not tracked");
        close(&jv.value().to_f64(), &differences, 1e-7, &format!("{what}: tangent, {order:?}"));
        let found = vjp(&[(&y, Var::constant(u.clone()))], &vars, order);
        let found: Vec<Var> = found.into_iter().zip(&x).map(|(g, x)| g.unwrap_or_else(|| zeros(x))).collect();
        for (g, x) in found.iter().zip(&x) {
            assert_eq!(g.shape(), x.shape(), "{what}: shape of a cotangent");
            assert!(
                order == Order::Differentiable || !g.is_tracked(),
                "{what}: last cotangents are not tracked"
            );
        }
        let back: f64 = found.iter().zip(&v).map(|(g, v)| dot(g.value(), v)).sum();
        close(&[back], &[dot(&u, jv.value())], 1e-10, &format!("{what}: transpose, {order:?}"));
        cotangents.push(flat(&found));
    }
    close(
        &cotangents[0],
        &cotangents[1],
        1e-10,
        &format!("{what}: the quick cotangent and the definition's"),
    );
    // One input at a time: the others are constants.
    for at in 0..inputs.len() {
        let mut alone = constants(inputs);
        alone[at] = x[at].clone();
        let y = f(&alone);
        let found = vjp(&[(&y, Var::constant(u.clone()))], &[&x[at]], Order::Last).remove(0);
        let found = found.unwrap_or_else(|| zeros(&x[at])).value().to_f64();
        let start: usize = inputs[..at].iter().map(Tensor::len).sum();
        let part = &cotangents[0][start..start + found.len()];
        close(&found, part, 1e-10, &format!("{what}: cotangent of input {at} alone"));
    }

    // Second order.
    let gradient = |inputs: &[Tensor]| {
        let x = leaves(inputs);
        flat(&grad(&objective(&f(&x)), &x.iter().collect::<Vec<_>>(), Order::Last))
    };
    let number = objective(&y);
    let hv = hvp(&number, &along(&v), Order::Last);
    let hw = hvp(&number, &along(&w), Order::Last);
    let differences = slope(|h| gradient(&moved(inputs, &v, h)));
    close(&flat(&hv), &differences, 1e-6, &format!("{what}: Hessian–vector product"));
    let (vhw, whv): (f64, f64) = (
        hw.iter().zip(&v).map(|(hw, v)| dot(hw.value(), v)).sum(),
        hv.iter().zip(&w).map(|(hv, w)| dot(hv.value(), w)).sum(),
    );
    close(&[vhw], &[whv], 1e-10, &format!("{what}: symmetry"));
    let first = grad(&number, &vars, Order::Differentiable);
    let mut projected = Var::constant(tensor(&[0.0], &[1]));
    for (g, v) in first.iter().zip(&v) {
        projected = projected.add(&g.mul(&Var::constant(v.clone())).sum());
    }
    let twice = grad(&projected, &vars, Order::Last);
    close(&flat(&twice), &flat(&hv), 1e-9, &format!("{what}: gradient of a gradient"));
}
