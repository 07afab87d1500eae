//! What the paper claims, as identities.

use std::f64::consts::TAU;

use epoch0_method::{Claim, ClaimKind, Error, Expectation, Verdict};
use epoch0_net::{Network, Window};
use epoch0_num::Stream;

use super::effects;
use crate::shared::experiment::{
    answers, built, draw_start, drawn, noise, off_identity, one_map, row_products,
};

pub(super) static CLAIMS: &[Claim] = &[
    Claim {
        name: "variance",
        text: "the variance of kernels of one to three dimensions, grouped and depthwise ones among them, is 2 / fan_in to a \
               millionth, and linear maps are orthogonal",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 1,
        expectation: Expectation::Holds,
        run: variance,
    },
    Claim {
        name: "spectra",
        text: "without noise the half-spectra of a filter's slices are orthonormal, where there are no more slices than \
               coefficients and each coefficient has a wave of its own",
        kind: ClaimKind::Law,
        budget_s: 1,
        seeds: 5,
        expectation: Expectation::Holds,
        run: spectra,
    },
    Claim {
        name: "cosines",
        text: "the mean cosine between six 3 × 3 slices of a filter is 0.1955 without noise and 0.2173 with it, as numpy's \
               transform has it, against 0.2734 for Gaussian ones, to 0.005; exact slices are orthogonal, and so are \
               depthwise filters",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 1,
        expectation: Expectation::Holds,
        run: cosines,
    },
    Claim {
        name: "noise_passes",
        text: "a convolution of 64 channels to 64 with 3 × 3 kernels gives white noise twice its variance, to 0.1",
        kind: ClaimKind::Law,
        budget_s: 5,
        seeds: 3,
        expectation: Expectation::Holds,
        run: noise_passes,
    },
    effects::LEARNS_FASTER,
];

/// One convolution, not the last, without padding.
fn one_conv(channels: usize, filters: usize, kernel: &[usize], groups: usize) -> Result<Network, Error> {
    let n_space = kernel.len();
    built(|b| {
        let dims: Vec<Option<usize>> =
            [None, Some(channels)].into_iter().chain(vec![Some(32); n_space]).collect();
        let x = b.input("x", &dims);
        let window = Window {
            kernel: kernel.to_vec(),
            stride: vec![1; n_space],
            padding: vec![0; n_space],
            dilation: vec![1; n_space],
        };
        let y = b.conv(x, "conv", filters, window, groups, false);
        b.output(y, "y");
    })
}

fn recipe(eps: f64, exact: bool) -> String {
    format!("base: {{with: convolution_aware, set: {{eps: {eps}, exact: {exact}}}}}")
}

fn variance_of(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n
}

fn variance() -> Result<Verdict, Error> {
    let kernels: [(usize, usize, &[usize], usize); 8] = [
        (6, 8, &[5], 1),
        (16, 8, &[3, 3], 1),
        (3, 8, &[4, 7], 1),
        (2, 8, &[3, 3, 3], 1),
        (1, 8, &[5, 5], 1),
        (8, 8, &[3, 3], 8),
        (16, 16, &[3, 2], 2),
        (64, 2, &[3, 3], 1),
    ];
    let mut worst = 0.0f64;
    for exact in [false, true] {
        for (channels, filters, kernel, groups) in kernels {
            let net = one_conv(channels, filters, kernel, groups)?;
            let weight = drawn(&net, &recipe(0.05, exact), 0, "conv.weight")?;
            let fan_in = (channels / groups * kernel.iter().product::<usize>()) as f64;
            // Groups are kernels of their own, but for those of one channel.
            let n_kernels = if channels == groups { 1 } else { groups };
            for kernel in weight.chunks(weight.len() / n_kernels) {
                worst = worst.max((variance_of(kernel) * fan_in / 2.0 - 1.0).abs());
            }
        }
    }
    let linear = drawn(&one_map(24, 16)?, &recipe(0.05, false), 0, "fc.weight")?;
    let off = off_identity(&row_products(&linear, 24), 1.0);
    let mut verdict = Verdict::at_most(worst, 1e-6).detail(format!("a linear map is {off:.1e} off"));
    verdict.holds &= off <= 1e-5;
    Ok(verdict)
}

/// Spectra are those of a discrete Fourier transform done by hand. In one dimension every coefficient has its own wave.
fn spectra() -> Result<Verdict, Error> {
    let mut worst = 0.0f64;
    for (channels, taps) in [(4, 7), (3, 8), (2, 3), (4, 9)] {
        let net = one_conv(channels, 6, &[taps], 1)?;
        for seed in 0..5 {
            let weight = drawn(&net, &recipe(0.0, false), seed, "conv.weight")?;
            let n = taps / 2 + 1;
            for filter in weight.chunks(channels * taps) {
                let spectrum = |slice: &[f64], turn: fn(f64) -> f64| -> Vec<f64> {
                    let wave = |f: usize, at: usize| turn(TAU * (f * at) as f64 / taps as f64);
                    let of = |f: usize| slice.iter().enumerate().map(|(at, w)| w * wave(f, at)).sum();
                    (0..n).map(of).collect()
                };
                let real: Vec<f64> =
                    filter.chunks(taps).flat_map(|slice| spectrum(slice, f64::cos)).collect();
                let products = row_products(&real, n);
                let square = products.at(0, 0);
                worst = worst.max(off_identity(&products, square) / square);
                let imaginary = filter.chunks(taps).flat_map(|slice| spectrum(slice, f64::sin));
                worst = imaginary.map(|part| part.abs() / square.sqrt()).fold(worst, f64::max);
            }
        }
    }
    Ok(Verdict::at_most(worst, 1e-6))
}

/// Mean of the cosines between slices of a filter, without their signs.
fn mean_cosine(weight: &[f64], channels: usize, taps: usize) -> f64 {
    let (mut sum, mut n) = (0.0, 0);
    for filter in weight.chunks(channels * taps) {
        let products = row_products(filter, taps);
        for (one, other) in (0..channels).flat_map(|one| (0..one).map(move |other| (one, other))) {
            sum +=
                (products.at(one, other) / (products.at(one, one) * products.at(other, other)).sqrt()).abs();
            n += 1;
        }
    }
    sum / f64::from(n)
}

fn cosines() -> Result<Verdict, Error> {
    const FILTERS: usize = 2000;
    let net = one_conv(6, FILTERS, &[3, 3], 1)?;
    let of_start = |recipe: &str| Ok::<_, Error>(mean_cosine(&drawn(&net, recipe, 0, "conv.weight")?, 6, 9));
    let found =
        [of_start(&recipe(0.0, false))?, of_start(&recipe(0.05, false))?, of_start("base: he_normal")?];
    let exact = of_start(&recipe(0.05, true))?;
    let depthwise = drawn(&one_conv(9, 9, &[3, 3], 9)?, &recipe(0.05, true), 0, "conv.weight")?;
    let depthwise = mean_cosine(&depthwise, 9, 9);
    let off = found
        .iter()
        .zip([0.1955, 0.2173, 0.2734])
        .map(|(found, wanted)| (found - wanted).abs())
        .fold(0.0, f64::max);
    let mut verdict = Verdict::at_most(off, 0.005).detail(format!(
        "without noise {:.4}, with it {:.4}, Gaussian {:.4}, exact {exact:.1e}, exact depthwise filters {depthwise:.1e}",
        found[0], found[1], found[2]
    ));
    verdict.holds &= exact <= 1e-6 && depthwise <= 1e-6;
    Ok(verdict)
}

/// Images of waves of all directions, weaker by the inverse of their frequency.
fn smooth(shape: &[usize; 4], seed: u64) -> Vec<f64> {
    let side = shape[3];
    let stream = Stream::new(seed, "phases");
    let waves: Vec<(i32, i32)> =
        (0..8).flat_map(|u| (-8..8).map(move |v| (u, v))).filter(|wave| *wave != (0, 0)).collect();
    let mut values = vec![0.0; shape.iter().product()];
    for (image, pixels) in values.chunks_mut(side * side).enumerate() {
        for (nth, &(u, v)) in waves.iter().enumerate() {
            let phase = f64::from(stream.word((image * waves.len() + nth) as u64)) / 2f64.powi(32);
            for (at, pixel) in pixels.iter_mut().enumerate() {
                let turns =
                    (f64::from(u) * (at / side) as f64 + f64::from(v) * (at % side) as f64) / side as f64;
                *pixel += (TAU * (turns + phase)).cos() / f64::from(u * u + v * v).sqrt();
            }
        }
    }
    values
}

fn noise_passes() -> Result<Verdict, Error> {
    let net = one_conv(64, 64, &[3, 3], 1)?;
    let shape = [2, 64, 32, 32];
    let white = noise(&net, &shape, 0)?;
    let tensor = |values: Vec<f64>| {
        use epoch0_engine::{Device, Precision, Tensor, Value};
        Value::constant(Tensor::from_f64(values, &shape, Precision::Double, &Device::cpu()))
    };
    let images = tensor(smooth(&shape, 0));
    let mut worst = 0.0f64;
    let mut details = Vec::new();
    for (name, start) in
        [("convolution_aware", recipe(0.05, false)), ("he_normal", "base: he_normal".to_owned())]
    {
        for seed in 0..3 {
            let weights = draw_start(&net, &start, seed)?;
            let mut ratios = Vec::new();
            for input in [&white, &images] {
                let given = input.real().map(|input| input.value().to_f64()).unwrap_or_default();
                ratios.push(variance_of(&answers(&net, &weights, input)?) / variance_of(&given));
            }
            if name == "convolution_aware" {
                worst = worst.max((ratios[0] - 2.0).abs());
            }
            details.push(format!("{name}: white noise {:.3}, smooth images {:.3}", ratios[0], ratios[1]));
        }
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 0.1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_hold() {
        for claim in CLAIMS.iter().filter(|claim| claim.kind == ClaimKind::Law) {
            let verdict = (claim.run)().unwrap();
            assert!(verdict.holds, "{}: {verdict:?}", claim.name);
        }
    }

    #[test]
    fn kernels_of_one_tap_are_orthogonal() {
        let weight =
            drawn(&one_conv(8, 4, &[1, 1], 1).unwrap(), &recipe(0.0, false), 0, "conv.weight").unwrap();
        assert!(off_identity(&row_products(&weight, 8), 2.0) < 1e-5);
    }
}
