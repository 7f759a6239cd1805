"""Five systems without noise: how long the readout's forecast lasts, and how long that of a trained LEM; Markdown on standard output.

    python benchmarks/valid_times.py --seeds 3 --log build/valid_times.jsonl

64 training and 16 validation series of 1,000 samples of the whole state. A forecast lasts until its normalised error exceeds 0.4: the
median over 48 starts that no setting was chosen on, in time units, with the least of them, each the median over seeds with its range; at
most `--ahead` samples. The trained LEM has 16 units and the seconds, on one core; of Lorenz96 both are fields (5 and 9 points of reach).
A finished row is kept in the log, and not run again. One thread.
"""

import argparse
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
from lemode.systems import Lorenz96, MackeyGlass, Roessler, VanDerPol

T, WARM, STARTS, LEVEL = 1000, 200, 48, 0.4


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


def pendula(n: int, T: int, seed: int) -> np.ndarray:
    """From rest, with both angles between 1 and 2: some of these turn over, and are chaotic."""
    return np.stack([pendulum_from(tuple(angles), T) for angles in np.random.default_rng(seed).uniform(1, 2, (n, 2))])


SETTINGS = {
    "Roessler": Setting(of(Roessler(), 0.2), 0.2),
    "van der Pol, mu=10": Setting(of(VanDerPol(mu=10.0), 0.05), 0.05),
    "Lorenz96, 40 sites": Setting(
        of(Lorenz96(), 0.05), 0.05, {"hidden_size": 300, "kernel_size": 5}, {"hidden_size": 32, "kernel_size": 9}, field=True
    ),
    "Mackey-Glass": Setting(of(MackeyGlass(), 1.0), 1.0),
    "double pendulum": Setting(pendula, 0.05),
}


def valid(model: Any, starts: np.ndarray, interval: float, scale: np.ndarray) -> tuple[float, float, float]:
    """Median and least of the valid times, and the share that lasts to the end."""
    free, truth = np.asarray(model.forecast(starts[:, :WARM], starts.shape[1] - WARM)), starts[:, WARM:]
    times = valid_prediction_time(free, truth, interval, LEVEL, 1.0, scale=scale)
    return float(np.median(times)), float(times.min()), float((times >= interval * truth.shape[1]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the trained LEM")
    parser.add_argument("--ahead", type=int, default=2000, help="samples of a forecast")
    parser.add_argument("--only", default="", help="systems whose name contains this")
    parser.add_argument("--log", type=Path, default=Path("build/valid_times.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.log.parent.mkdir(parents=True, exist_ok=True)
    done = {}
    if options.log.exists():
        done = {tuple(key): row for key, row in map(json.loads, options.log.read_text().splitlines())}
    for name, how in SETTINGS.items():
        if options.only not in name:
            continue
        data, starts = how.series(80, T, 11), how.series(STARTS, WARM + options.ahead, 12)
        scale = data.std((0, 1)) if not how.field else data.std()
        for train, settings in (("readout", how.readout), ("all", how.trained)):
            for seed in range(options.seeds):
                if (name, train, seed) in done:
                    continue
                make = lemode.FieldSurrogate if how.field else lemode.Surrogate
                budget = {"budget": options.seconds} if train == "all" else {}
                begin = time.process_time()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the table says what it is worth
                    model = make(seed=seed, train=train, verbose=0, **settings, **budget).fit(data[:64], validation=data[64:])
                    cpu = time.process_time() - begin
                    row = [*valid(model, starts, how.interval, scale), cpu]
                done[name, train, seed] = row
                with options.log.open("a") as file:
                    file.write(json.dumps([[name, train, seed], row]) + "\n")
                print(f"<!-- {name}, {train}, seed {seed}: {row} -->", flush=True)

    def cell(name: str, train: str, column: int) -> str:
        values = [row[column] for key, row in done.items() if key[:2] == (name, train)]
        return f"{np.median(values):.3g} [{min(values):.3g}, {max(values):.3g}]" if values else ""

    print(f"lemode {lemode.__version__}, torch {torch.__version__}, one thread; at most {options.ahead:,} samples\n")
    print(
        "| system | interval | readout: lasts | least | to the end | s | trained, 16 units: lasts | least | s | ratio |\n|---"
        + "|---" * 9
        + "|"
    )
    for name, how in SETTINGS.items():
        pairs = [[row[0] for key, row in done.items() if key[:2] == (name, train)] for train in ("readout", "all")]
        if all(pairs):
            ratio = f"{np.median(pairs[0]) / np.median(pairs[1]):.2g}"
            cells = [*(cell(name, "readout", c) for c in range(4)), *(cell(name, "all", c) for c in (0, 1, 3))]
            print(f"| {name} | {how.interval:g} | {' | '.join(cells)} | {ratio} |")


if __name__ == "__main__":
    main()
