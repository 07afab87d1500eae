//! T5: an encoder and a decoder without positions, but with a bias on attention's logits by relative position, one
//! table for all layers of a stack.

use epoch0_net::{Attention, Builder, Linear, Network, NormKind, Op, Role, Site, ValueId};
use epoch0_num::{Activation, Law};

use super::{Config, ConfigError, Family, MOST_LAYERS};

pub(super) static FAMILY: Family = Family {
    model_type: "t5",
    architectures: &[
        "T5ForConditionalGeneration",
        "T5Model",
        "T5EncoderModel",
        "T5ForSequenceClassification",
        "T5ForTokenClassification",
        "T5ForQuestionAnswering",
    ],
    ignored: &["classifier_dropout", "dropout_rate", "n_positions"],
    build,
    start,
};

/// What both stacks have.
struct T5 {
    vocab: usize,
    d_model: usize,
    d_kv: usize,
    d_ff: usize,
    heads: usize,
    buckets: usize,
    max_distance: usize,
    eps: f64,
    act: Activation,
    is_gated: bool,
}

impl T5 {
    fn read(config: &Config) -> Result<Self, ConfigError> {
        let (act, is_gated) = feed_forward(config)?;
        Ok(Self {
            vocab: config.size("vocab_size", 32128)?,
            d_model: config.size("d_model", 512)?,
            d_kv: config.size("d_kv", 64)?,
            d_ff: config.size("d_ff", 2048)?,
            heads: config.size("num_heads", 8)?,
            buckets: config.size_or("relative_attention_num_buckets", 32)?,
            max_distance: config.size_or("relative_attention_max_distance", 128)?,
            eps: config.number_or("layer_norm_epsilon", 1e-6)?,
            act,
            is_gated,
        })
    }

    /// The encoder, or with `encoded` the decoder that attends to it.
    fn stack(
        &self,
        b: &mut Builder,
        words: ValueId,
        name: &str,
        n_layers: usize,
        encoded: Option<ValueId>,
    ) -> ValueId {
        let mut x = words;
        let mut positions = None;
        for layer in 0..n_layers {
            let block = format!("{name}.block.{layer}");
            b.block(&block);
            let part = format!("{block}.layer.0");
            let y = self.norm(b, x, &part);
            let attention = format!("{part}.SelfAttention");
            let bias = *positions.get_or_insert_with(|| {
                let table = format!("{attention}.relative_attention_bias");
                b.relative_bias(y, &table, self.buckets, self.heads, self.max_distance, encoded.is_none())
            });
            let y = self.attention(b, y, y, &attention, Some(bias), encoded.is_some());
            x = b.add(&[x, y]);
            let mut next = 1;
            if let Some(encoded) = encoded {
                let part = format!("{block}.layer.1");
                let y = self.norm(b, x, &part);
                let y = self.attention(b, y, encoded, &format!("{part}.EncDecAttention"), None, false);
                x = b.add(&[x, y]);
                next = 2;
            }
            let part = format!("{block}.layer.{next}");
            let y = self.norm(b, x, &part);
            let y = self.feed_forward(b, y, &format!("{part}.DenseReluDense"));
            x = b.add(&[x, y]);
        }
        b.end_block();
        b.norm(x, &format!("{name}.final_layer_norm"), NormKind::Rms { offset: 0.0 }, self.eps, false)
    }

    fn norm(&self, b: &mut Builder, x: ValueId, part: &str) -> ValueId {
        b.norm(x, &format!("{part}.layer_norm"), NormKind::Rms { offset: 0.0 }, self.eps, false)
    }

    /// Attention of `x` to `seen`, with logits that are not scaled.
    fn attention(
        &self,
        b: &mut Builder,
        x: ValueId,
        seen: ValueId,
        name: &str,
        bias: Option<ValueId>,
        causal: bool,
    ) -> ValueId {
        let inner = || Linear::new(self.heads * self.d_kv).bias(false);
        let q = b.linear(x, &format!("{name}.q"), inner());
        let k = b.linear(seen, &format!("{name}.k"), inner());
        let v = b.linear(seen, &format!("{name}.v"), inner());
        let attention = Attention {
            heads: self.heads,
            kv_heads: self.heads,
            scale: 1.0,
            causal,
            window: None,
            rope: None,
            softcap: None,
        };
        let y = b.attention(q, k, v, bias, attention);
        b.linear(y, &format!("{name}.o"), Linear::new(self.d_model).bias(false))
    }

    fn feed_forward(&self, b: &mut Builder, x: ValueId, name: &str) -> ValueId {
        let inner = || Linear::new(self.d_ff).bias(false);
        let y = if self.is_gated {
            let gate = b.linear(x, &format!("{name}.wi_0"), inner());
            let gate = b.activation(gate, self.act.clone());
            let up = b.linear(x, &format!("{name}.wi_1"), inner());
            b.mul(&[gate, up])
        } else {
            let y = b.linear(x, &format!("{name}.wi"), inner());
            b.activation(y, self.act.clone())
        };
        b.linear(y, &format!("{name}.wo"), Linear::new(self.d_model).bias(false))
    }
}

/// The activation, and whether the MLP is gated: `feed_forward_proj` says both (`relu`, `gated-gelu`), unless the
/// keys that `transformers` derives from it are there too.
fn feed_forward(config: &Config) -> Result<(Activation, bool), ConfigError> {
    let both = config.word_or("feed_forward_proj", "relu")?;
    let (is_gated, act) = match both.split_once('-') {
        None => (false, both.as_str()),
        Some(("gated", act)) if !act.contains('-') => (true, act),
        Some(_) => {
            return Err(config.wrong("feed_forward_proj", "an activation, or gated- and an activation"));
        }
    };
    let key = if config.get("dense_act_fn").is_some() { "dense_act_fn" } else { "feed_forward_proj" };
    // Google's gate has the tanh approximation under the short name.
    let act = if both == "gated-gelu" { "gelu_new" } else { act };
    let act = config.word_or("dense_act_fn", act)?;
    let allowed = "an activation, such as relu, gelu, gelu_new, silu, after gated- for a gated MLP";
    let act = act.parse().map_err(|_| config.wrong(key, allowed))?;
    Ok((act, config.flag_or("is_gated_act", is_gated)?))
}

fn build(config: &Config, architecture: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let t5 = T5::read(config)?;
    let n_layers = config.count("num_layers", 6, MOST_LAYERS)?;
    let n_decoder_layers = config.count_or("num_decoder_layers", n_layers, MOST_LAYERS)?;
    // Words and readout are always tied; that the config says no means that what is read out is not scaled.
    let is_tied = config.flag_or("tie_word_embeddings", true)?;
    let is_scaled = config.flag_or("scale_decoder_outputs", is_tied)?;
    let root = match architecture {
        "T5ForSequenceClassification" | "T5ForTokenClassification" => "transformer.",
        _ => "",
    };
    let table = format!("{root}shared.weight");

    let ids = b.index_input("input_ids", &[None, None]);
    let words = b.embedding(ids, &format!("{root}shared"), t5.vocab, t5.d_model, Role::Embedding, None);
    b.name_axis(words, -1, "embed");
    b.tie(&format!("{root}encoder.embed_tokens.weight"), &table);
    let encoded = t5.stack(b, words, &format!("{root}encoder"), n_layers, None);
    let labels = |n_out| Linear::new(n_out).role(Role::Readout);
    match architecture {
        "T5EncoderModel" => {
            b.output(encoded, "last_hidden_state");
            return Ok(());
        }
        "T5ForTokenClassification" => {
            let logits = b.linear(encoded, "classifier", labels(config.n_labels()?));
            b.output(logits, "logits");
            return Ok(());
        }
        _ => {}
    }

    let ids = b.index_input("decoder_input_ids", &[None, None]);
    let words = b.embedding_tied(ids, &table);
    b.tie(&format!("{root}decoder.embed_tokens.weight"), &table);
    let x = t5.stack(b, words, &format!("{root}decoder"), n_decoder_layers, Some(encoded));
    match architecture {
        "T5ForConditionalGeneration" => {
            let x = if is_scaled { b.unary(x, Op::Scale(1.0 / (t5.d_model as f64).sqrt())) } else { x };
            b.tie("lm_head.weight", &table);
            let logits = b.linear_tied(x, &table, None);
            b.output(logits, "logits");
        }
        // At every position; `transformers` reads the answer at the last end of a sentence.
        "T5ForSequenceClassification" => {
            let y = b.linear(x, "classification_head.dense", Linear::new(t5.d_model));
            let y = b.activation(y, Activation::Tanh);
            let logits = b.linear(y, "classification_head.out_proj", labels(config.n_labels()?));
            b.output(logits, "logits");
        }
        "T5ForQuestionAnswering" => {
            let logits = b.linear(x, "qa_outputs", labels(config.n_labels()?));
            b.output(logits, "start_and_end_logits");
        }
        _ => b.output(x, "last_hidden_state"),
    }
    Ok(())
}

/// Standard deviations by what a weight reads (`initializer_factor` times): the words 1; projections 1/√(their
/// inputs), queries smaller by another √d_kv, as logits are not scaled; the table of relative positions 1/√d_model.
fn start(config: &Config, _net: &Network, site: &Site) -> Result<Law, ConfigError> {
    let factor = config.std_or("initializer_factor", 1.0)?;
    let d_model = config.size("d_model", 512)? as f64;
    let d_kv = config.size("d_kv", 64)? as f64;
    let n_in = site.fans.map_or(d_model, |fans| fans.in_);
    let std = match site.role {
        Role::NormScale => return Ok(Law::Constant { value: factor }),
        Role::Bias => return Ok(Law::Constant { value: 0.0 }),
        Role::Embedding => 1.0,
        Role::RelativeBias => 1.0 / d_model.sqrt(),
        _ if site.name == "classifier.weight" => 1.0,
        _ if site.name.ends_with("Attention.q.weight") => 1.0 / (d_model * d_kv).sqrt(),
        _ => 1.0 / n_in.sqrt(),
    };
    Ok(Law::Normal { mean: 0.0, std: factor * std })
}
