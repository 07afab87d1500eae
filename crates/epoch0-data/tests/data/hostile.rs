//! Files that are cut, changed or made to harm.

use epoch0_data::npz::Compression;
use epoch0_data::read::{cifar, idx, table};
use epoch0_data::{Error, npy, npz};
use proptest::prelude::*;

use crate::formats::{arrays, cifar_record, idx_bytes};

fn text<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.expect_err("refused").to_string()
}

#[test]
fn idx_headers_are_not_believed() {
    let good = idx_bytes(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    assert!(idx::from_bytes("good", &good).is_ok());
    for (bytes, words) in [
        (Vec::new(), "the length of the header is 0 bytes, allowed 4 bytes"),
        (good[..7].to_vec(), "the length of the header is 3 bytes, allowed 8 bytes"),
        (good[..good.len() - 1].to_vec(), "the length of the elements is 5 bytes, allowed 6 bytes"),
        ([&good[..], &[0]].concat(), "its length is more than its header says"),
        (b"PK\x03\x04....".to_vec(), "its start is [80, 75, 3, 4]"),
        (vec![0, 0, 10, 1, 0, 0, 0, 0], "its start is [0, 0, 10, 1]"),
        (vec![0, 0, 8, 9, 0, 0, 0, 0], "its start is [0, 0, 8, 9]"),
        // 2^32 - 1 rows of as many columns, and sizes whose product is no number at all.
        (idx_bytes(&[u32::MAX, 1], &[0]), "the length of the elements is 1 bytes, allowed 4294967295 bytes"),
        (idx_bytes(&[u32::MAX; 3], &[0]), "its shape is [4294967295, 4294967295, 4294967295]"),
    ] {
        let error = text(idx::from_bytes("it", &bytes));
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn cifar_records_are_whole_and_their_labels_are_classes() {
    let ten = cifar::Kind::Cifar10;
    let good = cifar_record(&[9], 0);
    for (bytes, kind, words) in [
        (Vec::new(), ten, "its length is 0 bytes"),
        (good[..3072].to_vec(), ten, "its length is 3072 bytes, allowed a multiple of 3073 bytes"),
        (good.clone(), cifar::Kind::Cifar100, "allowed a multiple of 3074 bytes"),
        ([good, cifar_record(&[10], 0)].concat(), ten, "the label of record 1 is 10, allowed 0 to 9"),
        (cifar_record(&[0, 100], 0), cifar::Kind::Cifar100, "the label of record 0 is 100, allowed 0 to 99"),
    ] {
        let error = text(cifar::from_bytes("it", &bytes, kind));
        assert!(error.contains(words), "{error}");
    }
}

fn npy_with(header: &str) -> Vec<u8> {
    let len = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &len[..], header.as_bytes()].concat()
}

#[test]
fn npy_headers_are_not_believed() {
    let header = |descr: &str, shape: &str| {
        npy_with(&format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"))
    };
    for (bytes, words) in [
        (Vec::new(), "the length of the header is 0 bytes"),
        (b"\x93NUMPY\x04\x00\x00\x00".to_vec(), "its start is \\x93NUMPY\\x04\\x00"),
        (
            b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(),
            "the header's length is 4294967295, allowed at most 65536",
        ),
        (
            header("'<f4'", "(1000000000000,)"),
            "the length of the elements is 0 bytes, allowed 4000000000000 bytes",
        ),
        (header("'<f8'", "(4294967296, 4294967296)"), "the shape is [4294967296, 4294967296]"),
        (header("'<c8'", "(1,)"), "the type is `<c8`"),
        (header("'|O'", "(1,)"), "the type is `|O`"),
        (header("'f4'", "(1,)"), "the type is `f4`"),
        (header("''", "(1,)"), "the type is ``"),
        (header("'é4'", "(1,)"), "the type is `é4`"),
        (header("[('a', '<f4')]", "(1,)"), "the header is `{'descr': [('a'"),
        (npy_with("{}"), "the header is `{}`"),
    ] {
        let error = text(npy::from_bytes("it", &bytes));
        assert!(error.contains(words), "{error}");
    }
}

/// An archive of one entry that is deflated zeros.
fn bomb(n: usize) -> Vec<u8> {
    use std::io::Write as _;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .large_file(true);
    writer.start_file("x.npy", options).unwrap();
    let header = npy_with(&format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({n},), }}\n"));
    writer.write_all(&header).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..n >> 20).for_each(|_| writer.write_all(&zeros).unwrap());
    writer.finish().unwrap().into_inner()
}

#[test]
fn archives_do_not_fill_the_memory() {
    // 2 GiB of zeros in 2 MB.
    let bytes = bomb(2 << 30);
    assert!(bytes.len() < 4 << 20);
    let error = text(npz::from_bytes("bomb", &bytes));
    assert!(error.contains("bomb: its length is more than 1073741824 bytes unpacked"), "{error}");
    // A small one is an array like any other.
    let arrays = npz::from_bytes("small", &bomb(1 << 20)).unwrap();
    assert_eq!(arrays[0].1.shape(), [1 << 20]);
    // One that says it is smaller than it is: both places where sizes stand are made to lie.
    let mut lies = bomb(1 << 20);
    let header = npy_with(&format!(
        "{{'descr': '|u1', 'fortran_order': False, 'shape': ({},), }}
",
        1 << 20
    ));
    let size = (header.len() as u32 + (1 << 20)).to_le_bytes();
    let mut n_lies = 0;
    while let Some(at) = lies.windows(4).position(|four| four == size) {
        lies[at..at + 4].copy_from_slice(&1000u32.to_le_bytes());
        n_lies += 1;
    }
    assert!(n_lies > 0, "the sizes were found");
    assert!(npz::from_bytes("lies", &lies).is_err());
}

#[test]
fn archives_hold_arrays() {
    use std::io::Write as _;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer
        .start_file(
            "readme.txt",
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored),
        )
        .unwrap();
    writer.write_all(b"hello").unwrap();
    let error = text(npz::from_bytes("it", &writer.finish().unwrap().into_inner()));
    assert!(error.contains("an entry is `readme.txt`, allowed names that end in .npy"), "{error}");
    let error = text(npz::from_bytes("it", b"not a zip archive"));
    assert!(error.contains("the archive is not readable"), "{error}");
    let bytes = npz::to_bytes("it", &arrays(), Compression::Stored).unwrap();
    for cut in [1, 22, bytes.len() / 2, bytes.len() - 1] {
        assert!(npz::from_bytes("it", &bytes[..bytes.len() - cut]).is_err());
    }
}

/// Bytes with a few of them changed, removed or doubled.
fn mutated(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let len = bytes.len();
    let place = (0..len, prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0..4u8);
    prop::collection::vec(place, 1..6).prop_map(move |places| {
        let mut bytes = bytes.clone();
        for (at, byte, kind) in places {
            let at = at.min(bytes.len().saturating_sub(1));
            match kind {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, byte),
                _ if bytes.is_empty() => {}
                _ => bytes[at] = byte,
            }
        }
        bytes
    })
}

/// What is refused says so in words that a person can read.
fn holds<T>(result: Result<T, Error>) {
    if let Err(error) = result {
        let text = error.to_string();
        assert!(text.len() < 4000 && text.contains("it"), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn changed_idx_is_read_or_refused(bytes in mutated(idx_bytes(&[2, 3], &[1, 2, 3, 4, 5, 6]))) {
        holds(idx::from_bytes("it", &bytes));
    }

    #[test]
    fn changed_npy_is_read_or_refused(bytes in mutated(npy::to_bytes(&arrays()[2].1))) {
        holds(npy::from_bytes("it", &bytes));
    }

    #[test]
    fn changed_npz_is_read_or_refused(
        bytes in mutated(npz::to_bytes("it", &arrays(), Compression::Stored).unwrap()),
    ) {
        holds(npz::from_bytes("it", &bytes));
    }

    #[test]
    fn changed_deflated_npz_is_read_or_refused(
        bytes in mutated(npz::to_bytes("it", &arrays()[..3], Compression::Deflated).unwrap()),
    ) {
        holds(npz::from_bytes("it", &bytes));
    }

    #[test]
    fn changed_tables_are_read_or_refused(bytes in mutated(b"a,b\n1,2\n\"3\",x\n".to_vec())) {
        holds(table::from_bytes("it", &bytes, b',', &table::Options::default()));
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        holds(idx::from_bytes("it", &bytes));
        holds(npy::from_bytes("it", &bytes));
        holds(npz::from_bytes("it", &bytes));
        holds(cifar::from_bytes("it", &bytes, cifar::Kind::Cifar10));
    }

    #[test]
    fn arrays_of_any_shape_come_back(shape in prop::collection::vec(0usize..5, 0..5), seed: u32) {
        let len = shape.iter().product::<usize>();
        let data: Vec<f32> = (0..len).map(|nth| (nth as u32 ^ seed) as f32 - 1e9).collect();
        let array = epoch0_data::Array::new(shape, data).unwrap().into();
        prop_assert_eq!(&npy::from_bytes("it", &npy::to_bytes(&array)).unwrap(), &array);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn changed_cifar_is_read_or_refused(bytes in mutated([cifar_record(&[1], 3), cifar_record(&[9], 4)].concat())) {
        holds(cifar::from_bytes("it", &bytes, cifar::Kind::Cifar10));
    }
}
