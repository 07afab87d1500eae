"""What the benchmarks of the engine share: epoch0's half as an example program, PyTorch's half as a process."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def example(name):
    """Builds an example and returns its path, as cargo reports it.

    No package is named: what is built for all of them is not built again for one.
    """
    command = ["cargo", "build", "--release", "--example", name, "--message-format", "json"]
    messages = subprocess.check_output(command, cwd=ROOT, text=True)
    artifacts = map(json.loads, messages.splitlines())
    return next(a["executable"] for a in artifacts if a.get("target", {}).get("name") == name)


def pin(threads):
    """Keeps this process and those that it starts on as many cores as threads, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def run_json(*command):
    """The JSON object on the last line that a program prints."""
    run = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {run.returncode}")
    if not run.stdout.strip():
        sys.exit(f"{' '.join(map(str, command))} printed nothing")
    return json.loads(run.stdout.splitlines()[-1])


def best(records, key):
    """The smallest value of a key in what a side printed, round after round."""
    return min(record[key] for record in records)


def peak_mb():
    """The most memory that this process has had at once, in MB."""
    import resource

    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def best_seconds(work, repeat, seconds):
    """The smallest time of a call, of `repeat` at least and of as many as fit into `seconds`, after one that warms up."""
    work()
    times = []
    while len(times) < repeat or sum(times) < seconds:
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)
