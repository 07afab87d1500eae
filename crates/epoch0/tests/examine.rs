//! What an examination says of starts whose fate theory knows.

use epoch0::engine::{Device, Precision};
use epoch0::method::reading::{Examination, Health};
use epoch0::net::zoo;
use epoch0::{Examining, Recipe, draw_weights, examine, matched_probe};

fn look(spec: &str, recipe: &str) -> Examination {
    let net = zoo::build(spec).unwrap();
    let recipe = Recipe::from_yaml("recipe", recipe).unwrap();
    let (precision, device) = (Precision::Single, Device::cpu());
    let weights = draw_weights(&net, &recipe, 3, precision, &device).unwrap();
    let probe = matched_probe(&net, &weights, Some(64), 3, precision, &device).unwrap();
    examine(&net, &weights, &probe, &Examining { seed: 3, ..Examining::default() }).unwrap()
}

/// A plain network of 100 weights, 300 wide.
fn deep(act: &str) -> String {
    let hidden = vec!["300"; 99].join("-");
    format!("mlp:300-{hidden}-10,act={act}")
}

fn rate(examination: &Examination, name: &str) -> f64 {
    examination.readings[0].quantity(name).unwrap()
}

#[test]
fn he_is_healthy_in_a_hundred_layers() {
    let found = look(&deep("relu"), "rules: [{role: bias, with: zeros}, {with: he_normal}]");
    assert_eq!(found.health, Health::Healthy, "{:?}", found.verdict);
    // E[q] stays; the logarithm of one network falls by about half of 5/width a layer.
    assert!((rate(&found, "forward_rate") - 1.0).abs() < 0.05, "{}", rate(&found, "forward_rate"));
}

#[test]
fn xavier_halves_the_signal_at_each_rectifier() {
    let found = look(&deep("relu"), "rules: [{role: bias, with: zeros}, {with: xavier_normal}]");
    assert_eq!(found.health, Health::Vanishing);
    // Half of the second moment passes a rectifier: the rate is 1/2 in both directions.
    assert!((rate(&found, "forward_rate") - 0.5).abs() < 0.025, "{}", rate(&found, "forward_rate"));
    assert!((rate(&found, "backward_rate") - 0.5).abs() < 0.025, "{}", rate(&found, "backward_rate"));
    let verdict = found.verdict.unwrap();
    // 2^-13 is above 1e-4 and 2^-14 below: the fifteenth weight is the first outside, or a neighbour of it.
    let depth = verdict.place.unwrap().depth.unwrap();
    assert!((13..=17).contains(&depth), "{depth}");
}

#[test]
fn twice_the_deviation_explodes() {
    let found = look(&deep("relu"), "rules: [{role: bias, with: zeros}, {with: normal, set: {std: 0.1633}}]");
    assert_eq!(found.health, Health::Exploding);
    assert!((rate(&found, "forward_rate") - 4.0).abs() < 0.2, "{}", rate(&found, "forward_rate"));
}

#[test]
fn tanh_follows_its_phase() {
    // σ_w² = 0.64 is ordered, σ_w² = 4 chaotic (Poole et al. 2016); deviations are σ_w / √300.
    let ordered = look(
        &deep("tanh"),
        "rules: [{with: normal, set: {std: 0.0462}}, {role: bias, with: normal, set: {std: 0.3}}]",
    );
    assert!(matches!(ordered.health, Health::Collapsed | Health::Vanishing), "{:?}", ordered.verdict);
    let chaotic =
        look(&deep("tanh"), "rules: [{role: bias, with: zeros}, {with: normal, set: {std: 0.1155}}]");
    assert_eq!(chaotic.health, Health::Chaotic, "{:?}", chaotic.verdict);
    assert!(rate(&chaotic, "sensitivity_rate") > 1.2);
}

#[test]
fn weights_that_are_not_numbers_are_broken() {
    let net = zoo::build("mlp:8-16-4").unwrap();
    let recipe = Recipe::from_yaml("recipe", "base: pytorch_default").unwrap();
    let (precision, device) = (Precision::Single, Device::cpu());
    let mut weights = draw_weights(&net, &recipe, 0, precision, &device).unwrap();
    let id = net.find("0.weight").unwrap();
    let mut values = weights.get(id).unwrap().to_f32();
    values[5] = f32::NAN;
    weights.set(id, epoch0::engine::Tensor::from_f32(values, &[16, 8], precision, &device));
    let probe = matched_probe(&net, &weights, None, 0, precision, &device).unwrap();
    let found = examine(&net, &weights, &probe, &Examining::default()).unwrap();
    assert_eq!(found.health, Health::Broken);
    assert!(!found.is_healthy());
}

#[test]
fn usual_starts_of_usual_networks_are_healthy() {
    for spec in
        ["lenet", "resnet20", "gpt:layers=2,heads=2,embed=32,vocab=100,positions=32", "vit_tiny,size=32"]
    {
        let found = look(spec, "base: pytorch_default");
        assert!(found.is_healthy(), "{spec}: {:?}", found.verdict);
    }
}
