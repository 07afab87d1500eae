//! The networks of the zoo: parameters against those of torchvision and timm, sites, and what is refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use epoch0_net::{Branch, Fans, NetError, Network, Role, Site, Structure, zoo};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

fn build(spec: &str) -> Network {
    zoo::build(spec).unwrap_or_else(|error| panic!("{error}"))
}

fn why(spec: &str) -> String {
    match zoo::build(spec) {
        Err(NetError::Spec { why, .. }) => why,
        other => panic!("{spec}: {:?}", other.map(|net| net.params().len())),
    }
}

fn site<'a>(net: &'a Network, label: &str) -> &'a Site {
    net.sites().iter().find(|site| site.label() == label).unwrap_or_else(|| panic!("no site {label}"))
}

fn fans(net: &Network, label: &str) -> (f64, f64) {
    let Fans { in_, out } = site(net, label).fans.unwrap();
    (in_, out)
}

fn activation(net: &Network, label: &str) -> Option<String> {
    site(net, label).activation.as_ref().map(ToString::to_string)
}

/// Labels of the sites that end a residual branch, with how many branches their stack has.
fn ends(net: &Network) -> Vec<(String, Branch)> {
    net.sites().iter().filter_map(|site| Some((site.label(), site.ends_branch()?))).collect()
}

fn structure(net: &Network, param: &str, dim: usize) -> Option<Structure> {
    net.axis(net.param(net.find(param).unwrap()).axes[dim]).structure.clone()
}

/// Lines of "name dtype shape", sorted, as `tests/peers/zoo.py` writes them.
fn lines(net: &Network) -> Vec<String> {
    let line = |param: &epoch0_net::Param| {
        let shape: Vec<_> = param.shape.iter().map(ToString::to_string).collect();
        let dtype = if param.role == Role::BatchCount { "I64" } else { "F32" };
        assert_eq!(param.dtype, if dtype == "I64" { epoch0_num::Dtype::I64 } else { epoch0_num::Dtype::F32 });
        format!("{} {dtype} {}", param.name, shape.join("x"))
    };
    let mut lines: Vec<_> = net.params().iter().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn parameters_are_those_of_torchvision_and_timm() {
    let text = include_str!("../../../tests/peers/zoo.json");
    let reference: serde_json::Value = serde_json::from_str(text).unwrap();
    let networks = reference["networks"].as_array().unwrap();
    assert!(networks.len() >= 45);
    let mut wrong = Vec::new();
    for row in networks {
        let spec = row["spec"].as_str().unwrap();
        let net = build(spec);
        let lines = lines(&net);
        if let Some(tensors) = row.get("tensors") {
            let tensors: Vec<_> =
                tensors.as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
            assert_eq!(lines, tensors, "{spec}");
        }
        let mut hasher = Sha256::new();
        for line in &lines {
            hasher.update(format!("{line}\n"));
        }
        let hash = hasher.finalize().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let found = (net.n_params(), lines.len() as u64, hash.as_str());
        let expected = (
            row["n_params"].as_u64().unwrap(),
            row["n_tensors"].as_u64().unwrap(),
            row["sha256"].as_str().unwrap(),
        );
        if found != expected {
            wrong.push(format!("{spec}: {found:?}, not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_torchvision_or_timm_entry_has_a_reference() {
    let text = include_str!("../../../tests/peers/zoo.json");
    for entry in zoo::KNOWN {
        let claims = entry.text.ends_with("torchvision") || entry.text.ends_with("timm");
        assert_eq!(claims, text.contains(&format!("{{\"spec\": \"{}\"", entry.name)), "{}", entry.name);
    }
}

/// The shortest specification of each entry.
fn shortest(entry: &zoo::Entry) -> String {
    let sizes = match entry.name {
        "mlp" | "siren" | "residual_mlp" | "poincare_mlp" | "dag" | "gcn" | "sage" | "gin" => ":3-4-2",
        "conv_dag" => ":4",
        "cifar_resnet" | "poincare_resnet" => ":8",
        "wide_resnet" => ":10-1",
        _ => "",
    };
    format!("{}{sizes}", entry.name)
}

#[test]
fn entries_build_and_say_which_options_they_have() {
    let mut names = std::collections::BTreeSet::new();
    for entry in zoo::KNOWN {
        let spec = shortest(entry);
        let net = build(&spec);
        assert_eq!(net.source(), &epoch0_net::Source::Zoo { spec: spec.clone() });
        for name in std::iter::once(entry.name).chain(entry.aliases.iter().copied()) {
            assert!(names.insert(name), "{name} is known twice");
            assert_eq!(lines(&build(&spec.replacen(entry.name, name, 1))), lines(&net));
        }
        let separator = if spec.contains(':') { "," } else { ":" };
        let why = why(&format!("{spec}{separator}no_such_option=1"));
        let allowed = why.split_once("is unknown, allowed ").unwrap().1;
        let mut said: Vec<_> = entry
            .syntax
            .split(['[', ',', ':', ']'])
            .filter_map(|part| Some(part.split_once('=')?.0))
            .collect();
        let is_of_all = |option: &&str| ["shift", "spiking", "templates"].contains(option);
        let mut asked: Vec<_> = allowed.split(", ").filter(|option| !is_of_all(option)).collect();
        said.sort_unstable();
        asked.sort_unstable();
        assert_eq!(said, asked, "{}: the syntax names the options that are read", entry.name);
        assert_eq!(entry.syntax.starts_with(':'), spec.contains(':'), "{}", entry.name);
    }
}

#[test]
fn own_sites_cover_every_element_of_small_networks() {
    for spec in [
        "kat:layers=1,share=none",
        "kat:layers=1,share=denominator,form=abs_sum",
        "vit:layers=1,shift=2",
        "resnet20,shift=3",
        "vit:layers=1,templates=2",
        "mobilenet_v2,templates=1",
        "gpt:layers=1,heads=3,embed=12,vocab=20,positions=8,templates=3",
        "mlp:5-4-4-3,norm=batch,residual=true,shift=4",
        "mlp:5-4-4-3,residual=true,spiking=3",
        "resnet20,norm=fixup,spiking=2",
        "mlp:5-4-4-3,norm=batch,residual=true",
        "gcn:5-4-4-3,norm=batch,residual=true",
        "sage:5-4-3",
        "gin:5-4-3,norm=layer",
        "poincare_mlp:5-4-3,norm=midpoint",
        "poincare_resnet:8,width=2",
        "lenet",
        "squeezenet1_0",
        "shufflenet_v2_x1_0",
        "mobilenet_v2",
        "resnet20",
        "vit_tiny,size=32",
        "convnext_tiny,classes=2",
        "gpt:layers=2,heads=3,embed=12,vocab=20,positions=8",
    ] {
        let net = build(spec);
        for (index, param) in net.params().iter().enumerate() {
            let mut times = vec![0u8; param.len()];
            for site in net.sites_of(epoch0_net::ParamId(index as u32)) {
                site.view.runs(|_, storage, length, stride| {
                    (0..length).for_each(|step| times[storage + step * stride] += 1);
                });
            }
            assert!(times.iter().all(|&n| n == 1), "{spec}: {}", param.name);
        }
    }
}

#[test]
fn perceptron_is_numbered_as_a_sequential() {
    let shapes = |spec: &str| lines(&build(spec));
    assert_eq!(
        shapes("mlp:784-512-10"),
        ["0.bias F32 512", "0.weight F32 512x784", "2.bias F32 10", "2.weight F32 10x512"]
    );
    assert_eq!(
        shapes("mlp:4-3-2,bias=false,norm=layer"),
        ["0.weight F32 3x4", "1.bias F32 3", "1.weight F32 3", "3.weight F32 2x3"]
    );
    assert!(shapes("mlp:4-3-2,norm=batch").contains(&"1.num_batches_tracked I64 ".to_owned()));
    let net = build("mlp:4-8-8-8-2,act=leaky_relu(0.2),residual=true");
    assert_eq!(activation(&net, "0.weight"), Some("leaky_relu(0.2)".to_owned()));
    assert_eq!(activation(&net, "6.weight"), None);
    assert_eq!(site(&net, "6.weight").role, Role::Readout);
    let ends: Vec<_> = ends(&net).into_iter().map(|(label, end)| (label, end.index, end.count)).collect();
    assert_eq!(ends, [("2.weight".to_owned(), 0, 2), ("4.weight".to_owned(), 1, 2)]);
    let net = build("mlp:4-8-2,act=expr:x*sigmoid(1.5*x)");
    assert_eq!(activation(&net, "0.weight"), Some("expr:x*sigmoid(1.5*x)".to_owned()));
    assert_eq!(build("mlp:4-2").n_params(), 10);
}

#[test]
fn lenet_has_its_61706_parameters() {
    // LeCun et al. (1998, figure 2) with full connections: 156 + 2416 + 48120 + 10164 + 850.
    let net = build("lenet");
    assert_eq!(net.n_params(), 61706);
    assert_eq!(lines(&build("lenet,size=32,padding=0")), lines(&net));
    assert_eq!(fans(&net, "conv2.weight"), (150.0, 400.0));
    let Some(Structure::Product(parts)) = structure(&net, "fc1.weight", 1) else { panic!("flattened") };
    let sizes: Vec<_> = parts.iter().map(|&axis| net.axis(axis).size).collect();
    assert_eq!(sizes, [Some(16), Some(5), Some(5)]);
}

#[test]
fn siren_has_the_names_of_its_authors() {
    let net = build("siren:2-256-256-3,omega=10");
    let names: Vec<_> = net.params().iter().map(|param| param.name.as_str()).collect();
    let expected = [
        "net.0.linear.weight",
        "net.0.linear.bias",
        "net.1.linear.weight",
        "net.1.linear.bias",
        "net.2.weight",
        "net.2.bias",
    ];
    assert_eq!(names, expected);
    let omegas =
        ["net.0.linear.weight", "net.1.linear.weight", "net.2.weight"].map(|name| activation(&net, name));
    let sine = |omega| Some(epoch0_num::Activation::Sine { omega }.to_string());
    assert_eq!(omegas, [sine(10.0), sine(30.0), None]);
}

#[test]
fn decoder_has_the_names_of_nanogpt() {
    let net = build("gpt:layers=1,heads=4,embed=128,vocab=256,positions=64,bias=false");
    let expected = [
        "transformer.h.0.attn.c_attn.weight F32 384x128",
        "transformer.h.0.attn.c_proj.weight F32 128x128",
        "transformer.h.0.ln_1.weight F32 128",
        "transformer.h.0.ln_2.weight F32 128",
        "transformer.h.0.mlp.c_fc.weight F32 512x128",
        "transformer.h.0.mlp.c_proj.weight F32 128x512",
        "transformer.ln_f.weight F32 128",
        "transformer.wpe.weight F32 64x128",
        "transformer.wte.weight F32 256x128",
    ];
    assert_eq!(lines(&net), expected);
    assert_eq!(net.find("lm_head.weight"), net.find("transformer.wte.weight"));
    assert!(lines(&build("gpt:layers=1,tied=false")).contains(&"lm_head.weight F32 50304x768".to_owned()));
    assert_eq!(fans(&net, "transformer.h.0.attn.c_attn.weight[k]"), (128.0, 128.0));
    // GPT-2 small: 124,439,808 with its vocabulary of 50257 (nanoGPT's default is 50304, a multiple of 64).
    assert_eq!(build("gpt:vocab=50257").n_params(), 124_439_808);
}

#[test]
fn cifar_residual_networks_have_the_sizes_of_the_paper() {
    // He et al. (2015, table 6): 0.27M, 0.46M, 0.66M, 0.85M, 1.7M.
    for (depth, millions) in [(20, "0.27"), (32, "0.46"), (44, "0.66"), (56, "0.85"), (110, "1.73")] {
        let net = build(&format!("resnet{depth}"));
        assert_eq!(format!("{:.2}", net.n_params() as f64 / 1e6), millions, "resnet{depth}");
        let ends = ends(&net);
        assert_eq!(ends.len(), (depth - 2) / 2, "resnet{depth}");
        assert!(ends.iter().all(|(label, end)| label.ends_with("conv2.weight") && end.count == ends.len()));
        assert_eq!(lines(&build(&format!("cifar_resnet:{depth}"))), lines(&net));
    }
    let net = build("resnet20");
    for name in
        ["conv1.weight", "bn1.running_var", "layer3.2.conv2.weight", "layer2.0.bn2.bias", "linear.weight"]
    {
        assert!(net.find(name).is_some(), "{name}");
    }
    // Channels of a stage are those before it between channels of zeros.
    let Some(Structure::Concat(parts)) = structure(&net, "layer2.2.conv2.weight", 0) else {
        panic!("padded")
    };
    let sizes: Vec<_> = parts.iter().map(|&axis| net.axis(axis).size).collect();
    assert_eq!(sizes, [Some(8), Some(16), Some(8)]);
    assert_eq!(parts[1], net.param(net.find("layer1.0.conv2.weight").unwrap()).axes[0]);
    let projected = build("resnet20,shortcut=B");
    assert_eq!(projected.param(projected.find("layer3.0.shortcut.0.weight").unwrap()).shape, [64, 32, 1, 1]);
    assert_eq!(ends(&projected).len(), 9);
}

#[test]
fn wide_residual_networks_have_the_sizes_of_the_paper() {
    // Zagoruyko and Komodakis (2016, table 4): 40-4 8.9M, 16-8 11.0M, 28-10 36.5M.
    for (name, millions) in [("40-4", "8.9"), ("16-8", "11.0"), ("28-10", "36.5")] {
        let net = build(&format!("wide_resnet:{name}"));
        assert_eq!(format!("{:.1}", net.n_params() as f64 / 1e6), millions, "{name}");
    }
    let net = build("wide_resnet:28-10");
    assert_eq!(net.param(net.find("block1.layer.0.convShortcut.weight").unwrap()).shape, [160, 16, 1, 1]);
    let ends = ends(&net);
    assert_eq!(ends.len(), 12);
    assert!(ends.iter().all(|(label, end)| label.ends_with("conv2.weight") && end.count == 12));
    assert_eq!(activation(&net, "block1.layer.0.conv1.weight"), Some("relu".to_owned()));
}

#[test]
fn residual_ends_are_the_last_weights_of_the_blocks() {
    for (spec, last, count, degree) in [
        ("resnet18", "conv2.weight", 8, 2),
        ("resnet50", "conv3.weight", 16, 3),
        ("resnext50_32x4d", "conv3.weight", 16, 3),
        ("convnext_tiny", "block.5.weight", 18, 3),
    ] {
        let net = build(spec);
        let ends = ends(&net);
        assert_eq!(ends.len(), count, "{spec}");
        for (index, (label, end)) in ends.iter().enumerate() {
            assert!(label.ends_with(last), "{spec}: {label}");
            assert_eq!((end.index, end.count, end.degree), (index, count, degree), "{spec}: {label}");
        }
    }
    // Blocks whose input and output agree: 1 + 2 + 3 + 2 + 2 of the 17.
    let net = build("mobilenet_v2");
    let labels: Vec<_> = ends(&net).into_iter().map(|(label, _)| label).collect();
    let expected = [3, 5, 6, 8, 9, 10, 12, 13, 15, 16].map(|at| format!("features.{at}.conv.2.weight"));
    assert_eq!(labels, expected);
    assert_eq!(activation(&net, &labels[0]), None, "the bottleneck is linear");
    assert_eq!(activation(&net, "features.3.conv.1.0.weight"), Some("relu6".to_owned()));
}

#[test]
fn transformers_end_their_branches_with_projections() {
    for (spec, ends_with, count) in [
        ("vit_tiny", ["attn.proj.weight", "mlp.fc2.weight"], 24),
        ("vit_b_16", ["self_attention.out_proj.weight", "mlp.3.weight"], 24),
        ("mixer_b16", ["mlp_tokens.fc2.weight", "mlp_channels.fc2.weight"], 24),
        ("gpt:layers=3", ["attn.c_proj.weight", "mlp.c_proj.weight"], 6),
    ] {
        let net = build(spec);
        let ends = ends(&net);
        assert_eq!(ends.len(), count, "{spec}");
        for (index, (label, end)) in ends.iter().enumerate() {
            assert!(label.ends_with(ends_with[index % 2]), "{spec}: {label}");
            let degree = if label.contains("att") { 4 } else { 2 };
            assert_eq!((end.index, end.count, end.degree), (index, count, degree), "{spec}: {label}");
        }
    }
    let net = build("vit_tiny");
    assert_eq!(fans(&net, "blocks.3.attn.qkv.weight[v]"), (192.0, 192.0));
    assert_eq!(fans(&net, "patch_embed.proj.weight"), (768.0, 192.0 * 256.0));
    assert_eq!(activation(&net, "blocks.0.mlp.fc1.weight"), Some("gelu".to_owned()));
    assert_eq!(site(&net, "cls_token").role, Role::Token);
    assert_eq!(site(&net, "pos_embed").role, Role::Position);
    let axis = |name: &str, dim: usize| net.param(net.find(name).unwrap()).axes[dim];
    assert_eq!(axis("cls_token", 2), axis("head.weight", 1));
    assert_eq!(axis("pos_embed", 2), axis("blocks.11.mlp.fc2.weight", 0));
    assert_eq!(net.axis(net.value(net.inputs()[0]).dims[0]).size, None, "one class token for any batch");
    assert_eq!(net.value(net.outputs()[0]).dims[0], net.value(net.inputs()[0]).dims[0]);
}

#[test]
fn fans_are_those_of_a_group() {
    let net = build("resnext50_32x4d");
    assert_eq!(fans(&net, "layer1.0.conv2.weight"), (36.0, 36.0));
    assert_eq!(fans(&net, "layer2.0.conv2.weight"), (72.0, 72.0));
    let view = &site(&net, "layer4.2.conv2.weight").view;
    assert_eq!((view.n_batch(), view.n_out(), view.n_in()), (32, 32, 32));
    let net = build("mobilenet_v2");
    assert_eq!(fans(&net, "features.2.conv.1.0.weight"), (9.0, 9.0));
    assert_eq!(fans(&net, "features.2.conv.0.0.weight"), (16.0, 96.0));
    let net = build("convnext_tiny");
    assert_eq!(fans(&net, "features.1.0.block.0.weight"), (49.0, 49.0));
    // What a depthwise convolution reads and writes is one axis.
    let axis = |name: &str, dim: usize| net.param(net.find(name).unwrap()).axes[dim];
    assert_eq!(axis("features.1.0.block.0.weight", 0), axis("features.1.2.block.5.weight", 0));
    assert_eq!(axis("features.1.0.layer_scale", 0), axis("features.0.0.weight", 0));
}

#[test]
fn activations_are_seen_through_normalizations_and_sums() {
    let net = build("resnet18");
    let relu = Some("relu".to_owned());
    assert_eq!(activation(&net, "conv1.weight"), relu);
    assert_eq!(activation(&net, "layer1.0.conv1.weight"), relu);
    assert_eq!(activation(&net, "layer1.0.conv2.weight"), relu);
    assert_eq!(activation(&net, "layer2.0.downsample.0.weight"), relu);
    assert_eq!(activation(&net, "fc.weight"), None);
    let net = build("densenet121");
    assert_eq!(activation(&net, "features.denseblock1.denselayer1.conv1.weight"), relu);
    assert_eq!(activation(&net, "features.denseblock1.denselayer1.conv2.weight"), None, "many read it");
    let net = build("vgg11_bn");
    assert_eq!(activation(&net, "features.0.weight"), relu);
}

#[test]
fn gates_are_no_residual_branches() {
    for spec in ["mobilenet_v3_small", "efficientnet_b0"] {
        let net = build(spec);
        let ends = ends(&net);
        assert!(ends.iter().all(|(label, _)| !label.contains(".fc")), "{ends:?}");
    }
    let net = build("efficientnet_b0");
    // Repeated blocks: 0 + 1 + 1 + 2 + 2 + 3 + 0.
    assert_eq!(ends(&net).len(), 9);
    let label = "features.4.1.block.3.0.weight";
    assert_eq!(site(&net, label).ends_branch().map(|end| end.count), Some(9));
    assert_eq!(activation(&net, "features.4.1.block.2.fc1.weight"), Some("silu".to_owned()));
    assert_eq!(activation(&net, "features.4.1.block.2.fc2.weight"), Some("sigmoid".to_owned()));
    assert_eq!(activation(&net, "features.4.1.block.1.0.weight"), Some("silu".to_owned()));
    let axis = |name: &str, dim: usize| net.param(net.find(name).unwrap()).axes[dim];
    assert_eq!(axis("features.4.1.block.2.fc2.weight", 0), axis("features.4.1.block.3.0.weight", 1));
    for spec in ["googlenet", "squeezenet1_0", "shufflenet_v2_x1_0", "densenet121", "vgg16", "alexnet"] {
        assert_eq!(ends(&build(spec)), [], "{spec}");
    }
}

#[test]
fn flattened_and_concatenated_axes_know_their_parts() {
    let net = build("vgg16");
    let Some(Structure::Product(parts)) = structure(&net, "classifier.0.weight", 1) else {
        panic!("flattened")
    };
    assert_eq!(parts[0], net.param(net.find("features.28.weight").unwrap()).axes[0]);
    assert_eq!(parts[1..].iter().map(|&axis| net.axis(axis).size).collect::<Vec<_>>(), [Some(7), Some(7)]);
    let net = build("densenet121");
    let last = "features.denseblock1.denselayer6.conv1.weight";
    let Some(Structure::Concat(parts)) = structure(&net, last, 1) else { panic!("concatenated") };
    let out = |name: &str| net.param(net.find(name).unwrap()).axes[0];
    assert_eq!(parts[0], out("features.conv0.weight"));
    for (layer, part) in parts[1..].iter().enumerate() {
        assert_eq!(*part, out(&format!("features.denseblock1.denselayer{}.conv2.weight", layer + 1)));
    }
    let net = build("googlenet");
    let Some(Structure::Concat(parts)) = structure(&net, "inception3b.branch1.conv.weight", 1) else {
        panic!("concatenated")
    };
    assert_eq!(parts.iter().filter_map(|&axis| net.axis(axis).size).collect::<Vec<_>>(), [64, 128, 32, 32]);
}

#[test]
fn mistakes_are_named_with_what_is_allowed() {
    let unknown = why("resnet19");
    assert!(
        unknown.starts_with("network `resnet19` is unknown, allowed mlp, residual_mlp, dag"),
        "{unknown}"
    );
    assert!(unknown.contains("\nhint: did you mean resnet1"), "{unknown}");
    for (spec, expected) in [
        ("mlp", "sizes are missing, write mlp:IN-HIDDEN-…-OUT"),
        ("mlp:784", "number of sizes is 1, allowed 2 to 10001: IN-HIDDEN-…-OUT"),
        ("mlp:784-x-10", "size is `x`, allowed 1 to 16777216"),
        ("mlp:784--10", "size is ``, allowed 1 to 16777216"),
        ("mlp:784-0", "size is `0`, allowed 1 to 16777216"),
        ("mlp:784-99999999999999999999", "size is `99999999999999999999`, allowed 1 to 16777216"),
        ("mlp:8-8-8,norm=group", "norm is `group`, allowed none, batch, layer"),
        ("mlp:8-8-8,bias=yes", "bias is `yes`, allowed true, false"),
        ("mlp:8-8-8,bias=true,bias=false", "option `bias` is given twice"),
        (
            "mlp:8-8-8,bais=true",
            "option `bais` is unknown, allowed act, bias, norm, residual, shift, templates, spiking\nhint: did you mean bias",
        ),
        (
            "mlp:8-8,,bias=true",
            "`` is no option\nhint: options are written key=value after a comma, sizes are written after a colon",
        ),
        ("resnet18:3-4", "`3-4` are sizes, and resnet18 takes none"),
        ("resnet18,classes=0", "classes is `0`, allowed 1 to 16777216"),
        ("vit_tiny,size=30", "size is 30, allowed multiples of 16, the side of a patch"),
        ("alexnet,size=6", "features.0: kernel is 11, allowed at most the padded input, 10 wide"),
        ("cifar_resnet:21", "depth is 21, allowed 6 n + 2: 8, 14, 20, 32, 44, 56, 110…"),
        ("wide_resnet:28", "number of sizes is 1, allowed 2: DEPTH-WIDTH"),
        ("wide_resnet:29-10", "depth is 29, allowed 6 n + 4: 10, 16, 22, 28, 40…"),
        ("siren:2-3-4,omega=nan", "omega is `nan`, allowed finite numbers"),
        ("gpt:heads=5,embed=12", "embed is 12, allowed multiples of heads, 5"),
        ("gpt:layers=2501", "layers is `2501`, allowed 1 to 2500"),
        ("mlp:16777216-16777216-16777216", "number of elements is 562949986975744, allowed at most 2^48"),
    ] {
        assert_eq!(why(spec), expected, "{spec}");
    }
    assert!(why("mlp:8-8-8,act=rleu").starts_with("act: activation `rleu` is unknown"));
    assert!(why("mlp:8-8-8,act=f(").starts_with("act: "));
    let long = zoo::build(&"x".repeat(1 << 20)).unwrap_err().to_string();
    assert!(long.len() < 2000, "{}", long.len());
}

#[test]
fn deepest_networks_are_built() {
    let layers: Vec<_> = std::iter::repeat_n("4", 10_001).collect();
    let net = build(&format!("mlp:{},residual=true", layers.join("-")));
    assert_eq!(ends(&net).len(), 9_999);
    assert!(why(&format!("mlp:{}-4", layers.join("-"))).starts_with("number of sizes is 10002"));
    assert_eq!(ends(&build("cifar_resnet:2000,size=8")).len(), 999);
}

#[test]
fn blocks_are_named_in_order() {
    let net = build("resnet18");
    assert_eq!(net.blocks()[..3], ["layer1.0", "layer1.1", "layer2.0"]);
    let mut sites: BTreeMap<usize, usize> = BTreeMap::new();
    net.sites().iter().filter_map(|site| site.block).for_each(|block| *sites.entry(block).or_default() += 1);
    assert_eq!(sites.len(), 8);
}

proptest! {
    #[test]
    fn no_text_panics(text in "(mlp|lenet|gpt|resnet20|siren|vit_tiny|gcn|gin)?[:,]?[0-9a-z=.,:()é-]{0,24}") {
        let _ = zoo::build(&text);
    }

    #[test]
    fn no_numbers_panic(name in 0..zoo::KNOWN.len(), classes in 0usize..1 << 25, channels in 0usize..1 << 25, size in 0usize..300) {
        let entry = &zoo::KNOWN[name];
        let _ = zoo::build(&format!("{},classes={classes},in={channels},size={size}", shortest(entry)));
    }
}

#[test]
fn norms_give_way_to_biases_or_to_single_shifts_and_factors() {
    let count = |spec: &str| build(spec).n_params();
    // The paper's counts have biases in the place of factors and shifts of norms: one number per channel instead of two.
    let channels = (count("resnet20") - count("resnet20,norm=fixup") + 9 * 5 + 2) / 2;
    assert_eq!(channels, count("resnet20,norm=none") - count("resnet20,norm=fixup") + 9 * 5 + 2);
    for (spec, n_blocks, last) in [
        ("resnet20,norm=fixup", 9, "conv2"),
        ("resnet50,norm=fixup", 16, "conv3"),
        ("residual_mlp:20-8-3,blocks=5,norm=fixup", 5, "fc2"),
    ] {
        let net = build(spec);
        let scalars = net.params().iter().filter(|param| param.role == Role::Scalar).count();
        assert_eq!(scalars, n_blocks, "{spec}");
        let ends = ends(&net);
        assert_eq!(ends.len(), n_blocks, "{spec}");
        assert!(ends.iter().all(|(label, _)| label.contains(last)), "{spec}: {ends:?}");
        assert!(!net.params().iter().any(|param| param.role == Role::NormScale), "{spec}");
    }
    let net = build("residual_mlp:20-8-3,blocks=5,norm=none");
    let branch = site(&net, "blocks.2.fc1.weight").branch.unwrap();
    assert_eq!((branch.index, branch.count, branch.degree, branch.is_last), (2, 5, 2, false));
}

#[test]
fn graph_networks_are_named_as_in_pytorch_geometric() {
    // torch_geometric.nn.models at 028a9ca, state dicts of GCN(5, 4, 3, 2), GraphSAGE and GIN, without GIN's buffers `eps`.
    for (spec, names) in [
        (
            "gcn:5-4-2,layers=3",
            &[
                "convs.0.lin.weight",
                "convs.0.bias",
                "convs.1.lin.weight",
                "convs.1.bias",
                "convs.2.lin.weight",
                "convs.2.bias",
            ][..],
        ),
        ("sage:5-2", &["convs.0.lin_l.weight", "convs.0.lin_l.bias", "convs.0.lin_r.weight"]),
        (
            "gin:5-2",
            &[
                "convs.0.nn.lins.0.weight",
                "convs.0.nn.lins.0.bias",
                "convs.0.nn.lins.1.weight",
                "convs.0.nn.lins.1.bias",
            ],
        ),
    ] {
        let net = build(spec);
        assert_eq!(net.params().iter().map(|param| param.name.as_str()).collect::<Vec<_>>(), names, "{spec}");
        assert!(net.params().iter().take(1).all(|param| param.shape[1] == 5));
    }
    let net = build("gcn:5-4-4-2,norm=batch");
    assert!(net.find("norms.1.module.running_var").is_some() && net.find("norms.2.module.weight").is_none());
    assert_eq!(lines(&build("gcn:5-4-4-4-2")), lines(&build("gcn:5-4-2,layers=4")));
    let net = build("gin:5-4-2");
    let inner = site(&net, "convs.0.nn.lins.0.weight");
    assert_eq!((inner.fans.unwrap().in_, inner.activation.is_some(), inner.depth), (5.0, true, 1));
    assert_eq!(site(&net, "convs.1.nn.lins.1.weight").role, Role::Readout);
    // Both maps of a layer are summed: neither is a branch around the other, and both meet the rectifier.
    let net = build("sage:5-4-4-2,residual=true");
    let (neighbours, own) = (site(&net, "convs.1.lin_l.weight"), site(&net, "convs.1.lin_r.weight"));
    assert!(neighbours.activation.is_some() && own.activation.is_some());
    assert!(neighbours.ends_branch().is_some() && own.ends_branch().is_some());
    assert!(build("sage:5-4-2").sites().iter().all(|site| site.branch.is_none()));
    let inputs = net.graph_inputs().unwrap();
    assert_eq!((inputs.features, inputs.edges, inputs.nodes), (0, 1, 2));
    assert!(build("mlp:5-4-2").graph_inputs().is_none());
    assert!(why("gcn:5-4-4-2,layers=5").contains("layers is 5 and there are 4 sizes"));
}
