//! Real exports of PyTorch, where there are some: `EPOCH0_ONNX=folder cargo test --release -p epoch0-format exports`.
//!
//! The folder holds `NAME.EXPORTER.onnx` and, for each network, `NAME.safetensors` with the names, shapes and values
//! that PyTorch has for it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "says what was compared")]

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
    let torch = path.with_file_name(format!("{stem}.safetensors"));
    if !torch.exists() {
        return Ok(format!("{} parameters, nothing to compare with", model.network.params().len()));
    }
    let torch = Checkpoint::open(torch).map_err(|e| e.to_string())?;
    // Names under which PyTorch has one parameter, the first of them in its file.
    let facts = std::fs::read(path.with_file_name(format!("{stem}.json"))).map_err(|e| e.to_string())?;
    let facts: serde_json::Value = serde_json::from_slice(&facts).map_err(|e| e.to_string())?;
    let tied: Vec<Vec<String>> = serde_json::from_value(facts["tied"].clone()).map_err(|e| e.to_string())?;
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
        let aliases =
            model.network.ties().iter().filter(|tie| model.network.param(tie.param).name == param.name);
        let names: Vec<&str> =
            std::iter::once(param.name.as_str()).chain(aliases.map(|tie| tie.alias.as_str())).collect();
        let groups =
            tied.iter().filter(|group| names.iter().any(|name| group.iter().any(|other| other == name)));
        let names: Vec<&str> = names.iter().copied().chain(groups.flatten().map(String::as_str)).collect();
        // A batch normalization that was folded into the convolution before it becomes its bias.
        let is_folded = param.role == Role::Bias
            && torch
                .get(&param.name.replace(".bias", ".weight"))
                .is_some_and(|weight| weight.shape().len() > 2);
        if is_folded && torch.get(&param.name).is_none() {
            fused += 1;
            continue;
        }
        let Some(tensor) = names.iter().find_map(|name| torch.get(name)) else {
            wrong.push(format!(
                "{} {:?} {:?} is no parameter of PyTorch's",
                param.name, param.role, param.shape
            ));
            continue;
        };
        seen.insert(tensor.name().to_owned());
        if tensor.shape() != weight.shape() {
            wrong.push(format!(
                "{}: shape {:?}, PyTorch has {:?}",
                param.name,
                weight.shape(),
                tensor.shape()
            ));
        } else if tensor.bytes() == &*weight.bytes() {
            same += 1;
        } else {
            fused += 1;
        }
    }
    let missing: Vec<&str> = torch
        .tensors()
        .map(|tensor| tensor.name())
        .filter(|name| !seen.contains(*name) && !name.ends_with("num_batches_tracked"))
        .collect();
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
    if std::env::var_os("EPOCH0_ONNX_PRINT").is_some() {
        for node in model.network.nodes() {
            let params: Vec<&str> =
                node.op.params().into_iter().map(|id| model.network.param(id).name.as_str()).collect();
            let sizes = |id: epoch0_net::ValueId| {
                model
                    .network
                    .value(id)
                    .dims
                    .iter()
                    .map(|&axis| model.network.axis(axis).size.unwrap_or(0))
                    .collect::<Vec<_>>()
            };
            let out: Vec<_> = node.outputs.iter().map(|&id| format!("{}{:?}", id.0, sizes(id))).collect();
            let ins: Vec<_> = node.inputs.iter().map(|id| id.0).collect();
            println!("{:?} {} {ins:?} -> {} {params:?}", node.block, node.op.name(), out.join(" "));
        }
    }
    if !wrong.is_empty() {
        return Err(format!("{} wrong: {}", wrong.len(), wrong[..wrong.len().min(6)].join("; ")));
    }
    Ok(format!(
        "{}{same} equal, {fused} others, {} missing ({}), {attentions} attention ({causal} causal), inputs {:?}, ops {ops:?}",
        model.fixed_batch.as_ref().map_or(String::new(), |why| format!(
            "[batch stays: {}] ",
            why.to_string().chars().take(200).collect::<String>()
        )),
        missing.len(),
        missing.iter().take(3).copied().collect::<Vec<_>>().join(" "),
        model
            .network
            .inputs()
            .iter()
            .map(|&id| model
                .network
                .value(id)
                .dims
                .iter()
                .map(|&axis| model.network.axis(axis).size)
                .collect::<Vec<_>>())
            .collect::<Vec<_>>(),
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

/// Sites, fans, activations and ends of residual branches are those that the zoo derives for the same networks.
#[test]
fn sites_of_exports_are_those_of_the_zoo() {
    let Some(folder) = folder() else { return };
    let mut failed = Vec::new();
    for path in exports(&folder) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let stem = name.split('.').next().unwrap();
        let Ok(zoo) = epoch0_net::zoo::build(stem) else { continue };
        let Ok(model) = onnx::open(&path) else {
            failed.push(name);
            continue;
        };
        let is_folded = zoo.params().iter().any(|param| {
            param.role == Role::RunningMean
                && model.network.find(&param.name).is_none()
                && !param.name.starts_with("aux")
        });
        let lines = |net: &epoch0_net::Network, folded: bool| -> BTreeSet<String> {
            let kept = net.sites().iter().filter(|site| {
                // Of norms that the exporter folded into convolutions, biases are left.
                // GoogLeNet's classifiers on the side answer in training only.
                let is_aside = site.name.starts_with("aux");
                !site.role.is_buffer() && !is_aside && (site.role.is_matrix() || !folded)
            });
            kept.map(|site| {
                format!(
                    "{} {:?} {} fans {:?} act {:?} branch {:?} block {:?}",
                    site.label(),
                    site.role,
                    site.op,
                    site.fans.map(|fans| (fans.in_, fans.out)),
                    site.activation.as_ref().map(ToString::to_string),
                    site.branch.map(|branch| (branch.index, branch.count, branch.degree, branch.is_last)),
                    site.block.map(|at| net.blocks()[at].clone()),
                )
            })
            .collect()
        };
        let (ours, theirs) = (lines(&model.network, is_folded), lines(&zoo, is_folded));
        let only =
            |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).take(4).cloned().collect::<Vec<_>>();
        if ours == theirs {
            println!("ok   {name}: {} sites{}", ours.len(), if is_folded { ", norms folded" } else { "" });
        } else {
            println!(
                "FAIL {name}: {} differ\n  onnx {:#?}\n  zoo {:#?}",
                ours.symmetric_difference(&theirs).count(),
                only(&ours, &theirs),
                only(&theirs, &ours)
            );
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{} exports failed: {failed:?}", failed.len());
}
