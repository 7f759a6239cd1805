"""A linear system with a fast variable that follows a slow oscillation: its solution is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..types import Array
from ._arrays import constant, stack
from .base import System
from .facts import Fact

__all__ = ["LinearTwoScale"]


@dataclass(frozen=True)
class LinearTwoScale(System):
    r"""A slow rotation (p, q) and a fast variable y that relaxes to p, dimensionless.

    .. math:: \dot p = -\omega q, \qquad \dot q = \omega p, \qquad \dot y = (p - y)/\varepsilon

    `exact` is the solution; y tends to the slow manifold :math:`y = (p + \varepsilon\omega q)/(1 + \varepsilon^2\omega^2)`.

    Parameters
    ----------
    omega, eps : float
        Angular frequency, and relaxation time of y.

    Examples
    --------
    >>> s, t = LinearTwoScale(), np.linspace(0, 3, 4)
    >>> bool(np.abs(s.solve([1.0, 0.0, 5.0], t) - s.exact([1.0, 0.0, 5.0], t)).max() < 1e-8)
    True
    """

    omega: float = 1.0
    eps: float = 1e-3

    names = ("p", "q", "y")
    source = "elementary; the slow manifold by insertion of y = alpha p + beta q"
    facts: ClassVar = {"lambda_3": Fact(-1000.0, 0.0, "exact: eigenvalues +-i omega and -1/eps")}

    @property
    def method(self) -> str:
        return "DOP853" if self.eps * self.omega > 1e-2 else "Radau"

    @property
    def time_scales(self) -> dict[str, float]:
        return {"rotation": 1 / self.omega, "relaxation": self.eps}

    def rhs(self, t: Any, x: Any) -> Any:
        p, q, y = x[..., 0], x[..., 1], x[..., 2]
        return stack([-self.omega * q, self.omega * p, (p - y) / self.eps])

    def jacobian(self, t: Any, x: Any) -> Any:
        A = [[0.0, -self.omega, 0.0], [self.omega, 0.0, 0.0], [1 / self.eps, 0.0, -1 / self.eps]]
        return constant(A, x) + 0 * x[..., None]

    def slow_manifold(self, p: Any, q: Any) -> Any:
        """y that remains once the fast transient is over."""
        r = self.eps * self.omega
        return (p + r * q) / (1 + r**2)

    def exact(self, x0: ArrayLike, t: ArrayLike) -> Array:
        """The solution at times t ``(T,)`` from x0 ``(D,)`` or ``(n, D)`` at t[0]: ``(T, D)`` or ``(n, T, D)``.

        Examples
        --------
        >>> s = LinearTwoScale(eps=1e-3)
        >>> x = s.exact([1.0, 0.0, 5.0], np.array([0.0, 0.1]))
        >>> bool(np.isclose(x[-1, 2], s.slow_manifold(x[-1, 0], x[-1, 1])))  # after 100 relaxation times
        True
        """
        x, time = np.asarray(x0, dtype=np.float64)[..., None, :], np.asarray(t, dtype=np.float64)
        c, s = np.cos(self.omega * (time - time[0])), np.sin(self.omega * (time - time[0]))
        p, q = x[..., 0] * c - x[..., 1] * s, x[..., 0] * s + x[..., 1] * c
        off = x[..., 2] - self.slow_manifold(x[..., 0], x[..., 1])
        return np.stack([p, q, self.slow_manifold(p, q) + off * np.exp(-(time - time[0]) / self.eps)], -1)

    def sample_initial(self, n: int, rng: np.random.Generator) -> Array:
        """Standard normal: off the slow manifold."""
        return rng.standard_normal((n, 3))
