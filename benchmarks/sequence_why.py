"""Why LEM learns what lies far back: time scales and gradients of trained networks on every task; Markdown on standard output.

    python benchmarks/sequence_why.py                  # all tasks, some minutes
    python benchmarks/sequence_why.py adding fat

For each task a small LEM is trained, and then looked at along test sequences with `lemode.analysis` alone: the time scales of its units
beside the one that the task asks for, the gradient of the error at the end by every state before it, beside what the theory says of it,
and the tube, a bound on that gradient along all trajectories near the given one. `long` and `fat` read the .ts files of --root, or of an
installed aeon and sktime (pip install --no-deps aeon sktime).
"""

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

import lemode
from lemode import LEMClassifier, LEMRegressor, analysis, tasks
from lemode.supervised.network import build
from lemode.supervised.series import Padded
from lemode.supervised.training import Recipe, train
from lemode.tasks.synthetic import draw_copy

UNITS, SERIES = 32, 4  # of a network; test sequences that are looked at
RADIUS = 1e-3  # of the tube's box, in states of size 1
TUBE = 400  # steps of the tube at most: its work grows with their square


@dataclass
class Learned:
    """A trained core with its head, test sequences ``(T, N, m)``, what the head is to say at the end ``(N, k)``, and how good it is."""

    core: lemode.LEM
    head: torch.nn.Linear
    u: Tensor
    goal: Tensor
    score: str


@dataclass
class Question:
    """A task, the steps over which it asks for memory, the initial draw that learns it best, learning rate and steps."""

    what: str
    known: float
    init: str
    lr: float
    steps: int


def of_data(task: tasks.Task, q: Question) -> Learned:
    make = LEMClassifier if task.kind == "classification" else LEMRegressor
    model = make(hidden_size=UNITS, init=q.init, lr=q.lr, steps=q.steps, patience=None, verbose=0)
    model.fit(task.train.x, task.train.y, validation=task.validation)
    score = model.score(*task.test)
    u = torch.tensor(np.stack([model.scales_.normalise(x) for x in task.test.x[:SERIES]], 1), dtype=torch.float32)
    goal = model._encoded(model._read_targets("y", task.test.y[:SERIES], SERIES, new=False))
    if task.kind == "classification":
        return Learned(
            model.network_.core, model.network_.head, u, one_hot(goal, len(task.classes)).float(), f"{100 * score:.0f} %"
        )
    return Learned(model.network_.core, model.network_.head, u, goal, f"R² {score:.3f}")


def of_copy(T: int, q: Question) -> Learned:
    rng, length, symbols = np.random.default_rng(0), 3, 4
    network = build(
        "lem",
        symbols + 2,
        UNITS,
        symbols + 1,
        torch.Generator().manual_seed(0),
        init=q.init,
        memory=(2.0, q.known),
        readout="all",
    )

    def ready(n: int) -> tuple[Padded, Tensor]:
        x, y = draw_copy(n, T, rng, length, symbols)
        return Padded(torch.from_numpy(x).transpose(0, 1).contiguous(), torch.full((n,), x.shape[1])), torch.from_numpy(y)

    def loss() -> Tensor:
        data, y = ready(32)
        return cross_entropy(network(data).flatten(0, 1), y.flatten())

    train(network, loss, None, Recipe(steps=q.steps, lr=q.lr))
    test, y = ready(500)
    with torch.no_grad():
        right = (network(test).argmax(-1) == y)[:, -length:].double().mean()
    goal = one_hot(y[:SERIES, -1], symbols + 1).float()
    return Learned(network.core, network.head, test.x[:, :SERIES], goal, f"{100 * right:.0f} % of symbols")


def questions(quick: bool, root: str | None) -> dict[str, tuple[Question, Any]]:
    """Tasks by name: the question, and what makes a network learn it."""
    T, n, steps = (30, 60, 5) if quick else (200, 5000, 0)

    def data(make: Any) -> Any:
        return lambda q: of_data(make(), q)

    def q(what: str, known: float, init: str, lr: float, most: int) -> Question:
        return Question(what, known, init, lr, steps or most)

    noise = 20 if quick else 100
    copy = 5 if quick else 40
    return {
        "adding": (
            q(f"adding, T = {T}: from the first half to the end", T / 2, "timescales", 0.01, 1500),
            data(lambda: tasks.adding(T, (n, 50, 500))),
        ),
        "copy": (
            q(f"copy memory: 3 symbols over {copy} steps", copy + 3, "timescales", 0.01, 4000),
            lambda q: of_copy(copy, q),
        ),
        "permuted": (q("digits, permuted: all 64 pixels", 64, "paper", 0.01, 1000), data(lambda: tasks.digits("permuted"))),
        "noise": (
            q(f"digits, noise to {noise} steps", noise - 8, "timescales", 0.01, 600),
            data(lambda: tasks.digits("noise", length=noise)),
        ),
        "long": (q("ACSF1: 1,460 steps", 1460, "paper", 0.01, 300), data(lambda: tasks.archive("ACSF1", root))),
        "fat": (q("Tecator: spectra of 100 steps", 100, "paper", 0.003, 2000), data(lambda: tasks.archive("Tecator", root))),
    }


def scales_row(name: str, q: Question, found: Learned) -> list[str]:
    scales = analysis.timescales(found.core, found.u, known=[q.known])
    low, middle, high = (f"{np.quantile(scales.median, p):.3g}" for p in (0.05, 0.5, 0.95))
    known = scales.known[0]
    units, visits = f"{100 * known.units_within_2:.0f} %", f"{100 * known.visits_within_2:.0f} %"
    draw = {"paper": "the paper's", "timescales": "time scales"}[q.init]
    return [
        name,
        q.what,
        draw,
        found.score,
        f"{q.known:g}",
        f"{low}, {middle}, {high}",
        f"{known.nearest_scale:.3g}",
        units,
        visits,
    ]


def flow_row(name: str, found: Learned) -> list[str]:
    head = (found.head.weight.detach().numpy(), found.head.bias.detach().numpy())
    target = found.goal.expand(len(found.u), *found.goal.shape)
    report = analysis.audit(found.core, found.u, target, readout=head, max_states=50)
    assert report.holds is not False, report
    flow = report.flows[0]
    sizes = (flow.median[0], flow.ceiling_posterior[0], flow.ceiling[0])
    return [name, str(len(found.u)), *(f"{size / flow.median[-1]:.2g}" for size in sizes), *tube_row(found)]


def tube_row(found: Learned) -> list[str]:
    """How far the tube about the first series reaches, and its bound there on the product of Jacobians beside the product itself."""
    u = found.u[:TUBE, 0].double()
    core = found.core.double()
    tube = analysis.tube_along(core, u, radius=RADIUS)
    before = (torch.tensor(tube.y[: tube.steps, 0]), torch.tensor(tube.z[: tube.steps, 0]))
    product = np.eye(2 * core.hidden_size)
    for J in analysis.step_jacobian(core.cells[0], before, u[: tube.steps]).matrix().detach().numpy():
        product = J @ product
    norm = np.abs(product).sum(1).max()
    return [f"{tube.steps} of {len(u)}", f"{norm:.2g}", f"{tube.product[tube.steps]:.2g}"]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(questions(False, None))
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(names) + "; all by default")
    parser.add_argument("--root", help="folder of the .ts files, if not in an installed aeon and sktime")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it runs, not what comes out")
    options = parser.parse_args(arguments)
    if unknown := set(options.tasks) - set(names):
        parser.error(f"{', '.join(sorted(unknown))}: the tasks are {', '.join(names)}")
    torch.set_num_threads(1)
    scales, flows = [], []
    for name, (question, learn) in questions(options.quick, options.root).items():
        if name in (options.tasks or names):
            start = time.monotonic()
            found = learn(question)
            scales.append(scales_row(name, question, found))
            flows.append(flow_row(name, found))
            print(f"<!-- {name}: {time.monotonic() - start:.0f} s -->", flush=True)
    tables(scales, flows)


def tables(scales: list[list[str]], flows: list[list[str]]) -> None:
    print(
        f"\nlemode {lemode.__version__}, torch {torch.__version__}; LEM of {UNITS} units, dt = 1, one seed; {SERIES} test sequences"
    )
    for head, rows in ((SCALES, scales), (FLOWS, flows)):
        print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row in rows:
            print(f"| {' | '.join(row)} |")


SCALES = (
    "task", "what", "initial draw", "test", "asked for, steps", "units' time scales: 5 %, median, 95 %", "nearest unit",
    "units within a factor 2", "visits within 2",
)  # fmt: skip
FLOWS = (
    "task", "steps", "gradient by the first state over that by the last", "at most, along the data (J2)", "at most, from the weights (J7)",
    "tube holds for", "product of Jacobians there", "tube's bound on it",
)  # fmt: skip


if __name__ == "__main__":
    main()
