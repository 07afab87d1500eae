"""Forward and forward+backward passes: epoch0's engine against PyTorch, on the same cores in one run.

    pip install -r benches/requirements.txt
    python benches/forward.py [resnet18] [gpt2] [mlp] [--rounds 3] [--threads 2] [--torch-only] [--json]

- resnet18: torchvision's, in eval mode (running statistics), on 8 x 3 x 224 x 224.
- gpt2: transformers' `GPT2LMHeadModel` with its default config (124 million parameters), without dropout and cache, on
  2 x 128 tokens, all logits; with PyTorch's fused attention (sdpa) and without (eager).
- mlp: 784-512-512-10 with ReLU, on 128 examples.

Backward is the gradient of the sum of all outputs for every parameter. Both sides take turns, each in a process of its
own; the smallest time of each counts. epoch0's half is the example `speed` of epoch0-engine, which prints
`{"forward_s": ..., "forward_backward_s": ...}`. Exits with 1 when epoch0 takes longer than PyTorch's quicker attention.
"""

import argparse
import json
import sys

import side

AIM = 1.0
NETS = {"resnet18": ["torch"], "gpt2": ["eager", "sdpa"], "mlp": ["torch"]}
KEYS = {"forward": "forward_s", "forward+backward": "forward_backward_s"}


def peer(net, kind, threads):
    """PyTorch's turn."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if net == "resnet18":
        import torchvision

        model, inputs = torchvision.models.resnet18(weights=None), torch.randn(8, 3, 224, 224)
    elif net == "gpt2":
        from transformers import GPT2Config, GPT2LMHeadModel

        config = GPT2Config(attn_implementation=kind, use_cache=False)
        model, inputs = GPT2LMHeadModel(config), torch.randint(config.vocab_size, (2, 128))
    else:
        widths = [784, 512, 512, 10]
        layers = [layer for a, b in zip(widths, widths[1:]) for layer in (torch.nn.Linear(a, b), torch.nn.ReLU())]
        model, inputs = torch.nn.Sequential(*layers[:-1]), torch.randn(128, 784)
    model.eval()

    def outputs():
        returned = model(inputs)
        return returned.logits if net == "gpt2" else returned

    def forward():
        with torch.inference_mode():
            outputs()

    def both():
        model.zero_grad(set_to_none=True)
        outputs().sum().backward()

    print(json.dumps({"forward_s": side.best_seconds(forward, 3, 3), "forward_backward_s": side.best_seconds(both, 3, 3)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", metavar="NET", help=f"of {', '.join(NETS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--torch-only", action="store_true", help="leave epoch0 out")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    unknown = set(args.nets) - set(NETS)
    if unknown:
        parser.error(f"no network {', '.join(unknown)}")
    program = None if args.torch_only else side.example("speed")
    side.pin(args.threads)

    found = {}
    for net in args.nets or NETS:
        rows = {kind: [] for kind in NETS[net]} | ({"epoch0": []} if program else {})
        for _ in range(args.rounds):
            for kind in NETS[net]:
                rows[kind].append(side.run_json(sys.executable, __file__, "--peer", net, kind, args.threads))
            if program:
                rows["epoch0"].append(side.run_json(program, net))
        found[net] = rows

    holds = True
    if not args.json:
        print(f"milliseconds, smallest of {args.rounds} rounds, {args.threads} threads; times as long as PyTorch")
    table = {}
    for net, rows in found.items():
        for what, key in KEYS.items():
            times = {name: side.best(records, key) for name, records in rows.items()}
            line = "  ".join(f"{name} {seconds * 1e3:9.2f}" for name, seconds in times.items())
            ratios = {kind: times["epoch0"] / times[kind] for kind in NETS[net]} if program else {}
            holds &= max(ratios.values(), default=0) <= AIM
            table[f"{net} {what}"] = {"seconds": times, "times_as_long": ratios}
            if not args.json:
                print(f"{net:9} {what:17} {line}  " + "  ".join(f"{r:.2f} x {kind}" for kind, r in ratios.items()))
    if args.json:
        print(json.dumps({"threads": args.threads, "rounds": args.rounds, "rows": table, "holds": holds}, indent=1))
    return 0 if holds else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        sys.exit(main())
