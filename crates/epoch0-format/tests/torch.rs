//! Files of torch: what torch itself wrote, and what nobody should.

mod torch_archive;

use std::fs;
use std::path::{Path, PathBuf};

use epoch0_format::read::torch::{TorchFault, TorchFile};
use epoch0_format::{Checkpoint, Error, Fault, Note};
use epoch0_num::Dtype;
use proptest::prelude::*;
use torch_archive::{archive, with_pickle};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torch_corpus")
}

fn seed(name: &str) -> Vec<u8> {
    fs::read(corpus().join(name)).unwrap()
}

/// What is accepted is whole: every tensor's bytes can be had, as many as its shape says.
fn check(file: &[u8]) -> Result<usize, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt");
    fs::write(&path, file).unwrap();
    match Checkpoint::open(&path) {
        Ok(checkpoint) => {
            for tensor in checkpoint.tensors() {
                assert_eq!(Some(tensor.bytes().len()), tensor.dtype().bytes_of(tensor.len()));
            }
            Ok(checkpoint.len())
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 2000, "{text}");
            Err(text)
        }
    }
}

fn fault(pickle: &[u8]) -> Fault {
    TorchFile::parse(&with_pickle(pickle), None).unwrap_err()
}

/// A pickle of a dict with `a`, a tensor of floats that lies so.
fn tensor(elements: u32, offset: i32, shape: &[i32], strides: &[i32]) -> Vec<u8> {
    let number = |n: i32| [&b"J"[..], &n.to_le_bytes()].concat();
    let tuple =
        |all: &[i32]| [&b"("[..], &all.iter().flat_map(|n| number(*n)).collect::<Vec<_>>(), b"t"].concat();
    let mut pickle = b"\x80\x02}X\x01\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage".to_vec();
    pickle.extend(b"ctorch\nFloatStorage\nX\x01\0\0\0\x30X\x03\0\0\0cpu");
    pickle.extend(
        [number(elements as i32), b"tQ".to_vec(), number(offset), tuple(shape), tuple(strides)].concat(),
    );
    pickle.extend(b"\x89}tRs.");
    pickle
}

#[test]
fn files_of_torch_are_read_as_torch_reads_them() {
    let mut n = 0;
    for name in ["ok-views", "ok-trained2", "ok-trained4", "ok-small", "ok-perceptron"] {
        let own = Checkpoint::open(corpus().join(format!("{name}.pt"))).unwrap();
        let theirs = Checkpoint::open(corpus().join(format!("{name}.safetensors"))).unwrap();
        assert_eq!(own.len(), theirs.len(), "{name}");
        for tensor in theirs.tensors() {
            let found = own.tensor(tensor.name()).unwrap();
            assert_eq!(found.dtype(), tensor.dtype(), "{}", tensor.name());
            assert_eq!(found.shape(), tensor.shape(), "{}", tensor.name());
            assert!(found.bytes() == tensor.bytes(), "{}", tensor.name());
            n += 1;
        }
    }
    assert!(60 < n, "{n}");
}

#[test]
fn tied_tensors_are_one_under_two_names() {
    let file = Checkpoint::open(corpus().join("ok-views.pt")).unwrap();
    let names: Vec<&str> = file.tensors().map(|tensor| tensor.name()).collect();
    assert!(names.contains(&"base") && !names.contains(&"tied") && !names.contains(&"turned_and_tied"));
    assert_eq!(file.get("tied").unwrap().name(), "base");
    assert_eq!(file.get("turned_and_tied").unwrap().name(), "turned");
    let note = Note::Tied { tensor: "tied".to_owned(), with: "base".to_owned() };
    assert!(file.notes().contains(&note));
    // A row of a tensor is none of it.
    assert_eq!(file.get("row").unwrap().shape(), [8]);
}

#[test]
fn keys_are_told() {
    let open = |name: &str| Checkpoint::open(corpus().join(name));
    let trained = open("ok-trained2.pt").unwrap();
    let averaged = open("ok-trained2.pt#ema").unwrap();
    let weight = |file: &Checkpoint| file.tensor("a.bias").unwrap().bytes().to_vec();
    assert_eq!(trained.len(), averaged.len());
    assert!(weight(&trained) != weight(&averaged));
    let text = open("bad-keys.pt").unwrap_err().to_string();
    assert!(
        text.contains(
            "hint: there are tensors under ema, other: name one after the file, as in model.pth#ema"
        )
    );
    assert!(open("bad-keys.pt#ema").is_ok());
    let text = open("ok-trained2.pt#best").unwrap_err().to_string();
    assert!(text.contains("no tensors under `best`, allowed state_dict, ema"), "{text}");
    let text = open("ok-small.safetensors#ema").unwrap_err().to_string();
    assert!(text.contains("no tensors under `ema`"), "{text}");
}

#[test]
fn what_cannot_be_read_says_why() {
    let wanted = [
        ("bad-legacy.pt", "a bare pickle, as torch before 1.6 wrote files"),
        (
            "bad-module.pt",
            "asks for `torch.nn.modules.linear.Linear`, which is not run, allowed torch's tensors",
        ),
        ("bad-list.pt", "it holds a list, allowed tensors by name"),
        ("bad-sparse.pt", "asks for `torch._utils._rebuild_sparse_tensor`"),
        ("bad-big-endian.pt", "numbers are stored as `big`, allowed little"),
        ("bad-packed.pt", "is compressed or encrypted"),
    ];
    for (name, why) in wanted {
        let text = check(&seed(name)).unwrap_err();
        assert!(text.contains(why), "{name}: {text}");
    }
    assert!(check(b"<!DOCTYPE html>").unwrap_err().contains("begins neither as a zip archive"));
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    assert!(check(&tar).unwrap_err().contains("a tar archive"));
    let count = fs::read_dir(corpus()).unwrap().count();
    assert_eq!(count, 5 * 2 + wanted.len() + 1, "each file of the corpus is tested");
}

#[test]
fn folders_are_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("other.pth"), seed("ok-small.pt")).unwrap();
    let error = Checkpoint::open(folder.path()).unwrap_err();
    assert!(matches!(&error, Error::NoCheckpoint { found, .. } if found == &["other.pth"]), "{error}");
    let map = r#"{"weight_map":{"a.weight":"one.bin","a.bias":"one.bin"}}"#;
    fs::write(path("pytorch_model.bin.index.json"), map).unwrap();
    fs::write(path("one.bin"), seed("ok-small.pt")).unwrap();
    assert_eq!(Checkpoint::open(folder.path()).unwrap().len(), 2);
    fs::write(path("pytorch_model.bin"), seed("ok-views.pt")).unwrap();
    assert!(2 < Checkpoint::open(folder.path()).unwrap().len());
    fs::write(path("model.safetensors"), seed("ok-small.safetensors")).unwrap();
    assert_eq!(Checkpoint::open(folder.path()).unwrap().len(), 2);
}

#[test]
fn views_are_held_to_their_storage() {
    let shapes = |pickle: &[u8]| TorchFile::parse(&with_pickle(pickle), None).map(|file| file.header.tensors);
    let found = shapes(&tensor(16, 0, &[4, 4], &[4, 1])).unwrap();
    assert_eq!((found[0].dtype, &found[0].shape[..], found[0].range.len()), (Dtype::F32, &[4, 4][..], 64));
    assert!(shapes(&tensor(16, 15, &[], &[])).is_ok());
    assert!(shapes(&tensor(16, 3, &[3, 5], &[1, 2])).is_ok());
    // Nothing of an empty tensor is anywhere.
    assert!(shapes(&tensor(16, 16, &[0, i32::MAX, i32::MAX], &[9, 9, 9])).is_ok());
    let past = [
        tensor(17, 0, &[4], &[1]),
        tensor(16, 0, &[17], &[1]),
        tensor(16, 1, &[4, 4], &[4, 1]),
        tensor(16, 16, &[], &[]),
        tensor(16, -1, &[2], &[1]),
        tensor(16, 4, &[2], &[-1]),
        tensor(16, 0, &[-2], &[1]),
        tensor(16, 0, &[2], &[1, 1]),
        tensor(16, 0, &[i32::MAX; 9], &[0; 9]),
        tensor(16, 0, &[2, i32::MAX], &[i32::MAX; 2]),
        tensor(u32::MAX, 0, &[2], &[1]),
    ];
    for pickle in past {
        assert!(matches!(fault(&pickle), Fault::Torch(TorchFault::Tensor { .. })));
    }
    // One number, as many times as the memory would not hold.
    let text = fault(&tensor(16, 0, &[1 << 14, 1 << 14], &[0, 0])).to_string();
    assert!(text.contains("it repeats its elements"), "{text}");
    let text = fault(&tensor(16, 0, &[1; 65], &[1; 65])).to_string();
    assert!(text.contains("more dimensions, allowed at most 64"), "{text}");
}

#[test]
fn nothing_is_run_and_nothing_hangs() {
    let global = |name: &str| format!("\x02c{name}\n(X\x02\0\0\0lstR.").into_bytes();
    for name in ["os\nsystem", "builtins\neval", "torch\nload", "torch.storage\n_load_from_bytes", "\n"] {
        let pickle = [b"\x80", &global(name)[..]].concat();
        assert!(matches!(fault(&pickle), Fault::Torch(TorchFault::Global { .. })), "{name:?}");
    }
    // A name out of texts, as newer protocols have it.
    let pickle = b"\x80\x04\x8c\x02os\x8c\x06system\x93.";
    assert_eq!(fault(pickle), TorchFault::Global { found: "os.system".to_owned() }.into());
    // A dict that holds itself under a key that is looked under.
    assert!(matches!(
        fault(b"\x80\x02}q\0X\x05\0\0\0modelh\0s."),
        Fault::Torch(TorchFault::NoTensors { .. })
    ));
    let wrong: [&[u8]; 14] = [
        b"",
        b".",
        b"\x80\x09.",
        b"\x80\x02]",
        b"\x80\x02(0.",
        b"\x80\x02t.",
        b"\x80\x02(]t0(\x85.",
        b"\x80\x02X\xff\xff\xff\xffa.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.",
        b"\x80\x02\x8a\xffa.",
        b"\x80\x02h\x07.",
        b"\x80\x02}(K\x01u.",
        b"\x80\x02K\x01K\x02a.",
        b"\x80\x02K\x01)R.",
    ];
    for pickle in wrong {
        assert!(matches!(fault(pickle), Fault::Torch(TorchFault::Pickle { .. })), "{pickle:?}");
    }
    // Deep, wide, and remembered under every number.
    let deep = [&b"\x80\x02"[..], &b"(".repeat(1 << 20), b"."].concat();
    assert!(check(&with_pickle(&deep)).is_err());
    let nested = [&b"\x80\x02]"[..], &b"\x85".repeat(1 << 20), b"."].concat();
    assert!(check(&with_pickle(&nested)).unwrap_err().contains("it holds a list"));
    let values = [&b"\x80\x04"[..], &b"]\x94".repeat((1 << 23) + 1), b"."].concat();
    assert!(check(&with_pickle(&values)).unwrap_err().contains("allowed at most 8388608"));
    // Names that are nothing but what is taken away in front of names.
    let name = "module.".repeat(1 << 16);
    let mut pickle = b"\x80\x02}X".to_vec();
    pickle.extend((name.len() as u32).to_le_bytes());
    pickle.extend(name.bytes());
    pickle.extend(&tensor(16, 0, &[4], &[1])[9..]);
    assert_eq!(check(&with_pickle(&pickle)), Ok(1));
}

#[test]
fn archives_are_held_to_their_directory() {
    let good = tensor(16, 0, &[4], &[1]);
    assert_eq!(check(&with_pickle(&good)), Ok(1));
    let storage = [0; 64];
    let twice = archive(&[("a/data.pkl", &good), ("a/data/0", &storage), ("a/data/0", &storage)]);
    assert_eq!(TorchFile::parse(&twice, None).unwrap_err(), Fault::Duplicate { name: "a/data/0".to_owned() });
    assert!(check(&archive(&[("a/other", &good)])).unwrap_err().contains("no data.pkl"));
    assert!(
        check(&archive(&[("a/data.pkl", &good)]))
            .unwrap_err()
            .contains("entry `data/0`, are not in the archive")
    );
    let mut bytes = with_pickle(&good);
    // A comment may follow, if it says how long it is.
    let end = bytes.len();
    bytes.extend([0; 30]);
    assert!(check(&bytes).unwrap_err().contains("directory is cut off"));
    bytes[end - 2] = 30;
    assert_eq!(check(&bytes), Ok(1));
}

#[test]
fn every_cut_is_refused() {
    for name in ["ok-small.pt", "ok-views.pt"] {
        let whole = seed(name);
        for length in (0..whole.len()).step_by(if name == "ok-small.pt" { 1 } else { 53 }) {
            assert!(check(&whole[..length]).is_err(), "{name} cut at {length}");
        }
    }
}

#[test]
fn every_flipped_bit_is_survived() {
    let whole = seed("ok-small.pt");
    let mut refused = 0;
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let found = TorchFile::parse(&flipped, None);
        refused += usize::from(found.is_err());
        for tensor in found.iter().flat_map(|file| &file.header.tensors) {
            assert!(tensor.range.end <= whole.len());
        }
    }
    // Numbers, padding, checksums, dates and names of tensors may change unseen.
    assert!(8 * whole.len() / 5 < refused, "{refused} of {}", 8 * whole.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_files_are_survived(
        which in 0usize..3,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = seed(["ok-views.pt", "ok-trained2.pt", "ok-trained4.pt"][which]);
        for (at, value) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        let _ = check(&bytes);
    }

    #[test]
    fn any_pickle_is_survived(pickle in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = check(&with_pickle(&[b"\x80\x02", &pickle[..], b"."].concat()));
    }

    /// Where a view lies in a storage of 16 numbers, it is that of a reading by hand.
    #[test]
    fn any_view_is_gathered(
        offset in 0i32..6,
        dims in prop::collection::vec((0i32..4, 0i32..5), 0..4),
    ) {
        let (shape, strides): (Vec<i32>, Vec<i32>) = dims.into_iter().unzip();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("view.pt");
        fs::write(&path, with_pickle(&tensor(16, offset, &shape, &strides))).unwrap();
        let mut places = vec![offset];
        for (dim, stride) in shape.iter().zip(&strides) {
            places = places.iter().flat_map(|place| (0..*dim).map(move |n| place + n * stride)).collect();
        }
        let fits = places.iter().all(|place| *place < 16);
        let opened = Checkpoint::open(&path);
        prop_assert_eq!(opened.is_ok(), fits);
        if let Ok(checkpoint) = opened {
            let wanted: Vec<u8> = places.iter().flat_map(|place| (0..4).map(move |byte| (4 * place + byte) as u8)).collect();
            prop_assert_eq!(checkpoint.tensor("a").unwrap().bytes(), &wanted[..]);
        }
    }
}
