//! How long the operations that networks spend their time in take, forward and backward.
//!
//! `cargo run --release -p epoch0-engine --example kernels [name…]` prints a line for each: name, the best of several
//! runs in milliseconds forward, the same backward, and the rate forward. `benches/kernels.py` sets PyTorch's beside
//! them: with `--turns` a line is read after each operation before it goes on.

#![expect(clippy::print_stdout, reason = "its output")]

use std::time::Instant;

use epoch0_engine::{Device, Moves, Order, Precision, Tensor, Var, vjp};
use epoch0_num::{Activation, Law, Stream};

/// What a rate counts.
enum Work {
    Elements(usize),
    Products(usize),
}

type Map = dyn Fn(&[Var]) -> Var;

struct Case {
    name: String,
    inputs: Vec<Var>,
    run: Box<Map>,
    work: Work,
}

fn random(name: &str, shape: &[usize]) -> Var {
    let n: usize = shape.iter().product();
    let mut values = vec![0.0f32; n];
    let law = Law::Normal { mean: 0.0, std: 1.0 };
    law.fill(&Stream::new(0, name), 0, &mut values).expect("a normal law");
    Var::leaf(Tensor::from_f32(values, shape, Precision::Single, &Device::cpu()))
}

/// Seconds, the best of runs for about half a second.
fn best(mut run: impl FnMut()) -> f64 {
    run();
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    let mut runs = 0;
    while runs < 5 || (begin.elapsed().as_secs_f64() < 0.5 && runs < 1000) {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

fn case(name: &str, shapes: &[&[usize]], work: Work, run: impl Fn(&[Var]) -> Var + 'static) -> Case {
    let inputs =
        shapes.iter().enumerate().map(|(at, shape)| random(&format!("{name}.{at}"), shape)).collect();
    Case { name: name.to_owned(), inputs, run: Box::new(run), work }
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let shape = [256, 4096];
    let n = shape.iter().product();
    for name in [
        "relu",
        "gelu",
        "gelu_tanh",
        "silu",
        "tanh",
        "sigmoid",
        "hardswish",
        "relu6",
        "elu",
        "mish",
        "exp",
        "softplus",
    ] {
        let activation: Activation = name.parse().expect("an activation");
        all.push(case(name, &[&shape], Work::Elements(n), move |v| v[0].activation(&activation)));
    }
    all.push(case("erf", &[&shape], Work::Elements(n), |v| v[0].erf()));
    all.push(case("sin", &[&shape], Work::Elements(n), |v| v[0].sin()));
    all.push(case("add", &[&shape, &shape], Work::Elements(n), |v| v[0].add(&v[1])));
    all.push(case("mul", &[&shape, &shape], Work::Elements(n), |v| v[0].mul(&v[1])));
    all.push(case("bias", &[&shape, &[4096]], Work::Elements(n), |v| v[0].add(&v[1])));
    all.push(case("sum", &[&shape], Work::Elements(n), |v| v[0].sum()));
    all.push(case("softmax", &[&[24, 128, 128]], Work::Elements(24 * 128 * 128), |v| v[0].softmax(2)));
    all.push(case("log_softmax", &[&[256, 50257]], Work::Elements(256 * 50257), |v| v[0].log_softmax(1)));
    let layer = [256, 768];
    all.push(case("layer_norm", &[&layer, &[768], &[768]], Work::Elements(256 * 768), |v| {
        v[0].layer_norm(1e-5, &v[1], &v[2])
    }));
    let image = [8, 64, 56, 56];
    let n = image.iter().product();
    all.push(case("batch_norm", &[&image, &[64], &[64]], Work::Elements(n), |v| {
        v[0].batch_norm(1e-5, &v[1], &v[2])
    }));
    all.push(case("affine", &[&image, &[64], &[64]], Work::Elements(n), |v| v[0].affine(1, &v[1], &v[2])));
    for (m, k, n) in [(128, 784, 512), (256, 768, 3072), (256, 3072, 768), (256, 768, 50257)] {
        let name = format!("matmul {m} {k} {n}");
        all.push(case(&name, &[&[m, k], &[k, n]], Work::Products(m * k * n), |v| v[0].matmul(&v[1])));
    }
    let heads = 2 * 12;
    all.push(case(
        "attention",
        &[&[heads, 128, 64], &[heads, 128, 64]],
        Work::Products(heads * 128 * 64 * 128),
        |v| v[0].matmul_transposed(&v[1]),
    ));
    // Batch, channels in, channels out, size, kernel, stride, padding, groups: resnet18's, mobilenet's and a LeNet's.
    for (b, i, o, s, k, stride, p, groups) in [
        (8, 3, 64, 224, 7, 2, 3, 1),
        (8, 64, 64, 56, 3, 1, 1, 1),
        (8, 64, 128, 56, 3, 2, 1, 1),
        (8, 64, 128, 56, 1, 2, 0, 1),
        (8, 128, 128, 28, 3, 1, 1, 1),
        (8, 256, 256, 14, 3, 1, 1, 1),
        (8, 512, 512, 7, 3, 1, 1, 1),
        (8, 96, 24, 56, 1, 1, 0, 1),
        (8, 96, 96, 56, 3, 1, 1, 96),
        (8, 576, 576, 14, 3, 1, 1, 576),
        (8, 128, 128, 28, 3, 1, 1, 32),
        (64, 1, 6, 28, 5, 1, 2, 1),
        (1, 64, 64, 56, 3, 1, 1, 1),
    ] {
        let moves = Moves { stride: vec![stride; 2], padding: vec![p; 2], dilation: vec![1; 2], groups };
        let out = (s + 2 * p - k) / stride + 1;
        let products = b * o * out * out * (i / groups) * k * k;
        let name = format!("conv {b} {i} {o} {s} {k} {stride} {p} {groups}");
        let shapes: [&[usize]; 2] = [&[b, i, s, s], &[o, i / groups, k, k]];
        all.push(case(&name, &shapes, Work::Products(products), move |v| v[0].conv(&v[1], &moves)));
    }
    all.push(case("max_pool", &[&[8, 64, 112, 112]], Work::Elements(8 * 64 * 56 * 56), |v| {
        v[0].max_pool(&epoch0_net::Window::square(3, 2, 1), false)
    }));
    all
}

fn main() {
    let (turns, names): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|name| name == "--turns");
    println!("{:<28} {:>10} {:>10} {:>14}", "operation", "ms", "ms back", "rate");
    for case in cases() {
        if !names.is_empty() && !names.iter().any(|name| case.name.starts_with(name)) {
            continue;
        }
        let constants: Vec<Var> = case.inputs.iter().map(Var::detach).collect();
        let forward = best(|| {
            std::hint::black_box((case.run)(&constants));
        });
        let y = (case.run)(&case.inputs);
        let cotangent = random("cotangent", &y.shape()).detach();
        let wrt: Vec<&Var> = case.inputs.iter().collect();
        let backward = best(|| {
            std::hint::black_box(vjp(&[(&y, cotangent.clone())], &wrt, Order::Last));
        });
        let rate = match case.work {
            Work::Elements(n) => format!("{:.3} ns/element", forward * 1e9 / n as f64),
            Work::Products(n) => format!("{:.1} GFLOP/s", 2e-9 * n as f64 / forward),
        };
        println!("{:<28} {:>10.3} {:>10.3} {rate:>18}", case.name, forward * 1e3, backward * 1e3);
        if !turns.is_empty() && !matches!(std::io::stdin().read_line(&mut String::new()), Ok(1..)) {
            break;
        }
    }
}
