//! ONNX files that were cut short or changed: an error or a network, never a panic.

mod onnx_models;

use epoch0_format::onnx;
use onnx_models::*;
use proptest::prelude::*;

/// Names and bytes of models, which the fuzzer starts from too.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let graphs = [
        ("ok-perceptron", perceptron()),
        ("ok-convolutional", convolutional()),
        ("ok-transformer", transformer()),
        ("ok-lstm", recurrent("LSTM")),
        ("ok-gru", recurrent("GRU")),
    ];
    graphs.into_iter().map(|(name, graph)| (name, graph.model(17))).collect()
}

fn models() -> Vec<Vec<u8>> {
    seeds().into_iter().map(|(_, bytes)| bytes).collect()
}

/// `EPOCH0_BLESS=1` writes them.
#[test]
fn seeds_of_the_fuzzer_are_these_models() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx_corpus");
    for (name, bytes) in seeds() {
        let path = folder.join(format!("{name}.onnx"));
        if std::env::var_os("EPOCH0_BLESS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == bytes, "{name} is another: EPOCH0_BLESS=1 writes it anew");
        assert!(onnx::open(&path).is_ok(), "{name}");
    }
}

/// Opens a file of these bytes; what is accepted has values for every parameter.
fn open(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, bytes).unwrap();
    match onnx::open(&path) {
        Ok(model) => {
            for param in model.network.params() {
                let weight = model.weights.get(&param.name).expect("a parameter without values");
                assert_eq!(weight.shape(), param.shape, "{}", param.name);
                assert_eq!(weight.bytes().len(), weight.len() * weight.dtype().bytes());
            }
        }
        Err(error) => assert!(error.to_string().len() < 4000),
    }
}

#[test]
fn cut_files_are_refused_or_read() {
    for bytes in models() {
        for length in (0..bytes.len()).step_by(7) {
            open(&bytes[..length]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_files_are_refused_or_read(
        which in 0usize..5,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = models().swap_remove(which);
        for (at, value) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        open(&bytes);
    }

    /// Sizes, axes and other small numbers near where they stand are what graphs are made of.
    #[test]
    fn changed_numbers_are_refused_or_read(which in 0usize..5, at in any::<prop::sample::Index>(), by in 1u8..8) {
        let mut bytes = models().swap_remove(which);
        let at = at.index(bytes.len());
        bytes[at] = bytes[at].wrapping_add(by);
        open(&bytes);
    }
}
