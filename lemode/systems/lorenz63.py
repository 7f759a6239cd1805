"""Lorenz63: the three-variable model of convection, chaotic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import System

__all__ = ["Lorenz63"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Lorenz63(System):
    r"""Three Fourier modes of Rayleigh-Benard convection, dimensionless.

    .. math:: \dot x = \sigma (y - x), \qquad \dot y = x (\rho - z) - y, \qquad \dot z = x y - \beta z

    With the defaults chaotic: Lyapunov exponents 0.9056, 0, -14.5723, Lyapunov time 1.104; their sum is the divergence
    :math:`-(\sigma + 1 + \beta)` exactly.

    Parameters
    ----------
    sigma, rho, beta : float
        Prandtl number, Rayleigh number over its critical value, aspect ratio of the cells.

    Examples
    --------
    >>> Lorenz63().solve([1.0, 1.0, 20.0], np.linspace(0, 1, 3)).shape
    (3, 3)

    References
    ----------
    Lorenz, Journal of the Atmospheric Sciences 20 (1963) 130-141, equations (25) to (27). Exponents: Viswanath, Lyapunov exponents
    from random Fibonacci sequences to the Lorenz equations, PhD thesis, Cornell (1998), to six digits.
    """

    sigma: float = 10.0
    rho: float = 28.0
    beta: float = 8 / 3

    names = ("x", "y", "z")
    lyapunov_exponents = (0.9056, 0.0, -14.5723)

    def rhs(self, t: float | Array, x: Array) -> Array:
        a, b, c = x[..., 0], x[..., 1], x[..., 2]
        return np.stack([self.sigma * (b - a), a * (self.rho - c) - b, a * b - self.beta * c], -1)

    def jacobian(self, t: float | Array, x: Array) -> Array:
        x = np.asarray(x)
        a, b, c = x[..., 0], x[..., 1], x[..., 2]
        J = np.zeros((*a.shape, 3, 3))
        J[..., 0, 0], J[..., 0, 1] = -self.sigma, self.sigma
        J[..., 1, 0], J[..., 1, 1], J[..., 1, 2] = self.rho - c, -1.0, -a
        J[..., 2, 0], J[..., 2, 1], J[..., 2, 2] = b, a, -self.beta
        return J

    def sample_initial(self, n: int, rng: np.random.Generator) -> Array:
        """On the attractor: 20 time units after a start near it, to about 1e-6."""
        start = np.array([0.0, 0.0, self.rho - 1]) + rng.normal(size=(n, 3)) * np.array([8.0, 8.0, 8.0])
        return self.solve(start, np.array([0.0, 20.0]), rtol=1e-8, atol=1e-8)[:, -1]
