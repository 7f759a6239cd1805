r"""The way back: bounds on the inverse of a step, floors of the gradient, and the explicit inverse. Proofs: ``theory/``, section 5."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from .._checks import checks, count, pair, real, tensor
from .._renamed import state_first
from ..lem import LEMCell
from ..types import State
from .bounds import step_distance_bound
from .engine import beta, chi
from .jacobian import coefficients
from .network import as_cell, as_ode, leak, leaks, row_sums, unit_cube_cell, weights

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
    >>> inverse_bound(cell)
    2.0
    """
    cell = unit_cube_cell(cell)
    dt, top = cell.dt, leak(cell, 1.0)
    if norm == 2:
        n1, n2, nz, ny = (float(np.linalg.norm(weights(cell)[name], 2)) for name in ("W1", "W2", "Wz", "Wy"))
        if not (top < 1 and dt * n2 / 2 < 1 - top):
            return math.inf
        a, mu, b, s = 1 / (1 - top), 1 / (1 - top - dt * n2 / 2), dt * (n1 / 2 + nz), dt * ny
        return float(np.linalg.norm(np.array([[a, a * b], [0, 1]]) @ np.array([[1, 0], [mu * s, mu]]), 2))
    if norm != math.inf:
        raise ValueError(f"norm={norm!r}: the inverse is bounded in the norms inf and 2.")
    r = row_sums(cell)
    # the second form of the loss is for the unconditional schemes at large dt: l (1 + 2 w2) with l <= phi(dt)
    loss = np.minimum(dt * chi(r.w2), top * (1 + 2 * r.w2))
    if not (top < 1 and (loss < 1).all()):
        return math.inf
    iq = max(1.0, float(np.max((1 + dt * r.wy) / (1 - loss))))
    return max(iq, float(np.max(1 + dt * beta(r.w1, r.wz) * iq)) / (1 - top))


@state_first
@checks(state=pair, u=tensor)
def inverse_bound_posterior(cell: LEMCell, state: State, u: Tensor) -> Tensor:
    r"""Bound on :math:`\|J^{-1}\|_\infty` from the gates actually met, ``(...)``; inf where a denominator is not positive. Statement 5.2.

    .. math::

        i_Q = \max_i \max\left\{1, \frac{1 + \ell_2(1 - \hat y^2) w_y}{1 - \ell_2 - \ell_2'|\hat y - y| w_2}\right\}, \qquad
        \|J^{-1}\|_\infty \le \max_i \max\left\{i_Q,
            \frac{1 + \left(\ell_1'|\hat z - z| w_1 + \ell_1(1 - \hat z^2) w_z\right) i_Q}{1 - \ell_1}\right\}

    Parameters
    ----------
    cell : LEMCell
    state : (y, z), each (..., d)
    u : (..., m)

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.1)
    >>> inverse_bound_posterior(cell, (torch.zeros(7, 2), torch.zeros(7, 2)), torch.zeros(7, 1)).shape
    torch.Size([7])
    """
    c, p = coefficients(cell, state, u), as_ode(cell).blocks()
    w1, w2, wz, wy = (W.abs().sum(1) for W in (p.W1, p.W2, p.Wz, p.Wy))
    margin = c.keep_y - c.gate_y.abs() * w2
    iq = torch.where(margin > 0, (1 + c.cand_y * wy) / margin, math.inf).amax(-1, keepdim=True).clamp(min=1.0)
    coupling = c.gate_z.abs() * w1 + c.cand_z * wz
    # where the coupling is zero the product is zero even if iq is infinite
    product = torch.where(coupling > 0, coupling * iq, 0.0)
    ip = torch.where(c.keep_z > 0, (1 + product) / c.keep_z, math.inf).amax(-1)
    return torch.maximum(iq.squeeze(-1), ip)


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
    >>> gradient_floor(cell, 3)
    0.125
    """
    return float(inverse_bound(cell) ** -_steps(steps)) if steps else 1.0


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
    >>> highway_floor(cell, 2, gate_max=0.25)
    0.734375
    """
    exponent = _steps(steps) * math.log1p(step_distance_bound(cell, gate_max))
    return 1 - math.expm1(exponent) if exponent < math.log(2) else 0.0


@state_first
@checks(state=pair, u=tensor)
def inverse_step(cell: LEMCell, state: State, u: Tensor) -> State:
    r"""The state before a step from the one after it, explicitly, for a network with W2 = 0. Statement 5.1.

    .. math::

        y_{n-1} = \frac{y_n - \ell_2 \tanh(W_y z_n + V_y u_n + b_y)}{1 - \ell_2}, \qquad
        z_{n-1} = \frac{z_n - \ell_1 \tanh(W_z y_{n-1} + V_z u_n + b_z)}{1 - \ell_1}

    Rounding grows by :math:`1/(1 - \ell)` a step.

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
