"""Times epoch0's fills against torch's in one run: 4096 x 4096 f32 into memory that is already there, two threads.

    pip install -r benches/requirements.txt
    cargo build --release -p epoch0-num --example bench_fill
    python benches/fill.py [path of bench_fill] [--json]

The two take turns, `ROUNDS` times, so that what else the machine does meets both. The table shows the minimum of all runs
(what the code takes when nothing disturbs it) and the median.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

SIZE = 4096
ROUNDS = 5
RUNS = 5
THREADS = 2

#: What each fill has to reach: times faster than torch, and at most so many memsets.
TARGETS = {"normal": 8, "uniform": 8, "trunc_normal": 10, "trunc_normal_wide": 10}
MEMSETS = 4


def binary() -> Path:
    paths = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    if paths:
        return Path(paths[0])
    target = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).parent.parent / "target"))
    return target / "release" / "examples" / "bench_fill"


def torch_times() -> dict[str, list[float]]:
    tensor = torch.ones(SIZE, SIZE)
    init = torch.nn.init
    jobs = {
        "memset_threads": lambda: tensor.zero_(),
        "normal": lambda: init.normal_(tensor, 0.0, 0.02),
        "uniform": lambda: init.uniform_(tensor, -0.1, 0.1),
        "trunc_normal": lambda: init.trunc_normal_(tensor, 0.0, 1.0, -2.0, 2.0),
        "trunc_normal_wide": lambda: init.trunc_normal_(tensor, 0.0, 0.02, -2.0, 2.0),
    }
    times = {}
    for name, job in jobs.items():
        runs = 2 if name.startswith("trunc") else RUNS
        times[name] = []
        for _ in range(runs):
            start = time.perf_counter()
            job()
            times[name].append((time.perf_counter() - start) * 1e3)
    return times


def our_times() -> dict[str, list[float]]:
    command = [str(binary()), str(SIZE * SIZE), str(RUNS), str(THREADS), "f32"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["name"]: row["times_ms"] for row in rows if row["dtype"] == "f32"}


def main() -> None:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for total, new in ((ours, our_times()), (theirs, torch_times())):
            for name, times in new.items():
                total.setdefault(name, []).extend(times)

    memset = min(ours["memset"])
    rows = []
    for name, target in TARGETS.items():
        mine, torchs = min(ours[name]), min(theirs[name])
        rows.append(
            {
                "name": name,
                "epoch0_min_ms": round(mine, 2),
                "epoch0_median_ms": round(statistics.median(ours[name]), 2),
                "torch_min_ms": round(torchs, 2),
                "torch_median_ms": round(statistics.median(theirs[name]), 2),
                "times_faster": round(torchs / mine, 2),
                "times_faster_target": target,
                "memsets": round(mine / memset, 2),
                "memsets_target": MEMSETS,
            }
        )
    if "--json" in sys.argv:
        print(json.dumps({"torch": torch.__version__, "memset_min_ms": memset, "fills": rows}, indent=1))
        return
    print(f"{SIZE} x {SIZE} f32, {THREADS} threads, torch {torch.__version__}; milliseconds, minimum (median)")
    print(f"memset, 1 thread {memset:.2f}, {THREADS} threads {min(ours['memset_threads']):.2f}; "
          f"torch's zero_ {min(theirs['memset_threads']):.2f}")
    print(f"{'':18} {'epoch0':>16} {'torch':>18} {'faster':>7} {'(target)':>8} {'memsets':>8} {'(target)':>8}")
    for row in rows:
        mine = f"{row['epoch0_min_ms']} ({row['epoch0_median_ms']})"
        torchs = f"{row['torch_min_ms']} ({row['torch_median_ms']})"
        print(f"{row['name']:18} {mine:>16} {torchs:>18} {row['times_faster']:7} {row['times_faster_target']:8} "
              f"{row['memsets']:8} {row['memsets_target']:8}")


if __name__ == "__main__":
    main()
