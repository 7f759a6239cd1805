r"""Bounds on the state and on one step's Jacobian that hold for every state in the unit cube and every input.

Notation of the theory: w1, w2, wz, wy and v1, ..., vy are absolute row sums of W1, ..., Vy; :math:`\gamma, \beta, \psi` are the
functions of `lemode.analysis.engine`. *A priori* bounds need the weights only; *a posteriori* ones the states actually met. All are rounded
outward (`lemode.analysis.rounding`). Proofs: ``theory/``, sections 2 and 3.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from .._checks import array, checks, pair, real, tensor
from .._renamed import state_first
from ..kernels.backends import LEAKY
from ..lem import LEMCell
from ..schemes import SCHEMES
from ..types import State
from .engine import beta, gam, psi
from .network import Network, leak_above, row_sums, sums_above, unit_cube_cell, weights
from .rounding import FUNCTION, above, inward, norm2_above, outward, power_above
from .sizes import step_sizes

__all__ = [
    "growth_rate", "input_bound", "jacobian_bound", "jacobian_bound_posterior", "state_radius", "step_distance_bound",
]  # fmt: skip


@checks(dt=real, gate_max=real, n=array, gates=array, x0=array)
def state_radius(
    dt: float, n: ArrayLike, gates: ArrayLike | None = None, x0: ArrayLike = 0.0, scheme: str = "imex", gate_max: float = 1.0
) -> Any:
    r"""Radius of the state after n steps, for any weights and inputs: statements S1, S2, S3.

    .. math::

        |z_n| \le 1 - (1 - |z_0|) \prod_{k=1}^n (1 - \ell_k) \le 1 - (1 - |z_0|)(1 - \ell)^n
            \quad (\ell \le 1,\ |z_0| \le 1), \qquad
        |z_n| \le \frac{\ell\left((\ell - 1)^n - 1\right)}{\ell - 2} \quad (\ell > 1,\ z_0 = 0)

    where :math:`\ell` is the largest leak, :math:`\Delta t` for LEM. The same holds for y with its own gates. If :math:`|z_0| > 1`
    the excess does not grow for :math:`\ell \le 1`.

    Parameters
    ----------
    dt : float
        Step size.
    n : nonnegative integer or array
        Number of steps. Ignored where ``gates`` is given.
    gates : (n, ...) array, optional
        The gates met, in (0, 1), for the a-posteriori bound, componentwise; needs leaks of at most 1.
    x0 : float or array
        :math:`|z_0|` (or :math:`|y_0|`).
    scheme : str
        'imex', 'semi_implicit' or 'exponential': fixes the leak.
    gate_max : float
        A bound on the gates met, if a better one than 1 is known (S2: the cube is invariant as soon as dt * gate_max <= 1).

    Returns
    -------
    float or array

    Raises
    ------
    ValueError
        For a dt that is not finite and positive, a negative n, gates outside [0, 1], or an unknown scheme.

    Examples
    --------
    >>> state_radius(0.5, [0, 1, 2]).round(3)
    array([0.  , 0.5 , 0.75])
    >>> round(state_radius(2.0, 3), 12)  # beyond dt = 1 the state may leave the cube
    6.0
    """
    phi = SCHEMES[scheme].leak if scheme in LEAKY else None
    if phi is None:
        raise ValueError(f"scheme={scheme!r}: the statements cover {', '.join(LEAKY)}.")
    if not (math.isfinite(dt) and dt > 0):
        raise ValueError(f"dt={dt:g}: the step size must be a finite positive number.")
    size = np.abs(np.asarray(x0, dtype=np.float64))
    if not np.isfinite(size).all():
        raise ValueError("x0: the initial state must be finite.")
    met = np.asarray(gate_max if gates is None else gates, dtype=np.float64)
    if not ((met >= 0) & (met <= 1)).all():
        raise ValueError("gates: a gate lies in [0, 1]; give the gates themselves, not dt * gate.")
    nearest = phi(torch.as_tensor(dt * met)).numpy()
    # phi(x) <= x, and the leak of an unconditional scheme is at most 1
    leaks = np.minimum(above(nearest, FUNCTION + 2), dt if SCHEMES[scheme].max_dt < math.inf else min(dt, 1.0))
    if gates is not None:
        if (leaks > 1).any():
            raise ValueError(f"dt={dt:g}: the product bound needs dt * gate <= 1; give n instead of gates.")
        with np.errstate(divide="ignore"):  # a leak of 1 keeps nothing
            taken = above(-np.log1p(-leaks).sum(0), len(leaks) + FUNCTION)
            least = inward(-np.log1p(-inward(nearest, FUNCTION + 2)).sum(0), len(leaks) + FUNCTION)
        kept = outward(np.exp(-least), FUNCTION)
    else:
        steps = np.asarray(n, dtype=np.float64)
        if (steps < 0).any() or (steps != np.floor(steps)).any():
            raise ValueError(f"n={steps.tolist()}: the number of steps must be a nonnegative integer.")
        if leaks > 1:
            return _plain(_overshoot(float(leaks), steps, size))
        with np.errstate(divide="ignore", invalid="ignore"):
            taken = np.where(steps == 0, 0.0, above(-steps * np.log1p(-leaks), FUNCTION + 1))
        kept = np.asarray(1.0)
    # 1 - kept by expm1: at a small step the difference has few digits
    lost = np.minimum(above(-np.expm1(-taken), FUNCTION), 1.0)
    inside = np.where(lost == 0, size, np.minimum(outward(size + (1 - size) * lost, 3), 1.0))
    return _plain(np.where(size <= 1, inside, np.minimum(outward(1 + (size - 1) * kept, 3), size)))


@checks(norm=real)
def growth_rate(network: Network, norm: float = math.inf) -> float:
    r"""Rate :math:`\Gamma` at which one step can grow a perturbation: :math:`\|J\| \le 1 + \Delta t\,\Gamma`. Statements J1, J3.

    .. math::

        \Gamma &= \max_i \max\{\gamma(w_{1,i}, w_{z,i}),\ \gamma(w_{2,i}, w_{y,i}(1 + \Delta t\,\gamma_z))\}, \quad
            \gamma_z = \max_i \gamma(w_{1,i}, w_{z,i}) & (\infty\text{-norm}) \\
        \Gamma_1 &= \max\{|W_y|_1,\ |W_2|_1/2 + (|W_1|_1/2 + |W_z|_1)(1 + \Delta t\,|W_y|_1)\} & (1\text{-norm})

    with :math:`|W|_1` the largest absolute column sum. In the infinity norm it is best possible: for nonnegative weights with equal
    row sums the bound is attained.

    Parameters
    ----------
    network : LEMCell, or MultiscaleODE for the limit dt -> 0
    norm : inf or 1

    Returns
    -------
    float
        In units of one over the unit of dt.

    Raises
    ------
    TypeError, ValueError
        For another kind of network, weights that are not finite, dt > 1 with scheme 'imex', or another norm.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.1)
    >>> _ = [torch.nn.init.zeros_(p) for p in cell.parameters()]
    >>> growth_rate(cell)
    0.0
    """
    dt = unit_cube_cell(network).dt if hasattr(network, "ode") else 0.0
    if norm == math.inf:
        r = row_sums(network)
        gz = float(np.max(gam(r.w1, r.wz)))
        return max(gz, float(np.max(gam(r.w2, above(r.wy * (1 + dt * gz), 3) if gz else r.wy))))
    if norm == 1:
        c1, c2, cz, cy = (float(sums_above(weights(network)[name], 0).max()) for name in ("W1", "W2", "Wz", "Wy"))
        return max(cy, float(above(c2 / 2 + (c1 / 2 + cz) * (1 + dt * cy), 6)))
    raise ValueError(f"norm={norm!r}: the growth rate is known in the norms inf and 1.")


@checks(norm=real)
def jacobian_bound(cell: LEMCell, norm: float = math.inf) -> float:
    r"""Bound on the norm of the one-step Jacobian, for every state in the unit cube and every input. Statements J1, J3, J4.

    .. math::

        \|J\|_\infty \le 1 + \Delta t\,\Gamma, \qquad \|J\|_1 \le 1 + \Delta t\,\Gamma_1, \qquad
        \|J\|_2 \le \left\| \begin{pmatrix} 1 & b \\ s & 1 + \Delta t\,|W_2|_2/2 + s b \end{pmatrix} \right\|_2

    with :math:`\Gamma, \Gamma_1` of `growth_rate`, :math:`b = \Delta t(|W_1|_2/2 + |W_z|_2)`, :math:`s = \Delta t\,|W_y|_2` and
    spectral norms :math:`|W|_2`.

    Parameters
    ----------
    cell : LEMCell
    norm : inf, 1 or 2

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As for `growth_rate`.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.1)
    >>> _ = [torch.nn.init.zeros_(p) for p in cell.parameters()]
    >>> jacobian_bound(cell)
    1.0
    """
    cell = unit_cube_cell(cell)
    if norm != 2:
        rate = growth_rate(cell, norm)
        return float(outward(1 + cell.dt * rate, 2)) if rate else 1.0
    n1, n2, nz, ny = (norm2_above(weights(cell)[name]) for name in ("W1", "W2", "Wz", "Wy"))
    b, s = float(above(cell.dt * (n1 / 2 + nz), 3)), float(above(cell.dt * ny, 1))
    corner = cell.dt * n2 / 2 + s * b
    return norm2_above(np.array([[1, b], [s, outward(1 + corner, 4) if corner else 1.0]]))


@state_first
@checks(state=pair, u=tensor)
def jacobian_bound_posterior(cell: LEMCell, state: State, u: Tensor, dt: Tensor | None = None) -> Tensor:
    r"""Bound on :math:`\|J\|_\infty` from the gates actually met; O(d^2) a state, no matrix is formed. Statement J2.

    .. math::

        \rho_z &= 1 - \ell_1 + \ell_1'|\hat z - z| w_1 + \ell_1(1 - \hat z^2) w_z, \\
        \rho_y &= 1 - \ell_2 + \ell_2'|\hat y - y| w_2 + \ell_2(1 - \hat y^2)\,|W_y|\rho_z, \qquad
        \|J\|_\infty \le \max_i \max(\rho_{z,i}, \rho_{y,i})

    It needs neither the cube nor a bound on dt (with :math:`|1 - \ell|` for :math:`1 - \ell`); products of it bound products of Jacobians.
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
    >>> jacobian_bound_posterior(cell, (torch.zeros(7, 2), torch.zeros(7, 2)), torch.zeros(7, 1)).shape
    torch.Size([7])
    """
    c, r = step_sizes(cell, state, u, dt), row_sums(cell)
    rho_z = outward(c.keep_z + c.gate_z * r.w1 + c.cand_z * r.wz, 5)
    through = outward(rho_z @ np.abs(weights(cell)["Wy"]).T, rho_z.shape[-1])
    rho_y = outward(c.keep_y + c.gate_y * r.w2 + c.cand_y * through, 5)
    return torch.from_numpy(np.asarray(outward(np.maximum(rho_z.max(-1), rho_y.max(-1)), 8 * rho_z.shape[-1])))


def input_bound(cell: LEMCell) -> float:
    r"""Bound on the infinity norm of the derivative of the new state by the step's input. Statement J5.

    .. math:: \left\|\frac{\partial x_n}{\partial u_n}\right\|_\infty \le \Delta t
        \max_i \max\{b_z,\ \beta(v_{2,i}, v_{y,i} + w_{y,i}\,\Delta t\,b_z)\}, \qquad b_z = \max_i \beta(v_{1,i}, v_{z,i})

    Parameters
    ----------
    cell : LEMCell

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As for `growth_rate`.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.1)
    >>> _ = torch.nn.init.zeros_(cell.ode.weight_ih)
    >>> input_bound(cell)
    0.0
    """
    cell, r = unit_cube_cell(cell), row_sums(cell)
    bz = float(np.max(beta(r.v1, r.vz)))
    return float(above(cell.dt * max(bz, float(np.max(beta(r.v2, above(r.vy + r.wy * cell.dt * bz, 3))))), 1))


@checks(gate_max=real)
def step_distance_bound(cell: LEMCell, gate_max: float = 1.0) -> float:
    r"""Bound on how far one step's Jacobian is from the identity when every gate is small. Statement J6.

    .. math:: \|J - I\|_\infty \le \lambda\kappa, \qquad \lambda = \varphi(\Delta t\,g_{\max}), \quad
        \kappa = 1 + \max_i \max\{\psi(w_{1,i}, w_{z,i}),\ \psi(w_{2,i}, w_{y,i}(1 + \Delta t\,\gamma_z))\}

    Parameters
    ----------
    cell : LEMCell
    gate_max : float
        A bound on the gates met, in (0, 1].

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As for `growth_rate`, and for gate_max outside (0, 1].

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.5)
    >>> _ = [torch.nn.init.zeros_(p) for p in cell.parameters()]
    >>> round(step_distance_bound(cell, gate_max=0.5), 12)
    0.25
    """
    if not 0 < gate_max <= 1:
        raise ValueError(f"gate_max={gate_max:g}: a bound on the gates lies in (0, 1].")
    cell, r = unit_cube_cell(cell), row_sums(cell)
    gz = float(np.max(gam(r.w1, r.wz)))
    kappa = 1 + max(float(np.max(psi(r.w1, r.wz))), float(np.max(psi(r.w2, above(r.wy * (1 + cell.dt * gz), 3)))))
    return float(outward(leak_above(cell, gate_max) * kappa, 3))


def _overshoot(ell: float, n: Any, size: Any) -> Any:
    """S3: the radius grows by R -> (ell - 1) R + ell, towards ell / (2 - ell) if ell < 2."""
    with np.errstate(over="ignore", invalid="ignore"):
        power = power_above(ell - 2, n)  # (ell - 1)^n - 1
        if ell < 2:  # of a fall the size counts, from above
            series = outward(ell * outward(-np.expm1(n * np.log1p(ell - 2)), 2 * FUNCTION + 2) / (2 - ell), 4)
        else:
            series = outward(2.0 * n if ell == 2 else ell * power / (ell - 2), 4)
        start = np.where(size > 0, outward((1 + power) * np.where(size > 0, size, 1.0), 3), 0.0)  # no 0 times inf
        return np.where(n == 0, size, np.maximum(size, outward(start + series, 2)))


def _plain(x: Any) -> Any:
    x = np.asarray(x)
    return x.item() if x.ndim == 0 else x
