"""Lorenz96: a latitude circle of weather, with one scale or two."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..types import Array
from ._arrays import constant, module_of
from .base import System
from .facts import Fact

__all__ = ["Lorenz96", "Lorenz96TwoScale"]


@dataclass(frozen=True)
class Lorenz96(System):
    r"""Lorenz's model of K sites on a circle of latitude; one time unit stands for 5 days.

    .. math:: \dot X_k = X_{k-1} (X_{k+1} - X_{k-2}) - X_k + F

    Chaotic with the defaults. The nonlinearity conserves :math:`\sum X_k^2`, so that on average :math:`F\,\overline{X} = \overline{X^2}`.

    Parameters
    ----------
    K : int
        Sites, at least 4.
    F : float
        Forcing.

    Raises
    ------
    ValueError
        For fewer than 4 sites.

    Examples
    --------
    >>> Lorenz96(K=5).names
    ('X0', 'X1', 'X2', 'X3', 'X4')
    """

    K: int = 40
    F: float = 8.0

    source = "Lorenz, Predictability: a problem partly solved, ECMWF seminar (1996), equation (1); Lorenz and Emanuel, J. Atmos. Sci. 55 (1998) 399-414"
    facts: ClassVar = {
        "lambda_1": Fact(
            1.69,
            0.02,
            "between 1.68 by Karimi and Paul (2010) and 1.70 here, standard error 0.01: RK4 of step 0.02, QR every 0.2, 64 members of 100 time units",
        ),
        "positive exponents": Fact(13, 0, "the same; 13 by Lorenz and Emanuel (1998), section 4"),
        "Kaplan-Yorke dimension": Fact(27.1, 0.1, "the same; 27.1 by Karimi and Paul, Chaos 20 (2010) 043105"),
        "sum of exponents": Fact(-40.0, 0.0, "exact: the trace of the Jacobian is -K"),
    }

    def __post_init__(self) -> None:
        if self.K < 4:
            raise ValueError(f"K={self.K}: the neighbours k-2 to k+1 have to differ; give at least 4 sites.")

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f"X{k}" for k in range(self.K))

    @property
    def time_scales(self) -> dict[str, float]:
        """Dissipation; advection past one site at the speed of the spread of X, about F/2."""
        return {"dissipation": 1.0, "advection": 2 / max(abs(self.F), 2.0)}

    def rhs(self, t: Any, x: Any) -> Any:
        return _advection(x, 1) - x + self.F

    def jacobian(self, t: Any, x: Any) -> Any:
        return _advection_jacobian(x, 1) - constant(np.eye(self.K), x)

    def sample_initial(self, n: int, rng: np.random.Generator) -> Array:
        """On the attractor: 20 time units after normal values of the climate's mean and spread."""
        start = rng.normal(0.3 * self.F, 0.45 * abs(self.F) + 0.1, (n, self.K))
        return self.solve(start, [0.0, 20.0], rtol=1e-7, atol=1e-7)[:, -1]


@dataclass(frozen=True)
class Lorenz96TwoScale(System):
    r"""Lorenz's model of two scales: K slow sites X, each with J fast variables Y, dimensionless.

    .. math::

        \dot X_k &= X_{k-1} (X_{k+1} - X_{k-2}) - X_k + F - \frac{h c}{b} \sum_{j} Y_{j,k} \\
        \dot Y_{j,k} &= c\,b\, Y_{j+1,k} (Y_{j-1,k} - Y_{j+2,k}) - c\, Y_{j,k} + \frac{h c}{b} X_k

    Y runs through all sites: :math:`Y_{J+1,k} = Y_{1,k+1}`. It is c times as fast and b times as small as X. The coupling conserves
    :math:`\sum X^2 + \sum Y^2`, so that on average :math:`F\,\overline{X} = \overline{X^2} + c J\,\overline{Y^2}`.

    Parameters
    ----------
    K, J : int
        Slow sites (at least 4), and fast variables of each.
    F, h, c, b : float
        Forcing, coupling, ratio of the time scales, ratio of the amplitudes.

    Raises
    ------
    ValueError
        For fewer than 4 sites, or no fast variable.

    Examples
    --------
    >>> len(Lorenz96TwoScale(K=4, J=3).names)
    16
    """

    K: int = 8
    J: int = 32
    F: float = 20.0
    h: float = 1.0
    c: float = 10.0
    b: float = 10.0

    source = "Lorenz, Predictability: a problem partly solved, ECMWF seminar (1996), equations (2) and (3); K, J, F of Wilks, Q. J. R. Meteorol. Soc. 131 (2005) 389-407"
    facts: ClassVar = {
        "lambda_1": Fact(
            19.0, 0.7, "separation of neighbours, RK4 of step 0.002, 16 members of 25 time units; standard error 0.3"
        ),
        "mean of X": Fact(3.74, 0.05, "the same runs; standard error 0.025"),
        "energy balance": Fact(0.0, 0.0, "exact: F <X> - <X^2> - c J <Y^2> on average"),
    }

    def __post_init__(self) -> None:
        if self.K < 4 or self.K * self.J < 4:
            raise ValueError(f"K={self.K}, J={self.J}: give at least 4 sites and 1 fast variable of each.")

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f"X{k}" for k in range(self.K)) + tuple(f"Y{j}_{k}" for k in range(self.K) for j in range(self.J))

    @property
    def time_scales(self) -> dict[str, float]:
        return {"X": 1.0, "Y": 1 / self.c}

    @cached_property
    def _sites(self) -> Array:
        """(K, K J): 1 where Y belongs to the site."""
        return np.repeat(np.eye(self.K), self.J, axis=1)

    def subgrid(self, x: Any) -> Any:
        r"""What the fast variables do to X, :math:`-(h c / b) \sum_j Y_{j,k}`: ``(..., K)``.

        Examples
        --------
        >>> model = Lorenz96TwoScale(K=4, J=3)
        >>> model.subgrid(np.ones(16))  # h c / b = 1
        array([-3., -3., -3., -3.])
        """
        return -self.h * self.c / self.b * (x[..., self.K :] @ constant(self._sites.T, x))

    def rhs(self, t: Any, x: Any) -> Any:
        xp = module_of(x)
        X, Y = x[..., : self.K], x[..., self.K :]
        dX = _advection(X, 1) - X + self.F + self.subgrid(x)
        dY = self.c * (self.b * _advection(Y, -1) - Y + self.h / self.b * (X @ constant(self._sites, x)))
        return xp.concatenate([dX, dY], -1)

    def jacobian(self, t: Any, x: Any) -> Any:
        xp = module_of(x)
        X, Y = x[..., : self.K], x[..., self.K :]
        out = constant(self.h * self.c / self.b * self._sites, x)
        XX = _advection_jacobian(X, 1) - constant(np.eye(self.K), x)
        YY = self.c * (self.b * _advection_jacobian(Y, -1) - constant(np.eye(self.K * self.J), x))
        top = xp.concatenate([XX, xp.broadcast_to(-out, (*x.shape[:-1], *out.shape))], -1)
        bottom = xp.concatenate([xp.broadcast_to(out.T, (*x.shape[:-1], *out.T.shape)), YY], -1)
        return xp.concatenate([top, bottom], -2)

    def sample_initial(self, n: int, rng: np.random.Generator) -> Array:
        """On the attractor: 10 time units after a start of roughly its spread."""
        X = rng.normal(0.2 * self.F, 0.3 * abs(self.F) + 0.1, (n, self.K))
        Y = rng.normal(0, 1 / self.b, (n, self.K * self.J)) + self.h / self.b * X @ self._sites
        return self.solve(np.concatenate([X, Y], -1), [0.0, 10.0], rtol=1e-6, atol=1e-7)[:, -1]


def _advection(x: Any, s: int) -> Any:
    """x_{k-s} (x_{k+s} - x_{k-2s}) on a circle."""
    roll = module_of(x).roll
    return roll(x, s, -1) * (roll(x, -s, -1) - roll(x, 2 * s, -1))


def _advection_jacobian(x: Any, s: int) -> Any:
    roll, eye = module_of(x).roll, np.eye(x.shape[-1])
    behind, ahead, far = (constant(np.roll(eye, d, axis=1), x) for d in (-s, s, -2 * s))
    return roll(x, s, -1)[..., None] * (ahead - far) + (roll(x, -s, -1) - roll(x, 2 * s, -1))[..., None] * behind
