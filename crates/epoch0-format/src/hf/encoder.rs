//! The transformer layer that encoders share, with the norms after the sums (BERT) or before the branches (ViT, CLIP),
//! and the readouts of words.

use epoch0_net::{Attention, Builder, Linear, NormKind, Role, ValueId};
use epoch0_num::Activation;

use super::{Config, ConfigError, MOST_LAYERS};

/// Names of a layer's modules in a family.
pub(super) struct Names {
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) projection: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
    pub(super) mlp_norm: &'static str,
}

/// A layer: attention and a two-layer network, each with a skip around it.
pub(super) struct Layer {
    pub(super) names: &'static Names,
    /// Norms at the start of the branches rather than after the sums.
    pub(super) norm_first: bool,
    pub(super) embed: usize,
    pub(super) heads: usize,
    pub(super) head_dim: usize,
    pub(super) inner: usize,
    pub(super) act: Activation,
    pub(super) eps: f64,
    /// Whether queries, keys and values have biases.
    pub(super) qkv_bias: bool,
    pub(super) causal: bool,
}

impl Layer {
    /// Adds the layer as a block named `block`.
    pub(super) fn add(&self, b: &mut Builder, x: ValueId, block: &str) -> ValueId {
        b.block(block);
        let name = |part: &str| format!("{block}.{part}");
        let norm = |b: &mut Builder, x, part| b.norm(x, &name(part), NormKind::Layer, self.eps, true);
        let attend = |b: &mut Builder, x| {
            let packed = self.heads.saturating_mul(self.head_dim);
            let part =
                |b: &mut Builder, part| b.linear(x, &name(part), Linear::new(packed).bias(self.qkv_bias));
            let q = part(b, self.names.query);
            let k = part(b, self.names.key);
            let v = part(b, self.names.value);
            let y = b.attention(q, k, v, None, self.attention());
            b.linear(y, &name(self.names.projection), Linear::new(self.embed))
        };
        let mlp = |b: &mut Builder, x| {
            let y = b.linear(x, &name(self.names.up), Linear::new(self.inner));
            let y = b.activation(y, self.act.clone());
            b.linear(y, &name(self.names.down), Linear::new(self.embed))
        };
        let x = if self.norm_first {
            let y = norm(b, x, self.names.attention_norm);
            let y = attend(b, y);
            let x = b.add(&[y, x]);
            let y = norm(b, x, self.names.mlp_norm);
            let y = mlp(b, y);
            b.add(&[y, x])
        } else {
            let y = attend(b, x);
            let x = b.add(&[y, x]);
            let x = norm(b, x, self.names.attention_norm);
            let y = mlp(b, x);
            let x = b.add(&[y, x]);
            norm(b, x, self.names.mlp_norm)
        };
        b.end_block();
        x
    }

    fn attention(&self) -> Attention {
        Attention {
            heads: self.heads,
            kv_heads: self.heads,
            scale: 1.0 / (self.head_dim as f64).sqrt(),
            causal: self.causal,
            window: None,
            rope: None,
            softcap: None,
        }
    }
}

/// Size of a head where the heads have to divide the width, the keys of both being given.
pub(super) fn head_dim(
    config: &Config,
    embed: (&str, usize),
    heads: (&str, usize),
) -> Result<usize, ConfigError> {
    if embed.1.is_multiple_of(heads.1) {
        Ok(embed.1 / heads.1)
    } else {
        Err(config.wrong(embed.0, format!("a multiple of {}, {}", heads.0, heads.1)))
    }
}

/// Logits of words: the table of words read backwards, or a map of its own when the config unties them. `bias` is the
/// name of the bias where it belongs to the head rather than to the map: then the map's bias is tied to it, and an
/// untied head keeps it beside the map's own without ever reading it.
pub(super) fn word_logits(
    config: &Config,
    b: &mut Builder,
    x: ValueId,
    (table, vocab): (&str, usize),
    decoder: &str,
    bias: Option<&str>,
) -> Result<ValueId, ConfigError> {
    let own_bias = format!("{decoder}.bias");
    if config.flag_or("tie_word_embeddings", true)? {
        b.tie(&format!("{decoder}.weight"), table);
        let logits = b.linear_tied(x, table, Some(bias.unwrap_or(&own_bias)));
        if let Some(bias) = bias {
            b.tie(&own_bias, bias);
        }
        Ok(logits)
    } else {
        if let Some(bias) = bias {
            b.param(bias, &[vocab], Role::Bias);
        }
        Ok(b.linear(x, decoder, Linear::new(vocab).role(Role::Readout)))
    }
}

/// Numbers of layers in each stage, from the key `depths`.
pub(super) fn depths(config: &Config, default: &[usize]) -> Result<Vec<usize>, ConfigError> {
    let depths = config.sizes("depths", default)?;
    // The sum cannot overflow: no size is above 2³², and no list that fits in memory is that long.
    if depths.iter().sum::<usize>() <= MOST_LAYERS {
        Ok(depths)
    } else {
        Err(config.wrong("depths", format!("at most {MOST_LAYERS} layers in all")))
    }
}
