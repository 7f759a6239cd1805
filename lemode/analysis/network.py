"""What the analysis reads from a network: its weights, checked, and the sizes that enter the bounds, from above or from below."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..continuous.integrators import refreshed
from ..conv import ConvODE
from ..kernels.backends import LEAKY
from ..lem import LEMCell
from ..ode import Blocks, MultiscaleODE
from ..types import Array
from .rounding import FUNCTION, above, inward, outward

__all__ = ["GROUPS", "RowSums", "as_cell", "as_ode", "leak_above", "leak_below", "plain", "row_sums", "sums_above", "weights"]

Network: TypeAlias = LEMCell | MultiscaleODE
"""What a statement about the ODE takes: the ODE, or a cell for its own."""

GROUPS = Blocks._fields


class RowSums(NamedTuple):
    """Absolute row sums ``(d,)`` of the eight matrices, rounded up: the theory's w1, w2, wz, wy, v1, v2, vz, vy, row by row.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2)
    >>> torch.nn.init.constant_(cell.ode.weight_zy, -0.25).shape
    torch.Size([2, 2])
    >>> row_sums(cell).wy.round(3)
    array([0.5, 0.5])
    """

    w1: Array
    w2: Array
    wz: Array
    wy: Array
    v1: Array
    v2: Array
    vz: Array
    vy: Array


def as_cell(network: object) -> LEMCell:
    """The network as a LEMCell whose scheme the theory covers; TypeError or ValueError otherwise.

    Examples
    --------
    >>> as_cell(lemode.LEM(1, 4))
    Traceback (most recent call last):
    TypeError: network is LEM: give a lemode.LEMCell, such as rnn.cells[0] of a lemode.LEM.
    """
    if not isinstance(network, LEMCell):
        raise TypeError(f"network is {type(network).__name__}: give a lemode.LEMCell, such as rnn.cells[0] of a lemode.LEM.")
    if network.scheme.name not in LEAKY:
        raise ValueError(
            f"scheme={network.scheme.name!r}: the statements cover {', '.join(LEAKY)}; build the cell with one of these schemes."
        )
    refreshed(network.ode)
    return network


def as_ode(network: object) -> MultiscaleODE:
    """The ODE of a MultiscaleODE or a LEMCell; TypeError otherwise.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 4)
    >>> as_ode(cell) is cell.ode, as_ode(cell.ode) is cell.ode
    (True, True)
    """
    ode = network.ode if isinstance(network, LEMCell) else network
    if not isinstance(ode, MultiscaleODE):
        raise TypeError(f"network is {type(network).__name__}: give a lemode.MultiscaleODE or a lemode.LEMCell.")
    if isinstance(ode, ConvODE):
        raise TypeError(
            "network is ConvODE: the statements are about matrices; audit what its weights do at a point, ConvLEM.pointwise()."
        )
    return refreshed(ode)


def plain(ode: MultiscaleODE) -> MultiscaleODE:
    """A copy in float64 on the CPU with the weights themselves as parameters, whatever they are computed from.

    Examples
    --------
    >>> ode = torch.nn.utils.parametrizations.weight_norm(lemode.MultiscaleODE(1, 2), "weight_zy")
    >>> copied = plain(ode)
    >>> torch.equal(copied.weight_zy.float(), ode.weight_zy), len(list(copied.parameters()))
    (True, 4)
    """
    copied = MultiscaleODE(ode.input_size, ode.hidden_size, bias=ode.bias is not None, dtype=torch.float64)
    with torch.no_grad():
        for name, parameter in copied.named_parameters():
            parameter.copy_(getattr(ode, name))
    return copied


def weights(network: Network) -> dict[str, Array]:
    """The twelve blocks by name as float64 arrays; ValueError if one has an entry that is not finite.

    Examples
    --------
    >>> w = weights(lemode.LEMCell(1, 2))
    >>> " ".join(w), w["Wy"].dtype, w["V1"].shape
    ('W1 W2 Wz Wy V1 V2 Vz Vy b1 b2 bz by', dtype('float64'), (2, 1))
    """
    blocks = as_ode(network).blocks()._asdict()
    out = {name: block.detach().to("cpu", torch.float64).numpy() for name, block in blocks.items()}
    for name, block in out.items():
        if not np.isfinite(block).all():
            bad = block[~np.isfinite(block)][0]
            raise ValueError(
                f"{name} contains {bad}: no bound holds for a network with weights that are not finite; retrain it."
            )
    return out


def row_sums(network: Network) -> RowSums:
    """Absolute row sums of the matrices, see `RowSums`.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2)
    >>> r = row_sums(cell)
    >>> bool(np.allclose(r.w1, cell.ode.blocks().W1.detach().abs().sum(1)))
    True
    """
    w = weights(network)
    return RowSums(*(sums_above(w[name], 1) for name in GROUPS[:8]))


def sums_above(W: Array, axis: int) -> Array:
    """Absolute sums along an axis, from above; those of one entry, and of zeros, as they are.

    Examples
    --------
    >>> sums_above(np.array([[1.0, -2.0], [0.0, 0.0]]), 1).round(3)
    array([3., 0.])
    """
    sums = np.abs(W).sum(axis)
    return sums if W.shape[axis] == 1 else np.asarray(above(sums, W.shape[axis]))


def leaks(cell: LEMCell) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    r""":math:`\varphi` and its slope, of the scheme of a cell that `as_cell` has accepted."""
    phi, slope = cell.scheme.leak, cell.scheme.leak_slope
    assert phi is not None
    assert slope is not None
    return phi, slope


def leak_above(cell: LEMCell, gate: float) -> float:
    r"""The leak :math:`\ell = \varphi(\Delta t\,g)` of the cell's scheme at a gate g, rounded up; at g = 1 the largest leak there is.

    Examples
    --------
    >>> [round(leak_above(lemode.LEMCell(1, 2, dt=0.5, scheme=s), 1.0), 4) for s in ("imex", "semi_implicit", "exponential")]
    [0.5, 0.3333, 0.3935]
    """
    # phi(x) <= x, and the leak of an unconditional scheme is at most 1
    return min(float(outward(_leak(cell, gate), FUNCTION + 2)), cell.dt, 1.0 if cell.scheme.max_dt == np.inf else np.inf)


def leak_below(cell: LEMCell, gate: float) -> float:
    """`leak_above`, rounded down: 0 for a gate that has underflowed.

    Examples
    --------
    >>> leak_below(lemode.LEMCell(1, 2), 0.0), round(leak_below(lemode.LEMCell(1, 2, dt=0.5), 1.0), 4)
    (0.0, 0.5)
    """
    return float(inward(_leak(cell, gate), FUNCTION + 2))


def _leak(cell: LEMCell, gate: float) -> float:
    phi, _ = leaks(cell)
    return float(phi(torch.tensor(cell.dt * gate, dtype=torch.float64)))


def unit_cube_cell(network: object) -> LEMCell:
    """`as_cell`, for statements that need the cube |y|, |z| <= 1 to be invariant: dt <= 1 unless the scheme is unconditional."""
    cell = as_cell(network)
    if cell.dt > cell.scheme.max_dt:
        raise ValueError(
            f"dt={cell.dt:g}: this bound needs |y|, |z| <= 1, which scheme {cell.scheme.name!r} keeps for dt <= "
            f"{cell.scheme.max_dt:g}; use a smaller dt or scheme='exponential'."
        )
    return cell
