//! Networks that set channels side by side: DenseNet, GoogLeNet, SqueezeNet, ShuffleNet, as torchvision has them.

use super::parts::{ConvNorm, Image, relu};
use super::spec::Spec;
use crate::{Builder, Linear, NormKind, Pool, Role, ValueId, Window};

/// DenseNet (Huang et al. 2017) with growth 32, four times that in bottlenecks and 64 channels to start with.
pub(super) fn densenet(spec: &mut Spec<'_>, b: &mut Builder, blocks: [usize; 4]) -> Result<(), String> {
    let image = Image::imagenet(spec)?;
    let (growth, bottleneck) = (32, 128);
    let x = image.input(b);
    let x = b.conv(x, "features.conv0", 64, Window::square(7, 2, 3), 1, false);
    let norm_relu = |b: &mut Builder, x, name: &str| {
        let x = b.norm(x, name, NormKind::Batch, 1e-5, true);
        relu(b, x)
    };
    let x = norm_relu(b, x, "features.norm0");
    let mut x = b.pool(x, Pool::Max(Window::square(3, 2, 1)));
    for (block, &n_layers) in blocks.iter().enumerate() {
        let mut parts = vec![x];
        for layer in 0..n_layers {
            let name = format!("features.denseblock{}.denselayer{}", block + 1, layer + 1);
            b.block(&name);
            let all = if parts.len() == 1 { x } else { b.concat(&parts, 1) };
            let y = norm_relu(b, all, &format!("{name}.norm1"));
            let y = b.conv(y, &format!("{name}.conv1"), bottleneck, Window::square(1, 1, 0), 1, false);
            let y = norm_relu(b, y, &format!("{name}.norm2"));
            parts.push(b.conv(y, &format!("{name}.conv2"), growth, Window::square(3, 1, 1), 1, false));
        }
        b.end_block();
        x = b.concat(&parts, 1);
        if block + 1 < blocks.len() {
            let name = format!("features.transition{}", block + 1);
            let half = b.size(x, 1).unwrap_or(2) / 2;
            x = norm_relu(b, x, &format!("{name}.norm"));
            x = b.conv(x, &format!("{name}.conv"), half, Window::square(1, 1, 0), 1, false);
            x = b.pool(x, Pool::Mean(Window::square(2, 2, 0)));
        }
    }
    let x = norm_relu(b, x, "features.norm5");
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.flatten(x);
    image.classify(b, x, "classifier");
    Ok(())
}

/// A module of GoogLeNet: its name; channels of the 1 × 1 branch, of the two branches of two convolutions (inner and
/// outer), and behind the pooling; whether a pooling with that window and stride 2 follows.
type Inception = (&'static str, [usize; 6], Option<usize>);

static INCEPTIONS: [Inception; 9] = [
    ("3a", [64, 96, 128, 16, 32, 32], None),
    ("3b", [128, 128, 192, 32, 96, 64], Some(3)),
    ("4a", [192, 96, 208, 16, 48, 64], None),
    ("4b", [160, 112, 224, 24, 64, 64], None),
    ("4c", [128, 128, 256, 24, 64, 64], None),
    ("4d", [112, 144, 288, 32, 64, 64], None),
    ("4e", [256, 160, 320, 32, 128, 128], Some(2)),
    ("5a", [256, 160, 320, 32, 128, 128], None),
    ("5b", [384, 192, 384, 48, 128, 128], None),
];

/// GoogLeNet (Szegedy et al. 2015) with batch normalization and, unless `aux=false`, its two auxiliary classifiers.
/// As in torchvision the third branch has a 3 × 3 kernel where the paper has 5 × 5.
pub(super) fn googlenet(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let image = Image::imagenet(spec)?;
    let has_aux = spec.flag("aux", true)?;
    let basic = |b: &mut Builder, x, name: &str, out, kernel, stride| {
        let (conv, norm) = (format!("{name}.conv"), format!("{name}.bn"));
        let x = ConvNorm::new(&conv, &norm).eps(1e-3).apply(b, x, out, kernel, stride);
        relu(b, x)
    };
    let x = image.input(b);
    let x = basic(b, x, "conv1", 64, 7, 2);
    let x = b.pool(x, Pool::MaxCeil(Window::square(3, 2, 0)));
    let x = basic(b, x, "conv2", 64, 1, 1);
    let x = basic(b, x, "conv3", 192, 3, 1);
    let mut x = b.pool(x, Pool::MaxCeil(Window::square(3, 2, 0)));
    let mut taps = Vec::new();
    for (name, [one, inner2, outer2, inner3, outer3, pooled], pool) in &INCEPTIONS {
        let module = format!("inception{name}");
        b.block(&module);
        let branch1 = basic(b, x, &format!("{module}.branch1"), *one, 1, 1);
        let branch2 = basic(b, x, &format!("{module}.branch2.0"), *inner2, 1, 1);
        let branch2 = basic(b, branch2, &format!("{module}.branch2.1"), *outer2, 3, 1);
        let branch3 = basic(b, x, &format!("{module}.branch3.0"), *inner3, 1, 1);
        let branch3 = basic(b, branch3, &format!("{module}.branch3.1"), *outer3, 3, 1);
        let branch4 = b.pool(x, Pool::MaxCeil(Window::square(3, 1, 1)));
        let branch4 = basic(b, branch4, &format!("{module}.branch4.1"), *pooled, 1, 1);
        x = b.concat(&[branch1, branch2, branch3, branch4], 1);
        if ["4a", "4d"].contains(name) {
            taps.push(x);
        }
        if let Some(kernel) = *pool {
            x = b.pool(x, Pool::MaxCeil(Window::square(kernel, 2, 0)));
        }
    }
    b.end_block();
    for (name, tap) in ["aux1", "aux2"].into_iter().zip(taps).filter(|_| has_aux) {
        let y = b.pool(tap, Pool::AdaptiveMean(vec![4, 4]));
        let y = basic(b, y, &format!("{name}.conv"), 128, 1, 1);
        let y = b.flatten(y);
        let y = b.linear(y, &format!("{name}.fc1"), Linear::new(1024));
        let y = relu(b, y);
        let y = b.linear(y, &format!("{name}.fc2"), Linear::new(image.classes).role(Role::Readout));
        b.output(y, name);
    }
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.flatten(x);
    image.classify(b, x, "fc");
    Ok(())
}

/// SqueezeNet 1.0 (Iandola et al. 2016).
pub(super) fn squeezenet(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let image = Image::imagenet(spec)?;
    let conv = |b: &mut Builder, x, name: &str, out, kernel: usize| {
        let x = b.conv(x, name, out, Window::square(kernel, 1, kernel / 2), 1, true);
        relu(b, x)
    };
    let x = image.input(b);
    let x = b.conv(x, "features.0", 96, Window::square(7, 2, 0), 1, true);
    let mut x = relu(b, x);
    // Position, channels of the squeezing convolution and of each of the expanding ones; none for a pooling.
    for (position, fire) in [
        (2, None),
        (3, Some((16, 64))),
        (4, Some((16, 64))),
        (5, Some((32, 128))),
        (6, None),
        (7, Some((32, 128))),
        (8, Some((48, 192))),
        (9, Some((48, 192))),
        (10, Some((64, 256))),
        (11, None),
        (12, Some((64, 256))),
    ] {
        let Some((squeeze, expand)) = fire else {
            x = b.pool(x, Pool::MaxCeil(Window::square(3, 2, 0)));
            continue;
        };
        let name = format!("features.{position}");
        b.block(&name);
        x = conv(b, x, &format!("{name}.squeeze"), squeeze, 1);
        let narrow = conv(b, x, &format!("{name}.expand1x1"), expand, 1);
        let wide = conv(b, x, &format!("{name}.expand3x3"), expand, 3);
        x = b.concat(&[narrow, wide], 1);
        b.end_block();
    }
    let x = conv(b, x, "classifier.1", image.classes, 1);
    b.name_axis(x, 1, "classes");
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.flatten(x);
    b.output(x, "logits");
    Ok(())
}

/// ShuffleNet v2 at width 1 (Ma et al. 2018).
pub(super) fn shufflenet(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let image = Image::imagenet(spec)?;
    let x = image.input(b);
    let x = ConvNorm::new("conv1.0", "conv1.1").apply(b, x, 24, 3, 2);
    let x = relu(b, x);
    let mut x = b.pool(x, Pool::Max(Window::square(3, 2, 1)));
    for (stage, n_blocks, width) in [(2, 4, 116), (3, 8, 232), (4, 4, 464)] {
        for block in 0..n_blocks {
            let name = format!("stage{stage}.{block}");
            b.block(&name);
            let half = width / 2;
            let stride = if block == 0 { 2 } else { 1 };
            let (left, right) = if block == 0 {
                let y = conv_norm(b, x, &format!("{name}.branch1"), 0, Depthwise(3, stride));
                let y = conv_norm(b, y, &format!("{name}.branch1"), 2, Pointwise(half));
                (relu(b, y), x)
            } else {
                let last = b.permute(x, true);
                let halves = b.split(last, &[("left", half), ("right", half)]);
                (b.permute(halves[0], false), b.permute(halves[1], false))
            };
            let name = format!("{name}.branch2");
            let y = conv_norm(b, right, &name, 0, Pointwise(half));
            let y = relu(b, y);
            let y = conv_norm(b, y, &name, 3, Depthwise(3, stride));
            let y = conv_norm(b, y, &name, 5, Pointwise(half));
            let y = relu(b, y);
            let both = b.concat(&[left, y], 1);
            x = b.channel_shuffle(both, 2);
        }
    }
    b.end_block();
    let x = ConvNorm::new("conv5.0", "conv5.1").apply(b, x, 1024, 1, 1);
    let x = relu(b, x);
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.flatten(x);
    image.classify(b, x, "fc");
    Ok(())
}

/// Kinds of convolution in ShuffleNet.
#[derive(Clone, Copy)]
enum Kind {
    /// Each channel by itself: kernel, stride.
    Depthwise(usize, usize),
    /// Each pixel by itself: channels.
    Pointwise(usize),
}
use Kind::{Depthwise, Pointwise};

/// A convolution at a position of a sequence, its normalization behind it.
fn conv_norm(b: &mut Builder, x: ValueId, sequence: &str, position: usize, kind: Kind) -> ValueId {
    let (conv, norm) = (format!("{sequence}.{position}"), format!("{sequence}.{}", position + 1));
    let both = ConvNorm::new(&conv, &norm);
    match kind {
        Depthwise(kernel, stride) => {
            let channels = b.size(x, 1).unwrap_or(1);
            both.groups(channels).apply(b, x, channels, kernel, stride)
        }
        Pointwise(out) => both.apply(b, x, out, 1, 1),
    }
}
