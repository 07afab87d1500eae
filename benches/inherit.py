"""A llama of 7 billion parameters (bf16, in shards) to one of half its width and half its layers: `epoch0 init --from`, torch, `cp`.

    pip install -r benches/requirements.txt
    cargo build --release -p epoch0-cli
    python benches/inherit.py [--rounds 3] [--layers 32] [--dir FOLDER] [--bin PATH]

The parent is drawn first (13.5 GB with 32 layers). They take turns, round after round; each ends when its bytes are on the
disk (fsync), and before each the parent's pages are dropped from memory as far as the system lets one.

- epoch0: `epoch0 init CHILD.json --from PARENT --with weight_selection -o OUT`, with the most memory that the process held
  beside the mapped files (RssAnon) and with them.
- torch: what a user would write: for each tensor `safe_open`, two `index_select`s, and `save_file` of all, then fsync.
- cp: a file as large as the child, `conv=fsync`.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from init import binary

PARENT = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 128, "vocab_size": 32000,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    "max_position_embeddings": 4096, "hidden_act": "silu",
}
CHANGED = {"hidden_size": 2048, "intermediate_size": 5504, "num_attention_heads": 16, "num_key_value_heads": 16}


def peer(parent, layers, out):
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    index = json.loads((parent / "model.safetensors.index.json").read_text())["weight_map"]
    sizes = {4096: 2048, 11008: 5504}
    heads = torch.arange(16).repeat_interleave(128) * 256 + torch.arange(128).repeat(16)
    tensors = {}
    for name, file in index.items():
        parts = name.split(".")
        if parts[1] == "layers" and int(parts[2]) >= layers:
            continue
        with safe_open(parent / file, framework="pt") as opened:
            tensor = opened.get_tensor(name)
        for dim, size in enumerate(tensor.shape):
            of_heads = (dim == 0 and name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight"))) or (dim == 1 and "o_proj" in name)
            if size in sizes:
                tensor = tensor.index_select(dim, heads if of_heads else torch.arange(sizes[size]) * 2)
        tensors[name] = tensor.contiguous()
    out.mkdir()
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    fsync(out / "model.safetensors")


def fsync(path):
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def forget(folder):
    for path in folder.iterdir():
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def watched(command):
    """Seconds, most anonymous memory and most memory in MB."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    anonymous = most = 0
    while process.poll() is None:
        try:
            status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if ":" in line)
            read = lambda key: int(status.get(key, "0 kB").split()[0]) / 1000
            anonymous, most = max(anonymous, read("RssAnon")), max(most, read("VmHWM"))
        except (FileNotFoundError, ProcessLookupError, ValueError):
            pass
        time.sleep(0.02)
    if process.returncode:
        sys.exit(f"{command[0]} failed")
    return time.perf_counter() - begun, anonymous, most


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--bin", type=Path)
    parser.add_argument("--peer", nargs=3)
    args = parser.parse_args()
    if args.peer:
        parent, layers, out = args.peer
        return peer(Path(parent), int(layers), Path(out))
    command = binary(args.bin)
    with tempfile.TemporaryDirectory(dir=args.dir) as room:
        room = Path(room)
        config = {**PARENT, "num_hidden_layers": args.layers}
        child = {**config, **CHANGED, "num_hidden_layers": args.layers // 2}
        (room / "parent.json").write_text(json.dumps(config))
        (room / "child.json").write_text(json.dumps(child))
        parent, out = room / "parent", room / "out"
        subprocess.run([command, "init", room / "parent.json", "--shard-size", "5GB", "-o", parent], check=True, stdout=subprocess.DEVNULL)
        times = {"epoch0": [], "torch": [], "cp": []}
        memory = {"epoch0": (0, 0), "torch": (0, 0)}
        size = 0
        for _ in range(args.rounds):
            for name in times:
                forget(parent)
                if name == "epoch0":
                    words = [command, "init", room / "child.json", "--from", parent, "--with", "weight_selection", "-o", out]
                elif name == "torch":
                    words = [sys.executable, __file__, "--peer", parent, str(args.layers // 2), out]
                else:
                    out.mkdir()
                    words = ["dd", "if=/dev/zero", f"of={out}/zeros", "bs=8M", f"count={size // (8 << 20)}", "conv=fsync", "status=none"]
                seconds, anonymous, most = watched(words)
                times[name].append(seconds)
                if name in memory:
                    memory[name] = tuple(max(pair) for pair in zip(memory[name], (anonymous, most)))
                size = size or sum(path.stat().st_size for path in out.iterdir())
                shutil.rmtree(out)
    for name, found in times.items():
        shown = f", {memory[name][0]:.0f} MB of its own, {memory[name][1]:.0f} MB with mapped files" if name in memory else ""
        print(f"{name:8} {min(found):6.2f} s (median {statistics.median(found):.2f}){shown}")
    print(f"child of {size / 1e9:.2f} GB; {min(times['torch']) / min(times['epoch0']):.1f} times as fast as torch, {min(times['epoch0']) / min(times['cp']):.2f} times zeros of the same length")


if __name__ == "__main__":
    sys.exit(main())
