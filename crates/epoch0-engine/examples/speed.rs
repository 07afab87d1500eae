//! Times a network: forward, and forward with backward. `speed resnet18|gpt2|mlp|mlp_bn [REPETITIONS]` prints JSON; figures are
//! the least of all repetitions, in seconds.

use std::time::Instant;

use epoch0_engine::{Device, Elements, Error, Mode, Order, Precision, Tensor, Value, Weights, grad, run};
use epoch0_net::{Network, Role, zoo};
use epoch0_num::{Law, Stream};

fn weights(network: &Network) -> Result<Weights, Error> {
    let law = Law::Normal { mean: 0.0, std: 0.02 };
    Weights::read(network, Precision::Single, &Device::cpu(), |_, param| {
        let mut values = vec![0.0f32; param.len()];
        match param.role {
            Role::NormScale | Role::RunningVar => values.fill(1.0),
            role if role.is_matrix() || role == Role::Embedding || role == Role::Position => {
                law.fill(&Stream::new(0, &param.name), 0, &mut values).expect("a law in its range");
            }
            _ => {}
        }
        Ok(Elements::Single(values))
    })
}

fn images(shape: &[usize]) -> Value {
    let mut values = vec![0.0f32; shape.iter().product()];
    let law = Law::Normal { mean: 0.0, std: 1.0 };
    law.fill(&Stream::new(0, "images"), 0, &mut values).expect("a law in its range");
    Value::constant(Tensor::from_f32(values, shape, Precision::Single, &Device::cpu()))
}

fn words(batch: usize, positions: usize) -> Vec<Value> {
    let stream = Stream::new(0, "words");
    let words = (0..batch * positions).map(|at| stream.word(at as u64) as i64 % 50257).collect();
    let places = (0..batch).flat_map(|_| 0..positions as i64).collect();
    let index = |values| Value::index(values, &[batch, positions]).expect("a value for each position");
    vec![index(words), index(places)]
}

#[expect(clippy::print_stdout, reason = "its answer")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_else(|| "mlp".to_owned());
    let repetitions: usize = args.next().map_or(Ok(5), |text| text.parse())?;
    let (spec, inputs, mode) = match name.as_str() {
        "resnet18" => ("resnet18", vec![images(&[8, 3, 224, 224])], Mode::Eval),
        "gpt2" => ("gpt:vocab=50257,act=gelu_tanh", words(2, 128), Mode::Eval),
        "mlp" => ("mlp:784-512-512-10", vec![images(&[128, 784])], Mode::Eval),
        "mlp_bn" => ("mlp:784-512-512-10,norm=batch", vec![images(&[128, 784])], Mode::Train),
        other => return Err(format!("`{other}`: known are resnet18, gpt2, mlp, mlp_bn").into()),
    };
    let network = zoo::build(spec)?;
    let weights = weights(&network)?;
    let (mut forward, mut both) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..=repetitions {
        let begun = Instant::now();
        let constants = weights.constants();
        let outputs = run(&network, &constants, &inputs, mode, &mut |_| Ok(()))?.outputs;
        drop(outputs);
        forward = forward.min(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let leaves = weights.leaves(&network);
        let outputs = run(&network, &leaves, &inputs, mode, &mut |_| Ok(()))?.outputs;
        let sum = outputs[0].real().ok_or("real outputs")?.sum();
        let wrt: Vec<_> = leaves.tracked().map(|(_, var)| var).collect();
        let gradients = grad(&sum, &wrt, Order::Last);
        both = both.min(begun.elapsed().as_secs_f64());
        drop(gradients);
    }
    println!("{{\"forward_s\": {forward:.6}, \"forward_backward_s\": {both:.6}}}");
    Ok(())
}
