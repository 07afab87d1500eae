//! Mixtral: Mistral with a mixture of experts in the place of the MLP.

use epoch0_net::{Builder, Network, Site};
use epoch0_num::Law;

use super::decoder::{self, DEFAULTS, Decoder, Defaults, Experts};
use super::{Config, ConfigError, Family, usual_start};

pub(super) static FAMILY: Family = Family {
    model_type: "mixtral",
    architectures: &[
        "MixtralForCausalLM",
        "MixtralModel",
        "MixtralForSequenceClassification",
        "MixtralForTokenClassification",
    ],
    ignored: &[
        "attention_dropout",
        "classifier_dropout",
        "hidden_dropout",
        "max_position_embeddings",
        "output_router_logits",
        "router_aux_loss_coef",
        "router_jitter_noise",
    ],
    build,
    start,
};

/// More experts than this, in all layers together, are a mistake, not a network.
const MOST_EXPERTS: usize = 1 << 12;

fn build(config: &Config, architecture: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let defaults = Defaults { inner: 14336, kv_heads: Some(8), eps: 1e-5, theta: 1e6, ..DEFAULTS };
    let window = config.nullable_size("sliding_window", None)?;
    let decoder = Decoder::read(config, &defaults)?;
    // `num_experts` is another name of `num_local_experts`.
    let _ = config.get("num_local_experts");
    let key = if config.get("num_experts").is_some() { "num_experts" } else { "num_local_experts" };
    let count = config.count_or(key, 8, MOST_EXPERTS / decoder.layers)?;
    let top_k = config.count_or("num_experts_per_tok", 2, count)?;
    let windows = vec![window; decoder.layers];
    Decoder { windows, experts: Some(Experts { count, top_k }), ..decoder }.build(config, architecture, b)
}

/// `initializer_range` throughout. The experts and their router take a 0 at its word, other weights do not.
fn start(config: &Config, net: &Network, site: &Site) -> Result<Law, ConfigError> {
    if site.name.contains(".block_sparse_moe.") {
        return Ok(usual_start(site, config.std_or("initializer_range", 0.02)?));
    }
    decoder::start(config, net, site)
}
