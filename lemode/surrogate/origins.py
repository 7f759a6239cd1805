"""Free runs of several networks from many origins along series: what each of them forecast there, and what came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..trajectories import Trajectories
from .data import PAST, ForecastData, as_table, in_coordinates
from .forecast import run_ahead
from .network import IncrementNetwork
from .reading import ArrayForm, Table
from .series import Grid

__all__ = ["FreeRuns", "ahead", "free_runs", "mean_and_spread", "over_variables", "places"]

Array = NDArray[np.floating[Any]]

# windows without which they overlap: of independent ones, the share in a band of 90 % has a standard deviation of 2 %
LEAST = 200
# median distance of a normal variable from its mean, in standard deviations: 0.6745
NORMAL = 1 / 0.6744897501960817


class FreeRuns(NamedTuple):
    """Forecasts of ensembles from origins, ``(windows, H, D)`` each, in standard deviations of the training data.

    error : of their means; NaN where the truth is missing
    spread : of their members
    weight : what a window counts for, where they overlap less than 1

    Examples
    --------
    >>> runs = FreeRuns(np.array([[[3.0, 4.0]]]), np.ones((1, 1, 2)), 1.0)
    >>> runs.errors.round(3), runs.spreads
    (array([[3.536]]), array([[1.]]))
    >>> len(runs), len(runs.part(slice(0, 0)))
    (1, 0)
    """

    error: Array
    spread: Array
    weight: float

    def __len__(self) -> int:
        return len(self.error)

    @property
    def errors(self) -> Array:
        """Normalised errors ``(windows, H)``: root mean squares over the variables that are there."""
        return over_variables(self.error)

    @property
    def spreads(self) -> Array:
        """Root mean squares over the variables ``(windows, H)``."""
        return over_variables(self.spread)

    def part(self, which: Any) -> FreeRuns:
        """Some of the windows."""
        return FreeRuns(self.error[which], self.spread[which], self.weight)


def ahead(
    networks: Sequence[IncrementNetwork], data: ForecastData, watch: Callable[[IncrementNetwork, Tensor], None] | None = None
) -> tuple[Array, Array]:
    """Forecasts ``(members, n, steps, D)`` in the units of the data, and what a standard deviation is in them, ``(n, steps, D)``.

    `watch` sees each network and its normalised forecast ``(steps, n, D)``.

    Examples
    --------
    Of networks that add one and two at every step:

    >>> from lemode.surrogate.data import lay_out_forecast
    >>> networks = [IncrementNetwork(lemode.LEM(1, 2), 2, 1) for _ in range(2)]
    >>> for k, network in enumerate(networks):
    ...     _ = torch.nn.init.zeros_(network.head.weight), torch.nn.init.constant_(network.head.bias, k + 1), network.mean.zero_()
    >>> data = lay_out_forecast([[4.0], [5.0]], ("v",), 1, 1.0, 1, steps=2, inputs=None, dt=None, t=None)
    >>> values, unit = ahead(networks, data)
    >>> values[..., 0], unit[..., 0]
    (array([[[6., 7.]],
    <BLANKLINE>
           [[7., 9.]]]), array([[1., 1.]]))
    """

    def undone(network: IncrementNetwork, x: Tensor) -> Array:
        found = network.denormalise(x).double().transpose(0, 1).numpy()
        return np.asarray(found if data.way is None else data.way.undo(found, data.times), dtype=np.float64)

    normalised = [run_ahead(network, data) for network in networks]
    if watch is not None:
        for network, x in zip(networks, normalised):
            watch(network, x)
    zero = torch.zeros_like(normalised[0])
    values = np.stack([undone(network, x) for network, x in zip(networks, normalised)])
    return values, undone(networks[0], zero + 1) - undone(networks[0], zero)


def mean_and_spread(values: Array) -> tuple[Array, Array]:
    """Of members along the first axis: their mean, and 1.4826 times the median of their distances from it, a standard deviation if they
    are normal.

    Members that are no numbers are left out of the mean while they are the minority; then there is none, and the spread is infinite.

    Examples
    --------
    >>> mean, spread = mean_and_spread(np.array([[1.0, 1.0], [2.0, np.inf], [3.0, np.nan]]))
    >>> mean, spread.round(4)
    (array([ 2., nan]), array([1.4826,    inf]))
    """
    there = np.isfinite(values)
    count = there.sum(0)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = np.where(2 * count > len(values), np.where(there, values, 0.0).sum(0) / np.maximum(count, 1), np.nan)
        distance = np.where(there, np.abs(values - mean), np.inf)
        distance[np.isnan(distance)] = np.inf
        return mean, NORMAL * np.median(distance, axis=0)


def places(samples: int, first: int, horizon: int, least: int, most: int) -> range:
    """Origins k of a series, which has a past of `first` samples there and a truth of `horizon`.

    They are a horizon apart, closer where that makes fewer than `least` of them, and further where it makes more than `most`.

    Examples
    --------
    >>> list(places(20, 5, 5, 1, 9)), list(places(20, 5, 5, 6, 9)), list(places(20, 5, 5, 1, 2)), list(places(9, 5, 5, 1, 9))
    ([5, 10, 15], [5, 7, 9, 11, 13, 15], [5, 11], [])
    """
    found = samples - horizon - first + 1
    if found <= 0:
        return range(0)
    return range(first, first + found, max(min(horizon, found // least), -(-found // most), 1))


@dataclass(frozen=True)
class _Part(ArrayForm):
    """Of some of the series: where their times are on the clock of all."""

    begins: tuple[float, ...] = (0.0,)

    def origins(self) -> list[float]:
        return list(self.begins)


def free_runs(
    networks: Sequence[IncrementNetwork],
    X: Any,
    table: Table,
    first: int,
    horizon: int,
    most: int | None = 1000,
    begin: int = 0,
) -> FreeRuns:
    """Free runs along series, from origins that have a past of at least `first` samples, those before `begin` left out.

    Of origins further on than `PAST` samples the last so many are read. They are a horizon apart, where that makes `LEAST` windows of all
    series; about `most` are looked at, and with None every sample of a single series is an origin.

    Raises
    ------
    ValueError
        For series that are uneven, at another interval than the training data, or too short for a single window.

    Examples
    --------
    >>> wave = np.sin(0.1 * np.arange(300))[:, None]
    >>> model = lemode.Surrogate(hidden_size=2, steps=5, train="all", window=40, washout=20, verbose=0).fit(wave)
    >>> runs = free_runs([model.network_] * 2, wave, model.table_, first=20, horizon=50, most=5)
    >>> runs.error.shape, runs.spreads.max().item(), runs.weight  # origins are 47 samples apart
    ((5, 50, 1), 0.0, 0.94)
    """
    data, form = as_table(X, table)
    series = _even(data, table)
    n, D = len(data), len(table.names)
    origins = form.origins()
    begins = tuple(origins) * (n if len(origins) == 1 else 1)
    if most is None and n > 1:
        raise ValueError(f"there are {n} series: bands adapt along one, whose truth comes in one by one.")
    least, most = (len(data.t), len(data.t)) if most is None else (-(-LEAST // n), max(most // n, 1))
    errors, spreads, weight, row = [], [], 1.0, 0
    for part in series:
        where = _Part(3, begins[row : row + len(part)])
        row += len(part)
        ks = places(part.x.shape[1], max(first, begin), horizon, min(least, most), most)
        windows = [_window(networks, part, table, where, k, horizon, D) for k in ks]
        if windows:  # those of a series, one after the other
            error, spread = (np.stack(found, 1).reshape(-1, horizon, D) for found in zip(*windows))
            errors.append(error)
            spreads.append(spread)
            weight = min(weight, ks.step / horizon) if len(ks) > 1 else weight
    if not errors:
        longest = max(part.x.shape[1] for part in series)
        raise ValueError(
            f"the longest series has {longest} samples: a free run of horizon={horizon} steps after {max(first, begin)} samples needs "
            f"{horizon + max(first, begin)}; give longer ones, or a shorter horizon."
        )
    return FreeRuns(np.concatenate(errors), np.concatenate(spreads), weight)


def _window(
    networks: Sequence[IncrementNetwork], part: Trajectories, table: Table, form: _Part, k: int, horizon: int, D: int
) -> tuple[Array, Array]:
    """Errors of the mean and spreads ``(n, horizon, D)`` after k samples."""
    past = slice(max(k - PAST, 0), k)
    coming = slice(k, k + horizon)
    history, way = in_coordinates(Trajectories(part.t[past], part.x[:, past], part.names, part.missing), table, form)
    future = np.full((len(part), horizon, history.x.shape[-1]), np.nan, dtype=history.x.dtype)
    if table.inputs:
        future[..., -len(table.inputs) :] = part.x[:, coming, D:]
    times = np.broadcast_to(part.t[coming], future.shape[:2])
    T = history.x.shape[1]
    gaps = None if np.isfinite(history.x).all() else np.tile(T + np.arange(horizon), (len(part), 1))
    grid = Grid(np.concatenate([history.x, future], 1))
    values, unit = ahead(networks, ForecastData(grid, times, gaps, history.x.dtype, form, way))
    mean, spread = mean_and_spread(values)
    truth = part.x[:, coming, :D]
    # what is no number any more has failed; a truth that is missing says nothing
    error = np.where(np.isnan(truth), np.nan, np.where(np.isnan(mean), np.inf, mean - truth))
    return error / unit, spread / unit


def _even(data: Trajectories, table: Table) -> list[Trajectories]:
    """Series at even times, of one length each; values may be missing."""
    parts = [data]
    if data.t.ndim == 2:
        parts = [
            Trajectories(data.t[i, :k], data.x[i : i + 1, :k], data.names, data.missing) for i, k in enumerate(data.lengths)
        ]
    for part in parts:
        if len(part.t) > 1 and (not part.even() or abs(part.step / table.interval - 1) > 1e-3):
            raise ValueError(
                f"the series are uneven, or not sampled every {table.interval:g}, as the training data are: free runs are judged by lead "
                "time, in their intervals; resample, with NaN where a value is missing."
            )
    return parts


def over_variables(values: Array) -> Array:
    """Root mean square over the last axis of what is there; NaN where nothing is.

    Examples
    --------
    >>> over_variables(np.array([[3.0, 4.0], [np.nan, 2.0], [np.nan, np.nan]])).round(3)
    array([3.536, 2.   ,   nan])
    """
    there = ~np.isnan(values)
    with np.errstate(over="ignore"):
        square = np.where(there, values, 0.0) ** 2
    return np.where(there.any(-1), np.sqrt(square.sum(-1) / np.maximum(there.sum(-1), 1)), np.nan)
