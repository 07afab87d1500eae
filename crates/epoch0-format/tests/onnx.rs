//! Small ONNX models: what becomes of them, their weights, and what is refused.

mod onnx_models;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use epoch0_format::onnx::{self, OnnxFault};
use epoch0_format::{Error, Replace};
use epoch0_net::{Layout, NormKind, Op, Role};
use epoch0_num::Activation;
use onnx_models::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn open(graph: &Graph) -> Result<onnx::Onnx, Error> {
    let folder = Folder::new();
    onnx::open(folder.put("model.onnx", &graph.model(17)))
}

fn fault(graph: &Graph) -> OnnxFault {
    fault_of(&graph.model(17))
}

fn fault_of(bytes: &[u8]) -> OnnxFault {
    let folder = Folder::new();
    match onnx::open(folder.put("model.onnx", bytes)) {
        Err(Error::Onnx { fault, .. }) => *fault,
        other => panic!("{:?}", other.map(|model| model.network.nodes().len())),
    }
}

fn ops(model: &onnx::Onnx) -> Vec<&'static str> {
    model.network.nodes().iter().map(|node| node.op.name()).collect()
}

fn values(model: &onnx::Onnx, name: &str) -> Vec<f32> {
    let weight = model.weights.get(name).unwrap_or_else(|| panic!("no {name}"));
    let mut values = vec![0.0; weight.len()];
    weight.read_f32(0, &mut values).unwrap();
    values
}

#[test]
fn a_perceptron_has_torchs_names_and_layout() {
    let model = open(&perceptron()).unwrap();
    assert_eq!(ops(&model), ["linear", "activation", "linear"]);
    let names: Vec<&str> = model.network.params().iter().map(|param| param.name.as_str()).collect();
    assert_eq!(names, ["0.weight", "0.bias", "2.weight", "2.bias"]);
    // The exporter had turned the second weight, [5, 3] in the file.
    let weight = model.weights.get("2.weight").unwrap();
    assert_eq!(weight.shape(), [3, 5]);
    let stored = ramp(15, 4);
    let turned: Vec<f32> = (0..15).map(|at| stored[(at % 5) * 3 + at / 5]).collect();
    assert_eq!(values(&model, "2.weight"), turned);
    let mut part = [0.0; 4];
    weight.read_f32(6, &mut part).unwrap();
    assert_eq!(part, turned[6..10]);
    assert!(weight.read_f32(12, &mut part).is_err());
    let last = model.network.sites().iter().find(|site| site.name == "2.weight").unwrap();
    assert_eq!((last.role, last.fans.unwrap().in_, last.fans.unwrap().out), (Role::Readout, 5.0, 3.0));
    let first = model.network.sites().iter().find(|site| site.name == "0.weight").unwrap();
    assert_eq!(first.activation, Some(Activation::Relu));
    // The batch of 2 in the file is any batch.
    let input = model.network.value(model.network.inputs()[0]);
    let sizes: Vec<_> = input.dims.iter().map(|&axis| model.network.axis(axis).size).collect();
    assert_eq!(sizes, [None, Some(4)]);
    assert!(model.fixed_batch.is_none());
}

#[test]
fn a_convolutional_network_has_blocks_and_branches() {
    let model = open(&convolutional()).unwrap();
    assert_eq!(ops(&model), ["conv", "batch_norm", "activation", "conv", "add", "pool", "flatten", "linear"]);
    assert_eq!(model.network.blocks(), ["layer1.0"]);
    let end = model.network.sites().iter().find(|site| site.name == "layer1.0.conv.weight").unwrap();
    assert!(end.ends_branch().is_some_and(|end| end.index == 0 && end.count == 1));
    assert_eq!(end.fans.unwrap().in_, 36.0);
    assert_eq!(values(&model, "bn.running_var"), [1.0, 2.0, 3.0, 4.0]);
    // The count of batches is not in the file.
    assert_eq!(&*model.weights.get("bn.num_batches_tracked").unwrap().bytes(), [0; 8]);
}

#[test]
fn a_transformer_is_put_together_again() {
    let model = open(&transformer()).unwrap();
    assert_eq!(
        ops(&model),
        ["embedding", "layer_norm", "linear", "split", "attention", "linear", "activation", "add"]
    );
    let attention = model.network.nodes().iter().find_map(|node| match &node.op {
        Op::Attention(attention) => Some(attention),
        _ => None,
    });
    let attention = attention.unwrap();
    assert_eq!((attention.heads, attention.kv_heads, attention.causal), (2, 2, false));
    assert!((attention.scale - 0.3535534).abs() < 1e-6);
    let labels: Vec<String> = model
        .network
        .sites()
        .iter()
        .filter(|site| site.name.contains("c_attn.weight"))
        .map(epoch0_net::Site::label)
        .collect();
    assert_eq!(
        labels,
        ["h.0.attn.c_attn.weight[q]", "h.0.attn.c_attn.weight[k]", "h.0.attn.c_attn.weight[v]"]
    );
    let packed = model.network.nodes().iter().find_map(|node| match node.op {
        Op::Linear { layout, .. } => Some(layout),
        _ => None,
    });
    // Stored `[in, out]` under its own name, as GPT-2 has it.
    assert_eq!(packed, Some(Layout::InOut));
    let end = model.network.sites().iter().find(|site| site.name == "h.0.attn.proj.weight").unwrap();
    assert_eq!(end.activation, Some(Activation::Gelu));
    assert!(end.ends_branch().is_some());
}

#[test]
fn gates_stand_in_torchs_order() {
    // For each of torch's gates, which of ONNX's it is.
    for (op, order) in [("LSTM", &[0usize, 2, 3, 1][..]), ("GRU", &[1, 0, 2]), ("RNN", &[0])] {
        let model = open(&recurrent(op)).unwrap();
        let gates = order.len();
        let stored = ramp(2 * gates * 3 * 2, 1);
        for (direction, suffix) in [(0, ""), (1, "_reverse")] {
            let found = values(&model, &format!("rnn.weight_ih_l0{suffix}"));
            let start = direction * gates * 6;
            let wanted: Vec<f32> = order
                .iter()
                .flat_map(|gate| stored[start + gate * 6..start + (gate + 1) * 6].to_vec())
                .collect();
            assert_eq!(found, wanted, "{op}{suffix}");
            assert_eq!(model.weights.get(&format!("rnn.bias_hh_l0{suffix}")).unwrap().shape(), [gates * 3]);
        }
        let site = model.network.sites().iter().find(|site| site.name == "rnn.weight_hh_l0").unwrap();
        assert_eq!((site.fans.unwrap().in_, site.fans.unwrap().out), (3.0, 3.0));
        assert_eq!(model.network.sites_of(site.param).count(), gates);
    }
}

#[test]
fn norms_by_parts_are_norms() {
    let mut graph = Graph {
        tensors: vec![
            floats("ln.weight", &[6], &ramp(6, 1)),
            floats("ln.bias", &[6], &ramp(6, 2)),
            floats("rms.weight", &[6], &ramp(6, 3)),
            floats("val_1", &[], &[2.0]),
            floats("val_2", &[], &[1e-6]),
        ],
        inputs: vec![info("x", FLOAT, &[Dim::Name("batch"), Dim::Size(6)])],
        outputs: vec![info("y", FLOAT, &[Dim::Name("batch"), Dim::Size(6)])],
        nodes: Vec::new(),
    };
    for (op, inputs, output) in [
        ("ReduceMean", &["x"][..], "m"),
        ("Sub", &["x", "m"], "d"),
        ("Pow", &["d", "val_1"], "d2"),
        ("ReduceMean", &["d2"], "v"),
        ("Add", &["v", "val_2"], "ve"),
        ("Sqrt", &["ve"], "s"),
        ("Div", &["d", "s"], "n"),
        ("Mul", &["n", "ln.weight"], "nw"),
        ("Add", &["nw", "ln.bias"], "ln"),
        ("Pow", &["ln", "val_1"], "r2"),
        ("ReduceMean", &["r2"], "rm"),
        ("Add", &["rm", "val_2"], "re"),
        ("Sqrt", &["re"], "rs"),
        ("Reciprocal", &["rs"], "ri"),
        ("Mul", &["ln", "ri"], "rn"),
        ("Mul", &["rms.weight", "rn"], "y"),
    ] {
        let over: &[(&str, Attr<'_>)] =
            if op == "ReduceMean" { &[("axes", Attr::Ints(&[-1])), ("keepdims", Attr::Int(1))] } else { &[] };
        graph.nodes.push(node(op, output, inputs, &[output], over));
    }
    let model = open(&graph).unwrap();
    let norms: Vec<_> = model
        .network
        .nodes()
        .iter()
        .map(|node| match &node.op {
            Op::Norm { kind, eps, scale, shift, .. } => {
                (*kind, (*eps as f32), scale.is_some(), shift.is_some())
            }
            other => panic!("{}", other.name()),
        })
        .collect();
    assert_eq!(
        norms,
        [(NormKind::Layer, 1e-6, true, true), (NormKind::Rms { offset: 0.0 }, 1e-6, true, false)]
    );
}

#[test]
fn weights_beside_the_model_are_read() {
    let folder = Folder::new();
    let mut graph = perceptron();
    let weight: Vec<u8> = ramp(20, 9).iter().flat_map(|value| value.to_le_bytes()).collect();
    folder.put("model.bin", &[&[1, 2, 3, 4], &weight[..]].concat());
    let entry = |key: &str, value: &str| Message::default().text(1, key).text(2, value);
    let external = |location: &str, offset: &str, length: &str| {
        tensor("0.weight", &[5, 4], FLOAT)
            .message(13, &entry("location", location))
            .message(13, &entry("offset", offset))
            .message(13, &entry("length", length))
            .int(14, 1)
    };
    graph.tensors[0] = external("model.bin", "4", "80");
    let model = onnx::open(folder.put("model.onnx", &graph.model(17))).unwrap();
    assert_eq!(values(&model, "0.weight"), ramp(20, 9));

    // New weights go into a file of their own.
    let out = folder.0.path().join("new.onnx");
    onnx::write(
        folder.0.path().join("model.onnx"),
        &out,
        &BTreeMap::new(),
        Replace::Never,
        |weight, bytes| {
            bytes.chunks_exact_mut(4).enumerate().for_each(|(at, element)| {
                element.copy_from_slice(&((at + weight.len()) as f32).to_le_bytes());
            });
            Ok::<(), Error>(())
        },
    )
    .unwrap();
    assert!(folder.0.path().join("new.onnx.data").is_file());
    let new = onnx::open(&out).unwrap();
    assert_eq!(values(&new, "0.weight"), (20..40).map(|at| at as f32).collect::<Vec<_>>());
    assert_eq!(values(&new, "2.weight"), (15..30).map(|at| at as f32).collect::<Vec<_>>());

    for (location, offset, length) in
        [("../model.bin", "0", "80"), ("/etc/passwd", "0", "80"), ("", "0", "80"), ("a/../../b", "0", "80")]
    {
        graph.tensors[0] = external(location, offset, length);
        let found = onnx::open(folder.put("model.onnx", &graph.model(17)));
        assert!(
            matches!(found, Err(Error::Onnx { fault, .. }) if matches!(*fault, OnnxFault::ExternalPath { .. })),
            "{location}"
        );
    }
    for (offset, length) in [("8", "80"), ("18446744073709551615", "80")] {
        graph.tensors[0] = external("model.bin", offset, length);
        let found = onnx::open(folder.put("model.onnx", &graph.model(17)));
        assert!(
            matches!(found, Err(Error::Onnx { fault, .. }) if matches!(*fault, OnnxFault::ExternalRange { .. })),
            "{offset}"
        );
    }
    graph.tensors[0] = external("model.bin", "4", "76");
    assert!(matches!(fault_at(&folder, &graph), OnnxFault::Initializer { .. }));
    #[cfg(unix)]
    {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("far.bin"), &weight).unwrap();
        std::os::unix::fs::symlink(outside.path().join("far.bin"), folder.0.path().join("near.bin")).unwrap();
        graph.tensors[0] = external("near.bin", "0", "80");
        assert!(matches!(fault_at(&folder, &graph), OnnxFault::ExternalPath { .. }));
    }
}

fn fault_at(folder: &Folder, graph: &Graph) -> OnnxFault {
    match onnx::open(folder.put("model.onnx", &graph.model(17))) {
        Err(Error::Onnx { fault, .. }) => *fault,
        other => panic!("{:?}", other.map(|_| ())),
    }
}

/// What is written with the weights that were there is the file that was there.
#[test]
fn the_same_weights_make_the_same_file() {
    for graph in
        [perceptron(), convolutional(), transformer(), recurrent("LSTM"), recurrent("GRU"), recurrent("RNN")]
    {
        let folder = Folder::new();
        let (from, to) = (folder.put("a.onnx", &graph.model(17)), folder.0.path().join("b.onnx"));
        onnx::write(&from, &to, &BTreeMap::new(), Replace::Never, |weight, bytes| {
            bytes.copy_from_slice(&weight.bytes());
            Ok::<(), Error>(())
        })
        .unwrap();
        let (old, new) = (onnx::open(&from).unwrap(), onnx::open(&to).unwrap());
        assert_eq!(old.network.params(), new.network.params());
        assert_eq!(old.network.nodes(), new.network.nodes());
        for weight in old.weights.iter() {
            assert_eq!(weight.bytes(), new.weights.get(weight.name()).unwrap().bytes(), "{}", weight.name());
        }
    }
}

#[test]
fn new_weights_come_back() {
    for graph in [perceptron(), convolutional(), transformer(), recurrent("LSTM"), recurrent("GRU")] {
        let folder = Folder::new();
        let (from, to) = (folder.put("a.onnx", &graph.model(17)), folder.0.path().join("b.onnx"));
        // Values that tell the parameter and the element.
        let new = |name: &str, n: usize| -> Vec<u8> {
            let base = name.bytes().map(f32::from).sum::<f32>();
            (0..n).flat_map(|at| (base + at as f32 / 1024.0).to_le_bytes()).collect()
        };
        onnx::write(&from, &to, &BTreeMap::new(), Replace::Never, |weight, bytes| {
            bytes.copy_from_slice(&new(weight.name(), weight.len()));
            Ok::<(), Error>(())
        })
        .unwrap();
        let model = onnx::open(&to).unwrap();
        for weight in model.weights.iter().filter(|weight| weight.dtype() == epoch0_num::Dtype::F32) {
            assert_eq!(&*weight.bytes(), new(weight.name(), weight.len()), "{}", weight.name());
        }
    }
}

#[test]
fn properties_are_kept_and_files_are_not_lost() {
    let folder = Folder::new();
    let from = folder.put("a.onnx", &perceptron().model(17));
    let same = |weight: onnx::Weight<'_>, bytes: &mut [u8]| {
        bytes.copy_from_slice(&weight.bytes());
        Ok::<(), Error>(())
    };
    let properties = |entries: &[(&str, &str)]| -> BTreeMap<String, String> {
        entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let (one, two) = (folder.0.path().join("one.onnx"), folder.0.path().join("two.onnx"));
    onnx::write(&from, &one, &properties(&[("a", "1"), ("b", "2")]), Replace::Never, same).unwrap();
    // A key that is there already gets the new value.
    onnx::write(&one, &two, &properties(&[("b", "3")]), Replace::Never, same).unwrap();
    let found = onnx::open(&two).unwrap().weights.metadata().unwrap();
    assert_eq!(found, properties(&[("a", "1"), ("b", "3")]));

    let before = fs::read(&two).unwrap();
    let again = onnx::write(&from, &two, &BTreeMap::new(), Replace::Never, same);
    assert!(matches!(again, Err(Error::Target { .. })), "{again:?}");
    assert_eq!(fs::read(&two).unwrap(), before);
    onnx::write(&from, &two, &BTreeMap::new(), Replace::Checkpoint, same).unwrap();
    assert!(onnx::open(&two).unwrap().weights.metadata().unwrap().is_empty());
    let onto_folder = onnx::write(&from, folder.0.path(), &BTreeMap::new(), Replace::Checkpoint, same);
    assert!(matches!(onto_folder, Err(Error::NotAFile { .. })), "{onto_folder:?}");
}

/// The older exporter stores parameters of equal elements once and gives the others their names by nodes.
#[test]
fn parameters_that_share_elements_are_written_apart() {
    let mut graph = perceptron();
    graph.tensors[2] = floats("unused", &[1], &[0.0]);
    graph.tensors.push(floats("2.twin", &[3], &ramp(3, 3)));
    graph.nodes.insert(0, node("Identity", "Identity_5", &["2.twin"], &["2.bias"], &[]));
    let folder = Folder::new();
    let (from, to) = (folder.put("a.onnx", &graph.model(17)), folder.0.path().join("b.onnx"));
    let old = onnx::open(&from).unwrap();
    assert_eq!(values(&old, "2.bias"), ramp(3, 3));
    onnx::write(&from, &to, &BTreeMap::new(), Replace::Never, |weight, bytes| {
        bytes.copy_from_slice(&weight.bytes());
        if weight.name() == "2.bias" {
            bytes.copy_from_slice(&[7.0f32, 8.0, 9.0].map(f32::to_le_bytes).concat());
        }
        Ok::<(), Error>(())
    })
    .unwrap();
    let new = onnx::open(&to).unwrap();
    assert_eq!(values(&new, "2.bias"), [7.0, 8.0, 9.0]);
    assert_eq!(values(&new, "0.bias"), values(&old, "0.bias"));
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    let mut graph = perceptron();
    graph.nodes[1] = node("NonMaxSuppression", "/1/Odd", &["/0/out"], &["/1/out"], &[]);
    let text = fault(&graph).to_string();
    assert!(text.contains("/1/Odd") && text.contains("NonMaxSuppression"), "{text}");
    let mut graph = perceptron();
    graph.nodes[1] = node("Relu", "/1/Relu", &["/0/out"], &["/1/out"], &[]).text(7, "com.example");
    let text = fault(&graph).to_string();
    assert!(text.contains("com.example::Relu"), "{text}");
}

#[test]
fn hostile_graphs_are_refused() {
    // A circle.
    let mut graph = perceptron();
    graph.nodes[1] = node("Add", "/1/Add", &["/0/out", "/2/out"], &["/1/out"], &[]);
    assert!(matches!(fault(&graph), OnnxFault::Undefined { .. }));
    // A value twice.
    let mut graph = perceptron();
    graph.nodes[1] = node("Relu", "/1/Relu", &["/0/out"], &["/0/out"], &[]);
    assert!(matches!(fault(&graph), OnnxFault::Duplicate { .. }));
    // A weight that does not fit its use.
    let mut graph = perceptron();
    graph.tensors[0] = floats("0.weight", &[4, 5], &ramp(20, 1));
    let text = fault(&graph).to_string();
    assert!(text.contains("/0/Gemm") && text.contains("[4, 5]"), "{text}");
    // A shape that its bytes do not make.
    for dims in [&[5, 5][..], &[1 << 62, 1 << 62], &[-5, -4], &[i64::MAX]] {
        let mut graph = perceptron();
        let raw: Vec<u8> = vec![0; 80];
        graph.tensors[0] = tensor("0.weight", dims, FLOAT).bytes(9, &raw);
        assert!(matches!(fault(&graph), OnnxFault::Initializer { .. }), "{dims:?}");
    }
    // An element type that is none.
    let mut graph = perceptron();
    graph.tensors[0] = tensor("0.weight", &[5, 4], 99).bytes(9, &[0; 80]);
    assert!(matches!(fault(&graph), OnnxFault::Initializer { .. }));
    // No output, no graph, nothing.
    let mut graph = perceptron();
    graph.outputs = vec![info("z", FLOAT, &[])];
    assert!(matches!(fault(&graph), OnnxFault::Undefined { .. }));
    assert!(matches!(fault_of(b""), OnnxFault::NoGraph));
    assert!(matches!(fault_of(&perceptron().model(11)), OnnxFault::Opset { found: 11 }));
    // A window larger than the image, a group that divides nothing, a step of zero.
    for (key, value) in [
        ("pads", &[0i64, 0, -5, -5][..]),
        ("strides", &[0, 0]),
        ("dilations", &[i64::MAX, 1]),
        ("kernel_shape", &[30, 30]),
    ] {
        let mut graph = convolutional();
        graph.nodes[0] =
            node("Conv", "/conv/Conv", &["x", "conv.weight"], &["a"], &[(key, Attr::Ints(value))]);
        assert!(matches!(fault(&graph), OnnxFault::Operator { .. } | OnnxFault::Network(_)), "{key}");
    }
    // A reshape to something far too large.
    let mut graph = transformer();
    graph.tensors[13] = ints("back", &[i64::MAX, i64::MAX, 24]);
    assert!(matches!(fault(&graph), OnnxFault::Operator { .. }));
}

#[test]
fn deep_and_wide_files_end_in_time() {
    // Functions that call each other without end.
    let call = node("F", "f", &["a"], &["b"], &[]).text(7, "f");
    let function = Message::default().text(1, "F").text(4, "a").text(5, "b").message(7, &call).text(10, "f");
    let mut graph = perceptron();
    graph.nodes[1] = node("F", "/1/F", &["/0/out"], &["/1/out"], &[]).text(7, "f");
    let bytes = Message(graph.model(17)).message(25, &function).0;
    assert!(matches!(fault_of(&bytes), OnnxFault::Limit { .. }));
    // Branches in branches in the file itself.
    let mut inner = Graph::default().message();
    for _ in 0..40 {
        let branch = node("If", "if", &["c"], &["o"], &[("then_branch", Attr::Graph(inner.clone()))]);
        inner = Graph { nodes: vec![branch], ..Graph::default() }.message();
    }
    let bytes = Message::default().message(7, &inner).message(8, &Message::default().int(2, 17)).0;
    assert!(matches!(fault_of(&bytes), OnnxFault::Wire(_)));
    // A long chain of sums, of which one value comes back again and again.
    let mut graph = perceptron();
    graph.nodes = vec![node("Relu", "r", &["x"], &["v0"], &[])];
    for at in 0..4000 {
        graph.nodes.push(node(
            "Add",
            "a",
            &[&format!("v{at}"), &format!("v{at}")],
            &[&format!("v{}", at + 1)],
            &[],
        ));
    }
    graph.nodes.push(node("Relu", "r", &["v4000"], &["y"], &[]));
    assert!(open(&graph).is_ok());
}

/// A branch whose condition is known is taken; others are refused.
#[test]
fn known_branches_are_taken() {
    let branch = |op: &str| {
        let graph = Graph {
            nodes: vec![node(op, "b", &["/0/out"], &["inner"], &[])],
            outputs: vec![info("inner", FLOAT, &[])],
            ..Graph::default()
        };
        graph.message()
    };
    let mut graph = perceptron();
    graph.tensors.push(tensor("cond", &[], 9).bytes(9, &[1]));
    let attrs = [("then_branch", Attr::Graph(branch("Tanh"))), ("else_branch", Attr::Graph(branch("Relu")))];
    graph.nodes[1] = node("If", "/1/If", &["cond"], &["/1/out"], &attrs);
    let model = open(&graph).unwrap();
    assert!(model.network.nodes().iter().any(|node| node.op == Op::Activation(Activation::Tanh)));
    assert!(!model.network.nodes().iter().any(|node| node.op == Op::Activation(Activation::Relu)));
}
