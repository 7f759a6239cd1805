"""What a network reads: normalised series, and the grid of times that it walks on.

Where samples are uneven, or values missing, the network walks on a grid of its own: a gap of about k usual intervals is crossed in k
steps, between which nothing was observed. What is read in place of a value that is missing is the network's own prediction
(`lemode.surrogate.forecast.fill`), so a gap, a missing value and a forecast are the same thing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..trajectories import Trajectories

__all__ = ["Grid", "Series", "append", "lay_out", "usual_interval"]

Array = NDArray[np.floating[Any]]
SPARSE = 50  # grid points per sample beyond which a gap is no gap any more


class Series(NamedTuple):
    """Normalised series x ``(T, n, D)`` and what is known of them.

    e ``(T, n, m)``: known inputs, e[k] what is known when x[k+1] is predicted. r ``(T, n, 2)``: the intervals before and after x[k], in
    units of the usual one; None where all are 1. mask ``(T, n, D)``: what was observed; None where everything was. x holds finite numbers
    everywhere, where nothing was observed any. lead: so many samples at the beginning are there for what comes after them, to begin from a
    state that has settled; they are not judged. A window of the series has none.

    Examples
    --------
    >>> x = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])[..., None]  # two series of three samples
    >>> series = Series(x, mask=x != 20)
    >>> series.part(0, 2).x[..., 0]
    tensor([[ 1., 10.],
            [ 2., 20.]])
    >>> window = series.cut(1, 3, torch.tensor([1]))  # of the second series
    >>> window.x.flatten(), window.mask.flatten()
    (tensor([20., 30.]), tensor([False,  True]))
    """

    x: Tensor
    e: Tensor | None = None
    r: Tensor | None = None
    mask: Tensor | None = None
    lead: int = 0

    def cut(self, begin: int, end: int, rows: Tensor) -> Series:
        """A window of some of the series."""
        return self.map(lambda s: s[begin:end, rows])._replace(lead=0)

    def known(self, state: Any = None) -> tuple[Any, ...]:
        """What `IncrementNetwork.forward` and `step` take."""
        return (self.x, self.e, state) if self.r is None else (self.x, self.e, state, self.r)

    def part(self, begin: int | None, end: int | None) -> Series:
        """A window of all of them."""
        return self.map(lambda s: s[begin:end])._replace(lead=0)

    def warmup(self, washout: int) -> int:
        """Samples at the beginning that find the state, before what is judged: the lead, or the washout, or half of a shorter series."""
        return max(min(washout, len(self.x) // 2), 1, self.lead)

    def map(self, function: Callable[[Tensor], Tensor]) -> Series:
        """The function on all that is there."""
        e, r, mask = (None if s is None else function(s) for s in (self.e, self.r, self.mask))
        return Series(function(self.x), e, r, mask, self.lead)


@dataclass(frozen=True)
class Grid:
    """Values ``(n, G, D + m)`` on the network's grid, NaN where nothing was observed; r ``(n, G, 2)`` as in `Series`; ``at (n, T)`` is
    the place of sample k of trajectory i, -1 where there is none. r and `at` are None where the grid is that of the samples. lead as in
    `Series`.

    Examples
    --------
    >>> Grid(np.array([[[1.0], [2.0], [3.0]]])).plain, Grid(np.array([[[1.0], [np.nan], [3.0]]])).plain
    (True, False)
    """

    values: Array
    r: Array | None = None
    at: NDArray[np.int64] | None = None
    lead: int = 0

    @property
    def plain(self) -> bool:
        """Even samples at the usual interval, none missing."""
        return self.r is None and self.at is None and not bool(np.isnan(self.values).any())


def lay_out(data: Trajectories, interval: float, observed: int, lead: int = 0) -> Grid:
    """The grid for data whose first `observed` variables are predicted and the rest, which must be there, are read only.

    The first `lead` samples of each trajectory are its past; on the grid, up to where the last of them has ended.

    Examples
    --------
    A gap of two usual intervals is crossed in two steps, one of 1.25 in a single longer one:

    >>> data = Trajectories(np.array([0.0, 1.0, 3.0, 4.25]), np.array([[[5.0], [6.0], [7.0], [8.0]]]))
    >>> grid = lay_out(data, interval=1.0, observed=1)
    >>> grid.values[0, :, 0], grid.at[0]
    (array([ 5.,  6., nan,  7.,  8.]), array([0, 1, 3, 4]))
    >>> grid.r[0, :, 1]  # the interval after each
    array([1.  , 1.  , 1.  , 1.25, 1.  ])
    """
    inputs = data.x[..., observed:]
    if observed < data.x.shape[-1] and np.isnan(inputs[np.isfinite(np.broadcast_to(data.t, data.x.shape[:2]))]).any():
        raise ValueError("an input has missing values: it is known ahead by definition; interpolate it, or observe it instead.")
    if data.x.shape[1] == 1 or (data.even() and abs(data.step / interval - 1) <= 1e-6):
        return Grid(data.x, lead=lead)
    n, T, columns = data.x.shape
    lengths, times = data.lengths, np.broadcast_to(data.t, (n, T))
    gaps = np.diff(times) / interval
    parts = np.where(np.isfinite(gaps), np.maximum(np.rint(np.nan_to_num(gaps)), 1), 0).astype(np.int64)
    at = np.concatenate([np.zeros((n, 1), np.int64), parts.cumsum(1)], 1)
    G = int(at.max()) + 1
    if G > SPARSE * T:
        i, k = (int(index) for index in np.unravel_index(int(np.argmax(parts)), parts.shape))
        if _over_decades(times[i, : lengths[i]]):
            raise ValueError(
                f"trajectory {i} has times from {times[i, 0]:g} to {times[i, lengths[i] - 1]:g}, evenly spaced in their logarithm, and a "
                "network takes equal steps: give np.log10(t) for t, and as an input beside x, since the system is another at each."
            )
        raise ValueError(
            f"trajectory {i} has a gap of {np.diff(times)[i, k]:g} after time index {k}, the usual interval is {interval:g}: split it "
            "there, with Trajectories.ragged."
        )
    values, r = np.full((n, G, columns), np.nan, data.x.dtype), np.ones((n, G, 2))
    for i, length in enumerate(lengths):
        place, p = at[i, :length], parts[i, : length - 1]
        values[i, place] = data.x[i, :length]
        ahead = np.repeat(gaps[i, : length - 1] / np.maximum(p, 1), p)
        r[i, : len(ahead), 1] = r[i, 1 : len(ahead) + 1, 0] = np.where(np.abs(ahead - 1) < 1e-6, 1.0, ahead)
        if columns > observed:  # on the way from one sample to the next, inputs go straight
            way = np.concatenate([[0.0], np.cumsum(ahead)])
            for j in range(observed, columns):
                values[i, : len(way), j] = np.interp(way, way[place], data.x[i, :length, j])
        at[i, length:] = -1
    return Grid(values, None if (r == 1).all() else r, at, int(at[:, lead].max()) if lead else 0)


def _over_decades(t: Array) -> bool:
    if len(t) < 5 or t[0] <= 0 or t[-1] < 10 * t[0]:
        return False
    steps = np.diff(np.log(t))
    return bool(steps.max() < 1.5 * steps.min())


def append(data: Trajectories, times: Array, future: Array, interval: float, observed: int) -> tuple[Grid, NDArray[np.int64]]:
    """The grid of the data with values ``(n, steps, D + m)`` appended at `times`, and the places of these, ``(n, steps)``.

    Examples
    --------
    A value that is not known yet, two intervals ahead:

    >>> data = Trajectories(np.array([0.0, 1.0]), np.array([[[5.0], [6.0]]]))
    >>> grid, places = append(data, np.array([[3.0]]), np.full((1, 1, 1), np.nan), interval=1.0, observed=1)
    >>> grid.values[0, :, 0], places
    (array([ 5.,  6., nan, nan]), array([[3]]))
    """
    n, T, _ = data.x.shape
    lengths, known = data.lengths, np.broadcast_to(data.t, (n, T))
    rows = [
        (np.concatenate([known[i, :k], times[i]]), np.concatenate([data.x[i, :k], future[i]])) for i, k in enumerate(lengths)
    ]
    grid = lay_out(Trajectories.ragged(rows, data.names, missing=True), interval, observed)
    places = lengths[:, None] + np.arange(times.shape[1])
    return grid, places if grid.at is None else np.take_along_axis(grid.at, places, 1)


def usual_interval(data: Trajectories) -> float:
    """The interval that the network takes in one step: the median, or that of an even grid of which samples were left out.

    Examples
    --------
    >>> left_out = Trajectories(np.array([0.0, 1.0, 2.0, 5.0]), np.zeros((1, 4, 1)))
    >>> uneven = Trajectories(np.array([0.0, 1.0, 2.3, 3.6]), np.zeros((1, 4, 1)))
    >>> usual_interval(left_out), round(usual_interval(uneven), 6)
    (1.0, 1.3)
    """
    if data.even():
        return data.step
    steps = data.intervals()
    least, median = float(steps.min()), float(np.median(steps))
    ratios = steps / least
    left_out = median < 3.5 * least and np.abs(ratios - np.rint(ratios)).max() < 1e-3
    return least if left_out else median
