"""What is said of data: those of which nothing can be learned, and those that are not like the training data."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..trajectories import Trajectories
from .clock import NUMBERS, SECONDS
from .reading import Reading, Table

__all__ = ["DataWarning", "check_alike", "check_training", "constant", "outlier_limits", "outliers"]

Array = NDArray[np.floating[Any]]

# An interval so many times longer or shorter than that of the training data is another unit of time
OTHER_UNIT = 50
# An outlier is so many times as far from the median as all that are none, of which there are at least 199 of 200
FAR, SHARE = 10, 200
# Series whose sizes differ by more do not count alike in one loss
SIZES = 1000


class DataWarning(UserWarning):
    """Data that a model can read, and probably not as they are meant; the message says what is to be looked at.

    Examples
    --------
    >>> import warnings
    >>> wave = np.sin(np.arange(200.0))[:, None]
    >>> wave[77] = 1e6
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always", DataWarning)
    ...     model = lemode.Surrogate(hidden_size=2, steps=2, window=20, washout=5, verbose=0, train="all").fit(wave)
    >>> print(str(caught[0].message).split(":")[0])
    'x0' holds an outlier, 1e+06 in trajectory 0 at time index 77
    """


def check_training(training: Trajectories, validation: Trajectories, table: Table) -> None:
    """DataWarning for data that do not vary, outliers, and series of very different sizes; ValueError for what varies later only.

    Examples
    --------
    >>> rest, later = (Trajectories(np.arange(5.0), x, "v") for x in (np.ones((5, 1)), np.eye(5)[:, :1]))
    >>> try:
    ...     check_training(rest, later, Table(("v",), ("v",)))
    ... except ValueError as error:
    ...     print(str(error).split(":")[0])
    'v' does not vary in the training data, and it does in the validation data
    """
    D = len(table.names)
    x = training.x[..., :D]
    still = constant(x)
    moves = still & ~constant(validation.x[..., :D])
    if moves.any():
        name = table.names[int(np.argmax(moves))]
        raise ValueError(
            f"{name!r} does not vary in the training data, and it does in the validation data: give validation=... and training data in "
            "both of which it moves, or leave it out, by observe=."
        )
    if still.all():
        values = ", ".join(f"{name} is {np.nanmean(x[..., j]):g}" for j, name in enumerate(table.names[:6]))
        warnings.warn(
            f"the training data do not vary: {values} in {len(x)} trajectories of {x.shape[1]} samples. At an equilibrium there is nothing "
            "to learn but this: start elsewhere, or record for longer.",
            DataWarning,
            stacklevel=6,
        )
    for j, name in enumerate(table.names):
        if name.lower() in ("t", "time") and (np.diff(x[..., j], axis=1) > 0).all():
            warnings.warn(
                f"{name!r} grows with every sample, from {x[0, 0, j]:g} on, and is learned as a variable: if it is the time, "
                f"make it the index, frame.set_index({name!r}), or the t of Trajectories.",
                DataWarning,
                stacklevel=6,
            )
    _warn_of_outliers(training, table.names)
    _warn_of_sizes(x, table.names)


def constant(x: Array) -> NDArray[np.bool_]:
    """Which variables of x ``(n, T, D)`` do not vary by more than rounding.

    Examples
    --------
    >>> constant(np.array([[[0.1 + 0.2, 1.0], [0.3, 2.0]]]))
    array([ True, False])
    """
    low, high = np.nanmin(x, axis=(0, 1)), np.nanmax(x, axis=(0, 1))
    return np.asarray(high - low <= 4 * np.finfo(x.dtype).eps * np.maximum(np.abs(low), np.abs(high)))


def outliers(x: Array) -> NDArray[np.bool_]:
    """Which values of x ``(n, T, D)`` are ten times as far from the median of their variable as the rest, if they are few: 1 in 200.

    Examples
    --------
    >>> wave = np.sin(np.arange(400.0)).reshape(1, 400, 1)
    >>> wave[0, 77] = 100.0
    >>> np.argwhere(outliers(wave))
    array([[ 0, 77,  0]])
    """
    low, high = outlier_limits(x)
    return np.asarray((x < low) | (x > high))


def outlier_limits(x: Array) -> tuple[Array, Array]:
    """Beyond which values of x ``(n, T, D)`` are `outliers`, ``(D,)`` each; infinite for fewer than 20 values, and where most are equal.

    Examples
    --------
    >>> [limit.round(1) for limit in outlier_limits(np.linspace(0, 1, 101).reshape(1, 101, 1))]
    [array([-4.5]), array([5.5])]
    """
    flat = x.reshape(-1, x.shape[-1])
    low, high = np.full(x.shape[-1], -np.inf), np.full(x.shape[-1], np.inf)
    for j, values in enumerate(flat.T):
        seen = values[np.isfinite(values)]
        few = max(1, len(seen) // SHARE)
        if len(seen) < 20:
            continue
        middle = np.median(seen)
        rest = np.partition(np.abs(seen - middle), -few - 1)[-few - 1]
        if rest > 0:
            low[j], high[j] = middle - FAR * rest, middle + FAR * rest
    return low, high


def _warn_of_outliers(data: Trajectories, names: Sequence[str]) -> None:
    bad = outliers(data.x[..., : len(names)])
    if not bad.any():
        return
    places = np.argwhere(bad)
    i, k, j = (int(v) for v in places[0])
    several = f", and {len(places) - 1} more" if len(places) > 1 else ""
    warnings.warn(
        f"{names[j]!r} holds an outlier, {data.x[i, k, j]:g} in trajectory {i} at time index {k}{several}: {FAR} times as far from the "
        "median as all others, it decides what the model learns. If the sensor erred, scale='robust' takes it as missing, as is NaN in "
        "Trajectories(..., missing=True).",
        DataWarning,
        stacklevel=7,
    )


def _warn_of_sizes(x: Array, names: Sequence[str]) -> None:
    """Series of which the small ones do not count, where they are not at rest."""
    if len(x) < 2:
        return
    spread, size = np.nanstd(x, axis=1), np.sqrt(np.nanmean(np.square(x, dtype=np.float64), axis=1))
    for j, name in enumerate(names):
        rows = np.flatnonzero(spread[:, j] > 1e-9 * size[:, j])
        if not len(rows):
            continue
        small, large = rows[np.argmin(size[rows, j])], rows[np.argmax(size[rows, j])]
        if size[large, j] > SIZES * size[small, j] and spread[large, j] > SIZES * spread[small, j]:
            warnings.warn(
                f"{name!r} has the size {size[small, j]:.2g} in trajectory {small}, {size[large, j]:.2g} in trajectory {large}: beside the "
                "large ones the errors of the small ones do not count. scale='series' gives each series a scale of its own.",
                DataWarning,
                stacklevel=6,
            )
            return


def check_alike(data: Trajectories, reading: Reading, table: Table) -> None:
    """ValueError for other units than those of the training data, DataWarning for values that look like it.

    Examples
    --------
    >>> from lemode.surrogate.reading import read
    >>> table = Table(("v",), ("v",), interval=0.1)
    >>> reading = read(Trajectories([0.0, 100.0, 200.0], [[1.0], [2.0], [3.0]], "v"))  # milliseconds for seconds
    >>> try:
    ...     check_alike(reading.data, reading, table)
    ... except ValueError as error:
    ...     print(str(error).split(":")[0])
    the data are sampled every 100, the training data every 0.1
    """
    for name in table.read:
        given, known = reading.units.get(name), table.units.get(name)
        if given is not None and known is not None and given != known:
            raise ValueError(f"{name!r} is in {given}, in the training data it was in {known}: convert it.")
    if reading.timed and data.x.shape[1] > 1:
        steps = data.intervals()
        least, most = float(steps.min()), float(steps.max())
        if least > OTHER_UNIT * table.interval or most < table.interval / OTHER_UNIT:
            unit = {NUMBERS: "", SECONDS: " seconds"}
            raise ValueError(
                f"the data are sampled every {float(np.median(steps)):g}{unit.get(reading.clock, '')}, the training data every "
                f"{table.interval:g}{unit.get(table.clock, ' ' + table.clock)}: give times in the same unit; if they are, resample."
            )
    for j, name in enumerate(table.read):
        if name in table.ranges and not (table.scale == "series" and name in table.names):
            _warn_of_range(data.x[..., j], name, *table.ranges[name])


def _warn_of_range(x: Array, name: str, low: float, high: float) -> None:
    """Values out of the range of the training data, or in it only if a thousand of them are one."""
    if high == low and (np.abs(x - low) > 1e-6 * np.abs(low)).any():
        warnings.warn(
            f"{name!r} was always {low:g} in the training data, and goes from {np.nanmin(x):g} to {np.nanmax(x):g}: what it does then was "
            "never seen. Fit to data in which it varies.",
            DataWarning,
            stacklevel=6,
        )
    span, least, most = high - low, float(np.nanmin(x)), float(np.nanmax(x))
    spread, middle = most - least, float(np.nanmedian(x))
    far = not low - 3 * span <= middle <= high + 3 * span or spread > 10 * span
    thousands = any(
        low - span <= f * least and f * most <= high + span and f * spread > span / 5
        for f in (1e3, 1e6, 1e9)
        if f * spread < 5 * span
    )
    if span > 0 and (far or (0 < spread < span / 50 and thousands)):
        warnings.warn(
            f"{name!r} goes from {least:g} to {most:g}, in the training data from {low:g} to {high:g}: if it is in another unit, convert "
            "it.",
            DataWarning,
            stacklevel=6,
        )
