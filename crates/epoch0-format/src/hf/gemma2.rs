//! Gemma 2: Llama with norms before and after each branch, whose scales are stored less one, words scaled by
//! √hidden, capped logits, and a sliding window in every other layer.

use epoch0_net::{Builder, Network, Role, Site};
use epoch0_num::Law;

use super::decoder::{self, DEFAULTS, Decoder, Defaults};
use super::{Config, ConfigError, Family};

pub(super) static FAMILY: Family = Family {
    model_type: "gemma2",
    architectures: &[
        "Gemma2ForCausalLM",
        "Gemma2Model",
        "Gemma2ForSequenceClassification",
        "Gemma2ForTokenClassification",
    ],
    ignored: &[
        "attention_dropout",
        "cache_implementation",
        "classifier_dropout",
        // The first configs had both; `hidden_activation` is what runs.
        "hidden_act",
        "hidden_dropout",
        "max_position_embeddings",
    ],
    build,
    start,
};

fn build(config: &Config, architecture: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let defaults = Defaults {
        vocab: 256000,
        hidden: 2304,
        inner: 9216,
        layers: 26,
        heads: 8,
        kv_heads: Some(4),
        head_dim: Some(256),
        act: ("hidden_activation", "gelu_pytorch_tanh"),
        padding: Some(0),
        is_tied: true,
        ..DEFAULTS
    };
    let decoder = Decoder::read(config, &defaults)?;
    decoder::whole_heads(config, decoder.hidden, decoder.heads)?;
    if config.flag_or("use_bidirectional_attention", false)? {
        let allowed = "false or null\nhint: whether `transformers` then sees ahead depends on its attention \
                       kernel, so the network is not decided by its config";
        return Err(config.wrong("use_bidirectional_attention", allowed));
    }
    let scalar = config.number_or("query_pre_attn_scalar", 256.0)?;
    if scalar <= 0.0 {
        return Err(config.wrong("query_pre_attn_scalar", "a number above 0"));
    }
    let has_bias = config.flag_or("attention_bias", false)?;
    let window = config.nullable_size("sliding_window", Some(4096))?;
    Decoder {
        qkv_bias: has_bias,
        out_bias: has_bias,
        post_norms: true,
        norm_offset: 1.0,
        embed_scale: Some((decoder.hidden as f64).sqrt()),
        attention_scale: 1.0 / scalar.sqrt(),
        attention_cap: config.nullable_positive("attn_logit_softcapping", 50.0)?,
        readout_cap: config.nullable_positive("final_logit_softcapping", 30.0)?,
        windows: decoder::windows(config, decoder.layers, window, |layer| layer % 2 == 0)?,
        ..decoder
    }
    .build(config, architecture, b)
}

/// `initializer_range` throughout; a norm is the identity when its stored scale is zero.
fn start(config: &Config, net: &Network, site: &Site) -> Result<Law, ConfigError> {
    match site.role {
        Role::NormScale => Ok(Law::Constant { value: 0.0 }),
        _ => decoder::start(config, net, site),
    }
}
