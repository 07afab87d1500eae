//! Qwen3: Qwen2 with norms on the heads of queries and keys in the place of biases, and a head size of its own.

use epoch0_net::Builder;

use super::decoder::{self, DEFAULTS, Decoder, Defaults};
use super::{Config, ConfigError, Family};

pub(super) static FAMILY: Family = Family {
    model_type: "qwen3",
    architectures: &[
        "Qwen3ForCausalLM",
        "Qwen3Model",
        "Qwen3ForSequenceClassification",
        "Qwen3ForTokenClassification",
    ],
    ignored: &["attention_dropout", "classifier_dropout", "hidden_dropout", "max_position_embeddings"],
    build,
    start: decoder::start,
};

fn build(config: &Config, architecture: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let defaults =
        Defaults { vocab: 151936, inner: 22016, kv_heads: Some(32), head_dim: Some(128), ..DEFAULTS };
    let has_bias = config.flag_or("attention_bias", false)?;
    let decoder = Decoder::read(config, &defaults)?;
    let windows = decoder::qwen_windows(config, decoder.layers)?;
    Decoder { qkv_bias: has_bias, out_bias: has_bias, head_norms: true, windows, ..decoder }.build(
        config,
        architecture,
        b,
    )
}
