//! Residual networks of ImageNet, as torchvision has them.

use super::parts::{ConvNorm, Image, Norms, relu};
use super::spec::Spec;
use crate::{Builder, Pool, ValueId, Window};

/// A residual network.
pub(super) struct ResNet {
    /// Blocks of each stage.
    pub(super) blocks: [usize; 4],
    /// Kind of block.
    pub(super) block: Block,
}

/// A residual block.
#[derive(Clone, Copy)]
pub(super) enum Block {
    /// Two 3 × 3 convolutions.
    Basic,
    /// 1 × 1, 3 × 3 and 1 × 1 convolutions; the second has `groups` groups of `width` channels, times 1, 2, 4, 8
    /// along the stages.
    Bottleneck { groups: usize, width: usize },
}

impl ResNet {
    pub(super) fn build(&self, spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
        let image = Image::imagenet(spec)?;
        let norms = Norms::read(spec)?;
        let x = image.input(b);
        let x = ConvNorm::new("conv1", "bn1").norms(norms).apply(b, x, 64, 7, 2);
        let x = norms.shift(b, x, "bias1");
        let x = relu(b, x);
        let mut x = b.pool(x, Pool::Max(Window::square(3, 2, 1)));
        for (stage, &n_blocks) in self.blocks.iter().enumerate() {
            for block in 0..n_blocks {
                let name = format!("layer{}.{block}", stage + 1);
                b.block(&name);
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                x = self.block.apply(b, x, &name, 64 << stage, stride, norms);
            }
        }
        b.end_block();
        let x = b.pool(x, Pool::GlobalMean);
        let x = b.flatten(x);
        let x = norms.shift(b, x, "bias2");
        image.classify(b, x, "fc");
        Ok(())
    }
}

impl Block {
    fn apply(
        self,
        b: &mut Builder,
        x: ValueId,
        name: &str,
        planes: usize,
        stride: usize,
        norms: Norms,
    ) -> ValueId {
        let conv = |b: &mut Builder, x, at: usize, out, kernel, stride, groups| {
            let (conv, norm) = (format!("{name}.conv{at}"), format!("{name}.bn{at}"));
            ConvNorm::new(&conv, &norm).groups(groups).norms(norms).apply(b, x, out, kernel, stride)
        };
        let shift = |b: &mut Builder, x, at: &str| norms.shift(b, x, &format!("{name}.bias{at}"));
        let factor = |b: &mut Builder, x| norms.factor(b, x, &format!("{name}.scale"));
        let begin = shift(b, x, "1a");
        let (y, out) = match self {
            Self::Basic => {
                let y = conv(b, begin, 1, planes, 3, stride, 1);
                let y = shift(b, y, "1b");
                let y = relu(b, y);
                let y = shift(b, y, "2a");
                let y = conv(b, y, 2, planes, 3, 1, 1);
                let y = factor(b, y);
                (shift(b, y, "2b"), planes)
            }
            Self::Bottleneck { groups, width } => {
                let inner = planes * width / 64 * groups;
                let y = conv(b, begin, 1, inner, 1, 1, 1);
                let y = shift(b, y, "1b");
                let y = relu(b, y);
                let y = shift(b, y, "2a");
                let y = conv(b, y, 2, inner, 3, stride, groups);
                let y = shift(b, y, "2b");
                let y = relu(b, y);
                let y = shift(b, y, "3a");
                let y = conv(b, y, 3, 4 * planes, 1, 1, 1);
                let y = factor(b, y);
                (shift(b, y, "3b"), 4 * planes)
            }
        };
        let skip = if stride != 1 || b.size(x, 1) != Some(out) {
            let (conv, norm) = (format!("{name}.downsample.0"), format!("{name}.downsample.1"));
            ConvNorm::new(&conv, &norm).norms(norms).apply(b, begin, out, 1, stride)
        } else {
            x
        };
        let y = b.add(&[y, skip]);
        relu(b, y)
    }
}
