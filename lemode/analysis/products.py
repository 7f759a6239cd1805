r"""Products of Jacobians along many steps, bounded from the weights alone: the nonlinear Perron form of J1.

With the functions G of `lemode.analysis.engine` and row vectors of sums :math:`s = (s^z, s^y) \ge 0`, one step has
:math:`|J|\,s \le S(s)` for every state in the unit cube and every input,

.. math::

    S^z(s) = s^z + \Delta t\,G(s^z, |W_1| s^y, |W_z| s^y; 1), \qquad
    S^y(s) = s^y + \Delta t\,G(s^y, |W_2| s^y, |W_y| S^z(s); 1),

so that products are bounded by iterating S, whose growth rate is the best over all weighted sup norms. Proof: J7 in
``theory/jacobian_bounds.py``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._checks import checks, count
from ..lem import LEMCell
from ..types import Array
from .engine import _lem_G
from .network import unit_cube_cell, weights
from .rounding import TINY, dot_above, grown

__all__ = ["jacobian_product_bound", "row_sums_of_products"]


@checks(steps=count)
def jacobian_product_bound(cell: LEMCell, steps: int) -> Array:
    r"""Bound on the norms of products of one-step Jacobians, for all states in the unit cube and all inputs. Statement J7.

    .. math:: \|J_n \cdots J_1\|_\infty \le \|S^n(\mathbf 1)\|_\infty \le (1 + \Delta t\,\Gamma)^n

    with :math:`\Gamma` of `growth_rate`: smaller than powers of J1, by many orders of magnitude over many steps. On a trained network it is
    large all the same; along given data `tube_along` is the bound to use.

    Parameters
    ----------
    cell : LEMCell
    steps : int

    Returns
    -------
    (steps + 1,)
        For n = 0, ..., steps; inf where the value exceeds the largest float.

    Raises
    ------
    TypeError, ValueError
        As for `growth_rate`, and for a negative number of steps.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 8, dt=0.5)
    >>> product, power = jacobian_product_bound(cell, 40), lemode.analysis.jacobian_bound(cell) ** np.arange(41)
    >>> bool((product <= power).all()), bool(product[40] < power[40] / 10)
    (True, True)
    """
    scale, rows = row_sums_of_products(cell, steps)
    with np.errstate(over="ignore"):
        return np.ldexp(rows.max(1), scale)


def row_sums_of_products(cell: LEMCell, steps: int) -> tuple[NDArray[np.int64], Array]:
    """The vectors S^n(1), rounded up, in the order (z, y): ``2**scale[n] * rows[n]``, ``(steps + 1,), (steps + 1, 2 d)``.

    Examples
    --------
    >>> scale, rows = row_sums_of_products(lemode.LEMCell(1, 3), 4)
    >>> rows.shape, int(scale[0]), float(rows[0].max())
    ((5, 6), 0, 1.0)
    """
    cell = unit_cube_cell(cell)
    W = {name: np.abs(w) for name, w in weights(cell).items()}
    d = len(W["W1"])
    scale, rows, one = np.zeros(steps + 1, dtype=np.int64), np.ones((steps + 1, 2 * d)), np.asarray(1.0)
    for n in range(steps):
        z, y = rows[n, :d], rows[n, d:]
        z_new = grown(z, cell.dt, _lem_G(z, dot_above(W["W1"], y), dot_above(W["Wz"], y), one))
        y_new = grown(y, cell.dt, _lem_G(y, dot_above(W["W2"], y), dot_above(W["Wy"], z_new), one))
        new = np.concatenate([z_new, y_new])
        # S is homogeneous: what it makes of a scaled vector is scaled, and a power of two leaves the digits as they are
        exponent = max(int(np.frexp(new.max())[1]), 0) if np.isfinite(new.max()) else 0
        scale[n + 1], rows[n + 1] = scale[n] + exponent, np.ldexp(new, -exponent) + (TINY if exponent else 0.0)
    return scale, rows
