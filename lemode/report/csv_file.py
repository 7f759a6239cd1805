"""A CSV file as a shell hands it over: with a byte order mark, quotes, empty cells, semicolons, and dates."""

from __future__ import annotations

import csv
import datetime
import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..trajectories import Trajectories
from ..types import FloatArray

__all__ = ["read_csv", "read_table"]

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
    columns = _columns(path)
    x = _values(path, columns, names)
    clock = _clock(columns, names)
    if clock is None:
        return Trajectories(np.arange(len(x), dtype=np.float64), x, tuple(names), bool(np.isnan(x).any()))
    if not _is_date(columns[clock][0]):
        return Trajectories(_numbers(path, clock, columns[clock]), x, tuple(names), bool(np.isnan(x).any()))
    dates = _dates(path, clock, columns[clock])
    if importlib.util.find_spec("pandas"):
        pandas = importlib.import_module("pandas")
        return pandas.DataFrame(x, pandas.DatetimeIndex(dates, name=clock), list(names))
    seconds = np.array([(date - dates[0]).total_seconds() for date in dates])
    return Trajectories(seconds, x, tuple(names), bool(np.isnan(x).any()))


def read_table(
    path: Path | TextIO, names: Sequence[str] | None = None, groups: Sequence[str] = (), time: str | None = None
) -> Any:
    r"""A data frame of these columns, or of all that are neither times nor groups; in groups, each a trajectory, where columns name them.

    Cells are read as by `read_csv`. The times are those of the column `time`; by default of one with dates, or that is called t or time,
    or of a first one without a name, as pandas writes it; else rows are numbered.

    Raises
    ------
    ValueError
        As `read_csv`.
    ImportError
        Without pandas.

    Examples
    --------
    >>> import io
    >>> text = "t,site,v\n0.0,north,1.0\n0.5,north,2.0\n0.0,south,3.0\n"
    >>> for site, frame in read_table(io.StringIO(text), groups=["site"]):
    ...     print(*site, frame.index.tolist(), frame["v"].tolist())
    north [0.0, 0.5] [1.0, 2.0]
    south [0.0] [3.0]
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError as e:
        raise ImportError("tables with times and groups need pandas: pip install 'lemode[table]'.") from e
    where = path if isinstance(path, Path) else "standard input"
    columns = _columns(path)
    _check_there(where, columns, [*groups, *([] if time is None else [time])])
    taken = [*(names or ()), *groups]
    clock = (
        time or _clock(columns, taken) or next((name for name in list(columns)[:1] if name == "" and name not in taken), None)
    )
    if names is None:
        names = [name for name in columns if name not in {clock, *groups}]
        if not names:
            raise ValueError(f"{where}: has no column beside {', '.join(columns)}: there is nothing to learn or to forecast.")
        for name in names:
            text = next((cell for cell in columns[name] if not _is_number(cell)), None)
            if text is not None:
                raise ValueError(
                    f"{where}: column {name!r} holds {text!r}, which is no number: name the columns that are read, or the column "
                    "as one of groups if it says which trajectory a row belongs to."
                )
    index = None
    if clock is not None:
        cells = columns[clock]
        index = (
            pandas.DatetimeIndex(_dates(where, clock, cells), name=clock)
            if _is_date(cells[0])
            else pandas.Index(_numbers(where, clock, cells), name=clock)
        )
    frame = pandas.DataFrame(_values(where, columns, names), index, list(names))
    if not groups:
        return frame
    for name in groups:
        frame[name] = columns[name]
    return frame.groupby(list(groups), sort=False)


def _columns(path: Path | TextIO) -> dict[str, list[str]]:
    """The cells of each column by the names in the header."""
    if isinstance(path, Path):
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as e:
            raise ValueError(f"{path}: is not written in UTF-8 ({e}): save it so.") from e
    else:
        text, path = path.read().removeprefix("\ufeff"), Path("standard input")
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row]
    if len(rows) < 2:
        raise ValueError(f"{path}: has {len(rows)} lines: give a header that names the columns, and a line for each time.")
    header = [name.strip() for name in rows[0]]
    if all(name and _is_number(name) for name in header):
        raise ValueError(f"{path}: line 1 holds numbers, {', '.join(header[:6])}: give a header that names the columns.")
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise ValueError(
            f"{path}: the header has {twice[0]!r} {header.count(twice[0])} times: give each column a name of its own."
        )
    for k, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(
                f"{path}: line {k + 1} has {len(row)} cells, the header {len(header)}: quote those that hold {separator!r}."
            )
    return {name: [row[j].strip() for row in rows[1:]] for j, name in enumerate(header)}


def _check_there(path: object, columns: Mapping[str, Sequence[str]], names: Sequence[str]) -> None:
    absent = [name for name in names if name not in columns]
    if absent:
        raise ValueError(f"{path}: variables {absent}: choose from {', '.join(columns)}; the header names the columns.")


def _values(path: object, columns: Mapping[str, Sequence[str]], names: Sequence[str]) -> FloatArray:
    _check_there(path, columns, names)
    return np.stack([_numbers(path, name, columns[name]) for name in names], -1)


def _clock(columns: Mapping[str, Sequence[str]], taken: Sequence[str]) -> str | None:
    """The column of the times: the first one with dates, or the first one with a name of times."""
    dated = [name for name in columns if name not in taken and _is_date(columns[name][0])]
    called = [name for name in columns if name not in taken and name.lower() in CLOCKS]
    return next(iter([*dated, *called]), None)


def _dates(path: object, clock: str, cells: Sequence[str]) -> list[datetime.datetime]:
    dates = []
    for k, cell in enumerate(cells):
        if not _is_date(cell):
            raise ValueError(
                f"{path}: line {k + 2}, column {clock!r} holds {cell!r}: write all dates as 2026-01-31 or 2026-01-31 23:59."
            )
        dates.append(datetime.datetime.fromisoformat(cell))
    if len({date.utcoffset() for date in dates}) > 1:
        raise ValueError(f"{path}: the dates in column {clock!r} have several time zones: write all of them in UTC.")
    return dates


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.lower() in MISSING
    return True


def _is_date(cell: str) -> bool:
    try:
        datetime.datetime.fromisoformat(cell)
    except ValueError:
        return False
    return not cell.isdigit()  # 20260131 is a number as well


def _numbers(path: object, name: str, cells: Sequence[str]) -> FloatArray:
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
