#!/usr/bin/env python3
"""What `transformers` makes of each config in configs/: the reference that the Rust tests compare with.

    pip install -r tests/peers/requirements.txt
    python tests/peers/reference.py            # writes tests/peers/reference/<name>.json for every config
    python tests/peers/reference.py gpt2-1 …   # only these

A reference holds, for the checkpoint that `save_pretrained` writes: every tensor's dtype and shape, the names that
the state dict has besides (ties), and mean, standard deviation, smallest and largest value of what `transformers`
itself starts each tensor from. Beside it stands the `config.json` that `save_pretrained` writes, every default spelt
out.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors import safe_open

HERE = Path(__file__).parent


def model_of(config_path):
    config = json.loads(config_path.read_text())
    cls = getattr(transformers, config["architectures"][0])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        parsed = transformers.AutoConfig.from_pretrained(folder)
    torch.manual_seed(0)
    dtype = getattr(torch, config.get("dtype") or config.get("torch_dtype") or "float32")
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return cls(parsed)
    finally:
        torch.set_default_dtype(before)


def reference(config_path):
    model = model_of(config_path)
    state = model.state_dict()
    tensors = {}
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        saved = json.loads((Path(folder) / "config.json").read_text())
        for path in sorted(Path(folder).glob("*.safetensors")):
            with safe_open(path, "pt") as file:
                for name in file.keys():
                    tensor = file.get_tensor(name)
                    values = tensor.double().flatten()
                    tensors[name] = {
                        "dtype": file.get_slice(name).get_dtype(),
                        "shape": list(tensor.shape),
                        "start": [
                            round(values.mean().item(), 9),
                            round(values.std(unbiased=False).item(), 9),
                            values.min().item(),
                            values.max().item(),
                        ],
                    }
    # Names that share their storage with a saved tensor.
    ties = {}
    owner = {state[name].data_ptr(): name for name in state if name in tensors and state[name].numel()}
    for name, value in state.items():
        if name not in tensors and value.data_ptr() in owner:
            ties[name] = owner[value.data_ptr()]
    return {
        "transformers": transformers.__version__,
        "architecture": type(model).__name__,
        "n_params": sum(p.numel() for p in model.parameters()),
        "ties": ties,
        "config": saved,
        "tensors": dict(sorted(tensors.items())),
    }


def main():
    names = sys.argv[1:] or sorted(path.stem for path in (HERE / "configs").glob("*.json"))
    (HERE / "reference").mkdir(exist_ok=True)
    for name in names:
        result = reference(HERE / "configs" / f"{name}.json")
        lines = [f'    {json.dumps(key)}: {json.dumps(value)}' for key, value in result.pop("tensors").items()]
        head = json.dumps(result, indent=2)[:-2]
        text = head + ',\n  "tensors": {\n' + ",\n".join(lines) + "\n  }\n}\n"
        (HERE / "reference" / f"{name}.json").write_text(text)
        print(f"{name}: {result['architecture']}, {len(lines)} tensors, {result['n_params']} parameters", file=sys.stderr)


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    main()
