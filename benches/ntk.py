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
`{"seconds": ..., "peak_rss_mb": ...}` for the full kernel. The MLP takes PyTorch 8 GB: `--examples` lowers that (for
PyTorch alone). Exits with 1 when epoch0 is less than 10 times as fast as `full`, or has more memory.
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
    program = None if args.torch_only else side.example("epoch0-engine", "ntk")
    side.pin(args.threads)

    found, holds = {}, True
    for net in args.nets or NETS:
        rows = {form: [] for form in FORMS} | ({"epoch0": []} if program else {})
        for _ in range(args.rounds):
            for form in FORMS:
                command = [sys.executable, __file__, "--peer", net, form, args.threads, args.examples]
                rows[form].append(side.run_json(*command))
            if program:
                rows["epoch0"].append(side.run_json(program, net))
        found[net] = {
            name: {"seconds": side.best(records, "seconds"), "peak_rss_mb": side.best(records, "peak_rss_mb")}
            for name, records in rows.items()
        }
        # What PyTorch's process has without a kernel is not the kernel's.
        for form in FORMS:
            found[net][form]["kernel_mb"] = side.best(rows[form], "kernel_mb")
        if not args.json:
            print(f"{net}, {args.examples} examples, {args.threads} threads, smallest of {args.rounds} rounds")
        for name, row in found[net].items():
            text = f"  {name:7} {row['seconds']:9.3f} s {row['peak_rss_mb']:9.0f} MB"
            if program and name != "epoch0":
                ours = found[net]["epoch0"]
                row["times_faster"] = row["seconds"] / ours["seconds"]
                # The bare memory of the kernel is held against the whole process of epoch0.
                row["times_less_memory"] = row["kernel_mb"] / ours["peak_rss_mb"]
                text += (f"   epoch0 is {row['times_faster']:.1f} times as fast, "
                         f"with {row['times_less_memory']:.1f} times less memory")
                if name == "full":
                    holds &= row["times_faster"] >= AIM and row["times_less_memory"] >= 1
            if name in FORMS:
                text += f"   ({row['kernel_mb']:.0f} MB of it for the kernel)"
            if not args.json:
                print(text)
    if args.json:
        print(json.dumps({"examples": args.examples, "threads": args.threads, "nets": found, "holds": holds}, indent=1))
    return 0 if holds else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        sys.exit(main())
