#!/usr/bin/env python3
"""What torchvision and timm call and shape the parameters of their networks: the reference for the zoo.

    pip install -r tests/peers/requirements.txt
    python tests/peers/zoo.py            # writes tests/peers/zoo.json

For each specification: the library's call; the number of learned elements; how many tensors the state dict has; and
the SHA-256 of its lines "name dtype shape" (shape as 1x2x3), sorted, each ended by a newline. A few small networks
have the lines themselves.
"""

import hashlib
import json
from pathlib import Path

import timm
import torch
import torchvision

DTYPES = {torch.float32: "F32", torch.int64: "I64"}
FULL = {"resnet18", "squeezenet1_0", "vit_tiny_patch16_224"}

TORCHVISION = """alexnet vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn resnet18 resnet34 resnet50
    resnet101 resnet152 resnext50_32x4d wide_resnet50_2 densenet121 googlenet squeezenet1_0 shufflenet_v2_x1_0
    mobilenet_v2 mobilenet_v3_small mobilenet_v3_large efficientnet_b0 convnext_tiny convnext_small convnext_base
    vit_b_16""".split()
TIMM = """vit_tiny_patch16_224 vit_small_patch16_224 vit_base_patch16_224 vit_large_patch16_224 deit_tiny_patch16_224
    deit_small_patch16_224 deit_base_patch16_224 mixer_b16_224 starnet_s1 starnet_s2 starnet_s3 starnet_s4 starnet_s050
    starnet_s100 starnet_s150""".split()

# Specifications with options, and the call that means the same.
WITH_OPTIONS = [
    ("resnet18,classes=10", "torchvision", "resnet18", {"num_classes": 10}),
    ("vgg11_bn,classes=7", "torchvision", "vgg11_bn", {"num_classes": 7}),
    ("googlenet,classes=7,aux=false", "torchvision", "googlenet", {"num_classes": 7, "aux_logits": False}),
    ("squeezenet1_0,classes=7", "torchvision", "squeezenet1_0", {"num_classes": 7}),
    ("mobilenet_v3_small,classes=7", "torchvision", "mobilenet_v3_small", {"num_classes": 7}),
    ("convnext_tiny,classes=7", "torchvision", "convnext_tiny", {"num_classes": 7}),
    ("vit_b_16,classes=7,size=64", "torchvision", "vit_b_16", {"num_classes": 7, "image_size": 64}),
    ("vit_tiny,classes=10,in=1,size=32", "timm", "vit_tiny_patch16_224",
     {"num_classes": 10, "in_chans": 1, "img_size": 32}),
    ("mixer_b16,classes=10,in=1,size=64", "timm", "mixer_b16_224",
     {"num_classes": 10, "in_chans": 1, "img_size": 64}),
]


def make(library, name, options):
    with torch.device("meta"):
        if library == "timm":
            return timm.create_model(name, pretrained=False, **options)
        if name == "googlenet":
            options = {"init_weights": False, **options}
        return getattr(torchvision.models, name)(weights=None, **options)


def reference(spec, library, name, options):
    net = make(library, name, options)
    lines = sorted(
        f"{key} {DTYPES[value.dtype]} {'x'.join(map(str, value.shape))}" for key, value in net.state_dict().items()
    )
    text = "".join(line + "\n" for line in lines)
    entry = {
        "spec": spec,
        "of": f"{library} {name}",
        "n_params": sum(param.numel() for param in net.parameters()),
        "n_tensors": len(lines),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    if spec in FULL:
        entry["tensors"] = lines
    return entry


def main():
    rows = [(name, "torchvision", name, {}) for name in TORCHVISION]
    rows += [(name, "timm", name, {}) for name in TIMM] + WITH_OPTIONS
    networks = ",\n".join("  " + json.dumps(reference(*row)) for row in rows)
    versions = {"torch": torch.__version__.split("+")[0], "torchvision": torchvision.__version__.split("+")[0],
                "timm": timm.__version__}
    out = Path(__file__).parent / "zoo.json"
    out.write_text(f'{{"versions": {json.dumps(versions)},\n"networks": [\n{networks}\n]}}\n')


if __name__ == "__main__":
    main()
