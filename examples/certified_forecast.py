"""
A forecast that carries its own proof
=====================================

How long is a forecast right? A surrogate that is fed with its own predictions is a known map, and the true series is a trajectory of
the same map but for the one-step errors. So one can *prove* how far the two can be apart after n steps, from a bound on the one-step
errors and the derivatives of the network along the forecast, with all that rounding does: ``lemode.analysis.certified_horizon``. Nothing
has to be known of the system behind the data.

Run it with ``python examples/certified_forecast.py``; it takes less than a minute. More ``--steps`` of training give longer horizons.
"""

# %%
# A surrogate of a spiking neuron
# -------------------------------
# FitzHugh-Nagumo, of which only the fast variable v is seen, at 0.4 time units; 16 hidden units.

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import lemode
from lemode.analysis import certified_horizon, jacobian_bound, jacobian_product_bound, step_jacobian, tube_along

parser = argparse.ArgumentParser(description="Certified horizons of forecasts of a FitzHugh-Nagumo neuron.")
parser.add_argument("--steps", type=int, default=1000, help="gradient steps")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=Path("out/certified_forecast"), help="folder for the plot")
parser.add_argument("--quiet", action="store_true", help="no progress bars")
options = parser.parse_args(None if "__file__" in globals() else [])  # a notebook has arguments of its own

fhn = lemode.systems.FitzHughNagumo()
data = fhn.trajectories(40, 0.4 * np.arange(801), seed=options.seed).select(["v"])
training, validation, test = data[:24], data[24:32], data[32:]
model = lemode.Surrogate(hidden_size=16, train="all", steps=options.steps, seed=options.seed, verbose=not options.quiet)
model.fit(training, validation=validation)

# %%
# The data are known
# ------------------
# From 300 samples on, the surrogate runs free. How far it is from the series is measured, and proved for every machine and every order
# of its sums. Beside it: when the error really exceeds the tolerance, 5 % of a standard deviation, for the first time.

history, steps = 300, 400
tolerance = 0.05 * training.x.std()
print(f"\ntolerance {tolerance:.3f}; steps for which the forecast keeps it")
print(f"{'series':>8}{'certified':>12}{'really':>10}")
for i, series in enumerate(test.x):
    found = certified_horizon(model, series, tolerance, history=history, steps=steps)
    error = np.abs(found.forecast - found.truth)[:, 0]
    kept = int(np.argmax(error > tolerance)) if (error > tolerance).any() else steps
    print(f"{i:8}{found.horizon:12}{kept:10}")
    assert found.horizon <= kept, "a certified forecast left its tolerance: this contradicts statement 8.2"

# %%
# The future
# ----------
# If only the sizes of the one-step errors to come are known, such as the largest on the validation series, the statement is
# conditional on that.

largest = np.abs(model.predict(validation.x)[:, history:-1] - validation.x[:, history + 1 :]).max((0, 1))
future = certified_horizon(model, test.x[1, :history], tolerance, steps=steps, errors=largest)
print(f"\n{future}")

# %%
# What a bound can say of a trained network
# -----------------------------------------
# The norm of the product of N Jacobians, for all states that start within 1e-3 of the data's: from the weights alone, in the tube, and
# the largest that was met from 10 starts in the tube.

network = model.network_
cell = network.core.cells[0]
rng, radius = np.random.default_rng(options.seed), 1e-3
with torch.no_grad():
    u = network.normalise(torch.tensor(test.x[0])).to(network.mean)
    ((ys, zs),) = network.core.states(u[:, None])
print(f"\n{'N':>5}{'J1^N':>12}{'J7':>12}{'tube':>12}{'met':>12}")
for N in (20, 100):
    start, inputs = (ys[history - 1, 0], zs[history - 1, 0]), u[history : history + N]
    tube = tube_along(cell, inputs, start, radius=radius)
    met = 0.0
    with torch.no_grad():
        for _ in range(10):
            y, z = (s + torch.from_numpy(0.999 * radius * rng.choice([-1.0, 1.0], s.shape)).to(s) for s in start)
            product = torch.eye(32, dtype=torch.float64)
            for u_n in inputs:
                product = step_jacobian(cell, (y, z), u_n).matrix().double() @ product
                y, z = cell.scheme.step(cell.ode, (y, z), u_n, cell.dt)
            met = max(met, float(product.abs().sum(1).max()))
    prior = jacobian_bound(cell) ** N, jacobian_product_bound(cell, N)[-1]
    print(f"{N:5}{prior[0]:12.1e}{prior[1]:12.1e}{tube.product[-1]:12.3g}{met:12.3g}")
    assert met <= tube.product[-1], "a product exceeds the tube: this contradicts statement 8.1"

# %%
# Plot
# ----
# The forecast with the band that is proved, as far as it is at most the tolerance wide, and the data.

options.out.mkdir(parents=True, exist_ok=True)
fig, (top, bottom) = plt.subplots(2, 1, figsize=(9, 5), layout="constrained")
last = certified_horizon(model, test.x[1], tolerance, history=history, steps=steps)
last.plot(ax=top)
top.set_xlim(0, last.t[-1])
bottom.semilogy(last.t, np.maximum(np.abs(last.forecast - last.truth), 1e-12), color=lemode.plots.VERMILION, label="error")
bottom.semilogy(last.t, last.radius, color=lemode.plots.BLUE, label="proved, data known")
bottom.semilogy(
    future.t, future.radius, color=lemode.plots.GREEN, label=f"proved, if no one-step\nerror exceeds {largest[0]:.1g}"
)
bottom.axhline(tolerance, color="black", lw=0.8, ls=":", label="tolerance")
bottom.set(xlim=top.get_xlim(), ylim=(1e-6, 3), xlabel="time after the history", ylabel="error of v")
bottom.legend(fontsize="small", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
fig.savefig(options.out / "certified_forecast.png", dpi=150)
print(f"\nWritten to {options.out}: certified_forecast.png")
