r"""One step of the ODE: each scheme is one small function.

The step size enters through the leak :math:`\ell = \varphi(\Delta t\, g)`, g a gate of the ODE. LEM is `imex`.
The input u is that of the end of the step, :math:`u_n`, held over all of it: a scheme's order is its order against the ODE with
the input piecewise constant, :math:`u(t) = u_n` on :math:`(t_{n-1}, t_n]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .ode import MultiscaleODE

__all__ = ["SCHEMES", "Scheme", "explicit", "exponential", "get_scheme", "imex", "semi_implicit", "strang"]

State = tuple[Tensor, Tensor]

LONGEST = 1e30  # steps; beyond 3e38 a step is infinite in float32, and times a gate that is nothing, no number


def imex(ode: MultiscaleODE, state: State, u: Tensor, dt: float | Tensor) -> State:
    r"""The LEM step, equation (3) of arXiv:2110.04744: forward Euler for z, then for y with the **new** z.

    .. math::

        z_n &= z_{n-1} + \Delta t\, g_1 \odot (\tanh(W_z y_{n-1} + V_z u_n + b_z) - z_{n-1}) \\
        y_n &= y_{n-1} + \Delta t\, g_2 \odot (\tanh(W_y z_n + V_y u_n + b_y) - y_{n-1})

    State ``(y, z)`` each ``(..., d)``, u ``(..., m)``; dt a number or a tensor that broadcasts against ``(..., 1)``. The other
    schemes take the same arguments.

    Examples
    --------
    >>> ode, y = MultiscaleODE(input_size=1, hidden_size=4), torch.zeros(4)
    >>> y, z = imex(ode, (y, y), torch.ones(1), dt=0.5)
    >>> bool(y.abs().max() < 1 and z.abs().max() < 1)
    True
    """
    (y, z), p = state, ode.blocks()
    gz = dt * torch.sigmoid(ode.linear(y, p.W1) + ode.linear(u, p.V1, p.b1))
    gy = dt * torch.sigmoid(ode.linear(y, p.W2) + ode.linear(u, p.V2, p.b2))
    z = z + gz * (torch.tanh(ode.linear(y, p.Wz) + ode.linear(u, p.Vz, p.bz)) - z)
    y = y + gy * (torch.tanh(ode.linear(z, p.Wy) + ode.linear(u, p.Vy, p.by)) - y)
    return y, z


def explicit(ode: MultiscaleODE, state: State, u: Tensor, dt: float | Tensor) -> State:
    r"""Plain forward Euler: as `imex`, but y uses the **old** z. Not LEM; here to be compared with it.

    .. math:: y_n = y_{n-1} + \Delta t\, g_2 \odot (\tanh(W_y z_{n-1} + V_y u_n + b_y) - y_{n-1})

    Examples
    --------
    >>> ode, y = MultiscaleODE(input_size=1, hidden_size=4), torch.zeros(4)
    >>> y, z = explicit(ode, (y, y), torch.ones(1), dt=0.5)
    >>> bool(y.abs().max() < 1 and z.abs().max() < 1)
    True
    """
    y, z = state
    dy, dz = ode(y, z, u)
    return y + dt * dy, z + dt * dz


def _leaky(ode: MultiscaleODE, state: State, u: Tensor, dt: float | Tensor, phi: Callable[[Tensor], Tensor]) -> State:
    (y, z), p = state, ode.blocks()
    lz, ly = (phi(dt * g) for g in ode.gates(y, u))
    z = z + lz * (torch.tanh(ode.linear(y, p.Wz) + ode.linear(u, p.Vz, p.bz)) - z)
    y = y + ly * (torch.tanh(ode.linear(z, p.Wy) + ode.linear(u, p.Vy, p.by)) - y)
    return y, z


def semi_implicit(ode: MultiscaleODE, state: State, u: Tensor, dt: float | Tensor) -> State:
    r"""LEM with the decay taken implicitly; in the unit cube for every dt.

    .. math:: x_n = x_{n-1} + \ell \odot (\hat x - x_{n-1}), \qquad \ell = \frac{\Delta t\, g}{1 + \Delta t\, g}

    for z, then for y with the new z: :math:`x_n = x_{n-1} + \Delta t\,g \odot (\hat x - x_n)` solved for :math:`x_n`.
    ``theory/unconditional_schemes.py``.

    Examples
    --------
    >>> ode, y = MultiscaleODE(input_size=1, hidden_size=4), torch.zeros(4)
    >>> y, z = semi_implicit(ode, (y, y), torch.ones(1), dt=50.0)
    >>> bool(y.abs().max() < 1 and z.abs().max() < 1)
    True
    """
    return _leaky(ode, state, u, dt, _semi_implicit_leak)


def exponential(ode: MultiscaleODE, state: State, u: Tensor, dt: float | Tensor) -> State:
    r"""LEM with the decay solved exactly for frozen gates and targets; in the unit cube for every dt.

    .. math:: x_n = x_{n-1} + \ell \odot (\hat x - x_{n-1}), \qquad \ell = 1 - e^{-\Delta t\, g}

    for z, then for y with the new z. ``theory/unconditional_schemes.py``.

    Examples
    --------
    >>> ode, y = MultiscaleODE(input_size=1, hidden_size=4), torch.zeros(4)
    >>> y, z = exponential(ode, (y, y), torch.ones(1), dt=5.0)
    >>> bool(y.abs().max() < 1 and z.abs().max() < 1)
    True
    """
    return _leaky(ode, state, u, dt, _exponential_leak)


def strang(ode: MultiscaleODE, state: State, u: Tensor, dt: float | Tensor) -> State:
    r"""Second order: half a step of z, a whole step of y, half a step of z, each with the decay solved exactly.

    .. math::

        z_{n-1/2} &= z_{n-1} + \ell_1\!\left(y_{n-1}, \tfrac{\Delta t}{2}\right) \odot (\hat z(y_{n-1}) - z_{n-1}), \qquad
        \ell_i(y, h) = 1 - e^{-h\, g_i(y)} \\
        y_* &= y_{n-1} + \ell_2\!\left(y_{n-1}, \tfrac{\Delta t}{2}\right) \odot (\hat y(z_{n-1/2}) - y_{n-1}) \\
        y_n &= y_{n-1} + \ell_2(y_*, \Delta t) \odot (\hat y(z_{n-1/2}) - y_{n-1}) \\
        z_n &= z_{n-1/2} + \ell_1\!\left(y_n, \tfrac{\Delta t}{2}\right) \odot (\hat z(y_n) - z_{n-1/2})

    While y rests z relaxes to :math:`\hat z(y)` at a fixed rate, which is solved exactly; while z rests, the rate of y moves with y and is
    taken at the predicted middle :math:`y_*`. In the unit cube for every dt; proofs in ``theory/strang_step.py``.

    Examples
    --------
    >>> ode, y = MultiscaleODE(input_size=1, hidden_size=4), torch.zeros(4)
    >>> y, z = strang(ode, (y, y), torch.ones(1), dt=5.0)
    >>> bool(y.abs().max() < 1 and z.abs().max() < 1)
    True
    """
    (y, z), p = state, ode.blocks()
    to_z, to_y = ode.linear(u, p.Vz, p.bz), ode.linear(u, p.Vy, p.by)
    rate_z, rate_y = ode.linear(u, p.V1, p.b1), ode.linear(u, p.V2, p.b2)

    def leak(a: Tensor, h: float | Tensor) -> Tensor:
        return -torch.expm1(-h * torch.sigmoid(a))

    z = z + leak(ode.linear(y, p.W1) + rate_z, dt / 2) * (torch.tanh(ode.linear(y, p.Wz) + to_z) - z)
    yh = torch.tanh(ode.linear(z, p.Wy) + to_y)
    middle = y + leak(ode.linear(y, p.W2) + rate_y, dt / 2) * (yh - y)
    y = y + leak(ode.linear(middle, p.W2) + rate_y, dt) * (yh - y)
    z = z + leak(ode.linear(y, p.W1) + rate_z, dt / 2) * (torch.tanh(ode.linear(y, p.Wz) + to_z) - z)
    return y, z


@dataclass(frozen=True)
class Scheme:
    r"""A step with its facts.

    Attributes
    ----------
    name : str
    step : callable
        ``(ode, (y, z), u, dt) -> (y, z)``.
    order : int
        Order of convergence as dt vanishes.
    max_dt : float
        The unit cube :math:`|y|, |z| \le 1` is kept for every ode and input if 0 < dt <= max_dt.
    stability_limit : callable
        Largest :math:`\Delta t\, g` at which the scheme damps the oscillator :math:`\dot z = g(-z - \omega y),\ \dot y = g(-y + \omega z)`
        (which the ODE damps for every :math:`\omega`), as a function of :math:`\omega \ge 0`; at 0, the limit of plain decay.
        Proofs: ``theory/linear_stability.py``, ``theory/strang_step.py``.
    leak, leak_slope : callable, optional
        :math:`\varphi` and :math:`\varphi'` of the schemes that are LEM with the leak :math:`\ell = \varphi(\Delta t\, g)` in the place of
        :math:`\Delta t\, g`; what the compiled core and most of `lemode.analysis` cover. None for 'explicit' and 'strang'.

    Examples
    --------
    >>> lem = SCHEMES["imex"]
    >>> lem.order, lem.max_dt, lem.stability_limit(3.0)
    (1, 1.0, 0.5)
    >>> SCHEMES["exponential"].leak(torch.tensor(0.5))
    tensor(0.3935)
    """

    name: str
    step: Callable[[MultiscaleODE, State, Tensor, float | Tensor], State]
    order: int
    max_dt: float
    stability_limit: Callable[[float], float]
    leak: Callable[[Tensor], Tensor] | None = None
    leak_slope: Callable[[Tensor], Tensor] | None = None

    def check_dt(self, dt: float, allow_large_dt: bool = False) -> None:
        """Raise ValueError unless dt is a finite number in (0, max_dt], or in (0, 2] when a large dt is allowed.

        Examples
        --------
        >>> get_scheme("exponential").check_dt(50.0)
        >>> get_scheme("imex").check_dt(2.5)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: dt=2.5: scheme 'imex' keeps |y|, |z| <= 1 only for 0 < dt <= 1; ...
        """
        limit = max(self.max_dt, 2.0) if allow_large_dt else self.max_dt
        shown = f"{dt:g}" if float(f"{dt:g}") == dt else repr(dt)  # 1.0000000000000002 must not read 1
        if not (math.isfinite(dt) and dt > 0):
            raise ValueError(f"dt={shown}: the step size must be a finite positive number.")
        if dt > LONGEST:
            raise ValueError(
                f"dt={shown}: float32 cannot multiply by it; a step of {LONGEST:g} is as long as any, all leaks being 1."
            )
        if dt > limit:
            hint = "no scheme of this family is stable beyond 2" if allow_large_dt else "allow_large_dt=True admits up to 2"
            raise ValueError(
                f"dt={shown}: scheme {self.name!r} keeps |y|, |z| <= 1 only for 0 < dt <= {self.max_dt:g}; "
                f"use a smaller dt, or scheme='exponential', which keeps it for every dt ({hint})."
            )


# named functions, not lambdas: a network holds its scheme and has to be picklable
def _imex_leak(x: Tensor) -> Tensor:
    return x


def _semi_implicit_leak(x: Tensor) -> Tensor:
    return x / (1 + x)


def _semi_implicit_slope(x: Tensor) -> Tensor:
    return (1 + x) ** -2


def _exponential_leak(x: Tensor) -> Tensor:
    return -torch.expm1(-x)


def _exponential_slope(x: Tensor) -> Tensor:
    return torch.exp(-x)


def _imex_limit(omega: float) -> float:
    return 2 / (1 + omega)


def _explicit_limit(omega: float) -> float:
    return 2 / (1 + omega**2)


def _semi_implicit_limit(omega: float) -> float:
    return 2 / (omega - 1) if omega > 1 else math.inf


def _exponential_limit(omega: float) -> float:
    return math.log((omega + 1) / (omega - 1)) if omega > 1 else math.inf


SCHEMES: dict[str, Scheme] = {
    s.name: s
    for s in (
        Scheme("imex", imex, 1, 1.0, _imex_limit, _imex_leak, torch.ones_like),
        Scheme("explicit", explicit, 1, 1.0, _explicit_limit),
        Scheme("semi_implicit", semi_implicit, 1, math.inf, _semi_implicit_limit, _semi_implicit_leak, _semi_implicit_slope),
        Scheme("exponential", exponential, 1, math.inf, _exponential_limit, _exponential_leak, _exponential_slope),
        Scheme("strang", strang, 2, math.inf, _exponential_limit),
    )
}


def get_scheme(name: str) -> Scheme:
    """The scheme of that name; ValueError lists the known names.

    Examples
    --------
    >>> get_scheme("strang").order
    2
    """
    try:
        return SCHEMES[name]
    except (KeyError, TypeError):
        raise ValueError(f"scheme={name!r}: known schemes are {', '.join(SCHEMES)}.") from None
