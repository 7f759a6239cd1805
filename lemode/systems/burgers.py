"""Viscous Burgers: steepening against diffusion, with an exact solution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..types import Array
from .facts import Fact
from .spectral import PeriodicField

__all__ = ["Burgers"]


@dataclass(frozen=True)
class Burgers(PeriodicField):
    r"""Burgers' equation on a periodic interval: waves steepen into viscous shocks and decay, dimensionless.

    .. math:: u_t + u\,u_x = \nu\,u_{xx}, \qquad u(x + L, t) = u(x, t)

    A shock of height :math:`\Delta u` is :math:`4 \nu / \Delta u` wide, which N has to resolve. The mean is conserved. `exact` is
    the solution by the Cole-Hopf transform.

    Parameters
    ----------
    L : float
        Length of the interval.
    N : int
        Grid points.
    step : float
        Longest step of ETDRK4.
    nu : float
        Viscosity.

    Raises
    ------
    ValueError
        For a viscosity, length or step that is not positive, or fewer than 8 grid points.

    Examples
    --------
    >>> burgers, t = Burgers(), [0.0, 1.0]
    >>> u0 = np.sin(burgers.grid)
    >>> bool(np.abs(burgers.solve(u0, t) - burgers.exact(u0, t)).max() < 1e-6)
    True
    """

    L: float = 2 * np.pi
    N: int = 128
    step: float = 0.005
    nu: float = 0.1

    source = "Burgers, Adv. Appl. Mech. 1 (1948) 171-199; exact solution: Cole, Q. Appl. Math. 9 (1951) 225-236, and Hopf, Comm. Pure Appl. Math. 3 (1950) 201-230"
    facts: ClassVar = {
        "error": Fact(
            0.0, 1e-7, "largest error of solve() at t = 1, 2, 3 from sin x + 0.5 cos 2x, against the Cole-Hopf solution"
        )
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (np.isfinite(self.nu) and self.nu > 0):
            raise ValueError(f"nu={self.nu}: give a finite positive viscosity; without one shocks are discontinuous.")

    def symbol(self, q: Array) -> Array:
        return -self.nu * q**2

    @property
    def time_scales(self) -> dict[str, float]:
        """Advection across a radian of the longest wave at unit speed, its diffusion, and that of the shortest that N resolves."""
        q = self.wavenumbers
        return {
            "advection": 1 / float(q[1]),
            "diffusion": 1 / float(self.nu * q[1] ** 2),
            "shortest wave": 1 / float(self.nu * q[-1] ** 2),
        }

    def exact(self, u0: ArrayLike, t: ArrayLike, points: int = 8) -> Array:
        r"""The solution at times t ``(T,)`` from u0 ``(N,)`` at t[0]: ``(T, N)``.

        .. math:: u = \bar u - 2 \nu\,\phi_x / \phi, \qquad \phi_t + \bar u\,\phi_x = \nu\,\phi_{xx}, \qquad
            \phi(x, 0) = \exp\Big( -\frac{1}{2\nu} \int_0^x (u_0 - \bar u) \Big)

        evaluated by Fourier transforms on `points` N points. Rounding grows with the range of phi:
        it is 1e-9 where the integral spans 20 nu, as for waves of height 1 with the defaults, and 2e-5 where it spans 40 nu.
        """
        values, time = np.asarray(u0, dtype=np.float64), np.asarray(t, dtype=np.float64)
        M = points * self.N
        q = 2 * np.pi / self.L * np.arange(M // 2 + 1)
        v = np.zeros(M // 2 + 1, dtype=complex)
        keep = (self.N + 1) // 2
        v[:keep] = np.fft.rfft(values)[:keep] * points
        mean = v[0].real / M
        v[0] = 0.0
        integral = np.fft.irfft(np.divide(v, 1j * q, out=np.zeros_like(v), where=q > 0), M)
        phi0 = np.fft.rfft(np.exp(-(integral - integral.min()) / (2 * self.nu)))
        out = []
        for s in time - time[0]:
            phi = phi0 * np.exp(-(self.nu * q**2 + 1j * mean * q) * s)
            slope = np.fft.irfft(1j * q * phi, M)
            out.append(mean - 2 * self.nu * (slope / np.fft.irfft(phi, M))[::points])
        return np.stack(out)

    def sample_initial(self, n: int, rng: np.random.Generator) -> Array:
        """Three waves of random phase, of root mean square 1 together, and mean zero."""
        k = np.arange(1, 4)[:, None]
        amplitude = rng.normal(size=(n, 3, 1)) / k
        u = (amplitude * np.cos(2 * np.pi / self.L * k * self.grid + rng.uniform(0, 2 * np.pi, (n, 3, 1)))).sum(1)
        return np.asarray(u / np.sqrt(np.mean(u**2, -1, keepdims=True)))
