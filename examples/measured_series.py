"""
A measured series: El Nino
==========================

Monthly sea surface temperature of the eastern Pacific (0-10 S, 80-90 W), 1950 to 2010, as statsmodels ships it: 732 values, noisy, with
a strong season. Nobody knows its equations. What a surrogate is worth here is decided by forecasts from many origins that it has
not seen, beside the simplest things that could be done.

``python examples/measured_series.py`` needs ``pip install '.[baselines]'`` and takes one to two minutes.
"""

# %%
# Data
# ----
# Training until 1989, choice on 1990 to 1999, test on 2000 to 2010: of what a fit is given it holds out the last fifth, which are these
# ten years.

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import statsmodels.api as sm
from statsmodels.tsa.ar_model import AutoReg

import lemode
from lemode.baselines import LSTM, EchoStateNetwork

parser = argparse.ArgumentParser(description="Forecast the El Nino series; compare with simple and usual methods.")
parser.add_argument("--out", type=Path, default=Path("out/measured_series"), help="folder for the plot")
options = parser.parse_args(None if "__file__" in globals() else [])  # a notebook has arguments of its own

frame = sm.datasets.elnino.load_pandas().data
sst = frame.iloc[:, 1:].to_numpy(dtype=float).ravel()
month = np.arange(len(sst))
year = 1950 + month / 12
first_validation, first_test = 12 * 40, 12 * 50
given = sst[:first_test]

# %%
# Models
# ------
# lemode's is the default, told that twelve months are a season. Torch's LSTM is small, since 480 values are few; from some draws of its
# first weights the forecasts of a year leave the data by many kelvin, so three are drawn, and the one is taken whose forecasts over
# the validation years are best. The echo state network's setting is chosen in the same way.

surrogate = lemode.Surrogate(season=12, washout=24, lr=3e-3, steps=400, verbose=0).fit(given)
print(surrogate.history_.kept)

settings = {
    "season": 12, "hidden_size": 8, "window": 120, "washout": 24, "lr": 3e-3, "steps": 400, "stages": ("one-step", "closed-loop"),
    "horizon": 12, "verbose": 0,
}  # fmt: skip
validation_origins = range(first_validation, first_test - 12, 6)


def running_free(model):
    return lambda k: model.forecast(sst[:k], 12)


def best_over_validation(models, forecaster):
    """The model with the smallest squared error of its forecasts of a year from every half year of the validation years."""
    return min(models, key=lambda m: np.mean([(forecaster(m)(k) - sst[k : k + 12]) ** 2 for k in validation_origins]))


draws = [LSTM(**settings, seed=seed).fit(given) for seed in range(3)]
lstm = best_over_validation(draws, running_free)

climate = np.array([sst[:first_validation][k::12].mean() for k in range(12)])
anomaly = sst - climate[month % 12]
train_anomaly = anomaly[:first_validation]
order = min(range(1, 25), key=lambda p: AutoReg(train_anomaly, p).fit().bic)
autoregression = AutoReg(train_anomaly, order).fit()


def of_season(k):
    return climate[month[k : k + 12] % 12]


def by_anomaly(esn):
    return lambda k: of_season(k) + esn.forecast(anomaly[:k, None], 12)[:, 0]


esn = best_over_validation(
    [
        EchoStateNetwork(units=200, input_scaling=scaling, spectral_radius=radius, ridge=ridge, leak=0.5, washout=24).fit(
            train_anomaly[None, :, None]
        )
        for scaling in (0.1, 0.5)
        for radius in (0.5, 0.9)
        for ridge in (1e-2, 1.0, 100.0)
    ],
    by_anomaly,
)

# %%
# Rolling origins
# ---------------
# Every month of the test years is an origin; each model forecasts the twelve months after it.


def ar_forecast(history, lead):
    """The fitted autoregression, run forward from the last values."""
    constant, weights = autoregression.params[0], autoregression.params[1:]
    values = list(history[-order:])
    for _ in range(lead):
        values.append(constant + weights @ values[: -order - 1 : -1])
    return np.array(values[order:])


models = {
    "season (climatology)": of_season,
    "persistence of the anomaly": lambda k: of_season(k) + anomaly[k - 1],
    f"AR({order}) of the anomaly, statsmodels": lambda k: of_season(k) + ar_forecast(anomaly[:k], 12),
    "echo state network, reservoirpy": by_anomaly(esn),
    "torch.nn.LSTM(8)": running_free(lstm),
    "lemode.Surrogate": running_free(surrogate),
}
origins = np.arange(first_test, len(sst) - 11)
by_history = {name: lambda history, steps, predict=predict: predict(len(history)) for name, predict in models.items()}
evaluation = lemode.evaluate(by_history, sst, 12, origins, season=12)
print(f"El Nino, in kelvin, origins from {year[origins[0]]:.0f}, leads in months")
print(evaluation.table((1, 3, 6, 12)))

# %%
# Error by lead time
# ------------------

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
# Okabe and Ito's colours, and a marker each; the last is lemode's
styles = zip(("#000000", "#000000", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00"), ("-", ":", *5 * "-"), "osv^Dxo")
shown = ["seasonal naive", *models]
for name, (color, line, marker) in zip(shown, styles):
    rmse, bold = evaluation.rmse(name), name.startswith("lemode")
    ax.plot(np.arange(1, 13), rmse, color=color, ls=line, marker=marker, ms=4, lw=2.5 if bold else 1, label=name)
# a model that fails leaves the picture: the others would be one line
top = 1.5 * evaluation.rmse("seasonal naive").max()
ax.set(xlabel="months ahead", ylabel="RMSE (K)", xlim=(1, 12), ylim=(0, top))
fig.legend(fontsize="small", loc="outside lower center", ncols=2, frameon=False)
options.out.mkdir(parents=True, exist_ok=True)
fig.savefig(options.out / "errors.png", dpi=150)
print(f"Written to {options.out}: errors.png")
