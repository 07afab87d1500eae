//! Times the fills and prints one line of JSON for each: minimum, median and all times in milliseconds.
//!
//! Arguments: elements (default 4096 × 4096), runs (default 9), threads (default 2), `f32` for only that type.

use std::hint::black_box;
use std::time::Instant;

use epoch0_num::{Element, Law, Stream};
use half::{bf16, f16};

fn time(name: &str, dtype: &str, runs: usize, mut run: impl FnMut()) {
    run();
    let mut times: Vec<f64> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    #[expect(clippy::print_stdout, reason = "the result of the program")]
    {
        println!(
            r#"{{"name": "{name}", "dtype": "{dtype}", "min_ms": {:.3}, "median_ms": {:.3}, "times_ms": {times:?}}}"#,
            times[0],
            times[runs / 2]
        );
    }
}

fn laws<T: Element>(elements: usize, runs: usize) {
    let stream = Stream::new(0, "benchmark");
    let mut buffer = vec![T::default(); elements];
    let dtype = T::DTYPE.to_string();
    for (name, law) in [
        ("normal", Law::normal(0.0, 0.02)),
        ("uniform", Law::uniform(-0.1, 0.1)),
        ("trunc_normal", Law::truncated(0.0, 1.0, -2.0, 2.0)),
        ("trunc_normal_wide", Law::truncated(0.0, 0.02, -2.0, 2.0)),
    ] {
        time(name, &dtype, runs, || {
            law.fill_par(&stream, 0, black_box(&mut buffer)).expect("the laws are valid");
        });
    }
}

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let get = |i: usize, default| arguments.get(i).copied().unwrap_or(default).max(1);
    let (elements, runs, threads) = (get(0, 4096 * 4096), get(1, 9), get(2, 2));
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .expect("the first pool of the process");

    let mut buffer = vec![1_f32; elements];
    time("memset", "f32", runs, || black_box(&mut buffer[..]).fill(0.0));
    let half = elements.div_ceil(threads);
    time("memset_threads", "f32", runs, || {
        rayon::scope(|scope| {
            for part in black_box(&mut buffer[..]).chunks_mut(half) {
                scope.spawn(move |_| part.fill(0.0));
            }
        });
    });
    drop(buffer);
    laws::<f32>(elements, runs);
    if std::env::args().any(|argument| argument == "f32") {
        return;
    }
    laws::<bf16>(elements, runs);
    laws::<f16>(elements, runs);
    laws::<f64>(elements, runs);
}
