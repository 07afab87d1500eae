//! Chains: multilayer perceptrons, LeNet-5, SIREN.

use epoch0_num::Activation;

use super::parts::{Image, Norms, Unit, pooling};
use super::spec::{DEPTH, Spec, WIDTH};
use crate::{Builder, Linear, NormKind, Role, ValueId, Window};

/// Linear maps, numbered as in a `torch.nn.Sequential` of (linear, normalization, activation)…, linear.
pub(super) fn mlp(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let sizes = spec.sizes_needed("IN-HIDDEN-…-OUT", 2..=DEPTH.end() + 1, &WIDTH)?;
    let unit = Unit::read(spec)?;
    let bias = spec.flag("bias", true)?;
    let norm = spec.choice("norm", "none", &["none", "batch", "layer"])?;
    let residual = spec.flag("residual", false)?;
    let mut x = b.input("x", &[None, Some(sizes[0])]);
    b.name_axis(x, -1, "inputs");
    let mut position = 0;
    for pair in sizes[..sizes.len() - 1].windows(2) {
        let mut y = b.linear(x, &position.to_string(), Linear::new(unit.outputs(pair[1])).bias(bias));
        position += 1;
        if norm != "none" {
            let kind = if norm == "batch" { NormKind::Batch } else { NormKind::Layer };
            y = b.norm(y, &position.to_string(), kind, 1e-5, true);
            position += 1;
        }
        y = unit.apply(b, y, 1);
        position += 1;
        x = if residual && pair[0] == pair[1] { b.add(&[x, y]) } else { y };
    }
    let out = Linear::new(sizes[sizes.len() - 1]).bias(bias).role(Role::Readout);
    let y = b.linear(x, &position.to_string(), out);
    b.output(y, "y");
    Ok(())
}

/// Residual blocks of two linear maps, with activations as in a residual network of images: one between the maps, one
/// behind the sum.
pub(super) fn residual_mlp(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let sizes = spec.sizes_needed("IN-WIDTH-OUT", 3..=3, &WIDTH)?;
    let (width, out) = (sizes[1], sizes[2]);
    let n_blocks = spec.size("blocks", 8, &DEPTH)?;
    let act = spec.activation("act", Activation::Relu)?;
    let norms = Norms::read(spec)?;
    let linear = |b: &mut Builder, x: ValueId, name: &str, norm: &str| {
        let y = b.linear(x, name, Linear::new(width).bias(norms == Norms::None));
        if norms == Norms::Batch { b.norm(y, norm, NormKind::Batch, 1e-5, true) } else { y }
    };
    let x = b.input("x", &[None, Some(sizes[0])]);
    b.name_axis(x, -1, "inputs");
    let x = linear(b, x, "stem", "stem_norm");
    let x = norms.shift(b, x, "bias1");
    let mut x = b.activation(x, act.clone());
    for block in 0..n_blocks {
        let name = format!("blocks.{block}");
        b.block(&name);
        let shift = |b: &mut Builder, x, at: &str| norms.shift(b, x, &format!("{name}.bias{at}"));
        let y = shift(b, x, "1a");
        let y = linear(b, y, &format!("{name}.fc1"), &format!("{name}.norm1"));
        let y = shift(b, y, "1b");
        let y = b.activation(y, act.clone());
        let y = shift(b, y, "2a");
        let y = linear(b, y, &format!("{name}.fc2"), &format!("{name}.norm2"));
        let y = norms.factor(b, y, &format!("{name}.scale"));
        let y = shift(b, y, "2b");
        let y = b.add(&[x, y]);
        x = b.activation(y, act.clone());
    }
    b.end_block();
    let x = norms.shift(b, x, "bias2");
    let y = b.linear(x, "head", Linear::new(out).role(Role::Readout));
    b.output(y, "y");
    Ok(())
}

/// LeNet-5 (LeCun et al. 1998) as it is usually written in torch: ReLU, max pooling, and no table of connections.
pub(super) fn lenet(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let image = Image::read(spec, 10, 1, 28)?;
    let padding = spec.size("padding", 2, &(0..=16))?;
    let unit = Unit::read(spec)?;
    let pool = pooling(spec, Window::square(2, 2, 0))?;
    let mut x = image.input(b);
    for (name, out, padding) in [("conv1", 6, padding), ("conv2", 16, 0)] {
        x = b.conv(x, name, unit.outputs(out), Window::square(5, 1, padding), 1, true);
        x = unit.apply(b, x, 1);
        x = b.pool(x, pool.clone());
    }
    x = b.flatten(x);
    for (name, out) in [("fc1", 120), ("fc2", 84)] {
        x = b.linear(x, name, Linear::new(unit.outputs(out)));
        x = unit.apply(b, x, 1);
    }
    image.classify(b, x, "fc3");
    Ok(())
}

/// SIREN (Sitzmann et al. 2020): `sin(omega (W x + b))` in every layer but, usually, the last.
pub(super) fn siren(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let sizes = spec.sizes_needed("IN-HIDDEN-…-OUT", 2..=DEPTH.end() + 1, &WIDTH)?;
    let first = spec.real("omega", 30.0)?;
    let hidden = spec.real("hidden_omega", 30.0)?;
    let last_is_linear = spec.choice("last", "linear", &["linear", "sine"])? == "linear";
    let mut x = b.input("coordinates", &[None, Some(sizes[0])]);
    b.name_axis(x, -1, "coordinates");
    let n_layers = sizes.len() - 1;
    for (layer, &out) in sizes[1..].iter().enumerate() {
        let is_last = layer + 1 == n_layers;
        let role = if is_last { Role::Readout } else { Role::Weight };
        if is_last && last_is_linear {
            x = b.linear(x, &format!("net.{layer}"), Linear::new(out).role(role));
        } else {
            x = b.linear(x, &format!("net.{layer}.linear"), Linear::new(out).role(role));
            x = b.activation(x, Activation::Sine { omega: if layer == 0 { first } else { hidden } });
        }
    }
    b.output(x, "y");
    Ok(())
}
