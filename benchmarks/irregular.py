"""What uneven samples and different lengths cost: FitzHugh-Nagumo, complete, with 30 % of the samples missing, and with half of them.

All fits have the same steps and settings, and are judged one step ahead on the same complete test series, without the first 50 samples,
for which the state is still being found.

    python benchmarks/irregular.py            # a few minutes on one core
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

import lemode
from lemode import Surrogate, Trajectories


def dropped(data: Trajectories, seed: int, share: float = 0.3, shortest: int | None = None) -> Trajectories:
    """Each sample but the first left out with probability `share`; with `shortest`, the lengths are uniform from there to the full one."""
    rng, series = np.random.default_rng(seed), []
    for x in data.x:
        keep = rng.random(len(data.t)) >= share
        keep[0] = True
        end = len(data.t) if shortest is None else rng.integers(shortest, len(data.t) + 1)
        series.append((data.t[:end][keep[:end]], x[:end][keep[:end]]))
    return Trajectories.ragged(series, data.names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    system, t = lemode.systems.FitzHughNagumo(), np.linspace(0, 400, 1001)
    data, test = system.trajectories(96, t, seed=0).select(["v"]), system.trajectories(64, t, seed=1).select(["v"])
    training, validation = data[:64], data[64:]
    sets = {
        "complete": (training, validation),
        "30 % left out": (dropped(training, 1), dropped(validation, 2)),
        # a tenth by the lengths, and 2 of 9 of what is left
        "30 % missing, 801 to 1,001 long": tuple(dropped(d, s, 2 / 9, 801) for d, s in ((training, 1), (validation, 2))),
        "47 % missing, 500 to 1,001 long": tuple(dropped(d, s, 0.3, 500) for d, s in ((training, 1), (validation, 2))),
    }
    print(
        f"| FitzHugh-Nagumo, v, {options.steps} steps | samples | RMSE one step ahead, {options.seeds} seeds | median | mean |"
    )
    print("|---|---|---|---|---|")
    for name, (part, held_out) in sets.items():
        errors = []
        for seed in range(options.seeds):
            model = Surrogate(dtype="float32", steps=options.steps, seed=seed, verbose=0, train="all").fit(
                part, validation=held_out
            )
            errors.append(model.rmse(test, washout=50))
        each = ", ".join(f"{e:.2e}" for e in errors)
        print(f"| {name} | {part.lengths.sum():,} | {each} | {np.median(errors):.2e} | {np.mean(errors):.2e} |", flush=True)


if __name__ == "__main__":
    main()
