#!/usr/bin/env python3
"""Compares `epoch0 init --with new_tokens` with numpy's means and covariances, and with what transformers answers.

    pip install -r tests/peers/requirements.txt
    python tests/peers/new_tokens.py [--bin PATH]

Networks of four families, with tied and with own maps to words and with biases of words, are written by transformers, get new words in
each way, and are loaded by transformers again. Old rows have to be the same bits; means, doubles and means of pieces those of numpy to
the last rounding; logits of old words the same, and those of new words the mean of their pieces'. Rows drawn by covariance have to have
the old rows' mean and covariance, to within sampling, and to be what Σ cᵢ xᵢ of one c for table, map and bias makes. Pieces come from
two tokenizers, as the method's page says. Exits with 1 when something is not so.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import torch
import transformers
from load import binary
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

HERE = Path(__file__).resolve().parent
WRONG = []
TEXT = "the start of a network is the start of all that it learns and networks that start well learn well " * 3
NEW = ["startwell", "relearn", "networkstart"]


def check(holds, what):
    if not holds:
        WRONG.append(what)
        print(f"WRONG {what}")


def tokenizers():
    """One that knows pieces, and one with words more."""
    parent = Tokenizer(models.BPE(unk_token="?"))
    parent.pre_tokenizer = pre_tokenizers.Whitespace()
    parent.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=60, special_tokens=["?"]))
    child = Tokenizer.from_str(parent.to_str())
    child.add_tokens(NEW)
    return [transformers.PreTrainedTokenizerFast(tokenizer_object=one) for one in (parent, child)]


def pieces_of(parent, child):
    # As the method's page says.
    new = {id: word for word, id in sorted(child.get_vocab().items(), key=lambda pair: pair[1]) if id >= len(parent)}
    return {id: parent(child.decode([id]), add_special_tokens=False).input_ids for id in new}


def tables(model):
    """Parameters with a row for each word."""
    out = {"table": model.get_input_embeddings().weight}
    head = model.get_output_embeddings()
    if head is not None and head.weight is not out["table"]:
        out["map"] = head.weight
    if head is not None and getattr(head, "bias", None) is not None:
        out["bias"] = head.bias[:, None]
    return {name: value.detach().double().numpy() for name, value in out.items()}


def logits(model, length=8):
    ids = torch.arange(length)[None] % 7 + 5
    model = model.eval()
    extra = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        return model(input_ids=ids, **extra).logits.double().numpy()


def made(command, room, parent, child, *options):
    out = f"{room}/out"
    words = ["init", child, "--from", parent, "--with", "new_tokens", "--force", "-o", out]
    words += [word for option in options for word in ("--set", option)]
    subprocess.run([command, *words], check=True, stdout=subprocess.DEVNULL)
    config = transformers.AutoConfig.from_pretrained(out)
    return getattr(transformers, config.architectures[0]).from_pretrained(out)


def family(command, room, name, parent_words, pieces):
    config = {**json.loads((HERE / "configs" / f"{name}.json").read_text()), "vocab_size": parent_words}
    for key in ("pad_token_id", "bos_token_id", "eos_token_id"):
        config[key] = 0
    (Path(room) / "parent.json").write_text(json.dumps(config))
    config = transformers.AutoConfig.from_pretrained(f"{room}/parent.json")
    model = getattr(transformers, config.architectures[0])(config).float()
    generator = torch.Generator().manual_seed(1)
    for value in model.parameters():
        value.data.copy_(0.3 * torch.randn(value.shape, generator=generator) + 0.1)
    folder = Path(room) / "parent"
    model.save_pretrained(folder)
    n = config.vocab_size
    keys = json.loads((folder / "config.json").read_text())
    child = Path(room) / "child.json"
    child.write_text(json.dumps({**keys, "vocab_size": n + len(pieces)}))
    old, answers = tables(model), logits(model)
    (Path(room) / "subword.json").write_text(json.dumps(pieces))
    (Path(room) / "nearest.json").write_text(json.dumps({id: old[-1] for id, old in pieces.items()}))
    wanted = {
        "mean": lambda rows: numpy.stack([rows.mean(0)] * len(pieces)),
        "zero": lambda rows: numpy.zeros((len(pieces), rows.shape[1])),
        "nearest": lambda rows: numpy.stack([rows[ids[-1]] for ids in pieces.values()]),
        "subword": lambda rows: numpy.stack([rows[ids].mean(0) for ids in pieces.values()]),
    }
    for by, rows in wanted.items():
        options = [f"by={by}"] + ([f"pieces={room}/{by}.json"] if by in ("nearest", "subword") else [])
        found = made(command, room, folder, child, *options)
        for part, value in tables(found).items():
            check(numpy.array_equal(value[:n], old[part]), f"{name} {by}: old rows of {part}")
            rounded = rows(old[part]).astype(numpy.float32)
            check(numpy.allclose(value[n:], rounded, rtol=2e-7, atol=0), f"{name} {by}: new rows of {part}")
        got = logits(found)
        scale = abs(answers).max()
        check(abs(got[..., :n] - answers).max() < 1e-5 * scale, f"{name} {by}: old answers")
        new = rows(numpy.moveaxis(answers, -1, 0).reshape(n, -1)).reshape(len(pieces), *answers.shape[:-1])
        check(abs(numpy.moveaxis(got[..., n:], -1, 0) - new).max() < 1e-5 * scale, f"{name} {by}: new answers")
    more = 5000
    child.write_text(json.dumps({**keys, "vocab_size": n + more}))
    found = tables(made(command, room, folder, child, "by=covariance"))
    joint, drawn = (numpy.concatenate([part[place] for part in (tables_of.values())], 1) for tables_of, place in ((old, slice(None, n)), (found, slice(n, None))))
    # Every drawn row is Σ cᵢ xᵢ with one c for all parts: it lies in the span of the old rows about their mean.
    centred = joint - joint.mean(0)
    own = numpy.cov(joint.T, bias=True)
    theirs = numpy.cov(drawn.T, bias=True)
    apart = numpy.linalg.norm(own - theirs) / numpy.linalg.norm(own)
    expected = numpy.sqrt((numpy.trace(own) ** 2 + numpy.linalg.norm(own) ** 2) / more) / numpy.linalg.norm(own)
    check(apart < 1.5 * expected, f"{name}: covariance {apart:.4f} apart, {expected:.4f} expected")
    span = numpy.linalg.svd(centred, full_matrices=False)
    basis = span[2][span[1] > 1e-9 * span[1][0]]
    rest = (drawn - joint.mean(0)) - (drawn - joint.mean(0)) @ basis.T @ basis
    check(abs(rest).max() < 1e-5 * abs(drawn).max(), f"{name}: {abs(rest).max():.2e} outside of the span of old rows")
    mean = numpy.linalg.norm(drawn.mean(0) - joint.mean(0)) / numpy.sqrt(numpy.trace(own) / more)
    check(mean < 1.5, f"{name}: mean {mean:.3f} of what sampling makes")
    print(f"{name}: {', '.join(f'{part} {value.shape}' for part, value in old.items())}; covariance {apart:.4f} apart, {expected:.4f} expected")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path)
    args = parser.parse_args()
    command = binary(args.bin)
    parent, child = tokenizers()
    pieces = pieces_of(parent, child)
    print({child.decode([id]): parent.convert_ids_to_tokens(ids) for id, ids in pieces.items()})
    with tempfile.TemporaryDirectory() as room:
        for name in ("gpt2-1", "llama-1", "llama-2", "bert-1", "t5-1"):
            family(command, room, name, len(parent), pieces)
    print(f"{len(WRONG)} wrong")
    return int(bool(WRONG))


if __name__ == "__main__":
    sys.exit(main())
