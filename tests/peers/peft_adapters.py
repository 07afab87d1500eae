#!/usr/bin/env python3
"""Loads adapters that epoch0 starts with peft, and compares them with peft's own.

    pip install -r tests/peers/requirements.txt
    python tests/peers/peft_adapters.py [--bin PATH] [--only PART]

Small models of four families (Conv1D, grouped queries, encoders of text and of images), a convolution among the targets, ranks by
pattern, DoRA and rsLoRA. For each start: what the model with the adapter answers has to be what the base answers, to 1e-5 of its
size. For methods that read weights, `s B A` and what is left of the weight have to be those of peft's initializer. Where peft
itself is not right (scale in LoftQ, Conv1D in OLoRA), what is compared with is said beside it. Exits with 1 when something differs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers
from load import binary, inputs_of
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.utils import logging

warnings.filterwarnings("ignore")
logging.set_verbosity_error()
logging.disable_progress_bar()
WORDS = 65
MODELS = {
    "gpt2": (GPT2LMHeadModel, GPT2Config(n_embd=48, n_head=4, n_layer=2, vocab_size=WORDS, n_positions=64), "c_attn,c_proj,wte"),
    "llama": (
        LlamaForCausalLM,
        LlamaConfig(hidden_size=64, num_attention_heads=8, num_key_value_heads=2, intermediate_size=96, num_hidden_layers=2, vocab_size=WORDS),
        "q_proj,v_proj,down_proj",
    ),
    "bert": (
        BertForMaskedLM,
        BertConfig(hidden_size=48, num_attention_heads=4, intermediate_size=64, num_hidden_layers=2, vocab_size=WORDS, max_position_embeddings=64),
        "query,value,0.output.dense",
    ),
    "vit": (
        ViTForImageClassification,
        ViTConfig(hidden_size=48, num_attention_heads=4, intermediate_size=64, num_hidden_layers=2, image_size=28, patch_size=7, num_channels=1, num_labels=10),
        "query,value,projection",
    ),
}
ALONE = ["lora_a", "lora_b", "orthogonal_lora", "mica"]
TAKING = ["pissa", "olora"]
SEEING = ["eva", "corda", "lora_ga"]
wrong = 0


def check(what: str, found: float, allowed: float):
    global wrong
    is_wrong = not found <= allowed
    wrong += is_wrong
    print(f"{'WRONG' if is_wrong else 'ok   '} {what}: {found:.1e} of {allowed:.0e}")


def model(name: str, folder: str):
    cls, config, _ = MODELS[name]
    torch.manual_seed(0)
    made = cls(config)
    with torch.no_grad():
        for value in made.parameters():
            value.add_(torch.randn_like(value) * 0.05)
    made.save_pretrained(folder)


def load(name: str, folder: str):
    return MODELS[name][0].from_pretrained(folder).eval()


def answers(name: str, net) -> torch.Tensor:
    torch.manual_seed(1)
    with torch.no_grad():
        if name == "vit":
            return net(pixel_values=torch.randn(3, 1, 28, 28)).logits
        return net(input_ids=torch.randint(0, WORDS, (3, 12))).logits


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


class Room:
    def __init__(self, command: str):
        self.command, self.room = command, tempfile.TemporaryDirectory()
        self.n = 0
        self.bases = {}
        for name in MODELS:
            self.bases[name] = f"{self.room.name}/{name}"
            model(name, self.bases[name])

    def start(self, name: str, method: str, *words: str, targets: str | None = None) -> str:
        self.n += 1
        out = f"{self.room.name}/adapter{self.n}"
        targets = targets or MODELS[name][2]
        run = [self.command, "init", self.bases[name], "--with", method, "--targets", targets, "-o", out, *words]
        done = subprocess.run(run, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(run)}\n{done.stderr}")
        return out


def loads(room: Room):
    """Answers at the start are those of the base."""
    for name in MODELS:
        base = answers(name, load(name, room.bases[name]))
        last = MODELS[name][2].split(",")[1]
        variants = [
            ["--rank", "4"],
            ["--rank", "4", "--alpha", "16", "--rslora", "--rank-pattern", f"{last}=2", "--alpha-pattern", f"{last}=7"],
            ["--rank", "4", "--alpha", "8", "--dora"],
        ]
        data = "mnist" if name == "vit" else "tinyshakespeare,block=32"
        for method in ALONE + TAKING + SEEING:
            targets = MODELS[name][2]
            if method in ("eva", "corda"):
                targets = ",".join(target for target in targets.split(",") if target not in ("wte", "projection"))
            for words in variants:
                words = list(words)
                if method == "mica" and ("--dora" in words or name == "vit"):
                    continue  # peft has neither
                if method in SEEING:
                    words += ["--data", data, "--examples", "32"]
                out = room.start(name, method, *words, targets=targets)
                net = load(name, room.bases[name])
                found = PeftModel.from_pretrained(net, out).eval()
                shown = " ".join(words[:3])
                check(f"{name} {method} {shown} {'dora' * ('--dora' in words)}{'rslora' * ('--rslora' in words)}", distance(answers(name, found), base), 1e-5)
                has = load_file(f"{out}/adapter_model.safetensors")
                own = {key.replace(".default", "").replace("magnitude_vector.weight", "magnitude_vector"): value for key, value in found.state_dict().items() if "lora_" in key}
                missing = [key for key in own if key not in has] + [key for key in has if key not in own]
                check(f"  tensors of {name} {method} that peft has and the file has not, or the other way", len(missing), 0)
                # With its changed base beside it, too.
                if method in TAKING + ["corda", "lora_ga"] and "wte" not in targets:
                    out = room.start(name, method, *words, "--set", "residual=base", targets=targets)
                    net = load(name, f"{out}-base")
                    found = PeftModel.from_pretrained(net, out).eval()
                    check(f"  {name} {method} beside a changed base", distance(answers(name, found), base), 1e-5)


def families(room: Room):
    """Every family of configs, at the usual targets and at all linear maps."""
    for path in sorted((Path(__file__).parent / "configs").glob("*-1.json")):
        folder = f"{room.room.name}/{path.stem}"
        subprocess.run([room.command, "init", path, "-o", folder], check=True, capture_output=True)
        cls = getattr(transformers, json.loads(path.read_text())["architectures"][0])
        inputs = inputs_of(cls.from_pretrained(folder))

        def answer(net, inputs=inputs):
            with torch.no_grad():
                return torch.cat([value.flatten() for value in net.eval()(**inputs).to_tuple() if torch.is_tensor(value)])

        base = answer(cls.from_pretrained(folder))
        for targets in (None, "all-linear"):
            out = f"{folder}-{targets}"
            words = ["init", folder, "--with", "pissa", "--rank", "2", "-o", out] + (["--targets", targets] if targets else [])
            done = subprocess.run([room.command, *words], capture_output=True, text=True)
            if done.returncode:
                print(f"     {path.stem} {targets or 'usual'}: {done.stderr.strip().splitlines()[0]}")
                continue
            found = PeftModel.from_pretrained(cls.from_pretrained(folder), out)
            check(f"{path.stem} {targets or 'usual'}", distance(answer(found), base), 1e-5)
            has = load_file(f"{out}/adapter_model.safetensors")
            own = [key for key in found.state_dict() if "lora_" in key]
            check("  tensors that peft has and the file has not, or the other way", abs(len(own) - len(has)), 0)


def product(files: dict, module: str) -> np.ndarray:
    a, b = (files[f"base_model.model.{module}.lora_{part}.weight"].double() for part in "AB")
    return (b @ a).numpy()


def stored(net, module: str) -> np.ndarray:
    layer = net.get_submodule(module)
    layer = getattr(layer, "base_layer", layer)
    weight = layer.weight.detach().double().numpy()
    return weight.T if layer.__class__.__name__ == "Conv1D" else weight


def parity(room: Room):
    """s B A and what is left of the weight are those of peft's own initializer."""
    for name, module, target in [
        ("llama", "model.layers.1.self_attn.v_proj", "v_proj"),
        ("gpt2", "transformer.h.1.attn.c_attn", "c_attn"),
        ("bert", "bert.encoder.layer.0.attention.self.query", "query"),
    ]:
        for r, alpha, rslora in [(4, 4, False), (4, 16, False), (6, 5, True)]:
            scale = alpha / (r**0.5 if rslora else r)
            words = ["--rank", str(r), "--alpha", str(alpha)] + ["--rslora"] * rslora + ["--set", "residual=base"]
            for method, init in [("pissa", "pissa"), ("pissa", "pissa_niter_8"), ("olora", "olora")]:
                more = ["--set", "niter=8"] if "niter" in init else []
                out = room.start(name, method, *words, *more, targets=target)
                files = load_file(f"{out}/adapter_model.safetensors")
                left = stored(load(name, f"{out}-base"), module)
                where = f"{method} {init} of {name}, rank {r}, scale {scale:.2f}"
                if name == "gpt2" and method == "olora":
                    # peft decomposes the transpose, and its A has the shape of that: compared with the formula.
                    weight = stored(load(name, room.bases[name]), module)
                    q, upper = np.linalg.qr(weight)
                    own = q[:, :r] @ upper[:r]
                    theirs = weight - scale * own
                else:
                    peft = get_peft_model(
                        load(name, room.bases[name]),
                        LoraConfig(r=r, lora_alpha=alpha, use_rslora=rslora, target_modules=[target], init_lora_weights=init, fan_in_fan_out=name == "gpt2"),
                    )
                    layer = peft.base_model.model.get_submodule(module)
                    own = (layer.lora_B["default"].weight @ layer.lora_A["default"].weight).detach().double().numpy()
                    theirs = stored(peft.base_model.model, module)
                if "niter" in init:
                    # Of different draws, and ours of ten dimensions more: as near to the weight as peft's is.
                    weight = stored(load(name, room.bases[name]), module)
                    ours, peers = (np.linalg.norm(weight - scale * added) for added in (product(files, module), own))
                    check(f"what is left of the weight over peft's, less 1, {where}", ours / peers - 1, 1e-6)
                    check(f"B A and what is left, {where}", np.abs(left + scale * product(files, module) - weight).max(), 1e-6)
                    continue
                check(f"B A, {where}", np.abs(product(files, module) - own).max() / np.abs(own).max(), 2e-5)
                check(f"what is left, {where}", np.abs(left - theirs).max() / np.abs(theirs).max(), 2e-5)
        weight = stored(load(name, room.bases[name]), module)
        out = room.start(name, "mica", "--rank", "4", targets=target)
        own = load_file(f"{out}/adapter_model.safetensors")[f"base_model.model.{module}.lora_B.weight"].double().numpy()
        u = np.linalg.svd(weight, full_matrices=False)[0][:, -4:]
        check(f"mica of {name}, projection on B", np.abs(own @ own.T - u @ u.T).max(), 1e-4)


NF4 = np.array(
    [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
     -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
     0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0], dtype=np.float32)  # fmt: skip


def nf4(weight: np.ndarray) -> np.ndarray:
    flat = weight.astype(np.float32).reshape(-1, 64)
    largest = np.abs(flat).max(1, keepdims=True)
    nearest = np.abs((flat / largest)[..., None] - NF4).argmin(-1)
    return (NF4[nearest] * largest).reshape(weight.shape).astype(np.float64)


def int8(weight: np.ndarray) -> np.ndarray:
    largest = np.abs(weight.astype(np.float32)).max(1, keepdims=True)
    return np.round(weight.astype(np.float32) * (127 / largest)).astype(np.float64) * largest / 127


def peft_loftq(weight: np.ndarray, r: int, iterations: int, quantize):
    """peft's alternation (utils/loftq_utils.py), which has no scale."""
    rest = weight
    for _ in range(iterations):
        base = quantize(rest)
        u, s, v = np.linalg.svd(weight - base, full_matrices=False)
        b, a = u[:, :r] * np.sqrt(s[:r]), np.sqrt(s[:r])[:, None] * v[:r]
        rest = weight - b @ a
    return base, b @ a


def loftq(room: Room):
    """Base and adapter; at a scale of 1 those of peft, at others the same sum, which peft's is not."""
    try:
        import bitsandbytes.functional as bnb

        def of_bnb(weight):
            codes, state = bnb.quantize_4bit(torch.tensor(weight, dtype=torch.float32), quant_type="nf4", blocksize=64, compress_statistics=False)
            return bnb.dequantize_4bit(codes, state).double().numpy()

        print("     NF4 of bitsandbytes")
    except Exception as error:  # noqa: BLE001
        of_bnb = None
        print(f"     NF4 by its table: no bitsandbytes ({error})")
    name, module = "llama", "model.layers.1.self_attn.v_proj"
    weight = stored(load(name, room.bases[name]), module)
    for levels, quantize in [("nf4", of_bnb or nf4), ("int8", int8)]:
        for iterations in (1, 5):
            base, added = peft_loftq(weight, 4, iterations, quantize)
            lost = np.linalg.norm(weight - base - added)
            for alpha in (4, 8, 64):
                out = room.start(
                    name, "loftq", "--rank", "4", "--alpha", str(alpha), "--set", f"levels={levels}", "--set", f"iterations={iterations}", targets="v_proj"
                )
                scale = alpha / 4
                own = scale * product(load_file(f"{out}/adapter_model.safetensors"), module)
                own_base = stored(load(name, f"{out}-base"), module)
                ours = np.linalg.norm(weight - own_base - own)
                theirs = np.linalg.norm(weight - base - scale * added)
                alone = np.linalg.norm(weight - quantize(weight))
                check(f"loftq {levels}, {iterations} iterations, scale {scale:g}: lost, over peft's at scale 1, less 1", ours / lost - 1, 1e-4)
                print(f"      lost {ours:.4f}; peft's start {theirs:.4f}; rounding alone {alone:.4f}")
                if iterations == 1:
                    check("      base", np.abs(own_base - base).max() / np.abs(base).max(), 1e-6)
                net = PeftModel.from_pretrained(load(name, f"{out}-base"), out).eval()
                merged = net.merge_and_unload()
                check("      merged by peft", np.abs(stored(merged, module) - own_base - own).max(), 1e-5)


def seen(room: Room):
    """What starts make of data, against the same sums in torch, over all examples of a text."""
    name, module, r, alpha, block, n = "llama", "model.layers.1.self_attn.v_proj", 4, 8, 16, 40
    scale = alpha / r
    words = "".join(chr(33 + at) for at in range(WORDS))
    drawn = np.random.default_rng(0).integers(0, WORDS, n * block + 1)
    drawn[:WORDS] = np.arange(WORDS)
    text = Path(room.room.name) / "text.txt"
    text.write_text("".join(words[at] for at in drawn))
    tokens = torch.tensor(drawn[:-1]).reshape(n, block)
    following = torch.tensor(drawn[1:]).reshape(n, block)
    net = load(name, room.bases[name])
    layer = net.get_submodule(module)
    met = []
    hook = layer.register_forward_hook(lambda _, inputs, __: met.append(inputs[0].detach().double().reshape(-1, inputs[0].shape[-1])))
    logits = net(input_ids=tokens).logits
    torch.nn.functional.cross_entropy(logits.reshape(-1, WORDS), following.reshape(-1)).backward()
    hook.remove()
    x, weight, gradient = met[0].numpy(), stored(net, module), layer.weight.grad.double().numpy()
    start = ["--rank", str(r), "--alpha", str(alpha), "--data", f"{text},block={block},test_share=0", "--examples", str(n)]

    def files(method, *more):
        out = room.start(name, method, *start, *more, targets="v_proj")
        found = load_file(f"{out}/adapter_model.safetensors")
        return [found[f"base_model.model.{module}.lora_{part}.weight"].double().numpy() for part in "AB"]

    a, b = files("eva", "--set", "rho=1")
    components = np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:r]
    check("eva: projection on A, to principal components", np.abs(a.T @ a - components.T @ components).max(), 1e-4)
    check("eva: B", np.abs(b).max(), 0)
    covariance = x.T @ x
    covariance += np.eye(len(covariance)) * 0.01 * np.diag(covariance).mean()
    u, s, v = np.linalg.svd(weight @ covariance, full_matrices=False)
    for mode, which in [("ipm", slice(0, r)), ("kpm", slice(-r, None))]:
        a, b = files("corda", "--set", f"mode={mode}", "--set", "residual=base")
        own = (u[:, which] * s[which]) @ v[which] @ np.linalg.inv(covariance) / scale
        check(f"corda {mode}: B A", np.abs(b @ a - own).max() / np.abs(own).max(), 1e-3)
    u, s, v = np.linalg.svd(gradient, full_matrices=False)
    a, b = files("lora_ga", "--set", "residual=base", "--set", "scale=unit")
    check("lora_ga: projection on A", np.abs(a.T @ a - v[:r].T @ v[:r]).max(), 1e-2)
    check("lora_ga: projection on B", np.abs(b @ b.T - u[:, r : 2 * r] @ u[:, r : 2 * r].T).max(), 1e-2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path)
    parts = {"loads": loads, "families": families, "parity": parity, "loftq": loftq, "seen": seen}
    parser.add_argument("--only", choices=parts)
    args = parser.parse_args()
    room = Room(binary(args.bin))
    for name, part in parts.items():
        if args.only in (None, name):
            part(room)
    print(f"{wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
