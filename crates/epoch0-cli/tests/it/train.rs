//! `train` and `compare` as a user has them.

use std::fs;

use epoch0::format::Checkpoint;
use serde_json::Value;

use super::room::Room;

const DATA: &str = "gaussians:classes=3,dim=8,n=300,separation=4";
const NET: &str = "mlp:8-16-3,norm=batch";

const TINY: &str = r#"{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 64,
    "n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2}"#;

fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["train", NET, "--data", DATA, "--batch", "16"], more].concat()
}

#[test]
fn train_says_what_happened_and_writes_it_down() {
    let room = Room::new();
    let out = room.ok(&train(&[
        "--for",
        "4ep",
        "--with",
        "he_normal",
        "-o",
        "run",
        "--log",
        "run.jsonl",
        "--tensorboard",
        "tb",
        "--report",
        "run.html",
    ]));
    for part in ["Finished", "he_normal", "SGD 0.05, momentum 0.9", "test accuracy", "wrote run/"] {
        assert!(out.contains(part), "{part} in {out}");
    }
    assert!(!out.contains('\x1b'));
    let checkpoint = Checkpoint::open(room.path("run")).unwrap();
    assert!(checkpoint.get("0.weight").is_some());
    let log = fs::read_to_string(room.path("run.jsonl")).unwrap();
    let first: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!((first["kind"].as_str(), first["start"].as_str()), (Some("run"), Some("he_normal")));
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!((last["kind"].as_str(), last["status"].as_str()), (Some("end"), Some("finished")));
    assert_eq!(fs::read_dir(room.path("tb")).unwrap().count(), 1);
    assert!(fs::read_to_string(room.path("run.html")).unwrap().starts_with("<!DOCTYPE html>"));
    // A trained folder is a network with weights.
    let json: Value =
        serde_json::from_str(&room.ok(&["train", "run", "--data", DATA, "--for", "1it", "--json"])).unwrap();
    assert_eq!(json["start"], "run");
    let accuracy =
        json["curves"].as_array().unwrap().iter().find(|curve| curve["name"] == "test_accuracy").unwrap();
    assert!(accuracy["values"][0].as_f64().unwrap() > 0.9, "{accuracy}");
}

#[test]
fn layers_are_followed_into_every_record() {
    let room = Room::new();
    let follow = ["--for", "20it", "--follow", "0.*", "--follow-every", "5it", "--bn-stats", "population"];
    let files = ["--log", "run.jsonl", "--tensorboard", "tb", "--report", "run.html"];
    let out = room.ok(&train(&[&follow[..], &files].concat()));
    for part in
        ["wandering of the 50th percentile", "What the activation of 0 meets", "statistics of the population"]
    {
        assert!(out.contains(part), "{part} in {out}");
    }
    let log = fs::read_to_string(room.path("run.jsonl")).unwrap();
    let looks: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["kind"] == "follow")
        .collect();
    assert_eq!(
        looks.iter().map(|look| look["step"].as_u64().unwrap()).collect::<Vec<_>>(),
        [0, 5, 10, 15, 20]
    );
    assert!(looks.iter().all(|look| look["layer"] == "0" && look["p15"].as_f64() < look["p85"].as_f64()));
    let events = fs::read(fs::read_dir(room.path("tb")).unwrap().next().unwrap().unwrap().path()).unwrap();
    assert!(events.windows(12).any(|window| window == b"follow/0/p50"));
    assert!(fs::read_to_string(room.path("run.html")).unwrap().contains("15th to 85th percentile"));
    assert!(room.refused(&train(&["--follow", "encoder.*"])).contains("0.weight"));
    assert!(room.refused(&train(&["--follow", "/(/"])).contains("/(/"));
    assert!(room.refused(&train(&["--bn-momentum", "2"])).contains("0 to 1"));
}

#[test]
fn norms_are_folded_into_what_stands_before_them() {
    let room = Room::new();
    room.ok(&train(&["--for", "3ep", "-o", "run"]));
    let out = room.ok(&["fold-bn", "run", "-o", "folded"]);
    assert!(
        out.contains("1 into 0") && out.contains("1 folded, 0 stay") && out.contains("wrote folded"),
        "{out}"
    );
    // It is a network with weights, and answers alike.
    let test = |folder: &str| {
        let args = ["train", folder, "--data", DATA, "--for", "0it", "--json"];
        let json: Value = serde_json::from_str(&room.ok(&args)).unwrap();
        let curves = json["curves"].as_array().unwrap();
        let losses = curves.iter().find(|curve| curve["name"] == "test_loss").unwrap();
        losses["values"][0].as_f64().unwrap()
    };
    let (before, after) = (test("run"), test("folded"));
    assert!((before - after).abs() < 1e-5 * before, "{before} and {after}");
    let json: Value =
        serde_json::from_str(&room.ok(&["fold-bn", "run", "-o", "folded", "--force", "--json"])).unwrap();
    assert_eq!(json["folded"][0]["left"], "identity");
    assert!(room.refused(&["fold-bn", "run", "-o", "folded"]).contains("--force"));
    // A file alone does not say what network it is of.
    let file = "run/model.safetensors";
    room.refused(&["fold-bn", file, "-o", "other"]);
    room.ok(&["fold-bn", file, "--net", NET, "-o", "other"]);
}

#[test]
fn what_was_cut_goes_on_bit_by_bit() {
    let room = Room::new();
    room.ok(&train(&["--for", "10it", "--with", "xavier_normal", "--optimizer", "adamw", "-o", "whole"]));
    room.ok(&train(&[
        "--for",
        "5it",
        "--with",
        "xavier_normal",
        "--optimizer",
        "adamw",
        "-o",
        "half",
        "--log",
        "half.jsonl",
    ]));
    let out = room.ok(&["train", "--resume", "half", "--for", "10it", "--log", "half.jsonl"]);
    assert!(out.contains("wrote half/"), "{out}");
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let read = |folder: &str| fs::read(room.path(folder).join(file)).unwrap();
        assert_eq!(read("whole"), read("half"), "{file}");
    }
    let log = fs::read_to_string(room.path("half.jsonl")).unwrap();
    let steps: Vec<u64> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["kind"] == "step")
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, (1..=10).collect::<Vec<_>>());
    let err = room.refused(&["train", "--resume", "half", "--lr", "1"]);
    assert!(err.contains("--resume"), "{err}");
    assert!(room.refused(&["train", "--resume", "nowhere"]).contains("nothing to go on with"));
}

#[test]
fn a_config_is_trained_on_text() {
    let room = Room::new();
    fs::write(room.path("config.json"), TINY).unwrap();
    fs::write(room.path("abc.txt"), "the quick brown fox jumps over the lazy dog. ".repeat(40)).unwrap();
    let data = "abc.txt,block=8";
    let out = room.ok(&[
        "train",
        "config.json",
        "--data",
        data,
        "--for",
        "20it",
        "--batch",
        "8",
        "--optimizer",
        "adamw",
        "--lr",
        "0.01",
        "--schedule",
        "cosine,warmup=5it",
        "--clip",
        "1",
        "--decay-matrices-only",
        "-o",
        "out",
    ]);
    for part in ["hf_default", "AdamW 0.01", "cosine", "clipped to norm 1", "of matrices"] {
        assert!(out.contains(part), "{part} in {out}");
    }
    let config: Value = serde_json::from_slice(&fs::read(room.path("out/config.json")).unwrap()).unwrap();
    assert_eq!((config["n_embd"].as_u64(), config["dtype"].as_str()), (Some(16), Some("float32")));
    room.ok(&["train", "--resume", "out", "--for", "22it"]);
}

#[test]
fn what_diverges_ends_with_1_and_replaces_nothing() {
    let room = Room::new();
    room.ok(&train(&["--for", "1it", "-o", "run"]));
    let before = fs::read(room.path("run/model.safetensors")).unwrap();
    let net = "mlp:8-64-64-3";
    let args = [
        "train", net, "--data", DATA, "--lr", "1e20", "--for", "50it", "-o", "run", "--force", "--log",
        "l.jsonl",
    ];
    let (out, _) = room.ends(1, &args);
    assert!(out.contains("diverged"), "{out}");
    assert_eq!(fs::read(room.path("run/model.safetensors")).unwrap(), before);
    assert!(fs::read_to_string(room.path("l.jsonl")).unwrap().contains("\"status\":\"diverged\""));
}

#[test]
fn what_cannot_be_trained_is_refused_with_a_hint() {
    let room = Room::new();
    let err = room.refused(&["train", "mlp:9-3", "--data", DATA]);
    assert!(err.contains("[any, 9]") && err.contains("hint: mlp:8-512-3"), "{err}");
    assert!(room.refused(&["train", NET, "--data", "mnits"]).contains("mnist"));
    assert!(room.refused(&train(&["--for", "300"])).contains("2000it"));
    assert!(room.refused(&train(&["--with", "he_norml"])).contains("he_normal"));
    assert!(room.refused(&train(&["--optimizer", "adam", "--momentum", "0.5"])).contains("--betas"));
    assert!(room.refused(&train(&["--schedule", "cosin"])).contains("cosine"));
    assert!(room.refused(&train(&["--device", "abacus"])).contains("abacus"));
    assert!(room.refused(&["train", NET, "--data", DATA, "--batch", "0"]).contains("allowed 1 or more"));
    room.ok(&train(&["--for", "1it", "-o", "run"]));
    assert!(room.refused(&train(&["--for", "1it", "-o", "run"])).contains("--force"));
}

#[test]
fn compare_tests_starts_side_by_side() {
    let room = Room::new();
    let args = [
        "compare",
        NET,
        "--data",
        DATA,
        "--with",
        "he_normal,zeros,xavier_normal",
        "--seeds",
        "3",
        "--for",
        "2ep",
        "--batch",
        "16",
        "--report",
        "c.html",
    ];
    let out = room.ok(&args);
    for part in ["he_normal", "zeros", "xavier_normal", "Holm", "test accuracy", "signed-rank"] {
        assert!(out.contains(part), "{part} in {out}");
    }
    assert!(fs::read_to_string(room.path("c.html")).unwrap().contains("zeros"));
    let json: Value = serde_json::from_str(&room.ok(&[&args[..], &["--json"]].concat())).unwrap();
    assert_eq!(json["seeds"].as_array().unwrap().len(), 3);
    let mean = |at: usize| json["arms"][at]["mean"].as_f64().unwrap();
    assert!(mean(0) > mean(1) + 0.3, "{} and {}", mean(0), mean(1));
    assert!(json["arms"][1]["versus"]["p_value"].as_f64().unwrap() < 0.05);
    // Threads change nothing.
    let one = room.ok(&[&args[..], &["--json", "--threads", "1"]].concat());
    assert_eq!(one, room.ok(&[&args[..], &["--json", "--threads", "3"]].concat()));
    let steps = room.ok(&[&args[..], &["--by", "steps_to=0.9", "--test", "signed-rank"]].concat());
    assert!(
        steps.contains("steps to test accuracy 0.9") && steps.contains("exact signed-rank test"),
        "{steps}"
    );
}

#[test]
fn comparisons_that_make_no_sense_are_refused() {
    let room = Room::new();
    let compare = |with: &str, more: &[&str]| {
        room.refused(&[&["compare", NET, "--data", DATA, "--with", with], more].concat())
    };
    assert!(compare("he_normal", &[]).contains("two starts"));
    assert!(compare("he_normal,he_normal", &[]).contains("twice"));
    assert!(compare("he_normal,nothing.yaml", &[]).contains("nothing.yaml"));
    assert!(compare("he_normal,zeros", &["--by", "beauty"]).contains("steps_to=NUMBER"));
    assert!(compare("he_normal,zeros", &["--seeds", "0"]).contains("seeds"));
}
