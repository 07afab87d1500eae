//! Networks of image patches: ViT as torchvision and as timm have it, MLP-Mixer as timm has it.

use epoch0_num::Activation;

use super::parts::{Image, attention, feed_forward};
use super::spec::Spec;
use crate::{Builder, Linear, NormKind, Role, ValueId, Window};

const EPS: f64 = 1e-6;
const PATCH: usize = 16;

/// A vision transformer (Dosovitskiy et al. 2021) with patches of 16 × 16 pixels.
pub(super) struct Vit {
    pub(super) width: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
}

/// How a library calls the parts.
struct Names {
    token: &'static str,
    position: &'static str,
    patches: &'static str,
    layer: &'static str,
    norms: [&'static str; 2],
    /// Weight and bias of the packed queries, keys and values.
    packed: [&'static str; 2],
    attended: &'static str,
    mlp: [&'static str; 2],
    last_norm: &'static str,
    head: &'static str,
}

static TIMM: Names = Names {
    token: "cls_token",
    position: "pos_embed",
    patches: "patch_embed.proj",
    layer: "blocks.",
    norms: ["norm1", "norm2"],
    packed: ["attn.qkv.weight", "attn.qkv.bias"],
    attended: "attn.proj",
    mlp: ["mlp.fc1", "mlp.fc2"],
    last_norm: "norm",
    head: "head",
};

static TORCHVISION: Names = Names {
    token: "class_token",
    position: "encoder.pos_embedding",
    patches: "conv_proj",
    layer: "encoder.layers.encoder_layer_",
    norms: ["ln_1", "ln_2"],
    packed: ["self_attention.in_proj_weight", "self_attention.in_proj_bias"],
    attended: "self_attention.out_proj",
    mlp: ["mlp.0", "mlp.3"],
    last_norm: "encoder.ln",
    head: "heads.head",
};

/// Patches as a sequence, `[batch, patches, width]`, and their number.
fn patches(b: &mut Builder, image: &Image, name: &str, width: usize) -> Result<(ValueId, usize), String> {
    if !image.size.is_multiple_of(PATCH) {
        return Err(format!("size is {}, allowed multiples of {PATCH}, the side of a patch", image.size));
    }
    let x = image.input(b);
    let x = b.conv(x, name, width, Window::square(PATCH, PATCH, 0), 1, true);
    b.name_axis(x, 1, "embed");
    let side = image.size / PATCH;
    Ok((b.space_to_sequence(x), side * side))
}

impl Vit {
    pub(super) fn timm(&self, spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
        self.build(spec, b, &TIMM)
    }

    pub(super) fn torchvision(&self, spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
        self.build(spec, b, &TORCHVISION)
    }

    fn build(&self, spec: &mut Spec<'_>, b: &mut Builder, names: &Names) -> Result<(), String> {
        let image = Image::imagenet(spec)?;
        let width = self.width;
        let token = b.param(names.token, &[1, 1, width], Role::Token);
        let (x, n_patches) = patches(b, &image, names.patches, width)?;
        let x = b.concat(&[token, x], 1);
        let position = b.param(names.position, &[1, n_patches + 1, width], Role::Position);
        let mut x = b.add(&[x, position]);
        for layer in 0..self.layers {
            let block = format!("{}{layer}", names.layer);
            b.block(&block);
            let name = |part: &str| format!("{block}.{part}");
            let y = b.norm(x, &name(names.norms[0]), NormKind::Layer, EPS, true);
            let packed = Linear::new(3 * width).named(&name(names.packed[0]), &name(names.packed[1]));
            let y = b.linear(y, &block, packed);
            let qkv = b.split(y, &[("q", width), ("k", width), ("v", width)]);
            let y = b.attention(qkv[0], qkv[1], qkv[2], None, attention(self.heads, width, false));
            let y = b.linear(y, &name(names.attended), Linear::new(width));
            x = b.add(&[x, y]);
            let y = b.norm(x, &name(names.norms[1]), NormKind::Layer, EPS, true);
            let mlp = [name(names.mlp[0]), name(names.mlp[1])];
            let y = feed_forward(b, y, [&mlp[0], &mlp[1]], 4 * width, Activation::Gelu, true);
            x = b.add(&[x, y]);
        }
        b.end_block();
        let x = b.norm(x, names.last_norm, NormKind::Layer, EPS, true);
        let x = b.select(x, 0);
        image.classify(b, x, names.head);
        Ok(())
    }
}

/// MLP-Mixer B/16 (Tolstikhin et al. 2021): one perceptron over patches, then one over channels.
pub(super) fn mixer(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let image = Image::imagenet(spec)?;
    let width = 768;
    let (mut x, _) = patches(b, &image, "stem.proj", width)?;
    for layer in 0..12 {
        let block = format!("blocks.{layer}");
        b.block(&block);
        let name = |part: &str| format!("{block}.{part}");
        let y = b.norm(x, &name("norm1"), NormKind::Layer, EPS, true);
        let y = b.permute(y, false);
        let tokens = [name("mlp_tokens.fc1"), name("mlp_tokens.fc2")];
        let y = feed_forward(b, y, [&tokens[0], &tokens[1]], width / 2, Activation::Gelu, true);
        let y = b.permute(y, true);
        x = b.add(&[x, y]);
        let y = b.norm(x, &name("norm2"), NormKind::Layer, EPS, true);
        let channels = [name("mlp_channels.fc1"), name("mlp_channels.fc2")];
        let y = feed_forward(b, y, [&channels[0], &channels[1]], 4 * width, Activation::Gelu, true);
        x = b.add(&[x, y]);
    }
    b.end_block();
    let x = b.norm(x, "norm", NormKind::Layer, EPS, true);
    let x = b.mean(x, 1);
    image.classify(b, x, "head");
    Ok(())
}
