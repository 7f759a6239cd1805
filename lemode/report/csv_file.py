"""A CSV file as a shell hands it over: with a byte order mark, quotes, empty cells, semicolons, and dates."""

from __future__ import annotations

import csv
import datetime
import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..trajectories import Trajectories
from ..types import FloatArray

__all__ = ["read_csv"]

MISSING = {"", "na", "n/a", "nan", "null", "none", "-"}
CLOCKS = {"t", "time", "date", "datetime", "timestamp", "index"}


def read_csv(path: Path, names: Sequence[str]) -> Any:
    r"""The named columns; also the times, where a column has dates, or is called t or time.

    With dates and where pandas is installed a data frame, which counts months, too; otherwise Trajectories, in seconds. Other columns are
    left out. Empty cells, and NA, NaN, null, are missing.

    Raises
    ------
    ValueError
        For a file that is no table, without these columns, or with a cell that is no number: by line and column.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "station.csv"
    >>> _ = path.write_text('\ufeff"day";site;"v"\n2026-01-01;north;1.5\n2026-01-02;north;\n', encoding="utf-8")
    >>> read_csv(path, ["v"])["v"].tolist()
    [1.5, nan]
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        raise ValueError(f"{path}: is not written in UTF-8 ({e}): save it so.") from e
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row]
    if len(rows) < 2:
        raise ValueError(f"{path}: has {len(rows)} lines: give a header that names the columns, and a line for each time.")
    header = [name.strip() for name in rows[0]]
    for k, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(
                f"{path}: line {k + 1} has {len(row)} cells, the header {len(header)}: quote those that hold {separator!r}."
            )
    absent = [name for name in names if name not in header]
    if absent:
        raise ValueError(f"{path}: variables {absent}: choose from {', '.join(header)}; the header names the columns.")
    columns = {name: [row[j].strip() for row in rows[1:]] for j, name in enumerate(header)}
    x = np.stack([_numbers(path, name, columns[name]) for name in names], -1)
    clock = next((name for name in header if name.lower() in CLOCKS and name not in names), None)
    clock = next((name for name in header if name not in names and _is_date(columns[name][0])), clock)
    if clock is None:
        return Trajectories(np.arange(len(x), dtype=np.float64), x, tuple(names), bool(np.isnan(x).any()))
    if not _is_date(columns[clock][0]):
        return Trajectories(_numbers(path, clock, columns[clock]), x, tuple(names), bool(np.isnan(x).any()))
    dates = []
    for k, cell in enumerate(columns[clock]):
        if not _is_date(cell):
            raise ValueError(
                f"{path}: line {k + 2}, column {clock!r} holds {cell!r}: write all dates as 2026-01-31 or 2026-01-31 23:59."
            )
        dates.append(datetime.datetime.fromisoformat(cell))
    if importlib.util.find_spec("pandas"):
        pandas = importlib.import_module("pandas")
        return pandas.DataFrame(x, pandas.DatetimeIndex(dates, name=clock), list(names))
    seconds = np.array([(date - dates[0]).total_seconds() for date in dates])
    return Trajectories(seconds, x, tuple(names), bool(np.isnan(x).any()))


def _is_date(cell: str) -> bool:
    try:
        datetime.datetime.fromisoformat(cell)
    except ValueError:
        return False
    return not cell.isdigit()  # 20260131 is a number as well


def _numbers(path: Path, name: str, cells: Sequence[str]) -> FloatArray:
    found = np.empty(len(cells))
    for k, cell in enumerate(cells):
        try:
            found[k] = np.nan if cell.lower() in MISSING else float(cell)
        except ValueError as e:
            hint = "write numbers with a point" if "," in cell else "leave the cell empty if it is missing"
            if _is_date(cell):
                hint = "it is a date, and no variable"
            raise ValueError(f"{path}: line {k + 2}, column {name!r} holds {cell!r}, which is no number: {hint}.") from e
    return found
