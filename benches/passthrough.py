"""A llama of fewer layers by passthrough, as frankenmerges make it: `epoch0 init --from` and mergekit, on one folder (bf16, in shards).

    python -m venv venv && venv/bin/pip install mergekit==0.1.5
    cargo build --release -p epoch0-cli
    python benches/passthrough.py --mergekit venv/bin/mergekit-yaml [--rounds 3] [--layers 16] [--width 2048] [--dir FOLDER] [--bin PATH]

The parent is drawn first (1.9 GB with 16 layers of width 2048). They take turns, round after round; each ends when its bytes are on
the disk (fsync), and before each the parent's pages are dropped from memory as far as the system lets one.

- epoch0: `epoch0 init CHILD.json --from PARENT --with weight_selection --set explicit=0-…` with the layers of the first and the last
  quarter, and the most memory that the process held beside the mapped files (RssAnon) and with them.
- mergekit: `mergekit-yaml` with `merge_method: passthrough` and the same slices, with the memory of its process. It reads safetensors
  lazily by itself.

At the end every tensor of both is compared: they have to be the same bits. mergekit starts Python and torch each time, which a
small parent does not repay; `python -c "import mergekit.merge"` has a row of its own.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from inherit import PARENT, forget, fsync, watched
from init import binary


def config_of(width, layers):
    heads = width // 128
    sizes = {"hidden_size": width, "intermediate_size": width * 11 // 4 // 64 * 64, "num_attention_heads": heads, "num_key_value_heads": heads}
    return {**PARENT, **sizes, "num_hidden_layers": layers}


def recipe(parent, slices):
    source = "\n".join(f"  - sources: [{{model: {parent}, layer_range: [{begin}, {end}]}}]" for begin, end in slices)
    return f"slices:\n{source}\nmerge_method: passthrough\ndtype: bfloat16\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mergekit", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--bin", type=Path)
    args = parser.parse_args()
    command = binary(args.bin)
    quarter = args.layers // 4
    slices = [(0, quarter), (args.layers - quarter, args.layers)]
    taken = "-".join(str(nth) for begin, end in slices for nth in range(begin, end))
    with tempfile.TemporaryDirectory(dir=args.dir) as room:
        room = Path(room)
        (room / "parent.json").write_text(json.dumps(config_of(args.width, args.layers)))
        (room / "child.json").write_text(json.dumps(config_of(args.width, 2 * quarter)))
        parent, out = room / "parent", room / "out"
        subprocess.run([command, "init", room / "parent.json", "--shard-size", "1GB", "-o", parent], check=True, stdout=subprocess.DEVNULL)
        (room / "recipe.yaml").write_text(recipe(parent, slices))
        python = args.mergekit.parent / "python"
        runs = {
            "epoch0": [command, "init", room / "child.json", "--from", parent, "--with", "weight_selection", "--set", f"explicit={taken}", "-o", out],
            "mergekit": [args.mergekit, room / "recipe.yaml", out, "--no-copy-tokenizer"],
            "importing it": [python, "-c", "import mergekit.merge"],
        }
        times = {name: [] for name in runs}
        memory = {name: (0, 0) for name in runs}
        kept, size = {}, 0
        for turn in range(args.rounds):
            for name, words in runs.items():
                forget(parent)
                # Bars of progress are not what is measured; what is not on the disk when it ends is waited for.
                seconds, anonymous, most = watched(["sh", "-c", 'exec "$@" 2>/dev/null', "sh", *map(str, words)])
                seconds += flushed(out)
                times[name].append(seconds)
                memory[name] = tuple(max(pair) for pair in zip(memory[name], (anonymous, most)))
                if turn == 0 and out.exists():
                    kept[name] = out.rename(room / name)
                    size = size or sum(path.stat().st_size for path in kept[name].glob("*.safetensors"))
                shutil.rmtree(out, ignore_errors=True)
        told = subprocess.run([command, "diff", kept["epoch0"], kept["mergekit"], "--json"], capture_output=True, text=True)
        counts = json.loads(told.stdout)["counts"]
        if set(counts) != {"same"}:
            sys.exit(f"mergekit made something else: {counts}")
    for name, found in times.items():
        print(f"{name:12} {min(found):6.2f} s (median {statistics.median(found):.2f}), {memory[name][0]:.0f} MB of its own, {memory[name][1]:.0f} MB with mapped files")
    least = {name: min(found) for name, found in times.items()}
    own, theirs = memory["epoch0"][0], memory["mergekit"][0]
    beside = (least["mergekit"] - least["importing it"]) / least["epoch0"]
    print(
        f"child of {size / 1e9:.2f} GB, the same bits: {least['mergekit'] / least['epoch0']:.1f} times as fast as mergekit, {beside:.1f} times beside importing it,"
        f" in {theirs / own:.0f} times less memory of its own"
    )


def flushed(folder):
    begun = time.perf_counter()
    for path in folder.glob("*.safetensors"):
        fsync(path)
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
