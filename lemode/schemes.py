r"""One step of the ODE: each scheme is one small function.

The step size enters through the leak :math:`\ell = \varphi(\Delta t\, g)`, g a gate of the ODE. LEM is `imex`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from .ode import MultiscaleODE

__all__ = ["SCHEMES", "Scheme", "explicit", "exponential", "get_scheme", "imex", "semi_implicit"]

State = tuple[Tensor, Tensor]


def imex(ode: MultiscaleODE, state: State, u: Tensor, dt: float | Tensor) -> State:
    r"""The LEM step, equation (3) of arXiv:2110.04744: forward Euler for z, then for y with the **new** z.

    .. math::

        z_n &= z_{n-1} + \Delta t\, g_1 \odot (\tanh(W_z y_{n-1} + V_z u_n + b_z) - z_{n-1}) \\
        y_n &= y_{n-1} + \Delta t\, g_2 \odot (\tanh(W_y z_n + V_y u_n + b_y) - y_{n-1})

    State ``(y, z)`` each ``(..., d)``, u ``(..., m)``; dt a number or a tensor that broadcasts against ``(..., 1)``.
    """
    (y, z), p = state, ode.blocks()
    gz = dt * torch.sigmoid(linear(y, p.W1) + linear(u, p.V1, p.b1))
    gy = dt * torch.sigmoid(linear(y, p.W2) + linear(u, p.V2, p.b2))
    z = z + gz * (torch.tanh(linear(y, p.Wz) + linear(u, p.Vz, p.bz)) - z)
    y = y + gy * (torch.tanh(linear(z, p.Wy) + linear(u, p.Vy, p.by)) - y)
    return y, z


def explicit(ode: MultiscaleODE, state: State, u: Tensor, dt: float | Tensor) -> State:
    r"""Plain forward Euler: as `imex`, but y uses the **old** z. Not LEM; here to be compared with it."""
    y, z = state
    dy, dz = ode(y, z, u)
    return y + dt * dy, z + dt * dz


def _leaky(ode: MultiscaleODE, state: State, u: Tensor, leak: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> State:
    (y, z), p = state, ode.blocks()
    lz, ly = leak(*ode.gates(y, u))
    z = z + lz * (torch.tanh(linear(y, p.Wz) + linear(u, p.Vz, p.bz)) - z)
    y = y + ly * (torch.tanh(linear(z, p.Wy) + linear(u, p.Vy, p.by)) - y)
    return y, z


def semi_implicit(ode: MultiscaleODE, state: State, u: Tensor, dt: float | Tensor) -> State:
    r"""LEM with the decay taken implicitly: leak :math:`\ell = \Delta t\, g / (1 + \Delta t\, g)`; in the unit cube for every dt."""
    return _leaky(ode, state, u, lambda g1, g2: (dt * g1 / (1 + dt * g1), dt * g2 / (1 + dt * g2)))


def exponential(ode: MultiscaleODE, state: State, u: Tensor, dt: float | Tensor) -> State:
    r"""LEM with the decay solved exactly for frozen gates: leak :math:`\ell = 1 - e^{-\Delta t\, g}`; in the unit cube for every dt."""
    return _leaky(ode, state, u, lambda g1, g2: (-torch.expm1(-dt * g1), -torch.expm1(-dt * g2)))


@dataclass(frozen=True)
class Scheme:
    """A step with its facts: order of convergence, and the largest dt for which |y|, |z| <= 1 is kept."""

    name: str
    step: Callable[[MultiscaleODE, State, Tensor, float | Tensor], State]
    order: int
    max_dt: float

    def check_dt(self, dt: float, allow_large_dt: bool = False) -> None:
        """Raise ValueError unless dt is a finite number in (0, max_dt], or in (0, 2] when a large dt is allowed."""
        limit = max(self.max_dt, 2.0) if allow_large_dt else self.max_dt
        if not (math.isfinite(dt) and dt > 0):
            raise ValueError(f"dt={dt:g}: the step size must be a finite positive number.")
        if dt > limit:
            hint = "no scheme of this family is stable beyond 2" if allow_large_dt else "allow_large_dt=True admits up to 2"
            raise ValueError(
                f"dt={dt:g}: scheme {self.name!r} keeps |y|, |z| <= 1 only for 0 < dt <= {self.max_dt:g}; "
                f"use a smaller dt, or scheme='exponential', which keeps it for every dt ({hint})."
            )


SCHEMES: dict[str, Scheme] = {
    s.name: s
    for s in (
        Scheme("imex", imex, order=1, max_dt=1.0),
        Scheme("explicit", explicit, order=1, max_dt=1.0),
        Scheme("semi_implicit", semi_implicit, order=1, max_dt=math.inf),
        Scheme("exponential", exponential, order=1, max_dt=math.inf),
    )
}


def get_scheme(name: str) -> Scheme:
    """The scheme of that name; ValueError lists the known names."""
    try:
        return SCHEMES[name]
    except (KeyError, TypeError):
        raise ValueError(f"scheme={name!r}: known schemes are {', '.join(SCHEMES)}.") from None
