//! Networks by a short specification: `resnet18`, `mlp:784-512-10,act=tanh`, `gpt:layers=4,heads=4,embed=128`.
//!
//! A specification is `NAME[:SIZE-SIZE-…][,KEY=VALUE]…`. Every network takes `shift=2`, `3` or `4`: all of its maps but
//! the first and the readout get weights that are signed powers of two of so many bits (see [`crate::Shift`]); or
//! `templates=J`: the weights of all its maps are sums of J templates with coefficients (see [`crate::Mixture`]). Networks of
//! rectifiers without normalizations and largest values of windows take `spiking=T`: their rectifiers are neurons that
//! spike over T steps (see [`crate::Spiking`]). Where torchvision or timm has a network of the name, its parameters are
//! exactly theirs: names, shapes and buffers of the state dict.
//!
//! # Example
//! ```
//! let net = epoch0_net::zoo::build("resnet18,classes=10")?;
//! let fc = net.param(net.find("fc.weight").unwrap());
//! assert_eq!(fc.shape, [10, 512]);
//! # Ok::<(), epoch0_net::NetError>(())
//! ```

mod cifar;
mod convnext;
mod dag;
mod dense;
mod gpt;
mod graph;
mod mobile;
mod parts;
mod plain;
mod poincare;
mod resnet;
pub mod spec;
mod star;
mod vgg;
mod vit;

use std::fmt;

use epoch0_num::Dtype;

use self::graph::Kind;
use self::resnet::{Block, ResNet};
use self::spec::{Spec, near, short};
use self::star::StarNet;
use self::vit::Vit;
use crate::{Builder, NetError, Network, Source};

/// A network of the zoo.
#[derive(Clone, Copy, serde::Serialize)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// What may follow the name: sizes, and options with their defaults.
    pub syntax: &'static str,
    /// What it is, in a line.
    pub text: &'static str,
    #[serde(skip)]
    build: Build,
}

type Build = fn(&mut Spec<'_>, &mut Builder) -> Result<(), String>;

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Entry {
    const fn new(name: &'static str, syntax: &'static str, text: &'static str, build: Build) -> Self {
        Self { name, aliases: &[], syntax, text, build }
    }

    const fn alias(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

const IMAGENET: &str = "[,classes=1000][,in=3][,size=224]";
const VGG: &str = "[,classes=1000][,in=3][,size=224][,act=relu|maxoutK][,pool=max|mean]";
const RESNET: &str = "[,classes=1000][,in=3][,size=224][,norm=batch|none|fixup]";
const CIFAR: &str = "[,classes=10][,in=3][,size=32][,shortcut=A|B][,norm=batch|none|fixup]";

const STAR: &str = "[,classes=1000][,in=3][,size=224][,act=relu6][,mode=mul|sum]";
const BALL: &str = "[,classes=10][,in=3][,size=32][,width=8][,curvature=0.1][,norm=midpoint|frechet|none][,head=scores|linear]";
const GRAPH: &str = ":IN-HIDDEN-…-OUT[,layers=1 less than sizes][,act=relu][,bias=true][,norm=none|batch|layer][,residual=false]";

const KAT: &str = "[,classes=1000][,in=3][,size=224][,act=silu][,groups=8][,share=numerator|none|denominator]\
    [,form=sum_abs|abs_sum]";

const BASIC: Block = Block::Basic;
const BOTTLENECK: Block = Block::Bottleneck { groups: 1, width: 64 };

/// The networks, by family.
#[rustfmt::skip]
pub static KNOWN: &[Entry] = &[
    Entry::new("mlp", ":IN-HIDDEN-…-OUT[,act=relu|maxoutK][,bias=true][,norm=none|batch|layer][,residual=false]",
        "multilayer perceptron, named as a torch Sequential", plain::mlp),
    Entry::new("residual_mlp", ":IN-WIDTH-OUT[,blocks=8][,act=relu][,norm=batch|none|fixup]",
        "residual blocks of two linear maps", plain::residual_mlp),
    Entry::new("dag", ":IN-WIDTH-OUT[,cell=2_02_002][,act=relu]",
        "a cell of linear maps: node by node, edges from the nodes before (0 none, 1 skip, 2 map)", dag::dag),
    Entry::new("conv_dag", ":WIDTH[,cell=2_02_002][,kernel=3][,act=relu][,classes=10][,in=3][,size=32]",
        "the same of convolutions", dag::conv_dag),
    Entry::new("lenet", "[,classes=10][,in=1][,size=28][,padding=2][,act=relu|maxoutK][,pool=max|mean]",
        "LeNet-5 as usually written in torch; `size=32,padding=0` for larger digits", plain::lenet),
    Entry::new("siren", ":IN-HIDDEN-…-OUT[,omega=30][,hidden_omega=30][,last=linear|sine]",
        "sinusoidal network of coordinates", plain::siren),
    Entry::new("gpt", "[:layers=12][,heads=12][,embed=768][,mlp=4·embed][,vocab=50304][,positions=1024][,bias=true]\
        [,tied=true][,act=gelu][,norm=pre|post|none]", "decoder in the manner of GPT-2, named as nanoGPT", gpt::build)
        .alias(&["transformer"]),
    Entry::new("gcn", GRAPH, "graph convolutions over normalized edges, named as PyG's GCN", |s, b| graph::build(s, b, Kind::Gcn)),
    Entry::new("sage", GRAPH, "a map of the neighbours' mean and one of the node itself, named as PyG's GraphSAGE",
        |s, b| graph::build(s, b, Kind::Sage)),
    Entry::new("gin", GRAPH, "two maps of the sum of neighbours and node, named as PyG's GIN",
        |s, b| graph::build(s, b, Kind::Gin)),
    Entry::new("alexnet", IMAGENET, "AlexNet, torchvision", vgg::alexnet),
    Entry::new("vgg11", VGG, "VGG-11, torchvision", |s, b| vgg::vgg(s, b, [1, 1, 2, 2, 2], false)),
    Entry::new("vgg11_bn", VGG, "VGG-11 with batch norm, torchvision", |s, b| vgg::vgg(s, b, [1, 1, 2, 2, 2], true)),
    Entry::new("vgg13", VGG, "VGG-13, torchvision", |s, b| vgg::vgg(s, b, [2, 2, 2, 2, 2], false)),
    Entry::new("vgg13_bn", VGG, "VGG-13 with batch norm, torchvision", |s, b| vgg::vgg(s, b, [2, 2, 2, 2, 2], true)),
    Entry::new("vgg16", VGG, "VGG-16, torchvision", |s, b| vgg::vgg(s, b, [2, 2, 3, 3, 3], false)),
    Entry::new("vgg16_bn", VGG, "VGG-16 with batch norm, torchvision", |s, b| vgg::vgg(s, b, [2, 2, 3, 3, 3], true)),
    Entry::new("vgg19", VGG, "VGG-19, torchvision", |s, b| vgg::vgg(s, b, [2, 2, 4, 4, 4], false)),
    Entry::new("vgg19_bn", VGG, "VGG-19 with batch norm, torchvision", |s, b| vgg::vgg(s, b, [2, 2, 4, 4, 4], true)),
    Entry::new("resnet18", RESNET, "ResNet-18, torchvision",
        |s, b| ResNet { blocks: [2, 2, 2, 2], block: BASIC }.build(s, b)),
    Entry::new("resnet34", RESNET, "ResNet-34, torchvision",
        |s, b| ResNet { blocks: [3, 4, 6, 3], block: BASIC }.build(s, b)),
    Entry::new("resnet50", RESNET, "ResNet-50, torchvision",
        |s, b| ResNet { blocks: [3, 4, 6, 3], block: BOTTLENECK }.build(s, b)),
    Entry::new("resnet101", RESNET, "ResNet-101, torchvision",
        |s, b| ResNet { blocks: [3, 4, 23, 3], block: BOTTLENECK }.build(s, b)),
    Entry::new("resnet152", RESNET, "ResNet-152, torchvision",
        |s, b| ResNet { blocks: [3, 8, 36, 3], block: BOTTLENECK }.build(s, b)),
    Entry::new("resnext50_32x4d", RESNET, "ResNeXt-50 with 32 groups of 4 channels, torchvision",
        |s, b| ResNet { blocks: [3, 4, 6, 3], block: Block::Bottleneck { groups: 32, width: 4 } }.build(s, b)),
    Entry::new("wide_resnet50_2", RESNET, "ResNet-50 twice as wide inside its blocks, torchvision",
        |s, b| ResNet { blocks: [3, 4, 6, 3], block: Block::Bottleneck { groups: 1, width: 128 } }.build(s, b)),
    Entry::new("densenet121", IMAGENET, "DenseNet-121, torchvision", |s, b| dense::densenet(s, b, [6, 12, 24, 16])),
    Entry::new("googlenet", "[,classes=1000][,in=3][,size=224][,aux=true]",
        "GoogLeNet with batch norm and auxiliary classifiers, torchvision", dense::googlenet),
    Entry::new("squeezenet1_0", IMAGENET, "SqueezeNet 1.0, torchvision", dense::squeezenet),
    Entry::new("shufflenet_v2_x1_0", IMAGENET, "ShuffleNet v2, torchvision", dense::shufflenet),
    Entry::new("mobilenet_v2", IMAGENET, "MobileNet v2, torchvision", mobile::v2),
    Entry::new("mobilenet_v3_small", IMAGENET, "MobileNet v3 small, torchvision", |s, b| mobile::SMALL.build(s, b)),
    Entry::new("mobilenet_v3_large", IMAGENET, "MobileNet v3 large, torchvision", |s, b| mobile::LARGE.build(s, b)),
    Entry::new("efficientnet_b0", IMAGENET, "EfficientNet-B0, torchvision", mobile::efficientnet),
    Entry::new("convnext_tiny", IMAGENET, "ConvNeXt-T, torchvision", |s, b| convnext::build(s, b, [3, 3, 9, 3], 96)),
    Entry::new("convnext_small", IMAGENET, "ConvNeXt-S, torchvision", |s, b| convnext::build(s, b, [3, 3, 27, 3], 96)),
    Entry::new("convnext_base", IMAGENET, "ConvNeXt-B, torchvision", |s, b| convnext::build(s, b, [3, 3, 27, 3], 128)),
    Entry::new("vit_b_16", IMAGENET, "ViT-B/16, torchvision",
        |s, b| Vit { width: 768, layers: 12, heads: 12 }.torchvision(s, b)),
    Entry::new("vit_tiny_patch16_224", IMAGENET, "ViT-Ti/16, timm",
        |s, b| Vit { width: 192, layers: 12, heads: 3 }.timm(s, b)).alias(&["vit_tiny"]),
    Entry::new("vit_small_patch16_224", IMAGENET, "ViT-S/16, timm",
        |s, b| Vit { width: 384, layers: 12, heads: 6 }.timm(s, b)).alias(&["vit_small"]),
    Entry::new("vit_base_patch16_224", IMAGENET, "ViT-B/16, timm",
        |s, b| Vit { width: 768, layers: 12, heads: 12 }.timm(s, b)).alias(&["vit_base"]),
    Entry::new("vit_large_patch16_224", IMAGENET, "ViT-L/16, timm",
        |s, b| Vit { width: 1024, layers: 24, heads: 16 }.timm(s, b)).alias(&["vit_large"]),
    Entry::new("deit_tiny_patch16_224", IMAGENET, "DeiT-Ti/16, timm",
        |s, b| Vit { width: 192, layers: 12, heads: 3 }.timm(s, b)).alias(&["deit_tiny"]),
    Entry::new("deit_small_patch16_224", IMAGENET, "DeiT-S/16, timm",
        |s, b| Vit { width: 384, layers: 12, heads: 6 }.timm(s, b)).alias(&["deit_small"]),
    Entry::new("deit_base_patch16_224", IMAGENET, "DeiT-B/16, timm",
        |s, b| Vit { width: 768, layers: 12, heads: 12 }.timm(s, b)).alias(&["deit_base"]),
    Entry::new("vit", "[:layers=4][,heads=4][,embed=64][,mlp=4·embed][,patch=4][,classes=10][,in=3][,size=32][,act=gelu]",
        "vision transformer of any size, named as timm's", vit::vit),
    Entry::new("kat", "[:layers=4][,heads=4][,embed=64][,mlp=4·embed][,patch=4][,classes=10][,in=3][,size=32][,act=silu]\
        [,groups=8][,share=numerator|none|denominator][,form=sum_abs|abs_sum]",
        "the same with learned rational functions before the maps of each perceptron (KAT)", vit::kat),
    Entry::new("kat_tiny_patch16_224", KAT, "KAT-T/16, named as Adamdad/kat",
        |s, b| Vit { width: 192, layers: 12, heads: 3 }.kat(s, b)).alias(&["kat_tiny"]),
    Entry::new("kat_small_patch16_224", KAT, "KAT-S/16, named as Adamdad/kat",
        |s, b| Vit { width: 384, layers: 12, heads: 6 }.kat(s, b)).alias(&["kat_small"]),
    Entry::new("kat_base_patch16_224", KAT, "KAT-B/16, named as Adamdad/kat",
        |s, b| Vit { width: 768, layers: 12, heads: 12 }.kat(s, b)).alias(&["kat_base"]),
    Entry::new("mixer_b16_224", IMAGENET, "MLP-Mixer B/16, timm", vit::mixer).alias(&["mixer_b16"]),
    Entry::new("starnet_s1", STAR, "StarNet-S1, timm",
        |s, b| StarNet { width: 24, blocks: [2, 2, 8, 3], ratio: 4 }.build(s, b)),
    Entry::new("starnet_s2", STAR, "StarNet-S2, timm",
        |s, b| StarNet { width: 32, blocks: [1, 2, 6, 2], ratio: 4 }.build(s, b)),
    Entry::new("starnet_s3", STAR, "StarNet-S3, timm",
        |s, b| StarNet { width: 32, blocks: [2, 2, 8, 4], ratio: 4 }.build(s, b)),
    Entry::new("starnet_s4", STAR, "StarNet-S4, timm",
        |s, b| StarNet { width: 32, blocks: [3, 3, 12, 5], ratio: 4 }.build(s, b)),
    Entry::new("starnet_s050", STAR, "StarNet-S050, timm",
        |s, b| StarNet { width: 16, blocks: [1, 1, 3, 1], ratio: 3 }.build(s, b)),
    Entry::new("starnet_s100", STAR, "StarNet-S100, timm",
        |s, b| StarNet { width: 20, blocks: [1, 2, 4, 1], ratio: 4 }.build(s, b)),
    Entry::new("starnet_s150", STAR, "StarNet-S150, timm",
        |s, b| StarNet { width: 24, blocks: [1, 2, 4, 2], ratio: 3 }.build(s, b)),
    Entry::new("demonet", "[:DEPTH-WIDTH][,classes=1000][,in=3][,size=224][,patch=16][,act=gelu][,mode=mul|sum]\
        [,layer_scale=true]", "DemoNet, blocks that are all alike, with or without the star", star::demonet),
    Entry::new("demonet_2d", "[:DEPTH-WIDTH][,classes=2][,in=2][,act=relu][,mode=mul|sum]",
        "DemoNet of points in the plane", star::demonet_2d),
    Entry::new("resnet20", CIFAR, "ResNet-20 of CIFAR (He et al. 2015)", |s, b| cifar::resnet(s, b, 20)),
    Entry::new("resnet32", CIFAR, "ResNet-32 of CIFAR", |s, b| cifar::resnet(s, b, 32)),
    Entry::new("resnet44", CIFAR, "ResNet-44 of CIFAR", |s, b| cifar::resnet(s, b, 44)),
    Entry::new("resnet56", CIFAR, "ResNet-56 of CIFAR", |s, b| cifar::resnet(s, b, 56)),
    Entry::new("resnet110", CIFAR, "ResNet-110 of CIFAR", |s, b| cifar::resnet(s, b, 110)),
    Entry::new("cifar_resnet", ":DEPTH[,classes=10][,in=3][,size=32][,shortcut=A|B][,norm=batch|none|fixup]",
        "ResNet of CIFAR of depth 6 n + 2", cifar::resnet_of_depth),
    Entry::new("poincare_mlp", ":IN-HIDDEN-…-OUT[,curvature=0.1][,act=relu][,norm=none|midpoint|frechet][,head=scores|linear]",
        "multilayer perceptron in the Poincaré ball", poincare::mlp),
    Entry::new("poincare_resnet20", BALL, "Poincaré ResNet-20 of CIFAR", |s, b| poincare::resnet(s, b, 20)),
    Entry::new("poincare_resnet32", BALL, "Poincaré ResNet-32 of CIFAR", |s, b| poincare::resnet(s, b, 32)),
    Entry::new("poincare_resnet", ":DEPTH[,classes=10][,in=3][,size=32][,width=8][,curvature=0.1]\
        [,norm=midpoint|frechet|none][,head=scores|linear]", "Poincaré ResNet of CIFAR of depth 6 n + 2",
        poincare::resnet_of_depth),
    Entry::new("wide_resnet", ":DEPTH-WIDTH[,classes=10][,in=3][,size=32][,stem=16]",
        "wide ResNet of CIFAR of depth 6 n + 4, such as 28-10", cifar::wide),
];

/// The network that a specification describes.
///
/// # Errors
/// [`NetError::Spec`]: no such network, an unknown option, or a number out of its range.
pub fn build(spec: &str) -> Result<Network, NetError> {
    read(spec).map_err(|why| NetError::Spec { spec: short(spec), why })
}

fn read(text: &str) -> Result<Network, String> {
    let mut spec = Spec::parse(text)?;
    let entry = KNOWN.iter().find(|entry| entry.names().any(|name| name == spec.name));
    let entry = entry.ok_or_else(|| unknown(spec.name))?;
    let source = Source::Zoo { spec: text.to_owned() };
    let mut builder = Builder::new(text, source, Dtype::F32);
    (entry.build)(&mut spec, &mut builder)?;
    match (spec.size("shift", 0, &(2..=4))?, spec.size("templates", 0, &(1..=64))?) {
        (0, 0) => {}
        (bits, 0) => builder.shift_maps(bits as u32),
        (0, templates) => builder.mix_maps(templates),
        _ => return Err("shift and templates are both given, allowed one of them".to_owned()),
    }
    if let steps @ 1.. = spec.size("spiking", 0, &(1..=1000))? {
        builder.spiking(steps);
    }
    spec.done()?;
    let net = builder.finish().map_err(|error| error.to_string())?;
    let n_elements = net.params().iter().fold(0u64, |sum, param| sum.saturating_add(param.len() as u64));
    if n_elements > 1 << 48 {
        return Err(format!("number of elements is {n_elements}, allowed at most 2^48"));
    }
    Ok(net)
}

fn unknown(name: &str) -> String {
    let all: Vec<_> = KNOWN.iter().map(|entry| entry.name).collect();
    let near = near(name, KNOWN.iter().flat_map(Entry::names));
    let hint =
        if near.is_empty() { String::new() } else { format!("\nhint: did you mean {}", near.join(" or ")) };
    format!("network `{}` is unknown, allowed {}{hint}", short(name), all.join(", "))
}
