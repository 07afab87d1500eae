//! Files that are not what they say: every one is refused with its reason, none brings the reader down.

use std::fs;
use std::path::Path;

use epoch0_format::read::{Header, Index};
use epoch0_format::{Checkpoint, Error, Fault, Note};
use epoch0_num::Dtype;
use proptest::prelude::*;

fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.extend((0..data).map(|at| at as u8));
    bytes
}

fn fault(header: &str, data: usize) -> Fault {
    Header::parse(&file(header, data)).expect_err(header)
}

fn entry(dtype: &str, shape: &str, begin: u64, end: u64) -> String {
    format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
}

fn valid() -> Vec<u8> {
    let (a, b) = (entry("F32", "[2,2]", 0, 16), entry("BF16", "[3]", 16, 22));
    file(&format!(r#"{{"__metadata__":{{"format":"pt"}},"a":{a},"b.ü":{b}}}  "#), 22)
}

#[test]
fn the_valid_file_is_read() {
    let header = Header::parse(&valid()).unwrap();
    let tensors: Vec<_> =
        header.tensors.iter().map(|t| (t.name.as_str(), t.dtype, t.shape.as_slice())).collect();
    assert_eq!(tensors, [("a", Dtype::F32, &[2, 2][..]), ("b.ü", Dtype::BF16, &[3])]);
    assert_eq!(header.tensors[1].range, valid().len() - 6..valid().len());
    assert_eq!(header.metadata["format"], "pt");
}

#[test]
fn every_cut_is_refused() {
    let whole = valid();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.safetensors");
    for length in 0..whole.len() {
        assert!(Header::parse(&whole[..length]).is_err(), "cut at {length}");
        fs::write(&path, &whole[..length]).unwrap();
        assert!(matches!(Checkpoint::open(&path), Err(Error::Malformed { .. })), "cut at {length}");
    }
    assert_eq!(Header::parse(&[]), Err(Fault::TooShort { found: 0 }));
    let data = whole.len() - 22;
    assert_eq!(
        Header::parse(&whole[..data + 20]),
        Err(Fault::PastEnd { tensor: "b.ü".to_owned(), end: 22, allowed: 20 })
    );
}

/// What the reader accepts has to be whole: tensors side by side, from the header to the end.
fn check_accepted(bytes: &[u8]) {
    let Ok(header) = Header::parse(bytes) else { return };
    let mut end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for tensor in &header.tensors {
        assert_eq!(tensor.range.start, end);
        end = tensor.range.end;
        assert_eq!(tensor.dtype.bytes_of(tensor.shape.iter().product()), Some(tensor.range.len()));
    }
    assert_eq!(end, bytes.len());
    // And the reference library accepts it too.
    let (_, theirs) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
    assert_eq!(theirs.tensors().len(), header.tensors.len());
}

#[test]
fn every_flipped_bit_is_survived() {
    let whole = valid();
    let mut refused = 0;
    for bit in 0..8 * (whole.len() - 22) {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        check_accepted(&flipped);
        refused += usize::from(Header::parse(&flipped).is_err());
    }
    // Names and metadata may change unseen; most of the header may not.
    assert!(8 * (whole.len() - 22) * 8 / 10 < refused, "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), header in any::<String>()) {
        check_accepted(&bytes);
        check_accepted(&file(&header, 8));
        let _ = Index::parse(&bytes);
    }

    #[test]
    fn any_offsets_are_survived(offsets in prop::collection::vec((0_u64..20, 0_u64..20), 0..4), data in 0_usize..20) {
        let entries: Vec<String> = offsets.iter().enumerate().map(|(i, &(begin, end))| {
            format!("\"{i}\":{}", entry("U8", &format!("[{}]", end.saturating_sub(begin)), begin, end))
        }).collect();
        let bytes = file(&format!("{{{}}}", entries.join(",")), data);
        check_accepted(&bytes);
        // Where the reference library accepts, so do we.
        prop_assert_eq!(Header::parse(&bytes).is_ok(), safetensors::SafeTensors::read_metadata(&bytes).is_ok());
    }
}

#[test]
fn lengths() {
    let mut bytes = u64::MAX.to_le_bytes().to_vec();
    bytes.extend(b"{}");
    assert_eq!(Header::parse(&bytes), Err(Fault::HeaderLength { found: u64::MAX, allowed: 2 }));
    bytes[..8].copy_from_slice(&3_u64.to_le_bytes());
    assert_eq!(Header::parse(&bytes), Err(Fault::HeaderLength { found: 3, allowed: 2 }));
    let mut large = 100_000_001_u64.to_le_bytes().to_vec();
    large.resize(100_000_010, b' ');
    assert_eq!(Header::parse(&large), Err(Fault::HeaderLength { found: 100_000_001, allowed: 100_000_000 }));
    assert_eq!(Header::parse(&file("{}", 0)).unwrap().tensors, []);
    assert_eq!(fault("{}", 1), Fault::Trailing { found: 1, allowed: 0 });
}

#[test]
fn text() {
    let mut bytes = file("{\"a\":1}", 0);
    bytes[10] = 0xff;
    assert_eq!(Header::parse(&bytes), Err(Fault::HeaderUtf8 { at: 2 }));
    for header in [
        "",
        " {}",
        "[]",
        "null",
        "{",
        "{}x",
        "{}{}",
        "{\"a\"}",
        "{1:2}",
        "{\"__metadata__\":{},}",
        "{\"\\ud800\":1}",
        "\0{}",
    ] {
        assert!(matches!(fault(header, 0), Fault::HeaderJson { .. }), "{header:?}");
    }
    let bomb = "[".repeat(1_000_000);
    assert!(matches!(fault(&bomb, 0), Fault::HeaderJson { .. }));
    assert!(matches!(fault(&format!("{{\"a\":{bomb}"), 0), Fault::HeaderJson { .. }));
    let closed = format!("{bomb}{}", "]".repeat(1_000_000));
    assert!(matches!(fault(&format!("{{\"a\":{closed}}}"), 0), Fault::Entry { .. }));
    assert!(matches!(fault(&format!("{{\"__metadata__\":{closed}}}"), 0), Fault::Metadata { .. }));
    let shape = entry("F32", &closed, 0, 4);
    assert!(matches!(fault(&format!("{{\"a\":{shape}}}"), 4), Fault::Entry { .. }));
}

#[test]
fn names_and_keys_come_once() {
    let a = entry("U8", "[1]", 0, 1);
    let b = entry("U8", "[1]", 1, 2);
    let duplicate = Fault::Duplicate { name: "a".to_owned() };
    assert_eq!(fault(&format!(r#"{{"a":{a},"a":{b}}}"#), 2), duplicate);
    assert_eq!(fault(&format!(r#"{{"a":{a},"\u0061":{b}}}"#), 2), duplicate);
    assert_eq!(fault(r#"{"__metadata__":{"a":"1","a":"1"}}"#, 0), duplicate);
    let twice = Fault::Duplicate { name: "__metadata__".to_owned() };
    assert_eq!(fault(r#"{"__metadata__":{},"__metadata__":{}}"#, 0), twice);
    for metadata in ["1", "[]", "null", r#"{"a":1}"#, r#"{"a":null}"#, r#"{"a":{}}"#] {
        assert!(
            matches!(fault(&format!(r#"{{"__metadata__":{metadata}}}"#), 0), Fault::Metadata { .. }),
            "{metadata}"
        );
    }
}

#[test]
fn entries() {
    for text in [
        "1",
        "[\"U8\",[1],[0,1]]",
        r#"{"dtype":"U8","shape":[1]}"#,
        r#"{"dtype":"U8","shape":[1],"data_offsets":[0]}"#,
        r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}"#,
        r#"{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}"#,
        r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1e0]}"#,
        r#"{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}"#,
        r#"{"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,1]}"#,
        r#"{"dtype":"U8","shape":1,"data_offsets":[0,1]}"#,
        r#"{"dtype":1,"shape":[1],"data_offsets":[0,1]}"#,
        r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1],"shape":[1]}"#,
        r#"{"dtype":"U8","shape":[1],"data_offsets":[0,1],"strides":[1]}"#,
    ] {
        assert!(matches!(fault(&format!(r#"{{"a":{text}}}"#), 1), Fault::Entry { .. }), "{text}");
    }
    let one = |dtype, shape, begin, end| fault(&format!(r#"{{"a":{}}}"#, entry(dtype, shape, begin, end)), 4);
    let tensor = || "a".to_owned();
    assert_eq!(one("f32", "[1]", 0, 4), Fault::UnknownDtype { tensor: tensor(), found: "f32".to_owned() });
    assert_eq!(one("U8", "[1]", 4, 3), Fault::Backwards { tensor: tensor(), begin: 4, end: 3 });
    for shape in ["[18446744073709551615,2]", "[4294967296,4294967296]", "[4611686018427387904]"] {
        assert!(matches!(one("F32", shape, 0, 4), Fault::ShapeOverflow { .. }), "{shape}");
    }
    assert!(matches!(one("F4", "[3]", 0, 1), Fault::PartialByte { dtype: Dtype::F4, .. }));
    assert!(matches!(one("F32", "[2]", 0, 4), Fault::Size { wanted: 8, found: 4, .. }));
    assert!(matches!(one("F32", "[]", 0, 0), Fault::Size { wanted: 4, found: 0, .. }));
    assert_eq!(one("U8", "[5]", 0, 5), Fault::PastEnd { tensor: tensor(), end: 5, allowed: 4 });
    let (begin, end) = (u64::MAX - 1, u64::MAX);
    assert_eq!(one("U8", "[1]", begin, end), Fault::PastEnd { tensor: tensor(), end, allowed: 4 });
    assert_eq!(one("U8", "[3]", 1, 4), Fault::Hole { tensor: tensor(), found: 1, allowed: 0 });
    assert_eq!(one("U8", "[3]", 0, 3), Fault::Trailing { found: 4, allowed: 3 });
    let two = format!(r#"{{"b":{},"a":{}}}"#, entry("U8", "[3]", 1, 4), entry("U8", "[2]", 0, 2));
    let overlap = Fault::Overlap { tensor: "b".to_owned(), other: tensor(), found: 1, allowed: 2 };
    assert_eq!(fault(&two, 4), overlap);
}

#[test]
fn messages_stay_readable() {
    let name = format!("\\u001b[2J{}", "x".repeat(10_000));
    let text = fault(&format!(r#"{{"{name}":{}}}"#, entry("U8", "[1]", 0, 2)), 2).to_string();
    assert!(text.len() < 400 && !text.contains('\u{1b}'), "{text}");
    let error = Checkpoint::open("/no/such/model").unwrap_err().to_string();
    assert!(error.starts_with("could not open `/no/such/model`: "), "{error}");
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.put(
            "one.safetensors",
            &file(&format!(r#"{{"__metadata__":{{"k":"1"}},"a":{}}}"#, entry("U8", "[1]", 0, 1)), 1),
        );
        folder.put(
            "two.safetensors",
            &file(&format!(r#"{{"__metadata__":{{"k":"2"}},"b":{}}}"#, entry("U8", "[2]", 0, 2)), 2),
        );
        folder
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.path().join(name), bytes).unwrap();
    }

    fn with_index(&self, text: &str) -> Result<Checkpoint, Error> {
        self.put("model.safetensors.index.json", text.as_bytes());
        Checkpoint::open(self.0.path())
    }

    fn fault(&self, text: &str) -> Fault {
        self.with_index(text).expect_err(text).fault().unwrap().clone()
    }
}

#[test]
fn indices() {
    let folder = Folder::new();
    let good = r#"{"metadata":{"total_size":3},"weight_map":{"a":"one.safetensors","b":"two.safetensors"},"more":[]}"#;
    let checkpoint = folder.with_index(good).unwrap();
    let names: Vec<_> = checkpoint.tensors().map(|t| t.name()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(checkpoint.get("b").unwrap().bytes(), [0, 1]);
    let differs = Note::Metadata { key: "k".to_owned(), shard: "two.safetensors".to_owned() };
    assert_eq!(checkpoint.notes(), [differs]);
    assert_eq!(checkpoint.metadata()["k"], "1");

    for text in ["", "nonsense", "[]", "{}", r#"{"weight_map":1}"#, r#"{"weight_map":{"a":1}}"#, "\u{feff}{}"]
    {
        assert!(matches!(folder.fault(text), Fault::IndexJson { .. }), "{text}");
    }
    folder.put("model.safetensors.index.json", &[0xff, 0xfe]);
    assert!(matches!(Checkpoint::open(folder.0.path()).unwrap_err().fault(), Some(Fault::IndexJson { .. })));
    let nested = format!(r#"{{"metadata":{}{},"weight_map":{{}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert!(matches!(folder.fault(&nested), Fault::IndexJson { .. }));

    for name in
        ["../one.safetensors", "/etc/passwd", "a/b", "a\\\\b", "..", ".", "", "C:x", "one.safetensors/"]
    {
        let text = format!(r#"{{"weight_map":{{"a":"{name}"}}}}"#);
        assert!(matches!(folder.fault(&text), Fault::ShardName { .. }), "{name}");
    }
    let a = || "a".to_owned();
    let shard = || "three.safetensors".to_owned();
    assert_eq!(
        folder.fault(r#"{"weight_map":{"a":"three.safetensors"}}"#),
        Fault::MissingShard { tensor: a(), shard: shard() }
    );
    assert_eq!(
        folder.fault(r#"{"weight_map":{"c":"one.safetensors"}}"#),
        Fault::NoShard { tensor: "c".to_owned(), shard: "one.safetensors".to_owned() }
    );
    let (one, two) = (|| "one.safetensors".to_owned(), || "two.safetensors".to_owned());
    assert_eq!(
        folder.fault(r#"{"weight_map":{"a":"two.safetensors","b":"one.safetensors"}}"#),
        Fault::WrongShard { tensor: a(), stated: two(), found: one() }
    );
    assert_eq!(
        folder.fault(r#"{"weight_map":{"a":"one.safetensors","a":"two.safetensors"}}"#),
        Fault::Duplicate { name: a() }
    );
    folder.put("three.safetensors", &fs::read(folder.0.path().join("one.safetensors")).unwrap());
    assert_eq!(
        folder.fault(r#"{"weight_map":{"a":"one.safetensors","b":"three.safetensors"}}"#),
        Fault::TwoShards { tensor: a(), first: one(), second: shard() }
    );
    fs::create_dir(folder.0.path().join("four.safetensors")).unwrap();
    let error = folder.with_index(r#"{"weight_map":{"a":"four.safetensors"}}"#).unwrap_err();
    assert!(matches!(error, Error::NotAFile { .. }));
}

#[test]
fn odd_but_readable_indices_leave_notes() {
    let folder = Folder::new();
    folder.put(
        "two.safetensors",
        &file(&format!(r#"{{"b":{},"c":{}}}"#, entry("U8", "[1]", 0, 1), entry("U8", "[1]", 1, 2)), 2),
    );
    let map = r#""weight_map":{"a":"one.safetensors","b":"two.safetensors"}"#;
    let checkpoint = folder.with_index(&format!(r#"{{"metadata":{{"total_size":99}},{map}}}"#)).unwrap();
    let unlisted = Note::Unlisted { tensor: "c".to_owned(), shard: "two.safetensors".to_owned() };
    assert_eq!(checkpoint.notes(), [unlisted.clone(), Note::TotalSize { stated: "99".to_owned(), found: 3 }]);
    assert!(checkpoint.get("c").is_some());
    for metadata in [r#"{"total_size":3.0}"#, r#"{"total_size":null}"#, "{}", "null", "[]"] {
        let checkpoint = folder.with_index(&format!(r#"{{"metadata":{metadata},{map}}}"#)).unwrap();
        assert_eq!(checkpoint.notes(), std::slice::from_ref(&unlisted), "{metadata}");
    }
}

#[test]
fn paths() {
    let folder = Folder::new();
    let error = Checkpoint::open(folder.0.path()).unwrap_err();
    assert!(
        matches!(&error, Error::NoCheckpoint { found, .. } if found == &["one.safetensors", "two.safetensors"])
    );
    // An index may be opened by its own path; a single file comes before an index, as it does for transformers.
    folder.with_index(r#"{"weight_map":{"a":"one.safetensors"}}"#).unwrap();
    let index = folder.0.path().join("model.safetensors.index.json");
    assert_eq!(Checkpoint::open(&index).unwrap().len(), 1);
    folder.put("model.safetensors", &valid());
    assert_eq!(Checkpoint::open(folder.0.path()).unwrap().len(), 2);
    if cfg!(unix) {
        assert!(matches!(Checkpoint::open("/dev/null"), Err(Error::NotAFile { .. })));
    }
}

/// The seeds of the fuzz target. The name says what has to become of them.
#[test]
fn corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut counts = [0; 2];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        check_accepted(&bytes);
        let accepted = if path.extension().is_some_and(|e| e == "json") {
            Index::parse(&bytes).map(|_| ())
        } else {
            Header::parse(&bytes).map(|_| ())
        };
        let expected = path.file_name().unwrap().to_str().unwrap().starts_with("ok-");
        assert_eq!(accepted.is_ok(), expected, "{}: {accepted:?}", path.display());
        counts[usize::from(expected)] += 1;
    }
    assert!(10 <= counts[0] && 5 <= counts[1], "{counts:?}");
}
