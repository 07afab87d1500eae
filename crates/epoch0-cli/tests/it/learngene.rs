//! Networks of a pool, from the ancestry to what is exported.

use serde_json::Value;

use crate::room::Room;

const DATA: &str = "gaussians:classes=3,dim=8,n=300,separation=4";
const NARROW: &str = "residual_mlp:8-6-3,blocks=3,norm=none";
const WIDE: &str = "residual_mlp:8-16-3,blocks=3,norm=none";

fn distilled() -> Room {
    let room = Room::new();
    let ancestry = "residual_mlp:8-16-3,blocks=6,norm=none";
    room.ok(&["train", ancestry, "--data", DATA, "--for", "20it", "--batch", "32", "-o", "ancestry"]);
    let out = room.ok(&[
        "learngene",
        "distill",
        "ancestry",
        "--to",
        NARROW,
        "--to",
        WIDE,
        "--data",
        DATA,
        "--for",
        "20it",
        "--batch",
        "32",
        "--optimizer",
        "adam",
        "-o",
        "pool",
    ]);
    assert!(out.contains("multiply-adds") && out.contains("wrote pool"), "{out}");
    room
}

#[test]
fn a_pool_is_stitched_trained_and_exported() {
    let room = distilled();
    for start in ["learned", "inverse", "random"] {
        room.ok(&["learngene", "stitch", "pool", "--start", start, "-o", start]);
    }
    let args = ["--start", "least_squares", "--data", DATA, "-o", "squares", "--json"];
    let out = room.ok(&[&["learngene", "stitch", "pool"], &args[..]].concat());
    let builds: Value = serde_json::from_str(&out).unwrap();
    // Two members, and 4 + 3 pairs.
    assert_eq!(builds.as_array().unwrap().len(), 9);
    let args = ["--data", DATA, "--for", "10it", "--batch", "32", "--teacher", "ancestry", "-o", "trained"];
    let out = room.ok(&[&["learngene", "train", "learned"], &args[..]].concat());
    assert!(out.contains("0[0..0] → 1[1..]"), "{out}");
    let out = room.ok(&["learngene", "test", "trained", "--data", DATA, "--json"]);
    let tested: Value = serde_json::from_str(&out).unwrap();
    let work = |at: usize| tested[at]["multiply_adds"].as_u64().unwrap();
    // What is exported answers as it does in the pool.
    let args = ["learngene", "export", "trained", "--network", "3", "-o", "stitched", "--json"];
    let one: Value = serde_json::from_str(&room.ok(&args)).unwrap();
    assert_eq!(one["multiply_adds"].as_u64(), Some(work(3)));
    let out = room.ok(&["train", "stitched", "--data", DATA, "--for", "1it", "--lr", "0", "--json"]);
    let trained: Value = serde_json::from_str(&out).unwrap();
    let found = format!("{trained}");
    let loss = tested[3]["loss"].as_f64().unwrap();
    assert!(found.contains(&format!("{loss:.4}")[..6]), "{loss} in {found}");
    room.ok(&["learngene", "export", "trained", "--network", "0", "-o", "narrow"]);
    room.ok(&["examine", "narrow", "--only", "propagation"]);
    let most = work(0).to_string();
    let out = room.ok(&["learngene", "export", "trained", "--at-most", &most, "--data", DATA, "-o", "small"]);
    assert!(out.starts_with("0: "), "{out}");
}

#[test]
fn what_is_wrong_is_told_and_nothing_written() {
    let room = distilled();
    room.ok(&["learngene", "stitch", "pool", "-o", "stitched"]);
    std::fs::write(room.path("stitched/pool.json"), "{\"format\": 1}").unwrap();
    let names = room.names();
    let distill = ["learngene", "distill", "ancestry", "--data", DATA, "-o", "out", "--to"];
    let with = |more: &[&'static str]| [&distill[..], more].concat();
    for (args, said) in [
        (with(&["mlp:8-6-3"]), "number of blocks"),
        (with(&["residual_mlp:9-6-3,blocks=3"]), "dimensions of"),
        (with(&["residual_mlp:8-6-3,blocks=7"]), "7 blocks, the ancestry 6"),
        (with(&[NARROW, "--set", "taps=middle"]), "end, both, all"),
        (vec!["learngene", "stitch", "pool", "--start", "least_squares", "-o", "out"], "--data"),
        (vec!["learngene", "stitch", "pool", "--pair", "0:2", "-o", "out"], "members 0 to 1"),
        (vec!["learngene", "stitch", "pool", "-o", "pool"], "not empty"),
        (vec!["learngene", "stitch", "ancestry", "-o", "out"], "pool.json"),
        (vec!["learngene", "test", "stitched"], "pool.json"),
        (vec!["learngene", "export", "pool", "--network", "2", "-o", "out"], "0 to 1"),
        (vec!["learngene", "export", "pool", "--at-most", "1", "-o", "out"], "the smallest takes"),
        (vec!["learngene", "distill", "mlp:8-3", "--to", NARROW, "--data", DATA, "-o", "out"], "no weights"),
    ] {
        let (_, err) = room.ends(2, &args);
        assert!(err.contains(said), "{args:?}: {err}");
        assert_eq!(room.names(), names, "{args:?}");
    }
}
