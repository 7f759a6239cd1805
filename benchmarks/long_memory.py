"""Does training on long windows learn a slow time scale that short ones miss? Prints Markdown and draws a figure.

    pip install "lemode[baselines]"
    python benchmarks/long_memory.py tune --minutes 20    # again and again: it goes on where it was
    python benchmarks/long_memory.py run --minutes 20     # likewise
    python benchmarks/long_memory.py table > benchmarks/long_memory.md

Hindmarsh-Rose with r = 0.005 and I = 3.25, of which x alone is seen, every 0.1 time units: spikes are some 120 to 400 samples apart,
bursts 1,430. Then Lorenz63, z alone, every 0.05, whose rho follows x of a Roessler system of its own that is 20 times slower, rho = 30 + x
/ 2: its cycles are some 2,350 samples, those of z are 15. Training has 200,000 samples, validation the next 20,000; in the setting "noisy"
white noise of 5 % of the standard deviation is on all that is read. The test is another solution: a free run of 100,000 samples, after
10,000 that are given, against the truth without noise. The error of the slow spectrum was fixed beforehand: Welch spectra (Hann, segments
of 16,384 samples), the root mean square over the bins 1 to 32, which are periods of 16,384 to 512 samples, of log10 of their ratio, which
is clipped at +-3.

Every trained network has 32 units and one layer, 2,000 gradient steps of 40,000 samples each, so 200 windows of 200 or four of 10,000, and
is validated every 50 steps; the weights with the smallest one-step error on the validation series are kept. `lemode.Surrogate` begins its
windows from states that were stored in a pass along the series, without gradients. "From rest" the series is cut into windows that all
begin with a state of zero, as is usual elsewhere.

The learning rate, and whether time scales are drawn as lemode does or log-uniform between 2 and 2,000 samples ("spread",
`lemode.init.timescales_`), were chosen for each of LEM's arms, and three settings of the echo state network compared, by the error of one
other series (`tune`; errors with four digits in the log were printed by a draft of this script, of the same fits). LSTMs have the default
learning rate and the readout 300 units: of these nothing was chosen.
"""

import argparse
import itertools
import json
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from scipy.integrate import odeint
from scipy.signal import welch

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import lemode
from lemode.baselines import LSTM, EchoStateNetwork
from lemode.surrogate.network import IncrementNetwork

SPIN_UP = 10_000  # samples
TRAIN, VALIDATE, WARMUP, T = 200_000, 20_000, 10_000, 100_000
SEGMENT, BINS, CLIP = 16_384, slice(1, 33), 3.0
PER_STEP, STEPS, UNITS = 40_000, 2000, 32
SPREAD = (2, 2000)  # samples
TUNING, SEEDS = 100, (0, 1, 2, 3, 4)  # seeds of series
FIGURE = Path("benchmarks/long_memory.svg")

# what an arm is: model, samples in a window
ARMS: dict[str, tuple[str, int]] = {
    "LEM, windows of 200 from rest": ("rest", 200),
    "LEM, windows of 200": ("LEM", 200),
    "LEM, windows of 2,000": ("LEM", 2000),
    "LEM, windows of 10,000": ("LEM", 10_000),
    "LEM, readout": ("readout", 0),
    "ESN": ("ESN", 0),
    "LSTM, windows of 200 from rest": ("LSTM at rest", 200),
    "LSTM, windows of 10,000": ("LSTM", 10_000),
}
DRAWN = {"LEM, windows of 200 from rest": "C1", "LEM, windows of 200": "C2", "LEM, windows of 10,000": "C0"}
CHOICES: dict[str, list[dict]] = {
    **{key: [{}, {"lr": 0.003}, {"spread": True}] for key in ("rest", "LEM")},
    "ESN": [
        {},
        {"spectral_radius": 0.9, "leak": 0.3, "ridge": 1e-4},
        {"spectral_radius": 0.95, "leak": 0.05, "ridge": 1e-4},
    ],
}


def hindmarsh_rose(s: np.ndarray, t: float) -> tuple:
    x, y, z = s
    return y - x * x * (x - 3) - z + 3.25, 1 - 5 * x * x - y, 0.005 * (4 * (x + 1.6) - z)


def slow_climate(s: np.ndarray, t: float) -> tuple:
    x, y, z, a, b, c = s
    weather = 10 * (y - x), x * (30 + a / 2 - z) - y, x * y - 8 / 3 * z
    return *weather, 0.05 * (-b - c), 0.05 * (a + 0.2 * b), 0.05 * (0.2 + c * (a - 5.7))


class System(NamedTuple):
    """What has a slow scale, and of what one variable is seen.

    Attributes
    ----------
    start, spread : of the Gaussian that a start is drawn from
    interval : between samples
    seen : which variable
    pause : of a bursting neuron, samples without a spike; within a burst there are none as long
    """

    name: str
    rhs: Callable[[np.ndarray, float], tuple]
    start: tuple[float, ...]
    spread: float
    interval: float
    seen: int = 0
    pause: int | None = None

    def solve(self, seed: int, samples: int) -> np.ndarray:
        """What is seen, from a start that is drawn, on the attractor."""
        t = self.interval * np.arange(SPIN_UP + samples)
        start = np.array(self.start) + self.spread * np.random.default_rng(seed).normal(size=len(self.start))
        return odeint(self.rhs, start, t, rtol=1e-9, atol=1e-9)[SPIN_UP:, self.seen]


HINDMARSH_ROSE = System("Hindmarsh-Rose", hindmarsh_rose, (-1.0, 0.0, 3.0), 0.3, 0.1, pause=500)
SLOW_CLIMATE = System("Lorenz63 in a slow climate", slow_climate, (1.0, 1.0, 25.0, 1.0, -5.0, 0.1), 0.5, 0.05, seen=2)
# the noise is in standard deviations
SETTINGS = {"clean": (HINDMARSH_ROSE, 0.0), "noisy": (HINDMARSH_ROSE, 0.05), "climate": (SLOW_CLIMATE, 0.0)}


def title(setting: str) -> str:
    system, noise = SETTINGS[setting]
    return f"{system.name}, {f'white noise of {noise:.0%}' if noise else 'without noise'}"


@cache
def series(system: System, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What is learned from, and the test."""
    return system.solve(seed, TRAIN + VALIDATE), system.solve(seed + 1000 if seed != TUNING else seed + 1, WARMUP + T)


def noisy(x: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    return x + sigma * np.random.default_rng(seed).normal(size=len(x))


def spectrum(x: np.ndarray) -> np.ndarray:
    return welch(x, window="hann", nperseg=SEGMENT)[1]


def slow_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Of two spectra."""
    with np.errstate(divide="ignore"):
        ratio = np.log10(found[BINS] / truth[BINS])
    return float(np.sqrt(np.mean(np.clip(ratio, -CLIP, CLIP) ** 2)))


def cycles(x: np.ndarray, pause: int | None) -> np.ndarray:
    """Samples from the first spike of a burst to that of the next."""
    if pause is None:
        return np.empty(0)
    spikes = np.flatnonzero((x[1:] > 0) & (x[:-1] <= 0))
    return np.diff(spikes[1:][np.diff(spikes) > pause])


class SpreadNetwork(IncrementNetwork):
    def reset_parameters(self, generator: torch.Generator) -> None:
        super().reset_parameters(generator)
        lemode.init.timescales_(self.core, *SPREAD, generator)


class Spread(lemode.Surrogate):
    """A surrogate whose time scales are drawn log-uniformly."""

    def _network(self, dimension: int, inputs: int, dtype: torch.dtype) -> IncrementNetwork:
        return SpreadNetwork(self._core(dimension, dtype), self.hidden_size, dimension, dtype, 0, inputs)


def at_rest(past: np.ndarray, window: int) -> np.ndarray:
    """Series of one window each, which has one sample more than steps: every window begins where a series does."""
    n = len(past) // (window + 1)
    return past[: n * (window + 1)].reshape(n, window + 1, 1)


def fit(arm: str, options: dict, x: np.ndarray, seed: int) -> Any:
    kind, window = ARMS[arm]
    options = dict(options)
    x = x[:, None]
    if kind == "ESN":
        return EchoStateNetwork(seed=seed, **options).fit(x[:TRAIN])
    if kind == "readout":
        return lemode.Surrogate(hidden_size=300, train="readout", seed=seed, verbose=0).fit(x[:TRAIN], validation=x[TRAIN:])
    x = x.astype(np.float32)
    cls = LSTM if "LSTM" in kind else Spread if options.pop("spread", False) else lemode.Surrogate
    settings = {"hidden_size": UNITS, "window": window, "batch_size": PER_STEP // window, "steps": STEPS, **options}
    model = cls(train="all", seed=seed, verbose=0, **settings)
    return model.fit(at_rest(x[:TRAIN], window) if "rest" in kind else x[:TRAIN], validation=x[TRAIN:])


def held(free: np.ndarray) -> np.ndarray:
    """From where it is not finite, or far from any potential, a run stays where it was."""
    with np.errstate(invalid="ignore"):
        lost = ~(np.abs(free) < 100)
    if not lost.any():
        return free
    first = int(lost.argmax())
    return np.concatenate([free[:first], np.full(len(free) - first, free[first - 1] if first else 0.0)])


def judge(model: Any, given: np.ndarray, truth: np.ndarray, pause: int | None) -> dict:
    given = given[:, None]
    if isinstance(model, lemode.Surrogate) and model.train == "all":
        given = given.astype(np.float32)
    with np.errstate(all="ignore"):
        free = held(np.asarray(model.forecast(given, T), float)[:, 0])
    found, c = spectrum(free), cycles(free, pause)
    row: dict[str, Any] = {"slow": slow_error(found, spectrum(truth))} | ({"bursts": len(c)} if pause else {})
    if len(c):
        row |= {"cycle": float(c.mean()), "sd": float(c.std())}
    if getattr(model, "train", "") == "all" and isinstance(model.network_.core, lemode.LEM):
        scales = lemode.analysis.timescales(model.network_.core, model.network_.normalise(torch.tensor(given)[:, None])).median
        row["scales"] = [float(np.median(scales)), float(scales.max())]
    row["spectrum"], row["run"] = banded(found), free[:10_000:8].round(2).tolist()
    return row


def bands() -> np.ndarray:
    """Edges of bins, wider and wider."""
    return np.unique(np.geomspace(1, SEGMENT // 2, 100).astype(int))


def banded(s: np.ndarray) -> list[float]:
    """The spectrum averaged over bands, for the figure."""
    edges = bands()
    return [float(f"{s[a:b].mean():.4g}") for a, b in itertools.pairwise(edges)]


def fit_and_judge(setting: str, arm: str, seed: int, options: dict) -> dict:
    system, noise = SETTINGS[setting]
    x, test = series(system, seed)
    sigma = noise * x.std()
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the table shows what a fit is worth
        try:
            model = fit(arm, options, noisy(x, sigma, len(x)), seed if seed != TUNING else 0)
            seconds = time.process_time() - start
            row = judge(model, noisy(test, sigma, 9)[:WARMUP], test[WARMUP:], system.pause)
        except (ArithmeticError, np.linalg.LinAlgError, lemode.surrogate.FitDivergedError) as e:
            seconds, row = time.process_time() - start, {"slow": CLIP, "failed": str(e)[:200]}
    return {**row, "seconds": seconds}


def logged(path: Path) -> dict:
    return {tuple(key): row for key, row in map(json.loads, path.read_text().splitlines())} if path.exists() else {}


def append(path: Path, key: tuple, row: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps([key, row]) + "\n")
    print(f"{key}: { {k: v for k, v in row.items() if k not in ('spectrum', 'run')} }", flush=True)


def tune(options: argparse.Namespace) -> None:
    """Each choice on the series TUNING."""
    done, end = logged(options.log), time.monotonic() + 60 * options.minutes
    for setting, arm in itertools.product(SETTINGS, ARMS):
        for choice in CHOICES.get(ARMS[arm][0], []):
            key = ("tune", setting, arm, json.dumps(choice))
            if key in done or options.only not in f"{setting}: {arm}":
                continue
            if time.monotonic() > end:
                return
            row = fit_and_judge(setting, arm, TUNING, choice)
            append(options.log, key, {"slow": row["slow"], "seconds": row["seconds"]})


def tried(done: dict, setting: str, arm: str) -> list[tuple[float, str]]:
    """Errors of the choices, the smallest first."""
    return sorted((row["slow"], key[3]) for key, row in done.items() if key[:3] == ("tune", setting, arm))


def run(options: argparse.Namespace) -> None:
    """What is not in the log, seed by seed; an arm that has choices waits for `tune`."""
    done, end = logged(options.log), time.monotonic() + 60 * options.minutes
    for seed, setting, arm in itertools.product(SEEDS, SETTINGS, ARMS):
        key, found = (setting, arm, seed), tried(done, setting, arm)
        waits = ARMS[arm][0] in CHOICES and len(found) < len(CHOICES[ARMS[arm][0]])
        if key in done or waits or options.only not in f"{setting}: {arm}":
            continue
        if time.monotonic() > end:
            return
        row = fit_and_judge(setting, arm, seed, json.loads(found[0][1]) if found else {})
        if arm not in DRAWN or seed != SEEDS[0]:
            del row["spectrum"], row["run"]
        append(options.log, key, row)


def table(options: argparse.Namespace) -> None:
    """Medians over seeds of each arm; what they come to; the settings; and the figure."""
    done = logged(options.log)
    print(
        f"Output of `python benchmarks/long_memory.py table`: lemode {lemode.__version__}, torch {torch.__version__}, one thread, seconds "
        "of CPU time of a busy machine; fits came from the log `benchmarks/long_memory.jsonl`.\n"
    )
    print(
        "One variable is seen. Slow spectrum: rms of log10 of the ratio to the truth over periods from "
        f"512 to 16,384 samples; no fit is worse than {CLIP:g}. Bursts: how many a free run of 100,000 samples has, and samples from one "
        "to the next, mean and standard deviation. Time scales: of the network's units along the data, in samples, the median and the "
        "largest. Each is the median over seeds of series and weights, in brackets the extremes, of cycles over free runs that burst; the "
        "first row is another stretch of the true series, the least error that can be told.\n"
    )
    for setting in SETTINGS:
        system = SETTINGS[setting][0]
        print(f"# {title(setting)}\n")
        print(
            "| | seeds | slow spectrum | bursts | cycle | its sd | time scales: median | largest | s a fit |\n"
            + "|---" * 9
            + "|"
        )
        rows = [floor(system, seed) for seed in SEEDS]
        print(f"| *the system* | {len(rows)} | {cells(rows)} | | | |")
        slow = {}
        for arm in ARMS:
            rows = [row for seed in SEEDS if (row := done.get((setting, arm, seed)))]
            if rows:
                slow[arm] = float(np.median([row["slow"] for row in rows]))
                scales = [over([row["scales"][k] for row in rows], 0) if "scales" in rows[0] else "" for k in (0, 1)]
                seconds = np.median([row["seconds"] for row in rows])
                print(f"| {arm} | {len(rows)} | {cells(rows)} | {' | '.join(scales)} | {seconds:.0f} |")
        long = "LEM, windows of 10,000"
        print()
        for short in ("LEM, windows of 200 from rest", "LEM, windows of 200", "LSTM, windows of 200 from rest"):
            other = long.replace("LEM", short[:4].strip(","))
            if short in slow and other in slow:
                ratio = slow[other] / slow[short]
                goal = "at least halved, as was the goal" if ratio <= 0.5 else "not halved, which was the goal"
                print(f"- {other}: **{ratio:.2f}** times the error of {short.removeprefix('LEM, ')}: {goal}")
        print()
    print(
        "# Settings\n\nErrors of the slow spectrum on the one series that they were chosen on; the first of a row was taken.\n"
    )
    for setting, arm in itertools.product(SETTINGS, ARMS):
        if found := tried(done, setting, arm):
            print(f"- {setting}, {arm}: " + ", ".join(f"{words(choice)} {error:.2f}" for error, choice in found))
    draw(done)
    print(f"\n![Spectra of free runs, and the runs]({FIGURE.name})")


def floor(system: System, seed: int) -> dict:
    """Of the true series: the training stretch as if it were a free run."""
    x, test = series(system, seed)
    found, c = x[:T], cycles(x[:T], system.pause)
    row = {"slow": slow_error(spectrum(found), spectrum(test[WARMUP:]))}
    return row | {"bursts": len(c), "cycle": float(c.mean()), "sd": float(c.std())} if len(c) else row


def over(values: list, digits: int) -> str:
    """Median and extremes; "none" where no seed has any."""
    found = [v for v in values if v is not None]
    if not found:
        return "none"
    return f"{np.median(found):,.{digits}f} [{min(found):,.{digits}f}, {max(found):,.{digits}f}]"


def cells(rows: list[dict]) -> str:
    return " | ".join(over([row.get(q) for row in rows], 2 if q == "slow" else 0) for q in ("slow", "bursts", "cycle", "sd"))


def words(choice: str) -> str:
    return " ".join(f"{k} {v}" if v is not True else k for k, v in json.loads(choice).items()) or "default"


def draw(done: dict) -> None:
    """The first seed: spectra above, 10,000 samples of free runs below."""
    figure, axes = plt.subplots(
        2 + len(DRAWN), len(SETTINGS), figsize=(15, 9), layout="constrained", height_ratios=[3] + [1] * (1 + len(DRAWN))
    )
    period = SEGMENT / (bands()[:-1] + np.diff(bands()) / 2 - 0.5)
    for column, (setting, (system, _)) in enumerate(SETTINGS.items()):
        truth = series(system, SEEDS[0])[1][WARMUP:]
        runs = [("true", "k", banded(spectrum(truth)), truth[:10_000:8].tolist())]
        found = [
            (arm, color, row["spectrum"], row["run"])
            for arm, color in DRAWN.items()
            if (row := done.get((setting, arm, SEEDS[0])))
        ]
        top = axes[0, column]
        top.axvspan(SEGMENT / (BINS.stop - 1), SEGMENT, color="0.93")
        for name, color, power, _ in runs + found:
            top.loglog(period, power, color, lw=1.8 if name == "true" else 1.1, label=name)
        top.set(
            title=title(setting),
            xlabel="period, samples",
            ylim=(1e-3, 30 * max(runs[0][2])),
        )
        top.set_xlim(SEGMENT, 20)
        top.minorticks_off()
        top.legend(fontsize=7, loc="lower right")
        for axis in axes[1:, column]:
            axis.set_axis_off()
        for axis, (name, color, _, x) in zip(axes[1:, column], runs + found):
            axis.set_axis_on()
            axis.plot(np.arange(0, 10_000, 8), x, color, lw=0.7)
            axis.set_title(name, fontsize=8, loc="left", pad=2)
            axis.set(
                ylim=(truth.min() - 0.3 * np.ptp(truth), truth.max() + 0.3 * np.ptp(truth)), xticks=(0, 5000, 10_000), yticks=()
            )
    plt.rcParams["svg.hashsalt"] = "lemode"
    figure.savefig(FIGURE, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("tune", "run", "table"))
    parser.add_argument("--minutes", type=float, default=10.0, help="no fit is begun after them")
    parser.add_argument("--only", default="", help="what 'setting: arm' contains")
    parser.add_argument("--log", type=Path, default=Path("benchmarks/long_memory.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    {"tune": tune, "run": run, "table": table}[options.command](options)


if __name__ == "__main__":
    main()
