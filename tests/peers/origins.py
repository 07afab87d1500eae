#!/usr/bin/env python3
"""Finds by value which of PyTorch's parameters each initializer of an exported file is.

    python tests/peers/origins.py OUT [NAME ...]

Exporters rename, transpose and fold weights. For each `OUT/NAME.VARIANT.onnx` this writes
`OUT/NAME.VARIANT.origins.json`: initializer -> `{"parameter": ..., "how": ...}`, where `how` is

- `same`, `transposed` (a matrix), `reshaped` (the same values in the same order);
- `scaled`: a convolution's weight into which a batch norm went: by `scale` for each output channel;
- `shifted`: the bias of such a convolution. It moves with the batch norm's bias, and its gradient is that one's.
- `gates`: a weight or bias of a recurrent layer, of both directions and with gates in ONNX's order. Its `parts` are the
  parameters: block j of row `direction` (from `start` on) is the parameter's block `order[j]`.

`null` stands for what is none of these: constants of the graph, and what was computed from parameters ahead of time.
"""

import json
import sys
from pathlib import Path

import numpy as np


def folded(model):
    """For each batch norm of a model in eval mode: its name, its scale, and what it takes from a mean of zero."""
    import torch

    rows = []
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            scale = module.weight / torch.sqrt(module.running_var + module.eps)
            rows.append((name, scale.detach().numpy(), module.bias.detach().numpy(), module.running_mean.numpy()))
    return rows


def close(a, b):
    return a.shape == b.shape and np.allclose(a, b, rtol=2e-4, atol=1e-6 * max(np.abs(b).max(initial=0), 1e-30))


def origin(name, value, parameters, norms):
    """Which parameter an initializer is, and how."""
    near = sorted((p for p in parameters if parameters[p].size == value.size), key=lambda p: (p != name, p))
    for p in near:
        if np.array_equal(parameters[p], value):
            return {"parameter": p, "how": "same"}
        if value.ndim == 2 and np.array_equal(parameters[p].T, value):
            return {"parameter": p, "how": "transposed"}
        if np.array_equal(parameters[p].ravel(), value.ravel()):
            return {"parameter": p, "how": "reshaped"}
    for p in near if value.ndim > 2 else []:
        for norm, scale, *_ in norms:
            if len(scale) == len(value) and parameters[p].shape == value.shape:
                by = scale.reshape(-1, *[1] * (value.ndim - 1))
                if close(value, parameters[p] * by):
                    return {"parameter": p, "how": "scaled", "norm": norm, "scale": [float(s) for s in scale]}
    return None


def shifted(value, found, parameters, norms):
    """A bias made by folding the norms of `found` into their convolutions."""
    taken = {row["norm"]: row["parameter"] for row in found if row and row["how"] == "scaled"}
    for norm, scale, bias, mean in norms:
        if norm in taken and len(bias) == value.size:
            of_conv = parameters.get(taken[norm].removesuffix("weight") + "bias", 0)
            if close(value, bias + (of_conv - mean) * scale):
                return {"parameter": f"{norm}.bias", "how": "shifted"}
    return None


#: ONNX has LSTM's gates as input, output, forget, cell and GRU's as update, reset, hidden.
ORDER = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2]}


def regrouped(value, order, parameters):
    """The parameters of an initializer of a recurrent layer."""
    parts = []
    for direction, row in enumerate(value):
        # Matrices as they are; biases of input and state one after the other.
        halves = [(0, row)] if row.ndim == 2 else [(0, row[: len(row) // 2]), (len(row) // 2, row[len(row) // 2 :])]
        for start, half in halves:
            for name, parameter in parameters.items():
                if parameter.shape == half.shape and len(half) % len(order) == 0:
                    blocks = np.split(parameter, len(order))
                    if np.array_equal(np.concatenate([blocks[j] for j in order]), half):
                        part = {"parameter": name, "direction": direction, "start": start, "order": order}
                        parts.append(part)
    return {"how": "gates", "parts": parts} if parts else None


def parts_of(origins):
    """Initializer, parameter and how, one for each part of each initializer."""
    for initializer, row in origins.items():
        for part in row.get("parts", [row]) if row else []:
            yield initializer, part["parameter"], row | part


def write(model, path):
    """Writes the origins of one file; says how many of the model's parameters were found."""
    import onnx
    from onnx import numpy_helper

    parameters = {k: v.detach().numpy() for k, v in model.named_parameters()}
    norms = folded(model)
    graph = onnx.load(path).graph
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    found = {}
    for name, value in values.items():
        if value.dtype == np.float32 and value.size > 1:
            found[name] = origin(name, value, parameters, norms)
    for name, row in list(found.items()):
        if row is None and values[name].ndim == 1:
            found[name] = shifted(values[name], list(found.values()), parameters, norms)
    for node in graph.node:
        if node.op_type in ORDER:
            for name in node.input[1:4]:
                if name in found and found[name] is None:
                    found[name] = regrouped(values[name], ORDER[node.op_type], parameters)
    path.with_suffix(".origins.json").write_text(json.dumps(found, indent=1) + "\n")
    return len({parameter for _, parameter, _ in parts_of(found)}), len(parameters)


def main():
    import networks

    out, names = Path(sys.argv[1]), sys.argv[2:]
    for name in names or networks.NETWORKS:
        paths = sorted(out.glob(f"{name}.*.onnx"))
        # Drawing inputs anew does not touch the parameters: they are those of the export.
        model = networks.build(name).model if paths else None
        for path in paths:
            n, of = write(model, path)
            print(f"{path.name}: {n} of {of} parameters found", flush=True)


if __name__ == "__main__":
    main()
