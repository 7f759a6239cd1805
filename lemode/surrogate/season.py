"""Seasons: what comes back with a known period is taken off before a network reads a series, and added to what it predicts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..trajectories import Trajectories
from .parameters import check_number

__all__ = ["Season", "check_season", "fit_season", "harmonics", "season_of"]

Array = NDArray[np.floating[Any]]

# waves in a period: as many as a year of months can have; more would follow the noise of long periods
HARMONICS = 6


def harmonics(t: Array, periods: Iterable[float], interval: float) -> Array:
    r"""Waves of the periods and of their fractions that samples can resolve, ``(..., K)``.

    .. math:: \cos\frac{2\pi j t}{P},\; \sin\frac{2\pi j t}{P}, \qquad j = 1, \dots, \min\big(6, \lfloor P / 2\Delta \rfloor\big)

    without the sine that is zero at all samples where :math:`P = 2 j \Delta`.

    Examples
    --------
    >>> harmonics(np.arange(3.0), [4.0], 1.0).round(3)
    array([[ 1.,  0.,  1.],
           [ 0.,  1., -1.],
           [-1.,  0.,  1.]])
    """
    found = []
    for period in periods:
        most = period / (2 * interval)
        for j in range(1, min(HARMONICS, int(most + 1e-6)) + 1):
            angle = 2 * np.pi * j * t / period
            found += [np.cos(angle)] if abs(j - most) < 1e-6 else [np.cos(angle), np.sin(angle)]
    return np.stack(found, -1)


class Season(NamedTuple):
    """Waves of given periods in each of the first variables, with weights ``(K, D)``.

    Examples
    --------
    >>> season = Season((4.0,), np.array([[1.0], [0.0], [0.0]]), interval=1.0)
    >>> season.apply(Trajectories(np.arange(4.0), [[6.0], [5.0], [4.0], [5.0]])).x[0, :, 0].round(6)
    array([5., 5., 5., 5.])
    >>> season.undo(np.full((1, 2, 1), 5.0), np.array([[4.0, 5.0]])).round(6)
    array([[[6.],
            [5.]]])
    """

    periods: tuple[float, ...]
    weights: Array
    interval: float
    origins: Array | float = 0.0  # (n, 1), of the times of each series

    def at(self, t: Array) -> Array:
        """The season at times ``(...,)``: ``(..., D)``."""
        return np.asarray(harmonics(np.asarray(t, dtype=np.float64), self.periods, self.interval) @ self.weights)

    def apply(self, data: Trajectories) -> Trajectories:
        """The data without it."""
        x, D = data.x.copy(), self.weights.shape[1]
        x[..., :D] = x[..., :D] - self.at(np.broadcast_to(data.t, x.shape[:2]) + self.origins)
        return Trajectories(data.t, x, data.names, data.missing)

    def undo(self, values: Array, times: Array) -> Array:
        """Values ``(n, steps, D)`` at times ``(n, steps)`` with it."""
        return np.asarray(values + self.at(times + self.origins), dtype=values.dtype)


def fit_season(
    data: Trajectories, names: tuple[str, ...], periods: tuple[float, ...], interval: float, origins: Array | float = 0.0
) -> dict[str, tuple[float, ...]]:
    """Weights of the waves in each variable, by least squares beside a trend of each series, a parabola.

    Raises
    ------
    ValueError
        For a period of less than two intervals, or of which the longest series has less than two.

    Examples
    --------
    >>> t = np.arange(40.0)
    >>> data = Trajectories(t, np.stack([0.1 * t + np.cos(np.pi * t / 2)], -1), "v")
    >>> fit_season(data, ("v",), (4.0,), 1.0)["v"][0].__round__(6)
    1.0
    """
    times = np.broadcast_to(data.t, data.x.shape[:2]).astype(np.float64)
    span = float(np.nanmax(np.nanmax(times, 1) - np.nanmin(times, 1))) + interval
    for period in periods:
        if period < 2 * interval * (1 - 1e-9):
            raise ValueError(f"season={period:g}: samples are {interval:g} apart; give a period of at least two intervals.")
        if span < 2 * period * (1 - 1e-9):
            raise ValueError(
                f"season={period:g}: the longest series spans {span:g}, which is less than two seasons; leave it out."
            )
    found = {}
    waves = harmonics(times + origins, periods, interval)
    middle = np.nanmean(times, 1, keepdims=True)
    s = (times - middle) / max(span, interval)
    for d, name in enumerate(names):
        rows, targets = [], []
        for i in range(len(times)):
            there = np.isfinite(times[i]) & np.isfinite(data.x[i, :, d])
            if there.sum() <= 3:
                continue
            trend = np.stack([np.ones(there.sum()), s[i, there], s[i, there] ** 2], -1)
            basis, _ = np.linalg.qr(trend)
            both = np.concatenate([waves[i, there], data.x[i, there, d : d + 1].astype(np.float64)], -1)
            both -= basis @ (basis.T @ both)
            rows.append(both[:, :-1])
            targets.append(both[:, -1])
        weights = (
            np.linalg.lstsq(np.concatenate(rows), np.concatenate(targets), rcond=None)[0] if rows else np.zeros(waves.shape[-1])
        )
        found[name] = tuple(float(w) for w in weights)
    return found


def check_season(season: Any) -> tuple[float, ...]:
    """Periods as numbers; ValueError for what is no positive number, or several.

    Examples
    --------
    >>> check_season(12), check_season([24, 168]), check_season(None)
    ((12.0,), (24.0, 168.0), ())
    """
    if season is None:
        return ()
    hint = ", the period in units of the times, or a list of them; of dates in seconds, or in the months that they count"
    return tuple(
        check_number("season", value, hint=hint) for value in (season if isinstance(season, (list, tuple)) else [season])
    )


def season_of(
    names: tuple[str, ...],
    periods: tuple[float, ...],
    weights: Mapping[str, tuple[float, ...]],
    interval: float,
    origins: Array | float = 0.0,
) -> Season:
    """As a table keeps it.

    Examples
    --------
    >>> season_of(("v",), (2.0,), {"v": (3.0,)}, 1.0).at(np.arange(3.0))[:, 0]
    array([ 3., -3.,  3.])
    """
    return Season(periods, np.array([weights[name] for name in names], dtype=np.float64).T, interval, origins)
