r"""The way back: bounds on the inverse of a step, floors of the gradient, and the explicit inverse. Proofs: ``theory/``, section 5."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import linear

from .._checks import checks, count, pair, real, tensor
from .._renamed import state_first
from ..lem import LEMCell
from ..types import Array, State
from .bounds import step_distance_bound
from .engine import beta, chi
from .network import as_cell, leak_above, leaks, row_sums, unit_cube_cell, weights
from .rounding import FUNCTION, U, above, inward, norm2_above, outward, power_above
from .sizes import step_sizes

__all__ = ["gradient_floor", "highway_floor", "inverse_bound", "inverse_bound_posterior", "inverse_step"]


@checks(norm=real)
def inverse_bound(cell: LEMCell, norm: float = math.inf) -> float:
    r"""Bound K on the norm of the inverse of the one-step Jacobian, over the unit cube; inf where none is known. Statement 5.2.

    .. math::

        \|J^{-1}\|_\infty \le K = \max\left\{i_Q,\ \frac{1 + \Delta t\,\beta(w_1, w_z)\,i_Q}{1 - \Delta t}\right\}, \qquad
        i_Q = \max\left\{1, \frac{1 + \Delta t\,w_y}{1 - \Delta t\,\chi(w_2)}\right\}

    row by row, for :math:`\Delta t < 1` and :math:`\Delta t\,\chi(w_2) < 1`. For the unconditional schemes :math:`1 - \Delta t`
    is replaced by :math:`1 - \varphi(\Delta t)`. In the 2-norm, with b, s of `jacobian_bound`, :math:`a = 1/(1 - \Delta t)` and
    :math:`\mu = 1/(1 - \Delta t - \Delta t |W_2|_2/2)`,

    .. math:: \|J^{-1}\|_2 \le \left\| \begin{pmatrix} a & a b \\ 0 & 1 \end{pmatrix}
              \begin{pmatrix} 1 & 0 \\ \mu s & \mu \end{pmatrix} \right\|_2 .

    At dt = 1 a saturated gate erases memory in one step, so that no finite bound can hold there.

    Parameters
    ----------
    cell : LEMCell
    norm : inf or 2

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        For another kind of network, weights that are not finite, dt > 1 with scheme 'imex', or another norm.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.5)
    >>> _ = [torch.nn.init.zeros_(p) for p in cell.parameters()]
    >>> round(inverse_bound(cell), 12)
    2.0
    """
    cell = unit_cube_cell(cell)
    dt, top = cell.dt, leak_above(cell, 1.0)
    if norm == 2:
        n1, n2, nz, ny = (norm2_above(weights(cell)[name]) for name in ("W1", "W2", "Wz", "Wy"))
        rest = 1 - float(outward(top + dt * n2 / 2, 3))
        if not (top < 1 and rest > 0):
            return math.inf
        a, mu, b, s = 1 / (1 - top), 1 / rest, dt * (n1 / 2 + nz), dt * ny
        return norm2_above(
            np.array([[outward(a * (1 + b * mu * s), 14), outward(a * b * mu, 10)], [above(mu * s, 6), outward(mu, 4)]])
        )
    if norm != math.inf:
        raise ValueError(f"norm={norm!r}: the inverse is bounded in the norms inf and 2.")
    r = row_sums(cell)
    # the second form of the loss is for the unconditional schemes at large dt: l (1 + 2 w2) with l <= phi(dt)
    loss = outward(np.minimum(dt * chi(r.w2), top * (1 + 2 * r.w2)), 3)
    if not (top < 1 and (loss < 1).all()):
        return math.inf
    iq = float(np.max(outward((1 + dt * r.wy) / (1 - loss), 4)))
    return max(iq, float(outward(np.max(1 + dt * beta(r.w1, r.wz) * iq) / (1 - top), 5)))


@state_first
@checks(state=pair, u=tensor)
def inverse_bound_posterior(cell: LEMCell, state: State, u: Tensor, dt: Tensor | None = None) -> Tensor:
    r"""Bound on :math:`\|J^{-1}\|_\infty` from the gates actually met, ``(...)``; inf where a denominator is not positive. Statement 5.2.

    .. math::

        i_Q = \max_i \max\left\{1, \frac{1 + \ell_2(1 - \hat y^2) w_y}{1 - \ell_2 - \ell_2'|\hat y - y| w_2}\right\}, \qquad
        \|J^{-1}\|_\infty \le \max_i \max\left\{i_Q,
            \frac{1 + \left(\ell_1'|\hat z - z| w_1 + \ell_1(1 - \hat z^2) w_z\right) i_Q}{1 - \ell_1}\right\}

    It is computed in float64, from the weights, the states and the inputs as they are.

    Parameters
    ----------
    cell : LEMCell
    state : (y, z), each (..., d)
    u : (..., m)
    dt : (..., 1) float64, optional
        Of each step its own size.

    Returns
    -------
    Tensor (...), float64

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.1)
    >>> inverse_bound_posterior(cell, (torch.zeros(7, 2), torch.zeros(7, 2)), torch.zeros(7, 1)).shape
    torch.Size([7])
    """
    c, r = step_sizes(cell, state, u, dt), row_sums(cell)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        taken = outward(c.gate_y * r.w2, 1)
        margin = c.kept_y - taken - outward(2 * U * (np.abs(c.kept_y) + taken), 2)
        iq = np.where(margin > 0, outward((1 + c.cand_y * r.wy) / margin, 4), math.inf).max(-1, keepdims=True).clip(1.0)
        coupling = above(c.gate_z * r.w1 + c.cand_z * r.wz, 3)
        # where the coupling is zero the product is zero even if iq is infinite
        product = np.where(coupling > 0, outward(coupling * iq, 1), 0.0)
        ip = np.where(c.kept_z > 0, outward((1 + product) / c.kept_z, 3), math.inf).max(-1)
    return torch.from_numpy(np.asarray(np.maximum(iq[..., 0], ip)))


@checks(steps=count)
def gradient_floor(cell: LEMCell, steps: int) -> float:
    r"""Share of a gradient's 1-norm that is left after flowing back through so many steps, whatever the input. Statement 5.2.

    .. math:: \|v\,J_n \cdots J_{k+1}\|_1 \ge K^{-(n-k)}\,\|v\|_1

    with K of `inverse_bound`: since :math:`K = 1 + O(\Delta t)`, decay is at most exponential in elapsed **time**.

    Parameters
    ----------
    cell : LEMCell
    steps : int
        n - k >= 0.

    Returns
    -------
    float
        0 where no floor is known.

    Raises
    ------
    TypeError, ValueError
        As for `inverse_bound`, and for negative steps.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.5)
    >>> _ = [torch.nn.init.zeros_(p) for p in cell.parameters()]
    >>> round(gradient_floor(cell, 3), 12)
    0.125
    """
    return float(floors(cell, np.array(_steps(steps))))


def floors(cell: LEMCell, steps: NDArray[Any]) -> Array:
    """`gradient_floor` of as many steps as there are entries.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.5)
    >>> _ = [torch.nn.init.zeros_(p) for p in cell.parameters()]
    >>> floors(cell, np.array([0, 3])).round(6)
    array([1.   , 0.125])
    """
    rate = math.log(inverse_bound(cell))
    with np.errstate(invalid="ignore"):
        exponent = np.where(steps == 0, 0.0, outward(steps * rate, FUNCTION + 1))
    return np.where(steps == 0, 1.0, inward(np.exp(-exponent), FUNCTION))


@checks(steps=count, gate_max=real)
def highway_floor(cell: LEMCell, steps: int, gate_max: float) -> float:
    r"""As `gradient_floor`, for steps along which every gate is at most gate_max: nearly closed gates are a highway. Statement 5.2.

    .. math:: \|v\,J_n \cdots J_{k+1}\|_1 \ge \left(2 - (1 + \lambda\kappa)^{n-k}\right)_+ \|v\|_1

    with :math:`\lambda\kappa` of `step_distance_bound`.

    Parameters
    ----------
    cell : LEMCell
    steps : int
    gate_max : float
        In (0, 1].

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.5)
    >>> _ = [torch.nn.init.zeros_(p) for p in cell.parameters()]
    >>> round(highway_floor(cell, 2, gate_max=0.25), 12)
    0.734375
    """
    if not _steps(steps):
        return 1.0
    away = float(power_above(step_distance_bound(cell, gate_max), steps))
    return float(inward(1 - away, 1)) if away < 1 else 0.0


@state_first
@checks(state=pair, u=tensor)
def inverse_step(cell: LEMCell, state: State, u: Tensor) -> State:
    r"""The state before a step from the one after it, explicitly, for a network with W2 = 0. Statement 5.1.

    .. math::

        y_{n-1} = \frac{y_n - \ell_2 \tanh(W_y z_n + V_y u_n + b_y)}{1 - \ell_2}, \qquad
        z_{n-1} = \frac{z_n - \ell_1 \tanh(W_z y_{n-1} + V_z u_n + b_z)}{1 - \ell_1}

    What rounding has changed grows by :math:`\|J^{-1}\|` a step, `inverse_bound_posterior`: by :math:`1/(1 - \ell)`, and by what y then
    does to z.

    Parameters
    ----------
    cell : LEMCell
        With W2 = 0.
    state : (y_n, z_n), each (..., d)
    u : (..., m)
        Input of the step.

    Returns
    -------
    (y_{n-1}, z_{n-1})

    Raises
    ------
    ValueError
        If W2 is not zero, or a gate is so saturated that the leak is 1 and the step erases the state.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.5)
    >>> _ = cell.ode.weight_hh.data[2:4].zero_()
    >>> u, state = torch.ones(1), (torch.tensor([0.1, 0.2]), torch.tensor([0.3, 0.4]))
    >>> y, z = inverse_step(cell, cell.scheme.step(cell.ode, state, u, cell.dt), u)
    >>> torch.allclose(y, state[0]) and torch.allclose(z, state[1])
    True
    """
    cell = as_cell(cell)
    (y, z), p = state, cell.ode.blocks()
    if bool((p.W2 != 0).any()):
        raise ValueError(
            "W2 is not zero: the gate of y then depends on the y that is sought, and the step has no explicit inverse; solve "
            "y = (y_n - l2(y) yhat) / (1 - l2(y)) by iteration, or train with W2 = 0."
        )
    phi, _ = leaks(cell)
    l2 = phi(cell.dt * torch.sigmoid(linear(u, p.V2, p.b2)))
    y = (y - l2 * torch.tanh(linear(z, p.Wy) + linear(u, p.Vy, p.by))) / _open(1 - l2)
    l1 = phi(cell.dt * torch.sigmoid(linear(y, p.W1) + linear(u, p.V1, p.b1)))
    z = (z - l1 * torch.tanh(linear(y, p.Wz) + linear(u, p.Vz, p.bz))) / _open(1 - l1)
    return y, z


def _steps(steps: int) -> int:
    if not isinstance(steps, int) or steps < 0:
        raise ValueError(f"steps={steps!r}: give a nonnegative integer.")
    return steps


def _open(kept: Tensor) -> Tensor:
    if bool((kept == 0).any()):
        raise ValueError("a gate is saturated at leak 1: this step erases the state and cannot be inverted; use dt < 1.")
    return kept
