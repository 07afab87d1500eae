//! Time of an exact Hessian-vector product over that of a gradient.
//!
//! `cargo run --release -p epoch0-engine --example hvp`

#![expect(clippy::print_stdout, reason = "an example prints its figures")]

use std::time::Instant;

use epoch0_engine::curvature::Hessian;
use epoch0_engine::{
    Device, Elements, Error, Mode, Order, Precision, Tensor, Value, Var, Weights, grad, hvp, loss, run,
};
use epoch0_net::{Network, zoo};
use epoch0_num::{Law, Stream};

fn normal(name: &str, size: usize, std: f64) -> Vec<f32> {
    let mut values = vec![0.0; size];
    let law = Law::Normal { mean: 0.0, std };
    law.fill(&Stream::new(0, name), 0, &mut values).expect("a normal law can be drawn");
    values
}

/// The shortest of some runs, in seconds.
fn time<T>(mut work: impl FnMut() -> Result<T, Error>) -> Result<f64, Error> {
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let clock = Instant::now();
        work()?;
        best = best.min(clock.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn measure(spec: &str, inputs: &[Value], labels: &[i64]) -> Result<(), Error> {
    let network: Network = zoo::build(spec).expect("a network of the zoo");
    let weights = Weights::read::<Error>(&network, Precision::Single, &Device::cpu(), |_, param| {
        let fan: usize = param.shape.iter().skip(1).product();
        let values = match param.shape.len() {
            0 | 1 if param.name.contains("ln") && param.name.ends_with("weight") => vec![1.0; param.len()],
            0 | 1 => vec![0.0; param.len()],
            _ => normal(&param.name, param.len(), (1.0 / fan as f64).sqrt()),
        };
        Ok(Elements::Single(values))
    })?;
    let params = weights.leaves(&network);
    let wrt: Vec<&Var> = params.tracked().map(|(_, var)| var).collect();
    let direction: Vec<Tensor> = params
        .tracked()
        .map(|(id, var)| {
            let values = normal(&format!("direction {}", id.0), var.value().len(), 1.0);
            Tensor::from_f32(values, &var.shape(), Precision::Single, &Device::cpu())
        })
        .collect();
    let value = || -> Result<Var, Error> {
        let done = run(&network, &params, inputs, Mode::Eval, &mut |_| Ok(()))?;
        let logits = done.outputs[0].real().expect("logits");
        Ok(match logits.rank() {
            3 => loss::next_word(logits, labels)?.mean(),
            _ => loss::cross_entropy(logits, labels)?.mean(),
        })
    };
    let gradient = time(|| Ok(grad(&value()?, &wrt, Order::Last)))?;
    let pairs: Vec<(&Var, Var)> =
        wrt.iter().zip(&direction).map(|(var, direction)| (*var, Var::constant(direction.clone()))).collect();
    let forward = time(|| Ok(hvp(&value()?, &pairs, Order::Last)))?;
    let once = time(|| Ok(Hessian::new(&value()?, &wrt).product(&direction)))?;
    let hessian = Hessian::new(&value()?, &wrt);
    let again = time(|| Ok(hessian.product(&direction)))?;
    println!(
        r#"{{"network": "{spec}", "gradient_s": {gradient:.5}, "reverse_over_forward": {:.2}, "first_product": {:.2}, "next_product": {:.2}}}"#,
        forward / gradient,
        once / gradient,
        again / gradient
    );
    Ok(())
}

fn main() -> Result<(), Error> {
    let image = |name: &str, shape: &[usize]| {
        let values = normal(name, shape.iter().product(), 1.0);
        vec![Value::constant(Tensor::from_f32(values, shape, Precision::Single, &Device::cpu()))]
    };
    let labels: Vec<i64> = (0..128).map(|at| at % 10).collect();
    measure("mlp:784-512-512-10", &image("x", &[128, 784]), &labels)?;
    measure("lenet", &image("x", &[128, 1, 28, 28]), &labels)?;
    let (n, length, vocabulary) = (4, 64, 1000);
    let words: Vec<i64> = (0..n * length).map(|at| (at * at * 31 + 7 * at) % vocabulary).collect();
    let shape = [n as usize, length as usize];
    let ids = Value::index(words.clone(), &shape).expect("a word for each place");
    let positions = Value::index((0..n * length).map(|at| at % length).collect(), &shape).expect("as many");
    measure("gpt:layers=4,heads=4,embed=128,vocab=1000,positions=64", &[ids, positions], &words)
}
