r"""The one way in which bounds are rounded outward: float64 in the nearest rounding, enlarged by what it may lack.

A value of *k* operations without a difference of like numbers has a relative error of at most :math:`k u/(1 - k u)`, :math:`u = 2^{-53}`,
in any order of its sums and with fused products; `outward` enlarges by twice as much, and by `TINY` for what underflows. The elementary
functions of NumPy, torch and libm are taken to err by at most `FUNCTION` u, relatively. Proofs: ``theory/outward_rounding.py``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from ..types import Array

__all__ = [
    "FUNCTION",
    "TINY",
    "U",
    "above",
    "dot_above",
    "grown",
    "inward",
    "norm2_above",
    "outward",
    "power_above",
    "unit_roundoff",
]

U = 2.0**-53
TINY = 1e-300  # above what is lost to underflow
# unit roundoffs, four units in the last place: more than exp, log1p, expm1, tanh or the sigmoid of any of them errs by
FUNCTION = 8


def unit_roundoff(dtype: torch.dtype) -> float:
    """Half the distance from one to the next number.

    Examples
    --------
    >>> unit_roundoff(torch.float64) == 2.0**-53
    True
    """
    return torch.finfo(dtype).eps / 2


def outward(x: Any, terms: ArrayLike) -> Any:
    """A nonnegative value of so many terms, at least as large as the exact one.

    Examples
    --------
    >>> bool(outward(np.array([0.1 + 0.2]), 2) > 0.3)
    True
    """
    return x * (1 + (np.asarray(terms) + 8) * 2 * U) + TINY


def inward(x: Any, terms: ArrayLike) -> Any:
    """A nonnegative value of so many terms, at most as large as the exact one, and not negative.

    Examples
    --------
    >>> 0.29 < float(inward(0.1 + 0.2, 2)) < 0.3
    True
    """
    return np.maximum(x * (1 - np.minimum((np.asarray(terms) + 8) * 2 * U, 1.0)) - TINY, 0.0)


def above(x: Any, terms: ArrayLike) -> Any:
    """`outward`, but nothing stays nothing: for a value that is zero only where the exact one is.

    Examples
    --------
    >>> float(above(0.0, 3)), float(above(1.0, 3)) > 1
    (0.0, True)
    """
    return np.where(np.asarray(x) == 0, 0.0, outward(x, terms))


def grown(s: Array, dt: float, rate: Array) -> Array:
    """``s + dt rate`` of nonnegative numbers, from above; what has no rate stays as it is.

    Examples
    --------
    >>> grown(np.array([0.0, 1.0]), 0.5, np.array([0.0, 0.2])).round(3)
    array([0. , 1.1])
    """
    return np.asarray(np.where(rate == 0, s, outward(s + dt * rate, 2)))


def dot_above(A: Array, x: Array) -> Array:
    """``A @ x`` of nonnegative matrices, at least as large as the exact one; zero where that is, inf where it may be.

    Examples
    --------
    >>> A = np.array([[0.1, 0.2], [0.0, 1.0]])
    >>> dot_above(A, np.array([1.0, 0.0])).round(3)
    array([0.1, 0. ])
    """
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        product = A @ x
        found = outward(product, A.shape[-1])
        nothing = product == 0  # of zeros, or underflowed
        if nothing.any():
            found = np.where(nothing & ((A > 0).astype(np.float64) @ (x > 0).astype(np.float64) == 0), 0.0, found)
        return np.asarray(np.where(np.isnan(found), np.inf, found))


def power_above(x: ArrayLike, n: ArrayLike) -> Array:
    r""":math:`(1 + x)^n - 1` from above, for x > -1 and n >= 0; inf where it is beyond the largest float.

    Examples
    --------
    >>> round(float(power_above(0.1, 2)), 12)
    0.21
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        exponent = np.asarray(n * np.log1p(x))
        size = np.where(np.isfinite(exponent), np.abs(exponent), 0.0)
        value = np.expm1(exponent)
        # below zero a relative error of the exponent is none that is larger of the result
        by = np.where(exponent > 0, (2 * FUNCTION + 2) * (size + 1), 2 * FUNCTION + 2)
        return np.asarray(np.where(exponent > 0, outward(value, by), -inward(-value, by)))


def norm2_above(A: Array) -> float:
    r"""A bound on the spectral norm, by a singular value decomposition whose residual is bounded: no trust in how it was computed.

    .. math:: \|A\|_2 \le \|U\|_2 \|V\|_2\,\sigma_1 + \|A - U \Sigma V^T\|_F, \qquad \|U\|_2^2 \le 1 + \|U^T U - I\|_F

    Examples
    --------
    >>> float(norm2_above(np.diag([3.0, 4.0]))) >= 4.0, round(float(norm2_above(np.diag([3.0, 4.0]))), 12)
    (True, 4.0)
    """
    size = float(np.abs(A).max(initial=0.0))
    if size == 0 or not math.isfinite(size):
        return size
    exponent = math.frexp(size)[1]
    A = np.ldexp(A, -exponent)  # exact, but for what is far below the largest entry, which TINY covers
    n = max(A.shape)
    try:
        u, s, vt = np.linalg.svd(A, full_matrices=False)
    except np.linalg.LinAlgError:  # the Frobenius norm is larger, and always there
        return float(np.ldexp(outward(np.sqrt(np.square(A).sum()), A.size), exponent))
    eye = np.eye(len(s))

    def stretch(q: Array) -> Any:
        lost = outward(np.sqrt(np.square(q.T @ q - eye).sum()), n * n) + outward(
            2 * (n + 2) * U * np.linalg.norm(q) ** 2, n * n
        )
        return outward(1 + lost, 2)

    rest = np.sqrt(np.square(A - (u * s) @ vt).sum())
    sizes = np.sqrt(np.square((np.abs(u) * s) @ np.abs(vt)).sum()) + np.sqrt(np.square(A).sum())
    rest = outward(rest + 2 * (n + 4) * U * sizes, n * n)
    with np.errstate(over="ignore"):
        return float(np.ldexp(outward(s[0] * np.sqrt(stretch(u) * stretch(vt.T)) + rest, 6), exponent))
