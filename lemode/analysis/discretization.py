r"""LEM as a discretization: its error bounds, its linear stability, and the bias that sets a time scale.

Proofs: ``theory/``, sections 6 and 7.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from .._checks import array, checks, count, real, tensor
from ..lem import LEMCell
from .bounds import growth_rate
from .network import as_cell, row_sums
from .rounding import FUNCTION, above, outward, power_above
from .stability import certificates

__all__ = ["decay_error_bound", "gate_bias", "global_error_bound", "local_error_bound", "stability_region"]


def local_error_bound(cell: LEMCell) -> float:
    r"""Bound on the error of one LEM step against the exact ODE, in the infinity norm. Statement 6.2.

    .. math::

        C\,\Delta t^2, \qquad C = \max\{L_z,\ L_y + \Delta t\,w_y L_z\}, \quad
        L_z = 1 + \tfrac12 w_1 + w_z, \quad L_y = 1 + \tfrac12 w_2 + w_y

    from any state in the unit cube, with the input constant over the step.

    Parameters
    ----------
    cell : LEMCell
        Scheme 'imex', dt <= 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        For another kind of network, another scheme, dt > 1, or weights that are not finite.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.1)
    >>> _ = [torch.nn.init.zeros_(p) for p in cell.parameters()]
    >>> round(local_error_bound(cell), 12)
    0.01
    """
    Lz, Ly, dt = _local(cell)
    return float(outward(max(Lz, Ly) * dt * dt, 2))


@checks(steps=count, u=tensor)
def global_error_bound(cell: LEMCell, steps: int, u: Tensor | None = None) -> float:
    r"""Bound on :math:`\|x_n - x(t_n)\|` for LEM against the exact ODE from the same initial state, in the infinity norm. Statement 6.2.

    .. math::

        C\,\Delta t\,\frac{(1 + \Delta t\,\Gamma)^n - 1}{\Gamma}, \qquad \text{or} \qquad
        \frac{C'\Delta t}{g_{\min}(1 - \Psi)} \cdot \max(1, 1/r), \quad C' = \max\{r L_z,\ L_y + \Delta t\,w_y L_z\}

    the second, uniform in time, where the contraction certificate holds; the smaller of the two is returned. The input is piecewise
    constant, :math:`u(t) = u_n` on :math:`(t_{n-1}, t_n]`, and the initial state lies in the unit cube. First order in dt.

    Parameters
    ----------
    cell : LEMCell
        Scheme 'imex', dt <= 1.
    steps : int
        n >= 0.
    u : (..., m) tensor, optional
        The inputs to be covered by the certificate; zero input by default.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As for `local_error_bound`, and for negative steps.

    Examples
    --------
    >>> cell = lemode.LEMCell(1, 2, dt=0.1)
    >>> _ = [torch.nn.init.zeros_(p) for p in cell.parameters()]
    >>> round(global_error_bound(cell, 5), 12), round(global_error_bound(cell, 1000), 12)
    (0.05, 0.2)
    """
    Lz, Ly, dt = _local(cell)
    if not isinstance(steps, int) or steps < 0:
        raise ValueError(f"steps={steps!r}: give a nonnegative integer.")
    if steps == 0:
        return 0.0
    x = dt * growth_rate(cell)
    # where x is nothing, the quotient is steps to all digits
    growth = float(outward(power_above(x, steps) / x, 4)) if x > 1e-200 else steps
    bound = float(outward(max(Lz, Ly) * dt * dt * growth, 4))
    # |x|_inf <= max(1, 1/r) |x|_r
    uniform = (
        float(outward(max(c.r * Lz, Ly) * dt / c.rate * max(1.0, 1 / c.r), 6)) for c in certificates(cell, u) if c.rate > 0
    )
    return min([bound, *uniform])


@checks(a=array, b=array, pq=array)
def stability_region(a: ArrayLike, b: ArrayLike, pq: ArrayLike) -> Any:
    r"""Whether the LEM step of a linearised pair is asymptotically stable. Statement 6.3.

    The pair :math:`z' = (1 - a) z + a p\,y`, :math:`y' = (1 - b) y + b q\,z'` with :math:`a = \Delta t\,g_1`,
    :math:`b = \Delta t\,g_2` has both eigenvalues inside the unit circle if and only if

    .. math:: pq < 1, \qquad 4 - 2a - 2b + ab(1 + pq) > 0, \qquad |(1 - a)(1 - b)| < 1,

    the last of which is implied for 0 < a, b < 2. For an oscillator, a = b and :math:`pq = -\omega^2`, this is
    :math:`a < 2/(1 + \omega)`; plain forward Euler needs :math:`a < 2/(1 + \omega^2)`.

    Parameters
    ----------
    a, b : positive number or array
    pq : number or array
        Product of the two couplings.

    Returns
    -------
    bool or array of bool

    Raises
    ------
    ValueError
        If a or b is not positive, or something is not finite.

    Examples
    --------
    >>> stability_region(0.3, 0.3, -25.0), stability_region(0.4, 0.4, -25.0)  # omega = 5: the limit is 1/3
    (True, False)
    """
    a, b, pq = (np.asarray(x, dtype=np.float64) for x in (a, b, pq))
    if not (np.isfinite(a).all() and np.isfinite(b).all() and np.isfinite(pq).all() and (a > 0).all() and (b > 0).all()):
        raise ValueError("a, b, pq: give finite numbers, a = dt g1 > 0 and b = dt g2 > 0.")
    # rational arithmetic: on the border a rounding would decide
    exactly = np.frompyfunc(_is_stable, 3, 1)(*(np.vectorize(Fraction, otypes=[object])(x) for x in (a, b, pq)))
    return bool(exactly) if np.ndim(exactly) == 0 else exactly.astype(bool)


def _is_stable(a: Fraction, b: Fraction, pq: Fraction) -> bool:
    return pq < 1 and 4 - 2 * a - 2 * b + a * b * (1 + pq) > 0 and abs((1 - a) * (1 - b)) < 1


@checks(dt=real, tau=array)
def gate_bias(tau: ArrayLike, dt: float = 1.0, mode: str = "exact") -> Any:
    r"""The bias that gives a unit with W = V = 0 in its gate the time scale tau. Statement 7.1.

    .. math::

        \text{rate:}\ b = \mathrm{logit}(1/\tau), \qquad
        \text{exact:}\ b = \mathrm{logit}(\lambda/\Delta t), \quad \lambda = 1 - e^{-\Delta t/\tau}

    'rate' gives the ODE (and LEM to first order) the rate 1/tau; 'exact' makes one LEM step decay by exactly
    :math:`e^{-\Delta t/\tau}`. The relative error of the decay is at most :math:`|b|` times the rounding unit: scales up to 1e8 are
    safe.

    Parameters
    ----------
    tau : positive number or array
        Time scale, in the unit of dt.
    dt : float
        Step size.
    mode : {'exact', 'rate'}

    Returns
    -------
    float or array

    Raises
    ------
    ValueError
        If tau or dt is not positive, or the scale is too fast for a gate below 1: tau <= 1 for 'rate';
        :math:`1 - e^{-\Delta t/\tau} \ge \Delta t` for 'exact'.

    Examples
    --------
    >>> b = gate_bias(tau=100.0, dt=0.5)
    >>> round(1 - 0.5 / (1 + math.exp(-b)), 12) == round(math.exp(-0.5 / 100), 12)
    True
    """
    tau = np.asarray(tau, dtype=np.float64)
    if not (np.isfinite(tau).all() and (tau > 0).all()):
        raise ValueError("tau: time scales must be finite and positive.")
    if not (math.isfinite(dt) and dt > 0):
        raise ValueError(f"dt={dt:g}: the step size must be a finite positive number.")
    if mode not in ("exact", "rate"):
        raise ValueError(f"mode={mode!r}: give 'exact' or 'rate'.")
    gate = 1 / tau if mode == "rate" else -np.expm1(-dt / tau) / dt
    if (gate >= 1).any():
        raise ValueError(
            f"tau={tau.min():g} with dt={dt:g}: this scale needs a gate of {gate.max():g}, and gates stay below 1; rescale time."
        )
    bias = np.log(gate) - np.log1p(-gate)
    return bias.item() if bias.ndim == 0 else bias


@checks(x=array)
def decay_error_bound(x: ArrayLike) -> Any:
    r"""Bound on the error of the decay of LEM against the exact one, over any number of steps. Statement 7.2.

    .. math:: \left|(1 - x)^n - e^{-n x}\right| \le \frac{x}{2} e^{x - 1} \le \frac{x}{2}, \qquad x = \Delta t\,g \le 1

    for every n >= 0; attained as x tends to 0, at n = 1/x.

    Parameters
    ----------
    x : number or array in (0, 1]
        Step size times rate.

    Returns
    -------
    float or array

    Raises
    ------
    ValueError
        If x is outside (0, 1].

    Examples
    --------
    >>> decay_error_bound(1.0)
    0.5
    """
    x = np.asarray(x, dtype=np.float64)
    if not ((x > 0) & (x <= 1)).all():
        raise ValueError("x: dt times the rate must lie in (0, 1].")
    bound = np.asarray(np.minimum(outward(x / 2 * np.exp(x - 1), FUNCTION + 2), x / 2))
    return bound.item() if bound.ndim == 0 else bound


def _local(cell: LEMCell) -> tuple[float, float, float]:
    """``Lz``, ``Ly + dt wy Lz`` and dt, with row sums maximised."""
    cell = as_cell(cell)
    if cell.scheme.name != "imex" or cell.dt > 1:
        raise ValueError(f"scheme={cell.scheme.name!r}, dt={cell.dt:g}: the error bounds are those of 'imex' with 0 < dt <= 1.")
    r = row_sums(cell)
    Lz = float(np.max(1 + above(r.w1 / 2 + r.wz, 2)))
    return Lz, float(np.max(1 + above(r.w2 / 2 + r.wy + cell.dt * r.wy * Lz, 5))), cell.dt
