"""A GPT-2 XL config (1.56 billion parameters) to safetensors on the disk: `epoch0 init`, torch, and writing zeros.

    pip install -r benches/requirements.txt
    cargo build --release -p epoch0-cli
    python benches/init.py [--rounds 3] [--dtype bf16|f32] [--shard-size 1GB] [--dir FOLDER] [--threads 2] [--bin PATH]

They take turns, round after round, so that what else the machine does meets all; each ends when its bytes are on the
disk (fsync), and what the one before left to be written is written before the next begins.

- epoch0: `epoch0 init CONFIG --dtype bf16 -o OUT`, from the start of the process to its end, and the most memory that
  the process had at once.
- torch: what a user would write. `GPT2LMHeadModel` built on the meta device, `to_empty`, `init_weights`, then
  `safetensors.torch.save_file` (`save_pretrained` with a shard size), which does not fsync: its files are fsynced after
  it, and the table has the time without that too. The time counts from after the imports; the imports are shown apart.
- dd: as many zeros, `conv=fsync`.

Exits with 1 when epoch0 is less than 6 times as fast as torch, takes more than 1.5 times as long as dd, or has more
than 400 MB.
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

ROOT = Path(__file__).resolve().parent.parent
XL = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "n_embd": 1600,
    "n_layer": 48,
    "n_head": 25,
    "n_positions": 1024,
    "vocab_size": 50257,
}
FASTER_THAN_TORCH = 6.0
TIMES_OF_DD = 1.5
PEAK_MB = 400
MIB = 1 << 20


def binary(given):
    path = given or os.environ.get("EPOCH0_BIN")
    if path:
        return Path(path).resolve()
    subprocess.run(["cargo", "build", "--release", "-p", "epoch0-cli"], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "epoch0"


def peer(config_path, out, dtype, threads, shard_size):
    """torch's turn, in a process of its own. Prints times in seconds."""
    begun = time.perf_counter()
    import torch
    from safetensors.torch import save_file
    from transformers import GPT2Config, GPT2LMHeadModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    imported = time.perf_counter()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    out.mkdir()
    torch.set_default_dtype({"bf16": torch.bfloat16, "f32": torch.float32}[dtype])
    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config.from_json_file(config_path))
    model.to_empty(device="cpu")
    model.init_weights()
    model.tie_weights()
    drawn = time.perf_counter()
    if shard_size:
        model.save_pretrained(out, max_shard_size=shard_size)
    else:
        tensors = {name: value for name, value in model.state_dict().items() if name != "lm_head.weight"}
        save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    saved = time.perf_counter()
    for path in [*out.iterdir(), out]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    synced = time.perf_counter()

    # A start that was not drawn would be quick.
    state = model.state_dict()
    ends = 0.02 / (2 * model.config.n_layer) ** 0.5
    for name, std in (("wte", 0.02), ("h.7.attn.c_attn", 0.02), ("h.40.mlp.c_proj", ends)):
        found = state[f"transformer.{name}.weight"].float().std().item()
        assert abs(found / std - 1) < 0.01, f"{name} was drawn with std {found}, expected {std}"
    times = {"import": imported - begun, "draw": drawn - imported, "save": saved - drawn, "fsync": synced - saved}
    print(json.dumps(times))


def run_epoch0(program, config, out, args):
    """Wall time in seconds and peak memory in MB. The script itself stays small: a child starts with its size."""
    command = [program, "init", config, "-o", out, "--dtype", args.dtype, "--threads", str(args.threads)]
    # One file unless asked otherwise, as torch's: the program's usual size would cut 6.2 GB of f32.
    command += ["--shard-size", args.shard_size or "100GB"]
    with open(os.devnull, "w") as nowhere:
        begun = time.perf_counter()
        child = subprocess.Popen(command, stdout=nowhere)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"epoch0 init ended with {child.returncode}")
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit / 1e6


def run_torch(config, out, args):
    command = [sys.executable, __file__, "--peer", config, out, args.dtype, str(args.threads), args.shard_size or ""]
    begun = time.perf_counter()
    times = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    times["process"] = time.perf_counter() - begun
    return times


def run_dd(path, n_bytes):
    command = ["dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={-(-n_bytes // MIB)}", "conv=fsync"]
    begun = time.perf_counter()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def kind_of_disk(folder):
    """The file system that a folder is on, where the machine says."""
    if not os.path.exists("/proc/mounts"):
        return "unknown"
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    inside = [(len(at), kind) for at, kind in mounts if folder.resolve().is_relative_to(at)]
    return max(inside)[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=["bf16", "f32"], default="bf16")
    parser.add_argument("--shard-size", help="cut the checkpoint into files of this size (default: one file)")
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()), help="a folder on the disk to be used")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bin", help="the epoch0 program")
    parser.add_argument("--skip-torch", action="store_true", help="only epoch0 and dd")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if kind_of_disk(args.dir) in ("tmpfs", "ramfs"):
        sys.exit(f"{args.dir} is memory, not a disk: name a folder on one with --dir")
    program = binary(args.bin)

    ours, peaks, torchs, dds = [], [], [], []
    with tempfile.TemporaryDirectory(dir=args.dir, prefix="bench-init-") as room:
        room = Path(room)
        config = room / "config.json"
        config.write_text(json.dumps(XL))
        out = room / "out"

        def fresh():
            shutil.rmtree(out, ignore_errors=True)
            (room / "zeros").unlink(missing_ok=True)
            os.sync()

        for round_ in range(args.rounds):
            fresh()
            seconds, peak = run_epoch0(program, config, out, args)
            n_bytes = sum(path.stat().st_size for path in out.glob("*.safetensors"))
            n_files = len(list(out.glob("*.safetensors")))
            ours.append(seconds)
            peaks.append(peak)
            fresh()
            dds.append(run_dd(room / "zeros", n_bytes))
            if not args.skip_torch:
                fresh()
                torchs.append(run_torch(config, out, args))
                theirs = sum(path.stat().st_size for path in out.glob("*.safetensors"))
                if abs(theirs / n_bytes - 1) > 0.001:
                    sys.exit(f"torch wrote {theirs} bytes, epoch0 {n_bytes}")
            if not args.json:
                print(f"round {round_ + 1} of {args.rounds}: epoch0 {ours[-1]:.2f} s, dd {dds[-1]:.2f} s"
                      + (f", torch {json.dumps({k: round(v, 2) for k, v in torchs[-1].items()})}" if torchs else ""),
                      file=sys.stderr, flush=True)

    rows = {"epoch0": ours, "dd": dds}
    if torchs:
        rows["torch"] = [t["draw"] + t["save"] + t["fsync"] for t in torchs]
        rows["torch, no fsync"] = [t["draw"] + t["save"] for t in torchs]
        rows["torch, whole process"] = [t["process"] for t in torchs]
    best = {name: min(times) for name, times in rows.items()}
    peak = max(peaks)
    times_of_dd = best["epoch0"] / best["dd"]
    faster = best["torch"] / best["epoch0"] if torchs else None
    holds = times_of_dd <= TIMES_OF_DD and peak < PEAK_MB and (faster is None or faster >= FASTER_THAN_TORCH)
    if args.json:
        print(json.dumps({
            "dtype": args.dtype, "bytes": n_bytes, "files": n_files, "threads": args.threads, "rounds": args.rounds,
            "seconds": rows, "torch_parts": torchs, "peak_mb": peaks, "times_of_dd": times_of_dd,
            "times_faster_than_torch": faster, "holds": holds,
        }, indent=1))
    else:
        print(f"GPT-2 XL to {args.dtype} safetensors, {n_bytes / 1e9:.2f} GB in {n_files} "
              f"{'file' if n_files == 1 else 'files'}, threads: {args.threads}, rounds: {args.rounds}, "
              f"disk: {kind_of_disk(args.dir)}")
        print(f"{'seconds':22} {'minimum':>8} {'median':>8} {'GB/s':>6} {'of epoch0':>10}")
        for name, times in rows.items():
            print(f"{name:22} {min(times):8.2f} {statistics.median(times):8.2f} {n_bytes / min(times) / 1e9:6.2f} "
                  f"{min(times) / best['epoch0']:10.2f}")
        print(f"peak memory of epoch0: {peak:.0f} MB (aim: less than {PEAK_MB})")
        print(f"epoch0 takes {times_of_dd:.2f} times as long as dd (aim: at most {TIMES_OF_DD})")
        if faster:
            print(f"epoch0 is {faster:.2f} times as fast as torch (aim: at least {FASTER_THAN_TORCH:g})")
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(sys.argv[2], Path(sys.argv[3]), sys.argv[4], int(sys.argv[5]), sys.argv[6])
    else:
        main()
