"""``lemode forecast``: a saved model goes on from a history, and writes a table."""

from __future__ import annotations

import argparse
import math
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..plots.style import BLACK, VERMILION
from ..surrogate import Surrogate
from ..surrogate.bands import Band
from ..surrogate.ensemble import EnsembleForecast
from ..surrogate.storage import check_writable
from . import tables
from .fit import literal

__all__ = ["add"]

# of the history, so many times the length of the forecast is drawn before it
DRAWN = 2


def add(commands: Any) -> None:
    """The command.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add(parser.add_subparsers())
    >>> options = parser.parse_args("forecast model.lem data.csv --steps 500 --level 0.9".split())
    >>> options.history, options.steps, options.level
    (PosixPath('data.csv'), 500, 0.9)
    """
    command = commands.add_parser(
        "forecast", help="go on from a history", allow_abbrev=False,
        description="Let a saved model run on from the history in a table: CSV with the times that follow, and a column for each variable.",
    )  # fmt: skip
    command.add_argument("model", type=Path, help="a file written by lemode fit or Surrogate.save")
    command.add_argument(
        "history",
        type=Path,
        nargs="?",
        default=Path("-"),
        help="a CSV file with the columns of the fit; the standard input by default",
    )
    tables.add_reading(command)
    command.add_argument("--steps", type=int, help="how many values; as many as there are inputs, by default")
    command.add_argument(
        "--inputs", type=Path, metavar="FILE", help="a table with the known inputs at the times of the forecast"
    )
    command.add_argument("--dt", type=float, help="the interval between the values, that of the fit by default")
    command.add_argument("--at", nargs="+", metavar="TIME", help="the times of the values instead: numbers, or dates")
    command.add_argument("--level", type=float, help="bounds of a band, such as 0.9, in columns v_lower and v_upper")
    command.add_argument(
        "-o", "--out", type=Path, metavar="FILE", help="where to write: .csv or .json; the standard output by default"
    )
    command.add_argument("--json", action="store_true", help="JSON, a list of rows, instead of CSV")
    command.add_argument("--plot", type=Path, metavar="FILE", help="draw the forecast behind the history: .png, .pdf or .svg")
    command.set_defaults(run=_run, parser=command)


def _run(options: argparse.Namespace) -> int:
    if options.steps is None and options.inputs is None and options.at is None:
        options.parser.error("give --steps, or --inputs or --at, which have the times of the forecast")
    for path in (options.out, options.plot):
        if path is not None:
            check_writable(path)
    model = Surrogate.load(options.model)
    if model.input_names_ and options.inputs is None:
        raise ValueError(
            f"inputs are missing: the model reads {', '.join(model.input_names_)}; give their values at the times of the forecast, in a "
            "table, --inputs FILE."
        )
    history = tables.read(options.history, options, model.table_.read)
    known = None if options.inputs is None else tables.read(options.inputs, options, model.input_names_ or None)
    t = None if options.at is None else _times(options.at)
    found = model.forecast(history, options.steps, known, dt=options.dt, t=t, level=options.level)
    if isinstance(found, EnsembleForecast):
        found = Band(found.values, found.lower, found.upper, found.level)
    band = found if isinstance(found, Band) else Band(found, None, None, math.nan)
    rows = tables.as_rows(*band[:3])
    if options.plot is not None:
        _draw(model, tables.pieces(history, options), band).savefig(options.plot, dpi=150)
    if options.out is not None or options.plot is None or options.json:
        tables.write(rows, options.out, ".json" if options.json else None)
    return 0


def _times(texts: list[str]) -> Any:
    numbers = [literal(text) for text in texts]
    if not any(isinstance(number, str) for number in numbers):
        return np.array(numbers, dtype=np.float64)
    pandas = import_module("pandas")
    return pandas.DatetimeIndex([datetime.fromisoformat(text) for text in texts])


def _draw(model: Any, history: list[tuple[Any, Any]], band: Band) -> Any:
    """A row for each variable, the first four, and a column for each group, the first three."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    names, shown = model.names_[:4], history[:3]
    figure = Figure(figsize=(6 * len(shown), 1 + 2.2 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), len(shown), squeeze=False)
    for column, (key, piece) in enumerate(shown):
        values, lower, upper = (
            frame if frame is None or key is None else frame.loc[key] for frame in (band.values, band.lower, band.upper)
        )
        past = piece.tail(max(DRAWN * len(values), 20))
        for row, name in enumerate(names):
            ax = axes[row, column]
            if hasattr(past.index, "tz"):
                places = AutoDateLocator()
                ax.xaxis.set(major_locator=places, major_formatter=ConciseDateFormatter(places))
            ax.plot(past.index, past[name], color=BLACK, lw=1, label="history")
            if lower is not None and upper is not None:
                label = f"{band.level:.0%} of the runs"
                ax.fill_between(values.index, lower[name], upper[name], color=VERMILION, alpha=0.2, lw=0, label=label)
            ax.plot(values.index, values[name], color=VERMILION, label="forecast")
            ax.set(ylabel=name if key is None else f"{name}, {key}", xlabel=past.index.name or "row")
            ax.margins(x=0)
    axes[0, 0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize="small", frameon=False)
    return figure
