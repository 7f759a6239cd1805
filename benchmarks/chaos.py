"""Chaotic systems: LEM beside reservoirs, LSTMs and sparse regression; Markdown on standard output.

    python benchmarks/chaos.py ks lorenz96 closure --seconds 600 --seeds 3

Tasks: ``ks`` (Kuramoto-Sivashinsky, L = 22, and the surrogate's Lyapunov spectrum), ``transfer`` (trained at L = 22, run at L =
60), ``lorenz96`` (40 sites, F = 8), ``closure`` (the slow variables of the two-scale model alone), ``ablation`` (each ingredient of
the recipe for fields off, one at a time). VPT is the time until the normalised error exceeds 0.5, in Lyapunov times; figures are
means over all starts, then the median over the seeds with the range in brackets. Starts for the tables of the models are never used
for a choice: settings, and those of the reservoir, are chosen on others. Results are kept in a folder: what one call leaves out
another may add. One thread.
"""

import argparse
import itertools
import json
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from surrogates import Row, table

import lemode
from lemode.analysis import spectrum_of_closed_loop, spectrum_of_map
from lemode.baselines import LSTM, SINDy
from lemode.baselines.reservoir import EchoStateNetwork
from lemode.metrics import energy_ratio, valid_prediction_time
from lemode.systems import KuramotoSivashinsky, Lorenz96, Lorenz96TwoScale

WARM = 50  # samples


class Model(NamedTuple):
    """How a model is made from a seed, and what it sees: every so many samples, of the first so many series."""

    make: Callable[[int], Any]
    every: int = 1
    series: int | None = None


def vpts(model: Any, series: np.ndarray, step: float, rate: float, scale: float, every: int = 1) -> np.ndarray:
    """VPT of every series ``(n, T, D)``, in Lyapunov times, for a model that sees every so many samples."""
    series, warm = series[:, ::every], WARM // every
    free = model.forecast(series[:, :warm], series.shape[1] - warm)
    return valid_prediction_time(free, series[:, warm:], every * step, 0.5, 1 / rate, scale=scale)


def judge(
    model: Any, starts: np.ndarray, step: float, rate: float, scale: float, climate: int, every: int = 1, conserved: bool = True
) -> Row:
    """One-step error, VPT, and of a free run of `climate` samples its power and how far a conserved mean moves."""
    times = vpts(model, starts, step, rate, scale, every)
    starts, warm = starts[:, ::every], WARM // every
    error = model.predict(starts)[:, warm:-1] - starts[:, warm + 1 :]
    row = {
        "one-step error / std": float(np.sqrt((error**2).mean())) / scale,
        "VPT mean": float(times.mean()), "VPT median": float(np.median(times)), "VPT worst": float(times.min()), "_times": times.tolist(),
    }  # fmt: skip
    long = model.forecast(starts[:4, :warm], climate // every)
    row["power, free run"] = energy_ratio(long, starts) if np.isfinite(long).all() else float("inf")
    if conserved:
        row["mean moves by"] = float(np.abs(long.mean(-1) - starts[:4, warm - 1 : warm].mean(-1)).max())
    return row


def tuned_esn(
    options: argparse.Namespace,
    training: np.ndarray,
    validation: np.ndarray,
    step: float,
    rate: float,
    scale: float,
    skips: tuple[int, ...] = (1, 2),
) -> dict[str, Model]:
    """Reservoirs with the best of a small grid, by the mean VPT of one of 1,000 units on validation data."""
    best: dict[str, Any] = {}
    score = -1.0
    for every, scaling, ridge in itertools.product(skips, (0.02, 0.05, 0.1), (1e-4, 1e-2, 1.0)):
        setting: dict[str, Any] = {"input_scaling": scaling, "spectral_radius": 0.1, "ridge": ridge, "noise": 3e-4}
        model = EchoStateNetwork(units=1000, **setting).fit(training[:8, ::every])
        mean = float(vpts(model, validation, step, rate, scale, every).mean())
        if mean > score:
            best, score = {"every": every, **setting}, mean
    every = best.pop("every")
    text = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in best.items())

    def reservoir(units: int) -> Model:
        return Model(lambda seed: EchoStateNetwork(units=units, seed=seed, **best), every)

    return {f"echo state network ({units}; step {every * step:g}, {text})": reservoir(units) for units in options.units}


def run(
    task: str,
    title: str,
    models: dict[str, Model],
    training: Any,
    validation: Any,
    judge_one: Callable[[Any, int], Row],
    options: argparse.Namespace,
) -> None:
    """Fit every model for every seed and judge it; print the table, with what an earlier call left in the folder."""
    file = options.out / f"{task}.json"
    for name, (make, every, series) in models.items():
        if not re.search(options.only, name):
            continue
        rows: list[Row] = []
        for seed in range(options.seeds if "seed" in make(0).get_params() else 1):
            start, cpu = time.monotonic(), time.process_time()
            seen = training[:series] if every == 1 else training.x[:series, ::every]
            model = make(seed).fit(seen, validation=validation)
            seconds = {"seconds": time.monotonic() - start, "of one core": time.process_time() - cpu}
            rows.append({**judge_one(model, every), **seconds})
            if isinstance(model, lemode.FieldSurrogate):
                model.save(options.out / f"{task}_{seed}{model.train.removeprefix('all')}.lem")
            shown = {key: value for key, value in rows[-1].items() if key[0] != "_"}
            print(f"<!-- {name}, seed {seed}: {shown} -->", flush=True)
            kept(file, {name: rows})
    everything = kept(file, {})
    table(title, everything)
    draw(title, everything, options.out / f"{task}.svg")


def kept(file: Path, rows: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """What the file holds after these rows were added; another call may have written in the meantime."""
    everything: dict[str, list[Row]] = (json.loads(file.read_text()) if file.exists() else {}) | rows
    file.write_text(json.dumps(everything, indent=1))
    return everything


def draw(title: str, rows: dict[str, list[Row]], file: Path) -> None:
    """The share of the forecasts, over starts and seeds, that still hold after a time."""
    plt.rcParams["svg.hashsalt"] = title  # the same file for the same results
    fig, ax = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
    colors = ("#000000", "#E69F00", "#0072B2", "#009E73", "#D55E00", "#CC79A7")
    for (name, results), color in zip(rows.items(), colors, strict=False):
        times = np.sort(np.concatenate([row["_times"] for row in results]))
        label = re.sub(r"\*|;.*(?=\))", "", name)
        ax.step(times, 1 - np.arange(1, len(times) + 1) / len(times), where="post", label=label, color=color)
    ax.set(xlabel="time" if "slow" in title else "Lyapunov times", ylabel="share that still hold", xlim=(0, None), ylim=(0, 1))
    ax.set_title(title, fontsize="medium")
    ax.legend(fontsize="small")
    fig.savefig(file, metadata={"Date": None})
    plt.close(fig)


def recurrent(options: argparse.Namespace, **settings: Any) -> dict[str, Model]:
    """LEM on the grid by the recipe for fields; a LEM and an LSTM that see the whole field, with noise in the last part of the time."""
    common = {"budget": options.seconds, "dtype": "float32", "verbose": 0}
    # Adam: EigenAdam's steps take longer for so many parameters, and in 75 s the error was no smaller
    dense = {
        "hidden_size": 256, "window": 100, "batch_size": 16, "stages": ("one-step", "noise"), "optimizer": "adam", "lr": 2e-3, **common
    }  # fmt: skip
    return {
        "**ConvLEM**": Model(lambda seed: lemode.FieldSurrogate(seed=seed, **common, **settings)),
        "dense LEM(256)": Model(lambda seed: lemode.Surrogate(seed=seed, train="all", **dense)),
        "torch.nn.LSTM(256)": Model(lambda seed: LSTM(seed=seed, **dense)),
    }


def solved(units: int, **settings: Any) -> dict[str, Model]:
    """Random LEMs on the grid whose head is solved for."""
    common = {"hidden_size": units, "train": "readout", "verbose": 0, **settings}
    return {f"**LEM({units}), readout**": Model(lambda seed: lemode.FieldSurrogate(seed=seed, **common))}


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
    physics = {"conserve": "mean", "symmetry": "odd"}
    models = recurrent(options, **physics, hidden_size=64) | solved(100, **physics) | solved(200, **physics)
    if re.search(options.only, "echo"):
        models |= tuned_esn(options, training.x, choose, step, rate, scale)
    run(
        "ks", "Kuramoto-Sivashinsky, L = 22, step 0.5, 96 starts", models, training, validation,
        lambda m, every: judge(m, starts, step, rate, scale, climate, every), options,
    )  # fmt: skip
    if not re.search(options.only, "**ConvLEM**"):
        return
    ks_spectrum(lemode.FieldSurrogate.load(options.out / "ks_0.lem"), starts[0])


def transfer(options: argparse.Namespace) -> None:
    """Trained at L = 22, run at L = 60, whose states were not all trained on: with noise on every series."""
    step = 0.5
    data = KuramotoSivashinsky(L=22.0, N=66, step=0.05).trajectories(48, step * np.arange(2001), seed=1)
    physics = {"conserve": "mean", "symmetry": "odd"}
    makers = recurrent(options, **physics, noisy=1.0) | solved(100, **physics) | solved(200, **physics)
    system = KuramotoSivashinsky(L=60.0, N=180, step=0.05)
    flow = system.flow_map(1.0)
    x0 = system.sample_initial(8, np.random.default_rng(5))
    rate = float(spectrum_of_map(flow, x0, 300, jacobian=flow.jacobian, dt=1.0, transient=50, k=1).exponents[0])
    starts = system.trajectories(96, step * np.arange(WARM + int(8 / rate / step)), seed=6).x
    scale, climate = float(starts.std()), int(200 / rate / step)
    rows: dict[str, list[Row]] = {}
    for name in ("**ConvLEM**", "**LEM(100), readout**", "**LEM(200), readout**"):
        for seed in range(options.seeds) if re.search(options.only, name) else ():
            model = makers[name].make(seed).fit(data[:44], validation=data[44:])
            model.save(options.out / f"transfer_{seed}_{model.train}_{model.hidden_size}.lem")
            rows.setdefault(name, []).append(judge(model.on_grid(180), starts, step, rate, scale, climate))
            print(f"<!-- {name}, seed {seed}: VPT {rows[name][-1]['VPT mean']:.2f} -->", flush=True)
    table(f"Kuramoto-Sivashinsky, L = 60, by models trained at L = 22; largest exponent {rate:.4f}", rows)


def ablation(options: argparse.Namespace) -> None:
    """Each ingredient of the recipe for fields off, one at a time, on Kuramoto-Sivashinsky; judged by starts of its own."""
    step, rate, system = 0.5, 0.0482, KuramotoSivashinsky(L=22.0, N=66, step=0.05)
    t = step * np.arange(2001)
    data = system.trajectories(48, t, seed=1)
    training, validation = data[:44], data[44:]
    starts = system.trajectories(192, t[: WARM + int(10 / rate / step)], seed=7).x
    scale, climate = float(training.x.std()), int(200 / rate / step)
    recipe = {"conserve": "mean", "symmetry": "odd"}
    variants: dict[str, dict[str, Any]] = {
        "the recipe": {},
        "the mean not conserved": {"conserve": None},
        "without mirror images": {"symmetry": None},
        "without averaged weights": {"average": 0.0},
        "without noise": {"input_noise": 0.0},
        "noise small from the beginning": {"input_noise": 0.003},
        "noise on every series": {"noisy": 1.0},
        "9 points of reach instead of 17": {"kernel_size": 9},
        "Adam instead of EigenAdam": {"optimizer": "adam"},
        "64 units instead of 32": {"hidden_size": 64},
    }
    rows: dict[str, list[Row]] = {}
    for name, change in variants.items():
        if not re.search(options.only, name):
            continue
        for seed in range(options.seeds):
            model = recurrent(options, **{**recipe, **change})["**ConvLEM**"].make(seed).fit(training, validation=validation)
            row = judge(model, starts, step, rate, scale, climate)
            rows.setdefault(name, []).append({**row, "steps": len(model.history_.loss)})
            print(f"<!-- {name}, seed {seed}: VPT {row['VPT mean']:.2f} -->", flush=True)
    table(f"Ablation on Kuramoto-Sivashinsky, L = 22, {options.seconds:g} s of training, 192 starts", rows)


def ks_spectrum(model: Any, history: np.ndarray) -> None:
    """The first six exponents of the equation, over 64,000 time units, and of the surrogate, over 10,000."""
    system = KuramotoSivashinsky(L=22.0, N=32, step=0.25)
    flow = system.flow_map(1.0)
    x0 = system.sample_initial(64, np.random.default_rng(4))
    true = spectrum_of_map(flow, x0, 1000, jacobian=flow.jacobian, dt=1.0, transient=100, k=6)
    ours = spectrum_of_closed_loop(model, history, 20_000, transient=400, k=6)
    print("\n# Lyapunov exponents of Kuramoto-Sivashinsky, L = 22, per time unit\n")
    print("| | " + " | ".join(f"lambda_{i + 1}" for i in range(6)) + " |\n|---" + "|---" * 6 + "|")
    for label, s in (("the equation", true), ("ConvLEM, free running", ours)):
        print(f"| {label} | " + " | ".join(f"{v:.4f} +- {e:.4f}" for v, e in zip(s.exponents, s.standard_error)) + " |")


def lorenz96(options: argparse.Namespace) -> None:
    step, rate = 0.05, 1.69
    system = Lorenz96()
    data = system.trajectories(48, step * np.arange(2001), seed=1)
    training, validation = data[:44], data[44:]
    scale = float(training.x.std())
    horizon = step * np.arange(WARM + int(12 / rate / step))
    choose, starts = (system.trajectories(n, horizon, seed=s).x for n, s in ((32, 2), (96, 3)))
    models = recurrent(options, kernel_size=9)
    models["SINDy(2), on one of the 44 series"] = Model(lambda seed: SINDy(degree=2), series=1)
    if re.search(options.only, "echo"):
        models |= tuned_esn(options, training.x, choose, step, rate, scale)
    run(
        "lorenz96", "Lorenz96, 40 sites, F = 8, step 0.05, 96 starts", models, training, validation,
        lambda m, every: judge(m, starts, step, rate, scale, int(200 / rate / step), every, conserved=False), options,
    )  # fmt: skip


class Resolved:
    """The equations of X by RK4 of step 0.005, with something in the place of the fast variables."""

    def __init__(self, F: float, subgrid: Callable[[np.ndarray], Any]) -> None:
        self.F, self.subgrid = F, subgrid

    def get_params(self) -> Row:
        return {}

    def fit(self, training: Any, validation: Any) -> Any:
        return self

    def rhs(self, x: np.ndarray) -> np.ndarray:
        return np.roll(x, 1, -1) * (np.roll(x, -1, -1) - np.roll(x, 2, -1)) - x + self.F + self.subgrid(x)

    def forecast(self, x: np.ndarray, steps: int) -> np.ndarray:
        x, out, h = x[:, -1], [], 0.005
        for _ in range(steps):
            for _ in range(10):
                a = self.rhs(x)
                b = self.rhs(x + h / 2 * a)
                c = self.rhs(x + h / 2 * b)
                x = x + h / 6 * (a + 2 * b + 2 * c + self.rhs(x + h * c))
            out.append(x)
        return np.stack(out, 1)


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

    def figures(free: np.ndarray) -> Row:
        error = np.sqrt((((free - truth[:, WARM:]) / scale) ** 2).mean((0, 2)))
        times = valid_prediction_time(free, truth[:, WARM:], step, 0.5, 1.0, scale=scale)
        return {
            "error at t = 1": error[19],
            "error at t = 2": error[39],
            "valid until t, mean": times.mean(),
            "median": float(np.median(times)),
            "_times": times.tolist(),
        }

    models = {
        "equations of X, subgrid term as it was at the start": Model(
            lambda seed: Resolved(system.F, lambda x: subgrid[:, WARM - 1])
        ),
        "equations of X, subgrid term a cubic of X": Model(lambda seed: Resolved(system.F, cubic)),
        **{f"{name}, X alone": model for name, model in recurrent(options, kernel_size=5, window=40, washout=30).items()},
        "SINDy(3), X alone": Model(lambda seed: SINDy(degree=3)),
    }
    if re.search(options.only, "echo"):
        choose = system.trajectories(32, step * np.arange(WARM + 100), seed=2).x[..., :K]
        reservoirs = tuned_esn(options, X.x[:28], choose, step, 1.0, scale, skips=(1,))
        models |= {f"{name}, X alone": model for name, model in reservoirs.items()}
    run(
        "closure", "Two-scale Lorenz96, the slow variables alone, step 0.05, 96 starts", models, X[:28], X[28:],
        lambda m, every: figures(m.forecast(truth[:, :WARM], truth.shape[1] - WARM)), options,
    )  # fmt: skip


if __name__ == "__main__":
    tasks = {"ks": ks, "lorenz96": lorenz96, "closure": closure, "transfer": transfer, "ablation": ablation}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", choices=tasks)
    parser.add_argument("--seconds", type=float, default=600.0, help="training time of every model that trains by gradients")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--units", type=int, nargs="+", default=[3000, 6500], help="of the echo state networks")
    parser.add_argument(
        "--only", default="", help="models whose name matches this regular expression; 'echo' for the reservoirs"
    )
    parser.add_argument("--out", type=Path, default=Path("out/chaos"), help="where models and figures are kept")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    print(
        f"lemode {lemode.__version__}, torch {torch.__version__}, {platform.machine()}, 1 thread; {chosen.seconds:g} s, {chosen.seeds} "
        "seeds: median [range]"
    )
    for task in chosen.tasks:
        tasks[task](chosen)
