//! Inverted bottlenecks: MobileNet v2 and v3, EfficientNet, as torchvision has them.

use epoch0_num::Activation;

use super::parts::{ConvNorm, Image, squeeze_excite};
use super::spec::Spec;
use crate::{Builder, Linear, Pool, ValueId};

/// MobileNet v2 (Sandler et al. 2018).
pub(super) fn v2(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let image = Image::imagenet(spec)?;
    let conv = |b: &mut Builder, x, name: &str, out, kernel, stride, groups| {
        let (conv, norm) = (format!("{name}.0"), format!("{name}.1"));
        let x = ConvNorm::new(&conv, &norm).groups(groups).apply(b, x, out, kernel, stride);
        b.activation(x, Activation::Relu6)
    };
    let x = image.input(b);
    let mut x = conv(b, x, "features.0", 32, 3, 2, 1);
    let mut position = 1;
    // Expansion, channels, blocks, stride of the first.
    for (expansion, out, n_blocks, first_stride) in [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ] {
        for block in 0..n_blocks {
            let name = format!("features.{position}");
            b.block(&name);
            let stride = if block == 0 { first_stride } else { 1 };
            let n_in = b.size(x, 1).unwrap_or(1);
            let inner = expansion * n_in;
            let mut y = x;
            let mut at = 0;
            if expansion != 1 {
                y = conv(b, y, &format!("{name}.conv.{at}"), inner, 1, 1, 1);
                at += 1;
            }
            y = conv(b, y, &format!("{name}.conv.{at}"), inner, 3, stride, inner);
            let (project, norm) = (format!("{name}.conv.{}", at + 1), format!("{name}.conv.{}", at + 2));
            y = ConvNorm::new(&project, &norm).apply(b, y, out, 1, 1);
            x = if stride == 1 && n_in == out { b.add(&[x, y]) } else { y };
            position += 1;
        }
    }
    b.end_block();
    let x = conv(b, x, "features.18", 1280, 1, 1, 1);
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.flatten(x);
    image.classify(b, x, "classifier.1");
    Ok(())
}

/// An inverted bottleneck: kernel, channels inside and behind, channels that gates are computed from, stride.
struct Inverted {
    kernel: usize,
    inner: usize,
    out: usize,
    squeeze: Option<usize>,
    stride: usize,
    act: Activation,
    squeeze_act: Activation,
    gate: Activation,
    eps: f64,
}

impl Inverted {
    /// Sub-modules are numbered in `NAME.block`.
    fn apply(&self, b: &mut Builder, x: ValueId, name: &str) -> ValueId {
        let n_in = b.size(x, 1).unwrap_or(1);
        let mut at = 0;
        let mut conv = |b: &mut Builder, x, out, kernel, stride, groups| {
            let (conv, norm) = (format!("{name}.block.{at}.0"), format!("{name}.block.{at}.1"));
            at += 1;
            ConvNorm::new(&conv, &norm).groups(groups).eps(self.eps).apply(b, x, out, kernel, stride)
        };
        let mut y = x;
        if self.inner != n_in {
            y = conv(b, y, self.inner, 1, 1, 1);
            y = b.activation(y, self.act.clone());
        }
        y = conv(b, y, self.inner, self.kernel, self.stride, self.inner);
        y = b.activation(y, self.act.clone());
        if let Some(squeeze) = self.squeeze {
            let place = format!("{name}.block.{at}");
            at += 1;
            y = squeeze_excite(b, y, &place, squeeze, self.squeeze_act.clone(), self.gate.clone());
        }
        let (project, norm) = (format!("{name}.block.{at}.0"), format!("{name}.block.{at}.1"));
        y = ConvNorm::new(&project, &norm).eps(self.eps).apply(b, y, self.out, 1, 1);
        if self.stride == 1 && n_in == self.out { b.add(&[x, y]) } else { y }
    }
}

/// A row of MobileNet v3: kernel, inner channels, channels, squeeze and excitation, `h` for hard swish, stride.
type Row = (usize, usize, usize, bool, char, usize);

/// MobileNet v3 (Howard et al. 2019).
pub(super) struct V3 {
    rows: &'static [Row],
    last: usize,
}

pub(super) static SMALL: V3 = V3 {
    rows: &[
        (3, 16, 16, true, 'r', 2),
        (3, 72, 24, false, 'r', 2),
        (3, 88, 24, false, 'r', 1),
        (5, 96, 40, true, 'h', 2),
        (5, 240, 40, true, 'h', 1),
        (5, 240, 40, true, 'h', 1),
        (5, 120, 48, true, 'h', 1),
        (5, 144, 48, true, 'h', 1),
        (5, 288, 96, true, 'h', 2),
        (5, 576, 96, true, 'h', 1),
        (5, 576, 96, true, 'h', 1),
    ],
    last: 1024,
};

pub(super) static LARGE: V3 = V3 {
    rows: &[
        (3, 16, 16, false, 'r', 1),
        (3, 64, 24, false, 'r', 2),
        (3, 72, 24, false, 'r', 1),
        (5, 72, 40, true, 'r', 2),
        (5, 120, 40, true, 'r', 1),
        (5, 120, 40, true, 'r', 1),
        (3, 240, 80, false, 'h', 2),
        (3, 200, 80, false, 'h', 1),
        (3, 184, 80, false, 'h', 1),
        (3, 184, 80, false, 'h', 1),
        (3, 480, 112, true, 'h', 1),
        (3, 672, 112, true, 'h', 1),
        (5, 672, 160, true, 'h', 2),
        (5, 960, 160, true, 'h', 1),
        (5, 960, 160, true, 'h', 1),
    ],
    last: 1280,
};

/// The multiple of 8 next to `width`, but not below nine tenths of it.
fn round_to_8(width: usize) -> usize {
    let rounded = ((width + 4) / 8 * 8).max(8);
    if rounded * 10 < width * 9 { rounded + 8 } else { rounded }
}

impl V3 {
    pub(super) fn build(&self, spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
        let image = Image::imagenet(spec)?;
        let eps = 1e-3;
        let x = image.input(b);
        let x = ConvNorm::new("features.0.0", "features.0.1").eps(eps).apply(b, x, 16, 3, 2);
        let mut x = b.activation(x, Activation::HardSwish);
        for (index, &(kernel, inner, out, gated, act, stride)) in self.rows.iter().enumerate() {
            let name = format!("features.{}", index + 1);
            b.block(&name);
            let inverted = Inverted {
                kernel,
                inner,
                out,
                squeeze: gated.then(|| round_to_8(inner / 4)),
                stride,
                act: if act == 'h' { Activation::HardSwish } else { Activation::Relu },
                squeeze_act: Activation::Relu,
                gate: Activation::HardSigmoid,
                eps,
            };
            x = inverted.apply(b, x, &name);
        }
        b.end_block();
        let n_features = self.rows.len() + 1;
        let wide = 6 * b.size(x, 1).unwrap_or(1);
        let (conv, norm) = (format!("features.{n_features}.0"), format!("features.{n_features}.1"));
        let x = ConvNorm::new(&conv, &norm).eps(eps).apply(b, x, wide, 1, 1);
        let x = b.activation(x, Activation::HardSwish);
        let x = b.pool(x, Pool::GlobalMean);
        let x = b.flatten(x);
        let x = b.linear(x, "classifier.0", Linear::new(self.last));
        let x = b.activation(x, Activation::HardSwish);
        image.classify(b, x, "classifier.3");
        Ok(())
    }
}

/// EfficientNet-B0 (Tan and Le 2019).
pub(super) fn efficientnet(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let image = Image::imagenet(spec)?;
    let x = image.input(b);
    let x = ConvNorm::new("features.0.0", "features.0.1").apply(b, x, 32, 3, 2);
    let mut x = b.activation(x, Activation::Silu);
    // Expansion, kernel, stride of the first block, channels, blocks.
    let stages = [
        (1, 3, 1, 16, 1),
        (6, 3, 2, 24, 2),
        (6, 5, 2, 40, 2),
        (6, 3, 2, 80, 3),
        (6, 5, 1, 112, 3),
        (6, 5, 2, 192, 4),
        (6, 3, 1, 320, 1),
    ];
    for (stage, (expansion, kernel, first_stride, out, n_blocks)) in stages.into_iter().enumerate() {
        for block in 0..n_blocks {
            let name = format!("features.{}.{block}", stage + 1);
            b.block(&name);
            let n_in = b.size(x, 1).unwrap_or(1);
            let inverted = Inverted {
                kernel,
                inner: expansion * n_in,
                out,
                squeeze: Some((n_in / 4).max(1)),
                stride: if block == 0 { first_stride } else { 1 },
                act: Activation::Silu,
                squeeze_act: Activation::Silu,
                gate: Activation::Sigmoid,
                eps: 1e-5,
            };
            x = inverted.apply(b, x, &name);
        }
    }
    b.end_block();
    let x = ConvNorm::new("features.8.0", "features.8.1").apply(b, x, 1280, 1, 1);
    let x = b.activation(x, Activation::Silu);
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.flatten(x);
    image.classify(b, x, "classifier.1");
    Ok(())
}
