#!/usr/bin/env python3
"""Compares `epoch0 average` with torch, and its alignment with scipy's assignments.

    pip install -r tests/peers/requirements.txt
    python tests/peers/average.py [--bin PATH]

Means of two, three and five networks, plain and with the variance corrected by each rule, of perceptrons, a convolutional and a
residual network, in single precision and in bfloat16, are computed in torch in double precision. Then two perceptrons and two LeNets
are aligned by weight matching with `scipy.optimize.linear_sum_assignment`, in the order of layers until nothing is gained: the sum
of products that epoch0 tells has to be that of its own permutation as it reads from the file, no single layer's assignment by scipy
may gain anything more, and as sweeps end in optima of their own, epoch0's best of five has to gain at least 95 % of scipy's. Exits with 1 when
something is not so.
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
from safetensors.torch import load_file, save_file
from scipy.optimize import linear_sum_assignment

WRONG = []


def check(holds, what):
    if not holds:
        WRONG.append(what)
        print(f"WRONG {what}")


def read(folder):
    tensors = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        tensors.update(load_file(path))
    return tensors


def shares(n, own):
    return [1 / n] * n if own is None else [own] + [(1 - own) / (n - 1)] * (n - 1)


def averaged(parents, weights, rule):
    """What the paper's rules make of tensors, in double precision."""
    out = {}
    for name, first in parents[0].items():
        values = [parent[name] for parent in parents]
        if not first.is_floating_point():
            out[name] = first
            continue
        doubles = [value.double() for value in values]
        mean = sum(weight * value for weight, value in zip(weights, doubles))
        is_statistic = name.endswith(("running_mean", "running_var"))
        if rule and first.dim() > 1 and not is_statistic:
            variances = [value.var() for value in doubles]
            wanted = {
                "conservative": sum(weight * variance for weight, variance in zip(weights, variances)),
                "self": variances[0],
                "others": sum(variances[1:]) / (len(variances) - 1),
            }[rule]
            centre = mean.mean()
            mean = centre + (mean - centre) * (wanted / mean.var()).sqrt()
        out[name] = mean
    return out


def means(command, room):
    n = 0
    for spec in ("mlp:50-300-70-10,norm=batch", "lenet", "resnet20"):
        for dtype in ("f32", "bf16"):
            parents = []
            for seed in range(5):
                folder = f"{room}/{spec.split(':')[0]}-{dtype}-{seed}"
                words = ["init", spec, "--seed", str(seed), "--dtype", dtype, "--with", "he_normal", "-o", folder]
                subprocess.run([command, *words], check=True, stdout=subprocess.DEVNULL)
                # Statistics and counts of their own.
                generator = torch.Generator().manual_seed(seed)
                tensors = read(folder)
                for name, value in tensors.items():
                    if value.is_floating_point() and value.dim() == 1:
                        tensors[name] = (value.float() + torch.rand(value.shape, generator=generator)).to(value.dtype)
                    elif not value.is_floating_point():
                        tensors[name] = value + seed
                save_file(tensors, f"{folder}/model.safetensors", metadata={"format": "pt"})
                parents.append(folder)
            for k, own, rule in ((2, None, None), (3, 0.5, None), (5, None, None), (2, None, "conservative"), (5, 0.5, "conservative"), (5, None, "self"), (3, 0.5, "others")):
                chosen = parents[:k]
                out = f"{room}/out"
                words = ["average", *chosen, "--force", "-o", out]
                if rule:
                    words += ["--with", "variance_corrected_average", "--set", f"rule={rule}"]
                if own is not None:
                    words += ["--set", f"own={own}"]
                subprocess.run([command, *words], check=True, stdout=subprocess.DEVNULL)
                found, wanted = read(out), averaged([read(folder) for folder in chosen], shares(k, own), rule)
                check(found.keys() == wanted.keys(), f"{spec} {dtype}: names")
                for name, value in wanted.items():
                    n += 1
                    # No farther from what double precision has than torch's rounding of it, which rounds bfloat16 twice.
                    if not value.is_floating_point():
                        check(torch.equal(found[name], value), f"{spec} {dtype} {k}: {name}")
                        continue
                    own, theirs = ((tensor.double() - value).abs() for tensor in (found[name], value.to(found[name].dtype)))
                    slack = (1e-9 if rule else 1e-15) * value.abs()
                    check(bool((own <= theirs + slack).all()), f"{spec} {dtype} {k} {rule}: {name}")
    print(f"{n} tensors of means compared")


def layers(tensors):
    """Names of weights and biases in order, of a plain chain of layers."""
    names = sorted({name.rsplit(".", 1)[0] for name in tensors}, key=lambda name: [int(word) if word.isdigit() else word for word in name.split(".")])
    return [name for name in names if tensors[f"{name}.weight"].dim() > 1]


def permute(tensors, names, orders):
    out = {}
    for at, name in enumerate(names):
        weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
        if at > 0:
            before = orders[at - 1]
            behind = weight.shape[1] // len(before)
            weight = weight.reshape(weight.shape[0], len(before), behind, *weight.shape[2:])[:, before].reshape(weight.shape)
        if at + 1 < len(names):
            weight = weight[orders[at]]
            bias = bias[orders[at]] if bias is not None else None
        out[f"{name}.weight"] = weight
        if bias is not None:
            out[f"{name}.bias"] = bias
    return out


def product(a, b):
    return sum((a[name].double() * b[name].double()).sum().item() for name in b)


def gains(a, b, names, orders, at):
    """Gains of giving layer `at` each of its units, all other orders held."""
    identity = list(orders)
    identity[at] = numpy.arange(len(orders[at]))
    moved = permute(b, names, identity)
    n = len(orders[at])
    total = torch.zeros(n, n, dtype=torch.float64)
    own, after = names[at], names[at + 1]
    for name in (f"{own}.weight", f"{own}.bias"):
        if name in a:
            total += a[name].double().reshape(n, -1) @ moved[name].double().reshape(n, -1).T
    flat = lambda tensors: tensors[f"{after}.weight"].double().reshape(tensors[f"{after}.weight"].shape[0], n, -1).transpose(0, 1).reshape(n, -1)
    return (total + flat(a) @ flat(moved).T).numpy()


def alignment(command, room):
    for spec in ("mlp:60-256-128-64-10", "lenet,in=3,size=32,padding=0"):
        folders = []
        for seed in range(2):
            folder = f"{room}/align-{seed}"
            words = ["init", spec, "--seed", str(seed), "--force", "-o", folder]
            done = subprocess.run([command, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            if done.returncode:
                print(f"{spec}: {done.stderr.strip()}")
                return check(False, spec)
            folders.append(folder)
        a, b = (read(folder) for folder in folders)
        names = layers(a)
        orders = [numpy.arange(a[f"{name}.weight"].shape[0]) for name in names[:-1]]
        begun, value = product(a, b), None
        while value is None or product(a, permute(b, names, orders)) > value * (1 + 1e-9):
            value = product(a, permute(b, names, orders))
            for at in range(len(orders)):
                orders[at] = linear_sum_assignment(gains(a, b, names, orders, at), maximize=True)[1]
        scipy_value = product(a, permute(b, names, orders))
        out = f"{room}/aligned"
        ends = []
        for seed in range(5):
            words = ["average", *folders, "--align", "--weights", "0,1", "--json", "--force", "--seed", str(seed), "-o", out]
            told = json.loads(subprocess.run([command, *words], check=True, capture_output=True, text=True).stdout)
            before, after = told["aligned"][0]["objective"]
            ends.append(after)
        found = product(a, read(out))
        check(abs(before - begun) < 1e-6 * abs(scipy_value), f"{spec}: {before} before, {begun} by torch")
        check(abs(after - found) < 1e-6 * abs(found), f"{spec}: {after} told, {found} in the file")
        check(max(ends) - before >= 0.95 * (scipy_value - begun), f"{spec}: gained {max(ends) - before}, scipy {scipy_value - begun}")
        # No assignment of a single layer is better: the file is at a fixed point of scipy's.
        moved = read(out)
        still = [numpy.arange(len(order)) for order in orders]
        for at in range(len(orders)):
            matrix = gains(a, moved, names, still, at)
            rows, columns = linear_sum_assignment(matrix, maximize=True)
            gain = matrix[rows, columns].sum() - numpy.trace(matrix)
            check(gain <= 1e-6 * abs(found), f"{spec}: layer {at} could gain {gain}")
        print(f"{spec}: from {before:.3f} to {', '.join(f'{end:.3f}' for end in ends)} by seed; scipy in the order of layers to {scipy_value:.3f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path)
    args = parser.parse_args()
    command = binary(args.bin)
    with tempfile.TemporaryDirectory() as room:
        means(command, room)
        alignment(command, room)
    print(f"{len(WRONG)} wrong")
    return int(bool(WRONG))


if __name__ == "__main__":
    sys.exit(main())
