//! Every public operation: its values, and its derivatives against differences and each other.

#![allow(clippy::cloned_ref_to_slice_refs, reason = "lists of inputs are written alike")]

mod harness;

use std::sync::Arc;

use epoch0_engine::{Device, Indices, Mask, Order, Tensor, Var, grad, hvp, jvp, vjp};
use epoch0_num::Activation;
use epoch0_num::graph::Propagation;
use harness::{check, close, distinct, noise, positive, random, tensor};
use proptest::prelude::*;

fn indices(values: &[i64], shape: &[usize]) -> Indices {
    Indices::new(values.to_vec(), shape, &Device::cpu())
}

fn mask(seed: u64, shape: &[usize]) -> Mask {
    let values = noise(seed, shape.iter().product()).into_iter().map(|x| x > 0.0).collect();
    Mask::new(values, shape, &Device::cpu())
}

/// Shapes of up to three dimensions, some of them one.
fn shapes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1usize..5, 1..4)
}

/// Two shapes that broadcast: either may lack dimensions in front or have ones.
fn pairs() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    let dims = prop::collection::vec((1usize..4, 0u8..4), 1..4);
    (dims, 0usize..3, any::<bool>()).prop_map(|(dims, lacks, swap)| {
        let a: Vec<usize> = dims.iter().map(|&(n, kind)| if kind == 1 { 1 } else { n }).collect();
        let b: Vec<usize> = dims.iter().map(|&(n, kind)| if kind == 2 { 1 } else { n }).collect();
        let b = b[lacks.min(b.len() - 1)..].to_vec();
        if swap { (b, a) } else { (a, b) }
    })
}

fn few() -> ProptestConfig {
    ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() }
}

/// A shape and one of its dimensions.
fn shape_and_dim() -> impl Strategy<Value = (Vec<usize>, usize)> {
    shapes().prop_flat_map(|shape| {
        let rank = shape.len();
        (Just(shape), 0..rank)
    })
}

/// Position in an array, dimension by dimension.
fn position(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut position = vec![0; shape.len()];
    for dim in (0..shape.len()).rev() {
        position[dim] = at % shape[dim];
        at /= shape[dim];
    }
    position
}

fn offset(position: &[usize], shape: &[usize]) -> usize {
    position.iter().zip(shape).fold(0, |at, (p, n)| at * n + p)
}

/// An element of an array that is broadcast to the rank of `position`.
fn broadcast_at(values: &[f64], shape: &[usize], position: &[usize]) -> f64 {
    let ahead = position.len() - shape.len();
    let own: Vec<usize> =
        shape.iter().zip(&position[ahead..]).map(|(&n, &p)| if n == 1 { 0 } else { p }).collect();
    values[offset(&own, shape)]
}

/// Elements of a result computed one by one from their positions.
fn by_position(shape: &[usize], f: impl Fn(&[usize]) -> f64) -> Vec<f64> {
    (0..shape.iter().product()).map(|at| f(&position(at, shape))).collect()
}

proptest! {
    #![proptest_config(few())]

    #[test]
    fn arithmetic((a, b) in pairs()) {
        let (x, y) = (random(1, &a), positive(2, &b));
        type Case = (&'static str, fn(&Var, &Var) -> Var, fn(f64, f64) -> f64);
        let cases: [Case; 4] = [
            ("add", Var::add, |x, y| x + y),
            ("sub", Var::sub, |x, y| x - y),
            ("mul", Var::mul, |x, y| x * y),
            ("div", Var::div, |x, y| x / y),
        ];
        for (name, f, host) in cases {
            check(name, &[x.clone(), y.clone()], |v| f(&v[0], &v[1]));
            let found = f(&Var::constant(x.clone()), &Var::constant(y.clone()));
            let (xs, ys) = (x.to_f64(), y.to_f64());
            let expected = by_position(&found.shape(), |at| host(broadcast_at(&xs, &a, at), broadcast_at(&ys, &b, at)));
            close(&found.value().to_f64(), &expected, 1e-14, name);
        }
        let (x, y) = (distinct(1, &a), random(3, &b));
        check("maximum", &[x.clone(), y.clone()], |v| v[0].maximum(&v[1].scale(0.01)));
        check("minimum", &[x.clone(), y.clone()], |v| v[0].minimum(&v[1].scale(0.01)));
        let found = Var::constant(x.clone()).maximum(&Var::constant(y.clone()));
        let (xs, ys) = (x.to_f64(), y.to_f64());
        let expected = by_position(&found.shape(), |at| broadcast_at(&xs, &a, at).max(broadcast_at(&ys, &b, at)));
        close(&found.value().to_f64(), &expected, 0.0, "maximum");
    }

    #[test]
    fn choices((a, b) in pairs(), (c, _) in pairs()) {
        // The mask's shape broadcasts with the others': it is one of theirs, or a row of it.
        let m = if c.len() > a.len() { b.clone() } else { a.clone() };
        let (x, y, choice) = (random(1, &a), random(2, &b), mask(3, &m));
        check("choose", &[x.clone(), y.clone()], |v| v[0].choose(&choice, &v[1]));
        check("fill", &[x.clone()], |v| v[0].fill(&mask(5, &a), 0.75));
        check("fill of a wider mask", &[y.clone()], |v| v[0].fill(&mask(5, &v[0].add(&Var::constant(x.clone())).shape()), 0.75));
        let found = Var::constant(x.clone()).choose(&choice, &Var::constant(y.clone()));
        let choice: Vec<f64> = choice.to_vec().into_iter().map(f64::from).collect();
        let (xs, ys) = (x.to_f64(), y.to_f64());
        let expected = by_position(&found.shape(), |at| {
            if broadcast_at(&choice, &m, at) > 0.0 { broadcast_at(&ys, &b, at) } else { broadcast_at(&xs, &a, at) }
        });
        close(&found.value().to_f64(), &expected, 0.0, "choose");
    }

    #[test]
    fn functions(shape in shapes()) {
        let (x, above) = (random(4, &shape), positive(5, &shape));
        type Case = (&'static str, fn(&Var) -> Var, fn(f64) -> f64);
        let anywhere: [Case; 10] = [
            ("neg", Var::neg, |x| -x),
            ("scale", |x| x.scale(-2.5), |x| -2.5 * x),
            ("add_scalar", |x| x.add_scalar(1.5), |x| x + 1.5),
            ("square", Var::square, |x| x * x),
            ("exp", Var::exp, f64::exp),
            ("sin", Var::sin, f64::sin),
            ("cos", Var::cos, f64::cos),
            ("tanh", Var::tanh, f64::tanh),
            ("erf", Var::erf, epoch0_num::special::erf),
            ("atan", Var::atan, f64::atan),
        ];
        let positive: [Case; 6] = [
            ("log", Var::log, f64::ln),
            ("sqrt", Var::sqrt, f64::sqrt),
            ("recip", Var::recip, f64::recip),
            ("cube", |x| x.powf(3.0), |x| x * x * x),
            ("powf", |x| x.powf(-1.7), |x| x.powf(-1.7)),
            ("abs", Var::abs, f64::abs),
        ];
        for (x, cases) in [(&x, &anywhere[..]), (&above, &positive[..])] {
            for (name, f, host) in cases {
                check(name, std::slice::from_ref(x), |v| f(&v[0]));
                let expected: Vec<f64> = x.to_f64().into_iter().map(host).collect();
                close(&f(&Var::constant(x.clone())).value().to_f64(), &expected, 1e-14, name);
            }
        }
        check("clip", &[distinct(6, &shape)], |v| v[0].clip(-0.4, 0.9));
    }

    #[test]
    fn moves((shape, dim) in shape_and_dim(), start in 0usize..4, length in 0usize..4, step in 1usize..4) {
        let x = random(7, &shape);
        let n = shape[dim];
        let (start, rank) = (start.min(n - 1), shape.len());
        let end = (start + length + 1).min(n);
        let xs = x.to_f64();
        let value = |f: &dyn Fn(&Var) -> Var| f(&Var::constant(x.clone()));

        let slice = |v: &Var| v.slice(dim, start, end, step);
        check("slice", &[x.clone()], |v| slice(&v[0]));
        let found = value(&slice);
        let expected = by_position(&found.shape(), |at| {
            let mut at = at.to_vec();
            at[dim] = start + at[dim] * step;
            xs[offset(&at, &shape)]
        });
        prop_assert_eq!(found.shape()[dim], (end - start).div_ceil(step));
        close(&found.value().to_f64(), &expected, 0.0, "slice");

        check("pad", &[x.clone()], |v| v[0].pad(dim, start, length));
        let found = value(&|v| v.pad(dim, start, length));
        let expected = by_position(&found.shape(), |at| {
            let mut at = at.to_vec();
            at[dim] = at[dim].wrapping_sub(start);
            if at[dim] < n { xs[offset(&at, &shape)] } else { 0.0 }
        });
        close(&found.value().to_f64(), &expected, 0.0, "pad");

        check("flip", &[x.clone()], |v| v[0].flip(dim));
        let found = value(&|v| v.flip(dim));
        let expected = by_position(&shape, |at| {
            let mut at = at.to_vec();
            at[dim] = n - 1 - at[dim];
            xs[offset(&at, &shape)]
        });
        close(&found.value().to_f64(), &expected, 0.0, "flip");

        check("cumulative sum", &[x.clone()], |v| v[0].cumulative_sum(dim));
        let found = value(&|v| v.cumulative_sum(dim));
        let expected = by_position(&shape, |at| {
            let mut at = at.to_vec();
            (0..=at[dim]).map(|p| { at[dim] = p; xs[offset(&at, &shape)] }).sum()
        });
        close(&found.value().to_f64(), &expected, 1e-14, "cumulative sum");

        let total = shape.iter().product();
        check("reshape", &[x.clone()], |v| v[0].reshape(&[1, total, 1]).square());
        let mut order: Vec<usize> = (0..rank).collect();
        order.rotate_left(start % rank);
        check("permute", &[x.clone()], |v| v[0].permute(&order).square());
        let found = value(&|v| v.permute(&order));
        let expected = by_position(&found.shape(), |at| {
            let mut from = vec![0; rank];
            order.iter().enumerate().for_each(|(to, &dim)| from[dim] = at[to]);
            xs[offset(&from, &shape)]
        });
        close(&found.value().to_f64(), &expected, 0.0, "permute");
        // Views of views.
        check("a slice of a flipped and permuted", &[x.clone()], |v| {
            let turned = v[0].flip(dim).permute(&order);
            let last = turned.shape()[rank - 1];
            turned.slice(rank - 1, 0, last, 2).exp().sum_keep(&[0])
        });
    }

    #[test]
    fn sums((a, b) in pairs()) {
        let whole = Var::constant(random(1, &a)).add(&Var::constant(random(1, &b))).shape();
        let (wide, narrow) = (random(8, &whole), random(9, &b));
        check("sum_to", &[wide.clone()], |v| v[0].sum_to(&b));
        check("expand", &[narrow.clone()], |v| v[0].expand(&whole).square());
        let xs = wide.to_f64();
        let found = Var::constant(wide.clone()).sum_to(&b).value().to_f64();
        let mut expected = vec![0.0; b.iter().product()];
        for (at, x) in xs.iter().enumerate() {
            let at = position(at, &whole);
            let own: Vec<usize> = b.iter().zip(&at[whole.len() - b.len()..]).map(|(&n, &p)| if n == 1 { 0 } else { p }).collect();
            expected[offset(&own, &b)] += x;
        }
        close(&found, &expected, 1e-13, "sum_to");
        let found = Var::constant(narrow.clone()).expand(&whole).value().to_f64();
        let ys = narrow.to_f64();
        close(&found, &by_position(&whole, |at| broadcast_at(&ys, &b, at)), 0.0, "expand");
        check("sum", &[wide.clone()], |v| v[0].sum());
        check("mean", &[wide.clone()], |v| v[0].mean());
        close(&[Var::constant(wide.clone()).mean().value().item()], &[xs.iter().sum::<f64>() / xs.len() as f64], 1e-14, "mean");
        let dims: Vec<usize> = (0..whole.len()).step_by(2).collect();
        check("mean_keep", &[wide], |v| v[0].mean_keep(&dims));
    }

    #[test]
    fn rows((shape, dim) in shape_and_dim(), seed in 0u64..1000, m in 1usize..6) {
        let x = random(10, &shape);
        let n = shape[dim] as f64;
        let draw = |count: usize| -> Vec<i64> {
            noise(seed, count).into_iter().map(|u| (f64::midpoint(u, 1.0) * n) as i64).collect()
        };
        let at = draw(m);
        let rows = indices(&at, &[m]);
        check("select", &[x.clone()], |v| v[0].select(dim, &rows));
        let xs = x.to_f64();
        let found = Var::constant(x.clone()).select(dim, &rows);
        let expected = by_position(&found.shape(), |p| {
            let mut p = p.to_vec();
            p[dim] = at[p[dim]] as usize;
            xs[offset(&p, &shape)]
        });
        close(&found.value().to_f64(), &expected, 0.0, "select");
        let mut picked = shape.clone();
        picked[dim] = m;
        check("select_add", &[random(11, &picked)], |v| v[0].select_add(dim, &rows, &shape));

        let at = draw(picked.iter().product());
        let index = indices(&at, &picked);
        check("gather", &[x.clone()], |v| v[0].gather(dim, &index));
        let found = Var::constant(x.clone()).gather(dim, &index);
        let expected = by_position(&picked, |p| {
            let from = at[offset(p, &picked)] as usize;
            let mut p = p.to_vec();
            p[dim] = from;
            xs[offset(&p, &shape)]
        });
        close(&found.value().to_f64(), &expected, 0.0, "gather");
        let parts = random(12, &picked);
        check("scatter_add", &[parts.clone()], |v| v[0].scatter_add(dim, &index, &shape));
        let found = Var::constant(parts.clone()).scatter_add(dim, &index, &shape).value().to_f64();
        let mut expected = vec![0.0; shape.iter().product()];
        for (k, part) in parts.to_f64().into_iter().enumerate() {
            let mut p = position(k, &picked);
            p[dim] = at[k] as usize;
            expected[offset(&p, &shape)] += part;
        }
        close(&found, &expected, 1e-14, "scatter_add");

        check("concat", &[x.clone(), random(13, &picked), x.clone()], |v| Var::concat(&[&v[0], &v[1], &v[2]], dim));
        let found = Var::concat(&[&Var::constant(x.clone()), &Var::constant(parts.clone())], dim);
        let ps = parts.to_f64();
        let expected = by_position(&found.shape(), |p| {
            let mut p = p.to_vec();
            if p[dim] < shape[dim] { return xs[offset(&p, &shape)] }
            p[dim] -= shape[dim];
            ps[offset(&p, &picked)]
        });
        close(&found.value().to_f64(), &expected, 0.0, "concat");
    }

    #[test]
    fn softmaxes((shape, dim) in shape_and_dim()) {
        let x = tensor(&noise(14, shape.iter().product()).iter().map(|x| 3.0 * x).collect::<Vec<_>>(), &shape);
        check("softmax", &[x.clone()], |v| v[0].softmax(dim));
        check("log_softmax", &[x.clone()], |v| v[0].log_softmax(dim));
        let xs = x.to_f64();
        let expected = by_position(&shape, |at| {
            let own = xs[offset(at, &shape)].exp();
            let mut at = at.to_vec();
            own / (0..shape[dim]).map(|p| { at[dim] = p; xs[offset(&at, &shape)].exp() }).sum::<f64>()
        });
        let x = Var::constant(x);
        close(&x.softmax(dim).value().to_f64(), &expected, 1e-14, "softmax");
        let logs: Vec<f64> = expected.iter().map(|p| p.ln()).collect();
        close(&x.log_softmax(dim).value().to_f64(), &logs, 1e-14, "log_softmax");
    }

    #[test]
    fn standardized(shape in shapes(), pattern in 1usize..8) {
        let dims: Vec<usize> = (0..shape.len()).filter(|dim| pattern >> dim & 1 == 1).collect();
        prop_assume!(!dims.is_empty());
        let x = random(15, &shape);
        let eps = 0.1;
        check("standardize", &[x.clone()], |v| v[0].standardize(&dims, eps));
        let xs = x.to_f64();
        let group = |at: &[usize]| -> Vec<f64> {
            let same = |other: &[usize]| (0..shape.len()).all(|dim| dims.contains(&dim) || at[dim] == other[dim]);
            (0..xs.len()).filter(|&k| same(&position(k, &shape))).map(|k| xs[k]).collect()
        };
        let expected = by_position(&shape, |at| {
            let group = group(at);
            let mean = group.iter().sum::<f64>() / group.len() as f64;
            let variance = group.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / group.len() as f64;
            (xs[offset(at, &shape)] - mean) / (variance + eps).sqrt()
        });
        close(&Var::constant(x).standardize(&dims, eps).value().to_f64(), &expected, 1e-13, "standardize");
    }

    #[test]
    fn normalized(shape in prop::collection::vec(1usize..5, 2..5), pattern in 1usize..8, seed in 0u64..100) {
        let dims: Vec<usize> = (0..shape.len()).filter(|dim| pattern >> dim & 1 == 1).collect();
        prop_assume!(!dims.is_empty());
        let x = random(seed, &shape);
        let rank = shape.len();
        // Scales of groups, of elements of groups, of whatever broadcasts.
        let only = |keep: &dyn Fn(usize) -> bool| -> Vec<usize> {
            (0..rank).map(|dim| if keep(dim) { shape[dim] } else { 1 }).collect()
        };
        let scales = [only(&|dim| !dims.contains(&dim)), only(&|dim| dims.contains(&dim)), only(&|dim| dim == 0), shape[rank - 1..].to_vec()];
        for scale in scales {
            let inputs = [x.clone(), random(seed + 1, &scale), random(seed + 2, &scale)];
            check("normalize", &inputs, |v| v[0].normalize(&dims, 0.1, &v[1], &v[2]));
            let [x, w, b] = inputs.map(Var::constant);
            let expected = x.standardize(&dims, 0.1).mul(&w).add(&b).value().to_f64();
            close(&x.normalize(&dims, 0.1, &w, &b).value().to_f64(), &expected, 1e-14, "normalize");
        }
        for dim in 0..rank {
            let n = [shape[dim]];
            let inputs = [x.clone(), random(seed + 1, &n), random(seed + 2, &n)];
            check("affine", &inputs, |v| v[0].affine(dim, &v[1], &v[2]));
        }
        let last = &shape[1..];
        check("layer_norm", &[x.clone(), random(1, last), random(2, last)], |v| v[0].layer_norm(0.1, &v[1], &v[2]));
        check("rms_norm", &[x.clone(), random(1, last)], |v| v[0].rms_norm(0.1, &v[1]));
        let n = [shape[1]];
        check("batch_norm", &[x.clone(), random(1, &n), random(2, &n)], |v| v[0].batch_norm(0.1, &v[1], &v[2]));
        let inputs = [x.clone(), random(1, &n), positive(2, &n), random(3, &n), random(4, &n)];
        check("batch_norm_eval", &inputs, |v| v[0].batch_norm_eval(0.1, &v[1], &v[2], &v[3], &v[4]));
    }

    #[test]
    fn products((left, right) in pairs(), m in 1usize..4, k in 1usize..5, n in 1usize..4, plain in 0u8..3) {
        let (mut a, mut b) = match plain {
            0 => (vec![], vec![]),
            1 => (left, vec![]),
            _ => (left, right),
        };
        a.extend([m, k]);
        b.extend([k, n]);
        let (x, y) = (random(16, &a), random(17, &b));
        check("matmul", &[x.clone(), y.clone()], |v| v[0].matmul(&v[1]));
        let found = Var::constant(x.clone()).matmul(&Var::constant(y.clone()));
        let (xs, ys) = (x.to_f64(), y.to_f64());
        let expected = by_position(&found.shape(), |at| {
            let (mut p, mut q) = (at.to_vec(), at.to_vec());
            let last = at.len() - 1;
            (0..k).map(|i| {
                (p[last], q[last - 1]) = (i, i);
                broadcast_at(&xs, &a, &p) * broadcast_at(&ys, &b, &q)
            }).sum()
        });
        close(&found.value().to_f64(), &expected, 1e-13, "matmul");
        let turned = Var::constant(y).swap(b.len() - 2, b.len() - 1);
        let found = Var::constant(x).matmul_transposed(&turned).value().to_f64();
        close(&found, &expected, 1e-13, "matmul_transposed");
    }

    #[test]
    fn networks(width in 1usize..6, batch in 1usize..4) {
        let inputs = [random(18, &[batch, width]), random(19, &[width, 4]), random(20, &[4]), random(21, &[4, 3])];
        check("a network", &inputs, |v| {
            let hidden = v[0].matmul(&v[1]).add(&v[2]).tanh();
            // One value with several readers.
            hidden.mul(&hidden.sigmoid()).matmul(&v[3]).log_softmax(1)
        });
    }
}

#[test]
fn activations() {
    let texts = [
        "relu",
        "leaky_relu(0.2)",
        "prelu",
        "elu(0.7)",
        "selu",
        "celu(1.3)",
        "gelu",
        "gelu_new",
        "quick_gelu",
        "silu",
        "mish",
        "softplus",
        "softplus(beta=3, threshold=2)",
        "softsign",
        "tanh",
        "sigmoid",
        "hardsigmoid",
        "hardswish",
        "hardtanh",
        "relu6",
        "relu_squared",
        "abs",
        "exp",
        "sine(3)",
        "gaussian(0.8)",
        "sinc",
        "sinc(2.5)",
        "wavelet",
        "wavelet(3,0.4)",
        "shifted_relu(0.6)",
        "soft_threshold(0.6)",
        "soft_threshold(0)",
        "crelu(0.6,1.7)",
        "cst(0.6,1.7)",
        "cst(0,1.7)",
        "identity",
        "expr:x*sigmoid(1.5*x)",
        "expr:max(x, 0.3*x) + min(x, 2) / (1 + exp(-x))",
        "expr:x^3 - 2^x + abs(x)",
        "expr:erf(x)*cosh(x/3) - sinh(x/4)*atan(x) + softplus(x)",
        "expr:relu(x)*sin(x) + tan(x/9) + log(x^2+1) + sqrt(x^2+1)",
        "expr:1.5",
        "expr:sign(x)*x",
    ];
    // Between the kinks of all of them, far outside too.
    let x: Vec<f64> = (-40..40).map(|k| f64::from(k) * 0.203 + 0.0713).collect();
    let x = tensor(&x, &[x.len()]);
    for text in texts {
        let activation: Activation = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        check(text, &[x.clone()], |v| v[0].activation(&activation));
        let leaf = Var::leaf(x.clone());
        let y = leaf.activation(&activation);
        let expected: Vec<f64> = x.to_f64().into_iter().map(|x| activation.value(x)).collect();
        close(&y.value().to_f64(), &expected, 1e-14, text);
        let slopes = grad(&y.sum(), &[&leaf], Order::Last).remove(0).value().to_f64();
        let expected: Vec<f64> = x.to_f64().into_iter().map(|x| activation.derivative(x)).collect();
        close(&slopes, &expected, 1e-13, &format!("{text}: slope"));
    }
}

/// At kinks derivatives are those that torch takes, whichever way they are found.
#[test]
fn kinks() {
    let x = tensor(&[0.0, -3.0, 3.0, 6.0, -1.0, 1.0], &[6]);
    for text in [
        "relu",
        "leaky_relu(0.2)",
        "elu",
        "selu",
        "celu",
        "hardsigmoid",
        "hardswish",
        "hardtanh",
        "relu6",
        "relu_squared",
        "abs",
        "sinc",
        "shifted_relu(3)",
        "shifted_relu(0)",
        "soft_threshold(3)",
        "soft_threshold(0)",
        "crelu(1,2)",
        "cst(1,2)",
        "cst(0,3)",
    ] {
        let activation: Activation = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        for order in [Order::Last, Order::Differentiable] {
            let leaf = Var::leaf(x.clone());
            let slopes =
                grad(&leaf.activation(&activation).sum(), &[&leaf], order).remove(0).value().to_f64();
            let expected: Vec<f64> = x.to_f64().into_iter().map(|x| activation.derivative(x)).collect();
            close(&slopes, &expected, 1e-14, &format!("{text}: {order:?}"));
        }
    }
}

/// Large numbers of either sign give no NaN, in value or derivative.
#[test]
fn far_out() {
    let x = tensor(&[-1e4, -800.0, -100.0, 100.0, 800.0, 1e4], &[6]);
    for text in [
        "gelu",
        "gelu_new",
        "quick_gelu",
        "silu",
        "mish",
        "softplus",
        "tanh",
        "sigmoid",
        "elu",
        "selu",
        "softsign",
        "gaussian",
        "sinc",
        "wavelet(2,0.5)",
        "cst(1,2)",
    ] {
        let activation: Activation = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        for order in [Order::Last, Order::Differentiable] {
            let leaf = Var::leaf(x.clone());
            let y = leaf.activation(&activation);
            let slopes = grad(&y.sum(), &[&leaf], order).remove(0).value().to_f64();
            let expected: Vec<f64> = x.to_f64().into_iter().map(|x| activation.derivative(x)).collect();
            close(&slopes, &expected, 1e-12, &format!("{text}: {order:?}"));
            let expected: Vec<f64> = x.to_f64().into_iter().map(|x| activation.value(x)).collect();
            close(&y.value().to_f64(), &expected, 1e-12, text);
        }
    }
    let x = Var::constant(tensor(&[1e4, -1e4, 0.0, f64::NEG_INFINITY], &[4]));
    close(&x.softmax(0).value().to_f64(), &[1.0, 0.0, 0.0, 0.0], 0.0, "softmax of large numbers");
}

/// Powers have every derivative at zero that is there.
#[test]
fn powers_at_zero() {
    let x = Var::leaf(tensor(&[0.0], &[1]));
    for (power, expected) in [(0.0, [0.0, 0.0]), (1.0, [1.0, 0.0]), (2.0, [0.0, 2.0]), (3.0, [0.0, 0.0])] {
        let first = grad(&x.powf(power), &[&x], Order::Differentiable).remove(0);
        let second = grad(&first.sum(), &[&x], Order::Last).remove(0);
        assert_eq!([first.value().item(), second.value().item()], expected, "x ^ {power}");
    }
}

/// The derivative of a trained network's loss by the step size and by the start.
#[test]
fn through_a_gradient_step() {
    let inputs = [random(22, &[3, 2]), random(23, &[2, 2]), tensor(&[0.3], &[1])];
    check("a gradient step", &inputs, |v| {
        let loss = |weight: &Var| v[0].matmul(weight).tanh().square().mean();
        // Weights are an intermediate value here, so that the step is part of the graph in every call.
        let weight = v[1].scale(1.0);
        let before = loss(&weight);
        if !before.is_tracked() {
            let weight = Var::leaf(weight.value().clone());
            let step = grad(&loss(&weight), &[&weight], Order::Last).remove(0);
            return loss(&weight.detach().sub(&step.mul(&v[2])));
        }
        let tracked = if weight.is_tracked() { weight } else { Var::leaf(weight.value().clone()) };
        let step = grad(&loss(&tracked), &[&tracked], Order::Differentiable).remove(0);
        loss(&tracked.sub(&step.mul(&v[2])))
    });
}

/// Third derivatives: of `x⁴` and of a softmax, against differences of Hessian–vector products.
#[test]
fn third_order() {
    let x = Var::leaf(tensor(&[1.5], &[1]));
    let mut y = x.powf(4.0);
    for expected in [4.0 * 1.5f64.powi(3), 12.0 * 1.5f64.powi(2), 24.0 * 1.5, 24.0] {
        y = grad(&y.sum(), &[&x], Order::Differentiable).remove(0);
        close(&[y.value().item()], &[expected], 1e-13, "derivatives of x⁴");
    }
    let at = random(24, &[2, 3]);
    let second = |at: Tensor| {
        let x = Var::leaf(at);
        let v = Var::constant(random(25, &[2, 3]));
        let number = x.softmax(1).square().sum();
        let curved = hvp(&number, &[(&x, v.clone())], Order::Differentiable).remove(0);
        let third = grad(&curved.mul(&v).sum(), &[&x], Order::Last).remove(0);
        (curved.mul(&v).sum().value().item(), third)
    };
    let third = second(at.clone()).1;
    let w = noise(26, 6);
    let h = 1e-4;
    let along = |h: f64| {
        let moved: Vec<f64> = at.to_f64().iter().zip(&w).map(|(x, w)| x + h * w).collect();
        second(tensor(&moved, &[2, 3])).0
    };
    let expected = (along(h) - along(-h)) / (2.0 * h);
    let found: f64 = third.value().to_f64().iter().zip(&w).map(|(g, w)| g * w).sum();
    close(&[found], &[expected], 1e-6, "third derivative of a softmax");
}

/// Derivatives by a value on the way, of several outputs, with the same variable twice.
#[test]
fn any_variables() {
    let x = Var::leaf(tensor(&[0.5, -0.25], &[2]));
    let hidden = x.exp();
    let (a, b) = (hidden.square(), hidden.add(&x));
    let one = |var: &Var| Var::constant(tensor(&[1.0, 1.0], &var.shape()));
    let found = vjp(&[(&a, one(&a)), (&b, one(&b))], &[&hidden, &x, &hidden], Order::Last);
    let found: Vec<Vec<f64>> = found.into_iter().map(|g| g.map_or(vec![], |g| g.value().to_f64())).collect();
    let e: Vec<f64> = [0.5f64, -0.25].iter().map(|x| x.exp()).collect();
    let by_hidden: Vec<f64> = e.iter().map(|e| 2.0 * e + 1.0).collect();
    let by_x: Vec<f64> = e.iter().map(|e| 2.0 * e * e + e + 1.0).collect();
    close(&found[0], &by_hidden, 1e-14, "by a value on the way");
    close(&found[1], &by_x, 1e-14, "by a leaf behind it");
    close(&found[2], &by_hidden, 1e-14, "asked twice");
    // Tangents of a value on the way replace what its inputs would give.
    let tangents = jvp(&[&a, &b, &x], &[(&hidden, one(&hidden)), (&x, one(&x))], Order::Last);
    let tangents: Vec<Vec<f64>> =
        tangents.into_iter().map(|t| t.map_or(vec![], |t| t.value().to_f64())).collect();
    close(&tangents[0], &e.iter().map(|e| 2.0 * e).collect::<Vec<_>>(), 1e-14, "tangent of a square");
    close(&tangents[1], &[2.0, 2.0], 1e-14, "tangent of a sum");
    close(&tangents[2], &[1.0, 1.0], 0.0, "tangent of a variable");
    // No way from one to the other.
    let other = Var::leaf(tensor(&[1.0], &[1]));
    assert!(vjp(&[(&a, one(&a))], &[&other], Order::Last)[0].is_none());
    assert!(jvp(&[&a], &[(&other, Var::constant(tensor(&[1.0], &[1])))], Order::Last)[0].is_none());
    assert_eq!(grad(&a.sum(), &[&other], Order::Last)[0].value().to_f64(), [0.0]);
    // The same value is both inputs.
    check("x x", &[random(27, &[3])], |v| v[0].mul(&v[0]));
    check("x / x²", &[positive(28, &[3])], |v| v[0].div(&v[0].mul(&v[0])));
    check("x xᵀ", &[random(29, &[3, 3])], |v| v[0].matmul(&v[0]));
    check("scale and shift in one", &[random(1, &[2, 3]), random(2, &[3])], |v| {
        v[0].layer_norm(0.1, &v[1], &v[1])
    });
    check("x scaled by x", &[random(3, &[3])], |v| v[0].affine(0, &v[0], &v[0].exp()));
    check("x beside x", &[random(30, &[3])], |v| Var::concat(&[&v[0], &v[0]], 0));
}

/// Dimensions of no elements, and no dimensions.
#[test]
fn empty_and_scalar() {
    let empty = [tensor(&[], &[0, 3])];
    type Case = (&'static str, fn(&Var) -> Var);
    let cases: [Case; 17] = [
        ("add", |x| x.add(x)),
        ("mul", |x| x.mul(&Var::constant(tensor(&[1.0, 2.0, 3.0], &[3])))),
        ("exp", Var::exp),
        ("tanh", Var::tanh),
        ("gelu", |x| x.activation(&Activation::Gelu)),
        ("relu", Var::relu),
        ("sum", Var::sum),
        ("sum_keep", |x| x.sum_keep(&[0])),
        ("sum_to", |x| x.sum_to(&[3])),
        ("softmax", |x| x.softmax(1)),
        ("log_softmax", |x| x.log_softmax(1)),
        ("standardize", |x| x.standardize(&[1], 1e-5)),
        ("permute", |x| x.permute(&[1, 0])),
        ("matmul", |x| x.matmul(&Var::constant(tensor(&[1.0; 6], &[3, 2])))),
        ("inner matmul", |x| x.swap(0, 1).matmul(x)),
        ("concat", |x| Var::concat(&[x, x], 0)),
        ("pad", |x| x.pad(0, 1, 1)),
    ];
    for (name, f) in cases {
        check(&format!("empty {name}"), &empty, |v| f(&v[0]));
    }
    assert_eq!(
        Var::constant(empty[0].clone()).swap(0, 1).matmul(&Var::constant(empty[0].clone())).value().to_f64(),
        [0.0; 9]
    );
    check("an empty slice", &[random(31, &[3, 2])], |v| v[0].slice(0, 1, 1, 1));
    check("no rows", &[random(31, &[3, 2])], |v| v[0].select(0, &indices(&[], &[0])));
    let scalar = [tensor(&[0.7], &[])];
    check("scalar", &scalar, |v| v[0].exp().mul(&v[0]).add_scalar(1.0).sum());
    check("scalar with a matrix", &[scalar[0].clone(), random(32, &[2, 2])], |v| v[0].mul(&v[1]).sub(&v[0]));
    check("scalar activation", &scalar, |v| v[0].activation(&Activation::Silu));
}

/// 100 000 operations deep: nothing recurses.
#[test]
fn deep() {
    let depth = 100_000;
    let x = Var::leaf(tensor(&[1.0], &[1]));
    let mut y = x.clone();
    for _ in 0..depth {
        y = y.add_scalar(1e-3);
    }
    assert_eq!(grad(&y, &[&x], Order::Last)[0].value().to_f64(), [1.0]);
    let one = Var::constant(tensor(&[1.0], &[1]));
    assert_eq!(jvp(&[&y], &[(&x, one)], Order::Last).remove(0).map(|t| t.value().item()), Some(1.0));
    let mut z = x.clone();
    for _ in 0..depth / 10 {
        z = z.mul(&x).scale(0.5).add_scalar(1.0);
    }
    let first = grad(&z, &[&x], Order::Differentiable).remove(0);
    assert!(first.is_tracked());
    assert!(grad(&first, &[&x], Order::Last)[0].value().item().is_finite());
}

#[test]
fn features_along_edges() {
    let edges = [0, 1, 2, 2, 3, 0, 1, 2, 0, 1, 2, 2];
    for by in [Propagation::Normalized, Propagation::Mean, Propagation::Sum { own: 1.5 }] {
        let operator = Arc::new(by.operator(5, &edges).unwrap());
        let x = random(21, &[5, 3]);
        check(by.name(), &[x.clone()], |v| v[0].propagate(&operator));
        let mut dense = vec![0.0; 25];
        operator
            .elements()
            .iter()
            .for_each(|&(row, column, value)| dense[(5 * row + column) as usize] += value);
        let expected = Var::constant(tensor(&dense, &[5, 5])).matmul(&Var::constant(x.clone()));
        let found = Var::constant(x).propagate(&operator);
        close(&found.value().to_f64(), &expected.value().to_f64(), 1e-15, by.name());
    }
}
