"""Lorenz63: the three-variable model of convection, chaotic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..types import Array
from ._arrays import matrix, stack
from .base import System
from .facts import Fact

__all__ = ["Lorenz63"]

SPROTT = "0.9056, 0, -14.5723 by Sprott, Chaos and Time-Series Analysis (2003); Viswanath, PhD thesis, Cornell (1998), computes them, too, and is quoted with 0.90566 and -14.57233"


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
    """

    sigma: float = 10.0
    rho: float = 28.0
    beta: float = 8 / 3

    names = ("x", "y", "z")
    source = "Lorenz, Journal of the Atmospheric Sciences 20 (1963) 130-141, equations (25) to (27)"
    facts: ClassVar = {
        "lambda_1": Fact(0.9056, 1e-4, SPROTT),
        "lambda_2": Fact(0.0, 0.0, "exact: the direction of the flow"),
        "lambda_3": Fact(-14.5723, 1e-4, SPROTT),
        "sum of exponents": Fact(-41 / 3, 0.0, "exact: the trace of the Jacobian is constant"),
    }
    lyapunov_exponents = (0.9056, 0.0, -14.5723)

    @property
    def time_scales(self) -> dict[str, float]:
        """Relaxation of each variable by itself."""
        return {"x": 1 / self.sigma, "y": 1.0, "z": 1 / self.beta}

    def rhs(self, t: Any, x: Any) -> Any:
        a, b, c = x[..., 0], x[..., 1], x[..., 2]
        return stack([self.sigma * (b - a), a * (self.rho - c) - b, a * b - self.beta * c])

    def jacobian(self, t: Any, x: Any) -> Any:
        a, b, c = x[..., 0], x[..., 1], x[..., 2]
        return matrix([[-self.sigma, self.sigma, 0.0], [self.rho - c, -1.0, -a], [b, a, -self.beta]], like=a)

    def sample_initial(self, n: int, rng: np.random.Generator) -> Array:
        """On the attractor: 20 time units after a start near it, to about 1e-6."""
        start = np.array([0.0, 0.0, self.rho - 1]) + rng.normal(size=(n, 3)) * np.array([8.0, 8.0, 8.0])
        return self.solve(start, np.array([0.0, 20.0]), rtol=1e-6, atol=1e-6)[:, -1]
