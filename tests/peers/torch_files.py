#!/usr/bin/env python3
"""Compares what epoch0 reads of files that `torch.save` writes with torch's own tensors.

    pip install -r tests/peers/requirements.txt
    python tests/peers/torch_files.py [--bin PATH]             # every check
    python tests/peers/torch_files.py --large 3                # also a file of 3 GB, with the memory that a diff of it takes
    python tests/peers/torch_files.py --corpus                 # write the files that the tests of epoch0-format read

Networks of torchvision, timm and transformers, made with random weights, are written by `torch.save`: as a state dict, nested as
training leaves it, from DataParallel, with protocol 4, in half precision, in shards with an index. Then tensors of every type,
transposed, cut, repeated, shared, empty and scalar. Each file is compared with safetensors of torch's own reading of it by
`epoch0 diff`: every tensor has to be the same bits. Exits with 1 when one is not.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import timm
import torch
import torchvision
import transformers
from load import binary
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
CORPUS = HERE.parent.parent / "crates" / "epoch0-format" / "tests" / "torch_corpus"
WRONG = []
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
NEWER = [torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.complex64]


def reference(tensors, path):
    """What torch reads, every tensor by itself; names of one tensor only once, as safetensors have them."""
    seen, out = set(), {}
    for name, value in tensors.items():
        place = (value.data_ptr(), value.shape, value.stride(), value.dtype)
        if value.numel() and place in seen:
            continue
        seen.add(place)
        out[name] = value.detach().clone().contiguous()
    save_file(out, path, metadata={"format": "pt"})
    return out


def compare(command, what, path, tensors, room, key=""):
    own = f"{room}/own.safetensors"
    n = len(reference(tensors, own))
    run = subprocess.run([command, "diff", own, f"{path}{key}", "--json"], capture_output=True, text=True)
    if run.returncode > 1 or not run.stdout:
        WRONG.append(what)
        return print(f"WRONG {what}: {run.stderr.strip()}")
    told = json.loads(run.stdout)
    same = told["counts"].get("same", 0)
    if same != n or sum(told["counts"].values()) != n:
        WRONG.append(what)
        return print(f"WRONG {what}: {told['counts']} of {n}")
    print(f"{what}: {n} tensors, the same bits")


def scrambled(module):
    """Every number of a network another, counts and statistics too."""
    generator = torch.Generator().manual_seed(1)
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.randn(value.shape, generator=generator))
        elif value.dtype == torch.int64 and value.dim() == 0:
            value.fill_(7)
    return module.eval()


def networks():
    yield "torchvision resnet18", torchvision.models.resnet18()
    yield "torchvision mobilenet_v3_small", torchvision.models.mobilenet_v3_small()
    yield "torchvision lstm", torch.nn.LSTM(8, 16, num_layers=2, bidirectional=True)
    yield "timm vit_tiny_patch16_224", timm.create_model("vit_tiny_patch16_224")
    yield "timm convnext_atto", timm.create_model("convnext_atto")
    for name in ("gpt2-1", "bert-1", "t5-1", "llama-2", "clip-1", "mixtral-1"):
        config = transformers.AutoConfig.from_pretrained(HERE / "configs" / f"{name}.json")
        yield f"transformers {name}", getattr(transformers, config.architectures[0])(config)


def views():
    """Tensors of all types and all ways to lie in a storage."""
    generator = torch.Generator().manual_seed(2)
    base = torch.randn(6, 8, generator=generator)
    tensors = OrderedDict()
    for dtype in DTYPES + NEWER:
        value = (20 * torch.rand(3, 4, generator=generator)).to(dtype)
        tensors[f"plain.{dtype}"] = value
        tensors[f"turned.{dtype}"] = (20 * torch.rand(4, 3, generator=generator)).to(dtype).t()
    tensors["turned"] = base.t()
    tensors["base"] = base
    tensors["row"] = base[2]
    tensors["rows"] = base[1:4]
    tensors["column"] = base[:, 3]
    tensors["every_second"] = base[::2, 1::3]
    tensors["tied"] = base
    tensors["turned_and_tied"] = base.t()
    tensors["repeated"] = torch.tensor([[1.0, 2.0]]).expand(5, 2)
    tensors["cube"] = torch.randn(2, 3, 4, 5, generator=generator).permute(3, 1, 0, 2)
    tensors["last"] = torch.randn(2, 3, 4, 5, generator=generator).to(memory_format=torch.channels_last)
    tensors["scalar"] = torch.tensor(3.25)
    tensors["count"] = torch.tensor(12345678901)
    tensors["empty"] = torch.empty(0, 3)
    tensors["empty_cut"] = base[:0]
    tensors["one"] = torch.randn(1, 1, generator=generator).t()
    tensors["parameter"] = torch.nn.Parameter(torch.randn(3, generator=generator))
    buffer = torch.randn(4, generator=generator)
    buffer.is_special = True
    tensors["attributes"] = buffer
    return tensors


def trained():
    """A checkpoint as training leaves it."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(OrderedDict(a=torch.nn.Linear(4, 3), norm=torch.nn.BatchNorm1d(3)))
    averaged = torch.optim.swa_utils.AveragedModel(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 3])
    net(torch.randn(5, 4, generator=torch.Generator().manual_seed(3))).sum().backward()
    optimizer.step()
    scheduler.step()
    state = OrderedDict((f"module.{name}", value) for name, value in net.state_dict().items())
    ema = OrderedDict((name, value + 1) for name, value in net.state_dict().items())
    whole = {
        "epoch": 3, "arch": "net", "state_dict": state, "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(),
        "ema": ema, "averaged": averaged.state_dict(), "rng": torch.get_rng_state(), "size": net.a.weight.shape, "device": torch.device("cpu"),
        "dtype": torch.float32, "best": 0.5, "done": False, "seed": 2**70, "none": None, "words": {"a", "b"}, "raw": b"ab",
    }
    return whole, net.state_dict(), ema


def checks(command, room):
    path = f"{room}/file.pt"
    for what, net in networks():
        tensors = scrambled(net).state_dict()
        torch.save(tensors, path)
        compare(command, what, path, tensors, room)
        parallel = {"model_state_dict": OrderedDict((f"module.{name}", value) for name, value in tensors.items()), "step": 1}
        torch.save(parallel, path, pickle_protocol=4)
        compare(command, f"{what}, parallel, protocol 4", path, tensors, room)
        half = {name: value.bfloat16() if value.is_floating_point() else value for name, value in tensors.items()}
        torch.save(half, path)
        compare(command, f"{what}, bf16", path, half, room)
        if what.startswith("transformers"):
            # In shards, as transformers wrote them before safetensors.
            names = list(tensors)
            folder = Path(room) / what.replace(" ", "-")
            folder.mkdir()
            distinct = reference(tensors, f"{room}/own.safetensors")
            cut = len(names) // 2
            files = {}
            for nth, part in enumerate((names[:cut], names[cut:])):
                file = f"pytorch_model-{nth + 1:05}-of-00002.bin"
                torch.save({name: tensors[name].clone() for name in part if name in distinct}, folder / file)
                files.update({name: file for name in part if name in distinct})
            index = {"metadata": {}, "weight_map": files}
            (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
            compare(command, f"{what}, in shards", folder, tensors, room)
    tensors = views()
    torch.save(tensors, path)
    compare(command, "views", path, torch.load(path, weights_only=False), room)
    whole, state, ema = trained()
    torch.save(whole, path)
    compare(command, "a training's checkpoint", path, state, room)
    compare(command, "its average", path, ema, room, key="#ema")


def corpus():
    CORPUS.mkdir(exist_ok=True)
    tensors = views()
    torch.save(tensors, CORPUS / "ok-views.pt")
    reference(torch.load(CORPUS / "ok-views.pt", weights_only=False), CORPUS / "ok-views.safetensors")
    whole, state, _ = trained()
    for protocol in (2, 4):
        torch.save(whole, CORPUS / f"ok-trained{protocol}.pt", pickle_protocol=protocol)
        reference(state, CORPUS / f"ok-trained{protocol}.safetensors")
    small = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.arange(2.0)}
    torch.save(small, CORPUS / "bad-legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(2, 2), CORPUS / "bad-module.pt")
    torch.save({"ema": small, "other": small}, CORPUS / "bad-keys.pt")
    torch.save([1, 2, small["a.bias"]], CORPUS / "bad-list.pt")
    torch.save({"a": small["a.bias"], "b": torch.eye(3).to_sparse()}, CORPUS / "bad-sparse.pt")
    torch.save(small, CORPUS / "ok-small.pt")
    reference(small, CORPUS / "ok-small.safetensors")
    # The zoo's mlp:3-4-2, from DataParallel; its second weight is stored transposed.
    net = {"0.weight": torch.arange(12.0).reshape(4, 3), "0.bias": torch.arange(4.0), "2.weight": torch.arange(8.0).reshape(4, 2).t(), "2.bias": torch.ones(2)}
    torch.save({"model": {f"module.{name}": value for name, value in net.items()}, "epoch": 1}, CORPUS / "ok-perceptron.pt")
    reference(net, CORPUS / "ok-perceptron.safetensors")
    with zipfile.ZipFile(CORPUS / "ok-small.pt") as archive:
        for name, order, method in (("bad-big-endian", b"big", zipfile.ZIP_STORED), ("bad-packed", b"little", zipfile.ZIP_DEFLATED)):
            with zipfile.ZipFile(CORPUS / f"{name}.pt", "w", method) as out:
                for entry in archive.namelist():
                    out.writestr(entry, order if entry.endswith("byteorder") else archive.read(entry))


def large(command, room, gigabytes):
    """A file with few and large tensors, and the memory that it takes to read."""
    path = f"{room}/large.pt"
    rows = int(gigabytes * 2**30 / 4 / 4096 / 6)
    tensors = {f"{nth}.weight": torch.randn(rows, 4096) for nth in range(6)}
    torch.save(tensors, path)
    run = subprocess.Popen([command, "diff", path, path, "--json"], stdout=subprocess.PIPE, text=True)
    told = json.loads(run.stdout.read())
    _, status, usage = os.wait4(run.pid, 0)
    held = (told["counts"].get("same"), Path(path).stat().st_size / 2**30, usage.ru_maxrss / 2**10)
    print("%s tensors of %.2f GiB the same; %.0f MiB resident at most, pages of the file among them" % held)
    if held[0] != 6:
        WRONG.append("large")
    # Out of a quarter of the memory: what is held is the file's pages, which the system takes back.
    limit = lambda: resource.setrlimit(resource.RLIMIT_DATA, (2**28, 2**28))
    out = f"{room}/mean"
    run = subprocess.run([command, "average", path, "-o", out], capture_output=True, text=True, preexec_fn=limit)
    print(f"average with 256 MiB of memory of its own: exit code {run.returncode} {run.stderr.strip()}")
    if run.returncode:
        WRONG.append("average of the large file")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path)
    parser.add_argument("--corpus", action="store_true")
    parser.add_argument("--large", type=float)
    args = parser.parse_args()
    if args.corpus:
        return corpus()
    command = binary(args.bin)
    with tempfile.TemporaryDirectory() as room:
        checks(command, room)
        if args.large:
            large(command, room, args.large)
    print(f"{len(WRONG)} wrong")
    return int(bool(WRONG))


if __name__ == "__main__":
    sys.exit(main())
