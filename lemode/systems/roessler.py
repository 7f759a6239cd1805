"""Roessler: the simplest chaotic flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..types import Array
from ._arrays import matrix, stack
from .base import System
from .facts import Fact

__all__ = ["Roessler"]

SPROTT = "Sprott, Chaos and Time-Series Analysis (Oxford 2003), appendix A.5"


@dataclass(frozen=True)
class Roessler(System):
    r"""Roessler's flow: a spiral in x and y that z folds back in short pulses, dimensionless.

    .. math:: \dot x = -y - z, \qquad \dot y = x + a y, \qquad \dot z = b + z (x - c)

    Chaotic with the defaults. The long time scale is that of growth along the spiral, the short one the decay of z.

    Parameters
    ----------
    a, b, c : float

    Examples
    --------
    >>> Roessler().solve([1.0, 1.0, 0.0], [0.0, 1.0]).shape
    (2, 3)
    """

    a: float = 0.2
    b: float = 0.2
    c: float = 5.7

    names = ("x", "y", "z")
    source = "Roessler, Physics Letters A 57 (1976) 397-398, equation (2)"
    facts: ClassVar = {
        "lambda_1": Fact(0.0714, 5e-4, SPROTT),
        "lambda_2": Fact(0.0, 0.0, "exact: the direction of the flow"),
        "lambda_3": Fact(-5.3943, 5e-3, SPROTT),
    }

    @property
    def time_scales(self) -> dict[str, float]:
        return {"decay of z": 1 / self.c, "rotation": 2 * np.pi, "growth": 2 / self.a}

    def rhs(self, t: Any, x: Any) -> Any:
        a, b, c = x[..., 0], x[..., 1], x[..., 2]
        return stack([-b - c, a + self.a * b, self.b + c * (a - self.c)])

    def jacobian(self, t: Any, x: Any) -> Any:
        a, c = x[..., 0], x[..., 2]
        return matrix([[0.0, -1.0, -1.0], [1.0, self.a, 0.0], [c, 0.0, a - self.c]], like=a)

    def sample_initial(self, n: int, rng: np.random.Generator) -> Array:
        """On the attractor: 300 time units after a start on the spiral, 3 to 7 from its centre."""
        radius, angle = rng.uniform(3, 7, n), rng.uniform(0, 2 * np.pi, n)
        start = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros(n)], -1)
        return self.solve(start, [0.0, 300.0], rtol=1e-6, atol=1e-6)[:, -1]
