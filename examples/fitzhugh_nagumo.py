"""
A surrogate of a spiking neuron
===============================

The FitzHugh-Nagumo benchmark of arXiv:2110.04744, section 5: only the fast variable v is observed, and v is predicted one step
ahead along 1,000 steps of 0.4 time units; 128 series to train on, 128 for validation, 1,024 to test, 16 hidden units. The slow
variable w has to be remembered by the network.

Run it with ``python examples/fitzhugh_nagumo.py``; ``--quick`` takes well under a minute, on less data and with fewer steps.
"""

# %%
# Data
# ----
# v(0) is uniform in [-1, 1] and w(0) = 0. The reference solution is accurate to 1e-8 in every series.
# At the tolerances of the published data (rtol 1e-3) its own error is as large as the accuracy we are after.

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.interpolate import CubicSpline

import lemode
from lemode import plots
from lemode.analysis import jacobian_bound, step_jacobian
from lemode.metrics import period

parser = argparse.ArgumentParser(description="Fit a surrogate of the FitzHugh-Nagumo neuron; print its errors and bounds.")
parser.add_argument("--quick", action="store_true", help="less data and fewer steps: well under a minute")
parser.add_argument("--steps", type=int, help="gradient steps (5,000; 600 with --quick)")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=Path("out/fitzhugh_nagumo"), help="folder for the model and the plots")
parser.add_argument("--quiet", action="store_true", help="no progress bars")
options = parser.parse_args(None if "__file__" in globals() else [])  # a notebook has arguments of its own
steps = options.steps or (600 if options.quick else 5000)
n_test = 128 if options.quick else 1024

fhn = lemode.systems.FitzHughNagumo()
t = np.linspace(0, 400, 1001)
data = fhn.trajectories(256 + n_test, t, seed=options.seed)
training, validation, test = data[:128], data[128:256], data[256:]

# %%
# Fit
# ---
# Single precision is twice as fast, and its rounding is far below the error of the fit.

settings = {"hidden_size": 16, "observe": ("v",), "steps": steps, "dtype": "float32", "seed": options.seed}
model = lemode.Surrogate(**settings, verbose=not options.quiet, train="all").fit(training, validation=validation)

# %%
# The same network with an LSTM instead of LEM, by the same recipe and number of steps.

lstm = lemode.baselines.LSTM(**settings, verbose=not options.quiet).fit(training, validation=validation)

# %%
# Errors
# ------
# An autoregression on the last two values, fitted by least squares, and persistence ("nothing changes") set the scale.


v = test.x[..., 0]
models = {
    "persistence": lemode.baselines.Persistence(observe=("v",)).fit(training),
    "AR(2), least squares": lemode.baselines.Autoregression(lags=2, observe=("v",)).fit(training),
    "torch.nn.LSTM(16), same recipe": lstm,
    "lemode.Surrogate, LEM(16)": model,
}
washout = 50
print(f"\nFitzHugh-Nagumo, v one step of {model.step_:g} ahead; {n_test} test series of 1,000 steps; {steps} gradient steps")
print(f"{'':32}{'test RMSE':>12}{f'after {washout} steps':>16}{'seconds':>10}")
for name, predictor in models.items():
    seconds = f"{predictor.history_.seconds:.0f}" if hasattr(predictor, "history_") else ""
    print(f"{name:32}{predictor.rmse(test):12.2e}{predictor.rmse(test, washout):16.2e}{seconds:>10}")
print(f"{'LEM(16) as published':32}{2e-3:12.0e}{'':16}   (arXiv:2110.04744, their data at rtol 1e-3)")

# %%
# Free running
# ------------
# After 400 steps of history the model is on its own for more than ten periods.

warm, horizon = 400, 3600
t_long = 0.4 * np.arange(warm + horizon)
truth = fhn.solve(fhn.sample_initial(8, np.random.default_rng(options.seed + 1)), t_long)
free = model.forecast(truth[:, :warm, :1], horizon)[..., 0]
true_v = truth[:, warm:, 0]
true_period = np.mean([period(t_long[warm:], x) for x in true_v])
print(f"\nFree run of {horizon} steps ({horizon * 0.4 / true_period:.1f} periods) from {warm} steps of history, 8 series:")
print(f"  relative L2 error  {np.linalg.norm(free - true_v) / np.linalg.norm(true_v):.2e}")
try:
    free_period = np.mean([period(t_long[warm:], x) for x in free])
    print(f"  period {free_period:.4f}, true {true_period:.4f}: error {abs(free_period / true_period - 1):.1e}")
except ValueError as e:  # an undertrained surrogate may not oscillate at all
    print(f"  no period: {e}")

# %%
# Bounds
# ------
# What holds for every input whatsoever, beside what is met on the test data.

net = model.network_
cell = net.core.cells[0]
with torch.no_grad():
    u = net.normalise(torch.tensor(test.select(["v"]).x).transpose(0, 1).float())
    ((ys, zs),) = net.core.states(u)
    sample = slice(0, 8)
    J = step_jacobian(cell, (ys[:-1, sample], zs[:-1, sample]), u[1:, sample]).matrix()
    measured = J.abs().sum(-1).amax().item()  # the infinity norm: largest row sum
    gates = cell.ode.gates(ys[:-1, 0], u[1:, 0])
bound = jacobian_bound(cell)
largest = max(ys.abs().max().item(), zs.abs().max().item())
print("\nBounds on the trained network            measured      bound")
print(f"  S1  max |y|, |z|                     {largest:10.4f} {1.0:10.4f}")
print(f"  J1  max norm of the one-step Jacobian {measured:9.4f} {bound:10.4f}")
assert largest <= 1.0, "a state left the unit cube: this contradicts statement S1"
assert measured <= bound * (1 + 1e-9), "a Jacobian exceeds its a-priori bound: this contradicts statement J1"

# %%
# Files and plots
# ---------------

options.out.mkdir(parents=True, exist_ok=True)
model.save(options.out / "fhn.lem")

fig, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
plots.forecast(t_long[:2000], truth[0, :2000, 0], t_long[warm:2000], free[0, : 2000 - warm], name="membrane potential v", ax=ax)
fig.savefig(options.out / "forecast.png", dpi=150)

# the recovery variable was never seen by the model: the first equation gives it from the forecast of v
grid = np.linspace(-3, 3, 301)
w_free = fhn.recovery(free[0], CubicSpline(t_long[warm:], free[0])(t_long[warm:], 1))
fig, ax = plt.subplots(figsize=(4.5, 4.5), layout="constrained")
cubic, line = fhn.nullclines(grid)
plots.phase_plane(
    truth[0, warm:], np.stack([free[0], w_free], -1), {"v' = 0": (grid, cubic), "w' = 0": (grid, line)},
    names=("membrane potential v", "recovery w"), ax=ax,
)  # fmt: skip
fig.savefig(options.out / "phase_plane.png", dpi=150)

fig, (top, bottom) = plt.subplots(2, 1, figsize=(7, 5), sharex=True, height_ratios=(1, 2), layout="constrained")
top.plot(t[1:-1], v[0, 1:-1], color="black", lw=1)
top.set_ylabel("v")
top.margins(x=0)
tau = model.step_ / (cell.dt * torch.cat(gates, -1).numpy())
plots.time_scales(t[1:], tau, {"sampling interval": model.step_, "1/eps": 1 / fhn.eps}, ax=bottom)
fig.savefig(options.out / "time_scales.png", dpi=150)
print(f"\nWritten to {options.out}: fhn.lem, forecast.png, phase_plane.png, time_scales.png")
