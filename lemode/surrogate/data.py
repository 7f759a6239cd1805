"""From what a user has, arrays, frames or trajectories, to what a network reads; each use is laid out here once.

`lay_out_fit`, `lay_out_series` and `lay_out_forecast` are the three ways in.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .._renamed import renamed
from ..trajectories import Trajectories
from . import frames
from .parameters import check_count, check_number
from .series import Grid, append, lay_out, usual_interval

__all__ = [
    "FitData",
    "ForecastData",
    "SeriesData",
    "as_columns",
    "even_and_complete",
    "hold_out",
    "known_names",
    "lay_out_fit",
    "lay_out_forecast",
    "lay_out_series",
    "rank",
    "torch_dtype",
]

# old names, for one version
__getattr__ = renamed(
    __name__,
    {
        "fill": "lemode.surrogate.forecast.fill",
        **{name: f"lemode.surrogate.series.{name}" for name in ("Grid", "Series", "lay_out", "usual_interval")},
    },
)

Array = NDArray[np.floating[Any]]


def _forecast_times(data: Trajectories, steps: int | None, dt: float | None, t: ArrayLike | None) -> Array:
    """The times of a forecast ``(n, steps)``, behind the last one of each trajectory."""
    times = np.broadcast_to(data.t, data.x.shape[:2])
    ends = np.nanmax(times, axis=1)
    if t is None:
        steps, dt = check_count("steps", steps), check_number("dt", dt)
        return np.asarray(ends[:, None] + dt * np.arange(1, steps + 1))
    if steps is not None or dt is not None:
        raise ValueError("t names the times of the forecast: leave steps and dt out.")
    future = np.asarray(t, dtype=np.float64)
    if future.ndim not in (1, 2) or not future.size or future.shape[:-1] not in {(), (len(data),)}:
        raise ValueError(f"t has shape {future.shape}: give (steps,), or ({len(data)}, steps) for times of their own.")
    future = np.broadcast_to(future, (len(data), future.shape[-1]))
    if not (np.diff(np.concatenate([ends[:, None], future], 1)) > 0).all():
        raise ValueError(f"t: give increasing times behind the history, which ends at {ends.max():g}.")
    return future


class FitData(NamedTuple):
    """What a fit learns from: see `lay_out_fit`.

    training, validation : on the grid of the network
    interval : the usual one between samples
    samples : T of the training data

    Examples
    --------
    >>> lay_out_fit(np.zeros((10, 50, 1)), None, lambda known: (known, ())).samples
    50
    """

    names: tuple[str, ...]
    input_names: tuple[str, ...]
    training: Grid
    validation: Grid
    interval: float
    samples: int
    dtype: torch.dtype


class SeriesData(NamedTuple):
    """Given series: as trajectories, on the grid of the network, and whether they were a single one ``(T, D)``; see `lay_out_series`.

    Examples
    --------
    >>> lay_out_series(np.zeros((3, 5, 1)), ("v",), observed=1, interval=0.5).single
    False
    """

    data: Trajectories
    grid: Grid
    single: bool


class ForecastData(NamedTuple):
    """A history with the samples to come appended, as missing values, and their times ``(n, steps)``.

    places : ``(n, steps)``, where they are on the grid; None where the grid is plain up to them, which are its last ones

    Examples
    --------
    At times of their own, which the network reaches in two steps and in one:

    >>> found = lay_out_forecast(np.zeros((5, 1)), ("v",), 1, 1.0, 3, steps=None, inputs=None, dt=None, t=[6.0, 7.1])
    >>> found.grid.values.shape, found.places
    ((1, 8, 1), array([[6, 7]]))
    """

    grid: Grid
    times: Array
    places: NDArray[np.int64] | None
    dtype: np.dtype[Any]
    single: bool


def lay_out_fit(
    X: Trajectories | ArrayLike,
    validation: Trajectories | ArrayLike | None,
    choose: Callable[[tuple[str, ...]], tuple[tuple[str, ...], tuple[str, ...]]],
    dtype: str | None = None,
    even: str | None = None,
    more: Callable[[Trajectories], Trajectories] | None = None,
) -> FitData:
    """Training and validation data of a fit.

    Parameters
    ----------
    X, validation : as in `lemode.Surrogate.fit`
    choose : of the names in X those to predict, and those to read only
    dtype : 'float32', 'float64', or None for that of X
    even : who takes neither gaps nor uneven samples, if anybody
    more : what is trained on instead of the training part: what comes of it must not be in the validation part

    Examples
    --------
    >>> found = lay_out_fit(np.zeros((10, 50, 2)), None, lambda known: (known[:1], known[1:]))
    >>> found.names, found.input_names, found.training.values.shape, found.validation.values.shape
    (('x0',), ('x1',), (8, 50, 2), (2, 50, 2))
    """
    names, input_names = choose(known_names(X))
    columns, observed = (*names, *input_names), len(names)
    data = _columns(X, columns, None, even)
    interval = usual_interval(data)
    if validation is None:
        training, held_out = hold_out(data)
    else:
        training, held_out = data, _columns(validation, columns, interval, even)
    if more is not None:
        training = more(training)
    shortest = min(int(part.lengths.max()) for part in (training, held_out))
    if shortest < 3:
        raise ValueError(f"the training or validation series have {shortest} samples: a surrogate needs at least 3.")
    grid, judge = (lay_out(part, interval, observed) for part in (training, held_out))
    return FitData(names, input_names, grid, judge, interval, training.x.shape[1], torch_dtype(dtype, data.x))


def lay_out_series(X: Trajectories | ArrayLike, columns: tuple[str, ...], observed: int, interval: float) -> SeriesData:
    """Given series of these columns, of which the first `observed` are predicted and the others read only.

    Examples
    --------
    >>> found = lay_out_series(np.zeros((5, 2)), ("v", "I"), observed=1, interval=0.5)
    >>> found.data.step, found.grid.plain, found.single
    (0.5, True, True)
    """
    data = as_columns(X, columns, interval)
    single = not isinstance(X, Trajectories) and np.ndim(X) == 2
    return SeriesData(data, lay_out(data, interval, observed), single)


def lay_out_forecast(
    history: Trajectories | ArrayLike,
    columns: tuple[str, ...],
    observed: int,
    interval: float,
    least: int,
    steps: int | None,
    inputs: ArrayLike | None,
    dt: float | None,
    t: ArrayLike | None,
) -> ForecastData:
    """A history of at least `least` samples, with the samples to come; see `lemode.Surrogate.forecast` for the last four.

    Examples
    --------
    >>> found = lay_out_forecast(np.zeros((5, 1)), ("v",), 1, 0.5, 3, steps=2, inputs=None, dt=None, t=None)
    >>> found.grid.values.shape, found.times, found.places
    ((1, 7, 1), array([[2.5, 3. ]]), None)
    """
    data, grid, single = lay_out_series(history, columns, observed, interval)
    shortest = int(data.lengths.min())
    if least > shortest:
        raise ValueError(
            f"history has {shortest} samples, the model needs at least {least} to find its hidden state: give a "
            "longer history, or fit with a smaller washout."
        )
    usual = t is None and (dt is None or dt == interval)
    times = _forecast_times(data, steps, interval if dt is None and t is None else dt, t)
    future = _future(inputs, data.x, times.shape[1], columns[observed:])
    if usual and grid.plain:
        return ForecastData(Grid(np.concatenate([data.x, future], axis=1)), times, None, data.x.dtype, single)
    grid, places = append(data, times, future, interval, observed)
    return ForecastData(grid, times, places, data.x.dtype, single)


def _future(inputs: ArrayLike | None, history: Array, steps: int, input_names: tuple[str, ...]) -> Array:
    """Rows to append to the history: nothing known of the observed variables, and the inputs."""
    n, m = len(history), len(input_names)
    future = np.full((n, steps, history.shape[-1]), np.nan, dtype=history.dtype)
    if not m:
        if inputs is not None:
            raise ValueError("inputs: this model has none; leave them out.")
        return future
    if inputs is None:
        raise ValueError(f"inputs are missing: give {', '.join(input_names)} at the {steps} times of the forecast.")
    values = np.asarray(inputs, dtype=history.dtype)
    if values.shape not in {(steps, m), (n, steps, m)}:
        raise ValueError(f"inputs have shape {values.shape}: give ({steps}, {m}), or ({n}, {steps}, {m}) for one each.")
    if not np.isfinite(values).all():
        raise ValueError(f"inputs hold a value that is not finite, first at {tuple(np.argwhere(~np.isfinite(values))[0])}.")
    future[..., -m:] = values
    return future


def rank(X: ArrayLike) -> Array:
    """X as an array ``(n, T, D)`` or ``(T, D)``.

    Examples
    --------
    >>> rank([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).shape  # one series of two variables
    (3, 2)
    >>> try:
    ...     rank([1.0, 2.0, 3.0])
    ... except ValueError as error:
    ...     print(error)
    data have shape (3,): give (n, T, D), or (T, D) for one series; x[:, None] makes one of D=1.
    """
    try:
        x = np.asarray(X)
    except (TypeError, ValueError, RuntimeError) as e:
        raise ValueError(f"data are no array: give Trajectories, (n, T, D) or (T, D) ({e}).") from e
    if x.dtype.kind not in "fiu":
        if isinstance(X, (str, os.PathLike)):
            raise ValueError(
                f"data are {X!r}: give Trajectories or an array; a system is sampled by lemode.fit(lemode.systems.get(name), t=...)."
            )
        raise ValueError(
            f"data are of {type(X)}, dtype {x.dtype}: give Trajectories or an array of real numbers; a system or a "
            "right-hand side is sampled by lemode.fit."
        )
    if x.ndim not in (2, 3):
        raise ValueError(f"data have shape {x.shape}: give (n, T, D), or (T, D) for one series; x[:, None] makes one of D=1.")
    return x


def known_names(X: Trajectories | ArrayLike) -> tuple[str, ...]:
    """The names of the variables of X, which are x0, x1, ... in a plain array.

    Examples
    --------
    >>> known_names(np.zeros((5, 2)))
    ('x0', 'x1')
    """
    if isinstance(X, Trajectories):
        return X.names
    if frames.is_frame(X):
        return frames.from_frame(X).names
    return tuple(f"x{i}" for i in range(rank(X).shape[-1]))


def as_columns(X: Trajectories | ArrayLike, columns: tuple[str, ...], interval: float = 1.0) -> Trajectories:
    """The named columns of X; a plain array has them in this order, or is named x0, x1, ..., at that interval.

    Examples
    --------
    >>> data = as_columns(np.arange(6.0).reshape(3, 2), ("v", "w"), interval=0.5)
    >>> data.t, as_columns(data, ("w",)).x.flatten()
    (array([0. , 0.5, 1. ]), array([1., 3., 5.]))
    """
    if frames.is_frame(X):
        X = frames.from_frame(X)
    if isinstance(X, Trajectories):
        return X.select(columns)
    x = rank(X)
    t = interval * np.arange(x.shape[-2], dtype=np.float64)
    if x.shape[-1] == len(columns):
        return Trajectories(t, x, columns)
    data = Trajectories(t, x)
    if not set(columns) <= set(data.names):
        raise ValueError(f"data have {x.shape[-1]} variables, the model knows {len(columns)} ({', '.join(columns)}).")
    return data.select(columns)


def _columns(X: Trajectories | ArrayLike, columns: tuple[str, ...], interval: float | None, even: str | None) -> Trajectories:
    if even is not None:
        return even_and_complete(X, columns, interval, even)
    return as_columns(X, columns, 1.0 if interval is None else interval)


def even_and_complete(X: Trajectories | ArrayLike, columns: tuple[str, ...], interval: float | None, who: str) -> Trajectories:
    """As `as_columns`, for what takes neither gaps nor uneven samples, nor another interval; ValueError for these.

    Examples
    --------
    >>> try:
    ...     even_and_complete(np.array([[1.0], [np.nan]]), ("v",), None, "Persistence")
    ... except ValueError as error:
    ...     print(error)
    the data hold nan or inf, first in trajectory 0 at time index 1, variable 'v': remove or repair it; Persistence takes no missing values.
    """
    if not isinstance(X, Trajectories) and not frames.is_frame(X) and not np.isfinite(x := rank(X)).all():
        *i, k, j = (int(v) for v in np.argwhere(~np.isfinite(x))[0])
        name = columns[j] if x.shape[-1] == len(columns) else f"x{j}"
        raise ValueError(
            f"the data hold nan or inf, first in trajectory {i[0] if i else 0} at time index {k}, variable {name!r}: remove or repair it; "
            f"{who} takes no missing values."
        )
    data = as_columns(X, columns, 1.0 if interval is None else interval)
    if data.t.ndim != 1 or data.missing or (len(data.t) > 1 and not data.even()):
        raise ValueError(f"the data are uneven, ragged or have missing values: {who} takes none of these; resample.")
    if interval is not None and len(data.t) > 1 and abs(data.step / interval - 1) > 1e-3:
        raise ValueError(f"the data are sampled every {data.step:g}, the training data every {interval:g}: resample.")
    return data


def torch_dtype(name: str | None, x: Array) -> torch.dtype:
    """The torch type of that name, or that of x.

    Examples
    --------
    >>> x = np.zeros(3, np.float32)
    >>> torch_dtype(None, x), torch_dtype("float64", x)
    (torch.float32, torch.float64)
    """
    name = str(x.dtype) if name is None else name
    if not isinstance(name, str) or name not in ("float32", "float64"):
        raise ValueError(f"dtype={name!r}: choose 'float32', 'float64' or None.")
    return torch.float32 if name == "float32" else torch.float64


def hold_out(data: Trajectories) -> tuple[Trajectories, Trajectories]:
    """Training and validation parts: every fifth trajectory, or the last fifth of each one's samples where there are few.

    Examples
    --------
    >>> data = Trajectories(np.arange(50.0), np.zeros((10, 50, 1)))
    >>> [part.x.shape for part in hold_out(data)]
    [(8, 50, 1), (2, 50, 1)]
    >>> [part.x.shape for part in hold_out(data[:2])]
    [(2, 40, 1), (2, 10, 1)]
    """
    n = len(data)
    if n >= 4:
        held = np.arange(n) % 5 == (4 if n > 4 else 3)
        return data[np.flatnonzero(~held)], data[np.flatnonzero(held)]
    lengths = data.lengths
    cuts = lengths - np.maximum(lengths // 5, 3)
    if cuts.min() < 3:
        raise ValueError(
            f"{n} series of {lengths.min()} samples: too short to hold out a validation part; give validation=..., or more data."
        )
    if data.t.ndim == 1:
        cut = int(cuts[0])
        return tuple(
            Trajectories(data.t[part], data.x[:, part], data.names, data.missing) for part in (slice(cut), slice(cut, None))
        )  # type: ignore[return-value]
    times = np.broadcast_to(data.t, data.x.shape[:2])

    def part(begin: Any, end: Any) -> Trajectories:
        pieces = [(times[i, b:e], data.x[i, b:e]) for i, (b, e) in enumerate(zip(begin, end, strict=True))]
        return Trajectories.ragged(pieces, data.names, data.missing)

    return part(np.zeros_like(cuts), cuts), part(cuts, lengths)
