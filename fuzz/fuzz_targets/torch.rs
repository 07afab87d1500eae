//! Hostile files of torch: archives, pickles, views.
//!
//! Run from the root of the repository, with the seeds that `cargo test` has too:
//!
//!     mkdir -p fuzz/corpus/torch
//!     cargo +nightly fuzz run torch fuzz/corpus/torch crates/epoch0-format/tests/torch_corpus -- -max_len=16384
#![no_main]

#[path = "../../crates/epoch0-format/tests/torch_archive/mod.rs"]
mod torch_archive;

use epoch0_format::read::torch::TorchFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    file(bytes);
    // The fuzzer rarely finds an archive around a pickle that it has changed: give it one.
    file(&torch_archive::with_pickle(bytes));
});

/// What is accepted lies in the file, and further names are those of tensors.
fn file(bytes: &[u8]) {
    match TorchFile::parse(bytes, None) {
        Ok(file) => {
            for tensor in &file.header.tensors {
                assert!(tensor.range.start <= tensor.range.end && tensor.range.end <= bytes.len());
            }
            assert!(file.ties.iter().all(|(_, of)| *of < file.header.tensors.len()));
        }
        Err(fault) => assert!(fault.to_string().len() < 2000),
    }
}
