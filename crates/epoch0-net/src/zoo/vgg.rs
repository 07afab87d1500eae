//! AlexNet and VGG, as torchvision has them.

use epoch0_num::Activation;

use super::parts::{Image, Unit, pooling, relu};
use super::spec::Spec;
use crate::{Builder, Linear, NormKind, Pool, ValueId, Window};

/// AlexNet (Krizhevsky 2014, "One weird trick").
pub(super) fn alexnet(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let image = Image::imagenet(spec)?;
    let mut x = image.input(b);
    // Name, channels, kernel, stride, padding, and whether a pooling follows.
    for (name, out, kernel, stride, padding, pooled) in [
        ("features.0", 64, 11, 4, 2, true),
        ("features.3", 192, 5, 1, 2, true),
        ("features.6", 384, 3, 1, 1, false),
        ("features.8", 256, 3, 1, 1, false),
        ("features.10", 256, 3, 1, 1, true),
    ] {
        x = b.conv(x, name, out, Window::square(kernel, stride, padding), 1, true);
        x = relu(b, x);
        if pooled {
            x = b.pool(x, Pool::Max(Window::square(3, 2, 0)));
        }
    }
    x = b.pool(x, Pool::AdaptiveMean(vec![6, 6]));
    let relu = Unit::Each(Activation::Relu);
    classify(b, x, &image, &relu, ["classifier.1", "classifier.4", "classifier.6"]);
    Ok(())
}

/// VGG (Simonyan and Zisserman 2014); `stages` counts the convolutions before each pooling.
pub(super) fn vgg(
    spec: &mut Spec<'_>,
    b: &mut Builder,
    stages: [usize; 5],
    norm: bool,
) -> Result<(), String> {
    let image = Image::imagenet(spec)?;
    let unit = Unit::read(spec)?;
    let pool = pooling(spec, Window::square(2, 2, 0))?;
    let mut x = image.input(b);
    let mut position = 0;
    for (n_convs, out) in stages.into_iter().zip([64, 128, 256, 512, 512]) {
        for _ in 0..n_convs {
            let outputs = unit.outputs(out);
            x = b.conv(x, &format!("features.{position}"), outputs, Window::square(3, 1, 1), 1, true);
            position += 1;
            if norm {
                x = b.norm(x, &format!("features.{position}"), NormKind::Batch, 1e-5, true);
                position += 1;
            }
            x = unit.apply(b, x, 1);
            position += 1;
        }
        x = b.pool(x, pool.clone());
        position += 1;
    }
    x = b.pool(x, Pool::AdaptiveMean(vec![7, 7]));
    classify(b, x, &image, &unit, ["classifier.0", "classifier.3", "classifier.6"]);
    Ok(())
}

fn classify(b: &mut Builder, x: ValueId, image: &Image, unit: &Unit, names: [&str; 3]) {
    let mut x = b.flatten(x);
    for name in &names[..2] {
        x = b.linear(x, name, Linear::new(unit.outputs(4096)));
        x = unit.apply(b, x, 1);
    }
    image.classify(b, x, names[2]);
}
