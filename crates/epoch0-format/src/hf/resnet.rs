//! ResNet: basic or bottleneck layers with batch normalization, as torchvision's (the stride in the 3 × 3
//! convolution) unless the config moves it into the first.

use epoch0_net::{Builder, Fans, Linear, Network, NormKind, Pool, Role, Site, ValueId, Window};
use epoch0_num::{Activation, Law};

use super::encoder::depths;
use super::{Config, ConfigError, Family, usual_start};

pub(super) static FAMILY: Family = Family {
    model_type: "resnet",
    architectures: &["ResNetForImageClassification", "ResNetModel"],
    ignored: &["out_features", "out_indices", "stage_names"],
    build,
    start,
};

/// Bottlenecks are this many times narrower than their layer.
const REDUCTION: usize = 4;

#[derive(Clone)]
struct Kind {
    is_bottleneck: bool,
    stride_first: bool,
    /// After the sum; inside a layer it is always the rectifier, whatever the config says.
    act: Activation,
}

fn build(config: &Config, architecture: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let channels = config.size_or("num_channels", 3)?;
    let stem = config.size("embedding_size", 64)?;
    let widths = config.sizes("hidden_sizes", &[256, 512, 1024, 2048])?;
    let depths = depths(config, &[3, 4, 6, 3])?;
    if depths.len() != widths.len() {
        return Err(config.wrong("depths", format!("a list as long as hidden_sizes, {}", widths.len())));
    }
    let kind = Kind {
        is_bottleneck: match config.word_or("layer_type", "bottleneck")?.as_str() {
            "bottleneck" => true,
            "basic" => false,
            _ => return Err(config.wrong("layer_type", "basic or bottleneck")),
        },
        stride_first: config.flag_or("downsample_in_bottleneck", false)?,
        act: config.activation_or("hidden_act", "relu")?,
    };
    if kind.is_bottleneck && widths.iter().any(|&width| width < REDUCTION) {
        return Err(config.wrong("hidden_sizes", format!("sizes of at least {REDUCTION} for bottlenecks")));
    }
    let first_stride = if config.flag_or("downsample_in_first_stage", false)? { 2 } else { 1 };
    let root = if architecture == "ResNetModel" { "" } else { "resnet." };

    let pixels = b.input("pixel_values", &[None, Some(channels), None, None]);
    let x = conv(b, pixels, &format!("{root}embedder.embedder"), stem, 7, 2);
    b.name_axis(x, 1, "stem");
    let x = b.activation(x, kind.act.clone());
    let mut x = b.pool(x, Pool::Max(Window::square(3, 2, 1)));
    for (stage, (&width, &depth)) in widths.iter().zip(&depths).enumerate() {
        for index in 0..depth {
            let stride = match (index, stage) {
                (0, 0) => first_stride,
                (0, _) => 2,
                _ => 1,
            };
            x = layer(b, x, &format!("{root}encoder.stages.{stage}.layers.{index}"), width, stride, &kind);
            b.name_axis(x, 1, &format!("stage{}", stage + 1));
        }
    }
    let pooled = b.pool(x, Pool::GlobalMean);
    if architecture == "ResNetModel" {
        b.output(x, "last_hidden_state");
        b.output(pooled, "pooler_output");
    } else {
        let pooled = b.flatten(pooled);
        let logits = b.linear(pooled, "classifier.1", Linear::new(config.n_labels()?).role(Role::Readout));
        b.output(logits, "logits");
    }
    Ok(())
}

/// A convolution that keeps the size up to its stride, and its batch normalization.
fn conv(b: &mut Builder, x: ValueId, name: &str, width: usize, kernel: usize, stride: usize) -> ValueId {
    let window = Window::square(kernel, stride, kernel / 2);
    let x = b.conv(x, &format!("{name}.convolution"), width, window, 1, false);
    b.norm(x, &format!("{name}.normalization"), NormKind::Batch, 1e-5, true)
}

fn layer(b: &mut Builder, x: ValueId, block: &str, width: usize, stride: usize, kind: &Kind) -> ValueId {
    b.block(block);
    let has_shortcut = b.size(x, 1) != Some(width) || stride != 1;
    let skip = if has_shortcut { conv(b, x, &format!("{block}.shortcut"), width, 1, stride) } else { x };
    let parts = if kind.is_bottleneck {
        let narrow = width / REDUCTION;
        let (first, second) = if kind.stride_first { (stride, 1) } else { (1, stride) };
        vec![(narrow, 1, first), (narrow, 3, second), (width, 1, 1)]
    } else {
        vec![(width, 3, stride), (width, 3, 1)]
    };
    let mut y = x;
    for (index, &(width, kernel, stride)) in parts.iter().enumerate() {
        y = conv(b, y, &format!("{block}.layer.{index}"), width, kernel, stride);
        if index + 1 < parts.len() {
            y = b.activation(y, Activation::Relu);
        }
    }
    let y = b.add(&[y, skip]);
    let y = b.activation(y, kind.act.clone());
    b.end_block();
    y
}

/// Convolutions by He's rule on their outputs, 2/fan-out; the classifier as torch's `Linear`, uniform within
/// ±1/√fan-in.
#[expect(clippy::unnecessary_wraps, reason = "the signature is that of every family")]
fn start(_: &Config, _: &Network, site: &Site) -> Result<Law, ConfigError> {
    let Some(Fans { in_, out }) = site.fans else { return Ok(usual_start(site, 0.0)) };
    Ok(if site.op == "conv" {
        Law::Normal { mean: 0.0, std: (2.0 / out).sqrt() }
    } else {
        let bound = 1.0 / in_.sqrt();
        Law::Uniform { low: -bound, high: bound }
    })
}
