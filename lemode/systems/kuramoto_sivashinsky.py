"""Kuramoto-Sivashinsky: chaos in space and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..types import Array
from .facts import Fact
from .spectral import PeriodicField

__all__ = ["KuramotoSivashinsky"]


@dataclass(frozen=True)
class KuramotoSivashinsky(PeriodicField):
    r"""Flame fronts and falling films: instability at long wavelengths, damping at short ones, transport between, dimensionless.

    .. math:: u_t + u\,u_x + u_{xx} + u_{xxxx} = 0, \qquad u(x + L, t) = u(x, t)

    Chaotic with the defaults; the number of positive Lyapunov exponents grows with L. The mean is conserved, and the symmetries are
    translations, the reflection u(x) -> -u(-x), and Galilean shifts of the mean. On the attractor the averages of :math:`u_x^2` and
    :math:`u_{xx}^2` are equal. N should be 2 L or more: the amplitudes fall by e for every third of a wavenumber.

    Parameters
    ----------
    L : float
        Length of the interval; wavelengths above 2 pi are unstable.
    N : int
        Grid points.
    step : float
        Longest step of ETDRK4. 0.025 gives an error of 6e-7 over a time unit, 0.25 one of 6e-4.

    Raises
    ------
    ValueError
        For a length or step that is not positive, or fewer than 8 grid points.

    Examples
    --------
    >>> ks = KuramotoSivashinsky(L=22, N=32)
    >>> u = ks.solve(np.cos(2 * np.pi * ks.grid / ks.L), [0.0, 1.0])
    >>> bool(abs(u[-1].mean()) < 1e-15)
    True
    """

    L: float = 22.0
    N: int = 64
    step: float = 0.025

    source = "Kuramoto and Tsuzuki, Prog. Theor. Phys. 55 (1976) 356-369; Sivashinsky, Acta Astronautica 4 (1977) 1177-1206; the form of Kassam and Trefethen, SIAM J. Sci. Comput. 26 (2005), equation (1.4)"
    facts: ClassVar = {
        "lambda_1": Fact(
            0.0482,
            0.002,
            "0.048 by Cvitanovic, Davidchack, Siminos, SIAM J. Appl. Dyn. Syst. 9 (2010) 1-33; here 0.0472, standard error 0.0005: ETDRK4 of step 0.25 and its tangent map, N = 32, 64 members of 2500 time units",
        ),
        "lambda_2": Fact(
            0.0,
            0.003,
            "exactly 0, as three are: shifts of time, of space, and of velocity, under which a space shift grows like t: log(t)/t = 0.003 remains of it",
        ),
        "lambda_3": Fact(0.0, 0.003, "the same"),
        "mean of u_xx^2 over that of u_x^2": Fact(1.0, 0.0, "exact: the energy neither grows nor falls on average"),
        "error over a time unit": Fact(0.0, 1e-6, "solve() with the default step against Radau at rtol 1e-10"),
    }

    def symbol(self, q: Array) -> Array:
        return q**2 - q**4

    @property
    def time_scales(self) -> dict[str, float]:
        """Growth of the most unstable wavelength, and decay of the shortest that N resolves."""
        return {"growth": 4.0, "shortest wave": 1 / float(self.wavenumbers[-1] ** 4 - self.wavenumbers[-1] ** 2)}

    def sample_initial(self, n: int, rng: np.random.Generator) -> Array:
        """On the attractor with mean zero: 200 time units after a smooth random start."""
        phase = rng.uniform(0, 2 * np.pi, (n, 4, 1))
        waves = np.arange(1, 5)[:, None] * 2 * np.pi / self.L * self.grid
        start = (rng.normal(size=(n, 4, 1)) * np.cos(waves + phase)).sum(1)
        coarse = KuramotoSivashinsky(self.L, self.N, max(self.step, 0.25))  # the start needs no accuracy
        return coarse._etdrk4(start, np.array([0.0, 200.0]))[:, -1]
