#!/usr/bin/env python3
"""Exports PyTorch's networks to ONNX with both of its exporters, and writes what PyTorch computes with them.

    pip install -r benches/requirements.txt
    python tests/peers/export.py OUT                            # every network of networks.py
    python tests/peers/export.py OUT mlp resnet18 --exporter dynamo
    python tests/peers/export.py OUT resnet18 --size full       # torchvision's at 224 x 224

Into OUT, for each network:

- `NAME.dynamo.onnx` (torch.export, PyTorch's own opset), `NAME.script13.onnx` and `NAME.script17.onnx` (TorchScript,
  opset 13 and 17), as a user gets them: batch norm is folded into convolutions and transposed weights lose their names
  where the exporter does that. `NAME.dynamo-plain.onnx` and `NAME.script17-plain.onnx` are written without these
  optimizations, for networks of less than 20 million parameters; those of more have no opset 13 either.
- `NAME.npz`: `in/`, `out/` (by the file's names of inputs and outputs), `grad/PARAMETER` and `grad_input/INPUT`: the
  gradients of the sum of all float outputs, PyTorch in f32. `grad_rows/PARAMETER` has every eighth row of a gradient
  of more than 8 million elements.
- `NAME.json`: names and open axes; for each gradient and output the error that f32 has against f64 in PyTorch
  itself (`own_error`); parameters whose gradient is nothing but rounding (`zero_gradients`: a bias of attention's keys
  has none, for example).
- `NAME.VARIANT.origins.json`: which parameter each initializer is (`origins.py`).
- `NAME.safetensors`: the state dict, for networks of less than 20 million parameters.

Inputs are drawn anew until f32 and f64 agree to 2e-5: next to a kink of a ReLU there is no gradient to agree on.
`STATUS.txt` has a line for each file: its operators, and how far onnxruntime is from PyTorch on it.
"""

import argparse
import collections
import contextlib
import copy
import gc
import io
import json
import logging
import subprocess
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np

PLAIN_BELOW = 20_000_000
#: Of the gradient of a larger tensor only every eighth row is kept.
WHOLE_BELOW = 8_000_000
AGREE = 2e-5
DRAWS = 12


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--exporter", choices=["dynamo", "script", "both"], default="both")
    parser.add_argument("--size", choices=["small", "full"], default="small")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.one:
        return one(args)
    from networks import NETWORKS

    unknown = [name for name in args.names if name not in NETWORKS]
    if unknown:
        sys.exit(f"no network {', '.join(unknown)}; there are {', '.join(NETWORKS)}")
    failed = 0
    for name in args.names or NETWORKS:
        # A process for each: exporters keep what they traced.
        command = [sys.executable, __file__, args.out, name, "--exporter", args.exporter, "--size", args.size,
                   "--threads", str(args.threads), "--one"]
        failed += subprocess.run(command).returncode != 0
    return 1 if failed else 0


def one(args):
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import torch

    import networks
    import origins

    torch.set_num_threads(args.threads)
    name = args.names[0]
    case = networks.build(name, args.size)
    n_parameters = sum(p.numel() for p in case.model.parameters())
    reference(name, case, args.out, n_parameters)
    variants = []
    if args.exporter != "script":
        variants.append(("dynamo", dynamo, {"optimize": True}))
        if n_parameters < PLAIN_BELOW:
            variants.append(("dynamo-plain", dynamo, {"optimize": False}))
    if args.exporter != "dynamo":
        if n_parameters < PLAIN_BELOW:
            variants.append(("script13", script, {"opset_version": 13}))
        variants.append(("script17", script, {"opset_version": 17}))
        if n_parameters < PLAIN_BELOW:
            keep = {"do_constant_folding": False, "training": torch.onnx.TrainingMode.PRESERVE}
            variants.append(("script17-plain", script, {"opset_version": 17, **keep}))
    failed = False
    for variant, export, options in variants:
        path = args.out / f"{name}.{variant}.onnx"
        for stale in args.out.glob(f"{name}.{variant}.*"):
            stale.unlink()
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # a failing exporter prints its graph
                export(case, path, options)
            row = check(case, path)
            origins.write(case.model, path)
        except Exception as error:  # noqa: BLE001, whatever an exporter raises goes into the table
            failed = True
            (args.out / f"{name}.{variant}.error.txt").write_text(traceback.format_exc()[-20000:])
            first = str(error).strip().splitlines() or [""]
            row = f"FAILED {type(error).__name__}: {first[0][:160]}"
        status(args.out, f"{name}.{variant}", row)
        gc.collect()
    return 1 if failed else 0


def relative(found, expected):
    """max|found - expected| / max|expected|."""
    top = expected.abs().max().item()
    apart = (found.double() - expected.double()).abs().max().item()
    return apart / top if top > 0 else float(apart > 0)


def reference(name, case, out, n_parameters):
    """What PyTorch computes, and the state dict."""
    import torch
    from safetensors.torch import save_file

    import networks

    twin = copy.deepcopy(case.model).double()
    tried = []
    for draw in range(DRAWS):
        if draw > 0:
            torch.manual_seed(draw)
            redrawn = {k: torch.randn_like(v) for k, v in case.inputs.items() if v.is_floating_point()}
            if not redrawn:
                break
            case.inputs.update(redrawn)
        outputs, gradients, of_inputs = networks.run(case.model, case.inputs, case.outputs)
        wide = {k: v.double() if v.is_floating_point() else v for k, v in case.inputs.items()}
        exact = networks.run(twin, wide, case.outputs)
        own = {}
        for prefix, ours, theirs in zip(("out", "grad", "grad_input"), (outputs, gradients, of_inputs), exact):
            own |= {f"{prefix}/{k}": relative(ours[k], theirs[k]) for k in ours}
        zero = sorted(k for k, error in own.items() if error > 0.1)
        worst = max(error for k, error in own.items() if k not in zero)
        tried.append((worst, draw))
        if worst < AGREE:
            break
    del twin, exact
    arrays = {f"in/{k}": v for k, v in case.inputs.items()} | {f"out/{k}": v for k, v in outputs.items()}
    for k, v in gradients.items():
        arrays |= {f"grad/{k}": v} if v.numel() < WHOLE_BELOW else {f"grad_rows/{k}": v[::8]}
    arrays |= {f"grad_input/{k}": v for k, v in of_inputs.items()}
    np.savez(out / f"{name}.npz", **{k: v.numpy() for k, v in arrays.items()})
    tied = collections.defaultdict(list)
    for key, value in case.model.named_parameters(remove_duplicate=False):
        tied[id(value)].append(key)
    about = {
        "parameters": n_parameters,
        "inputs": {k: [str(v.dtype).removeprefix("torch."), list(v.shape)] for k, v in case.inputs.items()},
        "outputs": {k: list(v.shape) for k, v in outputs.items()},
        "open_axes": case.open_axes,
        "tied": [keys for keys in tied.values() if len(keys) > 1],
        "no_gradient": sorted(k for k, _ in case.model.named_parameters() if k not in gradients),
        "zero_gradients": zero,
        "worst_own_error": worst,
        "draws": len(tried),
        "own_error": own,
        "versions": {"torch": torch.__version__},
    }
    (out / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n")
    if n_parameters < PLAIN_BELOW:
        state = {k: v.contiguous() for k, v in case.model.state_dict().items()}
        for keys in about["tied"]:
            for key in keys[1:]:
                state.pop(key, None)
        save_file(state, out / f"{name}.safetensors", metadata={"format": "pt"})
    print(f"{name}: {n_parameters} parameters, own error {worst:.1e} in draw {len(tried)}, "
          f"{len(zero)} zero gradients", flush=True)
    case.model.zero_grad(set_to_none=True)


def dynamo(case, path, options):
    import torch

    sizes = {}
    shapes = None
    if case.open_axes:
        shapes = {name: {} for name in case.inputs}
        for name, axes in case.open_axes.items():
            for axis, label in axes.items():
                sizes.setdefault(label, torch.export.Dim(label))
                shapes[name][axis] = sizes[label]
        if isinstance(case.model, torch.nn.RNNBase):
            shapes = tuple(shapes.values())
    names = {"input_names": list(case.inputs), "output_names": case.outputs}
    call = {"args": tuple(case.inputs.values())}
    if not isinstance(case.model, torch.nn.RNNBase):
        call = {"args": (), "kwargs": case.inputs}
    torch.onnx.export(case.model, **call, f=str(path), dynamo=True, dynamic_shapes=shapes, verbose=False,
                      external_data=case.external, **names, **options)


def script(case, path, options):
    import onnx
    import torch

    names = {"input_names": list(case.inputs), "output_names": case.outputs}
    axes = {k: dict(v) for k, v in case.open_axes.items()}
    if axes and not isinstance(case.model, torch.nn.RNNBase):
        axes |= {k: next(iter(case.open_axes.values())) for k in case.outputs}
    call = tuple(case.inputs.values())
    if not isinstance(case.model, torch.nn.RNNBase):
        call = (case.inputs,)  # a last dict holds keywords
    model = case.model
    if case.traced:
        # The same modules under the same names, with another `forward`.
        model = copy.copy(model)
        kind = type(model)
        body = {"forward": case.traced, "__module__": kind.__module__}
        model.__class__ = type(kind.__name__, (kind,), body)
    torch.onnx.export(model, call, f=str(path), dynamo=False, dynamic_axes=axes or None, **names, **options)
    if case.external:
        model = onnx.load(path)
        path.unlink()
        onnx.save_model(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=1024)


def check(case, path):
    """Checks the file, runs it with onnxruntime, and describes it in a line."""
    import onnx
    import onnxruntime
    import torch

    import networks

    onnx.checker.check_model(str(path))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted = {value.name for value in session.get_inputs()}
    found = session.run(case.outputs, {k: v.numpy() for k, v in case.inputs.items() if k in wanted})
    with torch.no_grad():
        arguments = case.inputs.values()
        called = case.model(**case.inputs) if networks.accepts(case.model) else case.model(*arguments)
    error = max(relative(torch.from_numpy(f), e) for f, e in zip(found, networks.flat(called), strict=True))
    model = onnx.load(path, load_external_data=False)
    kinds = collections.Counter(node.op_type for node in model.graph.node)
    initial = {value.name for value in model.graph.initializer}
    parameters = dict(case.model.named_parameters())
    named = sum(name in initial for name in parameters)
    opsets = ",".join(f"{o.domain or 'ai.onnx'}:{o.version}" for o in model.opset_import)
    return (f"ok ort={error:.1e} {opsets} nodes={len(model.graph.node)} functions={len(model.functions)} "
            f"initializers={len(initial)} parameters under their names={named}/{len(parameters)} "
            + " ".join(f"{kind}:{n}" for kind, n in sorted(kinds.items())))


def status(out, key, row):
    path = out / "STATUS.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    lines = [line for line in lines if line.split(" ", 1)[0] != key] + [f"{key} {row}"]
    path.write_text("\n".join(lines) + "\n")
    print(f"  {key} {row[:150]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
