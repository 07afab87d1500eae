//! The same bits for any number of threads.

mod harness;

use std::sync::Arc;

use epoch0_engine::{Device, Indices, Order, Precision, Tensor, Var, grad, hvp};
use epoch0_num::Activation;
use epoch0_num::graph::Propagation;
use harness::noise;

fn leaf(seed: u64, shape: &[usize], precision: Precision) -> Var {
    let n: usize = shape.iter().product();
    let scale = (3.0 / shape[shape.len() - 2..].iter().product::<usize>() as f64).sqrt();
    let values = noise(seed, n).into_iter().map(|x| x * scale).collect();
    Var::leaf(Tensor::from_f64(values, shape, precision, &Device::cpu()))
}

/// Values and derivatives of a network whose parts are large enough to be cut up for threads.
fn results(precision: Precision) -> Vec<Tensor> {
    let (batch, length, width) = (3, 65, 128);
    let words: Vec<i64> = (0..batch * length).map(|at| (at * 37 % 500) as i64).collect();
    let words = Indices::new(words, &[batch * length], &Device::cpu());
    let table = leaf(1, &[500, width], precision);
    let (up, down) = (leaf(2, &[width, 4 * width], precision), leaf(3, &[4 * width, width], precision));
    let qkv = leaf(4, &[width, 3 * width], precision);
    let ones = Var::leaf(table.value().full_like(1.0, &[width]));
    let zeros = Var::leaf(table.value().full_like(0.0, &[width]));

    let x = table.select(0, &words).reshape(&[batch, length, width]);
    let normed = x.layer_norm(1e-5, &ones, &zeros);
    let heads = normed.matmul(&qkv).reshape(&[batch, length, 3, 4, width / 4]).permute(&[2, 0, 3, 1, 4]);
    let part = |at: usize| heads.slice(0, at, at + 1, 1).reshape(&[batch, 4, length, width / 4]);
    let attended = part(0).matmul_transposed(&part(1)).scale(0.2).softmax(3).matmul(&part(2));
    let x = x.add(&attended.permute(&[0, 2, 1, 3]).reshape(&[batch, length, width]));
    let hidden = x.matmul(&up).activation(&Activation::GeluTanh);
    let logits = x.add(&hidden.matmul(&down)).reshape(&[batch * length, width]).matmul_transposed(&table);
    let picked = logits.log_softmax(1).gather(1, &words.reshape(&[batch * length, 1]));
    let loss = picked.mean().neg();
    let parameters = [&table, &up, &down, &qkv, &ones, &zeros];
    let mut all: Vec<Tensor> = vec![logits.value().clone(), loss.value().clone()];
    all.extend(grad(&loss, &parameters, Order::Last).iter().map(|g| g.value().clone()));
    let direction = Var::constant(up.value().clone());
    all.extend(hvp(&loss, &[(&up, direction)], Order::Last).iter().map(|g| g.value().clone()));
    all.push(logits.sum().value().clone());
    // A graph whose first nodes have most of the edges.
    let rows = 500i64;
    let sources = (0..6 * rows).map(|edge| edge % rows);
    let edges: Vec<i64> = sources.chain((0..6 * rows).map(|edge| (edge * edge) % (1 + edge % 90))).collect();
    let operator = Propagation::Mean.operator(rows as usize, &edges).expect("edges between nodes");
    let passed = table.propagate(&Arc::new(operator));
    all.push(passed.value().clone());
    all.extend(grad(&passed.square().sum(), &[&table], Order::Last).iter().map(|g| g.value().clone()));
    all.push(logits.sum_to(&[500]).value().clone());
    all
}

/// Bits of the results, computed in a pool of so many threads.
fn in_pool(threads: usize) -> Vec<Vec<u64>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool of threads");
    pool.install(|| {
        [Precision::Single, Precision::Double]
            .into_iter()
            .flat_map(results)
            .map(|tensor| tensor.to_f64().into_iter().map(f64::to_bits).collect())
            .collect()
    })
}

#[test]
fn any_number_of_threads() {
    let one = in_pool(1);
    for threads in [2, 3, 8] {
        let many = in_pool(threads);
        for (at, (one, many)) in one.iter().zip(&many).enumerate() {
            assert!(one == many, "result {at} differs between one thread and {threads}");
        }
    }
}
