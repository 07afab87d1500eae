#!/usr/bin/env python3
"""Loads what `epoch0 init` writes with `transformers`, for every config in configs/.

    pip install -r tests/peers/requirements.txt
    python tests/peers/load.py                      # every config and variant, and examples/gpt2
    python tests/peers/load.py llama-2 clip-1       # only these
    python tests/peers/load.py --bin PATH           # with this program; else $EPOCH0_BIN, else cargo builds it

For each checkpoint: the class that the config names loads it with no key missing, unexpected or mismatched; tied
names share their storage; what was loaded is what the file holds, bit for bit, and so is what `save_pretrained` writes
again; the element type is the one asked for; nothing is NaN; and a forward pass on random inputs is finite. Prints one
line for each and ends with 1 when any fails.
"""

import argparse
import inspect
import json
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import torch
import transformers
from safetensors import safe_open

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

DTYPES = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
#: Every config is loaded as it stands; these configs also with each of `VARIANTS`.
VARIED = ["bert-1", "clip-1", "gpt2-1", "llama-2", "mixtral-1", "resnet-1", "t5-1"]
VARIANTS = [
    ["--dtype", "bf16"],
    ["--shard-size", "20KB"],
    ["--with", "orthogonal"],
    ["--with", "he_normal", "--seed", "7"],
]


def binary(given):
    """The program: `given`, `$EPOCH0_BIN`, or what cargo builds."""
    path = given or os.environ.get("EPOCH0_BIN")
    if path:
        return Path(path).resolve()
    subprocess.run(["cargo", "build", "--release", "-p", "epoch0-cli"], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "epoch0"


def init(program, net, out, options):
    run = subprocess.run([program, "init", net, "-o", out, *options], capture_output=True, text=True)
    assert run.returncode == 0, f"epoch0 init ended with {run.returncode}: {run.stderr.strip()}"


def tensors_of(folder):
    """Every tensor of a checkpoint folder, by name."""
    tensors = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():
                assert name not in tensors, f"{name} is in two files"
                tensors[name] = file.get_tensor(name)
    assert tensors, f"no tensors in {folder}"
    return tensors


def same_bits(a, b):
    def bits(tensor):
        return tensor.reshape(-1).contiguous().view(torch.uint8)

    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(bits(a), bits(b))


def dtype_of(model, name, dtype):
    """The type in which transformers holds a tensor: it widens some that are stored as f16 (T5's `wo`)."""
    kept_wide = dtype == torch.float16 and set(name.split(".")) & set(model._keep_in_fp32_modules or ())
    return torch.float32 if kept_wide else dtype


def inputs_of(model):
    """Random inputs that a model takes."""
    config = model.config
    torch.manual_seed(0)
    taken = {}
    if model.main_input_name == "pixel_values" or config.model_type == "clip":
        vision = getattr(config, "vision_config", config)
        # Purely convolutional networks take any size.
        size = 64 if vision.model_type in ("resnet", "convnext") else vision.image_size
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        taken["pixel_values"] = torch.randn(2, vision.num_channels, height, width, dtype=model.dtype)
    if model.main_input_name == "input_ids" or config.model_type == "clip":
        text = getattr(config, "text_config", config)
        # Classifiers of sequences want one sequence when no padding is declared, and T5 an end in each.
        batch = 1 if getattr(text, "pad_token_id", None) is None and "pixel_values" not in taken else 2
        ids = torch.randint(3, text.vocab_size, (batch, 7))
        end = getattr(text, "eos_token_id", None)
        if isinstance(end, int) and 0 <= end < text.vocab_size:
            ids[ids == end] = 2
            ids[:, -1] = end
        taken["input_ids"] = ids
        if model.base_model_prefix == "roberta" and text.pad_token_id is None:
            # Positions are counted from the padding word, and there is none.
            taken["position_ids"] = torch.arange(ids.shape[1])[None]
        if "decoder_input_ids" in inspect.signature(model.forward).parameters:
            # As long as the input, for heads that look for its end in what the decoder gives.
            taken["decoder_input_ids"] = torch.randint(3, text.vocab_size, ids.shape)
    return taken


def floats_in(output):
    """Every floating-point tensor in what a model gives."""
    if isinstance(output, torch.Tensor):
        return [output] if output.is_floating_point() else []
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, (tuple, list)):
        return [tensor for part in output for tensor in floats_in(part)]
    return []


def check(out, model, info, dtype, ties):
    """Everything that has to hold of a model loaded from `out`; says what it is."""
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        assert not info[key], f"{key}: {sorted(info[key])[:5]}"
    assert model.dtype == dtype, f"loaded as {model.dtype}, asked for {dtype}"

    file = tensors_of(out)
    state = model.state_dict()
    storage = {state[name].data_ptr(): name for name in file if name in state}
    n_direct = 0
    found_ties = {}
    for name, value in file.items():
        assert not value.is_floating_point() or value.dtype == dtype, f"{name} is stored as {value.dtype}"
    for name, value in state.items():
        assert not value.isnan().any(), f"{name} holds NaN"
        wanted = dtype_of(model, name, dtype) if value.is_floating_point() else value.dtype
        assert value.dtype == wanted, f"{name} is {value.dtype}, asked for {wanted}"
        if name in file:
            assert same_bits(value, file[name].to(wanted)), f"{name} differs from the file"
            n_direct += 1
        elif value.data_ptr() in storage:
            found_ties[name] = storage[value.data_ptr()]
    if ties is not None:
        assert found_ties == ties, f"tied {found_ties}, expected {ties}"

    # Covers tensors that the model holds under other names (experts kept as one tensor).
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        saved = tensors_of(folder)
    assert saved.keys() == file.keys(), f"saved again under other names: {sorted(saved.keys() ^ file.keys())[:5]}"
    for name, value in saved.items():
        wanted = dtype_of(model, name, dtype) if value.is_floating_point() else value.dtype
        assert same_bits(value, file[name].to(wanted)), f"{name} is saved with other values than the file's"

    model.eval()
    with torch.inference_mode():
        outputs = floats_in(model(**inputs_of(model)))
    assert outputs, "the model gives no numbers"
    for output in outputs:
        assert output.isfinite().all(), "the model gives numbers that are not finite"
    n_files = len(list(Path(out).glob("*.safetensors")))
    kind = str(dtype).removeprefix("torch.")
    renamed = f", {len(file) - n_direct} under other names" if n_direct < len(file) else ""
    return (f"{type(model).__name__}, {kind}, {len(file)} tensors in {n_files} "
            f"{'file' if n_files == 1 else 'files'}{renamed}, {len(found_ties)} tied")


def load_config(program, name, options):
    config = json.loads((HERE / "configs" / f"{name}.json").read_text())
    reference = json.loads((HERE / "reference" / f"{name}.json").read_text())
    dtype = getattr(torch, config.get("dtype") or config.get("torch_dtype") or "float32")
    if "--dtype" in options:
        dtype = DTYPES[options[options.index("--dtype") + 1]]
    with tempfile.TemporaryDirectory() as room:
        out = Path(room) / "out"
        init(program, HERE / "configs" / f"{name}.json", out, options)
        if "--shard-size" in options:
            assert (out / "model.safetensors.index.json").exists(), "the checkpoint was not cut into files"
        cls = getattr(transformers, config["architectures"][0])
        model, info = cls.from_pretrained(out, output_loading_info=True)
        return check(out, model, info, dtype, reference["ties"])


def load_gpt2(program):
    """The first example of the README."""
    with tempfile.TemporaryDirectory() as room:
        out = Path(room) / "out"
        init(program, ROOT / "examples" / "gpt2" / "config.json", out, [])
        model, info = transformers.AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
        return check(out, model, info, torch.float32, {"lm_head.weight": "transformer.wte.weight"})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="configs, by name; all when none is given")
    parser.add_argument("--bin", help="the epoch0 program")
    args = parser.parse_args()
    program = binary(args.bin)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()

    names = args.names or sorted(path.stem for path in (HERE / "configs").glob("*.json"))
    jobs = [(" ".join([name, *options]), lambda name=name, options=options: load_config(program, name, options))
            for name in names for options in [[], *(VARIANTS if name in VARIED else [])]]
    if not args.names:
        jobs.append(("examples/gpt2", lambda: load_gpt2(program)))
    n_failed = 0
    for title, job in jobs:
        try:
            print(f"ok    {title}: {job()}", flush=True)
        except Exception as error:
            n_failed += 1
            print(f"FAIL  {title}: {type(error).__name__}: {error}", flush=True)
            if not isinstance(error, AssertionError):
                traceback.print_exc()
    print(f"{len(jobs) - n_failed} passed, {n_failed} failed")
    sys.exit(1 if n_failed else 0)


if __name__ == "__main__":
    main()
