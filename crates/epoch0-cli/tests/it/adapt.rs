//! `epoch0 init` with methods that start adapters.

use std::fs;

use serde_json::Value;

use crate::room::Room;

const NET: &str = "gpt:layers=2,heads=2,embed=16,vocab=11,positions=8";

#[test]
fn an_adapter_is_written_checked_and_replaced() {
    let room = Room::new();
    room.ok(&["init", NET, "-o", "base"]);
    let pissa = ["init", "base", "--with", "pissa", "--rank", "4", "--alpha", "16", "-o", "adapter"];
    let out = room.ok(&pissa);
    for part in ["transformer.h.*.attn.c_attn", "48×16", "4.000", "the network stays", "wrote adapter/"] {
        assert!(out.contains(part), "{part} in {out}");
    }
    let config: Value =
        serde_json::from_slice(&fs::read(room.path("adapter/adapter_config.json")).unwrap()).unwrap();
    assert_eq!((&config["r"], &config["lora_alpha"]), (&8.into(), &32.into()));
    assert!(room.ok(&["verify-weights", "adapter"]).starts_with("same values"));
    // What stands there stays, unless it is to go.
    let lora = ["init", "base", "--with", "lora", "--rank", "2", "--targets", "all-linear", "-o", "adapter"];
    assert!(room.refused(&lora).contains("--force"));
    room.ok(&[&lora[..], &["--force"]].concat());
    assert!(room.ok(&["verify-weights", "adapter"]).starts_with("same bits"));
    let report = room.json(&["init", "base", "--with", "mica", "--dry-run", "--json"]);
    assert_eq!((&report["form"], &report["groups"][0]["rank"]), (&"plain".into(), &8.into()));
    assert_eq!(room.names(), ["adapter", "base"]);
}

#[test]
fn what_is_no_adapter_is_named() {
    let room = Room::new();
    room.ok(&["init", NET, "-o", "base"]);
    for (args, said) in [
        (&["--with", "he_normal", "--rank", "4"][..], "`he_normal` starts no adapters"),
        (&["--with", "pissa", "--rank", "17"], "allowed 1 to 16"),
        (&["--with", "pissa", "--targets", "c_atn"], "did you mean `c_attn`"),
        (&["--with", "eva"], "--data"),
        (&["--with", "lora_a", "--from", "base"], "leave `--from` out"),
    ] {
        let error = room.refused(&[&["init", "base", "-o", "adapter"], args].concat());
        assert!(error.contains(said), "{said} in {error}");
    }
    assert!(room.refused(&["init", NET, "--with", "lora_a", "-o", "adapter"]).contains("a checkpoint in"));
    assert_eq!(room.names(), ["base"]);
}
