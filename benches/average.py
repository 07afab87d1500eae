"""The mean of two llamas (bf16, in shards): `epoch0 average`, torch's state dicts, and `cp`; and `epoch0 diff` of the two.

    pip install -r benches/requirements.txt
    cargo build --release -p epoch0-cli
    python benches/average.py [--rounds 3] [--layers 4] [--dir FOLDER] [--bin PATH]

The parents are drawn first (2.1 GB each with 4 layers). They take turns, round after round; each ends when its bytes are on the
disk (fsync), and before each the parents' pages are dropped from memory as far as the system lets one.

- epoch0: `epoch0 average A B -o OUT`, plain and with the variance corrected, with the most memory that the process held beside the mapped
  files (RssAnon) and with them.
- torch: what a user would write: `load_file` of all shards of both, the mean of each tensor in its type, `save_file`, then fsync.
- cp: a file as large as the mean, `conv=fsync`.
- diff: `epoch0 diff A B`, against reading both files (`dd of=/dev/null`).
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from inherit import PARENT, forget, fsync, watched
from init import binary


def peer(parents, out):
    import torch
    from safetensors.torch import load_file, save_file

    def state(folder):
        tensors = {}
        for path in sorted(folder.glob("*.safetensors")):
            tensors.update(load_file(path))
        return tensors

    with torch.no_grad():
        a, b = (state(folder) for folder in parents)
        tensors = {name: 0.5 * value + 0.5 * b[name] for name, value in a.items()}
    out.mkdir()
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    fsync(out / "model.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--bin", type=Path)
    parser.add_argument("--peer", nargs=3)
    args = parser.parse_args()
    if args.peer:
        *parents, out = map(Path, args.peer)
        return peer(parents, out)
    command = binary(args.bin)
    with tempfile.TemporaryDirectory(dir=args.dir) as room:
        room = Path(room)
        (room / "config.json").write_text(json.dumps({**PARENT, "num_hidden_layers": args.layers}))
        parents, out = [room / "a", room / "b"], room / "out"
        for seed, parent in enumerate(parents):
            words = [command, "init", room / "config.json", "--seed", str(seed), "--shard-size", "1GB", "-o", parent]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        size = sum(path.stat().st_size for path in parents[0].iterdir())
        average = [command, "average", *parents, "-o", out]
        runs = {
            "epoch0": average,
            "corrected": [*average, "--with", "variance_corrected_average"],
            "torch": [sys.executable, __file__, "--peer", *parents, out],
            "cp": ["dd", "if=/dev/zero", f"of={out}/zeros", "bs=8M", f"count={size // (8 << 20)}", "conv=fsync", "status=none"],
            "diff": [command, "diff", *parents],
            "reading": ["sh", "-c", f"cat {parents[0]}/* {parents[1]}/* > /dev/null"],
        }
        times = {name: [] for name in runs}
        memory = {name: (0, 0) for name in runs}
        for _ in range(args.rounds):
            for name, words in runs.items():
                for parent in parents:
                    forget(parent)
                if name == "cp":
                    out.mkdir()
                seconds, anonymous, most = watched(words)
                times[name].append(seconds)
                memory[name] = tuple(max(pair) for pair in zip(memory[name], (anonymous, most)))
                shutil.rmtree(out, ignore_errors=True)
    for name, found in times.items():
        shown = f", {memory[name][0]:.0f} MB of its own, {memory[name][1]:.0f} MB with mapped files" if name not in ("cp", "reading") else ""
        print(f"{name:9} {min(found):6.2f} s (median {statistics.median(found):.2f}){shown}")
    least = {name: min(found) for name, found in times.items()}
    print(
        f"mean of {size / 1e9:.2f} GB: {least['torch'] / least['epoch0']:.1f} times as fast as torch, {least['epoch0'] / least['cp']:.2f} times zeros of the same"
        f" length; corrected {least['torch'] / least['corrected']:.1f} times as fast as torch; diff {least['diff'] / least['reading']:.2f} times reading both"
    )


if __name__ == "__main__":
    sys.exit(main())
