#!/usr/bin/env python3
"""Trains the same starts on the same data with epoch0 and with torch, and compares the weights that come out.

Batches hold all examples, so that their order does not matter. Prints the largest relative error of each network and
fails above 1e-4.

    cargo build --release && python tests/peers/training.py target/release/epoch0
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

EPOCH0 = str(Path(sys.argv[1] if len(sys.argv) > 1 else "target/release/epoch0").resolve())
STEPS = 20
BOUND = 1e-4


def mlp():
    return nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 5))


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 5),
    )


def warmed(optimizer, steps):
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: t / 5 if t < 5 else 0.5 * (1 + np.cos(np.pi * (t - 5) / (steps - 5)))
    )


def constant(optimizer, steps):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1.0)


CASES = [
    ("mlp:64-32-5,norm=batch", mlp, (64,), ["--optimizer", "sgd", "--lr", "0.1", "--nesterov", "--weight-decay", "0.001"],
     lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.001), constant, None),
    ("lenet,classes=5", lenet, (1, 28, 28), ["--optimizer", "adamw", "--lr", "0.001", "--weight-decay", "0.1",
     "--schedule", "cosine,warmup=5it"], lambda p: torch.optim.AdamW(p, lr=0.001, weight_decay=0.1), warmed, None),
    ("lenet,classes=5", lenet, (1, 28, 28), ["--optimizer", "sgd", "--lr", "0.05", "--clip", "0.5"],
     lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9), constant, 0.5),
]


def run(*args):
    subprocess.run([EPOCH0, *args], check=True, stdout=subprocess.DEVNULL)


def main():
    failed = False
    for spec, build, shape, options, optimize, schedule, clip in CASES:
        with tempfile.TemporaryDirectory() as room:
            room = Path(room)
            rng = np.random.default_rng(0)
            x = rng.standard_normal((60, *shape)).astype(np.float32)
            y = rng.integers(0, 5, 60)
            y[:5] = range(5)
            np.savez(room / "data.npz", inputs=x, targets=y)
            run("init", spec, "-o", str(room / "start"))
            run("train", str(room / "start"), "--data", str(room / "data.npz"), "--batch", "60", "--for", f"{STEPS}it",
                *options, "-o", str(room / "end"))
            model = build()
            start = load_file(room / "start" / "model.safetensors")
            names = dict(zip(start_names(spec, start), model.state_dict()))
            model.load_state_dict({names[name]: value for name, value in start.items()})
            optimizer = optimize(model.parameters())
            scheduler = schedule(optimizer, STEPS)
            for _ in range(STEPS):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y)).backward()
                if clip:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                scheduler.step()
            end, theirs = load_file(room / "end" / "model.safetensors"), model.state_dict()
            error = max(
                ((end[name].double() - theirs[other].double()).abs().max() / theirs[other].double().abs().max()).item()
                for name, other in names.items()
            )
            failed |= not error < BOUND
            print(f"{spec:28} {' '.join(options):60} {error:.1e}")
    sys.exit(failed)


def start_names(spec, start):
    """Names of the checkpoint in the order of the model's state dict."""
    if spec.startswith("mlp"):
        return sorted(start, key=lambda name: (int(name.split(".")[0]), ORDER.index(name.split(".")[1])))
    return sorted(start, key=lambda name: (LENET.index(name.split(".")[0]), ORDER.index(name.split(".")[1])))


ORDER = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
LENET = ["conv1", "conv2", "fc1", "fc2", "fc3"]

if __name__ == "__main__":
    main()
