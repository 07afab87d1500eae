//! Networks that PyTorch exported, run: `EPOCH0_ONNX=folder cargo test --release -p epoch0 --test onnx`.
//!
//! The folder holds `NAME.EXPORTER.onnx` and for each network `NAME.npz` with `in/INPUT`, `out/OUTPUT` and, for the sum
//! of all outputs, `grad/PARAMETER` and `grad_input/INPUT`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "says what was compared")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use epoch0_engine::{Device, Elements, Mode, Order, Precision, Tensor, Value, Var, Weights, grad, run};
use epoch0_format::onnx;
use epoch0_net::ParamId;

/// Numbers of an array, and whether they are integers.
struct Array {
    shape: Vec<usize>,
    values: Vec<f64>,
    is_index: bool,
}

/// Arrays of an archive that is not compressed, as `numpy.savez` writes it.
fn archive(path: &Path) -> BTreeMap<String, Array> {
    let bytes = std::fs::read(path).unwrap();
    let number = |at: usize, n: usize| {
        bytes[at..at + n].iter().rev().fold(0usize, |all, byte| all << 8 | usize::from(*byte))
    };
    let end = (0..bytes.len() - 21).rev().find(|&at| bytes[at..at + 4] == *b"PK\x05\x06").unwrap();
    let (count, mut at) = (number(end + 10, 2), number(end + 16, 4));
    let mut arrays = BTreeMap::new();
    for _ in 0..count {
        assert_eq!(number(at + 10, 2), 0, "compressed");
        let (name_length, extra, comment) = (number(at + 28, 2), number(at + 30, 2), number(at + 32, 2));
        let name = String::from_utf8(bytes[at + 46..at + 46 + name_length].to_vec()).unwrap();
        let (size, local) = (number(at + 24, 4), number(at + 42, 4));
        let data = local + 30 + number(local + 26, 2) + number(local + 28, 2);
        arrays.insert(name.trim_end_matches(".npy").to_owned(), array(&bytes[data..data + size]));
        at += 46 + name_length + extra + comment;
    }
    arrays
}

fn array(bytes: &[u8]) -> Array {
    assert_eq!(&bytes[..6], b"\x93NUMPY");
    let length = usize::from(bytes[8]) | usize::from(bytes[9]) << 8;
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    let field = |key: &str| header.split(&format!("'{key}': ")).nth(1).unwrap();
    let dims = field("shape").split(['(', ')']).nth(1).unwrap();
    let shape: Vec<usize> = dims.split(',').filter_map(|dim| dim.trim().parse().ok()).collect();
    let kind = field("descr").split('\'').nth(1).unwrap();
    let data = &bytes[10 + length..];
    let (values, is_index) = match kind {
        "<f4" => (
            data.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect(),
            false,
        ),
        "<f8" => (data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(), false),
        "<i8" => {
            (data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(), true)
        }
        other => panic!("arrays of {other}"),
    };
    Array { shape, values, is_index }
}

fn relative(found: &[f64], wanted: &[f64]) -> f64 {
    let largest = wanted.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    let apart = found.iter().zip(wanted).fold(0.0f64, |most, (a, b)| most.max((a - b).abs()));
    if found.len() != wanted.len() || found.iter().any(|value| value.is_nan()) {
        f64::INFINITY
    } else {
        apart / largest.max(1e-30)
    }
}

/// Largest relative errors of outputs and of gradients, and how many gradients were compared.
fn check(path: &Path) -> Result<(f64, f64, usize), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stem = path.file_name().unwrap().to_string_lossy().split('.').next().unwrap().to_owned();
    let wanted = archive(&path.with_file_name(format!("{stem}.npz")));
    let model = onnx::open(path).map_err(|e| text(&e))?;
    let network = &model.network;
    let device = Device::cpu();
    let weights = Weights::read(network, Precision::Single, &device, |_, param| {
        let weight = model.weights.get(&param.name).expect("values of every parameter");
        let mut values = vec![0.0; weight.len()];
        weight.read_f32(0, &mut values)?;
        Ok::<_, epoch0::Error>(Elements::Single(values))
    });
    let weights = weights.map_err(|e| text(&e))?;
    let params = weights.leaves(network);
    let mut inputs = Vec::new();
    let mut leaves: Vec<(String, Var)> = Vec::new();
    for &input in network.inputs() {
        let name = network.value(input).name.clone().unwrap_or_default();
        let array = wanted.get(&format!("in/{name}")).ok_or(format!("no values for input {name}"))?;
        if array.is_index {
            inputs.push(
                Value::index(array.values.iter().map(|&value| value as i64).collect(), &array.shape).unwrap(),
            );
        } else {
            let var =
                Var::leaf(Tensor::from_f64(array.values.clone(), &array.shape, Precision::Single, &device));
            leaves.push((format!("grad_input/{name}"), var.clone()));
            inputs.push(Value::Real(var));
        }
    }
    let outputs = run(network, &params, &inputs, Mode::Eval, &mut |_| Ok(())).map_err(|e| text(&e))?.outputs;
    let mut sum: Option<Var> = None;
    let mut worst = 0.0f64;
    for (value, &id) in outputs.iter().zip(network.outputs()) {
        let name = network.value(id).name.clone().unwrap_or_default();
        let var = value.real().ok_or("an output is no real number")?;
        let array = wanted.get(&format!("out/{name}")).ok_or(format!("no values for output {name}"))?;
        if var.shape() != array.shape {
            return Err(format!(
                "output {name} has shape {:?}, PyTorch's has {:?}",
                var.shape(),
                array.shape
            ));
        }
        worst = worst.max(relative(&var.value().to_f64(), &array.values));
        let one = var.sum();
        sum = Some(sum.map_or(one.clone(), |sum| sum.add(&one)));
    }
    let sum = sum.ok_or("no outputs")?;
    for (at, param) in network.params().iter().enumerate().filter(|(_, param)| !param.role.is_buffer()) {
        let (id, name) = (ParamId(at as u32), &param.name);
        let Some(var) = params.get(id) else { continue };
        let aliases = network.ties().iter().filter(|tie| tie.param == id).map(|tie| tie.alias.clone());
        let known = std::iter::once(name.clone()).chain(aliases).map(|name| format!("grad/{name}"));
        if let Some(key) = known.into_iter().find(|key| wanted.contains_key(key)) {
            leaves.push((key, var.clone()));
        }
    }
    let vars: Vec<&Var> = leaves.iter().map(|(_, var)| var).collect();
    let gradients = grad(&sum, &vars, Order::Last);
    // Weights with norms folded into them have other gradients; so do networks whose tied weights are apart.
    let is_whole = wanted
        .keys()
        .filter(|key| key.starts_with("grad/"))
        .all(|key| leaves.iter().any(|(name, _)| name == key));
    let scale = leaves
        .iter()
        .filter_map(|(key, _)| wanted.get(key))
        .flat_map(|array| &array.values)
        .fold(0.0f64, |most, value| most.max(value.abs()));
    let mut worst_gradient = 0.0f64;
    for ((key, _), found) in leaves.iter().zip(&gradients) {
        let Some(array) = wanted.get(key).filter(|_| is_whole) else { continue };
        let found = found.value().to_f64();
        let largest = array.values.iter().fold(0.0f64, |most, value| most.max(value.abs()));
        // Gradients that are zero but for rounding say nothing by themselves.
        let error = relative(&found, &array.values) * largest / largest.max(1e-3 * scale);
        worst_gradient = worst_gradient.max(error);
    }
    Ok((worst, worst_gradient, if is_whole { leaves.len() } else { 0 }))
}

#[test]
fn exports_compute_what_pytorch_computes() {
    let Some(folder) = std::env::var_os("EPOCH0_ONNX").map(PathBuf::from) else {
        eprintln!("skipped: EPOCH0_ONNX names no folder of exports");
        return;
    };
    let only = std::env::var("EPOCH0_ONNX_ONLY").unwrap_or_default();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "onnx"))
        .filter(|path| path.file_name().unwrap().to_string_lossy().contains(&only))
        .collect();
    paths.sort();
    let mut failed = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let stem = name.split('.').next().unwrap().to_owned();
        if !path.with_file_name(format!("{stem}.npz")).exists() {
            println!("-    {name}: no arrays");
            continue;
        }
        match check(&path) {
            Ok((outputs, gradients, n)) => {
                let is_good = outputs < 1e-4 && gradients < 1e-3;
                println!(
                    "{} {name}: outputs {outputs:.1e}, gradients {gradients:.1e} ({n})",
                    if is_good { "ok  " } else { "FAIL" }
                );
                if !is_good {
                    failed.push(name);
                }
            }
            Err(why) => {
                println!("FAIL {name}: {why}");
                failed.push(name);
            }
        }
    }
    assert!(failed.is_empty(), "{} exports failed: {failed:?}", failed.len());
}
