"""Orthogonal matrices: epoch0 against torch.nn.init.orthogonal_, on the same cores in one run.

    python benches/orthogonal.py [--rows 2048] [--cols 2048] [--rounds 5] [--threads 2]

Needs torch and cargo. Both are timed by turns, round after round, so that whatever else the machine does meets both;
the smallest time of each counts. Exits with 1 when epoch0 is less than twice as fast in f32.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = 2.0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--cols", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    program = build()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    import torch

    torch.set_num_threads(args.threads)
    dtypes = {"f32": torch.float32, "f64": torch.float64}
    theirs = {name: [] for name in dtypes}
    ours = {name: [] for name in dtypes}
    deviation = {}
    shape = [str(args.rows), str(args.cols)]
    for round_ in range(args.rounds):
        for name, dtype in dtypes.items():
            weight = torch.empty(args.rows, args.cols, dtype=dtype)
            for _ in range(2):
                start = time.perf_counter()
                torch.nn.init.orthogonal_(weight)
                theirs[name].append(time.perf_counter() - start)
        check = ["check"] if round_ == 0 else []
        output = subprocess.check_output([program, *shape, "2", str(args.threads), *check], text=True)
        for line in map(json.loads, output.splitlines()):
            ours[line["dtype"]] += line["seconds"]
            deviation.setdefault(line["dtype"], line["deviation"])

    print(f"orthogonal {args.rows}x{args.cols}, {args.threads} threads, smallest of {2 * args.rounds} times")
    print(f"{'':5}{'torch':>10}{'epoch0':>10}{'ratio':>8}   largest entry of |Gram - I|: torch, epoch0")
    ratios = {}
    for name, dtype in dtypes.items():
        weight = torch.empty(args.rows, args.cols, dtype=dtype)
        q = torch.nn.init.orthogonal_(weight).double()
        gram = q @ q.T if args.rows <= args.cols else q.T @ q
        torch_deviation = (gram - torch.eye(len(gram), dtype=torch.float64)).abs().max().item()
        ratios[name] = min(theirs[name]) / min(ours[name])
        print(
            f"{name:5}{min(theirs[name]):8.3f} s{min(ours[name]):8.3f} s{ratios[name]:7.2f}x"
            f"   {torch_deviation:.1e}, {deviation[name]:.1e}"
        )
    return 0 if ratios["f32"] >= TARGET else 1


def build():
    """Builds the example and returns its path, as cargo reports it."""
    command = ["cargo", "build", "--release", "-p", "epoch0-num", "--example", "bench_orthogonal"]
    messages = subprocess.check_output([*command, "--message-format", "json"], cwd=ROOT, text=True)
    artifacts = map(json.loads, messages.splitlines())
    return next(a["executable"] for a in artifacts if a.get("target", {}).get("name") == "bench_orthogonal")


if __name__ == "__main__":
    sys.exit(main())
