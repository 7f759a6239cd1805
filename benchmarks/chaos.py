"""Chaotic systems: LEM beside reservoirs, LSTMs and sparse regression; Markdown on standard output.

    python benchmarks/chaos.py ks lorenz96 closure --seconds 600 --seeds 3

Tasks: ``ks`` (Kuramoto-Sivashinsky, L = 22; the surrogate's Lyapunov spectrum; and without retraining L = 60), ``lorenz96`` (40 sites,
F = 8), ``closure`` (the slow variables of the two-scale model alone). VPT is the time until the normalised error exceeds 0.5, in
Lyapunov times; figures are means over all starts, then the median over the seeds with the range in brackets. Starts for the table
are never used for a choice: the reservoir is tuned on others. One thread.
"""

import argparse
import itertools
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from surrogates import Row, table

import lemode
from lemode.analysis import spectrum_of_closed_loop, spectrum_of_map
from lemode.baselines import LSTM, SINDy
from lemode.baselines.reservoir import EchoStateNetwork
from lemode.metrics import energy_ratio, valid_prediction_time
from lemode.systems import KuramotoSivashinsky, Lorenz96, Lorenz96TwoScale

WARM = 50  # samples that a forecast starts from


def vpts(model: Any, series: np.ndarray, step: float, rate: float, scale: float) -> np.ndarray:
    """VPT of every series ``(n, T, D)``, in Lyapunov times."""
    free = model.forecast(series[:, :WARM], series.shape[1] - WARM)
    return valid_prediction_time(free, series[:, WARM:], step, 0.5, 1 / rate, scale=scale)


def judge(model: Any, starts: np.ndarray, step: float, rate: float, scale: float, climate: int = 0) -> Row:
    """One-step error, VPT, and of a long free run its power and how far the mean of the field moves."""
    times = vpts(model, starts, step, rate, scale)
    error = model.predict(starts)[:, WARM:-1] - starts[:, WARM + 1 :]
    row = {
        "one-step error / std": float(np.sqrt((error**2).mean())) / scale,
        "VPT mean": float(times.mean()), "VPT median": float(np.median(times)), "VPT worst": float(times.min()),
    }  # fmt: skip
    if climate:
        long = model.forecast(starts[:4, :WARM], climate)
        row["power, free run"] = energy_ratio(long, starts) if np.isfinite(long).all() else float("nan")
        row["mean moves by"] = float(np.abs(long.mean(-1) - starts[:4, WARM - 1 : WARM].mean(-1)).max())
    return row


def tuned_esn(
    units: int, training: np.ndarray, validation: np.ndarray, step: float, rate: float, scale: float
) -> tuple[str, Callable[[int], Any]]:
    """A reservoir of `units`, with the best of a small grid by the VPT of one of 1,000 on validation data."""
    best, score = {}, -1.0
    for scaling, radius, ridge, noise in itertools.product((0.05, 0.1), (0.1, 0.5), (1e-8, 1e-6), (0.0, 3e-4)):
        setting = {"input_scaling": scaling, "spectral_radius": radius, "ridge": ridge, "noise": noise}
        model = EchoStateNetwork(units=1000, **setting).fit(training[:8])
        mean = float(vpts(model, validation, step, rate, scale).mean())
        if mean > score:
            best, score = setting, mean
    return f"echo state network ({units}; {best})", lambda seed: EchoStateNetwork(units=units, seed=seed, **best)


def run(
    models: dict[str, Callable[[int], Any]],
    fit: Any,
    judge_one: Callable[[Any], Row],
    seeds: int,
    title: str,
    out: Path,
    prefix: str,
) -> dict[str, list[Any]]:
    """Fit every model for every seed, judge it, print the table; the fitted models."""
    rows: dict[str, list[Row]] = {}
    fitted: dict[str, list[Any]] = {}
    for name, make in models.items():
        for seed in range(seeds if "seed" in make(0).get_params() else 1):
            start = time.monotonic()
            model = fit(make(seed))
            seconds = time.monotonic() - start
            rows.setdefault(name, []).append({**judge_one(model), "seconds": seconds})
            fitted.setdefault(name, []).append(model)
            if isinstance(model, lemode.FieldSurrogate):
                model.save(out / f"{prefix}_{seed}.lem")
            print(f"<!-- {name}, seed {seed}: {rows[name][-1]} -->", flush=True)
    table(title, rows)
    return fitted


def field_surrogate(seconds: float, **settings: Any) -> Callable[[int], Any]:
    """LEM on the grid, by the recipe for fields."""
    return lambda seed: lemode.FieldSurrogate(seed=seed, budget=seconds, dtype="float32", verbose=0, **settings)


def ks(options: argparse.Namespace) -> None:
    step, rate = 0.5, 0.0482
    system = KuramotoSivashinsky(L=22.0, N=66, step=0.05)  # three points to a unit, so that L = 60 has a grid, too
    t = step * np.arange(2001)
    data = system.trajectories(48, t, seed=1)
    training, validation = data[:44], data[44:]
    scale = float(training.x.std())
    horizon = t[: WARM + int(10 / rate / step)]
    choose = system.trajectories(32, horizon, seed=2).x
    starts = system.trajectories(96, horizon, seed=3).x
    climate = int(200 / rate / step)
    name, esn = tuned_esn(options.units, training.x, choose, step, rate, scale)
    models = {
        "**ConvLEM**": field_surrogate(options.seconds, **KS),
        name: esn,
        "torch.nn.LSTM(256)": lambda seed: LSTM(hidden_size=256, budget=options.seconds, dtype="float32", seed=seed, verbose=0),
    }
    if options.only:
        models = {k: v for k, v in models.items() if re.search(options.only, k)}
    fitted = run(
        models, lambda m: m.fit(training, validation=validation),
        lambda m: judge(m, starts, step, rate, scale, climate), options.seeds,
        "Kuramoto-Sivashinsky, L = 22, step 0.5, 96 starts", options.out, "ks",
    )  # fmt: skip
    if "**ConvLEM**" in fitted:
        ks_spectrum(system, fitted["**ConvLEM**"][0], starts[0])
        ks_transfer(fitted["**ConvLEM**"], step)


def ks_spectrum(system: Any, model: Any, history: np.ndarray) -> None:
    """The first six exponents of the equation and of the surrogate."""
    flow = system.flow_map(1.0)
    x0 = system.sample_initial(8, np.random.default_rng(4))
    true = spectrum_of_map(flow, x0, 1000, jacobian=flow.jacobian, dt=1.0, transient=100, k=6)
    ours = spectrum_of_closed_loop(model, history, 10_000, transient=400, k=6)
    print("\n# Lyapunov exponents of Kuramoto-Sivashinsky, L = 22, per time unit\n")
    print("| | " + " | ".join(f"lambda_{i + 1}" for i in range(6)) + " |\n|---" + "|---" * 6 + "|")
    for label, s in (("the equation", true), ("ConvLEM, free running", ours)):
        print(f"| {label} | " + " | ".join(f"{v:.4f} +- {e:.4f}" for v, e in zip(s.exponents, s.standard_error)) + " |")


def ks_transfer(models: list[Any], step: float) -> None:
    """Trained at L = 22, run at L = 60."""
    system = KuramotoSivashinsky(L=60.0, N=180, step=0.05)
    flow = system.flow_map(1.0)
    x0 = system.sample_initial(8, np.random.default_rng(5))
    rate = float(spectrum_of_map(flow, x0, 300, jacobian=flow.jacobian, dt=1.0, transient=50, k=1).exponents[0])
    starts = system.trajectories(96, step * np.arange(WARM + int(8 / rate / step)), seed=6).x
    scale, climate = float(starts.std()), int(200 / rate / step)
    rows = {"ConvLEM trained at L = 22": [judge(m.on_grid(180), starts, step, rate, scale, climate) for m in models]}
    table(f"Kuramoto-Sivashinsky, L = 60 without retraining; largest exponent {rate:.4f}", rows)


def lorenz96(options: argparse.Namespace) -> None:
    step, rate = 0.05, 1.69
    system = Lorenz96()
    data = system.trajectories(48, step * np.arange(2001), seed=1)
    training, validation = data[:44], data[44:]
    scale = float(training.x.std())
    horizon = step * np.arange(WARM + int(12 / rate / step))
    choose, starts = (system.trajectories(n, horizon, seed=s).x for n, s in ((32, 2), (96, 3)))
    name, esn = tuned_esn(options.units, training.x, choose, step, rate, scale)
    models = {
        "**ConvLEM**": field_surrogate(options.seconds, **L96),
        name: esn,
        "torch.nn.LSTM(256)": lambda seed: LSTM(hidden_size=256, budget=options.seconds, dtype="float32", seed=seed, verbose=0),
        "SINDy(2)": lambda seed: SINDy(degree=2),
    }
    if options.only:
        models = {k: v for k, v in models.items() if re.search(options.only, k)}
    run(
        models, lambda m: m.fit(training, validation=validation),
        lambda m: judge(m, starts, step, rate, scale, int(200 / rate / step)), options.seeds,
        "Lorenz96, 40 sites, F = 8, step 0.05, 96 starts", options.out, "lorenz96",
    )  # fmt: skip


def closure(options: argparse.Namespace) -> None:
    """The slow variables of the two-scale model: forecast error after one and two time units, and until when it is below 0.5."""
    step = 0.05
    system = Lorenz96TwoScale()
    K = system.K
    full = system.trajectories(32, step * np.arange(1001), seed=1)
    X = full.select(full.names[:K])
    starts = system.trajectories(96, step * np.arange(WARM + 100), seed=3)
    truth, subgrid = starts.x[..., :K], system.subgrid(starts.x)
    scale = float(X.x.std())

    flat = full.x.reshape(-1, full.x.shape[-1])[::7]
    cubic = np.polynomial.Polynomial.fit(flat[:, :K].ravel(), system.subgrid(flat).ravel(), 3)

    def resolved(forcing: Callable[[np.ndarray], Any]) -> np.ndarray:
        """X alone by RK4 of step 0.005, with something in the place of the fast variables."""

        def rhs(x: np.ndarray) -> np.ndarray:
            return np.roll(x, 1, -1) * (np.roll(x, -1, -1) - np.roll(x, 2, -1)) - x + system.F + forcing(x)

        x, out, h = truth[:, WARM - 1], [], 0.005
        for _ in range(truth.shape[1] - WARM):
            for _ in range(round(step / h)):
                a = rhs(x)
                b = rhs(x + h / 2 * a)
                c = rhs(x + h / 2 * b)
                x = x + h / 6 * (a + 2 * b + 2 * c + rhs(x + h * c))
            out.append(x)
        return np.stack(out, 1)

    def figures(free: np.ndarray) -> Row:
        error = np.sqrt((((free - truth[:, WARM:]) / scale) ** 2).mean((0, 2)))
        times = valid_prediction_time(free, truth[:, WARM:], step, 0.5, 1.0, scale=scale)
        return {
            "error at t = 1": error[19],
            "error at t = 2": error[39],
            "valid until t, mean": times.mean(),
            "median": float(np.median(times)),
        }

    rows = {
        "equations of X, subgrid term as it was at the start": [figures(resolved(lambda x: subgrid[:, WARM - 1]))],
        "equations of X, subgrid term a cubic of X": [figures(resolved(cubic))],
    }
    dense = {"hidden_size": 64, "window": 100, "budget": options.seconds, "dtype": "float32", "verbose": 0}
    for name, make in (
        ("**ConvLEM**, X alone", field_surrogate(options.seconds, **CLOSURE)),
        ("**LEM(64)**, X alone", lambda seed: lemode.Surrogate(seed=seed, **dense)),
    ):
        models = [make(seed).fit(X) for seed in range(options.seeds)]
        rows[name] = [figures(m.forecast(truth[:, :WARM], truth.shape[1] - WARM)) for m in models]
    table("Two-scale Lorenz96, the slow variables alone, 96 starts", rows)


KS = {"conserve": "mean", "symmetry": "odd"}
L96 = {"kernel_size": 9}
CLOSURE = {"kernel_size": 5, "window": 40, "washout": 30}

if __name__ == "__main__":
    tasks = {"ks": ks, "lorenz96": lorenz96, "closure": closure}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", choices=tasks)
    parser.add_argument("--seconds", type=float, default=600.0, help="training time of every model that trains by gradients")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--units", type=int, default=3000, help="of the echo state network")
    parser.add_argument("--only", help="models whose name matches this regular expression")
    parser.add_argument("--out", type=Path, default=Path("out/chaos"), help="where the models are written")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    print(
        f"lemode {lemode.__version__}, torch {torch.__version__}, {platform.machine()}, 1 thread; {chosen.seconds:g} s, {chosen.seeds} "
        "seeds: median [range]"
    )
    for task in chosen.tasks:
        tasks[task](chosen)
