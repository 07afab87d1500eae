//! Laws against numbers worked out by hand from the formulas of torch, jax and keras.

use epoch0_init::METHODS;
use epoch0_net::Role;
use epoch0_num::{Dtype, Law};

use crate::nets::{conv, decoder, law, linear, over_default, plan, vit};

/// What a Gaussian truncated at ±2 keeps of its standard deviation: jax's and keras's constant.
const KEPT: f64 = 0.879_625_661_034_239_78;

fn close(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 1e-12, "{found} is not {expected}");
}

fn is_normal(law: Law, expected: f64) {
    let Law::Normal { mean, std } = law else { panic!("{law}") };
    assert_eq!(mean, 0.0);
    close(std, expected);
}

fn is_uniform(law: Law, bound: f64) {
    let Law::Uniform { low, high } = law else { panic!("{law}") };
    close(high, bound);
    assert_eq!(low, -high);
}

fn is_truncated(law: Law, std: f64, bound: f64) {
    let Law::TruncatedNormal { mean, std: found, low, high } = law else { panic!("{law}") };
    assert_eq!(mean, 0.0);
    close(found, std);
    close(high, bound);
    assert_eq!(low, -high);
}

#[test]
fn fans_of_a_linear_map() {
    let net = linear(64, 32, "relu", Dtype::F32);
    let of = |rule: &str| law(&net, &over_default(rule), "fc.weight");
    is_normal(of("with: xavier_normal"), (2.0 / 96.0_f64).sqrt());
    is_normal(of("with: xavier_normal, set: {gain: 2}"), 2.0 * (2.0 / 96.0_f64).sqrt());
    is_uniform(of("with: xavier_uniform"), 0.25);
    is_normal(of("with: he_normal"), (2.0 / 64.0_f64).sqrt());
    is_normal(of("with: he_normal, set: {mode: fan_out}"), 0.25);
    is_uniform(of("with: he_uniform"), (6.0 / 64.0_f64).sqrt());
    is_uniform(of("with: he_uniform, set: {activation: leaky_relu(2)}"), (3.0 * 0.4 / 64.0_f64).sqrt());
    is_truncated(of("with: lecun_normal"), 0.125 / KEPT, 0.25 / KEPT);
    is_uniform(of("with: lecun_uniform"), (3.0 / 64.0_f64).sqrt());
    is_normal(of("with: kumar"), (2.0 / 64.0_f64).sqrt());
    is_uniform(of("with: kumar, set: {activation: tanh, distribution: uniform}"), (3.0 / 64.0_f64).sqrt());
    is_normal(of("with: kumar, set: {activation: sigmoid, keep: pre}"), (1.0 / (64.0 * 0.3125_f64)).sqrt());
}

#[test]
fn fans_of_convolutions_are_those_of_one_group() {
    let net = conv(16, 32, 3, 1, Dtype::F32);
    let of = |rule: &str| law(&net, &over_default(rule), "conv.weight");
    is_normal(of("with: xavier_normal"), (2.0 / (144.0 + 288.0_f64)).sqrt());
    is_normal(of("with: he_normal"), (2.0 / 144.0_f64).sqrt());
    is_normal(of("with: he_normal, set: {mode: fan_out}"), (2.0 / 288.0_f64).sqrt());
    let grouped = conv(16, 32, 3, 4, Dtype::F32);
    is_uniform(law(&grouped, &over_default("with: xavier_uniform"), "conv.weight"), (6.0 / 108.0_f64).sqrt());
    // keras counts the outputs of all groups.
    is_uniform(law(&grouped, "base: keras_default", "conv.weight"), (6.0 / (36.0 + 288.0_f64)).sqrt());
    is_uniform(law(&grouped, "base: pytorch_default", "conv.weight"), 1.0 / 6.0);
    is_uniform(law(&grouped, "base: pytorch_default", "conv.bias"), 1.0 / 6.0);
}

#[test]
fn packed_attention_has_the_fans_of_its_parts() {
    let net = vit();
    is_normal(law(&net, &over_default("with: xavier_normal"), "blocks.0.qkv.weight"), 0.25);
}

#[test]
fn the_two_truncations_are_what_their_names_say() {
    let net = linear(64, 32, "relu", Dtype::F32);
    let of = |rule: &str| law(&net, &over_default(rule), "fc.weight");
    is_truncated(of("with: trunc_normal, set: {std: 0.02}"), 0.02, 2.0);
    is_truncated(of("with: trunc_normal_tf, set: {std: 0.02}"), 0.02, 0.04);
    close(of("with: trunc_normal_tf, set: {std: 0.02}").std(), 0.02 * KEPT);
    close(of("with: trunc_normal_tf, set: {std: 0.02, compensated: true}").std(), 0.02);
    is_truncated(of("with: trunc_normal_tf, set: {std: 0.02, compensated: true}"), 0.02 / KEPT, 0.04 / KEPT);
}

/// The table of defaults in linear maps, biases, tables: torch, Flax, keras.
#[test]
fn presets_are_the_frameworks_defaults() {
    let net = linear(64, 32, "relu", Dtype::F32);
    let words = decoder(false);
    is_uniform(law(&net, "base: pytorch_default", "fc.weight"), 0.125);
    is_uniform(law(&net, "base: pytorch_default", "fc.bias"), 0.125);
    is_normal(law(&words, "base: pytorch_default", "embed.weight"), 1.0);
    is_uniform(law(&net, "base: keras_default", "fc.weight"), 0.25);
    assert_eq!(law(&net, "base: keras_default", "fc.bias"), Law::ZEROS);
    assert_eq!(law(&words, "base: keras_default", "embed.weight"), Law::uniform(-0.05, 0.05));
    is_truncated(law(&net, "base: jax_default", "fc.weight"), 0.125 / KEPT, 0.25 / KEPT);
    assert_eq!(law(&net, "base: jax_default", "fc.bias"), Law::ZEROS);
    is_normal(law(&words, "base: jax_default", "embed.weight"), 0.25);
}

const PRESETS: [&str; 6] =
    ["pytorch_default", "keras_default", "jax_default", "timm_vit", "megatron", "olmo"];

#[test]
fn presets_cover_every_role_and_leave_norms_as_they_are() {
    let (vit, decoder) = (vit(), decoder(true));
    for preset in PRESETS {
        let base = format!("base: {preset}");
        for net in [&vit, &decoder] {
            assert_eq!(
                plan(net, &base).unwrap().sites().len(),
                net.sites().iter().filter(|s| s.is_own).count()
            );
        }
        let of = |param: &str| law(&vit, &base, param);
        assert_eq!(of("stem.weight"), Law::ONES, "{preset}");
        // This norm adds 1 to what is stored.
        assert_eq!(of("blocks.0.norm2.weight"), Law::ZEROS, "{preset}");
        assert_eq!(of("stem.running_mean"), Law::ZEROS, "{preset}");
        assert_eq!(of("stem.running_var"), Law::ONES, "{preset}");
        assert_eq!(of("stem.num_batches_tracked"), Law::ZEROS, "{preset}");
        assert_eq!(of("blocks.1.norm1.bias"), Law::ZEROS, "{preset}");
        // A factor of one under the exponential.
        assert_eq!(of("logit_scale"), Law::ZEROS, "{preset}");
        let scale = if preset == "timm_vit" { 1e-5 } else { 1e-6 };
        assert_eq!(of("blocks.0.ls1"), Law::constant(scale), "{preset}");
    }
}

#[test]
fn what_the_source_states_of_factors_is_kept() {
    let mut net = vit();
    net.set_native(|_, site| match site.role {
        Role::LayerScale => Some(Law::constant(0.1)),
        Role::Scalar => Some(Law::constant(2.6592)),
        _ => None,
    });
    for preset in PRESETS {
        let base = format!("base: {preset}");
        assert_eq!(law(&net, &base, "blocks.1.ls1"), Law::constant(0.1), "{preset}");
        assert_eq!(law(&net, &base, "logit_scale"), Law::constant(2.6592), "{preset}");
    }
}

#[test]
fn timm_starts_its_transformers_so() {
    let net = vit();
    let of = |param: &str| law(&net, "base: timm_vit", param);
    let narrow = Law::truncated(0.0, 0.02, -2.0, 2.0);
    for param in ["blocks.0.qkv.weight", "blocks.1.fc2.weight", "head.weight", "pos", "rel.weight"] {
        assert_eq!(of(param), narrow, "{param}");
    }
    assert_eq!(of("head.bias"), Law::ZEROS);
    assert_eq!(of("cls"), Law::normal(0.0, 1e-6));
    // torch's convolution: 3 · 8 · 8 inputs.
    is_uniform(of("patch.weight"), 1.0 / 192.0_f64.sqrt());
    is_uniform(of("patch.bias"), 1.0 / 192.0_f64.sqrt());
}

#[test]
fn free_parameters_have_keras_fans_of_their_shape() {
    let net = vit();
    is_uniform(law(&net, "base: keras_default", "pos"), (6.0 / (17.0 + 16.0_f64)).sqrt());
    is_uniform(law(&net, "base: keras_default", "cls"), (6.0 / (1.0 + 16.0_f64)).sqrt());
    assert_eq!(law(&net, "base: keras_default", "rel.weight"), Law::uniform(-0.05, 0.05));
    assert_eq!(law(&net, "base: pytorch_default", "cls"), Law::ZEROS);
    is_normal(law(&net, "base: jax_default", "rel.weight"), 0.5);
}

#[test]
fn megatron_narrows_the_ends_of_branches() {
    let net = decoder(false);
    let of = |param: &str| law(&net, "base: {with: megatron, set: {std: 0.01}}", param);
    // Two blocks of two branches each.
    for end in ["layers.0.o.weight", "layers.0.down.weight", "layers.1.0.down.weight"] {
        is_normal(of(end), 0.01 / 2.0);
    }
    for other in ["embed.weight", "head.weight", "layers.0.up.weight", "layers.1.router.weight"] {
        is_normal(of(other), 0.01);
    }
}

#[test]
fn olmo_narrows_with_the_blocks_number() {
    let net = decoder(false);
    let is = |param: &str, std: f64| is_truncated(law(&net, "base: olmo", param), std, 3.0 * std);
    for plain in ["layers.0.q", "layers.1.v", "layers.0.gate"] {
        is(&format!("{plain}.weight"), 0.02);
    }
    for first in ["layers.0.o", "layers.0.up", "layers.0.down"] {
        is(&format!("{first}.weight"), 0.02 / 2.0_f64.sqrt());
    }
    // The router and all of an expert's weights.
    for second in ["layers.1.o", "layers.1.0.gate", "layers.1.1.up", "layers.1.1.down", "layers.1.router"] {
        is(&format!("{second}.weight"), 0.01);
    }
    is("head.weight", 0.25);
    is_normal(law(&net, "base: olmo", "embed.weight"), 1.0);
    is_truncated(law(&decoder(true), "base: olmo", "embed.weight"), 0.25, 0.75);
    assert_eq!(law(&net, "base: {with: olmo, set: {std: 0}}", "layers.0.q.weight"), Law::ZEROS);
}

#[test]
fn hf_default_is_what_the_network_brought() {
    let mut net = linear(4, 4, "relu", Dtype::F32);
    let error = plan(&net, "base: hf_default").unwrap_err().to_string();
    assert!(error.starts_with("hf_default: fc.weight: ") && error.contains("\nhint: "), "{error}");
    net.set_native(|_, _| Some(Law::normal(0.0, 0.02)));
    assert_eq!(law(&net, "base: hf_default", "fc.weight"), Law::normal(0.0, 0.02));
}

#[test]
fn presets_are_for_everything_and_others_for_matrices() {
    let net = vit();
    for entry in METHODS {
        let covered = plan(&net, &format!("base: {}", entry.info.id));
        let preset = PRESETS.contains(&entry.info.id);
        assert_eq!(covered.is_ok(), preset, "{}", entry.info.id);
    }
}

#[test]
fn refusals_name_what_they_refuse() {
    let net = linear(64, 32, "gaussian", Dtype::F32);
    let error = |rule: &str| plan(&net, &over_default(rule)).unwrap_err().to_string();
    assert_eq!(error("with: trunc_normal, set: {low: 3}"), "trunc_normal: high is 2, allowed more than low");
    assert_eq!(
        error("with: trunc_normal_tf, set: {high: -5}"),
        "trunc_normal_tf: high is -5, allowed more than low"
    );
    assert_eq!(error("with: uniform, set: {low: 2}"), "uniform: high is 1, allowed low or more");
    assert!(
        error("with: trunc_normal, set: {std: 0}").starts_with("trunc_normal: std is 0, allowed a finite")
    );
    assert!(error("with: sparse, set: {sparsity: 1}").starts_with("sparse: sparsity is 1, allowed [0, 1)"));
    let kumar = error("with: kumar");
    assert!(kumar.starts_with("kumar: fc.weight: the first-order rule is undefined"), "{kumar}");
    assert_eq!(kumar.matches("hint: ").count(), 1, "{kumar}");
    assert!(error("match: fc.bias, with: orthogonal").contains("a bias has no inputs"));
    assert!(error("match: fc.bias, with: eye").contains("a bias has no inputs"));
    assert!(error("match: fc.weight, with: dirac").contains("use eye"));
    assert!(error("match: fc.weight, with: delta_orthogonal").contains("use orthogonal"));
    let net = conv(8, 4, 3, 1, Dtype::F32);
    let error = |rule: &str| plan(&net, &over_default(rule)).unwrap_err().to_string();
    assert!(error("match: conv.weight, with: eye").contains("use dirac"));
    assert!(error("match: conv.weight, with: delta_orthogonal").contains("4 output channels for 8 input"));
}
