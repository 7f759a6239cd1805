"""How fast a scheme converges to the ODE: measured orders beside the proved bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .._checks import checks, count, pair, real, tensor
from ..continuous.inputs import Samples
from ..continuous.solve import solve
from ..lem import LEMCell
from ..ode import MultiscaleODE
from ..schemes import get_scheme
from ..types import Array
from .discretization import global_error_bound, local_error_bound
from .network import Network, as_ode

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ConvergenceStudy", "convergence_study"]

RTOL, ATOL = 1e-11, 1e-13
RESOLVED = 100 * RTOL  # smaller errors are partly the reference's own


@dataclass(frozen=True)
class ConvergenceStudy:
    """Errors of a scheme against the exact ODE, in the infinity norm of the state, for a sequence of halved steps.

    Attributes
    ----------
    scheme : str
    order : int
        The declared order p: local errors are to fall as dt^(p+1), global ones as dt^p.
    dt : (K,)
        Step sizes, each half the one before.
    local_error, global_error : (K,)
        Largest error of one step from the exact solution, and of the whole run.
    local_bound, global_bound : (K,) or None
        The proved bounds: those of statement 6.2, or 2, the diameter of the unit cube, where that is less. Only 'imex' has them, from
        an initial state in the cube.

    Examples
    --------
    >>> study = convergence_study(lemode.MultiscaleODE(1, 2), u=torch.ones(1), dt=0.5, halvings=3)
    >>> study.dt
    array([0.5   , 0.25  , 0.125 , 0.0625])
    >>> bool((study.global_error <= study.global_bound).all()), study.global_slopes.shape
    (True, (3,))
    """

    scheme: str
    order: int
    dt: Array
    local_error: Array
    global_error: Array
    local_bound: Array | None
    global_bound: Array | None

    @property
    def local_slopes(self) -> Array:
        """log2 of successive quotients ``(K - 1,)``: tends to p + 1."""
        return _slopes(self.local_error)

    @property
    def global_slopes(self) -> Array:
        """log2 of successive quotients ``(K - 1,)``: tends to p."""
        return _slopes(self.global_error)

    @property
    def local_order(self) -> float:
        """Slope of the least-squares line through the last five local errors that the reference resolves."""
        return _fitted_slope(self.dt, self.local_error)

    @property
    def global_order(self) -> float:
        """Slope of the least-squares line through the last five global errors that the reference resolves: the order."""
        return _fitted_slope(self.dt, self.global_error)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for json."""
        out = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}
        return out | {"local_order": self.local_order, "global_order": self.global_order}

    def __str__(self) -> str:
        def column(values: Array | None, width: int, pattern: str) -> list[str]:
            shown = [math.nan] * len(self.dt) if values is None else [math.nan] * (len(self.dt) - len(values)) + list(values)
            return [f"{'' if math.isnan(v) else format(v, pattern):>{width}}" for v in shown]

        columns = [
            column(self.dt, 10, ".4g"),
            column(self.local_error, 13, ".3e"), column(self.local_slopes, 7, ".3f"), column(self.local_bound, 11, ".2e"),
            column(self.global_error, 14, ".3e"), column(self.global_slopes, 7, ".3f"), column(self.global_bound, 11, ".2e"),
        ]  # fmt: skip
        head = f"{'dt':>10}{'local error':>13}{'slope':>7}{'bound':>11}{'global error':>14}{'slope':>7}{'bound':>11}"
        title = f"{self.scheme}, order {self.order}: measured {self.global_order:.3f} globally, {self.local_order:.3f} locally"
        return "\n".join([title, head, *("".join(row).rstrip() for row in zip(*columns))])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Errors over dt with the proved bounds; see `lemode.plots.order_plot`."""
        from ..plots import order_plot

        return order_plot(self, ax)


@checks(u=tensor, state0=pair, dt=real, steps=count, halvings=count)
def convergence_study(
    ode: Network,
    u: Tensor | None = None,
    state0: tuple[Tensor, Tensor] | None = None,
    scheme: str = "imex",
    dt: float = 0.5,
    steps: int = 8,
    halvings: int = 6,
) -> ConvergenceStudy:
    r"""Measure the local and the global order of a scheme against the exact ODE.

    .. math::

        \text{local: } \max_n \|\Phi_h(x(t_{n-1})) - x(t_{n-1} + h)\|_\infty = O(h^{p+1}), \qquad
        \text{global: } \max_n \|x_n - x(t_n)\|_\infty = O(h^p), \qquad h = \Delta t, \tfrac{\Delta t}{2}, \tfrac{\Delta t}{4}, \dots

    :math:`t_n = n \Delta t` with the first, largest step; the input is held on :math:`(t_{n-1}, t_n]` through all refinements. The exact
    solution x is that of `lemode.solve` by DOP853 at rtol 1e-11, restarted where the input jumps. Everything is in float64.

    Parameters
    ----------
    ode : MultiscaleODE or LEMCell
    u : (m,) or (steps, m)
        Constant input, or one for each of the first, largest steps; zero by default.
    state0 : (y, z), each (d,)
        Zero by default.
    scheme : str
        A name in `lemode.schemes.SCHEMES`.
    dt : float
        The largest step.
    steps : int
        Number of the largest steps: the run ends at time ``steps * dt``.
    halvings : int

    Returns
    -------
    ConvergenceStudy
        ``print()`` it for a table; ``.to_dict()``; ``.plot()``, with the bounds of statement 6.2 where the scheme is 'imex'.

    Raises
    ------
    ValueError, TypeError
        For a step that the scheme does not admit, counts that are not positive, or tensors that do not fit.

    Examples
    --------
    >>> study = convergence_study(lemode.MultiscaleODE(1, 2), u=torch.ones(1), halvings=4)
    >>> abs(study.global_order - 1) < 0.1
    True
    """
    for name, value in (("steps", steps), ("halvings", halvings)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r}: give a positive integer.")
    method = get_scheme(scheme)
    method.check_dt(dt)
    source = as_ode(ode)
    tensors = (source.weight_ih, source.weight_hh, source.weight_zy, source.stacked_bias())
    exact_ode = MultiscaleODE.from_tensors(*(w.detach().to("cpu", torch.float64) for w in tensors))
    inputs = _inputs(exact_ode, u, steps)
    zero = torch.zeros(exact_ode.hidden_size, dtype=torch.float64)
    y0, z0 = (zero, zero) if state0 is None else (s.detach().to("cpu", torch.float64) for s in state0)

    # the fractions dt / 2^K, ..., dt / 2, dt of every largest step, and the start
    fractions = dt * 0.5 ** torch.arange(halvings, -1, -1, dtype=torch.float64)
    starts = dt * torch.arange(steps, dtype=torch.float64)
    times = torch.cat([torch.zeros(1, dtype=torch.float64), (starts.unsqueeze(1) + fractions).flatten()])
    ends = starts + dt
    ys, zs = solve(exact_ode, times, Samples(ends, inputs), (y0, z0), method="DOP853", rtol=RTOL, atol=ATOL)
    # (steps, halvings + 1, d): entry k is after dt / 2^k of the step
    within = tuple(x[1:].view(steps, halvings + 1, -1).flip(1) for x in (ys, zs))
    begin = tuple(torch.cat([x[:1], w[:-1, 0]]) for x, w in zip((ys, zs), within))

    bounded = scheme == "imex" and max(float(y0.abs().max()), float(z0.abs().max())) <= 1
    local, total, local_bound, global_bound = [], [], [], []
    with torch.no_grad():
        for k in range(halvings + 1):
            h = dt / 2**k
            stepped = method.step(exact_ode, (begin[0], begin[1]), inputs, h)
            local.append(max(float((a - b[:, k]).abs().max()) for a, b in zip(stepped, within)))
            state, error = (y0, z0), 0.0
            for n in range(steps):
                for _ in range(2**k):
                    state = method.step(exact_ode, state, inputs[n], h)
                error = max(error, *(float((a - b[n, 0]).abs().max()) for a, b in zip(state, within)))
            total.append(error)
            if bounded:
                cell = LEMCell(exact_ode.input_size, exact_ode.hidden_size, dt=h)
                cell.ode = exact_ode
                local_bound.append(min(local_error_bound(cell), 2.0))
                global_bound.append(min(global_error_bound(cell, steps * 2**k, inputs), 2.0))
    return ConvergenceStudy(
        scheme, method.order, np.asarray(dt / 2.0 ** np.arange(halvings + 1), dtype=np.float64), np.array(local), np.array(total),
        np.array(local_bound) if local_bound else None, np.array(global_bound) if global_bound else None,
    )  # fmt: skip


def _inputs(ode: MultiscaleODE, u: Tensor | None, steps: int) -> Tensor:
    """``(steps, m)`` in float64."""
    m = ode.input_size
    value = torch.zeros(m) if u is None else u
    if tuple(value.shape) not in {(m,), (steps, m)}:
        raise ValueError(
            f"u has shape {tuple(value.shape)}: give ({m},), or one for each of the largest steps, ({steps}, {m})."
        )
    return value.detach().to("cpu", torch.float64).expand(steps, m)


def _slopes(errors: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log2(errors[:-1] / errors[1:]))


def _fitted_slope(dt: Array, errors: Array) -> float:
    keep = np.flatnonzero(errors > RESOLVED)[-5:]
    return math.nan if len(keep) < 2 else float(np.polyfit(np.log(dt[keep]), np.log(errors[keep]), 1)[0])
