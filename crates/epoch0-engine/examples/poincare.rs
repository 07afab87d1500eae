//! Time of the Poincaré ball's operations, forward, and forward and backward.

use std::time::Instant;

use epoch0_engine::{Ball, Device, Moves, Order, Precision, Tensor, Var, grad};

fn noise(seed: u64, shape: &[usize], size: f64) -> Tensor {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / (1u64 << 30) as f64 - 1.0
    };
    let values = (0..shape.iter().product()).map(|_| size * next()).collect();
    Tensor::from_f64(values, shape, Precision::Single, &Device::cpu())
}

fn time(name: &str, n: usize, mut f: impl FnMut()) {
    f();
    let start = Instant::now();
    for _ in 0..n {
        f();
    }
    println!("{name:>28} {:8.2} ms", 1e3 * start.elapsed().as_secs_f64() / n as f64);
}

fn both(name: &str, inputs: &[Tensor], f: impl Fn(&[Var]) -> Var) {
    let constants: Vec<Var> = inputs.iter().cloned().map(Var::constant).collect();
    time(name, 5, || drop(f(&constants)));
    time(&format!("{name}, backward too"), 5, || {
        let leaves: Vec<Var> = inputs.iter().cloned().map(Var::leaf).collect();
        let y = f(&leaves).square().sum();
        drop(grad(&y, &leaves.iter().collect::<Vec<_>>(), Order::Last));
    });
}

fn main() {
    let ball = Ball::new(0.1).expect("a curvature");
    let x = noise(1, &[128, 8, 28, 28], 0.4);
    let z = noise(2, &[8, 8, 3, 3], 0.1);
    let r = noise(3, &[8], 0.1);
    let moves = Moves { stride: vec![1, 1], padding: vec![1, 1], dilation: vec![1, 1], groups: 1 };
    both("flat conv", &[x.clone(), z.clone()], |v| v[0].conv(&v[1], &moves));
    both("flat batch norm", &[x.clone(), r.clone(), r.clone()], |v| v[0].batch_norm(1e-5, &v[1], &v[2]));
    both("square", &[x.clone()], |v| v[0].square());
    let q = noise(6, &[128, 1, 28, 28], 0.4);
    let (cx, cq) = (Var::constant(x.clone()), Var::constant(q.clone()));
    time("sum over points", 20, || drop(cx.sum_keep(&[1])));
    time("times a number per point", 20, || drop(cx.mul(&cq)));
    time("times a number per channel", 20, || drop(cx.mul(&Var::constant(noise(1, &[1, 8, 1, 1], 1.0)))));
    time("times itself", 20, || drop(cx.mul(&cx)));
    time("asinh", 20, || drop(cx.asinh()));
    time("sinh", 20, || drop(cx.sinh()));
    time("small tanh", 20, || drop(cq.tanh()));
    time("small mul", 20, || drop(cq.mul(&cq)));
    let ones = noise(7, &[1, 1, 3, 3], 1.0);
    both("windows", &[q.clone(), ones.clone()], |v| v[0].conv(&v[1], &moves));
    both("windows alone", &[q.clone()], |v| v[0].conv(&Var::constant(ones.clone()), &moves));
    let w = epoch0_net::Window::square(3, 1, 1);
    both("windows pooled", &[q.clone()], |v| v[0].mean_pool(&w));
    both("small square", &[q.clone()], |v| v[0].square());
    both("linear part", &[x.clone(), q.clone(), noise(8, &[1, 8, 1, 1], 1.0)], |v| v[0].mul(&v[1]).mul(&v[2]));
    both("asinh", &[x.clone()], |v| v[0].asinh());
    both("clip", &[x.clone()], |v| v[0].clip(-40.0, 40.0));
    both("sinh", &[x.clone()], |v| v[0].sinh());
    both("point", &[x.clone(), q.clone()], |v| v[0].square().sum_keep(&[1]).mul(&v[1]));
    both("exp", &[x.clone()], |v| ball.exp(&v[0]));
    both("log", &[x.clone()], |v| ball.log(&v[0]));
    both("add", &[x.clone(), x.clone()], |v| ball.add(&v[0], &v[1]));
    both("conv", &[x.clone(), z, r.clone()], |v| ball.conv(&v[0], &v[1], Some(&v[2]), &moves, 0.33));
    both("midpoint", &[x.clone()], |v| ball.midpoint(&v[0]));
    both("frechet", &[x.clone()], |v| ball.frechet(&v[0], 1e-6).0);
    both("norm", &[x, noise(4, &[1], 1.0).clone(), r], |v| {
        let mean = ball.midpoint(&v[0]);
        ball.settle(&v[0], &mean, None, [&v[1].square(), &v[2]], 1e-6).0
    });
    let cloud = ball.exp(&Var::constant(noise(5, &[2048, 16], 0.8)));
    time("midpoint of 2048 × 16", 50, || drop(ball.midpoint(&cloud)));
    time("Fréchet mean of 2048 × 16", 50, || drop(ball.frechet(&cloud, 1e-6)));
}
