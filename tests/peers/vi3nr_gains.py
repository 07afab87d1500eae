#!/usr/bin/env python3
"""Compares VI3NR's gains, which epoch0 takes by quadrature, with the authors' code, which draws a million numbers.

    pip install -r tests/peers/requirements.txt
    python tests/peers/vi3nr_gains.py --official vi3nr.py [--bin PATH]

`vi3nr.py` is the file of that name of the authors' code. Exits with 1 when a gain is off by more than 5 of the draws' standard
errors.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import torch
from load import binary

SAMPLES = 1_000_000
UNITS = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,
    "expr:sin(30*x)": lambda x: torch.sin(30 * x),
    "expr:exp(-x*x/0.005)": lambda x: torch.exp(-x * x / 0.005),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path)
    parser.add_argument("--official", type=Path, required=True)
    args = parser.parse_args()
    command = binary(args.bin)
    spec = importlib.util.spec_from_file_location("vi3nr", args.official)
    official = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(official)
    worst = 0.0
    for name, act in UNITS.items():
        for sigma in (0.1, 1.0, 2.0):
            torch.manual_seed(0)
            theirs = official.vi3nr_gain_MC(sigma, act, SAMPLES)
            rows = json.loads(subprocess.run([command, "gain", name, "--sigma", str(sigma), "--json"], check=True, capture_output=True).stdout)
            ours = next(row["value"] for row in rows if row["name"] == "vi3nr")
            squares = act(torch.randn(SAMPLES) * sigma) ** 2
            # Of a gain σ / √m, with m the mean of squares.
            error = 0.5 * theirs * (squares.std() / squares.mean() / SAMPLES**0.5).item()
            off = abs(ours - theirs) / error
            worst = max(worst, off)
            print(f"{name:22} σ {sigma}: {ours:.6f} {theirs:.6f} ± {error:.1e}")
    print(f"largest difference {worst:.1f} standard errors")
    return int(worst > 5)


if __name__ == "__main__":
    sys.exit(main())
