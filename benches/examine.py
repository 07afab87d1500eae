"""How long `epoch0 examine resnet18.onnx` takes without data, from the start of the process to its end.

    pip install -r benches/requirements.txt
    python benches/examine.py [--rounds 3] [--threads 2] [--onnx FILE] [--bin PATH] [--json]

The file is torchvision's resnet18 as PyTorch starts it, exported at 224 x 224 with an open batch axis, unless another
is named. Each round also times PyTorch importing itself and running one forward and backward pass of 8 images with
every batch norm in place: what a user waits for who looks at the gradients once. Exits with 1 when a run takes more
than 20 s.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import side

AIM_SECONDS = 20.0


def export(path):
    import torch
    import torchvision

    torch.manual_seed(0)
    model = torchvision.models.resnet18(weights=None).eval()
    batch = torch.export.Dim("batch")
    torch.onnx.export(model, (torch.randn(2, 3, 224, 224),), f=str(path), dynamo=True, dynamic_shapes={"x": {0: batch}},
                      external_data=False, input_names=["x"], output_names=["logits"], verbose=False)


def once(threads):
    """One pass of PyTorch."""
    import torch
    import torchvision

    torch.set_num_threads(threads)
    torchvision.models.resnet18(weights=None).eval()(torch.randn(8, 3, 224, 224)).sum().backward()


def timed(command, allowed):
    begun = time.perf_counter()
    run = subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begun
    if run.returncode not in allowed:
        sys.exit(f"{' '.join(map(str, command))} ended with {run.returncode}")
    return seconds


def binary(given):
    path = given or os.environ.get("EPOCH0_BIN")
    if path:
        return Path(path).resolve()
    subprocess.run(["cargo", "build", "--release", "-p", "epoch0-cli"], cwd=side.ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", side.ROOT / "target")) / "release" / "epoch0"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--onnx", type=Path, help="the network")
    parser.add_argument("--bin", help="the epoch0 program")
    parser.add_argument("--torch-only", action="store_true", help="leave epoch0 out")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    program = None if args.torch_only else binary(args.bin)
    side.pin(args.threads)
    ours, passes = [], []
    with tempfile.TemporaryDirectory(prefix="bench-examine-") as room:
        net = args.onnx or Path(room) / "resnet18.onnx"
        if program and not args.onnx:
            subprocess.run([sys.executable, __file__, "--export", net], check=True, stdout=subprocess.DEVNULL)
        for _ in range(args.rounds):
            if program:
                # 1 says that the network is not healthy, which is no failure of the program.
                ours.append(timed([program, "examine", net], {0, 1}))
            passes.append(timed([sys.executable, __file__, "--once", args.threads], {0}))
    slowest = max(ours, default=0)
    if args.json:
        print(json.dumps({"epoch0_s": ours, "torch_once_s": passes, "holds": slowest <= AIM_SECONDS}, indent=1))
    else:
        if ours:
            print(f"epoch0 examine: {min(ours):.2f} to {slowest:.2f} s (aim: at most {AIM_SECONDS:g} s)")
        print(f"PyTorch's import and one pass: {min(passes):.2f} to {max(passes):.2f} s")
    return 0 if slowest <= AIM_SECONDS else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--export"]:
        export(sys.argv[2])
    elif sys.argv[1:2] == ["--once"]:
        once(int(sys.argv[2]))
    else:
        sys.exit(main())
