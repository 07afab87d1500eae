//! Small ONNX models, written field by field.

#![allow(dead_code, reason = "each test binary uses some of it")]

/// A message of protocol buffers in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn int(mut self, field: u32, value: i64) -> Self {
        self.varint(u64::from(field) << 3);
        self.varint(value as u64);
        self
    }

    pub(crate) fn float(mut self, field: u32, value: f32) -> Self {
        self.varint(u64::from(field) << 3 | 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(mut self, field: u32, bytes: &[u8]) -> Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    pub(crate) fn text(self, field: u32, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub(crate) fn message(self, field: u32, message: &Message) -> Self {
        self.bytes(field, &message.0)
    }
}

pub(crate) const FLOAT: i64 = 1;
pub(crate) const INT64: i64 = 7;

/// A tensor of 32-bit floats.
pub(crate) fn floats(name: &str, dims: &[i64], values: &[f32]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, dims, FLOAT).bytes(9, &raw)
}

/// A tensor of 64-bit integers.
pub(crate) fn ints(name: &str, values: &[i64]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, &[values.len() as i64], INT64).bytes(9, &raw)
}

/// A tensor without elements.
pub(crate) fn tensor(name: &str, dims: &[i64], elem: i64) -> Message {
    dims.iter().fold(Message::default(), |message, &dim| message.int(1, dim)).int(2, elem).text(8, name)
}

/// Numbers that are all different, near 0.
pub(crate) fn ramp(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|at| ((at * 37 + seed * 101) % 997) as f32 / 997.0 - 0.5).collect()
}

/// An attribute.
pub(crate) enum Attr<'a> {
    Int(i64),
    Float(f32),
    Text(&'a str),
    Ints(&'a [i64]),
    Tensor(Message),
    Graph(Message),
}

fn attr(name: &str, attr: &Attr<'_>) -> Message {
    let message = Message::default().text(1, name);
    match attr {
        Attr::Float(value) => message.float(2, *value).int(20, 1),
        Attr::Int(value) => message.int(3, *value).int(20, 2),
        Attr::Text(text) => message.text(4, text).int(20, 3),
        Attr::Tensor(tensor) => message.message(5, tensor).int(20, 4),
        Attr::Graph(graph) => message.message(6, graph).int(20, 5),
        Attr::Ints(values) => values.iter().fold(message, |message, &value| message.int(8, value)).int(20, 7),
    }
}

/// A node.
pub(crate) fn node(
    op: &str,
    name: &str,
    inputs: &[&str],
    outputs: &[&str],
    attrs: &[(&str, Attr<'_>)],
) -> Message {
    let mut message = Message::default();
    for input in inputs {
        message = message.text(1, input);
    }
    for output in outputs {
        message = message.text(2, output);
    }
    message = message.text(3, name).text(4, op);
    for (key, value) in attrs {
        message = message.message(5, &attr(key, value));
    }
    message
}

/// A size: a number or a name.
#[derive(Clone, Copy)]
pub(crate) enum Dim<'a> {
    Size(i64),
    Name(&'a str),
}

/// An input or output.
pub(crate) fn info(name: &str, elem: i64, dims: &[Dim<'_>]) -> Message {
    let shape = dims.iter().fold(Message::default(), |shape, dim| {
        let dim = match dim {
            Dim::Size(size) => Message::default().int(1, *size),
            Dim::Name(name) => Message::default().text(2, name),
        };
        shape.message(1, &dim)
    });
    let tensor = Message::default().int(1, elem).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}

/// The parts of a graph.
#[derive(Clone, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Message>,
    pub(crate) tensors: Vec<Message>,
    pub(crate) inputs: Vec<Message>,
    pub(crate) outputs: Vec<Message>,
}

impl Graph {
    pub(crate) fn message(&self) -> Message {
        let mut graph = Message::default().text(2, "main_graph");
        for (field, parts) in [(1, &self.nodes), (5, &self.tensors), (11, &self.inputs), (12, &self.outputs)]
        {
            for part in parts {
                graph = graph.message(field, part);
            }
        }
        graph
    }

    /// The model's file, of an operator set.
    pub(crate) fn model(&self, opset: i64) -> Vec<u8> {
        let set = Message::default().text(1, "").int(2, opset);
        Message::default()
            .int(1, 8)
            .text(2, "pytorch")
            .text(3, "2.9")
            .message(7, &self.message())
            .message(8, &set)
            .0
    }
}

/// A perceptron as the older exporter writes it: one weight under its name, one transposed under a name of its own.
pub(crate) fn perceptron() -> Graph {
    Graph {
        nodes: vec![
            node("Gemm", "/0/Gemm", &["x", "0.weight", "0.bias"], &["/0/out"], &[("transB", Attr::Int(1))]),
            node("Relu", "/1/Relu", &["/0/out"], &["/1/out"], &[]),
            node("MatMul", "/2/MatMul", &["/1/out", "onnx::MatMul_9"], &["/2/out"], &[]),
            node("Add", "/2/Add", &["2.bias", "/2/out"], &["y"], &[]),
        ],
        tensors: vec![
            floats("0.weight", &[5, 4], &ramp(20, 1)),
            floats("0.bias", &[5], &ramp(5, 2)),
            floats("2.bias", &[3], &ramp(3, 3)),
            floats("onnx::MatMul_9", &[5, 3], &ramp(15, 4)),
        ],
        inputs: vec![info("x", FLOAT, &[Dim::Size(2), Dim::Size(4)])],
        outputs: vec![info("y", FLOAT, &[Dim::Size(2), Dim::Size(3)])],
    }
}

/// A convolution, a batch norm, a residual sum, a pooling and a readout.
pub(crate) fn convolutional() -> Graph {
    let window: &[(&str, Attr<'_>)] = &[
        ("pads", Attr::Ints(&[1, 1, 1, 1])),
        ("kernel_shape", Attr::Ints(&[3, 3])),
        ("strides", Attr::Ints(&[1, 1])),
    ];
    Graph {
        nodes: vec![
            node("Conv", "/conv/Conv", &["x", "conv.weight"], &["a"], window),
            node(
                "BatchNormalization",
                "/bn/BatchNormalization",
                &["a", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"],
                &["b"],
                &[("epsilon", Attr::Float(1e-5))],
            ),
            node("Relu", "/relu/Relu", &["b"], &["c"], &[]),
            node("Conv", "/layer1/layer1.0/conv/Conv", &["c", "layer1.0.conv.weight"], &["d"], window),
            node("Add", "/layer1/layer1.0/Add", &["d", "c"], &["e"], &[]),
            node("GlobalAveragePool", "/pool/GlobalAveragePool", &["e"], &["f"], &[]),
            node("Flatten", "/Flatten", &["f"], &["g"], &[("axis", Attr::Int(1))]),
            node("Gemm", "/fc/Gemm", &["g", "fc.weight", "fc.bias"], &["y"], &[("transB", Attr::Int(1))]),
        ],
        tensors: vec![
            floats("conv.weight", &[4, 2, 3, 3], &ramp(72, 1)),
            floats("bn.weight", &[4], &ramp(4, 2)),
            floats("bn.bias", &[4], &ramp(4, 3)),
            floats("bn.running_mean", &[4], &ramp(4, 4)),
            floats("bn.running_var", &[4], &[1.0, 2.0, 3.0, 4.0]),
            floats("layer1.0.conv.weight", &[4, 4, 3, 3], &ramp(144, 5)),
            floats("fc.weight", &[3, 4], &ramp(12, 6)),
            floats("fc.bias", &[3], &ramp(3, 7)),
        ],
        inputs: vec![info("x", FLOAT, &[Dim::Size(1), Dim::Size(2), Dim::Size(6), Dim::Size(6)])],
        outputs: vec![info("y", FLOAT, &[Dim::Size(1), Dim::Size(3)])],
    }
}

/// A block of a transformer with one head's worth of everything: embedding, layer norm, attention, GELU by parts.
pub(crate) fn transformer() -> Graph {
    let sizes = |name: &str, values: &[i64]| ints(name, values);
    let mut graph = Graph {
        tensors: vec![
            floats("wte.weight", &[7, 8], &ramp(56, 1)),
            floats("h.0.ln.weight", &[8], &ramp(8, 2)),
            floats("h.0.ln.bias", &[8], &ramp(8, 3)),
            floats("h.0.attn.c_attn.weight", &[8, 24], &ramp(192, 4)),
            floats("h.0.attn.c_attn.bias", &[24], &ramp(24, 5)),
            floats("onnx::MatMul_1", &[8, 8], &ramp(64, 6)),
            floats("h.0.attn.proj.bias", &[8], &ramp(8, 7)),
            floats("val_1", &[], &[2.0]),
            floats("zeros_1", &[], &[0.353_553_4]),
            floats("val_2", &[], &[0.5]),
            floats("ones", &[], &[1.0]),
            floats("val_3", &[], &[std::f32::consts::SQRT_2]),
            sizes("flat", &[-1, 8]),
            sizes("back", &[2, 3, 24]),
            sizes("heads", &[2, 3, 2, 4]),
            sizes("whole", &[2, 3, 8]),
        ],
        inputs: vec![info("ids", INT64, &[Dim::Size(2), Dim::Size(3)])],
        outputs: vec![info("y", FLOAT, &[Dim::Size(2), Dim::Size(3), Dim::Size(8)])],
        nodes: Vec::new(),
    };
    let mut add = |op: &str, name: &str, inputs: &[&str], output: &str, attrs: &[(&str, Attr<'_>)]| {
        graph.nodes.push(node(op, name, inputs, &[output], attrs));
    };
    let swap: &[(&str, Attr<'_>)] = &[("perm", Attr::Ints(&[0, 2, 1, 3]))];
    add("Gather", "/wte/Gather", &["wte.weight", "ids"], "x", &[("axis", Attr::Int(0))]);
    add(
        "LayerNormalization",
        "/h.0/ln/LayerNormalization",
        &["x", "h.0.ln.weight", "h.0.ln.bias"],
        "n",
        &[("axis", Attr::Int(-1))],
    );
    add("Reshape", "/h.0/attn/c_attn/Reshape", &["n", "flat"], "n2", &[]);
    add(
        "Gemm",
        "/h.0/attn/c_attn/Gemm",
        &["n2", "h.0.attn.c_attn.weight", "h.0.attn.c_attn.bias"],
        "p2",
        &[],
    );
    add("Reshape", "/h.0/attn/c_attn/Reshape_1", &["p2", "back"], "p", &[]);
    graph.nodes.push(node(
        "Split",
        "/h.0/attn/Split",
        &["p"],
        &["q", "k", "v"],
        &[("axis", Attr::Int(2)), ("num_outputs", Attr::Int(3))],
    ));
    let mut add = |op: &str, name: &str, inputs: &[&str], output: &str, attrs: &[(&str, Attr<'_>)]| {
        graph.nodes.push(node(op, name, inputs, &[output], attrs));
    };
    for (from, to) in [("q", "qh"), ("k", "kh"), ("v", "vh")] {
        add("Reshape", &format!("/h.0/attn/{to}"), &[from, "heads"], &format!("{to}r"), &[]);
        let order: &[(&str, Attr<'_>)] =
            if to == "kh" { &[("perm", Attr::Ints(&[0, 2, 3, 1]))] } else { swap };
        add("Transpose", &format!("/h.0/attn/{to}t"), &[&format!("{to}r")], to, order);
    }
    add("MatMul", "/h.0/attn/MatMul", &["qh", "kh"], "s", &[]);
    add("Mul", "/h.0/attn/Mul", &["s", "zeros_1"], "s2", &[]);
    add("Softmax", "/h.0/attn/Softmax", &["s2"], "w", &[("axis", Attr::Int(-1))]);
    add("MatMul", "/h.0/attn/MatMul_1", &["w", "vh"], "o", &[]);
    add("Transpose", "/h.0/attn/Transpose", &["o"], "ot", swap);
    add("Reshape", "/h.0/attn/Reshape", &["ot", "whole"], "oj", &[]);
    add("MatMul", "/h.0/attn/proj/MatMul", &["oj", "onnx::MatMul_1"], "m", &[]);
    add("Add", "/h.0/attn/proj/Add", &["h.0.attn.proj.bias", "m"], "mb", &[]);
    // GELU by parts: x · (1 + erf(x / √2)) / 2.
    add("Div", "/h.0/act/Div", &["mb", "val_3"], "g1", &[]);
    add("Erf", "/h.0/act/Erf", &["g1"], "g2", &[]);
    add("Add", "/h.0/act/Add", &["g2", "ones"], "g3", &[]);
    add("Mul", "/h.0/act/Mul", &["mb", "g3"], "g4", &[]);
    add("Mul", "/h.0/act/Mul_1", &["g4", "val_2"], "g5", &[]);
    add("Add", "/h.0/Add", &["g5", "x"], "y", &[]);
    graph
}

/// A recurrent layer of a cell in both directions, with weights as ONNX packs them.
pub(crate) fn recurrent(op: &str) -> Graph {
    let (gates, n_states) = match op {
        "LSTM" => (4, 2),
        "GRU" => (3, 1),
        _ => (1, 1),
    };
    let (hidden, inputs) = (3, 2);
    let rows = gates * hidden;
    let mut attrs = vec![("hidden_size", Attr::Int(hidden)), ("direction", Attr::Text("bidirectional"))];
    if op == "GRU" {
        attrs.push(("linear_before_reset", Attr::Int(1)));
    }
    let outputs: &[&str] = if n_states == 2 { &["all", "h", "c"] } else { &["all", "h"] };
    Graph {
        nodes: vec![
            node(op, &format!("/rnn/{op}"), &["x", "onnx::R_1", "onnx::R_2", "onnx::R_3"], outputs, &attrs),
            node("Transpose", "/rnn/Transpose", &["all"], &["t"], &[("perm", Attr::Ints(&[0, 2, 1, 3]))]),
            node("Reshape", "/rnn/Reshape", &["t", "shape"], &["y"], &[]),
        ],
        tensors: vec![
            floats("onnx::R_1", &[2, rows, inputs], &ramp((2 * rows * inputs) as usize, 1)),
            floats("onnx::R_2", &[2, rows, hidden], &ramp((2 * rows * hidden) as usize, 2)),
            floats("onnx::R_3", &[2, 2 * rows], &ramp((4 * rows) as usize, 3)),
            ints("shape", &[0, 0, -1]),
        ],
        inputs: vec![info("x", FLOAT, &[Dim::Size(5), Dim::Size(4), Dim::Size(inputs)])],
        outputs: vec![info("y", FLOAT, &[Dim::Size(5), Dim::Size(4), Dim::Size(2 * hidden)])],
    }
}
