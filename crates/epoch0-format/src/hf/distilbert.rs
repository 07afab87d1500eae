//! DistilBERT: BERT without segments and pooler.

use epoch0_net::{Builder, Fixed, Linear, NormKind, Role, ValueId};
use epoch0_num::Activation;

use super::decoder::start;
use super::encoder::{Layer, Names, head_dim, word_logits};
use super::{Config, ConfigError, Family, MOST_LAYERS};

pub(super) static FAMILY: Family = Family {
    model_type: "distilbert",
    architectures: &[
        "DistilBertForMaskedLM",
        "DistilBertModel",
        "DistilBertForSequenceClassification",
        "DistilBertForTokenClassification",
        "DistilBertForQuestionAnswering",
    ],
    // The last two are of published configs; no code reads them.
    ignored: &[
        "attention_dropout",
        "dropout",
        "qa_dropout",
        "seq_classif_dropout",
        "output_past",
        "tie_weights_",
    ],
    build,
    start,
};

static NAMES: Names = Names {
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    projection: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    mlp_norm: "output_layer_norm",
};

/// Added to every variance; no key of the config.
const EPS: f64 = 1e-12;

fn build(config: &Config, architecture: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let vocab = config.size("vocab_size", 30522)?;
    let embed = config.size("dim", 768)?;
    let n_layers = config.count("n_layers", 6, MOST_LAYERS)?;
    let heads = config.size("n_heads", 12)?;
    let n_positions = config.size("max_position_embeddings", 512)?;
    let act = config.activation_or("activation", "gelu")?;
    let pad = config.padding(vocab, Some(0))?;
    let layer = Layer {
        names: &NAMES,
        norm_first: false,
        embed,
        heads,
        head_dim: head_dim(config, ("dim", embed), ("n_heads", heads))?,
        inner: config.size("hidden_dim", 3072)?,
        act: act.clone(),
        eps: EPS,
        qkv_bias: true,
        causal: false,
    };
    let root = if architecture == "DistilBertModel" { "" } else { "distilbert." };

    let ids = b.index_input("input_ids", &[None, None]);
    let position_ids = b.index_input("position_ids", &[None, None]);
    let name = |part: &str| format!("{root}embeddings.{part}");
    let words = b.embedding(ids, &name("word_embeddings"), vocab, embed, Role::Embedding, pad);
    b.name_axis(words, -1, "embed");
    let places =
        b.embedding(position_ids, &name("position_embeddings"), n_positions, embed, Role::Position, None);
    if config.flag_or("sinusoidal_pos_embds", false)? {
        b.fix(&name("position_embeddings.weight"), Fixed::Sinusoids);
    }
    let x = b.add(&[words, places]);
    let mut x = b.norm(x, &name("LayerNorm"), NormKind::Layer, EPS, true);
    for index in 0..n_layers {
        x = layer.add(b, x, &format!("{root}transformer.layer.{index}"));
    }
    head(config, architecture, b, x, (vocab, embed, act))
}

fn head(
    config: &Config,
    architecture: &str,
    b: &mut Builder,
    x: ValueId,
    (vocab, embed, act): (usize, usize, Activation),
) -> Result<(), ConfigError> {
    let readout = |n_out| Linear::new(n_out).role(Role::Readout);
    match architecture {
        "DistilBertForMaskedLM" => {
            let x = b.linear(x, "vocab_transform", Linear::new(embed));
            let x = b.activation(x, act);
            let x = b.norm(x, "vocab_layer_norm", NormKind::Layer, EPS, true);
            let table = ("distilbert.embeddings.word_embeddings.weight", vocab);
            let logits = word_logits(config, b, x, table, "vocab_projector", None)?;
            b.output(logits, "logits");
        }
        "DistilBertForSequenceClassification" => {
            let x = b.select(x, 0);
            let x = b.linear(x, "pre_classifier", Linear::new(embed));
            let x = b.activation(x, Activation::Relu);
            let logits = b.linear(x, "classifier", readout(config.n_labels()?));
            b.output(logits, "logits");
        }
        "DistilBertForTokenClassification" => {
            let logits = b.linear(x, "classifier", readout(config.n_labels()?));
            b.output(logits, "logits");
        }
        "DistilBertForQuestionAnswering" => {
            let logits = b.linear(x, "qa_outputs", readout(config.n_labels()?));
            b.output(logits, "logits");
        }
        _ => b.output(x, "last_hidden_state"),
    }
    Ok(())
}
