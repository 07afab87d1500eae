//! Small networks to ask methods about.

use epoch0_init::METHODS;
use epoch0_init::start::{Plan, Recipe};
use epoch0_method::Error;
use epoch0_net::{Attention, Builder, Linear, Network, NormKind, Op, Role, Source, Window};
use epoch0_num::{Dtype, Law};

fn builder(dtype: Dtype) -> Builder {
    Builder::new("net", Source::Built, dtype)
}

/// `fc`: a linear map with a bias, followed by an activation.
pub(crate) fn linear(n_in: usize, n_out: usize, act: &str, dtype: Dtype) -> Network {
    let mut b = builder(dtype);
    let x = b.input("x", &[None, Some(n_in)]);
    let x = b.linear(x, "fc", Linear::new(n_out));
    let x = b.activation(x, act.parse().unwrap());
    b.output(x, "y");
    b.finish().unwrap()
}

/// `conv`: a two-dimensional convolution with a bias.
pub(crate) fn conv(n_in: usize, n_out: usize, kernel: usize, groups: usize, dtype: Dtype) -> Network {
    let mut b = builder(dtype);
    let x = b.input("x", &[None, Some(n_in), Some(8), Some(8)]);
    let x = b.conv(x, "conv", n_out, Window::square(kernel, 1, kernel / 2), groups, true);
    b.output(x, "y");
    b.finish().unwrap()
}

/// A vision transformer of two blocks: patches, class token, free positions, layer scales, a head; and a norm that
/// adds 1, a batch norm, a relative bias and a factor under an exponential, so that every role but embeddings and
/// routers occurs.
pub(crate) fn vit() -> Network {
    let mut b = builder(Dtype::F32);
    let image = b.input("image", &[None, Some(3), Some(32), Some(32)]);
    let x = b.conv(image, "patch", 16, Window::square(8, 8, 0), 1, true);
    let x = b.norm(x, "stem", NormKind::Batch, 1e-5, true);
    let x = b.space_to_sequence(x);
    let token = b.param("cls", &[1, 1, 16], Role::Token);
    let x = b.concat(&[token, x], 1);
    let places = b.param("pos", &[1, 17, 16], Role::Position);
    let mut x = b.add(&[x, places]);
    let bias = b.relative_bias(x, "rel", 32, 4, 128, true);
    for block in 0..2 {
        b.block(&format!("blocks.{block}"));
        let name = |part: &str| format!("blocks.{block}.{part}");
        let y = b.norm(x, &name("norm1"), NormKind::Layer, 1e-6, true);
        let qkv = b.linear(y, &name("qkv"), Linear::new(48));
        let parts = b.split(qkv, &[("q", 16), ("k", 16), ("v", 16)]);
        let attention = Attention {
            heads: 4,
            kv_heads: 4,
            scale: 0.5,
            causal: false,
            window: None,
            rope: None,
            softcap: None,
        };
        let y = b.attention(parts[0], parts[1], parts[2], Some(bias), attention);
        let y = b.linear(y, &name("proj"), Linear::new(16));
        let y = b.channel_scale(y, &name("ls1"), 2, Role::LayerScale);
        x = b.add(&[x, y]);
        let y = b.norm(x, &name("norm2"), NormKind::Rms { offset: 1.0 }, 1e-6, false);
        let y = b.linear(y, &name("fc1"), Linear::new(64));
        let y = b.activation(y, "gelu".parse().unwrap());
        let y = b.linear(y, &name("fc2"), Linear::new(16));
        x = b.add(&[x, y]);
    }
    b.end_block();
    let x = b.select(x, 0);
    let x = b.linear(x, "head", Linear::new(10).role(Role::Readout));
    let logit_scale = b.param("logit_scale", &[1], Role::Scalar);
    let factor = b.unary(logit_scale, Op::Exp);
    let x = b.mul(&[x, factor]);
    b.output(x, "logits");
    b.finish().unwrap()
}

/// A decoder of two blocks with gated feed-forwards, the second a mixture of two experts; tied or not.
pub(crate) fn decoder(tied: bool) -> Network {
    let mut b = builder(Dtype::F32);
    let ids = b.index_input("ids", &[None, None]);
    let mut x = b.embedding(ids, "embed", 50, 16, Role::Embedding, Some(3));
    for block in 0..2 {
        b.block(&format!("layers.{block}"));
        let name = |part: &str| format!("layers.{block}.{part}");
        let y = b.norm(x, &name("norm1"), NormKind::Rms { offset: 0.0 }, 1e-6, false);
        let [q, k, v] = ["q", "k", "v"].map(|part| b.linear(y, &name(part), Linear::new(16).bias(false)));
        let attention = Attention {
            heads: 4,
            kv_heads: 4,
            scale: 0.5,
            causal: true,
            window: None,
            rope: None,
            softcap: None,
        };
        let y = b.attention(q, k, v, None, attention);
        let y = b.linear(y, &name("o"), Linear::new(16).bias(false));
        x = b.add(&[x, y]);
        let y = b.norm(x, &name("norm2"), NormKind::Rms { offset: 0.0 }, 1e-6, false);
        let feed_forward = |b: &mut Builder, of: &str| {
            let gate = b.linear(y, &name(&format!("{of}gate")), Linear::new(32).bias(false));
            let gate = b.activation(gate, "silu".parse().unwrap());
            let up = b.linear(y, &name(&format!("{of}up")), Linear::new(32).bias(false));
            let y = b.mul(&[gate, up]);
            b.linear(y, &name(&format!("{of}down")), Linear::new(16).bias(false))
        };
        let y = if block == 0 {
            feed_forward(&mut b, "")
        } else {
            let experts = ["0.", "1."].map(|of| feed_forward(&mut b, of));
            let logits = b.linear(y, &name("router"), Linear::new(2).bias(false).role(Role::Router));
            b.mixture(logits, &experts, 1, true)
        };
        x = b.add(&[x, y]);
    }
    b.end_block();
    let logits = if tied {
        b.linear_tied(x, "embed.weight", None)
    } else {
        b.linear(x, "head", Linear::new(50).bias(false).role(Role::Readout))
    };
    b.output(logits, "logits");
    b.finish().unwrap()
}

/// The plan of a recipe in YAML under seed 7.
pub(crate) fn plan<'a>(net: &'a Network, recipe: &str) -> Result<Plan<'a>, Error> {
    Plan::new(METHODS, net, &Recipe::from_yaml("recipe", recipe).unwrap(), 7)
}

/// The law that `recipe` gives to a parameter whose weights are drawn one by one.
pub(crate) fn law(net: &Network, recipe: &str, param: &str) -> Law {
    let id = net.find(param).unwrap_or_else(|| panic!("no parameter {param}"));
    let plan = plan(net, recipe).unwrap_or_else(|error| panic!("{recipe}: {error}"));
    plan.single_law(id).unwrap_or_else(|| panic!("{param} has no single law"))
}

/// A recipe of one rule on top of torch's default.
pub(crate) fn over_default(rule: &str) -> String {
    format!("base: pytorch_default\nrules: [{{{rule}}}]")
}
