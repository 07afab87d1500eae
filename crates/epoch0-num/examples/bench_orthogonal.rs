//! Times `joint::orthogonal` and measures how orthogonal its matrices are.
//!
//! `bench_orthogonal ROWS COLS REPEATS THREADS [check]` prints a line of JSON for each of f32 and f64: the seconds of
//! each repeat and, with `check`, the largest difference of the Gram matrix from the identity, computed in f64.
#![expect(clippy::print_stdout, reason = "a program whose result is what it prints")]

use std::time::Instant;

use epoch0_num::Stream;
use epoch0_num::joint::{self, Float};
use rayon::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| -> Result<usize, Box<dyn std::error::Error>> {
        let text = args.get(i).ok_or("usage: bench_orthogonal ROWS COLS REPEATS THREADS [check]")?;
        Ok(text.parse()?)
    };
    let (rows, cols, repeats, threads) = (number(0)?, number(1)?, number(2)?, number(3)?);
    let check = args.get(4).is_some_and(|word| word == "check");
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    measure::<f32>(rows, cols, repeats, check)?;
    measure::<f64>(rows, cols, repeats, check)?;
    Ok(())
}

fn measure<T: Float>(rows: usize, cols: usize, repeats: usize, check: bool) -> Result<(), joint::JointError> {
    let mut out = vec![T::default(); rows * cols];
    let mut seconds = Vec::new();
    for repeat in 0..repeats {
        let stream = Stream::new(repeat as u64, "weight");
        let start = Instant::now();
        joint::orthogonal(&stream, rows, cols, 1.0, &mut out)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let deviation = if check { deviation(&out, rows, cols).to_string() } else { "null".to_owned() };
    println!(r#"{{"dtype": "{}", "seconds": {seconds:?}, "deviation": {deviation}}}"#, T::DTYPE);
    Ok(())
}

/// Largest difference of the shorter side's Gram matrix from the identity.
fn deviation<T: Float>(q: &[T], rows: usize, cols: usize) -> f64 {
    let (short, long) = (rows.min(cols), rows.max(cols));
    let vectors: Vec<f64> = (0..short * long)
        .map(|at| {
            let (i, k) = (at / long, at % long);
            if rows <= cols { q[i * cols + k] } else { q[k * cols + i] }.to_f64()
        })
        .collect();
    let vector = |i: usize| &vectors[i * long..][..long];
    let worst_of = |i: usize| {
        (0..=i).fold(0.0_f64, |worst, j| {
            let mut sums = [0.0; 8];
            for (a, b) in vector(i).chunks(8).zip(vector(j).chunks(8)) {
                sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
            }
            worst.max((sums.iter().sum::<f64>() - f64::from(u8::from(i == j))).abs())
        })
    };
    (0..short).into_par_iter().map(worst_of).reduce(|| 0.0, f64::max)
}
