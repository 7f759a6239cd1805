"""FitzHugh-Nagumo: a spiking neuron in two variables, fast and slow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..types import Array
from ._arrays import matrix, stack
from .base import System
from .facts import Fact

__all__ = ["FitzHughNagumo"]


@dataclass(frozen=True)
class FitzHughNagumo(System):
    r"""FitzHugh-Nagumo model of an excitable membrane, dimensionless.

    .. math:: \dot v = v - v^3/3 - w + I, \qquad \dot w = \varepsilon\,(v + a - b\,w)

    v is the fast membrane potential, w the slow recovery; their time scales differ by about :math:`1/\varepsilon`.
    With the defaults the origin of the benchmark in arXiv:2110.04744, section 5: a stable limit cycle of period 122.1.

    Parameters
    ----------
    I, a, b, eps : float
        Input current, and the constants of the recovery.

    Examples
    --------
    >>> fhn = FitzHughNagumo()
    >>> fhn.solve([0.0, 0.0], np.linspace(0, 1, 3)).shape
    (3, 2)
    """

    I: float = 0.5
    a: float = 0.7
    b: float = 0.8
    eps: float = 1 / 50

    names = ("v", "w")
    source = "FitzHugh, Biophysical Journal 1 (1961) 445-466, equations (1) and (2), in the sign convention of arXiv:2110.04744, section 5"
    facts: ClassVar = {
        "period": Fact(122.113354, 1e-6, "DOP853, rtol 1e-11, crossings of v = 0 upwards, mean of 5 cycles after 1000")
    }

    @property
    def time_scales(self) -> dict[str, float]:
        return {"v": 1.0, "w": 1 / (self.eps * self.b)}

    def rhs(self, t: Any, x: Any) -> Any:
        v, w = x[..., 0], x[..., 1]
        return stack([v - v**3 / 3 - w + self.I, self.eps * (v + self.a - self.b * w)])

    def jacobian(self, t: Any, x: Any) -> Any:
        v = x[..., 0]
        return matrix([[1 - v**2, -1.0], [self.eps, -self.eps * self.b]], like=v)

    def sample_initial(self, n: int, rng: np.random.Generator) -> Array:
        """v uniform in [-1, 1], w = 0, as in the benchmark."""
        return np.stack([rng.uniform(-1, 1, n), np.zeros(n)], -1)

    def nullclines(self, v: Array) -> tuple[Array, Array]:
        """w where v' = 0, and w where w' = 0, at the given v.

        Examples
        --------
        They cross at rest, which the default current makes unstable:

        >>> fhn = FitzHughNagumo()
        >>> v = np.linspace(-2, 2, 4001)
        >>> cubic, line = fhn.nullclines(v)
        >>> rest = np.abs(cubic - line).argmin()
        >>> bool(np.abs(fhn.rhs(0.0, np.array([v[rest], line[rest]]))).max() < 1e-3)
        True
        """
        return v - v**3 / 3 + self.I, (v + self.a) / self.b

    def recovery(self, v: Any, dv_dt: Any) -> Any:
        """w from v and its derivative: the first equation solved for w.

        Examples
        --------
        >>> fhn, x = FitzHughNagumo(), np.array([0.5, 0.2])
        >>> round(float(fhn.recovery(x[0], fhn.rhs(0.0, x)[0])), 12)
        0.2
        """
        return v - v**3 / 3 + self.I - dv_dt
