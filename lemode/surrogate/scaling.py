"""Scales that are not those of all the training data: of what does not vary, of each series, of series with outliers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..trajectories import Trajectories
from .data_checks import constant, outlier_limits
from .network import IncrementNetwork
from .series import Grid

__all__ = ["SCALES", "OwnScale", "hold_constants", "limits_of", "own_scale", "within"]

Array = NDArray[np.floating[Any]]

SCALES = ("global", "series", "robust")
# Where nothing moves at all; in float32, too, what is so small is lost when it is added to anything
NO_STEP = 1e-30


@torch.no_grad()
def hold_constants(network: IncrementNetwork, grid: Grid) -> None:
    """What does not vary in the training data, but for rounding, is predicted to move by no more than that.

    Its increments are in units of its own ones, and not of one, which is nothing in one unit and a lot in another.

    Examples
    --------
    >>> network = IncrementNetwork(lemode.LEM(2, 3, dtype=torch.float64), 3, 2, torch.float64)
    >>> grid = Grid(np.array([[[0.0, 5.0], [1.0, 5.0], [0.0, 5.0]]]))
    >>> network.fit_scales(grid)
    >>> hold_constants(network, grid)
    >>> network.std, network.increment
    (tensor([0.4714, 5.0000], dtype=torch.float64), tensor([2.1213e+00, 1.0000e-30], dtype=torch.float64))
    """
    x = grid.values[..., : len(network.mean)]
    if not len(network.mean) == len(network.increment) == x.shape[-1]:  # a field has one scale for all its points
        return
    for j in np.flatnonzero(constant(x)):
        level = abs(float(network.mean[j])) or 1.0
        steps = np.diff(x[..., j].astype(np.float64), axis=1)
        steps = steps[np.isfinite(steps)]
        network.std[j] = level
        network.increment[j] = max(float(np.sqrt(np.mean(steps**2))) / level if len(steps) else 0.0, NO_STEP)


class OwnScale(NamedTuple):
    """Mean and standard deviation of each series ``(n, 1, D)``, over all its values that are there.

    Examples
    --------
    >>> data = Trajectories(np.arange(2.0), np.array([[[1.0], [3.0]], [[1000.0], [3000.0]]]))
    >>> own = own_scale(data, 1)
    >>> own.apply(data).x[..., 0], own.undo(np.zeros((2, 1, 1)))[..., 0]
    (array([[-1.,  1.],
           [-1.,  1.]]), array([[   2.],
           [2000.]]))
    """

    mean: Array
    std: Array

    def apply(self, data: Trajectories) -> Trajectories:
        """The data with their first variables in these units."""
        D = self.mean.shape[-1]
        x = np.concatenate([(data.x[..., :D] - self.mean) / self.std, data.x[..., D:]], -1).astype(data.x.dtype)
        return Trajectories(data.t, x, data.names, data.missing)

    def undo(self, values: Array, times: Array | None = None) -> Array:
        """Values ``(n, steps, D)`` in the units of the data, whatever the times."""
        return np.asarray(values * self.std + self.mean, dtype=values.dtype)


def own_scale(data: Trajectories, observed: int) -> OwnScale:
    """That of each series, of its first variables; one that does not vary keeps its size for a unit.

    Examples
    --------
    >>> own_scale(Trajectories(np.arange(3.0), np.full((1, 3, 1), -5.0)), 1).std
    array([[[5.]]])
    """
    x = data.x[..., :observed].astype(np.float64)
    mean, std = np.nanmean(x, axis=1, keepdims=True), np.nanstd(x, axis=1, keepdims=True)
    size = np.where(mean == 0, 1.0, np.abs(mean))
    return OwnScale(mean, np.where(std > 1e-12 * size, std, size))


def limits_of(data: Trajectories, names: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Beyond which values of these variables are outliers, `lemode.surrogate.data_checks.outliers`.

    Examples
    --------
    >>> limits = limits_of(Trajectories(np.arange(101.0), np.linspace(0, 1, 101)[:, None], "v"), ("v",))
    >>> {name: (round(low, 1), round(high, 1)) for name, (low, high) in limits.items()}
    {'v': (-4.5, 5.5)}
    """
    low, high = outlier_limits(data.select(names).x)
    return {name: (float(a), float(b)) for name, a, b in zip(names, low, high) if np.isfinite(a)}


def within(data: Trajectories, limits: Any) -> Trajectories:
    """The data without what is beyond the limits, which is missing then.

    Examples
    --------
    >>> within(Trajectories(np.arange(3.0), [[0.0], [99.0], [1.0]], "v"), {"v": (-4.0, 5.0)}).x[0, :, 0]
    array([ 0., nan,  1.])
    """
    if not limits:
        return data
    x = data.x.copy()
    for name, (low, high) in limits.items():
        values = x[..., data.names.index(name)]
        values[(values < low) | (values > high)] = np.nan
    return Trajectories(data.t, x, data.names, data.missing or bool(np.isnan(x).any()))
