//! GPT-2: weights stored `[in, out]`, queries, keys and values packed in one, the readout tied to the words.

use epoch0_net::{Attention, Builder, Linear, Network, NormKind, Role, Site, ValueId};
use epoch0_num::Law;

use super::{Config, ConfigError, Family, MOST_LAYERS, usual_start};

pub(super) static FAMILY: Family = Family {
    model_type: "gpt2",
    architectures: &[
        "GPT2LMHeadModel",
        "GPT2Model",
        "GPT2ForSequenceClassification",
        "GPT2ForTokenClassification",
    ],
    ignored: &[
        "attn_pdrop",
        "classifier_dropout",
        "embd_pdrop",
        "hidden_dropout",
        "n_ctx",
        "reorder_and_upcast_attn",
        "resid_pdrop",
        "summary_activation",
        "summary_first_dropout",
        "summary_proj_to_labels",
        "summary_type",
        "summary_use_proj",
    ],
    build,
    start,
};

fn build(config: &Config, architecture: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let vocab = config.size("vocab_size", 50257)?;
    let n_positions = config.size("n_positions", 1024)?;
    let embed = config.size("n_embd", 768)?;
    let n_layers = config.count("n_layer", 12, MOST_LAYERS)?;
    let heads = config.size("n_head", 12)?;
    let inner = config.size_or("n_inner", 4 * embed)?;
    let eps = config.number_or("layer_norm_epsilon", 1e-5)?;
    let act = config.activation_or("activation_function", "gelu_new")?;
    let scaled = config.flag_or("scale_attn_weights", true)?;
    let by_layer = config.flag_or("scale_attn_by_inverse_layer_idx", false)?;
    if embed % heads != 0 {
        return Err(config.wrong("n_embd", format!("a multiple of n_head, {heads}")));
    }
    let root = if architecture == "GPT2Model" { "" } else { "transformer." };

    let ids = b.index_input("input_ids", &[None, None]);
    let positions = b.index_input("position_ids", &[None, None]);
    let words = b.embedding(ids, &format!("{root}wte"), vocab, embed, Role::Embedding, None);
    b.name_axis(words, -1, "embed");
    let places = b.embedding(positions, &format!("{root}wpe"), n_positions, embed, Role::Position, None);
    let mut x = b.add(&[words, places]);
    for layer in 0..n_layers {
        let block = format!("{root}h.{layer}");
        b.block(&block);
        let scale = if scaled { 1.0 / ((embed / heads) as f64).sqrt() } else { 1.0 };
        let scale = if by_layer { scale / (layer + 1) as f64 } else { scale };
        let attention = Attention {
            heads,
            kv_heads: heads,
            scale,
            causal: true,
            window: None,
            rope: None,
            softcap: None,
        };
        let y = b.norm(x, &format!("{block}.ln_1"), NormKind::Layer, eps, true);
        let y = b.linear(y, &format!("{block}.attn.c_attn"), Linear::new(3 * embed).in_out());
        let qkv = b.split(y, &[("q", embed), ("k", embed), ("v", embed)]);
        let y = b.attention(qkv[0], qkv[1], qkv[2], None, attention);
        let y = b.linear(y, &format!("{block}.attn.c_proj"), Linear::new(embed).in_out());
        x = b.add(&[y, x]);
        let y = b.norm(x, &format!("{block}.ln_2"), NormKind::Layer, eps, true);
        let y = b.linear(y, &format!("{block}.mlp.c_fc"), Linear::new(inner).in_out());
        let y = b.activation(y, act.clone());
        let y = b.linear(y, &format!("{block}.mlp.c_proj"), Linear::new(embed).in_out());
        x = b.add(&[x, y]);
    }
    b.end_block();
    let x = b.norm(x, &format!("{root}ln_f"), NormKind::Layer, eps, true);
    head(config, architecture, b, x, vocab)
}

fn head(
    config: &Config,
    architecture: &str,
    b: &mut Builder,
    x: ValueId,
    vocab: usize,
) -> Result<(), ConfigError> {
    match architecture {
        "GPT2LMHeadModel" => {
            let logits = if config.flag_or("tie_word_embeddings", true)? {
                b.tie("lm_head.weight", "transformer.wte.weight");
                b.linear_tied(x, "transformer.wte.weight", None)
            } else {
                b.linear(x, "lm_head", Linear::new(vocab).bias(false).role(Role::Readout))
            };
            b.output(logits, "logits");
        }
        "GPT2ForSequenceClassification" => {
            let score = Linear::new(config.n_labels()?).bias(false).role(Role::Readout);
            let logits = b.linear(x, "score", score);
            b.output(logits, "logits");
        }
        "GPT2ForTokenClassification" => {
            let logits = b.linear(x, "classifier", Linear::new(config.n_labels()?).role(Role::Readout));
            b.output(logits, "logits");
        }
        _ => b.output(x, "last_hidden_state"),
    }
    Ok(())
}

/// `initializer_range` throughout; the ends of residual branches by 1/√(2·layers) less.
fn start(config: &Config, net: &Network, site: &Site) -> Result<Law, ConfigError> {
    let std = config.std_or("initializer_range", 0.02)?;
    let is_end = site.name.ends_with("c_proj.weight");
    let n_branches = 2.0 * net.blocks().len() as f64;
    Ok(usual_start(site, if is_end { std / n_branches.sqrt() } else { std }))
}
