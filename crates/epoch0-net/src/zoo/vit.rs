//! Networks of image patches: ViT as torchvision and as timm have it, KAT, MLP-Mixer as timm has it.

use epoch0_num::Activation;
use epoch0_num::rational::{Form, Rational};

use super::parts::{Image, attention, feed_forward};
use super::spec::{SIDE, Spec, WIDTH};
use crate::{Builder, Linear, NormKind, Role, Share, ValueId, Window};

const EPS: f64 = 1e-6;
const PATCH: usize = 16;

/// A vision transformer (Dosovitskiy et al. 2021).
pub(super) struct Vit {
    pub(super) width: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
}

/// What stands behind attention.
enum Block {
    /// Two linear maps with an activation between.
    Mlp(Activation),
    /// Two linear maps with rational functions before each (Yang and Wang 2024).
    Kat(Box<Rationals>),
}

/// The learned functions of a block.
struct Rationals {
    /// Before the first map, and before the second.
    starts: [Rational; 2],
    groups: usize,
    share: Share,
}

impl Rationals {
    /// Reads `act=`, `groups=`, `share=` and `form=`.
    fn read(spec: &mut Spec<'_>) -> Result<Self, String> {
        let act = spec.activation("act", Activation::Silu)?;
        let form = match spec.choice("form", "sum_abs", &["sum_abs", "abs_sum"])? {
            "abs_sum" => Form::AbsOfSum,
            _ => Form::SumOfAbs,
        };
        let fit = |act: &Activation| Rational::fit(act, form).map_err(|error| format!("act: {error}"));
        Ok(Self {
            starts: [fit(&Activation::Identity)?, fit(&act)?],
            groups: spec.size("groups", 8, &WIDTH)?,
            share: match spec.choice("share", "numerator", &["none", "numerator", "denominator"])? {
                "none" => Share::None,
                "denominator" => Share::Denominator,
                _ => Share::Numerator,
            },
        })
    }
}

impl Block {
    /// What stands behind attention, `inner` wide between its maps; names are those of the maps.
    fn add(&self, b: &mut Builder, x: ValueId, names: [&str; 2], inner: usize, parent: &str) -> ValueId {
        match self {
            Self::Mlp(act) => feed_forward(b, x, names, inner, act.clone(), true),
            Self::Kat(kat) => {
                let width = b.size(x, -1).unwrap_or(1);
                let mut y = x;
                for (nth, (name, out)) in names.into_iter().zip([inner, width]).enumerate() {
                    let act = format!("{parent}.act{}", nth + 1);
                    y = b.rational(y, &act, kat.groups, kat.share, &kat.starts[nth]);
                    y = b.linear(y, name, Linear::new(out));
                }
                y
            }
        }
    }
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
fn patches(
    b: &mut Builder,
    image: &Image,
    name: &str,
    width: usize,
    patch: usize,
) -> Result<(ValueId, usize), String> {
    if !image.size.is_multiple_of(patch) {
        return Err(format!("size is {}, allowed multiples of {patch}, the side of a patch", image.size));
    }
    let x = image.input(b);
    let x = b.conv(x, name, width, Window::square(patch, patch, 0), 1, true);
    b.name_axis(x, 1, "embed");
    let side = image.size / patch;
    Ok((b.space_to_sequence(x), side * side))
}

impl Vit {
    pub(super) fn timm(&self, spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
        self.plain(spec, b, &TIMM)
    }

    /// With blocks of learned functions, named as Adamdad/kat.
    pub(super) fn kat(&self, spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
        let image = Image::imagenet(spec)?;
        let kat = Block::Kat(Box::new(Rationals::read(spec)?));
        self.build(b, &TIMM, &image, PATCH, 4 * self.width, &kat)
    }

    pub(super) fn torchvision(&self, spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
        self.plain(spec, b, &TORCHVISION)
    }

    fn plain(&self, spec: &mut Spec<'_>, b: &mut Builder, names: &Names) -> Result<(), String> {
        let image = Image::imagenet(spec)?;
        self.build(b, names, &image, PATCH, 4 * self.width, &Block::Mlp(Activation::Gelu))
    }

    fn build(
        &self,
        b: &mut Builder,
        names: &Names,
        image: &Image,
        patch: usize,
        inner: usize,
        behind: &Block,
    ) -> Result<(), String> {
        let width = self.width;
        let token = b.param(names.token, &[1, 1, width], Role::Token);
        let (x, n_patches) = patches(b, image, names.patches, width, patch)?;
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
            let y = behind.add(b, y, [&mlp[0], &mlp[1]], inner, &name("mlp"));
            x = b.add(&[x, y]);
        }
        b.end_block();
        let x = b.norm(x, names.last_norm, NormKind::Layer, EPS, true);
        let x = b.select(x, 0);
        image.classify(b, x, names.head);
        Ok(())
    }
}

/// A vision transformer of any size, named as timm's.
pub(super) fn vit(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    of_any_size(spec, b, |spec| Ok(Block::Mlp(spec.activation("act", Activation::Gelu)?)))
}

/// The same with learned functions behind attention.
pub(super) fn kat(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    of_any_size(spec, b, |spec| Ok(Block::Kat(Box::new(Rationals::read(spec)?))))
}

fn of_any_size(
    spec: &mut Spec<'_>,
    b: &mut Builder,
    behind: fn(&mut Spec<'_>) -> Result<Block, String>,
) -> Result<(), String> {
    let image = Image::cifar(spec)?;
    let width = spec.size("embed", 64, &WIDTH)?;
    // Each layer has four weights.
    let layers = spec.size("layers", 4, &(1..=2_500))?;
    let net = Vit { width, layers, heads: spec.size("heads", 4, &WIDTH)? };
    let inner = spec.size("mlp", width.saturating_mul(4), &WIDTH)?;
    let patch = spec.size("patch", 4, &SIDE)?;
    let behind = behind(spec)?;
    net.build(b, &TIMM, &image, patch, inner, &behind)
}

/// MLP-Mixer B/16 (Tolstikhin et al. 2021): one perceptron over patches, then one over channels.
pub(super) fn mixer(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let image = Image::imagenet(spec)?;
    let width = 768;
    let (mut x, _) = patches(b, &image, "stem.proj", width, PATCH)?;
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
