//! Checkpoints written and read back, compared with the reference library.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use epoch0_format::error::PlanFault;
use epoch0_format::write::{BUFFER_ALIGN, CHUNK_BYTES};
use epoch0_format::{Checkpoint, Error, Plan, ShardSize, TensorSpec, Watch, Writer, pt_metadata};
use epoch0_num::Dtype;
use proptest::prelude::*;

fn spec(name: &str, dtype: Dtype, shape: &[usize]) -> TensorSpec {
    TensorSpec::new(name, dtype, shape)
}

fn shards_of(bytes: u64) -> ShardSize {
    ShardSize::of_bytes(bytes).unwrap()
}

/// A byte that depends on the tensor's name and the place in the tensor only.
fn byte(name: &str, at: usize) -> u8 {
    let seed = name.bytes().fold(at as u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    (seed >> 24) as u8
}

/// Writes `tensors` with [`byte`]s.
fn write(folder: &Path, tensors: Vec<TensorSpec>, shard_size: ShardSize) -> Result<Plan, Error> {
    let plan = Plan::new(tensors, &pt_metadata(), shard_size)?;
    let writer = Writer::create(folder, plan.clone())?;
    writer.fill(0..plan.tensors().len(), Watch::default(), |tensor, start, buffer| {
        let TensorSpec { name, dtype, .. } = &plan.tensors()[tensor];
        let start = dtype.bytes_of(start).unwrap();
        for (at, out) in buffer.iter_mut().enumerate() {
            *out = byte(name, start + at);
        }
        Ok::<(), Error>(())
    })?;
    let written = writer.finish()?;
    assert_eq!(written.total_bytes, plan.total_bytes());
    Ok(plan)
}

fn check(folder: &Path, tensors: &[TensorSpec]) {
    let checkpoint = Checkpoint::open(folder).unwrap();
    assert_eq!(checkpoint.notes(), []);
    assert_eq!(checkpoint.metadata(), &pt_metadata());
    assert_eq!(checkpoint.len(), tensors.len());
    for TensorSpec { name, dtype, shape } in tensors {
        let tensor = checkpoint.tensor(name).unwrap();
        assert_eq!((tensor.name(), tensor.dtype(), tensor.shape()), (&**name, *dtype, &**shape));
        assert_eq!(tensor.bytes().len(), dtype.bytes_of(tensor.len()).unwrap());
        assert!(tensor.bytes().iter().enumerate().all(|(at, &b)| b == byte(name, at)), "{name}");
    }
}

fn round_trip(tensors: &[TensorSpec], shard_size: ShardSize) -> Plan {
    let folder = tempfile::tempdir().unwrap();
    let plan = write(folder.path(), tensors.to_vec(), shard_size).unwrap();
    check(folder.path(), tensors);
    plan
}

#[test]
fn all_dtypes_and_odd_shapes() {
    let mut tensors: Vec<TensorSpec> =
        Dtype::ALL.into_iter().map(|dtype| spec(&format!("t.{dtype}"), dtype, &[3, 4])).collect();
    tensors.push(spec("scalar", Dtype::F32, &[]));
    tensors.push(spec("empty", Dtype::BF16, &[0]));
    tensors.push(spec("empty.wide", Dtype::F64, &[usize::MAX, 0]));
    tensors.push(spec("", Dtype::U8, &[1]));
    tensors.push(spec("größe.重み.\"quoted\"\\\n\u{1f}🦀", Dtype::F16, &[2]));
    // The product of the dimensions before the 0 must not overflow either; [MAX, 0] multiplies to 0.
    round_trip(&tensors, ShardSize::default());
    round_trip(&tensors, shards_of(50));
}

#[test]
fn no_tensors_at_all() {
    let plan = round_trip(&[], ShardSize::default());
    assert_eq!(plan.files().len(), 1);
}

#[test]
fn ten_thousand_tensors() {
    let tensors: Vec<TensorSpec> =
        (0..10_000).map(|i| spec(&format!("layers.{i}.weight"), Dtype::BF16, &[i % 7, 3])).collect();
    round_trip(&tensors, ShardSize::default());
    round_trip(&tensors, shards_of(1000));
}

#[test]
fn data_do_not_depend_on_shards_threads_or_order() {
    // More than one chunk each, in a 6-bit type too, whose chunks are no power of two.
    let mut tensors: Vec<TensorSpec> =
        (0..8).map(|i| spec(&format!("t{i}"), Dtype::F32, &[300_000])).collect();
    tensors.push(spec("six", Dtype::F6E2M3, &[4_000_000]));
    let mut single = None;
    for threads in [1, 2, 5] {
        for (limit, shards) in [(u64::MAX, 1), (7_000_000, 2), (1_500_000, 9)] {
            let folder = tempfile::tempdir().unwrap();
            tensors.rotate_left(threads);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let plan = pool.install(|| write(folder.path(), tensors.clone(), shards_of(limit))).unwrap();
            assert_eq!(plan.files().len(), shards);
            check(folder.path(), &tensors);
            if shards == 1 {
                let bytes = std::fs::read(folder.path().join("model.safetensors")).unwrap();
                assert!(single.get_or_insert_with(|| bytes.clone()) == &bytes);
            }
        }
    }
}

#[test]
fn shards_as_hugging_face_splits_them() {
    // Sizes of the example in huggingface_hub's docs, [6, 6, 2, 6, 2, 2] with a limit of 10, whose result there is
    // [6], [6+2], [6+2+2]; and a large tensor, which takes its own shard and leaves the current one open.
    let files = |sizes: &[usize]| {
        let tensors: Vec<TensorSpec> =
            sizes.iter().enumerate().map(|(i, &n)| spec(&format!("t{i}"), Dtype::U8, &[n])).collect();
        let plan = Plan::new(tensors, &pt_metadata(), shards_of(10)).unwrap();
        let index: serde_json::Value = serde_json::from_str(plan.index().unwrap()).unwrap();
        assert_eq!(index["metadata"]["total_size"], sizes.iter().sum::<usize>());
        for (nth, file) in plan.files().iter().enumerate() {
            assert_eq!(file.name, format!("model-{:05}-of-{:05}.safetensors", nth + 1, plan.files().len()));
            for t in &file.tensors {
                assert_eq!(index["weight_map"][format!("t{t}")], *file.name);
            }
        }
        plan.files().iter().map(|file| file.tensors.clone()).collect::<Vec<_>>()
    };
    assert_eq!(files(&[6, 6, 2, 6, 2, 2]), [vec![0], vec![1, 2], vec![3, 4, 5]]);
    assert_eq!(files(&[3, 11, 3, 10, 0]), [vec![1], vec![0, 2], vec![3, 4]]);
}

#[test]
fn the_index_is_pinned() {
    let tensors = vec![spec("b", Dtype::F32, &[2]), spec("a", Dtype::F32, &[2])];
    let plan = Plan::new(tensors, &pt_metadata(), shards_of(8)).unwrap();
    let expected = r#"{
  "metadata": {
    "total_size": 16
  },
  "weight_map": {
    "a": "model-00001-of-00002.safetensors",
    "b": "model-00002-of-00002.safetensors"
  }
}
"#;
    assert_eq!(plan.index(), Some(expected));
}

#[test]
fn plans_refuse_what_cannot_be_written() {
    let fault = |tensors: Vec<TensorSpec>, metadata: &BTreeMap<String, String>| {
        let Err(Error::Plan(fault)) = Plan::new(tensors, metadata, ShardSize::default()) else { panic!() };
        fault
    };
    let pt = pt_metadata();
    let twice = vec![spec("a", Dtype::F32, &[1]), spec("b", Dtype::F32, &[1]), spec("a", Dtype::F64, &[2])];
    assert_eq!(fault(twice, &pt), PlanFault::Duplicate { name: "a".to_owned() });
    assert_eq!(fault(vec![], &BTreeMap::new()), PlanFault::NoFormat);
    assert_eq!(fault(vec![spec("__metadata__", Dtype::F32, &[])], &pt), PlanFault::ReservedName);
    for (dtype, shape) in [
        (Dtype::F32, &[usize::MAX, 2][..]),
        (Dtype::F32, &[usize::MAX / 2]),
        (Dtype::F4, &[3]),
        (Dtype::U8, &[1 << 62]),
    ] {
        assert!(
            matches!(fault(vec![spec("a", dtype, shape)], &pt), PlanFault::Size { .. }),
            "{dtype} {shape:?}"
        );
    }
    // Each fits, the four together do not.
    let sum = ["a", "b", "c", "d"].map(|name| spec(name, Dtype::U8, &[1 << 60]));
    assert!(matches!(fault(sum.to_vec(), &pt), PlanFault::Size { name, .. } if name == "d"));
    let long = vec![spec(&"n".repeat(100_000_000), Dtype::U8, &[1])];
    assert!(matches!(fault(long, &pt), PlanFault::HeaderLength { .. }));
}

#[test]
fn every_byte_has_to_be_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = vec![spec("a", Dtype::F32, &[4]), spec("b", Dtype::U8, &[3])];
    let writer =
        Writer::create(folder.path(), Plan::new(tensors, &pt_metadata(), ShardSize::default()).unwrap())
            .unwrap();
    writer.write_at(0, 8, &[1; 8]).unwrap();
    writer.write_at(1, 0, &[2; 3]).unwrap();
    assert!(matches!(writer.write_at(0, 7, &[9; 2]), Err(Error::WrittenTwice { start: 7, end: 9, .. })));
    assert!(matches!(writer.write_at(0, 12, &[9; 5]), Err(Error::OutOfRange { end: 17, len: 16, .. })));
    assert!(matches!(writer.write_at(0, u64::MAX, &[9]), Err(Error::OutOfRange { .. })));
    writer.write_at(0, 0, &[3; 7]).unwrap();
    let unfinished = writer.finish().unwrap_err();
    assert_eq!(unfinished.to_string(), "tensor `a` is not finished: 15 of 16 bytes were written");
}

#[test]
fn a_cancelled_fill_stops() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = vec![spec("a", Dtype::U8, &[50 * CHUNK_BYTES])];
    let writer =
        Writer::create(folder.path(), Plan::new(tensors, &pt_metadata(), ShardSize::default()).unwrap())
            .unwrap();
    let (cancel, bytes) = (AtomicBool::new(false), AtomicU64::new(0));
    let progress = |n| {
        if bytes.fetch_add(n, Ordering::Relaxed) + n == 5 * CHUNK_BYTES as u64 {
            cancel.store(true, Ordering::Relaxed);
        }
    };
    let watch = Watch { cancel: Some(&cancel), progress: Some(&progress) };
    let filled = writer.fill([0], watch, |_, _, _| Ok::<(), Error>(()));
    assert!(matches!(filled, Err(Error::Cancelled)));
    let threads = rayon::current_num_threads() as u64;
    let chunks = bytes.load(Ordering::Relaxed) / CHUNK_BYTES as u64;
    assert!((5..5 + threads).contains(&chunks), "{chunks}");
}

#[test]
fn chunks_are_aligned_cover_all_and_fail_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = vec![spec("a", Dtype::F64, &[CHUNK_BYTES]), spec("b", Dtype::F16, &[CHUNK_BYTES / 2 + 1])];
    let writer =
        Writer::create(folder.path(), Plan::new(tensors, &pt_metadata(), ShardSize::default()).unwrap())
            .unwrap();
    let seen = Mutex::new(Vec::new());
    writer
        .fill([1, 0], Watch::default(), |tensor, start, buffer| {
            assert_eq!(buffer.as_ptr().align_offset(BUFFER_ALIGN), 0);
            seen.lock().unwrap().push((tensor, start, buffer.len()));
            Ok::<(), Error>(())
        })
        .unwrap();
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    let mut expected: Vec<_> = (0..8).map(|i| (0, i * CHUNK_BYTES / 8, CHUNK_BYTES)).collect();
    expected.extend([(1, 0, CHUNK_BYTES), (1, CHUNK_BYTES / 2, 2)]);
    assert_eq!(seen, expected);
    writer.finish().unwrap();

    // Every chunk from the third on fails; the third one's error comes out, whichever thread is quicker.
    #[derive(Debug, PartialEq)]
    struct Failed(usize);
    impl From<Error> for Failed {
        fn from(e: Error) -> Self {
            panic!("{e}")
        }
    }
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let tensors = vec![spec("a", Dtype::U8, &[20 * CHUNK_BYTES])];
        let writer =
            Writer::create(folder.path(), Plan::new(tensors, &pt_metadata(), ShardSize::default()).unwrap())
                .unwrap();
        let filled = writer.fill([0], Watch::default(), |_, start, _| {
            if 2 * CHUNK_BYTES <= start { Err(Failed(start)) } else { Ok(()) }
        });
        assert_eq!(filled, Err(Failed(2 * CHUNK_BYTES)));
    }
}

#[test]
fn values_in_chunks() {
    let folder = tempfile::tempdir().unwrap();
    let values = [0.0_f64, -1.5, 3.25, f64::INFINITY, 6.103515625e-5];
    let floats = [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16];
    let mut tensors: Vec<TensorSpec> =
        floats.iter().map(|&dtype| spec(&dtype.to_string(), dtype, &[5])).collect();
    tensors.push(spec("i32", Dtype::I32, &[0]));
    let writer =
        Writer::create(folder.path(), Plan::new(tensors, &pt_metadata(), ShardSize::default()).unwrap())
            .unwrap();
    let bytes = |dtype: Dtype| -> Vec<u8> {
        values
            .iter()
            .flat_map(|&v| match dtype {
                Dtype::F64 => v.to_le_bytes().to_vec(),
                Dtype::F32 => (v as f32).to_le_bytes().to_vec(),
                Dtype::F16 => half::f16::from_f64(v).to_le_bytes().to_vec(),
                _ => half::bf16::from_f64(v).to_le_bytes().to_vec(),
            })
            .collect()
    };
    for (at, &dtype) in floats.iter().enumerate() {
        writer.write_at(at, 0, &bytes(dtype)).unwrap();
    }
    writer.finish().unwrap();

    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    for dtype in floats {
        let tensor = checkpoint.tensor(&dtype.to_string()).unwrap();
        let (mut f64s, mut f32s, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        tensor
            .each_f64(2, |start, chunk| {
                starts.push(start);
                f64s.extend_from_slice(chunk);
            })
            .unwrap();
        tensor.each_f32(usize::MAX, |_, chunk| f32s.extend_from_slice(chunk)).unwrap();
        assert_eq!(starts, [0, 2, 4]);
        assert_eq!(f64s, values, "{dtype}");
        assert_eq!(f32s, values.map(|v| v as f32), "{dtype}");
        let outside = tensor.read_f32(4, &mut [0.0; 2]).unwrap_err();
        assert!(matches!(outside, Error::OutOfRange { start: 4, end: 6, len: 5, .. }));
        assert!(tensor.read_f64(usize::MAX, &mut [0.0; 2]).is_err());
    }
    let integers = checkpoint.tensor("i32").unwrap().each_f32(8, |_, _| {}).unwrap_err();
    assert_eq!(integers.to_string(), "tensor `i32` holds i32, allowed f64, f32, f16 and bf16");
    let unknown = checkpoint.tensor("bf61").unwrap_err();
    assert!(matches!(unknown, Error::UnknownTensor { near, .. } if near.contains(&"bf16".to_owned())));
}

fn any_tensors() -> impl Strategy<Value = Vec<TensorSpec>> {
    let shape = prop::collection::vec(0_usize..6, 0..4);
    let tensor = (prop::sample::select(Dtype::ALL.to_vec()), shape);
    prop::collection::btree_map(any::<String>(), tensor, 0..12).prop_map(|tensors| {
        tensors
            .into_iter()
            .filter(|(name, (dtype, shape))| {
                name != "__metadata__" && dtype.bytes_of(shape.iter().product()).is_some()
            })
            .map(|(name, (dtype, shape))| TensorSpec { name, dtype, shape })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_checkpoint_reads_back(tensors in any_tensors(), limit in 1_u64..2000) {
        let plan = round_trip(&tensors, shards_of(limit));
        let largest = tensors.iter().map(|t| t.dtype.bytes_of(t.elements().unwrap()).unwrap() as u64).max();
        for (nth, file) in plan.files().iter().enumerate() {
            prop_assert_eq!(file.head.len() % 8, 0);
            let bytes: u64 = file.tensors.iter().map(|&t| plan.place(t).bytes).sum();
            prop_assert!(bytes <= limit || file.tensors.len() == 1 && Some(bytes) <= largest);
            for &t in &file.tensors {
                let (place, bits) = (plan.place(t), plan.tensors()[t].dtype.bits() as u64);
                prop_assert_eq!(place.file, nth);
                // Sub-byte tensors may leave odd sizes behind, but nothing wider than a byte stands after them.
                prop_assert!(bits < 8 || place.offset.is_multiple_of(bits / 8));
            }
        }
    }

    #[test]
    fn files_equal_those_of_the_safetensors_library(tensors in any_tensors()) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), tensors.clone(), ShardSize::UNLIMITED).unwrap();
        let ours = std::fs::read(folder.path().join("model.safetensors")).unwrap();

        let data: Vec<Vec<u8>> = tensors.iter().map(|t| {
            (0..t.dtype.bytes_of(t.elements().unwrap()).unwrap()).map(|at| byte(&t.name, at)).collect()
        }).collect();
        let views = tensors.iter().zip(&data).map(|(t, data)| {
            let dtype = serde_json::from_value(t.dtype.safetensors_name().into()).unwrap();
            (t.name.as_str(), safetensors::tensor::TensorView::new(dtype, t.shape.clone(), data).unwrap())
        });
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        prop_assert_eq!(ours, safetensors::serialize(views, Some(metadata)).unwrap());
    }
}
