//! Adapters: what is written is what the method says, whole or not at all.

use std::path::{Path, PathBuf};

use epoch0::data::Dataset;
use epoch0::format::{Checkpoint, NewFolder, Plan, Replace, TensorSpec, Writer, pt_metadata};
use epoch0::inheriting::adapter::{Config, Targets};
use epoch0::method::Value;
use epoch0::num::Dtype;
use epoch0::{
    Adapted, Adapting, Calibrating, Described, Error, Options, Recipe, adapt, initialize, verify_adapter,
};

fn base(room: &Path, spec: &str) -> Described {
    let out = room.join("base");
    let described = Described::open(spec).unwrap();
    let recipe = Recipe::from_yaml("recipe", "base: pytorch_default").unwrap();
    initialize(&described, &recipe, &out, &Options { seed: 3, ..Options::default() }).unwrap();
    Described::open(out.to_str().unwrap()).unwrap()
}

fn adapting(method: &str, set: &[(&str, &str)], config: Config) -> Adapting {
    let set = set.iter().map(|(name, value)| ((*name).to_owned(), Value::parse(value))).collect();
    Adapting { method: method.to_owned(), set, config }
}

fn write(
    base: &Described,
    adapting: &Adapting,
    out: &Path,
    data: Option<&Dataset>,
) -> Result<Adapted, Error> {
    let calibrating = Calibrating { data: data.map(|data| (SPEC, data)), examples: Some(64) };
    adapt(base, adapting, Dtype::F32, Some(out), &Options { seed: 5, calibrating, ..Options::default() })
}

const SPEC: &str = "gaussians:classes=10,dim=20,n=200";

/// Rows, columns and elements of a tensor.
fn read(file: &Path, name: &str) -> (usize, usize, Vec<f64>) {
    let checkpoint = Checkpoint::open(file).unwrap();
    let tensor = checkpoint.tensor(name).unwrap();
    let mut values = vec![0.0; tensor.len()];
    tensor.read_f64(0, &mut values).unwrap();
    (tensor.shape()[0], tensor.shape()[1], values)
}

/// `B A`.
fn product(adapter: &Path, module: &str) -> Vec<f64> {
    let file = adapter.join("adapter_model.safetensors");
    let (rank, columns, a) = read(&file, &format!("base_model.model.{module}.lora_A.weight"));
    let (rows, _, b) = read(&file, &format!("base_model.model.{module}.lora_B.weight"));
    let at = |row: usize, column: usize| (0..rank).map(|k| b[row * rank + k] * a[k * columns + column]).sum();
    (0..rows * columns).map(|place| at(place / columns, place % columns)).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_a_changed_base_loses_the_adapter_adds() {
    let room = tempfile::tempdir().unwrap();
    let base = base(room.path(), "mlp:20-16-12-10");
    let config = Config { rank: 4, alpha: Some(10.0), targets: Targets::AllLinear, ..Config::default() };
    let (_, _, weight) = read(&room.path().join("base"), "2.weight");
    for method in ["pissa", "olora"] {
        let (plain, beside) = (room.path().join(method), room.path().join(format!("{method}2")));
        let report = write(&base, &adapting(method, &[], config.clone()), &plain, None).unwrap();
        assert_eq!(report.groups[0].rank, 8);
        assert!(product(&plain, "2").iter().all(|value| value.abs() < 1e-7), "{method}");
        let report =
            write(&base, &adapting(method, &[("residual", "base")], config.clone()), &beside, None).unwrap();
        let (_, _, left) = read(Path::new(&report.base_out.unwrap()), "2.weight");
        let added = product(&beside, "2");
        for ((left, added), weight) in left.iter().zip(&added).zip(&weight) {
            assert!((left + 2.5 * added - weight).abs() < 1e-6, "{method}");
        }
        for folder in [plain, beside] {
            let verified = verify_adapter(&folder, None).unwrap();
            assert_eq!(verified.difference, None);
        }
    }
}

#[test]
fn what_was_changed_is_found() {
    let room = tempfile::tempdir().unwrap();
    let base = base(room.path(), "mlp:20-16-12-10");
    let out = room.path().join("adapter");
    write(&base, &adapting("lora_a", &[], Config { rank: 2, ..Config::default() }), &out, None).unwrap();
    let verified = verify_adapter(&out, None).unwrap();
    assert!(verified.is_exact && verified.difference.is_none() && verified.n_tensors == 4);
    let file = out.join("adapter_model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(verify_adapter(&out, None).unwrap().difference.is_some());
}

#[test]
fn starts_from_data_need_them() {
    let room = tempfile::tempdir().unwrap();
    let base = base(room.path(), "mlp:20-16-12-10");
    let data = Dataset::open(SPEC).unwrap();
    let config = Config { rank: 3, targets: Targets::AllLinear, ..Config::default() };
    for method in ["eva", "corda", "lora_ga"] {
        let out = room.path().join(method);
        let error = write(&base, &adapting(method, &[], config.clone()), &out, None).unwrap_err().to_string();
        assert!(error.contains("data is missing") && error.contains("--data"), "{error}");
        assert!(!out.exists());
        let report = write(&base, &adapting(method, &[], config.clone()), &out, Some(&data)).unwrap();
        assert_eq!(report.examples, Some(64));
        assert_eq!(verify_adapter(&out, None).unwrap().difference, None, "{method}");
        let n_ranks: usize = report.groups.iter().map(|group| group.n * group.rank).sum();
        assert_eq!(n_ranks, if method == "eva" { 6 } else { 12 });
    }
    let error = write(&base, &adapting("pissa", &[], config), &room.path().join("p"), Some(&data));
    assert!(error.unwrap_err().to_string().contains("looks at no data"));
}

#[test]
fn what_cannot_be_made_leaves_nothing() {
    let room = tempfile::tempdir().unwrap();
    let network = base(room.path(), "mlp:20-16-12-10");
    let out = room.path().join("adapter");
    let config = |rank| Config { rank, ..Config::default() };
    let named = |name: &str| Config { targets: Targets::parse(name), rank: 2, ..Config::default() };
    for (config, said) in [
        (config(0), "rank is 0"),
        (config(17), "rank of `0` is 17, allowed 1 to 16"),
        (named("q_proj"), "target `q_proj`"),
        (named("0,7"), "target `7`"),
    ] {
        let error = write(&network, &adapting("pissa", &[], config), &out, None).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let bare = Described::open("mlp:20-16-12-10").unwrap();
    let error = write(&bare, &adapting("lora_a", &[], config(2)), &out, None).unwrap_err().to_string();
    assert!(error.contains("a checkpoint in `mlp:20-16-12-10` is missing"), "{error}");
    // A number that is none.
    let holed = room.path().join("holed");
    let checkpoint = Checkpoint::open(room.path().join("base")).unwrap();
    let specs =
        checkpoint.tensors().map(|tensor| TensorSpec::new(tensor.name(), tensor.dtype(), tensor.shape()));
    let mut metadata = checkpoint.metadata().clone();
    metadata.extend(pt_metadata());
    let plan = Plan::new(specs.collect(), &metadata, epoch0::format::ShardSize::default()).unwrap();
    let folder = NewFolder::begin(&holed, Replace::Never).unwrap();
    let writer = Writer::create(folder.path(), plan).unwrap();
    for (at, tensor) in checkpoint.tensors().enumerate() {
        let mut bytes = tensor.bytes().to_vec();
        if tensor.name() == "2.weight" {
            bytes[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
        }
        writer.write_at(at, 0, &bytes).unwrap();
    }
    writer.finish().unwrap();
    folder.commit().unwrap();
    let described = Described::open(holed.to_str().unwrap()).unwrap();
    for set in [&[][..], &[("residual", "base")]] {
        let error =
            write(&described, &adapting("pissa", set, config(2)), &out, None).unwrap_err().to_string();
        assert!(error.contains("2.weight of the base got NaN"), "{error}");
    }
    assert_eq!(entries(room.path()).len(), 2, "{:?}", entries(room.path()));
}

#[test]
fn a_shared_table_is_not_changed_for_one_reader() {
    let room = tempfile::tempdir().unwrap();
    let base = base(room.path(), "gpt:layers=1,heads=2,embed=8,vocab=11,positions=4");
    let config = Config { rank: 2, targets: Targets::parse("wte"), ..Config::default() };
    let out = room.path().join("adapter");
    let beside = adapting("pissa", &[("residual", "base")], config.clone());
    let error = write(&base, &beside, &out, None).unwrap_err().to_string();
    assert!(error.contains("transformer.wte") && error.contains("read at another place"), "{error}");
    write(&base, &adapting("pissa", &[], config), &out, None).unwrap();
    let file = Checkpoint::open(out.join("adapter_model.safetensors")).unwrap();
    assert_eq!(file.tensor("base_model.model.transformer.wte.lora_embedding_A").unwrap().shape(), [4, 11]);
}
