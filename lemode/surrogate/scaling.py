"""Scales that are not those of all the training data: of what does not vary, of each series, of series with outliers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .data_checks import constant
from .network import IncrementNetwork
from .series import Grid

__all__ = ["hold_constants"]

Array = NDArray[np.floating[Any]]

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
