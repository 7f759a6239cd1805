"""Hodgkin-Huxley: the membrane of the squid's giant axon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..types import Array
from ._arrays import matrix, module_of, stack
from .base import System
from .facts import Fact

__all__ = ["HodgkinHuxley"]


@dataclass(frozen=True)
class HodgkinHuxley(System):
    r"""Hodgkin and Huxley's space-clamped membrane, with the parameters of 1952 at 6.3 degrees C.

    .. math::

        C \dot V &= I - g_{Na} m^3 h (V - E_{Na}) - g_K n^4 (V - E_K) - g_L (V - E_L) \\
        \dot m &= \alpha_m(V) (1 - m) - \beta_m(V)\, m, \quad \text{and so for } h, n

    In the modern sign convention: V is the potential inside, at rest at -65 mV, depolarised upwards (V = -65 - V_HH). Spikes
    repeatedly with the default current; at rest for I = 0.

    Parameters
    ----------
    I : float
        Current density, uA/cm^2, inward positive.
    C, g_Na, g_K, g_L : float
        Capacity, uF/cm^2, and conductances, mS/cm^2.
    E_Na, E_K, E_L : float
        Reversal potentials, mV.

    Examples
    --------
    >>> HodgkinHuxley().solve([-65.0, 0.05, 0.6, 0.32], [0.0, 1.0]).shape
    (2, 4)
    """

    I: float = 10.0
    C: float = 1.0
    g_Na: float = 120.0
    g_K: float = 36.0
    g_L: float = 0.3
    E_Na: float = 50.0
    E_K: float = -77.0
    E_L: float = -54.387

    names = ("V", "m", "h", "n")
    source = "Hodgkin and Huxley, Journal of Physiology 117 (1952) 500-544, equations (7), (8), (12), (13), (15), (16), (20), (21), (23), (24), (26)"
    units: ClassVar = {"t": "ms", "V": "mV"}
    facts: ClassVar = {
        "potential at rest": Fact(-64.996379331, 1e-9, "root of the current at I = 0 with the gates at rest"),
        "lower Hopf current": Fact(
            9.77544, 1e-5, "I at which the eigenvalues at rest cross the axis; 9.78 by Rinzel and Miller (1980)"
        ),
        "upper Hopf current": Fact(154.52243, 1e-5, "the same; 154.5 by Rinzel and Miller, Math. Biosci. 49 (1980) 27-59"),
        "period": Fact(
            14.63620999, 1e-8, "I = 10: DOP853 at rtol 1e-11 and Radau at 1e-9, upward crossings of -20 mV, after 300 ms"
        ),
        "peak": Fact(30.43091, 1e-5, "I = 10: largest V of the repeated spikes, the same solution"),
    }

    @property
    def time_scales(self) -> dict[str, float]:
        """Relaxation times of the gates at -65 mV, and of the charge through the open sodium channels."""
        (am, bm), (ah, bh), (an, bn) = self.rates(np.array(-65.0))
        return {"V": self.C / self.g_Na, "m": float(1 / (am + bm)), "h": float(1 / (ah + bh)), "n": float(1 / (an + bn))}

    @staticmethod
    def rates(V: Any) -> tuple[tuple[Any, Any], tuple[Any, Any], tuple[Any, Any]]:
        """(alpha, beta) of m, h and n, per ms."""
        exp = module_of(V).exp
        m = _linoid((V + 40) / 10), 4 * exp(-(V + 65) / 18)
        h = 0.07 * exp(-(V + 65) / 20), 1 / (1 + exp(-(V + 35) / 10))
        n = 0.1 * _linoid((V + 55) / 10), 0.125 * exp(-(V + 65) / 80)
        return m, h, n

    def rhs(self, t: Any, x: Any) -> Any:
        V, m, h, n = x[..., 0], x[..., 1], x[..., 2], x[..., 3]
        sodium, potassium = self.g_Na * m**3 * h * (V - self.E_Na), self.g_K * n**4 * (V - self.E_K)
        dV = (self.I - sodium - potassium - self.g_L * (V - self.E_L)) / self.C
        return stack([dV, *(a * (1 - gate) - b * gate for gate, (a, b) in zip((m, h, n), self.rates(V)))])

    def jacobian(self, t: Any, x: Any) -> Any:
        V, m, h, n = x[..., 0], x[..., 1], x[..., 2], x[..., 3]
        (am, bm), (ah, bh), (an, bn) = self.rates(V)
        dm = _linoid_slope((V + 40) / 10) / 10 * (1 - m) + bm / 18 * m
        dh = -ah / 20 * (1 - h) - bh * (1 - bh) / 10 * h
        dn = _linoid_slope((V + 55) / 10) / 100 * (1 - n) + bn / 80 * n
        sodium, potassium = self.g_Na * (V - self.E_Na), self.g_K * (V - self.E_K)
        first = [
            -(self.g_Na * m**3 * h + self.g_K * n**4 + self.g_L) / self.C,
            -3 * m**2 * h * sodium / self.C,
            -(m**3) * sodium / self.C,
            -4 * n**3 * potassium / self.C,
        ]
        gates = [[dm, -am - bm, 0.0, 0.0], [dh, 0.0, -ah - bh, 0.0], [dn, 0.0, 0.0, -an - bn]]
        return matrix([first, *gates], like=V)

    def steady_gates(self, V: Any) -> Any:
        """m, h and n at rest at V ``(...)``: ``(..., 3)``.

        Examples
        --------
        >>> HodgkinHuxley().steady_gates(np.array(-65.0)).round(4)
        array([0.0529, 0.5961, 0.3177])
        """
        return stack([a / (a + b) for a, b in self.rates(V)])

    def sample_initial(self, n: int, rng: np.random.Generator) -> Array:
        """50 ms after a start at rest at a potential uniform in [-80, -40] mV."""
        V = rng.uniform(-80, -40, n)
        start = np.concatenate([V[:, None], self.steady_gates(V)], -1)
        return self.solve(start, [0.0, 50.0], rtol=1e-6, atol=1e-6)[:, -1]


def _linoid(x: Any) -> Any:
    """x / (1 - exp(-x)), also at the removable singularity 0 and around it."""
    xp = module_of(x)
    near = xp.abs(x) < 0.1
    away = xp.where(near, xp.ones_like(x), x)  # autograd follows both branches: neither may divide by zero
    y = x * x  # Bernoulli numbers; the next term is below 1e-17
    series = 1 + x / 2 + y / 12 * (1 - y / 60 * (1 - y / 42 * (1 - y / 40)))
    return xp.where(near, series, -away / xp.expm1(-away))


def _linoid_slope(x: Any) -> Any:
    """Derivative of `_linoid`."""
    xp = module_of(x)
    near = xp.abs(x) < 0.1
    away = xp.where(near, xp.ones_like(x), x)
    y = x * x
    series = 0.5 + x / 6 * (1 - y / 30 * (1 - y / 28 * (1 - y / 30)))
    p = -1 / xp.expm1(-away)  # whose derivative is p (1 - p); neither overflows
    return xp.where(near, series, p * (1 + away * (1 - p)))
