//! Hostile ONNX files: messages, graphs, shapes.
//!
//! Run from the root of the repository, with the seeds that `cargo test` has too:
//!
//!     mkdir -p fuzz/corpus/onnx
//!     cargo +nightly fuzz run onnx fuzz/corpus/onnx crates/epoch0-format/tests/onnx_corpus -- -max_len=8192
#![no_main]

use epoch0_format::onnx;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = std::env::temp_dir().join(format!("epoch0-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("model.onnx");
    std::fs::write(&path, bytes).unwrap();
    match onnx::open(&path) {
        // What is accepted is whole: every parameter has values of its shape.
        Ok(model) => {
            for param in model.network.params() {
                let weight = model.weights.get(&param.name).expect("a parameter without values");
                assert_eq!(weight.shape(), param.shape);
                assert_eq!(weight.bytes().len(), weight.len() * weight.dtype().bytes());
            }
        }
        Err(error) => assert!(error.to_string().len() < 4000),
    }
});
