"""ConvLEM beside the plain loop over torch's convolution, on one CPU thread, float32.

Run ``python benchmarks/conv_layer.py > benchmarks/conv_layer.md``. The plain loop is what one writes without lemode, with what is
cheap to have: the input is convolved for all steps at once, W1, W2 and Wz in one call; autograd differentiates it. Both take turns
in one process; the clock is the CPU time of the thread, which other processes do not stretch, though they do take cache and memory
from it. The floor of a shape is its multiplications at the rate of torch's own matrix product, measured in the same rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics

import torch
from layer import cell, forward, matmul, processor, rounds, training
from torch import Tensor
from torch.nn.functional import conv1d, conv2d, pad

from lemode import ConvLEM
from lemode.kernels import core

SHAPES = {  # T, n, grid, hidden, widths of V, of W1, W2, Wz, and of Wy
    "W 1, Wy 1": (24, 16, (64,), 32, 9, 1, 1),
    "W 1, Wy 9": (24, 16, (64,), 32, 9, 1, 9),
    "all 9": (24, 16, (64,), 32, 9, 9, 9),
    "plane, all 3": (24, 4, (32, 32), 32, 3, 3, 3),
}


def plain_loop(rnn: ConvLEM, u: Tensor) -> Tensor:
    """The LEM step on a periodic grid, dt = 1, with torch's convolution."""
    p, convolve = rnn.ode, conv1d if rnn.ode.dim == 1 else conv2d

    def block(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        width = weight.shape[-1]
        return convolve(pad(x, [width // 2] * 2 * rnn.ode.dim, mode="circular") if width > 1 else x, weight, bias)

    y = z = u.new_zeros(u.shape[1], p.hidden_size, *u.shape[3:])
    out = []
    for of_u in block(u.flatten(0, 1), p.weight_ih, p.bias).unflatten(0, u.shape[:2]):
        (u1, u2, uz, uy), (y1, y2, yz) = of_u.chunk(4, 1), block(y, p.weight_hh).chunk(3, 1)
        z = z + torch.sigmoid(u1 + y1) * (torch.tanh(uz + yz) - z)
        y = y + torch.sigmoid(u2 + y2) * (torch.tanh(uy + block(z, p.weight_zy)) - y)
        out.append(y)
    return torch.stack(out)


def table(count: int) -> None:
    rows: dict[str, list[str]] = {"forward": [], "forward + backward": []}
    for name, (T, n, grid, d, of_u, of_y, of_z) in SHAPES.items():
        dim, points = len(grid), n * torch.Size(grid).numel()
        u = torch.randn(T, n, 1, *grid)
        rnn = ConvLEM(1, d, of_u, dim=dim, recurrent_kernel_size=of_y, z_kernel_size=of_z)
        torch.testing.assert_close(rnn(u)[0], plain_loop(rnn, u), rtol=0, atol=1e-5)
        runs = {"ConvLEM": lambda u=u, rnn=rnn: rnn(u)[0], "plain loop": lambda u=u, rnn=rnn: plain_loop(rnn, u)}
        for kind, lines in rows.items():
            steps = {key: forward(f) if kind == "forward" else training(f, rnn) for key, f in runs.items()}
            times = rounds({**steps, "matmul": matmul()}, count)
            median = {key: statistics.median(t) for key, t in times.items()}
            flop = (1 if kind == "forward" else 3) * 2.0 * T * points * d * (4 * of_u**dim + 3 * d * of_y**dim + d * of_z**dim)
            floor = flop / (8 * 2 * 512**3 / median["matmul"])
            lines.append(
                f"| {name} ({T}, {n}, {'x'.join(map(str, grid))}, {d}) | {cell(times['ConvLEM'])} | {cell(times['plain loop'])} "
                f"| **{median['plain loop'] / median['ConvLEM']:.2f}** | {1e3 * floor:.3g} | {floor / median['ConvLEM']:.0%} |"
            )
    for kind, lines in rows.items():
        print(
            f"\n## Milliseconds, {kind}\n\n| widths (T, n, grid, d) | ConvLEM | plain loop | times as fast | floor | share of the floor |"
        )
        print("|---" * 6 + "|", *lines, sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print("# ConvLEM on a CPU\n")
    print(
        f"{processor()}; instruction set of the core: {core.isa()}; torch {torch.__version__}; float32; one thread; {args.rounds} rounds;"
    )
    print("median (least-greatest) CPU time. Produced by `benchmarks/conv_layer.py`, which says what is measured.")
    print(
        f"Load average at the start {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; above 1, other work took cache and memory from "
        "this run."
    )
    table(args.rounds)
