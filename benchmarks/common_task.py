"""The twelve scores of the Common Task Framework for Science, on data like its own for Lorenz and Kuramoto-Sivashinsky; prints Markdown.

    pip install "lemode[baselines]"
    python benchmarks/common_task.py tune Lorenz                   # settings, on data of their own
    python benchmarks/common_task.py run Lorenz KS                 # goes on where it was
    python benchmarks/common_task.py run Lorenz --files ODE_Lorenz # the framework's own data, in train/ and test/ of this folder
    python benchmarks/common_task.py table > benchmarks/common_task.md

Scores, pairs, shapes and start indices are those of CTF-for-Science/ctf4science (`lemode.metrics.common_task`). What its metadata do not
say was measured on its files of 12 May 2025 (commit 386607d), by solving the equations from each sample to the next. Lorenz has samples
0.05 apart, sigma = 10, beta = 8/3, the rho of PARAMETERS to 1e-4, and noise of standard deviation 1 in X2train and 2 in X3train. KS, u_t
+ u u_x + u_xx + mu u_xxxx = 0 on [0, 32 pi], has samples 1.0 apart, whatever its metadata say (0.025, which solves nothing), mu = 1.45,
1.85 and 2.05 in X4train, X9train and X10train, and noise of 1 in X5train; the others are not stored. Chosen here: X5train is like
X4train (in the file rho is 28 to 29, as far as its noise of 1 lets one see); X6train of KS has the mu of X4train, as Lorenz its rho; mu
of X1 to X3, X7 and X8; noise of 1 and 2 in X2train and X3train of KS; series begin on the attractor. The framework tells no parameter,
so no model is told one. Its files X5test, X6test and X7test of Lorenz are one matrix, which goes on from X3train, and neither from
X4train nor from X5train: E7 to E10 of the files measure luck. Here they are of what follows, as it is documented.

The procedure is the same for each method, in each of the GROUPS of pairs:

- forecasts start from the end of the training data, with at most the last 300 samples as history;
- reconstruction: one model predicts the next sample along the noisy series, another along the same series backwards. These two and the
  noisy sample have errors of their own, so their variances follow from those of the three differences; the mean weighted by their
  inverses is the reconstruction. For fields that is done for each wavenumber. Persistence leaves the series as it is;
- where settings say `denoise`, a forecast from noisy data is made by a model fitted to that reconstruction, and starts from it;
- parametric pairs: one model for the three series, or, where settings say `burn_in`, one for the 100 samples that a forecast starts from.

Fields are cut to their first 63 wavenumbers, on 128 points, for every method, which also takes away seven eighths of white noise, and
models learn from the last 1,000 samples of a series, or of three as many in all; scores are of 1,024 points. Peers of fields are rules
for a point that read the points around it, as LEM does, and have the mirror images in the data, too. Settings of Lorenz are what
`tune` has found best for each group, of `choices`; those of KS were not tuned. The table lists them. One seed. One thread.
"""

import argparse
import itertools
import json
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from common_task_peers import LocalPolynomial, LocalReservoir
from scipy.io import loadmat

import lemode
from lemode.baselines import Autoregression, EchoStateNetwork, Persistence, Polynomial
from lemode.metrics import common_task_scores
from lemode.systems import KuramotoSivashinsky, Lorenz63

LOG, CACHE = Path("benchmarks/common_task.jsonl"), Path("build/common_task")
KIND = {"Lorenz": "dynamical", "KS": "spatio-temporal"}
PARAMETERS = {
    "Lorenz": dict(zip(range(1, 11), (28.7, 29.7, 31.9, 33.7, 33.7, 33.7, 35.7, 37.9, 34.3, 37.6))),
    "KS": dict(zip(range(1, 11), (1.05, 1.15, 1.3, 1.45, 1.45, 1.45, 1.75, 1.95, 1.85, 2.05))),
}
NOISE = {2: 1.0, 3: 2.0, 5: 1.0}  # of X2train, X3train and X5train
BURN_IN, AHEAD, PAST, LAST = 100, 1000, 300, 1000
POINTS, GRID, LENGTH = 1024, 128, 32 * np.pi
GROUPS = {"clean": (1,), "noisy": (2, 3, 4, 5), "limited": (6,), "limited, noisy": (7,), "parametric": (8, 9)}
# pair: training series, what a forecast starts from, truth
PAIRS = {
    1: ((1,), 1, 1),
    2: ((2,), 2, 2),
    3: ((2,), 2, 3),
    4: ((3,), 3, 4),
    5: ((3,), 3, 5),
    6: ((4,), 4, 6),
    7: ((5,), 5, 7),
    8: ((6, 7, 8), 9, 8),
    9: ((6, 7, 8), 10, 9),
}
Data = dict[str, np.ndarray]  # X1train, X1test, ...


def resampled(u: np.ndarray, points: int) -> np.ndarray:
    """A field on another grid: its wavenumbers below half the points of the coarser one."""
    spectrum = np.fft.rfft(u, axis=1)[:, : min(points, u.shape[1]) // 2]
    wide = np.zeros((len(u), points // 2 + 1), dtype=complex)
    wide[:, : spectrum.shape[1]] = spectrum * (points / u.shape[1])
    return np.fft.irfft(wide, points, axis=1)


def solution(system: str, parameter: float, samples: int, seed: int) -> np.ndarray:
    """From a random state of the attractor, ``(samples, 3)`` or ``(samples, 1024)``."""
    if system == "Lorenz":
        return Lorenz63(rho=parameter).trajectories(1, 0.05 * np.arange(samples), seed=seed).x[0]
    # u(x, t) = w(x / sqrt(mu), t / mu) / sqrt(mu) has mu = 1 for w
    standard = KuramotoSivashinsky(L=LENGTH / parameter**0.5, N=192, step=0.1)
    w = standard.trajectories(1, np.arange(samples) / parameter, seed=seed).x[0]
    return resampled(w / parameter**0.5, POINTS)


def generate(system: str, seed: int, length: int = 10_000) -> Data:
    """All matrices; from a file where there is one."""
    path = CACHE / f"{system}_{seed}_{length}.npz"
    if path.exists():
        return dict(np.load(path))
    data, noise = {}, np.random.default_rng([seed, 1])
    for k, parameter in PARAMETERS[system].items():
        training = BURN_IN if k in (4, 5) else length
        x = solution(system, parameter, training + (k not in (6, 7, 8)) * AHEAD, 100 * seed + k)
        seen, future = x[:training], x[training:]
        data[f"X{k}train"] = seen[-BURN_IN:] if k > 8 else seen + NOISE.get(k, 0.0) * noise.standard_normal(seen.shape)
        for pair, (_, start, test) in PAIRS.items():
            if start == k:
                data[f"X{test}test"] = seen if pair in (2, 4) else future
    CACHE.mkdir(parents=True, exist_ok=True)
    np.savez(path, **data)
    return data


def load(folder: Path) -> Data:
    """The framework's .mat files of one matrix each, in any folder below; transposed where columns are samples."""
    data = {}
    for path in sorted(folder.rglob("X*.mat")):
        (found,) = (value for key, value in loadmat(path).items() if not key.startswith("__"))
        data[path.stem] = found.T if found.shape[0] in (3, POINTS) and found.shape[1] not in (3, POINTS) else found
    return data


PHYSICS = {"conserve": "mean", "symmetry": "odd", "verbose": 0}
MAKE = {
    "Lorenz": {
        "mean": None,
        "persistence": Persistence,
        "linear autoregression": Autoregression,
        "NG-RC": Polynomial,
        "ESN": EchoStateNetwork,
        "LEM": lambda **o: lemode.Surrogate(train="auto", verbose=0, **o),
    },
    "KS": {
        "mean": None,
        "persistence": Persistence,
        "linear at each point": lambda **o: LocalPolynomial(degree=1, **o),
        "NG-RC at each point": LocalPolynomial,
        "LEM, readout": lambda **o: lemode.FieldSurrogate(train="readout", **PHYSICS, **o),
        "ESN at each point": LocalReservoir,
    },
}


def fitted(system: str, method: str, options: Mapping, series: np.ndarray):
    if system == "KS":
        series = series[..., -LAST // (len(series) if series.ndim == 3 else 1) :, :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the scores say what a fit is worth
        return MAKE[system][method](**options).fit(series)


def combined(seen: np.ndarray, forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    r"""The mean of three estimates with independent errors, weighted by the inverses of the variances of these, in each column.

    .. math:: \sigma_1^2 = \tfrac12 (\langle |a_1 - a_2|^2 \rangle + \langle |a_1 - a_3|^2 \rangle - \langle |a_2 - a_3|^2 \rangle)

    The first row has no forward estimate, the last one no backward one.
    """
    estimates = np.stack([seen, forward, backward])
    d = [[(np.abs(a - b)[1:-1] ** 2).mean(0) for b in estimates] for a in estimates]
    variance = np.stack([(d[i][j] + d[i][k] - d[j][k]) / 2 for i, j, k in ((0, 1, 2), (1, 0, 2), (2, 0, 1))])
    variance = np.maximum(variance, 0.01 * np.abs(variance).max(0))  # an estimate of a small one may be negative
    weights = np.repeat(1 / variance[:, None], len(seen), 1)
    weights[1, 0] = weights[2, -1] = 0
    return (weights * estimates).sum(0) / weights.sum(0)


def reconstruction(system: str, method: str, options: Mapping, x: np.ndarray) -> np.ndarray:
    if method == "persistence":
        return x
    ahead, back = (fitted(system, method, options, s) for s in (x, x[::-1].copy()))
    forward, backward = np.array(x), np.array(x)
    forward[1:], backward[:-1] = ahead.predict(x)[:-1], back.predict(x[::-1].copy())[-2::-1]
    if system == "KS":
        return np.fft.irfft(combined(*(np.fft.rfft(u, axis=1) for u in (x, forward, backward))), GRID, axis=1)
    return combined(x, forward, backward)


def predictions(system: str, method: str, options: Mapping, data: Data, pairs: tuple[int, ...]) -> dict[int, np.ndarray]:
    """Of each pair, as its truth."""
    options = dict(options)
    denoise, burn_in = options.pop("denoise", False), options.pop("burn_in", False)
    series = {k: data[f"X{k}train"] for pair in pairs for k in (*PAIRS[pair][0], PAIRS[pair][1])}
    if system == "KS":
        series = {k: resampled(x, GRID) for k, x in series.items()}
    found: dict[int, np.ndarray] = {}
    models: dict[tuple, object] = {}
    clean: dict[int, np.ndarray] = {}
    for pair in pairs:
        training, start, test = PAIRS[pair]
        steps, history = len(data[f"X{test}test"]), series[start]
        if method == "mean":
            found[pair] = np.repeat(series[training[-1]].mean(0, keepdims=True), steps, 0)
            continue
        if start not in clean and (pair in (2, 4) or denoise):
            clean[start] = reconstruction(system, method, options, history)
        if pair in (2, 4):
            found[pair] = clean[start]
            continue
        which = (start,) if burn_in else training
        if which not in models:
            models[which] = fitted(system, method, options, clean[start] if denoise else np.stack([series[k] for k in which]))
        history = clean[start] if denoise else history
        found[pair] = np.asarray(models[which].forecast(history[-PAST:], steps))
    return {pair: resampled(u, POINTS) if system == "KS" else u for pair, u in found.items()}


def scores(system: str, method: str, options: Mapping, data: Data, pairs: tuple[int, ...]) -> dict:
    """Of these pairs, with the seconds of a core; a fit that fails has predicted nothing, which counts -100."""
    truths, begin = {pair: data[f"X{PAIRS[pair][2]}test"] for pair in pairs}, time.process_time()
    try:
        found, failed = predictions(system, method, options, data, pairs), {}
    except (ArithmeticError, np.linalg.LinAlgError, ValueError, lemode.surrogate.FitDivergedError) as e:
        found, failed = {pair: np.full_like(x, np.nan) for pair, x in truths.items()}, {"failed": str(e)[:200]}
    seconds = time.process_time() - begin
    return {**common_task_scores(found, truths, KIND[system]), "seconds": round(seconds, 1), **failed}


def product(**choices) -> list[dict]:
    return [dict(zip(choices, values)) for values in itertools.product(*choices.values())]


def choices(system: str, method: str, group: str) -> list[dict]:
    """What the settings of a group are chosen from."""
    noisy = "noisy" in group
    if system == "Lorenz":
        found = {
            "linear autoregression": product(lags=(1, 5, 20)),
            "NG-RC": [
                {"degree": d, "delays": p, "ridge": r}
                for (d, p), r in itertools.product(
                    ((2, 0), (4, 0), (6, 0), (8, 0), (2, 2), (3, 1)), (1e-4, 1e-1) if noisy else (1e-20, 1e-12, 1e-6)
                )
            ],
            "ESN": product(
                units=(300,),
                spectral_radius=(0.1, 0.9),
                input_scaling=(0.1, 0.5),
                solver=("reservoirpy",) if noisy else ("reservoirpy", "exact"),
                ridge=(1e-2, 1.0) if noisy else (1e-10, 1e-7),
            ),
            "LEM": [{"width": 300, "steps": 1000}],
        }[method]
        if noisy:
            return [{**o, "denoise": b} for o in found for b in (False, True)]
        return [{**o, "burn_in": b} for o in found for b in (False, True)] if group == "parametric" else found
    # one choice each, by a few trials on the clean data of seed 77: tuning takes an hour
    only: dict = {
        "linear at each point": {"reach": 8, "noise": 0.0 if noisy else 0.1},
        "NG-RC at each point": {"reach": 8, "ridge": 1e-4, "noise": 0.0}
        if noisy
        else {"reach": 8, "ridge": 1e-6, "noise": 1e-2},
        "ESN at each point": {"scaling": 0.1, "ridge": 1e-4, "noise": 0.0}
        if noisy
        else {"scaling": 0.1, "ridge": 1e-10, "noise": 1e-3},
        "LEM, readout": {"hidden_size": 100},
    }[method]
    return [{**only, "burn_in": True} if group == "parametric" else {**only, "denoise": noisy and method != "LEM, readout"}]


def logged() -> dict[tuple, dict]:
    return {tuple(key): row for key, row in map(json.loads, LOG.read_text().splitlines())} if LOG.exists() else {}


def chosen(done: Mapping[tuple, dict], system: str, method: str, group: str) -> dict:
    """The choice with the best mean of scores in `tune`, over its data; the only one where there is one."""
    if method in ("mean", "persistence"):
        return {}
    several = choices(system, method, group)
    found: dict[str, list[float]] = {json.dumps(choice): [] for choice in several}
    for key, row in done.items():
        if key[:2] == ("tune", system) and key[3:5] == (method, group) and key[5] in found:
            found[key[5]] += [v for k, v in row.items() if k.startswith("E")]
    if len(several) > 1 and not all(found.values()):
        raise SystemExit(f"{system}, {method}, {group}: the log {LOG} has no complete tuning; run `tune {system}` first.")
    return max(several, key=lambda choice: float(np.mean(found[json.dumps(choice)])) if len(several) > 1 else 0.0)


def finish(done: dict[tuple, dict], key: tuple, *arguments) -> None:
    """What is not in the log yet."""
    if key not in done:
        done[key] = scores(*arguments)
        with LOG.open("a") as file:
            file.write(json.dumps([key, done[key]]) + "\n")
        if key[0] == "run":
            print(f"<!-- {key}: {done[key]} -->", flush=True)


def tune(options: argparse.Namespace) -> None:
    """On data of other seeds, with a fifth of the samples; of the noisy pairs those with high noise. The best three of each group."""
    done = logged()
    for system in options.systems:
        for method, group in itertools.product([m for m in list(MAKE[system])[2:] if options.only in m], GROUPS):
            rows, pairs = [], (4, 5) if group == "noisy" else GROUPS[group]
            several = choices(system, method, group)
            for choice in several if len(several) > 1 else ():
                found = []
                for seed in range(77, 77 + options.seeds):
                    key = ("tune", system, f"seed {seed}", method, group, json.dumps(choice))
                    finish(done, key, system, method, choice, generate(system, seed, 2000), pairs)
                    found += [v for k, v in done[key].items() if k.startswith("E")]
                rows.append((float(np.mean(found)), choice))
            for mean, choice in sorted(rows, key=lambda row: -row[0])[:3]:
                print(f"{system}, {method}, {group}: {mean:.2f} {choice}", flush=True)


def run(options: argparse.Namespace) -> None:
    done = logged()
    for system in options.systems:
        data = load(options.files) if options.files else generate(system, options.seed)
        label = "the framework's files" if options.files else f"seed {options.seed}"
        methods, slow_last = [m for m in MAKE[system] if options.only in m], sorted(GROUPS, key="noisy".__eq__)
        for group, method in itertools.product(slow_last, methods):
            names = {
                pair: [*(f"X{k}train" for k in (*PAIRS[pair][0], PAIRS[pair][1])), f"X{PAIRS[pair][2]}test"]
                for pair in GROUPS[group]
            }
            pairs = tuple(pair for pair in GROUPS[group] if set(names[pair]) <= set(data))
            if pairs:
                settings = chosen(done, system, method, group)
                finish(done, ("run", system, label, method, group, json.dumps(settings)), system, method, settings, data, pairs)


def limits(system: str, seed: int, data: Data) -> dict[str, float]:
    """Long scores of the equations themselves, from another start."""
    pairs = (1, 3, 5, 6, 7)
    runs = {pair: solution(system, PARAMETERS[system][PAIRS[pair][1]], AHEAD, 100 * seed + 50 + pair) for pair in pairs}
    found = common_task_scores(runs, {pair: data[f"X{PAIRS[pair][2]}test"] for pair in pairs}, KIND[system])
    return {name: value for name, value in found.items() if name in ("E2", "E4", "E6", "E8", "E10")}


def line(name: str, row: Mapping[str, float], names: list[str], best: Mapping[str, float], seconds: str = "") -> str:
    cells = [f"{row[n]:.1f}" if n in row else "" for n in names]
    cells = [f"**{c}**" if n in row and n in best and row[n] == best[n] else c for n, c in zip(names, cells)]
    return f"| {name} | {' | '.join(cells)} | {seconds} |"


def table(options: argparse.Namespace) -> None:
    done, names = logged(), [f"E{k}" for k in range(1, 13)]
    print(
        f"Output of `python benchmarks/common_task.py table`: lemode {lemode.__version__}, torch {torch.__version__}, one thread.\n"
    )
    print(
        "100 is perfect, 0 a prediction of zeros, less than -100 counts -100; **bold** is the best of a column that all have, by all "
        "its digits. Seconds are of one core, fits and predictions of all pairs. What is empty or missing has not been run."
    )
    for system, label in sorted(
        {key[1:3] for key in done if key[0] == "run"}, key=lambda k: (k[0] != "Lorenz", k[1] != "seed 0", k[1])
    ):
        rows: dict[str, dict] = {}
        for method in MAKE[system]:
            parts = [row for key, row in done.items() if key[:4] == ("run", system, label, method)]
            if not parts:
                continue
            rows[method] = {k: v for part in parts for k, v in part.items() if k.startswith("E")}
            rows[method]["seconds"] = sum(part["seconds"] for part in parts)
            if set(names) <= set(rows[method]):
                rows[method]["mean"] = float(np.mean([rows[method][n] for n in names]))
        columns = [*names, "mean"]
        best = {n: max(row[n] for row in rows.values()) for n in columns if all(n in row for row in rows.values())}
        print(f"\n# {system}, {label}\n\n| method | {' | '.join(columns)} | seconds |\n|---{'|---:' * 14}|")
        if label.startswith("seed"):
            seed = int(label.split()[1])
            print(line("*the equations, another start*", limits(system, seed, generate(system, seed)), columns, {}))
        for method, row in rows.items():
            print(line(method, row, columns, best, f"{row['seconds']:.0f}"))
        print()
        for key, row in done.items():
            if key[:3] == ("run", system, label) and (key[5] != "{}" or "failed" in row):
                print(f"- {key[3]}, {key[4]}: `{key[5]}`" + (f"; no fit: {row['failed']}" if "failed" in row else ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for command in (tune, run):
        sub = commands.add_parser(command.__name__)
        sub.set_defaults(command=command)
        sub.add_argument("systems", nargs="+", choices=list(KIND))
        sub.add_argument("--only", default="", help="methods whose name contains this")
        if command is tune:
            sub.add_argument("--seeds", type=int, default=2, help="of the data, for each choice")
        if command is run:
            sub.add_argument("--seed", type=int, default=0, help="of the data")
            sub.add_argument("--files", type=Path, help="the framework's folder of this system")
    commands.add_parser("table").set_defaults(command=table)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.command(options)


if __name__ == "__main__":
    main()
