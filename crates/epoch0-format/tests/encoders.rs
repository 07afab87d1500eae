//! Encoders and vision networks: published sizes, and what is derived from their graphs.

use std::path::{Path, PathBuf};

use epoch0_format::hf::{self, Config};
use epoch0_net::{Fans, Network, Op, Param, Role, Site};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn open(path: &str) -> Network {
    hf::open(&root().join(path)).unwrap_or_else(|error| panic!("{error}"))
}

fn case(name: &str) -> Network {
    open(&format!("tests/peers/configs/{name}.json"))
}

fn parse(text: &str) -> Result<Network, String> {
    let config = Config::parse("config.json", text.as_bytes()).map_err(|error| error.to_string())?;
    hf::network(&config, false).map_err(|error| error.to_string())
}

fn site<'a>(net: &'a Network, name: &str) -> &'a Site {
    net.sites().iter().find(|site| site.name == name).unwrap_or_else(|| panic!("{name}"))
}

fn param<'a>(net: &'a Network, name: &str) -> &'a Param {
    net.param(net.find(name).unwrap_or_else(|| panic!("{name}")))
}

fn axis(net: &Network, name: &str, dim: usize) -> String {
    net.axis(param(net, name).axes[dim]).name.clone()
}

fn activation(net: &Network, name: &str) -> String {
    site(net, name).activation.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn fans(net: &Network, name: &str) -> (f64, f64) {
    let Fans { in_, out } = site(net, name).fans.unwrap();
    (in_, out)
}

/// Ends of residual branches as `(name, index, count)`.
fn ends(net: &Network) -> Vec<(String, usize, usize)> {
    let end = |site: &Site| Some((site.name.clone(), site.ends_branch()?.index, site.ends_branch()?.count));
    net.sites().iter().filter_map(end).collect()
}

fn numbered(names: &[&str]) -> Vec<(String, usize, usize)> {
    names.iter().enumerate().map(|(index, name)| ((*name).to_owned(), index, names.len())).collect()
}

/// Counts of the published checkpoints (`sum(p.numel() for p in model.parameters())`).
#[test]
fn published_configs_have_the_published_number_of_parameters() {
    for (name, n_params, n_residual) in [
        ("bert-base", 109_514_298, 24),
        ("clip-vit-base-patch32", 151_277_313, 48),
        ("resnet-50", 25_557_032, 16),
        ("vit-base", 86_567_656, 24),
    ] {
        let net = open(&format!("examples/{name}/config.json"));
        assert_eq!(net.n_params(), n_params, "{name}");
        assert_eq!(ends(&net).len(), n_residual, "{name}");
    }
}

#[test]
fn bert_ends_its_branches_before_the_norms() {
    let net = case("bert-1");
    let names = [
        "bert.encoder.layer.0.attention.output.dense.weight",
        "bert.encoder.layer.0.output.dense.weight",
        "bert.encoder.layer.1.attention.output.dense.weight",
        "bert.encoder.layer.1.output.dense.weight",
    ];
    assert_eq!(ends(&net), numbered(&names));
    assert_eq!(activation(&net, "bert.encoder.layer.0.intermediate.dense.weight"), "gelu");
    assert_eq!(activation(&net, "cls.predictions.transform.dense.weight"), "gelu");
    assert_eq!(activation(&net, names[1]), "");
    assert_eq!(fans(&net, names[3]), (96.0, 48.0));
    for (name, dim) in [
        ("bert.embeddings.word_embeddings.weight", 1),
        ("bert.embeddings.token_type_embeddings.weight", 1),
        ("bert.encoder.layer.0.attention.self.query.weight", 1),
        (names[0], 0),
        ("bert.encoder.layer.1.output.LayerNorm.bias", 0),
        ("cls.predictions.transform.LayerNorm.weight", 0),
    ] {
        assert_eq!(axis(&net, name, dim), "embed", "{name}");
    }
    let words = net.find("cls.predictions.decoder.weight").unwrap();
    let roles: Vec<_> = net.sites().iter().filter(|site| site.param == words).map(|site| site.role).collect();
    assert_eq!(roles, [Role::Embedding, Role::Readout]);
    assert_eq!(
        param(&net, "cls.predictions.bias").axes[0],
        param(&net, "bert.embeddings.word_embeddings.weight").axes[0]
    );
}

#[test]
fn pooler_ends_in_tanh_and_decoders_look_back() {
    let net = case("bert-3");
    assert_eq!(activation(&net, "pooler.dense.weight"), "tanh");
    assert_eq!(activation(&net, "encoder.layer.0.intermediate.dense.weight"), "gelu_tanh");
    assert_eq!(activation(&case("roberta-1"), "lm_head.dense.weight"), "gelu");
    assert_eq!(activation(&case("distilbert-3"), "pre_classifier.weight"), "relu");
    let is_causal = |net: &Network| {
        net.nodes().iter().find_map(|node| match &node.op {
            Op::Attention(attention) => Some(attention.causal),
            _ => None,
        })
    };
    assert_eq!([is_causal(&case("bert-6")), is_causal(&net)], [Some(true), Some(false)]);
}

#[test]
fn padding_rows_are_those_of_the_tables() {
    let rows = |net: &Network, tables: [&str; 2]| tables.map(|table| param(net, table).padding_row);
    let bert = ["bert.embeddings.word_embeddings.weight", "bert.embeddings.position_embeddings.weight"];
    assert_eq!(rows(&case("bert-1"), bert), [Some(0), None]);
    assert_eq!(rows(&case("bert-2"), bert), [None, None]);
    assert_eq!(rows(&case("bert-4"), bert), [Some(7), None]);
    let roberta = bert.map(|name| name.replace("bert.", "roberta."));
    let roberta = [roberta[0].as_str(), roberta[1].as_str()];
    assert_eq!(rows(&case("roberta-1"), roberta), [Some(1), Some(1)]);
    assert_eq!(rows(&case("roberta-2"), roberta), [Some(3), Some(3)]);
    assert_eq!(rows(&case("roberta-6"), roberta), [None, None]);
}

#[test]
fn vit_reads_patches_after_the_tokens() {
    let net = case("vit-1");
    assert_eq!(
        ends(&net),
        numbered(&[
            "vit.encoder.layer.0.attention.output.dense.weight",
            "vit.encoder.layer.0.output.dense.weight",
            "vit.encoder.layer.1.attention.output.dense.weight",
            "vit.encoder.layer.1.output.dense.weight",
        ])
    );
    assert_eq!(fans(&net, "vit.embeddings.patch_embeddings.projection.weight"), (192.0, 48.0 * 64.0));
    for (name, dim) in [
        ("vit.embeddings.cls_token", 2),
        ("vit.embeddings.position_embeddings", 2),
        ("vit.embeddings.patch_embeddings.projection.weight", 0),
        ("vit.layernorm.weight", 0),
        ("classifier.weight", 1),
    ] {
        assert_eq!(axis(&net, name, dim), "embed", "{name}");
    }
    // Three heads of 13 over a width of 40.
    let net = case("vit-2");
    assert_eq!(fans(&net, "encoder.layer.0.attention.attention.key.weight"), (40.0, 39.0));
    assert_eq!(param(&net, "embeddings.position_embeddings").shape, [1, 1 + 3 * 5, 40]);
    assert_eq!(activation(&net, "pooler.dense.weight"), "relu");
}

#[test]
fn deit_answers_with_the_mean_of_its_two_heads() {
    let net = case("deit-1");
    assert_eq!(param(&net, "deit.embeddings.position_embeddings").shape, [1, 2 + 16, 48]);
    assert_eq!(ends(&net).len(), 4);
    let outputs: Vec<_> =
        net.outputs().iter().filter_map(|&value| net.value(value).name.as_deref()).collect();
    assert_eq!(outputs, ["logits", "cls_logits", "distillation_logits"]);
    let select = net.nodes().iter().filter_map(|node| match node.op {
        Op::Select { index } => Some(index),
        _ => None,
    });
    assert_eq!(select.collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn convnext_ends_in_its_second_pointwise_map() {
    for name in ["convnext-1", "convnext-3"] {
        let net = case(name);
        let wanted: Vec<_> = net.blocks().iter().map(|block| format!("{block}.pwconv2.weight")).collect();
        assert_eq!(ends(&net), numbered(&wanted.iter().map(String::as_str).collect::<Vec<_>>()), "{name}");
    }
    let net = case("convnext-1");
    let stage = "convnext.encoder.stages.2.layers.1";
    assert_eq!(fans(&net, &format!("{stage}.dwconv.weight")), (49.0, 49.0));
    assert_eq!(fans(&net, &format!("{stage}.pwconv1.weight")), (24.0, 96.0));
    assert_eq!(activation(&net, &format!("{stage}.pwconv1.weight")), "gelu");
    assert_eq!(activation(&net, &format!("{stage}.dwconv.weight")), "");
    for (name, dim) in [
        ("dwconv.weight", 0),
        ("layernorm.weight", 0),
        ("pwconv1.weight", 1),
        ("pwconv2.weight", 0),
        ("layer_scale_parameter", 0),
    ] {
        assert_eq!(axis(&net, &format!("{stage}.{name}"), dim), "stage3", "{name}");
    }
    assert_eq!(axis(&net, "convnext.embeddings.layernorm.weight", 0), "stage1");
    assert_eq!(axis(&net, "convnext.encoder.stages.1.downsampling_layer.1.weight", 1), "stage1");
    assert_eq!(axis(&net, "convnext.encoder.stages.1.downsampling_layer.1.weight", 0), "stage2");
    assert_eq!(axis(&net, "classifier.weight", 1), "stage4");
}

#[test]
fn resnet_ends_in_the_last_convolution_of_each_layer() {
    for (name, last) in [("resnet-1", 2), ("resnet-2", 1), ("resnet-3", 2)] {
        let net = case(name);
        let weight = |block: &String| format!("{block}.layer.{last}.convolution.weight");
        let wanted: Vec<_> = net.blocks().iter().map(weight).collect();
        assert_eq!(ends(&net), numbered(&wanted.iter().map(String::as_str).collect::<Vec<_>>()), "{name}");
    }
    let net = case("resnet-1");
    let stage = "resnet.encoder.stages.2.layers";
    assert_eq!(axis(&net, &format!("{stage}.0.shortcut.convolution.weight"), 0), "stage3");
    assert_eq!(axis(&net, &format!("{stage}.1.layer.2.convolution.weight"), 0), "stage3");
    assert_eq!(axis(&net, &format!("{stage}.0.layer.0.convolution.weight"), 1), "stage2");
    assert_eq!(axis(&net, "classifier.1.weight", 1), "stage3");
    assert_eq!(axis(&net, "resnet.embedder.embedder.normalization.running_var", 0), "stem");
    assert_eq!(fans(&net, &format!("{stage}.0.layer.1.convolution.weight")), (144.0, 144.0));
    // The config's activation stands after sums and in the stem; within layers it is the rectifier.
    let net = case("resnet-2");
    let layer = "resnet.encoder.stages.1.layers.0";
    assert_eq!(activation(&net, "resnet.embedder.embedder.convolution.weight"), "silu");
    assert_eq!(activation(&net, &format!("{layer}.layer.0.convolution.weight")), "relu");
    assert_eq!(activation(&net, &format!("{layer}.layer.1.convolution.weight")), "silu");
    assert_eq!(activation(&net, &format!("{layer}.shortcut.convolution.weight")), "silu");
}

#[test]
fn resnet_strides_where_the_config_says() {
    let strides = |net: &Network, block: &str| {
        let stride = |part: &str| {
            let site = site(net, &format!("{block}.{part}.convolution.weight"));
            match &net.nodes()[site.node.0 as usize].op {
                Op::Conv { window, .. } => window.stride[0],
                _ => 0,
            }
        };
        ["layer.0", "layer.1", "shortcut"].map(stride)
    };
    assert_eq!(strides(&case("resnet-1"), "resnet.encoder.stages.0.layers.0"), [1, 1, 1]);
    assert_eq!(strides(&case("resnet-1"), "resnet.encoder.stages.1.layers.0"), [1, 2, 2]);
    assert_eq!(strides(&case("resnet-3"), "encoder.stages.0.layers.0"), [2, 1, 2]);
}

#[test]
fn clip_has_a_stack_of_branches_in_each_tower() {
    let net = case("clip-1");
    let of =
        |tower: &str| ends(&net).into_iter().filter(|(name, ..)| name.starts_with(tower)).collect::<Vec<_>>();
    let wanted = |tower: &str, n_layers: usize| {
        let name = |layer: usize, end: &str| format!("{tower}.encoder.layers.{layer}.{end}.weight");
        let names: Vec<_> = (0..n_layers)
            .flat_map(|layer| [name(layer, "self_attn.out_proj"), name(layer, "mlp.fc2")])
            .collect();
        numbered(&names.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(of("text_model"), wanted("text_model", 2));
    assert_eq!(of("vision_model"), wanted("vision_model", 3));
    assert_eq!(activation(&net, "text_model.encoder.layers.0.mlp.fc1.weight"), "quick_gelu");
    for (name, dim, wanted) in [
        ("text_projection.weight", 0, "projection"),
        ("visual_projection.weight", 0, "projection"),
        ("text_projection.weight", 1, "text_model.embed"),
        ("visual_projection.weight", 1, "vision_model.embed"),
        ("vision_model.embeddings.class_embedding", 0, "vision_model.embed"),
        ("vision_model.embeddings.position_embedding.weight", 1, "vision_model.embed"),
    ] {
        assert_eq!(axis(&net, name, dim), wanted, "{name}");
    }
    let causal: Vec<_> = net
        .nodes()
        .iter()
        .filter_map(|node| match &node.op {
            Op::Attention(attention) => Some(attention.causal),
            _ => None,
        })
        .collect();
    assert_eq!(causal, [false, false, false, true, true]);
}

#[test]
fn clip_reads_the_text_at_its_end() {
    let token = |net: &Network| {
        net.nodes().iter().find_map(|node| match node.op {
            Op::SelectToken { token } => Some(token),
            _ => None,
        })
    };
    assert_eq!(token(&case("clip-1")), Some(Some(149)));
    // Configs that call the end 2 mean the largest word.
    assert_eq!(token(&case("clip-2")), Some(None));
    assert_eq!(token(&case("clip-3")), Some(Some(49407)));
}

#[test]
fn old_clip_configs_have_a_say_through_their_dicts() {
    let net = parse(
        r#"{"model_type": "clip", "text_config": {"hidden_size": 32}, "text_config_dict": {"hidden_size": 16,
        "num_attention_heads": 2, "num_hidden_layers": 1}, "vision_config": {"hidden_size": 24,
        "num_attention_heads": 2, "num_hidden_layers": 1}, "vision_config_dict": null}"#,
    )
    .unwrap();
    assert_eq!(param(&net, "text_projection.weight").shape, [512, 16]);
    assert_eq!(param(&net, "visual_projection.weight").shape, [512, 24]);
}

#[test]
fn configs_that_are_no_network_are_refused() {
    let error = parse(r#"{"model_type": "clip", "text_config": {"hiden_size": 32}}"#).unwrap_err();
    assert!(
        error.starts_with(
            "config.json: key `text_config.hiden_size` is unknown to clip, did you mean `hidden_size`?"
        ),
        "{error}"
    );
    let config = Config::parse("c", br#"{"model_type": "clip", "text_config": {"hiden_size": 32}}"#).unwrap();
    assert!(hf::network(&config, true).is_ok());

    let bert = |keys: &str| {
        format!(
            r#"{{"model_type": "bert", "vocab_size": 9, "num_hidden_layers": 1, "intermediate_size": 8,
            "max_position_embeddings": 8, "num_attention_heads": 3, {keys}}}"#
        )
    };
    for (text, wanted) in [
        (bert(r#""hidden_size": 8"#), "key `hidden_size` is 8, allowed a multiple of num_attention_heads, 3"),
        (
            bert(r#""hidden_size": 6, "pad_token_id": 9"#),
            "key `pad_token_id` is 9, allowed a whole number from -9 to 8, or null",
        ),
        (
            bert(r#""hidden_size": 6, "position_embedding_type": "relative_key""#),
            r#"key `position_embedding_type` is "relative_key", allowed absolute"#,
        ),
        (
            bert(r#""hidden_size": 6, "is_decoder": true, "add_cross_attention": true"#),
            "key `add_cross_attention` is true, allowed false",
        ),
        (
            r#"{"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8], "depths": [1, 1]}"#.to_owned(),
            "key `depths` is [1,1], allowed a list as long as hidden_sizes, 1",
        ),
        (
            r#"{"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8], "depths": [1], "layer_type": "x"}"#
                .to_owned(),
            r#"key `layer_type` is "x", allowed basic or bottleneck"#,
        ),
        (
            r#"{"model_type": "convnext", "patch_size": 4, "hidden_sizes": [8], "depths": [1]}"#.to_owned(),
            "key `hidden_sizes` is [8], allowed a list of 4 sizes, num_stages",
        ),
        (
            r#"{"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 8, "image_size": 8, "patch_size": [8, 8, 8]}"#
                .to_owned(),
            "key `patch_size` is [8,8,8], allowed a size, or a list of height and width",
        ),
        (
            r#"{"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 8, "image_size": 8, "patch_size": 16}"#
                .to_owned(),
            "kernel is 16, allowed at most the padded input, 8 wide",
        ),
        (
            r#"{"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 8, "image_size": 4294967296, "patch_size": 1}"#
                .to_owned(),
            "vit.embeddings.position_embeddings: shape is [1, 0, 8], allowed sizes of at least 1, known in advance",
        ),
        (
            r#"{"model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 4294967296,
            "intermediate_size": 8, "image_size": 8, "patch_size": 8, "head_dim": 4294967296}"#
                .to_owned(),
            "attention.attention.query.weight: shape is [18446744073709551615, 8], allowed at most 2^48 elements",
        ),
        (
            r#"{"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 4294967296]}"#
                .to_owned(),
            "key `depths` is [1,4294967296], allowed at most 1024 layers in all",
        ),
        (
            r#"{"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [3], "depths": [1]}"#.to_owned(),
            "key `hidden_sizes` is [3], allowed sizes of at least 4 for bottlenecks",
        ),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }
}
