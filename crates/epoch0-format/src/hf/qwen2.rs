//! Qwen2: Llama with biases on queries, keys and values, and sliding windows in the upper layers.

use epoch0_net::Builder;

use super::decoder::{self, DEFAULTS, Decoder, Defaults};
use super::{Config, ConfigError, Family};

pub(super) static FAMILY: Family = Family {
    model_type: "qwen2",
    architectures: &[
        "Qwen2ForCausalLM",
        "Qwen2Model",
        "Qwen2ForSequenceClassification",
        "Qwen2ForTokenClassification",
    ],
    ignored: &[
        "attention_dropout",
        "classifier_dropout",
        "hidden_dropout",
        "max_position_embeddings",
        "use_mrope",
    ],
    build,
    start: decoder::start,
};

fn build(config: &Config, architecture: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let defaults = Defaults { vocab: 151936, inner: 22016, kv_heads: Some(32), ..DEFAULTS };
    let decoder = Decoder::read(config, &defaults)?;
    let windows = decoder::qwen_windows(config, decoder.layers)?;
    Decoder { qkv_bias: true, windows, ..decoder }.build(config, architecture, b)
}
