//! What is drawn against what the law says.

use epoch0_init::start::Plan;
use epoch0_net::Network;
use epoch0_num::Dtype;

use crate::nets::{conv, linear, over_default, plan, vit};

fn draw(net: &Network, rule: &str, param: &str) -> Vec<f64> {
    let plan = plan(net, &over_default(rule)).unwrap();
    let (bytes, _) = plan.draw_whole(net.find(param).unwrap()).unwrap();
    match net.param(net.find(param).unwrap()).dtype {
        Dtype::F64 => bytes.chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        _ => bytes.chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect(),
    }
}

/// Largest difference of `rows rowsᵀ` from `square` times the identity.
fn off_orthogonal(rows: &[f64], width: usize, square: f64) -> f64 {
    let rows: Vec<_> = rows.chunks(width).collect();
    let mut worst: f64 = 0.0;
    for (i, a) in rows.iter().enumerate() {
        for (j, b) in rows.iter().enumerate() {
            let dot: f64 = a.iter().zip(*b).map(|(a, b)| a * b).sum();
            worst = worst.max((dot - if i == j { square } else { 0.0 }).abs());
        }
    }
    worst
}

/// Mean and variance of draws within five standard errors of the law's, given the law's fourth central moment.
fn moments_hold(plan: &Plan<'_>, param: &str, values: &[f64], fourth: f64) {
    let law = &plan.sites_of(plan.net().find(param).unwrap())[0].law;
    let (n, var) = (values.len() as f64, law.std() * law.std());
    let mean = values.iter().sum::<f64>() / n;
    let found = values.iter().map(|value| (value - law.mean()).powi(2)).sum::<f64>() / n;
    assert!((mean - law.mean()).abs() <= 5.0 * (var / n).sqrt(), "{law}: mean {mean}");
    assert!((found - var).abs() <= 5.0 * ((fourth - var * var) / n).sqrt(), "{law}: variance {found}");
    let (low, high) = law.support();
    assert!(values.iter().all(|value| (low..=high).contains(value)), "{law}: outside its support");
}

#[test]
fn orthogonal_rows_in_both_precisions() {
    for (dtype, tol) in [(Dtype::F32, 1e-5), (Dtype::F64, 1e-13)] {
        let net = linear(96, 64, "tanh", dtype);
        let drawn = draw(&net, "with: orthogonal, set: {gain: 3}", "fc.weight");
        assert!(off_orthogonal(&drawn, 96, 9.0) < tol);
    }
}

#[test]
fn every_group_has_a_matrix_of_its_own() {
    let net = conv(12, 8, 3, 2, Dtype::F64);
    let drawn = draw(&net, "with: orthogonal", "conv.weight");
    let (a, b) = drawn.split_at(drawn.len() / 2);
    for group in [a, b] {
        assert!(off_orthogonal(group, 6 * 9, 1.0) < 1e-13);
    }
    assert_ne!(a, b);
}

#[test]
fn packed_parts_are_orthogonal_each() {
    let drawn = draw(&vit(), "with: orthogonal", "blocks.0.qkv.weight");
    for part in drawn.chunks(16 * 16) {
        assert!(off_orthogonal(part, 16, 1.0) < 1e-5);
    }
}

#[test]
fn orthogonal_entries_have_the_moments_of_the_law() {
    let net = linear(256, 256, "tanh", Dtype::F32);
    let rule = "with: orthogonal, set: {gain: 2}";
    let drawn = draw(&net, rule, "fc.weight");
    // The sum of squares is exact, so entries are less variable than independent ones: a bound that still can fail.
    moments_hold(&plan(&net, &over_default(rule)).unwrap(), "fc.weight", &drawn, 48.0 / (256.0 * 258.0));
}

#[test]
fn delta_orthogonal_looks_at_the_centre_only() {
    let net = conv(8, 12, 3, 1, Dtype::F64);
    let drawn = draw(&net, "with: delta_orthogonal", "conv.weight");
    let off_centre = drawn.iter().enumerate().filter(|(at, _)| at % 9 != 4);
    assert!(off_centre.into_iter().all(|(_, &value)| value == 0.0));
    // Columns of the matrix at the centre.
    let columns: Vec<f64> =
        (0..8).flat_map(|i| (0..12).map(move |o| (o * 8 + i) * 9 + 4)).map(|at| drawn[at]).collect();
    assert!(off_orthogonal(&columns, 12, 1.0) < 1e-13);
    let plan = plan(&net, &over_default("with: delta_orthogonal")).unwrap();
    let var: f64 = drawn.iter().map(|value| value * value).sum::<f64>() / drawn.len() as f64;
    let law = &plan.sites_of(net.find("conv.weight").unwrap())[0].law;
    assert!((var / law.std().powi(2) - 1.0).abs() < 1e-12);
}

#[test]
fn identities_hand_their_input_on() {
    let net = linear(6, 4, "tanh", Dtype::F32);
    let drawn = draw(&net, "with: eye, set: {gain: -2}", "fc.weight");
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let y: Vec<f64> = drawn.chunks(6).map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect();
    assert_eq!(y, [-2.0, -4.0, -6.0, -8.0]);
    // The moments of a law without randomness are exact.
    let plan = plan(&net, &over_default("with: eye, set: {gain: -2}")).unwrap();
    let law = &plan.sites_of(net.find("fc.weight").unwrap())[0].law;
    let mean = drawn.iter().sum::<f64>() / 24.0;
    let var = drawn.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 24.0;
    assert!((law.mean() - mean).abs() < 1e-12 && (law.std().powi(2) - var).abs() < 1e-12);
    assert_eq!(law.support(), (-2.0, 0.0));
}

/// A grouped convolution, zero padded, over a 5 × 5 image.
fn convolve(weight: &[f64], image: &[Vec<f64>], n_out: usize, groups: usize) -> Vec<Vec<f64>> {
    const SIDE: isize = 5;
    let (per_in, per_out) = (image.len() / groups, n_out / groups);
    let at = |channel: &[f64], y: isize, x: isize| {
        let inside = (0..SIDE).contains(&y) && (0..SIDE).contains(&x);
        if inside { channel[(y * SIDE + x) as usize] } else { 0.0 }
    };
    let mut out = vec![vec![0.0; 25]; n_out];
    for (o, channel) in out.iter_mut().enumerate() {
        for (place, value) in channel.iter_mut().enumerate() {
            let (y, x) = (place as isize / SIDE, place as isize % SIDE);
            for i in 0..per_in {
                for tap in 0..9 {
                    let input = &image[o / per_out * per_in + i];
                    *value += weight[(o * per_in + i) * 9 + tap]
                        * at(input, y + tap as isize / 3 - 1, x + tap as isize % 3 - 1);
                }
            }
        }
    }
    out
}

#[test]
fn dirac_convolutions_hand_their_input_on_in_every_group() {
    let image: Vec<Vec<f64>> =
        (0..6).map(|channel| (0..25).map(|place| (channel * 100 + place) as f64).collect()).collect();
    for groups in [1, 2, 6] {
        let weight = draw(&conv(6, 6, 3, groups, Dtype::F32), "with: dirac", "conv.weight");
        assert_eq!(convolve(&weight, &image, 6, groups), image, "{groups} groups");
    }
    // Two outputs per group of three inputs: the first two of each come out.
    let weight = draw(&conv(6, 4, 3, 2, Dtype::F32), "with: dirac", "conv.weight");
    let kept = [0, 1, 3, 4].map(|channel: usize| image[channel].clone());
    assert_eq!(convolve(&weight, &image, 4, 2), kept);
}

#[test]
fn sparse_columns_have_equal_numbers_of_zeros() {
    let net = linear(512, 100, "tanh", Dtype::F32);
    let rule = "with: sparse, set: {sparsity: 0.333, std: 2}";
    let drawn = draw(&net, rule, "fc.weight");
    for column in 0..512 {
        let zeros = (0..100).filter(|row| drawn[row * 512 + column] == 0.0).count();
        assert_eq!(zeros, 34);
    }
    // A Gaussian's fourth moment, in the share that is left.
    moments_hold(&plan(&net, &over_default(rule)).unwrap(), "fc.weight", &drawn, 0.66 * 3.0 * 16.0);
}

#[test]
fn padding_row_stays_zero_under_every_preset() {
    let net = crate::nets::decoder(false);
    for preset in ["pytorch_default", "keras_default", "jax_default", "timm_vit", "megatron", "olmo"] {
        let plan = plan(&net, &format!("base: {preset}")).unwrap();
        let (bytes, _) = plan.draw_whole(net.find("embed.weight").unwrap()).unwrap();
        let row = 16 * 4;
        assert!(bytes[3 * row..4 * row].iter().all(|&byte| byte == 0), "{preset}");
        assert!(bytes[..row].iter().any(|&byte| byte != 0), "{preset}");
    }
}
