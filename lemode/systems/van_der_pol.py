"""Van der Pol: the relaxation oscillator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..types import Array
from ._arrays import matrix, stack
from .base import System
from .facts import Fact

__all__ = ["VanDerPol"]


@dataclass(frozen=True)
class VanDerPol(System):
    r"""Van der Pol's relaxation oscillator, dimensionless.

    .. math:: \dot x = y, \qquad \dot y = \mu (1 - x^2)\, y - x

    For large :math:`\mu` it creeps along :math:`|x| > 1` for a time of order :math:`\mu` and jumps within :math:`1/\mu`: the
    time scales differ by :math:`\mu^2`. Stiff from about mu = 50, where Radau takes over as the default solver.

    Parameters
    ----------
    mu : float
        Strength of the damping, at least 0.

    Examples
    --------
    >>> VanDerPol(mu=1.0).solve([2.0, 0.0], [0.0, 1.0]).shape
    (2, 2)
    """

    mu: float = 10.0

    names = ("x", "y")
    source = "van der Pol, Philosophical Magazine 2 (1926) 978-992, equation (1)"
    facts: ClassVar = {
        "period": Fact(19.07836957, 1e-8, "DOP853 and Radau, rtol 1e-11, crossings of x = 0 upwards, 3 cycles after 40")
    }

    @property
    def method(self) -> str:
        return "DOP853" if self.mu < 50 else "Radau"

    @property
    def time_scales(self) -> dict[str, float]:
        return {"jump": min(1.0, 1 / self.mu), "creep": max(1.0, self.mu)}

    def rhs(self, t: Any, x: Any) -> Any:
        a, b = x[..., 0], x[..., 1]
        return stack([b, self.mu * (1 - a**2) * b - a])

    def jacobian(self, t: Any, x: Any) -> Any:
        a, b = x[..., 0], x[..., 1]
        return matrix([[0.0, 1.0], [-2 * self.mu * a * b - 1, self.mu * (1 - a**2)]], like=a)

    def sample_initial(self, n: int, rng: np.random.Generator) -> Array:
        """On the limit cycle, to about 1e-8: n points of one solution, at times uniform over a period and more."""
        settle, span = 4 * (3 + self.mu), 3 * (3 + self.mu)  # a period is (3 - 2 log 2) mu for large mu, 2 pi for small
        t = np.concatenate([[0.0], settle + np.sort(rng.uniform(0, span, n))])
        points = self.solve([2.0, 0.0], t, rtol=1e-8, atol=1e-8)[1:]
        return points[rng.permutation(n)]
