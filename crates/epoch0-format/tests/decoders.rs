//! The decoder families beyond their shapes: published sizes, the graph that runs, and configs that are wrong.

use std::path::Path;

use epoch0_format::hf;
use epoch0_net::{Attention, Network, NormKind, Op, Role};
use serde_json::{Value, json};

fn open(config: &Value) -> Result<Network, String> {
    let config = hf::Config::parse("config.json", config.to_string().as_bytes()).unwrap();
    hf::network(&config, false).map_err(|error| error.to_string())
}

/// A small config of a family, with changes; a change to "absent" takes the key away.
#[expect(clippy::needless_pass_by_value, reason = "changes are written in place")]
fn config(family: &str, changes: Value) -> Value {
    let mut config = match family {
        "t5" => json!({
            "vocab_size": 64, "d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 3
        }),
        _ => json!({
            "vocab_size": 64, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
            "num_attention_heads": 6
        }),
    };
    config["model_type"] = family.into();
    if !["t5", "gpt_neox"].contains(&family) {
        config["num_key_value_heads"] = 2.into();
    }
    for (key, value) in changes.as_object().unwrap() {
        if value == "absent" {
            config.as_object_mut().unwrap().remove(key);
        } else {
            config[key] = value.clone();
        }
    }
    config
}

fn net(family: &str, changes: Value) -> Network {
    open(&config(family, changes)).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(family: &str, changes: Value) -> String {
    open(&config(family, changes)).expect_err("is refused")
}

fn attentions(net: &Network) -> Vec<&Attention> {
    let found = net.nodes().iter().filter_map(|node| match &node.op {
        Op::Attention(attention) => Some(attention.as_ref()),
        _ => None,
    });
    found.collect()
}

/// Names of operations.
fn ops(net: &Network) -> Vec<&'static str> {
    net.nodes().iter().map(|node| node.op.name()).collect()
}

/// Index of the branch that a weight ends, and how many there are.
fn end_of(net: &Network, name: &str) -> Option<(usize, usize)> {
    let site = net.sites().iter().find(|site| site.name == name).unwrap();
    site.ends_branch().map(|branch| (branch.index, branch.count))
}

/// Counts of parameters as published with the models.
#[test]
fn published_models_have_their_published_sizes() {
    for (name, n_params) in [
        ("llama-3-8b", 8_030_261_248),
        ("mixtral-8x7b", 46_702_792_704),
        ("pythia-160m", 162_322_944),
        ("t5-small", 60_506_624),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../examples/{name}/config.json"));
        let net = hf::open(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(net.n_params(), n_params, "{name}");
    }
}

#[test]
fn llama_runs_norms_before_branches() {
    let net = net("llama", json!({"num_hidden_layers": 1}));
    #[rustfmt::skip]
    assert_eq!(ops(&net), [
        "embedding",
        "rms_norm", "linear", "linear", "linear", "attention", "linear", "add",
        "rms_norm", "linear", "activation", "linear", "mul", "linear", "add",
        "rms_norm", "linear",
    ]);
    let [attention] = attentions(&net)[..] else { panic!() };
    assert!(attention.causal && attention.window.is_none() && attention.softcap.is_none());
    assert_eq!((attention.heads, attention.kv_heads, attention.scale), (6, 2, 0.5));
    let rope = attention.rope.as_ref().unwrap();
    assert_eq!((rope.theta, rope.dims, &rope.scaling), (10000.0, 4, &None));
    assert_eq!(end_of(&net, "model.layers.0.self_attn.o_proj.weight"), Some((0, 2)));
    assert_eq!(end_of(&net, "model.layers.0.mlp.down_proj.weight"), Some((1, 2)));
    let gate = net.sites().iter().find(|site| site.name.ends_with("gate_proj.weight")).unwrap();
    assert_eq!(gate.activation, Some("silu".parse().unwrap()));
    let up = net.sites().iter().find(|site| site.name.ends_with("up_proj.weight")).unwrap();
    assert_eq!(up.activation, None);
}

#[test]
fn gemma2_norms_both_ends_of_branches_and_caps_logits() {
    let changes = json!({
        "num_hidden_layers": 2, "head_dim": 8, "query_pre_attn_scalar": 16, "sliding_window": 5
    });
    let net = net("gemma2", changes);
    #[rustfmt::skip]
    assert_eq!(ops(&net)[..19], [
        "embedding", "scale",
        "rms_norm", "linear", "linear", "linear", "attention", "linear", "rms_norm", "add",
        "rms_norm", "linear", "activation", "linear", "mul", "linear", "rms_norm", "add",
        "rms_norm",
    ]);
    assert_eq!(ops(&net)[net.nodes().len() - 3..], ["rms_norm", "linear", "softcap"]);
    let windows: Vec<_> = attentions(&net).iter().map(|attention| attention.window).collect();
    assert_eq!(windows, [Some(5), None]);
    assert!(attentions(&net).iter().all(|a| a.scale == 0.25 && a.softcap == Some(50.0)));
    assert!(net.nodes().iter().all(|node| match &node.op {
        Op::Norm { kind, .. } => *kind == NormKind::Rms { offset: 1.0 },
        Op::Scale(factor) => *factor == 24f64.sqrt(),
        Op::Softcap(cap) => *cap == 30.0,
        _ => true,
    }));
    assert_eq!(end_of(&net, "model.layers.1.mlp.down_proj.weight"), Some((3, 4)));
    assert_eq!(
        net.params()[0].padding_row,
        Some(0),
        "Gemma's padding word is 0 unless the config says otherwise"
    );
}

#[test]
fn mixtral_routes_to_the_best_experts() {
    let net =
        net("mixtral", json!({"num_local_experts": 3, "num_experts_per_tok": 2, "num_hidden_layers": 1}));
    let mixture = net.nodes().iter().find(|node| node.op.name() == "mixture").unwrap();
    assert_eq!(mixture.op, Op::Mixture { top_k: 2, normalize: true });
    assert_eq!(mixture.inputs.len(), 4);
    let router = net.sites().iter().find(|site| site.role == Role::Router).unwrap();
    assert_eq!((router.fans.unwrap().in_, router.fans.unwrap().out), (24.0, 3.0));
    for expert in 0..3 {
        let end = format!("model.layers.0.block_sparse_moe.experts.{expert}.w2.weight");
        assert_eq!(end_of(&net, &end), Some((1, 2)), "{end}");
    }
    assert!(attentions(&net).iter().all(|attention| attention.window.is_none()));
    assert_eq!(attentions(&net)[0].rope.as_ref().unwrap().theta, 1e6);
}

#[test]
fn windows_follow_each_family() {
    let windows = |family: &str, changes: Value| {
        let net = net(family, changes);
        attentions(&net).iter().map(|attention| attention.window).collect::<Vec<_>>()
    };
    assert_eq!(windows("mistral", json!({})), [Some(4096); 2]);
    assert_eq!(windows("mistral", json!({"sliding_window": null})), [None; 2]);
    let sliding = json!({"use_sliding_window": true, "sliding_window": 7, "max_window_layers": 1});
    assert_eq!(windows("qwen2", sliding), [None, Some(7)]);
    assert_eq!(windows("qwen2", json!({"sliding_window": 7, "max_window_layers": 0})), [None; 2]);
    let types = json!({
        "use_sliding_window": true, "sliding_window": 7, "layer_types": ["sliding_attention", "full_attention"]
    });
    assert_eq!(windows("qwen3", types), [Some(7), None]);
}

#[test]
fn gpt_neox_runs_branches_side_by_side_or_in_turn() {
    let side_by_side = net("gpt_neox", json!({"num_hidden_layers": 1, "num_attention_heads": 3}));
    #[rustfmt::skip]
    assert_eq!(ops(&side_by_side)[1..11], [
        "layer_norm", "linear", "split_in_heads", "attention", "linear",
        "layer_norm", "linear", "activation", "linear", "add",
    ]);
    let norms: Vec<_> = side_by_side.nodes().iter().filter(|node| node.op.name() == "layer_norm").collect();
    assert_eq!(norms[0].inputs, norms[1].inputs, "both branches read the same stream");
    assert_eq!(attentions(&side_by_side)[0].rope.as_ref().unwrap().dims, 2);
    for (name, index) in [("attention.dense", 1), ("mlp.dense_4h_to_h", 0)] {
        let name = format!("gpt_neox.layers.0.{name}.weight");
        assert_eq!(end_of(&side_by_side, &name), Some((index, 2)), "{name}");
    }
    let changes = json!({"num_hidden_layers": 1, "num_attention_heads": 3, "use_parallel_residual": false});
    let in_turn = net("gpt_neox", changes);
    assert_eq!(ops(&in_turn).iter().filter(|op| **op == "add").count(), 2);
    let norms: Vec<_> = in_turn.nodes().iter().filter(|node| node.op.name() == "layer_norm").collect();
    assert_ne!(norms[0].inputs, norms[1].inputs);
    let heads = net("gpt_neox", json!({"num_attention_heads": 3}));
    let keys = heads.sites().iter().find(|site| site.part.as_deref() == Some("k")).unwrap();
    assert_eq!((keys.view.offset, &keys.view.out), (8 * 24, &vec![(3, 24 * 24), (8, 24)]));
}

#[test]
fn t5_shares_one_bias_in_each_stack() {
    let net = net("t5", json!({}));
    let biases: Vec<_> = net.nodes().iter().filter(|node| node.op.name() == "relative_bias").collect();
    let directions: Vec<_> = biases
        .iter()
        .map(|node| match node.op {
            Op::RelativeBias { bidirectional, buckets, max_distance, .. } => {
                (bidirectional, buckets, max_distance)
            }
            _ => unreachable!(),
        })
        .collect();
    assert_eq!(directions, [(true, 32, 128), (false, 32, 128)]);
    let nodes: Vec<_> = net.nodes().iter().filter(|node| matches!(node.op, Op::Attention(_))).collect();
    let bias_of: Vec<_> = nodes.iter().map(|node| node.inputs.get(3).copied()).collect();
    let (encoder, decoder) = (Some(biases[0].outputs[0]), Some(biases[1].outputs[0]));
    assert_eq!(bias_of, [encoder, encoder, decoder, None, decoder, None]);
    let causal: Vec<_> = attentions(&net).iter().map(|attention| attention.causal).collect();
    assert_eq!(causal, [false, false, true, false, true, false]);
    assert!(attentions(&net).iter().all(|attention| attention.scale == 1.0 && attention.rope.is_none()));
    // Cross attention reads what the encoder ends with.
    let norm = |name: &str| {
        let scale = net.find(name).unwrap();
        net.nodes().iter().find(|node| node.op.params() == [scale]).unwrap().outputs[0]
    };
    let encoded = norm("encoder.final_layer_norm.weight");
    let readers = net.nodes().iter().filter(|node| node.inputs.contains(&encoded)).count();
    assert_eq!(readers, 4, "keys and values of two layers");
    assert_eq!(ops(&net)[net.nodes().len() - 3..], ["rms_norm", "scale", "linear"]);
    assert_eq!(end_of(&net, "decoder.block.1.layer.2.DenseReluDense.wo.weight").unwrap().1, 6);
    // The encoder that it asks is none of the branch's.
    let asks = "decoder.block.1.layer.1.EncDecAttention.";
    for part in ["q", "k", "v", "o"] {
        let name = format!("{asks}{part}.weight");
        let branch = net.sites().iter().find(|site| site.name == name).unwrap().branch.unwrap();
        assert_eq!((branch.index, branch.count, branch.degree), (4, 6, 4), "{name}");
    }
    assert_eq!(end_of(&net, "encoder.block.1.layer.1.DenseReluDense.wo.weight").unwrap().1, 4);
}

#[test]
fn t5_1_1_is_gated_and_does_not_scale_what_it_reads_out() {
    let net = net("t5", json!({"feed_forward_proj": "gated-gelu", "tie_word_embeddings": false}));
    assert!(!ops(&net).contains(&"scale"));
    let gate = net.sites().iter().find(|site| site.name.ends_with("wi_0.weight")).unwrap();
    assert_eq!(gate.activation, Some("gelu_new".parse().unwrap()));
    assert_eq!(net.find("lm_head.weight"), net.find("shared.weight"));
}

#[test]
fn scaled_rotary_positions_are_complete() {
    let changes = json!({
        "max_position_embeddings": 64, "rope_theta": 5.0,
        "rope_scaling": {"type": "yarn", "factor": 2.0, "rope_theta": 7.0}
    });
    let net = net("llama", changes);
    let rope = attentions(&net)[0].rope.clone().unwrap();
    assert_eq!(rope.theta, 7.0);
    let scaling = json!({
        "factor": 2.0, "max_position_embeddings": 64, "original_max_position_embeddings": 64, "rope_type": "yarn"
    });
    assert_eq!(rope.scaling, Some(scaling));
}

#[test]
fn initializer_range_of_zero_is_read_as_transformers_reads_it() {
    let net = net("mixtral", json!({"initializer_range": 0.0, "num_hidden_layers": 1}));
    let std = |name: &str| net.param(net.find(name).unwrap()).native.unwrap().std();
    assert_eq!(std("model.embed_tokens.weight"), 0.02);
    assert_eq!(std("model.layers.0.block_sparse_moe.experts.0.w1.weight"), 0.0);
}

#[test]
fn wrong_configs_are_refused_with_what_is_allowed() {
    for (family, changes, message) in [
        (
            "llama",
            json!({"hidden_size": "absent"}),
            "config.json: key `hidden_size` is missing, which llama needs\n\
             hint: transformers would take 4096; write it in the config if that is meant",
        ),
        (
            "t5",
            json!({"d_kv": "absent"}),
            "config.json: key `d_kv` is missing, which t5 needs\n\
             hint: transformers would take 64; write it in the config if that is meant",
        ),
        (
            "mistral",
            json!({"vocab_size": "many"}),
            "config.json: key `vocab_size` is \"many\", allowed a whole number from 1 to 2^32",
        ),
        (
            "llama",
            json!({"num_hidden_layers": 100_000}),
            "config.json: key `num_hidden_layers` is 100000, allowed a whole number from 1 to 1024",
        ),
        (
            "llama",
            json!({"hidden_size": 26}),
            "config.json: key `hidden_size` is 26, allowed a multiple of num_attention_heads, 6",
        ),
        (
            "gpt_neox",
            json!({"hidden_size": 26}),
            "config.json: key `hidden_size` is 26, allowed a multiple of num_attention_heads, 6",
        ),
        (
            "mixtral",
            json!({"num_key_value_heads": 4}),
            "config.json: key `num_key_value_heads` is 4, allowed a divisor of num_attention_heads, 6",
        ),
        (
            "qwen3",
            json!({"head_dim": 5}),
            "config.json: key `head_dim` is 5, allowed what lets an even number of a head's 5 dimensions rotate\n\
             hint: 5 would, and rotary positions turn dimensions in pairs",
        ),
        (
            "gpt_neox",
            json!({}),
            "config.json: key `rotary_pct` is absent, allowed what lets an even number of a head's 4 dimensions \
             rotate\nhint: 1 would, and rotary positions turn dimensions in pairs",
        ),
        (
            "gpt_neox",
            json!({"rotary_pct": 1.5}),
            "config.json: key `rotary_pct` is 1.5, allowed a number from 0 to 1",
        ),
        (
            "llama",
            json!({"num_atention_heads": 6}),
            "config.json: key `num_atention_heads` is unknown to llama, did you mean `num_attention_heads`?\n\
             hint: known keys are architectures, attention_bias, dtype, head_dim, hidden_act, hidden_size, \
             initializer_range, intermediate_size, mlp_bias, model_type, num_attention_heads, num_hidden_layers, \
             num_key_value_heads, pad_token_id, rms_norm_eps, rope_parameters, rope_scaling, rope_theta, \
             tie_word_embeddings, torch_dtype, vocab_size",
        ),
        (
            "mistral",
            json!({"architectures": ["MistralForPoetry"]}),
            "config.json: key `architectures` is [\"MistralForPoetry\"], allowed a list with one of \
             MistralForCausalLM, MistralModel, MistralForSequenceClassification, MistralForTokenClassification",
        ),
        (
            "llama",
            json!({"pad_token_id": 64}),
            "config.json: key `pad_token_id` is 64, allowed a whole number from -64 to 63, or null",
        ),
        (
            "llama",
            json!({"hidden_act": "sillu"}),
            "config.json: key `hidden_act` is \"sillu\", allowed an activation, such as relu, gelu, gelu_new, silu, \
             tanh",
        ),
        (
            "llama",
            json!({"rope_parameters": {"rope_type": "spiral"}}),
            "config.json: key `rope_parameters.rope_type` is \"spiral\", allowed default, dynamic, linear, llama3, \
             longrope or yarn",
        ),
        (
            "llama",
            json!({"rope_scaling": {"type": "linear"}}),
            "config.json: key `rope_scaling.factor` is missing, which llama needs",
        ),
        ("llama", json!({"rope_theta": 0}), "config.json: key `rope_theta` is 0, allowed a number above 0"),
        (
            "qwen2",
            json!({"layer_types": ["full_attention"]}),
            "config.json: key `layer_types` is [\"full_attention\"], allowed a list with one entry for each of 2 \
             layers",
        ),
        (
            "qwen2",
            json!({"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 8}),
            "config.json: key `sliding_window` is 8, allowed nothing without use_sliding_window, as layer_types \
             has layers that slide",
        ),
        (
            "gemma2",
            json!({"head_dim": 8, "sliding_window": null}),
            "config.json: key `sliding_window` is null, allowed a whole number from 1, as some layers slide",
        ),
        (
            "gemma2",
            json!({"head_dim": 8, "use_bidirectional_attention": true}),
            "config.json: key `use_bidirectional_attention` is true, allowed false or null\n\
             hint: whether `transformers` then sees ahead depends on its attention kernel, so the network is not \
             decided by its config",
        ),
        (
            "gemma2",
            json!({"head_dim": 8, "attn_logit_softcapping": 0}),
            "config.json: key `attn_logit_softcapping` is 0, allowed a number above 0, or null",
        ),
        (
            "mixtral",
            json!({"num_experts_per_tok": 9}),
            "config.json: key `num_experts_per_tok` is 9, allowed a whole number from 1 to 8",
        ),
        (
            "t5",
            json!({"feed_forward_proj": "gated-silu-twice"}),
            "config.json: key `feed_forward_proj` is \"gated-silu-twice\", allowed an activation, or gated- and an \
             activation",
        ),
        (
            "t5",
            json!({"relative_attention_num_buckets": 3}),
            "config.json: encoder.block.0.layer.0.SelfAttention.relative_attention_bias: buckets is 3, allowed at \
             least 4",
        ),
        (
            "lama",
            json!({}),
            "config.json: model_type `lama` is unknown, did you mean `llama`?\nhint: known are ",
        ),
        (
            "llama",
            json!({"model_type": "absent"}),
            "config.json: key `model_type` is missing, which every family needs\nhint: known are ",
        ),
    ] {
        let found = refusal(family, changes);
        // The list of families grows; all other messages are whole.
        let is_met = if message.ends_with(' ') { found.starts_with(message) } else { found == message };
        assert!(is_met, "found:\n{found}\nwanted:\n{message}");
    }
}
