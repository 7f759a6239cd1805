"""lemode from the shell: ``lemode audit model.lem``, ``lemode systems``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .analysis import AuditReport, audit
from .lem import LEM
from .surrogate import Surrogate
from .systems import describe
from .trajectories import Trajectories

__all__ = ["main"]

Array = NDArray[np.floating[Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; 0 if all is well, 1 if an audited statement does not hold, 2 for an error of use."""
    parser = argparse.ArgumentParser(
        prog="lemode", description="Long Expressive Memory as the discretization of a multiscale ODE."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "audit", help="every bound of the theory beside its measured value, for a saved surrogate",
        description="Evaluate every statement that applies to a saved surrogate and print measured values beside bounds. "
        "Exit status 1 if one does not hold.",
    )  # fmt: skip
    command.add_argument("model", type=Path, help="a file written by Surrogate.save")
    command.add_argument(
        "--data", type=Path, help="series to audit on: .npy (n, T, D) or (T, D), .npz with 'x', or .csv with a header"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON as well")
    command.add_argument("--plot", type=Path, metavar="FILE", help="write a plot of the gradient flow through the last layer")
    command.set_defaults(run=_audit)
    listing = commands.add_parser(
        "systems", help="the dynamical systems of the library, or one of them with its reference facts"
    )
    listing.add_argument("name", nargs="?", help="a system, e.g. lorenz63")
    listing.set_defaults(run=_systems)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except (OSError, ValueError, TypeError, RuntimeError) as e:
        print(f"lemode {options.command}: {e}", file=sys.stderr)
        return 2


def _systems(options: argparse.Namespace) -> int:
    print(describe(options.name))
    return 0


def _audit(options: argparse.Namespace) -> int:
    model = Surrogate.load(options.model)
    x, u = (None, None) if options.data is None else _series(options.data, model.names_)
    report = _audit_surrogate(model, x, u)
    print(report)
    if options.json is not None:
        options.json.write_text(json.dumps(report.to_dict(), indent=1))
    if options.plot is not None:
        report.plot().figure.savefig(options.plot, dpi=150)
    return 0 if report.holds else 1


def _audit_surrogate(model: Surrogate, x: Array | None, u: Array | None) -> AuditReport:
    """The audit of a surrogate's core on the loss it was trained with: scaled increments through the linear head."""
    net = model.network_
    core, m = net.core, len(net.input_std)
    if not isinstance(core, LEM):
        raise TypeError(f"the model's core is {type(core).__name__}: the statements are about LEM.")
    notes = []
    if x is None:
        # in normalised variables the training data have mean 0 and variance 1
        rng = np.random.default_rng(0)
        series, inputs = (torch.from_numpy(rng.standard_normal((300, 8, k))) for k in (len(model.names_), m))
        notes.append("no data given: white noise with the mean and variance of the training data.")
    else:
        if (0 if u is None else u.shape[-1]) != m:
            raise ValueError(f"the model reads {m} known inputs: give them as 'u' (n, T, {m}) in a .npz file, beside 'x'.")
        series = net.normalise(_time_first(x))
        inputs = net.normalise_inputs(_time_first(u)) if u is not None else series[..., :0]
    # the core's own input, with delays and known inputs, is what the network hands it
    read: list[torch.Tensor] = []
    hook = core.register_forward_pre_hook(lambda _, args: read.append(args[0].detach()))
    dtype = net.mean.dtype
    with torch.no_grad():
        net(series[:-1].to(dtype), inputs[:-1].to(dtype) if m else None)
    hook.remove()
    target = (series[1:] - series[:-1]) / net.increment
    head = net.head.weight.detach().double().numpy(), net.head.bias.detach().double().numpy()
    report = audit(core, read[0], target, readout=head)
    report.notes[:0] = notes
    return report


def _time_first(x: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x.swapaxes(0, 1))).double()


def _series(path: Path, names: tuple[str, ...]) -> tuple[Array, Array | None]:
    """The model's variables ``(n, T, D)`` and known inputs ``(n, T, m)``, if there are any, from a file."""
    u = None
    if path.suffix == ".csv":
        with path.open() as f:
            header = [name.strip() for name in f.readline().split(",")]
        table = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
        x = Trajectories(np.arange(len(table), dtype=float), table, tuple(header)).select(names).x
    elif path.suffix in (".npy", ".npz"):
        content = np.load(path, allow_pickle=False)
        if path.suffix == ".npz" and "x" not in content:
            raise ValueError(f"{path}: has no array 'x' (it has {', '.join(content) or 'none'}).")
        x = content["x"] if path.suffix == ".npz" else content
        if path.suffix == ".npz" and "u" in content:
            u = np.asarray(content["u"], dtype=np.float64)
            u = u[None] if u.ndim == 2 else u
    else:
        raise ValueError(f"{path}: give a .npy, .npz or .csv file.")
    x = np.asarray(x[None] if x.ndim == 2 else x, dtype=np.float64)
    if x.ndim != 3 or x.shape[2] != len(names) or x.shape[1] < 2:
        raise ValueError(
            f"{path}: holds {x.shape}; give (n, T, D) or (T, D) with D = {len(names)} ({', '.join(names)}) and T >= 2."
        )
    if u is not None and (u.ndim != 3 or u.shape[:2] != x.shape[:2]):
        raise ValueError(f"{path}: 'u' has shape {u.shape}, 'x' {x.shape}: give u (n, T, m) beside x (n, T, D).")
    return x, u
