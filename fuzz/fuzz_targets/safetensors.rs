//! Hostile checkpoint files: headers and indices.
//!
//! Install cargo-fuzz (`cargo install cargo-fuzz`), then run from the root of the repository
//!
//!     mkdir -p fuzz/corpus/safetensors
//!     cargo +nightly fuzz run safetensors fuzz/corpus/safetensors crates/epoch0-format/tests/corpus -- -max_len=4096
//!
//! or, without a nightly compiler, the same with `RUSTC_BOOTSTRAP=1 cargo fuzz …`. The second folder holds the seeds,
//! which `cargo test` runs too. What is found goes there, with a name that begins with `ok-` or `bad-`.
#![no_main]

use epoch0_format::read::{Header, Index};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    header(bytes);
    // The fuzzer rarely finds the length that fits a header it has changed: give it one.
    if let Some((header_length, data_length)) =
        bytes.split_first().map(|(n, rest)| (rest.len(), usize::from(*n)))
        && bytes[1..].starts_with(b"{")
    {
        let mut file = (header_length as u64).to_le_bytes().to_vec();
        file.extend(&bytes[1..]);
        file.resize(file.len() + data_length, 0);
        header(&file);
    }
    let _ = Index::parse(bytes).map_err(|fault| fault.to_string());
});

/// What is accepted is whole, and accepted by the reference library with the same meaning.
fn header(file: &[u8]) {
    let header = match Header::parse(file) {
        Ok(header) => header,
        Err(fault) => {
            assert!(fault.to_string().len() < 2000);
            return;
        }
    };
    let mut end = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let (_, theirs) = safetensors::SafeTensors::read_metadata(file).expect("accepted here, refused there");
    assert_eq!(theirs.tensors().len(), header.tensors.len());
    for tensor in &header.tensors {
        assert_eq!(tensor.range.start, end);
        end = tensor.range.end;
        assert_eq!(tensor.dtype.bytes_of(tensor.shape.iter().product()), Some(tensor.range.len()));
        let info = theirs.info(&tensor.name).expect("named here, not there");
        assert_eq!(info.shape, tensor.shape);
        assert_eq!(info.dtype.to_string(), tensor.dtype.safetensors_name());
        assert_eq!(info.data_offsets.1 - info.data_offsets.0, tensor.range.len());
    }
    assert_eq!(end, file.len());
}
