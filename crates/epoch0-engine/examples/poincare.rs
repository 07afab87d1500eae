//! What layers of the Poincaré ball take beside flat ones, and a midpoint beside a Fréchet mean: milliseconds.
//!
//! `cargo run --release -p epoch0-engine --example poincare`

#![expect(clippy::print_stdout, reason = "an example prints its figures")]
#![expect(clippy::cloned_ref_to_slice_refs, reason = "lists of inputs are written alike")]

use std::time::Instant;

use epoch0_engine::{Ball, Device, Moves, Order, Precision, Tensor, Var, grad};
use epoch0_num::{Law, Stream};

fn noise(name: &str, shape: &[usize], std: f64) -> Tensor {
    let mut values = vec![0.0; shape.iter().product()];
    let law = Law::Normal { mean: 0.0, std };
    law.fill(&Stream::new(0, name), 0, &mut values).expect("a normal law can be drawn");
    Tensor::from_f32(values, shape, Precision::Single, &Device::cpu())
}

/// The best of a few runs.
fn time(name: &str, mut run: impl FnMut()) {
    let mut once = || {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    let best = (0..10).map(|_| once()).fold(f64::INFINITY, f64::min);
    println!("{name:>36} {:8.2} ms", 1e3 * best);
}

fn both(name: &str, inputs: &[Tensor], run: impl Fn(&[Var]) -> Var) {
    let constants: Vec<Var> = inputs.iter().cloned().map(Var::constant).collect();
    time(name, || drop(run(&constants)));
    time(&format!("{name}, and backward"), || {
        let leaves: Vec<Var> = inputs.iter().cloned().map(Var::leaf).collect();
        let y = run(&leaves).square().sum();
        drop(grad(&y, &leaves.iter().collect::<Vec<_>>(), Order::Last));
    });
}

fn main() {
    let ball = Ball::new(0.1).expect("a curvature above 0");
    let x = noise("x", &[128, 8, 28, 28], 0.2);
    let (z, r) = (noise("z", &[8, 8, 3, 3], 0.1), noise("r", &[8], 0.1));
    let one = noise("one", &[1], 1.0);
    let moves = Moves { stride: vec![1, 1], padding: vec![1, 1], dilation: vec![1, 1], groups: 1 };
    both("flat convolution", &[x.clone(), z.clone()], |v| v[0].conv(&v[1], &moves));
    both("convolution", &[x.clone(), z, r.clone()], |v| ball.conv(&v[0], &v[1], Some(&v[2]), &moves, 0.33));
    both("flat batch normalization", &[x.clone(), r.clone(), r.clone()], |v| {
        v[0].batch_norm(1e-5, &v[1], &v[2])
    });
    for is_midpoint in [true, false] {
        let name = if is_midpoint { "midpoint" } else { "Fréchet" };
        both(&format!("{name} batch normalization"), &[x.clone(), one.clone(), r.clone()], |v| {
            let mean = if is_midpoint { ball.midpoint(&v[0]) } else { ball.frechet(&v[0], 1e-6).0 };
            ball.settle(&v[0], &mean, None, [&v[1].square(), &v[2]], 1e-6).0
        });
    }
    both("flat rectifier", &[x.clone()], |v| v[0].relu());
    both("rectifier", &[x.clone()], |v| ball.exp(&ball.log(&v[0]).relu()));
    both("flat sum", &[x.clone(), x.clone()], |v| v[0].add(&v[1]));
    both("sum", &[x.clone(), x], |v| ball.add(&v[0], &v[1]));
    let cloud = ball.exp(&Var::constant(noise("cloud", &[2048, 16], 0.5)));
    time("midpoint of 2048 × 16", || drop(ball.midpoint(&cloud)));
    time("Fréchet mean of 2048 × 16", || drop(ball.frechet(&cloud, 1e-6)));
}
