"""The coefficients of a step's derivative at given states, from above: what the bounds with the gates met are made of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._checks import fitting
from ..lem import LEMCell
from ..types import Array, State
from .enclosure import LayerStep
from .network import as_cell
from .rounding import U, outward

__all__ = ["StepSizes", "step_sizes"]


class StepSizes(NamedTuple):
    r"""Of `Coefficients` the absolute values, rounded up, each ``(..., d)`` in float64; and :math:`1 - \ell`, with its sign, rounded down.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 3, dt=0.5)
    >>> c = step_sizes(cell, (torch.zeros(3), torch.zeros(3)), torch.zeros(1))
    >>> bool((0.5 <= c.kept_z).all() and (c.kept_z < c.keep_z).all())
    True
    """

    keep_z: Array
    gate_z: Array
    cand_z: Array
    keep_y: Array
    gate_y: Array
    cand_y: Array
    kept_z: Array
    kept_y: Array


def step_sizes(cell: LEMCell, state: State, u: Tensor, dt: Tensor | None = None) -> StepSizes:
    """Of the derivative at ``state = (y, z)``, each ``(..., d)``, and input u ``(..., m)``, which are taken as they are.

    Of steps of the cell's size, or of sizes dt ``(..., 1)``.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 3)
    >>> step_sizes(cell, (torch.zeros(5, 3), torch.zeros(5, 3)), torch.zeros(5, 1)).gate_y.shape
    (5, 3)
    """
    cell = as_cell(cell)
    fitting(cell.ode, u, *state)
    y, z, e = (a.detach().to("cpu", torch.float64).numpy() for a in (*state, u))
    shape = np.broadcast_shapes(y.shape, z.shape)
    x = np.concatenate([np.broadcast_to(z, shape), np.broadcast_to(y, shape)], -1)
    balls = LayerStep(cell, None if dt is None else dt.numpy()).coefficients(x, e)
    keep = [b.mid[0] - outward(b.rad[0] + 2 * U * np.abs(b.mid[0]), 2) for b in balls]
    # three times the radius: so what is measured, plus its own error, is below where the signs agree
    (kz, gz, cz), (ky, gy, cy) = (outward(np.abs(b.mid) + 3 * b.rad, 2) for b in balls)
    return StepSizes(kz, gz, cz, ky, gy, cy, *keep)
