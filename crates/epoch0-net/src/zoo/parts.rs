//! What the networks of the zoo have in common.

use epoch0_num::Activation;

use super::spec::{RANK, SIDE, Spec, WIDTH, activation, number};
use crate::{Attention, Builder, Linear, NormKind, Pool, Role, ValueId, Window};

/// What images go in and how many classes come out.
pub(super) struct Image {
    pub(super) classes: usize,
    pub(super) channels: usize,
    pub(super) size: usize,
}

impl Image {
    /// Reads `classes=`, `in=` and `size=`.
    pub(super) fn read(
        spec: &mut Spec<'_>,
        classes: usize,
        channels: usize,
        size: usize,
    ) -> Result<Self, String> {
        Ok(Self {
            classes: spec.size("classes", classes, &WIDTH)?,
            channels: spec.size("in", channels, &WIDTH)?,
            size: spec.size("size", size, &SIDE)?,
        })
    }

    /// As ImageNet has it: 1000 classes, 3 channels, 224 × 224.
    pub(super) fn imagenet(spec: &mut Spec<'_>) -> Result<Self, String> {
        Self::read(spec, 1000, 3, 224)
    }

    /// As CIFAR-10 has it: 10 classes, 3 channels, 32 × 32.
    pub(super) fn cifar(spec: &mut Spec<'_>) -> Result<Self, String> {
        Self::read(spec, 10, 3, 32)
    }

    /// The network's input.
    pub(super) fn input(&self, b: &mut Builder) -> ValueId {
        let image = b.input("image", &[None, Some(self.channels), Some(self.size), Some(self.size)]);
        b.name_axis(image, 1, "image_channels");
        image
    }

    /// The linear map to the classes and the network's output.
    pub(super) fn classify(&self, b: &mut Builder, x: ValueId, name: &str) {
        let logits = b.linear(x, name, Linear::new(self.classes).role(Role::Readout));
        b.name_axis(logits, -1, "classes");
        b.output(logits, "logits");
    }
}

/// What stands in the place of normalizations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Norms {
    /// Batch normalization.
    Batch,
    /// A bias of each convolution.
    None,
    /// The single shifts and factors of Fixup (Zhang et al. 2019, section 3).
    Fixup,
}

impl Norms {
    /// Reads `norm=`.
    pub(super) fn read(spec: &mut Spec<'_>) -> Result<Self, String> {
        Ok(match spec.choice("norm", "batch", &["batch", "none", "fixup"])? {
            "none" => Self::None,
            "fixup" => Self::Fixup,
            _ => Self::Batch,
        })
    }

    /// The shift of that name, where there are some.
    pub(super) fn shift(self, b: &mut Builder, x: ValueId, name: &str) -> ValueId {
        if self != Self::Fixup {
            return x;
        }
        let shift = b.param(name, &[1], Role::Bias);
        b.add(&[x, shift])
    }

    /// The factor of that name, where there are some.
    pub(super) fn factor(self, b: &mut Builder, x: ValueId, name: &str) -> ValueId {
        if self != Self::Fixup {
            return x;
        }
        let factor = b.param(name, &[1], Role::Scalar);
        b.mul(&[x, factor])
    }
}

/// A convolution without bias, followed by a batch normalization or what stands in its place.
pub(super) struct ConvNorm<'a> {
    pub(super) conv: &'a str,
    pub(super) norm: &'a str,
    pub(super) groups: usize,
    pub(super) eps: f64,
    pub(super) norms: Norms,
    /// Whether there is a bias even where a normalization follows.
    has_bias: bool,
}

impl<'a> ConvNorm<'a> {
    pub(super) fn new(conv: &'a str, norm: &'a str) -> Self {
        Self { conv, norm, groups: 1, eps: 1e-5, norms: Norms::Batch, has_bias: false }
    }

    pub(super) fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    pub(super) fn eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    pub(super) fn bias(self) -> Self {
        Self { has_bias: true, ..self }
    }

    pub(super) fn norms(self, norms: Norms) -> Self {
        Self { norms, ..self }
    }

    /// With a square window that keeps the image's size at stride 1.
    pub(super) fn apply(
        self,
        b: &mut Builder,
        x: ValueId,
        out: usize,
        kernel: usize,
        stride: usize,
    ) -> ValueId {
        let norms = self.norms;
        let (norm, eps) = (self.norm, self.eps);
        let x = self.alone(b, x, out, kernel, stride);
        match norms {
            Norms::Batch => b.norm(x, norm, NormKind::Batch, eps, true),
            Norms::None | Norms::Fixup => x,
        }
    }

    /// The convolution without what follows.
    pub(super) fn alone(
        self,
        b: &mut Builder,
        x: ValueId,
        out: usize,
        kernel: usize,
        stride: usize,
    ) -> ValueId {
        let window = Window::square(kernel, stride, kernel / 2);
        b.conv(x, self.conv, out, window, self.groups, self.has_bias || self.norms == Norms::None)
    }
}

/// What stands behind a map.
#[derive(Clone, Debug)]
pub(super) enum Unit {
    /// An activation of each value.
    Each(Activation),
    /// The largest of so many values, each of a map of its own (Goodfellow et al. 2013).
    Maxout(usize),
}

impl Unit {
    /// Reads `act=`: an activation, or `maxoutK`.
    pub(super) fn read(spec: &mut Spec<'_>) -> Result<Self, String> {
        let Some(text) = spec.text("act") else { return Ok(Self::Each(Activation::Relu)) };
        let Some(rank) = text.strip_prefix("maxout") else {
            return activation("act", text).map(Self::Each);
        };
        let rank = rank.strip_prefix('(').and_then(|rank| rank.strip_suffix(')')).unwrap_or(rank);
        number("rank of maxout", rank.trim_start_matches('_'), &RANK).map(Self::Maxout)
    }

    /// How many outputs a map needs for so many units.
    pub(super) fn outputs(&self, units: usize) -> usize {
        if let Self::Maxout(rank) = self { units.saturating_mul(*rank) } else { units }
    }

    /// The units, along dimension `dim` of `x`.
    pub(super) fn apply(&self, b: &mut Builder, x: ValueId, dim: usize) -> ValueId {
        match self {
            Self::Each(act) => b.activation(x, act.clone()),
            Self::Maxout(rank) => b.maxout(x, dim, *rank),
        }
    }
}

/// Reads `pool=`: what windows of so many places are made one by.
pub(super) fn pooling(spec: &mut Spec<'_>, window: Window) -> Result<Pool, String> {
    Ok(match spec.choice("pool", "max", &["max", "mean"])? {
        "max" => Pool::Max(window),
        _ => Pool::Mean(window),
    })
}

pub(super) fn relu(b: &mut Builder, x: ValueId) -> ValueId {
    b.activation(x, Activation::Relu)
}

/// Squeeze and excitation (Hu et al. 2018): each channel times a factor computed from all channels' means.
pub(super) fn squeeze_excite(
    b: &mut Builder,
    x: ValueId,
    name: &str,
    squeeze: usize,
    inner: Activation,
    gate: Activation,
) -> ValueId {
    let channels = b.size(x, 1).unwrap_or(1);
    let y = b.pool(x, Pool::GlobalMean);
    let y = b.conv(y, &format!("{name}.fc1"), squeeze, Window::square(1, 1, 0), 1, true);
    let y = b.activation(y, inner);
    let y = b.conv(y, &format!("{name}.fc2"), channels, Window::square(1, 1, 0), 1, true);
    let y = b.activation(y, gate);
    b.mul(&[x, y])
}

/// Attention in which every head has its own keys and values.
pub(super) fn attention(heads: usize, width: usize, causal: bool) -> Attention {
    let scale = 1.0 / ((width / heads.max(1)).max(1) as f64).sqrt();
    Attention { heads, kv_heads: heads, scale, causal, window: None, rope: None, softcap: None }
}

/// Two linear maps with an activation between.
pub(super) fn feed_forward(
    b: &mut Builder,
    x: ValueId,
    names: [&str; 2],
    inner: usize,
    act: Activation,
    bias: bool,
) -> ValueId {
    let out = b.size(x, -1).unwrap_or(1);
    let y = b.linear(x, names[0], Linear::new(inner).bias(bias));
    let y = b.activation(y, act);
    b.linear(y, names[1], Linear::new(out).bias(bias))
}
