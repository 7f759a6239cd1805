"""
Kuramoto-Sivashinsky: a field that is chaotic in space and time
===============================================================

Flame fronts and falling films, on a periodic domain of length 22: the surrogate reads the 17 points around each point, keeps the
mean of the field exactly, and is run freely: first until chaos has the last word, then for long, to see whether it stays on the attractor.

Run it with ``python examples/kuramoto_sivashinsky.py`` (ten minutes of training); ``--quick`` takes under two minutes, with less training.
"""

# %%
# Data
# ----
# Trajectories by ETDRK4, sampled every half time unit. A Lyapunov time, in which a small error grows by e, is 1 / 0.0482 = 21 time units.
# The 96 starts for the test are of another seed.

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import lemode
from lemode import plots
from lemode.metrics import energy_ratio, valid_prediction_time, wasserstein

parser = argparse.ArgumentParser(description="A convolutional LEM surrogate of the Kuramoto-Sivashinsky equation.")
parser.add_argument("--quick", action="store_true", help="less training: under two minutes in all")
parser.add_argument("--seconds", type=float, default=600.0, help="of training")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=Path("out/kuramoto_sivashinsky"), help="folder for plots and model")
parser.add_argument("--quiet", action="store_true", help="no progress bars")
options = parser.parse_args(None if "__file__" in globals() else [])  # a notebook has arguments of its own
options.out.mkdir(parents=True, exist_ok=True)

step, rate, warm = 0.5, 0.0482, 50
system = lemode.systems.KuramotoSivashinsky(L=22.0, N=66, step=0.1)
data = system.trajectories(24 if options.quick else 48, step * np.arange(2001), seed=options.seed + 1)
test = system.trajectories(96, step * np.arange(warm + 415), seed=options.seed + 2)

# %%
# The surrogate
# -------------
# The equation is unchanged by u(x) -> -u(-x): the mirror images are learned from, too. It conserves the mean of u: so does the
# surrogate, by its form. Noise on what it reads in training, which falls as it learns, is what keeps the free run on the
# attractor.

model = lemode.FieldSurrogate(
    hidden_size=32 if options.quick else 64, conserve="mean", symmetry="odd", budget=40.0 if options.quick else options.seconds,
    dtype="float32", seed=options.seed, verbose=not options.quiet,
)  # fmt: skip
model.fit(data[:-4], validation=data[-4:])
model.save(options.out / "ks.lem")
scale = float(data.x.std())
print(f"{len(model.history_.loss)} steps in {model.history_.seconds:.0f} s ({model.history_.stopped})")
error = model.predict(test)[:, warm:-1] - test.x[:, warm + 1 :]
print(f"One step ahead: error {np.sqrt((error**2).mean()) / scale:.1e} standard deviations")

# %%
# How long a forecast holds
# -------------------------
# Until its error exceeds half a standard deviation, in Lyapunov times, from each of the 96 starts.

free = model.forecast(test.x[:, :warm], test.x.shape[1] - warm)
vpt = valid_prediction_time(free, test.x[:, warm:], step, 0.5, 1 / rate, scale=scale)
print(f"Valid prediction time: mean {vpt.mean():.2f}, median {np.median(vpt):.2f}, worst {vpt.min():.2f} Lyapunov times")

fig, ax = plt.subplots(figsize=(5, 3), layout="constrained")
ax.hist(vpt, bins=np.arange(0, vpt.max() + 0.5, 0.5), color="#0072B2", edgecolor="white")
ax.axvline(vpt.mean(), color="#D55E00", label=f"mean {vpt.mean():.2f}")
ax.set(xlabel="valid prediction time (Lyapunov times)", ylabel="starts")
ax.legend(frameon=False)
fig.savefig(options.out / "valid_prediction_time.png", dpi=150)

# %%
# A forecast of typical quality beside the truth:

typical = int(np.argsort(vpt)[len(vpt) // 2])
t = step * np.arange(1, free.shape[1] + 1)
axes = plots.spacetime(t, test.x[typical, warm:], free[typical], lyapunov_time=1 / rate, x=system.grid)
axes[0].figure.savefig(options.out / "forecast.png", dpi=150)

# %%
# The climate of a long free run
# ------------------------------
# 10,000 time units, 480 Lyapunov times: does the surrogate stay on the attractor after it has lost the trajectory? The run is compared
# with the equation's own statistics: power, values at a point, and spectrum in time.

long = model.forecast(test.x[0, :warm], 20_000)
truth = data.x
print(
    f"Free run over {step * len(long):,.0f} time units: power {energy_ratio(long, truth):.3f} of the truth, values of u "
    f"{wasserstein(long.reshape(-1, 1), truth.reshape(-1, 1))[0]:.3f} standard deviations from theirs (Wasserstein), mean of u moved by "
    f"{np.abs(long.mean(-1) - test.x[0, warm - 1].mean()).max():.0e}"
)
fig, ax = plt.subplots(figsize=(5, 3), layout="constrained")
plots.spectra(truth[:, 1:, 0], long[:, 0].reshape(10, 2000), step, ax=ax)
fig.savefig(options.out / "spectrum.png", dpi=150)
print(f"Written to {options.out}: ks.lem, valid_prediction_time.png, forecast.png, spectrum.png")
