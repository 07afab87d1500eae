#!/usr/bin/env python3
"""Loads what `epoch0 init` writes for the zoo into the networks of torchvision and timm.

    pip install -r tests/peers/requirements.txt
    python tests/peers/load_zoo.py                     # every network of the zoo that is theirs
    python tests/peers/load_zoo.py resnet18 vit_b_16   # only these
    python tests/peers/load_zoo.py --bin PATH          # with this program; else $EPOCH0_BIN, else cargo builds it

For each: `load_state_dict(strict=True)` takes the checkpoint, the element types are the library's, and a forward pass
on random images is finite. A network of which `epoch0 list zoo` says that it is of torchvision or timm and which is not
tested here counts as a failure. Prints one line for each and ends with 1 when any fails.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import zoo
from load import binary, init, tensors_of


def load(program, spec, library, name, options):
    net = zoo.make(library, name, options)
    with tempfile.TemporaryDirectory() as room:
        out = Path(room) / "out"
        init(program, spec, out, [])
        tensors = tensors_of(out)
        for key, value in net.state_dict().items():
            assert key in tensors, f"{key} is not in the file"
            assert tensors[key].dtype == value.dtype, f"{key} is {tensors[key].dtype}, {library} has {value.dtype}"
        # The network has no memory of its own (it is on the meta device): what it computes with is the file's.
        net.load_state_dict(tensors, strict=True, assign=True)
    size = options.get("image_size", options.get("img_size", 224))
    torch.manual_seed(0)
    with torch.inference_mode():
        logits = net.eval()(torch.randn(1, options.get("in_chans", 3), size, size))
    assert logits.shape == (1, options.get("num_classes", 1000)), f"logits of shape {tuple(logits.shape)}"
    assert logits.isfinite().all(), "the network gives numbers that are not finite"
    return f"{library} {name}, {len(tensors)} tensors"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="*", help="specifications; all when none is given")
    parser.add_argument("--bin", help="the epoch0 program")
    args = parser.parse_args()
    program = binary(args.bin)

    rows = [(name, "torchvision", name, {}) for name in zoo.TORCHVISION]
    rows += [(name, "timm", name, {}) for name in zoo.TIMM] + zoo.WITH_OPTIONS
    n_failed = 0
    if args.specs:
        rows = [row for row in rows if row[0] in args.specs]
    else:
        listed = json.loads(subprocess.run([program, "list", "zoo", "--json"], check=True, capture_output=True).stdout)
        theirs = {}
        for entry in listed:
            if re.search(r"\b(torchvision|timm)\b", entry["text"]):
                theirs[entry["name"]] = {entry["name"], *entry["aliases"]}
        assert theirs, "the zoo has no network of torchvision or timm"
        tested = {row[0] for row in rows}
        for name, names in theirs.items():
            if not names & tested:
                n_failed += 1
                print(f"FAIL  {name}: is of torchvision or timm, and is not tested here")
    n_passed = 0
    for row in rows:
        try:
            print(f"ok    {row[0]}: {load(program, *row)}", flush=True)
            n_passed += 1
        except Exception as error:
            n_failed += 1
            print(f"FAIL  {row[0]}: {type(error).__name__}: {error}", flush=True)
    print(f"{n_passed} passed, {n_failed} failed")
    sys.exit(1 if n_failed or not n_passed else 0)


if __name__ == "__main__":
    main()
