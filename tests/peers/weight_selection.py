#!/usr/bin/env python3
"""Compares `init --from … --with weight_selection --set mode=compat` with the authors' rule, bit by bit.

    pip install -r tests/peers/requirements.txt
    python tests/peers/weight_selection.py [--bin PATH] [--official weight_selection.py]

A ViT-Ti is made of a ViT-S, and perceptrons of perceptrons with 400 pairs of widths. The rule is that of the paper's code, in
torch's arithmetic: every (t/s)-th place where s divides t, otherwise `linspace(0, t - 1, s)` rounded. With `--official` it is
the function of that file. Exits with 1 when a tensor differs.
"""

import argparse
import ast
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from load import binary
from safetensors.torch import load_file


def selected(teacher: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    for dim, (t, s) in enumerate(zip(teacher.shape, shape)):
        places = torch.arange(s) * (t // s) if t % s == 0 else torch.linspace(0, t - 1, s).round().long()
        teacher = teacher.index_select(dim, places)
    return teacher


def official(path: Path):
    tree = ast.parse(path.read_text())
    wanted = [node for node in tree.body if getattr(node, "name", "") == "uniform_element_selection"]
    scope = {"torch": torch}
    exec(compile(ast.Module(wanted, []), str(path), "exec"), scope)
    return scope["uniform_element_selection"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path)
    parser.add_argument("--official", type=Path)
    args = parser.parse_args()
    command = binary(args.bin)
    select = official(args.official) if args.official else selected
    draw = random.Random(0)
    pairs = [("vit_small_patch16_224", "vit_tiny_patch16_224")]
    for _ in range(10):
        widths = [(t := draw.randint(2, 2000), draw.randint(1, t)) for _ in range(40)]
        parent, child = ("-".join(str(w[at]) for w in widths) for at in (0, 1))
        pairs.append((f"mlp:7-{parent}-3", f"mlp:7-{child}-3"))
    wrong = n = 0
    for parent, child in pairs:
        with tempfile.TemporaryDirectory() as room:
            of, out = f"{room}/parent", f"{room}/child"
            run = lambda *words: subprocess.run([command, *words], check=True, stdout=subprocess.DEVNULL)
            run("init", parent, "-o", of)
            run("init", child, "--from", of, "--with", "weight_selection", "--set", "mode=compat", "--set", "head=draw", "-o", out)
            teacher, student = load_file(f"{of}/model.safetensors"), load_file(f"{out}/model.safetensors")
        readout = max((name.rsplit(".", 1)[0] for name in student), key=int) if parent.startswith("mlp") else "head"
        for name, value in student.items():
            if name.startswith(f"{readout}."):
                continue
            n += 1
            if not torch.equal(value, select(teacher[name], value.shape)):
                wrong += 1
                print(f"{child[:40]}: {name} differs")
    print(f"{n} tensors compared, {wrong} differ")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
