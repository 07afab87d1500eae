#!/usr/bin/env python3
"""Grows transformers and residual networks, and asks PyTorch whether they answer as before.

    pip install -r tests/peers/requirements.txt
    python tests/peers/grown.py [--bin PATH] [--official common.py]

`expand`, `hyper_cloning`, `net2net` and `llama_pro` make larger models of gpt2, llama, qwen3, bert, vit and resnet folders that
transformers wrote; both are loaded by transformers and run in double precision. A llama that HyperCloning repeats is compared
with that method's rule bit by bit (with `--official`: its code's `clone_matrix`, of hypercloning/common.py), one that LLaMA Pro
makes deeper with copies whose maps are zero. Exits with 1 when answers differ by more than 1e-5 of the largest, when a tensor is
missing, or when a bit differs.
"""

import argparse
import ast
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from load import binary
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageClassification, AutoModelForMaskedLM
from transformers import BertConfig, GPT2Config, LlamaConfig, Qwen3Config, ResNetConfig, ViTConfig

LLAMA = dict(vocab_size=300, hidden_size=128, num_attention_heads=8, num_key_value_heads=4, head_dim=16,
             intermediate_size=320, num_hidden_layers=6)
PARENTS = {
    "gpt2": (AutoModelForCausalLM, GPT2Config(vocab_size=300, n_embd=96, n_head=6, n_layer=6, n_positions=64,
                                              bos_token_id=0, eos_token_id=0)),
    "llama": (AutoModelForCausalLM, LlamaConfig(**LLAMA)),
    "qwen3": (AutoModelForCausalLM, Qwen3Config(vocab_size=300, hidden_size=128, num_attention_heads=8,
                                                num_key_value_heads=4, head_dim=32, intermediate_size=320,
                                                num_hidden_layers=4, tie_word_embeddings=True)),
    "bert": (AutoModelForMaskedLM, BertConfig(vocab_size=300, hidden_size=96, num_attention_heads=6,
                                              intermediate_size=256, num_hidden_layers=4)),
    "vit": (AutoModelForImageClassification, ViTConfig(hidden_size=96, num_attention_heads=6, intermediate_size=256,
                                                       num_hidden_layers=4, image_size=32, patch_size=8)),
    "resnet": (AutoModelForImageClassification, ResNetConfig(embedding_size=32, hidden_sizes=[32, 64, 96],
                                                             depths=[2, 2, 3], layer_type="basic")),
}
CASES = [
    ("gpt2", "expand", dict(n_embd=160, n_head=10, n_layer=8, n_inner=500)),
    ("gpt2", "hyper_cloning", dict(n_embd=192, n_head=12, n_layer=8, n_inner=768)),
    ("llama", "expand", dict(hidden_size=200, num_attention_heads=20, num_key_value_heads=5, head_dim=32,
                             intermediate_size=500, num_hidden_layers=9)),
    ("llama", "hyper_cloning", dict(hidden_size=256, num_attention_heads=16, num_key_value_heads=8, intermediate_size=640)),
    ("llama", "llama_pro", dict(num_hidden_layers=8)),
    ("llama", "net2net", dict(intermediate_size=400)),
    ("qwen3", "expand", dict(hidden_size=192, intermediate_size=333, num_attention_heads=16, num_hidden_layers=6,
                             layer_types=["full_attention"] * 6)),
    ("bert", "expand", dict(intermediate_size=300)),
    ("bert", "hyper_cloning", dict(hidden_size=192, num_attention_heads=12, intermediate_size=512)),
    ("vit", "expand", dict(hidden_size=128, num_attention_heads=8, intermediate_size=300, num_hidden_layers=6)),
    ("resnet", "expand", dict(embedding_size=40, hidden_sizes=[40, 72, 100], depths=[3, 3, 3])),
    ("resnet", "net2net", dict(embedding_size=40, hidden_sizes=[40, 72, 100])),
]


def parent(name: str, out: Path) -> None:
    kind, config = PARENTS[name]
    torch.manual_seed(0)
    model = kind.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)
    model.save_pretrained(out)


def loaded(kind, folder: Path):
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    lost = {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]}
    return model.double().eval(), lost


def off(name: str, of: Path, out: Path) -> float:
    kind, _ = PARENTS[name]
    small, _ = loaded(kind, of)
    large, lost = loaded(kind, out)
    if lost:
        print(f"{name}: {lost}")
        return float("inf")
    torch.manual_seed(1)
    given = (
        dict(pixel_values=torch.randn(2, 3, 32, 32).double())
        if name in ("vit", "resnet")
        else dict(input_ids=torch.randint(0, 300, (2, 40)))
    )
    with torch.no_grad():
        wanted, found = small(**given).logits, large(**given).logits
    return ((wanted - found).abs().max() / wanted.abs().max()).item()


def repeated(shape, weight: torch.Tensor) -> torch.Tensor:
    rows, columns = shape[0] // weight.shape[0], shape[1] // weight.shape[1]
    return weight.repeat(rows, columns) / columns


def official(path: Path):
    tree = ast.parse(path.read_text())
    wanted = [node for node in tree.body if getattr(node, "name", "") == "clone_matrix"]
    scope = {"torch": torch}
    exec(compile(ast.Module(wanted, []), str(path), "exec"), scope)
    return scope["clone_matrix"]


def differing(of: Path, out: Path, clone) -> int:
    """Tensors of a llama that are not what HyperCloning makes."""
    small, large = load_file(of / "model.safetensors"), load_file(out / "model.safetensors")
    wrong = 0
    for name, tensor in large.items():
        weight = small[name]
        if weight.dim() == 1:
            wanted = weight.repeat(tensor.shape[0] // weight.shape[0])
        elif "embed_tokens" in name:
            wanted = weight.repeat(1, tensor.shape[1] // weight.shape[1])
        else:
            wanted = clone(tensor.shape, weight)
        wrong += not torch.equal(wanted, tensor)
    return wrong


def not_copied(of: Path, out: Path) -> int:
    """Tensors of a deeper llama that are neither their layer's nor, of a new one, a copy with zero maps at the end."""
    small, large = load_file(of / "model.safetensors"), load_file(out / "model.safetensors")
    taken = [0, 1, 2, 2, 3, 4, 5, 5]
    new = [3, 7]
    wrong = 0
    for name, tensor in large.items():
        words = name.split(".")
        if words[1] == "layers":
            layer = int(words[2])
            wanted = small[".".join([*words[:2], str(taken[layer]), *words[3:]])]
            if layer in new and words[-2] in ("o_proj", "down_proj"):
                wanted = torch.zeros_like(wanted)
        else:
            wanted = small[name]
        wrong += not torch.equal(wanted, tensor)
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path)
    parser.add_argument("--official", type=Path)
    args = parser.parse_args()
    command = binary(args.bin)
    bad = 0
    with tempfile.TemporaryDirectory() as room:
        room = Path(room)
        for name in PARENTS:
            parent(name, room / name)

        def grow(name, method, changes, *more):
            config = json.loads((room / name / "config.json").read_text()) | changes
            (room / "child.json").write_text(json.dumps(config))
            words = ["init", room / "child.json", "--from", room / name, "--with", method, "-o", room / "out", "--force"]
            subprocess.run([command, *map(str, words), *more], check=True, stdout=subprocess.DEVNULL)

        for name, method, changes in CASES:
            grow(name, method, changes)
            found = off(name, room / name, room / "out")
            bad += not found < 1e-5
            print(f"{name} by {method}: answers differ by {found:.1e} of the largest")
            if method == "llama_pro":
                wrong = not_copied(room / name, room / "out")
                bad += wrong
                print(f"  {wrong} tensors are not copies")
        grow("llama", "hyper_cloning", CASES[3][2], "--set", "noise=0")
        wrong = differing(room / "llama", room / "out", official(args.official) if args.official else repeated)
        bad += wrong
        print(f"llama by hyper_cloning without noise: {wrong} tensors differ from {'its code' if args.official else 'its rule'}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
