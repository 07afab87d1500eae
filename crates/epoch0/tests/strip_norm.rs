//! Taking normalizations out of ONNX files, and putting single numbers in.

#[path = "../../epoch0-format/tests/onnx_models/mod.rs"]
mod onnx_models;

use std::fs;

use epoch0::format::Replace;
use epoch0::net::Role;
use epoch0::{Described, Options, initialize, strip_norm};
use onnx_models::{Attr, Dim, FLOAT, Graph, floats, info, node, ramp};

/// A stem, two residual blocks of two maps, and a readout; the norms are those of the first block's maps, where there are any.
fn residual(with_norms: bool) -> Graph {
    let gemm = |name: &str, from: &str, to: &str| {
        let inputs = [from.to_owned(), format!("{name}.weight"), format!("{name}.bias")];
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        node("Gemm", &format!("/{name}/Gemm"), &inputs, &[to], &[("transB", Attr::Int(1))])
    };
    let norm = |name: &str, from: &str, to: &str| {
        let inputs = ["weight", "bias", "running_mean", "running_var"].map(|leaf| format!("{name}.{leaf}"));
        let inputs: Vec<&str> = std::iter::once(from).chain(inputs.iter().map(String::as_str)).collect();
        node("BatchNormalization", &format!("/{name}"), &inputs, &[to], &[("epsilon", Attr::Float(1e-5))])
    };
    let act = |from: &str, to: &str| node("Relu", &format!("/{to}/Relu"), &[from], &[to], &[]);
    let mut nodes = vec![gemm("stem", "x", "s"), act("s", "h0")];
    let mut tensors = Vec::new();
    for (block, input, output) in [("a", "h0", "h1"), ("b", "h1", "h2")] {
        let value = |part: &str| format!("{block}_{part}");
        let has_norm = with_norms && block == "a";
        nodes.push(gemm(&format!("{block}.fc1"), input, &value("1")));
        if has_norm {
            nodes.push(norm(&format!("{block}.bn1"), &value("1"), &value("2")));
        }
        nodes.push(act(&value(if has_norm { "2" } else { "1" }), &value("3")));
        nodes.push(gemm(&format!("{block}.fc2"), &value("3"), &value("4")));
        if has_norm {
            nodes.push(norm(&format!("{block}.bn2"), &value("4"), &value("5")));
        }
        let term = value(if has_norm { "5" } else { "4" });
        nodes.push(node("Add", &format!("/{block}/Add"), &[input, &term], &[output], &[]));
        for bn in ["bn1", "bn2"].into_iter().filter(|_| has_norm) {
            for leaf in ["weight", "bias", "running_mean", "running_var"] {
                tensors.push(floats(&format!("{block}.{bn}.{leaf}"), &[4], &[0.5, 1.5, 2.5, 0.25]));
            }
        }
    }
    nodes.push(gemm("head", "h2", "y"));
    let sizes =
        [("stem", 4, 5), ("a.fc1", 4, 4), ("a.fc2", 4, 4), ("b.fc1", 4, 4), ("b.fc2", 4, 4), ("head", 3, 4)];
    for (seed, (name, out, in_)) in sizes.into_iter().enumerate() {
        tensors.push(floats(&format!("{name}.weight"), &[out, in_], &ramp((out * in_) as usize, seed)));
        tensors.push(floats(&format!("{name}.bias"), &[out], &ramp(out as usize, seed + 9)));
    }
    Graph {
        nodes,
        tensors,
        inputs: vec![info("x", FLOAT, &[Dim::Size(2), Dim::Size(5)])],
        outputs: vec![info("y", FLOAT, &[Dim::Size(2), Dim::Size(3)])],
    }
}

#[test]
fn single_numbers_stand_where_norms_stood() {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name);
    for with_norms in [true, false] {
        let (from, to, out) = (path("from.onnx"), path("to.onnx"), path("out.onnx"));
        for old in [&to, &out] {
            let _ = fs::remove_file(old);
        }
        fs::write(&from, residual(with_norms).model(17)).unwrap();
        let done = strip_norm(&from, &to, Replace::Never).unwrap();
        // Two branches; before four maps and the readout, and in the place of two norms.
        let norms = if with_norms { 2 } else { 0 };
        assert_eq!((done.norms.len(), done.kept.len(), done.factors, done.shifts), (norms, 0, 2, 5 + norms));
        let described = Described::open(&to.to_string_lossy()).unwrap();
        let names = |role: Role| {
            let params = described.net.params().iter().filter(|param| param.role == role && param.len() == 1);
            params.map(|param| param.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(Role::Scalar).len(), 2, "{:?}", names(Role::Scalar));
        assert_eq!(names(Role::Bias).len(), 5 + norms, "{:?}", names(Role::Bias));
        assert!(described.net.branch_ends().iter().all(|end| end.factor.is_some()));
        assert!(!described.net.params().iter().any(|param| param.role == Role::RunningMean));
        initialize(&described, &described.recipe_with("fixup"), &out, &Options::default()).unwrap();
        // A start that Fixup draws answers 0.
        let described = Described::open(&out.to_string_lossy()).unwrap();
        let weights =
            described.own_weights(epoch0::engine::Precision::Double, &epoch0::engine::Device::cpu());
        let weights = weights.unwrap().unwrap();
        let value = |name: &str| weights.get(described.net.find(name).unwrap()).unwrap().to_f64();
        assert_eq!(value("head.weight"), [0.0; 12]);
        assert_eq!(value("b.fc2.factor"), [1.0]);
        assert_eq!(value("b.fc1.shift_in"), [0.0]);
    }
}

#[test]
fn what_has_no_branches_is_refused_and_nothing_written() {
    let room = tempfile::tempdir().unwrap();
    let (from, to) = (room.path().join("from.onnx"), room.path().join("to.onnx"));
    // The stem and the readout alone.
    let mut graph = residual(false);
    let head = ["h0", "head.weight", "head.bias"];
    graph.nodes.truncate(2);
    graph.nodes.push(node("Gemm", "/head/Gemm", &head, &["y"], &[("transB", Attr::Int(1))]));
    graph.tensors.drain(2..10);
    fs::write(&from, graph.model(17)).unwrap();
    let error = strip_norm(&from, &to, Replace::Never).unwrap_err().to_string();
    assert!(error.contains("no residual branches") && error.contains("hint: "), "{error}");
    assert!(!to.exists());
    let error = strip_norm(&room.path().join("none.onnx"), &to, Replace::Never).unwrap_err().to_string();
    assert!(error.contains("none.onnx"), "{error}");
}
