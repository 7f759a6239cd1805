"""
The adding problem
==================

Two numbers among hundreds are marked, and their sum is asked for at the end: nothing in between says what they were, so the network has to
keep them. LEM and torch's LSTM learn it side by side, on the same new sequences at every step; then it is looked at why one of them can.

``python examples/adding_problem.py`` takes about a minute; ``--length 2000 --units 128 --steps 3000`` makes it as hard as in the paper.
"""

# %%
# The task
# --------
# A sequence has two features, a number from U(0, 1) and a mark, which is 1 at one step of each half. Who says 1 every time is wrong by
# 1/6 in the mean square.

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import lemode
from lemode.tasks.synthetic import draw_adding

parser = argparse.ArgumentParser(description="The adding problem, by LEM and by LSTM.")
parser.add_argument("--length", type=int, default=200)
parser.add_argument("--units", type=int, default=32)
parser.add_argument("--steps", type=int, default=700)
parser.add_argument("--quick", action="store_true", help="shorter sequences, fewer steps: half the time")
parser.add_argument("--out", type=Path, default=Path("out/adding_problem"), help="folder for the plot")
options = parser.parse_args(None if "__file__" in globals() else [])  # a notebook has arguments of its own
options.out.mkdir(parents=True, exist_ok=True)
T, steps = (100, 500) if options.quick else (options.length, options.steps)
torch.set_num_threads(1)  # of networks this small, one is faster


def batch(n, rng):
    """Time first."""
    x, y = draw_adding(n, T, rng)
    return torch.from_numpy(x).transpose(0, 1).contiguous(), torch.from_numpy(y)


# %%
# Two networks of the same size
# -----------------------------
# A LEM of d units has about as many parameters as an LSTM of d units. Its gates get biases for time scales from 2 steps to the length of
# the sequences; those of the LSTM start as torch draws them.


def network(core):
    return torch.nn.ModuleDict({"core": core, "head": torch.nn.Linear(options.units, 1)})


def answer(net, x):
    return net["head"](net["core"](x)[0][-1])[:, 0]


torch.manual_seed(0)
lem = lemode.init.timescales_(lemode.LEM(2, options.units), 2, T)
networks = {"LEM": network(lem), "LSTM": network(torch.nn.LSTM(2, options.units))}
test = batch(1000, np.random.default_rng(1))
errors = {}
for name, net in networks.items():
    rng, start, errors[name] = np.random.default_rng(0), time.monotonic(), []
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        x, y = batch(50, rng)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(answer(net, x), y).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            with torch.no_grad():
                errors[name].append(float(torch.nn.functional.mse_loss(answer(net, test[0]), test[1])))
    print(f"{name:5} test error {errors[name][-1]:.2g} after {steps} steps, {time.monotonic() - start:.0f} s")

# %%
# Why
# ---
# How much the answer depends on the number at step k, by automatic differentiation, for numbers that are marked. Of a network that keeps
# what it has read it is as much for an early number as for a late one; a gradient that vanishes on the way back learns nothing of early
# ones. Beside it are the time scales at which LEM's units work along the test sequences.


def sensitivity(net):
    """The mean size of d answer / d number, by the step at which the mark is, in ten parts of the sequence."""
    x = test[0][:, :200].clone().requires_grad_(True)
    slope = torch.autograd.grad(answer(net, x).sum(), x)[0][..., 0].abs()
    found = [slope[part][x[part, :, 1] == 1].mean() for part in torch.arange(T).tensor_split(10)]
    return [float(s) for s in found]


scales = lemode.analysis.timescales(lem, test[0][:, :20])
print(f"time scales of LEM, steps: {np.quantile(scales.median, 0.05):.2g} to {np.quantile(scales.median, 0.95):.2g}")

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
for name, colour in (("LEM", "C0"), ("LSTM", "C1")):
    left.semilogy(50 * np.arange(1, len(errors[name]) + 1), errors[name], colour, label=name)
    middle.plot((np.arange(10) + 0.5) * T / 10, sensitivity(networks[name]), colour, marker="o", ms=3, label=name)
left.axhline(1 / 6, color="grey", ls=":", label="who says 1")
left.set(xlabel="gradient step", ylabel="test error", title=f"adding, T = {T}")
middle.axhline(1, color="grey", ls=":", label="the sum itself")
middle.set(xlabel="step of the marked number", ylabel="|d answer / d number|", ylim=(0, None), title="what is remembered")
for ax in (left, middle):
    ax.legend(fontsize="small", frameon=False)
lemode.plots.time_scale_histogram(scales, ax=right)
right.axvline(T, color="grey", ls=":")
right.set(xlabel="median time scale, steps", title="LEM's time scales")
figure.savefig(options.out / "adding.png", dpi=150)
