//! CLIP: a tower for texts and one for images, both projected to one space and compared there.

use epoch0_net::{Builder, Linear, Network, NormKind, Op, Role, Site, ValueId, Window};
use epoch0_num::Law;
use serde_json::Value;

use super::encoder::{Layer, Names, head_dim};
use super::{Config, ConfigError, Family, MOST_LAYERS, usual_start};

pub(super) static FAMILY: Family = Family {
    model_type: "clip",
    architectures: &["CLIPModel"],
    ignored: &["initializer_factor"],
    build,
    start,
};

/// Keys of the parts without a say in shapes; the towers' own projections are those of other classes.
const IGNORED: &[&str] =
    &["attention_dropout", "dropout", "initializer_factor", "initializer_range", "projection_dim"];

static NAMES: Names = Names {
    query: "self_attn.q_proj",
    key: "self_attn.k_proj",
    value: "self_attn.v_proj",
    projection: "self_attn.out_proj",
    attention_norm: "layer_norm1",
    up: "mlp.fc1",
    down: "mlp.fc2",
    mlp_norm: "layer_norm2",
};

/// `text_config` or `vision_config`; in old configs the same with `_dict` goes before it.
fn part(config: &Config, name: &str) -> Result<Config, ConfigError> {
    let old = format!("{name}_dict");
    let _ = config.get(name);
    if config.get(&old).is_some_and(|value| !matches!(value, Value::Object(keys) if keys.is_empty())) {
        config.part(&old)
    } else {
        config.part(name)
    }
}

/// A tower's layers. What a part leaves out is the default of `transformers`: published parts are often short.
fn layers(part: &Config, default: [usize; 3], causal: bool) -> Result<(Layer, usize), ConfigError> {
    let embed = part.size_or("hidden_size", default[0])?;
    let heads = part.size_or("num_attention_heads", default[2])?;
    let layer = Layer {
        names: &NAMES,
        norm_first: true,
        embed,
        heads,
        head_dim: head_dim(part, ("hidden_size", embed), ("num_attention_heads", heads))?,
        inner: part.size_or("intermediate_size", default[1])?,
        act: part.activation_or("hidden_act", "quick_gelu")?,
        eps: part.number_or("layer_norm_eps", 1e-5)?,
        qkv_bias: true,
        causal,
    };
    Ok((layer, part.count_or("num_hidden_layers", 12, MOST_LAYERS)?))
}

const TEXT: [usize; 3] = [512, 2048, 8];
const VISION: [usize; 3] = [768, 3072, 12];

fn build(config: &Config, _: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let shared = config.size_or("projection_dim", 512)?;
    let _ = config.get("logit_scale_init_value");
    let images = vision(&part(config, "vision_config")?, b)?;
    let texts = text(&part(config, "text_config")?, b)?;
    let images = b.linear(images, "visual_projection", Linear::new(shared).bias(false));
    b.name_axis(images, -1, "projection");
    let texts = b.linear(texts, "text_projection", Linear::new(shared).bias(false));
    let images = b.unary(images, Op::UnitNorm);
    let texts = b.unary(texts, Op::UnitNorm);
    let scale = b.param("logit_scale", &[], Role::Scalar);
    let scale = b.unary(scale, Op::Exp);
    for (rows, columns, name) in [(images, texts, "logits_per_image"), (texts, images, "logits_per_text")] {
        let cosines = b.matmul_transposed(rows, columns);
        let logits = b.mul(&[cosines, scale]);
        b.output(logits, name);
    }
    b.output(texts, "text_embeds");
    b.output(images, "image_embeds");
    Ok(())
}

fn vision(part: &Config, b: &mut Builder) -> Result<ValueId, ConfigError> {
    let (layer, n_layers) = layers(part, VISION, false)?;
    let image = part.size_or("image_size", 224)?;
    let patch = part.size_or("patch_size", 32)?;
    let channels = part.size_or("num_channels", 3)?;
    part.refuse_unread("clip", IGNORED)?;

    let pixels = b.input("pixel_values", &[None, Some(channels), Some(image), Some(image)]);
    let name = |part: &str| format!("vision_model.embeddings.{part}");
    let class = b.param(&name("class_embedding"), &[layer.embed], Role::Token);
    b.name_axis(class, -1, "vision_model.embed");
    let window = Window::square(patch, patch, 0);
    let x = b.conv(pixels, &name("patch_embedding"), layer.embed, window, 1, false);
    let x = b.space_to_sequence(x);
    let x = b.concat(&[class, x], 1);
    let n_positions = b.size(x, 1).unwrap_or(0);
    // Stored as a table that is looked up at every position in order: the table itself.
    let places = b.param(&name("position_embedding.weight"), &[n_positions, layer.embed], Role::Position);
    let x = b.add(&[x, places]);
    let mut x = b.norm(x, "vision_model.pre_layrnorm", NormKind::Layer, layer.eps, true);
    for index in 0..n_layers {
        x = layer.add(b, x, &format!("vision_model.encoder.layers.{index}"));
    }
    let x = b.select(x, 0);
    Ok(b.norm(x, "vision_model.post_layernorm", NormKind::Layer, layer.eps, true))
}

fn text(part: &Config, b: &mut Builder) -> Result<ValueId, ConfigError> {
    let (layer, n_layers) = layers(part, TEXT, true)?;
    let vocab = part.size_or("vocab_size", 49408)?;
    let n_positions = part.size_or("max_position_embeddings", 77)?;
    let Some(end) = part.index_or("eos_token_id", Some(49407))? else {
        return Err(part.wrong("eos_token_id", "a word's index"));
    };
    part.refuse_unread("clip", IGNORED)?;

    let ids = b.index_input("input_ids", &[None, None]);
    let position_ids = b.index_input("position_ids", &[None, None]);
    let name = |part: &str| format!("text_model.embeddings.{part}");
    let words = b.embedding(ids, &name("token_embedding"), vocab, layer.embed, Role::Embedding, None);
    b.name_axis(words, -1, "text_model.embed");
    let places = b.embedding(
        position_ids,
        &name("position_embedding"),
        n_positions,
        layer.embed,
        Role::Position,
        None,
    );
    let mut x = b.add(&[words, places]);
    for index in 0..n_layers {
        x = layer.add(b, x, &format!("text_model.encoder.layers.{index}"));
    }
    let x = b.norm(x, "text_model.final_layer_norm", NormKind::Layer, layer.eps, true);
    // The first configs call the end 2, which it never was: there the largest word is the end.
    Ok(b.select_token(x, ids, (end != 2).then_some(end)))
}

/// Deviations by width and depth, each tower times a factor of its own.
fn start(config: &Config, _: &Network, site: &Site) -> Result<Law, ConfigError> {
    let width = |part: &Config, default: [usize; 3]| -> Result<f64, ConfigError> {
        Ok(part.size_or("hidden_size", default[0])? as f64)
    };
    let (text, vision) = (part(config, "text_config")?, part(config, "vision_config")?);
    let end = site.name.strip_suffix(".weight").unwrap_or(&site.name);
    let std = match end {
        "logit_scale" => {
            return Ok(Law::Constant { value: config.number_or("logit_scale_init_value", 2.6592)? });
        }
        "text_projection" => config.std_or("initializer_factor", 1.0)? / width(&text, TEXT)?.sqrt(),
        "visual_projection" => config.std_or("initializer_factor", 1.0)? / width(&vision, VISION)?.sqrt(),
        _ => {
            let is_text = site.name.starts_with("text_model.");
            let (part, default) = if is_text { (text, TEXT) } else { (vision, VISION) };
            let width = width(&part, default)?;
            let n_branches = 2.0 * part.size_or("num_hidden_layers", 12)? as f64;
            let std = match end.rsplit('.').next().unwrap_or_default() {
                "token_embedding" => 0.02,
                "position_embedding" if is_text => 0.02,
                "position_embedding" | "patch_embedding" => part.std_or("initializer_range", 0.02)?,
                "q_proj" | "k_proj" | "v_proj" | "fc2" => 1.0 / (width * n_branches).sqrt(),
                "fc1" => 1.0 / (2.0 * width).sqrt(),
                // The class token and the ends of attention.
                _ => 1.0 / width.sqrt(),
            };
            std * part.std_or("initializer_factor", 1.0)?
        }
    };
    Ok(usual_start(site, std))
}
