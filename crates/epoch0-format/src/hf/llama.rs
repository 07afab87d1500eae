//! Llama: rotary positions, RMS norms before each branch, a gated MLP, shared key and value heads.

use epoch0_net::Builder;

use super::decoder::{self, DEFAULTS, Decoder};
use super::{Config, ConfigError, Family};

pub(super) static FAMILY: Family = Family {
    model_type: "llama",
    architectures: &[
        "LlamaForCausalLM",
        "LlamaModel",
        "LlamaForSequenceClassification",
        "LlamaForTokenClassification",
    ],
    ignored: &["attention_dropout", "classifier_dropout", "hidden_dropout", "max_position_embeddings"],
    build,
    start: decoder::start,
};

fn build(config: &Config, architecture: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let has_bias = config.flag_or("attention_bias", false)?;
    let decoder = Decoder {
        qkv_bias: has_bias,
        out_bias: has_bias,
        mlp_bias: config.flag_or("mlp_bias", false)?,
        ..Decoder::read(config, &DEFAULTS)?
    };
    // Even where `head_dim` is given.
    decoder::whole_heads(config, decoder.hidden, decoder.heads)?;
    decoder.build(config, architecture, b)
}
