//! Networks become codes and come back; what is hostile or cut short is refused.

use std::path::Path;

use epoch0::format::Checkpoint;
use epoch0::method::{Value, Values};
use epoch0::{
    CODEBOOK_FILE, Compressing, Described, Error, Options, Recipe, compress, decompress, initialize,
};

fn start(net: &str, out: &Path) {
    let recipe = Recipe::from_yaml("recipe", "base: pytorch_default").unwrap();
    initialize(&Described::open(net).unwrap(), &recipe, out, &Options::default()).unwrap();
}

fn how(values: &[(&str, &str)]) -> Compressing {
    let set: Values = values.iter().map(|(name, value)| ((*name).to_owned(), Value::parse(value))).collect();
    Compressing { set, ..Compressing::default() }
}

fn compressed(from: &Path, how: &Compressing, out: &Path) -> Result<epoch0::Compressed, Error> {
    compress(&Described::open(from.to_str().unwrap())?, how, out, &Options::default())
}

#[test]
fn networks_come_back() {
    let room = tempfile::tempdir().unwrap();
    for (nth, net) in
        ["mlp:30-50-40-7", "lenet", "gpt:layers=1,heads=2,embed=16,vocab=30"].into_iter().enumerate()
    {
        let at = |name: &str| room.path().join(format!("{nth}{name}"));
        start(net, &at("net"));
        for (mode, bits, most) in
            [("books", "4", 0.02), ("scales", "4", 0.02), ("uniform", "6", 0.02), ("books", "8", 1e-3)]
        {
            let (packed, out) = (at(&format!("{mode}{bits}")), at(&format!("{mode}{bits}out")));
            let report =
                compressed(&at("net"), &how(&[("mode", mode), ("bits", bits), ("groups", "4")]), &packed)
                    .unwrap();
            assert!(report.tensors.iter().all(|tensor| tensor.error < most), "{net} {mode}: {report:#?}");
            let coded: u64 = report.tensors.iter().map(|tensor| tensor.bytes).sum();
            let file = Checkpoint::open(packed.join(CODEBOOK_FILE)).unwrap();
            let is_code = |name: &str| {
                ["codes", "books", "scales", "groups", "rows"].iter().any(|end| name.ends_with(end))
            };
            let own: usize = file
                .tensors()
                .filter(|tensor| is_code(tensor.name()))
                .map(|tensor| tensor.bytes().len())
                .sum();
            assert_eq!(coded, own as u64);
            let done = decompress(&packed, &out, &Options::default()).unwrap();
            assert_eq!(done.coded, report.tensors.len());
            // It is a checkpoint of the same network.
            let back = Described::open(out.to_str().unwrap()).unwrap();
            assert_eq!(back.net, Described::open(at("net").to_str().unwrap()).unwrap().net);
            let whole = Checkpoint::open(&out).unwrap();
            assert!(
                back.net.params().iter().all(|param| whole.get(&param.name).unwrap().shape() == param.shape)
            );
        }
    }
}

#[test]
fn what_is_cut_or_forged_is_refused() {
    let room = tempfile::tempdir().unwrap();
    let at = |name: &str| room.path().join(name);
    start("mlp:6-8-3", &at("net"));
    compressed(&at("net"), &how(&[("groups", "2")]), &at("packed")).unwrap();
    let file = at("packed").join(CODEBOOK_FILE);
    let whole = std::fs::read(&file).unwrap();
    let refused = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let error = decompress(&at("packed"), &at("out"), &Options::default()).unwrap_err();
        assert!(!at("out").exists());
        error.to_string()
    };
    for len in (0..whole.len()).step_by(7) {
        refused(&whole[..len]);
    }
    let forged = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = whole.windows(from.len()).position(|bytes| bytes == from.as_bytes()).expect("in the notes");
        let mut bytes = whole.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        refused(&bytes)
    };
    assert!(forged("epoch0_codebook", "epoch0_cOdebook").contains("it holds no codes"));
    assert!(forged(r#"\"version\":1"#, r#"\"version\":7"#).contains("version 7"));
    assert!(forged(r#"\"bits\":8"#, r#"\"bits\":9"#).contains("9 bits"));
    assert!(forged(r#"\"dim\":0"#, r#"\"dim\":5"#).contains("dimension 5"));
    assert!(forged(r#"\"shape\":[8,6]"#, r#"\"shape\":[9,6]"#).contains("is not shape [9, 6]"));
    assert!(forged(r#"\"dtype\":\"f32\""#, r#"\"dtype\":\"i32\""#).contains("i32"));
    std::fs::write(&file, &whole).unwrap();
    decompress(&file, &at("out"), &Options::default()).unwrap();
}

#[test]
fn what_is_no_checkpoint_is_named() {
    let room = tempfile::tempdir().unwrap();
    let error = compress(
        &Described::open("mlp:6-8-3").unwrap(),
        &how(&[]),
        &room.path().join("out"),
        &Options::default(),
    );
    assert!(error.unwrap_err().to_string().contains("a checkpoint in `mlp:6-8-3` is missing"));
    start("mlp:6-8-3", &room.path().join("net"));
    let error =
        decompress(&room.path().join("net/model.safetensors"), &room.path().join("out"), &Options::default());
    assert!(error.unwrap_err().to_string().contains("it holds no codes"));
    let error = compressed(&room.path().join("net"), &how(&[("bits", "9")]), &room.path().join("out"));
    assert!(error.unwrap_err().to_string().contains("bits is 9"));
    assert!(!room.path().join("out").exists());
}
