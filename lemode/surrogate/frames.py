"""From and to data frames: a column for each variable, a row for each time; and groups of rows, each a trajectory.

pandas is the user's own: it is imported for none but `to_frame`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..trajectories import Trajectories
from .clock import clock_of, is_dated, origin, to_dates, to_numbers

__all__ = ["FrameForm", "FrameReading", "check_index", "from_frame", "is_frame", "to_frame"]

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class FrameForm:
    """How a frame was labelled, so that what is made of it is labelled alike.

    indices : the times of each trajectory, as the user has them
    keys : the groups that the trajectories are, by name; None for a frame that is one trajectory
    labels : of the columns, by the names of the variables
    series : whether it was a pandas.Series

    Examples
    --------
    >>> import pandas
    >>> frame = pandas.DataFrame({"v": [1.0, 2.0]}, index=pandas.date_range("2026-01-01", periods=2))
    >>> form = from_frame(frame).form
    >>> form.ahead(np.zeros((1, 1, 1)), np.array([[2 * 86400.0]]), ["v"]).index.strftime("%d %b").tolist()
    ['03 Jan']
    """

    indices: list[Any]
    clock: str
    labels: dict[str, Any]
    keys: list[Any] | None = None
    key_names: tuple[Any, ...] = ()
    series: bool = False
    rows: float | None = None  # of row numbers, what one counts

    @property
    def single(self) -> bool:
        """Whether it was one trajectory."""
        return self.keys is None

    def along(self, values: Array, names: Sequence[str]) -> Any:
        """Values ``(n, T, D)`` at the rows that were given."""
        return self._framed(values, self.indices, names)

    def ahead(self, values: Array, times: Array, names: Sequence[str]) -> Any:
        """Values ``(n, steps, D)`` at times ``(n, steps)`` after those that were given."""
        return self._framed(values, self.after(times), names)

    def after(self, times: Array) -> list[Any]:
        """The indices of times ``(n, steps)``."""
        return [self._after(index, row) for index, row in zip(self.indices, np.asarray(times), strict=True)]

    def _after(self, index: Any, times: Array) -> Any:
        pandas = sys.modules["pandas"]
        if is_dated(index):
            return to_dates(index, self.clock, np.asarray(times, dtype=np.float64))
        if self.rows is not None:
            times = times / self.rows
        whole = np.rint(times)
        if index.dtype.kind in "iu" and np.abs(times - whole).max(initial=0) < 1e-6:
            times = whole.astype(np.int64)
        return pandas.Index(times, name=index.name)

    def times(self, t: Any) -> Array:
        """Dates as numbers ``(n, steps)`` on the clock of each trajectory; numbers as they are."""
        pandas = sys.modules["pandas"]
        dates = t if isinstance(t, pandas.Index) else pandas.Index(np.ravel(t) if np.ndim(t) else [t])
        if not is_dated(dates):
            return np.asarray(t, dtype=np.float64)
        if not is_dated(self.indices[0]):
            raise ValueError(f"t holds dates, such as {dates[0]}, and the history has none: give numbers.")
        return np.stack([to_numbers(index[:1].append(dates), self.clock)[1:] for index in self.indices])

    def origins(self) -> list[float]:
        """Where time 0 of each trajectory is on a clock that all data share."""
        return [origin(index, self.clock) for index in self.indices]

    def _framed(self, values: Array, indices: list[Any], names: Sequence[str]) -> Any:
        pandas = sys.modules["pandas"]
        columns = [self.labels.get(name, name) for name in names]
        if self.series and len(names) == 1:
            return pandas.Series(values[0, : len(indices[0]), 0], indices[0], name=self.labels.get(names[0]))
        frames = [pandas.DataFrame(x[: len(i)], i, columns) for x, i in zip(values, indices, strict=True)]
        return frames[0] if self.keys is None else pandas.concat(dict(zip(self.keys, frames)), names=list(self.key_names))


class FrameReading(NamedTuple):
    """What a frame holds: see `from_frame`.

    Examples
    --------
    >>> import pandas
    >>> frame = pandas.DataFrame({"v": [1.0, 2.0]})
    >>> frame.attrs["units"] = {"v": "mV"}
    >>> from_frame(frame).units
    {'v': 'mV'}
    """

    data: Trajectories
    form: FrameForm
    units: dict[str, str]


def is_frame(X: Any) -> bool:
    """Whether X is a DataFrame or Series of pandas, or a DataFrame in groups.

    Examples
    --------
    >>> import pandas
    >>> is_frame(np.zeros((3, 2))), is_frame(pandas.DataFrame({"v": [1.0]})), is_frame(pandas.Series([1.0]))
    (False, True, True)
    """
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(X, (pandas.DataFrame, pandas.Series, pandas.api.typing.DataFrameGroupBy))


def from_frame(X: Any, interval: float | None = None, clock: str | None = None) -> FrameReading:
    """The trajectories of a frame: its index has their times, and the levels before the last their groups, as ``frame.groupby(...)`` has.

    Row numbers, an index without a name from pandas itself, are no times: rows are `interval` apart then, 1 by default. Dates are
    counted by that clock, or by what suits them. What is NA is missing.

    Raises
    ------
    ValueError
        For columns that are no numbers, or have no name of their own, and times that do not increase: by column or row.

    Examples
    --------
    >>> import pandas
    >>> from_frame(pandas.DataFrame({"v": [1.0, 2.0], "w": [3.0, 4.0]}, index=[0.0, 0.5])).data.step
    0.5
    >>> table = pandas.DataFrame({"site": ["a", "a", "b"], "day": [0, 1, 0], "v": [1.0, 2.0, 3.0]})
    >>> from_frame(table.set_index("day").groupby("site")).data.lengths
    array([2, 1])
    """
    pandas = sys.modules["pandas"]
    series = isinstance(X, pandas.Series)
    keys: list[Any] | None = None
    key_names: tuple[Any, ...] = ()
    if series:
        pieces = [X.to_frame("x0" if X.name is None else X.name)]
    elif isinstance(X, pandas.DataFrame):
        pieces = [X]
    else:
        keys, pieces = _groups(X)
        key_names = tuple(X.grouper.names if hasattr(X, "grouper") else X._grouper.names)
    if keys is None and pieces[0].index.nlevels > 1:
        levels = list(range(pieces[0].index.nlevels - 1))
        groups = pieces[0].groupby(level=levels, sort=False)
        key_names = tuple(pieces[0].index.names[:-1])
        keys, pieces = _groups(groups)
        pieces = [piece.droplevel(levels) for piece in pieces]
        series = False
    if keys is not None:
        keys = [key[0] if isinstance(key, tuple) and len(key) == 1 else key for key in keys]
        pieces = [piece.drop(columns=[name for name in key_names if name in piece.columns]) for piece in pieces]
    whole = pieces[0] if len(pieces) == 1 else pandas.concat(pieces)
    names = _names(whole)
    values = [_numbers(whole, j) for j in range(whole.shape[1])]
    dtype = np.float32 if all(v.dtype == np.float32 for v in values) else np.float64
    x = np.stack([v.astype(dtype) for v in values], -1)
    indices = [piece.index for piece in pieces]
    where = ["" if keys is None else f" of group {key!r}" for key in keys or [None]]
    for index, place in zip(indices, where, strict=True):
        check_index(index, place)
    if not clock or not is_dated(indices[0]):
        clock = clock_of(indices)
    rows = 1.0 if interval is None else interval
    numbered = all(isinstance(i, pandas.RangeIndex) and i.name is None and i.step == 1 for i in indices)
    if keys is not None and not is_dated(indices[0]) and all(i.name is None and i.dtype.kind in "iu" for i in indices):
        indices = [pandas.RangeIndex(len(i)) for i in indices]  # a group of rows keeps the numbers that they had in the table
        numbered = True
    times = [to_numbers(i, clock) if is_dated(i) else i.to_numpy(np.float64) * (rows if numbered else 1.0) for i in indices]
    cuts = np.cumsum([len(i) for i in indices])[:-1]
    missing = bool(np.isnan(x).any())
    pairs = list(zip(times, np.split(x, cuts), strict=True))
    if len(times) == 1 or all(np.array_equal(t, times[0]) for t in times):
        data = Trajectories(times[0], np.stack([v for _, v in pairs]), names, missing)
    else:
        data = Trajectories.ragged(pairs, names, missing)
    units = {str(k): str(v) for k, v in dict(X.attrs.get("units", {})).items()} if hasattr(X, "attrs") else {}
    if keys is not None and not units:
        units = {str(k): str(v) for k, v in dict(whole.attrs.get("units", {})).items()}
    labels = [X.name] if series else whole.columns
    form = FrameForm(indices, clock, dict(zip(names, labels)), keys, key_names, series, rows if numbered else None)
    return FrameReading(data, form, units)


def _groups(groups: Any) -> tuple[list[Any], list[Any]]:
    found = [(key, piece) for key, piece in groups if len(piece)]
    if not found:
        raise ValueError("the frame has no group: there is no data in it.")
    return [key for key, _ in found], [piece for _, piece in found]


def _names(frame: Any) -> tuple[str, ...]:
    if not frame.shape[0] or not frame.shape[1]:
        raise ValueError(f"the frame has shape {frame.shape}: there is no data in it.")
    if frame.columns.nlevels > 1:
        raise ValueError(
            f"the frame has {frame.columns.nlevels} levels of columns: give each variable one name, such as "
            "frame.columns = ['_'.join(map(str, c)) for c in frame.columns]."
        )
    names = tuple(str(name) for name in frame.columns)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"the frame has {names.count(twice[0])} columns {twice[0]!r}: give each variable a name of its own.")
    return names


def _numbers(frame: Any, j: int) -> Array:
    """A column, NaN where it is NA; ValueError for what are no numbers."""
    pandas = sys.modules["pandas"]
    column, name = frame.iloc[:, j], frame.columns[j]
    kind = column.dtype
    if isinstance(kind, pandas.DatetimeTZDtype) or getattr(kind, "kind", "") in "mM":
        raise ValueError(f"column {name!r} holds dates or time differences: make it the index, frame.set_index({name!r}).")
    if getattr(kind, "kind", "") == "c":
        raise ValueError(f"column {name!r} holds complex numbers: give their real and imaginary parts as two columns.")
    text = isinstance(kind, (pandas.CategoricalDtype, pandas.StringDtype)) or (
        getattr(kind, "kind", "") == "O" and any(isinstance(v, (str, bytes)) for v in column)
    )
    try:
        found = None if text else column.to_numpy(np.float32 if str(kind).lower() == "float32" else np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        found = None
    if found is None:
        row = next((k for k, v in enumerate(column) if not isinstance(v, (int, float, np.number))), 0)
        raise ValueError(
            f"column {name!r} holds {column.iloc[row]!r} at row {row}, which is no number: drop the column, or take "
            f"frame.groupby({name!r}) if it names the trajectories, or pandas.to_numeric(frame[{name!r}]) if it is text of numbers."
        )
    return np.asarray(found)


def check_index(index: Any, where: str) -> None:
    """ValueError for times that are none, or do not increase, by row.

    Examples
    --------
    >>> import pandas
    >>> check_index(pandas.Index([0.0, 2.0, 1.0]), "")
    Traceback (most recent call last):
    ValueError: row 2, 1.0, is before row 1, 2.0: give the rows in the order of time, frame.sort_index().
    """
    if not is_dated(index) and index.dtype.kind not in "fiu":
        raise ValueError(
            f"the index of the frame{where} has dtype {index.dtype}, first {index[0]!r}: give the times as numbers or dates "
            "(pandas.to_datetime), or drop the index with reset_index(drop=True)."
        )
    nothing = np.asarray(index.isna())
    if nothing.any():
        raise ValueError(f"row {int(np.argmax(nothing))}{where} has no time, {index[nothing][0]}: drop it, or give its time.")
    if not index.is_monotonic_increasing:
        row = int(np.argmax(np.asarray(index[1:] < index[:-1]))) + 1
        raise ValueError(
            f"row {row}{where}, {index[row]}, is before row {row - 1}, {index[row - 1]}: give the rows in the order of time, "
            "frame.sort_index()."
        )
    if not index.is_unique:
        row = int(np.argmax(index.duplicated()))
        raise ValueError(
            f"row {row}{where} has the time {index[row]} of the row before: give each time once, such as "
            "frame.groupby(level=0).mean(); or, if several trajectories are in one frame, frame.groupby(...) by what names them."
        )


def to_frame(values: Array, t: Array, names: Sequence[str]) -> Any:
    """Values ``(T, D)``, or ``(n, T, D)``, at times t ``(T,)`` or ``(n, T)``.

    Examples
    --------
    >>> frame = to_frame(np.zeros((2, 3, 1)), np.arange(3.0), ["v"])
    >>> frame.shape, frame.index.names
    ((6, 1), FrozenList(['trajectory', 'time']))
    """
    try:
        pandas = import_module("pandas")
    except ImportError as e:
        raise ImportError("data frames need pandas: pip install pandas, or set_output(transform='default').") from e
    if values.ndim == 2:
        return pandas.DataFrame(values, pandas.Index(np.atleast_2d(t)[0], name="time"), list(names))
    n, T, _ = values.shape
    rows = [np.repeat(np.arange(n), T), np.broadcast_to(t, (n, T)).ravel()]
    index = pandas.MultiIndex.from_arrays(rows, names=("trajectory", "time"))
    return pandas.DataFrame(values.reshape(n * T, -1), index, list(names))
