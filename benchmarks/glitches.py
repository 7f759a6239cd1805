"""Free runs after a glitch in the last sample of their history, with bounds and without; Markdown.

    python benchmarks/glitches.py --seeds 3

FitzHugh-Nagumo, 32 series of 400 samples, v alone. Of 300 histories of 260 samples the last sample is moved by so many standard deviations,
up or down, and 800 samples are forecast; a run has come back if its last 300 have the amplitude of those without a glitch, within 5 %. It
has escaped if it is beyond ten times the data. The network is the same in all columns: bounds play no part in a fit. Other settings are the
library's defaults. One thread.
"""

import argparse
import copy
import warnings

import numpy as np
import torch

import lemode
from lemode.systems import FitzHughNagumo

FACTORS = {"contain=1.2 (default)": 1.2, "contain=1.5": 1.5, "contain=None": None}
MODELS = {
    "readout, 200 units": {"train": "readout", "hidden_size": 200},
    "trained, 16 units, 5,000 steps": {"train": "all", "steps": 5000},
}


def amplitude(runs: np.ndarray) -> np.ndarray:
    """Of the last 300 samples of each run."""
    return np.ptp(runs[:, -300:, 0], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    system = FitzHughNagumo()
    data = system.trajectories(32, 0.4 * np.arange(400), seed=1).select(["v"])
    histories = system.trajectories(300, 0.4 * np.arange(260), seed=9).select(["v"]).x
    print("Share of 300 free runs that come back after a glitch in the last sample; in brackets, that escape.\n")
    print(f"| model | seed | glitch, std | {' | '.join(FACTORS)} |")
    print(f"|---|---|---|{'---|' * len(FACTORS)}")
    for title, settings in MODELS.items():
        for seed in range(args.seeds):
            model, models = lemode.Surrogate(**settings, seed=seed, verbose=0).fit(data), {}
            for name, factor in FACTORS.items():
                models[name] = bounded(model, factor, data)
            usual = np.median(amplitude(models["contain=None"].forecast(histories, 800)))
            for size in (0.5, 2, 10, 100):
                moved = histories.copy()
                moved[:, -1, 0] += np.random.default_rng(0).choice([-1, 1], 300) * size * data.x.std()
                cells = []
                for model in models.values():
                    runs = model.forecast(moved, 800)
                    back = np.mean(np.abs(amplitude(runs) / usual - 1) < 0.05)
                    gone = np.mean(~(np.abs(runs).max((1, 2)) < 10 * np.abs(data.x).max()))
                    cells.append(f"{100 * back:.0f} % ({100 * gone:.0f} %)")
                print(f"| {title} | {seed} | {size} | {' | '.join(cells)} |", flush=True)


def bounded(model: lemode.Surrogate, factor: float | None, data: lemode.Trajectories) -> lemode.Surrogate:
    """The same model, with other bounds."""
    other = copy.deepcopy(model)
    net = other.network_
    for end, value, sign in ((net.lower, data.x.min(), -1), (net.upper, data.x.max(), 1)):
        middle = (data.x.min() + data.x.max()) / 2
        bound = sign * np.inf if factor is None else middle + factor * (value - middle)
        end.copy_((torch.as_tensor(bound) - net.mean) / net.std)
    return other


if __name__ == "__main__":
    main()
