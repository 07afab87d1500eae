//! BERT: words, segments and positions summed; norms after the sums; words predicted by the table of words.

use epoch0_net::{Builder, Linear, NormKind, Role, ValueId};
use epoch0_num::Activation;

use super::decoder::start;
use super::encoder::{Layer, Names, head_dim, word_logits};
use super::{Config, ConfigError, Family, MOST_LAYERS};

pub(super) static FAMILY: Family = Family {
    model_type: "bert",
    architectures: &[
        "BertForMaskedLM",
        "BertModel",
        "BertForPreTraining",
        "BertForSequenceClassification",
        "BertForTokenClassification",
        "BertForQuestionAnswering",
        "BertForNextSentencePrediction",
        "BertLMHeadModel",
    ],
    ignored: IGNORED,
    build,
    start,
};

/// Keys without a say in shapes. The pooler's are of the first published configs, which no code ever read.
pub(super) const IGNORED: &[&str] = &[
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "directionality",
    "hidden_dropout_prob",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
];

static NAMES: Names = Names {
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    projection: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    mlp_norm: "output.LayerNorm",
};

/// What heads need to know.
pub(super) struct Body {
    pub(super) hidden: ValueId,
    pub(super) vocab: usize,
    pub(super) embed: usize,
    pub(super) act: Activation,
    pub(super) eps: f64,
}

/// Everything below the heads, RoBERTa's too. `pad` is the padding word unless the config says otherwise; with
/// `pads_positions` it has a row among the positions as well.
pub(super) fn body(
    config: &Config,
    b: &mut Builder,
    root: &str,
    pad: usize,
    pads_positions: bool,
) -> Result<Body, ConfigError> {
    let vocab = config.size("vocab_size", 30522)?;
    let embed = config.size("hidden_size", 768)?;
    let n_layers = config.count("num_hidden_layers", 12, MOST_LAYERS)?;
    let heads = config.size("num_attention_heads", 12)?;
    let inner = config.size("intermediate_size", 3072)?;
    let n_positions = config.size("max_position_embeddings", 512)?;
    let n_segments = config.size_or("type_vocab_size", 2)?;
    let eps = config.number_or("layer_norm_eps", 1e-12)?;
    let act = config.activation_or("hidden_act", "gelu")?;
    let pad = config.padding(vocab, Some(pad))?;
    if config.word_or("position_embedding_type", "absolute")? != "absolute" {
        return Err(config.wrong("position_embedding_type", "absolute"));
    }
    if config.flag_or("add_cross_attention", false)? {
        return Err(config.wrong("add_cross_attention", "false"));
    }
    let layer = Layer {
        names: &NAMES,
        norm_first: false,
        embed,
        heads,
        head_dim: head_dim(config, ("hidden_size", embed), ("num_attention_heads", heads))?,
        inner,
        act: act.clone(),
        eps,
        qkv_bias: true,
        causal: config.flag_or("is_decoder", false)?,
    };

    let ids = b.index_input("input_ids", &[None, None]);
    let segment_ids = b.index_input("token_type_ids", &[None, None]);
    let position_ids = b.index_input("position_ids", &[None, None]);
    let name = |part: &str| format!("{root}embeddings.{part}");
    let words = b.embedding(ids, &name("word_embeddings"), vocab, embed, Role::Embedding, pad);
    b.name_axis(words, -1, "embed");
    let pad = pad.filter(|_| pads_positions);
    let places =
        b.embedding(position_ids, &name("position_embeddings"), n_positions, embed, Role::Position, pad);
    let segments =
        b.embedding(segment_ids, &name("token_type_embeddings"), n_segments, embed, Role::Embedding, None);
    let x = b.add(&[words, segments, places]);
    let mut x = b.norm(x, &name("LayerNorm"), NormKind::Layer, eps, true);
    for index in 0..n_layers {
        x = layer.add(b, x, &format!("{root}encoder.layer.{index}"));
    }
    Ok(Body { hidden: x, vocab, embed, act, eps })
}

/// The first position, through one more layer.
pub(super) fn pooler(b: &mut Builder, root: &str, body: &Body) -> ValueId {
    let x = b.select(body.hidden, 0);
    let x = b.linear(x, &format!("{root}pooler.dense"), Linear::new(body.embed));
    b.activation(x, Activation::Tanh)
}

fn build(config: &Config, architecture: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let root = if architecture == "BertModel" { "" } else { "bert." };
    let body = body(config, b, root, 0, false)?;
    let readout = |n_out| Linear::new(n_out).role(Role::Readout);
    match architecture {
        "BertForMaskedLM" | "BertLMHeadModel" => {
            let logits = predictions(config, b, &body)?;
            b.output(logits, "logits");
        }
        "BertForPreTraining" => {
            let pooled = pooler(b, root, &body);
            let logits = predictions(config, b, &body)?;
            b.output(logits, "prediction_logits");
            let logits = b.linear(pooled, "cls.seq_relationship", readout(2));
            b.output(logits, "seq_relationship_logits");
        }
        "BertForNextSentencePrediction" => {
            let pooled = pooler(b, root, &body);
            let logits = b.linear(pooled, "cls.seq_relationship", readout(2));
            b.output(logits, "logits");
        }
        "BertForSequenceClassification" => {
            let pooled = pooler(b, root, &body);
            let logits = b.linear(pooled, "classifier", readout(config.n_labels()?));
            b.output(logits, "logits");
        }
        "BertForTokenClassification" => {
            let logits = b.linear(body.hidden, "classifier", readout(config.n_labels()?));
            b.output(logits, "logits");
        }
        "BertForQuestionAnswering" => {
            let logits = b.linear(body.hidden, "qa_outputs", readout(config.n_labels()?));
            b.output(logits, "logits");
        }
        _ => {
            b.output(body.hidden, "last_hidden_state");
            let pooled = pooler(b, root, &body);
            b.output(pooled, "pooler_output");
        }
    }
    Ok(())
}

fn predictions(config: &Config, b: &mut Builder, body: &Body) -> Result<ValueId, ConfigError> {
    let x = b.linear(body.hidden, "cls.predictions.transform.dense", Linear::new(body.embed));
    let x = b.activation(x, body.act.clone());
    let x = b.norm(x, "cls.predictions.transform.LayerNorm", NormKind::Layer, body.eps, true);
    let table = ("bert.embeddings.word_embeddings.weight", body.vocab);
    word_logits(config, b, x, table, "cls.predictions.decoder", Some("cls.predictions.bias"))
}
