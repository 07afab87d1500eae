//! ViT: an image cut into patches, a class token before them, and a pre-norm encoder.

use epoch0_net::{Builder, Linear, Network, NormKind, Role, Site, ValueId, Window};
use epoch0_num::Law;

use super::decoder::init_std;
use super::encoder::{Layer, Names};
use super::{Config, ConfigError, Family, MOST_LAYERS, usual_start};

pub(super) static FAMILY: Family = Family {
    model_type: "vit",
    architectures: &["ViTForImageClassification", "ViTModel"],
    ignored: IGNORED,
    build,
    start,
};

/// Keys without a say in shapes.
pub(super) const IGNORED: &[&str] = &[
    "attention_probs_dropout_prob",
    "encoder_stride",
    "hidden_dropout_prob",
    "pooler_act",
    "pooler_output_size",
];

static NAMES: Names = Names {
    query: "attention.attention.query",
    key: "attention.attention.key",
    value: "attention.attention.value",
    projection: "attention.output.dense",
    attention_norm: "layernorm_before",
    up: "intermediate.dense",
    down: "output.dense",
    mlp_norm: "layernorm_after",
};

/// Two sizes, height and width, given as a list or as one number for both.
pub(super) fn height_and_width(
    config: &Config,
    key: &str,
    default: usize,
) -> Result<[usize; 2], ConfigError> {
    if config.get(key).is_some_and(serde_json::Value::is_array) {
        let sizes = config.sizes(key, &[default; 2])?;
        return sizes.try_into().map_err(|_| config.wrong(key, "a size, or a list of height and width"));
    }
    Ok([config.size(key, default)?; 2])
}

/// Everything below the heads, DeiT's too: the class token, then `tokens` besides, then the patches.
pub(super) fn body(
    config: &Config,
    b: &mut Builder,
    root: &str,
    tokens: &[&str],
) -> Result<ValueId, ConfigError> {
    let embed = config.size("hidden_size", 768)?;
    let n_layers = config.count("num_hidden_layers", 12, MOST_LAYERS)?;
    let heads = config.size("num_attention_heads", 12)?;
    let image = height_and_width(config, "image_size", 224)?;
    let patch = height_and_width(config, "patch_size", 16)?;
    let eps = config.number_or("layer_norm_eps", 1e-12)?;
    let layer = Layer {
        names: &NAMES,
        norm_first: true,
        embed,
        heads,
        head_dim: config.size_or("head_dim", embed / heads)?,
        inner: config.size("intermediate_size", 3072)?,
        act: config.activation_or("hidden_act", "gelu")?,
        eps,
        qkv_bias: config.flag_or("qkv_bias", true)?,
        causal: false,
    };
    let channels = config.size_or("num_channels", 3)?;

    let pixels = b.input("pixel_values", &[None, Some(channels), Some(image[0]), Some(image[1])]);
    let window =
        Window { kernel: patch.to_vec(), stride: patch.to_vec(), padding: vec![0; 2], dilation: vec![1; 2] };
    let name = |part: &str| format!("{root}embeddings.{part}");
    let class = b.param(&name("cls_token"), &[1, 1, embed], Role::Token);
    b.name_axis(class, -1, "embed");
    let mut sequence = vec![class];
    for token in tokens {
        sequence.push(b.param(&name(token), &[1, 1, embed], Role::Token));
    }
    let x = b.conv(pixels, &name("patch_embeddings.projection"), embed, window, 1, true);
    sequence.push(b.space_to_sequence(x));
    let x = b.concat(&sequence, 1);
    let n_positions = b.size(x, 1).unwrap_or(0);
    let places = b.param(&name("position_embeddings"), &[1, n_positions, embed], Role::Position);
    let mut x = b.add(&[x, places]);
    for index in 0..n_layers {
        x = layer.add(b, x, &format!("{root}encoder.layer.{index}"));
    }
    Ok(b.norm(x, &format!("{root}layernorm"), NormKind::Layer, eps, true))
}

/// What the base class answers: all positions, and the first through one more layer.
pub(super) fn outputs(config: &Config, b: &mut Builder, hidden: ValueId) -> Result<(), ConfigError> {
    let embed = config.size("hidden_size", 768)?;
    let width = config.size_or("pooler_output_size", embed)?;
    let act = config.activation_or("pooler_act", "tanh")?;
    b.output(hidden, "last_hidden_state");
    let x = b.select(hidden, 0);
    let x = b.linear(x, "pooler.dense", Linear::new(width));
    let x = b.activation(x, act);
    b.output(x, "pooler_output");
    Ok(())
}

/// Logits of classes from one token.
pub(super) fn classify(
    config: &Config,
    b: &mut Builder,
    hidden: ValueId,
    token: i64,
    name: &str,
) -> Result<ValueId, ConfigError> {
    let x = b.select(hidden, token);
    Ok(b.linear(x, name, Linear::new(config.n_labels()?).role(Role::Readout)))
}

fn build(config: &Config, architecture: &str, b: &mut Builder) -> Result<(), ConfigError> {
    if architecture == "ViTModel" {
        let hidden = body(config, b, "", &[])?;
        return outputs(config, b, hidden);
    }
    let hidden = body(config, b, "vit.", &[])?;
    let logits = classify(config, b, hidden, 0, "classifier")?;
    b.output(logits, "logits");
    Ok(())
}

/// `initializer_range` throughout; the class token and the positions within ±2.
fn start(config: &Config, _: &Network, site: &Site) -> Result<Law, ConfigError> {
    let std = init_std(config)?;
    Ok(match site.role {
        Role::Token | Role::Position => Law::TruncatedNormal { mean: 0.0, std, low: -2.0, high: 2.0 },
        _ => usual_start(site, std),
    })
}
