//! RoBERTa: BERT's network, with a row of padding among the positions (the first word's position is
//! `pad_token_id + 1`) and heads of its own.

use epoch0_net::{Builder, Linear, NormKind, Role};
use epoch0_num::Activation;

use super::bert::{IGNORED, body, pooler};
use super::decoder::start;
use super::encoder::word_logits;
use super::{Config, ConfigError, Family};

pub(super) static FAMILY: Family = Family {
    model_type: "roberta",
    architectures: &[
        "RobertaForMaskedLM",
        "RobertaModel",
        "RobertaForSequenceClassification",
        "RobertaForTokenClassification",
        "RobertaForQuestionAnswering",
        "RobertaForCausalLM",
    ],
    ignored: IGNORED,
    build,
    start,
};

fn build(config: &Config, architecture: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let root = if architecture == "RobertaModel" { "" } else { "roberta." };
    let body = body(config, b, root, 1, true)?;
    let readout = |n_out| Linear::new(n_out).role(Role::Readout);
    match architecture {
        "RobertaForMaskedLM" | "RobertaForCausalLM" => {
            let x = b.linear(body.hidden, "lm_head.dense", Linear::new(body.embed));
            let x = b.activation(x, Activation::Gelu);
            let x = b.norm(x, "lm_head.layer_norm", NormKind::Layer, body.eps, true);
            let table = ("roberta.embeddings.word_embeddings.weight", body.vocab);
            let logits = word_logits(config, b, x, table, "lm_head.decoder", Some("lm_head.bias"))?;
            b.output(logits, "logits");
        }
        "RobertaForSequenceClassification" => {
            let x = b.select(body.hidden, 0);
            let x = b.linear(x, "classifier.dense", Linear::new(body.embed));
            let x = b.activation(x, Activation::Tanh);
            let logits = b.linear(x, "classifier.out_proj", readout(config.n_labels()?));
            b.output(logits, "logits");
        }
        "RobertaForTokenClassification" => {
            let logits = b.linear(body.hidden, "classifier", readout(config.n_labels()?));
            b.output(logits, "logits");
        }
        "RobertaForQuestionAnswering" => {
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
