//! The empirical neural tangent kernel of 256 examples with ten outputs each: seconds and the most memory used.
//!
//! `cargo run --release --example ntk -- mlp|lenet full|trace|pseudo`

#![expect(clippy::print_stdout, reason = "an example prints its figures")]

use std::time::Instant;

use epoch0_engine::kernel::Gram;
use epoch0_engine::taps::Taps;
use epoch0_engine::{Device, Elements, Error, Mode, Precision, Tensor, Value, Weights, ntk};
use epoch0_net::zoo;
use epoch0_num::{Law, Stream};

const EXAMPLES: usize = 256;

fn normal(name: &str, size: usize, std: f64) -> Vec<f32> {
    let mut values = vec![0.0; size];
    let law = Law::Normal { mean: 0.0, std };
    law.fill(&Stream::new(0, name), 0, &mut values).expect("a normal law can be drawn");
    values
}

/// The most memory that the process has held, where the system tells.
fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (spec, shape) = match args.next().as_deref() {
        Some("mlp") | None => ("mlp:784-512-512-10", vec![EXAMPLES, 784]),
        Some("lenet") => ("lenet", vec![EXAMPLES, 1, 28, 28]),
        Some(other) => return Err(format!("`{other}`: known are mlp, lenet").into()),
    };
    type Kernel = fn(&Taps<'_>, Option<&Taps<'_>>) -> Result<Gram, Error>;
    let (kind, kernel): (&str, Kernel) = match args.next().as_deref() {
        Some("full") | None => ("full", ntk::full),
        Some("trace") => ("trace", ntk::trace),
        Some("pseudo") => ("pseudo", ntk::pseudo),
        Some(other) => return Err(format!("`{other}`: known are full, trace, pseudo").into()),
    };
    let network = zoo::build(spec).expect("a network of the zoo");
    let weights = Weights::read::<Error>(&network, Precision::Single, &Device::cpu(), |_, param| {
        let fan: usize = param.shape.iter().skip(1).product();
        let std = if param.shape.len() > 1 { (2.0 / fan as f64).sqrt() } else { 0.0 };
        Ok(Elements::Single(normal(&param.name, param.len(), std)))
    })?;
    let params = weights.leaves(&network);
    let size = shape.iter().product();
    let input = Tensor::from_f32(normal("input", size, 1.0), &shape, Precision::Single, &Device::cpu());
    let (mut best, mut trace) = (f64::INFINITY, 0.0);
    for _ in 0..3 {
        let clock = Instant::now();
        let taps = Taps::record(&network, &params, &[Value::constant(input.clone())], Mode::Eval)?;
        trace = kernel(&taps, None)?.trace();
        best = best.min(clock.elapsed().as_secs_f64());
    }
    println!(
        r#"{{"network": "{spec}", "kind": "{kind}", "examples": {EXAMPLES}, "seconds": {best:.4}, "peak_rss_mb": {:.0}, "trace": {trace:.6e}}}"#,
        peak_mb().unwrap_or(f64::NAN)
    );
    Ok(())
}
