//! Several networks made one, and how two relate.

use serde_json::Value;

use crate::room::Room;

fn two() -> Room {
    let room = Room::new();
    for (seed, name) in [("0", "a"), ("1", "b")] {
        room.ok(&["init", "mlp:20-64-48-5,act=tanh", "--seed", seed, "-o", name]);
    }
    room
}

#[test]
fn networks_are_averaged_and_made_again() {
    let room = two();
    let out = room.ok(&["average", "a", "b", "--weights", "0.3,0.7", "-o", "out"]);
    assert!(
        out.contains("average of 2 networks, shares 0.3000, 0.7000") && out.contains("wrote out/"),
        "{out}"
    );
    let out = room.ok(&["verify-weights", "out"]);
    assert!(out.contains("same bits") && out.contains("average of a, b"), "{out}");
    let out = room.ok(&["average", "a", "b", "--with", "vc", "--align", "--json", "-o", "vc"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["method"], "variance_corrected_average");
    assert_eq!(report["aligned"][0]["parent"], "b");
    assert!(report["tensors"].as_array().unwrap().iter().any(|tensor| tensor["how"] == "corrected"));
    room.ok(&["verify-weights", "vc"]);
    let out = room.ok(&["average", "a", "b", "--dry-run"]);
    assert!(out.contains("nothing was written"), "{out}");
}

#[test]
fn what_is_wrong_is_told_and_nothing_written() {
    let room = two();
    room.ok(&["init", "mlp:20-64-5", "-o", "other"]);
    let names = room.names();
    for (args, said) in [
        (&["average", "a", "b", "--weights", "0.5,0.6", "-o", "out"][..], "whose sum is 1"),
        (&["average", "a", "other", "-o", "out"], "of other"),
        (&["average", "a", "b", "--with", "avarage", "-o", "out"], "did you mean `average`?"),
        (&["average", "a", "b", "--with", "weight_selection", "-o", "out"], "family inherit"),
        (
            &["average", "a", "b", "--with", "vc", "--set", "rule=mine", "-o", "out"],
            "conservative, self, others",
        ),
        (&["average", "a", "b", "--set", "own=0.5", "--weights", "0.5,0.5", "-o", "out"], "one of them"),
        (&["average", "a", "nowhere", "-o", "out"], "nowhere"),
        (&["average", "a", "b", "-o", "a"], "not empty"),
        (&["diff", "a", "nowhere"], "nowhere"),
        (
            &["gossip", "mlp:4-3", "--data", "gaussians:classes=3,dim=4,n=300", "--merge", "mean"],
            "way to merge",
        ),
        (
            &["gossip", "mlp:4-3", "--data", "gaussians:classes=3,dim=4,n=300", "--topology", "regular:16"],
            "degree",
        ),
    ] {
        let (_, err) = room.ends(2, args);
        assert!(err.contains(said), "{args:?}: {err}");
        assert_eq!(room.names(), names, "{args:?}");
    }
}

#[test]
fn relations_are_shown() {
    let room = two();
    let out = room.ok(&["diff", "a", "b", "--report", "page.html"]);
    assert!(out.starts_with("drawn anew") && out.contains("report: page.html"), "{out}");
    let page = std::fs::read_to_string(room.path("page.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<svg"));
    room.ok(&["diff", "a", "a", "--strict"]);
    let (out, _) = room.ends(1, &["diff", "a", "b", "--strict", "--json"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["outcome"], "drawn anew");
}

#[test]
fn nodes_gossip() {
    let room = Room::new();
    let args = [
        "gossip",
        "mlp:8-16-3,act=tanh",
        "--data",
        "gaussians:classes=3,dim=8,n=400,separation=4",
        "--nodes",
        "4",
        "--topology",
        "ring",
        "--steps",
        "20",
        "--merge",
        "none,average,vc,fedavg,sampled:0.5,first",
        "--json",
    ];
    let found: Value = serde_json::from_str(&room.ok(&args)).unwrap();
    let std = |arm: usize| found["arms"][arm]["looks"][0]["std"].as_f64().unwrap();
    // Means of networks from starts of their own shrink, corrected ones do not.
    assert!(std(1) < 0.8 && std(2) > 0.9, "{found}");
    assert_eq!(room.ok(&args), room.ok(&args));
}
