//! Decoders in the manner of Llama: one small space of networks, of which Llama, Mistral, Qwen2, Qwen3, Gemma 2 and
//! Mixtral are points.

use epoch0_net::{Attention, Builder, Head, Linear, Network, NormKind, Op, Role, Rope, Site, ValueId};
use epoch0_num::{Activation, Law};
use serde_json::Value;

use super::rope::RopeKeys;
use super::{Config, ConfigError, MOST_LAYERS, usual_start};

/// What `transformers` takes where a config is silent.
pub(super) struct Defaults {
    pub vocab: usize,
    pub hidden: usize,
    pub inner: usize,
    pub layers: usize,
    pub heads: usize,
    /// As many as `heads` when `None`.
    pub kv_heads: Option<usize>,
    /// `hidden / heads` when `None`.
    pub head_dim: Option<usize>,
    pub eps: f64,
    pub theta: f64,
    /// Key and default of the activation.
    pub act: (&'static str, &'static str),
    pub padding: Option<usize>,
    pub is_tied: bool,
}

/// Llama's defaults; other families say where theirs differ.
pub(super) const DEFAULTS: Defaults = Defaults {
    vocab: 32000,
    hidden: 4096,
    inner: 11008,
    layers: 32,
    heads: 32,
    kv_heads: None,
    head_dim: None,
    eps: 1e-6,
    theta: 10000.0,
    act: ("hidden_act", "silu"),
    padding: None,
    is_tied: false,
};

/// A mixture of experts in the place of the MLP.
pub(super) struct Experts {
    /// How many there are.
    pub count: usize,
    /// How many each position uses.
    pub top_k: usize,
}

/// A point of the space.
#[expect(clippy::struct_excessive_bools, reason = "each is a feature that a family has or not, by itself")]
pub(super) struct Decoder {
    pub vocab: usize,
    pub hidden: usize,
    pub inner: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub eps: f64,
    pub act: Activation,
    pub rope: Option<Rope>,
    /// Row of the padding word.
    pub padding: Option<usize>,
    /// Whether the readout is the table of words.
    pub is_tied: bool,
    /// Biases of the projections to queries, keys and values.
    pub qkv_bias: bool,
    /// Bias of the projection out of attention.
    pub out_bias: bool,
    /// Biases of the MLP.
    pub mlp_bias: bool,
    /// Norms over the head dimension of queries and keys.
    pub head_norms: bool,
    /// Norms after attention and after the MLP, besides those before.
    pub post_norms: bool,
    /// Added to the stored scale of every norm.
    pub norm_offset: f64,
    /// Factor on the words' vectors.
    pub embed_scale: Option<f64>,
    /// Factor on attention's logits.
    pub attention_scale: f64,
    /// Cap of attention's logits.
    pub attention_cap: Option<f64>,
    /// Cap of the words' logits.
    pub readout_cap: Option<f64>,
    /// For each layer, how many positions each position sees, itself included; all before it when `None`.
    pub windows: Vec<Option<usize>>,
    /// Experts in the place of the MLP.
    pub experts: Option<Experts>,
}

impl Decoder {
    /// Reads what all families have; the rest is as in Llama, without biases.
    pub(super) fn read(config: &Config, defaults: &Defaults) -> Result<Self, ConfigError> {
        let vocab = config.size("vocab_size", defaults.vocab)?;
        let hidden = config.size("hidden_size", defaults.hidden)?;
        let layers = config.count("num_hidden_layers", defaults.layers, MOST_LAYERS)?;
        let heads = config.size("num_attention_heads", defaults.heads)?;
        let kv_heads = config.nullable_size("num_key_value_heads", defaults.kv_heads)?.unwrap_or(heads);
        if !heads.is_multiple_of(kv_heads) {
            return Err(
                config.wrong("num_key_value_heads", format!("a divisor of num_attention_heads, {heads}"))
            );
        }
        let head_dim = if let Some(head_dim) = config.opt_size("head_dim")?.or(defaults.head_dim) {
            head_dim
        } else {
            whole_heads(config, hidden, heads)?;
            hidden / heads
        };
        Ok(Self {
            vocab,
            hidden,
            inner: config.size("intermediate_size", defaults.inner)?,
            layers,
            heads,
            kv_heads,
            head_dim,
            eps: config.number_or("rms_norm_eps", defaults.eps)?,
            act: config.activation_or(defaults.act.0, defaults.act.1)?,
            rope: config.rope(head_dim, RopeKeys::whole(defaults.theta))?,
            padding: config.padding(vocab, defaults.padding)?,
            is_tied: config.flag_or("tie_word_embeddings", defaults.is_tied)?,
            qkv_bias: false,
            out_bias: false,
            mlp_bias: false,
            head_norms: false,
            post_norms: false,
            norm_offset: 0.0,
            embed_scale: None,
            attention_scale: 1.0 / (head_dim as f64).sqrt(),
            attention_cap: None,
            readout_cap: None,
            windows: vec![None; layers],
            experts: None,
        })
    }

    /// Builds the network of a class of `transformers`.
    pub(super) fn build(
        &self,
        config: &Config,
        architecture: &str,
        b: &mut Builder,
    ) -> Result<(), ConfigError> {
        let is_base = architecture.ends_with("Model");
        let root = if is_base { "" } else { "model." };
        let ids = b.index_input("input_ids", &[None, None]);
        let table = format!("{root}embed_tokens");
        let mut x = b.embedding(ids, &table, self.vocab, self.hidden, Role::Embedding, self.padding);
        b.name_axis(x, -1, "embed");
        if let Some(scale) = self.embed_scale {
            x = b.unary(x, Op::Scale(scale));
        }
        for layer in 0..self.layers {
            let block = format!("{root}layers.{layer}");
            b.block(&block);
            x = self.attention_branch(b, x, &block, self.windows[layer]);
            x = self.mlp_branch(b, x, &block);
        }
        b.end_block();
        let x = self.norm(b, x, &format!("{root}norm"));
        self.head(config, architecture, b, x)
    }

    fn norm(&self, b: &mut Builder, x: ValueId, name: &str) -> ValueId {
        b.norm(x, name, NormKind::Rms { offset: self.norm_offset }, self.eps, false)
    }

    fn attention_branch(&self, b: &mut Builder, x: ValueId, block: &str, window: Option<usize>) -> ValueId {
        let name = |part: &str| format!("{block}.self_attn.{part}");
        let (head, kv_head) = (
            Head { count: self.heads, dim: self.head_dim },
            Head { count: self.kv_heads, dim: self.head_dim },
        );
        let y = self.norm(b, x, &format!("{block}.input_layernorm"));
        let project = |head: Head| Linear::new(head.width()).bias(self.qkv_bias);
        let mut q = b.linear(y, &name("q_proj"), project(head));
        let mut k = b.linear(y, &name("k_proj"), project(kv_head));
        let v = b.linear(y, &name("v_proj"), project(kv_head));
        if self.head_norms {
            let kind = NormKind::Rms { offset: self.norm_offset };
            q = b.head_norm(q, &name("q_norm"), head, kind, self.eps);
            k = b.head_norm(k, &name("k_norm"), kv_head, kind, self.eps);
        }
        let attention = Attention {
            heads: self.heads,
            kv_heads: self.kv_heads,
            scale: self.attention_scale,
            causal: true,
            window,
            rope: self.rope.clone(),
            softcap: self.attention_cap,
        };
        let y = b.attention(q, k, v, None, attention);
        let mut y = b.linear(y, &name("o_proj"), Linear::new(self.hidden).bias(self.out_bias));
        if self.post_norms {
            y = self.norm(b, y, &format!("{block}.post_attention_layernorm"));
        }
        b.add(&[x, y])
    }

    fn mlp_branch(&self, b: &mut Builder, x: ValueId, block: &str) -> ValueId {
        // Where there are norms after the branches, those before the MLP have a name of their own.
        let before = if self.post_norms { "pre_feedforward_layernorm" } else { "post_attention_layernorm" };
        let y = self.norm(b, x, &format!("{block}.{before}"));
        let mut y = match &self.experts {
            None => {
                let name = |part: &str| format!("{block}.mlp.{part}");
                self.gated_mlp(b, y, [name("gate_proj"), name("up_proj"), name("down_proj")])
            }
            Some(experts) => self.mixture(b, y, &format!("{block}.block_sparse_moe"), experts),
        };
        if self.post_norms {
            y = self.norm(b, y, &format!("{block}.post_feedforward_layernorm"));
        }
        b.add(&[x, y])
    }

    fn gated_mlp(&self, b: &mut Builder, x: ValueId, [gate, up, down]: [String; 3]) -> ValueId {
        let inner = || Linear::new(self.inner).bias(self.mlp_bias);
        let gate = b.linear(x, &gate, inner());
        let gate = b.activation(gate, self.act.clone());
        let up = b.linear(x, &up, inner());
        let y = b.mul(&[gate, up]);
        b.linear(y, &down, Linear::new(self.hidden).bias(self.mlp_bias))
    }

    fn mixture(&self, b: &mut Builder, x: ValueId, name: &str, experts: &Experts) -> ValueId {
        let router = Linear::new(experts.count).bias(false).role(Role::Router);
        let logits = b.linear(x, &format!("{name}.gate"), router);
        let outputs: Vec<_> = (0..experts.count)
            .map(|expert| {
                self.gated_mlp(b, x, ["w1", "w3", "w2"].map(|part| format!("{name}.experts.{expert}.{part}")))
            })
            .collect();
        b.mixture(logits, &outputs, experts.top_k, true)
    }

    /// What stands on top. Classes of a text are answered at every position; `transformers` reads the answer at the
    /// last one that is not padding.
    fn head(
        &self,
        config: &Config,
        architecture: &str,
        b: &mut Builder,
        x: ValueId,
    ) -> Result<(), ConfigError> {
        let table = "model.embed_tokens.weight";
        let readout = |n_out: usize| Linear::new(n_out).bias(false).role(Role::Readout);
        if architecture.ends_with("ForCausalLM") {
            let mut logits = if self.is_tied {
                b.tie("lm_head.weight", table);
                b.linear_tied(x, table, None)
            } else {
                b.linear(x, "lm_head", readout(self.vocab))
            };
            if let Some(cap) = self.readout_cap {
                logits = b.unary(logits, Op::Softcap(cap));
            }
            b.output(logits, "logits");
        } else if architecture.ends_with("ForSequenceClassification") {
            let logits = b.linear(x, "score", readout(config.n_labels()?));
            b.output(logits, "logits");
        } else if architecture.ends_with("ForTokenClassification") {
            let logits = b.linear(x, "score", readout(config.n_labels()?).bias(true));
            b.output(logits, "logits");
        } else {
            b.output(x, "last_hidden_state");
        }
        Ok(())
    }
}

/// Refuses a hidden size that the heads do not divide.
pub(super) fn whole_heads(config: &Config, hidden: usize, heads: usize) -> Result<(), ConfigError> {
    if hidden.is_multiple_of(heads) {
        return Ok(());
    }
    Err(config.wrong("hidden_size", format!("a multiple of num_attention_heads, {heads}")))
}

/// For each layer its window, from `layer_types`. `is_sliding` says which layers slide when the config has no such
/// list, `window` how far.
pub(super) fn windows(
    config: &Config,
    layers: usize,
    window: Option<usize>,
    is_sliding: impl Fn(usize) -> bool,
) -> Result<Vec<Option<usize>>, ConfigError> {
    let slides: Vec<bool> = match config.get("layer_types") {
        None => (0..layers).map(is_sliding).collect(),
        Some(Value::Array(types)) if types.len() == layers => {
            let slides = types.iter().map(|kind| match kind.as_str() {
                Some("full_attention") => Ok(false),
                Some("sliding_attention") => Ok(true),
                _ => Err(config.wrong("layer_types", "a list of full_attention and sliding_attention")),
            });
            slides.collect::<Result<_, _>>()?
        }
        Some(_) => {
            return Err(
                config.wrong("layer_types", format!("a list with one entry for each of {layers} layers"))
            );
        }
    };
    if window.is_none() && slides.contains(&true) {
        let is_off = config.get("sliding_window").is_some();
        let allowed = if is_off {
            "nothing without use_sliding_window, as layer_types has layers that slide"
        } else {
            "a whole number from 1, as some layers slide"
        };
        return Err(config.wrong("sliding_window", allowed));
    }
    Ok(slides.into_iter().map(|slides| window.filter(|_| slides)).collect())
}

/// Windows as Qwen has them: none without `use_sliding_window`, and otherwise from layer `max_window_layers` on.
pub(super) fn qwen_windows(config: &Config, layers: usize) -> Result<Vec<Option<usize>>, ConfigError> {
    let window = config.nullable_size("sliding_window", Some(4096))?;
    let window = if config.flag_or("use_sliding_window", false)? { window } else { None };
    let first = config.index_or("max_window_layers", Some(28))?.unwrap_or(usize::MAX);
    windows(config, layers, window, |layer| window.is_some() && layer >= first)
}

/// `initializer_range`, of which `transformers` takes 0 for absent.
pub(super) fn init_std(config: &Config) -> Result<f64, ConfigError> {
    let std = config.std_or("initializer_range", 0.02)?;
    Ok(if std == 0.0 { 0.02 } else { std })
}

/// `initializer_range` throughout; norms start as the identity.
pub(super) fn start(config: &Config, _net: &Network, site: &Site) -> Result<Law, ConfigError> {
    Ok(usual_start(site, init_std(config)?))
}
