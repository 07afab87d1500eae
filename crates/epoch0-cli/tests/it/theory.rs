//! `epoch0 eoc`, `epoch0 igb` and `epoch0 gain --maxout`.

use std::process::{Command, Output};

use serde_json::Value;

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_epoch0")).args(args).output().unwrap()
}

fn ok(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
    String::from_utf8(output.stdout).unwrap()
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&ok(args)).unwrap()
}

fn refused(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(2), "{args:?}");
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    text
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn gains_of_maxout_units() {
    let rows = json(&["gain", "--maxout", "5", "--pool", "2", "--json"]);
    let row = |name: &str| rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
    assert!((number(&row("c")["value"]) - 0.26573).abs() < 1e-5, "{rows}");
    assert!(ok(&["gain", "--maxout", "2"]).contains("1.0000000"));
    for (args, part) in [
        (&["gain", "--maxout", "0"][..], "0 is not in 1..=1024"),
        (&["gain", "--maxout", "5", "--pool", "0"], "0 is not in 1..=64"),
        (&["gain", "relu", "--pool", "2"], "cannot be used with"),
        (&["gain", "relu", "--maxout", "2"], "cannot be used with"),
    ] {
        let text = refused(args);
        assert!(text.contains(part), "{args:?}: {text}");
    }
}

#[test]
fn points_of_the_edge() {
    let text = ok(&["eoc", "--activation", "tanh", "--q", "0.5"]);
    for part in ["1.2992210", "0.1950415", "7.30672", "β_q"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let point = json(&["eoc", "--activation", "silu", "--sigma-b", "0.2", "--json"]);
    assert!((number(&point["sigma_w"]) - 1.6795316).abs() < 1e-7);
    assert!((number(&point["chi1"]) - 1.0).abs() < 1e-9);
    // E[φ φ''] of SiLU is positive, so that V' is above 1 on its edge; of tanh it is negative.
    assert_eq!(point["stable"], false);
    assert_eq!(json(&["eoc", "--activation", "tanh", "--json"])["stable"], true);
    let deep = json(&["eoc", "--activation", "gelu", "--depth", "100", "--json"]);
    assert_eq!(deep["rate"]["law"], "inverse");
    assert!((number(&deep["rate"]["beta"]) - 100.0).abs() < 1e-6);
    let relu = ok(&["eoc", "--activation", "relu"]);
    assert!(relu.contains("1.4142136") && relu.contains('κ') && relu.contains("44.4132"), "{relu}");
    let flat = ok(&["eoc", "--activation", "tanh", "--sigma-b", "0"]);
    assert!(flat.contains("correlations do not change"), "{flat}");
    assert!(ok(&["eoc", "--activation", "exp", "--q", "2"]).contains("q does not come back"));
}

#[test]
fn sparse_points() {
    let args = ["eoc", "--activation", "crelu", "--sparsity", "0.85", "--slope", "0.7"];
    let text = ok(&args);
    for part in ["clipped_shifted_relu(1.036", "V″", "0.7000000", "stable: q comes back", "0.8500000"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let point = json(&[&args[..], &["--json"]].concat());
    assert!((number(&point["sigma_w"]).powi(2) - 7.3348).abs() < 1e-3);
    assert_eq!(point["verdict"], "stable");
    let plain = json(&["eoc", "--activation", "shifted_relu", "--sparsity", "0.8", "--json"]);
    assert_eq!(plain["verdict"], "unstable_from_above");
    assert_eq!(plain["stable"], false);
    assert!(
        refused(&["eoc", "--activation", "crelu", "--sparsity", "1.5", "--slope", "0.7"])
            .contains("sparsity is 1.5")
    );
    assert!(
        refused(&["eoc", "--activation", "crelu", "--sparsity", "0.8", "--slope", "0"])
            .contains("slope is 0")
    );
    assert!(refused(&["eoc", "--activation", "crelu", "--sparsity", "0.8"]).contains("hint: "));
    assert!(
        refused(&["eoc", "--activation", "shifted_relu", "--sparsity", "0.8", "--slope", "0.7"])
            .contains("no bound")
    );
    assert!(refused(&["eoc", "--activation", "crelu", "--slope", "0.7"]).contains("--sparsity"));
}

#[test]
fn gains_that_keep_both() {
    let rows = json(&["gain", "--activation", "gaussian:0.05", "--sigma", "0.078", "--json"]);
    let row = |name: &str| {
        let row = rows.as_array().unwrap().iter().find(|row| row["name"] == name);
        number(&row.unwrap_or_else(|| panic!("{name} in {rows}"))["value"])
    };
    assert!((row("balanced_sigma") - 0.0776887).abs() < 1e-6);
    assert!((row("vi3nr").powi(2) - row("vi3nr_squared")).abs() < 1e-15);
    assert!((row("vi3nr_squared") - 0.0147).abs() < 1e-4 && (row("balance") - 1.0).abs() < 0.02);
    assert!(refused(&["gain"]).contains("ACTIVATION"));
    assert_eq!(ok(&["gain", "relu"]), ok(&["gain", "--activation", "relu"]));
}

#[test]
fn curves() {
    let csv = ok(&["eoc", "--activation", "tanh", "--curve", "--points", "5", "--csv"]);
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!((lines.len(), lines[0]), (6, "q,sigma_w,sigma_b,chi1,variance_slope,horizon"));
    let curve = json(&["eoc", "--activation", "tanh", "--curve", "--points", "5", "--json"]);
    let first = number(&curve["points"][0]["sigma_w"]);
    assert_eq!(lines[1].split(',').nth(1).unwrap().parse::<f64>().unwrap(), first);
    let text = ok(&["eoc", "--activation", "hard_tanh", "--curve"]);
    assert!(text.contains('•') && text.contains("σ_b"), "{text}");
}

#[test]
fn phases() {
    let phase = |act: &str, sigma_w: &str, sigma_b: &str| {
        json(&["eoc", "--activation", act, "--phase", sigma_w, sigma_b, "--json"])
    };
    assert_eq!(phase("tanh", "0.9", "0.1")["phase"], "ordered");
    let chaos = phase("tanh", "2", "0.3");
    assert_eq!(chaos["phase"], "chaotic");
    assert!(number(&chaos["c"]) > 0.0 && number(&chaos["c"]) < 1.0);
    assert_eq!(phase("relu", "1.4142135623730951", "0")["phase"], "edge");
    assert_eq!(phase("relu", "2", "0")["phase"], "divergent");
    let text = ok(&["eoc", "--activation", "tanh", "--phase", "2", "0.3"]);
    assert!(text.contains("chaotic: inputs come apart") && text.contains("ξ_c"), "{text}");
}

#[test]
fn guesses() {
    let relu = json(&["igb", "--activation", "relu", "--depth", "8", "--json"]);
    let layers = relu["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 8);
    for (depth, gamma) in [(1, 0.4669), (2, 0.975), (4, 2.134), (8, 5.039)] {
        assert!((number(&layers[depth - 1]["gamma"]) - gamma).abs() < 1e-3);
    }
    let text = ok(&["igb", "--activation", "tanh", "--depth", "3"]);
    assert!(text.contains("gets 0.500 of the answers"), "{text}");
    let pooled = json(&["igb", "--activation", "relu", "--depth", "1", "--pool", "4", "--json"]);
    assert!(number(&pooled["layers"][0]["gamma"]) > 1.0);
    let many = ["igb", "--activation", "relu", "--depth", "2", "--classes", "10", "--json"];
    assert_eq!(ok(&many), ok(&many));
    let centred = json(&["igb", "--activation", "identity", "--depth", "2", "--input-rho", "0.41", "--json"]);
    assert!((number(&centred["layers"][1]["rho"]) - 0.41).abs() < 1e-9);
}

#[test]
fn refusals() {
    let relu = refused(&["eoc", "--activation", "relu", "--sigma-b", "0.1"]);
    assert!(relu.contains("its only point is") && relu.contains("hint:"), "{relu}");
    let none = refused(&["eoc", "--activation", "expr:x+10000", "--curve"]);
    assert!(none.contains("no edge of chaos"), "{none}");
    assert!(refused(&["eoc", "--activation", "tanh", "--q=-1"]).contains("q is -1"));
    assert!(
        refused(&["eoc", "--activation", "tanh", "--q", "1", "--depth", "3"]).contains("cannot be used with")
    );
    assert!(refused(&["eoc", "--activation", "tahn"]).contains("did you mean tanh"));
    assert!(
        refused(&["igb", "--activation", "relu", "--depth", "2", "--input-rho", "1.5"]).contains("input rho")
    );
    assert!(refused(&["igb", "--activation", "relu", "--depth", "0"]).contains("depth"));
}

#[test]
fn examinations_are_listed_and_explained() {
    assert!(ok(&["list"]).contains("igb") && ok(&["list"]).contains("eoc"));
    assert!(ok(&["explain", "igb"]).contains("γ = ρ/(1 - ρ)"));
    assert!(ok(&["cite", "igb"]).contains("francazi2023initial"));
    assert!(ok(&["verify", "igb", "--claim", "relu_recursion"]).contains("holds"));
}
