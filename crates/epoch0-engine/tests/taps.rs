//! Gradients of examples through taps against a run for each example.

mod common;

use common::{close, reals, tensor, weights, words};
use epoch0_engine::taps::{Gradients, Taps};
use epoch0_engine::{Error, Mode, Order, Tensor, Value, Var, ntk, run, vjp};
use epoch0_net::{
    Builder, Cell, Linear, NamedRecurrent, Network, NormKind, ParamId, Role, Source, Window, zoo,
};
use epoch0_num::Dtype;

/// Numbers of each example whose gradients are taken.
const OUTPUTS: usize = 3;

fn builder() -> Builder {
    Builder::new("net", Source::Built, Dtype::F32)
}

fn example(value: &Value, at: usize) -> Value {
    let shape = value.shape();
    let size: usize = shape[1..].iter().product();
    let mut one = shape.clone();
    one[0] = 1;
    match value {
        Value::Real(var) => {
            let all = var.value();
            let part = all.to_f64()[at * size..(at + 1) * size].to_vec();
            Value::constant(Tensor::from_f64(part, &one, all.precision(), &all.device()))
        }
        Value::Index(words) => {
            let part = words.iter().copied().skip(at * size).take(size).collect();
            Value::index(part, &one).unwrap()
        }
        Value::Truth(_) => unreachable!("no network here takes truth values"),
    }
}

/// The same number of every example, by its output's number.
fn cotangents(shape: &[usize], at: usize) -> Tensor {
    tensor(&format!("cotangent {at} {shape:?}"), shape)
}

fn gradients(taps: &Taps<'_>) -> Gradients {
    let output = taps.output().unwrap();
    taps.backward_each((0..OUTPUTS).map(|at| vec![(output, cotangents(&output.shape(), at))])).unwrap()
}

/// For each row (example, number), the gradients by all parameters, from a run of the example alone.
fn one_by_one(network: &Network, inputs: &[Value], ids: &[ParamId]) -> Vec<Vec<Vec<f64>>> {
    let n = inputs[0].shape()[0];
    let mut rows = Vec::new();
    for at in 0..n {
        let params = weights(network).leaves(network);
        let alone: Vec<Value> = inputs.iter().map(|input| example(input, at)).collect();
        let done = run(network, &params, &alone, Mode::Eval, &mut |_| Ok(())).unwrap();
        let output = done.outputs[0].real().unwrap().clone();
        let mut shape = output.shape();
        let size: usize = shape[1..].iter().product();
        shape[0] = n;
        for number in 0..OUTPUTS {
            let all = cotangents(&shape, number).to_f64();
            let own = all[at * size..(at + 1) * size].to_vec();
            let own =
                Tensor::from_f64(own, &output.shape(), output.value().precision(), &output.value().device());
            let wrt: Vec<&Var> = ids.iter().map(|id| params.get(*id).unwrap()).collect();
            let found = vjp(&[(&output, Var::constant(own))], &wrt, Order::Last);
            let values = found.into_iter().zip(&wrt).map(|(found, var)| match found {
                Some(found) => found.value().to_f64(),
                None => vec![0.0; var.value().len()],
            });
            rows.push(values.collect());
        }
    }
    rows
}

fn inner(left: &[Vec<Vec<f64>>], right: &[Vec<Vec<f64>>]) -> Vec<f64> {
    let dot = |a: &[Vec<f64>], b: &[Vec<f64>]| -> f64 {
        a.iter().zip(b).flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| a * b).sum()
    };
    left.iter().flat_map(|a| right.iter().map(move |b| dot(a, b))).collect()
}

fn check(network: &Network, inputs: &[Value], others: &[Value]) {
    let params = weights(network).leaves(network);
    let taps = Taps::record(network, &params, inputs, Mode::Eval).unwrap();
    let found = gradients(&taps);
    let ids: Vec<ParamId> = found.params().collect();
    assert_eq!(ids.len(), network.params().iter().filter(|param| !param.role.is_buffer()).count());
    let wanted = one_by_one(network, inputs, &ids);
    let rows = wanted.len();
    assert_eq!(rows, found.rows());
    let mut squares = vec![0.0; rows];
    for (place, id) in ids.iter().enumerate() {
        let name = &network.param(*id).name;
        let all: Vec<f64> = wanted.iter().flat_map(|row| row[place].iter().copied()).collect();
        close(&found.per_example(*id).to_f64(), &all, 1e-9, name);
        let size = network.param(*id).len();
        let (mut sum, mut signs) = (vec![0.0; size], vec![0.0; size]);
        // Where a gradient is zero but for rounding (keys' biases, behind a softmax), its sign is anyone's.
        let mut is_clear = vec![true; size];
        let scale = common::largest(&all);
        for row in &wanted {
            for (at, x) in row[place].iter().enumerate() {
                sum[at] += x;
                signs[at] += if *x == 0.0 { 0.0 } else { x.signum() };
                is_clear[at] &= *x == 0.0 || x.abs() > 1e-12 * scale.max(1e-3);
            }
        }
        close(&found.sum(*id).to_f64(), &sum, 1e-9, &format!("sum of {name}"));
        let found_signs = found.sign_sum(*id).to_f64();
        for at in (0..size).filter(|&at| is_clear[at]) {
            assert_eq!(found_signs[at], signs[at], "sum of signs of {name}, element {at}");
        }
        squares
            .iter_mut()
            .zip(&wanted)
            .for_each(|(sum, row)| *sum += row[place].iter().map(|x| x * x).sum::<f64>());
    }
    close(&found.squared_norms(|_| true), &squares, 1e-9, "squared norms");
    close(found.gram(|_| true).values(), &inner(&wanted, &wanted), 1e-9, "Gram matrix");

    let other_taps = Taps::record(network, &params, others, Mode::Eval).unwrap();
    let other = gradients(&other_taps);
    let cross = found.cross_gram(&other, |_| true).unwrap();
    let other_rows = one_by_one(network, others, &ids);
    close(cross.values(), &inner(&wanted, &other_rows), 1e-9, "Gram matrix with others");

    // A choice of parameters, and the gradient of a single number.
    let some = |id: ParamId| id.0.is_multiple_of(2);
    let chosen: Vec<Vec<Vec<f64>>> = wanted
        .iter()
        .map(|row| ids.iter().zip(row).filter(|(id, _)| some(**id)).map(|(_, part)| part.clone()).collect())
        .collect();
    close(found.gram(some).values(), &inner(&chosen, &chosen), 1e-9, "Gram matrix of some parameters");
    let output = taps.output().unwrap();
    let one = taps.backward(&[(output, cotangents(&output.shape(), 1))]).unwrap();
    let first: Vec<Vec<Vec<f64>>> = wanted.iter().skip(1).step_by(OUTPUTS).cloned().collect();
    close(one.gram(|_| true).values(), &inner(&first, &first), 1e-9, "Gram matrix of one number");
}

fn zoo(spec: &str) -> Network {
    zoo::build(spec).unwrap()
}

fn images(spec: &str, shape: [usize; 3]) {
    let network = zoo(spec);
    let batch = |n: usize| [n, shape[0], shape[1], shape[2]];
    check(&network, &[reals("a", &batch(3))], &[reals("b", &batch(2))]);
}

#[test]
fn perceptron() {
    let network = zoo("mlp:7-16-12-5,act=tanh");
    check(&network, &[reals("a", &[4, 7])], &[reals("b", &[3, 7])]);
}

#[test]
fn perceptron_with_norms() {
    for norm in ["batch", "layer"] {
        let network = zoo(&format!("mlp:7-12-12-5,norm={norm},residual=true"));
        check(&network, &[reals("a", &[4, 7])], &[reals("b", &[3, 7])]);
    }
}

#[test]
fn lenet() {
    images("lenet:size=16", [1, 16, 16]);
}

#[test]
fn layers_of_the_ball() {
    let network = zoo("poincare_mlp:7-6-5-4,act=tanh,norm=midpoint");
    check(&network, &[reals("a", &[4, 7])], &[reals("b", &[3, 7])]);
    images("poincare_resnet:8,width=2,size=8,norm=frechet", [3, 8, 8]);
}

#[test]
fn residual_network() {
    images("cifar_resnet:8,size=8", [3, 8, 8]);
}

#[test]
fn learned_functions() {
    for share in ["none", "numerator"] {
        images(&format!("kat:layers=1,heads=2,embed=8,mlp=12,groups=4,share={share},size=8"), [3, 8, 8]);
    }
}

#[test]
fn weights_of_powers_of_two() {
    images("cifar_resnet:8,size=8,shift=3", [3, 8, 8]);
    let network = zoo("mlp:7-8-6-5,act=tanh,shift=2");
    check(&network, &[reals("a", &[4, 7])], &[reals("b", &[3, 7])]);
}

#[test]
fn weights_made_of_templates() {
    images("cifar_resnet:8,size=8,templates=2", [3, 8, 8]);
    let network = zoo("mlp:7-8-5,act=tanh,templates=3");
    check(&network, &[reals("a", &[4, 7])], &[reals("b", &[3, 7])]);
}

#[test]
fn spiking_networks() {
    images("cifar_resnet:8,size=8,norm=none,spiking=3", [3, 8, 8]);
    let network = zoo("mlp:7-8-6-5,spiking=2");
    check(&network, &[reals("a", &[4, 7])], &[reals("b", &[3, 7])]);
}

#[test]
fn mobile_network() {
    images("mobilenet_v3_small:size=32,classes=3", [3, 32, 32]);
}

#[test]
fn decoder_of_words() {
    for tied in [true, false] {
        let network = zoo(&format!("gpt:layers=2,heads=2,embed=16,vocab=11,positions=8,tied={tied}"));
        let positions =
            |n: usize| Value::index((0..n * 6).map(|at| (at % 6) as i64).collect(), &[n, 6]).unwrap();
        check(&network, &[words("a", &[3, 6], 11), positions(3)], &[words("b", &[2, 6], 11), positions(2)]);
    }
}

/// Class token, positions, layer scale, packed attention: what a vision transformer has.
#[test]
fn encoder_of_patches() {
    let mut b = builder();
    let x = b.input("x", &[None, Some(3), Some(8), Some(8)]);
    let y = b.conv(x, "patches", 8, Window::square(4, 4, 0), 1, true);
    let y = b.space_to_sequence(y);
    let token = b.param("token", &[1, 1, 8], Role::Token);
    let y = b.concat(&[token, y], 1);
    let places = b.param("positions", &[1, 5, 8], Role::Position);
    let y = b.add(&[y, places]);
    let z = b.norm(y, "norm", NormKind::Rms { offset: 1.0 }, 1e-6, false);
    let z = b.linear(z, "qkv", Linear::new(24).in_out());
    let parts = b.split(z, &[("q", 8), ("k", 8), ("v", 8)]);
    let attention = epoch0_net::Attention {
        heads: 2,
        kv_heads: 2,
        scale: 0.5,
        causal: false,
        window: None,
        rope: None,
        softcap: None,
    };
    let z = b.attention(parts[0], parts[1], parts[2], None, attention);
    let z = b.channel_scale(z, "scale", 2, Role::LayerScale);
    let y = b.add(&[y, z]);
    let y = b.select(y, 0);
    let y = b.linear(y, "head", Linear::new(4).role(Role::Readout));
    b.output(y, "y");
    let network = b.finish().unwrap();
    check(&network, &[reals("a", &[3, 3, 8, 8])], &[reals("b", &[2, 3, 8, 8])]);
}

#[test]
fn convolutions_of_every_kind() {
    let mut b = builder();
    let x = b.input("x", &[None, Some(4), Some(11), Some(9)]);
    let window = |kernel, stride, padding, dilation| Window {
        kernel: vec![kernel, 2],
        stride: vec![stride, 1],
        padding: vec![padding, 1],
        dilation: vec![dilation, 2],
    };
    let y = b.conv(x, "depthwise", 8, window(3, 1, 2, 2), 4, true);
    let y = b.activation(y, epoch0_num::Activation::Tanh);
    let y = b.norm(y, "group", NormKind::Group { groups: 2 }, 1e-5, true);
    let y = b.conv(y, "grouped", 8, window(2, 2, 1, 1), 4, false);
    let y = b.norm(y, "channels", NormKind::LayerChannelsFirst, 1e-5, true);
    let y = b.conv_named(
        y,
        &epoch0_net::NamedConv {
            weight: "up.weight",
            bias: Some("up.bias"),
            out: 4,
            window: Window { dilation: vec![1, 2], ..window(3, 2, 1, 1) },
            groups: 4,
            transposed: true,
        },
    );
    let y = b.activation(y, epoch0_num::Activation::Tanh);
    let y = b.flatten(y);
    let y = b.linear(y, "head", Linear::new(4));
    b.output(y, "y");
    let network = b.finish().unwrap();
    check(&network, &[reals("a", &[3, 4, 11, 9])], &[reals("b", &[2, 4, 11, 9])]);
}

#[test]
fn convolutions_over_one_and_three_dimensions() {
    for n_space in [1, 3] {
        let mut b = builder();
        let mut sizes = vec![None, Some(2)];
        sizes.extend(vec![Some(5); n_space]);
        let x = b.input("x", &sizes);
        let window = Window {
            kernel: vec![3; n_space],
            stride: vec![2; n_space],
            padding: vec![1; n_space],
            dilation: vec![1; n_space],
        };
        let y = b.conv(x, "conv", 4, window, 1, true);
        let y = b.flatten(y);
        let y = b.linear(y, "head", Linear::new(3));
        b.output(y, "y");
        let network = b.finish().unwrap();
        let batch = |n: usize| [vec![n, 2], vec![5; n_space]].concat();
        check(&network, &[reals("a", &batch(3))], &[reals("b", &batch(2))]);
    }
}

/// The batch is dimension 1 inside, which has to be found.
#[test]
fn recurrent_layers() {
    for (cell, reverse) in [(Cell::Lstm, false), (Cell::Gru, true), (Cell::Tanh, false), (Cell::Relu, true)] {
        let mut b = builder();
        let x = b.input("x", &[None, Some(5), Some(3)]);
        let states: Vec<_> = ["h", "c"][..if cell == Cell::Lstm { 2 } else { 1 }]
            .iter()
            .map(|name| b.input(name, &[None, Some(4)]))
            .collect();
        let y = b.transpose(x, &[1, 0, 2]);
        let layer = NamedRecurrent {
            cell,
            hidden: 4,
            input_weight: "rnn.w_ih",
            state_weight: "rnn.w_hh",
            biases: Some(["rnn.b_ih", "rnn.b_hh"]),
            reverse,
        };
        let made = b.recurrent(y, &states, &layer);
        let all = b.transpose(made[0], &[1, 0, 2]);
        let all = b.linear(all, "out", Linear::new(3));
        b.output(all, "y");
        let network = b.finish().unwrap();
        let batch = |name: &str, n: usize| -> Vec<Value> {
            let mut inputs = vec![reals(name, &[n, 5, 3])];
            inputs.extend((0..states.len()).map(|at| reals(&format!("{name}{at}"), &[n, 4])));
            inputs
        };
        check(&network, &batch("a", 3), &batch("b", 2));
    }
}

/// Values made of parameters alone meet values of examples; one does where no copy can be made of it.
#[test]
fn parameters_as_values() {
    let mut b = builder();
    let x = b.input("x", &[None, Some(3), Some(6)]);
    let weight = b.param("weight", &[6, 6], Role::Weight);
    let free = b.param("free", &[3, 6], Role::Token);
    let grown = b.unary(free, epoch0_net::Op::Exp);
    let y = b.matmul(x, weight);
    let y = b.add(&[y, grown]);
    let y = b.mul(&[y, grown]);
    let y = b.norm(y, "norm", NormKind::Layer, 1e-5, true);
    b.output(y, "y");
    let network = b.finish().unwrap();
    check(&network, &[reals("a", &[3, 3, 6])], &[reals("b", &[2, 3, 6])]);
}

#[test]
fn bias_by_relative_position() {
    let mut b = builder();
    let ids = b.index_input("words", &[None, Some(6)]);
    let x = b.embedding(ids, "table", 9, 8, Role::Embedding, None);
    let bias = b.relative_bias(x, "bias", 4, 2, 8, true);
    let names = ["q", "k", "v"];
    let parts: Vec<_> = names.iter().map(|name| b.linear(x, name, Linear::new(8).bias(false))).collect();
    let attention = epoch0_net::Attention {
        heads: 2,
        kv_heads: 2,
        scale: 1.0,
        causal: true,
        window: None,
        rope: None,
        softcap: Some(5.0),
    };
    let y = b.attention(parts[0], parts[1], parts[2], Some(bias), attention);
    b.output(y, "y");
    let network = b.finish().unwrap();
    check(&network, &[words("a", &[3, 6], 9)], &[words("b", &[2, 6], 9)]);
}

#[test]
fn kernels_of_outputs() {
    let network = zoo("mlp:6-24-4");
    let params = weights(&network).leaves(&network);
    let record =
        |name: &str, n: usize| Taps::record(&network, &params, &[reals(name, &[n, 6])], Mode::Eval).unwrap();
    let (a, b) = (record("a", 5), record("b", 3));
    let full = ntk::full(&a, None).unwrap();
    let cross = ntk::full(&a, Some(&b)).unwrap();
    assert_eq!((cross.rows(), cross.columns()), (20, 12));
    let trace = ntk::trace(&a, None).unwrap();
    let pseudo = ntk::pseudo(&a, None).unwrap();
    let pseudo_cross = ntk::pseudo(&a, Some(&b)).unwrap();
    let single = ntk::single(&a, None, 2).unwrap();
    for i in 0..5 {
        for j in 0..5 {
            let at = |x: usize, y: usize| full.at(i * 4 + x, j * 4 + y);
            let diagonal = (0..4).map(|x| at(x, x)).sum::<f64>() / 4.0;
            close(&[trace.at(i, j)], &[diagonal], 1e-10, "trace kernel");
            let all = (0..16).map(|xy| at(xy / 4, xy % 4)).sum::<f64>() / 4.0;
            close(&[pseudo.at(i, j)], &[all], 1e-10, "kernel of the sum");
            close(&[single.at(i, j)], &[at(2, 2)], 1e-10, "kernel of one output");
        }
        for j in 0..3 {
            let all = (0..16).map(|xy| cross.at(i * 4 + xy / 4, j * 4 + xy % 4)).sum::<f64>() / 4.0;
            close(&[pseudo_cross.at(i, j)], &[all], 1e-10, "kernel of the sum with others");
        }
    }
    assert!(ntk::single(&a, None, 4).is_err());
}

#[test]
fn batch_statistics_couple_examples() {
    for spec in ["mlp:6-8-4,norm=batch", "poincare_mlp:6-8-4,norm=midpoint"] {
        let network = zoo(spec);
        let params = weights(&network).leaves(&network);
        let error = Taps::record(&network, &params, &[reals("a", &[5, 6])], Mode::Train).unwrap_err();
        assert!(matches!(&error, Error::Unsupported { what, .. } if what.contains("couples")), "{error}");
    }
}

#[test]
fn wrong_cotangents_are_refused() {
    let network = zoo("mlp:6-8-4");
    let params = weights(&network).leaves(&network);
    let taps = Taps::record(&network, &params, &[reals("a", &[5, 6])], Mode::Eval).unwrap();
    let output = taps.output().unwrap();
    assert!(matches!(taps.backward(&[(output, tensor("c", &[4, 4]))]), Err(Error::Input { .. })));
    assert!(matches!(taps.backward_each(Vec::new()), Err(Error::Input { .. })));
    let none = Taps::record(&network, &params, &[reals("a", &[0, 6])], Mode::Eval);
    assert!(matches!(none, Err(Error::Input { .. })));
}
