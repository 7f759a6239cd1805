"""
A table of your own
===================

A CSV file as it comes from a logger: dates, two greenhouses one below the other, days on which the logger was off, empty cells, a sensor
that once said 999, and two columns that are known ahead, the heating's timer and the weather forecast. From there to a forecast with dates
and a band of 90 %, in less than 25 lines.

``python examples/your_own_table.py`` needs pandas and takes about half a minute; :doc:`/recording` says more of each line.
"""

# %%
# The file
# --------
# Made up here, so that the truth is known: a house cools towards the air outside, and the heating warms it.

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import lemode

parser = argparse.ArgumentParser(description="From a CSV file with dates, gaps and groups to a forecast with a band.")
parser.add_argument("--out", type=Path, default=Path("out/your_own_table"), help="folder for the file and the plot")
options = parser.parse_args(None if "__file__" in globals() else [])  # a notebook has arguments of its own
options.out.mkdir(parents=True, exist_ok=True)


def greenhouse(name, start, seed):
    """Fifty days, hour by hour."""
    rng, hours = np.random.default_rng(seed), np.arange(50 * 24)
    outside = 4 + 5 * np.sin(2 * np.pi * (hours % 24 - 9) / 24) + np.cumsum(rng.normal(0, 0.2, len(hours)))
    heating = (hours % 24 >= 5) & (hours % 24 < 9 + 4 * (hours // 24 % 3))
    inside = np.full(len(hours), start)
    for k in hours[1:]:
        inside[k] = inside[k - 1] + 0.1 * (outside[k - 1] - inside[k - 1]) + 1.2 * heating[k - 1] + rng.normal(0, 0.15)
    time = pd.date_range("2026-01-10", periods=len(hours), freq="h")
    table = pd.DataFrame({"time": time, "house": name, "inside": inside, "heating": heating, "outside": outside})
    table.loc[rng.choice(1000, 40, replace=False), "inside"] = np.nan  # empty cells
    table.loc[700, "inside"] = 999.0  # the sensor
    return table.drop(index=range(400 + 100 * seed, 460 + 100 * seed))  # the logger was off


made = pd.concat([greenhouse("north", 10.0, 0), greenhouse("south", 14.0, 1)]).sort_values(["time", "house"])
made.to_csv(options.out / "greenhouses.csv", index=False, float_format="%.2f")

# %%
# The forecast
# ------------
# Each house is a trajectory. What is missing needs no repair: hours that are not there, and empty cells, are filled in by the model
# itself; ``scale="robust"`` takes the 999 for one of them.

# your code begins
table = pd.read_csv(options.out / "greenhouses.csv", parse_dates=["time"], index_col="time")
past, coming = table[:"2026-02-26"], table["2026-02-27":]  # two days to be forecast
model = lemode.Surrogate(hidden_size=6, inputs=["heating", "outside"], scale="robust", steps=600, verbose=0)
model.fit(past.groupby("house"))
ahead = model.forecast(past.groupby("house"), inputs=coming.groupby("house"), level=0.9)

figure, axes = plt.subplots(2, 1, sharex=True, figsize=(8, 5))
for ax, (house, truth) in zip(axes, coming.groupby("house")):
    forecast = ahead.values.loc[house]
    ax.plot(past[past["house"] == house]["inside"].tail(72), "k", lw=1)
    ax.plot(truth["inside"], "k.", ms=4, label="measured")
    ax.plot(forecast["inside"], label="forecast")
    ax.fill_between(forecast.index, ahead.lower.loc[house]["inside"], ahead.upper.loc[house]["inside"], alpha=0.3, label="90 %")
    ax.set(ylabel=f"{house}, °C")
axes[0].legend()
figure.autofmt_xdate()
figure.savefig(options.out / "forecast.png", dpi=150)
# your code ends

# %%
# Was it any good?
# ----------------
# Beside the last value, and the share of the measurements inside the band.

truth = coming.set_index("house", append=True).swaplevel()["inside"].sort_index()
inside = (ahead.lower["inside"] <= truth) & (truth <= ahead.upper["inside"])
last = past.groupby("house")["inside"].last()
print(f"RMSE of two days: {np.sqrt(((ahead.values['inside'] - truth) ** 2).mean()):.2f} °C")
print(f"of the last value: {np.sqrt(((last.reindex(truth.index, level='house') - truth) ** 2).mean()):.2f} °C")
print(f"inside the band:   {inside.mean():.0%}")
