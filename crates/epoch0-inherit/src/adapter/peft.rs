//! The folder that peft loads: names and shapes of tensors, and `adapter_config.json`.

use epoch0_net::{Network, Source};
use serde_json::{Map, Value, json};

use super::{Config, Kind, Target, targets};

/// File of the adapter's tensors.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// File that says what the adapter is.
pub const CONFIG_FILE: &str = "adapter_config.json";

/// Ends of names in checkpoints of vision transformers, and of the modules that transformers makes of them (since 5).
const OF_VISION: [(&str, &str); 6] = [
    (".attention.attention.query", ".attention.q_proj"),
    (".attention.attention.key", ".attention.k_proj"),
    (".attention.attention.value", ".attention.v_proj"),
    (".attention.output.dense", ".attention.o_proj"),
    (".intermediate.dense", ".mlp.fc1"),
    (".output.dense", ".mlp.fc2"),
];

/// The module that one of a checkpoint is once transformers has loaded it; none where it is none by itself.
pub fn loaded(net: &Network, module: &str) -> Option<String> {
    let Source::HuggingFace { model_type, .. } = net.source() else { return Some(module.to_owned()) };
    match model_type.as_str() {
        "vit" | "deit" if module.contains("encoder.layer.") => {
            let module = module.replacen("encoder.layer.", "layers.", 1);
            let ending = OF_VISION.iter().find_map(|(old, new)| Some((module.strip_suffix(old)?, new)));
            Some(ending.map_or_else(|| module.clone(), |(rest, new)| format!("{rest}{new}")))
        }
        "gpt_neox" if module == "embed_out" => Some("lm_head".to_owned()),
        // Experts are one array there, and their router no linear map.
        "mixtral" if module.contains("block_sparse_moe.") => None,
        _ => Some(module.to_owned()),
    }
}

/// The part of a target's adapter that a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What reads.
    A,
    /// What writes.
    B,
    /// Norms of outputs, with DoRA.
    Magnitude,
}

/// Name of a tensor.
pub fn name(target: &Target, part: Part) -> String {
    let part = match (part, target.kind) {
        (Part::A, Kind::Embedding) => "lora_embedding_A",
        (Part::B, Kind::Embedding) => "lora_embedding_B",
        (Part::A, _) => "lora_A.weight",
        (Part::B, _) => "lora_B.weight",
        (Part::Magnitude, _) => "lora_magnitude_vector",
    };
    format!("base_model.model.{}.{part}", target.loaded)
}

/// Shape of a tensor at a rank.
pub fn shape(target: &Target, part: Part, rank: usize) -> Vec<usize> {
    let n_windows: usize = target.window.iter().product();
    let ones = || target.window.iter().map(|_| 1);
    match (part, target.kind) {
        (Part::A, Kind::Conv) => [rank, target.columns / n_windows.max(1)]
            .into_iter()
            .chain(target.window.iter().copied())
            .collect(),
        (Part::A, _) => vec![rank, target.columns],
        (Part::B, Kind::Conv) => [target.rows, rank].into_iter().chain(ones()).collect(),
        (Part::B, _) => vec![target.rows, rank],
        (Part::Magnitude, Kind::Conv) => [1, target.rows].into_iter().chain(ones()).collect(),
        (Part::Magnitude, _) => vec![target.rows],
    }
}

/// What the config says of an adapter.
#[derive(Clone, Debug)]
pub struct About<'a> {
    /// Where the network is that it stands beside.
    pub base: &'a str,
    /// As it was asked for.
    pub config: &'a Config,
    /// Those that have one, with its rank and its factor in the files.
    pub targets: &'a [(Target, usize, f64)],
    /// The `init_lora_weights` with which it is loaded.
    pub init: Value,
}

/// A number as people write it: whole where it is.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

/// Text of `adapter_config.json`. Of ranks and alphas those that most have are said once, the others by module.
pub fn config_text(net: &Network, about: &About<'_>) -> String {
    let config = about.config;
    let alpha = |rank: usize, scale: f64| scale * config.share(rank);
    // The asked rank, doubled where all are, is the one that most have.
    let ranks: Vec<usize> = about.targets.iter().map(|(_, rank, _)| *rank).collect();
    let most = |rank: &&usize| ranks.iter().filter(|other| other == rank).count();
    let rank = ranks.iter().max_by_key(|rank| (most(rank), **rank)).copied().unwrap_or(config.rank);
    let alphas: Vec<f64> = about.targets.iter().map(|(_, rank, scale)| alpha(*rank, *scale)).collect();
    // Scales are rounded: alphas that differ by that only are one.
    let is_same = |a: f64, b: f64| (a - b).abs() <= 1e-12 * a.abs();
    let most = |at: &usize| alphas.iter().filter(|other| is_same(alphas[*at], **other)).count();
    let common = (0..alphas.len())
        .max_by_key(|at| (most(at), usize::MAX - at))
        .map_or(config.alpha(), |at| alphas[at]);
    let common = if is_same(common, common.round()) { common.round() } else { common };
    let others = about.targets.iter().zip(&alphas);
    let rank_pattern: Map<String, Value> = others
        .clone()
        .filter(|((_, own, _), _)| *own != rank)
        .map(|((target, own, _), _)| (target.loaded.clone(), json!(own)))
        .collect();
    let alpha_pattern: Map<String, Value> = others
        .filter(|(_, alpha)| !is_same(**alpha, common))
        .map(|((target, ..), alpha)| (target.loaded.clone(), number(*alpha)))
        .collect();
    let all: Vec<Target> = about.targets.iter().map(|(target, ..)| target.clone()).collect();
    let task = match net.source() {
        Source::HuggingFace { architecture, .. }
            if architecture.ends_with("ForCausalLM") || architecture.ends_with("LMHeadModel") =>
        {
            json!("CAUSAL_LM")
        }
        _ => Value::Null,
    };
    let text = json!({
        "alpha_pattern": alpha_pattern,
        "auto_mapping": null,
        "base_model_name_or_path": about.base,
        "bias": "none",
        "corda_config": null,
        "eva_config": null,
        "exclude_modules": null,
        "fan_in_fan_out": all.iter().any(|target| target.kind == Kind::Linear && target.is_transposed),
        "inference_mode": true,
        "init_lora_weights": about.init,
        "layer_replication": null,
        "layers_pattern": null,
        "layers_to_transform": null,
        "loftq_config": {},
        "lora_alpha": number(common),
        "lora_bias": false,
        "lora_dropout": 0.0,
        "megatron_config": null,
        "megatron_core": "megatron.core",
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": rank_pattern,
        "revision": null,
        "target_modules": targets::endings_of(net, &all),
        "target_parameters": null,
        "task_type": task,
        "trainable_token_indices": null,
        "use_dora": config.dora,
        "use_rslora": config.rslora,
    });
    serde_json::to_string_pretty(&text).expect("a config is plain data") + "\n"
}

#[cfg(test)]
mod tests {
    use epoch0_net::zoo;

    use super::*;
    use crate::adapter::Targets;

    #[test]
    fn shapes_of_convolutions_have_windows() {
        let net = zoo::build("lenet").unwrap();
        let conv = targets::all(&net).into_iter().find(|target| target.kind == Kind::Conv).unwrap();
        let of = &net.param(conv.param).shape;
        assert_eq!(shape(&conv, Part::A, 2), [2, of[1], of[2], of[3]]);
        assert_eq!(shape(&conv, Part::B, 2), [of[0], 2, 1, 1]);
        assert_eq!(shape(&conv, Part::Magnitude, 2), [1, of[0], 1, 1]);
    }

    #[test]
    fn what_most_have_is_said_once() {
        let net = zoo::build("gpt:layers=3,heads=2,embed=8,vocab=9,positions=4").unwrap();
        let found = targets::find("lora_a", &net, &Targets::Usual).unwrap();
        let config = Config { alpha: Some(16.0), ..Config::default() };
        let ranks = [(8, 2.0), (3, 16.0 / 3.0), (8, 2.0)];
        let targets: Vec<_> =
            found.into_iter().zip(ranks).map(|(target, (rank, scale))| (target, rank, scale)).collect();
        let about = About { base: "base", config: &config, targets: &targets, init: true.into() };
        let text: Value = serde_json::from_str(&config_text(&net, &about)).unwrap();
        assert_eq!((&text["r"], &text["lora_alpha"]), (&json!(8), &json!(16)));
        assert_eq!(text["rank_pattern"], json!({ "transformer.h.1.attn.c_attn": 3 }));
        assert_eq!(text["alpha_pattern"], json!({}));
        assert_eq!(text["target_modules"], json!(["c_attn"]));
    }
}
