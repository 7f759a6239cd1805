"""Robertson: three chemical reactions over eleven decades of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..types import Array
from ._arrays import matrix, stack
from .base import System
from .facts import Fact

__all__ = ["Robertson"]

FROM = "from (1, 0, 0): Radau at rtol 1e-13 and BDF at 1e-12, which agree"
IVP = "; Mazzia and Magherini, Test Set for Initial Value Problem Solvers (2008), problem ROBER, has the same"


@dataclass(frozen=True)
class Robertson(System):
    r"""Robertson's autocatalytic reaction: the classical stiff problem.

    .. math::

        \dot y_1 = -k_1 y_1 + k_3 y_2 y_3, \qquad
        \dot y_2 = k_1 y_1 - k_3 y_2 y_3 - k_2 y_2^2, \qquad
        \dot y_3 = k_2 y_2^2

    The mole fractions sum to one. The short-lived y2 stays below 4e-5 and settles within milliseconds, y1 decays over more than
    1e10 seconds. Radau is the default solver, with an absolute tolerance far below y2.

    Parameters
    ----------
    k1, k2, k3 : float
        Rate constants, per second.

    Examples
    --------
    >>> y = Robertson().solve([1.0, 0.0, 0.0], [0.0, 40.0])[-1]
    >>> print(f"{y[0]:.6f} {y[1]:.6e} {y[2]:.6f}")
    0.715827 9.185535e-06 0.284164
    """

    k1: float = 0.04
    k2: float = 3e7
    k3: float = 1e4

    names = ("y1", "y2", "y3")
    method = "Radau"
    source = (
        "Robertson, in Walsh (ed.), Numerical Analysis (Academic Press 1966) 178-182; Hairer and Wanner II, equation (IV.1.4)"
    )
    units: ClassVar = {"t": "s", "y1": "mole fraction", "y2": "mole fraction", "y3": "mole fraction"}
    facts: ClassVar = {
        "y1 at 40": Fact(0.7158270687, 1e-10, f"{FROM}; Hairer and Wanner II (1996), section IV.1, has the same"),
        "y2 at 40": Fact(9.185534764e-6, 1e-15, FROM),
        "y1 at 4e4": Fact(0.03898337708, 1e-11, FROM),
        "y2 at 4e4": Fact(1.621768316e-7, 1e-16, FROM),
        "y3 at 4e4": Fact(0.9610164607, 1e-10, FROM),
        "y1 at 1e11": Fact(2.083340150e-8, 1e-17, FROM + IVP),
        "y2 at 1e11": Fact(8.333360770e-14, 1e-23, FROM + IVP),
    }

    @property
    def time_scales(self) -> dict[str, float]:
        r"""Consumption of y1, and relaxation of y2 to :math:`\sqrt{k_1/k_2}` at the start."""
        return {"y1": 1 / self.k1, "y2": 1 / (2 * np.sqrt(self.k1 * self.k2))}

    def solve(self, x0: ArrayLike, t: ArrayLike, method: str | None = None, rtol: float = 1e-10, atol: float = 1e-18) -> Array:
        """As `System.solve`, with a smaller atol: y2 is 1e-5 at first and 1e-13 at the end."""
        return super().solve(x0, t, method, rtol, atol)

    def rhs(self, t: Any, x: Any) -> Any:
        y1, y2, y3 = x[..., 0], x[..., 1], x[..., 2]
        first, second, third = self.k1 * y1, self.k2 * y2**2, self.k3 * y2 * y3
        return stack([third - first, first - third - second, second])

    def jacobian(self, t: Any, x: Any) -> Any:
        y2, y3 = x[..., 1], x[..., 2]
        second, third, back = 2 * self.k2 * y2, self.k3 * y3, self.k3 * y2
        return matrix([[-self.k1, third, back], [self.k1, -third - second, -back], [0.0, second, 0.0]], like=y2)

    def sample_initial(self, n: int, rng: np.random.Generator) -> Array:
        """Mixtures of y1 and y3 without y2, y1 uniform in [0.5, 1]."""
        y1 = rng.uniform(0.5, 1.0, n)
        return np.stack([y1, np.zeros(n), 1 - y1], -1)
