//! ConvNeXt (Liu et al. 2022), as torchvision has it.

use epoch0_num::Activation;

use super::parts::{Image, feed_forward};
use super::spec::Spec;
use crate::{Builder, NormKind, Pool, Role, ValueId, Window};

const EPS: f64 = 1e-6;

/// Stages of `blocks` blocks; `width` channels in the first, twice as many in each that follows.
pub(super) fn build(
    spec: &mut Spec<'_>,
    b: &mut Builder,
    blocks: [usize; 4],
    width: usize,
) -> Result<(), String> {
    let image = Image::imagenet(spec)?;
    let x = image.input(b);
    let x = b.conv(x, "features.0.0", width, Window::square(4, 4, 0), 1, true);
    let mut x = b.norm(x, "features.0.1", NormKind::LayerChannelsFirst, EPS, true);
    for (stage, n_blocks) in blocks.into_iter().enumerate() {
        let width = width << stage;
        if stage > 0 {
            let name = format!("features.{}", 2 * stage);
            x = b.norm(x, &format!("{name}.0"), NormKind::LayerChannelsFirst, EPS, true);
            x = b.conv(x, &format!("{name}.1"), width, Window::square(2, 2, 0), 1, true);
        }
        for index in 0..n_blocks {
            let name = format!("features.{}.{index}", 2 * stage + 1);
            b.block(&name);
            x = block(b, x, &name, width);
        }
        b.end_block();
    }
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.norm(x, "classifier.0", NormKind::LayerChannelsFirst, EPS, true);
    let x = b.flatten(x);
    image.classify(b, x, "classifier.2");
    Ok(())
}

fn block(b: &mut Builder, x: ValueId, name: &str, width: usize) -> ValueId {
    let scale = b.param(&format!("{name}.layer_scale"), &[width, 1, 1], Role::LayerScale);
    let y = b.conv(x, &format!("{name}.block.0"), width, Window::square(7, 1, 3), width, true);
    let y = b.permute(y, true);
    let y = b.norm(y, &format!("{name}.block.2"), NormKind::Layer, EPS, true);
    let names = [format!("{name}.block.3"), format!("{name}.block.5")];
    let y = feed_forward(b, y, [&names[0], &names[1]], 4 * width, Activation::Gelu, true);
    let y = b.permute(y, false);
    let y = b.mul(&[y, scale]);
    b.add(&[x, y])
}
