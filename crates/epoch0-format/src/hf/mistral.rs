//! Mistral: Llama with a sliding window on attention.

use epoch0_net::Builder;

use super::decoder::{self, DEFAULTS, Decoder, Defaults};
use super::{Config, ConfigError, Family};

pub(super) static FAMILY: Family = Family {
    model_type: "mistral",
    architectures: &[
        "MistralForCausalLM",
        "MistralModel",
        "MistralForSequenceClassification",
        "MistralForTokenClassification",
    ],
    ignored: &["attention_dropout", "classifier_dropout", "hidden_dropout", "max_position_embeddings"],
    build,
    start: decoder::start,
};

fn build(config: &Config, architecture: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let defaults = Defaults { inner: 14336, kv_heads: Some(8), ..DEFAULTS };
    let window = config.nullable_size("sliding_window", Some(4096))?;
    let decoder = Decoder::read(config, &defaults)?;
    Decoder { windows: vec![window; decoder.layers], ..decoder }.build(config, architecture, b)
}
