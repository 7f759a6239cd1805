"""One long series with the defaults: valid time beside the same data given as pieces, and beside a tuned echo state network; Markdown.

    python benchmarks/one_series.py --seeds 3 --log build/one_series.jsonl

A series of 5,000 samples, of which four fifths are given: in one piece, or cut into 20. From 16 times in the rest a forecast of 400
samples is made, from 200 samples of the past; its valid time is that until the normalised error exceeds 0.4. Of the noisy ones forecasts
are judged by the truth without noise. The echo state network has as many units, 500, and is given in one piece what lemode is; its
spectral radius, input scaling, leak and ridge are the best of a grid on the last fifth of what is given, by free runs. A finished line
is kept in the log, and not run again. Medians over seeds with their range; seeds draw the models, the series are the same. One thread.
"""

import argparse
import itertools
import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from scipy.integrate import solve_ivp

import lemode
from lemode.baselines import EchoStateNetwork
from lemode.systems import Lorenz63, MackeyGlass, Roessler, VanDerPol

T, GIVEN, STARTS, PAST, AHEAD, LEVEL = 5000, 4000, 16, 200, 400, 0.4
KINDS = ("in one piece", "in pieces", "tuned ESN(500)")


def flow(system, step: float) -> np.ndarray:
    """One trajectory after its transient."""
    return system.trajectories(1, step * np.arange(T + 500), seed=11).x[0, 500:]


def duffing() -> np.ndarray:
    """Driven: x, its velocity, and the drive, which is known ahead."""
    t = 0.2 * np.arange(T + 500)

    def rhs(s, u):
        return [u[1], u[0] - u[0] ** 3 - 0.3 * u[1] + 0.5 * np.cos(1.2 * s)]

    x = solve_ivp(rhs, (0, t[-1]), [0.1, 0.0], t_eval=t, rtol=1e-9, atol=1e-9, method="DOP853").y.T
    return np.c_[x, 0.5 * np.cos(1.2 * t)][500:]


def relay() -> np.ndarray:
    """A tank that is heated until it is warm and cools until it is cold: its temperature alone, the relay is not seen."""
    x, on, found = 0.0, True, []
    for _ in range(T):
        x += 0.05 * ((1.5 if on else -1.5) - x)
        on = x < 1 if on else x < -1
        found.append(x)
    return np.array(found)[:, None]


def square() -> np.ndarray:
    """A wave of 40 samples, up and down."""
    return np.where(np.arange(T) % 40 < 20, 1.0, -1.0)[:, None]


def pendulum_from(angles: tuple[float, float], samples: int) -> np.ndarray:
    """Two rods of length 1 and masses of 1, at rest: sines and cosines of both angles, and their velocities, after a transient."""

    def rhs(_, u):
        a, b, p, q = u
        d = a - b
        bottom = 2 - np.cos(d) ** 2
        return [
            p, q,
            (-np.sin(d) * np.cos(d) * p**2 + np.cos(d) * 9.81 * np.sin(b) - np.sin(d) * q**2 - 2 * 9.81 * np.sin(a)) / bottom,
            (2 * np.sin(d) * p**2 + np.sin(d) * np.cos(d) * q**2 + 2 * np.cos(d) * 9.81 * np.sin(a) - 2 * 9.81 * np.sin(b)) / bottom,
        ]  # fmt: skip

    t = 0.05 * np.arange(samples + 500)
    a, b, p, q = solve_ivp(rhs, (0, t[-1]), [*angles, 0, 0], t_eval=t, rtol=1e-10, atol=1e-10, method="DOP853").y[:, 500:]
    return np.stack([np.sin(a), np.cos(a), np.sin(b), np.cos(b), p, q], -1)


SERIES = {
    "van der Pol, mu=5": lambda: flow(VanDerPol(mu=5.0), 0.1),
    "Lorenz63": lambda: flow(Lorenz63(), 0.05),
    "Roessler": lambda: flow(Roessler(), 0.2),
    "Mackey-Glass": lambda: flow(MackeyGlass(), 1.0),
    "Mackey-Glass, 1 % noise": lambda: flow(MackeyGlass(), 1.0),
    "Mackey-Glass, 5 % noise": lambda: flow(MackeyGlass(), 1.0),
    "Duffing, driven": duffing,
    "relay": relay,
    "square wave": square,
    "double pendulum": lambda: pendulum_from((1.2, 0.8), T),  # of small energy
}


def valid(model, seen: np.ndarray, truth: np.ndarray, inputs: int) -> float:
    """Mean of the valid times, in samples."""
    D = truth.shape[1] - inputs
    starts, found = np.linspace(GIVEN, T - AHEAD, STARTS).astype(int), []
    scale = truth[:GIVEN, :D].std(0)
    for k in starts:
        known = {"inputs": truth[k : k + AHEAD, D:]} if inputs else {}
        free = np.asarray(model.forecast(seen[k - PAST : k], AHEAD, **known))
        error = np.sqrt((((free[:, :D] - truth[k : k + AHEAD, :D]) / scale) ** 2).mean(1))
        late = np.flatnonzero(~(error < LEVEL))
        found.append(late[0] if len(late) else AHEAD)
    return float(np.mean(found))


def tuned(seen: np.ndarray, seed: int):
    """The best of a grid by free runs on the last fifth of the given part."""
    cut, best, score = 4 * GIVEN // 5, {}, np.inf
    for radius, scaling, leak, ridge in itertools.product((0.5, 1.0), (0.1, 0.5), (0.5, 1.0), (1e-7, 1e-3)):
        setting = {"spectral_radius": radius, "input_scaling": scaling, "leak": leak, "ridge": ridge}
        model = EchoStateNetwork(units=500, seed=seed, **setting).fit(seen[None, :cut])
        errors = []
        for k in np.linspace(cut, GIVEN - 200, 6).astype(int):
            free = np.asarray(model.forecast(seen[k - PAST : k], 200))
            error = np.sqrt((((free - seen[k : k + 200]) / seen[:cut].std(0)) ** 2).mean(1))
            errors.append(np.nan_to_num(np.minimum(error, 1), nan=1.0).mean())
        if np.mean(errors) < score:
            best, score = setting, float(np.mean(errors))
    return EchoStateNetwork(units=500, seed=seed, **best).fit(seen[None, :GIVEN])


def fitted(kind: str, seen: np.ndarray, seed: int, inputs: int):
    """The model of a kind; defaults, but for what is known ahead."""
    if kind == "tuned ESN(500)":
        return tuned(seen, seed)
    settings = {"inputs": [f"x{seen.shape[1] - 1}"]} if inputs else {}
    model = lemode.Surrogate(seed=seed, verbose=0, **settings)
    return model.fit(seen[:GIVEN] if kind != "in pieces" else seen[:GIVEN].reshape(20, -1, seen.shape[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="series whose name contains this")
    parser.add_argument("--log", type=Path, default=Path("build/one_series.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.log.parent.mkdir(parents=True, exist_ok=True)
    done = {}
    if options.log.exists():
        done = {tuple(key): row for key, row in map(json.loads, options.log.read_text().splitlines())}
    for seed, name in itertools.product(range(options.seeds), SERIES):
        if options.only not in name:
            continue
        truth, inputs = SERIES[name](), int("driven" in name)
        noise = 0.05 if "5 %" in name else 0.01 if "1 %" in name else 0.0
        seen = truth + noise * truth.std(0) * np.random.default_rng(5).normal(size=truth.shape)
        for kind in KINDS:
            # the echo state network takes no inputs
            if (name, kind, seed) in done or (inputs and "ESN" in kind):
                continue
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the table shows what a fit is worth
                model = fitted(kind, seen, seed, inputs)
            cpu = time.process_time() - start
            kept = getattr(getattr(model, "history_", None), "kept", "").split(":")[0]
            row = {"valid": valid(model, seen, truth, inputs), "kept": kept, "of one core": cpu}
            done[name, kind, seed] = row
            with options.log.open("a") as file:
                file.write(json.dumps([[name, kind, seed], row]) + "\n")
            print(f"<!-- {name}, {kind}, seed {seed}: {row} -->", flush=True)
    print(f"lemode {lemode.__version__}, torch {torch.__version__}, one thread; valid time in samples, of {AHEAD} at most\n")
    print(f"| series | {' | '.join(KINDS)} | kept | of one core, s |\n|---" + "|---" * (len(KINDS) + 2) + "|")
    for name in SERIES:
        cells = []
        for kind in KINDS:
            values = [row["valid"] for key, row in done.items() if key[:2] == (name, kind)]
            cells.append(f"{np.median(values):.0f} [{min(values):.0f}, {max(values):.0f}]" if values else "")
        mine = [row for key, row in done.items() if key[:2] == (name, KINDS[0])]
        if mine:
            times = f"{np.median([row['of one core'] for row in mine]):.0f}"
            print(f"| {name} | {' | '.join(cells)} | {', '.join(row['kept'] for row in mine)} | {times} |")


if __name__ == "__main__":
    main()
