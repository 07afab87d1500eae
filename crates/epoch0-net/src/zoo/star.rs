//! Networks of star blocks, products of two maps element by element (Ma et al. 2024), with the names of the authors'.

use epoch0_num::Activation;

use super::parts::{ConvNorm, Image};
use super::spec::{DEPTH, Spec, WIDTH};
use crate::{Builder, Linear, NormKind, Pool, Role, ValueId, Window};

/// How the two maps of a block meet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Mul,
    Sum,
}

impl Mode {
    fn read(spec: &mut Spec<'_>) -> Result<Self, String> {
        Ok(if spec.choice("mode", "mul", &["mul", "sum"])? == "mul" { Self::Mul } else { Self::Sum })
    }

    /// The first map's output, through the activation, with the second's.
    fn join(self, b: &mut Builder, [x1, x2]: [ValueId; 2], act: &Activation) -> ValueId {
        let x1 = if *act == Activation::Identity { x1 } else { b.activation(x1, act.clone()) };
        match self {
            Self::Mul => b.mul(&[x1, x2]),
            Self::Sum => b.add(&[x1, x2]),
        }
    }
}

/// StarNet: blocks in each stage, channels in the first, and by how much blocks are wider inside.
pub(super) struct StarNet {
    pub(super) width: usize,
    pub(super) blocks: [usize; 4],
    pub(super) ratio: usize,
}

impl StarNet {
    pub(super) fn build(&self, spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
        let image = Image::imagenet(spec)?;
        let mode = Mode::read(spec)?;
        let act = spec.activation("act", Activation::Relu6)?;
        let x = image.input(b);
        let x = conv(b, x, "stem.0", 32, (3, 2), 1, true);
        let mut x = b.activation(x, Activation::Relu6);
        for (stage, &n_blocks) in self.blocks.iter().enumerate() {
            let width = self.width << stage;
            x = conv(b, x, &format!("stages.{stage}.0"), width, (3, 2), 1, true);
            for block in 1..=n_blocks {
                let name = format!("stages.{stage}.{block}");
                b.block(&name);
                let y = conv(b, x, &format!("{name}.dwconv"), width, (7, 1), width, true);
                let maps = ["f1", "f2"]
                    .map(|map| conv(b, y, &format!("{name}.{map}"), self.ratio * width, (1, 1), 1, false));
                let y = mode.join(b, maps, &act);
                let y = conv(b, y, &format!("{name}.g"), width, (1, 1), 1, true);
                let y = conv(b, y, &format!("{name}.dwconv2"), width, (7, 1), width, false);
                x = b.add(&[x, y]);
            }
            b.end_block();
        }
        let x = b.norm(x, "norm", NormKind::Batch, 1e-5, true);
        let x = b.pool(x, Pool::GlobalMean);
        let x = b.flatten(x);
        image.classify(b, x, "head");
        Ok(())
    }
}

/// A convolution with a bias, `NAME.conv`, and a batch normalization, `NAME.bn`, where it has one.
fn conv(
    b: &mut Builder,
    x: ValueId,
    name: &str,
    out: usize,
    (kernel, stride): (usize, usize),
    groups: usize,
    is_normed: bool,
) -> ValueId {
    let (conv, norm) = (format!("{name}.conv"), format!("{name}.bn"));
    let maps = ConvNorm::new(&conv, &norm).groups(groups).bias();
    if is_normed { maps.apply(b, x, out, kernel, stride) } else { maps.alone(b, x, out, kernel, stride) }
}

/// What the blocks of DemoNet have in common.
struct Demo {
    depth: usize,
    width: usize,
    mode: Mode,
    act: Activation,
}

impl Demo {
    fn read(spec: &mut Spec<'_>, default: [usize; 2], act: Activation) -> Result<Self, String> {
        let sizes = spec.sizes("DEPTH-WIDTH", 2..=2, &WIDTH)?;
        let (depth, width) = sizes.map_or((default[0], default[1]), |sizes| (sizes[0], sizes[1]));
        if !DEPTH.contains(&depth) {
            return Err(format!("depth is {depth}, allowed {} to {}", DEPTH.start(), DEPTH.end()));
        }
        Ok(Self { depth, width, mode: Mode::read(spec)?, act: spec.activation("act", act)? })
    }

    /// `f`, a map to two values three times as wide, their star, and `g`, a map back.
    fn star(&self, b: &mut Builder, x: ValueId, name: &str) -> ValueId {
        let inner = 3 * self.width;
        let y = b.linear(x, &format!("{name}.f"), Linear::new(2 * inner));
        let parts = b.split(y, &[("x1", inner), ("x2", inner)]);
        let y = self.mode.join(b, [parts[0], parts[1]], &self.act);
        b.linear(y, &format!("{name}.g"), Linear::new(self.width))
    }
}

/// DemoNet of images: all blocks alike, each a depthwise convolution and a star.
pub(super) fn demonet(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let demo = Demo::read(spec, [12, 384], Activation::Gelu)?;
    let image = Image::imagenet(spec)?;
    let patch = spec.size("patch", 16, &(1..=image.size))?;
    let has_scale = spec.flag("layer_scale", true)?;
    let x = image.input(b);
    let x = b.conv(x, "stem", demo.width, Window::square(patch, patch, 0), 1, true);
    let mut x = b.permute(x, true);
    for block in 0..demo.depth {
        let name = format!("blocks.{block}");
        b.block(&name);
        let y = b.norm(x, &format!("{name}.norm"), NormKind::Layer, 1e-5, true);
        let y = b.permute(y, false);
        let window = Window::square(7, 1, 3);
        let y = b.conv(y, &format!("{name}.dwconv"), demo.width, window, demo.width, true);
        let y = b.permute(y, true);
        let mut y = demo.star(b, y, &name);
        if has_scale {
            y = b.channel_scale(y, &format!("{name}.gamma"), 3, Role::LayerScale);
        }
        x = b.add(&[x, y]);
    }
    b.end_block();
    let x = b.permute(x, false);
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.flatten(x);
    let x = b.norm(x, "norm", NormKind::Layer, 1e-5, true);
    image.classify(b, x, "head");
    Ok(())
}

/// DemoNet of points: no convolutions, no factors.
pub(super) fn demonet_2d(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let demo = Demo::read(spec, [4, 100], Activation::Relu)?;
    let n_inputs = spec.size("in", 2, &WIDTH)?;
    let classes = spec.size("classes", 2, &WIDTH)?;
    let x = b.input("x", &[None, Some(n_inputs)]);
    b.name_axis(x, -1, "inputs");
    let mut x = b.linear(x, "stem", Linear::new(demo.width));
    for block in 0..demo.depth {
        let name = format!("blocks.{block}");
        b.block(&name);
        let y = b.norm(x, &format!("{name}.norm"), NormKind::Layer, 1e-5, true);
        let y = demo.star(b, y, &name);
        x = b.add(&[x, y]);
    }
    b.end_block();
    let x = b.norm(x, "norm", NormKind::Layer, 1e-5, true);
    let y = b.linear(x, "head", Linear::new(classes).role(Role::Readout));
    b.output(y, "logits");
    Ok(())
}
