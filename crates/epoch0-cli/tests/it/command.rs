//! The command as a user has it: what it prints, what it writes, and what it says when it cannot.

use std::fs;
use std::path::Path;
use std::process::Command;

use epoch0::format::{Checkpoint, NewFolder, Plan, Replace, ShardSize, TensorSpec, Writer, pt_metadata};
use serde_json::Value;

use super::room::Room;

const TINY: &str = r#"{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 300,
    "n_positions": 32, "n_embd": 48, "n_layer": 2, "n_head": 3}"#;

/// A room with the config of a small network.
fn configured() -> Room {
    let room = Room::new();
    room.file("config.json", TINY);
    room
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn init_writes_a_checkpoint_and_says_what_was_drawn() {
    let room = configured();
    let out = room.ok(&["init", "config.json", "-o", "out"]);
    for part in ["gpt2", "GPT2LMHeadModel", "h.*.attn.c_proj.weight", "normal(0, 0.01)", "wrote"] {
        assert!(out.contains(part), "{part} in {out}");
    }
    assert!(!out.contains('\x1b'), "no colours where there is no terminal");
    let checkpoint = Checkpoint::open(room.path("out")).unwrap();
    assert_eq!(checkpoint.len(), 28);
    assert_eq!(checkpoint.metadata()["format"], "pt");
    assert!(checkpoint.metadata().contains_key("epoch0"));
    let config: Value = serde_json::from_slice(&fs::read(room.path("out/config.json")).unwrap()).unwrap();
    assert_eq!(config["n_embd"], 48);
}

#[test]
fn json_has_the_same_in_stable_keys() {
    let room = configured();
    let report = room.json(&["init", "config.json", "-o", "out", "--json", "--seed", "3", "--dtype", "bf16"]);
    assert_eq!(report["seed"], 3);
    assert_eq!(report["dtype"], "bf16");
    assert_eq!(report["source"]["hugging_face"]["model_type"], "gpt2");
    let groups = report["groups"].as_array().unwrap();
    let group = groups.iter().find(|group| group["name"] == "transformer.h.*.mlp.c_fc.weight").unwrap();
    assert_eq!(group["fans"]["in"], 48.0);
    assert_eq!(group["n_params"], 2);
    let (asked, measured) = (group["std"].as_f64().unwrap(), group["measured"]["std"].as_f64().unwrap());
    // 2 × 48 × 192 Gaussian weights: the standard error of a standard deviation is 0.5 %.
    assert!((measured / asked - 1.0).abs() < 0.026, "{measured} for {asked}");
    let config: Value = serde_json::from_slice(&fs::read(room.path("out/config.json")).unwrap()).unwrap();
    assert_eq!(config["dtype"], "bfloat16");
}

#[test]
fn dry_run_draws_nothing() {
    let room = configured();
    let out = room.ok(&["init", "config.json", "--dry-run", "--with", "orthogonal", "--set", "gain=1.5"]);
    assert!(out.contains("orthogonal, gain 1.5") && out.contains("nothing was drawn"), "{out}");
    assert_eq!(room.names(), ["config.json"]);
}

#[test]
fn what_stands_there_is_kept_unless_forced() {
    let room = configured();
    room.ok(&["init", "config.json", "-o", "out"]);
    let before = fs::read(room.path("out/model.safetensors")).unwrap();
    let err = room.refused(&["init", "config.json", "-o", "out", "--seed", "1"]);
    assert!(err.contains("out") && err.contains("--force"), "{err}");
    assert_eq!(fs::read(room.path("out/model.safetensors")).unwrap(), before);
    room.ok(&["init", "config.json", "-o", "out", "--seed", "1", "--force"]);
    assert_ne!(fs::read(room.path("out/model.safetensors")).unwrap(), before);
    fs::create_dir(room.path("mine")).unwrap();
    room.file("mine/thesis.txt", "years of work");
    let err = room.refused(&["init", "config.json", "-o", "mine", "--force"]);
    assert!(err.contains("thesis.txt"), "{err}");
    assert_eq!(room.names(), ["config.json", "mine", "out"]);
}

#[test]
fn weights_are_verified_bit_by_bit() {
    let room = configured();
    room.ok(&[
        "init",
        "config.json",
        "-o",
        "out",
        "--shard-size",
        "40KB",
        "--with",
        "he_normal",
        "--seed",
        "9",
    ]);
    assert!(room.ok(&["verify-weights", "out"]).starts_with("same bits"));
    let shard = fs::read_dir(room.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "safetensors"))
        .max()
        .unwrap();
    let mut bytes = fs::read(&shard).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&shard, bytes).unwrap();
    let output = room.run(&["verify-weights", "out"]);
    assert_eq!(output.status.code(), Some(1));
    let last = Checkpoint::open(&shard).unwrap().tensors().last().unwrap().name().to_owned();
    let out = text(&output.stdout);
    assert!(out.starts_with("differs") && out.contains(&last), "{last} in {out}");
}

/// The same tensors, without the receipt.
fn strip_receipt(from: &Path, to: &Path) {
    let old = Checkpoint::open(from).unwrap();
    let specs = old.tensors().map(|tensor| TensorSpec::new(tensor.name(), tensor.dtype(), tensor.shape()));
    let plan = Plan::new(specs.collect(), &pt_metadata(), ShardSize::default()).unwrap();
    let folder = NewFolder::begin(to, Replace::Never).unwrap();
    let writer = Writer::create(folder.path(), plan).unwrap();
    for (index, tensor) in old.tensors().enumerate() {
        writer.write_at(index, 0, tensor.bytes()).unwrap();
    }
    folder.write("config.json", &fs::read(from.join("config.json")).unwrap()).unwrap();
    writer.finish().unwrap();
    folder.commit().unwrap();
}

#[test]
fn weights_without_a_receipt_are_recognized_by_their_laws() {
    let room = configured();
    let tested = |base: &str, dtype: &str| {
        room.ok(&["init", "config.json", "--force", "-o", "out", "--base", base, "--dtype", dtype]);
        let _ = fs::remove_dir_all(room.path("bare"));
        strip_receipt(&room.path("out"), &room.path("bare"));
        room.run(&["verify-weights", "bare", "--json"])
    };
    // GPT-2's own start is Megatron's: both explain it, and the network's own comes first.
    for (base, dtype, others) in [
        ("hf_default", "f32", &["megatron"][..]),
        ("pytorch_default", "bf16", &[]),
        ("jax_default", "f16", &[]),
    ] {
        let output = tested(base, dtype);
        assert_eq!(output.status.code(), Some(0), "{base}");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let explaining: Vec<_> = found["tested"]["presets"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|preset| preset["misses"].as_array().unwrap().is_empty())
            .map(|preset| preset["preset"].as_str().unwrap())
            .collect();
        assert_eq!(explaining, [&[base], others].concat(), "{base}");
    }
    // A start that is no preset's.
    room.ok(&["init", "config.json", "--force", "-o", "out", "--with", "he_normal"]);
    let _ = fs::remove_dir_all(room.path("bare"));
    strip_receipt(&room.path("out"), &room.path("bare"));
    let output = room.run(&["verify-weights", "bare"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with("no preset explains all tensors"));
}

#[test]
fn recipes_decide_by_name_role_and_place() {
    let room = configured();
    let recipe = "base: hf_default
rules:
  - match: '*.mlp.c_fc.weight'
    with: normal
    set: {std: [0.5, 0.1]}
  - role: embedding
    with: {uniform}
";
    room.file("bad.yaml", recipe);
    assert!(room.refused(&["init", "config.json", "--recipe", "bad.yaml", "--dry-run"]).contains("bad.yaml"));
    room.file(
        "r.yaml",
        recipe.replace(
            "{uniform}",
            "uniform\n    set: {low: -0.1, high: 0.1}\n  - ends_branch: true\n    scale: 0.5",
        ),
    );
    let report = room.json(&["init", "config.json", "--recipe", "r.yaml", "--dry-run", "--json"]);
    let law = |name: &str| {
        let groups = report["groups"].as_array().unwrap();
        groups.iter().find(|group| group["name"] == name).unwrap_or_else(|| panic!("{name}"))["law"].clone()
    };
    assert_eq!(law("transformer.h.0.mlp.c_fc.weight"), "normal(0, 0.5)");
    assert_eq!(law("transformer.h.1.mlp.c_fc.weight"), "normal(0, 0.1)");
    assert_eq!(law("transformer.wte.weight"), "uniform(-0.1, 0.1)");
    assert_eq!(law("transformer.h.*.mlp.c_proj.weight"), "normal(0, 0.005)");
    assert_eq!(law("transformer.h.*.ln_1.weight"), "ones");
}

#[test]
fn a_parameter_without_a_rule_is_named() {
    let room = configured();
    room.file(
        "r.yaml",
        "rules: [{role: [weight, embedding, position, norm_scale, norm_shift], with: normal}]",
    );
    let err = room.refused(&["init", "config.json", "--recipe", "r.yaml", "-o", "out"]);
    assert!(err.contains("no rule") && err.contains("transformer.h.0.attn.c_attn.bias"), "{err}");
    assert_eq!(room.names(), ["config.json", "r.yaml"]);
}

#[test]
fn mistakes_are_told_with_what_is_allowed() {
    let room = configured();
    room.file("nokey.json", TINY.replace("\"n_embd\": 48,", ""))
        .file("family.json", r#"{"model_type": "gpt3"}"#)
        .file("typo.json", TINY.replace("\"n_layer\"", "\"n_layers\": 2, \"n_layer\""))
        .file("text.json", "not json")
        .file("heads.json", TINY.replace("\"n_head\": 3", "\"n_head\": 5"))
        .file("net.onnx", "");
    let cases: &[(&[&str], &[&str])] = &[
        (&["init", "config.json", "--with", "he_norml"], &["`he_norml` is unknown", "he_normal"]),
        (
            &["init", "config.json", "--with", "xavier_normal", "--set", "gain=nan"],
            &["gain is NaN", "allowed"],
        ),
        (&["init", "config.json", "--with", "normal", "--set", "std=-1"], &["std is -1", "allowed"]),
        (
            &["init", "config.json", "--with", "normal", "--set", "sdt=1"],
            &["no parameter `sdt`", "did you mean `std`"],
        ),
        (
            &["init", "config.json", "--with", "trunc_normal", "--set", "low=1", "--set", "high=-1"],
            &["low", "high"],
        ),
        (&["init", "config.json", "--with", "dirac"], &["dirac is meant for no parameter of gpt2"]),
        (&["init", "nokey.json"], &["key `n_embd` is missing", "hint"]),
        (&["init", "family.json"], &["model_type `gpt3` is unknown", "known are", "gpt2"]),
        (&["init", "typo.json"], &["key `n_layers` is unknown", "did you mean `n_layer`"]),
        (&["init", "text.json"], &["text.json", "not a JSON object"]),
        (&["init", "heads.json"], &["n_embd", "n_head"]),
        (&["init", "missing/config.json"], &["there is no such file"]),
        (&["init", "net.onnx"], &["net.onnx", "no ONNX model"]),
        (&["init", "gpt2"], &["`gpt2` is no network", "family of Hugging Face configs", "config.json"]),
        (&["init", "resnet19"], &["resnet19", "resnet18"]),
        (&["init", "mlp:784-0-10"], &["mlp:784-0-10"]),
        (&["init", "config.json", "--dtype", "f8"], &["f8", "allowed"]),
        (&["init", "config.json", "--shard-size", "5 apples"], &["5 apples", "GB"]),
        (&["init", "config.json", "--seed", "x"], &["--seed"]),
        (&["explain", "fixupp"], &["`fixupp` is unknown"]),
        (&["cite", "120"], &["paper `120`", "1 to 119"]),
        (&["gain", "expr:x*"], &["expr:x*"]),
        (&["gain", "relu", "--sigma", "0"], &["sigma is 0", "above 0"]),
        (&["verify-weights", "nowhere"], &["nowhere"]),
        (&["verify-weights", "."], &["no checkpoint"]),
    ];
    for (args, parts) in cases {
        let args: Vec<_> =
            if args[0] == "init" { [args, &["--dry-run"][..]].concat() } else { args.to_vec() };
        let err = room.refused(&args);
        assert!(err.starts_with("error: "), "{args:?}: {err}");
        for part in *parts {
            assert!(err.contains(part), "{args:?}: `{part}` in {err}");
        }
    }
}

#[test]
fn a_target_that_cannot_be_written_leaves_nothing() {
    let room = configured();
    room.file("file", "");
    for out in ["file/out", "no/such/parent/out", "file"] {
        let err = room.refused(&["init", "config.json", "-o", out]);
        assert!(err.contains(out.split('/').next().unwrap()), "{err}");
    }
    assert_eq!(room.names(), ["config.json", "file"]);
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_nothing() {
    use std::time::{Duration, Instant};

    let room = configured();
    // Large enough to be interrupted: 10 GB would be written.
    let large =
        TINY.replace("\"n_embd\": 48", "\"n_embd\": 3840").replace("\"n_layer\": 2", "\"n_layer\": 14");
    room.file("large.json", &large);
    let mut child = room
        .command(&["init", "large.json", "-o", "out"])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !room.names().iter().any(|name| name.starts_with(".out.epoch0")) {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is being written");
        assert!(child.try_wait().unwrap().is_none(), "ended before it was interrupted");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(err.contains("cancelled, nothing was kept"), "{err}");
    assert_eq!(room.names(), ["config.json", "large.json"]);
}

#[test]
fn every_method_explains_and_cites_itself() {
    let room = configured();
    let methods = room.json(&["list", "--json"]);
    let ids: Vec<_> = methods.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert!(ids.len() >= 27, "{ids:?}");
    for id in ids {
        let page = room.ok(&["explain", id]);
        assert!(page.starts_with(id) && page.contains("References"), "{page}");
        assert!(room.ok(&["explain", id, "--source"]).contains("//!"));
        assert_eq!(room.json(&["explain", id, "--json"])["id"], id);
        room.ok(&["cite", id]);
    }
    assert!(room.ok(&["cite", "27"]).contains("kumar2017weight"));
    for what in ["families", "zoo", "papers"] {
        assert!(room.ok(&["list", what]).lines().count() > 10);
        assert!(room.json(&["list", what, "--json"]).as_array().unwrap().len() > 10);
    }
}

#[test]
fn gains_are_told_with_their_meaning() {
    let room = configured();
    let rows = room.json(&["gain", "gelu", "--json"]);
    let value = |name: &str| {
        rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()["value"].as_f64()
    };
    // Recomputed by independent integration.
    assert!((value("rms").unwrap() - 1.533_530_4).abs() < 1e-7);
    assert_eq!(value("torch"), None);
    assert!(room.ok(&["gain", "expr:x*sigmoid(1.5*x)"]).contains("fixed_point"));
}

#[test]
fn claims_run() {
    let room = configured();
    let runs = room.json(&["verify", "27", "--claim", "closed_form", "--json"]);
    assert_eq!(runs[0]["method"], "kumar");
    assert_eq!(runs[0]["verdict"]["holds"], true);
}

#[test]
fn completions_and_manual_are_generated() {
    let room = configured();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(room.ok(&["completions", shell]).contains("verify-weights"), "{shell}");
    }
    assert!(room.ok(&["man"]).contains(".TH epoch0"));
    room.ok(&["man", "pages"]);
    assert!(fs::read_dir(room.path("pages")).unwrap().count() >= 9);
}

const BLOBS: &str = "gaussians:classes=4,dim=16,n=300,separation=2";

#[test]
fn lsuv_scales_layers_on_data_and_is_verified() {
    let room = configured();
    let net = "mlp:16-32-32-4";
    let out = room.ok(&["init", net, "--with", "lsuv", "--data", BLOBS, "-o", "out", "--seed", "3"]);
    for part in [
        "calibrated by lsuv on 300 examples of a mixture",
        "std before",
        "2.weight",
        "all layers are where",
        "wrote",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
    let verified = room.ok(&["verify-weights", "out"]);
    assert!(verified.starts_with("same values"), "{verified}");
    let report =
        room.json(&["init", net, "--with", "lsuv", "--data", BLOBS, "-o", "again", "--seed", "3", "--json"]);
    let layers = report["calibrated"]["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3);
    for layer in layers {
        assert!((layer["after"]["std"].as_f64().unwrap() - 1.0).abs() < 1e-5, "{layer}");
        assert!(layer["iterations"].as_u64().unwrap() <= 1);
    }
    let bytes = |name: &str| fs::read(room.path(name)).unwrap();
    assert_eq!(bytes("out/model.safetensors"), bytes("again/model.safetensors"));
    // What it begins with, once more: nothing changes.
    let kept =
        ["init", "out", "--with", "lsuv", "--set", "keep_weights=true", "--data", BLOBS, "--seed", "3"];
    let report = room.json(&[&kept[..], &["-o", "kept", "--json"]].concat());
    assert_eq!(report["calibrated"]["weights_of"], "out");
    let values = |name: &str| {
        let checkpoint = Checkpoint::open(room.path(name)).unwrap();
        checkpoint.tensors().map(|tensor| tensor.bytes().to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(values("out"), values("kept"));
    assert!(room.ok(&["verify-weights", "kept"]).starts_with("same values"));
    fs::remove_dir_all(room.path("out")).unwrap();
    let err = room.refused(&["verify-weights", "kept"]);
    assert!(err.contains("calibrated on the weights of `out`, which cannot be had"), "{err}");
    // Another weight.
    let path = room.path("again/model.safetensors");
    let mut changed = fs::read(&path).unwrap();
    let last = changed.len() - 1;
    changed[last] ^= 0x40;
    fs::write(&path, changed).unwrap();
    let output = room.run(&["verify-weights", "again"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_onnx_network_is_calibrated_and_verified() {
    let room = configured();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../epoch0-format/tests/onnx_corpus");
    fs::copy(corpus.join("ok-transformer.onnx"), room.path("net.onnx")).unwrap();
    let args = ["init", "net.onnx", "--with", "lsuv", "--examples", "8", "--json", "-o", "new.onnx"];
    let report = room.json(&args);
    assert_eq!(report["calibrated"]["method"], "lsuv");
    assert!(report["calibrated"]["layers"].as_array().is_some_and(|layers| !layers.is_empty()));
    room.ok(&["verify-weights", "new.onnx"]);
    let out = room.ok(&["init", "net.onnx", "--with", "lsuv", "--examples", "8", "-o", "out"]);
    assert!(out.contains("c_attn.weight[q]"), "{out}");
    assert!(room.ok(&["verify-weights", "out"]).starts_with("same values"));
    fs::remove_file(room.path("net.onnx")).unwrap();
    let err = room.refused(&["verify-weights", "out"]);
    assert!(err.contains("its network is that of `net.onnx`, which cannot be had"), "{err}");
}

#[test]
fn without_data_lsuv_says_what_it_looks_at() {
    let room = configured();
    let out = room.ok(&[
        "init",
        "config.json",
        "--with",
        "lsuv",
        "-o",
        "out",
        "--examples",
        "16",
        "--dtype",
        "bf16",
    ]);
    assert!(out.contains("on 16 examples of words drawn uniformly that match the network"), "{out}");
    assert!(out.contains("transformer.h.1.attn.c_attn.weight[v]"), "{out}");
    assert!(out.contains("tied: its use in an earlier embedding has decided"), "{out}");
    assert!(room.ok(&["verify-weights", "out"]).starts_with("same values"));
    let dry = room.ok(&["init", "config.json", "--with", "lsuv", "--dry-run"]);
    assert!(dry.contains("orthogonal, gain 1") && dry.contains("would be calibrated by lsuv"), "{dry}");
    room.file("r.yaml", "{base: pytorch_default, calibrate: {with: lsuv, set: {std: 0.5}}}");
    let report = room.json(&["init", "mlp:4-8-2", "--recipe", "r.yaml", "-o", "half", "--json"]);
    assert!((report["calibrated"]["layers"][0]["after"]["std"].as_f64().unwrap() - 0.5).abs() < 1e-5);
}

#[test]
fn a_layer_that_misses_is_an_error_only_where_that_is_asked_for() {
    let room = configured();
    let args =
        ["init", "mlp:4-8-2,act=sigmoid", "--with", "lsuv", "--set", "at=post", "--force", "-o", "out"];
    let out = room.ok(&args);
    assert!(out.contains("missed") && out.contains("1 layer is not where it should be"), "{out}");
    let output = room.run(&[&args[..], &["--strict"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
}

#[test]
fn calibrations_that_make_no_sense_are_refused_and_leave_nothing() {
    let room = configured();
    room.file("same.csv", format!("a,b,y\n{}", "1,2,x\n1,2,z\n".repeat(20)));
    let cases: &[(&[&str], &[&str])] = &[
        (&["mlp:2-8-2", "--with", "lsuv", "--data", "same.csv"], &["lsuv: the batch", "all the same"]),
        (
            &["mlp:3-8-4", "--with", "lsuv", "--data", BLOBS],
            &["takes numbers of shape [any, 3]", "[any, 16]"],
        ),
        (&["mlp:16-8-4", "--with", "lsuv", "--data", "nowhere"], &["nowhere"]),
        (
            &["mlp:2-8-2", "--with", "he_normal", "--data", BLOBS],
            &["--data: he_normal looks at no data", "lsuv"],
        ),
        (&["mlp:2-8-2", "--strict"], &["--strict: pytorch_default looks at no data"]),
        (&["mlp:2-8-2", "--with", "lsuv", "--set", "tol=1"], &["lsuv: tol is 1, allowed (0, 1)"]),
        (&["mlp:2-8-2", "--with", "lsuv", "--set", "max_itr=3"], &["did you mean `max_iter`"]),
        (&["mlp:2-8-2", "--with", "lsvu"], &["`lsvu` is unknown"]),
    ];
    for (args, parts) in cases {
        let err = room.refused(&[&["init"], *args, &["-o", "out"]].concat());
        for part in *parts {
            assert!(err.contains(part), "{args:?}: `{part}` in {err}");
        }
    }
    assert_eq!(room.names(), ["config.json", "same.csv"]);
}

#[test]
fn lsuv_is_a_start_like_any_other() {
    let room = configured();
    let net = "mlp:16-32-4";
    let compared = room.json(&[
        "compare",
        net,
        "--with",
        "he_normal,lsuv",
        "--data",
        BLOBS,
        "--seeds",
        "2",
        "--for",
        "1ep",
        "--json",
    ]);
    assert_eq!(compared["arms"][1]["method"], "lsuv");
    room.ok(&["train", net, "--with", "lsuv", "--data", BLOBS, "--for", "5it", "-o", "run"]);
    let examined =
        room.json(&["examine", net, "--with", "lsuv", "--data", BLOBS, "--only", "propagation", "--json"]);
    assert_eq!(examined["network"]["start"], "lsuv");
    assert_eq!(room.json(&["explain", "lsuv", "--json"])["params"][0]["name"], "tol");
}
