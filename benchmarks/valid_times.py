"""How long the readout's forecast lasts, and how long that of a trained LEM, with noise or without; Markdown on standard output.

    python benchmarks/valid_times.py "van der Pol, mu=10" Roessler Lorenz96 Mackey-Glass "double pendulum" --seeds 3
    python benchmarks/valid_times.py Lorenz63 FitzHugh-Nagumo --noise 0.01 0.05 --seeds 3 --steps 9000

64 training and 16 validation series of 1,000 samples of the whole state, of FitzHugh-Nagumo v alone; of observation noise so many standard
deviations, on them and on what a forecast is given, which is judged by the truth. A forecast lasts until its normalised error exceeds 0.4:
the median over 48 starts that no setting was chosen on, in time units, with the least of them; at most `--ahead` samples. Its error is the
root mean square over the first 200 samples, in standard deviations; its extent the largest value of all free runs over that of the data.
Each is the median over seeds with its range. With noise there is train="auto", too, the default, which keeps what is better on the
validation series. The trained LEM has the seconds, on one core, or so many gradient steps, and 16 units; of Lorenz96 and Kuramoto-
Sivashinsky both are fields, with 32 and 64. A finished row is kept in the log, and not run again. One thread.
"""

import argparse
import itertools
import json
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from one_series import pendulum_from

import lemode
from lemode.metrics import valid_prediction_time
from lemode.systems import FitzHughNagumo, KuramotoSivashinsky, Lorenz63, Lorenz96, MackeyGlass, Roessler, VanDerPol

T, WARM, STARTS, LEVEL, NEAR = 1000, 200, 48, 0.4, 200
PHYSICS = {"conserve": "mean", "symmetry": "odd"}


class Setting(NamedTuple):
    """A system's series ``(n, T, D)`` from a seed, its interval, and the two models."""

    series: Callable[[int, int, int], np.ndarray]
    interval: float
    readout: Mapping[str, Any] = MappingProxyType({"hidden_size": 500})
    trained: Mapping[str, Any] = MappingProxyType({"hidden_size": 16})
    field: bool = False


def of(system: Any, interval: float) -> Callable[[int, int, int], np.ndarray]:
    """Trajectories after a transient of 500 samples."""
    return lambda n, T, seed: system.trajectories(n, interval * np.arange(T + 500), seed=seed).x[:, 500:]


def v_alone(n: int, T: int, seed: int) -> np.ndarray:
    """Of FitzHugh-Nagumo, from the published starts on."""
    return FitzHughNagumo().trajectories(n, 0.4 * np.arange(T), seed=seed).x[..., :1]


def pendula(n: int, T: int, seed: int) -> np.ndarray:
    """From rest, with both angles between 1 and 2: some of these turn over, and are chaotic."""
    return np.stack([pendulum_from(tuple(angles), T) for angles in np.random.default_rng(seed).uniform(1, 2, (n, 2))])


SETTINGS = {
    "Roessler": Setting(of(Roessler(), 0.2), 0.2),
    "van der Pol, mu=10": Setting(of(VanDerPol(mu=10.0), 0.05), 0.05),
    "Lorenz96, 40 sites": Setting(
        of(Lorenz96(), 0.05), 0.05, {"hidden_size": 200, "kernel_size": 5}, {"hidden_size": 32, "kernel_size": 9}, field=True
    ),
    "Mackey-Glass": Setting(of(MackeyGlass(), 1.0), 1.0),
    "double pendulum": Setting(pendula, 0.05),
    "Lorenz63": Setting(of(Lorenz63(), 0.05), 0.05),
    "FitzHugh-Nagumo, v alone": Setting(v_alone, 0.4),
    "Kuramoto-Sivashinsky, L = 22": Setting(
        of(KuramotoSivashinsky(L=22.0, N=66, step=0.05), 0.5), 0.5,
        {"hidden_size": 100, **PHYSICS}, {"hidden_size": 64, **PHYSICS}, field=True,
    ),
}  # fmt: skip


def judge(model: Any, seen: np.ndarray, truth: np.ndarray, interval: float, data: np.ndarray, scale: Any) -> list[float]:
    """Median and least of the valid times, the share that lasts to the end, the error at first, and the extent."""
    free = np.asarray(model.forecast(seen, truth.shape[1]))
    times = valid_prediction_time(free, truth, interval, LEVEL, 1.0, scale=scale)
    error = np.sqrt((((free - truth) / scale)[:, :NEAR] ** 2).mean())
    extent = np.abs(free).max() / np.abs(data).max()
    share = (times >= interval * truth.shape[1]).mean()
    return [float(v) for v in (np.median(times), times.min(), share, error, extent)]


def cell(done: Mapping[tuple, list[float]], key: tuple, column: int) -> str:
    """Median over the seeds, and range."""
    values = [row[column] for other, row in done.items() if other[:-1] == key]
    return f"{np.median(values):.3g} [{min(values):.3g}, {max(values):.3g}]" if values else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="+", help="their names, or beginnings of them")
    parser.add_argument("--noise", nargs="+", type=float, default=[0.0], help="standard deviations")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the trained LEM")
    parser.add_argument("--steps", type=int, help="of the trained LEM, instead of the seconds")
    parser.add_argument("--ahead", type=int, default=2000, help="samples of a forecast")
    parser.add_argument("--log", type=Path, default=Path("build/valid_times.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.log.parent.mkdir(parents=True, exist_ok=True)
    done: dict[tuple, list[float]] = {}
    if options.log.exists():
        done = {tuple(key): row for key, row in map(json.loads, options.log.read_text().splitlines())}
    chosen = [name for name in SETTINGS if name.startswith(tuple(options.systems))]
    for name, noise in itertools.product(chosen, options.noise):
        how, random = SETTINGS[name], np.random.default_rng(13)
        data, truth = how.series(80, T, 11), how.series(STARTS, WARM + options.ahead, 12)
        scale = data.std() if how.field else data.std((0, 1))
        given, seen = (x + noise * scale * random.standard_normal(x.shape) for x in (data, truth[:, :WARM]))
        for (train, settings), seed in itertools.product(
            (("readout", how.readout), ("all", how.trained), *([("auto", how.trained)] if noise else [])), range(options.seeds)
        ):
            if (name, noise, train, seed) in done:
                continue
            make = lemode.FieldSurrogate if how.field else lemode.Surrogate
            budget = {} if train == "readout" else {"steps": options.steps} if options.steps else {"budget": options.seconds}
            begin = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the table says what it is worth
                model = make(seed=seed, train=train, verbose=0, **settings, **budget).fit(given[:64], validation=given[64:])
                cpu = time.process_time() - begin
                row = [*judge(model, seen, truth[:, WARM:], how.interval, data, scale), cpu]
            done[name, noise, train, seed] = row
            with options.log.open("a") as file:
                file.write(json.dumps([[name, noise, train, seed], row]) + "\n")
            print(f"<!-- {name}, noise {noise:g}, {train}, seed {seed}: {row} -->", flush=True)

    spent = f"{options.steps:,} steps" if options.steps else f"{options.seconds:g} s"
    print(
        f"lemode {lemode.__version__}, torch {torch.__version__}, one thread; trained for {spent}; at most "
        f"{options.ahead:,} samples\n"
    )
    heads = ["lasts", "least", "to the end", "error", "extent", "s of a core"]
    print(
        "| system | noise | fitted | " + " | ".join(heads) + " | lasts, over trained |\n|---" + "|---" * (len(heads) + 3) + "|"
    )
    for name, noise in itertools.product(chosen, options.noise):
        both = {
            train: [row[0] for key, row in done.items() if key[:-1] == (name, noise, train)]
            for train in ("readout", "auto", "all")
        }
        for train, label in (("readout", "readout"), ("auto", "either, by validation"), ("all", "trained")):
            if not both[train]:
                continue
            ratio = f"{np.median(both[train]) / np.median(both['all']):.2g}" if train != "all" and both["all"] else ""
            cells = [cell(done, (name, noise, train), c) for c in range(len(heads))]
            print(f"| {name} | {noise:g} | {label} | {' | '.join(cells)} | {ratio} |")


if __name__ == "__main__":
    main()
