//! Real exports of PyTorch, where there are some: `EPOCH0_ONNX=folder cargo test --release -p epoch0-format exports`.
//!
//! The folder holds `NAME.EXPORTER.onnx` and, for each network, `NAME.safetensors` with the names, shapes and values
//! that PyTorch has for it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use epoch0_format::{Checkpoint, onnx};
use epoch0_net::Role;

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("EPOCH0_ONNX");
    if folder.is_none() {
        eprintln!("skipped: EPOCH0_ONNX names no folder of exports");
    }
    folder.map(PathBuf::from)
}

fn exports(folder: &Path) -> Vec<PathBuf> {
    let only = std::env::var("EPOCH0_ONNX_ONLY").unwrap_or_default();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "onnx"))
        .filter(|path| path.file_name().unwrap().to_string_lossy().contains(&only))
        .collect();
    paths.sort();
    paths
}

/// Names, shapes and values are PyTorch's, except for what the exporter folded into other parameters.
fn check(path: &Path) -> Result<String, String> {
    let model = onnx::open(path).map_err(|error| error.to_string())?;
    let stem = path.file_name().unwrap().to_string_lossy().split('.').next().unwrap().to_owned();
    let torch = Checkpoint::open(path.with_file_name(format!("{stem}.safetensors"))).map_err(|e| e.to_string())?;
    let mut wrong = Vec::new();
    let (mut same, mut fused) = (0, 0);
    let mut seen = BTreeSet::new();
    for param in model.network.params() {
        let weight = model.weights.get(&param.name).ok_or(format!("{} has no values", param.name))?;
        if weight.shape() != param.shape || weight.dtype() != param.dtype {
            wrong.push(format!("{}: {:?} {:?} in the file", param.name, weight.shape(), weight.dtype()));
        }
        if param.role == Role::BatchCount {
            continue;
        }
        let aliases = model.network.ties().iter().filter(|tie| model.network.param(tie.param).name == param.name);
        let names: Vec<&str> = std::iter::once(param.name.as_str()).chain(aliases.map(|tie| tie.alias.as_str())).collect();
        let Some(tensor) = names.iter().find_map(|name| torch.get(name)) else {
            wrong.push(format!("{} {:?} {:?} is no parameter of PyTorch's", param.name, param.role, param.shape));
            continue;
        };
        seen.insert(tensor.name().to_owned());
        if tensor.shape() != weight.shape() {
            wrong.push(format!("{}: shape {:?}, PyTorch has {:?}", param.name, weight.shape(), tensor.shape()));
        } else if tensor.bytes() == &*weight.bytes() {
            same += 1;
        } else {
            fused += 1;
        }
    }
    let missing: Vec<&str> =
        torch.tensors().map(|tensor| tensor.name()).filter(|name| !seen.contains(*name) && !name.ends_with("num_batches_tracked")).collect();
    let attentions = model.network.nodes().iter().filter(|node| node.op.name() == "attention").count();
    let causal = model
        .network
        .nodes()
        .iter()
        .filter(|node| matches!(&node.op, epoch0_net::Op::Attention(attention) if attention.causal))
        .count();
    let mut ops: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for node in model.network.nodes() {
        *ops.entry(node.op.name()).or_default() += 1;
    }
    if !wrong.is_empty() {
        return Err(format!("{} wrong: {}", wrong.len(), wrong[..wrong.len().min(6)].join("; ")));
    }
    Ok(format!(
        "{same} equal, {fused} others, {} missing ({}), {attentions} attention ({causal} causal), inputs {:?}, ops {ops:?}",
        missing.len(),
        missing.iter().take(3).copied().collect::<Vec<_>>().join(" "),
        model.network.inputs().iter().map(|&id| model.network.value(id).dims.iter().map(|&axis| model.network.axis(axis).size).collect::<Vec<_>>()).collect::<Vec<_>>(),
    ))
}

#[test]
fn exports_import_with_pytorchs_names_and_values() {
    let Some(folder) = folder() else { return };
    let mut failed = Vec::new();
    for path in exports(&folder) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match check(&path) {
            Ok(line) => println!("ok   {name}: {line}"),
            Err(line) => {
                println!("FAIL {name}: {line}");
                failed.push(name);
            }
        }
    }
    assert!(failed.is_empty(), "{} exports failed: {failed:?}", failed.len());
}
