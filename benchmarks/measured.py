"""Seven measured series, by rolling origins: the defaults of lemode beside the simplest things, AR and ETS; Markdown on standard output.

    python benchmarks/measured.py --seeds 3

The series are those that statsmodels ships, and the electrocardiogram of PyWavelets (pip install PyWavelets). The first 70 % are given, of
which the fit holds out its own validation part; from then on every origin is forecast, `horizon` steps ahead, from all that came before
it, and nothing is fitted again. AR has the order with the smallest BIC on the given part, with a mean for each month where there is a
season; ETS (exponential smoothing with a damped trend and, where there is one, an additive season) keeps the parameters fitted there;
lemode is told of the season as they are. RMSE over all origins and leads; of lemode the median over seeds with its range. One thread.
"""

import argparse
import time
import warnings

import numpy as np
import pywt.data
import statsmodels.api as sm
import torch
from statsmodels.tsa.ar_model import AutoReg, ar_select_order
from statsmodels.tsa.holtwinters import ExponentialSmoothing

import lemode

# a season of how many samples, and how many steps ahead
SERIES = {
    "sunspots, 1700-2008, by year": (lambda: sm.datasets.sunspots.load_pandas().data["SUNACTIVITY"], None, 10),
    "CO2 at Mauna Loa, 1958-2001, by month": (
        lambda: sm.datasets.co2.load_pandas().data["co2"].resample("MS").mean().interpolate(),
        12,
        12,
    ),
    "El Nino 1+2, 1950-2010, by month": (lambda: sm.datasets.elnino.load_pandas().data.iloc[:, 1:].stack(), 12, 12),
    "Nile at Aswan, 1871-1970, by year": (lambda: sm.datasets.nile.load_pandas().data["volume"], None, 5),
    "US unemployment, 1959-2009, by quarter": (lambda: sm.datasets.macrodata.load_pandas().data["unemp"], None, 4),
    "US inflation, 1959-2009, by quarter": (lambda: sm.datasets.macrodata.load_pandas().data["infl"], None, 4),
    "an electrocardiogram, three beats": (pywt.data.ecg, None, 20),
}


def autoregression(given: np.ndarray, season: int | None):
    """AR with the order of the smallest BIC, and means of the season."""
    most = min(36, len(given) // 5)
    order = ar_select_order(given, most, ic="bic", seasonal=season is not None, period=season).ar_lags
    how = {"lags": order or 0, "seasonal": season is not None, "period": season}
    weights = AutoReg(given, **how).fit().params

    def forecast(history: np.ndarray, steps: int) -> np.ndarray:
        model = AutoReg(history[:, 0], **how)
        return model.predict(weights, start=len(history), end=len(history) + steps - 1)

    return forecast, len(order or [])


def smoothing(given: np.ndarray, season: int | None):
    """ETS with a damped trend."""
    how = {"trend": "add", "damped_trend": True, "seasonal": None if season is None else "add", "seasonal_periods": season}
    found = ExponentialSmoothing(given, **how, initialization_method="estimated").fit().params
    names = ("smoothing_level", "smoothing_trend", "smoothing_seasonal", "damping_trend")
    fixed = {name: found[name] for name in names if found.get(name) is not None and np.isfinite(found[name])}
    start = {"initial_level": found["initial_level"], "initial_trend": found["initial_trend"]}
    if season is not None:
        start["initial_seasonal"] = found["initial_seasons"]

    def forecast(history: np.ndarray, steps: int) -> np.ndarray:
        model = ExponentialSmoothing(history[:, 0], **how, initialization_method="known", **start)
        return model.fit(**fixed, optimized=False).forecast(steps)

    return forecast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", default="auto", help="of lemode.Surrogate")
    parser.add_argument("--only", default="", help="series whose name contains this")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"lemode {lemode.__version__}, torch {torch.__version__}, one thread; train={options.train!r}, {options.seeds} seeds\n"
    )
    print(
        "| series (horizon) | naive | seasonal naive | AR (BIC) | ETS | **lemode** | lemode / best of AR, naive | kept | of one core, s |"
    )
    print("|---" * 9 + "|")
    for name, (load, season, horizon) in SERIES.items():
        if options.only not in name:
            continue
        x = np.asarray(load(), dtype=np.float64)
        cut = int(0.7 * len(x))
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of the optimizers of statsmodels, and of fits that are worth little: the table says it
            ar, order = autoregression(x[:cut], season)
            peers = {"AR": ar, "ETS": smoothing(x[:cut], season)}
            models, cpu, kept = {}, [], []
            for seed in range(options.seeds):
                before = time.process_time()
                model = lemode.Surrogate(
                    train=options.train,
                    season=season,
                    hidden_size=300 if options.train == "readout" else 16,
                    seed=seed,
                    verbose=0,
                )
                models[f"lemode {seed}"] = model.fit(x[:cut])
                cpu.append(time.process_time() - before)
                kept.append(model.history_.kept.split(":")[0] or options.train)
            found = lemode.evaluate(peers | models, x, horizon, range(cut, len(x) - horizon + 1), season=season)
        total = {key: found.total(key) for key in found.errors}
        ours = [total[key] for key in models]
        best = min(total["naive"], total.get("seasonal naive", np.inf), total["AR"])
        cells = [
            f"{name} ({horizon})", f"{total['naive']:.3g}", f"{total['seasonal naive']:.3g}" if season else "",
            f"{total['AR']:.3g} ({order} lags)",
            f"{total['ETS']:.3g}", f"{np.median(ours):.3g} [{min(ours):.3g}, {max(ours):.3g}]", f"{np.median(ours) / best:.3f}",
            ", ".join(kept), f"{np.median(cpu):.0f}",
        ]  # fmt: skip
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
