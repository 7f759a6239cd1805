"""
How large can the gradients of LEM get?
=======================================

Bounds on the gradient of a loss by the parameters, which hold for every input, beside what a trained network and the worst input
that we can find really do; and two small networks at which a quadratic form of the bound fails.

Run it with ``python examples/gradient_bounds.py`` after ``make demo``; without the demo's model, or with ``--quick``, a smaller one
is fitted first.
"""

# %%
# The loss is :math:`E = \frac{1}{N} \sum_n \frac12 |y_n - \bar y_n|^2`, the parameter any entry of the bias block by or bz.
# Four numbers are compared:
#
# - **measured**: the largest entry of the gradient, by automatic differentiation;
# - **G_rec**: the recursion bound of ``theory/``, in which a source and the decay beside it share one gate;
# - **best**: the least of all a-priori bounds, G_inf, G_1, G_ref, G_unif and G_rec;
# - **Prop 4.2 form**: the form (1 + Y) t + (1 + Y) Gamma t^2 with Gamma = 2 (1 + eta)(1 + 3 eta), attributed from memory to
#   Proposition 4.2 of arXiv:2110.04744. It is not quoted from there, and it is no bound in general, as the end of this page shows.

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import lemode
from lemode.analysis import gradient_bound, quadratic_pull, recollected_bound

parser = argparse.ArgumentParser(description="Measured gradients beside their bounds, and two counterexamples.")
parser.add_argument("--quick", action="store_true", help="a smaller model and fewer steps of optimisation: well under a minute")
parser.add_argument(
    "--model", type=Path, default=Path("out/fitzhugh_nagumo/fhn.lem"), help="a saved surrogate of one variable v"
)
options = parser.parse_args(None if "__file__" in globals() else [])  # a notebook has arguments of its own


def bias_gradient(cell, u, target):
    """Largest entry of dE/d(by) and dE/d(bz) after the steps driven by u (N, m), from rest."""
    y = z = u.new_zeros(cell.ode.hidden_size)
    loss = u.new_zeros(())
    for u_n in u:
        y, z = cell.scheme.step(cell.ode, (y, z), u_n, cell.dt)
        loss = loss + 0.5 * (y - target).pow(2).sum() / len(u)
    _, _, bz, by = torch.autograd.grad(loss, cell.ode.bias, create_graph=u.requires_grad)[0].chunk(4)
    return {"by": by.abs().max(), "bz": bz.abs().max()}


def worst_input(cell, u, target, group, limit, steps, lr=0.1):
    """Gradient ascent of the measured gradient over inputs with entries in [-limit, limit], from u."""
    u = u.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([u], lr=lr)
    best, found = -1.0, u.detach().clone()
    for _ in range(steps):
        value = bias_gradient(cell, u, target)[group]
        if value.item() > best:
            best, found = value.item(), u.detach().clone()
        optimiser.zero_grad()
        (-value.log()).backward(inputs=[u])
        optimiser.step()
        with torch.no_grad():
            u.clamp_(-limit, limit)
    return found


def compare(cell, N, measured, target_max, group):
    pull = quadratic_pull(cell, N, target_max)
    rec, best = (gradient_bound(cell, N, pull, group, kind) for kind in ("recursion", "best"))
    form = recollected_bound(cell, N, target_max)
    assert measured <= best * (1 + 1e-9), "a gradient exceeds its bound: this contradicts G_rec"
    return f"{measured:10.3g} {rec:10.3g} {best:10.3g} {form:14.3g}   {measured / best:10.4g}"


HEAD = "measured      G_rec       best  Prop 4.2 form   measured/best"

# %%
# The FitzHugh-Nagumo model
# -------------------------
# Its series, and inputs of the same range that were optimised to make the gradient large.


def load_or_fit():
    if not options.quick:
        try:
            return lemode.Surrogate.load(options.model)
        except (FileNotFoundError, ValueError) as e:
            print(f"{e} Fitting a small model instead.")
    data = lemode.systems.FitzHughNagumo().trajectories(16, np.linspace(0, 100, 251), seed=0)
    return lemode.Surrogate(hidden_size=8, observe=["v"], steps=100, window=200, verbose=0, train="all").fit(data)


model = load_or_fit()
net = model.network_
cell = net.core.cells[0].double()
v = lemode.systems.FitzHughNagumo().trajectories(1, np.linspace(0, 400, 1001), seed=1).select(["v"]).x[0]
series = net.double().normalise(torch.tensor(v))
ascent = 20 if options.quick else 100

print(f"FitzHugh-Nagumo model, d = {cell.ode.hidden_size}, dt = {cell.dt:g}; target 0")
print(f"{'':34s}{HEAD}")
for N in (1, 5) if options.quick else (1, 5, 20, 50):
    start = series[100 : 100 + N]
    limit = series.abs().max().item()
    for name, u in (("its own series", start), ("worst input found", worst_input(cell, start, 0.0, "bz", limit, ascent))):
        measured = bias_gradient(cell, u, 0.0)["bz"].item()
        print(f"  bz, N = {N:3d}, {name:18s} {compare(cell, N, measured, 0.0, 'bz')}")

# %%
# At dt = 1 with the weights of a trained network an a-priori bound grows fast: it has to hold for **every** input, at every step.
# No input does the worst at all steps to all units at once, which is why the measured values stay far below.
#
# One unit, every argument driven
# -------------------------------
# With one unit whose gates and candidates are each driven by an input of their own, the optimised input reaches G_rec up to
# about a per mille: the bound is sharp.

print("\nOne unit, inputs optimised, dt = 0.1, N = 10, row sums 0.5 0.5 1 1, a far target")
print(f"{'':34s}{HEAD}")
unit = lemode.LEMCell(4, 1, dt=0.1, dtype=torch.float64)
with torch.no_grad():
    unit.ode.weight_hh.copy_(torch.tensor([[0.5], [0.5], [1.0]]))
    unit.ode.weight_zy.fill_(1.0)
    unit.ode.weight_ih.copy_(torch.eye(4))
    unit.ode.bias.zero_()
start = torch.from_numpy(np.random.default_rng(0).normal(0, 0.3, (10, 4))) + torch.tensor([2.0, 2.0, 0.0, 0.0])
for group in ("by", "bz"):
    u = worst_input(unit, start, 1e4, group, 60.0, 60 if options.quick else 200, lr=0.2)
    print(f"  {group:32s}{compare(unit, 10, bias_gradient(unit, u, 1e4)[group].item(), 1e4, group)}")

# %%
# Where the quadratic form fails
# ------------------------------
# Two networks, each in well under a second. In the first, many units pull at the same parameter: a factor d is missing (or column
# sums, or a loss averaged over units). In the second, zero is an unstable state: gradients grow exponentially in time, and a form
# quadratic in time cannot follow.


def counterexample(name, d, dt, N, target, **blocks):
    begin = time.perf_counter()
    cell = lemode.LEMCell(1, d, dt=dt, dtype=torch.float64)
    with torch.no_grad():
        for p in cell.parameters():
            p.zero_()
        for block, value in blocks.items():
            getattr(cell.ode.blocks(), block).copy_(torch.as_tensor(value, dtype=torch.float64))
    measured = bias_gradient(cell, torch.zeros(N, 1, dtype=torch.float64), target)["bz"].item()
    rec = gradient_bound(cell, N, quadratic_pull(cell, N, target), "bz", "recursion")
    form = recollected_bound(cell, N, target)
    seconds = time.perf_counter() - begin
    print(
        f"  {name:34s} measured {measured:10.4g}   form {form:10.4g}, ratio {measured / form:9.4g}   G_rec {rec:10.4g}   {seconds:.2f} s"
    )
    assert measured > form
    assert measured <= rec * (1 + 1e-9)
    return measured / form


print("\nCounterexamples to the Prop 4.2 form as a general bound, parameter bz")
Wy = np.zeros((17, 17))
Wy[:, 0] = 1 / np.sqrt(2)
assert 1.03 < counterexample("d = 17, N = 1, dt = 1", 17, 1.0, 1, 1e4, Wy=Wy, b1=40.0, b2=40.0) < 1.032
assert counterexample("d = 1, eta = 3, N = 100, dt = 0.1", 1, 0.1, 100, 1.0, Wz=3.0, Wy=3.0, b1=30.0, b2=30.0) > 1000
