"""How the time of a training step grows with length, batch and hidden size, on one CPU thread.

Run ``python benchmarks/scaling.py``; it writes benchmarks/scaling.svg. CPU time of the thread, least of the rounds. Linear in
length and batch; a step in the curves is a cache that has become too small.
"""

from __future__ import annotations

import time
from pathlib import Path

import matplotlib
import torch

from lemode import LEM
from lemode.kernels import core

BASE = {"T": 500, "B": 32, "d": 64}
RANGES = {
    "T": [10, 30, 100, 300, 1000, 3000, 10000],
    "B": [1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
    "d": [4, 8, 16, 32, 64, 128, 256, 512],
}
NAMES = {"T": "length T", "B": "batch B", "d": "hidden units d"}


def training_step(T: int, B: int, d: int, make: type[LEM] | type[torch.nn.LSTM], seconds: float = 1.0) -> float:
    """Seconds of forward + backward: the least of the rounds that fit into `seconds`, and of three after a first one."""
    net, u, times = make(1, d), torch.randn(T, B, 1), list[float]()
    while len(times) < 4 or sum(times) < seconds:
        start = time.thread_time()
        net.zero_grad()
        net(u)[0].sum().backward()
        times.append(time.thread_time() - start)
    return min(times[1:])


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "lemode"}
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained", sharey=True)
    for axis, (which, values) in zip(axes, RANGES.items(), strict=True):
        for make, label in ((LEM, "LEM"), (torch.nn.LSTM, "nn.LSTM")):
            times = [1e3 * training_step(**(BASE | {which: v}), make=make) for v in values]
            axis.loglog(values, times, "o-", label=label)
            print(which, label, *(f"{v}: {t:.3g} ms" for v, t in zip(values, times, strict=True)), sep="  ")
        fixed = ", ".join(f"{k} = {v}" for k, v in BASE.items() if k != which)
        axis.set(xlabel=NAMES[which], title=fixed)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("forward + backward, ms")
    axes[0].legend(title=f"float32, one thread, {core.isa()}")
    figure.savefig(Path(__file__).with_name("scaling.svg"), metadata={"Date": None})
