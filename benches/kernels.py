"""Operations of the engine beside PyTorch's, forward and backward, on two threads of this machine.

    python benches/kernels.py [name…]

Builds and runs `epoch0-engine`'s example `kernels`, times the same operations in PyTorch, and prints both with the
ratio (above one: epoch0 is slower). The two take turns for each operation, so that both see the same machine.
"""

import subprocess
import sys
import time

import torch
import torch.nn.functional as F

torch.set_num_threads(2)


def normal(*shape):
    return torch.randn(*shape, requires_grad=True)


def conv(b, i, o, s, k, stride, padding, groups):
    x, w = normal(b, i, s, s), normal(o, i // groups, k, k)
    return [x, w], lambda: F.conv2d(x, w, None, stride, padding, 1, groups)


def case(name):
    """The inputs of an operation and a function that runs it."""
    kind, *numbers = name.split()
    numbers = [int(n) for n in numbers]
    if kind == "conv":
        return conv(*numbers)
    if kind == "matmul":
        a, b = normal(numbers[0], numbers[1]), normal(numbers[1], numbers[2])
        return [a, b], lambda: a @ b
    if kind == "attention":
        a, b = normal(24, 128, 64), normal(24, 128, 64)
        return [a, b], lambda: a @ b.transpose(1, 2)
    if kind == "max_pool":
        x = normal(8, 64, 112, 112)
        return [x], lambda: F.max_pool2d(x, 3, 2, 1)
    if kind == "softmax":
        x = normal(24, 128, 128)
        return [x], lambda: F.softmax(x, 2)
    if kind == "log_softmax":
        x = normal(256, 50257)
        return [x], lambda: F.log_softmax(x, 1)
    if kind == "layer_norm":
        x, w, b = normal(256, 768), normal(768), normal(768)
        return [x, w, b], lambda: F.layer_norm(x, (768,), w, b)
    if kind in ("batch_norm", "affine"):
        x, w, b = normal(8, 64, 56, 56), normal(64), normal(64)
        mean, var = torch.zeros(64), torch.ones(64)
        return [x, w, b], lambda: F.batch_norm(x, mean, var, w, b, kind == "batch_norm")
    x, y, bias = normal(256, 4096), normal(256, 4096), normal(4096)
    one = {
        "relu": F.relu, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu,
        "tanh": torch.tanh, "sigmoid": torch.sigmoid, "hardswish": F.hardswish, "relu6": F.relu6, "elu": F.elu,
        "mish": F.mish, "exp": torch.exp, "softplus": F.softplus, "erf": torch.erf, "sin": torch.sin, "sum": torch.sum,
    }
    two = {"add": (torch.add, y), "mul": (torch.mul, y), "bias": (torch.add, bias)}
    if kind in one:
        return [x], lambda: one[kind](x)
    f, other = two[kind]
    return [x, other], lambda: f(x, other)


def best(run):
    run()
    begin, least, runs = time.perf_counter(), float("inf"), 0
    while runs < 5 or (time.perf_counter() - begin < 0.5 and runs < 1000):
        start = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - start)
        runs += 1
    return least


def torch_times(name):
    inputs, run = case(name)
    with torch.no_grad():
        forward = best(run)
    y = run()
    cotangent = torch.randn_like(y)
    return forward, best(lambda: torch.autograd.grad(y, inputs, cotangent, retain_graph=True))


def main():
    command = ["cargo", "run", "-q", "--release", "--example", "kernels", "--", "--turns", *sys.argv[1:]]
    print(f"{'operation':<28} {'ms':>9} {'torch':>9} {'ratio':>6}   {'ms back':>9} {'torch':>9} {'ratio':>6}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        for line in process.stdout:
            name = line[:28].strip()
            ours = [float(n) / 1e3 for n in line[28:].split()[:2]]
            theirs = torch_times(name)
            print(
                f"{name:<28}"
                + "  ".join(f" {a * 1e3:>9.3f} {b * 1e3:>9.3f} {a / b:>6.2f}" for a, b in zip(ours, theirs)),
                flush=True,
            )
            process.stdin.write("\n")
            process.stdin.flush()


if __name__ == "__main__":
    main()
