"""What the bands and the stated horizons of ensembles are worth on new data; Markdown on standard output.

    python benchmarks/uncertainty.py fhn lorenz nino ks --seeds 3

Tasks: ``fhn`` (FitzHugh-Nagumo, both variables with noise of 5 % of a standard deviation), ``lorenz`` (Lorenz63), ``nino`` (El Nino 1+2,
monthly, as statsmodels ships it: fitted until 1989, calibrated on the nineties, judged on 2000 to 2010), ``ks`` (Kuramoto-Sivashinsky,
L = 22). Members are readouts. Fits, calibration and judging have series of their own; settings were chosen on those of other seeds. Every
result is kept in a folder as soon as it is there: a call goes on where another stopped, and without tasks prints what there is. One thread.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

import lemode

# of the seeds here no setting has seen anything
FIRST_SEED = 7000


class Task(NamedTuple):
    """An ensemble that was fitted, new series for it, and what a Lyapunov time is in samples, if it is chaotic."""

    title: str
    ensemble: lemode.Ensemble
    test: Any
    begin: int = 0
    rates: tuple[float | None, ...] = (None,)
    lyapunov: float | None = None


def fhn(seed: int) -> Task:
    def noisy(n: int, samples: int, seed: int) -> np.ndarray:
        x = lemode.systems.FitzHughNagumo().trajectories(n, 1.0 * np.arange(samples), seed=seed).x
        return x + 0.05 * x.std((0, 1)) * np.random.default_rng(seed).standard_normal(x.shape)

    members = {"hidden_size": 50, "train": "readout", "delays": 2, "washout": 100, "verbose": 0}
    ensemble = lemode.Ensemble(4, members, horizon=150, seed=seed)
    ensemble.fit(noisy(40, 401, seed), calibration=noisy(1000, 250, seed + 1))
    return Task("FitzHugh-Nagumo, noise of 5 %, 150 leads", ensemble, noisy(1000, 250, seed + 2))


def lorenz(seed: int) -> Task:
    system, step = lemode.systems.Lorenz63(), 0.05
    members = {"hidden_size": 50, "train": "readout", "delays": 0, "verbose": 0}
    ensemble = lemode.Ensemble(8, members, horizon=300, seed=seed)
    training = system.trajectories(20, step * np.arange(1001), seed=seed)
    calibration, test = (system.trajectories(1000, step * np.arange(350), seed=seed + k) for k in (1, 2))
    return Task("Lorenz63, 300 leads", ensemble.fit(training, calibration=calibration), test, lyapunov=1 / (0.9056 * step))


def nino(seed: int) -> Task:
    import statsmodels.api as sm

    sst = sm.datasets.elnino.load_pandas().data.iloc[:, 1:].to_numpy(dtype=float).ravel()
    members = {"hidden_size": 50, "train": "readout", "season": 12, "washout": 24, "verbose": 0}
    ensemble = lemode.Ensemble(3, members, horizon=12, seed=seed).fit(sst[:600])
    return Task("El Nino 1+2, 12 leads", ensemble, sst, 600, (None, 0.01))


def ks(seed: int) -> Task:
    step = 0.5
    system = lemode.systems.KuramotoSivashinsky(L=22.0, N=66, step=0.1)
    pattern = lemode.FieldSurrogate(hidden_size=100, train="readout", conserve="mean", symmetry="odd", verbose=0)
    ensemble = lemode.Ensemble(6, pattern, horizon=330, seed=seed)
    training = system.trajectories(24, step * np.arange(1001), seed=seed)
    calibration, test = (system.trajectories(200, step * np.arange(380), seed=seed + k) for k in (1, 2))
    ensemble.fit(training, calibration=calibration)
    return Task("Kuramoto-Sivashinsky, L = 22, 330 leads", ensemble, test, lyapunov=1 / (0.0482 * step))


TASKS: dict[str, Callable[[int], Task]] = {"fhn": fhn, "lorenz": lorenz, "nino": nino, "ks": ks}


def judged(task: Task) -> list[dict[str, Any]]:
    """A row for bands as they were calibrated, and for each rate at which they adapt."""
    rows = []
    for rate in task.rates:
        found = task.ensemble.reliability(task.test, task.begin, rate)
        by_lead = found.coverage.mean(-1)  # over variables
        rows.append(
            {
                "title": task.title + ("" if rate is None else f", bands that adapt at a rate of {rate:g}"),
                "windows": found.windows, "coverage": by_lead.tolist(), "each": found.coverage[1].tolist(),
                "width": [float(w[np.isfinite(w)].mean()) for w in found.width],
                "stated": found.stated.tolist(), "valid": found.valid.tolist(), "lyapunov": task.lyapunov,
                "hit rate": found.hit_rate, "rank correlation": found.rank_correlation,
                "own": None if task.ensemble.reliability_ is None else task.ensemble.reliability_.hit_rate,
            }
        )  # fmt: skip
    return rows


def spread(values: list[float], digits: str = ".3f") -> str:
    """The median over seeds, with the range."""
    if len(values) == 1:
        return f"{values[0]:{digits}}"
    return f"{np.median(values):{digits}} [{min(values):{digits}}, {max(values):{digits}}]"


def table(results: dict[str, list[dict[str, Any]]]) -> None:
    """Both tables, over all seeds that there are."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for name in sorted(results, key=lambda key: [list(TASKS).index(key.split()[0]), key]):
        for row in results[name]:
            groups.setdefault(row["title"], []).append(row)
    print(
        "| bands | windows | seeds | in 50 % | in 90 % | in 90 %, least and most covered lead | the same, means of seeds | "
        "the same, of single variables |"
    )
    print("|---" * 8 + "|")
    for title, rows in groups.items():
        coverage = np.array([row["coverage"] for row in rows])
        each = np.array([row["each"] for row in rows])
        cells = [
            title, str(rows[0]["windows"]), str(len(rows)), spread(coverage[:, 0].mean(-1).tolist()),
            spread(coverage[:, 1].mean(-1).tolist()), f"{coverage[:, 1].min():.3f} to {coverage[:, 1].max():.3f}",
            f"{coverage[:, 1].mean(0).min():.3f} to {coverage[:, 1].mean(0).max():.3f}", f"{each.min():.3f} to {each.max():.3f}",
        ]  # fmt: skip
        print("| " + " | ".join(cells) + " |")
    print("\n| stated horizons, of 90 % | not overrun | rank correlation | stated, mean | valid, mean | unit |")
    print("|---" * 6 + "|")
    for title, rows in groups.items():
        if "adapt" in title:  # the horizons are the same
            continue
        unit = rows[0]["lyapunov"]
        stated, valid = ([float(np.mean(row[key])) / (unit or 1.0) for row in rows] for key in ("stated", "valid"))
        cells = [
            title, spread([row["hit rate"] for row in rows]), spread([row["rank correlation"] for row in rows], ".2f"),
            spread(stated, ".2f"), spread(valid, ".2f"), "samples" if unit is None else "Lyapunov times",
        ]  # fmt: skip
        print("| " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="task", help=", ".join(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/uncertainty"), help="folder of the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for task in options.tasks:
        for k in range(options.seeds):
            file = options.out / f"{task}_{k}.json"
            if file.exists():
                continue
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", lemode.FitWarning)  # of members that are worth little: the table says it
                rows = judged(TASKS[task](FIRST_SEED + 10 * k))
            file.write_text(json.dumps(rows))
            print(f"<!-- {task}, seed {k}: {time.process_time() - start:.0f} s of one core -->", flush=True)
    table({file.stem.replace("_", " "): json.loads(file.read_text()) for file in options.out.glob("*.json")})


if __name__ == "__main__":
    main()
