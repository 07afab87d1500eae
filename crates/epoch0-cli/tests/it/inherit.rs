//! `init --from` as a user has it.

use std::fs;

use super::room::Room;

const SMALL: &str = r#"{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 40, "hidden_size": 32,
    "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}"#;

/// A room with a small llama in `small/`, and a config with some sizes changed in `child.json`.
fn room(changes: &[(&str, &str)]) -> Room {
    let room = Room::new();
    room.file("small.json", SMALL);
    room.ok(&["init", "small.json", "-o", "small"]);
    let mut keys: serde_json::Value = serde_json::from_str(SMALL).unwrap();
    for (key, value) in changes {
        keys[*key] = serde_json::from_str(value).unwrap();
    }
    room.file("child.json", keys.to_string());
    room
}

fn init<'a>(method: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["init", "child.json", "--from", "small", "--with", method, "-o", "child"], more].concat()
}

#[test]
fn grown_networks_answer_as_before() {
    let room = room(&[
        ("hidden_size", "48"),
        ("intermediate_size", "50"),
        ("num_hidden_layers", "3"),
        ("num_attention_heads", "12"),
        ("num_key_value_heads", "3"),
    ]);
    let report = room.json(&[&init("expand", &[])[..], &["--json"]].concat());
    assert_eq!(report["preserves"], true);
    assert_eq!(report["proof"]["holds"], true, "{report}");
    assert_eq!(report["layers"][0]["taken"], serde_json::json!([0, 1, null]));
    let config = fs::read_to_string(room.path("child/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let epsilon = config["rms_norm_eps"].as_f64().unwrap();
    assert!((epsilon / (1e-6 * 32.0 / 48.0) - 1.0).abs() < 1e-12, "{epsilon}");
    assert!(room.ok(&["verify-weights", "child"]).contains("same bits"));
    let out = room.ok(&init("expand", &["--force"]));
    for part in ["answers stay", "and 16 new", "grown, scaled", "2 add nothing at the start"] {
        assert!(out.contains(part), "{part} in {out}");
    }
}

#[test]
fn cut_networks_are_scored_on_data() {
    let room = room(&[("hidden_size", "16"), ("num_hidden_layers", "1"), ("num_attention_heads", "2")]);
    let out = room.ok(&init("subclone", &["--examples", "4"]));
    for part in ["scored on 4 examples of words drawn uniformly", "selected, scaled", "embed"] {
        assert!(out.contains(part), "{part} in {out}");
    }
    assert!(room.ok(&["verify-weights", "child"]).contains("same bits"));
}

#[test]
fn a_start_learns_from_a_guide_and_from_a_teacher() {
    let room = Room::new();
    let data = "gaussians:classes=3,dim=8,n=60,separation=4";
    let (guide, net) = ("mlp:8-16-16-3", "mlp:8-6-6-3");
    let args = [
        "init", net, "--from", guide, "--with", "guidance", "--data", data, "--set", "steps=5", "-o", "start",
    ];
    assert!(room.ok(&args).contains("learned"));
    assert!(room.ok(&["verify-weights", "start"]).contains("same bits"));
    room.ok(&["init", guide, "-o", "guide"]);
    let train =
        ["train", "start", "--data", data, "--batch", "16", "--teacher", "guide", "--temperature", "2"];
    room.ok(&[&train[..], &["--for", "6it", "-o", "whole"]].concat());
    room.ok(&[&train[..], &["--for", "3it", "-o", "half"]].concat());
    room.ok(&["train", "--resume", "half", "--for", "6it"]);
    let weights = |folder: &str| {
        let checkpoint = epoch0::format::Checkpoint::open(room.path(folder)).unwrap();
        checkpoint.tensors().map(|tensor| tensor.bytes().to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(weights("whole"), weights("half"), "what goes on is taught as before");
}

#[test]
fn two_networks_of_templates_stand_in_one_of_twice_the_width() {
    let room = Room::new();
    let (member, child) = ("wide_resnet:10-1,size=8,stem=8,templates=2", "wide_resnet:10-2,size=8,stem=16");
    for (seed, out) in [("1", "a"), ("2", "b")] {
        room.ok(&["init", member, "--seed", seed, "-o", out]);
    }
    let grow = ["init", child, "--from", "a", "--from", "b", "--with", "mixture_growth", "-o", "child"];
    let zero = [&grow[..], &["--set", "coefficients=zero"]].concat();
    let report = room.json(&[&zero[..], &["--json"]].concat());
    assert_eq!(report["proof"]["holds"], true, "{report}");
    assert_eq!(report["also"], serde_json::json!(["b"]));
    assert!(room.ok(&["verify-weights", "child"]).contains("same bits"));
    let out = room.ok(&[&grow[..], &["--force"]].concat());
    for part in
        ["from a and b", "all 8, repeated to 16", "sum of 8, placed, of 2 parents", "--bn-stats population"]
    {
        assert!(out.contains(part), "{part} in {out}");
    }
    assert!(room.ok(&["verify-weights", "child"]).contains("same bits"));
    for (with, froms, said) in [
        ("mixture_growth", &["a"][..], "one parent: it makes a child of 2 parents"),
        ("mixture_growth", &["a", "b", "a"], "3 parents: it makes a child of 2 parents"),
        ("expand", &["a", "b"], "2 parents: it makes a child of one parent"),
        ("expand", &["a"], "made of 2 templates in the parent"),
        ("mixture_growth", &["a", child], "a checkpoint in `wide_resnet"),
    ] {
        let froms: Vec<&str> = froms.iter().flat_map(|from| ["--from", from]).collect();
        let error = room.refused(&[&["init", child, "--with", with, "-o", "none"][..], &froms].concat());
        assert!(error.contains(said) && error.contains("hint: "), "{with}: {error}");
        assert!(!room.path("none").exists());
    }
}

#[test]
fn networks_spike_over_fewer_and_fewer_steps() {
    let room = Room::new();
    let data = "gaussians:classes=3,dim=8,n=200,separation=5";
    let net = |steps: usize| format!("mlp:8-12-12-3,spiking={steps}");
    let train = |start: &str, out: &str| {
        room.ok(&[
            "train",
            start,
            "--data",
            data,
            "--optimizer",
            "adam",
            "--lr",
            "0.01",
            "--for",
            "20it",
            "-o",
            out,
        ])
    };
    // Batch normalizations of the parent are folded.
    room.ok(&["init", "mlp:8-12-12-3,norm=batch", "-o", "begin"]);
    train("begin", "relu");
    let init = |steps: usize, from: &str, out: &str| {
        room.ok(&["init", &net(steps), "--from", from, "--with", "iir_snn", "--data", data, "-o", out])
    };
    assert!(init(3, "relu", "start3").contains("0.threshold"));
    train("start3", "snn3");
    assert!(init(1, "snn3", "start1").contains("copied"));
    assert!(room.ok(&["verify-weights", "start1"]).contains("same bits"));
    train("start1", "snn1");
    // A start's folder is not needed to go on.
    std::fs::remove_dir_all(room.path("start1")).unwrap();
    room.ok(&["train", "--resume", "snn1", "--for", "25it"]);
    let seen = room.ok(&["examine", "snn1", "--data", data, "--only", "spikes"]);
    assert!(seen.contains("2 layers of neurons over 1 time step"), "{seen}");
    let error = room.refused(&["init", &net(2), "--from", "snn1", "--with", "iir_snn", "-o", "more"]);
    assert!(error.contains("2 time steps, and its parent 1"), "{error}");
}

#[test]
fn what_cannot_be_made_is_refused_and_leaves_nothing() {
    let room = room(&[("hidden_size", "48"), ("num_attention_heads", "6")]);
    for (method, more, said) in [
        ("weight_selection", &[][..], "is 48 in the child, and 32 in the parent"),
        ("hyper_cloning", &[][..], "a normalization sums over `embed`"),
        ("guidance", &[][..], "name them with `--data`"),
        ("subnetwork_search", &[][..], "name them with `--data`"),
        ("expand", &["--set", "at=middle"][..], "even, end, start"),
    ] {
        let error = room.refused(&init(method, more));
        assert!(error.contains(said), "{method}: {error}");
        assert!(!room.path("child").exists(), "{method}");
    }
    let error = room.refused(&[
        "train",
        "mlp:8-6-3",
        "--data",
        "gaussians:classes=3,dim=8,n=60",
        "--teacher",
        "mlp:8-9-3",
    ]);
    assert!(error.contains("it has no weights"), "{error}");
}
