//! Maxout units and stars: what sites and moments see of them.

use std::collections::HashMap;

use epoch0_net::moments::{Draws, Flow, Scale};
use epoch0_net::{
    Binary, Builder, Extent, Linear, Network, NodeId, ParamId, Pool, Reduction, Source, ValueId, Window, zoo,
};
use epoch0_num::meanfield::Signal;
use epoch0_num::{Activation, Dtype, gain};

fn built(describe: impl FnOnce(&mut Builder)) -> Network {
    let mut b = Builder::new("net", Source::Built, Dtype::F32);
    describe(&mut b);
    b.finish().unwrap()
}

/// Rank and pooled positions behind each weight, by name.
fn maxouts(net: &Network) -> HashMap<String, (usize, usize)> {
    let found = net.sites().iter().filter(|site| site.role.is_matrix());
    found.filter_map(|site| Some((site.label(), site.maxout.map(|of| (of.rank, of.pooled))?))).collect()
}

const BATCH: Extent = Extent::Like { input: 0, dim: 0 };

fn dense(b: &mut Builder, n: usize) -> ValueId {
    let x = b.input("x", &[None, Some(8)]);
    b.linear(x, "fc", Linear::new(n))
}

#[test]
fn zoo_networks_have_maxout_units() {
    let net = zoo::build("mlp:784-64-32-10,act=maxout5").unwrap();
    assert_eq!(net.param(net.find("0.weight").unwrap()).shape, [320, 784]);
    assert_eq!(net.param(net.find("2.weight").unwrap()).shape, [160, 64]);
    let expected = [("0.weight", (5, 1)), ("2.weight", (5, 1))];
    assert_eq!(maxouts(&net), expected.map(|(name, of)| (name.to_owned(), of)).into());
    // A norm stands between; a pool raises the number of candidates.
    let net = zoo::build("mlp:9-6-3,act=maxout(2),norm=batch").unwrap();
    assert_eq!(maxouts(&net)["0.weight"], (2, 1));
    let net = zoo::build("vgg11,size=32,act=maxout2").unwrap();
    let found = maxouts(&net);
    assert_eq!((found["features.0.weight"], found["features.6.weight"]), ((2, 4), (2, 1)));
    assert_eq!(net.param(net.find("features.3.weight").unwrap()).shape, [256, 64, 3, 3]);
    assert!(net.sites().iter().all(|site| site.activation.is_none()));
    let why = |spec: &str| zoo::build(spec).unwrap_err().to_string();
    for rank in ["0", "1", "x", ""] {
        let text = why(&format!("mlp:9-6-3,act=maxout{rank}"));
        assert!(text.contains(&format!("rank of maxout is `{rank}`, allowed 2 to 1024")), "{text}");
    }
}

#[test]
fn ranks_that_do_not_divide_are_refused() {
    for (n, rank) in [(8, 3), (8, 0)] {
        let mut b = Builder::new("net", Source::Built, Dtype::F32);
        let x = dense(&mut b, n);
        b.maxout(x, 1, rank);
        let text = b.finish().unwrap_err().to_string();
        assert!(text.contains("rank") && text.contains("a divisor of 8 units"), "{text}");
    }
}

#[test]
fn what_frameworks_write_is_recognized() {
    // Ranks outermost, as in TensorFlow addons, and with the batch left open.
    let net = built(|b| {
        let x = dense(b, 12);
        let x = b.reshape(x, &[], &[Extent::Infer, Extent::Fixed(3), Extent::Fixed(4)]);
        let x = b.reduce(x, Reduction::Max, &[1], true);
        b.output(x, "y");
    });
    assert_eq!(maxouts(&net)["fc.weight"], (3, 1));
    // Pooling over units.
    let net = built(|b| {
        let x = dense(b, 12);
        let x = b.reshape(x, &[], &[BATCH, Extent::Fixed(1), Extent::Fixed(12)]);
        let window = Window { kernel: vec![3], stride: vec![3], padding: vec![0], dilation: vec![1] };
        let x = b.pool(x, Pool::Max(window));
        let x = b.reshape(x, &[], &[BATCH, Extent::Fixed(4)]);
        b.output(x, "y");
    });
    assert_eq!(maxouts(&net)["fc.weight"], (3, 1));
    // Halves of a convolution's channels, then a pool; space is of open size.
    let net = built(|b| {
        let x = b.input("x", &[None, Some(3), None, None]);
        let x = b.conv(x, "conv", 8, Window::square(3, 1, 1), 1, true);
        let halves = [b.slice(x, 1, 0, 4, 1), b.slice(x, 1, 4, 8, 1)];
        let x = b.binary(Binary::Max, halves[0], halves[1]);
        let x = b.pool(x, Pool::Max(Window::square(2, 2, 0)));
        b.output(x, "y");
    });
    assert_eq!(maxouts(&net)["conv.weight"], (2, 4));
    // Three maps of their own.
    let net = built(|b| {
        let x = b.input("x", &[None, Some(8)]);
        let maps = ["a", "b", "c"].map(|name| b.linear(x, name, Linear::new(4)));
        let x = b.binary(Binary::Max, maps[0], maps[1]);
        let x = b.binary(Binary::Max, x, maps[2]);
        b.output(x, "y");
    });
    assert_eq!(maxouts(&net).len(), 3);
    assert_eq!(maxouts(&net)["b.weight"], (3, 1));
}

#[test]
fn other_maxima_are_none() {
    // Over places, over inputs, with what is no map's output, and over half of space.
    let net = built(|b| {
        let x = b.input("x", &[None, Some(3), Some(4), Some(4)]);
        let x = b.conv(x, "conv", 8, Window::square(3, 1, 1), 1, true);
        let to = [BATCH, Extent::Fixed(8), Extent::Fixed(2), Extent::Fixed(2), Extent::Fixed(4)];
        let x = b.reshape(x, &[], &to);
        let x = b.reduce(x, Reduction::Max, &[3], false);
        b.output(x, "y");
    });
    assert!(maxouts(&net).is_empty());
    let net = built(|b| {
        let x = b.input("x", &[None, Some(8)]);
        let y = b.linear(x, "fc", Linear::new(8));
        let y = b.binary(Binary::Max, x, y);
        b.output(y, "y");
    });
    assert!(maxouts(&net).is_empty());
    let net = built(|b| {
        let x = dense(b, 8);
        let gate = b.slice(x, 1, 0, 4, 1);
        let gate = b.activation(gate, Activation::Sigmoid);
        let value = b.slice(x, 1, 4, 8, 1);
        let x = b.mul(&[gate, value]);
        b.output(x, "y");
    });
    assert!(maxouts(&net).is_empty());
    assert_eq!(net.sites()[0].activation, None);
}

/// Weights of variance `c / fan_in` for all maps.
struct Plain(f64);

impl Draws for Plain {
    fn map(&mut self, _: NodeId, _: &Signal, n_summed: f64, _: &Flow) -> Scale {
        Scale { weight: self.0 / n_summed, bias: 0.0 }
    }

    fn table(&mut self, _: NodeId, _: ParamId) -> (f64, f64) {
        (0.0, 1.0)
    }
}

#[test]
fn moments_follow_maxout_units() {
    let input = Signal::normal(1.0, 0.0).unwrap();
    let (c, moment) = (0.7, gain::maxout(3).unwrap().second);
    for spec in ["mlp:64-32-32-1,act=maxout3", "mlp:64-32-32-1,act=maxout3,bias=false"] {
        let net = zoo::build(spec).unwrap();
        let flow = net.moments(&input, &mut Plain(c)).unwrap();
        assert!(flow.passed.is_empty(), "{:?}", flow.passed);
        let out = flow.signal(net.outputs()[0]).unwrap();
        assert!((out.second - c * (c * moment).powi(2)).abs() < 1e-9, "{}", out.second);
        // An input reaches 96 outputs, of which every third goes on: c per layer, by 32 units, of the readout 1.
        let gradients = net.gradient_moments(&flow).unwrap();
        let expected = (c * 32.0 / 64.0) * c * (c / 32.0);
        assert!((gradients[net.inputs()[0].0 as usize] / expected - 1.0).abs() < 1e-9, "{gradients:?}");
    }
    let net = built(|b| {
        let x = b.input("x", &[None, Some(8)]);
        let maps = ["a", "b", "c"].map(|name| b.linear(x, name, Linear::new(4)));
        let x = b.binary(Binary::Max, maps[0], maps[1]);
        let x = b.binary(Binary::Max, x, maps[2]);
        b.output(x, "y");
    });
    let flow = net.moments(&input, &mut Plain(1.0)).unwrap();
    assert!((flow.signal(net.outputs()[0]).unwrap().second - moment).abs() < 1e-9);
    let pooled = zoo::build("lenet,act=maxout5").unwrap();
    let flow = pooled.moments(&input, &mut Plain(1.0)).unwrap();
    let pool = pooled.sites()[0].maxout.unwrap().output;
    let behind = pooled.nodes().iter().find(|node| node.inputs.contains(&pool)).unwrap().outputs[0];
    assert!((flow.signal(behind).unwrap().second - 1.0 / 0.26573).abs() < 1e-4);
}

#[test]
fn demonet_has_its_stars() {
    let net = zoo::build("demonet:6-64,patch=4,size=28,in=1,classes=10").unwrap();
    let f = net.param(net.find("blocks.0.f.weight").unwrap());
    assert_eq!(f.shape, [384, 64]);
    assert_eq!(net.param(net.find("blocks.5.gamma").unwrap()).shape, [64]);
    let parts: Vec<_> = net.sites_of(net.find("blocks.0.f.weight").unwrap()).collect();
    assert_eq!(parts.iter().map(|site| site.part.as_deref().unwrap()).collect::<Vec<_>>(), ["x1", "x2"]);
    assert_eq!((&parts[0].activation, &parts[1].activation), (&Some(Activation::Gelu), &None));
    // The plain counterpart has the same parameters.
    let sum = zoo::build("demonet:6-64,patch=4,size=28,in=1,classes=10,mode=sum,act=none").unwrap();
    assert_eq!(net.n_params(), sum.n_params());
    assert!(zoo::build("demonet:0-64").unwrap_err().to_string().contains("size is `0`"));
}
