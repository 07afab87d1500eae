//! Small networks that methods are checked on.

use epoch0_net::{Attention, Builder, Centre, Linear, Network, NormKind, Pool, Role, Share, Source, Window};
use epoch0_num::rational::{Form, Rational};
use epoch0_num::{Activation, Dtype, Law};

/// Networks of every kind, wide enough for statistics.
pub fn all() -> Vec<Network> {
    vec![mlp(&[64, 256, 256, 10]), conv(), residual(), transformer(), sines(), maxout(), ball()]
}

/// Networks at the edge: one unit, one channel, groups, odd and even kernels, scalars, ties.
pub fn edges() -> Vec<Network> {
    vec![mlp(&[1, 1]), mlp(&[1, 7, 1]), mlp(&[5, 3]), kernels(), tied()]
}

/// Networks of a graph's nodes: one of each way to pass features along edges.
pub fn graphs() -> Vec<Network> {
    let specs = ["gcn:8-16-16-3", "sage:8-16-3,norm=layer", "gin:8-16-16-3,residual=true"];
    specs.iter().map(|spec| epoch0_net::zoo::build(spec).expect("a network of the zoo")).collect()
}

/// A transformer that normalizes after its sums.
pub fn post_norm() -> Network {
    let spec = "gpt:layers=2,heads=2,embed=16,vocab=20,positions=8,norm=post,tied=false";
    epoch0_net::zoo::build(spec).expect("a network of the zoo")
}

fn builder(name: &str) -> Builder {
    Builder::new(name, Source::Built, Dtype::F32)
}

fn finish(b: Builder) -> Network {
    let mut net = b.finish().expect("a fixture is a network");
    // A source of its own, so that methods that follow the source have one to follow.
    net.set_native(|_, site| {
        Some(match site.role {
            Role::NormScale | Role::RunningVar => Law::constant(1.0),
            Role::NormShift | Role::Bias | Role::RunningMean | Role::BatchCount => Law::constant(0.0),
            _ => Law::normal(0.0, 0.02),
        })
    });
    net
}

/// Linear maps with rectifiers between.
pub fn mlp(widths: &[usize]) -> Network {
    let mut b = builder("mlp");
    let mut x = b.input("x", &[None, Some(widths[0])]);
    for (layer, &width) in widths[1..].iter().enumerate() {
        let is_last = layer + 2 == widths.len();
        let role = if is_last { Role::Readout } else { Role::Weight };
        x = b.linear(x, &format!("{layer}"), Linear::new(width).role(role));
        if !is_last {
            x = b.activation(x, Activation::Relu);
        }
    }
    b.output(x, "y");
    finish(b)
}

/// Linear maps with sines between.
fn sines() -> Network {
    let mut b = builder("sines");
    let mut x = b.input("x", &[None, Some(16)]);
    for name in ["first", "second"] {
        x = b.linear(x, name, Linear::new(256));
        x = b.activation(x, Activation::Sine { omega: 30.0 });
    }
    let x = b.linear(x, "last", Linear::new(10).role(Role::Readout));
    b.output(x, "y");
    finish(b)
}

/// A convolution, a pool and a linear map of maxout units.
fn maxout() -> Network {
    let mut b = builder("maxout");
    let x = b.input("image", &[None, Some(3), Some(8), Some(8)]);
    let x = b.conv(x, "conv", 96, Window::square(3, 1, 1), 1, true);
    let x = b.maxout(x, 1, 3);
    let x = b.pool(x, Pool::Max(Window::square(2, 2, 0)));
    let x = b.flatten(x);
    let x = b.linear(x, "fc", Linear::new(320));
    let x = b.maxout(x, 1, 5);
    let x = b.linear(x, "last", Linear::new(10).role(Role::Readout));
    b.output(x, "y");
    finish(b)
}

/// A learned function, and a map whose weights are signed powers of two.
pub fn learned() -> Network {
    let mut b = builder("learned");
    let x = b.input("x", &[None, Some(32)]);
    let x = b.linear(x, "first", Linear::new(256));
    let start = Rational::fit(&Activation::Silu, Form::SumOfAbs).expect("silu has a fit");
    let x = b.rational(x, "act", 8, Share::Numerator, &start);
    let x = b.linear(x, "inner", Linear::new(256).bias(false));
    let x = b.norm(x, "norm", NormKind::Batch, 1e-5, true);
    let x = b.activation(x, Activation::Relu);
    let x = b.linear(x, "last", Linear::new(10).role(Role::Readout));
    b.output(x, "y");
    b.shift_maps(2);
    finish(b)
}

/// A convolution and a linear map of points of the Poincaré ball.
fn ball() -> Network {
    let mut b = builder("ball");
    let x = b.input("image", &[None, Some(16), Some(8), Some(8)]);
    let x = b.poincare_exp(x, 0.1);
    let x = b.poincare_conv(x, "conv", 96, Window::square(3, 2, 1), 0.1);
    let x = b.poincare_norm(x, "norm", Centre::Midpoint, 0.1);
    let x = b.poincare_log(x, 0.1);
    let x = b.activation(x, Activation::Relu);
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.flatten(x);
    let x = b.poincare_exp(x, 0.1);
    let x = b.poincare_linear(x, "fc", 128, 0.1);
    let x = b.poincare_scores(x, "last", 10, 0.1);
    b.output(x, "y");
    finish(b)
}

fn conv() -> Network {
    let mut b = builder("conv");
    let x = b.input("x", &[None, Some(16), Some(12), Some(12)]);
    let x = b.conv(x, "plain", 96, Window::square(3, 1, 1), 1, true);
    let x = b.norm(x, "norm", NormKind::Batch, 1e-5, true);
    let x = b.activation(x, Activation::Relu);
    let x = b.conv(x, "grouped", 96, Window::square(3, 1, 1), 4, false);
    let x = b.activation(x, Activation::Gelu);
    let x = b.conv(x, "depthwise", 96, Window::square(5, 1, 2), 96, true);
    let x = b.conv(x, "pointwise", 128, Window::square(1, 1, 0), 1, false);
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.flatten(x);
    let x = b.linear(x, "fc", Linear::new(10).role(Role::Readout));
    b.output(x, "y");
    finish(b)
}

fn residual() -> Network {
    let mut b = builder("residual");
    let x = b.input("x", &[None, Some(32), Some(8), Some(8)]);
    let mut x = b.conv(x, "stem", 48, Window::square(3, 1, 1), 1, false);
    for block in 0..3 {
        b.block(&format!("{block}"));
        let y = b.conv(x, &format!("{block}.conv1"), 48, Window::square(3, 1, 1), 1, false);
        let y = b.norm(y, &format!("{block}.norm"), NormKind::Batch, 1e-5, true);
        let y = b.activation(y, Activation::Relu);
        let y = b.conv(y, &format!("{block}.conv2"), 48, Window::square(3, 1, 1), 1, false);
        let y = b.channel_scale(y, &format!("{block}.gamma"), 1, Role::LayerScale);
        x = b.add(&[y, x]);
    }
    b.output(x, "y");
    finish(b)
}

fn transformer() -> Network {
    let mut b = builder("transformer");
    let ids = b.index_input("ids", &[None, None]);
    let places = b.index_input("places", &[None, None]);
    let words = b.embedding(ids, "words", 300, 96, Role::Embedding, Some(3));
    let places = b.embedding(places, "places", 32, 96, Role::Position, None);
    let mut x = b.add(&[words, places]);
    for block in 0..2 {
        b.block(&format!("{block}"));
        let attention = Attention {
            heads: 6,
            kv_heads: 2,
            scale: 0.25,
            causal: true,
            window: None,
            rope: None,
            softcap: None,
        };
        let y = b.norm(x, &format!("{block}.norm1"), NormKind::Layer, 1e-5, true);
        let y = b.linear(y, &format!("{block}.qkv"), Linear::new(160).in_out());
        let qkv = b.split(y, &[("q", 96), ("k", 32), ("v", 32)]);
        let y = b.attention(qkv[0], qkv[1], qkv[2], None, attention);
        let y = b.linear(y, &format!("{block}.out"), Linear::new(96).in_out());
        x = b.add(&[x, y]);
        let y = b.norm(x, &format!("{block}.norm2"), NormKind::Rms { offset: 0.0 }, 1e-6, false);
        let gate = b.linear(y, &format!("{block}.gate"), Linear::new(128).bias(false));
        let gate = b.activation(gate, Activation::Silu);
        let up = b.linear(y, &format!("{block}.up"), Linear::new(128).bias(false));
        let y = b.mul(&[gate, up]);
        let y = b.linear(y, &format!("{block}.down"), Linear::new(96).bias(false));
        x = b.add(&[x, y]);
    }
    b.end_block();
    let logits = b.linear_tied(x, "words.weight", Some("bias"));
    b.tie("head.weight", "words.weight");
    b.output(logits, "logits");
    finish(b)
}

fn kernels() -> Network {
    let mut b = builder("kernels");
    let x = b.input("x", &[None, Some(2), Some(9), Some(9)]);
    let y = b.conv(x, "even", 2, Window::square(2, 1, 0), 1, true);
    let y = b.conv(
        y,
        "wide",
        5,
        Window { kernel: vec![1, 3], stride: vec![1, 1], padding: vec![0, 1], dilation: vec![1, 2] },
        1,
        false,
    );
    b.output(y, "y");
    let z = b.conv(x, "groups", 6, Window::square(3, 2, 0), 2, false);
    let z = b.conv(z, "narrow", 1, Window::square(1, 1, 0), 1, false);
    b.output(z, "z");
    let scalar = b.param("temperature", &[], Role::Scalar);
    b.output(scalar, "temperature");
    finish(b)
}

fn tied() -> Network {
    let mut b = builder("tied");
    let ids = b.index_input("ids", &[None, None]);
    let x = b.embedding(ids, "words", 2, 1, Role::Embedding, Some(0));
    let y = b.linear_tied(x, "words.weight", None);
    b.output(y, "y");
    finish(b)
}
