//! LSUV: what only this method can get wrong.

use epoch0_engine::{Device, Mode, Precision, Tensor, Value, Var, Weights, run};
use epoch0_net::{
    Attention, Builder, Cell, Linear, NamedLinear, NamedRecurrent, Network, NormKind, Op, Role, Source,
    Window, zoo,
};
use epoch0_num::{Activation, Dtype, Law, Stream};

use epoch0_init::METHODS;
use epoch0_init::calibrate::{Calibration, Calibrator, Error, Layer, State, calibrate};
use epoch0_init::lsuv::Lsuv;
use epoch0_init::start::{Plan, Recipe, Setting, Use};

/// Inputs of `n` examples: standard normal numbers times `scale`, words below 7.
fn batch(net: &Network, n: usize, scale: f64, seed: u64) -> Vec<Value> {
    let input = |(nth, id): (usize, &epoch0_net::ValueId)| {
        let value = net.value(*id);
        let sizes = value.dims.iter().map(|&axis| net.axis(axis).size);
        let shape: Vec<usize> =
            sizes.enumerate().map(|(dim, size)| size.unwrap_or(if dim == 0 { n } else { 6 })).collect();
        let len = shape.iter().product();
        let stream = Stream::new(seed, &format!("input {nth}"));
        if value.is_index {
            return Value::index((0..len as u64).map(|at| stream.below(at, 7) as i64).collect(), &shape)
                .unwrap();
        }
        let mut values = vec![0.0f32; len];
        Law::normal(0.0, scale).fill(&stream, 0, &mut values).unwrap();
        Value::constant(Tensor::from_f32(values, &shape, Precision::Single, &Device::cpu()))
    };
    net.inputs().iter().enumerate().map(input).collect()
}

fn recipe(set: &[(&str, epoch0_method::Value)]) -> Recipe {
    let set = set.iter().map(|(name, value)| ((*name).to_owned(), Setting::One(value.clone()))).collect();
    let calibrate = Some(Use { with: "lsuv".to_owned(), set });
    Recipe { base: Some(Use::new("pytorch_default")), calibrate, ..Recipe::default() }
}

/// Weights as drawn, and as calibrated.
fn started(
    net: &Network,
    recipe: &Recipe,
    inputs: &[Value],
) -> Result<(Weights, Weights, Calibration), Error> {
    let plan = Plan::new(METHODS, net, recipe, 7).unwrap();
    let drawn = plan.weights(Precision::Single, &Device::cpu())?;
    let (id, method) = recipe.calibrator()?.unwrap();
    let (weights, done) = calibrate(id, &*method, net, &drawn, &inputs.to_vec().into())?;
    Ok((drawn, weights, done))
}

fn layer<'a>(done: &'a Calibration, name: &str) -> &'a Layer {
    done.layers.iter().find(|layer| layer.name == name).unwrap_or_else(|| panic!("{name} in {done:#?}"))
}

fn values(net: &Network, weights: &Weights, name: &str) -> Vec<f64> {
    weights.get(net.find(name).unwrap()).unwrap().to_f64()
}

/// Standard deviation of the output of each linear map and convolution, as a plain run of the network has it.
fn stds(net: &Network, weights: &Weights, inputs: &[Value]) -> Result<Vec<f64>, epoch0_engine::Error> {
    let mut found = Vec::new();
    run(net, &weights.constants(), inputs, Mode::Train, &mut |done| {
        let is_map = matches!(done.node.op, Op::Linear { .. } | Op::Conv { .. });
        let output = done.outputs.first().and_then(Value::real).filter(|_| is_map);
        found.extend(output.map(|y| std_of(&y.value().to_f64())));
        Ok(())
    })?;
    Ok(found)
}

fn std_of(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// Asserts that every layer is within the tolerance, as a plain run of the network finds it too.
fn passes(net: &Network, weights: &Weights, inputs: &[Value], done: &Calibration) {
    assert!(done.missed().next().is_none(), "{done:#?}");
    let found: Vec<f64> = stds(net, weights, inputs).unwrap();
    assert!(found.iter().all(|std| (std * std - 1.0).abs() < 0.1 + 1e-3), "{}: {found:?}", net.name());
}

#[test]
fn every_layer_has_unit_variance_after_one_division() {
    for spec in ["mlp:20-64-64-64-64-5", "mlp:20-64-64-5,act=tanh,norm=layer", "lenet", "lenet:templates=3"] {
        let net = zoo::build(spec).unwrap();
        let inputs = batch(&net, 256, 1.0, 0);
        let (_, weights, done) = started(&net, &recipe(&[]), &inputs).unwrap();
        assert!(done.layers.iter().all(|layer| layer.iterations <= 1), "{done:#?}");
        assert_eq!(done.passes, 1.0, "{spec}");
        passes(&net, &weights, &inputs, &done);
        let fresh = stds(&net, &weights, &batch(&net, 256, 1.0, 1)).unwrap();
        assert!(fresh.iter().all(|std| (std - 1.0).abs() < 0.1), "{spec}: {fresh:?}");
    }
}

#[test]
fn directions_are_kept() {
    let net = zoo::build("mlp:20-64-32-64-5").unwrap();
    let inputs = batch(&net, 128, 3.0, 0);
    let (before, after, done) = started(&net, &recipe(&[]), &inputs).unwrap();
    for layer in &done.layers {
        let (drawn, weights) = (values(&net, &before, &layer.name), values(&net, &after, &layer.name));
        for (drawn, weight) in drawn.iter().zip(&weights) {
            assert_eq!(*weight, f64::from((drawn * layer.factor) as f32), "{}", layer.name);
        }
        let shape = &net.param(net.find(&layer.name).unwrap()).shape;
        let (rows, columns) = (shape[0], shape[1]);
        let square = layer.factor * layer.factor;
        let at = |row: usize, column: usize| weights[row * columns + column];
        let (short, long) = (rows.min(columns), rows.max(columns));
        for i in 0..short {
            for j in 0..short {
                let term = |k: usize| if rows <= columns { at(i, k) * at(j, k) } else { at(k, i) * at(k, j) };
                let product: f64 = (0..long).map(term).sum();
                let wanted = if i == j { square } else { 0.0 };
                assert!((product - wanted).abs() < 1e-5 * square, "{} at {i}, {j}", layer.name);
            }
        }
    }
}

#[test]
fn layers_are_taken_in_the_order_in_which_they_run() {
    let mut b = Builder::new("crossed", Source::Built, Dtype::F32);
    let x = b.input("x", &[None, Some(16)]);
    // Declared from the last to the first.
    for name in ["c.weight", "b.weight", "a.weight"] {
        b.param(name, &[16, 16], Role::Weight);
    }
    let mut y = x;
    for name in ["a.weight", "b.weight", "c.weight"] {
        let named = NamedLinear {
            weight: name,
            bias: None,
            out: 16,
            role: Role::Weight,
            layout: epoch0_net::Layout::OutIn,
        };
        y = b.linear_named(y, &named);
        y = b.activation(y, Activation::Relu);
    }
    let y = b.add(&[x, y]);
    b.output(y, "y");
    b.prune();
    let net = b.finish().unwrap();
    assert_eq!(net.params()[0].name, "c.weight");
    let inputs = batch(&net, 200, 5.0, 0);
    let (_, weights, done) = started(&net, &recipe(&[]), &inputs).unwrap();
    let names: Vec<&str> = done.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["a.weight", "b.weight", "c.weight"]);
    passes(&net, &weights, &inputs, &done);
}

#[test]
fn first_and_last_layers_are_corrected() {
    let net = zoo::build("mlp:50-64-64-10").unwrap();
    let of = |scale: f64| started(&net, &recipe(&[]), &batch(&net, 500, scale, 0)).unwrap().2;
    let (plain, large) = (of(1.0), of(10.0));
    let ratio = large.layers[0].factor / plain.layers[0].factor;
    assert!((ratio - 0.1).abs() < 1e-6, "{ratio}");
    // The input is 10 times as large; its variance after an orthonormal map with more rows than columns is 100 · 50 / 64.
    assert!((large.layers[0].factor / 0.1 / (64.0 / 50.0f64).sqrt() - 1.0).abs() < 0.05, "{large:#?}");
    for layer in &large.layers[1..] {
        assert!(layer.iterations == 1 && layer.factor > 1.2, "ReLU halves the second moment: {layer:?}");
    }
}

fn attention(heads: usize) -> Attention {
    Attention { heads, kv_heads: heads, scale: 0.5, causal: true, window: None, rope: None, softcap: None }
}

#[test]
fn packed_tied_and_looked_up_weights() {
    for layout_in_out in [false, true] {
        let mut b = Builder::new("attention", Source::Built, Dtype::F32);
        let ids = b.index_input("ids", &[None, None]);
        let x = b.embedding(ids, "words", 9, 32, Role::Embedding, Some(8));
        let qkv = Linear::new(96).bias(true);
        let qkv = b.linear(x, "qkv", if layout_in_out { qkv.in_out() } else { qkv });
        let parts = b.split(qkv, &[("q", 32), ("k", 32), ("v", 32)]);
        let y = b.attention(parts[0], parts[1], parts[2], None, attention(4));
        let y = b.linear(y, "out", Linear::new(32));
        let y = b.linear_tied(y, "words.weight", None);
        b.output(y, "logits");
        let net = b.finish().unwrap();
        let inputs = batch(&net, 64, 1.0, 0);
        let (before, weights, done) = started(&net, &recipe(&[("tol", 1e-6.into_value())]), &inputs).unwrap();
        assert!(done.missed().next().is_none(), "{done:#?}");
        for part in ["q", "k", "v"] {
            let layer = layer(&done, &format!("qkv.weight[{part}]"));
            assert!((layer.after.std - 1.0).abs() < 1e-6 && layer.factor != 1.0, "{layer:?}");
        }
        let factors: Vec<f64> =
            ["q", "k", "v"].map(|part| layer(&done, &format!("qkv.weight[{part}]")).factor).to_vec();
        assert!(factors[0] != factors[1] && factors[1] != factors[2], "each part has its own: {factors:?}");
        // Element (output 40, input 5) is the key part's.
        let at = if layout_in_out { 5 * 96 + 40 } else { 40 * 32 + 5 };
        let (drawn, now) =
            (values(&net, &before, "qkv.weight")[at], values(&net, &weights, "qkv.weight")[at]);
        assert_eq!(now, f64::from((drawn * factors[1]) as f32));
        let words = values(&net, &weights, "words.weight");
        for row in words.chunks(32).take(8) {
            assert!((std_of(row) - 1.0).abs() < 1e-6);
        }
        assert!(words[8 * 32..].iter().all(|&word| word == 0.0), "the padding word stays zero");
        let last = done.layers.last().unwrap();
        assert_eq!((last.name.as_str(), last.state), ("words.weight", State::Left));
        assert!(last.note.as_ref().unwrap().contains("tied"), "{last:?}");
        let found = stds(&net, &weights, &inputs).unwrap();
        assert!((found[0] - 1.0).abs() < 0.1, "queries, keys and values together: {found:?}");
    }
}

#[test]
fn convolutions_of_all_kinds() {
    let mut b = Builder::new("conv", Source::Built, Dtype::F32);
    let x = b.input("x", &[None, Some(8), Some(10), Some(10)]);
    let x = b.conv(x, "plain", 12, Window::square(3, 2, 1), 1, true);
    let x = b.activation(x, Activation::Relu);
    let x = b.conv(x, "depthwise", 12, Window::square(3, 1, 1), 12, false);
    let x = b.conv(x, "grouped", 18, Window::square(1, 1, 0), 3, true);
    let x = b.activation(x, Activation::Relu);
    let up = epoch0_net::NamedConv {
        weight: "up.weight",
        bias: Some("up.bias"),
        out: 6,
        window: Window::square(2, 2, 0),
        groups: 2,
        transposed: true,
    };
    let x = b.conv_named(x, &up);
    b.output(x, "y");
    let net = b.finish().unwrap();
    let inputs = batch(&net, 64, 2.0, 0);
    let (_, weights, done) = started(&net, &recipe(&[]), &inputs).unwrap();
    assert_eq!(done.layers.len(), 4);
    passes(&net, &weights, &inputs, &done);
}

#[test]
fn recurrent_layers_gate_by_gate() {
    for (cell, reverse) in [(Cell::Lstm, false), (Cell::Gru, true), (Cell::Tanh, false)] {
        let mut b = Builder::new("recurrent", Source::Built, Dtype::F32);
        let x = b.input("x", &[Some(5), None, Some(8)]);
        let states: Vec<_> = ["h", "c"][..if cell == Cell::Lstm { 2 } else { 1 }]
            .iter()
            .map(|name| b.input(name, &[None, Some(16)]))
            .collect();
        let layer = NamedRecurrent {
            cell,
            hidden: 16,
            input_weight: "w_ih",
            state_weight: "w_hh",
            biases: Some(["b_ih", "b_hh"]),
            reverse,
        };
        let made = b.recurrent(x, &states, &layer);
        let y = b.linear(made[0], "out", Linear::new(3));
        b.output(y, "y");
        let net = b.finish().unwrap();
        let shape = |shape: &[usize], seed: u64| {
            let mut values = vec![0.0f32; shape.iter().product()];
            Law::normal(0.0, 2.0).fill(&Stream::new(seed, "x"), 0, &mut values).unwrap();
            Tensor::from_f32(values, shape, Precision::Single, &Device::cpu())
        };
        let x = shape(&[5, 32, 8], 0);
        let mut inputs = vec![Value::constant(x.clone())];
        inputs.extend(states.iter().map(|_| Value::constant(x.full_like(0.0, &[32, 16]))));
        let (before, weights, done) = started(&net, &recipe(&[]), &inputs).unwrap();
        let w = Var::constant(weights.get(net.find("w_ih").unwrap()).unwrap().clone());
        let product = Var::constant(x).matmul(&w.swap(0, 1)).value().to_f64();
        for gate in 0..cell.gates() {
            let own: Vec<f64> = product
                .chunks(cell.gates() * 16)
                .flat_map(|row| row[gate * 16..(gate + 1) * 16].iter().copied())
                .collect();
            assert!((std_of(&own) - 1.0).abs() < 1e-5, "{cell:?}, gate {gate}: {}", std_of(&own));
        }
        assert_eq!(values(&net, &before, "w_hh"), values(&net, &weights, "w_hh"));
        assert!((layer_std(&done, "out.weight") - 1.0).abs() < 1e-6);
        assert!(done.passes <= 2.0, "{}", done.passes);
    }
}

fn layer_std(done: &Calibration, name: &str) -> f64 {
    layer(done, name).after.std
}

#[test]
fn what_batch_normalization_reads_is_left_unless_asked_for() {
    let net = zoo::build("mlp:20-32-32-5,norm=batch").unwrap();
    let inputs = batch(&net, 128, 4.0, 0);
    let (before, weights, done) = started(&net, &recipe(&[]), &inputs).unwrap();
    assert_eq!(layer(&done, "0.weight").state, State::Left);
    assert_eq!(values(&net, &before, "0.weight"), values(&net, &weights, "0.weight"));
    assert_eq!(layer(&done, "6.weight").state, State::Within);
    let through = recipe(&[("through_bn", true.into_value())]);
    let (_, weights, done) = started(&net, &through, &inputs).unwrap();
    passes(&net, &weights, &inputs, &done);
    assert_eq!(layer(&done, "0.weight").state, State::Within);
}

trait IntoValue {
    fn into_value(self) -> epoch0_method::Value;
}

impl IntoValue for bool {
    fn into_value(self) -> epoch0_method::Value {
        epoch0_method::Value::Flag(self)
    }
}

impl IntoValue for f64 {
    fn into_value(self) -> epoch0_method::Value {
        epoch0_method::Value::Number(self)
    }
}

impl IntoValue for &str {
    fn into_value(self) -> epoch0_method::Value {
        epoch0_method::Value::Text(self.to_owned())
    }
}

#[test]
fn a_second_time_changes_nothing() {
    let net = zoo::build("mlp:20-64-64-5").unwrap();
    let inputs = batch(&net, 128, 3.0, 0);
    let (_, weights, _) = started(&net, &recipe(&[("tol", 1e-4.into_value())]), &inputs).unwrap();
    let again = Lsuv { keep_weights: true, tol: 1e-4, ..Lsuv::default() };
    assert!(again.draws().is_empty());
    let (same, done) = calibrate("lsuv", &again, &net, &weights, &inputs.clone().into()).unwrap();
    assert!(done.layers.iter().all(|layer| layer.iterations == 0 && layer.factor == 1.0), "{done:#?}");
    for (id, value) in weights.iter() {
        assert_eq!(value.to_f64(), same.get(id).unwrap().to_f64());
    }
}

#[test]
fn biases_that_are_kept_take_more_than_one_division() {
    let net = zoo::build("mlp:20-64-5").unwrap();
    let inputs = batch(&net, 256, 1.0, 0);
    let plan =
        recipe(&[("keep_weights", true.into_value()), ("tol", 0.01.into_value()), ("std", 2.0.into_value())]);
    let mut weights =
        Plan::new(METHODS, &net, &plan, 7).unwrap().weights(Precision::Single, &Device::cpu()).unwrap();
    let mut bias = vec![0.0f32; 64];
    Law::normal(0.0, 1.0).fill(&Stream::new(1, "bias"), 0, &mut bias).unwrap();
    let bias = Tensor::from_f32(bias, &[64], Precision::Single, &Device::cpu());
    weights.set(net.find("0.bias").unwrap(), bias.clone());
    let (_, method) = plan.calibrator().unwrap().unwrap();
    let (weights, done) = calibrate("lsuv", &*method, &net, &weights, &inputs.clone().into()).unwrap();
    assert!(done.layers[0].iterations > 1, "{done:#?}");
    assert_eq!(weights.get(net.find("0.bias").unwrap()).unwrap().to_f64(), bias.to_f64());
    let found = stds(&net, &weights, &inputs).unwrap();
    assert!(found.iter().all(|std| ((std / 2.0).powi(2) - 1.0).abs() < 0.011), "{found:?}");
    assert!(done.passes <= 2.0);
}

#[test]
fn behind_the_activation() {
    let net = zoo::build("mlp:20-64-64-5").unwrap();
    let inputs = batch(&net, 256, 1.0, 0);
    let (_, weights, done) = started(&net, &recipe(&[("at", "post".into_value())]), &inputs).unwrap();
    assert!(done.missed().next().is_none());
    // ReLU keeps √(1/2 - 1/(2π)) of a centred Gaussian's standard deviation.
    let kept = (0.5 - 0.5 / std::f64::consts::PI).sqrt();
    let found = stds(&net, &weights, &inputs).unwrap();
    assert!((found[0] * kept - 1.0).abs() < 0.05, "{found:?}");
    // A sigmoid's output cannot be that wide.
    let net = zoo::build("mlp:20-64-5,act=sigmoid").unwrap();
    let (_, _, done) =
        started(&net, &recipe(&[("at", "post".into_value())]), &batch(&net, 64, 1.0, 0)).unwrap();
    assert_eq!(done.layers[0].state, State::Missed);
    assert_eq!(done.layers[0].iterations, 10);
}

#[test]
fn bad_input_is_named() {
    let net = zoo::build("mlp:20-64-5").unwrap();
    let inputs = batch(&net, 32, 1.0, 0);
    let error = |net: &Network, inputs: &[Value]| match started(net, &recipe(&[]), inputs) {
        Ok((_, _, done)) => panic!("{done:#?}"),
        Err(error) => error.to_string(),
    };
    let of = |values: Vec<f64>, shape: &[usize]| {
        vec![Value::constant(Tensor::from_f64(values, shape, Precision::Single, &Device::cpu()))]
    };
    assert!(error(&net, &of(vec![0.5; 640], &[32, 20])).contains("examples are all the same"));
    let mut odd = vec![0.0; 640];
    odd[3] = f64::NAN;
    assert!(error(&net, &of(odd, &[32, 20])).contains("input `x` of the batch got NaN"));
    assert!(
        error(&net, &of((0..640).map(f64::from).collect(), &[64, 10]))
            .contains("allowed real numbers of shape [any, 20]")
    );
    let one = zoo::build("mlp:2-1").unwrap();
    let text = error(&one, &of(vec![0.5, 2.0], &[1, 2]));
    assert!(text.starts_with("lsuv: 0.weight: its output is one number"), "{text}");
    // Weights that are not finite, and layers that let nothing through.
    let method = Lsuv { keep_weights: true, ..Lsuv::default() };
    let plan = Plan::new(METHODS, &net, &recipe(&[]), 7).unwrap();
    let weights = plan.weights(Precision::Single, &Device::cpu()).unwrap();
    let with = |name: &str, value: f64| {
        let mut weights = weights.clone();
        let id = net.find(name).unwrap();
        let shape = weights.get(id).unwrap().shape();
        weights.set(id, Tensor::full(value, &shape, Precision::Single, &Device::cpu()));
        calibrate("lsuv", &method, &net, &weights, &inputs.clone().into())
    };
    let text = with("2.weight", f64::NAN).unwrap_err().to_string();
    assert!(text.starts_with("lsuv: 2.weight got NaN"), "{text}");
    let text = with("0.bias", -100.0).unwrap_err().to_string();
    assert!(text.starts_with("lsuv: 2.weight: its output is the same"), "{text}");
    let (_, done) = with("2.weight", 0.0).unwrap();
    assert_eq!(layer(&done, "2.weight").note.as_deref(), Some("all of it is zero"));
}

#[test]
fn what_multiplies_nothing_is_listed() {
    let mut b = Builder::new("idle", Source::Built, Dtype::F32);
    let x = b.input("x", &[None, Some(4)]);
    b.linear(x, "used", Linear::new(8));
    let y = b.linear(x, "last", Linear::new(8));
    b.param("idle.weight", &[8, 8], Role::Weight);
    let y = b.norm(y, "norm", NormKind::Layer, 1e-5, true);
    b.output(y, "y");
    let net = b.finish().unwrap();
    let mut recipe = recipe(&[]);
    recipe.rules = Recipe::from_yaml("r", "rules: [{match: idle.weight, with: normal}]").unwrap().rules;
    let (_, _, done) = started(&net, &recipe, &batch(&net, 32, 1.0, 0)).unwrap();
    assert_eq!(done.unused, ["idle.weight"]);
}

#[test]
fn threads_do_not_matter() {
    let net = zoo::build("lenet").unwrap();
    let inputs = batch(&net, 64, 1.0, 0);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| started(&net, &recipe(&[]), &inputs).unwrap())
    };
    let ((_, one, first), (_, four, second)) = (with(1), with(4));
    assert_eq!(first, second);
    one.iter().for_each(|(id, value)| assert_eq!(value.to_f64(), four.get(id).unwrap().to_f64()));
}

#[test]
fn recipes_say_it_too() {
    let net = zoo::build("mlp:4-8-2").unwrap();
    let yaml = |text: &str| Recipe::from_yaml("r.yaml", text).unwrap();
    let plan = |text: &str| Plan::new(METHODS, &net, &yaml(text), 0);
    let with = yaml("{base: pytorch_default, rules: [{match: 0.weight, with: he_normal}], calibrate: lsuv}");
    let drawn = Plan::new(METHODS, &net, &with, 0).unwrap();
    let methods: Vec<(&str, &str)> =
        drawn.sites().iter().map(|site| (site.method, site.rule.as_str())).collect();
    // Its own rules stand between the base and those of the recipe.
    assert_eq!(
        methods,
        [("he_normal", "rule 1"), ("zeros", "lsuv"), ("orthogonal", "lsuv"), ("zeros", "lsuv")]
    );
    let text = serde_yaml_ng::to_string(&with).unwrap();
    assert_eq!(yaml(&text), with);
    let error = |text: &str| plan(text).unwrap_err().to_string();
    assert!(
        error("{base: pytorch_default, rules: [{with: lsuv}]}").contains("hint: write `calibrate: lsuv`")
    );
    assert!(error("{base: lsuv}").contains("hint: write `calibrate: lsuv`"));
    assert!(error("{base: pytorch_default, calibrate: he_normal}").contains("`he_normal`"));
    let set = |set: &str| format!("{{base: pytorch_default, calibrate: {{with: lsuv, set: {{{set}}}}}}}");
    assert!(error(&set("tol: 2")).starts_with("lsuv: tol is 2, allowed"));
    assert!(error(&set("tol: [0.1, 0.2]")).contains("one for the whole network"));
    assert!(plan(&set("keep_weights: true")).unwrap().sites().iter().all(|site| site.rule == "base"));
}
