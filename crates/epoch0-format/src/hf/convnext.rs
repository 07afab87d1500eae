//! ConvNeXt: depthwise convolutions, a channels-last network of two layers, a small factor per channel.

use epoch0_net::{Builder, Linear, Network, NormKind, Pool, Role, Site, ValueId, Window};
use epoch0_num::{Activation, Law};

use super::decoder::init_std;
use super::encoder::depths;
use super::vit::height_and_width;
use super::{Config, ConfigError, Family, usual_start};

pub(super) static FAMILY: Family = Family {
    model_type: "convnext",
    architectures: &["ConvNextForImageClassification", "ConvNextModel"],
    ignored: &["drop_path_rate", "image_size", "out_features", "out_indices", "stage_names"],
    build,
    start,
};

/// Added to variances inside; only the last norm has a key of the config.
const EPS: f64 = 1e-6;

fn build(config: &Config, architecture: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let channels = config.size_or("num_channels", 3)?;
    let patch = height_and_width(config, "patch_size", 4)?;
    let n_stages = config.size_or("num_stages", 4)?;
    let widths = config.sizes("hidden_sizes", &[96, 192, 384, 768])?;
    let depths = depths(config, &[3, 3, 9, 3])?;
    for (key, list) in [("hidden_sizes", &widths), ("depths", &depths)] {
        if list.len() != n_stages {
            return Err(config.wrong(key, format!("a list of {n_stages} sizes, num_stages")));
        }
    }
    let act = config.activation_or("hidden_act", "gelu")?;
    let has_scale = config.number_or("layer_scale_init_value", 1e-6)? > 0.0;
    let eps = config.number_or("layer_norm_eps", 1e-12)?;
    let root = if architecture == "ConvNextModel" { "" } else { "convnext." };

    let pixels = b.input("pixel_values", &[None, Some(channels), None, None]);
    let x = b.conv(
        pixels,
        &format!("{root}embeddings.patch_embeddings"),
        widths[0],
        Window { kernel: patch.to_vec(), stride: patch.to_vec(), padding: vec![0; 2], dilation: vec![1; 2] },
        1,
        true,
    );
    let mut x = b.norm(x, &format!("{root}embeddings.layernorm"), NormKind::LayerChannelsFirst, EPS, true);
    for (stage, (&width, &depth)) in widths.iter().zip(&depths).enumerate() {
        let name = format!("{root}encoder.stages.{stage}");
        if stage > 0 {
            let y =
                b.norm(x, &format!("{name}.downsampling_layer.0"), NormKind::LayerChannelsFirst, EPS, true);
            let window = Window::square(2, 2, 0);
            x = b.conv(y, &format!("{name}.downsampling_layer.1"), width, window, 1, true);
        }
        b.name_axis(x, 1, &format!("stage{}", stage + 1));
        for index in 0..depth {
            x = layer(b, x, &format!("{name}.layers.{index}"), width, &act, has_scale);
        }
    }
    let pooled = b.pool(x, Pool::GlobalMean);
    let pooled = b.flatten(pooled);
    let pooled = b.norm(pooled, &format!("{root}layernorm"), NormKind::Layer, eps, true);
    if architecture == "ConvNextModel" {
        b.output(x, "last_hidden_state");
        b.output(pooled, "pooler_output");
    } else {
        let logits = b.linear(pooled, "classifier", Linear::new(config.n_labels()?).role(Role::Readout));
        b.output(logits, "logits");
    }
    Ok(())
}

fn layer(
    b: &mut Builder,
    x: ValueId,
    block: &str,
    width: usize,
    act: &Activation,
    has_scale: bool,
) -> ValueId {
    b.block(block);
    let name = |part: &str| format!("{block}.{part}");
    let y = b.conv(x, &name("dwconv"), width, Window::square(7, 1, 3), width, true);
    let y = b.permute(y, true);
    let y = b.norm(y, &name("layernorm"), NormKind::Layer, EPS, true);
    let y = b.linear(y, &name("pwconv1"), Linear::new(4 * width));
    let y = b.activation(y, act.clone());
    let mut y = b.linear(y, &name("pwconv2"), Linear::new(width));
    if has_scale {
        y = b.channel_scale(y, &name("layer_scale_parameter"), 3, Role::LayerScale);
    }
    let y = b.permute(y, false);
    let x = b.add(&[x, y]);
    b.end_block();
    x
}

/// `initializer_range` throughout; the factors per channel `layer_scale_init_value`.
fn start(config: &Config, _: &Network, site: &Site) -> Result<Law, ConfigError> {
    Ok(match site.role {
        Role::LayerScale => Law::Constant { value: config.number_or("layer_scale_init_value", 1e-6)? },
        _ => usual_start(site, init_std(config)?),
    })
}
