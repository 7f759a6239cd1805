"""Attractors of dysts' systems from one noisy series, all variables seen or one hidden; prints Markdown.

    pip install "lemode[dysts,baselines]"
    python benchmarks/attractors.py run --systems 40 --minutes 10     # again and again: it goes on where it was
    python benchmarks/attractors.py table > benchmarks/attractors.md

One trajectory of 10,000 samples, 100 a period (that of dysts' metadata), after 20 periods; white noise of 5 % of each variable's standard
deviation is added, then the last variable is left out in the setting "hidden". What follows, 10,000 samples without noise, is the test:

- D_stsp and D_H, its mean over variables, of a free run of 10,000 samples from the end of the noisy series;
- the largest exponent, by how fast free runs from histories 1e-7 apart part, after one Lyapunov time and until they are 1e-2 apart or
  four more have passed: its relative error;
- sMAPE of forecasts from 16 noisy histories of the test part, up to 1, 2, ... 5 Lyapunov times, against the truth without noise.

A free run that is not finite, or a thousand standard deviations away, stays where it was. Of the systems are left out: driven ones, those
with variables that wind or grow, the two that settings were chosen on (TUNING), and those whose exponent is not 0.2 a period or more or
could not be computed. They come in an order that is drawn once, so that a part of them is a sample of all. Fits end after a number of
steps, not of seconds. One thread.

ESN and NG-RC choose from CHOICES by free runs along the last fifth of each noisy series, as LEM does what a readout needs, and "auto".
The settings of what takes longer were chosen by `python benchmarks/attractors.py tune`, by D_stsp and D_H of the test part of the systems
TUNING, for all seen and one hidden each; its log is attractors.tune.jsonl. The readout has 300 units, and draws some cores whose gates
are nearly closed: that was found on LorenzBounded, SaltonSea, SprottQ, SanUmSrisuchinwong, NewtonLiepnik and Lorenz84, which are behind
the first 40 in the order. The trained LEM has 16 units
and 2,500 steps in both: with 24 units it was better where all is seen, and takes three times as long. "Forced" is "trained" with
generalised teacher forcing in the last 15 % of its steps.
"""

import argparse
import itertools
import json
import os
import time
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import torch
from scipy.integrate import solve_ivp
from scipy.signal import savgol_filter
from scipy.stats import rankdata, studentized_range

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import lemode
from lemode.baselines import AlmostLinearRNN, EchoStateNetwork, Polynomial, SINDy
from lemode.metrics import smape, smoothed_spectrum_distance, state_space_divergence

T, PER_PERIOD, NOISE, PAST, ORIGINS = 10_000, 100, 0.05, 300, 16
TUNING = ("Lorenz", "SprottE")
PATIENCE = 1_500_000  # evaluations of a right-hand side; those with jumps take hours at this accuracy
CACHE = Path("build/attractors")
SETTINGS = ("seen", "hidden")
LEAST_EXPONENT = 0.2  # a period
FIGURE = Path("benchmarks/attractors_ranks.svg")


def systems() -> list[str]:
    """Autonomous and bounded, in an order drawn once."""
    from dysts import base, flows

    found = []
    for name, cls in sorted(vars(flows).items()):
        if isinstance(cls, type) and cls.__module__ == flows.__name__ and issubclass(cls, base.DynSys):
            model = cls()
            if not (getattr(model, "nonautonomous", False) or list(getattr(model, "unbounded_indices", []) or [])):
                found.append(name)
    return [str(name) for name in np.random.default_rng(0).permutation([n for n in found if n not in TUNING])]


def generate(name: str) -> dict:
    """Twice T samples, and the largest exponent with its standard error, per sample; from a file where there is one."""
    path = CACHE / f"{name}.npz"
    if path.exists():
        return dict(np.load(path))
    if path.with_suffix(".failed").exists():
        raise ArithmeticError(path.with_suffix(".failed").read_text())
    model = lemode.systems.from_dysts(name).model
    t = model.period / PER_PERIOD * np.arange(20 * PER_PERIOD + 2 * T)
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        with np.errstate(all="ignore"):
            x = solve(model, np.asarray(model.ic, dtype=float)[:, None], t)[20 * PER_PERIOD :, :, 0]
            exponent, error = largest_exponent(model, x)
    except (ArithmeticError, ValueError) as e:  # of a right-hand side with branches, that takes one state at a time
        path.with_suffix(".failed").write_text(str(e))
        raise ArithmeticError(str(e)) from e
    out = {"x": x, "exponent": exponent / PER_PERIOD, "error": error / PER_PERIOD}
    part = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(part, **out)
    part.rename(path)  # another process may read
    return out


def solve(model, x0: np.ndarray, t: np.ndarray) -> np.ndarray:
    """``(T, D, n)`` from n states ``(D, n)``, all with the same steps."""

    calls = itertools.count()

    def rhs(s: float, flat: np.ndarray) -> np.ndarray:
        if next(calls) > PATIENCE:
            raise ArithmeticError(f"not solved in {PATIENCE:,} evaluations")
        x = flat.reshape(x0.shape)
        if x0.shape[1] == 1:
            return np.asarray(model.rhs(x[:, 0], s), dtype=float)
        return np.stack([np.broadcast_to(row, x.shape[1]) for row in model.rhs(x.T, s)]).ravel()

    found = solve_ivp(rhs, (t[0], t[-1]), x0.ravel(), "LSODA", t_eval=t, rtol=1e-9, atol=1e-10 * np.abs(x0).max())
    if not found.success:
        raise ArithmeticError(found.message)
    return found.y.T.reshape(len(t), *x0.shape)


def largest_exponent(model, x: np.ndarray, members: int = 16, periods: int = 60) -> tuple[float, float]:
    """Per period, and its standard error over members: twins 1e-6 apart, brought back to that distance after each period."""
    sigma, rng = x.std(0)[:, None], np.random.default_rng(1)
    base = x[np.linspace(0, len(x) - 1, members).astype(int)].T
    offset, growth = rng.normal(size=base.shape), []
    for _ in range(periods):
        offset *= 1e-6 / np.linalg.norm(offset, axis=0)
        both = solve(model, np.concatenate([base, base + offset * sigma], 1), np.array([0.0, model.period]))[-1]
        base, offset = both[:, :members], (both[:, members:] - both[:, :members]) / sigma
        growth.append(np.log(np.linalg.norm(offset, axis=0) / 1e-6))
    rates = np.mean(growth[10:], 0)
    return float(rates.mean()), float(rates.std(ddof=1) / np.sqrt(members))


class Smoothed:
    """A model that is given series smoothed by a Savitzky-Golay filter of third order; window 0 for none."""

    def __init__(self, model, window: int) -> None:
        self.model, self.window = model, window

    def _smooth(self, x: np.ndarray) -> np.ndarray:
        return savgol_filter(x, self.window, 3, axis=-2) if self.window else x

    def fit(self, x: np.ndarray):
        self.model.fit(self._smooth(x))
        return self

    def forecast(self, history: np.ndarray, steps: int) -> np.ndarray:
        return np.asarray(self.model.forecast(self._smooth(history), steps))


class Chosen:
    """Of several settings, drawn up in CHOICES, that with the best free runs along the last fifth of the series, fitted to all of it.

    LEM's readout chooses its own by the same measure: the mean over 10, 20, 40, ... samples of what is at most the error of the mean.
    """

    STARTS, HORIZON = 10, 400

    def __init__(self, method: str, choices: list[dict]) -> None:
        self.method, self.choices = method, choices

    def fit(self, x: np.ndarray) -> Smoothed:
        begin = 4 * len(x) // 5
        origins = np.linspace(begin + PAST, len(x) - self.HORIZON, self.STARTS).astype(int)
        histories = np.stack([x[k - PAST : k] for k in origins])
        truth = np.stack([x[k : k + self.HORIZON] for k in origins])
        return make(self.method, min(self.choices, key=lambda o: self._error(o, x[:begin], histories, truth))).fit(x)

    def _error(self, options: dict, x: np.ndarray, histories: np.ndarray, truth: np.ndarray) -> float:
        with np.errstate(all="ignore"):
            try:
                free = make(self.method, options).fit(x).forecast(histories, self.HORIZON)
            except (ArithmeticError, np.linalg.LinAlgError):
                return np.inf
            far = np.sqrt((((free - truth) / x.std(0)) ** 2).mean(-1))
        far = np.minimum(np.nan_to_num(far, nan=1.0), 1.0).mean(0)
        return float(np.mean([far[:h].mean() for h in (10, 20, 40, 80, 160, 320, 400)]))


class PatientSINDy(SINDy):
    """ArithmeticError where a forecast with the equations that were found takes as many evaluations as no system here: they blow up."""

    def _fit(self, x: np.ndarray) -> None:
        super()._fit(x)
        rhs, self.calls = self.system_.rhs, itertools.count()

        def counted(t, x):
            if next(self.calls) > PATIENCE:
                raise ArithmeticError(f"no forecast in {PATIENCE:,} evaluations")
            return rhs(t, x)

        self.system_.rhs = counted

    def _forecast(self, x: np.ndarray, steps: int) -> np.ndarray:
        self.calls = itertools.count()  # each forecast has its own
        return super()._forecast(x, steps)


def lem(train: str, **options):
    """The trained network's settings go to auto, too."""
    settings = {"steps": 1500, "verbose": 0, **options}
    width = settings.pop("width", 300)
    return lemode.Surrogate(
        train=train,
        **({"hidden_size": width} if train == "readout" else {"width": width} if train == "auto" else {}),
        **settings,
    )


# name: model of options, options by setting
MAKE = {
    "LEM, auto": lambda **o: lem("auto", **o),
    "LEM, readout": lambda **o: lem("readout", **o),
    "LEM, trained": lambda **o: lem("all", **o),
    "LEM, forced": lambda **o: lem("all", **o),
    "ESN": EchoStateNetwork,
    "NG-RC": Polynomial,
    "SINDy": PatientSINDy,
    "AL-RNN": AlmostLinearRNN,
}
TRAINED = {"steps": 2500}
SMOOTH_QUADRATIC = {"smooth": 21, "degree": 2, "threshold": 0.02}
FORCED = {"stages": ("one-step", "forced"), "horizon": 50}
SOLVED = {"width": 300}
# what peers that are fitted in a second choose from, on each series
CHOICES: dict[str, list[dict]] = {
    "NG-RC": [
        {"smooth": s, "degree": d, "delays": p, "ridge": r}
        for s, (d, p), r in itertools.product((0, 21), ((2, 0), (2, 2), (2, 5), (3, 2)), (1e-6, 1e-2))
    ],
    "ESN": [
        {"units": 500, "spectral_radius": 0.9, "input_scaling": i, "leak": a, "ridge": r}
        for i, a, r in itertools.product((0.1, 0.5), (0.3, 1.0), (1e-4, 1e-2, 1.0))
    ],
}
# by setting
METHODS: dict[str, dict[str, dict]] = {
    "LEM, auto": {s: {**TRAINED, **SOLVED} for s in SETTINGS},
    "LEM, readout": dict.fromkeys(SETTINGS, SOLVED),
    "LEM, trained": dict.fromkeys(SETTINGS, TRAINED),
    "LEM, forced": {s: {**TRAINED, **FORCED} for s in SETTINGS},
    **{m: {s: {"choose": CHOICES[m]} for s in SETTINGS} for m in ("ESN", "NG-RC")},
    "SINDy": dict.fromkeys(SETTINGS, SMOOTH_QUADRATIC),
    "AL-RNN": {
        "seen": {"interval": 16, "window": 100, "lr": 1e-2, "steps": 800},
        "hidden": {"interval": 10, "window": 60, "lr": 1e-2, "steps": 800},
    },
}


def make(method: str, options: dict) -> Smoothed | Chosen:
    if "choose" in options:
        return Chosen(method, options["choose"])
    options = dict(options)
    window = options.pop("smooth", 0)
    return Smoothed(MAKE[method](**options), window)


def series(name: str, setting: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Noisy values of both parts, the true ones, and the exponent per sample."""
    data = generate(name)
    x = data["x"][:, : data["x"].shape[1] - (setting == "hidden")]
    noise = np.random.default_rng(3).normal(size=data["x"].shape)[:, : x.shape[1]]
    return x + NOISE * x[:T].std(0) * noise, x, float(data["exponent"])


def held(free: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """From where it is not finite, or a thousand standard deviations away, a run stays where it was: the measures want finite ones."""
    with np.errstate(all="ignore"):
        lost = ~(np.abs(free - truth.mean(0)) < 1000 * truth.std(0)).all(-1)
    if not lost.any():
        return free
    first = int(lost.argmax())
    last = free[first - 1] if first else truth.mean(0)
    return np.concatenate([free[:first], np.repeat(last[None], len(free) - first, 0)])


def judge(model: Smoothed, noisy: np.ndarray, truth: np.ndarray, exponent: float) -> dict[str, float]:
    """All numbers of one fit."""
    test, sigma = truth[T:], truth[:T].std(0)
    free = held(model.forecast(noisy[T - PAST : T], T), test)
    row = {"D_stsp": state_space_divergence(free, test), "D_H": float(smoothed_spectrum_distance(free, test).mean())}
    ahead = round(5 / exponent)
    starts = np.linspace(T + PAST, 2 * T - ahead, ORIGINS).astype(int)
    histories = np.stack([noisy[k - PAST : k] for k in starts])
    found = model.forecast(histories, ahead)
    error = smape(found, np.stack([truth[k : k + ahead] for k in starts])).mean(0)
    row |= {f"sMAPE {k}": float(error[round(k / exponent) - 1]) for k in range(1, 6)}
    offset = np.random.default_rng(4).normal(size=(ORIGINS, 1, truth.shape[1])) * sigma
    offset *= 1e-7 / np.linalg.norm(offset / sigma, axis=2, keepdims=True)
    with np.errstate(all="ignore"):
        apart = np.linalg.norm((model.forecast(histories + offset, ahead) - found) / sigma, axis=2)
        log = np.log(apart).mean(0)
    first = round(1 / exponent)
    end = first + int((log[first:] < np.log(1e-2)).cumprod().sum())
    finite = end - first > 10 and np.isfinite(log[first:end]).all()
    rate = np.polyfit(np.arange(first, end), log[first:end], 1)[0] if finite else np.nan
    return {**row, "exponent": float(abs(rate / exponent - 1)) if finite else np.nan}


def fit_and_judge(name: str, setting: str, method: str, options: dict) -> dict:
    noisy, truth, exponent = series(name, setting)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the table shows what a fit is worth
        try:
            model = make(method, options).fit(noisy[:T])
            cpu = time.process_time() - start
            row = judge(model, noisy, truth, exponent)
        except (ArithmeticError, np.linalg.LinAlgError, lemode.surrogate.FitDivergedError) as e:
            cpu, row = time.process_time() - start, {"failed": str(e)[:200]}
    row["seconds"] = cpu
    row["judged in"] = time.process_time() - start - cpu
    kept = getattr(getattr(model.model, "history_", None), "kept", "") if "failed" not in row else ""
    return row | ({"kept": kept.split(":")[0]} if kept else {})


# what the settings of methods that are trained are chosen from, by `tune`
TRIALS: dict[str, list[dict]] = {
    "SINDy": [{"smooth": s, "degree": d, "threshold": h} for s, d, h in itertools.product((21, 41), (2, 3), (0.02, 0.1))],
    "AL-RNN": [
        {"smooth": s, "interval": n, "window": w, "lr": r, "steps": 800}
        for s, n, w, r in ((0, 16, 100, 1e-2), (0, 10, 60, 1e-2), (0, 30, 100, 1e-2), (21, 16, 100, 1e-2))
    ],
    "LEM, readout": [{"smooth": 0, "width": w} for w in (100, 300, 600)],
    "LEM, trained": [
        {"smooth": 0, "steps": 1000, **o}
        for o in ({}, {"hidden_size": 24}, {"stages": ("one-step", "noise")}, {"steps": 2500}, {"steps": 2500, **FORCED})
    ],
}


def logged(path: Path) -> dict:
    return {tuple(key): row for key, row in map(json.loads, path.read_text().splitlines())} if path.exists() else {}


def append(path: Path, key: tuple, row: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps([key, row]) + "\n")


def tune(options: argparse.Namespace) -> None:
    """Each choice on the systems TUNING: for each setting the mean of D_stsp and of 20 D_H, which are about alike."""
    path, end = options.log.with_suffix(".tune.jsonl"), time.monotonic() + 60 * options.minutes
    done = logged(path)
    for method, choices in TRIALS.items():
        if options.only not in method:
            continue
        for name, setting in itertools.product(TUNING, SETTINGS):
            for choice in choices:
                key = (method, json.dumps(choice), name, setting)
                if time.monotonic() > end:
                    return
                if key not in done:
                    done[key] = fit_and_judge(name, setting, method, choice)
                    append(path, key, done[key])
        for setting in SETTINGS:
            rows = []
            for choice in choices:
                found = [done[method, json.dumps(choice), name, setting] for name in TUNING]
                d = np.nan_to_num([[row.get("D_stsp", 20), 20 * row.get("D_H", 1)] for row in found], nan=20)
                rows.append(
                    (float(d.mean()), d.mean(0).round(2).tolist(), np.mean([row["seconds"] for row in found]).round(1), choice)
                )
            for row in sorted(rows, key=lambda r: r[0]):
                print(method, setting, *row, flush=True)


def eligible(count: int):
    """Names and data of the first so many systems of the order."""
    for name in systems():
        try:
            data = generate(name)
        except ArithmeticError:
            continue
        if count > 0 and data["exponent"] * PER_PERIOD >= LEAST_EXPONENT and np.isfinite(data["x"]).all():
            count -= 1
            yield name


def run(options: argparse.Namespace) -> None:
    """What is not in the log, system by system."""
    done, end = logged(options.log), time.monotonic() + 60 * options.minutes
    for name in eligible(options.systems):
        for setting in SETTINGS:
            for method, settings in METHODS.items():
                key = (name, setting, method)
                if key in done or options.only not in method:
                    continue
                if time.monotonic() > end:
                    return
                row = fit_and_judge(name, setting, method, settings[setting])
                if method == "LEM, auto" and "kept" in row:  # auto is one of the two: same seed, same steps
                    twin = (name, setting, "LEM, readout" if row["kept"] == "readout" else "LEM, trained")
                    if twin not in done:
                        done[twin] = {**row, "seconds": None}
                        append(options.log, twin, done[twin])
                done[key] = row
                append(options.log, key, row)
                print(f"<!-- {key}: {row} -->", flush=True)


MEASURES = ("D_stsp", "D_H", "exponent", "sMAPE 1", "sMAPE 3", "sMAPE 5")


def table(options: argparse.Namespace) -> None:
    """Median and quartiles over the systems that all methods have been run on; mean ranks, and the figure."""
    done = logged(options.log)
    names = [n for n in systems() if all((n, s, m) in done for s in SETTINGS for m in METHODS)]
    k, n = len(METHODS), len(names)
    critical = float(studentized_range.ppf(0.95, k, np.inf)) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n))
    print(f"lemode {lemode.__version__}, torch {torch.__version__}, one thread. **{n} systems**: {', '.join(names)}.\n")
    print(
        f"Median over systems, in brackets the quartiles; below them the mean rank, 1 is best of {k}. By Nemenyi's test at 5 % two "
        f"methods differ if their mean ranks do by **{critical:.2f}** or more. Exponent: relative error. Seconds: a fit, of one core. "
        "`n` cases gave no finite number. The first line is another stretch of the same solution, without noise.\n"
    )
    figure, axes = plt.subplots(2, 2, figsize=(9, 4.6), layout="constrained")
    for row, setting in enumerate(SETTINGS):
        print(f"# {'All variables seen' if setting == 'seen' else 'The last variable hidden'}\n")
        print(f"| method | {' | '.join(MEASURES)} | seconds |\n|---" + "|---" * (len(MEASURES) + 1) + "|")
        floor = []
        for name in names:
            x = series(name, setting)[1]
            floor.append((state_space_divergence(x[:T], x[T:]), smoothed_spectrum_distance(x[:T], x[T:]).mean()))
        cells = [f"{m:.2f} [{a:.2f}, {b:.2f}]" for a, m, b in np.percentile(floor, (25, 50, 75), axis=0).T]
        print(f"| *the system* | {' | '.join(cells)} |" + " |" * (len(MEASURES) - 1))
        values = np.array([[[value(done[s, setting, m], q) for s in names] for m in METHODS] for q in MEASURES])
        ranks = rankdata(values, axis=1).mean(2)
        best = ranks == ranks.min(1, keepdims=True)
        for i, method in enumerate(METHODS):
            cells = []
            for j, q in enumerate(MEASURES):
                digits = 0 if "sMAPE" in q else 2
                a, m, b = np.percentile(values[j, i], (25, 50, 75), method="nearest")
                mark = "**" if best[j, i] else ""
                lost = f", {np.sum(~np.isfinite(values[j, i]))} n" if not np.isfinite(values[j, i]).all() else ""
                cells.append(f"{m:.{digits}f} [{a:.{digits}f}, {b:.{digits}f}{lost}]<br>{mark}{ranks[j, i]:.2f}{mark}")
            seconds = [t for s in names if (t := done[s, setting, method]["seconds"]) is not None]
            print(
                f"| {method} | {' | '.join(cells)} | {np.median(seconds):.0f} |"
                if seconds
                else f"| {method} | {' | '.join(cells)} | |"
            )
        print()
        for column, j in enumerate((0, 1)):
            draw(axes[row, column], ranks[j], critical, f"{MEASURES[j]}, {'all seen' if setting == 'seen' else 'one hidden'}")
    plt.rcParams["svg.hashsalt"] = "lemode"
    figure.savefig(FIGURE, metadata={"Date": None})
    print(f"Mean ranks; the bar is the critical difference.\n\n![Mean ranks of the methods]({FIGURE.name})")


def value(row: dict, measure: str) -> float:
    """Infinite, the last in rank, where there is none."""
    found = row.get(measure)
    return float(found) if found is not None and np.isfinite(found) else np.inf


def draw(axes, ranks: np.ndarray, critical: float, title: str) -> None:
    order = np.argsort(-ranks)
    axes.hlines(range(len(ranks)), ranks[order] - critical / 2, ranks[order] + critical / 2, color="0.75", lw=4)
    axes.plot(ranks[order], range(len(ranks)), "o", color="C0")
    axes.set_yticks(range(len(ranks)), [list(METHODS)[i] for i in order])
    axes.set_title(title)
    axes.set_xlabel("mean rank; those whose bars do not meet differ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("tune", "run", "table"))
    parser.add_argument("--systems", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=10.0, help="no fit is begun after them")
    parser.add_argument("--only", default="", help="methods whose name contains this")
    parser.add_argument("--log", type=Path, default=Path("benchmarks/attractors.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    {"tune": tune, "run": run, "table": table}[options.command](options)


if __name__ == "__main__":
    main()
