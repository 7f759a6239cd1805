"""``lemode evaluate``: the errors of a saved model on a table that it has not seen."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from ..metrics import Evaluation, evaluate
from ..surrogate import Surrogate
from ..surrogate.circle import wrapped
from ..surrogate.data import as_table
from ..surrogate.storage import check_writable
from ..trajectories import Trajectories
from . import tables

__all__ = ["add"]

# of more variables, such as the points of a field, errors are pooled
SHOWN = 8


def add(commands: Any) -> None:
    """The command.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add(parser.add_subparsers())
    >>> options = parser.parse_args("evaluate model.lem data.csv --horizon 24".split())
    >>> options.horizon, options.origins
    (24, 20)
    """
    command = commands.add_parser(
        "evaluate", help="errors on a table that the model has not seen", allow_abbrev=False,
        description="Errors one step ahead along a table, beside those of persistence, and of forecasts from many origins in it, beside "
        "the last value and the last season. The table is to be none that the model was fitted on.",
    )  # fmt: skip
    command.add_argument("model", type=Path, help="a file written by lemode fit or Surrogate.save")
    command.add_argument(
        "data",
        type=Path,
        nargs="?",
        default=Path("-"),
        help="a CSV file with the columns of the fit; by default the standard input",
    )
    tables.add_reading(command)
    command.add_argument(
        "--horizon", type=int, help="steps of each forecast; a fifth of what follows the first origin by default"
    )
    command.add_argument(
        "--origins", type=int, default=20, help="how many forecasts, from evenly spaced origins in each trajectory"
    )
    command.add_argument(
        "--season", type=int, metavar="ROWS", help="rows of a season: the last one is a forecast to compare with"
    )
    command.add_argument("--level", type=float, help="also the share of the data inside a band, such as 0.9")
    command.add_argument("--json", action="store_true", help="all numbers as JSON")
    command.add_argument("--plot", type=Path, metavar="FILE", help="draw the errors by lead: .png, .pdf or .svg")
    command.set_defaults(run=_run, parser=command)


def _run(options: argparse.Namespace) -> int:
    if options.plot is not None:
        check_writable(options.plot)
    model = Surrogate.load(options.model)
    data = tables.read(options.data, options, model.table_.read)
    step = _one_step(model, data)
    found, inside = _rolling(model, tables.pieces(data, options), options)
    if options.plot is not None:
        _draw(found, model.names_).savefig(options.plot, dpi=150)
    if options.json:
        print(tables.as_json(_facts(model, step, found, inside, options)), end="")
    else:
        print(_in_words(model, step, found, inside, options))
    return 0


def _one_step(model: Any, data: Any) -> dict[str, dict[str, float]]:
    """RMSE one step ahead of each variable, and of persistence; of many variables pooled."""
    x = as_table(data, model.table_)[0].x[..., : len(model.names_)].astype(np.float64)
    moves = np.diff(x, axis=1)
    for name in model.table_.angles:
        moves[..., model.names_.index(name)] = wrapped(moves[..., model.names_.index(name)])
    if len(model.names_) > SHOWN:
        return {"all": {"rmse": model.rmse(data), "persistence": float(np.sqrt(np.nanmean(moves**2)))}}
    errors = model.rmse(data, multioutput="raw_values")
    still = np.sqrt(np.nanmean(moves**2, axis=(0, 1)))
    return {name: {"rmse": float(e), "persistence": float(s)} for name, e, s in zip(model.names_, errors, still, strict=True)}


def _rolling(model: Any, pieces: list[tuple[Any, Any]], options: argparse.Namespace) -> tuple[Evaluation, float | None]:
    """Forecasts from many origins in each trajectory, in one evaluation; and the share of the data inside the band."""
    shortest = min(len(frame) for _, frame in pieces)
    first = max(model.warmup_, options.season or 1)
    horizon = options.horizon or max(1, (shortest - first) // 5)
    if horizon < 1 or options.origins < 1:
        options.parser.error(f"--horizon {horizon}, --origins {options.origins}: give positive numbers")
    if first + horizon > shortest:
        raise ValueError(
            f"the table has {shortest} rows{' in its shortest group' if len(pieces) > 1 else ''}: {first} are read before the first "
            f"forecast of {horizon}; give a shorter --horizon, or a longer table."
        )
    parts, hits = [], []
    for _, frame in pieces:
        origins = np.unique(np.linspace(first, len(frame) - horizon, options.origins).round().astype(int))
        x = frame[list(model.names_)].to_numpy()
        data: Trajectories = as_table(frame, model.table_)[0]
        even = data.even() and abs(data.step / model.step_ - 1) <= 1e-6
        known = frame[list(model.input_names_)] if model.input_names_ else None

        def ahead(history: Any, steps: int, frame: Any = frame, even: bool = even, known: Any = known, x: Any = x) -> Any:
            # the frame itself, and not its numbers: it knows the dates, and so the season
            k = len(history)
            when: dict[str, Any] = {"steps": steps} if even else {"t": frame.index[k : k + steps]}
            u = None if known is None else known.iloc[k : k + steps]
            found = model.forecast(frame.iloc[:k], inputs=u, level=options.level, **when)
            if options.level is None:
                return np.asarray(found)
            truth = x[k : k + steps]
            there = np.isfinite(truth)
            hits.append(((found.lower.to_numpy() <= truth) & (truth <= found.upper.to_numpy()))[there])
            return found.values.to_numpy()

        parts.append(evaluate({"model": ahead}, x, horizon, origins, season=options.season))
    errors = {name: np.concatenate([part.errors[name] for part in parts]) for name in parts[0].errors}
    for name in model.table_.angles:
        for error in errors.values():
            error[..., model.names_.index(name)] = wrapped(error[..., model.names_.index(name)])
    inside = float(np.mean(np.concatenate(hits))) if hits else None
    return Evaluation(errors, np.concatenate([part.origins for part in parts])), inside


def _of_each(found: Evaluation, names: tuple[str, ...]) -> dict[str, Evaluation]:
    """Variables have units of their own; of many, such as the points of a field, they are one."""
    if len(names) > SHOWN:
        return {"all": found}
    return {
        name: Evaluation({who: e[..., j : j + 1] for who, e in found.errors.items()}, found.origins)
        for j, name in enumerate(names)
    }


def _facts(
    model: Any, step: dict[str, dict[str, float]], found: Evaluation, inside: float | None, options: argparse.Namespace
) -> dict[str, Any]:
    each = _of_each(found, model.names_)
    return {
        "model": options.model,
        "data": options.data,
        "one_step": step,
        "origins": found.origins,
        "horizon": next(iter(found.errors.values())).shape[1],
        "rmse_by_lead": {name: {who: part.rmse(who) for who in part.errors} for name, part in each.items()},
        "rmse": {name: {who: part.total(who) for who in part.errors} for name, part in each.items()},
        "skill": {name: part.skill("model", "naive") for name, part in each.items() if part.total("naive") > 0},
        "level": options.level,
        "inside": inside,
    }


def _in_words(
    model: Any, step: dict[str, dict[str, float]], found: Evaluation, inside: float | None, options: argparse.Namespace
) -> str:
    lines = []
    for name, errors in step.items():
        unit = model.table_.units.get(name, "")
        lines.append(
            f"one step ahead, RMSE of {name}: {errors['rmse']:.3g} {unit}".rstrip()
            + f"   (persistence {errors['persistence']:.3g})"
        )
    for name, part in _of_each(found, model.names_).items():
        lines += ["", f"forecasts of {name}: {part}"]
    if inside is not None:
        lines += ["", f"inside the band of {options.level:.0%}: {inside:.1%} of the data"]
    return "\n".join(lines)


def _draw(found: Evaluation, names: tuple[str, ...]) -> Any:
    from matplotlib.figure import Figure

    each = _of_each(found, names)
    figure = Figure(figsize=(6, 0.6 + 2.4 * len(each)), layout="constrained")
    for ax, (name, part) in zip(figure.subplots(len(each), squeeze=False)[:, 0], each.items(), strict=True):
        for who in part.errors:
            ax.plot(1 + np.arange(len(part.rmse(who))), part.rmse(who), label=who)
        ax.set(ylabel=f"RMSE of {name}", xlabel="steps ahead")
        ax.legend(fontsize="small", frameon=False)
    return figure
