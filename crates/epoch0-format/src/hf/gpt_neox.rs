//! GPT-NeoX (Pythia): queries, keys and values packed head by head, rotary positions on a part of each head, and
//! attention and MLP side by side.

use epoch0_net::{Attention, Builder, Head, Linear, Network, NormKind, Role, Site, ValueId};
use epoch0_num::Law;

use super::decoder::{init_std, whole_heads};
use super::rope::RopeKeys;
use super::{Config, ConfigError, Family, MOST_LAYERS, usual_start};

pub(super) static FAMILY: Family = Family {
    model_type: "gpt_neox",
    architectures: &[
        "GPTNeoXForCausalLM",
        "GPTNeoXModel",
        "GPTNeoXForSequenceClassification",
        "GPTNeoXForTokenClassification",
    ],
    ignored: &[
        "attention_dropout",
        "classifier_dropout",
        "hidden_dropout",
        "max_position_embeddings",
        // Some versions wrote these besides `rotary_pct` and `rotary_emb_base`; the network does not read them.
        "partial_rotary_factor",
        "rope_theta",
    ],
    build,
    start,
};

fn build(config: &Config, architecture: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let vocab = config.size("vocab_size", 50432)?;
    let hidden = config.size("hidden_size", 6144)?;
    let n_layers = config.count("num_hidden_layers", 44, MOST_LAYERS)?;
    let heads = config.size("num_attention_heads", 64)?;
    let inner = config.size("intermediate_size", 24576)?;
    let eps = config.number_or("layer_norm_eps", 1e-5)?;
    let act = config.activation_or("hidden_act", "gelu")?;
    let has_bias = config.flag_or("attention_bias", true)?;
    let is_parallel = config.flag_or("use_parallel_residual", true)?;
    whole_heads(config, hidden, heads)?;
    let head = Head { count: heads, dim: hidden / heads };
    let keys = RopeKeys { theta: ("rotary_emb_base", 10000.0), partial: Some(("rotary_pct", 0.25)) };
    let attention = Attention {
        heads,
        kv_heads: heads,
        scale: 1.0 / (head.dim as f64).sqrt(),
        causal: true,
        window: None,
        rope: config.rope(head.dim, keys)?,
        softcap: None,
    };
    let root = if architecture == "GPTNeoXModel" { "" } else { "gpt_neox." };

    let ids = b.index_input("input_ids", &[None, None]);
    let mut x = b.embedding(ids, &format!("{root}embed_in"), vocab, hidden, Role::Embedding, None);
    b.name_axis(x, -1, "embed");
    for layer in 0..n_layers {
        let block = format!("{root}layers.{layer}");
        b.block(&block);
        let y = b.norm(x, &format!("{block}.input_layernorm"), NormKind::Layer, eps, true);
        let packed = Linear::new(3 * hidden).bias(has_bias);
        let y = b.linear(y, &format!("{block}.attention.query_key_value"), packed);
        let qkv = b.split_in_heads(y, head, &["q", "k", "v"]);
        let y = b.attention(qkv[0], qkv[1], qkv[2], None, attention.clone());
        let out = Linear::new(hidden).bias(has_bias);
        let attended = b.linear(y, &format!("{block}.attention.dense"), out);
        let mlp = |b: &mut Builder, x: ValueId| {
            let y = b.norm(x, &format!("{block}.post_attention_layernorm"), NormKind::Layer, eps, true);
            let y = b.linear(y, &format!("{block}.mlp.dense_h_to_4h"), Linear::new(inner));
            let y = b.activation(y, act.clone());
            b.linear(y, &format!("{block}.mlp.dense_4h_to_h"), Linear::new(hidden))
        };
        x = if is_parallel {
            let y = mlp(b, x);
            b.add(&[y, attended, x])
        } else {
            let x = b.add(&[attended, x]);
            let y = mlp(b, x);
            b.add(&[y, x])
        };
    }
    b.end_block();
    let x = b.norm(x, &format!("{root}final_layer_norm"), NormKind::Layer, eps, true);
    head_of(config, architecture, b, x, vocab)
}

/// What stands on top. Classes of a text are answered at every position; `transformers` reads the answer at the
/// last one that is not padding.
fn head_of(
    config: &Config,
    architecture: &str,
    b: &mut Builder,
    x: ValueId,
    vocab: usize,
) -> Result<(), ConfigError> {
    let table = "gpt_neox.embed_in.weight";
    let readout = |n_out: usize| Linear::new(n_out).bias(false).role(Role::Readout);
    let is_tied = config.flag_or("tie_word_embeddings", false)?;
    let logits = match architecture {
        "GPTNeoXForCausalLM" if is_tied => {
            b.tie("lm_head.weight", table);
            b.linear_tied(x, table, None)
        }
        // The name that checkpoints have kept from before the readout was called `lm_head`.
        "GPTNeoXForCausalLM" => b.linear(x, "embed_out", readout(vocab)),
        "GPTNeoXForSequenceClassification" => b.linear(x, "score", readout(config.n_labels()?)),
        "GPTNeoXForTokenClassification" => b.linear(x, "classifier", readout(config.n_labels()?).bias(true)),
        _ => {
            b.output(x, "last_hidden_state");
            return Ok(());
        }
    };
    b.output(logits, "logits");
    Ok(())
}

/// `initializer_range` throughout.
fn start(config: &Config, _net: &Network, site: &Site) -> Result<Law, ConfigError> {
    Ok(usual_start(site, init_std(config)?))
}
