"""What a user hands over, read in one way: arrays, lists, masked and structured arrays, frames of pandas, arrays of xarray, Trajectories.

Columns that have names are found by name. Those of plain arrays are where they were in the training data, `Table`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured
from numpy.typing import NDArray
from torch import Tensor

from ..trajectories import Trajectories
from . import frames, labelled
from .clock import NUMBERS

__all__ = ["ArrayForm", "Form", "ListForm", "Reading", "Table", "in_columns", "read"]

Array = NDArray[np.floating[Any]]


class Form(Protocol):
    """How data were given, so that what is made of them is given back alike: see `lemode.surrogate.frames.FrameForm`.

    Examples
    --------
    >>> form: Form = ArrayForm(2)
    >>> form.along(np.zeros((1, 5, 2)), ["v", "w"]).shape
    (5, 2)
    """

    @property
    def single(self) -> bool:
        """Whether they were one trajectory."""

    def along(self, values: Array, names: Sequence[str]) -> Any:
        """Values ``(n, T, D)`` at the times that were given."""

    def ahead(self, values: Array, times: Array, names: Sequence[str]) -> Any:
        """Values ``(n, steps, D)`` at times ``(n, steps)`` after those that were given."""

    def after(self, times: Array) -> list[Any]:
        """Those times as the user would write them, of each trajectory."""

    def times(self, t: Any) -> Array:
        """Times as the user writes them as numbers ``(steps,)`` or ``(n, steps)``."""

    def origins(self) -> list[float]:
        """Where time 0 of each trajectory is on a clock that all data share; one number where it is the same for all."""


@dataclass(frozen=True)
class ArrayForm:
    """Arrays: ``(T,)``, ``(T, D)`` or ``(n, T, D)``.

    Examples
    --------
    >>> [ArrayForm(ndim).along(np.zeros((1, 5, 1)), ["v"]).shape for ndim in (1, 2, 3)]
    [(5,), (5, 1), (1, 5, 1)]
    """

    ndim: int

    @property
    def single(self) -> bool:
        """Whether they were one trajectory."""
        return self.ndim < 3

    def along(self, values: Array, names: Sequence[str]) -> Any:
        """Values ``(n, T, D)`` at the times that were given."""
        return values if self.ndim == 3 else values[0] if self.ndim == 2 or len(names) > 1 else values[0, :, 0]

    def ahead(self, values: Array, times: Array, names: Sequence[str]) -> Any:
        """Values ``(n, steps, D)`` after those that were given."""
        return self.along(values, names)

    def after(self, times: Array) -> list[Any]:
        """The times, of each trajectory."""
        return list(times)

    def times(self, t: Any) -> Array:
        """Times as numbers."""
        array = np.asarray(t)
        if array.dtype.kind in "mM":
            raise ValueError(
                f"t holds dates or time differences, and the history has none: give numbers, first {array.flat[0]}."
            )
        return np.asarray(array, dtype=np.float64)

    def origins(self) -> list[float]:
        """Times that are numbers are those of one clock."""
        return [0.0]


@dataclass(frozen=True)
class ListForm:
    """A list of series: a list of what is made of each.

    Examples
    --------
    >>> values = ListForm([ArrayForm(2), ArrayForm(2)], [1, 1], [3, 5]).along(np.zeros((2, 5, 1)), ["v"])
    >>> [v.shape for v in values]
    [(3, 1), (5, 1)]
    """

    parts: list[Form]
    counts: list[int]
    lengths: list[int]
    single = False

    def along(self, values: Array, names: Sequence[str]) -> Any:
        """Values ``(n, T, D)`` at the times that were given."""
        return [part.along(v[:, :T], names) for part, v, T in zip(self.parts, self._split(values), self.lengths, strict=True)]

    def ahead(self, values: Array, times: Array, names: Sequence[str]) -> Any:
        """Values ``(n, steps, D)`` after those that were given."""
        pieces = zip(self.parts, self._split(values), self._split(times), strict=True)
        return [part.ahead(v, t, names) for part, v, t in pieces]

    def after(self, times: Array) -> list[Any]:
        """The times, of each trajectory."""
        return [row for part, t in zip(self.parts, self._split(times), strict=True) for row in part.after(t)]

    def times(self, t: Any) -> Array:
        """Times as numbers."""
        found = [part.times(t) for part in self.parts]
        return (
            found[0] if all(np.array_equal(f, found[0]) for f in found) else np.concatenate([np.atleast_2d(f) for f in found])
        )

    def origins(self) -> list[float]:
        """Where time 0 of each trajectory is on a clock that all data share."""
        pairs = [(part.origins(), n) for part, n in zip(self.parts, self.counts, strict=True)]
        return [o for found, n in pairs for o in (found if len(found) == n else found * n)]

    def _split(self, values: Array) -> list[Array]:
        return np.split(values, np.cumsum(self.counts)[:-1])


class Reading(NamedTuple):
    """Data as they were given: all columns, and how to give back what is made of them; see `read`.

    named : whether the columns have names of the user's
    clock : what counts the times, see `lemode.surrogate.clock`
    timed : whether the times are the user's

    Examples
    --------
    >>> read(np.zeros((5, 2))).named, read(Trajectories(np.arange(3.0), np.zeros((3, 1)), "v")).named
    (False, True)
    """

    data: Trajectories
    form: Form
    named: bool = False
    timed: bool = False
    clock: str = NUMBERS
    units: Mapping[str, str] = {}


def read(
    X: Any,
    interval: float | None = None,
    clock: str | None = None,
    missing: bool = False,
    expected: Sequence[tuple[str, ...]] = (),
) -> Reading:
    """All that a user may hand over as data; where these have no times of their own they are `interval` apart, 1 by default.

    Parameters
    ----------
    X : Trajectories; array ``(T,)``, ``(T, D)`` or ``(n, T, D)``, which may be masked, or structured; frame, Series or groups of
        pandas; DataArray or Dataset of xarray; list of several of these, each a series
    clock : what counts dates; what suits them by default
    expected : names for the columns of a plain array, of which messages speak; those that are as many as the columns
    missing : whether NaN in an array is a value that is missing; in frames, in what is masked and in lists of these it always is

    Raises
    ------
    ValueError
        For what is none of these, by what it is.

    Examples
    --------
    >>> reading = read([np.zeros(3), np.zeros(5)])
    >>> reading.data.lengths, [v.shape for v in reading.form.along(reading.data.x, ["x0"])]
    (array([3, 5]), [(3,), (5,)])
    >>> read(np.ma.masked_less(np.array([1.0, -999.0, 3.0]), -900)).data.x[0, :, 0]
    array([ 1., nan,  3.])
    """
    if isinstance(X, Trajectories):
        return Reading(X, ArrayForm(3), named=True, timed=True)
    if frames.is_frame(X):
        found = frames.from_frame(X, interval, clock)
        return Reading(found.data, found.form, True, found.form.rows is None, found.form.clock, found.units)
    if labelled.is_labelled(X):
        array = labelled.from_labelled(X, interval, clock)
        return Reading(array.data, array.form, array.named, array.form.clock.rows is None, array.form.clock.clock, array.units)
    if isinstance(X, (list, tuple)) and X and all(_is_series(v) for v in X):
        return _read_list(X, interval, clock, missing, expected)
    x, names = _array(X)
    ndim = x.ndim
    x = x[:, None] if ndim == 1 else x
    t = (1.0 if interval is None else interval) * np.arange(x.shape[-2], dtype=np.float64)
    called = names or next((known for known in expected if len(known) == x.shape[-1]), ())
    return Reading(Trajectories(t, x, called, missing), ArrayForm(ndim), named=bool(names))


def _is_series(value: Any) -> bool:
    return isinstance(value, (np.ndarray, Tensor, Trajectories)) or frames.is_frame(value) or labelled.is_labelled(value)


def _read_list(
    X: Sequence[Any], interval: float | None, clock: str | None, missing: bool, expected: Sequence[tuple[str, ...]]
) -> Reading:
    shapes = [np.shape(v) for v in X]
    plain = all(isinstance(v, (np.ndarray, Tensor)) for v in X)
    if plain and len(X) > 1 and len(set(shapes)) == 1 and len(shapes[0]) == 1:
        raise ValueError(
            f"data are a list of {len(X)} arrays of {shapes[0][0]} numbers: samples or series? Give np.stack(data) if each is a sample "
            "(T, D), np.stack(data)[..., None] if each is a series of one variable."
        )
    if plain and len(set(shapes)) == 1 and len(shapes[0]) == 2 and not any(isinstance(v, np.ma.MaskedArray) for v in X):
        return read(np.stack([np.asarray(v) for v in X]), interval, clock, missing, expected)
    parts: list[Reading] = []
    for i, value in enumerate(X):
        try:
            parts.append(read(value, interval, clock if clock is not None or not parts else parts[0].clock, missing, expected))
        except ValueError as e:
            raise ValueError(f"data[{i}]: {e}") from e
    first = parts[0]
    for i, part in enumerate(parts):
        if set(part.data.names) != set(first.data.names) or part.named != first.named:
            raise ValueError(
                f"data[{i}] has the variables {', '.join(part.data.names)}, data[0] {', '.join(first.data.names)}: give the same ones."
            )
        if part.clock != first.clock or dict(part.units) != dict(first.units):
            raise ValueError(f"data[{i}] has other units than data[0], of a variable or of the time: convert it.")
    pairs = []
    for part in parts:
        data = part.data.select(first.data.names)
        times = np.broadcast_to(data.t, data.x.shape[:2])
        pairs += [(times[i, :k], data.x[i, :k]) for i, k in enumerate(data.lengths)]
    holes = any(part.data.missing for part in parts)
    if all(np.array_equal(t, pairs[0][0]) for t, _ in pairs):
        data = Trajectories(pairs[0][0], np.stack([x for _, x in pairs]), first.data.names, holes)
    else:
        data = Trajectories.ragged(pairs, first.data.names, holes)
    counts, lengths = [len(p.data) for p in parts], [p.data.x.shape[1] for p in parts]
    return first._replace(data=data, form=ListForm([p.form for p in parts], counts, lengths))


def _array(X: Any) -> tuple[Any, tuple[str, ...]]:
    """X as an array of 1 to 3 dimensions, masked where it was, and the names of its fields."""
    if isinstance(X, (str, os.PathLike)):
        raise ValueError(
            f"data are {X!r}: give Trajectories or an array; pandas.read_csv reads a table, a system is sampled by "
            "lemode.fit(lemode.systems.get(name), t=...)."
        )
    if isinstance(X, Mapping):
        raise ValueError(
            f"data are a {type(X).__name__} of {', '.join(map(str, list(X)[:6]))}: give pandas.DataFrame(data), or an array."
        )
    if hasattr(X, "to_pandas") and hasattr(X, "columns"):
        raise ValueError(
            f"data are a {type(X).__module__} {type(X).__name__}: give data.to_pandas(), with the times as its index."
        )
    try:
        x = X if isinstance(X, np.ma.MaskedArray) else np.asarray(X)
    except (TypeError, ValueError, RuntimeError) as e:
        raise ValueError(f"data are no array: give Trajectories, (n, T, D) or (T, D) ({e}).") from e
    names: tuple[str, ...] = ()
    if x.dtype.names is not None:
        names = x.dtype.names
        bad = [name for name in names if x.dtype[name].kind not in "fiub" or x.dtype[name].shape]
        if bad:
            raise ValueError(f"field {bad[0]!r} has dtype {x.dtype[bad[0]]}: give real numbers; data[[...]] chooses fields.")
        x = structured_to_unstructured(x)
    if x.dtype.kind == "c":
        raise ValueError(
            f"data are of dtype {x.dtype}: give Trajectories or an array of real numbers, the real and the imaginary part as two variables."
        )
    if x.dtype.kind not in "fiub":
        raise ValueError(
            f"data are of {type(X)}, dtype {x.dtype}: give Trajectories or an array of real numbers; a system or a "
            "right-hand side is sampled by lemode.fit."
        )
    if x.ndim not in (1, 2, 3):
        raise ValueError(f"data have shape {x.shape}: give (n, T, D), (T, D) for one series, or (T,) for one variable.")
    return x, names


@dataclass(frozen=True)
class Table:
    """What the training data were like, so that others are read alike.

    columns : names of all their columns, in order
    names, inputs : of these, what is predicted, and what is read only
    interval, clock : between samples, and in what
    units : of the columns, where they were given
    ranges : least and largest value of the columns that are read, where they are known
    scale : 'global', 'series' or 'robust', see `lemode.Surrogate`
    limits : of the columns of which values beyond are taken as missing
    angles : which of the names are angles
    periods, season : of seasons that are taken off, and the weights of their waves in each variable, `lemode.surrogate.season`

    Examples
    --------
    >>> table = Table(("I", "v"), names=("v",), inputs=("I",))
    >>> in_columns(read(np.array([[1.0, 10.0], [2.0, 20.0]])), table).x[0]  # what is predicted first
    array([[10.,  1.],
           [20.,  2.]])
    """

    columns: tuple[str, ...]
    names: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    interval: float = 1.0
    clock: str = NUMBERS
    units: Mapping[str, str] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    scale: str = "global"
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    angles: tuple[str, ...] = ()
    periods: tuple[float, ...] = ()
    season: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # JSON knows lists only
        for key in ("columns", "names", "inputs", "angles", "periods"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        object.__setattr__(self, "season", {name: tuple(weights) for name, weights in self.season.items()})
        for key in ("ranges", "limits"):
            object.__setattr__(self, key, {name: (float(low), float(high)) for name, (low, high) in getattr(self, key).items()})

    @property
    def width(self) -> int:
        """Coordinates of what is predicted: an angle has two."""
        return len(self.names) + len(self.angles)

    @property
    def read(self) -> tuple[str, ...]:
        """What a model reads, in its order."""
        return self.names + self.inputs


def in_columns(reading: Reading, table: Table) -> Trajectories:
    """The columns that a model reads, in its order: by name, or of a plain array by their places in the training data.

    Examples
    --------
    >>> table = Table(("x0", "x1"), names=("x1",), inputs=("x0",))
    >>> try:
    ...     in_columns(read(np.zeros((5, 3))), table)
    ... except ValueError as error:
    ...     print(error)
    data have 3 variables, the training data had 2 (x0, x1): give these in this order, or names.
    """
    data, wanted = reading.data, table.read
    if reading.named:
        absent = [name for name in wanted if name not in data.names]
        if absent:
            raise ValueError(
                f"variables {absent}: the data have {_some(data.names)}, the model reads {_some(wanted)}; rename them, or give an "
                "array in the order of the training data."
            )
        return data.select(wanted)
    found, had = data.x.shape[-1], f"the training data had {len(table.columns)} ({_some(table.columns)})"
    if found == len(table.columns):
        return Trajectories(data.t, data.x, table.columns, data.missing).select(wanted)
    if found == len(wanted):
        if wanted != tuple(name for name in table.columns if name in wanted):
            raise ValueError(
                f"data have {found} variables without names, {had}, of which the model reads {_some(wanted)}: give all of them in the "
                "order of the training data, or names, by Trajectories or a data frame."
            )
        return Trajectories(data.t, data.x, wanted, data.missing)
    raise ValueError(f"data have {found} variables, {had}: give these in this order, or names.")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names if len(names) <= 12 else (*names[:10], "...", names[-1]))
