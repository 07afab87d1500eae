//! What laws of starts from other networks are shown on: networks with weights of every kind, and children of them.

use epoch0_engine::{Batch, Device, Elements, Mode, Precision, Value, Weights, run};
use epoch0_format::hf::{self, Config};
use epoch0_method::{Error, Values, Verdict};
use epoch0_net::{Network, Role, zoo};
use epoch0_num::{Dtype, Law, Stream};
use epoch0_train::claims::of;
use serde_json::{Map, Value as Json};

use crate::{Inheritor, Kin, made};

/// A network of the zoo in double precision.
pub(crate) fn built(spec: &str) -> Result<Network, Error> {
    let mut net = of(zoo::build(spec))?;
    net.set_dtype(Dtype::F64);
    Ok(net)
}

/// Values of a method's parameters, as a user writes them.
pub(crate) fn set(values: &[(&str, &str)]) -> Values {
    values.iter().map(|(name, value)| ((*name).to_owned(), epoch0_method::Value::parse(value))).collect()
}

/// Weights that nothing is special about: norms are not the identity, biases not zero, variances not one.
pub(crate) fn trained(net: &Network, seed: u64) -> Result<Weights, Error> {
    of(Weights::read::<epoch0_engine::Error>(net, Precision::Double, &Device::cpu(), |id, param| {
        let fan_in = net.sites_of(id).find_map(|site| site.fans).map_or(1.0, |fans| fans.in_);
        let law = match param.role {
            role if role.is_matrix() => Law::normal(0.0, (1.5 / fan_in).sqrt()),
            Role::RunningVar => Law::Uniform { low: 0.5, high: 2.0 },
            Role::NormScale | Role::LayerScale | Role::Scalar => Law::normal(1.0, 0.3),
            _ => Law::normal(0.1, 0.5),
        };
        let mut values = vec![0.0; param.len()];
        let drawn = law.fill(&Stream::new(seed, &param.name), 0, &mut values);
        drawn.map_err(|error| epoch0_engine::Error::Param {
            name: param.name.clone(),
            found: error.to_string(),
            allowed: "a law".to_owned(),
        })?;
        Ok(Elements::Double(values))
    }))
}

/// How far the answers of a child that a method makes are from its parent's: see [`deviation`].
pub(crate) fn off(method: &dyn Inheritor, parent: &Network, mut child: Network) -> Result<f64, Error> {
    let found = method.inherit(&Kin::new(parent, &child))?;
    found.epsilon.into_iter().for_each(|epsilon| child.set_norm_epsilon(epsilon));
    let theirs = trained(parent, 1)?;
    let own = made(&found, (parent, &theirs), &child, &trained(&child, 2)?)?;
    deviation((parent, &theirs), (&child, &own))
}

/// The largest of what [`off`] answers over pairs: two networks of the zoo, or one of [`FAMILIES`] and what its config becomes.
pub(crate) fn off_all(method: &dyn Inheritor, pairs: &[[&str; 2]]) -> Result<Verdict, Error> {
    let mut worst = 0.0f64;
    let mut details = Vec::new();
    for [parent, child] in pairs {
        let found = match FAMILIES.iter().find(|(name, ..)| name == parent) {
            Some((_, config, _)) => off(method, &configured(config, "{}")?, configured(config, child)?)?,
            None => off(method, &built(parent)?, built(child)?)?,
        };
        worst = worst.max(if found.is_nan() { f64::INFINITY } else { found });
        details.push(format!("{parent} to {child}: {found:.1e}"));
    }
    Ok(Verdict { details, ..Verdict::at_most(worst, 1e-10) })
}

/// A network of a Hugging Face config, in double precision; keys of `more` go before those of `config`.
pub(crate) fn configured(config: &str, more: &str) -> Result<Network, Error> {
    let mut keys: Map<String, Json> = of(serde_json::from_str(config))?;
    keys.extend(of(serde_json::from_str::<Map<String, Json>>(more))?);
    let config = of(Config::parse("a claim's config", Json::Object(keys).to_string().as_bytes()))?;
    let mut net = of(hf::network(&config, false))?;
    net.set_dtype(Dtype::F64);
    Ok(net)
}

/// What a network answers to inputs drawn to match `like`.
pub(crate) fn answers(net: &Network, weights: &Weights, like: &Network) -> Result<Vec<f64>, Error> {
    let batch = of(Batch::matched(like, 2, 0, Precision::Double, &Device::cpu()))?;
    let ran = of(run(net, &weights.constants(), &batch.inputs, Mode::Eval, &mut |_| Ok(())))?;
    Ok(ran.outputs.iter().filter_map(Value::real).flat_map(|var| var.value().to_f64()).collect())
}

/// The largest difference of what a child answers, as a share of the parent's largest answer.
pub(crate) fn deviation(
    (parent, theirs): (&Network, &Weights),
    (child, own): (&Network, &Weights),
) -> Result<f64, Error> {
    let (wanted, found) = (answers(parent, theirs, parent)?, answers(child, own, parent)?);
    if wanted.len() != found.len() {
        return Ok(f64::INFINITY);
    }
    let largest = wanted.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    let off = wanted.iter().zip(&found).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()));
    Ok(off / largest)
}

/// Transformers of Hugging Face, and what of them can be larger so that answers stay.
pub(crate) const FAMILIES: &[(&str, &str, &[&str])] = &[
    (
        "gpt2",
        r#"{"model_type":"gpt2","architectures":["GPT2LMHeadModel"],"vocab_size":20,"n_positions":8,"n_embd":16,"n_layer":2,"n_head":2,"n_inner":32}"#,
        &[
            r#"{"n_inner":40}"#,
            r#"{"n_embd":24,"n_head":3}"#,
            r#"{"n_embd":24}"#,
            r#"{"n_layer":3}"#,
            r#"{"n_embd":40,"n_head":5,"n_layer":5,"n_inner":33}"#,
            r#"{"n_embd":40,"n_head":2,"n_layer":3,"scale_attn_by_inverse_layer_idx":false}"#,
        ],
    ),
    (
        "llama",
        r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],"vocab_size":20,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":4}"#,
        &[
            r#"{"intermediate_size":31}"#,
            r#"{"num_attention_heads":8}"#,
            r#"{"num_attention_heads":6,"num_key_value_heads":3,"hidden_size":18}"#,
            r#"{"head_dim":8}"#,
            r#"{"hidden_size":28}"#,
            r#"{"num_hidden_layers":3}"#,
            r#"{"num_attention_heads":12,"num_key_value_heads":3,"head_dim":12,"hidden_size":24,"intermediate_size":25,"num_hidden_layers":5}"#,
        ],
    ),
    (
        "llama with one key head",
        r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],"vocab_size":20,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1,"head_dim":4,"tie_word_embeddings":true}"#,
        &[r#"{"num_attention_heads":4,"num_key_value_heads":2}"#, r#"{"head_dim":8,"hidden_size":20}"#],
    ),
    (
        "llama with one head",
        r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],"vocab_size":20,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":1,"num_attention_heads":1,"num_key_value_heads":1,"head_dim":4}"#,
        &[r#"{"num_attention_heads":2,"num_key_value_heads":2}"#, r#"{"head_dim":8}"#],
    ),
    (
        "qwen3",
        r#"{"model_type":"qwen3","architectures":["Qwen3ForCausalLM"],"vocab_size":20,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":4,"tie_word_embeddings":true}"#,
        &[r#"{"num_attention_heads":8,"num_hidden_layers":4,"intermediate_size":30}"#],
    ),
    (
        "gemma2",
        r#"{"model_type":"gemma2","architectures":["Gemma2ForCausalLM"],"vocab_size":20,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"head_dim":4,"sliding_window":4}"#,
        &[
            r#"{"hidden_size":28,"intermediate_size":30}"#,
            r#"{"num_attention_heads":8,"head_dim":8}"#,
            r#"{"num_hidden_layers":4,"layer_types":["sliding_attention","sliding_attention","full_attention","full_attention"]}"#,
        ],
    ),
    (
        "gpt_neox",
        r#"{"model_type":"gpt_neox","architectures":["GPTNeoXForCausalLM"],"vocab_size":20,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":2,"rotary_pct":0.5,"max_position_embeddings":8}"#,
        &[
            r#"{"hidden_size":24,"num_attention_heads":3}"#,
            r#"{"hidden_size":32}"#,
            r#"{"num_hidden_layers":3,"intermediate_size":30}"#,
        ],
    ),
    (
        "mixtral",
        r#"{"model_type":"mixtral","architectures":["MixtralForCausalLM"],"vocab_size":20,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":1,"num_attention_heads":4,"num_key_value_heads":2,"num_local_experts":3,"num_experts_per_tok":2,"sliding_window":null}"#,
        &[r#"{"hidden_size":24,"intermediate_size":25,"num_attention_heads":6}"#],
    ),
    (
        "t5",
        r#"{"model_type":"t5","architectures":["T5ForConditionalGeneration"],"vocab_size":20,"d_model":16,"d_kv":4,"d_ff":24,"num_layers":2,"num_heads":2,"relative_attention_num_buckets":8}"#,
        &[r#"{"d_model":24,"d_ff":30,"num_heads":3}"#, r#"{"d_kv":8}"#],
    ),
    (
        "vit",
        r#"{"model_type":"vit","architectures":["ViTForImageClassification"],"hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":2,"image_size":8,"patch_size":4,"num_channels":1,"num_labels":3}"#,
        &[r#"{"hidden_size":24,"num_attention_heads":3,"num_hidden_layers":3,"intermediate_size":25}"#],
    ),
    (
        "bert",
        r#"{"model_type":"bert","architectures":["BertForMaskedLM"],"vocab_size":20,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":2,"max_position_embeddings":8,"hidden_act":"gelu"}"#,
        &[r#"{"intermediate_size":30}"#],
    ),
];

/// What can be repeated so that answers stay.
pub(crate) const REPEATED: &[[&str; 2]] = &[
    ["mlp:8-16-4", "mlp:8-24-4"],
    ["wide_resnet:10-2,size=8", "wide_resnet:10-3,size=8"],
    ["gpt2", r#"{"n_embd":32,"n_head":4}"#],
    ["gpt2", r#"{"n_embd":48,"n_head":2,"n_layer":3,"n_inner":50}"#],
    ["llama", r#"{"hidden_size":32,"num_attention_heads":8,"num_key_value_heads":4,"intermediate_size":48}"#],
    ["llama", r#"{"num_attention_heads":8}"#],
    ["llama with one key head", r#"{"hidden_size":32,"num_attention_heads":4}"#],
    ["qwen3", r#"{"hidden_size":48,"num_attention_heads":12,"num_key_value_heads":6,"num_hidden_layers":3}"#],
    ["gemma2", r#"{"hidden_size":32,"intermediate_size":48}"#],
    ["gpt_neox", r#"{"hidden_size":32,"num_attention_heads":4}"#],
    ["vit", r#"{"hidden_size":32,"num_attention_heads":4,"num_hidden_layers":3}"#],
    ["bert", r#"{"hidden_size":32,"num_attention_heads":4,"intermediate_size":48}"#],
    ["bert", r#"{"hidden_size":32}"#],
];
