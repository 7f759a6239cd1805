"""EigenAdam on single short series, many seeds: does the loss ever jump, and how long is the longest step? Markdown on standard output.

    python benchmarks/eigenadam.py --seeds 200 > benchmarks/eigenadam.md

Its first basis comes after 20 gradients, fewer than there are weights: along most directions there has been none. A jump is a loss that is
more than twice the one before it. The series are short enough for one training window, so that consecutive losses are of the same data.
"""

import argparse
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import statsmodels.api as sm
import torch

import lemode
from lemode.surrogate import FitDivergedError, FitWarning
from lemode.surrogate.optimizers import EigenAdam

# name: values and hidden units
SERIES = {
    "sine, 4 units": (np.sin(0.2 * np.arange(300)), 4),
    "Nile, 4 units": (sm.datasets.nile.load_pandas().data["volume"].to_numpy(float), 4),
    "sunspots, 2 units": (sm.datasets.sunspots.load_pandas().data["SUNACTIVITY"].to_numpy(float), 2),
}
JUMP = 2.0


@contextmanager
def steps_watched(longest: list[float]) -> Iterator[None]:
    """Appends the longest step of every update, in units of the learning rate, along a direction of the basis it was made in."""
    step = EigenAdam.step

    def watched(self: EigenAdam, closure: Any = None) -> Any:
        params = self.param_groups[0]["params"]
        before = [p.detach().clone() for p in params]
        basis = self.state[params[0]].get("Q0")
        result = step(self, closure)
        moved = torch.cat([(p.detach() - b).reshape(-1) for p, b in zip(params, before, strict=True)])
        moved = moved if basis is None else basis.T @ moved.to(basis.dtype)
        longest.append(float(moved.abs().max()) / self.param_groups[0]["lr"])
        return result

    with mock.patch.object(EigenAdam, "step", watched):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FitWarning)
    print(
        f"lemode {lemode.__version__}, torch {torch.__version__}, {platform.machine()}, 1 thread; {options.seeds} seeds of 100 steps\n"
    )
    print("| series | fits with a jump | diverged | largest ratio of losses | longest step / lr | median of the last loss |")
    print("|---|---|---|---|---|---|")
    for name, (values, units) in SERIES.items():
        ratios, longest, last, diverged = [], [0.0], [], 0
        for seed in range(options.seeds):
            with steps_watched(longest):
                try:
                    model = lemode.Surrogate(hidden_size=units, steps=100, seed=seed, verbose=0, train="all").fit(
                        values[:, None]
                    )
                except FitDivergedError:
                    diverged += 1
                    continue
            loss = np.array(model.history_.loss)
            ratios.append((loss[1:] / loss[:-1]).max())
            last.append(loss[-1])
        jumps = sum(r > JUMP for r in ratios) + diverged
        print(f"| {name} | {jumps} | {diverged} | {max(ratios):.4g} | {max(longest):.3g} | {np.median(last):.3g} |", flush=True)


if __name__ == "__main__":
    main()
