//! Folding batch normalizations: what is written answers as before, and what cannot be folded is named.

#[path = "../../epoch0-format/tests/onnx_models/mod.rs"]
mod onnx_models;

use std::fs;
use std::path::Path;

use epoch0::engine::{Device, Mode, Precision, Tensor, Value, Weights, run};
use epoch0::format::{Plan, Replace, ShardSize, TensorSpec, Writer, onnx, pt_metadata};
use epoch0::net::{
    Builder, Layout, Linear, NamedConv, NamedLinear, NamedNorm, Network, NormKind, Op, Role, Source, Window,
    zoo,
};
use epoch0::num::{Activation, Dtype, Law, Stream};
use epoch0::{Described, Folding, Left, fold_checkpoint, fold_onnx, read_weights};

fn normal(name: &str, n: usize) -> Vec<f64> {
    let mut values = vec![0.0; n];
    Law::normal(0.0, 1.0).fill(&Stream::new(5, name), 0, &mut values).unwrap();
    values
}

/// Values as training leaves them: nothing is 0 or 1.
fn values(net: &Network) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let of = |param: &epoch0::net::Param| {
        let fan_in: usize = param.shape.iter().skip(1).product();
        let value = |x: f64| match param.role {
            Role::NormScale => 1.0 + 0.3 * x,
            Role::RunningVar => 0.5 + 0.3 * x * x,
            Role::BatchCount => 17.0,
            role if role.is_matrix() => x * (2.0 / fan_in as f64).sqrt(),
            _ => 0.2 * x,
        };
        let values = normal(&param.name, param.len()).into_iter().map(|x| value(x) as f32);
        (param.name.clone(), param.shape.clone(), values.collect())
    };
    net.params().iter().map(of).collect()
}

fn write(folder: &Path, tensors: &[(String, Vec<usize>, Vec<f32>)]) {
    let spec = |(name, shape, _): &(String, Vec<usize>, Vec<f32>)| {
        let dtype = if name.ends_with("num_batches_tracked") { Dtype::I64 } else { Dtype::F32 };
        TensorSpec::new(name, dtype, shape.clone())
    };
    fs::create_dir_all(folder).unwrap();
    let plan = Plan::new(tensors.iter().map(spec).collect(), &pt_metadata(), ShardSize::default()).unwrap();
    let writer = Writer::create(folder, plan).unwrap();
    for (at, (name, _, values)) in tensors.iter().enumerate() {
        let bytes: Vec<u8> = if name.ends_with("num_batches_tracked") {
            17i64.to_le_bytes().to_vec()
        } else {
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        };
        writer.write_at(at, 0, &bytes).unwrap();
    }
    writer.finish().unwrap();
}

/// In double precision: what is left is the rounding of what was written.
fn outputs(net: &Network, weights: &Weights, batch: usize) -> Vec<f64> {
    let inputs: Vec<Value> = net
        .inputs()
        .iter()
        .map(|&id| {
            let sizes: Vec<usize> =
                net.value(id).dims.iter().map(|&axis| net.axis(axis).size.unwrap_or(batch)).collect();
            let values = normal("input", sizes.iter().product());
            Value::constant(Tensor::from_f64(values, &sizes, Precision::Double, &Device::cpu()))
        })
        .collect();
    let done = run(net, &weights.constants(), &inputs, Mode::Eval, &mut |_| Ok(())).unwrap();
    done.outputs.iter().flat_map(|output| output.real().unwrap().value().to_f64()).collect()
}

#[track_caller]
fn close(found: &[f64], wanted: &[f64]) {
    let largest = wanted.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    assert!(largest > 0.0 && largest.is_finite());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() <= 1e-5 * largest, "{found}, not {wanted}, of up to {largest}");
    }
}

fn described(net: Network) -> Described {
    Described { given: net.name().to_owned(), net, config: None, checkpoint: None, onnx: None }
}

/// Folds a network's checkpoint and compares what both answer.
fn folded(net: Network) -> Folding {
    let room = tempfile::tempdir().unwrap();
    let (from, to) = (room.path().join("from"), room.path().join("to"));
    write(&from, &values(&net));
    let described = described(net);
    let folding = fold_checkpoint(&described, &from, &to, Replace::Never).unwrap();
    let read =
        |folder: &Path| read_weights(&described.net, folder, Precision::Double, &Device::cpu()).unwrap();
    let (before, after) = (read(&from), read(&to));
    close(&outputs(&described.net, &after, 3), &outputs(&described.net, &before, 3));
    // Names, shapes and counts are those that were there.
    let tensors = |folder: &Path| {
        let checkpoint = epoch0::format::Checkpoint::open(folder).unwrap();
        let mut all: Vec<_> = checkpoint
            .tensors()
            .map(|tensor| (tensor.name().to_owned(), tensor.shape().to_vec(), tensor.dtype()))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    assert_eq!(tensors(&from), tensors(&to));
    let variance = |weights: &Weights, nth: usize| {
        let id = described.net.find(&format!("{}.running_var", folding.folded[nth].norm));
        id.and_then(|id| weights.get(id)).map(|value| value.to_f64()[0])
    };
    for nth in 0..folding.folded.len() {
        assert!(variance(&after, nth).is_none_or(|found| (found - (1.0 - 1e-5)).abs() < 1.1e-3));
    }
    folding
}

#[test]
fn networks_of_the_zoo_answer_as_before() {
    for (spec, n_folded, n_kept) in [
        ("resnet18,classes=10,size=32", 20, 0),
        ("resnet20", 19, 0),
        // Depthwise convolutions among them.
        ("mobilenet_v2,classes=10,size=32", 52, 0),
        // Half of its norms stand before their convolution.
        ("densenet121,classes=10,size=32", 59, 62),
        ("mlp:12-20-20-5,norm=batch,act=sigmoid", 2, 0),
    ] {
        let folding = folded(zoo::build(spec).unwrap());
        assert_eq!((folding.folded.len(), folding.kept.len()), (n_folded, n_kept), "{spec}");
    }
}

#[test]
fn what_stands_before_a_convolution_is_named() {
    let folding = folded(zoo::build("densenet121,classes=10,size=32").unwrap());
    let kept =
        folding.kept.iter().find(|kept| kept.norm == "features.denseblock1.denselayer2.norm1").unwrap();
    assert_eq!(kept.why, "it stands behind `concat`, allowed a linear map or a convolution");
    let done = folding.folded.iter().find(|folded| folded.norm == "features.norm0").unwrap();
    assert_eq!((done.layer.as_str(), done.left), ("features.conv0", Left::Shift));
}

/// A small VGG: convolutions with biases, each with a norm and a rectifier, poolings between; then layers of every other
/// kind that a norm can follow.
fn layers() -> Network {
    let mut b = Builder::new("layers", Source::Built, Dtype::F32);
    let mut x = b.input("x", &[None, Some(3), Some(16), Some(16)]);
    for (nth, width) in [8, 16].into_iter().enumerate() {
        x = b.conv(x, &format!("conv{nth}"), width, Window::square(3, 1, 1), 1, true);
        x = b.norm(x, &format!("norm{nth}"), NormKind::Batch, 1e-3, true);
        x = b.activation(x, Activation::Relu);
        x = b.pool(x, epoch0::net::Pool::Max(Window::square(2, 2, 0)));
    }
    let up = |weight, bias, out, groups| NamedConv {
        weight,
        bias,
        out,
        window: Window::square(2, 2, 0),
        groups,
        transposed: true,
    };
    x = b.conv_named(x, &up("up.weight", None, 12, 4));
    x = b.norm(x, "up_norm", NormKind::Batch, 1e-5, true);
    x = b.activation(x, Activation::Tanh);
    x = b.conv_named(x, &up("up2.weight", Some("up2.bias"), 6, 1));
    // Without a factor and a shift: what is added goes into the mean, or into the layer's bias.
    let running = Some(["bare.running_mean", "bare.running_var", "bare.num_batches_tracked"]);
    x = b.norm_named(x, NormKind::Batch, 1e-5, NamedNorm { scale: None, shift: None, running });
    x = b.conv(x, "depthwise", 6, Window::square(3, 2, 1), 6, false);
    let running = Some(["deep.running_mean", "deep.running_var", "deep.num_batches_tracked"]);
    x = b.norm_named(x, NormKind::Batch, 1e-5, NamedNorm { scale: None, shift: None, running });
    x = b.activation(x, Activation::Relu);
    x = b.flatten(x);
    let turned = NamedLinear {
        weight: "turned.weight",
        bias: None,
        out: 9,
        layout: Layout::InOut,
        role: Role::Weight,
    };
    x = b.linear_named(x, &turned);
    x = b.norm(x, "turned_norm", NormKind::Batch, 1e-5, true);
    x = b.linear(x, "last", Linear::new(4));
    x = b.norm(x, "last_norm", NormKind::Batch, 1e-5, true);
    b.output(x, "y");
    b.finish().unwrap()
}

#[test]
fn every_kind_of_layer_takes_a_norm() {
    let folding = folded(layers());
    let left: Vec<(&str, Left)> =
        folding.folded.iter().map(|folded| (folded.layer.as_str(), folded.left)).collect();
    let wanted = [
        ("conv0", Left::Identity),
        ("conv1", Left::Identity),
        ("up", Left::Shift),
        ("up2", Left::Identity),
        ("depthwise", Left::Shift),
        ("turned", Left::Shift),
        ("last", Left::Identity),
    ];
    assert_eq!(left, wanted);
    assert!(folding.kept.is_empty(), "{:?}", folding.kept);
}

#[test]
fn what_has_to_stay_says_why() {
    let mut b = Builder::new("stay", Source::Built, Dtype::F32);
    let x = b.input("x", &[None, Some(4)]);
    let x = b.norm(x, "first", NormKind::Batch, 1e-5, true);
    let y = b.linear(x, "read_twice", Linear::new(4));
    let z = b.norm(y, "of_two", NormKind::Batch, 1e-5, true);
    let sum = b.add(&[y, z]);
    let sum = b.norm(sum, "of_sum", NormKind::Batch, 1e-5, true);
    let shared = |b: &mut Builder, x| {
        let named = NamedLinear {
            weight: "tied.weight",
            bias: None,
            out: 4,
            layout: Layout::OutIn,
            role: Role::Weight,
        };
        b.linear_named(x, &named)
    };
    let x = shared(&mut b, sum);
    let x = b.norm(x, "of_shared", NormKind::Batch, 1e-5, true);
    let x = shared(&mut b, x);
    let x = b.norm_named(
        x,
        NormKind::Batch,
        1e-5,
        NamedNorm { scale: Some("own.weight"), ..NamedNorm::default() },
    );
    let x = b.linear(x, "fits", Linear::new(3));
    let x = b.norm(x, "goes", NormKind::Batch, 1e-5, true);
    b.output(x, "y");
    let net = b.finish().unwrap();
    let (folds, stay) = net.folds();
    assert_eq!(folds.len(), 1);
    let why: Vec<String> = stay.iter().map(|stay| stay.why.to_string()).collect();
    let wanted = ["an input", "read elsewhere", "`add`", "`tied.weight` is used", "no running statistics"];
    assert_eq!(why.len(), wanted.len(), "{why:?}");
    for (why, part) in why.iter().zip(wanted) {
        assert!(why.contains(part), "{why}, not {part}");
    }
}

#[test]
fn what_no_statistic_can_be_is_refused_and_nothing_written() {
    let net = || zoo::build("mlp:4-6-3,norm=batch").unwrap();
    let refused = |name: &str, value: f32| {
        let room = tempfile::tempdir().unwrap();
        let (from, to) = (room.path().join("from"), room.path().join("to"));
        let mut tensors = values(&net());
        tensors.iter_mut().find(|(own, ..)| own == name).unwrap().2[2] = value;
        write(&from, &tensors);
        let error = fold_checkpoint(&described(net()), &from, &to, Replace::Never).unwrap_err().to_string();
        assert!(error.contains(&format!("`{name}`")), "{error}");
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 1, "only what was there");
        error
    };
    assert!(refused("1.running_var", -0.25).contains("-0.25 at 2, allowed variances, from 0"));
    assert!(refused("1.running_var", f32::NAN).contains("NaN at 2"));
    assert!(refused("1.running_mean", f32::INFINITY).contains("inf at 2"));
    assert!(refused("0.weight", f32::NAN).contains("finite numbers"));
    let room = tempfile::tempdir().unwrap();
    let from = room.path().join("from");
    let plain = zoo::build("mlp:4-6-3").unwrap();
    write(&from, &values(&plain));
    let error =
        fold_checkpoint(&described(plain), &from, &room.path().join("to"), Replace::Never).unwrap_err();
    assert!(error.to_string().contains("found none"), "{error}");
    // Another network's checkpoint.
    let error =
        fold_checkpoint(&described(net()), &from, &room.path().join("to"), Replace::Never).unwrap_err();
    assert!(error.to_string().contains("1."), "{error}");
}

#[test]
fn a_folded_network_of_the_zoo_says_what_it_is() {
    let room = tempfile::tempdir().unwrap();
    let (from, to) = (room.path().join("from"), room.path().join("to"));
    let spec = "mlp:4-6-3,norm=batch";
    let net = zoo::build(spec).unwrap();
    write(&from, &values(&net));
    fold_checkpoint(&described(net), &from, &to, Replace::Never).unwrap();
    assert_eq!(Described::open(&to.to_string_lossy()).unwrap().net.name(), spec);
    // Again: it stays what it is.
    let again = room.path().join("again");
    fold_checkpoint(&Described::open(&to.to_string_lossy()).unwrap(), &to, &again, Replace::Never).unwrap();
}

#[test]
fn an_onnx_file_loses_its_norms() {
    use onnx_models::{Attr, FLOAT, Graph, convolutional, floats, info, node, ramp};
    let norm = |name: &str, from: &str, to: &str| {
        let inputs = ["weight", "bias", "running_mean", "running_var"].map(|leaf| format!("{name}.{leaf}"));
        let inputs: Vec<&str> = std::iter::once(from).chain(inputs.iter().map(String::as_str)).collect();
        node("BatchNormalization", &format!("/{name}"), &inputs, &[to], &[("epsilon", Attr::Float(1e-5))])
    };
    let statistics = |name: &str| {
        ["weight", "bias", "running_mean"]
            .into_iter()
            .enumerate()
            .map(|(seed, leaf)| floats(&format!("{name}.{leaf}"), &[4], &ramp(4, seed + 11)))
            .chain([floats(&format!("{name}.running_var"), &[4], &[0.5, 1.5, 2.5, 0.25])])
            .collect::<Vec<_>>()
    };
    // Behind a product of matrices, which can have no bias, and behind one that has one.
    let dense = Graph {
        nodes: vec![
            node("MatMul", "/a/MatMul", &["x", "onnx::MatMul_1"], &["a"], &[]),
            norm("n1", "a", "b"),
            node("Relu", "/r/Relu", &["b"], &["c"], &[]),
            node("Gemm", "/d/Gemm", &["c", "d.weight", "d.bias"], &["e"], &[("transB", Attr::Int(1))]),
            norm("n2", "e", "y"),
        ],
        tensors: [floats("onnx::MatMul_1", &[5, 4], &ramp(20, 1)), floats("d.weight", &[4, 4], &ramp(16, 2))]
            .into_iter()
            .chain([floats("d.bias", &[4], &ramp(4, 3))])
            .chain(statistics("n1"))
            .chain(statistics("n2"))
            .collect(),
        inputs: vec![info("x", FLOAT, &[onnx_models::Dim::Size(2), onnx_models::Dim::Size(5)])],
        outputs: vec![info("y", FLOAT, &[onnx_models::Dim::Size(2), onnx_models::Dim::Size(4)])],
    };
    for (graph, n_norms) in [(convolutional(), 1), (dense, 2)] {
        let room = tempfile::tempdir().unwrap();
        let (from, to) = (room.path().join("from.onnx"), room.path().join("to.onnx"));
        fs::write(&from, graph.model(17)).unwrap();
        let folding = fold_onnx(&from, &to, Replace::Never).unwrap();
        assert_eq!(folding.folded.len(), n_norms);
        assert!(folding.folded.iter().all(|folded| folded.left == Left::Nothing), "{folding:?}");
        let answers = |path: &Path| {
            let described = Described::open(&path.to_string_lossy()).unwrap();
            let weights = described.own_weights(Precision::Double, &Device::cpu()).unwrap().unwrap();
            outputs(&described.net, &weights, 3)
        };
        close(&answers(&to), &answers(&from));
        let ops = onnx::open(&to).unwrap().network;
        assert!(!ops.nodes().iter().any(|node| matches!(node.op, Op::Norm { .. })));
        let error = fold_onnx(&from, &to, Replace::Never).unwrap_err().to_string();
        assert!(error.contains("it exists"), "{error}");
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 2);
    }
}
