"""An exact Hessian-vector product in units of a gradient: epoch0 and PyTorch, on the same cores in one run.

    pip install -r benches/requirements.txt
    python benches/hvp.py [mlp] [lenet] [resnet18] [--rounds 3] [--threads 2] [--torch-only] [--json]

The loss is the mean cross-entropy with random labels:

- mlp: 784-512-512-10 with ReLU, 128 examples;
- lenet: two convolutions and three linear layers, 128 examples of 1 x 28 x 28;
- resnet18: torchvision's in eval mode, 8 x 3 x 64 x 64, 1000 classes.

PyTorch's product is taken by double backward and by `jvp` of the gradient (forward over reverse). epoch0's half is the
example `hvp` of epoch0-engine, which prints `{"gradient_s": ..., "hvp_s": ..., "next_hvp_s": ...}`: a product on its
own, and a further one of the same Hessian. Exits with 1 when epoch0's product
takes more than 4 of its gradients.
"""

import argparse
import json
import sys

import ntk
import side

AIM = 4.0
NETS = ["mlp", "lenet", "resnet18"]


def peer(net, threads):
    """PyTorch's turn."""
    import torch
    from torch.func import functional_call, grad, jvp
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if net == "resnet18":
        import torchvision

        model, inputs, n_classes = torchvision.models.resnet18(weights=None), torch.randn(8, 3, 64, 64), 1000
    else:
        model, shape = ntk.network(net)
        inputs, n_classes = torch.randn(128, *shape), 10
    model.eval()
    labels = torch.randint(n_classes, (len(inputs),))
    parameters = dict(model.named_parameters())
    vector = {name: torch.randn_like(value) for name, value in parameters.items()}
    bare = {name: value.detach() for name, value in parameters.items()}

    def loss(parameters):
        return cross_entropy(functional_call(model, parameters, (inputs,)), labels)

    def gradient():
        return torch.autograd.grad(cross_entropy(model(inputs), labels), list(parameters.values()))

    def double_backward():
        first = torch.autograd.grad(cross_entropy(model(inputs), labels), list(parameters.values()), create_graph=True)
        along = sum((g * v).sum() for g, v in zip(first, vector.values()))
        return torch.autograd.grad(along, list(parameters.values()))

    def forward_over_reverse():
        return list(jvp(grad(loss), (bare,), (vector,))[1].values())

    two, other = double_backward(), forward_over_reverse()
    for a, b in zip(two, other):
        assert torch.allclose(a, b, rtol=1e-2, atol=1e-4 * b.abs().max().item()), "the two products differ"
    record = {"gradient_s": gradient, "hvp_s": double_backward, "forward_over_reverse_s": forward_over_reverse}
    print(json.dumps({key: side.best_seconds(work, 5, 2) for key, work in record.items()}))


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
    program = None if args.torch_only else side.example("hvp")
    side.pin(args.threads)

    table, holds = {}, True
    if not args.json:
        print(f"milliseconds, smallest of {args.rounds} rounds, {args.threads} threads; (in gradients of the same side)")
    for net in args.nets or NETS:
        torchs, ours = [], []
        for _ in range(args.rounds):
            torchs.append(side.run_json(sys.executable, __file__, "--peer", net, args.threads))
            if program:
                ours.append(side.run_json(program, net))
        times = {f"torch {key.removesuffix('_s')}": side.best(torchs, key) for key in torchs[0]}
        if program:
            times |= {f"epoch0 {key.removesuffix('_s')}": side.best(ours, key) for key in ("gradient_s", "hvp_s", "next_hvp_s")}
            holds &= times["epoch0 hvp"] / times["epoch0 gradient"] <= AIM
        table[net] = times
        if not args.json:
            print(net)
            for name, seconds in times.items():
                unit = times[f"{name.split()[0]} gradient"]
                print(f"  {name:27} {seconds * 1e3:9.2f} ({seconds / unit:.2f})")
    if args.json:
        print(json.dumps({"threads": args.threads, "rounds": args.rounds, "seconds": table, "holds": holds}, indent=1))
    return 0 if holds else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(main())
