#!/usr/bin/env python3
"""Runs what `epoch0 learngene export` writes in timm's vision transformers, and its least squares in torch.

    pip install -r tests/peers/requirements.txt
    python tests/peers/stitched.py [--bin PATH]

Two vision transformers are distilled from a third and stitched. Every stitched network is exported and put together of timm's
modules: the front's patches, tokens, positions and first blocks, a linear map, the end's last blocks, norm and head. Both have to
answer alike to 1e-5 of the largest answer. Then the maps of `--start least_squares` have to be those of `torch.linalg.lstsq` on
the same examples, averaged over the pairs that share one, and those of `--start learned` the transposed transformations. Exits
with 1 when something is not so.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import torch
from load import binary
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

SIZES = {0: (16, 2), 1: (32, 4)}
DEPTH = 3
EXAMPLES = 48
WRONG = []


def check(holds, what):
    if not holds:
        WRONG.append(what)
        print(f"WRONG {what}")


def spec(width, heads, depth):
    return f"vit:in=1,size=16,patch=4,classes=5,layers={depth},embed={width},heads={heads}"


def model(width, heads):
    return VisionTransformer(
        img_size=16, patch_size=4, in_chans=1, num_classes=5, embed_dim=width, depth=DEPTH, num_heads=heads
    ).double().eval()


def part(tensors, prefix):
    return {
        name[len(prefix):]: value.double() for name, value in tensors.items() if name.startswith(prefix)
    }


def embedded(vit, x):
    x = vit.patch_embed(x)
    x = torch.cat([vit.cls_token.expand(len(x), -1, -1), x], 1)
    return x + vit.pos_embed


def answered(vit, x):
    return vit.head(vit.norm(x)[:, 0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", default=None)
    epoch0 = binary(parser.parse_args().bin)
    room = Path(tempfile.mkdtemp())

    def run(*args):
        done = subprocess.run([epoch0, *map(str, args)], cwd=room, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, args))}\n{done.stderr}")
        return done.stdout

    generator = numpy.random.default_rng(0)
    images = generator.normal(size=(64, 1, 16, 16)).astype("float32")
    numpy.savez(room / "data.npz", x=images, y=generator.integers(0, 5, size=64))
    numpy.savez(room / "x.npz", image=images[:8])
    data = "data.npz"
    run("init", spec(32, 4, 6), "-o", "ancestry")
    short = ["--data", data, "--for", "12it", "--batch", "16", "--optimizer", "adam"]
    to = [option for width, heads in SIZES.values() for option in ("--to", spec(width, heads, DEPTH))]
    run("learngene", "distill", "ancestry", *to, *short, "-o", "pool")
    for start in ["learned", "least_squares"]:
        options = ["--data", data, "--set", f"examples={EXAMPLES}"] if start == "least_squares" else []
        run("learngene", "stitch", "pool", "--start", start, *options, "-o", start)
    pool = load_file(room / "pool" / "model.safetensors")
    vits = {}
    for nth, (width, heads) in SIZES.items():
        vits[nth] = model(width, heads)
        vits[nth].load_state_dict(part(pool, f"{nth}."))

    # What is exported, in timm.
    builds = json.loads(run("learngene", "test", "least_squares", "--json"))
    x = torch.from_numpy(images[:8]).double()
    pairs = {}
    for number, described in enumerate(builds):
        run("learngene", "export", "least_squares", "--network", number, "-o", "one", "--force")
        run("eval", "one", "--inputs", "x.npz", "-o", "y.npz")
        found = torch.from_numpy(next(iter(numpy.load(room / "y.npz").values()))).double()
        build = described["build"]
        with torch.no_grad():
            if "member" in build:
                vit = vits[build["member"]]
                wanted = vit(x)
            else:
                at = build["stitched"]
                pairs.setdefault(at["stitch"], []).append((at["after"], at["before"]))
                one = load_file(room / "one" / "model.safetensors")
                front, end = vits[at["front"]], vits[at["end"]]
                value = embedded(front, x)
                for block in front.blocks[: at["after"] + 1]:
                    value = block(value)
                value = value @ one["stitch.weight"].double().T + one["stitch.bias"].double()
                for block in end.blocks[at["before"]:]:
                    value = block(value)
                wanted = answered(end, value)
        off = ((found - wanted).abs().max() / wanted.abs().max()).item()
        check(off < 1e-5, f"network {number} {build}: off by {off:.1e}")
    check(len(builds) == 9, f"{len(builds)} networks")

    # Least squares, in torch.
    x = torch.from_numpy(images[:EXAMPLES]).double()
    with torch.no_grad():
        values = {}
        for nth, vit in vits.items():
            values[nth] = [embedded(vit, x)]
            for block in vit.blocks:
                values[nth].append(block(values[nth][-1]))
        squares = load_file(room / "least_squares" / "model.safetensors")
        for stitch, shared in pairs.items():
            maps = []
            for after, before in shared:
                a = values[0][after + 1].reshape(-1, SIZES[0][0])
                a = torch.cat([a, torch.ones(len(a), 1, dtype=torch.float64)], 1)
                maps.append(torch.linalg.lstsq(a, values[1][before].reshape(-1, SIZES[1][0])).solution)
            wanted = torch.stack(maps).mean(0)
            weight = squares[f"stitch.0-1.{stitch}.weight"].double().T
            bias = squares[f"stitch.0-1.{stitch}.bias"].double()
            found = torch.cat([weight, bias[None]])
            off = ((found - wanted).norm() / wanted.norm()).item()
            check(off < 1e-3, f"map {stitch} of least squares: off by {off:.1e}")

    # Learned maps: the mean transformation of the front, transposed; what it adds is taken away.
    learned = load_file(room / "learned" / "model.safetensors")
    names = [f"transform.0.features.{block}" for block in (0, DEPTH - 1)]
    matrix = sum(pool[f"{name}.weight"].double() for name in names) / 2
    shift = sum(pool[f"{name}.bias"].double() for name in names) / 2
    for stitch in pairs:
        weight = learned[f"stitch.0-1.{stitch}.weight"].double()
        bias = learned[f"stitch.0-1.{stitch}.bias"].double()
        check(torch.allclose(weight, matrix.T, atol=1e-6), f"learned map {stitch}")
        check(torch.allclose(bias, -(matrix.T @ shift), atol=1e-6), f"shift of learned map {stitch}")
    print(f"{len(builds)} networks, {len(pairs)} maps, {len(WRONG)} wrong")
    sys.exit(bool(WRONG))


if __name__ == "__main__":
    main()
