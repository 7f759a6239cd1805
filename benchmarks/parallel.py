"""How many sweeps a sequence takes, beside the number that is promised before the first one (9.1), and what they cost on a CPU.

Run ``python benchmarks/parallel.py > benchmarks/parallel.md``: some minutes on one thread. float64, one sequence, errors up to 1e-6.
*Needed*: the least number of leaky sweeps after which no state is further from the sequential one; *solved*: sweeps until the solver
says so, leaky ones only and with Newton's; *error*: the largest of any state against step by step, the greater of these two;
*promised*: `lemode.analysis.promised_sweeps`, leaky ones. "Trained" is the first layer of ``tests/golden/surrogate.lem``, 8 units; all
read the same waves.
"""

from __future__ import annotations

import platform
import time
from pathlib import Path

import numpy as np
import torch

import lemode
from lemode.analysis import contraction_certificate, promised_sweeps
from lemode.kernels import run
from lemode.kernels.parallel import solve

TOL = 1e-6
LENGTHS = (100, 1000, 10_000)


def networks() -> dict[str, lemode.LEMCell]:
    """Random networks with 8 units, by what torch's initialisation is multiplied with; one with diagonal weights; and a trained one."""
    made = {}
    for scale in (0.15, 0.5, 1.0, 4.0):
        torch.manual_seed(0)
        cell = lemode.LEMCell(1, 8, dtype=torch.float64).requires_grad_(False)
        for p in cell.parameters():
            p.mul_(scale)
        made[f"random, x {scale:g}"] = cell
    torch.manual_seed(0)
    cell = lemode.LEMCell(1, 32, dtype=torch.float64).requires_grad_(False)
    for W in (*cell.ode.weight_hh.chunk(3), cell.ode.weight_zy):
        W.copy_(torch.eye(32) * torch.empty(32).uniform_(-2, 2))
    made["diagonal, 32 units"] = cell
    model = lemode.Surrogate.load(Path(__file__).parents[1] / "tests" / "golden" / "surrogate.lem")
    made["trained"] = model.network_.core.cells[0].double().requires_grad_(False)
    return made


def inputs(cell: lemode.LEMCell, length: int) -> torch.Tensor:
    """A slow wave for each feature, with noise."""
    t, m = np.arange(length)[:, None], cell.input_size
    wave = np.sin(0.05 * t + np.arange(m)) + 0.1 * np.random.default_rng(0).standard_normal((length, m))
    return torch.from_numpy(wave)[:, None]


def row(name: str, cell: lemode.LEMCell, length: int, dt: float) -> str:
    """A line of the table."""
    cell.dt = dt
    u, zero = inputs(cell, length), torch.zeros(1, cell.hidden_size, dtype=torch.float64)
    args = cell.ode, cell.scheme, u, zero, zero, dt
    start = time.perf_counter()
    truth = run(*args)
    sequential = time.perf_counter() - start

    def error(found: tuple[torch.Tensor, ...]) -> float:
        return max(float((a - b).abs().max()) for a, b in zip(found[:2], truth, strict=True))

    promised = promised_sweeps(cell, u, TOL)
    needed, found = None, None
    for k in range(1, 101):  # one more sweep from where the last one led
        found = solve(*args, sweeps=1, guess=found and (found.ys, found.zs))
        if error(found) <= TOL:
            needed = k
            break
    cells, took, errors = [], 0.0, list[float]()
    for newton in (False, True):
        start = time.perf_counter()
        found = solve(*args, tol=TOL, newton=newton, block=length)
        took = time.perf_counter() - start
        if found.converged:
            errors.append(error(found))
            assert errors[-1] <= TOL
        cells.append(str(found.sweeps[0]) if found.converged else "given up")
    Psi = contraction_certificate(cell, u).Psi
    shown = [
        name,
        f"{Psi:.2g}",
        f"{promised.rate:.2g}",
        f"{length:,}",
        f"{dt:g}",
        str(needed or "> 100"),
        *cells,
        f"{max(errors):.0e}" if errors else "-",
        f"{promised.sweeps:,}",
    ]
    return "| " + " | ".join([*shown, f"{took / sequential:.0f}"]) + " |"


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(
        f"{platform.processor() or platform.machine()}, one thread, torch {torch.__version__}, float64, errors up to {TOL:g}.\n"
    )
    heads = "network | Psi (5.4) | rho(0) | steps | dt | needed | solved, leaky | solved, Newton | error | promised"
    print(f"| {heads} | Newton's time / the core's |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, cell in networks().items():
        for length in LENGTHS:
            for dt in (1.0, 0.1, 1 / length):
                print(row(name, cell, length, dt), flush=True)


if __name__ == "__main__":
    main()
