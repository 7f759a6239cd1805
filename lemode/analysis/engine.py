r"""The scalar maximisation problems every bound of lemode is built from, in closed form.

One row of the one-step Jacobian of LEM is an expression in a gate :math:`g \in [0, 1]` and a candidate
:math:`h = |\tanh| \in [0, 1]`; the functions here are its exact maxima over both, never below them by rounding. Proofs:
``theory/engine_functions.py``, ``theory/outward_rounding.py``. All of them take numbers or numpy arrays, broadcast, work in float64, and
return a float for scalar arguments.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._checks import array
from ..types import Array
from .rounding import U, above, outward, power_above

__all__ = ["beta", "chi", "gam", "lem_G", "linear_growth", "psi", "psi_r"]


def psi(a: ArrayLike, b: ArrayLike) -> Any:
    r"""Largest value of a row at a gate of zero, from a state of the full unit cube.

    .. math:: \psi(a, b) = \max_{0 \le h \le 1} (1 + h) a + (1 - h^2) b
              = \begin{cases} a + b + a^2 / (4b) & a \le 2b,\ b > 0 \\ 2a & \text{otherwise} \end{cases}

    Parameters
    ----------
    a, b : nonnegative numbers or arrays that broadcast
        Row norms of the gate's and of the candidate's matrix.

    Returns
    -------
    float or array

    Raises
    ------
    ValueError
        If an argument is negative or not finite.

    Examples
    --------
    >>> round(psi(1.0, 1.0), 12), round(psi(2.0, 0.5), 12)
    (2.25, 4.0)
    """
    return psi_r(a, b, 1.0)


def psi_r(a: ArrayLike, b: ArrayLike, r: ArrayLike) -> Any:
    r"""`psi` when the state is only known to be in :math:`[-r, r]`.

    .. math:: \psi_r(a, b) = \max_{0 \le h \le 1} (r + h) a + (1 - h^2) b

    Parameters
    ----------
    a, b, r : nonnegative numbers or arrays that broadcast

    Returns
    -------
    float or array

    Raises
    ------
    ValueError
        If an argument is negative or not finite.

    Examples
    --------
    >>> round(psi_r(1.0, 1.0, r=0.0), 12)
    1.25
    """
    return _result(_psi_r(_nonnegative("a", a), _nonnegative("b", b), _nonnegative("r", r)))


def lem_G(s: ArrayLike, A: ArrayLike, B: ArrayLike, r: ArrayLike = 1.0) -> Any:
    r"""Largest growth of a row over all gates and candidates; nonnegative, convex, nondecreasing in A and B.

    .. math:: G(s, A, B; r) = \max_{0 \le g, h \le 1} g \left[-s + (1 - g)(r + h) A + (1 - h^2) B\right]

    The maximum over h is :math:`\psi_r((1 - g) A, B)`; what is left is piecewise cubic in g, so that it is enough to compare
    the ends, the stationary points of the two pieces and the point where they meet.

    Parameters
    ----------
    s, A, B, r : nonnegative numbers or arrays that broadcast
        s weighs the decay, A the gate's matrix, B the candidate's matrix, r bounds the state.

    Returns
    -------
    float or array

    Raises
    ------
    ValueError
        If an argument is negative or not finite.

    Examples
    --------
    >>> round(lem_G(1.0, 0.0, 1.5), 12)  # only the candidate: B - s
    0.5
    >>> round(lem_G(0.0, 1.0, 0.0), 12)  # only the gate: max g (1 - g) 2
    0.5
    """
    return _result(_lem_G(_nonnegative("s", s), _nonnegative("A", A), _nonnegative("B", B), _nonnegative("r", r)))


def gam(a: ArrayLike, b: ArrayLike) -> Any:
    r"""Growth rate of one row of the step's Jacobian: :math:`\gamma(a, b) = G(1, a, b; 1) \le a/2 + (b - 1)_+`.

    Parameters
    ----------
    a, b : nonnegative numbers or arrays that broadcast
        Row norms of the gate's and of the candidate's matrix.

    Returns
    -------
    float or array

    Raises
    ------
    ValueError
        If an argument is negative or not finite.

    Examples
    --------
    >>> gam(0.0, 0.9)  # a contracting candidate with a constant gate does not grow
    0.0
    """
    return lem_G(1.0, a, b)


def beta(a: ArrayLike, b: ArrayLike) -> Any:
    r"""Size of one row without its decay: :math:`\beta(a, b) = G(0, a, b; 1) \le a/2 + b`.

    Parameters
    ----------
    a, b : nonnegative numbers or arrays that broadcast
        Row norms of the gate's and of the candidate's matrix.

    Returns
    -------
    float or array

    Raises
    ------
    ValueError
        If an argument is negative or not finite.

    Examples
    --------
    >>> round(beta(0.0, 2.0), 12)
    2.0
    """
    return lem_G(0.0, a, b)


def chi(w: ArrayLike) -> Any:
    r"""Largest loss of the diagonal of the y block, used by the bound on the inverse.

    .. math:: \chi(w) = \max_{0 \le g \le 1} g\,(1 + 2 w (1 - g))
              = \begin{cases} 1 & w \le 1/2 \\ (1 + 2w)^2 / (8w) & \text{otherwise} \end{cases}

    Parameters
    ----------
    w : nonnegative number or array
        Row norm of W2.

    Returns
    -------
    float or array

    Raises
    ------
    ValueError
        If w is negative or not finite.

    Examples
    --------
    >>> chi(0.3), round(chi(1.5), 4)
    (1.0, 1.3333)
    """
    w = _nonnegative("w", w)
    wide = np.maximum(w, 0.5)  # at w = 1/2 both cases are 1
    return _result(np.where(w <= 0.5, 1.0, outward(wide / 2 + 0.5 + 0.125 / wide, 4)))


def linear_growth(N: ArrayLike, dt: ArrayLike, G: ArrayLike) -> Any:
    r"""Mean over n of a unit source of size dt that grows by 1 + dt G a step: A(N, dt, G) of section 4.

    .. math:: A(N, \Delta t, G) = \frac1N \sum_{n=1}^N \sum_{k=1}^n \Delta t\,(1 + \Delta t\,G)^{n-k}
              = \frac1G \left(\frac{(1 + x)\left((1 + x)^N - 1\right)}{N x} - 1\right), \qquad x = \Delta t\,G

    which tends to :math:`\Delta t (N + 1)/2` as G tends to 0.

    Parameters
    ----------
    N : positive integer or array
    dt : positive number or array
    G : nonnegative number or array

    Returns
    -------
    float or array
        inf where the value exceeds the largest float.

    Raises
    ------
    ValueError
        If N < 1, dt <= 0, G < 0, or one is not finite.

    Examples
    --------
    >>> round(linear_growth(10, 0.1, 0.0), 12)
    0.55
    >>> round(linear_growth(2, 1.0, 1.0), 12)  # (1 + (1 + 2)) / 2
    2.0
    """
    N, dt, G = np.broadcast_arrays(_nonnegative("N", N), _nonnegative("dt", dt), _nonnegative("G", G))
    if (N < 1).any() or (np.floor(N) != N).any():
        raise ValueError(f"N={_worst(N)}: the number of steps must be a positive integer.")
    if (dt <= 0).any():
        raise ValueError(f"dt={_worst(dt)}: the step size must be a finite positive number.")
    with np.errstate(over="ignore", under="ignore"):
        x = dt * G
    # the closed form cancels when N x is small; there A = dt/N Sum_j C(N+1, j+2) x^j, and 20 terms reach rounding for N x <= 1
    term = (N + 1) / 2
    series = np.zeros_like(x)
    with np.errstate(all="ignore"):  # where x is large the series is not used
        for j in range(20):
            series = series + term
            term = term * x * np.maximum(N - 1 - j, 0) / (j + 3)
        # the one that is subtracted is less than three fifths of what it is subtracted from
        closed = outward(((1 + x) * power_above(outward(x, 1), N) / (N * x) - 1) / G, 40)
        # one step has no growth; else what overflows on the way, inf / inf, overflows itself
        grown = np.where(N * x <= 1, outward(dt * series, 150), np.where(np.isnan(closed), np.inf, closed))
    return _result(np.where(N == 1, dt, grown))


def _psi_r(a: Array, b: Array, r: Array) -> Array:
    """`psi_r` without its checks."""
    with np.errstate(all="ignore"):
        inner = r * a + b + a * (a / b) / 4
        return np.asarray(above(np.where((a <= 2 * b) & (b > 0), inner, (1 + r) * a), 6))


def _lem_G(s: Array, A: Array, B: Array, r: Array) -> Array:
    """`lem_G` without its checks."""
    with np.errstate(all="ignore"):
        # G is homogeneous, so that nothing overflows which the value itself does not; a power of two leaves the digits as they are
        scale = np.maximum(np.maximum(A, B), s)
        exponent = np.frexp(np.where(np.isfinite(scale), scale, 1.0))[1]
        infinite, nothing = ~(np.isfinite(A) & np.isfinite(B)), (A == 0) & (s >= B)
        s, A, B = (np.ldexp(x, -exponent) for x in (s, A, B))
        nothing |= _psi_r(A, B, r) <= s  # no bracket is positive
        # piece 1, h = 1: g ((1 + r)(1 - g) A - s)
        g1 = 0.5 - 0.5 * s / ((1 + r) * A)
        # piece 2, h = (1 - g) A / (2 B) <= 1: stationary where 3 c h^2 - 2 (1 - 2 r c) h - q = 0, c = 2 B/A; g = 1 - c h, so that
        # c h = (p + root)/3 and (p - root)/3, the smaller one of which is had from their product
        c, q = 2 * B / A, 2 * r + 2 * (s - B) / A
        p = 1 - 2 * r * c
        root = np.where(p == 0, np.sqrt(3 * c * q), np.abs(p) * np.sqrt(1 + 3 * (c / p) * (q / p)))
        far = p + np.where(p < 0, -root, root)
        difference = B - s
        best = np.maximum(0.0, difference)  # g = 0 and g = 1
        simple = outward(best + (1 + r) * A / 4, 4)
        for g in (g1, 1 - c, 1 - far / 3, 1 + (c / far) * q):
            g = np.where(g > 0, np.minimum(g, 1.0), 0.0)  # an undefined point becomes 0
            a = (1 - g) * A
            # psi_r(a, B) - s, with the difference of B and s taken first
            inner = np.where((a <= 2 * B) & (B > 0), difference + r * a + a * (a / B) / 4, (1 + r) * a - s)
            best = np.fmax(best, g * inner)
        # the candidates are those of a problem within some roundings of this one, and so is the value at them
        lacking = MAXIMUM * U * (np.abs(difference) + np.where(A > 2 * B, 2 * (1 + r) * A, r * A + A * (A / B) / 4))
        # where A is nothing beside the others, the candidates overflow, and the simple bound is as good
        value = np.where(A < 1e-140, simple, np.fmin(simple, outward(best + lacking, 4)))
        value = np.nextafter(np.ldexp(outward(value, 1), exponent), np.inf)  # which may have underflowed
    return np.asarray(np.where(nothing, 0.0, np.where(infinite, np.inf, value)))


MAXIMUM = 64  # unit roundoffs of its terms by which the maximum found may lack: theory/outward_rounding.py counts 40


def _result(x: Array) -> Any:
    return x.item() if x.ndim == 0 else x


def _nonnegative(name: str, x: ArrayLike) -> Array:
    values = array(name, x)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise ValueError(f"{name}={values[bad].flat[0]:g}: give finite, nonnegative numbers.")
    return values


def _worst(x: Array) -> str:
    return f"{x.min():g}"
