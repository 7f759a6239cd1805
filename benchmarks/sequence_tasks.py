"""LEM beside its peers on the tasks it is known for: equal parameters, equal steps, several seeds; Markdown on standard output.

    python benchmarks/sequence_tasks.py permuted noise --seeds 3
    python benchmarks/sequence_tasks.py adding --only "LEM|LSTM" --set T=2000 steps=3000 width=128
    python benchmarks/sequence_tasks.py permuted noise --table      # what the log has, nothing is run
    python benchmarks/sequence_tasks.py permuted noise --time       # and how long a step takes, measured anew for all models together

Tasks: ``adding``, ``copy`` (new sequences at every step); ``permuted``, ``noise`` (scikit-learn's digits, pixel by pixel in a fixed random
order; row by row with noise behind); ``long`` (ACSF1: 1,460 steps, 10 appliances); ``vowels`` (JapaneseVowels); two regressions, ``fat``
(Tecator) and ``covid`` (Covid3Month); ``text`` (the next character of Python's help texts). Those of an archive read the .ts files of
--root, or of an installed aeon and sktime (pip install --no-deps aeon sktime).

All run through `lemode.supervised`: Adam, a cosine, gradients of norm 1 at most, the weights that are best in validation. A model has as
many parameters as a LEM of the task's width, as nearly as whole units allow, and as many steps; its learning rate is that of --lr with
which its validation error is smallest, on average over the seeds. A finished run is a line of JSON in --log, and is not run again. Runs may
have been made beside other work and on several machines, so their seconds are in the log, but not in the tables: --time takes the
processor time of the forward and the backward pass of a batch.
"""

import argparse
import functools
import hashlib
import json
import math
import platform
import re
import time
import warnings
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sequence_tasks_variants import VARIANTS
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, glu, mse_loss, one_hot

import lemode
from lemode import LEMClassifier, LEMRegressor, tasks
from lemode.supervised.network import build
from lemode.supervised.series import Padded
from lemode.supervised.training import INTERRUPTED, History, Recipe, train
from lemode.tasks.synthetic import draw_adding, draw_copy

# -- peers that torch does not have, with nn.LSTM's conventions, time first ------------------------------------------


class LinOSS(nn.Module):
    r"""Blocks of linear oscillators y'' = -A y + B u, discretized implicitly (IM), each followed by GELU, GLU and a skip.

    z_n = z_{n-1} + dt (-A y_n + B u_n), y_n = y_{n-1} + dt z_n, x_n = C y_n + D u_n. The oscillators are linear and their A is diagonal, so
    the powers of the step are known: with S = 1 / (1 + dt^2 A) and tan(theta) = dt sqrt(A), after n steps from an impulse

        y_n = S^(n/2) (cos(n theta) dt^2 S + sin(n theta) / sqrt(A) dt S) B u_0

    and a sequence is a convolution with it, by FFT. Rusch and Rus, Oscillatory State-Space Models, ICLR 2025, arXiv:2410.03943.
    """

    def __init__(self, features: int, hidden_size: int, num_layers: int = 1, blocks: int = 2) -> None:
        super().__init__()
        d = hidden_size
        self.encoder = nn.Linear(features, d)
        self.A, self.step = (nn.ParameterList(nn.Parameter(torch.rand(d)) for _ in range(blocks)) for _ in range(2))
        self.B, self.C = (nn.ModuleList(nn.Linear(d, d, bias=False) for _ in range(blocks)) for _ in range(2))
        self.D = nn.ParameterList(nn.Parameter(torch.randn(d)) for _ in range(blocks))
        self.gate = nn.ModuleList(nn.Linear(d, 2 * d) for _ in range(blocks))

    @staticmethod
    def kernel(A: Tensor, dt: Tensor, T: int) -> Tensor:
        """y after 0, ..., T - 1 steps from an impulse of one, ``(T, d)``."""
        root, n = A.clamp_min(1e-8).sqrt(), torch.arange(T, dtype=A.dtype)[:, None]
        S = 1 / (1 + dt**2 * root**2)
        theta = torch.atan(dt * root)
        return S ** (n / 2) * (torch.cos(n * theta) * dt**2 * S + torch.sin(n * theta) / root * dt * S)

    def forward(self, u: Tensor) -> tuple[Tensor, None]:
        T = len(u)
        h = self.encoder(u)
        for A, step, B, C, D, gate in zip(self.A, self.step, self.B, self.C, self.D, self.gate, strict=True):
            k, force = self.kernel(A.relu(), step.sigmoid(), T).T, B(h).permute(1, 2, 0)  # time last, for the FFT
            y = torch.fft.irfft(torch.fft.rfft(k, 2 * T) * torch.fft.rfft(force, 2 * T), 2 * T)[..., :T].permute(2, 0, 1)
            h = h + glu(gate(gelu(C(y) + D * h)))
        return h, None


class MinGRU(nn.Module):
    """Layers h_n = (1 - g_n) h_{n-1} + g_n (W u_n + b), g_n = sigma(V u_n + c): a GRU whose gate does not see its state.

    Feng et al., Were RNNs all we needed?, arXiv:2410.01201; the second layer adds to the first.
    """

    def __init__(self, features: int, hidden_size: int, num_layers: int = 1, layers: int = 2) -> None:
        super().__init__()
        sizes = [features] + [hidden_size] * (layers - 1)
        self.maps = nn.ModuleList(nn.Linear(size, 2 * hidden_size) for size in sizes)

    def forward(self, u: Tensor) -> tuple[Tensor, None]:
        for k, both in enumerate(self.maps):
            gate, candidate = both(u).chunk(2, -1)
            gate = gate.sigmoid()
            keep, new = (1 - gate).unbind(0), (gate * candidate).unbind(0)
            h, states = torch.zeros_like(new[0]), []
            for a, b in zip(keep, new, strict=True):
                h = torch.addcmul(b, a, h)
                states.append(h)
            y = torch.stack(states)
            u = y if k == 0 else u + y
        return u, None


# name: core, initialisation; with a small dt all units of a LEM have time scales near half the longest series, 2 / dt = T / 2
SMALL_DT = "LEM, small dt"
MODELS: dict[str, tuple[Any, str]] = {
    "LEM": ("lem", "paper"),
    SMALL_DT: ("lem", "paper"),
    "LEM, time scales": ("lem", "timescales"),
    "nn.LSTM": ("lstm", "paper"),
    "chrono-LSTM": ("lstm", "timescales"),
    "nn.GRU": ("gru", "paper"),
    "LinOSS": (LinOSS, "paper"),
    "minGRU": (MinGRU, "paper"),
}
for variant, core in VARIANTS.items():
    MODELS |= {variant: (core, "paper"), f"{variant}, time scales": (core, "timescales")}


Result = dict[str, float]  # what was measured, by name; "validation" is what the learning rate is chosen by


# -- what a network remembers ------------------------------------------------------------------------------------------


def memory(network: Any, series: Padded) -> Result:
    """How much the last output depends on early inputs, over late ones; of a LEM also the time scales of its units along the series.

    The former is the gradient of the sum of the outputs by the inputs, in its 1-norm, averaged over the first and the last tenth of each
    series; the median over the series.
    """
    x = series.x.clone().requires_grad_(True)
    out = network(Padded(x, series.lengths))
    last = out if out.dim() == 2 else out[torch.arange(len(series)), series.lengths - 1]
    sizes = torch.autograd.grad(last.sum(), x)[0].abs().sum(-1)
    ratios = []
    for k, T in enumerate(series.lengths.tolist()):
        tenth = max(1, T // 10)
        ratios.append(sizes[:tenth, k].mean() / sizes[T - tenth : T, k].mean().clamp_min(1e-30))
    found = {"_early over late": float(torch.stack(ratios).median())}
    if isinstance(network.core, lemode.LEM):
        median = lemode.analysis.timescales(network.core, series.x[: int(series.lengths.min())]).median
        found |= {f"_tau {q:.0%}": float(np.quantile(median, q)) for q in (0.05, 0.5, 0.95)}
    return found


def whole(history: History) -> History:
    """KeyboardInterrupt for a fit that was interrupted: it keeps its best weights, but its result is none for the log."""
    if history.stopped == INTERRUPTED:
        raise KeyboardInterrupt
    return history


# -- tasks -----------------------------------------------------------------------------------------------------------


@dataclass
class Trial:
    """One model on one task."""

    cell: Any
    init: str
    width: int
    seed: int
    lr: float
    steps: int
    batch: int
    dt: float = 1.0


@dataclass
class Problem:
    """A task, laid out for every model: sizes, what a trial gives, and which figure is shown, the smaller the better or not."""

    features: int
    outputs: int
    longest: int
    run: Callable[[Trial], Result]
    title: str


def parameters(cell: Any, features: int, outputs: int, width: int) -> int:
    network = build(cell, features, width, outputs, torch.Generator())
    return sum(p.numel() for p in network.parameters())


@functools.cache
def width_for(cell: Any, features: int, outputs: int, target: int) -> tuple[int, int]:
    """The width with which a model has most nearly so many parameters, and how many these are."""
    widths = range(1, 1025)
    width = widths[bisect_left(widths, target, key=lambda w: parameters(cell, features, outputs, w))]
    sizes = {w: parameters(cell, features, outputs, w) for w in (max(width - 1, 1), width)}
    best = min(sizes, key=lambda w: abs(sizes[w] - target))
    return best, sizes[best]


def drawn(
    trial: Trial, problem: Problem, readout: str, draw: Callable[[int, np.random.Generator], Any], loss: Callable[..., Tensor],
    judge: Callable[[Tensor, Tensor], Result],
) -> Result:  # fmt: skip
    """Train on new sequences at every step; validation and test sequences are the same for all."""
    rng = np.random.default_rng([trial.seed, 1])
    network = build(
        trial.cell, problem.features, trial.width, problem.outputs, torch.Generator().manual_seed(trial.seed), init=trial.init,
        memory=(2.0, float(problem.longest)), readout=readout, dt=trial.dt,
    )  # fmt: skip

    def ready(part: Any) -> tuple[Padded, Tensor]:
        x = torch.as_tensor(part.x).transpose(0, 1).contiguous()
        return Padded(x, torch.full((x.shape[1],), len(x))), torch.as_tensor(part.y)

    def outputs(data: Padded) -> Tensor:
        return torch.cat([network(data.take(rows)) for rows in torch.arange(len(data)).split(100)])

    (held, goal), (test, truth) = (ready(draw(n, np.random.default_rng(k))) for n, k in ((200, 10**6), (1000, 10**6 + 1)))

    def step() -> Tensor:
        data, target = ready(draw(trial.batch, rng))
        return loss(network(data), target)

    recipe = Recipe(steps=trial.steps, lr=trial.lr, validate_every=100)
    history = whole(train(network, step, lambda: float(loss(outputs(held), goal)), recipe))
    with torch.no_grad():
        found = judge(outputs(test), truth)
    curve = {f"_validation at {at}": error for at, error in history.validation if at % max(100, trial.steps // 10) == 0}
    found |= memory(network, test.take(torch.arange(20)))
    return {**found, "validation": min(error for _, error in history.validation), "train seconds": history.seconds, **curve}


def adding(o: dict[str, Any]) -> Problem:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        return mse_loss(out[:, 0], y)

    def run(trial: Trial) -> Result:
        return drawn(trial, problem, "last", lambda n, rng: draw_adding(n, o["T"], rng), loss, judge)

    def judge(out: Tensor, y: Tensor) -> Result:
        return {"test MSE": float(loss(out, y))}

    problem = Problem(2, 1, o["T"], run, f"Adding problem, T = {o['T']:,}; who says 1 has 0.167")
    return problem


def copy(o: dict[str, Any]) -> Problem:
    length, symbols = 10, 8
    floor = length * math.log(symbols) / (o["T"] + 2 * length)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(out.flatten(0, 1), y.flatten())

    def run(trial: Trial) -> Result:
        return drawn(trial, problem, "all", lambda n, rng: draw_copy(n, o["T"], rng), loss, judge)

    def judge(out: Tensor, y: Tensor) -> Result:
        right = (out.argmax(-1) == y)[:, -length:].double().mean()
        return {"symbols right, %": 100 * float(right), "cross entropy over the memoryless": float(loss(out, y)) / floor}

    problem = Problem(
        symbols + 2, symbols + 1, o["T"] + 2 * length, run, f"Copy memory, T = {o['T']:,}; who guesses has 12.5 %"
    )
    return problem


def text(o: dict[str, Any]) -> Problem:
    task = tasks.python_topics(o["T"])
    k = len(task.classes)

    def windows(part: Any, rows: Any) -> Any:
        return tasks.Part(one_hot(torch.from_numpy(part.x[rows]), k).float(), part.y[rows])

    def draw(n: int, rng: np.random.Generator) -> Any:
        if n == 200:
            return windows(task.validation, slice(200))
        return windows(task.test, slice(None)) if n == 1000 else windows(task.train, rng.integers(0, len(task.train.x), n))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(out.flatten(0, 1), y.flatten())

    def run(trial: Trial) -> Result:
        return drawn(trial, problem, "all", draw, loss, lambda out, y: {"bits a character": float(loss(out, y)) / math.log(2)})

    problem = Problem(k, k, o["T"], run, f"{task.name}, windows of {o['T']} characters from rest")
    return problem


def data_set(task: tasks.Task) -> Problem:
    longest = max(len(x) for part in (task.train, task.validation, task.test) for x in part.x)

    def run(trial: Trial) -> Result:
        make = LEMClassifier if task.kind == "classification" else LEMRegressor
        model = make(
            hidden_size=trial.width, cell=trial.cell, init=trial.init, lr=trial.lr, steps=trial.steps, batch_size=trial.batch,
            patience=None, seed=trial.seed, verbose=0, dt=trial.dt,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lemode.DataWarning)  # of vowels: 12 features and 7 to 29 steps
            model.fit(task.train.x, task.train.y, validation=task.validation)
        score = model.score(*task.test)
        history = whole(model.history_)
        found = {"validation": min(error for _, error in history.validation), "train seconds": history.seconds}
        found |= memory(model.network_, Padded.of([model.scales_.normalise(x) for x in task.test.x[:20]]))
        if task.kind == "classification":
            return {"accuracy, %": 100 * score, **found}
        return {"test RMSE": float(np.sqrt(np.mean((model.predict(task.test.x) - task.test.y) ** 2))), "R^2": score, **found}

    return Problem(task.train.x[0].shape[1], len(task.classes) or 1, longest, run, repr(task).removeprefix("Task "))


# settings of every task: width of the LEM that the others have the parameters of, steps, series a step
TASKS: dict[str, tuple[Callable[[dict[str, Any]], Problem], dict[str, Any], dict[str, Any]]] = {
    "adding": (adding, {"T": 2000, "width": 128, "steps": 3000, "batch": 50}, {"T": 20, "width": 8, "steps": 4, "batch": 5}),
    "copy": (copy, {"T": 200, "width": 64, "steps": 3000, "batch": 32}, {"T": 5, "width": 8, "steps": 4, "batch": 5}),
    "permuted": (
        lambda o: data_set(tasks.digits("permuted")),
        {"width": 64, "steps": 3000, "batch": 32},
        {"width": 8, "steps": 4, "batch": 8},
    ),
    "noise": (
        lambda o: data_set(tasks.digits("noise", length=o["T"])),
        {"T": 500, "width": 64, "steps": 2000, "batch": 32},
        {"T": 20, "width": 8, "steps": 4, "batch": 8},
    ),
    "long": (
        lambda o: data_set(tasks.archive("ACSF1", o["root"])),
        {"width": 32, "steps": 1000, "batch": 20},
        {"width": 4, "steps": 2, "batch": 4},
    ),
    "vowels": (
        lambda o: data_set(tasks.archive("JapaneseVowels", o["root"])),
        {"width": 32, "steps": 1000, "batch": 32},
        {"width": 8, "steps": 4, "batch": 8},
    ),
    "covid": (
        lambda o: data_set(tasks.archive("Covid3Month", o["root"])),
        {"width": 32, "steps": 1000, "batch": 32},
        {"width": 8, "steps": 4, "batch": 8},
    ),
    "fat": (
        lambda o: data_set(tasks.archive("Tecator", o["root"])),
        {"width": 32, "steps": 2000, "batch": 32},
        {"width": 8, "steps": 4, "batch": 8},
    ),
    "text": (text, {"T": 100, "width": 128, "steps": 3000, "batch": 32}, {"T": 20, "width": 8, "steps": 2, "batch": 4}),
}


# -- runs and their log ----------------------------------------------------------------------------------------------


def digest(settings: dict[str, Any]) -> str:
    """By which a run is known again; where the files are does not matter."""
    told = {name: value for name, value in settings.items() if name != "root"}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def logged(path: Path) -> dict[str, dict[str, Any]]:
    """Finished runs by what they are; a line that was cut off is none."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            run = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[run["key"]] = run
    return found


def run_all(names: list[str], options: argparse.Namespace, log: Path) -> None:
    done = logged(log)
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and not log.read_text().endswith("\n"):  # killed while it wrote
        with log.open("a") as file:
            file.write("\n")
    for name in names:
        settings, problem = settings_of(name, options), None
        # one seed of all before the next: a table of a few seeds is better than half of one
        for seed in range(options.seeds):
            for model, (cell, init) in chosen_models(options).items():
                for lr in options.lr:
                    key = key_of(name, settings, model, seed, lr)
                    if key in done:
                        continue
                    problem = problem or TASKS[name][0]({**settings, "root": options.root})
                    target = parameters("lem", problem.features, problem.outputs, settings["width"])
                    width, count = width_for(cell, problem.features, problem.outputs, target)
                    start = time.monotonic()
                    dt = min(1.0, 4 / problem.longest) if model == SMALL_DT else 1.0
                    made = (
                        functools.partial(cell, longest=float(problem.longest))
                        if callable(cell) and init == "timescales"
                        else cell
                    )
                    trial = Trial(made, init, width, seed, lr, settings["steps"], settings["batch"], dt)
                    try:
                        result = problem.run(trial)
                    except lemode.FitDivergedError:
                        result = {"validation": math.inf, "train seconds": time.monotonic() - start}
                    line = {
                        "key": key, "task": name, "title": problem.title, "model": model, "seed": seed, "lr": lr, "settings": settings,
                        "units": width, "parameters": count, "of": target, "result": result,
                    }  # fmt: skip
                    with log.open("a") as file:
                        file.write(json.dumps(line) + "\n")
                    done[key] = line


def time_all(names: list[str], options: argparse.Namespace, log: Path) -> None:
    """Add the milliseconds of a core that forward and backward pass of a batch take: the median of seven, one model after the other."""
    for name in names:
        settings = settings_of(name, options)
        problem = TASKS[name][0]({**settings, "root": options.root})
        target = parameters("lem", problem.features, problem.outputs, settings["width"])
        for model, (cell, _) in chosen_models(options).items():
            width, _ = width_for(cell, problem.features, problem.outputs, target)
            network = build(cell, problem.features, width, problem.outputs, torch.Generator().manual_seed(0))
            x = torch.randn(problem.longest, settings["batch"], problem.features)
            batch, took = Padded(x, torch.full((settings["batch"],), problem.longest)), []
            for _ in range(9):
                start = time.process_time()
                network(batch).sum().backward()
                took.append(1e3 * (time.process_time() - start))
            line = {"key": time_key(name, settings, model), "ms": float(np.median(took[2:]))}
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")


def time_key(name: str, settings: dict[str, Any], model: str) -> str:
    return f"time {name} {digest(settings)} {model}"


def key_of(name: str, settings: dict[str, Any], model: str, seed: int, lr: float) -> str:
    return f"{name} {digest(settings)} {model} seed={seed} lr={lr:g}"


def settings_of(name: str, options: argparse.Namespace) -> dict[str, Any]:
    _, full, quick = TASKS[name]
    settings = {**full, **(quick if options.quick else {})}
    for change in options.set:
        key, _, value = change.partition("=")
        if key not in settings or not value.isdigit():
            raise SystemExit(f"--set {change}: {name} has the whole numbers {', '.join(settings)}.")
        settings[key] = int(value)
    return settings


def chosen_models(options: argparse.Namespace) -> dict[str, tuple[Any, str]]:
    found = {name: model for name, model in MODELS.items() if re.search(options.only, name)}
    if not found:
        raise SystemExit(f"--only {options.only}: no model matches; there are {', '.join(MODELS)}.")
    return found


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    if len(values) == 1:
        return f"{values[0]:.3g}"
    return f"{np.mean(values):.3g} ± {np.std(values, ddof=1):.2g}"


def tables(names: list[str], options: argparse.Namespace, log: Path) -> None:
    done = logged(log)
    for name in names:
        settings, rows = settings_of(name, options), []
        # also of models that were tried and are no longer here
        tried = [run["model"] for key, run in done.items() if key.startswith(f"{name} {digest(settings)} ")]
        for model in dict.fromkeys([*chosen_models(options), *(m for m in tried if re.search(options.only, m))]):
            by_lr = {}
            for lr in options.lr:
                keys = [key_of(name, settings, model, seed, lr) for seed in range(options.seeds)]
                by_lr[lr] = [done[key] for key in keys if key in done]
            # a mean over some seeds is not compared with one over others
            most = max(map(len, by_lr.values()))
            by_lr = {lr: runs for lr, runs in by_lr.items() if len(runs) == most}
            if most:
                lr, runs = min(by_lr.items(), key=lambda item: np.mean([r["result"]["validation"] for r in item[1]]))
                rows.append((model, lr, runs))
        if not rows:
            print(f"\n# {name}\n\nno finished run with these settings in {log}")
            continue
        titles = [run["title"] for _, _, runs in rows for run in runs]
        shown = list(
            dict.fromkeys(
                k
                for _, _, runs in rows
                for r in runs
                for k in r["result"]
                if k[0] != "_" and k not in ("validation", "train seconds")
            )
        )
        head = ["model", *shown, "units", "parameters", "lr", "seeds", "ms of a core a batch"]
        steps = f"{settings['steps']:,} steps of {settings['batch']} series"
        print(f"\n# {titles[0]}\n\n{steps}; mean ± standard deviation over the seeds.\n")
        print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for model, lr, runs in rows:
            values = [[r["result"][column] for r in runs if column in r["result"]] for column in shown]
            cells = [
                spread(v) + (f" ({len(runs) - len(v)} diverged)" if len(v) < len(runs) else "") if v else "diverged"
                for v in values
            ]
            bold = f"**{model}**" if model.startswith("LEM") else model
            took = done.get(time_key(name, settings, model))
            last = [runs[0]["units"], f"{runs[0]['parameters']:,}", f"{lr:g}", len(runs), f"{took['ms']:.3g}" if took else ""]
            print(f"| {bold} | {' | '.join(map(str, [*cells, *last]))} |", flush=True)
        remembered(rows)


def remembered(rows: list[tuple[str, float, list[dict[str, Any]]]]) -> None:
    """What the networks of a table remember; means over the seeds."""
    print(
        "\n| model | gradient of early inputs over late | time scales of its units, steps: 5 %, median, 95 % |\n|---|---|---|"
    )
    for model, _, runs in rows:
        means = {}
        for name in ("_early over late", "_tau 5%", "_tau 50%", "_tau 95%"):
            values = [r["result"][name] for r in runs if name in r["result"]]
            if values:  # of ratios
                means[name] = f"{math.exp(np.mean(np.log(np.maximum(values, 1e-300)))):.2g}"
        print(f"| {model} | {means.get('_early over late', '')} | {', '.join(v for k, v in means.items() if 'tau' in k)} |")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", choices=TASKS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lr", type=float, nargs="+", default=[3e-3], help="learning rates to choose from by validation")
    parser.add_argument("--only", default="", help="models whose name matches this regular expression")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="other settings of the task: T, width, steps, batch"
    )
    parser.add_argument("--root", help="folder of the .ts files, if not in an installed aeon")
    parser.add_argument("--log", type=Path, default=Path("build/sequence_tasks.jsonl"))
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it runs, not how well")
    parser.add_argument(
        "--time", action="store_true", help="time a batch of every model, and print the tables; nothing is trained"
    )
    parser.add_argument("--table", action="store_true", help="print what the log has, and run nothing")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.time:
        time_all(options.tasks, options, options.log)
    elif not options.table:
        run_all(options.tasks, options, options.log)
    print(f"lemode {lemode.__version__}, torch {torch.__version__}, {platform.machine()}, 1 thread")
    tables(options.tasks, options, options.log)


if __name__ == "__main__":
    main()
