"""
Waves on a ring of FitzHugh-Nagumo cells: two quantities, or one of them
========================================================================

Oscillating nerve cells on a ring, coupled by diffusion of the fast variable v: waves form from a random state and travel. The slow
variable w, of which no electrode tells, decides when a cell may fire again. One surrogate sees both quantities at every point, one only v,
and has to find something like w for itself.

Run it with ``python examples/excitable_ring.py``; ``--quick`` trains for a third of the steps.
"""

# %%
# The equations
# -------------
# By the method of lines, with 64 points on a ring of length 60: any right-hand side of NumPy arrays will do. Trajectories are
# sampled every time unit; a cell fires about every 40.

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import lemode
from lemode import plots

parser = argparse.ArgumentParser(description="Surrogates of waves on a ring of FitzHugh-Nagumo cells.")
parser.add_argument("--quick", action="store_true", help="a third of the gradient steps")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=Path("out/excitable_ring"), help="folder for the plots")
parser.add_argument("--quiet", action="store_true", help="no progress bars")
options = parser.parse_args(None if "__file__" in globals() else [])  # a notebook has arguments of its own
options.out.mkdir(parents=True, exist_ok=True)

N, length, epsilon, a, b, current = 64, 60.0, 0.08, 0.7, 0.8, 0.5


def ring(t, u):
    v, w = u[:N], u[N:]
    diffusion = (np.roll(v, 1, 0) - 2 * v + np.roll(v, -1, 0)) / (length / N) ** 2
    return np.concatenate([diffusion + v - v**3 / 3 - w + current, epsilon * (v + a - b * w)])


def random_states(n, rng):
    """Three long waves of random amplitudes and phases, for v and for w."""
    k, x = np.arange(1, 4)[:, None], 2 * np.pi * np.arange(N) / N
    amplitude, phase = rng.normal(size=(2, n, 3, 1)), rng.uniform(0, 2 * np.pi, (2, n, 3, 1))
    v, w = (amplitude * np.cos(k * x + phase)).sum(2)
    return np.concatenate([1.2 * v, 0.6 + 0.5 * w], 1)


names = [f"v{i}" for i in range(N)] + [f"w{i}" for i in range(N)]
system = lemode.systems.from_callable(ring, 2 * N, names)
t = np.arange(401.0)
data, test = (
    system.trajectories(n, t, x0=random_states(n, np.random.default_rng(seed)), rtol=1e-8, atol=1e-10)
    for n, seed in ((40, options.seed + 1), (32, options.seed + 2))
)

# %%
# Two surrogates
# --------------
# The ring has no right and left: mirror images are learned from, too. ``channels=2`` says that the first half of the variables is one
# quantity, and the second half another.

settings = {
    "hidden_size": 32, "kernel_size": 9, "symmetry": "even", "steps": 1000 if options.quick else 3000,
    "dtype": "float32", "seed": options.seed, "verbose": not options.quiet,
}  # fmt: skip
models = {
    "v and w": (lemode.FieldSurrogate(channels=2, **settings), names),
    "v alone": (lemode.FieldSurrogate(**settings), names[:N]),
}
for model, seen in models.values():
    model.fit(data[:36].select(seen), validation=data[36:].select(seen))

# %%
# How far they see
# ----------------
# Free runs of v from 100 samples of 32 rings that were not seen; beside them, what repeating the last cycle of each ring would give.

warm = 100
truth = test.x[:, warm:, :N]
scale = truth.std()


def repeated(history, steps):
    """The last cycle again and again; its length is the lag at which the last state has been most similar."""
    lag = min(range(25, warm), key=lambda k: np.square(history[-1] - history[-1 - k]).sum())
    return np.resize(history[-lag:], (steps, N))


forecasts = {"the last cycle, repeated": np.stack([repeated(x, truth.shape[1]) for x in test.x[:, :warm, :N]])}
for label, (model, seen) in models.items():
    history = test.select(seen).x
    error = model.predict(history)[:, warm:-1, :N] - history[:, warm + 1 :, :N]
    print(
        f"{label}: one step ahead, error {np.sqrt((error**2).mean()) / scale:.1e} standard deviations of v, after "
        f"{model.history_.seconds:.0f} s of training"
    )
    forecasts[f"surrogate of {label}"] = model.forecast(history[:, :warm], truth.shape[1])[..., :N]
errors = {label: np.sqrt(np.square(x - truth).mean((0, 2))) / scale for label, x in forecasts.items()}
print(f"{'free run, error / std of v, after':36}" + "".join(f"{steps:>8}" for steps in (10, 40, 100, 300)) + " time units")
for label, error in errors.items():
    print(f"{label:36}" + "".join(f"{error[steps - 1]:8.4f}" for steps in (10, 40, 100, 300)))

fig, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
for (label, error), color in zip(errors.items(), ("#000000", "#D55E00", "#0072B2"), strict=True):
    ax.semilogy(np.arange(1, len(error) + 1), error, color=color, label=label)
ax.set(xlabel="time ahead", ylabel="error / standard deviation of v")
ax.legend(frameon=False, fontsize="small")
fig.savefig(options.out / "errors.png", dpi=150)

# %%
# The ring whose forecast from v alone is of typical quality:

free = forecasts["surrogate of v alone"]
typical = int(np.argsort(np.square(free - truth).mean((1, 2)))[len(free) // 2])
axes = plots.spacetime(t[warm:] - t[warm - 1], truth[typical], free[typical], x=length * np.arange(N) / N)
axes[-1].set_xlabel("time ahead")
axes[0].figure.savefig(options.out / "forecast.png", dpi=150)
print(f"Written to {options.out}: errors.png, forecast.png")
