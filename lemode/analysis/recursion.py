r"""The recursion bound G_rec: sensitivities of the state to a parameter, majorised entry by entry along time.

A scalar parameter :math:`\theta` in row i of a block satisfies :math:`|\partial z_n/\partial\theta| \le s^z_n`,
:math:`|\partial y_n/\partial\theta| \le s^y_n` with :math:`s_0 = 0` and

.. math::

    s^z_n &= s^z + \Delta t\,G\left(s^z,\ |W_1|s^y + \mu_1 e_i,\ |W_z|s^y + \mu_z e_i;\ r_{n-1}\right), \\
    s^y_n &= s^y + \Delta t\,G\left(s^y,\ |W_2|s^y + \mu_2 e_i,\ |W_y|s^z_n + \mu_y e_i;\ r_{n-1}\right)

entrywise, :math:`G` of `lemode.analysis.engine.lem_G`, :math:`r_n` of `state_radius`. Only the :math:`\mu` of the parameter's own
block is not zero: it is :math:`r_{n-1}` for W1, W2, Wz, :math:`r_n` for Wy, :math:`\max|u_n|` for V and 1 for b. The point of
it is that a source and the decay beside it share one gate. Every step is rounded up. Proof: ``theory/``, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..lem import LEMCell
from ..types import Array
from .adjoint import StepsAlong, adjoint, sources, steps_along
from .bounds import state_radius
from .engine import _lem_G
from .network import row_sums, unit_cube_cell, weights
from .rounding import above, dot_above, grown, outward

__all__ = ["adjoint_bound", "block_recursion", "posterior_recursion", "recursion"]


def radii(cell: LEMCell, steps: int, x0: float) -> Array:
    """r_0, ..., r_N of `state_radius` for the cell."""
    cell = unit_cube_cell(cell)
    return np.asarray(state_radius(cell.dt, np.arange(steps + 1), x0=x0, scheme=cell.scheme.name))


def recursion(cell: LEMCell, pull: Array, groups: Sequence[str], u_max: Array, x0: float = 0.0) -> Array:
    """G_rec for every row of every group, ``(len(groups), d)``: the mean over n of ``pull_n . s^y_n``; O(N d^3) for all rows of a group.

    ``pull (N, d)`` bounds the entries of dE_n/dy_n, ``u_max (N,)`` those of u_n, ``x0`` those of the initial state.

    Examples
    --------
    By unit, where the closed forms know the largest only; a z that no y reads has no gradient:

    >>> cell = lemode.LEMCell(1, 2, dt=0.5)
    >>> _ = [torch.nn.init.zeros_(p) for p in cell.parameters()]
    >>> with torch.no_grad():
    ...     cell.ode.weight_zy[:, 0] = 1.0  # both y read z_0 alone
    >>> recursion(cell, np.ones((3, 2)), ["bz", "by"], np.zeros(3)).round(4)
    array([[0.9583, 0.    ],
           [0.7083, 0.7083]])
    """
    cell = unit_cube_cell(cell)
    W = {name: np.abs(w) for name, w in weights(cell).items()}
    steps, d = pull.shape
    r = radii(cell, steps, x0)
    one = {letter: _selector(groups, letter, d) for letter in "12zy"}
    sz, sy = np.zeros((d, d * len(groups))), np.zeros((d, d * len(groups)))
    total = np.zeros(d * len(groups))
    # an overflow to inf is a correct, if useless, bound
    with np.errstate(over="ignore", invalid="ignore"):
        for n in range(1, steps + 1):
            mu = _source_sizes(groups, r[n - 1], r[n], u_max[n - 1], d)
            radius, old = np.asarray(r[n - 1]), sy
            driven = {k: above(dot_above(W["W" + k], old) + one[k] * mu, 1) for k in "12z"}
            sz = grown(sz, cell.dt, _lem_G(sz, driven["1"], driven["z"], radius))
            through = above(dot_above(W["Wy"], sz) + one["y"] * mu, 1)
            sy = grown(sy, cell.dt, _lem_G(sy, driven["2"], through, radius))
            pulled = pull[n - 1] > 0  # no 0 times inf
            total = above(total + dot_above(sy[pulled].T, pull[n - 1, pulled]), 1)
        return np.asarray(above(total / steps, 1)).reshape(len(groups), d)


def block_recursion(cell: LEMCell, pull: Array, group: str, u_max: Array, x0: float = 0.0) -> float:
    r"""The scalar form of G_rec: the recursion for the largest entry over all rows, O(N d). Never below the row form.

    .. math::

        s^z_n = s^z + \Delta t \max_i G\left(s^z, w_{1,i} s^y + \mu_1, w_{z,i} s^y + \mu_z; r_{n-1}\right), \qquad
        s^y_n = s^y + \Delta t \max_i G\left(s^y, w_{2,i} s^y + \mu_2, w_{y,i} s^z_n + \mu_y; r_{n-1}\right)

    with the row sums w. Arguments as for `recursion`, and one group.

    Examples
    --------
    >>> cell, pull, size = lemode.LEMCell(1, 4, dt=0.1), np.ones((50, 4)), np.zeros(50)
    >>> bool(block_recursion(cell, pull, "W1", size) >= recursion(cell, pull, ["W1"], size).max())
    True
    """
    cell, w = unit_cube_cell(cell), row_sums(cell)
    steps = len(pull)
    r = radii(cell, steps, x0)
    kind = {letter: float(group[1] == letter) for letter in "12zy"}
    sz, sy, total = 0.0, 0.0, 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for n in range(1, steps + 1):
            mu = _source_sizes([group], r[n - 1], r[n], u_max[n - 1], 1)[0]
            radius, old = np.asarray(r[n - 1]), sy
            # rows are paired, (w1_i, wz_i): two separate maxima would be far larger
            z1, zz, y2 = (_driven(row, old, kind[k] * mu) for row, k in ((w.w1, "1"), (w.wz, "z"), (w.w2, "2")))
            sz = float(grown(np.asarray(sz), cell.dt, _lem_G(np.asarray(sz), z1, zz, radius).max(keepdims=True))[0])
            yy = _driven(w.wy, sz, kind["y"] * mu)
            sy = float(grown(np.asarray(sy), cell.dt, _lem_G(np.asarray(sy), y2, yy, radius).max(keepdims=True))[0])
            weight = float(pull[n - 1].sum())
            if weight and sy:
                total = float(outward(total + float(outward(weight, pull.shape[1])) * sy, 2))
    return float(above(total / steps, 1))


def _driven(row: Array, s: float, source: float) -> Array:
    """``row s + source`` from above, and no 0 times inf."""
    return np.asarray(np.where(row * (s > 0) > 0, outward(np.where(row > 0, row, 1.0) * s + source, 2), source))


def posterior_recursion(cell: LEMCell, pull: Tensor, groups: Sequence[str], u: Tensor, ys: Tensor, zs: Tensor) -> Tensor:
    r"""G_rec with the gates actually met, ``(..., len(groups), d)``: ``|J|`` and ``|sources|`` instead of their suprema; O(N d^2).

    ``pull (N, ..., d)`` holds :math:`\partial E_n/\partial y_n`, ``u (N, ..., m)`` the inputs, ``ys, zs (N + 1, ..., d)`` the states.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 4, dt=0.1)
    >>> u, pull = torch.randn(50, 8, 1), torch.ones(50, 8, 4)
    >>> zero = torch.zeros(1, 8, 4)
    >>> with torch.no_grad():
    ...     ys, zs = (torch.cat([zero, x]) for x in lemode.kernels.run(cell.ode, cell.scheme, u, zero[0], zero[0], cell.dt))
    >>> seen = posterior_recursion(cell, pull, ["W1", "bz"], u, ys, zs)
    >>> seen.shape  # samples, blocks, units
    torch.Size([8, 2, 4])
    >>> bool((seen <= torch.from_numpy(recursion(cell, pull[:, 0].numpy(), ["W1", "bz"], np.zeros(50)))).all())
    True
    """
    return _positive(steps_along(cell, u, ys, zs), pull, groups, u, ys, zs)


def _positive(along: StepsAlong, pull: Tensor, groups: Sequence[str], u: Tensor, ys: Tensor, zs: Tensor) -> Tensor:
    # every number is positive, so that the sum over n of forward sensitivities is that of an adjoint, and rounding is relative
    steps = along.positive()
    found = sources(steps, adjoint(steps, pull.detach().double().abs().cpu()), groups, u, ys, zs)
    return _known(outward(found.size, len(u) * (3 * steps.d + 12) + 40))


def adjoint_bound(cell: LEMCell, pull: Tensor, groups: Sequence[str], u: Tensor, ys: Tensor, zs: Tensor) -> Tensor:
    r"""G_adj for every row of every group, ``(..., len(groups), d)``: the exact adjoint, without cancellation over time; O(N d^2).

    With :math:`\lambda_n = \sum_{m \ge n} \frac1N \frac{\partial E_m}{\partial y_m} \frac{\partial y_m}{\partial x_n}` and the source
    :math:`p_n` of a parameter, :math:`|\partial E/\partial\theta| = |\sum_n \lambda_n p_n| \le \sum_n |\lambda_n p_n|`. ``pull`` is signed.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 4, dt=0.1)
    >>> u, pull = torch.randn(50, 8, 1), torch.randn(50, 8, 4)
    >>> zero = torch.zeros(1, 8, 4)
    >>> with torch.no_grad():
    ...     ys, zs = (torch.cat([zero, x]) for x in lemode.kernels.run(cell.ode, cell.scheme, u, zero[0], zero[0], cell.dt))
    >>> args = cell, pull, ["W1", "bz"], u, ys, zs
    >>> bool((adjoint_bound(*args) <= posterior_recursion(*args) * 1.001).all())  # it keeps the cancellation between units
    True
    """
    return posterior_bounds(steps_along(cell, u, ys, zs), pull, groups, u, ys, zs).adjoint


class PosteriorBounds(NamedTuple):
    """G_rec and G_adj with the gates met, and how much a gradient that is computed in float64 may err; see `adjoint_bound`."""

    recursion: Tensor
    adjoint: Tensor
    error: Tensor


def posterior_bounds(
    along: StepsAlong, pull: Tensor, groups: Sequence[str], u: Tensor, ys: Tensor, zs: Tensor
) -> PosteriorBounds:
    """All three ``(..., len(groups), d)``, for the steps along the states.

    Examples
    --------
    >>> cell, states = lemode.LEMCell(1, 3), torch.zeros(6, 3)
    >>> u, pull = torch.zeros(5, 1), torch.ones(5, 3)
    >>> seen = posterior_bounds(steps_along(cell, u, states, states), pull, ["by"], u, states, states)
    >>> bool((seen.adjoint <= seen.recursion).all()), bool((seen.error < 1e-12).all())
    (True, True)
    """
    found = sources(along, adjoint(along, pull.detach().double().cpu(), windows=True), groups, u, ys, zs)
    recursion = _positive(along, pull, groups, u, ys, zs)
    # without cancellation and so without its errors, the recursion may be the smaller one
    error = torch.fmin(found.error.nan_to_num(nan=torch.inf), 2 * recursion)
    # three times the error: so a gradient computed in another order, plus its own error, is below where the signs agree
    recursion = recursion + 3 * error
    return PosteriorBounds(recursion, torch.fmin(_known(outward(found.size + 3 * found.error, len(u) + 8)), recursion), error)


def _known(x: Tensor) -> Tensor:
    """An overflow to inf is a correct, if useless, bound."""
    return x.nan_to_num(nan=torch.inf, posinf=torch.inf)


def _source_sizes(groups: Sequence[str], before: float, after: float, u_max: float, d: int) -> Array:
    sizes = [1.0 if g[0] == "b" else u_max if g[0] == "V" else after if g == "Wy" else before for g in groups]
    return np.repeat(sizes, d)


def _selector(groups: Sequence[str], letter: str, d: int) -> Array:
    """``(d, len(groups) * d)``: e_i in column (group, i) if the group's letter is this one, 0 otherwise."""
    return np.concatenate([np.eye(d) * float(g[1] == letter) for g in groups], axis=1)
