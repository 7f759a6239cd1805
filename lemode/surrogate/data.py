"""From what a user has, arrays, frames or trajectories, to what a network reads; each use is laid out here once.

`lay_out_fit`, `lay_out_series` and `lay_out_forecast` are the three ways in.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .._renamed import renamed
from ..trajectories import Trajectories
from .circle import Circle, check_angles
from .clock import SECONDS
from .data_checks import check_alike, check_training
from .parameters import check_count, check_number
from .reading import Form, Reading, Table, in_columns, read
from .scaling import OwnScale, limits_of, own_scale, within
from .season import Season, check_season, fit_season, season_of
from .series import Grid, append, lay_out, usual_interval

__all__ = [
    "FitData",
    "ForecastData",
    "SeriesData",
    "as_table",
    "hold_out",
    "in_coordinates",
    "lay_out_fit",
    "lay_out_forecast",
    "lay_out_series",
    "refuse_uneven",
    "torch_dtype",
    "training_table",
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
Way = OwnScale | Circle | Season

# samples of its past before a validation part that was cut off: the state has settled by then
PAST = 1000


def _forecast_times(data: Trajectories, steps: int | None, dt: Any, t: Array | None) -> Array:
    """The times of a forecast ``(n, steps)``, behind the last one of each trajectory."""
    times = np.broadcast_to(data.t, data.x.shape[:2])
    ends = np.nanmax(times, axis=1)
    if t is None:
        steps, dt = check_count("steps", steps), check_number("dt", dt)
        return np.asarray(ends[:, None] + dt * np.arange(1, steps + 1))
    if steps is not None or dt is not None:
        raise ValueError("t names the times of the forecast: leave steps and dt out.")
    future = t
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
    table : what they were like

    Examples
    --------
    >>> lay_out_fit(np.random.default_rng(0).normal(size=(10, 50, 1)), None, lambda known: (known, ())).samples
    50
    """

    names: tuple[str, ...]
    input_names: tuple[str, ...]
    training: Grid
    validation: Grid
    interval: float
    samples: int
    dtype: torch.dtype
    table: Table


class SeriesData(NamedTuple):
    """Given series: as trajectories, on the grid of the network, how they were given, and the way there; see `lay_out_series`.

    Examples
    --------
    >>> lay_out_series(np.zeros((3, 5, 1)), Table(("v",), ("v",))).form
    ArrayForm(ndim=3)
    """

    data: Trajectories
    grid: Grid
    form: Form
    way: Way | None = None


class ForecastData(NamedTuple):
    """A history with the samples to come appended, as missing values, and their times ``(n, steps)``.

    places : ``(n, steps)``, where they are on the grid; None where the grid is plain up to them, which are its last ones
    form, way : how the history was given, and `in_coordinates`, in which the grid is
    samples : of the shortest history

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
    form: Form
    way: Way | None = None
    samples: int = 0


def lay_out_fit(
    X: Any,
    validation: Any,
    choose: Callable[[tuple[str, ...]], tuple[tuple[str, ...], tuple[str, ...]]],
    dtype: str | None = None,
    even: str | None = None,
    more: Callable[[Trajectories], Trajectories] | None = None,
    scale: str = "global",
    angles: tuple[str, ...] = (),
    season: Any = None,
) -> FitData:
    """Training and validation data of a fit.

    Parameters
    ----------
    X, validation : as in `lemode.Surrogate.fit`
    choose : of the names in X those to predict, and those to read only
    dtype : 'float32', 'float64', or None for that of X
    even : who takes neither gaps nor uneven samples, if anybody
    more : what is trained on instead of the training part: what comes of it must not be in the validation part
    scale, angles, season : see `lemode.Surrogate`

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(10, 50, 2))
    >>> found = lay_out_fit(x, None, lambda known: (known[:1], known[1:]))
    >>> found.names, found.input_names, found.training.values.shape, found.validation.values.shape
    (('x0',), ('x1',), (8, 50, 2), (2, 50, 2))
    """
    reading = read(X, missing=even is not None)
    data, table = training_table(reading, choose, scale, angles, season)
    if even is not None:
        refuse_uneven(data, None, even)
    data = in_coordinates(data, table, reading.form)[0]
    judge_by = None
    if validation is not None:
        judge_by, form = as_table(validation, table, even)
        judge_by = in_coordinates(judge_by, table, form)[0]
    training, held_out, lead = hold_out(data) if judge_by is None else (data, judge_by, 0)
    shortest = min(int(part.lengths.max()) for part in (training, held_out))
    if shortest < 3:
        raise ValueError(f"the training or validation series have {shortest} samples: a surrogate needs at least 3.")
    check_training(training, held_out, table)
    if more is not None:
        training = more(training)
    grid, judge = lay_out(training, table.interval, table.width), lay_out(held_out, table.interval, table.width, lead)
    return FitData(
        table.names, table.inputs, grid, judge, table.interval, training.x.shape[1], torch_dtype(dtype, data.x), table
    )


def training_table(
    reading: Reading,
    choose: Callable[[tuple[str, ...]], tuple[tuple[str, ...], tuple[str, ...]]],
    scale: str = "global",
    angles: tuple[str, ...] = (),
    season: Any = None,
) -> tuple[Trajectories, Table]:
    """What a fit reads of the data, and what they were like.

    Names that the columns of a plain array do not have are given to them, if there are as many.

    Examples
    --------
    >>> data, table = training_table(read(np.zeros((5, 2))), lambda known: (("v", "w"), ()))
    >>> data.names, table.columns
    (('v', 'w'), ('v', 'w'))
    """
    data = reading.data
    names, inputs = choose(data.names)
    wanted = (*names, *inputs)
    if not reading.named and not set(wanted) & set(data.names) and len(wanted) == len(data.names):
        data = Trajectories(data.t, data.x, wanted, data.missing)
    chosen = data.select(wanted)
    _refuse_missing_inputs(chosen, len(names))
    limits = limits_of(chosen, names) if scale == "robust" else {}
    chosen = within(chosen, limits)
    low, high = (f(f(chosen.x, axis=1), axis=0) for f in (np.nanmin, np.nanmax))
    ranges = {name: (float(a), float(b)) for name, a, b in zip(wanted, low, high)}
    units = {name: unit for name, unit in reading.units.items() if name in data.names}
    check_angles(angles, names, units, scale)
    interval, periods = usual_interval(chosen), check_season(season)
    if periods and (angles or scale == "series"):
        other = "angles" if angles else "scale='series'"
        raise ValueError(f"season={season}: with {other} there is no season that all series have; leave one of them out.")
    weights = fit_season(chosen, names, periods, interval, np.array(reading.form.origins())[:, None]) if periods else {}
    return chosen, Table(
        data.names, names, inputs, interval, reading.clock, units, ranges, scale, limits, angles, periods, weights
    )


def in_coordinates(data: Trajectories, table: Table, form: Form | None = None) -> tuple[Trajectories, Way | None]:
    """Data as the network has them, each series in its own scale, angles on a circle or without a season, and what undoes it.

    None where nothing is done. The form knows where in a season the dates are.

    Examples
    --------
    >>> data = Trajectories(np.arange(3.0), [[1.0], [2.0], [3.0]], "v")
    >>> in_coordinates(data, Table(("v",), ("v",)))[1] is None
    True
    """
    way: Way | None = None
    if table.scale == "series":
        way = own_scale(data, len(table.names))
    elif table.angles:
        way = Circle(tuple(table.names.index(name) for name in table.angles), len(table.names))
    elif table.periods:
        origins = 0.0 if form is None else np.array(form.origins())[:, None]
        way = season_of(table.names, table.periods, table.season, table.interval, origins)
    return (data if way is None else way.apply(data)), way


def as_table(X: Any, table: Table, even: str | None = None) -> tuple[Trajectories, Form]:
    """The columns of X that the table reads, checked against it, and how X was given.

    Examples
    --------
    >>> data, form = as_table(np.arange(6.0).reshape(3, 2), Table(("v", "w"), ("w",), interval=0.5))
    >>> data.t, data.x[0, :, 0], form.single
    (array([0. , 0.5, 1. ]), array([1., 3., 5.]), True)
    >>> try:
    ...     as_table(np.array([[1.0], [np.nan]]), Table(("v",), ("v",)), even="Persistence")
    ... except ValueError as error:
    ...     print(error)
    the data have no value in trajectory 0 at time index 1, variable 'v': remove or repair it; Persistence takes no missing values.
    """
    reading = read(X, table.interval, table.clock, missing=even is not None, expected=(table.columns, table.read))
    data = within(in_columns(reading, table), table.limits)
    if even is not None:
        refuse_uneven(data, table.interval, even)
    _refuse_missing_inputs(data, len(table.names))
    check_alike(data, reading, table)
    return data, reading.form


def refuse_uneven(data: Trajectories, interval: float | None, who: str) -> None:
    """ValueError for data with gaps, uneven samples, or of another interval.

    Examples
    --------
    >>> try:
    ...     refuse_uneven(Trajectories([0.0, 1.0, 2.0, 4.0], np.zeros((4, 1))), None, "Persistence")
    ... except ValueError as error:
    ...     print(str(error).partition(", for example")[0])
    the data are uneven, sampled every 1 to 2, and Persistence takes even samples only: interpolate
    """
    if data.t.ndim != 1:
        raise ValueError(
            f"the series have different times, and {who} takes those that have the same: give series of one length."
        )
    if len(data.t) > 1 and not data.even():
        steps = np.diff(data.t)
        every = float(np.median(steps)) if interval is None else interval
        raise ValueError(
            f"the data are uneven, sampled every {steps.min():g} to {steps.max():g}, and {who} takes even samples only: interpolate, for "
            f"example by scipy.interpolate.PchipInterpolator(t, x)(np.arange(t[0], t[-1], {every:g}))."
        )
    _refuse_missing(data, 0, f"remove or repair it; {who} takes no missing values")
    if interval is not None and len(data.t) > 1 and abs(data.step / interval - 1) > 1e-3:
        raise ValueError(f"the data are sampled every {data.step:g}, the training data every {interval:g}: resample.")


def _refuse_missing_inputs(data: Trajectories, observed: int) -> None:
    _refuse_missing(data, observed, "an input is known ahead by definition; interpolate it, or observe it instead")


def _refuse_missing(data: Trajectories, begin: int, remedy: str) -> None:
    """ValueError for a value that is missing in the variables from this one on."""
    if not data.missing or begin == data.x.shape[-1]:
        return
    there = np.isfinite(np.broadcast_to(data.t, data.x.shape[:2]))[..., None]
    bad = np.isnan(data.x[..., begin:]) & there
    if bad.any():
        i, k, j = (int(v) for v in np.argwhere(bad)[0])
        raise ValueError(
            f"the data have no value in trajectory {i} at time index {k}, variable {data.names[begin + j]!r}: {remedy}."
        )


def lay_out_series(X: Any, table: Table) -> SeriesData:
    """Given series, as a table says how to read them.

    Examples
    --------
    >>> found = lay_out_series(np.zeros((5, 2)), Table(("v", "I"), ("v",), ("I",), interval=0.5))
    >>> found.data.step, found.grid.plain, found.form.single
    (0.5, True, True)
    """
    data, form = as_table(X, table)
    coordinates, way = in_coordinates(data, table, form)
    return SeriesData(data, lay_out(coordinates, table.interval, table.width), form, way)


def lay_out_forecast(
    history: Any,
    columns: tuple[str, ...],
    observed: int,
    interval: float,
    least: int,
    steps: int | None,
    inputs: Any,
    dt: Any,
    t: Any,
    table: Table | None = None,
) -> ForecastData:
    """A history of at least `least` samples, with the samples to come; see `lemode.Surrogate.forecast` for steps, inputs, dt and t.

    The table says how to read them; by default it has these columns, of which the first `observed` are predicted, at that interval.

    Examples
    --------
    >>> found = lay_out_forecast(np.zeros((5, 1)), ("v",), 1, 0.5, 3, steps=2, inputs=None, dt=None, t=None)
    >>> found.grid.values.shape, found.times, found.places
    ((1, 7, 1), array([[2.5, 3. ]]), None)
    """
    if table is None:
        table = Table(columns, columns[:observed], columns[observed:], interval)
    data, grid, form, way = lay_out_series(history, table)
    data = data if way is None else way.apply(data)
    shortest = int(data.lengths.min())
    if least > shortest:
        raise ValueError(
            f"history has {shortest} samples, the model needs at least {least} to find its hidden state: give a "
            "longer history, or fit with a smaller washout."
        )
    known = _known_ahead(inputs, table)
    if known is not None and steps is None and t is None and known.data.t.ndim == 1:
        steps = known.data.x.shape[1]
    dt = _interval(dt, table.clock)
    usual = t is None and (dt is None or dt == interval)
    times = _forecast_times(data, steps, interval if dt is None and t is None else dt, None if t is None else form.times(t))
    future = _future(known, data.x, times, form, table)
    if usual and grid.plain:
        return ForecastData(Grid(np.concatenate([data.x, future], axis=1)), times, None, data.x.dtype, form, way, shortest)
    grid, places = append(data, times, future, interval, table.width)
    return ForecastData(grid, times, places, data.x.dtype, form, way, shortest)


def _interval(dt: Any, clock: str) -> Any:
    """A time difference in seconds, where these count the time; all else as it is."""
    if not isinstance(dt, (datetime.timedelta, np.timedelta64)):
        return dt
    if clock != SECONDS:
        raise ValueError(f"dt={dt!r}: the times of the training data do not count seconds; give a number of theirs.")
    return dt.total_seconds() if isinstance(dt, datetime.timedelta) else float(dt / np.timedelta64(1, "s"))


def _known_ahead(inputs: Any, table: Table) -> Reading | None:
    """The inputs of a forecast, in the model's order."""
    m = len(table.inputs)
    if not m:
        if inputs is not None:
            raise ValueError("inputs: this model has none; leave them out.")
        return None
    if inputs is None:
        return None
    try:
        reading = read(inputs, table.interval, table.clock, missing=True, expected=(table.inputs,))
        data = in_columns(reading, Table(table.inputs, table.inputs))
        _refuse_missing_inputs(data, 0)
    except ValueError as e:
        raise ValueError(f"inputs: {e}") from e
    return reading._replace(data=data)


def _future(known: Reading | None, history: Array, times: Array, form: Form, table: Table) -> Array:
    """Rows to append to the history: nothing known of the observed variables, and the inputs."""
    n, steps, m = len(history), times.shape[1], len(table.inputs)
    future = np.full((n, steps, history.shape[-1]), np.nan, dtype=history.dtype)
    if known is None:
        if m:
            raise ValueError(f"inputs are missing: give {', '.join(table.inputs)} at the {steps} times of the forecast.")
        return future
    values, mine, theirs = known.data.x, getattr(form, "keys", None), getattr(known.form, "keys", None)
    order = None
    if mine is not None and theirs is not None:  # groups by name
        if set(mine) != set(theirs):
            raise ValueError(f"inputs are of the groups {theirs}, the history of {mine}: give the same ones.")
        order = [theirs.index(key) for key in mine]
    if values.shape[1] != steps or len(values) not in (1, n) or known.data.t.ndim != 1:
        shape = values.shape[1:] if known.form.single else values.shape
        raise ValueError(f"inputs have shape {shape}: give ({steps}, {m}), or ({n}, {steps}, {m}) for one each.")
    if known.timed:
        given = getattr(known.form, "indices", None) or [known.data.t]
        _check_input_times(given if order is None else [given[k] for k in order], form.after(times))
    future[..., -m:] = values if order is None else values[order]
    return future


def _check_input_times(given: list[Any], wanted: list[Any]) -> None:
    """ValueError for inputs that are at other times than those of the forecast."""
    for i, index in enumerate(wanted):
        other = given[i] if len(given) == len(wanted) else given[0]
        if hasattr(index, "tz") or hasattr(other, "tz"):
            same = (
                np.asarray(index == other) if hasattr(index, "tz") == hasattr(other, "tz") else np.zeros(len(index), dtype=bool)
            )
        else:
            same = np.isclose(np.asarray(index, dtype=np.float64), np.asarray(other, dtype=np.float64), rtol=1e-6, atol=0)
        if not same.all():
            k = int(np.argmin(same))
            raise ValueError(
                f"inputs: row {k} is at {other[k]}, the forecast at {index[k]}: give the inputs at the times of the forecast."
            )


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


def hold_out(data: Trajectories) -> tuple[Trajectories, Trajectories, int]:
    """Training and validation parts: every fifth trajectory, or the last fifth of each one's samples where there are few.

    What was cut off begins with its past, of `PAST` samples at most, which is part of the training data, too: the last number says how
    many they are. They find the state, and are not judged.

    Examples
    --------
    >>> data = Trajectories(np.arange(50.0), np.zeros((10, 50, 1)))
    >>> training, validation, lead = hold_out(data)
    >>> training.x.shape, validation.x.shape, lead
    ((8, 50, 1), (2, 50, 1), 0)
    >>> training, validation, lead = hold_out(data[:2])
    >>> training.x.shape, validation.x.shape, lead  # the last ten
    ((2, 40, 1), (2, 50, 1), 40)
    """
    n = len(data)
    if n >= 4:
        held = np.arange(n) % 5 == (4 if n > 4 else 3)
        return data[np.flatnonzero(~held)], data[np.flatnonzero(held)], 0
    lengths = data.lengths
    cuts = lengths - np.maximum(lengths // 5, 3)
    if cuts.min() < 3:
        raise ValueError(
            f"{n} series of {lengths.min()} samples: too short to hold out a validation part; give validation=..., or more data."
        )
    lead = min(int(cuts.min()), PAST)
    if data.t.ndim == 1:
        before, after = (
            Trajectories(data.t[part], data.x[:, part], data.names, data.missing)
            for part in (slice(int(cuts[0])), slice(int(cuts[0]) - lead, None))
        )
        return before, after, lead
    times = np.broadcast_to(data.t, data.x.shape[:2])

    def part(begin: Any, end: Any) -> Trajectories:
        pieces = [(times[i, b:e], data.x[i, b:e]) for i, (b, e) in enumerate(zip(begin, end, strict=True))]
        return Trajectories.ragged(pieces, data.names, data.missing)

    return part(np.zeros_like(cuts), cuts), part(cuts - lead, lengths), lead
