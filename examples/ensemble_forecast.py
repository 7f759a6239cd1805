"""
How far a forecast is to be believed: ensembles
===============================================

A forecast without an error bar is half a forecast. Here are several surrogates that differ by their seeds. Their mean is the forecast;
its band comes from what such forecasts were worth on series that no fit has seen, lead by lead; and with every forecast a horizon is
stated, until which its error is expected to stay below 0.4 standard deviations. Three data sets: a noisy oscillation, a chaotic system,
and a measured series whose future is unlike its past.

``python examples/ensemble_forecast.py`` needs ``pip install '.[baselines]'`` and takes 64 s of one core.
"""

# %%
# A noisy oscillation
# -------------------
# FitzHugh-Nagumo, both variables with noise of 5 %. Fit, calibration and test have series of their own. Here the noise is what makes
# the bands wide: members agree, and their spread says little.

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import statsmodels.api as sm

import lemode
from lemode import plots

parser = argparse.ArgumentParser(description="Ensembles of surrogates: calibrated bands, and how long to trust a forecast.")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=Path("out/ensemble_forecast"), help="folder for the plot")
options = parser.parse_args(None if "__file__" in globals() else [])  # a notebook has arguments of its own
seed = options.seed


def noisy(n, samples, seed):
    x = lemode.systems.FitzHughNagumo().trajectories(n, np.arange(samples), seed=seed).x
    return x + 0.05 * x.std((0, 1)) * np.random.default_rng(seed).standard_normal(x.shape)


members = {"hidden_size": 40, "train": "readout", "delays": 2, "washout": 100, "verbose": 0}
neuron = lemode.Ensemble(3, members, horizon=100, seed=seed).fit(noisy(20, 301, seed), calibration=noisy(1000, 200, seed + 1))
new_spikes = noisy(1000, 200, seed + 2)
print("FitzHugh-Nagumo, noisy\n" + neuron.reliability(new_spikes).table([1, 10, 30, 100]))

# %%
# A chaotic system
# ----------------
# Lorenz63: errors grow until members part, sooner from some states than from others. Bands are narrow where they agree, and the stated
# horizon is long where they part late. "Not overrun" is the share of stated horizons until which the forecast really kept below the
# threshold; 90 % are asked for.

lorenz, step = lemode.systems.Lorenz63(), 0.05
members = {"hidden_size": 40, "train": "readout", "delays": 0, "verbose": 0}
chaos = lemode.Ensemble(8, members, horizon=230, seed=seed)
calibration, new_orbits = (lorenz.trajectories(400, step * np.arange(280), seed=seed + k) for k in (1, 2))
chaos.fit(lorenz.trajectories(10, step * np.arange(501), seed=seed), calibration=calibration)
judged = chaos.reliability(new_orbits)
print("\nLorenz63\n" + judged.table([1, 20, 50, 100, 150, 230]))

# %%
# A measured series
# -----------------
# El Nino, monthly from 1950 to 2010: fitted until 1989, calibrated on the nineties with their two large events, judged on the years
# after 2000, which had none. Windows of one series are not exchangeable, and bands from the nineties are too wide. With a rate bands
# follow what comes of them, month by month, and that holds for any series.

sst = sm.datasets.elnino.load_pandas().data.iloc[:, 1:].to_numpy(dtype=float).reshape(-1, 1)
first_test = 12 * 50
members = {"hidden_size": 40, "train": "readout", "season": 12, "washout": 24, "verbose": 0}
ocean = lemode.Ensemble(3, members, horizon=12, seed=seed).fit(sst[:first_test])
print("\nEl Nino, bands of the nineties\n" + ocean.reliability(sst, first_test).table([1, 3, 6, 12]))
print("\nEl Nino, bands that adapt\n" + ocean.reliability(sst, first_test, rate=0.01).table([1, 3, 6, 12]))

# %%
# Bands and horizons
# ------------------
# Of Lorenz63 the forecasts for which the shortest and the longest horizon of the first fifty were stated. The dashed line is the stated
# horizon, the band that of 90 %.

options.out.mkdir(parents=True, exist_ok=True)
fig, axes = plt.subplots(2, 2, figsize=(10, 6.5), layout="constrained")


def show(ax, found, past, truth, dt, name, trusted=True):
    """One forecast over the truth that came."""
    n = len(found.values)
    t = dt * np.arange(-len(past), n)
    band = found.lower[:, 0], found.upper[:, 0]
    plots.forecast(t, np.concatenate([past, truth]), t[-n:], found.values[:, 0], name, ax, band)
    if trusted:
        ax.axvline(dt * (found.trust - 1), color=plots.BLUE, ls="--", lw=1)


x = new_spikes[0]
show(axes[0, 0], neuron.forecast(x[:100], 100), x[:100, 0], x[100:, 0], 1.0, "FitzHugh-Nagumo, v")
orbits = chaos.forecast(new_orbits.x[:50, :50], 230)
for ax, i in zip((axes[0, 1], axes[1, 0]), (int(orbits.trust.argmin()), int(orbits.trust.argmax()))):
    x = new_orbits.x[i]
    show(ax, chaos.forecast(x[:50], 230), x[:50, 0], x[50:, 0], step, "Lorenz63, x")
now = ocean.adapted(sst[:-12], begin=first_test)
show(
    axes[1, 1],
    now.forecast(sst[:-12], 12),
    sst[-60:-12, 0],
    sst[-12:, 0],
    1.0,
    "El Nino, temperature (C), months",
    trusted=False,
)
fig.savefig(options.out / "bands.png", dpi=150)

# %%
# Stated and true horizons of all new orbits of Lorenz63, in Lyapunov times. Below the line a forecast failed before it was expected to.

fig, ax = plt.subplots(figsize=(4.5, 4), layout="constrained")
unit = 0.9056 * step
ax.plot(unit * judged.stated, unit * judged.valid, ".", ms=4, color=plots.BLUE, alpha=0.5)
ends = [0, unit * max(judged.stated.max(), judged.valid.max())]
ax.plot(ends, ends, color="black", lw=0.8)
ax.set(xlabel="stated horizon (Lyapunov times)", ylabel="true valid time (Lyapunov times)")
ax.set_title(f"{100 * judged.hit_rate:.0f} % not overrun, rank correlation {judged.rank_correlation:.2f}", fontsize="medium")
fig.savefig(options.out / "horizons.png", dpi=150)
print(f"\nWritten to {options.out}: bands.png, horizons.png")
