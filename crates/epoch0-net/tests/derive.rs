//! Axes and sites derived from graphs built by hand.

use epoch0_net::{
    Attention, Builder, Fans, Fixed, Head, Linear, Network, NormKind, Op, Pool, Role, Site, Source,
    Structure, Window,
};
use epoch0_num::Dtype;

fn site<'a>(net: &'a Network, label: &str) -> &'a Site {
    let found = net.sites().iter().find(|site| site.label() == label);
    found
        .unwrap_or_else(|| panic!("{label} in {:?}", net.sites().iter().map(Site::label).collect::<Vec<_>>()))
}

fn fans(net: &Network, label: &str) -> (f64, f64) {
    let Fans { in_, out } = site(net, label).fans.unwrap();
    (in_, out)
}

fn axis_names(net: &Network, param: &str) -> Vec<String> {
    let param = net.param(net.find(param).unwrap());
    param.axes.iter().map(|&axis| net.axis(axis).name.clone()).collect()
}

fn attention(heads: usize, kv_heads: usize) -> Attention {
    Attention { heads, kv_heads, scale: 1.0, causal: true, window: None, rope: None, softcap: None }
}

/// Two blocks with packed, transposed projections and a tied readout, as GPT-2 has them.
fn gpt() -> Network {
    let mut b = Builder::new("gpt", Source::Built, Dtype::F32);
    let ids = b.index_input("input_ids", &[None, None]);
    let positions = b.index_input("position_ids", &[None, None]);
    let words = b.embedding(ids, "wte", 50, 12, Role::Embedding, None);
    b.name_axis(words, -1, "embed");
    let places = b.embedding(positions, "wpe", 16, 12, Role::Position, None);
    let mut x = b.add(&[words, places]);
    for layer in 0..2 {
        b.block(&format!("h.{layer}"));
        let name = |part: &str| format!("h.{layer}.{part}");
        let y = b.norm(x, &name("ln_1"), NormKind::Layer, 1e-5, true);
        let qkv = b.linear(y, &name("attn.c_attn"), Linear::new(36).in_out());
        let parts = b.split(qkv, &[("q", 12), ("k", 12), ("v", 12)]);
        let y = b.attention(parts[0], parts[1], parts[2], None, attention(3, 3));
        let y = b.linear(y, &name("attn.c_proj"), Linear::new(12).in_out());
        x = b.add(&[y, x]);
        let y = b.norm(x, &name("ln_2"), NormKind::Layer, 1e-5, true);
        let y = b.linear(y, &name("mlp.c_fc"), Linear::new(40).in_out());
        let y = b.activation(y, "gelu".parse().unwrap());
        let y = b.linear(y, &name("mlp.c_proj"), Linear::new(12).in_out());
        x = b.add(&[x, y]);
    }
    b.end_block();
    let x = b.norm(x, "ln_f", NormKind::Layer, 1e-5, true);
    let logits = b.linear_tied(x, "wte.weight", None);
    b.tie("lm_head.weight", "wte.weight");
    b.output(logits, "logits");
    b.finish().unwrap()
}

#[test]
fn packed_transposed_projection_has_the_fans_of_its_parts() {
    let net = gpt();
    for part in ["q", "k", "v"] {
        assert_eq!(fans(&net, &format!("h.0.attn.c_attn.weight[{part}]")), (12.0, 12.0));
        assert_eq!(fans(&net, &format!("h.0.attn.c_attn.bias[{part}]")), (12.0, 12.0));
    }
    assert_eq!(fans(&net, "h.1.mlp.c_fc.weight"), (12.0, 40.0));
    assert_eq!(fans(&net, "h.1.mlp.c_proj.weight"), (40.0, 12.0));
    let keys = &site(&net, "h.0.attn.c_attn.weight[k]").view;
    assert_eq!((keys.offset, &keys.out, &keys.in_), (12, &vec![(12, 1)], &vec![(12, 36)]));
}

#[test]
fn own_sites_cover_every_element_once() {
    let net = gpt();
    for (index, param) in net.params().iter().enumerate() {
        let mut times = vec![0; param.len()];
        for site in net.sites_of(epoch0_net::ParamId(index as u32)) {
            site.view.runs(|_, storage, length, stride| {
                (0..length).for_each(|step| times[storage + step * stride] += 1);
            });
        }
        assert!(times.iter().all(|&n| n == 1), "{}: {times:?}", param.name);
    }
}

/// Index, count, degree and whether it is the last weight.
fn branch(net: &Network, label: &str) -> Option<(usize, usize, usize, bool)> {
    site(net, label).branch.map(|branch| (branch.index, branch.count, branch.degree, branch.is_last))
}

#[test]
fn residual_branches_are_known() {
    let net = gpt();
    for (label, index) in [
        ("h.0.attn.c_proj.weight", 0),
        ("h.0.mlp.c_proj.weight", 1),
        ("h.1.attn.c_proj.weight", 2),
        ("h.1.mlp.c_proj.weight", 3),
    ] {
        let degree = [4, 2][index % 2];
        assert_eq!(branch(&net, label), Some((index, 4, degree, true)), "{label}");
    }
    assert_eq!(net.sites().iter().filter(|site| site.ends_branch().is_some()).count(), 4);
    assert_eq!(branch(&net, "h.1.attn.c_attn.weight[k]"), Some((2, 4, 4, false)));
    assert_eq!(branch(&net, "h.1.mlp.c_fc.weight"), Some((3, 4, 2, false)));
    assert_eq!(branch(&net, "wte.weight"), None);
}

#[test]
fn tied_table_is_drawn_once_and_read_twice() {
    let net = gpt();
    let table = net.find("lm_head.weight").unwrap();
    assert_eq!(table, net.find("wte.weight").unwrap());
    let uses: Vec<_> = net.sites().iter().filter(|site| site.param == table).collect();
    assert_eq!(
        uses.iter().map(|site| (site.role, site.is_own)).collect::<Vec<_>>(),
        [(Role::Embedding, true), (Role::Readout, false)]
    );
    assert!(uses.iter().all(|site| site.is_tied));
}

#[test]
fn tied_table_is_looked_up_twice() {
    let mut b = Builder::new("two", Source::Built, Dtype::F32);
    let (left, right) = (b.index_input("left", &[None, None]), b.index_input("right", &[None, None]));
    let x = b.embedding(left, "shared", 50, 12, Role::Embedding, None);
    let y = b.embedding_tied(right, "shared.weight");
    b.output(x, "x");
    b.output(y, "y");
    let net = b.finish().unwrap();
    assert_eq!(net.n_params(), 600);
    assert_eq!(net.sites().iter().map(|site| site.is_own).collect::<Vec<_>>(), [true, false]);
    assert_eq!(net.value(net.outputs()[0]).dims[2], net.value(net.outputs()[1]).dims[2]);
}

#[test]
fn relative_bias_couples_the_heads_that_share_it() {
    let mut b = Builder::new("relative", Source::Built, Dtype::F32);
    let mut x = b.input("x", &[None, None, Some(12)]);
    let bias = b.relative_bias(x, "bias", 8, 3, 20, true);
    for layer in ["0", "1"] {
        b.block(layer);
        let [q, k, v] = ["q", "k", "v"].map(|part| b.linear(x, &format!("{layer}.{part}"), Linear::new(6)));
        let y = b.attention(q, k, v, Some(bias), attention(3, 3));
        x = b.linear(y, &format!("{layer}.o"), Linear::new(12));
    }
    b.output(x, "y");
    let net = b.finish().unwrap();
    let heads = net.param(net.find("bias.weight").unwrap()).axes[1];
    for name in ["0.q.weight", "1.k.weight", "1.v.weight"] {
        let packed = net.param(net.find(name).unwrap()).axes[0];
        let Some(Structure::Product(parts)) = &net.axis(packed).structure else { panic!("{name}") };
        assert_eq!(parts[0], heads, "{name}");
    }
}

#[test]
fn residual_stream_is_one_axis() {
    let net = gpt();
    assert_eq!(axis_names(&net, "wte.weight"), ["wte.rows", "embed"]);
    assert_eq!(axis_names(&net, "h.1.mlp.c_fc.weight"), ["embed", "h.1.mlp.c_fc.out"]);
    assert_eq!(axis_names(&net, "h.1.mlp.c_proj.weight"), ["h.1.mlp.c_fc.out", "embed"]);
    assert_eq!(axis_names(&net, "h.0.ln_1.weight"), ["embed"]);
    let packed = net.param(net.find("h.0.attn.c_attn.weight").unwrap()).axes[1];
    let Some(Structure::Concat(parts)) = &net.axis(packed).structure else { panic!("packed") };
    let Some(Structure::Product(query)) = &net.axis(parts[0]).structure else { panic!("heads") };
    let names: Vec<_> = query.iter().map(|&axis| net.axis(axis).name.as_str()).collect();
    assert_eq!(names, ["h.0.heads", "h.0.head_dim"]);
}

#[test]
fn activations_and_depths_follow_the_graph() {
    let net = gpt();
    assert_eq!(site(&net, "h.0.mlp.c_fc.weight").activation, Some("gelu".parse().unwrap()));
    assert_eq!(site(&net, "h.0.mlp.c_proj.weight").activation, None);
    assert_eq!(site(&net, "wte.weight").depth, 1);
    assert_eq!(site(&net, "h.0.attn.c_attn.weight[q]").depth, 2);
    assert_eq!(site(&net, "h.1.mlp.c_proj.weight").depth, 9);
    assert_eq!(site(&net, "h.1.mlp.c_proj.weight").block, Some(1));
}

#[test]
fn grouped_query_attention_shares_key_heads() {
    let mut b = Builder::new("gqa", Source::Built, Dtype::F32);
    let x = b.input("x", &[None, None, Some(8)]);
    let q = b.linear(x, "q", Linear::new(24));
    let k = b.linear(x, "k", Linear::new(8));
    let v = b.linear(x, "v", Linear::new(8));
    let q = b.head_norm(q, "q_norm", Head { count: 6, dim: 4 }, NormKind::Rms { offset: 0.0 }, 1e-6);
    let y = b.attention(q, k, v, None, attention(6, 2));
    let y = b.linear(y, "o", Linear::new(8));
    b.output(y, "y");
    let net = b.finish().unwrap();
    assert_eq!(fans(&net, "k.weight"), (8.0, 8.0));
    let axis = |name: &str, dim: usize| net.axis(net.param(net.find(name).unwrap()).axes[dim]).clone();
    let Some(Structure::Product(q)) = axis("q.weight", 0).structure else { panic!() };
    let Some(Structure::Product(k)) = axis("k.weight", 0).structure else { panic!() };
    assert_eq!(q[1], k[1], "queries and keys share the head dimension");
    assert_eq!(net.param(net.find("q_norm.weight").unwrap()).axes, [q[1]]);
    let Some(Structure::Product(groups)) = &net.axis(q[0]).structure else { panic!() };
    assert_eq!(groups[0], k[0], "query heads are grouped by key heads");
    assert_eq!(net.axis(groups[1]).size, Some(3));
}

#[test]
fn heads_that_do_not_divide_are_refused() {
    let mut b = Builder::new("bad", Source::Built, Dtype::F32);
    let x = b.input("x", &[None, None, Some(10)]);
    let y = b.attention(x, x, x, None, attention(3, 3));
    b.output(y, "y");
    let error = b.finish().unwrap_err().to_string();
    assert_eq!(error, "attention: heads is 3, allowed a divisor of the width 10");
}

#[test]
fn projected_shortcut_is_no_branch() {
    let mut b = Builder::new("residual", Source::Built, Dtype::F32);
    let image = b.input("x", &[None, Some(3), Some(8), Some(8)]);
    let mut x = b.conv(image, "stem", 4, Window::square(3, 1, 1), 1, false);
    for (block, (width, stride)) in [(4, 1), (8, 2)].into_iter().enumerate() {
        let name = |part: &str| format!("{block}.{part}");
        let y = b.conv(x, &name("conv1"), width, Window::square(3, stride, 1), 1, false);
        let y = b.norm(y, &name("bn1"), NormKind::Batch, 1e-5, true);
        let y = b.activation(y, "relu".parse().unwrap());
        let y = b.conv(y, &name("conv2"), width, Window::square(3, 1, 1), 1, false);
        let y = b.norm(y, &name("bn2"), NormKind::Batch, 1e-5, true);
        let skip = if stride == 2 {
            let skip = b.conv(x, &name("down"), width, Window::square(1, 2, 0), 1, false);
            b.norm(skip, &name("down_bn"), NormKind::Batch, 1e-5, true)
        } else {
            x
        };
        let y = b.add(&[y, skip]);
        x = b.activation(y, "relu".parse().unwrap());
    }
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.flatten(x);
    let x = b.linear(x, "fc", Linear::new(10).role(Role::Readout));
    b.output(x, "logits");
    let net = b.finish().unwrap();
    let ends: Vec<_> = net
        .sites()
        .iter()
        .filter_map(|site| Some((site.label(), site.ends_branch()?.index, site.ends_branch()?.count)))
        .collect();
    assert_eq!(ends, [("0.conv2.weight".to_owned(), 0, 2), ("1.conv2.weight".to_owned(), 1, 2)]);
    assert_eq!(axis_names(&net, "0.conv2.weight")[0], axis_names(&net, "stem.weight")[0]);
    assert_eq!(axis_names(&net, "1.down.weight")[0], axis_names(&net, "fc.weight")[1]);
    assert_eq!(fans(&net, "1.conv1.weight"), (36.0, 72.0));
    assert_eq!(site(&net, "0.conv2.weight").activation, Some("relu".parse().unwrap()));
}

#[test]
fn grouped_and_depthwise_convolutions_have_the_fans_of_a_group() {
    let mut b = Builder::new("groups", Source::Built, Dtype::F32);
    let x = b.input("x", &[None, Some(8), None, None]);
    let y = b.conv(x, "grouped", 12, Window::square(3, 1, 1), 4, true);
    let z = b.conv(x, "depthwise", 8, Window::square(7, 1, 3), 8, true);
    let z = b.unary(z, Op::Scale(2.0));
    b.output(y, "y");
    b.output(z, "z");
    let net = b.finish().unwrap();
    assert_eq!(fans(&net, "grouped.weight"), (18.0, 27.0));
    assert_eq!(fans(&net, "depthwise.weight"), (49.0, 49.0));
    let view = &site(&net, "grouped.weight").view;
    assert_eq!((view.n_batch(), view.n_out(), view.n_in(), view.receptive_shape()), (4, 3, 2, vec![3, 3]));
    assert!(view.is_contiguous());
    let param = |name: &str| net.param(net.find(name).unwrap());
    assert_eq!(
        param("depthwise.weight").axes[0],
        net.value(net.inputs()[0]).dims[1],
        "channels stay themselves"
    );
}

#[test]
fn class_token_stands_before_the_patches() {
    for shape in [&[1, 1, 8][..], &[8]] {
        let mut b = Builder::new("tokens", Source::Built, Dtype::F32);
        let words = b.index_input("words", &[None, Some(9)]);
        let patches = b.input("patches", &[None, Some(9), Some(8)]);
        let class = b.param("class", shape, Role::Token);
        let x = b.concat(&[class, patches], 1);
        assert_eq!([0, 1, 2].map(|dim| b.size(x, dim)), [None, Some(10), Some(8)]);
        let positions = b.param("positions", &[10, 8], Role::Position);
        let x = b.add(&[x, positions]);
        let y = b.linear(x, "fc", Linear::new(3));
        let end = b.select_token(patches, words, Some(5));
        b.output(y, "y");
        b.output(end, "end");
        let net = b.finish().unwrap();
        let channels = *net.param(net.find("fc.weight").unwrap()).axes.last().unwrap();
        for name in ["class", "positions"] {
            assert_eq!(net.param(net.find(name).unwrap()).axes.last(), Some(&channels), "{name}");
        }
        let batch = net.value(net.inputs()[0]).dims[0];
        let dims = net.outputs().iter().map(|&output| net.value(output).dims.clone()).collect::<Vec<_>>();
        assert_eq!((dims[0][0], &dims[1][..]), (batch, &[batch, channels][..]));
        assert_eq!(net.axis(batch).size, None);
        assert!(net.sites().iter().all(|site| site.branch.is_none()));
    }
}

#[test]
fn wrong_graphs_are_refused_by_name() {
    let refuse = |build: fn(&mut Builder)| {
        let mut b = Builder::new("bad", Source::Built, Dtype::F32);
        build(&mut b);
        b.finish().unwrap_err().to_string()
    };
    assert_eq!(
        refuse(|b| {
            let x = b.input("x", &[None, Some(3)]);
            b.linear(x, "fc", Linear::new(3));
            b.linear(x, "fc", Linear::new(3));
        }),
        "parameter `fc.weight` is declared twice"
    );
    assert_eq!(
        refuse(|b| {
            let x = b.input("x", &[None, Some(3), Some(4), Some(4)]);
            b.conv(x, "conv", 4, Window::square(3, 1, 0), 2, false);
        }),
        "conv: groups is 2, allowed a divisor of 3 inputs and 4 outputs"
    );
    assert_eq!(
        refuse(|b| {
            let x = b.input("x", &[None, Some(3), Some(2), Some(2)]);
            b.conv(x, "conv", 4, Window::square(5, 1, 0), 1, false);
        }),
        "conv: kernel is 5, allowed at most the padded input, 2 wide"
    );
    assert_eq!(
        refuse(|b| {
            let x = b.input("x", &[None, Some(3)]);
            let y = b.linear(x, "fc", Linear::new(4));
            b.add(&[x, y]);
        }),
        "add: dimensions of 3 and 4 have to agree"
    );
    assert_eq!(
        refuse(|b| {
            let x = b.input("x", &[None, Some(3)]);
            b.fix("waves", Fixed::Sinusoids);
            b.output(x, "x");
        }),
        "waves: shape is not that of a table, allowed two dimensions"
    );
    assert_eq!(
        refuse(|b| {
            let x = b.input("x", &[None, Some(3)]);
            b.concat(&[x, x], 2);
        }),
        "concat: dimension is 2, allowed less than 2, the number of dimensions"
    );
    assert_eq!(
        refuse(|b| {
            let x = b.input("x", &[None, None, Some(8)]);
            b.relative_bias(x, "bias", 3, 2, 20, true);
        }),
        "bias: buckets is 3, allowed at least 4"
    );
    assert_eq!(
        refuse(|b| {
            let x = b.input("x", &[None, None, Some(8)]);
            b.relative_bias(x, "bias", 32, 2, 16, false);
        }),
        "bias: largest distance is 16, allowed more than 16"
    );
    assert_eq!(
        refuse(|b| {
            let ids = b.index_input("ids", &[None, None]);
            b.embedding_tied(ids, "shared.weight");
        }),
        "`embedding` is tied to `shared.weight`, which is no parameter of the network"
    );
    assert_eq!(
        refuse(|b| b.tie("lm_head.weight", "wte.weight")),
        "`lm_head.weight` is tied to `wte.weight`, which is no parameter of the network"
    );
}

#[test]
fn padding_and_shuffling_keep_track_of_channels() {
    let mut b = Builder::new("channels", Source::Built, Dtype::F32);
    let x = b.input("x", &[None, Some(6), None, None]);
    let padded = b.pad(x, 1, 1, 2);
    let same = b.pad(x, 1, 0, 0);
    let shuffled = b.channel_shuffle(x, 2);
    for (value, name) in [(padded, "padded"), (same, "same"), (shuffled, "shuffled")] {
        b.output(value, name);
    }
    let net = b.finish().unwrap();
    let axis = |value: epoch0_net::ValueId| net.value(value).dims[1];
    let sizes = |parts: &[epoch0_net::AxisId]| parts.iter().map(|&at| net.axis(at).size).collect::<Vec<_>>();
    let Some(Structure::Concat(parts)) = &net.axis(axis(padded)).structure else { panic!("padded") };
    assert_eq!((sizes(parts), parts[1]), (vec![Some(1), Some(6), Some(2)], axis(x)));
    assert_eq!(axis(same), axis(x));
    let Some(Structure::Product(before)) = &net.axis(axis(x)).structure else { panic!("before") };
    let Some(Structure::Product(after)) = &net.axis(axis(shuffled)).structure else { panic!("after") };
    assert_eq!((before[0], before[1]), (after[1], after[0]));
    assert_eq!(sizes(before), [Some(2), Some(3)]);

    let mut b = Builder::new("bad", Source::Built, Dtype::F32);
    let x = b.input("x", &[None, Some(6), None, None]);
    b.channel_shuffle(x, 4);
    let error = b.finish().unwrap_err().to_string();
    assert_eq!(error, "channel shuffle: groups is 4, allowed a divisor of 6 channels");
}

#[test]
fn token_before_a_sequence_leaves_the_batch_open() {
    let mut b = Builder::new("token", Source::Built, Dtype::F32);
    let x = b.input("x", &[None, Some(5), Some(4)]);
    let token = b.param("token", &[1, 1, 4], Role::Token);
    let both = b.concat(&[token, x], 1);
    b.output(both, "both");
    let net = b.finish().unwrap();
    assert_eq!(net.value(both).dims[0], net.value(x).dims[0]);
    assert_eq!(net.axis(net.value(x).dims[0]).size, None);
    let sizes: Vec<_> = net.value(both).dims.iter().map(|&axis| net.axis(axis).size).collect();
    assert_eq!(sizes, [None, Some(6), Some(4)]);
    assert_eq!(net.param(net.find("token").unwrap()).axes[2], net.value(x).dims[2]);
}
