//! `examine` as a user has it, and what it says of files, networks and data that are not right.

use std::fs;

use serde_json::Value;

use super::room::Room;

const TINY: &str = r#"{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 64,
    "n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2}"#;

/// Two examples of four numbers, five units, three classes, as PyTorch exports it.
const PERCEPTRON: &[u8] = include_bytes!("../../../epoch0-format/tests/onnx_corpus/ok-perceptron.onnx");

/// A file with a part replaced; the part is there once.
fn patched(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at: Vec<usize> = (0..bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    assert_eq!(at.len(), 1, "{from:?} at {at:?}");
    [&bytes[..at[0]], to, &bytes[at[0] + from.len()..]].concat()
}

fn reading<'a>(examination: &'a Value, id: &str) -> &'a Value {
    let readings = examination["readings"].as_array().unwrap();
    readings.iter().find(|reading| reading["method"] == id).unwrap_or_else(|| panic!("{id}"))
}

fn quantity(reading: &Value, name: &str) -> f64 {
    let all = reading["quantities"].as_array().unwrap();
    all.iter().find(|quantity| quantity["name"] == name).unwrap_or_else(|| panic!("{name}"))["value"]
        .as_f64()
        .unwrap()
}

#[test]
fn every_examiner_can_be_asked_for() {
    let room = Room::new();
    let data = "gaussians:classes=3,dim=8,n=100,separation=2";
    let args = ["examine", "mlp:8-16-3", "--data", data, "--only", "all", "--report", "r.html"];
    let (out, _) = room.ends(0, &args);
    for title in
        ["Signals", "Jacobian", "guessing bias", "Gradient noise", "Curvature", "tangent kernel", "Pseudo"]
    {
        assert!(out.contains(title), "{title} in {out}");
    }
    let page = fs::read_to_string(room.path("r.html")).unwrap();
    assert!(page.contains("All singular values") && page.contains("Where the sharpest direction lies"));
    let (out, _) = room.ends(0, &[&args[..6], &["--json"]].concat());
    let found: Value = serde_json::from_str(&out).unwrap();
    assert!(quantity(reading(&found, "curvature"), "lambda_max") > 0.0);
    assert!(quantity(reading(&found, "ntk"), "alignment").abs() <= 1.0);
    assert!(reading(&found, "curvature")["summary"].as_str().unwrap().contains("labels of the data"));
}

#[test]
fn parameters_of_examiners_are_set_by_name() {
    let room = Room::new();
    let base = ["examine", "mlp:8-16-3", "--only", "curvature", "--param"];
    let ends = |code: i32, param: &str| room.ends(code, &[&base[..], &[param]].concat());
    ends(0, "curvature.rate=1e-4");
    let (out, _) = ends(1, "curvature.rate=1e6");
    assert!(out.contains("diverges"), "{out}");
    for (param, parts) in [
        ("curvature.rate=-1", &["rate", "allowed"][..]),
        ("curvature.rates=1", &["rates", "did you mean"]),
        ("jacobian.range=10", &["jacobian is not asked for"]),
        ("rate=1", &["curvature.rate"]),
        ("sharp.rate=1", &["unknown"]),
    ] {
        let (_, err) = ends(2, param);
        for part in parts {
            assert!(err.contains(part), "{param}: `{part}` in {err}");
        }
    }
}

#[test]
fn guessing_bias_is_remedied_and_written() {
    let room = Room::new();
    room.file("config.json", TINY);
    let deep = format!("mlp:20-{}-5", ["100"; 10].join("-"));
    let args =
        ["examine", &deep, "--with", "he_normal", "--only", "igb", "--fix", "bias", "-o", "out", "--json"];
    let (out, _) = room.ends(0, &args);
    let found: Value = serde_json::from_str(&out).unwrap();
    let rows = reading(&found, "igb")["tables"][0]["rows"].as_array().unwrap().clone();
    let gamma = |name: &str| rows.iter().find(|row| row[0] == name).unwrap()[3].as_f64().unwrap();
    assert!(gamma("bias") < 0.2 * gamma("none"), "{rows:?}");
    assert!(room.path("out/model.safetensors").is_file());
    let err = room.refused(&args);
    assert!(err.contains("out"), "{err}");
    let err = room.refused(&["examine", "config.json", "--only", "igb", "--fix", "bias", "-o", "other"]);
    assert!(err.contains("the readout has no bias"), "{err}");
    assert!(!room.path("other").exists());
}

#[test]
fn files_that_are_not_right_are_refused() {
    let room = Room::new();
    room.file("whole.onnx", PERCEPTRON);
    room.ends(0, &["examine", "whole.onnx"]);
    for cut in [0, 1, 100, PERCEPTRON.len() / 2, PERCEPTRON.len() - 3] {
        room.file("cut.onnx", &PERCEPTRON[..cut]);
        let err = room.refused(&["examine", "cut.onnx"]);
        assert!(err.contains("cut.onnx"), "{cut}: {err}");
    }
    room.file("op.onnx", patched(PERCEPTRON, b"\"\x04Relu", b"\"\x04Rulu"));
    let err = room.refused(&["examine", "op.onnx"]);
    assert!(err.contains("Rulu"), "{err}");
    let shape = patched(
        PERCEPTRON,
        b"\x08\x05\x08\x04\x10\x01B\x080.weight",
        b"\x08\x04\x08\x05\x10\x01B\x080.weight",
    );
    room.file("shape.onnx", shape);
    let err = room.refused(&["examine", "shape.onnx"]);
    assert!(err.contains("0.weight") || err.contains("Gemm"), "{err}");
}

#[test]
fn weights_have_to_be_the_networks() {
    let room = Room::new();
    room.file("config.json", TINY);
    room.ends(0, &["init", "config.json", "-o", "out"]);
    room.ends(0, &["examine", "out"]);
    room.file("out/config.json", TINY.replace("\"n_embd\": 16", "\"n_embd\": 32"));
    let err = room.refused(&["examine", "out"]);
    assert!(err.contains("shape") && err.contains("weight"), "{err}");
    room.file("out/config.json", TINY.replace("\"n_layer\": 1", "\"n_layer\": 2"));
    let err = room.refused(&["examine", "out"]);
    assert!(err.contains("h.1."), "{err}");
    let whole = fs::read(room.path("out/model.safetensors")).unwrap();
    room.file("out/config.json", TINY).file("out/model.safetensors", &whole[..whole.len() / 2]);
    let err = room.refused(&["examine", "out"]);
    assert!(err.contains("model.safetensors"), "{err}");
}

#[test]
fn weights_that_are_no_numbers_have_a_verdict() {
    let room = Room::new();
    let at = PERCEPTRON.windows(2).position(|pair| pair == b"JP").unwrap() + 2;
    let mut bytes = PERCEPTRON.to_vec();
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    room.file("nan.onnx", bytes);
    for only in
        ["propagation,igb,parameters", "jacobian", "curvature", "ntk", "pntk", "gradient_noise", "igb"]
    {
        let (out, _) = room.ends(1, &["examine", "nan.onnx", "--only", only, "--json"]);
        let found: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(found["health"], "broken", "{only}");
    }
}

#[test]
fn data_that_are_not_right_are_refused() {
    let room = Room::new();
    room.file("empty.csv", "")
        .file("heading.csv", "a,b,label\n")
        .file("words.csv", "a,b,label\n1,x,0\n2,y,1\n");
    for data in ["empty.csv", "heading.csv", "words.csv"] {
        let err = room.refused(&["examine", "mlp:2-8-2", "--data", data]);
        assert!(err.contains(data), "{data}: {err}");
    }
    let five = "gaussians:classes=5,dim=8,n=50,separation=2";
    let err = room.refused(&["examine", "mlp:8-16-3", "--data", five]);
    assert!(err.contains('5') && err.contains('3'), "{err}");
    let err = room.refused(&["examine", "mlp:9-16-5", "--data", five]);
    assert!(err.contains('8') && err.contains('9'), "{err}");
    let err = room.refused(&["examine", "mlp:8-16-5", "--data", "nowhere"]);
    assert!(err.contains("nowhere"), "{err}");
    let err = room.refused(&["examine", "mlp:8-16-5", "--only", "curvatur"]);
    assert!(err.contains("did you mean `curvature`"), "{err}");
}

#[test]
fn what_cannot_be_read_is_said_and_the_rest_goes_on() {
    let room = Room::new();
    let args =
        ["examine", "mlp:8-16-3", "--only", "curvature,parameters", "--param", "curvature.memory=1e-9"];
    let (out, _) = room.ends(0, &args);
    assert!(out.contains("Not read: memory"), "{out}");
    let err =
        room.refused(&["examine", "mlp:8-16-3", "--only", "curvature", "--param", "curvature.memory=1e-9"]);
    assert!(err.contains("memory"), "{err}");
}
