//! Several checkpoints made one, and how two relate.

use std::path::{Path, PathBuf};

use epoch0::engine::{Device, Mode, Precision, Tensor, Value, Var, run};
use epoch0::format::{Checkpoint, NewFolder, Plan, Replace, ShardSize, TensorSpec, Writer, pt_metadata};
use epoch0::method::Value as Setting;
use epoch0::num::{Dtype, Law, Stream, bf16, f16};
use epoch0::{Comparing, Described, Merging, Options, Relation, Verified, average, diff, initialize, verify};
use tempfile::TempDir;

/// A checkpoint of these tensors.
fn written(folder: &Path, tensors: &[(&str, &[usize], Vec<f32>)], dtype: Dtype) {
    let specs = tensors.iter().map(|(name, shape, _)| TensorSpec::new(*name, dtype, *shape));
    let plan = Plan::new(specs.collect(), &pt_metadata(), ShardSize::default()).unwrap();
    let new = NewFolder::begin(folder, Replace::Never).unwrap();
    let writer = Writer::create(new.path(), plan).unwrap();
    for (nth, (_, _, values)) in tensors.iter().enumerate() {
        let bytes: Vec<u8> = match dtype {
            Dtype::BF16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        writer.write_at(nth, 0, &bytes).unwrap();
    }
    writer.finish().unwrap();
    new.commit().unwrap();
}

fn drawn(name: &str, n: usize) -> Vec<f32> {
    let mut values = vec![0.0f32; n];
    Law::normal(0.0, 0.1).fill(&Stream::new(0, name), 0, &mut values).unwrap();
    values
}

fn values(folder: &Path, name: &str) -> Vec<f32> {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let tensor = checkpoint.tensor(name).unwrap();
    let mut values = vec![0.0; tensor.len()];
    tensor.read_f32(0, &mut values).unwrap();
    values
}

/// Starts of a network with two seeds.
fn starts(spec: &str) -> (TempDir, Vec<String>) {
    let room = tempfile::tempdir().unwrap();
    let described = Described::open(spec).unwrap();
    let given = ["a", "b"].iter().enumerate().map(|(seed, name)| {
        let out = room.path().join(name);
        let options = Options { seed: seed as u64, ..Options::default() };
        initialize(&described, &described.recipe_with("he_normal"), &out, &options).unwrap();
        out.to_str().unwrap().to_owned()
    });
    let given = given.collect();
    (room, given)
}

fn merging(parents: &[String], method: &str) -> Merging {
    Merging { parents: parents.to_vec(), method: method.to_owned(), ..Merging::default() }
}

fn holds(out: &Path) -> bool {
    verify(out, None).unwrap().holds()
}

#[test]
fn a_mean_is_the_mean_and_can_be_made_again() {
    let (room, parents) = starts("mlp:30-2000-10,norm=batch");
    let out = room.path().join("out");
    let merging = Merging { weights: Some(vec![0.25, 0.75]), ..merging(&parents, "average") };
    let report = average(&merging, Some(&out), &Options::default()).unwrap();
    assert_eq!(report.shares, [0.25, 0.75]);
    for tensor in report.tensors.iter().filter(|tensor| tensor.how == "mean") {
        let [a, b] = [0, 1].map(|nth| values(Path::new(&parents[nth]), &tensor.name));
        let wanted: Vec<f32> =
            a.iter().zip(&b).map(|(&a, &b)| (0.25 * f64::from(a) + 0.75 * f64::from(b)) as f32).collect();
        assert_eq!(values(&out, &tensor.name), wanted, "{}", tensor.name);
    }
    assert!(report.tensors.iter().any(|tensor| tensor.how == "copied"), "counts of batches are copied");
    assert!(holds(&out));
    // The specification of the network is in the receipt.
    assert!(Described::open(out.to_str().unwrap()).is_ok());
    // Another start in a parent's place is told.
    std::fs::remove_dir_all(&parents[0]).unwrap();
    let described = Described::open("mlp:30-2000-10,norm=batch").unwrap();
    let options = Options { seed: 9, ..Options::default() };
    initialize(&described, &described.recipe_with("he_normal"), Path::new(&parents[0]), &options).unwrap();
    let Verified::Receipt { difference: Some(found), .. } = verify(&out, None).unwrap() else {
        panic!("it differs");
    };
    assert!(found.what.contains("differs from what the networks give"), "{found:?}");
}

#[test]
fn a_mean_can_be_of_another_type() {
    let (room, parents) = starts("mlp:30-200-10,norm=batch");
    let out = room.path().join("out");
    let merging = Merging { dtype: Some(Dtype::F16), ..merging(&parents, "average") };
    average(&merging, Some(&out), &Options::default()).unwrap();
    for tensor in Checkpoint::open(&out).unwrap().tensors().filter(|tensor| tensor.dtype() != Dtype::I64) {
        assert_eq!(tensor.dtype(), Dtype::F16, "{}", tensor.name());
        let [a, b] = [0, 1].map(|nth| values(Path::new(&parents[nth]), tensor.name()));
        for ((a, b), found) in a.iter().zip(&b).zip(values(&out, tensor.name())) {
            let mean = 0.5 * f64::from(*a) + 0.5 * f64::from(*b);
            // No number of the type is nearer.
            let off = |bits: u16| (f16::from_bits(bits).to_f64() - mean).abs();
            let bits = f16::from_f32(found).to_bits();
            let beside = [bits.wrapping_sub(1), bits + 1];
            assert!(!beside.iter().any(|other| off(*other) < off(bits)), "{found} {mean}");
        }
    }
    assert!(holds(&out));
    let merging = Merging { dtype: Some(Dtype::I32), ..merging };
    let error = average(&merging, None, &Options::default()).unwrap_err().to_string();
    assert!(error.contains("i32") && error.contains("f64, f32, f16 or bf16"), "{error}");
}

#[test]
fn a_corrected_mean_has_the_spread_that_theory_wants() {
    let (room, parents) = starts("mlp:300-300-10");
    let out = room.path().join("out");
    let mut merging = merging(&parents, "vc");
    merging.set.insert("rule".to_owned(), Setting::Text("self".to_owned()));
    let report = average(&merging, Some(&out), &Options::default()).unwrap();
    assert_eq!(report.merging.method, "variance_corrected_average");
    let weight = &report.tensors.iter().find(|tensor| tensor.shape == [300, 300]).unwrap();
    let spread = weight.spread.as_ref().unwrap();
    assert!((spread.factor - 2f64.sqrt()).abs() < 0.02, "{spread:?}");
    assert!((spread.predicted / spread.measured - 1.0).abs() < 1e-3, "{spread:?}");
    let std = epoch0::num::stats::Moments::of(&values(&out, &weight.name)).std();
    assert!((std / spread.std[0] - 1.0).abs() < 1e-6);
    assert!(holds(&out));
}

#[test]
fn results_do_not_depend_on_threads() {
    let (room, parents) = starts("mlp:700-700-10");
    let bytes = |n: usize, method: &str| {
        let out = room.path().join(format!("{method}{n}"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        let merging = Merging { align: Some("git_rebasin".to_owned()), ..merging(&parents, method) };
        pool.install(|| average(&merging, Some(&out), &Options::default())).unwrap();
        std::fs::read(out.join("model.safetensors")).unwrap()
    };
    assert!(bytes(1, "vc") == bytes(3, "vc"));
}

#[test]
fn an_aligned_network_computes_what_it_did() {
    let (room, parents) = starts("mlp:20-64-48-5,act=tanh");
    let out = room.path().join("out");
    // All of the second: the first only gives the order.
    let merging = Merging {
        weights: Some(vec![0.0, 1.0]),
        align: Some("git_rebasin".to_owned()),
        ..merging(&parents, "average")
    };
    let report = average(&merging, Some(&out), &Options::default()).unwrap();
    let [before, after] = report.aligned[0].objective;
    assert!(after > before);
    let outputs = |path: &str| {
        let described = Described::open(path).unwrap();
        let weights = described.own_weights(Precision::Double, &Device::cpu()).unwrap().unwrap();
        let mut input = vec![0.0f64; 60];
        Law::normal(0.0, 1.0).fill(&Stream::new(1, "input"), 0, &mut input).unwrap();
        let input = Value::constant(Tensor::from_f64(input, &[3, 20], Precision::Double, &Device::cpu()));
        let done = run(&described.net, &weights.constants(), &[input], Mode::Eval, &mut |_| Ok(())).unwrap();
        done.outputs[0].real().map(Var::value).unwrap().to_f64()
    };
    let (own, moved) = (outputs(&parents[1]), outputs(out.to_str().unwrap()));
    assert!(own.iter().zip(&moved).all(|(a, b)| (a - b).abs() < 1e-12));
    let found = diff(Path::new(&parents[1]), &out, &Comparing::default()).unwrap();
    assert_eq!(found.outcome, "B is A in another order");
    assert!(holds(&out));
}

#[test]
fn what_does_not_fit_is_named_and_nothing_written() {
    let (room, mut parents) = starts("mlp:8-16-4");
    let made = |name: &str, tensors: &[(&str, &[usize], Vec<f32>)]| {
        let path = room.path().join(name);
        written(&path, tensors, Dtype::F32);
        path.to_str().unwrap().to_owned()
    };
    let whole = |nan: bool| -> Vec<(&str, &[usize], Vec<f32>)> {
        let first = if nan { vec![f32::NAN; 128] } else { drawn("w", 128) };
        vec![
            ("0.weight", &[16, 8], first),
            ("0.bias", &[16], drawn("b", 16)),
            ("2.weight", &[4, 16], drawn("v", 64)),
            ("2.bias", &[4], drawn("c", 4)),
        ]
    };
    let missing = made("missing", &whole(false)[..3]);
    let mut wide = whole(false);
    wide[0] = ("0.weight", &[8, 16], drawn("w", 128));
    let wide = made("wide", &wide);
    let mut more = whole(false);
    more.push(("extra", &[2], vec![0.0; 2]));
    let more = made("more", &more);
    let nan = made("nan", &whole(true));
    let out = room.path().join("out");
    let said = |parents: &[String], change: &dyn Fn(&mut Merging)| {
        let mut merging = merging(parents, "average");
        change(&mut merging);
        let error = average(&merging, Some(&out), &Options::default()).unwrap_err().to_string();
        assert!(!out.exists(), "{error}");
        error
    };
    let first = parents[0].clone();
    for (other, words) in
        [(&missing, "`2.bias` of"), (&wide, "shape [8, 16]"), (&more, "`extra` of"), (&nan, "`0.weight` of")]
    {
        let error = said(&[first.clone(), other.clone()], &|_| ());
        assert!(error.contains(words) && error.contains(other.as_str()), "{error}");
    }
    assert!(said(&[first.clone(), nan.clone()], &|merging| merging.method = "vc".to_owned()).contains("NaN"));
    assert!(said(&parents, &|merging| merging.weights = Some(vec![0.5, 0.6])).contains("whose sum is 1"));
    assert!(said(&parents, &|merging| merging.weights = Some(vec![1.0])).contains("one for each of 2"));
    assert!(said(&parents, &|merging| merging.method = "lsuv".to_owned()).contains("family init"));
    // Tensors alone say nothing of what could be permuted.
    let align: &dyn Fn(&mut Merging) = &|merging| merging.align = Some("git_rebasin".to_owned());
    assert!(said(&[more.clone(), more.clone()], align).contains("the network of"));
    parents.truncate(0);
    assert!(said(&parents, &|_| ()).contains("at least one"));
}

#[test]
fn relations_are_told_apart() {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { room.path().join(name) };
    let (rows, columns) = (40, 60);
    let w = drawn("w", rows * columns);
    let names = ["same", "scaled", "spread", "drifted", "unrelated", "permuted", "selected", "other"];
    let shape: &[usize] = &[rows, columns];
    let first: Vec<_> = names.iter().map(|&name| (name, shape, w.clone())).collect();
    let map = |of: &dyn Fn(f32) -> f32| w.iter().map(|&x| of(x)).collect::<Vec<f32>>();
    let noise = drawn("noise", rows * columns);
    let mean = w.iter().sum::<f32>() / w.len() as f32;
    let permuted = (0..rows * columns).map(|at| w[(at / columns * 7 + 3) % rows * columns + at % columns]);
    let selected = (0..10 * 20).map(|at| w[at / 20 * 4 * columns + at % 20 * 3]);
    let second = vec![
        ("same", shape, w.clone()),
        ("scaled", shape, map(&|x| 0.7 * x)),
        ("spread", shape, map(&|x| 1.0 + mean + 1.5 * (x - mean))),
        ("drifted", shape, w.iter().zip(&noise).map(|(x, noise)| x + 0.01 * noise).collect()),
        ("unrelated", shape, noise.clone()),
        ("permuted", shape, permuted.collect()),
        ("selected", &[10, 20][..], selected.collect()),
        ("other", &[10, 20][..], drawn("other", 200)),
        ("new", &[3][..], vec![0.0; 3]),
    ];
    written(&path("a"), &first, Dtype::F32);
    written(&path("b"), &second, Dtype::F32);
    let found = diff(&path("a"), &path("b"), &Comparing::default()).unwrap();
    let of = |name: &str| &found.tensors.iter().find(|tensor| tensor.name == name).unwrap().relation;
    let near = |found: f64, wanted: f64| (found - wanted).abs() < 1e-6;
    assert_eq!(of("same"), &Relation::Same);
    assert!(matches!(of("scaled"), Relation::Scaled { by } if near(*by, 0.7)), "{:?}", of("scaled"));
    assert!(matches!(of("spread"), Relation::Spread { by } if near(*by, 1.5)), "{:?}", of("spread"));
    assert_eq!(of("drifted"), &Relation::Drifted);
    assert_eq!(of("unrelated"), &Relation::Unrelated);
    let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    assert_eq!(of("permuted"), &Relation::Permuted { places: words(&["all 40 in another order", "all 60"]) });
    let places = words(&["10 of 40, every 4 from 0", "20 of 60, every 3 from 0"]);
    assert_eq!(of("selected"), &Relation::Selected { places });
    assert_eq!(of("other"), &Relation::OtherShape { of: vec![rows, columns] });
    assert_eq!(of("new"), &Relation::OnlySecond);
    let drifted = found.tensors.iter().find(|tensor| tensor.name == "drifted").unwrap().distance.unwrap();
    assert!((drifted.relative - 0.01).abs() < 1e-3 && drifted.cosine > 0.9999, "{drifted:?}");
    // What another type rounds is the same.
    written(&path("c"), &first, Dtype::BF16);
    let found = diff(&path("a"), &path("c"), &Comparing::default()).unwrap();
    assert_eq!(found.outcome, "the same values");
    assert_eq!(diff(&path("a"), &path("a"), &Comparing::default()).unwrap().outcome, "the same");
}

#[test]
fn layers_of_others_are_found() {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { room.path().join(name) };
    let names: Vec<[String; 2]> = (0..6).map(|at| [format!("h.{at}.w"), format!("h.{at}.b")]).collect();
    let tensors = |layers: &[usize]| -> Vec<(&str, &[usize], Vec<f32>)> {
        let of = |(own, from): (usize, &usize)| {
            let [w, b] = &names[own];
            let matrix: &[usize] = &[20, 30];
            let vector: &[usize] = &[30];
            [
                (w.as_str(), matrix, drawn(&names[*from][0], 600)),
                (b.as_str(), vector, drawn(&names[*from][1], 30)),
            ]
        };
        layers.iter().enumerate().flat_map(of).collect()
    };
    written(&path("a"), &tensors(&[0, 1, 2, 3, 4, 5]), Dtype::F32);
    written(&path("b"), &tensors(&[0, 2, 5]), Dtype::F32);
    let found = diff(&path("a"), &path("b"), &Comparing::default()).unwrap();
    let layers: Vec<(&str, &str)> =
        found.layers.iter().map(|(own, from)| (own.as_str(), from.as_str())).collect();
    assert_eq!(layers, [("h.1", "h.2"), ("h.2", "h.5")]);
    assert_eq!(found.counts.get("same"), Some(&6), "{:?}", found.counts);
}
