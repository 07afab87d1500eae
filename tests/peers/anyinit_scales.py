#!/usr/bin/env python3
"""Compares `epoch0 gain` and `--with auto` with AnyInit.

    pip install -r tests/peers/requirements.txt
    python tests/peers/anyinit_scales.py [--bin PATH]

Fixed points, their slopes and gains at one are compared number by number. Scales of whole networks follow two conventions:
AnyInit brings the second moment behind each activation to one, `auto` the one before it, so that only the product of all
scales of a network of rectifiers is the same in both, and what either predicts of its own. Exits with 1 when a number differs
by more than 1e-6.
"""

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

import anyinit
import torch
from load import binary
from torch import nn

UNITS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "elu": nn.ELU, "selu": nn.SELU, "mish": nn.Mish, "softplus": nn.Softplus}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path)
    command = binary(parser.parse_args().bin)
    run = lambda *words: json.loads(subprocess.run([command, *words, "--json"], check=True, capture_output=True).stdout)
    worst = 0.0
    for name in UNITS:
        ours = {row["name"]: row["value"] for row in run("gain", name)}
        theirs = anyinit.activation_profile(name)
        sigma = anyinit.gain(name)
        second = theirs.moments(0.0, 1.0).m2
        pairs = [
            ("fixed point", ours["fixed_point"], sigma),
            ("chi there", ours["chi_at_fixed_point"], theirs.chi),
            ("gain at 1", ours["rms"], 1 / math.sqrt(second)),
        ]
        for what, a, b in pairs:
            worst = max(worst, abs(a - b))
            print(f"{name:10} {what:12} {a:.7f} {b:.7f}")
    for depth in (4, 12):
        model = nn.Sequential(*[layer for _ in range(depth) for layer in (nn.Linear(256, 256, bias=False), nn.ReLU())][:-1])
        report = anyinit.initialize(model, mode="analytic", seed=0)
        theirs = math.prod(record.scale for record in report.layers)
        spec = f"mlp:{'-'.join(['256'] * (depth + 1))},bias=false"
        groups = run("init", spec, "--with", "auto", "--set", "distribution=normal", "--dry-run")["groups"]
        ours = math.prod(group["std"] ** group["n_params"] for group in groups)
        worst = max(worst, abs(ours / theirs - 1))
        print(f"{depth} layers of rectifiers: product of scales {ours:.6e} {theirs:.6e}")
    print(f"largest difference {worst:.1e}")
    return int(worst > 1e-6)


if __name__ == "__main__":
    sys.exit(main())
