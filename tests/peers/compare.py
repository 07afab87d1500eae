#!/usr/bin/env python3
"""Runs networks with `epoch0 eval` and compares outputs and gradients with PyTorch's.

    pip install -r benches/requirements.txt
    python tests/peers/export.py OUT
    python tests/peers/compare.py onnx OUT                      # every file that export.py wrote
    python tests/peers/compare.py onnx OUT resnet18 gpt2.script17
    python tests/peers/compare.py hf                            # every config in configs/, with random weights
    python tests/peers/compare.py zoo resnet18 lenet            # networks of the zoo that are torchvision's or timm's
    python tests/peers/compare.py onnx OUT --bin PATH           # this program; else $EPOCH0_BIN, else cargo builds it

Gradients are those of the sum of all float outputs, for every parameter and every float input. The error of a tensor
is max|a - b| / max|b| against PyTorch in f32, and the table has the worst of each network, with the tensor that it
belongs to and, beside it, the worst that PyTorch's own f32 has against its f64. A tensor whose gradient PyTorch knows
only as rounding (`zero_gradients` in export.py: the bias of attention's keys has none) is held against the largest
gradient of the network instead. Prints `found/wanted` parameters: what an exporter folded into a constant has no
gradient, and where batch norm was folded into a convolution, the chain rule is applied to what is compared
(origins.py). Exits with 1 when an error exceeds 1e-4, a tensor is missing, or a network cannot be run.

Gradients jump at kinks: a rectifier's input, or two in a pool, within the rounding of f32 may come out on the other side.
Where gradients of an ONNX file differ, it is run once more in double precision; where that agrees, the network
holds, and the row says `kink`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from load import HERE, binary
from origins import parts_of

MOST = 1e-4


@dataclass
class Row:
    """What came of one network."""

    output: float
    gradient: float
    worst: str
    own: float
    found: int
    wanted: int
    seconds: float
    double: float | None = None


def relative(found, expected, scale=None):
    """max|found - expected| over `scale`, which is max|expected| unless given; infinite when a shape is wrong."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    top = np.abs(expected).max(initial=0) if scale is None else scale
    apart = np.abs(found.astype(np.float64) - expected).max(initial=0)
    return float(apart / top) if top > 0 else float("inf") if apart > 0 else 0.0


def evaluate(program, net, inputs, options=()):
    """Outputs, gradients and seconds of `epoch0 eval`."""
    with tempfile.TemporaryDirectory() as room:
        given, written = Path(room) / "in.npz", Path(room) / "out.npz"
        np.savez(given, **inputs)
        begun = time.perf_counter()
        run = subprocess.run([program, "eval", *net, "--inputs", given, "-o", written, "--grad", *options],
                             capture_output=True, text=True, timeout=1200)
        seconds = time.perf_counter() - begun
        if run.returncode != 0:
            lines = run.stderr.strip().splitlines() or ["nothing on stderr"]
            raise RuntimeError(f"epoch0 eval ended with {run.returncode}: {' '.join(lines[:3])}")
        with np.load(written) as arrays:
            values = {key: arrays[key] for key in arrays.files}
    outputs = {key: value for key, value in values.items() if not key.startswith("grad/")}
    gradients = {key.removeprefix("grad/"): value for key, value in values.items() if key.startswith("grad/")}
    return outputs, gradients, seconds


def as_parameter(gradient, row, expected, step):
    """The gradient of an initializer as one of the parameter that it was made from, of which `expected` has every
    `step`-th row."""
    if row["how"] == "scaled":
        scale = np.array(row["scale"], dtype=np.float64)
        return gradient * scale.reshape(-1, *[1] * (gradient.ndim - 1))
    if row["how"] == "gates":
        if gradient.shape == expected.shape:
            return gradient
        begin, order = row["start"], row["order"]
        blocks = np.split(gradient[row["direction"]][begin : begin + len(expected)], len(order))
        return np.concatenate([blocks[order.index(j)] for j in range(len(order))])
    if row["how"] == "transposed":
        # The program may have turned the weight into the parameter's own layout, which a square one does not show.
        turned = [g for g in (gradient.T, gradient) if g[::step].shape == expected.shape]
        return min(turned, key=lambda g: relative(g[::step], expected)) if turned else gradient
    return gradient.reshape(expected.shape) if gradient.size == expected.size else gradient


def gradient_of(name, expected, step, gradients, origins):
    """The gradient of a parameter from those that the program gave, or None. A parameter may have become several
    initializers (tied weights, one of them transposed): then it is their sum."""
    if origins is None:
        return gradients.get(name)
    rows = [(initializer, row) for initializer, parameter, row in parts_of(origins) if parameter == name]
    parts = [as_parameter(gradients[i], row, expected, step) for i, row in rows if i in gradients]
    if not parts and rows:
        _, row = rows[0]
        # Given back under PyTorch's name, or, for a bias that folding made, that of the convolution's bias.
        other = [weight.removesuffix("weight") + "bias" for _, weight, scaled in parts_of(origins)
                 if row["how"] == "shifted" and scaled["how"] == "scaled" and f"{scaled['norm']}.bias" == name]
        parts = [as_parameter(gradients[key], row, expected, step) for key in [name, *other] if key in gradients][:1]
    return sum(parts) if parts else None


def compare(evaluated, expected, origins=None, about=None):
    """`expected` has the keys of export.py's npz."""
    outputs, gradients, seconds = evaluated
    about = about or {"zero_gradients": [], "worst_own_error": float("nan")}
    output_error = max(relative(outputs[k[4:]], v) if k[4:] in outputs else float("inf")
                       for k, v in expected.items() if k.startswith("out/"))
    errors = {}
    wanted = {k.split("/", 1)[1]: v for k, v in expected.items() if k.startswith(("grad/", "grad_rows/"))}
    largest = max((np.abs(v).max(initial=0) for v in wanted.values()), default=0)
    n_found = 0
    kept = {parameter for _, parameter, _ in parts_of(origins or {})}
    for name, theirs in wanted.items():
        step = 8 if f"grad_rows/{name}" in expected else 1
        ours = gradient_of(name, theirs, step, gradients, origins)
        if ours is not None:
            n_found += 1
            errors[name] = relative(ours[::step], theirs, largest if f"grad/{name}" in about["zero_gradients"] else None)
        elif origins is None or name in kept:
            errors[name] = float("inf")
    for key, theirs in expected.items():
        if key.startswith("grad_input/"):
            name = key.removeprefix("grad_input/")
            errors[f"input {name}"] = relative(gradients[name], theirs) if name in gradients else float("inf")
    worst = max(errors, key=errors.get, default="")
    return Row(output_error, errors.get(worst, 0.0), worst, about["worst_own_error"], n_found, len(wanted), seconds)


def onnx_file(program, path):
    name = path.name.split(".")[0]
    with np.load(path.parent / f"{name}.npz") as arrays:
        expected = {key: arrays[key] for key in arrays.files}
    inputs = {key.removeprefix("in/"): value for key, value in expected.items() if key.startswith("in/")}
    origins = json.loads(path.with_suffix(".origins.json").read_text())
    about = json.loads((path.parent / f"{name}.json").read_text())
    taken = inputs_in(path)
    inputs = {key: value for key, value in inputs.items() if key in taken}
    row = compare(evaluate(program, [path], inputs), expected, origins, about)
    if row.output <= MOST < row.gradient < float("inf"):
        row.double = compare(evaluate(program, [path], inputs, ["--double"]), expected, origins, about).gradient
    return row


def inputs_in(path):
    """Names of the inputs of an ONNX file."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return {value.name for value in graph.input} - {value.name for value in graph.initializer}


def peer_arrays(model, inputs, names):
    """PyTorch's outputs of the given names and gradients of their sum, with the keys of export.py's npz."""
    import torch

    leaves = {k: v.detach().clone().requires_grad_(v.is_floating_point()) for k, v in inputs.items()}
    returned = model(**leaves) if hasattr(model, "config") else model(*leaves.values())
    if isinstance(returned, torch.Tensor):
        returned = {names[0]: returned}
    outputs = {name: returned[name] for name in names}
    sum(v.sum() for v in outputs.values() if v.is_floating_point()).backward()
    arrays = {f"out/{k}": v for k, v in outputs.items()}
    arrays |= {f"grad/{k}": p.grad for k, p in model.named_parameters() if p.grad is not None}
    arrays |= {f"grad_input/{k}": v.grad for k, v in leaves.items() if v.grad is not None}
    return {k: v.detach().numpy() for k, v in arrays.items()}


def hf_config(program, name):
    """A config of configs/, in f32, with random weights that transformers saves and epoch0 reads."""
    import networks
    import torch
    import transformers
    from load import inputs_of, tensors_of

    settings = json.loads((HERE / "configs" / f"{name}.json").read_text())
    for key in ("dtype", "torch_dtype"):
        settings.pop(key, None)
    with tempfile.TemporaryDirectory() as room:
        config_path = Path(room) / "config.json"
        config_path.write_text(json.dumps(settings | {"dtype": "float32"}))
        model_class = getattr(transformers, settings["architectures"][0])
        torch.manual_seed(0)
        model = model_class(transformers.AutoConfig.from_pretrained(config_path, attn_implementation="eager")).float()
        inputs = inputs_of(model)
        networks.scatter(model)
        if "pixel_values" in inputs and len(inputs) == 1:
            networks.settle(model, inputs)
        model.eval().save_pretrained(Path(room) / "net")
        named = set(tensors_of(Path(room) / "net"))
        given = {k: v.numpy() for k, v in inputs.items()} | indices(model, inputs)
        evaluated = evaluate(program, [Path(room) / "net"], given)
    expected = peer_arrays(model, inputs, list(evaluated[0]))
    # A few parameters have other names in the file than in the module (experts kept as one tensor).
    expected = {k: v for k, v in expected.items() if not k.startswith("grad/") or k.removeprefix("grad/") in named}
    return compare(evaluated, expected)


def indices(model, inputs):
    """The positions and segments that epoch0's networks take as inputs, as transformers makes them."""
    kind = model.config.model_type
    found = {}
    if "input_ids" in inputs:
        shape = inputs["input_ids"].shape
        first = 0
        if kind == "roberta" and model.config.pad_token_id is not None:
            first = model.config.pad_token_id + 1
        if kind in ("gpt2", "bert", "roberta", "clip", "distilbert"):
            found["position_ids"] = np.broadcast_to(np.arange(first, first + shape[1]), shape).copy()
        if kind in ("bert", "roberta"):
            found["token_type_ids"] = np.zeros(shape, dtype=np.int64)
    return found


def zoo_network(program, spec):
    """A network of the zoo with random weights, which torchvision or timm saves."""
    import networks
    import timm
    import torch
    import torchvision
    import zoo
    from safetensors.torch import save_file

    rows = [(name, "torchvision", name, {}) for name in zoo.TORCHVISION]
    rows += [(name, "timm", name, {}) for name in zoo.TIMM] + zoo.WITH_OPTIONS
    _, library, name, options = next(row for row in rows if row[0] == spec)
    torch.manual_seed(0)
    if library == "timm":
        model = timm.create_model(name, pretrained=False, **options)
    else:
        extra = {"init_weights": False} if name == "googlenet" else {}
        model = getattr(torchvision.models, name)(weights=None, **extra, **options)
    size = options.get("image_size", options.get("img_size", 224))
    image = torch.randn(2, options.get("in_chans", 3), size, size)
    networks.scatter(model)
    networks.settle(model, {"image": image})
    model.eval()
    with tempfile.TemporaryDirectory() as room:
        weights = Path(room) / "model.safetensors"
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, weights)
        evaluated = evaluate(program, [spec, "--weights", weights], {"image": image.numpy()})
    expected = peer_arrays(model, {"image": image}, list(evaluated[0]))
    return compare(evaluated, expected)


def jobs_of(args, program):
    if args.kind == "onnx":
        if not args.names:
            sys.exit("which folder? python tests/peers/compare.py onnx OUT")
        folder, names = Path(args.names[0]), args.names[1:]
        paths = sorted(folder.glob("*.onnx"))
        if names:
            paths = [p for p in paths if any(p.name.startswith(f"{name}.") for name in names)]
        return [(path.stem, lambda path=path: onnx_file(program, path)) for path in paths]
    if args.kind == "hf":
        names = args.names or sorted(path.stem for path in (HERE / "configs").glob("*.json"))
        return [(name, lambda name=name: hf_config(program, name)) for name in names]
    import zoo

    names = args.names or zoo.TORCHVISION + zoo.TIMM + [row[0] for row in zoo.WITH_OPTIONS]
    return [(name, lambda name=name: zoo_network(program, name)) for name in names]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["onnx", "hf", "zoo"])
    parser.add_argument("names", nargs="*", help="for onnx the folder first; all networks when none is named")
    parser.add_argument("--bin", help="the epoch0 program")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    program = binary(args.bin)
    if args.kind == "hf":
        import transformers

        transformers.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
    jobs = jobs_of(args, program)
    if not jobs:
        sys.exit("no such network")
    if not args.json:
        print(f"{'network':32} {'outputs':>8} {'gradients':>9} {'torch own':>9} {'parameters':>10} {'seconds':>8}  worst")
    rows, n_failed = {}, 0
    for name, job in jobs:
        try:
            row = job()
            is_kink = row.double is not None and row.double <= MOST
            holds = row.output <= MOST and (row.gradient <= MOST or is_kink)
            rows[name] = vars(row) | {"holds": holds}
            text = (f"{row.output:8.1e} {row.gradient:9.1e} {row.own:9.1e} {row.found:5}/{row.wanted:<4} "
                    f"{row.seconds:8.2f}  {row.worst}{f'  kink: {row.double:.1e} in double' if is_kink else ''}"
                    f"{'' if holds else '  FAIL'}")
        except Exception as error:  # noqa: BLE001, one network that fails must not hide the others
            holds = False
            rows[name] = {"holds": False, "error": f"{type(error).__name__}: {error}"}
            text = f"FAIL {type(error).__name__}: {error}"
        n_failed += not holds
        if not args.json:
            print(f"{name:32} {text}", flush=True)
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        print(f"{len(jobs) - n_failed} within {MOST:g}, {n_failed} not")
    sys.exit(1 if n_failed else 0)


if __name__ == "__main__":
    main()
