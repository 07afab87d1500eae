#!/usr/bin/env python3
"""Compares the learning rates of `--with mup` with those of microsoft/mup, by a file of base shapes.

    pip install -r tests/peers/requirements.txt
    python tests/peers/mup_rates.py [--bin PATH]

mup divides the logits by how much wider the network is, where epoch0 leaves the network as it is: a readout's rate is
compared with what mup's comes to without the division, its rate over the square of that (SGD), or over it (Adam). Exits
with 1 when a factor differs by more than 1e-12.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import mup
from load import binary
from torch import nn


def perceptron(width: int) -> nn.Module:
    layers = nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), mup.MuReadout(width, 10)
    return nn.Sequential(*layers)


def factors(model: nn.Module, optimizer) -> dict[str, float]:
    names = {id(param): name for name, param in model.named_parameters()}
    groups = optimizer(model.parameters(), lr=1.0).param_groups
    return {names[id(param)]: group["lr"] for group in groups for param in group["params"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path)
    command = binary(parser.parse_args().bin)
    worst = 0.0
    with tempfile.TemporaryDirectory() as room:
        shapes = Path(room) / "base.bsh"
        # Ours is read by mup, and mup's by us.
        subprocess.run([command, "base-shapes", "mlp:64-32-32-10", "mlp:64-48-48-10", "-o", shapes], check=True)
        model = perceptron(256)
        mup.set_base_shapes(model, str(shapes), rescale_params=False)
        again = Path(room) / "again.bsh"
        mup.save_base_shapes(model, str(again))
        out = Path(room) / "out"
        arguments = ["init", "mlp:64-256-256-10", "--with", "mup", "--base-shapes", again, "-o", out]
        subprocess.run([command, *arguments], check=True, stdout=subprocess.DEVNULL)
        ours = json.loads((out / "learning_rates.json").read_text())
        wider = 256 / 32
        for steps, optimizer, power in ("sgd", mup.MuSGD, 2), ("adam", mup.MuAdam, 1):
            for name, theirs in factors(model, optimizer).items():
                wanted = theirs / wider**power if name == "4.weight" else theirs
                found = ours[steps].get(name, 1.0)
                worst = max(worst, abs(found / wanted - 1.0))
                print(f"{steps:5} {name:9} epoch0 {found:8} mup {theirs:8} without its division {wanted}")
    print(f"largest relative difference {worst:.1e}")
    return int(worst > 1e-12)


if __name__ == "__main__":
    sys.exit(main())
