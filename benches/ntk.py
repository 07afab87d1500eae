"""The empirical neural tangent kernel of 256 examples: epoch0 against `torch.func`, time and memory.

    pip install -r benches/requirements.txt
    python benches/ntk.py [mlp] [lenet] [--rounds 2] [--threads 2] [--examples 256] [--torch-only] [--json]

- mlp: 784-512-512-10 with ReLU, 670 thousand parameters.
- lenet: two convolutions and three linear layers on 1 x 28 x 28, 62 thousand parameters, 10 outputs.

PyTorch's side is what its tutorial on neural tangent kernels does: the Jacobians of all examples by `vmap` of `jacrev`,
contracted parameter by parameter; `full` keeps the 10 x 10 block of each pair of examples, `trace` its trace. The
tutorial takes Jacobians of both arguments; here the two are the same examples, and they are taken once. A process for
each measurement: its time is that of the kernel alone, the memory is the most the process has had less what it had
before the kernel. epoch0's half is the example `ntk` of epoch0-engine, which prints
`{"seconds": ..., "peak_rss_mb": ...}`; the bare memory of PyTorch's kernel is held against its whole process. The MLP
takes PyTorch 8 GB: `--examples` lowers that (for PyTorch alone). Exits with 1 when epoch0 is less than 10 times as fast
in `full`, or has more memory.
"""

import argparse
import json
import sys
import time

import side

AIM = 10.0
NETS = ["mlp", "lenet"]
FORMS = {"full": "Naf,Mbf->NMab", "trace": "Naf,Maf->NM"}


def network(net):
    from torch import nn

    if net == "mlp":
        return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)), (784,)
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    ), (1, 28, 28)


def peer(net, form, threads, n_examples):
    """PyTorch's turn."""
    import torch
    from torch.func import functional_call, jacrev, vmap

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model, shape = network(net)
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    examples = torch.randn(n_examples, *shape)

    def single(parameters, example):
        return functional_call(model, parameters, (example.unsqueeze(0),)).squeeze(0)

    def kernel(examples):
        jacobians = vmap(jacrev(single), (None, 0))(parameters, examples).values()
        jacobians = [jacobian.flatten(2) for jacobian in jacobians]
        return sum(torch.einsum(FORMS[form], jacobian, jacobian) for jacobian in jacobians)

    kernel(examples[:4])
    before = side.peak_mb()
    begun = time.perf_counter()
    found = kernel(examples)
    seconds = time.perf_counter() - begun
    assert found.isfinite().all()
    print(json.dumps({"seconds": seconds, "peak_rss_mb": side.peak_mb(), "kernel_mb": side.peak_mb() - before}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", metavar="NET", help="of mlp, lenet (default: both)")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--torch-only", action="store_true", help="leave epoch0 out")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    unknown = set(args.nets) - set(NETS)
    if unknown:
        parser.error(f"no network {', '.join(unknown)}")
    if args.examples != 256 and not args.torch_only:
        parser.error("epoch0's half has 256 examples: other numbers go with --torch-only")
    program = None if args.torch_only else side.example("ntk")
    side.pin(args.threads)

    found, holds = {}, True
    for net in args.nets or NETS:
        if not args.json:
            print(f"{net}, {args.examples} examples, {args.threads} threads, smallest of {args.rounds} rounds")
        found[net] = {}
        for form in FORMS:
            torchs, ours = [], []
            for _ in range(args.rounds):
                command = [sys.executable, __file__, "--peer", net, form, args.threads, args.examples]
                torchs.append(side.run_json(*command))
                if program:
                    ours.append(side.run_json(program, net, form))
            row = {f"torch_{key}": side.best(torchs, key) for key in ("seconds", "peak_rss_mb", "kernel_mb")}
            text = (f"  {form:7} torch {row['torch_seconds']:8.3f} s {row['torch_peak_rss_mb']:5.0f} MB"
                    f" ({row['torch_kernel_mb']:.0f} MB of it for the kernel)")
            if program:
                row |= {f"epoch0_{key}": side.best(ours, key) for key in ("seconds", "peak_rss_mb")}
                row["times_faster"] = row["torch_seconds"] / row["epoch0_seconds"]
                row["times_less_memory"] = row["torch_kernel_mb"] / row["epoch0_peak_rss_mb"]
                text += (f"   epoch0 {row['epoch0_seconds']:7.3f} s {row['epoch0_peak_rss_mb']:4.0f} MB:"
                         f" {row['times_faster']:.1f} times as fast, {row['times_less_memory']:.1f} times less memory")
                if form == "full":
                    holds &= row["times_faster"] >= AIM and row["times_less_memory"] >= 1
            found[net][form] = row
            if not args.json:
                print(text, flush=True)
    if args.json:
        print(json.dumps({"examples": args.examples, "threads": args.threads, "nets": found, "holds": holds}, indent=1))
    return 0 if holds else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        sys.exit(main())
