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

from .._checks import checks, count
from ..lem import LEMCell
from ..types import Array
from .engine import _lem_G
from .network import unit_cube_cell, weights

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
        return np.exp(scale) * rows.max(1)


def row_sums_of_products(cell: LEMCell, steps: int) -> tuple[Array, Array]:
    """The vectors S^n(1), in the order (z, y), as ``exp(scale[n]) * rows[n]`` with rows of at most 1: ``(steps + 1,), (steps + 1, 2 d)``.

    Examples
    --------
    >>> scale, rows = row_sums_of_products(lemode.LEMCell(1, 3), 4)
    >>> rows.shape, float(scale[0]), rows.max(1).tolist()
    ((5, 6), 0.0, [1.0, 1.0, 1.0, 1.0, 1.0])
    """
    cell = unit_cube_cell(cell)
    W = {name: np.abs(w) for name, w in weights(cell).items()}
    d = len(W["W1"])
    scale, rows, one = np.zeros(steps + 1), np.ones((steps + 1, 2 * d)), np.asarray(1.0)
    for n in range(steps):
        z, y = rows[n, :d], rows[n, d:]
        z_new = z + cell.dt * _lem_G(z, W["W1"] @ y, W["Wz"] @ y, one)
        y_new = y + cell.dt * _lem_G(y, W["W2"] @ y, W["Wy"] @ z_new, one)
        new = np.concatenate([z_new, y_new])
        # S is homogeneous: what it makes of a scaled vector is scaled
        scale[n + 1], rows[n + 1] = scale[n] + np.log(new.max()), new / new.max()
    return scale, rows
