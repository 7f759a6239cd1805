"""How far a proof gets on trained networks: tubes beside what is met, and certified horizons on held-out series; Markdown.

    python benchmarks/tubes.py --log build/tubes.jsonl > benchmarks/tubes.md

LEM of 16 units in single precision, as in the demo, 5,000 gradient steps. Tube: the norm of the product of 100 Jacobians for all states
within 1e-3 of the data's (statement 8.1) over the largest that was met from 20 starts in it, median over ten series. Horizons: for how many
of at most 300 steps the forecast is proved to stay within 5 % of a standard deviation in every variable (8.2), where the data are known,
and with the sizes of one-step errors only, the largest of the validation series; medians over the held-out series with the least and the
largest. The statement with sizes is conditional: it says nothing of a series with a larger error, so these are counted. A finished
system is kept in the log, and not run again. One thread.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import lemode
from lemode.analysis import certified_horizon, step_jacobian, tube_along
from lemode.surrogate.network import both_ends
from lemode.systems import FitzHughNagumo, ForcedFitzHughNagumo, Roessler, VanDerPol

HISTORY, STEPS, PRODUCT, RADIUS, STARTS = 300, 300, 100, 1e-3, 20


class Setting(NamedTuple):
    """A system, the interval of its samples, and what of it is seen."""

    system: Callable[[], lemode.systems.System]
    interval: float
    names: tuple[str, ...]
    inputs: tuple[str, ...] = ()


SETTINGS = {
    "FitzHugh-Nagumo, v alone": Setting(FitzHughNagumo, 0.4, ("v",)),
    "van der Pol, mu=5": Setting(lambda: VanDerPol(mu=5.0), 0.1, ("x", "y")),
    "Roessler": Setting(Roessler, 0.2, ("x", "y", "z")),
    "FitzHugh-Nagumo, driven": Setting(ForcedFitzHughNagumo, 0.4, ("v", "I"), ("I",)),
}


def tubes(model: lemode.Surrogate, series: np.ndarray, rng: np.random.Generator) -> float:
    """Tube over the largest product met, median over the series."""
    cell, net, ratios = model.network_.core.cells[0], model.network_, []
    D, size = len(model.names_), 2 * model.hidden_size
    for x in series:
        with torch.no_grad():
            whole = torch.tensor(x).to(net.mean)[:, None]
            e = both_ends(net.normalise_inputs(whole[..., D:])) if model.input_names_ else None
            u = net.core_input(net.normalise(whole[..., :D]), e)[:, 0]
            ((ys, zs),) = net.core.states(u[:, None])
            start, ahead = (ys[HISTORY - 1, 0], zs[HISTORY - 1, 0]), u[HISTORY : HISTORY + PRODUCT]
            bound, met = tube_along(cell, ahead, start, radius=RADIUS).product[-1], 0.0
            for _ in range(STARTS):
                y, z = (s + torch.from_numpy(0.999 * RADIUS * rng.choice([-1.0, 1.0], s.shape)).to(s) for s in start)
                product = torch.eye(size, dtype=torch.float64)
                for u_n in ahead:
                    product = step_jacobian(cell, (y, z), u_n).matrix().double() @ product
                    y, z = cell.scheme.step(cell.ode, (y, z), u_n, cell.dt)
                met = max(met, float(product.abs().sum(1).max()))
        ratios.append(bound / met)
    return float(np.median(ratios))


def row(setting: Setting, steps: int, count: int) -> dict[str, object]:
    """One system: a fit and its proofs."""
    t = setting.interval * np.arange(HISTORY + STEPS + 1)
    data = setting.system().trajectories(192 + count, t, seed=7).select(setting.names)
    training, validation, test = data[:128], data[128:192], data[192:]
    begin = time.process_time()
    model = lemode.Surrogate(hidden_size=16, inputs=setting.inputs, steps=steps, dtype="float32", train="all", verbose=0)
    model.fit(training, validation=validation)
    fit, D = time.process_time() - begin, len(model.names_)
    tolerance = 0.05 * training.x[..., :D].std((0, 1))

    def errors(x: np.ndarray) -> np.ndarray:
        return np.abs(model.predict(x)[:, HISTORY - 1 : -1] - x[:, HISTORY:, :D])

    largest, own = errors(validation.x).max((0, 1)), errors(test.x)
    signed, sized, left, condition, begin = [], [], 0, 0, time.process_time()
    for x, e in zip(test.x, own):
        found = certified_horizon(model, x, tolerance, history=HISTORY, steps=STEPS)  # raises where it does not hold
        signed.append(found.horizon)
        ahead = {"inputs": x[HISTORY : HISTORY + STEPS, D:]} if setting.inputs else {}
        future = certified_horizon(model, x[:HISTORY], tolerance, steps=STEPS, errors=largest, **ahead)
        sized.append(future.horizon)
        met = bool((e[:STEPS] <= largest).all())
        condition += met
        left += met and not bool((np.abs(future.forecast - x[HISTORY : HISTORY + STEPS, :D]) <= future.radius).all())
    return {
        "tube": tubes(model, test.x[:10], np.random.default_rng(0)), "signed": signed, "sized": sized, "left": left,
        "condition": condition, "fit": fit, "proofs": time.process_time() - begin,
        "error": [float(v) for v in largest / training.x[..., :D].std((0, 1))],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5000, help="gradient steps of a fit")
    parser.add_argument("--series", type=int, default=100, help="held-out series")
    parser.add_argument("--only", default="", help="systems whose name contains this")
    parser.add_argument("--log", type=Path, default=Path("build/tubes.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.log.parent.mkdir(parents=True, exist_ok=True)
    done = dict(map(json.loads, options.log.read_text().splitlines())) if options.log.exists() else {}
    for name, setting in SETTINGS.items():
        if options.only in name and name not in done:
            done[name] = row(setting, options.steps, options.series)
            with options.log.open("a") as file:
                file.write(json.dumps([name, done[name]]) + "\n")
    print(f"lemode {lemode.__version__}, torch {torch.__version__}, one thread, {options.steps:,} gradient steps.\n")
    head = (
        "system", "largest one-step error / std", "tube / met, N=100", "steps, data known", "steps, sizes only",
        "series", "of these within the sizes", "left the radius", "fit, s", "proofs, s",
    )  # fmt: skip
    print(f"| {' | '.join(head)} |\n|---" + "|---" * (len(head) - 1) + "|")
    for name, found in done.items():
        spans = [f"{np.median(v):.0f} [{min(v)}, {max(v)}]" for v in (found["signed"], found["sized"])]
        cells = (
            name, f"{max(found['error']):.1e}", f"{found['tube']:.2f}", *spans, len(found["signed"]), found["condition"], found["left"],
            f"{found['fit']:.0f}", f"{found['proofs']:.0f}",
        )  # fmt: skip
        print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
