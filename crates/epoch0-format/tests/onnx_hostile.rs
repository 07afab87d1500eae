//! ONNX files that were cut short or changed: an error or a network, never a panic.

mod onnx_models;

use epoch0_format::onnx;
use onnx_models::*;
use proptest::prelude::*;

fn models() -> Vec<Vec<u8>> {
    [perceptron(), convolutional(), transformer(), recurrent("LSTM"), recurrent("GRU")]
        .iter()
        .map(|graph| graph.model(17))
        .collect()
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
