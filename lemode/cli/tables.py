"""Tables of the shell: read as `lemode.report.csv_file` reads them, and forecasts written as tables that can be read again."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..report.csv_file import read_table

__all__ = ["add_reading", "as_json", "as_rows", "pieces", "read", "write"]


def add_reading(command: argparse.ArgumentParser) -> None:
    """The options that say what the columns of a table are.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_reading(parser)
    >>> parser.parse_args(["--group", "site"]).group
    ['site']
    """
    command.add_argument(
        "--group", nargs="+", default=[], metavar="COLUMN", help="columns that say to which trajectory a row belongs"
    )
    command.add_argument(
        "--time",
        metavar="COLUMN",
        help="the column with the times or dates; by default one with dates, or that is called t, time, timestamp or index",
    )


def read(path: Path, options: argparse.Namespace, names: Sequence[str] | None = None) -> Any:
    """The table of a file, or of the standard input for '-': a frame of these columns, or of all; in groups, where there are any.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "table.csv"
    >>> _ = path.write_text("t,v\\n0,1\\n1,2\\n")
    >>> read(path, argparse.Namespace(group=[], time=None)).index.name
    't'
    """
    if path != Path("-"):
        return read_table(path, names, options.group, options.time)
    if sys.stdin.isatty():
        raise ValueError("no table: name a file, or hand one over by the standard input, < data.csv.")
    return read_table(sys.stdin, names, options.group, options.time)


def pieces(table: Any, options: argparse.Namespace) -> list[tuple[Any, Any]]:
    """The trajectories of a table, each with the name of its group, which is None where there are no groups.

    Examples
    --------
    >>> import pandas
    >>> table = pandas.DataFrame({"site": ["a", "b", "b"], "v": [1.0, 2.0, 3.0]})
    >>> [(key, list(frame["v"])) for key, frame in pieces(table.groupby(["site"]), argparse.Namespace(group=["site"]))]
    [('a', [1.0]), ('b', [2.0, 3.0])]
    """
    if not options.group:
        return [(None, table)]
    return [(key[0] if len(key) == 1 else key, frame.drop(columns=options.group)) for key, frame in table]


def as_rows(values: Any, lower: Any = None, upper: Any = None) -> Any:
    """A forecast as a plain frame: groups, times, and a column for each variable; of a band `v_lower` and `v_upper` beside it.

    Examples
    --------
    >>> import pandas
    >>> one, two, three = (pandas.DataFrame({"v": [x]}, index=[7]) for x in (1.0, 2.0, 3.0))
    >>> as_rows(two, one, three).to_dict("records")
    [{'index': 7, 'v': 2.0, 'v_lower': 1.0, 'v_upper': 3.0}]
    """
    found = values.copy()
    for end, bound in (("lower", lower), ("upper", upper)):
        for name in values.columns if bound is not None else ():
            if f"{name}_{end}" in found.columns:
                raise ValueError(f"there is a variable {name}_{end}, which is what a bound of {name} is called: rename it.")
            found[f"{name}_{end}"] = bound[name]
    if found.index.names[-1] is None:
        found.index = found.index.set_names("index", level=-1) if found.index.nlevels > 1 else found.index.rename("index")
    return found.reset_index()


def write(rows: Any, path: Path | None, like: str | None = None) -> None:
    """The rows as CSV, or as JSON where the name of the file ends so, or `like` says it; without a file to the standard output.

    Examples
    --------
    >>> import pandas
    >>> write(pandas.DataFrame({"t": [1.0], "v": [0.5]}), None)
    t,v
    1.0,0.5
    """
    if (like or (path.suffix if path is not None else ".csv")) == ".json":
        text = as_json(rows.to_dict("records"))
    else:
        text = rows.to_csv(index=False, lineterminator="\n")
    if path is None:
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")


def as_json(value: Any) -> str:
    """JSON that every program reads: dates as text, what is no number as null.

    Examples
    --------
    >>> print(as_json({"v": float("nan"), "file": Path("model.lem")}), end="")
    {
     "v": null,
     "file": "model.lem"
    }
    """
    return json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
