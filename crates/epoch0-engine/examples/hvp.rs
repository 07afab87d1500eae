//! Times an exact Hessian-vector product beside a gradient: `hvp mlp|lenet|resnet18|gpt` prints JSON, in seconds.
//! `hvp_s` is a product on its own, `next_hvp_s` a further one of the same Hessian, as an iteration takes them.

#![expect(clippy::print_stdout, reason = "an example prints its figures")]

use std::time::Instant;

use epoch0_engine::curvature::Hessian;
use epoch0_engine::{
    Device, Elements, Error, Mode, Order, Precision, Tensor, Value, Var, Weights, grad, hvp, loss, run,
};
use epoch0_net::{Network, Role, zoo};
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
            _ if matches!(param.role, Role::NormScale | Role::RunningVar) => vec![1.0; param.len()],
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
    let once = time(|| Ok(hvp(&value()?, &pairs, Order::Last)))?;
    let hessian = Hessian::new(&value()?, &wrt);
    hessian.product(&direction);
    let again = time(|| Ok(hessian.product(&direction)))?;
    println!(
        r#"{{"network": "{spec}", "gradient_s": {gradient:.6}, "hvp_s": {once:.6}, "next_hvp_s": {again:.6}}}"#
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let image = |shape: &[usize]| {
        let values = normal("x", shape.iter().product(), 1.0);
        vec![Value::constant(Tensor::from_f32(values, shape, Precision::Single, &Device::cpu()))]
    };
    let labels = |number: i64, classes: i64| (0..number).map(|at| at % classes).collect::<Vec<i64>>();
    match std::env::args().nth(1).as_deref() {
        Some("mlp") | None => measure("mlp:784-512-512-10", &image(&[128, 784]), &labels(128, 10))?,
        Some("lenet") => measure("lenet", &image(&[128, 1, 28, 28]), &labels(128, 10))?,
        Some("resnet18") => measure("resnet18:size=64", &image(&[8, 3, 64, 64]), &labels(8, 1000))?,
        Some("gpt") => {
            let (n, length, vocabulary) = (4, 64, 1000);
            let words: Vec<i64> = (0..n * length).map(|at| (at * at * 31 + 7 * at) % vocabulary).collect();
            let shape = [n as usize, length as usize];
            let ids = Value::index(words.clone(), &shape).expect("a word for each place");
            let positions = Value::index(labels(n * length, length), &shape).expect("as many");
            measure("gpt:layers=4,heads=4,embed=128,vocab=1000,positions=64", &[ids, positions], &words)?;
        }
        Some(other) => return Err(format!("`{other}`: known are mlp, lenet, resnet18, gpt").into()),
    }
    Ok(())
}
