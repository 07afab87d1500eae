#!/usr/bin/env python3
"""Reads what `compress` writes in NumPy, and compares its bits with `decompress`, and its errors with scikit-learn's k-means.

    pip install -r tests/peers/requirements.txt scikit-learn
    python tests/peers/codebook.py [--bin PATH] [CHECKPOINT…]

Without checkpoints, starts of a perceptron, a convolutional network and two transformers are compressed. For tensors of one
group, the error is compared with that of scikit-learn's k-means with as many levels, best of 10. Exits with 1 when a bit
differs, or an error is more than 5 % larger.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from load import binary
from safetensors import safe_open
from safetensors.torch import load_file

TYPES = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
WAYS = [("books", 1, 2), ("books", 4, 3), ("scales", 8, 2), ("scales", 3, 5), ("uniform", 1, 4), ("books", 16, 8)]


def dense(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a file of codes, by the description of its form."""
    with safe_open(path, "pt") as file:
        notes = json.loads(file.metadata()["epoch0_codebook"])["tensors"]
        names = set(file.keys())
        out, parts = {}, set()
        for name, note in notes.items():
            part = lambda end: file.get_tensor(f"{name}.{end}").numpy() if f"{name}.{end}" in names else None
            parts |= {f"{name}.{end}" for end in ("codes", "books", "scales", "groups", "rows")}
            shape, dim, bits = note["shape"], note["dim"], note["bits"]
            n, rows = int(np.prod(shape)), shape[dim]
            each = np.unpackbits(part("codes"), bitorder="little")[: n * bits].reshape(n, bits)
            codes = (each.astype(np.int64) << np.arange(bits)).sum(1).reshape(shape)
            books, scales = part("books").astype(np.float32), part("scales")
            groups = len(books) if scales is None else len(scales)
            if (ends := part("groups")) is not None:
                of = np.searchsorted(ends, np.arange(rows), side="right")
            elif (of := part("rows")) is None:
                of = np.arange(rows) if groups == rows else np.zeros(rows, int)
            of = of.astype(np.int64).reshape([-1 if at == dim else 1 for at in range(len(shape))])
            levels = books[of if len(books) > 1 else np.zeros_like(of), codes]
            values = levels if scales is None else levels * scales.astype(np.float32)[of]
            out[name] = torch.from_numpy(values).to(TYPES[note["dtype"]])
        return out | {name: file.get_tensor(name) for name in names - parts}


def ours_and_theirs(before: torch.Tensor, after: torch.Tensor, levels: int) -> tuple[float, float]:
    from sklearn.cluster import KMeans

    x = before.double().reshape(-1, 1).numpy()
    best = KMeans(levels, n_init=10, random_state=0).fit(x).inertia_
    return float(((before.double() - after.double()) ** 2).sum()), best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path)
    parser.add_argument("checkpoints", nargs="*")
    args = parser.parse_args()
    command = binary(args.bin)
    run = lambda *words: subprocess.run([command, *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    wrong = n = 0
    with tempfile.TemporaryDirectory() as room:
        room = Path(room)
        given = args.checkpoints
        if not given:
            for nth, net in enumerate(["mlp:30-50-40-7", "lenet", "gpt:layers=2,heads=2,embed=32,vocab=50", "vit_tiny_patch16_224"]):
                run("init", net, "-o", room / f"net{nth}")
                given.append(str(room / f"net{nth}"))
        for nth, (mode, groups, bits) in enumerate(WAYS):
            for at, net in enumerate(given):
                packed, out = room / f"packed{at}-{nth}", room / f"out{at}-{nth}"
                run("compress", net, "--bits", bits, "--groups", groups, "--mode", mode, "-o", packed)
                run("decompress", packed, "-o", out)
                wanted = dense(packed / "model.jlcm.safetensors")
                found = {name: tensor for file in out.glob("*.safetensors") for name, tensor in load_file(file).items()}
                for name in wanted.keys() | found.keys():
                    n += 1
                    a, b = wanted.get(name), found.get(name)
                    if a is None or b is None or a.dtype != b.dtype or not torch.equal(a, b):
                        wrong += 1
                        print(f"{net}, {mode}: {name} differs", file=sys.stderr)
        before = {name: tensor for file in Path(given[0]).glob("*.safetensors") for name, tensor in load_file(file).items()}
        packed, out = room / "one", room / "back"
        run("compress", given[0], "--bits", 3, "--groups", 1, "--set", "ends=3", "-o", packed)
        run("decompress", packed, "-o", out)
        after = {name: tensor for file in out.glob("*.safetensors") for name, tensor in load_file(file).items()}
        for name in (name for name, tensor in before.items() if tensor.dim() == 2 and name in after):
            ours, theirs = ours_and_theirs(before[name], after[name], 8)
            print(f"{name}: error {ours:.6g}, scikit-learn {theirs:.6g}")
            wrong += ours > 1.05 * theirs
    print(f"{n - wrong} of {n} tensors are the same")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
