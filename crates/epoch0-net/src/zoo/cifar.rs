//! Residual networks of CIFAR: He et al. (2015, §4.2) and wide ones (Zagoruyko and Komodakis 2016).

use super::parts::{ConvNorm, Image, Norms, relu};
use super::spec::{DEPTH, Spec, WIDTH};
use crate::{Builder, NormKind, Pool, ValueId, Window};

/// `cifar_resnet:DEPTH`.
pub(super) fn resnet_of_depth(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let depth = depth_of(spec)?;
    resnet(spec, b, depth)
}

/// The depth after the colon, 6 n + 2.
pub(super) fn depth_of(spec: &mut Spec<'_>) -> Result<usize, String> {
    let depth = spec.sizes_needed("DEPTH", 1..=1, &DEPTH)?[0];
    if depth < 8 || depth % 6 != 2 {
        return Err(format!("depth is {depth}, allowed 6 n + 2: 8, 14, 20, 32, 44, 56, 110…"));
    }
    Ok(depth)
}

/// Depth 6 n + 2: three stages of n blocks, 16, 32 and 64 channels. Shortcuts that change the shape take every second
/// pixel and add channels of zeros (the paper's option A), or are convolutions (`shortcut=B`).
pub(super) fn resnet(spec: &mut Spec<'_>, b: &mut Builder, depth: usize) -> Result<(), String> {
    let image = Image::cifar(spec)?;
    let has_weights = spec.choice("shortcut", "A", &["A", "B"])? == "B";
    let norms = Norms::read(spec)?;
    let x = image.input(b);
    let x = ConvNorm::new("conv1", "bn1").norms(norms).apply(b, x, 16, 3, 1);
    let x = norms.shift(b, x, "bias1");
    let mut x = relu(b, x);
    for stage in 0..3 {
        let out = 16 << stage;
        for block in 0..(depth - 2) / 6 {
            let name = format!("layer{}.{block}", stage + 1);
            b.block(&name);
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let conv = |b: &mut Builder, x, at: usize, stride| {
                let (conv, norm) = (format!("{name}.conv{at}"), format!("{name}.bn{at}"));
                ConvNorm::new(&conv, &norm).norms(norms).apply(b, x, out, 3, stride)
            };
            let shift = |b: &mut Builder, x, at: &str| norms.shift(b, x, &format!("{name}.bias{at}"));
            let begin = shift(b, x, "1a");
            let y = conv(b, begin, 1, stride);
            let y = shift(b, y, "1b");
            let y = relu(b, y);
            let y = shift(b, y, "2a");
            let y = conv(b, y, 2, 1);
            let y = norms.factor(b, y, &format!("{name}.scale"));
            let y = shift(b, y, "2b");
            let skip = match (stride, has_weights) {
                (1, _) => x,
                (_, false) => padded(b, begin, out),
                (_, true) => {
                    let (conv, norm) = (format!("{name}.shortcut.0"), format!("{name}.shortcut.1"));
                    ConvNorm::new(&conv, &norm).norms(norms).apply(b, begin, out, 1, stride)
                }
            };
            let y = b.add(&[y, skip]);
            x = relu(b, y);
        }
    }
    b.end_block();
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.flatten(x);
    let x = norms.shift(b, x, "bias2");
    image.classify(b, x, "linear");
    Ok(())
}

/// Every second pixel, with as many channels of zeros on either side as make `out`.
fn padded(b: &mut Builder, x: ValueId, out: usize) -> ValueId {
    let missing = out - b.size(x, 1).unwrap_or(out).min(out);
    let x = b.pool(x, Pool::Max(Window::square(1, 2, 0)));
    b.pad(x, 1, missing / 2, missing - missing / 2)
}

/// `wide_resnet:DEPTH-WIDTH` with depth 6 n + 4, and `stem` channels behind the first convolution: normalization and activation stand before the convolutions.
pub(super) fn wide(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let sizes = spec.sizes_needed("DEPTH-WIDTH", 2..=2, &DEPTH)?;
    let (depth, width) = (sizes[0], sizes[1]);
    let stem = spec.size("stem", 16, &WIDTH)?;
    let image = Image::cifar(spec)?;
    if depth < 10 || depth % 6 != 4 {
        return Err(format!("depth is {depth}, allowed 6 n + 4: 10, 16, 22, 28, 40…"));
    }
    let x = image.input(b);
    let mut x = b.conv(x, "conv1", stem, Window::square(3, 1, 1), 1, false);
    for stage in 0..3 {
        let out = (16 << stage) * width;
        for block in 0..(depth - 4) / 6 {
            let name = format!("block{}.layer.{block}", stage + 1);
            b.block(&name);
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let norm = |b: &mut Builder, x, at: usize| {
                let x = b.norm(x, &format!("{name}.bn{at}"), NormKind::Batch, 1e-5, true);
                relu(b, x)
            };
            let start = norm(b, x, 1);
            let y = b.conv(start, &format!("{name}.conv1"), out, Window::square(3, stride, 1), 1, false);
            let y = norm(b, y, 2);
            let y = b.conv(y, &format!("{name}.conv2"), out, Window::square(3, 1, 1), 1, false);
            let skip = if b.size(x, 1) == Some(out) {
                x
            } else {
                let window = Window::square(1, stride, 0);
                b.conv(start, &format!("{name}.convShortcut"), out, window, 1, false)
            };
            x = b.add(&[skip, y]);
        }
    }
    b.end_block();
    let x = b.norm(x, "bn1", NormKind::Batch, 1e-5, true);
    let x = relu(b, x);
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.flatten(x);
    image.classify(b, x, "fc");
    Ok(())
}
